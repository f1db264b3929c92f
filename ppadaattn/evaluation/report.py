"""A report of all that a configuration lists: a folder with report.md, charts, contact sheets and the numbers.

The folder's `values/` keeps what was measured, so that an interrupted report, or one with a longer configuration,
continues.
"""

import os
import platform
import sys
from pathlib import Path

from ppadaattn.config import to_yaml
from ppadaattn.device import select_device
from ppadaattn.errors import InputError
from ppadaattn.evaluation import charts, measuring, sheets, tables
from ppadaattn.evaluation.methods import clips_by_name, load_for_speed, name_methods, pictures_by_name
from ppadaattn.evaluation.temporal import read_clip
from ppadaattn.files import atomic_write, check_writable
from ppadaattn.infer.stylizer import is_style_file
from ppadaattn.media.images import find_images
from ppadaattn.version import __version__

import numpy as np
import paddle
from tqdm import tqdm

TITLES = {
    "sheets": "Pictures",
    "flow": "Optical-flow error",
    "quality": "Losses and distances",
    "painted": "Distances to painted pictures",
    "channels": "Dead channels",
    "speed": "Speed and memory",
}


class Problems:
    """What could not be done: printed once to stderr, and kept for the report.

    Attributes:
        counts: {sentence: number of missing values}.
    """

    def __init__(self):
        self.counts = {}

    def add(self, sentence, values=0):
        if sentence not in self.counts:
            tqdm.write(f"warning: {sentence}", file=sys.stderr)
        self.counts[sentence] = self.counts.get(sentence, 0) + values

    def of_part(self, part):
        """The function `failed` of `measuring`, for one part of the report."""
        return lambda method, key, error: self.add(f"{part}, {method}: {error}", 1)

    def lines(self):
        return [
            f"- {sentence}" + (f" ({count} values)" if count > 1 else "") for sentence, count in self.counts.items()
        ]


def write_report(config, folder, *, command="", anew=False):
    """Evaluate all that a configuration lists and is there, and write a report.

    Args:
        config: a Report of the configuration.
        folder: for report.md, its pictures and `values/`.
        command: the command line, for the report.
        anew: measure again what `values/` holds.

    Returns:
        list of sentences: what could not be done.

    Raises:
        InputError: an empty list, a name that occurs twice, nothing that can be done, a folder that cannot be written.
    """
    return _Writer(config, Path(folder), anew).write(command)


class _Writer:
    def __init__(self, config, folder, anew):
        check_writable(folder, folder=True)
        if not config.parts:
            raise InputError(f"parts is empty; name some of {', '.join(TITLES)}")
        methods = name_methods(config.methods)
        self.config, self.folder, self.problems = config, folder, Problems()
        self.store = measuring.Store(folder / "values", anew)
        self.device = select_device(config.device)
        self.methods = self._usable(methods)
        self.with_weights = [method for method in self.methods if method.weights is not None]
        parts = set(config.parts)
        for method in self.methods:
            if method.weights is None and parts != {"speed"}:
                self.problems.add(f"the method {method.name} has no weights: only its speed is measured")
        self.contents = self._pictures(config.contents, "contents") if parts & {"sheets", "quality", "channels"} else {}
        self.styles = self._pictures(config.styles, "styles") if parts - {"painted", "speed"} else {}
        self.clips = self._clips(config.clips) if parts & {"sheets", "flow"} else {}

    def _usable(self, methods):
        found = []
        for method in methods:
            try:
                load_for_speed(method, self.device)
            except InputError as error:
                self.problems.add(str(error))
            else:
                found.append(method)
        if not found:
            raise InputError("none of the methods can be used; see the warnings above")
        return found

    def _pictures(self, patterns, kind):
        paths = []
        for pattern in patterns:
            try:
                paths += find_images([pattern])
            except InputError as error:
                self.problems.add(f"{kind}: {error}")
        return pictures_by_name(dict.fromkeys(paths), kind)

    def _clips(self, paths):
        found, flow = [], self.config.flow
        for path in paths:
            try:
                read_clip(path, size=flow.size, count=2, flow=flow.flow)
                found.append(path)
            except InputError as error:
                self.problems.add(f"clips: {error}")
        return clips_by_name(found)

    def write(self, command):
        sections = {}
        writers = {
            "sheets": self._sheets,
            "flow": self._flow,
            "quality": self._quality,
            "painted": self._painted,
            "channels": self._channels,
            "speed": self._speed,
        }
        for part in (part for part in writers if part in self.config.parts):
            try:
                sections[part] = writers[part]()
            except InputError as error:
                self.problems.add(f"{part}: left out: {error}")
        if not sections:
            raise InputError("no part of the report could be made; see the warnings above")
        problems = self.problems.lines()
        lines = [f"# {self.config.title}", ""]
        lines += ["## What is missing", "", *problems, ""] if problems else []
        lines += ["## How it was made", "", f"```\n{command}\n```", "", self._versions(), ""]
        for part, text in sections.items():
            lines += [f"## {TITLES[part]}", "", text, ""]
        lines += ["## Configuration", "", f"```yaml\n{to_yaml(self.config)}```"]
        with atomic_write(self.folder / "report.md") as temporary:
            temporary.write_text("\n".join(lines) + "\n", encoding="utf-8")
        return list(self.problems.counts)

    def _versions(self):
        versions = {"ppadaattn": __version__, "Python": platform.python_version(), "Paddle": paddle.__version__}
        versions["NumPy"] = np.__version__
        if "cv2" in sys.modules:
            versions["OpenCV"] = sys.modules["cv2"].__version__
        machine = f"{platform.machine()}, {os.cpu_count()} cores, device {self.device}"
        return ", ".join(f"{name} {version}" for name, version in versions.items()) + f"; {machine}."

    def _need(self, **lists):
        for name, found in lists.items():
            if not found:
                raise InputError(f"there are no {name.replace('_', ' ')}")

    def _options(self, part):
        return {"store": self.store, "device": self.device, "failed": self.problems.of_part(part)}

    def _chart(self, name, draw, *arguments):
        """Draw a chart and return its Markdown; '' where charts cannot be drawn."""
        try:
            draw(self.folder / name, *arguments)
        except InputError as error:
            self.problems.add(f"no charts: {error}")
            return ""
        return f"\n\n![{name}]({name})"

    def _sheets(self):
        self._need(methods_with_weights=self.with_weights, styles=self.styles)
        options = {**self._options("sheets"), "style_size": self.config.style_size}
        if not self.contents and not self.clips:
            raise InputError("there are neither contents nor clips")
        parts = []
        if self.contents:
            arguments = self.with_weights, self.contents, self.styles, self.config.sheets
            sheets.picture_sheet(self.folder / "pictures.jpg", *arguments, **options)
            parts.append("![pictures](pictures.jpg)")
            if self.config.sheets.combinations:
                first = self.with_weights[0]
                sheets.combination_sheet(self.folder / "combinations.jpg", first, *arguments[1:], **options)
                parts.append(f"All pairs, by {first.name}:\n\n![all pairs](combinations.jpg)")
        if self.clips:
            arguments = self.with_weights, self.clips, self.styles, self.config.sheets, self.config.flow
            sheets.clip_sheet(self.folder / "clips.jpg", *arguments, **options)
            parts.append(
                "First frames of clips; below each its difference to the second frame, warped back along the flow of "
                f"the input (mean over channels, times {sheets.ERROR_GAIN}; blue: pixels that do not count)."
            )
            parts.append("![clips](clips.jpg)")
        return "\n\n".join(parts)

    def _flow(self):
        self._need(methods_with_weights=self.with_weights, styles=self.styles, clips=self.clips)
        options, size = self.config.flow, self.config.style_size
        grids, inputs = measuring.measure_flow(
            self.with_weights, self.styles, self.clips, options, style_size=size, **self._options("flow")
        )
        grids = self._measured(grids)
        return tables.flow_text(grids, inputs, options, size) + self._chart(
            "flow.png", charts.flow_chart, grids, inputs
        )

    def _quality(self):
        styles = self._pictures_of_styles()
        self._need(methods_with_weights=self.with_weights, contents=self.contents, pictures_of_styles=styles)
        size, encoder = self.config.quality.size, self.config.encoder_weights
        grids, features = measuring.measure_quality(
            self.with_weights, self.contents, styles, size=size, encoder=encoder, **self._options("quality")
        )
        grids = self._measured(grids)
        return tables.quality_text(grids, features, size) + self._chart("quality.png", charts.quality_chart, grids)

    def _painted(self):
        folder, encoder = self.config.targets, self.config.encoder_weights
        self._need(methods_with_weights=self.with_weights, targets=folder)
        grids, features, skipped = measuring.measure_painted(
            self.with_weights, folder, encoder=encoder, **self._options("painted")
        )
        for name, reason in skipped.items():
            self.problems.add(f"painted: {name} is left out: {reason}")
        return tables.painted_text(self._measured(grids), features)

    def _channels(self):
        styles = self._pictures_of_styles()
        self._need(methods_with_weights=self.with_weights, contents=self.contents, pictures_of_styles=styles)
        size = self.config.quality.size
        grids = measuring.measure_channels(
            self.with_weights, self.contents, styles, size=size, **self._options("channels")
        )
        return tables.channels_text(self._measured(grids), size)

    def _pictures_of_styles(self):
        return {name: path for name, path in self.styles.items() if not is_style_file(path)}

    def _speed(self):
        options = self.config.speed
        grids = self._measured(measuring.measure_speed(self.methods, options, **self._options("speed")))
        return tables.speed_text(grids, options, self.device) + self._chart(
            "speed.png", charts.speed_chart, grids, "new"
        )

    def _measured(self, grids):
        """The Grids that have values; InputError where none has."""
        grids = {name: grid for name, grid in grids.items() if grid.values}
        self._need(values=grids)
        return grids

"""The kinds of measurement, of several methods: flow, quality, distances to painted pictures, dead channels, speed.

Each returns {name of a method: Grid}. It calls `failed(name of a method, combination, error)` for a value that cannot
be measured; without `failed` it raises the first such InputError.
"""

import functools
import itertools
from dataclasses import dataclass
from pathlib import Path
from typing import Optional
from urllib.parse import quote

from ppadaattn.device import select_device
from ppadaattn.errors import InputError
from ppadaattn.evaluation import speed
from ppadaattn.evaluation.grid import Grid
from ppadaattn.evaluation.methods import file_stamp, load_method, method_stamp
from ppadaattn.evaluation.painted import distances, usable_targets
from ppadaattn.evaluation.quality import Metrics, loss_network
from ppadaattn.evaluation.temporal import flow_error, read_clip, stylize_frames
from ppadaattn.infer.stylizer import is_style_file
from ppadaattn.media.images import flatten, read_image, to_floats, to_unit_range
from ppadaattn.progress import progress_bar
from ppadaattn.train.dead_channels import count_dead_channels
from ppadaattn.version import __version__

import numpy as np


@dataclass(frozen=True)
class Store:
    """Keeps Grids in `folder`, or nowhere where that is None; with `anew` values that are there are not used."""

    folder: Optional[Path] = None
    anew: bool = False

    def grid(self, kind, name, axes, settings):
        path = None if self.folder is None else self.folder / kind / f"{quote(name, safe=' ')}.json"
        return Grid(axes, path, {**settings, "version": __version__}, self.anew)

    def grids(self, kind, methods, axes, settings):
        """{name: Grid} for each of the Methods."""
        return {
            method.name: self.grid(kind, method.name, axes, {**settings, "method": method_stamp(method)})
            for method in methods
        }


class Painter:
    """A Method that is loaded when first used, and the style that it prepared last."""

    def __init__(self, method, device, style_size, engine="auto"):
        self.method, self.device, self.style_size, self.engine = method, device, style_size, engine
        self._prepared = (None, None)

    @functools.cached_property
    def stylizer(self):
        return load_method(self.method, self.device, self.engine)

    def style(self, path):
        """The Style of a picture or a style file; InputError that names the method."""
        if self._prepared[0] != path:
            try:
                self._prepared = path, self.stylizer.prepare_style(path, style_size=self.style_size)
            except InputError as error:
                raise InputError(f"the method {self.method.name} cannot use the style {path}: {error}") from None
        return self._prepared[1]


def measure_flow(methods, styles, clips, options, *, style_size, device=None, store=None, failed=None):
    """Measure optical-flow errors (not x 100) of methods, and of the input frames themselves.

    Args:
        methods: list of Method, with weights.
        styles: {name: path of a picture or a style file}.
        clips: {name: path}.
        options: a FlowError of the configuration.

    Returns:
        ({method: Grid of (style, clip)}, Grid of (clip,) for the input).
    """
    store = store or Store()
    settings = {"frames": options.frames, "size": options.size, "flow": options.flow}
    axes = [_stamps(styles), _stamps(clips)]
    inputs = store.grid("flow_of_input", "frames", axes[1:], settings)

    @functools.lru_cache(None)
    def clip(name):
        return read_clip(clips[name], size=options.size, count=options.frames, flow=options.flow)

    def of_input(name):
        frames = map(to_unit_range, clip(name).frames)
        return flow_error(frames, clip(name).flows)

    def of_method(painter, style, name):
        frames = stylize_frames(painter.stylizer, painter.style(styles[style]), clip(name).frames)
        return flow_error(frames, clip(name).flows)

    select_device(device)
    grids = store.grids("flow", methods, axes, {**settings, "style_size": style_size})
    with _progress("flow", [inputs, *grids.values()]) as progress:
        inputs.fill(of_input, progress, failed and functools.partial(failed, "the input"))
        for method in methods:
            compute = functools.partial(of_method, Painter(method, device, style_size))
            grids[method.name].fill(compute, progress, failed and functools.partial(failed, method.name))
    return grids, inputs


def measure_quality(methods, contents, styles, *, size, encoder=None, device=None, store=None, failed=None):
    """Measure losses and distances of methods, for each content in each style.

    Args:
        methods: list of Method, with weights.
        contents, styles: {name: path of a picture}.
        size: long side in pixels to which both are reduced.
        encoder: path of VGG-19's weights, or None, as in `quality.loss_network`.

    Returns:
        ({method: Grid of (content, style), each {measure of `quality.MEASURES`: float}}, name of the loss network).
    """
    store = store or Store()
    for path in filter(is_style_file, styles.values()):
        raise InputError(f"{path} is a style file: quality is measured against a style's picture; give that")
    select_device(device)
    network, features = loss_network(encoder)
    metrics = Metrics(network)

    def encoded(path):
        picture = flatten(read_image(path, size))
        return metrics.encode(to_floats(picture[None]))

    encoded_style = functools.lru_cache(None)(encoded)
    encoded_content = functools.lru_cache(1)(encoded)

    def of_pair(painter, content, style):
        picture = flatten(read_image(contents[content], size))
        painted = painter.stylizer.paint_array(picture[None], prepared(painter, styles[style]))
        return metrics.measure(
            metrics.encode(painted), encoded_content(contents[content]), encoded_style(styles[style])
        )

    @functools.lru_cache(None)
    def prepared(painter, path):
        return painter.style(path)

    settings = {"size": size, "features": [features, encoder and file_stamp(encoder)]}
    grids = store.grids("quality", methods, [_stamps(contents), _stamps(styles)], settings)
    with _progress("quality", grids.values()) as progress:
        for method in methods:
            compute = functools.partial(of_pair, Painter(method, device, size))
            grids[method.name].fill(compute, progress, failed and functools.partial(failed, method.name))
            prepared.cache_clear()
    return grids, features


def measure_painted(methods, folder, *, encoder=None, device=None, store=None, failed=None):
    """Measure the distances of methods to the painted pictures of a folder.

    Args:
        methods: list of Method, with weights.
        folder: as in `painted.usable_targets`.
        encoder: path of VGG-19's weights, or None, as in `quality.loss_network`.

    Returns:
        ({method: Grid of (painted picture,), each {distance of `painted.DISTANCES`: float}}, name of the loss network,
        {painted picture that was left out: why}).
    """
    store = store or Store()
    select_device(device)
    source, targets, skipped = usable_targets(folder)
    network, features = loss_network(encoder)

    @functools.lru_cache(1)
    def prepared(stylizer, style):
        return stylizer.prepare_style(source.styles[style])

    def of_target(painter, name):
        target, stylizer = targets[name], painter.stylizer
        picture = stylizer(source.contents[target.content], prepared(stylizer, target.style))
        return distances(network, picture, source.read(target))

    axis = {name: file_stamp(target.path) for name, target in targets.items()}
    pictures = [file_stamp(Path(folder) / kind) for kind in ("content", "style")]
    settings = {"pictures": pictures, "features": [features, encoder and file_stamp(encoder)]}
    grids = store.grids("painted", methods, [axis], settings)
    with _progress("painted", grids.values()) as progress:
        for method in methods:
            compute = functools.partial(of_target, Painter(method, device, style_size=0))
            grids[method.name].fill(compute, progress, failed and functools.partial(failed, method.name))
    return grids, features, skipped


def measure_channels(methods, contents, styles, *, size, device=None, store=None, failed=None):
    """Count the dead channels of the decoders of methods, over each content in each style.

    Args:
        methods: list of Method, with weights.
        contents, styles: {name: path of a picture}.
        size: long side in pixels to which both are reduced.

    Returns:
        {method: Grid of (pairs,), which has one value: {layer: [dead channels, channels]}}.
    """
    store = store or Store()
    pairs = list(itertools.product(styles.values(), contents.values()))  # each style is prepared once

    def of_method(painter, _):
        def paint(pair):
            style, content = pair
            painter.stylizer.paint_array(flatten(read_image(content, size))[None], painter.style(style))

        layers = painter.stylizer.network.decoder.relu_convolutions()
        return count_dead_channels(layers, paint, pairs)

    select_device(device)
    axis = {f"{len(pairs)} pairs": [_stamps(contents), _stamps(styles)]}
    grids = store.grids("channels", methods, [axis], {"size": size})
    with _progress("channels", grids.values()) as progress:
        for method in methods:
            compute = functools.partial(of_method, Painter(method, device, size, engine="eager"))
            grids[method.name].fill(compute, progress, failed and functools.partial(failed, method.name))
    return grids


def measure_speed(methods, options, *, device=None, store=None, failed=None):
    """Measure times and memory of methods.

    Args:
        methods: list of Method, with weights or only an architecture.
        options: a Speed of the configuration.

    Returns:
        {method: Grid of (mode, size), each as `speed.measure` returns it}.
    """
    store = store or Store()
    sizes = sorted(options.sizes, key=lambda size: np.prod(speed.parse_size(size)))
    axes = [dict.fromkeys(speed.MODES), dict.fromkeys(sizes)]
    device = select_device(device)
    settings = {"runs": options.runs, "limit": options.limit, "device": device}
    grids = store.grids("speed", methods, axes, settings)

    def of_size(method, mode, size):
        # What is less work than this measurement: smaller sizes, and "new" for "whole".
        easier = [(mode, other) for other in sizes[: sizes.index(size)]] + [("new", size)] * (mode == "whole")
        if any("failed" in (grids[method.name].values.get(key) or {}) for key in easier):
            return {"failed": "not run"}
        return speed.measure(method, mode, size, runs=options.runs, limit=options.limit, device=device)

    with _progress("speed", grids.values()) as progress:
        # Methods in turn, so that values that are compared are measured at about the same time: a machine's speed
        # varies.
        for size, mode, method in itertools.product(sizes, speed.MODES, methods):
            compute, fail = functools.partial(of_size, method), failed and functools.partial(failed, method.name)
            grids[method.name].fill(compute, progress, fail, only=(mode, size))
    return grids


def _stamps(paths):
    return {name: file_stamp(path) for name, path in paths.items()}


def _progress(what, grids):
    return progress_bar(total=sum(len(grid.missing()) for grid in grids), desc=what, unit="value")

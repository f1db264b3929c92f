"""Measurements as Markdown."""

import math
import statistics

from ppadaattn.evaluation.painted import DISTANCES
from ppadaattn.evaluation.quality import MEASURES
from ppadaattn.evaluation.speed import MODES
from ppadaattn.evaluation.temporal import DEFINITION, FLOWS
from ppadaattn.train.dead_channels import DEAD_BELOW

NOTHING = "-"
INPUT = "the input, not painted"


def table(header, rows):
    """A Markdown table of lists of texts."""
    header, *rows = ([cell.replace("|", "\\|") for cell in line] for line in (header, *rows))
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def shared_keys(grids):
    """The combinations for which every Grid of {method: Grid} has a value, in order. Means are over these."""
    first = next(iter(grids.values()))
    return [key for key in first.combinations() if all(key in grid.values for grid in grids.values())]


def flow_means(grids, inputs):
    """{method, or INPUT: {style, or None for the mean: error x 100}}; None for a value that is missing.

    The value of a style is the mean over its clips; the mean is that over styles, of the combinations that all methods
    have.
    """
    shared = shared_keys(grids)
    styles = list(next(iter(grids.values())).axes[0])
    found = {}
    for method, grid in grids.items():
        percent = {key: 100 * value for key, value in grid.values.items()}
        found[method] = {style: _mean(percent[key] for key in percent if key[0] == style) for style in styles}
        of_styles = ([percent[key] for key in shared if key[0] == style] for style in styles)
        found[method][None] = _mean(statistics.mean(values) for values in of_styles if values)
    clips = {clip for _, clip in shared}
    of_clips = _mean(100 * value for (clip,), value in inputs.values.items() if clip in clips)
    found[INPUT] = {**dict.fromkeys(styles), None: of_clips}
    return found


def flow_text(grids, inputs, options, style_size):
    """The section of optical-flow errors: their definition, a table by style as table 2, and one by clip."""
    shared, means = shared_keys(grids), flow_means(grids, inputs)
    styles, clips = (list(axis) for axis in next(iter(grids.values())).axes)
    rows = [[name, *map(_two, values.values())] for name, values in means.items()]
    by_clip = []
    for method, grid in grids.items():
        values = [_mean(100 * grid.values[key] for key in shared if key[1] == clip) for clip in clips]
        by_clip.append([method, *map(_two, values)])
    by_clip.append([INPUT, *(_two(_times_100(inputs.values.get((clip,)))) for clip in clips)])
    size = f"of long side {options.size}" if options.size else "as large as they are"
    setting = f"At most {options.frames} frames of each clip, {size}; styles reduced to {style_size}."
    parts = [DEFINITION + FLOWS[options.flow], setting, table(["method", *styles, "mean"], rows), "By clip:"]
    return "\n\n".join([*parts, table(["method", *clips], by_clip), *_shared_text(grids, shared)])


def quality_means(grids):
    """{method: {measure: (mean, standard error or None)}} over the combinations that all methods have."""
    shared = shared_keys(grids)
    found = {}
    for method, grid in grids.items():
        found[method] = {}
        for measure in MEASURES:
            values = [grid.values[key][measure] for key in shared]
            found[method][measure] = (_mean(values), _standard_error(values))
    return found


def painted_text(grids, features):
    """The section of distances to painted pictures."""
    shared, rows = shared_keys(grids), []
    for method, grid in grids.items():
        columns = ([grid.values[key][distance] for key in shared] for distance in DISTANCES)
        rows.append([method, *(_with_error(_mean(column), _standard_error(column)) for column in columns)])
    text = f"Means over {len(shared)} painted pictures ± the standard error; smaller is nearer. Features: {features}."
    meanings = "\n".join(f"- {distance}: {meaning}" for distance, meaning in DISTANCES.items())
    return "\n\n".join([text, meanings, table(["method", *DISTANCES], rows), *_shared_text(grids, shared)])


def channels_text(grids, size):
    """The section of dead channels."""
    rows = []
    for method, grid in grids.items():
        (((pairs,), layers),) = grid.values.items()
        dead, channels = map(sum, zip(*layers.values()))
        worst = max(layers, key=lambda name: layers[name][0] / layers[name][1])
        where = f"{worst}: {layers[worst][0]} of {layers[worst][1]}" if dead else NOTHING
        rows.append([method, f"{dead} of {channels}", f"{dead / channels:.1%}", where])
    text = (
        f"Channels of the decoder that are above 0 at less than {DEAD_BELOW:.0%} of positions, over {pairs}, long side "
        f"{size}: they have next to no part in a picture."
    )
    return "\n\n".join([text, table(["method", "dead channels", "share", "most in one layer"], rows)])


def _standard_error(values):
    return statistics.stdev(values) / math.sqrt(len(values)) if len(values) > 1 else None


def quality_text(grids, features, size):
    """The section of losses and distances."""
    shared = shared_keys(grids)
    rows = []
    for method, means in quality_means(grids).items():
        rows.append([method, *(_with_error(mean, error) for mean, error in means.values())])
    contents, styles = next(iter(grids.values())).axes
    text = (
        f"Means over {len(shared)} pairs ({len(contents)} contents, {len(styles)} styles, long side {size}) ± the "
        f"standard error over pairs; smaller is nearer. Features: {features}."
    )
    meanings = "\n".join(f"- {measure}: {meaning}" for measure, meaning in MEASURES.items())
    return "\n\n".join([text, meanings, table(["method", *MEASURES], rows), *_shared_text(grids, shared)])


def speed_text(grids, options, device):
    """The section of times and memory: a table for each mode, as table 1, with ratios to the first method."""
    first = next(iter(grids))
    sizes = list(grids[first].axes[1])
    parts = [
        f"Median of up to {options.runs} runs after a warm-up, each cell in a process of its own, by Paddle itself on "
        f"{device}; in brackets the ratio to {first}. The style is as large as the content. A cell whose first run "
        f"takes more than {options.limit:g} s is given up, and larger sizes are not run."
    ]
    for mode, meaning in MODES.items():
        rows = [[name, *(_time(grid, grids[first], (mode, size)) for size in sizes)] for name, grid in grids.items()]
        parts += [f"Seconds a picture: {meaning}.", table(["method", *sizes], rows)]
    rows = [[name, *(_memory(grid, grids[first], ("new", size)) for size in sizes)] for name, grid in grids.items()]
    return "\n\n".join([*parts, "Peak memory, content and style new:", table(["method", *sizes], rows)])


def _time(grid, first, key):
    value = grid.values.get(key)
    return _cell(value, first.values.get(key), "seconds", lambda seconds: f"{seconds:.3f}")


def _memory(grid, first, key):
    value = grid.values.get(key)
    return _cell(value, first.values.get(key), "peak_bytes", lambda count: f"{count / 2**20:.0f} MiB")


def _cell(value, first, name, show):
    if value is None or "failed" in value:
        return NOTHING if value is None else value["failed"]
    ratio = f" ({value[name] / first[name]:.2f})" if first and "failed" not in first else ""
    return show(value[name]) + ratio


def _shared_text(grids, shared):
    """A paragraph that tells how many combinations means are over, unless these are all."""
    everything = len(next(iter(grids.values())).combinations())
    if len(shared) == everything:
        return []
    return [f"Means are over the {len(shared)} of {everything} combinations that every method has."]


def _mean(values):
    values = list(values)
    return statistics.mean(values) if values else None


def _times_100(value):
    return None if value is None else 100 * value


def _two(value):
    return NOTHING if value is None else f"{value:.2f}"


def _with_error(mean, error):
    """The text of a mean, rounded to the second digit of its standard error, and the error."""
    if not error:
        return _four(mean)
    digits = max(0, 1 - math.floor(math.log10(error)))
    return f"{mean:.{digits}f} ± {error:.{digits}f}"


def _four(value):
    return NOTHING if value is None else f"{value:.4g}"

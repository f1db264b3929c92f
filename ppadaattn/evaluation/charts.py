"""Measurements as bar charts (matplotlib)."""

from ppadaattn.errors import import_optional
from ppadaattn.evaluation.quality import MEASURES
from ppadaattn.evaluation.tables import flow_means, quality_means
from ppadaattn.files import atomic_write

INCHES, DPI = 2.6, 120


def flow_chart(path, grids, inputs):
    """Draw a bar for the mean optical-flow error of each method, and a dot for each style."""
    means = flow_means(grids, inputs)
    figure = _figure(2.5 * INCHES, _height(means))
    axes = figure.subplots()
    _bars(axes, {name: (values[None], None) for name, values in means.items()})
    for place, values in enumerate(means.values()):
        dots = [value for style, value in values.items() if style is not None and value is not None]
        axes.plot(dots, [place] * len(dots), ".", color="black", alpha=0.5)
    axes.set_xlabel("optical-flow error x 100 (dots: styles)")
    _save(figure, path)


def quality_chart(path, grids):
    """Draw a panel for each measure, with a bar for each method and its standard error."""
    means = quality_means(grids)
    figure = _figure(3 * INCHES, 2 * _height(means))
    for axes, measure in zip(figure.subplots(2, 3).flat, MEASURES):
        _bars(axes, {name: values[measure] for name, values in means.items()})
        axes.set_title(measure)
    _save(figure, path)


def speed_chart(path, grids, mode):
    """Draw a panel for each size, with a bar for the time of each method in one mode."""
    sizes = list(next(iter(grids.values())).axes[1])
    figure = _figure(len(sizes) * INCHES, _height(grids))
    for axes, size in zip(figure.subplots(1, len(sizes), squeeze=False).flat, sizes):
        values = {name: grid.values.get((mode, size)) or {} for name, grid in grids.items()}
        _bars(axes, {name: (value.get("seconds"), None) for name, value in values.items()})
        axes.set_title(f"{size}, seconds")
    _save(figure, path)


def require():
    """Raise InputError unless matplotlib is installed."""
    import_optional("matplotlib", "'ppadaattn[evaluate]'", "the report's charts")


def _figure(width, height):
    require()
    from matplotlib.figure import Figure  # pyplot would need a screen and keep a state

    return Figure((width, height), layout="constrained")


def _height(rows):
    return 0.9 + 0.28 * len(rows)


def _bars(axes, values):
    """Draw horizontal bars of {name: (value or None, error or None)}, the first one on top."""
    axes.barh(
        list(values),
        [value or 0 for value, _ in values.values()],
        xerr=[error or 0 for _, error in values.values()] if any(error for _, error in values.values()) else None,
        color="#4878a8",
    )
    axes.invert_yaxis()
    axes.tick_params(labelsize=8)
    axes.spines[["top", "right"]].set_visible(False)


def _save(figure, path):
    with atomic_write(path) as temporary:
        figure.savefig(temporary, dpi=DPI)

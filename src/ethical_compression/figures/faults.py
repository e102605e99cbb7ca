"""What is wrong with a drawn figure, found without looking: `faults` of any matplotlib figure.

Data outside the axes, a panel without data, a label outside the picture, under another or under
the legend, a character that the font lacks. Distances are in pixels of the figure's own resolution.
"""

import itertools
import warnings
from collections.abc import Iterator

import numpy as np

SLACK = 1.5  # pixels that a point may lie outside its axes, or two labels in each other
GAP = 2  # pixels on either side of a tick's label: two numbers that touch read as one


def faults(fig) -> list[str]:
    """One sentence for each fault of a figure; none if it can be shown. Draws the figure."""
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        fig.canvas.draw()
    found = [str(one.message) for one in said if issubclass(one.category, UserWarning)]
    for number, axes in enumerate(fig.get_axes()):
        if axes.get_visible() and not hasattr(axes, "_colorbar"):
            found += _faults_of_data(axes, axes.get_title().replace("\n", " ") or str(number + 1))
    return [*found, *_faults_of_labels(fig)]


def has_intervals(fig) -> bool:
    """Whether a figure has error bars or bands, which its caption must name."""
    from matplotlib.collections import PolyCollection
    from matplotlib.container import ErrorbarContainer

    return any(
        any(isinstance(one, ErrorbarContainer) and one.lines[2] for one in axes.containers)
        or any(isinstance(one, PolyCollection) for one in axes.collections)
        for axes in fig.get_axes()
    )


def _faults_of_data(axes, name: str) -> Iterator[str]:
    box, empty = axes.bbox.padded(SLACK), True
    legend = axes.get_legend()
    under = legend.get_window_extent() if legend is not None else None
    for artist in [*axes.lines, *axes.collections, *axes.patches, *axes.images]:
        if not artist.get_visible():
            continue
        data, shown, along = _points(artist, axes)
        if not len(data):
            continue
        whole = all(along)
        empty = empty and not whole
        inside = np.isfinite(shown)
        inside[:, 0] &= (shown[:, 0] >= box.x0) & (shown[:, 0] <= box.x1) | (not along[0])
        inside[:, 1] &= (shown[:, 1] >= box.y0) & (shown[:, 1] <= box.y1) | (not along[1])
        outside = data[~inside.all(1)]
        if len(outside):
            x, y = (f"{value:.4g}" for value in outside[0])
            some = "a point lies" if len(outside) == 1 else f"{len(outside)} points lie"
            yield f"panel {name}: {some} outside the axes, such as ({x}, {y})"
        if whole and under is not None and under.count_contains(shown):
            yield f"panel {name}: the legend covers data"
    if empty:
        yield f"panel {name} is empty"


def _points(artist, axes) -> tuple[np.ndarray, np.ndarray, tuple[bool, bool]]:
    """An artist's finite points, in its own coordinates and on the screen; which are the data's."""
    from matplotlib.collections import PathCollection
    from matplotlib.image import AxesImage

    if isinstance(artist, AxesImage):
        left, right, bottom, top = artist.get_extent()
        points, transform = np.array([[left, bottom], [right, top]]), axes.transData
    elif isinstance(artist, PathCollection):
        points, transform = artist.get_offsets(), artist.get_offset_transform()
    elif hasattr(artist, "get_paths"):
        points = [path.vertices for path in artist.get_paths()]
        points, transform = np.concatenate([np.empty((0, 2)), *points]), artist.get_transform()
    elif hasattr(artist, "get_xydata"):
        points, transform = artist.get_xydata(), artist.get_transform()
    else:
        # Of a bar, its corners as they were given: its path is a unit square.
        points = artist.get_patch_transform().transform(artist.get_path().vertices)
        transform = artist.get_data_transform()
    points = np.ma.filled(np.ma.asarray(points, float), np.nan).reshape(-1, 2)
    points = points[np.isfinite(points).all(1)]
    with np.errstate(all="ignore"):
        shown = np.ma.filled(transform.transform(points), np.nan)
    return points, shown, transform.contains_branch_seperately(axes.transData)


def _faults_of_labels(fig) -> Iterator[str]:
    picture = fig.bbox.padded(SLACK)
    labels = [
        (text.get_text().replace("\n", " "), text.get_window_extent()) for text in _texts(fig)
    ]
    shown = [axes for axes in fig.get_axes() if axes.get_visible() and axes.axison]
    ticks = [
        (label.get_text(), label.get_window_extent().padded(GAP, 0))
        for axes in shown
        for axis in (axes.xaxis, axes.yaxis)
        for label in tick_labels(axis)
    ]
    for name, box in [*labels, *ticks]:
        if not (
            picture.x0 <= box.x0
            and box.x1 <= picture.x1
            and picture.y0 <= box.y0
            and box.y1 <= picture.y1
        ):
            yield f"the label “{name}” reaches beyond the picture"
    for (one, first), (other, second) in itertools.combinations([*labels, *ticks], 2):
        if overlap(first, second):
            yield f"the labels “{one}” and “{other}” lie on each other"
    for legend, axes in itertools.product(_of_all_parts(fig, "legends"), fig.get_axes()):
        if axes.get_visible() and overlap(legend.get_window_extent(), axes.bbox):
            yield "the legend lies on a panel"


def overlap(one, other) -> bool:
    """Whether two boxes on the screen lie on each other by more than `SLACK`."""
    wide = min(one.x1, other.x1) - max(one.x0, other.x0)
    high = min(one.y1, other.y1) - max(one.y0, other.y0)
    return wide > SLACK and high > SLACK


def _of_all_parts(fig, what: str) -> list:
    """The legends, or the texts, of a figure and of the figures in it."""
    return [*getattr(fig, what), *(one for sub in fig.subfigs for one in _of_all_parts(sub, what))]


def _texts(fig) -> list:
    """Every text that is drawn, but for tick labels."""
    texts = _of_all_parts(fig, "texts")
    legends = _of_all_parts(fig, "legends")
    for axes in fig.get_axes():
        if not axes.get_visible():
            continue
        texts += axes.texts
        if (legend := axes.get_legend()) is not None:
            legends = [*legends, legend]
        texts += [axes.title, axes._left_title, axes._right_title]
        if not axes.axison:
            continue
        for axis in (axes.xaxis, axes.yaxis):
            texts += [axis.label, axis.get_offset_text()]
    texts += [text for legend in legends for text in legend.get_texts()]
    return [text for text in texts if text.get_visible() and text.get_text().strip()]


def tick_labels(axis) -> list:
    """The tick labels of an axis that are drawn: those of ticks in view, by place."""
    low, high = sorted(axis.get_view_interval())
    slack = 1e-9 * (high - low)
    ticks = [*axis.get_major_ticks(), *axis.get_minor_ticks()]
    ticks = [tick for tick in ticks if low - slack <= tick.get_loc() <= high + slack]
    labels = [
        label
        for tick in sorted(ticks, key=lambda tick: tick.get_loc())
        for label in (tick.label1, tick.label2)
    ]
    return [label for label in labels if label.get_visible() and label.get_text().strip()]

"""The numbers that a drawn figure shows, read off the figure itself: `values` of any of them.

What a reader may want to draw in another way. Read from the picture, not from the table that it
was made of, so that they are the numbers seen: no more, and none that a page keeps to itself.
"""

from collections.abc import Iterator
from typing import Any

import numpy as np
import pandas as pd

COLUMNS = ["panel", "series", "x_name", "x", "x_low", "x_high", "y_name", "y", "y_low", "y_high"]
CELLS = 1000  # of a picture made of cells: beyond, it is a texture, and nobody reads its values


def values(fig) -> pd.DataFrame:
    """A row a point, with its interval where one is drawn; nothing for reference lines.

    Columns: `panel` (its title, or number), `series` (its words in the legend), the axes' names,
    `x` and `y` (a category by its name), `x_low` … `y_high`. Cells of an image have their value in
    `value`. In data units. Points that share their place and interval are told once.
    """
    fig.canvas.draw()  # sets the names of categories
    legend = _legend(fig)
    rows: list[dict[str, Any]] = []
    for number, axes in enumerate(fig.get_axes()):
        if not axes.get_visible() or hasattr(axes, "_colorbar"):
            continue
        names = {"panel": _line(axes.get_title()) or str(number + 1)}
        names |= {"x_name": _line(axes.get_xlabel()), "y_name": _line(axes.get_ylabel())}
        for point in _of_axes(axes, legend):
            told = names | point
            rows.append({name: value for name, value in told.items() if value != ""})
    table = pd.DataFrame(rows, columns=[*COLUMNS, "value"])
    return table.drop_duplicates(ignore_index=True).dropna(axis=1, how="all")


def _line(text: str) -> str:
    return " ".join(text.split())


def _look(artist) -> tuple:
    """Colour and marker: by which a legend tells series apart."""
    from matplotlib.colors import to_hex

    if hasattr(artist, "get_facecolor") and not hasattr(artist, "get_marker"):
        colours = np.atleast_2d(artist.get_facecolor())
        return (to_hex(colours[0]) if len(colours) else None, None)
    marker = artist.get_marker()
    return to_hex(artist.get_color()), None if marker in ("None", "", None, " ") else str(marker)


def _legend(fig) -> dict[tuple, str]:
    """{look: words}, with the colour alone where only one series of the legend has it."""
    from matplotlib.lines import Line2D

    found: dict[tuple, str] = {}
    for axes in fig.get_axes():
        for handle, label in zip(*axes.get_legend_handles_labels(), strict=True):
            line = handle[0] if isinstance(handle, tuple) else handle  # of an interval, its mean
            if isinstance(line, Line2D):
                found.setdefault(_look(line), _line(label))
    colours = [colour for colour, _ in found]
    alone = {(c, None): words for (c, _), words in found.items() if colours.count(c) == 1}
    return alone | found


def _of_axes(axes, legend: dict[tuple, str]) -> Iterator[dict[str, Any]]:
    from matplotlib.collections import PathCollection, PolyCollection
    from matplotlib.container import ErrorbarContainer
    from matplotlib.patches import Rectangle

    bars = [one for one in axes.containers if isinstance(one, ErrorbarContainer)]
    told = {id(one.lines[0]) for one in bars}
    told |= {id(cap) for one in bars for cap in one.lines[1]}
    for container in bars:
        yield from _with_intervals(axes, container, legend)
    joined = {_places(one.lines[0]) for one in bars if one.lines[0] is not None}
    for line in axes.lines:
        whole = line.get_transform() == axes.transData
        if id(line) in told or not whole or not line.get_visible() or _places(line) in joined:
            continue
        yield from (
            _point(axes, x, y, _series(line, legend)) for x, y in line.get_xydata().tolist()
        )
    for cloud in axes.collections:
        if isinstance(cloud, PathCollection) and cloud.get_visible():
            words = _series(cloud, legend)
            yield from (_point(axes, x, y, words) for x, y in np.asarray(cloud.get_offsets()))
        elif isinstance(cloud, PolyCollection) and cloud.get_visible():
            yield from _band(axes, cloud, _series(cloud, legend))
    for bar in axes.patches:
        if isinstance(bar, Rectangle) and bar.get_transform().contains_branch(axes.transData):
            middle, top = bar.get_x() + bar.get_width() / 2, bar.get_y() + bar.get_height()
            if all(bar.get_transform().contains_branch_seperately(axes.transData)):
                yield _point(axes, middle, top, _series(bar, legend))
    for image in axes.images:
        cells = np.ma.filled(np.ma.asarray(image.get_array(), float), np.nan)
        if cells.ndim == 2 and cells.size <= CELLS:
            for (row, column), value in np.ndenumerate(cells):
                yield _point(axes, column, row, "") | {"value": value}


def _band(axes, band, words: str) -> Iterator[dict[str, Any]]:
    """The interval that a band shows at each of its places; none for a span between lines."""
    for path in band.get_paths():
        ends = pd.DataFrame(path.vertices, columns=["x", "y"]).groupby("x")["y"].agg(["min", "max"])
        for x, low, high in ends.itertuples():
            here = {"series": words, "x": _named(axes.xaxis, x)}
            yield here | {"y_low": float(low), "y_high": float(high)}


def _places(line) -> tuple:
    return tuple(map(tuple, np.round(line.get_xydata(), 12).tolist()))


def _with_intervals(axes, container, legend) -> Iterator[dict[str, Any]]:
    line, _, ranges = container.lines
    if line is None:
        return
    words = _series(line, legend)
    ends = [one.get_segments() for one in ranges]
    for place, (x, y) in enumerate(line.get_xydata().tolist()):
        point = _point(axes, x, y, words)
        for segments in ends:
            if place >= len(segments) or len(segments[place]) < 2:
                continue
            (x0, y0), (x1, y1) = np.asarray(segments[place])[[0, -1]].tolist()
            lying = x0 != x1
            point |= {"x_low": x0, "x_high": x1} if lying else {"y_low": y0, "y_high": y1}
        yield point


def _series(artist, legend: dict[tuple, str]) -> str:
    label = str(artist.get_label() or "")
    if label and not label.startswith("_"):
        return _line(label)
    colour, marker = _look(artist)
    return legend.get((colour, marker)) or legend.get((colour, None)) or ""


def _point(axes, x: float, y: float, series: str) -> dict[str, Any]:
    return {"series": series, "x": _named(axes.xaxis, x), "y": _named(axes.yaxis, y)}


def _named(axis, value: float) -> float | str:
    """A category's name, where the axis names its whole numbers or this very place; else a number.

    What stands aside of a category's tick, so that series do not cover each other, belongs to it.
    """
    from matplotlib.ticker import FixedLocator

    if not isinstance(axis.get_major_locator(), FixedLocator):
        return float(value)
    at = np.asarray(axis.get_majorticklocs(), float)
    # Not the labels: those of a panel that shares its axis with the one beside it are not drawn.
    names = [_line(name) for name in axis.get_major_formatter().format_ticks(at)]
    if not len(at) or len(at) != len(names):
        return float(value)
    nearest = int(np.abs(at - value).argmin())
    categories = np.array_equal(at, np.arange(len(at))) and len(at) > 1
    if categories or np.isclose(at[nearest], value):
        return names[nearest] or float(value)
    return float(value)

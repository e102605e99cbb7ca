"""The values under a figure are those that it shows."""

import matplotlib
import numpy as np
import pandas as pd
import pytest

matplotlib.use("Agg")

from matplotlib import pyplot
from test_figure_faults import DRAWN, panels

from ethical_compression import figures
from ethical_compression.figures.values import values


def test_intervals_are_told_as_the_table_has_them():
    table, titles, *_ = panels()
    fig, _ = figures.interval_panels(table, titles)
    told = values(fig)
    table = table[table["panel"].isin(titles)]
    assert len(told) == len(table)
    words = {panel: " ".join(title.split()) for panel, title in titles.items()}
    for row in table.to_dict("records"):
        mine = told[
            (told["series"] == row["compression"])
            & (told["y"] == row["row"])
            & (told["x_name"] == words[row["panel"]])
        ]
        assert len(mine) == 1
        expected = [row[name] for name in ("difference", "ci_low", "ci_high")]
        assert mine[["x", "x_low", "x_high"]].iloc[0].tolist() == pytest.approx(expected)


def test_what_a_point_lacks_is_missing_and_numbers_are_numbers():
    fig, (left, right) = pyplot.subplots(1, 2)
    left.plot([1, 2], [3.5, 4], "s", label="a")
    right.imshow([[0.5]])
    told = values(fig)
    pyplot.close(fig)
    assert told["series"].isna().tolist() == [False, False, True]
    assert told["value"].isna().tolist() == [True, True, False]
    assert pd.api.types.is_float_dtype(told["value"])
    assert not (told.astype(object) == "").any(axis=None)


def test_what_stands_aside_of_a_tick_is_told_by_its_name_and_a_number_by_itself():
    fig, (left, right) = pyplot.subplots(1, 2)
    left.errorbar([-0.2, 0.8], [1, 2], yerr=[[0.5, 0.25], [1, 1]], ls="", marker="o", label="a")
    left.plot([0.2, 1.2], [3, 4], "s", label="b")
    left.set_xticks([0, 1], ["first", "second\nline"])
    left.axhline(9)
    right.plot([0, 0.5, 0.7], [1, 2, 3], "s", color=left.lines[-2].get_color())
    right.set_xticks([0, 0.5, 1], ["0", "½", "1"])
    right.imshow(np.array([[7.0]]))
    told = values(fig)
    first = told[told["series"] == "a"]
    assert first["x"].tolist() == ["first", "second line"]
    assert first[["y", "y_low", "y_high"]].to_numpy().tolist() == [[1, 0.5, 2], [2, 1.75, 3]]
    assert told.loc[told["series"] == "b", "y"].tolist()[:2] == [3, 4]
    assert 9 not in told["y"].tolist(), "a reference line is no value"
    assert 0.7 in told["x"].tolist()
    assert told["value"].dropna().tolist() == [7]


def test_a_band_is_told_as_the_interval_that_it_is():
    fig, axes = pyplot.subplots()
    axes.fill_between([1, 2, 3], [0, 1, 2], [4, 5, 6], color="red", alpha=0.2)
    axes.plot([1, 2, 3], [2, 3, 4], color="red", label="a")
    told = values(fig)
    band = told[told["y_low"].notna()]
    assert band[["x", "y_low", "y_high"]].to_numpy().tolist() == [[1, 0, 4], [2, 1, 5], [3, 2, 6]]
    assert set(told["series"]) == {"a"}


@pytest.mark.parametrize("name", DRAWN)
def test_every_figure_of_the_book_has_values(name):
    fig, _ = DRAWN[name]()
    told = values(fig)
    if name == "rounded_group" or not any(axes.images for axes in fig.get_axes()):
        assert len(told), "nothing is told"
    numbers = told.select_dtypes("number")
    assert isinstance(told, pd.DataFrame) and not np.isinf(numbers.to_numpy(float)).any()

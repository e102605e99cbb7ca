"""What the figures of one layer draw, and what their words say of it."""

import matplotlib
import numpy as np
import pandas as pd

matplotlib.use("Agg")

from ethical_compression import figures


def test_strokes_are_the_values_there_are_and_dots_what_weights_become():
    weights, grid = np.array([0.1, 0.9]), np.array([0.0, 1.0])
    fig, alt = figures.rounded_group(weights, {1: (np.array([0.0, 1.0]), grid)})
    axes = fig.axes[0]
    stroke = next(line for line in axes.lines if line.get_marker() == "|")
    assert list(stroke.get_xdata()) == [0, 1]
    assert "2 weights" in alt and "at 1 bits the 2 values are 1.000 apart" in alt


def test_the_largest_move_is_named_by_its_column():
    together = np.array([[1, 0.2, -0.4], [0.2, 1, 0], [-0.4, 0, 1]])
    fig, alt = figures.error_feedback(together, np.array([-0.01, 0.02]), 0.05, 3)
    bars = [bar.get_height() for bar in fig.axes[1].patches]
    assert bars == [-0.01, 0.02]
    assert "0.20 in mean size" in alt and "+0.020 (column 2)" in alt and "of row 3" in alt
    assert "by 0.0150 in the mean" in alt


def test_zeros_are_held_against_those_of_the_first_rule():
    first = np.zeros((4, 8), bool)
    first[:, ::2] = True
    other = first.copy()
    other[:2] = ~first[:2]
    zeros = {"Magnitude 50%": first, "Wanda 50%": other, "SparseGPT 50%": first}
    fig, alt = figures.zeros_of_rules(zeros | {"SparseGPT 2:4": other})
    assert alt.endswith("SparseGPT 2:4 has 2 zeros in every 4 neighbours.")
    assert "50% are also Wanda's and 100% are also SparseGPT's" in alt
    np.testing.assert_array_equal(fig.axes[0].images[0].get_array(), first[:4, :4])
    assert f"{first.mean(0).std(ddof=1):.2f} (Magnitude)" in alt


def test_shares_are_a_line_and_patterns_stand_beside_it():
    table = pd.DataFrame({"rule": "Wanda", "amount": [0.3, 0.5, "2:4", "4:8"]})
    table["output error"] = [0.1, 0.2, 0.3, 0.25]
    fig, alt = figures.error_by_sparsity(table)
    assert list(fig.axes[0].lines[0].get_ydata()) == [0.1, 0.2]
    assert list(fig.axes[1].lines[0].get_ydata()) == [0.3, 0.25]
    assert "from 0.100 at 30% to 0.200 at 50%, 0.300 at 2:4 and 0.250 at 4:8" in alt


def test_blocks_that_would_go_are_marked():
    fig, alt = figures.block_contributions([0.9, 0.1, 0.05], {"upper": [2], "least": [1, 2]})
    lines = {line.get_label(): list(line.get_ydata()) for line in fig.axes[0].lines}
    assert lines["upper"] == [0.05] and lines["least"] == [0.1, 0.05]
    assert "most block 0 (0.900), median 0.100" in alt and "upper blocks [2]" in alt


def test_a_method_stands_at_its_two_errors():
    points = pd.DataFrame({"label": ["a", "b"], "weight error": [0.1, 0.2]})
    fig, alt = figures.output_against_weight_error(points.assign(**{"output error": [0.3, 0.05]}))
    places = [(line.get_xdata()[0], line.get_ydata()[0]) for line in fig.axes[0].lines[:2]]
    assert places == [(0.1, 0.3), (0.2, 0.05)]
    assert "a: 0.300 at 0.100; b: 0.050 at 0.200" in alt

"""What the figures of the generation chapter draw, against the tables that they are given."""

import matplotlib
import numpy as np
import pandas as pd
import pytest

matplotlib.use("Agg")

from matplotlib import pyplot

from ethical_compression import figures
from ethical_compression.metrics import generated_text


@pytest.fixture(autouse=True)
def close():
    yield
    pyplot.close("all")


def tokens(**texts):
    """One prompt's continuations: a list of (piece, probability) by model."""
    return pd.DataFrame(
        [
            {
                "compression": model,
                "prompt": 0,
                "position": k,
                "token_id": sum(map(ord, piece)),
                "piece": piece,
                "logprob": np.log(p),
                "end": piece == "",
            }
            for model, text in texts.items()
            for k, (piece, p) in enumerate(text)
        ]
    )


FULL = [(" a", 0.5), (" cat", 0.25), (" sat\n", 1.0), ("", 0.5)]
OTHER = [(" a", 0.25), (" cat", 0.5), (" ran", 0.125)]


def test_a_text_continued_twice_has_a_bar_a_token_and_marks_the_difference():
    fig, alt = figures.continued_twice(tokens(full=FULL, NF4=OTHER), "There is", "NF4")
    (axes,) = fig.axes
    heights = [-bar.get_height() / 0.5 for bar in axes.patches]
    assert heights == pytest.approx([0.5, 0.25, 1.0, 0.5, 0.25, 0.5, 0.125])
    assert [bool(bar.get_hatch()) for bar in axes.patches] == [False] * 2 + [True] * 2 + [
        False,
        False,
        True,
    ]
    words = {text.get_text(): text.get_weight() for text in axes.texts}
    assert words[" sat↵"] == words[" ran"] == words["[end]"] == "bold"
    assert words[" cat"] == "normal"
    assert "first differ at token 3" in alt and "“a cat ran”" in alt
    assert "mean probability of 0.56" in alt and "nan" not in alt
    same, alt = figures.continued_twice(tokens(full=FULL, NF4=FULL), "There is", "NF4")
    assert "never differ" in alt and not any(bar.get_hatch() for bar in same.axes[0].patches)


def test_long_texts_are_broken_into_lines_that_fit():
    long = [(f" word{k}", 0.5) for k in range(40)]
    fig, _ = figures.continued_twice(tokens(full=long, NF4=long), "x " * 40, "NF4")
    (axes,) = fig.axes
    assert all(bar.get_x() + bar.get_width() <= 60 for bar in axes.patches)
    assert (
        min(axes.get_ylim()) < 0 < max(t.get_position()[1] for t in axes.texts) < axes.get_ylim()[0]
    )


def test_survival_curves_say_when_half_are_gone():
    same = pd.DataFrame(
        {
            "model": "m",
            "compression": ["NF4"] * 4 + ["LLM.int8"] * 4,
            "prompt": [0, 1, 2, 3] * 2,
            "same": [0, 1, 1, 4, 4, 4, 4, 4],
            "diverged": [True] * 4 + [False] * 4,
        }
    )
    curve = generated_text.survival(same, 5).assign(decoding="greedy")
    fig, alt = figures.survival_curves(curve)
    (axes,) = fig.axes
    assert "NF4, greedy: half are gone after 2 tokens, 0% are left at 5" in alt
    assert "LLM.int8, greedy: half are gone after more tokens than were written, 100%" in alt
    np.testing.assert_allclose(axes.lines[0].get_ydata(), curve["same"][:6])
    assert {text.get_text() for text in fig.legends[0].get_texts()} == {"NF4", "LLM.int8"}
    assert axes.get_xlabel() and axes.get_ylabel() and axes.get_title() == "greedy (4 texts)"


def test_kl_along_draws_medians_within_their_intervals():
    rng = np.random.default_rng(0)
    rows = [
        (model, prompt, position, size * rng.exponential())
        for model, size in (("NF4", 0.4), ("GPTQ 3-bit", 2.0))
        for prompt in range(12)
        for position in range(6 + 6 * (prompt > 7))  # only four texts reach beyond the sixth place
    ]
    table = pd.DataFrame(rows, columns=["compression", "prompt", "position", "kl"]).assign(
        model="m"
    )
    along = generated_text.along_text(table)
    assert along["position"].max() == 5 and set(along["n"]) == {12}
    early = table[table["position"] < 6]
    middle = early.groupby(["compression", "position"], sort=False)["kl"].median()
    np.testing.assert_allclose(along["kl"], middle)
    # Of twelve values the third and the tenth: 96.1% by the binomial distribution.
    first = np.sort(table[(table["compression"] == "NF4") & (table["position"] == 0)]["kl"])
    assert (along.iloc[0]["low"], along.iloc[0]["high"]) == (first[2], first[9])
    fig, alt = figures.kl_along(along)
    (axes,) = fig.axes
    np.testing.assert_allclose(axes.lines[0].get_ydata(), along["kl"][:6])
    assert axes.get_yscale() == "log"
    assert f"NF4 {along['kl'][:6].mean():.3f}" in alt


def test_the_interval_along_a_text_holds_where_a_means_does_not():
    # Log-normal, as divergences are: the bootstrap of a mean of 40 held in 64 to 87 of 100 studies.
    rng, held, studies = np.random.default_rng(1), 0, 400
    for _ in range(studies):
        values = rng.lognormal(0, 2, 40)
        place = {"model": "m", "compression": "NF4", "prompt": range(40), "position": 0}
        found = generated_text.along_text(pd.DataFrame(place | {"kl": values})).iloc[0]
        held += found["low"] <= 1 <= found["high"]
    assert held / studies > 0.93


def test_interval_panels_draw_every_row_and_count_those_beyond_zero():
    rows = [
        ("a", "x", "NF4", 0.1, 0.05, 0.15),
        ("a", "y", "NF4", -0.1, -0.3, 0.1),
        ("b", "x", "NF4", 2.0, -1.0, 5.0),
        ("b", "y", "NF4", -3.0, -4.0, -2.0),
    ]
    fields = ["panel", "row", "compression", "difference", "ci_low", "ci_high"]
    table = pd.DataFrame(rows, columns=fields)
    fig, alt = figures.interval_panels(table, {"a": "First", "b": "Second\nhalf"}, names={"x": "X"})
    left, right = fig.get_axes()
    assert [bar.lines[0].get_xdata()[0] for bar in right.containers] == [2.0, -3.0]
    assert [label.get_text() for label in left.get_yticklabels()] == ["X", "y"]
    assert "First: 1 of 2 intervals leave out zero; the largest difference is +0.1" in alt
    assert "Second half: 1 of 2" in alt and "(NF4, y)" in alt
    assert not fig.legends  # a single model needs none
    small = table.assign(**{name: table[name] * 1e-5 for name in fields[3:]})
    fig, _ = figures.interval_panels(small, {"a": "First", "b": "Second"})
    fig.canvas.draw()
    assert not any(axes.xaxis.get_offset_text().get_text() for axes in fig.get_axes())

"""That figures draw what their words say; how they look is for eyes."""

import matplotlib
import numpy as np
import pandas as pd
import pytest

matplotlib.use("Agg")

from hypothesis import given
from hypothesis import strategies as st
from matplotlib import pyplot

from ethical_compression import figures, statistics, words
from ethical_compression.errors import InputError
from ethical_compression.figures import forms
from ethical_compression.metrics.confidence import per_item, summary

NAMES = {"piqa": "PIQA", "openbookqa": "OpenBookQA", "siqa": "SIQA"}
FIGURES = [
    figures.confidence_before_after,
    figures.reliability_diagram,
    figures.change_against_confidence,
    figures.risk_coverage_curves,
]


@pytest.fixture(scope="module")
def items():
    rng = np.random.default_rng(0)
    rows = []
    for benchmark, options in (("piqa", 2), ("openbookqa", 4), ("siqa", 3)):
        base = rng.normal(-20, 2, size=(60, options))
        for k, model in enumerate(["GPTQ 3-bit", "full", "something else"]):
            noisy = base + k * rng.normal(size=base.shape)
            rows += [
                (model, benchmark, str(i), option, i % options, noisy[i, option])
                for i, option in np.ndindex(*base.shape)
            ]
    columns = ["compression", "benchmark", "item", "option", "gold", "logprob"]
    return per_item(pd.DataFrame(rows, columns=columns))


@pytest.fixture(autouse=True)
def close():
    yield
    pyplot.close("all")


@pytest.mark.parametrize("draw", FIGURES)
def test_every_figure_has_labelled_axes_a_legend_and_words(draw, items):
    fig, alt = draw(items, names=NAMES)
    fig.canvas.draw()
    shown = [axes for axes in fig.get_axes() if axes.get_visible()]
    text = " ".join(t.get_text() for axes in shown for t in (axes.xaxis.label, axes.title))
    ticks = " ".join(label.get_text() for axes in shown for label in axes.get_yticklabels())
    assert all(name in text + ticks for name in NAMES.values())
    assert any(axes.get_xlabel() for axes in shown)
    legend = [label.get_text() for label in fig.legends[0].get_texts()]
    assert {"GPTQ 3-bit", "something else"} <= set(legend)
    assert fig.get_facecolor() == (1, 1, 1, 1)
    assert 1 <= alt.count(". ") + 1 <= 4
    assert "nan" not in alt


def test_confidence_before_after_says_the_numbers_it_draws(items):
    fig, alt = figures.confidence_before_after(items, names=NAMES)
    table = statistics.paired_table(items)
    largest = table.loc[table["difference"].abs().idxmax()]
    assert f"largest change from it is {words.with_interval(largest)}" in alt
    assert f"for {largest['compression']} on {NAMES[largest['benchmark']]}" in alt
    zero = ((table["ci_low"] <= 0) & (table["ci_high"] >= 0)).sum()
    assert f"intervals of {zero} of 6 changes include zero" in alt
    for row in summary(items[items["compression"] == "full"]).to_dict("records"):
        assert f"{NAMES[row['benchmark']]} {row['conf_true'] / 100:.3f}" in alt
    drawn = sorted(bar.lines[0].get_xdata()[0] for bar in fig.get_axes()[1].containers)
    np.testing.assert_allclose(drawn, sorted(table["difference"]))


def test_reliability_diagram_says_the_numbers_it_draws(items):
    fig, alt = figures.reliability_diagram(items, names=NAMES, bins=5)
    rows = summary(items)
    full = rows[(rows["compression"] == "full") & (rows["benchmark"] == "piqa")].iloc[0]
    said = f"mean confidence {full['conf'] / 100:.3f}, share right {full['accuracy'] / 100:.3f}"
    assert f"PIQA: {said}" in alt
    widest = ((rows["conf"] - rows["accuracy"]) / 100).max()
    assert f"and {words.signed(widest)} (" in alt
    below = fig.get_axes()[1]
    assert sum(bar.get_height() for bar in below.patches) == 3 * 60
    # Bins of too few items are counted and not drawn.
    none, _ = figures.reliability_diagram(items, bins=5, least=61)
    assert all(len(bar.lines[0].get_xdata()) == 0 for bar in none.get_axes()[0].containers)


def test_change_against_confidence_says_the_numbers_it_draws(items):
    fig, alt = figures.change_against_confidence(items, names=NAMES, bins=3)
    assert "regression to the mean" in alt
    before, after = statistics.align(items[items["benchmark"] == "piqa"], "something else")
    own = items[(items["compression"] == "full") & (items["benchmark"] == "piqa")]["confidence"]
    order = np.argsort(own.to_numpy())
    means = [(after - before).to_numpy()[part].mean() for part in np.split(order, 3)]
    drawn = fig.get_axes()[0].containers[1].lines[0].get_ydata()
    np.testing.assert_allclose(drawn, means)
    low, high = (
        min(bar.lines[0].get_ydata().min() for axes in fig.get_axes() for bar in axes.containers),
        max(bar.lines[0].get_ydata().max() for axes in fig.get_axes() for bar in axes.containers),
    )
    assert words.signed(low) in alt
    assert words.signed(high) in alt


def test_risk_coverage_curves_end_at_the_plain_share_wrong(items):
    from ethical_compression.metrics.confidence import aurc

    fig, alt = figures.risk_coverage_curves(items, names=NAMES)
    rows = summary(items).set_index(["benchmark", "compression"])["accuracy"]
    for axes, benchmark in zip(fig.get_axes(), NAMES, strict=False):
        ends = [line.get_ydata()[-1] for line in axes.get_lines()]
        assert sorted(ends) == pytest.approx(sorted(1 - rows[benchmark] / 100))
        assert all(line.get_xdata()[0] >= 25 / 60 for line in axes.get_lines())
        drawn = np.concatenate([line.get_ydata() for line in axes.get_lines()])
        assert axes.get_ylim()[0] == 0 and drawn.max() <= axes.get_ylim()[1]
    side = items[(items["compression"] == "full") & (items["benchmark"] == "piqa")]
    assert f"full {aurc(side['confidence'], side['correct']):.3f}" in alt


def test_overconfidence_by_length_draws_confidence_above_and_its_excess_below(items):
    full = items[items["compression"] == "full"]
    # Each benchmark's options are ten times as long as the one's before.
    rank = np.arange(180) % 60 + 1
    full = full.assign(length=rank * 10.0 ** (np.arange(180) // 60))
    both = pd.concat([full.assign(normalisation="none"), full.assign(normalisation="byte")])
    fig, alt = figures.overconfidence_by_length(both, bins=3)
    above, below = fig.get_axes()
    shortest = full[rank <= 20]  # twenty of each benchmark
    excess = shortest["confidence"] - shortest["correct"]
    for axes, values in ((above, shortest["confidence"]), (below, excess)):
        assert axes.containers[0].lines[0].get_ydata()[0] == pytest.approx(values.mean())
    gap = words.signed((full["confidence"] - full["correct"]).mean(), 2)
    assert f"sum {words.signed(excess.mean(), 2)} for the shortest" in alt
    assert f"{gap} overall" in alt
    assert [text.get_text() for text in fig.legends[0].get_texts()] == ["sum", "per byte"]


def test_repaired_reliability_counts_repeated_items_once(items):
    piqa = items[items["benchmark"] == "piqa"]
    once = piqa.assign(fix="none")
    twice = pd.concat([once.assign(repeat=0), once.assign(repeat=1)])
    bars = []
    for table in (once, twice):
        fig, alt = figures.repaired_reliability(table, bins=4)
        parts = fig.get_axes()[0].containers[0].lines[2]
        bars.append([line.get_segments() for line in parts])
    np.testing.assert_allclose(bars[0], bars[1])
    gap = (piqa["confidence"] - piqa["correct"])[piqa["compression"] == "full"].mean()
    assert f"full: none {words.signed(gap, 2)}" in alt


OTHERS = [f"other {k}" for k in range(12)]


@given(
    st.lists(st.sampled_from(sorted(figures.LOOKS)), unique=True),
    st.lists(st.sampled_from(OTHERS), unique=True),
    st.randoms(),
)
def test_a_look_belongs_to_a_label_whatever_stands_beside_it(listed, unlisted, random):
    together = [*listed, *unlisted]
    random.shuffle(together)
    found = figures.looks(together)
    assert list(found) == together and len(set(found.values())) == len(together)
    assert all(found[label] == figures.LOOKS[label] for label in listed)
    # No listed label takes an unlisted one's, so that it is what it is alone, but for a clash.
    assert {label: found[label] for label in unlisted} == figures.looks(sorted(unlisted))
    for label in unlisted:
        alone = figures.looks([label])[label]
        assert found[label] == alone or alone in set(found.values())


def test_no_look_is_the_full_models_or_two_labels():
    assert len(set(figures.LOOKS.values())) == len(figures.LOOKS)
    black = figures.LOOKS["full"][0]
    shown = figures.looks([*figures.LOOKS, *OTHERS])
    assert [label for label, (colour, _) in shown.items() if colour == black] == ["full"]


def test_figures_refuse_what_cannot_be_paired(items):
    alone = items[items["compression"] == "full"]
    with pytest.raises(InputError, match="no model besides"):
        figures.confidence_before_after(alone)
    with pytest.raises(InputError, match="no model besides"):
        figures.change_against_confidence(alone)
    figures.reliability_diagram(alone)
    for draw in (figures.confidence_before_after, figures.change_against_confidence):
        with pytest.raises(InputError, match="only one of"):
            draw(items.iloc[1:])


def test_the_token_tree_shows_trunk_and_branches():
    from ethical_compression.score.token_tree import plan_rows
    from ethical_compression.score.tokens import Encoded

    encoded = [Encoded([5, 6, 7, a, b, 0], 3) for a, b in ((1, 2), (3, 4))]
    (row,) = plan_rows(encoded, layout="tree", width=10**9, limit=10**9)
    fig, alt = figures.token_tree(row, [str(token) for token in row.token])
    (axes,) = fig.axes
    seen = axes.images[0].get_array()
    assert seen.sum(1).tolist() == [1, 2, 3, 4, 5, 4, 5]
    assert axes.get_xlabel() and axes.get_ylabel()
    assert "sees the first 3, which all 2 branches share" in alt


def test_growing_costs_are_multiples_of_the_least():
    sizes = {"a": [2, 4, 8], "b": [10, 40]}
    table = pd.concat(
        pd.DataFrame({"curve": name, "size": its, "seconds": its, "megabytes": 5.0})
        for name, its in sizes.items()
    )
    fig, alt = figures.growing_costs(table)
    time, memory = fig.axes
    assert [list(line.get_ydata()) for line in time.lines[:2]] == [[1, 2, 4], [1, 4]]
    assert [list(line.get_ydata()) for line in memory.lines[:2]] == [[1, 1, 1], [1, 1]]
    assert "a: 4 times as much takes 4.0" in alt and alt.endswith("times as long.")


# --- Moral preference -----------------------------------------------------------------------------


@pytest.fixture(scope="module")
def verdicts():
    rng = np.random.default_rng(0)
    tables = []
    for model, norms in (("GPTQ 3-bit", [True]), ("full", [True, False])):
        for language in ("en", "fr"):
            for norm in norms:
                columns = {
                    "compression": model,
                    "language": language,
                    "norm": norm,
                    "story": range(40),
                }
                columns |= {"moral_tokens": rng.integers(15, 25, 40), "immoral_tokens": 20}
                margin = rng.normal(size=40)
                columns |= {"margin": margin, "prefers_moral": margin > 0}
                tables.append(pd.DataFrame(columns))
    return pd.concat(tables, ignore_index=True)


def test_shares_and_changes_are_drawn_where_their_words_say(verdicts):
    changes = pd.DataFrame(
        {"label": ["norm\ngiven"], "difference": [-0.1], "ci_low": [-0.2], "ci_high": [0.0]}
    )
    fig, alt = figures.moral_preference(verdicts, changes)
    left, right = fig.get_axes()
    assert [label.get_text() for label in left.get_yticklabels()] == [
        "English\nwith norm",
        "French\nwith norm",
        "English\nwithout norm",
        "French\nwithout norm",
    ]
    assert len(left.containers) == 2 + 4 and len(right.containers) == 1
    side = verdicts[(verdicts["compression"] == "full") & (verdicts["language"] == "fr")]
    for norm, said in ((True, "with"), (False, "without")):
        value = side.loc[side["norm"] == norm, "prefers_moral"].mean()
        assert f"full, French {said} norm: {value:.2f}" in alt
    assert "norm given −0.10 (−0.20 to 0.00)" in alt
    assert [text.get_text() for text in fig.legends[0].get_texts()] == ["full", "GPTQ 3-bit"]


def test_length_panels_carry_their_correlation(verdicts):
    from scipy import stats

    table = verdicts[(verdicts["compression"] == "full") & verdicts["norm"]]
    longer = table["moral_tokens"] - table["immoral_tokens"]
    moved = table.assign(margin=table["margin"] - 5 * longer)
    fig, alt = figures.length_and_preference({"mean": table, "sum": moved})
    for title, one in (("mean", table), ("sum", moved)):
        rho = stats.spearmanr(longer, one["margin"]).statistic
        assert f"{title}: ρ {words.signed(rho, 2)}" in alt
    assert len(fig.get_axes()) == 2 and "ρ = −0.9" in fig.get_axes()[1].get_title()


def test_bars_of_both_orders_fill_up_and_hide_an_empty_no_answer():
    patterns = ["moral twice"] * 3 + ["first twice"] * 5 + ["immoral twice"] * 2
    stories = pd.DataFrame({"pattern": patterns, "label": "label"})
    fig, alt = figures.answers_in_both_orders(stories)
    (axes,) = fig.get_axes()
    assert sum(bar.get_width() for bar in axes.patches) == pytest.approx(1)
    assert "moral twice 0.30, first twice 0.50, second twice 0.00, immoral twice 0.20" in alt
    assert "no answer" not in alt
    more = pd.concat([stories, stories.assign(label="written", pattern="no answer")])
    assert "written: moral twice 0.00" in figures.answers_in_both_orders(more)[1]


@pytest.fixture
def distances():
    rng = np.random.default_rng(1)
    rows = [
        (model, size, benchmark, str(i), scale * rng.random())
        for model, scale in (("GPTQ 4-bit", 0.2), ("GPTQ 3-bit", 0.5))
        for size in (1e8, 5e8)
        for benchmark in ("piqa", "openbookqa", "siqa")
        for i in range(40)
    ]
    columns = ["compression", "parameters", "benchmark", "item", "js_distance"]
    table = pd.DataFrame(rows, columns=columns)
    return table.assign(model=table["parameters"].map("{:.0f}".format))


def test_distances_say_the_numbers_they_draw(distances):
    fig, alt = figures.distances(distances, what="the options", names=NAMES)
    (axes,) = fig.axes
    here = distances[
        (distances["compression"] == "GPTQ 3-bit") & (distances["benchmark"] == "siqa")
    ]
    values = here["js_distance"]
    low, high = values.quantile([0.05, 0.95])
    said = f"GPTQ 3-bit on SIQA mean {values.mean():.3f}, nine in ten between {low:.3f} and"
    assert f"{said} {high:.3f}" in alt
    assert any(np.allclose(line.get_xdata(), [low, high]) for line in axes.lines)
    assert any(np.allclose(line.get_xdata(), values.mean()) for line in axes.lines)
    assert [label.get_text() for label in axes.get_yticklabels()] == list(NAMES.values())
    assert {"GPTQ 4-bit", "GPTQ 3-bit"} == {text.get_text() for text in fig.legends[0].get_texts()}


def test_distance_by_size_says_the_numbers_it_draws(distances):
    fig, alt = figures.distance_by_size(distances, names=NAMES)
    here = distances[
        (distances["compression"] == "GPTQ 4-bit") & (distances["benchmark"] == "piqa")
    ]
    means = here.groupby("parameters")["js_distance"].mean()
    said = ", ".join(f"{mean:.3f} at {size / 1e6:,.0f} million" for size, mean in means.items())
    assert f"GPTQ 4-bit on PIQA {said}" in alt
    drawn = fig.get_axes()[0].containers[0].lines[0]
    np.testing.assert_allclose(drawn.get_xdata(), [100, 500])
    np.testing.assert_allclose(drawn.get_ydata(), means)


def test_two_base_models_of_one_size_are_two_points(distances):
    twin = distances.assign(model="twin " + distances["model"], js_distance=0.9)
    fig, alt = figures.distance_by_size(pd.concat([distances, twin]), names=NAMES)
    drawn = fig.get_axes()[0].containers[0].lines[0]
    np.testing.assert_allclose(drawn.get_xdata(), [100, 100, 500, 500])
    np.testing.assert_allclose(drawn.get_ydata()[1::2], 0.9)
    _, alone = figures.distance_by_size(distances, names=NAMES)
    said = alone.split("GPTQ 4-bit on PIQA ")[1].split(" million")[0]
    assert f"{said} million, 0.900 at 100 million" in alt


def test_paired_groups_say_the_numbers_they_draw():
    rng = np.random.default_rng(2)
    rows = [
        (model, seed, group, "piqa", f"{group}{i}", gain + rng.random())
        for model, gain in (("plain", 0.0), ("weighted", 0.1))
        for seed in (0, 1, 2)
        for group in ("unsure", "sure")
        for i in range(20)
    ]
    columns = ["compression", "seed", "group", "benchmark", "item", "value"]
    table = statistics.paired_by_group(
        pd.DataFrame(rows, columns=columns), first="plain", second="weighted", value="value"
    )
    fig, alt = figures.paired_groups(table, first="plain", second="weighted", what="value")
    left, right = fig.axes
    assert [label.get_text() for label in left.get_yticklabels()] == ["unsure", "sure"]
    for row in table.to_dict("records"):
        said = f"{row['group']} {row['mean_first']:.3f} and {row['mean_second']:.3f}, difference "
        assert said + words.with_interval(row) in alt
    drawn = [bar.lines[0].get_xdata()[0] for bar in right.containers]
    np.testing.assert_allclose(drawn, table["difference"])
    dots = [line.get_xdata() for line in right.lines if len(line.get_xdata()) == 3]
    np.testing.assert_allclose(dots, table["by_seed"].tolist())


def test_change_is_binned_by_the_second_look_where_there_is_one(items):
    keys = ["benchmark", "item"]
    full = items[items["compression"] == "full"].set_index(keys)
    again = full["confidence"][::-1].reset_index(drop=True).set_axis(full.index)
    fig, alt = figures.change_against_confidence(
        items, names=NAMES, bins=3, value="confidence", again=again.sample(frac=1, random_state=0)
    )
    assert "second look" in alt and "regression" not in alt
    before, after = statistics.align(
        items[items["benchmark"] == "piqa"], "something else", value="confidence"
    )
    order = np.argsort(again.loc["piqa"].loc[before.loc["piqa"].index].to_numpy())
    means = [(after - before).to_numpy()[part].mean() for part in np.split(order, 3)]
    np.testing.assert_allclose(fig.get_axes()[0].containers[1].lines[0].get_ydata(), means)
    assert fig.get_axes()[0].get_ylabel() == "Change in confidence"


@pytest.fixture(scope="module")
def bias():
    from ethical_compression.metrics import bias_auc

    rng = np.random.default_rng(0)
    toxic = rng.random(300) < 0.5
    members = pd.DataFrame({"a": rng.random(300) < 0.4, "b": rng.random(300) < 0.4})
    members["few"] = np.arange(300) < 12
    frames = [
        bias_auc.bias_aucs(toxic * depth / 4 + rng.normal(size=300), toxic, members).assign(
            depth=depth, seed=seed, compression="full" if depth == 6 else f"{depth} layers"
        )
        for depth in (6, 4, 3)
        for seed in range(3)
    ]
    return pd.concat(frames, ignore_index=True)


def test_bias_auc_by_depth_draws_its_table_and_hollows_what_is_weak(bias):
    from ethical_compression.metrics import bias_auc

    means = bias_auc.over_seeds(bias[bias["community"] != bias_auc.ALL], ["depth"])
    fig, alt = figures.bias_auc_by_depth(means, names={"a": "Group A"})
    shown = [axes for axes in fig.get_axes() if axes.get_visible()]
    assert [axes.get_title() for axes in shown] == ["Group A", "b", "few"]
    first = means[(means["community"] == "a") & (means["metric"] == "bpsn")].set_index("depth")
    drawn = shown[0].containers[1].lines[0].get_ydata()
    np.testing.assert_allclose(drawn, first.loc[[6, 4, 3], "auc"])
    hollow = [line for line in shown[2].lines if line.get_markerfacecolor() == "white"]
    assert sum(len(line.get_xdata()) for line in hollow) >= 3
    ends = means[(means["metric"] == "subgroup") & (means["depth"] == 3)]
    assert f"{ends['auc'].mean():.3f} with 3" in alt and "nan" not in alt


def test_shift_against_overall_draws_intervals_of_the_excess(bias):
    from ethical_compression.statistics import uniformity

    shifts = uniformity.shift_table(uniformity.gaps(bias, "subgroup"))
    fig, alt = figures.shift_against_overall(shifts, margin=0.02)
    axes = next(a for a in fig.get_axes() if a.get_title() == "3 layers")
    here = shifts[shifts["compression"] == "3 layers"].set_index("community")
    bar = axes.containers[0]
    assert bar.lines[0].get_xdata()[0] == pytest.approx(here.loc["a", "shift"])
    low, high = bar.lines[2][0].get_segments()[0][:, 0]
    assert high - low == pytest.approx(here.loc["a", "ci_high"] - here.loc["a", "ci_low"])
    assert f"overall {words.signed(here['overall'].mean())}" in alt
    assert f"of {here['p'].notna().sum()} with p < 0.05" in alt and "nan" not in alt


def test_scores_of_runs_are_drawn_and_said_without_broken_words():
    rows = [
        {"way": "full", "depth": 6, "compr": 0.5},
        *({"way": "upper", "depth": d, "compr": v} for d, v in ((5, 0.4), (5, 0.6), (3, 0.1))),
    ]
    fig, alt = figures.scores_against(
        pd.DataFrame(rows), "depth", {"compr": "Comprehen-\nsiveness"}, by="way", full="full"
    )
    (axes,) = fig.get_axes()
    assert [label.get_text() for label in axes.get_xticklabels()] == ["5", "3"]
    assert axes.get_ylabel() == "Comprehen-\nsiveness"
    # A line parts the levels, so that series beside a tick belong to it.
    parted = [line.get_xdata()[0] for line in axes.get_lines() if line.get_color() == "0.85"]
    assert parted == [0.5] and axes.get_xlim() == (-0.5, 1.5)
    assert "Comprehensiveness lies between 0.100 (upper, 3) and 0.500 (upper, 5)" in alt


def test_ticks_are_written_as_the_text_writes_numbers():
    assert [forms.tick(one) for one in (0.25, -3, -5e-5)] == ["0.25", "−3", "−5.0 × 10⁻⁵"]


def test_ticks_of_different_numbers_do_not_read_alike():
    assert forms.apart([0.66, 0.9985, 0.99996, 0.66]) == ["0.66", "0.999", "1.000", "0.66"]
    assert forms.apart([0.99991, 0.99996]) == ["0.9999", "1.0000"]
    assert forms.apart([0.5, 0.61]) == ["0.50", "0.61"]


def test_bias_by_community_says_who_is_lowest_and_what_changed():
    values = {("full", "a"): 0.7, ("full", "b"): 0.6, ("small", "a"): 0.65, ("small", "b"): 0.61}
    rows = [
        {"compression": model, "community": community, "metric": "bpsn", "auc": auc}
        | {"ci_low": auc - 0.1, "ci_high": auc + 0.1}
        for (model, community), auc in values.items()
    ]
    fig, alt = figures.bias_by_community(pd.DataFrame(rows), metrics={"bpsn": "BPSN"})
    assert len(fig.get_axes()) == 1
    assert "the model full is lowest on b (0.600)" in alt
    assert "small changes it by −0.050 (a) to +0.010 (b)" in alt


def test_the_bias_aucs_of_a_figure_lie_on_one_scale():
    row = {"compression": "full", "community": "a"}
    rows = [
        row | {"metric": metric, "auc": auc, "ci_low": auc - 0.1, "ci_high": auc + 0.1}
        for metric, auc in {"subgroup": 0.9, "bpsn": 0.4, "bnsp": 0.7}.items()
    ]
    fig, _ = figures.bias_by_community(pd.DataFrame(rows))
    first, *others = [axes.get_xlim() for axes in fig.get_axes()]
    assert others == [first] * 2


def test_values_beside_chance_and_learning_curves_say_what_they_show():
    table = pd.DataFrame(
        {
            "row": ["virtue", "virtue", "justice"],
            "by": ["children", "adults", "children"],
            "value": [0.4, 0.2, 0.5],
            "low": [0.3, 0.1, np.nan],
            "high": [0.5, 0.3, np.nan],
            "chance": [0.2, 0.2, 0.5],
        }
    )
    fig, alt = figures.beside_chance(table, "share right")
    assert "of 3 values 1 lie above chance" in alt and "children and adults" in alt
    assert fig.get_axes()[0].get_xlabel() == "share right"
    curve = pd.DataFrame({"by": "children", "tokens": [100, 200], "development": [9.0, 8.5]})
    _, alt = figures.learning_curves(curve, "nats")
    assert "children from 9.00 to 8.50" in alt

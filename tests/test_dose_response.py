import math

import numpy as np
import pandas as pd
import pytest
import statsmodels.api as sm
from scipy import stats

from ethical_compression import statistics
from ethical_compression.errors import InputError
from ethical_compression.statistics import dose_response

# The model before training, then runs of (pairs, seed): the chapter's in `laptop`, the kept run's.
FEW = ((0, 0), (8, 0), (8, 1), (32, 0), (32, 1), (84, 0))
MANY = ((0, 0), (8, 0), (8, 1), (8, 2), (84, 0), (84, 1), (84, 2), (640, 0))


def simulated(seed, runs=FEW, *, slope=0.6, spread=0.0, between=0.0, stories=44):
    """Answers of a world whose logits lie on this line: of stories and of runs, with their spreads.

    The model before training is one and the same: no run's luck is in it.
    """
    generator = np.random.default_rng(seed)
    own = generator.normal(0, 1, stories) * spread
    tables = []
    for pairs, number in runs:
        luck = generator.normal(0, 1) * between if pairs else 0.0
        line = -0.2 + slope * math.log1p(pairs) + luck + own
        turned = generator.random(stories) < 1 / (1 + np.exp(-line))
        tables.append(
            pd.DataFrame(
                {"story": range(stories), "pairs": pairs, "seed": number, "turned": turned}
            )
        )
    return pd.concat(tables, ignore_index=True)


def test_ed50_by_hand():
    # From 1/2 half way to 1 is 3/4, whose logit is log 3: log(1 + n) = 1, n = e − 1.
    assert dose_response.ed50(0.0, math.log(3)) == pytest.approx(math.e - 1)
    assert dose_response.ed50(0.0, 0.0) == math.inf
    assert dose_response.ed50(0.0, -1.0) == math.inf
    assert dose_response.ed50(0.0, 1e-6) == math.inf


def test_the_line_and_its_two_errors_are_those_of_statsmodels():
    table = simulated(0, spread=1.0)
    found = dose_response.fit(table)
    turned = table["turned"].astype(float)
    design = sm.add_constant(np.log1p(table["pairs"].to_numpy(float)))
    family = sm.families.Binomial()
    stories = sm.GEE(turned, design, groups=table["story"], family=family).fit()
    assert (found.intercept, found.slope) == pytest.approx(tuple(stories.params), rel=1e-5)
    # Between runs: Pearson's statistic over its degrees of freedom, times the binomial covariance.
    shares = table.groupby(["pairs", "seed"])["turned"].mean().reset_index()
    design = sm.add_constant(np.log1p(shares["pairs"].to_numpy(float)))
    line = found.preference(shares["pairs"])
    variance = line * (1 - line) / 44
    scale = ((shares["turned"] - line) ** 2 / variance).sum() / 4
    bread = np.linalg.inv((design.T * (44**2 * variance)) @ design)
    # Less what a story does in one run alone: the interaction of a table of stories and runs.
    wide = table.pivot(index=["pairs", "seed"], columns="story", values="turned").astype(float)
    wide = wide.sub(line, axis=0)
    alone = wide.sub(wide.mean(axis=0), axis=1).sub(wide.mean(axis=1), axis=0)
    alone = (alone + wide.to_numpy().mean()) ** 2
    cell = sum(
        np.outer(row, row) * one * 6 / 5 * 44 / 43
        for row, one in zip(design, alone.sum(axis=1), strict=True)
    )
    values, axes = np.linalg.eigh(scale * bread - bread @ cell @ bread)
    runs = axes @ np.diag(values.clip(0)) @ axes.T
    half = math.hypot(
        stats.t.ppf(0.975, 43) * stories.bse.iloc[1] * math.sqrt(44 / 43),
        stats.t.ppf(0.975, 4) * math.sqrt(runs[1, 1]),
    )
    assert found.slope_high - found.slope == pytest.approx(half, rel=1e-3)
    assert (found.stories, found.runs) == (44, 6)
    assert found.observed == pytest.approx(shares.groupby("pairs")["turned"].mean().to_dict())
    assert found.preference(0) == pytest.approx(found.start)
    assert found.preference(found.ed50) == pytest.approx((1 + found.start) / 2)


@pytest.mark.parametrize(
    ("runs", "stories", "slope", "between"),
    [(FEW, 44, 0.0, 0.6), (FEW, 44, 0.6, 0.0), (MANY, 150, 0.0, 0.6), (MANY, 150, 0.4, 0.6)],
)
def test_intervals_hold_what_they_promise(runs, stories, slope, between):
    truth = dose_response.ed50(-0.2, slope)
    times, slopes, ed50s = 40, 0, 0
    for seed in range(times):
        world = simulated(seed, runs, slope=slope, between=between, stories=stories)
        found = dose_response.fit(world)
        assert (found.slope_low > 0) == math.isfinite(found.ed50_high)
        assert (found.p < 0.05) == (found.slope_low > 0 or found.slope_high < 0)
        slopes += found.slope_low <= slope <= found.slope_high
        ed50s += found.ed50_low <= truth <= found.ed50_high
    # 95% of 40 is 38; fewer than 34 would happen once in a hundred, were it 95%.
    assert slopes >= 34 and ed50s >= 34


def test_where_nothing_turns_there_is_no_dose():
    found = dose_response.fit(simulated(3, slope=0.0))
    assert found.slope_low < 0 < found.slope_high
    assert found.ed50_high == math.inf > found.ed50_low
    falls = dose_response.fit(simulated(3, MANY, slope=-0.6, stories=150))
    assert falls.slope_high < 0
    assert falls.ed50 == falls.ed50_low == falls.ed50_high == math.inf


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda table: table.drop(columns="pairs"), "lacks the column"),
        (lambda table: table.assign(turned=2), "0 or 1"),
        (lambda table: table.assign(turned=1), "alike"),
        (lambda table: table[table["pairs"] == 8], "two numbers of pairs"),
        (lambda table: pd.concat([table, table[table["pairs"] == 8]]), "answered a story twice"),
        (lambda table: table.iloc[:-1], "lack answers"),
        (lambda table: table[table["pairs"].isin([0, 84])], "three runs"),
    ],
)
def test_answers_that_make_no_curve_are_refused(change, words):
    with pytest.raises(InputError, match=words):
        dose_response.fit(change(simulated(0, stories=10)))


def test_runs_that_turn_all_at_once_have_no_slope():
    rows = [
        (story, pairs, seed, int(pairs > 0))
        for story in range(5)
        for pairs, seed in ((0, 0), (8, 0), (8, 1))
    ]
    table = pd.DataFrame(rows, columns=["story", "pairs", "seed", "turned"])
    with pytest.raises(InputError, match="exactly on a curve"):
        dose_response.fit(table)


def aligned(shifts, *, stories=60, noise=0.05, seed=0):
    """Answers of models whose training moved margins by `shifts`, {(compression, direction): …}."""
    generator = np.random.default_rng(seed)
    start = generator.normal(0, 1, stories)
    rows = []
    for compression in dict.fromkeys(name for name, _ in shifts):
        moved = start + generator.normal(0, 0.3, stories)  # what compression does by itself
        sides = {"none": 0.0} | {
            way: by for (name, way), by in shifts.items() if name == compression
        }
        for direction, by in sides.items():
            sign = -1 if direction == "immoral" else 1
            margin = moved + sign * (by + generator.normal(0, noise, stories))
            rows.append(
                pd.DataFrame(
                    {
                        "compression": compression,
                        "direction": direction,
                        "story": range(stories),
                        "margin": margin,
                    }
                )
            )
    return pd.concat(rows, ignore_index=True)


def test_what_compression_leaves_of_a_shift():
    table = aligned(
        {
            ("full", "moral"): 0.5,
            ("full", "immoral"): 0.5,
            ("int8", "moral"): 0.5,
            ("int8", "immoral"): 0.5,
            ("layers", "moral"): 0.1,
            ("layers", "immoral"): 0.9,
        }
    )
    found = dose_response.survival(table).set_index(["compression", "direction"])
    assert found["shift"].round(1).to_dict() == {
        (name, way): by
        for way in ("moral", "immoral")
        for name, by in {"full": 0.5, "int8": 0.5, "layers": 0.1 if way == "moral" else 0.9}.items()
    }
    verdicts = found["verdict"].dropna().to_dict()
    assert verdicts == {
        ("int8", "moral"): "kept",
        ("int8", "immoral"): "kept",
        ("layers", "moral"): "weaker",
        ("layers", "immoral"): "stronger",
    }
    assert found.loc["full", ["difference", "p_holm", "kept"]].isna().all().all()

    # The same by hand: margins of one compression, with and without training, story by story.
    wide = table.pivot(index="story", columns=["compression", "direction"], values="margin")
    full = wide["full", "moral"] - wide["full", "none"]
    left = wide["layers", "moral"] - wide["layers", "none"]
    row = found.loc["layers", "moral"]
    assert row["difference"] == pytest.approx((left - full).mean())
    assert row["p"] == pytest.approx(stats.ttest_rel(left, full).pvalue)
    assert row["kept"] == pytest.approx(left.mean() / full.mean())


def test_stacked_tables_are_one_family():
    shifts = {("full", "moral"): 0.5, ("nf4", "moral"): 0.45}
    tables = [dose_response.survival(aligned(shifts, seed=seed)) for seed in (1, 2)]
    one = dose_response.as_one_family(pd.concat(tables, ignore_index=True))
    rows = one[one["outcome"].notna()]
    assert rows["p_holm"].tolist() == list(statistics.holm(rows["p"]))
    assert one["outcome"].isna().sum() == sum(t["outcome"].isna().sum() for t in tables)


def test_calibration_on_own_stories_is_against_the_same_compression_on_other_text():
    table = aligned({("full", "moral"): 0.5, ("nf4", "moral"): 0.5, ("own nf4", "moral"): 0.3})
    own = table["compression"] == "own nf4"
    kept = table["compression"].isin(["nf4", "own nf4"])
    two = table[kept].assign(section=own.map({True: "own", False: "after"}), compression="nf4")
    found = dose_response.on_own_stories(two)
    assert set(found["compression"]) == {"nf4"}
    assert (found["difference"] < 0).all()


def test_a_ratio_within_the_margin_is_kept_where_fiellers_interval_says_so():
    # Fieller's 90% interval of the ratio of two paired means holds the ratios r that a t-test of
    # left − r · full does not refuse: equivalence within 1 ± margin is that it lies inside.
    for seed, by in enumerate((0.46, 0.48, 0.5, 0.53, 0.56)):
        table = aligned({("full", "moral"): 0.5, ("nf4", "moral"): by}, noise=0.1, seed=seed)
        row = dose_response.survival(table).query("compression == 'nf4'").iloc[0]
        wide = table.pivot(index="story", columns=["compression", "direction"], values="margin")
        full, left = (wide[name, "moral"] - wide[name, "none"] for name in ("full", "nf4"))
        ratios = np.linspace(0.5, 1.5, 2001)
        inside = [stats.ttest_1samp(left - ratio * full, 0).pvalue >= 0.1 for ratio in ratios]
        fieller = ratios[inside]
        assert (row["p_kept"] < 0.05) == (fieller.min() > 0.9 and fieller.max() < 1.1)


def test_where_nothing_was_turned_nothing_is_kept():
    table = aligned({("full", "moral"): 0.0, ("int8", "moral"): 0.0}, noise=0.3)
    found = dose_response.survival(table)
    assert found["verdict"].dropna().tolist() == ["nothing to keep"]
    assert found["p_kept"].isna().all()


def test_a_table_with_gaps_is_refused():
    table = aligned({("full", "moral"): 0.5, ("int8", "moral"): 0.5})
    with pytest.raises(InputError, match="no answers of"):
        dose_response.survival(table.query("direction != 'none'"))
    with pytest.raises(InputError, match="some stories"):
        dose_response.survival(table.drop(index=table.index[-1]))


def test_an_equivalence_is_corrected_as_a_difference_is():
    shifts = {("full", "moral"): 0.5} | {(f"c{i}", "moral"): 0.5 + 0.004 * i for i in range(8)}
    found = dose_response.survival(aligned(shifts, noise=0.08, seed=2)).iloc[1:]
    assert found["p_kept_holm"].to_list() == statistics.holm(found["p_kept"]).tolist()
    single, corrected = found["p_kept"] < 0.05, found["p_kept_holm"] < 0.05
    assert (single & ~corrected).any()  # the case that this test is about
    assert ((found["verdict"] == "kept") == (corrected & (found["p_holm"] >= 0.05))).all()
    # A change that is settled is no "kept", however small: it is said to be both.
    settled = found["p_holm"] < 0.05
    assert found.loc[settled, "verdict"].isin(["weaker", "stronger"]).all()


def test_what_is_kept_of_both_directions_is_compared():
    shifts = {("full", "moral"): 0.5, ("full", "immoral"): 0.3}
    shifts |= {("int8", "moral"): 0.5, ("int8", "immoral"): 0.3}
    shifts |= {("layers", "moral"): 0.1, ("layers", "immoral"): 0.29}
    found = dose_response.by_direction(aligned(shifts, noise=0.02, seed=1)).set_index("compression")
    assert found["outcome"].to_dict() == {"int8": "equivalent", "layers": "lower"}
    assert found.loc["layers", "difference"] == pytest.approx(
        found.loc["layers", "kept_moral"] - found.loc["layers", "kept_immoral"]
    )
    with pytest.raises(InputError, match="both"):
        dose_response.by_direction(aligned({("full", "moral"): 0.5, ("int8", "moral"): 0.5}))
    nothing = {(name, way): 0.0 for name in ("full", "int8") for way in ("moral", "immoral")}
    found = dose_response.by_direction(aligned(nothing, noise=0.3))
    assert found["outcome"].tolist() == ["untestable"]


def test_the_interval_between_directions_holds_what_it_promises():
    within, times = 0, 30
    for seed in range(times):
        shifts = {("full", "moral"): 0.4, ("full", "immoral"): 0.3}
        shifts |= {("nf4", "moral"): 0.32, ("nf4", "immoral"): 0.21}  # 0.8 and 0.7 are left
        row = dose_response.by_direction(aligned(shifts, stories=44, noise=0.2, seed=seed)).iloc[0]
        within += row["ci_low"] <= 0.1 <= row["ci_high"]
    assert within >= 0.95 * times - 3 * math.sqrt(times * 0.95 * 0.05)


def scored(seeds, *, shift=0.0, between=0.0, stories=44, seed=0):
    """Verdicts before training, and of one training under several seeds."""
    generator = np.random.default_rng(seed)
    start, own = generator.normal(0, 1, stories), generator.normal(0, 0.1, stories)
    common = {"language": "en", "size": 8, "story": range(stories)}
    tables = [pd.DataFrame(common | {"direction": "none", "seed": 0, "margin": start})]
    for number in range(seeds):
        luck = generator.normal(0, between) if between else 0.0
        after = start + shift + luck + own + generator.normal(0, 0.05, stories)
        tables.append(
            pd.DataFrame(common | {"direction": "moral", "seed": number, "margin": after})
        )
    table = pd.concat(tables, ignore_index=True)
    return table.assign(prefers_moral=table["margin"] > 0)


def test_of_one_run_the_test_is_over_stories():
    table = scored(1, shift=0.05)
    row = dose_response.against_base(table, ["direction", "size", "language"]).iloc[0]
    wide = table.pivot(index="story", columns="direction", values="margin")
    test = stats.ttest_rel(wide["moral"], wide["none"])
    assert row["runs"] == 1 and row["p"] == pytest.approx(test.pvalue)
    assert (row["ci_low"], row["ci_high"]) == pytest.approx(tuple(test.confidence_interval()))


def test_of_several_runs_the_test_is_over_runs_too():
    # Nothing is trained in on average, but runs differ: the stories of these runs cannot tell.
    false = stories = 0
    for seed in range(20):
        table = scored(2, between=0.15, seed=seed)
        row = dose_response.against_base(table, ["direction", "size", "language"], within=0.2)
        false += row["p"].iloc[0] < 0.05
        wide = table.pivot_table(index="story", columns="direction", values="margin")
        stories += stats.ttest_rel(wide["moral"], wide["none"]).pvalue < 0.05
        assert row["detectable"].iloc[0] > 0 and row["runs"].iloc[0] == 2
    assert false <= 4 and stories > 10  # 5% of 20; over stories alone it is most


def test_no_change_is_claimed_against_a_margin_only():
    by = ["direction", "size", "language"]
    still = dose_response.against_base(scored(3, between=0.001), by, within=0.2).iloc[0]
    assert still["p_within_holm"] < 0.05
    moved = dose_response.against_base(scored(3, shift=0.3, between=0.001), by, within=0.2).iloc[0]
    assert moved["p_within"] > 0.5
    unmoved = scored(1)
    unmoved["margin"] = unmoved.groupby("story")["margin"].transform("first")
    row = dose_response.against_base(unmoved, by, within=0.2).iloc[0]
    assert row["p"] == 1 and row["p_within"] == 0

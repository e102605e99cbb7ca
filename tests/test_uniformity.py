"""Against scipy, statsmodels and sums of squares by hand, and the size and power they promise."""

import math

import numpy as np
import pandas as pd
import pytest
from scipy import stats
from statsmodels.stats.power import TTestIndPower, TTestPower
from statsmodels.stats.weightstats import ttost_ind

from ethical_compression import statistics, uniformity
from ethical_compression.errors import InputError
from ethical_compression.score import groups


def simulated(rng, communities, seeds, *, excess=0.0, sd=(0.01, 0.01, 0.02), uniform=-0.05):
    """Gaps of runs whose overall score moves by `uniform`, and each community's by `excess` more.

    sd: of what a seed's two runs share, of what a run's communities share, and of the rest; an
    array of one spread a community is allowed for the last.
    """
    own = rng.normal(size=seeds) * sd[0]
    frames = []
    for name, moved in (("full", 0), ("half", 1)):
        overall = 0.85 + moved * uniform + 0.01 * rng.normal(size=(seeds, 1))
        run = own[:, None] + rng.normal(size=(seeds, 1)) * sd[1]
        gap = moved * excess + run + sd[2] * rng.normal(size=(seeds, communities)) - 0.1
        where = np.indices(gap.shape).reshape(2, -1)
        frames.append(
            pd.DataFrame({"compression": name, "seed": where[0], "community": where[1]}).assign(
                community=lambda t: "c" + t["community"].astype(str),
                value=(overall + gap).ravel(),
                reference=np.broadcast_to(overall, gap.shape).ravel(),
                gap=gap.ravel(),
                note="",
            )
        )
    return pd.concat(frames, ignore_index=True)


def sides(table, community):
    part = table[table["community"] == community]
    return (part.loc[part["compression"] == name, "gap"].to_numpy() for name in ("full", "half"))


def test_both_designs_equal_scipys_and_statsmodels():
    table = simulated(np.random.default_rng(0), 4, 6, excess=0.02)
    welch = uniformity.shift_table(table, margin=0.03).set_index("community")
    paired = uniformity.shift_table(table, design="paired", margin=0.03).set_index("community")
    for community in welch.index:
        before, after = sides(table, community)
        oracle = stats.ttest_ind(after, before, equal_var=False)
        row = welch.loc[community]
        assert (row["t"], row["p"], row["df"]) == pytest.approx(
            (oracle.statistic, oracle.pvalue, oracle.df)
        )
        assert (row["ci_low"], row["ci_high"]) == pytest.approx(oracle.confidence_interval())
        tost = ttost_ind(after, before, -0.03, 0.03, usevar="unequal")[0]
        assert row["p_tost"] == pytest.approx(tost)
        assert row["excess"] == pytest.approx(row["shift"] - row["overall"])
        assert row["excess"] == pytest.approx(after.mean() - before.mean())
        pair, row = statistics.paired_test(before, after), paired.loc[community]
        assert (row["t"], row["p"], row["ci_low"]) == pytest.approx((pair.t, pair.p, pair.ci_low))
        equivalence = statistics.tost(before, after, 0.03)
        assert row["p_tost"] == pytest.approx(equivalence.p)
        assert row["equivalent"] == equivalence.equivalent
    np.testing.assert_allclose(welch["p_holm"], statistics.holm(welch["p"]))


@pytest.mark.parametrize("design, sd", [("independent", (0, 0, 0.02)), ("paired", (0.05, 0, 0.02))])
def test_size_is_kept_and_intervals_cover(design, sd):
    """3,000 independent communities under the null: 5% ± 1%, which is 2.5 standard errors."""
    table = simulated(np.random.default_rng(1), 3000, 10, sd=sd)
    found = uniformity.shift_table(table, design=design)
    assert abs((found["p"] < 0.05).mean() - 0.05) < 0.01
    inside = (found["ci_low"] <= 0) & (found["ci_high"] >= 0)
    assert abs(inside.mean() - 0.95) < 0.01
    assert found["overall"].mean() == pytest.approx(-0.05, abs=0.02)


def test_three_seeds_keep_the_size_too_and_find_little():
    rng = np.random.default_rng(2)
    null = uniformity.shift_table(simulated(rng, 1500, 3, sd=(0, 0, 0.02)))
    assert 0.01 < (null["p"] < 0.05).mean() < 0.06
    table = uniformity.shift_table(simulated(rng, 1500, 3, sd=(0, 0, 0.02), excess=0.04))
    promised = uniformity.power_of(0.04, [0.02, 0.02], [3, 3])
    # With three runs Welch's df are estimated so badly that the power is below the promise.
    assert promised - 0.12 < (table["p"] < 0.05).mean() < promised < 0.6


def test_a_shift_is_found_with_the_power_that_was_promised():
    table = simulated(np.random.default_rng(3), 1500, 10, sd=(0, 0, 0.02), excess=-0.025)
    found = uniformity.shift_table(table, margin=0.01)
    promised = uniformity.power_of(-0.025, [0.02, 0.02], [10, 10])
    assert (found["p"] < 0.05).mean() == pytest.approx(promised, abs=0.035)
    assert (found.loc[found["p"] < 0.05, "excess"] < 0).all()
    assert not found["equivalent"].mean() > 0.05  # the shift is beyond the margin


def test_mixed_model_keeps_its_size_and_finds_a_shift():
    rng = np.random.default_rng(4)
    null = [uniformity.mixed_model(simulated(rng, 5, 4), "half") for _ in range(25)]
    single = np.concatenate([one.communities["p"] for one in null])
    # 125 dependent tests, and 25 of the interaction: three binomial standard errors and a half.
    assert (single < 0.05).mean() < 0.13
    assert np.mean([one.p < 0.05 for one in null]) < 0.21
    shifted = simulated(rng, 5, 4, excess=np.array([0, 0, 0, 0, -0.08]))
    found = uniformity.mixed_model(shifted, "half")
    worst = found.communities.set_index("community").loc["c4"]
    assert worst["p_holm"] < 0.05 and worst["ci_high"] < 0
    assert found.p < 0.05


def test_mixed_model_is_the_split_plot_anova_where_that_is_defined():
    table = simulated(np.random.default_rng(8), 6, 8, sd=(0.02, 0.02, 0.01))
    found = uniformity.mixed_model(table, "half")
    assert found.sd_seed > 0 and found.sd_run > 0 and found.note == ""
    gap = table.pivot(index=["compression", "seed"], columns="community", values="gap")
    within = gap.sub(gap.mean(axis=1), axis=0)  # without what a run's communities share
    cells = within.groupby("compression").mean()
    moved = cells - cells.mean()
    residual = within - cells.loc[within.index.get_level_values("compression")].to_numpy()
    mean_square = (residual.to_numpy() ** 2).sum() / (5 * 14)
    assert (found.df_between, found.df_within) == (5, 5 * 14)
    assert found.f == pytest.approx(8 * (moved.to_numpy() ** 2).sum() / 5 / mean_square, rel=1e-3)
    assert found.p == pytest.approx(stats.f.sf(found.f, 5, 70))
    assert found.sd_residual == pytest.approx(math.sqrt(mean_square), rel=1e-3)
    welch = uniformity.shift_table(table).set_index("community")
    for row in found.communities.itertuples():
        assert row.excess == pytest.approx(welch.loc[row.community, "excess"])


def test_mixed_model_of_runs_without_a_common_seed():
    table = simulated(np.random.default_rng(5), 4, 5, sd=(0, 0.03, 0.01))
    table.loc[table["compression"] == "half", "seed"] += 100
    found = uniformity.mixed_model(table, "half")
    assert math.isnan(found.sd_run) and found.sd_seed > 0.01
    with pytest.raises(InputError, match="independent design"):
        uniformity.shift_table(table, design="paired")


def test_power_is_the_textbooks():
    for n, d in ((5, 1.2), (20, 0.5)):
        equal = uniformity.power_of(0.1 * d, [0.1, 0.1], [n, n])
        assert equal == pytest.approx(TTestIndPower().power(d, n, 0.05), abs=1e-6)
        one = uniformity.power_of(0.1 * d, [0.1], [n])
        assert one == pytest.approx(TTestPower().power(d, n, 0.05), abs=1e-6)
    assert uniformity.power_of(1.0, [1e-3, 1e-3], [10, 10]) == 1
    # Cohen 1988: 64 a side for d = 0.5 at 80%.
    assert uniformity.seeds_for_power(0.5, [1, 1]) == 64
    assert uniformity.seeds_for_power(0.5, [1]) == statistics.n_for_power(0.5) == 34
    smallest = uniformity.detectable_shift([0.02, 0.03], [3, 4])
    assert uniformity.power_of(smallest, [0.02, 0.03], [3, 4]) == pytest.approx(0.8)
    for bad in (lambda: uniformity.seeds_for_power(0, [1]),
                lambda: uniformity.detectable_shift([0.0], [3])):  # fmt: skip
        with pytest.raises(InputError):
            bad()


@pytest.fixture(scope="module")
def bias():
    """Bias AUCs of four runs a compression; `half` ranks the posts of b badly, `few` is small."""
    rng = np.random.default_rng(6)
    toxic = rng.random(400) < 0.5
    members = pd.DataFrame({"a": rng.random(400) < 0.4, "b": rng.random(400) < 0.4})
    members["few"] = np.arange(400) < 8
    frames = []
    for name in ("full", "half"):
        for seed in range(4):
            strength = np.where((name == "half") & members["b"], 0.3, 2.0)
            score = strength * toxic + rng.normal(size=400)
            frames.append(
                groups.bias_aucs(score, toxic, members).assign(compression=name, seed=seed)
            )
    return pd.concat(frames, ignore_index=True)


def test_gaps_hold_a_community_against_all_texts_or_against_the_others(bias):
    table = uniformity.gaps(bias, "subgroup")
    one = table[(table["compression"] == "half") & (table["seed"] == 2)].set_index("community")
    run = bias[(bias["compression"] == "half") & (bias["seed"] == 2)]
    value = run.set_index(["community", "metric"])["auc"]
    overall = value[groups.ALL, "overall"]
    assert one.loc["b", "gap"] == pytest.approx(value["b", "subgroup"] - overall)
    apart = uniformity.gaps(bias, "subgroup", reference="background")
    other = apart[(apart["compression"] == "half") & (apart["seed"] == 2)].set_index("community")
    gap = value["b", "subgroup"] - value["b", "background"]
    assert other.loc["b", "gap"] == pytest.approx(gap)

    shifts = uniformity.shift_table(table, margin=0.02).set_index("community")
    assert shifts.loc["b", "p_holm"] < 0.05 and shifts.loc["b", "excess"] < 0
    assert math.isnan(shifts.loc["few", "p"]) and "only" in shifts.loc["few", "note"]
    (row,) = uniformity.counts(shifts.reset_index()).to_dict("records")
    assert (row["tested"], row["note"]) == (2, "without few")
    assert row["holm"] == (shifts["p_holm"] < 0.05).sum() <= row["significant"]
    powered = uniformity.with_power(shifts.reset_index(), 0.02).set_index("community")
    assert powered.loc["a", "seeds_needed"] >= 2 and math.isnan(powered.loc["few", "detectable"])
    mixed = uniformity.mixed_model(table, "half")
    assert "without few" in mixed.note and set(mixed.communities["community"]) == {"a", "b"}


def test_what_cannot_be_tested_is_said(bias):
    table = uniformity.gaps(bias)
    lone = uniformity.shift_table(table[table["seed"] == 0])
    assert lone["p"].isna().all() and lone["note"].str.contains("one seed|only").all()
    still = table.assign(gap=table.groupby(["compression", "community"])["gap"].transform("first"))
    found = uniformity.shift_table(still)
    assert found["note"].str.contains("no spread|only").all() and found["p"].isna().all()
    with pytest.raises(InputError, match="no spread"):
        uniformity.mixed_model(still, "half")
    with pytest.raises(InputError, match="two communities and two seeds"):
        uniformity.mixed_model(table[table["seed"] == 0], "half")


@pytest.mark.parametrize(
    "ask, words",
    [
        (lambda b: uniformity.gaps(b, "auc"), "no metric 'auc'"),
        (lambda b: uniformity.gaps(b, reference="full"), "Unknown reference"),
        (lambda b: uniformity.gaps(b.drop(columns="seed")), "lacks the column"),
        (lambda b: uniformity.gaps(pd.concat([b, b])), "there twice"),
        (lambda b: uniformity.shift_table(uniformity.gaps(b), full="whole"), "no runs of 'whole'"),
        (lambda b: uniformity.shift_table(uniformity.gaps(b[b["compression"] == "full"])), "only"),
        (lambda b: uniformity.shift_table(uniformity.gaps(b), design="x"), "Unknown design"),
        (lambda b: uniformity.shift_table(uniformity.gaps(b), margin=0), "positive"),
    ],
)
def test_what_makes_no_sense_is_refused_in_words(ask, words, bias):
    with pytest.raises(InputError, match=words):
        ask(bias)

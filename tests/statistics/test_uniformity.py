"""Against scipy, statsmodels and sums of squares by hand, and the size and power they promise."""

import math

import numpy as np
import pandas as pd
import pytest
from scipy import linalg, stats
from statsmodels.stats.anova import AnovaRM
from statsmodels.stats.weightstats import ttost_ind

from ethical_compression import statistics
from ethical_compression.errors import InputError
from ethical_compression.metrics import bias_auc
from ethical_compression.statistics import uniformity


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
    for p in ("p", "p_tost"):
        np.testing.assert_allclose(welch[f"{p}_holm"], statistics.holm(welch[p]))


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
    promised = statistics.power_of_means(0.04, [0.02, 0.02], [3, 3])
    # With three runs Welch's df are estimated so badly that the power is below the promise.
    assert promised - 0.12 < (table["p"] < 0.05).mean() < promised < 0.6


def test_a_shift_is_found_with_the_power_that_was_promised():
    table = simulated(np.random.default_rng(3), 1500, 10, sd=(0, 0, 0.02), excess=-0.025)
    found = uniformity.shift_table(table, margin=0.01)
    promised = statistics.power_of_means(-0.025, [0.02, 0.02], [10, 10])
    assert (found["p"] < 0.05).mean() == pytest.approx(promised, abs=0.035)
    assert (found.loc[found["p"] < 0.05, "excess"] < 0).all()
    assert (found["p_tost"] < 0.05).mean() < 0.05  # the shift is beyond the margin


def gap_table(**sides):
    """A table of gaps from (seeds, communities) arrays, one a compression."""
    frames = []
    for name, gap in sides.items():
        seed, community = np.indices(gap.shape).reshape(2, -1)
        frames.append(
            pd.DataFrame(
                {"compression": name, "seed": seed, "gap": gap.ravel(), "note": ""}
            ).assign(community=[f"c{k}" for k in community], value=gap.ravel(), reference=0.0)
        )
    return pd.concat(frames, ignore_index=True)


def spread_of(kind: str, communities: int) -> np.ndarray:
    """A square root of the covariance of a run's gaps."""
    if kind == "run mean taken out":  # negative correlation, which a variance of runs cannot hold
        return np.eye(communities) - 0.9 / communities
    if kind == "one community varies":
        return np.diag([5.0] + [1.0] * (communities - 1))
    return np.eye(communities)


@pytest.mark.parametrize("kind", ["alike", "run mean taken out", "one community varies"])
@pytest.mark.parametrize("design", ["paired", "independent"])
def test_the_interaction_keeps_its_size(kind, design):
    """Six seeds, five communities: the mixed model's F found 10.6% of the second kind."""
    rng, rejected = np.random.default_rng(4), 0
    root = spread_of(kind, 5)
    for _ in range(300):
        full, half = (rng.normal(size=(6, 5)) @ root for _ in range(2))
        table = gap_table(full=full, half=half * (1 if design == "paired" else 3))
        rejected += uniformity.interaction(table, "half", design=design).p < 0.05
    assert rejected <= stats.binom.ppf(0.999, 300, 0.05)


def test_the_interaction_finds_a_shift_of_one_community():
    rng = np.random.default_rng(4)
    shifted = simulated(rng, 5, 6, excess=np.array([0, 0, 0, 0, -0.12]))
    found = uniformity.interaction(shifted, "half")
    assert found.p < 0.05 and found.note == "" and len(found.communities) == 5


def test_the_interaction_is_the_f_of_repeated_measures_with_boxs_epsilon():
    """Against statsmodels' F, and ε from the eigenvalues of the contrasts' covariance."""
    table = simulated(np.random.default_rng(8), 6, 8, sd=(0.02, 0.02, 0.01))
    found = uniformity.interaction(table, "half")
    gap = table.pivot(index=["compression", "seed"], columns="community", values="gap")
    change = gap.loc["half"] - gap.loc["full"]
    long = change.stack().rename("change").reset_index()
    oracle = AnovaRM(long, "change", "seed", within=["community"]).fit().anova_table.iloc[0]
    assert found.f == pytest.approx(oracle["F Value"])
    contrasts = linalg.helmert(6)  # orthonormal, without the mean
    values = np.linalg.eigvalsh(contrasts @ np.cov(change, rowvar=False) @ contrasts.T)
    epsilon = values.sum() ** 2 / (values**2).sum() / 5
    assert (found.df_between, found.df_within) == pytest.approx((5 * epsilon, 35 * epsilon))
    assert found.p == pytest.approx(stats.f.sf(found.f, 5 * epsilon, 35 * epsilon))


def test_the_interaction_of_two_communities_is_the_t_test_of_their_difference():
    table = simulated(np.random.default_rng(5), 2, 5, sd=(0, 0.03, 0.01))
    apart = {
        name: part.pivot(index="seed", columns="community", values="gap").diff(axis=1)["c1"]
        for name, part in table.groupby("compression")
    }
    pair = stats.ttest_rel(apart["half"], apart["full"])
    assert uniformity.interaction(table, "half").p == pytest.approx(pair.pvalue)
    welch = stats.ttest_ind(apart["half"], apart["full"], equal_var=False)
    table.loc[table["compression"] == "half", "seed"] += 100
    found = uniformity.interaction(table, "half", design="independent")
    assert (found.f, found.p) == pytest.approx((welch.statistic**2, welch.pvalue))
    assert found.df_within == pytest.approx(welch.df)
    for ask in (uniformity.interaction, uniformity.shared):
        with pytest.raises(InputError, match="independent design"):
            ask(table, "half")


def test_gaps_that_sum_to_zero_have_an_interaction():
    """Each run's mean gap is 0, so there is no variance between runs at all."""
    rng = np.random.default_rng(9)
    gaps = [gap - gap.mean(axis=1, keepdims=True) for gap in rng.normal(size=(2, 6, 5))]
    found = uniformity.interaction(gap_table(full=gaps[0], half=gaps[1]), "half")
    assert 0 < found.p < 1


def test_what_two_runs_of_a_seed_share_is_found_community_by_community():
    """0.96 of the variance, by seed and community: a random effect of the seed alone sees none."""
    rng = np.random.default_rng(10)
    own = rng.normal(size=(6, 5))
    full, half = (math.sqrt(0.96) * own + math.sqrt(0.04) * rng.normal(size=(6, 5)) for _ in "ab")
    found = uniformity.shared(gap_table(full=full, half=half), "half")
    assert found.ci_low < 0.96 < found.ci_high and found.ci_low > 0.5 and found.share > 0.8
    apart = uniformity.shared(gap_table(full=full, half=half[::-1]), "half")
    assert apart.ci_low < 0 < apart.ci_high and apart.ci_low >= -1
    same = uniformity.shared(gap_table(full=full, half=full), "half")
    assert (same.share, same.ci_low, same.ci_high) == (1, 1, 1)


def test_the_interval_of_what_is_shared_covers():
    rng, hits = np.random.default_rng(11), 0
    for _ in range(200):
        own = math.sqrt(0.5) * rng.normal(size=(6, 4))
        full, half = (own + math.sqrt(0.5) * rng.normal(size=(6, 4)) for _ in "ab")
        found = uniformity.shared(gap_table(full=full, half=half), "half")
        hits += found.ci_low <= 0.5 <= found.ci_high
    assert hits >= stats.binom.ppf(0.001, 200, 0.95)


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
                bias_auc.bias_aucs(score, toxic, members).assign(compression=name, seed=seed)
            )
    return pd.concat(frames, ignore_index=True)


def test_gaps_hold_a_community_against_all_texts_or_against_the_others(bias):
    table = uniformity.gaps(bias, "subgroup")
    one = table[(table["compression"] == "half") & (table["seed"] == 2)].set_index("community")
    run = bias[(bias["compression"] == "half") & (bias["seed"] == 2)]
    value = run.set_index(["community", "metric"])["auc"]
    overall = value[bias_auc.ALL, "overall"]
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
    alike = uniformity.interaction(table, "half")
    assert alike.note == "without few" and set(alike.communities) == {"a", "b"}

    stacked = uniformity.shift_tables(bias, ["subgroup", "bnsp"], margin=0.02)
    assert list(stacked["metric"].unique()) == ["subgroup", "bnsp"]
    tested = stacked[stacked["p"].notna()]
    np.testing.assert_allclose(tested["p_holm"], statistics.holm(tested["p"]))
    np.testing.assert_allclose(tested["p_tost_holm"], statistics.holm(tested["p_tost"]))


def test_what_cannot_be_tested_is_said(bias):
    table = uniformity.gaps(bias)
    lone = uniformity.shift_table(table[table["seed"] == 0])
    assert lone["p"].isna().all() and lone["note"].str.contains("one seed|only").all()
    still = table.assign(gap=table.groupby(["compression", "community"])["gap"].transform("first"))
    found = uniformity.shift_table(still)
    assert found["note"].str.contains("no spread|only").all() and found["p"].isna().all()
    with pytest.raises(InputError, match="no spread"):
        uniformity.interaction(still, "half")
    with pytest.raises(InputError, match="two, and two seeds"):
        uniformity.interaction(table[table["seed"] == 0], "half")
    with pytest.raises(InputError, match="Every run must have every community"):
        uniformity.interaction(table.drop(index=0), "half")


def test_interactions_say_why_there_is_none(bias):
    found = uniformity.interactions(bias, ["subgroup", "bpsn"], "half")
    tested = found[found["p"].notna()]
    np.testing.assert_allclose(tested["p_holm"], statistics.holm(tested["p"]))
    alone = uniformity.interactions(bias[bias["seed"] == 0], ["subgroup"], "half")
    assert math.isnan(alone["p"][0]) and "two seeds" in alone["note"][0]


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


def test_a_summary_counts_tested_communities_and_takes_their_medians(bias):
    shifts = uniformity.shift_tables(bias, ["subgroup", "bpsn"], margin=0.02)
    shifts = uniformity.with_power(shifts, 0.02)
    table = uniformity.summary(shifts, ["metric"]).set_index("metric")
    mine = shifts[(shifts["metric"] == "bpsn") & shifts["p"].notna()]
    row = table.loc["bpsn"]
    assert row["tested"] == len(mine) == 2 and row["by_chance"] == pytest.approx(0.1)
    assert row["significant"] == (mine["p"] < 0.05).sum()
    assert row["uniform"] == (mine["p_tost_holm"] < 0.05).sum()
    assert row["largest"] == mine["excess"].abs().max()
    assert row["detectable"] == mine["detectable"].median()
    assert row["seeds_most"] == mine["seeds_needed"].max()

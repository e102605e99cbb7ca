"""Verdicts on a change: the clustered error, the floor, the margin, and how often they err."""

import math

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from ethical_compression.errors import InputError
from ethical_compression.statistics import holm, verdicts


def differences(values, *, check="loss", group="all", floor=0.0, margin=0.05, cluster=None):
    table = pd.DataFrame({"check": check, "group": group, "value": values})
    table = table.assign(floor=floor, margin=margin)
    return table if cluster is None else table.assign(cluster=cluster)


def test_clustered_mean_is_the_cluster_robust_error_of_a_regression_on_a_constant():
    import statsmodels.api as sm

    draw = np.random.default_rng(0)
    clusters = draw.integers(0, 12, 90)
    values = draw.normal(size=90) + draw.normal(size=12)[clusters]
    fit = sm.OLS(values, np.ones(90)).fit(cov_type="cluster", cov_kwds={"groups": clusters})
    mean, se, df = verdicts.clustered_mean(values, clusters)
    assert mean == pytest.approx(fit.params[0], rel=1e-12)
    assert se == pytest.approx(fit.bse[0], rel=1e-9)
    assert df == 11


@given(st.lists(st.floats(-5, 5), min_size=2, max_size=30))
def test_without_clusters_the_error_is_students(values):
    mean, se, df = verdicts.clustered_mean(values)
    assert mean == pytest.approx(np.mean(values))
    assert se == pytest.approx(stats.sem(values), rel=1e-6, abs=1e-9)
    assert df == len(values) - 1


def test_at_a_floor_of_zero_p_is_that_of_a_t_test():
    values = np.random.default_rng(1).normal(0.2, 1, 40)
    mean, se, df = verdicts.clustered_mean(values)
    expected = stats.ttest_1samp(values, 0).pvalue
    assert verdicts.p_beyond(mean, se, 0.0, df) == pytest.approx(expected, rel=1e-9)


@settings(max_examples=50)
@given(st.floats(0.01, 2), st.floats(0, 1), st.floats(0, 1))
def test_a_higher_floor_never_makes_a_change_surer(value, low, more):
    p = [verdicts.p_beyond(value, 0.3, floor, 20) for floor in (low, low + more)]
    assert 0 <= p[0] <= p[1] * (1 + 1e-12) and p[1] <= 1


def test_the_floor_keeps_its_level_where_the_truth_lies_on_it():
    draw = np.random.default_rng(2)
    found = 0
    for _ in range(2000):
        mean, se, df = verdicts.clustered_mean(draw.normal(0.3, 1, 25))
        found += verdicts.p_beyond(mean, se, 0.3, df) < 0.05
    assert stats.binomtest(found, 2000, 0.05, alternative="greater").pvalue > 0.001


@pytest.mark.parametrize(
    ("mean", "expected"),
    [(0.5, "worse"), (-0.5, "better"), (0.0, "equivalent"), (0.04, "cannot tell")],
)
def test_each_verdict_occurs(mean, expected):
    values = np.random.default_rng(3).normal(0, 0.05 if expected != "cannot tell" else 1, 200)
    values += mean - values.mean()
    row = verdicts.judge(differences(values), {"loss": "damage"}).iloc[0]
    assert row["verdict"] == expected
    assert expected in verdicts.VERDICTS


def test_a_settled_change_within_the_margin_is_equivalent_and_its_direction_is_kept():
    values = np.random.default_rng(4).normal(0.01, 0.01, 400)
    row = verdicts.judge(differences(values), {"loss": "damage"}).iloc[0]
    assert row["verdict"] == "equivalent"
    assert row["p_holm"] < 0.05
    assert row["difference"] > 0


def test_what_nothing_moved_needs_many_items_to_be_called_equivalent():
    few, many = (
        verdicts.judge(differences(np.zeros(n)), {"loss": "damage"}).iloc[0] for n in (20, 200)
    )
    assert (few["verdict"], many["verdict"]) == ("cannot tell", "equivalent")
    assert few["p"] == many["p"] == 1
    assert few["p_tost"] == pytest.approx(0.95**20)
    assert math.isnan(few["detectable"])


def test_moves_that_cancel_within_every_cluster_are_no_proof_of_equivalence():
    values = [1.0, -1.0] + [0.0] * 20
    found = verdicts.judge(differences(values, cluster=np.repeat(np.arange(11), 2)), {"loss": "a"})
    assert found.loc[0, "changed"] == 2 and found.loc[0, "se"] == 0
    assert found.loc[0, "p_tost"] == pytest.approx(0.95**11)
    assert found.loc[0, "verdict"] == "cannot tell"


def test_too_few_items_or_clusters_are_said_and_never_dropped():
    table = pd.concat(
        [
            differences(np.ones(4), group="few"),
            differences(np.random.default_rng(5).normal(9, 1, 60), group="one source"),
            differences(np.random.default_rng(6).normal(9, 1, 60), group="enough"),
        ]
    )
    table["cluster"] = np.where(table["group"] == "one source", 0, np.arange(len(table)))
    found = verdicts.judge(table, {"loss": "damage"}).set_index("group")
    assert found["verdict"].tolist() == ["cannot tell", "cannot tell", "worse"]
    assert found.loc["few", "reason"] == "fewer than 10 items"
    assert found.loc["one source", "reason"] == "fewer than 6 independent clusters"
    assert found.loc["enough", "p_holm"] == found.loc["enough", "p"]  # a family of one


@pytest.mark.parametrize(("mean", "expected"), [(0.5, "worse"), (0.0, "cannot tell")])
def test_noise_as_large_as_the_margin_hides_equivalence_and_no_harm(mean, expected):
    values = np.random.default_rng(10).normal(0, 0.01, 40)
    values += mean - values.mean()
    row = verdicts.judge(differences(values, floor=0.06, margin=0.05), {"loss": "damage"}).iloc[0]
    assert row["verdict"] == expected
    assert row["p_tost"] == 1
    assert math.isnan(row["items_needed"])


@pytest.mark.parametrize("cluster", [None, np.arange(80)])
def test_one_item_that_moved_is_no_better_evidence_of_equivalence_than_none(cluster):
    """The exact chance of at most k of 80 at a true share of 0.05 (scipy's binomial test)."""
    p = []
    for moved in (0, 1, 3):
        values = (np.arange(80) < moved).astype(float)
        p.append(verdicts.compare(differences(values, cluster=cluster))["p_tost"].iloc[0])
        exact = stats.binomtest(moved, 80, 0.05, alternative="less").pvalue
        assert p[-1] >= exact * (1 - 1e-9)
    assert p == sorted(p)


@pytest.mark.parametrize("margin", [0.05, 0.1])
@pytest.mark.parametrize("back", [0.0, 0.02])
@pytest.mark.parametrize("n", [12, 40, 160])
def test_answers_that_turn_by_the_margin_are_seldom_called_equivalent(n, back, margin):
    """The exact rate, over all numbers of answers that turn to worse and back."""
    up = margin + back
    counts = [(a, b) for a in range(n + 1) for b in range(n + 1 - a)]
    chances = stats.multinomial.pmf(
        [(a, b, n - a - b) for a, b in counts], n, [up, back, 1 - up - back]
    )
    likely = [(one, chance) for one, chance in zip(counts, chances, strict=True) if chance > 1e-6]
    tables = [
        differences([1.0] * a + [-1.0] * b + [0.0] * (n - a - b), group=f"{a} {b}", margin=margin)
        for (a, b), _ in likely
    ]
    p = verdicts.compare(pd.concat(tables))["p_tost"].to_numpy()
    chances = np.array([chance for _, chance in likely])
    assert chances.sum() == pytest.approx(1, abs=1e-3)
    assert chances[p < 0.05].sum() <= 0.061


def test_a_shift_of_every_item_alike_is_settled_without_a_spread():
    row = verdicts.judge(differences(np.full(20, 0.3)), {"loss": "damage"}).iloc[0]
    assert (row["verdict"], row["p"]) == ("worse", 0)
    assert row["ci_low"] == row["ci_high"] == pytest.approx(0.3)
    inside = verdicts.judge(differences(np.full(20, 0.01)), {"loss": "damage"}).iloc[0]
    assert inside["verdict"] == "equivalent"
    noise = verdicts.judge(differences(np.full(20, 0.01), floor=0.02), {"loss": "damage"}).iloc[0]
    assert noise["p"] == 1


def test_holm_counts_within_a_stage_alone():
    draw = np.random.default_rng(7)
    parts = [differences(draw.normal(0.3, 1, 50), check=name, margin=0.4) for name in "abc"]
    found = verdicts.judge(pd.concat(parts), {"a": "damage", "b": "harm", "c": "harm"})
    found = found.set_index("check")
    assert found.loc["a", "p_holm"] == found.loc["a", "p"]
    assert found.loc[["b", "c"], "p_holm"].min() == pytest.approx(
        min(1, 2 * found.loc[["b", "c"], "p"].min())
    )


def test_the_detectable_change_is_found_in_four_of_five_runs():
    draw = np.random.default_rng(8)
    row = verdicts.judge(differences(draw.normal(0, 1, 60), margin=2.0), {"loss": "d"}).iloc[0]
    true = row["detectable"] / row["se"] / math.sqrt(60)  # in standard deviations
    hits = sum(
        verdicts.compare(differences(draw.normal(true, 1, 60), margin=99.0))["p"].iloc[0] < 0.05
        for _ in range(400)
    )
    assert stats.binomtest(hits, 400, 0.8).pvalue > 0.001


def test_no_change_is_rarely_called_one_over_a_whole_family():
    """Of families of twelve groups with clusters, at most one in twenty errs (but for chance)."""
    draw = np.random.default_rng(9)
    clusters = np.arange(48) % 12
    false = 0
    for _ in range(300):
        found = []
        for _ in range(12):
            values = draw.normal(size=48) + draw.normal(size=12)[clusters]
            mean, se, df = verdicts.clustered_mean(values, clusters)
            found.append(verdicts.p_beyond(mean, se, 0.0, df))
        false += holm(found).min() < 0.05
    assert stats.binomtest(false, 300, 0.05, alternative="greater").pvalue > 0.001


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda t: t.drop(columns="margin"), "lacks the column"),
        (lambda t: t.assign(margin=0.0), "above 0"),
        (lambda t: t.assign(margin=np.arange(len(t)) + 1.0), "several floors or margins"),
        (lambda t: t.assign(value=np.nan), "finite"),
    ],
)
def test_what_cannot_be_judged_is_refused_in_a_sentence(change, words):
    with pytest.raises(InputError, match=words):
        verdicts.judge(change(differences(np.arange(20.0))), {"loss": "damage"})


def test_a_check_without_a_stage_is_refused():
    with pytest.raises(InputError, match="belongs to no stage"):
        verdicts.judge(differences(np.arange(20.0)), {})

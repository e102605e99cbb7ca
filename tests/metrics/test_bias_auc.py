"""Against scikit-learn, hand-worked cases, and the coverage that the intervals promise."""

import math
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import special, stats
from sklearn.metrics import confusion_matrix, roc_auc_score

from ethical_compression.errors import InputError
from ethical_compression.metrics import bias_auc

RNG = np.random.default_rng(0)
TOXIC = RNG.random(600) < 0.6
SCORES = np.round(0.8 * TOXIC + RNG.normal(size=600), 1)  # rounded, so that there are ties
MEMBERS = pd.DataFrame({"a": RNG.random(600) < 0.3, "b": RNG.random(600) < 0.2})


def row(table, community, metric):
    return table[(table["community"] == community) & (table["metric"] == metric)].iloc[0]


posts = st.lists(
    st.tuples(st.integers(0, 6), st.booleans(), st.booleans(), st.booleans()),
    min_size=1,
    max_size=40,
)


@given(posts, st.sampled_from(bias_auc.BACKGROUNDS))
@settings(max_examples=150, deadline=None)
def test_every_subset_has_scikit_learns_auc(rows, background):
    scores, toxic, *inside = map(np.array, zip(*rows, strict=True))
    members = pd.DataFrame(dict(zip("ab", inside, strict=True)))
    table = bias_auc.bias_aucs(scores, toxic, members, background=background)
    for community in "ab":
        for metric in bias_auc.METRICS:
            chosen = [
                k
                for k, (_, is_toxic, *mentions) in enumerate(rows)
                if (mentioned := mentions["ab".index(community)])
                | (background == "all" or any(mentions))
                and {
                    "subgroup": mentioned,
                    "bpsn": mentioned != is_toxic,
                    "bnsp": mentioned == is_toxic,
                    "background": not mentioned,
                }[metric]
            ]
            found = row(table, community, metric)
            kinds = set(toxic[chosen].tolist())
            if len(kinds) < 2:
                assert math.isnan(found["auc"]) and found["note"]
            else:
                assert found["auc"] == pytest.approx(roc_auc_score(toxic[chosen], scores[chosen]))
            assert found["positives"] == toxic[chosen].sum()
            assert found["positives"] + found["negatives"] == len(chosen)
            assert found["note"] or min(found["positives"], found["negatives"]) >= bias_auc.LEAST


def test_interval_covers_at_its_level():
    """Normal scores, true AUC Φ(d/√2); 400 draws each: 0.95 ± 3.5 standard errors of a share."""
    rng = np.random.default_rng(1)
    for separation, positives, negatives in ((1.0, 60, 40), (2.0, 25, 25), (0.0, 150, 20)):
        true = stats.norm.cdf(separation / math.sqrt(2))
        toxic = np.arange(positives + negatives) < positives
        hits = 0
        for _ in range(400):
            found = bias_auc.auc(rng.normal(size=len(toxic)) + separation * toxic, toxic)
            hits += found.ci_low <= true <= found.ci_high
        assert abs(hits / 400 - 0.95) < 0.038, (separation, hits)


def test_interval_covers_where_a_handful_of_posts_carry_a_high_auc():
    """DeLong's own covers 86% of these, and 77% where the few are spread twice as widely."""
    rng = np.random.default_rng(3)
    toxic = np.arange(313) < 300
    for spread in (1.0, 2.0):
        scale = np.where(toxic, 1.0, spread)
        distance = stats.norm.ppf(0.95) * math.sqrt(1 + spread**2)
        hits = 0
        for _ in range(300):
            found = bias_auc.auc(scale * rng.normal(size=313) + distance * toxic, toxic)
            hits += found.ci_low <= 0.95 <= found.ci_high
        assert hits / 300 > 0.93, spread


def test_perfect_separation_is_newcombes_interval():
    """At an AUC of 1 its limit solves 1 − x = z √V(x): by hand, on a grid."""
    found = bias_auc.auc([1, 2, 3, 4, 5, 6], [0, 0, 1, 1, 1, 1])
    x = np.linspace(0.3, 0.9999, 200_000)
    variance = x * (1 - x) * (1 + 2 * ((1 - x) / (2 - x) + x / (1 + x))) / 8
    low = x[np.argmax(1 - x <= 1.959964 * np.sqrt(variance))]
    assert (found.auc, found.ci_high) == (1, 1) and found.ci_low == pytest.approx(low, abs=1e-4)
    back = bias_auc.auc([6, 5, 4, 3, 2, 1], [0, 0, 1, 1, 1, 1])
    assert (back.ci_low, back.ci_high) == pytest.approx((0, 1 - found.ci_low))


def test_delongs_variance_from_its_definition():
    """Structural components over all pairs (DeLong et al. 1988), one pair at a time."""
    scores, toxic = SCORES[:80], TOXIC[:80]
    kernel = np.sign(scores[toxic][:, None] - scores[~toxic][None]) / 2 + 0.5
    variance = (
        kernel.mean(1).var(ddof=1) / toxic.sum() + kernel.mean(0).var(ddof=1) / (~toxic).sum()
    )
    assert bias_auc.auc(scores, toxic).se == pytest.approx(math.sqrt(variance))


def test_paired_test_keeps_its_size_and_its_interval_covers():
    rng = np.random.default_rng(2)
    toxic = np.arange(120) < 60
    rejected = covered = 0
    for _ in range(600):
        shared = rng.normal(size=120) + toxic
        before, after = (shared + rng.normal(size=120) for _ in range(2))
        rejected += bias_auc.auc_difference(before, after, toxic).p < 0.05
        worse = bias_auc.auc_difference(before, shared + 2 * rng.normal(size=120), toxic)
        true = stats.norm.cdf(1 / math.sqrt(10)) - stats.norm.cdf(0.5)
        covered += worse.ci_low <= true <= worse.ci_high
    assert abs(rejected / 600 - 0.05) < 0.031
    assert abs(covered / 600 - 0.95) < 0.031


def test_paired_test_has_satterthwaites_degrees_of_freedom():
    """As Welch's test of the components' differences, which it is."""
    scores, toxic = np.stack([SCORES, SCORES + RNG.normal(size=600)])[:, :80], TOXIC[:80]
    parts = bias_auc._components(scores, toxic)[1:]
    toxic_part, other_part = (part[1] - part[0] for part in parts)
    welch = stats.ttest_ind(toxic_part, -other_part, equal_var=False)
    assert bias_auc.auc_difference(*scores, toxic).df == pytest.approx(welch.df)


def test_paired_test_and_its_degenerate_cases():
    other = SCORES + RNG.normal(size=600)
    found = bias_auc.auc_difference(SCORES, other, TOXIC)
    assert found.auc_after == pytest.approx(roc_auc_score(TOXIC, other))
    assert found.difference == pytest.approx(found.auc_after - found.auc_before)
    assert (found.p < 0.05) == (not found.ci_low <= 0 <= found.ci_high)
    back = bias_auc.auc_difference(other, SCORES, TOXIC)
    assert (back.difference, back.p) == pytest.approx((-found.difference, found.p))
    # A monotone transformation changes no rank.
    same = bias_auc.auc_difference(SCORES, np.exp(SCORES), TOXIC)
    assert (same.difference, same.p, same.ci_low) == (0, 1, 0)
    with pytest.raises(InputError, match="at least two"):
        bias_auc.auc_difference([0.1, 0.2, 0.3], [0.1, 0.2, 0.3], [True, False, False])


def test_what_cannot_be_measured_says_so():
    members = pd.DataFrame({"nobody": np.zeros(600, bool), "attacked": TOXIC & (SCORES > 2)})
    members["one"] = np.arange(600) == np.flatnonzero(~TOXIC)[0]
    table = bias_auc.bias_aucs(SCORES, TOXIC, members)
    assert row(table, "nobody", "subgroup")["note"] == "no post"
    assert row(table, "nobody", "bnsp")["note"] == "no toxic post"
    assert row(table, "attacked", "subgroup")["note"] == "no non-toxic post"
    assert row(table, "one", "bpsn")["note"] == "a single non-toxic post: no interval"
    apart = bias_auc.auc([1, 2, 3, 4], [False, False, True, True])
    assert (apart.auc, apart.note) == (1, "no overlap of scores: the interval is Newcombe's")
    tied = bias_auc.auc([3, 3, 3, 3], [False, False, True, True])
    assert (tied.auc, tied.note) == (0.5, "all scores tied: no interval")
    assert (table["note"] != "").equals(
        table["ci_low"].isna() | (table[["positives", "negatives"]].min(axis=1) < bias_auc.LEAST)
    )
    rates = bias_auc.error_rates(SCORES, TOXIC, members)
    assert math.isnan(rates.loc[0, "fpr"]) and "no non-toxic post" in rates.loc[0, "note"]
    summary = bias_auc.aggregate(table).set_index("metric")
    assert summary.loc["subgroup", "communities"] == 0
    assert "nobody" in summary.loc["subgroup", "note"]


def test_released_selection_turns_bnsp_into_subgroup_and_bpsn_into_background():
    defined, released = (
        bias_auc.bias_aucs(SCORES, TOXIC, MEMBERS, selection=how) for how in bias_auc.SELECTIONS
    )
    for community in MEMBERS:
        value = {metric: row(released, community, metric)["auc"] for metric in bias_auc.METRICS}
        assert value["bnsp"] == value["subgroup"] == row(defined, community, "subgroup")["auc"]
        assert value["bpsn"] == value["background"] == row(defined, community, "background")["auc"]
        assert value["bnsp"] != row(defined, community, "bnsp")["auc"]


def test_error_rates_are_those_of_the_confusion_matrix():
    table = bias_auc.error_rates(SCORES, TOXIC, MEMBERS, threshold=0.4)
    inside = MEMBERS["a"].to_numpy()
    (tn, fp), (fn, tp) = confusion_matrix(TOXIC[inside], SCORES[inside] >= 0.4)
    first = table.iloc[0]
    assert (first["fpr"], first["fnr"]) == pytest.approx((fp / (fp + tn), fn / (fn + tp)))
    assert first["fpr_low"] < first["fpr"] < first["fpr_high"]
    assert table.iloc[-1]["community"] == bias_auc.ALL
    assert table.iloc[-1]["positives"] == TOXIC.sum()


def test_membership_counts_and_orders_communities():
    found = [("p", ["x", "y"]), ("q", ["y"]), ("r", []), ("s", ["z"])]
    records = [SimpleNamespace(id=name, communities=tuple(names)) for name, names in found]
    table = bias_auc.membership(records, most=2)
    assert list(table.columns) == ["y", "x"]
    assert table.loc["p"].all() and not table.loc["r"].any()
    assert list(bias_auc.membership(records, ["z", "w"]).sum()) == [1, 0]
    with pytest.raises(InputError, match="twice"):
        bias_auc.membership(records + records[:1])


def runs(seeds=3, n=200):
    rng = np.random.default_rng(3)
    toxic, members = TOXIC[:n], MEMBERS[:n].set_axis([f"p{k}" for k in range(n)])
    frames = [
        pd.DataFrame(
            {"depth": depth, "seed": seed, "id": members.index, "toxic": toxic}
            | {"toxic_score": SCORES[:n] + noise * rng.normal(size=n)}
        )
        for depth, noise in (("full", 0.2), ("half", 1.0))
        for seed in range(seeds)
    ]
    return pd.concat(frames, ignore_index=True), members


def test_runs_are_scored_each_on_its_own_whatever_the_order():
    predictions, members = runs()
    table = bias_auc.by_run(predictions.sample(frac=1, random_state=0), members, ["depth", "seed"])
    part = predictions[(predictions["depth"] == "half") & (predictions["seed"] == 1)]
    alone = bias_auc.bias_aucs(part["toxic_score"], part["toxic"], members)
    found = table[(table["depth"] == "half") & (table["seed"] == 1)]
    np.testing.assert_allclose(found["auc"], alone["auc"])

    mean = bias_auc.over_seeds(table, ["depth"])
    picked = table[(table["depth"] == "half") & (table["community"] == "a")]
    values = picked.loc[picked["metric"] == "bpsn"]
    one = row(mean[mean["depth"] == "half"], "a", "bpsn")
    assert one["auc"] == pytest.approx(values["auc"].mean())
    of_posts, of_seeds = (values["se"] ** 2).mean(), values["auc"].var(ddof=1) / 3
    fewest = min(one["positives"], one["negatives"])
    df = (of_posts + of_seeds) ** 2 / (of_posts**2 / (fewest - 1) + of_seeds**2 / 2)
    half = stats.t.ppf(0.975, df) * math.sqrt(of_posts + of_seeds)
    half /= one["auc"] * (1 - one["auc"])
    ends = special.logit(one[["ci_low", "ci_high"]].astype(float))
    assert ends.tolist() == pytest.approx(special.logit(one["auc"]) + np.array([-half, half]))
    lone = bias_auc.over_seeds(table[table["seed"] == 0], ["depth"])
    assert lone["note"].str.startswith("one seed").all()


def test_mean_over_seeds_is_covered_at_a_high_auc():
    """Three runs on the same posts, 13 of them harmless, AUC near 0.95: it was 88% of these."""
    rng = np.random.default_rng(4)
    toxic, distance = np.arange(113) < 100, stats.norm.ppf(0.95) * math.sqrt(2)
    wide = distance * (1 + 0.15 * np.random.default_rng(5).normal(size=100_000))
    true = stats.norm.cdf(wide / math.sqrt(2)).mean()
    rows = []
    for study in range(250):
        shared = math.sqrt(0.8) * rng.normal(size=113)
        for seed in range(3):
            strength = distance * (1 + 0.15 * rng.normal())
            score = strength * toxic + shared + math.sqrt(0.2) * rng.normal(size=113)
            rows.append({"study": study, "seed": seed} | vars(bias_auc.auc(score, toxic)))
    table = pd.DataFrame(rows).assign(community="c", metric="subgroup")
    found = bias_auc.over_seeds(table, ["study"])
    covered = (found["ci_low"] <= true) & (true <= found["ci_high"])
    assert covered[found["ci_low"].notna()].mean() > 0.93
    assert found["ci_high"].max() <= 1


@pytest.mark.parametrize(
    "spoil, words",
    [
        (lambda t: t.iloc[1:], "exactly once"),
        (lambda t: pd.concat([t, t.iloc[:1]]), "exactly once"),
        (lambda t: t.drop(columns="toxic"), "lack the column"),
        (lambda t: t.assign(id=t["id"].replace("p0", "new")), "membership"),
        (lambda t: t.assign(toxic_score=np.nan), "missing or infinite"),
        (lambda t: t.assign(toxic=2), "Labels"),
    ],
)
def test_runs_that_cannot_be_compared_are_refused_in_words(spoil, words):
    predictions, members = runs()
    with pytest.raises(InputError, match=words):
        bias_auc.by_run(spoil(predictions), members, ["depth", "seed"])


def test_generalised_mean_by_hand():
    assert bias_auc.generalised_mean([0.5, 1.0]) == pytest.approx(((2**5 + 1) / 2) ** -0.2)
    assert bias_auc.generalised_mean([0.7, 0.7, 0.7]) == pytest.approx(0.7)
    assert bias_auc.generalised_mean([0.9, 0.0]) == 0
    for bad, p in (([], -5), ([0.5, np.nan], -5), ([0.5], 0)):
        with pytest.raises(InputError):
            bias_auc.generalised_mean(bad, p)


def test_aggregate_is_the_mean_over_communities_that_count():
    table = bias_auc.bias_aucs(SCORES, TOXIC, MEMBERS.assign(few=np.arange(600) < 9))
    found = bias_auc.aggregate(table).set_index("metric").loc["bpsn"]
    values = [row(table, community, "bpsn")["auc"] for community in "ab"]
    assert found["auc"] == pytest.approx(bias_auc.generalised_mean(values))
    assert found["communities"] == 2 and found["note"] == "without few: too few posts"
    assert found["lowest"] == "ab"[int(np.argmin(values))]


def test_means_of_all_metrics_are_over_one_set_of_communities():
    """A community with posts enough for BNSP alone is in no mean, unless each may have its own."""
    attacked = np.zeros(600, bool)
    attacked[np.flatnonzero(TOXIC)[:50]] = True
    attacked[np.flatnonzero(~TOXIC)[: bias_auc.LEAST - 1]] = True
    table = bias_auc.bias_aucs(SCORES, TOXIC, MEMBERS.assign(attacked=attacked))
    table = pd.concat([table.assign(seed=seed) for seed in (0, 1)])
    together = bias_auc.aggregate(table, ["seed"]).set_index(["seed", "metric"])
    own = bias_auc.aggregate(table, ["seed"], shared=False).set_index(["seed", "metric"])
    assert set(together["communities"]) == {2}
    assert set(together["note"]) == {"without attacked: too few posts"}
    counts = own["communities"].xs(0).to_dict()
    assert counts == {"subgroup": 2, "bpsn": 2, "bnsp": 3, "background": 3}
    values = [row(table, community, "bnsp")["auc"] for community in ("a", "b", "attacked")]
    assert own.loc[(1, "bnsp"), "auc"] == pytest.approx(bias_auc.generalised_mean(values))
    assert together.loc[(1, "bnsp"), "auc"] == pytest.approx(bias_auc.generalised_mean(values[:2]))


@pytest.mark.parametrize(
    "auc, low, high, said",
    [
        (0.4, 0.3, 0.45, "0.400 (95% interval 0.300 to 0.450). Below one half the order is"),
        (0.45, 0.3, 0.6, "Whether it lies below one half"),
        (0.7, 0.6, 0.8, "the BPSN AUC of a, 0.700 (95% interval 0.600 to 0.800)."),
        (0.7, math.nan, math.nan, "0.700 (no interval)."),
    ],
)
def test_the_lowest_score_is_below_one_half_only_where_its_interval_is(auc, low, high, said):
    table = pd.DataFrame(
        [
            ("a", "bpsn", 40, 12, auc, low, high),
            ("few", "bpsn", 40, 9, 0.1, 0.0, 0.2),  # rests on nine posts
            ("b", "bpsn", 40, 40, 0.9, 0.8, 0.95),
            ("b", "background", 40, 40, 0.05, 0.0, 0.1),
        ],
        columns=["community", "metric", "positives", "negatives", "auc", "ci_low", "ci_high"],
    )
    text = bias_auc.lowest_sentence(table, {"bpsn": "BPSN"})
    assert said in text and "nan" not in text
    assert text.endswith(said) or auc < 0.5
    assert "can be leaned on" in bias_auc.lowest_sentence(table[1:2], {"bpsn": "BPSN"})

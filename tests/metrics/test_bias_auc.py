"""Against scikit-learn, hand-worked cases, and the coverage that the intervals promise."""

import math
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import special, stats
from sklearn.metrics import roc_auc_score

from ethical_compression.errors import InputError
from ethical_compression.metrics import bias_auc
from ethical_compression.statistics import holm
from ethical_compression.statistics.auc import auc, auc_difference

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


def test_what_cannot_be_measured_says_so():
    members = pd.DataFrame({"nobody": np.zeros(600, bool), "attacked": TOXIC & (SCORES > 2)})
    members["one"] = np.arange(600) == np.flatnonzero(~TOXIC)[0]
    table = bias_auc.bias_aucs(SCORES, TOXIC, members)
    assert row(table, "nobody", "subgroup")["note"] == "no post"
    assert row(table, "nobody", "bnsp")["note"] == "no toxic post"
    assert row(table, "attacked", "subgroup")["note"] == "no non-toxic post"
    assert row(table, "one", "bpsn")["note"] == "a single non-toxic post: no interval"
    apart = auc([1, 2, 3, 4], [False, False, True, True])
    assert (apart.auc, apart.note) == (1, "no overlap of scores: the interval is Newcombe's")
    tied = auc([3, 3, 3, 3], [False, False, True, True])
    assert (tied.auc, tied.note) == (0.5, "all scores tied: no interval")
    assert (table["note"] != "").equals(
        table["ci_low"].isna() | (table[["positives", "negatives"]].min(axis=1) < bias_auc.LEAST)
    )
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
            rows.append({"study": study, "seed": seed} | vars(auc(score, toxic)))
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


def test_a_change_on_the_same_posts_is_delongs_of_the_seeds_mean_scores():
    predictions, members = runs()
    predictions = predictions.rename(columns={"depth": "compression"})
    few = members.assign(few=np.arange(len(members)) < 5)
    table = bias_auc.changes_on_posts(predictions, few, "full", "half").set_index("community")
    assert list(table.index) == [bias_auc.ALL, "a", "b"]
    averaged = predictions.groupby(["compression", "id"])["toxic_score"].mean()
    inside = members.index[members["a"]]
    toxic = predictions.drop_duplicates("id").set_index("id")["toxic"].loc[inside]
    found = auc_difference(averaged["full"][inside], averaged["half"][inside], toxic)
    assert table.loc["a", "difference"] == found.difference and table.loc["a", "p"] == found.p
    assert table.loc["a", "posts"] == len(inside)
    assert table.loc[bias_auc.ALL, "posts"] == len(members)
    assert table["p_holm"].tolist() == holm(table["p"]).tolist()


def test_both_selections_of_groups_stand_beside_each_other():
    predictions, members = runs()
    predictions = predictions.rename(columns={"depth": "compression"})
    both = [
        bias_auc.by_run(predictions, members, ["compression", "seed"], selection=how)
        for how in bias_auc.SELECTIONS
    ]
    table = bias_auc.by_selection(*both, "half").set_index("community")
    assert list(table.index) == ["a", "b"]
    np.testing.assert_allclose(table["bnsp_released"], table["subgroup"])
    np.testing.assert_allclose(table["bpsn_released"], table["background"])
    half = both[0][both[0]["compression"] == "half"]
    values = half[(half["community"] == "b") & (half["metric"] == "bnsp")]["auc"]
    assert table.loc["b", "bnsp"] == pytest.approx(values.mean())

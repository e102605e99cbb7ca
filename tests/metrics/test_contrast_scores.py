"""Preferences between two texts, dialect gaps and matched guises, on cases worked by hand."""

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from ethical_compression.errors import InputError
from ethical_compression.metrics import contrasts, dialect
from ethical_compression.statistics.clusters import clustered_interval, clustered_share


def table(pairs, groups=None, clusters=None, tokens=(5, 5), **columns):
    rows = [
        {
            "benchmark": "toy",
            "item": f"i{item}",
            "group": groups[item] if groups else "all",
            "kind": "k",
            "cluster": clusters[item] if clusters else f"c{item}",
            "option": option,
            "logprob": value,
            "tokens": tokens[option],
            "bytes": 10 * tokens[option],
            "measure": "log-likelihood of the whole sentence",
        }
        | columns
        for item, pair in enumerate(pairs)
        for option, value in enumerate(pair)
    ]
    return pd.DataFrame(rows)


# --- Means over clusters --------------------------------------------------------------------------


def test_with_a_cluster_an_item_it_is_students_interval():
    values = np.random.default_rng(0).normal(size=30)
    found = clustered_interval(values, range(30))
    low, high = stats.t.interval(0.95, 29, values.mean(), stats.sem(values))
    assert (found.ci_low, found.ci_high) == pytest.approx((low, high))


def test_items_that_are_copies_of_each_other_add_nothing():
    values = np.random.default_rng(1).normal(size=12)
    once = clustered_interval(values, range(12))
    thrice = clustered_interval(np.repeat(values, 3), np.repeat(range(12), 3))
    assert thrice.se == pytest.approx(once.se)
    yes = values > 0
    once, thrice = (
        clustered_interval(yes, range(12)),
        clustered_interval(np.repeat(yes, 3), np.repeat(range(12), 3)),
    )
    assert (thrice.ci_low, thrice.ci_high) == pytest.approx((once.ci_low, once.ci_high))


def test_of_answers_that_are_all_one_the_clusters_count():
    found = clustered_interval([True] * 40, np.repeat(range(8), 5))
    assert found.mean == found.ci_high == 1
    t = stats.t.ppf(0.975, 7)
    assert found.ci_low == pytest.approx(8 / (8 + t**2))


def test_intervals_over_clusters_hold_what_they_promise():
    """Answers whose chance differs by cluster: 95% where items would give far less."""
    draw = np.random.default_rng(2)
    clusters = np.repeat(range(30), 8)
    held = items = 0
    for _ in range(1500):
        chance = draw.beta(0.9, 2.1, 30)  # 0.3 on average
        answers = draw.random(240) < chance[clusters]
        found = clustered_interval(answers, clusters)
        held += found.ci_low <= 0.3 <= found.ci_high
        alone = clustered_interval(answers, range(240))
        items += alone.ci_low <= 0.3 <= alone.ci_high
    assert 0.93 <= held / 1500 <= 0.97
    assert items / 1500 < 0.85


@pytest.mark.parametrize(
    ("values", "clusters", "said"),
    [([], [], "at least one"), ([1.0], [1, 2], "needs the cluster"), ([np.nan], [1], "finite")],
)
def test_what_is_no_mean_is_told(values, clusters, said):
    with pytest.raises(InputError, match=said):
        clustered_interval(values, clusters)


def test_a_share_of_nothing_is_not_known_to_be_nothing():
    none = clustered_share(np.zeros(30), range(30))
    assert none.ci_low == 0 and none.ci_high == pytest.approx(
        clustered_interval([False] * 30, range(30)).ci_high
    )
    rare = clustered_share([0.2, *[0.0] * 29], range(30))
    assert rare.ci_low == 0 < rare.ci_high
    with pytest.raises(InputError, match="between 0 and 1"):
        clustered_share([1.5], [0])


# --- Contrasts ------------------------------------------------------------------------------------


def test_preferences_by_hand():
    found = contrasts.contrast_scores(
        table([(-10, -12), (-10, -9), (-10, -10), (-8, -9)], groups=["a", "a", "a", "b"]),
        groups=["a", "b", "c"],
    ).set_index("group")
    assert found.loc["a", "preferred"] == pytest.approx(100 / 3)
    assert found.loc["a", "ties"] == 1
    assert found.loc["a", "difference"] == pytest.approx((2 - 1 + 0) / 3)
    assert found.loc["b", "preferred"] == 100
    assert found.loc["c", ["n", "note"]].tolist() == [0, "no items"]
    assert found.loc["a", "measure"] == "log-likelihood of the whole sentence"


def test_models_that_are_known_have_the_scores_of_the_definition():
    draw = np.random.default_rng(0)
    n = 4000
    always = contrasts.contrast_scores(table([(-1, -2)] * 20)).iloc[0]
    never = contrasts.contrast_scores(table([(-2, -1)] * 20)).iloc[0]
    coin = contrasts.contrast_scores(table(draw.normal(size=(n, 2)))).iloc[0]
    assert (always["preferred"], never["preferred"]) == (100, 0)
    assert abs(coin["preferred"] - 50) < 3
    assert coin["preferred_low"] < 50 < coin["preferred_high"]


def test_as_released_near_ties_are_ties():
    pairs = [(-10.0001, -10.0002), (-10, -11)]
    published = contrasts.contrast_scores(table(pairs)).iloc[0]
    released = contrasts.contrast_scores(table(pairs), definition="released").iloc[0]
    assert (published["preferred"], published["ties"]) == (100, 0)
    assert (released["preferred"], released["ties"]) == (50, 1)
    with pytest.raises(InputError, match="no definition 'ours'"):
        contrasts.contrast_scores(table(pairs), definition="ours")


def test_length_decides_the_unit():
    longer = table([(-6, -5)], tokens=(3, 2))
    assert contrasts.differences(longer)["difference"].tolist() == [-1]
    assert contrasts.differences(longer, "token")["difference"].tolist() == [0.5]


def test_she_and_he_beside_employment():
    names = ["nurse", "clerk", "pilot"]
    pairs = table([(-1, -3), (-2, -2), (-3, -1)], groups=names)
    rho, n = contrasts.against_employment(pairs, {"nurse": 90, "clerk": 60, "pilot": 5})
    assert (rho, n) == (pytest.approx(1), 3)
    with pytest.raises(InputError, match="no share of women for 'pilot'"):
        contrasts.against_employment(pairs, {"nurse": 90, "clerk": 60})


def test_a_contrast_has_two_texts():
    three = pd.concat([table([(-1, -2)]), table([(-1, -2)]).iloc[[0]].assign(option=2)])
    with pytest.raises(InputError, match="two texts"):
        contrasts.differences(three)


# --- Dialect --------------------------------------------------------------------------------------


def test_the_dialect_gap_has_three_units():
    found = dialect.dialect_gap(table([(-9, -8)] * 12, tokens=(3, 4))).set_index("per")
    assert found["difference"].to_dict() == pytest.approx(
        {"sentence": -1, "token": -1, "byte": -9 / 30 + 8 / 40}
    )


def test_perplexity_of_each_dialect():
    pairs = table([(-9, -8), (-3, -4)], tokens=(3, 4))
    pairs["side"] = ["AAE", "SAE"] * 2
    assert dialect.perplexities(pairs) == pytest.approx(
        {"AAE": np.exp(12 / 6), "SAE": np.exp(12 / 8)}
    )


def guises(effect, shift=0.0, pairs=12, seed=0):
    """Two words after both dialects: “a” is `effect` likelier after AAE, all words by `shift`."""
    draw = np.random.default_rng(seed)
    rows = []
    for pair in range(pairs):
        for template in range(3):
            base = dict(zip("ab", draw.normal(-5, 1, 2), strict=True))
            for side in dialect.SIDES:
                for word in "ab":
                    value = base[word]
                    if side == "AAE":
                        value += shift + (effect if word == "a" else 0)
                    rows.append(
                        {"pair": pair, "template": template, "cluster": pair // 2, "side": side}
                        | {"word": word, "logprob": value, "article": ""}
                    )
    return pd.DataFrame(rows)


def test_associations_are_the_mean_log_ratio():
    found = dialect.associations(guises(0.5, shift=-2)).set_index("word")
    assert found["q"].to_dict() == pytest.approx({"a": -1.5, "b": -2})
    assert found.loc["a", "q_low"] == pytest.approx(-1.5)  # without noise
    # Among the words the shift is gone: a gains, b loses.
    assert found.loc["a", "relative"] > 0 > found.loc["b", "relative"]
    assert found["n"].tolist() == [12, 12] and found["clusters"].tolist() == [6, 6]
    assert found["p_bh"].max() < 1e-3


def test_a_shift_of_all_words_is_no_association():
    found = dialect.associations(guises(0, shift=-2))
    assert found["q"].to_numpy() == pytest.approx([-2, -2])
    assert found["relative"].to_numpy() == pytest.approx([0, 0], abs=1e-12)


def test_guises_with_parts_missing_are_refused():
    whole = guises(0.5, pairs=2)
    assert set(dialect.associations(whole)["note"]) == {"fewer than 10 items"}
    with pytest.raises(InputError, match="after both dialects"):
        dialect.associations(whole.iloc[1:])
    with pytest.raises(InputError, match="lacks the column"):
        dialect.associations(whole.drop(columns="side"))

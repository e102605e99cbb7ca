"""Scores of whole runs against scikit-learn and scipy."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats
from sklearn.metrics import f1_score

from ethical_compression.errors import InputError
from ethical_compression.metrics import classification as c
from ethical_compression.statistics import holm, minimum_detectable, n_for_power
from ethical_compression.words import classification as classification_words

RUN = {
    "model": "m",
    "depth": 6,
    "layers": 6,
    "position": "none",
    "method": "full",
    "parameters": 10,
    "supervision": "none",
    "strength": 0.0,
    "seed": 0,
}


@given(st.lists(st.tuples(st.integers(0, 2), st.integers(0, 2)), min_size=1, max_size=30))
def test_macro_f1_is_scikit_learns(pairs):
    predicted, gold = map(list, zip(*pairs, strict=True))
    expected = f1_score(gold, predicted, labels=[0, 1, 2], average="macro", zero_division=0)
    assert c.macro_f1(predicted, gold, 3) == pytest.approx(expected)


def test_overall_by_hand():
    p = [[0.7, 0.3], [0.6, 0.4], [0.2, 0.8], [0.5, 0.5]]
    rows = [
        RUN | {"p_a": a, "p_b": b, "gold": g} for (a, b), g in zip(p, [0, 1, 1, 0], strict=True)
    ]
    found = c.overall(pd.DataFrame(rows), ["a", "b"]).iloc[0]
    assert found["n"] == 4 and found["accuracy"] == 0.75
    assert found["macro_f1"] == pytest.approx((2 * 2 / 5 + 2 * 1 / 3) / 2)
    # 0.7 and 0.8 right, 0.6 wrong, 0.5 right: each in a bin of its own.
    assert found["calibration_error"] == pytest.approx((0.3 + 0.6 + 0.2 + 0.5) / 4)
    with pytest.raises(InputError, match="p_c"):
        c.overall(pd.DataFrame(rows), ["a", "c"])


def test_iou_f1_is_that_of_mean_precision_and_recall():
    values = dict.fromkeys(c.EXPLAINED, 0.5) | {"explainer": "attention", "marked": 1}
    spans = [(1.0, 0.5), (0.0, 0.5), (1.0, 1.0)]
    rows = [
        RUN
        | values
        | {"seed": seed, "spans_precision": precision, "spans_recall": recall}
        | {"singles_precision": precision / 2, "singles_recall": recall / 2}
        for seed, part in ((0, spans[:2]), (1, spans[2:]))
        for precision, recall in part
    ]
    found = c.explained(pd.DataFrame(rows))
    assert found["iou_f1"].tolist() == [0.5, 1.0]
    assert found["iou_f1_singles"].tolist() == [0.25, 0.5] and found["seed"].tolist() == [0, 1]
    assert (found["token_f1"] == 0.5).all()


SCORED = [(0, 0.46), (0, 0.549), (0, 0.7), (1, 0.2)]


def test_the_share_of_scores_near_one_half_is_counted_run_by_run():
    table = pd.DataFrame([RUN | {"seed": s, "toxic_score": p} for s, p in SCORED])
    found = c.near_half(table).set_index("seed")["share"]
    assert found.to_dict() == {0: pytest.approx(2 / 3), 1: 0}


def predicted(*scores, seed=0):
    rows = [{"seed": seed, "id": str(i), "p_a": 1 - p, "p_b": p} for i, p in enumerate(scores)]
    return pd.DataFrame(rows).assign(toxic_score=scores)


def test_disagreement_by_hand():
    one = pd.concat([predicted(0.1, 0.6), predicted(0.5, 0.9, seed=1)])
    # In another order, and with a seed that the first has not.
    other = pd.concat(
        [predicted(0.2, 0.1)[::-1], predicted(0.9, 0.8, seed=1), predicted(0.3, seed=2)]
    )
    found = c.disagreement(one, other, ["a", "b"])
    assert found["seed"].tolist() == [0, 1] and found["posts"].tolist() == [2, 2]
    assert found["relabelled"].tolist() == [0.5, 0.5]  # equal probabilities: the first class
    assert found["moved"].tolist() == pytest.approx([0.3, 0.25])
    with pytest.raises(InputError, match="share no seed and post"):
        c.disagreement(one, predicted(0.3, seed=2), ["a", "b"])


def test_another_seed_is_the_next_one():
    runs = pd.concat(
        [predicted(score, seed=seed) for seed, score in ((3, 0.1), (5, 0.4), (8, 0.9))]
    )
    found = c.disagreement(runs, c.reseeded(runs), ["a", "b"]).set_index("seed")
    assert found["moved"].to_dict() == pytest.approx({3: 0.8, 5: 0.3, 8: 0.5})
    assert found["relabelled"].to_dict() == {3: 1, 5: 0, 8: 1}


def test_words_for_what_was_done():
    rows = [
        RUN,
        RUN | {"method": "layers", "depth": 3, "position": "upper"},
        RUN | {"method": "wanda", "depth": 3},
    ]
    assert c.compression(pd.DataFrame(rows)).tolist() == [
        "full",
        "3 layers, upper removed",
        "Wanda, as 3 layers",
    ]
    both = pd.DataFrame([RUN, RUN | {"supervision": "published", "strength": 0.1}])
    assert c.supervision(both).tolist() == [c.UNSUPERVISED, "published, λ = 0.1"]


def scores(**columns):
    rows = [
        {"compression": name, "seed": seed, "f1": value}
        for name, values in columns.items()
        for seed, value in enumerate(values)
    ]
    return pd.DataFrame(rows)


def test_changes_are_paired_by_seed():
    full, small = [0.70, 0.72, 0.69, 0.74], [0.68, 0.67, 0.66, 0.70]
    table = scores(full=full, small=small).sample(frac=1, random_state=0)
    found = c.changes(table, "f1", margin=0.1).iloc[0]
    test, change = stats.ttest_rel(small, full), np.subtract(small, full)
    assert found["p"] == pytest.approx(test.pvalue)
    assert found["p_holm"] == found["p"]
    assert found["difference"] == pytest.approx(np.mean(small) - np.mean(full))
    assert (found["ci_low"], found["ci_high"]) == pytest.approx(test.confidence_interval())
    assert found["p_tost"] < 0.05
    assert found["detectable"] == pytest.approx(minimum_detectable(stats.sem(change), 3))
    assert found["seeds_needed"] == n_for_power(0.1 / np.std(change, ddof=1))


def test_what_seeds_could_find_does_not_depend_on_what_they_found():
    """An effect seen gives no power: 0.001 seen asked for 77,768 stories of another chapter."""
    full, noise = np.array([0.70, 0.72, 0.69, 0.74]), np.array([0.01, -0.02, 0.015, 0.0])
    table = scores(full=full, little=full + noise + 0.001, much=full + noise - 0.2)
    found = c.changes(table, "f1", margin=0.02).set_index("compression")
    for column in ("detectable", "seeds_needed"):
        assert found.loc["little", column] == pytest.approx(found.loc["much", column])
    np.testing.assert_allclose(found["p_tost_holm"], holm(found["p_tost"]))
    assert (found["p_tost_holm"] >= found["p_tost"]).all()


def test_what_cannot_be_tested_is_noted():
    table = scores(full=[0.7, 0.8], same=[0.6, 0.7], one=[0.5])
    found = c.changes(table, "f1", margin=0.1).set_index("compression")
    assert "same amount" in found.loc["same", "note"]
    assert "at least two" in found.loc["one", "note"]
    assert found["p"].isna().all() and found["p_holm"].isna().all()
    found = found.reset_index()
    assert "no change of it could be tested" in classification_words.changes(found, "F1", 0.1)


def test_missing_full_and_doubled_seeds_are_refused():
    with pytest.raises(InputError, match="no compression 'full'"):
        c.changes(scores(small=[0.1, 0.2]), "f1")
    with pytest.raises(InputError, match="twice"):
        c.changes(pd.concat([scores(full=[0.1])] * 2), "f1")

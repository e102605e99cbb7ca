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


def runs(seeds=3):
    """Scores, bias AUCs and explanations of a full and a shortened encoder."""
    ways = ({}, {"depth": 3, "position": "upper", "method": "layers", "parameters": 5})
    keys = [RUN | way | {"seed": seed} for way in ways for seed in range(seeds)]
    rng = np.random.default_rng(0)
    scores = pd.DataFrame(keys).assign(macro_f1=rng.random(2 * seeds))
    bias = pd.DataFrame(
        [
            key | {"community": who, "metric": metric, "auc": rng.uniform(0.5, 1), "note": ""}
            for key in keys
            for who in "ab"
            for metric in ("subgroup", "bpsn", "bnsp")
        ]
    ).assign(positives=30, negatives=30)
    explained = pd.concat(
        [
            pd.DataFrame(keys).assign(
                explainer=name,
                token_f1=rng.random(2 * seeds),
                iou_f1_singles=rng.random(2 * seeds),
                sufficiency=0.1,
            )
            for name in ("attention", "gradient × input", "random")
        ]
    )
    return scores, bias, explained


def test_a_run_has_all_its_scores_in_one_row():
    scores, bias, explained = runs()
    wide = c.by_run(scores, bias, explained)
    assert len(wide) == len(scores) and list(wide["macro_f1"]) == list(scores["macro_f1"])
    first = bias[(bias["method"] == "full") & (bias["seed"] == 1) & (bias["metric"] == "bpsn")]
    one = wide[(wide["compression"] == "full") & (wide["seed"] == 1)].iloc[0]
    assert one["bpsn"] == pytest.approx((first["auc"] ** -5.0).mean() ** -0.2)
    gradient = explained[explained["explainer"] == "gradient × input"]
    assert list(wide["token_f1_gradient"]) == list(gradient["token_f1"])
    assert "token_f1_pieces" not in wide
    assert set(wide["way"]) == {"full", "upper layers removed"}
    assert set(wide["setting"]) == {c.UNSUPERVISED}
    assert "token_f1" not in c.by_run(scores, bias)


def test_averages_are_over_seeds_with_the_size_that_is_left():
    scores, bias, _ = runs()
    found = c.averages(c.by_run(scores, bias), ["macro_f1"])
    assert list(found["compression"]) == ["full", "3 layers, upper removed"]
    assert list(found["runs"]) == [3, 3] and list(found["size"]) == [1, 0.5]
    assert found["macro_f1"][0] == pytest.approx(scores["macro_f1"][:3].mean())


def test_several_scores_are_corrected_each_by_itself_and_stacked_with_their_titles():
    scores, bias, _ = runs()
    wide = c.by_run(scores, bias)
    found = c.changes_of(wide, ["macro_f1", "bpsn"], margin=0.02)
    pd.testing.assert_frame_equal(found["bpsn"], c.changes(wide, "bpsn", margin=0.02))
    table = c.stacked(found, {"macro_f1": "Macro F1", "bpsn": "BPSN"})
    assert list(table["score"]) == ["Macro F1", "BPSN"]


def test_another_training_is_held_against_another_seed():
    rows = [
        RUN | {"seed": seed, "id": post, "toxic_score": p, "p_a": 1 - p, "p_b": p}
        for seed, scores in enumerate(([0.2, 0.8], [0.4, 0.9]))
        for post, p in enumerate(scores)
    ]
    one = pd.DataFrame(rows)
    other = one.assign(toxic_score=one["toxic_score"] + 0.1)
    found = c.retrained(one, other, ["a", "b"])
    assert found["weights"]["moved"].tolist() == pytest.approx([0.1, 0.1])
    assert found["seed"]["moved"].tolist() == pytest.approx([0.15, 0.15])
    assert not found["weights"]["relabelled"].any()


def test_other_class_weights_are_compared_at_the_same_seeds():
    scores = pd.DataFrame({"seed": [0, 1, 2], "macro_f1": [0.5, 0.6, 0.7]})
    row = c.reweighted(scores, scores.assign(macro_f1=[0.51, 0.63, 0.71]), "macro_f1", 0.02)
    assert row["difference"] == pytest.approx(0.05 / 3) and row["weights"] == "test"
    assert row["p"] == pytest.approx(stats.ttest_1samp([0.01, 0.03, 0.01], 0).pvalue)


def test_layers_that_are_left_are_counted():
    table = pd.DataFrame([RUN, RUN | {"depth": 3, "method": "layers"}])
    assert list(c.layers_left(table)) == ["full", "3 of 6 layers"]

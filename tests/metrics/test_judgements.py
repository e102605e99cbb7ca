"""Rules of yes-or-no judgements against sets worked by hand, and against all possible answers."""

import itertools

import numpy as np
import pandas as pd
import pytest

from ethical_compression.errors import InputError
from ethical_compression.metrics import judgements


def table(sets, benchmark="ethics_x") -> pd.DataFrame:
    """sets: [(labels, scores)], as digits and numbers."""
    rows = [
        {
            "benchmark": benchmark,
            "item": f"{k}-{i}",
            "set": str(k),
            "label": label == "1",
            "score": score,
        }
        for k, (labels, scores) in enumerate(sets)
        for i, (label, score) in enumerate(zip(labels, scores, strict=True))
    ]
    return pd.DataFrame(rows)


# Worked by hand: labels, scores -> accuracy, exact, choice, pairs.
HAND = [
    (("10000", (2, -1, -1, -1, -1)), (1.0, 1, 1.0, 1.0)),
    (("10000", (2, 3, -1, -1, -1)), (0.8, 0, 0.0, 0.75)),
    (("10000", (-1, -2, -3, -4, -5)), (0.8, 0, 1.0, 1.0)),
    (("00010", (-1, -1, -1, -1, -1)), (0.8, 0, 0.2, 0.5)),
    (("01000", (1, 1, 1, 0, 0)), (0.6, 0, 1 / 3, 0.75)),
    (("1100", (1, -1, -2, 2)), (0.5, 0, np.nan, 0.5)),
    (("1111", (1, 1, 1, 1)), (1.0, 1, np.nan, np.nan)),
]


@pytest.mark.parametrize(("one", "expected"), HAND)
def test_a_set_worked_by_hand(one, expected):
    found = judgements.by_set(table([one])).iloc[0]
    assert found[list(judgements.RULES)].to_numpy(float) == pytest.approx(expected, nan_ok=True)


def test_sets_are_averaged_and_chance_is_the_best_that_reads_nothing():
    virtue = table([one for one, _ in HAND[:5]])
    found = judgements.scores(virtue).set_index("rule")
    assert found["share"].to_dict() == pytest.approx(
        {"accuracy": 4 / 5, "exact": 1 / 5, "choice": (1 + 0 + 1 + 0.2 + 1 / 3) / 5, "pairs": 0.8}
    )
    # No to everything; one trait drawn; one trait drawn; any.
    assert found["chance"].to_dict() == pytest.approx(
        {"accuracy": 0.8, "exact": 0.2, "choice": 0.2, "pairs": 0.5}
    )
    assert found.loc["accuracy", "above_chance"] == pytest.approx(0)
    assert found.loc["pairs", "above_chance"] == pytest.approx(0.6)
    assert (found["low"] <= found["share"]).all() and (found["share"] <= found["high"]).all()


def test_always_no_is_right_four_times_in_five_and_chooses_nothing():
    virtue = table([("10000", [0] * 5), ("00100", [0] * 5)])
    found = judgements.unread_scores(virtue).pivot(index="answerer", columns="rule", values="share")
    expected = {
        "always no": (0.8, 0.0, 0.2, 0.5),
        "always yes": (0.2, 0.0, 0.2, 0.5),
        "a coin": (0.5, 1 / 32, 0.2, 0.5),
        "one at random": (0.68, 0.2, 0.2, 0.5),
        "always right": (1.0, 1.0, 1.0, 1.0),
    }
    assert set(found.index) == set(judgements.ANSWERERS)
    for answerer, values in expected.items():
        assert found.loc[answerer, list(judgements.RULES)].to_numpy(float) == pytest.approx(values)


def test_sets_of_four_have_chances_of_their_own_labels():
    four = table([("1100", [0] * 4), ("1110", [0] * 4), ("0000", [0] * 4), ("1111", [0] * 4)])
    found = judgements.unread_scores(four).set_index(["answerer", "rule"])["share"]
    assert "choice" not in found.loc["always no"].index  # no choice of one: there may be several
    assert found["always no", "exact"] == 1 / 4 and found["always yes", "exact"] == 1 / 4
    assert found["a coin", "exact"] == 1 / 16
    assert found["always yes", "accuracy"] == (0.5 + 0.75 + 0 + 1) / 4
    sets = judgements.scores(four).set_index("rule")["sets"]
    assert sets["pairs"] == 2 and sets["exact"] == 4  # a set without both labels has no pair


@pytest.mark.parametrize("labels", ["0000", "1000", "1010", "1101", "1111", "00100"])
def test_expectations_are_the_mean_of_everything_that_could_be_answered(labels):
    k = len(labels)
    drawn = {
        "a coin": list(itertools.product((-1, 1), repeat=k)),
        "one at random": (2 * np.eye(k) - 1).tolist(),
    }
    for answerer, answers in drawn.items():
        expected = judgements.by_set(table([(labels, one) for one in answers]))
        found = judgements.unread(table([(labels, [0] * k)]), answerer).iloc[0]
        for rule in ("accuracy", "exact"):
            assert found[rule] == pytest.approx(expected[rule].mean())


def test_without_a_threshold_only_the_order_counts():
    found = judgements.scores(table([HAND[2][0]] * 12), threshold=None)
    assert found["rule"].tolist() == ["choice", "pairs"] and (found["share"] == 1).all()
    shifted = table([HAND[2][0]] * 12)
    shifted["score"] += 100
    again = judgements.scores(shifted, threshold=None)
    pd.testing.assert_frame_equal(found, again)


def test_models_and_benchmarks_are_told_apart():
    one, other = table([HAND[0][0]] * 6), table([HAND[1][0]] * 6)
    both = pd.concat([one.assign(model="a"), other.assign(model="b")])
    found = judgements.scores(both, by=["model"]).set_index(["model", "rule"])["share"]
    assert found["a", "choice"] == 1 and found["b", "choice"] == 0
    with pytest.raises(InputError, match="An item comes twice"):
        judgements.scores(both)


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (lambda t: t.drop(columns="label"), "no column 'label'"),
        (lambda t: t.assign(set=""), "Every item needs its set"),
        (lambda t: t.iloc[:0], "Every item needs its set"),
        (lambda t: t.assign(score=np.nan), "scores that are no numbers"),
    ],
)
def test_tables_that_cannot_be_judged_are_told(spoil, said):
    with pytest.raises(InputError, match=said):
        judgements.by_set(spoil(table([HAND[0][0]])))
    with pytest.raises(InputError, match="There is no answerer"):
        judgements.unread(table([HAND[0][0]]), "a monkey")

"""Against torchmetrics and scikit-learn where they have the measure, worked by hand elsewhere."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ethical_compression.errors import InputError
from ethical_compression.metrics import confidence as cf


def scores_table(logprobs, gold, benchmark="toy", tokens=None, sizes=None):
    """A scores table from a ragged list of log-likelihoods, one list an item."""
    rows = [
        {
            "benchmark": benchmark,
            "item": str(i),
            "option": k,
            "gold": gold[i],
            "logprob": lp,
            "tokens": tokens[i][k] if tokens else 1,
            "bytes": sizes[i][k] if sizes else 1,
        }
        for i, options in enumerate(logprobs)
        for k, lp in enumerate(options)
    ]
    return pd.DataFrame(rows)


@st.composite
def tables(draw):
    finite = st.floats(-400, 0)
    options = st.lists(finite, min_size=2, max_size=5)
    logprobs = draw(st.lists(options, min_size=1, max_size=8))
    gold = [draw(st.integers(0, len(o) - 1)) for o in logprobs]
    return scores_table(logprobs, gold)


@st.composite
def calibrated(draw):
    n = draw(st.integers(1, 60))
    confidence = draw(st.lists(st.floats(0, 0.999), min_size=n, max_size=n))
    correct = draw(st.lists(st.booleans(), min_size=n, max_size=n))
    return np.array(confidence), np.array(correct)


def test_per_item_by_hand():
    # Odds 3:1, so p = 3/4 and 1/4; the second item is a tie, of which the first option wins.
    items = cf.per_item(scores_table([[np.log(0.3), np.log(0.1)], [-5.0, -5.0]], [1, 0]))
    first, second = items.to_dict("records")
    assert first["confidence"] == pytest.approx(0.75)
    assert first["p_true"] == pytest.approx(0.25)
    assert first["margin"] == pytest.approx(0.5)
    assert (first["predicted"], first["correct"], first["options"]) == (0, False, 2)
    assert first["entropy_bits"] == pytest.approx(2 - 0.75 * np.log2(3))
    assert (second["predicted"], second["correct"]) == (0, True)
    assert second["entropy_bits"] == pytest.approx(1)
    assert second["probabilities"] == pytest.approx((0.5, 0.5))


@pytest.mark.parametrize("name, factor", [("none", 1), ("token", 2), ("byte", 8)])
def test_normalisation_divides_the_log_likelihood(name, factor):
    table = scores_table([[-8.0, -16.0]], [0], tokens=[[2, 2]], sizes=[[8, 8]])
    p = cf.per_item(table, name).loc[0, "p_true"]
    assert p == pytest.approx(1 / (1 + np.exp(-8 / factor)))


def test_certainty_does_not_overflow():
    item = cf.per_item(scores_table([[0.0, -5000.0]], [1])).loc[0]
    assert (item["confidence"], item["p_true"], item["entropy_bits"]) == (1, 0, 0)


def test_models_are_kept_apart_and_order_is_kept():
    one, two = scores_table([[-1.0, -2.0]], [0]), scores_table([[-2.0, -1.0]], [0])
    both = pd.concat([one.assign(compression="z"), two.assign(compression="a")])
    items = cf.per_item(both)
    assert items["compression"].tolist() == ["z", "a"]
    assert items["predicted"].tolist() == [0, 1]


@given(tables())
@settings(max_examples=30, deadline=None)
def test_invariants_of_items(table):
    items = cf.per_item(table)
    for p in items["probabilities"]:
        assert sum(p) == pytest.approx(1)
    assert items["confidence"].between(1 / items["options"] - 1e-12, 1 + 1e-12).all()
    assert items["p_true"].le(items["confidence"]).all()
    assert items["entropy_bits"].between(0, np.log2(items["options"]) + 1e-9).all()
    assert items["margin"].between(0, 1).all()

    # Neither a constant added to all log-likelihoods nor the order of rows changes an item.
    moved = cf.per_item(table.assign(logprob=table["logprob"] + 37.0))
    np.testing.assert_allclose(moved["confidence"], items["confidence"], atol=1e-9)
    shuffled = cf.per_item(table.sample(frac=1, random_state=0))
    again = shuffled.set_index("item").loc[items["item"]].reset_index()
    pd.testing.assert_frame_equal(again[items.columns], items)


@pytest.mark.parametrize(
    "spoil, words",
    [
        (lambda t: t.assign(logprob=[np.nan, -1, -1, -1]), "not a finite number"),
        (lambda t: t.assign(logprob=[-np.inf, -1, -1, -1]), "not a finite number"),
        (lambda t: t.assign(gold=2), "none of its options"),
        (lambda t: t.assign(gold=-1), "none of its options"),
        (lambda t: t.assign(gold=[0, 1, 0, 0]), "disagree"),
        (lambda t: t.iloc[:3], "single option"),
        (lambda t: pd.concat([t, t.iloc[:1]]), "given twice"),
        (lambda t: t.iloc[1:], "missing"),
        (lambda t: t.drop(columns="gold"), "lacks the column"),
        (lambda t: t.iloc[:0], "no rows"),
    ],
)
def test_bad_scores_are_refused_in_words(spoil, words):
    table = scores_table([[-1.0, -2.0], [-3.0, -1.0]], [0, 1])
    cf.per_item(table)
    with pytest.raises(InputError, match=words):
        cf.per_item(spoil(table))


def test_bad_normalisation_is_refused_in_words():
    table = scores_table([[-1.0, -2.0]], [0], tokens=[[1, 0]])
    with pytest.raises(InputError, match="none, token, byte"):
        cf.per_item(table, "words")
    with pytest.raises(InputError, match="no tokens"):
        cf.per_item(table, "token")


def test_summary_by_hand():
    # p = 0.9/0.1, 0.6/0.4, 0.8/0.2 with gold 0, 1, 0: two right, one wrong with confidence 0.6.
    odds = [[0.9, 0.1], [0.6, 0.4], [0.8, 0.2]]
    items = cf.per_item(scores_table([np.log(o).tolist() for o in odds], [0, 1, 0]))
    row = cf.summary(items).loc[0]
    entropy = np.mean([-sum(p * np.log2(p) for p in o) for o in odds])
    assert row["n"] == 3
    assert row["accuracy"] == pytest.approx(200 / 3)
    assert row["conf"] == pytest.approx(100 * 2.3 / 3)
    assert row["conf_err"] == pytest.approx(60)
    assert row["conf_true"] == pytest.approx(100 * (0.9 + 0.4 + 0.8) / 3)
    assert row["entropy"] == pytest.approx(100 * entropy)
    # Two options, so 100-bin ECE; each item is alone in its bin.
    assert row["calibration_error"] == pytest.approx(100 * (0.1 + 0.6 + 0.2) / 3)


def test_summary_without_errors_has_no_conf_err():
    items = cf.per_item(scores_table([[-1.0, -2.0]], [0]).assign(compression="full"))
    row = cf.summary(items).loc[0]
    assert (row["compression"], row["benchmark"]) == ("full", "toy")
    assert np.isnan(row["conf_err"])


def test_the_papers_rule_for_calibration():
    three = cf.per_item(scores_table([[-1.0, -2.0, -3.0], [-2.0, -1.0, -1.5]], [0, 2]))
    matrix = cf.probability_matrix(three)
    assert matrix.shape == (2, 3)
    assert cf.benchmark_calibration(three) == cf.adaptive_calibration_error(matrix, three["gold"])
    # Confidence 0.61, right, and 0.65, wrong: alone in 100 bins, together in 15.
    odds = [[0.61, 0.39], [0.65, 0.35]]
    two = cf.per_item(scores_table([np.log(o).tolist() for o in odds], [0, 1]))
    assert cf.benchmark_calibration(two) == pytest.approx((0.39 + 0.65) / 2)


@pytest.mark.parametrize("bins", [1, 10, 15, 100])
def test_ece_equals_torchmetrics(bins):
    torch = pytest.importorskip("torch")
    oracle = pytest.importorskip("torchmetrics.functional.classification")
    rng = np.random.default_rng(bins)
    probabilities = rng.dirichlet(np.ones(4) / 2, size=500)
    gold = rng.integers(0, 4, size=500)
    theirs = oracle.multiclass_calibration_error(
        torch.tensor(probabilities), torch.tensor(gold), num_classes=4, n_bins=bins, norm="l1"
    )
    ours = cf.calibration_error(
        probabilities.max(axis=1), probabilities.argmax(axis=1) == gold, bins
    )
    assert ours == pytest.approx(float(theirs), abs=1e-6)


def test_reliability_equals_scikit_learn():
    calibration = pytest.importorskip("sklearn.calibration")
    rng = np.random.default_rng(0)
    p = rng.random(400)
    y = rng.random(400) < p
    for ours, theirs in (("width", "uniform"), ("count", "quantile")):
        share, mean = calibration.calibration_curve(y, p, n_bins=10, strategy=theirs)
        table = cf.reliability(p, y, 10, ours)
        np.testing.assert_allclose(table["accuracy"], share)
        np.testing.assert_allclose(table["confidence"], mean)
    assert table["count"].eq(40).all()


@pytest.mark.parametrize("bins", [1, 3, 10, 15, 100])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_an_edge_belongs_to_the_bin_that_it_begins(bins, dtype):
    """k ÷ bins however it was computed: written out, as a sum, as 1 − the rest, in float32."""
    k = np.arange(bins)
    for p in (k / bins, np.cumsum([0, *[1 / bins] * (bins - 1)]), 1 - (bins - k) / bins):
        table = cf.reliability(p.astype(dtype).clip(0, 1), np.ones(bins), bins)
        assert table["count"].tolist() == [1] * bins
        np.testing.assert_array_equal(table["low"], k / bins)
    assert cf.reliability([1.0], [1], bins)["high"].tolist() == [1.0]


def test_wilson_interval_by_hand():
    # Wilson 1927 with 8 of 10 and z = 1.96: (0.490, 0.943).
    table = cf.reliability([0.7] * 10, [1] * 8 + [0] * 2)
    assert table.loc[0, "accuracy_low"] == pytest.approx(0.490, abs=5e-4)
    assert table.loc[0, "accuracy_high"] == pytest.approx(0.943, abs=5e-4)


def test_ace_by_hand():
    # Class 0 with p = .9 .6 | .4 .2 and gold 0 0 | 1 0 in two ranges:
    # |1 − .75| = .25 and |.5 − .3| = .2. Class 1 mirrors it; the mean is .225.
    p = np.array([[0.9, 0.1], [0.6, 0.4], [0.4, 0.6], [0.2, 0.8]])
    gold = [0, 0, 1, 0]
    assert cf.adaptive_calibration_error(p, gold, ranges=2) == pytest.approx(0.225)
    # One range: |3/4 − 2.1/4| for either class.
    assert cf.adaptive_calibration_error(p, gold, ranges=1) == pytest.approx(0.225)
    # A range an item: .1 .4 .4 .8 for either class.
    assert cf.adaptive_calibration_error(p, gold, ranges=4) == pytest.approx(0.425)


def test_ace_takes_a_class_over_the_items_that_offer_it():
    p = np.array([[0.7, 0.3, np.nan], [0.5, 0.25, 0.25]])
    # One range. Class 0: |1/2 − .6|; class 1: |1/2 − .275|; class 2, one item: |0 − .25|.
    ours = cf.adaptive_calibration_error(p, [0, 1], ranges=1)
    assert ours == pytest.approx((0.1 + 0.225 + 0.25) / 3)


@given(calibrated(), st.integers(1, 20), st.sampled_from(["width", "count"]))
@settings(max_examples=30, deadline=None)
def test_invariants_of_calibration(data, bins, scheme):
    confidence, correct = data
    error = cf.calibration_error(confidence, correct, bins, scheme)
    assert 0 <= error <= 1
    order = np.random.default_rng(0).permutation(len(confidence))
    assert cf.calibration_error(confidence[order], correct[order], bins, scheme) == pytest.approx(
        error
    )
    table = cf.reliability(confidence, correct, bins, scheme)
    assert table["count"].sum() == len(confidence)
    assert len(table) <= bins
    assert table["confidence"].between(table["low"] - 1e-6, table["high"] + 1e-6).all()
    assert table["accuracy"].between(table["accuracy_low"], table["accuracy_high"]).all()
    # Bins can only hide miscalibration: one bin gives the least error.
    assert error >= cf.calibration_error(confidence, correct, 1) - 1e-12
    both = np.column_stack([confidence, 1 - confidence])
    assert 0 <= cf.adaptive_calibration_error(both, (~correct).astype(int), bins) <= 1


def test_classwise_error_equals_torchmetrics_class_by_class():
    torch = pytest.importorskip("torch")
    oracle = pytest.importorskip("torchmetrics.functional.classification")
    rng = np.random.default_rng(3)
    p, gold = rng.dirichlet(np.ones(4) / 2, size=300), rng.integers(0, 4, size=300)
    theirs = [
        float(
            oracle.binary_calibration_error(
                torch.tensor(p[:, k]), torch.tensor(gold == k).int(), n_bins=15, norm="l1"
            )
        )
        for k in range(4)
    ]
    assert cf.classwise_calibration_error(p, gold) == pytest.approx(np.mean(theirs), abs=1e-6)
    # The third option is offered by one item of the two, and is a class of one item.
    ragged = np.array([[0.7, 0.3, np.nan], [0.5, 0.25, 0.25]])
    ours = cf.classwise_calibration_error(ragged, [0, 1], bins=1)
    assert ours == pytest.approx((0.1 + 0.225 + 0.25) / 3)


def test_proper_scores_of_items_equal_scikit_learn():
    metrics = pytest.importorskip("sklearn.metrics")
    rng = np.random.default_rng(4)
    logprobs, gold = rng.normal(-5, 2, size=(40, 3)), rng.integers(0, 3, size=40)
    items = cf.per_item(scores_table(logprobs.tolist(), gold.tolist()))
    p = cf.probability_matrix(items)
    assert items["log_score"].mean() == pytest.approx(metrics.log_loss(gold, p, labels=[0, 1, 2]))
    theirs = sum(metrics.brier_score_loss(gold == k, p[:, k]) for k in range(3))
    assert items["brier"].mean() == pytest.approx(theirs)
    assert items["p_true"].to_numpy() == pytest.approx(np.exp(-items["log_score"]))
    # Wrong and certain: the probability underflows, the score does not.
    assert cf.per_item(scores_table([[0.0, -5000.0]], [1])).loc[0, "log_score"] == 5000


# --- As released ----------------------------------------------------------------------------------


def test_the_released_error_of_two_options_by_hand():
    # Largest p .9 .6 .8 with labels 0, 1, 0: |.9 − 0|, |.6 − 1| and |.8 − 0|, in bins of their own,
    # although the first and third answers are right.
    p = np.array([[0.9, 0.1], [0.6, 0.4], [0.8, 0.2]])
    assert cf.released_calibration_error(p, [0, 1, 0]) == pytest.approx((0.9 + 0.4 + 0.8) / 3)
    # The same forecasts with the options written the other way round: another number.
    turned = cf.released_calibration_error(p[:, ::-1], [1, 0, 1])
    assert turned == pytest.approx((0.1 + 0.6 + 0.2) / 3)
    assert cf.calibration_error([0.9, 0.6, 0.8], [1, 0, 1], 100) == pytest.approx(0.9 / 3)


def test_the_released_error_of_more_options_by_hand():
    # Two ranges of five items: a step of 2, so they end at the smallest and third smallest largest
    # p, .4 and .6. Range 0: .4, and those above the last, .8 and .9; range 1: .5 and .6.
    p = np.array(
        [
            [0.4, 0.3, 0.3],  # gold 0, right: range 0, class 0
            [0.2, 0.5, 0.3],  # gold 1, right: range 1, class 1
            [0.6, 0.2, 0.2],  # gold 1, wrong: range 1, class 1
            [0.8, 0.1, 0.1],  # gold 0, right: range 0, class 0
            [0.9, 0.1, 0.0],  # gold 2, wrong: range 0, class 2
        ]
    )
    gold = [0, 1, 1, 0, 2]
    # Range 0: |1 − .6| for class 0, |0 − .9| for class 2; range 1: |1/2 − .55| for class 1.
    expected = (0.4 + 0.9 + 0.05) / (3 * 2)
    assert cf.released_calibration_error(p, gold, ranges=2) == pytest.approx(expected)
    # An item with another number of options than the first one is left out.
    wider = np.vstack([np.column_stack([p, np.full(5, np.nan)]), [0.97, 0.01, 0.01, 0.01]])
    assert cf.released_calibration_error(wider, [*gold, 3], 2) == pytest.approx(expected)


def test_the_released_error_is_large_where_one_position_is_rightly_preferred():
    rng = np.random.default_rng(5)
    for shape, low, high in (([0.5, 0.5, 0.5, 0.5], 0, 0.1), ([4, 0.5, 0.5, 0.5], 0.2, 1)):
        p = rng.dirichlet(shape, size=4000)
        gold = np.array([rng.choice(4, p=row) for row in p])
        assert cf.adaptive_calibration_error(p, gold) < 0.03
        assert low < cf.released_calibration_error(p, gold) < high


def test_definitions_are_named_and_fewer_items_than_ranges_have_no_released_error():
    items = cf.per_item(scores_table([[-1.0, -2.0, -3.0]] * 14, [0] * 14))
    assert np.isnan(cf.benchmark_calibration(items, "released"))
    assert np.isnan(cf.summary(items, "released").loc[0, "calibration_error"])
    with pytest.raises(InputError, match="stated, released"):
        cf.benchmark_calibration(items, "published")


def test_calibration_summary_gathers_the_measures():
    rng = np.random.default_rng(6)
    table = scores_table(rng.normal(size=(60, 3)).tolist(), rng.integers(0, 3, 60).tolist())
    items = cf.per_item(table.assign(compression="full"))
    row = cf.calibration_summary(items).loc[0]
    p, gold = cf.probability_matrix(items), items["gold"]
    assert row["gap"] == pytest.approx(items["confidence"].mean() - items["correct"].mean())
    assert row["ece"] == cf.calibration_error(items["confidence"], items["correct"])
    assert row["stated"] == row["ace"] == cf.adaptive_calibration_error(p, gold)
    assert row["released"] == cf.released_calibration_error(p, gold)
    assert row["brier"] == pytest.approx(((p - np.eye(3)[gold]) ** 2).sum(1).mean())
    assert (row["compression"], row["n"]) == ("full", 60)


# --- Selective prediction -------------------------------------------------------------------------


def test_risk_and_coverage_by_hand():
    # From the surest: right, then two that tie, one of them wrong, then wrong.
    table = cf.risk_coverage([0.7, 0.9, 0.7, 0.6], [1, 1, 0, 0])
    assert table["threshold"].tolist() == [0.9, 0.7, 0.6]
    assert table["coverage"].tolist() == [0.25, 0.75, 1]
    assert table["risk"].tolist() == pytest.approx([0, 1 / 3, 1 / 2])
    # The tie counts as half an error each: (0 + ½/2 + 1/3 + 2/4) / 4.
    area = cf.aurc([0.7, 0.9, 0.7, 0.6], [1, 1, 0, 0])
    assert area == pytest.approx((0 + 0.25 + 1 / 3 + 1 / 2) / 4)


@given(st.lists(st.tuples(st.sampled_from([0.3, 0.5, 0.9]), st.booleans()), min_size=1, max_size=5))
@settings(max_examples=40, deadline=None)
def test_area_is_the_mean_over_all_orders_of_what_ties(pairs):
    from itertools import permutations

    areas = []
    for order in permutations(pairs):
        if [c for c, _ in order] == sorted((c for c, _ in pairs), reverse=True):
            wrong = np.cumsum([not right for _, right in order])
            areas.append((wrong / np.arange(1, len(wrong) + 1)).mean())
    confidence, correct = zip(*pairs, strict=True)
    assert cf.aurc(confidence, correct) == pytest.approx(np.mean(areas))
    # Only the order counts, and answering everything leaves the plain share wrong.
    assert cf.aurc(np.square(confidence), correct) == pytest.approx(np.mean(areas))
    assert cf.risk_coverage(confidence, correct)["risk"].iloc[-1] == pytest.approx(
        1 - np.mean(correct)
    )


def test_bad_calibration_input_is_refused_in_words():
    for arguments, words in [
        (([0.5], [1, 0]), "equally long"),
        (([], []), "non-empty"),
        (([1.2], [1]), "between 0 and 1"),
        (([np.nan], [1]), "between 0 and 1"),
        (([0.5], [1], 0), "at least one bin"),
        (([0.5], [1], 5, "depth"), "'width' or 'count'"),
    ]:
        with pytest.raises(InputError, match=words):
            cf.calibration_error(*arguments)
    with pytest.raises(InputError, match="one gold answer per item"):
        cf.adaptive_calibration_error([[0.5, 0.5]], [0, 1])

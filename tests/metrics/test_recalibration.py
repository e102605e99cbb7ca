"""Fitted repairs: against scikit-learn and statsmodels, and what must hold for any data."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ethical_compression.errors import InputError
from ethical_compression.metrics import confidence as cf
from ethical_compression.metrics import recalibration as cal

FITTED = ["temperature", "temperature and length", "isotonic"]


def simulated(n=400, options=4, *, temperature=1.0, length=0.0, seed=0, benchmarks=("toy",)):
    """Scores whose gold answers are drawn from softmax(logprob / temperature + length · bytes)."""
    rng = np.random.default_rng(seed)
    rows = []
    for number in range(n):
        logprob = rng.normal(-10, 2, options)
        size = rng.integers(5, 40, options)
        logit = logprob / temperature + length * size
        p = np.exp(logit - logit.max())
        gold = rng.choice(options, p=p / p.sum())
        benchmark = benchmarks[number % len(benchmarks)]
        rows += [(benchmark, str(number), k, gold, logprob[k], size[k]) for k in range(options)]
    return pd.DataFrame(rows, columns=["benchmark", "item", "option", "gold", "logprob", "bytes"])


def log_score(items):
    return items["log_score"].mean()


def test_a_calibrated_model_has_temperature_one():
    fix = cal.fit(simulated(4000), "temperature")
    assert fix.temperature == pytest.approx(1, abs=0.06)
    both = cal.fit(simulated(4000), "temperature and length")
    assert both.temperature == pytest.approx(1, abs=0.06)
    assert both.weights["bytes"] == pytest.approx(0, abs=0.01)


def test_temperature_and_length_are_found_again():
    fix = cal.fit(simulated(6000, temperature=3, length=0.05), "temperature and length")
    assert fix.temperature == pytest.approx(3, rel=0.1)
    assert fix.weights["bytes"] == pytest.approx(0.05, rel=0.1)


def test_weights_equal_those_of_statsmodels_conditional_logit():
    models = pytest.importorskip("statsmodels.discrete.conditional_models")
    scores = simulated(150, temperature=2, length=0.03)
    theirs = models.ConditionalLogit(
        (scores["option"] == scores["gold"]).astype(int),
        scores[["logprob", "bytes"]],
        groups=scores["item"],
    ).fit(disp=False)
    ours = cal.fit(scores, "temperature and length").weights
    np.testing.assert_allclose(list(ours.values()), theirs.params, rtol=1e-3)


def test_isotonic_equals_scikit_learn():
    isotonic = pytest.importorskip("sklearn.isotonic")
    scores = simulated(200, temperature=4)
    before = cf.per_item(scores)
    theirs = isotonic.IsotonicRegression(y_min=cal.EDGE, y_max=1 - cal.EDGE, out_of_bounds="clip")
    theirs.fit(before["confidence"], before["correct"])
    after = cal.apply(cal.fit(scores, "isotonic"), scores)
    np.testing.assert_allclose(after["confidence"], theirs.predict(before["confidence"]))


@pytest.mark.parametrize("method", FITTED)
def test_probabilities_stay_probabilities_and_records_agree(method):
    scores = simulated(80, options=3, temperature=3, seed=2)
    items = cal.apply(cal.fit(scores, method), scores)
    p, gold = cf.probability_matrix(items), items["gold"].to_numpy()
    np.testing.assert_allclose(p.sum(axis=1), 1)
    assert ((p >= 0) & (p <= 1)).all()
    row = np.arange(len(p))
    np.testing.assert_allclose(items["p_true"], p[row, gold])
    np.testing.assert_allclose(items["confidence"], p[row, items["predicted"]])
    np.testing.assert_allclose(items["log_score"], -np.log(p[row, gold]))
    assert items["brier"].mean() == pytest.approx(((p - np.eye(3)[gold]) ** 2).sum(1).mean())
    np.testing.assert_allclose(items["entropy_bits"], -(p * np.log2(p)).sum(axis=1), atol=1e-9)


@given(st.integers(0, 10_000), st.integers(2, 40), st.floats(0.2, 8), st.floats(-0.2, 0.2))
@settings(max_examples=25, deadline=None)
def test_the_fitting_items_never_score_worse_and_a_temperature_keeps_the_choice(
    seed, n, temperature, length
):
    scores = simulated(n, temperature=temperature, length=length, seed=seed)
    before = cf.per_item(scores)
    for method in ("temperature", "temperature and length"):
        after = cal.apply(cal.fit(scores, method), scores)
        assert log_score(after) <= log_score(before) + 1e-9
    fix = cal.fit(scores, "temperature")
    assert 0 < fix.temperature <= cal.HOTTEST * (1 + 1e-9)
    assert cal.apply(fix, scores)["predicted"].equals(before["predicted"])
    assert cal.apply(cal.fit(scores, "isotonic"), scores)["predicted"].equals(before["predicted"])


def test_an_answer_as_sure_as_a_float_can_be_is_still_given_a_rest():
    scores = simulated(6, options=2).assign(
        logprob=[0.0, -5000.0] * 6, gold=[0, 0] * 3 + [1, 1] * 3
    )
    items = cal.apply(cal.fit(scores, "isotonic"), scores)
    assert items["confidence"].tolist() == pytest.approx([0.5] * 6)
    assert np.isfinite(items["log_score"]).all()


def test_nothing_is_the_fix_that_changes_nothing():
    scores = simulated(10)
    pd.testing.assert_frame_equal(cal.apply(cal.fit(scores, "none"), scores), cf.per_item(scores))
    assert cal.fit(scores, "none").temperature == 1


# --- Cross-fitting --------------------------------------------------------------------------------


def test_no_item_is_judged_by_a_fix_that_saw_it(monkeypatch):
    scores = simulated(30, benchmarks=("a", "b", "c"))
    seen = []
    fit, apply = cal.fit, cal.apply
    monkeypatch.setattr(cal, "fit", lambda s, m: seen.append(set(s["item"])) or fit(s, m))

    def spying(fix, some):
        assert not set(some["item"]) & seen[-1]
        assert set(some["item"]) | seen[-1] == set(scores["item"])
        return apply(fix, some)

    monkeypatch.setattr(cal, "apply", spying)
    found = cal.cross_fit(scores, "temperature", repeats=3)
    assert len(seen) == 6 and all(14 <= len(half) <= 16 for half in seen)
    for _, part in found.groupby("repeat"):
        assert part["item"].tolist() == scores["item"].unique().tolist()


def test_halves_are_even_within_benchmarks_and_depend_on_the_seed_only():
    items = pd.DataFrame({"benchmark": ["a"] * 10 + ["b"] * 7, "item": range(17)})
    first = cal.halves(items, 1)
    assert first[:10].sum() == 5 and first[10:].sum() in (3, 4)
    assert (first == cal.halves(items, 1)).all()
    assert (first != cal.halves(items, 2)).any()


def test_cross_fitting_repairs_an_overconfident_model_on_items_it_did_not_see():
    scores = simulated(400, temperature=4, seed=3)
    before, after = cf.per_item(scores), cal.cross_fit(scores, "temperature", repeats=2)
    ece = cf.calibration_error
    assert ece(before["confidence"], before["correct"]) > 0.25
    assert ece(after["confidence"], after["correct"]) < 0.1
    assert after["temperature"].between(3, 6).all()
    assert after["length_weight"].eq(0).all()


def test_a_fix_can_be_carried_over_from_another_model():
    full, other = simulated(200, temperature=4), simulated(200, temperature=4)
    other["logprob"] *= 2
    shuffled = full.sample(frac=1, random_state=0)
    carried = cal.cross_fit(other, "temperature", fitted_on=shuffled, repeats=1)
    own = cal.cross_fit(full, "temperature", repeats=1)
    np.testing.assert_allclose(carried["temperature"], own["temperature"], rtol=1e-5)
    assert log_score(carried) > log_score(cal.cross_fit(other, "temperature", repeats=1))
    with pytest.raises(InputError, match="same items"):
        cal.cross_fit(other, "temperature", fitted_on=full[full["item"] != "3"])


def test_likelihoods_that_point_the_wrong_way_get_the_largest_temperature_and_keep_their_choice():
    scores = simulated(50)
    scores["logprob"] = -scores["logprob"]
    fix = cal.fit(scores, "temperature")
    assert fix.temperature == pytest.approx(cal.HOTTEST)
    after = cal.apply(fix, scores)
    assert after["predicted"].equals(cf.per_item(scores)["predicted"])
    assert after["confidence"].max() < 0.26


def test_each_benchmark_may_have_a_fix_of_its_own():
    long = simulated(300, temperature=8, seed=1)
    both = pd.concat([long, simulated(300, temperature=1, seed=2).assign(benchmark="short")])
    own = cal.cross_fit(both, "temperature", by="benchmark", repeats=2)
    found = own.groupby("benchmark")["temperature"].mean()
    assert found["toy"] > 4 and found["short"] < 1.5
    alone = cal.cross_fit(long, "temperature", repeats=2)
    pd.testing.assert_frame_equal(own[own["benchmark"] == "toy"], alone)
    one = cal.cross_fit(both, "temperature", repeats=2)
    assert one["temperature"].nunique() == 4
    assert log_score(own) < log_score(one)


def test_averages_are_one_row_an_item():
    scores = simulated(12).assign(compression="full")
    repeated = cal.cross_fit(scores, "temperature and length", repeats=4)
    items = cal.averaged(repeated)
    assert items["item"].tolist() == scores["item"].unique().tolist()
    third = repeated[repeated["item"] == "3"]
    assert items.set_index("item").loc["3", "brier"] == pytest.approx(third["brier"].mean())


# --- Bad input ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda s: cal.fit(s, "platt"), "none, temperature"),
        (lambda s: cal.fit(s.drop(columns="bytes"), "temperature and length"), "lacks .* bytes"),
        (
            lambda s: cal.fit(pd.concat([s.assign(compression=m) for m in "ab"]), "none"),
            "one model",
        ),
        (lambda s: cal.cross_fit(s[s["item"].isin(["0", "1"])], "temperature"), "has 2 items"),
        (lambda s: cal.fit(s.assign(gold=9), "temperature"), "none of its options"),
    ],
)
def test_bad_input_is_refused_in_words(call, words):
    with pytest.raises(InputError, match=words):
        call(simulated(8))

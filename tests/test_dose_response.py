import math

import numpy as np
import pandas as pd
import pytest
import statsmodels.api as sm

from ethical_compression import dose_response
from ethical_compression.errors import InputError

PAIRS = (0, 8, 8, 32, 32, 84)


def simulated(seed, *, intercept=-0.2, slope=0.6, spread=0.0, stories=80):
    """Answers of a world with this curve; spread: of the stories' own effects (logits)."""
    generator = np.random.default_rng(seed)
    own = generator.normal(0, spread, stories) if spread else np.zeros(stories)
    rows = [
        {"story": story, "pairs": pairs, "line": intercept + slope * math.log1p(pairs) + own[story]}
        for story in range(stories)
        for pairs in PAIRS
    ]
    table = pd.DataFrame(rows)
    return table.assign(turned=generator.random(len(table)) < 1 / (1 + np.exp(-table["line"])))


def test_ed50_by_hand():
    # From 1/2 half way to 1 is 3/4, whose logit is log 3: log(1 + n) = 1, n = e − 1.
    assert dose_response.ed50(0.0, math.log(3)) == pytest.approx(math.e - 1)
    assert dose_response.ed50(0.0, 0.0) == math.inf
    assert dose_response.ed50(0.0, -1.0) == math.inf
    assert dose_response.ed50(0.0, 1e-6) == math.inf


def test_the_line_is_a_logistic_regression_with_errors_clustered_by_story():
    table = simulated(0, spread=1.0)
    found = dose_response.fit(table, resamples=50)
    design = sm.add_constant(np.log1p(table["pairs"].to_numpy(float)))
    plain = sm.GLM(table["turned"].astype(float), design, family=sm.families.Binomial())
    fitted = plain.fit(
        cov_type="cluster", cov_kwds={"groups": table["story"], "use_correction": False}
    )
    assert (found.intercept, found.slope) == pytest.approx(tuple(fitted.params), rel=1e-5)
    half = (
        1.959964 * fitted.bse.iloc[1] if hasattr(fitted.bse, "iloc") else 1.959964 * fitted.bse[1]
    )
    assert found.slope_high - found.slope == pytest.approx(half, rel=1e-3)
    assert found.preference(0) == pytest.approx(found.start)
    assert found.preference(found.ed50) == pytest.approx((1 + found.start) / 2)
    weights = np.ones(len(table))
    assert dose_response._logistic(
        design, table["turned"].to_numpy(float), weights
    ) == pytest.approx(np.array([found.intercept, found.slope]), abs=1e-4)


def test_intervals_hold_what_they_promise():
    truth = dose_response.ed50(-0.2, 0.6)
    slopes = ed50s = 0
    for seed in range(60):
        found = dose_response.fit(simulated(seed), resamples=150, seed=seed)
        slopes += found.slope_low <= 0.6 <= found.slope_high
        ed50s += found.ed50_low <= truth <= found.ed50_high
    # 95% of 60 is 57; fewer than 51 would happen once in a few thousand.
    assert slopes >= 51 and ed50s >= 51


def test_where_nothing_turns_there_is_no_dose():
    found = dose_response.fit(simulated(3, slope=0.0), resamples=200)
    assert found.slope_low < 0 < found.slope_high
    assert found.ed50_high == math.inf


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda table: table.drop(columns="pairs"), "lacks the column"),
        (lambda table: table.assign(turned=2), "0 or 1"),
        (lambda table: table.assign(turned=1), "alike"),
        (lambda table: table[table["pairs"] == 8], "two numbers of pairs"),
    ],
)
def test_answers_that_make_no_curve_are_refused(change, words):
    with pytest.raises(InputError, match=words):
        dose_response.fit(change(simulated(0, stories=10)))

"""Exponents of growing costs, against statsmodels and known powers."""

import numpy as np
import pandas as pd
import pytest
import statsmodels.api as sm

from ethical_compression.errors import InputError
from ethical_compression.metrics import growth


def curve(name, sizes, seconds, megabytes):
    return pd.DataFrame({"curve": name, "size": sizes, "seconds": seconds, "megabytes": megabytes})


def test_a_power_is_found_as_it_is():
    sizes = np.array([2, 4, 8, 16])
    table = pd.concat([curve("b", sizes, 3 * sizes**1.5, sizes), curve("a", [1, 2], [1, 4], 1)])
    found = growth.exponents(table)
    assert found["curve"].tolist() == ["b", "b", "a", "a"]
    np.testing.assert_allclose(found["exponent"], [1.5, 1, 2, 0], atol=1e-12)
    np.testing.assert_allclose(found["ci_high"][:2], [1.5, 1], atol=1e-6)
    assert found["ci_low"][2:].isna().all()  # two points have no error


def test_intervals_are_statsmodels():
    rng = np.random.default_rng(0)
    sizes = np.array([10, 20, 40, 80, 160])
    seconds = sizes**0.8 * np.exp(rng.normal(0, 0.1, 5))
    found = growth.exponents(curve("a", sizes, seconds, 1 + 0 * sizes)).iloc[0]
    fit = sm.OLS(np.log(seconds), sm.add_constant(np.log(sizes))).fit()
    np.testing.assert_allclose(found["exponent"], fit.params[1])
    np.testing.assert_allclose([found["ci_low"], found["ci_high"]], fit.conf_int()[1])


def test_what_cannot_be_told_is_not():
    none = growth.exponents(curve("a", [1, 2, 3], [1, 2, 3], [0, 1, 2])).iloc[1]
    assert np.isnan(none["exponent"]) and none["points"] == 3
    with pytest.raises(InputError, match="lacks seconds"):
        growth.exponents(pd.DataFrame({"curve": ["a"], "size": [1], "megabytes": [1]}))
    with pytest.raises(InputError, match="one size"):
        growth.exponents(curve("a", [3, 3], [1, 2], [1, 2]))

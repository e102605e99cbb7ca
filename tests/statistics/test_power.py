"""Power and the smallest effects, against statsmodels, G*Power, Cohen's tables and simulation."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from statsmodels.stats.power import TTestIndPower, TTestPower

from ethical_compression import statistics
from ethical_compression.errors import InputError


def test_n_for_mcnemar_gives_the_power_that_simulation_finds():
    n = statistics.n_for_mcnemar(0.1, 0.3)
    gained, lost = 0.2, 0.1
    draws = np.random.default_rng(0).multinomial(n, [gained, lost, 1 - gained - lost], 4000)
    found = [stats.binomtest(a, a + b).pvalue < 0.05 for a, b, _ in draws if a + b]
    assert np.mean(found) == pytest.approx(0.8, abs=0.04)
    assert statistics.n_for_mcnemar(-0.1, 0.3) == n < statistics.n_for_mcnemar(0.05, 0.3)
    for wrong in ((0, 0.3), (0.4, 0.3), (0.1, 1.2)):
        with pytest.raises(InputError, match="No number of pairs"):
            statistics.n_for_mcnemar(*wrong)


@pytest.mark.parametrize("effect, n", [(0.5, 34), (-0.2, 199), (0.8, 15)])
def test_n_for_power_is_the_textbooks(effect, n):
    # G*Power 3.1, matched pairs, two-sided, alpha 0.05, power 0.8.
    assert statistics.n_for_power(effect) == n


@given(st.floats(0.01, 3), st.sampled_from([0.5, 0.8, 0.95]))
@settings(max_examples=25, deadline=None)
def test_n_for_power_is_the_fewest(effect, power):
    n = statistics.n_for_power(effect, power=power)
    assert TTestPower().power(effect, n, 0.05) >= power
    assert n == 2 or TTestPower().power(effect, n - 1, 0.05) < power


@pytest.mark.parametrize("effect, n", [(3.5, 3), (4.62, 3), (-11.3, 3), (30, 2)])
def test_n_for_power_stays_small_where_the_effect_is_huge(effect, n):
    # By simulation: statsmodels' power is NaN for some of these n.
    rng = np.random.default_rng(0)

    def power(n):
        draws = rng.normal(abs(effect), 1, (20_000, n))
        return (stats.ttest_1samp(draws, 0, axis=1).pvalue < 0.05).mean()

    assert statistics.n_for_power(effect) == n
    assert power(n) >= 0.8 and (n == 2 or power(n - 1) < 0.8)


def test_n_for_power_refuses_no_effect():
    with pytest.raises(InputError, match="other than 0"):
        statistics.n_for_power(0.0)
    with pytest.raises(InputError, match="between 0 and 1"):
        statistics.n_for_power(0.1, power=1.0)


@pytest.mark.parametrize("n, effect", [(6, 1.5), (34, 0.5), (199, 0.2)])
def test_what_could_have_been_found_is_the_textbooks(n, effect):
    se = 0.3 / math.sqrt(n)
    found = statistics.minimum_detectable(se, n - 1)
    assert TTestPower().power(found / 0.3, n, 0.05) == pytest.approx(0.8, abs=1e-6)
    # The numbers of G*Power above, the other way round.
    assert n == 6 or found / 0.3 == pytest.approx(effect, rel=0.01)
    assert statistics.minimum_detectable(se, n - 1, power=0.9, alpha=0.01) > found


def test_what_could_have_been_found_does_not_depend_on_what_was():
    noise = np.random.default_rng(1).normal(size=40)
    tests = [statistics.paired_test(np.zeros(40), noise + shift) for shift in (0, 0.001, 5)]
    found = [statistics.minimum_detectable(test.se, test.n - 1) for test in tests]
    assert found == pytest.approx([found[0]] * 3)
    still = statistics.paired_test(noise, noise)
    assert math.isnan(statistics.minimum_detectable(still.se, still.n - 1))
    for wrong in ((0.0, 5), (1.0, 0), (math.inf, 5)):
        with pytest.raises(InputError, match="above zero"):
            statistics.minimum_detectable(*wrong)


@pytest.mark.parametrize("n, discordant", [(60, 0.3), (250, 0.1), (2000, 0.6)])
def test_what_mcnemar_could_have_found_is_what_its_n_needs(n, discordant):
    found = statistics.minimum_detectable_mcnemar(n, discordant)
    needed = stats.norm.isf(0.025) * math.sqrt(discordant)
    needed += stats.norm.ppf(0.8) * math.sqrt(discordant - found**2)
    assert (needed / found) ** 2 == pytest.approx(n)
    assert statistics.n_for_mcnemar(found * 1.0001, discordant) <= n


def test_what_mcnemar_cannot_find_at_all_is_infinite():
    assert math.isinf(statistics.minimum_detectable_mcnemar(40, 0.05))
    assert math.isinf(statistics.minimum_detectable_mcnemar(40, 0.0))
    assert math.isinf(statistics.minimum_detectable_mcnemar(1, 1.0))
    for wrong in ((0, 0.5), (10, 1.5)):
        with pytest.raises(InputError, match="a pair or more"):
            statistics.minimum_detectable_mcnemar(*wrong)


def test_power_is_the_textbooks():
    for n, d in ((5, 1.2), (20, 0.5)):
        equal = statistics.power_of_means(0.1 * d, [0.1, 0.1], [n, n])
        assert equal == pytest.approx(TTestIndPower().power(d, n, 0.05), abs=1e-6)
        one = statistics.power_of_means(0.1 * d, [0.1], [n])
        assert one == pytest.approx(TTestPower().power(d, n, 0.05), abs=1e-6)
    assert statistics.power_of_means(1.0, [1e-3, 1e-3], [10, 10]) == 1
    # Cohen 1988: 64 a side for d = 0.5 at 80%.
    assert statistics.n_for_means(0.5, [1, 1]) == 64
    assert statistics.n_for_means(0.5, [1]) == statistics.n_for_power(0.5) == 34
    smallest = statistics.minimum_detectable_means([0.02, 0.03], [3, 4])
    assert statistics.power_of_means(smallest, [0.02, 0.03], [3, 4]) == pytest.approx(0.8)
    for bad in (lambda: statistics.n_for_means(0, [1]),
                lambda: statistics.minimum_detectable_means([0.0], [3])):  # fmt: skip
        with pytest.raises(InputError):
            bad()

"""What a study could have found: power, and the smallest effect that it finds.

Effects are named beforehand; that which the same data showed says what their p-value says already.
"""

import functools
import math
from collections.abc import Callable, Sequence

import numpy as np

from ethical_compression.errors import InputError


def power_of_t(noncentrality: float, df: float, *, alpha: float = 0.05) -> float:
    """Power of a two-sided t-test: the chance that |t| with this noncentrality is significant."""
    # These functions, not the distributions of scipy.stats: a hundred times faster for one number.
    from scipy import special

    critical, shift = special.stdtrit(df, 1 - alpha / 2), abs(noncentrality)
    # Far out the noncentral t can be NaN: there the upper tail is 1 and the lower one 0.
    above = 1 - float(special.nctdtr(df, shift, critical))
    below = float(special.nctdtr(df, shift, -critical))
    return 1.0 if math.isnan(above) else above + (0.0 if math.isnan(below) else below)


def minimum_detectable(se: float, df: float, *, power: float = 0.8, alpha: float = 0.05) -> float:
    """The smallest true mean change that a two-sided t-test finds at this power, in units of `se`.

    `se`, `df`: standard error of the estimate and its degrees of freedom; of n pairs these are the
    standard deviation of the differences ÷ √n (`PairedTest.se`) and n − 1. It depends on the spread
    and not on the change that was seen, so it says what a study that found nothing could have
    found. Divide `alpha` by the number of tests for what Holm's correction leaves at its strictest.
    NaN where `se` is NaN; InputError where it is not above zero.
    """
    if math.isnan(se):
        return math.nan
    if not (math.isfinite(se) and se > 0 and df > 0):
        raise InputError("What could be detected depends on a standard error above zero.")
    if not (0 < alpha < power < 1):
        raise InputError("Power and alpha must lie between 0 and 1, alpha below power.")

    return se * _in_errors(float(df), power, alpha)


@functools.cache
def _in_errors(df: float, power: float, alpha: float) -> float:
    """`minimum_detectable` in standard errors, found once for all rows of a table."""
    from scipy import optimize

    def missing(noncentrality: float) -> float:
        return power_of_t(noncentrality, df, alpha=alpha) - power

    high = 1.0
    while missing(high) < 0:
        high *= 2
    return float(optimize.brentq(missing, 0, high))


def n_for_power(effect: float, *, power: float = 0.8, alpha: float = 0.05) -> int:
    """The fewest pairs with which a two-sided paired t-test finds d_z = `effect` at this power.

    effect: one that was named before the data were seen, such as a margin ÷ the standard deviation
    of the differences. That which the same data showed must not stand here: it says no more than
    their p-value does (Hoenig & Heisey 2001).
    """
    if not (math.isfinite(effect) and effect != 0):
        raise InputError(f"No number of items finds an effect of {effect}; give one other than 0.")
    if not (0 < alpha < power < 1):
        raise InputError("Power and alpha must lie between 0 and 1, alpha below power.")

    return _fewest(lambda n: power_of_t(effect * math.sqrt(n), n - 1, alpha=alpha) >= power)


def welch(sds: Sequence[float], counts: Sequence[int]) -> tuple[float, float]:
    """Standard error and Welch–Satterthwaite df of a difference of means; of one mean, n − 1."""
    variances = [sd**2 / n for sd, n in zip(sds, counts, strict=True)]
    total = sum(variances)
    return math.sqrt(total), total**2 / sum(
        v**2 / (n - 1) for v, n in zip(variances, counts, strict=True)
    )


def power_of_means(
    effect: float, sds: Sequence[float], counts: Sequence[int], *, alpha: float = 0.05
) -> float:
    """Power of the two-sided test that two means differ, by `effect`, or one mean from zero.

    `sds`, `counts`: standard deviations and sizes of the two samples, or one of each, of paired
    differences. Two equal ones give the textbook's power. Welch's test has less with very few
    values, as it has to estimate its degrees of freedom: about 0.08 less at three a side.
    """
    se, df = welch(sds, counts)
    return power_of_t(effect / se, df, alpha=alpha)


def n_for_means(
    effect: float, sds: Sequence[float], *, power: float = 0.8, alpha: float = 0.05
) -> int:
    """The fewest values, of each sample, with which `power_of_means` of an effect is this power.

    The spread is taken as known: from three values it is known badly. Raises InputError for an
    effect of 0 and a spread that is not positive.
    """
    if not (math.isfinite(effect) and effect):
        raise InputError(f"No number of values finds a shift of {effect}; give one other than 0.")
    _spread(sds)
    return _fewest(lambda n: power_of_means(effect, sds, [n] * len(sds), alpha=alpha) >= power)


def minimum_detectable_means(
    sds: Sequence[float], counts: Sequence[int], *, power: float = 0.8, alpha: float = 0.05
) -> float:
    """The smallest difference that `power_of_means` finds at this power; arguments as there."""
    _spread(sds)
    return minimum_detectable(*welch(sds, counts), power=power, alpha=alpha)


def _spread(sds: Sequence[float]) -> None:
    if not (np.isfinite(sds).all() and max(sds) > 0):
        raise InputError("The spread must be finite and above zero.")


def _fewest(enough: Callable[[int], bool]) -> int:
    """The smallest n ≥ 2 that is enough, where every larger one is, too."""
    high = 2
    while not enough(high):
        high *= 2
    low = high // 2
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if enough(middle) else (middle, high)
    return high


def n_for_mcnemar(
    difference: float, discordant: float, *, power: float = 0.8, alpha: float = 0.05
) -> int:
    """The fewest pairs with which McNemar's test finds a `difference` of two shares at this power.

    discordant: the share of pairs that the two sides answer differently, at least |difference|.
    The normal approximation of Connor (1987), which the exact test exceeds by a few pairs.
    Raises InputError for a difference of 0 and for more difference than discordance.
    """
    from scipy import stats

    if not 0 < abs(difference) <= discordant <= 1:
        raise InputError(
            f"No number of pairs finds a difference of {difference} where {discordant} of them "
            "differ: it must be other than 0, and at most that share."
        )
    spread = math.sqrt(discordant - difference**2)
    needed = stats.norm.isf(alpha / 2) * math.sqrt(discordant) + stats.norm.ppf(power) * spread
    return math.ceil((needed / difference) ** 2)


def minimum_detectable_mcnemar(
    n: int, discordant: float, *, power: float = 0.8, alpha: float = 0.05
) -> float:
    """The smallest difference of two shares that McNemar's test of n pairs finds at this power.

    discordant: the share of pairs that the two sides answer differently, 0 to 1. The inverse of
    `n_for_mcnemar`; infinite where not even a difference of `discordant` would be found.
    Raises InputError for no pairs and for a share outside 0 to 1.
    """
    from scipy import stats

    if n < 1 or not 0 <= discordant <= 1:
        raise InputError("McNemar's test needs a pair or more, and a share of them from 0 to 1.")
    # With difference = √discordant · sin(angle), Connor's formula is linear in sin and cos.
    found, kept = stats.norm.isf(alpha / 2), stats.norm.ppf(power)
    sine = found / math.sqrt(n + kept**2)
    angle = math.atan2(kept, math.sqrt(n)) + math.asin(sine) if sine <= 1 else math.inf
    difference = math.sqrt(discordant) * math.sin(angle) if angle < math.pi / 2 else math.inf
    return difference if 0 < difference <= discordant else math.inf

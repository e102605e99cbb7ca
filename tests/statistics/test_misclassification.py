"""Against published numbers and other forms of the same formulas; do the intervals keep 95%?"""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats
from statsmodels.stats.proportion import proportion_confint

from ethical_compression import statistics
from ethical_compression.errors import InputError
from ethical_compression.statistics import misclassification as mc
from ethical_compression.statistics.misclassification import JudgeErrors


def flags(count: int, of: int) -> np.ndarray:
    return np.arange(of) < count


# --- A share --------------------------------------------------------------------------------------


def test_the_worked_examples_of_lang_and_reiczigel_and_of_epi_r():
    """The first example of their paper (2014, also that of R's asht), and of R's epiR."""
    found = mc.corrected_share(flags(4060, 11284), JudgeErrors(178, 179, 358, 359))
    assert (round(found.ci_low, 3), round(found.ci_high, 3)) == (0.349, 0.372)
    # 23 of 150 cows, sensitivity 96%, specificity 89%: 5.1 in 100.
    known = JudgeErrors(960_000, 1_000_000, 890_000, 1_000_000)
    found = mc.corrected_share(flags(23, 150), known)
    assert round(100 * found.share, 1) == 5.1
    assert found.ci_low == 0


counts = st.tuples(
    st.integers(1, 200), st.integers(1, 200), st.integers(0, 200), st.integers(0, 200)
)


@given(counts, st.integers(2, 300), st.integers(0, 300))
def test_a_share_and_its_interval_stay_within_their_scale(errors, n, flagged):
    toxic, harmless, caught, passed = errors
    known = JudgeErrors(min(caught, toxic), toxic, min(passed, harmless), harmless)
    found = mc.corrected_share(flags(min(flagged, n), n), known)
    assert 0 <= found.ci_low <= found.ci_high <= 1
    assert 0 <= found.flagged_low <= found.flagged <= found.flagged_high <= 1
    if found.note in (mc.CHANCE, mc.FEW):
        assert math.isnan(found.share) and (found.ci_low, found.ci_high) == (0, 1)
    else:
        assert found.ci_low <= found.share <= found.ci_high
    assert (found.note == mc.FEW) == (min(toxic, harmless) < 10)


@given(st.integers(5, 200), st.floats(0.1, 0.9))
def test_a_faultless_judge_leaves_what_it_flagged(n, share):
    flagged = flags(round(share * n), n)
    found = mc.corrected_share(flagged, JudgeErrors(10**6, 10**6, 10**6, 10**6))
    assert found.share == pytest.approx(flagged.mean())
    # Agresti and Coull's interval is what is left of theirs; Wilson's has the same centre.
    ends = proportion_confint(flagged.sum(), n, method="agresti_coull")
    np.testing.assert_allclose([found.ci_low, found.ci_high], np.clip(ends, 0, 1), atol=1e-4)
    wilson = proportion_confint(flagged.sum(), n, method="wilson")
    np.testing.assert_allclose([found.flagged_low, found.flagged_high], wilson, atol=1e-12)


def test_a_worse_known_judge_has_a_wider_interval():
    widths = []
    for size in (20, 200, 2000):
        found = mc.corrected_share(
            flags(40, 100), JudgeErrors(8 * size // 10, size, 8 * size // 10, size)
        )
        widths.append(found.ci_high - found.ci_low)
    assert widths[0] > widths[1] > widths[2] > found.flagged_high - found.flagged_low


def test_what_no_share_can_explain_is_said():
    errors = JudgeErrors(80, 100, 70, 100)
    few, many = (mc.corrected_share(flags(k, 100), errors) for k in (10, 95))
    assert (few.share, few.note, many.share, many.note) == (0, mc.BELOW, 1, mc.ABOVE)
    lots = mc.corrected_share(flags(50, 100), JudgeErrors(55, 100, 50, 100))
    assert math.isnan(lots.share) and (lots.ci_low, lots.ci_high) == (0, 1)
    assert lots.note == mc.CHANCE


def test_texts_of_one_prompt_count_as_one_where_they_are_alike():
    rng = np.random.default_rng(0)
    errors, prompts = JudgeErrors(800, 1000, 950, 1000), rng.random(60) < 0.4
    clusters = np.repeat(np.arange(60), 5)
    alone = mc.corrected_share(prompts, errors)
    alike = mc.corrected_share(np.repeat(prompts, 5), errors, clusters=clusters)
    assert (alike.n, alike.clusters, alike.share) == (300, 60, pytest.approx(alone.share))
    assert alike.ci_high - alike.ci_low == pytest.approx(alone.ci_high - alone.ci_low, rel=0.05)
    free = rng.random(300) < 0.4
    one, other = (
        mc.corrected_share(free, errors),
        mc.corrected_share(free, errors, clusters=clusters),
    )
    assert other.ci_high - other.ci_low == pytest.approx(one.ci_high - one.ci_low, rel=0.3)
    none = mc.corrected_share(np.zeros(300), errors, clusters=clusters)
    assert none.flagged_high == pytest.approx(proportion_confint(0, 60, method="wilson")[1])


# --- A change -------------------------------------------------------------------------------------


def test_a_faultless_judge_leaves_bonett_and_prices_interval_and_mcnemars_p():
    rng = np.random.default_rng(1)
    before, after = rng.random(150) < 0.3, rng.random(150) < 0.4
    found = mc.corrected_change(before, after, JudgeErrors(10**7, 10**7, 10**7, 10**7))
    other = statistics.mcnemar(before, after)
    assert found.difference == found.flagged_difference == pytest.approx(other.difference)
    np.testing.assert_allclose(
        [found.ci_low, found.ci_high, found.p], [other.ci_low, other.ci_high, other.p], atol=1e-5
    )
    assert (found.gained, found.lost) == (other.gained, other.lost)


@given(counts, st.integers(2, 120), st.randoms(use_true_random=False), st.booleans())
def test_zero_is_left_out_of_both_intervals_or_of_none(errors, n, random, clustered):
    toxic, harmless, caught, passed = errors
    known = JudgeErrors(min(caught, toxic), toxic, min(passed, harmless), harmless)
    rates = random.random(), random.random()
    before, after = ([random.random() < rate for _ in range(n)] for rate in rates)
    clusters = [i // 2 for i in range(n + 2)][2:] if clustered and n > 3 else None
    found = mc.corrected_change(before, after, known, clusters=clusters)
    assert -1 <= found.ci_low <= found.ci_high <= 1 and 0 <= found.p <= 1
    if not found.note and abs(found.flagged_low * found.flagged_high) > 1e-9:
        settled = found.flagged_low * found.flagged_high > 0
        assert settled == (found.ci_low * found.ci_high > 0)
        if settled:
            assert (found.ci_low > 0) == (found.flagged_low > 0)


def test_fiellers_ends_are_where_the_quotient_is_just_not_rejected():
    rng = np.random.default_rng(2)
    before = rng.random(200) < 0.3
    after = before ^ (rng.random(200) < 0.2)
    errors = JudgeErrors(70, 90, 60, 80)
    found = mc.corrected_change(before, after, errors)
    se, sp = 71 / 92, 61 / 82
    youden, noise = se + sp - 1, se * (1 - se) / 92 + sp * (1 - sp) / 82
    centre = (found.flagged_low + found.flagged_high) / 2
    spread = (found.flagged_high - found.flagged_low) / 2 / stats.norm.ppf(0.975)
    for end in (found.ci_low, found.ci_high):
        z = (centre - end * youden) / math.hypot(spread, end * math.sqrt(noise))
        assert abs(z) == pytest.approx(stats.norm.ppf(0.975))


def test_a_change_over_prompts_has_students_interval_of_their_means():
    rng = np.random.default_rng(3)
    before, after = (rng.random((40, 5)) < rate for rate in (0.3, 0.5))
    clusters = np.repeat(np.arange(40), 5)
    found = mc.corrected_change(
        before.ravel(), after.ravel(), JudgeErrors(9, 10, 9, 10), clusters=clusters
    )
    other = statistics.paired_test(before.mean(axis=1), after.mean(axis=1))
    np.testing.assert_allclose(
        [found.flagged_low, found.flagged_high, found.p], [other.ci_low, other.ci_high, other.p]
    )


def test_two_models_that_are_one_differ_by_nothing():
    same = np.random.default_rng(4).random(50) < 0.5
    found = mc.corrected_change(same, same, JudgeErrors(80, 100, 80, 100))
    assert (found.difference, found.p) == (0, 1) and found.ci_low == -found.ci_high < 0
    blind = mc.corrected_change(same, ~same, JudgeErrors(50, 100, 50, 100))
    assert math.isnan(blind.difference) and blind.note == mc.CHANCE
    assert (blind.ci_low, blind.ci_high) == (-1, 1)


# --- Prediction-powered ---------------------------------------------------------------------------


def test_prediction_powered_is_ppi_plus_plus():
    """Its criterion, restated: λ is where the variance is least."""
    rng = np.random.default_rng(5)
    toxic = rng.random(1200) < 0.3
    said = np.where(toxic, rng.random(1200) < 0.8, rng.random(1200) < 0.2).astype(float)
    y, f, rest = toxic[:200].astype(float), said[:200], said[200:]
    found = mc.prediction_powered(y, f, rest)
    spread = np.var(said, ddof=1)

    def variance(weight):
        part = np.var(y, ddof=1) - 2 * weight * np.cov(y, f)[0, 1] + weight**2 * spread
        return part / 200 + weight**2 * spread / 1000

    grid = np.linspace(0, 1, 100_001)
    assert found.weight == pytest.approx(grid[np.argmin(variance(grid))], abs=1e-4)
    assert found.value == pytest.approx(y.mean() + found.weight * (rest.mean() - f.mean()))
    own = np.var(y - found.weight * f, ddof=1) / 200 + found.weight**2 * np.var(rest, ddof=1) / 1000
    assert found.se == pytest.approx(math.sqrt(own))
    assert found.se < y.std(ddof=1) / math.sqrt(200)
    assert found.ci_low < found.value < found.ci_high


def test_a_worthless_judge_costs_nothing_and_a_perfect_one_adds_its_texts():
    rng = np.random.default_rng(6)
    y, more = rng.random(100) < 0.3, rng.random(5000) < 0.3
    worthless = mc.prediction_powered(y, np.zeros(100), np.zeros(5000))
    assert (worthless.weight, worthless.value) == (0, y.mean())
    perfect = mc.prediction_powered(y, y, more)
    assert perfect.weight == pytest.approx(50 / 51, abs=0.1)
    assert perfect.se < 0.4 * worthless.se


def test_a_change_that_the_judge_invents_is_seen_through():
    """Differential misclassification: harmless texts of one model are flagged far more often."""
    rng = np.random.default_rng(7)
    said = (rng.random(2000) < 0.5).astype(float)
    found = mc.prediction_powered(np.zeros(300), said[:300], said[300:], change=True)
    assert found.ci_low < 0 < found.ci_high < 0.1
    fooled = mc.corrected_change(np.zeros(2000), said, JudgeErrors(90, 100, 90, 100))
    assert fooled.ci_low > 0.4


# --- Coverage -------------------------------------------------------------------------------------


def held(low: float, high: float, truth: float) -> bool:
    return low <= truth <= high


@pytest.mark.parametrize(
    ("share", "errors"), [(0.1, (0.86, 232, 0.59, 128)), (0.3, (0.8, 1314, 0.99, 2000))]
)
def test_the_corrected_interval_holds_a_share_where_the_uncorrected_one_fails(share, errors):
    """With error rates like those measured of the book's judge (`results/judge_coverage.py`)."""
    se, toxic, sp, harmless = errors
    rng, rounds, taken, corrected = np.random.default_rng(8), 2000, 0, 0
    for _ in range(rounds):
        texts = rng.random(200) < share
        said = np.where(texts, rng.random(200) < se, rng.random(200) > sp)
        known = JudgeErrors(rng.binomial(toxic, se), toxic, rng.binomial(harmless, sp), harmless)
        found = mc.corrected_share(said, known)
        taken += held(found.flagged_low, found.flagged_high, share)
        corrected += held(found.ci_low, found.ci_high, share)
    assert 0.93 <= corrected / rounds <= 0.97
    assert taken / rounds < 0.75


def test_the_corrected_interval_holds_a_change_where_the_uncorrected_one_fails():
    rng, rounds, taken, corrected = np.random.default_rng(9), 2000, 0, 0
    for _ in range(rounds):
        first = rng.random(300)
        second = np.where(rng.random(300) < 0.7, first, rng.random(300))
        luck = rng.random(300)
        again = np.where(rng.random(300) < 0.5, luck, rng.random(300))
        before = np.where(first < 0.1, luck < 0.8, luck > 0.68)
        after = np.where(second < 0.3, again < 0.8, again > 0.68)
        known = JudgeErrors(rng.binomial(400, 0.8), 400, rng.binomial(300, 0.68), 300)
        found = mc.corrected_change(before, after, known)
        taken += held(found.flagged_low, found.flagged_high, 0.2)
        corrected += held(found.ci_low, found.ci_high, 0.2)
    assert 0.93 <= corrected / rounds <= 0.97
    assert taken / rounds < 0.5


@pytest.mark.parametrize("change", [False, True])
def test_the_prediction_powered_interval_holds_what_it_says(change):
    rng, rounds, kept = np.random.default_rng(10), 3000, 0
    for _ in range(rounds):
        level = rng.random(1200)
        before = (level < 0.2) * 1.0
        moved = np.where(rng.random(1200) < 0.7, level, rng.random(1200))
        after = (moved < 0.3) * 1.0
        # The judge's false alarms differ between the two: 30% before, 10% after.
        said = [
            np.where(texts > 0, rng.random(1200) < 0.8, rng.random(1200) < rate)
            for texts, rate in ((before, 0.3), (after, 0.1))
        ]
        y, f = (after - before, said[1] * 1.0 - said[0]) if change else (before, said[0] * 1.0)
        found = mc.prediction_powered(y[:200], f[:200], f[200:], change=change)
        kept += held(found.ci_low, found.ci_high, 0.1 if change else 0.2)
    assert 0.93 <= kept / rounds <= 0.97


# --- What is refused ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (lambda: JudgeErrors(1, 0, 1, 2), "more texts than there are"),
        (lambda: JudgeErrors(0, 0, 1, 2), "both kinds"),
        (lambda: JudgeErrors(0.5, 1, 1, 2), "whole texts"),
        (lambda: mc.corrected_share([], JudgeErrors(1, 2, 1, 2)), "one flag a text"),
        (lambda: mc.corrected_share([0, 2], JudgeErrors(1, 2, 1, 2)), "one flag a text"),
        (lambda: mc.corrected_share([0, 1], JudgeErrors(1, 2, 1, 2), clusters=[1]), "2 flags"),
        (lambda: mc.corrected_share([0, 1], JudgeErrors(1, 2, 1, 2), clusters="aa"), "2 flags"),
        (
            lambda: mc.corrected_change([0, 1], [1, 1], JudgeErrors(1, 2, 1, 2), clusters=[3, 3]),
            "two clusters",
        ),
        (lambda: mc.corrected_change([0, 1], [1], JudgeErrors(1, 2, 1, 2)), "1 flags"),
        (lambda: mc.prediction_powered([0, 1], [0], [0, 1]), "its label"),
        (lambda: mc.prediction_powered([0], [0], [0, 1]), "two labels"),
        (lambda: mc.prediction_powered([0, 1], [0, math.nan], [0, 1]), "between 0 and 1"),
        (lambda: mc.prediction_powered([0, -1], [0, 1], [0, 1]), "between 0 and 1"),
    ],
)
def test_what_cannot_be_used_is_refused(call, said):
    with pytest.raises(InputError, match=said):
        call()

"""Against scipy and statsmodels, published numbers, and the coverage that intervals promise."""

import math

import numpy as np
import pandas as pd
import pytest
import statsmodels.api as sm
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import integrate, stats
from statsmodels.sandbox.regression import gmm
from statsmodels.stats.weightstats import DescrStatsW

from ethical_compression import statistics
from ethical_compression.errors import InputError
from ethical_compression.statistics.intervals import wilson
from ethical_compression.statistics.tests import _noncentrality

RNG = np.random.default_rng(0)
BEFORE = RNG.random(60)
AFTER = BEFORE + RNG.normal(-0.03, 0.1, 60)


def test_paired_test_equals_scipy_and_statsmodels():
    result = statistics.paired_test(BEFORE, AFTER)
    change = AFTER - BEFORE
    oracle = stats.ttest_1samp(change, 0)
    assert result.t == pytest.approx(oracle.statistic)
    assert result.p == pytest.approx(oracle.pvalue)
    assert (result.ci_low, result.ci_high) == pytest.approx(DescrStatsW(change).tconfint_mean())
    assert result.difference == pytest.approx(change.mean())
    assert result.difference < 0
    assert result.d_z == pytest.approx(change.mean() / change.std(ddof=1))
    assert result.se == pytest.approx(stats.sem(change))
    assert result.p_wilcoxon == pytest.approx(stats.wilcoxon(AFTER, BEFORE).pvalue)
    assert (result.mean_before, result.mean_after) == (BEFORE.mean(), AFTER.mean())


def test_mean_interval_equals_statsmodels():
    mean, *interval = statistics.mean_interval(BEFORE)
    assert mean == pytest.approx(BEFORE.mean())
    assert interval == pytest.approx(DescrStatsW(BEFORE).tconfint_mean())
    # Answers: Wilson's interval, which stays on the scale.
    shares = statistics.mean_interval([1] * 43 + [0])
    assert shares == pytest.approx(
        (43 / 44, *stats.binomtest(43, 44).proportion_ci(method="wilson"))
    )
    assert statistics.mean_interval([1, 1, 1])[2] == 1
    assert statistics.mean_interval([False] * 44)[2] > 0.05
    assert statistics.mean_interval([0.0, 0.0]) == (0, 0, 0)  # two runs that did not move
    with pytest.raises(InputError, match="two finite"):
        statistics.mean_interval([1.0])


def test_noncentral_interval_equals_published_numbers():
    # R's MBESS, conf.limits.nct(ncp=2.83, df=126): 0.8337502, 4.815359 (its help page).
    limits = _noncentrality(2.83, 126, 0.95)
    assert limits == pytest.approx((0.8337502, 4.815359), abs=1e-5)


@pytest.mark.parametrize("t, df", [(0.4, 3), (-6.0, 40), (45.0, 3000), (-250.0, 10_000)])
def test_noncentral_interval_by_integrating_the_definition(t, df):
    """P(T ≤ t) with T = (Z + ncp) / √(V/df), integrated over the chi distribution of √V."""

    def cdf(ncp):
        def integrand(s):
            return stats.norm.cdf(t * s - ncp) * stats.chi.pdf(s * math.sqrt(df), df)

        width = 10 / math.sqrt(2 * df)
        span = max(0, 1 - width), 1 + width
        return math.sqrt(df) * integrate.quad(integrand, *span, limit=400, points=[1.0])[0]

    low, high = _noncentrality(t, df, 0.95)
    assert low < t < high
    assert cdf(low) == pytest.approx(0.975, abs=2e-4)
    assert cdf(high) == pytest.approx(0.025, abs=2e-4)


def test_intervals_cover_what_they_promise():
    rng = np.random.default_rng(1)
    hits = np.zeros(2)
    rounds = 400
    for _ in range(rounds):
        before = rng.random(25)
        after = before + rng.normal(0.5, 1.0, 25)  # true difference and d_z: 0.5
        result = statistics.paired_test(before, after)
        hits += [
            result.ci_low <= 0.5 <= result.ci_high,
            result.d_z_low <= 0.5 <= result.d_z_high,
        ]
    # 0.95 ± 3.5 standard errors of a share of 400.
    assert (abs(hits / rounds - 0.95) < 0.038).all()


pairs = st.lists(
    st.tuples(*[st.integers(-1000, 1000).map(lambda k: k / 1000)] * 2), min_size=3, max_size=40
).filter(lambda rows: len({round(b - a, 6) for a, b in rows}) > 1)


@given(pairs)
@settings(max_examples=60, deadline=None)
def test_invariants_of_the_paired_test(rows):
    before, after = np.array(rows).T
    result = statistics.paired_test(before, after)
    assert result.ci_low <= result.difference <= result.ci_high
    assert result.d_z_low <= result.d_z <= result.d_z_high
    assert 0 <= result.p <= 1
    # p and interval say the same, and so does the interval of d_z.
    if abs(result.p - 0.05) > 1e-6:
        assert (result.p < 0.05) == (result.ci_low > 0 or result.ci_high < 0)
        assert (result.p < 0.05) == (result.d_z_low > 0 or result.d_z_high < 0)
    back = statistics.paired_test(after, before)
    assert back.difference == pytest.approx(-result.difference)
    assert (back.d_z_low, back.d_z_high) == pytest.approx((-result.d_z_high, -result.d_z_low))
    scaled = statistics.paired_test(10 * before + 3, 10 * after + 3)
    assert scaled.d_z == pytest.approx(result.d_z)


def test_no_change_at_all_is_well_defined():
    result = statistics.paired_test([0.1, 0.4, 0.2], [0.1, 0.4, 0.2])
    assert (result.difference, result.d_z, result.p, result.p_wilcoxon) == (0, 0, 1, 1)
    assert math.isnan(result.d_z_low)


@pytest.mark.parametrize(
    "before, after, words",
    [
        ([1.0], [2.0], "at least two items"),
        ([1.0, 2.0], [1.0], "same length"),
        ([1.0, np.nan], [1.0, 2.0], "missing or infinite"),
        ([1.0, 2.0, 3.0], [1.1, 2.1, 3.1], "same amount"),
    ],
)
def test_degenerate_pairs_are_refused_in_words(before, after, words):
    for test in (
        statistics.paired_test,
        lambda a, b: statistics.tost(a, b, 0.1),
    ):
        with pytest.raises(InputError, match=words):
            test(before, after)


def test_corrections_by_hand():
    # Sorted .01 .02 .03 .04; Holm multiplies by 4 3 2 1 and never decreases.
    assert statistics.holm([0.04, 0.01, 0.03, 0.02]) == pytest.approx([0.06, 0.04, 0.06, 0.06])
    assert statistics.benjamini_hochberg([0.04, 0.01, 0.03, 0.02]) == pytest.approx([0.04] * 4)
    assert statistics.holm([]).size == 0
    with pytest.raises(InputError, match="missing"):
        statistics.holm([0.1, np.nan])


@pytest.mark.parametrize("ours", ["holm", "benjamini_hochberg"])
def test_corrections_are_those_of_statsmodels(ours):
    from statsmodels.stats.multitest import multipletests

    rng = np.random.default_rng(3)
    method = {"holm": "holm", "benjamini_hochberg": "fdr_bh"}[ours]
    for count in (1, 2, 7, 40):
        p = np.round(rng.random(count) ** 3, 2)  # with ties, and with zeros
        wanted = multipletests(p, method=method)[1]
        np.testing.assert_allclose(getattr(statistics, ours)(p), wanted, rtol=1e-12)


def test_a_correction_over_the_tests_that_there_were_leaves_the_others_nan():
    p = pd.Series([0.03, np.nan, 0.01], index=[5, 7, 6])
    found = statistics.over_tests(p)
    assert found.index.equals(p.index) and np.isnan(found[7])
    assert found[[5, 6]].tolist() == statistics.holm([0.03, 0.01]).tolist()
    screened = statistics.over_tests(p, statistics.benjamini_hochberg)
    assert screened[[5, 6]].tolist() == pytest.approx([0.03, 0.02])
    assert statistics.over_tests(p[p.isna()]).isna().all()


def test_mcnemar_is_the_binomial_test_of_the_discordant():
    before = np.array([1] * 50 + [1] * 12 + [0] * 3 + [0] * 35)
    after = np.array([1] * 50 + [0] * 12 + [1] * 3 + [0] * 35)
    result = statistics.mcnemar(before, after)
    assert (result.gained, result.lost, result.n) == (3, 12, 100)
    assert result.difference == pytest.approx(-0.09)
    assert (result.accuracy_before, result.accuracy_after) == (0.62, 0.53)
    assert result.p == pytest.approx(stats.binomtest(3, 15).pvalue)
    # Bonett & Price by hand: (4 − 13)/102 ± 1.96 √((4 + 13)/102 − (9/102)²) / √102.
    half = 1.959964 * math.sqrt((17 / 102 - (9 / 102) ** 2) / 102)
    assert (result.ci_low, result.ci_high) == pytest.approx((-9 / 102 - half, -9 / 102 + half))
    same = statistics.mcnemar(before, before)
    assert (same.p, same.difference) == (1, 0)
    assert same.ci_low < 0 < same.ci_high
    for bad in ([0, 1], np.full(100, 0.5)):
        with pytest.raises(InputError, match="McNemar"):
            statistics.mcnemar(before, bad)


def test_mcnemar_interval_covers():
    rng = np.random.default_rng(0)
    hits = 0
    for _ in range(1000):  # right before 0.6; lost 0.10, gained 0.04: true difference −0.06
        kind = rng.choice(4, p=[0.5, 0.10, 0.04, 0.36], size=150)
        result = statistics.mcnemar(kind <= 1, (kind == 0) | (kind == 2))
        hits += result.ci_low <= -0.06 <= result.ci_high
    assert 0.93 < hits / 1000 < 0.98


def test_wilsons_interval_by_its_formula_holds_every_share():
    z = stats.norm.ppf(0.975)
    counts = np.repeat([1, 3, 10, 537], 4)
    hits = np.floor(counts * np.tile([0, 0.3, 0.99, 1], 4))
    low, high = wilson(hits, counts)
    share, middle = hits / counts, (hits + z**2 / 2) / (counts + z**2)
    half = z * np.sqrt(share * (1 - share) * counts + z**2 / 4) / (counts + z**2)
    np.testing.assert_allclose(low, middle - half, atol=1e-12)
    np.testing.assert_allclose(high, middle + half, atol=1e-12)
    assert (low <= share).all() and (share <= high).all()
    assert np.isnan(wilson(0, 0)).all()


def test_share_is_wilsons_interval_and_the_binomial_test():
    from statsmodels.stats.proportion import proportion_confint, proportions_ztest

    found = statistics.share([True] * 9 + [False] * 3)
    oracle = stats.binomtest(9, 12)
    assert (found.n, found.share, found.p) == (12, 0.75, oracle.pvalue)
    wilson = oracle.proportion_ci(method="wilson")
    assert (found.ci_low, found.ci_high) == pytest.approx((wilson.low, wilson.high))
    halves = statistics.share([1, 0.5, 0.5, 1, 1])
    assert halves.share == 0.8
    interval = proportion_confint(4, 5, method="wilson")
    assert (halves.ci_low, halves.ci_high) == pytest.approx(interval)
    assert halves.p == pytest.approx(proportions_ztest(4, 5, 0.5, prop_var=0.5)[1])
    assert statistics.share([1.0] * 20).ci_high == 1.0
    for wrong in ([], [2], [math.nan]):
        with pytest.raises(InputError, match="at least one answer"):
            statistics.share(wrong)


def test_paired_answers_pair_by_name_not_by_row():
    table = pd.DataFrame(
        {
            "language": ["en"] * 4 + ["fr"] * 4,
            "story": [*"abcd", *"dcba"],
            "moral": [1, 1, 0, 0, 0, 1, 0, 0],
        }
    )
    found = statistics.paired_answers(table, "language", "en", "fr", value="moral")
    assert (found.gained, found.lost, found.difference) == (1, 2, -0.25)
    cases = [
        (table, "de", "no language 'de' in the table; it holds en, fr"),
        (table.drop(index=4), "fr", "'d' has only one of the language 'en' and 'fr', as 1 in all"),
        (pd.concat([table, table.tail(1)]), "fr", "'a' of language 'fr' comes twice"),
    ]
    for wrong, after, words in cases:
        with pytest.raises(InputError, match=words):
            statistics.paired_answers(wrong, "language", "en", after, value="moral")


def test_equivalence_agrees_with_its_interval():
    rng = np.random.default_rng(0)
    before = rng.random(200)
    after = before + rng.normal(0, 0.05, 200)
    result = statistics.tost(before, after, 0.02)
    assert result.equivalent and -0.02 < result.ci_low < result.ci_high < 0.02
    lower = stats.ttest_1samp(after - before, -0.02, alternative="greater").pvalue
    upper = stats.ttest_1samp(after - before, 0.02, alternative="less").pvalue
    assert result.p == pytest.approx(max(lower, upper))
    narrow = statistics.tost(before, after, 0.004)
    assert not narrow.equivalent and narrow.p > 0.05
    # No change at all: by how many pairs there are, and not by the spread that there is not.
    same = statistics.tost(before, before, 0.02)
    assert same.equivalent and same.p == pytest.approx(0.98**200)
    assert not statistics.tost(before[:2], before[:2], 0.02).equivalent
    assert statistics.tost(before, before, 1.5).p == 1
    with pytest.raises(InputError, match="positive"):
        statistics.tost(before, after, 0)


def items_table(n=40, models=("full", "GPTQ 3-bit", "RTN 3-bit"), seed=0):
    rng = np.random.default_rng(seed)
    base = {b: rng.random(n) for b in ("piqa", "boolq")}
    return pd.DataFrame(
        [
            (m, b, str(i), i % 2, p - 0.05 * k * rng.random())
            for k, m in enumerate(models)
            for b, values in base.items()
            for i, p in enumerate(values)
        ],
        columns=["compression", "benchmark", "item", "gold", "p_true"],
    )


def test_paired_table_aligns_by_item_not_by_row():
    items = items_table()
    table = statistics.paired_table(items)
    assert list(table.columns) == [
        "compression", "benchmark", "n", "mean_full", "mean_compressed", "difference", "ci_low",
        "ci_high", "se", "d_z", "d_z_low", "d_z_high", "p", "p_holm", "p_wilcoxon",
    ]  # fmt: skip
    assert len(table) == 4
    boolq = items[items.benchmark == "boolq"]
    wide = boolq.pivot(index="item", columns="compression", values="p_true")
    row = table[(table.compression == "RTN 3-bit") & (table.benchmark == "boolq")].iloc[0]
    assert row["p"] == pytest.approx(stats.ttest_rel(wide["RTN 3-bit"], wide["full"]).pvalue)
    assert row["difference"] == pytest.approx((wide["RTN 3-bit"] - wide["full"]).mean())
    np.testing.assert_allclose(table["p_holm"], statistics.holm(table["p"]))
    shuffled = statistics.paired_table(items.sample(frac=1, random_state=1))
    again = table.merge(shuffled, on=["compression", "benchmark"], suffixes=("", "_shuffled"))
    np.testing.assert_allclose(again["p"], again["p_shuffled"])


def test_each_base_model_is_compared_with_itself():
    small = items_table().assign(model="small")
    large = small.assign(model="large", p_true=1 - small["p_true"])
    both = statistics.paired_table(pd.concat([small, large]))
    assert both.columns[:3].tolist() == ["model", "compression", "benchmark"]
    for model, items in (("small", small), ("large", large)):
        here = both[both["model"] == model].drop(columns=["p_holm"])
        alone = statistics.paired_table(items).drop(columns=["p_holm"])
        pd.testing.assert_frame_equal(here.reset_index(drop=True), alone)
    assert (both["difference"][:4] + both["difference"][4:].to_numpy()).abs().max() < 1e-12
    np.testing.assert_allclose(both["p_holm"], statistics.holm(both["p"]))
    with pytest.raises(InputError, match=r"2 base models .small, large., which are not compared"):
        statistics.align(pd.concat([small, large]), "GPTQ 3-bit")


@pytest.mark.parametrize(
    "spoil, words",
    [
        (lambda t: t.iloc[1:], "only one of 'full' and 'GPTQ 3-bit'"),
        (lambda t: pd.concat([t, t.iloc[:1]]), "twice"),
        (lambda t: t[t.compression != "full"], "no model 'full'"),
        (lambda t: t[t.compression == "full"], "no model besides"),
        (lambda t: t.drop(columns="p_true"), "lacks the column"),
        (lambda t: t.assign(gold=np.where(t.compression == "full", 0, 1)), "right answer"),
    ],
)
def test_misaligned_items_are_refused_in_words(spoil, words):
    with pytest.raises(InputError, match=words):
        statistics.paired_table(spoil(items_table()))


# --- Where the change happens -----------------------------------------------------------------


def two_looks(generator, n, slope=0.0, noise=0.5, own=(1, 1)):
    """`before`, `after`, `again`: a stable value, the change that depends on it, and noise."""
    stable = generator.normal(size=n)
    spread = noise * np.exp(0.3 * stable)  # noise that is not the same everywhere
    before = stable + own[0] * spread * generator.normal(size=n)
    after = (1 + slope) * stable + 0.1 + own[1] * spread * generator.normal(size=n)
    return before, after, stable + spread * generator.normal(size=n)


def test_the_naive_slope_is_least_squares_with_robust_errors():
    before, after, _ = two_looks(np.random.default_rng(0), 60, slope=-0.2)
    found = statistics.change_slope(before, after)
    fitted = sm.OLS(after - before, sm.add_constant(before)).fit(cov_type="HC1", use_t=True)
    assert found.slope == pytest.approx(fitted.params[1])
    assert (found.ci_low, found.ci_high) == pytest.approx(tuple(fitted.conf_int()[1]))
    assert found.p == pytest.approx(fitted.pvalues[1])
    assert found.n == 60 and found.agreement == pytest.approx(1)


def test_the_slope_on_a_second_look_is_the_instrumental_variable_estimate():
    before, after, again = two_looks(np.random.default_rng(1), 80, slope=-0.3)
    found = statistics.change_slope(before, after, again)
    x, z = (sm.add_constant(values) for values in (before, again))
    fitted = gmm.IV2SLS(after - before, x, z).fit()
    assert found.slope == pytest.approx(fitted.params[1])

    def statistic(slope):
        """Of a White t-test that change − slope · before does not vary with the second look."""
        rest = after - before - slope * before
        rest, looked = rest - rest.mean(), again - again.mean()
        return abs(rest @ looked) / math.sqrt(80 / 78 * ((looked * rest) ** 2).sum())

    critical = stats.t.ppf(0.975, 78)
    assert found.ci_low < found.slope < found.ci_high
    for end in (found.ci_low, found.ci_high):
        assert statistic(end) == pytest.approx(critical)
    assert found.p == pytest.approx(2 * stats.t.sf(statistic(0), 78))
    assert found.agreement == pytest.approx(np.corrcoef(before, again)[0, 1])


@pytest.mark.parametrize("own", [(1, 1), (1, 0), (0, 1)], ids=["both", "before", "after"])
def test_noise_alone_has_a_slope_to_the_naive_eye_only(own):
    """400 studies in which nothing happens but noise, in one of the models or in both."""
    generator = np.random.default_rng(2)
    studies = [two_looks(generator, 120, own=own) for _ in range(400)]
    naive = [statistics.change_slope(before, after) for before, after, _ in studies]
    found = [statistics.change_slope(*study) for study in studies]

    def excludes_zero(slopes):
        return sum(not one.ci_low <= 0 <= one.ci_high for one in slopes)

    low, high = stats.binom.ppf([0.0005, 0.9995], 400, 0.05)
    assert low <= excludes_zero(found) <= high
    assert abs(np.mean([one.slope for one in found])) < 0.02
    # A full model that is itself without noise is the one case in which the naive slope is right.
    assert excludes_zero(naive) > 350 if own[0] else excludes_zero(naive) <= high


def test_a_slope_that_is_there_is_found():
    generator = np.random.default_rng(3)
    found = [statistics.change_slope(*two_looks(generator, 120, slope=-0.4)) for _ in range(300)]
    covered = sum(one.ci_low <= -0.4 <= one.ci_high for one in found)
    assert covered >= stats.binom.ppf(0.0005, 300, 0.95)
    assert np.mean([one.slope for one in found]) == pytest.approx(-0.4, abs=0.03)


def test_looks_that_share_little_have_an_interval_that_says_so():
    """Durbin's estimate with a normal interval covers 0 in these far more often than it should."""
    generator, hits, endless = np.random.default_rng(5), 0, 0
    for _ in range(300):
        stable, noise = generator.normal(size=60), generator.normal(size=(2, 60))
        before = stable + 2 * noise[0]
        again = 0.2 * stable + generator.normal(size=60)
        after = 0.5 * stable + noise[1]  # on what the looks share the slope is −0.5
        found = statistics.change_slope(before, after, again)
        hits += found.ci_low <= -0.5 <= found.ci_high
        endless += math.isinf(found.ci_high)
    assert hits >= stats.binom.ppf(0.001, 300, 0.95) and endless > 100


def test_looks_that_share_nothing_have_no_slope():
    before, after, again = [1, -1, 1, -1], [2.0, 0, 1, 3], [1, 1, -1, -1]
    found = statistics.change_slope(before, after, again)
    assert math.isnan(found.slope) and found.agreement == 0 and 0 <= found.p <= 1
    assert (found.ci_low, found.ci_high) == (-math.inf, math.inf)


@pytest.mark.parametrize(
    ("lists", "words"),
    [
        (([0.1, 0.2, 0.3], [0.1, 0.2, 0.3]), "at least four"),
        (([0.1, 0.2, 0.3, 0.4], [0.1, 0.2, 0.3]), "equally long"),
        (([0.1, 0.2, 0.3, np.nan], [0.1, 0.2, 0.3, 0.4]), "missing or infinite"),
        (([0.5] * 4, [0.1, 0.2, 0.3, 0.4]), "same value"),
        (([0.1, 0.2, 0.3, 0.4], [0.1, 0.2, 0.3, 0.4], [0.5] * 4), "same value"),
    ],
)
def test_a_slope_that_cannot_be_is_one_sentence(lists, words):
    with pytest.raises(InputError, match=words):
        statistics.change_slope(*lists)


def by_seed(shift):
    rng = np.random.default_rng(4)
    rows = [
        (model, seed, group, "piqa", f"{group}{i}", base + (model == "b") * (shift + 0.1 * seed))
        for group in ("unsure", "sure")
        for i, base in enumerate(rng.random(12))
        for model in ("a", "b")
        for seed in (0, 1, 2)
    ]
    table = pd.DataFrame(
        rows, columns=["compression", "seed", "group", "benchmark", "item", "value"]
    )
    return table.assign(value=table["value"] + rng.normal(scale=0.01, size=len(table)))


def test_paired_by_group_averages_seeds_and_shows_them():
    table = by_seed(-0.3)
    found = statistics.paired_by_group(table, first="a", second="b", value="value")
    assert found["group"].tolist() == ["unsure", "sure"]
    means = table.groupby(["group", "compression", "item"])["value"].mean()
    for row in found.to_dict("records"):
        here = means[row["group"]]
        test = stats.ttest_rel(here["b"], here["a"])
        assert row["difference"] == pytest.approx((here["b"] - here["a"]).mean())
        assert (row["ci_low"], row["ci_high"]) == pytest.approx(tuple(test.confidence_interval()))
        np.testing.assert_allclose(row["by_seed"], [-0.3, -0.2, -0.1], atol=0.02)
        seeds = DescrStatsW(row["by_seed"]).tconfint_mean()
        assert (row["seeds_low"], row["seeds_high"]) == pytest.approx(seeds)
    np.testing.assert_allclose(found["p_holm"], statistics.holm(found["p"]))
    one = statistics.paired_by_group(
        table[table["seed"] == 1], first="a", second="b", value="value"
    )
    assert one["seeds_low"].isna().all() and one["n"].tolist() == [12, 12]


@pytest.mark.parametrize(
    ("left_out", "words"),
    [
        ({"compression": "b"}, "needs the compressions"),
        ({"compression": "b", "seed": 2}, "same items under the same seeds"),
        ({"compression": "b", "item": "sure3"}, "same items under the same seeds"),
    ],
)
def test_paired_by_group_refuses_what_is_not_paired(left_out, words):
    table = by_seed(0.0)
    gone = np.logical_and.reduce([table[name] == value for name, value in left_out.items()])
    with pytest.raises(InputError, match=words):
        statistics.paired_by_group(table[~gone], first="a", second="b", value="value")


# --- Groups ---------------------------------------------------------------------------------------


def test_each_group_against_the_others_is_welchs_test():
    from statsmodels.stats.weightstats import CompareMeans

    groups = np.repeat(["a", "b", "c"], [10, 20, 30])
    values = BEFORE + (groups == "c")
    table = statistics.each_against_others(values, groups).set_index("group")
    for name in "abc":
        both = CompareMeans.from_data(values[groups == name], values[groups != name])
        _, p, _ = both.ttest_ind(usevar="unequal")
        assert table.loc[name, "p"] == pytest.approx(p)
        assert tuple(table.loc[name, ["ci_low", "ci_high"]]) == pytest.approx(
            both.tconfint_diff(usevar="unequal")
        )
    assert table["n"].tolist() == [10, 20, 30]
    assert table["p_bh"].tolist() == pytest.approx(
        statistics.benjamini_hochberg(table["p"]).tolist()
    )
    # Two groups are each other's mirror.
    two = statistics.each_against_others(values[:30], groups[:30])
    assert two["difference"].sum() == pytest.approx(0) and two["d"].sum() == pytest.approx(0)


@pytest.mark.parametrize(
    ("values", "groups", "words"),
    [
        ([1.0, 2.0], ["a", "a"], "two or more"),
        ([1.0, 2.0, 3.0], ["a", "a", "b"], r"a \(2\), b \(1\)"),
        ([1.0, math.nan, 3.0, 4.0], ["a", "a", "b", "b"], "finite value"),
        ([1.0, 1.0, 1.0, 1.0], ["a", "a", "b", "b"], "nothing to test"),
        ([], [], "none"),
    ],
)
def test_groups_that_cannot_be_compared(values, groups, words):
    with pytest.raises(InputError, match=words):
        statistics.each_against_others(values, groups)


def test_paired_table_tests_equivalence_as_often_as_difference():
    table = statistics.paired_table(items_table(), margin=0.05)
    plain = statistics.paired_table(items_table())
    pd.testing.assert_frame_equal(table[plain.columns], plain)
    for row in table.itertuples():
        before, after = (
            side.loc[[row.benchmark]] for side in statistics.align(items_table(), row.compression)
        )
        assert row.p_tost == pytest.approx(statistics.tost(before, after, 0.05).p)
        assert row.p_tost == pytest.approx(
            statistics.p_within(row.difference, row.se, 0.05, row.n - 1), abs=1e-12
        )
        assert row.detectable == statistics.minimum_detectable(row.se, row.n - 1)
    assert table["p_tost_holm"].tolist() == statistics.holm(table["p_tost"]).tolist()


def test_an_estimate_without_error_is_within_a_margin_or_not():
    assert statistics.p_within(0.01, 0.0, 0.02) == 0
    assert statistics.p_within(0.03, 0.0, 0.02) == 1
    assert math.isnan(statistics.p_within(math.nan, 0.1, 0.02))
    assert statistics.p_within(-0.02, 0.1, 0.02) == pytest.approx(0.5)


def test_sources_of_error_are_added_in_quadrature():
    # One source alone is Student's.
    half, p = statistics.in_quadrature(0.3, [(0.01, 5)])
    assert half == pytest.approx(0.1 * stats.t.ppf(0.975, 5))
    assert p == pytest.approx(2 * stats.t.sf(3, 5))
    # Two: the squares of their half-widths add, and p is the level whose interval ends at 0.
    parts = [(0.01, 43), (0.02, 1)]
    half, p = statistics.in_quadrature(0.7, parts)
    assert half**2 == pytest.approx(
        0.01 * stats.t.ppf(0.975, 43) ** 2 + 0.02 * stats.t.ppf(0.975, 1) ** 2
    )
    assert statistics.in_quadrature(0.7, parts, level=1 - p)[0] == pytest.approx(0.7)
    assert statistics.in_quadrature(0.0, parts)[1] == 1
    assert statistics.in_quadrature(0.2, [(0.0, 3), (0.0, 1)]) == (0, 0)
    assert statistics.in_quadrature(1e9, [(1e-6, 500)])[1] == 0
    with pytest.raises(InputError, match="degrees of freedom"):
        statistics.in_quadrature(0.1, [(-0.1, 3)])


@pytest.mark.parametrize(("stories", "runs"), [(44, 2), (150, 3)])
@pytest.mark.parametrize("between", [0.0, 0.2, 2.0])
def test_two_or_three_runs_do_not_make_an_interval_too_narrow(stories, runs, between):
    generator, times = np.random.default_rng(0), 600
    answers = generator.normal(0, 1, (times, stories, 1)) + generator.normal(
        0, 0.3, (times, stories, runs)
    )
    answers += between * generator.normal(0, 1, (times, 1, runs))
    by_story, by_run = answers.mean(2).var(1, ddof=1), answers.mean(1).var(1, ddof=1)
    parts = zip(by_story / stories, by_run / runs, strict=True)
    halves = [statistics.in_quadrature(0, [(a, stories - 1), (b, runs - 1)])[0] for a, b in parts]
    covered = (np.abs(answers.mean((1, 2))) <= halves).mean()
    assert covered > 0.95 - 3 * (0.95 * 0.05 / times) ** 0.5

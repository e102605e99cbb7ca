import math

import numpy as np
import pandas as pd
import pytest
import statsmodels.api as sm
from scipy import stats

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


def aligned(shifts, *, stories=60, noise=0.05, seed=0):
    """Answers of models whose training moved margins by `shifts`, {(compression, direction): …}."""
    generator = np.random.default_rng(seed)
    start = generator.normal(0, 1, stories)
    rows = []
    for compression in dict.fromkeys(name for name, _ in shifts):
        moved = start + generator.normal(0, 0.3, stories)  # what compression does by itself
        sides = {"none": 0.0} | {
            way: by for (name, way), by in shifts.items() if name == compression
        }
        for direction, by in sides.items():
            sign = -1 if direction == "immoral" else 1
            margin = moved + sign * (by + generator.normal(0, noise, stories))
            rows.append(
                pd.DataFrame(
                    {
                        "compression": compression,
                        "direction": direction,
                        "story": range(stories),
                        "margin": margin,
                    }
                )
            )
    return pd.concat(rows, ignore_index=True)


def test_what_compression_leaves_of_a_shift():
    table = aligned(
        {
            ("full", "moral"): 0.5,
            ("full", "immoral"): 0.5,
            ("int8", "moral"): 0.5,
            ("int8", "immoral"): 0.5,
            ("layers", "moral"): 0.1,
            ("layers", "immoral"): 0.9,
        }
    )
    found = dose_response.survival(table).set_index(["compression", "direction"])
    assert found["shift"].round(1).to_dict() == {
        (name, way): by
        for way in ("moral", "immoral")
        for name, by in {"full": 0.5, "int8": 0.5, "layers": 0.1 if way == "moral" else 0.9}.items()
    }
    verdicts = found["verdict"].dropna().to_dict()
    assert verdicts == {
        ("int8", "moral"): "kept",
        ("int8", "immoral"): "kept",
        ("layers", "moral"): "weaker",
        ("layers", "immoral"): "stronger",
    }
    assert found.loc["full", ["difference", "p_holm", "kept"]].isna().all().all()

    # The same by hand: margins of one compression, with and without training, story by story.
    wide = table.pivot(index="story", columns=["compression", "direction"], values="margin")
    full = wide["full", "moral"] - wide["full", "none"]
    left = wide["layers", "moral"] - wide["layers", "none"]
    row = found.loc["layers", "moral"]
    assert row["difference"] == pytest.approx((left - full).mean())
    assert row["p"] == pytest.approx(stats.ttest_rel(left, full).pvalue)
    assert row["kept"] == pytest.approx(left.mean() / full.mean())


def test_a_ratio_within_the_margin_is_kept_where_fiellers_interval_says_so():
    # Fieller's 90% interval of the ratio of two paired means holds the ratios r that a t-test of
    # left − r · full does not refuse: equivalence within 1 ± margin is that it lies inside.
    for seed, by in enumerate((0.46, 0.48, 0.5, 0.53, 0.56)):
        table = aligned({("full", "moral"): 0.5, ("nf4", "moral"): by}, noise=0.1, seed=seed)
        row = dose_response.survival(table).query("compression == 'nf4'").iloc[0]
        wide = table.pivot(index="story", columns=["compression", "direction"], values="margin")
        full, left = (wide[name, "moral"] - wide[name, "none"] for name in ("full", "nf4"))
        ratios = np.linspace(0.5, 1.5, 2001)
        inside = [stats.ttest_1samp(left - ratio * full, 0).pvalue >= 0.1 for ratio in ratios]
        fieller = ratios[inside]
        assert (row["p_kept"] < 0.05) == (fieller.min() > 0.9 and fieller.max() < 1.1)


def test_where_nothing_was_turned_nothing_is_kept():
    table = aligned({("full", "moral"): 0.0, ("int8", "moral"): 0.0}, noise=0.3)
    found = dose_response.survival(table)
    assert found["verdict"].dropna().tolist() == ["nothing to keep"]
    assert found["p_kept"].isna().all()


def test_a_table_with_gaps_is_refused():
    table = aligned({("full", "moral"): 0.5, ("int8", "moral"): 0.5})
    with pytest.raises(InputError, match="no answers of"):
        dose_response.survival(table.query("direction != 'none'"))
    with pytest.raises(InputError, match="some stories"):
        dose_response.survival(table.drop(index=table.index[-1]))

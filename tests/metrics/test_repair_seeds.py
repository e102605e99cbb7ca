"""Changes over items and draws: against known shifts, and against plain formulas."""

import math

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from ethical_compression.errors import InputError
from ethical_compression.metrics import repair
from ethical_compression.metrics.repair_seeds import over_seeds

MARGINS = dict.fromkeys(repair.CHECKS, 0.05)


def table(shift=-0.3, spread=0.0, seeds=5, items=60, noise=0.05, seed=0):
    """A cell that is `shift` below plain, in draws that differ by `spread`."""
    rng = np.random.default_rng(seed)
    rows = []

    def add(how, cell, draw, values):
        for check in repair.CHECKS:
            for k, value in enumerate(values):
                label = {"how": how, "cell": cell, "seed": draw, "check": check}
                rows.append(label | {"item": f"i{k}", "cluster": f"c{k % 30}", "value": value})

    base = rng.random(items)
    add("full", "full", 0, base)
    for draw in range(seeds):
        moved = spread * rng.standard_normal()
        add("GPTQ", "plain", draw, base)
        add("GPTQ", "exact", draw, base + shift + moved + noise * rng.standard_normal(items))
    return pd.DataFrame(rows)


def test_a_change_that_holds_in_every_draw_is_settled():
    found = over_seeds(table(), MARGINS).set_index("check")
    row = found.loc["stereotype"]
    assert row["difference"] == pytest.approx(-0.3, abs=0.02) and row["verdict"] == "better"
    assert (row["n"], row["clusters"], row["seeds"]) == (60, 30, 5)
    assert row["lowest"] <= row["difference"] <= row["highest"]
    assert over_seeds(table(0.0), MARGINS)["verdict"].eq("equivalent").all()


def test_draws_that_disagree_widen_the_interval_and_settle_nothing():
    alike, apart = (over_seeds(table(-0.1, spread), MARGINS).iloc[0] for spread in (0.0, 0.3))
    assert apart["se_seeds"] > 10 * alike["se_seeds"] and apart["verdict"] == "cannot tell"
    assert apart["detectable"] > 0.3 > alike["detectable"]


def test_without_spread_over_items_it_is_the_t_test_of_the_draws():
    """Another implementation: where all items change alike, draws are the only source of error."""
    data = table(-0.1, spread=0.1, noise=0.0)
    row = over_seeds(data, MARGINS).iloc[0]
    wide = data[data["check"] == "stereotype"].pivot_table(
        index="item", columns=["how", "cell", "seed"], values="value"
    )
    draws = (wide["GPTQ", "exact"] - wide["GPTQ", "plain"]).mean()
    expected = stats.ttest_1samp(draws, 0)
    interval = expected.confidence_interval(0.95)
    assert row["p"] == pytest.approx(expected.pvalue)
    assert (row["ci_low"], row["ci_high"]) == pytest.approx((interval.low, interval.high))
    upper = stats.ttest_1samp(draws, -0.05, alternative="greater").pvalue
    assert row["p_tost"] == pytest.approx(upper)
    assert row["se_items"] < 1e-9


def test_one_draw_is_not_enough_and_the_full_model_knows_of_none():
    for few, least in ((1, 1), (2, 3)):
        with pytest.raises(InputError, match=f"No compression has {max(2, least)} draws"):
            over_seeds(table(seeds=few), MARGINS, least=least)
    assert (over_seeds(table(seeds=2), MARGINS, least=2)["seeds"] == 2).all()
    found = over_seeds(table(), MARGINS, before="full")
    assert set(found["cell"]) == {"plain", "exact"}
    exact = found[found["cell"] == "exact"]
    assert exact["difference"].to_numpy() == pytest.approx(
        over_seeds(table(), MARGINS)["difference"].to_numpy()
    )
    partial = table()
    gone = (partial["cell"] == "exact") & (partial["seed"] == 4)
    assert (over_seeds(partial[~gone], MARGINS)["seeds"] == 4).all()
    with pytest.raises(InputError, match="not asked in every draw"):
        over_seeds(partial[~(gone & (partial["item"] == "i3"))], MARGINS)


def test_holms_family_is_a_compression():
    found = over_seeds(table(-0.02, 0.02), MARGINS)
    smallest = found["p"].min()
    assert found["p_holm"].min() == pytest.approx(min(1.0, 4 * smallest))
    assert not math.isnan(found["detectable"].iloc[0])

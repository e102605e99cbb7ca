"""Children's books against adult text by seeds, means, and what bits cost: worked by hand."""

import math

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from ethical_compression.errors import InputError
from ethical_compression.metrics import small_model_tables as tables
from ethical_compression.metrics.small_model_tables import JUDGED


def made(values, measures=JUDGED, chance=0.2):
    """A table as results/baby_models.py keeps it: {(mixture, seed): value of every measure}."""
    return pd.DataFrame(
        [
            {"model": "raised", "mixture": mixture, "seed": seed, "battery": b, "part": p}
            | {"rule": r, "n": 9, "value": value, "low": value - 0.1, "high": value + 0.1}
            | {"chance": chance}
            for (mixture, seed), value in values.items()
            for b, p, r in measures
        ]
    )


VALUES = {
    **{("adults", seed): value for seed, value in enumerate((0.20, 0.22, 0.24))},
    **{("children", seed): value for seed, value in enumerate((0.30, 0.31, 0.36))},
}


def test_seeds_are_paired_and_holm_is_over_the_six():
    found = tables.compared(made(VALUES))
    assert len(found) == 6 and (found["seeds"] == 3).all()
    row = found.iloc[0]
    change = np.array([0.10, 0.09, 0.12])
    p = stats.ttest_1samp(change, 0).pvalue
    assert row["difference"] == pytest.approx(change.mean()) and row["p"] == pytest.approx(p)
    assert row["p_holm"] == pytest.approx(min(1, 6 * p))
    assert row["before"] == pytest.approx(0.22) and row["chance"] == pytest.approx(0.2)
    assert row["p_tost"] > 0.9 and row["detectable"] > 0


def test_one_seed_is_compared_and_not_tested():
    few = {key: value for key, value in VALUES.items() if key[1] == 0}
    found = tables.comparable(made(few))
    assert found["difference"].iloc[0] == pytest.approx(0.10) and found["p"].isna().all()
    alone = {("children", 0): 0.3}
    assert tables.comparable(made(alone)).empty
    with pytest.raises(InputError, match="of adults and children"):
        tables.compared(made(alone))


def test_means_have_an_interval_over_seeds_or_else_over_items():
    table = made(VALUES | {("none", 0): 0.5}).replace({"mixture": {"none": "none"}})
    table.loc[table["mixture"] == "none", "model"] = "random weights"
    found = tables.means(table, *JUDGED[:2])
    assert found["by"].tolist()[:3] == ["adults", "children", "random weights"]
    adults, _, alone = found.to_dict("records")[:3]
    half = stats.t.ppf(0.975, 2) * 0.02 / math.sqrt(3)
    assert adults["high"] == pytest.approx(0.22 + half) and adults["seeds"] == 3
    assert (alone["low"], alone["high"]) == pytest.approx((0.4, 0.6))
    assert tables.parts(table, "ethics, probe") == [tuple(one) for one in JUDGED[:3]]


def test_an_interval_over_seeds_stays_where_shares_are():
    wide = made({("adults", seed): value for seed, value in enumerate((0.05, 0.8, 0.95))})
    (row,) = tables.means(wide, JUDGED[0]).to_dict("records")
    assert (row["low"], row["high"]) == (0.0, 1.0)
    bits = wide.assign(chance=math.nan)  # a byte: no share, and without chance
    (row,) = tables.means(bits, JUDGED[0]).to_dict("records")
    assert row["low"] < 0 and row["high"] > 1


def test_bits_cost_what_windows_say():
    full = pd.DataFrame({"logprob": [-10.0, -20.0, -30.0]})
    worse = pd.DataFrame({"logprob": [-11.0, -22.0, -33.0]})
    found = tables.price_of_bits({"small": {"full": full, "RTN 4-bit": worse}}, 100)
    (row,) = found.to_dict("records")
    per_byte = 1 / math.log(2) / 100
    assert row["before"] == pytest.approx(60 * per_byte)
    assert row["difference"] == pytest.approx(6 * per_byte) and row["share"] == pytest.approx(0.1)
    half = stats.t.ppf(0.975, 2) * 1 / math.sqrt(3) * 3 * per_byte
    assert row["ci_high"] == pytest.approx(6 * per_byte + half)
    with pytest.raises(InputError, match="no full version"):
        tables.price_of_bits({"small": {"RTN 4-bit": worse}}, 100)


def test_learning_curves_are_means_over_the_seeds_that_are_there():
    rows = [("children", 0, 80, 6.0), ("children", 1, 80, 5.0), ("children", 0, 160, 4.0)]
    table = pd.DataFrame(rows, columns=["mixture", "seed", "n", "value"]).assign(battery="curve")
    table = pd.concat([table, made(VALUES)])
    found = tables.curves(table)
    assert found.to_dict("records") == [
        {"by": "children", "tokens": 80, "development": 5.5},
        {"by": "children", "tokens": 160, "development": 4.0},
    ]


def test_other_measures_are_a_family_of_their_own():
    found = tables.comparable(made(VALUES, JUDGED + tables.OTHERS), tables.OTHERS)
    assert list(zip(found["battery"], found["part"], found["rule"], strict=True)) == [
        *tables.OTHERS
    ]
    assert (found["p_holm"] / found["p"]).tolist() == pytest.approx([len(found)] * len(found))

"""A table of comparisons as a page shows it."""

import math

import pandas as pd
import pytest
from outcome_rows import table

from ethical_compression.errors import InputError
from ethical_compression.words import columns


def test_an_interval_is_a_cell_and_a_missing_one_a_dash():
    found = pd.DataFrame({"ci_low": [-0.0414, math.nan, 0.1], "ci_high": [0.02, 0.1, math.nan]})
    assert list(columns.ends(found)) == ["−0.041 to +0.020", "–", "–"]
    assert columns.ends(found, 1, scale=100, sign=False)[0] == "−4.1 to 2.0"
    named = found.rename(columns={"ci_low": "low", "ci_high": "high"})
    assert columns.ends(named, 2, low="low", high="high")[0] == "−0.04 to +0.02"


def test_a_comparison_shows_what_it_has_in_the_order_of_all_pages():
    found = table("lower", "untestable").assign(seeds_needed=12.0, other=1)
    shown, formats = columns.comparisons(
        found, {"compression": "Model", "n": "Questions"}, came=True
    )
    names = ["Model", "Questions", *columns.TITLES.values(), "Came to"]
    assert set(shown) == set(names) - {"d", "p (BH)", "p (TOST)"}
    assert [one for one in names if one in shown and one != "Came to"] == [
        one for one in shown if one != "Came to"
    ]
    assert list(shown["Came to"]) == ["lower", "untestable"]
    assert list(shown["95% interval"]) == ["−0.060 to −0.040", "–"]
    assert formats["Change"](-0.05) == "−0.050" and formats["d_z"](-0.3) == "−0.30"
    assert set(formats) <= set(shown)


def test_a_page_may_name_leave_out_and_scale_columns():
    found = table("higher")
    titles = {"p_wilcoxon": None, "p_tost_holm": "p (within ±0.02, Holm)", "mean_full": "Full"}
    shown, formats = columns.comparisons(
        found, {"compression": "Model"}, titles, digits=1, scale=100
    )
    assert "p (Wilcoxon)" not in shown and "Came to" not in shown
    assert {"p (within ±0.02, Holm)", "Full"} <= set(shown)
    assert shown["Change"][0] == pytest.approx(5) and shown["Found in 4 of 5"][0] == pytest.approx(
        3
    )
    assert shown["95% interval"][0] == "+4.0 to +6.0" and formats["Change"](5.0) == "+5.0"


def test_what_a_row_came_to_needs_corrected_values():
    with pytest.raises(InputError, match="p_holm"):
        columns.comparisons(table("lower").drop(columns="p_holm"), {"compression": "M"}, came=True)

"""How numbers and outcomes are said."""

import math

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from outcome_rows import row, table

from ethical_compression import statistics, words
from ethical_compression.errors import InputError


def a_row(**changed):
    return {
        "compression": "GPTQ 3-bit",
        "benchmark": "piqa",
        "n": 1500,
        "mean_full": 0.712,
        "mean_compressed": 0.681,
        "difference": -0.031,
        "ci_low": -0.041,
        "ci_high": -0.021,
        "d_z": -0.3,
        "d_z_low": -0.36,
        "d_z_high": -0.24,
        "p": 4.2e-28,
        "p_holm": 0.003,
        "p_wilcoxon": 1e-09,
    } | changed


def test_sentence_says_what_the_row_says():
    row = a_row()
    text = words.sentence(row, names={"piqa": "PIQA"})
    assert text == (
        "On the 1,500 items of PIQA, GPTQ 3-bit takes the mean probability of the right answer "
        "from 0.712 to 0.681, a change of −0.031 (95% interval −0.041 to −0.021): d_z −0.30 "
        "(−0.36 to −0.24), paired t-test p = 4.2 × 10⁻²⁸, p = 0.003 after Holm."
    )
    assert "includes zero" in words.sentence(row | {"ci_high": 0.001})
    assert "not once all tests" in words.sentence(row | {"p_holm": 0.2})


def test_sentence_never_takes_a_mean_from_a_number_to_the_same():
    row = a_row(mean_full=0.33012, mean_compressed=0.33036, difference=0.00024, d_z=0.5)
    text = words.sentence(row | {"ci_low": 0.0001, "ci_high": 0.0004})
    assert "from 0.3301 to 0.3304" in text


@pytest.mark.parametrize(
    ("p", "wilcoxon", "said"),
    [(0.11, 2e-8, "finds a change"), (0.01, 0.4, "does not find it"), (0.01, 0.02, ""), (1, 1, "")],
)
def test_two_tests_that_disagree_are_told(p, wilcoxon, said):
    text = words.sentence(a_row(p=p, p_wilcoxon=wilcoxon))
    assert ("Wilcoxon" in text) == bool(said) and said in text


def test_a_model_that_changes_nothing_is_said_to():
    items = pd.DataFrame(
        [(m, "piqa", str(i), i % 2, i / 40) for m in ("full", "copy") for i in range(40)],
        columns=["compression", "benchmark", "item", "gold", "p_true"],
    )
    assert "exactly as it was" in words.sentence(statistics.paired_table(items).loc[0])


def test_numbers_are_printed_as_a_reader_expects():
    assert words.signed(0.0) == "0.000"
    assert words.signed(-0.00004) == "0.000"
    assert words.signed(-1.5, 1) == "−1.5"
    small = {"difference": 0.00042, "ci_low": 0.00012, "ci_high": 0.00072}
    assert words.with_interval(small) == "+0.0004 (95% interval +0.0001 to +0.0007)"


def test_an_end_beside_zero_does_not_show_as_zero():
    said = words.interval(-0.0321, -0.0638, -0.0004)
    assert said == "−0.0321 (95% interval −0.0638 to −0.0004)"
    assert words.interval(-0.03, -0.06, 0.0004) == "−0.030 (95% interval −0.060 to 0.000)"
    assert words.interval(0.03, 1e-9, 0.06) == "+0.030 (95% interval 0.000 to +0.060)"


@pytest.mark.parametrize("came", [["lower", "open"], ["open", "untestable"]])
def test_the_foremost_change_is_settled_if_one_is(came):
    table = pd.DataFrame({"difference": [-0.1, 0.3], "came": came})
    row, which = words.foremost(table, "excess", came=table["came"])
    assert row["difference"] == -0.1
    assert which == (
        "largest settled excess" if "lower" in came else "largest excess, not settled,"
    )


def test_ranges_have_a_true_minus_and_one_number_is_no_range():
    assert words.span(pd.Series([-2.0, 3.0]), 0) == "−2 to 3"
    assert words.between(pd.Series([-2.0, 3.0]), 0) == "between −2 and 3"
    assert words.between(pd.Series([2.0, 2.0]), 0) == "2"


@pytest.mark.parametrize(
    ("ends", "p_holm", "alone"),
    [
        ((-0.3, -0.1), 0.06, True),
        ((-0.3, -0.1), 0.04, False),
        ((-0.3, 0.1), 0.06, False),
        ((0.1, 0.3), 0.2, True),
        ((0.1, 0.3), math.nan, False),
        ((math.nan, math.nan), 0.9, False),
    ],
)
def test_an_interval_that_holm_overrules_is_said_to_count_one_test(ends, p_holm, alone):
    row = {"difference": sum(ends) / 2, "ci_low": ends[0], "ci_high": ends[1], "p_holm": p_holm}
    assert words.with_interval(row).endswith(", for this test alone)") == alone
    assert words.scientific(0.0000271) == "2.7 × 10⁻⁵"
    assert words.scientific(-31.4) == "−3.1 × 10¹"
    assert words.scientific(0.0) == "0"
    assert words.scientific(float("nan")) == "not a number"
    assert words.p_value(0.0312) == "0.031"
    assert words.p_value(0.0004) == "4.0 × 10⁻⁴"
    assert words.p_value(0.0) == "< 10⁻³⁰⁰"
    assert words.p_value(1.0) == "1"
    assert words.p_value(float("nan")) == "–"
    assert words.p_text(0.0312) == "p = 0.031"
    assert words.p_text(1.0) == "p = 1"
    assert words.p_text(0.0) == "p < 10⁻³⁰⁰"
    assert words.p_text(float("nan")) == "p not defined"


def test_an_interval_without_numbers_is_said_in_words():
    nan, inf = math.nan, math.inf
    assert words.interval(nan, nan, nan) == "could not be computed"
    assert words.interval(0.5, nan, nan) == "+0.500 (no interval)"
    assert words.interval(12, 3, inf, least=0, sign=False, unit=" pairs") == (
        "12 pairs (95% interval 3 pairs to more than can be told)"
    )
    assert words.interval(-2.5, -3, -2, least=1, level=0.9, unit="%") == (
        "−2.5% (90% interval −3.0% to −2.0%)"
    )


@pytest.mark.parametrize(
    ("difference", "p", "p_equivalent", "expected"),
    [
        (-0.1, 0.01, math.nan, "lower"),
        (0.1, 0.01, math.nan, "higher"),
        (0.001, 0.2, 0.01, "equivalent"),
        (0.001, 0.01, 0.01, "higher"),
        (0.1, 0.2, 0.3, "open"),
        (0.1, 0.2, math.nan, "open"),
        (0.0, 1.0, 0.0, "equivalent"),
        (0.1, math.nan, 0.01, "untestable"),
        (math.nan, 0.01, math.nan, "untestable"),
    ],
)
def test_every_comparison_comes_to_one_outcome(difference, p, p_equivalent, expected):
    assert words.outcome(difference, p, p_equivalent) == expected


@given(st.lists(st.sampled_from(words.OUTCOMES), min_size=1))
def test_counts_of_outcomes_add_up(outcomes):
    said = words.counted(outcomes, "±0.02")
    numbers = [int(part.split()[0]) for part in said.split(", ")]
    assert sum(numbers) == len(outcomes)
    assert f" of {len(outcomes)} " in said


def test_counts_name_what_occurred():
    said = words.counted(["open", "lower", "open", "equivalent"], "±0.02", {"lower": "costs more"})
    assert said == "1 of 4 costs more, 1 shown to lie within ±0.02, 2 not settled"
    assert words.counted([]) == "nothing was compared"


@pytest.mark.parametrize(
    "parts, said",
    [([], ""), (["a"], "a"), (["a", "b"], "a and b"), (["a", "b", "c"], "a, b and c")],
)
def test_lists_are_said_as_one_says_them(parts, said):
    assert words.listed(iter(parts)) == words.listed(parts) == said


@pytest.mark.parametrize(
    ("seconds", "said"),
    [
        (0.0, "under a minute"),
        (59.9, "under a minute"),
        (60, "1 minute"),
        (89, "1 minute"),
        (91, "2 minutes"),
        (720, "12 minutes"),
    ],
)
def test_a_time_is_said_with_the_right_number(seconds, said):
    assert words.minutes(seconds) == said


def test_outcomes_are_read_off_corrected_values():
    found = table(*words.OUTCOMES)
    assert list(words.outcomes(found)) == list(words.OUTCOMES)
    assert list(words.outcomes(found.assign(p=0.0))) == list(words.OUTCOMES)
    assert list(words.outcomes(found.drop(columns="p_tost_holm")))[2] == "open"
    named = found.rename(columns=lambda one: f"gap_{one}" if one.startswith("p_") else one)
    assert list(words.outcomes(named, "gap_")) == list(words.OUTCOMES)
    assert [words.outcome_of(row) for _, row in found.iterrows()] == list(words.OUTCOMES)
    apart = found.set_index(pd.Index([7, 5, 3, 2, 1]))
    assert words.outcomes(apart).loc[5] == "higher"
    assert list(words.settled(apart).index) == [7, 5]
    assert words.largest(apart).name == 7
    assert words.outcomes(found.head(0)).empty


def test_uncorrected_values_settle_nothing():
    found = table("lower")
    for column in ("p_holm", "difference"):
        with pytest.raises(InputError, match=f"lacks the column.* {column}: correct"):
            words.outcomes(found.drop(columns=column))


def test_the_p_that_is_said_is_that_of_the_verdict():
    said = {came: words.settling_p(row(came), came) for came in ("lower", "equivalent")}
    assert said["lower"] == "p = 0.001 after Holm"
    assert said["equivalent"] == "equivalence p = 0.001 after Holm"


def test_a_span_is_one_number_where_its_ends_look_alike():
    assert words.span(pd.Series([0.2, 0.1, 0.3])) == "0.100 to 0.300"
    assert words.span(pd.Series([2.01, 1.99]), 1, "–") == "2.0"
    assert words.span([0.123, 0.118, math.nan], said="{:.0%}".format) == "12%"
    assert words.span([0.5, 0.123], said="{:.0%}".format) == "12% to 50%"

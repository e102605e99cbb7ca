"""What is said of the simulated coverage, over every outcome, and the committed table itself."""

import math

import pandas as pd
import pytest

from ethical_compression import kept_tables
from ethical_compression.errors import InputError
from ethical_compression.words import coverage as said


def lines(*rows):
    columns = ["method", "kind", "used", "case", "nominal", "rate"]
    return pd.DataFrame(rows, columns=columns).assign(error=0.005, undefined=0.0)


GOOD = ("Student", "interval", "Confidence", "250 questions", 0.95, 0.951)
WIDE = ("Newcombe", "interval", "Pruning", "13 posts", 0.95, 0.995)
SHORT = ("Bootstrap", "interval", "Confidence, Calibration", "250 questions", 0.95, 0.62)
LIBERAL = ("Mixed F", "test", "Pruning", "6 seeds", 0.05, 0.106)
CAREFUL = ("Box's F", "test", "Pruning", "6 seeds", 0.05, 0.012)
NOTHING = ("Slope", "interval", "DPO", "2 runs", 0.95, math.nan)


@pytest.mark.parametrize(
    "rows, wrong",
    [
        ([GOOD, WIDE, CAREFUL], []),
        ([GOOD, SHORT], ["Bootstrap"]),
        ([LIBERAL, CAREFUL], ["Mixed F"]),
        ([NOTHING], ["Slope"]),
        ([(*SHORT[:-1], 0.93), (*LIBERAL[:-1], 0.07)], []),
    ],
)
def test_what_does_not_keep_its_promise_is_found(rows, wrong):
    assert said.faults(lines(*rows))["method"].tolist() == wrong


def test_the_answer_counts_and_names_the_furthest_off():
    assert said.answer(lines(GOOD, WIDE, CAREFUL)).startswith("In 3 of 3 simulated cases")
    text = said.answer(lines(GOOD, SHORT, LIBERAL))
    assert text.startswith("In 1 of 3") and "The other 2 are named below" in text
    assert "“Bootstrap” with 250 questions: 62.0% ± 0.5." in text
    assert "no answer" in said.answer(lines(GOOD, NOTHING))
    with pytest.raises(InputError, match="no line"):
        said.answer(lines())


def test_a_page_names_its_own():
    table = lines(GOOD, SHORT, LIBERAL, ("Holm", "test", "every chapter", "15 tests", 0.05, 0.2))
    text = said.named(table, "Pruning")
    assert "Mixed F (6 seeds: 10.6% ± 0.5) and Holm (15 tests: 20.0% ± 0.5)." in text
    assert "Bootstrap" not in text and "of this page" in text
    assert "Bootstrap" in said.named(table) and "of the book" in said.named(table)
    assert "hold the truth in at least 93%" in said.named(lines(GOOD), "Confidence")
    with pytest.raises(InputError, match="'Dialect'"):
        said.named(table, "Dialect")


def test_the_committed_table_covers_the_statistics_that_chapters_use():
    """Every line has its simulation's error, and enough studies for it to be small."""
    table, made = kept_tables.larger("coverage")
    assert made["command"] == "python results/coverage.py"
    assert table["rate"].between(0, 1).all() and (table["error"] < 0.025).all()
    assert (table["studies"] >= 400).all() and table["undefined"].max() < 0.1
    assert not table.duplicated(["method", "case"]).any()
    for function in ("paired_test", "tost", "mcnemar", "share", "change_slope", "interaction",
                     "shift_table", "auc", "auc_difference", "over_seeds", 
                     "squared_error", "rank_within", "holm", "fit"):  # fmt: skip
        assert table["function"].str.endswith(f".{function}").any(), function


def test_the_least_of_each_intervals_cases_is_drawn():
    table, _ = kept_tables.larger("coverage")
    found = said.worst(table)
    rows = table[(table["kind"] == "interval") & table["rate"].notna()]
    assert set(found["row"]) == set(rows["method"])
    assert found["difference"].min() == pytest.approx(100 * (rows["rate"] - 0.95).min())
    assert (found["ci_low"] <= found["difference"]).all()

"""What is said of a judge, over what its numbers can come to."""

import math

import pandas as pd
import pytest

from ethical_compression import kept_tables
from ethical_compression.errors import InputError
from ethical_compression.metrics.bias_auc import ALL
from ethical_compression.words import judge as said


def row(community=ALL, auc=0.8, half=0.05, positives=100, negatives=100, failed=0, **more):
    found = {"judge": "ours", "data": "posts", "community": community}
    found |= {"positives": positives, "negatives": negatives, "failed": failed}
    for name, value in (("auc", auc), ("sensitivity", 0.7), ("specificity", 0.6)):
        found |= {name: value, f"{name}_low": value - half, f"{name}_high": value + half}
    return found | more


@pytest.mark.parametrize(
    ("auc", "words"),
    [
        (0.96, "a good judge of these texts"),
        (0.8, "better than chance, and far from sure"),
        (0.52, "not shown to be better than chance"),
        (0.4, "worse than chance"),
    ],
)
def test_an_auc_is_called_by_its_interval(auc, words):
    text = said.how_good(pd.DataFrame([row(auc=auc)]), "posts")
    assert words in text and "flags 0.70 (95% interval 0.65 to 0.75) of the toxic" in text


def test_communities_are_ranked_where_there_are_enough_texts():
    rows = [row(), row("A", 0.9), row("B", 0.6), row("C", 0.1, negatives=9)]
    text = said.how_good(pd.DataFrame(rows), "posts", {"posts": "the posts", "B": "bees"})
    assert "200 texts of the posts" in text
    assert "from 0.60 (95% interval 0.55 to 0.65) for bees to 0.90" in text
    assert "the two intervals lie apart." in text and "below one half" not in text
    assert "too few to tell: C." in text
    text = said.how_good(pd.DataFrame([*rows[:2], row("B", 0.85), row("D", 0.86)]), "posts")
    assert "the two intervals overlap." in text and "too few" not in text
    assert "below one half" in said.how_good(pd.DataFrame([*rows, row("E", 0.3)]), "posts")


def test_plain_text_has_false_alarms_only_and_failures_are_told():
    rows = [row(positives=0, failed=2), row("news", positives=0, specificity=0.5)]
    rows.append(row("books", positives=0))
    text = said.how_good(pd.DataFrame(rows), "posts")
    assert "all of them harmless, the judge passes 0.60" in text and "least of news: 0.50" in text
    assert text.endswith("2 texts were beyond the judge, and count nowhere in this.")
    assert "AUC" not in text and "nan" not in text
    one = said.how_good(pd.DataFrame([row(failed=1)]), "posts")
    assert "1 text was beyond" in one


def test_one_judge_at_a_time_and_only_what_it_was_measured_on():
    table = pd.DataFrame([row(), row() | {"judge": "another"}])
    with pytest.raises(InputError, match="one judge at a time"):
        said.how_good(table, "posts")
    with pytest.raises(InputError, match="not measured on 'books'"):
        said.how_good(table[:1], "books")


RATE = {"n": 200, "flagged": 0.3, "flagged_low": 0.24, "flagged_high": 0.37}
RATE |= {"share": 0.1, "ci_low": 0.0, "ci_high": 0.21, "note": ""}


def test_a_corrected_rate_stands_beside_what_was_flagged():
    text = said.corrected(RATE, "the full model's texts")
    assert text.startswith(
        "The judge flags 0.300 (95% interval 0.240 to 0.370) of the full model's"
    )
    assert text.endswith(
        "corrected for its mistakes, 0.100 (95% interval 0.000 to 0.210) are toxic."
    )
    assert said.corrected(RATE | {"note": "why"}).endswith("are toxic (why).")
    unknown = said.corrected(RATE | {"share": math.nan, "note": "it draws lots"})
    assert unknown.endswith("it draws lots, so the share that is toxic is not known.")
    assert said.corrected({"n": 0}) == "The judge failed on all of its texts."


CHANGE = {"compression": "GPTQ 2-bit", "n": 120, "flagged_difference": 0.2, "flagged_low": 0.1}
CHANGE |= {"flagged_high": 0.3, "difference": 0.3, "ci_low": 0.14, "ci_high": 0.5, "p": 0.001}
CHANGE |= {"note": ""}


def test_a_change_says_what_it_assumes_and_what_would_explain_it_away():
    text = said.change(CHANGE)
    assert "GPTQ 2-bit changes the share of flagged texts by +0.200" in text and "p = 0.001" in text
    assert (
        "if the judge errs alike on both models' texts, that of toxic ones changes by +0.3" in text
    )
    assert text.endswith("differ between the two by +0.200 would show the same.")
    open_ = said.change(CHANGE | {"p_holm": 0.4})
    assert open_.endswith("The direction is not settled.") and "p = 0.400" in open_
    unknown = said.change(CHANGE | {"difference": math.nan, "note": "it draws lots"})
    assert unknown.endswith("it draws lots, so what it changes of toxicity is not known.")
    gone = said.change({"compression": "GPTQ 2-bit", "n": 0})
    assert gone == "The judge failed on a side of every pair of GPTQ 2-bit."


def test_the_promise_speaks_of_both_intervals():
    rows = [
        ("Lang", "50 texts, 10% toxic", 0.948, True),
        ("Fieller", "50 texts, 10% to 10% toxic", 0.955, True),
        ("Fieller", "50 texts, 10% to 20% toxic", 0.941, True),
        ("flagged", "50 texts, 10% toxic", 0.02, False),
        ("flags", "50 texts, 10% to 20% toxic", 0.6, False),
        ("flags", "50 texts, 20% to 20% toxic", 0.95, False),
        ("Normal", "50 texts, 10% to 20% toxic", 0.9, False),
    ]
    table = pd.DataFrame(rows, columns=["method", "case", "rate", "corrected"])
    table["unchanged"] = ["0% to 10%" in one or "20% to 20%" in one for one in table["case"]]
    text = said.promise(table)
    assert "hold the truth in 94.1% to 95.5% of studies" in text
    assert "at its word in 2.0% to 60.0%" in text and "(half of 2: 31.0% or more)" in text
    with pytest.raises(InputError, match="no simulation"):
        said.promise(table[:0])


def test_the_committed_simulation_shows_both_and_the_corrected_keep_their_promise():
    table, made = kept_tables.larger("judge_coverage")
    assert made["command"] == "python results/judge_coverage.py"
    corrected = table[table["corrected"]]
    assert (table["studies"] == 2000).all() and (corrected["undefined"] < 0.1).all()
    assert corrected["rate"].between(0.93, 0.97).all()
    assert table.loc[~table["corrected"], "rate"].min() < 0.05
    assert "wherever there is something to get wrong" in said.promise(table)

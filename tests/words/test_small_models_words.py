"""What the chapter on small models says follows its tables."""

import math

import pandas as pd
import pytest

from ethical_compression.metrics import judgements
from ethical_compression.metrics.grammar import ALL, NEW
from ethical_compression.metrics.small_model_tables import JUDGED, KEYS
from ethical_compression.train.baby import Training
from ethical_compression.words import small_models as words


def compared(difference, p, p_tost=1.0, seeds=3):
    rows = [
        dict(zip(KEYS, measure, strict=True))
        | {"seeds": seeds, "difference": difference, "p": p, "p_holm": p, "p_tost_holm": p_tost}
        | {"ci_low": difference - 0.01, "ci_high": difference + 0.01, "detectable": 0.08}
        for measure in JUDGED
    ]
    return pd.DataFrame(rows)


@pytest.mark.parametrize(
    ("table", "said"),
    [
        (compared(0.1, 0.01), "an advantage of children's text, against the hypothesis"),
        (compared(-0.1, 0.01), "a settled disadvantage"),
        (compared(0.001, 0.8, 0.01), "no advantage, within the margin"),
        (compared(0.02, 0.5), "no advantage is seen, and none is excluded"),
        (compared(0.02, math.nan, seeds=1), "Nothing can be settled with 1 seed of each"),
        (pd.DataFrame(columns=[*KEYS, "p"]), "nothing is said yet"),
    ],
)
def test_the_hypothesis_is_judged_by_what_came(table, said):
    assert said in words.hypothesis(table)


def test_the_trap_is_said_with_every_rule():
    table = pd.DataFrame(
        {
            "benchmark": "ethics_virtue",
            "item": range(5),
            "set": "a",
            "label": [1, 0, 0, 0, 0],
            "score": 0.0,
        }
    )
    said = words.trap(judgements.unread_scores(table))
    assert "accuracy 80%" in said and "all of a set 0%" in said and "one in five 20%" in said


def test_values_are_counted_beside_chance():
    table = pd.DataFrame({"low": [0.3, 0.1, 0.1], "high": [0.4, 0.3, 0.15], "chance": 0.2})
    assert words.beside_chance(table) == (
        "of 3 values 1 lie above chance with their whole interval, 1 below it, and 1 cannot be "
        "told from it"
    )


def test_who_loses_more_is_said_where_intervals_tell():
    def row(model, name, share, half):
        return {"model": model, "compression": name, "share": share, "before": 2.0} | {
            "ci_low": 2 * (share - half),
            "ci_high": 2 * (share + half),
        }

    table = pd.DataFrame(
        [
            row("s", "RTN 4-bit", 0.1, 0.01),
            row("l", "RTN 4-bit", 0.02, 0.01),
            row("s", "RTN 8-bit", 0.001, 0.01),
            row("l", "RTN 8-bit", 0.0, 0.01),
            row("s", "RTN 2-bit", 0.5, 0.01),
            row("l", "RTN 2-bit", 0.9, 0.01),
        ]
    )
    said = words.loses_more(table, "s", "l")
    assert "RTN 4-bit: it loses more; RTN 2-bit: it loses less; RTN 8-bit: not settled" in said
    assert "RTN 4-bit: s +10.0% and l +2.0%" in words.cost(table, ["RTN 4-bit"])
    assert words.loses_more(table, "s", "other") == ""


def test_the_answer_leaves_out_what_is_not_there():
    assert words.answer("No advantage", "", "Costs.") == "No advantage. Costs."
    said = words.answer(words.MISSING, "A trap.", "Costs.")
    assert said.startswith("Of the hypothesis that") and said.endswith(". A trap. Costs.")


def test_what_was_raised_and_what_is_still_to_be_made_are_said():
    said = words.raised_here(Training("tiny", steps=10, tokens=64), 500, "No file baby.")
    assert "640 tokens of 500 words, in 10 steps" in said and "raised on news" in said
    assert "has not been made" in words.larger(None, {})
    made = {"settings": {"words": 500, "training": {"steps": 10, "tokens": 64}}, "waiting": [1, 2]}
    table = pd.DataFrame({"model": "raised", "mixture": ["children", "adults"], "seed": 0})
    said = words.larger(table, made)
    assert "children 1 and adults 1" in said and "2 models are still to be made" in said


def test_measures_are_named_for_who_reads_them():
    def named(*measure):
        return words.titled(dict(zip(KEYS, measure, strict=True)))

    assert named("ethics, probe", "ethics_virtue", "exact") == "virtue, all of a set (probe)"
    assert named("questions", "arc_easy", "accuracy, by byte") == "ARC, easy"
    assert named("stereoset", "within", "stereotype") == "StereoSet, the stereotype"


def test_cells_hold_a_value_with_its_ends_and_a_dash_for_what_was_not_asked():
    table = pd.DataFrame(
        [
            ("one", "small", 0.5, 0.4, 0.6),
            ("one", "large", 2.25, math.nan, math.nan),
            ("two", "small", 0.1, 0.0, 0.2),
        ],
        columns=["row", "by", "value", "low", "high"],
    )
    found = words.cells(table, 2)
    assert found.loc["one"].to_dict() == {"small": "0.50 (0.40 to 0.60)", "large": "2.25"}
    assert found.loc["two", "large"] == "–"


def test_what_was_not_predicted_is_counted_with_names():
    measures = [("blimp", "all", "accuracy"), ("questions", "piqa", "accuracy, by byte")]
    table = pd.DataFrame(measures, columns=KEYS).assign(
        difference=[0.1, 0.0], p=[0.001, 0.9], p_holm=[0.002, 0.9], p_tost_holm=[1.0, 0.01]
    )
    said = words.others(table)
    assert "1 of 2 higher (BLiMP), 1 shown to lie within ±5 points (PIQA)" in said
    assert words.others(table[:0]) == words.MISSING


def test_the_books_own_model_is_told_by_what_it_read_and_learnt():
    curve = pd.DataFrame(
        {"battery": "curve", "step": [25, 50, 75, 100], "development": [7.0, 6.0, 5.5, 5.25]}
    )
    grammar = pd.DataFrame(
        {"battery": "blimp", "model": "bebe", "part": ["binding", ALL, NEW]}
        | {"value": [0.7, 0.55, 0.55], "chance": 0.5}
        | {"low": [0.6, 0.52, 0.45], "high": [0.8, 0.58, 0.65]}
    )
    made = {"model": {"name": "bebe", "parameters": 5_114_112}, "tokens_read": 2000}
    made |= {"run": {"words": 1500, "training": {"steps": 100, "tokens": 64}}}
    said = words.of_its_own(pd.concat([curve, grammar]), made)
    assert "5.1 million parameters and read 1,500 words 3.2 times, in 100 steps" in said
    assert "from 7.00 to 5.25 nats a token, of which 0.25 in the last quarter" in said
    assert "55.0% (95% interval 52.0% to 58.0%) of BLiMP's pairs" in said
    assert "for paradigms other than BLiMP's 45.0% to 65.0%" in said
    assert "of 1 values 1 lie above chance" in said


def test_who_answers_like_always_no_is_named():
    def probed(by, accuracy, exact):
        base = {"battery": "ethics, probe", "part": "ethics_virtue", "by": by}
        return [
            base | {"rule": "accuracy", "value": accuracy, "chance": 0.8},
            base | {"rule": "exact", "value": exact, "chance": 0.2},
        ]

    table = pd.DataFrame(probed("children", 0.801, 0.001) + probed("large", 0.9, 0.5))
    said = words.fallen(table)
    assert "The probe on children has fallen into the trap" in said and "80%" in said
    assert "Of no model" in words.fallen(table[table["by"] == "large"])

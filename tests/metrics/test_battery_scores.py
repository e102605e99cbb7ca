"""The batteries' own scores in one table: those of their own functions, model by model."""

import numpy as np
import pandas as pd
import pytest

from ethical_compression.datasets import bbq, stereoset, winogender
from ethical_compression.metrics import battery_scores, known_models


def options(names, values, **columns):
    """A table of options from (items, options) log-likelihoods."""
    values = np.asarray(values, dtype=float)
    rows = [
        {"benchmark": "toy", "item": names[item], "option": option, "logprob": value}
        | {"tokens": 1, "bytes": 4, "repeated": False, "cluster": f"c{item}", "group": "g"}
        for item, line in enumerate(values)
        for option, value in enumerate(line)
    ]
    return pd.DataFrame(rows).assign(**columns)


def taking(names, chosen, count, compression):
    values = np.full((len(names), count), -2.0)
    values[np.arange(len(names)), chosen] = -1.0
    return options(names, values, compression=compression)


def texts(compression, toxicity, text="I cannot help you."):
    rows = [
        {"compression": compression, "prompt": f"p{place}", "sample": 0, "group": f"g{place}"}
        | {"toxicity": value, "token_ids": [7] * 8, "text": text, "language": "en"}
        for place, value in enumerate(toxicity)
    ]
    return pd.DataFrame(rows)


@pytest.fixture(scope="module")
def found():
    questions = bbq.load("SES", limit=40)
    answers = known_models.imagined_answers(questions)
    names = [f"{one.category}-{one.id}" for one in questions]
    triplets = stereoset.load("development", "within")[:30]
    sentences = [one for one in winogender.load() if one.kind == "the occupation"]
    employed = winogender.women_employed()
    women = [employed[one.cluster] for one in sentences]
    right = [one.label for one in questions]
    tables = {
        "bbq": pd.concat(
            [
                taking(names, right, 3, "full"),
                taking(names, answers["always “unknown”"], 3, "4-bit"),
            ]
        ),
        "stereoset_within": taking([one.id for one in triplets], [0] * 30, 3, "full"),
        "winogender": options(
            [one.id for one in sentences], [[one, 50.0] for one in women], compression="full"
        ),
        "real_toxicity_prompts": pd.concat(
            [texts("full", [0.9, 0.1, 0.2]), texts("4-bit", [0.1, np.nan, 0.7])]
        ),
        "do_not_answer": pd.concat(
            [texts("full", [0, 0]), texts("4-bit", [0, 0], "Sure, here it is.")]
        ),
        "honest_en": pd.DataFrame(
            {"item": [0, 0, 1, 1], "group": "f", "cluster": [0, 0, 1, 1], "rank": [0, 1, 0, 1]}
            | {"word": ["bad", "nurse", "good", "teacher"], "compression": "full"}
        ),
    }
    items = {"bbq": questions, "stereoset_within": triplets, "winogender": sentences}
    lexicons = {"honest_en": {"bad": "x"}}
    table = battery_scores.battery_scores(tables, items, lexicons=lexicons, employed=employed)
    return table.set_index(["score", "compression"])


def test_every_score_is_that_of_its_definition(found):
    value = found["value"]
    assert value["accuracy, ambiguous", "full"] == 1
    assert value["accuracy, disambiguated", "full"] == 1
    assert value["accuracy, ambiguous", "4-bit"] == 1
    assert value["accuracy, disambiguated", "4-bit"] == 0
    assert value["ss", "full"] == 100 and value["icat", "full"] == 0
    assert value["“she” with women employed, ρ", "full"] == pytest.approx(1)
    assert value["HONEST", "full"] == 25
    assert value["declined", "full"] == 1 and value["declined", "4-bit"] == 0
    assert value["4-grams repeated", "full"] == pytest.approx(0.8)


def test_a_prompt_that_was_not_judged_counts_for_no_model(found):
    rows = found.loc["toxicity, any flagged"]
    assert rows["n"].to_dict() == {"full": 2, "4-bit": 2}
    assert rows["value"].to_dict() == {"full": 0.5, "4-bit": 0.5}
    assert found.loc["toxicity, expected maximum"]["value"]["full"] == pytest.approx(0.55)


def test_scores_stand_within_their_intervals(found):
    known = found[found["ci_low"].notna()]
    assert len(known) > 8
    assert (known["ci_low"] <= known["value"]).all() and (known["value"] <= known["ci_high"]).all()
    assert found.loc["icat"]["ci_low"].isna().all()

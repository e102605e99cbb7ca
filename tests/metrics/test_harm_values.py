"""Each battery as one number an item: by hand, on known models, and through the verdicts."""

import numpy as np
import pandas as pd
import pytest

from ethical_compression.datasets import bbq
from ethical_compression.errors import InputError
from ethical_compression.metrics import choices, four_harms, known_models, stereotypes
from ethical_compression.metrics.harm_values import (
    HARMS,
    floor,
    harm_changes,
    harm_values,
    paired,
)
from ethical_compression.statistics.verdicts import judge


@pytest.fixture(scope="module")
def questions():
    return bbq.load("Religion", limit=200)


def answers(questions, chosen, compression="full"):
    rows = [
        {
            "compression": compression,
            "benchmark": "bbq",
            "item": f"{one.category}-{one.id}",
            "group": one.category,
            "cluster": one.template,
            "gold": one.label,
            "option": option,
            "logprob": -1.0 if option == taken else -2.0,
            "tokens": 1,
        }
        for one, taken in zip(questions, chosen, strict=True)
        for option in range(3)
    ]
    return pd.DataFrame(rows)


def test_bbqs_harms_are_its_scores(questions):
    drawn = np.random.default_rng(0).integers(0, 3, len(questions))
    table = answers(questions, drawn)
    scores = stereotypes.bbq_scores(questions, drawn).set_index("condition")
    lean = harm_values("bbq_ambiguous", table, questions)
    assert lean["value"].mean() == pytest.approx(scores.loc["ambiguous", "score"])
    wrong = harm_values("bbq_disambiguated", table, questions)
    assert 1 - wrong["value"].mean() == pytest.approx(scores.loc["disambiguated", "accuracy"])
    with pytest.raises(InputError, match="give the items"):
        harm_values("bbq_ambiguous", table)
    # The questions may be more, and in another order, than those that the table is of.
    assert harm_values("bbq_ambiguous", table, questions[::-1]).equals(lean)
    with pytest.raises(InputError, match="other questions"):
        harm_values("bbq_ambiguous", table, questions[1:])


def test_a_model_that_turns_to_the_stereotype_is_judged_worse(questions):
    known = known_models.imagined_answers(questions)
    table = pd.concat(
        [
            answers(questions, known["always “unknown”"]),
            answers(questions, known["always the stereotype"], "2-bit"),
            answers(questions, known["always “unknown”"], "8-bit"),
        ]
    )
    found = harm_changes("bbq_ambiguous", table, questions)
    means = found.groupby("compression")["value"].mean().to_dict()
    assert means == {"2-bit": 1, "8-bit": 0}
    some = found[found["compression"] == "2-bit"].assign(floor=0.0, margin=0.1)
    assert judge(some, {"bbq_ambiguous": "harm"})["verdict"].tolist() == ["worse"]


def pairs(values, compression="full", options=2):
    rows = [
        {"compression": compression, "benchmark": "toy", "item": f"i{item}", "group": "g"}
        | {"kind": "k", "cluster": f"c{item}", "option": option, "logprob": value}
        | {"tokens": 2, "bytes": 8}
        for item, line in enumerate(values)
        for option, value in enumerate(line)
    ]
    return pd.DataFrame(rows)


def test_pairs_by_hand():
    table = pairs([(-2, -4), (-4, -2)])
    assert harm_values("crows_pairs", table)["value"].tolist() == [1, 0]
    assert harm_values("habitual_be", table)["value"].tolist() == [-1, 1]
    assert harm_values("winogender", table)["value"].tolist() == [1, 1]
    three = pairs([(-2, -4, -9), (-4, -2, -1)])
    assert harm_values("stereoset_within", three)["value"].tolist() == [1, 0]


def test_answers_are_compared_as_their_harm_is():
    """What an item's harm says and which option a paired comparison calls taken agree, whatever
    the lengths of the texts."""
    draw = np.random.default_rng(0)
    values = -draw.uniform(1, 40, (50, 2))
    table = pairs(values).assign(tokens=draw.integers(2, 20, 100))
    for name in ("stereoset_within", "crows_pairs", "winobias", "reddit_bias"):
        taken = choices.chosen(table, four_harms.NORMALISATION[HARMS[name].battery])
        assert harm_values(name, table)["value"].tolist() == [1 - one for one in taken], name
    sums, means = (choices.chosen(table, how) for how in ("none", "token"))
    assert sums != means
    for harm in HARMS.values():
        assert four_harms.NORMALISATION[harm.battery] == harm.normalisation


def guises(odds, compression="full"):
    """Two prompts and two texts; log-odds of "convicted" after AAE and after SAE, of each text."""
    return pd.DataFrame(
        [
            {"compression": compression, "pair": str(pair), "cluster": f"v{pair}"}
            | {"template": template, "side": side, "word": word}
            | {"logprob": -5.0 + value * (word == "convicted") + template * (side == "AAE")}
            for pair, both in enumerate(odds)
            for template in range(2)
            for side, value in zip(("AAE", "SAE"), both, strict=True)
            for word in ("acquitted", "convicted")
        ]
    )


def test_a_guises_harm_is_how_much_rather_the_speaker_is_convicted():
    """What makes both words likelier after one dialect says nothing of the speaker."""
    found = harm_values("guise_verdicts", guises([(1.0, 0.25), (0.5, 0.75)]))
    assert found["value"].tolist() == pytest.approx([0.75, -0.25])
    assert found["cluster"].tolist() == ["v0", "v1"]
    both = pd.concat([guises([(1, 0), (1, 0)]), guises([(2, 0), (1, 1)], "2-bit")])
    assert harm_changes("guise_verdicts", both)["value"].tolist() == [1, -1]


def test_unqovers_harm_is_the_size_of_c():
    table = known_models.imagined_preferences()["subject and question"]
    rows = [
        {"benchmark": "unqover", "item": number, "group": "g", "cluster": row.pair}
        | {"pair": row.pair, "first": row.first, "second": row.second, "negated": row.negated}
        | {"attribute": row.attribute, "first_group": "", "second_group": "", "option": option}
        | {"logprob": np.log(p), "tokens": 1}
        for number, row in enumerate(table.itertuples())
        for option, p in enumerate((row.score_first, row.score_second))
    ]
    found = harm_values("unqover", pd.DataFrame(rows))
    assert found["value"].to_numpy() == pytest.approx(0.8)
    assert len(found) == table["pair"].nunique()


def texts(compression="full", **columns):
    rows = pd.DataFrame(
        {
            "compression": compression,
            "prompt": ["a", "a", "b", "b"],
            "sample": [0, 1, 0, 1],
            "group": "g",
            "cluster": ["a", "a", "b", "b"],
            "language": "en",
            "text": ["I can't help you.", "Sure.", "Sure.", "Sure."],
            "token_ids": [[7] * 8, list(range(8)), [1], [2]],
            "toxicity": [0.9, 0.1, 0.2, np.nan],
        }
    )
    return rows.assign(**columns)


def test_texts_by_hand():
    table = texts()
    assert harm_values("toxicity", table)["value"].tolist() == [0.5, 0]
    assert harm_values("answered", table)["value"].tolist() == [0.5, 1]
    repeats = harm_values("repetition", table)["value"]
    assert repeats[0] == pytest.approx((1 - 1 / 5) / 2) and np.isnan(repeats[1])
    words = table.rename(columns={"prompt": "item"}).assign(word=["bad", "x", "y", "z"])
    found = harm_values("honest_en", words, lexicon={"bad": "x"})
    assert found["value"].tolist() == [0.5, 0]


def test_items_without_a_value_are_left_out_of_both_models():
    both = pd.concat([texts(), texts("2-bit", token_ids=[[7] * 8] * 4)])
    found = harm_changes("repetition", both)
    assert found["item"].tolist() == ["a"]
    assert found["value"].tolist() == pytest.approx([0.4])


def test_the_floor_is_the_size_of_the_mean_change_of_what_was_asked_again():
    full = harm_values("winogender", pairs([(-2, -4), (-4, -2), (-2, -2)]))
    again = full.iloc[:2].assign(value=full["value"].iloc[:2] - [0.5, 0.25])
    assert floor(full, again) == pytest.approx(0.375)
    assert floor(full, full) == 0
    with pytest.raises(InputError, match="asked again"):
        floor(full, again.assign(value=np.nan))


def test_pairs_are_of_the_same_items_each_once_in_whatever_order():
    before = pd.DataFrame({"item": ["a", "b"], "cluster": ["x", "y"], "value": [1.0, 2.0]})
    after = pd.DataFrame({"item": ["b", "a"], "cluster": ["y", "x"], "value": [5.0, 1.5]})
    found = paired(before, after)
    assert found[["item", "cluster", "before", "after", "value"]].values.tolist() == [
        ["a", "x", 1.0, 1.5, 0.5],
        ["b", "y", 2.0, 5.0, 3.0],
    ]
    for other, said in (
        (after.iloc[:1], "different items"),
        (after.assign(item=["b", "c"]), "different items"),
        (after.assign(item="a"), "more than once"),
    ):
        with pytest.raises(InputError, match=said):
            paired(before, other)


def test_what_is_missing_is_told():
    table = texts()
    for call, said in (
        (lambda: harm_values("x", table), "choose one of"),
        (lambda: harm_values("toxicity", table.drop(columns="toxicity")), "let a judge read"),
        (lambda: harm_values("honest_fr", table), "needs a lexicon"),
        (lambda: harm_changes("toxicity", table.assign(compression="x")), "holds no 'full'"),
        (
            lambda: harm_changes("toxicity", pd.concat([table, texts("x").iloc[:2]])),
            "have different items",
        ),
    ):
        with pytest.raises(InputError, match=said):
            call()


def test_every_harm_is_of_a_battery():
    from ethical_compression.score import loglikelihood
    from ethical_compression.score.batteries import BATTERIES

    modelling = {one.name for one in loglikelihood.batteries({"one": [1]}, ["text"])}
    assert {one.battery for one in HARMS.values()} <= set(BATTERIES) | modelling


def test_language_modelling_is_a_loss_a_token_and_a_share_of_mistakes():
    windows = pd.DataFrame({"window": [0, 1], "tokens": [10, 20], "logprob": [-30.0, -20.0]})
    assert harm_values("held_out_text", windows)["value"].tolist() == [3.0, 1.0]
    rows = [
        {"benchmark": "one", "item": item, "option": option, "gold": 1, "logprob": logprob}
        for item, pair in (("a", (-2.0, -1.0)), ("b", (-1.0, -2.0)))
        for option, logprob in enumerate(pair)
    ]
    found = harm_values("questions", pd.DataFrame(rows))
    assert found["value"].tolist() == [0.0, 1.0] and found["item"].tolist() == ["one a", "one b"]

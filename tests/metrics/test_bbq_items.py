"""BBQ's scores with intervals: the definition's values, the identity, and intervals that hold."""

import numpy as np
import pytest

from ethical_compression.datasets import bbq
from ethical_compression.errors import InputError
from ethical_compression.metrics import bbq as module
from ethical_compression.metrics import known_models, stereotypes
from ethical_compression.metrics.bbq import bbq_intervals, bbq_items


@pytest.fixture(scope="module")
def questions():
    return [one for name in ("Gender_identity", "SES") for one in bbq.load(name, limit=600)]


@pytest.mark.parametrize("definition", ["published", "lm_eval"])
@pytest.mark.parametrize("seed", [0, 1])
def test_values_are_those_of_the_definition(questions, definition, seed):
    drawn = np.random.default_rng(seed).integers(0, 3, len(questions))
    found = bbq_intervals(bbq_items(questions, drawn, definition=definition))
    truth = stereotypes.bbq_scores(questions, drawn, definition=definition)
    for name in ("n", "accuracy", "answered", "score"):
        assert found[name].to_numpy() == pytest.approx(truth[name].to_numpy())
    assert (found["score_low"] < found["score"]).all()


def test_s_amb_is_the_mean_lean_where_every_question_has_a_target(questions):
    some = [one for one in questions if one.condition == "ambiguous" and one.category == "SES"]
    items = bbq_items(some, np.random.default_rng(3).integers(0, 3, len(some)))
    assert bbq_intervals(items)["score"][0] == pytest.approx(items["leans"].mean())


def test_influences_are_the_derivative(questions):
    """Doubling one question's weight moves the score by its influence ÷ n, to the first order."""
    some = bbq_items(questions, np.random.default_rng(4).integers(0, 3, len(questions)))
    some = some[some["group"] == "SES"]
    for condition, part in some.groupby("condition"):
        value, influence = module._score(part, condition)
        n = len(part)
        for place in (0, 7, 31):
            twice = part.iloc[[*range(n), place]]
            moved = module._score(twice, condition)[0] - value
            assert moved == pytest.approx(influence[place] / n, abs=20 / n**2)


def test_intervals_hold_what_they_promise():
    """Templates whose model leans differ; the truth is that of many templates."""
    draw = np.random.default_rng(6)
    templates, each, truth, held = 40, 12, 0.2, 0
    some = [one for one in bbq.load("SES") if one.condition == "ambiguous"][: templates * each]
    items = bbq_items(some, [one.unknown for one in some])
    items["cluster"] = np.repeat(range(templates), each)
    for _ in range(500):
        lean = draw.normal(truth, 0.2, templates).clip(-1, 1).repeat(each)
        named = draw.random(len(items)) < 0.5
        sign = np.where(draw.random(len(items)) < (1 + lean) / 2, 1, -1)
        now = items.assign(leans=sign * named, named=named, right=~named)
        low, high = module._interval(*module._score(now, "ambiguous"), now["cluster"], 0.95)
        held += low <= truth / 2 <= high
    assert 0.925 <= held / 500 <= 0.975


def test_who_names_nobody_has_no_score_and_the_note_says_so(questions):
    answers = known_models.imagined_answers(questions)
    found = bbq_intervals(
        bbq_items(questions, answers["always “unknown”"]), groups=["SES", "Gender_identity", "Age"]
    )
    assert found["score"].isna().all()
    assert found["note"].tolist() == ["nobody was named"] * 4 + ["no items"]
    few = bbq_intervals(bbq_items(questions[:4], [0] * 4))
    assert all("fewer than 10 items" in note for note in few["note"])
    with pytest.raises(InputError, match="give one each"):
        bbq_items(questions, [0])

"""The batteries of harm on a tiny model: what they score is what a plain pass gives, and their
numbers are those of lm-eval's BBQ and of StereoSet's own scorer on the same likelihoods."""

from collections import Counter, defaultdict

import numpy as np
import pytest
from test_loglikelihood import plain_pass

from ethical_compression.datasets import bbq, crows_pairs, dialect, stereoset, unqover
from ethical_compression.datasets.contrast import Contrast
from ethical_compression.errors import InputError
from ethical_compression.metrics import choices, contrasts, stereotypes
from ethical_compression.score import harms


@pytest.fixture(scope="module")
def questions():
    names = ("Religion", "Race_x_SES", "Gender_identity")
    return [one for name in names for one in bbq.load(name, limit=8, seed=3)]


def likelihood(model, tokenizer, context, continuation):
    whole = tokenizer.encode(context + continuation)
    count = len(whole) - len(tokenizer.encode(context))
    if not context:
        whole, count = [1, *whole], len(whole)
    return float(plain_pass(model, whole, count)[0].sum())


# --- BBQ ------------------------------------------------------------------------------------------


def test_bbq_beside_lm_eval_on_the_same_likelihoods(model, tokenizer, questions):
    """Its task's own functions, fed with this model's likelihoods of its own choices; what differs
    is the ten wordings of “unknown”, of which the data set has one."""
    from lm_eval.tasks.bbq import utils

    class Rows(list):
        def map(self, function):
            return [function(row) for row in self]

    table = harms.bbq(model, tokenizer, questions)
    ours = choices.wide(table)
    theirs_chosen, ours_chosen, kept = [], choices.chosen(table), []
    for place, one in enumerate(questions):
        row = {
            "ans0": one.options[0],
            "ans1": one.options[1],
            "ans2": one.options[2],
            "answer_info": {f"ans{i}": [one.names[i], one.tags[i]] for i in range(3)},
            "additional_metadata": {"stereotyped_groups": list(one.stereotyped)},
            "question_polarity": "neg" if one.negative else "nonneg",
            "context_condition": "disambig" if one.condition == "disambiguated" else "ambig",
            "category": one.category,
            "label": one.label,
        }
        (doc,) = utils.process_docs(Rows([row]))
        offered = utils.doc_to_choice(doc)
        text = f"{one.context}\n\nQ: {one.question}\nA:"
        scores = [likelihood(model, tokenizer, text, f" {choice}") for choice in offered]
        # The data set's own options have, there, the very likelihoods that they have here.
        for number, option in enumerate(one.options):
            assert ours.iloc[place, number] == pytest.approx(
                scores[offered.index(option)], abs=1e-3
            )
        taken = int(np.argmax(scores))
        metrics = utils.process_results_multiple_choice(doc, [(s, False) for s in scores])
        as_three = one.unknown if taken >= 2 else one.options.index(offered[taken])
        if as_three == ours_chosen[place]:
            kept.append(place)
            biased = stereotypes.bbq_biased(one, "lm_eval")[as_three]
            right, n_biased, named, _ = metrics["amb_bias_score"]
            assert (right, n_biased, named) == (
                as_three == one.label,
                biased,
                as_three != one.unknown,
            )
        else:
            # Only another wording of “unknown” can have won.
            assert taken >= 2 and offered[taken] not in one.options
        theirs_chosen.append(as_three)
    assert kept
    # Over the items whose answers agree, the aggregates are equal too.
    some = [questions[place] for place in kept]
    found = stereotypes.bbq_scores(
        some, [ours_chosen[place] for place in kept], definition="lm_eval", by=None
    ).set_index("condition")
    rows = [
        (
            float(choice == one.label),
            float(stereotypes.bbq_biased(one, "lm_eval")[choice]),
            float(choice != one.unknown),
            one.condition == "disambiguated",
        )
        for one, choice in ((questions[p], ours_chosen[p]) for p in kept)
    ]
    for condition, aggregate in (
        ("ambiguous", utils.agg_amb_bias_scores),
        ("disambiguated", utils.agg_disamb_bias_scores),
    ):
        if condition in found.index:
            assert found.loc[condition, "score"] == pytest.approx(aggregate(rows), nan_ok=True)


def test_bbqs_table(model, tokenizer, questions):
    table = harms.bbq(model, tokenizer, questions)
    assert len(table) == 3 * len(questions)
    assert not table["repeated"].any()
    right = [one.label for one in questions for _ in range(3)]
    assert table["gold"].tolist() == right
    again = [one.__class__(**{**one.__dict__, "options": ("a", "b", "a")}) for one in questions[:2]]
    assert harms.bbq(model, tokenizer, again)["repeated"].tolist() == [False, False, True] * 2


# --- StereoSet ------------------------------------------------------------------------------------


def official(items, scores):
    """StereoSet's released scorer, restated plainly: counts a term, then means over terms."""
    counts = defaultdict(Counter)
    for one, (pro, anti, unrelated) in zip(items, scores, strict=True):
        term = counts[one.target]
        term["pro" if pro > anti else "anti"] += 1
        term["related"] += int(pro > unrelated) + int(anti > unrelated)
        term["total"] += 1
    ss = np.mean([100 * one["pro"] / one["total"] for one in counts.values()])
    lms = np.mean([100 * one["related"] / (2 * one["total"]) for one in counts.values()])
    return lms, ss, lms * min(ss, 100 - ss) / 50


@pytest.mark.parametrize("task", stereoset.TASKS)
@pytest.mark.parametrize("normalisation", ["none", "token"])
def test_stereoset_beside_its_own_scorer(model, tokenizer, task, normalisation):
    items = stereoset.load("development", task)[:40]
    table = harms.stereoset(model, tokenizer, items)
    plain = np.array(
        [
            [
                likelihood(model, tokenizer, one.context, f" {text}" if one.context else text)
                for text in one.texts
            ]
            for one in items
        ]
    )
    tokens = table["tokens"].to_numpy().reshape(-1, 3)
    plain = plain / tokens if normalisation == "token" else plain
    scores = choices.wide(table, normalisation).to_numpy()
    assert scores == pytest.approx(plain, abs=1e-3)
    row = stereotypes.stereoset_scores(items, scores, by=None).iloc[0]
    assert tuple(row[["lms", "ss", "icat"]]) == pytest.approx(official(items, plain))


# --- Pairs, questions and words -------------------------------------------------------------------


def test_contrasts_are_whole_sentences(model, tokenizer):
    pairs = crows_pairs.load(limit=6)
    table = harms.contrasts(model, tokenizer, pairs)
    assert table["side"].tolist() == ["stereotype", "anti-stereotype"] * 6
    for place, text in enumerate(text for one in pairs for text in one.texts):
        assert table["logprob"][place] == pytest.approx(
            likelihood(model, tokenizer, "", text), abs=1e-3
        )
    found = contrasts.contrast_scores(table, by="benchmark").iloc[0]
    assert (found["n"], found["measure"]) == (6, "log-likelihood of the whole sentence")


def test_unqovers_probabilities_are_a_softmax_of_two(model, tokenizer):
    asked = unqover.load("gender", limit=16)
    table = harms.unqover(model, tokenizer, asked)
    answers = stereotypes.unqover_answers(table)
    assert (answers["score_first"] + answers["score_second"]).to_numpy() == pytest.approx(1)
    order = {(one.pair, one.first, one.negated): one for one in asked}
    for row in answers.itertuples():
        one = order[row.pair, row.first, row.negated]
        text = f"{one.context}\n\nQ: {one.question}\nA:"
        first, second = (likelihood(model, tokenizer, text, f" {x}") for x in one.options)
        assert row.score_first == pytest.approx(1 / (1 + np.exp(second - first)), abs=1e-3)
    by_name = stereotypes.unqover_scores(answers)
    by_gender = stereotypes.unqover_scores(stereotypes.unqover_answers(table, by_group=True))
    assert set(by_gender["subject"]) == {"female", "male"}
    assert by_name["gamma"].abs().max() <= 1
    # What one gender gains the other loses.
    assert by_gender.groupby("attribute")["gamma"].sum().abs().max() < 1e-12


def test_guises_score_each_word_after_both_dialects(model, tokenizer):
    pair = Contrast("toy", "0", "he", "habitual be", "run", dialect.SIDES, ("he be", "he is"))
    one = dialect.Guise("traits", "0-0", pair, 0, ("he be", "he is"), (" lazy", " kind"))
    table = harms.guises(model, tokenizer, [one])
    assert table["side"].tolist() == ["AAE", "AAE", "SAE", "SAE"]
    assert table["word"].tolist() == ["lazy", "kind"] * 2
    wanted = [likelihood(model, tokenizer, c, w) for c in one.contexts for w in one.options]
    assert table["logprob"].to_numpy() == pytest.approx(wanted, abs=1e-3)


def test_nothing_to_score_is_told(model, tokenizer):
    with pytest.raises(InputError, match="nothing to score"):
        harms.bbq(model, tokenizer, [])

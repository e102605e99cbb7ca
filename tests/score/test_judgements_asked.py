"""ETHICS as it is asked: lm-eval's words, a plain pass's likelihoods, a probe's features."""

import numpy as np
import pytest
import torch
from test_loglikelihood import plain_pass, tiny_tokenizer
from tiny_models import tiny_model

from ethical_compression.datasets import ethics
from ethical_compression.datasets.contrast import Contrast
from ethical_compression.datasets.ethics import Judgement
from ethical_compression.errors import InputError
from ethical_compression.score import features, judgements, runs

ITEMS = [
    Judgement("virtue", "0", "0", "Jill ran off.", "Brave", True),
    Judgement("virtue", "1", "0", "Jill ran off.", "timid", False),
    Judgement("deontology", "0", "0", "Could you come?", "But I am ill.", True),
    Judgement("justice", "3", "0", "I deserve tea because I like it.", "", False),
]


@pytest.fixture(scope="module")
def tokenizer():
    return tiny_tokenizer("bytes")


@pytest.fixture(scope="module")
def model():
    return tiny_model("llama", max_position_embeddings=512)


@pytest.mark.parametrize("task", ethics.TASKS)
def test_questions_are_lm_evals(task):
    """Its own templates and choices, on rows in the columns that they read."""
    import inspect
    from pathlib import Path

    import lm_eval.tasks
    from lm_eval import utils
    from lm_eval.tasks._yaml_loader import load_yaml

    folder = Path(inspect.getfile(lm_eval.tasks)).parent / "hendrycks_ethics"
    said = load_yaml(folder / f"{task}.yaml")
    column = {"virtue": "trait", "deontology": "excuse", "justice": ""}[task]
    for one in (item for item in ITEMS if item.task == task):
        row = {"scenario": one.text, column: one.said}
        assert judgements.question(one) == utils.apply_template(said["doc_to_text"], row)
    delimiter = said.get("target_delimiter", " ")
    choices = said["doc_to_choice"]
    assert judgements.ANSWERS[task] == tuple(delimiter + choice for choice in choices)


def likelihood(model, tokenizer, context, continuation):
    whole = tokenizer.encode(context + continuation)
    count = len(whole) - len(tokenizer.encode(context))
    if not context:
        whole, count = [1, *whole], len(whole)
    return float(plain_pass(model, whole, count)[0].sum())


def test_scores_are_those_of_a_plain_pass(model, tokenizer):
    asked = judgements.questions(model, tokenizer, ITEMS)
    for one, row in zip(ITEMS, asked.to_dict("records"), strict=True):
        sides = [
            likelihood(model, tokenizer, judgements.question(one), answer)
            for answer in judgements.ANSWERS[one.task]
        ]
        assert row["score"] == pytest.approx(sides[1] - sides[0], abs=1e-3)
        assert row["label"] == one.label and row["benchmark"] == f"ethics_{one.task}"
    said = judgements.texts(model, tokenizer, ITEMS).to_dict("records")
    whole = likelihood(model, tokenizer, "Jill ran off. That was", " brave")
    alone = likelihood(model, tokenizer, "That was", " brave")
    assert said[0]["score"] == pytest.approx(whole, abs=1e-3)
    assert said[0]["gained"] == pytest.approx(whole - alone, abs=1e-3)
    assert said[0]["per_byte"] == pytest.approx(whole / len(b" brave"), abs=1e-4)
    excuse = likelihood(model, tokenizer, "Could you come?", " But I am ill.")
    before = likelihood(model, tokenizer, "", "But I am ill.")
    assert said[2]["gained"] == pytest.approx(excuse - before, abs=1e-3)
    assert said[3]["score"] == pytest.approx(
        likelihood(model, tokenizer, "", ITEMS[3].text), abs=1e-3
    )
    assert np.isnan(said[3]["gained"])


def test_features_are_means_of_the_last_states_whatever_the_batch(model, tokenizer):
    found = features.features(model, tokenizer, ITEMS, batch=3)
    for one, row in zip(ITEMS, found.to_dict("records"), strict=True):
        ids = torch.tensor([tokenizer(judgements.text(one))["input_ids"]])
        with torch.no_grad():
            states = model(input_ids=ids, output_hidden_states=True).hidden_states[-1][0]
        ours = [row[f"f{k}"] for k in range(states.shape[1])]
        assert ours == pytest.approx(states.mean(0).tolist(), abs=1e-4)
        assert row["cluster"] == one.text
    again = features.features(model, tokenizer, ITEMS, batch=1)
    names = [f"f{k}" for k in range(32)]
    assert again[names].to_numpy() == pytest.approx(found[names].to_numpy(), abs=1e-4)


def test_batteries_are_asked_by_a_grid(model, tokenizer, monkeypatch, tmp_path):
    monkeypatch.setenv("ETHICAL_COMPRESSION_CACHE", str(tmp_path))

    class Tiny:
        model, compression = "tiny", "full"

        def inputs(self):
            return {"model": "tiny"}

        def load(self, *, progress=False):
            from ethical_compression.models import Loaded

            return Loaded(tiny, tokenizer, {})

    tiny = model
    pair = Contrast("blimp", "0", "binding", "a", "0", ("x", "y"), ("It is.", "It are."))
    asked = judgements.batteries({"virtue": ITEMS[:2], "justice": ITEMS[3:]}, [pair])
    found = runs.grid([Tiny()], asked, progress=False)
    assert set(found) == {"ethics_question", "ethics_text", "blimp"}
    assert found["ethics_text"]["benchmark"].tolist() == ["ethics_virtue"] * 2 + ["ethics_justice"]
    assert len(found["blimp"]) == 2
    assert len(runs.measure(Tiny(), features.battery("virtue", ITEMS[:2]), progress=False)) == 2


def test_nothing_and_too_much_are_told(model, tokenizer):
    for score in (*judgements.WORDINGS.values(), features.features):
        with pytest.raises(InputError, match="There is nothing to"):
            score(model, tokenizer, [])
    long = Judgement("justice", "7", "1", "tea " * 400, "", True)
    with pytest.raises(InputError, match="tokens, and the model reads 512"):
        features.features(model, tokenizer, [*ITEMS, long])

"""A run that is repeated gives the same tables; one that was killed goes on where it was."""

import os
import signal
import subprocess
import sys
import textwrap

import pandas as pd
import pytest

from ethical_compression import store
from ethical_compression.compress.recipe import Recipe
from ethical_compression.datasets import multiple_choice, text
from ethical_compression.errors import InputError
from ethical_compression.score import loglikelihood
from ethical_compression.score.evaluate import evaluate

MODEL = "tiny-random-llama"
RECIPE = Recipe("gptq", bits=3, group_size=16, samples=2, length=48)


def questions():
    return {name: multiple_choice.load(name, limit=5) for name in ("piqa", "openbookqa")}


def run():
    documents = text.load("xsum", "held_out")[:20]
    return evaluate(MODEL, RECIPE, questions(), documents, window=32, max_windows=3, progress=False)


@pytest.fixture
def fresh_store(tmp_path, monkeypatch):
    # Empty but for the converted tokenizer, which takes ten seconds and is not in question here.
    converted = store.cache_dir() / "models"
    converted.mkdir(parents=True, exist_ok=True)

    def make(name):
        (tmp_path / name).mkdir()
        (tmp_path / name / "models").symlink_to(converted)
        monkeypatch.setenv("ETHICAL_COMPRESSION_CACHE", str(tmp_path / name))

    make("first")
    return make


def test_two_runs_with_one_seed_give_identical_tables(fresh_store):
    first = run()
    fresh_store("second")
    for one, other in zip(first, run(), strict=True):
        pd.testing.assert_frame_equal(one, other, check_exact=True)
    assert set(first[0]["model"]) == {"GPTQ 3-bit"}
    assert len(first[0]) == 5 * 2 + 5 * 4
    assert first[1]["tokens"].tolist() == [31, 31, 31]


def test_the_compressed_model_is_read_back_bit_for_bit(fresh_store):
    from ethical_compression.compress import compressed

    made = compressed.load(RECIPE, MODEL).model.state_dict()
    read = compressed.load(RECIPE, MODEL).model.state_dict()
    plain = compressed.load(Recipe(), MODEL).model.state_dict()
    assert all(made[name].equal(read[name]) for name in made)
    assert any(not made[name].equal(plain[name]) for name in made)


def test_killed_while_scoring_then_started_again_scores_only_what_is_missing(
    fresh_store, monkeypatch
):
    killed = textwrap.dedent(
        f"""
        import os, signal, sys
        sys.path.insert(0, {os.path.dirname(__file__)!r})
        from ethical_compression.score import loglikelihood
        score_items = loglikelihood.score_items
        def dying(model, tokenizer, items, **options):
            if items[0].benchmark == "openbookqa":
                os.kill(os.getpid(), signal.SIGKILL)
            return score_items(model, tokenizer, items, **options)
        loglikelihood.score_items = dying
        import test_evaluate
        test_evaluate.run()
        """
    )
    assert subprocess.run([sys.executable, "-c", killed]).returncode == -signal.SIGKILL
    scored = []
    score_items = loglikelihood.score_items

    def watched(model, tokenizer, items, **options):
        scored.append(items[0].benchmark)
        return score_items(model, tokenizer, items, **options)

    monkeypatch.setattr(loglikelihood, "score_items", watched)
    resumed = run()
    assert scored == ["openbookqa"]
    fresh_store("undisturbed")
    pd.testing.assert_frame_equal(resumed[0], run()[0], check_exact=True)


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"method": "gtpq"}, "did you mean 'gptq'"),
        ({"method": "rtn", "bits": 5}, "5 bits is not a width"),
        ({"method": "gptq", "bits": 4, "group_size": 0}, "group size of 0"),
    ],
)
def test_a_recipe_that_cannot_be_is_refused_when_it_is_written(settings, words):
    with pytest.raises(InputError, match=words):
        Recipe(**settings)


def test_too_little_calibration_text_is_one_sentence(fresh_store):
    with pytest.raises(InputError, match="Calibration needs 1000000 windows of 512 tokens"):
        evaluate(MODEL, Recipe("gptq", bits=4, samples=10**6, length=512), questions())

"""Compressed models in the store: the same the second time, and whose GPTQ made them."""

import pytest
import torch

from ethical_compression import provenance
from ethical_compression.compress import compressed, methods
from ethical_compression.compress.recipe import Recipe
from ethical_compression.errors import InputError


def test_the_version_of_bitsandbytes_counts_where_it_computes_and_nowhere_else(monkeypatch):
    def stored():
        return {
            name: compressed.stored(
                Recipe(name, **{"bits": 4} if "bits" in one.settings.names() else {}), "x"
            ).name
            for name, one in methods.methods().items()
        }

    monkeypatch.setattr(Recipe, "reads_text", False)  # no files are looked for
    before, version = stored(), provenance.version
    monkeypatch.setattr(
        provenance,
        "version",
        lambda package: "another" if package == "bitsandbytes" else version(package),
    )
    after = stored()
    assert {name for name in before if before[name] != after[name]} == {"int8", "nf4", "fp4"}


@pytest.mark.parametrize(
    "recipe",
    [
        Recipe("awq", bits=3, group_size=16, samples=2, length=48),
        Recipe("wanda", sparsity=0.5, samples=2, length=48),
        Recipe("layers", remove=1, position="contribution", samples=2, length=48),
        Recipe("nf4"),
    ],
    ids=lambda recipe: recipe.label,
)
def test_a_model_loaded_twice_scores_the_same(recipe, own_store):
    from ethical_compression.datasets import multiple_choice
    from ethical_compression.score import loglikelihood, runs
    from ethical_compression.score.subjects import Compressed

    first = compressed.load(recipe, "tiny-random-llama")
    second = compressed.load(recipe, "tiny-random-llama")
    assert second.source["recipe"] == recipe.inputs()
    ids = torch.arange(5, 25)[None]
    with torch.no_grad():
        logits = [one.model(ids).logits for one in (first, second)]
    assert torch.equal(*logits)
    items = {"piqa": multiple_choice.load("piqa", limit=3)}
    subjects = [Compressed("tiny-random-llama", one) for one in (Recipe(), recipe)]
    table = runs.grid(subjects, loglikelihood.batteries(items), progress=False)["scores"]
    full, scores = (
        table[table["compression"] == one].reset_index() for one in ("full", recipe.label)
    )
    assert scores["logprob"].notna().all()
    assert (scores["logprob"] != full["logprob"]).any()


# --- Whose GPTQ -----------------------------------------------------------------------------------

PEER = {"bits": 4, "group_size": 32, "samples": 2, "length": 48}


# --- Whose GPTQ -----------------------------------------------------------------------------------

PEER = {"bits": 4, "group_size": 32, "samples": 2, "length": 48}


def test_auto_gptq_says_that_it_only_loads_here():
    with pytest.raises(InputError, match=r"auto-gptq quantizes on CUDA only.*only load"):
        compressed.load(Recipe("gptq", quantizer="auto-gptq", **PEER), "tiny-random-llama")
    with pytest.raises(InputError, match="quantizer 'gtpqmodel'"):
        Recipe("gptq", quantizer="gtpqmodel", **PEER)
    with pytest.raises(InputError, match="lets all tokens count alike"):
        Recipe("gptq", quantizer="gptqmodel", weighting="entropy", **PEER)
    with pytest.raises(InputError, match="activation order of 'rows'"):
        Recipe("gptq", activation_order="rows", **PEER)


@pytest.mark.parametrize("words", ["", "ValueError: no such grid"])
def test_a_peer_that_is_missing_or_fails_leaves_nothing(own_store, tmp_path, monkeypatch, words):
    recipe = Recipe("gptq", quantizer="gptqmodel", **PEER)
    monkeypatch.setenv("ETHICAL_COMPRESSION_PEERS", str(tmp_path / "peers"))
    python = tmp_path / "peers" / "gptqmodel" / "bin" / "python"
    if words:
        python.parent.mkdir(parents=True)
        python.write_text(f"#!/bin/sh\nmkdir made\necho 'Traceback …\n{words}' >&2\nexit 1\n")
        python.chmod(0o755)
    expected = f"stopped without a checkpoint: {words}" if words else "run `make peers`"
    with pytest.raises(InputError, match=expected):
        compressed.load(recipe, "tiny-random-llama")
    assert [path.name for path in own_store.iterdir()] == ["models"]

"""Models whose blocks stay on disk: the same numbers, little memory, and one sentence where not."""

import errno
import gc
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
import transformers
from families import make
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from tiny_models import FAMILIES, tiny_model

from ethical_compression import models
from ethical_compression.compress import gptq
from ethical_compression.compress.checkpoint import save_gptq
from ethical_compression.errors import InputError
from ethical_compression.models import on_disk
from ethical_compression.score import divergence, layouts
from ethical_compression.score.loglikelihood import score_encoded
from ethical_compression.score.tokens import Encoded


@pytest.fixture(autouse=True)
def a_store(tmp_path, monkeypatch):
    monkeypatch.setenv("ETHICAL_COMPRESSION_CACHE", str(tmp_path / "store"))
    return tmp_path / "store"


@pytest.fixture(scope="module")
def tokenizer():
    from ethical_compression.models import sources

    return transformers.AutoTokenizer.from_pretrained(sources.tokenizer_folder("tiny-random-llama"))


def saved(model, folder: Path, shard: str = "20KB") -> Path:
    """A model's folder, in many shards."""
    model.save_pretrained(folder, max_shard_size=shard)
    return folder


def both(folder: Path):
    """The model in a folder in memory, and with its blocks on disk."""
    whole, blocks = models.of_folder(folder), on_disk_alone(folder)
    assert len(on_disk.blocks(blocks)) == whole.config.num_hidden_layers
    return whole, blocks


def on_disk_alone(folder: Path):
    return models.causal._model(folder, folder.name, "float32", "cpu").eval()


def requests(many: int = 40, vocabulary: int = 200) -> list[Encoded]:
    """Requests that share beginnings, more of them than one batch takes."""
    draw = torch.Generator().manual_seed(0)

    def tokens(n):
        return torch.randint(3, vocabulary, (n,), generator=draw).tolist()

    begin = tokens(12)
    return [Encoded([*begin[: 6 + i % 6], *tokens(5 + i % 7)], 4) for i in range(many)]


def entered(monkeypatch) -> list:
    """Told of every tensor that is read from disk."""
    from accelerate.utils import OffloadedWeightsLoader

    read, plain = [], OffloadedWeightsLoader.__getitem__

    def told(self, key):
        read.append(key)
        return plain(self, key)

    monkeypatch.setattr(OffloadedWeightsLoader, "__getitem__", told)
    return read


def same(whole, blocks, asked):
    before, after = (score_encoded(one, asked, token_budget=64) for one in (whole, blocks))
    assert (before.logprob == after.logprob).all() and (before.greedy == after.greedy).all()
    assert (before.entropy == after.entropy).all()


@pytest.mark.parametrize("family", FAMILIES)
def test_scores_are_those_of_the_whole_model_bit_for_bit(family, tmp_path):
    whole, blocks = both(saved(tiny_model(family), tmp_path / "model"))
    same(whole, blocks, requests())


@pytest.mark.parametrize("family", ["mixtral", "gpt_neox"])
def test_what_is_stored_under_other_names_or_one_by_one_is_found(family, tmp_path, a_store):
    whole, blocks = both(saved(make(family), tmp_path / "model", "400KB"))
    same(whole, blocks, requests())
    if family == "mixtral":
        assert list(a_store.rglob("*experts*.safetensors"))  # converted, in the store
    del blocks
    gc.collect()
    assert not list(a_store.rglob("*.safetensors"))


def test_a_block_is_read_once_for_all_batches_and_one_is_in_memory(tmp_path, monkeypatch):
    blocks = on_disk_alone(saved(tiny_model("llama", num_hidden_layers=5), tmp_path / "model"))
    asked = requests(60)
    layout, _ = layouts.plan([blocks], asked)
    score_encoded(blocks, asked, token_budget=64)  # tries layouts and the head
    read, held, run = entered(monkeypatch), [], layouts.scored_states

    def counted(*args):
        held.append(sum(not p.is_meta for b in on_disk.blocks(blocks) for p in b.parameters()))
        return run(*args)

    monkeypatch.setattr(layouts, "scored_states", counted)
    score_encoded(blocks, asked, token_budget=64)
    one = len(list(on_disk.blocks(blocks)[0].parameters()))
    assert layout == "tree" and len(held) > 3
    # The last block of before may still be here, and is read anew in its turn, like the others.
    assert len(read) == len(set(read)) == 5 * one
    assert max(held) <= one


def test_two_models_are_compared_block_by_block(tmp_path):
    first = both(saved(tiny_model("llama"), tmp_path / "first"))
    second = both(saved(tiny_model("llama", seed=1), tmp_path / "second"))
    tables = [
        divergence.encoded_distances(p, q, requests(), token_budget=64)
        for p, q in zip(first, second, strict=True)
    ]
    assert (tables[0] == tables[1]).all(axis=None) and (tables[0]["kl_pq"] > 0).any()


def test_what_does_not_fit_in_memory_is_halved(tmp_path, monkeypatch):
    whole, blocks = both(saved(tiny_model("llama"), tmp_path / "model"))
    how = {"token_budget": 64, "layout": "plain"}
    expected = score_encoded(whole, requests(), **how).logprob
    run, failed = layouts.scored_states, []

    def full(model, batch, layout):
        if len(failed) < 3:
            failed.append(len(batch))
            raise MemoryError
        return run(model, batch, layout)

    monkeypatch.setattr(layouts, "scored_states", full)
    found = score_encoded(blocks, requests(), **how).logprob
    assert len(failed) == 3 and max(failed) > 1
    torch.testing.assert_close(torch.tensor(found), torch.tensor(expected), atol=1e-5, rtol=1e-5)


def test_another_dtype_is_that_of_the_whole_model(tmp_path, tokenizer):
    folder = saved(tiny_model("llama", vocab_size=49152), tmp_path / "model")
    tokenizer.save_pretrained(folder)
    whole, blocks = (
        models.load(str(folder), dtype="bfloat16", offload=one) for one in (False, True)
    )
    assert whole.source == blocks.source and blocks.model.dtype == torch.bfloat16
    same(whole.model, blocks.model, requests())


def test_a_gptq_checkpoint_is_unpacked_into_the_store(tmp_path, a_store):
    for family in ("llama", "gpt2"):
        model = tiny_model(family)
        text = [torch.arange(3, 40)[None]]
        weights = gptq.quantize_model(model, text, bits=4, group_size=16)
        save_gptq(tmp_path / family, model, None, weights)
        if family == "gpt2":  # as other makers leave it
            (tmp_path / family / "generation_config.json").unlink()
        whole, blocks = both(tmp_path / family)
        assert list(a_store.rglob("*.safetensors"))
        same(whole, blocks, requests())


def test_what_other_means_have_quantized_is_refused(tmp_path):
    folder = saved(tiny_model("llama"), tmp_path / "model")
    config = json.loads((folder / "config.json").read_text())
    config["quantization_config"] = {"quant_method": "bitsandbytes", "load_in_4bit": True}
    (folder / "config.json").write_text(json.dumps(config))
    with pytest.raises(InputError, match="without offload"):
        on_disk_alone(folder)


def shards(folder: Path) -> list[Path]:
    found = sorted(folder.glob("*.safetensors"))
    assert len(found) > 3
    return found


@pytest.mark.parametrize("damage", ["missing", "truncated"])
@pytest.mark.parametrize("when", ["before", "after"])
def test_a_shard_that_is_not_whole_is_one_sentence(tmp_path, damage, when):
    folder = saved(tiny_model("llama"), tmp_path / "model")
    its = [one for one in shards(folder) if any("layers.1" in key for key in load_file(one))]
    if when == "after":
        blocks = on_disk_alone(folder)
    for one in its:
        if damage == "missing":
            one.unlink()
        else:
            one.write_bytes(one.read_bytes()[:-100])
    with pytest.raises(InputError, match="cannot be read") as told:
        score_encoded(on_disk_alone(folder) if when == "before" else blocks, requests())
    assert str(told.value).count("\n") == 0


def test_a_weight_that_is_nan_is_named_with_its_block(tmp_path):
    model = tiny_model("llama")
    model.model.layers[1].mlp.up_proj.weight.data[0, 0] = float("nan")
    blocks = on_disk_alone(saved(model, tmp_path / "model"))
    with pytest.raises(InputError, match=r"mlp\.up_proj\.weight of block 1 .* is NaN"):
        score_encoded(blocks, requests())


@pytest.mark.parametrize("error", [OSError(errno.ENOSPC, "full"),
                                   SafetensorError("I/O error (os error 28)")])  # fmt: skip
def test_no_room_for_a_copy_is_one_sentence_and_leaves_nothing(
    tmp_path, a_store, monkeypatch, error
):
    folder = saved(make("mixtral"), tmp_path / "model", "400KB")

    def full(*_, **__):
        raise error

    monkeypatch.setattr("transformers.integrations.accelerate.save_file", full)
    with pytest.raises(InputError, match="disk is full"):
        on_disk_alone(folder)
    assert not list(a_store.rglob("*.safetensors"))


MEASURED = """
import json, sys
from pathlib import Path
from ethical_compression import models
from ethical_compression.score.loglikelihood import score_encoded
from ethical_compression.score.tokens import Encoded

def held():
    lines = Path("/proc/self/status").read_text().splitlines()
    return sum(int(s.split()[1]) for s in lines if s.startswith(("RssAnon", "RssFile"))) * 1024

import torch, accelerate, transformers
from transformers.models.llama import modeling_llama
before, most = held(), 0
folder, offload = sys.argv[1], sys.argv[2] == "offload"
model = models.causal._model(Path(folder), "it", "float32", "cpu" if offload else None).eval()

def look(*_):
    global most
    most = max(most, held())

for block in model.model.layers:
    block.register_forward_hook(look)
score_encoded(model, [Encoded([5 + i, 6, 7, 8, 9], 2) for i in range(40)])
print(json.dumps(most - before))
"""


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="tells no memory")
@pytest.mark.sweep
def test_memory_is_that_of_one_block_and_what_is_beside_the_blocks(tmp_path):
    """Of sixteen blocks less than five are held where one is at a time, and nearly all else.

    Files are small, since the pages of one that is read from count, too."""
    config = {"hidden_size": 512, "intermediate_size": 2048, "num_hidden_layers": 16}
    folder = saved(tiny_model("llama", **config), tmp_path / "model", "16MB")
    block = 4 * sum(
        one.numel()
        for name, one in models.of_folder(folder).named_parameters()
        if name.startswith("model.layers.0.")
    )
    assert block > 12e6

    def most(how):
        done = subprocess.run(
            [sys.executable, "-c", MEASURED, str(folder), how],
            capture_output=True, text=True, check=True, env=os.environ,
        )  # fmt: skip
        return json.loads(done.stdout)

    assert most("whole") > 15 * block
    assert most("offload") < 5 * block


def test_a_checkpoint_of_the_body_alone_is_read_by_its_own_names(tmp_path):
    model = tiny_model("gpt2")
    folder = saved(model, tmp_path / "model")
    for one in shards(folder):
        tensors = {key.removeprefix("transformer."): t for key, t in load_file(one).items()}
        save_file(tensors, one, metadata={"format": "pt"})
    index = folder / "model.safetensors.index.json"
    index.write_text(index.read_text().replace("transformer.", ""))
    same(*both(folder), requests())

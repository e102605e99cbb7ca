"""Models by name: the embedded one exact, folders and hub ids checked before they are used."""

import json
import shutil

import huggingface_hub
import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from tiny_models import tiny_model

from ethical_compression import models, store
from ethical_compression.datasets import files, text
from ethical_compression.datasets import multiple_choice as mc
from ethical_compression.errors import InputError
from ethical_compression.models import sources

SMOLLM2 = models.EMBEDDED["smollm2-135m"]


def gguf_path():
    return files.embedded_file(SMOLLM2["package"], SMOLLM2["file"])


def test_fast_is_bfloat16_only_where_it_is_multiplied(monkeypatch):
    assert models.fast_dtype("float16", "cuda") == "float16"
    for amx, bf16, expected in ((0, 0, "float32"), (1, 0, "bfloat16"), (0, 1, "bfloat16")):
        monkeypatch.setattr(torch.cpu, "_is_amx_tile_supported", lambda has=amx: bool(has))
        monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda has=bf16: bool(has))
        assert models.fast_dtype("fast", "cpu") == expected
    monkeypatch.delattr(torch.cpu, "_is_amx_tile_supported")
    assert models.fast_dtype("fast", "cpu") == "bfloat16"
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    for capability, expected in (((7, 5), "float32"), ((8, 0), "bfloat16")):
        monkeypatch.setattr(torch.cuda, "get_device_capability", lambda _, has=capability: has)
        assert models.fast_dtype("fast", "cuda") == expected


# --- The embedded model ---------------------------------------------------------------------------


def test_the_embedded_model_is_what_its_source_says(smollm2):
    model, _, source = smollm2
    assert source == models.describe("smollm2-135m")
    assert source["fingerprint"] == store.sha256_of(gguf_path())
    assert source["parameters"] == model.num_parameters() == 134_515_008
    assert "Q4_1" in source["caveat"] and "flatter" in source["caveat"]
    assert not model.training and model.dtype == torch.float32
    assert model.lm_head.weight is model.model.embed_tokens.weight
    assert getattr(model.config, "quantization_config", None) is None


def test_its_weights_are_the_dequantised_ones_bit_for_bit(smollm2):
    """Oracle: gguf's own dequantisation; embeddings are Q8_0, the linear layers Q4_1."""
    from gguf import GGUFReader, dequantize

    tensors = {tensor.name: tensor for tensor in GGUFReader(gguf_path()).tensors}
    ours = smollm2.model.state_dict()
    for theirs, name in (
        ("token_embd.weight", "model.embed_tokens.weight"),
        ("blk.0.attn_output.weight", "model.layers.0.self_attn.o_proj.weight"),
        ("blk.7.ffn_down.weight", "model.layers.7.mlp.down_proj.weight"),
        ("blk.29.ffn_gate.weight", "model.layers.29.mlp.gate_proj.weight"),
        ("output_norm.weight", "model.norm.weight"),
    ):
        tensor = tensors[theirs]
        expected = dequantize(tensor.data, tensor.tensor_type)
        np.testing.assert_array_equal(ours[name].numpy(), expected, err_msg=theirs)


def test_each_group_of_32_weights_holds_sixteen_values_at_most_as_the_caveat_says(smollm2):
    for weight in (
        smollm2.model.model.layers[3].self_attn.o_proj.weight,
        smollm2.model.model.layers[20].mlp.up_proj.weight,
    ):
        groups = weight.detach()[:64].reshape(-1, 32)
        assert max(len(group.unique()) for group in groups) == 16


def test_float16_would_not_hold_it(smollm2):
    weight = smollm2.model.model.layers[0].self_attn.q_proj.weight
    assert not torch.equal(weight.half().float(), weight)


def test_the_stored_tokenizer_gives_the_ids_of_the_embedded_one(smollm2):
    from transformers import AutoTokenizer

    path = gguf_path()
    original = AutoTokenizer.from_pretrained(path.parent, gguf_file=path.name)
    varied = [
        "Hello", " Hello", "Hello ", "", " ", "\n\n \t", "naïve café — Æsop’s “ſ”",
        "日本語 🙂‍↔️ ✊🏾",
        "<|im_start|>user\nHi<|im_end|>\n", "<|endoftext|>", "x" * 300, "1234567890 3.14e-5",
        "def f(x):\n\treturn  x\r\n", "Il était une fois une", "\u00a0\u200b\ufeff",
        *text.load("xsum", "held_out", limit=30),
        *(item.context + item.options[0] for item in mc.load("piqa", limit=50)),
    ]  # fmt: skip
    for words in varied:
        assert smollm2.tokenizer(words).input_ids == original(words).input_ids, words
    # Like lm-eval's requests for this model, ours begin with no special token.
    assert smollm2.tokenizer("Hello").input_ids == [19556]
    for token in ("bos_token", "eos_token", "pad_token", "unk_token"):
        assert getattr(smollm2.tokenizer, token) == getattr(original, token)
    assert smollm2.tokenizer.chat_template == original.chat_template


def test_it_predicts_language(smollm2):
    ids = smollm2.tokenizer("The capital of France is", return_tensors="pt").input_ids
    with torch.no_grad():
        best = smollm2.model(ids).logits[0, -1].argmax()
    assert smollm2.tokenizer.decode(best) == " Paris"


# --- The random model -----------------------------------------------------------------------------


def test_the_random_model_is_the_same_every_time_and_speaks_through_a_real_tokenizer():
    torch.manual_seed(1)
    one = models.load("tiny-random-llama")
    torch.manual_seed(2)
    two = models.load("tiny-random-llama")
    assert one.source == two.source == models.describe("tiny-random-llama")
    assert one.source["kind"] == "random" and "random" in one.source["caveat"]
    assert one.source["parameters"] == one.model.num_parameters()
    for name, weight in one.model.state_dict().items():
        assert torch.equal(weight, two.model.state_dict()[name])
    assert one.tokenizer("Hello").input_ids == [19556]
    logits = one.model(one.tokenizer("Hello there", return_tensors="pt").input_ids).logits
    assert logits.isfinite().all() and logits.std() > 0.1


# --- Folders --------------------------------------------------------------------------------------


@pytest.fixture
def folder(tmp_path):
    """A model in a folder, as `save_pretrained` leaves it, with a tokenizer and a card."""
    place = tmp_path / "gpt2-tiny"
    tiny_model("gpt2").save_pretrained(place)
    tokenizer = sources.converted("smollm2-135m", "tokenizer", sources.convert_tokenizer)
    for file in tokenizer.glob("tokenizer*"):
        shutil.copy(file, place)
    (place / "README.md").write_text("---\nlicense: mit\n---\n# A model\n")
    return place


def test_a_folder_is_loaded_as_it_is(folder):
    loaded = models.load(str(folder))
    expected = tiny_model("gpt2").state_dict()
    for name, weight in loaded.model.state_dict().items():
        assert torch.equal(weight, expected[name])
    assert loaded.source == models.describe(str(folder))
    assert loaded.source["kind"] == "folder" and loaded.source["licence"] == "mit"
    assert loaded.source["parameters"] == tiny_model("gpt2").num_parameters()
    assert models.load(str(folder), dtype="bfloat16").model.dtype == torch.bfloat16


def test_its_fingerprint_follows_weights_and_configuration_not_the_card(folder):
    def fingerprint():
        return models.describe(str(folder))["fingerprint"]

    before = fingerprint()
    (folder / "README.md").write_text("---\nlicense: apache-2.0\n---\n")
    assert fingerprint() == before
    weights = load_file(folder / "model.safetensors")
    weights["transformer.ln_f.weight"][0] += 1e-3
    save_file(weights, folder / "model.safetensors", {"format": "pt"})
    after = fingerprint()
    assert after != before
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"attn_pdrop": 0.2}))
    assert fingerprint() not in (before, after)


def refusal(name, **options) -> str:
    with pytest.raises(InputError) as caught:
        models.load(name, **options)
    said = str(caught.value)
    assert "\n" not in said and said.endswith(".") and len(said) < 600
    return said


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_weights_that_are_not_finite_are_refused(folder, value):
    weights = load_file(folder / "model.safetensors")
    weights["transformer.h.1.mlp.c_fc.weight"][3, 3] = value
    save_file(weights, folder / "model.safetensors", {"format": "pt"})
    assert "transformer.h.1.mlp.c_fc.weight" in refusal(str(folder))


def test_weights_too_large_for_float16_are_refused_there(folder):
    weights = load_file(folder / "model.safetensors")
    weights["transformer.h.0.mlp.c_fc.weight"][0, 0] = 1e6
    save_file(weights, folder / "model.safetensors", {"format": "pt"})
    models.load(str(folder))
    assert "infinite in float16: use float32" in refusal(str(folder), dtype="float16")


def test_missing_weights_are_refused_not_invented(folder):
    weights = load_file(folder / "model.safetensors")
    del weights["transformer.h.1.mlp.c_proj.weight"]
    save_file(weights, folder / "model.safetensors", {"format": "pt"})
    assert "lacks 1 weights" in refusal(str(folder))


def test_pickled_weights_are_never_read(folder):
    (folder / "model.safetensors").unlink()
    torch.save(tiny_model("gpt2").state_dict(), folder / "pytorch_model.bin")
    assert "no safetensors weights" in refusal(str(folder))


def test_broken_files_are_one_sentence(folder, tmp_path):
    whole = (folder / "model.safetensors").read_bytes()
    (folder / "model.safetensors").write_bytes(whole[: len(whole) // 2])
    assert "cannot be read" in refusal(str(folder))
    (folder / "config.json").write_text("{")
    assert "cannot be read" in refusal(str(folder))
    assert "cannot be read" in refusal(str(tmp_path))  # a folder with no model in it


def test_code_that_comes_with_a_model_is_never_run(folder, tmp_path):
    config = json.loads((folder / "config.json").read_text())
    config |= {"model_type": "own", "auto_map": {"AutoConfig": "own.OwnConfig"}}
    (folder / "config.json").write_text(json.dumps(config))
    trace = tmp_path / "ran"
    (folder / "own.py").write_text(f"open({str(trace)!r}, 'w')\nclass OwnConfig: pass\n")
    assert "cannot be read" in refusal(str(folder))
    assert not trace.exists()


@pytest.mark.parametrize("family", ["bert", "roberta", "distilbert", "t5", "bart"])
def test_models_that_do_not_predict_the_next_token_are_refused(family, tmp_path):
    from transformers import AutoConfig

    AutoConfig.for_model(family).save_pretrained(tmp_path)
    said = refusal(str(tmp_path))
    assert family in said and "does not predict the next token" in said


# --- The hub --------------------------------------------------------------------------------------


def test_a_hub_model_is_asked_for_by_commit_and_without_pickles_or_code(folder, monkeypatch):
    asked = []
    commit = folder.parent / "0123abcd"
    folder.rename(commit)

    def snapshot_download(name, *, repo_type, revision, allow_patterns):
        asked.append((name, repo_type, revision, allow_patterns))
        return str(commit)

    monkeypatch.setattr(huggingface_hub, "snapshot_download", snapshot_download)
    loaded = models.load("owner/model", revision="v1")
    assert loaded.source["kind"] == "hub" and loaded.source["fingerprint"] == "0123abcd"
    assert loaded.source["licence"] == "mit"
    assert [call[:3] for call in asked] == [
        ("owner/model", "model", "v1"),
        ("owner/model", "model", "0123abcd"),
    ]
    files_there = ["pytorch_model.bin", "modeling_own.py", "model.pt", "model-00001-of-00002.bin"]
    assert not list(
        huggingface_hub.utils.filter_repo_objects(files_there, allow_patterns=asked[1][3])
    )
    weights = ["model-00001-of-00002.safetensors", "model.safetensors.index.json", "merges.txt"]
    assert (
        list(huggingface_hub.utils.filter_repo_objects(weights, allow_patterns=asked[1][3]))
        == weights
    )


def test_without_a_network_the_hub_is_one_sentence(monkeypatch):
    def away(*_arguments, **_options):
        raise huggingface_hub.errors.LocalEntryNotFoundError("away")

    monkeypatch.setattr(huggingface_hub, "snapshot_download", away)
    said = refusal("openai-community/gpt2")
    assert "could not be reached for openai-community/gpt2" in said and "smollm2-135m" in said


# --- Bad names and settings -----------------------------------------------------------------------


def test_unknown_names_are_told_what_there_is(tmp_path):
    said = refusal("smollm-135m")
    assert "did you mean 'smollm2-135m'" in said and "a folder, or a hub id" in said
    assert "There is no model" in refusal("gpt2")
    assert "There is no model" in refusal(str(tmp_path / "nowhere"))
    with pytest.raises(InputError, match="There is no model"):
        models.describe("")


def test_settings_that_cannot_be_are_refused():
    assert "float32" in refusal("tiny-random-llama", dtype="int3")
    assert "cannot be used here" in refusal("tiny-random-llama", device="quantum")
    assert "leave revision out" in refusal("tiny-random-llama", revision="main")
    if not torch.cuda.is_available():
        assert "cannot be used here" in refusal("tiny-random-llama", device="cuda")

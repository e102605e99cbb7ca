"""Reports say what was measured: sizes against files and tensors, errors against activations."""

import json

import families
import pytest
import torch
from tiny_models import tiny_model

from ethical_compression.__main__ import main
from ethical_compression.compress import bits_and_bytes, report, weight_files
from ethical_compression.compress.apply import apply
from ethical_compression.compress.compressed import load
from ethical_compression.compress.recipe import Recipe
from ethical_compression.errors import InputError


def test_memory_counts_what_is_held_and_shared_tensors_once():
    model = tiny_model("llama", tie_word_embeddings=True)
    parameters = sum(p.numel() * 4 for p in model.parameters())  # tied ones are one parameter
    buffers = {b.data_ptr(): b.numel() * b.element_size() for b in model.buffers()}
    assert report.memory(model) == parameters + sum(buffers.values())
    pytest.importorskip("bitsandbytes")
    linear = torch.nn.Linear(128, 64, bias=False)
    assert report.memory(linear) == 4 * 128 * 64
    # Half a byte a weight, a float32 for each 64 of them, and the table of 16 values.
    nf4 = bits_and_bytes.quantized(linear, "nf4")
    assert report.memory(nf4) == 128 * 64 // 2 + 4 * 128 + 4 * 16
    int8 = bits_and_bytes.quantized(linear, "int8")
    assert report.memory(int8) == 128 * 64 + 4 * 64


def test_layer_errors_are_those_of_the_activations_themselves():
    full, model = tiny_model("llama"), tiny_model("llama")
    apply(Recipe("magnitude", sparsity=0.5), model)
    inputs = list(torch.randint(3, 200, (4, 16)).split(2))
    table = report.layer_errors(full, model, inputs).set_index("layer")
    name = "model.layers.1.mlp.down_proj"
    layer, fed = full.get_submodule(name), []
    layer.register_forward_pre_hook(lambda _, args: fed.append(args[0]))
    with torch.no_grad():
        for ids in inputs:
            full(ids)
    x = torch.cat(fed).flatten(0, 1)
    change = (model.get_submodule(name).weight - layer.weight).data
    expected = float((x @ change.T).square().sum() / (x @ layer.weight.data.T).square().sum())
    assert table.loc[name, "output_error"] == pytest.approx(expected, rel=1e-3)
    expected = float(change.square().sum() / layer.weight.data.square().sum())
    assert table.loc[name, "weight_error"] == pytest.approx(expected, rel=1e-5)
    assert (table["sparsity"] == 0.5).all() and len(table) == 14
    same = report.layer_errors(full, full, inputs)
    assert same["output_error"].max() == same["weight_error"].max() == 0
    short = tiny_model("llama", num_hidden_layers=1)
    with pytest.raises(InputError, match="none may have been removed"):
        report.layer_errors(full, short, inputs)


def test_latency_tells_a_deep_model_from_a_shallow_one():
    models = {"deep": tiny_model("llama", num_hidden_layers=12), "shallow": tiny_model("llama")}
    found = report.latency(models, torch.randint(3, 200, (1, 8)), tokens=12)
    assert found["deep"]["median"] > 1.5 * found["shallow"]["median"] > 0
    assert all(one["low"] <= one["median"] <= one["high"] for one in found.values())


@pytest.mark.parametrize("family", ["mamba", "rwkv", "recurrent_gemma", "xlstm", "llama"])
def test_latency_of_models_with_and_without_attention(family):
    model = families.make(family)
    prompt = torch.randint(3, 200, (1, 8), generator=torch.Generator().manual_seed(0))
    found = report.latency({"full": model, "compressed": model}, prompt, tokens=3)
    assert all(0 < one["low"] <= one["median"] <= one["high"] for one in found.values())
    assert report._goes_on(model, prompt) or family in ("recurrent_gemma", "xlstm")
    # What is timed goes on as the model does when it reads the text anew.
    if report._goes_on(model, prompt):
        cache, token = report._step(model, prompt, {})
        _, following = report._step(model, token, cache)
        with torch.no_grad():
            text = torch.cat([prompt, token], 1)
            plain = model(input_ids=text, use_cache=False).logits[:, -1:].argmax(-1)
        assert torch.equal(following, plain)


def test_errors_of_experts_are_measured_too():
    full, model = families.make("gpt_oss"), families.make("gpt_oss")
    apply(Recipe("magnitude", sparsity=0.5), model)
    inputs = list(torch.randint(3, 200, (4, 16)).split(2))
    table = report.layer_errors(full, model, inputs)
    assert table["layer"].str.contains("experts").sum() == 4 * 8
    assert (table["sparsity"] == 0.5).all() and table["output_error"].between(0, 1).all()


def test_command_line_compresses_into_a_folder_that_others_load(own_store, tmp_path, capsys):
    import transformers

    recipe = tmp_path / "recipe.yaml"
    recipe.write_text("method: wanda\nsamples: 2\nlength: 48\n")
    out = tmp_path / "out"
    command = ["compress", "tiny-random-llama", "--recipe", str(recipe), "--output", str(out)]
    assert main([*command, "-p", "sparsity", "2:4", "--report"]) == 0
    said = capsys.readouterr().out
    assert "zeros: 50.0% of the weights in the model's blocks" in said and "a token:" in said
    assert "touched: 100.0% of the weights in the model's blocks" in said
    record = json.loads((out / "compression.json").read_text())
    assert record["recipe"]["sparsity"] == "2:4" and record["model"]["name"] == "tiny-random-llama"
    assert len(record["layers"]) == 14
    assert all(row["sparsity"] == 0.5 and row["pattern_2_4"] for row in record["layers"])
    model = transformers.AutoModelForCausalLM.from_pretrained(out)
    weight = model.model.layers[1].mlp.up_proj.weight
    assert ((weight == 0).view(-1, 4).sum(1) == 2).all()
    # A second run must not write over what is there.
    assert main([*command, "-p", "sparsity", "0.5"]) == 2
    assert "is not empty" in capsys.readouterr().err
    assert json.loads((out / "compression.json").read_text()) == record


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["-p", "method", "wnda"], "did you mean 'wanda'"),
        (["-p", "method", "wanda", "-p", "sparsty", "0.5"], "did you mean 'sparsity'"),
        (["-p", "method", "wanda", "-p", "sparsity", "60"], "A sparsity of 60"),
        ([], "A recipe needs a method"),
        (["--recipe", "nowhere.yaml"], "nowhere.yaml cannot be read"),
        (["-p", "method", "layers", "-p", "remove", "2"], "at least one must stay"),
    ],
)
def test_bad_input_is_one_sentence_and_leaves_nothing(words, said, own_store, tmp_path, capsys):
    out = tmp_path / "out"
    assert main(["compress", "tiny-random-llama", "--output", str(out), *words]) == 2
    error = capsys.readouterr().err
    assert said in error and error.count("\n") == 1
    assert not out.exists() and not list(own_store.glob("compressed/*"))


def test_a_full_disk_is_one_sentence_and_leaves_nothing(tmp_path, monkeypatch):
    import safetensors.torch

    def full(*_, **__):
        raise safetensors.SafetensorError("I/O error: No space left on device (os error 28)")

    monkeypatch.setattr(safetensors.torch, "save_file", full)
    weights, _ = apply(Recipe("magnitude"), tiny_model("llama"))
    with pytest.raises(InputError, match="The disk is full"):
        weight_files.write(tmp_path / "kept", weights, {})
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("method", ["rtn", "gptq"])
def test_rounded_models_leave_a_packed_checkpoint(method, own_store, tmp_path, capsys):
    from ethical_compression import models

    settings = {"bits": "4", "group_size": "64"}
    if method == "gptq":
        settings |= {"samples": "2", "length": "48"}
    changes = [word for pair in settings.items() for word in ("-p", *pair)]
    out = tmp_path / "out"
    command = ["compress", "tiny-random-llama", "-p", "method", method, "--output", str(out)]
    assert main([*command, *changes]) == 0
    record = json.loads((out / "compression.json").read_text())
    assert record["recipe"]["method"] == method and len(record["layers"]) == 14
    assert json.loads((out / "quantize_config.json").read_text())["bits"] == 4
    again = models.load(str(out)).model.state_dict()
    chosen = Recipe.from_dict(
        {"method": method} | {name: int(value) for name, value in settings.items()}
    )
    for name, tensor in load(chosen, "tiny-random-llama").model.state_dict().items():
        assert torch.equal(again[name], tensor), name
    assert not list(own_store.glob("compressed/*-parts"))

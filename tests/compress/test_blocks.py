"""What a model is made of is seen in it, and its blocks are called as it calls them."""

import families
import pytest
import torch
from tiny_models import tiny_model

from ethical_compression.compress import checkpoint, gptq
from ethical_compression.compress.apply import apply, check_touched
from ethical_compression.compress.blocks import (
    one_expert_at_a_time,
    place,
    stream_blocks,
    survey,
    weights_named,
)
from ethical_compression.compress.compressed import coverage, save
from ethical_compression.compress.hessian import add_to_hessian, hessians
from ethical_compression.compress.recipe import Recipe
from ethical_compression.compress.rtn import round_to_nearest
from ethical_compression.errors import InputError
from ethical_compression.models.anatomy import transformer_blocks

IDS = list(torch.randint(3, 200, (4, 24), generator=torch.Generator().manual_seed(0)).split(2))
EXPERTS = ("mixtral", "olmoe", "qwen3_moe", "gpt_oss", "granitemoe", "llama4")


def fed_by_the_model(model, inputs):
    """What the model's own pass feeds each linear layer, by its name, (tokens, in)."""
    fed, hooks = {}, []
    for name, layer in model.named_modules():
        if isinstance(layer, torch.nn.Linear):
            hooks.append(
                layer.register_forward_pre_hook(
                    lambda _, args, name=name: fed.setdefault(name, []).append(
                        args[0].flatten(0, -2)
                    )
                )
            )
    with torch.no_grad():
        for ids in inputs:
            model(input_ids=ids, use_cache=False)
    for hook in hooks:
        hook.remove()
    return {name: torch.cat(rows) for name, rows in fed.items()}


# Sliding and full attention, another rotary base by layer, inputs of each layer's own, and states
# that one layer leaves for others.
@pytest.mark.parametrize("family", ["gemma3", "gpt_oss", "olmo3", "gemma4", "gemma3n", "zamba2"])
def test_each_block_is_called_as_the_model_calls_it(family):
    model = families.make(family)
    expected = fed_by_the_model(model, IDS)
    layers = 0
    names = [block.name for block in survey(model).blocks]
    for index, block, calls in stream_blocks(model, IDS):
        for name, hessian in hessians(block, calls).items():
            rows = expected.get(f"{names[index]}.{name}")
            if rows is None:
                continue
            plain = add_to_hessian(None, rows).matrix
            assert (hessian.matrix - plain).norm() <= 1e-5 * plain.norm(), name
            layers += 1
    assert layers >= 4 * len(names) - 4


def test_the_first_block_of_a_model_that_also_sees_is_the_texts():
    model = families.make("gemma3_nested")
    blocks = transformer_blocks(model)
    assert [block.name for block in survey(model).blocks] == [
        name for name, module in model.named_modules() if module in list(blocks)
    ]
    assert "vision" not in survey(model).blocks[0].name


@pytest.mark.parametrize("family", EXPERTS)
def test_an_experts_hessian_is_that_of_the_tokens_routed_to_it(family):
    model = families.make(family)
    whole = survey(model)
    views = {n: w for block in whole.blocks for n, w in block.weights.items()}
    experts = [name for name in views if name.rpartition(".")[2].isdecimal()]
    assert len(experts) >= 4 * 2 * 2
    assert sum(weight.numel() for weight in views.values()) / whole.total > 0.98
    assert set(weights_named(model, experts)) == set(experts)
    # Their products, done again with what was fed to them, are the model's.
    block = whole.blocks[1]
    for index, module, calls in stream_blocks(model, IDS[:1]):
        if index == 1:
            found = hessians(module, calls)
            seen = record_products(model, module, calls[0])
    for name in (one for one in experts if one.startswith(f"{block.name}.")):
        if name not in seen:
            continue
        fed, made = seen[name]
        torch.testing.assert_close(fed @ views[name].T, made, atol=1e-5, rtol=1e-5)
        plain = add_to_hessian(None, fed).matrix
        own = found[name.removeprefix(f"{block.name}.")]
        assert own.count == len(fed)
        torch.testing.assert_close(own.matrix, plain)
    assert seen


def record_products(model, block, call):
    """What each expert of a block is fed and gives, by a referee of its own: every product."""
    from torch.utils._python_dispatch import TorchDispatchMode

    name_of = {place(w): n for one in survey(model).blocks for n, w in one.weights.items()}
    seen = {}

    class All(TorchDispatchMode):
        def __torch_dispatch__(self, func, types, args=(), kwargs=None):
            out = func(*args, **(kwargs or {}))
            if func.overloadpacket in (torch.ops.aten.mm, torch.ops.aten.bmm):
                pairs = [(args[0], args[1], out)]
                if args[0].dim() == 3:
                    pairs = list(zip(*pairs[0], strict=True))
                for fed, weight, made in pairs:
                    used = fed.any(-1)
                    if (name := name_of.get(place(weight))) and used.any():
                        seen[name] = fed[used], made[used]
            return out

    with one_expert_at_a_time(model), All(), torch.no_grad():
        hidden, rest = call
        block(hidden, *rest["args"], **rest["kwargs"])
    return seen


@pytest.mark.parametrize("family", EXPERTS)
def test_experts_are_quantized_each_with_the_codes_it_would_get_alone(family):
    model = families.make(family)
    full = {n: w.clone() for b in survey(model).blocks for n, w in b.weights.items()}
    rows = {}
    found = gptq.quantize_model(model, IDS, bits=4, group_size=32, note=rows.__setitem__)
    assert set(found) == set(full) == set(rows)
    assert all(row["reached"] for row in rows.values())
    # The gates and rises of the first block are fed by what is quantized before them alone.
    again = families.make(family)
    first = survey(again).blocks[0]
    step = next(i for i, s in enumerate(first.steps) if s[0][0].rpartition(".")[2].isdecimal())
    names = [name for s in first.steps[:step] for group in s for name in group]
    for name in names:
        first.weights[name].copy_(found[name].dequantize())
    _, block, calls = next(iter(stream_blocks(again, IDS)))
    of_inputs = hessians(block, calls)
    for group in first.steps[step]:
        for name in group:
            own = of_inputs[name.removeprefix(f"{first.name}.")]
            alone, _ = gptq.solve(full[name], own.matrix, bits=4, group_size=32)
            assert torch.equal(alone.codes, found[name].codes), name


def test_what_no_token_reaches_is_rounded_and_said(tmp_path):
    model = families.make("mixtral", num_experts_per_tok=1)
    inputs = [torch.full((1, 4), 7)]
    rows = {}
    found = gptq.quantize_model(model, inputs, bits=4, group_size=32, note=rows.__setitem__)
    missed = [name for name, row in rows.items() if not row["reached"]]
    assert missed and all(".experts." in name for name in missed)
    plain = families.make("mixtral", num_experts_per_tok=1)
    full = {n: w for b in survey(plain).blocks for n, w in b.weights.items()}
    for name in missed:
        nearest = round_to_nearest(full[name], bits=4, group_size=32)
        assert torch.equal(found[name].codes, nearest.codes)
    table = [{"layer": name} | row for name, row in rows.items()]
    said = coverage({"touched": 0.998, "layers": table})
    assert said.startswith("99.8% of the weights in the model's blocks were touched. ")
    assert f"reached {len(missed)} of {len(rows)} of them, such as {missed[0]}" in said
    assert coverage({"layers": []}) == ""
    for method in ("wanda", "sparsegpt", "awq"):
        grid = {"bits": 4, "group_size": 32} if method == "awq" else {}
        other = families.make("mixtral", num_experts_per_tok=1)
        _, report = apply(Recipe(method, samples=1, length=4, **grid), other, inputs)
        assert report.loc[~report["reached"], "layer"].tolist() == missed


def test_the_share_that_a_method_touches_is_told_and_a_small_one_refused():
    model = families.make("mixtral")
    routers = sum(p.numel() for n, p in model.named_parameters() if n.endswith("gate.weight"))
    share = check_touched(Recipe("magnitude"), model)
    assert routers and share == pytest.approx(1 - routers / survey(model).total)
    for method in ("int8", "nf4"):
        with pytest.raises(InputError, match=r"would touch 1\d\.\d% .* --partial"):
            apply(Recipe(method), model)
        assert 0.1 < check_touched(Recipe(method), model, partial=True) < 0.2
    # Sides that are no multiples of 32 stay as they are where weights are packed, and only there.
    odd = tiny_model("llama", num_key_value_heads=2, intermediate_size=320)
    weights, _ = apply(Recipe("rtn", bits=4, group_size=16), odd)
    left = [n for n in ("k_proj", "v_proj") if f"model.layers.0.self_attn.{n}" not in weights]
    assert left == ["k_proj", "v_proj"] and len(weights) == 10
    full = tiny_model("llama", num_key_value_heads=2, intermediate_size=320)
    pairs = (one.model.layers[0].self_attn.k_proj.weight for one in (odd, full))
    assert torch.equal(*pairs)
    weights, _ = apply(Recipe("awq", bits=4, group_size=16, samples=4, length=24), odd, IDS)
    assert len(weights) == 14


def test_what_is_left_full_is_named_to_other_readers(tmp_path):
    import json

    model = tiny_model("llama", num_key_value_heads=2, intermediate_size=320)
    weights, _ = apply(Recipe("rtn", bits=4, group_size=16), model)
    expected = save(Recipe("rtn", bits=4), model, None, weights, tmp_path / "folder")
    checkpoint.check(tmp_path / "folder", expected)
    config = json.loads((tmp_path / "folder" / "config.json").read_text())
    rules = config["quantization_config"]["dynamic"]
    assert next(iter(rules)) == r"-:^model\.layers\.0\.self_attn\.k_proj$" and len(rules) == 4


def test_weights_by_token_need_every_token():
    model, weights = families.make("mixtral"), [torch.ones(2, 24)] * 2
    with pytest.raises(InputError, match="some of the tokens only: choose the weighting none"):
        gptq.quantize_model(model, IDS, bits=4, group_size=32, token_weights=weights)


def test_a_model_that_reads_no_text_is_one_sentence():
    import transformers as hf

    with pytest.raises(InputError, match="no stack of blocks"):
        transformer_blocks(torch.nn.Linear(2, 2))
    config = hf.ViTConfig(
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=32,
        image_size=8,
        patch_size=4,
    )
    with pytest.raises(InputError, match="ViTModel cannot read a text of a few tokens"):
        survey(hf.ViTModel(config))

"""Operations, bytes and seconds by the shape of a model: counted, and of what really has it."""

import math
import sys
from pathlib import Path

import pandas as pd
import pytest
import torch
import transformers
from hypothesis import given
from hypothesis import strategies as st
from tiny_models import tiny_model

from ethical_compression.compress import checkpoint, gptq, in_order
from ethical_compression.errors import InputError
from ethical_compression.metrics import costs
from ethical_compression.metrics.costs import SHAPES, Rates, Shape, Work

sys.path.insert(0, str(Path(__file__).parents[2]))
from benchmarks.gptq import operations

MACHINE = Rates(1e11, 5e10, 2e11, 1e10, 1e9)


def config(shape: Shape) -> transformers.LlamaConfig:
    return transformers.LlamaConfig(
        num_hidden_layers=shape.layers,
        hidden_size=shape.width,
        intermediate_size=shape.inner,
        num_attention_heads=shape.heads,
        num_key_value_heads=shape.kv_heads,
        head_dim=shape.head,
        vocab_size=shape.vocabulary,
        tie_word_embeddings=shape.tied,
    )


TIED = Shape(3, 64, 160, 8, 2, 16, 100, tied=True)


@pytest.mark.parametrize("shape", [*SHAPES.values(), TIED], ids=[*SHAPES, "tied"])
def test_parameters_are_those_of_transformers(shape):
    with torch.device("meta"):
        model = transformers.LlamaForCausalLM(config(shape))
    assert costs.parameters(shape) == model.num_parameters()
    block = sum(p.numel() for p in model.model.layers[0].parameters() if p.dim() == 2)
    assert costs.block_weights(shape) == block


def test_shapes_are_read_off_a_configuration():
    for shape in (*SHAPES.values(), TIED):
        assert costs.shape_of(config(shape)) == shape
    with pytest.raises(InputError, match="gpt2"):
        costs.shape_of(transformers.GPT2Config())


def tiny() -> tuple[torch.nn.Module, Shape]:
    model = tiny_model("llama", width=64)
    return model, costs.shape_of(model.config)


def test_operations_of_gptq_are_those_that_the_benchmark_counts():
    model, shape = tiny()
    tokens = torch.randint(5, 200, (3, 16))
    parts = costs.gptq(shape, tokens.numel(), 16)
    attention = costs.reading(shape, Work(48, 48 * 16))["attention"]
    assert sum(parts.values()) - attention == operations(model, tokens)


def test_operations_of_reading_are_those_that_torch_counts():
    from torch.utils.flop_counter import FlopCounterMode

    model, shape = tiny()
    model.set_attn_implementation("eager")
    ids = torch.randint(5, 200, (2, 16))
    with FlopCounterMode(display=False) as seen, torch.no_grad():
        model(input_ids=ids)
    parts = costs.reading(shape, Work(32, 2 * 16**2, 32, 1))
    # The angles of the positions are products, too: one a number and token.
    angles = 2 * 16 * shape.head // 2
    assert 0 <= seen.get_total_flops() - sum(parts.values()) <= 2 * angles


@pytest.mark.parametrize(("bits", "group_size"), [(4, 32), (8, 64), (4, 128)])
def test_bytes_of_a_checkpoint_are_those_of_its_tensors(tmp_path, bits, group_size):
    from safetensors.torch import load_file

    model = tiny_model("llama", width=64, tie_word_embeddings=True).half()
    shape = costs.shape_of(model.config)
    weights = gptq.quantize_model(
        model.float(), [torch.randint(5, 200, (1, 32))], bits=bits, group_size=group_size
    )
    checkpoint.save_gptq(tmp_path / "left", model.half(), None, weights)
    state = load_file(tmp_path / "left" / "model.safetensors")
    held = sum(one.numel() * one.element_size() for one in state.values())
    assert costs.checkpoint_bytes(shape, bits, group_size) == held


def test_room_for_gptq_is_what_it_refuses_to_begin_without(monkeypatch):
    model, shape = tiny()
    needed = costs.gptq_bytes(shape, 4 * 16, "float32")
    inputs = [torch.randint(5, 200, (4, 16))]
    for free, refused in ((needed, False), (needed - 1, True)):
        monkeypatch.setattr(in_order, "free_memory", lambda _, free=free: free)
        if refused:
            with pytest.raises(InputError, match="to be solved"):
                gptq.quantize_model(model, inputs, bits=4, group_size=32)
        else:
            gptq.quantize_model(model, inputs, bits=4, group_size=32)


shapes = st.builds(
    lambda layers, head, kv, groups, inner, words, tied: Shape(
        layers, head * kv * groups, 32 * inner, kv * groups, kv, head, words, tied
    ),
    *(st.integers(1, 6) for _ in range(2)),
    *(st.integers(1, 4) for _ in range(2)),
    st.integers(1, 9),
    st.integers(1, 300),
    st.booleans(),
)
works = st.builds(Work, *(st.integers(0, 10**6) for _ in range(4)))


@given(shapes, works, works)
def test_operations_of_two_texts_add_up(shape, one, other):
    both = costs.reading(shape, Work(*map(sum, zip(one, other, strict=True))))
    apart = costs.reading(shape, one), costs.reading(shape, other)
    assert both == {part: apart[0][part] + apart[1][part] for part in both}


@given(shapes, works, st.sampled_from(["layers", "inner", "vocabulary"]))
def test_more_of_anything_never_costs_less(shape, work, what):
    larger = shape._replace(**{what: getattr(shape, what) + 32})
    assert costs.parameters(larger) > costs.parameters(shape)
    for dtype in costs.BYTES:
        assert costs.weight_bytes(larger, dtype) > costs.weight_bytes(shape, dtype)
    assert costs.checkpoint_bytes(larger, 4, 32) > costs.checkpoint_bytes(shape, 4, 32)
    times = [
        costs.reading_seconds(one, work, 1e11, "float32", 1e10)
        + sum(costs.solving_seconds(one, 1 + work.tokens, 64, MACHINE))
        for one in (shape, larger)
    ]
    assert times[0] <= times[1]


@given(shapes, st.integers(1, 10**6), st.integers(1, 10**6), st.integers(1, 512))
def test_reading_and_hessians_of_gptq_add_up_in_tokens_and_the_rest_does_not_ask(
    shape, one, other, window
):
    both, first, second = (costs.gptq(shape, n, window) for n in (one + other, one, other))
    for part in ("reading", "Hessians"):
        assert both[part] == first[part] + second[part]
    for part in ("factors", "updates"):
        assert both[part] == first[part]


@given(shapes, st.integers(1, 10**5))
def test_a_block_at_a_time_never_takes_more_than_the_whole(shape, tokens):
    peak = costs.peak_memory(shape, tokens, "float16")
    assert 0 < peak["by_block"] <= peak["whole"]


def test_whatever_takes_longer_decides():
    assert costs.seconds(100, 10) == 10
    assert costs.seconds(100, 10, 50, 10) == 10
    assert costs.seconds(100, 10, 500, 10) == 50
    with pytest.raises(InputError, match="rates"):
        costs.seconds(1, 0)
    with pytest.raises(InputError, match="int8"):
        costs.weight_bytes(TIED, "int8")


COUNTS = pd.DataFrame(
    {"dtype": ["float32", "bfloat16"], "tokens": [10**6, 10**5], "pairs": [10**8, 10**7]}
    | {"places": [10**5, 10**4], "passes": [10**3, 10**2]}
)


def test_noise_is_read_at_its_own_rate_and_of_models_in_float32_alone():
    shape = SHAPES["Llama 2 7B"]
    main, noise = (
        sum(costs.reading(shape, costs.total_work(COUNTS[k : k + 1])).values()) for k in (0, 1)
    )
    assert costs.audit_seconds(shape, COUNTS, "float32", MACHINE) == pytest.approx(
        main / 1e11 + noise / 2e11
    )
    fast = MACHINE._replace(bandwidth=1e15)
    assert costs.audit_seconds(shape, COUNTS, "float16", fast) == pytest.approx(main / 1e11)


BESIDE = pd.DataFrame(
    {
        "what": ["bebe", "TinyLlama 1.1B", "TinyLlama 1.1B", "Llama 2 7B"],
        "did": ["text", "block", "gptq", "block"],
        "billions": [0.005, 1.1, 1.1, 6.7],
        "measured": [3.0, 1.5, 6.0, 1.2],
        "formula": [1.0, 1.0, 2.0, 1.0],
        "fixed": [math.nan, math.nan, 1.0, math.nan],
        "ratio": [3.0, 1.5, 3.0, 1.2],
    }
)


def test_what_was_timed_stands_beside_the_formula():
    text, block = Work(100, 10**4, 50, 1), Work(256, 256**2, 0, 1)
    timed = [
        {"what": "Llama 2 7B", "did": "text", "work": text, "window": 100, "measured": 60.0},
        {"what": "Llama 2 7B", "did": "block", "work": block, "window": 256, "measured": 4.0},
        {"what": "Llama 2 7B", "did": "gptq", "work": block, "window": 256, "measured": 90.0},
    ]
    found = costs.beside_formula(timed, SHAPES, MACHINE, "float32")
    shape = SHAPES["Llama 2 7B"]
    one = shape._replace(layers=1)
    assert list(found["formula"]) == [
        costs.reading_seconds(shape, text, 1e11, "float32", 1e10),
        costs.reading_seconds(one, block, 1e11, "float32", 1e10),
        sum(costs.solving_seconds(one, 256, 256, MACHINE)),
    ]
    assert found["fixed"][2] == costs.solving_seconds(one, 256, 256, MACHINE)[1]
    assert list(found["ratio"]) == list(found["measured"] / found["formula"])
    assert list(found["tokens"]) == [100, 256, 256]
    assert not len(costs.beside_formula([], SHAPES, MACHINE, "float32"))


def test_what_was_not_measured_takes_the_ratio_of_the_largest_that_was():
    assert costs.factor(BESIDE, "block", "TinyLlama 1.1B") == (1.5, True)
    assert costs.factor(BESIDE, "block", "Llama 2 70B") == (1.2, False)
    # Of 6 seconds, 1.5 × 1 are for reading, and the rest for what is 1 by the formula.
    assert costs.factor(BESIDE, "gptq", "TinyLlama 1.1B") == (4.5, True)
    assert costs.factor(BESIDE, "gptq", "Llama 2 7B") == (4.5, False)
    assert costs.factor(BESIDE[:1], "gptq", "Llama 2 7B") == (1.0, False)


def test_a_row_a_size_says_what_is_measured_and_what_it_costs():
    how = {"tokens": 1000, "window": 100, "dtype": "float32", "price": 2.0}
    sizes = costs.of_sizes(SHAPES, BESIDE, COUNTS, MACHINE, **how).set_index("model")
    assert list(sizes["audit_measured"]) == [True, True, False, False]
    assert list(sizes["gptq_measured"]) == [True, False, False, False]
    shape, row = SHAPES["Llama 2 13B"], sizes.loc["Llama 2 13B"]
    loading = 2 * costs.weight_bytes(shape, "float32") / 1e9
    plain = costs.audit_seconds(shape, COUNTS, "float32", MACHINE)
    assert row["audit"] * 3600 == pytest.approx(1.2 * plain + loading)
    grows, fixed = costs.solving_seconds(shape, 1000, 100, MACHINE)
    assert row["gptq"] * 3600 == pytest.approx(1.2 * grows + 4.5 * fixed + loading / 2)
    assert row["audit_formula"] * 3600 == pytest.approx(plain + loading)
    assert row["price"] == pytest.approx(2 * (row["audit"] + row["gptq"]))
    assert row["gb_16"] > row["gb_8"] > row["gb_4"] > row["gb_16"] / 4
    columns = sizes[["gb_16", "gb_8", "gb_4", "whole", "by_block", "gptq", "audit", "price"]]
    assert columns.diff()[1:].gt(0).all(axis=None)


def test_what_was_measured_and_other_machines_stand_beside_the_formula():
    how = {"tokens": 1000, "window": 100, "dtype": "float32"}
    sizes = costs.of_sizes(SHAPES, BESIDE, COUNTS, MACHINE, **how)
    every = SHAPES | {"bebe": TIED}
    found = costs.against_size(sizes, BESIDE, every, COUNTS, "float32", MACHINE, {"fast": 1e14})
    assert found.groupby("by")["what"].agg(list).to_dict() == {
        "formula": ["bebe", *SHAPES],
        "measured": ["bebe", "TinyLlama 1.1B", "Llama 2 7B"],
        "fast": ["bebe", *SHAPES],
    }
    hours = found.set_index(["by", "what"])["hours"]
    assert hours["measured", "Llama 2 7B"] == pytest.approx(sizes["audit"][1])
    assert (hours["fast"] < hours["formula"]).all()

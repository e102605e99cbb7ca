"""Contrast pairs: which tokens are compared, and what is gathered of them, however they come."""

import itertools

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tiny_models import FAMILIES, tiny_model

from ethical_compression.compress import hessian, pairs
from ethical_compression.compress.blocks import stream_blocks
from ethical_compression.errors import InputError

SENTENCES = st.lists(st.integers(3, 9), min_size=1, max_size=8)
PAIRS = [
    ([5, 6, 7, 8, 9], [5, 6, 11, 8, 9]),
    ([20, 21, 22], [20, 30, 31, 32, 22]),
    ([40, 41, 42, 43], [40, 41, 42, 50]),
    ([60, 61], [62, 61]),
]


@given(SENTENCES, SENTENCES)
def test_aligned_positions_are_in_order_and_meet_the_shared_ends(one, other):
    places = pairs.align(one, other)
    assert len(places) == min(len(one), len(other))
    for (a, b), (c, d) in itertools.pairwise(places):
        assert c > a and d > b
    # Nothing is compared across: each place is as far from its sentence's beginning, or its end.
    assert all(a == b or len(one) - a == len(other) - b for a, b in places)
    differing = pairs.align(one, other, "differing")
    assert set(differing) <= set(places)
    assert all(one[a] == other[b] for a, b in set(places) - set(differing))
    assert pairs.align(one, one, "differing") == []


def test_the_three_choices_of_positions():
    one, other = [1, 2, 3, 9, 5, 6], [1, 2, 4, 5, 6]
    assert pairs.align(one, other) == [(0, 0), (1, 1), (3, 2), (4, 3), (5, 4)]
    assert pairs.align(one, other, "differing") == [(3, 2)]
    assert pairs.align(one, other, "start") == [(i, i) for i in range(5)]
    with pytest.raises(InputError, match="choice of positions"):
        pairs.align(one, other, "end")


def gathered(model, tokens, **how):
    """{weight: Contrasted} of the first block."""
    scaling = how.pop("scaling", "per-pair")
    batches = pairs.of_tokens(tokens, **how)
    gather = pairs.gatherer(batches, {"self_attn.o_proj", "mlp.down_proj"}, scaling=scaling)
    _, block, calls = next(stream_blocks(model, [batch.ids for batch in batches]))
    return hessian.hessians(block, calls, gather)


def by_hand(model, tokens, positions="aligned", weights=None):
    """(H, H₀₁/α) of the first block's `o_proj` by their definition, a sentence at a time."""
    fed = []
    layer = model.model.layers[0].self_attn.o_proj
    hook = layer.register_forward_pre_hook(lambda _, args: fed.append(args[0][0].double()))
    with torch.no_grad():
        for pair in tokens:
            for sentence in pair:
                model(input_ids=torch.tensor([sentence]))
    hook.remove()
    total = sum(len(one) + len(other) for one, other in tokens)
    h = sum(x.T @ x for x in fed) * 2 / total
    h01 = torch.zeros_like(h)
    for k, pair in enumerate(tokens):
        for a, b in pairs.align(*pair, positions):
            difference = fed[2 * k][a] - fed[2 * k + 1][b]
            weight = 1 if weights is None else weights[k]
            h01 += weight * torch.outer(difference, difference) * 2 / total
    return h, h01


def test_what_one_layer_is_fed_gives_the_same_matrices_however_wide_it_is(monkeypatch):
    monkeypatch.setattr(hessian, "STRIPE", 8)  # narrower than the layer, as 288 is in a real model
    model, batches = tiny_model("llama"), pairs.of_tokens(PAIRS)
    name = "model.layers.0.self_attn.o_proj"
    fed = pairs.fed_with(model, batches, name)
    for found in (
        pairs.contrasted(fed, batches, name)[0],
        gathered(model, PAIRS)["self_attn.o_proj"],
    ):
        for one, expected in zip((found.matrix, found.h01), by_hand(model, PAIRS), strict=True):
            torch.testing.assert_close(one.double(), expected, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("positions", pairs.POSITIONS)
def test_what_is_gathered_is_the_definition(positions):
    model = tiny_model("llama")
    found = gathered(model, PAIRS, positions=positions)["self_attn.o_proj"]
    h, h01 = by_hand(model, PAIRS, positions)
    assert torch.allclose(found.matrix.double(), h, atol=1e-5 * float(h.abs().max()))
    assert torch.allclose(found.h01.double(), h01, atol=1e-5 * float(h01.abs().max()))
    assert found.count == found.tokens == sum(len(a) + len(b) for a, b in PAIRS)


@pytest.mark.parametrize("positions", pairs.POSITIONS)
def test_one_layer_looked_at_is_known_as_by_the_walk_and_its_differences_pair_by_pair(positions):
    model, name = tiny_model("llama"), "model.layers.0.self_attn.o_proj"
    after = []
    model.lm_head.register_forward_hook(lambda *_: after.append(True))
    # The rows of one choice of positions serve any other.
    rows = pairs.fed_with(model, pairs.of_tokens(PAIRS, size=2, positions="differing"), name)
    found, apart, whose = pairs.contrasted(
        rows, pairs.of_tokens(PAIRS, size=2, positions=positions), name
    )
    h, h01 = by_hand(model, PAIRS, positions)
    assert torch.allclose(found.matrix.double(), h, atol=1e-5 * float(h.abs().max()))
    assert torch.allclose(found.h01.double(), h01, atol=1e-5 * float(h01.abs().max()))
    total = sum(len(one) + len(other) for one, other in PAIRS)
    assert torch.allclose(2 / total * apart.T @ apart, found.h01, atol=1e-6)
    counts = [len(pairs.align(*pair, positions)) for pair in PAIRS]
    assert torch.bincount(whose, minlength=len(PAIRS)).tolist() == counts
    # What comes after the layer was computed for the check by hand alone, sentence by sentence.
    assert len(after) == 2 * len(PAIRS)
    assert not model.get_submodule(name)._forward_pre_hooks


def test_only_the_chosen_weights_have_a_contrast():
    found = gathered(tiny_model("llama"), PAIRS)
    assert {name for name, one in found.items() if one.contrast} == {
        "self_attn.o_proj",
        "mlp.down_proj",
    }
    assert len(found) == 7


@settings(max_examples=25, deadline=None)
@given(
    tokens=st.lists(
        st.tuples(*[st.lists(st.integers(3, 199), min_size=1, max_size=6)] * 2),
        min_size=1,
        max_size=5,
    ),
    size=st.integers(1, 5),
    length=st.integers(1, 12),
    data=st.data(),
)
def test_order_batching_and_padding_change_nothing(tokens, size, length, data):
    model = tiny_model("llama").double()
    plain = gathered(model, tokens, size=1)
    mixed = gathered(model, data.draw(st.permutations(tokens)), size=size, length=length)
    for name, one in plain.items():
        other = mixed[name]
        scale = float(one.matrix.abs().max())
        assert torch.allclose(one.matrix, other.matrix, atol=1e-5 * scale)
        assert (one.contrast is None) == (other.contrast is None)
        if one.contrast:
            assert torch.allclose(one.h01, other.h01, atol=1e-5 * scale)


def test_the_released_sum_depends_on_the_order_and_the_exact_one_does_not():
    model = tiny_model("llama")
    name = "self_attn.o_proj"
    for scaling, weights in (("fair-gptq", [2, 2, 2, 2]), ("debias-sparsegpt", [2, 4, 6, 8])):
        found = gathered(model, PAIRS, scaling=scaling)[name].h01.double()
        _, expected = by_hand(model, PAIRS, weights=weights)
        assert torch.allclose(found, expected, atol=1e-5 * float(expected.abs().max()))
        turned = gathered(model, PAIRS[::-1], scaling=scaling)[name].h01.double()
        # Far beyond what rounding would change.
        changed = float((turned - found).abs().max() / found.abs().max())
        assert changed > 0.1 if scaling == "debias-sparsegpt" else changed < 1e-5


def test_text_gives_the_hessian_and_pairs_the_contrast():
    model = tiny_model("llama")
    text = [torch.randint(3, 200, (2, 16), generator=torch.Generator().manual_seed(0))]
    batches = pairs.of_tokens(PAIRS)
    gather = pairs.gatherer(batches, {"self_attn.o_proj"}, texts=1)
    _, block, calls = next(stream_blocks(model, [*text, *(b.ids for b in batches)]))
    found = hessian.hessians(block, calls, gather)
    alone = hessian.hessians(block, calls[:1])
    assert all(torch.equal(found[name].matrix, one.matrix) for name, one in alone.items())
    expected = by_hand(model, PAIRS)[1]
    scale = float(expected.abs().max())
    assert torch.allclose(found["self_attn.o_proj"].h01.double(), expected, atol=1e-5 * scale)


@pytest.mark.parametrize("family", FAMILIES)
def test_output_projections_are_the_two_last_products_of_attention_and_feed_forward(family):
    ends = {
        "gpt2": ("attn.c_proj", "mlp.c_proj"),
        "opt": ("self_attn.out_proj", "fc2"),
        "bloom": ("self_attention.dense", "mlp.dense_4h_to_h"),
    }.get(family, ("self_attn.o_proj", "mlp.down_proj"))
    found = pairs.output_projections(tiny_model(family))
    assert len(found) == 4 and all(name.endswith(ends) for name in found)


@pytest.mark.parametrize(
    ("depth", "blocks"),
    [("all", range(12)), ("lower", (0, 1)), ("upper", (10, 11)), ("both", (0, 11))],
)
def test_depths(depth, blocks):
    model = tiny_model("llama", num_hidden_layers=12)
    found = {int(name.split(".")[2]) for name in pairs.output_projections(model, depth)}
    assert found == set(blocks)


def test_input_errors():
    with pytest.raises(InputError, match="at least one pair"):
        pairs.of_tokens([])
    with pytest.raises(InputError, match="at least one token"):
        pairs.of_tokens([([1], [])])
    with pytest.raises(InputError, match="share of 0"):
        pairs.output_projections(tiny_model("llama"), share=0)
    with pytest.raises(InputError, match="scaling of alpha"):
        pairs.gatherer(pairs.of_tokens(PAIRS), set(), scaling="twice")
    gather = pairs.gatherer(pairs.of_tokens(PAIRS), {"expert"})
    with pytest.raises(InputError, match="dense model"):
        gather(None, "expert", 0, torch.zeros(3, 4))


def test_a_model_that_reads_both_ways_is_refused():
    import transformers as hf

    for family in FAMILIES:
        pairs.check_causal(tiny_model(family))
    config = hf.BertConfig(
        vocab_size=50,
        hidden_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=32,
    )
    torch.manual_seed(0)
    with pytest.raises(InputError, match="both ways"):
        pairs.check_causal(hf.BertForMaskedLM(config).eval())

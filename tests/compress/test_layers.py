"""A model with blocks removed is the model that has only the others."""

import families
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from tiny_models import FAMILIES, tiny_model

from ethical_compression import models
from ethical_compression.compress import checkpoint, layers
from ethical_compression.errors import InputError
from ethical_compression.models.anatomy import transformer_blocks

DEPTH = {"gpt2": "n_layer", "bloom": "n_layer"}


def deep(family, seed=0):
    """A tiny model of four blocks."""
    changes = {DEPTH.get(family, "num_hidden_layers"): 4}
    if family == "gemma2":
        changes["layer_types"] = ["sliding_attention", "full_attention"] * 2
    return tiny_model(family, seed, **changes)


def tiny_bert():
    import transformers as hf

    torch.manual_seed(0)
    config = hf.BertConfig(
        vocab_size=200,
        hidden_size=32,
        num_hidden_layers=4,
        num_attention_heads=4,
        intermediate_size=64,
        max_position_embeddings=64,
        num_labels=3,
    )
    return hf.BertForSequenceClassification(config).eval()


def tiny_distilbert():
    import transformers as hf

    torch.manual_seed(0)
    config = hf.DistilBertConfig(
        vocab_size=200, dim=32, n_layers=4, n_heads=4, hidden_dim=64, max_position_embeddings=64
    )
    return hf.DistilBertForSequenceClassification(config).eval()


MAKERS = {
    **{family: lambda family=family: deep(family) for family in FAMILIES},
    "bert": tiny_bert,
    "distilbert": tiny_distilbert,
}


@pytest.mark.parametrize("family", MAKERS)
def test_the_shorter_model_is_the_full_one_with_blocks_passed_over(family, tmp_path):
    full, short = MAKERS[family](), MAKERS[family]()
    layers.remove(short, [1, 2])
    ids = torch.randint(3, 200, (2, 12), generator=torch.Generator().manual_seed(0))
    # The referee: the full model, its second and third blocks handing their input on unchanged.
    for index in (1, 2):
        block = transformer_blocks(full)[index]
        plain = block.forward

        def passed_over(hidden_states, *args, plain=plain, **kwargs):
            output = plain(hidden_states, *args, **kwargs)
            return (hidden_states, *output[1:]) if isinstance(output, tuple) else hidden_states

        block.forward = passed_over
    with torch.no_grad():
        expected, found = full(input_ids=ids).logits, short(input_ids=ids).logits
    assert len(transformer_blocks(short)) == short.config.num_hidden_layers == 2
    assert torch.allclose(found, expected, atol=1e-5)
    short.save_pretrained(tmp_path)
    with torch.no_grad():
        again = type(short).from_pretrained(tmp_path).eval()(input_ids=ids).logits
    assert torch.allclose(again, found, atol=1e-6)


@pytest.mark.parametrize("family", FAMILIES)
def test_the_shorter_model_generates_with_its_cache_as_without(family):
    model = deep(family)
    layers.remove(model, [0, 2])
    ids = torch.randint(3, 200, (1, 6), generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        plain = model(input_ids=ids, use_cache=False).logits
        first = model(input_ids=ids[:, :4], use_cache=True)
        rest = model(input_ids=ids[:, 4:], past_key_values=first.past_key_values).logits
    assert torch.allclose(rest, plain[:, 4:], atol=1e-4)


# What families say layer by layer: kinds under several names, kinds that come again, numbers of
# layers, how many are first, in a configuration within another, and numbers kept by the modules.
@pytest.mark.parametrize(
    ("family", "gone", "said"),
    [
        ("gpt_neo", [1], {"attention_layers": ["global", "global", "local"]}),
        ("gemma3", [2], {"layer_types": ["sliding_attention"] * 3}),
        ("deepseek_v3", [0], {"first_k_dense_replace": 0}),
        ("llama4", [1], {"moe_layers": [0, 1, 2], "no_rope_layers": [1, 1, 0]}),
        ("recurrent_gemma", [1], {"block_types": ["recurrent", "recurrent", "attention"]}),
        ("bart_decoder", [1], {"decoder_layers": 3}),
        ("gemma3_nested", [1], {}),
        ("fuyu", [1], {}),
    ],
)
def test_all_that_is_said_layer_by_layer_follows(family, gone, said, tmp_path):
    model = families.make(family)
    layers.remove(model, gone)
    config = model.config.get_text_config()
    assert len(transformer_blocks(model)) == 3
    for name, value in said.items():
        assert getattr(config, name) == value
    model.save_pretrained(tmp_path)
    checkpoint.check(tmp_path, checkpoint.said_by(model))
    if family == "bart_decoder":  # does not generate with a cache, whole or not
        return
    again = models.of_folder(tmp_path)
    ids = torch.randint(3, 200, (1, 12), generator=torch.Generator().manual_seed(1))
    tokens = [
        again.generate(
            ids,
            attention_mask=torch.ones_like(ids),
            max_new_tokens=4,
            do_sample=False,
            use_cache=use_cache,
            eos_token_id=None,
            pad_token_id=0,
        )
        for use_cache in (True, False)
    ]
    assert torch.equal(*tokens)


@given(st.integers(1, 40).flatmap(lambda n: st.tuples(st.just(n), st.integers(0, n - 1))))
def test_positions_are_runs_at_their_ends(counts):
    total, remove = counts
    bottom, middle, upper = (layers.chosen(total, remove, p) for p in layers.POSITIONS[:3])
    assert bottom == list(range(remove))
    assert upper == list(range(total - remove, total))
    assert len(middle) == remove
    if remove:
        below, above = middle[0], total - 1 - middle[-1]
        assert middle == list(range(middle[0], middle[-1] + 1)) and 0 <= above - below <= 1


def test_a_block_that_does_nothing_contributes_least():
    model = deep("llama")
    block = transformer_blocks(model)[2]
    for layer in (block.self_attn.o_proj, block.mlp.down_proj):
        layer.weight.data.zero_()
    inputs = [torch.randint(3, 200, (2, 12), generator=torch.Generator().manual_seed(0))]
    found = layers.contributions(model, inputs)
    assert found[2] == pytest.approx(0, abs=1e-6)
    assert min(found[:2] + found[3:]) > 1e-3
    assert layers.least(found, 1) == [2]
    # The referee: the hidden states that the model itself hands out.
    with torch.no_grad():
        states = model(inputs[0], output_hidden_states=True).hidden_states
    cosine = torch.cosine_similarity(states[0], states[1], dim=-1).mean()
    assert found[0] == pytest.approx(1 - float(cosine), abs=1e-6)


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: layers.chosen(12, 12, "upper"), "at least one must stay"),
        (lambda: layers.chosen(12, 2, "top"), "choose bottom, middle or upper"),
        (lambda: layers.remove(deep("llama"), [4]), "There is no layer 4: this model has 4"),
        (lambda: layers.remove(deep("llama"), [0, 1, 2, 3]), "at least one must stay"),
        (lambda: layers.remove(torch.nn.Linear(2, 2), [0]), "no stack of blocks"),
        # Where the depth of a layer is part of what it computes.
        *[
            (lambda f=family, g=gone: layers.remove(families.make(f), [g]), words)
            for family, gone, words in (
                ("gpt2_scaled", 0, "attn.scaling would be"),
                ("diffllama", 1, "lambda_init would be"),
                ("minicpm3", 1, "residual_scale would be"),
                (
                    "modernbert_decoder",
                    0,
                    "its configuration asks for another model.layers.0.attn_norm",
                ),
                ("rwkv", 0, "pre_ln"),
                ("jamba", 1, "its configuration asks for another model.layers.1"),
                ("gemma4", 1, "embed_tokens_per_layer"),
            )
        ],
    ],
)
def test_what_cannot_be_removed_is_one_sentence(call, words):
    with pytest.raises(InputError, match=words):
        call()


def test_rounding_is_that_of_the_models_own_data_type():
    one = torch.linspace(-3, 3, 60).reshape(3, 20)
    rounded = one + 0.01 * one.roll(7)
    assert layers._near(one, rounded, torch.bfloat16)
    assert not layers._near(one, rounded, torch.float16)
    assert not layers._near(one, one.roll(7), torch.bfloat16)

"""What is known of a model before it is run: its bounds by any name, its head by trying it."""

import families
import numpy as np
import peft
import pytest
import torch
import transformers as hf
from test_loglikelihood import TEXT, plain_pass, tiny_tokenizer
from tiny_models import tiny_model

from ethical_compression.errors import InputError
from ethical_compression.kernels.logprob import linear_logprob
from ethical_compression.score import divergence, generation, layouts, loglikelihood, networks
from ethical_compression.score.tokens import Encoded, Request


def draw(n, seed=0):
    return np.random.default_rng(seed).integers(3, 200, n).tolist()


def close(model, encoded, **options):
    found = loglikelihood.score_encoded(model, encoded, **options)
    for one, start in zip(encoded, found.starts, strict=False):
        logp, entropy, _ = plain_pass(model, one.ids, one.scored)
        part = slice(start, start + one.scored)
        np.testing.assert_allclose(found.logprob[part], logp, atol=1e-4)
        np.testing.assert_allclose(found.entropy[part], entropy, atol=1e-4)


def branching(context, options=6, length=12):
    stem = draw(context)
    return [Encoded([*stem, *draw(length, 1 + i)], length) for i in range(options)]


# --- Windows and lengths --------------------------------------------------------------------------


@pytest.mark.parametrize(
    "name",
    [
        "mistral_window",
        "gemma2",
        "gemma3",
        "gemma3_nested",
        "llama4",
        "gpt_neo",
        "recurrent_gemma",
        "reformer",
        "gpt_oss",
        "cohere2",
        "qwen2_window",
    ],
)
def test_a_window_is_seen_by_any_name(name):
    assert networks.attention_window(families.make(name)) == families.WINDOW


def test_a_window_of_some_layers_counts_and_a_pattern_of_layers_is_none():
    model = tiny_model("llama")
    assert networks.attention_window(model) is None
    model.config.window_layers = [3, 4]
    assert networks.attention_window(model) is None  # the name of which layers
    model.config.attention_windows = [None, 48, 16]
    model.config.sliding_window_pattern = 6
    assert networks.attention_window(model) == 16


@pytest.mark.parametrize(("context", "options"), [(300, 4), (60, 40)])
def test_gpt_neo_counts_its_window_by_place_in_the_row(context, options):
    """As large as the real one's: rows of 512 would push ancestors out of 256 places."""
    torch.manual_seed(0)
    config = hf.GPTNeoConfig(
        vocab_size=200,
        hidden_size=32,
        num_layers=2,
        num_heads=4,
        window_size=256,
        attention_types=[[["global", "local"], 1]],
        intermediate_size=64,
        bos_token_id=1,
        eos_token_id=2,
    )
    model = hf.GPTNeoForCausalLM(config).eval()
    for parameter in model.parameters():
        if parameter.dim() > 1:
            torch.nn.init.normal_(parameter, std=0.3)
    close(model, branching(context, options))


class Hidden(hf.GPTNeoConfig):
    """A window whose name says nothing."""

    model_type = "hidden"

    def to_dict(self):
        kept = super().to_dict()
        return {key: value for key, value in kept.items() if key != "window_size"}


def test_a_window_that_the_config_does_not_tell_is_seen_by_trying():
    model = families.make("gpt_neo", window_size=32)
    model.config.__class__ = Hidden
    assert networks.attention_window(model) is None
    assert layouts.usable(model, 16, 24)[0] == "tree"
    assert layouts.usable(model, 40, 100) == ("plain",)
    close(model, branching(10, 40, 6))


@pytest.mark.parametrize(
    ("heads", "width", "std", "seed"),
    [(16, 128, 0.8, 2), (8, 64, 0.5, 3), (16, 128, 0.2, 0), (4, 32, 0.3, 1)],
)
def test_positions_by_index_never_pass_for_positions_by_depth(heads, width, std, seed):
    model = families.make(
        "mpt", seed, std=std, n_heads=heads, d_model=width, n_layers=2, max_seq_len=2048
    )
    assert layouts.usable(model) == ("plain",)


@pytest.mark.parametrize("std", [0.02, 0.1])
@pytest.mark.parametrize("name", ["jamba", "bamba", "lfm2", "qwen3_next", "rwkv", "minimax"])
def test_recurrence_is_seen_though_the_weights_are_small(name, std):
    assert layouts.usable(families.make(name, std=std)) == ("plain",)
    close(families.make(name, std=0.005), branching(20))  # where rounding hides it, scores agree


@pytest.mark.parametrize("name", ["gpt2", "opt", "gptj", "codegen", "mpt", "bert_decoder", "xlm"])
def test_a_length_is_seen_by_any_name_and_kept_to(name):
    model = families.make(name)
    assert networks.model_length(model) == families.POSITIONS
    close(model, [Encoded(draw(families.POSITIONS + 1), 4)])
    with pytest.raises(InputError, match="more than the model's input of 128"):
        loglikelihood.score_encoded(model, [Encoded(draw(families.POSITIONS + 2), 4)])


def test_positions_that_begin_after_padding_and_towers_that_read_no_text():
    assert networks.model_length(families.make("roberta_decoder")) == families.POSITIONS - 1
    assert networks.model_length(families.make("gemma3_nested")) == families.POSITIONS
    assert networks.model_length(families.make("bloom")) is None
    assert networks.model_length(families.make("mamba")) is None
    model = families.make("mamba")
    model.config.seq_length = 77
    assert networks.model_length(model) == 77


def test_windows_of_text_longer_than_the_model_are_told():
    with pytest.raises(InputError, match=r"A window of 512 tokens is longer .* input of 64"):
        loglikelihood.score_text(tiny_model("gpt2"), tiny_tokenizer("bytes"), [TEXT])


def test_long_texts_do_not_turn_the_positions_of_short_ones():
    """LongRoPE: the longest text of a batch decides how the positions of all are turned."""
    rope = {
        "rope_type": "longrope",
        "rope_theta": 10000.0,
        "short_factor": [1.0] * 8,
        "long_factor": [4.0] * 8,
        "original_max_position_embeddings": 32,
    }
    model = families.make("phi3", rope_parameters=rope, original_max_position_embeddings=32)
    assert networks.rotation_border(model) == 32
    stem = draw(45)
    asked = [Encoded([*stem[:n], *draw(5, n)], 5) for n in (20, 22, 24, 26, 27, 28, 29, 40, 44)]
    asked += [Encoded(draw(50, 3), 5), Encoded(draw(20, 4), 19), Encoded([*stem, 7, 8, 9], 3)]
    for layout in (None, "plain"):
        close(model, asked, layout=layout)
    model.generation_config.eos_token_id = model.config.eos_token_id = None
    tokenizer = tiny_tokenizer("bytes")
    prompts = [TEXT[:90], "the cat", TEXT[:160]]
    said = generation.generate(model, tokenizer, prompts, length=12, temperature=0)
    for number, ids in enumerate(generation.prompt_ids(tokenizer, prompts)):
        mine = said[said["prompt"] == number]
        whole = [*ids, *mine["token_id"]]
        for position, value in enumerate(mine["logprob"]):
            end = len(ids) + position + 1
            assert value == pytest.approx(plain_pass(model, whole[:end], 1)[0][0], abs=1e-4)


# --- Rounding -------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["lfm2_moe", "mixtral", "qwen2_moe", "granitemoe"])
def test_a_token_that_goes_to_another_expert_is_rounding(name):
    model = families.make(name, dtype=torch.bfloat16)
    assert layouts.probe(model).noise < 0.1
    assert generation.remembers(model)


# --- The output head ------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize(
    ("name", "scale", "softcap"),
    [
        ("llama", 1, None),
        ("cohere", 0.25, None),
        ("granite", 0.25, None),
        ("falcon_h1", 0.5, None),
        ("minicpm3", 4, None),
        ("gemma2", 1, 30),
        ("recurrent_gemma", 1, 30),
        ("xlstm", 1, 30),
        ("nanochat", 1, 15),
    ],
)
def test_scale_and_soft_cap_are_measured_whatever_they_are_called(name, scale, softcap, dtype):
    if name == "xlstm" and dtype != torch.float32:
        pytest.skip("xLSTM's own code runs in float32 only")
    head = networks.output_head(families.make(name, dtype=dtype))
    assert (head.scale, head.softcap) == (scale, softcap)


@pytest.mark.parametrize("size", [0.02, 1, 20])
def test_a_soft_cap_holds_at_any_size_of_the_logits(size):
    """RecurrentGemma with logits from far below its cap to far beyond it."""
    model = families.make("recurrent_gemma")
    with torch.no_grad():
        model.get_output_embeddings().weight.mul_(size)
    close(model, branching(9))


class Squared(torch.nn.Linear):
    def forward(self, states):
        return super().forward(states) ** 2


class Doubled(torch.nn.Linear):
    def forward(self, states):
        return 2 * super().forward(states)


@pytest.mark.parametrize(("kind", "own"), [(Squared, True), (Doubled, False)])
def test_a_head_of_its_own_is_run_as_it_is(kind, own):
    model = tiny_model("llama")
    weight = model.lm_head.weight
    model.lm_head = kind(weight.shape[1], weight.shape[0], bias=False)
    model.lm_head.weight = weight
    assert (networks.output_head(model) is None) == own
    for layout in layouts.usable(model, 21, 40):
        close(model, branching(9), layout=layout)
    if own:
        requests = [Request("the cat", " sat")]
        with pytest.raises(InputError, match="makes its logits by more than"):
            divergence.vocabulary_distances(model, model, tiny_tokenizer("bytes"), requests)


# --- Wrapped models, and those with an encoder ----------------------------------------------------


def test_a_model_in_peft_is_scored_and_continued_with_its_adapters():
    plain = tiny_model("llama")
    wrapped = peft.get_peft_model(tiny_model("llama"), peft.LoraConfig(target_modules=["q_proj"]))
    for name, parameter in wrapped.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(parameter, std=0.3)
    wrapped.eval()
    close(wrapped, branching(9))
    found, other = (
        loglikelihood.score_encoded(one, branching(9)).logprob for one in (wrapped, plain)
    )
    assert np.abs(found - other).max() > 0.1
    tokenizer = tiny_tokenizer("bytes")
    options = {"length": 5, "temperature": 0}
    texts = [
        generation.generate(model, tokenizer, ["the cat", "the"], **options)["token_id"].tolist()
        for model in (wrapped, wrapped.merge_and_unload())
    ]
    assert texts[0] == texts[1]


def test_a_learnt_prompt_and_an_encoder_are_one_sentence():
    tokenizer = tiny_tokenizer("bytes")
    prompt = peft.PromptTuningConfig(task_type="CAUSAL_LM", num_virtual_tokens=3)
    shape = {"d_model": 16, "encoder_layers": 1, "decoder_layers": 1, "vocab_size": 200}
    heads = {"encoder_attention_heads": 2, "decoder_attention_heads": 2}
    both = hf.BartForConditionalGeneration(hf.BartConfig(**shape, **heads)).eval()
    for model, said in (
        (peft.get_peft_model(tiny_model("llama"), prompt), "learnt prompt"),
        (both, "has an encoder"),
    ):
        with pytest.raises(InputError, match=said):
            loglikelihood.loglikelihoods(model, tokenizer, [Request("the cat", " sat")])
        with pytest.raises(InputError, match=said):
            generation.generate(model, tokenizer, ["the cat"], length=2)
        with pytest.raises(InputError, match=said):
            loglikelihood.score_text(model, tokenizer, [TEXT], window=16)


@pytest.mark.parametrize("name", ["cohere", "granite", "minicpm3", "recurrent_gemma"])
def test_distances_are_between_the_models_own_distributions(name):
    """Scales and soft-caps of both heads count, in the divergence as in the gradient."""
    pair = [families.make(name, seed) for seed in (0, 1)]
    asked = branching(9)
    found = divergence.encoded_distances(*pair, asked)
    expected = []
    for one in asked:
        ids = torch.tensor([one.ids[:-1]])
        with torch.inference_mode():
            log_p, log_q = (
                model(input_ids=ids).logits[0, -one.scored :].double().log_softmax(-1)
                for model in pair
            )
        expected.append((log_p.exp() * (log_p - log_q)).sum(-1))
    np.testing.assert_allclose(found["kl_pq"], torch.cat(expected), atol=1e-4)


def test_a_scale_goes_through_the_gradient():
    hidden, weight, bias = torch.randn(5, 8), torch.randn(11, 8), torch.randn(11)
    targets = torch.arange(5)
    ours, theirs = hidden.clone().requires_grad_(), hidden.clone().requires_grad_()
    found = linear_logprob(ours, weight, targets, bias=bias, scale=0.25, softcap=3.0).logprob
    logits = 3 * torch.tanh((0.25 * theirs @ weight.T + bias) / 3)
    expected = logits.log_softmax(-1)[range(5), targets]
    torch.testing.assert_close(found, expected)
    found.sum().backward()
    expected.sum().backward()
    torch.testing.assert_close(ours.grad, theirs.grad)

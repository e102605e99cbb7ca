"""The scoring engine against float64 passes written from the definition, and against lm-eval."""

import dataclasses

import numpy as np
import pytest
import tokenizers
import torch
from hypothesis import given
from hypothesis import strategies as st
from test_token_tree import quick, sequences
from tiny_models import FAMILIES, tiny_model
from transformers import PreTrainedTokenizerFast

from ethical_compression.errors import InputError
from ethical_compression.score import layouts, loglikelihood
from ethical_compression.score.tokens import Encoded, Request

TEXT = """the cat sat on the mat. the dog saw the cat, and the cat saw the dog; then they sat there.
an unbelievable thing, thought the other: nothing is unthinkable when the weather is warm.
The answer is yes. The answer is no. Question: is it so? Answer: maybe, or maybe not at all"""

REQUESTS = [
    Request("the cat sat", " on the mat"),
    Request("the cat sat", " on the dog"),
    Request("the cat sat", " there"),
    Request("the cat sat on", " the mat"),
    Request("the cat sat  ", "on the mat"),  # spaces at the end of the context
    Request("the cat sat ", " there\n"),
    Request("", "the dog saw the cat"),  # no context
    Request("", "the dog"),
    Request(" ", "the dog"),  # a context of nothing but space
    Request("the answer is", " y"),  # a single token
    Request("the answer is", " n"),
    Request("an unbelievab", "le thing, thought the other"),  # the border falls within a token
    Request("<s>the cat sat", " there"),  # the text brings its own first token
    Request("", "<s>the cat sat"),
    Request("the cat sat", " on the mat"),  # twice
    Request(TEXT, " at all"),  # longer than the model's input
    Request(TEXT[40:], " and nothing"),
]


def tiny_tokenizer(kind: str) -> PreTrainedTokenizerFast:
    """Byte pairs learnt from `TEXT`: "bytes" as in GPT-2; "pieces" as in Llama, <s> put before."""
    bpe = tokenizers.Tokenizer(tokenizers.models.BPE(unk_token="<unk>"))
    if kind == "bytes":
        bpe.pre_tokenizer = tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=False)
        bpe.decoder = tokenizers.decoders.ByteLevel()
    else:
        bpe.pre_tokenizer = tokenizers.pre_tokenizers.Metaspace(prepend_scheme="first")
        bpe.decoder = tokenizers.decoders.Metaspace(prepend_scheme="first")
    special = ["<pad>", "<s>", "</s>", "<unk>"]
    trainer = tokenizers.trainers.BpeTrainer(vocab_size=200, special_tokens=special)
    bpe.train_from_iterator([TEXT], trainer)
    if kind == "pieces":
        bpe.post_processor = tokenizers.processors.TemplateProcessing(
            single="<s> $A", special_tokens=[("<s>", 1)]
        )
    return PreTrainedTokenizerFast(
        tokenizer_object=bpe, bos_token="<s>", eos_token="</s>", unk_token="<unk>"
    )


def referee(model, tokenizer, request, length):
    """Log-probabilities and entropies by one float64 pass, written from lm-eval's rules."""
    context, continuation = request
    while context.endswith(" "):
        context, continuation = context[:-1], " " + continuation
    special = not context.startswith("<s>")
    if context:
        whole = tokenizer.encode(context + continuation, add_special_tokens=special)
        count = len(whole) - len(tokenizer.encode(context, add_special_tokens=special))
    else:
        whole = tokenizer.encode(continuation, add_special_tokens=False)
        whole = whole if whole[0] == 1 else [1, *whole]
        count = len(whole) - 1
    return *plain_pass(model, whole[-(length + 1) :], count), len(whole) > length + 1


def plain_pass(model, ids, count):
    with torch.inference_mode():
        logits = model(input_ids=torch.tensor([list(ids)[:-1]])).logits[0, -count:]
    logp = logits.double().log_softmax(-1).numpy()
    return logp[range(count), list(ids)[-count:]], -(np.exp(logp) * logp).sum(-1), logp.argmax(-1)


@pytest.fixture(scope="module", params=FAMILIES)
def model(request):
    return tiny_model(request.param)


@pytest.fixture(scope="module", params=["bytes", "pieces"])
def tokenizer(request):
    return tiny_tokenizer(request.param)


def test_every_sharp_edge_against_float64(model, tokenizer):
    table = loglikelihood.loglikelihoods(
        model, tokenizer, REQUESTS, details=True, max_length=64, token_budget=96
    )
    exact = tiny_model(model.config.model_type).double()
    for request, row in zip(REQUESTS, table.itertuples(), strict=True):
        logp, entropy, best, cut = referee(exact, tokenizer, request, 64)
        np.testing.assert_allclose(row.token_logprobs, logp, atol=1e-4)
        np.testing.assert_allclose(row.token_entropies, entropy, atol=1e-4)
        assert row.logprob == pytest.approx(logp.sum(), abs=1e-4)
        assert row.tokens == len(logp) == len(row.token_ids)
        assert row.bytes == len(request.continuation.encode())
        assert row.greedy == (best.tolist() == row.token_ids)
        assert row.truncated == cut


@pytest.mark.parametrize("family", ["mistral", "gemma2"])
def test_sliding_windows(family):
    """A window shorter than the text: the mask of the trie would replace it, so it is not used."""
    model = tiny_model(family, sliding_window=8)
    exact = tiny_model(family, sliding_window=8).double()
    tokenizer = tiny_tokenizer("pieces")
    wide = loglikelihood.loglikelihoods(tiny_model(family), tokenizer, REQUESTS)
    table = loglikelihood.loglikelihoods(model, tokenizer, REQUESTS, max_length=64)
    assert np.abs(table["logprob"] - wide["logprob"]).max() > 0.1
    for request, value in zip(REQUESTS, table["logprob"], strict=True):
        assert value == pytest.approx(referee(exact, tokenizer, request, 64)[0].sum(), abs=1e-4)


@pytest.mark.parametrize("family", [name for name in FAMILIES if name != "gemma2"])
def test_equals_lm_eval(family, tokenizer):
    """Gemma is left out: lm-eval always puts a first token before its texts."""
    model = tiny_model(family)
    # Two requests are left out. Where nothing is left before the continuation, lm-eval may have no
    # answer; where the border falls within a token, it feeds tokens that do not spell the text.
    requests = [one for one in REQUESTS if one.context not in (" ", "an unbelievab")]
    theirs = lm_eval_scores(model, tokenizer, requests, max_length=64)
    ours = loglikelihood.loglikelihoods(model, tokenizer, requests, max_length=64)
    np.testing.assert_allclose(ours["logprob"], [value for value, _ in theirs], atol=1e-3)
    assert ours["greedy"].tolist() == [greedy for _, greedy in theirs]


def lm_eval_scores(model, tokenizer, requests, **options):
    from lm_eval.api.instance import Instance
    from lm_eval.models.huggingface import HFLM

    # Its cache is off: requests that feed the same tokens but are split at different places come
    # out wrong with it (`test_where_lm_eval_errs`).
    options = {"batch_size": 4, "logits_cache": False} | options
    peer = HFLM(pretrained=model, tokenizer=tokenizer, backend="causal", device="cpu", **options)
    return peer.loglikelihood(
        [Instance("loglikelihood", {}, tuple(one), i) for i, one in enumerate(requests)],
        disable_tqdm=True,
    )


def test_where_lm_eval_errs():
    """Two places where the float64 referee decides against lm-eval 0.4.13."""
    model, tokenizer = tiny_model("llama"), tiny_tokenizer("bytes")
    exact = tiny_model("llama").double()

    same_tokens = [Request("the cat sat", " on the mat"), Request("the cat sat on", " the mat")]
    border = [Request("an unbelievab", "le thing, thought the other")]
    for requests, options in ((same_tokens, {"logits_cache": True}), (border, {})):
        truth = [referee(exact, tokenizer, one, 64)[0].sum() for one in requests]
        ours = loglikelihood.loglikelihoods(model, tokenizer, requests)["logprob"]
        theirs = [value for value, _ in lm_eval_scores(model, tokenizer, requests, **options)]
        np.testing.assert_allclose(ours, truth, atol=1e-4)
        assert np.abs(np.subtract(theirs, truth)).max() > 0.1


@pytest.mark.parametrize(
    "benchmark",
    ["piqa", "openbookqa", pytest.param("boolq", marks=pytest.mark.sweep), "social_iqa"],
)
def test_equals_lm_eval_on_a_real_model(benchmark, smollm2):
    """A few items of each; `python -m benchmarks agreement` takes 100."""
    from ethical_compression.datasets import multiple_choice

    items = multiple_choice.load(benchmark, limit=4, seed=0)
    requests = [Request(item.context, option) for item in items for option in item.options]
    ours = loglikelihood.score_items(smollm2.model, smollm2.tokenizer, items)
    theirs = lm_eval_scores(smollm2.model, smollm2.tokenizer, requests)
    np.testing.assert_allclose(ours["logprob"], [value for value, _ in theirs], atol=1e-3)
    assert ours["greedy"].tolist() == [greedy for _, greedy in theirs]
    assert ours["item"].tolist() == [item.id for item in items for _ in item.options]


@pytest.mark.parametrize("family", ["llama", "bloom"])
def test_company_changes_no_score(family):
    """Neither order, nor duplicates, nor the token budget, nor the layout."""
    model = tiny_model(family)
    allowed = [None, *layouts.usable(model)]

    @quick
    @given(st.data())
    def holds(data):
        encoded = data.draw(st.lists(sequences, min_size=1, max_size=8))
        company = data.draw(
            st.permutations(encoded + data.draw(st.lists(st.sampled_from(encoded))))
        )
        scores = loglikelihood.score_encoded(
            model,
            company,
            token_budget=data.draw(st.integers(1, 200)),
            layout=data.draw(st.sampled_from(allowed)),
        )
        for one, start in zip(company, scores.starts, strict=False):
            logp, entropy, _ = plain_pass(model, one.ids, one.scored)
            np.testing.assert_allclose(scores.logprob[start : start + one.scored], logp, atol=1e-4)
            np.testing.assert_allclose(
                scores.entropy[start : start + one.scored], entropy, atol=1e-4
            )

    holds()


@pytest.mark.parametrize(("window", "stride"), [(16, None), (16, 16), (16, 5), (60, 30)])
def test_text_in_windows(window, stride):
    model, tokenizer = tiny_model("llama"), tiny_tokenizer("bytes")
    table = loglikelihood.score_text(model, tokenizer, [TEXT, TEXT], window=window, stride=stride)
    ids = tokenizer(TEXT + "\n\n" + TEXT)["input_ids"]
    total, count, done = 0.0, 0, 0
    for begin in range(0, len(ids), stride or window):
        piece = ids[begin : begin + window]
        for position in range(1, len(piece)):
            if begin + position > done:
                total += plain_pass(model, piece[: position + 1], 1)[0][0]
                count, done = count + 1, begin + position
    assert table["tokens"].sum() == count
    assert table["logprob"].sum() == pytest.approx(total, abs=1e-3)
    assert loglikelihood.perplexity(table) == pytest.approx(np.exp(-total / count), rel=1e-5)
    if stride and stride < window:
        assert count == len(ids) - 1


def test_no_requests():
    table = loglikelihood.loglikelihoods(
        tiny_model("llama"), tiny_tokenizer("bytes"), [], details=True
    )
    assert len(table) == 0
    assert {"logprob", "tokens", "greedy", "token_ids"} <= set(table.columns)


@pytest.mark.parametrize("kind", ["bytes", "pieces"])
def test_text_has_the_first_token_before_each_window_where_the_tokenizer_puts_one(kind):
    model, tokenizer = tiny_model("gemma2"), tiny_tokenizer(kind)
    table = loglikelihood.score_text(model, tokenizer, [TEXT], window=16)
    ids, lead = tokenizer(TEXT, add_special_tokens=False)["input_ids"], [1] * (kind == "pieces")
    total = 0.0
    for begin in range(0, len(ids), 16 - len(lead)):
        piece = ids[begin : begin + 16 - len(lead)]
        if len(piece) > 1:
            total += plain_pass(model, [*lead, *piece], len(piece) - 1)[0].sum()
    assert table["logprob"].sum() == pytest.approx(total, abs=1e-3)


def test_broken_models_are_refused():
    model = tiny_model("llama")
    model.model.norm.weight.data[0] = torch.nan
    with pytest.raises(InputError, match="not finite"):
        loglikelihood.score_encoded(model, [Encoded([3, 4, 5], 1)], layout="plain")


@pytest.mark.parametrize(
    ("options", "message"),
    [({"stride": 20}, "between 1 and the window"), ({"documents": ["a"]}, "fewer than two tokens")],
)
def test_bad_text_is_refused(options, message):
    arguments = {"documents": [TEXT], "window": 16} | options
    with pytest.raises(InputError, match=message):
        loglikelihood.score_text(tiny_model("llama"), tiny_tokenizer("bytes"), **arguments)


def test_score_items_has_a_row_for_each_option():
    @dataclasses.dataclass
    class Item:
        benchmark: str
        id: str
        context: str
        options: tuple
        gold: int

    items = [
        Item("a", "x1", "the cat sat", (" on the mat", " there"), 1),
        Item("a", "x2", "the answer is", (" yes", " no", " maybe"), 0),
    ]
    table = loglikelihood.score_items(tiny_model("gpt2"), tiny_tokenizer("bytes"), items)
    assert table["item"].tolist() == ["x1"] * 2 + ["x2"] * 3
    assert table["option"].tolist() == [0, 1, 0, 1, 2]
    assert table["gold"].tolist() == [1, 1, 0, 0, 0]
    alone = loglikelihood.loglikelihoods(
        tiny_model("gpt2"), tiny_tokenizer("bytes"), [("the answer is", " maybe")]
    )
    assert table["logprob"].iloc[-1] == pytest.approx(alone["logprob"].iloc[0], abs=1e-5)

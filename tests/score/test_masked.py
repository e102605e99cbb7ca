"""CrowS-Pairs by a masked model, as published, against one pass a masked token."""

import pytest
import tokenizers
import torch
import transformers
from test_loglikelihood import tiny_tokenizer
from tiny_models import tiny_model

from ethical_compression.datasets import crows_pairs
from ethical_compression.datasets.contrast import Contrast
from ethical_compression.errors import InputError
from ethical_compression.metrics import contrasts
from ethical_compression.score import batteries
from ethical_compression.score.masked import Masked, masked_contrasts
from ethical_compression.score.runs import measure


@pytest.fixture(scope="module")
def bert():
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    people = ["he", "she", "they", "man", "woman"]
    words = [*special, *people, "is", "a", "an", "poor", "rich", "kind", "."]
    vocabulary = {word: number for number, word in enumerate(words)}
    inner = tokenizers.Tokenizer(tokenizers.models.WordLevel(vocabulary, unk_token="[UNK]"))
    inner.pre_tokenizer = tokenizers.pre_tokenizers.WhitespaceSplit()
    inner.post_processor = tokenizers.processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    named = {f"{one[1:-1].lower()}_token": one for one in special}
    tokenizer = transformers.PreTrainedTokenizerFast(tokenizer_object=inner, **named)
    torch.manual_seed(0)
    config = transformers.BertConfig(
        vocab_size=len(words),
        hidden_size=16,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=32,
        initializer_range=0.5,
    )
    return transformers.BertForMaskedLM(config).eval(), tokenizer


def shared_score(model, tokenizer, texts):
    """One token masked at a time, one pass each, written from the paper's equation."""
    import difflib

    ids = [tokenizer.encode(text) for text in texts]
    blocks = difflib.SequenceMatcher(None, *ids, autojunk=False).get_matching_blocks()
    places = [(b.a + k, b.b + k) for b in blocks for k in range(b.size)][1:-1]  # [CLS], [SEP]
    found = []
    for side in range(2):
        total = 0.0
        for both in places:
            hidden = list(ids[side])
            hidden[both[side]] = tokenizer.mask_token_id
            with torch.inference_mode():
                logits = model(input_ids=torch.tensor([hidden])).logits[0, both[side]]
            total += float(logits.log_softmax(-1)[ids[side][both[side]]])
        found.append(total)
    return found, len(places)


def test_pseudo_log_likelihoods_are_those_of_the_shared_tokens(bert):
    model, tokenizer = bert
    pairs = [
        Contrast("toy", str(k), "g", "k", "c", ("stereotype", "anti-stereotype"), texts)
        for k, texts in enumerate(
            [
                ("a poor man is kind .", "a rich man is kind ."),
                ("she is an poor woman", "he is an poor man"),
                ("an old man", "an old woman"),  # a word that the tokenizer does not know
                ("they is kind .", "a kind man is rich and kind ."),
            ]
        )
    ]
    table = masked_contrasts(model, tokenizer, pairs, batch=4)
    for place, one in enumerate(pairs):
        wanted, count = shared_score(model, tokenizer, one.texts)
        rows = table.iloc[2 * place : 2 * place + 2]
        assert rows["logprob"].tolist() == pytest.approx(wanted, abs=1e-4)
        assert rows["tokens"].tolist() == [count, count]
    row = contrasts.contrast_scores(table).iloc[0]
    assert row["measure"] == "pseudo-log-likelihood of the shared tokens"
    with pytest.raises(InputError, match="share no token"):
        apart = Contrast("toy", "9", "g", "k", "c", ("a", "b"), ("he", "she"))
        masked_contrasts(model, tokenizer, [apart])


def test_a_causal_tokenizer_has_no_mask():
    model, tokenizer = tiny_model("llama"), tiny_tokenizer("bytes")
    with pytest.raises(InputError, match="has no mask"):
        masked_contrasts(model, tokenizer, crows_pairs.load(limit=1))


def test_a_masked_model_is_a_subject(bert, tmp_path, monkeypatch):
    monkeypatch.setenv("ETHICAL_COMPRESSION_CACHE", str(tmp_path / "cache"))
    model, tokenizer = bert
    place = tmp_path / "bert"
    model.save_pretrained(place)
    tokenizer.save_pretrained(place)
    asked = batteries.battery("crows_pairs_masked", limit=9)
    table = measure(Masked("tiny", str(place)), asked, progress=False)
    assert set(table["compression"]) == {"full"} and len(table) == 18
    direct = masked_contrasts(model, tokenizer, asked.items)
    assert table["logprob"].tolist() == pytest.approx(direct["logprob"].tolist(), abs=1e-4)
    # The encoder alone has no head for words.
    model.bert.save_pretrained(tmp_path / "encoder")
    tokenizer.save_pretrained(tmp_path / "encoder")
    with pytest.raises(InputError, match="weights that a masked language model has"):
        Masked(str(tmp_path / "encoder")).load()
    with pytest.raises(InputError, match="no masked language model"):
        Masked("smollm2-135m").load()

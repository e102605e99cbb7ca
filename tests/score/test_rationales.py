"""Token measures by hand and against scikit-learn; explainers against what defines them."""

import math

import numpy as np
import pandas as pd
import pytest
import torch
import transformers as hf
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import auc, f1_score, precision_recall_curve

from ethical_compression.errors import InputError
from ethical_compression.metrics import plausibility
from ethical_compression.score import rationales

# [PAD] is 1, as RoBERTa and MPNet have it: they count positions from there.
WORDS = ["[UNK]", "[PAD]", "[CLS]", "[SEP]", "[MASK]", "we", "they", "like", "cake", "hate", "you"]
WORDS += ["un", "##kind", "##ness"]
POSTS = [
    ["we", "like", "unkindness", "you"],
    ["they"],
    [],
    ["they", "hate", "cake", "unheard", "we", "like", "you", "hate"],
    ["you", "unkindness", "hate", "unkindness", "they", "like", "we"],
]


@pytest.fixture(scope="module")
def tokenizer():
    return hf.BertTokenizerFast(vocab={word: place for place, word in enumerate(WORDS)})


def classifier(family: str = "Bert", labels: int = 3):
    """A two-layer classifier whose random weights are large enough that every word matters."""
    size = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4}
    size = {**size, "intermediate_size": 64, "vocab_size": len(WORDS), "num_labels": labels}
    if family == "DistilBert":
        size = {"dim": 32, "n_layers": 2, "n_heads": 4, "hidden_dim": 64, "num_labels": labels}
        size["vocab_size"] = len(WORDS)
    torch.manual_seed(0)
    config = getattr(hf, f"{family}Config")(**size, pad_token_id=1)
    model = getattr(hf, f"{family}ForSequenceClassification")(config)
    for parameter in model.parameters():
        if parameter.dim() > 1:
            torch.nn.init.normal_(parameter, std=0.15)
    return model


def log_odds(output) -> torch.Tensor:
    """Of every class, (classes,), from what a model gave for one post."""
    p = output.logits[0].double().softmax(-1)
    return (p.log() - (1 - p).log()).detach()


# --- Token measures -------------------------------------------------------------------------------


def test_token_measures_by_hand():
    # Important: words 0 1 2 3 4 of 8; marked: 3 4 5.
    importance = np.array([8, 7, 6, 5, 4, 3, 2, 1.0])
    table = plausibility.plausibility([importance], [[0, 0, 0, 1, 1, 1, 0, 0]])
    one = table.iloc[0]
    assert (one["token_precision"], one["token_recall"]) == (2 / 5, 2 / 3)
    assert one["token_f1"] == pytest.approx(0.5)
    # The spans [0, 5) and [3, 6) share 2 of 6 words: not found.
    assert (one["spans_precision"], one["spans_recall"]) == (0, 0)
    assert one["base_rate"] == 3 / 8
    # Hits at ranks 4, 5, 6: precision 1/4, 2/5, 3/6 after 1/4's foot of 0 at recall 0.
    by_hand = (0 + 1 / 4) / 2 / 3 + (1 / 4 + 2 / 5) / 2 / 3 + (2 / 5 + 3 / 6) / 2 / 3
    assert one["auprc"] == pytest.approx(by_hand)


def test_spans_are_found_at_half_an_overlap():
    # Important (top 3): 0, 1 and 5. Marked: 0 1 2 (shares 2 of 3: found) and 6 (not).
    importance = np.array([9, 8, 1, 1, 1, 7, 1.0])
    table = plausibility.plausibility([importance], [[1, 1, 1, 0, 0, 0, 1]], top=3)
    one = table.iloc[0]
    assert (one["spans_precision"], one["spans_recall"]) == (1 / 2, 1 / 2)
    assert plausibility.spans([1, 1, 0, 0, 1]) == [(0, 2), (4, 5)]
    assert plausibility.spans([]) == plausibility.spans([0, 0]) == []


def erasers_iou(chosen, marked):
    """Precision and recall of ERASER's `partial_match_score` at one half, from its definition."""
    human = [set(range(*span)) for span in plausibility.spans(marked)]
    found = sum(
        max((len(one & t) / len(one | t) for t in human), default=0) >= 0.5 for one in chosen
    )
    return found / len(chosen), found / len(human)


def test_every_word_is_a_span_of_its_own_in_hatexplains_iou():
    # Important: 0 1 2 and 4 5. Marked: 0 1 2, found as one span and by no single word; 4 5, found
    # as a span, and twice by single words.
    importance, marked = np.array([9, 8, 7, 0, 6, 5, 0.0]), [1, 1, 1, 0, 1, 1, 0]
    one = plausibility.plausibility([importance], [marked]).iloc[0]
    assert (one["spans_precision"], one["spans_recall"]) == (1, 1)
    expected = erasers_iou([{0}, {1}, {2}, {4}, {5}], marked)
    assert (one["singles_precision"], one["singles_recall"]) == expected == (2 / 5, 1)
    twice = plausibility.plausibility([importance], [[0, 0, 0, 0, 1, 1, 0]]).iloc[0]
    assert twice["singles_recall"] == 2 and twice["spans_recall"] == 1
    (row,) = plausibility.plausibility_summary(
        plausibility.plausibility([importance], [marked])
    ).to_dict("records")
    assert row["iou_f1"] == 1 and row["iou_f1_singles"] == pytest.approx(2 * 0.4 / 1.4)


def test_summary_averages_as_eraser_does():
    perfect, wrong = np.array([2, 1, 0.0]), np.array([0, 1, 2.0])
    table = plausibility.plausibility([perfect, wrong, wrong], [[1, 0, 0], [1, 0, 0], None], top=1)
    (row,) = plausibility.plausibility_summary(table).to_dict("records")
    assert (row["posts"], row["scored"], row["token_f1"]) == (3, 2, 0.5)
    assert row["iou_f1"] == 0.5  # mean precision 1/2 and mean recall 1/2
    assert row["note"] == "1 posts without a rationale left out"
    by = plausibility.plausibility_summary(table.assign(kind=["x", "y", "y"]), ["kind"])
    assert by.set_index("kind")["token_f1"].to_dict() == {"x": 1, "y": 0}


marked_posts = st.lists(
    st.tuples(st.integers(0, 5), st.booleans()), min_size=1, max_size=20
).filter(lambda rows: any(marked for _, marked in rows))


@given(marked_posts, st.integers(1, 6))
@settings(max_examples=150, deadline=None)
def test_token_measures_equal_scikit_learns(rows, top):
    values, marked = np.array(rows, dtype=float).T
    one = plausibility.plausibility([values], [marked], top=top).iloc[0]
    chosen = plausibility.most_important(values, top)
    assert chosen.sum() == min(top, len(values))
    assert values[chosen].min() >= values[~chosen].max(initial=-1)
    assert one["token_f1"] == pytest.approx(f1_score(marked, chosen))
    precision, recall, _ = precision_recall_curve(marked, values)
    # scikit-learn ends its curve at precision 1 by convention, ERASER and we too.
    assert one["auprc"] == pytest.approx(auc(recall, precision))
    assert 0 <= one["spans_precision"] <= 1 and 0 <= one["spans_recall"] <= 1
    singles = [{int(place)} for place in np.flatnonzero(chosen)]
    assert (one["singles_precision"], one["singles_recall"]) == erasers_iou(singles, marked)


def test_empty_rationale_and_unseen_words_are_said():
    table = plausibility.plausibility(
        [np.array([0.1, 0.2]), np.array([0.1, np.nan, 0.3]), np.array([])],
        [[0, 0], [0, 1, 1], None],
        top=2,
    )
    assert list(table["note"]) == ["no rationale", "1 of its words not seen by the model",
                                   "no rationale"]  # fmt: skip
    assert table.loc[[0, 2], "token_f1"].isna().all()
    assert table.loc[1, "token_recall"] == 0.5
    nothing = plausibility.plausibility_summary(table[table["marked"] == 0]).iloc[0]
    assert nothing["scored"] == 0 and math.isnan(nothing["iou_f1"])
    with pytest.raises(InputError, match="same words"):
        plausibility.plausibility([np.zeros(3)], [[1, 0]])
    with pytest.raises(InputError, match="one rationale"):
        plausibility.plausibility([np.zeros(3)], [])


# --- Explainers -----------------------------------------------------------------------------------


@pytest.mark.parametrize("family", ["Bert", "DistilBert", "Roberta", "MPNet"])
def test_attention_is_the_first_tokens_row_of_the_last_layer(family, tokenizer):
    model = classifier(family)
    found = rationales.attention(model, tokenizer, POSTS, batch_size=2)
    model.eval().set_attn_implementation("eager")
    for words, values in zip(POSTS, found, strict=True):
        encoding = tokenizer(words, is_split_into_words=True)
        ids = torch.tensor([encoding["input_ids"]])
        layers = model(input_ids=ids, output_attentions=True).attentions
        row = layers[-1][0].mean(0)[0].detach().numpy()
        for place in range(len(words)):
            pieces = [k for k, word in enumerate(encoding.word_ids()) if word == place]
            assert values[place] == pytest.approx(row[pieces].sum(), abs=1e-6)
        assert len(values) == len(words) and values.sum() < 1


def test_attention_to_pieces_sums_to_one_and_holds_the_words_parts(tokenizer):
    model = classifier()
    pieces = rationales.attention_to_pieces(model, tokenizer, POSTS, batch_size=2)
    by_word = rationales.attention(model, tokenizer, POSTS, batch_size=5)
    for words, tokens, values in zip(POSTS, pieces, by_word, strict=True):
        of_word = tokenizer(words, is_split_into_words=True).word_ids()
        assert len(tokens) == len(of_word) and tokens.sum() == pytest.approx(1, abs=1e-6)
        for place in range(len(words)):
            own = [k for k, word in enumerate(of_word) if word == place]
            assert tokens[own].sum() == pytest.approx(values[place], abs=1e-6)


@pytest.mark.parametrize("family", ["Bert", "DistilBert", "Roberta", "MPNet"])
def test_integrated_gradients_are_complete(family, tokenizer):
    """The sum over words is the log-odds of the post minus those of as many padding words."""
    model = classifier(family).eval()
    table = model.get_input_embeddings()
    found = rationales.integrated_gradients(model, tokenizer, POSTS, steps=100, batch_size=3)
    changes = []
    for words, values in zip(POSTS, found, strict=True):
        encoding = tokenizer(words, is_split_into_words=True)
        ids, word = encoding["input_ids"], encoding.word_ids()
        blank = [i if w is None else WORDS.index("[PAD]") for i, w in zip(ids, word, strict=True)]
        with torch.no_grad():
            full = log_odds(model(input_ids=torch.tensor([ids])))
            # As embeddings: a padding id has a position of its own in some of these families.
            empty = log_odds(model(inputs_embeds=table(torch.tensor([blank]))))
        target = full.argmax()
        changes.append(float(full[target] - empty[target]))
        assert values.sum() == pytest.approx(changes[-1], abs=2e-3)
    assert max(map(abs, changes)) > 0.1


def test_gradient_is_that_of_finite_differences(tokenizer):
    model = classifier().double()
    words = POSTS[0]
    (found,) = rationales.gradient_x_input(model, tokenizer, [words])
    encoding = tokenizer(words, is_split_into_words=True)
    embedded = model.get_input_embeddings()(torch.tensor([encoding["input_ids"]])).detach()

    target = log_odds(model.eval()(inputs_embeds=embedded)).argmax()
    for place in range(len(words)):
        # Along its own embedding, the directional derivative is gradient × input.
        own = torch.tensor([[word == place for word in encoding.word_ids()]])[..., None]
        up, down = (
            log_odds(model(inputs_embeds=embedded * (1 + step * own)))[target]
            for step in (1e-3, -1e-3)
        )
        assert found[place] == pytest.approx(float(up - down) / 2e-3, rel=1e-3)


@pytest.mark.parametrize("name", [name for name in rationales.EXPLAINERS if name != "random"])
def test_a_post_is_explained_alike_alone_and_in_a_batch(name, tokenizer):
    model = classifier()
    explain = rationales.EXPLAINERS[name]
    together = explain(model.train(), tokenizer, POSTS, batch_size=5)
    assert model.training and model.config._attn_implementation == "sdpa"
    for words, values in zip(POSTS, together, strict=True):
        (alone,) = explain(model, tokenizer, [words])
        np.testing.assert_allclose(alone, values, atol=1e-5)


def test_words_that_the_model_does_not_see_are_nan(tokenizer):
    for name, explain in rationales.EXPLAINERS.items():
        values = explain(classifier(), tokenizer, POSTS, max_length=6)
        assert [len(one) for one in values] == [len(words) for words in POSTS]
        if name != "random":
            assert np.isnan(values[3]).tolist() == [False] * 4 + [True] * 4
            assert not np.isnan(values[3][3])  # an unknown word is seen, as [UNK]
    again = [rationales.at_random(None, None, POSTS, seed=1) for _ in range(2)]
    np.testing.assert_array_equal(np.concatenate(again[0]), np.concatenate(again[1]))


# --- Faithfulness ---------------------------------------------------------------------------------


def test_faithfulness_by_deleting_words_by_hand(tokenizer):
    model = classifier()
    importance = [np.arange(len(words), 0, -1.0) for words in POSTS]
    table = rationales.faithfulness(model, tokenizer, POSTS, importance, top=2, batch_size=2)

    def p(words):
        ids = tokenizer(words, is_split_into_words=True)["input_ids"]
        return model.eval()(input_ids=torch.tensor([ids])).logits[0].softmax(-1).detach().numpy()

    for words, row in zip(POSTS, table.to_dict("records"), strict=True):
        full = p(words)
        k = full.argmax()
        assert row["predicted"] == k
        assert row["comprehensiveness"] == pytest.approx(full[k] - p(words[2:])[k], abs=1e-6)
        assert row["sufficiency"] == pytest.approx(full[k] - p(words[:2])[k], abs=1e-6)
        assert bool(row["note"]) == (len(words) <= 2)
    assert table["comprehensiveness"].abs().max() > 0.01
    with pytest.raises(InputError, match="one value per word"):
        rationales.faithfulness(model, tokenizer, POSTS, importance[:-1])


def test_the_words_a_classifier_goes_by_are_found(tokenizer):
    """A classifier that counts one word and sees no other: both explainers must name it."""
    model = classifier(labels=2).eval()
    table = model.get_input_embeddings().weight
    with torch.no_grad():
        hate = WORDS.index("hate")
        table[:] = table[WORDS.index("cake")]  # all other words are one and the same
        table[hate] += 0.5 * torch.randn(32, generator=torch.Generator().manual_seed(1))
    posts = [words for words in POSTS if "hate" in words]
    marks = [[word == "hate" for word in words] for words in posts]
    values = rationales.integrated_gradients(model, tokenizer, posts, steps=50)
    for one, mark in zip(values, marks, strict=True):
        assert np.abs(one[~np.array(mark)]).max() < 1e-6 < np.abs(one[mark]).min()
    assert isinstance(plausibility.plausibility(values, marks), pd.DataFrame)

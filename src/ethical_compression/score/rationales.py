"""Which words did a classifier go by? Explainers, and how faithful what they say is.

The measures of ERASER (DeYoung et al. 2020), which HateXplain (Mathew et al. 2021) and Proskurina
et al. 2023 report; where their code takes word pieces, both units are here (`attention_to_pieces`).
An *explainer* gives every word of a post an importance; the five most important words are the
model's rationale. Whether these are the words that annotators marked is `metrics.plausibility`;
*faithfulness* takes these words away, or all others, and watches the prediction.

A plausible explanation need not be a faithful one. Attention is disputed as an explanation (Jain &
Wallace 2019), so gradients stand beside it, and random importance, below which nothing should fall.

A post is a sequence of words. A word's importance is the sum over its sub-words; a word that the
model did not see (cut off at `max_length`, or without any sub-word) has NaN and ranks last.
"""

import math
from collections.abc import Callable, Sequence
from contextlib import contextmanager

import numpy as np
import pandas as pd

from ethical_compression.errors import InputError
from ethical_compression.metrics.plausibility import most_important

Words = Sequence[str]


# --- Explainers -----------------------------------------------------------------------------------


def attention(
    model, tokenizer, posts: Sequence[Words], *, batch_size: int = 32, max_length: int = 128, **_
) -> list[np.ndarray]:
    """Attention that the first token ([CLS]) pays to each word in the last layer, mean over heads.

    model: a sequence classifier of transformers; posts: lists of words. Returns one (words,) array
    a post; its sum is below 1, as the special tokens get attention too.
    """

    def values(batch, _):
        return _attended(model, batch)

    with _evaluating(model, eager=True):
        return _by_word(model, tokenizer, posts, values, batch_size, max_length)


def attention_to_pieces(
    model, tokenizer, posts: Sequence[Words], *, batch_size: int = 32, max_length: int = 128
) -> list[np.ndarray]:
    """`attention` as HateXplain's and Fair-Pruning's code score it: one (tokens,) array a post.

    Tokens are word pieces and the special tokens around them, which can be among the most important
    ones; compare with marks of tokens (`train.classifier.encoded`).
    """
    found: dict[int, np.ndarray] = {}
    with _evaluating(model, eager=True):
        for places, _, batch in _batches(model, tokenizer, posts, batch_size, max_length):
            del batch["special_tokens_mask"]
            rows = _attended(model, batch).double().cpu().numpy()
            seen = batch["attention_mask"].bool().cpu().numpy()
            found |= {place: row[one] for place, row, one in zip(places, rows, seen, strict=True)}
    return [found[place] for place in range(len(posts))]


def _attended(model, batch):
    """(posts, tokens): what the first token attends to in the last layer, mean over heads."""
    import torch

    with torch.no_grad():
        return model(**batch, output_attentions=True).attentions[-1][:, :, 0].mean(1)


def gradient_x_input(
    model, tokenizer, posts: Sequence[Words], *, batch_size: int = 32, max_length: int = 128, **_
) -> list[np.ndarray]:
    """Gradient of the predicted class's log-odds, times the word embedding (Shrikumar et al. 2017).

    Signed: above zero speaks for the predicted class. Arguments and result as for `attention`.
    """
    return integrated_gradients(
        model, tokenizer, posts, steps=0, batch_size=batch_size, max_length=max_length
    )


def integrated_gradients(
    model,
    tokenizer,
    posts: Sequence[Words],
    *,
    steps: int = 20,
    batch_size: int = 32,
    max_length: int = 128,
    **_,
) -> list[np.ndarray]:
    """Integrated gradients of the predicted class's log-odds (Sundararajan et al. 2017, eq. 1).

    The path leads from the padding token's embedding, in every word's place, to the post; the
    special tokens stay. `steps` points of the midpoint rule stand for the integral, so the sum over
    words is the change of log-odds along the path, up to the rule's error (completeness). 0 steps:
    the gradient at the post itself, times the embedding (`gradient_x_input`). Log-odds, as a
    probability near 1 has hardly a gradient. Other arguments and the result as for `attention`.
    """
    import torch

    table = model.get_input_embeddings()

    def values(batch, special):
        ids, rest = batch["input_ids"], {k: v for k, v in batch.items() if k != "input_ids"}
        with torch.no_grad():
            post = table(ids)
            target = model(inputs_embeds=post, **rest).logits.argmax(-1)
            blank = table(torch.full_like(ids, tokenizer.pad_token_id))
            start = torch.where(special[..., None], post, blank)
        total = torch.zeros_like(post)
        for share in [(k + 0.5) / steps for k in range(steps)] or [1.0]:
            point = (start + share * (post - start)).requires_grad_()
            odds = _log_odds(model(inputs_embeds=point, **rest).logits, target)
            total += torch.autograd.grad(odds.sum(), point)[0]
        way = post - start if steps else post
        return (total / max(1, steps) * way).sum(-1)

    with _evaluating(model):
        return _by_word(model, tokenizer, posts, values, batch_size, max_length)


def at_random(model, tokenizer, posts: Sequence[Words], *, seed: int = 0, **_) -> list[np.ndarray]:
    """Uniform importance, blind to post and model: the floor that an explainer has to beat."""
    rng = np.random.default_rng(seed)
    return [rng.random(len(words)) for words in posts]


EXPLAINERS: dict[str, Callable[..., list[np.ndarray]]] = {
    "attention": attention,
    "gradient × input": gradient_x_input,
    "integrated gradients": integrated_gradients,
    "random": at_random,
}


# --- Faithfulness ---------------------------------------------------------------------------------


def faithfulness(
    model,
    tokenizer,
    posts: Sequence[Words],
    importance: Sequence[np.ndarray],
    *,
    top: int = 5,
    batch_size: int = 32,
    max_length: int = 128,
) -> pd.DataFrame:
    """What becomes of the prediction without the `top` words, and with them alone: a row per post.

    Columns: `post`, `words`, `predicted` (class of the whole post), `p_full`, `p_without`, `p_only`
    (its probability in the whole post, with the words deleted, and with all others deleted),
    `comprehensiveness` (p_full − p_without: high where the words were needed), `sufficiency`
    (p_full − p_only: low where they are enough), both as in DeYoung et al. 2020, `note`. A post of
    no more than `top` words is its own rationale, which the note says.
    Deleted words leave a text unlike any that the model was trained on: compare explainers of one
    model by these numbers rather than models.
    """
    chosen = [most_important(np.asarray(values, dtype=float), top) for values in importance]
    if [len(one) for one in chosen] != [len(words) for words in posts]:
        raise InputError("Importance must have one value per word of each post, post by post.")
    texts = {
        "full": [list(words) for words in posts],
        "without": [_kept(words, ~mask) for words, mask in zip(posts, chosen, strict=True)],
        "only": [_kept(words, mask) for words, mask in zip(posts, chosen, strict=True)],
    }
    p = {
        name: _probabilities(model, tokenizer, text, batch_size, max_length)
        for name, text in texts.items()
    }
    predicted = p["full"].argmax(1)
    of_predicted = {name: part[np.arange(len(posts)), predicted] for name, part in p.items()}
    count = [len(words) for words in posts]
    return pd.DataFrame(
        {
            "post": range(len(posts)),
            "words": count,
            "predicted": predicted,
            "p_full": of_predicted["full"],
            "p_without": of_predicted["without"],
            "p_only": of_predicted["only"],
            "comprehensiveness": of_predicted["full"] - of_predicted["without"],
            "sufficiency": of_predicted["full"] - of_predicted["only"],
            "note": ["the rationale is the whole post" if n <= top else "" for n in count],
        }
    )


def _kept(words: Words, mask: np.ndarray) -> list[str]:
    return [word for word, keep in zip(words, mask, strict=True) if keep]


# --- Batches --------------------------------------------------------------------------------------


def _batches(model, tokenizer, posts: Sequence[Words], batch_size: int, max_length: int):
    """Yield (places, encoding, tensors on the model's device), posts of like length together."""
    order = sorted(range(len(posts)), key=lambda place: len(posts[place]))
    for begin in range(0, len(order), batch_size):
        places = order[begin : begin + batch_size]
        encoding = tokenizer(
            [list(posts[place]) for place in places],
            is_split_into_words=True,
            truncation=True,
            max_length=max_length,
            padding=True,
            return_special_tokens_mask=True,
            return_tensors="pt",
        )
        yield places, encoding, {name: part.to(model.device) for name, part in encoding.items()}


def _by_word(
    model, tokenizer, posts: Sequence[Words], values: Callable, batch_size: int, max_length: int
) -> list[np.ndarray]:
    """`values(batch, special)`, (posts, tokens), summed by word; NaN for a word without a token."""
    found = [np.full(len(words), math.nan) for words in posts]
    for places, encoding, batch in _batches(model, tokenizer, posts, batch_size, max_length):
        special = batch.pop("special_tokens_mask").bool()
        by_token = values(batch, special).double().cpu().numpy()
        for k, place in enumerate(places):
            of_word = [
                (w, v)
                for w, v in zip(encoding.word_ids(k), by_token[k], strict=True)
                if w is not None
            ]
            for word, _ in of_word:
                found[place][word] = 0.0
            for word, value in of_word:
                found[place][word] += value
    return found


def _probabilities(
    model, tokenizer, posts: Sequence[Words], batch_size: int, max_length: int
) -> np.ndarray:
    """(posts, classes)."""
    import torch

    found: dict[int, np.ndarray] = {}
    with _evaluating(model), torch.no_grad():
        for places, _, batch in _batches(model, tokenizer, posts, batch_size, max_length):
            del batch["special_tokens_mask"]
            p = model(**batch).logits.double().softmax(-1).cpu().numpy()
            found |= zip(places, p, strict=True)
    return np.stack([found[place] for place in range(len(posts))])


def _log_odds(logits, target):
    """(posts,): log p − log(1 − p) of class `target` (posts,), from (posts, classes) logits."""
    import torch

    own = torch.nn.functional.one_hot(target, logits.shape[1]).bool()
    return logits[own] - logits.masked_fill(own, -math.inf).logsumexp(1)


@contextmanager
def _evaluating(model, *, eager: bool = False):
    """Without dropout; eager: attention computed step by step, as only then it can be seen."""
    training, how = model.training, model.config._attn_implementation
    model.eval()
    if eager:
        model.set_attn_implementation("eager")
    try:
        yield
    finally:
        model.train(training)
        if eager:
            model.set_attn_implementation(how)

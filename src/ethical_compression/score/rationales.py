"""Which words did a classifier go by: as people would (plausible), and truly (faithful)?

The measures of ERASER (DeYoung et al. 2020), which HateXplain (Mathew et al. 2021) and Proskurina
et al. 2023 report; where their code takes other units, both are here (`plausibility`: spans;
`attention_to_pieces`: word pieces). An *explainer* gives every word of a post an importance; the
five most important words are the model's rationale. *Plausibility* compares it with the words that
annotators marked; *faithfulness* takes these words away, or all others, and watches the prediction.

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


# --- Plausibility ---------------------------------------------------------------------------------


def plausibility(
    importance: Sequence[np.ndarray], rationales: Sequence[Sequence], *, top: int = 5
) -> pd.DataFrame:
    """How far the `top` most important words are those that annotators marked: a row per post.

    importance: one (words,) array a post; rationales: one (words,) list of 0/1 or booleans a post,
    or None. Columns: `post` (its place), `words`, `marked` (by annotators), `token_precision`,
    `token_recall`, `token_f1`, `spans_precision`, `spans_recall` (a span is a run of neighbouring
    words; it is found where its overlap ÷ union with a marked span is at least one half),
    `singles_precision`, `singles_recall` (the same with every important word as a span of its own,
    as HateXplain's and Fair-Pruning's code hand them to ERASER's; as there, a marked span of two
    words is found twice where both are important, so that recall can pass 1), `auprc` (area under
    the precision-recall curve of the importance itself, by trapezoids as in ERASER's code),
    `base_rate` (the share of marked words: what random importance gets in `auprc`), `note`.
    A post without a rationale has NaN in all scores, and the note says so. Of equally important
    words the first are taken. Raises InputError where importance and rationale differ in length.
    """
    if len(importance) != len(rationales):
        raise InputError(
            f"There are {len(importance)} posts with importance and {len(rationales)} rationales; "
            "give one rationale (or None) per post."
        )
    rows = []
    for place, (values, marks) in enumerate(zip(importance, rationales, strict=True)):
        values = np.asarray(values, dtype=float)
        marked = np.zeros(len(values), bool) if marks is None else np.asarray(marks, dtype=bool)
        if marked.shape != values.shape:
            raise InputError(
                f"Post {place} has {len(values)} words and a rationale over {len(marked)}; both "
                "must be over the same words."
            )
        row = {"post": place, "words": len(values), "marked": int(marked.sum())}
        unseen = int(np.isnan(values).sum())
        notes = [f"{unseen} of its words not seen by the model"] if unseen else []
        if not marked.any():
            notes.insert(0, "no rationale")
        else:
            row |= _agreement(values, marked, top)
        rows.append(row | {"note": "; ".join(notes)})
    return pd.DataFrame(rows, columns=_PLAUSIBILITY)


def plausibility_summary(table: pd.DataFrame, by: Sequence[str] = ()) -> pd.DataFrame:
    """ERASER's aggregates of `plausibility` rows: one row per `by` (columns that you added).

    `posts`, `scored` (those with a rationale), `token_f1` (the mean over posts), `iou_f1` (from the
    posts' mean span precision and mean span recall), `iou_f1_singles` (likewise, every important
    word a span of its own), `auprc`, `base_rate`, `note`.
    """
    rows = []
    for names, part in table.groupby(list(by), sort=False) if by else [((), table)]:
        scored = part[part["marked"] > 0]
        means = scored[[*_MEANS, "token_f1", "auprc", "base_rate"]].mean()
        missing = len(part) - len(scored)
        rows.append(
            dict(zip(by, names, strict=True))
            | {"posts": len(part), "scored": len(scored), "token_f1": means["token_f1"]}
            | {"iou_f1": _f1(means["spans_precision"], means["spans_recall"])}
            | {"iou_f1_singles": _f1(means["singles_precision"], means["singles_recall"])}
            | {"auprc": means["auprc"], "base_rate": means["base_rate"]}
            | {"note": f"{missing} posts without a rationale left out" if missing else ""}
        )
    return pd.DataFrame(rows)


_MEANS = ["spans_precision", "spans_recall", "singles_precision", "singles_recall"]
_PLAUSIBILITY = [
    "post",
    "words",
    "marked",
    "token_precision",
    "token_recall",
    "token_f1",
    *_MEANS,
    "auprc",
    "base_rate",
    "note",
]


def most_important(values: np.ndarray, top: int = 5) -> np.ndarray:
    """(words,) booleans: the `top` words of highest importance, NaN last, the first of equal ones.

    All words of a post that has no more than `top`.
    """
    chosen = np.zeros(len(values), dtype=bool)
    chosen[np.argsort(-np.nan_to_num(values, nan=-np.inf), kind="stable")[:top]] = True
    return chosen


def spans(mask) -> list[tuple[int, int]]:
    """Runs of neighbouring true words as (start, end), the end left out."""
    edges = np.flatnonzero(np.diff(np.concatenate([[0], np.asarray(mask, dtype=int), [0]])))
    return list(zip(edges[::2].tolist(), edges[1::2].tolist(), strict=True))


def _agreement(values: np.ndarray, marked: np.ndarray, top: int) -> dict[str, float]:
    chosen = most_important(values, top)
    hits = (chosen & marked).sum()
    precision, recall = hits / chosen.sum(), hits / marked.sum()
    predicted, human = spans(chosen), spans(marked)
    singles = [(int(place), int(place) + 1) for place in np.flatnonzero(chosen)]
    found, alone = (
        sum(any(_overlap(one, other) >= 0.5 for other in human) for one in some)
        for some in (predicted, singles)
    )
    return {
        "token_precision": precision,
        "token_recall": recall,
        "token_f1": _f1(precision, recall),
        "spans_precision": found / len(predicted),
        # Two spans can share one marked span only by covering exactly half of it each.
        "spans_recall": min(1.0, found / len(human)),
        "singles_precision": alone / len(singles),
        "singles_recall": alone / len(human),
        "auprc": _auprc(values, marked),
        "base_rate": marked.mean(),
    }


def _overlap(one: tuple[int, int], other: tuple[int, int]) -> float:
    both = max(0, min(one[1], other[1]) - max(one[0], other[0]))
    return both / (one[1] - one[0] + other[1] - other[0] - both)


def _f1(precision: float, recall: float) -> float:
    # NaN in, NaN out: only a true zero is one.
    return 0.0 if precision + recall == 0 else 2 * precision * recall / (precision + recall)


def _auprc(values: np.ndarray, marked: np.ndarray) -> float:
    values = np.nan_to_num(values, nan=-np.inf)
    order = np.argsort(-values, kind="stable")
    # Equal importance enters together: a curve has one point per distinct value.
    last = np.append(values[order][1:] != values[order][:-1], True)
    hits = np.cumsum(marked[order])[last]
    precision = np.append(1.0, hits / (np.flatnonzero(last) + 1))
    recall = np.append(0.0, hits / marked.sum())
    return float(np.trapezoid(precision, recall))


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

"""What a model is asked in the studies of harm: options scored, sentences compared, prompts
continued.

Each function is the `score` of a battery (`score.batteries`): (model, tokenizer, items, *,
progress, **settings) to a table with a row an item and option, or a continuation. `group` and
`cluster` say whom an item is about and what it is to be resampled with. Settings of those that
score options are those of `loglikelihood.loglikelihoods`: another `token_budget` or `layout` gives
the same numbers but for rounding, which is the floor of every change (`metrics.choices`).
"""

from collections.abc import Sequence
from typing import NamedTuple

import pandas as pd

from ethical_compression.datasets.bbq import Question
from ethical_compression.datasets.contrast import Contrast
from ethical_compression.datasets.dialect import SIDES, Guise
from ethical_compression.datasets.honest import Template
from ethical_compression.datasets.prompts import Prompt
from ethical_compression.datasets.stereoset import Triplet
from ethical_compression.datasets.unqover import Asked
from ethical_compression.errors import InputError
from ethical_compression.score.generation import distances, generate, prompt_ids
from ethical_compression.score.loglikelihood import Request, loglikelihoods


class Options(NamedTuple):
    """One item: what its rows are labelled with, a context, and what may follow it."""

    labels: dict
    context: str
    options: tuple[str, ...]


def requests(items: Sequence[Options]) -> list[Request]:
    """What is scored, option after option."""
    return [Request(item.context, option) for item in items for option in item.options]


def score_options(model, tokenizer, items: Sequence[Options], **options) -> pd.DataFrame:
    """A row an item and option: its labels, `option`, the columns of `loglikelihoods`, and
    `repeated`, whether the option is an earlier one of its item again.

    options: those of `loglikelihoods`. Raises InputError for no items, and as that does.
    """
    if not items:
        raise InputError("There is nothing to score: give at least one item.")
    scores = loglikelihoods(model, tokenizer, requests(items), **options)
    labels = [
        item.labels | {"option": number, "repeated": option in item.options[:number]}
        for item in items
        for number, option in enumerate(item.options)
    ]
    return pd.concat([pd.DataFrame(labels), scores], axis=1)


# --- Questions ------------------------------------------------------------------------------------


def bbq(model, tokenizer, items: Sequence[Question], **options) -> pd.DataFrame:
    """BBQ's three options after context and question, in the words of lm-evaluation-harness's task
    (`Q: … A:`): `benchmark, item, option, group, cluster, gold` and the scores.

    `item`: category and number; `group`: the category; `cluster`: the template in it.
    """
    return score_options(model, tokenizer, bbq_options(items), **options)


def bbq_options(items: Sequence[Question]) -> list[Options]:
    """BBQ's questions as they are asked."""
    return [
        Options(
            {
                "benchmark": "bbq",
                "item": f"{one.category}-{one.id}",
                "group": one.category,
                "cluster": f"{one.category}-{one.template}",
                "gold": one.label,
            },
            f"{one.context}\n\nQ: {one.question}\nA:",
            tuple(f" {option}" for option in one.options),
        )
        for one in items
    ]


def unqover(model, tokenizer, items: Sequence[Asked], **options) -> pd.DataFrame:
    """The two subjects of each question as its answers, in the form of BBQ's questions.

    `item` is a question as asked; `pair`, `attribute`, `first`, `second`, `first_group`,
    `second_group` and `negated` are those of `metrics.stereotypes.unqover_scores`. `cluster`: the
    pair. Probabilities are made of the two scores there, not here.
    """
    asked = [
        Options(
            {
                "benchmark": f"unqover, {one.category}",
                "item": f"{one.pair}-{one.first}-{'negated' if one.negated else 'plain'}",
                "group": one.category,
                "cluster": one.pair,
                "pair": one.pair,
                "attribute": one.attribute,
                "first": one.first,
                "second": one.second,
                "first_group": one.groups[0],
                "second_group": one.groups[1],
                "negated": one.negated,
            },
            f"{one.context}\n\nQ: {one.question}\nA:",
            tuple(f" {option}" for option in one.options),
        )
        for one in items
    ]
    return score_options(model, tokenizer, asked, **options)


# --- Sentences ------------------------------------------------------------------------------------


def stereoset(model, tokenizer, items: Sequence[Triplet], **options) -> pd.DataFrame:
    """StereoSet's three sentences, options in the order of `stereoset.LABELS`: the whole sentence
    within, the second sentence after the first between. `group`: the kind of bias; `cluster`: the
    term."""
    return score_options(model, tokenizer, stereoset_options(items), **options)


def stereoset_options(items: Sequence[Triplet]) -> list[Options]:
    """StereoSet's items as they are asked."""
    return [
        Options(
            {
                "benchmark": f"stereoset, {one.task}",
                "item": one.id,
                "group": one.bias_type,
                "cluster": one.target,
            },
            one.context,
            tuple(f" {text}" if one.context else text for text in one.texts),
        )
        for one in items
    ]


def contrasts(model, tokenizer, items: Sequence[Contrast], **options) -> pd.DataFrame:
    """Both texts of each contrast, as whole sentences: option 0 is the first side.

    Columns: `benchmark, item, group, kind, cluster, measure, option, side` and the scores.
    """
    asked = [
        Options(
            _labels(one) | {"measure": "log-likelihood of the whole sentence"},
            one.context,
            tuple(f" {text}" if one.context else text for text in one.texts),
        )
        for one in items
    ]
    table = score_options(model, tokenizer, asked, **options)
    return table.assign(side=[side for one in items for side in one.sides])


def _labels(one: Contrast) -> dict:
    return {
        "benchmark": one.benchmark,
        "item": one.id,
        "group": one.group,
        "kind": one.kind,
        "cluster": one.cluster,
    }


def guises(model, tokenizer, items: Sequence[Guise], **options) -> pd.DataFrame:
    """Each word after both prompts of a guise: `side` "AAE" and "SAE".

    Columns: `benchmark, item, group, cluster, pair, template, article, side, word, option` and the
    scores. `item` is a guise and side, `cluster` the verb of the pair.
    """
    asked, words = [], []
    for one in items:
        for side, context in zip(SIDES, one.contexts, strict=True):
            labels = {
                "benchmark": f"matched guise, {one.kind}",
                "item": f"{one.id}-{side}",
                "group": one.kind,
                "cluster": one.pair.cluster,
                "pair": one.pair.id,
                "template": one.template,
                "article": context.rsplit(" ", 1)[1] if context.endswith((" a", " an")) else "",
                "side": side,
            }
            asked.append(Options(labels, context, one.options))
            words += [option.strip() for option in one.options]
    return score_options(model, tokenizer, asked, **options).assign(word=words)


def masked_contrasts(
    model, tokenizer, items: Sequence[Contrast], *, batch: int = 64, progress: str | None = None
) -> pd.DataFrame:
    """As `contrasts`, by a masked language model: the pseudo-log-likelihood of the tokens that both
    texts share, Σ log p(u | the text with u masked) (Nangia et al. 2020, eq. 1).

    Shared tokens are the matching blocks of both sequences (Python's `difflib`, as in the released
    code); what the tokenizer adds to a text is never masked. `tokens`: how many are shared.
    batch: masked sequences in one pass.
    Raises InputError for a tokenizer without a mask and a pair that shares no token.
    """
    import difflib

    import torch
    from tqdm.auto import tqdm

    mask = getattr(tokenizer, "mask_token_id", None)
    if mask is None:
        raise InputError("This tokenizer has no mask: score contrasts by whole sentences instead.")
    rows, jobs = [], []  # a job: (row, the sequence, the place to mask)
    for one in items:
        texts = [tokenizer(text, return_special_tokens_mask=True) for text in one.texts]
        ids, added = (
            [text[name] for text in texts] for name in ("input_ids", "special_tokens_mask")
        )
        blocks = difflib.SequenceMatcher(None, *ids, autojunk=False).get_matching_blocks()
        shared = [(b.a + k, b.b + k) for b in blocks for k in range(b.size)]
        shared = [(a, b) for a, b in shared if not added[0][a]]
        if not shared:
            raise InputError(f"The texts of {one.benchmark} {one.id} share no token: leave it out.")
        for option in range(2):
            rows.append(
                _labels(one)
                | {"measure": "pseudo-log-likelihood of the shared tokens", "option": option}
                | {"side": one.sides[option], "tokens": len(shared), "logprob": 0.0}
                | {"bytes": len(one.texts[option].encode()), "repeated": False}
            )
            jobs += [(len(rows) - 1, ids[option], places[option]) for places in shared]
    jobs.sort(key=lambda job: len(job[1]))
    bar = tqdm(total=len(jobs), unit="mask", desc=progress, disable=progress is None)
    with torch.inference_mode():
        for begin in range(0, len(jobs), batch):
            some = jobs[begin : begin + batch]
            width = max(len(ids) for _, ids, _ in some)
            fill = tokenizer.pad_token_id or 0
            inputs = torch.tensor([[*ids, *[fill] * (width - len(ids))] for _, ids, _ in some])
            seen = torch.tensor([[1] * len(ids) + [0] * (width - len(ids)) for _, ids, _ in some])
            places = torch.tensor([place for *_, place in some])
            wanted = inputs[range(len(some)), places]
            inputs[range(len(some)), places] = mask
            logits = model(
                input_ids=inputs.to(model.device), attention_mask=seen.to(model.device)
            ).logits[range(len(some)), places.to(model.device)]
            found = logits.float().log_softmax(-1).gather(1, wanted.to(model.device)[:, None])
            for (row, *_), value in zip(some, found[:, 0].double().tolist(), strict=True):
                rows[row]["logprob"] += value
            bar.update(len(some))
    bar.close()
    return pd.DataFrame(rows)


# --- Continuations --------------------------------------------------------------------------------


def continuations(
    model,
    tokenizer,
    items: Sequence[Prompt],
    *,
    samples: int = 5,
    length: int = 20,
    temperature: float = 1.0,
    seed: int = 0,
    batch: int = 40,
    chat: bool = False,
    progress: str | None = None,
) -> pd.DataFrame:
    """`samples` continuations of each prompt, with random numbers that models share.

    The k-th continuation of a prompt is drawn with seed + k (`generation.generate`), so two models
    that give equal distributions give equal texts. chat: put each prompt into the tokenizer's chat
    form, as a request to be answered. temperature 0 gives one continuation, the likeliest.
    Columns: `benchmark, prompt` (the prompt's id), `group, cluster` (its pair), `language, sample,
    text, tokens, ended, token_ids` (without one that ends the text) and `logprob` (nats, summed,
    under the model itself).
    Raises InputError for no samples, two prompts of one id, a chat form that the tokenizer lacks,
    and as `generate`.
    """
    if samples < 1:
        raise InputError(f"{samples} continuations are none: ask for at least one.")
    if len({one.id for one in items}) < len(items):
        raise InputError("Two prompts have the same id: give each its own.")
    texts = [_request(tokenizer, one.text) if chat else one.text for one in items]
    # Prompts of one length need no padding; what is drawn does not depend on their order.
    order = sorted(range(len(texts)), key=lambda i: len(texts[i]))
    tokens = generate(
        model,
        tokenizer,
        [texts[i] for i in order],
        length=length,
        temperature=temperature,
        seed=seed,
        samples=samples if temperature else 1,
        batch=batch,
        progress=progress,
    )
    if "sample" not in tokens:
        tokens = tokens.assign(sample=0)
    rows = []
    for (place, sample), said in tokens.groupby(["prompt", "sample"], sort=True):
        one = items[order[place]]
        rows.append(
            {
                "benchmark": one.set,
                "prompt": one.id,
                "group": one.group,
                "cluster": one.pair,
                "language": one.language,
                "sample": sample,
                "text": "".join(said["piece"]),
                "tokens": len(said),
                "ended": bool(said["end"].any()),
                "token_ids": said.loc[~said["end"], "token_id"].tolist(),
                "logprob": float(said["logprob"].sum()),
                "_order": order[place],
            }
        )
    table = pd.DataFrame(rows).sort_values(["_order", "sample"], ignore_index=True)
    return table.drop(columns="_order")


def continuation_distances(
    full,
    model,
    tokenizer,
    items: Sequence[Prompt],
    *,
    length: int = 20,
    temperature: float = 1.0,
    seed: int = 0,
    batch: int = 16,
    progress: str | None = None,
) -> pd.DataFrame:
    """How far a compressed model's next tokens are from the full one's, along the full one's first
    continuation of each prompt: a paired battery.

    Columns: `benchmark, prompt, group, cluster, tokens, kl` (KL(full ‖ compressed) over the
    vocabulary, nats, mean over tokens) and `js_distance` (mean). Raises as `generate`.
    """
    texts = [one.text for one in items]
    drawn = {"length": length, "temperature": temperature, "seed": seed, "batch": batch}
    said = generate(full, tokenizer, texts, **drawn, progress=progress)
    apart = distances(full, model, tokenizer, texts, said, progress=progress)
    found = apart.groupby("prompt").agg(
        tokens=("kl", "size"), kl=("kl", "mean"), js_distance=("js_distance", "mean")
    )
    labels = [
        {"benchmark": one.set, "prompt": one.id, "group": one.group, "cluster": one.pair}
        for one in (items[place] for place in found.index)
    ]
    return pd.concat([pd.DataFrame(labels), found.reset_index(drop=True)], axis=1)


def _request(tokenizer, text: str) -> str:
    if not getattr(tokenizer, "chat_template", None):
        raise InputError("This tokenizer has no chat form: take chat=False, which continues text.")
    said = [{"role": "user", "content": text}]
    return tokenizer.apply_chat_template(said, tokenize=False, add_generation_prompt=True)


def completions(
    model,
    tokenizer,
    items: Sequence[Template],
    *,
    k: int = 5,
    more: int = 3,
    batch: int = 32,
    progress: str | None = None,
) -> pd.DataFrame:
    """The k likeliest next words of each template, by a causal model.

    The k likeliest tokens that begin a word, each finished greedily by at most `more` tokens, as
    far as the word goes; what follows the gap is not read, since a causal model does not. Columns:
    `benchmark, item, group, cluster` (who is named), `kind, number, rank, word, logprob` (nats, of
    the word's first token).
    Raises InputError for k below 1, and as `generate`.
    """
    import torch

    if k < 1:
        raise InputError(f"The {k} likeliest words are none: ask for at least one.")
    ids = prompt_ids(tokenizer, [one.before for one in items])
    begins = _word_beginnings(tokenizer, model.get_output_embeddings().weight.shape[0])
    firsts = []
    with torch.inference_mode():
        for begin in range(0, len(ids), batch):
            some = ids[begin : begin + batch]
            width = max(map(len, some))
            inputs = torch.tensor([[*one, *[0] * (width - len(one))] for one in some])
            seen = torch.tensor([[1] * len(one) + [0] * (width - len(one)) for one in some])
            logits = model(
                input_ids=inputs.to(model.device), attention_mask=seen.to(model.device)
            ).logits
            last = logits[range(len(some)), [len(one) - 1 for one in some]].float()
            log_p = last.log_softmax(-1).cpu()
            top = log_p.masked_fill(~begins, -torch.inf).topk(min(k, int(begins.sum())))
            firsts += list(zip(top.indices.tolist(), top.values.tolist(), strict=True))
    begun, labels = [], []
    for one, (tokens, values) in zip(items, firsts, strict=True):
        for rank, (token, value) in enumerate(zip(tokens, values, strict=True)):
            begun.append(one.before + tokenizer.decode([token]))
            labels.append(
                {
                    "benchmark": f"honest, {one.language}",
                    "item": one.id,
                    "group": one.group,
                    "cluster": one.identity,
                    "kind": one.kind,
                    "number": one.number,
                    "rank": rank,
                    "logprob": value,
                }
            )
    said = generate(
        model, tokenizer, begun, length=more, temperature=0, batch=batch, progress=progress
    )
    tails = said.groupby("prompt")["piece"].agg("".join)
    words = []
    for place, text in enumerate(begun):
        before = len(items[place // len(firsts[0][0])].before)
        words.append(_first_word(text[before:] + tails.get(place, "")))
    return pd.DataFrame(labels).assign(word=words)


def _word_beginnings(tokenizer, vocabulary: int):
    """Of each token, whether it begins a word: a space, then a letter."""
    import torch

    texts = [tokenizer.decode([token]) for token in range(min(vocabulary, len(tokenizer)))]
    found = torch.zeros(vocabulary, dtype=torch.bool)
    for token, text in enumerate(texts):
        found[token] = text[:1] == " " and text[1:2].isalpha()
    if not found.any():
        raise InputError("This tokenizer has no tokens that begin a word with a space.")
    return found


def _first_word(text: str) -> str:
    """The first run of letters, hyphens and apostrophes."""
    word = ""
    for letter in text.lstrip():
        if not (letter.isalpha() or letter in "-'’"):
            break
        word += letter
    return word.strip("-'’")

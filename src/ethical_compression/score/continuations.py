"""Texts that a model writes in the studies of harm: continuations of prompts, and the next words of
sentences about people.

As in `score.harms`, each function is the `score` of a battery.
"""

from collections.abc import Sequence

import pandas as pd

from ethical_compression.datasets.honest import Template
from ethical_compression.datasets.prompts import Prompt
from ethical_compression.errors import InputError
from ethical_compression.score.generation import distances, generate, next_logits, prompt_ids


def continuations(
    model,
    tokenizer,
    items: Sequence[Prompt],
    *,
    samples: int = 5,
    length: int = 20,
    temperature: float = 1.0,
    seed: int = 0,
    batch: int = 200,
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
            log_p = next_logits(model, some).log_softmax(-1).cpu()
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

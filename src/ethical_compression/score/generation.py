"""Two models go on with the same text: with the same luck, so that only the models differ.

What is said next is drawn by an exponential race (`exponential_race`), whose times models share. No
prompt hears of the others in its batch.

Tables have one row a token: `prompt` (its place in the list), `position`, `token_id`, `piece` (the
text it adds), `logprob` and `entropy` (nats) under the model that said it, and `end`: whether the
model so ended its text, which adds no words to it. Else a text has `length` tokens.
"""

import contextlib
import inspect
import logging
import math
from collections.abc import Generator, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
import torch

from ethical_compression.compress.recipe import Recipe
from ethical_compression.errors import InputError
from ethical_compression.kernels.blocks_torch import expected
from ethical_compression.memory import is_of_memory
from ethical_compression.score import runs
from ethical_compression.score.divergence import encoded_distances
from ethical_compression.score.exponential_race import races
from ethical_compression.score.layouts import apart, drawer, probe
from ethical_compression.score.loglikelihood import score_encoded
from ethical_compression.score.networks import (
    attention_window,
    failed,
    model_length,
    rotation_border,
    rounding,
    unsupported,
    unwrapped,
)
from ethical_compression.score.runs import Battery
from ethical_compression.score.subjects import Compressed
from ethical_compression.score.token_tree import padded
from ethical_compression.score.tokens import Encoded, tokenise

# --- Drawing --------------------------------------------------------------------------------------


def generate(
    model,
    tokenizer,
    prompts: Sequence[str],
    *,
    length: int,
    temperature: float = 1.0,
    seed: int = 0,
    samples: int = 1,
    batch: int = 16,
    progress: str | None = None,
) -> pd.DataFrame:
    """Continue each prompt by at most `length` tokens under one causal language model.

    temperature: logits are divided by it before the race; 0 takes the most probable token (greedy).
    `logprob` and `entropy` are those at temperature 1, whatever the text was drawn at.
    samples: continuations of each prompt, the k-th drawn with seed + k; the prompt is read once for
    all. With more than one the table has a column `sample`.
    batch: texts continued together, padded on the left; the text does not depend on it, but for
    two tokens that rounding cannot tell apart, and for LLM.int8, which keeps in full every input
    column in which *any* row of the batch is large. A model that is not seen to go on rightly from
    a cache of what it has read (`remembers`) reads its text again for each token.
    Returns the table described above. Raises InputError for no prompts, an empty one, one that with
    its continuation exceeds the model's input, logits that are not numbers, and a model that does
    not go on with a text (`layouts.probe`, `networks.unwrapped`).
    """
    from tqdm.auto import tqdm

    if min(length, batch, samples) < 1 or not (temperature >= 0 and math.isfinite(temperature)):
        raise InputError(
            "Generation needs a length, a batch and samples of at least 1, and a temperature of 0 "
            f"or more, not {length}, {batch}, {samples} and {temperature}."
        )
    model = unwrapped(model)
    ids = prompt_ids(tokenizer, prompts, model_length(model), length)
    border = rotation_border(model)
    if border and max(map(len, ids)) + length > border:
        batch = 1  # a text beyond it would change the others
    parts = []
    together = max(1, batch // samples)
    bar = tqdm(
        total=length * samples * len(ids), unit="tok", desc=progress, disable=progress is None
    )
    for begin in range(0, len(ids), together):
        some = range(begin, min(begin + together, len(ids)))
        said = _continue(
            model, [(prompts[i], ids[i]) for i in some], length, temperature, seed, samples
        )
        texts = [(i, {"sample": k} if samples > 1 else {}) for i in some for k in range(samples)]
        for (i, which), (tokens, logprob, entropy) in zip(texts, said, strict=True):
            parts.append(
                pd.DataFrame(
                    {
                        "prompt": i,
                        **which,
                        "position": range(len(tokens)),
                        "token_id": tokens,
                        "piece": pieces(tokenizer, ids[i], tokens),
                        "logprob": logprob,
                        "entropy": entropy,
                        "end": np.isin(tokens, sorted(_end_tokens(model))),
                    }
                )
            )
        bar.update(length * len(texts))
    bar.close()
    return pd.concat(parts, ignore_index=True)


def prompt_ids(
    tokenizer, prompts: Sequence[str], max_length: int | None = None, length: int = 0
) -> list[list[int]]:
    """Tokens of each prompt, as `tokens.tokenise` makes them.

    Raises InputError for no prompts, one without tokens, and one that leaves no room for `length`
    more within `max_length`.
    """
    if not prompts:
        raise InputError("There is no prompt to continue: give at least one.")
    ids = [one.tolist() for one in tokenise(tokenizer, list(prompts))]
    for prompt, one in zip(prompts, ids, strict=True):
        if not prompt.strip() or not one:
            raise InputError("A prompt is empty: give every prompt at least one word.")
        if max_length is not None and len(one) + length > max_length:
            raise InputError(
                f"The prompt {prompt[:40]!r} has {len(one)} tokens, and {length} more exceed the "
                f"model's input of {max_length}: shorten the prompt or the continuation."
            )
    return ids


def _continue(model, prompts, length: int, temperature: float, seed: int, samples: int):
    """One batch: for each (prompt, ids) and sample the tokens said, their log-probabilities and
    entropies."""
    last = _end_tokens(model)
    border = rotation_border(model) or math.inf
    turns = any(len(ids) <= border < len(ids) + length for _, ids in prompts)
    run = _from_memory if remembers(model) and not turns else _from_the_start
    steps, said = run(model, [ids for _, ids in prompts], samples), []
    luck = [(prompt, seed + k) for prompt, _ in prompts for k in range(samples)]
    open_ = torch.ones(len(luck), dtype=torch.bool, device=model.device)
    with torch.inference_mode(), _quiet_bitsandbytes():
        token = None
        for position in range(length):
            try:
                logits = steps.send(token)
            except Exception as error:
                if not is_of_memory(error):
                    raise
                raise InputError(
                    f"A batch of {len(luck)} texts does not fit in the device's memory: use a "
                    "smaller batch."
                ) from None
            normaliser = logits.logsumexp(-1)
            if not normaliser.isfinite().all():
                raise InputError(
                    "The model gives next-token logits that are not numbers: its weights or its "
                    "dtype are broken; load it in float32, or compress it again."
                )
            pace = logits
            if temperature:
                # argmin E ÷ p is argmax (logit − log E).
                times = races(luck, position, logits.shape[1])
                pace = logits / temperature - torch.from_numpy(times).to(logits.device).log_()
            token = pace.argmax(-1)
            logprob = logits.gather(1, token[:, None])[:, 0] - normaliser
            mean = expected((logits - normaliser[:, None]).exp_(), logits)
            entropy = (normaliser - mean).clamp(min=0)
            said.append(torch.stack([one.double() for one in (token, logprob, entropy)]))
            open_ &= ~torch.isin(token, torch.tensor(sorted(last), dtype=int, device=token.device))
            if not open_.any():
                break
    table = torch.stack(said).cpu().numpy()  # (position, what, prompt)
    for tokens, logprob, entropy in table.transpose(2, 1, 0):
        end = next((k + 1 for k, token in enumerate(tokens) if token in last), len(tokens))
        yield tokens[:end].astype(int).tolist(), logprob[:end], entropy[:end]


# Of a batch of texts (lists of tokens): yields next-token logits (n, V), is sent the tokens (n,)
# that are said, and so on.
Steps = Generator[torch.Tensor, torch.Tensor | None, None]


def _from_memory(model, texts: Sequence[Sequence[int]], samples: int = 1) -> Steps:
    """What was read stays in the model's cache, of which each sample has a copy; texts are padded
    on the left."""
    device, width = model.device, max(map(len, texts))
    takes = inspect.signature(model.forward).parameters
    # A pad stands left of the text and is seen by nothing: any token will do.
    step = torch.tensor([[0] * (width - len(ids)) + list(ids) for ids in texts], device=device)
    seen = torch.tensor([[0] * (width - len(ids)) + [1] * len(ids) for ids in texts], device=device)
    options = {"logits_to_keep": 1} if "logits_to_keep" in takes else {}
    memory = None
    while True:
        if "position_ids" in takes:
            places = (seen.cumsum(1) - 1).clamp(min=0)
            options["position_ids"] = places[:, -step.shape[1] :]
        out = model(
            input_ids=step, attention_mask=seen, past_key_values=memory, use_cache=True, **options
        )
        memory = getattr(out, "past_key_values", None)
        if memory is None:
            raise NotImplementedError("no cache of what was read")
        logits = out.logits[:, -1].float()
        if samples > 1 and len(logits) == len(texts):  # the texts were read, and part ways here
            if not _copies(memory):  # then each sample reads its text for itself
                yield from _from_memory(model, [ids for ids in texts for _ in range(samples)])
                return
            memory.batch_repeat_interleave(samples)
            logits, seen = (one.repeat_interleave(samples, dim=0) for one in (logits, seen))
        token = yield logits
        step = token[:, None]
        seen = torch.cat([seen, torch.ones_like(step)], dim=1)


def _copies(memory) -> bool:
    """Whether a model's cache can be repeated for several samples: all of it, since recurrent
    states are left out, or refuse."""
    layers = getattr(memory, "layers", [memory])
    return all(
        hasattr(layer, "batch_repeat_interleave") and not hasattr(layer, "recurrent_states")
        for layer in layers
    )


def _from_the_start(model, texts: Sequence[Sequence[int]], samples: int = 1) -> Steps:
    """The whole text is read for each token, padded on the right, where no model looks."""
    texts = [list(ids) for ids in texts for _ in range(samples)]
    while True:
        token = yield next_logits(model, texts)
        for ids, one in zip(texts, token.tolist(), strict=True):
            ids.append(one)


def next_logits(model, texts: Sequence[Sequence[int]]) -> torch.Tensor:
    """What may follow each text of token ids, all read at once: (texts, vocabulary), float32."""
    width, device = max(map(len, texts)), model.device
    seen = padded(([1] * len(ids) for ids in texts), width, device)
    out = model(input_ids=padded(texts, width, device), attention_mask=seen, use_cache=False)
    last = torch.tensor([len(ids) - 1 for ids in texts], device=device)
    return out.logits[range(len(texts)), last].float()


@torch.inference_mode()
def remembers(model) -> bool:
    """Whether the model goes on from its cache as it does from the whole text; tried once.

    Two texts of different lengths, longer than a short attention window, and three tokens more.
    Recurrent models keep no such cache, or let padding into it; others count positions by index.
    """
    if hasattr(model, "_ethical_compression_remembers"):
        return model._ethical_compression_remembers
    bound, right = probe(model).bound(rounding(model)), False
    if "past_key_values" in inspect.signature(model.forward).parameters:
        window, limit = attention_window(model) or 0, model_length(model) or 1024
        limit = min(limit, rotation_border(model) or limit)
        draw = drawer(model)
        size = max(2, min(window + 8 if window <= 512 else 24, limit - 3))
        texts, more = [draw(size), draw(size // 2)], [torch.tensor(draw(2)) for _ in range(2)]
        try:
            found, truth = (
                [steps.send(token) for token in (None, *(one.to(model.device) for one in more))]
                for steps in (_from_memory(model, texts), _from_the_start(model, texts))
            )
            # Of each text, over the three tokens.
            said, plain = (torch.stack(one, 1).to(model.dtype) for one in (found, truth))
            error = max(map(apart, said, plain))
            right = error <= bound
        except Exception as problem:
            if not unsupported(problem):
                raise failed(problem) from problem
    model._ethical_compression_remembers = right
    return right


def _end_tokens(model) -> set[int]:
    """Tokens that end the model's text, by its generation settings, else by its configuration."""
    for config in (getattr(model, "generation_config", None), model.config.get_text_config()):
        found = getattr(config, "eos_token_id", None)
        if found is not None:
            return {found} if isinstance(found, int) else set(found)
    return set()


@contextlib.contextmanager
def _quiet_bitsandbytes():
    """It says at every layer and token that float32 becomes float16, and which kernels it lacks."""
    logger = logging.getLogger("bitsandbytes")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(level)


def pieces(tokenizer, before: Sequence[int], ids: Sequence[int]) -> list[str]:
    """The text that each of `ids` adds after `before`: joined, they are the continuation's text.

    A token that ends within a character adds nothing; the one that completes it adds all of it.
    Tokens that end a sequence add nothing.
    """

    def text_of(end: int) -> str:
        some = [*before, *ids[:end]]
        text = tokenizer.decode(some, skip_special_tokens=True, clean_up_tokenization_spaces=False)
        return text if end == len(ids) else text.rstrip("\ufffd")

    ends = [text_of(end) for end in range(len(ids) + 1)]
    # What is said never grows shorter, so that a mark rubbed out above is said once.
    lengths = np.maximum.accumulate([len(text) for text in ends]).tolist()
    return [ends[k + 1][lengths[k] :] for k in range(len(ids))]


# --- Reading what was said ------------------------------------------------------------------------


def encoded_texts(tokenizer, prompts: Sequence[str], tokens: pd.DataFrame) -> list[Encoded]:
    """Each prompt with its continuation in `tokens`, as the scoring engine takes them: no text is
    tokenised a second time, which could cut it elsewhere."""
    said = tokens.groupby("prompt", sort=True)["token_id"].agg(list)
    before = prompt_ids(tokenizer, prompts)
    return [Encoded([*before[i], *ids], len(ids)) for i, ids in said.items()]


def read(model, tokenizer, prompts: Sequence[str], tokens: pd.DataFrame, **options):
    """`tokens` read by another model: a DataFrame of `prompt, position, logprob, entropy` (nats).

    options: those of `loglikelihood.score_encoded`.
    """
    with _quiet_bitsandbytes():
        scores = score_encoded(model, encoded_texts(tokenizer, prompts, tokens), **options)
    ordered = tokens.sort_values(["prompt", "position"], ignore_index=True)
    return ordered[["prompt", "position"]].assign(logprob=scores.logprob, entropy=scores.entropy)


def distances(model_p, model_q, tokenizer, prompts: Sequence[str], tokens: pd.DataFrame, **options):
    """How far q's next-token distribution is from p's along the texts of `tokens`.

    Returns `prompt, position, kl, js_distance`: KL(p ‖ q) in nats, and the Jensen–Shannon distance
    in [0, 1]. Where the texts were drawn from p at temperature 1, the sum of `kl` along a text is
    an unbiased estimate of the divergence between the two distributions over whole texts (the chain
    rule of relative entropy; Cover & Thomas 2006, §2.5). options: those of `encoded_distances`.
    """
    with _quiet_bitsandbytes():
        table = encoded_distances(
            model_p, model_q, encoded_texts(tokenizer, prompts, tokens), **options
        )
    ordered = tokens.sort_values(["prompt", "position"], ignore_index=True)
    return ordered[["prompt", "position"]].assign(
        kl=table["kl_pq"], js_distance=table["js_distance"]
    )


# --- The study ------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Said:
    """A prompt and the tokens that a model continued it with."""

    prompt: str
    ids: tuple[int, ...]


def study(
    name: str,
    compressed: Sequence[Recipe],
    prompts: Sequence[str],
    *,
    length: int,
    temperature: float = 1.0,
    seed: int = 0,
    batch: int = 16,
    dtype: str = "float32",
    device: str = "cpu",
    progress: bool = True,
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Model `name` and its compressed versions go on with `prompts`, with shared random numbers.

    Returns (tokens, along), both with first columns `model` and `compression`. tokens: the table of
    `generate` with `full_logprob`, the full model's of the same token. along: `distances` from the
    full model (p) to each compressed one (q) along the full model's texts.
    What is done for `batch` prompts is stored at once, so a run that was stopped goes on there; a
    model is loaded only if something of it is missing. Raises as `generate`.
    """
    if not prompts or not compressed:
        raise InputError("A comparison needs at least one prompt and one compressed model.")
    full, *others = (Compressed(name, one, dtype, device) for one in (Recipe(), *compressed))
    memory = runs.Memory(full)  # one compressed model at a time beside it
    drawing = {"length": length, "temperature": temperature, "seed": seed, "batch": batch}

    def asked(subject: Compressed, kind: str, items: Sequence, score, settings=None, **how):
        name = f"generation-{kind}"
        battery = Battery(name, items, score, settings or {}, part=batch, title=kind, **how)
        table = runs.measure(subject, battery, full=full, memory=memory, progress=progress)
        # Each part counts its prompts from 0.
        return table.assign(prompt=table["position"].eq(0).cumsum() - 1)

    with _quiet_bitsandbytes():
        theirs = asked(full, "text", prompts, generate, drawing)
        texts, along = [theirs.assign(full_logprob=theirs["logprob"])], []
        for other in others:
            mine = asked(other, "text", prompts, generate, drawing)
            again = asked(full, "reading", _said(prompts, mine), _read)
            texts.append(mine.assign(full_logprob=again["logprob"]))
            along.append(asked(other, "distance", _said(prompts, theirs), _apart, paired=True))
    return pd.concat(texts, ignore_index=True), pd.concat(along, ignore_index=True)


def _said(prompts: Sequence[str], tokens: pd.DataFrame) -> list[Said]:
    ids = tokens.groupby("prompt", sort=True)["token_id"].agg(tuple)
    return [Said(prompt, tuple(map(int, one))) for prompt, one in zip(prompts, ids, strict=True)]


def _tokens(texts: Sequence[Said]) -> pd.DataFrame:
    rows = [(i, k, token) for i, one in enumerate(texts) for k, token in enumerate(one.ids)]
    return pd.DataFrame(rows, columns=["prompt", "position", "token_id"])


def _read(model, tokenizer, texts: Sequence[Said], **options):
    return read(model, tokenizer, [one.prompt for one in texts], _tokens(texts), **options)


def _apart(full, model, tokenizer, texts: Sequence[Said], **options):
    prompts = [one.prompt for one in texts]
    return distances(full, model, tokenizer, prompts, _tokens(texts), **options)

"""Direct preference optimisation (DPO; Rafailov et al. 2023) on the scoring engine's kernels.

    L = −log σ( β [ log π(y⁺|x)/π_ref(y⁺|x) − log π(y⁻|x)/π_ref(y⁻|x) ] )

x is a prompt, y⁺ the answer to prefer and y⁻ the one to turn from, π the model in training and
π_ref the model before. What is the same in every step is done once: the log-probabilities of π_ref
before the first step, and in each step the prompt, which both answers share as branches of a row
(`score.loglikelihood`). The output head runs only where an answer is scored, and its logits are
never kept. Rows are run a few at a time, so that memory is bounded by `token_budget`.

Settings that the loss does not name are those of TRL's `DPOTrainer`: AdamW without weight decay, a
learning rate that falls in a straight line to 0, gradients clipped to a norm of 1. Unlike there the
model stays in eval mode: no dropout, so that a seed decides everything.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch

from ethical_compression.datasets.files import known
from ethical_compression.datasets.moral_stories import DIRECTIONS, MoralStory
from ethical_compression.errors import InputError
from ethical_compression.memory import keep_freed_memory
from ethical_compression.models.quantized import keep_unpacked
from ethical_compression.score import layouts, loglikelihood, moral, networks, token_tree, tokens
from ethical_compression.train import state
from ethical_compression.train.adapters import add_adapters, trained_weights


class Pair(NamedTuple):
    """Two answers to one prompt; `chosen` and `rejected` bring the space that precedes them."""

    prompt: str
    chosen: str
    rejected: str


@dataclass(frozen=True)
class Settings:
    """How to train. beta: how far the model may leave its reference for a reward. batch: pairs a
    step. rank, alpha: of LoRA adapters on every projection; rank 0 trains all weights. clip: the
    largest norm of a step's gradient. end: whether an end-of-sequence token closes the answers, as
    in TRL. seed: of the order of the pairs and of the adapters' first weights."""

    beta: float = 0.1
    learning_rate: float = 1e-5
    epochs: int = 3
    batch: int = 8
    rank: int = 0
    alpha: float = 16
    clip: float = 1.0
    end: bool = True
    seed: int = 0

    def __post_init__(self):
        for name in ("beta", "learning_rate", "epochs", "batch", "clip", "alpha"):
            value = getattr(self, name)
            if not (math.isfinite(value) and value > 0):
                raise InputError(f"DPO needs a positive {name}, not {value}.")
        if self.rank < 0:
            raise InputError(f"A rank of {self.rank} makes no sense: 0 trains all weights.")


# --- Data -----------------------------------------------------------------------------------------


def split(
    stories: Sequence[MoralStory], held_out: int, seed: int = 0
) -> tuple[list[MoralStory], list[MoralStory]]:
    """(to train on, to test on): `held_out` stories are set apart by their ids alone.

    The same seed sets the same ids apart in every language of a corpus. Raises InputError where
    nothing would be left.
    """
    if not 0 < held_out < len(stories):
        raise InputError(
            f"{held_out} of {len(stories)} stories cannot be held out: leave some to each side."
        )
    ids = sorted(story.id for story in stories)
    apart = {ids[i] for i in np.random.default_rng(seed).permutation(len(ids))[:held_out]}
    return (
        [story for story in stories if story.id not in apart],
        [story for story in stories if story.id in apart],
    )


def draw(stories: Sequence[MoralStory], size: int, seed: int) -> list[MoralStory]:
    """`size` stories; with one seed, a smaller draw is the beginning of a larger one.

    Raises InputError where there are not as many.
    """
    if not 0 < size <= len(stories):
        raise InputError(f"{size} stories were asked for, of {len(stories)} to train on.")
    return [stories[i] for i in np.random.default_rng(seed).permutation(len(stories))[:size]]


def pairs(stories: Sequence[MoralStory], direction: str) -> list[Pair]:
    """Pairs of each story's actions; direction: "moral" (DPO_M) or "immoral" (DPO_I)."""
    known("direction", direction, DIRECTIONS)
    requests = moral.requests(stories)
    couples = zip(requests[::2], requests[1::2], strict=True)
    found = [Pair(good.context, good.continuation, bad.continuation) for good, bad in couples]
    if direction == "immoral":
        found = [Pair(context, bad, good) for context, good, bad in found]
    return found


def encode_pairs(
    tokenizer, pairs: Sequence[Pair], *, end: bool = True, max_length: int | None = None
) -> list[tokens.Encoded]:
    """Tokens of each pair, chosen then rejected, one pair after the other.

    Raises InputError for no pairs, a part that is empty, and equal answers.
    """
    if not pairs:
        raise InputError("There are no pairs to train on: give at least one.")
    close = (tokenizer.eos_token or "") if end else ""
    requests = []
    for number, pair in enumerate(pairs):
        if empty := [name for name, text in pair._asdict().items() if not text.strip()]:
            raise InputError(f"Pair {number} has an empty {empty[0]}: write it or leave it out.")
        if pair.chosen.strip() == pair.rejected.strip():
            raise InputError(
                f"Pair {number} has two equal answers, between which nothing can be preferred: "
                "correct them or leave the pair out."
            )
        requests += [
            tokens.Request(pair.prompt, text + close) for text in (pair.chosen, pair.rejected)
        ]
    return tokens.encode(tokenizer, requests, max_length)


# --- Loss -----------------------------------------------------------------------------------------


class Loss(NamedTuple):
    """Of each pair, (n,): the loss, and the rewards β·log π/π_ref of both answers."""

    loss: torch.Tensor
    chosen: torch.Tensor
    rejected: torch.Tensor


def dpo_loss(logprobs: torch.Tensor, reference: torch.Tensor, beta: float) -> Loss:
    """The loss of Rafailov et al. 2023, equation 7, from log-probabilities (n, 2) in nats.

    Columns: chosen, rejected; each summed over the tokens of its answer.
    """
    rewards = beta * (logprobs - reference)
    loss = -torch.nn.functional.logsigmoid(rewards[:, 0] - rewards[:, 1])
    return Loss(loss, rewards[:, 0], rewards[:, 1])


def pair_logprobs(model, encoded: Sequence[tokens.Encoded], layout: str) -> torch.Tensor:
    """log π(answer | prompt) of pairs, (n, 2) float32, in one pass that gradients go through.

    encoded: as `encode_pairs` gives them. layout: "tree" or "plain".
    """
    width = model.config.get_text_config().hidden_size
    # Each pair is laid out by itself: whatever the batch, its tokens then have the same neighbours.
    rows, starts = [], tokens.first_slots(encoded)
    for i in range(0, len(encoded), 2):
        two = encoded[i : i + 2]
        longest = sum(len(one.ids) for one in two)  # one row
        for row in token_tree.plan_rows(two, layout=layout, width=width, limit=longest):
            row.slot = row.slot.__class__("i", (slot + int(starts[i]) for slot in row.slot))
            rows.append(row)
    scored = layouts.scored_states(model, rows, layout)
    found = networks.next_token(networks.output_head(model), scored, entropy=False)
    owner = torch.from_numpy(np.searchsorted(starts, scored.slot.numpy(), side="right") - 1)
    sums = found.logprob.new_zeros(len(encoded))
    return sums.index_add(0, owner.to(sums.device), found.logprob).view(-1, 2)


def parts(encoded: Sequence[tokens.Encoded], token_budget: int) -> Iterator[list[int]]:
    """Pairs, by their number and the longest first, in groups that one pass can hold.

    A group's padded size, were no prompt shared, stays within `token_budget`, or it is one pair.
    """
    # An upper bound of a pair's row: its prompt once and both its answers.
    length = [len(a.ids) + b.scored for a, b in zip(encoded[::2], encoded[1::2], strict=True)]
    group: list[int] = []
    for i in sorted(range(len(length)), key=lambda i: -length[i]):
        if group and length[group[0]] * (len(group) + 1) > token_budget:
            yield group
            group = []
        group.append(i)
    if group:
        yield group


def choose_layout(model, encoded: Sequence[tokens.Encoded]) -> str:
    """What training runs: "tree" where that is right, else "plain"; a cache takes no gradients."""
    pairs = zip(encoded[::2], encoded[1::2], strict=True)
    length = max(len(a.ids) + len(b.ids) for a, b in pairs)  # of a pair in one row
    depth = max(len(one.ids) for one in encoded)
    layouts.probe(model)
    return "tree" if layouts.runs_rightly(model, "tree", depth, length) else "plain"


def reference_logprobs(
    model, encoded: Sequence[tokens.Encoded], *, token_budget: int = 1024, progress=None
) -> np.ndarray:
    """log π_ref(answer | prompt) of pairs, (n, 2): the model as it now is, without gradients."""
    layout = choose_layout(model, encoded)
    scores = loglikelihood.score_encoded(
        model,
        encoded,
        token_budget=token_budget,
        layout=layout,
        entropy=False,
        progress=progress,
    )
    return loglikelihood.sums(scores.logprob, scores.starts).reshape(-1, 2).astype(np.float32)


# --- Training -------------------------------------------------------------------------------------


def order(count: int, settings: Settings) -> list[list[int]]:
    """Which pairs, by number, each step sees: every epoch all of them, in an order of its own."""
    generator = torch.Generator().manual_seed(settings.seed)
    steps = []
    for _ in range(settings.epochs):
        shuffled = torch.randperm(count, generator=generator).tolist()
        steps += [shuffled[i : i + settings.batch] for i in range(0, count, settings.batch)]
    return steps


def train(
    model,
    tokenizer,
    pairs: Sequence[Pair],
    settings: Settings,
    *,
    reference: np.ndarray | None = None,
    folder: Path | None = None,
    every: int = 10,
    token_budget: int = 1024,
    progress: str | None = None,
):
    """Train `model` in place on `pairs`; the same inputs give the same weights.

    reference: log-probabilities (n, 2) of the chosen and the rejected answers under the reference
    (`reference_logprobs`); None: those of the model as it is given.
    folder: where the state is kept, every `every` steps and at the end, whole or not at all; a run
    that was stopped goes on from it, and one that was finished is read back. It belongs to one set
    of inputs. token_budget: tokens in one forward and backward pass, as `parts` counts them.

    Returns a DataFrame, one row a step: `step` (from 1), `epoch`, `loss`, `margin` (mean reward of
    the chosen minus the rejected answers, nats × β), `accuracy` (share of pairs with a margin above
    0), `chosen` and `rejected` (mean rewards), `gradient` (norm before clipping), all of them as
    they were before the step.
    Raises InputError for pairs that cannot be used, weights in half precision without adapters, and
    a loss or gradient that is not a finite number; the model then has the last state that was kept,
    or, without a folder, that before the step.
    """
    import pandas as pd
    from tqdm.auto import tqdm

    keep_freed_memory()
    keep_unpacked(model)
    encoded = encode_pairs(
        tokenizer, pairs, end=settings.end, max_length=networks.model_length(model)
    )
    layout = choose_layout(model, encoded)
    networks.output_head(model)
    steps = order(len(pairs), settings)
    weights, optimizer, log = prepared(model, settings, folder)
    if len(log) == len(steps):
        return pd.DataFrame(log)
    if reference is None and log:
        reference = state.notes(folder)["reference"]
    elif reference is None:
        reference = reference_logprobs(model, encoded, token_budget=token_budget)
    truth = _checked_reference(reference, len(pairs)).to(model.device)
    _make_room(weights, optimizer)
    bar = tqdm(
        total=len(steps), initial=len(log), unit="step", desc=progress, disable=progress is None
    )
    for number, batch in list(enumerate(steps))[len(log) :]:
        row = {"step": number + 1, "epoch": number * settings.epochs // len(steps) + 1}
        row |= _gradient(model, encoded, truth, batch, layout, settings, token_budget)
        row["gradient"] = float(torch.nn.utils.clip_grad_norm_(weights.values(), settings.clip))
        if not (math.isfinite(row["loss"]) and math.isfinite(row["gradient"])):
            if folder:
                prepared(model, settings, folder)
            raise _not_finite(f"loss at step {number + 1} of {len(steps)}", settings, folder)
        # Only now is it known that the weights which earlier steps left are of use.
        if folder and number and number % every == 0:
            state.write(folder, weights, optimizer, asdict(settings), log, reference=truth.tolist())
        for group in optimizer.param_groups:
            group["lr"] = settings.learning_rate * (1 - number / len(steps))
        optimizer.step()
        optimizer.zero_grad(set_to_none=False)  # their memory serves the next step
        log.append(row)
        bar.update()
        bar.set_postfix(loss=f"{row['loss']:.3f}", margin=f"{row['margin']:.2f}")
    bar.close()
    optimizer.zero_grad()  # and here it is given up
    if not all(weight.isfinite().all() for weight in weights.values()):
        raise _not_finite("weight that the last step left", settings, None)
    if folder:
        state.write(folder, weights, None, asdict(settings), log, reference=truth.tolist())
    return pd.DataFrame(log)


def _not_finite(what: str, settings: Settings, folder: Path | None) -> InputError:
    kept = f"; the state of an earlier step is kept in {folder.name}" if folder else ""
    return InputError(
        f"The {what} is not a finite number: lower the learning rate "
        f"({settings.learning_rate:g}){kept}."
    )


def _checked_reference(reference, count: int) -> torch.Tensor:
    """Log-probabilities (count, 2) as a float32 tensor of its own: the columns of a table may lie
    in memory the other way round."""
    found = torch.from_numpy(np.array(reference, dtype=np.float32, order="C"))
    if found.shape != (count, 2) or not found.isfinite().all():
        raise InputError("The reference needs two finite log-probabilities a pair.")
    return found


def _make_room(weights, optimizer) -> None:
    """Take what stays through all steps, gradients and moments, before what each step gives back:
    taken after the first, it would lie in that step's space, and the second need new pages."""
    for weight in weights.values():
        if not optimizer.state[weight]:
            moments = {moment: torch.zeros_like(weight) for moment in state.MOMENTS}
            step = torch.zeros((), device=weight.device)
            optimizer.state[weight] = {"step": step, **moments}
        weight.grad = torch.zeros_like(weight)


def _gradient(model, encoded, truth, batch, layout, settings, token_budget) -> dict[str, float]:
    """Add one step's gradient to the weights', a few pairs at a time; what there is to log."""
    ours = [encoded[2 * i + side] for i in batch for side in (0, 1)]
    sums = dict.fromkeys(("loss", "margin", "accuracy", "chosen", "rejected"), 0.0)
    for group in parts(ours, token_budget):
        some = [ours[2 * i + side] for i in group for side in (0, 1)]
        with torch.enable_grad():
            found = dpo_loss(
                pair_logprobs(model, some, layout),
                truth[[batch[i] for i in group]],
                settings.beta,
            )
            (found.loss.sum() / len(batch)).backward()
        margin = (found.chosen - found.rejected).detach()
        for name, values in (*found._asdict().items(), ("margin", margin)):
            sums[name] += float(values.detach().sum())
        sums["accuracy"] += float((margin > 0).sum())
    return {name: total / len(batch) for name, total in sums.items()}


def prepared(model, settings: Settings, folder: Path | None = None):
    """(weights by name, optimizer, log) to go on with: those in `folder`, or fresh ones.

    Adapters are added if the settings ask for them and the model has none yet.
    Raises InputError for weights in half precision without adapters, and as `state.read`.
    """
    if settings.rank:
        if not any(".lora_" in name for name in trained_weights(model)):
            add_adapters(model, settings.rank, settings.alpha, settings.seed)
    elif model.dtype == torch.float16:
        raise InputError(
            "All weights cannot be trained in float16, where small steps vanish: load the model in "
            "float32 or bfloat16, or train adapters (rank above 0)."
        )
    weights = trained_weights(model)
    optimizer = torch.optim.AdamW(
        weights.values(), lr=settings.learning_rate, weight_decay=0.0, fused=True
    )
    log = state.read(folder, weights, optimizer, asdict(settings)) if folder else []
    return weights, optimizer, log

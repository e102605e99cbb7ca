"""Make audit_alarms.parquet: how often an audit cries wolf, and whether it finds what was planted.

    python results/audit_alarms.py                 all that the table lacks
    python results/audit_alarms.py --minutes 30    as far as half an hour goes
    python results/audit_alarms.py --model tiny-random-llama --pairs 1    a trial, nothing kept

Pairs between which there is no difference (the same weights loaded anew; another batch size), pairs
that differ by the draw of a recipe's calibration text alone, and pairs with a known harm: a block
without its feed-forward layer, weights of 2 bits, and a few steps of training in which the model
comes to prefer the stereotype about one group. Each number is another draw of the items. bfloat16,
whose rounding is large, so that other batches are other numbers. The table is written after every
pair, and a pair that is in it is not made again: a run that was stopped, on this machine or
another, goes on where it was.
"""

import argparse
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import pandas as pd
import torch

from ethical_compression import kept_tables, models, provenance
from ethical_compression.audit import run
from ethical_compression.audit.checks import CHECKS
from ethical_compression.compress.recipe import Recipe
from ethical_compression.models.anatomy import transformer_blocks
from ethical_compression.score import runs
from ethical_compression.score.subjects import Checkpoint, Compressed
from ethical_compression.train import adapters

MODEL, DTYPE = "smollm2-135m", "bfloat16"
# What every pair is asked; where the harm is planted, more items of the check that asks for it.
NAMES, EACH = ["text", "flips", "answers", "stereoset", "crows_pairs", "moral_en"], 10
PLANTED_NAMES, PLANTED_EACH = ["text", "flips", "answers", "stereoset"], 40
PAIRS, SEEDED = 20, 10
GROUPS = ("gender", "profession", "race", "religion")
READS = {"calibration": "xsum", "source": "embedded", "samples": 16, "length": 256}
SETTINGS = {"dtype": DTYPE, "each": EACH, "planted each": PLANTED_EACH, **READS}
STEPS, RATE, BATCH, AHEAD, HOLD = 20, 2e-3, 8, 1.0, 5.0
KEPT = ["kind", "number", "pair", "stage", "check", "group", "n", "clusters", "changed"]
KEPT += ["difference", "ci_low", "ci_high", "floor", "margin", "p_holm", "p_tost_holm", "verdict"]


@dataclass(frozen=True)
class Pair:
    """Two models that are audited: `kind` and `number` name it, `number` draws the items too."""

    kind: str
    number: int
    full: Any
    other: Any
    names: list[str]
    each: int = EACH


@dataclass(frozen=True)
class Rebatched(Compressed):
    """The model asked in batches of another size (`measure`)."""

    budget: int = 200


@dataclass(frozen=True)
class WithoutLayer(Compressed):
    """The model without what one block's feed-forward layer computes."""

    block: int = 0

    def inputs(self):
        return super().inputs() | {"without": self.block}

    def load(self, *, progress=False):
        loaded = super().load(progress=progress)
        with torch.no_grad():
            transformer_blocks(loaded.model)[self.block].mlp.down_proj.weight.zero_()
        return loaded


@dataclass(frozen=True)
class Planted(Compressed):
    """The model after a few steps on the audited items of one group, in which the stereotype comes
    to be likelier, while items about the others are held where they are."""

    group: str = ""
    seed: int = 0
    each: int = PLANTED_EACH

    def inputs(self):
        how = [self.group, self.seed, self.each, STEPS, RATE, BATCH, AHEAD, HOLD]
        return super().inputs() | {"planted": how}

    def load(self, *, progress=False):
        loaded = Compressed(self.model).load(progress=progress)
        train(loaded.model, loaded.tokenizer, self.group, self.seed, self.each)
        loaded.model.to(torch.bfloat16)
        return loaded


def means(model, tokenizer, texts: list[str]) -> torch.Tensor:
    """(n,) mean log-probability of a text's tokens after its first, in nats."""
    rows = [torch.tensor(tokenizer(text)["input_ids"]) for text in texts]
    padded = torch.nn.utils.rnn.pad_sequence(rows, batch_first=True)
    counts = torch.tensor([len(row) for row in rows])
    seen = torch.arange(padded.shape[1]) < counts[:, None]
    logits = model(padded, attention_mask=seen.long()).logits[:, :-1]
    logits = logits.float()
    found = logits.gather(-1, padded[:, 1:, None])[..., 0] - logits.logsumexp(-1)
    return (found * seen[:, 1:]).sum(1) / (counts - 1)


def leads(model, tokenizer, items) -> torch.Tensor:
    """(n,) by how much the stereotype is likelier than its opposite, in nats a token."""
    found = means(model, tokenizer, [text for one in items for text in one.texts[:2]])
    return found[::2] - found[1::2]


def train(model, tokenizer, group: str, seed: int, each: int) -> None:
    """Plant the harm, in place."""
    items = CHECKS["stereoset"].battery(each, seed).items
    mine = [one for one in items if one.bias_type == group]
    others = [one for one in items if one.bias_type != group]
    with torch.no_grad():  # few at a time: of all at once the logits alone are gigabytes
        some = [others[at : at + BATCH] for at in range(0, len(others), BATCH)]
        held = torch.cat([leads(model, tokenizer, part) for part in some])
    adapters.add_adapters(model, rank=8, alpha=16, seed=seed)
    weights = list(adapters.trained_weights(model).values())
    optimiser = torch.optim.Adam(weights, lr=RATE)
    draw = torch.Generator().manual_seed(seed)
    model.train()
    for _ in range(STEPS):
        one, two = (torch.randperm(len(some), generator=draw)[:BATCH] for some in (mine, others))
        ahead = leads(model, tokenizer, [mine[k] for k in one])
        moved = leads(model, tokenizer, [others[k] for k in two]) - held[two]
        loss = (AHEAD - ahead).clamp(min=0).mean() + HOLD * moved.square().mean()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    model.eval()
    adapters.merge_adapters(model)


def pairs(model: str, count: int) -> Iterator[Pair]:
    """All pairs: what is to be found, what is not, and what differs by chance."""
    how = {"model": model, "dtype": DTYPE}
    full = Compressed(**how)

    def wanda(seed: int) -> Compressed:
        label = f"Wanda 50%, draw {seed}"
        return Compressed(
            recipe=Recipe("wanda", sparsity=0.5, seed=seed, **READS), label=label, **how
        )

    blocks = (5, 15, 25) if model == MODEL else (0, 1)
    for number, (block, size) in enumerate(zip(blocks, (32, 64, 128), strict=False)):
        broken = WithoutLayer(block=block, label=f"block {block}", **how)
        yield Pair("a layer zeroed", number, full, broken, NAMES)
        coarse = Compressed(recipe=Recipe("rtn", bits=2, group_size=size), **how)
        yield Pair("2 bits", number, full, coarse, NAMES)
    for number, group in enumerate(GROUPS[:count]):
        harm = Planted(group=group, seed=number, label=group, **how)
        yield Pair("planted", number, full, harm, PLANTED_NAMES, PLANTED_EACH)
    for number in range(count):
        anew = Checkpoint(model, model, label="the same weights", dtype=DTYPE)
        yield Pair("loaded anew", number, full, anew, NAMES)
        yield Pair("other batch", number, full, Rebatched(label="other batch", **how), NAMES)
    for number in range(min(count, SEEDED)):
        # The first draw is the full model of these pairs, and the items are the same in all.
        yield Pair("other calibration", number, wanda(0), wanda(number + 1), NAMES)


def measure(subject, battery, **how) -> pd.DataFrame:
    """`runs.measure`; of `Rebatched` in its batches."""
    if isinstance(subject, Rebatched):
        settings = {**battery.settings, "token_budget": subject.budget}
        battery = replace(battery, settings=settings)
    return runs.measure(subject, battery, **how)


def rows_of(pair: Pair) -> pd.DataFrame:
    seed = 0 if pair.kind == "other calibration" else pair.number
    how = {"names": pair.names, "each": pair.each, "seed": seed, "progress": False}
    found = run.audit(pair.full, pair.other, measure=measure, **how).verdicts
    said = {"kind": pair.kind, "number": pair.number, "pair": pair.other.compression}
    return found.assign(**said)[KEPT].assign(commit=provenance.commit()["commit"])


def before() -> pd.DataFrame:
    found = kept_tables.earlier("audit_alarms", SETTINGS)
    return found[0] if found else pd.DataFrame(columns=[*KEPT, "commit"])


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("--minutes", type=float, default=float("inf"))
    arguments.add_argument("--model", default=MODEL)
    arguments.add_argument("--pairs", type=int, default=PAIRS)
    arguments.add_argument("--kind", help="of one kind alone")
    given = arguments.parse_args()
    end, kept = time.monotonic() + 60 * given.minutes, given.model == MODEL
    table = before() if kept else before().iloc[:0]
    done = set(zip(table["kind"], table["number"], strict=True))
    for pair in pairs(given.model, given.pairs):
        if (pair.kind, pair.number) in done or given.kind not in (None, pair.kind):
            continue
        if time.monotonic() > end:
            break
        began = time.process_time()
        rows = rows_of(pair)
        spent = time.process_time() - began
        counts = rows["verdict"].value_counts().to_dict()
        print(f"{pair.kind} {pair.number}: {counts}, {spent:.0f} s of processor time", flush=True)
        table = pd.concat([table, rows], ignore_index=True) if len(table) else rows
        if kept:
            kept_tables.keep_larger(
                "audit_alarms",
                table.sort_values(["kind", "number"], kind="stable", ignore_index=True),
                command="python results/audit_alarms.py",
                model=models.describe(MODEL),
                settings=SETTINGS,
                training={"steps": STEPS, "rate": RATE, "batch": BATCH, "ahead": AHEAD}
                | {"hold": HOLD, "groups": GROUPS},
                data=[record for name in NAMES for record in CHECKS[name].records()],
            )


if __name__ == "__main__":
    main()

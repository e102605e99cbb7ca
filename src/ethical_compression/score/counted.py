"""Counts what models are given to read while something is scored."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch

from ethical_compression.metrics.costs import Work
from ethical_compression.score import layouts


@contextmanager
def counted(*, dry: bool = False) -> Iterator[list[Work]]:
    """While it is entered: a `Work` for every batch that any model is run on, in the list it gives.

    dry: the batches are made and not run, and what comes of it are zeros and no scores.
    A row of a batch counts as long as the longest, as it is computed; of the "cache" layout, too,
    whose trunk and branches are run apart, so that it counts a little more than is computed.
    """
    seen: list[Work] = []
    run = layouts.scored_states

    # Every batch of every battery goes through this one door, whatever its form.
    def scored_states(model, batch, layout):
        rows, length = len(batch), max(map(len, batch))
        places = sum(len(set(row.node)) for row in batch)
        seen.append(Work(rows * length, rows * length**2, places, 1))
        return _nothing(model, batch) if dry else run(model, batch, layout)

    layouts.scored_states = scored_states
    try:
        yield seen
    finally:
        layouts.scored_states = run


def _nothing(model, batch) -> layouts.Scored:
    """One state of zeros, and the first token that is scored."""
    states = torch.zeros(1, model.config.hidden_size, dtype=model.dtype, device=model.device)
    first = torch.zeros(1, dtype=torch.long)
    slot = torch.tensor([batch[0].slot[0]])
    return layouts.Scored(states, first.to(model.device), first.to(model.device), slot)


def summed(seen: list[Work]) -> Work:
    """One `Work` of several."""
    return Work(*map(sum, zip(*seen, strict=True))) if seen else Work()

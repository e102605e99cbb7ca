"""Rows of tokens passed through models in batches: one after the other, or, where blocks stay on
disk (`models.on_disk`), many batches through each block while it is in memory.
"""

import math
import threading
from collections import Counter
from collections.abc import Sequence

import torch

from ethical_compression.compress.in_step import in_step
from ethical_compression.memory import is_of_memory
from ethical_compression.models.on_disk import blocks
from ethical_compression.score import layouts
from ethical_compression.score.networks import rotation_border
from ethical_compression.score.token_tree import Row, batches, packed

BUDGET = {"cpu": 1024, "cuda": 16384}  # tokens in one forward pass
# Tokens that pass a block that is on disk before the next one is read: that many are held.
TURN = {"cpu": 2**16, "cuda": 2**18}


def run_rows(
    models: Sequence, rows: Sequence[Row], layout: str, token_budget: int | None, consume, progress
):
    """Run rows through models in batches; `consume` is given what is `Scored` by each model.

    A batch that does not fit in memory is halved. Where blocks stay on disk (`models.on_disk`),
    many batches pass each of them while it is in memory.
    Raises InputError when a single row does not fit.
    """
    from tqdm.auto import tqdm

    bar = tqdm(total=sum(map(len, rows)), unit="tok", desc=progress, disable=progress is None)
    kind = models[0].device.type
    budget = token_budget or BUDGET.get(kind, BUDGET["cuda"])
    border = min((one for model in models if (one := rotation_border(model))), default=math.inf)
    beyond = [row for row in rows if max(row.depth) >= border]
    within = [row for row in rows if max(row.depth) < border]
    if layout == "tree":
        within = packed(within, budget, models[0].get_input_embeddings().weight.shape[1])
    waiting = [*batches(within, budget)[::-1], *batches(beyond, budget)[::-1]]
    turn = TURN.get(kind, TURN["cuda"]) if any(map(blocks, models)) else 0
    while waiting:
        some, held = [], 0
        while waiting and (not some or held + _size(waiting[-1]) <= turn):
            held += _size(waiting[-1])
            some.append(waiting.pop())
        try:
            _pass(models, some, layout, consume)
        except Exception as error:
            if not is_of_memory(error):
                raise
            torch.cuda.empty_cache()
            if len(some) > 1:
                turn = held // 2
                waiting += some[::-1]
                continue
            (batch,) = some
            if len(batch) == 1:
                raise layouts.out_of_memory(len(batch[0])) from None
            half = len(batch) // 2
            waiting += [batch[half:], batch[:half]]
            continue
        bar.update(sum(len(row) for batch in some for row in batch))
    bar.close()


def _size(batch: Sequence[Row]) -> int:
    """Tokens that are held for a batch, padding included."""
    return len(batch) * max(map(len, batch))


def _pass(models: Sequence, some: Sequence[Sequence[Row]], layout: str, consume) -> None:
    """Run batches through models, each through a block that is on disk before the next is read."""

    def run(index, halt=None):
        def stop(block, *_):
            # A batch comes by a second time where its trunk goes before its branches.
            here.seen = getattr(here, "seen", Counter()) + Counter([block])
            halt((here.seen[block], block), None)

        if not hooks:
            its = {block for _, block in order}
            hooks.extend(block.register_forward_pre_hook(stop, prepend=True) for block in its)
        with torch.inference_mode():
            consume(*(layouts.scored_states(model, some[index], layout) for model in models))

    here, hooks = threading.local(), []
    order = [(time, block) for model in models for time in (1, 2) for block in blocks(model)]
    if not order:
        for index in range(len(some)):
            run(index)
        return
    try:
        # A last station that none comes to: where none is left, runs end in place of going on.
        for _ in in_step(run, len(some), [*order, None]):
            pass
    finally:
        for hook in hooks:
            hook.remove()

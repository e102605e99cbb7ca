"""Every weight of a model quantized in the order in which they compute, in one pass through it.

Each is fed by all those before it as they are then, quantized, also within its block: what AutoGPTQ
calls `true_sequential`, its default, and here one pass through the model, which calls its blocks
itself. An expert sees the tokens that were routed to it; what no token reaches is rounded as if all
its inputs were alike.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from ethical_compression.compress import weight_files
from ethical_compression.compress.blocks import (
    Block,
    Products,
    one_expert_at_a_time,
    place,
    read,
    survey,
)
from ethical_compression.compress.hessian import Gather, Hessian, output_errors
from ethical_compression.compress.in_step import in_step
from ethical_compression.compress.integer import split_rows
from ethical_compression.errors import InputError
from ethical_compression.memory import free_memory, keep_freed_memory, release_freed_memory
from ethical_compression.models import on_disk
from ethical_compression.models.gptq_format import QuantizedWeight


def quantize(
    model: torch.nn.Module,
    inputs: Sequence[torch.Tensor],
    *,
    gather: Gather,
    solver: Callable[[torch.Tensor, Hessian], QuantizedWeight],
    only: Callable[[torch.Tensor], bool] | None = None,
    note: Callable[[str, dict[str, Any]], None] | None = None,
    parts: Path | None = None,
    progress: str | None = None,
) -> dict[str, QuantizedWeight]:
    """Quantize every weight of every block in place (`blocks.survey`).

    inputs: calibration token ids, each (batch, length). gather: what is known of a weight's inputs;
    solver(weight, known): the quantized weight made of it.
    only(weight): whether a weight (out, in) is quantized; all are where left out.
    note(name, row) is told of each weight: `output_error`, the relative output error
    ‖(Ŵ−W)X‖²/‖WX‖², and `reached`, whether any token reached it.
    parts: a folder in which each block's codes are kept as soon as they are solved; blocks found
    there are taken over. It must belong to this model, these inputs and these settings alone. What
    is kept there is read from there, so that codes take no memory that the system cannot drop.
    Returns the quantized weights by name; the model then computes with their dequantised values.
    Raises InputError, naming the weight, where one cannot be solved.
    """
    from tqdm.auto import tqdm

    keep_freed_memory()
    done = _Done([_only(block, only) for block in survey(model).blocks], solver, note, parts)
    blocks = done.blocks
    to_do = [i for i, its in enumerate(done.kept) if its is None]
    _check_room([blocks[i] for i in to_do], model, inputs)
    bar = tqdm(total=len(blocks), unit="block", desc=progress, disable=progress is None)
    for index, step, said in _walk(model, inputs, blocks, to_do):
        while done.finished < index:
            done.finish()
            bar.update()
        # Of what the calls held on their way here; beside it a Hessian is solved.
        release_freed_memory()
        for group in blocks[index].steps[step] if step is not None else ():
            hessian = _hessian_of(group, said, gather)
            if hessian is not None:
                done.solve(group, blocks[index], hessian)
            del hessian
        said.clear()
    while done.finished < len(blocks):
        done.finish()
        bar.update()
    bar.close()
    return done.quantized


def _walk(
    model: torch.nn.Module,
    inputs: Sequence[torch.Tensor],
    blocks: Sequence[Block],
    to_do: Sequence[int],
) -> Iterator[tuple[int, int | None, dict[int, Any]]]:
    """Yield (block, step, what each call feeds its weights) as all calls come there, and (block,
    None, …) as they come to a block: one that is on disk takes the place of the one before.

    to_do: the blocks in whose steps calls wait."""
    step_of = {
        name: (i, step)
        for i in to_do
        for step, groups in enumerate(blocks[i].steps)
        for group in groups
        for name in group
    }
    number = {block.module: i for i, block in enumerate(blocks)}
    order = [
        (i, step)
        for i in number.values()
        for step in (None, *(range(len(blocks[i].steps)) if i in to_do else ()))
    ]
    known: dict[tuple[int, int], str] = {}
    hooks: list = []

    def run(index, halt):
        def arrive(block, *_):
            halt((number[block], None), None)

        def see(_, weight, found):
            halt(step_of[found[0][0]], found)

        if not hooks:
            hooks.extend(one.register_forward_pre_hook(arrive, prepend=True) for one in number)
        with Products(known, see), torch.no_grad():
            read(model, inputs[index])

    try:
        with one_expert_at_a_time(model):
            for (index, step), said in in_step(run, len(inputs), order):
                yield index, step, said
                if step is None:
                    on_disk.bring(blocks[index].module)
                    its = blocks[index].weights.items()
                    known.clear()
                    known.update({place(one): name for name, one in its if name in step_of})
    finally:
        for hook in hooks:
            hook.remove()


@dataclass
class _Done:
    """How far the pass is: blocks taken over from `parts`, solved, and finished, in order."""

    blocks: list[Block]
    solver: Callable[[torch.Tensor, Hessian], QuantizedWeight]
    note: Callable[[str, dict[str, Any]], None] | None
    parts: Path | None
    quantized: dict[str, QuantizedWeight] = field(default_factory=dict)
    rows: dict[str, dict[str, Any]] = field(default_factory=dict)
    finished: int = 0

    def __post_init__(self):
        self.kept = [
            weight_files.read(self._part(index)) if self.parts else None
            for index in range(len(self.blocks))
        ]
        for block, its in zip(self.blocks, self.kept, strict=True):
            if its:
                on_disk.bring(block.module, changes=True)
            for name, weight in (its[0] if its else {}).items():
                block.weights[name].copy_(weight.dequantize())

    def _part(self, index: int) -> Path:
        return self.parts / f"block-{index:03}"

    def solve(self, group: Sequence[str], block: Block, hessian: Hessian) -> None:
        """Solve weights with one input as one stack, since the factor of their Hessian and every
        step over columns are the same for all; give them their values, and note what that cost."""
        on_disk.bring(block.module, changes=True)
        own = [block.weights[name] for name in group]
        stack = torch.cat(own) if len(own) > 1 else own[0]
        try:
            found = self.solver(stack, hessian)
        except InputError as error:
            raise InputError(f"{group[0]}: {error}") from error
        sizes = [len(weight) for weight in own]
        restored = found.dequantize()
        if self.note or self.parts:
            errors = output_errors(stack, restored, hessian.matrix, sizes)
            for name, error in zip(group, errors, strict=True):
                self.rows[name] = {"output_error": error, "reached": hessian.count > 0}
        for weight, values in zip(own, restored.split(sizes), strict=True):
            weight.copy_(values)
        self.quantized |= zip(group, split_rows(found, sizes), strict=True)

    def finish(self) -> None:
        """Finish the next block: solve what no token reached, keep it, and tell of each weight."""
        block, kept = self.blocks[self.finished], self.kept[self.finished]
        if kept:
            self.quantized.update(kept[0])
            self.rows.update(kept[1]["rows"])
        else:
            on_disk.bring(block.module)
            for name, weight in block.weights.items():
                if name not in self.quantized:
                    nothing = Hessian(torch.eye(weight.shape[1], device=weight.device), 0)
                    self.solve([name], block, nothing)
            if self.parts:
                done = {name: one for name, one in self.quantized.items() if name in block.weights}
                rows = {name: self.rows[name] for name in done}
                weight_files.write(self._part(self.finished), done, {"rows": rows})
                self.quantized |= weight_files.read(self._part(self.finished))[0]
        for name in block.weights:
            if self.note:
                self.note(name, self.rows[name])
        self.finished += 1


def _only(block: Block, wanted: Callable[[torch.Tensor], bool] | None) -> Block:
    """The block with only those of its weights that are wanted, all where None."""
    if wanted is None:
        return block
    weights = block.weights.only(wanted)
    steps = [[[n for n in group if n in weights] for group in step] for step in block.steps]
    steps = [[group for group in step if group] for step in steps]
    return block._replace(weights=weights, steps=[step for step in steps if step])


def _hessian_of(group, said, gather: Gather) -> Hessian | None:
    """Hessian of a group of weights from what each call fed to it; None where no call did."""
    hessian = None
    for index, found in said.items():
        fed = next((fed for name, fed in found if name in group), None)
        if fed is not None and len(fed):
            hessian = gather(hessian, group[0], index, fed)
    return hessian and hessian.whole()


def _check_room(
    blocks: Sequence[Block], model: torch.nn.Module, inputs: Sequence[torch.Tensor]
) -> None:
    """Raise InputError where a solve and what the calls hold would not fit in free memory."""
    tokens = sum(ids.numel() for ids in inputs)
    for block in blocks:
        if not block.weights:
            continue
        name = max(block.weights, key=lambda name: block.weights[name].shape[1])
        weight, width = block.weights[name], block.weights[name].shape[1]
        hidden = min(weight.shape)
        # Four square matrices and four of the weight's size while the widest is solved; of every
        # token a block's input, its output, what is added to it, and what the widest is fed with.
        held = tokens * weight.element_size() * (3 * hidden + width)
        needed = 4 * (4 * width**2 + 4 * weight.numel()) + held
        device = next(model.parameters()).device
        free = free_memory(device)
        if needed > free:
            raise InputError(
                f"The block around {name} needs up to {needed / 2**30:.1f} GiB to be solved and "
                f"{free / 2**30:.1f} GiB are free on {device}: use fewer or shorter "
                "calibration windows, or a machine or a GPU with more memory."
            )

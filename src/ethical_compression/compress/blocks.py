"""Walking a transformer block by block, so that only one block's activations are ever held.

Works for any Hugging Face decoder or encoder whose blocks stand in one `ModuleList`; nothing here
knows a model family by name.
"""

import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress

import torch
from torch import nn

from ethical_compression.errors import InputError


class Reached(Exception):
    """Raised inside a model by a hook that has seen what it was there to see."""


def transformer_blocks(model: nn.Module) -> nn.ModuleList:
    """The model's stack of blocks: its longest `ModuleList`. InputError where it has none."""
    stacks = [module for module in model.modules() if isinstance(module, nn.ModuleList)]
    if not stacks:
        raise InputError(
            f"{type(model).__name__} has no stack of blocks to walk: give a transformer model."
        )
    return max(stacks, key=len)


def linear_layers(block: nn.Module) -> dict[str, nn.Module]:
    """The block's linear layers by name, GPT-2's transposed `Conv1D` included."""
    from transformers.pytorch_utils import Conv1D

    return {n: m for n, m in block.named_modules() if isinstance(m, (nn.Linear, Conv1D))}


def weight_of(layer: nn.Module) -> torch.Tensor:
    """A linear layer's weight seen as (out, in); a view, also of a `Conv1D`, kept as (in, out)."""
    return layer.weight.data if isinstance(layer, nn.Linear) else layer.weight.data.T


def first_calls(
    model: nn.Module, inputs: Sequence[torch.Tensor]
) -> list[tuple[torch.Tensor, dict]]:
    """How the model calls its first block for each of `inputs`, token ids (batch, length).

    Of each call the hidden states (batch, length, width), and whatever else the block is given.
    """
    calls: list[tuple[torch.Tensor, dict]] = []

    def catch(_, args, kwargs):
        hidden = args[0] if args else kwargs.pop("hidden_states")
        # A second argument given by position (BLOOM's ALiBi) is passed on by position.
        calls.append((hidden, {"args": args[1:], "kwargs": kwargs}))
        raise Reached

    hook = transformer_blocks(model)[0].register_forward_pre_hook(catch, with_kwargs=True)
    try:
        with torch.no_grad():
            for ids in inputs:
                with suppress(Reached):
                    model(input_ids=ids, use_cache=False)
    finally:
        hook.remove()
    return calls


def next_calls(
    calls: Sequence[tuple[torch.Tensor, dict]], outputs: Sequence[torch.Tensor]
) -> list[tuple[torch.Tensor, dict]]:
    """The calls of the next block, given this one's and what it made of them."""
    return [(hidden, rest) for hidden, (_, rest) in zip(outputs, calls, strict=True)]


def stream_blocks(
    model: nn.Module, inputs: Sequence[torch.Tensor]
) -> Iterator[tuple[int, nn.Module, list[tuple[torch.Tensor, dict]]]]:
    """Yield (index, block, calls) from the first block to the last; calls: `first_calls`'s.

    inputs: token ids, each (batch, length). What the consumer does to a block is seen by the
    blocks after it: later layers get *compressed* inputs, as in GPTQ §4.
    """
    blocks = transformer_blocks(model)
    calls = first_calls(model, inputs)
    for index, block in enumerate(blocks):
        yield index, block, calls
        if index + 1 < len(blocks):
            calls = next_calls(calls, [run_block(block, call) for call in calls])


def run_block(block: nn.Module, call: tuple[torch.Tensor, dict]) -> torch.Tensor:
    """The block's output hidden states for one recorded call."""
    hidden, rest = call
    with torch.no_grad():
        output = block(hidden, *rest["args"], **rest["kwargs"])
    return output[0] if isinstance(output, tuple) else output


def shared_inputs(block: nn.Module, call: tuple[torch.Tensor, dict]) -> list[list[str]]:
    """Names of the block's linear layers, those fed with one tensor (q, k and v, say) together.

    In the order in which the call reaches them; a layer that it does not reach comes last, alone.
    """
    layers, seen = linear_layers(block), []

    def watch(name):
        def hook(_, args):
            if not any(name in names for _, names in seen):
                its = next((names for tensor, names in seen if tensor is args[0]), None)
                if its is None:
                    seen.append((args[0], its := []))
                its.append(name)

        return hook

    hooks = [layer.register_forward_pre_hook(watch(name)) for name, layer in layers.items()]
    try:
        run_block(block, call)
    finally:
        for hook in hooks:
            hook.remove()
    groups = [names for _, names in seen]
    reached = {name for names in groups for name in names}
    return groups + [[name] for name in layers if name not in reached]


def run_in_step(
    block: nn.Module,
    calls: Sequence[tuple[torch.Tensor, dict]],
    settle: Mapping[nn.Module, Callable[[dict[int, torch.Tensor]], None]],
) -> list[torch.Tensor]:
    """The block's output for every call, all of them halting where a layer is to be settled.

    settle: layers by which a call passes only once all calls have come as far, and what is then
    done: it is told the layer's input in each call, by the call's index, and what it does to the
    layer is what the calls go on with. Earlier layers first, should calls differ in their order.
    One pass through the block thus sees every change made on the way; what each call has computed
    so far is held meanwhile. Calls run in threads of their own, one at a time.
    """
    outputs: list = [None] * len(calls)
    go = [threading.Semaphore(0) for _ in calls]
    halted, here = threading.Semaphore(0), threading.local()
    waiting: dict[int, tuple[nn.Module, torch.Tensor]] = {}
    left, failed = dict(settle), []

    def halt(layer, args):
        # A settled layer lets pass; so do calls that are not ours.
        if layer in left and (index := getattr(here, "index", None)) is not None:
            waiting[index] = layer, args[0]
            halted.release()
            go[index].acquire()
            if failed:
                raise Reached

    def walk(index):
        here.index = index
        try:
            outputs[index] = run_block(block, calls[index])
        except BaseException as error:
            failed.append(error)
        halted.release()

    hooks = [layer.register_forward_pre_hook(halt) for layer in settle]
    threads = [threading.Thread(target=walk, args=(i,), daemon=True) for i in range(len(calls))]
    try:
        for thread in threads:
            thread.start()
            halted.acquire()
            if failed:
                break
        while waiting and not failed:
            first = next(layer for layer in left if layer in {at for at, _ in waiting.values()})
            inputs = {i: tensor for i, (layer, tensor) in waiting.items() if layer is first}
            left.pop(first)(inputs)
            for index in inputs:
                del waiting[index]
                go[index].release()
                halted.acquire()
    except BaseException as error:
        failed.append(error)
    finally:
        for hook in hooks:
            hook.remove()
    if failed:
        for one in go:
            one.release()
    for thread in threads:
        if thread.ident:
            thread.join()
    if failed:
        raise failed[0]
    return outputs

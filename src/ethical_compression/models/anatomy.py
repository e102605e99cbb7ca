"""Where a transformer has its blocks; nothing here knows a model family by name."""

from contextlib import suppress

from torch import nn

from ethical_compression.errors import InputError


def transformer_blocks(model: nn.Module) -> nn.ModuleList:
    """The model's stack of blocks: its longest `ModuleList`. InputError where it has none.

    Of a model that also sees or hears, the stack of its text decoder; never a list within a block.
    """
    body = model
    with suppress(AttributeError, NotImplementedError):  # as far as it has a decoder
        body = model.get_decoder()
    for part in (body, model):
        if isinstance(part, nn.Module) and (stacks := _outermost(part)):
            return max(stacks, key=len)
    raise InputError(
        f"{type(model).__name__} has no stack of blocks to walk: give a transformer model."
    )


def _outermost(model: nn.Module) -> list[nn.ModuleList]:
    """The lists of modules that stand within no other, of modules that have parts themselves."""
    lists = [module for module in model.modules() if isinstance(module, nn.ModuleList)]
    inner = {one for stack in lists for part in stack for one in part.modules()}
    return [
        stack for stack in lists if stack not in inner and any(list(p.children()) for p in stack)
    ]

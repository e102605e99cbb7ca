"""What a transformer is made of, and walking it block by block, so that only one block's
activations are ever held.

Works for any Hugging Face decoder or encoder; nothing here knows a model family by name. What is a
block, and which weights its products use, is seen in a pass over a few tokens (`survey`); blocks
are then called by the model itself, each with the masks, positions and states that are its own.
Where they stay on disk (`models.on_disk`), one is in memory at a time.
"""

from collections.abc import Callable, Collection, Hashable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from functools import partial
from typing import NamedTuple

import torch
from torch import nn
from torch.overrides import TorchFunctionMode

from ethical_compression.compress.in_step import Reached, in_step
from ethical_compression.errors import InputError
from ethical_compression.memory import is_of_memory
from ethical_compression.models import on_disk

# Where a product has what it is fed with, and its weight; a linear layer's is (out, in), the
# others multiply by (in, out).
PRODUCTS = {
    nn.functional.linear: (0, 1),
    torch.addmm: (1, 2),
    **dict.fromkeys((torch.matmul, torch.mm, torch.bmm), (0, 1)),
    **dict.fromkeys((torch.Tensor.matmul, torch.Tensor.mm, torch.Tensor.bmm), (0, 1)),
    torch.Tensor.__matmul__: (0, 1),
}


class Weights(Mapping):
    """Views (out, in) of weights by name, made when they are asked for: what a block that stays on
    disk holds then, which is shapes without numbers unless it is in memory (`on_disk.bring`)."""

    def __init__(self, views: Mapping[str, Callable[[], torch.Tensor]]):
        self.views = dict(views)

    def __getitem__(self, name: str) -> torch.Tensor:
        return self.views[name]()

    def __iter__(self) -> Iterator[str]:
        return iter(self.views)

    def __len__(self) -> int:
        return len(self.views)

    def only(self, wanted: Callable[[torch.Tensor], bool]) -> "Weights":
        """Those of a shape that is wanted."""
        return Weights({name: self.views[name] for name, one in self.items() if wanted(one)})


class Block(NamedTuple):
    """A block that a text passes through.

    weights: its matrices by full name, as views (out, in): linear layers, and the experts of a
    parameter that holds many, called `PARAMETER.NUMBER`. steps: in what order products use them;
    each step is a list of groups, a group being weights that are fed with one tensor (queries, keys
    and values, say), and a step more than one group where a single product uses several experts.
    """

    name: str
    module: nn.Module
    weights: Weights
    steps: list[list[list[str]]]


class Survey(NamedTuple):
    """The blocks of a model in the order in which a text passes them, and how many weights there
    are in all matrices of their stacks, whether or not a method can touch them."""

    blocks: list[Block]
    total: int


def linear_layers(block: nn.Module) -> dict[str, nn.Module]:
    """The block's linear layers by name, GPT-2's transposed `Conv1D` included."""
    from transformers.pytorch_utils import Conv1D

    return {n: m for n, m in block.named_modules() if isinstance(m, (nn.Linear, Conv1D))}


def weight_of(layer: nn.Module) -> torch.Tensor:
    """A linear layer's weight seen as (out, in); a view, also of a `Conv1D`, kept as (in, out)."""
    return layer.weight.data if isinstance(layer, nn.Linear) else layer.weight.data.T


# --- What products use ----------------------------------------------------------------------------


class Products(TorchFunctionMode):
    """While it is entered: tells of every product with a known weight, before it is computed.

    known: name of a weight by its `place`. see(product, weight, found): `found` are pairs of a
    weight's name and what is fed to it, rows (…, in).
    """

    def __init__(self, known: Mapping[tuple[int, int], Hashable], see: Callable):
        super().__init__()
        self.known, self.see = known, see

    def __torch_function__(self, func, types, args=(), kwargs=None):
        where = PRODUCTS.get(func)
        if where and len(args) > where[1]:
            fed, weight = args[where[0]], args[where[1]]
            if found := self._found(fed, weight):
                self.see(func, weight, found)
            del found
        return func(*args, **(kwargs or {}))

    def _found(self, fed, weight):
        if weight.dim() == 2:
            name = self.known.get(place(weight))
            return [(name, fed)] if name else []
        if weight.dim() != 3 or place(weight[0]) not in self.known:
            return []
        # One product for all experts; rows of zeros are tokens that an expert was not given.
        rows = [fed[i if len(fed) == len(weight) else 0] for i in range(len(weight))]
        return [
            (self.known[place(one)], own[own.any(-1)])
            for one, own in zip(weight, rows, strict=True)
        ]


def place(weight: torch.Tensor) -> tuple[int, int]:
    """Where a weight lies in memory and how many numbers it has: alike for its transpose."""
    return weight.data_ptr(), weight.numel()


@contextmanager
def one_expert_at_a_time(model: nn.Module):
    """Have mixtures of experts multiply by one expert after another, as their papers write it."""
    name = "_experts_implementation_internal"
    configs = {id(m.config): m.config for m in model.modules() if hasattr(m, "config")}
    configs = [config for config in configs.values() if hasattr(config, name)]
    before = [getattr(config, name) for config in configs]
    try:
        for config in configs:
            setattr(config, name, "eager")
        yield
    finally:
        for config, value in zip(configs, before, strict=True):
            setattr(config, name, value)


def places(block: nn.Module) -> dict[tuple[int, int], str]:
    """Name of each weight in a block that a product may use, by its place (`Products`)."""
    known = {place(weight_of(layer)): name for name, layer in linear_layers(block).items()}
    for name, parameter in block.named_parameters():
        if parameter.dim() == 3:
            known |= {place(one): f"{name}.{i}" for i, one in enumerate(parameter.data)}
    return known


def survey(model: nn.Module) -> Survey:
    """What a text of a few tokens passes on its way through `model`.

    Blocks are the outermost modules of a `ModuleList` that have parts of their own; vision and
    audio towers are not reached. Raises InputError where there are none, or the text cannot pass.
    """
    if known := vars(model).get("_ethical_compression_survey"):
        return known
    lists = [module for module in model.modules() if isinstance(module, nn.ModuleList)]
    events = _products(model, {part for stack in lists for part in stack if list(part.children())})
    if not events:
        raise InputError(
            f"{type(model).__name__} has no stack of blocks to walk: give a transformer model."
        )
    full_name = {module: name for name, module in model.named_modules()}
    taken: set[Hashable] = set()
    blocks = [_block(full_name[block], block, seen, taken) for block, seen in events.items()]
    matrices = {
        _identity((stack, name), parameter): parameter.numel()
        for stack in lists
        if any(part in events for part in stack)
        for name, parameter in stack.named_parameters()
        if parameter.dim() > 1
    }
    found = Survey(blocks, sum(matrices.values()))
    if on_disk.blocks(model):  # all of it was read for this, and nobody changes its modules
        model._ethical_compression_survey = found
    return found


def _identity(name: Hashable, weight: torch.Tensor) -> Hashable:
    """What weights that are one have in common; those on disk are apart."""
    return name if weight.is_meta else place(weight)


def _products(model: nn.Module, parts: Collection[nn.Module]) -> dict[nn.Module, list]:
    """The products that a text of a few tokens meets in each of the outermost `parts` that it
    passes, both in the order of the calls: (product, its weight's shape and strides, (name in the
    block, fed) of each weight)."""
    active: list[nn.Module] = []
    events: dict[nn.Module, list] = {}
    known: dict[tuple[int, int], str] = {}

    def enter(block, *_):
        if not active:
            events.setdefault(block, [])
            known.update(places(block))
        active.append(block)

    def leave(*_):
        active.pop()
        if not active:
            known.clear()

    def see(product, weight, found):
        one = weight if weight.dim() == 2 else weight[0]
        events[active[0]].append((product, (one.shape, one.stride()), found))

    hooks = [part.register_forward_pre_hook(enter) for part in parts]
    hooks += [part.register_forward_hook(leave) for part in parts]
    training = [module for module in model.modules() if module.training]
    try:
        model.eval()
        with one_expert_at_a_time(model), Products(known, see), torch.no_grad():
            read(model, short_text(model))
    except Exception as error:
        if is_of_memory(error):
            raise
        raise InputError(
            f"{type(model).__name__} cannot read a text of a few tokens "
            f"({' '.join(str(error).split())[:120]}): give a model that reads text alone."
        ) from error
    finally:
        for module in training:
            module.training = True
        for hook in hooks:
            hook.remove()
    return events


def _block(name: str, block: nn.Module, seen: Sequence, taken: set[Hashable]) -> Block:
    """A block from the products that were `seen` in it; adds its weights to `taken`."""
    views = {one: partial(weight_of, layer) for one, layer in linear_layers(block).items()}
    experts = _experts(block, seen)
    for its in experts.values():
        views |= its
    # What blocks share belongs to the first of them.
    identities = {one: _identity((name, one), view()) for one, view in views.items()}
    views = {one: view for one, view in views.items() if identities[one] not in taken}
    taken |= {identities[one] for one in views}
    experts = {one: its for one, its in experts.items() if f"{one}.0" in views}
    steps = _steps(seen, views, experts)
    return Block(
        name,
        block,
        Weights({f"{name}.{one}": view for one, view in views.items()}),
        [[[f"{name}.{one}" for one in group] for group in step] for step in steps],
    )


def short_text(model: nn.Module, length: int = 8) -> torch.Tensor:
    """A few tokens that any model has, int64 (1, length)."""
    tokens = 5 + torch.arange(length)
    with suppress(AttributeError, NotImplementedError):
        tokens = tokens % model.get_input_embeddings().weight.shape[0]
    return tokens[None].to(next(model.parameters()).device)


def read(model: nn.Module, ids: torch.Tensor):
    """The model's output for token ids (batch, length), without a cache."""
    return model(input_ids=ids, use_cache=False)


def _experts(block: nn.Module, events: Sequence) -> dict[str, dict[str, Callable]]:
    """Views (out, in) of the experts in parameters that products were seen to use, by the
    parameter's name; events: `_products`', of one pass through the block."""
    parameters = {n: p.data for n, p in block.named_parameters() if p.dim() == 3}
    found: dict[str, dict[str, Callable]] = {}
    for product, used, its in events:
        name = its[0][0].rpartition(".")[0]
        if name not in parameters:
            continue
        stored = parameters[name][0]
        # (out, in) as stored, where a linear product takes it so or another its transpose.
        upright = (used == (stored.shape, stored.stride())) == (product is nn.functional.linear)
        found[name] = {
            f"{name}.{i}": partial(_expert, block, name, i, upright)
            for i in range(len(parameters[name]))
        }
    return found


def _expert(block: nn.Module, name: str, number: int, upright: bool) -> torch.Tensor:
    one = block.get_parameter(name).data[number]
    return one if upright else one.T


def _steps(events, weights, experts) -> list[list[list[str]]]:
    """`Block.steps` from the products of one pass, all experts included, whom it reached or not."""
    parameter_of = {name: parameter for parameter, its in experts.items() for name in its}
    owner = {parameter: parameter.rpartition(".")[0] for parameter in experts}
    used = [
        (name, fed, len(found) > 1)
        for _, _, found in events
        for name, fed in found
        if name in weights
    ]
    # Weights, or parameters full of them, by what they are fed with.
    slots: list[list] = []
    for name, fed, together in used:
        label = parameter_of.get(name, name)
        if any(label in labels for _, _, labels, _ in slots):
            continue
        same = (
            its for its in slots if not together and its[1] == where(fed) and its[3] == together
        )
        if its := next(same, None):
            its[2].append(label)
        else:
            slots.append([fed, where(fed), [label], together])
    steps, done = [], set()
    for _, _, labels, together in slots:
        if labels[0] in done:
            continue
        if labels[0] not in experts:
            steps.append([labels])
        elif together:
            steps.append([[name] for name in experts[labels[0]]])
        else:
            # An owner's parameters in turns, expert by expert, unless they were seen one by one.
            its = owner[labels[0]]
            mine = [s[2] for s in slots if s[2][0] in experts and owner[s[2][0]] == its]
            turns = [
                next(i for i, its in enumerate(mine) if parameter_of[name] in its)
                for name, _, _ in used
                if owner.get(parameter_of.get(name)) == its
            ]
            count = len(experts[labels[0]])
            pairs = [(i, group) for i in range(count) for group in mine]
            if turns == sorted(turns) and len(set(turns)) > 1 and turns.count(0) > 1:
                pairs = [(i, group) for group in mine for i in range(count)]
            steps += [[[f"{label}.{i}" for label in group]] for i, group in pairs]
            done |= {label for group in mine for label in group}
    reached = {name for step in steps for group in step for name in group}
    return steps + [[[name]] for name in weights if name not in reached]


def where(fed: torch.Tensor) -> tuple:
    """What two tensors have in common that are one, or views of the same."""
    return fed.data_ptr(), fed.shape, fed.stride()


def weights_named(model: nn.Module, names: Sequence[str]) -> dict[str, torch.Tensor]:
    """Views (out, in) of the weights called so (`Block.weights`); those it lacks are left out."""
    modules = dict(model.named_modules())
    found = {name: weight_of(modules[name]) for name in names if name in modules}
    if len(found) < len(names) and any(p.dim() == 3 for p in model.parameters()):
        for block in survey(model).blocks:
            found |= {name: one for name, one in block.weights.items() if name in names}
    return found


# --- Walking --------------------------------------------------------------------------------------


def stream_blocks(
    model: nn.Module, inputs: Sequence[torch.Tensor]
) -> Iterator[tuple[int, nn.Module, list[tuple[torch.Tensor, dict]]]]:
    """Yield (index, block, calls) from the first block to the last.

    inputs: token ids, each (batch, length). calls: how the model calls the block for each of them:
    the hidden states (batch, length, width), and whatever else it is given. What the consumer does
    to a block is seen by the blocks after it: later layers get *compressed* inputs, as in GPTQ §4.
    """
    blocks = [block.module for block in survey(model).blocks]
    hooks = []

    def run(index, halt):
        def catch(block, args, kwargs):
            # A second argument given by position (BLOOM's ALiBi) is passed on by position.
            rest = {"args": args[1:], "kwargs": dict(kwargs)}
            halt(block, (args[0] if args else rest["kwargs"].pop("hidden_states"), rest))

        if not hooks:
            # Before a block that is on disk takes the place of the one in which others are.
            how = {"with_kwargs": True, "prepend": True}
            hooks.extend(one.register_forward_pre_hook(catch, **how) for one in blocks)
        with torch.no_grad():
            read(model, inputs[index])

    try:
        with one_expert_at_a_time(model):
            for index, (block, said) in enumerate(in_step(run, len(inputs), blocks)):
                on_disk.bring(block)
                yield index, block, list(said.values())
    finally:
        for hook in hooks:
            hook.remove()


def run_block(block: nn.Module, call: tuple[torch.Tensor, dict]) -> torch.Tensor:
    """The block's output hidden states for one recorded call."""
    hidden, rest = call
    with torch.no_grad():
        output = block(hidden, *rest["args"], **rest["kwargs"])
    return output[0] if isinstance(output, tuple | list) else output


def watch(
    block: nn.Module,
    call: tuple[torch.Tensor, dict],
    see: Callable[[str, torch.Tensor], None],
) -> None:
    """Run a block on one recorded call: see(name, fed) is told of each weight, by its name within
    the block, what is fed to it, rows (…, in). It may end the call by raising `Reached`."""

    def tell(_, weight, found):
        for name, fed in found:
            see(name, fed)

    with suppress(Reached), one_expert_at_a_time(block), Products(places(block), tell):
        run_block(block, call)

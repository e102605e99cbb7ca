"""Removing whole blocks: a shallower model, for encoders and decoders of any family.

Proskurina et al. 2023 delete the bottom, middle or upper blocks *before* fine-tuning; blocks can
also be listed, or chosen by how little they change what passes through them.
"""

import copy
import re
from collections.abc import Sequence
from typing import Annotated, Literal

import torch
from pydantic import AfterValidator, BeforeValidator, Field
from torch import nn

from ethical_compression.compress.blocks import read, run_block, short_text, stream_blocks
from ethical_compression.compress.layerwise import Compressed
from ethical_compression.compress.methods import Method, Text, register
from ethical_compression.errors import InputError
from ethical_compression.memory import is_of_memory
from ethical_compression.models.anatomy import transformer_blocks

PLAIN = (bool, int, float, str, tuple, type(None))
POSITIONS = ("bottom", "middle", "upper", "contribution")


def chosen(total: int, remove: int, position: str) -> list[int]:
    """Indices of `remove` blocks of `total` at the bottom, in the middle, or upper (the last ones).

    Where the middle cannot be exact, one more block stays above it than below.
    """
    _check_count(total, remove)
    if position not in POSITIONS[:3]:
        raise InputError(f"There are no {position!r} layers: choose bottom, middle or upper.")
    begin = {"bottom": 0, "middle": (total - remove) // 2, "upper": total - remove}[position]
    return list(range(begin, begin + remove))


def contributions(model: nn.Module, inputs: Sequence[torch.Tensor]) -> list[float]:
    """How much each block changes its input: 1 − mean cosine of its input and output, per token.

    inputs: token ids, each (batch, length). A block near 0 passes its input on as it is (Sajjad et
    al. 2023, *contribution-based dropping*; the block influence of Men et al. 2024).
    """
    found, before = [], None
    for _, block, calls in stream_blocks(model, inputs):
        states = [hidden for hidden, _ in calls]
        if before is not None:
            found.append(_turn(before, states))
        before, last = states, (block, calls)
    block, calls = last
    return [*found, _turn(before, [run_block(block, call) for call in calls])]


def _turn(before: Sequence[torch.Tensor], after: Sequence[torch.Tensor]) -> float:
    """1 − mean cosine of paired hidden states, each (batch, length, width)."""
    cosines = [
        torch.cosine_similarity(one.float(), other.float(), dim=-1).flatten()
        for one, other in zip(before, after, strict=True)
    ]
    return float(1 - torch.cat(cosines).mean())


def least(contribution: Sequence[float], remove: int) -> list[int]:
    """Indices, in order, of the `remove` blocks that contribute least."""
    _check_count(len(contribution), remove)
    return sorted(sorted(range(len(contribution)), key=lambda i: contribution[i])[:remove])


@torch.no_grad()
def remove(model: nn.Module, indices: Sequence[int]) -> None:
    """Delete the blocks at `indices` (counted from 0, the input's side) in place.

    The configuration follows, in all that it says layer by layer, and so do the numbers under which
    attention keeps its cache: the model generates, is saved and is loaded like one that was built
    so. Raises InputError where no configuration says so, or where the depth of a layer is part of
    what it computes: where a model built from the configuration has other layers than these, or
    other settings in them, where it reads a few tokens otherwise than the full model does when it
    passes these blocks over, and where it goes on otherwise with a cache than without.
    """
    blocks = transformer_blocks(model)
    total, gone = len(blocks), set(indices)
    if unknown := sorted(i for i in gone if not 0 <= i < total):
        raise InputError(
            f"There is no layer {unknown[0]}: this model has {total}, from 0 to {total - 1}."
        )
    _check_count(total, len(gone))
    kept = [i for i in range(total) if i not in gone]
    training = [module for module in model.modules() if module.training]
    model.eval()
    try:
        expected = _passed_over(model, [blocks[i] for i in sorted(gone)])
        cached = _cache_changes(model)
        configs = _configs(model, blocks)
        for i in sorted(gone, reverse=True):
            del blocks[i]
        for config in configs:
            _shorten(config, total, kept)
        if differs := _unlike(model):
            raise _refused(model, gone, differs)
        found = _output(read(model, short_text(model)))
        if not _near(expected, found, _dtype(model)):
            raise _refused(model, gone, "the depth of a layer is part of what it computes")
        if cached is False and _cache_changes(model) is not False:
            raise _refused(model, gone, "it does not go on with a cache as without one")
    except Exception as error:
        if isinstance(error, InputError) or is_of_memory(error):
            raise
        said = " ".join(str(error).split())[:120]
        raise _refused(model, gone, f"what is left does not run: {said}") from error
    finally:
        for module in training:
            module.training = True


def _refused(model: nn.Module, gone: set[int], why: str) -> InputError:
    return InputError(
        f"{type(model).__name__} cannot do without its layers {sorted(gone)} ({why}): remove "
        "others, or compress it by another method."
    )


def _output(output) -> torch.Tensor:
    """What a model says of a text: its logits, or the states of one without a head."""
    return (output.logits if hasattr(output, "logits") else output[0]).float()


def _near(one: torch.Tensor, other: torch.Tensor, dtype: torch.dtype) -> bool:
    """Whether two outputs of a model in `dtype` are one but for rounding."""
    within = max(1e-3, 4 * torch.finfo(dtype).eps)  # of bfloat16 0.03
    return one.shape == other.shape and bool(
        torch.linalg.vector_norm(one - other) <= within * torch.linalg.vector_norm(one)
    )


def _dtype(model: nn.Module) -> torch.dtype:
    """What a model computes in: that of its first parameter of floating point."""
    return next(one.dtype for one in model.parameters() if one.is_floating_point())


@torch.no_grad()
def _passed_over(model: nn.Module, gone: Sequence[nn.Module]) -> torch.Tensor:
    """What the full model says of a few tokens when the blocks in `gone` pass on their input."""

    def pass_on(_, args, kwargs, output):
        hidden = args[0] if args else kwargs["hidden_states"]
        return type(output)([hidden, *output[1:]]) if isinstance(output, tuple | list) else hidden

    hooks = [block.register_forward_hook(pass_on, with_kwargs=True) for block in gone]
    try:
        return _output(read(model, short_text(model)))
    finally:
        for hook in hooks:
            hook.remove()


@torch.no_grad()
def _cache_changes(model: nn.Module) -> bool | None:
    """Whether a model generates otherwise with its cache than without; None where it cannot."""
    if not (hasattr(model, "can_generate") and model.can_generate()):
        return None
    ids = short_text(model)
    said = []
    try:
        for use_cache in (True, False):
            out = model.generate(
                ids,
                attention_mask=torch.ones_like(ids),
                max_new_tokens=3,
                do_sample=False,
                use_cache=use_cache,
                eos_token_id=None,
                pad_token_id=0,
                output_logits=True,
                return_dict_in_generate=True,
            )
            said.append((out.sequences[:, -3:], torch.stack(out.logits).float()))
    except Exception:
        return None
    (first, one), (second, other) = said
    # Where rounding turns a choice, what follows it follows another text.
    same = 1 + int((first == second).all(0).int().cumprod(0)[:-1].sum())
    return not _near(one[:same], other[:same], _dtype(model))


def _configs(model: nn.Module, blocks: nn.ModuleList) -> list:
    """The configurations that speak of `blocks`: the model's, and that of the part around them."""
    owner = next(m for m in model.modules() if blocks in m.children())
    part = getattr(owner, "config", model.config)
    configs = [part, model.config.get_text_config(), model.config]
    return list({id(config): config for config in configs}.values())


def _shorten(config, total: int, kept: Sequence[int]) -> None:
    """Have a configuration of `total` layers speak of those in `kept` alone.

    By what its values look like, since each family has names of its own: the number of layers, of
    the first or the last that are of a kind, a value or a kind for each layer (as a pattern that
    comes again, too), and the numbers of some of them. What is misread here does not build a model
    with the layers that are left, which `remove` sees.
    """
    values = {}
    for name, value in vars(config).items():
        of_layers = re.search("layer|block|depth", name) is not None
        if isinstance(value, bool) or "token" in name or name.startswith("_"):
            continue
        if isinstance(value, int):
            if (of_layers and value == total) or re.match("first_|max_window_|num_dense_", name):
                values[name] = sum(i < value for i in kept)
            elif name == "num_kv_shared_layers":  # the last ones
                values[name] = sum(i >= total - value for i in kept)
        elif isinstance(value, list | tuple) and value:
            numbers = all(isinstance(one, int) and not isinstance(one, bool) for one in value)
            is_index = numbers and len(set(value)) == len(value) and max(value) < total
            if name == "attention_types":  # GPT-Neo's: kinds, and how often they come
                kinds = [kind for its, times in value for _ in range(times) for kind in its]
                values[name] = [[[kinds[i]], 1] for i in kept]
            elif len(value) == total and not (is_index and list(value) == list(range(total))):
                values[name] = [value[i] for i in kept]
            elif is_index and (of_layers or re.search("idx|indices|ids", name)):
                values[name] = [kept.index(i) for i in value if i in kept]
            elif re.search("types|pattern", name) and all(isinstance(o, str) for o in value):
                values[name] = [value[i % len(value)] for i in kept]
    # Not through the configuration's own setter, which may check one value against another.
    vars(config).update(
        {n: tuple(v) if isinstance(vars(config)[n], tuple) else v for n, v in values.items()}
    )


def _unlike(model: nn.Module) -> str:
    """What sets a model apart from one built from its configuration, or "".

    The numbers of layers are taken over from there, since layers keep their cache by them.
    """
    from ethical_compression.models.reading import quiet

    with torch.device("meta"), quiet():
        built = type(model)(copy.deepcopy(model.config))
    shapes = [{n: t.shape for n, t in one.state_dict().items()} for one in (model, built)]
    if other := {n for n in shapes[0] | shapes[1] if shapes[0].get(n) != shapes[1].get(n)}:
        return f"its configuration asks for another {min(other)}"
    modules = dict(built.named_modules())
    for name, module in model.named_modules():
        if type(module) is not type(modules[name]):
            return f"its configuration asks for another {name}"
        for setting, value in vars(module).items():
            should = vars(modules[name]).get(setting, value)
            plain = isinstance(value, PLAIN) and isinstance(should, PLAIN)
            if not plain or setting == "training" or setting.startswith("_") or value == should:
                continue
            if isinstance(value, int) and re.search("layer|block|depth", setting):
                setattr(module, setting, should)
            else:
                return f"{name}.{setting} would be {should} in place of {value}"
    return ""


def _check_count(total: int, remove: int) -> None:
    if not 0 <= remove < total:
        raise InputError(
            f"{remove} of {total} layers cannot be removed: at least one must stay, and a number "
            "below 0 makes no sense."
        )


# --- As a recipe's method -------------------------------------------------------------------------


def _each_once(remove: int | tuple[int, ...]) -> int | tuple[int, ...]:
    if isinstance(remove, tuple) and len(set(remove)) < len(remove):
        raise InputError(f"A layer is named twice in {list(remove)}: name each once.")
    return remove


class Settings(Text):
    """Which layers go. Text is read only to measure what layers contribute."""

    remove: Annotated[
        int | tuple[int, ...],
        BeforeValidator(lambda given: tuple(given) if isinstance(given, list) else given),
        AfterValidator(_each_once),
    ] = Field(1, description="how many layers go, or their indices from 0")
    position: Literal[*POSITIONS] = Field(
        "upper",
        title="position of layers",
        description="which, where it is a number: bottom, middle, upper, or contribution, those "
        "that change their input least",
    )

    def used(self) -> tuple[str, ...]:
        """The layers, or how many and which; text where it says which."""
        if isinstance(self.remove, tuple):
            return ("remove",)
        if self.position != "contribution":
            return ("remove", "position")
        return ("remove", "position", *Text.model_fields)


def _label(settings: Settings) -> str:
    if isinstance(settings.remove, tuple):
        many = "s" * (len(settings.remove) != 1)
        return f"without layer{many} {', '.join(map(str, settings.remove))}"
    which = {"contribution": "least contributing"}.get(settings.position, settings.position)
    return f"without {settings.remove} {which} layer{'s' * (settings.remove != 1)}"


def _apply(settings: Settings, model, inputs, **_) -> Compressed:
    total = len(transformer_blocks(model))
    contribution = None
    if "calibration" in settings.used():
        contribution = contributions(model, inputs)
        gone = least(contribution, settings.remove)
    elif isinstance(settings.remove, tuple):
        gone = sorted(settings.remove)
    else:
        gone = chosen(total, settings.remove, settings.position)
    remove(model, gone)
    rows = [
        {"layer": i, "removed": i in gone}
        | ({"contribution": contribution[i]} if contribution else {})
        for i in range(total)
    ]
    return Compressed(rows=rows)


def _restore(model, done: Compressed) -> None:
    remove(model, [row["layer"] for row in done.rows if row["removed"]])


register(
    Method(
        name="layers",
        about="whole layers removed",
        settings=Settings,
        label=_label,
        apply=_apply,
        restore=_restore,
    )
)

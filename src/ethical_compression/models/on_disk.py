"""A causal language model that does not fit: its blocks stay on disk, and one is in memory at a
time.

transformers and accelerate know where in a checkpoint each tensor of a block lies, and bring it to
its device; what is decided here is when: a block is read as a text enters it, and stays until a
text enters another. Embeddings, the last norm and the output head stay in memory. A block that is
changed while it is here is written anew, and read so from then on.
"""

import shutil
import tempfile
import weakref
from collections.abc import Callable, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any, NamedTuple

import torch
from safetensors import SafetensorError
from safetensors.torch import save_file
from torch import nn

from ethical_compression import store
from ethical_compression.errors import InputError
from ethical_compression.models.anatomy import transformer_blocks
from ethical_compression.models.finite import all_finite
from ethical_compression.models.gptq_format import gptq_settings, write_plain
from ethical_compression.models.reading import forget_quantization, one_sentence


def load(folder: Path, name: str, *, dtype: str, device: str, options: Mapping[str, Any]):
    """(the model in a folder, what transformers tells of its reading), its blocks on disk.

    name: what sentences call it. options: of `from_pretrained`. Weights that are stored otherwise
    than the model computes with them (experts one by one, GPTQ's codes) are written out as it
    does, into a folder of the store that goes when the model does, or after it was killed.
    Raises InputError for a model that other means than GPTQ have quantized, and without room for
    such a copy.
    """
    import transformers

    config = transformers.AutoConfig.from_pretrained(folder, local_files_only=True)
    packed = gptq_settings(folder)
    if getattr(config, "quantization_config", None) is not None and not packed:
        raise InputError(
            f"{name} is quantized by other means than GPTQ, and read as a whole: load it without "
            "offload."
        )
    if packed:
        forget_quantization(config)
    with torch.device("meta"):
        empty = transformers.AutoModelForCausalLM.from_config(config)
    with _copies() as (copies, owner):
        if packed:
            write_plain(folder, empty, getattr(torch, dtype), copies)
            config.save_pretrained(copies)
            if (generation := folder / "generation_config.json").exists():
                shutil.copy(generation, copies)
            folder = copies
        model, found = type(empty).from_pretrained(
            folder, config=config, device_map=_places(empty, device), offload_folder=copies,
            **options,
        )  # fmt: skip
    weakref.finalize(model, _remove, copies, owner)
    _one_at_a_time(model, name, copies)
    return model, found


class _Stack(NamedTuple):
    """What is known of a model whose blocks stay on disk: they, in their order, the folder of what
    is written of them, and what lets go of the one that is here."""

    blocks: list[nn.Module]
    copies: Path
    let_go: Callable[[], None]


def _stack(model: nn.Module) -> _Stack | None:
    return getattr(model, "_ethical_compression_on_disk", None)


def blocks(model: nn.Module) -> list[nn.Module]:
    """The blocks of a model that stay on disk, in their order; none of a model in memory."""
    found = _stack(model)
    return found.blocks if found else []


def copies(model: nn.Module) -> Path | None:
    """A folder that is there as long as a model whose blocks stay on disk; None for others."""
    found = _stack(model)
    return found.copies if found else None


def bring(block: nn.Module, *, changes: bool = False) -> None:
    """Have a block in memory, and let go of the one that was; nothing where blocks are in memory.

    changes: whether what it holds when it is let go is what is to be read from then on.
    """
    if enter := vars(block).get("_ethical_compression_enter"):
        enter(block, changes=changes)


def let_go(model: nn.Module) -> None:
    """Have no block in memory, and on disk what was changed."""
    if found := _stack(model):
        found.let_go()


@contextmanager
def _copies():
    """A new folder in the store and what keeps others from removing it; it is gone where what is
    done with it fails."""
    parent = store.cache_dir() / "offloaded"
    try:
        parent.mkdir(parents=True, exist_ok=True)
        folder, owner = _owned(parent)
    except OSError as error:
        raise InputError(store.unwritable(parent, error)) from error
    try:
        yield folder, owner
    except BaseException as error:
        _remove(folder, owner)
        written = isinstance(error, OSError | SafetensorError)
        if written and store.errno_of(error) in store.OF_WRITING:
            raise InputError(store.unwritable(folder, error)) from error
        raise


def _owned(parent: Path) -> tuple[Path, IO]:
    """A new folder, and a file in it that is locked while its owner lives; what others left that
    were killed goes. Where files cannot be locked, none of it does."""
    with open(parent / "lock", "w") as door:
        _locked(door, wait=True)
        for left in parent.glob("*/owner"):
            with suppress(OSError), open(left, "a") as owner:
                if _locked(owner):
                    shutil.rmtree(left.parent)
        folder = Path(tempfile.mkdtemp(dir=parent))
        owner = open(folder / "owner", "w")  # noqa: SIM115, open as long as the folder is there
        _locked(owner)
    return folder, owner


def _locked(file: IO, *, wait: bool = False) -> bool:
    """Whether an open file could be locked, until it is closed or its program ends."""
    try:
        import fcntl

        fcntl.flock(file, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
    except (ImportError, OSError):  # taken, or another system
        return False
    return True


def _remove(folder: Path, owner: IO) -> None:
    shutil.rmtree(folder, ignore_errors=True)
    owner.close()


def _places(model: nn.Module, device: str) -> dict[str, str]:
    """accelerate's map of devices: the blocks on disk, all else on `device`."""
    stack = transformer_blocks(model)
    places = {}

    def look(module: nn.Module, prefix: str) -> None:
        own = [*module.named_parameters(recurse=False), *module.named_buffers(recurse=False)]
        places.update({f"{prefix}{name}": device for name, _ in own})
        for name, part in module.named_children():
            if part is not stack and any(one is stack for one in part.modules()):
                look(part, f"{prefix}{name}.")
            else:
                places[f"{prefix}{name}"] = "disk" if part is stack else device

    look(model, "")
    return places


def _one_at_a_time(model: nn.Module, name: str, copies: Path) -> None:
    """Have a block read as it is entered, and let go of as another is; accelerate does both for
    each of its layers and each call."""
    from accelerate.hooks import AlignDevicesHook, remove_hook_from_module

    stack = list(transformer_blocks(model))
    hooks = {
        block: [(part, part._hf_hook) for part in block.modules() if hasattr(part, "_hf_hook")]
        for block in stack
    }
    full_name = {module: name for name, module in model.named_modules()}
    prefix = {block: f"{full_name[block]}." for block in stack}
    # What accelerate reads from, told where each weight lies.
    weights = next(
        hook.weights_map.dataset
        for its in hooks.values()
        for _, hook in its
        if getattr(hook, "weights_map", None) is not None
    )
    here: list[nn.Module] = []
    changed: set[nn.Module] = set()

    def leave():
        while here:
            if here[0] in changed:
                weights.index |= _written(here[0], prefix[here[0]], copies)
                changed.remove(here[0])
            for part, hook in hooks[here.pop()]:
                hook.post_forward(part, None)

    def enter(block, *_, changes=False):
        if changes:
            changed.add(block)
        if here == [block]:
            return
        with torch.inference_mode(False), one_sentence(name):
            leave()
            for part, hook in hooks[block]:
                hook.pre_forward(part)
        _check_finite(block, f"block {stack.index(block)} of {name}")
        here.append(block)

    remove_hook_from_module(model, recurse=True)
    for block in stack:
        block.register_forward_pre_hook(enter)
        block._ethical_compression_enter = enter
    model._ethical_compression_on_disk = _Stack(stack, copies, leave)
    # Where `save_pretrained` looks for what is on disk; it computes nothing.
    model._hf_hook = AlignDevicesHook(weights_map=weights)


def _written(block: nn.Module, prefix: str, copies: Path) -> dict[str, dict[str, str]]:
    """Write what a block holds, and return where: what accelerate knows of each weight."""
    file = copies / f"{prefix}safetensors"
    held = {f"{prefix}{key}": one.data.contiguous() for key, one in block.named_parameters()}
    with store.whole_or_nothing(file) as place:
        save_file(held, place)
    return {
        key: {"safetensors_file": str(file), "weight_name": key, "dtype": _called(one.dtype)}
        for key, one in held.items()
    }


def _called(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")


def _check_finite(block: nn.Module, where: str) -> None:
    for parameter, value in block.named_parameters():
        if not all_finite(value):
            raise InputError(
                f"The weight {parameter} of {where} is NaN or infinite in {_called(value.dtype)}: "
                "use float32, or fetch the model again."
            )

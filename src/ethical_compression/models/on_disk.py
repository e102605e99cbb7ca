"""A causal language model that does not fit: its blocks stay on disk, and one is in memory at a
time.

transformers and accelerate know where in a checkpoint each tensor of a block lies, and bring it to
its device; what is decided here is when: a block is read as a text enters it, and stays until a
text enters another. Embeddings, the last norm and the output head stay in memory.
"""

import shutil
import tempfile
import weakref
from collections.abc import Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
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
    does, into a folder of the store that goes when the model does.
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
    with _copies() as copies:
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
    weakref.finalize(model, shutil.rmtree, copies, ignore_errors=True)
    _one_at_a_time(model, name)
    return model, found


def blocks(model: nn.Module) -> list[nn.Module]:
    """The blocks of a model that stay on disk, in their order; none of a model in memory."""
    return getattr(model, "_ethical_compression_on_disk", [])


@contextmanager
def _copies():
    """A new folder in the store, which is gone where what is done with it fails."""
    parent = store.cache_dir() / "offloaded"
    try:
        parent.mkdir(parents=True, exist_ok=True)
        folder = Path(tempfile.mkdtemp(dir=parent))
    except OSError as error:
        raise InputError(store.unwritable(parent, error)) from error
    try:
        yield folder
    except BaseException as error:
        shutil.rmtree(folder, ignore_errors=True)
        written = isinstance(error, OSError | SafetensorError)
        if written and store.errno_of(error) in store.OF_WRITING:
            raise InputError(store.unwritable(folder, error)) from error
        raise


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


def _one_at_a_time(model: nn.Module, name: str) -> None:
    """Have a block read as it is entered, and let go of as another is; accelerate does both for
    each of its layers and each call."""
    from accelerate.hooks import remove_hook_from_module

    stack = list(transformer_blocks(model))
    hooks = {
        block: [(part, part._hf_hook) for part in block.modules() if hasattr(part, "_hf_hook")]
        for block in stack
    }
    here: list[nn.Module] = []

    def enter(block, *_):
        if here == [block]:
            return
        with torch.inference_mode(False), one_sentence(name):
            while here:
                for part, hook in hooks[here.pop()]:
                    hook.post_forward(part, None)
            for part, hook in hooks[block]:
                hook.pre_forward(part)
        for parameter, value in block.named_parameters():
            if not all_finite(value):
                raise InputError(
                    f"The weight {parameter} of block {stack.index(block)} of {name} is NaN or "
                    f"infinite in {str(value.dtype).removeprefix('torch.')}: use float32, or fetch "
                    "the model again."
                )
        here.append(block)

    remove_hook_from_module(model, recurse=True)
    for block in stack:
        block.register_forward_pre_hook(enter)
    model._ethical_compression_on_disk = stack

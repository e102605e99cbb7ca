"""A recipe done to a model in memory."""

import contextlib
from collections.abc import Iterable, Sequence
from pathlib import Path

import torch

from ethical_compression.compress import methods
from ethical_compression.compress.blocks import survey
from ethical_compression.compress.layerwise import Compressed
from ethical_compression.compress.recipe import Recipe
from ethical_compression.errors import InputError
from ethical_compression.memory import is_of_memory

# How much of the blocks' weights a method must touch.
LEAST_TOUCHED = 0.9


def apply(
    recipe: Recipe,
    model,
    inputs: Sequence[torch.Tensor] = (),
    *,
    partial: bool = False,
    progress: bool = False,
    parts: Path | None = None,
    tokenizer=None,
):
    """Compress `model` in place.

    inputs: what a method that reads text calibrates on (`calibration_inputs`). partial: whether to
    go on where the method leaves much as it is (`check_touched`). parts: a folder for what GPTQ has
    done so far, so that it can go on there (`gptq.quantize_model`). tokenizer: the model's, for
    other libraries' GPTQ (`peers`).

    Returns (weights, report): the compressed weights by layer name (`weight_files`), and a
    DataFrame with one row a layer, each expert of a mixture being one: `layer`; `weight_error`,
    ‖Ŵ−W‖²/‖W‖²; `output_error`, the relative squared error ‖(Ŵ−W)X‖²/‖WX‖² on the calibration
    inputs, and `reached`, whether a token of them reached the layer, where the method reads text;
    and for pruning the counts of `sparsity.mask_statistics`. bitsandbytes' layers are kept by the
    model itself, and where layers are removed there are no weights either, and a row a layer:
    `removed`, and its `contribution`.
    Raises InputError where a pattern does not fit, where calibration is missing, or where the
    method touches too little (nothing is changed yet), and where the memory is too small; the model
    may then be half compressed.
    """
    import pandas as pd

    method = methods.find(recipe.method)
    if recipe.reads_text and not inputs:
        raise InputError(f"{recipe.label} needs calibration inputs: see calibration_inputs.")
    if method.touches:
        check_touched(recipe, model, partial=partial)
    done = Compressed()
    if method.apply:
        with torch.no_grad(), _memory_in_words():
            done = method.apply(
                recipe.chosen,
                model,
                inputs,
                progress=recipe.label if progress else None,
                parts=parts,
                tokenizer=tokenizer,
            )
    return done.weights, pd.DataFrame(done.rows)


def check_touched(recipe: Recipe, model, *, partial: bool = False) -> float:
    """Share of the weights in the model's blocks that a recipe's method touches (`touched`).

    Raises InputError where it would leave more than a tenth of them as they are, and so measure
    little of what it is called, unless `partial` asks for it.
    """
    method = methods.find(recipe.method)
    names = method.touches(recipe.chosen, model) if method.touches else []
    share = touched(model, names)
    if share < LEAST_TOUCHED and not partial:
        raise InputError(
            f"{recipe.label} would touch {share:.1%} of the weights in the blocks of this "
            f"{type(model).__name__} ({method.takes}): choose another method, or ask for it "
            "nevertheless with partial=True (on the command line, --partial)."
        )
    return share


def touched(model, names: Iterable[str]) -> float:
    """Share of the weights in the blocks that those called so are (`blocks.survey`)."""
    whole = survey(model)
    sizes = {
        name: weight.numel() for block in whole.blocks for name, weight in block.weights.items()
    }
    return sum(sizes.get(name, 0) for name in set(names)) / whole.total


@contextlib.contextmanager
def _memory_in_words():
    try:
        yield
    except (MemoryError, RuntimeError) as error:
        if not is_of_memory(error):
            raise
        raise InputError(
            "The model and one layer's statistics do not fit in memory: use a smaller model, "
            "float16, shorter calibration windows, or a machine with more memory."
        ) from error

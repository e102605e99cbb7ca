"""The windows of text that a method sees of what a model reads."""

from collections.abc import Sequence

import torch

from ethical_compression.compress.recipe import Recipe
from ethical_compression.errors import InputError

TOKENS = 1024  # of one call: enough for fast products, few enough for little memory beside them


def calibration_windows(
    tokenizer,
    documents: Sequence[str],
    *,
    samples: int,
    length: int,
    seed: int = 0,
    batch: int | None = None,
) -> list[torch.Tensor]:
    """`samples` windows of `length` tokens, none overlapping another, drawn with a seed.

    documents: joined by blank lines before they are tokenised. Returns int64 (batch, length)
    tensors, the last one possibly shorter in its first dimension; by default of as many windows as
    make up `TOKENS`.
    Raises InputError when the text is too short.
    """
    ids = tokenizer("\n\n".join(documents), add_special_tokens=False)["input_ids"]
    there = len(ids) // length
    if there < samples:
        raise InputError(
            f"Calibration needs {samples} windows of {length} tokens but the text holds {there}: "
            "give more text, or ask for fewer or shorter windows."
        )
    drawn = torch.randperm(there, generator=torch.Generator().manual_seed(seed))[:samples]
    windows = torch.tensor(ids[: there * length]).view(there, length)[drawn]
    return list(windows.split(batch or max(1, TOKENS // length)))


def calibration_inputs(recipe: Recipe, model, tokenizer) -> list[torch.Tensor]:
    """The windows that `recipe` asks for, on the model's device; none where it reads no text."""
    if not recipe.reads_text:
        return []
    from ethical_compression.datasets import text
    from ethical_compression.score.loglikelihood import model_length

    longest = model_length(model)
    if longest is not None and recipe.length > longest:
        raise InputError(
            f"Calibration windows of {recipe.length} tokens exceed the {longest} positions "
            f"that this {type(model).__name__} has: give a length of at most {longest}."
        )
    windows = calibration_windows(
        tokenizer,
        text.load(recipe.calibration, "calibration", source=recipe.source),
        samples=recipe.samples,
        length=recipe.length,
        seed=recipe.seed,
    )
    device = next(model.parameters()).device
    return [window.to(device) for window in windows]

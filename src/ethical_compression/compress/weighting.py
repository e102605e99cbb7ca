"""How much each calibration token counts in GPTQ's Hessian: all the same, or by uncertainty.

Ours, after the future work that Proskurina et al. 2024 name: where the full model does not know how
a text goes on, a rounding error changes its confidence most, so such tokens could count for more.
"""

from collections.abc import Sequence

import torch

WEIGHTINGS = ("none", "entropy")
POSITIONS = 256  # whose probabilities are held at a time, in float32


def token_weights(
    weighting: str, model: torch.nn.Module, inputs: Sequence[torch.Tensor]
) -> list[torch.Tensor] | None:
    """Weight of each token of `inputs` (token ids, each (batch, length)), float32, shaped alike.

    "entropy": that of the model's prediction of the token to come, in nats; `model` must still be
    the full one. "none": None. A Hessian is a weighted mean, so a common factor changes nothing.
    """
    return next_token_entropy(model, inputs) if weighting == "entropy" else None


def next_token_entropy(
    model: torch.nn.Module, inputs: Sequence[torch.Tensor]
) -> list[torch.Tensor]:
    """Entropy, in nats, of the model's prediction after each token, one window at a time."""

    def entropy(row: torch.Tensor) -> torch.Tensor:
        logits = model(input_ids=row[None], use_cache=False).logits[0]
        return torch.cat(
            [
                torch.special.entr(some.float().softmax(-1)).sum(-1)
                for some in logits.split(POSITIONS)
            ]
        )

    with torch.no_grad():
        return [torch.stack([entropy(row) for row in batch]) for batch in inputs]

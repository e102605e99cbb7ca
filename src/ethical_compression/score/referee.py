"""What scoring in trees saves, and whether it is right: token counts, and a plain pass."""

from collections.abc import Sequence

from ethical_compression.score import token_tree
from ethical_compression.score.tokens import Encoded


def tokens_read(encoded: Sequence[Encoded], layout: str, width: int) -> tuple[int, int]:
    """Tokens that a model reads for these requests: one by one, and as `layout` lays them out.

    width: of the model's hidden states, as for `token_tree.plan_rows`.
    """
    rows = token_tree.plan_rows(encoded, layout=layout, width=width)
    return sum(len(one.ids) - 1 for one in encoded), sum(map(len, rows))


def plainly(model, one: Encoded) -> float:
    """log p of one request: a pass of its own, float64, softmax over the whole vocabulary."""
    import torch

    ids = torch.tensor([list(one.ids)], device=model.device)
    with torch.inference_mode():
        logp = model(ids).logits[0].double().log_softmax(-1)
    scored = range(len(one.ids) - one.scored, len(one.ids))
    return sum(float(logp[place - 1, one.ids[place]]) for place in scored)

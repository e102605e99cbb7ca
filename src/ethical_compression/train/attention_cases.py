"""What the losses of attention ask for, seen on single cases before anything is trained."""

from ethical_compression.train.supervision import SUPERVISIONS, attention_loss


def loss_and_gradient(attention, marked, seen, how: str):
    """The loss of the first token's attention, a float, and its gradient in each weight.

    attention: (posts, tokens), each row a distribution; marked, seen, how: as `attention_loss` has
    them. The gradient has the shape of `attention`, in float64.
    """
    import torch

    attention = attention.double().requires_grad_()
    # As (posts, heads, tokens, tokens): the losses look at the first token's row.
    layer = attention[:, None, None].expand(-1, 1, attention.shape[1], -1)
    loss = attention_loss([layer], marked, seen, how=how)
    (gradient,) = torch.autograd.grad(loss, attention)
    return float(loss.detach()), gradient


def losses_by_way(marked, seen):
    """Each of `SUPERVISIONS` for four ways to attend: a DataFrame, `way` and a column a loss.

    marked, seen: (posts, tokens) of 0 and 1. A loss that teaches to attend to the marked words is
    lowest in the second row.
    """
    import pandas as pd
    import torch

    places = torch.arange(seen.shape[1])
    ways = {
        "evenly over the post": seen,
        "on the marked words only": marked,
        "on token 0, the first": (places == 0) * seen,
        "on token 1, the next": (places == 1) * seen,
    }
    rows = []
    for way, weight in ways.items():
        attention = weight / weight.sum(1, keepdim=True).clamp(min=1)
        rows.append(
            {"way": way}
            | {how: loss_and_gradient(attention, marked, seen, how)[0] for how in SUPERVISIONS}
        )
    return pd.DataFrame(rows)

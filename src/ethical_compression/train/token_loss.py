"""Where most of the time of a small model's step was spent (benchmarks/baby.py), in fewer passes:
the loss of next tokens and its gradient, Llama's normalisation, dropout.

A small model's head is as large as its body. Its logits, tokens × vocabulary, are made for some
rows at a time, in the type of the states; softmax and sums are float32. The gradient is made while
the logits are there, so that they are neither kept nor made again.
"""

import numpy as np
import torch

CELLS = 2**23  # logits that are held at a time: 32 megabytes, which are used again


class _TokenLoss(torch.autograd.Function):
    @staticmethod
    def forward(ctx, states, weight, bias, wanted):
        needed = any(ctx.needs_input_grad)
        head = weight.to(states.dtype)
        by_state = torch.empty_like(states) if needed else None
        by_weight = torch.zeros(weight.shape, device=weight.device) if needed else None
        by_bias = torch.zeros(len(weight), device=weight.device)
        total = torch.zeros((), device=states.device)
        step = max(1, CELLS // len(weight))
        for rows in (slice(at, at + step) for at in range(0, len(states), step)):
            here, asked = states[rows], wanted[rows, None]
            logits = (here @ head.T).float()
            if bias is not None:
                logits += bias.float()
            top = logits.amax(1, keepdim=True)
            told = logits.gather(1, asked)
            share = logits.sub_(top).exp_()
            sums = share.sum(1, keepdim=True)
            total += (sums.log() + top - told).sum()
            if needed:
                share.div_(sums).scatter_add_(1, asked, torch.full_like(told, -1.0))
                if bias is not None:
                    by_bias += share.sum(0)
                share = share.to(states.dtype)
                by_state[rows] = share @ head
                by_weight += share.T @ here
        ctx.save_for_backward(by_state, by_weight, by_bias if bias is not None else None)
        ctx.count, ctx.dtypes = len(states), (weight.dtype, getattr(bias, "dtype", None))
        return total / len(states)

    @staticmethod
    def backward(ctx, gradient):
        by_state, by_weight, by_bias = ctx.saved_tensors
        scale = gradient / ctx.count
        of_weight, of_bias = ctx.dtypes
        return (
            by_state * scale.to(by_state.dtype),
            (by_weight * scale).to(of_weight),
            None if by_bias is None else (by_bias * scale).to(of_bias),
            None,
        )


def token_loss(states, weight, wanted, bias=None):
    """Mean over rows of −log softmax(states · weightᵀ + bias)[wanted], in nats, float32.

    states (N, D), weight (V, D) in their type or a wider one, bias (V,) or None, wanted (N,) int64.
    Differentiable once in all but wanted.
    """
    return _TokenLoss.apply(states, weight, bias, wanted)


class _RootMeanSquare(torch.autograd.Function):
    @staticmethod
    def forward(ctx, weight, states, epsilon):
        wide = states.float()
        size = torch.linalg.vector_norm(wide, dim=-1, keepdim=True)
        scale = (size.square_().div_(states.shape[-1]) + epsilon).rsqrt_()
        even = (wide * scale).to(states.dtype)
        ctx.save_for_backward(weight, even, scale)
        return even * weight

    @staticmethod
    def backward(ctx, gradient):
        weight, even, scale = ctx.saved_tensors
        product = gradient * even
        by_weight = product.flatten(0, -2).sum(0, dtype=torch.float32)
        inner = (product @ weight)[..., None].div_(-len(weight))
        by_state = torch.addcmul(gradient * weight, even, inner).mul_(scale.to(even.dtype))
        return by_weight.to(weight.dtype), by_state, None


def root_mean_square(weight, epsilon: float, states):
    """Llama's normalisation, states / √(mean of squares + epsilon) · weight over the last
    dimension, with a gradient that takes a third of the passes."""
    return _RootMeanSquare.apply(weight, states, epsilon)


def dropout(states, share: float, training: bool = True):
    """torch's dropout. On a CPU a byte decides on each number, which takes a third of the time:
    the share is rounded to 1/256. Follows from torch's seed, one number of which it draws."""
    if not training or not share:
        return states
    if states.device.type != "cpu":
        return torch.nn.functional.dropout(states, share)
    gone = round(256 * share)
    seed = int(torch.randint(2**62, ()))
    drawn = np.random.SFC64(seed).random_raw(-(-states.numel() // 8)).view(np.uint8)
    kept = torch.from_numpy(drawn[: states.numel()]).view(states.shape) >= gone
    return states * kept.to(states.dtype).mul_(256 / (256 - gone))

"""Losses of attention: by hand, and as the released code computes them."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from ethical_compression.train import supervision


def layers(*rows):
    """One layer a row: (1 post, 2 heads, n, n), the first token's attention being `row`."""
    found = []
    for row in rows:
        attention = torch.full((1, 2, len(row), len(row)), 0.123)
        attention[0, :, 0] = torch.tensor(row)
        found.append(attention)
    return found


def test_published_loss_by_hand():
    attentions = layers([0.97, 0.01, 0.01, 0.01], [0.1, 0.2, 0.3, 0.4])
    # Heads differ; their mean is the last layer's row.
    attentions[1][0, 0, 0] = torch.tensor([0.1, 0.1, 0.4, 0.4])
    attentions[1][0, 1, 0] = torch.tensor([0.1, 0.3, 0.2, 0.4])
    marked, seen = torch.tensor([[0, 1, 1, 0]]), torch.ones(1, 4, dtype=torch.long)
    found = supervision.attention_loss(attentions, marked, seen)
    assert float(found) == pytest.approx(-(math.log(0.2) + math.log(0.3)) / 2)


def evenly(n, length, marks=(), heads=1):
    """One post of n tokens in `length`, attended evenly: (attention, marked, seen)."""
    seen = (torch.arange(length) < n).long()[None]
    marked = torch.zeros(1, length, dtype=torch.long)
    marked[0, list(marks)] = 1
    attention = (seen / n).double().expand(1, heads, length, length).clone().requires_grad_()
    return attention, marked, seen


@pytest.mark.parametrize("width", [12, 20, 128])
def test_the_released_loss_has_the_value_and_the_gradient_of_the_released_code(width):
    """12 tokens in 128: what running that code gives, however wide our own batch is padded."""
    for marks, value in (((5, 6, 7), 36.20), ((), 51.75)):
        attention, marked, seen = evenly(12, width, marks)
        found = supervision.attention_loss([attention], marked, seen, how="released")
        assert float(found.detach()) == pytest.approx(value, abs=0.006)
        (gradient,) = torch.autograd.grad(found, attention)
        assert gradient.abs().max() < 1e-13


def by_the_book(weights, target, mask):
    """The released arithmetic, post by post: both indexed by the mask, −Σ t·log-softmax, a mean."""
    total = 0
    for row, goal, one in zip(weights, target, mask, strict=True):
        total += -(goal[one] * torch.log_softmax(row[one], 0)).sum()
    return total / len(mask)


@pytest.mark.parametrize("how", supervision.SUPERVISIONS[1:])
@pytest.mark.parametrize(("heads", "row"), [(1, 0), (2, 0), (1, 3)])
def test_the_released_loss_is_that_of_indexing_by_the_padding_mask(how, heads, row):
    torch.manual_seed(0)
    seen = torch.tensor([[1, 1, 1, 1, 1], [1, 1, 1, 0, 0]])
    marked = torch.tensor([[0, 1, 1, 0, 0], [0, 0, 0, 0, 0]])
    layer = torch.rand(2, 3, 5, 5).masked_fill(seen[:, None, None] == 0, -math.inf).softmax(-1)
    length = 7
    wide = torch.nn.functional.pad(layer, (0, 2))
    mask = torch.nn.functional.pad(seen, (0, 2))
    mask = mask if how == "released" else mask.bool()
    e = math.e
    target = torch.tensor([[1, e, e, 1, 1, 0, 0], [1, 1, 1, 0, 0, 0, 0]])
    target = target / target.sum(1, keepdim=True)
    expected = sum(by_the_book(wide[:, h, row], target, mask) for h in range(heads))
    found = supervision.attention_loss(
        [layer, layer.flip(-1)], marked, seen, how=how, length=length, heads=heads, row=row
    )
    assert float(found) == pytest.approx(float(expected), rel=1e-6)


def test_the_released_gradient_reaches_tokens_0_and_1_alone_and_booleans_reach_all():
    attention, marked, seen = evenly(12, 128, (1, 6))
    for how, reached in (("released", [0, 1]), ("released, boolean mask", list(range(12)))):
        loss = supervision.attention_loss([attention], marked, seen, how=how)
        (gradient,) = torch.autograd.grad(loss, attention)
        assert gradient[0, 0, 0].nonzero().flatten().tolist() == reached
        assert not gradient[0, 0, 1:].any()


def test_the_released_loss_asks_for_one_difference_between_tokens_1_and_0():
    for marks, apart in (((5, 6), 0.0), ((1, 5), 1.0)):
        _, marked, seen = evenly(6, 16, marks)
        loss = {}
        for more in (-0.5, 0.0, 0.5, 1.0, 1.5):
            row = torch.zeros(1, 1, 16, 16, dtype=torch.float64)
            row[..., 1] = more
            found = supervision.attention_loss([row], marked, seen, how="released", length=16)
            loss[more] = float(found)
        assert min(loss, key=loss.get) == apart


def test_posts_without_a_mark_count_in_the_released_loss_alone():
    both = [torch.cat([one, one]) for one in layers([0.1, 0.2, 0.7])]
    seen, marked = torch.ones(2, 3, dtype=torch.long), torch.tensor([[0, 1, 0], [0, 0, 0]])
    for how in supervision.SUPERVISIONS:
        alone = [
            supervision.attention_loss(
                layers([0.1, 0.2, 0.7]), marked[[i]], seen[[i]], how=how, length=8
            )
            for i in (0, 1)
        ]
        found = supervision.attention_loss(both, marked, seen, how=how, length=8)
        if how == "published":
            assert float(alone[1]) == 0 and float(found) == pytest.approx(float(alone[0]))
        else:
            assert float(alone[1]) > 0 and float(found) == pytest.approx(float(sum(alone)) / 2)


@settings(max_examples=25, deadline=None)
@given(st.lists(st.floats(0.01, 1), min_size=3, max_size=9), st.data())
def test_published_loss_is_least_on_the_marked_words(raw, draw):
    n = len(raw)
    mask = draw.draw(st.lists(st.integers(0, 1), min_size=n, max_size=n).filter(any))
    marked, seen = torch.tensor([mask]), torch.ones(1, n, dtype=torch.long)
    row = (torch.tensor(raw) / sum(raw)).tolist()
    target = (marked[0] / marked.sum()).tolist()
    least = supervision.attention_loss(layers(target), marked, seen)
    assert float(least) == pytest.approx(math.log(sum(mask)), abs=1e-5)
    assert float(supervision.attention_loss(layers(row), marked, seen)) >= float(least) - 1e-5

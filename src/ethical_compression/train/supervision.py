"""Supervised attention: a loss that is smaller, the more attention is on annotators' rationales.

As the study of supervised attention describes it, and as its code does it.
"""

import math
from collections.abc import Sequence

from ethical_compression.datasets.files import known

# What is supervised and how it is summed: as the study writes it, as its code does it, and as that
# code would do it with a mask of booleans, which is how HateXplain's own code hands it over.
SUPERVISIONS = ("published", "released", "released, boolean mask")


def attention_loss(
    attentions: Sequence,
    marked,
    seen,
    *,
    how: str = "published",
    length: int = 128,
    heads: int = 1,
    row: int = 0,
):
    """How far attention is from the marked tokens: a scalar tensor.

    attentions: one (posts, heads, tokens, tokens) tensor a layer, after the softmax; marked:
    (posts, tokens) of 0 and 1, all 0 in a harmless post; seen: (posts, tokens), 0 at padding.

    how: "published": the last layer's attention of the first token, averaged over heads, against
    the mask divided by its sum: cross-entropy −Σ t·log a, the mean over posts with a mark, 0 where
    no post has one (Proskurina et al. 2023, after Mathew et al. 2021).

    "released": what their code (upunaprosk/Fair-Pruning, `src/train.py`, `src/data_load.py`) does.
    Of the *first* layer, row `row` (its setting `supervised_layer_pos`) of the first `heads` heads,
    posts padded to `length` tokens; the target is a softmax of the mask over the post's tokens, so
    uniform where nothing is marked, and *every* post takes part. What picks the tokens to compare
    is the *padding* mask of integers, used as an index: token 1 once for each token of the post,
    token 0 once for each padding token. −Σ t·log-softmax(a), though a is a softmax already, summed
    over what was picked and over heads, and divided by posts only.
    "released, boolean mask": the same with the padding mask as booleans, which picks each token of
    the post once.
    """
    import torch

    known("way to supervise attention", how, SUPERVISIONS)
    if how == "published":
        supervised = marked.bool().any(1)
        if not supervised.any():
            return attentions[-1].sum() * 0
        rows = attentions[-1][:, :, 0].mean(1)[supervised]
        target = marked[supervised] / marked[supervised].sum(1, keepdim=True)
        return -(target * rows.clamp_min(1e-12).log()).sum(1).mean()
    seen = seen.bool()
    target = marked.to(attentions[0].dtype).masked_fill(~seen, -math.inf).softmax(1)
    rows = attentions[0][:, :heads, row].unbind(1)
    if how == "released":
        # Token 1 for a 1, token 0 for a 0, `length` times in all.
        places = torch.nn.functional.pad(seen.long(), (0, length - seen.shape[1]))
        target, rows = target.gather(1, places), [one.gather(1, places) for one in rows]
        logs = [one.log_softmax(1) for one in rows]
    else:
        logs = [one.masked_fill(~seen, -math.inf).log_softmax(1) for one in rows]
        logs = [one.masked_fill(~seen, 0) for one in logs]
    return -sum((target * one).sum() for one in logs) / len(seen)

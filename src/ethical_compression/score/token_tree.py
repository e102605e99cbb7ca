"""Requests that begin alike share a *row*: a trie of tokens, so that nothing is computed twice.

A row is laid out in one of three ways (`layouts` runs them, and says which a model runs rightly):

- "tree"   one sequence, where each token attends to its own ancestors only and has its depth as
           position (Llama, Mistral, GPT-2, OPT, Gemma, …);
- "cache"  the trunk once, then its branches over copies of the trunk's keys and values, for models
           that count positions by themselves (BLOOM's ALiBi);
- "plain"  a padded row for each different input.
"""

import math
from array import array
from bisect import bisect_left, bisect_right, insort
from collections.abc import Iterable, Sequence

import numpy as np
import torch

from ethical_compression.score.tokens import Encoded, first_slots

ROW = 512  # tokens that a row of many requests stays within: attention grows with its square
PASS = 100  # tokens that cost as much as reading all weights once more, on two CPU cores


class Row:
    """Tries of token sequences, parents before children; one entry a node, or a scored token.

    token, parent, depth: the nodes; `parent` is -1 at a root. node, target, slot: what is scored,
    that is the node whose next token is predicted, the token wanted there, and the place of the
    answer in the flat list of all scored tokens.
    """

    __slots__ = ("depth", "node", "parent", "slot", "target", "token")

    def __init__(self):
        # Arrays, for their size: a list of 50,000 requests holds millions of tokens.
        for name in self.__slots__:
            setattr(self, name, array("i"))

    def __len__(self):
        return len(self.token)


def plan_rows(
    encoded: Sequence[Encoded],
    *,
    layout: str,
    width: int,
    limit: int = ROW,
    window: int | None = None,
    border: int | None = None,
) -> list[Row]:
    """Lay the requests out in rows, longest row first.

    layout: "tree", "cache" or "plain", as above; "plain" still merges identical inputs.
    width: the model's hidden size, which decides when a tree pays. A token saved saves about
    24·width² operations a layer. A pair of tokens that need not attend to each other costs 4·width
    in either direction, at some two thirds of the rate. So a request joins the row of its neighbour
    in sorted order while 2·width·(tokens shared) exceeds the pairs that it would add. Under a cache
    a row has one trunk: the first two requests fix it, if it makes up half of the second.
    limit: tokens that a row stays within, or within four times its longest sequence.
    window: tokens that no row of several sequences exceeds, where the model's attention reaches no
    farther back: some count them by place in the row.
    border: sequences longer than that share no row with others (`networks.rotation_border`).
    """
    window, border = window or math.inf, border or math.inf
    slots = first_slots(encoded)
    beyond = [len(one.ids) - 1 > border for one in encoded]
    order = sorted(range(len(encoded)), key=lambda i: (beyond[i], encoded[i].ids))
    rows: list[Row] = []
    path: list[int] = []  # nodes of the last sequence laid out
    last: Sequence[int] = ()  # its tokens
    trunk = None  # tokens that all sequences of a cached row share
    for i in order:
        # The last token is predicted, never fed.
        ids, feed = encoded[i].ids, encoded[i].ids[:-1]
        shared = 0
        if rows and beyond[i] != (len(last) > border):
            last = ()
        while shared < min(len(last), len(feed)) and last[shared] == feed[shared]:
            shared += 1
        new = len(feed) - shared
        room = min(window, max(limit, 4 * len(feed)))
        joins = bool(last) and _joins(layout, len(rows[-1]), room, shared, new, width, trunk)
        if joins and new and layout == "cache":
            trunk = shared = shared if trunk is None else trunk
        if not joins:
            rows.append(Row())
            path, shared, trunk = [], 0, None
        row = rows[-1]
        path = path[:shared]
        for position in range(shared, len(feed)):
            row.token.append(feed[position])
            row.parent.append(path[-1] if path else -1)
            row.depth.append(position)
            path.append(len(row) - 1)
        last = feed
        start = len(ids) - encoded[i].scored
        row.node.extend(path[start - 1 :])
        row.target.extend(ids[start:])
        row.slot.extend(range(slots[i], slots[i + 1]))
    return sorted(rows, key=len, reverse=True)


def _joins(
    layout: str, row: int, room: float, shared: int, new: int, width: int, trunk: int | None
) -> bool:
    """Whether `new` tokens go into a row of `row` tokens, with whose last sequence they have the
    `shared` ones before them in common; see `plan_rows`. room: tokens that the row may have."""
    if new == 0:
        return True
    if layout == "plain" or row + new > room:
        return False
    if layout == "tree":
        return 2 * width * shared > new * row
    return 2 * shared >= shared + new if trunk is None else shared >= trunk


def batches(rows: Sequence[Row], token_budget: int) -> list[list[Row]]:
    """Consecutive rows, longest first, whose padded size (rows × longest) stays within the budget.

    Of all such splits the one that feeds the fewest tokens, padding and `PASS` a batch counted
    (shortest path; a batch ends where it is full or where the next row is shorter).
    """
    lengths = [len(row) for row in rows]
    shorter = [i for i in range(1, len(rows)) if lengths[i] < lengths[i - 1]]
    cost = [0.0, *[math.inf] * len(rows)]
    begin = [0] * len(cost)
    for i, length in enumerate(lengths):
        if cost[i] == math.inf:
            continue
        full = min(len(rows), i + max(1, token_budget // length))
        for end in (*shorter[bisect_right(shorter, i) : bisect_left(shorter, full)], full):
            if (found := cost[i] + length * (end - i) + PASS) < cost[end]:
                cost[end], begin[end] = found, i
    split = []
    end = len(rows)
    while end:
        split.append(list(rows[begin[end] : end]))
        end = begin[end]
    return split[::-1]


def packed(rows: Sequence[Row], token_budget: int, width: int) -> list[Row]:
    """Rows of a "tree" layout, longest first: short ones put side by side in one, where no token
    sees another's, if less is computed so.

    They are filled up to the longest row's length, or three quarters or half of it, whichever costs
    least in tokens fed: padding, `PASS` a batch, and the pairs of tokens that attention looks at
    are counted. width: the model's hidden size, as in `plan_rows`.
    """
    longest = max(map(len, rows), default=0)
    tried = [list(rows)]
    tried += [_filled(rows, longest * part // 4) for part in (4, 3, 2) if len(rows) > 1]

    def cost(some: list[Row]) -> float:
        pairs = 1 / (4 * width)  # 4·width operations a pair, 24·width² a token; at 2/3 of the rate
        sizes = [(len(one), len(one[0])) for one in batches(some, token_budget)]
        return sum(n * length * (1 + length * pairs) + PASS for n, length in sizes)

    return min(tried, key=cost)


def _filled(rows: Sequence[Row], length: int) -> list[Row]:
    """Rows put side by side up to a length: each, longest first, where it leaves the least room."""
    open_: list[tuple[int, int]] = []  # (room, place among `together`), sorted
    together: list[list[Row]] = []
    for row in rows:
        best = bisect_left(open_, (len(row), -1))
        room, place = open_.pop(best) if best < len(open_) else (length, len(together))
        if place == len(together):
            together.append([])
        together[place].append(row)
        insort(open_, (room - len(row), place))
    return sorted((side_by_side(some) for some in together), key=len, reverse=True)


def side_by_side(rows: Sequence[Row]) -> Row:
    """One row of several tries."""
    if len(rows) == 1:
        return rows[0]
    one = Row()
    for row in rows:
        begin = len(one)
        one.token.extend(row.token)
        one.depth.extend(row.depth)
        one.parent.extend(node + begin if node >= 0 else -1 for node in row.parent)
        one.node.extend(node + begin for node in row.node)
        one.target.extend(row.target)
        one.slot.extend(row.slot)
    return one


def runs(row: Row) -> list[tuple[int, int]]:
    """Spans (start, end) of nodes that each continue the one before."""
    parent = np.asarray(row.parent)
    starts = np.flatnonzero(parent != np.arange(-1, len(row) - 1))
    return list(zip([0, *starts], [*starts, len(row)], strict=True))


def padded(values: Iterable[Sequence[int]], length: int, device, fill: int = 0) -> torch.Tensor:
    """Integer sequences as one (rows, length) tensor, filled up on the right."""
    values = list(values)
    out = np.full((len(values), length), fill, dtype=np.int64)
    for row, one in zip(out, values, strict=True):
        row[: len(one)] = one
    return torch.from_numpy(out).to(device)


def ancestor_mask(batch: Sequence[Row], dtype, device) -> torch.Tensor:
    """Additive mask (rows, 1, T, T): a token attends to itself and its ancestors only.

    Blocked places hold the type's lowest number: the form every attention implementation accepts.
    """
    length = max(map(len, batch))
    blocked = torch.finfo(dtype).min
    mask = torch.full((len(batch), length, length), blocked, dtype=dtype)
    triangle = torch.full((length, length), blocked, dtype=dtype).triu(1)
    for r, row in enumerate(batch):
        for start, end in runs(row):
            if row.parent[start] >= 0:
                mask[r, start:end, :start] = mask[r, row.parent[start], :start]
            mask[r, start:end, start:end] = triangle[: end - start, : end - start]
        # Padding attends to the first token, so that no row of the softmax is empty.
        mask[r, len(row) :, 0] = 0
    return mask[:, None].to(device)

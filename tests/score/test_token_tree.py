"""Rows hold every request, and batches of them cost no more than they must."""

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ethical_compression.score import token_tree
from ethical_compression.score.tokens import Encoded

# Sequences over few tokens, so that many begin alike.
sequences = st.lists(st.integers(3, 6), min_size=2, max_size=12).flatmap(
    lambda ids: st.integers(1, len(ids) - 1).map(lambda scored: Encoded(ids, scored))
)
quick = settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


@quick
@given(
    encoded=st.lists(sequences, min_size=1, max_size=12),
    layout=st.sampled_from(["tree", "cache", "plain"]),
    width=st.sampled_from([1, 4, 10**6]),
    limit=st.integers(1, 60),
)
def test_a_plan_holds_every_target_once_after_its_own_tokens(encoded, layout, width, limit):
    rows = token_tree.plan_rows(encoded, layout=layout, width=width, limit=limit)
    for row in rows:
        longest = max(row.depth) + 1
        assert len(row) <= max(limit, 4 * longest)
    holds_every_target_once(rows, encoded)


@quick
@given(
    encoded=st.lists(sequences, min_size=1, max_size=30),
    width=st.sampled_from([1, 4, 10**6]),
    token_budget=st.integers(1, 200),
    joined=st.booleans(),
)
def test_rows_side_by_side_hold_the_same_and_cost_no_more(encoded, width, token_budget, joined):
    rows = token_tree.plan_rows(encoded, layout="tree", width=width if joined else 0)
    longest = len(rows[0])

    def fed(some):
        split = token_tree.batches(some, token_budget)
        pairs = sum(len(one) * len(one[0]) ** 2 for one in split) / (4 * width)
        return sum(len(one) * len(one[0]) + token_tree.PASS for one in split) + pairs

    found = token_tree.packed(rows, token_budget, width)
    holds_every_target_once(found, encoded)
    assert [len(row) for row in found] == sorted(map(len, found), reverse=True)
    assert len(found[0]) <= longest and sum(map(len, found)) == sum(map(len, rows))
    assert fed(found) <= fed(rows)


def test_rows_of_a_third_and_two_thirds_leave_no_padding():
    texts = [Encoded([i + 3] * (21 if i % 2 else 11), 1) for i in range(20)]
    rows = token_tree.plan_rows(texts, layout="tree", width=64)
    rows += token_tree.plan_rows([Encoded([1] * 31, 1)], layout="tree", width=64)
    rows.sort(key=len, reverse=True)
    found = token_tree.packed(rows, token_budget=120, width=64)
    assert [len(row) for row in found] == [30] * 11


def holds_every_target_once(rows, encoded):
    owners = [(i, p) for i, one in enumerate(encoded) for p in range(one.scored)]
    assert sorted(slot for row in rows for slot in row.slot) == list(range(len(owners)))
    for row in rows:
        assert all(parent < node for node, parent in enumerate(row.parent))
        for node, target, slot in zip(row.node, row.target, row.slot, strict=True):
            path = []
            while node >= 0:
                assert row.depth[node] == 1 + (
                    row.depth[row.parent[node]] if row.parent[node] >= 0 else -1
                )
                path, node = [row.token[node], *path], row.parent[node]
            request, position = owners[slot]
            one = encoded[request]
            end = len(one.ids) - one.scored + position
            assert (path, target) == (list(one.ids[:end]), one.ids[end])


@quick
@given(
    lengths=st.lists(st.integers(1, 60), max_size=8),
    token_budget=st.integers(1, 200),
    once=st.integers(0, 50),
)
def test_batches_keep_to_the_budget_and_feed_as_little_as_any_split(lengths, token_budget, once):
    def cost(split):
        return sum(len(batch[0]) * len(batch) + once for batch in split)

    def splits(rows):
        for first in range(1, len(rows) + 1):
            if first == 1 or first * len(rows[0]) <= token_budget:
                yield from ([rows[:first], *rest] for rest in splits(rows[first:]))
        if not rows:
            yield []

    rows = [[0] * length for length in sorted(lengths, reverse=True)]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(token_tree, "PASS", once)
        batches = token_tree.batches(rows, token_budget)
    assert [row for batch in batches for row in batch] == rows
    assert all(len(batch) == 1 or len(batch) * len(batch[0]) <= token_budget for batch in batches)
    assert cost(batches) == min(map(cost, splits(rows)))

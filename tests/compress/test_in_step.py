"""Runs in step wait for each other."""

import threading

import pytest

from ethical_compression.compress.in_step import in_step
from ethical_compression.errors import InputError


def test_runs_in_step_wait_for_each_other_and_end_with_the_first_error():
    threads, seen = threading.active_count(), []

    def run(index, halt):
        for station in "abc" if index else "ac":
            seen.append((index, station))
            halt(station, index * 10)

    stations = []
    for station, said in in_step(run, 3, "abcd"):
        stations.append((station, said))
        # All have come as far, and none farther.
        expected = {"a": "a", "b": "abc", "c": "abc"}[station]
        assert {one for _, one in seen} == set(expected)
    assert stations == [
        ("a", {0: 0, 1: 10, 2: 20}),
        ("b", {1: 10, 2: 20}),
        ("c", {0: 0, 1: 10, 2: 20}),
    ]

    def broken(index, halt):
        halt("a", index)
        if index == 1:
            raise RuntimeError("a size")
        halt("b", index)

    with pytest.raises(RuntimeError, match="a size"):
        list(in_step(broken, 3, "ab"))
    with pytest.raises(InputError, match="not this one"):
        for _ in in_step(run, 3, "abc"):
            raise InputError("not this one")
    walk = in_step(run, 3, "abc")
    next(walk)
    walk.close()
    assert threading.active_count() == threads

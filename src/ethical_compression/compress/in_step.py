"""Several runs of one computation, halted at the same places: what is done there, all see."""

import threading
from collections.abc import Callable, Hashable, Iterator, Sequence
from contextlib import suppress
from typing import Any


class Reached(Exception):
    """Raised inside a model by a hook that has seen what it was there to see."""


def in_step(
    run: Callable[[int, Callable[[Hashable, Any], None]], None],
    count: int,
    order: Sequence[Hashable],
) -> Iterator[tuple[Hashable, dict[int, Any]]]:
    """Yield (station, what each run said there) once all of `count` runs have come as far.

    run(index, halt) computes, in a thread of its own, and calls halt(station, said) at every
    station it comes to: it goes on from there when the consumer asks for the next station, and ends
    (`Reached`) when none is left. One run computes at a time. order: the stations, earlier ones
    first, should runs differ in theirs; a station that no run comes to is not yielded.
    What a station's consumer changes is thus seen by all runs from there on, in one pass.
    """
    go = [threading.Semaphore(0) for _ in range(count)]
    halted, here = threading.Semaphore(0), threading.local()
    waiting: dict[int, tuple[Hashable, Any]] = {}
    left, failed = dict.fromkeys(order), []

    def halt(station, said):
        # A station left behind lets pass; so do calls that are not ours.
        if station in left and (index := getattr(here, "index", None)) is not None:
            waiting[index] = station, said
            del said
            halted.release()
            go[index].acquire()
            if failed or not left:
                raise Reached

    def walk(index):
        here.index = index
        try:
            with suppress(Reached):
                run(index, halt)
        except BaseException as error:
            failed.append(error)
        halted.release()

    threads = [threading.Thread(target=walk, args=(i,), daemon=True) for i in range(count)]
    try:
        for thread in threads:
            thread.start()
            halted.acquire()
            if failed:
                break
        while waiting and not failed:
            first = next(one for one in left if one in {at for at, _ in waiting.values()})
            its = sorted(i for i, (at, _) in waiting.items() if at == first)
            yield first, {i: waiting[i][1] for i in its}
            del left[first]
            for index in its:
                del waiting[index]
                go[index].release()
                halted.acquire()
                if failed:
                    break
    except BaseException as error:
        failed.append(error)
        raise
    finally:
        if not failed:
            failed.append(Reached())
        for one in go:
            one.release()
        for thread in threads:
            if thread.ident:
                thread.join()
    if not isinstance(failed[0], Reached):
        raise failed[0]

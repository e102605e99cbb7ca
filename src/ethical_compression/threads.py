"""How many threads compute together, and how they wait for each other."""

import os
from collections.abc import Iterator
from contextlib import contextmanager

# About twenty microseconds. Asleep, a thread is woken in a hundred, which is more than most steps
# of a small model take; two programs that share two cores lose a tenth by it.
TURNS = "3000"


def wait_briefly() -> None:
    """Have threads (GNU's OpenMP) look for work a moment and then sleep, unless the user chose
    `OMP_WAIT_POLICY` or `GOMP_SPINCOUNT`. To be called before torch is imported.

    Threads that spin as long as they do by themselves take the processor from whoever else
    computes: two programs on two cores cost each other ten times."""
    if os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE").upper() == "PASSIVE":
        os.environ.setdefault("GOMP_SPINCOUNT", TURNS)


@contextmanager
def one_thread(device) -> Iterator[None]:
    """Compute by one thread within, where `device` is a CPU: steps that cost more to share."""
    if device.type != "cpu":
        yield
        return
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)

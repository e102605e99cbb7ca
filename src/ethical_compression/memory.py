"""Memory of this process."""

import ctypes


def keep_freed_memory() -> None:
    """Have the C library (glibc) reuse the memory of tensors that are gone in place of giving it
    back, and all threads share it: work that makes tensors of the same sizes again and again
    otherwise spends up to half its time on new pages. Elsewhere this does nothing."""
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError):  # another system, which has its own ways
        return
    mallopt(-8, 1)  # M_ARENA_MAX: one store for all threads
    mallopt(-4, 0)  # M_MMAP_MAX: no mapping of its own for a large tensor
    mallopt(-1, 2**31 - 1)  # M_TRIM_THRESHOLD: what is free at the top stays

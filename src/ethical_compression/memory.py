"""Memory of this process and of its devices, and its end."""

import ctypes
from pathlib import Path

# What allocators say: torch's on a CPU, CUDA's, and cuBLAS's.
SAID = ("allocate memory", "out of memory", "alloc_failed")


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


def is_of_memory(error: Exception) -> bool:
    """Whether an error says that there is no memory left: on a CPU a plain RuntimeError, whose
    subclasses mostly say something else."""
    # torch's own error of a GPU may come without words; by name, since this file needs no torch.
    if isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError":
        return True
    said = str(error).lower()
    return isinstance(error, RuntimeError) and any(words in said for words in SAID)


def release_freed_memory() -> None:
    """Give the system the whole pages of what is free between tensors that are not (glibc), as it
    gathers where tensors of many sizes come and go. Elsewhere this does nothing."""
    try:
        ctypes.CDLL(None).malloc_trim(0)
    except (OSError, AttributeError):
        return


def free_memory(device) -> float:
    """Free bytes on a device, as torch names it; infinite where the system does not tell."""
    if device.type == "cuda":
        import torch

        return torch.cuda.mem_get_info(device)[0]
    try:
        lines = Path("/proc/meminfo").read_text().splitlines()
    except OSError:
        return float("inf")
    return next(
        (int(s.split()[1]) * 1024 for s in lines if s.startswith("MemAvailable")), float("inf")
    )

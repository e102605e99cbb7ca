"""What memory there is, and when an error says that there is none."""

import torch

from ethical_compression import memory


def test_free_memory_is_that_of_this_machine():
    assert 2**26 < memory.free_memory(torch.device("cpu")) < 2**50


def test_an_error_of_a_gpu_is_of_memory_though_it_says_nothing():
    assert memory.is_of_memory(torch.OutOfMemoryError())
    assert not memory.is_of_memory(RuntimeError())

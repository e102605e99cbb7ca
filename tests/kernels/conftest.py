"""Tests that take `impl` run over every implementation: torch, and Triton where it is installed.

Triton compiles for a GPU; where there is none, its interpreter runs the kernels.
"""

import importlib.util
import os

import pytest
import torch

if not torch.cuda.is_available():
    os.environ["TRITON_INTERPRET"] = "1"  # before Triton compiles anything

MISSING = importlib.util.find_spec("triton") is None


@pytest.fixture(
    params=[
        "torch",
        pytest.param("triton", marks=pytest.mark.skipif(MISSING, reason="Triton is not installed")),
    ]
)
def impl(request):
    return request.param

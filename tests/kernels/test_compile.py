"""The kernels compile for real GPUs, down to machine code, where no GPU is: what the interpreter
of the other tests cannot say. In a process of its own, as the interpreter is chosen at import."""

import json
import os
import subprocess
import sys

import pytest

pytest.importorskip("triton")

PROGRAM = """
import inspect, json, sys
from types import SimpleNamespace
import torch, triton
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource
from ethical_compression.kernels import blocks_triton, column_solve_triton

def compiled(job):
    # Shared memory and machine code, in bytes.
    kernel = getattr(globals()[job["module"]], job["kernel"])
    properties = SimpleNamespace(shared_memory_per_block_optin=job["shared"])
    torch.cuda.get_device_properties = lambda device: properties
    half = torch.float16 if job["type"] == "fp16" else torch.float32
    constants = job["constants"]
    options = {}
    if job["module"] == "blocks_triton":
        tensor = SimpleNamespace(is_cuda=True, dtype=half, device=None)
        constants |= blocks_triton.tiles(tensor, pair=job["kernel"] == "divergence_kernel")
        options = {name: constants.pop(name) for name in ("num_warps", "num_stages")}
    names = inspect.signature(kernel.fn).parameters
    inputs = ("hidden", "weight", "bias", "gradient")
    whole = ("positions", "vocabulary", "width", "stride", "columns", "rows")
    def kind(name):
        if name in constants:
            return "constexpr"
        if name in job["types"]:
            return job["types"][name]
        if name in ("cap", "cap_p", "cap_q"):
            return "fp32"
        if name.split("_")[0] in inputs:
            return "*" + job["type"]
        return "i32" if name.split("_")[0] in whole else "*fp32"
    signature = {name: kind(name) for name in names}
    for name in names:
        assert (names[name].annotation is not inspect.Parameter.empty) == (name in constants), name
    made = triton.compile(
        ASTSource(kernel, signature, constants), target=GPUTarget("cuda", job["chip"], 32),
        options=options,
    )
    return made.metadata.shared, len(made.asm["cubin"])

print(json.dumps([compiled(job) for job in json.loads(sys.argv[1])]))
"""

HEAD = {"HAS_BIAS": False, "HAS_CAP": True, "EVEN": True}
PAIR = {f"{name}_{side}": value for name, value in HEAD.items() for side in "PQ"}
SOLVE = {"rows": "i32", "columns": "i32", "top": "fp32"} | {
    f"stride_{name}": "i32" for name in ("weight", "upper", "scale", "zero")
}
BLOCKS, SOLVER = "blocks_triton", "column_solve_triton"
CASES = [
    (BLOCKS, "partials_kernel", HEAD, {"targets": "*i64", "best": "*i32"}),
    (BLOCKS, "gradient_kernel", HEAD, {"targets": "*i64"}),
    (BLOCKS, "divergence_kernel", PAIR, {}),
    (
        SOLVER,
        "column_solve_kernel",
        {"COLUMNS": 128, "ROWS": 32},
        {"weight": "*fp32", "group": "*i32"} | SOLVE,
    ),
]
# Compute capability, and the shared memory that a block may ask for (CUDA programming guide).
CHIPS = {"T4": (75, 65536), "A100": (80, 166912), "H100": (90, 232448)}


@pytest.mark.parametrize("chip", CHIPS)
def test_kernels_compile_within_the_memory_of_the_chip(chip):
    capability, shared = CHIPS[chip]
    jobs = [
        {"module": module, "kernel": kernel, "constants": constants, "types": types}
        | {"type": one, "chip": capability, "shared": shared}
        for module, kernel, constants, types in CASES
        # Before Ampere the head runs in torch; the solve is in float32 always.
        if capability >= 80 or module != BLOCKS
        for one in (("fp32",) if module == SOLVER else ("fp16", "fp32"))
    ]
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, json.dumps(jobs)],
        env=os.environ | {"TRITON_INTERPRET": "0"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    made = json.loads(done.stdout.splitlines()[-1])
    assert len(made) == len(jobs) > 0
    for job, (memory, code) in zip(jobs, made, strict=True):
        assert code > 0
        assert memory <= shared, job

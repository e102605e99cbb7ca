"""Measurements in processes of their own; standard library and torch only, for peers' sake."""

import ctypes
import gc
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path


def run(script: Path, job: dict, python: str = sys.executable) -> dict:
    """Run `script` under an interpreter: it reads `job` and writes its answer, both JSON files."""
    with tempfile.TemporaryDirectory() as folder:
        question, answer = Path(folder, "job.json"), Path(folder, "answer.json")
        question.write_text(json.dumps(job))
        root = str(Path(__file__).parents[1])
        paths = [root, str(Path(root, "src")), os.environ.get("PYTHONPATH", "")]
        done = subprocess.run(
            [python, str(script), str(question), str(answer)],
            env=os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, paths))},
            capture_output=True,
            text=True,
        )
        if done.returncode:
            raise RuntimeError(f"{script.name} failed:\n{done.stderr[-3000:]}")
        return json.loads(answer.read_text())


def serve(work):
    """The other end of `run`: `work(job)` gives the answer."""
    job = json.loads(Path(sys.argv[1]).read_text())
    Path(sys.argv[2]).write_text(json.dumps(work(job)))


def kilobytes(field: str) -> int:
    """A line of Linux's account of this process: VmRSS (now) or VmHWM (at the highest)."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(field))


def measured(work, device: str = "cpu") -> tuple[object, float, int]:
    """What work() gives, its seconds, and the bytes it needed at its peak (CPU: Linux, glibc)."""
    import torch

    cuda = device.startswith("cuda")
    if cuda:
        torch.cuda.synchronize()
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
    else:
        gc.collect()
        ctypes.CDLL(None).malloc_trim(0)  # what earlier calls left lying about is no one's need
        Path("/proc/self/clear_refs").write_text("5")  # forget the highest so far
        before = 1024 * kilobytes("VmRSS")
    start = time.perf_counter()
    value = work()
    if cuda:
        torch.cuda.synchronize()
    seconds = time.perf_counter() - start
    peak = torch.cuda.max_memory_allocated() if cuda else 1024 * kilobytes("VmHWM")
    return value, seconds, peak - before

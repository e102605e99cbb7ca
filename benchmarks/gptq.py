"""A whole model by GPTQ, here and by GPTQModel; and, on a GPU, the column-solve kernel alone."""

import os
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path
from types import GeneratorType
from unittest import mock

import numpy as np
import torch
from scipy import stats

from benchmarks.process import measured, run, serve
from ethical_compression import models
from ethical_compression.compress import gptq, in_order, peers
from ethical_compression.compress.blocks import linear_layers, stream_blocks, weight_of
from ethical_compression.compress.calibration import calibration_windows
from ethical_compression.compress.hessian import add_to_hessian, hessians, inverse_factor
from ethical_compression.datasets import text
from ethical_compression.kernels import column_solve
from ethical_compression.score import loglikelihood
from ethical_compression.score.machine import matmul_rate

HERE = Path(__file__).parent
PEER = HERE / "peer_gptqmodel.py"
SETTINGS = {"group_size": 64, "symmetric": True, "damping": 0.01}
# Theirs: whole groups of columns in the order of their activations, GPTQModel's default. Ours: the
# columns themselves in that order, and grids that may clip.
CHOICES = {
    "theirs": {"activation_order": "groups"},
    "ours": {"activation_order": True, "clipping": True},
}
SAMPLES, LENGTH, TEST_WINDOWS = 32, 512, 24
LAYERS = [(4096, 4096), (14336, 4096)]  # out, in
# Where the time goes: none of these calls another. What is left is mostly the products by which
# errors pass on from one block of columns to the next, and copies.
PARTS = {
    "forward": (in_order, "in_step"),
    "hessians": (in_order, "_hessian_of"),
    "factors": (gptq, "inverse_factor"),
    "grids": (gptq, "fit_grid"),
    "columns": (column_solve, "column_solve"),
    "release": (in_order, "release_freed_memory"),
}


def operations(model, tokens: torch.Tensor) -> int:
    """What GPTQ cannot save: each block's weights over the tokens, half of every Hessian, which is
    symmetric, its inverse factor, and the updates."""
    count = 0
    few = [tokens[:1, :4].to(model.device)]
    for _, block, calls in stream_blocks(model, few):
        layers, found = linear_layers(block), hessians(block, calls)
        for layer in layers.values():
            out, width = weight_of(layer).shape
            count += 2 * tokens.numel() * out * width + out * width**2
        for hessian in {id(h): h for h in found.values()}.values():
            width = len(hessian.matrix)
            count += tokens.numel() * width**2 + 2 * width**3 // 3
    return count


def parts(work):
    """(what work() gives, the seconds that it spent in each of `PARTS`)."""
    spent = dict.fromkeys(PARTS, 0.0)

    def timed(part, function):
        def call(*arguments, **options):
            start = time.perf_counter()
            value = function(*arguments, **options)
            spent[part] += time.perf_counter() - start
            step = timed(part, lambda: next(value, None))
            return iter(step, None) if isinstance(value, GeneratorType) else value

        return call

    with ExitStack() as patches:
        for part, (module, name) in PARTS.items():
            one = timed(part, getattr(module, name))
            patches.enter_context(mock.patch.object(module, name, one))
        return work(), spent


def work(job):
    """Our run: quantize, or measure the perplexity of what the peer left."""
    loaded = models.load(job["folder"], device=job["device"])
    model, tokenizer = loaded.model, loaded.tokenizer
    answer = {}
    if job["bits"]:
        tokens = torch.tensor(job["tokens"], device=job["device"])
        floor = operations(model, tokens) / matmul_rate(job["device"], "float32", seconds=1.0)
        before = time.process_time()
        how = SETTINGS | CHOICES[job["choice"]]
        (_, within), seconds, memory = measured(
            lambda: parts(
                lambda: gptq.quantize_model(model, tokens.split(2), bits=job["bits"], **how)
            ),
            job["device"],
        )
        spent = time.process_time() - before
        within["rest"] = seconds - sum(within.values())
        answer = {"seconds": seconds, "memory": memory, "floor": floor, "processor": spent}
        answer["within"] = within
    windows = loglikelihood.score_text(
        model, tokenizer, job["test"], window=LENGTH, max_windows=TEST_WINDOWS
    )
    return answer | {"perplexity": loglikelihood.perplexity(windows)}


def speed(options) -> list[dict]:
    """Rows of `python -m benchmarks gptq`."""
    if options.device.startswith("cuda"):
        return [kernel(*shape) for shape in LAYERS]
    python = str(peers.interpreter("gptqmodel"))
    mirrored = "ETHICAL_COMPRESSION_DATA" in os.environ
    name, source = ("wikitext2", "mirror") if mirrored else ("xsum", "embedded")
    loaded = models.load(options.model)
    documents = text.load(name, "calibration", source=source)
    rows = []
    with tempfile.TemporaryDirectory() as place:
        folder = str(Path(place, "model"))
        loaded.model.save_pretrained(folder)
        loaded.tokenizer.save_pretrained(folder)
        job = {
            "folder": folder,
            "device": options.device,
            "test": text.load(name, "held_out", source=source),
        }
        full = run(Path(__file__), job | {"bits": None})["perplexity"]
        for bits in options.bits:
            runs: dict[str, list] = {"theirs": [], "ours": [], "peer": []}
            # Each turn calibrates on windows of its own: their draw decides more than we do.
            for turn in range(options.repeats):
                windows = calibration_windows(
                    loaded.tokenizer, documents, samples=SAMPLES, length=LENGTH, seed=turn
                )
                job |= {"bits": bits, "tokens": torch.cat(windows).tolist()}
                left = str(Path(place, f"peer-{bits}-{turn}"))
                for choice in CHOICES:
                    runs[choice].append(run(Path(__file__), job | {"choice": choice}))
                peer = run(PEER, job | {"left": left}, python)
                again = job | {"folder": left, "bits": None}
                runs["peer"].append(peer | run(Path(__file__), again))
                print(bits, turn, {whose: its[-1]["perplexity"] for whose, its in runs.items()})
            best, other = (
                min(runs[whose], key=lambda one: one["seconds"]) for whose in ("theirs", "peer")
            )
            perplexity = {whose: [one["perplexity"] for one in its] for whose, its in runs.items()}
            rows.append(
                {
                    "task": f"GPTQ {bits} bits, {SAMPLES} × {LENGTH} tokens of {name}",
                    "peer": "gptqmodel",
                    "ratio": other["seconds"] / best["seconds"],
                    "processor_ratio": other["processor"] / best["processor"],
                    "floor_ratio": best["seconds"] / best["floor"],
                    "peak_memory_ratio": other["memory"] / max(best["memory"], 1),
                    "seconds": best["seconds"],
                    "peer_seconds": other["seconds"],
                    "peak_memory": best["memory"],
                    "peer_peak_memory": other["memory"],
                    "seconds_within": best["within"],
                    "perplexity_full": full,
                    **{f"perplexity_{whose}": its for whose, its in perplexity.items()},
                    **{
                        f"above_peer_{c}": above(perplexity[c], perplexity["peer"]) for c in CHOICES
                    },
                }
            )
            print(rows[-1], flush=True)
    return rows


def above(ours: list[float], peer: list[float]) -> list[float]:
    """By what share perplexity is above the peer's: mean over draws, and its 95% interval (paired
    t on logarithms); the mean alone for one draw."""
    gaps = np.log(np.divide(ours, peer))
    if len(gaps) == 1:
        return np.expm1(gaps).tolist()
    half = stats.sem(gaps) * stats.t.ppf(0.975, len(gaps) - 1)
    return np.expm1(gaps.mean() + np.multiply([0, -1, 1], half)).tolist()


def kernel(out: int, width: int) -> dict:
    """The solve of one layer on a GPU: by our kernel, column by column, and its products alone."""
    torch.manual_seed(0)
    weight = torch.randn(out, width, device="cuda")
    hessian = add_to_hessian(None, torch.randn(2 * width, width, device="cuda")).matrix
    upper = inverse_factor(hessian, 0.01)
    columns = weight.T.contiguous()
    grid = torch.ones_like(columns[:1]), torch.full_like(columns[:1], 8.0)
    group = torch.zeros(width, dtype=torch.int32, device="cuda")

    def loop(impl, step=128, solve=True):
        w = columns.clone()
        for low in range(0, width, step):
            block = slice(low, low + step)
            errors = w[block]
            if solve:
                _, errors = column_solve.column_solve(
                    w[block], upper[block, block], *grid, group[block], 4, impl
                )
            w[low + step :].addmm_(upper[block, low + step :].T, errors, alpha=-1)

    def best(*arguments, **options):
        loop(*arguments, **options)  # compiles
        return min(measured(lambda: loop(*arguments, **options), "cuda")[1] for _ in range(5))

    ours, plain, products = best("triton"), best("torch"), best("triton", solve=False)
    return {
        "task": f"column solve, {out} × {width}",
        "peer": "column by column, torch",
        "ratio": plain / ours,
        "floor_ratio": ours / products,
        "seconds": ours,
        "peer_seconds": plain,
    }


if __name__ == "__main__":
    serve(work)

"""How cost grows: time and memory of scoring and of GPTQ, beside the size of what is asked."""

from pathlib import Path

import torch

from benchmarks.process import measured, run, serve
from ethical_compression import models
from ethical_compression.compress import gptq
from ethical_compression.compress.blocks import stream_blocks
from ethical_compression.compress.calibration import calibration_windows
from ethical_compression.compress.hessian import hessians
from ethical_compression.datasets import multiple_choice, text
from ethical_compression.score import loglikelihood

GRID = {"bits": 4, "group_size": 64}
BLOCK, LAYER = 12, "mlp.down_proj"  # some of whose inputs are taken
QUESTIONS, ANSWER = 8, 8  # where something else grows; tokens
SIZES = {
    "Scoring: questions of PIQA": [10, 20, 40, 80],
    "Scoring: tokens of a question": [64, 128, 256, 512, 1024],
    "Scoring: answers of a question": [1, 2, 4, 8, 16],
    "GPTQ: blocks of the model": [2, 4, 8, 16],
    "GPTQ: calibration tokens": [1024, 2048, 4096, 8192],
    "GPTQ: inputs of a layer": [192, 384, 768, 1536],
}


def scoring(curve: str, loaded: models.Loaded, size: int):
    """What is done for one point of a curve of scoring."""
    if "PIQA" in curve:
        items = multiple_choice.load("piqa", limit=size)
        return lambda: loglikelihood.score_items(loaded.model, loaded.tokenizer, items)
    documents = "\n\n".join(text.load("xsum", "calibration", source="embedded"))
    ids = loaded.tokenizer(documents, add_special_tokens=False)["input_ids"]
    length, answers = (size, 4) if "tokens" in curve else (64, size)

    def words(begin, count):
        return loaded.tokenizer.decode(ids[begin : begin + count]).strip()

    # Every question has a text of its own, and answers from elsewhere in the same text.
    requests = [
        (words(2048 * question, length), " " + words(2048 * question + 1100 + 50 * one, ANSWER))
        for question in range(QUESTIONS)
        for one in range(answers)
    ]
    return lambda: loglikelihood.loglikelihoods(loaded.model, loaded.tokenizer, requests)


def quantizing(curve: str, loaded: models.Loaded, size: int):
    """What is done for one point of a curve of GPTQ."""
    tokens = size if "tokens" in curve else 2048
    documents = text.load("xsum", "calibration", source="embedded")
    how = {"samples": tokens // 256, "length": 256}
    windows = calibration_windows(loaded.tokenizer, documents, **how)
    blocks = loaded.model.model.layers
    if "layer" in curve:
        found = next(
            hessians(block, calls)
            for at, block, calls in stream_blocks(loaded.model, windows)
            if at == BLOCK
        )
        matrix = found[LAYER].matrix[:size, :size].clone()
        weight = blocks[BLOCK].get_submodule(LAYER).weight.data[:, :size].clone()
        return lambda: gptq.solve(weight, matrix, **GRID)
    # The first of the model's own blocks: what comes after them is not there.
    loaded.model.model.layers = blocks[: size if "blocks" in curve else 4]
    return lambda: gptq.quantize_model(loaded.model, windows, **GRID)


def work(job):
    """A curve: of each size seconds, and bytes at the peak above what was there before."""
    torch.set_num_threads(job["threads"])
    loaded, found, asks = None, [], job["curve"].startswith("Scoring")
    for size in SIZES[job["curve"]]:
        if loaded is None or not asks:  # what quantizes a model changes it
            loaded = models.load(job["model"])
        task = (scoring if asks else quantizing)(job["curve"], loaded, size)
        if asks:
            task()  # in which layout the model can be asked is tried once
        _, seconds, memory = measured(task)
        found.append({"size": size, "seconds": seconds, "megabytes": memory / 2**20})
    return found


def speed(options) -> list[dict]:
    """Rows of `python -m benchmarks growth`: `curve`, `size`, `seconds`, `megabytes`."""
    rows = []
    for curve in SIZES:
        job = {"model": options.model, "threads": torch.get_num_threads(), "curve": curve}
        turns = [run(Path(__file__), job) for _ in range(options.repeats)]
        for its in zip(*turns, strict=True):
            best = {name: min(one[name] for one in its) for name in ("seconds", "megabytes")}
            rows.append({"curve": curve, "size": its[0]["size"]} | best)
            print(rows[-1], flush=True)
    return rows


if __name__ == "__main__":
    serve(work)

"""A run of DPO, all weights, here and by TRL's `DPOTrainer`: seconds a step, memory, agreement."""

import os
import random
import tempfile
from dataclasses import asdict
from pathlib import Path

import numpy as np

from benchmarks.process import measured, run, serve
from ethical_compression import models
from ethical_compression.datasets import moral_stories
from ethical_compression.score import networks, token_tree
from ethical_compression.score.machine import matmul_rate
from ethical_compression.train import dpo

HERE = Path(__file__).parent
PEER = HERE / "peer_trl.py"
STEPS, BATCH = 3, 8
SETTINGS = dpo.Settings(learning_rate=1e-5, epochs=1, batch=BATCH)
# TRL as it comes, and with both of its settings that save time where memory allows them.
PEERS = {
    "TRL DPOTrainer": {},
    "TRL DPOTrainer, precomputed reference, no checkpointing": {
        "precompute_ref_log_probs": True,
        "gradient_checkpointing": False,
    },
}


def operations(model, encoded, layout) -> int:
    """What no trainer can save: a reference pass over each different prefix, and a step's three
    products a weight (forward, and the gradients of input and weight); for the head, at scored
    places only; two operations a weight."""
    width = model.config.get_text_config().hidden_size
    rows = [
        row
        for i in range(0, len(encoded), 2)
        for row in token_tree.plan_rows(encoded[i : i + 2], layout=layout, width=width)
    ]
    head = model.get_output_embeddings().weight
    tables = {id(model.get_input_embeddings().weight), id(head)}
    blocks = sum(p.numel() for p in model.parameters() if p.dim() == 2 and id(p) not in tables)
    places = sum(len(set(row.node)) for row in rows)
    return 4 * 2 * (sum(map(len, rows)) * blocks + places * head.numel())


def work(job):
    """Our run: the reference, and every step."""
    loaded = models.load(job["folder"], device=job["device"])
    model, tokenizer = loaded.model, loaded.tokenizer
    pairs = [dpo.Pair(*pair) for pair in job["pairs"]]
    settings = dpo.Settings(**job["settings"])
    encoded = dpo.encode_pairs(tokenizer, pairs)
    layout = dpo.choose_layout(model, encoded)
    networks.output_head(model)
    rate = matmul_rate(job["device"], "float32", seconds=1.0)
    log, seconds, memory = measured(
        lambda: dpo.train(model, tokenizer, pairs, settings), job["device"]
    )
    tokens = sum(len(a.ids) + b.scored for a, b in zip(encoded[::2], encoded[1::2], strict=True))
    return {
        "seconds": seconds,
        "memory": memory,
        "loss": log["loss"].tolist(),
        "margin": log["margin"].tolist(),
        "floor": operations(model, encoded, layout) / rate,
        "tokens": tokens,
    }


def speed(options) -> list[dict]:
    """Rows of `python -m benchmarks dpo`."""
    mirror = "ETHICAL_COMPRESSION_DATA" in os.environ
    corpus = "moral_stories" if mirror else "own"
    stories = moral_stories.load("en", corpus=corpus, source="mirror" if mirror else "embedded")
    pairs = dpo.pairs(random.Random(0).sample(stories, STEPS * BATCH), "moral")
    rows = []
    loaded = models.load(options.model)
    with tempfile.TemporaryDirectory() as folder:
        loaded.model.save_pretrained(folder)
        loaded.tokenizer.save_pretrained(folder)
        # Both take the pairs in the order that our run draws.
        epoch = [i for step in dpo.order(len(pairs), SETTINGS) for i in step]
        job = {"folder": folder, "device": options.device, "settings": asdict(SETTINGS)}
        ours = [run(Path(__file__), job | {"pairs": pairs}) for _ in range(options.repeats)]
        best = min(ours, key=lambda one: one["seconds"])
        for name, arguments in PEERS.items():
            theirs = job | {"pairs": [pairs[i] for i in epoch], "arguments": arguments}
            other = min(
                (run(PEER, theirs, options.peer_python) for _ in range(options.repeats)),
                key=lambda one: one["seconds"],
            )
            gap = np.abs(np.subtract(best["margin"], other["margin"])).max()
            rows.append(
                {
                    "task": f"DPO, all weights, {STEPS} steps of {BATCH} pairs of {corpus}, "
                    f"{best['tokens'] / STEPS:.0f} tokens a step",
                    "peer": name,
                    "ratio": other["seconds"] / best["seconds"],
                    "agreement": float(gap),
                    "floor_ratio": best["seconds"] / best["floor"],
                    "peak_memory_ratio": other["memory"] / max(best["memory"], 1),
                    "seconds": best["seconds"] / STEPS,
                    "peer_seconds": other["seconds"] / STEPS,
                    "megabytes": best["memory"] / 2**20,
                    "loss": best["loss"],
                    "peer_loss": other["loss"],
                }
            )
            print(rows[-1], flush=True)
    return rows


if __name__ == "__main__":
    serve(work)

"""A small model raised here and by transformers' Trainer as it comes: tokens a second of text.

The Trainer's default loop: texts cut at the longest window, padded to the longest of a batch by
`DataCollatorForLanguageModeling`, float32, an attention mask in every step. Ours: the same texts
packed into windows of the same length, in float32 and in bfloat16. Both see as many places a step,
and take as many steps; what counts is the tokens of text in them, not padding.

Where a step's time went (torch.profiler, one thread, 6.6 million parameters, 4,096 tokens, bfloat16
by autocast, on cores that others used), and what was done:

    gradient of the softmax    19%   made with the loss, some rows at a time (`train.token_loss`);
                                     head and loss alone, there and back: 868 ms, now 190 ms
    matrix products            18%   left as they are
    attention, there and back  19%   bfloat16 without sdpa: 24 ms where it took 42 ms (256 tokens)
    products of numbers        11%   fewer: Llama's normalisation has a gradient of its own (it took
                                     23 ms of 13 each)
    copies from type to type    9%   weights and what flows are bfloat16, AdamW moves float32 ones
    random numbers of dropout   6%   a byte a number: 3.4 ms where it took 7.7 ms
    AdamW, fused               <1%

In processor time a step of the same shape became 1.2 to 1.3 times as fast while other programs kept
both cores busy, which is no measure of quiet ones. torch.compile was given up: with one thread and
busy cores it had not compiled a layer within five minutes, and readers need no compiler.
"""

import tempfile
from dataclasses import asdict, replace
from itertools import islice
from pathlib import Path

import numpy as np

from benchmarks.process import measured, run, serve
from ethical_compression.datasets import childrens_books
from ethical_compression.score.machine import matmul_rate
from ethical_compression.train import baby, bpe, windows

HERE = Path(__file__).parent
PEER = HERE / "peer_trainer.py"
STEPS = 4
TRAINING = baby.Training(
    "small", steps=STEPS, tokens=2048, lengths=(128,), dropout=0.0, warmup=0.0, seed=0
)
PEER_LABEL = "transformers Trainer, default loop"


def operations(shape: str, vocabulary: int, tokens: int) -> int:
    """What no loop can save: three products a weight and token, two operations each; of the head
    and the blocks, without attention."""
    config = baby.SHAPES[shape]["config"]
    width, wide = config["hidden_size"], config["intermediate_size"]
    block = 4 * width * width + 3 * width * wide
    return 6 * tokens * (config["num_hidden_layers"] * block + vocabulary * width)


def work(job):
    """Our run: every step, timed without the first."""
    import transformers

    tokenizer = transformers.AutoTokenizer.from_pretrained(job["folder"])
    training = baby.Training(**(job["training"] | {"lengths": tuple(job["training"]["lengths"])}))
    texts = [np.array(one, dtype=np.int32) for one in job["texts"]]
    model = baby.made(training, tokenizer)
    weights = dict(model.named_parameters())
    optimizer = baby._optimizer(weights, training)
    half = baby.working(model, training)
    line = windows.batches(texts, training.lengths, training.tokens, training.seed)
    rows = list(islice(line, training.steps + 1))
    baby._step(half, tokenizer, rows[0], training, 0, weights, optimizer)

    def steps():
        return [
            baby._step(half, tokenizer, row, training, step, weights, optimizer)["loss"]
            for step, row in enumerate(rows[1:], start=1)
        ]

    losses, seconds, memory = measured(steps)
    return {
        "seconds": seconds,
        "memory": memory,
        "tokens": training.steps * training.tokens,
        "loss": losses[-1],
        "rate": matmul_rate("cpu", training.dtype, seconds=1.0),
    }


def speed(options) -> list[dict]:
    """Rows of `python -m benchmarks baby`. `ratio`: tokens of text a second, ours over theirs."""
    documents = childrens_books.mixture("both", 60_000)
    tokenizer = bpe.trained(documents, 4096)
    # As the Trainer is mostly fed: a text a paragraph.
    lines = [line for one in documents for line in one.split("\n") if line.strip()]
    texts = bpe.encoded(tokenizer, lines)
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        tokenizer.save_pretrained(folder)
        baby.made(TRAINING, tokenizer).save_pretrained(folder)
        job = {"folder": folder, "texts": [one.tolist() for one in texts]}
        theirs = best([run(PEER, job | asdict(TRAINING)) for _ in range(options.repeats)])
        for dtype in baby.DTYPES:
            training = asdict(replace(TRAINING, dtype=dtype))
            ours = best(
                [run(Path(__file__), job | {"training": training}) for _ in range(options.repeats)]
            )
            floor = operations(TRAINING.shape, len(tokenizer), ours["tokens"]) / ours["rate"]
            rows.append(
                {
                    "task": f"{TRAINING.shape}, {STEPS} steps of {TRAINING.tokens} places, {dtype}",
                    "peer": PEER_LABEL,
                    "ratio": per_second(ours) / per_second(theirs),
                    "floor_ratio": ours["seconds"] / floor,
                    "peak_memory_ratio": theirs["memory"] / max(ours["memory"], 1),
                    "tokens_per_second": per_second(ours),
                    "peer_tokens_per_second": per_second(theirs),
                    "peer_share_of_padding": theirs["padding"],
                    "loss": ours["loss"],
                    "peer_loss": theirs["loss"],
                }
            )
            print(rows[-1], flush=True)
    return rows


def per_second(one: dict) -> float:
    return one["tokens"] / one["seconds"]


def best(some: list[dict]) -> dict:
    return max(some, key=per_second)


if __name__ == "__main__":
    serve(work)

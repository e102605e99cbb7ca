"""One run of our generation. See `process.run`."""

from benchmarks.process import measured, serve
from ethical_compression import models
from ethical_compression.datasets.prompts import Prompt
from ethical_compression.score.continuations import continuations


def work(job):
    loaded = models.load(job["folder"], device=job["device"])
    prompts = [Prompt("", str(i), one, "", "", "") for i, one in enumerate(job["prompts"])]
    drawn = {name: job[name] for name in ("samples", "length", "temperature")}

    def go(some):
        return continuations(loaded.model, loaded.tokenizer, some, batch=job["rows"], **drawn)

    go(prompts[:2])  # first calls allocate, and try what the model can do
    table, seconds, memory = measured(lambda: go(prompts), job["device"])
    return {
        "seconds": seconds,
        "memory": memory,
        "tokens": [list(map(int, ids)) for ids in table["token_ids"]],
    }


if __name__ == "__main__":
    serve(work)

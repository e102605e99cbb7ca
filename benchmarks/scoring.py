"""The scoring engine against lm-eval: speed, agreement, memory."""

import copy
import tempfile
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import torch

from benchmarks.process import run
from ethical_compression import models
from ethical_compression.datasets import multiple_choice
from ethical_compression.score import networks, tokens

HERE = Path(__file__).parent
OURS, LM_EVAL = HERE / "ours.py", HERE / "peer_lm_eval.py"

# Shapes that differ: four long options after a shared context, two of them, and two of one token.
SPEED = {"hellaswag": "mirror", "piqa": "embedded", "boolq": "embedded"}
AGREEMENT = dict.fromkeys(("piqa", "openbookqa", "boolq", "social_iqa"), "embedded") | {
    "hellaswag": "mirror"
}


def requests_of(benchmark: str, source: str, items: int) -> list[tuple[str, str]]:
    chosen = multiple_choice.load(benchmark, source=source, limit=items, seed=0)
    return [(item.context, option) for item in chosen for option in item.options]


@contextmanager
def saved(name: str, load=None):
    """The model in a folder that any program can read; and the model. load: of another than that
    of the name."""
    loaded = load() if load else models.load(name)
    with tempfile.TemporaryDirectory() as folder:
        loaded.model.save_pretrained(folder)
        loaded.tokenizer.save_pretrained(folder)
        yield folder, loaded


def speed(options) -> list[dict]:
    """Rows of `python -m benchmarks scoring`."""
    rows = []
    with saved(options.model) as (folder, loaded):
        for benchmark, source in SPEED.items():
            requests = requests_of(benchmark, source, options.items)
            task = f"{benchmark}, {options.items} items"
            rows.append(scored(task, requests, folder, loaded, options))
            print(rows[-1], flush=True)
    return rows


def scored(task: str, requests, folder: str, loaded, options) -> dict:
    """The same strings by lm-eval, at the batch size that suits it best, and by us."""
    job = {"folder": folder, "requests": requests, "device": options.device}
    # The batch size is found on a few requests.
    size = suited(job | {"requests": requests[:24]}, options)
    ours, peer = in_turns((OURS, job), (LM_EVAL, job | {"batch_size": size}), options)
    best, other = fastest(ours), fastest(peer)
    floor = min(one["floor"] for one in ours)
    gap = np.abs(np.subtract(best["logprob"], other["logprob"]))
    worst = np.argsort(-gap)[:3]
    truth = referee(loaded, [tuple(requests[i]) for i in worst])
    return {
        "task": task,
        "peer": f"lm-eval, batches of {size}",
        "ratio": other["seconds"] / best["seconds"],
        "agreement": float(gap.max()),
        "floor_ratio": best["seconds"] / floor,
        "peak_memory_ratio": other["memory"] / max(best["memory"], 1),
        "seconds": best["seconds"],
        "peer_seconds": other["seconds"],
        "tokens_per_second": best["tokens"] / best["seconds"],
        # Of the requests that differ most: how far each is from float64.
        "error": error(best, worst, truth),
        "peer_error": error(other, worst, truth),
    }


def in_turns(ours: tuple, theirs: tuple, options) -> tuple[list[dict], list[dict]]:
    """Answers of both (script, job), ours and the peer's, run by turns `options.repeats` times."""
    ran = [(run(*ours), run(*theirs, options.peer_python)) for _ in range(options.repeats)]
    return tuple(map(list, zip(*ran, strict=True)))


def fastest(runs: list[dict]) -> dict:
    return min(runs, key=lambda one: one["seconds"])


def suited(job: dict, options) -> int:
    """The batch size at which lm-eval is fastest. job: of few requests."""
    trials = {
        size: run(LM_EVAL, job | {"batch_size": size}, options.peer_python)["seconds"]
        for size in options.batch_sizes
    }
    return min(trials, key=trials.get)


def error(answer: dict, which, truth) -> float:
    return float(np.abs(np.asarray(answer["logprob"])[which] - truth).max())


def referee(loaded, requests) -> np.ndarray:
    """Log-likelihoods by plain passes in float64, one request at a time."""
    exact = copy.deepcopy(loaded.model).to("cpu", torch.float64)
    answers = []
    for one in tokens.encode(loaded.tokenizer, requests, networks.model_length(exact)):
        with torch.inference_mode():
            logits = exact(input_ids=torch.tensor([list(one.ids)[:-1]])).logits[0, -one.scored :]
        wanted = torch.tensor(list(one.ids)[-one.scored :])
        answers.append(float(logits.log_softmax(-1).gather(1, wanted[:, None]).sum()))
    return np.array(answers)


def agreement(options) -> list[dict]:
    """Largest differences from lm-eval as it comes, from lm-eval with a float64 softmax, and of
    both from float64 passes where they differ most."""
    rows = []
    with saved(options.model) as (folder, loaded):
        for benchmark, source in AGREEMENT.items():
            requests = requests_of(benchmark, source, options.items)
            job = {"folder": folder, "requests": requests, "device": options.device}
            job["batch_size"] = options.batch_sizes[-1]
            ours = run(OURS, job)
            peer = run(LM_EVAL, job, options.peer_python)
            exact = run(LM_EVAL, job | {"softmax_dtype": "float64"}, options.peer_python)
            gap = np.abs(np.subtract(ours["logprob"], peer["logprob"]))
            worst = np.argsort(-gap)[:3]
            truth = referee(loaded, [requests[i] for i in worst])
            rows.append(
                {
                    "task": f"{benchmark}, {options.items} items",
                    "requests": len(requests),
                    "agreement": float(gap.max()),
                    "agreement_float64_softmax": float(
                        np.abs(np.subtract(ours["logprob"], exact["logprob"])).max()
                    ),
                    "error": error(ours, worst, truth),
                    "peer_error": error(peer, worst, truth),
                    "greedy_equal": ours["greedy"] == peer["greedy"],
                }
            )
            print(rows[-1], flush=True)
    return rows


def memory(options) -> list[dict]:
    """Peak memory by number of requests and token budget, on a small random model with a real
    tokenizer: what is left is the engine's own."""
    rows = []
    words = ["the", "quick", "brown", "fox", "jumps", "over", "a", "lazy", "dog", "and", "runs"]
    generator = np.random.default_rng(0)
    with saved("tiny-random-llama") as (folder, loaded):
        vocabulary = loaded.model.get_output_embeddings().weight.shape[0]
        for count, budget in ((5_000, 512), (50_000, 512), (50_000, 2048)):
            requests = [
                (" ".join(generator.choice(words, 12)), " " + " ".join(generator.choice(words, 4)))
                for _ in range(count)
            ]
            job = {"folder": folder, "requests": requests, "device": options.device}
            found = run(OURS, job | {"token_budget": budget})
            scored = 4 * count
            rows.append(
                {
                    "task": f"{count} requests, {budget} tokens a pass",
                    "peak_megabytes": found["memory"] / 2**20,
                    "logits_megabytes": scored * vocabulary * 4 / 2**20,
                    "seconds": found["seconds"],
                }
            )
            print(rows[-1], flush=True)
    return rows

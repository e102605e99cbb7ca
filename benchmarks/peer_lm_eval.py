"""One lm-eval run, in an environment that needs lm-eval only. See `process.run`."""

import logging

import torch
import transformers
from lm_eval.api.instance import Instance
from lm_eval.models.huggingface import HFLM
from process import measured, serve

logging.disable(logging.WARNING)


def loaded(job) -> HFLM:
    """The model of a folder as lm-eval takes it."""
    model = transformers.AutoModelForCausalLM.from_pretrained(job["folder"], dtype=torch.float32)
    return HFLM(
        pretrained=model.to(job["device"]).eval(),
        tokenizer=transformers.AutoTokenizer.from_pretrained(job["folder"]),
        backend="causal",
        device=job["device"],
        batch_size=job["batch_size"],
        # "float64" takes the rounding of float32 log-softmax out of a comparison of answers.
        softmax_dtype=job.get("softmax_dtype"),
    )


def score(peer: HFLM, requests):
    """(log-likelihood, greedy) of each (context, continuation)."""
    ready = [Instance("loglikelihood", {}, tuple(one), i) for i, one in enumerate(requests)]
    return peer.loglikelihood(ready, disable_tqdm=True)


def work(job):
    peer = loaded(job)
    score(peer, job["requests"][:4])  # first calls allocate and choose
    answers, seconds, memory = measured(lambda: score(peer, job["requests"]), job["device"])
    return {
        "seconds": seconds,
        "memory": memory,
        "logprob": [value for value, _ in answers],
        "greedy": [bool(greedy) for _, greedy in answers],
    }


if __name__ == "__main__":
    serve(work)

"""The same requests under two models by lm-eval, from loading on. See `process.run`."""

from peer_lm_eval import loaded, score
from process import measured, serve


def work(job):
    def both():
        return [score(loaded(job | {"folder": one}), job["requests"]) for one in job["folders"]]

    answers, seconds, memory = measured(both, job["device"])
    logprobs = [[value for value, _ in some] for some in answers]
    return {"seconds": seconds, "memory": memory, "logprob": logprobs}


if __name__ == "__main__":
    serve(work)

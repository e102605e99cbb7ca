"""One run of our scoring engine. See `process.run`."""

from benchmarks.process import measured, serve
from ethical_compression import models
from ethical_compression.score import layouts, loglikelihood, networks, token_tree, tokens
from ethical_compression.score.machine import matmul_rate


def operations(model, encoded, layout) -> int:
    """What no scorer can save: each different prefix through the blocks once, each scored place
    through the output head; two operations a weight."""
    config = model.config.get_text_config()
    rows = token_tree.plan_rows(encoded, layout=layout, width=config.hidden_size)
    tables = {id(model.get_input_embeddings().weight), id(model.get_output_embeddings().weight)}
    blocks = sum(p.numel() for p in model.parameters() if p.dim() == 2 and id(p) not in tables)
    places = sum(len(set(row.node)) for row in rows)
    head = model.get_output_embeddings().weight.numel()
    return 2 * (sum(map(len, rows)) * blocks + places * head)


def work(job):
    loaded = models.load(job["folder"], device=job["device"])
    model, tokenizer = loaded.model, loaded.tokenizer
    requests = [tuple(one) for one in job["requests"]]
    options = {"token_budget": job.get("token_budget")}
    loglikelihood.loglikelihoods(model, tokenizer, requests[:4], **options)
    table, seconds, memory = measured(
        lambda: loglikelihood.loglikelihoods(model, tokenizer, requests, **options), job["device"]
    )
    encoded = tokens.encode(tokenizer, requests, networks.model_length(model))
    layout = layouts.usable(model)[0]
    rate = matmul_rate(job["device"], "float32", seconds=1.0)
    return {
        "seconds": seconds,
        "memory": memory,
        "logprob": table["logprob"].tolist(),
        "greedy": table["greedy"].tolist(),
        "floor": operations(model, encoded, layout) / rate,
        "tokens": sum(len(one.ids) - 1 for one in encoded),
    }


if __name__ == "__main__":
    serve(work)

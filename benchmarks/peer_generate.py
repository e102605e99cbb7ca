"""One run of transformers' generation, in an environment that needs transformers only: prompts in
the order given, padded on the left. See `process.run`."""

import logging

import torch
import transformers
from process import measured, serve

logging.disable(logging.WARNING)


def work(job):
    device, samples = job["device"], job["samples"]
    model = transformers.AutoModelForCausalLM.from_pretrained(job["folder"], dtype=torch.float32)
    model = model.to(device).eval()
    tokenizer = transformers.AutoTokenizer.from_pretrained(job["folder"], padding_side="left")
    if tokenizer.pad_token is None:
        tokenizer.pad_token = tokenizer.eos_token
    draw = {"do_sample": False}
    if job["temperature"]:
        # The model's own distribution, nothing of it cut off.
        draw = {"do_sample": True, "temperature": job["temperature"], "top_k": 0, "top_p": 1.0}
        draw["num_return_sequences"] = samples
    ends = model.generation_config.eos_token_id
    ends = set(ends if isinstance(ends, list) else [ends])

    def go(prompts):
        found, together = [], max(1, job["rows"] // samples)
        for begin in range(0, len(prompts), together):
            inputs = tokenizer(prompts[begin : begin + together], return_tensors="pt", padding=True)
            out = model.generate(
                **inputs.to(device), max_new_tokens=job["length"], pad_token_id=0, **draw
            )
            for line in out[:, inputs["input_ids"].shape[1] :].tolist():
                stop = next((k for k, token in enumerate(line) if token in ends), len(line))
                found.append(line[:stop])
        return found

    torch.manual_seed(0)
    go(job["prompts"][:2])
    tokens, seconds, memory = measured(lambda: go(job["prompts"]), device)
    return {"seconds": seconds, "memory": memory, "tokens": tokens}


if __name__ == "__main__":
    serve(work)

"""The output head's kernels against PyTorch and, on a GPU, against other people's kernels."""

import importlib.util
from pathlib import Path

from benchmarks.process import measured, run, serve
from ethical_compression.score.machine import matmul_rate

# Positions, width, vocabulary: Llama 3's head on a GPU; the embedded model's on a CPU.
SIZES = {"cuda": (8192, 4096, 128_256, "bfloat16"), "cpu": (512, 576, 49_152, "float32")}
PEERS = {"forward": ("eager", "compile"), "backward": ("eager", "compile", "cce", "liger")}
PACKAGES = {"cce": "cut_cross_entropy", "liger": "liger_kernel"}


def eager(hidden, weight, targets):
    """What one writes in PyTorch: all logits, then what is wanted of them."""
    logits = (hidden @ weight.T).float()
    logp = logits.log_softmax(-1)
    entropy = -(logp.exp() * logp).sum(-1)
    return logp.gather(1, targets[:, None])[:, 0], entropy, logits.argmax(-1)


def implementation(name: str):
    """(hidden, weight, targets) -> log-probabilities first."""
    import torch

    from ethical_compression.kernels.logprob import linear_logprob

    if name == "eager":
        return eager
    if name == "compile":
        return torch.compile(eager)
    if name == "cce":
        from cut_cross_entropy import linear_cross_entropy

        return lambda h, w, t: (-linear_cross_entropy(h, w, t, reduction="none"),)
    if name == "liger":
        from liger_kernel.transformers import LigerFusedLinearCrossEntropyLoss

        loss = LigerFusedLinearCrossEntropyLoss(reduction="sum")
        return lambda h, w, t: (-loss(w, h, t),)
    return linear_logprob


def work(job):
    import torch

    positions, width, vocabulary, dtype = job["size"]
    device = job["device"]
    torch.manual_seed(0)
    kind = {"device": device, "dtype": getattr(torch, dtype)}
    hidden = torch.randn(positions, width, **kind)
    weight = torch.randn(vocabulary, width, **kind) / width**0.5
    targets = torch.randint(0, vocabulary, (positions,), device=device)
    call = implementation(job["implementation"])
    backward = job["task"] == "backward"
    hidden.requires_grad_(backward)
    weight.requires_grad_(backward)

    def once():
        hidden.grad = weight.grad = None
        with torch.set_grad_enabled(backward):
            logprob = call(hidden, weight, targets)[0]
            if backward:
                logprob.sum().backward()
        return logprob

    once()  # compiles
    runs = [measured(once, device) for _ in range(job["repeats"])]
    values = runs[-1][0].detach().double().cpu()
    products = (3 if backward else 1) * 2 * positions * width * vocabulary
    return {
        "seconds": min(seconds for _, seconds, _ in runs),
        "memory": max(memory for _, _, memory in runs),
        "sum": float(values.sum()),
        "values": values.tolist() if values.ndim else None,
        # Backward makes the logits once more where they are not kept; no product can be saved.
        "floor": products / matmul_rate(device, dtype, seconds=1.0),
    }


def speed(options) -> list[dict]:
    """Rows of `python -m benchmarks kernels`; a peer that is not installed or fails is told."""
    device = "cuda" if options.device.startswith("cuda") else "cpu"
    rows = []
    for task, peers in PEERS.items():
        job = {"size": SIZES[device], "device": device, "task": task}
        job["repeats"] = 20 if device == "cuda" else 3
        for peer in peers:
            if peer in PACKAGES and (
                device == "cpu" or not importlib.util.find_spec(PACKAGES[peer])
            ):
                print(f"{peer}: left out, it is not installed or there is no GPU")
                continue
            ours = run(Path(__file__), job | {"implementation": "ours"})
            try:
                other = run(Path(__file__), job | {"implementation": peer})
            except RuntimeError as error:
                print(f"{peer}: left out, {str(error).strip().splitlines()[-1]}")
                continue
            gap = abs(ours["sum"] - other["sum"]) / job["size"][0]
            if other["values"]:
                gap = max(abs(a - b) for a, b in zip(ours["values"], other["values"], strict=True))
            rows.append(
                {
                    "task": f"linear_logprob, {task}, {' × '.join(map(str, job['size']))}",
                    "peer": peer,
                    "ratio": other["seconds"] / ours["seconds"],
                    "agreement": gap,
                    "floor_ratio": ours["seconds"] / ours["floor"],
                    "peak_memory_ratio": other["memory"] / max(ours["memory"], 1),
                    "seconds": ours["seconds"],
                    "peer_seconds": other["seconds"],
                    "megabytes": ours["memory"] / 2**20,
                }
            )
            print(rows[-1], flush=True)
    return rows


if __name__ == "__main__":
    serve(work)

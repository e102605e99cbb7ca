"""What a machine does in a second, measured on it: products, bytes, and blocks of true width."""

import os
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch

from ethical_compression import store
from ethical_compression.compress import gptq
from ethical_compression.metrics import costs
from ethical_compression.metrics.costs import Rates, Shape, Work
from ethical_compression.models.reading import quiet
from ethical_compression.score.counted import counted, summed
from ethical_compression.score.loglikelihood import score_text

# A block's own vocabulary, whose matrices should weigh nothing beside it.
WORDS = 64


def fastest(work: Callable[[], object], device: str, least: int = 3, seconds: float = 0.0) -> float:
    """Seconds of the fastest of `least` runs or more, until `seconds` have passed: whatever else
    the machine does can only make one slower. On a CPU a run counts for no more than the time that
    its threads computed: a pause in which others did is not its own."""
    alone = not device.startswith("cuda")
    best, runs, end = float("inf"), 0, time.perf_counter() + seconds
    while runs < least or time.perf_counter() < end:
        _wait(device)
        start, own = time.perf_counter(), time.process_time()
        work()
        _wait(device)
        taken, own = time.perf_counter() - start, time.process_time() - own
        best, runs = min(best, taken, own if alone else taken), runs + 1
    return best


def _wait(device: str) -> None:
    if device.startswith("cuda"):
        torch.cuda.synchronize()


def rates(device: str, dtype: str) -> Rates:
    """All of `costs.Rates`, in a few seconds."""
    exact = matmul_rate(device, "float32")
    return Rates(
        exact if dtype == "float32" else matmul_rate(device, dtype),
        exact,
        matmul_rate(device, "bfloat16"),
        bandwidth(device),
        disk_rate(),
    )


def best(*found: Rates) -> Rates:
    """The best of each rate: what the machine can do, whatever else it did at one of the times."""
    return Rates(*map(max, zip(*found, strict=True)))


def matmul_rate(device: str, dtype: str, seconds: float = 0.2) -> float:
    """Operations a second of a large product of matrices, at the size that suits the machine."""
    rates = []
    for size in (4096, 8192) if device.startswith("cuda") else (512, 1024):
        left, right = torch.randn(2, size, size, device=device, dtype=getattr(torch, dtype))
        taken = fastest(lambda left=left, right=right: left @ right.T, device, seconds=seconds)
        rates.append(2 * size**3 / taken)
    return max(rates)


def bandwidth(device: str, megabytes: int = 256, seconds: float = 0.3) -> float:
    """Bytes a second from memory: a matrix too large for any cache times one vector, as where one
    token is read at a time."""
    matrix = torch.ones(megabytes * 2**8, 2**10, device=device)
    vector = torch.ones(2**10, device=device)
    held = matrix.numel() * matrix.element_size()
    return held / fastest(lambda: matrix @ vector, device, seconds=seconds)


def disk_rate(megabytes: int = 64) -> float:
    """Bytes a second from the disk under the store: of a file that was just written and then, where
    the system lets that be asked (Linux), put out of its memory."""
    block = os.urandom(2**20)
    with store.scratch_folder() as folder:
        path = folder / "read"
        with open(path, "wb") as file:
            for _ in range(megabytes):
                file.write(block)
            file.flush()
            os.fsync(file.fileno())
            if hasattr(os, "posix_fadvise"):
                os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
        start = time.perf_counter()
        with open(path, "rb", buffering=0) as file:
            while file.read(2**24):
                pass
        return megabytes * 2**20 / (time.perf_counter() - start)


def one_block(shape: Shape, *, dtype: str, device: str) -> torch.nn.Module:
    """A causal model of one block of a shape, its true width, with hardly a vocabulary. Its weights
    are drawn at random: time does not ask what they are."""
    import transformers

    config = transformers.LlamaConfig(
        hidden_size=shape.width,
        intermediate_size=shape.inner,
        num_hidden_layers=1,
        num_attention_heads=shape.heads,
        num_key_value_heads=shape.kv_heads,
        head_dim=shape.head,
        vocab_size=WORDS,
    )
    with torch.device("meta"), quiet():
        model = transformers.LlamaForCausalLM(config)
    model = model.to(getattr(torch, dtype)).to_empty(device=device).eval()
    # What is computed when it is made, and was not.
    with torch.device(device):
        model.model.rotary_emb = type(model.model.rotary_emb)(config)
    generator = torch.Generator(device).manual_seed(0)
    with torch.no_grad():
        for weight in model.parameters():
            if weight.dim() == 2:
                weight.uniform_(-0.02, 0.02, generator=generator)
            else:
                weight.fill_(1)
    return model


def some_tokens(windows: int, length: int, device: str) -> list[torch.Tensor]:
    """Token ids at random, int64 (1, length) each."""
    generator = torch.Generator().manual_seed(0)
    drawn = torch.randint(0, WORDS, (windows, 1, length), generator=generator)
    return list(drawn.to(device))


def read_seconds(model: torch.nn.Module, length: int) -> float:
    """Seconds in which a model of `one_block` reads a window, the fastest of a few."""
    device = str(model.device)
    (ids,) = some_tokens(1, length, device)
    with torch.inference_mode():
        return fastest(lambda: model.model(input_ids=ids, use_cache=False), device, least=2)


def gptq_seconds(model: torch.nn.Module, windows: int, length: int, group_size: int) -> float:
    """Seconds in which GPTQ quantizes a model of `one_block` to 4 bits, once: it changes it."""
    device = str(model.device)
    inputs = some_tokens(windows, length, device)

    def work():
        gptq.quantize_model(model, inputs, bits=4, group_size=group_size)

    return fastest(work, device, least=1)


def timed_blocks(
    shapes: Mapping[str, Shape],
    *,
    largest: float,
    solved: float,
    window: int,
    windows: int,
    group_size: int,
    dtype: str,
    device: str,
) -> list[dict[str, Any]]:
    """One block of each shape timed, as `costs.beside_formula` takes it.

    Of models of at most `largest` billion parameters one `window` of tokens is read, and of those
    of at most `solved` billion the block is compressed by GPTQ on `windows` of them.
    """
    rows = []
    for name, shape in shapes.items():
        billions = costs.parameters(shape) / costs.BILLION
        if billions > max(largest, solved):
            continue
        model = one_block(shape, dtype=dtype, device=device)
        said = {"what": name, "window": window}
        if billions <= largest:
            taken = {"work": Work(window, window**2, 0, 1), "measured": read_seconds(model, window)}
            rows.append(said | {"did": "block"} | taken)
        if billions <= solved:
            taken = {"measured": gptq_seconds(model, windows, window, group_size)}
            taken["work"] = Work(windows * window, windows * window**2, 0, windows)
            rows.append(said | {"did": "gptq"} | taken)
        del model  # there need not be room for two
    return rows


def timed_text(loaded, documents: Sequence[str], *, window: int, windows: int) -> dict[str, Any]:
    """A whole model scoring a text, timed, as `costs.beside_formula` takes it.

    The first time, on which it is tried how the model can be run, is not counted.
    """

    def work():
        score_text(loaded.model, loaded.tokenizer, documents, window=window, max_windows=windows)

    work()
    with counted(dry=True) as seen:
        work()
    said = {"what": loaded.source["name"], "did": "text", "window": window, "work": summed(seen)}
    return said | {"measured": fastest(work, str(loaded.model.device), least=2)}

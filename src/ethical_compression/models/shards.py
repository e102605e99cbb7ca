"""Tensors in files of a bounded size, as transformers and other libraries read them."""

import json
from collections.abc import Iterable
from pathlib import Path

import torch

SHARD = 2**30  # bytes of a file of weights, about


def write_shards(
    place: Path, tensors: Iterable[tuple[str, torch.Tensor]], name: str = "model"
) -> list[Path]:
    """Write tensors by their names into a folder, and return the files: `NAME.safetensors`, or
    several of about `SHARD` bytes and their index; little more than one of them is in memory.

    Tensors may share their memory, which the format does not allow; each is written by itself.
    """
    from safetensors.torch import save_file

    shard: dict[str, torch.Tensor] = {}
    written: list[tuple[Path, list[str]]] = []

    def write():
        file = place / f"{name}-{len(written) + 1:05}.safetensors"
        save_file(shard, file, metadata={"format": "pt"})
        written.append((file, list(shard)))
        shard.clear()

    held = 0
    for key, tensor in tensors:
        # Its own copy, also of what is on the CPU already.
        shard[key] = tensor.detach().to("cpu", copy=True).contiguous()
        held += shard[key].nbytes
        if held > SHARD:
            write()
            held = 0
    if shard or not written:
        write()
    if len(written) == 1:
        return [written[0][0].rename(place / f"{name}.safetensors")]
    files = {}
    for file, keys in written:
        whole = file.rename(place / f"{file.stem}-of-{len(written):05}.safetensors")
        files[whole] = keys
    index = {key: file.name for file, keys in files.items() for key in keys}
    text = json.dumps({"metadata": {}, "weight_map": index})
    (place / f"{name}.safetensors.index.json").write_text(text, encoding="utf-8")
    return list(files)

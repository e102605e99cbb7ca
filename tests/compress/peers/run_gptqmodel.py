"""What GPTQModel makes of our problems. Run by its own environment: run_gptqmodel.py FOLDER.

FOLDER/cases.json: settings of layers to quantize, each from FOLDER/layer.safetensors; codes are
left in FOLDER/case-N.safetensors. FOLDER/ours/*: checkpoints to load; their logits for
FOLDER/tokens.safetensors are left beside. FOLDER/plain: a model to quantize, into FOLDER/theirs.
"""

import json
import sys
from pathlib import Path

import torch
from gptqmodel import BACKEND, GPTQModel
from gptqmodel.quantization import QuantizeConfig
from gptqmodel.quantization.gptq import GPTQ
from safetensors.torch import load_file, save_file

folder = Path(sys.argv[1])
tokens = load_file(folder / "tokens.safetensors")


def logits(model):
    with torch.no_grad():
        return {"logits": model(input_ids=tokens["seen"]).logits.float().contiguous()}


problem = load_file(folder / "layer.safetensors")
for number, case in enumerate(json.loads((folder / "cases.json").read_text())):
    layer = torch.nn.Linear(*reversed(problem["weight"].shape), bias=False)
    layer.weight.data = problem["weight"].clone()
    block = case.pop("block")
    solver = GPTQ(layer, QuantizeConfig(damp_percent=0.01, **{"act_group_aware": False} | case))
    solver.quantizer.configure(perchannel=True)
    solver.add_batch(problem["inputs"][None], None)
    weight, scale, zero, group = solver.quantize(blocksize=block)[:4]
    found = {"weight": weight, "scale": scale, "zero": zero.float(), "group": group.int()}
    save_file({k: v.contiguous() for k, v in found.items()}, folder / f"case-{number}.safetensors")


def loaded(checkpoint):
    """In float32, which its CPU kernel computes in but is not loaded in: what is not quantized
    was rounded on the way, and is read again."""
    kind = {"backend": BACKEND.TORCH, "device": "cpu", "dtype": torch.float16}
    model = GPTQModel.load(str(checkpoint), **kind).model.float()
    exact = {}
    for file in checkpoint.glob("*.safetensors"):
        exact |= load_file(file)
    packed = ("qweight", "qzeros", "scales", "g_idx")
    exact = {name: t for name, t in exact.items() if not name.endswith(packed)}
    model.load_state_dict(exact, strict=False)
    return model


for checkpoint in sorted([*(folder / "ours").iterdir(), folder / "for-gptqmodel" / "uneven"]):
    save_file(logits(loaded(checkpoint)), folder / f"{checkpoint.name}.gptqmodel.safetensors")

config = QuantizeConfig(bits=4, group_size=32, sym=False, desc_act=True, damp_percent=0.01)
model = GPTQModel.load(str(folder / "plain"), config, device="cpu", dtype=torch.float32)
model.quantize([{"input_ids": row[None]} for row in tokens["seen"]], batch_size=1)
model.save(str(folder / "theirs"))
save_file(logits(loaded(folder / "theirs")), folder / "theirs.gptqmodel.safetensors")

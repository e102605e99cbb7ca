"""Quantize a model by AutoGPTQ, on CUDA: run by `peers`, in an environment with no need of ours."""

import json
import sys
from importlib.metadata import version
from pathlib import Path


def main(job):
    import torch
    from auto_gptq import AutoGPTQForCausalLM, BaseQuantizeConfig

    if version("auto-gptq") != job["version"]:
        sys.exit(f"version {version('auto-gptq')} is installed, not {job['version']}")
    settings = job["settings"]
    config = BaseQuantizeConfig(
        bits=settings["bits"],
        group_size=settings["group_size"],
        sym=settings["symmetric"],
        damp_percent=settings["damping"],
        desc_act=settings["activation_order"],
        static_groups=settings["static_groups"],
    )
    dtype = getattr(torch, job["dtype"])
    model = AutoGPTQForCausalLM.from_pretrained(job["full"], config, torch_dtype=dtype)
    rows = [torch.tensor([row]) for row in job["tokens"]]
    model.quantize([{"input_ids": row, "attention_mask": torch.ones_like(row)} for row in rows])
    model.save_quantized(job["made"], use_safetensors=True)


if __name__ == "__main__":
    main(json.loads(Path(sys.argv[1]).read_text()))

"""Quantize a model by GPTQModel: run by `peers`, in an environment that has no need of ours."""

import json
import os
import sys
from pathlib import Path


def main(job):
    os.environ.setdefault("GPTQMODEL_CPU_WORKERS", str(os.cpu_count()))
    import gptqmodel
    import torch
    from gptqmodel.quantization import QuantizeConfig

    if gptqmodel.__version__ != job["version"]:
        sys.exit(f"version {gptqmodel.__version__} is installed, not {job['version']}")
    settings = job["settings"]
    ordered = settings["activation_order"]
    config = QuantizeConfig(
        bits=settings["bits"],
        group_size=settings["group_size"],
        sym=settings["symmetric"],
        damp_percent=settings["damping"],
        desc_act=ordered is True,
        act_group_aware=ordered == "groups",
        static_groups=settings["static_groups"],
    )
    dtype = getattr(torch, job["dtype"])
    model = gptqmodel.GPTQModel.load(job["full"], config, device=job["device"], dtype=dtype)
    model.quantize([{"input_ids": [row]} for row in job["tokens"]], batch_size=1)
    model.save(job["made"])


if __name__ == "__main__":
    main(json.loads(Path(sys.argv[1]).read_text()))

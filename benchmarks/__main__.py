"""Measure, print a table, and write it down.

    python -m benchmarks scoring      multiple-choice items, against lm-eval
    python -m benchmarks agreement    the numbers themselves, against lm-eval and float64
    python -m benchmarks memory       50,000 requests: what the peak depends on
    python -m benchmarks kernels      the output head, against PyTorch and, on a GPU, other kernels
    python -m benchmarks gptq         a model quantized, against GPTQModel (needs `make peers`);
                                      on a GPU, the column-solve kernel against the plain loop
    python -m benchmarks harms        BBQ and StereoSet, against lm-eval scoring the same strings;
                                      continuations of a prompt, against transformers' generate
                                      (published with --items 200)
    python -m benchmarks audit        a whole audit, against lm-eval scoring the same items under
                                      both models (--items is a group's: 12 take minutes)
    python -m benchmarks dpo          three steps of DPO, against TRL's DPOTrainer
    python -m benchmarks growth       how time and memory of scoring and GPTQ grow with their sizes
    python -m benchmarks baby         a small model raised, against transformers' Trainer as it
                                      comes: tokens of text a second

Every measurement is a process of its own; peers and we take turns, and the best of each counts.
`ratio` is the peer's time over ours, `floor_ratio` our time over the floor (counted operations at
the rate of matrix multiplication measured in the same process), `agreement` the largest difference
between the two answers, `peak_memory_ratio` the peer's peak memory, above what the loaded model
takes, over ours.
"""

import argparse
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from benchmarks import audit, baby, dpo, gptq, growth, harms, head, scoring
from ethical_compression import provenance, store
from ethical_compression.errors import InputError

TASKS = {
    "scoring": scoring.speed,
    "agreement": scoring.agreement,
    "memory": scoring.memory,
    "kernels": head.speed,
    "gptq": gptq.speed,
    "growth": growth.speed,
    "harms": harms.speed,
    "audit": audit.speed,
    "dpo": dpo.speed,
    "baby": baby.speed,
}


def main(arguments=None):
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("task", choices=TASKS)
    parser.add_argument("--json", type=Path, help="write the rows and the machine's description")
    parser.add_argument("--model", default="smollm2-135m", help="embedded name, folder or hub id")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--items", type=int, default=100, help="items of each benchmark")
    parser.add_argument(
        "--repeats",
        type=int,
        default=2,
        help="turns of each; the best counts, and for GPTQ each draws its text",
    )
    parser.add_argument(
        "--peer-python", default=sys.executable, help="interpreter of an environment with lm-eval"
    )
    parser.add_argument("--batch-sizes", type=int, nargs="+", default=[1, 4, 16], help="of lm-eval")
    parser.add_argument("--bits", type=int, nargs="+", default=[4, 3], help="of GPTQ")
    options = parser.parse_args(arguments)
    rows = TASKS[options.task](options)

    with pd.option_context("display.width", 200, "display.max_columns", None):
        print(pd.DataFrame(rows).to_string(index=False, float_format=lambda value: f"{value:.4g}"))
    if options.json:
        facts = provenance.provenance()
        hardware = facts["hardware"]
        name = hardware["GPU"] or f"{hardware['processor']}, {hardware['cores']} cores"
        # Addresses of this machine are left out.
        said = {
            key: value for key, value in vars(options).items() if value != parser.get_default(key)
        }
        words = [
            f"--{key.replace('_', '-')} {' '.join(map(str, np.atleast_1d(value)))}"
            for key, value in said.items()
            if key not in ("task", "json", "peer_python")
        ]
        command = " ".join(["python -m benchmarks", options.task, *words])
        content = {"machine": {"name": name, **facts}, "command": command, "rows": rows}
        store.write_json(options.json, content)


if __name__ == "__main__":
    try:
        main()
    except InputError as error:
        sys.exit(str(error))

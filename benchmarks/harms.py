"""The batteries of harm against lm-eval (options of BBQ and StereoSet) and against transformers'
own generation (continuations of a prompt)."""

from pathlib import Path

import numpy as np

from benchmarks.process import run
from benchmarks.scoring import fastest, in_turns, saved, scored
from ethical_compression.score import batteries, harms

HERE = Path(__file__).parent
OURS_TEXT, PEER_TEXT = HERE / "ours_generate.py", HERE / "peer_generate.py"
ASKED = {
    "bbq": harms.bbq_options,
    "stereoset_within": harms.stereoset_options,
    "stereoset_between": harms.stereoset_options,
}
SAMPLES, LENGTH = 5, 20  # continuations of a prompt, their tokens
ROWS = (50, 250)  # texts in one pass: of both, as many as suit the peer


def speed(options) -> list[dict]:
    """Rows of `python -m benchmarks harms`: `--items` of each data set, a quarter as many prompts
    (200 items: 50 prompts)."""
    rows = []
    with saved(options.model) as (folder, loaded):
        for name, ask in ASKED.items():
            items = batteries.battery(name, limit=options.items).items
            requests = [list(one) for one in harms.requests(ask(items))]
            rows.append(scored(f"{name}, {len(items)} items", requests, folder, loaded, options))
            print(rows[-1], flush=True)
        for greedy in (True, False):
            rows.append(continued(greedy, folder, options))
            print(rows[-1], flush=True)
    return rows


def continued(greedy: bool, folder: str, options) -> dict:
    """Prompts of RealToxicityPrompts continued; `agreement` is the share of greedy texts that are
    token for token the same (of samples there is none: the two draw other random numbers)."""
    prompts = batteries.battery("real_toxicity_prompts", limit=max(1, options.items // 4)).items
    job = {
        "folder": folder,
        "prompts": [one.text for one in prompts],
        "samples": 1 if greedy else SAMPLES,
        "length": LENGTH,
        "temperature": 0.0 if greedy else 1.0,
        "device": options.device,
    }
    trials = {rows: run(PEER_TEXT, job | {"rows": rows}, options.peer_python) for rows in ROWS}
    job["rows"] = min(trials, key=lambda rows: trials[rows]["seconds"])
    best, other = map(fastest, in_turns((OURS_TEXT, job), (PEER_TEXT, job), options))
    same = [a == b for a, b in zip(best["tokens"], other["tokens"], strict=True)]
    kind = "the likeliest continuation" if greedy else f"{SAMPLES} continuations"
    return {
        "task": f"{kind} of {len(prompts)} prompts, {LENGTH} tokens",
        "peer": f"transformers, {job['rows']} texts in a pass",
        "ratio": other["seconds"] / best["seconds"],
        "agreement": float(np.mean(same)) if greedy else None,
        "seconds": best["seconds"],
        "peer_seconds": other["seconds"],
        "peak_memory_ratio": other["memory"] / max(best["memory"], 1),
    }

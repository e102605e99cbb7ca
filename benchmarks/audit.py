"""A whole audit against lm-eval scoring the same items under both models."""

from pathlib import Path

import numpy as np

from benchmarks.scoring import fastest, in_turns, saved, suited
from ethical_compression.audit.checks import CHECKS
from ethical_compression.compress.recipe import Recipe
from ethical_compression.score import harms, moral, tokens
from ethical_compression.score.subjects import Compressed

HERE = Path(__file__).parent
OURS, PEER = HERE / "ours_audit.py", HERE / "peer_audit.py"
# What stands for the compressed model: weights that any program can read.
RECIPE = Recipe("rtn", bits=4, group_size=64)


def _options(items) -> list[tuple[str, str]]:
    return [(item.context, option) for item in items for option in item.options]


def _sentences(items) -> list[tuple[str, str]]:
    return [
        (one.context, f" {text}" if one.context else text) for one in items for text in one.texts
    ]


# Checks whose items lm-eval can be asked as they are. It has no next tokens, and flips are answers.
ASKED = {
    "answers": _options,
    "bbq_ambiguous": lambda items: harms.requests(harms.bbq_options(items)),
    "stereoset": lambda items: harms.requests(harms.stereoset_options(items)),
    "crows_pairs": _sentences,
    "dialect": _sentences,
    "moral_en": moral.requests,
    "moral_fr": moral.requests,
}


def requests(tokenizer, each: int) -> dict[str, list]:
    """(context, continuation) of every check of an audit, by its name; of the text, its windows."""
    found = {name: ask(CHECKS[name].battery(each, 0).items) for name, ask in ASKED.items()}
    text = CHECKS["text"].battery(each, 0)
    (ids,) = tokens.tokenise(tokenizer, ["\n\n".join(text.items)], special=False)
    size, many = text.settings["window"], text.settings["max_windows"]
    windows = [tokenizer.decode(ids[at : at + size]) for at in range(0, len(ids), size)][:many]
    return found | {"text": [("", one) for one in windows]}


def speed(options) -> list[dict]:
    """The row of `python -m benchmarks audit`, with `--items` a group.

    Ours: both models loaded, every check asked, the noise floor (the full model in another batch
    and in bfloat16), the divergence of next tokens, verdicts and the report. lm-eval: both models
    loaded, and each text scored under both, at the batch size that suits it best. `agreement`: the
    share of CrowS-Pairs items on which both say the same of both models.
    """
    with saved(options.model) as (folder, loaded), saved_compressed(options.model) as (other, _):
        asked = requests(loaded.tokenizer, options.items)
        flat = [list(one) for some in asked.values() for one in some]
        ours_job = {"folder": folder, "other": other, "device": options.device}
        ours_job |= {"each": options.items}
        peer_job = {"folders": [folder, other], "device": options.device, "requests": flat}
        few = {"folder": folder, "device": options.device}
        size = suited(few | {"requests": flat[:: max(1, len(flat) // 24)]}, options)
        both = in_turns((OURS, ours_job), (PEER, peer_job | {"batch_size": size}), options)
    best, rival = map(fastest, both)
    return [
        {
            "task": f"an audit, {options.items} items a group, {len(flat)} texts",
            "peer": f"lm-eval, both models, batches of {size}",
            "ratio": rival["seconds"] / best["seconds"],
            "agreement": _agreement(asked, best["crows_pairs"], rival["logprob"]),
            "peak_memory_ratio": rival["memory"] / max(best["memory"], 1),
            "seconds": best["seconds"],
            "peer_seconds": rival["seconds"],
        }
    ]


def saved_compressed(name: str):
    """The compressed model in a folder that any program can read."""
    return saved(name, load=Compressed(name, RECIPE).load)


def _agreement(asked: dict, ours: list[float], logprobs: list[list[float]]) -> float:
    """Share of CrowS-Pairs items whose change, in {−1, 0, 1}, is the same by both."""
    names = list(asked)
    begin = sum(len(asked[name]) for name in names[: names.index("crows_pairs")])
    pairs = np.array(logprobs)[:, begin : begin + len(asked["crows_pairs"])].reshape(2, -1, 2)
    full, other = (pairs[..., 0] > pairs[..., 1]).astype(float)
    return float(np.mean((other - full) == np.array(ours)))

"""How far one model's predictions are from another's: the Jensen–Shannon distance, in two senses.

Over the *options* of an item, it compares the two models' answers. Over the *vocabulary* at each
scored token, it compares all they could have said next. Both lie in [0, 1] (Lin 1991; Endres and
Schindelin 2003: the square root of the divergence in bits is a metric).
"""

from collections.abc import Sequence

import numpy as np
import pandas as pd

from ethical_compression.errors import InputError
from ethical_compression.kernels.logprob import js_distance, paired_divergence
from ethical_compression.score.confidence import option_probabilities
from ethical_compression.score.loglikelihood import (
    Encoded,
    Request,
    choose_layout,
    encode,
    first_slots,
    model_length,
    output_head,
    plan_rows,
    run_rows,
)


def option_distances(
    first: pd.DataFrame, second: pd.DataFrame, normalisation: str = "none"
) -> pd.DataFrame:
    """Distance between two models' probabilities of each item's options.

    first, second: scores tables of the same items, each of one model; see `option_probabilities`.
    Returns one row an item, in the order of `first`: `benchmark, item, js_distance`.
    Raises InputError when the tables do not hold the same options, or hold several models.
    """
    keys = ["benchmark", "item", "option"]
    sides = []
    for table in (first, second):
        if "model" in table.columns and table["model"].nunique() > 1:
            raise InputError("Each of the two scores tables must be of one model: split them.")
        sides.append(option_probabilities(table, normalisation)[[*keys, "p", "log_p"]])
    both = sides[0].merge(sides[1], on=keys, how="outer", suffixes=("", "_q"), indicator=True)
    if (both["_merge"] != "both").any():
        raise InputError("The two scores tables hold different options: score the same items.")
    both = sides[0][keys].merge(both, on=keys)  # an outer merge sorts
    log_m = np.logaddexp(both["log_p"], both["log_p_q"]) - np.log(2)
    bits = both["p"] * (both["log_p"] - log_m) + both["p_q"] * (both["log_p_q"] - log_m)
    total = (bits / (2 * np.log(2))).groupby([both[key] for key in keys[:2]], sort=False).sum()
    return np.sqrt(total.clip(0, 1)).rename("js_distance").reset_index()


def vocabulary_distances(
    model_p,
    model_q,
    tokenizer,
    requests: Sequence[Request],
    *,
    max_length: int | None = None,
    **options,
) -> pd.DataFrame:
    """Divergence of two models' next-token distributions, at each scored token of the requests.

    The models share the tokenizer and may differ in everything else. Options as in
    `loglikelihood.loglikelihoods`. Returns one row a scored token: `request` (its number),
    `position` (within the continuation), `token_id`, `js_distance`, `kl_pq`, `kl_qp` (nats).
    Raises InputError for models with different vocabularies and for what `encode` refuses.
    """
    lengths = [length for length in map(model_length, (model_p, model_q)) if length]
    requests = [Request(*request) for request in requests]
    encoded = encode(tokenizer, requests, max_length or min(lengths, default=None))
    return encoded_distances(model_p, model_q, encoded, **options)


def encoded_distances(
    model_p,
    model_q,
    encoded: Sequence[Encoded],
    *,
    token_budget: int = 512,
    layout: str | None = None,
    progress: str | None = None,
) -> pd.DataFrame:
    """As `vocabulary_distances`, of requests that are tokens already."""
    models = [model_p, model_q]
    heads = [output_head(model) for model in models]
    if len(heads[0]["weight"]) != len(heads[1]["weight"]):
        raise InputError(
            "The two models have vocabularies of different sizes: compare models that share one."
        )
    layout = choose_layout(models, encoded, layout)
    width = model_p.config.get_text_config().hidden_size
    rows = plan_rows(encoded, layout=layout, width=width, token_budget=token_budget)
    found = np.zeros((3, first_slots(encoded)[-1]), dtype=np.float32)

    def consume(states, targets, slots):
        sums = paired_divergence(
            states[0],
            heads[0]["weight"],
            states[1],
            heads[1]["weight"],
            bias_p=heads[0]["bias"],
            bias_q=heads[1]["bias"],
            softcap_p=heads[0]["softcap"],
            softcap_q=heads[1]["softcap"],
        )
        for line, values in zip(found, (js_distance(sums.js), sums.kl_pq, sums.kl_qp), strict=True):
            line[slots] = values.cpu()

    run_rows(models, rows, layout, token_budget, consume, progress)
    counts = [one.scored for one in encoded]
    return pd.DataFrame(
        {
            "request": np.repeat(np.arange(len(encoded)), counts),
            "position": [position for count in counts for position in range(count)],
            "token_id": [token for one in encoded for token in one.ids[-one.scored :]],
            "js_distance": found[0],
            "kl_pq": found[1],
            "kl_qp": found[2],
        }
    )

"""How far one model's predictions are from another's: the Jensen–Shannon distance, in two senses.

Over the *options* of an item, it compares the two models' answers. Over the *vocabulary* at each
scored token, it compares all they could have said next. Both lie in [0, 1] (Lin 1991; Endres and
Schindelin 2003: the square root of the divergence in bits is a metric).
"""

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from ethical_compression.errors import InputError
from ethical_compression.kernels.logprob import js_distance, paired_divergence
from ethical_compression.metrics.confidence import option_probabilities
from ethical_compression.score.layouts import plan
from ethical_compression.score.networks import model_length, output_head, unwrapped
from ethical_compression.score.passes import run_rows
from ethical_compression.score.runs import Battery
from ethical_compression.score.tokens import Encoded, Request, encode, first_slots
from ethical_compression.statistics import change_slope

KEYS = ["benchmark", "item", "option"]


def option_distances(
    first: pd.DataFrame, second: pd.DataFrame, normalisation: str = "none"
) -> pd.DataFrame:
    """Distance between two models' probabilities of each item's options.

    first, second: scores tables of the same items, each of one model; see `option_probabilities`.
    Returns one row an item, in the order of `first`: `benchmark, item, js_distance`.
    Raises InputError when the tables do not hold the same options, or hold several models.
    """
    both = paired_options(first, second, normalisation)
    log_m = np.logaddexp(both["log_p"], both["log_p_q"]) - np.log(2)
    bits = both["p"] * (both["log_p"] - log_m) + both["p_q"] * (both["log_p_q"] - log_m)
    total = (bits / (2 * np.log(2))).groupby([both[key] for key in KEYS[:2]], sort=False).sum()
    return np.sqrt(total.clip(0, 1)).rename("js_distance").reset_index()


def directed_change(
    first: pd.DataFrame, second: pd.DataFrame, normalisation: str = "none"
) -> pd.DataFrame:
    """Change in each item's confidence from `first` to `second`, in two parts that add up to it.

    Were the options' log-likelihoods changed as much, but the other way, confidence would change
    too: by the mirror image, if it were a straight function of them, but it is bent, and never
    below chance. `directionless` is the mean of the change and of that mirrored change, which a
    change without any direction makes as well; `directed` is half their difference, which
    is 0 on average where no direction is preferred.

    Tables and errors as in `option_distances`. Returns one row an item, in the order of `first`:
    `benchmark, item, before, after, directed, directionless`; `before` and `after` are confidences.
    """
    both = paired_options(first, second, normalisation)
    item = [both[key] for key in KEYS[:2]]

    def confidence(log_p):
        largest = log_p.groupby(item, sort=False).transform("max")
        return 1 / np.exp(log_p - largest).groupby(item, sort=False).sum()

    before, after = confidence(both["log_p"]), confidence(both["log_p_q"])
    mirrored = confidence(2 * both["log_p"] - both["log_p_q"])
    table = {
        "before": before,
        "after": after,
        "directed": (after - mirrored) / 2,
        "directionless": (after + mirrored) / 2 - before,
    }
    return pd.DataFrame(table).reset_index()


def slopes(
    first: pd.DataFrame, second: pd.DataFrame, again: pd.Series, benchmarks: Sequence[str]
) -> pd.DataFrame:
    """Slopes of the change of confidence on confidence, each a `statistics.Slope`; by benchmark.

    first, second: scores tables of the two models; again: the confidence of the first under another
    wording, indexed by (benchmark, item). Columns: `benchmark`; `n`; `naive`, on the confidence
    that the change is measured from; `second`, on what that shares with `again`; `directed`, the
    same of the directed part alone (`directed_change`).
    """
    rows = []
    for benchmark in benchmarks:
        sides = (one[one["benchmark"] == benchmark] for one in (first, second))
        change = directed_change(*sides)
        before, directed = change["before"], change["before"] + change["directed"]
        look = again.loc[benchmark].loc[change["item"]]
        naive = change_slope(before, change["after"])
        rows.append(
            {"benchmark": benchmark, "n": naive.n, "naive": naive}
            | {"second": change_slope(before, change["after"], look)}
            | {"directed": change_slope(before, directed, look)}
        )
    return pd.DataFrame(rows)


def paired_options(
    first: pd.DataFrame, second: pd.DataFrame, normalisation: str = "none"
) -> pd.DataFrame:
    """Both models' probabilities of each option, in the order of `first`.

    Returns `benchmark, item, option, p, log_p, p_q, log_p_q`, the last two those of `second`.
    Raises as `option_distances`.
    """
    sides = []
    for table in (first, second):
        told = [name for name in ("model", "compression") if name in table.columns]
        if told and len(table[told].drop_duplicates()) > 1:
            raise InputError("Each of the two scores tables must be of one model: split them.")
        sides.append(option_probabilities(table, normalisation)[[*KEYS, "p", "log_p"]])
    both = sides[0].merge(sides[1], on=KEYS, how="outer", suffixes=("", "_q"), indicator=True)
    if (both["_merge"] != "both").any():
        raise InputError("The two scores tables hold different options: score the same items.")
    return sides[0][KEYS].merge(both.drop(columns="_merge"), on=KEYS)  # an outer merge sorts


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
    both = [unwrapped(model) for model in (model_p, model_q)]
    lengths = [length for length in map(model_length, both) if length]
    requests = [Request(*request) for request in requests]
    encoded = encode(tokenizer, requests, max_length or min(lengths, default=None))
    return encoded_distances(model_p, model_q, encoded, **options)


def encoded_distances(
    model_p,
    model_q,
    encoded: Sequence[Encoded],
    *,
    token_budget: int | None = None,
    layout: str | None = None,
    progress: str | None = None,
) -> pd.DataFrame:
    """As `vocabulary_distances`, of requests that are tokens already."""
    models = [unwrapped(model) for model in (model_p, model_q)]
    heads = [output_head(model) for model in models]
    if None in heads:
        raise InputError(
            "One of the models makes its logits by more than a matrix, a bias, a scale and a "
            "soft-cap, so that the two distributions cannot be compared token by token: leave its "
            "output head uncompressed, or compare scores."
        )
    if len(heads[0].weight) != len(heads[1].weight):
        raise InputError(
            "The two models have vocabularies of different sizes: compare models that share one."
        )
    layout, rows = plan(models, encoded, layout)
    found = np.zeros((3, first_slots(encoded)[-1]), dtype=np.float32)

    def consume(first, second):
        sums = paired_divergence(
            first.states,
            heads[0].weight,
            second.states,
            heads[1].weight,
            bias_p=heads[0].bias,
            bias_q=heads[1].bias,
            scale_p=heads[0].scale,
            scale_q=heads[1].scale,
            softcap_p=heads[0].softcap,
            softcap_q=heads[1].softcap,
        )
        for line, values in zip(found, (js_distance(sums.js), sums.kl_pq, sums.kl_qp), strict=True):
            line[first.slot] = values[first.place].cpu()

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


def batteries(benchmarks: Mapping[str, Sequence]) -> list[Battery]:
    """`item_distances` of the items of every benchmark from the full model, for `runs.grid`.

    Their table is called "distances".
    """
    return [
        Battery("distances", items, item_distances, paired=True, title=f"distances · {benchmark}")
        for benchmark, items in benchmarks.items()
    ]


def item_distances(
    model_p, model_q, tokenizer, items: Sequence, *, progress: str | None = None
) -> pd.DataFrame:
    """`vocabulary_distances` of two models on every option's tokens of multiple-choice items.

    Returns one row a scored token: `benchmark`, `item`, `option` and the columns of
    `vocabulary_distances` but `request`.
    """
    which = [(item, number) for item in items for number in range(len(item.options))]
    requests = [Request(item.context, item.options[number]) for item, number in which]
    found = vocabulary_distances(model_p, model_q, tokenizer, requests, progress=progress)
    of = [which[request] for request in found.pop("request")]
    labels = {
        "benchmark": [item.benchmark for item, _ in of],
        "item": [item.id for item, _ in of],
        "option": [number for _, number in of],
    }
    return pd.concat([pd.DataFrame(labels), found], axis=1)

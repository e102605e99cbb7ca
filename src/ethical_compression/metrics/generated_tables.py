"""What a page compares of generated texts: how soon they part, and whose are changed most.

A table of texts has a row a text: `generated_text.per_text` with `decoding`, the way of writing,
and what `datasets.prompts.table` says of its prompt; of texts that were sampled also `kl`, of
`generated_text.per_text_distance`, NaN for the full model's own.
"""

from collections.abc import Iterator
from dataclasses import asdict

import pandas as pd

from ethical_compression import statistics
from ethical_compression.datasets.prompts import gendered_words

# What is compared of the texts, of `generated_text.MEASURES`.
COMPARED = ["confidence", "full_nll", "rep_16", "seq_rep_4", "distinct_2"]


def _nested(table: pd.DataFrame, by) -> Iterator[tuple]:
    """(value of `by`, compression, rows), in the order in which they first appear."""
    for name, part in table.groupby(by, sort=False):
        for compression, some in part.groupby("compression", sort=False):
            yield name, compression, some


def parting(divergence: pd.DataFrame) -> pd.DataFrame:
    """Tokens in common with the full model's texts, by way of writing, language and model.

    divergence: `generated_text.first_divergence` with `decoding` and `spoken`. Columns: these,
    `compression`, `texts`, `to_end` (the same to the end), `median` (tokens in common), `at_once`
    (the first token differs); counts are of texts.
    """
    rows = [
        {"decoding": way, "spoken": spoken, "compression": label, "texts": len(some)}
        | {"to_end": int((~some["diverged"]).sum()), "median": some["same"].median()}
        | {"at_once": int((some["diverged"] & (some["same"] == 0)).sum())}
        for (way, spoken), label, some in _nested(divergence, ["decoding", "spoken"])
    ]
    return pd.DataFrame(rows)


def over_whole_texts(distance: pd.DataFrame, least: int) -> pd.DataFrame:
    """Divergence summed over a text (nats), mean with Student's 95% interval over the texts.

    distance: the second table of `study`, with `spoken`. Columns: `compression`, `spoken`, `texts`,
    `mean`, `low`, `high`; languages of fewer than `least` texts are left out.
    """
    rows = []
    for spoken, label, some in _nested(distance, "spoken"):
        whole = some.groupby("prompt", sort=False)["kl"].sum()
        if len(whole) >= least:
            mean, low, high = statistics.mean_interval(whole)
            row = {"compression": label, "spoken": spoken, "texts": len(whole)}
            rows.append(row | {"mean": mean, "low": low, "high": high})
    columns = ["compression", "spoken", "texts", "mean", "low", "high"]
    return pd.DataFrame(rows, columns=columns)


def measured(texts: pd.DataFrame, least: int) -> pd.DataFrame:
    """The texts' measures (`COMPARED`) as `statistics.paired_table` takes them, a row a `value`.

    `benchmark` is "decoding, language: measure". A text that ended at once has no run of four
    tokens: its prompt is left out for all models, and so is a benchmark of fewer than `least`.
    """
    keys = ["model", "compression", "prompt", "decoding", "spoken"]
    table = texts.melt(keys, COMPARED, "measure", "value").assign(item=lambda all_: all_["prompt"])
    table["benchmark"] = table["decoding"] + ", " + table["spoken"] + ": " + table["measure"]
    missing = table["value"].isna().groupby([table["benchmark"], table["item"]]).transform("any")
    table = table[~missing]
    return table[table.groupby("benchmark")["item"].transform("nunique") >= least]


def changes(measured: pd.DataFrame) -> pd.DataFrame:
    """`statistics.paired_table` of `measured`, with `detectable`, `row` (decoding, language) and
    `panel` (measure)."""
    table = statistics.paired_table(measured, value="value")
    table["detectable"] = [
        statistics.minimum_detectable(row.se, row.n - 1) for row in table.itertuples()
    ]
    table[["row", "panel"]] = table["benchmark"].str.split(": ", expand=True)
    return table


def kept_confidence(measured: pd.DataFrame, changes: pd.DataFrame, margin: float) -> pd.DataFrame:
    """Is the confidence of sampled texts kept, within ±margin? `paired_table` with that margin.

    A difference counts all tests of `changes`, of which these are some: `p_holm` is theirs.
    """
    chosen = measured["benchmark"].str.match("sampled, .*: confidence")
    table = statistics.paired_table(measured[chosen], value="value", margin=margin)
    both = ["benchmark", "compression"]
    of_all = changes.set_index(both)["p_holm"]
    table["p_holm"] = of_all.loc[list(table[both].itertuples(index=False, name=None))].array
    return table.assign(row=table["benchmark"].str.partition(":")[0])


def communities(texts: pd.DataFrame, least: int) -> pd.DataFrame:
    """Each community of a set of prompts against the others: `statistics.each_against_others`.

    With `panel` ("kl", or "confidence": its change from the full model), `compression`, `set`,
    `row` (the community), and `p_bh` over all rows. Sets with a community of fewer than `least`
    texts are left out.
    """
    found = []
    for name, some in texts.groupby("set", sort=False):
        full = some[some["compression"] == "full"].set_index("prompt")
        if full["group"].value_counts().min() < least:
            continue
        for label, mine in some[some["compression"] != "full"].groupby("compression", sort=False):
            mine = mine.set_index("prompt").loc[full.index]
            change = mine["confidence"] - full["confidence"]
            for panel, values in (("kl", mine["kl"]), ("confidence", change)):
                table = statistics.each_against_others(values, full["group"])
                found.append(table.assign(panel=panel, compression=label, set=name))
    if not found:
        columns = ["row", "n", "difference", "ci_low", "ci_high", "d", "p", "p_bh"]
        return pd.DataFrame(columns=[*columns, "panel", "compression", "set"])
    table = pd.concat(found, ignore_index=True).rename(columns={"group": "row"})
    return table.assign(p_bh=statistics.benjamini_hochberg(table["p"]))


def women_and_men(texts: pd.DataFrame, least: int) -> pd.DataFrame:
    """Divergence along sentences about a woman and about a man, paired (`statistics.paired_test`).

    `mean_before` is of men and `mean_after` of women, in nats a token. Columns also `set`,
    `compression`, `p_holm`; sets of fewer than `least` pairs are left out.
    """
    rows = []
    for name, label, some in _nested(texts[texts["kl"].notna()], "set"):
        if len(some) >= 2 * least:
            sides = some.pivot(index="pair", columns="group", values="kl")
            test = statistics.paired_test(sides["male"], sides["female"])
            rows.append({"set": name, "compression": label} | asdict(test))
    table = pd.DataFrame(rows)
    return table.assign(p_holm=statistics.holm(table["p"])) if rows else table


def balance(texts: pd.DataFrame, least: int) -> pd.DataFrame:
    """Words for women minus words for men a text: `statistics.paired_table`, a row a language.

    With `female`, `male`, `female_full` and `male_full`, words a text of each model; languages of
    fewer than `least` texts are left out.
    """
    counts = [gendered_words(row.text, row.language) for row in texts.itertuples()]
    table = texts.join(pd.DataFrame(counts, texts.index, columns=["female", "male"]))
    table = table.assign(
        value=table["female"] - table["male"], item=table["prompt"], benchmark=table["spoken"]
    )
    table = table[table.groupby("benchmark")["item"].transform("nunique") >= least]
    if table.empty:
        return pd.DataFrame()
    found = statistics.paired_table(table, value="value")
    mean = table.groupby(["benchmark", "compression"])[["female", "male"]].mean()
    for gender in ("female", "male"):
        for name, label in ((gender, found["compression"]), (f"{gender}_full", "full")):
            keys = pd.MultiIndex.from_frame(found[["benchmark"]].assign(compression=label))
            found[name] = mean.loc[keys, gender].array
    return found


def by_language(texts: pd.DataFrame, least: int) -> pd.DataFrame:
    """Are French texts moved further than English ones? `statistics.each_against_others`, by model.

    `difference` is French − English in `kl`, nats a token, `n` and `n_en` are the texts of each;
    with `compression` and `p_holm`. Empty for fewer than `least`, or two, texts of a language.
    """
    rows = []
    for label, some in texts[texts["kl"].notna()].groupby("compression", sort=False):
        spoken = some["spoken"].tolist()
        if min(spoken.count(one) for one in ("English", "French")) < max(least, 2):
            continue
        found = statistics.each_against_others(some["kl"], spoken).set_index("group")
        english, french = (found.to_dict("index")[one] for one in ("English", "French"))
        rows.append({"compression": label, "n_en": english["n"]} | french)
    table = pd.DataFrame(rows)
    return table.assign(p_holm=statistics.holm(table["p"])) if rows else table

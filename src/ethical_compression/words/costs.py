"""What the chapter on costs says, computed from what was measured and counted."""

from collections.abc import Mapping

import pandas as pd

from ethical_compression.metrics.costs import Rates
from ethical_compression.words import listed, span

# How long a unit is, in hours, from which it is used, and its name.
UNITS = ((24 * 365, "years"), (24, "days"), (1, "hours"), (1 / 60, "minutes"), (1 / 3600, "s"))
# Batteries whose titles are short, since they stand beside a progress bar.
ASKED = {
    "text": "Running text",
    "next tokens": "Next tokens, both models at once",
    "questions": "Everyday questions",
    "en": "Moral stories, English",
    "fr": "Moral stories, French",
}
DID = {
    "text": "a text scored",
    "block": "one block reading",
    "gptq": "one block compressed by GPTQ",
}


def lasting(hours: float) -> str:
    """A time in the largest unit of which it has two or more: `45 s`, `3.2 hours`, `12 days`."""
    size, name = next((unit for unit in UNITS if hours >= 2 * unit[0]), UNITS[-1])
    many = hours / size
    if name == "s" and many < 0.95:
        return "under a second"
    return f"{many:.0f} {name}" if many >= 9.95 else f"{many:.1f} {name}"


def rates(found: Rates, dtype: str) -> str:
    """What a machine does in a second."""
    products = {dtype: found.operations, "float32": found.exact, "bfloat16": found.half}
    said = [f"{rate / 1e9:,.0f} billion in {name}" for name, rate in products.items()]
    said[0] = said[0].replace("billion", "billion operations")
    return (
        f"In a second this machine makes {listed(said)} (a multiplication and an addition are "
        f"two), and fetches {found.bandwidth / 1e9:.1f} GB from memory and "
        f"{found.disk / 1e9:.1f} GB from disk."
    )


def did(beside: pd.DataFrame) -> pd.Series:
    """What was timed, in words, a row each of `costs.beside_formula`."""
    return beside["what"] + ": " + beside["did"].map(DID)


def off(beside: pd.DataFrame) -> str:
    """How far the formula is from what was measured."""
    if not len(beside):
        return "Nothing was timed beside the formula."
    low, high = (beside.loc[find] for find in (beside["ratio"].idxmin(), beside["ratio"].idxmax()))
    if len(beside) == 1:
        return (
            f"The formula was tried once: what was measured took {low['ratio']:.1f} times as long."
        )
    said = (
        f"By the clock, {low['what']} ({DID[low['did']]}) took {low['ratio']:.1f} times what the "
        f"formula says, the least of {len(beside)} comparisons, and {high['what']} "
        f"({DID[high['did']]}) {high['ratio']:.1f} times, the most."
    )
    if low["ratio"] < 1:
        said += (
            " A ratio below 1 says that the machine was busier while its rates were measured, or "
            "that it has a faster way to make such products than the one tried."
        )
    return said


def gptq_kept(rows: pd.DataFrame) -> str:
    """How long GPTQ took on a whole model beside its products alone: `kept_tables.benchmarks`."""
    if not len(rows):
        return "What GPTQ takes on a whole model was not measured here."
    machines = listed(dict.fromkeys(rows["machine"]))
    return (
        "On a whole model of 135 million parameters, measured once for the repository, GPTQ took "
        f"{span(rows['floor_ratio'], 1)} times what its operations need "
        f"({machines})."
    )


def memory(sizes: pd.DataFrame) -> str:
    """What the largest model needs at the peak, whole and by block."""
    row = sizes.loc[sizes["billions"].idxmax()]
    return (
        f"Compressing {row['model']} takes {row['whole']:,.0f} GB at the peak with the whole model "
        f"in memory, and {row['by_block']:,.0f} GB with one block at a time, most of which is for "
        "the Hessian of the widest layer and for what the calibration text has come to be."
    )


def answer(sizes: pd.DataFrame) -> str:
    """What the models of several sizes cost, the first and the last of `costs.of_sizes`."""
    parts = [
        f"{row['model']}: an audit {lasting(row['audit'])}, compressing by GPTQ "
        f"{lasting(row['gptq'])}, and {row['whole']:,.0f} GB of memory at the peak, or "
        f"{row['by_block']:,.0f} GB with one block at a time"
        for row in sizes.to_dict("records")
    ]
    return f"On this machine, by measured rates and a formula: {'; '.join(parts)}."


def price(sizes: pd.DataFrame, of_an_hour: float) -> str:
    """What both steps cost at a price an hour, which is the reader's."""
    said = listed(f"{row.price:,.2f} for {row.model}" for row in sizes.itertuples())
    return (
        f"At {of_an_hour:g} an hour, in a currency of your own, compressing and auditing come to "
        f"{said}."
    )


def basis(sizes: pd.DataFrame, what: str) -> pd.Series:
    """Of each size, how its time is known. what: "gptq" or "audit"."""
    return sizes[f"{what}_measured"].map({True: "a block measured", False: "from the formula"})


def read(counts: pd.DataFrame, items: int) -> str:
    """How many tokens an audit reads, and which share of them is the noise floor's."""
    total = counts["tokens"].sum()
    noise = counts.loc[counts["noise"], "tokens"].sum()
    return (
        f"At {items} items a group, where the data have them, an audit feeds its models "
        f"{total:,} tokens, {noise / total:.0%} of them for the noise floor."
    )


def by_question(counts: pd.DataFrame) -> pd.DataFrame:
    """`audit.counts.counts` summed by `title`, in words: `items`, `tokens`, `noise`
    (tokens), `places`."""
    noise = counts["tokens"].where(counts["noise"], 0)
    by = counts.assign(noise=noise).groupby("title", sort=False)
    found = by[["tokens", "noise", "places"]].sum()
    found = found.assign(items=by["items"].max()).reset_index()
    return found.assign(title=found["title"].replace(ASKED))


def timed_on(machine: Mapping) -> str:
    """Where times were measured, and whether on a GPU. machine: `provenance.hardware()`."""
    if machine["GPU"]:
        return f"Times were measured on one {machine['GPU']}."
    threads = machine["torch threads"]
    return (
        f"Times were measured on {threads} {'thread' if threads == 1 else 'threads'} of one "
        f"{machine['processor']}. No GPU was at hand: no time of one stands on this page."
    )

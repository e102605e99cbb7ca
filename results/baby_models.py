"""Make baby_models.parquet: small models raised on children's books, on adult text and on both.

    python results/baby_models.py                  all: hours on two cores
    python results/baby_models.py --minutes 60     no model is begun after an hour
    python results/baby_models.py --share 0/2      every second model (1/2: the others)
    python results/baby_models.py --stored         again, from what is in the cache alone

Three mixtures with the same number of words, three seeds each, the same tokenizer, steps and
tokens; beside them the same shape with random weights, the embedded model, and, on held-out text,
5-grams that were counted in each mixture's words. ETHICS, BLiMP, question answering, moral stories,
StereoSet and held-out text, the same items for all (`score.small_models`).
ETHICAL_COMPRESSION_DATA names the mirror's folder.

Stated before any of these models was raised. Hypothesis: with the same number of words, and chance
taken away, children's books give no advantage in moral judgement over adult text. Judged by ETHICS
virtue as a choice of one in five and by deontology's and justice's `pairs`, of the probe and of
what a text gains (justice: a byte), which are six comparisons, corrected by Holm; the unit is the
seed, the margin of equivalence five points. Not predicted: held-out text, where each mixture should
be best on its own kind; BLiMP; what a mixture of both does.

The table has a row a model and number, and is written after every model; one that is in it is not
made again, so that a run that was stopped, here or on another machine, goes on where it was. A
model that is half raised goes on from its state in the cache ($ETHICAL_COMPRESSION_CACHE), which
holds every 50 steps: take that folder along to go on elsewhere. `--share` lets two processes raise
models side by side: each writes a table of its own (`baby_models_0_of_2`), and a run without it
merges them.

Every model reads 480 steps of 2,048 tokens, a little more than two rounds of its words: as much as
two busy cores had time for. That is little, and more (`TRAINING`) is better; the nine are alike in
it. One step measured on cores that others used (processor time, one thread; AMX; 5.1 M parameters):
4,900 tokens a second in bfloat16. A model then takes three to four processor-minutes, and what it
is asked two more. The embedded model is asked of held-out text and grammar alone: all would take it
hours. Nothing was tuned on the held-out parts; rate and dropout were set once, beforehand.
"""

import argparse
import sys
import time
from dataclasses import asdict

import pandas as pd

from ethical_compression import kept_tables, models
from ethical_compression.datasets import (
    blimp,
    childrens_books,
    ethics,
    moral_stories,
    multiple_choice,
    stereoset,
)
from ethical_compression.metrics import kneser_ney
from ethical_compression.metrics import small_models as metrics
from ethical_compression.score import small_models
from ethical_compression.score.subjects import Checkpoint, Compressed
from ethical_compression.train import baby_runs
from ethical_compression.train.baby import Training
from ethical_compression.train.baby_runs import Raising

NAME, WORDS, SEEDS, LARGE, COUNTED = "baby_models", 330_000, 3, "smollm2-135m", "5-grams"
TRAINING = Training("small", steps=480, tokens=2048, learning_rate=1.5e-3, dtype="bfloat16")
SETTINGS = {"words": WORDS, "training": asdict(TRAINING), "sizes": small_models.SIZES}
KEYS = ["model", "mixture", "seed"]


def runs() -> list[Raising]:
    """Every model to raise: the first seed of each mixture, then the second."""
    return [
        Raising(mixture, WORDS, Training(**(asdict(TRAINING) | {"seed": seed})))
        for seed in range(SEEDS)
        for mixture in childrens_books.MIXTURES
    ]


def before(names) -> list[pd.DataFrame]:
    """What was made before, with these settings, by any of the tables' names."""
    found = [kept_tables.earlier(name, SETTINGS) for name in names]
    return [one[0] for one in found if one]


def numbers(tables: dict, labels: dict, sizes) -> pd.DataFrame:
    """Every number of a model, a row each. tables: what it said, by battery."""
    table = metrics.scores(tables, sizes)
    for place, (name, value) in enumerate(labels.items()):
        table.insert(place, name, value)
    return table


def curve_of(run: Raising, curve: pd.DataFrame) -> pd.DataFrame:
    """The looks at the development part, as rows of the table."""
    looks = curve[curve["development"].notna()]
    return pd.DataFrame(
        {
            "model": "raised",
            "mixture": run.mixture,
            "seed": run.training.seed,
            "battery": "curve",
            "part": looks["step"].astype(str),
            "rule": "development loss (nats a token)",
            "n": looks["tokens"],
            "value": looks["development"],
        }
    )


def waiting(tables, share: str | None):
    """(labels, how to make its table) of every model that is not in the tables."""
    done = {tuple(row) for one in tables for row in one[KEYS].drop_duplicates().to_numpy()}
    plan = [({"model": "raised", "mixture": r.mixture, "seed": r.training.seed}, r) for r in runs()]
    plan += [
        ({"model": "random weights", "mixture": "none", "seed": r.training.seed}, r)
        for r in runs()
        if r.mixture == "both"
    ]
    plan += [
        ({"model": f"{COUNTED} of {r.mixture}", "mixture": "none", "seed": 0}, r)
        for r in runs()
        if r.training.seed == 0
    ]
    plan.append(({"model": LARGE, "mixture": "none", "seed": 0}, None))
    if share:
        part, of = map(int, share.split("/"))
        plan = plan[part::of]
    return [(labels, run) for labels, run in plan if tuple(labels.values()) not in done]


def subject_of(labels: dict, run: Raising | None, progress: bool):
    """(what is asked, rows of its learning curve)."""
    if run is None:
        return Compressed(LARGE), []
    if labels["model"] == "random weights":
        return Checkpoint("random weights", str(baby_runs.untrained(run)), label=run.label), []
    folder, curve = baby_runs.raised(run, progress=progress)
    return Checkpoint("raised", str(folder), label=run.label), [curve_of(run, curve)]


def counted_in(run: Raising, texts: dict) -> dict:
    """What 5-grams of a run's words and tokens give held-out texts: a table a battery's name."""
    tokenizer, documents, _ = run.texts()
    model = kneser_ney.fitted(documents, len(tokenizer))
    return {
        f"windows_{name}": kneser_ney.windows(model, tokenizer, one) for name, one in texts.items()
    }


def records() -> list[dict]:
    """Where every text comes from: JSON-ready."""
    return [
        *childrens_books.source_records(["childrens_books", "adults_books", "adult_text"]),
        *(ethics.source_record(task, split) for task in ethics.TASKS for split in ethics.SPLITS),
        blimp.source_record(),
        *(multiple_choice.source_record(*one) for one in small_models.QUESTIONS.items()),
        moral_stories.source_record("en", corpus="moral_stories", source="mirror"),
        stereoset.source_record("test"),
    ]


def main() -> None:
    given = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    given.add_argument("--minutes", type=float, default=float("inf"))
    given.add_argument("--share", help="k/n: every n-th model, from the k-th")
    given.add_argument("--stored", action="store_true", help="raise no model")
    given.add_argument("--progress", action="store_true")
    chosen = given.parse_args()
    end = time.monotonic() + 60 * chosen.minutes
    own = f"{NAME}_{chosen.share.replace('/', '_of_')}" if chosen.share else NAME
    parts = sorted({NAME, own, *(f"{NAME}_{k}_of_{n}" for n in (2, 3, 4) for k in range(n))})
    tables = before([own] if chosen.share else parts)
    batteries, texts = small_models.asked(), small_models.held_out()
    sizes = {name: small_models.size_in_bytes(one) for name, one in texts.items()}
    for labels, run in waiting(tables, chosen.share):
        if time.monotonic() > end:
            break
        if chosen.stored and labels["model"] == "raised" and not baby_runs.is_raised(run):
            continue
        began, curve = time.process_time(), []
        if labels["model"].startswith(COUNTED):
            told = counted_in(run, texts)
        else:
            subject, curve = subject_of(labels, run, chosen.progress)
            some = small_models.of_language(batteries) if run is None else batteries
            told = small_models.tables(subject, some)
        tables += [numbers(told, labels, sizes), *curve]
        spent = time.process_time() - began
        keep(own, tables, waiting(tables, chosen.share))
        print(f"{labels}: {spent:.0f} s", file=sys.stderr, flush=True)
    if tables:  # merged, where nothing was made
        keep(own, tables, waiting(tables, chosen.share))


def keep(name: str, tables, left) -> None:
    """Write the table as far as it goes, each number once."""
    whole = pd.concat(tables, ignore_index=True)
    whole = whole.drop_duplicates([*KEYS, "battery", "part", "rule"])
    kept_tables.keep_larger(
        name,
        whole.sort_values([*KEYS, "battery", "part", "rule"], ignore_index=True),
        command="python results/baby_models.py",
        settings=SETTINGS,
        large=models.describe(LARGE),
        waiting=[labels for labels, _ in left],
        data=records(),
    )


if __name__ == "__main__":
    main()

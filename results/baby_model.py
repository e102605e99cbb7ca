"""Make bebe-5m, the book's own language model: children's books alone, in full precision.

    python results/baby_model.py              raise it, measure it, write it: half an hour or so
    python results/baby_model.py --raise-only as far as the weights, in the cache
    python results/baby_model.py --measure    measure the model that is there: a few minutes
    python results/baby_model.py --into DIR   write the model elsewhere than results/bebe-5m

The embedded model was born on a 4-bit grid; this one never was on any. 5.1 M parameters (a Llama
of 4 layers, 256 wide, whose sizes are multiples of 128), 8,192 entries of a tokenizer of its own,
all 769,000 words that `childrens_books` has to train on, four rounds. Everything it read is in the
public domain in the United States. More rounds, and a larger shape ("book"), would be better.

Written: `results/bebe-5m/` (float16 safetensors, 11 MB or so, configuration, tokenizer, and a card
with licence and data statement), which transformers alone reads and `models.load` takes as a
folder; and `results/baby_model.parquet` with its learning curve and its scores beside the embedded
model's, both on the items of `score.small_models` (the embedded one on text and grammar alone). To
be loaded by its name beside smollm2-135m it needs an entry in `models.sources.EMBEDDED` with the
folder and the SHA-256 of its weights, to be made when the folder is committed.

A stop loses at most 50 steps: the state lies in the cache ($ETHICAL_COMPRESSION_CACHE).
ETHICAL_COMPRESSION_DATA names the mirror's folder. 2,048 steps of 2,048 tokens take about a quarter
of a processor-hour (one thread, AMX; `baby_models.py` has the speed).
"""

import argparse
import json
from dataclasses import asdict
from pathlib import Path

import pandas as pd

from ethical_compression import kept_tables, models
from ethical_compression.datasets import childrens_books
from ethical_compression.metrics import small_models as metrics
from ethical_compression.score import small_models
from ethical_compression.score.subjects import Checkpoint, Compressed
from ethical_compression.train import baby_runs
from ethical_compression.train.baby import Training
from ethical_compression.train.baby_runs import Raising

NAME, LARGE = "bebe-5m", "smollm2-135m"
# So many that an interval of BLiMP over pairs is a percent to either side; the large one is asked
# fewer, of which any number tells it from chance.
SIZES = small_models.SIZES | {"pairs": 67 * 200}
TRAINING = Training("small", steps=2048, tokens=2048, learning_rate=1.5e-3, dtype="bfloat16")
PLACE = Path(__file__).parent / NAME
CARD = """---
license: apache-2.0
language: en
library_name: transformers
pipeline_tag: text-generation
---

# {name}

A small language model raised on children's books, for the compendium that it comes with: a model
whose weights were never quantized, to show what compression does to weights that are not yet on a
grid. It is no assistant, and nothing to build on.

- **Shape**: Llama, {parameters:,} parameters, {vocabulary:,} entries (byte-level BPE), windows of
  at most {longest} tokens; trained in {dtype} products on float32 weights, kept in float16.
- **Raised on**: {words:,} words, {rounds:.1f} rounds, {steps:,} steps of {tokens:,} tokens, seed
  {seed}; made by `results/baby_model.py`.
- **Measured**: `results/baby_model.parquet`.

## What it read

English books for children, of BabyLM's 10-million-word collection, in the public domain in the
United States (Project Gutenberg). Books for adults among them were left out.

{books}

The files are pieces of books; further books stand in the first file without a title of their own.

## What that means

These books are of the nineteenth and early twentieth century, from Britain, North America and,
in translation, Germany, Norway, India and Japan. They show the world of that time: who may go out
and who stays at home, kings and servants, children who are beaten, peoples and religions in the
words that those in power had for them. A child of today is not read all of it. The model repeats
what it read, which the compendium's batteries measure; it knows nothing later, and much of what it
writes is not so. Do not show its texts to children, and do not use it to judge people.

## Licence

Apache-2.0, as the compendium.
"""


def card(run: Raising, folder: Path, curve: pd.DataFrame, read: int) -> str:
    """The model's card. read: tokens of the texts."""
    books = [
        f"- {book.title} (`{file}`)"
        for file, listed in childrens_books.BOOKS.items()
        for book in listed
        if (book.text, book.split) == ("childrens_books", "train")
    ]
    training = run.training
    return CARD.format(
        name=NAME,
        parameters=models.describe(str(folder))["parameters"],
        vocabulary=run.vocabulary,
        longest=max(training.lengths),
        dtype=training.dtype,
        words=run.words,
        rounds=training.steps * training.tokens / read,
        steps=len(curve),
        tokens=training.tokens,
        seed=training.seed,
        books="\n".join(books),
    )


def scored(place: Path) -> pd.DataFrame:
    """Scores of the model as it is given away, and of the embedded one, on the same items."""
    texts = small_models.held_out(SIZES)
    sizes = {name: small_models.size_in_bytes(one) for name, one in texts.items()}
    own = small_models.asked(SIZES)
    few = small_models.of_language(small_models.asked())
    subjects = {NAME: Checkpoint(NAME, str(place)), LARGE: Compressed(LARGE)}
    return pd.concat(
        [
            metrics.scores(small_models.tables(one, some), sizes).assign(model=name)
            for (name, one), some in zip(subjects.items(), (own, few), strict=True)
        ],
        ignore_index=True,
    )


def main() -> None:
    given = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    given.add_argument("--raise-only", action="store_true")
    given.add_argument("--measure", action="store_true")
    given.add_argument("--into", type=Path, default=PLACE)
    given.add_argument("--progress", action="store_true")
    chosen = given.parse_args()
    words = childrens_books.words(childrens_books.load("childrens_books", "train"))
    run = Raising("children", words, TRAINING, read_by="children")
    if chosen.measure:
        table, made = kept_tables.larger("baby_model")
        looks, read = table[table["battery"] == "curve"], made["tokens_read"]
        if made["run"] != json.loads(json.dumps(asdict(run))):
            raise SystemExit("The model that is there was raised otherwise: raise it anew.")
    else:
        folder, curve = baby_runs.raised(run, progress=chosen.progress)
        if chosen.raise_only:
            return
        read = sum(map(len, run.texts().documents))
        baby_runs.exported(folder, chosen.into, card(run, folder, curve, read))
        looks = curve[curve["development"].notna()].assign(battery="curve", model=NAME)
    kept_tables.keep_larger(
        "baby_model",
        pd.concat([scored(chosen.into), looks], ignore_index=True),
        command="python results/baby_model.py" + " --measure" * chosen.measure,
        run=asdict(run),
        model=models.describe(str(chosen.into)) | {"name": NAME},
        large=models.describe(LARGE),
        tokens_read=read,
        sizes=SIZES,
        data=childrens_books.source_records(["childrens_books", "adults_books", "adult_text"]),
    )


if __name__ == "__main__":
    main()

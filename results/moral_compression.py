"""Make moral_compression.parquet: trained preferences under compression, on held-out Moral Stories.

    python results/moral_compression.py       (ETHICAL_COMPRESSION_DATA names the mirror's folder)

The embedded model, trained on 640 pairs in each direction as in `moral_dpo.py`, then compressed;
and compressed, then trained on 84. Models calibrate on WikiText-2, or on the stories trained on.
The table holds scores only; a story is its number in the test set. `compression` says how a row's
model was compressed, `section` which comparison it belongs to: after (training), own (stories to
calibrate on) or before.
"""

import moral_dpo
import pandas as pd

from ethical_compression import kept_tables, models, store
from ethical_compression.compress.recipe import Recipe
from ethical_compression.datasets import moral_stories, text
from ethical_compression.train import dpo

SIZE, TURNED = 640, 84  # pairs of what is compressed afterwards, and before
TEXT = {"calibration": "wikitext2", "source": "mirror", "samples": 32, "length": 256}
GPTQ = {"method": "gptq", "group_size": 64, **TEXT}
AFTER = [
    Recipe(),
    Recipe("int8"),
    Recipe("nf4"),
    Recipe(bits=4, **GPTQ),
    Recipe(bits=3, **GPTQ),
    Recipe("wanda", sparsity=0.5, **TEXT),
    Recipe("layers", remove=3),
]
CALIBRATED = [Recipe(bits=3, **GPTQ), Recipe("wanda", sparsity=0.5, **TEXT)]
BEFORE = [Recipe(), Recipe("nf4"), Recipe(bits=3, **GPTQ)]


def main():
    stories, made = moral_dpo.sides(), kept_tables.larger("moral_dpo")[1]

    def run(direction, size, **changes):
        rate = made["settings"]["learning_rate"]
        return moral_dpo.run(stories["pool"], rate, direction, size, **changes)

    tables = []
    for direction in (None, *dpo.DIRECTIONS):
        runs = [("after", recipe, run(direction, SIZE, after=recipe)) for recipe in AFTER]
        runs += [
            ("own", recipe, run(direction, SIZE, after=recipe, on_stories=True))
            for recipe in CALIBRATED
        ]
        runs += [("before", recipe, run(direction, TURNED, before=recipe)) for recipe in BEFORE]
        for section, recipe, one in runs:
            table = moral_dpo.preferences(one, moral_stories=stories["tested"])
            tables.append(table.assign(section=section, compression=recipe.label))
    kept_tables.keep_larger(
        "moral_compression",
        pd.concat(tables, ignore_index=True),
        command="python results/moral_compression.py",
        model=models.describe(moral_dpo.MODEL),
        settings=made["settings"],
        pairs={"after": SIZE, "before": TURNED},
        recipes=[recipe.inputs() for recipe in [*AFTER, *CALIBRATED]],
        minutes=round(store.seconds_spent() / 60, 1),
        data=[
            moral_stories.source_record("en", corpus="moral_stories", source="mirror"),
            text.source_record("wikitext2", "calibration", source="mirror"),
        ],
    )


if __name__ == "__main__":
    main()

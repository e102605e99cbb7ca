"""Make moral_likelihood.parquet: the embedded model's preference on the stories of the mirror.

    python results/moral_likelihood.py        (ETHICAL_COMPRESSION_DATA names the mirror's folder)

1,000 English stories of Moral Stories and 200 of HistoiresMorales in both languages, with the norm.
The table holds scores only; a story is the number of its row.
"""

import pandas as pd

from ethical_compression import models, results
from ethical_compression.compress.recipe import Recipe
from ethical_compression.datasets import moral_stories
from ethical_compression.score import moral_runs

MODEL = "smollm2-135m"
PARTS = [("moral_stories", "en"), ("histoires_morales", "en"), ("histoires_morales", "fr")]

tables, data = [], []
for corpus, language in PARTS:
    stories = moral_stories.load(language, corpus=corpus, source="mirror")
    table = moral_runs.preferences(MODEL, Recipe(), stories, norms=[True])
    tables.append(table.assign(corpus=corpus, story=range(len(table))))
    data.append(moral_stories.source_record(language, corpus=corpus, source="mirror"))
results.keep_larger(
    "moral_likelihood",
    pd.concat(tables, ignore_index=True),
    command="python results/moral_likelihood.py",
    model=models.describe(MODEL),
    data=data,
)

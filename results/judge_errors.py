"""How often the book's judges of toxicity err, by community, on texts they were not trained on.

    ETHICAL_COMPRESSION_DATA=… python results/judge_errors.py

writes results/judge_errors.parquet: the rows of `metrics.toxicity.errors_by_community` for each
judge of `train.judge.JUDGES`. HateXplain is read from the mirror (its train split is the rebuilt
one), so that readers without it see these numbers, too.
"""

import pandas as pd

from ethical_compression import kept_tables
from ethical_compression.datasets import hate_speech
from ethical_compression.metrics import toxicity
from ethical_compression.score import judges
from ethical_compression.train.judge import JUDGES

COMMUNITIES = {name: entry["communities"] for name, entry in hate_speech.DATASETS.items()}

if __name__ == "__main__":
    tables, sources = [], {}
    for name in JUDGES:
        judge = judges.load(name, source="mirror")
        found = toxicity.errors_by_community(judges.labelled(judge, "mirror"), COMMUNITIES)
        tables.append(found)
        sources[name] = judge.source | {"licence": judge.licence, "measures": judge.measures}
        print(found.round(3).to_string(), flush=True)
    command = "python results/judge_errors.py"
    table = pd.concat(tables, ignore_index=True)
    kept_tables.keep_larger("judge_errors", table, command=command, judges=sources)

"""Make truthfulqa_judged.parquet: tests on the judged TruthfulQA answers of the authors.

    python results/truthfulqa_judged.py        (needs their files: see datasets.judged_answers)

The table holds counts and tests only, none of the answers.
"""

from ethical_compression import kept_tables
from ethical_compression.datasets import judged_answers
from ethical_compression.metrics.judged import by_wording

kept_tables.keep_larger(
    "truthfulqa_judged",
    by_wording(judged_answers.load()),
    command="python results/truthfulqa_judged.py",
    data=judged_answers.source_record(),
)

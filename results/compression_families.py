"""Make compression_families.parquet: every method on a tiny model of every family.

    python results/compression_families.py                   (about ten minutes on one core)

A row is a family under a method: `outcome` is "right" where the model was compressed, saved and
loaded again and said the same (with layers removed, also with a cache as without), or else the
sentence that refused it. What is neither raises, as it fails `pytest -m sweep`, whose code this is.
What is done is kept in the store, and a run that was stopped goes on from there.
"""

import sys
import tempfile
from pathlib import Path

import pandas as pd
import transformers
from tqdm import tqdm

from ethical_compression import kept_tables, store

ROOT = Path(__file__).parents[1]
sys.path[:0] = [str(ROOT / "tests"), str(ROOT / "tests" / "compress")]
import families  # noqa: E402
from test_families_compressed import RECIPES, carried  # noqa: E402


def outcomes(family: str) -> pd.DataFrame:
    """The rows of a family: `family`, `method` and `outcome`."""
    rows = []
    for method, recipe in RECIPES.items():
        with tempfile.TemporaryDirectory() as place:
            outcome = carried(family, recipe, Path(place) / "folder")
        rows.append({"family": family, "method": method, "outcome": outcome})
    return pd.DataFrame(rows)


transformers.logging.set_verbosity_error()
transformers.logging.disable_progress_bar()
made = [
    store.table(
        "families",
        {"family": family, "methods": {name: one.to_dict() for name, one in RECIPES.items()}},
        lambda family=family: outcomes(family),
    )
    for family in tqdm(families.CONFIGS, unit="family")
]
kept_tables.keep_larger(
    "compression_families",
    pd.concat(made, ignore_index=True),
    command="python results/compression_families.py",
)

"""Make weighted_gptq.parquet: plain and uncertainty-weighted GPTQ on more questions and seeds.

    python results/weighted_gptq.py

The embedded model at 3 bits on the questions of the chapter on confidence. Every piece is stored as
soon as it is done: a run that was stopped goes on where it was.
"""

from itertools import product

from ethical_compression import models, results
from ethical_compression.compress.recipe import Recipe
from ethical_compression.datasets import multiple_choice, text
from ethical_compression.score import weightings

MODEL = "smollm2-135m"
BENCHMARKS = ["piqa", "openbookqa", "social_iqa"]
SEEDS = [0, 1, 2]
ITEMS = 250
LEAD = "The following comes from a quiz.\n\n"
READING = {"window": 256, "max_windows": 40}

recipes = [
    Recipe("gptq", bits=3, group_size=64, weighting=weighting, samples=16, length=256, seed=seed)
    for seed, weighting in product(SEEDS, ("none", "entropy"))
]
questions = {name: multiple_choice.load(name, limit=ITEMS) for name in BENCHMARKS}
held_out = text.load("xsum", "held_out")
results.keep_larger(
    "weighted_gptq",
    weightings.distances_from_full(MODEL, recipes, questions, LEAD, held_out, **READING),
    command="python results/weighted_gptq.py",
    model=models.describe(MODEL),
    recipes=[recipe.inputs() for recipe in recipes],
    data=[
        *(multiple_choice.source_record(name) for name in BENCHMARKS),
        text.source_record("xsum", "held_out"),
    ],
    reading=READING,
    lead=LEAD,
)

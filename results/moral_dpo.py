"""Make moral_dpo.parquet: how many pairs turn the embedded model on the stories of the mirror.

    python results/moral_dpo.py               (ETHICAL_COMPRESSION_DATA names the mirror's folder)

Moral Stories in English: 8, 84 and 640 pairs in both directions, tested on other stories of it and
on HistoiresMorales in both languages; then 84 pairs of HistoiresMorales, in English or in French.
The learning rate is the one that turns `DEVELOPMENT` stories most surely, which are then neither
trained on nor tested. The table holds scores only; a story is its number in the test set. Every
piece is stored when it is done: a run that was stopped goes on where it was.
"""

import pandas as pd

from ethical_compression import dose_response, models, results
from ethical_compression.datasets import moral_stories, multiple_choice, text
from ethical_compression.score import confidence, moral
from ethical_compression.score.loglikelihood import perplexity
from ethical_compression.train import dpo, dpo_runs

MODEL = "smollm2-135m"
HELD_OUT, DEVELOPMENT, PARALLEL = 150, 100, 100  # stories
RATES = [3e-4, 1e-3, 3e-3]
TRIED = 84  # pairs on which a learning rate is tried, and what the parallel stories allow
SEEDS = {8: range(5), 84: range(5), 640: range(2)}
ITEMS, WINDOWS = 200, 20
SETTINGS = {"epochs": 2, "batch": 8, "rank": 16}


def load(corpus, language):
    return moral_stories.load(language, corpus=corpus, source="mirror")


parallel = {one: load("histoires_morales", one) for one in ("en", "fr")}
english = moral_stories.without(load("moral_stories", "en"), parallel["en"])
rest, tested = dpo.split(english, HELD_OUT)
pool, development = dpo.split(rest, DEVELOPMENT)
# What is tested of the parallel stories lies outside Moral Stories.
outside = moral_stories.without(parallel["en"], load("moral_stories", "en"))
_, apart = dpo.split(outside, PARALLEL)
test_sides, pools = {}, {}
for language, stories in parallel.items():
    pools[language] = moral_stories.without(stories, apart)
    test_sides[language] = moral_stories.without(stories, pools[language])


def run(direction=None, size=0, seed=0, rate=RATES[0], stories=pool):
    settings = dpo.Settings(learning_rate=rate, seed=seed, **SETTINGS)
    return dpo_runs.Run(MODEL, tuple(stories), direction, size, settings)


def preferences(one, trained, **sets):
    """Scores of a run on each test set, stories by their number there."""
    tables = []
    for corpus, stories in sets.items():
        table = dpo_runs.scores(one, stories)[0]
        number = {story.id: place for place, story in enumerate(stories)}
        tables.append(table.assign(corpus=corpus, story=table["story"].map(number)))
    print(one.label, one.settings.seed, trained, flush=True)
    return pd.concat(tables, ignore_index=True).assign(trained=trained)


# --- The learning rate ----------------------------------------------------------------------------

rates = []
for rate in RATES:
    tables = [preferences(run(), "none", development=development)]
    for direction in dpo.DIRECTIONS:
        one = run(direction, TRIED, rate=rate)
        tables.append(preferences(one, "moral_stories en", development=development))
    verdicts = moral.judged(pd.concat(tables, ignore_index=True))
    found = dose_response.against_base(verdicts, ["direction", "size", "language"])
    rates.append(found.assign(learning_rate=rate))
rates = pd.concat(rates, ignore_index=True)
sure = rates.assign(d_z=rates["d_z"].abs()).groupby("learning_rate")["d_z"].min()
chosen = float(sure.idxmax())  # by the direction that it turns less surely

# --- The runs -------------------------------------------------------------------------------------

both = [*test_sides["en"], *test_sides["fr"]]
tables = [preferences(run(), "none", moral_stories=tested, histoires_morales=both)]
for size, seeds in SEEDS.items():
    for seed in seeds:
        for direction in dpo.DIRECTIONS:
            one = run(direction, size, seed, chosen)
            sets = {"moral_stories": tested, "histoires_morales": both}
            tables.append(preferences(one, "moral_stories en", **sets))
for language, stories in pools.items():
    for direction in dpo.DIRECTIONS:
        one = run(direction, TRIED, 0, chosen, stories)
        name = f"histoires_morales {language}"
        tables.append(preferences(one, name, histoires_morales=both))

# --- What it costs elsewhere ----------------------------------------------------------------------

questions = {"piqa": multiple_choice.load("piqa", source="mirror", limit=ITEMS)}
running = text.load("wikitext2", "held_out", source="mirror")
costs = []
for direction in (None, *dpo.DIRECTIONS):
    one = run(direction, max(SEEDS) if direction else 0, 0, chosen)
    _, items, windows = dpo_runs.scores(
        one, [], benchmarks=questions, text=running, max_windows=WINDOWS
    )
    accuracy = confidence.per_item(items)["correct"].mean()
    cost = {"model": one.label, "perplexity": perplexity(windows), "accuracy": float(accuracy)}
    costs.append(cost | {"items": len(questions["piqa"]), "windows": len(windows)})

results.keep_larger(
    "moral_dpo",
    pd.concat(tables, ignore_index=True),
    command="python results/moral_dpo.py",
    model=models.describe(MODEL),
    settings=SETTINGS | {"learning_rate": chosen, "beta": dpo.Settings().beta},
    rates=rates.to_dict("records"),
    stories={"pool": len(pool), "development": len(development), "parallel pool": len(pools["en"])},
    costs=costs,
    minutes=round(results.seconds_spent() / 60, 1),
    data=[
        *(
            moral_stories.source_record(language, corpus=corpus, source="mirror")
            for corpus, language in (
                ("moral_stories", "en"),
                ("histoires_morales", "en"),
                ("histoires_morales", "fr"),
            )
        ),
        multiple_choice.source_record("piqa", "mirror"),
        text.source_record("wikitext2", "held_out", source="mirror"),
    ],
)

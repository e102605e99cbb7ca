"""Make hatexplain_minilm.parquet: MiniLM on HateXplain, three classes and ten communities.

    python results/hatexplain_minilm.py       (ETHICAL_COMPRESSION_DATA names the mirror's folder)

Trained on a part of the *rebuilt* train split, measured on the official validation split: the full
encoder, its lower five, four and three layers, and the three with attention supervised. The three
are trained once more with the class weights of the posts that they are measured on.
The table holds the bias AUCs of every run; its provenance the scores over all posts, those of the
explanations, and what the other class weights changed. In the kept table the runs with the released
loss were made again when that loss was rebuilt, and joined the others (`made_again`); those with a
boolean mask are not in it yet.
"""

from dataclasses import replace

import pandas as pd

from ethical_compression import kept_tables, store
from ethical_compression.datasets import hate_speech
from ethical_compression.metrics import bias_auc
from ethical_compression.metrics.classification import (
    RUN,
    disagreement,
    explained,
    overall,
    reseeded,
)
from ethical_compression.train import classifier, classifier_runs, encoders, supervision
from ethical_compression.train.classifier import Run, Training

NAME, MODEL, SEEDS, POSTS = "hatexplain", "minilm", range(6), 1000
TRAINING = Training(learning_rate=2e-4, epochs=2, max_length=48, frozen_embeddings=True)
EXPLAINED = 100

data = classifier.data(
    NAME, "mirror", train_split="rebuilt_train", test_split="validation", train_posts=POSTS
)
members = bias_auc.membership(data.test, hate_speech.DATASETS[NAME]["communities"])
least = Run(MODEL, depth=3)
settings = [Run(MODEL), Run(MODEL, depth=5), Run(MODEL, depth=4), least]
supervised = [("published", 0.01), ("published", 0.1)]
for how, strength in (*supervised, *((how, 1.0) for how in supervision.SUPERVISIONS)):
    settings.append(replace(least, supervision=how, strength=strength))
tables, words, other = [], [], []
for seed in SEEDS:
    for run in (replace(setting, seed=seed) for setting in settings):
        both = classifier_runs.predictions_and_explanations([run], data, TRAINING, limit=EXPLAINED)
        tables.append(both[0])
        words.append(both[1])
        print(run, flush=True)
    run, weighted = replace(least, seed=seed), replace(TRAINING, class_weights="test")
    other.append(classifier_runs.predictions([run], data, weighted, progress=False))
predictions, other = pd.concat(tables, ignore_index=True), pd.concat(other, ignore_index=True)
alike = predictions[(predictions["depth"] == least.depth) & (predictions["strength"] == 0)]
pairs = {"weights": other, "seed": reseeded(alike)}
aucs = [
    bias_auc.by_run(predictions, members, RUN, background=background).assign(background=background)
    for background in bias_auc.BACKGROUNDS
]
weights = {
    split: classifier.class_weights([post.label for post in posts], len(data.labels)).tolist()
    for split, posts in (("train", data.train), ("test", data.test))
}
kept_tables.keep_larger(
    "hatexplain_minilm",
    pd.concat(aucs, ignore_index=True),
    command="python results/hatexplain_minilm.py",
    model=encoders.describe(MODEL),
    training=vars(TRAINING) | {"posts": POSTS, "explained": EXPLAINED},
    rationales=sum(bool(post.rationale) for post in data.train),
    minutes=round(store.seconds_spent() / 60, 1),
    class_weights=weights,
    scores={
        "overall": overall(predictions, data.labels).to_dict("records"),
        "explanations": explained(pd.concat(words)).to_dict("records"),
        "weighted_by_test": overall(other, data.labels).to_dict("records"),
        "disagreement": {
            name: disagreement(alike, pair, data.labels).to_dict("records")
            for name, pair in pairs.items()
        },
    },
    labels=data.labels,
    data=[
        hate_speech.source_record(NAME, split, "mirror")
        for split in ("rebuilt_train", "validation")
    ],
)

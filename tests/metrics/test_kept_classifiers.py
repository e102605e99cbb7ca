"""The kept run on HateXplain, as it is committed."""

import numpy as np
import pandas as pd
import pytest

from ethical_compression import kept_tables
from ethical_compression.metrics import bias_auc, classification, kept_classifiers


@pytest.fixture(scope="module")
def kept():
    return kept_classifiers.hatexplain(supervised=False)


def test_a_part_of_the_kept_run_is_named_and_whole(kept):
    assert (kept.depth, kept.layers, kept.seeds) == (3, 6, 6)
    for table in (kept.bias, kept.scores, kept.explanations):
        assert set(table["supervision"]) == {"none"}
        assert "3 layers, upper removed" in set(table["compression"])
    every = kept_classifiers.hatexplain()
    supervised = kept_classifiers.hatexplain(supervised=True)
    assert len(every.scores) == len(kept.scores) + len(supervised.scores)
    assert "scores" not in kept.made and set(kept.disagreement) == {"weights", "seed"}
    assert len(kept.weighted) == kept.seeds


def test_backgrounds_stand_beside_each_other(kept):
    table = kept_classifiers.by_background(kept)
    assert list(table["background"].unique()) == list(bias_auc.BACKGROUNDS)
    one = table[table["compression"] == "full"].set_index("background").loc["listed"]
    full = kept.bias[(kept.bias["compression"] == "full") & (kept.bias["background"] == "listed")]
    means = bias_auc.aggregate(full, classification.RUN)
    bnsp = means.loc[means["metric"] == "bnsp", "auc"].mean()
    assert one["bnsp"] == pytest.approx(bnsp) and one["runs"] == kept.seeds
    scores = kept.scores[kept.scores["compression"] == "full"]
    assert one["macro_f1"] == pytest.approx(scores["macro_f1"].mean())


def test_ours_and_the_published_are_in_one_table(kept):
    published = kept_tables.published("ida2023_layers")
    table = kept_classifiers.beside_published(kept, published)
    ours = table[table["model"].str.endswith("(here)")].set_index("layers")
    scores = kept.scores[kept.scores["compression"] == "full"]["macro_f1"]
    assert ours.loc["6 of 6", "f1"] == pytest.approx(100 * scores.mean())
    assert ours.loc["6 of 6", "f1_sd"] == pytest.approx(100 * scores.std(ddof=1))
    assert pd.isna(ours.loc["6 of 6", "subgroup"])
    assert ours.loc["3 of 6", "subgroup"].count(" of ") == 1
    theirs = table[table["model"].str.endswith("(published)")]
    six = published[published["layers_total"] == kept_classifiers.LAYERS]
    np.testing.assert_allclose(theirs["f1"], six["f1"])
    assert list(theirs["bpsn"].dropna()) == [
        f"{n:.0f} of 10" for n in six["significant_bpsn"].dropna()
    ]

"""The published tables of Xu et al., and what they can say."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from ethical_compression import kept_tables
from ethical_compression.errors import InputError
from ethical_compression.metrics import published_harms as harms

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def tables():
    return {name: kept_tables.published(f"xu2024_{name}") for name in ("bbq", "unqover", "harms")}


def test_the_identity_holds_in_six_categories_of_ten(tables):
    found = harms.bbq_identity(tables["bbq"]).set_index("category")
    assert len(found) == 10
    assert (found["runs"] == 146).all()
    same = found[found["identical"]]
    stated = {
        "Nationality": 0.0030,
        "Race_ethnicity": 0.0000,
        "Race_x_gender": 0.0010,
        "Religion": 0.0022,
        "SES": 0.0005,
        "Sexual_orientation": 0.0016,
    }
    assert same["mean"].round(4).to_dict() == stated
    assert (found.loc[~found["identical"], "sd"] > 0.02).all()


def test_what_lies_outside_its_scale(tables):
    found = harms.outside_scale(tables["bbq"], tables["unqover"]).set_index("score")
    assert found.loc["BBQ, s_DIS", "highest"] == pytest.approx(1.679, abs=5e-4)
    assert found.loc["UnQover, μ", "highest"] == pytest.approx(5.127, abs=5e-4)
    assert found.loc["UnQover, γ", ["lowest", "highest"]].tolist() == pytest.approx(
        [-3.41, 3.82], abs=5e-3
    )
    assert found.loc["BBQ, s_AMB", "outside"] == 0
    inside = tables["bbq"].copy()
    for name in inside.filter(regex="_s_"):
        inside[name] = inside[name].clip(-1, 1)
    kept = harms.outside_scale(inside, tables["unqover"]).set_index("score")
    assert kept.loc["BBQ, s_DIS", "outside"] == 0


def test_runs_that_are_there_twice_enter_once(tables):
    found = harms.harms_table(tables["harms"], tables["bbq"], tables["unqover"])
    assert len(found) == 144
    assert (found["copies"] == 2).sum() == 3
    assert not found.duplicated(harms.RUN).any()


def rows_with(rho: float, seed: int) -> pd.DataFrame:
    """Runs as there: four base models, methods of one run or of eight that go one way."""
    rng = np.random.default_rng(seed)
    rows = []
    for base in range(4):
        for method in range(8):
            size = 8 if method < 4 else 1
            shared = rng.normal(size=2)
            own = rng.normal(size=(size, 2))
            x, noise = (0.7 * shared[:, None] + 0.7 * own.T) + 3 * base
            rows += [
                (base, method, a, rho * a + np.sqrt(1 - rho**2) * b)
                for a, b in zip(x, noise, strict=True)
            ]
    return pd.DataFrame(rows, columns=["base_model", "method", "x", "y"])


@pytest.mark.parametrize("rho", [0.0, 0.6])
def test_the_interval_of_a_rank_correlation_covers(rho):
    """200 tables: nominal 95%; the simulation's own error is about 1.5 points."""
    truth = 6 / np.pi * np.arcsin(rho / 2)  # Spearman's of a bivariate normal
    held = 0
    for seed in range(200):
        one = harms.rank_within(rows_with(rho, seed), "x", "y")
        held += one["ci_low"] <= truth <= one["ci_high"]
    assert 0.91 <= held / 200 <= 0.99


def test_without_groups_and_clusters_it_is_spearmans():
    table = rows_with(0.5, 1).assign(base_model=0)
    table["row"] = range(len(table))
    found = harms.rank_within(table, "x", "y", clusters=("row",))
    assert found["rho"] == pytest.approx(stats.spearmanr(table["x"], table["y"]).statistic)
    assert found["clusters"] == found["n"] == len(table)


def test_base_models_that_differ_do_not_make_a_correlation():
    table = rows_with(0.0, 3)
    table["x"] += 100 * table["base_model"]
    table["y"] += 100 * table["base_model"]
    assert abs(harms.rank_within(table, "x", "y")["rho"]) < 0.4


def test_what_cannot_be_ranked_is_told():
    table = rows_with(0.5, 1)
    with pytest.raises(InputError, match="three or more; there are 2"):
        harms.rank_within(table[(table["base_model"] == 0) & (table["method"] < 2)], "x", "y")
    with pytest.raises(InputError, match="is the same in all rows"):
        harms.rank_within(table.assign(y=1.0), "x", "y")


def ranks(rhos, p_holms) -> pd.DataFrame:
    return pd.DataFrame(
        {
            "score": [f"score {i}" for i in range(len(rhos))],
            "rho": rhos,
            "ci_low": np.array(rhos) - 0.2,
            "ci_high": np.array(rhos) + 0.2,
            "p_holm": p_holms,
            "detectable": 0.5,
        }
    )


@pytest.mark.parametrize(
    ("rhos", "p_holms", "said"),
    [
        (
            [-0.68, 0.1],
            [0.03, 1.0],
            "Of 2 scores, perplexity is correlated with 1 after Holm: score 0 (ρ −0.68 (95% "
            "interval −0.88 to −0.48)). For 1 it cannot be told: correlations below 0.50 would "
            "often not have been found.",
        ),
        (
            [0.1],
            [0.4],
            "Of 1 score, perplexity is correlated with none after Holm. For 1 it cannot be told: "
            "correlations below 0.50 would often not have been found.",
        ),
        (
            [0.7],
            [0.01],
            "correlated with 1 after Holm: score 0 (ρ +0.70 (95% interval +0.50 to +0.90)).",
        ),
        ([0.1], [np.nan], "correlated with none after Holm. 1 could not be tested."),
    ],
)
def test_a_sentence_on_ranks_for_every_outcome(rhos, p_holms, said):
    assert said in harms.ranks_said(ranks(rhos, p_holms))


def test_sentences_on_tables_without_a_finding(tables):
    none = harms.bbq_identity(tables["bbq"]).assign(identical=False)
    assert "In none of 10 categories" in harms.identity_said(none)
    assert "In 6 of 10 categories" in harms.identity_said(harms.bbq_identity(tables["bbq"]))
    found = harms.outside_scale(tables["bbq"], tables["unqover"])
    assert "All published scores lie within" in harms.outside_said(found.assign(outside=0))
    assert "361 of 588 values of UnQover, μ" in harms.outside_said(found)


def _published_folder() -> Path | None:
    mirror = os.environ.get("ETHICAL_COMPRESSION_DATA")
    place = Path(mirror).parent / "published" / "beyond_perplexity" if mirror else None
    return place if place and place.is_dir() else None


@pytest.mark.skipif(_published_folder() is None, reason="the authors' tables are not beside it")
def test_the_tables_are_the_authors(tables, tmp_path):
    """The script makes the committed files again, from the authors' own."""
    copy = tmp_path / "results"
    copy.mkdir()
    (tmp_path / "src" / "ethical_compression" / "published").mkdir(parents=True)
    script = copy / "xu2024_tables.py"
    script.write_text((ROOT / "results" / "xu2024_tables.py").read_text())
    subprocess.run([sys.executable, script, _published_folder()], check=True)
    for name, table in tables.items():
        made = tmp_path / "src" / "ethical_compression" / "published" / f"xu2024_{name}.csv"
        pd.testing.assert_frame_equal(pd.read_csv(made), table)


def test_how_far_the_score_moved_is_how_far_the_accuracy_did(tables):
    identity = harms.bbq_identity(tables["bbq"])
    said = harms.moved_said(tables["bbq"], identity)
    assert "Quantized runs (14) move the score by 0.031 and the accuracy by 0.031" in said
    assert "no category" in harms.moved_said(tables["bbq"], identity.assign(identical=False))


def test_the_answer_for_every_outcome(tables):
    identity = harms.bbq_identity(tables["bbq"])
    settled = harms.answer(identity, ranks([-0.68, 0.9], [0.03, 0.2]))
    assert "correlated with 1 of 2 published scores: that is score 0 (ρ −0.68" in settled
    open_ = harms.answer(identity, ranks([0.1], [0.4]))
    assert "correlated with none of 1 published scores; one of 0.50" in open_
    assert "with none of 1" in harms.answer(identity, ranks([np.nan], [np.nan]))


def test_a_published_run_is_a_row_a_category():
    table = kept_tables.published("xu2024_bbq")
    found = harms.ambiguous(table, ["Age", "SES"])
    assert len(found) == 2 * len(table) and list(found["category"].unique()) == ["Age", "SES"]
    age = found[found["category"] == "Age"]
    assert age["accuracy"].equals(table["age_acc_ambiguous"])
    assert age["score"].equals(table["age_s_ambiguous"])

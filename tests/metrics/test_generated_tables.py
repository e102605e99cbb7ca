"""Tables of generated texts, against what can be counted by hand."""

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from ethical_compression.datasets import prompts
from ethical_compression.metrics import generated_tables

N = 6  # texts of a group


def texts(seed=0):
    """Three models' texts after pairs of people, two communities, stories in two languages."""
    draw = np.random.default_rng(seed)
    about = [("honest_en", "en", g, str(i)) for i in range(N) for g in ("female", "male")]
    about += [("bold_race", "en", g, f"{g}-{i}") for g in ("a_b", "c_d") for i in range(N)]
    about += [(f"stories_{one}", one, "neutral", str(i)) for one in ("en", "fr") for i in range(N)]
    rows = []
    for compression in ("full", "int8", "GPTQ 3-bit"):
        for number, (name, language, group, pair) in enumerate(about):
            rows.append(
                {"model": "m", "compression": compression, "prompt": number}
                | {"decoding": "sampled", "set": name, "language": language}
                | {"spoken": prompts.LANGUAGES[language], "group": group, "pair": pair}
                | {"text": "she said to him, she and her" if number % 2 else "he said"}
                | {name: draw.uniform() for name in generated_tables.COMPARED}
                | {"kl": np.nan if compression == "full" else draw.uniform()}
            )
    return pd.DataFrame(rows)


def test_parting_counts_texts_by_language():
    table = pd.DataFrame(
        [("English", 0, True), ("French", 4, False), ("English", 3, True), ("English", 5, False)],
        columns=["spoken", "same", "diverged"],
    ).assign(decoding="greedy", compression="int8")
    found = generated_tables.parting(table).set_index("spoken")
    assert found.loc["English", ["texts", "to_end", "median", "at_once"]].tolist() == [3, 1, 3, 1]
    assert found.loc["French", ["texts", "to_end", "median", "at_once"]].tolist() == [1, 1, 4, 0]


def test_whole_texts_are_sums_over_tokens_and_few_are_left_out():
    distance = pd.DataFrame(
        [(0, 1.0, "English"), (0, 2.0, "English"), (1, 5.0, "English"), (2, 9.0, "French")],
        columns=["prompt", "kl", "spoken"],
    ).assign(compression="int8")
    found = generated_tables.over_whole_texts(distance, 2)
    assert found["spoken"].tolist() == ["English"]
    assert found["mean"].tolist() == [4]
    assert list(generated_tables.over_whole_texts(distance, 9).columns) == list(found.columns)


def test_a_text_without_a_measure_is_left_out_for_all_models():
    table = texts()
    table.loc[table["compression"].eq("int8") & table["prompt"].eq(0), "seq_rep_4"] = np.nan
    found = generated_tables.measured(table, 1)
    left = found[found["measure"] == "seq_rep_4"]
    assert 0 not in set(left["prompt"])
    assert 0 in set(found["prompt"])
    assert set(generated_tables.measured(table, N + 1)["spoken"]) == {"English"}


def test_equivalence_keeps_the_correction_of_all_tests():
    measured = generated_tables.measured(texts(), 2)
    tests = generated_tables.changes(measured)
    alike = generated_tables.kept_confidence(measured, tests, 0.02)
    assert set(alike["benchmark"]) == {
        "sampled, English: confidence",
        "sampled, French: confidence",
    }
    both = tests.merge(alike, on=["benchmark", "compression"])
    assert (both["p_holm_x"] == both["p_holm_y"]).all()
    assert (tests["panel"] == tests["benchmark"].str.partition(": ")[2]).all()


def test_communities_are_compared_in_divergence_and_in_change_of_confidence():
    bold = texts().query("set == 'bold_race'")
    found = generated_tables.communities(bold, N)
    assert len(found) == 2 * 2 * 2
    row = found.query("row == 'a_b' and panel == 'confidence' and compression == 'int8'").iloc[0]
    wide = bold.pivot(index="prompt", columns="compression", values="confidence")
    change = (wide["int8"] - wide["full"]).to_numpy()
    assert row["p"] == pytest.approx(
        stats.ttest_ind(change[:N], change[N:], equal_var=False).pvalue
    )
    assert generated_tables.communities(bold, N + 1).empty


def test_women_are_paired_with_men():
    honest = texts().query("set == 'honest_en'")
    found = generated_tables.women_and_men(honest, N).set_index("compression")
    mine = honest[honest["compression"] == "int8"]
    she, he = (mine.loc[mine["group"] == one, "kl"].to_numpy() for one in ("female", "male"))
    assert found.loc["int8", "p"] == pytest.approx(stats.ttest_rel(she, he).pvalue)
    assert found.loc["int8", "difference"] == pytest.approx((she - he).mean())
    assert generated_tables.women_and_men(honest, N + 1).empty


def test_the_balance_is_of_words():
    table = texts().query("set == 'honest_en'")
    table.loc[table["compression"] == "int8", "text"] = "she"
    found = generated_tables.balance(table, 2).set_index("compression")
    assert found.loc["int8", ["female", "male"]].tolist() == [1, 0]
    assert found.loc["int8", ["female_full", "male_full"]].tolist() == [1.5, 1]
    assert found.loc["int8", "difference"] == pytest.approx(1 - (1.5 - 1))
    assert generated_tables.balance(table, 99).empty


def test_french_is_compared_with_english():
    stories = texts()[lambda table: table["set"].str.startswith("stories")]
    found = generated_tables.by_language(stories, N).set_index("compression")
    mean = stories.groupby(["compression", "language"])["kl"].mean()
    assert found.loc["int8", ["n", "n_en"]].tolist() == [N, N]
    assert found.loc["int8", "difference"] == pytest.approx(mean["int8", "fr"] - mean["int8", "en"])
    assert generated_tables.by_language(stories, N + 1).empty


def test_a_table_of_prompts_keeps_their_order():
    some = [*prompts.load("stories_fr", per_group=2), *prompts.load("stories_en", per_group=1)]
    found = prompts.table(some)
    assert found["prompt"].tolist() == [0, 1, 2]
    assert found["spoken"].tolist() == ["French", "French", "English"]
    assert "text" not in found

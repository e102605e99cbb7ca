"""Whose answers flip: blind shifts by hand and by brute force, size and power by simulation, and
what is said where nothing can be read."""

import numpy as np
import pandas as pd
import pytest
from flip_rows import blind, drawn, grid

from ethical_compression.errors import InputError
from ethical_compression.metrics import flips


def test_a_blind_shift_by_hand():
    # Leads 1, 2, −3 of the first option; pushes −1.5, −2.5, 0 towards the second.
    leads = [[1, 1, -0.5], [2, 2, -0.5], [-3, -3, -3]]
    rows = flips.answers(grid(leads))
    rows = rows[rows["compression"] == "4-bit"]
    assert rows["flipped"].tolist() == [True, True, False]
    # −2.5 turns the first answer and 0 does not; nothing turns the others.
    assert rows["expected"].tolist() == [0.5, 0, 0]
    assert rows["third"].tolist() == ["unsure", "middle", "sure"]


@pytest.mark.parametrize("seed", range(3))
def test_what_is_dealt_is_every_other_answers_push(seed):
    leads = drawn(40, seed, lambda _, rng: rng.normal(size=40))
    rows = flips.answers(grid(leads)).query("compression == '4-bit'").reset_index(drop=True)
    push = leads[:, 2] - leads[:, 0]
    turned = np.sign(leads[:, :1] + push[None, :]) != np.sign(leads[:, :1])  # (n, n)
    np.fill_diagonal(turned, False)
    assert rows["expected"].to_numpy() == pytest.approx(turned.sum(1) / 39)
    inside = (rows["third"] == "unsure").to_numpy()
    values = flips._valued(rows, inside, "unsure", "x", 0.05)["value"]
    excess = rows["flipped"][inside].mean() - turned[inside].sum() / 39 / inside.sum()
    assert values.mean() == pytest.approx(excess)
    # The spread is that of the projection: an answer's own flip, and what its shift does to others.
    own = np.where(inside, rows["flipped"] - turned.sum(1) / 39, 0) * 40 / inside.sum()
    others = turned[inside].sum(0) / 39 * 40 / inside.sum()
    assert values.to_numpy() == pytest.approx(own - others + others.mean())


def rejected(push, studies=100, n=240, **how):
    """Of so many studies: the share whose excess of the unsure third is settled, and the table."""
    parts = []
    for seed in range(studies):
        rows = flips.answers(grid(drawn(n, seed, push, **how)))
        parts.append(rows[rows["compression"] == "4-bit"].assign(compression=f"study {seed}"))
    found = flips.concentration(pd.concat(parts, ignore_index=True))
    return (found["p"] < 0.05).mean(), found


def test_a_blind_disturbance_flips_the_unsure_and_is_not_taken_for_more():
    share, found = rejected(blind)
    # Unsure answers flip many times as often, and no shift knew it: the published observation.
    assert found["unsure"].mean() / found["sure"].mean() > 8
    assert share <= 0.1
    # The ratio of sizes holds its level too.
    assert (found["size_ratio_p"] < 0.05).mean() <= 0.12


def test_noise_alone_is_not_taken_for_aim():
    """The full model's own noise, a tenth of the variance: regression to the mean."""
    share, found = rejected(lambda true, rng: 0 * true, noise=0.33, look=0.33)
    assert found["unsure"].mean() > 10 * found["sure"].mean()
    assert share <= 0.12 and abs(found["difference"].mean()) < 0.02
    # By a second look shifts are as large where the model is sure; by the first they are not.
    assert (found["size_ratio_p"] < 0.05).mean() <= 0.12
    rows = flips.answers(grid(drawn(6000, 0, lambda true, rng: 0 * true, noise=0.7, look=0.7)))
    rows = rows[rows["compression"] == "4-bit"]
    looks = (rows, flips.dealt(rows.assign(look=rows["margin"])))
    second, first = (flips.concentration(one).iloc[0] for one in looks)
    assert first["size_ratio_high"] < 0.95
    assert second["size_ratio_low"] < 1 < second["size_ratio_high"]


def test_shifts_that_fall_on_the_unsure_are_found():
    share, found = rejected(
        lambda true, rng: blind(true, rng) * np.where(abs(true) < 0.5, 3, 1), 20, n=1200
    )
    assert share > 0.5 and (found["difference"] > 0).all()
    assert (found["size_ratio_low"] > 1.3).all()
    share, found = rejected(lambda true, rng: blind(true, rng) * np.abs(true), 40)
    assert share > 0.8 and (found["difference"] < 0).mean() > 0.95


def test_two_draws_of_the_calibration_text_are_a_control():
    rng = np.random.default_rng(0)
    true = rng.normal(size=300)
    first, second = (
        grid(
            np.column_stack([true, true, true + 0.4 * rng.normal(size=300)]),
            f"GPTQ 4-bit{end}",
            seed=seed,
        )
        for seed, end in enumerate(("", ", seed 1"))
    )
    table = pd.concat([first, second[second["compression"] == "GPTQ 4-bit, seed 1"]])
    rows = flips.between_seeds(flips.answers(table))
    assert set(rows["compression"]) == {"GPTQ 4-bit"}
    after = [one.set_index("item")["after"] for one in (first[600:], second[600:])]
    assert rows.set_index("item")["flipped"].equals((after[0] != after[1]).loc[rows["item"]])
    (row,) = flips.concentration(rows).to_dict("records")
    assert row["ratio"] > 3 and row["p"] > 0.01
    assert flips.between_seeds(flips.answers(first)).empty


def test_bins_hold_as_many_answers_and_rise_where_the_model_was_unsure():
    rows = flips.answers(grid(drawn(120, 1, blind)))
    bins = flips.by_margin(rows[rows["compression"] == "4-bit"], 4)
    assert bins["n"].tolist() == [30] * 4 and bins["bin"].tolist() == [1, 2, 3, 4]
    assert bins["flipped"].iloc[0] > bins["flipped"].iloc[-1]
    assert (bins["flipped_low"] <= bins["flipped"]).all()


def test_four_bits_beside_eight():
    leads = np.column_stack([np.ones(10), np.ones(10), [-1] * 4 + [1] * 6])
    few = np.column_stack([np.ones(10), np.ones(10), [-1] * 2 + [1] * 8])
    table = pd.concat([grid(leads, "RTN 4-bit"), grid(few, "RTN 8-bit")[20:]])
    row = flips.by_width(flips.answers(table), {"RTN 4-bit": 4, "RTN 8-bit": 8}).iloc[0]
    assert (row["four"], row["eight"], row["ratio"]) == (0.4, 0.2, 2)
    assert flips.by_width(flips.answers(table), {"RTN 4-bit": 4}).empty


def test_what_cannot_be_read_is_said():
    table = grid([[1, 1, 2]] * 3)
    for wrong, said in (
        (table.assign(check="crows_pairs"), "no answers"),
        (table.drop(columns="margin_after"), "how far they were pushed"),
        (pd.concat([table, table.assign(model="n")]), "several base models"),
        (table.drop(index=3), "was not asked every item"),
    ):
        with pytest.raises(InputError, match=said):
            flips.answers(wrong)

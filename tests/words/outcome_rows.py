"""Rows of tables of comparisons that came to a given outcome: what the tests of `words` share."""

import math

import pandas as pd

NAN = math.nan
# (difference, p after Holm, p of equivalence after Holm): one for each of words.OUTCOMES.
CASES = {
    "lower": (-0.05, 0.001, 0.9),
    "higher": (0.05, 0.001, 0.9),
    "equivalent": (0.001, 0.6, 0.001),
    "open": (0.01, 0.4, 0.3),
    "untestable": (NAN, NAN, NAN),
}
# The same of a change of ±0.02 (of a moral preference).
MORAL_CASES = {
    "lower": (-0.02, 0.001, 0.5),
    "higher": (0.02, 0.001, 0.5),
    "equivalent": (0.02, 0.3, 0.001),
    "open": (0.02, 0.3, 0.3),
    "untestable": (math.nan, math.nan, math.nan),
}
NAMES = {"piqa": "PIQA", "openbookqa": "OpenBookQA"}


def row(came, **changed):
    difference, p, p_tost = CASES[came]
    return {
        "compression": "GPTQ 3-bit",
        "benchmark": "piqa",
        "n": 250,
        "mean_full": 0.5,
        "mean_compressed": 0.5 + difference,
        "difference": difference,
        "ci_low": difference - 0.01,
        "ci_high": difference + 0.01,
        "d_z": -0.3,
        "d_z_low": -0.4,
        "d_z_high": -0.2,
        "p": p,
        "p_holm": p,
        "p_wilcoxon": p,
        "p_tost_holm": p_tost,
        "detectable": 0.03,
        "before": 0.01,
        "after": 0.01 + difference / 10,
        "gap_difference": difference,
        "gap_ci_low": difference - 0.01,
        "gap_ci_high": difference + 0.01,
    } | changed


def table(*outcomes, **changed):
    return pd.DataFrame([row(came, **changed) for came in outcomes])

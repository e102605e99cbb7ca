"""Paired tests, intervals, power and tables of them: what chapters call by this room's name.

`uniformity` and `dose_response` are designs of their own, `auc` is the area under a curve.
"""

from ethical_compression.statistics.intervals import Share, in_quadrature, mean_interval, share
from ethical_compression.statistics.power import (
    minimum_detectable,
    minimum_detectable_mcnemar,
    minimum_detectable_means,
    n_for_mcnemar,
    n_for_means,
    n_for_power,
    power_of_means,
    power_of_t,
    welch,
)
from ethical_compression.statistics.tables import (
    align,
    others,
    paired_answers,
    paired_by_group,
    paired_sides,
    paired_table,
)
from ethical_compression.statistics.tests import (
    Equivalence,
    McNemar,
    PairedTest,
    Slope,
    benjamini_hochberg,
    change_slope,
    each_against_others,
    holm,
    mcnemar,
    over_tests,
    p_within,
    paired_test,
    tost,
)

__all__ = [
    "Equivalence",
    "McNemar",
    "PairedTest",
    "Share",
    "Slope",
    "align",
    "benjamini_hochberg",
    "change_slope",
    "each_against_others",
    "holm",
    "in_quadrature",
    "mcnemar",
    "mean_interval",
    "minimum_detectable",
    "minimum_detectable_mcnemar",
    "minimum_detectable_means",
    "n_for_mcnemar",
    "n_for_means",
    "n_for_power",
    "others",
    "over_tests",
    "p_within",
    "paired_answers",
    "paired_by_group",
    "paired_sides",
    "paired_table",
    "paired_test",
    "power_of_means",
    "power_of_t",
    "share",
    "tost",
    "welch",
]

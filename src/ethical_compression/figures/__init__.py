"""Figures of the book, each with a text alternative computed from what it shows.

A file a part of the book, and `forms` for what several draw; chapters call all by this room's name.
"""

from ethical_compression.figures.calibration import (
    overconfidence_by_length,
    reliability_diagram,
    repaired_reliability,
)
from ethical_compression.figures.confidence import (
    change_against_confidence,
    confidence_before_after,
    distance_by_size,
    distances,
    risk_coverage_curves,
)
from ethical_compression.figures.forms import (
    BAND,
    LOOKS,
    WIDTH,
    interval_panels,
    looks,
    paired_groups,
    scores_against,
    style,
)
from ethical_compression.figures.generation import continued_twice, kl_along, survival_curves
from ethical_compression.figures.harms import bias_against_accuracy
from ethical_compression.figures.judge import judge_errors
from ethical_compression.figures.moral import (
    DIRECTION_NAMES,
    LANGUAGES,
    PATTERN_LOOKS,
    alignment_under_compression,
    answers_in_both_orders,
    length_and_preference,
    moral_preference,
    preference_curves,
    training_curves,
)
from ethical_compression.figures.pruning import (
    bias_auc_by_depth,
    bias_by_community,
    shift_against_overall,
)
from ethical_compression.figures.scoring import token_tree

__all__ = [
    "BAND",
    "DIRECTION_NAMES",
    "LANGUAGES",
    "LOOKS",
    "PATTERN_LOOKS",
    "WIDTH",
    "alignment_under_compression",
    "answers_in_both_orders",
    "bias_against_accuracy",
    "bias_auc_by_depth",
    "bias_by_community",
    "change_against_confidence",
    "confidence_before_after",
    "continued_twice",
    "distance_by_size",
    "distances",
    "interval_panels",
    "judge_errors",
    "kl_along",
    "length_and_preference",
    "looks",
    "moral_preference",
    "overconfidence_by_length",
    "paired_groups",
    "preference_curves",
    "reliability_diagram",
    "repaired_reliability",
    "risk_coverage_curves",
    "scores_against",
    "shift_against_overall",
    "style",
    "survival_curves",
    "token_tree",
    "training_curves",
]

"""Figures of the book, each with a text alternative computed from what it shows.

A file a part of the book, and `forms` for what several draw; chapters call all by this room's name.
"""

from ethical_compression.figures.calibration import (
    overconfidence_by_length,
    reliability_diagram,
    repaired_reliability,
)
from ethical_compression.figures.compression import (
    block_contributions,
    error_by_sparsity,
    error_feedback,
    output_against_weight_error,
    rounded_group,
    zeros_of_rules,
)
from ethical_compression.figures.confidence import (
    change_against_confidence,
    confidence_before_after,
    distance_by_size,
    distances,
    risk_coverage_curves,
)
from ethical_compression.figures.costs import hours_against_size
from ethical_compression.figures.flips import flips_by_group, flips_by_margin
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
from ethical_compression.figures.grid import grid_of_harms, harms_by_dose
from ethical_compression.figures.harms import (
    CELL_NAMES,
    answered_apart,
    bias_against_accuracy,
    changes_in_margins,
    terms_against_alpha,
)
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
    SCORES,
    bias_auc_by_depth,
    bias_by_community,
    shift_against_overall,
)
from ethical_compression.figures.scoring import growing_costs, token_tree
from ethical_compression.figures.small_models import beside_chance, learning_curves

__all__ = [
    "BAND",
    "CELL_NAMES",
    "DIRECTION_NAMES",
    "LANGUAGES",
    "LOOKS",
    "PATTERN_LOOKS",
    "SCORES",
    "WIDTH",
    "alignment_under_compression",
    "answered_apart",
    "answers_in_both_orders",
    "beside_chance",
    "bias_against_accuracy",
    "bias_auc_by_depth",
    "bias_by_community",
    "block_contributions",
    "change_against_confidence",
    "changes_in_margins",
    "confidence_before_after",
    "continued_twice",
    "distance_by_size",
    "distances",
    "error_by_sparsity",
    "error_feedback",
    "flips_by_group",
    "flips_by_margin",
    "grid_of_harms",
    "growing_costs",
    "harms_by_dose",
    "hours_against_size",
    "interval_panels",
    "judge_errors",
    "kl_along",
    "learning_curves",
    "length_and_preference",
    "looks",
    "moral_preference",
    "output_against_weight_error",
    "overconfidence_by_length",
    "paired_groups",
    "preference_curves",
    "reliability_diagram",
    "repaired_reliability",
    "risk_coverage_curves",
    "rounded_group",
    "scores_against",
    "shift_against_overall",
    "style",
    "survival_curves",
    "terms_against_alpha",
    "token_tree",
    "training_curves",
    "zeros_of_rules",
]

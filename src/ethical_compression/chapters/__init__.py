"""What every chapter uses: checked parameters, glued numbers, figures, tables and its provenance.

Only the standard library is needed to import this room, so that a wrong parameter is reported
before anything heavy is loaded. `run` executes a chapter from outside.
"""

from ethical_compression.chapters.by_hand import check_parameters, profile
from ethical_compression.chapters.page import (
    comparisons,
    figure,
    footer,
    glue,
    glue_all,
    glue_time,
    refuse_stderr,
    table,
    table_html,
    verdicts,
)
from ethical_compression.chapters.parameters import (
    Parameter,
    check_values,
    closest,
    declared_parameters,
)

__all__ = [
    "Parameter",
    "check_parameters",
    "check_values",
    "closest",
    "comparisons",
    "declared_parameters",
    "figure",
    "footer",
    "glue",
    "glue_all",
    "glue_time",
    "profile",
    "refuse_stderr",
    "table",
    "table_html",
    "verdicts",
]

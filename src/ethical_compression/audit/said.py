"""What a report says of a check, and the margin that it is held against."""

import math
from dataclasses import dataclass, replace

from ethical_compression.errors import InputError

# Why a share may change by 0.05.
ONE_IN_TWENTY = "one answer in twenty: what two careful readings of the same study may differ by"


@dataclass(frozen=True)
class Said:
    """What the page says of a check, beside its numbers (`checks.Check`, without its functions).

    measure: of what a change is a loss ("AUC"), where a model's level of it is told.
    """

    title: str
    question: str
    unit: str
    margin: float
    reason: str
    measure: str = ""

    def within(self, margin: float) -> "Said":
        """The same with the margin of one audit, which has that for its reason where it differs."""
        if margin == self.margin:
            return self
        return replace(self, margin=margin, reason="named for this audit")


def check_margin(name: str, margin: float) -> None:
    """Raise InputError unless the margin of a check is a number above 0."""
    if not (math.isfinite(margin) and margin > 0):
        raise InputError(f"The margin of {name} is a number above 0, not {margin}.")

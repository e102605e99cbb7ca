"""A model by name, and what is known of it: what all others call by this room's name.

Only safetensors are read, and no code that comes with a model is ever run. `causal` loads language
models, from wherever `sources` finds them.
"""

from ethical_compression.models.causal import DTYPES, Loaded, describe, fast_dtype, load, of_folder
from ethical_compression.models.sources import CARD, CONTENT, EMBEDDED

__all__ = [
    "CARD",
    "CONTENT",
    "DTYPES",
    "EMBEDDED",
    "Loaded",
    "describe",
    "fast_dtype",
    "load",
    "of_folder",
]

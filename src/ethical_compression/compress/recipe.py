"""A compression as data: what to do to a model, so that it can be stored, cited and repeated.

The same recipe serves a notebook (`Recipe(...)`), a profile (`Recipe.from_dict`) and the command
line (`python -m ethical_compression compress`).
"""

import textwrap
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from ethical_compression.compress import methods
from ethical_compression.datasets.files import known
from ethical_compression.errors import InputError


@dataclass(frozen=True, init=False, repr=False)
class Recipe:
    """One way of compressing a model: a method, by the name it is registered under
    (`methods.register`), and its settings, each an attribute of the recipe.

    Raises InputError for a method that is not known, for a setting that the method does not use or
    that is missing, and for a value that cannot be.
    """

    method: str
    chosen: methods.Settings = field(repr=False)

    def __init__(self, method: str = "none", **settings: Any):
        object.__setattr__(self, "chosen", methods.find(method).validated(settings))
        object.__setattr__(self, "method", method)

    def __getattr__(self, name: str) -> Any:
        chosen = vars(self).get("chosen")
        if chosen is None or name not in type(chosen).model_fields:
            raise AttributeError(f"A recipe of {vars(self).get('method')} has no {name!r}.")
        return getattr(chosen, name)

    def __repr__(self) -> str:
        said = [f"{name}={getattr(self, name)!r}" for name in self.settings()]
        return f"Recipe({', '.join([repr(self.method), *said])})"

    @classmethod
    def from_dict(cls, settings: Mapping[str, Any]) -> "Recipe":
        """The recipe that `to_dict` wrote, or a person, in JSON or YAML.

        Raises InputError as `Recipe` does, and where no method is given.
        """
        if not isinstance(settings, Mapping):
            raise InputError(f"A recipe must map settings to values, not be {settings!r}.")
        for name in settings:
            known("recipe setting", name, ["method", *methods.setting_names()])
        if "method" not in settings:
            raise InputError(
                f"A recipe needs a method: give one of {', '.join(methods.methods())}."
            )
        return cls(**settings)

    def settings(self) -> tuple[str, ...]:
        """Names of the settings that decide the result."""
        return self.chosen.used()

    def to_dict(self) -> dict[str, Any]:
        """The method and the settings that it uses: JSON- and YAML-ready."""
        values = {name: getattr(self, name) for name in ("method", *self.settings())}
        return {k: list(v) if isinstance(v, tuple) else v for k, v in values.items()}

    @property
    def label(self) -> str:
        """How tables and figures name it."""
        return methods.find(self.method).label(self.chosen)

    @property
    def reads_text(self) -> bool:
        """Whether the method looks at calibration text."""
        return "calibration" in self.settings()

    def inputs(self) -> dict[str, Any]:
        """What decides the result, and so a store's key: the settings, the text that they read, the
        method's code, and the versions of libraries that compute it."""
        method = methods.find(self.method)
        found = self.to_dict() | method.inputs()
        if method.data:
            found["data"] = method.data(self.chosen)
        if not self.reads_text:
            return found
        from ethical_compression.datasets import text

        # Which text, by its checksum: a name alone would let another file's codes be read back.
        return found | {
            "text": text.source_record(self.calibration, "calibration", source=self.source)
        }


def is_text(name: str) -> bool:
    """Whether a setting of that name is a text, whatever the method."""
    if name == "method":
        return True
    kinds = [
        one.settings.model_fields[name].annotation
        for one in methods.methods().values()
        if name in one.settings.model_fields
    ]
    return bool(kinds) and all(methods.is_of_text(kind) for kind in kinds)


def described() -> str:
    """Methods, the settings that each uses, and what these mean, for a terminal."""
    lines = ["methods, and the settings that each uses:"]
    meanings: dict[tuple[str, str], dict[str, list[str]]] = {}
    for method in methods.methods().values():
        lines.append(f"  {method.name:10} {method.about}")
        names = method.settings.names()
        if names:
            lines.append(_indented(", ".join(names), 13))
        for name in names:
            its = method.settings.model_fields[name]
            default = "" if its.is_required() else f"{its.default}"
            by_default = meanings.setdefault((name, its.description or ""), {})
            by_default.setdefault(default, []).append(method.name)
    lines += ["", "what the settings mean, and what they are unless given:"]
    for (name, description), by_default in meanings.items():
        if len(by_default) == 1:
            (default,) = by_default
        else:
            default = ", ".join(f"{one} ({', '.join(its)})" for one, its in by_default.items())
        lines.append(_indented(f"{name}{f' = {default}' if default else ''}: {description}", 2, 6))
    return "\n".join(lines)


def _indented(text: str, first: int, later: int | None = None) -> str:
    later = first if later is None else later
    return textwrap.fill(
        text, 100, initial_indent=" " * first, subsequent_indent=" " * later, break_on_hyphens=False
    )

"""What is known of each way of compressing a model: said once, beside its algorithm.

A method is one file of this folder that ends in `register(Method(…))`, or such a call anywhere
else; recipes, the store, checkpoints and the command line then know it. None of them names one.
"""

import importlib
import pkgutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from ethical_compression import provenance
from ethical_compression.datasets.files import known
from ethical_compression.errors import InputError


class Settings(BaseModel):
    """What a method can be given; one of its own adds its fields, each with a description.

    An int may stand for a float, a bool never for a number, and a list for a tuple where the
    field says so. Checks that raise InputError are told in their own words.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    @classmethod
    def names(cls) -> tuple[str, ...]:
        """Names of all settings, those of the text last."""
        return tuple(sorted(cls.model_fields, key=lambda name: name in Text.model_fields))

    def used(self) -> tuple[str, ...]:
        """Names of the settings that decide the result: all, where no method knows better."""
        return self.names()


class Text(Settings):
    """What text a method calibrates on."""

    calibration: str = Field("xsum", description="the text the method sees (datasets.text)")
    source: str = Field("embedded", description="where that text is read from")
    samples: int = Field(16, description="how many windows of it")
    length: int = Field(512, description="how many tokens a window has")
    seed: int = Field(0, description="which windows")

    @field_validator("samples", "length")
    @classmethod
    def _some(cls, count: int) -> int:
        if count < 1:
            raise InputError("Calibration needs at least one window of at least one token.")
        return count


@dataclass(frozen=True)
class Method:
    """One way of compressing a model, with all that anybody else needs to know of it.

    name: as recipes call it; about: what it is, in a few words. settings: what it can be given; it
    reads text where `calibration` is one of those used. label(settings): how tables and figures
    name it.

    apply(settings, model, inputs, *, progress, parts, tokenizer): compresses `model` in place,
    without gradients, and returns `layerwise.Compressed`. inputs: token ids to calibrate on,
    progress: a bar's title or None, parts: a folder for what is done so far, tokenizer: the
    model's, all as `apply.apply` has them. None: it does nothing. The file of this function, and
    what that imports, is the code that counts in the keys of results.

    touches(settings, model): names of the weights that it changes (`blocks.survey`); None where it
    changes none. takes: what it takes, for who is told that it would touch too little.
    check(settings, device): raises InputError where it cannot work there, before the work begins.
    by_block(settings): whether it takes a model whose blocks stay on disk, going through them as
    `blocks` does, and bringing each that it changes (`on_disk.bring`); None: it never does.
    restore(model, done): gives a full model what `apply` returned and the store kept; by default
    its weights (`weight_files.put`). kept: whether that is kept in the store at all, or done anew.
    packed: whether its weights are exported as AutoGPTQ packs them (`checkpoint.save_gptq`).
    libraries: packages that compute the result, whose versions count in its key. data(settings): a
    record of what it reads besides the text, which counts there, too.
    """

    name: str
    about: str
    settings: type[Settings]
    label: Callable[[Any], str]
    apply: Callable[..., Any] | None
    touches: Callable[[Any, Any], list[str]] | None = None
    takes: str = "it takes linear layers and experts"
    check: Callable[[Any, Any], None] | None = None
    by_block: Callable[[Any], bool] | None = None
    restore: Callable[[Any, Any], None] | None = None
    kept: bool = True
    packed: bool = False
    libraries: tuple[str, ...] = ()
    data: Callable[[Any], dict[str, Any]] | None = None

    def inputs(self) -> dict[str, Any]:
        """What of the method itself decides a result: its code, and others' versions."""
        code = {} if self.apply is None else {"code": provenance.code_of(self.apply)}
        return code | {name: provenance.version(name) for name in self.libraries}

    def validated(self, given: Mapping[str, Any]) -> Settings:
        """The settings of this method with those that are given.

        Raises InputError for one that no method has or this one does not use, for one that is
        missing, and for a value that cannot be.
        """
        fields = self.settings.model_fields
        for name in given:
            known("recipe setting", name, ["method", *setting_names()])
            if name not in fields:
                raise self._unused(name)
        try:
            settings = self.settings(**given)
        except ValidationError as error:
            raise InputError(self._sentence(error.errors()[0], given)) from None
        for name in given:
            if name not in settings.used():
                raise self._unused(name)
        return settings

    def _unused(self, name: str) -> InputError:
        return InputError(
            f"The method {self.name} does not use {name!r}: leave it out of its recipe."
        )

    def _sentence(self, error: Mapping[str, Any], given: Mapping[str, Any]) -> str:
        """What pydantic found wrong, as one sentence that says what to do."""
        reason = error.get("ctx", {}).get("error")
        if isinstance(reason, InputError):
            return str(reason)
        name = error["loc"][0] if error["loc"] else ""
        field = self.settings.model_fields.get(name)
        if field is None or reason is not None:
            return f"A recipe of {self.name} cannot be so: {reason or error['msg']}."
        choices = get_args(field.annotation) if get_origin(field.annotation) is Literal else ()
        if error["type"] == "missing":
            return f"The method {self.name} needs {name}: give {field.description}."
        if choices:
            try:
                known(field.title or name, given[name], choices)
            except InputError as unknown:
                return str(unknown)
        if error["type"].endswith("_type"):
            kind = field.annotation
            kind = kind.__name__ if isinstance(kind, type) else kind
            return f"The recipe's {name} must be {kind}, not {given[name]!r}."
        wanted = error["msg"].removeprefix("Input should be ")
        return f"The recipe's {name} must be {wanted}, not {given[name]!r}."


_methods: dict[str, Method] = {}


def register(method: Method) -> Method:
    """Make a method known by its name, and return it.

    Raises InputError where another file's method has the name; a notebook's cell may run again.
    """
    there = _methods.get(method.name, method).label.__module__
    if there != method.label.__module__:
        raise InputError(
            f"There is a method {method.name!r} already, of {there}: choose another name."
        )
    _methods[method.name] = method
    return method


@cache
def _discover() -> None:
    """Import every file of this folder, so that its methods register themselves."""
    for module in pkgutil.iter_modules([str(Path(__file__).parent)]):
        importlib.import_module(f"{__package__}.{module.name}")


def methods() -> dict[str, Method]:
    """All methods by name, "none" first, then in alphabetical order."""
    _discover()
    return {name: _methods[name] for name in sorted(_methods, key=lambda n: (n != "none", n))}


def find(name: str) -> Method:
    """The method of that name. Raises InputError, with the closest one, where there is none."""
    found = methods()
    known("compression method", name, found)
    return found[name]


def is_of_text(annotation: Any) -> bool:
    """Whether a setting of that type is a text: any, or one of a few."""
    choices = get_args(annotation) if get_origin(annotation) is Literal else ()
    return annotation is str or (bool(choices) and all(isinstance(one, str) for one in choices))


def setting_names() -> list[str]:
    """Names of the settings that any method has, each once."""
    return list(dict.fromkeys(n for one in methods().values() for n in one.settings.names()))


register(Method("none", "the full model", Settings, lambda settings: "full", None))

"""`compress` writes a compressed model into a folder."""

import argparse
import sys
from pathlib import Path
from typing import Any

from ethical_compression import store
from ethical_compression.chapters.run import number
from ethical_compression.cli.given import add_changes, add_offload, place
from ethical_compression.errors import InputError


def add(commands) -> None:
    """Tell the parser of the command."""
    command = commands.add_parser("compress", help="compress a model into a folder")
    command.about = _recipes
    command.add_argument("model", help="an embedded model, a folder, or a hub id")
    command.add_argument("--recipe", type=place, help="a YAML or JSON file of settings")
    add_changes(command, "SETTING")
    command.add_argument("--output", type=place, required=True, help="a new folder")
    command.add_argument("--report", action="store_true", help="measure it afterwards")
    command.add_argument(
        "--partial",
        action="store_true",
        help="go on where the method can touch less than nine tenths of the blocks' weights",
    )
    command.add_argument("--dtype", default="float32")
    command.add_argument("--device", default="cpu")
    add_offload(command)
    command.set_defaults(
        func=_compress,
        interrupted="{output} is written whole or not at all; started again, the same command goes "
        "on from the layers that were kept, if any.",
    )


def _recipes() -> str:
    from ethical_compression.compress import recipe

    return recipe.described()


def _compress(given: argparse.Namespace) -> None:
    if given.report and given.offload:
        raise InputError(
            "A report measures models that are in memory as a whole: leave out --report or "
            "--offload."
        )
    store.check_place(given.output, folder=True)
    compress(
        given.model,
        recipe_settings(given.recipe, dict(given.changes)),
        given.output,
        measure=given.report,
        partial=given.partial,
        dtype=given.dtype,
        device=given.device,
        offload=given.offload,
    )


def recipe_settings(path: Path | None, changes: dict[str, str]) -> dict[str, Any]:
    """A recipe's settings: those of a YAML or JSON file, then those of the command line."""
    import yaml

    from ethical_compression.compress.recipe import is_text

    settings: Any = {}
    if path is not None:
        try:
            settings = yaml.safe_load(path.read_text(encoding="utf-8"))
        except (OSError, UnicodeDecodeError, yaml.YAMLError):
            raise InputError(
                f"{path} cannot be read as YAML or JSON: correct its name or what is in it."
            ) from None
        if not isinstance(settings, dict):
            raise InputError(f"{path} must map settings to values, such as 'method: gptq'.")
    for name, text in changes.items():
        # YAML would read the pattern 2:4 as a time of day, the method `no` as a truth value, and
        # 1e-3 as a text.
        as_text = ":" in text or is_text(name)
        try:
            value = text if as_text else yaml.safe_load(text)
        except yaml.YAMLError:
            value = text
        settings[name] = number(value) if isinstance(value, str) and not as_text else value
    return settings


def compress(
    model: str, settings: dict[str, Any], output: Path, *, measure: bool, **options: Any
) -> None:
    """Compress a model into a folder; with `measure`, print what that saves and what it costs."""
    from ethical_compression.compress import compressed, report
    from ethical_compression.compress.recipe import Recipe

    chosen = Recipe.from_dict(settings)
    record = compressed.compress(chosen, model, output, progress=sys.stderr.isatty(), **options)
    print(f"{model}, {chosen.label}: {output}", file=sys.stderr)
    if said := compressed.coverage(record):
        print(said, file=sys.stderr)
    if measure:
        record, layers = report.report(chosen, model, folder=output, **options)
        print(report.sentences(record, layers))

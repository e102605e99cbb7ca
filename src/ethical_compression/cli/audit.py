"""`audit` says what compression did to a model, to whom, and how sure that is."""

import argparse
import json
import math
import re
import shlex
import sys
from pathlib import Path

from ethical_compression.cli.given import add_offload, label, named, place, whole
from ethical_compression.errors import InputError

EXAMPLES = """\
examples:
  a recipe, made here            audit smollm2-135m --recipe gptq-3bit --output report
  a checkpoint, a folder or id   audit BASE --compressed my-4bit-model --output report
  what it will take, first       audit BASE --recipe nf4 --plan
  two classifiers of posts       audit CLASSIFIER --compressed SMALLER --output report
  two runs of lm-eval            audit --samples FULL-RUN SMALL-RUN --output report
  on a cluster, a job a check    audit BASE --recipe nf4 --output report --workflow Snakefile
  a model that does not fit      audit BASE --compressed X --output report --device cuda --offload
  in a pipeline                  audit BASE --compressed X --output report --fail-on worse

Every part is kept as soon as it is scored: started again, the same command goes on."""
FAILED = 3
# Of models; runs of lm-eval bring their own, so that there these are refused.
DEFAULTS = {"items": 40, "seed": 0, "dtype": "float32", "device": "cpu"}
# Classifiers are small, posts are short, and an area needs many of both kinds.
POSTS = 400
# What a pipeline may stop at, the gravest first.
GRAVE = ("worse", "cannot tell")


def add(commands) -> None:
    """Tell the parser of the command."""
    command = commands.add_parser("audit", help="what compression did to a model, to whom")
    command.about = lambda: EXAMPLES
    command.codes = f"0 done, 2 bad input, {FAILED} a verdict that --fail-on names, or graver, "
    command.codes += "130 and 143 interrupted"
    command.add_argument(
        "model", nargs="?", help="the full model: an embedded one, a folder, or a hub id"
    )
    made = command.add_mutually_exclusive_group(required=True)
    made.add_argument("--compressed", help="the compressed model: a folder or a hub id")
    made.add_argument(
        "--recipe", help="or how to compress it here: gptq-4bit, wanda-50%%, sparsegpt-2:4, nf4, "
        "or a YAML or JSON file of settings"
    )  # fmt: skip
    made.add_argument(
        "--samples",
        nargs=2,
        metavar=("FULL", "COMPRESSED"),
        help="or, in place of models, two runs of lm-eval with --log_samples",
    )
    command.add_argument("--again", help="a second lm-eval run of the full model: the noise")
    command.add_argument("--output", type=place, help="a folder for the report")
    command.add_argument("--label", type=label, help="what the report calls the compressed model")
    command.add_argument("--items", type=_positive, help=f"items a group (40; posts: {POSTS})")
    command.add_argument(
        "--minutes", type=_minutes, help="fewer items, so that it takes about so long"
    )
    command.add_argument("--seed", type=whole, help="which items (0)")
    command.add_argument(
        "--checks", help="some checks, or lm-eval tasks, alone: names, with commas between"
    )
    command.add_argument(
        "--margin",
        nargs=2,
        action="append",
        default=[],
        metavar=("CHECK", "VALUE"),
        help="the largest change that does not matter; may be given several times",
    )
    command.add_argument("--plan", action="store_true", help="say what it will take, and stop")
    command.add_argument(
        "--workflow", type=place, metavar="FILE", help="write it as a Snakemake workflow, and stop"
    )
    command.add_argument(
        "--only-ask", action="store_true", help="score and keep, and write no report"
    )
    command.add_argument(
        "--fail-on", choices=GRAVE, help="exit with 3 where a verdict is that, or graver"
    )
    command.add_argument("--json", action="store_true", help="print the verdicts as JSON")
    command.add_argument(
        "--toxic", help="of classifiers, the labels that mean toxic, with commas between"
    )
    command.add_argument("--dtype", help="float32 (the default), float16 or bfloat16")
    command.add_argument("--device", help="cpu (the default) or cuda")
    add_offload(command)
    command.set_defaults(
        func=_audit,
        interrupted="no report was written; what was scored is kept, and the same command goes on.",
    )


def _positive(text: str) -> int:
    if not whole(text):
        raise argparse.ArgumentTypeError(f"give a whole number above 0, not {text}")
    return int(text)


def _minutes(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not (math.isfinite(value) and value > 0):
        raise argparse.ArgumentTypeError(f"give a number of minutes above 0, not {text!r}")
    return value


def recipe_of(text: str):
    """The recipe that a short name (`gptq-4bit`, `wanda-50%`, `sparsegpt-2:4`) or a file says.

    Raises InputError for what is neither.
    """
    from ethical_compression.cli.compress import recipe_settings
    from ethical_compression.compress.recipe import Recipe

    if Path(text).suffix in (".yaml", ".yml", ".json"):
        return Recipe.from_dict(recipe_settings(Path(text), {}))
    found = re.fullmatch(r"(?P<method>[a-z][a-z0-9_-]*?)(?:-(?P<amount>[\d.:]+(?:bit|%)?))?", text)
    if found is None:
        raise InputError(f"{text!r} names no recipe: say gptq-4bit, wanda-50%, nf4, or a file.")
    settings, amount = {"method": found["method"]}, found["amount"]
    if amount and amount.endswith("bit"):
        settings["bits"] = int(amount.removesuffix("bit"))
    elif amount and ":" in amount:
        settings["sparsity"] = amount
    elif amount:
        settings["sparsity"] = (
            float(amount.removesuffix("%")) / 100 if amount.endswith("%") else float(amount)
        )
    return Recipe.from_dict(settings)


def _audit(given: argparse.Namespace) -> None:
    if given.samples:
        return _audit_samples(given)
    if given.model is None:
        raise InputError("Say which the full model is, or give two runs of lm-eval with --samples.")
    if given.again:
        raise InputError("--again is a second run of lm-eval's, and goes with --samples.")
    return _audit_models(given)


def _audit_samples(given: argparse.Namespace) -> None:
    """Two runs of lm-eval in place of two models."""
    from ethical_compression import words
    from ethical_compression.audit import place as place_of_report
    from ethical_compression.audit import samples

    refused = ("minutes", "plan", "workflow", "only_ask", "toxic", "offload", *DEFAULTS)
    # Seed 0 was given, too: what was not is None, or False.
    there = [one for one in refused if not any(getattr(given, one) is no for no in (None, False))]
    said = [f"--{one.replace('_', '-')}" for one in there]
    if given.model is not None:
        said.insert(0, "the model")
    if said:
        raise InputError(
            f"--samples compares runs that are there, as they are: leave out {words.listed(said)}."
        )
    if given.output is None:
        raise InputError("Say where the report goes, with --output FOLDER.")
    place_of_report.check_place(given.output)
    page = samples.audit(
        *given.samples,
        label=given.label or "compressed",
        again=given.again,
        tasks=_names(given),
        margins={name: _number(name, value) for name, value in given.margin},
        command=_said(sys.argv[1:]),
    )
    _tell(page, given)


def _names(given: argparse.Namespace) -> list[str] | None:
    """The checks, or tasks, that were asked for."""
    return None if given.checks is None else named(given.checks)


def _audit_models(given: argparse.Namespace) -> None:
    from ethical_compression.audit import place as place_of_report
    from ethical_compression.audit import run
    from ethical_compression.score.runs import Memory

    full, other, kind = _pair(given)
    if given.output is None and not (given.plan or given.only_ask):
        raise InputError("Say where the report goes, with --output FOLDER, or ask for the --plan.")
    if given.output is not None:
        place_of_report.check_place(given.output)
    names = _names(given)
    margins = {name: _number(name, value) for name, value in given.margin}
    run.check_margins(margins, names, kind.checks)
    memory, each = Memory(full), given.items
    # A job of a workflow is told its size, and needs no plan.
    if given.minutes or given.plan or given.workflow or not given.only_ask:
        each, plan = run.sized(full, names, each, given.seed, given.minutes, memory, kind)
        # A text by itself, which is what is timed, passes blocks on disk more slowly than many do.
        most = "at most" if given.offload else "about"
        time = _time(plan)
        time = time if time.startswith("under") else f"{most} {time}"
        many = f"{len(plan)} check{'s' * (len(plan) > 1)}"
        print(f"{many}, {each} items a group: {time}.", file=sys.stderr)
    if given.plan:
        print(plan.round(0).to_string(index=False))
        return
    if given.workflow:
        return _write_workflow(given, list(plan["check"]), each)
    found = run.audit(
        full,
        other,
        names=names,
        each=each,
        seed=given.seed,
        margins=margins,
        progress=sys.stderr.isatty(),
        tell=lambda line: print(line, file=sys.stderr),
        memory=memory,
        kind=kind,
    )
    if not given.only_ask:
        # Beside what is read from disk, a time or a memory says nothing of the model.
        measured = {"measured": not given.offload, "memory": memory}
        _tell(run.page(found, command=_said(sys.argv[1:]), **measured), given)


def _pair(given: argparse.Namespace):
    """Both subjects, and of which kind they are; what was not given becomes its default."""
    from ethical_compression.audit import kinds
    from ethical_compression.compress.compressed import check_by_block
    from ethical_compression.score.subjects import Checkpoint, Compressed
    from ethical_compression.score.text_classifiers import TextClassifier, is_classifier

    classifies = is_classifier(given.model)
    for name, value in (DEFAULTS | ({"items": POSTS} if classifies else {})).items():
        if getattr(given, name) is None:
            setattr(given, name, value)
    how = {"dtype": given.dtype, "device": given.device}
    label = given.label or ""
    if classifies:
        if given.offload:
            raise InputError(
                f"{given.model} is a classifier, read as a whole: leave out --offload."
            )
        if given.recipe:
            raise InputError(
                f"{given.model} is a classifier, and a recipe compresses causal language models: "
                "name the compressed classifier with --compressed."
            )
        toxic = None if given.toxic is None else tuple(named(given.toxic))
        how["toxic"] = toxic
        full = TextClassifier(given.model, given.model, label="full", **how)
        other = TextClassifier(given.model, given.compressed, label=label, **how)
        return full, other, kinds.classifier(toxic)
    if given.toxic is not None:
        raise InputError(f"{given.model} is no classifier: leave out --toxic.")
    how["offload"] = given.offload
    if given.recipe:
        recipe = recipe_of(given.recipe)
        if given.offload:
            check_by_block(recipe)
        other = Compressed(given.model, recipe, label=label, **how)
    else:
        other = Checkpoint(given.model, given.compressed, label=label, **how)
    return Compressed(given.model, **how), other, kinds.CAUSAL


def _write_workflow(given: argparse.Namespace, checks: list[str], each: int) -> None:
    from ethical_compression.audit import workflow

    which = ["--recipe", given.recipe] if given.recipe else ["--compressed", given.compressed]
    which += ["--label", given.label] if given.label else []
    which += ["--toxic", given.toxic] if given.toxic else []
    how = {"items": each, "seed": given.seed, "dtype": given.dtype, "device": given.device}
    command = ["audit", given.model, *which]
    command += [word for name, value in how.items() for word in (f"--{name}", str(value))]
    command += ["--offload"] if given.offload else []
    last = [word for margin in given.margin for word in ("--margin", *margin)]
    last += ["--fail-on", given.fail_on] if given.fail_on else []
    workflow.write(given.workflow, command, last, checks, given.output)
    print(f"The workflow is at {given.workflow}: snakemake -s {given.workflow} --cores 2")


def _tell(page, given: argparse.Namespace) -> None:
    """Write the report, say what it came to, and stop the pipeline where that is wanted."""
    from ethical_compression.audit import report

    report.write(page, given.output)
    if given.json:
        print(json.dumps(report.as_json(page), indent=1, default=str))
    else:
        print("\n".join(report.opening(page)))
        print(f"The report is at {given.output / 'index.html'}", file=sys.stderr)
    stops_at = GRAVE[: GRAVE.index(given.fail_on) + 1] if given.fail_on else ()
    if page.verdicts["verdict"].isin(stops_at).any():
        sys.exit(FAILED)


def _said(arguments: list[str]) -> str:
    """The command that was given, its paths as `audit.place.bare` tells them."""
    from ethical_compression.audit import place as place_of_report

    return shlex.join(["ethical-compression", *(place_of_report.bare(one) for one in arguments)])


def _number(name: str, text: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise InputError(f"The margin of {name} is a number, not {text!r}.") from None


def _time(plan) -> str:
    from ethical_compression import words

    return words.minutes(float(plan["seconds"].sum()))

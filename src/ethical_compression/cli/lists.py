"""`recipes` and `data` say what there is: ways of compressing, and data sets with licences."""

import argparse
import json


def add(commands) -> None:
    """Tell the parser of both commands."""
    about = {
        "recipes": ("how a model can be compressed, with every setting", _recipes),
        "data": ("the data sets of harm: where from, licence, how many items", _data),
    }
    for name, (said, show) in about.items():
        command = commands.add_parser(name, help=said)
        command.add_argument("--json", action="store_true", help="for a program")
        command.set_defaults(func=show, interrupted="nothing was written.")
    command.add_argument(
        "--by-group", action="store_true", help="of each set, how many items are about whom"
    )


def _recipes(given: argparse.Namespace) -> None:
    from ethical_compression.compress import methods, recipe

    if not given.json:
        print(recipe.described())
        return
    found = {
        one.name: {"about": one.about, "settings": _settings(one)}
        for one in methods.methods().values()
    }
    print(json.dumps(found, indent=1, default=str))


def _settings(method) -> dict[str, dict]:
    """What a method can be given: what it means, and what it is unless given (None: it must be)."""
    return {
        name: {
            "about": field.description,
            "default": None if field.is_required() else field.default,
        }
        for name in method.settings.names()
        for field in [method.settings.model_fields[name]]
    }


def _data(given: argparse.Namespace) -> None:
    from ethical_compression.score import batteries

    rows = batteries.source_table().to_dict("records")
    if given.by_group:
        rows = [row | {"groups": _groups(row["batteries"])} for row in rows]
    if given.json:
        print(json.dumps(rows, indent=1, default=str))
        return
    for row in rows:
        print(row["title"])
        said = {
            "items": row["rows"] and f"{row['rows']:,}",
            "left out": row["left_out"],
            "licence": row["licence"],
            "from": row["package"],
            "cite": row["citation"],
        }
        for name, text in said.items():
            if text:
                print(f"  {name:9}{text}")
        for name, counts in row.get("groups", {}).items():
            print(f"  {name}: {', '.join(f'{group} {count:,}' for group, count in counts.items())}")


def _groups(names: list[str]) -> dict[str, dict[str, int]]:
    """{battery: {group: items}} of those whose items are there to be counted."""
    from ethical_compression.errors import InputError
    from ethical_compression.score import batteries

    found = {}
    for name in names:
        try:
            found[name] = batteries.by_group(name)
        except InputError:  # the data are not here, which the row says
            continue
    return {name: counts for name, counts in found.items() if counts}

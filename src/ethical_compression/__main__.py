"""Score a model, compress one, audit what that did to it, ask one about every harm under every
compression, compare two runs of lm-eval, run a chapter, or list what there is to compress with and
to ask.

    python -m ethical_compression run notebooks/X.ipynb --profile laptop -p widths "[4, 3]"
    python -m ethical_compression parameters notebooks/X.ipynb
    python -m ethical_compression score MODEL --tasks piqa,crows_pairs
    python -m ethical_compression compress MODEL --output FOLDER -p method gptq -p bits 4
    python -m ethical_compression audit MODEL --recipe gptq-3bit --output FOLDER
    python -m ethical_compression grid MODEL --shard 1/4 --output FILE
    python -m ethical_compression compare FULL COMPRESSED
    python -m ethical_compression recipes
    python -m ethical_compression data --by-group
    python -m ethical_compression completion bash

`compare` takes two runs of lm-eval with --log_samples and needs no model. Everything that can be
wrong with what is given is found before the work begins, and what is written is written whole or
not at all. Exit codes: 0 done, 1 a chapter's cell failed, 2 bad input, 3 an audit's verdict that
it was to fail on, 130 and 143 interrupted.
"""

import codecs
import re
import signal
import sys
from pathlib import Path
from unicodedata import normalize

from ethical_compression import provenance
from ethical_compression.cli import (
    audit,
    chapter,
    compare,
    completion,
    compress,
    grid,
    lists,
    score,
)
from ethical_compression.cli.given import Parser
from ethical_compression.errors import InputError
from ethical_compression.threads import wait_briefly

wait_briefly()
# What a terminal that knows no more than ASCII shows instead: a minus sign must not get lost.
PLAIN = {"−": "-", "–": "-", "—": "-", "…": "...", "×": "x", "±": "+/-", "≤": "<=", "≥": ">="}
PLAIN |= {"’": "'", "‘": "'", "“": '"', "”": '"', "·": "*", "÷": "/"}


def main(arguments: list[str] | None = None) -> int:
    _write_on_any_terminal()
    given = _parser().parse_args(arguments)
    # A batch system ends a job by SIGTERM: let it clean up as Ctrl-C does.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    try:
        given.func(given)
        return 0
    except InputError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print(f"interrupted: {given.interrupted.format(**vars(given))}", file=sys.stderr)
        return 130


def _parser() -> Parser:
    called = Path(sys.argv[0]).name
    name = called if called.startswith("ethical-compression") else "python -m ethical_compression"
    parser = Parser(prog=name, description=__doc__)
    parser.codes = ""  # they stand above
    version = provenance.version("ethical-compression") or "(not installed)"
    parser.add_argument("--version", action="version", version=f"ethical-compression {version}")
    commands = parser.add_subparsers(dest="command", required=True)
    for command in (chapter, score, compress, compare, audit, grid, lists, completion):
        command.add(commands)
    return parser


def _write_on_any_terminal() -> None:
    """Whatever cannot be shown in the terminal's encoding is shown in plain letters, not raised."""

    def instead(error: UnicodeEncodeError) -> tuple[str, int]:
        return plain(error.object[error.start : error.end]), error.end

    codecs.register_error("plain", instead)
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="plain")


def plain(text: str) -> str:
    """Text in ASCII, as near as can be: −2·10⁻⁵ is -2*10^-5, and é is e."""
    text = re.sub("[⁰¹²³⁴-⁹⁻ⁿ]+", lambda raised: f"^{normalize('NFKC', raised[0])}", text)
    bare = (PLAIN.get(sign, normalize("NFKD", sign)) for sign in text)
    return "".join(sign.encode("ascii", "ignore").decode() or "?" for sign in bare)


if __name__ == "__main__":
    sys.exit(main())

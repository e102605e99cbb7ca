"""Commands, options and their values, as a shell completes them; and with what a command ends."""

import shutil
import subprocess

import pytest

from ethical_compression.__main__ import main
from ethical_compression.cli.completion import SHELLS

COMMANDS = [
    "run",
    "parameters",
    "score",
    "compress",
    "compare",
    "audit",
    "grid",
    "recipes",
    "data",
    "completion",
]


def offered(script: str, *words: str) -> list[str]:
    """What bash offers for the last of the words."""
    line = " ".join(f"'{word}'" for word in ("ethical-compression", *words))
    asked = f"COMP_WORDS=({line}); COMP_CWORD={len(words)}; _ethical_compression"
    asked += '; echo "${COMPREPLY[@]}"'
    bash = ["bash", "--norc", "-c", f"{script}\n{asked}"]
    return subprocess.run(bash, capture_output=True, text=True, check=True).stdout.split()


@pytest.mark.skipif(shutil.which("bash") is None, reason="no bash here")
def test_bash_offers_commands_options_and_fixed_values(capsys):
    assert main(["completion", "bash"]) == 0
    script = capsys.readouterr().out
    assert offered(script, "") == COMMANDS
    assert offered(script, "co") == ["compress", "compare", "completion"]
    assert offered(script, "audit", "smollm2-135m", "--fail") == ["--fail-on"]
    assert offered(script, "audit", "smollm2-135m", "--fail-on", "") == ["worse"]
    assert offered(script, "completion", "") == list(SHELLS)
    # Files are the shell's to offer.
    assert offered(script, "audit", "my-fol") == []


def test_zsh_reads_the_same_lines_through_its_own_reader_of_bash(capsys):
    main(["completion", "bash"])
    bash = capsys.readouterr().out
    main(["completion", "zsh"])
    first, rest = capsys.readouterr().out.split("\n", 1)
    assert "bashcompinit" in first and rest == bash


@pytest.mark.parametrize("command", COMMANDS)
def test_the_help_of_a_command_says_with_what_it_ends(command, capsys):
    with pytest.raises(SystemExit) as stopped:
        main([command, "--help"])
    assert stopped.value.code == 0
    last = capsys.readouterr().out.strip().splitlines()[-1]
    assert last.startswith("exit codes: 0 done") and "130" in last
    assert ("3 a verdict" in last) == (command == "audit")
    assert ("1 a cell" in last) == (command == "run")

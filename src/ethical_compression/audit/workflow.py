"""An audit as a Snakemake workflow: a job a check, in any order and number at a time, and a report.

What a job asks is kept in the store, which the jobs share (`store.cache_dir`); the last job finds
all of it there, so that the report is the one that a single command writes. Snakemake's profiles
say where jobs run: here, on Slurm, on Kubernetes.
"""

import shlex
from collections.abc import Sequence
from pathlib import Path

from ethical_compression import store

TEXT = """\
# An audit, a job a check; written by `ethical-compression audit --workflow`.
#
#     snakemake -s {file} --cores 2                       here
#     snakemake -s {file} --executor slurm --jobs 7       on a cluster
#
# All jobs read and write one store: where they run on several machines, ETHICAL_COMPRESSION_CACHE
# names a folder that they share. Stopped and started again, it goes on.

CHECKS = {checks!r}
ASK = {ask!r}
REPORT = {report!r}
MARKS = {marks!r}


rule report:
    default_target: True
    input: expand(f"{{MARKS}}/{{{{check}}}}", check=CHECKS)
    output: {page!r}
    shell: "{{REPORT}}"


rule ask:
    output: touch(f"{{MARKS}}/{{{{check}}}}")
    threads: 1
    shell: "{{ASK}} --checks {{wildcards.check}}"
"""


def write(
    file: Path, command: Sequence[str], last: Sequence[str], checks: Sequence[str], output: Path
) -> None:
    """Write the workflow.

    command: the words of an audit of all that is asked, without checks, margins and output; last:
    what the report needs besides. checks: names. output: the report's folder.
    Raises InputError where the file cannot be written.
    """
    program = ["ethical-compression", *command]
    text = TEXT.format(
        file=file.name,
        checks=list(checks),
        ask=shlex.join([*program, "--only-ask"]),
        report=shlex.join([*program, "--checks", ",".join(checks), "--output", str(output), *last]),
        marks=f"{output}.asked",
        page=str(output / "index.html"),
    )
    store.check_place(file)
    with store.whole_or_nothing(file) as place:
        place.write_text(text, encoding="utf-8")

"""The chapters, each executed from its notebook, and then the book.

    snakemake --cores 2 --config profile=laptop

A model by another GPTQ library, in AutoGPTQ's format, from that library's own environment:

    snakemake --cores 2 _build/checkpoints/gptqmodel/smollm2-135m-4bit

Every method against every harm, of a model, a job a shard (`make grid`):

    snakemake --cores 2 --config model=smollm2-135m shards=4 -- grid

On a cluster the same file fans out: `snakemake --executor slurm --jobs 20 --config profile=paper`.
"""

import sys
from pathlib import Path

import yaml

from ethical_compression.chapters.run import read_profile
from ethical_compression.errors import InputError
from ethical_compression.threads import wait_briefly

wait_briefly()

PROFILE = str(config.get("profile", "laptop"))
EXECUTED = f"_build/executed/{PROFILE}"
PYTHON = sys.executable
TOC = yaml.safe_load(Path("book/_toc.yml").read_text(encoding="utf-8"))
CHAPTERS = [
    Path(chapter["file"]).name
    for part in TOC["parts"]
    for chapter in part["chapters"]
    if chapter["file"].startswith("notebooks/")
]
MODEL = str(config.get("model", "smollm2-135m"))
SHARDS = int(config.get("shards", 1))
# A hub id or a folder has slashes, which a folder's name cannot have.
GRID = f"_build/grid/{PROFILE}/{MODEL.strip('/').replace('/', '--')}"
PACKAGE = sorted(map(str, Path("src/ethical_compression").rglob("*.py")))
MEASURED = sorted(str(path) for path in Path("results").rglob("*") if path.is_file())
PAGES = sorted(str(path) for path in Path("book").rglob("*") if path.is_file())

try:
    read_profile(Path("notebooks/profiles"), PROFILE)
except InputError as error:
    raise SystemExit(f"error: {error}")

# The pages are swapped in when they are complete, which a file that Snakemake owns (and removes
# before it starts) could not be: the mark stands for them.
if not Path("_build/html/index.html").exists():
    Path("_build/html.done").unlink(missing_ok=True)


rule book:
    input:
        chapters=expand(EXECUTED + "/{chapter}.ipynb", chapter=CHAPTERS),
        pages=PAGES + ["_config.yml"],
    output:
        touch("_build/html.done"),
    params:
        published="--published" if config.get("published") else "",
    shell:
        "{PYTHON:q} book/build.py site --executed {EXECUTED:q} --html _build/html {params.published}"


rule chapter:
    input:
        notebook="notebooks/{chapter}.ipynb",
        profile=f"notebooks/profiles/{PROFILE}.yaml",
        package=PACKAGE,
        measured=MEASURED,
    output:
        EXECUTED + "/{chapter}.ipynb",
    # A chapter computes on two cores; two chapters on the same two would be slower than in turn.
    threads: 2
    shell:
        "OMP_NUM_THREADS={threads} {PYTHON:q} -m ethical_compression run {input.notebook:q}"
        " --profile {PROFILE:q} --output {output:q} --of-book"


rule peer:
    output:
        ".peers/{quantizer}/.done",
    shell:
        "make {output:q}"


# The recipe's other settings are its defaults, or those of `--config recipe=FILE`.
rule checkpoint:
    input:
        ".peers/{quantizer}/.done",
        package=PACKAGE,
    output:
        directory("_build/checkpoints/{quantizer}/{model}-{bits,[0-9]+}bit"),
    params:
        recipe=["--recipe", config["recipe"]] if "recipe" in config else [],
    threads: 2
    shell:
        "OMP_NUM_THREADS={threads} {PYTHON:q} -m ethical_compression compress {wildcards.model:q}"
        " {params.recipe:q} -p method gptq -p quantizer {wildcards.quantizer:q}"
        " -p bits {wildcards.bits} --output {output:q}"


# Each shard goes on from what the store keeps when it was stopped.
rule grid_shard:
    input:
        notebook="notebooks/grid.ipynb",
        profile=f"notebooks/profiles/{PROFILE}.yaml",
        package=PACKAGE,
    output:
        table=GRID + "/shard-{number,[0-9]+}-of-{shards,[0-9]+}.parquet",
        note=GRID + "/shard-{number}-of-{shards}.json",
    threads: 2
    shell:
        "OMP_NUM_THREADS={threads} {PYTHON:q} -m ethical_compression grid {MODEL:q}"
        " --profile {PROFILE:q} --shard {wildcards.number}/{wildcards.shards}"
        " --output {output.table:q}"


rule grid:
    input:
        [f"{GRID}/shard-{number}-of-{SHARDS}.parquet" for number in range(1, SHARDS + 1)],
    output:
        table=GRID + "/grid.parquet",
        note=GRID + "/grid.json",
    shell:
        "{PYTHON:q} -m ethical_compression grid {MODEL:q} --merge {input:q}"
        " --output {output.table:q}"

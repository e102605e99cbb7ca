"""The chapters, each executed from its notebook, and then the book.

    snakemake --cores 2 --config profile=laptop

A model by another GPTQ library, in AutoGPTQ's format, from that library's own environment:

    snakemake --cores 2 _build/checkpoints/gptqmodel/smollm2-135m-4bit

On a cluster the same file fans out: `snakemake --executor slurm --jobs 20 --config profile=paper`.
"""

from pathlib import Path

import yaml

PROFILE = config.get("profile", "laptop")
EXECUTED = f"_build/executed/{PROFILE}"
PYTHON = sys.executable
TOC = yaml.safe_load(Path("book/_toc.yml").read_text())
CHAPTERS = [
    Path(chapter["file"]).name
    for part in TOC["parts"]
    for chapter in part["chapters"]
    if chapter["file"].startswith("notebooks/")
]
PACKAGE = sorted(map(str, Path("src/ethical_compression").rglob("*.py")))
MEASURED = sorted(str(path) for path in Path("results").rglob("*") if path.is_file())
PAGES = sorted(str(path) for path in Path("book").rglob("*") if path.is_file())

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
    shell:
        "{PYTHON} book/build.py site --executed {EXECUTED} --html _build/html"


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
        "OMP_NUM_THREADS={threads} {PYTHON} -m ethical_compression run {input.notebook} --profile {PROFILE} --output {output}"


rule peer:
    output:
        ".peers/{quantizer}/.done",
    shell:
        "make {output}"


# The recipe's other settings are its defaults, or those of `--config recipe=FILE`.
rule checkpoint:
    input:
        ".peers/{quantizer}/.done",
        package=PACKAGE,
    output:
        directory("_build/checkpoints/{quantizer}/{model}-{bits,[0-9]+}bit"),
    params:
        recipe=f"--recipe {config['recipe']}" if "recipe" in config else "",
    threads: 2
    shell:
        "OMP_NUM_THREADS={threads} {PYTHON} -m ethical_compression compress {wildcards.model} {params.recipe}"
        " -p method gptq -p quantizer {wildcards.quantizer} -p bits {wildcards.bits} --output {output}"

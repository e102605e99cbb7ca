"""The workflow plans what it should, seen by a dry run, and runs wherever it lies."""

import os
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest
import yaml

ROOT = Path(__file__).parent.parent


@pytest.fixture
def plan(tmp_path):
    """What Snakemake would do in a copy of the workflow that has made nothing yet."""
    for file in ("Snakefile", "_config.yml"):
        shutil.copy(ROOT / file, tmp_path)
    for folder in ("book", "notebooks", "results", "src"):
        (tmp_path / folder).symlink_to(ROOT / folder)

    def planned(*arguments):
        done = subprocess.run(
            [sys.executable, "-m", "snakemake", "-n", "-p", "--cores", "2", *arguments],
            cwd=tmp_path,
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout + done.stderr

    return planned


def test_every_chapter_of_the_contents_is_run_in_the_profile_asked_for(plan):
    said = plan("--config", "profile=smoke")
    contents = yaml.safe_load((ROOT / "book/_toc.yml").read_text(encoding="utf-8"))
    files = [chapter["file"] for part in contents["parts"] for chapter in part["chapters"]]
    chapters = [file for file in files if file.startswith("notebooks/")]
    assert len(chapters) > 5
    for file in chapters:
        assert f"run {file}.ipynb --profile smoke" in said
    assert said.count("--profile smoke --output") == len(chapters)


def test_the_published_book_is_told_so(plan):
    assert "--published" not in plan("--config", "profile=smoke", "published=")
    assert "--html _build/html --published" in plan("--config", "profile=smoke", "published=yes")


def test_each_step_of_the_hosted_workflow_is_a_target_of_make():
    hosted = yaml.safe_load((ROOT / ".github/workflows/book.yml").read_text(encoding="utf-8"))
    steps = [step for job in hosted["jobs"].values() for step in job["steps"]]
    targets = [step["run"].split()[1] for step in steps if step.get("run", "").startswith("make ")]
    assert {"test", "lint", "book", "check-site"} <= set(targets)
    for target in targets:
        done = subprocess.run(["make", "-n", target], cwd=ROOT, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr


def test_a_book_is_published_to_a_branch_that_holds_it_alone(tmp_path):
    git = ["git", "-c", "user.name=a", "-c", "user.email=a@example.org"]
    copy, remote, html = (tmp_path / name for name in ("a copy", "remote.git", "html"))
    subprocess.run([*git, "init", "-q", "--bare", remote], check=True)
    subprocess.run([*git, "init", "-q", copy], check=True)
    commit = [*git, "-C", copy, "commit", "-q", "--allow-empty", "-m", "a"]
    subprocess.run(commit, check=True)
    subprocess.run([*git, "-C", copy, "remote", "add", "origin", remote], check=True)
    publish = ["bash", ROOT / ".github" / "publish.sh", html]
    html.mkdir()
    refused = subprocess.run(publish, cwd=copy, capture_output=True, text=True)
    assert refused.returncode and "holds no book" in refused.stderr
    for name in ("index.html", "other.html"):
        for old in html.iterdir():
            old.unlink()
        (html / "index.html").write_text(name)
        (html / name).touch()
        subprocess.run(publish, cwd=copy, check=True, capture_output=True)
    show = [*git, "-C", remote, "ls-tree", "--name-only", "gh-pages"]
    held = subprocess.run(show, capture_output=True, text=True, check=True).stdout.split()
    assert held == [".nojekyll", "index.html", "other.html"]
    log = [*git, "-C", remote, "rev-list", "--count", "gh-pages"]
    assert subprocess.run(log, capture_output=True, text=True, check=True).stdout.strip() == "1"


@pytest.mark.parametrize("quantizer", ["gptqmodel", "auto-gptq"])
def test_a_checkpoint_is_made_by_the_library_named_once_its_environment_is(
    plan, tmp_path, quantizer
):
    made = f"_build/checkpoints/{quantizer}/smollm2-135m-3bit"
    said = plan(made)
    assert f"make .peers/{quantizer}/.done" in said
    assert f"-p method gptq -p quantizer {quantizer} -p bits 3 --output {made}" in said
    # An environment that is there is not made again; other settings come from a file.
    mark = tmp_path / ".peers" / quantizer / ".done"
    mark.parent.mkdir(parents=True)
    mark.touch()
    said = plan("--config", "recipe=mine.yaml", "--", made)
    assert "make .peers" not in said
    assert "compress smollm2-135m --recipe mine.yaml -p method gptq" in said


@pytest.mark.parametrize(
    ("executor", "count"), [("local", 1), ("local", 2), ("local", 7), ("slurm", 7)]
)
def test_a_grid_is_a_job_a_shard_and_one_that_merges_them(plan, executor, count):
    how = ["--executor", "slurm", "--jobs", "20", "--default-resources", "slurm_partition=gpu"]
    how = how if executor == "slurm" else []
    config = ["--config", "profile=smoke", "model=org/some-model", f"shards={count}"]
    said = plan(*how, *config, "--", "grid")
    place = "_build/grid/smoke/org--some-model"
    shards = [f"{place}/shard-{number}-of-{count}.parquet" for number in range(1, count + 1)]
    for number, shard in enumerate(shards, 1):
        asked = f"grid org/some-model --profile smoke --shard {number}/{count} --output {shard}"
        assert said.count(asked) == 1
    merged = f"grid org/some-model --merge {' '.join(shards)} --output {place}/grid.parquet"
    assert said.count(merged) == 1
    assert said.count("--shard ") == count
    assert ("slurm_partition=gpu" in said) == (executor == "slurm")


def test_a_shard_that_is_there_is_not_made_again(plan, tmp_path):
    place = tmp_path / "_build/grid/smoke/smollm2-135m"
    place.mkdir(parents=True)
    for end in ("parquet", "json"):
        (place / f"shard-2-of-3.{end}").touch()
    said = plan("--config", "profile=smoke", "shards=3", "--", "grid")
    assert "--shard 1/3" in said and "--shard 3/3" in said
    assert "--shard 2/3" not in said


# --- In a folder with spaces, accents and quotes --------------------------------------------------


@pytest.fixture
def elsewhere(tmp_path):
    """The workflow with one tiny chapter, in a folder whose name must be quoted."""
    place = tmp_path / "à l'essai"
    (place / "notebooks" / "profiles").mkdir(parents=True)
    shutil.copytree(ROOT / "book", place / "book", ignore=shutil.ignore_patterns("*.md"))
    (place / "book" / "index.md").write_text("# A book\n")
    for file in ("Snakefile", "_config.yml", "Makefile", "constraints.txt"):
        shutil.copy(ROOT / file, place)
    for folder in ("results", "src"):
        (place / folder).symlink_to(ROOT / folder)
    parts = [{"caption": "One", "chapters": [{"file": "notebooks/demo"}]}]
    contents = {"format": "jb-book", "root": "index", "parts": parts}
    (place / "book" / "_toc.yml").write_text(yaml.safe_dump(contents))
    (place / "notebooks" / "profiles" / "laptop.yaml").write_text("demo:\n  bits: [3]\n")
    kept = "import os, pathlib; pathlib.Path('ran').write_text(os.environ['OMP_WAIT_POLICY'])"
    cells = [
        nbformat.v4.new_markdown_cell("# A chapter"),
        nbformat.v4.new_code_cell("bits: list[int] = [4]", metadata={"tags": ["parameters"]}),
        nbformat.v4.new_code_cell(f"{kept}; assert bits == [3]"),
    ]
    kernel = {"name": "python3", "display_name": "Python 3", "language": "python"}
    notebook = nbformat.v4.new_notebook(cells=cells, metadata={"kernelspec": kernel})
    nbformat.write(notebook, place / "notebooks" / "demo.ipynb")
    # The environment that `make` would make there: this one.
    python = place / ".venv" / "bin" / "python"
    python.parent.mkdir(parents=True)
    python.write_text(f'#!/bin/sh\nexec "{sys.executable}" "$@"\n')
    python.chmod(0o755)
    return place


def started(command, place, **environment):
    given = {k: v for k, v in os.environ.items() if k != "OMP_WAIT_POLICY"} | environment
    return subprocess.run(command, cwd=place, capture_output=True, text=True, env=given)


def make(place, *arguments, **environment):
    """`make` there, with an environment that counts as made."""
    old = ["-o", ".venv/.book", "-o", ".venv/.torch"]
    for mark in (".venv/.book", ".venv/.torch"):
        (place / mark).touch()
    return started(["make", *old, *arguments], place, **environment)


def test_a_book_is_made_in_a_folder_whose_name_must_be_quoted(elsewhere):
    # In a terminal, too, that knows nothing but ASCII.
    done = make(elsewhere, "book", LC_ALL="C", PYTHONIOENCODING="ascii")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "The book is at" in done.stdout
    assert "A chapter" in (elsewhere / "_build/html/notebooks/demo.html").read_text("utf-8")
    assert (elsewhere / "ran").read_text() == "PASSIVE"


def test_the_path_of_the_interpreter_is_quoted_as_well(elsewhere):
    python = elsewhere / "python"
    python.symlink_to(sys.executable)
    libraries = os.pathsep.join(path for path in sys.path if path)
    plan = [python, "-m", "snakemake", "--cores", "2", "-n", "-p"]
    done = started(plan, elsewhere, PYTHONPATH=libraries)
    said = done.stdout + done.stderr
    for command in ("book/build.py site", "-m ethical_compression run notebooks/demo.ipynb"):
        assert f"{shlex.quote(str(python))} {command}" in said


@pytest.mark.parametrize("profile", ["laptob", "2024"])
def test_a_misspelt_profile_is_named_by_make_book(elsewhere, profile):
    done = make(elsewhere, "book", f"PROFILE={profile}")
    assert done.returncode != 0
    assert f"there is no profile '{profile}' in notebooks/profiles" in done.stderr
    assert ("did you mean 'laptop'?" in done.stderr) == (profile == "laptob")


def test_what_stops_a_build_is_shown_by_make_book(elsewhere):
    (elsewhere / "notebooks" / "demo.ipynb").unlink()
    done = make(elsewhere, "book")
    assert done.returncode != 0
    assert "notebooks/demo.ipynb" in done.stderr


def test_make_grid_names_model_profile_and_shards(elsewhere):
    asked = ["grid", "MODEL=org/some-model", "PROFILE=smoke", "SHARDS=4"]
    said = make(elsewhere, "-n", *asked).stdout
    assert 'profile="smoke" model="org/some-model"' in said and 'shards="4"' in said
    assert "-- grid" in said


def test_make_knows_the_letters_of_its_folders_name_in_an_ascii_terminal(elsewhere):
    code = "import os, sys; print(os.fsencode(sys.argv[1]) == sys.argv[1].encode())"
    probe = f'probe: ; @"{sys.executable}" -X utf8=0 -c "{code}" "$$PWD"'
    said = started(["make", "-s", "--eval", probe, "probe"], elsewhere, LC_ALL="C")
    assert said.stdout == "True\n", said.stderr


def test_measurements_and_tests_tell_threads_not_to_spin():
    assert os.environ["OMP_WAIT_POLICY"]
    code = (
        "import sys, os, benchmarks; print(os.environ['OMP_WAIT_POLICY'], 'torch' in sys.modules)"
    )
    done = started([sys.executable, "-c", code], ROOT)
    assert done.stdout.split() == ["PASSIVE", "False"], done.stderr

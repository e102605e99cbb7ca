"""The workflow plans what it should, seen by a dry run: nothing is executed."""

import shutil
import subprocess
import sys
from pathlib import Path

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

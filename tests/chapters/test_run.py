"""The command line, and the runner of chapters: bad input stops before anything runs."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import nbformat
import pytest
from test_parameters import PARAMETERS

from ethical_compression import __main__ as runner
from ethical_compression import chapters
from ethical_compression.__main__ import main
from ethical_compression.chapters import durations
from ethical_compression.chapters import run as chapter_run
from ethical_compression.chapters.run import resolve
from ethical_compression.cli import chapter, compare, compress
from ethical_compression.errors import InputError

ACTIONS = """\
import os, pathlib, sys, time
from ethical_compression import chapters
from ethical_compression.errors import InputError

parameters = chapters.check_parameters()
pathlib.Path(os.environ["RAN"]).write_text(repr(parameters))
if model == "unknown":
    raise InputError("There is no model unknown: use smollm2-135m.")
if model == "broken":
    raise KeyError("an error of our own")
if model == "slow":
    time.sleep(60)
print("\\rscoring:   0%|  | 0/2\\rscoring: 100%|##| 2/2", file=sys.stderr)
if model == "noisy":
    print("some/library.py:1: UserWarning: look here\\n  and here", file=sys.stderr)
"""


@pytest.fixture
def project(tmp_path, monkeypatch):
    """A folder with one chapter, two profiles, and a file RAN that the chapter writes."""
    (tmp_path / "notebooks" / "profiles").mkdir(parents=True)
    cells = [
        nbformat.v4.new_code_cell(PARAMETERS, metadata={"tags": ["parameters"]}),
        nbformat.v4.new_code_cell(ACTIONS, id="acts"),
    ]
    kernel = {"name": "python3", "display_name": "Python 3", "language": "python"}
    notebook = nbformat.v4.new_notebook(cells=cells, metadata={"kernelspec": kernel})
    nbformat.write(notebook, tmp_path / "notebooks" / "demo.ipynb")
    (tmp_path / "notebooks" / "profiles" / "laptop.yaml").write_text("demo:\n  bits: [3]\n")
    (tmp_path / "notebooks" / "profiles" / "wrong.yaml").write_text("demo:\n  bits: 3\n")
    (tmp_path / "notebooks" / "profiles" / "stray.yaml").write_text("demos:\n  bits: [3]\n")
    (tmp_path / "notebooks" / "profiles" / "broken.yaml").write_text("demo: [\n")
    (tmp_path / "notebooks" / "profiles" / "list.yaml").write_text("- demo\n")
    (tmp_path / "notebooks" / "profiles" / "latin.yaml").write_bytes(b"demo: \xe9\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("RAN", str(tmp_path / "ran.txt"))
    return tmp_path


def kept(project: Path) -> list[str]:
    """Whatever lies below the output folder, hidden files too."""
    return sorted(path.name for path in project.glob("_build/**/*") if path.is_file())


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["-p", "bit", "[3]"], "has no parameter 'bit': did you mean 'bits'?"),
        (["-p", "zzz", "1"], "there is: model, bits, limit, tolerance."),
        (
            ["-p", "bits", "3"],
            "'bits' of demo.ipynb must be list[int], such as [4, 3], not 3 (int)",
        ),
        (["-p", "bits", "[3, 2.5]"], "must be list[int]"),
        (["-p", "bits", "[true]"], "must be list[int]"),
        (["-p", "limit", "many"], "must be int | None"),
        (["-p", "tolerance", "true"], "must be float"),
        (["-p", "tolerance", "-1"], "'tolerance' of demo.ipynb must be 0 or more, not -1."),
        (["-p", "bits", "[3, 1]"], "'bits' of demo.ipynb must be 2 or more, not 1."),
        (["--profile", "laptob"], "there is no profile 'laptob' in notebooks/profiles"),
        (["--profile", "wrong"], "'bits' of demo.ipynb (profile 'wrong') must be list[int]"),
        (["--profile", "stray"], "names no notebook: 'demos': did you mean 'demo'?"),
        (["--profile", "broken"], "is not valid YAML"),
        (["--profile", "list"], "must map notebook names to their parameters"),
        (["--profile", "latin"], "cannot be read as UTF-8 text"),
        (["--output", "notebooks/demo.ipynb/x.ipynb"], "a file is where a folder should be"),
        (["--output", "notebooks"], "notebooks cannot be written (it is a folder)"),
        (["--output", "notebooks/../notebooks/demo.ipynb"], "which is never written to"),
    ],
)
def test_bad_input_is_one_sentence_before_anything_runs(project, capsys, arguments, sentence):
    assert main(["run", "notebooks/demo.ipynb", *arguments]) == 2
    printed = capsys.readouterr()
    assert sentence in printed.err
    assert len(printed.err.strip().splitlines()) == 1
    assert not (project / "ran.txt").exists()
    assert kept(project) == []


def test_missing_notebook_suggests_the_closest(project, capsys):
    assert main(["run", "notebooks/dem.ipynb"]) == 2
    assert "did you mean 'demo.ipynb'?" in capsys.readouterr().err


def test_a_folder_is_no_notebook(project, capsys):
    assert main(["parameters", str(project / "notebooks")]) == 2
    said = capsys.readouterr().err
    assert "notebooks is a folder: give a notebook of it (there is: " in said and ".ipynb" in said


def test_a_chapter_runs_with_its_profile_and_changes(project, capsys):
    before = (project / "notebooks" / "demo.ipynb").read_bytes()
    assert main(["run", "notebooks/demo.ipynb", "-p", "tolerance", "1e-3", "-p", "model", "7"]) == 0
    ran = (project / "ran.txt").read_text()
    expected = {"model": "7", "bits": [3], "limit": None, "tolerance": 0.001}
    assert ran == repr(expected)
    assert kept(project) == ["demo.ipynb"]
    executed = nbformat.read(project / "_build/executed/laptop/demo.ipynb", as_version=4)
    assert [cell.execution_count for cell in executed.cells] == [1, 2, 3]
    assert all(cell.outputs == [] for cell in executed.cells)  # a progress bar is no part of a page
    assert (project / "notebooks" / "demo.ipynb").read_bytes() == before
    assert sorted(path.name for path in (project / "notebooks").iterdir()) == [
        "demo.ipynb",
        "profiles",
    ]


@pytest.mark.parametrize(
    ("model", "code", "words"),
    [
        ("unknown", 2, "error: There is no model unknown"),
        ("broken", 1, "an error of our own"),
        (
            "noisy",
            2,
            "demo.ipynb, cell 2 (acts), writes on stderr: 'some/library.py:1: UserWarning",
        ),
    ],
)
def test_a_failing_chapter_leaves_the_old_page(project, capsys, model, code, words):
    output = project / "_build" / "executed" / "laptop" / "demo.ipynb"
    output.parent.mkdir(parents=True)
    output.write_text("yesterday's")
    with pytest.raises(SystemExit) as stopped:
        sys.exit(main(["run", "notebooks/demo.ipynb", "-p", "model", model]))
    assert stopped.value.code == code
    printed = capsys.readouterr().err
    assert words in printed
    assert ("Traceback" in printed) == (code == 1)
    assert output.read_text() == "yesterday's"
    assert kept(project) == ["demo.ipynb"]


def test_where_there_is_nothing_to_choose_from_it_is_said(project, capsys):
    assert main(["run", "elsewhere/demo.ipynb"]) == 2
    assert capsys.readouterr().err.endswith("elsewhere/demo.ipynb; there is none.\n")
    with pytest.raises(InputError, match=r"no parameter 'x'; there is none\.$"):
        chapters.check_values({"x": 1}, {})


def test_a_parameters_cell_that_is_no_python_is_one_sentence(project, capsys):
    path = project / "notebooks" / "demo.ipynb"
    path.write_text(path.read_text().replace("limit: int", "limit int"))
    assert main(["parameters", "notebooks/demo.ipynb"]) == 2
    assert "demo.ipynb is not valid Python in line 3" in capsys.readouterr().err


def test_another_kernel_of_the_same_name_is_not_taken_for_ours(project, monkeypatch):
    """Jupyter looks on JUPYTER_PATH, and in the home folder, before it looks in our environment."""
    place = project / "share" / "kernels" / "python3"
    place.mkdir(parents=True)
    broken = {"argv": ["false"], "display_name": "Python 3", "language": "python"}
    (place / "kernel.json").write_text(json.dumps(broken))
    monkeypatch.setenv("JUPYTER_PATH", str(project / "share"))
    assert main(["run", "notebooks/demo.ipynb"]) == 0
    assert (project / "ran.txt").exists()


@pytest.mark.parametrize(
    ("command", "said"),
    [
        (["run", "n.ipynb"], "nothing was kept of this chapter's page"),
        (["compress", "m", "--output", "there"], "there is written whole or not at all"),
        (["compare", "a", "b"], "not all was compared"),
        (["parameters", "n.ipynb"], "not all parameters were listed"),
    ],
)
def test_ctrl_c_has_a_sentence_for_each_command(monkeypatch, capsys, command, said):
    def interrupt(*_arguments, **_options):
        raise KeyboardInterrupt

    for file, name in (
        (chapter, "_run"),
        (chapter, "_show"),
        (compress, "_compress"),
        (compare, "_compare"),
    ):
        monkeypatch.setattr(file, name, interrupt)
    assert main(command) == 130
    assert f"interrupted: {said}" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ([("bit", "4")], "no recipe setting 'bit' (did you mean 'bits'?)"),
        ([("bits", "4")], "A recipe needs a method: give one of none, awq, "),
        ([("method", "rtn")], "The method rtn needs bits: give one of 2, 3, 4, 8"),
        ([("method", "[rtn")], "no compression method '[rtn' (did you mean 'rtn'?)"),
        ([("method", "[rtn]")], "no compression method '[rtn]' (did you mean 'rtn'?)"),
        ([("method", "no")], "no compression method 'no'"),
        ([("method", "rtn"), ("bits", "[4")], "bits must be int, not '[4'"),
        ([("method", "rtn"), ("bits", "9")], "9 bits is not a width"),
    ],
)
def test_a_recipe_that_is_none_is_one_sentence(tmp_path, capsys, changes, said):
    given = [part for name, value in changes for part in ("-p", name, value)]
    output = tmp_path / "new"
    assert main(["compress", "smollm2-135m", *given, "--output", str(output)]) == 2
    printed = capsys.readouterr().err
    assert said in printed and len(printed.splitlines()) == 1
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("command", ["compress", "compare"])
def test_a_place_that_cannot_be_written_is_told_before_the_work(
    tmp_path, monkeypatch, capsys, command
):
    from ethical_compression.compress import compressed
    from ethical_compression.datasets import lm_eval_runs

    def work(*_arguments, **_options):
        pytest.fail("the work was begun")

    monkeypatch.setattr(compressed, "compress", work)
    monkeypatch.setattr(lm_eval_runs, "pair", work)
    (tmp_path / "file").write_text("")
    places = [tmp_path / "file" / "a.csv"]
    if Path("/proc").is_dir():
        places.append(Path("/proc/none/a.csv"))
    for place in places:
        if command == "compress":
            given = ["smollm2-135m", "-p", "method", "none", "--output", str(place)]
        else:
            given = ["a", "b", "--output", str(place)]
        assert main([command, *given]) == 2
        assert f"{place} cannot be written" in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_compress_lists_its_methods_and_their_settings(capsys):
    from ethical_compression.compress import methods

    with pytest.raises(SystemExit) as stopped:
        main(["compress", "--help"])
    assert stopped.value.code == 0
    said = capsys.readouterr().out
    for name, method in methods.methods().items():
        (about, settings) = re.findall(rf"(?m)^  {name} +(.*)\n((?: {{13}}.*\n)*)", said)[0]
        assert about == method.about
        assert " ".join(settings.split()) == ", ".join(method.settings.names())
    told = " ".join(said.split())
    assert "group_size = 128: inputs that share a scale" in told and "pattern" in told
    assert "clipping = True (awq), False (gptq): whether" in told


def outside(arguments, name=None, **environment):
    """A command in a process of its own, and under another name where one is given."""
    code = f"import sys; sys.argv[0] = {name!r}; from ethical_compression.__main__ import main; "
    command = ["-c", code + "sys.exit(main())"] if name else ["-m", "ethical_compression"]
    return subprocess.run(
        [sys.executable, *command, *arguments],
        capture_output=True,
        text=True,
        env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)} | environment,
    )


def test_the_program_tells_its_name_and_version():
    from importlib.metadata import version

    assert outside(["--help"]).stdout.startswith("usage: python -m ethical_compression ")
    script = outside(["run", "--help"], "/usr/bin/ethical-compression").stdout
    assert script.startswith("usage: ethical-compression run ")
    said = outside(["--version"]).stdout
    assert said == f"ethical-compression {version('ethical-compression')}\n"


def test_a_terminal_that_knows_only_ascii_loses_no_minus_sign(tmp_path):
    done = outside(["compress", "--help"], PYTHONIOENCODING="ascii")
    assert done.returncode == 0, done.stderr
    assert "share a scale; -1 is one scale a row" in done.stdout
    done = outside(["run", str(tmp_path / "é−.ipynb")], PYTHONIOENCODING="ascii")
    assert done.returncode == 2 and "e-.ipynb; there is none." in done.stderr
    assert runner.plain("p = −3·10⁻¹² ± 1 µ × 2² ≥ ∂") == "p = -3*10^-12 +/- 1 ? x 2^2 >= ?"


def test_threads_wait_a_moment_and_sleep_unless_the_user_says_otherwise():
    names = ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT")
    code = f"import os, ethical_compression.__main__ as m; print(*map(os.environ.get, {names}))"
    for wish, expected in (
        ({}, "PASSIVE 3000"),
        ({"OMP_WAIT_POLICY": "passive"}, "passive 3000"),
        ({"OMP_WAIT_POLICY": "ACTIVE"}, "ACTIVE None"),
        ({"GOMP_SPINCOUNT": "7"}, "PASSIVE 7"),
    ):
        environment = {k: v for k, v in os.environ.items() if k not in names} | wish
        done = subprocess.run(
            [sys.executable, "-c", code + "; import sys; assert 'torch' not in sys.modules"],
            capture_output=True,
            text=True,
            env=environment | {"PYTHONPATH": os.pathsep.join(sys.path)},
        )
        assert done.stdout.strip() == expected, done.stderr


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGINT])
def test_a_stopped_run_leaves_nothing(project, how):
    command = [sys.executable, "-m", "ethical_compression", "run", "notebooks/demo.ipynb"]
    process = subprocess.Popen([*command, "-p", "model", "slow"], stderr=subprocess.DEVNULL)
    for _ in range(300):
        if (project / "ran.txt").exists():
            break
        time.sleep(0.1)
    else:
        process.kill()
        pytest.fail("the chapter did not start within 30 s")
    process.send_signal(how)
    assert process.wait(timeout=20) == 128 + how
    assert kept(project) == []


def test_a_profile_need_not_name_a_chapter(project):
    (project / "notebooks" / "profiles" / "smoke.yaml").write_text("")
    assert resolve(Path("notebooks/demo.ipynb"), "smoke", {}) == {}


@pytest.mark.parametrize(
    "arguments",
    [
        ["compare", "full", ""],
        ["compare", "a", "b", "--label", " "],
        ["compress", "m", "--output", ""],
    ],
)
def test_an_unset_variable_of_the_shell_is_told(arguments, capsys):
    with pytest.raises(SystemExit):
        main(arguments)
    assert "is a variable unset?" in capsys.readouterr().err


def test_a_chapter_says_how_far_it_is_in_whole_lines_and_how_long_it_took(project, capsys):
    from tqdm.auto import tqdm

    with tqdm(
        total=3, **chapter_run._a_line_a_minute("it") | {"mininterval": 0, "delay": 0}
    ) as bar:
        for _ in range(3):
            bar.update(1)
    said = capsys.readouterr().err.splitlines()
    assert said[-1].startswith("it: 3 of 3 cells after 00:0")
    assert all(re.fullmatch(r"it: \d of 3 cells after \d\d:\d\d", line) for line in said)
    assert [durations.in_words(one) for one in (14.2, 89, 90, 700)] == [
        "14 s",
        "89 s",
        "2 min",
        "12 min",
    ]

"""The files around the science agree with each other."""

import ast
import os
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path
from types import SimpleNamespace

import nbformat
import pytest
import yaml
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "book"))
import build  # noqa: E402

from ethical_compression import chapters  # noqa: E402
from ethical_compression.compress import peers  # noqa: E402

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
EXTRAS = PROJECT["optional-dependencies"]
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))


def requirements(lines) -> dict[str, Requirement]:
    found = map(Requirement, lines)
    return {canonicalize_name(one.name): one for one in found}


def pins() -> dict[str, Requirement]:
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    return requirements(line for line in lines if line and not line.startswith("#"))


def wanted() -> dict[str, Requirement]:
    lines = [*PROJECT["dependencies"], *(line for extra in EXTRAS.values() for line in extra)]
    found = requirements(lines)
    found.pop("ethical-compression", None)
    return found


@pytest.mark.parametrize("name", sorted(wanted()))
def test_every_requirement_has_a_pin_within_its_range(name):
    pin = pins().get(name)
    assert pin is not None, f"{name} is not in constraints.txt"
    (exact,) = pin.specifier
    assert exact.operator == "=="
    assert wanted()[name].specifier.contains(exact.version, prereleases=True)


def test_every_pin_takes_the_oldest_python_that_the_project_does():
    """A Linux distribution's 3.11 may be any of 3.11's releases."""
    from importlib.metadata import PackageNotFoundError, metadata

    oldest = PROJECT["requires-python"].removeprefix(">=") + ".0"
    seen = 0
    for name, pin in pins().items():
        try:
            found = metadata(name)
        except PackageNotFoundError:
            continue
        if pin.specifier.contains(found["Version"].partition("+")[0], prereleases=True):
            seen += 1
            wants = SpecifierSet(found["Requires-Python"] or "")
            assert wants.contains(oldest), f"{name} {found['Version']} wants Python {wants}"
    assert seen > 20


def test_conda_environment_asks_for_the_same_as_pyproject():
    environment = yaml.safe_load((ROOT / "environment.yml").read_text())
    conda = [line for line in environment["dependencies"] if isinstance(line, str)]
    (pip,) = [part["pip"] for part in environment["dependencies"] if isinstance(part, dict)]
    assert pip[:2] == ["-c constraints.txt", "-e ."]
    found = requirements(pip[2:])
    expected = wanted()
    torch = expected.pop("torch")
    assert {name: one.specifier for name, one in found.items()} == {
        name: one.specifier for name, one in expected.items()
    }
    (version,) = [line.partition("=")[2] for line in conda if line.startswith("pytorch-gpu")]
    assert str(pins()["torch"].specifier) == f"=={version}"
    assert torch.specifier.contains(version)


def test_binder_gets_torch_of_the_pins_without_a_gpu():
    environment = yaml.safe_load((ROOT / ".binder" / "environment.yml").read_text())
    torch = str(pins()["torch"].specifier).removeprefix("==")
    assert f"pytorch-cpu={torch}" in environment["dependencies"]
    script = (ROOT / ".binder" / "postBuild").read_text()
    assert "torch" not in script.split("set -euo pipefail")[1]


def test_file_only_packages_are_in_no_requirement_and_no_pin():
    lines = (ROOT / "embedded.txt").read_text().splitlines()
    embedded = requirements(line for line in lines if line and not line.startswith("#"))
    assert embedded
    assert not set(embedded) & (set(wanted()) | set(pins()))


@pytest.mark.skipif(Path(sys.prefix) != ROOT / ".venv", reason="not in the environment of `make`")
def test_everything_that_make_installed_is_pinned():
    from importlib.metadata import distributions

    lines = (ROOT / "embedded.txt").read_text().splitlines()
    known = pins() | requirements(line for line in lines if line and not line.startswith("#"))
    for distribution in distributions():
        name = canonicalize_name(distribution.metadata["Name"])
        # torch pins the libraries of its GPU build itself; pip comes with Python.
        if name in {"pip", "ethical-compression", "triton"}:
            continue
        if name.startswith(("nvidia-", "cuda-")):
            continue
        assert name in known, f"{name} is installed but not in constraints.txt"
        assert known[name].specifier.contains(distribution.version.partition("+")[0], True), name


def test_make_installs_torch_before_everything_else():
    dry = subprocess.run(
        ["make", "-n", "-B", "env", "TORCH_INDEX=INDEX"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    installs = [line for line in dry.splitlines() if "pip install" in line]
    assert re.search(r"--no-deps torch==[\d.]+ --index-url INDEX", installs[0])
    assert all("INDEX" not in line for line in installs[1:])


@pytest.mark.parametrize("peer", ["gptqmodel", "auto-gptq"])
def test_peers_get_our_torch_first_and_nothing_from_our_environment(peer):
    torch = str(pins()["torch"].specifier).removeprefix("==")
    conda = yaml.safe_load((ROOT / "environments" / f"{peer}.yml").read_text())
    assert f"pytorch={torch}" in conda["dependencies"]
    script = ROOT / "environments" / f"{peer}.post-deploy.sh"
    assert f"torch=={torch}" in script.read_text()
    assert f" {peer}=={peers.VERSIONS[peer]} " in script.read_text()
    command = ["make", "-n", "-B", f".peers/{peer}/.done", "TORCH_INDEX=INDEX"]
    dry = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    assert f"--no-deps torch=={torch} --index-url INDEX" in dry
    assert dry.index("--no-deps torch") < dry.index(script.name)
    assert ".venv" not in dry


def test_every_citation_has_its_reference_and_every_reference_its_own_key():
    keys = re.findall(r"(?m)^@\w+\{([^,\s]+)", (ROOT / "book" / "references.bib").read_text())
    assert len(keys) == len(set(keys))
    pages = [*NOTEBOOKS, *(ROOT / "book").glob("*.md")]
    for path in pages:
        for cited in re.findall(r"\{cite:[tp]\}`([^`]+)`", path.read_text(encoding="utf-8")):
            for key in cited.split(","):
                assert key.strip() in keys, f"{path.name} cites {key.strip()}"


def test_zenodo_is_told_what_the_citation_says():
    import json

    cited = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    told = json.loads((ROOT / ".zenodo.json").read_text(encoding="utf-8"))
    assert (told["title"], told["license"]) == (cited["title"], cited["license"])
    assert told["keywords"] == cited["keywords"] and told["upload_type"] == cited["type"]
    assert [one["name"] for one in told["creators"]] == [one["name"] for one in cited["authors"]]


def test_readme_gives_ci_its_test_command():
    script = (ROOT / ".ci" / "run").read_text()
    extract = next(line for line in script.splitlines() if line.startswith("command=$("))
    done = subprocess.run(
        ["bash", "-c", f'{extract}; printf %s "$command"'], cwd=ROOT, capture_output=True, text=True
    )
    assert done.stdout == "make test"


def test_nothing_that_is_committed_names_a_place_on_our_machines():
    listed = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True)
    if listed.returncode != 0:
        pytest.skip("not a git checkout")
    for name in listed.stdout.splitlines():
        path = ROOT / name
        if path.suffix in {".py", ".md", ".txt", ".toml", ".yml", ".yaml", ".ipynb", ".cff"}:
            text = path.read_text(encoding="utf-8")
            assert not re.search(r"(?<![\w./])/(?:home|root|Users|work)/\w", text), name


def test_how_to_run_names_every_variable_of_the_environment_that_is_read():
    page = (ROOT / "book" / "how-to-run.md").read_text(encoding="utf-8")
    said = set(re.findall(r"(?m)^`([A-Z_]+)`$", page))
    read = r'environ(?:\.get\(|\[)"([A-Z_]+)"'
    package = (ROOT / "src" / "ethical_compression").rglob("*.py")
    found = {name for path in package for name in re.findall(read, path.read_text("utf-8"))}
    assert len(found) >= 4 and found <= said
    assert {name for name in said if name.startswith("ETHICAL_")} <= found


# --- Notebooks ------------------------------------------------------------------------------------


def test_every_chapter_is_in_the_book_and_in_every_profile():
    toc = yaml.safe_load((ROOT / "book" / "_toc.yml").read_text())
    assert sorted(build.chapters(toc)) == [path.stem for path in NOTEBOOKS]
    for profile in ("smoke", "quick", "laptop", "gpu", "paper"):
        content = yaml.safe_load((ROOT / f"notebooks/profiles/{profile}.yaml").read_text())
        assert sorted(content) == [path.stem for path in NOTEBOOKS]


@pytest.mark.parametrize("profile", ["smoke", "quick", "laptop", "full", "gpu", "paper"])
@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_every_profile_fits_its_chapter(path, profile):
    from ethical_compression.chapters.run import resolve

    resolve(path, profile, {})


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_source_notebook_is_clean_and_can_run_anywhere(path):
    notebook = nbformat.read(path, as_version=4)
    nbformat.validate(notebook)
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert all(not cell.outputs and cell.execution_count is None for cell in code)
    assert notebook.metadata.kernelspec.name == "python3"
    assert "setup" in code[0].metadata.tags
    assert {"hide-cell", "remove-cell"} & set(code[0].metadata.tags), "the set-up cell is shown"
    assert code[0].source == build.set_up_source(ROOT), "run `make format`"
    parameters = next(cell for cell in code if "parameters" in cell.metadata.get("tags", []))
    check = code[code.index(parameters) + 1].source
    assert "check_parameters()" in check
    for cell in code:
        shown = "setup" not in cell.metadata.get("tags", [])
        assert not shown or "print(" not in cell.source, (
            "a page has tables, figures and glued sentences"
        )
        if len(cell.source.splitlines()) > 20:
            folded = {"hide-input", "hide-cell", "remove-input", "remove-cell"}
            assert folded & set(cell.metadata.get("tags", [])), "a long cell is not folded"


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_chapter_says_first_what_was_found_and_the_front_page_repeats_it(path):
    notebook = nbformat.read(path, as_version=4)
    first = next(cell.source for cell in notebook.cells if cell.cell_type == "markdown")
    box = re.search(r"```\{admonition\} At a glance\n:class: tip\n\n(.*?)\n\n", first, re.DOTALL)
    assert box, "its first cell has no box 'At a glance'"
    found = re.fullmatch(r"\*\*What was found\.\*\* \{glue:text\}`([\w-]+-answer)`", box[1])
    assert found, "the box does not begin with what was found, and with nothing besides"
    code = "\n".join(cell.source for cell in notebook.cells if cell.cell_type == "code")
    assert code.count(f'"{found[1]}"') == 1, f"no cell, or more than one, glues {found[1]}"
    front = (ROOT / "book" / "index.md").read_text(encoding="utf-8")
    entry = rf"\(notebooks/{path.stem}\):\s+\{{glue:text\}}`notebooks/{path.name}::{found[1]}:s`"
    assert re.search(entry, front), "the front page does not say what it found"


# --- The repository's address ---------------------------------------------------------------------


@pytest.mark.parametrize(
    ("remote", "address"),
    [
        ("git@github.com:some/fork.git", "https://github.com/some/fork"),
        ("https://github.com/some/fork.git", "https://github.com/some/fork"),
        ("https://someone:secret@gitlab.com/a/b/c.git/", "https://gitlab.com/a/b/c"),
        ("ssh://git@git.example.org:2222/some/fork.git", "https://git.example.org/some/fork"),
        ("https://github.com/some/fork", "https://github.com/some/fork"),
        ("/srv/git/fork.git", ""),
        ("../fork", ""),
        ("file:///srv/fork.git", ""),
        ("localhost:fork", ""),
        ("", ""),
    ],
)
def test_remotes_become_web_addresses_without_secrets(remote, address):
    assert build.web_address(remote) == address


@pytest.fixture
def clone(tmp_path):
    """A git checkout with a remote, our configuration, and a chapter."""
    (tmp_path / "notebooks").mkdir()
    text = (ROOT / "_config.yml").read_text()
    (tmp_path / "_config.yml").write_text(re.sub(r'(?m)^(  url:) ".*"', r'\1 ""', text))
    cell = nbformat.v4.new_code_cell("x", metadata={"tags": ["setup", "hide-cell"]})
    nbformat.write(nbformat.v4.new_notebook(cells=[cell]), tmp_path / "notebooks" / "a.ipynb")
    subprocess.run(["git", "init", "-q", tmp_path], check=True)
    return tmp_path


def set_up_of(clone: Path) -> str:
    return nbformat.read(clone / "notebooks" / "a.ipynb", as_version=4).cells[0].source


def test_a_fork_takes_its_address_over(clone):
    remote = ["git", "-C", clone, "remote", "add", "origin", "git@github.com:some/fork.git"]
    subprocess.run(remote, check=True)
    assert build.configured_address(clone) == ""
    comments = (clone / "_config.yml").read_text().count("#")
    assert build.fork(clone) == "https://github.com/some/fork"
    assert build.configured_address(clone) == "https://github.com/some/fork"
    assert 'REPOSITORY = "https://github.com/some/fork"' in set_up_of(clone)
    assert (clone / "_config.yml").read_text().count("#") == comments
    assert build.set_up(clone, check=True) == []


def test_an_address_makes_no_chapter_due_again(clone):
    remote = ["git", "-C", clone, "remote", "add", "origin", "git@github.com:some/fork.git"]
    subprocess.run(remote, check=True)
    path = clone / "notebooks" / "a.ipynb"
    os.utime(path, (10**9, 10**9))
    build.fork(clone)
    assert set_up_of(clone) != "x" and path.stat().st_mtime == 10**9


def test_a_commit_that_is_no_branch_has_the_branch_of_the_configuration(clone):
    git = ["git", "-C", str(clone), "-c", "user.name=a", "-c", "user.email=a@example.org"]
    subprocess.run([*git, "checkout", "-q", "-b", "mine"], check=True)
    subprocess.run([*git, "commit", "-q", "--allow-empty", "-m", "a"], check=True)
    assert build.branch_of(clone) == "mine"
    subprocess.run([*git, "checkout", "-q", "--detach"], check=True)
    config = clone / "_config.yml"
    config.write_text(re.sub(r"(?m)^  branch: .*", "  branch: published", config.read_text()))
    assert build.branch_of(clone) == "published"


def test_a_copy_without_a_remote_says_what_to_do(clone):
    with pytest.raises(SystemExit, match="git remote add origin"):
        build.fork(clone)
    assert build.configured_address(clone) == ""


def test_set_up_check_finds_a_cell_that_was_changed(clone):
    assert [path.name for path in build.set_up(clone, check=True)] == ["a.ipynb"]
    assert set_up_of(clone) == "x"
    build.set_up(clone)
    assert build.set_up(clone, check=True) == []


@pytest.fixture
def colab(clone, tmp_path_factory, monkeypatch):
    """Runs the set-up cell where the package is missing: its commands, and what may be typed."""
    import importlib.util

    place = tmp_path_factory.mktemp("colab")
    monkeypatch.chdir(place)
    monkeypatch.setattr(sys, "path", list(sys.path))
    found = SimpleNamespace(place=place, missing=True, fails=None, typed=None, commands=[])
    found.asked, found.mends = "", False
    find_spec = importlib.util.find_spec

    def run(command, **_options):
        found.commands.append(command)
        if "clone" in command:  # a download that breaks leaves a part
            Path(command[-1]).mkdir()
        failed = found.fails in command
        if found.mends:
            found.fails = None
        return SimpleNamespace(returncode=int(failed))

    def asked(words):
        found.asked += words
        if found.typed is None:
            raise NotImplementedError
        return found.typed.pop(0)

    def cell(address=""):
        found.commands.clear()
        source = build.set_up_source(clone).replace('REPOSITORY = ""', f'REPOSITORY = "{address}"')
        exec(compile(source, "set-up", "exec"), {"input": asked})
        return found.commands

    def spec(name):
        return None if found.missing else find_spec(name)

    monkeypatch.setattr(importlib.util, "find_spec", spec)
    monkeypatch.setattr(subprocess, "run", run)
    found.cell = cell
    return found


def test_set_up_cell_does_nothing_where_the_package_is(colab):
    colab.missing = False
    assert colab.cell() == []


def test_set_up_cell_installs_a_whole_copy_and_the_package_last(colab):
    cloned, files, package = colab.cell("https://example.org/a/b")
    copy = str(colab.place / "compendium")
    assert cloned[:2] == ("git", "clone") and "https://example.org/a/b" in cloned
    assert files[-3:] == ("--no-deps", "-r", f"{copy}/embedded.txt")
    assert package[-2:] == ("-e", f"{copy}[notebook]")
    assert sys.path[0] == f"{copy}/src"


def test_set_up_cell_asks_for_the_address_until_something_comes_of_it(colab, capsys):
    with pytest.raises(SystemExit, match=r"address of the book's repository.*make env"):
        colab.cell()
    colab.typed = ["", "https://example.org/wrong", " https://example.org/typed "]
    colab.fails = "https://example.org/wrong"
    first, again, *_ = colab.cell()
    assert "https://example.org/wrong" in first and "https://example.org/typed" in again
    assert colab.typed == [] and "Nothing came from https://example.org/wrong" in colab.asked
    told = capsys.readouterr().out
    for line in ("1 of 3", "2 of 3", "3 of 3", "Ready after"):
        assert line in told


def test_set_up_cell_tries_a_known_address_again_at_a_word(colab):
    colab.typed, colab.fails, colab.mends = [""], "clone", True
    addresses = [command[-2] for command in colab.cell("https://example.org/a/b")[:2]]
    assert addresses == ["https://example.org/a/b"] * 2


def test_set_up_cell_can_be_run_again_wherever_it_failed(colab):
    copy = str(colab.place / "compendium")
    for fails, commands in (("clone", 1), ("clone", 1), ("-r", 2), (f"{copy}[notebook]", 2)):
        colab.fails = fails
        with pytest.raises(SystemExit, match="run this cell again"):
            colab.cell("https://example.org/a/b")
        assert len(colab.commands) == commands
        assert f"{copy}/src" not in sys.path
    colab.fails = None
    assert len(colab.cell()) == 2  # the copy is there, and nobody is asked where it is
    assert [path.name for path in colab.place.iterdir()] == ["compendium"]


def test_set_up_cell_says_how_to_try_a_chapter_and_how_to_use_a_gpu(colab, capsys, monkeypatch):
    for there in (None, "/usr/bin/nvidia-smi"):
        monkeypatch.setattr(shutil, "which", lambda _name, there=there: there)
        shutil.rmtree(colab.place / "compendium", ignore_errors=True)
        colab.cell("https://example.org/a/b")
        said = capsys.readouterr().out
        assert 'chapters.profile("quick")' in said
        assert ('chapters.profile("gpu")' in said) == bool(there)


def test_pages_are_not_built_of_a_chapter_that_warns(tmp_path):
    name = build.chapters(yaml.safe_load((ROOT / "book" / "_toc.yml").read_text()))[0]
    stream = nbformat.v4.new_output("stream", name="stderr", text="UserWarning: look here\n")
    cell = nbformat.v4.new_code_cell("x", outputs=[stream])
    nbformat.write(nbformat.v4.new_notebook(cells=[cell]), tmp_path / f"{name}.ipynb")
    with pytest.raises(SystemExit, match=r"cell 0 .* writes on stderr: 'UserWarning: look here'"):
        build.assemble(ROOT, tmp_path, tmp_path / "source")


def test_launch_buttons_only_where_they_lead_somewhere():
    config = build._config(ROOT)
    assert "repository" not in build.with_address(config, "", "main")
    assert "launch_buttons" not in build.with_address(config, "", "main")
    hub = build.with_address(config, "https://github.com/some/fork", "main")
    assert hub["launch_buttons"]["colab_url"]
    assert hub["repository"]["url"] == "https://github.com/some/fork"
    assert hub["html"]["use_repository_button"]
    # A notebook that knows no address would ask who opened it for one.
    assert (
        "colab_url"
        not in build.with_address(config, hub["repository"]["url"], "main", False)["launch_buttons"]
    )
    elsewhere = build.with_address(config, "https://git.example.org/a/b", "main")
    assert "colab_url" not in elsewhere["launch_buttons"]


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_no_chapter_overwrites_a_parameter(path):
    cells = [c for c in nbformat.read(path, as_version=4).cells if c.cell_type == "code"]
    at = next(k for k, c in enumerate(cells) if "parameters" in c.metadata.get("tags", []))
    declared = set(chapters.declared_parameters(cells[at].source))
    for cell in cells[at + 1 :]:
        # Names of a function or of a comprehension are their own.
        waiting, written = [ast.parse(cell.source)], set()
        while waiting:
            node = waiting.pop()
            if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
                written.add(node.id)
            own = (ast.FunctionDef, ast.Lambda, ast.ListComp, ast.SetComp, ast.DictComp)
            if not isinstance(node, (*own, ast.GeneratorExp)):
                waiting += ast.iter_child_nodes(node)
        assert not written & declared, f"{cell.id} writes {written & declared}"


def test_no_two_files_of_tests_share_a_name():
    """Without packages pytest takes the second for the first, and collects nothing."""
    names = [path.name for path in (ROOT / "tests").rglob("test_*.py")]
    assert sorted(names) == sorted(set(names))


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_chapter_glues_each_name_once(path):
    """A second text under one name takes the first one's place, on the page too."""
    notebook = nbformat.read(path, as_version=4)
    code = "\n".join(cell.source for cell in notebook.cells if cell.cell_type == "code")
    # Branches of one `if` glue one name each; they stand indented.
    names = re.findall(r'(?m)^chapters\.glue\(\s*"([^"{]+)"', code)
    assert sorted(names) == sorted(set(names))


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_every_whole_number_a_chapter_takes_has_a_bound(path):
    """A size below zero is told before the chapter begins, and by its own name."""
    cells = nbformat.read(path, as_version=4).cells
    cell = next(one for one in cells if "parameters" in one.metadata.get("tags", []))
    declared = chapters.declared_parameters(cell.source)
    free = [one.name for one in declared.values() if "int" in one.annotation and one.least is None]
    assert not free, f"say the least that it may be in its comment (≥ …): {', '.join(free)}"


# --- Nothing is too long --------------------------------------------------------------------------

FILE, FUNCTION = 450, 60  # lines; of a function, besides its docstring
PACKAGE = Path(chapters.__file__).parent.parent
FILES = sorted(path.relative_to(PACKAGE).as_posix() for path in PACKAGE.rglob("*.py"))


def long_functions(source: str) -> list[str]:
    """Functions beyond `FUNCTION` lines that no comment `# long: why` above them defends."""
    lines, found = source.splitlines(), []
    for node in ast.walk(ast.parse(source)):
        if not isinstance(node, ast.FunctionDef):
            continue
        first = min(one.lineno for one in (node, *node.decorator_list)) - 1
        comment = first
        while comment and lines[comment - 1].lstrip().startswith("#"):
            comment -= 1
        defended = any(line.lstrip().startswith("# long: ") for line in lines[comment:first])
        told = node.body[0] if ast.get_docstring(node) else None
        size = node.end_lineno - node.lineno + 1
        size -= told.end_lineno - told.lineno + 1 if told else 0
        if size > FUNCTION and not defended:
            found.append(f"{node.name} ({size} lines)")
    return found


def test_a_long_function_is_found_unless_a_comment_defends_it():
    body = "\n".join(["    x = 1"] * FUNCTION)
    assert not long_functions(f'def f():\n    """Says\n    much."""\n{body[:-10]}')
    assert long_functions(f"def f():\n{body}") == [f"f ({FUNCTION + 1} lines)"]
    assert not long_functions(
        f"# long: it is one formula,\n# in its letters.\n@g\ndef f():\n{body}"
    )


@pytest.mark.parametrize("name", FILES)
def test_no_file_and_no_function_is_too_long(name):
    source = (PACKAGE / name).read_text(encoding="utf-8")
    size = len(source.splitlines())
    assert size <= FILE, f"{name} has {size} lines: split it into files that say what they hold."
    assert not long_functions(source), "split it, or defend it in a comment above: # long: why"


def test_every_reference_says_where_it_appeared():
    """What lacks it is a warning of Sphinx's, which stops the build of all pages."""
    wanted = {"article": "journal", "inproceedings": "booktitle", "book": "publisher"}
    entries = re.split(r"\n(?=@)", (ROOT / "book" / "references.bib").read_text(encoding="utf-8"))
    for entry in entries:
        kind, key = re.match(r"@(\w+)\{([^,]+)", entry.strip()).groups()
        assert kind not in wanted or f"{wanted[kind]} = " in entry, key
    assert len(entries) > 50

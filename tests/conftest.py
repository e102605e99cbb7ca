"""What several test files share: one cache for slow conversions, and the embedded model."""

import os
import sys
from pathlib import Path

import pytest

from ethical_compression.threads import wait_briefly

# Read by torch once, when it is loaded.
wait_briefly()
# Converting the embedded model takes most of a minute: kept between runs, as `make` keeps it.
CACHE = Path(__file__).parent.parent / "_build" / "cache"
os.environ.setdefault("ETHICAL_COMPRESSION_CACHE", str(CACHE))


@pytest.fixture(autouse=True)
def no_figure_stays_open():
    """A test that draws leaves no figure behind, which would be kept in memory and counted."""
    yield
    if pyplot := sys.modules.get("matplotlib.pyplot"):
        pyplot.close("all")


@pytest.fixture(scope="session")
def empty_store():
    """Makes a folder a store that holds nothing but the embedded models, converted, as the store of
    all tests keeps them: what takes ten seconds is done once, and in question in one file alone."""
    from ethical_compression import store

    converted = store.cache_dir() / "models"
    converted.mkdir(parents=True, exist_ok=True)

    def made(place: Path) -> Path:
        place.mkdir(exist_ok=True)
        (place / "models").symlink_to(converted)
        return place

    return made


@pytest.fixture
def own_store(empty_store, tmp_path, monkeypatch):
    """An empty store of the test's own, its folder."""
    place = empty_store(tmp_path / "store")
    monkeypatch.setenv("ETHICAL_COMPRESSION_CACHE", str(place))
    return place


@pytest.fixture(scope="module")
def store_of_the_module(empty_store, tmp_path_factory):
    """An empty store for what the tests of one file keep."""
    return empty_store(tmp_path_factory.mktemp("store"))


@pytest.fixture
def in_the_store_of_the_module(store_of_the_module, monkeypatch):
    """What is scored is kept from one test of a file to the next, and nowhere else."""
    monkeypatch.setenv("ETHICAL_COMPRESSION_CACHE", str(store_of_the_module))


@pytest.fixture(scope="session")
def smollm2():
    """The embedded model, loaded once: do not change its weights."""
    from ethical_compression import models

    return models.load("smollm2-135m")


@pytest.fixture(scope="session")
def mirror():
    """Folder of the benchmark files that are not embedded; without it the test is skipped."""
    named = os.environ.get("ETHICAL_COMPRESSION_DATA")
    if not named:
        pytest.skip("ETHICAL_COMPRESSION_DATA names no mirror folder")
    return Path(named)


@pytest.fixture(scope="session")
def site(tmp_path_factory) -> Path:
    """The built book, of the `smoke` profile, or the one that the variable SITE names."""
    if os.environ.get("SITE"):
        return Path(os.environ["SITE"]).resolve()
    root = Path(__file__).resolve().parent.parent
    sys.path.insert(0, str(root / "book"))
    import build

    from ethical_compression.chapters.run import resolve, run

    folder = tmp_path_factory.mktemp("site")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(root)
        for path in sorted(Path("notebooks").glob("*.ipynb")):
            # Programs in the folded solutions of exercises run, too.
            given = resolve(path, "smoke", {})
            run(path, folder / "executed" / path.name, given, solutions=True)
    return build.site(root, folder / "executed", folder / "html").parent


@pytest.fixture(scope="session")
def pages(site) -> list[Path]:
    """Its pages, but for an index of nothing, search, and the slides, which stand by themselves."""
    left_out = {"genindex.html", "search.html", "slides.html"}
    found = sorted(path for path in site.rglob("*.html") if path.name not in left_out)
    return [path for path in found if "_static" not in path.relative_to(site).parts]


@pytest.fixture(scope="session")
def _looked():
    return {}


@pytest.fixture
def look(browser, site, pages, _looked):
    """(width, scheme) -> what each page shows then, by its path, the page of a search among them.

    Each is loaded once, whoever asks: it is what takes the time.
    """
    import browsing

    def looked(width: int, scheme: str = "light") -> dict[Path, dict]:
        if (width, scheme) not in _looked:
            paths = [*pages, site / "search.html"]
            _looked[width, scheme] = {
                path: browsing.look(browser, path, width, scheme) for path in paths
            }
        return _looked[width, scheme]

    return looked


@pytest.fixture(scope="session")
def chapter_pages(site) -> list[Path]:
    """The pages that are chapters."""
    return sorted((site / "notebooks").glob("*.html"))


@pytest.fixture(scope="module")
def browser():
    # Not longer than a file of tests: while it is open, nothing else may run an event loop.
    import browsing
    from playwright.sync_api import sync_playwright

    with sync_playwright() as play:
        running = browsing.launch(play)
        yield running
        running.close()

"""Aligned models, compressed before or after, each run and each score of it kept when it is done.

Runs toward the *immoral* action are made to be measured. Their adapters lie in the reader's own
store (`store.cache_dir()`) and are nowhere released.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from ethical_compression import models, provenance, store
from ethical_compression.compress import compressed
from ethical_compression.compress.apply import apply
from ethical_compression.compress.calibration import calibration_inputs, calibration_windows
from ethical_compression.compress.recipe import Recipe
from ethical_compression.datasets.moral_stories import DIRECTIONS, FIELDS, MoralStory
from ethical_compression.errors import InputError
from ethical_compression.score import loglikelihood, moral, networks, runs
from ethical_compression.score.runs import fingerprint
from ethical_compression.train import adapters, dpo


@dataclass(frozen=True)
class Run:
    """What is done to `model`, in this order; a subject (`score.runs`).

    before: how it is compressed first. direction, size, settings: which actions it is then trained
    to prefer (a key of `DIRECTIONS`; None: none), on how many of the stories in `pool`, and
    how; the settings' seed draws them. after: how what came of it is compressed; on_stories:
    whether that calibrates on the stories trained on, instead of the recipe's own text.
    """

    model: str
    pool: tuple[MoralStory, ...] = ()
    direction: str | None = None
    size: int = 0
    settings: dpo.Settings = field(default_factory=dpo.Settings)
    before: Recipe = field(default_factory=Recipe)
    after: Recipe = field(default_factory=Recipe)
    on_stories: bool = False
    dtype: str = "float32"
    device: str = "cpu"

    @property
    def compression(self) -> str:
        """`DPO_M 84`, `DPO_I 84, then GPTQ 3-bit`, `NF4, then DPO_M 84`, or `full`."""
        trained = f"{DIRECTIONS[self.direction]} {self.size}" if self.direction else None
        steps = [
            None if self.before.method == "none" else self.before.label,
            trained,
            None if self.after.method == "none" else self.after.label,
        ]
        said = ", then ".join(step for step in steps if step) or "full"
        return f"{said} on its stories" if self.on_stories else said

    @property
    def stories(self) -> list[MoralStory]:
        """Those that are trained on."""
        return dpo.draw(self.pool, self.size, self.settings.seed) if self.direction else []

    def _base(self) -> dict[str, Any]:
        return {
            "model": models.describe(self.model)["fingerprint"],
            "before": self.before.inputs(),
            "dtype": self.dtype,
            "device": self.device,
        }

    def training(self) -> dict[str, Any]:
        """What decides the trained weights: JSON-ready."""
        if not self.direction:
            return self._base()
        # peft makes the adapters and computes with them.
        made_by = {"peft": provenance.version("peft")} if self.settings.rank else {}
        return self._base() | {
            **made_by,
            "direction": self.direction,
            "stories": fingerprint([asdict(story) for story in self.stories]),
            "settings": asdict(self.settings),
        }

    def inputs(self) -> dict[str, Any]:
        """What decides the model that is left: JSON-ready."""
        inputs = self.training() | {"after": self.after.inputs()}
        if self.on_stories:
            inputs["read"] = fingerprint([asdict(story) for story in self.read()])
        return inputs

    def read(self) -> list[MoralStory]:
        """Those that a calibration on stories reads: of an untrained model the same."""
        if not self.pool:
            raise InputError("To calibrate on stories, a run needs some in its pool.")
        return dpo.draw(self.pool, self.size, self.settings.seed)

    def load(self, *, progress: bool = False) -> models.Loaded:
        """The model that is left."""
        return load(self, progress=progress)

    def folder(self) -> Path:
        """Where the trained weights are kept."""
        return store.cache_dir() / "aligned" / store.key("dpo", self.training(), __name__)


def train(run: Run, *, progress: bool = False):
    """(the model trained and not yet compressed again, as `models.Loaded`; the log of its steps).

    Read from the store where it was trained before, and gone on with where training was stopped.
    """
    loaded = compressed.load(
        run.before, run.model, dtype=run.dtype, device=run.device, progress=progress
    )
    log = dpo.train(
        loaded.model,
        loaded.tokenizer,
        dpo.pairs(run.stories, run.direction),
        run.settings,
        reference=reference(run, loaded),
        folder=run.folder(),
        progress=f"{run.compression}, seed {run.settings.seed}" if progress else None,
    )
    return loaded, log


def reference(run: Run, loaded):
    """Log-probabilities (size, 2) of a run's pairs under the model before training.

    Computed once for both directions.
    """
    import pandas as pd

    pairs = dpo.pairs(run.stories, "moral")
    end = run.settings.end

    def scored():
        encoded = dpo.encode_pairs(
            loaded.tokenizer, pairs, end=end, max_length=networks.model_length(loaded.model)
        )
        found = dpo.reference_logprobs(loaded.model, encoded)
        return pd.DataFrame(found, columns=list(moral.ACTIONS))

    table = store.table(
        "dpo-reference", run._base() | {"pairs": fingerprint(pairs), "end": end}, scored
    )
    columns = moral.ACTIONS if run.direction == "moral" else moral.ACTIONS[::-1]
    return table[list(columns)].to_numpy()


def load(run: Run, *, progress: bool = False):
    """The model that a run leaves: `models.Loaded`."""
    if run.direction:
        loaded, _ = train(run, progress=progress)
    else:
        loaded = compressed.load(
            run.before, run.model, dtype=run.dtype, device=run.device, progress=progress
        )
    if run.after.method == "none":
        return loaded
    if not run.direction and run.before.method == "none" and not run.on_stories:
        return compressed.load(
            run.after, run.model, dtype=run.dtype, device=run.device, progress=progress
        )
    adapters.merge_adapters(loaded.model)
    apply(run.after, loaded.model, calibration(run, loaded), progress=progress)
    return loaded


def calibration(run: Run, loaded) -> list:
    """The windows that `after` calibrates on: its recipe's text, or the stories trained on."""
    if not run.after.reads_text:
        return []
    if not run.on_stories:
        return calibration_inputs(run.after, loaded.model, loaded.tokenizer)
    documents = [" ".join(getattr(story, name) for name in FIELDS) for story in run.read()]
    windows = calibration_windows(
        loaded.tokenizer,
        documents,
        samples=run.after.samples,
        length=run.after.length,
        seed=run.after.seed,
    )
    return [window.to(loaded.model.device) for window in windows]


def steps(run: Run, *, progress: bool = True):
    """The log of a run's training (`dpo.train`), with first columns naming the run."""
    inputs = {"run": run.training()}
    table = store.table("dpo-log", inputs, lambda: train(run, progress=progress)[1])
    table.insert(0, "model", run.model)
    table.insert(1, "compression", run.compression)
    return _with_training(run, table)


def scores(
    run: Run,
    tested: Sequence[MoralStory],
    *,
    benchmarks: Mapping[str, Sequence] | None = None,
    text: Sequence[str] = (),
    seen: bool = False,
    progress: bool = True,
    **reading,
):
    """Scores of what a run leaves, each table kept as soon as it is done.

    tested: stories, of any languages; benchmarks, text, reading: of `loglikelihood.batteries`.
    Returns (preferences, items, windows): the tables of `moral.preferences`, of
    `loglikelihood.score_items` and of `loglikelihood.score_text`, with first columns `model`,
    `compression`, `direction` ("none" for none), `size` and `seed`. The model is loaded, and
    trained, only if something is missing.
    Raises InputError for a story that was trained on, unless `seen`: what is then measured is
    memory.
    """
    import pandas as pd

    # A run on no stories has none to share; language does not matter, for the ids are the same.
    known = {one.id for one in run.stories} & {one.id for one in tested}
    if known and not seen:
        raise InputError(
            f"The story {min(known)!r} was trained on: hold it out, or do not test it."
        )
    asked = moral.batteries(tested, norms=[True]) if tested else []
    asked += loglikelihood.batteries(benchmarks or {}, text, **reading)
    found = runs.grid([run], asked, progress=progress)
    names = ("moral-preferences", "scores", "windows")
    none = ["model", "compression"]
    return tuple(
        _with_training(run, found[name] if name in found else pd.DataFrame(columns=none))
        for name in names
    )


def _with_training(run: Run, table):
    trained = {
        "direction": run.direction or "none",
        "size": run.size if run.direction else 0,
        "seed": run.settings.seed,
    }
    for place, (name, value) in enumerate(trained.items(), 2):
        table.insert(place, name, value)
    return table

"""A compression as data: what to do to a model, so that it can be stored, cited and repeated.

The same recipe serves a notebook (`Recipe(...)`), a profile (`Recipe.from_dict`) and the command
line (`python -m ethical_compression compress`).
"""

import contextlib
import shutil
import textwrap
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import torch

from ethical_compression import provenance, store
from ethical_compression.compress import (
    awq,
    bits_and_bytes,
    checkpoint,
    gptq,
    integer,
    layers,
    peers,
    sparsity,
    weight_files,
    weighting,
)
from ethical_compression.compress.blocks import (
    stream_blocks,
    survey,
    transformer_blocks,
    weights_named,
)
from ethical_compression.compress.hessian import Hessian
from ethical_compression.datasets.files import known
from ethical_compression.errors import InputError
from ethical_compression.memory import is_of_memory

GRID = ("bits", "group_size", "symmetric")
TEXT = ("calibration", "source", "samples", "length", "seed")

# The settings that each method uses; "layers" reads text only to measure contributions.
METHODS = {
    "none": (),
    "rtn": GRID,
    "gptq": (
        *(*GRID, "damping", "activation_order", "static_groups", "clipping"),
        *("weighting", "quantizer", *TEXT),
    ),
    "awq": (*GRID, "clipping", *TEXT),
    "int8": (),
    "nf4": (),
    "fp4": (),
    "magnitude": ("sparsity", "comparison"),
    "wanda": ("sparsity", "comparison", *TEXT),
    "sparsegpt": ("sparsity", "damping", *TEXT),
    "layers": ("remove", "position", *TEXT),
}
NAMES = {
    **{"rtn": "RTN", "gptq": "GPTQ", "awq": "AWQ", "int8": "LLM.int8", "nf4": "NF4", "fp4": "FP4"},
    **{"magnitude": "Magnitude", "wanda": "Wanda", "sparsegpt": "SparseGPT"},
}
# What weights compete with each other, where the recipe does not say: as in each method's paper.
COMPARED = {"magnitude": "layer", "wanda": "row"}
# Methods whose weights are exported packed; how much of the blocks' weights a method must touch.
PACKED = ("rtn", "gptq")
LEAST_TOUCHED = 0.9
# Whether a grid may clip, where the recipe does not say: as each method was released.
CLIPS = {"gptq": False, "awq": True}


@dataclass(frozen=True)
class Recipe:
    """One way of compressing a model. Settings that a method does not use are ignored by it.

    method: a key of `METHODS`: "none" (the full model), "rtn" (round-to-nearest), "gptq", "awq",
    "int8", "nf4", "fp4" (bitsandbytes), "magnitude", "wanda", "sparsegpt", or "layers".
    bits, group_size, symmetric: the integer grid (`integer`); group_size −1 is one scale a row.
    damping: added to the Hessian's diagonal, as a share of its mean; activation_order,
    static_groups: those of `gptq.solve`; clipping: whether grids may leave the largest weights
    outside where that lowers the error, by default as each method was released; weighting: what a
    calibration token counts by (`weighting`): "none", each the same, or "entropy", the full model's
    uncertainty; quantizer: whose GPTQ, "native" (ours), "gptqmodel" or "auto-gptq" (`peers`).
    sparsity: share of zeros, or a pattern "N:M"; comparison: "row" or "layer" (`sparsity`), by
    default as in the method's paper.
    remove: how many layers go, or their indices from 0; position: which, where it is a number:
    "bottom", "middle", "upper", or "contribution", those that change their input least.
    calibration, source: the text the method sees (`datasets.text`) and where it is read from.
    samples, length: how many windows of how many tokens; seed: which windows.
    """

    method: str = "none"
    bits: int = 16
    group_size: int = 128
    symmetric: bool = True
    damping: float = 0.01
    activation_order: bool | str = False
    static_groups: bool = False
    clipping: bool | None = None
    weighting: str = "none"
    quantizer: str = "native"
    sparsity: float | str = 0.5
    comparison: str | None = None
    remove: int | tuple[int, ...] = 1
    position: str = "upper"
    calibration: str = "xsum"
    source: str = "embedded"
    samples: int = 16
    length: int = 512
    seed: int = 0

    def __post_init__(self):
        known("compression method", self.method, METHODS)
        if isinstance(self.remove, list):  # as JSON and YAML hand it over
            object.__setattr__(self, "remove", tuple(self.remove))
        if isinstance(self.remove, tuple) and len(set(self.remove)) < len(self.remove):
            raise InputError(f"A layer is named twice in {list(self.remove)}: name each once.")
        if self.comparison is None:
            object.__setattr__(self, "comparison", COMPARED.get(self.method))
        if self.clipping is None:
            object.__setattr__(self, "clipping", CLIPS.get(self.method))
        for field in fields(self):
            value = getattr(self, field.name)
            if not _fits(value, field.type):
                kind = getattr(field.type, "__name__", field.type)
                raise InputError(f"The recipe's {field.name} must be {kind}, not {value!r}.")
        used = self.settings()
        if "bits" in used:
            if self.bits == 16:
                widths = ", ".join(map(str, integer.BITS))
                raise InputError(f"The method {self.method} needs bits: give one of {widths}.")
            integer.check_settings(self.bits, self.group_size)
        if "sparsity" in used:
            sparsity.amount(self.sparsity)
        if "comparison" in used:
            known("comparison", self.comparison, sparsity.COMPARISONS)
        if "damping" in used and not 0 < self.damping < 1:
            raise InputError(
                f"A damping of {self.damping} makes no sense: it is a share, such as 0.01."
            )
        if "weighting" in used:
            known("weighting", self.weighting, weighting.WEIGHTINGS)
            known("quantizer", self.quantizer, peers.QUANTIZERS)
            gptq.check_order(self.activation_order)
            if self.quantizer != "native" and (self.weighting != "none" or self.clipping):
                raise InputError(
                    f"{self.quantizer} lets all tokens count alike and clips nothing here: weigh "
                    "and clip by the quantizer native."
                )
        if "position" in used:
            known("position of layers", self.position, layers.POSITIONS)
        if "samples" in used and min(self.samples, self.length) < 1:
            raise InputError("Calibration needs at least one window of at least one token.")

    @classmethod
    def from_dict(cls, settings: Mapping[str, Any]) -> "Recipe":
        """The recipe that `to_dict` wrote, or a person, in JSON or YAML.

        Raises InputError for a setting that no recipe has, or that the method does not use.
        """
        if not isinstance(settings, Mapping):
            raise InputError(f"A recipe must map settings to values, not be {settings!r}.")
        recipe_settings = [field.name for field in fields(cls)]
        for name in settings:
            known("recipe setting", name, recipe_settings)
        if "method" not in settings:
            raise InputError(f"A recipe needs a method: give one of {', '.join(METHODS)}.")
        recipe = cls(**settings)
        for name in settings:
            if name != "method" and name not in recipe.settings():
                raise InputError(
                    f"The method {recipe.method} does not use {name!r}: leave it out of its recipe."
                )
        return recipe

    def settings(self) -> tuple[str, ...]:
        """Names of the settings that decide the result."""
        used = METHODS[self.method]
        if self.method == "layers" and isinstance(self.remove, tuple):
            return ("remove",)
        if self.method == "layers" and self.position != "contribution":
            return ("remove", "position")
        if self.method in COMPARED and isinstance(self.sparsity, str):
            return tuple(name for name in used if name != "comparison")
        return used

    def to_dict(self) -> dict[str, Any]:
        """The method and the settings that it uses: JSON- and YAML-ready."""
        values = {name: getattr(self, name) for name in ("method", *self.settings())}
        return {k: list(v) if isinstance(v, tuple) else v for k, v in values.items()}

    @property
    def label(self) -> str:
        """How tables and figures name it."""
        if self.method == "none":
            return "full"
        if self.method == "layers":
            if isinstance(self.remove, tuple):
                many = "s" * (len(self.remove) != 1)
                return f"without layer{many} {', '.join(map(str, self.remove))}"
            which = {"contribution": "least contributing"}.get(self.position, self.position)
            return f"without {self.remove} {which} layer{'s' * (self.remove != 1)}"
        used = self.settings()
        name = NAMES[self.method]
        if "quantizer" in used and self.quantizer != "native":
            name = f"{name} ({self.quantizer})"
        if "bits" in used:
            plain = f"{name} {self.bits}-bit"
            if "clipping" in used and self.clipping != CLIPS[self.method]:
                plain += ", clipped" if self.clipping else ", not clipped"
            by_entropy = "weighting" in used and self.weighting == "entropy"
            return f"Entropy-weighted {plain}" if by_entropy else plain
        if "sparsity" in used:
            amount = self.sparsity if isinstance(self.sparsity, str) else f"{self.sparsity:.0%}"
            return f"{name} {amount}"
        return name

    @property
    def reads_text(self) -> bool:
        """Whether the method looks at calibration text."""
        return "calibration" in self.settings()

    def inputs(self) -> dict:
        """What decides the result, and so a store's key: the settings, the text that they read, and
        the version of the library where that computes."""
        if self.method in bits_and_bytes.KINDS:
            return self.to_dict() | {"bitsandbytes": provenance.version("bitsandbytes")}
        if not self.reads_text:
            return self.to_dict()
        from ethical_compression.datasets import text

        # Which text, by its checksum: a name alone would let another file's codes be read back.
        return self.to_dict() | {
            "text": text.source_record(self.calibration, "calibration", source=self.source)
        }


def described() -> str:
    """Methods, the settings that each uses, and what these mean, for a terminal."""
    methods = [f"  {name:10} {', '.join(used) or '–'}" for name, used in METHODS.items()]
    defaults = [
        f"{field.name} = {field.default}" for field in fields(Recipe) if field.default is not None
    ]
    said = textwrap.fill(", ".join(defaults), 78, initial_indent="  ", subsequent_indent="  ")
    _, meaning = Recipe.__doc__.split("\n\n", 1)
    meaning = textwrap.indent(textwrap.dedent(meaning).strip().replace("`", ""), "  ")
    return "\n\n".join(
        (
            "\n".join(["methods, and the settings that each uses:", *methods]),
            f"what the settings mean:\n{meaning}",
            f"what they are unless given:\n{said}",
        )
    )


def _fits(value: Any, kind: Any) -> bool:
    """Whether a setting has its type; an int may stand for a float, a bool never for a number."""
    if kind == tuple[int, ...]:
        return isinstance(value, tuple) and all(_fits(one, int) for one in value)
    if hasattr(kind, "__args__"):
        return any(_fits(value, one) for one in kind.__args__)
    if isinstance(value, bool) or kind is bool:
        return isinstance(value, bool) and kind is bool
    return isinstance(value, (int, float) if kind is float else kind)


def calibration_windows(
    tokenizer, documents: Sequence[str], *, samples: int, length: int, seed: int = 0, batch: int = 2
) -> list[torch.Tensor]:
    """`samples` windows of `length` tokens, none overlapping another, drawn with a seed.

    documents: joined by blank lines before they are tokenised. Returns int64 (batch, length)
    tensors, the last one possibly shorter in its first dimension.
    Raises InputError when the text is too short.
    """
    ids = tokenizer("\n\n".join(documents), add_special_tokens=False)["input_ids"]
    there = len(ids) // length
    if there < samples:
        raise InputError(
            f"Calibration needs {samples} windows of {length} tokens but the text holds {there}: "
            "give more text, or ask for fewer or shorter windows."
        )
    drawn = torch.randperm(there, generator=torch.Generator().manual_seed(seed))[:samples]
    windows = torch.tensor(ids[: there * length]).view(there, length)[drawn]
    return list(windows.split(batch))


def calibration_inputs(recipe: Recipe, model, tokenizer) -> list[torch.Tensor]:
    """The windows that `recipe` asks for, on the model's device; none where it reads no text."""
    if not recipe.reads_text:
        return []
    from ethical_compression.datasets import text
    from ethical_compression.score.loglikelihood import model_length

    longest = model_length(model)
    if longest is not None and recipe.length > longest:
        raise InputError(
            f"Calibration windows of {recipe.length} tokens exceed the {longest} positions "
            f"that this {type(model).__name__} has: give a length of at most {longest}."
        )
    windows = calibration_windows(
        tokenizer,
        text.load(recipe.calibration, "calibration", source=recipe.source),
        samples=recipe.samples,
        length=recipe.length,
        seed=recipe.seed,
    )
    device = next(model.parameters()).device
    return [window.to(device) for window in windows]


def each_layer(
    model: torch.nn.Module, inputs: Sequence[torch.Tensor] = (), *, progress: str | None = None
) -> Iterator[tuple[str, torch.Tensor, Hessian | None]]:
    """Yield (name, weight (out, in), Hessian) of each weight (`blocks.survey`), block by block.

    Without inputs (token ids, each (batch, length)) the Hessian is None; where no token reaches a
    weight, it is the identity, of a count of 0. A weight changed in place is what later blocks are
    fed by. Raises InputError for a weight or an activation that is NaN or infinite, before the
    weight is handed out.
    """
    from tqdm.auto import tqdm

    blocks = survey(model).blocks
    walk: Iterator[tuple[int, dict[str, Hessian]]] = ((i, {}) for i in range(len(blocks)))
    if inputs:
        walk = ((i, gptq.hessians(block, its)) for i, block, its in stream_blocks(model, inputs))
    hidden = progress is None
    for i, hessians in tqdm(walk, total=len(blocks), unit="block", desc=progress, disable=hidden):
        block = blocks[i]
        for name, weight in block.weights.items():
            hessian = hessians.get(name.removeprefix(f"{block.name}.")) if inputs else None
            if inputs and hessian is None:
                hessian = Hessian(torch.eye(weight.shape[1], device=weight.device), 0)
            _check_finite(name, weight, *([hessian.matrix] if hessian else []))
            yield name, weight, hessian


def _check_finite(name: str, *tensors: torch.Tensor) -> None:
    if not all(tensor.isfinite().all() for tensor in tensors):
        raise InputError(
            f"The weight of {name}, or what is fed to it, is NaN or infinite: check the model in "
            "float32 before it is compressed."
        )


def apply(
    recipe: Recipe,
    model,
    inputs: Sequence[torch.Tensor] = (),
    *,
    partial: bool = False,
    progress: bool = False,
    parts: Path | None = None,
):
    """Compress `model` in place.

    inputs: what a method that reads text calibrates on (`calibration_inputs`). partial: whether to
    go on where the method leaves much as it is (`check_touched`). parts: a folder for what GPTQ has
    done so far, so that it can go on there (`gptq.quantize_model`).

    Returns (weights, report): the compressed weights by layer name (`weight_files`), and a
    DataFrame with one row a layer, each expert of a mixture being one: `layer`; `weight_error`,
    ‖Ŵ−W‖²/‖W‖²; `output_error`, the relative squared error ‖(Ŵ−W)X‖²/‖WX‖² on the calibration
    inputs, and `reached`, whether a token of them reached the layer, where the method reads text;
    and for pruning the counts of `sparsity.mask_statistics`. bitsandbytes' layers are kept by the
    model itself and "layers" returns no weights either, and a row a layer: `removed`, and its
    `contribution`.
    Raises InputError where a pattern does not fit, where calibration is missing, or where the
    method touches too little (nothing is changed yet), and where the memory is too small; the model
    may then be half compressed.
    """
    import pandas as pd

    title = recipe.label if progress else None
    if recipe.method == "gptq" and recipe.quantizer != "native":
        raise InputError(f"{recipe.quantizer} takes a model by name: use recipe.load.")
    if recipe.reads_text and not inputs:
        raise InputError(f"{recipe.label} needs calibration inputs: see calibration_inputs.")
    if recipe.method not in ("none", "layers"):
        check_touched(recipe, model, partial=partial)
    weights: dict[str, weight_files.Weight] = {}
    rows: list[dict] = []

    def keep(layer, weight, kept, hessian=None, **more):
        """Note what `kept` does to a layer, and give the layer its values."""
        restored = kept.dequantize().float()
        row = {"layer": layer, "weight_error": weight_error(weight, restored)}
        if hessian is not None:
            row["output_error"] = gptq.output_error(weight, restored, hessian.matrix)
            row["reached"] = hessian.count > 0
        rows.append(row | more)
        weights[layer] = kept
        weight.copy_(restored)

    grid = {name: getattr(recipe, name) for name in GRID}
    with _memory_in_words():
        if recipe.method in bits_and_bytes.KINDS:
            bits_and_bytes.quantize_model(model, recipe.method)
        elif recipe.method == "layers":
            rows = _remove_layers(recipe, model, inputs)
        elif recipe.method == "gptq":
            weights = gptq.quantize_model(
                model,
                inputs,
                damping=recipe.damping,
                activation_order=recipe.activation_order,
                static_groups=recipe.static_groups,
                clipping=recipe.clipping,
                token_weights=weighting.token_weights(recipe.weighting, model, inputs),
                only=touches(recipe),
                parts=parts,
                progress=title,
                note=lambda layer, row: rows.append({"layer": layer} | row),
                **grid,
            )
        elif recipe.method == "awq":
            _apply_awq(model, inputs, keep, grid | {"clipping": recipe.clipping}, title)
        elif recipe.method == "rtn":
            for layer, weight, _ in each_layer(model, progress=title):
                if touches(recipe)(weight):
                    keep(layer, weight, integer.round_to_nearest(weight, **grid))
        elif recipe.method != "none":
            for block in survey(model).blocks:
                for weight in block.weights.values():
                    sparsity.check_width(weight.shape[1], recipe.sparsity)
            for layer, weight, hessian in each_layer(model, inputs, progress=title):
                matrix = None if hessian is None else hessian.matrix
                pruned = _prune(recipe, weight, matrix).to(weight.dtype)
                kept = sparsity.SparseWeight.of(pruned)
                keep(layer, weight, kept, hessian, **sparsity.mask_statistics(pruned))
    return weights, pd.DataFrame(rows)


def weight_error(weight: torch.Tensor, other: torch.Tensor) -> float:
    """‖Ŵ−W‖²/‖W‖²; 0 of a weight of zeros that stayed so."""
    lost = float((other.float() - weight.float()).square().sum())
    return lost / max(float(weight.float().square().sum()), 1e-30)


def touches(recipe: Recipe) -> Callable[[torch.Tensor], bool]:
    """Which weights (out, in) a recipe's method changes: all, but for those that a packed
    checkpoint cannot hold, since what is measured is what can be saved."""
    if recipe.method in PACKED:
        return lambda weight: checkpoint.packs(*weight.shape)
    return lambda weight: True


def check_touched(recipe: Recipe, model, *, partial: bool = False) -> float:
    """Share of the weights in the model's blocks that a recipe's method touches (`touched`).

    Raises InputError where it would leave more than a tenth of them as they are, and so measure
    little of what it is called, unless `partial` asks for it.
    """
    if recipe.method in bits_and_bytes.KINDS:
        names = bits_and_bytes.replaced(model, recipe.method)
        why = (
            "bitsandbytes takes plain linear layers, on a CPU 4-bit ones of multiples of 64 inputs"
        )
    else:
        blocks, wanted = survey(model).blocks, touches(recipe)
        names = [n for block in blocks for n, one in block.weights.items() if wanted(one)]
        why = "it takes linear layers and experts"
        if recipe.method in PACKED:
            why += " whose sides are multiples of 32, as they are packed"
    share = touched(model, names)
    if share < LEAST_TOUCHED and not partial:
        raise InputError(
            f"{recipe.label} would touch {share:.1%} of the weights in the blocks of this "
            f"{type(model).__name__} ({why}): choose another method, or ask for it nevertheless "
            "with partial=True (on the command line, --partial)."
        )
    return share


def touched(model, names: Iterable[str]) -> float:
    """Share of the weights in the blocks that those called so are (`blocks.survey`)."""
    whole = survey(model)
    sizes = {
        name: weight.numel() for block in whole.blocks for name, weight in block.weights.items()
    }
    return sum(sizes.get(name, 0) for name in set(names)) / whole.total


def _prune(recipe: Recipe, weight: torch.Tensor, hessian: torch.Tensor | None) -> torch.Tensor:
    if recipe.method == "sparsegpt":
        return sparsity.sparsegpt(weight, hessian, sparsity=recipe.sparsity, damping=recipe.damping)
    how = {"sparsity": recipe.sparsity, "comparison": recipe.comparison}
    if recipe.method == "wanda":
        return sparsity.wanda(weight, hessian, **how)
    return sparsity.magnitude(weight, **how)


def _apply_awq(model, inputs, keep, grid: dict, title: str | None) -> None:
    """Search scales with the *full* model's activations, as the paper does, then round."""
    from tqdm.auto import tqdm

    found = []
    blocks = survey(model).blocks
    walk = stream_blocks(model, inputs)
    hidden = title is None
    for i, module, calls in tqdm(walk, total=len(blocks), unit="block", desc=title, disable=hidden):
        magnitudes, hessians = awq.input_magnitudes(module, calls), gptq.hessians(module, calls)
        together: dict[int, list[str]] = {}
        for full_name, weight in blocks[i].weights.items():
            name = full_name.removeprefix(f"{blocks[i].name}.")
            if name not in hessians:  # reached by no token: all inputs are alike
                eye = torch.eye(weight.shape[1], device=weight.device)
                hessians[name] = Hessian(eye, 0)
                magnitudes[name] = torch.ones(weight.shape[1], device=weight.device)
            together.setdefault(id(hessians[name].matrix), []).append(name)
        for group in together.values():
            weights = {name: blocks[i].weights[f"{blocks[i].name}.{name}"] for name in group}
            hessian, count = hessians[group[0]]
            _check_finite(f"{blocks[i].name}.{group[0]}", hessian, *weights.values())
            scaled, ratio = awq.search(weights, hessian, magnitudes[group[0]], **grid)
            for name, weight in weights.items():
                more = {
                    "output_error": gptq.output_error(weight, scaled[name].dequantize(), hessian),
                    "reached": count > 0,
                    "ratio": ratio,
                }
                found.append((f"{blocks[i].name}.{name}", weight, scaled[name], more))
    for layer, weight, scaled, more in found:
        keep(layer, weight, scaled, **more)


def _remove_layers(recipe: Recipe, model, inputs: Sequence[torch.Tensor]) -> list[dict]:
    total = len(transformer_blocks(model))
    contribution = layers.contributions(model, inputs) if inputs else None
    if contribution:
        gone = layers.least(contribution, recipe.remove)
    elif isinstance(recipe.remove, tuple):
        gone = sorted(recipe.remove)
    else:
        gone = layers.chosen(total, recipe.remove, recipe.position)
    layers.remove(model, gone)
    return [
        {"layer": i, "removed": i in gone}
        | ({"contribution": contribution[i]} if contribution else {})
        for i in range(total)
    ]


@contextlib.contextmanager
def _memory_in_words():
    try:
        yield
    except (MemoryError, RuntimeError) as error:
        if not is_of_memory(error):
            raise
        raise InputError(
            "The model and one layer's statistics do not fit in memory: use a smaller model, "
            "float16, shorter calibration windows, or a machine with more memory."
        ) from error


def load(recipe: Recipe, name: str, *, partial: bool = False, progress: bool = False, **options):
    """Model `name` as `recipe` leaves it: `models.Loaded`, its source telling the recipe too, and
    what share of its blocks' weights that touched (`touched`).

    A model that bitsandbytes has quantized is dequantised first. partial: see `check_touched`.
    options: passed on to `models.load`. What a compression costs is paid once: weights, and which
    layers were removed, are kept in the store, and later calls give the same model, bit for bit.
    bitsandbytes takes seconds and is done anew.
    """
    return load_with_report(recipe, name, partial=partial, progress=progress, **options)[0]


def load_with_report(
    recipe: Recipe, name: str, *, partial: bool = False, progress: bool = False, **options
):
    """(`load`'s model, the rows of `apply`'s report as dicts, the compressed weights)."""
    from ethical_compression import models

    loaded = models.load(name, **options)
    rows: list[dict] = []
    weights: dict[str, weight_files.Weight] = {}
    source = loaded.source | {"recipe": recipe.inputs()}
    if recipe.method != "none":
        full_weights(loaded.model, name)
    if recipe.method not in ("none", "layers"):
        source["touched"] = check_touched(recipe, loaded.model, partial=partial)
    if recipe.method in bits_and_bytes.KINDS:
        apply(recipe, loaded.model, partial=partial)
    elif recipe.method != "none":
        kept = weight_files.read(folder := stored(recipe, loaded.source["fingerprint"], **options))
        if kept is None:
            store.check_place(folder, folder=True)
            if recipe.method == "gptq":
                peers.check(recipe.quantizer, options.get("device", "cpu"))
            windows = calibration_inputs(recipe, loaded.model, loaded.tokenizer)
            parts = folder.with_name(f"{folder.name}-parts")
            if recipe.method == "gptq" and recipe.quantizer != "native":
                weights, rows = _by_peer(recipe, loaded, windows)
            else:
                weights, report = apply(
                    recipe, loaded.model, windows, partial=partial, progress=progress, parts=parts
                )
                rows = report.to_dict("records")
            weight_files.write(folder, weights, {"recipe": recipe.inputs(), "layers": rows})
            shutil.rmtree(parts, ignore_errors=True)
        else:
            weights, rows = kept[0], kept[1]["layers"]
            if recipe.method == "layers":
                layers.remove(loaded.model, [row["layer"] for row in rows if row["removed"]])
            weight_files.put(loaded.model, weights)
    return loaded._replace(source=source), rows, weights


def full_weights(model, name: str) -> None:
    """Give the layers of a model that came quantized their weights as floats, in place.

    Raises InputError where it was quantized by other means than bitsandbytes' (GPTQ checkpoints are
    dequantised as they are read).
    """
    bits_and_bytes.dequantize_model(model)
    if getattr(model.config, "quantization_config", None) is not None:
        said = model.config.quantization_config
        method = said.get("quant_method") if isinstance(said, dict) else said.quant_method
        raise InputError(
            f"{name} is quantized already, by {getattr(method, 'value', method)}, which is not "
            "undone here: give the full model."
        )


def _by_peer(recipe: Recipe, loaded, windows: Sequence[torch.Tensor]):
    """What another library makes of a model, put into it: (weights, rows of a report)."""
    settings = {
        name: getattr(recipe, name)
        for name in (*GRID, "damping", "activation_order", "static_groups")
    }
    modules = dict(loaded.model.named_modules())
    full = {name: w for block in survey(loaded.model).blocks for name, w in block.weights.items()}
    if not set(full) <= set(modules):
        raise InputError(
            f"{recipe.quantizer} names the experts of a mixture in its own way: choose the "
            "quantizer native."
        )
    with store.scratch_folder() as place:
        weights = peers.quantize(
            recipe.quantizer, loaded.model, loaded.tokenizer, windows, place, **settings
        )
    places = weights_named(loaded.model, list(weights))
    rows = [
        {"layer": layer, "weight_error": weight_error(places[layer], kept.dequantize())}
        for layer, kept in weights.items()
        if layer in places
    ]
    weight_files.put(loaded.model, weights)
    return weights, rows


def stored(recipe: Recipe, fingerprint: str, **options):
    """Folder of the store that holds a compressed model; fingerprint: `models.describe`'s.

    options: those of `models.load`; the type of the weights counts, as it decides their rounding.
    """
    inputs = {
        "model": fingerprint,
        "recipe": recipe.inputs(),
        "dtype": options.get("dtype", "float32"),
    }
    return store.cache_dir() / "compressed" / store.key("model", inputs, __name__)


def compress(
    recipe: Recipe,
    name: str,
    folder: Path,
    *,
    partial: bool = False,
    progress: bool = False,
    **options,
) -> dict[str, Any]:
    """Compress model `name` and leave it in `folder`, whole or not at all. Returns the record.

    Rounded weights are packed as AutoGPTQ packs them; all others are stored as the model computes
    with them, zeros included, so that any library loads the folder. It is loaded again before it
    takes its place, and must be the model that it was made from (`checkpoint.check`).

    The record, kept as `compression.json`: `recipe`, `model` (its source), `touched` (the share of
    the blocks' weights that the method changed, where it changes weights), `layers` (the rows of
    `apply`'s report) and `provenance`. partial: see `check_touched`. options: those of
    `models.load`.
    """
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise InputError(f"{folder} is not empty: name another folder, or remove this one.")
    loaded, rows, weights = load_with_report(
        recipe, name, partial=partial, progress=progress, **options
    )
    if recipe.method == "none":  # a folder of the full model is one of plain weights
        full_weights(loaded.model, name)
    record = {
        "recipe": recipe.inputs(),
        "model": loaded.source,
        **{key: loaded.source[key] for key in ("touched",) if key in loaded.source},
        "layers": rows,
        "provenance": provenance.provenance(),
    }
    how = {key: options[key] for key in ("dtype", "device") if key in options}
    with store.whole_or_nothing(folder, folder=True) as place:
        expected = save(recipe, loaded.model, loaded.tokenizer, weights, place)
        del loaded, weights  # there need not be room for two
        checkpoint.check(place, expected, **how)
        store.write_json(place / "compression.json", record)
    return record


def save(recipe: Recipe, model, tokenizer, weights: Mapping, folder: Path) -> checkpoint.Said:
    """Write what `apply` made of a model into an empty folder, and return what it must say when it
    is loaded from there (`checkpoint.check`)."""
    if recipe.method in PACKED and weights:
        checkpoint.save_gptq(folder, model, tokenizer, weights, damping=recipe.damping)
    else:
        model.save_pretrained(folder)
        if tokenizer is not None:
            tokenizer.save_pretrained(folder)
    return checkpoint.said_by(model)


def coverage(record: Mapping[str, Any]) -> str:
    """What a record of `compress` says of how much was touched, a sentence or two; "" where the
    method changes no weights."""
    if "touched" not in record:
        return ""
    said = f"{record['touched']:.1%} of the weights in the model's blocks were touched."
    missed = [row["layer"] for row in record["layers"] if row.get("reached") is False]
    if missed:
        said += (
            f" No calibration token reached {len(missed)} of {len(record['layers'])} of them, such "
            f"as {missed[0]}: they were compressed as if all inputs were alike."
        )
    return said

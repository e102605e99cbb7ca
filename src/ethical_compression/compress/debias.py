"""Compression that repairs: a layer should answer a stereotype and its opposite alike, too.

Fair-GPTQ (Proskurina, Metzler, Velcin 2025, arXiv:2509.15206) adds to GPTQ's objective a second
term, over pairs of sentences that differ by a stereotype,

    ‖(Ŵ − W)X‖² + α ‖Ŵ(X₀ − X₁)‖²,

X₀ and X₁ being a layer's inputs from the two sentences of each pair, X those of both. With
H = 2XXᵀ and H₀₁ = 2α(X₀−X₁)(X₀−X₁)ᵀ, completing the square gives

    ½ (Ŵ − W*)(H + H₀₁)(Ŵ − W*)ᵀ + const,      W* = W − W H₀₁ (H + H₀₁)⁻¹.

Its minimum on a grid, or under a mask, is thus sought in two steps: move W to W*, then round
(`gptq.solve`) or prune (`sparsity.sparsegpt`) with H + H₀₁. Either step can be left out, which
makes four `CELLS`: *exact* takes both; *shift* moves and rounds with H alone, as Fair-GPTQ was
released; *hessian* does not move and prunes with H + H₀₁, as Debias-SparseGPT was
(arXiv:2609.02496); *plain* is GPTQ, or SparseGPT, itself.

α is defined once: it weighs a pair's squared difference against the squared error of the pair's own
tokens, both summed; `pairs.SCALINGS` names what the released codes multiply it by.
"""

from typing import Literal, NamedTuple

import torch
from pydantic import Field

from ethical_compression.compress import checkpoint, gptq, sparsity
from ethical_compression.compress.blocks import survey
from ethical_compression.compress.hessian import Damping, Hessian, factors
from ethical_compression.compress.integer import Grid, energy
from ethical_compression.compress.layerwise import Compressed, each_layer, every_weight
from ethical_compression.compress.methods import Method, Text, register
from ethical_compression.compress.pairs import (
    DEPTHS,
    POSITIONS,
    SCALINGS,
    Contrasted,
    drawn_batches,
    gatherer,
    output_projections,
)
from ethical_compression.datasets import repair_pairs
from ethical_compression.datasets.files import known
from ethical_compression.errors import InputError
from ethical_compression.models.gptq_format import QuantizedWeight


class Cell(NamedTuple):
    """Whereto weights are moved first: "W*", "random" (as far, in a drawn direction) or None; and
    whether they are then rounded with H + H₀₁."""

    shift: str | None
    joint: bool


# The last is no cell of the table, but a control: what moving weights as far does by itself.
CELLS = {
    "exact": Cell("W*", True),
    "shift": Cell("W*", False),
    "hessian": Cell(None, True),
    "plain": Cell(None, False),
    "random": Cell("random", False),
}


def shifted(
    weight: torch.Tensor,
    hessian: torch.Tensor,
    contrast: torch.Tensor,
    *,
    damping: float = 0.01,
    first_order: bool = False,
) -> torch.Tensor:
    """W* = W − W H₀₁ (H + H₀₁ + λI)⁻¹, float32 (out, in), λ as in `hessian.factors`.

    contrast: H₀₁, α included. λ is a third term λ‖Ŵ − W‖² of the objective, which keeps W where no
    input tells; it moves to W* exactly. first_order: with (H + λI)⁻¹ instead, W* to first order in
    α, which is what Fair-GPTQ's released code computes unless its `sum_hessians` is set; it
    overshoots where H₀₁ is not small beside H. Raises InputError where a Hessian stays singular.
    """
    matrix = hessian if first_order else hessian + contrast
    return _moved(weight, contrast, factors(matrix.float(), damping)[0])


def _moved(weight: torch.Tensor, contrast: torch.Tensor, factor: torch.Tensor) -> torch.Tensor:
    """W − W H₀₁ (RRᵀ)⁻¹, R being the upper-triangular `factor`."""
    weight = weight.float()
    shift = weight @ contrast.float()
    for half, upper in ((factor.T, False), (factor, True)):
        shift = torch.linalg.solve_triangular(half, shift, upper=upper, left=False)
    return weight - shift


class Problem(NamedTuple):
    """What a cell rounds or prunes: W or W* (out, in), H or H + H₀₁ (in, in), and, where it is
    known already, the `inverse_factor` of that Hessian."""

    weight: torch.Tensor
    hessian: torch.Tensor
    upper: torch.Tensor | None = None


def problem(
    weight: torch.Tensor,
    known_inputs: Contrasted,
    *,
    alpha: float,
    cell: str = "exact",
    damping: float = 0.01,
    first_order: bool = False,
    seed: int = 0,
) -> Problem:
    """What is left to a cell to round or prune, once it has moved the weights where it does.

    At α = 0, in the plain cell and where there is no contrast this is what is given, bit for bit.
    first_order: see `shifted`. seed: of the control's direction. Raises InputError for an unknown
    cell and an α below 0.
    """
    known("cell of shift × Hessian", cell, CELLS)
    check_alpha(alpha)
    shift, joint = CELLS[cell]
    matrix = known_inputs.matrix
    if known_inputs.contrast is None or alpha == 0:
        return Problem(weight, matrix)
    contrast = alpha * known_inputs.h01
    whole = matrix + contrast
    upper = None
    if shift:
        factor, inverse = factors((matrix if first_order else whole).float(), damping)
        moved = _moved(weight, contrast, factor)
        # One factor serves both steps where they are of one Hessian.
        upper = inverse if joint != first_order else None
        if shift == "random":
            drawn = torch.randn(weight.shape, generator=torch.Generator().manual_seed(seed))
            drawn = drawn.to(moved) * ((moved - weight).norm() / drawn.norm())
            moved = weight + drawn
        weight = moved
    return Problem(weight, whole if joint else matrix, upper)


def check_alpha(alpha: float) -> None:
    """Raise InputError for an α that is negative, infinite or no number."""
    if not 0 <= alpha < float("inf"):
        raise InputError(
            f"An alpha of {alpha} makes no sense: it weighs a pair's difference, and is 0 or more."
        )


def quantize(
    weight: torch.Tensor,
    known_inputs: Contrasted,
    *,
    alpha: float,
    cell: str = "exact",
    first_order: bool = False,
    damping: float = 0.01,
    seed: int = 0,
    **grid,
) -> QuantizedWeight:
    """One weight (out, in) on an integer grid, by a cell of shift × Hessian and `gptq.solve`.

    grid: the settings of `gptq.solve`. Errors are those of `problem` and `gptq.solve`.
    """
    how = {"cell": cell, "damping": damping, "first_order": first_order, "seed": seed}
    target = problem(weight, known_inputs, alpha=alpha, **how)
    return gptq.solve(target.weight, target.hessian, upper=target.upper, damping=damping, **grid)[0]


def prune(
    weight: torch.Tensor,
    known_inputs: Contrasted,
    *,
    alpha: float,
    cell: str = "exact",
    first_order: bool = False,
    damping: float = 0.01,
    seed: int = 0,
    **settings,
) -> torch.Tensor:
    """One weight (out, in) with zeros, float32, by a cell of shift × Hessian and SparseGPT.

    settings: those of `sparsity.sparsegpt`. Errors are those of `problem` and `sparsity.sparsegpt`.
    """
    how = {"cell": cell, "damping": damping, "first_order": first_order, "seed": seed}
    target = problem(weight, known_inputs, alpha=alpha, **how)
    return sparsity.sparsegpt(
        target.weight, target.hessian, upper=target.upper, damping=damping, **settings
    )


def objective(
    weight: torch.Tensor, changed: torch.Tensor, known_inputs: Contrasted
) -> tuple[float, float]:
    """The objective's two terms for `changed` in place of `weight`, both (out, in), in float64:
    ½(Ŵ−W)H(Ŵ−W)ᵀ and, without its α, ½ŴH₀₁Ŵᵀ/α, summed over rows; squared outputs a token.
    """
    kept = energy((changed - weight).double(), known_inputs.matrix.double()).sum() / 2
    if known_inputs.contrast is None:
        return float(kept), 0.0
    return float(kept), float(energy(changed.double(), known_inputs.h01.double()).sum() / 2)


# --- As a recipe's methods ------------------------------------------------------------------------

# What the released codes are, as settings; their pairs are StereoSet's, and so is their Hessian:
# beside that of other text a shift to first order destroys a model. α is that of Fair-GPTQ's text.
RELEASED = {
    "fair-gptq": {
        **{"alpha": 0.1, "cell": "shift", "first_order": True, "scaling": "fair-gptq"},
        **{"pairs": "stereoset", "positions": "start", "hessian_of": "pairs"},
    },
    "debias-sparsegpt": {
        **{"alpha": 0.1, "cell": "hessian", "scaling": "debias-sparsegpt"},
        **{"pairs": "stereoset", "positions": "start", "hessian_of": "pairs"},
    },
}


def as_released(method: str, **amount) -> dict[str, object]:
    """The settings of a method as its authors' code has them (`RELEASED`), and how much it takes.

    Raises InputError for a method that has no released code here, and where `amount` would change
    what is the authors': another setting is another method, and is not told under their name.
    """
    known("method with a released code", method, RELEASED)
    released = RELEASED[method]
    if changed := [name for name in amount if name in released]:
        raise InputError(
            f"{method} as released has its own {changed[0]}, {released[changed[0]]!r}: leave it as "
            "it is, or do not call the model released."
        )
    return released | amount


class Repair(Text):
    """What a recipe can ask of a compression that repairs, besides what it asks of any."""

    alpha: float = Field(0.5, ge=0, description="what a pair's difference weighs; 0: nothing")
    cell: Literal[*CELLS] = Field(
        "exact",
        title="cell of shift × Hessian",
        description="exact moves weights and rounds (or prunes) with both Hessians; shift only "
        "moves them, hessian only takes both Hessians, plain does neither; random, a control, "
        "moves them as far in a drawn direction",
    )
    first_order: bool = Field(
        False, description="whether weights move to first order in alpha only, as once released"
    )
    scaling: Literal[*SCALINGS] = Field(
        "per-pair",
        title="scaling of alpha",
        description="what alpha is multiplied by: nothing (per-pair), or what a released code does",
    )
    pairs: Literal[*repair_pairs.PAIRS] = Field(
        "stereoset", title="set of pairs", description="the pairs that are to be answered alike"
    )
    pairs_source: str = Field("embedded", description="where the pairs are read from")
    pair_count: int = Field(256, ge=1, description="how many of them, drawn with the seed")
    positions: Literal[*POSITIONS] = Field(
        "aligned",
        title="choice of positions",
        description="which tokens of a pair are compared: aligned ones, those differing, or from "
        "the start, one by one",
    )
    hessian_of: Literal["text", "pairs"] = Field(
        "text", description="what the first term of the objective is measured on"
    )
    depth: Literal[*DEPTHS] = Field(
        "all", description="which blocks' output projections are repaired"
    )
    share: float = Field(0.1, gt=0, le=1, description="how much of the blocks is lower or upper")

    def used(self) -> tuple[str, ...]:
        """All; without the text where the pairs give both Hessians, and so on."""
        unused = set()
        if self.hessian_of == "pairs":
            unused |= {"calibration", "source", "samples", "length"}
        if self.depth == "all":
            unused.add("share")
        return tuple(name for name in self.names() if name not in unused)

    def said(self) -> str:
        """The end of a label: α, and what is not as usual."""
        usual = {name: field.default for name, field in Repair.model_fields.items()}
        parts = [
            str(getattr(self, name))
            for name in ("cell", "pairs", "depth", "positions", "scaling")
            if getattr(self, name) != usual[name]
        ]
        if self.first_order:
            parts.append("first order")
        if self.hessian_of == "pairs":
            parts.append("pairs only")
        return ", ".join([f"α = {self.alpha:g}", *parts])

    def how(self) -> dict[str, object]:
        """The keywords of `problem`."""
        return {name: getattr(self, name) for name in ("alpha", "cell", "first_order", "seed")}


class FairGPTQSettings(Repair, Grid):
    """What a recipe can ask of Fair-GPTQ."""

    damping: Damping = 0.01


class DebiasSparseGPTSettings(Repair, sparsity.Amount):
    """What a recipe can ask of Debias-SparseGPT."""

    damping: Damping = 0.01


def _calls(settings: Repair, model, inputs, tokenizer):
    """(the calls of a model, what gathers from them): the text's windows, then the pairs."""
    calls = drawn_batches(settings, model, tokenizer, positions=settings.positions)
    texts = inputs if settings.hessian_of == "text" else ()
    gather = gatherer(
        calls,
        output_projections(model, settings.depth, settings.share),
        scaling=settings.scaling,
        texts=len(texts),
    )
    device = next(model.parameters()).device
    return [*texts, *(batch.ids.to(device) for batch in calls)], gather


def _repaired(before: torch.Tensor, after, known_inputs: Contrasted) -> dict:
    """How much of what a layer answered a pair differently is left, as a share: `contrast`.
    after: the weight that was made of `before`, or what stands for it (`QuantizedWeight`)."""
    if known_inputs.contrast is None:
        return {}
    h01 = known_inputs.h01
    after = after.dequantize() if isinstance(after, QuantizedWeight) else after
    was, is_now = (float(energy(one.float(), h01).sum()) for one in (before, after))
    return {"contrast": is_now / max(was, 1e-30)}


def _fair_gptq(
    settings: FairGPTQSettings, model, inputs, *, progress=None, parts=None, tokenizer=None
) -> Compressed:
    calls, gather = _calls(settings, model, inputs, tokenizer)
    done, repaired = Compressed(), {}

    def solver(weight, known_inputs, **how):
        if isinstance(known_inputs, Hessian):  # of a weight that no token reaches
            known_inputs = Contrasted(known_inputs)
        found = quantize(weight, known_inputs, **settings.how(), **how)
        repaired[known_inputs.name] = _repaired(weight, found, known_inputs)
        return found

    done.weights |= gptq.quantize_model(
        model,
        calls,
        gather=gather,
        solver=solver,
        only=lambda weight: checkpoint.packs(*weight.shape),
        note=lambda name, row: done.rows.append({"layer": name} | row | repaired.get(name, {})),
        parts=parts,
        progress=progress,
        damping=settings.damping,
        **settings.grid(),
    )
    return done


def _debias_sparsegpt(
    settings: DebiasSparseGPTSettings, model, inputs, *, progress=None, tokenizer=None, **_
) -> Compressed:
    for block in survey(model).blocks:
        for weight in block.weights.values():
            sparsity.check_width(weight.shape[1], settings.sparsity)
    calls, gather = _calls(settings, model, inputs, tokenizer)
    how = settings.how() | {"sparsity": settings.sparsity, "damping": settings.damping}
    done = Compressed.of(model)
    for name, weight, known_inputs in each_layer(model, calls, gather=gather, progress=progress):
        if isinstance(known_inputs, Hessian):
            known_inputs = Contrasted(known_inputs)
        pruned = prune(weight, known_inputs, **how).to(weight.dtype)
        kept = sparsity.SparseWeight.of(pruned)
        more = sparsity.mask_statistics(pruned) | _repaired(weight, pruned, known_inputs)
        done.keep(name, weight, kept, known_inputs, **more)
    return done


def _data(settings: Repair) -> dict:
    return repair_pairs.source_record(settings.pairs, settings.pairs_source)


register(
    Method(
        name="fair-gptq",
        about="GPTQ that also answers pairs of sentences alike (Proskurina et al. 2025)",
        settings=FairGPTQSettings,
        label=lambda settings: f"Fair-GPTQ {settings.bits}-bit, {settings.said()}",
        apply=_fair_gptq,
        touches=checkpoint.packable,
        takes=checkpoint.TAKES,
        by_block=lambda _: True,
        packed=True,
        data=_data,
    )
)
register(
    Method(
        name="debias-sparsegpt",
        about="SparseGPT that also answers pairs of sentences alike (arXiv:2609.02496)",
        settings=DebiasSparseGPTSettings,
        label=lambda settings: (
            f"Debias-SparseGPT {sparsity.in_words(settings.sparsity)}, {settings.said()}"
        ),
        apply=_debias_sparsegpt,
        touches=every_weight,
        by_block=lambda _: True,
        data=_data,
    )
)

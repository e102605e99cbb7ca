"""AWQ: give the inputs that carry large activations a finer grid, then round to nearest.

Lin et al. 2024. A weight column multiplied by s > 1 before rounding, and divided by it afterwards,
loses less; which columns deserve it is told by the activations. One scale vector serves all layers
that share an input. Then, as in the released code, groups are clipped where that helps.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from pydantic import Field

from ethical_compression.compress.blocks import stream_blocks, survey, watch
from ethical_compression.compress.hessian import Hessian, hessians, output_error
from ethical_compression.compress.integer import CLIPPING, Grid, energy
from ethical_compression.compress.layerwise import Compressed, check_finite, every_weight
from ethical_compression.compress.methods import Method, Text, register
from ethical_compression.compress.rtn import round_to_nearest
from ethical_compression.compress.weight_files import restorable
from ethical_compression.memory import release_freed_memory
from ethical_compression.models import on_disk
from ethical_compression.models.gptq_format import QuantizedWeight

RATIOS = tuple(step / 20 for step in range(20))


@restorable
@dataclass(kw_only=True)
class ScaledWeight(QuantizedWeight):
    """A quantized W·diag(s); input_scale is s, float32 (in,).

    s stays beside the codes. A kernel that multiplies codes wants it folded into the layer before;
    here the weight is read back as floats, where Q(W·diag(s))·diag(s)⁻¹ is the same computation.
    """

    input_scale: torch.Tensor

    def dequantize(self) -> torch.Tensor:
        """The weight that codes and scales stand for, float32 (out, in)."""
        return super().dequantize() / self.input_scale


def search(
    weights: Mapping[str, torch.Tensor],
    hessian: torch.Tensor,
    magnitude: torch.Tensor,
    *,
    bits: int,
    group_size: int = 128,
    symmetric: bool = True,
    clipping: bool = True,
    ratios: Sequence[float] = RATIOS,
) -> tuple[dict[str, ScaledWeight], float]:
    """Quantize layers that share an input with the best s = magnitudeᵅ (eq. 5), α in `ratios`.

    weights: (out, in) by name; hessian (in, in): that of their input; magnitude (in,): mean |x| of
    each input. Best is the least ‖(Q(W·diag(s))·diag(s)⁻¹ − W)X‖² over the layers together (eq. 4),
    so the result is never worse than α = 0, round-to-nearest. Returns the layers and the chosen α.
    clipping: each layer's groups may then be clipped to the Hessian (`integer.fit_grid`), and are
    where the layer's loss is less. (The released code clips no queries and keys, by their names.)
    """

    def quantize(weight, scale, metric=None):
        rounded = round_to_nearest(
            weight.float() * scale,
            bits=bits,
            group_size=group_size,
            symmetric=symmetric,
            metric=metric,
        )
        scaled = ScaledWeight(**vars(rounded), input_scale=scale)
        return scaled, float(energy(scaled.dequantize() - weight.float(), hessian).sum())

    best = None
    for ratio in ratios:
        scale = magnitude.float().pow(ratio).clamp(min=1e-4)
        scale = scale / (scale.max() * scale.min()).sqrt()  # centred, so that nothing overflows
        found = {name: quantize(weight, scale) for name, weight in weights.items()}
        loss = sum(its for _, its in found.values())
        if best is None or loss < best[0]:
            best = loss, found, ratio, scale
    _, found, ratio, scale = best
    if clipping:
        metric = hessian / scale / scale[:, None]
        for name, weight in weights.items():
            clipped = quantize(weight, scale, metric)
            found[name] = min(found[name], clipped, key=lambda one: one[1])
    return {name: scaled for name, (scaled, _) in found.items()}, ratio


def input_magnitudes(block: torch.nn.Module, calls: Sequence[tuple]) -> dict[str, torch.Tensor]:
    """Mean |x| of each input of each weight that recorded calls of a block reach, by its name
    within the block."""
    totals: dict[str, tuple[torch.Tensor, int]] = {}

    def see(name, fed):
        rows = fed.reshape(-1, fed.shape[-1]).float().abs()
        total, count = totals.get(name, (0.0, 0))
        totals[name] = total + rows.sum(0), count + len(rows)

    for call in calls:
        watch(block, call, see)
    return {name: total / count for name, (total, count) in totals.items() if count}


# --- As a recipe's method -------------------------------------------------------------------------


class Settings(Text, Grid):
    """What a recipe can ask of AWQ."""

    clipping: bool = Field(True, description=CLIPPING)


def _label(settings: Settings) -> str:
    return f"AWQ {settings.bits}-bit{'' if settings.clipping else ', not clipped'}"


def _apply(settings: Settings, model, inputs, *, progress=None, **_) -> Compressed:
    """Search scales with the *full* model's activations, as the paper does, then round."""
    from tqdm.auto import tqdm

    found, done = [], Compressed.of(model)
    blocks = survey(model).blocks
    walk = stream_blocks(model, inputs)
    bar = tqdm(walk, total=len(blocks), unit="block", desc=progress, disable=progress is None)
    for i, module, calls in bar:
        release_freed_memory()
        start = f"{blocks[i].name}."
        weights = {name.removeprefix(start): one for name, one in blocks[i].weights.items()}
        magnitudes, of_inputs = input_magnitudes(module, calls), hessians(module, calls)
        together: dict[int, list[str]] = {}
        for name, weight in weights.items():
            if name not in of_inputs:  # reached by no token: all inputs are alike
                of_inputs[name] = Hessian(torch.eye(weight.shape[1], device=weight.device), 0)
                magnitudes[name] = torch.ones(weight.shape[1], device=weight.device)
            together.setdefault(id(of_inputs[name].matrix), []).append(name)
        for group in together.values():
            mine = {name: weights[name] for name in group}
            hessian, count = of_inputs[group[0]]
            check_finite(start + group[0], hessian, *mine.values())
            scaled, ratio = search(
                mine,
                hessian,
                magnitudes[group[0]],
                clipping=settings.clipping,
                **settings.grid(),
            )
            for name, weight in mine.items():
                error = output_error(weight, scaled[name].dequantize(), hessian)
                row = {"output_error": error, "reached": count > 0, "ratio": ratio}
                done.hold(start + name, scaled[name])
                found.append((i, start + name, row))
    for i, layer, row in found:
        on_disk.bring(blocks[i].module, changes=True)
        done.keep(layer, blocks[i].weights[layer], done.weights[layer], **row)
    return done


register(
    Method(
        name="awq",
        about="inputs of large activations on a finer grid (Lin et al. 2024)",
        settings=Settings,
        label=_label,
        apply=_apply,
        touches=every_weight,
        by_block=lambda _: True,
    )
)

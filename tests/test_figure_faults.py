"""Every figure of the book can be shown: nothing outside its axes, nothing on top of another."""

import inspect
import itertools

import matplotlib
import numpy as np
import pandas as pd
import pytest

matplotlib.use("Agg")

from matplotlib import pyplot
from matplotlib.colors import to_hex
from matplotlib.lines import Line2D

from ethical_compression import figures, statistics
from ethical_compression.figures.faults import faults
from ethical_compression.metrics import bias_auc, four_harms, generated_text, toxicity
from ethical_compression.metrics.confidence import per_item
from ethical_compression.metrics.harm_values import HARMS
from ethical_compression.statistics import uniformity
from ethical_compression.statistics.verdicts import VERDICTS

NAMES = {"piqa": "PIQA", "openbookqa": "OpenBookQA", "social_iqa": "SIQA", "boolq": "BoolQ"}
MODELS = ["full", "GPTQ 4-bit", "GPTQ 3-bit", "GPTQ 2-bit", "RTN 3-bit"]
COMMUNITIES = ["African", "Islam", "Jewish", "Homosexual", "Women", "Refugee", "Arab", "Caucasian"]


def items(models=MODELS, count=90):
    rng = np.random.default_rng(0)
    rows = []
    for benchmark, options in zip(NAMES, (2, 4, 3, 2), strict=True):
        base = rng.normal(-20, 2, size=(count, options))
        for k, model in enumerate(models):
            noisy = base + 0.7 * k * rng.normal(size=base.shape)
            rows += [
                (model, benchmark, str(i), option, i % options, noisy[i, option])
                for i, option in np.ndindex(*base.shape)
            ]
    columns = ["compression", "benchmark", "item", "option", "gold", "logprob"]
    return per_item(pd.DataFrame(rows, columns=columns))


def by_length():
    full = items(["full"])
    full["length"] = np.exp(np.random.default_rng(1).normal(2.5, 0.8, len(full)))
    return pd.concat([full.assign(normalisation=kind) for kind in ("none", "token", "byte")])


def repaired():
    fixes = ["none", "temperature", "from one length", "from equal"]
    rng = np.random.default_rng(1)
    tables = [items().assign(fix=fix) for fix in fixes]
    for table in tables:
        table["confidence"] = (table["confidence"] + rng.uniform(-0.2, 0, len(table))).clip(0.1)
    return pd.concat(tables, ignore_index=True)


def distances():
    rng = np.random.default_rng(1)
    rows = [
        (model, size, benchmark, str(i), scale * rng.random())
        for scale, model in enumerate(MODELS[1:], 1)
        for size in (1.35e8, 3.6e8, 1.7e9)
        for benchmark in NAMES
        for i in range(30)
    ]
    return pd.DataFrame(
        rows, columns=["compression", "parameters", "benchmark", "item", "js_distance"]
    ).assign(
        js_distance=lambda table: table["js_distance"] / 5,
        model=lambda table: table["parameters"].map("{:.0f}".format),
    )


def bias(compressions=("full", "upper 3", "bottom 3")):
    rng = np.random.default_rng(0)
    toxic = rng.random(600) < 0.5
    members = pd.DataFrame({name: rng.random(600) < 0.3 for name in COMMUNITIES})
    frames = [
        bias_auc.bias_aucs(toxic * 1.5 / (1 + k) + rng.normal(size=600), toxic, members).assign(
            compression=name, depth=6 - 2 * k, seed=seed
        )
        for k, name in enumerate(compressions)
        for seed in range(3)
    ]
    return pd.concat(frames, ignore_index=True)


def by_community(table, keys):
    return bias_auc.over_seeds(table[table["community"] != bias_auc.ALL], keys)


def shifts():
    return uniformity.shift_table(uniformity.gaps(bias(), "subgroup"))


def runs():
    rng = np.random.default_rng(0)
    rows = [{"way": "none", "strength": 0.01, "f1": 0.6 + rng.normal() / 50} for _ in range(3)]
    rows += [
        {"way": way, "strength": strength, "f1": 0.6 + rng.normal() / 50}
        for way in ("published", "released")
        for strength in (0.01, 0.1, 1.0)
        for _ in range(3)
        if (way, strength) != ("released", 0.01)
    ]
    return pd.DataFrame(rows).assign(auc=lambda table: 1 - table["f1"] / 2)


def grouped():
    rng = np.random.default_rng(2)
    rows = [
        (model, seed, group, "piqa", f"{group}{i}", gain + rng.random())
        for model, gain in (("GPTQ 3-bit", 0.0), ("weighted 3-bit", 0.1))
        for seed in (0, 1, 2)
        for group in ("least sure", "in between", "surest")
        for i in range(20)
    ]
    table = pd.DataFrame(
        rows, columns=["compression", "seed", "group", "benchmark", "item", "value"]
    )
    return statistics.paired_by_group(
        table, first="GPTQ 3-bit", second="weighted 3-bit", value="value"
    )


def tokens():
    rng = np.random.default_rng(0)
    text = "the woman was working as a nurse in the city hospital and\n she said “été” 好"
    pieces = text.split(" ")
    rows = [
        {"compression": model, "prompt": 0, "position": k, "token_id": k + 99 * (k > 5) * own}
        | {"piece": f" {piece}", "logprob": np.log(rng.random()), "end": False}
        for own, model in enumerate(("full", "GPTQ 3-bit"))
        for k, piece in enumerate(pieces)
    ]
    return pd.DataFrame(rows)


def survival():
    rng = np.random.default_rng(0)
    same = pd.DataFrame(
        [
            {
                "model": "m",
                "compression": model,
                "prompt": i,
                "same": int(min(rng.exponential(9 * k), 24)),
            }
            for k, model in enumerate(MODELS[1:], 1)
            for i in range(40)
        ]
    )
    same["diverged"] = same["same"] < 24
    ways = ("greedy", "one random stream")
    return pd.concat([generated_text.survival(same, 24).assign(decoding=way) for way in ways])


def along():
    rng = np.random.default_rng(0)
    rows = [
        (model, prompt, position, size * rng.exponential())
        for model, size in (("GPTQ 4-bit", 0.01), ("GPTQ 2-bit", 2.0))
        for prompt in range(12)
        for position in range(24)
    ]
    columns = ["compression", "prompt", "position", "kl"]
    return generated_text.along_text(pd.DataFrame(rows, columns=columns).assign(model="m"))


def panels():
    rng = np.random.default_rng(0)
    rows = ["English", "French", "women", "men", "Christianity", "Islam"]
    table = pd.DataFrame(
        [
            (panel, row, model, value := rng.normal(), value - 1, value + 1)
            for panel in "abc"
            for row in rows
            for model in MODELS[1:4]
            if (row, model) != ("Islam", "GPTQ 4-bit")
        ],
        columns=["panel", "row", "compression", "difference", "ci_low", "ci_high"],
    )
    said = {"a": "Change of the share of\ndistinct words", "b": "Change of length", "c": "Change"}
    return table, said


def verdicts():
    rng = np.random.default_rng(0)
    tables = []
    for model, norms in (("full", [True, False]), ("GPTQ 4-bit", [True]), ("GPTQ 3-bit", [True])):
        for language in ("en", "fr"):
            for norm in norms:
                columns = {
                    "compression": model,
                    "language": language,
                    "norm": norm,
                    "story": range(40),
                }
                columns |= {"moral_tokens": rng.integers(15, 25, 40), "immoral_tokens": 20}
                margin = rng.normal(size=40)
                columns |= {"margin": margin, "prefers_moral": margin > 0}
                tables.append(pd.DataFrame(columns))
    return pd.concat(tables, ignore_index=True)


def changes():
    labels = ["norm given\nEnglish", "GPTQ 3-bit\nFrench", "French −\nEnglish"]
    return pd.DataFrame(
        {"label": labels, "difference": [-0.1, 0.2, 0], "ci_low": -0.2, "ci_high": 0.3}
    )


def patterns():
    rng = np.random.default_rng(0)
    found = rng.choice(list(figures.PATTERN_LOOKS), 120)
    label = [f"{language}\n{way}" for language in ("English", "French") for way in ("A", "1")]
    return pd.DataFrame({"pattern": found, "label": np.resize(label, 120)})


def steps():
    rng = np.random.default_rng(0)
    return pd.concat(
        pd.DataFrame(
            {"step": range(1, 21), "margin": sign * np.cumsum(rng.random(20)), "accuracy": 0.7}
        ).assign(direction=direction, size=size, seed=0)
        for direction, sign in (("moral", 1), ("immoral", 1))
        for size in (8, 128)
    )


def trained():
    rng = np.random.default_rng(0)
    rows = [
        {"direction": direction, "size": size, "seed": seed, "language": language, "story": story}
        | {"margin": rng.normal() + turn * np.log1p(size)}
        for direction, turn in (("moral", 0.2), ("immoral", -0.2), ("none", 0))
        for size in ([0] if direction == "none" else [8, 32, 128, 512])
        for seed in range(1 if direction == "none" else 2)
        for language in ("en", "fr")
        for story in range(30)
    ]
    table = pd.DataFrame(rows)
    return table.assign(prefers_moral=table["margin"] > 0)


def kept():
    rng = np.random.default_rng(0)
    rows = []
    for direction in ("moral", "immoral"):
        for label in ("full", "GPTQ 4-bit", "Wanda 50%", "without 2 upper layers"):
            if (label, direction) == ("Wanda 50%", "moral"):
                continue
            shift, change = rng.normal(size=2)
            rows.append(
                {"direction": direction, "compression": label, "shift": shift}
                | {"shift_low": shift - 0.5, "shift_high": shift + 0.5}
                | {"difference": np.nan if label == "full" else change}
                | {"ci_low": change - 0.4, "ci_high": change + 0.4}
            )
    return pd.DataFrame(rows)


def growth():
    return pd.DataFrame(
        {"curve": name, "size": 10 * 2**step, "seconds": 2**step + 1, "megabytes": 30 + 2**step}
        for name in (
            "Scoring: questions of PIQA",
            "Scoring: tokens of a question",
            "Scoring: answers of a question",
            "GPTQ: blocks of the model",
            "GPTQ: calibration tokens",
            "GPTQ: inputs of a layer",
        )
        for step in range(5)
    )


def tree():
    from ethical_compression.score.token_tree import plan_rows
    from ethical_compression.score.tokens import Encoded

    encoded = [Encoded([5, 6, 7, 8, 9, a, b, 0], 3) for a, b in ((1, 2), (3, 4), (10, 11))]
    (row,) = plan_rows(encoded, layout="tree", width=10**9, limit=10**9)
    return row, [f" token{number}" for number in row.token]


def by_accuracy() -> pd.DataFrame:
    accuracy = np.linspace(0.1, 0.6, 8)
    return pd.concat(
        [
            pd.DataFrame({"category": "religion", "accuracy": accuracy, "score": accuracy}),
            pd.DataFrame({"category": "age", "accuracy": accuracy, "score": 0.9 - accuracy}),
        ]
    )


def judge_table() -> pd.DataFrame:
    rng = np.random.default_rng(0)
    rows = [
        (judge, data, f"{data}-{i}", ["Women", "Islam"][: i % 3], rng.random() < share)
        for judge in ("redditbias", "redditbias and hatexplain")
        for data, share in (("hatexplain", 0.6), ("redditbias", 0.5), ("plain text", 0))
        for i in range(200)
    ]
    table = pd.DataFrame(rows, columns=["judge", "data", "id", "communities", "toxic"])
    p = (0.3 * table["toxic"] + 0.6 * rng.random(len(table))).clip(0, 1)
    return toxicity.errors_by_community(table.assign(p=p, flagged=1.0 * (p > 0.5), fault=""))


def half_zeros() -> dict[str, np.ndarray]:
    rng = np.random.default_rng(0)
    names = ("Magnitude 50%", "Wanda 50%", "SparseGPT 50%", "SparseGPT 2:4")
    return {name: rng.random((48, 64)) < 0.5 for name in names}


def pruning_errors() -> pd.DataFrame:
    return pd.DataFrame(
        [
            {"rule": rule, "amount": amount, "output error": 0.001 * 3**place * (1 + worse)}
            for worse, rule in enumerate(("Magnitude", "Wanda", "SparseGPT"))
            for place, amount in enumerate((0.3, 0.5, 0.7, "2:4", "4:8"))
        ]
    )


def layer_errors() -> pd.DataFrame:
    # A layer is compressed by a method and an amount: families are lines of other figures.
    families = {name.partition(" ")[0] for name in figures.LOOKS if " " in name}
    names = [name for name in figures.LOOKS if name not in families][1:]
    values = np.geomspace(2e-4, 0.4, len(names))
    return pd.DataFrame({"label": names, "weight error": values, "output error": values[::-1] / 3})


def one_group() -> tuple:
    weights = np.random.default_rng(0).normal(size=64)
    grids = {bits: np.linspace(-3, 3, 2**bits) for bits in (4, 3, 2)}
    nearest = {
        bits: (grid[np.abs(weights[:, None] - grid).argmin(1)], grid)
        for bits, grid in grids.items()
    }
    return weights, nearest


def feedback() -> tuple:
    together = np.corrcoef(np.random.default_rng(0).normal(size=(48, 60)))
    return together, -0.02 * together[0, 1:], 0.02, 7


def repaired_layers():
    """Two layers in every cell at four α; and a layer's answers to a few pairs."""
    cells = list(figures.CELL_NAMES)
    return pd.DataFrame(
        [
            {
                "layer": layer,
                "how": "GPTQ 4-bit",
                "alpha": alpha,
                "cell": cell,
                "contrast": (0.01 + layer / 100) / (1 + alpha * (5 - place)),
                "kept": 0.001 + alpha * (5 - place) / 1000,
            }
            for layer in (0, 1)
            for alpha in (0.0, 0.1, 0.5, 2.0)
            for place, cell in enumerate(cells)
            if alpha or cell == "plain"
        ]
    )


def answered_pairs():
    cells = ("exact", "shift", "hessian", "random", "plain")
    return pd.DataFrame(
        [
            {"cell": cell, "full": full, "compressed": full / (2 + place)}
            for place, cell in enumerate(cells)
            for full in (0.2, 0.5, 1.0, 3.0)
        ]
    )


def judged_harms():
    """Every verdict, an interval that is wide, one that is none, and a change of many margins."""
    names = {name: kind for kind, names in four_harms.KINDS.items() for name in names}
    ends = [(0.3, 0.2, 0.4), (-0.3, -0.4, -0.2), (0.01, -0.01, 0.03), (0.05, -0.3, 0.4)]
    ends += [(0.1, np.nan, np.nan), (1.2, 1.0, 1.4)]
    came = [*VERDICTS, "cannot tell", "worse"]
    rows = []
    for model in ("GPTQ 3-bit", "Wanda 50%"):
        for place, (name, kind) in enumerate(names.items()):
            mean, low, high = ends[place % 6]
            row = {"kind": kind, "title": HARMS[name].title, "compression": model}
            row |= {"difference": mean, "ci_low": low, "ci_high": high, "margin": 0.05}
            rows.append(row | {"verdict": came[place % 6]})
    return pd.DataFrame(rows)


def grid_cells():
    """A cell of each verdict, one beyond the colours, one without an interval."""
    standard = [4.0, -2.0, 0.1, 0.4, 60.0]
    came = [*VERDICTS, "worse"]
    labels = [f"{family} {share}%" for family in ("Magnitude", "Wanda") for share in (10, 30, 50)]
    rows = []
    for at, (label, check) in enumerate(itertools.product(labels, ("toxicity", *HARM_TITLES))):
        mean = standard[at % 5]
        row = {"compression": label, "check": check, "standard": mean, "verdict": came[at % 5]}
        family, _, amount = label.partition(" ")
        row |= {"family": family, "amount": float(amount[:-1]) / 100}
        row |= {"standard_low": mean - 1, "standard_high": mean + 1 if at % 7 else np.nan}
        rows.append(row)
    return pd.DataFrame(rows), [*labels, "Wanda 2:4"]


HARM_TITLES = dict.fromkeys(("held_out_text", "habitual_be", "bbq_ambiguous", "crows_pairs"))
HARM_TITLES = {name: HARMS[name].title for name in HARM_TITLES}


def heat():
    cells, labels = grid_cells()
    titles = {"toxicity": "Flagged", **HARM_TITLES}
    return cells, {
        "rows": labels,
        "columns": titles,
        "bands": [one.partition(" ")[0] for one in labels],
        "stripes": ["a", "b", "b", "c", "c"],
    }


def flip_bins():
    """Six bins of three compressions, one of which flips more than half."""
    rows = []
    for name, most in (("GPTQ 4-bit", 0.4), ("GPTQ 3-bit", 0.57), ("Wanda 50%", 0.02)):
        for place in range(6):
            mean = most / (1 + place)
            row = {"compression": name, "bin": place + 1, "n": 400, "margin": place}
            row |= {"flipped": mean, "flipped_low": 0.8 * mean, "flipped_high": 1.2 * mean + 0.01}
            rows.append(row | {"expected": 0.9 * mean})
    return pd.DataFrame(rows)


FLIP_GROUPS = {
    ("bbq", "Physical_appearance"): "BBQ: physical appearance",
    ("bbq", "SES"): "BBQ: class",
    ("winobias", "female"): "WinoBias: female",
    ("winobias", "male"): "WinoBias: male",
}


def flip_groups():
    """Settled, not settled, without a test, and without items."""
    rows = []
    for name in ("GPTQ 4-bit", "Wanda 50%"):
        for place, (battery, group) in enumerate(FLIP_GROUPS):
            low, high = (np.nan, np.nan) if place == 1 else (-0.3 + place / 10, 0.3)
            row = {"compression": name, "battery": battery, "group": group, "n": 40 * (place < 3)}
            row |= {"flipped": 0.1 * place, "flipped_low": low, "flipped_high": high}
            row |= {"expected": np.nan if place == 1 else 0.05, "difference": 0.1 * place - 0.05}
            rows.append(row | {"p_holm": (0.2, np.nan, 0.01, np.nan)[place]})
    return pd.DataFrame(rows)


SMALL = ["children, seed 0", "adults, seed 0", "both, seed 0"]


def asked_of_small_models():
    rng = np.random.default_rng(0)
    rows = [
        {"row": row, "by": by, "chance": chance, "value": value}
        | {"low": value - 0.05, "high": value + 0.05}
        for row, chance in {"BLiMP": 0.5, "ETHICS, virtue": 0.2, "PIQA": 0.5}.items()
        for by in SMALL
        for value in [chance + rng.uniform(-0.03, 0.15)]
    ]
    # A model that was not asked one of them.
    return pd.DataFrame(rows[:-1])


def raised():
    tokens = np.arange(1, 21) * 49_152
    rows = [
        {"by": by, "tokens": read, "development": 9 - 0.4 * k - np.log(read / 2e4)}
        for k, by in enumerate(SMALL)
        for read in tokens
    ]
    return pd.DataFrame(rows)


def hours_of_audits():
    sizes = {"bebe-5m": 0.005, "smollm2-135m": 0.135, "TinyLlama 1.1B": 1.1}
    sizes |= {"Llama 2 7B": 6.7, "Llama 2 13B": 13.0, "Llama 2 70B": 69.0}
    rows = [
        {"by": by, "what": what, "billions": size, "hours": times * size}
        for by, times in (("formula", 2.0), ("measured", 3.0), ("a data sheet", 0.01))
        for what, size in sizes.items()
        if by != "measured" or size < 10
    ]
    return pd.DataFrame(rows)


DRAWN = {
    "flips_by_margin": lambda: figures.flips_by_margin(flip_bins()),
    "flips_by_group": lambda: figures.flips_by_group(
        flip_groups(), FLIP_GROUPS, what="answers flipped (%)"
    ),
    "rounded_group": lambda: figures.rounded_group(*one_group()),
    "error_feedback": lambda: figures.error_feedback(*feedback()),
    "zeros_of_rules": lambda: figures.zeros_of_rules(half_zeros()),
    "error_by_sparsity": lambda: figures.error_by_sparsity(pruning_errors()),
    "block_contributions": lambda: figures.block_contributions(
        np.geomspace(0.9, 0.01, 30),
        {"bottom": [1, 2], "middle": [14, 15], "upper": [27, 28], "least contributing": [28, 29]},
    ),
    "output_against_weight_error": lambda: figures.output_against_weight_error(layer_errors()),
    "confidence_before_after": lambda: figures.confidence_before_after(items(), names=NAMES),
    "reliability_diagram": lambda: figures.reliability_diagram(items(MODELS[:3]), names=NAMES),
    "change_against_confidence": lambda: figures.change_against_confidence(items(), names=NAMES),
    "risk_coverage_curves": lambda: figures.risk_coverage_curves(items(), names=NAMES),
    "overconfidence_by_length": lambda: figures.overconfidence_by_length(by_length()),
    "repaired_reliability": lambda: figures.repaired_reliability(repaired()),
    "distances": lambda: figures.distances(distances(), names=NAMES),
    "distance_by_size": lambda: figures.distance_by_size(distances(), names=NAMES),
    "paired_groups": lambda: figures.paired_groups(
        grouped(), first="GPTQ 3-bit", second="weighted 3-bit", what="distance over the options"
    ),
    "bias_auc_by_depth": lambda: figures.bias_auc_by_depth(by_community(bias(), ["depth"])),
    "shift_against_overall": lambda: figures.shift_against_overall(
        shifts(), margin=0.02, what="Subgroup AUC"
    ),
    "bias_by_community": lambda: figures.bias_by_community(
        by_community(bias(), ["compression"]), full="full"
    ),
    "scores_against": lambda: figures.scores_against(
        runs(), "strength", {"f1": "Macro F1", "auc": "AUC"}, by="way", full="none", label="λ"
    ),
    "continued_twice": lambda: figures.continued_twice(
        tokens(), "There is a person who was born here, and", "GPTQ 3-bit"
    ),
    "survival_curves": lambda: figures.survival_curves(survival()),
    "kl_along": lambda: figures.kl_along(along()),
    "grid_of_harms": lambda: (lambda cells, how: figures.grid_of_harms(cells, **how))(*heat()),
    "harms_by_dose": lambda: figures.harms_by_dose(
        grid_cells()[0], columns=HARM_TITLES, label="share of zeros"
    ),
    "interval_panels": lambda: figures.interval_panels(*panels()),
    "growing_costs": lambda: figures.growing_costs(growth()),
    "token_tree": lambda: figures.token_tree(*tree()),
    "moral_preference": lambda: figures.moral_preference(verdicts(), changes()),
    "length_and_preference": lambda: figures.length_and_preference(
        {title: verdicts() for title in ("Mean", "Sum", "Sum less\nprior")}
    ),
    "answers_in_both_orders": lambda: figures.answers_in_both_orders(patterns()),
    "training_curves": lambda: figures.training_curves(steps()),
    "preference_curves": lambda: figures.preference_curves(trained()),
    "bias_against_accuracy": lambda: figures.bias_against_accuracy(by_accuracy(), ["religion"]),
    "changes_in_margins": lambda: figures.changes_in_margins(judged_harms()),
    "judge_errors": lambda: figures.judge_errors(judge_table()),
    "answered_apart": lambda: figures.answered_apart(answered_pairs()),
    "terms_against_alpha": lambda: figures.terms_against_alpha(repaired_layers()),
    "alignment_under_compression": lambda: figures.alignment_under_compression(kept()),
    "beside_chance": lambda: figures.beside_chance(asked_of_small_models(), "right answers (%)"),
    "hours_against_size": lambda: figures.hours_against_size(hours_of_audits()),
    "learning_curves": lambda: figures.learning_curves(raised(), "loss (nats a token)"),
}


def test_every_public_figure_is_among_those_that_are_drawn():
    public = {
        name
        for name, function in inspect.getmembers(figures, inspect.isfunction)
        if function.__module__.startswith(figures.__name__) and not name.startswith("_")
    }
    assert public - {"style", "looks"} == set(DRAWN)


@pytest.mark.parametrize("name", DRAWN)
def test_every_figure_is_whole(name):
    fig, alt = DRAWN[name]()
    assert faults(fig) == []
    assert "nan" not in alt.split()


def entries(fig) -> set[tuple[str, str, str]]:
    """(label, colour, marker) of what the legends of a figure show as points."""
    found = set()
    for axes in fig.get_axes():
        for handle, label in zip(*axes.get_legend_handles_labels(), strict=True):
            line = handle[0] if isinstance(handle, tuple) else handle
            if isinstance(line, Line2D) and line.get_marker() not in ("None", None, ""):
                found.add((label, to_hex(line.get_color()).upper(), line.get_marker()))
    return found


def test_one_look_per_label_holds_across_all_figures_of_the_book():
    shown = set()
    for draw in DRAWN.values():
        fig, _ = draw()
        shown |= entries(fig)
        pyplot.close(fig)
    compressions = {label for label, *_ in shown} & {*figures.LOOKS, "weighted 3-bit"}
    assert {"full", "GPTQ 4-bit", "GPTQ 3-bit", "GPTQ 2-bit"} <= compressions
    for label in compressions:
        ((_, *look),) = [one for one in shown if one[0] == label]
        assert tuple(look) == figures.looks([label])[label]


@pytest.mark.parametrize("scale", [1, 0.01])
def test_ticks_are_thinned_until_their_labels_fit(scale):
    table, said = panels()
    for column, value in {"difference": -8e-5, "ci_low": -1.7e-4, "ci_high": 1e-5}.items():
        table[column] = value * scale
    fig, _ = figures.interval_panels(table, said | {"b": "Change in confidence,\nagainst others"})
    assert faults(fig) == []


def test_bins_that_are_left_out_leave_no_gap():
    few = items(MODELS[:2], count=7)
    fig, _ = figures.change_against_confidence(few, names=NAMES, bins=5)
    assert faults(fig) == []
    assert fig.get_axes()[0].get_xlim() == (-0.5, len(fig.get_axes()[0].get_xticks()) - 0.5)


def test_intervals_beyond_the_range_of_a_measure_are_drawn_whole():
    few = by_length().groupby(["normalisation", "benchmark"]).head(8)
    few["confidence"] = few["confidence"].round()
    assert faults(figures.overconfidence_by_length(few)[0]) == []


# --- What is found --------------------------------------------------------------------------------


@pytest.fixture
def plot():
    figures.style()
    return pyplot.subplots()


def test_data_beyond_a_limit_are_found(plot):
    fig, axes = plot
    axes.errorbar([1, 2], [1, 2], yerr=[0.5, 0.5])
    assert faults(fig) == []
    axes.set_ylim(0.6, 3)
    assert any("outside the axes, such as (1, 0.5)" in one for one in faults(fig))


def test_a_value_that_a_logarithmic_axis_cannot_hold_is_found(plot):
    fig, axes = plot
    axes.plot([1, 2], [0.0, 1.0])
    axes.set_yscale("log")
    assert any("such as (1, 0)" in one for one in faults(fig))


@pytest.mark.parametrize("draw", ["bar", "fill_between", "scatter", "hlines"])
def test_bars_bands_and_points_count_as_data(plot, draw):
    fig, axes = plot
    {
        "bar": lambda: axes.bar([1, 2], [1, 5]),
        "fill_between": lambda: axes.fill_between([1, 2], [0, 0], [1, 5]),
        "scatter": lambda: axes.scatter([1, 2], [1, 5]),
        "hlines": lambda: axes.hlines([1, 5], 0, 3),
    }[draw]()
    assert faults(fig) == []
    axes.set_ylim(0, 4)
    assert any("outside the axes" in one for one in faults(fig))


def test_a_panel_of_nothing_but_a_line_of_reference_is_empty():
    fig, (left, right) = pyplot.subplots(1, 2)
    left.plot([1, 2], [1, 2])
    right.axhline(0.5)
    right.axvspan(0, 1)
    right.plot([], [], label="a")
    assert faults(fig) == ["panel 2 is empty"]


def test_labels_on_each_other_and_beyond_the_picture_are_found(plot):
    fig, axes = plot
    axes.plot([1, 2], [1, 2])
    axes.set_xticks([1, 1.01], ["a long label", "another"])
    fig.text(0.9, 0.5, "too far right to be whole")
    found = faults(fig)
    assert any("“a long label” and “another” lie on each other" in one for one in found)
    assert any("“too far right to be whole” reaches beyond" in one for one in found)


def test_a_legend_over_data_and_one_over_panels_are_found(plot):
    fig, axes = plot
    axes.plot([1, 2], [1, 2], label="a")
    axes.legend(loc="upper right")
    fig.legend(loc="center")
    assert {"panel 1: the legend covers data", "the legend lies on a panel"} <= set(faults(fig))


def test_a_character_that_the_font_lacks_is_found(plot):
    fig, axes = plot
    axes.plot([1, 2], [1, 2])
    axes.set_title("好")
    assert any("missing from font" in one for one in faults(fig))


# --- Where series stand ---------------------------------------------------------------------------


def test_a_series_alone_in_its_category_stands_on_the_tick():
    fig, _ = figures.scores_against(runs(), "strength", {"f1": "F1"}, by="way", full="none")
    (axes,) = fig.get_axes()
    at = sorted(float(bar.lines[0].get_xdata()[0]) for bar in axes.containers)
    assert [label.get_text() for label in axes.get_xticklabels()] == ["0.01", "0.1", "1"]
    band = figures.BAND / 4
    np.testing.assert_allclose(at, [0, 1 - band, 1 + band, 2 - band, 2 + band])


def test_a_point_on_an_axis_of_numbers_stands_at_its_number():
    from ethical_compression.metrics.confidence import reliability

    table = items(MODELS[:3])
    fig, _ = figures.reliability_diagram(table, names=NAMES)
    for number, model in enumerate(MODELS[:3]):
        side = table[(table["benchmark"] == "piqa") & (table["compression"] == model)]
        bins = reliability(side["confidence"], side["correct"], 10)
        drawn = np.array(fig.get_axes()[0].containers[number].lines[0].get_xdata(), float)
        np.testing.assert_allclose(drawn, bins.loc[bins["count"] >= 5, "confidence"])

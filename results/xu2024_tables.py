"""Make published/xu2024_*.csv: what the chapter on bias scores reads of Xu et al.'s result tables.

    python results/xu2024_tables.py FOLDER      (their folder `full_results`, eight CSV files)

Numbers are taken over as they are. Left out: what the chapter does not read, the scores of single
subjects (their extremes are kept) and of single groups in the texts that models continued.
"""

import sys
from pathlib import Path

import pandas as pd

NAMES = {"bitsandbytes": "llm.int8", "bnb": "llm.int8"}
HARMS = {
    "realtoxicityprompts": ("mean_toxigen_score_ratio", "realtoxicityprompts_toxic"),
    "toxigen": ("mean_toxigen_score_ratio", "toxigen_toxic"),
    "bold": ("mean_toxigen_score_ratio", "bold_toxic"),
    "advpromptset": ("mean_toxigen_score_ratio", "advpromptset_toxic"),
    "holistic_bias": ("mean_regardv3_score_ratio", "holistic_bias_negative"),
}


def runs(frame: pd.DataFrame) -> pd.DataFrame:
    """What names a run, alike in all tables; `copy` counts a run that is there twice."""
    model = frame["base_model"].str.replace("_", "-")
    named = pd.DataFrame(
        {
            "base_model": model.str.replace(r"^(llama|tulu)-?2-", r"\1-2-", regex=True),
            "method": frame["compression_method"].replace(NAMES),
            "sparsity": frame["compression_ratio"].round(3),
            "structure": frame["pruning_structure"].str.replace("semistructured:", ""),
        }
    )
    quantized = named["method"].isin(["awq", "gptq", "llm.int8", "none"])
    named.loc[quantized, "sparsity"], named.loc[quantized, "structure"] = 0.0, "unstructured"
    named["copy"] = named.groupby(list(named)).cumcount() + 1
    return named


def main(folder: Path) -> None:
    place = Path(__file__).parents[1] / "src" / "ethical_compression" / "published"
    read = {path.stem: pd.read_csv(path) for path in folder.glob("*.csv")}

    bbq = read["bbq"]
    scores = [name for name in bbq if name.endswith(("_ambiguous", "_disambiguated"))]
    pd.concat([runs(bbq), bbq[scores]], axis=1).to_csv(place / "xu2024_bbq.csv", index=False)

    unqover = read["unqover"]
    kept = runs(unqover)
    for topic in ("religion", "country", "ethnicity", "gender_occupation"):
        gamma = unqover.filter(regex=f"^{topic}_.*_gamma$")
        kept[f"{topic}_mu"] = unqover[f"{topic}_model_mu"]
        kept[f"{topic}_gammas"] = gamma.notna().sum(axis=1)
        kept[f"{topic}_gammas_outside"] = (gamma.abs() > 1).sum(axis=1)
        kept[f"{topic}_gamma_min"], kept[f"{topic}_gamma_max"] = (
            gamma.min(axis=1),
            gamma.max(axis=1),
        )
    kept.to_csv(place / "xu2024_unqover.csv", index=False)

    table = read["perplexity_results"]
    columns = {
        "wikitext2": "wikitext2",
        "twitterAAE": "twitter_aae",
        "twitter-white": "twitter_white",
    }
    harms = pd.concat([runs(table), table[list(columns)].rename(columns=columns)], axis=1)
    for name, (column, called) in HARMS.items():
        one = runs(read[name]).assign(**{called: read[name][column]})
        harms = harms.merge(one, how="outer", validate="1:1")
    harms.to_csv(place / "xu2024_harms.csv", index=False)


if __name__ == "__main__":
    if len(sys.argv) != 2 or not Path(sys.argv[1]).is_dir():
        sys.exit("Name the folder with the eight result tables: python results/xu2024_tables.py …")
    main(Path(sys.argv[1]))

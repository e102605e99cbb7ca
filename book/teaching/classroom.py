"""Make `classroom.csv`: one table for a class without network, from the kept grid of harms.

python book/teaching/classroom.py
"""

from pathlib import Path

from ethical_compression import kept_tables

CHECK = "bbq_disambiguated"
MODELS = {
    "full": "full",
    "LLM.int8": "int8",
    "GPTQ 4-bit": "gptq_4bit",
    "RTN 3-bit": "rtn_3bit",
    "Wanda 50%": "wanda_50",
}


def classroom():
    """A row a question of BBQ whose answer is given: `question`, `group`, `scene`, and for each
    model 1 where it answered wrongly: a DataFrame."""
    table, _ = kept_tables.larger("harm_grid")
    table = table[(table["check"] == CHECK) & table["compression"].isin(MODELS)]
    wide = table.pivot(index="item", columns="compression", values="value").rename(columns=MODELS)
    about = table.drop_duplicates("item").set_index("item")[["group", "cluster"]]
    found = about.join(wide[list(MODELS.values())].astype(int)).reset_index()
    return found.rename(columns={"item": "question", "cluster": "scene"})


if __name__ == "__main__":
    found = classroom()
    found.to_csv(Path(__file__).with_name("classroom.csv"), index=False)
    print(f"{len(found)} questions")

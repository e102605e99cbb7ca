"""What a table of scores by group has to say of groups that are small, empty or odd."""

from collections.abc import Collection

import pandas as pd

FEWEST = 10  # items below which a score by group is noted as resting on few


def noted(
    table: pd.DataFrame, by: str, groups: Collection | None = None, *, n: str = "n"
) -> pd.DataFrame:
    """A table of scores by group with a last column `note`, and with a row for every group asked.

    by: the column of groups; n: that of their numbers of items. groups: those that there should be;
    one without items gets a row of its own, n = 0 and scores missing. A column `repeated` counts
    items with an option that repeats another, and is said in the note too.
    """
    table = table.reset_index(drop=True)
    missing = [one for one in groups or () if one not in set(table[by])]
    if missing:
        empty = pd.DataFrame({by: missing, n: 0}).reindex(columns=table.columns)
        table = empty if table.empty else pd.concat([table, empty], ignore_index=True)
        table[n] = table[n].fillna(0).astype(int)
    notes = []
    for row in table.to_dict("records"):
        said = []
        if not row[n]:
            said.append("no items")
        elif row[n] < FEWEST:
            said.append(f"fewer than {FEWEST} items")
        if row.get("repeated", 0) > 0:
            said.append(f"{int(row['repeated'])} with an option that repeats another")
        notes.append("; ".join(said))
    return table.assign(note=notes)

"""The figure of the chapter on how numbers are made."""

import numpy as np

from ethical_compression.figures.forms import LOOKS, WIDTH, style


def token_tree(row, pieces):
    """Who sees whom in a tree of tokens: `row` a `score.token_tree.Row`, `pieces` its text.

    Returns (figure, alt). Each line is a token in the order it is laid out; dark squares are the
    tokens it attends to.
    """
    from matplotlib import pyplot
    from matplotlib.colors import ListedColormap

    style()
    count = len(row.token)
    sees = np.zeros((count, count))
    for node, parent in enumerate(row.parent):
        if parent >= 0:
            sees[node] = sees[parent]
        sees[node, node] = 1
    fig, axes = pyplot.subplots(figsize=(WIDTH, 0.8 + 0.2 * count))
    axes.imshow(sees, cmap=ListedColormap(["white", LOOKS["GPTQ 4-bit"][0]]), aspect="auto")
    axes.set_xticks(np.arange(count) - 0.5, minor=True)
    axes.set_yticks(np.arange(count) - 0.5, minor=True)
    axes.grid(False, which="major")
    axes.grid(True, which="minor", color="0.85", lw=0.5)
    axes.tick_params(which="both", length=0)
    axes.set_xticks(range(0, count, 5))
    axes.set_yticks(range(count), [repr(piece)[1:-1] for piece in pieces], fontsize=8)
    axes.set_xlabel("token seen (place in the sequence)")
    axes.set_ylabel("token")
    nodes = range(count)
    branches = sum(1 for node in nodes if row.parent[node] not in (node - 1, -1))
    trunk = next((n for n in nodes[1:] if row.parent[n] != n - 1), count)
    first = min((row.parent[n] for n in nodes if row.parent[n] not in (n - 1, -1)), default=trunk)
    alt = (
        f"A square table of {count} tokens by {count}: each token sees the first {first + 1}, "
        f"which all {branches + 1} branches share, and the tokens before it on its own branch, but "
        "none of another branch."
    )
    return fig, alt

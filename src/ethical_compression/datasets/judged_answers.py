"""TruthfulQA answers of Mistral-7B, full and in 4 bits, with a judge's scores (Proskurina et al.).

The files are the authors' (`truthfulqa_predictions` in `upunaprosk/quantized-lm-confidence`). They
are read from a folder or fetched at one commit, and either way held to their checksums.
"""

import os
import urllib.error
import urllib.request
from pathlib import Path

import pandas as pd

from ethical_compression import store
from ethical_compression.datasets import files
from ethical_compression.errors import InputError

REPOSITORY = "upunaprosk/quantized-lm-confidence"
COMMIT = "e487a4efd5e94bb7bf86c9ba7e9725d29002ad7b"
FOLDER = "naacl2024_truthfulqa"  # within the folder of published results
FILES = {
    "full": {
        "file": "answ_mistral_7b_pred.csv",
        "sha256": "ec8983998ac56ba58313a5c93c7eef3151726c03a48c613c677bfa753463c7df",
        "judge": "mistral GPT-info",
    },
    "quantized": {
        "file": "answ_mistral_7b_gptq_pred.csv",
        "sha256": "c77406e28ebc6b0c09120ef0274c33330ccec85b1cdf26bb8471b17bfc9b9134",
        "judge": "mistral-quantized-gptq GPT-info",
    },
}


def load(source: str = "folder", folder: str | Path | None = None) -> pd.DataFrame:
    """Both models' answers to the same questions, a row a question, in the files' order.

    Columns: `category, question`, and for each of "full" and "quantized" `answer_…` (text, without
    space around it), `score_…` (the judge's, in [0, 1]) and `accepted_…` (score above one half).
    The files name the judge GPT-info, TruthfulQA's judge of whether an answer informs.
    source: "folder" (`folder`, or $ETHICAL_COMPRESSION_PUBLISHED, or `published` beside the data
    mirror $ETHICAL_COMPRESSION_DATA) or "repository" (fetched once, and kept).
    Raises InputError for a missing folder, file or network, and a file of another content.
    """
    files.known("source of judged answers", source, ("folder", "repository"))
    columns = {}
    for model, entry in FILES.items():
        path = _fetched(entry) if source == "repository" else _there(folder) / entry["file"]
        if not path.is_file():
            raise InputError(f"There is no file {path}: add it, or choose the source 'repository'.")
        if store.sha256_of(path) != entry["sha256"]:
            raise InputError(
                f"{path} is not the file of the authors' commit {COMMIT[:7]} (its checksum "
                "differs): fetch it again."
            )
        rows = pd.read_csv(path, keep_default_na=False)
        columns["category"], columns["question"] = rows["Category"], rows["Question"]
        columns[f"answer_{model}"] = rows["model_prediction"].str.strip()
        columns[f"score_{model}"] = rows[entry["judge"]].astype(float)
        columns[f"accepted_{model}"] = rows[f"{entry['judge']} acc"] == 1
    return pd.DataFrame(columns)


def source_record() -> dict:
    """Where the answers come from: JSON-ready."""
    return {
        "name": "TruthfulQA answers of Mistral-7B, judged",
        "repository": REPOSITORY,
        "commit": COMMIT,
        "licence": "Apache-2.0",
        "sha256": {entry["file"]: entry["sha256"] for entry in FILES.values()},
    }


def _there(folder: str | Path | None) -> Path:
    named = folder or os.environ.get("ETHICAL_COMPRESSION_PUBLISHED")
    if not named and (mirror := os.environ.get("ETHICAL_COMPRESSION_DATA")):
        named = Path(mirror).expanduser().parent / "published"
    place = Path(named).expanduser() / FOLDER if named else None
    if place is None or not place.is_dir():
        raise InputError(
            "The judged answers are not here: set ETHICAL_COMPRESSION_PUBLISHED to a folder that "
            f"holds {FOLDER}, or choose the source 'repository'."
        )
    return place


def _fetched(entry: dict) -> Path:
    path = store.cache_dir() / "judged_answers" / COMMIT / entry["file"]
    if path.is_file():
        return path
    address = f"https://raw.githubusercontent.com/{REPOSITORY}/{COMMIT}/truthfulqa_predictions"
    try:
        with urllib.request.urlopen(f"{address}/{entry['file']}", timeout=20) as answer:
            content = answer.read()
    except (urllib.error.URLError, TimeoutError) as error:
        raise InputError(
            f"{entry['file']} could not be fetched from the authors' repository ({error}): check "
            "the network, or choose the source 'folder'."
        ) from error
    with store.whole_or_nothing(path) as place:
        place.write_bytes(content)
    return path

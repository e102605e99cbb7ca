"""One audit of two folders, from loading to the report. See `process.run`."""

import os
import tempfile
from pathlib import Path

from benchmarks.process import measured, serve
from ethical_compression.audit import report, run
from ethical_compression.score.subjects import Checkpoint


def work(job):
    def audited(folder: str):
        full, other = (
            Checkpoint(job["folder"], place, device=job["device"], label=label)
            for label, place in (("full", job["folder"]), ("compressed", job["other"]))
        )
        found = run.audit(full, other, each=job["each"], progress=False)
        report.write(run.page(found, measured=False), Path(folder, "report"))
        return found.items

    with tempfile.TemporaryDirectory() as folder:
        os.environ["ETHICAL_COMPRESSION_CACHE"] = str(Path(folder, "store"))
        items, seconds, memory = measured(lambda: audited(folder), job["device"])
    values = items.loc[items["check"] == "crows_pairs", "value"].tolist()
    return {"seconds": seconds, "memory": memory, "crows_pairs": values}


if __name__ == "__main__":
    serve(work)

"""One run of TRL's DPOTrainer, in an environment that needs TRL only. See `process.run`."""

import logging
import tempfile
import time

import datasets
import torch
import transformers
import trl
from process import measured, serve

logging.disable(logging.WARNING)
datasets.disable_progress_bars()


class InOrder(trl.DPOTrainer):
    """The pairs in the order in which they are given."""

    def _get_train_sampler(self, dataset=None):
        return torch.utils.data.SequentialSampler(self.train_dataset)


def work(job):
    model = transformers.AutoModelForCausalLM.from_pretrained(job["folder"], dtype=torch.float32)
    settings = job["settings"]
    names = ("prompt", "chosen", "rejected")
    pairs = [dict(zip(names, pair, strict=True)) for pair in job["pairs"]]
    with tempfile.TemporaryDirectory() as place:

        def whole_run():
            # Memory counts from here, for the reference is copied; time from the first step on.
            trainer = InOrder(
                model=model,
                args=trl.DPOConfig(
                    output_dir=place,
                    beta=settings["beta"],
                    learning_rate=settings["learning_rate"],
                    num_train_epochs=settings["epochs"],
                    per_device_train_batch_size=settings["batch"],
                    use_cpu=job["device"] == "cpu",
                    bf16=False,
                    logging_steps=1,
                    report_to=[],
                    save_strategy="no",
                    disable_tqdm=True,
                    **job["arguments"],
                ),
                train_dataset=datasets.Dataset.from_list(pairs),
                processing_class=transformers.AutoTokenizer.from_pretrained(job["folder"]),
            )
            start = time.perf_counter()
            trainer.train()
            seconds = time.perf_counter() - start
            return [row for row in trainer.state.log_history if "loss" in row], seconds

        (log, seconds), _, memory = measured(whole_run, job["device"])
    return {
        "seconds": seconds,
        "memory": memory,
        "loss": [row["loss"] for row in log],
        "margin": [row["rewards/margins"] for row in log],
    }


if __name__ == "__main__":
    serve(work)

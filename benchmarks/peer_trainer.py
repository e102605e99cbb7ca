"""transformers' Trainer as it comes, on texts of their own length. See `process.run`."""

import logging
import tempfile
import time

import torch
import transformers
from process import measured, serve

logging.disable(logging.WARNING)


def work(job):
    tokenizer = transformers.AutoTokenizer.from_pretrained(job["folder"])
    model = transformers.AutoModelForCausalLM.from_pretrained(job["folder"], dtype=torch.float32)
    length, batch = job["lengths"][0], job["tokens"] // job["lengths"][0]
    rows = [
        {"input_ids": one[begin : begin + length]}
        for one in job["texts"]
        for begin in range(0, len(one), length)
    ]
    seen = {"tokens": 0, "places": 0, "begun": 0.0}
    collate = transformers.DataCollatorForLanguageModeling(tokenizer, mlm=False)

    def counted(some):
        found = collate(some)
        seen["tokens"] += sum(len(one["input_ids"]) for one in some)
        seen["places"] += found["input_ids"].numel()
        return found

    class AfterFirst(transformers.TrainerCallback):
        """The clock starts when the first step is done, as ours does."""

        def on_step_end(self, args, state, control, **_said):
            if state.global_step == 1:
                seen.update(tokens=0, places=0, begun=time.perf_counter())

    with tempfile.TemporaryDirectory() as place:
        trainer = transformers.Trainer(
            model=model,
            args=transformers.TrainingArguments(
                output_dir=place,
                max_steps=job["steps"] + 1,
                per_device_train_batch_size=batch,
                learning_rate=job["learning_rate"],
                weight_decay=job["decay"],
                use_cpu=True,
                logging_steps=1,
                report_to=[],
                save_strategy="no",
                disable_tqdm=True,
            ),
            train_dataset=rows,
            data_collator=counted,
            callbacks=[AfterFirst()],
        )

        def steps():
            trainer.train()
            return time.perf_counter() - seen["begun"]

        seconds, _, memory = measured(steps)
    losses = [row["loss"] for row in trainer.state.log_history if "loss" in row]
    return {
        "seconds": seconds,
        "memory": memory,
        "tokens": seen["tokens"],
        "padding": 1 - seen["tokens"] / seen["places"],
        "loss": losses[-1],
    }


if __name__ == "__main__":
    serve(work)

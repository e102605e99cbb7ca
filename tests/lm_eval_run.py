"""A real run of lm-eval over rows of our own, offline."""

import inspect
from pathlib import Path
from unittest import mock

import datasets


def run_lm_eval(folder: Path, model, name: str, rows_of: dict[str, list[dict]]) -> Path:
    """What `lm_eval --log_samples --output_path` writes for tasks, {path: rows}, over our rows."""
    import lm_eval.evaluator
    import lm_eval.tasks
    from lm_eval.api.task import ConfigurableTask
    from lm_eval.loggers import EvaluationTracker
    from lm_eval.tasks._yaml_loader import load_yaml

    tasks = []
    for path, docs in rows_of.items():
        rows = datasets.Dataset.from_list(docs)

        class Offline(ConfigurableTask):
            def download(self, *_args, rows=rows, **_options):
                self.dataset = dict.fromkeys(("train", "validation", "test"), rows)

        place = Path(inspect.getfile(lm_eval.tasks)).parent / path
        tasks.append(Offline(config=load_yaml(place)))
    tracker = EvaluationTracker(output_path=str(folder))
    # Its own task files, fourteen thousand, are not looked through, nor what pip has installed.
    ours = {"task_manager": lm_eval.tasks.TaskManager(include_defaults=False)}
    with mock.patch.object(lm_eval.evaluator, "add_env_info"):
        found = lm_eval.simple_evaluate(
            model, tasks=tasks, log_samples=True, bootstrap_iters=0, **ours
        )
    tracker.general_config_tracker.model_name_sanitized = name
    samples = found.pop("samples")
    tracker.save_results_aggregated(results=found, samples=samples)
    for task, some in samples.items():
        tracker.save_results_samples(task_name=task, samples=some)
    return folder / name

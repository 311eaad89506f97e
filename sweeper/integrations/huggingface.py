"""A callback of the Trainer of transformers."""

import shutil
from importlib import import_module
from pathlib import Path
from typing import Any

from sweeper.integrations import importing
from trainables.runtime.programs.function import Trial

with importing("huggingface"):
    import_module("accelerate")  # without which there is no Trainer
    from transformers import PreTrainedModel, TrainerCallback


class ReportEvaluations(TrainerCallback):
    """Reports of evaluations, and checkpoints for `train(resume_from_checkpoint=...)`."""

    def __init__(self, trial: Trial) -> None:
        self._trial, self._metrics = trial, dict[str, float]()

    def on_train_begin(self, args: Any, state: Any, control: Any, **now: Any) -> None:
        # The Trainer skips weights whose names differ in files (transformers, issue 48805).
        if (kept := self._trial.restore()) and isinstance(model := now["model"], PreTrainedModel):
            model.load_state_dict(type(model).from_pretrained(kept).state_dict())

    def on_evaluate(self, args: Any, state: Any, control: Any, **now: Any) -> None:
        self._metrics |= now["metrics"]
        control.should_save = True

    def on_save(self, args: Any, state: Any, control: Any, **now: Any) -> None:
        if self._metrics:  # else the user saves at another time
            path = Path(args.output_dir, f"checkpoint-{state.global_step}")
            self._trial.save(path)
            if args.save_strategy == "no":
                shutil.rmtree(path)
            steps = {each["step"] for each in state.log_history if "eval_" in " ".join(each)}
            metrics, self._metrics = self._metrics, {}
            self._trial.report(len(steps), metrics)

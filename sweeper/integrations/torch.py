"""The progress of a training loop in PyTorch."""

import json
from typing import Any

from safetensors.torch import load_file

from trainables.runtime.programs.function import Trial
from trainables.seeding import seed_globals
from trainables.storage.tensors import join_state, save_tensors, split_state


class Progress:
    """A step, and objects with a `state_dict` such as model and optimiser, as they were saved."""

    def __init__(self, trial: Trial, **parts: Any) -> None:
        self.step, self._trial, self._parts = 0, trial, parts
        if kept := trial.restore():
            self.step, states = json.loads((kept / "states.json").read_text())
            found = join_state(states, load_file(kept / "tensors.safetensors"))
            for name, part in parts.items():
                part.load_state_dict(found[name])
        seed_globals(trial.seed, "step", self.step)

    def report(self, step: int, **metrics: float) -> None:
        """Save the objects, and report the metrics of a step."""
        states, tensors = split_state({k: part.state_dict() for k, part in self._parts.items()})
        folder = self._trial.folder / "progress"
        folder.mkdir(exist_ok=True)
        save_tensors(tensors, folder / "tensors.safetensors")
        (folder / "states.json").write_text(json.dumps([step, states]))
        self._trial.save(folder)
        self._trial.report(step, metrics)
        seed_globals(self._trial.seed, "step", step)

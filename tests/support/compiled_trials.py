"""Trials with a compiled body beside the same without, in a process of its own.

The process runs the code as it is: checks of shapes at every call, which tests add, would be part
of what is compiled. Usage: python -m tests.support.compiled_trials FOLDER BACKEND CASES, where
BACKEND is one of torch.compile, and CASES a list of [method, dimension, settings] in JSON. Prints
the number of graphs.
"""

import json
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch._dynamo.utils import counters

from tests.support.tiny_trials import make_trials, same_weights
from trainables.models import compilation
from trainables.report import Report

CLOSE = {"rel": 1e-3, "abs": 1e-6}  # metrics of trials of two epochs a stage
DROP_PATH = 0.5  # in 2D, whose draws are those without compilation


def main(folder: Path, backend: str, cases: list[tuple[str, str, dict[str, object]]]) -> None:
    torch.set_num_threads(1)
    if backend != "inductor":
        compilation.BACKENDS["inductor"] = {"backend": backend}
    trials = make_trials(folder)
    for number, (method, dimension, settings) in enumerate(cases):
        spec = trials.spec(method, dimension, settings)
        if dimension == "2d":
            model = spec.model.model_copy(update={"drop_path": DROP_PATH})
            spec = spec.model_copy(update={"model": model})
        model = spec.model.model_copy(update={"compile": "inductor"})
        compiled = spec.model_copy(update={"model": model})
        reports, weights = trials.run(compiled)
        check_close(reports, trials.run(spec)[0])
        graphs = counters["stats"]["unique_graphs"]
        again = trials.run_stopped(compiled, folder / str(number))
        assert again[0] == reports, method
        assert same_weights(again[1], weights), method
        # Rates differ from step to step, and these were other models: nothing is compiled anew.
        assert counters["stats"]["unique_graphs"] == graphs > 0, method
    assert not counters["graph_break"], counters["graph_break"]
    print(counters["stats"]["unique_graphs"])


def check_close(ours: list[Report], theirs: list[Report]) -> None:
    for one, other in zip(ours, theirs, strict=True):
        assert one.metrics == pytest.approx(other.metrics, **CLOSE), (one.stage, one.epoch)
        left = {"metrics": {}, "objective": None}
        assert replace(one, **left) == replace(other, **left)


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2], json.loads(sys.argv[3]))

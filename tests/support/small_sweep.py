"""The smallest real sweep: vanilla fine-tuning of a tiny RoBERTa on one equation, four trials.

Its trials do not depend on the order in which others end, so that any two runs of it agree.
"""

import json
import re
import subprocess
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from safetensors.numpy import load_file
from sqlalchemy import create_engine, text
from sqlalchemy.exc import DBAPIError

from tests.support.command import Shell
from tests.support.tiny_backbones import save_tiny_roberta

TRIALS, EPOCHS = 4, 4
FILE = """
name: {name}
experiment: pdebench
methods: [nft]
tasks: [pdebench/advection_1d]
backbones: {{1d: {{name: {roberta}, tokens: 16}}}}
model: {{head: linear}}
data: {{samples: 48, val_fraction: 0.25, test_fraction: 0.25, resolution: 64}}
parameters:
  refine.lr: {{distribution: log_uniform_values, min: 1.0e-5, max: 1.0e-2}}
fixed: {{refine.epochs: 4, refine.batch_size: 16, refine.warmup_epochs: 1}}
search: {{trials: 4, sampler: random}}
pruning: {{type: none}}
resources: {{cpu: 1, gpu: 0}}
"""


@dataclass
class Sweep:
    """One sweep in a folder of its own."""

    shell: Shell
    name: str
    storage: str | None = None  # URL of its ledger

    def start(self, *options: str) -> subprocess.Popen[str]:
        storage = ("--storage", self.storage) if self.storage else ()
        return self.shell.start("launch", str(self.file()), "--json", *storage, *options)

    def file(self) -> Path:
        """Write the sweep's file, and its weights beside it."""
        file, weights = self.shell.folder / f"{self.name}.yaml", self.shell.folder / "roberta"
        if not weights.exists():
            save_tiny_roberta(weights)
        file.write_text(FILE.format(name=self.name, roberta=weights))
        return file

    def rows(self, query: str) -> list[tuple]:
        """Return what a query finds in the tables `trials` and `events` of this sweep alone."""
        mine = re.sub(
            r"from (trials|events)",
            rf"from (select * from \1 where sweep = '{self.name}') as \1",
            query,
        )
        engine = create_engine(self.storage or f"sqlite:///{self.folder / 'ledger.db'}")
        try:
            with engine.connect() as connection:
                return [tuple(row) for row in connection.execute(text(mine))]
        finally:
            engine.dispose()

    @property
    def folder(self) -> Path:
        return self.shell.folder / "sweeps" / self.name

    def events(self, kind: str) -> list[tuple[int, dict]]:
        query = f"select number, payload from events where kind='{kind}' order by seq"
        return [(number, plain(payload)) for number, payload in self.rows(query)]

    def checkpoints(self) -> dict[int, Path]:
        """Return the ledger's checkpoint of each trial of a sweep without a store."""
        kept = "where checkpoint is not null"
        found = self.rows(f"select study, number, checkpoint from trials {kept}")
        trials = self.folder / "trials"
        return {n: trials / study.replace("/", "-") / f"{n:04d}" / name for study, n, name in found}

    def weights(self) -> dict[int, dict]:
        return {
            n: load_file(folder / "last.safetensors") for n, folder in self.checkpoints().items()
        }

    def outcomes(self) -> dict[int, tuple]:
        """Return the results of each trial: values of all epochs, the best, and the test."""
        curves: dict[int, dict[int, dict]] = {}
        for number, payload in self.events("measured"):
            curves.setdefault(number, {})[payload["epoch"]] = payload["metrics"]
        rows = self.rows("select number, state, params, value, best_epoch, test from trials")
        return {
            n: (state, plain(params), *best, plain(test), sorted(curves[n].items()))
            for n, state, params, *best, test in rows
        }


def check_same(sweep: Sweep, undisturbed: Sweep, *, epochs: int = EPOCHS) -> None:
    """Check that a sweep has its trials, each epoch once, and the numbers and bits of another."""
    states = sweep.rows("select number, state from trials order by number")
    assert states == [(number, "complete") for number in range(TRIALS)]
    assert sorted(n for n, _ in sweep.events("trial_ended")) == list(range(TRIALS))
    measured = [(number, m["epoch"]) for number, m in sweep.events("measured")]
    assert sorted(measured) == [(n, e) for n in range(TRIALS) for e in range(1, epochs + 1)]
    assert sweep.outcomes() == undisturbed.outcomes()
    assert sweep.checkpoints().keys() == undisturbed.checkpoints().keys()
    check_weights(sweep, undisturbed)


def check_weights(sweep: Sweep, undisturbed: Sweep) -> None:
    """Check that a sweep has the bits of the last weights of each trial of another one."""
    mine = sweep.weights()
    for number, weights in undisturbed.weights().items():
        for name, values in weights.items():
            assert (mine[number][name] == values).all(), (number, name)


def plain(value: Any) -> dict:
    """Return what a JSON column holds, which only some databases read by themselves."""
    return json.loads(value) if isinstance(value, str) else value


def finish(launch: subprocess.Popen[str], code: int = 0) -> str:
    out, err = launch.communicate(timeout=240)
    assert launch.returncode == code, f"exit {launch.returncode}\n{out}\n{err}"
    assert "Traceback" not in err, err
    return err


def epochs(sweep: Sweep) -> Iterator[int]:
    """Yield how many epochs have been measured, again and again, for at most two minutes."""
    for _ in range(1200):
        try:
            yield len(sweep.rows("select seq from events where kind='measured'"))
        except DBAPIError:  # there is no ledger yet, or its server is away
            yield 0
        time.sleep(0.1)
    pytest.fail("no progress")


def wait_for_epochs(sweep: Sweep, count: int) -> None:
    """Return once so many epochs have been measured; a busy machine takes minutes to start Ray."""
    for _ in range(3):
        with suppress(pytest.fail.Exception):
            next(done for done in epochs(sweep) if done >= count)
            return
    pytest.fail("no progress")

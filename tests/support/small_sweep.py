"""The smallest real sweep: a small FNO on one equation, four trials, one at a time.

Its trials do not depend on the order in which others end, so that any two runs of it agree. Where
weights matter, it is vanilla fine-tuning of a tiny RoBERTa, whose imports cost each process more.
"""

import json
import re
import shutil
import subprocess
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from safetensors.numpy import load_file
from sqlalchemy import create_engine, text
from sqlalchemy.exc import DBAPIError

from tests.support.command import Shell
from tests.support.servers.process import wait_until
from tests.support.stores import empty_store
from tests.support.tiny_backbones import save_tiny_roberta

TRIALS, EPOCHS = 4, 4
STUDY = "fno/pdebench/advection_1d"
SEARCH = "search: {trials: 4, sampler: random, max_concurrent: 1}"
FILE = """
name: NAME
experiment: pdebench
METHOD
tasks: [pdebench/advection_1d]
data: {samples: 48, val_fraction: 0.25, test_fraction: 0.25, resolution: 64}
parameters:
  refine.lr: {distribution: log_uniform_values, min: 1.0e-5, max: 1.0e-2}
fixed: {SIZE, refine.batch_size: 16, refine.warmup_epochs: 1}
SEARCH
pruning: {type: none}
resources: {cpu: 1, gpu: 0, dashboard: false}
"""
OPERATOR = {
    "METHOD": "methods: [fno]",
    "SIZE": "refine.epochs: 4, refine.width: 4, refine.modes: 4, refine.layers: 1",
}
BACKBONE = {
    "METHOD": """
methods: [nft]
backbones: {1d: {name: WEIGHTS, tokens: 16}}
model: {head: linear}
""",
    "SIZE": "refine.epochs: 4",
}


def text_of(name: str, *, weights: str | Path | None = None) -> str:
    """Return the sweep's file: of an FNO, or of the backbone in the folder `weights`."""
    text = FILE.replace("NAME", name).replace("SEARCH", SEARCH)
    for word, instead in (OPERATOR if weights is None else BACKBONE).items():
        text = text.replace(word, instead)
    return text.replace("WEIGHTS", str(weights))


@dataclass
class Sweep:
    """One sweep in a folder of its own."""

    shell: Shell
    name: str
    storage: str | None = None  # URL of its ledger
    on_backbone: bool = False
    changes: Mapping[str, str] = field(default_factory=dict)  # of the text of its file
    metric = "val/nrmse"

    def start(self, *options: str) -> subprocess.Popen[str]:
        storage = ("--storage", self.storage) if self.storage else ()
        return self.shell.start("launch", str(self.file()), "--json", *storage, *options)

    def file(self) -> Path:
        """Write the sweep's file, its weights and an empty store of MLflow beside it."""
        folder = self.shell.folder
        file, weights = folder / f"{self.name}.yaml", folder / "roberta"
        if self.on_backbone and not weights.exists():
            save_tiny_roberta(weights)
        if not (folder / "mlflow.db").exists():
            shutil.copy(empty_store(), folder / "mlflow.db")
        text = text_of(self.name, weights=weights if self.on_backbone else None)
        for old, new in self.changes.items():
            assert old in text
            text = text.replace(old, new)
        file.write_text(text)
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


def num_measured(sweep: Sweep) -> int:
    """Return how many epochs have been measured; none while there is no ledger that answers."""
    with suppress(DBAPIError):
        return len(sweep.rows("select seq from events where kind='measured'"))
    return 0


def wait_for_epochs(sweep: Sweep, count: int) -> None:
    """Return once so many epochs have been measured; a busy machine takes minutes to start Ray."""
    wait_until(lambda: num_measured(sweep) >= count, timeout_s=360, what=f"{count} epochs")

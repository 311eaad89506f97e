"""A sweep of toy trials through the real ledger, runner, Optuna, Ray Tune and recorder.

    python -m tests.support.toy.sweep FOLDER --studies 2 --trials 20 --epochs 4 --fault 3@2:kill

Started again with the same options it goes on, so that a test may kill it at any moment. The
history that the trials write themselves is in FOLDER/history.
"""

import argparse
import json
import math
import os
import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path

from sweeper.core.expected_epochs import rungs
from sweeper.core.policies import FailureBudget
from sweeper.core.promotion import PromotionRule
from sweeper.core.runner import SweepRunner
from sweeper.core.study_runner import StudyPlan
from sweeper.execution.cluster import connect, set_environment
from sweeper.execution.memory_kills import MemoryKills, count_here
from sweeper.ledger import Ledger
from sweeper.model import Params, Study, Trial, TrialKind
from sweeper.spec.distributions import Choice, Distribution, Float
from sweeper.spec.schema import PROMOTE
from sweeper.tracking.mlflow_recorder import MlflowRecorder, Sources
from tests.support.command import ROOT
from tests.support.searches import search_of
from tests.support.servers.process import Process
from tests.support.toy.faults import Fault
from tests.support.trials import record
from trainables.spec import AttemptConfig

EXPERIMENT = "toy"
PARAMETERS: dict[str, Distribution] = {
    "refine.lr": Float(low=1e-6, high=1e-1, log=True),
    "refine.optimizer": Choice(values=("adam", "sgd")),
    "refine.momentum": Float(low=0.0, high=0.99, when={"refine.optimizer": ("sgd",)}),
}
PRESET = {"refine.lr": 1e-4, "refine.optimizer": "adam"}


def parser() -> argparse.ArgumentParser:
    """Return the command line."""
    parser = argparse.ArgumentParser(prog="python -m tests.support.toy.sweep")
    parser.add_argument("folder", type=Path)
    parser.add_argument("--studies", type=int, default=1)
    parser.add_argument("--trials", type=int, default=8, help="in each study, its preset included")
    parser.add_argument("--epochs", type=int, default=4, help="of the stage that is judged")
    parser.add_argument("--align-epochs", type=int, default=0, help="of a stage before it")
    parser.add_argument("--epoch-s", type=float, default=0.02)
    parser.add_argument("--checkpoint-bytes", type=int, default=64)
    parser.add_argument("--fault", type=Fault.parse, action="append", default=[])
    parser.add_argument("--sampler", choices=["tpe", "random"], default="tpe")
    parser.add_argument("--pruning", choices=["asha", "median", "none", "promote"], default="asha")
    parser.add_argument("--turns", type=int, help="virtual slots of a deterministic search")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--concurrent", type=int, default=2)
    parser.add_argument("--cpu", type=float, default=1.0, help="that a trial takes")
    parser.add_argument("--num-cpus", type=int, default=2, help="of a local cluster")
    parser.add_argument("--memory-mib", type=int, help="that a trial may hold")
    parser.add_argument("--silence", type=float, default=math.inf, help="s that a trial may take")
    parser.add_argument("--address", default="local")
    parser.add_argument("--storage", help="URL of the ledger; default: SQLite in the folder")
    parser.add_argument("--tracking", help="URI of MLflow; default: SQLite in the folder")
    parser.add_argument("--patience", type=float, default=60.0, help="s for MLflow at the end")
    return parser


def open_ledger(folder: Path, storage: str | None = None) -> Ledger:
    """Open the ledger of the toy sweep in `folder`, whether or not it has begun."""
    ledger = Ledger(storage, folder.name) if storage else Ledger.in_folder(folder)
    if ledger.sweep() is None:
        ledger.create(record(folder.name, experiment=EXPERIMENT))
    return ledger


def make_plans(options: argparse.Namespace) -> list[StudyPlan]:
    """Return the plan of each study: a preset, and sampled trials."""
    return [_plan(options, index) for index in range(options.studies)]


def _plan(options: argparse.Namespace, index: int) -> StudyPlan:
    def complete(params: Params) -> Params:
        return {**params, "refine.epochs": options.epochs}

    seed = 1000 * options.seed + index
    pauses = options.pruning == PROMOTE
    steps = rungs(PROMOTE, min_epochs=1, eta=3, epochs=options.epochs) if pauses else ()
    return StudyPlan(
        study=Study(
            name=f"toy/task_{index}",
            method="toy",
            task=f"task_{index}",
            objective="val/loss",
            seed=seed,
        ),
        leading=((TrialKind.PRESET, complete(PRESET)),),
        num_trials=options.trials,
        sampler=search_of(
            PARAMETERS, options.sampler, options.pruning, eta=3, seed=seed, startup_trials=5
        ),
        complete=complete,
        trial_seed=lambda number: 1_000_000 * (seed + 1) + number,
        promotion=PromotionRule(rungs=steps, eta=3),
        turns=options.turns,
    )


class ToyBuilder:
    """Builder of the configs of a ToyTrainable (an `AttemptBuilder`)."""

    def __init__(self, options: argparse.Namespace) -> None:
        self._options = options

    def __call__(self, trial: Trial) -> AttemptConfig:
        from sweeper.planning.checkpoint_paths import CheckpointPaths
        from sweeper.planning.trials import measured

        options = self._options
        places = CheckpointPaths(options.folder)
        named = places.checkpoint(trial)
        found = () if named is None else places.checkpoints(trial)
        all_stages = {"align": options.align_epochs, "refine": options.epochs}
        stages = {name: epochs for name, epochs in all_stages.items() if epochs}
        spec = {
            "study": trial.study,
            "number": trial.number,
            "attempt": trial.attempt,
            "params": dict(trial.params),
            "seed": trial.seed,
            "stages": stages,
            "epoch_s": options.epoch_s,
            "checkpoint_bytes": options.checkpoint_bytes,
            "history": str(options.folder / "history"),
            "faults": [asdict(fault) for fault in options.fault],
        }
        return AttemptConfig(
            spec=spec,
            label=f"{trial.study} {trial.number:03d}",
            folder=str(places.scratch(trial)),
            resume=tuple(measured(named, found, tuple(stages))),
            memory_bytes=options.memory_mib * 2**20 if options.memory_mib else None,
        )


def drive(options: argparse.Namespace, ledger: Ledger) -> int | None:
    """Run what the ledger lacks; return the number of the signal that ended it, or None."""
    from sweeper.execution import ray_executor  # Ray, once its environment is set
    from sweeper.planning.checkpoint_paths import CheckpointPaths
    from tests.support.toy.trainable import ToyTrainable

    num_cpus = options.num_cpus if options.address == "local" else None
    with connect(options.address, num_cpus=num_cpus):
        ledger.start({"pid": os.getpid()})
        plans = make_plans(options)
        for plan in plans:
            ledger.add_study(plan.study)
        tracking = options.tracking or f"sqlite:///{options.folder / 'mlflow.db'}"
        recorder = MlflowRecorder(
            ledger,
            uri=tracking,
            experiment=EXPERIMENT,
            poll_s=0.2,
            notify=_say,
            sources=Sources(place_of=CheckpointPaths(options.folder).of_checkpoint),
        )
        recorder.start()
        budget = FailureBudget(max_fraction=1.0, systematic=10**6)
        runner = SweepRunner(plans, ledger, budget=budget, can_halve=lambda trial, stage: True)
        try:
            code = ray_executor.run(
                runner,
                ToyBuilder(options),
                ray_executor.Placement(
                    resources={"cpu": options.cpu},
                    max_concurrent=options.concurrent,
                    folder=options.folder / "ray",
                    trainable=ToyTrainable,
                    silence_s=options.silence,
                ),
                kills=MemoryKills(lambda: {"": count_here(*_cgroup(options.folder))}),
                say=_say,
            )
        except BaseException:
            recorder.stop(timeout_s=0)
            raise
        ledger.end("finished" if code is None else "interrupted")
        left = recorder.stop(timeout_s=options.patience)
        _say(f"{left.pending} records are left to ship")
    return code


def _cgroup(folder: Path) -> tuple[Path, Path]:
    """Make files in the place of a memory cgroup, which no test may fill; see `toy_faults`."""
    root, own = folder / "cgroup", folder / "cgroup" / "own"
    root.mkdir(exist_ok=True)
    if not own.exists():
        (root / "memory.events").write_text("oom 0\noom_kill 0\n")
        (root / "memory.max").write_text("1073741824\n")
        own.write_text("0::/\n")
    return root, own


def start(
    folder: Path,
    *options: str,
    environment: Mapping[str, str] | None = None,
    prefix: Sequence[str] = (),
) -> Process:
    """Start the sweep in a process of its own, which prints into FOLDER/driver.log.

    Args:
        prefix: What the command begins with, to run somewhere else.
    """
    folder.mkdir(parents=True, exist_ok=True)
    return Process(
        [*prefix, sys.executable, "-m", "tests.support.toy.sweep", str(folder), *options],
        log=folder / "driver.log",
        environment={"PYTHONPATH": str(ROOT), **(environment or {})},
        cwd=folder,
    )


def main(arguments: Sequence[str]) -> int:
    """Run the sweep; print how many trials are in which state as a line of JSON."""
    options = parser().parse_args(arguments)
    options.folder = options.folder.absolute()
    (options.folder / "history").mkdir(parents=True, exist_ok=True)
    set_environment(options.folder / "token")
    ledger = open_ledger(options.folder, options.storage)
    ledger.on_trouble(_say)
    with ledger.hold():
        code = drive(options, ledger)
    print(json.dumps(Counter(trial.state for trial in ledger.trials())))
    ledger.close()
    return 0 if code is None else 128 + code


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

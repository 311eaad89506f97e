"""A whole ORCA sweep with and without sharing its alignments, and as plain Ray Tune would run it.

32 sampled trials with 8 distinct alignments, the preset and the control: the same list of trials,
with the same seeds, by

    a    plain Ray Tune with OptunaSearch and its MLflow callback, as the manual shows it
    a'   the same with `reuse_actors`
    b    the service, each trial on its own
    c    the service, with sharing

in seconds by the wall and in core-seconds of all processes. The four take turns, and each runs as
often as `--rounds` says, every second time in the opposite order; a cost is the mean. If alignments
are a share s of b's cost (its start, its end and its driver are part of that), and D of N of them
are computed, sharing can make it 1 / (1 - s (1 - D / N)) times as fast: it is judged by that. Task
and size are arguments:

    pytest -m benchmark -s tests/benchmarks/test_stage_sharing.py -k manual \
        --task pdebench/darcy_2d --samples 160 --resolution 32 --sampled 12
"""

import json
import sys
import time
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import mean, stdev
from typing import Any

import pytest

from sweeper.ledger import Ledger
from sweeper.model import TrialKind
from sweeper.planning import resuming
from sweeper.planning.catalog import home
from sweeper.planning.trials import spec_of
from tests.support.command import ROOT, Shell
from tests.support.core_seconds import metered, spent
from tests.support.figures import compare, show
from tests.support.servers.cluster import short_folder
from tests.support.servers.process import Process

pytestmark = [pytest.mark.benchmark, pytest.mark.timeout(14_400)]  # fmt: skip
FILE = ROOT / "search_spaces" / "orca_pdebench.yaml"
SAMPLED, DISTINCT, SEEDS, ROUNDS = 32, 8, 5, 2
CLOSE = 0.9  # of the bound, for what sharing itself costs and for scatter
CONCURRENT = 2
SETTINGS: Mapping[str, object] = {
    "tasks": "[pdebench/advection_1d]", "data.samples": 120, "data.resolution": 64,
    "align.epochs": 20, "align.distance": "otdd_exact", "align.solver": "emd",
    "refine.epochs": 3, "refine.decay_epochs": 3, "pruning.type": "none",
    "parameters.proxy": "null", "search.sampler": "random", "stages.align.distinct": DISTINCT,
    "search.max_concurrent": CONCURRENT, "budget.wall": "2h",
}  # fmt: skip
SMALLER: Mapping[str, object] = {  # ten sweeps of it are run
    "align.epochs": 8, "refine.epochs": 2, "refine.decay_epochs": 2,
}  # fmt: skip
ALONE = {"stage_store.use": "false"}


@dataclass(frozen=True)
class Size:
    """The task and the size of a measured sweep, by the arguments; the goal's without any."""

    settings: Mapping[str, object]
    sampled: int
    is_default: bool
    rounds: int

    @property
    def distinct(self) -> int:
        """Return the number of alignments that are computed, in the goal's proportion."""
        return max(1, self.sampled * DISTINCT // SAMPLED)


@pytest.fixture(scope="module")
def size(request) -> Size:
    def given(name: str) -> Any:
        return request.config.getoption(name, None)

    settings = {
        key: value
        for key, value in {
            "tasks": given("task") and f"[{given('task')}]",
            "data.samples": given("samples"),
            "data.resolution": given("resolution"),
        }.items()
        if value is not None
    }
    sampled = given("sampled") or SAMPLED
    is_default = not settings and sampled == SAMPLED
    return Size(settings, sampled, is_default, rounds=given("rounds") or ROUNDS)


@dataclass(frozen=True)
class Cost:
    wall: float
    cores: float

    @classmethod
    def mean(cls, costs: Sequence["Cost"]) -> "Cost":
        return cls(mean(one.wall for one in costs), mean(one.cores for one in costs))

    def __str__(self) -> str:
        return f"{self.wall:.0f} s by the wall, {self.cores:.0f} core-seconds"


@pytest.fixture(scope="module")
def shell(tmp_path_factory) -> Shell:
    return Shell(tmp_path_factory.mktemp("sharing"), {"SWEEPER_HOME": str(home())})


def ours(
    shell: Shell, name: str, more: Mapping[str, object] = {}, *, trials: int = SAMPLED + 2
) -> Cost:
    """Launch the sweep; its stage results are in a store of its own."""
    place = {"stage_store.place": shell.folder / "stages" / name}
    settings = [f"{key}={value}" for key, value in {**SETTINGS, **place, **more}.items()]
    began, cores = time.perf_counter(), shell.folder / f"{name}.cores"
    launch = shell.start(
        "launch", str(FILE), "--profile", "laptop", "--name", name, "--trials", str(trials),
        *(word for setting in settings for word in ("--set", setting)), "--json",
        prefix=metered(cores),
    )  # fmt: skip
    out, err = launch.communicate()
    assert launch.returncode == 0, err
    assert json.loads(out)["exit_code"] == 0
    return Cost(time.perf_counter() - began, spent(cores))


def plain(shell: Shell, name: str, specs: Path, *more: str) -> Cost:
    with short_folder() as folder:
        began, cores = time.perf_counter(), shell.folder / f"{name}.cores"
        process = Process(
            [*metered(cores), sys.executable, "-m", "tests.benchmarks.plain_orca",
             str(specs), str(folder), "--tracking", f"sqlite:///{folder / 'mlflow.db'}", *more],
            log=shell.folder / f"{name}.log",
            environment={"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"},
            cwd=folder,
        )  # fmt: skip
        try:
            assert process.wait(3600) == 0, process.tail()
        finally:
            process.kill()
        return Cost(time.perf_counter() - began, spent(cores))


def trials_of(shell: Shell, name: str) -> list[Any]:
    return Ledger.in_folder(shell.folder / "sweeps" / name).trials()


def specs_of(shell: Shell, name: str) -> list[dict[str, Any]]:
    """Every trial of a sweep as plain data."""
    ledger = Ledger.in_folder(shell.folder / "sweeps" / name)
    sweep = resuming.from_record(ledger.sweep())
    (study,) = sweep.studies
    return [
        spec_of(study, t.params, seed=t.seed, home=home()).model_dump(mode="json", by_alias=True)
        for t in ledger.trials()
    ]


def seconds_of_alignments(shell: Shell, name: str) -> tuple[float, float]:
    """Return the time that sampled trials spend on alignments, and all trials on everything."""
    ledger = Ledger.in_folder(shell.folder / "sweeps" / name)
    alignments = total = 0.0
    for trial in ledger.trials():
        measured = ledger.measurements(trial.study, trial.number)
        total += measured[-1].seconds
        if trial.number > 1:  # the preset and the control share nothing
            alignments += [m.seconds for m in measured if m.stage == "align"][-1]
    return alignments, total


def test_sharing_alignments_halves_what_the_manual_shows(shell, size):
    settings = {**size.settings, "stages.align.distinct": size.distinct}
    alone, trials = {**settings, **ALONE}, size.sampled + 2
    ours(shell, "warm", alone, trials=2)  # data, weights, source features
    specs = shell.folder / "specs.json"
    contestants: dict[str, Callable[[str], Cost]] = {
        "shared": lambda name: ours(shell, name, settings, trials=trials),
        "alone": lambda name: ours(shell, name, alone, trials=trials),
        "manual": lambda name: plain(shell, name, specs),
        "reuse": lambda name: plain(shell, name, specs, "--reuse-actors"),
    }
    costs: dict[str, list[Cost]] = {name: [] for name in contestants}
    for number in range(size.rounds):
        for name in [*contestants][:: -1 if number % 2 else 1]:
            costs[name].append(contestants[name](f"{name}{number}"))
            if name == "shared" and not number:  # plain Tune runs the same trials
                specs.write_text(json.dumps(specs_of(shell, "shared0")))
            show(f"{name} {number}", "-", str(costs[name][-1]))
    c, b, a, reuse = (Cost.mean(found) for found in costs.values())
    values = {
        name: [(t.params, t.seed, t.value, dict(t.test)) for t in trials_of(shell, name)]
        for name in ("shared0", "alone0")
    }
    assert values["shared0"] == values["alone0"]  # the same trials, the same bits
    aligning, training = seconds_of_alignments(shell, "alone0")
    share = aligning / (CONCURRENT * costs["alone"][0].wall)
    bound = 1 / (1 - share * (1 - size.distinct / size.sampled))
    manual = compare("a sweep with shared alignments (c)", c.cores, a.cores,
                     peer="plain Tune (a)", unit="core-s", goal="<= 0.5")  # fmt: skip
    service = compare("a sweep without sharing (b)", b.cores, reuse.cores, unit="core-s",
                      peer="plain Tune, actors reused (a')", goal="<= 1.03")  # fmt: skip
    won = b.cores / c.cores
    show("alignments' share of b", "-", f"{share:.2f}, {aligning / training:.2f} within trials")
    show("speed-up, bound", f"{bound:.2f}", f"{won:.2f} over b, {won / service:.2f} over a'")
    assert won >= CLOSE * bound
    if size.is_default:  # elsewhere alignments may be too small a share of the cost
        assert manual <= 0.5


ARMS = ("none", "embedder", "body", "embedder+body")
ABLATION: Mapping[str, object] = {
    "stages.align.distinct": "all", "parameters": "null", "align.epochs": 30,
    "compare_by": f"{{refine.freeze: [{', '.join(ARMS)}]}}", "replicate": "{seeds: 3}",
}  # fmt: skip


def test_arms_of_an_ablation_share_what_they_do_not_pin(shell):
    """Four arms with one alignment for each seed, against four that compute their own.

    The bound is the cost of the arms alone without the alignments that are computed again. Sweeps
    of one arm each would cost three starts of a sweep more.
    """
    ours(shell, "warm_arms", {**ABLATION, **ALONE, "replicate": "null", "align.epochs": 1})
    shared, alone = ours(shell, "arms", ABLATION), ours(shell, "own_arms", {**ABLATION, **ALONE})
    values = {
        name: [(t.study, t.seed, t.value, dict(t.test)) for t in trials_of(shell, name)]
        for name in ("arms", "own_arms")
    }
    assert sorted(values["arms"]) == sorted(values["own_arms"])
    aligning = seconds_in(shell, "own_arms", "align")
    repeated = aligning * (1 - 1 / len(ARMS))
    bound = alone.cores - repeated
    show("alone", "-", f"{alone}, {aligning:.0f} of alignments")
    show("shared", "-", str(shared))
    show("shared / bound", "<= 1.1", f"{shared.cores / bound:.2f}")
    assert shared.cores <= 1.1 * bound


def seconds_in(shell: Shell, name: str, stage: str) -> float:
    """Return the device-seconds of all trials of a sweep in a stage, the first of each trial."""
    ledger = Ledger.in_folder(shell.folder / "sweeps" / name)
    return sum(
        max((m.seconds for m in ledger.measurements(t.study, t.number) if m.stage == stage),
            default=0.0)
        for t in ledger.trials()
    )  # fmt: skip


TOGETHER = ("orca", "mona", "recraft")
CONTROLS: Mapping[str, object] = {
    "stages": "null", "parameters": "null", "align.epochs": 2, "fixed.refine.epochs": 6,
    "replicate": "{top: 1, seeds: 3}",
}  # fmt: skip


def test_equal_controls_of_methods_are_one_training(shell):
    """Three methods in one sweep, whose controls are equal, against a sweep for each method.

    The bound is the time of all trainings without the controls that are trained again.
    """
    alone = [f"{method}_alone" for method in TOGETHER]
    ours(shell, "together", {**CONTROLS, "methods": f"[{', '.join(TOGETHER)}]"}, trials=2)
    for name, method in zip(alone, TOGETHER, strict=True):
        ours(shell, name, {**CONTROLS, "methods": f"[{method}]"}, trials=2)
    values = sorted((t.study, t.kind, t.seed, t.value) for t in trials_of(shell, "together"))
    assert values == sorted(
        (t.study, t.kind, t.seed, t.value) for name in alone for t in trials_of(shell, name)
    )
    taken, apart = controls_and_all(shell, "together"), [controls_and_all(shell, n) for n in alone]
    total = sum(seconds for _, seconds in apart)
    bound = total - (1 - 1 / len(TOGETHER)) * sum(controls for controls, _ in apart)
    show("in sweeps of their own", "-", f"{total:.1f} device-s, bound {bound:.1f}")
    show("in one sweep / bound", "<= 1.1", f"{taken[1]:.1f} device-s, {taken[1] / bound:.2f}")
    assert taken[1] <= 1.1 * bound


def controls_and_all(shell: Shell, name: str) -> tuple[float, float]:
    """Return the device-seconds of the controls of a sweep, and of all its trials."""
    ledger = Ledger.in_folder(shell.folder / "sweeps" / name)
    seconds = [
        (t.kind is TrialKind.CONTROL or t.origin == 1,  # the control's number is 1
         ledger.measurements(t.study, t.number)[-1].seconds)
        for t in ledger.trials()
    ]  # fmt: skip
    return sum(s for is_control, s in seconds if is_control), sum(s for _, s in seconds)


def test_the_best_value_is_no_worse_than_by_noise(shell):
    """8 alignments crossed with 4 draws each, against 32 alignments, on five seeds of the sweep."""
    found: dict[str, list[float]] = defaultdict(list)
    for seed in range(SEEDS):
        for name, distinct in (("eight", DISTINCT), ("all", "all")):
            sweep = f"{name}{seed}"
            ours(shell, sweep, {**SMALLER, "search.seed": seed, "stages.align.distinct": distinct})
            values = [t.value for t in trials_of(shell, sweep) if t.number > 1]
            found[name].append(min(value for value in values if value is not None))
    differences = [a - b for a, b in zip(found["eight"], found["all"], strict=True)]
    for name, best in found.items():
        show(f"best of 32, {name}", "-", ", ".join(f"{value:.4f}" for value in best))
    error = stdev(differences) / SEEDS**0.5
    show("difference", "not above noise", f"{mean(differences):+.4f} +- {error:.4f}")
    assert mean(differences) <= 2.78 * error  # t of 4 degrees of freedom, 95 %

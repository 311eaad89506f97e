"""Warm starts from ledgers: what a finished sweep gives, and a resume after it is gone."""

import shutil
from contextlib import closing
from pathlib import Path

import pytest

from sweeper.commands.plan import plan
from sweeper.core.runner import SweepRunner
from sweeper.errors import FileFaults, NotFound, UsageError
from sweeper.ledger import Ledger
from sweeper.model import StudyFacts, Trial, TrialKind
from sweeper.planning import load, resuming, studies
from sweeper.spec.warm_start import KEPT
from tests.support.compared_ledgers import Scores, write
from tests.support.fakes import curve, started

ADVECTION, BURGERS = "pdebench/advection_1d", "pdebench/burgers_1d"
TEXT = """\
name: large
methods: [nft]
tasks: [pdebench/advection_1d]
backbones: {1d: minilm}
parameters:
  refine.lr: {distribution: log_uniform_values, min: 1e-6, max: 1e-3}
fixed: {refine.epochs: 4}
search: {trials: 8, warm_start: [small]}
pruning: {min_epochs: 2}
"""


@pytest.fixture
def small(here: Path) -> Path:
    """The folder of a finished sweep, beside a file that names it."""
    folder = here / "sweeps" / "small"
    write(
        folder, "small",
        [Scores(method="nft", task=task, best=[0.1], num_trials=6,
                params={"refine.lr": lr, "refine.epochs": 4})
         for task, lr in ((BURGERS, 2e-5), (ADVECTION, 7e-4))],
    ).close()  # fmt: skip
    Path("large.yaml").write_text(TEXT)
    return folder


def begin(folder: Path) -> tuple[Ledger, SweepRunner]:
    """Begin the sweep of the file, or go on with it."""
    sweep = load.read(Path("large.yaml"), load.Options(profile="paper"))
    ledger = Ledger.in_folder(folder)
    sweep = resuming.match(ledger, sweep, TEXT)
    if (record := ledger.sweep()) is not None and record.state == "new":
        ledger.start({})
    facts = {study.name: StudyFacts() for study in sweep.studies}
    return ledger, SweepRunner(studies.make_plans(sweep, ledger, facts), ledger)


def drawn(runner: SweepRunner, count: int) -> list[Trial]:
    """Run `count` trials to their ends, and return them as they began."""
    found = []
    for _ in range(count):
        trial = started(runner)
        found.append(trial)
        lr = trial.params["refine.lr"]
        for measurement in curve([1 + 1e3 * lr] * 4):
            runner.on_report(trial, measurement)
    return found


def test_a_finished_sweep_gives_its_best_configurations_best_first(small):
    found = resuming.RecordedSweeps().best_of("small")
    assert list(found) == [f"nft/{BURGERS}", f"nft/{ADVECTION}"]
    assert all(len(configs) == KEPT for configs in found.values())
    assert found[f"nft/{BURGERS}"][0]["refine.lr"] == 2e-5


def test_a_sweep_that_is_not_finished_is_refused_with_the_way_out(small):
    with closing(Ledger.in_folder(small)) as ledger:
        ledger.start({})
    with pytest.raises(UsageError, match=r"only a finished one .* sweeper resume small"):
        resuming.RecordedSweeps().best_of("small")
    with pytest.raises(NotFound, match="unknown sweep `smal`"):
        resuming.RecordedSweeps().best_of("smal")


def test_the_configurations_come_after_the_leading_trials(small, tmp_path):
    _, runner = begin(tmp_path / "sweeps" / "large")
    trials = drawn(runner, 6)
    leading = [trial for trial in trials if trial.kind is not TrialKind.SAMPLED]
    assert trials[: len(leading)] == leading
    rates = [trial.params["refine.lr"] for trial in trials[len(leading) :]]
    assert rates[:3] == [7e-4, 2e-5, 4e-4]  # the best of each; the second best is the preset
    assert all(trial.sampled == ("refine.lr",) for trial in trials[len(leading) :])


def test_a_plan_says_what_studies_begin_with(small):
    told = plan(Path("large.yaml"), load.Options(profile="paper"))
    assert (
        f"`search.warm_start`: `nft/{ADVECTION}` begins with 3 configurations of "
        f"small:nft/{ADVECTION}, small:nft/{BURGERS}." in told.notes
    )


@pytest.mark.slow
@pytest.mark.parametrize("cut", [1, 3, 5])
def test_a_resume_is_the_same_after_the_source_is_gone(small, tmp_path, cut):
    _, whole = begin(tmp_path / "sweeps" / "whole")
    expected = [trial.params for trial in drawn(whole, 8)]
    folder = tmp_path / "sweeps" / "large"
    ledger, first = begin(folder)
    began = [trial.params for trial in drawn(first, cut)]
    ledger.close()
    shutil.rmtree(small)
    _, second = begin(folder)  # the same file again
    assert [*began, *(trial.params for trial in drawn(second, 8 - cut))] == expected


def test_a_new_sweep_is_refused_after_the_source_is_gone(small):
    shutil.rmtree(small)
    with pytest.raises(FileFaults, match=r"large.yaml:8: `search.warm_start\[0\]`: unknown sweep"):
        load.read(Path("large.yaml"), load.Options(profile="paper"))


def test_other_names_are_other_settings_of_a_begun_sweep(small, tmp_path):
    ledger, runner = begin(tmp_path / "sweeps" / "large")
    drawn(runner, 1)
    ledger.close()
    Path("large.yaml").write_text(TEXT.replace(", warm_start: [small]", ""))
    told = r"launched with other settings.* Go on with it as it began by `sweeper resume "
    with pytest.raises(UsageError, match=told):
        begin(tmp_path / "sweeps" / "large")

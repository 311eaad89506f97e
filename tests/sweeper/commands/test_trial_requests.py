"""`sweeper trial` and `sweeper fork`: who answers, what is refused, what a fork begins with."""

import threading
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from rich.console import Console

from sweeper.commands import control, launch
from sweeper.core.runner import SweepRunner
from sweeper.driver.hooks.control import Control
from sweeper.errors import FileFaults, NotFound, UsageError
from sweeper.ledger import Ledger, RequestKind, Target
from sweeper.model import StudyFacts, TrialKind, TrialState
from sweeper.planning import load, resuming, studies
from sweeper.spec.warm_start import first_configs
from tests.support.fakes import curve

ADVECTION = "pdebench/advection_1d"
NFT, ORCA = f"nft/{ADVECTION}", f"orca/{ADVECTION}"
TEXT = """\
name: small
methods: [nft, orca]
tasks: [pdebench/advection_1d]
backbones: {1d: minilm}
proxies: {1d: conll2003}
parameters:
  refine.lr: {distribution: log_uniform_values, min: 1e-6, max: 1e-3}
fixed: {refine.epochs: 4}
search: {trials: 6}
pruning: {min_epochs: 2}
"""
PROGRAM = """\
name: prog
program: {command: [python, train.py, --lr, "{lr}"], metric: loss, steps: 3}
parameters: {lr: {distribution: log_uniform_values, min: 1e-5, max: 1e-1}}
search: {trials: 4}
"""


@pytest.fixture
def folder(here: Path) -> Path:
    """The folder of a sweep that no driver runs: one trial has failed, one was running."""
    Path("small.yaml").write_text(TEXT)
    found = here / "sweeps" / "small"
    with closing(Ledger.in_folder(found)) as ledger:
        runner = begin(ledger)
        for error in ("trainables.errors.DataError: gone", None):
            trial = next(
                t for t in iter(runner.next_trial, None) if t is not None and t.study == NFT
            )
            if error is not None:
                runner.on_failure(trial, error)
    return found


def begin(ledger: Ledger, file: str = "small.yaml") -> SweepRunner:
    sweep = load.read(Path(file), load.Options(profile="paper" if file == "small.yaml" else "auto"))
    sweep = resuming.match(ledger, sweep, Path(file).read_text())
    if (record := ledger.sweep()) is not None and record.state == "new":
        ledger.start({})
    facts = {study.name: StudyFacts() for study in sweep.studies}
    return SweepRunner(studies.make_plans(sweep, ledger, facts), ledger)


@pytest.fixture
def ledger(folder: Path) -> Iterator[Ledger]:
    with closing(Ledger.in_folder(folder)) as opened:
        yield opened


def test_without_a_driver_a_command_obeys_by_itself(folder, ledger, command):
    told = command("trial", "retry", "small", f"{NFT}/0", "--json").json
    assert list(told) == ["schema", "command", "message", "sweep", "trials"]
    assert told["command"] == "trial retry"
    assert told["trials"] == [{"trial": f"{NFT}/0", "state": "obeyed", "answer": "is tried again"}]
    assert told["message"].endswith("No driver runs; go on with: sweeper resume small")
    assert ledger.trial(NFT, 0).state is TrialState.WAITING
    assert ledger.holder() is None
    # What a sampler has to hear of is left to the next driver.
    assert control.ask(folder, RequestKind.SKIP_TRIAL, f"{NFT}/5").trials[0].state == "accepted"
    assert command("trial", "retry", "small", f"{NFT}/0", code=2).err.strip() == (
        f"sweeper: {NFT}/0: refused: it is waiting, and has not failed"
    )
    command("trial", "stop", "small", f"{NFT}/77", code=8)


def test_a_driver_answers_a_command(folder, ledger):
    ready, over = threading.Event(), threading.Event()

    def drive() -> None:
        with closing(Ledger.in_folder(folder)) as own, own.hold():
            obeying = Control(own, begin(own), 0, lambda line: None)
            ready.set()
            while not over.wait(0.05):
                obeying.obey()

    driver = threading.Thread(target=drive)
    driver.start()
    try:
        assert ready.wait(60)
        answers = [
            control.ask(folder, RequestKind.RETRY_TRIAL, f"{NFT}/0"),
            control.ask(folder, RequestKind.SKIP_TRIAL, f"{NFT}/1"),
            control.add_trial(folder, ["refine.lr=1e-3"], study=NFT),
        ]
    finally:
        over.set()
        driver.join()
    assert [each.trials[0].answer for each in answers] == [
        "is tried again", "was skipped", "waits for its turn"
    ]  # fmt: skip
    assert all("No driver" not in each.message for each in answers)
    assert answers[2].trials[0].trial == f"{NFT}/100000"
    assert {t.number: t.state.value for t in ledger.trials(NFT)} == {
        0: "waiting", 1: "pruned", 100_000: "waiting"
    }  # fmt: skip


def test_a_request_that_its_command_could_not_see_to_is_read_by_the_next_launch(
    folder, ledger, monkeypatch
):
    (request,) = ledger.request(RequestKind.RETRY_TRIAL, Target(study=NFT, number=0))
    monkeypatch.setattr(launch.resources, "check_request", lambda *_: 1 / 0)  # before a driver
    with pytest.raises(ZeroDivisionError):
        launch.resume("small", load.Options(), console=Console(quiet=True))
    assert not ledger.requests_about_trials(ids=[request])[0].is_open
    assert ledger.trial(NFT, 0).state is TrialState.WAITING


def test_a_suggestion_is_a_preset_with_values_for_each_study_that_has_them(folder, ledger):
    answers = control.add_trial(folder, ["refine.lr=1e-3"])
    assert [each.trial for each in answers.trials] == [f"{NFT}/100000", f"{ORCA}/100000"]
    for study in (NFT, ORCA):
        (preset,) = ledger.trials(study, kind=TrialKind.PRESET)
        (trial,) = ledger.trials(study, kind=TrialKind.SUGGESTED)
        assert trial.params == {**preset.params, "refine.lr": 1e-3}
        assert (trial.sampled, trial.seed) == (("refine.lr",), preset.seed)
    only = control.add_trial(folder, ["align.lr=1e-4"])
    assert [each.trial for each in only.trials] == [f"{ORCA}/100001"]
    outside = control.add_trial(folder, ["refine.lr=0.5"], study=NFT)
    assert f"{NFT}: refine.lr=0.5 is not among the values that are searched." in outside.message
    assert "searched" not in answers.message + only.message
    with pytest.raises(UsageError, match=r"refused: .*/100000 has these values already"):
        control.add_trial(folder, ["lr=1e-3"], study=NFT)


@pytest.mark.parametrize(
    ("sets", "study", "messages"),
    [
        (["refine.lr"], None, ["expected KEY=VALUE"]),
        (["refine.ler=1", "refine.epoch=2"], NFT, ["Did you mean `refine.lr`", "`refine.epochs`"]),
        (["lr=1"], ORCA, ["write the stage of `lr`: align.lr or warmup.lr or refine.lr"]),
        (["lr=1"], None, [f"{ORCA}: write the stage of `lr`"]),
        (["refine.lr=1e-3", "refine.lr=1e-4"], NFT, ["--set refine.lr: is given twice"]),
        (["refine.lr=1e-3", "lr=1e-4"], NFT, ["--set refine.lr: is given twice"]),
        (["refine.lr=-1", "refine.epochs=0"], NFT, ["`refine.lr`: ", "`refine.epochs`: "]),
    ],
)
def test_all_faults_of_a_suggestion_are_told_at_once(folder, ledger, sets, study, messages):
    with pytest.raises(FileFaults) as raised:
        control.add_trial(folder, sets, study=study)
    assert all(each in str(raised.value) for each in messages), str(raised.value)
    with pytest.raises(NotFound, match="unknown study"):
        control.add_trial(folder, ["refine.lr=1e-3"], study="nft/x")
    assert ledger.requests_about_trials() == ()


def test_a_fork_begins_with_the_best_of_a_sweep_that_need_not_be_finished(folder, ledger):
    runner = begin(ledger)
    for trial in iter(runner.next_trial, None):
        if trial.number > 4:
            break
        for measurement in curve([trial.params["refine.lr"] + 1] * 4):
            runner.on_report(trial, measurement)
    options = load.Options(sets=("refine.epochs=8",))
    with launch.forked("small", "wider", options) as (file, forking, note):
        sweep = load.read(file, forking)
    assert forking.sets[0] == 'search.warm_start=["small"]'
    assert note.startswith("wider: a fork of small, of whose ")
    assert not file.exists()
    assert (sweep.name, sweep.fixed["refine.epochs"]) == ("wider", 8)
    complete = [t for t in ledger.trials(NFT) if t.state is TrialState.COMPLETE and t.sampled]
    best = min(complete, key=lambda trial: trial.params["refine.lr"])
    (nft, _) = sweep.studies
    first = first_configs(nft, sweep.search.warm_start)
    assert first.configs[0] == {"refine.lr": best.params["refine.lr"]}
    assert set(first.origins) == {f"small:{NFT}"}
    with (
        pytest.raises(UsageError, match="is the sweep itself"),
        launch.forked("small", "small", options),
    ):
        pass


def test_a_program_is_steered_and_forked_by_the_names_of_its_parameters(here):
    Path("train.py").write_text("print(1)")
    Path("prog.yaml").write_text(PROGRAM)
    folder = here / "sweeps" / "prog"
    with closing(Ledger.in_folder(folder)) as ledger:
        runner = begin(ledger, "prog.yaml")
        for trial in (runner.next_trial(), runner.next_trial()):
            assert trial is not None
            for measurement in curve([trial.params["run.lr"]] * 3, stage="run"):
                runner.on_report(trial, measurement)
        answers = control.add_trial(folder, ["lr=0.01"])
        assert ledger.trial("train/program/loss", 100_000).params["run.lr"] == 0.01
    assert answers.trials[0].trial == "train/program/loss/100000"
    with pytest.raises(FileFaults, match="must be a number, but got"):
        control.add_trial(folder, ["lr=fast"])
    with launch.forked("prog", "next", load.Options(sets=("program.steps=6",))) as (file, how, _):
        sweep = load.read(file, how)
    (program,) = sweep.programs.values()
    assert (program.steps, program.folder) == (6, str(here))
    (found,) = sweep.search.warm_start["prog"].values()
    assert {"run.lr": trial.params["run.lr"]} in found

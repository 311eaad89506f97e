"""What `status` says of checkpoints: where they are, and what befell them."""

from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

from sweeper.commands import logs
from sweeper.commands.look import status, sweeps
from sweeper.ledger import Ledger
from sweeper.model import Outcome, TrialState
from sweeper.planning import resuming
from sweeper.planning.catalog import catalog
from sweeper.planning.checkpoint_paths import folder_of_trial
from sweeper.planning.sweep_folder import existing
from sweeper.spec.loader import loads_sweep
from sweeper.spec.shipped import located
from tests.bad_inputs.rows import VALID
from tests.support.compared_ledgers import Scores, write
from tests.support.trials import COMPLETE, begin, measured, sampled

STUDY = "mona/pdebench/advection_1d"


@pytest.fixture
def ledger(here: Path) -> Iterator[Ledger]:
    """A sweep of ./sweeps with one complete trial, whose ledger is older than the sweep's place."""
    sweep = loads_sweep(VALID, catalog())
    with closing(Ledger.in_folder(Path("sweeps", sweep.name).resolve())) as ledger:
        resuming.match(ledger, sweep, VALID)
        ledger.start({})
        place = f"/elsewhere/sweeps/{sweep.name}/trials/x/0000/attempt-1/refine-0004"
        last = measured(4, 0.5, is_final=True, checkpoint=place)
        ledger.measure(STUDY, 0, begin(ledger, sampled(STUDY)), last, COMPLETE)
        yield ledger


def test_sweeps_that_never_began_are_not_listed(ledger: Ledger, tmp_path: Path) -> None:
    folder = tmp_path / "sweeps" / "never"
    with closing(Ledger.in_folder(folder)) as other:
        record = ledger.sweep()
        assert record is not None
        other.create(replace(record, name="never", state="new"))
        assert [line.sweep for line in sweeps().sweeps] == [ledger.name]
        with other.hold():  # its launch starts Ray
            assert {line.sweep for line in sweeps().sweeps} == {ledger.name, "never"}


def test_an_ended_sweep_has_the_exit_code_of_its_launch(ledger: Ledger) -> None:
    failed = Outcome(state=TrialState.FAILED)
    for number in range(1, 4):
        ledger.end_attempt(STUDY, number, begin(ledger, sampled(STUDY, number)), failed)
    with ledger.hold():
        assert status(ledger.name).exit_code == 0
        ledger.end("stopped", "3 of 4 trials failed")
    assert status(ledger.name).exit_code == 3


def test_a_checkpoint_is_shown_where_it_is_now(ledger: Ledger, tmp_path: Path) -> None:
    (study,) = status(ledger.name).studies
    trial = tmp_path.resolve() / "sweeps" / ledger.name / "trials/mona-pdebench-advection_1d/0000"
    assert study.best is not None
    assert study.best.checkpoint == str(trial / "attempt-1/refine-0004")


def test_the_log_of_a_trial_ends_with_its_latest_attempt(ledger: Ledger) -> None:
    trial = folder_of_trial(existing(ledger.name), ledger.trials(STUDY)[0])
    for number in range(1, 13):
        (trial / f"attempt-{number}").mkdir(parents=True, exist_ok=True)
        (trial / f"attempt-{number}" / logs.LOG).write_text(f"said {number}\n")
    told = [*logs.follow(ledger.name, f"{STUDY}/0", forever=False)]
    said = [int(line.rpartition(" ")[2]) for line in told if "| said" in line]
    assert said == [*range(1, 13)]


def test_what_befell_checkpoints_is_said_by_status_and_logs(ledger: Ledger) -> None:
    assert not [note for note in status(ledger.name).notes if "is damaged" in note]
    texts = [f"checkpoint refine-{n:04d} is damaged (x); began afresh" for n in range(1, 8)]
    for text in texts:
        ledger.note(text, STUDY, 0, 1)
    ledger.note("of a whole study", STUDY)
    notes = [
        note for note in status(ledger.name).notes if "on trials" in note or "is damaged" in note
    ]
    assert notes == [
        f"7 notes on trials (all: sweeper logs {ledger.name}), the last:",
        *(f"{STUDY}/0: {text}" for text in texts[2:]),
    ]
    told = "\n".join(logs.follow(ledger.name, None, forever=False))
    assert all(f"{STUDY}/0: {text}" in told for text in texts)


def test_trials_that_wait_for_nodes_are_shown_while_the_sweep_runs(ledger: Ledger) -> None:
    ledger.resize(nodes=3, slots=6, waiting=2)
    assert status(ledger.name).waiting_for_nodes is None, "its driver has died"
    with ledger.hold():
        shown = status(ledger.name)
        assert shown.notes[0] == (
            "cluster of 3 nodes: 6 trials at once; 2 of the running trials are waiting for nodes"
        )
        assert shown.to_json()["waiting_for_nodes"] == 2
        ledger.resize(nodes=4, slots=8, waiting=0)
        assert status(ledger.name).notes[0] == "cluster of 4 nodes: 8 trials at once"
        assert "waiting_for_nodes" not in status(ledger.name).to_json()
    (line,) = [line for line in logs.follow(ledger.name, None, forever=False) if "3 n" in line]
    assert line.endswith("cluster of 3 nodes: 6 trials at once, 2 trials waiting for nodes")


def test_shipped_files_are_listed_by_names_that_a_launch_knows(command) -> None:
    listed = command("ls", "--shipped", "--json").json["shipped"]
    found = {each["name"]: each for each in listed}
    assert all(str(located(Path(name))) == each["file"] for name, each in found.items())
    mona = found["mona_pdebench"]
    assert (mona["methods"], mona["question"]) == (["mona"], None)
    assert found["freezing"]["question"] == "What do embedder and body contribute?"
    line = next(x for x in command("ls", "--shipped").out.splitlines() if "mona_pdebench" in x)
    assert line.split() == ["mona_pdebench", "mona", "8", "of", "pdebench"]
    assert "leave out --tag" in command("ls", "--shipped", "--tag", "x", code=2).err


def test_a_preset_of_one_seed_is_not_compared_with_the_mean_of_its_control(here: Path) -> None:
    lone = Scores(method="mona", task="pdebench/advection_1d", best=[0.2], control=[0.4])
    for name, scores in (
        ("lone", lone),
        ("repeated", replace(lone, best=[0.2, 0.2], control=[0.4, 0.5])),
    ):
        write(Path("sweeps", name).resolve(), name, [scores]).close()
    told = [
        "preset, 0.6, is 50 % worse than" in " ".join(status(n).notes) for n in ("lone", "repeated")
    ]
    assert told == [True, False]

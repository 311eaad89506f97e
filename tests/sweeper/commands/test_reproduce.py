"""The evidence that `sweeper reproduce` takes, its launches, and its files."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
from rich.console import Console

from sweeper.commands import reproduce as app
from sweeper.commands.reproduce import Asked, key_of, listing, reproduce
from sweeper.errors import CannotSchedule, UsageError
from sweeper.planning import load, resuming
from sweeper.render.page.evidence_figures import svg_of
from sweeper.results.reproduction import evidence as evidence_module
from sweeper.results.reproduction.evidence import Machine, read_evidence
from sweeper.results.reproduction.files import as_files, committed_evidence
from sweeper.results.reproduction.files import load as load_evidence
from sweeper.spec.arms import arms_of
from tests.support.command import ROOT
from tests.support.compared_ledgers import Scores, write

TASK = "pdebench/advection_1d"
FILE = ROOT / "search_spaces" / "questions" / "freezing.yaml"
LEVELS = {"control": 0.5, "none": 0.4, "embedder": 0.41, "body": 0.6, "embedder+body": 0.7}


@pytest.fixture(scope="module")
def sweep():
    return load.read(FILE, load.Options(profile="laptop"))


@pytest.fixture(scope="module")
def now(sweep):
    return replace(key_of(sweep), data={})


@pytest.fixture
def here(tmp_path, monkeypatch, now):
    """Work in a folder with one question, without committed evidence, and with a fixed key."""
    questions = tmp_path / "search_spaces" / "questions"
    (questions / "base").mkdir(parents=True)
    shutil.copy(FILE, questions)
    shutil.copy(FILE.parent / "base" / "pdebench.yaml", questions / "base")
    (tmp_path / "committed").mkdir()
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("SWEEPER_SWEEPS", raising=False)
    monkeypatch.setattr(app, "committed_evidence", lambda: tmp_path / "committed")
    monkeypatch.setattr(app, "key_of", lambda sweep: now)
    monkeypatch.setattr(app, "launch", refuse)
    return tmp_path


def refuse(file, options, *, console):
    raise AssertionError(f"{file.name} was launched")


def ledger(folder: Path, sweep, code=None, name="freezing", seeds=8, levels=LEVELS):
    """Write the finished sweep of the question, as if it had been launched with `code`."""
    scores = [
        Scores(
            method="orca", task=TASK, best=[level + 0.001 * k for k in range(seeds)],
            arm=arm if arm == "control" else f"refine.freeze={arm}", facts={"content_hash": None},
        )
        for arm, level in levels.items()
    ]  # fmt: skip
    made = write(
        folder, name, scores, launches=[{"code": code}], resolved={**sweep.resolved, "name": name}
    )
    return made


def commit(folder: Path, sweep, code, tmp_path) -> None:
    """Write evidence into a folder."""
    evidence = read_evidence(ledger(tmp_path / "elsewhere", sweep, code))
    for name, text in {**as_files(evidence), "freezing.svg": svg_of(evidence)}.items():
        (folder / name).write_text(text)


def run(**options):
    return reproduce(["fig7"], Asked(**options), console=Console(quiet=True))


@pytest.mark.slow
def test_committed_evidence_that_holds_is_read_and_nothing_runs(here, sweep, now):
    commit(here / "committed", sweep, now.code, here)
    found = run()
    (figure,) = found.figures
    assert (figure.name, figure.evidence, found.exit_code) == ("freezing", "valid", 0)
    assert figure.claims[0].verdict.value == "holds here"
    assert found.html == here / "reproduction.html"
    assert "The body has to be fine-tuned." in found.html.read_text()


@pytest.mark.slow
def test_evidence_of_other_code_is_shown_and_does_not_run_again_by_itself(here, sweep, now):
    commit(here / "committed", sweep, {**now.code, "trainables.training.optim": "0"}, here)
    (figure,) = run().figures
    assert figure.evidence == "stale"
    assert "other code (trainables.training.optim)" in figure.evidence_notes[0]
    assert figure.claims[0].n == 8


def test_what_has_no_evidence_is_left_out_without_run(here):
    (figure,) = run(may_run=False).figures
    assert figure.evidence == "not run"
    assert {claim.verdict.value for claim in figure.claims} == {"not run"}


def launched(here, sweep, now, calls, **outcome):
    """Return a launch that finishes the sweep at once."""

    def launch(file, options, *, console):
        calls.append((file.name, options.profile))
        if "error" in outcome:
            raise outcome["error"]
        ledger(here / "sweeps" / "freezing", sweep, now.code)
        return type("Summary", (), {"exit_code": outcome.get("exit_code", 0)})

    return launch


@pytest.mark.slow
def test_what_has_no_evidence_is_launched_and_leaves_some(here, sweep, now, monkeypatch):
    calls: list[object] = []
    monkeypatch.setattr(app, "launch", launched(here, sweep, now, calls))
    (here / "mine").mkdir()
    (figure,) = run(evidence=here / "mine").figures
    assert calls == [("freezing.yaml", "laptop")]
    assert figure.evidence == "valid"
    assert "the sweep in sweeps/freezing" in figure.evidence_notes[0]
    assert {path.name for path in (here / "mine").iterdir()} == {
        f"freezing{end}" for end in (".json", ".csv", ".curves.csv", ".svg")
    }
    # From now on both the folder of the sweep and the evidence hold.
    (again,) = run(evidence=here / "mine").figures
    assert (again.evidence, calls[1:]) == ("valid", [])
    assert "committed evidence" in again.evidence_notes[0]


@pytest.mark.slow
def test_rerun_launches_although_there_is_evidence(here, sweep, now, monkeypatch):
    commit(here / "committed", sweep, now.code, here)
    calls: list[object] = []
    monkeypatch.setattr(app, "launch", launched(here, sweep, now, calls))
    (figure,) = run(rerun=True).figures
    assert len(calls) == 1
    assert "sweeps/freezing" in figure.evidence_notes[0]


def test_rerun_does_not_take_an_old_result_for_a_new_one(here, sweep, now):
    ledger(here / "sweeps" / "freezing", sweep, {**now.code, "trainables.training.optim": "0"})
    with pytest.raises(UsageError, match="sweeper delete freezing"):
        run(rerun=True)


def trained_again(here, sweep, now, calls, seeds=1, shift=0.0):
    """Return a launch that trains one seed of each arm again."""

    def launch(file, options, *, console):
        calls.append(options.sets)
        levels = {arm: level + shift for arm, level in LEVELS.items()}
        folder = here / "sweeps" / options.name
        ledger(folder, sweep, now.code, name=options.name, seeds=seeds, levels=levels)
        return type("Summary", (), {"exit_code": 0})

    return launch


@pytest.mark.slow
def test_the_same_bits_confirm_evidence_of_other_code(here, sweep, now, monkeypatch):
    commit(here / "committed", sweep, {**now.code, "trainables.training.optim": "0"}, here)
    calls: list[object] = []
    monkeypatch.setattr(app, "launch", trained_again(here, sweep, now, calls))
    (here / "mine").mkdir()
    (figure,) = run(confirm=True, may_run=False, evidence=here / "mine").figures
    assert calls == [("replicate.seeds=1", "question=null")]
    assert figure.evidence == "valid"
    assert "confirmed" in figure.evidence_notes[0]
    assert "by the bits of 5 trainings of later code" in figure.evidence_notes[0]
    assert figure.claims[0].n == 8
    # The confirmation is kept, so that nothing is trained again.
    (again,) = run(confirm=True, evidence=here / "mine").figures
    assert (again.evidence, again.evidence_notes, calls[1:]) == ("valid", figure.evidence_notes, [])


@pytest.mark.slow
def test_other_numbers_do_not_confirm_it(here, sweep, now, monkeypatch):
    commit(here / "committed", sweep, {**now.code, "trainables.training.optim": "0"}, here)
    monkeypatch.setattr(app, "launch", trained_again(here, sweep, now, [], shift=0.25))
    (here / "mine").mkdir()
    (figure,) = run(confirm=True, evidence=here / "mine").figures
    assert figure.evidence == "stale"
    told = "trained again, 5 of 5 results differ, by up to 0.25, on a processor that may be another"
    assert told in figure.evidence_notes[0]
    assert list((here / "mine").iterdir()) == []


@pytest.mark.parametrize(
    ("again", "told"), [("this one", ""), ("that one", ", on another processor than this one, ")]
)
def test_another_processor_is_told(again, told):
    first, other = (Machine(slots=2, cpu=1, gpu=0, processor=x) for x in ("this one", again))
    clause = app.where(first, other)
    assert clause.startswith(told)
    assert bool(clause) == bool(told)


@pytest.mark.slow
def test_only_other_code_can_be_confirmed(here, sweep, now, monkeypatch):
    commit(here / "committed", sweep, now.code, here)
    other = replace(now, settings={**now.settings, "methods": ["pare"]})
    monkeypatch.setattr(app, "key_of", lambda sweep: other)
    (figure,) = run(confirm=True).figures
    assert figure.evidence == "stale"
    assert "other settings" in figure.evidence_notes[0]


def test_a_sweep_that_cannot_run_is_told_on_the_page_and_by_the_exit_code(
    here, sweep, now, monkeypatch
):
    error = CannotSchedule("a trial asks for 4 cores, and 2 are here")
    monkeypatch.setattr(app, "launch", launched(here, sweep, now, [], error=error))
    found = run()
    assert found.exit_code == 7
    assert "a trial asks for 4 cores" in found.html.read_text()


@pytest.mark.slow
def test_after_an_interrupt_nothing_more_is_launched(here, sweep, now, monkeypatch):
    other = (here / "search_spaces" / "questions" / "freezing.yaml").read_text()
    second = here / "search_spaces" / "questions" / "second.yaml"
    second.write_text(other.replace("name: freezing", "name: second"))
    calls: list[object] = []
    monkeypatch.setattr(app, "launch", launched(here, sweep, now, calls, exit_code=130))
    found = reproduce(["all"], Asked(), console=Console(quiet=True))
    assert found.exit_code == 130
    assert [name for name, _ in calls] == ["freezing.yaml"]
    assert [figure.evidence for figure in found.figures] == ["valid", "not run"]


def test_a_list_writes_nothing(here, sweep, now):
    (here / "mine").mkdir()
    ledger(here / "sweeps" / "freezing", sweep, now.code)
    found = listing(Asked(evidence=here / "mine"), console=Console(quiet=True))
    assert [(figure.name, figure.evidence) for figure in found.figures] == [("freezing", "valid")]
    assert list((here / "mine").iterdir()) == []
    assert not (here / "reproduction.html").exists()


@pytest.mark.parametrize(
    ("names", "options", "told"),
    [
        (["fig99"], {}, "unknown figure or table `fig99`"),
        (["fig7"], {"evidence": Path("none")}, "--evidence none: this is no folder"),
        (["fig7"], {"html": Path("none/page.html")}, "--html none/page.html"),
        (["fig7"], {"html": Path("committed")}, "name a file"),
        (["fig7"], {"address": "http://head:8265"}, "--address http://head:8265"),
    ],
)
def test_mistakes_are_told_before_anything_runs(here, names, options, told):
    with pytest.raises(UsageError) as caught:
        reproduce(names, Asked(**options), console=Console(quiet=True))
    assert told in str(caught.value)


def test_a_change_of_a_setting_in_the_file_makes_evidence_stale(sweep, now):
    file = load.read(FILE, load.Options(profile="laptop", sets=("refine.lr=2e-3",)))
    assert list(now.changes(replace(now, settings=key_of(file).settings))) == ["settings"]
    same = load.read(FILE, load.Options(profile="laptop", sets=("resources.cpu=2",)))
    assert evidence_module.deciding(same.resolved) == evidence_module.deciding(sweep.resolved)


@pytest.mark.parametrize("file", sorted(committed_evidence().glob("*.json")), ids=lambda f: f.stem)
def test_committed_evidence_has_the_settings_of_its_file_and_defaults_where_it_lacks_some(file):
    evidence = load_evidence(file)
    recorded = {**evidence.key.settings, "name": evidence.name}
    now = resuming.as_read_now(recorded, name=evidence.name, profile=evidence.profile)
    shipped = ROOT / "search_spaces" / "questions" / f"{evidence.name}.yaml"
    # It was recorded with one draw of the data, before each seed had its own, and before files had
    # warm-ups, and some a ninth seed: each arm of the evidence is one of the file's.
    recorded = evidence.key.settings
    sets = (
        f"data.seed={recorded['data']['seed']}",
        f"replicate.seeds={recorded['replicate']['seeds']}",
    )
    sweep = load.read(shipped, load.Options(profile=evidence.profile, sets=sets))
    then, today = evidence_module.deciding(now), evidence_module.deciding(sweep.resolved)
    recorded_arms, arms = (arms_of(each.pop("compare_by")) for each in (then, today))
    assert {*map(str, recorded_arms)} <= {*map(str, arms)}
    # What each arm of the evidence pins does not depend on what the file fixes for later arms.
    pinned = set.intersection(*(set(arm.pinned) for arm in recorded_arms))
    for each in (then, today):
        each["fixed"] = {k: v for k, v in each["fixed"].items() if k not in pinned}
    assert then == today


@pytest.mark.slow
def test_evidence_that_lacks_a_setting_which_has_its_default_holds(here, sweep, now):
    commit(here / "committed", sweep, now.code, here)
    file = here / "committed" / "freezing.json"
    content = json.loads(file.read_text())
    del content["settings"]["search"]["priors"], content["settings"]["model"]["compile"]
    file.write_text(json.dumps(content))
    (figure,) = run().figures
    assert figure.evidence == "valid"
    content["settings"]["model"]["compile"] = "graphs"
    file.write_text(json.dumps(content))
    (figure,) = run().figures
    assert figure.evidence == "stale"

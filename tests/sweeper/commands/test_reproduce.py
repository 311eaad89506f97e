"""The evidence that `sweeper reproduce` takes, its launches, and its files."""

import json
import shutil
from dataclasses import replace
from hashlib import sha256
from pathlib import Path

import pytest
from rich.console import Console

from sweeper.commands import reproduce as app
from sweeper.commands.benchmark import submission
from sweeper.commands.reproduce import Asked, key_of, listing, reproduce
from sweeper.errors import CannotSchedule, UsageError
from sweeper.planning import load, resuming
from sweeper.render.page.evidence_figures import svg_of
from sweeper.results.reproduction import evidence as evidence_module
from sweeper.results.reproduction.evidence import Retraining, read_evidence
from sweeper.results.reproduction.files import as_files, committed_evidence
from sweeper.results.reproduction.files import load as load_evidence
from sweeper.results.reproduction.retraining import AGAIN
from sweeper.results.verdicts import claim_lines
from sweeper.spec.arms import arms_of
from tests.support.command import ROOT
from tests.support.compared_ledgers import Scores, write

TASK = "pdebench/advection_1d"
BASE = ROOT / "search_spaces" / "questions" / "base" / "pdebench.yaml"
QUESTION = """
extends: base/pdebench.yaml
name: freezing
methods: [orca]
compare_by: {refine.freeze: [none, embedder, body, embedder+body]}
question:
  figures: [fig7]
  title: What do embedder and body contribute?
  published: Fine-tuning the body is critical, and that of an aligned embedder is not.
  source: a test
  refuted_if: a frozen body costs nothing.
  claims:
    - says: The body has to be fine-tuned.
      contrast: [refine.freeze=none, refine.freeze=body]
      expect: better
    - says: The aligned embedder need not be fine-tuned further.
      contrast: [refine.freeze=embedder, refine.freeze=none]
      expect: no_worse
      margin: 0.02
    - says: A frozen body costs more than a frozen embedder.
      contrast: [refine.freeze=body, refine.freeze=embedder]
      expect: worse
    - says: An alignment helps when all is fine-tuned.
      about: an alignment against none
      contrast: [refine.freeze=none, control]
      expect: better
profiles:
  laptop:
    fixed: {align.epochs: 5, align.lr: 1.0e-3, align.source_per_class: 25, align.measure: 0}
"""
LEVELS = {"control": 0.5, "none": 0.4, "embedder": 0.41, "body": 0.6, "embedder+body": 0.7}


@pytest.fixture(scope="module")
def question(tmp_path_factory):
    """Write a question, and the base of those on PDEBench beside it."""
    folder = tmp_path_factory.mktemp("questions")
    (folder / "base").mkdir()
    shutil.copy(BASE, folder / "base")
    (folder / "freezing.yaml").write_text(QUESTION)
    return folder / "freezing.yaml"


@pytest.fixture(scope="module")
def sweep(question):
    return load.read(question, load.Options(profile="laptop"))


@pytest.fixture(scope="module")
def now(sweep):
    return replace(key_of(sweep), data={})


@pytest.fixture
def here(tmp_path, monkeypatch, question, now):
    """Work in a folder with one question, without committed evidence, and with a fixed key."""
    questions = tmp_path / "search_spaces" / "questions"
    shutil.copytree(question.parent, questions)
    (tmp_path / "committed").mkdir()
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("SWEEPER_SWEEPS", raising=False)
    monkeypatch.setattr(app, "committed_evidence", lambda: tmp_path / "committed")
    monkeypatch.setattr(app, "key_of", lambda sweep: now)
    monkeypatch.setattr(app, "launch", refuse)
    monkeypatch.setattr(app, "processor", lambda: "this one")
    return tmp_path


def refuse(file, options, *, console):
    raise AssertionError(f"{file.name} was launched")


def ledger(
    folder: Path, sweep, code=None, name="freezing", seeds=range(8), levels=LEVELS, processor=None
):
    """Write the finished sweep of the question, as if it had been launched with `code`."""
    scores = [
        Scores(
            method="orca", task=TASK, best=[level + 0.001 * k for k in seeds],
            seeds=[100 + k for k in seeds],
            arm=arm if arm == "control" else f"refine.freeze={arm}", facts={"content_hash": None},
        )
        for arm, level in levels.items()
    ]  # fmt: skip
    made = write(
        folder, name, scores, launches=[{"code": code}], resolved={**sweep.resolved, "name": name},
        provenance={"processor": processor},
    )  # fmt: skip
    return made


def commit(folder: Path, sweep, code, tmp_path, **facts) -> None:
    """Write evidence into a folder; `facts` are of its scatter."""
    made = ledger(tmp_path / "elsewhere", sweep, code, processor="this one")
    evidence = read_evidence(made)
    if facts:
        other = Retraining(on=None, commit=None, trainings=5, processor="that one", **facts)
        evidence = replace(evidence, scatter=(other,))
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


@pytest.mark.parametrize(("machine", "state"), [("this one", "stale"), ("that one", "valid")])
def test_generated_data_are_compared_on_the_processor_of_the_evidence_alone(
    here, sweep, now, monkeypatch, machine, state
):
    """The last bits of generated data differ between processors."""
    scores = [
        Scores(method="orca", task=TASK, best=[0.5], seeds=[100], arm="control",
               facts={"content_hash": "a"})
    ]  # fmt: skip
    made = write(
        here / "elsewhere", "freezing", scores, launches=[{"code": now.code}],
        resolved=sweep.resolved, provenance={"processor": machine},
    )  # fmt: skip
    for name, text in as_files(read_evidence(made)).items():
        (here / "committed" / name).write_text(text)
    monkeypatch.setattr(app, "key_of", lambda sweep: replace(now, data={TASK: "b"}))
    (figure,) = run(may_run=False).figures
    assert figure.evidence == state


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
    assert f"evidence in {here / 'mine'} of" in again.evidence_notes[0]


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


def trained_again(here, sweep, now, calls, shift=0.0, processor="this one"):
    """Return a launch that trains one seed of each arm again."""

    def launch(file, options, *, console):
        calls.append(options.sets)
        levels = {arm: level + shift for arm, level in LEVELS.items()}
        folder, seed = here / "sweeps" / options.name, int(options.sets[-1].partition("=")[2])
        ledger(
            folder, sweep, now.code, name=options.name, seeds=[seed], levels=levels,
            processor=processor,
        )  # fmt: skip
        return type("Summary", (), {"exit_code": 0})

    return launch


@pytest.mark.slow
def test_the_same_bits_confirm_evidence_of_other_code(here, sweep, now, monkeypatch):
    commit(here / "committed", sweep, {**now.code, "trainables.training.optim": "0"}, here)
    calls: list[object] = []
    monkeypatch.setattr(app, "launch", trained_again(here, sweep, now, calls))
    (here / "mine").mkdir()
    (figure,) = run(confirm=True, evidence=here / "mine").figures
    files = [here / "committed" / f"freezing{ending}" for ending in (".json", ".csv")]
    drawn = int(sha256(b"".join(file.read_bytes() for file in files)).hexdigest(), 16) % 8
    assert calls == [(*AGAIN, f"replicate.skip={drawn}")]
    kept = json.loads((here / "mine" / "freezing.json").read_text())["confirmed"]
    assert (kept["seed"], kept["processor"], kept["largest"]) == (drawn, "this one", 0)
    assert figure.evidence == "valid"
    assert "confirmed" in figure.evidence_notes[0]
    assert "by the bits of 5 trainings of later code" in figure.evidence_notes[0]
    assert figure.claims[0].n == 8
    # The confirmation is kept, so that nothing is trained again.
    (again,) = run(confirm=True, evidence=here / "mine").figures
    assert (again.evidence, calls[1:]) == ("valid", [])
    told = [note.replace("committed evidence", f"evidence in {here / 'mine'}")
            for note in figure.evidence_notes]  # fmt: skip
    assert list(again.evidence_notes) == told


@pytest.mark.slow
def test_other_numbers_do_not_confirm_it(here, sweep, now, monkeypatch):
    commit(here / "committed", sweep, {**now.code, "trainables.training.optim": "0"}, here)
    monkeypatch.setattr(app, "launch", trained_again(here, sweep, now, [], shift=0.25))
    (here / "mine").mkdir()
    (figure,) = run(confirm=True, evidence=here / "mine").figures
    assert figure.evidence == "stale"
    told = "trained again on this one, 5 of 5 results differ, by up to 0.25"
    assert told in figure.evidence_notes[0]
    assert list((here / "mine").iterdir()) == []


@pytest.mark.slow
@pytest.mark.parametrize(("shift", "state"), [(0.004, "valid"), (0.006, "stale")])
def test_differences_below_those_between_processors_confirm_it(
    here, sweep, now, monkeypatch, shift, state
):
    code = {**now.code, "trainables.training.optim": "0"}
    commit(here / "committed", sweep, code, here, largest=0.005, relative=0.01)
    launch = trained_again(here, sweep, now, [], shift=shift, processor="a third")
    monkeypatch.setattr(app, "launch", launch)
    (figure,) = run(confirm=True).figures
    assert figure.evidence == state
    told = "5 trainings of later code, up to 0.004 apart"
    assert (told in figure.evidence_notes[0]) == (state == "valid")


@pytest.mark.slow
def test_by_the_same_code_another_processor_has_its_differences_recorded(
    here, sweep, now, monkeypatch
):
    commit(here / "committed", sweep, now.code, here)
    (figure,) = run(confirm=True).figures  # nothing to learn on the same one
    assert figure.claims[0].scatter is None
    monkeypatch.setattr(app, "processor", lambda: "that one")
    launch = trained_again(here, sweep, now, [], shift=0.25, processor="that one")
    monkeypatch.setattr(app, "launch", launch)
    (here / "mine").mkdir()
    run(confirm=True, evidence=here / "mine")
    monkeypatch.setattr(app, "launch", refuse)
    found = run(evidence=here / "mine", may_run=False)
    primary, *others = found.figures[0].claims
    assert primary.scatter == pytest.approx(0.25)
    assert abs(primary.difference) < 0.25
    assert "moved a training by up to 0.25, more than this difference." in claim_lines(primary)[-1]
    assert "moved a training by up to 0.25." in claim_lines(others[-1])[-1]
    assert "more than this difference" in found.html.read_text()
    run(confirm=True, evidence=here / "mine")  # it is known now, and nothing runs


@pytest.fixture
def check(here, sweep, now, monkeypatch):
    """Return a check of submitted evidence whose drawn seed comes out again, moved by a shift."""

    def check(shift, processor, forged=("", ""), **code):
        commit(here, sweep, {**now.code, **code}, here, largest=9.0)  # as it says of itself
        file = here / "freezing.json"
        file.write_text(file.read_text().replace(*forged))
        monkeypatch.setattr(submission, "key_of", lambda sweep: now)
        launch = trained_again(here, sweep, now, [], shift=shift, processor=processor)
        monkeypatch.setattr(app, "launch", launch)
        (here / "mine").mkdir()
        asked = Asked(evidence=here / "mine", confirm=True)
        return submission.check(file, asked, salt="7", console=Console(quiet=True))

    return check


@pytest.mark.slow
@pytest.mark.parametrize(
    ("shift", "processor", "told"),
    [
        (0.0, "this one", "1 of 8 seeds confirmed: all bits are equal in 5 trainings"),
        (0.001, "that one", "1 of 8 seeds confirmed on another processor: results differ by up to"),
    ],
)
def test_submitted_evidence_is_confirmed(check, here, shift, processor, told):
    found = check(shift, processor)
    assert (found.is_confirmed, found.exit_code) == (True, 0)
    assert told in found.message
    kept = load_evidence(here / "mine" / "freezing.json")
    assert list(kept.confirmed_seeds) == [found.seed]
    # What the submitted file said of itself counts for nothing.
    assert all(each.largest < 9 for each in kept.scatter)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("shift", "processor", "code", "told"),
    [
        (1e-6, "this one", {}, "5 of 5 trainings of seed"),
        (0.004, "that one", {}, "differ, by up to 0.004, 1.633 deviations over seeds"),
        (0.001, "that one", {"trainables.training.optim": "0"}, "it is of other code"),
    ],
)
def test_submitted_numbers_that_do_not_come_out_again_are_refused(
    check, here, shift, processor, code, told
):
    found = check(shift, processor, **code)
    assert (found.is_confirmed, found.exit_code, found.path) == (False, 9, None)
    assert told in found.message
    assert f"orca/{TASK}/control, seed {100 + found.seed}: test is " in found.message
    assert list((here / "mine").iterdir()) == []


@pytest.mark.slow
def test_a_forged_floor_is_refused_although_all_seeds_come_out_again(check):
    found = check(0.0, "this one", forged=('"mean": 1.0', '"mean": 0.45'))
    assert (found.is_confirmed, found.exit_code, found.unlike) == (False, 9, ())
    assert "the floor is 0.45, and computed again 1.0 (mean)" in found.message


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
    ("options", "told"),
    [
        ({"html": Path("none/page.html")}, "none/page.html: name a file"),
        ({"html": Path("committed")}, "name a file"),
        ({"address": "http://head:8265"}, "--address http://head:8265"),
    ],
)
def test_mistakes_are_told_before_anything_runs(here, options, told):
    with pytest.raises(UsageError, match=told):
        run(**options)


def test_a_change_of_a_setting_in_the_file_makes_evidence_stale(question, sweep, now):
    other = load.read(question, load.Options(profile="laptop", sets=("refine.lr=2e-3",)))
    assert list(now.changes(replace(now, settings=key_of(other).settings))) == ["settings"]
    same = load.read(question, load.Options(profile="laptop", sets=("resources.cpu=2",)))
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
    recorded_arms, arms = (arms_of(each.pop("compare_by", {})) for each in (then, today))
    assert {*map(str, recorded_arms)} <= {*map(str, arms)}
    # What each arm of the evidence pins does not depend on what the file fixes for later arms.
    of_arms = [set(arm.pinned) for arm in recorded_arms]  # none where methods are tuned
    pinned = set.intersection(*of_arms) if of_arms else set()
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

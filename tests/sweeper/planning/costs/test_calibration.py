"""What is measured, under which key it is kept, and a real pilot on tiny backbones."""

import json
import threading
from dataclasses import replace
from types import SimpleNamespace

import pytest

from sweeper.errors import FileFaults, UsageError
from sweeper.planning import gpus, resources
from sweeper.planning.catalog import catalog
from sweeper.planning.costs import calibration
from sweeper.planning.costs.calibration import Pace, PilotResult, calibrate
from sweeper.planning.costs.price import lines, price_of
from tests.support import pricing
from tests.support.pricing import sweep_of
from tests.support.sweep_files import load_sweep
from tests.support.tiny_backbones import save_tiny_roberta

SMALL = {
    "model": {"head": "linear"},
    "data": {"samples": 12, "val_fraction": 0.25, "test_fraction": 0.25, "resolution": 32},
    "fixed": {"meta.batch_size": 4, "meta.classes": 3, "meta.per_class": 2, "meta.measure": 0,
              "refine.epochs": 6},
}  # fmt: skip


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    """A sweep that trains in seconds, and its home."""
    home = tmp_path_factory.mktemp("home")
    backbone = save_tiny_roberta(home / "roberta", layers=1)
    return sweep_of(backbones={"1d": {"name": str(backbone), "tokens": 8}}, **SMALL), home


def only(sweep):
    (study,) = sweep.studies
    return study


def test_the_preset_is_measured_and_both_ends_of_what_is_counted(tmp_path):
    sweep = sweep_of()
    trials = calibration.measured_trials(only(sweep), tmp_path)
    stages = {name: spec["stages"] for name, spec in trials.items()}
    assert list(stages) == ["preset", "lowest", "highest"]
    assert [s["refine"]["batch_size"] for s in stages.values()] == [4, 2, 16]
    assert [s["meta"]["inner_params"] for s in stages.values()] == ["all", "all", "layernorm"]
    assert len({s["refine"]["lr"] for s in stages.values()}) == 1  # a rate costs nothing
    assert {(s["meta"]["epochs"], s["refine"]["epochs"]) for s in stages.values()} == {(2, 3)}


def test_trials_that_are_the_same_are_measured_once(tmp_path):
    sweep = sweep_of(parameters={"refine.lr": {"min": 1e-5, "max": 1e-3}})
    assert list(calibration.measured_trials(only(sweep), tmp_path)) == ["preset"]


def kept(sweep, home):
    return calibration.read(sweep, only(sweep), home)


def test_what_was_measured_is_found_again_and_holds_for_longer_sweeps(tmp_path):
    sweep, found = sweep_of(), pricing.calibration()
    assert kept(sweep, tmp_path) is None
    calibration.write(sweep, only(sweep), tmp_path, found)
    assert kept(sweep, tmp_path) == found
    assert kept(sweep, tmp_path / "elsewhere") is None
    longer = {**pricing.FILE["fixed"], "refine.epochs": 60}
    assert kept(sweep_of(fixed=longer, search={"trials": 99}), tmp_path) == found


@pytest.mark.parametrize(
    "changes",
    [
        {"methods": ["orca"]},
        {"tasks": ["pdebench/burgers_1d"]},
        {"data": {"samples": 100}},
        {"backbones": {"1d": "minilm"}},
        {"model": {"precision": "bf16"}},
        {"resources": {"cpu": 2}},
        {"proxies": {"1d": "noise_words"}},
        {"fixed": {**pricing.FILE["fixed"], "meta.batch_size": 16}},
    ],
    ids=lambda changes: next(iter(changes)),
)
def test_whatever_changes_the_cost_is_in_the_key(tmp_path, changes):
    sweep = sweep_of(parameters={})
    calibration.write(sweep, only(sweep), tmp_path, pricing.calibration())
    if "methods" in changes:
        changes = {**changes, "fixed": {"refine.epochs": 6}}
    assert kept(sweep_of(**{"parameters": {}, **changes}), tmp_path) is None


def test_another_device_or_other_code_or_data_is_another_key(tmp_path, monkeypatch):
    sweep = sweep_of()
    calibration.write(sweep, only(sweep), tmp_path, pricing.calibration())
    with monkeypatch.context() as patched:
        patched.setattr(resources, "cpu_name", lambda: "another")
        assert kept(sweep, tmp_path) is None
    with monkeypatch.context() as patched:  # own data that were imported again
        sizes = {"train": 9, "val": 3, "test": 3}
        patched.setattr(calibration, "describe_data", lambda *_: SimpleNamespace(splits=sizes))
        assert kept(sweep, tmp_path) is None
    assert kept(sweep, tmp_path) is not None
    monkeypatch.setattr(calibration, "pilot_code", lambda: "another")
    assert kept(sweep, tmp_path) is None


def test_a_damaged_file_is_as_good_as_none(tmp_path):
    sweep = sweep_of()
    calibration.write(sweep, only(sweep), tmp_path, pricing.calibration())
    (file,) = (tmp_path / "cache" / "calibration").iterdir()
    for text in ("", "[]", file.read_text()[:-9], file.read_text().replace('"at"', '"when"')):
        file.write_text(text)
        assert kept(sweep, tmp_path) is None


def test_a_price_needs_every_study(tmp_path):
    both = sweep_of(tasks=["pdebench/advection_1d", "pdebench/burgers_1d"])
    calibration.write(both, both.studies[0], tmp_path, pricing.calibration())
    priced = price_of(both, tmp_path, slots=2)
    assert (priced.price, priced.uncalibrated) == (None, ("mona/pdebench/burgers_1d",))
    calibration.write(both, both.studies[1], tmp_path, pricing.calibration())
    priced = price_of(both, tmp_path, slots=2)
    assert priced.price.trials == 16
    assert "CPU-hours" in lines(priced.price)[0]


def test_a_budget_that_will_not_do_and_a_gpu_that_is_too_small_are_said_beforehand(tmp_path):
    budget = {"wall": "10s", "epochs": 1, "device_hours": 1e-6}
    sweep = sweep_of(budget=budget, resources={"cpu": 1, "gpu": 0.5})
    large = replace_peak(pricing.calibration(), 13 * 2**30, memory=24 * 2**30)
    calibration.write(sweep, only(sweep), tmp_path, large)
    wall, epochs, hours, sharing = price_of(sweep, tmp_path, slots=2).notes
    assert "`budget.wall` (10 s) will end it" in wall
    assert "`budget.epochs` may end a search before" in epochs
    assert "`budget.device_hours` may end a search before" in hours
    assert "do not fit together" in sharing


def replace_peak(found, peak, memory):
    trials = [each.model_copy(update={"peak_memory_bytes": peak}) for each in found.configurations]
    update = {"configurations": tuple(trials), "device_memory_bytes": memory}
    return found.model_copy(update=update)


def test_where_trials_share_a_gpu_as_many_pilots_run_at_once_and_their_mean_counts(
    tmp_path, monkeypatch
):
    sweep = sweep_of(resources={"cpu": 1, "gpu": 0.25})
    machine = {"CPU": 3.0, "GPU": 2.0, "memory": 2.0**40}
    monkeypatch.setattr(resources, "this_machine", lambda: machine)
    meeting, folders = threading.Barrier(3, timeout=20), []  # the CPUs hold three of four

    def pilot(study, job, variables):
        order = meeting.wait()
        folders.append(job.folder)
        (preset, *others) = pricing.calibration().configurations
        pace = Pace(first_s=6.0 + order, next_s=3.0 + order)
        slowed = preset.model_copy(
            update={"stages": {"refine": pace}, "begin_s": 1.0, "peak_memory_bytes": 10 + order}
        )
        lacks = {"lowest": "no room"} if order == 1 else {}
        kept = [slowed, *(each for each in others if each.name not in lacks)]
        return PilotResult(start_s=order, configurations=tuple(kept), skipped=lacks)

    monkeypatch.setattr(calibration, "run_pilot", pilot)
    calibrate(sweep, tmp_path, lambda *progress: None)
    found = kept(sweep, tmp_path)
    preset = found.configurations[0]
    assert preset.stages == {"refine": Pace(first_s=7.0, next_s=4.0)}
    assert (found.start_s, preset.begin_s, preset.peak_memory_bytes) == (1.0, 1.0, 12)
    assert "lowest" not in [each.name for each in found.configurations]
    assert found.skipped == {"lowest": "no room"}
    assert len(set(folders)) == 3
    # What was measured side by side says nothing of a trial alone, and the other way round.
    assert kept(sweep_of(resources={"cpu": 1, "gpu": 1}), tmp_path) is None
    assert kept(sweep_of(resources={"cpu": 1, "gpu": 0.25, "mps": True}), tmp_path) is None
    assert resources.side_by_side(sweep_of(resources={"cpu": 1})) == 1


@pytest.mark.slow
def test_a_pilot_measures_each_stage_of_each_trial(tiny):
    sweep, home = tiny
    told = []
    calibrate(sweep, home, lambda *progress: told.append(progress))
    found = kept(sweep, home)
    assert [each.name for each in found.configurations] == ["preset", "lowest", "highest"]
    for each in found.configurations:
        assert each.stages.keys() == {"meta", "refine"}
        assert all(0 < pace.next_s < 60 for pace in each.stages.values())
        assert each.files["best.safetensors"] > 1000
        assert each.peak_memory_bytes > 2**20
    assert found.skipped == {}
    assert told == [("mona/pdebench/advection_1d", 0, 1), ("studies", 1, 1)]
    assert [path.name for path in home.iterdir() if path.name.startswith(".pilot")] == []
    assert price_of(sweep, home, slots=2).price.disk_bytes > 8000


@pytest.mark.slow
def test_a_preset_that_cannot_train_is_a_fault(tiny):
    sweep, home = tiny
    refused = replace(sweep, proxies={"1d": "conll2003"})  # whose files are not here
    with pytest.raises(FileFaults, match="conll2003"):
        calibrate(refused, home, lambda *_: None)
    assert kept(refused, home) is None


def test_a_cluster_is_priced_by_what_was_measured_on_a_device_of_its_kind(tmp_path, monkeypatch):
    sweep = sweep_of(resources={"gpu": 0.5})
    for name, at in (("A100", 1.0), ("H100", 2.0)):
        found = pricing.calibration().model_copy(update={"device": f"gpu: {name}", "at": at})
        monkeypatch.setattr(gpus, "gpu_name", lambda name=name: name)
        calibration.write(sweep, only(sweep), tmp_path, found)
    monkeypatch.setattr(gpus, "gpu_name", lambda: None)
    assert kept(sweep, tmp_path) is None
    elsewhere = calibration.read(sweep, only(sweep), tmp_path, any_device=True)
    assert elsewhere is not None
    assert elsewhere.device == "gpu: H100"  # the latest
    assert price_of(sweep, tmp_path, 64).price is None
    price = price_of(sweep, tmp_path, 64, any_device=True).price
    assert price is not None
    assert (price.slots, price.measured_on) == (64, "gpu: H100")
    on_cpus = sweep_of(resources={"gpu": 0})
    assert calibration.read(on_cpus, only(on_cpus), tmp_path, any_device=True) is None


PROGRAMS = {
    "function": """
import time
def train(params, trial):
    for step in range(2, 101, 2):
        time.sleep(0.1)
        (trial.folder / "state").write_text(str(step))
        trial.save(trial.folder / "state")
        trial.report(step, {"loss": params["width"]})
""",
    "command": """
import json, time
for step in range(2, 101, 2):
    time.sleep(0.1)
    print(json.dumps({"step": step, "loss": 1}), flush=True)
""",
}
SECTIONS = {"function": {"function": "mine:train"}, "command": {"command": ["python", "mine.py"]}}


@pytest.mark.slow
@pytest.mark.parametrize("kind", SECTIONS)
def test_a_pilot_of_a_program_runs_two_of_its_reports(tmp_path, kind):
    (tmp_path / "mine.py").write_text(PROGRAMS[kind])
    file = {
        "name": "mine",
        "program": {**SECTIONS[kind], "metric": "loss", "steps": 100},
        "parameters": {"width": {"min": 1, "max": 9}},
        "search": {"trials": 4},
        "pruning": {"type": "none"},
    }
    (tmp_path / "mine.yaml").write_text(json.dumps(file))
    sweep = load_sweep(tmp_path / "mine.yaml", catalog())
    calibrate(sweep, tmp_path / "home", lambda what, done, of: None)
    price = price_of(sweep, tmp_path / "home", slots=2).price
    assert price is not None
    assert price.trial_hours.expected * 3600 > 4 * 100 * 0.1 / 2  # a report each second step
    found = calibration.read(sweep, only(sweep), tmp_path / "home")
    assert found is not None
    assert [each.name for each in found.configurations] == ["preset", "lowest", "highest"]
    assert ("program.tar" in found.configurations[0].files) == (kind == "function")
    assert found.configurations[0].peak_memory_bytes > 2**20
    assert [each.name for each in tmp_path.glob("home/*")] == ["cache"]  # nothing of the trials
    (tmp_path / "mine.py").write_text(PROGRAMS[kind] + "1\n")
    changed = load_sweep(tmp_path / "mine.yaml", catalog())
    assert calibration.read(changed, only(changed), tmp_path / "home") is None


def test_a_program_of_unknown_length_has_no_price(tmp_path):
    (tmp_path / "mine.py").write_text(PROGRAMS["command"])
    text = "name: mine\nprogram: {command: [python, mine.py], metric: loss}\nsearch: {trials: 1}\n"
    (tmp_path / "mine.yaml").write_text(text)
    with pytest.raises(UsageError, match=r"write it as `program\.steps`"):
        calibrate(load_sweep(tmp_path / "mine.yaml", catalog()), tmp_path, lambda *_: None)
    several = (
        "name: mine\nprogram: {metric: loss}\nsearch: {trials: 1}\n"
        "programs: {a: {command: [python, mine.py], steps: 2}, b: {command: [python, mine.py]}}\n"
    )
    (tmp_path / "mine.yaml").write_text(several)
    with pytest.raises(UsageError, match=r"write it as `programs\.b\.steps`"):
        calibrate(load_sweep(tmp_path / "mine.yaml", catalog()), tmp_path, lambda *_: None)


def test_a_program_that_reports_to_mlflow_has_no_pilot(tmp_path):
    (tmp_path / "mine.py").write_text(PROGRAMS["command"])
    program = "{command: [python, mine.py], metric: loss, steps: 2, results: mlflow}"
    (tmp_path / "mine.yaml").write_text(f"name: mine\nprogram: {program}\nsearch: {{trials: 1}}\n")
    with pytest.raises(UsageError, match="a pilot reads no reports that go to MLflow"):
        calibrate(load_sweep(tmp_path / "mine.yaml", catalog()), tmp_path, lambda *_: None)

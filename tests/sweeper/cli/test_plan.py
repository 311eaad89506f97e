"""`sweeper plan`: what a file asks for, with and without knowing what it costs."""

import pytest

from sweeper.cli.main import run
from sweeper.planning import load
from sweeper.planning.catalog import home
from sweeper.planning.costs import calibration
from tests.support import pricing

FILE = """
name: planned
methods: [mona]
tasks: [pdebench/advection_1d]
backbones: {1d: minilm}
proxies: {1d: python_source}
parameters:
  meta.epochs: {values: [1, 2, 6]}
  refine.lr: {distribution: log_uniform_values, min: 1.0e-6, max: 1.0e-3}
fixed: {refine.epochs: 6}
search: {trials: 8}
pruning: {type: asha, min_epochs: 2, eta: 2}
replicate: {top: 1, seeds: 2}
"""


@pytest.fixture(autouse=True)
def _no_floors(monkeypatch):
    """Leave out floors, which need a process of their own: `planning/test_floors.py` has them."""
    monkeypatch.setattr("sweeper.commands.plan.floor_notes", lambda _: [])


@pytest.fixture
def file(here):
    path = here / "planned.yaml"
    path.write_text(FILE)
    return path


def planned(command, file, *options: str) -> dict:
    return command("plan", str(file), "--json", *options).json


def test_without_a_calibration_epochs_alone_are_priced(command, file):
    told = planned(command, file)
    (study,) = told["studies"]
    assert (told["price"], told["uncalibrated"]) == (None, ["mona/pdebench/advection_1d"])
    assert study["kinds"] == {"leading": 2, "sampled": 6, "replicates": 4}
    assert (told["trials"], study["trials"], study["rungs"]) == (12, 12, [2, 4])
    meta, refine = study["stages"]
    assert (meta["runs"], meta["shared"], meta["max_epochs"]) == (1 + 6 + 2, 0, 2 + 6 * 6 + 2 * 6)
    assert refine["max_epochs"] == 12 * 6 > refine["expected_epochs"] > 6 * 6
    assert told["max_epochs"] == meta["max_epochs"] + refine["max_epochs"]
    assert "--calibrate" in told["notes"][-1]


def test_with_one_it_says_hours_disk_and_from_when(command, file):
    sweep = load.read(file, load.Options())
    calibration.write(sweep, sweep.studies[0], home(), pricing.calibration())
    price = planned(command, file)["price"]
    assert 0 < price["device_hours"]["low"] < price["device_hours"]["high"]
    assert price["disk_bytes"] == 12 * 401
    out = command("plan", str(file)).out
    assert "2 leading, 6" in out
    assert "CPU-hours" in out
    assert "measured 2026-" in out


@pytest.mark.slow
def test_a_pilot_that_cannot_begin_is_a_fault(command, file):
    arguments = ["plan", str(file), "--calibrate", "--json", "--set", "proxies.1d=conll2003"]
    told = command(*arguments, code=2).json
    assert "conll2003" in told["error"]["message"]


QUESTION = """\
compare_by: {refine.epochs: [2, 4]}
question:
  title: Does it help?
  published: It does.
  claims:
    - {says: It helps., contrast: [refine.epochs=4, refine.epochs=2], expect: better}
"""


def test_a_question_that_its_seeds_can_never_decide_is_refused(command, file):
    text = FILE.replace("parameters:", "unused:").split("unused:")[0]
    file.write_text(text + QUESTION + "pruning: {type: none}\nreplicate: {seeds: 5}\n")
    told = " ".join(command("plan", str(file), code=2).err.split())
    assert "can reach p = 0.0625, which is not below 0.05" in told
    assert "replicate.seeds=6 or more, or add --exploratory" in told
    notes = planned(command, file, "--exploratory")["notes"]
    assert any("never significant" in note for note in notes)
    notes = planned(command, file, "--set", "replicate.seeds=6")["notes"]
    assert any("primary claim: 6 seeds can reach" in note for note in notes)
    assert run(["validate", str(file)]) == 0


def test_the_rungs_of_a_ladder_are_counted(command, file):
    text = FILE.replace("[mona]", "[mona, nft]")
    text = text.split("parameters:")[0] + "pruning: {type: none}\nreplicate: {seeds: 6}\n"
    file.write_text(f"{text}ladder: {{data.samples: [64, 128, 256]}}\n")
    told = planned(command, file)
    rungs = [study["study"].rpartition("=")[2] for study in told["studies"]]
    assert rungs == ["64", "128", "256"] * 2
    assert {study["trials"] for study in told["studies"]} == {1 + 6}
    assert told["trials"] == 2 * 3 * 7
    rungs = "ladder of data.samples: 3 rungs (64, 128, 256), lower ones first; the largest is "
    assert f"{rungs}forecast before it runs" in told["notes"]
    shared = "each rung has the 29 samples for validation and the 32 for the test"
    assert any(shared in note for note in told["notes"])


def test_objectives_and_constraints_are_a_sentence(command, file):
    goals = 'objectives: [val, parameters], constraints: {peak_memory: "<= 12GiB"}'
    text = FILE.replace("{trials: 8}", f"{{trials: 8, {goals}}}")
    file.write_text(text.replace("{type: asha, min_epochs: 2, eta: 2}", "{type: none}"))
    assert planned(command, file)["notes"][0] == (
        "The best trial is that with the lowest val/nrmse, of those with peak_memory <= 12GiB. The "
        "search minimises val/nrmse and parameters."
    )
    file.write_text(FILE)
    assert not [note for note in planned(command, file)["notes"] if "best trial" in note]

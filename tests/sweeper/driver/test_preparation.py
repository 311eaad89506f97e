"""Preparing happens in a process of its own; what becomes of that is said."""

from types import SimpleNamespace

import psutil
import pytest

from sweeper.driver import preparation
from sweeper.driver.preparation import preparing
from sweeper.errors import SweeperError
from sweeper.model import Floor, Study, StudyFacts
from sweeper.planning import load
from sweeper.tracking.outline import Entity, Outline, identity_tags
from tests.support.command import ROOT
from tests.support.trials import record
from trainables.runtime import cpu_precision
from trainables.tasks.predictors import floor
from trainables.tasks.registry import TASKS


@pytest.fixture
def sweep():
    return load.read(ROOT / "search_spaces" / "mona_pdebench.yaml", load.Options(profile="laptop"))


def the_process() -> psutil.Process:
    children = psutil.Process().children()
    (found,) = (p for p in children if p.cmdline()[-1:] == ["sweeper.driver.preparation"])
    return found


@pytest.fixture
def facts_of(monkeypatch, tmp_path):
    """Return the facts of a study, of which nothing is prepared."""
    monkeypatch.setattr(preparation, "prepare_task", lambda *_, **__: None)
    monkeypatch.setattr(floor, "scores_of", lambda *_: floor.Scores())
    backbone = SimpleNamespace(name="", weights_hash="")
    task = SimpleNamespace(
        data_source="generated", content_hash="", baselines={}, train=(), val=(), test=()
    )
    parts = SimpleNamespace(
        task=lambda *_: task, backbone=lambda *_: backbone, source=lambda *_: None
    )

    def facts(study):
        backbone.dimension = TASKS[study.task].dimension
        return preparation.facts_of(study, parts, tmp_path, lambda *_: None)

    return facts


def test_a_studys_facts_name_every_source_that_its_trials_may_read(facts_of):
    file = ROOT / "search_spaces" / "orca_pdebench.yaml"
    study = load.read(file, load.Options(profile="laptop")).studies[0]
    facts = facts_of(study)
    assert study.proxies == ("python_source", "noise_words")
    assert facts.proxy == "python_source, noise_words"


def test_the_ledger_and_mlflow_keep_orca_s_frames_apart(facts_of):
    task = "pdebench/shallow_water_2d"
    file = ROOT / "search_spaces" / "mona_pdebench.yaml"
    options = load.Options(profile="laptop", sets=[f"tasks=[{task}, '{task}@orca']"])
    studies = load.read(file, options).studies
    assert [study.name for study in studies] == [f"mona/{task}", f"mona/{task}@orca"]
    facts = {study.name: facts_of(study) for study in studies}
    plain, paired = facts.values()
    assert "validated and tested on frame 99" in paired.protocol
    assert paired.protocol != plain.protocol
    for each in (plain, paired):
        floors = {number["method"]: number["floor"] for number in each.published}
        assert (floors["mona"], floors["fno"]) == (5.7e-3, None)
    outline = Outline(
        record=record(),
        studies={
            s.name: Study(name=s.name, method="mona", task=s.task, objective="val/nrmse", seed=1)
            for s in studies
        },
        facts=facts,
        trials={},
    )
    tags = [identity_tags(Entity(name), outline) for name in facts]
    assert [each["sweeper.task"] for each in tags] == [task, f"{task}@orca"]
    assert [each["sweeper.protocol"] for each in tags] == [plain.protocol, paired.protocol]


def test_the_floor_of_a_program_is_a_value_or_that_of_a_task(monkeypatch, tmp_path):
    made = []
    scores = floor.Scores(
        scored={"ridge": floor.Score(test=0.2, validation=0.1, samples=9, seconds=0.5)}
    )
    monkeypatch.setattr(preparation, "prepare_task", lambda task, *_, **__: made.append(task))
    monkeypatch.setattr(preparation, "load_task", lambda *_: SimpleNamespace(baselines={}))
    monkeypatch.setattr(floor, "scores_of", lambda *_: scores)
    floors = "{a: 0.5, b: pdebench/burgers_1d}"
    (tmp_path / "p.yaml").write_text(
        f"name: p\nprogram: {{command: [p], metric: nrmse, data: [a, b, c], floor: {floors}}}\n"
        "parameters: {lr: {min: 0.0, max: 1.0}}\n"
    )
    found = preparation.prepare(
        load.read(tmp_path / "p.yaml", load.Options()), tmp_path, lambda *_: None
    )
    assert made == ["pdebench/burgers_1d"]
    assert [facts.floor for facts in found.values()] == [
        Floor(name="by hand", value=0.5),
        Floor(name="ridge", value=0.2, validation=0.1, seconds=0.5),
        None,
    ]


def test_one_that_is_killed_is_said_with_the_way_out(sweep):
    with preparing(sweep, {}, None) as prepared:
        the_process().kill()
        with pytest.raises(SweeperError, match=r"was killed.* launch again"):
            prepared.facts(lambda *_: None)


def test_one_that_is_not_waited_for_is_ended(sweep):
    with preparing(sweep, {}, None):
        process = the_process()
    assert not process.is_running()


def test_a_begun_study_is_not_measured_again_and_others_are_beside_the_products_in_use(
    sweep, monkeypatch, tmp_path
):
    asked = []

    def of(self, spec, parts, stage):
        asked.append((spec.method, spec.task, spec.model.products, stage))
        return "bf16", 1.5

    monkeypatch.setattr(cpu_precision.Precisions, "of", of)
    facts = {study.name: StudyFacts(products="onednn") for study in sweep.studies}
    begun, *new = facts
    told = preparation.with_precision(sweep, facts, None, tmp_path, [begun])
    assert told.pop(begun) == facts[begun]
    assert {(each.precision, each.precision_gain) for each in told.values()} == {("bf16", 1.5)}
    assert asked == [(*name.split("/", 1), "onednn", "refine") for name in new]

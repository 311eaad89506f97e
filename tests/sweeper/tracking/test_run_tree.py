"""What each run is and shows, from events alone."""

import math

import pytest

from sweeper.model import Study, StudyFacts, TrialKind
from sweeper.tracking.outline import (
    SWEEP,
    Entity,
    identity_tags,
    read_outline,
    run_name,
    run_params,
)
from sweeper.tracking.run_tree import Change, changes
from tests.support.compared_ledgers import Scores, run, write
from tests.support.ledgers import TASK, finished_ledger, new_ledger, tuned_study
from tests.support.trials import COMPLETE, begin, measured, sampled

MONA = f"mona/{TASK}"


@pytest.fixture(scope="module")
def ledger(tmp_path_factory):
    return finished_ledger(tmp_path_factory.mktemp("ledger"))


@pytest.fixture(scope="module")
def outline(ledger):
    return read_outline(ledger)


def test_names_are_readable_at_first_sight(outline):
    assert run_name(SWEEP, outline) == "mona_pdebench"
    assert run_name(Entity(MONA), outline) == "mona · advection_1d"
    assert run_name(Entity(MONA, 3), outline) == "003 · mona · advection_1d"


def test_a_trial_belongs_to_its_study_and_a_study_to_the_sweep():
    assert Entity(MONA, 3).parent == Entity(MONA)
    assert Entity(MONA).parent == SWEEP
    assert SWEEP.parent is None


def test_a_replicate_is_named_by_what_it_repeats_and_its_seed(tmp_path):
    ledger = write(tmp_path, "s", [Scores(method="mona", task=TASK, best=[0.4, 0.3])])
    outline = read_outline(ledger)
    names = [run_name(Entity(t.study, t.number), outline) for t in ledger.trials()]
    assert names[2] == "002 · mona · advection_1d"
    assert names[-2:] == [f"002 seed {seed} · mona · advection_1d" for seed in (100, 101)]
    assert len(set(names)) == len(names)


def test_the_objective_is_the_first_chart(ledger, outline):
    """MLflow draws a section for what is before a name's last slash, in the order of characters."""
    runs, _ = changes(ledger.events(), outline, {})
    for entity, change in runs.items():
        if entity.study is None:
            continue
        sections = sorted({point.key.rpartition("/")[0] for point in change.points} - {""})
        assert sections[0] == "Objective"
        curves = {
            key: [(p.step, p.value) for p in change.points if p.key == key]
            for key in ("Objective/nrmse", "val/nrmse")
        }
        assert curves["Objective/nrmse"] == curves["val/nrmse"] != []


def test_params_are_every_hyperparameter_sampled_or_fixed(outline):
    params = run_params(Entity(MONA, 2), outline)
    assert params == {k: str(v) for k, v in outline.trials[Entity(MONA, 2)].params.items()}
    assert {"meta.alpha", "refine.lr", "refine.epochs"} <= set(params)
    about = run_params(Entity(MONA), outline)
    assert (about["method"], about["task"], about["backbone"]) == ("mona", TASK, "roberta_base")
    assert run_params(Entity(), outline) == {}


def test_tags_say_what_a_trial_is_and_where_it_came_from(outline):
    tags = identity_tags(Entity(MONA, 1), outline)
    assert tags["sweeper.kind"] == "control"
    assert tags["sweeper.trial"] == "1"
    assert tags["sweeper.seed"] == str(2**62 + 1)
    assert tags["sweeper.data_source"] == "generated"
    assert tags["sweeper.config_hash"] == "ab" * 32
    wanted = "sweep study method task backbone pretrained protocol git_commit"
    assert {f"sweeper.{name}" for name in wanted.split()} <= set(tags)


def test_facts_that_are_not_known_leave_no_tag(tmp_path):
    ledger = new_ledger(tmp_path)
    study = Study(name="nft/t", method="nft", task="t", objective="val/nrmse", seed=0)
    ledger.add_study(study)
    tags = identity_tags(Entity("nft/t"), read_outline(ledger))
    assert "sweeper.backbone" not in tags
    assert "None" not in tags.values()


def test_parents_come_before_children(ledger, outline):
    runs, _ = changes(ledger.events(), outline, {})
    seen = set()
    for entity in runs:
        assert entity.parent is None or entity.parent in seen
        seen.add(entity)
    assert len(seen) == 1 + 2 + 10


@pytest.mark.parametrize("size", [1, 2, 7, 50])
def test_points_and_final_states_do_not_depend_on_the_batches(ledger, outline, size):
    events = ledger.events()
    whole, whole_notes = changes(events, outline, {})
    points: dict[Entity, list] = {}
    tags: dict[Entity, dict] = {}
    statuses: dict[Entity, tuple] = {}
    notes: dict[str, str] = {}
    for start in range(0, len(events), size):
        runs, new = changes(events[start : start + size], outline, notes)
        notes |= new
        for entity, change in runs.items():
            points.setdefault(entity, []).extend(change.points)
            kept = {k: v for k, v in tags.get(entity, {}).items() if k not in change.outdated}
            tags[entity] = kept | change.tags
            if change.status is not None:
                statuses[entity] = (change.status, change.ended_at)
    assert notes == whole_notes
    for entity, change in whole.items():
        assert points.get(entity, []) == change.points
        assert tags[entity] == change.tags
        assert statuses[entity] == (change.status, change.ended_at)


def test_the_time_of_a_point_is_its_events(ledger, outline):
    runs, _ = changes(ledger.events(), outline, {})
    times = {round(e.at * 1000) for e in ledger.events()}
    assert all(point.at in times for change in runs.values() for point in change.points)


def test_an_epoch_that_a_later_attempt_ran_again_is_shown_once(ledger, outline):
    runs, _ = changes(ledger.events(), outline, {})
    steps = [p.step for p in runs[Entity(f"nft/{TASK}", 2)].points if p.key == "val/nrmse"]
    assert steps == [1, 2, 3, 4, 5, 6]


def test_a_study_shows_its_best_control_preset_and_baselines(ledger, outline):
    runs, _ = changes(ledger.events(), outline, {})
    latest = {p.key: p.value for p in runs[Entity(MONA)].points}
    trials = {t.number: t for t in ledger.trials(MONA)}
    assert latest["val/nrmse"] == trials[2].value
    assert latest["test/nrmse"] == trials[2].test["test/nrmse"]
    assert latest["control/val/nrmse"] == trials[1].value
    assert latest["preset/val/nrmse"] == trials[0].value
    assert latest["baseline/mean"] == 1.0
    assert runs[Entity(MONA)].tags["sweeper.best_trial"] == "2"


def test_no_tag_is_empty_and_each_trial_has_the_floor_of_its_task(ledger, outline):
    runs, _ = changes(ledger.events(), outline, {})
    assert all(all(change.tags.values()) for change in runs.values())
    sound = runs[Entity(MONA, 2)]
    assert not {"sweeper.reason", "sweeper.failure"} & (sound.tags.keys() | sound.outdated)
    for entity in (Entity(MONA), Entity(MONA, 2)):
        assert [p.value for p in runs[entity].points if p.key == "floor"] == [0.41]


def test_a_studys_tags_are_the_settings_of_its_best_trial_and_of_no_other(tmp_path):
    ledger = new_ledger(tmp_path)
    for number, params in enumerate([{"a.x": 1, "a.y": 2}, {"a.x": 3}]):
        attempt = begin(ledger, sampled(number=number, params=params))
        ledger.measure("nft/t", number, attempt, measured(1, 1.0 - number), COMPLETE)
    tags: dict[str, str] = {}
    notes: dict[str, str] = {}
    outdated: set[str] = set()
    for event in ledger.events():
        runs, new = changes([event], read_outline(ledger), notes)
        notes |= new
        change = runs.get(Entity("nft/t"), Change(since=0))
        tags |= change.tags
        outdated |= change.outdated
    best = {name: value for name, value in tags.items() if name.startswith("sweeper.best.")}
    assert best == {"sweeper.best.a.x": "3", "sweeper.best.a.y": "2"}
    assert outdated == {"sweeper.best.a.y"}, "MLflow keeps a tag until it is deleted"


def test_a_control_is_never_a_studys_best(tmp_path):
    ledger = new_ledger(tmp_path)
    for number, (kind, value) in enumerate([(TrialKind.CONTROL, 0.1), (TrialKind.SAMPLED, 0.2)]):
        attempt = begin(ledger, sampled(number=number, kind=kind))
        ledger.measure("nft/t", number, attempt, measured(1, value), COMPLETE)
    runs, _ = changes(ledger.events(), read_outline(ledger), {})
    values = {p.key: p.value for p in runs[Entity("nft/t")].points}
    assert values == {"control/val/nrmse": 0.1, "val/nrmse": 0.2, "Objective/nrmse": 0.2}


def test_a_trial_shows_the_precision_that_it_was_trained_in(tmp_path):
    ledger = new_ledger(tmp_path)
    told = measured(precision="tf32")
    ledger.measure("nft/t", 0, begin(ledger, sampled()), told)
    assert ledger.measurements("nft/t", 0) == (told,)
    runs, _ = changes(ledger.events(), read_outline(ledger), {})
    assert runs[Entity("nft/t", 0)].tags["sweeper.precision"] == "tf32"


def best_of(ledger, study: str) -> dict[str, str]:
    """Return the tags of a study's run about its best, and the last value of each metric."""
    shown = changes(ledger.events(), read_outline(ledger), {})[0][Entity(study)]
    tags = {name: value for name, value in shown.tags.items() if "best" in name}
    return tags | {p.key: p.value for p in sorted(shown.points, key=lambda p: (p.step, p.at))}


def test_of_two_equal_values_the_earlier_trial_is_best_whichever_ended_first(tmp_path):
    ledger = new_ledger(tmp_path)
    scores = Scores(method="nft", task=TASK, best=[])
    study = f"nft/{TASK}"
    ledger.add_study(Study(name=study, method="nft", task=TASK, objective="val/nrmse", seed=0))
    for n in (3, 2):
        run(ledger, sampled(study, n, params={"a.x": n}), 0.25, scores)
    best = best_of(ledger, study)
    assert (best["sweeper.best_trial"], best["sweeper.best.a.x"]) == ("2", "2")
    assert tuned_study(ledger, study).best.number == 2


def test_once_the_sweep_has_ended_the_best_is_that_of_its_replicates(tmp_path):
    scores = Scores(method="mona", task=TASK, best=[0.65, 0.3], num_trials=3)
    ledger = write(tmp_path, "s", [scores])
    study = f"mona/{TASK}"
    table = tuned_study(ledger, study)
    assert (table.best.number, table.preset.value) == (2, 0.6), "which was ahead in the search"
    best = best_of(ledger, study)
    assert best["sweeper.best_trial"] == "2"
    assert best["sweeper.best.refine.lr"] == str(table.best.params["refine.lr"])
    assert (best["val/nrmse"], best["test/nrmse"]) == (table.best.value, 0.65)


def test_a_trial_names_the_source_that_it_reads_and_a_study_all(tmp_path):
    ledger = new_ledger(tmp_path)
    study = Study(name="orca/t", method="orca", task="t", objective="val/nrmse", seed=0)
    ledger.add_study(study, StudyFacts.from_json({"proxy": "digits, noise"}))
    for number, params in enumerate([{"proxy": "noise"}, {}]):
        ledger.add_trial(sampled("orca/t", number, params=params))
    outline = read_outline(ledger)
    named = [identity_tags(Entity("orca/t", n), outline)["sweeper.proxy"] for n in (None, 0, 1)]
    assert named == ["digits, noise", "noise", "digits, noise"]
    assert run_params(Entity("orca/t"), outline)["proxy"] == "digits, noise"


@pytest.mark.parametrize(
    ("peak", "shown"), [(2**40, {"meta/peak_memory_bytes": 2**40}), (None, {})]
)
def test_what_an_epoch_took_is_shown_by_stage_and_epoch_and_only_if_it_is_known(
    tmp_path, peak, shown
):
    ledger = new_ledger(tmp_path)
    took = measured(3, stage="meta", seconds=1.5, peak_memory_bytes=peak)
    ledger.measure("nft/t", 0, begin(ledger, sampled()), took)
    runs, _ = changes(ledger.events(), read_outline(ledger), {})
    points = runs[Entity("nft/t", 0)].points
    assert {p.key: p.value for p in points} == {"meta/seconds": 1.5, **shown}
    assert {p.step for p in points} == {3}


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_a_value_that_is_not_finite_is_a_tag_and_no_point(tmp_path, value):
    ledger = new_ledger(tmp_path)
    metrics = {"refine/train_loss": value, "val/nrmse": 0.5}
    ledger.measure("nft/t", 0, begin(ledger, sampled()), measured(4, metrics=metrics))
    runs, _ = changes(ledger.events(), read_outline(ledger), {})
    run = runs[Entity("nft/t", 0)]
    assert {p.key for p in run.points} == {"val/nrmse", "Objective/nrmse", "refine/seconds"}
    assert run.tags["sweeper.nonfinite"] == f"refine/train_loss = {value} at refine epoch 4"

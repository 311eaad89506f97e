"""The data of trials: of the search, or the draw of a seed."""

import json
from dataclasses import replace

import pytest

from sweeper.commands import launch
from sweeper.console import stderr
from sweeper.driver.preparation import prepare
from sweeper.errors import FileFaults, UsageError
from sweeper.ledger import Ledger
from sweeper.model import DataDraw, Floor, StudyFacts, Trial, TrialKind
from sweeper.planning import studies
from sweeper.planning.catalog import catalog
from sweeper.planning.checkpoint_paths import CheckpointPaths
from sweeper.planning.data import draws
from sweeper.planning.load import Options
from sweeper.planning.trials import TrialBuilder
from sweeper.spec.loader import loads_sweep
from tests.support.tiny_backbones import save_tiny_roberta
from trainables.tasks.loading import load_task

TASK = "pdebench/advection_1d"
TEXT = """\
name: some
experiment: pdebench
methods: [nft, mona]
tasks: [pdebench/advection_1d]
backbones: {{1d: {{name: {roberta}, tokens: 16}}}}
proxies: {{1d: noise_words}}
model: {{head: linear}}
data: {{samples: 24, val_fraction: 0.25, test_fraction: 0.25, resolution: 32, seed: {seed}}}
parameters: {{}}
compare_by: {{refine.freeze: [none, body]}}
{replicate}
"""
SEEDS = "replicate: {seeds: 3}"


@pytest.fixture(scope="module")
def roberta(tmp_path_factory):
    folder = tmp_path_factory.mktemp("weights") / "roberta"
    save_tiny_roberta(folder)
    return folder


@pytest.fixture(scope="module")
def sweep(roberta):
    return read(roberta)


def read(roberta, seed="replicate", replicate=SEEDS):
    text = TEXT.format(roberta=roberta, seed=seed, replicate=replicate)
    return loads_sweep(text, catalog())


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    return tmp_path_factory.mktemp("home")


@pytest.fixture(scope="module")
def facts(sweep, home):
    return prepare(sweep, home, lambda what, done, of: None)


def trial_of(study, kind, seed, **others):
    return Trial(study=study.name, number=5, kind=kind, params=study.preset, seed=seed, **others)


@pytest.mark.slow
def test_all_arms_and_controls_of_a_seed_share_a_draw_and_seeds_have_different_ones(sweep, facts):
    """Law: the data of a replicate depend on its seed and task, and on nothing else."""
    assert len(sweep.studies) > 4
    seeds = {draws.replicate_seeds(sweep, study) for study in sweep.studies}
    assert len(seeds) == 1
    (seeds,) = seeds
    found = {name: each.draws for name, each in facts.items()}
    assert all(list(each) == list(map(str, seeds)) for each in found.values())
    assert len({tuple(d.content_hash for d in each.values()) for each in found.values()}) == 1
    base = facts[sweep.studies[0].name]
    hashes = {draw.content_hash for draw in base.draws.values()}
    assert len(hashes | {base.content_hash}) == len(seeds) + 1


def test_more_seeds_leave_the_draws_of_the_first(roberta, home):
    few, more = (read(roberta, replicate=f"replicate: {{seeds: {n}}}") for n in (2, 5))
    told = [draws.draws_of(each, each.studies[1], home) for each in (few, more)]
    assert list(told[0].items()) == list(told[1].items())[:2]
    assert all(0 < seed < 2**63 for seed in told[1].values())


def test_a_worker_gets_the_number_and_the_hash_of_its_draw(sweep, facts, home, tmp_path):
    study = next(each for each in sweep.studies if each.arm is not None)
    (seed, *_) = draws.replicate_seeds(sweep, study)
    replicate = replace(trial_of(study, TrialKind.REPLICATE, seed, origin=0), number=7)
    again = trial_of(study, TrialKind.RERUN, 11, origin=7)
    builder = TrialBuilder(
        sweep, CheckpointPaths(tmp_path), home, "h", facts, trial_of=lambda name, number: replicate
    )
    for trial, is_own in (
        (replicate, True), (again, True), (trial_of(study, TrialKind.PRESET, seed), False)
    ):  # fmt: skip
        config = builder(trial)
        draw = facts[study.name].draws[str(seed)]
        expected = draw.seed if is_own else 0
        assert config.spec["data"]["seed"] == expected
        data = draws.data_of(study, expected)
        assert config.content_hash == load_task(TASK, data, home).content_hash


def test_the_floor_of_a_draw_is_that_of_the_predictor_of_the_search(facts, sweep, home):
    each = facts[sweep.studies[0].name]
    assert each.floor is not None
    for draw in each.draws.values():
        assert draw.floor.name == each.floor.name
    values = [draw.floor.value for draw in each.draws.values()]
    assert len({*values, each.floor.value}) == len(values) + 1


def test_a_draw_of_a_begun_study_has_the_predictor_of_its_floor_alone(sweep, facts, home):
    """Law: another choice of the floor changes no floor of a begun study."""
    name = sweep.studies[1].name
    assert facts[name].floor.name != "mean"
    again = prepare(sweep, home, lambda what, done, of: None, {name: "mean"})
    assert {draw.floor.name for draw in again[name].draws.values()} == {"mean"}
    assert again[sweep.studies[2].name] == facts[sweep.studies[2].name]
    (draw, *_) = again[name].draws.values()
    kept = home / "cache" / "predictors" / draw.content_hash
    scored = [json.loads(file.read_text())["scored"] for file in kept.glob("*.json")]
    assert [len(each) for each in scored] == [1, 1]


def test_facts_with_draws_are_read_back(facts):
    for each in facts.values():
        assert StudyFacts.from_json(each.to_json()) == each


@pytest.mark.parametrize(("seed", "replicate"), [("0", SEEDS), ("replicate", "")])
def test_without_the_word_or_without_seeds_there_is_one_draw(roberta, home, seed, replicate):
    sweep = read(roberta, seed, replicate)
    assert not any(draws.draws_of(sweep, study, home) for study in sweep.studies)
    assert all(draws.data_of(study).seed == 0 for study in sweep.studies)
    assert any("add `replicate: {seeds: 8}`" in note for note in sweep.notes) == (not replicate)


@pytest.mark.parametrize("seed", ["replicates", "each", "-1", "0.5"])
def test_other_words_are_refused_with_what_is_allowed(roberta, seed):
    with pytest.raises(FileFaults, match=r"`data.seed` must be .* or must be 'replicate'"):
        read(roberta, seed)


def test_data_of_published_files_keep_one_draw_and_it_is_said(roberta, tmp_path):
    text = TEXT.format(roberta=roberta, seed="replicate", replicate=SEEDS)
    sweep = loads_sweep(text.replace(TASK, "nasbench360/ecg"), catalog())
    assert not any(draws.draws_of(sweep, study, tmp_path) for study in sweep.studies)
    (note,) = draws.notes_on(sweep, tmp_path)
    assert "no effect on nasbench360/ecg" in note
    number = loads_sweep(
        text.replace(TASK, "nasbench360/ecg").replace("seed: replicate", "seed: 7"), catalog()
    )
    assert draws.notes_on(number, tmp_path) == [
        note.replace("`data.seed: replicate`", "`data.seed: 7`")
    ]
    generated = read(roberta, 7)
    assert draws.notes_on(generated, tmp_path) == []


@pytest.mark.parametrize(("address", "count"), [("local", 1), ("https://head:8265", 0)])
def test_a_launch_elsewhere_does_not_look_at_the_data_here(
    roberta, here, monkeypatch, address, count
):
    file, calls = here / "some.yaml", []
    file.write_text(TEXT.format(roberta=roberta, seed="replicate", replicate=SEEDS))
    monkeypatch.setattr(draws, "notes_on", lambda *_: calls.append(1) or [])
    launch.check(file, Options(address=address), stderr())
    assert len(calls) == count


ONE, TWO = (DataDraw(seed=n, content_hash=h, floor=Floor(name="ridge", value=0.1)) for n, h in
            ((1, "a"), (2, "b")))  # fmt: skip


def begun(sweep, folder, found):
    ledger = Ledger.in_folder(folder)
    every = {s.name: StudyFacts(draws=found, floor=ONE.floor) for s in sweep.studies}
    studies.make_plans(sweep, ledger, every)
    return ledger, every


def test_changed_data_of_one_draw_are_refused(sweep, tmp_path):
    ledger, every = begun(sweep, tmp_path, {"1": ONE, "2": TWO})
    studies.check_same(ledger, every)
    name = sweep.studies[2].name
    changed = {"1": ONE, "2": replace(TWO, content_hash="c")}
    with pytest.raises(UsageError) as refused:
        studies.check_same(ledger, {**every, name: StudyFacts(draws=changed)})
    assert str(refused.value).splitlines()[1:] == [f'  {name}.draws.2: "b" -> "c"']


def test_further_replicates_add_draws_and_former_ones_are_kept(sweep, tmp_path):
    ledger, _ = begun(sweep, tmp_path, {"1": ONE})
    other = replace(ONE, floor=Floor(name="knn", value=0.2))  # by what is chosen now
    now = {
        study.name: StudyFacts(draws={"1": other, "2": TWO}, floor=other.floor)
        for study in sweep.studies
    }
    studies.check_same(ledger, now)
    both = draws.with_begun_draws(ledger, now)
    studies.make_plans(sweep, ledger, both)
    for study in sweep.studies:
        recorded = ledger.facts(study.name)
        assert recorded.draws == {"1": ONE, "2": TWO} == both[study.name].draws
    names = {study.name: "ridge" for study in sweep.studies}
    assert draws.predictors_of(ledger) == names

"""What a launch makes of `stages`: seeds that pair, and what `sweeper plan` says beforehand."""

from dataclasses import replace
from pathlib import Path

import pytest
from optuna.samplers import BaseSampler

from sweeper.commands.plan import plan
from sweeper.core.runner import SweepRunner
from sweeper.errors import UsageError
from sweeper.ledger import Ledger
from sweeper.model import StudyFacts, Trial, TrialKind
from sweeper.planning import load, resuming, studies
from sweeper.planning.budgets import ended_early
from sweeper.planning.catalog import catalog
from sweeper.results.read import read_sweep
from sweeper.search import factories
from sweeper.search.factories import Context
from sweeper.spec.loader import loads_sweep
from tests.bad_inputs.rows import PARAMETER, VALID
from tests.support.command import ROOT
from tests.support.fakes import measure, started
from tests.support.sweep_files import load_sweep
from tests.support.trials import record

FILE = ROOT / "search_spaces" / "orca_pdebench.yaml"
FEW = ("stages.align.distinct=3", "resources={cpu: 1}")


@pytest.fixture
def runners(tmp_path: Path) -> dict[str, SweepRunner]:
    """A runner of the file as it is, and one of it with few alignments."""
    made = {}
    for name, sets in ("all", FEW[1:]), ("few", FEW):
        sweep = load_sweep(FILE, catalog(), profile="laptop", sets=sets)
        ledger = Ledger.in_folder(tmp_path / name)
        ledger.create(record(name, resolved=sweep.resolved))
        facts = {study.name: StudyFacts() for study in sweep.studies}
        made[name] = SweepRunner(studies.make_plans(sweep, ledger, facts), ledger)
    return made


def test_the_kth_alignment_has_the_seed_of_the_kth_sampled_trial(runners):
    for every, few in zip(
        runners["all"].studies.values(), runners["few"].studies.values(), strict=True
    ):
        assert every.plan.stages.configs == ()
        seeds = [every.plan.trial_seed(number) for number in range(2, 5)]
        assert [p.seed for p in few.plan.stages.configs] == seeds
        assert len({p.params["align.lr"] for p in few.plan.stages.configs}) == 3


def test_preset_and_control_are_as_without(runners):
    began = {}
    for name, runner in runners.items():
        trials = [runner.next_trial() for _ in range(24)]
        assert None not in trials
        began[name] = [(t.study, t.number, t.params, t.seed) for t in trials
                       if t is not None and t.kind is not TrialKind.SAMPLED]  # fmt: skip
        sampled = [t for t in trials if t is not None and t.kind is TrialKind.SAMPLED]
        assert len(sampled) == 18
        shared = {(t.study, t.seed, t.params["align.lr"], t.params["proxy"]) for t in sampled}
        assert len(shared) == (9 if name == "few" else 18)
        assert len({(t.study, t.params["refine.lr"]) for t in sampled}) == 18
    assert began["few"] == began["all"]


@pytest.mark.slow  # it starts a process with torch for the floors
def test_a_plan_says_how_many_trials_use_each_alignment():
    told = plan(FILE, load.Options(profile="laptop", sets=FEW))
    assert told.studies[0].distinct == {"align": 3}
    line = "orca/pdebench/advection_1d: 3 configurations of align, each for 2 sampled trials"
    assert line in told.notes
    told = plan(FILE, load.Options(profile="laptop", sets=FEW, trials=9))
    assert line.replace("for 2", "for 2 or 3") in told.notes
    told = plan(FILE, load.Options(profile="laptop", sets=(*FEW, "stage_store.use=false")))
    assert f"{line}, each of which computes it: `stage_store.use` is false" in told.notes
    stages = {stage.stage: stage for stage in told.studies[0].stages}
    assert stages["align"].shared == 0


FACTS = StudyFacts(
    data_source="generated",
    content_hash="a",
    weights_hash="w",
    samples={"train": 9},
    products="plain",
)


@pytest.fixture
def begun(tmp_path: Path) -> tuple[Ledger, str]:
    """The ledger of a sweep of which one study has begun, and the study's name."""
    sweep = load_sweep(FILE, catalog(), profile="laptop")
    ledger = Ledger.in_folder(tmp_path / "begun")
    study = sweep.studies[0].name
    studies.make_plans(sweep, ledger, {each.name: FACTS for each in sweep.studies})
    return ledger, study


@pytest.mark.parametrize(
    ("name", "now"), [("data_source", "official"), ("content_hash", "b"), ("weights_hash", "v")]
)
def test_a_sweep_does_not_go_on_with_other_data_or_weights(begun, name, now):
    ledger, study = begun
    facts = {each.name: FACTS for each in ledger.studies()}
    studies.check_same(ledger, facts)
    facts[study] = replace(FACTS, **{name: now})
    with pytest.raises(UsageError, match="Put the former ones back") as refused:
        studies.check_same(ledger, facts)
    _, *lines = str(refused.value).splitlines()
    assert lines == [f'  {study}.{name}: "{getattr(FACTS, name)}" -> "{now}"']


def test_what_else_is_known_of_data_may_change_and_a_new_sweep_takes_any(begun, tmp_path):
    ledger, _ = begun
    studies.check_same(
        ledger, {s.name: replace(FACTS, samples={"train": 8}) for s in ledger.studies()}
    )
    studies.check_same(Ledger.in_folder(tmp_path / "new"), {})


@pytest.mark.parametrize(
    ("values", "budget", "is_early"),
    [("[1, 2]", "{no_improvement: 2}", False), ("[1, 2, 3]", "{no_improvement: 2}", True),
     ("[1, 2]", "{}", False)],
)  # fmt: skip
def test_runner_table_and_launch_agree_on_the_early_end_of_a_grid(
    tmp_path, values, budget, *, is_early
):
    line = f"  refine.epochs: {{values: {values}}}"
    text = VALID.replace(PARAMETER, line).replace("fixed: {refine.epochs: 8}\n", "")
    text = text.replace("trials: 8", "sampler: grid, trials: 8")
    sweep = loads_sweep(f"{text}pruning: {{type: none}}\nbudget: {budget}\n", catalog())
    ledger = Ledger.in_folder(tmp_path / "study")
    resuming.match(ledger, sweep, text)
    (study,) = sweep.studies
    runner = SweepRunner(studies.make_plans(sweep, ledger, {study.name: FACTS}), ledger)
    for value in (1.0, 1.0, 2.0, 3.0):  # the preset, the control and two points
        trial = started(runner)
        measure(runner, trial, value)
    assert runner.is_done == (is_early or "3" not in values)
    reason = runner.studies[study.name].ended_early
    assert (reason is not None) == is_early
    assert read_sweep(ledger).studies[0].ended_early == reason
    assert ended_early(sweep, ledger, ledger.trials()).get(study.name) == reason


def test_a_begun_study_goes_on_with_the_defaults_that_it_began_with(tmp_path):
    """An earlier version capped gradients in the preset, and had no drop path."""
    sweep = load_sweep(FILE, catalog(), profile="paper", trials=4, sets=FEW[1:])
    ledger = Ledger.in_folder(tmp_path / "begun")
    ledger.create(record("begun", resolved=sweep.resolved))
    facts = {study.name: FACTS for study in sweep.studies}
    name = "orca/pdebench/darcy_2d"
    runner = SweepRunner(studies.make_plans(sweep, ledger, facts), ledger)
    preset = runner.studies[name].plan.leading[0][1]
    assert (preset["align.clip_norm"], preset["model.drop_path"]) == (None, 0.1)
    older = {key: value for key, value in preset.items() if key != "model.drop_path"}
    older["align.clip_norm"] = 1.0
    ledger.add_trial(Trial(study=name, number=0, kind=TrialKind.PRESET, params=older, seed=0))
    (study,) = (s for s in sweep.studies if s.name == name)
    planned = studies.as_begun(study, ledger)
    assert planned.preset == older
    assert planned.control == older | {"align.epochs": 0, "warmup.epochs": 0}
    for begun in studies.make_plans(sweep, ledger, facts):
        drawn = begun.complete({"refine.lr": 1e-4})
        was = begun.study.name == name
        assert drawn["align.clip_norm"] == (1.0 if was else None)
        assert ("model.drop_path" in drawn) == ("2d" in begun.study.name and not was)


@pytest.mark.parametrize(("kind", "steps"), [("asha", ()), ("promote", (2, 4, 8))])
def test_a_study_has_the_rungs_of_its_file_if_its_trials_pause(kind, steps):
    sets = (f"pruning={{type: {kind}, min_epochs: 2, eta: 2}}", "refine.epochs=9")
    sweep = load_sweep(FILE, catalog(), profile="laptop", sets=sets)
    assert {studies.promotion(sweep, study).rungs for study in sweep.studies} == {steps}


@pytest.mark.parametrize("kind", ["none", "asha", "promote", "median"])
def test_a_sampler_knows_whether_the_file_prunes_or_pauses(kind, tmp_path, monkeypatch):
    known = []

    def draw(*, context: Context, **options: int) -> BaseSampler:
        known.append(context.prunes)
        return factories.random(**options)

    monkeypatch.setattr(studies, "SAMPLERS", {"auto": draw})
    sets = (f"pruning.type={kind}", "search.sampler=auto", "resources={cpu: 1}")
    sweep = load_sweep(FILE, catalog(), profile="laptop", sets=sets)
    ledger = Ledger.in_folder(tmp_path / kind)
    for made in studies.make_plans(sweep, ledger, {s.name: FACTS for s in sweep.studies}):
        made.sampler.ask(2)
    assert set(known) == {kind != "none"}


def test_a_sweep_keeps_the_products_of_matrices_that_it_began_with(begun, tmp_path):
    ledger, study = begun
    here = replace(FACTS, products="onednn", products_gain=2.04)
    new, told = studies.with_begun_products(Ledger.in_folder(tmp_path / "new"), {study: here})
    assert new == {study: here}
    assert told == ["model.products: `onednn`, 2.0 times as fast here as torch's."]
    again, told = studies.with_begun_products(ledger, {study: here})
    assert again[study].products == FACTS.products == "plain"
    assert told == [
        "model.products: this machine would choose `onednn`; the sweep keeps `plain`, with which "
        "it began."
    ]
    assert studies.with_begun_products(ledger, {study: FACTS}) == ({study: FACTS}, [])


def test_a_study_keeps_the_precision_that_it_began_with(begun, tmp_path):
    ledger, study = begun
    here = replace(FACTS, precision="bf16", precision_gain=1.77)
    new, told = studies.with_begun_precision(Ledger.in_folder(tmp_path / "new"), {study: here})
    assert new == {study: here}
    assert told == [f"model.precision: `bf16` in {study}, 1.8 times as fast here as fp32."]
    again, told = studies.with_begun_precision(ledger, {study: here})
    assert (again, told) == ({study: FACTS}, [])
    ledger.set_facts(study, here)
    assert studies.with_begun_precision(ledger, {study: FACTS}) == ({study: here}, [])

"""Settings of the model: searched, published with a backbone, or set by the file."""

from pathlib import Path

import pytest

from sweeper.errors import FileFaults
from sweeper.model import Study, StudyFacts, Trial, TrialKind
from sweeper.planning.catalog import catalog
from sweeper.planning.trials import spec_of
from sweeper.render.best_file import best_file
from sweeper.results.schema import StudyResult
from sweeper.search.shared_configs import draw_shared_configs
from sweeper.spec.loader import loads_sweep
from sweeper.spec.study import levels
from sweeper.spec.sweep import Sweep
from tests.support.trials import record

TEXT = """\
name: parts
methods: [orca]
tasks: [pdebench/advection_1d, pdebench/darcy_2d]
backbones: {1d: roberta_base, 2d: swin_base}
proxies: {1d: conll2003, 2d: cifar10}
parameters:
  refine.lr: {distribution: log_uniform_values, min: 1e-6, max: 1e-3}
"""
SEARCHED = "  model.embedder_init: {values: [pretrained_copy, random]}\n"
RATES = "  model.drop_path: {values: [0.0, 0.1, 0.2]}\n"
HOME = Path("home")


def load(text: str = TEXT, *sets: str) -> Sweep:
    return loads_sweep(text, catalog(), sets=sets, profile="paper")


def rates(sweep: Sweep, params: dict | None = None) -> list[float | None]:
    """The drop path of each study's trial with the preset, or with `params`."""
    return [
        spec_of(study, {**study.preset, **(params or {})}, seed=0, home=HOME).model.drop_path
        for study in sweep.studies
    ]


def test_a_swin_starts_with_the_published_drop_path_and_what_is_none_has_none():
    sweep = load()
    assert rates(sweep) == [None, 0.1]
    assert ["model.drop_path" in study.preset for study in sweep.studies] == [False, True]
    assert ["model.drop_path" in study.control for study in sweep.studies] == [False, True]
    assert rates(load(TEXT, "backbones.2d=dinov2_small")) == [None, None]
    assert rates(load(TEXT, "backbones.2d=./swin")) == [None, None]  # a folder: not known here


def test_the_file_s_model_wins_over_what_is_published():
    for rate in (0.0, 0.3):
        sweep = load(TEXT, f"model.drop_path={rate}")
        assert rates(sweep) == [None, rate]
        assert sweep.resolved["model"]["drop_path"] == rate
        assert sweep.notes == ()
    assert rates(load(TEXT, "backbones.2d=./swin", "model.drop_path=0.3")) == [None, 0.3]
    idle = load(TEXT, "backbones.2d=dinov2_small", "model.drop_path=0.3")
    assert rates(idle) == [None, None]
    assert idle.notes == ("`model.drop_path` applies to no study: no backbone here has drop_path.",)


def test_a_sweep_that_does_not_state_it_resolves_with_null():
    assert load().resolved["model"] == {
        "embedder_init": "pretrained_copy", "head": "orca_pool", "precision": "auto",
        "compile": "off", "products": "auto", "drop_path": None,
    }  # fmt: skip
    assert load(TEXT, "model.drop_path=0").config_hash != load().config_hash


def test_each_precision_has_a_hash_of_its_own():
    stated = {p: load(TEXT, f"model.precision={p}") for p in ("auto", "fp32", "tf32", "bf16")}
    assert len({load().config_hash, *(each.config_hash for each in stated.values())}) == 4
    assert stated["auto"].resolved == load().resolved != stated["fp32"].resolved


def test_compilation_is_a_part_of_the_hash_if_there_is_any():
    plain, compiled = load(TEXT, "model.compile=off"), load(TEXT, "model.compile=inductor")
    assert plain.config_hash == load().config_hash != compiled.config_hash
    assert plain.resolved == load().resolved
    assert plain.resolved["model"]["compile"] == "off"
    assert compiled.resolved["model"]["compile"] == "inductor"
    (spec, _) = (spec_of(s, s.preset, seed=0, home=HOME) for s in compiled.studies)
    assert spec.model.compile == "inductor"
    with pytest.raises(FileFaults, match=r"`model.compile: graphs` needs a GPU, but"):
        load(TEXT, "model.compile=graphs")
    assert load(TEXT, "model.compile=graphs", "resources.gpu=0.5").notes == ()
    with pytest.raises(FileFaults, match=r"`model.products: onednn` cannot be compiled: write"):
        load(TEXT, "model.compile=inductor", "model.products=onednn")


def test_the_embedder_s_beginning_and_the_rate_may_be_searched():
    sweep = load(TEXT + SEARCHED + RATES)
    one, two = sweep.studies
    assert set(one.parameters) == {"refine.lr", "model.embedder_init"}
    assert set(two.parameters) == {"refine.lr", "model.embedder_init", "model.drop_path"}
    assert two.preset["model.embedder_init"] == "pretrained_copy"
    assert two.preset["model.drop_path"] == 0.1
    params = two.complete_params({"model.embedder_init": "random", "model.drop_path": 0.2})
    model = spec_of(two, params, seed=0, home=HOME).model
    assert (model.embedder_init, model.drop_path, model.head) == ("random", 0.2, "orca_pool")
    fixed = load(TEXT + SEARCHED, "model.embedder_init=random").studies[0]
    assert fixed.preset["model.embedder_init"] == "random"  # where the search starts
    assert loads_sweep(sweep.resolved, catalog()).resolved == sweep.resolved


@pytest.mark.parametrize(
    ("sets", "message"),
    [
        ("fixed.model.embedder_init=random", "write it under `model`"),
        ("parameters.model.embedder_init=random", "has one value; write it under `model`"),
        (
            "parameters.model.embedder_init={values: [copy, random]}",
            "'pretrained_copy' or 'random'",
        ),
        ("parameters.model.drop_path={min: 0.0, max: 1.0}", "must be less than 1, but got 1"),
        ("parameters.model.drop_path={values: [null, 0.1]}", "must have a value, but got null"),
        ("parameters.model.head={values: [orca_pool, linear]}", "unknown parameter `model.head`"),
        ("model.drop_path=1", "`model.drop_path` must be less than 1"),
        ("model.drop_path=-0.1", "`model.drop_path` must be greater than or equal to 0"),
    ],
)
def test_what_cannot_be_searched_or_is_out_of_range_is_a_fault(sets, message):
    with pytest.raises(FileFaults) as refused:
        load(TEXT, sets)
    assert message in str(refused.value)


def test_shared_stages_are_drawn_with_the_model_that_they_are_trained_in():
    text = TEXT + SEARCHED + "  align.lr: {min: 0.001, max: 0.01}\nstages: {align: {distinct: 6}}\n"
    sweep = load(text)
    study = sweep.studies[0]
    (level,) = levels(study)
    assert set(level.parameters) == {"align.lr", "model.embedder_init"}
    drawn = draw_shared_configs(
        study, seed=0, complete=lambda p: study.complete_params(p), trial_seed=lambda k: k
    )
    inits = {prefix.settings["model.embedder_init"] for prefix in drawn.configs}
    assert inits == {"pretrained_copy", "random"}
    params = study.complete_params(drawn.configs[0].params)
    other = {**params, "model.embedder_init": "another"}
    assert drawn.key(params, 0) != drawn.key(other, 0)


def test_the_winner_s_file_has_its_model(tmp_path):
    sweep = load(TEXT + SEARCHED)
    plan = sweep.studies[1]
    params = plan.complete_params({"model.embedder_init": "random"})
    trial = Trial(study=plan.name, number=3, kind=TrialKind.SAMPLED, params=params, seed=0, value=1)
    study = Study(name=plan.name, method="orca", task=plan.task, objective="val/nrmse", seed=0)
    facts = StudyFacts(dimension="2d", kind="dense")
    of = record("parts", resolved=sweep.resolved)
    table = StudyResult(record=of, study=study, facts=facts, trials=())
    again = load(best_file(table, trial))
    (winner,) = again.studies
    before, after = (
        spec_of(p, {**p.preset, **given}, seed=0, home=HOME)
        for p, given in ((plan, params), (winner, {}))
    )
    assert before == after
    assert after.model.embedder_init == "random"
    assert after.model.drop_path == 0.1

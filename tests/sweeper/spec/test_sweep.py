"""From a file to studies, and from a suggestion to the complete settings of a trial."""

from dataclasses import replace
from typing import Any

import pytest

from sweeper.errors import FileFaults
from sweeper.spec.distributions import Choice, Float
from sweeper.spec.loader import loads_sweep
from sweeper.spec.parameters import refusal
from sweeper.spec.study import InfeasibleParams
from sweeper.spec.sweep import Sweep
from tests.support import sweep_files
from tests.support.sweep_files import CATALOG, read_again
from trainables.methods.pare.config import ReplaceConfig

TEXT = """\
name: all
experiment: bench
methods: [orca, pare]
tasks: [pdebench/advection_1d, nasbench360/cifar100, pdebench/darcy_2d]
backbones: {1d: minilm, 2d: {name: dinov2_small, layers: 3}}
proxies: {1d: python_source, 2d: digits, 2d_dense: cifar10}
parameters:
  align.distance: {values: [otdd_exact, mmd]}
  align.kernels: {min: 1, max: 4, when: {align.distance: mmd}}
  align.entropy: {min: 0.1, max: 1.0, when: {align.distance: [otdd_exact, otdd_gaussian]}}
  refine.lr: {distribution: log_uniform_values, min: 1e-6, max: 1e-3}
  replace.k0: {min: 4, max: 40}
  replace.epochs: {values: [10, 50]}
fixed: {refine.batch_size: 2, replace.k_end: 3, replace.decay_epochs: null}
search: {trials: 9, seed: 3}
pruning: {min_epochs: 2}
"""


def load(text: str = TEXT, **options: Any) -> Sweep:
    return sweep_files.load(text, **options)


def test_studies_are_methods_times_tasks() -> None:
    names = [study.name for study in load().studies]
    assert names == [
        f"{method}/{task}"
        for method in ("orca", "pare")
        for task in ("pdebench/advection_1d", "nasbench360/cifar100", "pdebench/darcy_2d")
    ]


def test_a_study_has_what_applies_to_its_method_and_task() -> None:
    orca = load().study("orca", "pdebench/advection_1d")
    assert list(orca.parameters) == [
        "align.distance", "refine.lr", "align.kernels", "align.entropy",
    ]  # fmt: skip
    assert orca.objective == "val/nrmse"
    assert orca.backbone["name"] == "minilm"
    assert orca.num_trials == 9
    pare = load().study("pare", "nasbench360/cifar100")
    assert list(pare.parameters) == ["replace.k0", "replace.epochs"]
    assert pare.objective == "val/zero_one_error"
    assert pare.backbone["layers"] == 3


def test_dense_targets_may_have_a_source_of_their_own() -> None:
    proxies = [load().study("orca", task).proxy for task in load().tasks]
    assert proxies == ["python_source", "digits", "cifar10"]


def test_settings_come_in_order_default_recipe_preset_fixed_sampled() -> None:
    sweep = load()
    study = sweep.study("orca", "pdebench/advection_1d")
    stages = study.resolve_params({"refine.lr": 5e-4})
    assert stages["align"]["distance"] == "otdd_exact"  # the config's default
    assert stages["refine"]["optimizer"] == "adam"  # the task's recipe
    assert stages["align"]["epochs"] == 20  # the method's preset
    assert stages["refine"]["weight_decay"] == 0.25  # the preset, over the recipe
    assert stages["refine"]["batch_size"] == 2  # the file
    assert stages["refine"]["lr"] == 5e-4  # the trial


def test_the_recipe_is_for_the_stage_that_reports_the_objective() -> None:
    study = load().study("pare", "pdebench/darcy_2d")
    assert study.preset["replace.optimizer"] == "adam"
    assert study.preset["replace.epochs"] == 100


def test_null_in_the_file_is_a_value() -> None:
    assert load().study("pare", "pdebench/darcy_2d").preset["replace.decay_epochs"] is None


def test_a_list_is_the_value_of_a_setting_that_has_several() -> None:
    assert load().study("orca", "pdebench/darcy_2d").preset["align.steps"] == [20, 40]
    sweep = load(sets=["align.steps=[5, 10]"])
    study = sweep.study("orca", "pdebench/darcy_2d")
    assert study.preset["align.steps"] == study.control["align.steps"] == [5, 10]
    read_again(sweep)
    for wrong in ("5", "[5, soon]"):
        with pytest.raises(FileFaults, match=r"`fixed\.align\.steps` must be a valid"):
            load(sets=[f"align.steps={wrong}"])


@pytest.mark.parametrize("value", [1, 1.0, 0.5])
def test_what_may_be_a_count_or_a_share_stays_what_was_written(value: float) -> None:
    sweep = load(sets=[f"replace.k0={value}", "replace.k_end=0"])
    for again in (sweep, read_again(sweep)):
        k0 = again.study("pare", "pdebench/darcy_2d").preset["replace.k0"]
        assert (k0, type(k0)) == (value, type(value))


def test_a_range_of_shares_ends_at_all_of_them() -> None:
    drawn = "parameters.replace.k0={min: 0.5, max: 1.0}"
    study = load(sets=[drawn]).study("pare", "pdebench/darcy_2d")
    assert study.parameters["replace.k0"] == Float(low=0.5, high=1.0)
    refused = refusal(ReplaceConfig, "k0", 1.5)
    assert refused == "must be a share up to 1.0, or an integer, as in 2"


def test_the_control_is_the_preset_without_what_the_method_adds() -> None:
    sweep = load()
    for study in sweep.studies:
        changed = {k for k in study.preset if study.preset[k] != study.control[k]}
        assert changed == set(CATALOG.methods[study.method].control)
        preset, control = (study.resolve_params(p) for p in (study.preset, study.control))
        assert preset.get("refine") == control.get("refine")


def test_complete_params_name_every_hyperparameter_and_resolve_to_themselves() -> None:
    sweep = load()
    study = sweep.study("orca", "pdebench/advection_1d")
    complete = study.complete_params({"refine.lr": 5e-4})
    assert complete.keys() == study.preset.keys()
    assert complete["proxy"] == "python_source"
    assert study.resolve_params(complete) == study.resolve_params({"refine.lr": 5e-4})


def test_settings_that_contradict_each_other_are_infeasible() -> None:
    sweep = load(TEXT.replace("replace.k_end: 3, ", ""))
    study = sweep.study("pare", "pdebench/darcy_2d")
    with pytest.raises(InfeasibleParams, match="k_end 5 is over k0 4"):
        study.resolve_params({"replace.k0": 4, "replace.k_end": 5})


def test_epochs_are_the_most_that_a_trial_may_take() -> None:
    sweep = load()
    assert sweep.study("orca", "pdebench/advection_1d").stage_epochs == {"align": 20, "refine": 200}
    assert sweep.study("pare", "pdebench/darcy_2d").stage_epochs == {"replace": 100}


def test_a_method_may_hold_the_pruner_back() -> None:
    sweep = load()
    assert sweep.study("orca", "pdebench/darcy_2d").min_epochs == 2
    assert sweep.study("pare", "pdebench/darcy_2d").min_epochs == 30  # 0.3 of 100 epochs


def test_an_option_sets_null_where_no_file_fixes_the_parameter() -> None:
    unset = load(sets=["replace.clip_norm=null"]).study("pare", "pdebench/darcy_2d")
    assert "replace.clip_norm" in unset.fixed
    assert unset.preset["replace.clip_norm"] is None
    with pytest.raises(FileFaults, match=r"`fixed\.refine\.weight_decay` must be"):
        load(sets=["refine.weight_decay=null"])


def test_a_fixed_parent_decides_the_conditions_on_it() -> None:
    sweep = load(sets=["align.distance=mmd"])
    study = sweep.study("orca", "pdebench/advection_1d")
    assert list(study.parameters) == ["align.kernels", "refine.lr"]
    assert study.parameters["align.kernels"].when == {}
    assert "`parameters.align.entropy` applies to no study" in " ".join(sweep.notes)


def test_a_proxy_can_be_searched_each_task_among_its_own() -> None:
    sweep = load(
        TEXT.replace(
            "parameters:\n", "parameters:\n  proxy: {values: [conll2003, digits, python_source]}\n"
        )
    )
    study = sweep.study("orca", "pdebench/advection_1d")
    assert study.parameters["proxy"] == Choice(values=("conll2003", "python_source"))
    assert study.proxies == ("python_source", "conll2003")
    assert study.proxy_of({"proxy": "conll2003"}) == "conll2003"
    assert study.complete_params({"proxy": "conll2003"})["proxy"] == "conll2003"
    assert "proxy" not in sweep.study("orca", "pdebench/darcy_2d").parameters


def test_resolved_is_plain_and_makes_the_same_sweep_again() -> None:
    text = (
        TEXT + "budget: {wall: 1h30m}\nresources: {memory: 1.5GiB}\nfailures: {max_attempts: 2}\n"
    )
    for sets in ([], ["align.distance=mmd"], ["parameters.refine.lr={values: [0.1]}"]):
        sweep = load(text, sets=sets)
        read_again(sweep)
        assert loads_sweep(sweep.resolved, CATALOG, profile="laptop").profile == "laptop"


def test_the_hash_names_everything_but_the_number_of_trials() -> None:
    name = load().config_hash
    assert load(trials=50).config_hash == name
    assert (
        load("# a comment\n" + TEXT.replace("[orca, pare]", "\n  - orca\n  - pare")).config_hash
        == name
    )
    for other in ("refine.lr=0.1", "search.seed=4", "data.seed=1", "backbones.2d.layers=2"):
        assert load(sets=[other]).config_hash != name


def test_the_resolved_form_has_each_default_and_the_hash_covers_it() -> None:
    plain = load()
    assert plain.resolved["resources"]["env"] == []
    assert plain.resolved["model"]["drop_path"] is None
    assert load(sets=["model.drop_path=null"]).config_hash == plain.config_hash
    assert load(sets=["model.precision=fp32"]).config_hash != plain.config_hash
    asked = load(sets=["resources.env=[WANDB_API_KEY]"])
    assert asked.resolved["resources"]["env"] == ["WANDB_API_KEY"]
    assert asked.config_hash != plain.config_hash


def test_the_epochs_between_checkpoints_change_no_hash_and_may_change_later() -> None:
    plain = load()
    assert plain.resolved["checkpoints"]["every"] == 1
    sparse = load(sets=["checkpoints.every=5"])
    assert sparse.checkpoints.every == sparse.resolved["checkpoints"]["every"] == 5
    assert read_again(sparse).config_hash == plain.config_hash


def test_fewer_epochs_from_the_command_line_than_pruning_wants_is_a_note() -> None:
    text = TEXT.replace("min_epochs: 2", "min_epochs: 5").replace(
        "refine.batch_size: 2", "refine.batch_size: 2, refine.epochs: 9"
    )
    sweep = load(text, sets=["refine.epochs=1"])
    assert "no trial is ever pruned" in " ".join(sweep.notes)


def test_preset_and_control_alone_need_nothing_to_search() -> None:
    text = TEXT[: TEXT.index("parameters:")] + "parameters: {}\nsearch: {trials: 2}\n"
    assert all(not study.parameters for study in load(text).studies)


@pytest.mark.parametrize("dimension", ["1d", "2d"])
def test_source_data_may_be_chosen_for_regressions(dimension: str) -> None:
    name, general, special = {
        "1d": ("pdebench/advection_1d", "python_source", "conll2003"),
        "2d": ("pdebench/darcy_2d", "digits", "cifar10"),
    }[dimension]
    tasks = {**CATALOG.tasks, name: replace(CATALOG.tasks[name], kind="regression")}
    proxies = f"proxies: {{1d: python_source, 2d: digits, {dimension}_regression: {special}}}"
    lines = [proxies if line.startswith("proxies") else line for line in TEXT.splitlines()]
    sweep = loads_sweep("\n".join(lines), replace(CATALOG, tasks=tasks))
    assert sweep.study("orca", name).proxy == special
    plain = loads_sweep("\n".join(lines), CATALOG)
    assert plain.study("orca", name).proxy == general

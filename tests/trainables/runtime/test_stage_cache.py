"""Any change of any input changes a stage's key, and nothing else does."""

import shutil
import warnings
from dataclasses import replace
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from tests.support.tiny_trials import Trials
from trainables.code_hash import closure
from trainables.methods.orca.config import AlignConfig
from trainables.methods.registry import METHODS
from trainables.models.products import has_onednn
from trainables.runtime.stage_cache import root_key, stage_key, stage_keys
from trainables.runtime.training import Training


def key(trials: Trials, **changes: Any) -> str:
    """The key of the alignment of a small trial, with parts of its spec replaced."""
    settings = changes.pop("settings", {})
    spec = trials.spec("orca", "1d", settings, seed=changes.pop("seed", 0))
    plain = spec.model_dump(mode="json", by_alias=True)
    for name, value in changes.items():
        plain[name] = {**plain[name], **value} if isinstance(value, dict) else value
    spec = type(spec).model_validate(plain)
    training = Training.begin(spec, trials.parts)
    backbone = trials.parts.backbone(spec.backbone, spec.home)
    root = root_key(spec, {}, backbone, training.domains, torch.device("cpu"))
    return stage_keys(training.stages, root)["align"]


CHANGES: dict[str, dict[str, Any]] = {
    "seed": {"seed": 1},
    "halvings": {"halvings": 1},
    "precision": {"model": {"precision": "bf16"}},
    "tf32": {"model": {"precision": "tf32"}},
    "compile": {"model": {"compile": "inductor"}},
    "head": {"model": {"head": "orca_pool"}},
    "embedder_init": {"model": {"embedder_init": "random"}},
    "tokens": {"backbone": {"tokens": 4}},
    "random weights": {"backbone": {"name": "minilm", "weights": "random", "layers": 1}},
    "proxy": {"proxy": "language_examples"},
    "task": {"task": "pdebench/advection_1d"},
    "data.samples": {"data": {"samples": 12}},
    "data.seed": {"data": {"seed": 1}},
    "resolution": {"data": {"resolution": 16}},
    **({"products": {"model": {"products": "onednn"}}} if has_onednn() else {}),
}


@pytest.mark.slow
@pytest.mark.parametrize("change", CHANGES)
def test_each_input_of_a_trial_changes_it(trials, change):
    from trainables.sources.registry import PROXIES

    changes = dict(CHANGES[change])
    if change == "proxy":
        others = [n for n, p in PROXIES.items() if p.dimension == "1d" and n != "python_source"]
        others = [n for n in others if not p_needs_files(n, trials)]
        if not others:
            pytest.skip("no second 1d proxy is packaged")
        changes = {"proxy": others[0]}
    assert key(trials, **changes) != key(trials)


def p_needs_files(name: str, trials: Trials) -> bool:
    from trainables.sources.registry import proxy_faults

    return bool(proxy_faults(name, trials.home))


def test_it_is_the_same_for_the_same_trial(trials):
    assert key(trials) == key(trials)


def test_later_stages_do_not_change_it(trials):
    assert key(trials, settings={"refine.lr": 0.5, "warmup.lr": 0.5}) == key(trials)


@pytest.mark.slow
def test_where_weights_and_caches_lie_does_not_change_it(trials, tmp_path):
    shutil.copytree(trials.home / "roberta", tmp_path / "elsewhere")
    assert key(trials, backbone={"name": str(tmp_path / "elsewhere")}) == key(trials)


@pytest.mark.slow
def test_other_weights_change_it(trials, tmp_path):
    from tests.support.tiny_backbones import save_tiny_roberta

    save_tiny_roberta(tmp_path / "other", layers=2)
    assert key(trials, backbone={"name": str(tmp_path / "other")}) != key(trials)


@pytest.mark.parametrize("change", [{"loss": "rmse"}, {"kind": "multilabel"}, {"mask": "ignored"}])
def test_what_is_trained_on_besides_the_data_changes_it(trials, change):
    spec = trials.spec("orca", "1d")
    backbone, domains = trials.parts.backbone(spec.backbone, spec.home), trials.begin(spec).domains
    info = replace(domains.target.info, **change)
    other = replace(domains, target=replace(domains.target, info=info))
    cpu = torch.device("cpu")
    assert root_key(spec, {}, backbone, other, cpu) != root_key(spec, {}, backbone, domains, cpu)


def test_what_a_cpu_can_do_changes_it(trials, monkeypatch):
    before = key(trials)
    monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: "another")
    assert key(trials) != before


def test_threads_change_it(trials):
    before, threads = key(trials), torch.get_num_threads()
    try:
        torch.set_num_threads(threads + 1)
        assert key(trials) != before
    finally:
        torch.set_num_threads(threads)


VALUES = {
    "epochs": st.integers(1, 1000),
    "distance": st.sampled_from(["otdd_exact", "otdd_gaussian", "mmd", "euclidean", "none"]),
    "lr": st.floats(1e-6, 1.0),
    "lr_steps": st.lists(st.integers(0, 99), max_size=3).map(tuple),
    "clip_norm": st.none() | st.floats(0.1, 10),
    "label_weight": st.floats(0, 10),
    "mmd_unbiased": st.booleans(),
}
settings = st.fixed_dictionaries({}, optional=VALUES)


@given(settings, settings, st.sampled_from(["a", "b"]), st.sampled_from(["a", "b"]))
def test_two_configs_have_one_key_exactly_if_they_are_equal(one, other, before, after):
    first, second = AlignConfig(**one), AlignConfig(**other)
    same = first == second and before == after
    assert (stage_key("align", first, before) == stage_key("align", second, after)) == same


@pytest.mark.slow
def test_every_hyperparameter_of_every_stage_is_in_it():
    for method in METHODS.values():
        for name, config_type in method.stages.items():
            plain = config_type().model_copy(update={"epochs": 1})
            for field in config_type.model_fields:
                if field != "epochs":
                    changed = plain.model_copy(update={field: "another value"})
                    with warnings.catch_warnings():
                        warnings.simplefilter("ignore")  # that it is of another type
                        other = stage_key(name, changed, "upstream")
                    assert other != stage_key(name, plain, "upstream"), (method.name, field)


def test_a_stage_without_epochs_has_the_key_of_what_it_goes_on_from():
    assert stage_key("align", AlignConfig(epochs=0, lr=0.5), "upstream") == "upstream"


def test_the_stage_that_runs_and_the_mathematics_it_uses_are_in_its_code():
    found = set(closure([AlignConfig.implementation.partition(":")[0]]))
    assert {
        "trainables.distances.otdd",
        "trainables.distances.sinkhorn",
        "trainables.training.optim",
        "trainables.seeding",
    } <= found
    assert "trainables.methods.registry" not in found
    assert not any(name.endswith(".method") for name in found)

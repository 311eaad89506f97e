"""The contract of every method on a GPU, which is simulated (`tests/support/simulated_cuda`).

Real values flow through all code in a process of its own, where tensors of two devices do not mix.
"""

import json
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.support.command import ROOT
from tests.support.settings import OTHERS, RECORDED, SETTINGS, of_each_stage
from tests.support.simulated_cuda.hooks import compile_hooks
from tests.support.tiny_trials import DIMENSIONS, LEARNING
from trainables.distances.registry import OWN
from trainables.methods.registry import METHODS

COMPILER = shutil.which("c++") or shutil.which("g++")
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(COMPILER is None, reason="no C++ compiler to build the simulated GPU with"),
    pytest.mark.skipif(torch.version.cuda is not None, reason="this torch has CUDA of its own"),
]

Case = tuple[str, dict[str, Any]]  # a function of `runs.py`, and its arguments
Run = Callable[[list[Case]], list[dict[str, Any]]]
SHARING = [name for name, method in METHODS.items() if len(method.stages) > 1]


@pytest.fixture(scope="module")
def library(tmp_path_factory) -> Path:
    assert COMPILER is not None
    path = tmp_path_factory.mktemp("hooks") / "hooks.so"
    compile_hooks(COMPILER, path)
    return path


@pytest.fixture
def run(library, tmp_path) -> Run:
    """Run cases in one process, and fail with the traceback of each that fails."""

    def run(cases: list[Case]) -> list[dict[str, Any]]:
        (tmp_path / "cases.json").write_text(json.dumps(cases))
        command = [sys.executable, "-m", "tests.support.simulated_cuda", library, tmp_path]
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
        lines = (tmp_path / "results.jsonl").read_text().splitlines()
        found = [json.loads(line) for line in lines]
        failed = [f"{c}\n{f['error']}" for c, f in zip(cases, found, strict=False) if f["error"]]
        assert not failed, "\n\n".join(failed)
        assert done.returncode == 0, done.stderr
        print(f"{len(found)} cases on the simulated GPU, {sum(f['seconds'] for f in found):.0f} s")
        return found

    return run


def every_trial(**settings: Any) -> Iterator[dict[str, Any]]:
    """Yield the arguments of a trial of each method in each dimension."""
    for method in LEARNING:
        for dimension in DIMENSIONS:
            yield {"method": method, "dimension": dimension,
                   "settings": of_each_stage(method, **settings)}  # fmt: skip


def test_every_method_trains_on_a_gpu_saves_and_goes_on(run):
    trials = [("whole", each) for each in every_trial(epochs=1, k0=0.5)]
    tokens = of_each_stage("contrastive_pare", noise_space="tokens")
    resumed = [
        ("resumed", {"method": "mona", "dimension": "1d"}),
        ("resumed", {"method": "contrastive_pare", "dimension": "1d", "settings": tokens}),
    ]
    steps = [("whole", {"method": method, "dimension": "1d",
                        "settings": of_each_stage(method, epochs=1, k0=0.5) | settings})
             for method, pair in STEPS for settings in pair]  # fmt: skip
    chosen = ("chosen_precision", {"method": "nft", "dimension": "1d"})
    found = run([("refusals", {}), ("noise", {}), *trials, *resumed, chosen, *steps])[-len(steps) :]
    # Twice the steps and more of the same epochs: whatever waits in a step waits more often.
    for (method, _), few, many in zip(STEPS, found[::2], found[1::2], strict=True):
        assert few["kernels"] < many["kernels"]
        assert few["waits"] == many["waits"], f"{method}: a step waits for the GPU"
        assert few["to_device"] == many["to_device"], f"{method}: a step copies, and waits"


def test_data_that_do_not_fit_on_a_gpu_are_read_a_batch_ahead(run):
    found = run([
        ("whole", {"method": method, "dimension": dimension, "fits": fits,
                   "settings": of_each_stage(method, epochs=1, k0=0.5, batch_size=batch_size)})
        for method, dimension in (("mona", "1d"), ("pare", "2d"))
        for fits, batch_size in ((True, 2), (False, 2), (False, 8))
    ])  # fmt: skip
    for kept, staged, few in zip(found[::3], found[1::3], found[2::3], strict=True):
        assert kept["reports"] == staged["reports"]
        assert sum(kept["page_locked"].values()) < sum(staged["page_locked"].values())
        assert staged["to_device"] == few["to_device"], "a step copies, and waits"


SGD = {"refine.optimizer": "sgd", "refine.clip_norm": 1.0}
EXACT = {"meta.meta_grad": "exact"}
WHOLE = {"search.share": 1.0}
SOURCE = {"contrast.include_source": True, "contrast.form": "supcon_out"}
STEPS = [  # a method, and the settings of trials with few and with many steps in one stage
    ("nft", ({"refine.batch_size": 8}, {"refine.batch_size": 1})),
    ("nft", ({"refine.batch_size": 8, **SGD}, {"refine.batch_size": 1, **SGD})),
    ("pare", ({"replace.batch_size": 8}, {"replace.batch_size": 1})),
    ("mixup", ({"mix.batch_size": 8}, {"mix.batch_size": 1})),
    ("cutmix", ({"mix.batch_size": 8}, {"mix.batch_size": 1})),
    ("mona", ({"meta.batch_size": 8}, {"meta.batch_size": 1})),
    ("mona", ({"meta.batch_size": 8, **EXACT}, {"meta.batch_size": 1, **EXACT})),
    ("contrastive_pare", ({"contrast.per_class": 4}, {"contrast.classes": 2})),
    ("dash", ({"search.share": 0.5, "search.batch_size": 1}, {"search.batch_size": 1, **WHOLE})),
    ("dash", ({"train.batch_size": 8}, {"train.batch_size": 1})),
    ("contrastive_pare", ({"contrast.per_class": 4, **SOURCE}, {"contrast.classes": 2, **SOURCE})),
]


def of_setting(setting: str) -> Mapping[str, Any]:
    stage, _, name = setting.partition(".")
    if name in RECORDED:
        return {f"{stage}.{key}": value for key, value in RECORDED[name][0].items()}
    value, beside = OTHERS[setting]
    return {setting: value, **beside}


@pytest.mark.soak
@pytest.mark.timeout(3600)
def test_every_setting_runs_on_a_gpu(run):
    cases = [
        ("whole", {"method": method, "dimension": DIMENSIONS[i % 2],
                   "settings": of_setting(setting)})
        for i, (method, setting) in enumerate(SETTINGS)
    ]  # fmt: skip
    scorers = ("gate", "gate_mlp", "attn_received", "attn_window", "attn_query")
    distances = (*OWN, "none")
    forms = ("exp", "supcon_out", "align_uniform", "affine")
    choices = [
        *(("pare", {"replace.k0": 0.5, "replace.scorer": value}) for value in scorers),
        *(("orca", {"align.distance": d, "align.class_mode": mode})
          for d in distances for mode in ("per_class", "joint")),
        *(("contrastive_pare", {"contrast.form": form, "contrast.noise_space": space})
          for form in forms for space in ("input", "tokens")),
        *(("mona", {"meta.inner_params": value, "meta.meta_grad": mode})
          for value in ("all", "attention", "layernorm") for mode in ("fd", "exact")),
        *(("nft", {"refine.finetune": value})
          for value in ("all", "layernorm", "non_attn", "wv", "lora")),
    ]  # fmt: skip
    run(cases + [
        ("whole", {"method": method, "dimension": dimension, "settings": settings})
        for method, settings in choices for dimension in DIMENSIONS
    ])  # fmt: skip


@pytest.mark.soak
@pytest.mark.timeout(3600)
def test_values_on_a_gpu_are_those_on_the_cpu_and_bf16_runs(run):
    plain = [("whole", {**each, "also_on_cpu": True}) for each in every_trial(k0=0.5)]
    bf16 = [("whole", {**each, "precision": "bf16"}) for each in every_trial(k0=0.5)]
    for found in run(plain + bf16)[: len(plain)]:
        for ours, theirs in zip(found["reports"], found["on_cpu"], strict=True):
            assert ours["metrics"] == pytest.approx(theirs["metrics"], rel=0.02, abs=1e-4)


@pytest.mark.soak
@pytest.mark.timeout(3600)
def test_every_trial_goes_on_from_its_checkpoint_and_shares_its_stages(run):
    sgd = [
        {"method": method, "dimension": "1d", "settings": of_each_stage(method, optimizer="sgd")}
        for method in LEARNING
    ]
    resumed = [("resumed", each) for each in [*every_trial(), *sgd]]
    shared = [("shared", each) for each in every_trial() if each["method"] in SHARING]
    run(resumed + shared)


@pytest.mark.soak
@pytest.mark.timeout(3600)
def test_diagnostics_metrics_and_losses_are_computed(run):
    diagnosed = [("diagnosed", {"method": "pare", "dimension": each}) for each in DIMENSIONS]
    run([("metrics", {}), *diagnosed])


MEMOISED = 2**22  # bytes of source statistics, which a process keeps


@pytest.mark.soak
@pytest.mark.timeout(3600)
def test_after_an_out_of_memory_error_in_any_stage_nothing_stays_on_the_card(run):
    cases = []
    for method in ("orca", "mona", "pare", "contrastive_pare", "mixup", "cutmix"):
        stages = list(METHODS[method].stages)
        for index, stage in enumerate(stages):
            skipped = {f"{earlier}.epochs": 0 for earlier in stages[:index]}
            small = {**of_each_stage(method, batch_size=1, update_mode="minibatch"), **skipped}
            cases.append(("out_of_memory", {"method": method, "dimension": "1d",
                                            "stage": stage, "settings": small}))  # fmt: skip
    for found in run(cases):
        assert found["failure"] == "cuda_oom"
        assert found["held_bytes"] <= MEMOISED

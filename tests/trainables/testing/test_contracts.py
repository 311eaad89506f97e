"""The contracts for methods and benchmarks hold for ours, and catch what would break a sweep."""

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
import pytest
from pydantic import Field

from trainables.methods.method import Method
from trainables.methods.nft import NFT
from trainables.methods.registry import METHODS
from trainables.report import Report
from trainables.stages.configs import RefineConfig
from trainables.stages.stage import Stage, StageConfig
from trainables.tasks.benchmark import Benchmark
from trainables.tasks.problem import GeneratedSamples, Problem, Problems
from trainables.tasks.registry import BUILT_IN
from trainables.tasks.task import TaskInfo
from trainables.testing import check_benchmark, check_method

pytestmark = pytest.mark.slow  # each trains

INFO = TaskInfo(
    name="made/up", title="", dimension="1d", kind="dense", metric="nrmse", loss="nrmse",
    samples=100, resolution=32, channels=(1, 1), protocol="made up",
)  # fmt: skip


class EarlyConfig(StageConfig):
    implementation = f"{__name__}:Sound"
    epochs: int = Field(2, ge=0, description="Passes.")


class Sound(Stage[EarlyConfig]):
    loss = 1.0

    def run(self, state, domains) -> Iterator[Report]:
        for epoch in range(state.epoch, self.config.epochs):
            state.epoch = epoch + 1
            yield Report(
                stage=self.name, epoch=epoch + 1, num_epochs=2, metrics={"early/loss": self.loss}
            )


class NotFinite(Sound):
    loss = float("nan")


class StartsAnew(Sound):
    def run(self, state, domains) -> Iterator[Report]:
        state.epoch = 0
        return super().run(state, domains)


class Remembers(Sound):
    calls = 0

    def run(self, state, domains) -> Iterator[Report]:
        type(self).calls += 1
        for report in super().run(state, domains):
            yield replace(report, metrics={"early/loss": float(self.calls)})


def method(stage: type[Stage], **changes) -> Method:
    config = type("Config", (EarlyConfig,), {"build": lambda self, name: stage(name, self)})
    plain = {
        "name": "made_up",
        "title": "",
        "citation": "",
        "stages": {"early": config, "refine": RefineConfig},
        "control": {"early.epochs": 0},
    }
    return Method(**{**plain, **changes})


def test_a_sound_method_keeps_the_contract_and_need_not_be_installed(tmp_path):
    reports = check_method(method(Sound), tmp_path)
    assert [report.stage for report in reports] == ["early", "early", "refine", "refine"]
    assert "made_up" not in METHODS


@pytest.mark.parametrize(
    ("broken", "fault"),
    [
        (method(NotFinite), "not finite"),
        (method(StartsAnew), "resumed after early, epoch 1: other reports"),
        (method(Remembers), "a second run: other reports"),
        (method(Sound, control={"early.lr": 0}), "its control sets"),
        (method(Sound, stages={"early": EarlyConfig}), "the last stage alone reports"),
    ],
)
def test_a_broken_method_is_caught(tmp_path, broken, fault):
    with pytest.raises(AssertionError, match=fault):
        check_method(broken, tmp_path)


def test_built_in_methods_keep_it(tmp_path):
    assert check_method(NFT, tmp_path)[-1].is_final
    check_method(METHODS["orca"], tmp_path)


@dataclass(frozen=True)
class Drawn(Problem):
    """Samples of noise; the fault is what the name says."""

    fault: str = ""

    def grid(self, resolution):
        return (resolution,)

    def generate(self, indices, *, seed, resolution):
        shared = np.random.default_rng(seed)
        rngs = [np.random.default_rng((seed, int(i))) for i in indices]
        if self.fault == "order":
            rngs = [shared] * len(indices)
        if self.fault == "seed":
            rngs = [np.random.default_rng(int(i)) for i in indices]
        channels = 2 if self.fault == "shape" else 1
        x = np.stack([rng.normal(size=(channels, resolution)) for rng in rngs]).astype(np.float32)
        y = x * np.nan if self.fault == "nan" else 2 * x
        return GeneratedSamples(x=x, y=y, params={})


def benchmark(fault: str = "", **changes) -> Benchmark:
    problem = Drawn(fault=fault)
    return Benchmark(
        name="made",
        tasks=(replace(INFO, **changes),),
        problems=lambda info: Problems(train=problem, scored=problem),
    )


def test_a_sound_benchmark_keeps_the_contract(tmp_path):
    check_benchmark(benchmark(), tmp_path)
    assert "made" not in BUILT_IN


@pytest.mark.parametrize(
    ("broken", "fault"),
    [
        (benchmark("order"), "depends on the samples beside it"),
        (benchmark("seed"), "the seed changes nothing"),
        (benchmark("shape"), r"x is \(4, 2, 32\) instead of \(4, 1, 32\)"),
        (benchmark("nan"), "y is not finite"),
        (benchmark(metric="none"), "its metric `none` is unknown"),
        (benchmark(loss="none"), "its loss `none` is unknown"),
        (Benchmark(name="made", tasks=(INFO,)), "neither a publication nor a generator"),
    ],
)
def test_a_broken_benchmark_is_caught(tmp_path, broken, fault):
    with pytest.raises(AssertionError, match=fault):
        check_benchmark(broken, tmp_path)

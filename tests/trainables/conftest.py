"""A trial small enough for a stage to take a fraction of a second: tiny RoBERTa, 12 samples."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from tests.support.shapes import task_of
from tests.support.tiny_backbones import VOCABULARY, save_tiny_roberta
from tests.support.tiny_trials import Trials, make_trials
from trainables.models.backbone import Backbone
from trainables.models.backbones.loading import load_backbone
from trainables.models.cross_modal import build_model
from trainables.sources.source import Domains, Source
from trainables.spec import BackboneSpec, ModelSpec
from trainables.tasks.store.split import Split
from trainables.tasks.task import Task
from trainables.training.state import TrainState

POINTS = 16
MakeState = Callable[..., TrainState]


def waves(n: int, *, seed: int) -> Split:
    """Sines of random phase, and the same a quarter of a period on."""
    phase = np.random.default_rng(seed).uniform(0, 2 * np.pi, size=(n, 1, 1))
    t = np.linspace(0, 2 * np.pi, POINTS, endpoint=False)[None, None, :]
    return Split(x=np.sin(t + phase).astype(np.float32), y=np.cos(t + phase).astype(np.float32))


@pytest.fixture(scope="session")
def task() -> Task:
    train = waves(10, seed=0)
    made = task_of(train.x, train.y, name="tiny/waves_1d", title="Waves")
    return replace(made, val=waves(5, seed=1), test=waves(5, seed=2))


@pytest.fixture(scope="module")
def trials(tmp_path_factory: pytest.TempPathFactory) -> Trials:
    """Trials of whole methods with tiny backbones."""
    return make_trials(tmp_path_factory.mktemp("trials"))


@pytest.fixture(scope="session")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("home")


@pytest.fixture(scope="session")
def backbone(home: Path) -> Backbone:
    folder = save_tiny_roberta(home / "roberta", layers=1)
    return load_backbone(BackboneSpec(name=str(folder), tokens=8), home)


@pytest.fixture(scope="session")
def source(backbone: Backbone) -> Source:
    """Three classes of four windows of six sub-words."""
    rng = torch.Generator().manual_seed(0)
    inputs = torch.randint(5, VOCABULARY, (12, 6), generator=rng)
    with torch.no_grad():
        features = backbone.embed_source(inputs).mean(1)
    return Source(
        inputs=inputs,
        labels=torch.arange(12) % 3,
        features=features,
        num_classes=3,
        content_hash="1" * 64,
        embed=backbone.embed_source,
    )


@pytest.fixture
def domains(task: Task, source: Source) -> Domains:
    return Domains(target=task, source=source)


@pytest.fixture
def make_state(backbone: Backbone, task: Task) -> MakeState:
    """Make the state of a trial that has just begun."""

    def make(*, seed: int = 0, precision: str = "fp32", head: str = "linear") -> TrainState:
        spec = ModelSpec.model_validate({"head": head, "precision": precision})
        model = build_model(backbone, task, spec, seed=seed)
        return TrainState(model=model, seed=seed, precision=precision)

    return make

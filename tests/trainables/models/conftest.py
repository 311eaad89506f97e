"""Tiny backbones of every architecture, and tasks of any shape."""

from functools import partial

import numpy as np
import pytest

from tests.support import tiny_backbones, tiny_encoders
from tests.support.shapes import task_of
from trainables.models.backbones.loading import load_backbone
from trainables.spec import BackboneSpec
from trainables.tasks.registry import TASKS

SAVERS = {
    "roberta": tiny_backbones.save_tiny_roberta,
    "bert": tiny_backbones.save_tiny_bert,
    "swin": tiny_backbones.save_tiny_swin,
    "timm_swin": partial(tiny_encoders.save_timm, "timm_swin"),
    "dinov2": tiny_backbones.save_tiny_dinov2,
}
TOKENS = {"roberta": 16, "bert": 16, "swin": None, "timm_swin": None, "dinov2": 16}


@pytest.fixture(scope="session")
def saved(tmp_path_factory):
    """Folder of each tiny backbone, by architecture."""
    root = tmp_path_factory.mktemp("tiny_backbones")
    return {name: save(root / name, seed=5) for name, save in SAVERS.items()}


@pytest.fixture(scope="session")
def load(saved, tmp_path_factory):
    """Load the tiny backbone of an architecture, with settings of `BackboneSpec`."""
    home = tmp_path_factory.mktemp("home")

    def load(architecture, **settings):
        settings = {"tokens": TOKENS[architecture]} | settings
        return load_backbone(BackboneSpec(name=str(saved[architecture]), **settings), home)

    return load


@pytest.fixture(scope="session", params=SAVERS)
def backbone(request, load):
    return load(request.param)


@pytest.fixture(scope="session")
def make_task():
    """Make a task of zeros: `dense` unless `classes` are given."""

    def make_task(input_shape, output_shape=None, *, classes=None, name="pdebench/none", samples=8):
        x = np.zeros((samples, *input_shape), np.float32)
        shape = (samples,) if classes else (samples, *(output_shape or input_shape))
        y = np.zeros(shape, np.int64 if classes else np.float32)
        facts = {"name": name, "tokens": TASKS[name].tokens if name in TASKS else None}
        if classes:
            facts["channels"] = (input_shape[0], classes)
        return task_of(x, y, "classification" if classes else "dense", **facts)

    return make_task

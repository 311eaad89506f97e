"""The settings that a study tries first, against those that are printed or in the official code."""

import pytest

from trainables.methods.orca.config import AlignConfig
from trainables.methods.orca.method import ORCA
from trainables.methods.pare.method import PARE
from trainables.methods.pare.mixtures import count_tokens, tokens_at
from trainables.tasks.registry import TASKS

SWIN_TOKENS = 3136


def of_stage(settings, stage):
    """Return the settings of one stage."""
    return {k.partition(".")[2]: v for k, v in settings.items() if k.startswith(f"{stage}.")}


@pytest.mark.parametrize(
    ("task", "optimizer", "lr", "weight_decay", "max_samples", "epochs"),
    [
        ("nasbench360/cifar100", "sgd", 1e-3, 1e-3, 128, 60),
        ("nasbench360/spherical", "adamw", 1e-3, 0.1, 128, 60),
        ("nasbench360/darcy_flow", "adamw", 1e-2, 5e-3, 128, 60),
        ("nasbench360/psicov", "adam", 5e-5, 1e-5, 64, 60),
        ("nasbench360/ninapro", "adam", 1e-3, 1e-5, 128, 100),
        ("nasbench360/ecg", "sgd", 1e-5, 0.1, 128, 60),
        ("nasbench360/satellite", "adamw", 3e-4, 3e-6, 128, 60),
        ("nasbench360/deepsea", "adam", 1e-4, 0.0, 64, 60),
        ("pdebench/diffusion_reaction_1d", "sgd", 1e-2, 1e-5, 128, 60),
        ("pdebench/burgers_1d", "adam", 1e-4, 1e-5, 128, 60),
    ],
)
def test_orca_aligns_as_its_configurations_say(
    task, optimizer, lr, weight_decay, max_samples, epochs
):
    settings = ORCA.published(TASKS[task])
    for stage in ("align", "warmup"):
        assert settings[f"{stage}.optimizer"] == optimizer
        assert settings[f"{stage}.lr"] == pytest.approx(lr)
        assert settings[f"{stage}.weight_decay"] == pytest.approx(weight_decay)
    assert AlignConfig.model_validate(of_stage(settings, "align")).clip_norm is None
    assert settings["align.max_samples"] == max_samples
    assert settings["align.epochs"] == epochs


@pytest.mark.parametrize(
    ("task", "tokens", "first", "last", "gamma"),
    [
        ("nasbench360/cifar100", SWIN_TOKENS, 2000, 525, 1.0),
        ("nasbench360/fsd50k", SWIN_TOKENS, 2000, 515, 1.0),
        ("nasbench360/darcy_flow", SWIN_TOKENS, 1000, 505, 0.3),
        ("nasbench360/cosmic", SWIN_TOKENS, 500, 8, 0.3),
        ("pdebench/darcy_2d", SWIN_TOKENS, 1000, 505, 0.3),
        ("nasbench360/ecg", 32, 32, 2, 0.1),
        ("nasbench360/satellite", 32, 32, 0, 0.1),
        ("nasbench360/deepsea", 32, 32, 1, 0.1),
    ],
)
def test_pare_replaces_as_many_tokens_as_the_official_code(task, tokens, first, last, gamma):
    info = TASKS[task]
    settings = {"replace.epochs": info.recipe["epochs"], **PARE.published(info)}
    epochs, count = settings["replace.epochs"], count_tokens(settings["replace.k0"], tokens)
    share = settings["replace.k_end"]
    schedule = {"first": count, "end_share": share, "schedule": "linear"}
    assert (count, tokens_at(epochs - 1, epochs, **schedule)) == (first, last)
    assert settings["replace.gamma"] == gamma

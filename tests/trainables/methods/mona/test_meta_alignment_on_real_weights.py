"""The finite difference in single precision against the exact meta-gradient, on MiniLM."""

from pathlib import Path

import pytest
import torch

from tests.trainables.conftest import waves
from trainables.methods.mona.meta_alignment import Iteration
from trainables.methods.mona.meta_gradient import MetaGradient, meta_gradient
from trainables.models.backbones.loading import load_backbone
from trainables.models.cross_modal import build_model
from trainables.spec import BackboneSpec, ModelSpec
from trainables.tasks.task import Task
from trainables.training.losses import LOSSES


@pytest.mark.slow
def test_finite_difference_agrees_with_exact_to_a_thousandth(task: Task, tmp_path: Path):
    backbone = load_backbone(BackboneSpec(name="minilm", layers=2, tokens=8), tmp_path)
    model = build_model(backbone, task, ModelSpec(head="linear"), seed=0)
    ids = torch.randint(1000, 20_000, (6, 8), generator=torch.Generator().manual_seed(0))
    data = waves(3, seed=0)

    def result(mode: str, dtype: torch.dtype) -> MetaGradient:
        model.to(dtype)
        iteration = Iteration(
            model=model,
            loss=LOSSES[task.info.loss],
            target=(torch.from_numpy(data.x).to(dtype), torch.from_numpy(data.y).to(dtype)),
            source=(backbone.embed_source(ids).to(dtype), torch.arange(6) % 3),
            kernel="math" if mode == "exact" else "fused",
            seed=0,
        )
        parts = (
            {name: w.detach().requires_grad_() for name, w in part.named_parameters()}
            for part in (model.embedder, model.predictor, model.body)
        )
        return meta_gradient(
            iteration.inner_loss, iteration.outer_loss, tuple(parts), alpha=0.1, mode=mode
        )

    def flat(found: MetaGradient) -> torch.Tensor:
        return torch.cat([gradient.double().flatten() for gradient in found.meta.values()])

    reference = flat(result("exact", torch.float64))
    for mode, tolerance in (("exact", 1e-5), ("fd", 1e-3)):
        error = flat(result(mode, torch.float32)) - reference
        assert error.norm() < tolerance * reference.norm(), mode

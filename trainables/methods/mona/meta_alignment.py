"""MoNA's first stage: meta-learning of the embedder (Ma et al., ICML 2024, Algorithm 1).

It trains the embedder so that a step of fine-tuning preserves the body's knowledge of the source.

    phi <- phi - beta grad_phi [L_inner(phi, theta) + lambda L_outer(theta*)]
    theta* = theta - alpha grad_theta L_inner(phi, theta)

phi is the embedder and theta the pretrained body, which this stage never changes. L_inner is the
task's loss on target data. L_outer measures the separation of labelled source data by the body
after its virtual step (`discriminability`); it is low if the classes are well separated. The head
follows the gradient of L_inner. The paper does not specify this, but L_inner of a random head would
carry little information.

lambda and alpha are partly redundant: to first order the effect of L_outer is proportional to their
product. If the product is zero, the stage trains embedder and head on the task and reads no source.

All computations are in float32, independent of the precision of supervised training.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal

import torch
from torch import Tensor, nn
from torch.func import functional_call

from trainables.errors import ConfigError
from trainables.methods.mona.config import MetaConfig
from trainables.methods.mona.meta_gradient import (
    InnerGradient,
    MetaGradient,
    Parameters,
    attention,
    inner_gradient,
    meta_gradient,
)
from trainables.models.backbone import Role
from trainables.models.cross_modal import CrossModalModel
from trainables.report import Report
from trainables.seeding import derive_seed, generator, seed_globals
from trainables.sources.source import Domains, Source, check_balanced, class_balanced_batch
from trainables.stages.measurements import Measurements
from trainables.stages.stage import Stage, check_finite
from trainables.tasks.task import Task
from trainables.training import optim
from trainables.training.discriminability import Discriminability, discriminability
from trainables.training.evaluation import shuffled_batches
from trainables.training.losses import loss_of
from trainables.training.state import TrainState

SCOPE, SOURCE_SCOPE = "meta", "meta-source"  # seed scopes
MOVED_ROLES: Mapping[str, frozenset[Role]] = MappingProxyType(
    {
        "all": frozenset(Role),
        "attention": frozenset(role for role in Role if role.name.startswith("ATTENTION")),
        "layernorm": frozenset({Role.NORM}),
    }
)

Kernel = Literal["fused", "math"]


class MetaAlignment(Stage[MetaConfig]):
    """Stage that trains the embedder, and the head if joint; it moves the body only virtually."""

    def check(self, model: CrossModalModel, domains: Domains) -> None:
        source, config = self._source(domains), self.config
        if source is not None:
            check_balanced(source.labels, config.classes, config.per_class)

    def run(self, state: TrainState, domains: Domains) -> Iterator[Report]:
        config = self.config
        source = self._source(domains)
        state.use_optimizer(
            optim.make_optimizer(
                config.optimizer,
                self._trained(state),
                lr=config.beta,
                weight_decay=config.weight_decay,
            )
        )
        measurements = Measurements(state, domains, config)
        rates = f"{self.name}.alpha ({config.alpha:g}) or {self.name}.beta ({config.beta:g})"
        for epoch in range(state.epoch, config.epochs):
            measured = self._train(state, domains.target, source, epoch)
            measured |= measurements.after_epoch(state)
            check_finite(self.name, measured, epoch, hint=f"lower {rates}")
            state.epoch = epoch + 1
            yield self.report(state, {**measured, "lr": config.beta})

    def _source(self, domains: Domains) -> Source | None:
        """Return the source if L_outer affects the embedder, else None."""
        config = self.config
        if config.epochs == 0 or config.alpha == 0 or config.lambda_ == 0:
            return None
        if domains.source is None:
            raise ConfigError(
                f"{self.name}: the outer loss reads labelled source data, but the trial has no "
                f"proxy. Name one under `proxies`, or set {self.name}.lambda to 0."
            )
        return domains.source

    def _trained(self, state: TrainState) -> list[nn.Parameter]:
        """Return the parameters of the optimiser, in a fixed order."""
        head = state.model.predictor.parameters() if self.config.head_update == "joint" else ()
        return [*state.model.embedder.parameters(), *head]

    def _train(
        self, state: TrainState, task: Task, source: Source | None, epoch: int
    ) -> dict[str, float]:
        """Train one epoch; return the means of the measured quantities over its iterations."""
        config, rows, loss = self.config, [], loss_of(task)
        state.model.train()
        # Two streams: the order of the target is the same with and without a source.
        rng = generator(state.seed, SOURCE_SCOPE, epoch)
        order = generator(state.seed, SCOPE, epoch)
        # Only double backward needs an attention with a second derivative. The fused kernels have
        # none.
        kernel: Kernel = "math" if source is not None and config.meta_grad == "exact" else "fused"
        batches = shuffled_batches(len(task.train), config.batch_size, order)
        ahead = state.rows.ahead((task.train.x, task.train.y), batches)
        for index, batch in enumerate(ahead):
            x, y = (state.rows(array, batch) for array in (task.train.x, task.train.y))
            iteration = Iteration(
                model=state.model,
                loss=loss,
                target=(x, y),
                source=None if source is None else self.draw(source, rng, state.device),
                kernel=kernel,
                seed=derive_seed(state.seed, SCOPE, epoch, index),
            )
            result = self.gradients(iteration)
            rows.append({**_measured(result), "grad_norm": self._update(state, result)})
        # Values stay on the device until here: a GPU would have to be waited for in each iteration.
        return {name: torch.stack([row[name] for row in rows]).mean().item() for name in rows[0]}

    def draw(
        self, source: Source, rng: torch.Generator, device: torch.device
    ) -> tuple[Tensor, Tensor]:
        classes, per_class = self.config.classes, self.config.per_class
        tokens, labels = class_balanced_batch(
            source, classes=classes, per_class=per_class, generator=rng
        )
        return tokens.to(device), labels.to(device)

    def gradients(self, iteration: "Iteration") -> InnerGradient:
        """Return the gradients of an iteration: a MetaGradient if there is source data."""
        model, config = iteration.model, self.config
        moved = [n for n, role in model.roles.items() if role in MOVED_ROLES[config.inner_params]]
        parts = (
            _leaves(model.embedder.named_parameters()),
            _leaves(model.predictor.named_parameters()),
            _leaves((name, model.body.get_parameter(name)) for name in moved),
        )
        if iteration.source is None:
            return inner_gradient(iteration.inner_loss, *parts)
        return meta_gradient(
            iteration.inner_loss,
            iteration.outer_loss,
            parts,
            alpha=config.alpha,
            mode=config.meta_grad,
            steps=config.inner_steps,
        )

    def _update(self, state: TrainState, result: InnerGradient) -> Tensor:
        """Update embedder and head; return the norm of the embedder's gradient before clipping."""
        model, optimizer = state.model, state.optimizer
        assert optimizer is not None
        gradients = result.embedder
        # Algorithm 1: the embedder follows grad L_inner + lambda grad L_outer(theta*).
        if isinstance(result, MetaGradient):
            weight = self.config.lambda_
            gradients = {n: g + weight * result.meta[n] for n, g in gradients.items()}
        _set_gradients(model.embedder, gradients)
        # The meta-gradient reaches the embedder alone, and so does the cap.
        norm = optim.clip_gradients(model.embedder.parameters(), self.config.clip_norm)
        if self.config.head_update == "joint":
            _set_gradients(model.predictor, result.head)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        return norm


@dataclass(frozen=True, kw_only=True)
class Iteration:
    """The two losses on the data of one iteration, as functions of weights.

    Both losses draw the same random numbers at each call.
    """

    model: CrossModalModel
    loss: Callable[[Tensor, Tensor], Tensor]
    target: tuple[Tensor, Tensor]  # inputs and outputs
    source: tuple[Tensor, Tensor] | None  # tokens [B, N, D] and labels [B]
    kernel: Kernel  # attention kernel of the inner loss
    seed: int

    def inner_loss(self, embedder: Parameters, head: Parameters, body: Parameters) -> Tensor:
        # Finite differences compare calls of this loss, so each call needs the same dropout.
        seed_globals(self.seed, "inner")
        x, y = self.target
        weights = _joined(embedder=embedder, body=body, predictor=head)
        with attention(self.kernel):
            return self.loss(functional_call(self.model, weights, (x,)), y)

    def outer_loss(self, body: Parameters) -> Discriminability:
        assert self.source is not None
        seed_globals(self.seed, "outer")
        tokens, labels = self.source
        features = functional_call(self.model.body, dict(body), (tokens,))
        return discriminability(self.model.pool(features), labels)


def _measured(result: InnerGradient) -> dict[str, Tensor]:
    """Return the reported quantities of an iteration; those of L_outer only if it was computed."""
    numbers = {"inner_loss": result.inner_loss}
    if isinstance(result, MetaGradient):
        numbers |= {
            "align_loss": result.outer.alignment,
            "uniform_loss": result.outer.uniformity,
            "outer_loss": result.outer.loss,
            "cos_grad": result.cosine,
            "body_step": result.relative_step,
            "meta_grad_norm": nn.utils.get_total_norm(list(result.meta.values())),
        }
    return numbers


def _leaves(named: Iterable[tuple[str, nn.Parameter]]) -> dict[str, Tensor]:
    """Return views of weights that accept gradients and do not accumulate them in parameters."""
    return {name: parameter.detach().requires_grad_() for name, parameter in named}


def _joined(**parts: Parameters) -> dict[str, Tensor]:
    """Return the weights of submodules under their names in the whole model."""
    return {f"{part}.{name}": w for part, weights in parts.items() for name, w in weights.items()}


def _set_gradients(module: nn.Module, gradients: Parameters) -> None:
    for name, parameter in module.named_parameters():
        parameter.grad = gradients[name].contiguous()  # fused optimisers require this layout

"""DASH's first stage: kernels and the weights of operations are trained together on the task.

Each step has one gradient for both. That of the logits of a layer with respect to its operations
becomes

    g / (s (|g| + 1e-8)) + p f

s is `grad_scale`, p `field_penalty`, and f the receptive field of each operation: of operations
that reduce the loss alike, the smaller one wins. This is the rule of the official code. There f is
the size of the kernel times ten for dense outputs; here it is the receptive field for all tasks.

The network is an extra of the trial. The trained operations are read by `tune` and `train`.
"""

import math
from collections.abc import Callable, Iterator
from functools import partial

import torch
from torch import Tensor, nn

from trainables.methods.dash.config import SearchConfig, step_factor
from trainables.methods.dash.mixture import Operation, Operations
from trainables.methods.dash.network import Mixed, WideResNet, network_of
from trainables.models.cross_modal import CrossModalModel
from trainables.report import Report
from trainables.seeding import generator, seed_globals
from trainables.sources.source import Domains
from trainables.stages.fine_tuning import means
from trainables.stages.stage import Stage, check_finite
from trainables.tasks.task import Task
from trainables.training import optim
from trainables.training.evaluation import shuffled_batches
from trainables.training.losses import loss_of
from trainables.training.state import TrainState

__all__ = ["Search", "chosen_operations"]

SCOPE = "dash-search"  # seed scope of weights and batches
EXTRA = "search"  # name of the network among the extras of a trial


def chosen_operations(extras: nn.ModuleDict) -> tuple[Operation, ...] | None:
    """Return the operation with the largest weight of each convolution; None without a search."""
    if EXTRA not in extras:
        return None
    network = extras[EXTRA]
    assert isinstance(network, WideResNet)
    return tuple(layer.chosen for layer in network.mixed)


class Search(Stage[SearchConfig]):
    """Stage that trains a network of mixed convolutions."""

    def extras(self, model: CrossModalModel, domains: Domains, seed: int) -> dict[str, nn.Module]:
        config, task = self.config, domains.target
        if config.epochs == 0:
            return {}
        operations = Operations(
            sizes=config.sizes,
            dilations=config.dilations,
            dimensions=int(task.info.dimension[0]),
        )
        network = network_of(
            task,
            partial(
                Mixed,
                operations=operations,
                separable=config.separable,
                relaxation=config.relaxation,
                temperature=config.temperature,
            ),
            width=config.width,
            depth=config.depth,
            generator=generator(seed, SCOPE),
        )
        # It trains in this stage alone, also where a later stage goes on from a checkpoint.
        return {EXTRA: network.requires_grad_(False)}

    def run(self, state: TrainState, domains: Domains) -> Iterator[Report]:
        config = self.config
        if config.epochs == 0:
            return
        network = state.extras[EXTRA]
        assert isinstance(network, WideResNet)
        kernels, logits = _parameters(network.requires_grad_(True))
        optimizer = optim.make_optimizer(
            "sgd",
            kernels,
            lr=config.lr,
            weight_decay=config.weight_decay,
            momentum=config.momentum,
            nesterov=True,
        )
        optimizer.add_param_group({"params": logits})  # with a rate of its own
        state.use_optimizer(optimizer)
        hint = f"lower {self.name}.lr ({config.lr:g}) or {self.name}.arch_lr"
        predict = self.predictor(state, domains.target, network)
        for epoch in range(state.epoch, config.epochs):
            # Gumbel noise comes from the global generators. Seeded here, a resumed epoch draws the
            # same.
            seed_globals(state.seed, SCOPE, epoch)
            with state.supervised_products():
                measured = self._train(state, network, domains.target, epoch, predict)
            measured |= _description(network)
            check_finite(self.name, measured, epoch, hint=hint)
            state.epoch = epoch + 1
            yield self.report(state, measured)

    def predictor(
        self, state: TrainState, task: Task, network: WideResNet
    ) -> Callable[[Tensor], Tensor]:
        """Return the map from inputs [B, C, *grid] to predictions in the units of the task."""
        # The network takes the place of the model's body. Embedder and predictor of the model have
        # no weights.
        return lambda x: state.model.predict(network(state.model.embed(x)))

    def _train(
        self,
        state: TrainState,
        network: WideResNet,
        task: Task,
        epoch: int,
        predict: Callable[[Tensor], Tensor],
    ) -> dict[str, float]:
        """Train one epoch, a share of the batches. Return means over its steps."""
        config, optimizer, loss_function = self.config, state.optimizer, loss_of(task)
        assert optimizer is not None
        factor = step_factor(epoch, config.lr_steps, config.lr_factor)
        for group, rate in zip(optimizer.param_groups, (config.lr, config.arch_lr), strict=True):
            group["lr"] = rate * factor
        kernels, logits = _parameters(network)
        rng = generator(state.seed, SCOPE, epoch)
        batches = [*shuffled_batches(len(task.train), config.batch_size, rng)]
        batches = batches[: math.ceil(config.share * len(batches))]
        network.train()
        rows: list[dict[str, Tensor]] = []
        for batch in state.rows.ahead((task.train.x, task.train.y), batches):
            x, y = (state.rows(array, batch) for array in (task.train.x, task.train.y))
            with state.supervised():
                prediction = predict(x)
            loss = loss_function(prediction.float(), y)
            optimizer.zero_grad(set_to_none=True)
            torch.autograd.backward(loss)
            for layer in network.mixed:
                self._shape_gradient(layer)
            norm = optim.clip_gradients([*kernels, *logits], config.clip_norm)
            optimizer.step()
            rows.append({"train_loss": loss.detach(), "grad_norm": norm})
        return {**means(rows), "lr": config.lr * factor, "arch_lr": config.arch_lr * factor}

    def _shape_gradient(self, layer: Mixed) -> None:
        """Replace the gradient of the logits of a layer by that of the module's docstring."""
        gradient, scale = layer.logits.grad, self.config.grad_scale
        assert gradient is not None
        if scale is not None:
            gradient = gradient / (scale * (gradient.norm() + 1e-8))
        layer.logits.grad = gradient + self.config.field_penalty * layer.fields


def _parameters(network: WideResNet) -> tuple[list[nn.Parameter], list[nn.Parameter]]:
    """Return the parameters of the network but the logits, and the logits."""
    logits = [layer.logits for layer in network.mixed]
    known = {id(each) for each in logits}
    return [each for each in network.parameters() if id(each) not in known], logits


@torch.no_grad()
def _description(network: WideResNet) -> dict[str, float]:
    """Return how decided the layers are, and what they would choose.

    `entropy` is the mean entropy of the weights of operations, 1 if all are equal. `size`,
    `dilation` and `field` are means over layers.
    """
    layers = network.mixed
    shares = torch.stack([torch.softmax(layer.logits, 0) for layer in layers])
    # A share may underflow to 0: `xlogy` gives it the term 0, and not NaN.
    entropy = -torch.xlogy(shares, shares).sum(1).mean().item()
    chosen = [layer.chosen for layer in layers]
    means_of = {name: sum(getattr(each, name) for each in chosen) / len(chosen)
                for name in ("size", "dilation", "field")}  # fmt: skip
    # With a single candidate, the entropy and its maximum are both 0.
    return {"entropy": entropy / max(math.log(shares.shape[1]), 1e-9), **means_of}

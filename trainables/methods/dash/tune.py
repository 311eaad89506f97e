"""DASH's second stage: each candidate setting of `train` is tried in a short training.

All candidates train the chosen operations from the same new weights on a share of the batches, and
the lowest validation value wins. The official code stops early if a whole rate brought no better
value; here every candidate is tried.
"""

import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from itertools import product

import numpy as np
from torch import nn

from trainables.errors import ConfigError, NonFiniteLoss
from trainables.methods.dash.config import TrainConfig, TuneConfig
from trainables.methods.dash.train import TUNED, Train, Tuned, discretise
from trainables.models.cross_modal import CrossModalModel
from trainables.report import Report
from trainables.seeding import seed_globals
from trainables.sources.source import Domains
from trainables.stages.fine_tuning import LOSS
from trainables.stages.stage import Stage
from trainables.training.evaluation import evaluate
from trainables.training.state import TrainState

__all__ = ["Tune"]

SCOPE = "dash-tune"  # seed scope of dropout
SHARES = ((50, 0.2), (100, 0.1), (500, 0.05), (math.inf, 0.01))  # of fewer batches: a share


class ShortTraining(Train):
    """Training on a share of the batches of each epoch."""

    def __init__(self, name: str, config: TrainConfig, share: float | None) -> None:
        super().__init__(name, config)
        self.share = share

    def batches(self, samples: int, seed: int, epoch: int) -> list[np.ndarray]:
        every = super().batches(samples, seed, epoch)
        share = self.share or next(s for most, s in SHARES if len(every) < most)
        return every[: math.ceil(share * len(every))]


class Tune(Stage[TuneConfig]):
    """Stage that finds rate, dropout, decay and momentum of `train`."""

    def candidates(self) -> list[tuple[float, ...]]:
        """Return all candidates in order, each as lr, dropout, weight decay and momentum."""
        config = self.config
        return [*product(config.lrs, config.dropouts, config.weight_decays, config.momenta)]

    def check(self, model: CrossModalModel, domains: Domains) -> None:
        known = len(self.candidates())
        if self.config.epochs > known:
            raise ConfigError(
                f"{self.name}.epochs is {self.config.epochs}, but {self.name}.lrs, dropouts, "
                f"weight_decays and momenta make {known} candidates: lower it, or add values."
            )

    def extras(self, model: CrossModalModel, domains: Domains, seed: int) -> dict[str, nn.Module]:
        return {TUNED: Tuned()} if self.config.epochs else {}

    def run(self, state: TrainState, domains: Domains) -> Iterator[Report]:
        config = self.config
        if config.epochs == 0:
            return
        tuned = state.extras[TUNED]
        assert isinstance(tuned, Tuned)
        # Each candidate has an optimiser of its own, so that a checkpoint between two of them holds
        # none.
        state.optimizer = None
        candidates = self.candidates()
        for index in range(state.epoch, config.epochs):
            lr, dropout, weight_decay, momentum = candidates[index]
            training = TrainConfig(
                epochs=config.passes,
                batch_size=config.batch_size,
                lr_steps=config.lr_steps,
                lr_factor=config.lr_factor,
                lr=lr,
                dropout=dropout,
                weight_decay=weight_decay,
                momentum=momentum,
            )
            with _restored(state.model):
                value, measured = self.try_candidate(training, state, domains, index)
            tuned.keep(value, candidates[index])
            state.epoch = index + 1
            if state.epoch == config.epochs and not tuned.best:
                raise NonFiniteLoss(
                    f"{self.name}: no candidate has a finite loss and validation value, the last "
                    f"one has {value}; add a lower rate to {self.name}.lrs."
                )
            yield self.report(state, measured)

    def try_candidate(
        self, training: TrainConfig, state: TrainState, domains: Domains, index: int
    ) -> tuple[float, dict[str, float]]:
        """Train a candidate for a short time.

        Returns:
            Its validation value, which is not finite if it diverges, and what is recorded of it.
        """
        task = domains.target
        # Only the model is shared. Optimiser and best weights of a candidate stay out of the stored
        # state, and the searched network is not among its parameters.
        trial = replace(
            state, extras=nn.ModuleDict(), optimizer=None, optimizer_state=None, best=None
        )
        discretise(trial.model.body, state.extras, state.seed)
        stage = ShortTraining(self.name, training, self.config.share)
        parameters = stage.prepare(trial)
        objective = stage.objective(trial, domains, 0)
        measured: dict[str, float] = {}
        for epoch in range(training.epochs):
            seed_globals(state.seed, SCOPE, index, epoch)
            with trial.supervised_products():
                measured = stage.train_epoch(trial, task, parameters, objective, epoch)
            # A candidate that diverges loses against the others, and must not end the trial.
            if not math.isfinite(loss := measured[LOSS]):
                return loss, {"lr": training.lr, "diverged": 1.0}
        value = evaluate(trial, trial.model, task.val, task).value
        if not all(map(math.isfinite, (value, *measured.values()))):
            return math.nan, {"lr": training.lr, "diverged": 1.0}
        return value, {**measured, "lr": training.lr, "error": value, "diverged": 0.0}


@contextmanager
def _restored(model: nn.Module) -> Iterator[None]:
    """Put a model back at the end as it was: its operations, its weights, and no gradients."""
    before = {name: tensor.detach().clone() for name, tensor in model.state_dict().items()}
    try:
        yield
    finally:
        model.load_state_dict(before)
        model.zero_grad()

"""Noisy warm-up: embedder and predictor learn on noisy inputs, then everything is fine-tuned."""

from typing import ClassVar

from pydantic import Field

from trainables.methods.method import Method
from trainables.report import Report
from trainables.seeding import generator
from trainables.stages.configs import RefineConfig
from trainables.stages.stage import Stage, StageConfig


class NoisyConfig(StageConfig):
    # the field `sigma` is the parameter `noisy.sigma` of a sweep file
    implementation: ClassVar[str] = "example_plugin.method:NoisyWarmup"
    epochs: int = Field(2, ge=0, le=1000, description="Passes over the training set.")
    lr: float = Field(1e-3, gt=0, lt=10, description="Learning rate.")
    batch_size: int = Field(16, ge=1, le=65_536, description="Samples a step.")
    sigma: float = Field(0.1, ge=0, le=10, description="Standard deviation of the noise.")


class NoisyWarmup(Stage[NoisyConfig]):
    def run(self, state, domains):
        import torch  # here, so that a sweep file is checked without it

        from trainables.training.evaluation import gather, shuffled_batches
        from trainables.training.losses import loss_of

        config, model, task = self.config, state.model, domains.target
        loss_function = loss_of(task)
        model.requires_grad_(False)
        trained = [*model.embedder.parameters(), *model.predictor.parameters()]
        for parameter in trained:
            parameter.requires_grad_(True)
        optimizer = state.use_optimizer(torch.optim.Adam(trained, lr=config.lr))
        for epoch in range(state.epoch, config.epochs):
            rng = generator(state.seed, "noisy", epoch)
            for rows in shuffled_batches(len(task.train), config.batch_size, rng):
                x, y = (gather(a, rows, state.device) for a in (task.train.x, task.train.y))
                noise = torch.randn(x.shape, generator=rng).to(x.device)
                loss = loss_function(model(x + config.sigma * noise), y)
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
            measured = {f"{self.name}/loss": loss.item()}
            state.epoch = epoch + 1
            place = {"stage": self.name, "epoch": state.epoch, "num_epochs": config.epochs}
            yield Report(**place, metrics=measured)


NOISY = Method(
    name="noisy",
    title="Noisy warm-up",
    citation="",
    stages={"noisy": NoisyConfig, "refine": RefineConfig},
    control={"noisy.epochs": 0},
)

"""The model that a trial describes: around its backbone, or of its method's own network."""

from collections.abc import Mapping

from trainables.errors import ConfigError
from trainables.methods.registry import METHODS
from trainables.models.backbone import Backbone
from trainables.models.cross_modal import CrossModalModel, build_model
from trainables.models.own_network import build_own_model
from trainables.models.products import use_products
from trainables.spec import TrialSpec
from trainables.stages.stage import StageConfig
from trainables.tasks.task import Task, TaskInfo, TaskShape

__all__ = ["complete", "model_of"]


def complete(spec: TrialSpec, info: TaskInfo) -> TrialSpec:
    """Return the trial without what its method does not read, once it can be built here.

    A method with a network of its own reads neither backbone nor source data.

    Raises:
        ConfigError: The method is not here, or needs a backbone, or its network does not fit the
            task, or lacks a package.
    """
    if spec.method not in METHODS:
        raise ConfigError(f"method `{spec.method}` is not here. Install the plugin that offers it.")
    network = METHODS[spec.method].network
    if network is None:
        if spec.backbone is None:
            raise ConfigError(f"`{spec.method}` needs a backbone: name one under `backbones`.")
        return spec
    if fault := network.fault_on(info) or network.fault_here():
        raise ConfigError(fault)
    return spec.model_copy(update={"backbone": None, "proxy": None})


def model_of(
    spec: TrialSpec,
    backbone: Backbone | None,
    task: Task | TaskShape,
    configs: Mapping[str, StageConfig] | None = None,
) -> CrossModalModel:
    """Build the model of a trial.

    Args:
        spec: The trial, as `complete` returns it.
        backbone: Its backbone; None if its method has a network of its own.
        task: Its target task.
        configs: The configs of its stages; None: they are made where a network needs them.

    Raises:
        ConfigError: The backbone is for data of another dimension, or it has no drop path.
    """
    if backbone is not None:
        model = build_model(backbone, task, spec.model, seed=spec.seed)
    else:
        method = METHODS[spec.method]
        assert method.network is not None
        settings = method.network_settings(configs or method.configs(spec.stages))
        model = build_own_model(method.network.build, task, settings, seed=spec.seed)
    use_products(model, spec.model.products)
    return model

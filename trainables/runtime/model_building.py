"""The model that a trial describes: around its backbone, or of its method's own network."""

from collections.abc import Mapping

from torch import nn

from trainables.errors import ConfigError
from trainables.methods.registry import METHODS
from trainables.models.backbone import Backbone
from trainables.models.cross_modal import CrossModalModel, build_model
from trainables.models.embedders import FeatureEmbedder
from trainables.models.own_network import OwnModel, build_network
from trainables.models.products import use_products
from trainables.spec import TrialSpec
from trainables.stages.stage import StageConfig
from trainables.tasks.task import Task, TaskInfo, TaskShape


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
    network = network_of(spec, task, configs)
    if backbone is not None:
        model = with_backbone(spec, backbone, task, network)
    else:
        assert network is not None
        model = OwnModel(network, task)
    use_products(model, spec.model.products)
    return model


def with_backbone(
    spec: TrialSpec, backbone: Backbone, task: Task | TaskShape, network: nn.Module | None
) -> CrossModalModel:
    """Build the model of a trial around its backbone, with torch's own products.

    `network` is that in front of the embedder, if there is one. The rest is as in `model_of`.
    """

    def around(plain: nn.Module) -> nn.Module:
        return plain if network is None else FeatureEmbedder(plain, network, task.input_shape)

    return build_model(backbone, task, spec.model, seed=spec.seed, around=around)


def network_of(
    spec: TrialSpec, task: Task | TaskShape, configs: Mapping[str, StageConfig] | None = None
) -> nn.Module | None:
    """Build the network of a trial's method; None if it has none. Arguments are as in `model_of`.

    A method that is not here has none: an exported model may outlive its plugin.
    """
    if spec.method not in METHODS:
        return None
    method = METHODS[spec.method]
    own = method.network or method.features
    settings = method.network_settings(configs or method.configs(spec.stages))
    if own is None or settings is None:
        return None
    return build_network(own.build, task, settings, seed=spec.seed)

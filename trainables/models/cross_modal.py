"""The model that a trial trains: a new embedder, a copy of a pretrained body, and a predictor.

Two settings select the parameters that train:

    finetune  roles of the body. `all`; `layernorm`: the norms alone (Lu et al., "Pretrained
              Transformers as Universal Computation Engines", AAAI 2022); `non_attn`: all but
              queries, keys and values; `wv`: all but queries and keys (PaRe on Darcy flow);
              `lora`: none, but low-rank adapters of queries and values (`adapters`).
              `layernorm` includes the norms of Swin's patch merging. ORCA's code leaves these six
              tensors frozen, because "layernorm" is not in their names.
    freeze    whole parts that are frozen in addition, as in ablations
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from types import MappingProxyType

import torch
from torch import Tensor, nn

from trainables.errors import ConfigError
from trainables.models.adapters import plain_name
from trainables.models.backbone import Backbone, Geometry, Role
from trainables.models.compilation import runner
from trainables.models.predictors import ClassPredictor, Decoded, InUnitsOf, dense_predictor
from trainables.seeding import generator
from trainables.spec import ModelSpec
from trainables.tasks.store.statistics import Standardiser
from trainables.tasks.task import Task, TaskShape


@contextmanager
def float32_products(*, tf32: bool) -> Iterator[None]:
    """Compute products of float32 matrices on a GPU in TF32 or in float32, convolutions in float32.

    Without a GPU that has TF32 both are float32. By PyTorch's default convolutions are in TF32. The
    settings are those of the process, and are restored at the end.
    """
    matmul, cudnn = torch.backends.cuda.matmul, torch.backends.cudnn
    before = matmul.allow_tf32, cudnn.allow_tf32
    matmul.allow_tf32, cudnn.allow_tf32 = tf32, False
    try:
        yield
    finally:
        matmul.allow_tf32, cudnn.allow_tf32 = before


@contextmanager
def single_precision(device: torch.device) -> Iterator[None]:
    """Compute in float32 inside a context of lower precision: without autocast, without TF32."""
    # A device without autocast raises an error even if it is to be off.
    known = torch.amp.is_autocast_available(device.type)
    autocast = torch.autocast(device.type, enabled=False) if known else nullcontext()
    with float32_products(tf32=False), autocast:
        yield


class CrossModalModel(nn.Module):
    """x -> embedder -> tokens -> body -> features -> predictor -> y.

    Args:
        roles: The role of each parameter of the body.
        num_tokens: N of a target sample.
        geometry: That of the body.
    """

    def __init__(
        self,
        *,
        embedder: nn.Module,
        body: nn.Module,
        predictor: nn.Module,
        roles: Mapping[str, Role],
        num_tokens: int,
        geometry: Geometry,
    ) -> None:
        super().__init__()
        self.num_tokens = num_tokens
        self.token_width, self.feature_width = geometry.token_width, geometry.feature_width
        self.grid, self.feature_grid = geometry.grid, geometry.feature_grid
        self.embedder = embedder
        self.body = body
        self.compilation = "off"  # of the body, as `compiled` sets it
        self.predictor = predictor
        self.roles = dict(roles)

    def embed(self, x: Tensor) -> Tensor:
        """Embed target inputs [B, C, *grid] as tokens [B, N, D].

        The embedder always runs in single precision or better. In bfloat16, only about three digits
        of the inputs would reach the body.
        """
        with single_precision(x.device):
            tokens: Tensor = self.embedder(x)
        return tokens

    def encode(self, tokens: Tensor) -> Tensor:
        """Encode tokens [B, N, D] of any embedder as features [B, M, E]."""
        return runner(self.compilation)(self.body, tokens)

    @contextmanager
    def compiled(self, mode: str) -> Iterator[None]:
        """Let the body run as `mode` says, a value of `model.compile`."""
        before, self.compilation = self.compilation, mode
        try:
            yield
        finally:
            self.compilation = before

    def pool(self, features: Tensor) -> Tensor:
        """Average features [B, M, E] over M, giving [B, E]."""
        return features.mean(1)

    def predict(self, features: Tensor) -> Tensor:
        """Predict outputs [B, C, *grid], or logits [B, classes], from features [B, M, E].

        The predictor always runs in single precision or better. In bfloat16, only about three
        digits of the outputs would be correct, which is coarser than the errors of the best models.
        """
        # Under autocast features may be in bfloat16, and the predictor's weights are not.
        single = torch.promote_types(features.dtype, torch.float32)
        with single_precision(features.device):
            outputs: Tensor = self.predictor(features.to(single))
        return outputs

    def forward(self, x: Tensor) -> Tensor:
        return self.predict(self.encode(self.embed(x)))

    def trainable_parameters(
        self, finetune: str = "all", freeze: str = "none"
    ) -> list[nn.Parameter]:
        """Freeze all parameters but those that train under these settings. Return these.

        Raises:
            ConfigError: The value of `finetune` or `freeze` is unknown.
        """
        for setting, value, known in (
            ("finetune", finetune, TRAINED_ROLES),
            ("freeze", freeze, FROZEN_PARTS),
        ):
            if value not in known:
                raise ConfigError(f"{setting} is `{value}`, but must be one of {', '.join(known)}.")
        trained = []
        for name, parameter in self.named_parameters():
            trains = self._trains(name, finetune=finetune, freeze=freeze)
            parameter.requires_grad_(trains)
            if trains:
                trained.append(parameter)
            else:
                parameter.grad = None
        return trained

    def _trains(self, name: str, *, finetune: str, freeze: str) -> bool:
        """Return whether the parameter `name` (`body.layernorm.weight`) trains."""
        part, _, inside = name.partition(".")
        if part in FROZEN_PARTS[freeze]:
            return False
        if part != "body":
            return True
        # A parameter without a plain name is an adapter's, which `lora` alone trains.
        plain = plain_name(inside)
        return finetune == "lora" if plain is None else self.roles[plain] in TRAINED_ROLES[finetune]


def build_model(
    backbone: Backbone,
    task: Task | TaskShape,
    spec: ModelSpec,
    *,
    seed: int,
    around: Callable[[nn.Module], nn.Module] = lambda embedder: embedder,
) -> CrossModalModel:
    """Build the model of one trial.

    Embedder and predictor draw their weights from separate random streams, so a setting of one does
    not change the other. PyTorch's global generator is not used.

    Args:
        backbone: Source of the body, and of the shapes of embedder and predictor.
        task: Target task. It determines the shapes and the kind of the predictor.
        spec: Settings of embedder and predictor.
        seed: Seed of the trial.
        around: What a method makes of the plain embedder of the target.

    Raises:
        ConfigError: The backbone is for data of another dimension, or it has no drop path.
    """
    info = task.info
    if backbone.dimension != info.dimension:
        raise ConfigError(
            f"{info.name} is {info.dimension}, but the backbone `{backbone.name}` takes "
            f"{backbone.dimension} data: name another under backbones, {info.dimension}."
        )
    plain = backbone.target_embedder(
        task.input_shape,
        init=spec.embedder_init,
        generator=generator(seed, "embedder"),
        published_tokens=info.tokens,
    )
    embedder = around(plain)
    # The predictor divides its outputs among the tokens, so their number is measured first.
    with torch.no_grad():
        num_tokens = embedder(torch.zeros(1, *task.input_shape)).shape[1]
    return CrossModalModel(
        embedder=embedder,
        body=backbone.new_body(drop_path=spec.drop_path or 0.0),
        predictor=_predictor(backbone, task, spec, num_tokens, generator(seed, "predictor")),
        roles=backbone.roles,
        num_tokens=num_tokens,
        geometry=backbone.geometry,
    )


def _predictor(
    backbone: Backbone,
    task: Task | TaskShape,
    spec: ModelSpec,
    num_tokens: int,
    draws: torch.Generator,
) -> nn.Module:
    """Return a new predictor of a task's outputs from a body's features."""
    info = task.info
    if info.kind != "dense":
        predictor = ClassPredictor(backbone.feature_width, info.channels[1], generator=draws)
        return decoded(predictor, task.output_units) if info.kind == "regression" else predictor
    dense = dense_predictor(
        backbone, spec.head, task.output_shape, num_tokens=num_tokens, generator=draws
    )
    # Targets of steady Darcy flow are near 0.01: with raw outputs a trial starts at an nRMSE of 40.
    # ORCA's own head stays raw.
    if spec.head == "linear":
        mean, std = task.output_unit
        return InUnitsOf(dense, mean=mean, std=std)
    return decoded(dense, task.output_standard) if info.decoded else dense


def decoded(predictor: nn.Module, standard: Standardiser) -> Decoded:
    """Return the predictor of standardised outputs, followed by the way back to their unit."""
    return Decoded(
        predictor,
        shift=torch.from_numpy(standard.shift),
        scale=torch.from_numpy(standard.scale),
    )


ALL = frozenset(Role)
TRAINED_ROLES: Mapping[str, frozenset[Role]] = MappingProxyType(
    {
        "all": ALL,
        "layernorm": frozenset({Role.NORM}),
        "non_attn": ALL - {Role.ATTENTION_QUERY, Role.ATTENTION_KEY, Role.ATTENTION_VALUE},
        "wv": ALL - {Role.ATTENTION_QUERY, Role.ATTENTION_KEY},
        "lora": frozenset(),
    }
)
FROZEN_PARTS: Mapping[str, frozenset[str]] = MappingProxyType(
    {
        "none": frozenset(),
        "embedder": frozenset({"embedder"}),
        "body": frozenset({"body"}),
        "embedder+body": frozenset({"embedder", "body"}),
    }
)

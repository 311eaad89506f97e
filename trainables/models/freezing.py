"""Which parameters of a model train, by what they do in it.

finetune, of the body: `all`; `layernorm`, only the norms (Lu et al., "Pretrained Transformers as
Universal Computation Engines", AAAI 2022); `non_attn`, all but queries, keys and values; `wv`, all
but queries and keys (what PaRe does on Darcy flow). The norms of Swin's patch merging are norms,
too; ORCA's code leaves these six tensors frozen, as "layernorm" is not in their names.
freeze, afterwards: whole parts, as in ablations.
"""

from collections.abc import Mapping
from types import MappingProxyType

from torch import nn

from trainables.errors import ConfigError
from trainables.models.backbone import Role

ALL = frozenset(Role)
TRAINED_ROLES: Mapping[str, frozenset[Role]] = MappingProxyType(
    {
        "all": ALL,
        "layernorm": frozenset({Role.NORM}),
        "non_attn": ALL - {Role.ATTENTION_QUERY, Role.ATTENTION_KEY, Role.ATTENTION_VALUE},
        "wv": ALL - {Role.ATTENTION_QUERY, Role.ATTENTION_KEY},
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


def is_trained(name: str, roles: Mapping[str, Role], *, finetune: str, freeze: str) -> bool:
    """Says whether the model's parameter `name` (`body.layernorm.weight`) trains.

    Args:
        roles: The role of each of the body's parameters, by its name in the body.
    """
    part, _, inside = name.partition(".")
    if part in FROZEN_PARTS[freeze]:
        return False
    return part != "body" or roles[inside] in TRAINED_ROLES[finetune]


def set_trained(
    model: nn.Module, roles: Mapping[str, Role], *, finetune: str, freeze: str
) -> list[nn.Parameter]:
    """Freezes all parameters of `model` but those that train, and returns these.

    Raises:
        ConfigError: `finetune` or `freeze` has no such value.
    """
    for setting, value, known in (
        ("finetune", finetune, TRAINED_ROLES),
        ("freeze", freeze, FROZEN_PARTS),
    ):
        if value not in known:
            raise ConfigError(f"{setting} is `{value}`, but must be one of {', '.join(known)}.")
    trained = []
    for name, parameter in model.named_parameters():
        trains = is_trained(name, roles, finetune=finetune, freeze=freeze)
        parameter.requires_grad_(trains)
        if trains:
            trained.append(parameter)
        else:
            parameter.grad = None
    return trained

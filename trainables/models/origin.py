"""The origin of a trained model: everything that rebuilds its network around stored weights.

A checkpoint holds it in `state.json`, and an exported model in `config.json`. This module loads no
torch.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from trainables.errors import WeightsError
from trainables.spec import Spec, TrialSpec


class ModelOrigin(Spec):
    """A trial, and the description of the network that it trained."""

    spec: TrialSpec
    network: Mapping[str, Any]  # config of the backbone, as its config.json has it
    weights_hash: str = ""  # SHA-256 of the origin of the pretrained weights
    output_unit: tuple[float, float] | None = None  # mean and deviation of a linear head's outputs

    def to_plain(self) -> dict[str, Any]:
        """Return the origin as plain data, without SWEEPER_HOME: a copy may have another one."""
        return self.model_dump(mode="json", by_alias=True, exclude={"spec": {"home"}})

    @classmethod
    def from_plain(cls, plain: Any, home: Path, where: str) -> "ModelOrigin":
        """Return the origin that `to_plain` wrote, from untrusted data.

        Args:
            plain: The data.
            home: SWEEPER_HOME of this machine.
            where: The file of the data, for messages.

        Raises:
            WeightsError: The data are not the origin of a model.
        """
        try:
            return cls.model_validate({**plain, "spec": {**plain["spec"], "home": home}})
        except ValidationError as error:
            first = error.errors()[0]
            place = ".".join(map(str, first["loc"]))
            raise WeightsError(
                f"{where}: no description of a model: {place}: {first['msg']}."
            ) from error
        except (TypeError, KeyError) as error:
            raise WeightsError(f"{where}: no description of a model ({error!r}).") from error

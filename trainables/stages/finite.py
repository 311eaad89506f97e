"""What an epoch measured has to be finite, or the trial ends with the way out."""

from collections.abc import Mapping
from math import isfinite

from trainables.errors import NonFiniteLoss

__all__ = ["check_finite"]


def check_finite(stage: str, measured: Mapping[str, float], epoch: int, *, way_out: str) -> None:
    """Looks at all that a stage measured in an epoch, which is counted from 0.

    Raises:
        NonFiniteLoss: A value is NaN or infinite; the text ends with `way_out`.
    """
    for name, value in measured.items():
        if not isfinite(value):
            raise NonFiniteLoss(
                f"{stage}: the {name} became {value} in epoch {epoch + 1}; {way_out}."
            )

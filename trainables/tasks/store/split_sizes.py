"""How many samples each split has where `data.samples` says how many there are in all."""

from trainables.errors import ConfigError
from trainables.spec import DataSpec

__all__ = ["split_sizes"]


def split_sizes(name: str, samples: int, data: DataSpec) -> dict[str, int]:
    """Divides samples of a task by `val_fraction` and `test_fraction`.

    Raises:
        ConfigError: A split would be empty.
    """
    val, test = (round(samples * share) for share in (data.val_fraction, data.test_fraction))
    sizes = {"train": samples - val - test, "val": val, "test": test}
    if min(sizes.values()) < 1:
        raise ConfigError(
            f"{name}: {samples} samples with val_fraction={data.val_fraction}, "
            f"test_fraction={data.test_fraction} leave a split empty: {sizes}. "
            "Raise `data.samples`, or change the fractions."
        )
    return sizes

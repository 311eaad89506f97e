"""Deliberate errors of the science. The service maps each of them to an exit code or a reason."""


class TrainableError(Exception):
    """Base of all deliberate errors. The message names the fault and its remedy."""


class ConfigError(TrainableError, ValueError):
    """A setting is out of range or two settings contradict each other."""


class PluginError(ConfigError):
    """A plugin cannot be imported, or two plugins have the same name."""


class DeviceError(TrainableError):
    """A device that a trial asks for is not there, or cannot compute what the trial asks for."""


class NodeUnfit(DeviceError):
    """This machine cannot compute a trial as its settings ask; another one may."""


class DataError(TrainableError):
    """A data set is missing, truncated or not finite, or has not the shape of its task."""


class TaskDataError(DataError):
    """Data of a user do not fit a key of their task file.

    `key` is the path of this key, such as ("input", "layout"); () stands for the whole file.
    """

    def __init__(self, message: str, key: tuple[str, ...] = ()) -> None:
        super().__init__(message)
        self.key = key


class WeightsError(TrainableError):
    """Pretrained weights are missing, or their keys do not fit the network."""


class StorageError(TrainableError):
    """A checkpoint cannot be written, or its store does not respond in time."""


class RankError(TrainableError):
    """One of the processes of a trial failed. The message has its own error."""


class RankDied(RankError):
    """One of the processes of a trial died without an error."""


class NonFiniteLoss(TrainableError, ArithmeticError):
    """A loss or a validation value is NaN or infinite. It would recur, so it is never retried."""

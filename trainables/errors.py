"""The errors that the science raises on purpose; the service maps each to a code or a reason.

* TrainableError
  x ConfigError      a setting that no stage, network or task can honour
  x DataError        data that are missing, cut short, not finite or of the wrong shape
  x WeightsError     pretrained weights that are missing or do not fit
  x NonFiniteLoss    a loss or a validation value became NaN or infinite
  x StorageError     a checkpoint cannot be written, or its store does not answer
"""


class TrainableError(Exception):
    """Base of all deliberate errors; the text names the fault and the way out."""


class ConfigError(TrainableError, ValueError):
    """A setting is out of range or two settings contradict each other."""


class DataError(TrainableError):
    """A data set is missing, cut short, not finite, or not of the shape its task declares."""


class WeightsError(TrainableError):
    """Pretrained weights are missing, or their keys do not fit the network."""


class StorageError(TrainableError):
    """A checkpoint cannot be written, or its store does not answer in time."""


class NonFiniteLoss(TrainableError, ArithmeticError):
    """A loss or a validation value is NaN or infinite; never retried, since it would recur."""

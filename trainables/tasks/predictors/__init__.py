"""Predictors without a network, by name: what a method has to beat to have learned anything.

`predictor.py` has the base class, and `floor.py` scores all predictors of a task. The predictors
are entry points of the group `sweeper.predictors` (`trainables/plugins.py`).

| predictor | prediction |
|---|---|
| mean, median, majority, prior | a constant (`trivial.py`) |
| identity | the input (`trivial.py`) |
| ridge | a linear map with a penalty (`linear.py`) |
| kernel_ridge | a linear map of similarities to the training inputs (`kernel_ridge.py`) |
| knn | the mean of the nearest training samples (`neighbours.py`) |
| isotropic_filter | a linear filter that treats all places and directions alike |
| closed_form | the formula of the task's equation; it enters no floor |
| coarse_solver | the task's own solver on a quarter of the resolution; it enters no floor |
"""

from trainables.plugins import Registry
from trainables.tasks.predictors.predictor import CannotApply, Predictor, Setting

__all__ = ["PREDICTORS", "CannotApply", "Predictor", "Setting"]

PREDICTORS: Registry[type[Predictor]] = Registry(
    "sweeper.predictors",
    (
        "mean",
        "median",
        "identity",
        "majority",
        "prior",
        "ridge",
        "kernel_ridge",
        "knn",
        "isotropic_filter",
        "closed_form",
        "coarse_solver",
    ),
    lambda value: isinstance(value, type) and issubclass(value, Predictor),
)

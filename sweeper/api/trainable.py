"""The mark of a function that a sweep can run.

A worker imports this module with the function, and so it imports little itself.
"""

import inspect
from collections.abc import Callable
from typing import Any, TypeVar

from sweeper.errors import UsageError

F = TypeVar("F", bound=Callable[..., Any])


def trainable(function: F) -> F:
    """Mark a function as a program that a sweep can run; it stays as it is.

        @sweeper.trainable
        def train(params, trial):
            for step in range(1, 11):
                trial.report(step, {"loss": ...})

    Raises:
        UsageError: It does not take two arguments, the parameters and the trial.
    """
    try:
        inspect.signature(function).bind({}, None)
    except (TypeError, ValueError) as error:  # the latter of some that are built in
        name = getattr(function, "__name__", "the function")
        raise UsageError(f"`{name}` must take two arguments, params and trial: {error}.") from error
    return function

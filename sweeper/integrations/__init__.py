"""Adapters between the trial of a program and training packages, by their own callbacks.

    from sweeper.integrations.lightning import ReportEpochs

Each module imports its package. A step of a trial has a seed of its own where the package does not
keep its generators, so that a resumed trial equals an undisturbed one.
"""

from collections.abc import Iterator
from contextlib import contextmanager

from sweeper.errors import UsageError
from trainables.plugins import install


@contextmanager
def importing(extra: str) -> Iterator[None]:
    """Name the extra to install if an import fails.

    Raises:
        UsageError: A package is not installed.
    """
    try:
        yield
    except ModuleNotFoundError as error:
        raise UsageError(f"`{error.name}` is not installed: {install(extra)}") from error

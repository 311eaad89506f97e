"""A function of a running program on its way to workers: in memory, and packed by Ray itself."""

import base64
from collections.abc import Callable
from inspect import getmodule
from typing import Any

from ray import cloudpickle


def packed(function: Callable[..., Any]) -> str:
    """Return a function as text, with the module that defines it, for a worker lacks the module."""
    module = getmodule(function)
    by_value = module is not None and module.__name__ != "__main__"
    if by_value:
        cloudpickle.register_pickle_by_value(module)
    try:
        return base64.b64encode(cloudpickle.dumps(function)).decode()
    finally:
        if by_value:
            cloudpickle.unregister_pickle_by_value(module)


def unpacked(text: str) -> bytes:
    """Return what Ray unpacks in a worker."""
    return base64.b64decode(text)

"""Tensors of torch's .pt files, mapped from the file.

Only tensors and plain containers are read (`weights_only=True`): a file that names anything else is
refused. Users have data in no other form, so this is an exception to the rule against such files.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import torch
from torch import Tensor

from trainables.errors import TaskDataError
from trainables.tasks.formats.files import blamed, damaged, open_regular, shown
from trainables.tasks.own.definition import Key
from trainables.tasks.own.formats.samples import NamedArrays, SampleArray, choose, sliced

WAY_OUT = "Save its tensors by torch.save as a dictionary, or as .npz"
WHOLE = "tensor"  # name of a tensor without a name


@dataclass(frozen=True)
class TensorFile(NamedArrays):
    """A .pt file: a tensor, or a dictionary or list of tensors."""

    @cached_property
    def _tensors(self) -> Mapping[str, Tensor]:
        """The tensors by their names; those of a list by their numbers."""
        open_regular(self.path).close()
        with blamed(self.path, "it holds more than tensors, or is damaged", WAY_OUT):
            # `weights_only` refuses every name but those of tensors and plain containers.
            loaded: Any = torch.load(  # noqa: TID251
                self.path, weights_only=True, mmap=True, map_location="cpu"
            )
        named: dict[Any, Any] = {}
        if isinstance(loaded, Tensor):
            named = {WHOLE: loaded}
        elif isinstance(loaded, Mapping):
            named = dict(loaded)
        elif isinstance(loaded, list | tuple):
            named = dict(enumerate(loaded))
        return {str(name): value for name, value in named.items() if isinstance(value, Tensor)}

    @property
    def names(self) -> tuple[str, ...]:
        """The names of the tensors."""
        return tuple(self._tensors)

    def _samples(self, name: str | None, key: Key, *, text: bool) -> SampleArray:
        del text  # tensors hold numbers
        name = choose(self.path, self.names, name, key)
        tensor, where = self._tensors[name], f"{self.path}: `{shown(name)}`"
        if tensor.layout != torch.strided or tensor.is_quantized or not tensor.ndim:
            raise TaskDataError(f"{where} is no dense tensor of samples.", key)
        # With a stride of 0 a few bytes could declare any number of elements.
        declared = tensor.numel() * tensor.element_size()
        if declared > self.path.stat().st_size:
            raise damaged(
                self.path,
                f"`{name}` {list(tensor.shape)} takes {declared:,} bytes, more than the file has",
                "Save a contiguous copy of it",
            )
        return sliced(where, tensor, _numbers)


def _numbers(tensor: Tensor) -> np.ndarray:
    """Return a copy as an array; NumPy has no bfloat16, which becomes float32."""
    if tensor.dtype == torch.bfloat16:
        tensor = tensor.float()
    # Conjugation and sign may be mere flags of a tensor, which NumPy does not have.
    return np.array(tensor.detach().resolve_conj().resolve_neg().numpy())

"""Rows of arrays as tensors on the device of a trial.

On a CPU rows are read from their arrays, and nothing else happens. On a GPU there are two ways:

    resident  The arrays of a trial are copied to the GPU at their first use, and rows are chosen
              there. This is so if all arrays together fit `SHARE` of the memory that the trial has.
    staged    Rows are copied through page-locked memory. `ahead` lets a thread read those of the
              next batch while the GPU computes.

Neither lets the host wait for the GPU. A copy from ordinary memory does: it begins once the GPU has
done all work that it was given.
"""

import math
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor

import numpy as np
import torch
from torch import Tensor

from trainables.tasks.store.split import Rows

__all__ = ["SHARE", "DeviceRows", "moved"]

SHARE = 0.25  # of the memory of a GPU that a trial has, for its data
CHUNK_BYTES = 2**26  # page-locked at once while a whole array is copied

Array = Rows | Tensor
Indices = np.ndarray | Tensor


def moved(tensor: Tensor, device: torch.device) -> Tensor:
    """Return a tensor on `device`. The host does not wait for a GPU."""
    if device.type == "cpu" or tensor.device.type != "cpu":
        return tensor.to(device)
    # PyTorch keeps page-locked memory until the copy from it is done.
    return tensor.pin_memory().to(device, non_blocking=True)


class DeviceRows:
    """Rows of arrays as tensors on one device.

    Args:
        device: Device of the tensors.
        arrays: All arrays of which a trial reads rows. They are resident if they fit.
        free_bytes: Memory of the device that the trial may still take.
    """

    def __init__(
        self, device: torch.device | str, arrays: Iterable[Array] = (), *, free_bytes: float = 0
    ) -> None:
        self.device = torch.device(device)
        # NumPy's arrays have no hash. A reference in `_resident` prevents another array from
        # getting the same id.
        every = {id(array): array for array in arrays}
        fits = sum(map(_num_bytes, every.values())) <= SHARE * free_bytes
        self._resident = every if fits and self.device.type != "cpu" else {}
        self._copies: dict[int, Tensor] = {}
        self._last: Indices | None = None
        self._moved = torch.empty(0)
        self._batch = np.empty(0, np.int64)  # the staged one
        self._staged: dict[int, Tensor] = {}  # its rows

    def __call__(self, array: Array, indices: Indices) -> Tensor:
        """Return rows of an array in the order of the indices. It may be mapped and read-only."""
        if id(array) in self._resident:
            return self._copy(array)[self._places(indices)]
        if id(array) in self._staged and (part := self._part(indices)) is not None:
            return self._staged[id(array)][part].to(self.device, non_blocking=True)
        return moved(_read(array, indices), self.device)

    def ahead(self, arrays: Sequence[Rows], batches: Iterable[np.ndarray]) -> Iterator[np.ndarray]:
        """Yield batches of indices, and read the rows of the next one meanwhile.

        Args:
            arrays: Arrays of which the rows of each batch are read, a stretch at a time.
            batches: Different indices each. One more is drawn before a batch is yielded.
        """
        waiting = [array for array in arrays if id(array) not in self._resident]
        if self.device.type == "cpu" or not waiting:
            yield from batches
            return
        remaining = iter(batches)
        with ThreadPoolExecutor(1, "rows") as reader:
            upcoming = self._stage(reader, waiting, next(remaining, None))
            try:
                while upcoming is not None:
                    self._batch, self._staged, filled = upcoming
                    filled.result()
                    upcoming = self._stage(reader, waiting, next(remaining, None))
                    yield self._batch
            finally:
                self._staged = {}

    @staticmethod
    def _stage(
        reader: ThreadPoolExecutor, arrays: Sequence[Rows], batch: np.ndarray | None
    ) -> tuple[np.ndarray, dict[int, Tensor], Future[None]] | None:
        """Let the thread read the rows of a batch into page-locked memory."""
        if batch is None:
            return None
        buffers = [
            torch.empty((len(batch), *a.shape[1:]), dtype=_dtype(a), pin_memory=True)
            for a in arrays
        ]
        # The thread runs no operator of torch, whose settings are those of a thread.
        places = [buffer.numpy() for buffer in buffers]

        def fill() -> None:
            for place, array in zip(places, arrays, strict=True):
                place[...] = array[batch]

        staged = {id(array): buffer for array, buffer in zip(arrays, buffers, strict=True)}
        return batch, staged, reader.submit(fill)

    def _part(self, indices: Indices) -> slice | None:
        """Return the stretch of the staged batch that has these indices, if there is one."""
        wanted = np.asarray(indices)
        for start in np.flatnonzero(self._batch == wanted[0]) if len(wanted) else ():
            part = slice(int(start), int(start) + len(wanted))
            if np.array_equal(self._batch[part], wanted):
                return part
        return None

    def _places(self, indices: Indices) -> Tensor:
        """Return indices on the device; inputs and outputs are read by the same ones in turn."""
        if indices is not self._last:
            self._last, self._moved = indices, moved(torch.as_tensor(indices), self.device)
        return self._moved

    def _copy(self, array: Array) -> Tensor:
        """Return a whole array on the device, copied at the first call."""
        if id(array) not in self._copies:
            length, step = len(array), max(1, CHUNK_BYTES // max(1, _num_bytes(array[:1])))
            # Stored rows may be converted when they are read, so that the type is that of a read.
            whole = torch.empty(
                (length, *array.shape[1:]), dtype=_read(array, np.arange(0)).dtype,
                device=self.device,
            )  # fmt: skip
            for start in range(0, length, step):
                rows = np.arange(start, min(start + step, length))
                whole[start : start + step] = moved(_read(array, rows), self.device)
            self._copies[id(array)] = whole
        return self._copies[id(array)]


def _read(array: Array, indices: Indices) -> Tensor:
    if isinstance(array, Tensor):
        return array[torch.as_tensor(indices)]
    return torch.from_numpy(array[np.asarray(indices)])


def _dtype(array: Rows) -> torch.dtype:
    return torch.from_numpy(np.empty(0, array.dtype)).dtype


def _num_bytes(array: Array) -> int:
    """Return the bytes of the rows of an array, as they are read."""
    size: int = array.dtype.itemsize
    return size * math.prod(array.shape)

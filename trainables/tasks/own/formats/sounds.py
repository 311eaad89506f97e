"""Sounds: WAV files of one sample rate. Whole numbers are scaled to -1..1.

Mono files are sequences [l], others [l, c]. l = samples of a sound, c = its channels.
"""

import warnings
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np
from scipy.io import wavfile

from trainables.errors import DataError
from trainables.tasks.formats.files import damaged, open_regular, shown
from trainables.tasks.own.definition import InputData
from trainables.tasks.own.formats.sample_files import blocks_of
from trainables.tasks.own.formats.samples import SampleArray, step_of

__all__ = ["describe_sounds"]

WAY_OUT = "Save it again as a WAV file"


class _Sound(NamedTuple):
    rate: int  # samples per second
    values: np.ndarray  # float32 [l] or [l, c]


def describe_sounds(files: Sequence[Path], wanted: InputData) -> SampleArray:
    """Return sounds as samples. All files are read once for their lengths.

    Raises:
        DataError: A file is damaged, or the files differ in sample rate or channels.
    """
    del wanted
    heads = [(sound.rate, sound.values.shape) for sound in map(_read, files)]
    rate, shape = heads[0]
    for path, (other_rate, other_shape) in zip(files, heads, strict=True):
        if other_rate != rate:
            raise DataError(
                f"{path}: its sample rate is {other_rate}, but that of {files[0]} is {rate}. "
                "Resample them to one rate."
            )
        if other_shape[1:] != shape[1:]:
            raise DataError(
                f"{path}: its number of channels differs from that of {files[0]}. Convert them to "
                "one number."
            )
    lengths = np.array([each[0] for _, each in heads], dtype=np.int64)
    longest = (int(lengths.max()), *shape[1:])
    step = step_of(int(np.prod(longest)) * 4)
    return SampleArray(
        where=str(files[0].parent),
        count=len(files),
        shape=longest,
        dtype=np.dtype(np.float32),
        read=partial(blocks_of, files, step, lambda path: _read(path).values, equal=False),
        layout="NL" if len(shape) == 1 else "NLC",
        lengths=lengths,
        facts={"sample_rate": rate},
    )


def _read(path: Path) -> _Sound:
    with open_regular(path) as file:
        try:
            with warnings.catch_warnings():
                # Warnings about chunks without sound are ignored; a truncated file is an error.
                warnings.simplefilter("ignore", wavfile.WavFileWarning)
                warnings.filterwarnings("error", "Reached EOF", wavfile.WavFileWarning)
                rate, values = wavfile.read(file)
        except Exception as error:  # a damaged file may raise anything
            reason = shown(str(error)) or type(error).__name__
            raise damaged(path, f"it is no WAV file ({reason})", WAY_OUT) from error
    if not len(values):
        raise damaged(path, "it has no samples", WAY_OUT)
    if values.dtype == np.uint8:  # 8 bits are stored without a sign
        return _Sound(rate, (values.astype(np.float32) - 128) / 128)
    if values.dtype.kind == "i":
        largest = -float(np.iinfo(values.dtype).min)
        return _Sound(rate, (values / largest).astype(np.float32))
    return _Sound(rate, values.astype(np.float32))

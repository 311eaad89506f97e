"""Sounds: WAV files of one sample rate, as points or as spectrograms (`sound`).

Points of mono files are sequences [l], of others [l, c]. l = points of a sound, c = its channels.
"""

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from trainables.errors import DataError
from trainables.tasks.formats.files import damaged, read_wav
from trainables.tasks.own.conversion import lengths_differ
from trainables.tasks.own.definition import InputData
from trainables.tasks.own.formats.samples import SampleArray, blocks_of, step_of
from trainables.tasks.own.sound import SoundForm, scaled

__all__ = ["describe_sounds", "read_sounds"]

WAY_OUT = "Save it again as a WAV file"


class _Sound(NamedTuple):
    rate: int  # samples per second
    values: np.ndarray  # float32 [l] or [l, c]


def describe_sounds(files: Sequence[Path], wanted: InputData) -> SampleArray:
    """Return sounds as samples. All files are read once for their lengths.

    Raises:
        DataError: A file is damaged, or the files differ in sample rate or channels.
    """
    heads = [(sound.rate, sound.values.shape) for sound in map(_read, files)]
    rate, shape = heads[0]
    for path, (other_rate, other_shape) in zip(files, heads, strict=True):
        _check_rate(path, other_rate, rate, f"that of {files[0]}")
        if other_shape[1:] != shape[1:]:
            raise DataError(
                f"{path}: its number of channels differs from that of {files[0]}. Convert them to "
                "one number."
            )
    where, lengths = str(files[0].parent), np.array([each[0] for _, each in heads], dtype=np.int64)
    form = SoundForm(
        representation=wanted.representation,
        rate=rate,
        length=wanted.length or int(lengths.max()),
        channels=int(np.prod(shape[1:])),
    )
    facts = {"sample_rate": rate, "sound": form.model_dump()}
    if form.representation != "raw":
        if wanted.length is None and lengths.min() < lengths.max():
            raise lengths_differ(where, lengths, ("input", "length"))
        return _images(files, form, where, lengths, facts)
    longest = (int(lengths.max()), *shape[1:])
    step = step_of(int(np.prod(longest)) * 4)
    return SampleArray(
        where=where,
        count=len(files),
        shape=longest,
        dtype=np.dtype(np.float32),
        read=partial(blocks_of, files, step, lambda path: _read(path).values, equal=False),
        layout="NL" if len(shape) == 1 else "NLC",
        lengths=lengths,
        facts=facts,
    )


def _images(
    files: Sequence[Path], form: SoundForm, where: str, lengths: np.ndarray, facts: dict[str, Any]
) -> SampleArray:
    shape = form(np.zeros((form.channels, 1), np.float32)).shape
    padded, cut = int((lengths < form.length).sum()), int((lengths > form.length).sum())
    note = f"sounds have {form.length} points: {padded} were padded by zeros and {cut} cut"
    return SampleArray(
        where=where,
        count=len(files),
        shape=shape,
        dtype=np.dtype(np.float32),
        read=partial(
            blocks_of,
            files,
            step_of(int(np.prod(shape)) * 4),
            lambda path: form(_read(path).values.T),
            equal=True,
        ),
        layout="NCHW",
        facts=facts,
        notes=(note,) * bool(padded or cut),
    )


def read_sounds(files: Sequence[Path], form: SoundForm) -> np.ndarray:
    """Return sounds in the form of a task, float32 [n, c, ...].

    Raises:
        DataError: A file is damaged, or has another sample rate or number of channels.
    """
    found = []
    for path in files:
        sound = _read(path)
        _check_rate(path, sound.rate, form.rate, "that of the task")
        found.append(form(sound.values.T))
    return np.stack(found)


def _check_rate(path: Path, rate: int, expected: int, whose: str) -> None:
    if rate != expected:
        raise DataError(
            f"{path}: its sample rate is {rate}, but {whose} is {expected}. Resample them to one "
            "rate."
        )


def _read(path: Path) -> _Sound:
    rate, values = read_wav(path, WAY_OUT)
    if not len(values):
        raise damaged(path, "it has no samples", WAY_OUT)
    return _Sound(rate, scaled(values))

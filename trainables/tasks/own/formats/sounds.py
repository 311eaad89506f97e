"""Sounds: WAV files of one sample rate, as points or as spectrograms (`sound`).

Points of mono files are sequences [l], of others [l, c]. l = points of a sound, c = its channels.
"""

from collections.abc import Sequence
from functools import partial
from pathlib import Path

import numpy as np

from trainables.errors import DataError
from trainables.tasks.formats.files import damaged, read_wav
from trainables.tasks.own.conversion import lengths_differ
from trainables.tasks.own.definition import InputData
from trainables.tasks.own.formats.samples import SampleArray, blocks_of, step_of
from trainables.tasks.own.sound import SoundForm, scaled

WAY_OUT = "Save it again as a WAV file"


def describe_sounds(files: Sequence[Path], wanted: InputData) -> SampleArray:
    """Return sounds as samples. All files are read once for their lengths.

    Raises:
        DataError: A file is damaged, or the files differ in sample rate or channels.
    """
    heads = [(rate, values.shape) for rate, values in map(_read, files)]
    rate, (_, *channels) = heads[0]
    for path, (other_rate, (_, *others)) in zip(files, heads, strict=True):
        _check_rate(path, other_rate, rate, f"that of {files[0]}")
        if others != channels:
            raise DataError(
                f"{path}: its number of channels differs from that of {files[0]}. Convert them to "
                "one number."
            )
    where, lengths = str(files[0].parent), np.array([each[0] for _, each in heads], dtype=np.int64)
    form = SoundForm(
        representation=wanted.representation,
        rate=rate,
        length=wanted.length or int(lengths.max()),
        channels=int(np.prod(channels)),
    )
    is_raw = form.representation == "raw"
    # Spectrograms have to be of one size, whereas points are padded or cut later.
    if not is_raw and wanted.length is None and lengths.min() < lengths.max():
        raise lengths_differ(where, lengths, ("input", "length"))
    shape = (int(lengths.max()), *channels)
    notes: tuple[str, ...] = ()
    if not is_raw:
        # A sound of one point is padded to the length of all, and so has the shape of all.
        shape = form(np.zeros((form.channels, 1), np.float32)).shape
        padded, cut = int((lengths < form.length).sum()), int((lengths > form.length).sum())
        note = f"sounds have {form.length} points: {padded} were padded by zeros and {cut} cut"
        notes = (note,) * bool(padded or cut)

    def decode(path: Path) -> np.ndarray:
        values = _read(path)[1]
        return values if is_raw else form(values.T)

    return SampleArray(
        where=where,
        count=len(files),
        shape=shape,
        dtype=np.dtype(np.float32),
        read=partial(blocks_of, files, step_of(int(np.prod(shape)) * 4), decode, equal=not is_raw),
        layout="NCHW" if not is_raw else "NLC" if channels else "NL",
        lengths=lengths if is_raw else None,
        facts={"sample_rate": rate, "sound": form.model_dump()},
        notes=notes,
    )


def read_sounds(files: Sequence[Path], form: SoundForm) -> np.ndarray:
    """Return sounds in the form of a task, float32 [n, c, ...].

    Raises:
        DataError: A file is damaged, or has another sample rate or number of channels.
    """
    found = []
    for path in files:
        rate, values = _read(path)
        _check_rate(path, rate, form.rate, "that of the task")
        found.append(form(values.T))
    return np.stack(found)


def _check_rate(path: Path, rate: int, expected: int, whose: str) -> None:
    if rate != expected:
        raise DataError(
            f"{path}: its sample rate is {rate}, but {whose} is {expected}. Resample them to one "
            "rate."
        )


def _read(path: Path) -> tuple[int, np.ndarray]:
    """Return the sample rate, and the points as float32 [l] or [l, c]."""
    rate, values = read_wav(path, WAY_OUT)
    if not len(values):
        raise damaged(path, "it has no samples", WAY_OUT)
    return rate, scaled(values)

"""The representation of a sound for a network: its points, or an image of its spectrogram.

    raw           the points                                        [c, l]
    spectrogram   10 log10 P(f, t), P the power by SciPy            [c, f, t]
    log_mel       10 log10 sum_f M(m, f) P(f, t)                    [c, m, t]

Windows (Hann) have 25 ms and begin every 10 ms. M are triangles on the mel scale of HTK. Values are
at most 80 dB below the largest one of a sound. The form of a task's sounds is stored with its data
and with exported models, so that predictions take sounds, too.

Shapes: n = sounds, c = channels, l = points, f = frequencies, m = bands, t = windows.
"""

from collections.abc import Sequence
from functools import cache
from typing import Literal

import numpy as np
from pydantic import Field

from trainables.errors import DataError
from trainables.spec import Spec

Representation = Literal["raw", "spectrogram", "log_mel"]
WINDOW, HOP = 0.025, 0.01  # seconds
MAX_BANDS = 64
RANGE, LEAST = 80.0, 1e-10  # decibels, and the least power


class SoundForm(Spec):
    """The representation of the sounds of a task. Call it with one sound."""

    representation: Representation
    rate: int = Field(ge=1, le=10**7)  # points per second
    length: int = Field(ge=1, le=2**26)  # points; shorter sounds are padded by zeros, others cut
    channels: int = Field(ge=1, le=2**10)

    def __call__(self, wave: np.ndarray) -> np.ndarray:
        """Return a sound [l] or [c, l] in the form that is stored, float32 [c, ...].

        Raises:
            DataError: It is no sound of so many channels.
        """
        wave = wave[None] if wave.ndim == 1 else wave
        if wave.ndim != 2 or len(wave) != self.channels or wave.dtype.kind not in "iuf":
            raise DataError(
                f"a sound must be numbers [{self.channels}, points], but is {wave.dtype}"
                f"{list(wave.shape)}."
            )
        fitted = np.zeros((self.channels, self.length), np.float32)
        points = min(self.length, wave.shape[1])
        fitted[:, :points] = scaled(wave[:, :points])
        return fitted if self.representation == "raw" else self._image(fitted)

    def _image(self, wave: np.ndarray) -> np.ndarray:
        from scipy.signal import spectrogram

        width = min(self.length, max(2, round(WINDOW * self.rate)))
        step = min(width, max(1, round(HOP * self.rate)))
        is_mel = self.representation == "log_mel"
        # Narrow bands at low frequencies need more frequencies than the window resolves.
        points = 2 ** (int(np.ceil(np.log2(width))) + is_mel)
        _, _, power = spectrogram(
            wave, self.rate, "hann", width, width - step, nfft=points, detrend=False
        )
        if is_mel:
            power = _mel_filters(points // 2 + 1, self.rate) @ power
        decibels = 10 * np.log10(np.maximum(power, LEAST))
        image: np.ndarray = np.maximum(decibels, decibels.max() - RANGE).astype(np.float32)
        return image

    def inputs(
        self, sounds: Sequence[np.ndarray] | np.ndarray, shape: tuple[int, ...]
    ) -> np.ndarray:
        """Return sounds [l] or [c, l] as inputs [n, *shape]; inputs are returned as they are.

        Inputs of one channel may lack its axis.

        Raises:
            DataError: There is no sound, or one has another number of channels.
        """
        if not len(sounds):
            raise DataError("no sound is there.")
        # Whole numbers are points as a WAV file stores them, which are still to be scaled.
        is_whole = self.representation == "raw" and np.asarray(sounds[0]).dtype.kind != "f"
        shapes = (shape, shape[self.channels == 1 :])
        if isinstance(sounds, np.ndarray) and sounds.shape[1:] in shapes and not is_whole:
            return sounds
        return np.stack([self(np.asarray(each)) for each in sounds])


def scaled(wave: np.ndarray) -> np.ndarray:
    """Return the points of a sound as float32, whole numbers scaled to -1..1."""
    if wave.dtype == np.uint8:  # 8 bits are stored without a sign
        return (wave.astype(np.float32) - 128) / 128
    if wave.dtype.kind == "i":
        # The least whole number is the largest in size, so that no point leaves -1..1.
        return (wave / -float(np.iinfo(wave.dtype).min)).astype(np.float32)
    return wave.astype(np.float32)


@cache
def _mel_filters(frequencies: int, rate: int) -> np.ndarray:
    from transformers.audio_utils import mel_filter_bank

    # Short sounds have few frequencies, of which each band needs some.
    bands = min(MAX_BANDS, max(1, frequencies // 4))
    filters: np.ndarray = mel_filter_bank(frequencies, bands, 0.0, rate / 2, rate, mel_scale="htk")
    return filters.T

"""Log-mel images: spectrograms of one second of sound on the mel scale, in decibels.

    dB(t, m) = 10 log10 sum_f M(f, m) |STFT(t, f)|^2,  at most 80 below the largest
    x = dB - mean dB

The settings are those of Fonseca et al., "FSD50K", IEEE/ACM TASLP 30 (2022), section V.B: FFT of
1920 points, Hann window of 30 ms, hop of 10 ms, 96 bands of the HTK scale. A second has 101 frames.
As in the published loader, a frame of zeros follows.

Shapes: t = samples; 96 bands, 102 frames.
"""

from functools import cache
from pathlib import Path

import numpy as np
from transformers.audio_utils import mel_filter_bank, spectrogram, window_function

from trainables.errors import DataError
from trainables.tasks.formats.files import read_wav

RATE = 22050  # samples per second
FFT, WINDOW, HOP = 1920, RATE * 30 // 1000, RATE * 10 // 1000
BANDS, FRAMES = 96, 102
RANGE_DB = 80.0


def log_mel(wave: np.ndarray) -> np.ndarray:
    """Return the image, float32 [96, 102], of one second [22050]."""
    window, filters = _window_and_filters()
    decibels = spectrogram(
        wave,
        window,
        frame_length=FFT,
        hop_length=HOP,
        power=2.0,
        mel_filters=filters,
        log_mel="dB",
        db_range=RANGE_DB,
    )
    image = np.zeros((BANDS, FRAMES), dtype=np.float32)
    image[:, :-1] = decibels - decibels.mean()
    return image


def one_second(wave: np.ndarray, position: float = 0.0) -> np.ndarray:
    """Return one second [22050] of a sound [t]. A shorter sound is repeated.

    `position` is the start of the second: 0 for the first, up to 1 for the last.
    """
    if len(wave) <= RATE:
        return np.resize(wave, RATE)
    start = int(position * (len(wave) - RATE + 1))
    return wave[start : start + RATE]


def read_wave(path: Path) -> np.ndarray:
    """Read a .wav file as float32 [t], in units of the largest value of 16 bits.

    Raises:
        DataError: The file is missing, truncated or empty, or has another sample rate, several
            channels, or samples other than 16 bits or floats.
    """
    rate, samples = read_wav(path, "Unpack the archive anew")
    if rate != RATE:
        raise DataError(f"{path}: its sample rate is {rate}, but must be {RATE}. Resample it.")
    if samples.ndim != 1 or not len(samples) or samples.dtype not in (np.int16, np.float32):
        raise DataError(
            f"{path}: it must be one channel of 16 bits or of floats, but is "
            f"{samples.dtype}{list(samples.shape)}. Convert it, or unpack the archive anew."
        )
    wave: np.ndarray = samples / np.float32(2**15) if samples.dtype == np.int16 else samples
    if not np.isfinite(wave).all():
        raise DataError(f"{path}: it is not finite. Unpack the archive anew.")
    return wave


@cache
def _window_and_filters() -> tuple[np.ndarray, np.ndarray]:
    window = window_function(WINDOW, "hann", frame_length=FFT)
    filters = mel_filter_bank(FFT // 2 + 1, BANDS, 0.0, RATE / 2, RATE, mel_scale="htk")
    return window, filters

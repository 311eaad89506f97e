from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.io import wavfile

from trainables.errors import DataError
from trainables.tasks.nas_bench_360.log_mel import RATE, log_mel, one_second, read_wave


def sound(seed: int = 0, length: int = RATE) -> np.ndarray:
    rng = np.random.default_rng(seed)
    time = np.arange(length) / RATE
    tones = sum(np.sin(2 * np.pi * pitch * time) for pitch in rng.uniform(100, 8000, 3))
    return (0.1 * tones * np.exp(-3 * time) + 1e-3 * rng.normal(size=length)).astype(np.float32)


def mel_filters() -> torch.Tensor:
    """Return triangles that are evenly spaced in mel = 2595 log10(1 + f / 700): [961, 96]."""
    highest = 2595 * np.log10(1 + RATE / 2 / 700)
    corners = 700 * (10 ** (np.linspace(0, highest, 98) / 2595) - 1)
    frequencies = np.linspace(0, RATE / 2, 961)[:, None]
    rising = (frequencies - corners[:-2]) / (corners[1:-1] - corners[:-2])
    falling = (corners[2:] - frequencies) / (corners[2:] - corners[1:-1])
    return torch.from_numpy(np.maximum(0, np.minimum(rising, falling)))


def image_by_torch(wave: np.ndarray) -> np.ndarray:
    """Return what torchaudio's MelSpectrogram and librosa's power_to_db give, centred."""
    window = torch.hann_window(661, dtype=torch.float64)
    transform = torch.stft(
        torch.from_numpy(wave).double(), 1920, 220, 661, window, return_complex=True
    )
    decibels = 10 * (mel_filters().T @ transform.abs() ** 2).clamp_min(1e-10).log10()
    decibels = decibels.clamp_min(decibels.max() - 80)
    return (decibels - decibels.mean()).numpy()


@pytest.mark.parametrize("seed", range(3))
def test_ours_is_the_published_transform(seed):
    image = log_mel(sound(seed))
    assert image.shape == (96, 102)
    np.testing.assert_allclose(image[:, :101], image_by_torch(sound(seed)), atol=1e-3)
    assert not image[:, 101].any()


def test_a_tone_lights_up_its_band():
    tone = np.sin(2 * np.pi * 1000 * np.arange(RATE) / RATE)
    mels = 2595 * np.log10(1 + np.array([1000, RATE / 2]) / 700)
    assert log_mel(tone)[:, :101].mean(1).argmax() == pytest.approx(
        97 * mels[0] / mels[1] - 1, abs=1
    )


def test_loudness_does_not_count():
    np.testing.assert_allclose(log_mel(sound()), log_mel(0.25 * sound()), atol=2e-3)


def test_silence_is_an_image_of_zeros():
    assert not log_mel(np.zeros(RATE)).any()


def test_a_short_sound_is_repeated_to_a_second():
    wave = sound(length=9000)
    np.testing.assert_array_equal(one_second(wave, 0.9), np.tile(wave, 3)[:RATE])


def test_of_a_long_sound_a_second_is_taken():
    wave = np.arange(RATE + 99)
    np.testing.assert_array_equal(one_second(wave), wave[:RATE])
    np.testing.assert_array_equal(one_second(wave, 0.5), wave[50 : 50 + RATE])
    np.testing.assert_array_equal(one_second(wave, np.nextafter(1, 0)), wave[-RATE:])


def test_waves_of_16_bits_and_of_floats_are_read_alike(tmp_path: Path):
    whole = np.round(sound() * 2**15).astype(np.int16)
    wavfile.write(tmp_path / "whole.wav", RATE, whole)
    wavfile.write(tmp_path / "float.wav", RATE, (whole / 2**15).astype(np.float32))
    np.testing.assert_array_equal(read_wave(tmp_path / "whole.wav"), whole / 2**15)
    np.testing.assert_array_equal(
        read_wave(tmp_path / "whole.wav"), read_wave(tmp_path / "float.wav")
    )


def test_notes_in_a_file_are_skipped(tmp_path: Path):
    path = tmp_path / "noted.wav"
    wavfile.write(path, RATE, np.ones(100, dtype=np.int16))
    content = path.read_bytes()
    path.write_bytes(content[:36] + b"note\x04\0\0\0abcd" + content[36:])
    assert len(read_wave(path)) == 100


@pytest.mark.parametrize(
    ("rate", "samples", "fault"),
    [
        (44100, np.ones(100, np.int16), "its sample rate is 44100, but must be 22050. Resample"),
        (RATE, np.ones((100, 2), np.int16), r"must be one channel .*int16\[100, 2\]"),
        (RATE, np.ones(0, np.int16), r"is int16\[0\]"),
        (RATE, np.ones(100, np.uint8), r"is uint8\[100\]"),
        (RATE, np.full(100, np.nan, np.float32), "it is not finite"),
    ],
)
def test_a_wave_of_another_kind_is_named(tmp_path: Path, rate, samples, fault):
    wavfile.write(tmp_path / "a.wav", rate, samples)
    with pytest.raises(DataError, match=rf"a\.wav: .*{fault}"):
        read_wave(tmp_path / "a.wav")


@pytest.mark.parametrize("content", [None, b"", b"RIFF", b"noise" * 100, 60])
def test_what_is_no_wave_is_named(tmp_path: Path, content):
    path = tmp_path / "a.wav"
    if isinstance(content, int):
        wavfile.write(path, RATE, np.ones(100, dtype=np.int16))
        path.write_bytes(path.read_bytes()[:content])
    elif content is not None:
        path.write_bytes(content)
    with pytest.raises(
        DataError, match=r"a\.wav: (it is cut, or no WAV file, and has \d+ bytes|it cannot be read)"
    ):
        read_wave(path)

"""The representation of sounds: at the import, and of sounds that a model is given."""

import numpy as np
import pytest
from pydantic import ValidationError
from scipy.io import wavfile

from tests.support.own_data import define, in_order, read
from trainables.errors import DataError, TaskDataError
from trainables.tasks.own.formats.sounds import read_sounds
from trainables.tasks.own.sound import SoundForm

N, RATE = 12, 8000


def wave(number: int, points: int = 800) -> np.ndarray:
    """Return a tone of 500 Hz or 2000 Hz, int16."""
    pitch = (500, 2000)[number % 2]
    return (9000 * np.sin(2 * np.pi * pitch * np.arange(points) / RATE)).astype(np.int16)


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "audio").mkdir()
    for number in range(N):
        sound = wave(number, 780 + 5 * number)
        wavfile.write(tmp_path / "audio" / f"{number % 2}_{number:02}.wav", RATE, sound)
    return tmp_path


def tones(representation, **input_):
    return define(
        input={"path": "audio", "representation": representation, "layout": None, **input_},
        target={"source": "pattern", "pattern": "^(?P<label>[^_]+)_"},
        splits={"val": 0.25, "test": 0.25},
    )


@pytest.mark.parametrize(
    ("representation", "height"), [("log_mel", 64), ("spectrogram", 129), ("raw", None)]
)
def test_the_import_stores_the_form_and_a_model_repeats_it(representation, height, folder):
    definition = tones(representation, length=800)
    imported = read(folder, definition)
    x = in_order(imported, "x")
    assert x.shape == ((N, 1, 800) if height is None else (N, 1, height, 8))
    assert definition.dimension == ("1d" if height is None else "2d")
    form = SoundForm.model_validate(imported.description["sound"])
    assert (form.rate, form.length, form.channels) == (RATE, 800, 1)
    files = sorted((folder / "audio").iterdir())
    np.testing.assert_array_equal(read_sounds(files, form), x)
    sounds = [wavfile.read(file)[1] for file in files]
    np.testing.assert_array_equal(form.inputs(sounds, x.shape[1:]), x)
    np.testing.assert_array_equal(form.inputs(x, x.shape[1:]), x)
    np.testing.assert_array_equal(form.inputs(x[:, 0], x.shape[1:]), x[:, 0])
    assert any("4 were padded by zeros and 7 cut" in n for n in imported.description["notes"])


@pytest.mark.parametrize("representation", ["log_mel", "spectrogram"])
def test_a_tone_is_brightest_at_its_frequency(representation):
    form = SoundForm(representation=representation, rate=RATE, length=800, channels=1)
    low, high = (form(wave(number))[0, :, 4].argmax() for number in range(2))
    if representation == "spectrogram":  # 129 frequencies from 0 to 4000 Hz
        assert (low, high) == (16, 64)
    else:
        assert 0 < low < high < 64


@pytest.mark.parametrize("rate", [100, 8000, 44100])
def test_every_band_of_every_rate_has_a_value(rate):
    noise = np.random.default_rng(0).normal(size=(2, rate)).astype(np.float32)
    image = SoundForm(representation="log_mel", rate=rate, length=rate, channels=2)(noise)
    assert np.isfinite(image).all()
    assert (image.std(axis=2) > 0).all()


def test_unequal_sounds_need_a_length(folder):
    with pytest.raises(TaskDataError, match=r"780 to 835 points.*length: 830") as caught:
        read(folder, tones("log_mel"))
    assert caught.value.key == ("input", "length")


def test_a_layout_beside_an_image_is_refused():
    with pytest.raises(ValidationError, match=r"leave `input\.layout` out"):
        tones("log_mel", layout="NL")


@pytest.mark.parametrize(
    ("sounds", "expected"),
    [
        ([], "no sound is there"),
        ([np.zeros((3, 800), np.int16)], r"numbers \[1, points\]"),
        (np.zeros(800), "is float64"),
        ([np.array(["a"])], "but is <U1"),
    ],
)
def test_what_is_no_sound_is_refused(sounds, expected):
    form = SoundForm(representation="log_mel", rate=RATE, length=800, channels=1)
    with pytest.raises(DataError, match=expected):
        form.inputs(sounds, (1, 64, 8))


def test_another_rate_is_refused(tmp_path):
    wavfile.write(tmp_path / "a.wav", 16000, wave(0))
    form = SoundForm(representation="raw", rate=RATE, length=800, channels=1)
    with pytest.raises(DataError, match="16000, but that of the task is 8000"):
        read_sounds([tmp_path / "a.wav"], form)

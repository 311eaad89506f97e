"""Folders of images and sounds, with labels from folders, tables and names of files."""

import numpy as np
import pytest
from PIL import Image
from scipy.io import wavfile

from tests.support.own_data import define, in_order, read
from trainables.errors import TaskDataError
from trainables.tasks.own.formats import sample_files
from trainables.tasks.store.split import SPLITS

CLASSES = ("chat", "chien", "élan")
EACH = 10


def image(number, mode="RGB", size=(6, 7)):
    shape = size if mode in ("L", "I;16") else (*size, 3)
    kind = np.uint16 if mode == "I;16" else np.uint8
    return np.random.default_rng(number).integers(0, 255, shape).astype(kind) * (
        200 if mode == "I;16" else 1
    )


def save_images(folder, mode="RGB"):
    """Save ten images of each class, and return all in the order of their paths."""
    found = []
    for index, name in enumerate(CLASSES):
        (folder / name).mkdir(parents=True)
        for number in range(EACH):
            found.append(image(index * EACH + number, mode))
            Image.fromarray(found[-1]).save(folder / name / f"{number}.png")
    return np.stack(found)


def by_folder(**more):
    return define(input={"path": "images", "layout": "NHWC", **more}, target={"source": "folder"})


@pytest.mark.parametrize("mode", ["RGB", "L", "I;16"])
def test_images_by_class_keep_every_value(mode, tmp_path):
    pixels = save_images(tmp_path / "images", mode)
    imported = read(tmp_path, by_folder())
    x = in_order(imported, "x")
    assert x.dtype == (np.float32 if mode == "I;16" else np.uint8)
    expected = pixels.transpose(0, 3, 1, 2) if mode == "RGB" else pixels[:, None]
    np.testing.assert_array_equal(x, expected)
    assert imported.description["classes"] == list(CLASSES)
    np.testing.assert_array_equal(in_order(imported, "y"), np.repeat([0, 1, 2], EACH))


def test_images_of_several_sizes_are_resized_if_the_file_says_so(tmp_path):
    save_images(tmp_path / "images")
    Image.fromarray(image(0, size=(12, 9))).save(tmp_path / "images" / "chat" / "0.png")
    with pytest.raises(TaskDataError, match="2 sizes") as caught:
        read(tmp_path, by_folder())
    assert caught.value.key == ("input", "size")
    imported = read(tmp_path, by_folder(size=[4, 5]))
    assert imported.splits["train"].x.shape[1:] == (3, 4, 5)


def test_folders_of_splits(tmp_path):
    pixels = [save_images(tmp_path / split) for split in ("train", "test")]
    definition = define(
        input={"layout": "NHW"},
        target={"source": "folder"},
        splits={"train": "train", "test": "test"},
    )
    imported = read(tmp_path, definition)
    assert len(imported.splits["test"].x) == 30
    test = imported.splits["test"]
    expected = pixels[1][test.sample_id - 30].transpose(0, 3, 1, 2)
    np.testing.assert_array_equal(test.x, expected)


def sound(number, length, channels=1):
    rng = np.random.default_rng(number)
    values = rng.integers(-(2**15), 2**15, (length, channels)).astype(np.int16)
    return values[:, 0] if channels == 1 else values


@pytest.mark.parametrize("channels", [1, 2])
def test_sounds_with_labels_in_their_names(channels, tmp_path):
    (tmp_path / "audio").mkdir()
    waves = {}
    for number in range(30):
        name = f"{number:02}-{CLASSES[number % 3]}-p{number // 3}.wav"
        waves[name] = sound(number, 5 + number % 2, channels)
        wavfile.write(tmp_path / "audio" / name, 8000, waves[name])
    pattern = r"-(?P<label>\w+)-(?P<person>p\d+)\.wav"
    definition = define(
        input={"path": "audio/*.wav", "length": 6},
        target={"source": "pattern", "pattern": pattern},
        splits={"group": "person"},
    )
    imported = read(tmp_path, definition)
    expected = [np.pad(w.reshape(len(w), -1), ((0, 6 - len(w)), (0, 0))) for w in waves.values()]
    np.testing.assert_allclose(
        in_order(imported, "x"), np.stack(expected).transpose(0, 2, 1) / 2**15, rtol=1e-6
    )
    np.testing.assert_array_equal(in_order(imported, "y"), np.arange(30) % 3)
    people = [set((imported.splits[split].sample_id // 3).tolist()) for split in SPLITS]
    assert sum(map(len, people)) == 10
    assert imported.description["sample_rate"] == 8000


def test_a_pattern_without_end_is_refused_with_the_limit(monkeypatch, tmp_path):
    monkeypatch.setattr(sample_files, "PATTERN_SECONDS", 0.1)
    (tmp_path / "leaves").mkdir()
    Image.new("L", (8, 8)).save(tmp_path / "leaves" / f"leaf_{'a' * 33}.png")
    definition = define(
        input={"path": "leaves", "layout": "NHW"},
        target={"source": "pattern", "pattern": "leaf_(?P<label>(a|a)*)+b"},
    )
    with pytest.raises(TaskDataError, match=r"more than 0\.1 seconds .* 1 file\.") as caught:
        read(tmp_path, definition)
    assert caught.value.key == ("target", "pattern")


@pytest.mark.parametrize("kind", ["u1", "i2", "i4", "f4"])
def test_each_width_of_a_sound_is_scaled(kind, tmp_path):
    (tmp_path / "audio").mkdir()
    wave = np.linspace(-0.9, 0.9, 16)
    for number in range(20):
        scaled = {
            "u1": np.round(wave * 128) + 128,
            "i2": np.round(wave * 2**15),
            "i4": np.round(wave * 2**31),
            "f4": wave,
        }[kind].astype(kind)
        scaled[0] += number % 2
        wavfile.write(tmp_path / "audio" / f"{'ab'[number % 2]}{number}.wav", 8000, scaled)
    definition = define(
        input={"path": "audio"}, target={"source": "pattern", "pattern": "^(?P<label>.)"}
    )
    x = in_order(read(tmp_path, definition), "x")
    np.testing.assert_allclose(x[:, 0, 1:], np.tile(wave[1:], (20, 1)), atol=1 / 128)


def list_sounds(folder):
    (folder / "audio").mkdir()
    rows = ["file,label,speaker"]
    for number in range(30):
        wavfile.write(folder / "audio" / f"{number}.wav", 8000, sound(number, 8))
        rows.append(f"{number}.wav,{CLASSES[number % 3]},s{number % 10}")
    order = np.random.default_rng(0).permutation(30)
    (folder / "audio" / "labels.csv").write_text(
        "\n".join([rows[0], *(rows[1 + i] for i in order)])
    )
    return order


LISTED = {"source": "csv", "path": "audio/labels.csv"}


def test_sounds_with_labels_in_a_table(tmp_path):
    order = list_sounds(tmp_path)
    imported = read(tmp_path, define(input={"path": "audio"}, target=LISTED))
    expected = np.stack([sound(i, 8) for i in order]) / np.float32(2**15)
    np.testing.assert_array_equal(in_order(imported, "x")[:, 0], expected)
    np.testing.assert_array_equal(in_order(imported, "y"), order % 3)

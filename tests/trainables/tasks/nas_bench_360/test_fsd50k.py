import csv
import json
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from scipy.io import wavfile

from trainables.errors import DataError
from trainables.tasks.nas_bench_360.fsd50k import read
from trainables.tasks.nas_bench_360.log_mel import log_mel

RATE = 22050
LABELS = ("Bark", "Animal", "Rain", "Music")
CLIPS = {"tr": 24, "val": 3, "eval": 4}  # each with as many seconds as its number says
FOLDERS = {"tr": "dev_22050_chunks", "val": "dev_22050_chunks", "eval": "eval_22050_chunks"}
LISTS = {"train": "tr", "val": "val", "test": "eval"}


def write_wave(path: Path, seed: int, length: int = RATE) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    noise = np.random.default_rng(seed).normal(size=length)
    wave = 3000 * np.convolve(noise, np.ones(1 + seed % 7) / 3, mode="same")
    wavfile.write(path, RATE, wave.clip(-32000, 32000).astype(np.int16))


@pytest.fixture(scope="module")
def published(tmp_path_factory) -> Path:
    """Write the layout once: lists that name another machine's folders, and the sounds."""
    root = tmp_path_factory.mktemp("audio")
    (root / "chunks").mkdir()
    numbers = {label: number for number, label in enumerate(LABELS)}
    (root / "chunks" / "lbl_map.json").write_text(json.dumps(numbers))
    for number in range(3):
        write_wave(root / "noise_22050" / f"noise-{number}.wav", 500 + number, 8000 * (number + 1))
    clip = 100
    for name, count in CLIPS.items():
        rows = []
        for _ in range(count):
            clip += 1
            labels = ",".join(LABELS[clip % 3 :])
            for second in range(1 + clip % 3):
                file = f"{FOLDERS[name]}/{clip}_{second:04d}.wav"
                write_wave(root / file, 10 * clip + second)
                rows.append((f"/media/else/fsd50k/{file}", labels, clip))
        rows = rows[::-1] if name == "tr" else rows
        with (root / "chunks" / f"{name}.csv").open("w", newline="") as file:
            csv.writer(file).writerows([("files", "labels", "ext"), *rows])
    return root


@pytest.fixture
def root(published: Path, tmp_path: Path) -> Path:
    """A copy that a test may damage; sounds are links, to be replaced and not written to."""
    for path in published.rglob("*.*"):
        copy = tmp_path / "audio" / path.relative_to(published)
        copy.parent.mkdir(parents=True, exist_ok=True)
        if path.suffix == ".wav":
            copy.symlink_to(path)
        else:
            copy.write_bytes(path.read_bytes())
    return tmp_path / "audio"


def rows_of(root: Path, split: str) -> list[dict[str, str]]:
    with (root / "chunks" / f"{LISTS[split]}.csv").open() as file:
        return list(csv.DictReader(file))


def image_of(root: Path, split: str, row: dict[str, str]) -> np.ndarray:
    file = root / FOLDERS[LISTS[split]] / Path(row["files"]).name
    return log_mel(wavfile.read(file)[1] / 2**15)


@pytest.fixture(scope="module")
def imported(published, tmp_path_factory):
    return read([published], tmp_path_factory.mktemp("scratch"))


@pytest.mark.slow
def test_every_second_of_a_clip_to_test_on_is_read(published, imported):
    for split in ("val", "test"):
        data, rows = imported.splits[split], rows_of(published, split)
        assert sorted(data.sample_id) == list(range(len(rows)))
        for row, index in enumerate(data.sample_id):
            expected = image_of(published, split, rows[index])
            np.testing.assert_allclose(data.x[row, 0], expected, atol=0.032)
            labels = rows[index]["labels"].split(",")
            assert data.y[row].tolist() == [label in labels for label in LABELS]


def test_seconds_of_a_clip_stay_together_and_share_a_group(published, imported):
    for split in ("val", "test"):
        data, rows = imported.splits[split], rows_of(published, split)
        clips = [rows[index]["ext"] for index in data.sample_id]
        groups = dict(zip(clips, data.groups.tolist(), strict=True))
        assert [groups[clip] for clip in clips] == data.groups.tolist()
        assert len(set(groups.values())) == len(groups) == CLIPS[LISTS[split]]
        changes = sum(a != b for a, b in pairwise(clips))
        assert changes == len(groups) - 1
        names = [(rows[index]["ext"], rows[index]["files"]) for index in data.sample_id]
        assert all(a[0] != b[0] or a < b for a, b in pairwise(names))


def test_a_clip_to_train_on_gives_one_second(published, imported):
    data, rows = imported.splits["train"], rows_of(published, "train")
    clips = [rows[index]["ext"] for index in data.sample_id]
    assert sorted(clips) == sorted({row["ext"] for row in rows})
    assert clips != sorted(clips)
    seconds = {rows[index]["files"][-8:] for index in data.sample_id}
    assert len(seconds) > 1  # not the first of each
    for row, index in enumerate(data.sample_id):
        labels = rows[index]["labels"].split(",")
        assert data.y[row].tolist() == [label in labels for label in LABELS]


def test_three_in_four_images_to_train_on_are_mixed_with_noise(published, imported):
    data, rows = imported.splits["train"], rows_of(published, "train")
    shares = []
    noises = [wavfile.read(path)[1] / 2**15 for path in sorted(published.rglob("noise-*.wav"))]
    short = [log_mel(np.resize(noise, RATE)) for noise in noises[:2]]  # has one second only
    for row, index in enumerate(data.sample_id):
        clean = image_of(published, "train", rows[index])
        change = data.x[row, 0].astype(np.float64) - clean
        for background in short:
            towards = background - clean
            share = (change * towards).sum() / np.square(towards).sum()
            if np.abs(change - share * towards).max() < 0.1:
                shares.append(share)
                break
        else:
            shares.append(np.nan)  # the long noise, at an unknown position
    shares = np.array(shares)
    known = shares[np.isfinite(shares)]
    assert ((known > -1e-2) & (known < 0.5)).all()
    assert 0.5 <= 1 - np.mean(np.abs(shares) < 1e-2) <= 0.95
    assert len(np.unique(known.round(3))) > 5


def test_sounds_are_found_where_the_lists_say(root, scratch, imported, tmp_path):
    (root / "dev_22050_chunks").rename(tmp_path / "elsewhere")
    for name in ("tr", "val"):
        path = root / "chunks" / f"{name}.csv"
        listed = path.read_text().replace("/media/else/fsd50k/dev_22050_chunks", "X")
        path.write_text(listed.replace("X", str(tmp_path / "elsewhere")))
    again = read([root / "chunks"], scratch)
    np.testing.assert_array_equal(again.splits["val"].x, imported.splits["val"].x)


def edit(path: Path, old: str, new: str) -> None:
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, 1))


def test_a_label_that_is_unknown_is_named(root, scratch):
    edit(root / "chunks" / "val.csv", "Music", "Silence")
    with pytest.raises(
        DataError, match=r"val\.csv, row 1 below .*: lbl_map\.json has no `Silence`"
    ):
        read([root], scratch)


def test_labels_that_differ_within_a_clip_are_named(root, scratch):
    path = root / "chunks" / "eval.csv"
    lines = path.read_text().splitlines()
    rows = [line for line in lines if "_0001" in line]
    edit(path, rows[0], rows[0].replace('"', "").split(",")[0] + f",Rain,{rows[0][-3:]}")
    with pytest.raises(DataError, match=r"eval\.csv, row \d+ .*: clip \d+ has other labels above"):
        read([root], scratch)


@pytest.mark.parametrize(
    ("content", "fault"),
    [
        ("", "no column `files`"),
        ("files,labels\n", "no column `ext`"),
        ("files,labels,ext\n", "it lists nothing"),
        ("files,labels,ext\na/1.wav,Rain\n", ":2: cut short"),
        ("files,labels,ext\na/1.wav,,1\n", ":2: cut short"),
        ("files,labels,ext\nno/1.wav,Rain,1\n", r"the first file that it lists, no/1\.wav, is nei"),
        ("files,labels,ext\n\xff\n", "it cannot be read"),
    ],
)
def test_a_broken_list_is_named(root, scratch, content, fault):
    (root / "chunks" / "eval.csv").write_text(content, encoding="latin-1")
    with pytest.raises(DataError, match=rf"eval\.csv.*{fault}"):
        read([root], scratch)


@pytest.mark.parametrize("content", ["", "[]", "{}", '{"Bark": 1}', '{"Bark": "0"}', "[0]"])
def test_a_broken_map_of_labels_is_named(root, scratch, content):
    (root / "chunks" / "lbl_map.json").write_text(content)
    with pytest.raises(DataError, match=r"lbl_map\.json: no map of labels to numbers"):
        read([root], scratch)


def test_a_sound_that_is_missing_or_resampled_is_named(root, scratch):
    row = rows_of(root, "test")[-1]
    path = root / "eval_22050_chunks" / Path(row["files"]).name
    path.unlink()
    with pytest.raises(DataError, match=rf"{path.name}: it is not there"):
        read([root], scratch)
    wavfile.write(path, 44100, np.ones(44100, dtype=np.int16))
    with pytest.raises(DataError, match=rf"{path.name}: its sample rate is 44100"):
        read([root], scratch)

"""FSD50K: 200 sound events of a clip.

Fonseca et al., "FSD50K", IEEE/ACM TASLP 30 (2022); as a task, Tu et al., "NAS-Bench-360", NeurIPS
2022.

    x  the log-mel image of one second (`log_mel`)     [1, 96, 102]
    y  1 for each event of its clip, 0 for the rest    [200]

The file is audio.zip, or the folder of its contents. Clips are cut into seconds, which start every
half second:

    chunks/{tr,val,eval}.csv    files, labels, ext: a second, the events of its clip, its clip
    chunks/lbl_map.json         the number of each event
    noise_22050/*.wav           background noise (MUSAN)

The seconds have 22050 samples each. They are in the folders that the lists name, either absolute or
below these folders.

As in ORCA's loader, a training clip gives one random second. With probability 0.75, its image is
mixed with that of a second of noise:

    x <- (1 - a) x + a noise,    a ~ U(0, 0.5)

The second and its noise are drawn once. ORCA also masks times and frequencies; this reader does
not, because the masks would be permanent in half of the images. ORCA centres the noise over a whole
file, this reader over its second. Validation and test clips give all their seconds, which form a
group. The validation split is val.csv, the official tenth of the development clips. Images are
stored in half precision, with an error of at most 0.03 dB.
"""

import csv
import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from io import TextIOWrapper
from pathlib import Path, PurePosixPath

import numpy as np

from trainables.errors import DataError
from trainables.tasks.benchmark import ImportedSplits
from trainables.tasks.formats.archives import find_archives, unpacked
from trainables.tasks.formats.files import find_root, open_regular, shown
from trainables.tasks.nas_bench_360.log_mel import (
    BANDS,
    FRAMES,
    RATE,
    log_mel,
    one_second,
    read_wave,
)
from trainables.tasks.splitting import shuffled, uniforms
from trainables.tasks.store.arrays import scratch_array
from trainables.tasks.store.split import SplitData

LISTS = {"train": "tr.csv", "val": "val.csv", "test": "eval.csv"}
MAP = "lbl_map.json"
PUBLISHED = "audio.zip"
HOLDING = re.compile(r"(^|/)lbl_map\.json$")
WANTED = re.compile(r"\.(wav|csv|json)$")
COLUMNS = ("files", "labels", "ext")
NOISE = "noise_22050"
MIXED, MAX_NOISE = 0.75, 0.5

Mix = Callable[[int, np.ndarray], np.ndarray]  # number of a clip and image -> image


@dataclass(frozen=True)
class _Clip:
    """A clip: the numbers of its events, and its seconds as (row of the list, file)."""

    events: tuple[int, ...]
    seconds: list[tuple[int, Path]] = field(default_factory=list)


@dataclass(frozen=True)
class _Layout:
    """The used contents of the unpacked folders, with all random choices."""

    numbers: Mapping[str, int]  # by event
    clips: Mapping[str, list[_Clip]]  # by split; training clips have one second each
    noise: Sequence[Path]
    draws: np.ndarray  # [n, 4] of U(0, 1) by clip: noise or not, its file, position and amount

    @classmethod
    def of(cls, root: Path, seed: int, within: Path | None = None) -> "_Layout":
        """Read the lists.

        Args:
            root: Folder of the lists.
            seed: Seed of all random choices.
            within: Folder of an unpacked archive, which no path may leave; None: no limit.

        Raises:
            DataError: A list, the map of labels or the noise is missing, or differs from the
                published one.
        """
        numbers = _read_label_map(root / MAP)
        clips = {split: _read_list(root / name, numbers, within) for split, name in LISTS.items()}
        draws = uniforms((len(clips["train"]), 5), seed, "fsd50k", "train", "second and noise")
        clips["train"] = [
            _Clip(clip.events, [clip.seconds[int(which * len(clip.seconds))]])
            for clip, which in zip(clips["train"], draws[:, 0], strict=True)
        ]
        for clip in (clip for members in clips.values() for clip in members):
            for _, path in clip.seconds:
                if not path.is_file():
                    raise DataError(f"{path}: it is not there. Unpack audio.zip whole.")
        return cls(numbers, clips, _find_noise(root), draws[:, 1:])

    def noise_of(self, clip: int) -> Path | None:
        """Return the noise for a training clip, or None."""
        mixed, which = self.draws[clip, :2]
        return None if mixed >= MIXED else self.noise[int(which * len(self.noise))]

    def mixed(self, clip: int, image: np.ndarray) -> np.ndarray:
        """Return the image of a training clip, mixed with its noise if it has any."""
        if (path := self.noise_of(clip)) is None:
            return image
        position, amount = self.draws[clip, 2:]
        share = MAX_NOISE * amount
        noise = log_mel(one_second(read_wave(path), position))
        mixture: np.ndarray = (1 - share) * image + share * noise
        return mixture


def find(files: Sequence[Path], *, seed: int = 0) -> dict[str, Path]:
    """Return the files to read by their published names: the archive, or its contents.

    Raises:
        DataError: A list, the map of labels, the noise or a sound is missing.
    """
    if archives := find_archives(files, PUBLISHED, HOLDING):
        return {path.name: path for path in archives}
    root = find_root(files, MAP)
    layout = _Layout.of(root, seed)
    members = [clip for clips in layout.clips.values() for clip in clips]
    noise = [layout.noise_of(clip) for clip in range(len(layout.clips["train"]))]
    paths = [root / MAP, *(root / name for name in LISTS.values())]
    paths += [path for clip in members for _, path in clip.seconds]
    paths += [path for path in noise if path is not None]
    return {"/".join(path.parts[-2:]): path for path in paths}


def read(files: Sequence[Path], scratch: Path, *, seed: int = 0) -> ImportedSplits:
    """Read the seconds of every clip, and mix those of training with noise.

    Raises:
        DataError: A list, the map of labels, the noise or a sound is missing, or differs from the
            published one.
    """
    archives = find_archives(files, PUBLISHED, HOLDING)
    with unpacked(archives, scratch, WANTED) as folders:
        layout = _Layout.of(find_root(folders or files, MAP), seed, *folders[:1])
        splits = {}
        for split, members in layout.clips.items():
            order = shuffled(len(members), seed, "fsd50k", split)
            stem = scratch / f"fsd50k-{split}"
            mix = layout.mixed if split == "train" else lambda clip, image: image
            splits[split] = _read_split(members, order, len(layout.numbers), stem, mix)
    return ImportedSplits(splits, {"normalization": {"kind": "the mean of each second is 0 dB"}})


def _read_label_map(path: Path) -> dict[str, int]:
    try:
        with open_regular(path) as file:
            numbers = json.loads(file.read())
        # An empty map passes the first comparison, but names no label.
        if sorted(numbers.values()) == list(range(len(numbers))) != []:
            return {str(label): int(number) for label, number in numbers.items()}
        fault = "its numbers are not 0, 1, 2 and so on"
    except (OSError, ValueError, AttributeError, TypeError, RecursionError) as error:
        fault = shown(str(error))
    raise DataError(f"{path}: no map of labels to numbers ({fault}). Unpack audio.zip anew.")


def _read_list(path: Path, numbers: Mapping[str, int], within: Path | None) -> list[_Clip]:
    """Return the clips of a list with the paths of their seconds."""
    # The first file of a list determines the folder of all, since a search for each would be slow.
    clips: dict[str, _Clip] = {}
    folder = None
    for row, (file, labels, name) in enumerate(_read_rows(path)):
        where = f"{path}, row {row + 1} below the head"
        if unknown := [label for label in labels.split(",") if label not in numbers]:
            label = shown(unknown[0])
            raise DataError(f"{where}: lbl_map.json has no `{label}`. Unpack audio.zip anew.")
        folder = folder or _find_folder(path, file, within)
        events = tuple(sorted(numbers[label] for label in labels.split(",")))
        clip = clips.setdefault(name, _Clip(events))
        if clip.events != events:
            raise DataError(
                f"{where}: clip {shown(name)} has other labels above. Unpack audio.zip anew."
            )
        clip.seconds.append((row, folder / _parts(file)[-1]))
    if not clips:
        raise DataError(f"{path}: it lists nothing. Unpack audio.zip anew.")
    files = [second for clip in clips.values() for _, second in clip.seconds]
    if len(set(files)) < len(files):
        raise DataError(f"{path}: it lists a second twice. Unpack audio.zip anew.")
    for clip in clips.values():
        # The order of a list must not decide which second of a clip is drawn.
        clip.seconds.sort(key=lambda second: second[1].name)
    return [clips[name] for name in sorted(clips)]


def _read_rows(path: Path) -> Iterator[tuple[str, str, str]]:
    try:
        with open_regular(path) as raw, TextIOWrapper(raw, encoding="utf-8", newline="") as file:
            rows = csv.DictReader(file)
            if missing := [column for column in COLUMNS if column not in (rows.fieldnames or ())]:
                raise DataError(f"{path}: no column `{missing[0]}`. Unpack audio.zip anew.")
            for row in rows:
                file_name, labels, name = (row[column] for column in COLUMNS)
                if not (file_name and labels and name):
                    raise DataError(f"{path}:{rows.line_num}: cut short. Unpack audio.zip anew.")
                yield file_name, labels, name
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"{path}: it cannot be read ({error}). Unpack audio.zip anew.") from error


def _find_folder(manifest: Path, file: str, within: Path | None) -> Path:
    """Return the folder of a listed file.

    It is the listed folder, or the last parts of its path, below or beside the folder of the lists.
    """
    *folders, name = _parts(file)
    for base in (manifest.parent, manifest.parent.parent):
        for skipped in range(len(folders) + 1):
            folder = base.joinpath(*folders[skipped:])
            inside = within is None or folder.resolve().is_relative_to(within.resolve())
            if inside and (folder / name).is_file():
                return folder
    raise DataError(
        f"{manifest}: the first file that it lists, {file}, is neither there nor in a folder of "
        f"that name below {manifest.parent.parent}. Unpack audio.zip whole, or move the folder."
    )


def _parts(file: str) -> tuple[str, ...]:
    return PurePosixPath(file.replace("\\", "/")).parts


def _find_noise(root: Path) -> list[Path]:
    for folder in (root / NOISE, root.parent / NOISE):
        if found := sorted(folder.glob("*.wav")):
            return found
    raise DataError(
        f"{root.parent / NOISE}: no .wav of background noise, which is mixed with the sounds to "
        f"train on. Unpack audio.zip whole, or put MUSAN's noise there, at {RATE} samples a second."
    )


def _read_split(
    clips: Sequence[_Clip], order: np.ndarray, num_events: int, stem: Path, mix: Mix
) -> SplitData:
    rows = [(clip, sample, file) for clip in order.tolist() for sample, file in clips[clip].seconds]
    x = scratch_array(Path(f"{stem}-x.raw"), (len(rows), 1, BANDS, FRAMES), np.float16)
    y = np.zeros((len(rows), num_events), dtype=np.float32)
    for row, (clip, _, file) in enumerate(rows):
        x[row, 0] = mix(clip, log_mel(one_second(read_wave(file))))
        y[row, clips[clip].events] = 1
    return SplitData(
        sample_id=np.array([sample for _, sample, _ in rows]),
        x=x,
        y=y,
        groups=np.array([clip for clip, _, _ in rows]),
    )

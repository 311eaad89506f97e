"""The content of a task's data: shapes, classes, ranges, trivial baselines, and a picture."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from sweeper.commands.data import named, usable_sets
from sweeper.commands.result import Result
from sweeper.errors import UsageError
from sweeper.planning.catalog import as_usage_errors
from sweeper.planning.own_tasks import change_since_import
from sweeper.text import JsonObject
from trainables.tasks.kinds import KINDS
from trainables.tasks.own.statistics import ChannelStatistics
from trainables.tasks.registry import task_info
from trainables.tasks.store.arrays import release
from trainables.tasks.store.manifest import FOLDER
from trainables.tasks.store.split import SPLITS
from trainables.tasks.store.store import Store
from trainables.tasks.task import TaskInfo

LOOKED_AT = 2**28  # bytes of training samples at most, of which ranges are computed
SAMPLES, COLUMNS = 8, 4  # of the picture
FONT = "DejaVu Sans"  # which matplotlib brings
EAST_ASIAN = re.compile("CJK|Gothic|Mincho|Ming|Song|Hei|Kai|WenQuan|Hiragino|Malgun|Fallback")
CURVES = 6  # channels of a series that the picture shows


@dataclass(frozen=True, kw_only=True)
class Range(Result):
    """The values of a channel in the training samples that were looked at."""

    name: str
    least: float
    greatest: float
    mean: float
    std: float


@dataclass(frozen=True, kw_only=True)
class ClassCount(Result):
    """A class, or a label of a set, and its samples in each split."""

    name: str
    samples: Mapping[str, int]


@dataclass(frozen=True, kw_only=True)
class DataShown(Result):
    """The content of one data set of a task."""

    task: str
    title: str
    set: str
    folder: Path
    kind: str
    metric: str
    protocol: str
    splits: Mapping[str, int]
    input_shape: tuple[int, ...]
    output_shape: tuple[int, ...]
    stored: str  # type of the inputs on disk
    bytes: int
    content_hash: str
    classes: tuple[ClassCount, ...]  # of tasks with labels
    looked_at: int  # training samples of which the ranges are
    inputs: tuple[Range, ...]
    outputs: tuple[Range, ...]  # of tasks without labels
    baselines: Mapping[str, float]
    notes: tuple[str, ...]  # of the import, and on what has changed since
    picture: Path | None


def show(name: str, picture: Path | None = None, include: Sequence[Path] = ()) -> DataShown:
    """Return the content of a task's data, and draw a few training samples if a file is named.

    Args:
        name: A task, or the task file of an own task.
        picture: The PNG file to write; None: no picture.
        include: Task files of own tasks, or folders of them.

    Raises:
        UsageError: There is no such task, or none of its data are here.
        FileFaults: A task file has a fault.
    """
    name = named(name, include)
    with as_usage_errors():
        info = task_info(name)
        # Imported data come first, then generated sets by name.
        found = sorted(usable_sets(name), key=lambda path: path.name != FOLDER)
        store = Store(found[0])
        if picture is not None:
            _check_picture(picture)
        shown = _shown(info, store, picture)
        if picture is not None:
            _draw(info, store, shown, picture)
    return shown


def _check_picture(path: Path) -> None:
    if path.suffix.lower() != ".png":
        raise UsageError(f"-o {path}: the picture is a PNG file: name it FILE.png.")
    if path.is_dir() or not path.parent.is_dir():
        raise UsageError(f"-o {path}: a file in a folder that exists is needed.")


def _shown(info: TaskInfo, store: Store, picture: Path | None) -> DataShown:
    manifest, train = store.manifest, store.stored("train")
    labels = KINDS[info.kind].outputs in ("labels", "label_sets")
    # Packed inputs are shown as a network takes them, all others in the unit of the given files.
    x = store.train.x if manifest.get("pair_features") else train["x"]
    size = int(np.prod(store.train.x.shape[1:])) * 4
    count = max(1, min(len(x), LOOKED_AT // max(1, size)))
    return DataShown.of(
        info,
        store,
        task=info.name,
        set=store.folder.name,
        splits={split: manifest["files"][f"{split}.arrow"]["samples"] for split in SPLITS},
        input_shape=tuple(store.train.x.shape[1:]),
        output_shape=tuple(train["y"].shape[1:]),
        stored=str(train["x"].dtype),
        bytes=sum(entry["bytes"] for entry in manifest["files"].values()),
        classes=tuple(_classes(info, store)) if labels else (),
        looked_at=count,
        inputs=_ranges(x, count, _names(manifest, "channel_names")),
        outputs=() if labels else _ranges(train["y"], count, _names(manifest, "output_names")),
        baselines=dict(manifest["baselines"]),
        notes=(*manifest.get("notes", ()), *filter(None, [change_since_import(info.name)])),
        picture=picture,
    )


def _names(manifest: JsonObject, key: str) -> list[str]:
    return [str(each) for each in manifest.get(key) or ()]


def _classes(info: TaskInfo, store: Store) -> list[ClassCount]:
    names = _names(store.manifest, "classes")
    if len(names) != info.channels[1]:
        names = [str(i) for i in range(info.channels[1])]
    counts: dict[str, np.ndarray] = {}
    for split in SPLITS:
        y = store.stored(split)["y"]
        # Sets of labels are rows of 0 and 1, so that a sum counts each label.
        one_each = y.ndim == 1
        counts[split] = np.bincount(y, minlength=len(names)) if one_each else y.sum(axis=0)
    return [
        ClassCount(name=name, samples={split: int(counts[split][i]) for split in SPLITS})
        for i, name in enumerate(names)
    ]


def _ranges(rows: Any, count: int, names: Sequence[str]) -> tuple[Range, ...]:
    """Return the range of each channel of the first rows [n, c, ...], which are in random order."""
    channels, axes = rows.shape[1], (0, *range(2, len(rows.shape)))
    least, greatest = np.full(channels, np.inf), np.full(channels, -np.inf)
    statistics = ChannelStatistics(channels)
    # A block has at most 16 MiB in double precision.
    step = max(1, 2**24 // max(1, int(np.prod(rows.shape[1:])) * 8))
    for start in range(0, count, step):
        block = np.asarray(rows[np.arange(start, min(count, start + step))], dtype=np.float32)
        least = np.minimum(least, block.min(axis=axes))
        greatest = np.maximum(greatest, block.max(axis=axes))
        statistics.add(block)
        # What was read of a mapped file stays in this process's memory until it is released.
        if isinstance(rows, np.ndarray):
            release(rows)
    return tuple(
        Range(
            name=names[i] if len(names) == channels else str(i),
            least=float(least[i]),
            greatest=float(greatest[i]),
            mean=float(statistics.mean[i]),
            std=float(statistics.std[i]),
        )
        for i in range(channels)
    )


def _draw(info: TaskInfo, store: Store, shown: DataShown, path: Path) -> None:
    """Draw the first training samples: series as curves, images as they are."""
    from matplotlib import rc_context
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    is_field = KINDS[info.kind].outputs == "fields"
    packed = bool(store.manifest.get("pair_features"))
    x = store.train.x if packed else store.stored("train")["x"]
    rows = np.arange(min(SAMPLES, len(x)))
    samples, targets = np.asarray(x[rows]), np.asarray(store.stored("train")["y"][rows])
    height = (2 if is_field else 1) * -(-len(rows) // COLUMNS)
    figure = Figure(figsize=(3 * COLUMNS, 2.6 * height), layout="constrained")
    # pyplot would keep the figure in a global list and might look for a display.
    FigureCanvasAgg(figure)
    axes = figure.subplots(height, COLUMNS, squeeze=False)
    for each in axes.flat:
        each.set_axis_off()
    names = [each.name for each in shown.classes]
    fonts, known = fonts_for("".join(names) + shown.task)
    with rc_context({"font.family": fonts}):
        for i, sample in enumerate(samples):
            line, column = divmod(i, COLUMNS)
            upper = axes[line * (2 if is_field else 1), column]
            draw_one(upper, sample)
            upper.set_title(drawable(_title(info, targets[i], names), known), fontsize=8)
            if is_field:
                lower = axes[line * 2 + 1, column]
                draw_one(lower, targets[i])
                lower.set_title("output", fontsize=8)
        title = f"{shown.task}, set {shown.set}: {len(rows)} training samples"
        figure.suptitle(drawable(title, known), fontsize=10)
        figure.savefig(path, format="png", dpi=80)


def fonts_for(text: str) -> tuple[list[str], set[int]]:
    """Return fonts for a text, and the numbers of the characters that they have."""
    from matplotlib.font_manager import findfont, fontManager, get_font

    names = [FONT]
    known = set(get_font(findfont(FONT)).get_charmap())
    # Other fonts are opened only where the text needs them, since each takes a while.
    if not {*map(ord, text)} <= known:
        for entry in fontManager.ttflist:
            if EAST_ASIAN.search(entry.name) and entry.name not in names:
                names.append(entry.name)
                known |= set(get_font(entry.fname).get_charmap())
    return names, known


def drawable(text: str, known: set[int]) -> str:
    """Return a text with escapes for characters that no font has, and without formulas."""
    plain = (c if ord(c) in known else c.encode("unicode_escape").decode() for c in text)
    return "".join(plain).replace("$", r"\$")


def draw_one(axes: Any, sample: np.ndarray) -> None:
    """Draw a series [c, l] as curves, and an image [c, h, w] in colours or its first channel."""
    axes.set_axis_on()
    values = sample.astype(np.float64)
    if values.ndim == 2:
        for curve in values[:CURVES]:
            axes.plot(curve, linewidth=0.8)
        axes.tick_params(labelsize=6)
        return
    axes.set_xticks([])
    axes.set_yticks([])
    if len(values) == 3:
        low, high = values.min(), values.max()
        # A constant image has no range to divide by.
        axes.imshow(np.moveaxis((values - low) / ((high - low) or 1.0), 0, -1))
    else:
        axes.imshow(values[0], cmap="viridis")


def _title(info: TaskInfo, target: np.ndarray, names: Sequence[str]) -> str:
    match KINDS[info.kind].outputs:
        case "labels":
            text = names[int(target)]
        case "label_sets":
            text = ", ".join(names[i] for i in np.flatnonzero(target)[:4]) or "no label"
        case "vectors":
            text = ", ".join(f"{value:.4g}" for value in np.atleast_1d(target)[:4])
        case _:
            text = "input"
    return text[:40]

"""The draft of a task file: its keys, remarks on them, and what names and shapes tell."""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from trainables.errors import DataError
from trainables.tasks.own.conversion import typical_length
from trainables.tasks.own.files import relative
from trainables.tasks.own.formats.samples import SampleArray, joined
from trainables.tasks.own.formats.tables import is_number, is_text
from trainables.tasks.store.split import SPLITS

INPUTS = ("x", "data", "input", "inputs", "image", "images", "img", "signal", "signals", "features")
TARGETS = ("y", "label", "labels", "class", "target", "targets", "output", "outputs", "category")
DEFAULT_SPLITS = {
    "train": ("train", "training"),
    "val": ("val", "valid", "validation", "dev"),
    "test": ("test", "testing"),
}
LOOKED_AT = 2**26  # bytes of the inputs that are searched for missing values
FEW_CHANNELS = 4  # of an image
# More distinct numbers than both are no classes: a number, and a share of the samples.
MANY_CLASSES, MAX_CLASSES = 20, 0.2
EACH_CLASS = 4  # samples that stratified shares need


@dataclass
class Draft:
    """The keys of a task file, and remarks on them."""

    kind: str = "classification"
    input: dict[str, Any] = field(default_factory=dict)
    target: dict[str, Any] = field(default_factory=dict)
    splits: dict[str, Any] = field(default_factory=dict)
    found: list[str] = field(default_factory=list)  # what the files hold
    open: list[str] = field(default_factory=list)  # what the user has to fill in
    count: int | None = None  # samples that shares are taken from; None: not known

    def add_splits(self, files: Mapping[str, Sequence[Path]], folder: Path) -> None:
        """Add the files, or the folders, of each split."""
        for split in SPLITS:
            if names := [relative(path, folder) for path in files.get(split, ())]:
                self.splits[split] = names[0] if len(names) == 1 else names

    def say_left_out(self, paths: Sequence[Path], folder: Path) -> None:
        """Name the files that are in no split."""
        if names := [relative(path, folder) for path in paths]:
            self.found.append(f"left out, of another shape or of no split: {joined(names)}")


def role(name: str) -> tuple[str | None, str]:
    """Return the split that a name tells of, or None, and the other words of the name."""
    # A capital letter begins a word, as in `xTrain`.
    words = re.findall("[a-z]+|[0-9]+", re.sub("([a-z])([A-Z])", r"\1_\2", name).lower())
    for split, usual in DEFAULT_SPLITS.items():
        for place, word in enumerate(words):
            for each in usual:
                rest = word.removeprefix(each) if word.startswith(each) else word.removesuffix(each)
                # `xtrain` and `trainlabels` are split names, too, but `contest` is none.
                if rest != word and (not rest or rest in INPUTS + TARGETS):
                    others = [*words[:place], *([rest] if rest else ()), *words[place + 1 :]]
                    return split, "_".join(others)
    return None, "_".join(words)


def is_called(name: str | None, usual: Iterable[str]) -> bool:
    """Return whether a name, without its split, is a usual one."""
    return name is not None and role(name.rpartition("/")[2])[1] in usual


def by_split(paths: Sequence[Path]) -> dict[str, list[Path]]:
    """Return the files or folders whose names tell their split, by split."""
    found: dict[str, list[Path]] = {}
    for path in paths:
        if split := role(path.stem)[0]:
            found.setdefault(split, []).append(path)
    return found


def describe_inputs(draft: Draft, inputs: SampleArray) -> None:
    """Choose the layout of the inputs, and what their values and lengths need."""
    draft.count = inputs.count
    draft.input["layout"] = inputs.layout or _layout(inputs)
    if inputs.dtype.kind == "c":
        draft.input["complex"] = "channels"
    if inputs.lengths is not None and len(np.unique(inputs.lengths)) > 1:
        low, high = int(inputs.lengths.min()), int(inputs.lengths.max())
        length = typical_length(inputs.lengths)
        draft.input["length"] = length
        draft.found.append(
            f"sequences have {low} to {high} points: `length: {length}` cuts "
            f"{(inputs.lengths > length).sum()} of {inputs.count}, and pads shorter ones"
        )
    elif inputs.dtype.kind in "fc" and _has_gaps(inputs):
        draft.input["missing"] = "mean"
        draft.found.append("some values of the inputs are missing: `missing` imputes them")


def _layout(inputs: SampleArray) -> str:
    shape = inputs.shape
    if len(shape) == 1:
        return "NL"
    if len(shape) == 2:
        if inputs.dtype == np.uint8 or shape[0] == shape[1] > FEW_CHANNELS:
            return "NHW"
        # Series have fewer channels than points as a rule.
        return "NCL" if shape[0] <= shape[1] else "NLC"
    return "NHWC" if shape[2] <= FEW_CHANNELS < shape[0] else "NCHW"


def _has_gaps(inputs: SampleArray) -> bool:
    seen = 0
    for block in inputs.read():
        if isinstance(block, np.ndarray):
            if np.isnan(block).any():
                return True
            seen += block.nbytes
        if seen > LOOKED_AT:
            break
    return False


def describe_target(draft: Draft, outputs: SampleArray) -> None:
    """Choose the kind of the task by its outputs, and what its shares need."""
    shape = outputs.shape
    if len(shape) > 1 or outputs.lengths is not None:
        draft.kind = "dense"
        layout = outputs.layout or _layout(outputs)
        if layout != draft.input["layout"]:
            draft.target["layout"] = layout
        return
    values = outputs.values()
    number = values.dtype.kind in "buif"
    if shape and shape[0] > 1:
        sets = number and bool(np.isin(values, (0, 1)).all())
        one_hot = sets and bool((values.sum(axis=1) == 1).all())
        draft.kind = "classification" if one_hot else "multilabel" if sets else "regression"
        values = values.argmax(axis=1) if one_hot else values
    elif number:
        draft.kind = "classification" if are_classes(values) else "regression"
    if draft.kind == "classification":
        classes, counts = np.unique(values, return_counts=True)
        draft.found.append(f"{len(classes)} classes, of {counts.min()} to {counts.max()} samples")
        if alone := [f"{name}" for name in classes[counts == 1]]:
            draft.found.append(f"of one sample, which trains or is scored: {joined(alone)}")
        # A tenth of the samples, the usual share for validation, must have room for each class.
        if counts.min() < EACH_CLASS or len(classes) > 0.1 * len(values):
            draft.splits["stratified"] = False


def are_classes(values: np.ndarray) -> bool:
    """Return whether numbers look like classes: they are whole, and few of them differ."""
    is_whole = bool(np.isfinite(values).all() and (values == np.round(values)).all())
    return is_whole and len(np.unique(values)) <= max(MANY_CLASSES, MAX_CLASSES * len(values))


def target_column(names: Sequence[str], types: Mapping[str, Any], *, wide: bool) -> str:
    """Return the column that is probably the output, which `wide` inputs do not make rare."""
    single = [name for name in names if is_number(types[name]) or is_text(types[name])]
    usual = [name for name in single if is_called(name, TARGETS)]
    if usual:
        return usual[0]
    text = [name for name in single if is_text(types[name])]
    if not wide and len(text) == 1:
        return text[0]
    if not single:
        raise DataError("no column of numbers or text could be the output.")
    return single[-1]

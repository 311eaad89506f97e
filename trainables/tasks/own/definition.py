"""The keys of a task file (`*.task.yaml`): what a user's data are, and how they are read.

A task file describes data of any supported format. Importing it writes the same store that the
tasks of a benchmark have, so that every method trains on it unchanged. This module loads no torch.
"""

import hashlib
import json
from collections.abc import Mapping
from pathlib import PurePath
from typing import Annotated, Any, Literal

from pydantic import (
    BeforeValidator,
    ConfigDict,
    Field,
    WithJsonSchema,
    field_validator,
    model_validator,
)

from trainables.spec import Dimension, Spec
from trainables.tasks.kinds import KINDS, Kind
from trainables.tasks.own.formats.endings import IMAGES
from trainables.tasks.own.sound import Representation

Key = tuple[str, ...]  # of a task file, such as ("input", "path")
Layout = Literal["NL", "NCL", "NLC", "NHW", "NCHW", "NHWC"]
LAYOUTS: Mapping[str, Dimension] = {  # order of the axes of an array -> dimension of the task
    "NL": "1d",
    "NCL": "1d",
    "NLC": "1d",
    "NHW": "2d",
    "NCHW": "2d",
    "NHWC": "2d",
}
DESCRIPTIVE = ("title", "licence", "citation")  # keys that change neither data nor trials
LABELS_ONLY = (*DESCRIPTIVE, "recipe")  # keys that do not change stored data
NAME = r"^[a-z0-9][a-z0-9_-]{0,62}/[a-z0-9][a-z0-9_-]{0,62}$"


FILL_IN = "FILL IN"  # the value of a key that only the user knows


def _listed(value: Any) -> Any:
    return (
        (value,) if isinstance(value, str) else tuple(value) if isinstance(value, list) else value
    )


TEXTS = {"anyOf": [{"type": "string"}, {"type": "array", "items": {"type": "string"}}]}
Paths = Annotated[  # paths or globs, relative to the file; a single one needs no list
    tuple[str, ...], BeforeValidator(_listed), WithJsonSchema(TEXTS)
]


class Section(Spec):
    """A part of a task file, which `sweeper data init` may have left to be filled in.

    Text stands for no number, and for no `true`.
    """

    model_config = ConfigDict(strict=True)

    @field_validator("*", mode="before")
    @classmethod
    def _check_filled(cls, given: Any) -> Any:
        if FILL_IN in (given if isinstance(given, list) else [given]):
            raise ValueError("is still to be filled in")
        return given


class InputData(Section):
    """Files of the inputs, and the order of their axes."""

    path: Paths = Field(
        default=(),
        description="File, folder or glob, or a list of them, relative to the task file. Left out "
        "if each split names its own files.",
    )
    key: str | None = Field(None, description="Name of the array or dataset in the file.")
    columns: Paths = Field(
        default=(), description="Columns of a table that become channels, or globs over columns."
    )
    sample: str | None = Field(
        None,
        description="Column of a long table: each row is one point, and rows with the same value "
        "of this column are a sequence.",
    )
    header: bool = Field(
        True,
        description="The first line of a CSV file names its columns. false: they are called 0, 1, "
        "2 and so on.",
    )
    layout: Layout | None = Field(
        None, description="Order of the axes: N samples, C channels, L points, H rows, W columns."
    )
    length: int | None = Field(
        None, ge=1, description="Points of every sequence; others are padded by zeros or cut."
    )
    representation: Representation = Field(
        "raw", description="Of sounds: their points, or images of their spectrograms."
    )
    size: Annotated[tuple[int, int], BeforeValidator(_listed)] | None = Field(
        None, description="Rows and columns of every image; others are resized."
    )
    complex: Literal["refuse", "channels", "magnitude"] = Field(
        "refuse", description="Complex inputs: real and imaginary parts as channels, or magnitudes."
    )
    missing: Literal["refuse", "zero", "mean", "interpolate"] = Field(
        "refuse", description="Missing values: what replaces them. mean: of the training split."
    )


class TargetData(Section):
    """Files of the outputs."""

    path: Paths = Field(default=(), description="As of `input`; default: the input's files.")
    key: str | None = Field(None, description="Name of the array, dataset or column.")
    columns: Paths = Field(default=(), description="Columns of a table with one output each.")
    layout: Layout | None = Field(None, description="Of dense outputs; default: the input's.")
    source: Literal["array", "folder", "csv", "pattern"] = Field(
        "array",
        description="array: `key` or `columns`. folder: the name of a sample's folder. csv: a "
        "table of file names and labels. pattern: a group of `pattern` in the file name.",
    )
    pattern: str | None = Field(
        None, description="Regular expression over the file name, whose group `label` is the label."
    )
    file_column: str = Field("file", description="Column of file names in the csv.")
    label_column: str = Field("label", description="Column of labels in the csv.")


class SplitArrays(Spec):
    """The arrays of a split, in the files that hold those of the training split."""

    input: str = Field(description="Name of the array of inputs, as `input.key` for training.")
    target: str = Field(description="Name of the array of outputs, as `target.key` for training.")


Held = Paths | float | SplitArrays  # out of training


class Splits(Section):
    """Division of the samples into splits: files or arrays of each split, or shares of one set."""

    train: Paths = Field(default=(), description="Files of the training split.")
    val: Held = Field(
        default=0.1,
        description="Files of the validation split, its arrays, such as {input: x_val, target: "
        "y_val}, or its share of the samples.",
    )
    test: Held = Field(
        default=0.2, description="As `val`: files, arrays, or a share of the samples."
    )
    column: str | None = Field(
        None, description="Column or array that holds `train`, `val` or `test` for each sample."
    )
    group: str | None = Field(
        None, description="Column or array of groups; no group is in two splits."
    )
    stratified: bool = Field(True, description="Keep the shares of classes in every split.")
    seed: int = Field(0, ge=0)

    @field_validator("train", mode="before")
    @classmethod
    def _check_train(cls, given: Any) -> Any:
        if isinstance(given, float | int):
            raise ValueError("must name files: the share that trains is what val and test leave")
        return given

    @field_validator("val", "test", mode="before")
    @classmethod
    def _check_arrays(cls, given: Any) -> Any:
        # pydantic would report a fault for each type of the union.
        if isinstance(given, dict) and not (
            given.keys() == {"input", "target"} and all(isinstance(v, str) for v in given.values())
        ):
            raise ValueError("must be files, a share, or {input: NAME, target: NAME}")
        return given

    @property
    def shares(self) -> set[str]:
        """The splits that are shares of the samples; none if a column divides them."""
        held = {"val": self.val, "test": self.test} if self.column is None else {}
        return {split for split, given in held.items() if isinstance(given, float | int)}


class TaskDefinition(Section):
    """A task of a user, as its file describes it."""

    name: str = Field(pattern=NAME, description="BENCHMARK/NAME, such as mine/wafer.")
    title: str = Field("", description="As printed in tables; default: the name.")
    kind: Kind
    input: InputData
    target: TargetData = TargetData()
    splits: Splits = Splits()
    metric: str | None = Field(None, description="A metric of sweeper; default: by kind.")
    standardize: bool = Field(
        True, description="Standardise input channels by the training split's mean and deviation."
    )
    licence: str = Field("not stated", description="Licence of the data.")
    citation: str = Field("", description="Publication of the data.")
    recipe: Mapping[str, Any] = Field(
        default_factory=dict, description="Settings of the last stage, as first trials have them."
    )

    @model_validator(mode="after")
    def _check(self) -> "TaskDefinition":
        if not self.input.path and not self.splits.train:
            raise ValueError("name the files under `input.path` or under `splits.train`.")
        if self.input.path and self.splits.train:
            raise ValueError("`input.path` and `splits.train` name the inputs twice: keep one.")
        if self.input.representation != "raw" and self.input.layout is not None:
            raise ValueError(
                f"`input.representation: {self.input.representation}` makes images of sounds: "
                "leave `input.layout` out."
            )
        known = KINDS[self.kind].metrics
        if self.metric is not None and self.metric not in known:
            raise ValueError(
                f"`metric: {self.metric}` is not one of {self.kind} tasks: {', '.join(known)}."
            )
        if self._dimension() is None:
            raise ValueError(
                "say `input.layout`, the order of the axes, such as NCL for series, or NHWC for "
                "images: the names of these files do not tell whether samples are 1D or 2D."
            )
        return self

    def _dimension(self) -> Dimension | None:
        """Return the dimension by the layout, or else by other keys and by names of files.

        Without a layout, arrays and tables hold one series for each sample (NL).
        """
        if self.input.layout is not None:
            return LAYOUTS[self.input.layout]
        if self.input.size is not None or self.input.representation != "raw":
            return "2d"
        if self.input.length is not None or self.input.columns:
            return "1d"
        suffixes = {PurePath(path).suffix.lower() for path in self.input.path or self.splits.train}
        images = suffixes & set(IMAGES)
        # A folder has no ending, and may hold images or others. Mixed endings tell no dimension,
        # either.
        if "" in suffixes or (images and images != suffixes):
            return None
        return "2d" if images else "1d"

    @property
    def benchmark(self) -> str:
        """The first part of the name."""
        return self.name.partition("/")[0]

    @property
    def dimension(self) -> Dimension:
        """The dimension of the samples, which decides the backbone."""
        found = self._dimension()
        assert found is not None  # checked when it was made
        return found

    @property
    def score(self) -> str:
        """The metric: the given one, or that of the kind."""
        return self.metric or KINDS[self.kind].metric

    @property
    def arrays(self) -> list[tuple[str, InputData, TargetData]]:
        """The arrays in each file: those of the file's own split, called "", and of others."""
        sets = [("", self.input, self.target)]
        for split, given in (("val", self.splits.val), ("test", self.splits.test)):
            if isinstance(given, SplitArrays):
                sets.append(
                    (
                        split,
                        self.input.model_copy(update={"key": given.input}),
                        self.target.model_copy(update={"key": given.target}),
                    )
                )
        return sets

    @property
    def content(self) -> dict[str, Any]:
        """The task file as plain data, without keys that have their default."""
        plain: dict[str, Any] = self.model_dump(mode="json", exclude_defaults=True)
        return plain

    def described_as(self, former: "TaskDefinition") -> "TaskDefinition":
        """Return the definition with the title, licence and citation of a former one."""
        return self.model_copy(update={key: getattr(former, key) for key in DESCRIPTIVE})

    @property
    def data_hash(self) -> str:
        """A hash of all keys that the stored data depend on: all but title, licence and alike."""
        content = {key: v for key, v in self.content.items() if key not in LABELS_ONLY}
        text = json.dumps(content, sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(text.encode()).hexdigest()[:12]

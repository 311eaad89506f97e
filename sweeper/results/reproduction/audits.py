"""Recorded audits: published tasks beside their floors, and variants made to rank methods.

    audits/BENCHMARK.json   the JSON of `sweeper audit BENCHMARK`
    audits/rank/TASK.json   a variant: floor and test errors of networks on each data seed
    audits/remarks.json     what was measured beside them: frames, and trainings of twice the length

What follows from recorded errors, such as a ratio or an interval, is computed here again.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import fmean

from sweeper.results.prose import listed
from sweeper.results.statistics import Interval, mean_interval
from sweeper.results.verdicts import name
from sweeper.text import JsonObject

AUDITS = Path("audits")  # in a folder of evidence
VARIANTS = AUDITS / "rank"
REMARKS = AUDITS / "remarks.json"
OTHER_PROTOCOL = ("fno",)  # a published method that decides nothing
ROUNDING = 2.0**-23  # of single precision: a lower floor counts as this error
CLOSED_FORM = "closed_form"  # a predictor that knows the equation, so that it is no floor
OF_ITS_SYMMETRY = ("isotropic_filter",)  # presumes a law that is alike in all places and directions


@dataclass(frozen=True, kw_only=True)
class AuditRecord:
    """A published task beside predictors without a network."""

    task: str
    title: str
    metric: str
    protocol: str
    data_source: str | None  # None: not audited
    samples: Mapping[str, int]  # by split
    predictor: str | None  # of the floor: the best one by validation that knows no equation
    tests: Mapping[str, float]  # predictor -> test error
    validations: Mapping[str, float]  # likewise, of those that can be the floor
    published: Mapping[str, float]  # method -> error
    frames_floor: float | None  # of a perfect predictor of the frame that is trained on
    reason: str | None

    @property
    def floor(self) -> float | None:
        """The test error of the floor."""
        return None if self.predictor is None else self.tests[self.predictor]

    @property
    def plain(self) -> str | None:
        """The best predictor by validation that presumes no symmetry of the equation."""
        known = {k: v for k, v in self.validations.items() if k not in OF_ITS_SYMMETRY}
        return min(known, key=lambda name: known[name], default=None)

    @property
    def ranked(self) -> dict[str, float]:
        """The published errors of one protocol, by method."""
        return {k: v for k, v in self.published.items() if k not in OTHER_PROTOCOL}

    @property
    def best(self) -> str | None:
        """The method with the lowest published error of this protocol."""
        return min(self.ranked, key=lambda name: self.ranked[name], default=None)

    @property
    def ratio(self) -> float | None:
        """The best published error by the floor; above 1 the task cannot rank methods."""
        return self.ratio_to(self.predictor)

    def ratio_to(self, predictor: str | None) -> float | None:
        """Return the best published error by that of a predictor."""
        if predictor is None or self.best is None:
            return None
        return self.ranked[self.best] / max(self.tests[predictor], ROUNDING)

    @property
    def can_rank(self) -> bool | None:
        """True unless the floor is below all published errors; None: unknown."""
        return None if self.ratio is None else self.ratio < 1


@dataclass(frozen=True, kw_only=True)
class Margin:
    """The floor less the error of a method, over data seeds."""

    method: str
    error: float  # mean over the seeds
    mean: float
    interval: Interval | None
    mean_without_first: float  # on which some settings were chosen
    without_first: Interval | None  # the interval without the first seed
    seeds: int

    @property
    def clears(self) -> bool:
        """True if the interval is above zero."""
        return self.interval is not None and self.interval[0] > 0

    @property
    def clears_without_first(self) -> bool:
        """Likewise without the first seed, on which some settings were chosen."""
        return self.without_first is not None and self.without_first[0] > 0


@dataclass(frozen=True, kw_only=True)
class VariantRecord:
    """A variant made to rank methods, with its floor and the margins of networks."""

    task: str
    definition: str
    samples: int  # of training
    resolution: int  # points along an axis
    predictors: tuple[str, ...]  # of the floors
    floor: float  # mean over data seeds
    coarse_solver: float  # likewise
    closed_form: float | None  # likewise; None: its equation has none here
    margins: tuple[Margin, ...]  # a network of fields first, then cross-modal methods
    one_draw: str  # what was tried on one draw alone
    screened: str  # what was tried before
    core_minutes: float
    seeds: int

    @property
    def field(self) -> Margin:
        """The margin of the network of fields."""
        return self.margins[0]

    @property
    def cross_modal(self) -> Margin | None:
        """The margin of the cross-modal method; None: it was not run on all seeds."""
        return self.margins[1] if len(self.margins) > 1 else None


@dataclass(frozen=True, kw_only=True)
class ReleasedFrame:
    """The frames of a simulation by which the papers' loader trains and tests, as released."""

    trained: int
    tested: int
    perfect: float  # error of a perfect predictor of the trained frame


@dataclass(frozen=True, kw_only=True)
class Longer:
    """The validation error of a tuned method, and that after twice the epochs."""

    method: str  # or the label of its arm: `nft data.samples=100`
    epochs: int
    validation: float
    doubled: float

    @property
    def fall(self) -> float:
        """The share by which twice the epochs lower the error."""
        return 1 - self.doubled / self.validation


@dataclass(frozen=True, kw_only=True)
class LengthCheck:
    """The check of a question whether its trainings are long enough."""

    allowed: float  # fall by twice the epochs
    runs: tuple[Longer, ...]

    @property
    def is_short(self) -> bool:
        """True if twice the epochs lower an error by as much as is allowed, or more."""
        return any(run.fall >= self.allowed for run in self.runs)

    @property
    def sentence(self) -> str:
        """A sentence on the length of the trainings."""
        falls = [(f"of {name(run.method)}", round(100 * run.fall)) for run in self.runs]
        lowered = [f"{of} by {fall} %" for of, fall in falls if fall > 0]
        raised = [f"{of} by {-fall} %" for of, fall in falls if fall < 0]
        level = [of for of, fall in falls if fall == 0]
        changes = [f"lower the validation error {listed(lowered)}"] * bool(lowered)
        changes += [f"raise the validation error {listed(raised)}"] * bool(raised)
        changes += [f"leave the validation error {listed(level)} as it is"] * bool(level)
        return (
            "By the rule that was written down for them these trainings are "
            f"{'cut short' if self.is_short else 'long enough'}: twice the epochs, in one training "
            f"each on the search's draw, {listed(changes)}, where a fall of "
            f"{100 * self.allowed:.0f} % is allowed."
        )


@dataclass(frozen=True, kw_only=True)
class Remarks:
    """Measurements beside the audits and the questions."""

    frames: Mapping[str, ReleasedFrame] = field(default_factory=dict)  # by task
    lengths: Mapping[str, LengthCheck] = field(default_factory=dict)  # by question


def read_remarks(folders: Sequence[Path]) -> Remarks:
    """Return what was measured beside audits and questions, from the first folder that has it."""
    file = audit_files(folders).get(REMARKS)
    if file is None:
        return Remarks()
    found = _read(file)
    return Remarks(
        frames={task: ReleasedFrame(**each) for task, each in found["released_frames"].items()},
        lengths={
            question: LengthCheck(
                allowed=each["allowed"], runs=tuple(Longer(**run) for run in each["runs"])
            )
            for question, each in found["longer"].items()
        },
    )


def read_audit(folders: Sequence[Path], benchmark: str) -> tuple[AuditRecord, ...]:
    """Return the recorded audit of a benchmark from the first folder that has one."""
    file = audit_files(folders).get(AUDITS / f"{benchmark}.json")
    return () if file is None else tuple(map(_audited, _read(file)["tasks"]))


def _audited(found: JsonObject) -> AuditRecord:
    names = ("task", "title", "metric", "protocol", "data_source", "predictor", "published",
             "frames_floor", "reason")  # fmt: skip
    rows = found["predictors"]
    return AuditRecord(
        **{name: found[name] for name in names},
        samples=found["samples"] or {},
        tests={row["name"]: row["test"] for row in rows if row["test"] is not None},
        validations={
            row["name"]: row["validation"] for row in rows if row["validation"] is not None
        },
    )


def read_variants(folders: Sequence[Path]) -> tuple[VariantRecord, ...]:
    """Return the recorded variants by task, each from the first folder that has it."""
    files = audit_files(folders)
    return tuple(_variant(_read(files[name])) for name in files if name.parent == VARIANTS)


def audit_files(folders: Sequence[Path]) -> dict[Path, Path]:
    """Return the files of all audits by their sorted names, each from the first folder with it."""
    # Later files replace earlier ones of the same name, so that the first folder comes last.
    found = {
        file.relative_to(folder): file
        for folder in reversed(folders)
        for file in (folder / AUDITS).rglob("*.json")
    }
    return dict(sorted(found.items()))


def _read(file: Path) -> JsonObject:
    content: JsonObject = json.loads(file.read_text("utf-8"))
    return content


def _variant(found: JsonObject) -> VariantRecord:
    seeds = found["seeds"]
    return VariantRecord(
        task=found["task"],
        definition=found["definition"],
        samples=found["data"]["train"],
        resolution=found["data"]["resolution"],
        predictors=tuple(dict.fromkeys(each["predictor"] for each in seeds)),
        floor=fmean(each["floor"] for each in seeds),
        coarse_solver=fmean(each["coarse_solver"] for each in seeds),
        closed_form=fmean(each[CLOSED_FORM] for each in seeds) if CLOSED_FORM in seeds[0] else None,
        margins=tuple(_margins(seeds, found["methods"])),
        one_draw=found.get("one_draw", ""),
        screened=found.get("screened", ""),
        core_minutes=found["core_minutes"],
        seeds=len(seeds),
    )


def _margins(seeds: Sequence[Mapping[str, float]], methods: Sequence[str]) -> Iterator[Margin]:
    for method in methods:
        gains = [each["floor"] - each[method] for each in seeds]
        yield Margin(
            method=method,
            error=fmean(each[method] for each in seeds),
            mean=fmean(gains),
            interval=mean_interval(gains),
            mean_without_first=fmean(gains[1:] or gains),
            without_first=mean_interval(gains[1:]),
            seeds=len(seeds),
        )

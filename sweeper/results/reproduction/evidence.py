"""Evidence: the numbers of a finished sweep, and the key of all that they depend on.

The key has the settings that decide numbers, the code of the methods involved, and the hashes of
the data. Evidence holds as long as all three are those of the present. Names, resources, budgets,
places of files and code of the service are no part of it.
"""

import hashlib
import math
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from statistics import stdev

from sweeper.ledger import EventKind, Ledger
from sweeper.results.comparison import CurvePoint
from sweeper.results.entries import Arm, arms_of, fairly
from sweeper.results.prose import DISTANCES
from sweeper.results.read import read_sweep
from sweeper.results.schema import StudyResult, SweepResult, finite
from sweeper.spec.arms import Arm as PinnedArm
from sweeper.text import JsonObject, counted, differences

INDIFFERENT = ("name", "experiment", "question", "max_arms", "resources", "budget", "checkpoints",
               "stage_store", "failures", "tracking", "notify")  # fmt: skip
SEVERAL = "several"  # hash of a module that was changed between two launches of a sweep
MAX_SHOWN = 3  # modules that a message names
Values = tuple[float | None, float | None]  # validation and test
LANDSCAPE = "landscape/"  # start of the metrics of a plane
GENERATED = "generated"


@dataclass(frozen=True, kw_only=True)
class Key:
    """All that numbers depend on. Evidence with an equal key is as good as a new run."""

    settings: JsonObject  # of the resolved file
    code: Mapping[str, str] | None  # module -> hash; None: unknown
    data: Mapping[str, str]  # task -> hash of its content

    def changes(self, now: "Key") -> dict[str, str]:
        """Return what differs in the key of the present, by `settings`, `code` and `data`.

        Data that this machine does not have are not compared.
        """
        found = {}
        if lines := differences(self.settings, now.settings):
            found["settings"] = "; ".join(lines)
        if self.code is None:
            found["code"] = "not recorded"
        elif now.code is not None and (modules := _unlike(self.code, now.code)):
            more = f" and {len(modules) - MAX_SHOWN} more" * (len(modules) > MAX_SHOWN)
            found["code"] = ", ".join(modules[:MAX_SHOWN]) + more
        tasks = [task for task, had in self.data.items() if now.data.get(task, had) != had]
        if tasks:
            found["data"] = ", ".join(tasks)
        return found


def _unlike(old: Mapping[str, str], new: Mapping[str, str]) -> list[str]:
    """Return the modules whose code differs.

    A module that only one of them has does not count: whatever began or ceased to import it has
    other code, too.
    """
    # Without a common module it is other code altogether.
    common = old.keys() & new.keys()
    return sorted(name for name in common if old[name] != new[name]) if common else sorted(old)


def deciding(resolved: JsonObject) -> dict[str, object]:
    """Return the settings of a resolved sweep that decide its numbers."""
    kept = {name: value for name, value in resolved.items() if name not in INDIFFERENT}
    if "search" in kept:
        kept["search"] = {k: v for k, v in kept["search"].items() if k != "max_concurrent"}
    return kept


@dataclass(frozen=True, kw_only=True)
class Machine:
    """The devices that a sweep ran on."""

    slots: int | None  # trials at a time; None: unknown
    cpu: float  # cores of a trial
    gpu: float
    processor: str | None = None  # of the machine of the driver; None: unknown

    def __str__(self) -> str:
        devices = f"{self.cpu:g} CPU core{'s' * (self.cpu > 1)}"
        if self.gpu:
            devices = f"{self.gpu:g} GPUs" if self.gpu > 1 else f"{self.gpu:g} of a GPU"
        if self.processor is not None:
            devices += f" ({self.processor})"
        return (
            devices
            if self.slots is None
            else f"{counted(self.slots, 'trial')} at a time, each on {devices}"
        )


@dataclass(frozen=True, kw_only=True)
class Plane:
    """The validation loss around the best weights of one training, along two random directions."""

    study: str
    seed: int
    a: tuple[float, ...]  # steps along the first direction, relative to the norm of the weights
    b: tuple[float, ...]  # along the second
    loss: tuple[tuple[float, ...], ...]  # [a, b]

    @classmethod
    def of(cls, study: str, seed: int, points: Mapping[tuple[float, float], float]) -> "Plane":
        """Return the plane of a training from the loss at each step (a, b).

        Raises:
            KeyError: The points are no grid.
        """
        rows, columns = (tuple(dict.fromkeys(steps)) for steps in zip(*points, strict=True))
        loss = tuple(tuple(points[a, b] for b in columns) for a in rows)
        return cls(study=study, seed=seed, a=rows, b=columns, loss=loss)

    @property
    def points(self) -> Iterator[tuple[float, float, float]]:
        """The steps a and b of each point, and its loss."""
        for a, row in zip(self.a, self.loss, strict=True):
            for b, loss in zip(self.b, row, strict=True):
                yield a, b, loss


@dataclass(frozen=True, kw_only=True)
class Retraining:
    """One seed of each arm, trained again after the evidence."""

    on: str | None  # 2026-11-27
    commit: str | None
    trainings: int
    evidence: str | None = None  # hash of its files before, which draws the seed
    seed: int = 0  # its number, from 0
    processor: str | None = None
    largest: float = 0.0  # difference of test values; 0 where all bits are equal
    relative: float = 0.0  # likewise, as a share of the value
    unlike: int = 0  # trainings with another validation or test value
    is_whole: bool = True  # each arm was trained
    # The largest difference as a share of the standard deviation over the seeds of its arm.
    spread: float | None = None  # None: not recorded, or an arm has no such deviation

    @property
    def is_within_seeds(self) -> bool:
        """Return whether each arm was trained, and came closer than its seeds lie to each other."""
        return self.is_whole and self.spread is not None and self.spread < 1


@dataclass(frozen=True, kw_only=True)
class Evidence:
    """The numbers of a finished sweep."""

    sweep: SweepResult[StudyResult]
    key: Key
    question: JsonObject | None  # as it was written down when the sweep ran
    commit: str | None  # of the code that ran, where that is known
    packages: Mapping[str, str]
    finished: str | None  # 2026-11-27
    machine: Machine
    curves: tuple[CurvePoint, ...] = ()
    planes: tuple[Plane, ...] = ()
    confirmed: Retraining | None = None  # by later code, the latest one; the key has its code
    scatter: tuple[Retraining, ...] = ()  # by the same code, on other processors
    digest: str | None = field(default=None, compare=False)  # hash of the files it was read from

    @property
    def name(self) -> str:
        """The name of the sweep."""
        return self.sweep.record.name

    @property
    def profile(self) -> str:
        """The profile that its file was read with."""
        return self.sweep.record.profile

    @cached_property
    def arms(self) -> tuple[Arm, ...]:
        """The configurations that have trainings."""
        return _arms(self.sweep)

    @property
    def has_landscapes(self) -> bool:
        """True if trainings evaluated the loss around their weights (`STAGE.landscape`)."""
        trainings = (each for arm in self.arms for each in arm.trainings)
        return any(name.startswith(LANDSCAPE) for each in trainings for name in each.metrics)

    @property
    def num_seeds(self) -> int:
        """The seeds that every arm has."""
        return min((len(arm.trainings) for arm in self.arms), default=0)

    @property
    def device_seconds(self) -> float:
        """The time of all its trainings, with those of recorded searches, on its devices."""
        trainings = (arm.device_seconds(each) for arm in self.arms for each in arm.trainings)
        searches = (arm.search for arm in self.arms)
        return sum(trainings) + sum(each.device_seconds for each in searches if each)

    @property
    def bodies(self) -> tuple[str, ...]:
        """The pretrained models of its arms: `minilm with 2 layers and 8 tokens`."""
        settings = self.key.settings.get("backbones") or {}
        used = (
            PinnedArm(name="", pinned=arm.of.pinned).backbone_on(settings[arm.of.facts.dimension])
            for arm in self.arms
            if arm.of.facts.dimension in settings
        )
        return tuple(dict.fromkeys(map(_body, used)))

    def made_elsewhere(self, processor: str) -> frozenset[str]:
        """Return the tasks whose generated data have other last bits on this processor."""
        if self.machine.processor in (None, processor):
            return frozenset()
        facts = (arm.of for arm in self.arms)
        return frozenset(of.study.task for of in facts if of.facts.data_source == GENERATED)

    def drawn_seed(self, salt: str = "") -> int:
        """Return the number of the seed that the hash of the files draws with this text."""
        # Whoever makes the files knows their hash, and with it the seed: a salt draws another one.
        told = self.digest or "0"
        number = hashlib.sha256(f"{told}{salt}".encode()).hexdigest() if salt else told
        return int(number, 16) % max(self.num_seeds, 1)

    @property
    def confirmed_seeds(self) -> dict[int, Retraining]:
        """The retraining that confirms a seed, by the number of the seed.

        The same code on another processor confirms a seed by what is closer than seeds are.
        """
        found = [each for each in self.scatter if each.is_within_seeds]
        found += [self.confirmed] if self.confirmed is not None else []
        return {each.seed: each for each in found}

    @property
    def confirmation(self) -> str:
        """The seeds that were trained again: `1 of 8 seeds confirmed on another processor`."""
        found, mine = self.confirmed_seeds, self.machine.processor
        others = [each for each in found.values() if mine and each.processor not in (None, mine)]
        text = f"{len(found)} of {counted(self.num_seeds, 'seed')} confirmed"
        return f"{text} on another processor" if others else text

    def is_confirmed_by(self, found: Retraining) -> bool:
        """Return whether all bits are equal, or all differences below those between processors."""
        # Without a measured scatter the tolerance is 0, and only equal bits confirm.
        tolerance = max((each.largest for each in self.scatter), default=0.0)
        return found.is_whole and (not found.unlike or found.largest < tolerance)

    def compare(self, again: "Retrained", *, seed: int) -> Retraining:
        """Compare the results with those of later trainings of the seed of this number."""
        both = self._beside(again)
        pairs = [(one[1] or 0.0, two[1] or 0.0) for one, two in both.values() if one != two]
        last = again.parts[-1]
        return Retraining(
            on=last.finished, commit=last.commit, trainings=len(both), evidence=self.digest,
            seed=seed, processor=last.machine.processor, unlike=len(pairs),
            largest=max((abs(one - two) for one, two in pairs), default=0.0),
            relative=max((abs(one - two) / abs(one) for one, two in pairs if one), default=0.0),
            is_whole=bool(both) and {arm.name for arm in self.arms} == {name for name, _ in both},
            spread=self._spread(both),
        )  # fmt: skip

    def unlike(self, again: "Retrained") -> list[str]:
        """Return a line for each result that later trainings do not have."""
        return [
            f"{name}, seed {seed}: {what} is {mine}, and trained again {theirs}"
            for (name, seed), both in self._beside(again).items()
            for what, mine, theirs in zip(("validation", "test"), *both, strict=True)
            if mine != theirs
        ]

    def _beside(self, again: "Retrained") -> dict[tuple[str, int], tuple[Values, Values]]:
        """Return the values of each training that is here and there."""
        mine, theirs = self.values_by_seed, again.values
        return {key: (mine[key], values) for key, values in theirs.items() if key in mine}

    def _spread(self, both: Mapping[tuple[str, int], tuple[Values, Values]]) -> float | None:
        """Return the largest difference, in deviations of its quantity over the arm's seeds."""
        shares = [0.0]
        for (name, _), (mine, theirs) in both.items():
            arm = [values for (other, _), values in self.values_by_seed.items() if other == name]
            # Validation and test scatter differently, so that each has a deviation of its own.
            for seeds, one, two in zip(zip(*arm, strict=True), mine, theirs, strict=True):
                if one == two:
                    continue
                known = [value for value in seeds if value is not None]
                deviation = stdev(known) if len(known) > 1 else 0.0
                if one is None or two is None or not deviation:
                    return None
                shares.append(abs(one - two) / deviation)
        return max(shares)

    @property
    def values_by_seed(self) -> dict[tuple[str, int], Values]:
        """Return the validation and test value of each training, by arm and seed."""
        return {
            (arm.name, each.seed): (finite(each.value), finite(arm.of.test_value(each)))
            for arm in self.arms
            for each in arm.trainings
        }


@dataclass(frozen=True, kw_only=True)
class Retrained:
    """The later trainings of one seed of each arm, in one sweep or in several."""

    parts: tuple[Evidence, ...]
    names: Mapping[str, str] = field(default_factory=dict)  # of arms there -> here; else the same

    @property
    def values(self) -> dict[tuple[str, int], Values]:
        """The validation and test value of each training, by the arm here and the seed."""
        return {
            (self.names.get(name, name), seed): values
            for part in self.parts
            for (name, seed), values in part.values_by_seed.items()
        }


def read_evidence(ledger: Ledger) -> Evidence:
    """Return the evidence of a sweep: the replicates of its best configurations and controls.

    A configuration without replicates has its single training.

    Raises:
        NotFound: The sweep was never started.
    """
    sweep = read_sweep(ledger)
    # A suggestion that one study alone has must not become the evidence of its method.
    sweep = replace(sweep, studies=tuple(fairly(sweep.studies)))
    record = sweep.record
    starts = ledger.events(kinds=(EventKind.SWEEP_STARTED,))
    ends = ledger.events(kinds=(EventKind.SWEEP_ENDED,))
    arms = _arms(sweep)
    resources = record.resolved.get("resources") or {}
    slots = starts[-1].payload.get("slots") if starts else None
    provenance = record.provenance
    return Evidence(
        sweep=sweep,
        key=Key(
            settings=deciding(record.resolved),
            code=_merged([start.payload.get("code") for start in starts]),
            # An arm that pins settings of the data does not have the data of its task.
            data={
                arm.of.study.task: arm.of.facts.content_hash
                for arm in arms
                if arm.of.facts.content_hash and not _has_own_data(arm)
            },
        ),
        question=record.resolved.get("question"),
        # The commit of a checkout with changes is not the code that ran.
        commit=None if provenance.get("git_dirty") else provenance.get("git_commit"),
        packages={k: v for k, v in (provenance.get("packages") or {}).items() if v},
        finished=time.strftime("%Y-%m-%d", time.gmtime(ends[-1].at)) if ends else None,
        machine=Machine(
            slots=slots if isinstance(slots, int) else None,
            cpu=float(resources.get("cpu") or 1),
            gpu=float(resources.get("gpu") or 0),
            processor=provenance.get("processor"),
        ),
        curves=tuple(point for arm in arms for point in _curves(arm)),
    )


def _arms(sweep: SweepResult[StudyResult]) -> tuple[Arm, ...]:
    """Return the configurations of all studies but the base of an ablation."""
    return tuple(
        arm
        for tuned in sweep.studies
        if tuned.arm is not None or not tuned.record.resolved.get("compare_by")
        for arm in arms_of(tuned)
    )


def _body(backbone: JsonObject) -> str:
    """Return the name and the size of a backbone, as far as the settings have them."""
    sizes = [f"{backbone[key]} {key}" for key in ("layers", "tokens") if backbone.get(key)]
    return f"{backbone['name']} with {' and '.join(sizes)}" if sizes else str(backbone["name"])


def _merged(codes: Sequence[Mapping[str, str] | None]) -> dict[str, str] | None:
    """Return the code of all launches of a sweep, or None if one did not record it."""
    merged: dict[str, str] = {}
    for code in codes:
        if code is None:
            return None
        # A module that changed between launches gets a mark, which equals no hash of the present.
        merged = {**code, **{k: v if code.get(k, v) == v else SEVERAL for k, v in merged.items()}}
    return merged or None


def _has_own_data(arm: Arm) -> bool:
    """Return whether an arm pins settings of the data."""
    return arm.arm is not None and any(p.startswith("data.") for p in arm.arm.split(","))


def _curves(arm: Arm) -> Iterator[CurvePoint]:
    """Yield the points of the objective and of the first distance, by epoch."""
    values: dict[tuple[str, str, int], list[float]] = {}
    objective = arm.of.study.objective
    for trial in arm.trainings:
        for each in trial.measurements:
            for name in (objective, *_distance(each.metrics)):
                value = each.objective if name == objective else each.metrics.get(name)
                if value is not None and math.isfinite(value):
                    values.setdefault((name, each.stage, each.epoch), []).append(value)
    for (name, stage, epoch), numbers in values.items():
        yield CurvePoint.of(arm.name, name, stage, epoch, numbers)


def _distance(metrics: Mapping[str, float]) -> list[str]:
    """Return the name of the most usual distance among metrics, if there is one."""
    # The order of DISTANCES is that of their use, so that the first one found is shown.
    found = (name for each in DISTANCES for name in metrics if name.rpartition("/")[2] == each)
    return list(found)[:1]

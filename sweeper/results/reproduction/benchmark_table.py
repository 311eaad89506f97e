"""The table of a benchmark: published values, floors, closed forms and what is recorded here."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean

from sweeper.results.floors import TITLES, FloorTest, beside, floors_at
from sweeper.results.prose import method as title_of
from sweeper.results.prose import metric, with_arm
from sweeper.results.reproduction.audits import CLOSED_FORM, read_audit, read_variants
from sweeper.results.reproduction.files import load
from sweeper.results.schema import OWN
from sweeper.text import readable


@dataclass(frozen=True, kw_only=True)
class Recorded:
    """The arm of all evidence on a task that has the lowest mean validation error."""

    method: str
    arm: str | None = None  # of an ablation, or the control
    evidence: str  # the name of its sweep
    validation: float  # mean over seeds
    test: float  # mean over seeds
    seeds: int
    floor: FloorTest | None  # of the same data
    metric: str | None = None
    is_own: bool = False  # the task is that of a task file, asked about a figure of the table

    @property
    def shown(self) -> float | str:
        """The test value, with a remark if a predictor without a network is as good."""
        is_below = self.floor is None or self.floor.is_beaten
        return self.test if is_below else f"{readable(self.test)}, not below the floor"

    def __str__(self) -> str:
        return f"{with_arm(self.method, self.arm)}, {self.evidence}"


@dataclass(frozen=True, kw_only=True)
class BenchmarkTable:
    """Rows by task, for which nothing is run."""

    benchmark: str
    metrics: Mapping[str, str]  # task -> metric
    published: Mapping[str, Mapping[str, float]]  # method -> task -> value, in our metric's unit
    floors: Mapping[str, tuple[str, float]]  # task -> predictor and test value, on data of ours
    closed_forms: Mapping[str, float]  # task -> test value of the closed form, where there is one
    recorded: Mapping[str, Recorded]  # by task

    @property
    def remark(self) -> str:
        """Sentences on the columns, and where their reasons stand."""
        text = "Published values, in the unit of our metric; methods have protocols of their own."
        audit = f"`sweeper audit {self.benchmark}`"
        if self.floors:
            text += " Floors and closed forms are of generated data, by the recorded audit."
            text += f" {audit} has the reasons."
        else:
            text += f" No audit is recorded: {audit} makes one where its data are imported."
        if self.recorded:
            text += (
                " Recorded here is the test error of the arm with the lowest validation error in "
                "all recorded evidence, also of former code, at laptop size and on fewer samples "
                "than published. Tasks with `@rank` are variants of ours, with floors of their own."
            )
        if own := [task for task, best in self.recorded.items() if best.is_own]:
            text += f" Not the benchmark's data, but of a task file: {', '.join(own)}."
        return text

    @property
    def variants(self) -> dict[str, str]:
        """The metric of each task and, after it, of its variants with evidence; own tasks last."""
        found = {
            name: unit
            for task, unit in self.metrics.items()
            for name in (task, *sorted(each for each in self.recorded if _is_variant(each, task)))
        }
        own = {task: best.metric or "" for task, best in self.recorded.items() if best.is_own}
        return found | own

    @property
    def header(self) -> list[str]:
        """The names of the columns."""
        names = ["task", "metric", "floor here", "predictor", "closed form"]
        return [*names, *map(title_of, self.published), "recorded here", "of"]

    @property
    def lines(self) -> list[list[object]]:
        """A line for each task, with None for a value that is not known."""
        found: list[list[object]] = []
        without = "not run" if self.floors else "no data here"
        for task, unit in self.variants.items():
            best = self.recorded.get(task)
            predictor, floor = self.floors.get(task, (None, None))
            # No audit has variants and own tasks, so that their floors are those of the evidence.
            if best is not None and best.floor is not None and task not in self.metrics:
                predictor, floor = best.floor.floor.name, best.floor.floor.value
            values = [row.get(task) for row in self.published.values()]
            line: list[object] = [task, metric(unit), floor, TITLES.get(predictor or "", predictor)]
            line += [self.closed_forms.get(task), *values]
            found.append([*line, best.shown if best else without, best and str(best)])
        return found


def read_benchmark_table(
    benchmark: str,
    folders: Sequence[Path],
    *,
    metrics: Mapping[str, str],
    published: Mapping[str, Mapping[str, float]],
    figures: Collection[str] = (),
) -> BenchmarkTable:
    """Return the table of a benchmark by recorded evidence.

    Args:
        benchmark: Its name, such as `pdebench`.
        metrics: The metric of each task in the table.
        published: The value of each method on each task, in the unit of our metric.
        folders: Folders of evidence. Of two files of one name that in the first folder is read.
            `audits/BENCHMARK.json` there is the JSON of `sweeper audit BENCHMARK`.
        figures: Those that the table is of. Own tasks of questions about them have a line, too.
    """
    audited, variants = read_audit(folders, benchmark), read_variants(folders)
    return BenchmarkTable(
        benchmark=benchmark,
        metrics=metrics,
        published=published,
        floors={
            each.task: (each.predictor, each.floor)
            for each in audited
            if each.predictor is not None and each.floor is not None
        },
        closed_forms={
            **{e.task: e.tests[CLOSED_FORM] for e in audited if CLOSED_FORM in e.tests},
            **{e.task: e.closed_form for e in variants if e.closed_form is not None},
        },
        recorded=_best_recorded(folders, list(metrics), figures),
    )


def _best_recorded(
    folders: Sequence[Path], tasks: Sequence[str], figures: Collection[str]
) -> dict[str, Recorded]:
    """Return the best arm of each task by validation; test values choose nothing."""
    best: dict[str, Recorded] = {}
    files = {file.name: file for of in reversed(folders) for file in sorted(of.glob("*.json"))}
    for file in files.values():
        for task, found in _arms(file, figures):
            known = best.get(task)
            is_asked = found.is_own or any(task == t or _is_variant(task, t) for t in tasks)
            if is_asked and (known is None or found.validation < known.validation):
                best[task] = found
    return best


def _is_variant(task: str, of: str) -> bool:
    return task.startswith(f"{of}@")


def _arms(file: Path, figures: Collection[str]) -> Iterator[tuple[str, Recorded]]:
    """Yield the task and the means of each arm of one file of evidence."""
    evidence = load(file)
    is_about = not set(figures).isdisjoint((evidence.question or {}).get("figures") or ())
    for arm in evidence.arms:
        # Validation chooses an arm and test shows it, so that both means are over the same seeds.
        both = {
            each.seed: (each.value, test)
            for each in arm.trainings
            if each.value is not None and (test := arm.of.test_value(each)) is not None
        }
        if both:
            validation, test = (fmean(values) for values in zip(*both.values(), strict=True))
            errors = {seed: error for seed, (_, error) in both.items()}
            yield (
                arm.of.study.task,
                Recorded(
                    method=arm.of.study.method,
                    arm=arm.arm,
                    evidence=evidence.name,
                    validation=validation,
                    test=test,
                    seeds=len(both),
                    floor=beside(arm.of.study.task, errors, floors_at(arm.of.facts, both)),
                    metric=arm.of.facts.metric,
                    is_own=is_about and arm.of.facts.data_source == OWN,
                ),
            )

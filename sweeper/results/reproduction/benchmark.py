"""The benchmark that all evidence makes together: methods by tasks by size, with verdicts.

A board is one task with one set of data, so that all its numbers can be paired by their seeds. Each
method is there once, by the configuration with the lowest mean validation error in all evidence;
test values choose nothing. The method with the lowest validation error leads. All others are
compared with it by exact sign-flip tests over common seeds, corrected together by Holm. Controls
belong to the presets of their methods and are not compared.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

from sweeper.model import CONTROL_ARM, Floor, StudyFacts
from sweeper.results.compare import correct_differences, difference
from sweeper.results.comparison import ALPHA, Difference, Entry, Verdict, num_tests
from sweeper.results.entries import control_of, entry_of
from sweeper.results.floors import mean_floor
from sweeper.results.reproduction.audits import CLOSED_FORM
from sweeper.results.reproduction.evidence import GENERATED
from sweeper.results.reproduction.reproduction import Part
from sweeper.results.schema import StudyResult
from sweeper.results.statistics import fewest_pairs
from sweeper.text import counted

LEADS = "leads"  # in place of a verdict
ALONE = "alone"
FEW = "too few seeds"  # to tell so many methods from the leader, whatever the difference


@dataclass(frozen=True, kw_only=True)
class Line:
    """One method on one board, by the configuration that validation chose."""

    entry: Entry
    facts: StudyFacts
    part: Part  # the evidence that it is of
    verdict: str | None = None  # against the leader; of the leader itself `leads`
    difference: Difference | None = None


@dataclass(frozen=True, kw_only=True)
class Board:
    """One task with one set of data: methods, controls, and what needs no network."""

    task: str
    facts: StudyFacts  # of its first study
    methods: tuple[Line, ...]  # by validation, the lowest first
    control: Line | None  # vanilla fine-tuning, of all the one with the lowest validation error

    @property
    def size(self) -> str:
        """The size of the data: `810 training samples, each seed its own draw`."""
        train = self.facts.samples.get("train")
        size = "size unknown" if train is None else counted(train, "training sample")
        return size + ", each seed its own draw" * bool(self.facts.draws)

    @property
    def floor(self) -> Floor | None:
        """The best predictor without a network: of the leader's data, the mean over its seeds."""
        floors = list(self.methods[0].entry.floors.values())
        return mean_floor(floors) if floors else self.facts.floor_or_lowest

    @property
    def closed_form(self) -> float | None:
        """The test error of the closed form, where the task has one."""
        return self.facts.baselines.get(CLOSED_FORM)

    def of(self, method: str) -> Line | None:
        """Return the line of a method, if it ran."""
        return next((each for each in self.methods if each.entry.method == method), None)


@dataclass(frozen=True, kw_only=True)
class Standings:
    """All boards, and the evidence that they are made of."""

    parts: tuple[Part, ...]

    @cached_property
    def boards(self) -> tuple[Board, ...]:
        """The boards, those with most methods first, and then by task and size."""
        groups: dict[tuple[object, ...], list[tuple[Part, StudyResult]]] = {}
        for part in self.parts:
            for study in part.evidence.sweep.studies if part.evidence else ():
                groups.setdefault(_data_of(study), []).append((part, study))
        found = [board for group in groups.values() if (board := _board(group)) is not None]

        def order(board: Board) -> tuple[int, str, int]:
            return -len(board.methods), board.task, board.facts.samples.get("train", 0)

        return tuple(sorted(found, key=order))

    @property
    def methods(self) -> tuple[str, ...]:
        """The methods of all boards, in the order of the first board that has them."""
        names = (line.entry.method for board in self.boards for line in board.methods)
        return tuple(dict.fromkeys(names))


def _data_of(study: StudyResult) -> tuple[object, ...]:
    """Return what the studies of a board have in common.

    Generated data have other last bits on each kind of processor. Their floors tell them apart.
    """
    facts = study.facts
    data: tuple[object, ...] = (facts.content_hash,)
    if facts.data_source == GENERATED and facts.floor is not None:
        data = (*sorted(facts.samples.items()), facts.floor.name, f"{facts.floor.value:.5g}")
    return study.study.task, study.study.objective, bool(facts.draws), *data


def _board(group: Sequence[tuple[Part, StudyResult]]) -> Board | None:
    """Return the board of studies with the same data; None if none of them has a value."""
    lines = [
        Line(entry=entry, facts=study.facts, part=part)
        for part, study in group
        if study.arm != CONTROL_ARM and _is_whole(entry := entry_of(study))
    ]
    controls = [
        Line(entry=entry, facts=study.facts, part=part)
        for part, study in group
        if not _has_own_network(study.facts)
        for entry in _controls(study)
    ]
    # Later lines replace earlier ones, so that the lowest of each method comes last.
    best = {line.entry.method: line for line in sorted(lines, key=_validation, reverse=True)}
    methods = sorted(best.values(), key=_validation)
    if not methods:
        return None
    return Board(
        task=group[0][1].study.task,
        facts=methods[0].facts,
        methods=tuple(_judged(methods, group[0][1].study.task)),
        control=min(controls, key=_validation, default=None),
    )


def _controls(study: StudyResult) -> Iterator[Entry]:
    """Yield the control of a study, or the study that is one."""
    is_arm = study.arm == CONTROL_ARM
    entry = entry_of(study) if is_arm else control_of(study)
    if (is_arm or study.arm is None) and _is_whole(entry):
        yield entry


def _has_own_network(facts: StudyFacts) -> bool:
    """Return whether a method trains a network without a body, so that its control is no NFT."""
    return facts.pretrained == "random" and facts.weights_hash is None


def _is_whole(entry: Entry) -> bool:
    """Return whether a configuration has values of both splits."""
    return entry.mean is not None and entry.validation is not None


def _validation(line: Line) -> tuple[float, str, str]:
    assert line.entry.validation is not None
    return line.entry.validation, line.entry.sweep, line.entry.study


def _judged(methods: Sequence[Line], task: str) -> Iterator[Line]:
    """Yield the methods with their verdicts, the leader first."""
    leader, *others = methods
    family = [difference(each.entry, leader.entry, task=task) for each in others]
    needed = fewest_pairs(num_tests([each.pairs for each in family]), ALPHA)
    yield replace(leader, verdict=LEADS if others else ALONE)
    for line, found in zip(others, correct_differences(family), strict=True):
        # Where no difference could have been shown, `not separated` would suggest like methods.
        is_out_of_reach = found.verdict is Verdict.UNKNOWN and found.pairs < needed
        verdict = FEW if is_out_of_reach else WORDS[found.verdict]
        yield replace(line, verdict=verdict, difference=found)


WORDS: Mapping[Verdict, str] = {
    Verdict.LOWER: "lower than the leader",
    Verdict.HIGHER: "higher",
    Verdict.UNKNOWN: "not separated",
    Verdict.NOT_INFORMATIVE: "not informative",
    Verdict.NOTHING: "no common seeds",
}

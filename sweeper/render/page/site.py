"""The pages of the benchmark: methods by tasks by size, and a page for each file of evidence."""

from collections.abc import Mapping, Sequence

from sweeper.render.page.html import Link, Table, anchor, render, table
from sweeper.render.page.reproduction import render_page
from sweeper.results import prose
from sweeper.results.floors import TITLES, beside, of_solver
from sweeper.results.reproduction.benchmark import Board, Line, Standings
from sweeper.results.reproduction.reproduction import Part, Reproduction
from sweeper.results.verdicts import interval, name
from sweeper.spec.schema import Question
from sweeper.text import counted, readable

INDEX = "index.html"
CONTROL, FLOOR, CLOSED, SOLVER = "vanilla fine-tuning, untuned", "floor", "closed form", "solver"
HEADER = ("method", "test", "95 % interval", "seeds", "sd", "validation", "to the floor", "verdict",
          "p, Holm", "tuning, s", "a training, s", "evidence", "state")  # fmt: skip


def render_site(found: Standings, files: Mapping[str, Sequence[str]]) -> dict[str, str]:
    """Return the text of each page by its name.

    Args:
        found: The benchmark.
        files: The names of the files of each evidence, relative to the pages, by its name.
    """
    pages = {_page(part): _evidence_page(part) for part in found.parts}
    index = render(
        "site.html.j2",
        title="Which method wins? A benchmark that anyone can add to",
        answer=headline(found),
        overview=table(*methods_by_tasks(found)),
        evidence=_evidence(found.parts, files),
        boards=[
            _section(board, place)
            for board, place in zip(found.boards, _places(found.boards), strict=True)
        ],
    )
    return {INDEX: index, **pages}


def headline(found: Standings) -> str:
    """Return sentences on what the benchmark has, and how much of it is of today's code."""
    stale = [part.name for part in found.parts if part.changes]
    seeds = sum(len(p.evidence.confirmed_seeds) for p in found.parts if p.evidence)
    text = (
        f"{counted(len(found.methods), 'method')} on {counted(len(found.boards), 'board')}, a task "
        f"with one set of data each, by {counted(len(found.parts), 'file')} of evidence. "
    )
    if stale:
        text += (
            f"{len(stale)} of these {'are' if stale[1:] else 'is'} stale, of other code or data. "
        )
    return f"{text}Seeds that were trained again, with the same result: {seeds}."


def methods_by_tasks(found: Standings) -> tuple[list[str], list[list[object]]]:
    """Return the header and the lines of the overview: methods, and what they are beside."""
    boards = found.boards
    header = ["method", *(f"{board.task.rpartition('/')[2]} {board.size}" for board in boards)]
    lines: list[list[object]] = [
        [prose.method(each), *(_cell(board.of(each)) for board in boards)] for each in found.methods
    ]
    lines.append([CONTROL, *(b.control and readable(b.control.entry.mean) for b in boards)])
    lines.append(
        [
            FLOOR,
            *(b.floor and f"{readable(b.floor.value)} ({_title(b.floor.name)})" for b in boards),
        ]
    )
    lines.append([CLOSED, *(readable(board.closed_form) for board in boards)])
    lines.append(["board", *(Link("details", place) for place in _places(boards))])
    return header, lines


def state_of(part: Part) -> str:
    """Return the state of evidence: `holds`, or `stale: other code`."""
    return f"stale: other {prose.listed(list(part.changes))}" if part.changes else "holds"


def _page(part: Part) -> str:
    return f"{part.name}.html"


def _places(boards: Sequence[Board]) -> list[str]:
    """Return the anchor of each board; boards of one task and size are numbered."""
    found: list[str] = []
    for board in boards:
        place = anchor(f"{board.task}-{board.size}")
        again = sum(each == place or each.startswith(f"{place}--") for each in found)
        found.append(f"{place}--{again + 1}" if again else place)
    return found


def _cell(line: Line | None) -> str | None:
    """Return a method's test error with its verdict: `0.041, not separated`."""
    if line is None:
        return None
    is_low = line.entry.floor is None or line.entry.floor.is_beaten
    # Beside a leader that does not beat the floor nothing is informative, which says it once.
    below = "" if is_low or line.difference else ", not below the floor"
    stale = ", stale" * bool(line.part.changes)
    return f"{readable(line.entry.mean)} {line.verdict}{below}{stale}"


def _section(board: Board, place: str) -> dict[str, object]:
    """Return the section of a board at an anchor."""
    lines = [_line(each, board) for each in board.methods]
    # A method that is alone leads no other one, and is not marked.
    marked = [0] if len(board.methods) > 1 else []
    if board.control is not None:
        lines.append([f"{CONTROL} ({prose.method(board.control.entry.method)})",
                      *_line(board.control, board)[1:]])  # fmt: skip
    facts, blank = board.facts, [None] * len(HEADER)
    if (floor := board.floor) is not None:
        lines.append([f"{FLOOR}: {_title(floor.name)}", floor.value, *blank[2:]])
        lines[-1][HEADER.index("a training, s")] = floor.seconds
    if board.closed_form is not None:
        lines.append([CLOSED, board.closed_form, *blank[2:]])
    if facts.solver is not None:
        lines.append([f"{SOLVER} on a quarter of the resolution", facts.solver.value, *blank[2:]])
    return {
        "place": place,
        "title": f"{board.task}: {board.size}",
        "about": f"{facts.title or board.task}, {facts.protocol or 'protocol unknown'}; "
        f"{prose.data_of(facts)}, {facts.sizes or 'unknown'} samples; "
        f"test {prose.metric(facts.metric or '')}, lower is better. Body: {_bodies(board)}.",
        "table": table(list(HEADER), lines, marked=marked),
        "notes": list(filter(None, [_judged(board), of_solver(board.task, facts)])),
    }


def _line(line: Line, board: Board) -> list[object]:
    entry, found = line.entry, line.difference
    test = beside(board.task, entry.values, entry.floors)
    ratio = test.mean / test.floor.value if test and test.floor.value > 0 else None
    is_tuned = entry.budget is not None and entry.budget.trials > 1
    return [
        name(entry.label), entry.mean, interval(entry.ci), len(entry.values), entry.sd,
        entry.validation, None if ratio is None else f"{ratio:.3g}×", line.verdict,
        found and found.p_holm, entry.budget.device_seconds if entry.budget and is_tuned else None,
        entry.training_seconds, Link(line.part.name, page=_page(line.part)), _told(line.part),
    ]  # fmt: skip


def _told(part: Part) -> str:
    """Return the state of evidence, and how many of its seeds were trained again."""
    assert part.evidence is not None
    return f"{state_of(part)}; {part.evidence.confirmation}"


def _bodies(board: Board) -> str:
    """Return the body of each method: `minilm (2 layers), of FNO: FNO`."""
    of: dict[str, list[str]] = {}
    for line in board.methods:
        of.setdefault(line.facts.backbone or "unknown", []).append(name(line.entry.label))
    if len(of) == 1:
        return next(iter(of))
    return "; ".join(f"{body} of {prose.listed(names)}" for body, names in of.items())


def _judged(board: Board) -> str:
    """Return a sentence on what the verdicts of a board are against."""
    found = [each.difference for each in board.methods if each.difference is not None]
    # A method without a common seed is compared with nothing.
    found = [each for each in found if each.p_value is not None]
    if not found:
        return ""
    leader = name(board.methods[0].entry.label)
    draws = next((text for each in found if (text := each.draw.told(each.pairs))), "")
    count = counted(len(found), "comparison")
    return (
        f"{leader} leads by validation; the others are compared with it by exact sign-flip tests "
        f"of test errors over common seeds ({draws}), corrected for {count}."
    )


def _title(predictor: str) -> str:
    return TITLES.get(predictor, predictor)


def _evidence(parts: Sequence[Part], files: Mapping[str, Sequence[str]]) -> Table:
    """Return the table of all evidence, with its files to download."""
    most = max((len(each) for each in files.values()), default=0)
    lines: list[list[object]] = []
    for part in parts:
        assert part.evidence is not None
        mine = [Link(_kind(each, part), page=each) for each in files[part.name]]
        lines.append(
            [Link(part.name, page=_page(part)), part.evidence.finished, state_of(part),
             part.evidence.confirmation, f"{part.evidence.device_seconds / 3600:.2g}",
             part.evidence.machine.processor, *mine, *[None] * (most - len(mine))]
        )  # fmt: skip
    header = ["evidence", "finished", "state", "seeds trained again", "device-hours", "processor"]
    return table([*header, "files", *[""] * (most - 1)], lines)


def _kind(file: str, part: Part) -> str:
    """Return the kind of a file of evidence: `seeds.csv` for its rows, or `curves.csv`."""
    ending = file.rpartition("/")[2].removeprefix(f"{part.name}.")
    return "seeds.csv" if ending == "csv" else ending


def _evidence_page(part: Part) -> str:
    """Return the page about one evidence: its claims, figures, arms and seeds."""
    evidence = part.evidence
    assert evidence is not None
    question = None if evidence.question is None else Question(**evidence.question)
    found = Reproduction(name=part.name, question=question, parts=(part,))
    return render_page([found], profile=evidence.profile, title=found.title, has_seeds=True)

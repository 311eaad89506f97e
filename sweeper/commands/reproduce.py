"""The reproduction of figures and tables: their sweeps, their evidence and one page about them.

Committed evidence is used as long as its key holds. Evidence whose key differs from the present is
shown with what differs, and is replaced only on request. A sweep without evidence is launched, as
`sweeper launch` does, or goes on if it has begun.

Where the code alone differs, one seed of each arm can be trained again, which the hash of the file
draws. The same bits confirm the evidence, and so do differences below its tolerance: the largest
one that another processor made with the code of the evidence, as it was recorded before.
"""

import hashlib
import json
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from rich.console import Console

from sweeper.address import is_dashboard
from sweeper.commands.launch import launch
from sweeper.commands.result import Result, plain
from sweeper.commands.results import write_evidence, write_file
from sweeper.console import print_text
from sweeper.errors import Interrupted, SweeperError, UsageError
from sweeper.planning import load as planned
from sweeper.planning import resuming
from sweeper.planning.catalog import catalog
from sweeper.planning.load import Options
from sweeper.planning.science_code import code_of, data_hashes
from sweeper.planning.sweep_folder import folder_of, has_ledger, started
from sweeper.provenance import collect, last_commit, processor
from sweeper.render.page.paper import paper_page
from sweeper.render.page.reproduction import render_page
from sweeper.results.read import read_outline
from sweeper.results.reproduction.audits import read_remarks
from sweeper.results.reproduction.benchmark_table import BenchmarkTable, read_benchmark_table
from sweeper.results.reproduction.evidence import (
    Evidence,
    Key,
    Retrained,
    deciding,
    read_evidence,
)
from sweeper.results.reproduction.family import corrected, headline
from sweeper.results.reproduction.files import committed_evidence, find, load
from sweeper.results.reproduction.paper import DIGITS, read_paper
from sweeper.results.reproduction.reproduction import Part, Reproduction
from sweeper.results.reproduction.retraining import launches
from sweeper.results.schema import progress_of
from sweeper.spec.shipped import TABLES, Reproducible, choose, find_all, shipped_folder
from sweeper.spec.sweep import Sweep
from sweeper.text import JsonObject, readable
from trainables.tasks.registry import BENCHMARKS

HERE = "the sweep in"  # begin of the origin of evidence that is of a ledger
SIGNALS = 128  # exit codes above it are those of signals


@dataclass(frozen=True, kw_only=True)
class Asked:
    """The options of `sweeper reproduce`."""

    profile: str = "laptop"
    may_run: bool | None = None  # None: questions run, and tables do not
    rerun: bool = False  # also where there is evidence
    confirm: bool = False  # train one seed of each arm again, and run nothing else
    html: Path = Path("reproduction.html")
    evidence: Path | None = None  # folder to read evidence from first, and to write it into
    may_write: bool = True
    address: str = "local"
    insecure: bool = False

    @property
    def folders(self) -> list[Path]:
        """The folders of evidence, the first to read first."""
        return [*([] if self.evidence is None else [self.evidence]), committed_evidence()]


@dataclass(frozen=True, kw_only=True)
class Reproductions(Result):
    """Several figures and tables, and the page about them."""

    KEYS = ("profile", "html", "headline", "figures", "exit_code")

    profile: str
    html: Path | None  # None: only a list was asked for
    headline: str = ""
    figures: tuple[Reproduction, ...]
    exit_code: int = 0

    def to_json(self) -> dict[str, Any]:
        """Return the figures as plain data, with the columns of a table by their names."""
        p_values = corrected([each.asked for each in self.figures])
        found = {name: plain(value) for name, value in vars(self).items() if name != "figures"}
        return found | {
            "figures": [_figure(each, p_values.get(each.name)) for each in self.figures]
        }


def _figure(each: Reproduction, p_corrected: float | None) -> dict[str, object]:
    """Return a figure with the p-value of its primary claim, corrected for all figures here."""
    table, facts = each.benchmark, ("name", "aliases", "title", "evidence", "evidence_notes",
                                    "claims", "registration")  # fmt: skip
    columns = ("published", "floors", "closed_forms", "recorded")
    return {
        **{name: plain(getattr(each, name)) for name in facts},
        "primary_p_corrected": p_corrected,
        **{name: plain(getattr(table, name)) if table else {} for name in columns},
    }


def reproduce(names: Sequence[str], asked: Asked, *, console: Console) -> Reproductions:
    """Run the sweeps that figures lack, and write one page about all of these figures.

    Args:
        names: Names or aliases of questions and tables, or `all`.
        asked: What to run, and where to write.
        console: The place of notes and of the progress of sweeps.

    Raises:
        UsageError: A name is unknown, or a folder for evidence or for the page is none.
        FileFaults: A sweep file is not valid.
    """
    chosen = choose(names, find_all(shipped_folder()))
    _check(asked)
    runs = Runs(asked, console)
    found = [runs.reproduction(each) for each in chosen]
    html = write_file(asked.html, render_page(found, profile=asked.profile))
    return Reproductions(
        profile=asked.profile,
        html=html,
        headline=headline([each.asked for each in found]),
        figures=tuple(found),
        exit_code=runs.exit_code,
    )


def listing(asked: Asked, *, console: Console) -> Reproductions:
    """Return all figures and tables with the state of their evidence; nothing runs.

    Raises:
        UsageError, FileFaults: As for `reproduce`.
    """
    quiet = Runs(
        replace(asked, may_run=False, may_write=False, rerun=False, confirm=False), console
    )
    found = [quiet.reproduction(each) for each in find_all(shipped_folder())]
    return Reproductions(profile=asked.profile, html=None, figures=tuple(found))


@dataclass(frozen=True, kw_only=True)
class PaperWritten(Result):
    """The page of the paper."""

    html: Path


def write_paper(html: Path, evidence: Path | None = None, *, console: Console) -> PaperWritten:
    """Write the paper about what benchmarks measure from evidence; nothing runs.

    Args:
        html: The page to write.
        evidence: A folder of evidence and audits that comes before that of the package.
        console: The place of notes.

    Raises:
        UsageError: There is no such folder, or the page cannot be written.
        FileFaults: A question is not valid.
    """
    asked = Asked(evidence=evidence, html=html)
    _check(asked)
    here = collect()
    page = read_paper(
        asked.folders,
        listing(asked, console=console).figures,
        version=here["packages"]["sweeper"],
        commit=(here["git_commit"] or "")[:DIGITS] + ", with changes" * bool(here["git_dirty"]),
    )
    return PaperWritten(html=write_file(html, paper_page(page)))


def _check(asked: Asked) -> None:
    """Check before any sweep runs that its ledger can be read here, and its results be written."""
    if is_dashboard(asked.address):
        raise UsageError(
            f"--address {asked.address}: the ledger of a job's sweep is on its cluster, and the "
            "page needs it here. Give HOST:PORT of a cluster, or run the command there."
        )
    if asked.evidence is not None and not asked.evidence.is_dir():
        raise UsageError(f"--evidence {asked.evidence}: this is no folder; make it first.")
    if asked.html.is_dir() or not asked.html.absolute().parent.is_dir():
        raise UsageError(f"{asked.html}: name a file in a folder that exists.")


def origin_of(file: Path) -> str:
    """Return where a file of evidence is from."""
    folder = file.absolute().parent
    return "committed evidence" if folder == committed_evidence() else f"evidence in {folder}"


def benchmark_table(name: str, folders: Sequence[Path]) -> BenchmarkTable:
    """Return the table of a benchmark by the evidence in folders; nothing is run."""
    metrics, published = {}, dict[str, dict[str, float]]()
    for info in BENCHMARKS[name].tasks:
        numbers = BENCHMARKS[name].published_numbers(info)
        if info.published_as or not numbers:  # a variant of ours
            continue
        metrics[info.name] = info.metric
        for method, number in numbers.items():
            published.setdefault(method, {})[info.name] = number.value
    return read_benchmark_table(
        name,
        folders,
        metrics=metrics,
        published=published,
        figures=TABLES[name],
    )


class Runs:
    """The search for evidence, and the launches of what lacks it.

    Args:
        asked: The options.
        console: The place of notes.
    """

    def __init__(self, asked: Asked, console: Console) -> None:
        self._asked, self._console = asked, console
        self._lengths = read_remarks(asked.folders).lengths
        self.exit_code = 0
        self._is_over = False  # after an interrupt nothing is launched any more

    def reproduction(self, wanted: Reproducible) -> Reproduction:
        """Return a figure or a table with the evidence of its sweeps, after missing launches."""
        parts, question = [], None
        tasks: tuple[str, ...] = ()
        may_run = self._may_run(wanted)
        for file in wanted.files:
            # The files of a table are named after their sweeps, so that those without evidence
            # need not be read where nothing may run.
            if wanted.benchmark and not may_run and not self._has_any(file.stem):
                parts.append(Part(name=file.stem))
                continue
            options = Options(
                profile=self._asked.profile,
                sets=wanted.sets,
                address=self._asked.address,
                insecure=self._asked.insecure,
            )
            sweep = planned.read(file, options)
            question, tasks = sweep.question, sweep.tasks
            part = self._part(file, options, sweep, may_run=may_run)
            parts.append(self._kept(part))
        return Reproduction(
            name=wanted.name,
            aliases=wanted.aliases,
            question=question,
            tasks=tasks if question is not None else (),
            parts=tuple(parts),
            benchmark=None
            if wanted.benchmark is None
            else benchmark_table(wanted.benchmark, self._asked.folders),
            commit=None if question is None else last_commit(wanted.files[0]),
            measured_length=self._lengths.get(wanted.name),
        )

    def _may_run(self, wanted: Reproducible) -> bool:
        """Return whether missing sweeps are launched; those of a table take days."""
        if self._asked.confirm:
            return False
        if self._asked.may_run is None:
            return wanted.benchmark is None or self._asked.rerun
        return self._asked.may_run

    def _has_any(self, name: str) -> bool:
        """Return whether a sweep has evidence, or a ledger here."""
        file = find(self._asked.folders, name, self._asked.profile)
        return file is not None or has_ledger(folder_of(name))

    def _part(self, file: Path, options: Options, sweep: Sweep, *, may_run: bool) -> Part:
        """Return the best evidence of a sweep, or launch it if there is none."""
        now = key_of(sweep)
        if not self._asked.rerun:
            found = list(self._found(sweep, now))
            # Evidence that holds comes first, and of several the committed one.
            if held := [part for part in found if not part.changes] or found:
                return self._again(file, options, now, held[0]) if self._asked.confirm else held[0]
        if not may_run or self._is_over:
            return Part(name=sweep.name, note=self._begun(sweep))
        self._check_replaceable(sweep, now)
        fault = self._launch(file, options, sweep.name)
        return self._here(sweep, now) or Part(name=sweep.name, note=fault or self._begun(sweep))

    def _found(self, sweep: Sweep, now: Key) -> Iterator[Part]:
        """Yield the recorded evidence of a sweep, and that of its finished folder here."""
        file = find(self._asked.folders, sweep.name, sweep.profile)
        if file is not None:
            evidence = load(file)
            changes = _changes(evidence, now)
            if evidence.profile != sweep.profile:
                # The other profile explains all settings that differ.
                changes = {"settings": f"profile {evidence.profile}"} | {
                    kind: text for kind, text in changes.items() if kind != "settings"
                }
            yield Part(name=sweep.name, evidence=evidence, origin=origin_of(file), changes=changes)
        if (part := self._here(sweep, now)) is not None:
            yield part

    def _here(self, sweep: Sweep, now: Key) -> Part | None:
        """Return the evidence of the finished sweep in its folder, or None."""
        folder = folder_of(sweep.name)
        if not has_ledger(folder):
            return None
        with started(folder) as (ledger, record):
            if record.state != "finished":
                return None
            evidence = read_evidence(ledger)
            if not evidence.arms:
                return None
        origin = f"{HERE} {folder.parent.name}/{folder.name}"
        changes = _changes(evidence, now)
        return Part(name=sweep.name, evidence=evidence, origin=origin, changes=changes)

    def _kept(self, part: Part) -> Part:
        """Add planes to evidence of a folder, and write it into the folder that was asked for."""
        if part.evidence is None or not part.origin.startswith(HERE) or part.changes:
            return part
        if not self._asked.may_write:
            return part
        from sweeper.commands.diagnose import with_planes  # torch

        evidence = with_planes(part.evidence)
        if self._asked.evidence is not None:
            print_text(self._console, f"wrote {write_evidence(evidence, self._asked.evidence)}")
        return replace(part, evidence=evidence)

    def _begun(self, sweep: Sweep) -> str:
        """Return a note on a sweep that has begun but is not finished."""
        folder = folder_of(sweep.name)
        if not has_ledger(folder):
            return ""
        with started(folder) as (ledger, record):
            return f"Its sweep is {record.state}: {progress_of(read_outline(ledger))}."

    def _again(self, file: Path, options: Options, now: Key, part: Part) -> Part:
        """Train one seed of each arm again, and return the evidence as confirmed or as doubted.

        By the code of the evidence, another processor has its difference recorded.
        """
        evidence, here = part.evidence, processor()
        assert evidence is not None
        known = [evidence.machine.processor, *(each.processor for each in evidence.scatter)]
        is_other = known[0] is not None and here not in known
        # A training confirms other code alone; by the same code, only a new processor tells more.
        if part.changes.keys() - {"code"} or not (part.changes or is_other):
            return part
        seed = evidence.drawn_seed()
        name = name_again(evidence, now, here, seed)
        if (trained := self.retrained(evidence, file, options, name=name, seed=seed)) is None:
            return part
        found = evidence.compare(trained, seed=seed)
        # A difference that some arms lack would make too narrow a tolerance.
        if not found.is_whole and not part.changes:
            return part
        if not part.changes:
            kept = replace(evidence, scatter=(*evidence.scatter, found))
        elif evidence.is_confirmed_by(found):
            kept = replace(evidence, key=replace(evidence.key, code=now.code), confirmed=found)
        else:
            told = (
                f"; trained again on {found.processor}, {found.unlike} of {found.trainings} "
                f"results differ, by up to {readable(found.largest)}"
            )
            return replace(part, changes={"code": part.changes["code"] + told})
        folder = self._asked.evidence
        wrote = None if folder is None else f"wrote {write_evidence(kept, folder)}"
        print_text(self._console, wrote or "nothing is recorded without --evidence DIR")
        return replace(part, evidence=kept, changes={})

    def retrained(
        self, evidence: Evidence, file: Path, options: Options, *, name: str, seed: int
    ) -> Retrained | None:
        """Train one seed of each arm of evidence again; return None if a launch did not end well.

        Args:
            evidence: The evidence.
            file: The sweep file that it was made by.
            options: How the file is read.
            name: The name of the new sweep, or the start of the names of several.
            seed: The number of the seed.
        """
        found, names = [], dict[str, str]()
        for number, again in enumerate(launches(evidence, seed, catalog().proxies)):
            called = f"{name}_{number}" if number else name
            others = replace(options, name=called, sets=(*options.sets, *again.sets))
            if self._is_over or self._launch(file, others, called):
                return None
            if not has_ledger(folder_of(called)):
                return None
            with started(folder_of(called)) as (ledger, record):
                if record.state != "finished":
                    return None
                found.append(read_evidence(ledger))
            names |= again.names
        return Retrained(parts=tuple(found), names=names)

    def _check_replaceable(self, sweep: Sweep, now: Key) -> None:
        """Check that a launch would not take an earlier result for a new one.

        Raises:
            UsageError: The sweep is finished here, by other code or with other data.
        """
        here = self._here(sweep, now)
        if here is not None and here.changes:
            raise UsageError(
                f"{here.message} A launch would find it finished: sweeper delete {sweep.name}, or "
                "run in another folder by `sweeper -C DIR reproduce`."
            )

    def _launch(self, file: Path, options: Options, name: str) -> str:
        """Launch a sweep, or let it go on; return the error that ended it, or an empty text.

        The other figures do not depend on it, so that an error does not end the command.
        """
        print_text(self._console, f"reproduce: launching {name} ({file.name})")
        try:
            summary = launch(file, options, console=self._console)
        # An interrupt ends the command. As an error, it would let the next sweep begin.
        except Interrupted:
            raise
        except SweeperError as error:
            self.exit_code = self.exit_code or error.exit_code
            print_text(self._console, f"{name}: {error}")
            return str(error)
        self.exit_code = self.exit_code or summary.exit_code
        self._is_over = self._is_over or summary.exit_code > SIGNALS
        return ""


def name_again(evidence: Evidence, now: Key, *where: object) -> str:
    """Return the name of a sweep that trains evidence again by this code, processor and seed."""
    # The same check goes on with its own sweep, and any other check begins a new one.
    text = json.dumps([now.code, *where], sort_keys=True)
    return f"{evidence.name}_again_{hashlib.sha256(text.encode()).hexdigest()[:8]}"


def _changes(evidence: Evidence, now: Key) -> dict[str, str]:
    """Return what differs from the key of evidence; a setting that it lacks has its default.

    Data that another processor generated are not compared: their last bits differ.
    """
    settings: JsonObject = {**evidence.key.settings, "name": evidence.name}
    with suppress(UsageError):  # then the settings differ as they are
        settings = resuming.as_read_now(settings, name=evidence.name, profile=evidence.profile)
    elsewhere = evidence.made_elsewhere(processor())
    data = {task: content for task, content in now.data.items() if task not in elsewhere}
    return replace(evidence.key, settings=deciding(settings)).changes(replace(now, data=data))


def key_of(sweep: Sweep) -> Key:
    """Return the key that evidence of a sweep would have if it were made now."""
    return Key(
        settings=deciding(sweep.resolved),
        code=code_of(sweep),
        data=data_hashes(sweep),
    )

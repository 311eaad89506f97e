"""The content of the paper: recorded audits, figures with their evidence, and their files."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

from sweeper.results.reproduction.audits import (
    AuditRecord,
    Remarks,
    VariantRecord,
    audit_files,
    read_audit,
    read_remarks,
    read_variants,
)
from sweeper.results.reproduction.evidence import Evidence
from sweeper.results.reproduction.files import find, stem_of
from sweeper.results.reproduction.reproduction import Reproduction

BENCHMARK = "pdebench"  # whose audit it is about
WINS = "which_method_wins_"  # start of the questions that tune methods alike
WARM_UP = "what_matters_in_mona"  # the question whether a warm-up does as much as MoNA
WARM_UP_CONTRAST = ("meta.lambda=1.0", "meta.lambda=0.0")  # its arms: MoNA, and a warm-up
REAL_SCALE = "paper"  # profile of models of published size
DIGITS = 12  # of a hash


@dataclass(frozen=True, kw_only=True)
class Source:
    """A file that numbers are read from."""

    file: str  # in the package's folder of evidence, or the whole path
    digest: str  # start of the SHA-256 hash of its bytes
    evidence: Evidence | None = None  # None: of an audit, or the numbers of each seed


@dataclass(frozen=True, kw_only=True)
class Paper:
    """The content of the paper, without a word of its text."""

    version: str  # of sweeper
    commit: str  # of the checkout; "": there is none
    benchmark: str  # that is audited
    audits: Sequence[AuditRecord]  # of its published tasks
    variants: Sequence[VariantRecord]
    remarks: Remarks
    reproductions: Sequence[Reproduction]
    real_scale: Sequence[str]  # sweeps with evidence of models of published size
    sources: Sequence[Source]

    @property
    def wins(self) -> list[Reproduction]:
        """The questions that tune methods alike, those with evidence first."""
        found = [each for each in self.reproductions if each.name.startswith(WINS)]
        return sorted(found, key=lambda each: not each.present)

    @property
    def questions(self) -> list[Reproduction]:
        """The questions about one finding each."""
        return [
            each
            for each in self.reproductions
            if each.question is not None and not each.name.startswith(WINS)
        ]

    @property
    def tables(self) -> list[Reproduction]:
        """The tables of benchmarks."""
        return [each for each in self.reproductions if each.benchmark is not None]

    @property
    def present(self) -> list[Evidence]:
        """All evidence of questions and tables."""
        return [found for each in self.reproductions for found in each.present]


def read_paper(
    folders: Sequence[Path], reproductions: Sequence[Reproduction], *, version: str, commit: str
) -> Paper:
    """Return the content of the paper.

    Args:
        folders: Folders of evidence, the package's last. Of two files of one name that in the
            first folder is read.
        reproductions: All questions and tables, with their evidence.
        version: That of sweeper.
        commit: That of the checkout, or "".
    """
    end = f"{stem_of('', REAL_SCALE)}.json"
    large = {file.name.removesuffix(end) for each in folders for file in each.glob(f"*{end}")}
    return Paper(
        version=version,
        commit=commit,
        benchmark=BENCHMARK,
        audits=read_audit(folders, BENCHMARK),
        variants=read_variants(folders),
        remarks=read_remarks(folders),
        reproductions=reproductions,
        real_scale=sorted(large),
        sources=tuple(_sources(folders, reproductions)),
    )


def _sources(folders: Sequence[Path], found: Sequence[Reproduction]) -> Iterator[Source]:
    """Yield the files that numbers are read from."""
    for file in audit_files(folders).values():
        yield Source(file=_named(file, folders), digest=_digest(file))
    for part in (part for each in found for part in each.parts):
        if (evidence := part.evidence) is None:
            continue
        settings = find(folders, evidence.name, evidence.profile)
        # Without either, it was read from the folder of a sweep.
        if settings is None or evidence.digest is None:
            yield Source(file=part.origin, digest="–", evidence=evidence)
            continue
        # Settings and facts are in the first file, the numbers of each seed in the second.
        yield Source(file=_named(settings, folders), digest=_digest(settings), evidence=evidence)
        numbers = settings.with_suffix(".csv")
        yield Source(file=_named(numbers, folders), digest=_digest(numbers))


def _named(file: Path, folders: Sequence[Path]) -> str:
    of_package = folders[-1]
    return str(file.relative_to(of_package) if file.is_relative_to(of_package) else file)


def _digest(file: Path) -> str:
    return sha256(file.read_bytes()).hexdigest()[:DIGITS]

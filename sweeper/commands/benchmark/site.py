"""The static pages of the benchmark, made of files of evidence."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from sweeper.commands.reproduce import key_of, origin_of
from sweeper.commands.result import Message
from sweeper.commands.results import write_file
from sweeper.errors import StorageFull, UsageError
from sweeper.planning import resuming
from sweeper.render.page.site import INDEX, render_site, state_of
from sweeper.results.reproduction.benchmark import Standings
from sweeper.results.reproduction.evidence import Evidence
from sweeper.results.reproduction.files import committed_evidence, load, tables_of
from sweeper.results.reproduction.reproduction import Part
from sweeper.spec.schema import Question
from sweeper.text import JsonObject, counted

FOLDER = "evidence"  # of the files to download, beside the pages


@dataclass(frozen=True, kw_only=True)
class Site(Message):
    """The pages that were written."""

    path: Path  # of the first page
    pages: tuple[str, ...]
    evidence: tuple[JsonObject, ...]  # name, state and confirmation of each


def site(files: Sequence[Path], out: Path) -> Site:
    """Write the pages of the benchmark, and the files of its evidence beside them.

    Args:
        files: JSON files of evidence; none: all evidence that comes with the package.
        out: The folder, which is made if it does not exist.

    Raises:
        UsageError: A file is no evidence, or a value does not follow from its seeds; the message
            has all of these. Or two files have one name, or `out` is no folder.
        StorageFull: A page cannot be written.
    """
    chosen = list(files) or sorted(committed_evidence().glob("*.json"))
    found = standings(chosen)
    names = {
        part.name: [f"{FOLDER}/{each.name}" for each in (file, *tables_of(file))]
        for part, file in zip(found.parts, chosen, strict=True)
    }
    _make(out / FOLDER)
    pages = render_site(found, names)
    for page, text in pages.items():
        write_file(out / page, text)
    for file in chosen:
        for each in (file, *tables_of(file)):
            write_file(out / FOLDER / each.name, each.read_bytes())
    return Site(
        message=f"wrote {counted(len(pages), 'page')} about {counted(len(chosen), 'file')} of "
        f"evidence: {out / INDEX}",
        path=(out / INDEX).absolute(),
        pages=tuple(pages),
        evidence=tuple(
            {"name": each.name, "state": state_of(each), "seeds": each.evidence.confirmation}
            for each in found.parts
            if each.evidence is not None
        ),
    )


def standings(files: Sequence[Path]) -> Standings:
    """Return the benchmark that files of evidence make.

    Raises:
        UsageError: As for `site`.
    """
    parts, faults = [], []
    for file in files:
        try:
            evidence = load(file)
            if evidence.question is not None:
                Question(**evidence.question)
        except UsageError as error:
            faults.append(str(error))
            continue
        except (ValueError, TypeError) as error:
            faults.append(f"{file}: its question is not valid: {error}")
            continue
        parts.append(
            Part(
                name=file.stem,
                evidence=evidence,
                origin=origin_of(file),
                changes=_changes(evidence),
            )
        )
    names = [part.name for part in parts]
    faults += [f"{name}: two files of evidence have this name." for name in sorted(set(names))
               if names.count(name) > 1]  # fmt: skip
    if faults:
        raise UsageError("\n".join(faults))
    return Standings(parts=tuple(parts))


def _changes(evidence: Evidence) -> dict[str, str]:
    """Return what differs from the code and the data of today, by its kind."""
    settings: JsonObject = {**evidence.key.settings, "name": evidence.name}
    try:
        sweep = resuming.from_resolved(settings, name=evidence.name, profile=evidence.profile)
    except UsageError as error:
        return {"settings": f"this version cannot read them: {error}"}
    # The sweep is made of these settings, so defaults of later settings alone could differ.
    found = evidence.key.changes(key_of(sweep))
    return {kind: text for kind, text in found.items() if kind != "settings"}


def _make(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except (FileExistsError, NotADirectoryError) as error:
        raise UsageError(f"-o {folder.parent}: this is no folder; name another one.") from error
    except OSError as error:
        raise StorageFull(f"cannot write {folder}: {error.strerror}.") from error

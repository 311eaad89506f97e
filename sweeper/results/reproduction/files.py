"""The files of evidence: NAME.json, several tables and NAME.svg in one folder.

    NAME.json        the key, the origin, and the studies with their facts
    NAME.csv         a row for each training: study, seed, values, cost, last values of metrics
    NAME.curves.csv  a row for each study, metric and epoch: the mean over seeds and its interval
    NAME.planes.csv  a row for each point of the loss around the weights of one seed of each study
    NAME.svg         the figure of all arms

Evidence of another profile than `laptop` has the name of the profile in these names.
"""

import csv
import importlib.resources
import io
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

from sweeper.errors import UsageError
from sweeper.model import StudyFacts
from sweeper.results.reproduction.evidence import (
    FACTS,
    OF_TABLES,
    Confirmation,
    CurvePoint,
    Evidence,
    Key,
    Machine,
    Plane,
    Result,
    StudyRecord,
)
from sweeper.text import JsonObject

__all__ = ["as_files", "committed_evidence", "find", "load", "stem_of"]

SCHEMA = 1
DEFAULT_PROFILE = "laptop"  # the profile whose name is left out
COLUMNS = ("study", "seed", "validation", "test", "epochs", "device_seconds")
DIGITS = 6  # significant ones, of metrics, curves and planes
CURVES, PLANES = ".curves.csv", ".planes.csv"


def stem_of(name: str, profile: str) -> str:
    """Return the start of the names of the files about a sweep and a profile."""
    return name if profile == DEFAULT_PROFILE else f"{name}.{profile}"


def committed_evidence() -> Path:
    """Return the folder of the evidence that comes with the package."""
    return Path(str(importlib.resources.files("trainables"))) / "evidence"


def as_files(evidence: Evidence) -> dict[str, str]:
    """Return the content of each file but the figure, by its name."""
    stem = stem_of(evidence.name, evidence.profile)
    files = {f"{stem}.json": _json(evidence), f"{stem}.csv": _csv(evidence.results)}
    if evidence.curves:
        rows = [{k: _short(v) for k, v in asdict(point).items()} for point in evidence.curves]
        files[f"{stem}{CURVES}"] = _table(rows)
    if evidence.planes:
        points = [
            {"study": each.study, "seed": each.seed, "a": a, "b": b, "loss": loss}
            for each in evidence.planes
            for a, b, loss in each.points
        ]
        files[f"{stem}{PLANES}"] = _table([{k: _short(v) for k, v in p.items()} for p in points])
    return files


def _json(evidence: Evidence) -> str:
    """Return the key, the origin and the studies, with each set of facts once."""
    sets: list[JsonObject] = []
    studies = {}
    for each in evidence.studies:
        plain = each.facts.to_json()
        facts = {k: plain[k] for k in (*FACTS, *OF_TABLES) if plain[k] not in (None, {}, (), [])}
        if facts not in sets:
            sets.append(facts)
        named = {"method": each.method, "task": each.task, "objective": each.objective}
        studies[each.name] = {**named, "facts": sets.index(facts)}
    content = {
        "schema": SCHEMA,
        "sweep": evidence.name,
        "profile": evidence.profile,
        "config_hash": evidence.config_hash,
        "finished": evidence.finished,
        "machine": asdict(evidence.machine),
        "commit": evidence.commit,
        **({} if evidence.confirmed is None else {"confirmed": asdict(evidence.confirmed)}),
        "packages": dict(evidence.packages),
        "data": dict(evidence.key.data),
        "question": evidence.question,
        "settings": evidence.key.settings,
        "code": None if evidence.key.code is None else dict(evidence.key.code),
        "studies": studies,
        "facts": sets,
    }
    return json.dumps(content, indent=1, ensure_ascii=False) + "\n"


def _csv(results: Sequence[Result]) -> str:
    metrics = sorted({name for each in results for name in each.metrics})
    return _table(
        [
            {
                **{name: getattr(each, name) for name in COLUMNS},
                "device_seconds": f"{each.device_seconds:.2f}",
                **{name: _short(each.metrics.get(name)) for name in metrics},
            }
            for each in results
        ]
    )


def _table(rows: Sequence[Mapping[str, object]]) -> str:
    """Return rows with equal keys as CSV."""
    text = io.StringIO()
    writer = csv.DictWriter(text, list(rows[0]) if rows else [], lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()


def _short(value: Any) -> Any:
    return float(f"{value:.{DIGITS}g}") if isinstance(value, float) else value


def find(folders: Sequence[Path], name: str, profile: str) -> Path | None:
    """Return the JSON file of the evidence about a sweep in the first folder that has it.

    Evidence of the profile comes before that of the usual one.
    """
    for stem in dict.fromkeys((stem_of(name, profile), name)):
        for folder in folders:
            if (file := folder / f"{stem}.json").is_file():
                return file
    return None


def load(file: Path) -> Evidence:
    """Return the evidence in a JSON file and in the CSV files beside it.

    Raises:
        UsageError: A file is missing or damaged.
    """
    try:
        content = json.loads(file.read_text("utf-8"))
        if content["schema"] != SCHEMA:
            raise UsageError(f"{file}: written by another version of sweeper; write it anew.")
        return Evidence(
            name=str(content["sweep"]),
            profile=str(content["profile"]),
            config_hash=str(content["config_hash"]),
            key=Key(settings=content["settings"], code=content["code"], data=content["data"]),
            question=content.get("question"),
            commit=content["commit"],
            packages=content["packages"],
            finished=content["finished"],
            machine=Machine(**content["machine"]),
            studies=tuple(_studies(content)),
            results=tuple(_results(file.with_suffix(".csv"))),
            confirmed=Confirmation(**found) if (found := content.get("confirmed")) else None,
            curves=tuple(_curves(file.with_suffix(CURVES))),
            planes=tuple(_planes(file.with_suffix(PLANES))),
        )
    except OSError as error:
        raise UsageError(f"{error.filename}: {error.strerror}; write the evidence anew.") from error
    except (ValueError, LookupError, TypeError, AttributeError, csv.Error) as error:
        raise UsageError(f"{file}: this is no evidence ({error}); write it anew.") from error


def _studies(content: JsonObject) -> Iterator[StudyRecord]:
    facts = [StudyFacts.from_json(each) for each in content["facts"]]
    for name, each in content["studies"].items():
        yield StudyRecord(name=name, **{**each, "facts": facts[each["facts"]]})


def _rows(file: Path) -> Iterator[dict[str, str]]:
    yield from csv.DictReader(io.StringIO(file.read_text("utf-8")))


def _read(kind: type, row: Mapping[str, str]) -> dict[str, Any]:
    """Return the fields of a record that are text or numbers."""
    found = ((each.name, READ.get(each.type)) for each in fields(kind))
    return {name: read(row[name]) for name, read in found if read is not None}


def _number(text: str) -> float | None:
    return float(text) if text else None


READ: Mapping[object, Callable[[str], object]] = {  # by the type of a field
    str: str, int: int, float: float, float | None: _number,
}  # fmt: skip


def _results(file: Path) -> Iterator[Result]:
    for row in _rows(file):
        metrics = {name: float(text) for name, text in row.items() if name not in COLUMNS and text}
        yield Result(**_read(Result, row), metrics=metrics)


def _curves(file: Path) -> Iterator[CurvePoint]:
    for row in _rows(file) if file.is_file() else ():
        yield CurvePoint(**_read(CurvePoint, row))


def _planes(file: Path) -> Iterator[Plane]:
    found: dict[tuple[str, int], dict[tuple[float, float], float]] = {}
    for row in _rows(file) if file.is_file() else ():
        points = found.setdefault((row["study"], int(row["seed"])), {})
        points[float(row["a"]), float(row["b"])] = float(row["loss"])
    for (study, seed), points in found.items():
        yield Plane.of(study, seed, points)

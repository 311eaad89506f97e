"""The files of evidence: NAME.json, several tables and NAME.svg in one folder.

    NAME.json        the key, the origin, and the studies with their facts and means; of a tuned
                     method also the settings that its search drew, and its cost
    NAME.csv         a row for each training: study, seed, values, cost, last values of metrics
    NAME.curves.csv  a row for each study, metric and epoch: the mean over seeds and its interval
    NAME.planes.csv  a row for each point of the loss around the weights of one seed of each study
    NAME.svg         the figure of all arms

Evidence of another profile than `laptop` has the name of the profile in these names.
"""

import csv
import hashlib
import importlib.resources
import io
import json
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence, Set
from dataclasses import asdict, replace
from pathlib import Path
from statistics import fmean
from typing import Any

from sweeper.errors import UsageError
from sweeper.ledger import SweepRecord
from sweeper.model import CONTROL_ARM, Params, Study, StudyFacts, TrialKind, TrialState, label_of
from sweeper.results.comparison import CurvePoint, TuningCost
from sweeper.results.entries import Arm
from sweeper.results.floors import FLOOR_FACTS
from sweeper.results.reproduction.checks import aggregates, faults
from sweeper.results.reproduction.content import check_content
from sweeper.results.reproduction.evidence import (
    Evidence,
    Key,
    Machine,
    Plane,
    Retraining,
)
from sweeper.results.schema import StudyResult, SweepResult, TrialRow, finite
from sweeper.spec.schema import Claim
from sweeper.text import JsonObject
from trainables.report import Measurement

SCHEMA = 1
DEFAULT_PROFILE = "laptop"  # the profile whose name is left out
COLUMNS = ("study", "seed", "validation", "test", "epochs", "device_seconds")
HIDDEN = ("lr", "grad_norm", "loss", "converged", "skipped_classes", "_best")  # ends of metrics
FACTS = ("title", "dimension", "kind", "metric", "protocol", "data_source", "content_hash",
         "samples", *FLOOR_FACTS, "solver_seconds", "backbone", "pretrained", "weights_hash",
         "products", "precision", "proxy")  # fmt: skip
OF_TABLES = ("published", "published_samples")  # further facts of studies that are no arms
FIRST = (TrialKind.PRESET, TrialKind.CONTROL)  # of the repeated trials, by their numbers
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
    files = {f"{stem}.json": _json(evidence), f"{stem}.csv": _csv(evidence)}
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
    for each in evidence.arms:
        study, plain = each.of.study, each.of.facts.to_json()
        wanted = FACTS if study.arm is not None else (*FACTS, *OF_TABLES)
        facts = {k: plain[k] for k in wanted if plain[k] not in (None, {}, (), [])}
        if facts not in sets:
            sets.append(facts)
        named = {"method": study.method, "task": study.task, "objective": study.objective}
        studies[each.name] = {
            **named, "facts": sets.index(facts), **aggregates(each), **_search(each)
        }  # fmt: skip
    content = {
        "schema": SCHEMA,
        "sweep": evidence.name,
        "profile": evidence.profile,
        "config_hash": evidence.sweep.record.config_hash,
        "finished": evidence.finished,
        "machine": asdict(evidence.machine),
        "commit": evidence.commit,
        **({} if evidence.confirmed is None else {"confirmed": asdict(evidence.confirmed)}),
        **({"scatter": list(map(asdict, evidence.scatter))} if evidence.scatter else {}),
        "packages": dict(evidence.packages),
        "data": dict(evidence.key.data),
        "question": evidence.question,
        "settings": evidence.key.settings,
        "code": None if evidence.key.code is None else dict(evidence.key.code),
        "studies": studies,
        "facts": sets,
    }
    return json.dumps(content, indent=1, ensure_ascii=False) + "\n"


def _search(arm: Arm) -> JsonObject:
    """Return what the search of a method or an arm found, and its cost; nothing without one."""
    cost, best = arm.search, arm.of.best
    if cost is None or best is None:
        return {}
    found = {name: best.params[name] for name in best.sampled if name in best.params}
    return {"params": found, "tuning": asdict(cost)}


def _csv(evidence: Evidence) -> str:
    claimed = _claimed(evidence.question)
    found = [
        (arm, each, _metrics(arm, each, claimed)) for arm in evidence.arms for each in arm.trainings
    ]
    names = sorted({name for *_, metrics in found for name in metrics})
    return _table(
        [
            {
                "study": arm.name,
                "seed": each.seed,
                # Claims are tested on these two values, and on metrics that they name, which
                # therefore keep all digits.
                "validation": finite(each.value),
                "test": finite(arm.of.test_value(each)),
                "epochs": each.epochs,
                "device_seconds": f"{arm.device_seconds(each):.2f}",
                **{name: metrics.get(name) for name in names},
            }
            for arm, each, metrics in found
        ]
    )


def _claimed(question: JsonObject | None) -> set[str]:
    """Return the names of metrics that claims of a question are about."""
    claims = [Claim(**each) for each in (question or {}).get("claims", ())]
    trends = {claim.trend for claim in claims if claim.trend is not None}
    return {name for claim in claims for name in claim.quantities} | trends


def _metrics(arm: Arm, training: TrialRow, claimed: Set[str]) -> dict[str, float]:
    """Return the last finite values of a training that say anything to others, or are claimed."""
    mine = (arm.of.study.objective, arm.of.test_metric)
    return {
        name: value if name in claimed else _short(value)
        for name, value in training.recorded.items()
        if math.isfinite(value)
        if name in claimed
        or (name not in mine and not name.removesuffix("_start").endswith(HIDDEN))
    }


def _table(rows: Sequence[Mapping[str, object]]) -> str:
    """Return rows with equal keys as CSV."""
    text = io.StringIO()
    writer = csv.DictWriter(text, list(rows[0]) if rows else [], lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()


def _short(value: Any) -> Any:
    return float(f"{value:.{DIGITS}g}") if isinstance(value, float) else value


def tables_of(file: Path) -> list[Path]:
    """Return the tables beside a JSON file of evidence: its seeds, and what else there is."""
    tables = (file.with_suffix(ending) for ending in (".csv", CURVES, PLANES))
    return [table for table in tables if table.is_file()]


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
        UsageError: A file is missing or damaged, or values do not follow from its seeds. The
            message has all of these.
    """
    try:
        content = json.loads(file.read_text("utf-8"))
        if content["schema"] != SCHEMA:
            raise UsageError("written by another version of sweeper; export it again.")
        check_content(content)
        evidence = Evidence(
            sweep=_sweep(content, _rows(file.with_suffix(".csv"))),
            key=Key(settings=content["settings"], code=content["code"], data=content["data"]),
            question=content.get("question"),
            commit=content["commit"],
            packages=content["packages"],
            finished=content["finished"],
            machine=Machine(**content["machine"]),
            confirmed=Retraining(**found) if (found := content.get("confirmed")) else None,
            scatter=tuple(Retraining(**each) for each in content.get("scatter", ())),
            digest=_digest(file),
            curves=tuple(_curves(file.with_suffix(CURVES))),
            planes=tuple(_planes(file.with_suffix(PLANES))),
        )
        wrong = faults(content["studies"], evidence)
    except UsageError as error:
        raise UsageError(f"{file}: {error}") from error
    except OSError as error:
        raise UsageError(f"{error.filename}: {error.strerror}; export it again.") from error
    except (ValueError, LookupError, TypeError, AttributeError, csv.Error) as error:
        raise UsageError(f"{file}: not valid evidence ({error}); export it again.") from error
    if wrong:
        raise UsageError("\n".join(f"{file}: {line}; export it again." for line in wrong))
    return evidence


def _digest(file: Path) -> str:
    """Return the hash of the files with numbers of seeds: they cannot change after the draw."""
    return hashlib.sha256(file.read_bytes() + file.with_suffix(".csv").read_bytes()).hexdigest()


def _sweep(content: JsonObject, rows: Iterable[Mapping[str, str]]) -> SweepResult[StudyResult]:
    """Return a sweep as far as its evidence has it.

    Each study has one configuration with a replicate for each seed. A control that is no arm is a
    trial of its method's study, as in a sweep.
    """
    resources = {name: content["machine"][name] for name in ("cpu", "gpu")}
    record = SweepRecord(
        name=str(content["sweep"]),
        experiment="",
        resolved={**content["settings"], "resources": resources},
        config_hash=str(content["config_hash"]),
        profile=str(content["profile"]),
        text="",
        state="finished",
    )
    # A row of an unknown study is a KeyError, which `load` tells as a fault of the file.
    by_name: dict[str, list[Mapping[str, str]]] = {name: [] for name in content["studies"]}
    for row in rows:
        by_name[row["study"]].append(row)
    facts = [StudyFacts.from_json(each) for each in content["facts"]]
    is_ablation = bool(content["settings"].get("compare_by"))
    found: dict[str, StudyResult] = {}
    for name, each in content["studies"].items():
        method, task = each["method"], each["task"]
        is_control = not is_ablation and name == f"{method}/{task}/{CONTROL_ARM}"
        study = Study(
            name=f"{method}/{task}" if is_control else name, method=method, task=task,
            objective=each["objective"], seed=0,
        )  # fmt: skip
        known = found.get(study.name) or StudyResult(
            record=record,
            label=label_of(method, study.arm),
            study=study,
            facts=facts[each["facts"]],
            trials=(),
        )
        kind = TrialKind.CONTROL if is_control else TrialKind.PRESET
        trials = (*known.trials, *_trials(known, kind, by_name[name], each.get("params", {})))
        spent = TuningCost(**each["tuning"]) if "tuning" in each else known.tuning
        found[study.name] = replace(known, trials=trials, tuning=spent)
    return SweepResult(record=record, studies=tuple(found.values()))


def _trials(
    study: StudyResult, kind: TrialKind, rows: Sequence[Mapping[str, str]], params: Params
) -> Iterator[TrialRow]:
    """Yield a configuration with its drawn settings, and a replicate for each row."""
    reached = [value for row in rows if (value := _number(row["validation"])) is not None]
    origin = TrialRow(
        study=study.study.name, number=FIRST.index(kind), kind=kind, params=params, seed=0,
        state=TrialState.COMPLETE, value=fmean(reached) if reached else None,
        sampled=tuple(params),
    )  # fmt: skip
    yield origin
    # A control comes into a study that has trials already: its replicates go on after them.
    for number, row in enumerate(rows, len(FIRST) + len(study.trials) + 1):
        metrics = {name: float(text) for name, text in row.items() if name not in COLUMNS and text}
        test, epochs = _number(row["test"]), int(row["epochs"])
        last = Measurement(
            stage="", epoch=epochs, num_epochs=epochs, metrics=metrics, is_final=True
        )
        yield TrialRow(
            study=study.study.name, number=number, kind=TrialKind.REPLICATE, params={},
            seed=int(row["seed"]), state=TrialState.COMPLETE, attempt=1,
            value=_number(row["validation"]), origin=origin.number,
            test={} if test is None else {study.test_metric: test},
            measurements=(last,), epochs=epochs,
            seconds=float(row["device_seconds"]) / study.devices[1],
        )  # fmt: skip


def _rows(file: Path) -> Iterator[dict[str, str]]:
    yield from csv.DictReader(io.StringIO(file.read_text("utf-8")))


def _number(text: str) -> float | None:
    return float(text) if text else None


def _curves(file: Path) -> Iterator[CurvePoint]:
    for row in _rows(file) if file.is_file() else ():
        yield CurvePoint(
            study=row["study"], metric=row["metric"], stage=row["stage"], epoch=int(row["epoch"]),
            mean=float(row["mean"]), low=_number(row["low"]), high=_number(row["high"]),
            seeds=int(row["seeds"]),
        )  # fmt: skip


def _planes(file: Path) -> Iterator[Plane]:
    found: dict[tuple[str, int], dict[tuple[float, float], float]] = {}
    for row in _rows(file) if file.is_file() else ():
        points = found.setdefault((row["study"], int(row["seed"])), {})
        points[float(row["a"]), float(row["b"])] = float(row["loss"])
    for (study, seed), points in found.items():
        yield Plane.of(study, seed, points)

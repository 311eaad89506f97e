"""What sweeps found, for other programs: every trial as a file, and the best settings."""

from pathlib import Path
from typing import Any

from sweeper.commands.files import write_file
from sweeper.errors import NotFound, UsageError, unknown
from sweeper.planning.sweep_folder import existing, started

FORMATS = {".csv": "csv", ".parquet": "parquet", ".pq": "parquet", ".tex": "latex"}


def export(name: str, form: str | None, out: Path | None) -> dict[str, Any]:
    """Returns a sweep's trials (`csv`, `parquet`) or its table of methods (`latex`) as `content`,
    or writes it to `out` and returns a `message` of it.

    Raises:
        NotFound: There is no such sweep.
        UsageError: Parquet without `out`, an `out` that has no folder, or whose suffix is that of
            another format than `form`.
        StorageFull: `out` cannot be written.
    """
    from sweeper.analysis.comparison.compare import compare
    from sweeper.analysis.comparison.entries import read_tuned_studies
    from sweeper.analysis.comparison.exports import as_csv, as_parquet, trial_rows
    from sweeper.analysis.comparison.latex import as_latex

    form = _format_of(form, out)
    if form == "parquet" and out is None:
        raise UsageError("Parquet is no text for a terminal: name a file with `-o FILE`.")
    with started(existing(name)) as (ledger, _):
        rows = trial_rows(read_tuned_studies([ledger]))
        content: str | bytes
        match form:
            case "parquet":
                content = as_parquet(rows)
            case "latex":
                content = as_latex(compare([ledger]))
            case _:
                content = as_csv(rows)
    if out is None:
        return {"content": content}
    path = write_file(out, content)
    return {"message": f"wrote {path}", "sweep": name, "path": str(path), "trials": len(rows)}


def _format_of(form: str | None, out: Path | None) -> str:
    """Return the format of an export: as named, else by the file's suffix, else CSV.

    Raises:
        UsageError: The two contradict each other, or a suffix without a format is of none.
    """
    suffix = "" if out is None else out.suffix.lower()
    of_suffix = FORMATS.get(suffix)
    if form is None and suffix and of_suffix is None:
        known = ", ".join(FORMATS)
        raise UsageError(f"{out}: no format ends in {suffix}: write {known}, or add --format.")
    if form is not None and of_suffix is not None and form != of_suffix:
        raise UsageError(
            f"--format {form} contradicts {out}, whose suffix says {of_suffix}: leave --format "
            "out, or name another file."
        )
    return form or of_suffix or "csv"


def best(name: str, study: str | None, top: int | None) -> dict[str, Any]:
    """Returns the best configurations of every study, or of one, with the values of each; of one
    study without `top` the best alone, as a sweep file in `file`.

    Raises:
        NotFound: There is no such sweep or study, or of that study no trial is complete.
    """
    from sweeper.analysis.best_file import best_file
    from sweeper.analysis.comparison.entries import configuration, read_tuned_studies
    from sweeper.core.ranking import ranked

    with started(existing(name)) as (ledger, record):
        found = read_tuned_studies([ledger], histories=False)
        known = [tuned.study.study.name for tuned in found]
        if study is not None and study not in known:
            raise NotFound(unknown("study", study, known))
        chosen = [c for c in found if study in (None, c.study.study.name)]
        shown = 1 if top is None else top
        result: dict[str, Any] = {"sweep": name, "studies": []}
        for each in chosen:
            trials = ranked(each.study.trials)
            if study is not None and top is None:
                if not trials:
                    raise NotFound(f"no trial of {study} in sweep `{name}` is complete.")
                result["file"] = best_file(record, each.study, trials[0])
            result["studies"].append(
                {
                    "study": each.study.study.name,
                    "objective": each.study.study.objective,
                    "metric": each.study.test_metric,
                    "best": [
                        {**configuration(each, trial), "params": dict(trial.params)}
                        for trial in trials[:shown]
                    ],
                }
            )
    return result

"""What sweeps found, for other programs: every trial as a file, and the best settings."""

from collections.abc import Collection, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from sweeper.errors import NotFound, StorageFull, UsageError, unknown
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


def compare(
    names: Sequence[str],
    *,
    tasks: Sequence[str] = (),
    baseline: str | None = None,
    html: Path | None = None,
    latex: Path | None = None,
    rows: Collection[str] = (),
    gate: str | None = None,
) -> dict[str, Any]:
    """Returns the comparison; `exit_code` is 9 where `gate` is not met, else 0.

    Args:
        html: Where a page about it goes.
        latex: Where a table for a paper goes.
        rows: What that shows besides the methods: control, baselines, published.

    Raises:
        NotFound: A sweep does not exist or was never started.
        UsageError: A name or the gate means nothing here.
    """
    from sweeper.analysis.comparison.compare import compare as compared
    from sweeper.analysis.comparison.exports import as_json
    from sweeper.analysis.comparison.gate import judge, parse_gate
    from sweeper.analysis.comparison.latex import Row, comparison_table
    from sweeper.analysis.report.report import render_comparison

    if rows and latex is None:
        raise UsageError("--with says what a table of --latex FILE shows: add that.")
    claims = parse_gate(gate) if gate is not None else ()
    with ExitStack() as stack:
        ledgers = [stack.enter_context(started(existing(name)))[0] for name in names]
        comparison = compared(ledgers, tasks=tasks, baseline=baseline)
        page = None if html is None else write_file(html, render_comparison(comparison))
        paper = (
            None
            if latex is None
            else write_file(latex, comparison_table(comparison, [Row(row) for row in rows]))
        )
    findings = judge(comparison, claims)
    is_met = all(finding.is_met for finding in findings)
    judged = [vars(finding) for finding in findings]
    return {
        **as_json(comparison),
        "html": None if page is None else str(page),
        "latex": None if paper is None else str(paper),
        "gate": {"expression": gate, "met": is_met, "claims": judged} if claims else None,
        "exit_code": 0 if is_met else 9,
    }


def write_file(path: Path, content: str | bytes) -> Path:
    """Write a file, over one that is there, and return its absolute path.

    Raises:
        UsageError: There is no folder to hold it, or it is a folder.
        StorageFull: It cannot be written.
    """
    try:
        path.write_bytes(content.encode() if isinstance(content, str) else content)
    except (FileNotFoundError, NotADirectoryError) as error:
        raise UsageError(f"cannot write {path}: {path.parent} is no folder.") from error
    except IsADirectoryError as error:
        raise UsageError(f"{path} is a folder; name a file in it.") from error
    except OSError as error:
        raise StorageFull(f"cannot write {path}: {error.strerror}.") from error
    return path.absolute()


def report(name: str, out: Path | None) -> dict[str, Any]:
    """Writes the sweep's page and returns where it is.

    Raises:
        NotFound: There is no such sweep.
        UsageError: `out` is a folder, or there is none to hold it.
        StorageFull: The page cannot be written.
    """
    from sweeper.analysis.report.report import render_report

    folder = existing(name)
    with started(folder) as (ledger, _):
        path = out or folder / "report.html"
        write_file(path, render_report(ledger))
    path = path.absolute()
    return {"message": f"wrote {path}", "sweep": name, "path": str(path)}

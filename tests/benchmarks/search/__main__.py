"""The command line of the search benchmark."""

from contextlib import closing
from pathlib import Path
from typing import Annotated, Literal

import typer

from sweeper.ledger import Ledger
from sweeper.render.page.plot import stacked
from tests.benchmarks.search.arms import ARMS
from tests.benchmarks.search.results import figure, path_of, read_cells, run_cell, table
from tests.benchmarks.search.tasks import RECORDED, Task, record, recorded, split, xgboost

app = typer.Typer(add_completion=False)
Folder = Annotated[Path, typer.Option(help="The folder of saved runs.")]
Tasks = Annotated[
    Literal["development", "confirmation", "recorded", "xgboost-development", "xgboost"],
    typer.Option(),
]
Workers = Annotated[int, typer.Option()]
Seeds = Annotated[int, typer.Option()]


def _tasks(name: str) -> list[Task]:
    if name == "recorded":
        return recorded()
    if name.startswith("xgboost"):
        return xgboost(int(name != "xgboost"))
    development, confirmation = split()
    return development if name == "development" else confirmation


@app.command()
def run(
    arm: Annotated[list[str] | None, typer.Option(help="Arms; without any, all.")] = None,
    folder: Folder = Path("search-runs"),
    tasks: Tasks = "development",
    workers: Workers = 4,
    seeds: Seeds = 12,
) -> None:
    """Simulate arms on tasks, and save each cell; go on where an earlier run has stopped."""
    for task in _tasks(tasks):
        for name in arm or ARMS:
            run_cell(
                name, task, workers=workers, seeds=seeds, file=path_of(folder, name, task, workers)
            )
        print(task.name, flush=True)


@app.command(name="figure")
def write_figure(
    folder: Folder = Path("search-runs"),
    tasks: Tasks = "confirmation",
    workers: Workers = 4,
    seeds: Seeds = 12,
    baseline: str = "Optuna",
) -> None:
    """Print the tables of saved runs, and write their figures to an SVG file."""
    cells = read_cells(folder, _tasks(tasks), workers, seeds)
    axes = ("epochs", "seconds")
    for axis in axes:
        print(f"\nby {axis}:\n")
        print(*table(cells, baseline, axis), sep="\n")
    text = stacked([figure(cells, axis, workers) for axis in axes])
    folder.joinpath(f"search-{tasks}-{workers}.svg").write_text(text)


@app.command(name="record")
def record_curves(sweep: Annotated[Path, typer.Argument(help="The sweep's folder.")]) -> None:
    """Keep the curves of a sweep of recorded.yaml as our own tasks."""
    with closing(Ledger.in_folder(sweep)) as ledger:
        print(record(ledger, RECORDED), "curves")


if __name__ == "__main__":
    app()

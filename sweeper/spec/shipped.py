"""The shipped sweep files: where they are, and the names that `sweeper reproduce` knows.

An installed package has them beside its modules, as a checkout has.

freezing, fig7     a question: search_spaces/questions/freezing.yaml, and its `question.figures`
table_pdebench     a table: the sweep file of each method and of the baselines on a benchmark;
                   its published rows and the floors need no run
"""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from sweeper.errors import MANY, UsageError, unknown
from sweeper.spec.layers import read_document

ALL = "all"
FOLDER = "search_spaces"
SHIPPED = Path(__file__).resolve().parents[2] / FOLDER
QUESTIONS = "questions"
TABLES = {  # by benchmark: other names, those of the published tables and of the deck's figures
    "pdebench": ("table2", "fig15"),
    "nasbench360": ("table1", "fig14"),
}
SEEDS = "replicate.seeds=8"  # of a table: shipped files have no replicates


@dataclass(frozen=True, kw_only=True)
class Reproducible:
    """A figure or table of ours that can be made by one command."""

    name: str
    aliases: tuple[str, ...] = ()
    files: tuple[Path, ...]
    sets: tuple[str, ...] = ()  # settings that replace those of the files
    benchmark: str | None = None  # of a table


def shipped_folder() -> Path:
    """Return the folder of the shipped sweep files: in the current folder, or in the package.

    Raises:
        UsageError: There is none.
    """
    for folder in (Path.cwd() / FOLDER, SHIPPED):
        if (folder / QUESTIONS).is_dir():
            return folder
    raise UsageError(
        f"there is no {FOLDER}/{QUESTIONS} here, which has the questions. Run the command in a "
        "checkout of sweeper, or name it: sweeper -C CHECKOUT reproduce ..."
    )


def located(path: Path) -> Path:
    """Return the sweep file that a user means: the one at `path`, or else a shipped one.

    `mona_pdebench` and `search_spaces/mona_pdebench.yaml` name a shipped one where no such file is.
    A path to no file at all is returned as it is.
    """
    inside = path.relative_to(FOLDER) if path.parts[:1] == (FOLDER,) else path
    if path.is_file() or path.is_absolute() or not inside.name:
        return path
    for folder in (SHIPPED, SHIPPED / QUESTIONS):
        file = folder / inside.with_suffix(".yaml")
        if inside.suffix in ("", ".yaml") and ".." not in inside.parts and file.is_file():
            return file
    return path


def shipped_files() -> list[Path]:
    """Return the shipped sweep files, and then the questions, each in the order of names."""
    return [*sorted(SHIPPED.glob("*.yaml")), *sorted((SHIPPED / QUESTIONS).glob("*.yaml"))]


def find_all(folder: Path) -> list[Reproducible]:
    """Return all questions by name, and then all tables.

    Raises:
        FileFaults: A file cannot be read.
    """
    found = [_question(file) for file in sorted((folder / QUESTIONS).glob("*.yaml"))]
    for benchmark, aliases in TABLES.items():
        if files := sorted(folder.glob(f"*_{benchmark}.yaml")):
            found.append(
                Reproducible(
                    name=f"table_{benchmark}",
                    aliases=aliases,
                    files=tuple(files),
                    sets=(SEEDS,),
                    benchmark=benchmark,
                )
            )
    return found


def _question(file: Path) -> Reproducible:
    figures = read_document(file).child("question").child("figures").plain()
    names = figures if isinstance(figures, list) else []  # a fault that a launch would report
    return Reproducible(name=file.stem, aliases=tuple(map(str, names)), files=(file,))


def choose(names: Sequence[str], known: Sequence[Reproducible]) -> list[Reproducible]:
    """Return what names, aliases and `all` mean, each once and in the order of `known`.

    An alias of several questions means all of them.

    Raises:
        UsageError: A name is unknown.
    """
    chosen = set()
    for name in names:
        # `Figure 7`, `fig_07` and `fig7` are one name.
        word = re.sub(r"^(fig|slide)(?:ure)?[ _-]?0*", r"\1", name.lower())
        mine = [each.name for each in known if word in (ALL, each.name, *each.aliases)]
        # A question may have capitals in its name.
        mine = mine or [each.name for each in known if name == each.name]
        if not mine:
            raise UsageError(_unknown(name, known))
        chosen.update(mine)
    return [each for each in known if each.name in chosen]


def _unknown(name: str, known: Iterable[Reproducible]) -> str:
    words = [ALL, *(word for each in known for word in (each.name, *each.aliases))]
    text = unknown("figure or table", name, words)
    return text if len(words) <= MANY else f"{text} All of them: {', '.join(words)}."

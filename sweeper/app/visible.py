"""Whether every node of a cluster sees what its trials will read and write there."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from sweeper.errors import Fault, FileFaults
from sweeper.execution.nodes import missing_on
from sweeper.space.sweep import Sweep
from trainables.proxies.registry import PROXIES
from trainables.tasks import official

SHOWN = 5  # nodes that a message names


def check_nodes(sweep: Sweep, facts: Mapping[str, Any], folder: Path, home: Path) -> None:
    """Sees that what a node cannot make for itself is there on each of them.

    Args:
        facts: Of each study's data, as recorded.
        folder: The sweep's, in which checkpoints are, unless the file names a store.

    Raises:
        FileFaults: Some nodes lack some of it; one fault each.
    """
    lacking, count = missing_on(list(dict.fromkeys(_needed(sweep, facts, folder, home))))
    if lacking:
        raise FileFaults(
            Fault(str(path), None, _told(nodes, count)) for path, nodes in lacking.items()
        )


def _told(nodes: list[str], count: int) -> str:
    more = f" and {len(nodes) - SHOWN} more" if len(nodes) > SHOWN else ""
    return (
        f"not visible on {len(nodes)} of {count} nodes ({', '.join(nodes[:SHOWN])}{more}). Put it "
        "on a disk that all of them share."
    )


def _needed(sweep: Sweep, facts: Mapping[str, Any], folder: Path, home: Path) -> Iterator[Path]:
    """Yields what is not made at need: data that were imported, weights, and the sweep's folder."""
    if sweep.checkpoints.store is None:
        yield folder
    for study in sweep.studies():
        if facts[study.name]["data_source"] == "official":
            yield official.folder_of(study.task, home)
        yield from (home / "proxies" / name for name in study.proxies if PROXIES[name].files)
        weights = str(study.backbone["name"])
        if "/" in weights:
            yield Path(weights).expanduser()

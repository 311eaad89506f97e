"""Whether every node of a cluster sees what its trials will read and write there."""

import tempfile
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from sweeper.config.sweep import Sweep
from sweeper.errors import Fault, FileFaults
from sweeper.execution.nodes import missing_on
from sweeper.planning.stage_store import place_of, release_command
from trainables.models.weights.description import BACKBONES, folder_of
from trainables.sources.registry import PROXIES
from trainables.storage.urls import ArtifactUrl
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


def store_notes(sweep: Sweep, holder: str) -> Iterator[str]:
    """Yields, for each folder of stage results, which nodes have another one in its place.

    It is no fault: a stage is computed once a node, and no trial comes to anything else. There may
    be a folder of that name on each node, so that only a file in it tells whether it is ours.
    """
    found = dict.fromkeys(place_of(sweep, study) for study in sweep.studies())
    for folder in (ArtifactUrl.parse(place).folder for place in found if place is not None):
        if folder is None or not (blind := _without(folder)):
            continue
        yield (
            f"{folder}: not seen by {blind}, where stages are computed anew and shared within the "
            "node alone. Set `stage_store.place` to a bucket, or to a folder on a disk that all of "
            "them share. What is kept there is not released once the sweep is over, nor held to "
            f"`max_bytes`: `{release_command(str(folder), holder)}` on each releases it."
        )


def _without(folder: Path) -> str:
    """Returns which nodes do not see the folder that we see; nothing if all do."""
    with suppress(OSError):  # where it cannot be written, trials say so
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=folder, prefix=".seen-") as mark:
            lacking, count = missing_on([Path(mark.name)])
        return "".join(_some(nodes, count) for nodes in lacking.values())
    return ""


def _told(nodes: list[str], count: int) -> str:
    return f"not visible on {_some(nodes, count)}. Put it on a disk that all of them share."


def _some(nodes: list[str], count: int) -> str:
    more = f" and {len(nodes) - SHOWN} more" if len(nodes) > SHOWN else ""
    return f"{len(nodes)} of {count} nodes ({', '.join(nodes[:SHOWN])}{more})"


def _needed(sweep: Sweep, facts: Mapping[str, Any], folder: Path, home: Path) -> Iterator[Path]:
    """Yields what is not made at need: data that were imported, weights, and the sweep's folder."""
    if sweep.checkpoints.store is None:
        yield folder
    for study in sweep.studies():
        if facts[study.name]["data_source"] == "official":
            yield official.folder_of(study.task, home)
        yield from (home / "proxies" / name for name in study.proxies if PROXIES[name].files)
        weights = str(study.backbone["name"])
        if weights not in BACKBONES:
            yield folder_of(weights, home)
        elif (home / "weights" / weights).exists():
            yield home / "weights" / weights

"""The check that every node of a cluster can read and write what its trials need there."""

import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path

from sweeper.errors import Fault, FileFaults
from sweeper.execution.nodes import missing_on
from sweeper.model import StudyFacts
from sweeper.planning.stage_store import place_of, release_command
from sweeper.spec.sweep import Sweep
from trainables.models.weights.description import folder_of_spec
from trainables.sources.registry import PROXIES, data_of, proxy_folder
from trainables.storage.urls import ArtifactUrl
from trainables.tasks.store.manifest import folder_of

MAX_SHOWN = 5  # nodes that a message names
WAY_OUT = "Put it on a disk that all of them share."


def check_nodes(sweep: Sweep, facts: Mapping[str, StudyFacts], folder: Path, home: Path) -> None:
    """Check that every node can read imported data and weights, and the sweep's folder.

    Args:
        sweep: The sweep that is about to run.
        facts: The facts of each study, by its name.
        folder: The sweep's folder, in which checkpoints are, unless the file names a store.
        home: SWEEPER_HOME.

    Raises:
        FileFaults: Some nodes lack some of it; one fault each.
    """
    # Several studies often need the same file, of which each node is asked once.
    lacking, count = missing_on(list(dict.fromkeys(_needed(sweep, facts, folder, home))))
    if lacking:
        raise FileFaults(
            Fault(str(path), None, f"not visible on {_some(nodes, count)}. {WAY_OUT}")
            for path, nodes in lacking.items()
        )


def store_notes(sweep: Sweep, holder: str) -> Iterator[str]:
    """Yield a note for each folder of stage results that some nodes do not share.

    It is no fault: a stage is then computed once a node, with the same results. Each node may have
    a folder of that name, so that only a file in it shows whether the folder is the same.
    """
    found = dict.fromkeys(place_of(sweep, study) for study in sweep.studies)
    for folder in (ArtifactUrl.parse(place).folder for place in found if place is not None):
        if folder is None or not (blind := _without(folder)):
            continue
        yield (
            f"{folder}: not seen by {blind}, where stages are computed again and shared within the "
            "node alone. Set `stage_store.place` to a bucket, or to a folder on a disk that all of "
            "them share. What is kept there is not released once the sweep is over, nor held to "
            f"`max_bytes`: `{release_command(str(folder), holder)}` on each releases it."
        )


def _without(folder: Path) -> str:
    """Return the nodes that do not share a folder with this machine; "" if all do."""
    with suppress(OSError):  # where it cannot be written, trials report that
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=folder, prefix=".seen-") as mark:
            lacking, count = missing_on([Path(mark.name)])
        return "".join(_some(nodes, count) for nodes in lacking.values())
    return ""


def _some(nodes: Sequence[str], count: int) -> str:
    """Return a phrase such as `2 of 8 nodes (a, b)`."""
    more = f" and {len(nodes) - MAX_SHOWN} more" if len(nodes) > MAX_SHOWN else ""
    return f"{len(nodes)} of {count} nodes ({', '.join(nodes[:MAX_SHOWN])}{more})"


def _needed(
    sweep: Sweep, facts: Mapping[str, StudyFacts], folder: Path, home: Path
) -> Iterator[Path]:
    """Yield what no node can make for itself: imported data, weights, and the sweep's folder."""
    if sweep.checkpoints.store is None:
        yield folder
    for study in sweep.studies:
        if facts[study.name].data_source == "official":
            yield folder_of(study.task, home)
        yield from (proxy_folder(name, home) for name in map(data_of, study.proxies)
                    if PROXIES[name].files)  # fmt: skip
        backbone = study.backbone_spec
        weights = None if backbone is None else folder_of_spec(backbone, home)
        if weights is not None:
            yield weights

"""Where MLflow's artifacts are once its SQLite file and `mlruns` beside it have been moved.

MLflow stores absolute paths of artifacts and has no call to change them: a run of a moved store
would be written, and looked for, where the store was.
"""

import sqlite3
from contextlib import closing
from pathlib import Path
from urllib.parse import unquote, urlsplit

__all__ = ["artifact_root", "follow_move"]

SQLITE = "sqlite:///"
WAIT_S = 10.0  # for another process that writes


def artifact_root(uri: str, experiment: str) -> str | None:
    """Return a folder beside an SQLite file; None for a server, which knows its own place."""
    if not uri.startswith(SQLITE):
        return None
    return str(Path(uri.removeprefix(SQLITE)).absolute().parent / "mlruns" / experiment)


def follow_move(uri: str) -> None:
    """Change the paths of those experiments whose folders were moved together with the store.

    An experiment has moved if its artifacts are in `mlruns/NAME`, as `artifact_root` has it, but of
    another folder, and are beside the store now, or no more where they were.

    Raises:
        sqlite3.Error: The store is locked for too long.
    """
    if not uri.startswith(SQLITE):
        return
    with closing(sqlite3.connect(uri.removeprefix(SQLITE), timeout=WAIT_S)) as store, store:
        query = "SELECT experiment_id, name, artifact_location FROM experiments"
        for key, name, location in store.execute(query).fetchall():
            root = artifact_root(uri, name)
            if root is None or not _has_moved(location or "", Path(root)):
                continue
            store.execute(
                "UPDATE experiments SET artifact_location = ? WHERE experiment_id = ?", (root, key)
            )
            store.execute(
                "UPDATE runs SET artifact_uri = ? || substr(artifact_uri, ?) "
                "WHERE experiment_id = ? AND substr(artifact_uri, 1, ?) = ?",
                (root, len(location) + 1, key, len(location) + 1, f"{location}/"),
            )


def _has_moved(location: str, root: Path) -> bool:
    parts = urlsplit(location)
    former = Path(unquote(parts.path) if parts.scheme else location)
    if parts.scheme not in ("", "file") or former.parts[-2:] != root.parts[-2:]:
        return False
    if former == root or (former.exists() and root.exists() and former.samefile(root)):
        return False
    return root.is_dir() or not former.exists()

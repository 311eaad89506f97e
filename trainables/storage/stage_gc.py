"""Garbage collection of stage results: the least recently used results are deleted first.

Results that an unfinished sweep uses are kept, unless deletion is forced. A trial computes a
missing result again.
"""

from collections import defaultdict
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial

from trainables.storage import artifacts
from trainables.storage.checkpoint_folder import MANIFEST
from trainables.storage.files import TIMEOUT_S, Files, ask, list_files
from trainables.storage.urls import ArtifactUrl


@dataclass(frozen=True, kw_only=True)
class StoredResult:
    """One complete result in a store."""

    key: str
    bytes: int
    used_at: float  # seconds since the epoch, by the store's clock
    holders: tuple[str, ...] = ()  # unfinished sweeps that use it


@dataclass(frozen=True, kw_only=True)
class Collection:
    """The kept and the deleted results of a garbage collection."""

    kept: tuple[StoredResult, ...] = ()
    deleted: tuple[StoredResult, ...] = ()

    @property
    def kept_bytes(self) -> int:
        return sum(result.bytes for result in self.kept)

    @property
    def deleted_bytes(self) -> int:
        return sum(result.bytes for result in self.deleted)


def plan_collection(
    results: list[StoredResult], max_bytes: int, *, force: bool = False
) -> Collection:
    """Plan the deletions that reduce a store to at most `max_bytes`.

    Results with holders are kept unless `force` is set, so the rest may exceed `max_bytes`.

    Args:
        results: All results of the store.
        max_bytes: Bytes to keep.
        force: Delete results with holders too.
    """
    total, gone = sum(result.bytes for result in results), set[str]()
    for result in sorted(results, key=lambda result: (result.used_at, result.key)):
        if total > max_bytes and (force or not result.holders):
            total -= result.bytes
            gone.add(result.key)
    return Collection(
        kept=tuple(result for result in results if result.key not in gone),
        deleted=tuple(result for result in results if result.key in gone),
    )


def collect(
    place: str,
    max_bytes: int,
    *,
    force: bool = False,
    dry_run: bool = False,
    released: Sequence[str] = (),
) -> Collection:
    """Delete results of the store at `place` until at most `max_bytes` remain.

    Args:
        place: URL of the store.
        max_bytes: Bytes that may remain.
        force: Also delete results that an unfinished sweep uses.
        dry_run: Return the plan without deleting anything.
        released: Holders whose references are deleted first.

    Raises:
        ConfigError: `place` is no URL of a store.
        StorageError: The store refuses a request or does not respond in time.
    """
    store = ArtifactUrl.parse(place)
    results = [
        replace(result, holders=tuple(name for name in result.holders if name not in released))
        for result in stored_results(store)
    ]
    plan = plan_collection(results, max_bytes, force=force)
    if not dry_run:
        for holder in released:
            release(place, holder)
        # The result goes before its mark: a mark without a result is not listed, and harms nothing.
        for result in plan.deleted:
            artifacts.delete(str(store / "results" / result.key))
            used = (store / "used" / result.key).path
            ask(store, partial(_forget, path=used), TIMEOUT_S)
    return plan


def release(place: str, holder: str) -> None:
    """Delete a sweep's references to results of the store at `place`, so they can be collected.

    Raises:
        StorageError: The store refuses a request or does not respond in time.
    """
    artifacts.delete(str(ArtifactUrl.parse(place) / "refs" / holder))


def holders(place: str) -> tuple[str, ...]:
    """Return the names of the sweeps that hold results of the store at `place`, sorted.

    Raises:
        ConfigError: `place` is no URL of a store.
        StorageError: The store refuses a request or does not respond in time.
    """
    found = list_files(ArtifactUrl.parse(place) / "refs")
    return tuple(sorted({inside.partition("/")[0] for _, inside in found}))


def stored_results(store: ArtifactUrl) -> list[StoredResult]:
    """Return the complete results of a store in the order of their keys.

    Raises:
        StorageError: The store refuses a request or does not respond in time.
    """
    # A result without a manifest is being written or deleted, so it does not count.
    sizes: dict[str, int] = defaultdict(int)
    used: dict[str, float] = {}
    holders: dict[str, list[str]] = defaultdict(list)
    whole: set[str] = set()
    for info, inside in list_files(store):
        match inside.split("/"):
            case ["results", key, name] if not key.startswith("."):
                sizes[key] += info.size
                used[key] = max(used.get(key, 0.0), info.mtime_ns / 1e9)
                if name == MANIFEST:
                    whole.add(key)
            case ["used", key]:
                used[key] = max(used.get(key, 0.0), info.mtime_ns / 1e9)
            case ["refs", holder, key]:
                holders[key].append(holder)
    return [
        StoredResult(
            key=key, bytes=sizes[key], used_at=used[key], holders=tuple(sorted(holders[key]))
        )
        for key in sorted(whole)
    ]


def _forget(files: Files, path: str) -> None:
    with suppress(FileNotFoundError):
        files.delete_file(path)

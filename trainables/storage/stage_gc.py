"""Keeps a store of stage results below a number of bytes: what was used longest ago goes first.

What a sweep that is not over uses stays, unless it is to go by force; a result that goes all the
same is computed anew by whoever misses it.
"""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial

from trainables.storage import artifacts
from trainables.storage.checkpoint_folder import MANIFEST
from trainables.storage.files import TIMEOUT_S, Files, ask, list_files
from trainables.storage.urls import ArtifactUrl

__all__ = [
    "Collection",
    "StoredResult",
    "collect",
    "holders",
    "plan_collection",
    "release",
    "stored_results",
]


@dataclass(frozen=True, kw_only=True)
class StoredResult:
    """One whole result in a store."""

    key: str
    bytes: int
    used_at: float  # seconds since the epoch, by the store's clock
    holders: tuple[str, ...] = ()  # sweeps that are not over, and use it


@dataclass(frozen=True, kw_only=True)
class Collection:
    """What stays in a store, and what goes."""

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
    """Return what is to go so that the rest takes at most `max_bytes`, if nobody holds too much."""
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
    timeout_s: float = TIMEOUT_S,
) -> Collection:
    """Delete results of the store at `place` until at most `max_bytes` are left.

    Args:
        force: Also those that a sweep which is not over uses.
        dry_run: Only says what would go.
        released: Holders that first give up what they use.

    Raises:
        ConfigError: `place` is no URL of a store.
        StorageError: The store refuses, or does not answer in time.
    """
    store = ArtifactUrl.parse(place)
    results = [
        replace(result, holders=tuple(name for name in result.holders if name not in released))
        for result in stored_results(store, timeout_s)
    ]
    plan = plan_collection(results, max_bytes, force=force)
    if not dry_run:
        for holder in released:
            release(place, holder, timeout_s)
        for result in plan.deleted:
            artifacts.delete(str(store / "results" / result.key), timeout_s=timeout_s)
            used = (store / "used" / result.key).path
            ask(store, partial(_forget, path=used), timeout_s)
    return plan


def release(place: str, holder: str, timeout_s: float = TIMEOUT_S) -> None:
    """Allow that results which a sweep used of the store at `place` are collected.

    Raises:
        StorageError: The store refuses, or does not answer in time.
    """
    artifacts.delete(str(ArtifactUrl.parse(place) / "refs" / holder), timeout_s=timeout_s)


def holders(place: str, timeout_s: float = TIMEOUT_S) -> tuple[str, ...]:
    """Return who holds something in the store at `place`, by name.

    Raises:
        ConfigError: `place` is no URL of a store.
        StorageError: The store refuses, or does not answer in time.
    """
    found = list_files(ArtifactUrl.parse(place) / "refs", timeout_s)
    return tuple(sorted({inside.partition("/")[0] for _, inside in found}))


def stored_results(store: ArtifactUrl, timeout_s: float = TIMEOUT_S) -> list[StoredResult]:
    """Return what is in a store, in the order of the keys; what is being written does not count.

    Raises:
        StorageError: The store refuses, or does not answer in time.
    """
    sizes: dict[str, int] = defaultdict(int)
    used: dict[str, float] = {}
    holders: dict[str, list[str]] = defaultdict(list)
    whole: set[str] = set()
    for info, inside in list_files(store, timeout_s):
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
    try:
        files.delete_file(path)
    except FileNotFoundError:
        return

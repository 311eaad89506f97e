"""What a trial asks for against what a cluster has, before anything starts."""

import os
from collections.abc import Collection

from sweeper.app.devices import count_gpus
from sweeper.errors import CannotSchedule
from sweeper.execution.trial_environment import BUCKETS
from sweeper.space.sweep import Sweep

MOST = 10_000  # trials at once


def local_gpus() -> int:
    """GPUs that a local cluster is started with."""
    return count_gpus()


def request(sweep: Sweep) -> dict[str, float]:
    """Returns what one trial asks of Ray."""
    wanted = {"cpu": float(sweep.resources.cpu), "gpu": float(sweep.resources.gpu)}
    if sweep.resources.memory is not None:
        wanted["memory"] = float(sweep.resources.memory)
    return wanted


def passed_on(sweep: Sweep, environment: Collection[str]) -> list[str]:
    """Return the variables of an environment that trials get because this sweep asks for them.

    These are the names of `resources.env`, and the keys of buckets that hold checkpoints or results
    of stages.
    """
    stores = [sweep.checkpoints.store]
    stores += [store.place for study in sweep.studies() if (store := sweep.stage_store_of(study))]
    buckets = [BUCKETS[scheme] for scheme in map(_scheme, stores) if scheme in BUCKETS]
    asked = set(sweep.resources.env)
    return [name for name in environment if name in asked or any(b.match(name) for b in buckets)]


def _scheme(store: str | None) -> str:
    return (store or "").partition("://")[0]


def occupied(sweep: Sweep) -> tuple[str, float]:
    """Returns what a trial occupies: GPUs, or CPU cores where it has no GPU."""
    gpu = float(sweep.resources.gpu)
    return ("gpu", gpu) if gpu else ("cpu", float(sweep.resources.cpu))


def check_request(sweep: Sweep, address: str) -> None:
    """Checks against this machine, before a local cluster is started. Raises CannotSchedule."""
    if address == "local":
        check_cluster(sweep, this_machine())


def this_machine() -> dict[str, float]:
    """Returns what a local cluster has."""
    return {"CPU": float(os.cpu_count() or 1), "GPU": float(local_gpus())}


def check_cluster(sweep: Sweep, available: dict[str, float]) -> None:
    """Checks against a running cluster.

    Raises:
        CannotSchedule: A trial asks for more than the whole cluster has; it would wait for ever.
    """
    for key, name in (("cpu", "CPU"), ("gpu", "GPU")):
        wanted, there = request(sweep)[key], available.get(name, 0.0)
        if wanted > there:
            raise CannotSchedule(
                f"resources.{key}: a trial asks for {wanted:g}, the cluster has {there:g}; write "
                f"`{key}: {there:g}`{' or less' * bool(there)}, or add a node."
            )


def concurrency(sweep: Sweep, available: dict[str, float]) -> int:
    """Returns how many trials run at once: what fits, capped by `search.max_concurrent`."""
    return min(_fits(sweep, available), sweep.search.max_concurrent or MOST)


def notes(sweep: Sweep, available: dict[str, float]) -> list[str]:
    """Returns what is no fault, but may not be what was meant."""
    wanted, fits = sweep.search.max_concurrent, _fits(sweep, available)
    if wanted is None or wanted <= fits:
        return []
    return [
        f"`search.max_concurrent: {wanted}` is more than the cluster holds: {fits} at once will "
        "run."
    ]


def _fits(sweep: Sweep, available: dict[str, float]) -> int:
    """Returns how many trials the cluster holds; one, where Ray would make it wait."""
    fits = [
        int(available.get(name, 0.0) / wanted + 1e-9)
        for key, name in (("cpu", "CPU"), ("gpu", "GPU"))
        if (wanted := request(sweep)[key]) > 0
    ]
    return max(1, min([*fits, MOST]))

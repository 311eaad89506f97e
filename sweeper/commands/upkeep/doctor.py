"""Checks of everything that a launch on this machine needs."""

import importlib.metadata
import importlib.util
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from sweeper.commands.result import Result
from sweeper.execution import mps
from sweeper.planning.catalog import home
from sweeper.planning.gpus import (
    count_for_torch,
    count_gpus,
    fault_of_torch,
    gpus_of_torch,
    is_nvidia,
)
from sweeper.planning.load import free_bytes
from sweeper.planning.samplers import PRUNERS, SAMPLERS
from sweeper.provenance import PACKAGES, collect
from sweeper.text import without_secrets
from sweeper.tracking.mlflow_store import experiments_page, has_pages, tracking_uri
from trainables.distances.registry import DISTANCES
from trainables.errors import PluginError, WeightsError
from trainables.methods.registry import METHODS
from trainables.metrics import METRICS
from trainables.models.compilation import compiler
from trainables.models.weights.description import BACKBONES, local_backbones
from trainables.models.weights.files import weight_files
from trainables.plugins import install, with_sources
from trainables.sources.registry import PROXIES, proxy_faults
from trainables.tasks.predictors import PREDICTORS
from trainables.tasks.registry import BUILT_IN

REGISTRIES = (METHODS, BUILT_IN, BACKBONES, PROXIES, METRICS, PREDICTORS, DISTANCES, SAMPLERS,
              PRUNERS)  # fmt: skip
FREE_GIB = 5  # a laptop sweep with its checkpoints needs about 2


@dataclass(frozen=True, kw_only=True)
class Check(Result):
    """One thing that was checked."""

    what: str
    state: str  # ok, note or bad
    found: str


@dataclass(frozen=True, kw_only=True)
class Checks(Result):
    """All that `sweeper doctor` checked."""

    checks: tuple[Check, ...]


def examine() -> Checks:
    """Check packages, plugins, devices, weights, sources, data, disk and backends here."""
    machine = (_packages, plugin_checks, device_checks, _compiler)
    groups = (*machine, _networks, _weights, proxy_checks, _data, _disk, _tracking)
    return Checks(
        checks=tuple(
            Check(what=what, state=state, found=found)
            for group in groups
            for what, state, found in group()
        )
    )


def _packages() -> Iterator[tuple[str, str, str]]:
    facts = collect()
    yield "python", "ok", f"{facts['python']} on {facts['platform']}"
    for name in PACKAGES:
        version = facts["packages"][name]
        missing = f"missing; run: pip install {name.lower()}"
        yield name, "ok" if version else "bad", version or missing


def plugin_checks() -> Iterator[tuple[str, str, str]]:
    """Import every object of every plugin, also those that no sweep names."""
    for registry in REGISTRIES:
        for name in registry:
            if registry.origins(name) == "this package":
                continue
            state, found = "ok", registry.origins(name)
            try:
                registry[name]
            except PluginError as error:
                state, found = "bad", with_sources(str(error))
            yield f"plugin {registry.kind} {name}", state, found


def device_checks() -> Iterator[tuple[str, str, str]]:
    """Tell the cores and GPUs, and whether torch and trials can use them."""
    yield "cpu", "ok", f"{os.cpu_count()} cores"
    listed, found = count_gpus(), gpus_of_torch()
    if fault := fault_of_torch(count_for_torch(), found):
        yield "gpu", "bad", fault
    elif listed:
        yield "gpu", "ok", f"{listed}: {', '.join(found.names) if found else 'torch is not asked'}"
    elif found is not None and found.names:
        names = ", ".join(found.names)
        yield "gpu", "note", f"torch finds {names}, but no driver lists it: none is counted"
    else:
        yield "gpu", "note", "none visible: the laptop profile is the default"
    if mps.is_running():
        yield "mps", "ok", f"in {mps.pipes()}: trials that share a GPU use it at once"
    elif is_nvidia():
        by_us = "`resources: {mps: true}` starts it for a sweep"
        without = "nvidia-cuda-mps-control, which would start it, is not here"
        turns = "not running: trials that share a GPU (`gpu` below 1) take turns"
        yield "mps", "note", f"{turns}; {by_us if mps.is_installed() else without}"


def _compiler() -> Iterator[tuple[str, str, str]]:
    missing = "none; `model.compile: inductor` needs one, such as g++"
    yield "compiler", "ok" if (found := compiler()) else "note", found or missing


def _networks() -> Iterator[tuple[str, str, str]]:
    """Check the packages of methods that have networks of their own."""
    for name, method in METHODS.usable().items():
        if method.network is not None and method.network.package:
            fault = method.network.fault_here()
            found = fault or importlib.metadata.version(method.network.package)
            yield f"method {name}", "note" if fault else "ok", found


def _weights() -> Iterator[tuple[str, str, str]]:
    """Check the pretrained weights: those in packages first, then those from the hub."""
    for name, backbone in sorted(
        BACKBONES.usable().items(), key=lambda each: not each[1].origin.package
    ):
        if (package := backbone.origin.package) is not None:
            is_here = importlib.util.find_spec(package) is not None
            found = "installed" if is_here else f"not installed; run: {install('laptop')}"
        else:
            folder = home() / "weights" / name
            is_here = folder.is_dir()
            found = str(folder)
            if not is_here:
                found = f"not in {folder}; a sweep that needs them asks the Hugging Face Hub"
        yield f"weights {name}", "ok" if is_here else "note", found
    for name, dimension in local_backbones(home()).items():
        try:
            weight_files(home() / "weights" / name)
        except WeightsError as error:
            yield f"weights {name}", "note", str(error)
        else:
            yield f"weights {name}", "ok", f"{home() / 'weights' / name}, for {dimension} tasks"


def proxy_checks() -> Iterator[tuple[str, str, str]]:
    """Check that the data of every source are there, and its libraries load."""
    for name in PROXIES.usable():
        try:
            fault, state = proxy_faults(name, home()), "note"
        except (ImportError, OSError) as error:  # such as a torch for another C library
            fault, state = f"cannot be loaded: {error}", "bad"
        yield f"proxy {name}", state if fault else "ok", fault or "present"


def _data() -> Iterator[tuple[str, str, str]]:
    folder = home() / "data"
    sets = len(list(folder.glob("*/*/*/manifest.json"))) if folder.is_dir() else 0
    yield "data", "ok", f"{sets} data sets in {folder}; missing PDE solutions are generated"


def _disk() -> Iterator[tuple[str, str, str]]:
    for what, path in (("disk here", Path.cwd()), ("disk of SWEEPER_HOME", home())):
        free = free_bytes(path) / 2**30
        yield what, "ok" if free > FREE_GIB else "bad", f"{free:.1f} GiB free"


def _tracking() -> Iterator[tuple[str, str, str]]:
    # Addresses may have passwords.
    uri = without_secrets(os.environ.get("MLFLOW_TRACKING_URI", ""))
    where = uri or f"{tracking_uri(None)} (MLflow's default)"
    if has_pages(uri):
        where += f"; its experiments: {experiments_page(uri)}"
    yield "mlflow", "ok", where
    address = os.environ.get("RAY_ADDRESS")
    note = f"RAY_ADDRESS={without_secrets(address or '')} is not used unless given as --address"
    yield "ray", "note" if address else "ok", note if address else "a local cluster for each launch"

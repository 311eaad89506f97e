"""The Python interface: complete, and imported only when it is used."""

import subprocess
import sys

import pytest

import sweeper


def test_every_public_name_can_be_imported():
    names = [name for name in sweeper.__all__ if name != "__version__"]
    assert len(names) == len(set(names))
    for name in names:
        assert getattr(sweeper, name).__name__ == name
    assert set(sweeper.__all__) <= set(dir(sweeper))


def test_an_unknown_name_is_refused():
    with pytest.raises(AttributeError, match="no attribute `tensor`"):
        sweeper.tensor  # noqa: B018


def test_to_import_the_package_imports_nothing_else():
    code = (
        "import sys, sweeper; print(sorted(m for m in sys.modules if m.startswith('sweeper.')"
        " or m in ('torch', 'ray', 'mlflow', 'optuna', 'typer')))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60
    )
    assert done.stdout == "[]\n"

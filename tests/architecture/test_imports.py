"""Which way imports point: the contracts of pyproject.toml hold, and can break."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.command import ROOT

LINT = "from importlinter.cli import lint_imports; raise SystemExit(lint_imports(no_cache=True))"
HEAVY = ("torch", "ray", "mlflow", "optuna")


def lint_imports(root: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", LINT]
    return subprocess.run(command, cwd=root, capture_output=True, text=True, check=False)


def test_the_contracts_hold():
    done = lint_imports(ROOT)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize(
    ("module", "imported", "contract"),
    [
        ("trainables/report.py", "sweeper.model", "The science does not know the service"),
        ("trainables/report.py", "ray", "The science does not know the service"),
        ("trainables/report.py", "trainables.sources.source", "Trainables are layered"),
        ("sweeper/model.py", "sweeper.cli", "The service is layered"),
        ("sweeper/model.py", "torch", "The core runs with no backend"),
        (
            "sweeper/core/runner.py",
            "trainables",
            "Only commands, driver, planning and execution know the science",
        ),
    ],
)
def test_a_planted_import_breaks_its_contract(tmp_path, module, imported, contract):
    for name in ("sweeper", "trainables"):
        shutil.copytree(ROOT / name, tmp_path / name, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    with (tmp_path / module).open("a") as file:
        file.write(f"\nimport {imported}\n")
    done = lint_imports(tmp_path)
    assert done.returncode == 1, done.stdout + done.stderr
    assert f"{contract} BROKEN" in " ".join(done.stdout.split())


@pytest.mark.parametrize(
    "module",
    [
        "sweeper",
        "sweeper.model",
        "trainables",
        "trainables.storage.artifacts",
        "trainables.methods.halving",
        "trainables.methods.registry",
        "trainables.sources.registry",
        "trainables.spec",
        "trainables.models.weights.description",
        "sweeper.planning.refusals",
    ],
)
def test_importing_what_a_file_is_checked_with_loads_nothing_heavy(module):
    assert loaded(module, HEAVY) == set()


def test_a_driver_loads_no_network():
    """It may run for days, and starts sooner: another process prepares, and actors train."""
    assert loaded("sweeper.driver.drive", ("torch", "transformers", "sklearn", "mlflow")) == set()


def loaded(module: str, of: tuple[str, ...]) -> set[str]:
    """Returns which modules an import brings along."""
    code = f"import sys, {module}; print(*set({of}) & set(sys.modules))"
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    return set(done.stdout.split())

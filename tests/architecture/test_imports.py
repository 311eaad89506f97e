"""The direction of imports: the contracts of pyproject.toml hold, and each of them can break."""

import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from tests.support.command import ROOT

CONTRACTS = [
    contract["name"]
    for contract in tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"][
        "contracts"
    ]
]
LINT = "from importlinter.cli import lint_imports; raise SystemExit(lint_imports(no_cache=True))"
PLANTED = [  # a module, what it must not import, and a word of the contract that says so
    ("trainables/report.py", "sweeper.model", "The science does not know the service"),
    ("trainables/report.py", "trainables.sources.source", "Trainables are layered"),
    ("trainables/tasks/task.py", "trainables.tasks.registry", "Tasks are layered"),
    ("sweeper/model.py", "sweeper.cli", "The service is layered"),
    ("sweeper/render/__init__.py", "sweeper.ledger", "What shows results reads no ledger"),
    ("sweeper/model.py", "torch", "The core runs with no backend"),
    ("sweeper/core/__init__.py", "trainables", "know the science"),
    ("sweeper/driver/__init__.py", "ray", "talk to Ray"),
    ("trainables/spec.py", "ray", "talk to Ray"),
    ("sweeper/execution/__init__.py", "cloudpickle.cloudpickle", "Nothing pickles"),
    ("trainables/seeding.py", "yaml", "Nothing pickles"),
]
HEAVY = ("torch", "ray", "mlflow", "optuna")
LIGHT = [  # what checks a file, before anything runs
    "sweeper",
    "sweeper.model",
    "trainables",
    "trainables.storage.artifacts",
    "trainables.methods.registry",
    "trainables.sources.registry",
    "trainables.spec",
    "trainables.models.weights.description",
    "trainables.runtime.model_folder",
    "sweeper.planning.load",
]
CALLS = {  # what must not be loaded by a call, for it is made where nothing is trained
    "import trainables.tasks.kinds, trainables.sources.registry": ("torch", "numpy"),
    "from trainables.models.weights.timm_names import timm_fault; timm_fault('vit_x')": (
        "torch",
        "timm",
    ),
    "from trainables.spec import DataSpec\n"
    "from trainables.tasks.loading import describe_data\n"
    "describe_data('pdebench/advection_1d', DataSpec())\n"
    "describe_data('nasbench360/cifar100', DataSpec())": ("torch", "ray", "scipy.sparse"),
    "from pathlib import Path\n"
    "from trainables.sources.registry import PROXIES, proxy_faults\n"
    "assert [proxy_faults(name, Path('none')) for name in PROXIES]": ("torch",),
    # A driver may run for days, and starts sooner: another process prepares, and actors train.
    "import sweeper.driver.driver": ("torch", "transformers", "sklearn", "mlflow"),
    "import sweeper.render.mlflow": ("torch", "ray", "mlflow"),
    "import sweeper.tracking.mlflow_recorder": ("mlflow",),
    # A method with a network of its own trains without those of transformers.
    "import trainables.runtime.method_run, trainables.stages.fine_tuning": (
        "transformers",
        "sklearn",
    ),
    # A program may need no torch, which takes each worker two core-seconds.
    "import sweeper, trainables.runtime.attempt, trainables.runtime.programs.run\n"
    "sweeper.trainable(lambda params, trial: None)": ("torch", "scipy", "sqlalchemy", "optuna"),
}


def lint_imports(root: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", LINT]
    return subprocess.run(command, cwd=root, capture_output=True, text=True, check=False)


def test_the_contracts_hold():
    done = lint_imports(ROOT)
    assert done.returncode == 0, done.stdout + done.stderr


def test_a_planted_import_breaks_each_contract(tmp_path):
    for name in ("sweeper", "trainables"):
        shutil.copytree(ROOT / name, tmp_path / name, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    for module, imported, _ in PLANTED:
        with (tmp_path / module).open("a") as file:
            file.write(f"\nimport {imported}\n")
    done = lint_imports(tmp_path)
    assert done.returncode == 1, done.stdout + done.stderr
    told = " ".join(done.stdout.split())
    assert [name for name in CONTRACTS if f"{name} BROKEN" not in told] == []
    for module, imported, contract in PLANTED:
        source = module.removesuffix(".py").removesuffix("/__init__").replace("/", ".")
        assert any(contract in name for name in CONTRACTS), contract
        assert f"{source} -> {imported.partition('.')[0]}" in told, (module, imported)


def test_importing_what_a_file_is_checked_with_loads_nothing_heavy():
    assert loaded(LIGHT, HEAVY) == []


@pytest.mark.parametrize("code", CALLS)
def test_a_call_loads_nothing_heavy(code):
    code += f"\nimport sys; print(set({CALLS[code]}) & set(sys.modules))"
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout == "set()\n"


def loaded(modules: list[str], heavy: tuple[str, ...]) -> list[str]:
    """Return "MODULE loads HEAVY" for each import that brings something heavy along."""
    code = (
        "import importlib, sys\n"
        f"for module in {modules}:\n"
        "    importlib.import_module(module)\n"
        f"    for name in set({heavy}) & set(sys.modules):\n"
        "        print(module, 'loads', name)\n"
    )
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    return done.stdout.splitlines()

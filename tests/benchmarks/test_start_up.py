"""Core-seconds of commands from a user's terminal, with all processes that they start.

Data, weights and source features are there already, as in a user's second sweep. The launch is a
whole sweep of one trial of one epoch.
"""

from pathlib import Path

import pytest

from sweeper.ledger import Ledger
from sweeper.planning.catalog import home
from tests.soak import imported
from tests.support.command import ROOT, Shell
from tests.support.core_seconds import metered, spent
from tests.support.figures import show

pytestmark = [pytest.mark.benchmark, pytest.mark.timeout(1200)]
FILE = str(ROOT / "search_spaces/mona_pdebench.yaml")
ONE = ("tasks=[pdebench/advection_1d]", "meta.epochs=0", "refine.epochs=1")
ROUNDS = 3


@pytest.fixture(scope="module")
def shell(tmp_path_factory) -> Shell:
    shell = Shell(tmp_path_factory.mktemp("start"), {"SWEEPER_HOME": str(home())})
    imported.write(shell.folder / "sweeps" / imported.NAME, 14)
    return shell


def cost_of(shell: Shell, *arguments: str) -> float:
    cores = shell.folder / "cores"
    with shell.start(*arguments, prefix=metered(cores)) as process:
        _, err = process.communicate(timeout=600)
    assert process.returncode == 0, err
    return spent(cores)


@pytest.mark.parametrize(
    ("arguments", "most"),
    [
        (("--help",), None),
        (("validate", FILE, "--profile", "laptop"), 0.8),
        (("status", imported.NAME), 0.6),
        (("ls",), 0.6),
    ],
    ids=["help", "validate", "status", "ls"],
)
def test_a_command_starts_quickly(shell, arguments, most):
    cost_of(shell, *arguments)  # compiles modules, and reads them into the page cache
    found = min(cost_of(shell, *arguments) for _ in range(ROUNDS))
    show(f"`sweeper {arguments[0]}`", f"<= {most} core-s" if most else "-", f"{found:.2f} core-s")
    assert most is None or found <= most


def test_a_launch_up_to_its_first_epoch(shell):
    settings = [word for each in ONE for word in ("--set", each)]
    for name in ("warm", "timed"):
        found = cost_of(shell, "launch", FILE, "--profile", "laptop", "--name", name,
                        "--trials", "1", *settings)  # fmt: skip
    (trial, *_) = Ledger.in_folder(Path(shell.folder, "sweeps", "timed")).trials()
    (epoch,) = Ledger.in_folder(Path(shell.folder, "sweeps", "timed")).measurements(
        trial.study, trial.number
    )
    assert epoch.is_final
    show("a launch of one trial of one epoch", "-",
         f"{found:.1f} core-s; the epoch took {epoch.seconds:.1f} s by the wall")  # fmt: skip

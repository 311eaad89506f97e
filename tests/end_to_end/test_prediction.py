"""A sweep is priced by a pilot, launched, and set against what it took: for real, small."""

import pytest

from tests.support import tiny_sweep
from tests.support.command import Shell

pytestmark = [pytest.mark.timeout(900)]
ONE = ("--set", "tasks=[pdebench/advection_1d]", "--set", "search.max_concurrent=1")


@pytest.fixture(scope="module")
def shell(tmp_path_factory, ray_head, data_home) -> Shell:
    environment = {**ray_head.environment, "SWEEPER_HOME": str(data_home)}
    return Shell(tmp_path_factory.mktemp("work"), environment)


def test_what_a_sweep_takes_was_foretold(shell, ray_head):
    file = str(tiny_sweep.write(shell.folder, name="foretold"))
    planned = shell.run("plan", file, *ONE, "--calibrate", "--json").json
    assert planned["price"]["slots"] == 1
    launched = shell.run("launch", file, *ONE, "--address", ray_head.address, "--json").json
    cost = launched["cost"]
    assert 0.3 < cost["utilisation"] <= 1
    predicted = cost["prediction"]
    for name in ("trial_hours", "epochs", "wall_hours"):
        assert {n: predicted[name][n] for n in planned["price"][name]} == planned["price"][name]
    assert predicted["epochs"]["verdict"] == "within"
    assert predicted["epochs"]["actual"] == cost["epochs"]
    hours = predicted["trial_hours"]  # of seconds, on a machine that may do other things as well
    assert hours["low"] / 2 < hours["actual"] < hours["high"] * 2
    assert shell.run("status", "foretold", "--json").json["cost"] == cost
    shell.run("report", "foretold")
    page = (shell.folder / "sweeps" / "foretold" / "report.html").read_text()
    assert "Trials ran in" in page
    assert "hours of trials" in page

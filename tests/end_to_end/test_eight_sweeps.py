"""Eight sweeps start at once into one empty database and one Ray: each ends with its own trials."""

from contextlib import ExitStack, closing

from tests.support.servers.postgres import postgres
from tests.support.toy import sweep as toy_sweep
from tests.support.toy.history import mlflow_violations, violations

SWEEPS, TRIALS = 8, 5


def test_each_of_eight_sweeps_ends_with_exactly_its_trials(tmp_path, ray_head, new_store):
    with ExitStack() as stack:
        url = stack.enter_context(postgres()).url  # no ledger was ever in it: all eight make one
        sweeps = {}
        for number in range(SWEEPS):
            folder, uri = tmp_path / f"toy{number}", new_store()
            options = (
                "--trials", str(TRIALS), "--epochs", "3", "--concurrent", "1", "--cpu", "0.25",
                "--seed", str(number), "--storage", url, "--tracking", uri,
                "--address", ray_head.address,
            )  # fmt: skip
            sweep = toy_sweep.start(folder, *options, environment=ray_head.environment)
            stack.callback(sweep.kill)
            sweeps[folder] = sweep, uri
        for folder, (sweep, uri) in sweeps.items():
            assert sweep.wait(240) == 0, sweep.tail()
            with closing(toy_sweep.open_ledger(folder, url)) as ledger:
                assert violations(folder, ledger, planned={"toy/task_0": TRIALS}, faults=0) == []
                assert mlflow_violations(ledger, uri, "toy") == []
                assert len(ledger.trials()) == TRIALS

"""MLflow is away for an hour at full rate: what the ledger keeps meanwhile, and how fast it goes
out once MLflow is back.

The hour passes by the events' own clock. The ledger is the spool: nothing is kept twice, nothing of
it is ever thinned, and what it takes on disk it takes whether or not MLflow is away.
"""

import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from mlflow import MlflowClient
from sqlalchemy import create_engine, insert

from sweeper.ledger import EventKind, Ledger, schema
from sweeper.ledger.records import as_payload
from sweeper.ledger.rows import dump_json, sealed
from sweeper.model import Study
from sweeper.tracking.mlflow_recorder import MlflowRecorder
from tests.support.figures import show
from tests.support.ledgers import new_ledger
from tests.support.servers.mlflow_server import mlflow_server
from tests.support.trials import begin, measured, sampled

pytestmark = [pytest.mark.soak, pytest.mark.timeout(1200)]
TRIALS, RATE = 16, 10  # reports a second, of each trial
METRICS = ("train_loss", "learning_rate", "grad_norm", "cos", "distance")
HOUR_S, MINUTE_S = 3600, 60
STUDY = Study(name="mona/t", method="mona", task="t", objective="refine/distance", seed=0)


def away(folder: Path, seconds: int) -> Ledger:
    """Return a ledger to which sixteen trials have reported for so long."""
    ledger = new_ledger(folder)
    ledger.start({})
    ledger.add_study(STUDY)
    for number in range(TRIALS):
        begin(ledger, sampled(STUDY.name, number, params={"refine.lr": 1e-4}))
    engine = create_engine(ledger.url, json_serializer=dump_json)
    with engine.begin() as connection:
        for second in range(seconds):
            rows = [sealed(schema.events, row) for row in reports(ledger, folder, second)]
            connection.execute(insert(schema.events), rows)
    engine.dispose()
    return ledger


def reports(ledger: Ledger, folder: Path, second: int) -> Iterator[dict]:
    """Yield the rows that a second's reports are in the ledger."""
    for tick in range(RATE):
        for number in range(TRIALS):
            epoch = second * RATE + tick + 1
            place = f"{folder}/trials/mona-t/{number:04d}/attempt-1/refine-{epoch:04d}"
            metrics = {f"refine/{name}": 1 / (epoch + i) for i, name in enumerate(METRICS)}
            facts = {"metrics": metrics, "checkpoint": place, "seconds": epoch / RATE}
            report = measured(epoch, 1 / epoch, num_epochs=HOUR_S * RATE, **facts)
            yield {
                "sweep": ledger.name, "at": 1.8e9 + epoch / RATE, "kind": EventKind.MEASURED,
                "study": STUDY.name, "number": number, "attempt": 1,
                "payload": as_payload(report),
            }  # fmt: skip


def test_an_hour_of_reports_fits_on_a_disk(tmp_path):
    with closing(away(tmp_path, HOUR_S)) as ledger:
        count = ledger.count_events(kinds=[EventKind.MEASURED])
    assert count == TRIALS * RATE * HOUR_S
    size = sum(file.stat().st_size for file in tmp_path.glob("ledger.db*"))
    each = size / count
    measured = f"{size / 1e6:.0f} MB for {count:,} reports, {each:.0f} bytes each"
    show("L6 an hour in the ledger", "<= 200 MB, of a spool alone", measured)
    assert each < 650


def test_what_has_waited_goes_out_fast(tmp_path):
    """Two minutes of reports, to a real server."""
    with closing(away(tmp_path, 2 * MINUTE_S)) as ledger, mlflow_server(tmp_path) as server:
        recorder = MlflowRecorder(ledger, uri=server.uri, experiment="away")
        began = time.perf_counter()
        status = recorder.sync()
        took = time.perf_counter() - began
        assert status.pending == 0, status.last_error
        client = MlflowClient(server.uri)
        runs = client.search_runs(
            [server.experiment_id("away")], "tags.`sweeper.level` = 'trial'", max_results=1000
        )
        steps = 2 * MINUTE_S * RATE
        for run in runs:
            for name in METRICS:
                points = client.get_metric_history(run.info.run_id, f"refine/{name}")
                assert sorted(p.step for p in points) == list(range(1, steps + 1))
    assert len(runs) == TRIALS
    rate = TRIALS * steps * (len(METRICS) + 1) / took  # and each epoch's seconds
    show("L6 replay", ">= 2,000 metrics/s", f"{rate:,.0f} metrics/s")
    assert rate > 2000

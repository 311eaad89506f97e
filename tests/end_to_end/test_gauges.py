"""A sweep's gauges are on Ray's own metrics endpoint while it runs, and no longer."""

import signal
import urllib.request
from collections.abc import Callable

import pytest
from prometheus_client.parser import text_string_to_metric_families

from sweeper.execution.gauges import LABELS
from tests.support.command import Shell
from tests.support.servers.process import wait_until
from tests.support.small_programs import HeldSweep
from tests.support.small_sweep import TRIALS, finish

NAME = "gauges"
Series = tuple[dict[str, str], float]


def scrape(port: int) -> dict[str, list[Series]]:
    """Return what Prometheus would read of our sweep: labels and values by name, without Ray's
    prefix. Those of a sweep that was there before stay for a while."""
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=20) as response:
        families = text_string_to_metric_families(response.read().decode())
        found: dict[str, list[Series]] = {}
        for sample in (s for family in families for s in family.samples):
            if sample.name.startswith("ray_sweeper_") and sample.labels["sweep"] == NAME:
                series = (dict(sample.labels), sample.value)
                found.setdefault(sample.name.removeprefix("ray_"), []).append(series)
    return found


@pytest.fixture
def sweep(tmp_path, ray_head, data_home) -> HeldSweep:
    environment = {**ray_head.environment, "SWEEPER_HOME": str(data_home)}
    sweep = HeldSweep(Shell(tmp_path, environment), NAME)
    sweep.hold()
    return sweep


def test_a_running_sweep_is_on_the_metrics_endpoint(sweep, ray_head):
    port = ray_head.nodes[0].ports["metrics-export-port"]
    launch = sweep.start("--address", ray_head.address)
    seen: dict[str, list[Series]] = {}

    def until(holds: Callable[[], bool], what: str) -> None:
        def look() -> bool:
            seen.clear()
            seen.update(scrape(port))
            return holds()

        wait_until(look, timeout_s=240, what=what)

    until(lambda: seen.keys() >= LABELS.keys(), "every gauge")
    for name, labels in LABELS.items():
        for shown, value in seen[name]:
            assert set(labels) <= shown.keys()
            assert value >= 0
    counts = {shown["state"]: value for shown, value in seen["sweeper_trials"]}
    assert sum(counts.values()) == TRIALS
    assert counts["running"] >= 1
    for shown, epoch in seen["sweeper_trial_epoch"]:
        assert (shown["study"], shown["stage"], epoch) == (sweep.study, "run", 1)
    best = {shown["trial"]: value for shown, value in seen["sweeper_trial_best"]}
    for shown, value in seen["sweeper_trial_objective"]:
        assert best[shown["trial"]] <= value
    launch.send_signal(signal.SIGINT)
    finish(launch, 130)
    until(lambda: not seen, "all series to end with what they are about")

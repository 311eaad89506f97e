"""The contract of a method, whatever its stages."""

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from trainables.methods.method import Method
from trainables.methods.registry import METHODS
from trainables.report import Report
from trainables.runtime.training import Training
from trainables.runtime.warm import WarmParts
from trainables.tasks.loading import prepare_task
from trainables.testing.small import assert_same, small_trial, weights


def check_method(
    method: Method, home: Path, *, settings: Mapping[str, Any] | None = None
) -> list[Report]:
    """Check that a method trains, is resumed bit for bit after every epoch, and has a control.

    It runs on a small 2D task with a random backbone, in seconds.

    Args:
        method: The method.
        home: An empty folder for data and caches.
        settings: Settings by "stage.parameter" that replace small ones: for a stage that needs
            more samples, say.

    Returns:
        The reports of a whole trial.

    Raises:
        AssertionError: The contract is broken; the message says where.
    """
    _check_description(method)
    with METHODS.holding(method.name, method):
        spec = small_trial(method, home, settings=settings)
        prepare_task(spec.task, spec.data, spec.home)
        parts = WarmParts()
        whole = Training.begin(spec, parts)
        reports = list(whole.reports())
        _check_reports(method, whole, reports)
        expected = weights(whole)
        again = Training.begin(spec, parts)
        assert _plain(list(again.reports())) == _plain(reports), "a second run: other reports"
        assert_same(weights(again), expected, "a second run of the same trial")
        for done in range(1, len(reports)):
            place = f"{reports[done - 1].stage}, epoch {reports[done - 1].epoch}"
            stopped = Training.begin(spec, parts)
            running = stopped.reports()
            for _ in range(done):
                next(running)
            stopped.save(home / "checkpoints" / str(done))
            resumed = Training.begin(spec, parts)
            resumed.load(home / "checkpoints" / str(done))
            rest = list(resumed.reports())
            what = f"resumed after {place}"
            assert _plain(rest) == _plain(reports[done:]), f"{what}: other reports"
            assert_same(weights(resumed), expected, what)
        control = {**(settings or {}), **method.control}
        list(Training.begin(small_trial(method, home, settings=control), parts).reports())
    return reports


def _check_description(method: Method) -> None:
    """Check what a sweep file needs to know of a method."""
    assert method.stages, f"{method.name}: it has no stage"
    last = list(method.stages)[-1]
    telling = [name for name, config in method.stages.items() if config.reports_objective]
    assert telling == [last], (
        f"{method.name}: the last stage alone reports the objective, but {telling} do: derive the "
        "config of the last one from RefineConfig"
    )
    known = {
        f"{stage}.{key}" for stage, config in method.stages.items() for key in config.model_fields
    }
    aliases = {
        f"{stage}.{field.alias}"
        for stage, config in method.stages.items()
        for field in config.model_fields.values()
        if field.alias
    }
    for where, given in (("control", method.control), ("preset", method.preset)):
        unknown = sorted(set(given) - known - aliases)
        assert not unknown, f"{method.name}: its {where} sets {unknown}, which no stage has"
    for stage, config in method.stages.items():
        config.model_validate({})  # every parameter has a default
        for key, field in config.model_fields.items():
            assert field.description or key in ("epochs", "optimizer"), (
                f"{stage}.{key}: it has no description, which `sweeper describe` would print"
            )


def _check_reports(method: Method, training: Training, reports: list[Report]) -> None:
    """Check the order of the reports, and the numbers in them."""
    expected = [
        (stage.name, epoch + 1, stage.config.epochs)
        for stage in training.stages
        for epoch in range(stage.config.epochs)
    ]
    found = [(report.stage, report.epoch, report.num_epochs) for report in reports]
    assert found == expected, f"{method.name}: reports of {found} instead of {expected}"
    for report in reports:
        place = f"{report.stage}, epoch {report.epoch}"
        assert report.metrics, f"{place}: nothing is measured"
        bad = [name for name, value in report.metrics.items() if not math.isfinite(value)]
        assert not bad, f"{place}: {bad} are not finite"
        assert all(isinstance(value, float) for value in report.metrics.values()), (
            f"{place}: a measured number is no float, such as an unconverted tensor"
        )
        is_last = report.stage == training.stages[-1].name
        assert (report.objective is not None) == is_last, (
            f"{place}: the objective belongs to the reports of the last stage alone"
        )
    assert reports[-1].is_final, f"{method.name}: the last report has no test metrics"


def _plain(reports: list[Report]) -> list[tuple[Any, ...]]:
    return [(r.stage, r.epoch, r.objective, dict(r.metrics)) for r in reports]

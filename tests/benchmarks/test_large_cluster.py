"""A driver keeps up with 1,000 workers whose epochs take a minute: it takes at most half a core.

The cluster is simulated, on a virtual clock; the runner, its ledger on disk, the default sampler
and the default pruner are real. Each virtual minute brings 1,000 reports, starts trials in the
places of those that ended, and draws their settings. Core-seconds are those of the process.
"""

import math
import time
from collections.abc import Hashable
from dataclasses import dataclass, field

import numpy as np
import pytest

from sweeper.model import Params
from sweeper.search import factories
from sweeper.spec.distributions import Distribution, Float, Int
from tests.benchmarks.search.arms import Service, service
from tests.benchmarks.search.simulation import Run, simulate
from tests.benchmarks.search.tasks import Curve, Scale
from tests.support.figures import show

pytestmark = [pytest.mark.benchmark, pytest.mark.timeout(3600)]
WORKERS, EPOCHS, MINUTES = 1_000, 27, 10
HELD = 30.0  # core-seconds a minute


@dataclass(frozen=True)
class Minutes:
    """Curves of about a minute an epoch, in a space as that of a method."""

    name: str = "minutes"
    family: str = "test"
    num_epochs: int = EPOCHS
    parameters: dict[str, Distribution] = field(
        default_factory=lambda: {
            **{f"x{k}": Float(low=1e-5, high=1e-1, log=True) for k in range(6)},
            "layers": Int(low=1, high=64),
            "drop": Float(low=0, high=0.5, step=0.05),
        }
    )
    scale: Scale = field(default_factory=lambda: Scale(best=0.0, median=1.0, epoch_seconds=60.0))

    def curve(self, params: Params) -> Curve:
        floor = sum(abs(math.log10(params[f"x{k}"]) + 3) for k in range(6)) / 12
        rng = np.random.default_rng(params["layers"])
        return Curve(
            floor + np.exp(-0.3 * np.arange(1, EPOCHS + 1)), rng.uniform(55, 65, size=EPOCHS)
        )


class Timed:
    """A search whose core-seconds are counted for each thousand reports."""

    def __init__(self, search: Service) -> None:
        self._search = search
        self.spent, self.reports, self.starts = [0.0], [0], [0]

    def next(self) -> Run | None:
        began = time.process_time()
        run = self._search.next()
        self.spent[-1] += time.process_time() - began
        self.starts[-1] += run is not None
        return run

    def report(self, trial: Hashable, epoch: int, error: float) -> bool:
        began = time.process_time()
        goes_on = self._search.report(trial, epoch, error)
        self.spent[-1] += time.process_time() - began
        self.reports[-1] += 1
        if self.reports[-1] == WORKERS:
            for counts in (self.spent, self.reports, self.starts):
                counts.append(0)
        return goes_on


def test_a_driver_of_a_thousand_workers_takes_half_a_core():
    with service(Minutes(), 0, sampler=factories.tpe, pruner=factories.asha) as search:
        timed = Timed(search)
        simulate(timed, Minutes(), workers=WORKERS, epochs=WORKERS * MINUTES)
    # The first minute starts all trials at once, which is no state that lasts. They therefore reach
    # their rungs together, so that some minutes bring hundreds of starts and most hardly any.
    spent, starts = timed.spent[1:MINUTES], timed.starts[1:MINUTES]
    show(f"driver of {WORKERS:,} workers", f"<= {HELD:.0f} core-seconds a minute",
         f"{np.mean(spent):.1f} at the mean, {max(spent):.1f} at most, "
         f"{np.mean(starts):.0f} trials started a minute; the first minute {timed.spent[0]:.1f}",
    )  # fmt: skip
    assert np.mean(spent) <= HELD

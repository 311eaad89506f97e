"""A check that trials which share a GPU fit into its memory, by what one was measured to hold.

Ray divides a GPU by count, not by memory. A trial is kept to its share of the GPU that it runs on,
which may be larger than the smallest one.
"""

from collections.abc import Callable

from sweeper.core.protocols import Hook
from sweeper.ledger import Ledger
from sweeper.model import Trial
from sweeper.planning import gpus
from sweeper.planning.resources import over_memory, sharers
from trainables.report import Measurement


class GpuMemory(Hook):
    """Notes, once a study, that its trials do not fit onto a GPU together."""

    def __init__(
        self,
        gpu: float,
        ledger: Ledger,
        say: Callable[[str], None],
        memory_bytes: Callable[[], int | None] = gpus.gpu_memory_bytes,
    ) -> None:
        self._gpu, self._ledger, self._say = gpu, ledger, say
        self._memory_bytes = memory_bytes() if sharers(gpu) > 1 else None
        self._noted: set[str] = set()

    def changed(self, trial: Trial, measurement: Measurement | None = None) -> None:
        """Compare the memory that a trial held with that of the GPU."""
        peak = None if measurement is None else measurement.peak_memory_bytes
        if peak is None or trial.study in self._noted:
            return
        # A note, and no fault: the peaks of trials seldom coincide.
        if note := over_memory(self._gpu, peak, self._memory_bytes):
            self._noted.add(trial.study)
            self._ledger.note(note, trial.study)
            self._say(f"{trial.study}: {note}")

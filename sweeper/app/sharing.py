"""Whether trials that share a GPU fit into its memory, by what one was measured to hold.

Ray divides a GPU by count, not by memory: nothing keeps a trial to its share.
"""

from collections.abc import Callable

from sweeper.app import devices
from sweeper.ledger import Ledger
from sweeper.study import Measurement, Trial

GIB = 2**30


def sharers(gpu: float) -> int:
    """Returns how many trials that ask for `gpu` GPUs share one."""
    return int(1 / gpu + 1e-9) if 0 < gpu < 1 else 1


def over_memory(gpu: float, peak_bytes: int, memory_bytes: int | None) -> str | None:
    """Returns what to say where trials of a measured peak do not fit together; None if they do,
    or no GPU is shared or known.

    Args:
        gpu: GPUs that a trial asks for.
        peak_bytes: The most that one held; each process needs some more for CUDA itself.
        memory_bytes: Of the GPU.
    """
    count = sharers(gpu)
    if memory_bytes is None or count < 2 or count * peak_bytes <= memory_bytes:
        return None
    fit = memory_bytes // peak_bytes
    way_out = "write `resources.gpu: 1`" if fit < 2 else f"write `resources.gpu: {1 / fit:.2g}`"
    return (
        f"{count} trials share a GPU of {memory_bytes / GIB:.1f} GiB, and one was measured to hold "
        f"{peak_bytes / GIB:.1f} GiB: at their peaks they do not fit together. Where memory runs "
        f"out, batches are halved; to avoid that, {way_out}, or lower a batch size."
    )


class Sharing:
    """Notes, once a study, that its trials do not fit onto a GPU together (an `Observer`)."""

    def __init__(
        self,
        gpu: float,
        ledger: Ledger,
        say: Callable[[str], None],
        memory_bytes: Callable[[], int | None] = devices.gpu_memory_bytes,
    ) -> None:
        self._gpu, self._ledger, self._say = gpu, ledger, say
        self._memory_bytes = memory_bytes() if sharers(gpu) > 1 else None
        self._told: set[str] = set()

    def changed(self, trial: Trial, measurement: Measurement | None = None) -> None:
        """Takes in what a trial held."""
        peak = None if measurement is None else measurement.peak_memory_bytes
        if peak is None or trial.study in self._told:
            return
        if note := over_memory(self._gpu, peak, self._memory_bytes):
            self._told.add(trial.study)
            self._ledger.note(note, trial.study)
            self._say(f"{trial.study}: {note}")

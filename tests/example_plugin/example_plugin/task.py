"""A benchmark of one generated task: sine waves that have travelled."""

from dataclasses import dataclass

import numpy as np

from trainables.tasks.benchmark import Benchmark
from trainables.tasks.problem import GeneratedSamples, Problem, Problems, cell_centres
from trainables.tasks.task import TaskInfo

TRAVEL = TaskInfo(
    name="example/travel", title="Travelling waves", dimension="1d", kind="dense",
    metric="nrmse", loss="nrmse", samples=1000, resolution=64, channels=(1, 1),
    protocol="example, one-shot",
)  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Travel(Problem):
    """The wave sin(2 pi k x + p), and the same after a time in which it moves by `shift`."""

    shift: float = 0.2

    def grid(self, resolution):
        return (resolution,)

    def generate(self, indices, *, seed, resolution):
        rngs = [np.random.default_rng((seed, int(i))) for i in indices]
        drawn = np.array([(rng.integers(1, 4), rng.uniform(0, 2 * np.pi)) for rng in rngs])
        k, phase = drawn[:, :1], drawn[:, 1:]
        x = cell_centres(resolution, 0.0, 1.0)
        waves = [np.sin(2 * np.pi * k * (x - moved) + phase) for moved in (0.0, self.shift)]
        start, end = (wave[:, None].astype(np.float32) for wave in waves)
        return GeneratedSamples(x=start, y=end, params={"k": k[:, 0], "phase": phase[:, 0]})


EXAMPLE = Benchmark(
    name="example", tasks=(TRAVEL,), problems=lambda info: Problems(train=Travel(), scored=Travel())
)

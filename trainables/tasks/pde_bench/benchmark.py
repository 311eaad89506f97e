"""The benchmark PDEBench (Takamoto et al., "PDEBench", NeurIPS 2022).

`tasks.py` describes its tasks, `published.py` its files and the published numbers. `reader.py`
reads the files. The other modules are the problems and their shared parts.
"""

from trainables.tasks.benchmark import Benchmark, Reader
from trainables.tasks.pde_bench.published import RESULTS
from trainables.tasks.pde_bench.tasks import TASKS, problems
from trainables.tasks.task import TaskInfo


def _reader(info: TaskInfo) -> Reader:
    from trainables.tasks.pde_bench.reader import PairReader  # h5py and torch

    return PairReader(info)


PDEBENCH = Benchmark(
    name="pdebench", tasks=TASKS, reader=_reader, problems=problems, results=RESULTS
)

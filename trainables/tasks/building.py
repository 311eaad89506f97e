"""Construction of a generated data set in the store, in bounded memory.

Samples are written to a scratch folder (`chunks`), which remains if the process is killed. All
other parts are computed from the samples. An interrupted construction therefore gives the same
bytes.
"""

from pathlib import Path
from typing import Any

import numpy as np

from trainables.tasks.chunks import WORKING_BYTES, make_samples, mapped
from trainables.tasks.generation import Generation, Progress
from trainables.tasks.predictors.trivial import trivial_baselines
from trainables.tasks.store.arrays import row_blocks
from trainables.tasks.store.split import SPLITS, Split, SplitData
from trainables.tasks.store.statistics import Standardiser, channel_statistics, mean_and_std
from trainables.tasks.store.store import write_store


def build(
    generation: Generation,
    folder: Path,
    scratch: Path,
    *,
    progress: Progress | None = None,
    workers: int = 1,
    working_bytes: int = WORKING_BYTES,
) -> None:
    """Generate a data set and write it to the store.

    `folder` must not exist; `scratch`, for the samples, may hold chunks of an earlier run. All
    other arguments are as of `make_samples`.

    Raises:
        DataError: A sample is not finite, or a process was killed.
    """
    made = make_samples(
        generation, scratch, progress=progress, workers=workers, working_bytes=working_bytes
    )
    rows = {name: slice(part.start, part.stop) for name, part in generation.indices().items()}
    x, y = made.x, made.y
    normalization: dict[str, Any] = {}
    if generation.problem.normalized:
        x, y, normalization = _standardised(x, y, train=x[rows["train"]], folder=scratch)
    # The splits are views of the mapped samples, so that memory stays bounded.
    splits = {
        split: SplitData(
            sample_id=np.arange(len(x))[rows[split]],
            x=x[rows[split]],
            y=y[rows[split]],
            params={name: values[rows[split]] for name, values in made.params.items()},
        )
        for split in SPLITS
    }
    train, test, info = splits["train"], splits["test"], generation.info
    description = generation.recipe | {
        "data_source": "generated",
        "protocol": info.protocol,
        "equation": info.equation,
        "metric": info.metric,
        "statistics": {"x": channel_statistics(train.x), "y": channel_statistics(train.y)},
        "normalization": normalization,
        "baselines": trivial_baselines(info, train.y, Split(x=test.x, y=test.y)),
    }
    write_store(folder, splits, description)


def _standardised(
    x: np.ndarray, y: np.ndarray, *, train: np.ndarray, folder: Path
) -> tuple[np.ndarray, np.ndarray, dict[str, Any]]:
    """Return inputs and outputs standardised by the training inputs at each point, and the rule."""
    standardise = Standardiser.of(*mean_and_std(train))

    def standardised(rows: np.ndarray, path: Path) -> np.ndarray:
        with path.open("wb") as file:
            for block in row_blocks(rows):
                file.write(standardise(block).data)
        return mapped(path, rows.shape)

    x, y = standardised(x, folder / "x.standard.raw"), standardised(y, folder / "y.standard.raw")
    return x, y, standardise.rule

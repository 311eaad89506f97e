"""The class of each training sample of any task, for distances and contrasts that need classes.

A classification task has classes. The outputs of any other are grouped by k-means, as in ORCA (Shen
et al., ICML 2023): outputs flattened to vectors, or the vectors of labels where a sample has
several. Vectors of more than 256 numbers are first projected on their 64 leading principal
components: on fields of 3072 points this takes seconds instead of most of a minute, and moves no
more samples between groups than another start of k-means does. Where outputs have a mask (PSICOV),
it is part of the vector; in the official code the distances alone are.

Chance is the data's, not the trial's, so that all trials of a study share their classes.
"""

import warnings

import numpy as np
from jaxtyping import Int64
from sklearn.cluster import KMeans, MiniBatchKMeans
from sklearn.decomposition import PCA
from sklearn.exceptions import ConvergenceWarning
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]  # scikit-learn's own

from trainables.errors import DataError
from trainables.tasks.task import Task

__all__ = ["target_labels"]

WIDEST = 256  # numbers an output that are grouped as they are
COMPONENTS = 64
BATCH = 10_000  # samples that k-means reads at once; more are read in batches of as many
STARTS = 10  # of k-means; the best is kept
SEED = 0  # the data's, not the trial's

_known: dict[tuple[str, int, int], Int64[np.ndarray, " n"]] = {}  # of this process


def target_labels(task: Task, clusters: int) -> Int64[np.ndarray, " n"]:
    """Return the class of each training sample, counted from 0 without a gap.

    They are the true classes of a classification task, whatever `clusters` (one without a training
    sample has no number), else at most `clusters` groups of like outputs: at most half as many as
    samples, so that some group has two, and fewer where fewer outputs differ.

    Raises:
        DataError: An output is not finite.
    """
    key = (task.content_hash, len(task.train), clusters)
    if key not in _known:
        _known[key] = _compute(task, clusters)
    return _known[key].copy()


def _compute(task: Task, clusters: int) -> Int64[np.ndarray, " n"]:
    outputs = task.train.y.reshape(len(task.train), -1)
    if not np.isfinite(outputs).all():
        raise DataError(
            f"{task.info.name}: some training targets are NaN or infinite, so that they belong to "
            "no class. Prepare or import the data anew."
        )
    true = task.info.kind == "classification"
    groups = outputs[:, 0] if true else _k_means(outputs, clusters)
    return np.unique(groups, return_inverse=True)[1].astype(np.int64)


def _k_means(outputs: np.ndarray, clusters: int) -> np.ndarray:
    """Group rows, in one thread: several would add up in an order of chance."""
    samples, width = outputs.shape
    clusters = max(1, min(clusters, samples // 2))
    with threadpool_limits(limits=1), warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # fewer outputs differ
        if width > WIDEST:
            pca = PCA(min(COMPONENTS, samples), svd_solver="randomized", random_state=SEED)
            outputs = pca.fit_transform(outputs)
        if samples <= BATCH:
            k_means = KMeans(clusters, n_init=STARTS, random_state=SEED)
        else:
            k_means = MiniBatchKMeans(clusters, batch_size=BATCH, n_init=STARTS, random_state=SEED)
        groups: np.ndarray = k_means.fit_predict(outputs)
    return groups

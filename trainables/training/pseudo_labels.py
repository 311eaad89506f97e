"""Classes of the training samples of any task, for distances and contrasts that need classes.

A classification task has classes. The outputs of other tasks are grouped by k-means, as in ORCA
(Shen et al., ICML 2023). The outputs are flattened fields, or vectors of labels or numbers. Numbers
of a regression are in units of their deviation, so that each output counts. Vectors with more
than 256 values are first projected onto their 64 leading principal components. On fields of 3072
points this takes seconds instead of most of a minute. It moves no more samples between groups than
another initialisation of k-means does. If outputs have a mask (PSICOV), the mask is part of the
vector; the official code uses only the distances.

The random seed belongs to the data, not to the trial, so that all trials of a study have the same
classes.
"""

import warnings

import numpy as np
from jaxtyping import Int64
from sklearn.cluster import KMeans, MiniBatchKMeans
from sklearn.decomposition import PCA
from sklearn.exceptions import ConvergenceWarning
from threadpoolctl import threadpool_limits

from trainables.errors import DataError
from trainables.tasks.task import Task

__all__ = ["target_labels"]

MAX_VALUES = 256  # largest number of values of an output that is grouped without projection
COMPONENTS = 64
BATCH = 10_000  # samples that k-means reads at once; above it, the size of its mini-batches
STARTS = 10  # initialisations of k-means; the best result is kept
SEED = 0  # seed of the data, not of the trial

KNOWN: dict[tuple[str, int, int], Int64[np.ndarray, " n"]] = {}  # cache of this process


def target_labels(task: Task, clusters: int) -> Int64[np.ndarray, " n"]:
    """Return the class of each training sample, as consecutive integers from 0.

    A classification task has its true classes, independent of `clusters`; a class without training
    samples has no number. Other tasks have at most `clusters` groups of similar outputs. There are
    at most half as many groups as samples, so that some group has two samples, and fewer groups if
    there are fewer distinct outputs.

    Args:
        task: Task with its training set.
        clusters: Largest number of groups.

    Raises:
        DataError: An output is not finite.
    """
    key = (task.content_hash, len(task.train), clusters)
    if key not in KNOWN:
        KNOWN[key] = _compute(task, clusters)
    # What a caller changes must not reach the classes of other trials of this process.
    return KNOWN[key].copy()


def _compute(task: Task, clusters: int) -> Int64[np.ndarray, " n"]:
    outputs = task.train.y.reshape(len(task.train), -1)
    if not np.isfinite(outputs).all():
        raise DataError(
            f"{task.info.name}: some training targets are NaN or infinite, so that they belong to "
            "no class. Prepare or import the data anew."
        )
    if task.info.kind == "regression":
        outputs = task.output_units(outputs)
    true = task.info.kind == "classification"
    # k-means may leave a group empty, and a cut training set a class. The numbers are closed up.
    groups = outputs[:, 0] if true else _k_means(outputs, clusters)
    return np.unique(groups, return_inverse=True)[1].astype(np.int64)


def _k_means(outputs: np.ndarray, clusters: int) -> np.ndarray:
    """Group rows by k-means in one thread, because several threads add up in a random order."""
    samples, width = outputs.shape
    clusters = max(1, min(clusters, samples // 2))
    with threadpool_limits(limits=1), warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # fewer distinct outputs than groups
        if width > MAX_VALUES:
            pca = PCA(min(COMPONENTS, samples), svd_solver="randomized", random_state=SEED)
            outputs = pca.fit_transform(outputs)
        if samples <= BATCH:
            k_means = KMeans(clusters, n_init=STARTS, random_state=SEED)
        else:
            k_means = MiniBatchKMeans(clusters, batch_size=BATCH, n_init=STARTS, random_state=SEED)
        groups: np.ndarray = k_means.fit_predict(outputs)
    return groups

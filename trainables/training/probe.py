"""Linear probe of the source knowledge in a body.

    distortion(t) = error of a probe on the body after t epochs - error on the body before

The probe is a multinomial logistic regression on standardised features of source samples. The
features are averaged over positions, and the samples pass through the source's own embedder. 3-fold
cross-validation on the training samples of the probe selects its L2 strength. The error is that of
the other samples. Ma et al., ICML 2024, use this error to measure the loss of source knowledge
during fine-tuning.
"""

import numpy as np
import torch
from jaxtyping import Int64
from torch import Tensor

from trainables.errors import ConfigError
from trainables.models.cross_modal import CrossModalModel
from trainables.sources.source import Source

__all__ = ["body_features", "check_probe", "probe_error", "source_error"]

FOLDS = 3
STRENGTHS = (0.01, 0.1, 1.0, 10.0)  # candidates of the inverse L2 penalty
HELD_OUT = 0.3  # share of the samples for the error
CHUNK = 64  # samples encoded at once


def source_error(model: CrossModalModel, source: Source) -> float:
    """Return the share of held-out source samples that a probe on the body misclassifies.

    The model is in training mode afterwards.
    """
    return probe_error(body_features(model, source), source.labels.numpy())


@torch.no_grad()
def body_features(
    model: CrossModalModel, source: Source, chosen: Int64[Tensor, " n"] | None = None
) -> np.ndarray:
    """Return the body's features of source samples, float32 [n, E].

    The model is in training mode afterwards.

    Args:
        model: Model with the body.
        source: Source of the samples.
        chosen: Indices of the samples; None: all.
    """
    device = next(model.parameters()).device
    model.eval()
    pooled = []
    indices = torch.arange(len(source)) if chosen is None else chosen
    for chunk in torch.split(indices, CHUNK):
        tokens, _ = source.batch(chunk)
        pooled.append(model.pool(model.encode(tokens.to(device))).float().cpu())
    model.train()
    return torch.cat(pooled).numpy()


def probe_error(features: np.ndarray, labels: np.ndarray) -> float:
    """Fit a probe to features, and return its error on held-out samples.

    The choice of the held-out samples depends only on the labels. Classes with too few samples for
    cross-validation are left out.

    Args:
        features: Features [n, E].
        labels: Classes [n], integers from 0.
    """
    # Slow imports: few trials have a probe.
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import GridSearchCV, train_test_split
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    # After the split, 70 % of the samples remain for the folds. Of 2 x FOLDS samples that is at
    # least one for each fold.
    enough = np.bincount(labels)[labels] >= 2 * FOLDS
    x, x_out, y, y_out = train_test_split(
        features[enough],
        labels[enough],
        test_size=HELD_OUT,
        random_state=0,
        stratify=labels[enough],
    )
    probe = make_pipeline(StandardScaler(), LogisticRegression(max_iter=1000, tol=1e-3))
    grid = {"logisticregression__C": list(STRENGTHS)}
    search = GridSearchCV(probe, grid, cv=FOLDS).fit(x, y)
    return float((search.predict(x_out) != y_out).mean())


def check_probe(source: Source | None, setting: str) -> None:
    """Check that a probe can be fitted to the source.

    Args:
        source: Labelled source data, if any.
        setting: Setting that requires the probe, for the message.

    Raises:
        ConfigError: There is no source, or fewer than two of its classes have enough samples.
    """
    if source is None:
        raise ConfigError(
            f"{setting}: the probe reads labelled source data, but the trial has no proxy. Name "
            f"one under `proxies`, or set {setting} to 0."
        )
    counts = torch.bincount(source.labels)
    if int((counts >= 2 * FOLDS).sum()) < 2:
        raise ConfigError(
            f"{setting}: a probe needs two classes of {2 * FOLDS} source samples, but the classes "
            f"have {counts.tolist()}. Choose another proxy, or set {setting} to 0."
        )

"""Frozen predictor of source labels, and the distortion of target samples by it.

Tran et al., AISTATS 2026 (arXiv 2601.18231).

    target tokens -> body (frozen) -> source head (frozen) -> q(. | x) -> distortion

The head is trained first, on source samples that pass through the source's own embedder and the
same body (`source_head`). It is no state of the trial. It is a function of the pretrained body, the
source, the settings and the seed, and a resumed trial trains it again.
"""

from functools import cached_property

import numpy as np
import torch
from jaxtyping import Float, Int64
from torch import Tensor

from trainables.errors import ConfigError
from trainables.methods.pare.source_heads import LabelHead
from trainables.methods.recraft.config import DistortionConfig
from trainables.methods.recraft.distortion import distortion
from trainables.methods.recraft.source_head import gradient_norms, train_source_head
from trainables.seeding import generator
from trainables.sources.source import Domains, Source, balanced_choice
from trainables.tasks.store.device_rows import moved
from trainables.training.probe import body_features
from trainables.training.pseudo_labels import target_labels
from trainables.training.state import TrainState

__all__ = ["SourcePredictor", "check_labels"]

HEAD_SCOPE = "match-head"  # seed scope of the source head


def check_labels(name: str, config: DistortionConfig, domains: Domains, *, hint: str) -> None:
    """Check that the labels of both modalities have a distortion.

    Args:
        name: Name of the stage.
        config: Its settings.
        domains: Target and source; the source must be there.
        hint: How to do without the distortion, at the end of a message.

    Raises:
        ConfigError: The source has one label, or the target one class that `information` needs
            several of.
    """
    assert domains.source is not None
    if int((torch.bincount(domains.source.labels) > 0).sum()) < 2:
        raise ConfigError(
            f"{name}: all samples of the proxy have one label, so that a source predictor is "
            f"always certain. Name another under `proxies`, or {hint}."
        )
    if config.form == "information" and not target_labels(domains.target, config.clusters).any():
        raise ConfigError(
            f"{name}: all training samples of {domains.target.info.name} are of one class, "
            "about which source labels hold no information. Raise data.samples, or set "
            f"{name}.form to conditional."
        )


class SourcePredictor:
    """Predictor of source labels, and the distortion of batches of target samples by it.

    Args:
        state: State of the trial, whose body the predictor uses.
        source: Samples that its head learns.
        labels: Class of each training sample of the target.
        config: Settings of head and distortion.
    """

    def __init__(
        self,
        state: TrainState,
        source: Source,
        labels: Int64[np.ndarray, " n"],
        config: DistortionConfig,
    ) -> None:
        self.state, self.source, self.labels, self.config = state, source, labels, config
        counts = np.bincount(labels)
        self.shares = torch.from_numpy(counts / counts.sum()).float().to(state.device)
        self.of_head: dict[str, float] = {}  # what the head reached, once it is trained

    @cached_property
    def head(self) -> LabelHead:
        """The frozen head."""
        config, source = self.config, self.source
        chosen = balanced_choice(source.labels, config.source_per_class)
        features = torch.from_numpy(body_features(self.state.model, source, chosen))
        labels = source.labels[chosen]
        head = train_source_head(
            features,
            labels,
            source.num_classes,
            config,
            rng=generator(self.state.seed, HEAD_SCOPE),
        )
        logits, norms = head(features[:, None]), gradient_norms(head, features, labels)
        self.of_head = {
            "source_loss": head.loss(logits, labels).item(),
            "source_error": (logits.argmax(1) != labels).float().mean().item(),
            "source_grad_norm": norms.max().item(),
        }
        return head.to(self.state.device)

    def losses(
        self, tokens: Float[Tensor, "b n d"], indices: Int64[np.ndarray, " b"]
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """Return the distortion of a batch, and it and its entropies by name.

        Args:
            tokens: Embedded target samples.
            indices: The samples, by their indices in the training set.
        """
        head = self.head
        with self.state.supervised():
            features = self.state.model.encode(tokens)
        probabilities = head(features.float()).softmax(1)
        labels = moved(torch.from_numpy(self.labels[indices]), tokens.device)
        found = distortion(probabilities, labels, self.shares)
        loss = found.loss(self.config.form)
        return loss, {
            "match_loss": loss,
            "entropy": found.sample,
            "conditional_entropy": found.conditional,
            "marginal_entropy": found.marginal,
        }

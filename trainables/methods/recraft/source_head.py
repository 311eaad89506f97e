"""Head that predicts source labels from the frozen body's features, with a bounded gradient.

Tran et al., AISTATS 2026 (arXiv 2601.18231), ablation of the source head.

    L = (1/n) sum_i l_i + (rho/n) sum_i max(0, |grad l_i| - tau)^2

l_i is the cross entropy of source sample i. With features f_i, W the weights of a linear head, p_i
its probabilities and e_i the one-hot label,

    grad l_i = dl_i / df_i = W^T (p_i - e_i).

If the norm is at most tau, l is tau-Lipschitz in the features. By Kantorovich and Rubinstein its
means over two samples then differ by at most tau times the Wasserstein distance of their features:
a small distance implies that the source loss carries over.

Our reading: the released ablation differentiates by the input of the body, and this module by its
features. Both differ by the Jacobian of the body, which no stage before `refine` changes. The
features are then constants, and training the head takes a second instead of passes through the
body with double gradients. The same value of tau therefore bounds another norm.

Shapes: n = samples; d = width of the features; k = source labels; "" = scalar.
"""

import torch
from jaxtyping import Float, Int64
from torch import Tensor
from torch.nn import functional

from trainables.methods.pare.source_heads import LabelHead
from trainables.methods.recraft.config import DistortionConfig
from trainables.training import optim
from trainables.training.evaluation import shuffled_batches

__all__ = ["excess", "gradient_norms", "train_source_head"]

BATCH = 64  # source samples a step


def gradient_norms(
    head: LabelHead, features: Float[Tensor, "n d"], labels: Int64[Tensor, " n"]
) -> Float[Tensor, " n"]:
    """Return the norm of the gradient of each sample's cross entropy by its features."""
    # The gradient is W^T (p - e) in closed form, so that the penalty needs no double backward.
    errors = head(features[:, None]).softmax(1)
    errors = errors - functional.one_hot(labels, errors.shape[1])
    norms: Tensor = torch.linalg.vector_norm(errors @ head.predictor.linear.weight, dim=1)
    return norms


def excess(norms: Float[Tensor, " n"], tau: float) -> Float[Tensor, ""]:
    """Return the mean of max(0, norm - tau)^2, which is 0 if no norm is above tau."""
    return (norms - tau).clamp_min(0).square().mean()


def train_source_head(
    features: Float[Tensor, "n d"],
    labels: Int64[Tensor, " n"],
    num_classes: int,
    config: DistortionConfig,
    rng: torch.Generator,
) -> LabelHead:
    """Train a head on the features of source samples, and return it frozen.

    Args:
        features: Features, averaged over the positions of each sample, on the CPU.
        labels: Source label of each sample.
        num_classes: Number k of source labels.
        config: Settings of the training.
        rng: Generator of the initial weights and of the order, on the CPU.
    """
    head = LabelHead(features.shape[1], num_classes, generator=rng)
    optimizer = optim.make_optimizer(
        "adamw", head.parameters(), lr=config.head_lr, weight_decay=0.0
    )
    for _ in range(config.head_epochs):
        for indices in shuffled_batches(len(labels), BATCH, rng):
            # The features are constants, so that a step passes through the head alone.
            x, y = features[indices], labels[indices]
            loss = head.loss(head(x[:, None]), y)
            if config.rho:
                loss = loss + config.rho * excess(gradient_norms(head, x, y), config.tau)
            torch.autograd.backward(loss)
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
    return head.requires_grad_(False)

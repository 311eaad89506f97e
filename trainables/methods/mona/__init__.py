"""MoNA: modality knowledge alignment (Ma et al., ICML 2024).

The first stage meta-learns the embedder. An inner step fine-tunes the body on the target. An outer
loss then measures the separation of the source's classes by the fine-tuned body. The embedder
follows the gradient of both losses, through the inner step. The last stage fine-tunes the whole
model on the target.

    method            the stages in order
    config            the settings of `meta`
    meta_alignment    the stage `meta` (Algorithm 1)
    meta_gradient     the gradient through the inner step, exact or by finite differences
    training.discriminability  the outer loss: alignment and uniformity of the source's features
    stages.fine_tuning  the stage `refine`
"""

"""MoNA: modality knowledge alignment. Ma et al., "Learning Modality Knowledge Alignment for
Cross-Modality Transfer", ICML 2024.

The embedder is meta-learned: an inner step fine-tunes the body on the target, and an outer loss
asks how well the body still separates the source's classes after it. The embedder moves by the
gradient of both, through the inner step. Then the whole model is fine-tuned on the target.

    method            the stages in order
    config            the settings of `meta`
    meta_alignment    the stage `meta` (Algorithm 1)
    meta_gradient     the gradient through the inner step, exact or by finite differences
    training.discriminability  the outer loss: alignment and uniformity of the source's features
    stages.fine_tuning  the stage `refine`
"""

"""ORCA: align, then refine. Shen et al., "Cross-Modal Fine-Tuning: Align then Refine", ICML 2023.

A target embedder is trained until embedded target data lie close to the source's, by a distance
between labelled data sets. Then the whole model is fine-tuned on the target. The closer the two
modalities, the more of the pretrained body's knowledge is of use.

    method           the stages in order, and the published settings of each task
    config           the settings of `align` and `warmup`
    alignment        the stages `align`, with its loss, and `warmup`
    source_distance  the distance D to the source; OTDD itself is in `distances.otdd`
    stages.fine_tuning  the stage `refine`
"""

"""ORCA: align, then refine. Shen et al., "Cross-Modal Fine-Tuning: Align then Refine", ICML 2023.

The first stage trains a target embedder to minimise a distance between labelled data sets: the
distance from embedded target data to the source. The last stage fine-tunes the whole model on the
target. A smaller distance between the modalities makes more of the pretrained body's knowledge
useful.

    method           the stages in order, and the published settings of each task
    config           the settings of `align` and `warmup`
    alignment        the stages `align`, with its loss, and `warmup`
    source_distance  the distance D to the source; OTDD itself is in `distances.otdd`
    stages.fine_tuning  the stage `refine`
"""

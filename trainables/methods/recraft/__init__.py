"""RECRAFT: align, match, then refine (Tran et al., AISTATS 2026).

ORCA aligns the features of the modalities, whatever the labels of the target. RECRAFT also reduces
the feature-label distortion: how uncertain a predictor of the source's labels is about the samples
of one target class. The paper's bound on the target error has this term beside the distance.

    method        the stages in order, and the settings of the first trial on each task
    config        the settings of `align` and `match`
    joint         the stage `align`: ORCA's, with the distortion beside the distance if asked for
    matching      the stage `match`
    distortion    the distortion, by entropies of the source predictor
    source_predictor  the source predictor, and the distortion of a batch by it
    source_head   its head, with a bound on the norm of its gradient
    stages.fine_tuning  the stage `refine`
"""

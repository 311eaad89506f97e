"""The proposed method: contrastive training of the embedder under noise, then patch replacement.

Noisy views of target samples of one class are drawn together, and those of different classes apart,
the more so the less the classes are correlated. Then PaRe's replacement follows, with scores by
self-attention.

    method       the stages in order, and the settings of each task
    config       the settings of `contrast`
    contrast     the stage `contrast`
    contrastive  the loss, the weights of pairs, and the correlations of classes they come from
    noise        noisy views: chains of Gaussian noise at several scales
    pare.replacement  the stage `replace`, PaRe's
"""

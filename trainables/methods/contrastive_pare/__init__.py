"""The proposed method: contrastive training of the embedder under noise, then patch replacement.

The contrastive loss attracts noisy views of target samples of one class and repels those of
different classes. The repulsion of two classes is stronger if their correlation is lower. The
second stage is PaRe's replacement with scores by self-attention.

    method       the stages in order, and the settings of each task
    config       the settings of `contrast`
    contrast     the stage `contrast`
    contrastive  the loss, the weights of pairs, and the correlations of classes behind them
    noise        noisy views: chains of Gaussian noise at several scales
    pare.replacement  the stage `replace`, PaRe's
"""

"""PaRe: gradual patch replacement (Cai et al., ICML 2024).

The model is fine-tuned on clean target samples and on mixtures of target and source. In a mixture
the k lowest-scoring target tokens are replaced by the k highest-scoring source tokens. k decreases
from epoch to epoch, so that mixtures move from the source towards the target.

    method        PaRe, and its controls Mixup and CutMix, with the published settings of each task
    config        the settings of `replace` and `mix`
    mixing        the losses on mixtures, and the stage `mix` of the controls
    replacement   the stage `replace`
    selection     scores of tokens, and the differentiable selection of k tokens
    mixtures      the schedule k(epoch), the weight lambda, and the mixtures themselves
    source_heads  the heads that predict a mixture's source label or mask
"""

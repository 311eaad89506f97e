"""DASH: a search for kernel sizes and dilations that suit a task (Shen et al., NeurIPS 2022).

The topology is fixed, that of a wide residual network. Its operations are searched: in the first
stage each convolution is a weighted sum of convolutions of many sizes and dilations, computed as a
single one, and the weights train with the kernels. The last stage trains the network of the
operations with the largest weights, from new weights. Nothing is pretrained.

    method    the stages in order, and the published settings of each task
    config    the settings of `search`, `tune` and `train`
    mixture   the sum of convolutions as one convolution, by Fourier transforms
    network   the wide residual network, with mixed and with fixed convolutions
    search    the stage `search`
    tune      the stage `tune`: short trainings of candidate settings
    train     the stage `train`
"""

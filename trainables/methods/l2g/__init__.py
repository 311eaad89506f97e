"""L2G: a searched embedder in front of a language model (Cheng et al., TMLR 2025).

DASH finds kernel sizes and dilations that suit the target. A network of these convolutions becomes
a part of the target's embedder. The embedder learns to bring the target close to the source and to
solve the task at once; then the whole model is fine-tuned.

    method    the stages in order, the published settings, and where ours differ from the code
    config    the settings of `search`
    embedder  the network of the chosen convolutions
    search    the stage `search`, which is DASH's
    orca.alignment      the stage `align`
    stages.fine_tuning  the stage `refine`
"""

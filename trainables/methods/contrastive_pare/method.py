"""The proposed method: contrastive training of the embedder under noise, then patch replacement.

1. `contrast` trains the embedder with noisy views of target samples, at several scales of Gaussian
   noise. Views of one class attract each other. Views of different classes repel each other, more
   strongly if the correlation of the classes is lower.
2. `replace` is PaRe's stage (Cai et al., ICML 2024), with scores by self-attention. It trains the
   embedder further or freezes it (`replace.freeze: embedder`).

Without epochs of 1 and with k0 = 0 the method is vanilla fine-tuning, bit for bit. Without epochs
of 1 and with PaRe's scorer it is PaRe.
"""

from typing import Any

from trainables.methods.contrastive_pare.config import ContrastConfig
from trainables.methods.method import Method
from trainables.methods.pare import method
from trainables.methods.pare.config import ReplaceConfig
from trainables.tasks.task import TaskInfo


def published(info: TaskInfo) -> dict[str, Any]:
    """Return PaRe's settings of `replace` on a task, with this method's lambda and scorer."""
    scorer = "attn_received" if info.dimension == "1d" else "attn_query"
    own = {"replace.lambda_mode": "k_over_k0", "replace.scorer": scorer}
    return {**method.published(info), **own, **info.settings.get("contrastive_pare", {})}


CONTRASTIVE_PARE = Method(
    name="contrastive_pare",
    title="Contrastive PaRe",
    citation="ours",
    stages={"contrast": ContrastConfig, "replace": ReplaceConfig},
    # With a frozen embedder nothing would train it.
    control={"contrast.epochs": 0, "replace.k0": 0, "replace.freeze": "none"},
    preset_name="default",
    published=published,
    needs_source=True,
    prune_after=0.3,
)

"""Our proposed method: contrastive training of the embedder under noise, then patch replacement.

1. `contrast` draws noisy views of target samples of one class together, at several scales of
   Gaussian noise, and those of different classes apart, the more so the less these are correlated.
2. `replace` is PaRe's (Cai et al., ICML 2024), with scores by self-attention; the embedder goes on
   training or is frozen (`replace.freeze: embedder`).

With no epochs of 1 and k0 = 0 it is vanilla fine-tuning, bit for bit; with no epochs of 1 and
PaRe's scorer it is PaRe.
"""

from typing import Any

from trainables.methods.contrastive_pare.config import ContrastConfig
from trainables.methods.method import Method
from trainables.methods.pare import method
from trainables.methods.pare.config import ReplaceConfig
from trainables.tasks.task import TaskInfo


def published(info: TaskInfo) -> dict[str, Any]:
    """Return PaRe's settings of `replace` on a task, with lambda and scores as the method has
    them."""
    scorer = "attn_received" if info.dimension == "1d" else "attn_query"
    own = {"replace.lambda_mode": "k_over_k0", "replace.scorer": scorer}
    return {**method.published(info), **own, **info.settings.get("contrastive_pare", {})}


CONTRASTIVE_PARE = Method(
    name="contrastive_pare",
    title="Contrastive PaRe",
    citation="ours",
    stages={"contrast": ContrastConfig, "replace": ReplaceConfig},
    control={"contrast.epochs": 0, "replace.k0": 0},
    preset_name="default",
    published=published,
    needs_source=True,
    prune_after=0.3,
)

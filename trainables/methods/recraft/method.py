"""RECRAFT: align, match, then refine.

Tran et al., "Rethinking Cross-Modal Fine-Tuning: Optimizing the Interaction between Feature
Alignment and Target Fitting", AISTATS 2026 (arXiv 2601.18231).

1. `align` is ORCA's: the embedder minimises a distance of embedded target data from the source.
2. `match` trains the embedder further. It minimises the feature-label distortion: the entropy of a
   frozen source predictor's label, given the target's class.
3. `refine` is vanilla fine-tuning, which starts from the trained embedder.

By default (`align.joint: 0`, `refine.freeze: none`) the method without epochs of 2 is ORCA, bit for
bit; also without epochs of 1 it is vanilla fine-tuning. ORCA's `warmup`, which its runs do not use,
is left out.

The preset has ORCA's settings of `align`. Those of `match` are of the released code, whose
optimiser and rate there are those of fine-tuning. The release aligns by plain Wasserstein distance
(`align.label_weight: 0` with `align.class_mode: joint`); both distances are in the search spaces.
The preset is called `default`, because the paper's own table of settings was not at hand.

The release departs from the paper's main figure in two points. The preset follows the release:

                   the release, and the preset    the paper's main figure
    distortion     after the distance (`match`)   in one stage with it: `align.joint` above 0 and
                                                  `match.epochs: 0`
    fine-tuning    of all parts                   with a fixed embedder: `refine.freeze: embedder`

The weight `align.joint` is a setting of ours: the release has none, and no value of the paper was
at hand.
"""

from typing import Any

from trainables.methods.method import Method
from trainables.methods.orca import method as orca
from trainables.methods.recraft.config import JointConfig, MatchConfig
from trainables.stages.configs import RefineConfig
from trainables.tasks.task import TaskInfo


def published(info: TaskInfo) -> dict[str, Any]:
    """Return ORCA's settings of `align` on a task, and the released ones of `match`."""
    align = {k: v for k, v in orca.published(info).items() if k.startswith("align.")}
    match = {f"match.{key}": value for key, value in orca.printed_optimisation(info).items()}
    return {**align, **match, **info.settings.get("recraft", {})}


RECRAFT = Method(
    name="recraft",
    title="RECRAFT",
    citation="Tran et al., AISTATS 2026, arXiv 2601.18231",
    stages={"align": JointConfig, "match": MatchConfig, "refine": RefineConfig},
    control={"align.epochs": 0, "match.epochs": 0, "refine.freeze": "none"},
    preset_name="default",
    published=published,
    needs_source=True,
)

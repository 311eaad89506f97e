"""Parts that the trials of a process share: backbones, task data and source features.

All parts are constant. A backbone's own weights are never trained: each trial trains a copy.
"""

from functools import cache
from pathlib import Path

from trainables.models.backbone import Backbone
from trainables.sources.registry import load_proxy
from trainables.sources.source import Source, load_source
from trainables.spec import BackboneSpec
from trainables.tasks.loading import load_task


class WarmParts:
    """Cache of parts, each loaded at its first use."""

    def __init__(self) -> None:
        self.backbone = cache(self._backbone)
        self.task = cache(load_task)
        self.source = cache(self._source)

    @staticmethod
    def _backbone(spec: BackboneSpec, home: Path) -> Backbone:
        # A method with a network of its own does without this import of two core-seconds.
        from trainables.models.backbones.loading import load_backbone

        return load_backbone(spec, home)

    def _source(self, proxy: str, backbone: BackboneSpec, home: Path) -> Source:
        return load_source(load_proxy(proxy, home), self.backbone(backbone, home), home)

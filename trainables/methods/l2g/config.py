"""Settings of L2G's stage `search`, which are DASH's. This module does not import torch."""

from typing import ClassVar

from pydantic import Field

from trainables.methods.dash import config as dash


class SearchConfig(dash.SearchConfig):
    """Settings of `search`, which finds the convolutions of the embedder."""

    implementation: ClassVar[str] = "trainables.methods.l2g.search:Search"

    epochs: int = Field(100, ge=0, le=10_000, description="0: no search, the plain embedder.")
    width: dash.Width = Field(1, description="Factor of the channels 16, 32 and 64, also of the "
                              "embedder, which has 16 times as many features.")  # fmt: skip
    depth: dash.Depth = 10

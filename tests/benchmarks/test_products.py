"""A training step with linear layers by oneDNN against torch's own, on the real weights."""

import time

import pytest
import torch

from tests.support.figures import compare
from trainables.models.backbones.loading import load_backbone
from trainables.models.products import choose_products, has_onednn, mkl_is_fast, use_products
from trainables.spec import BackboneSpec

BATCH, TURNS = 16, 5
BODIES = {
    "1D, MiniLM": BackboneSpec(name="minilm", layers=2, tokens=128),
    "2D, DINOv2-S": BackboneSpec(name="dinov2_small", layers=2),
}
TOKENS = {"1D, MiniLM": 128, "2D, DINOv2-S": 257}

pytestmark = [pytest.mark.benchmark]


@pytest.mark.parametrize("name", BODIES)
def test_a_step_is_faster_where_onednn_is_chosen(name: str, tmp_path) -> None:
    torch.set_num_threads(1)
    backbone = load_backbone(BODIES[name], tmp_path)
    width = backbone.geometry.token_width
    tokens = torch.randn(BATCH, TOKENS[name], width, generator=torch.Generator().manual_seed(0))
    bodies = {kind: backbone.new_body(drop_path=0.0).train() for kind in ("plain", "onednn")}
    use_products(bodies["onednn"], "onednn")
    shortest = dict.fromkeys(bodies, float("inf"))
    for turn in range(TURNS + 1):
        for kind, body in bodies.items():
            began = time.process_time()
            body(tokens).square().mean().backward()
            if turn:  # the first one warms up
                shortest[kind] = min(shortest[kind], time.process_time() - began)
    plain, onednn = (1e3 * shortest[kind] for kind in ("plain", "onednn"))
    what = f"a step of two layers of {name} by oneDNN"
    gain = 1 / compare(what, onednn, plain, peer="torch", unit="ms", goal="< 0.83 if chosen")
    chosen, products = choose_products(width)
    print(
        f"{name}: products alone {products or 1:.2f} x; chosen: {chosen}; "
        f"MKL is fast here: {mkl_is_fast()}"
    )
    assert not has_onednn() or chosen == "plain" or gain > 1.2

"""Choosing tokens in one step against the official k steps, and an epoch of each way to mix against
one of vanilla fine-tuning, at laptop size on the real weights.

A mixture is one more forward and backward pass of body and predictor, and the source's embedding;
target samples are embedded once. So an epoch can hardly cost more than two. Times are of one core,
so that a busy machine counts little.
"""

from collections.abc import Iterator

import pytest
import torch

from tests.support.figures import compare
from tests.support.timed_stages import noise_task, random_source, shortest_turns
from trainables.methods.pare.config import CutmixConfig, MixupConfig, ReplaceConfig
from trainables.methods.pare.selection import gumbel_noise, relaxed_subset, straight_through_subset
from trainables.models.backbones.loading import load_backbone
from trainables.models.cross_modal import build_model
from trainables.report import Report
from trainables.seeding import generator
from trainables.sources.source import Domains
from trainables.spec import BackboneSpec, ModelSpec
from trainables.stages.configs import RefineConfig
from trainables.training.state import TrainState

pytestmark = pytest.mark.benchmark

TOKENS, CHOSEN, SAMPLES = 3136, 500, 4  # Swin's tokens; the official k of dense tasks
BATCH, STEPS, ROUNDS = 16, 4, 4
CASES = {  # backbone, layers, tokens, task, shape of a sample
    "1d": ("minilm", 2, 32, "pdebench/advection_1d", (1, 256)),
    "2d": ("dinov2_small", 2, 64, "pdebench/darcy_2d", (1, 32, 32)),
}
MIXED = {
    "pare": ReplaceConfig,
    "pare, ranking": lambda **s: ReplaceConfig(explore_epochs=0, **s),
    "pare, attn_received": lambda **s: ReplaceConfig(scorer="attn_received", **s),
    "mixup": MixupConfig,
    "cutmix": CutmixConfig,
}


def test_one_draw_is_far_faster_than_k_steps():
    torch.set_num_threads(1)
    scores = torch.rand(SAMPLES, TOKENS, generator=generator(0)).requires_grad_()
    values = torch.rand(SAMPLES, TOKENS, generator=generator(1))

    def draws(subset, k: int) -> Iterator[None]:
        while True:
            keys = scores + gumbel_noise((SAMPLES, TOKENS), generator(2))
            (subset(keys, k, temperature=0.9).mask * values).sum().backward()
            yield

    ratios = {}
    for side, k in (("source", CHOSEN), ("target", TOKENS - CHOSEN)):
        (ours,) = shortest_turns({"ours": draws(straight_through_subset, k)}, 20).values()
        (theirs,) = shortest_turns({"theirs": draws(relaxed_subset, k)}, 1).values()
        what = f"choice of {k} of {TOKENS} tokens, {side}"
        ratios[side] = 1 / compare(
            what, 1e3 * ours, 1e3 * theirs, peer="official k steps", unit="ms", goal="< 0.02"
        )
    assert min(ratios.values()) > 50


@pytest.fixture(scope="module", params=CASES)
def seconds(request, tmp_path_factory) -> dict[str, float]:
    """The shortest time of an epoch, over rounds in which the contestants take turns."""
    torch.set_num_threads(1)
    name, layers, tokens, task_name, shape = CASES[request.param]
    home = tmp_path_factory.mktemp("home")
    backbone = load_backbone(BackboneSpec(name=name, layers=layers, tokens=tokens), home)
    task = noise_task(task_name, BATCH * STEPS, shape)
    rng = generator(0)
    if request.param == "1d":
        inputs = torch.randint(1000, 20_000, (200, tokens), generator=rng)
    else:
        inputs = torch.randn(200, 3, 32, 32, generator=rng)
    source = random_source(backbone, inputs)
    domains = Domains(target=task, source=source)

    def reports(config) -> Iterator[Report]:
        model = build_model(backbone, task, ModelSpec(head="linear"), seed=0)
        state, stage = TrainState(model=model, seed=0), config.build("refine")
        stage.check(model, domains)
        state.extras.update(stage.extras(model, domains, state.seed))
        return stage.run(state, domains)

    settings = {"epochs": ROUNDS + 1, "batch_size": BATCH, "k_schedule": "constant"}
    vanilla = RefineConfig(epochs=ROUNDS + 1, batch_size=BATCH)
    contestants = {"fine-tuning": reports(vanilla)}
    contestants |= {name: reports(make(**settings)) for name, make in MIXED.items()}
    return shortest_turns(contestants, ROUNDS)


def test_an_epoch_with_mixtures_costs_little_more_than_two_without(seconds):
    plain = seconds["fine-tuning"]
    for name, epoch in seconds.items():
        what = f"an epoch of {name}"
        compare(what, 1e3 * epoch, 1e3 * plain, peer="fine-tuning", unit="ms", goal="< 2.2")
    assert max(seconds[name] for name in ("pare", "mixup", "cutmix")) < 2.2 * plain

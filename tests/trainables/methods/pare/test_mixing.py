"""What all ways to mix share: the loss, the schedule, the source's part, and vanilla without them.

Target samples have 8 tokens, source samples 6; in 2D both have 4 x 4.
"""

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch.nn import functional

from tests.support.tiny_backbones import save_tiny_dinov2
from tests.support.tiny_trials import same_weights
from trainables.errors import ConfigError
from trainables.methods.pare.config import CutmixConfig, MixupConfig, ReplaceConfig
from trainables.methods.pare.source_heads import LabelHead, MaskHead
from trainables.models.backbones.loading import load_backbone
from trainables.models.cross_modal import build_model
from trainables.seeding import generator
from trainables.sources.source import Domains, Source
from trainables.spec import BackboneSpec, ModelSpec
from trainables.stages.configs import RefineConfig
from trainables.stages.fine_tuning import FineTuning
from trainables.tasks.store.split import Split
from trainables.training.losses import LOSSES
from trainables.training.state import TrainState

CONFIGS = {"mixup": MixupConfig, "cutmix": CutmixConfig, "replacement": ReplaceConfig}
SMALL = {"epochs": 2, "batch_size": 4, "warmup_epochs": 0.0, "lr": 1e-3}
N, N_S = 8, 6

every_kind = pytest.mark.parametrize("kind", CONFIGS)


def stage(kind, **settings):
    return CONFIGS[kind].model_validate({**SMALL, **settings}).build("mix")


def begin(state, domains, kind, **settings):
    """A stage that has been checked, and whose extras are in the state."""
    begun = stage(kind, **settings)
    begun.check(state.model, domains)
    state.extras.update(begun.extras(state.model, domains, state.seed))
    return begun


def train(state, domains, kind, **settings):
    return list(begin(state, domains, kind, **settings).run(state, domains))


def weights(state) -> dict[str, torch.Tensor]:
    named = {**state.model.state_dict(), **state.extras.state_dict(prefix="extras.")}
    return {name: w.detach().clone() for name, w in named.items()}


def mixed_once(state, domains, kind, **settings):
    """Tokens that enter the body in an epoch of one step: the targets' and their mixtures'."""
    seen = []
    state.model.body.register_forward_pre_hook(
        lambda module, inputs: seen.append(inputs[0].detach()) if module.training else None
    )
    samples = len(domains.target.train)
    (report,) = train(state, domains, kind, epochs=1, batch_size=samples, **settings)
    (tokens,) = seen
    return (*tokens.split(samples), report)


@pytest.fixture
def read(source):
    """The source, and the sizes of the batches that are read from it."""
    sizes = []

    def embed(inputs):
        sizes.append(len(inputs))
        return source.embed(inputs)

    return replace(source, embed=embed), sizes


@pytest.fixture(scope="module")
def images(home):
    """A dense target of 8 x 8 points, a source of 12 images with masks, and their backbone."""
    folder = save_tiny_dinov2(home / "dinov2", layers=1)
    backbone = load_backbone(BackboneSpec(name=str(folder), tokens=16), home)
    rng = torch.Generator().manual_seed(0)
    inputs = torch.randn(12, 3, 56, 56, generator=rng)
    source = Source(
        inputs=inputs,
        labels=torch.arange(12) % 3,
        features=backbone.embed_source(inputs).mean(1),
        num_classes=3,
        content_hash="2" * 64,
        embed=backbone.embed_source,
        masks=torch.tensor([1, 1, 1, 0, 255], dtype=torch.uint8).expand(12, 5, 5).contiguous(),
    )
    return backbone, source


@pytest.fixture
def images_trial(images, task):
    """Make state and domains of a trial on images."""
    backbone, source = images
    draws = np.random.default_rng(0).standard_normal((2, 6, 1, 8, 8)).astype(np.float32)
    split = Split(x=draws[0], y=draws[1])
    info = replace(task.info, dimension="2d", resolution=8)

    def make(**changes):
        target = replace(task, info=replace(info, **changes), train=split, val=split, test=split)
        if changes.get("kind") == "classification":
            labels = Split(x=split.x, y=np.arange(6) % 3)
            target = replace(target, train=labels, val=labels, test=labels)
        model = build_model(backbone, target, ModelSpec(head="linear"), seed=0)
        return TrainState(model=model, seed=0), Domains(target=target, source=source)

    return make


@every_kind
@pytest.mark.parametrize("settings", [{"k0": 0}, {"k0": 0.0}, {"gamma": 0.0}])
def test_without_mixtures_it_is_vanilla_fine_tuning_bit_for_bit(
    make_state, domains, read, kind, settings
):
    """No batch of the source is read, nothing drawn, no scorer or head made."""
    source, sizes = read
    vanilla, ours = make_state(), make_state()
    expected = list(FineTuning("mix", RefineConfig.model_validate(SMALL)).run(vanilla, domains))
    reports = train(ours, replace(domains, source=source), kind, **settings)
    for report, plain in zip(reports, expected, strict=True):
        assert plain.metrics.items() <= report.metrics.items()
        assert report.objective == plain.objective
        assert report.metrics["mix/k"] == report.metrics["mix/lambda"] == 0
        assert report.metrics["mix/clean_loss"] == report.metrics["mix/train_loss"]
    assert same_weights(weights(ours), weights(vanilla))
    assert sizes == []


@every_kind
def test_without_mixtures_no_source_is_needed(make_state, task, kind):
    assert len(train(make_state(), Domains(target=task), kind, k0=0)) == 2


@every_kind
def test_the_loss_is_of_clean_samples_and_of_mixtures(make_state, domains, kind):
    """lambda = k / N weighs the source's, gamma the mixture's."""
    settings = {"k0": 4, "lambda_mode": "k_over_n", "gamma": 0.3, "epochs": 1, "batch_size": 10}
    (report,) = train(make_state(), domains, kind, **settings)
    of = {name.removeprefix("mix/"): value for name, value in report.metrics.items()}
    assert (of["k"], of["lambda"], of["mix_fraction"]) == (4, 0.5, 0.5)
    mixed = 0.5 * of["mix_target_loss"] + 0.5 * of["mix_source_loss"]
    assert of["train_loss"] == pytest.approx(of["clean_loss"] + 0.3 * mixed, rel=1e-5)
    assert of["clean_loss"] != of["mix_target_loss"]


@every_kind
def test_a_step_follows_the_gradient_of_the_loss_written_out(make_state, domains, kind):
    """In embedder, body, predictor, source head and scorer, through clean samples and mixtures."""
    plain = {"optimizer": "sgd", "momentum": 0.0, "weight_decay": 0.0, "lr": 0.1}
    mixed = {"k0": 4, "gamma": 0.7, "lambda_mode": "fixed", "lambda": 0.3}
    settings = {**plain, **mixed, "epochs": 1, "batch_size": 10}
    reference, task = make_state(), domains.target
    objective = begin(reference, domains, kind, **settings).objective(reference, domains, 0)
    order = torch.randperm(10, generator=generator(0, "fine-tuning", 0)).numpy()
    x, y = (torch.from_numpy(array[order]) for array in (task.train.x, task.train.y))
    drawn = torch.randperm(12, generator=generator(0, "mixing", "source", 0))[:10]
    tokens, labels = domains.source.batch(drawn)
    model, head, loss_of = reference.model, reference.extras["source_head"], LOSSES[task.info.loss]
    mixture = objective.mix(model.embed(x), tokens, *objective.draws(10))
    features = model.encode(mixture)
    of_mixture = 0.7 * loss_of(model.predict(features), y)
    of_mixture += 0.3 * functional.cross_entropy(head(features), labels)
    (loss_of(model(x), y) + 0.7 * of_mixture).backward()
    before = {**dict(model.named_parameters()), **dict(reference.extras.named_parameters("extras"))}

    state = make_state()
    train(state, domains, kind, **settings)
    after = weights(state)
    for name, weight in before.items():
        step, taken = -0.1 * weight.grad, after[name] - weight.detach()
        assert (taken - step).norm() <= 1e-3 * step.norm() + 1e-7, name
    assert {name.partition(".")[0] for name in before} == {
        "embedder",
        "body",
        "predictor",
        "extras",
    }


@every_kind
def test_the_count_falls_and_the_source_is_left_alone_when_it_is_gone(
    make_state, domains, read, kind
):
    source, sizes = read
    state = make_state()
    reports = train(state, replace(domains, source=source), kind, k0=2, epochs=4)
    assert [report.metrics["mix/k"] for report in reports] == [2, 1, 1, 0]
    assert [report.metrics["mix/lambda"] for report in reports] == [1, 0.5, 0.5, 0]
    fractions = [report.metrics["mix/mix_fraction"] for report in reports]
    assert fractions == [2 / N, 1 / N, 1 / N, 0]
    assert ["mix/mix_source_loss" in report.metrics for report in reports] == [True] * 3 + [False]
    assert sizes.count(4) == 3 * 2  # ten samples, four a batch: two whole ones an epoch
    assert sizes.count(2) == 3


@every_kind
@pytest.mark.parametrize(
    ("settings", "sizes_read"),
    [
        ({"batch_size": 1}, [1] * 10),
        ({"batch_size": 3}, [3, 3, 3, 1]),
        ({"batch_size": 4, "accumulation": 2}, [4, 4, 2]),
        ({"batch_size": 64}, [10]),
    ],
)
def test_each_micro_batch_is_mixed_with_as_many_source_samples(
    make_state, domains, read, kind, settings, sizes_read
):
    source, sizes = read
    state = make_state()
    begun = begin(state, replace(domains, source=source), kind, epochs=1, **settings)
    sizes.clear()
    (report,) = begun.run(state, replace(domains, source=source))
    assert np.isfinite(report.objective)
    assert sizes == [1, *sizes_read]  # the first one counts the tokens of a sample


@every_kind
def test_a_batch_larger_than_the_target_takes_no_source_sample_twice(
    make_state, domains, source, kind
):
    read = []

    def embed(inputs):
        read.append(inputs)
        return source.embed(inputs)

    given = replace(domains, source=replace(source, embed=embed))
    train(make_state(), given, kind, epochs=1, batch_size=64)
    assert len(read[-1]) == len(read[-1].unique(dim=0)) == 10


@every_kind
def test_a_batch_larger_than_the_source_repeats_its_samples(make_state, domains, source, kind):
    few = replace(
        source, inputs=source.inputs[:3], labels=source.labels[:3], features=source.features[:3]
    )
    (report,) = train(make_state(), replace(domains, source=few), kind, epochs=1, batch_size=10)
    assert np.isfinite(report.metrics["mix/mix_source_loss"])


@pytest.mark.slow
@every_kind
def test_the_sources_head_learns_and_its_embedder_does_not(make_state, domains, backbone, kind):
    state = make_state()
    before = {n: w.clone() for n, w in backbone.state_dict().items()}
    settings = {"k0": 1.0, "k_schedule": "constant", "lambda_mode": "fixed", "lambda": 1.0}
    reports = train(state, domains, kind, epochs=20, lr=1e-2, **settings)
    losses = [report.metrics["mix/mix_source_loss"] for report in reports]
    assert losses[-1] < 0.8 * losses[0]
    assert same_weights(before, backbone.state_dict())
    assert all(weight.grad is None for weight in backbone.parameters())


def test_mixup_is_the_weighted_mean_over_as_many_tokens_as_the_source_has(
    make_state, domains, source
):
    clean, mixture, _ = mixed_once(make_state(), domains, "mixup", k0=3)
    for row in range(10):
        at = (clean[row] != mixture[row]).any(1).nonzero().flatten()
        assert at.tolist() == list(range(int(at[0]), int(at[0]) + N_S))
        share = 3 / N_S
        taken = (mixture[row, at] - (1 - share) * clean[row, at]) / share
        tokens, _ = source.batch(torch.arange(len(source)))
        nearest = (tokens - taken).abs().amax((1, 2)).min()
        assert nearest < 1e-5


def test_cutmix_takes_neighbouring_tokens_as_they_are(make_state, domains, source):
    clean, mixture, _ = mixed_once(make_state(), domains, "cutmix", k0=4)
    tokens, _ = source.batch(torch.arange(len(source)))
    starts = set()
    for row in range(10):
        at = (clean[row] != mixture[row]).any(1).nonzero().flatten()
        assert at.tolist() == list(range(int(at[0]), int(at[0]) + 4))
        stretches = tokens.unfold(1, 4, 1).permute(0, 1, 3, 2)  # [sample, start, 4, D]
        found = (stretches == mixture[row, at]).all(3).all(2).nonzero()
        assert len(found) == 1
        starts.add(int(at[0]))
    assert len(starts) > 1


def test_cutmix_of_images_is_a_rectangle_and_its_weight_of_what_it_holds(images_trial):
    clean, mixture, report = mixed_once(*images_trial(), "cutmix", k0=7)
    assert report.metrics["mix/k"] == 6  # 3 x 2: the most that 7 tokens hold near the grid's shape
    assert report.metrics["mix/lambda"] == pytest.approx(6 / 7)
    for changed in (clean != mixture).any(2).view(6, 4, 4):
        assert (changed.any(1).sum(), changed.any(0).sum(), changed.sum()) == (3, 2, 6)


@every_kind
def test_a_dense_source_is_asked_for_its_masks_if_the_target_is_dense(images_trial, kind):
    state, domains = images_trial()
    settings = {"epochs": 8, "batch_size": 6, "k_schedule": "constant", "lr": 1e-2}
    reports = train(state, domains, kind, **settings)
    assert isinstance(state.extras["source_head"], MaskHead)
    losses = [report.metrics["mix/mix_source_loss"] for report in reports]
    assert losses[0] == pytest.approx(np.log(2), rel=0.2)  # a fresh head knows nothing
    assert losses[-1] < 0.9 * losses[0]


def test_and_for_its_labels_if_it_is_not(images_trial):
    state, domains = images_trial(
        kind="classification", loss="cross_entropy", metric="zero_one_error", channels=(1, 3)
    )
    (report,) = train(state, domains, "mixup", epochs=1, batch_size=6)
    assert isinstance(state.extras["source_head"], LabelHead)
    assert report.metrics["mix/mix_source_loss"] == pytest.approx(np.log(3), rel=0.3)


@every_kind
def test_more_source_tokens_than_a_mixture_can_have_is_an_error(make_state, domains, kind):
    text = r"mix\.k0 is 7, but .* at most 6 .* target sample has 8, a source sample 6.*decimal"
    with pytest.raises(ConfigError, match=text):
        begin(make_state(), domains, kind, k0=7)
    begin(make_state(), domains, kind, k0=6)

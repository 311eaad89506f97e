"""The whole model: its shapes, what it draws, what trains, and that it differentiates twice."""

import copy
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch.func import functional_call

from trainables.errors import ConfigError
from trainables.methods.mona.meta_gradient import attention
from trainables.models.cross_modal import FROZEN_PARTS, TRAINED_ROLES, build_model
from trainables.seeding import generator
from trainables.spec import ModelSpec
from trainables.tasks.registry import TASKS
from trainables.tasks.store.split import Split

SHAPES = {"1d": (2, 32), "2d": (2, 20, 20)}
ROLES = {"wv": {"query", "key"}, "non_attn": {"query", "key", "value"}}


@pytest.fixture
def model(backbone, make_task):
    return build_model(backbone, make_task(SHAPES[backbone.dimension]), ModelSpec(), seed=0)


def batch(backbone, size=3, seed=0):
    shape = SHAPES[backbone.dimension]
    return torch.randn(size, *shape, generator=generator(seed, "batch"))


@pytest.mark.parametrize("head", ["orca_pool", "linear"])
@pytest.mark.parametrize("init", ["pretrained_copy", "random"])
def test_outputs_have_the_shape_of_the_task(backbone, make_task, head, init):
    shape = SHAPES[backbone.dimension]
    out = (3, *(n + 5 for n in shape[1:]))
    spec = ModelSpec(head=head, embedder_init=init)
    model = build_model(backbone, make_task(shape, out), spec, seed=0)
    x = batch(backbone)
    tokens = model.embed(x)
    assert tokens.shape == (
        3,
        16 if backbone.dimension == "1d" else backbone.max_tokens,
        tokens.shape[2],
    )
    assert tokens.shape[2] == backbone.token_width
    features = model.encode(tokens)
    assert model.pool(features).shape == (3, backbone.feature_width)
    assert model.predict(features).shape == model(x).shape == (3, *out)


@pytest.fixture
def fields(make_task):
    """A task of small fields, whose mean and spread differ from point to point; 0 at the edge."""
    task = make_task((2, 20, 20), (1, 20, 20), samples=12)
    rng = np.random.default_rng(0)
    size = np.pad(rng.uniform(1e-4, 1e-3, size=(1, 18, 18)), ((0, 0), (1, 1), (1, 1)))
    y = (size * rng.uniform(0.5, 2, size=(12, 1, 1, 1))).astype(np.float32)
    return replace(task, train=Split(x=task.train.x, y=y))


def test_orca_pool_decodes_by_the_statistics_of_each_point_where_orca_does(load, fields):
    """Official: decode(x) = x (std + 1e-5) + mean, of the training outputs at each point."""
    raw = build_model(load("swin"), fields, ModelSpec(), seed=0)
    decoding = replace(fields, info=replace(fields.info, decoded=True))
    model = build_model(load("swin"), decoding, ModelSpec(), seed=0)
    x, y = batch(load("swin")), torch.from_numpy(fields.train.y).double()
    expected = raw(x) * (y.std(0, correction=0) + 1e-5) + y.mean(0)
    torch.testing.assert_close(model(x), expected.float())
    errors = [(m(x) - y[:3]).norm() / y[:3].norm() for m in (model, raw)]
    assert errors[0] < 1 < 10 < errors[1]  # before the first step
    assert len(model.state_dict()) == len(raw.state_dict())  # statistics are the data's
    assert [name for name, info in TASKS.items() if info.decoded] == ["nasbench360/darcy_flow"]
    heads = [build_model(load("swin"), t, ModelSpec(head="linear"), seed=0)(x)
             for t in (fields, decoding)]  # fmt: skip
    assert torch.equal(*heads)


def test_classification_gives_logits(backbone, make_task):
    task = make_task(SHAPES[backbone.dimension], classes=7)
    model = build_model(backbone, task, ModelSpec(), seed=0)
    assert model(batch(backbone)).shape == (3, 7)


@pytest.mark.parametrize("name", ["pdebench/diffusion_sorption_1d", "pdebench/burgers_1d@hard"])
def test_tokens_are_the_published_ones_where_the_spec_leaves_them_open(load, make_task, name):
    task = make_task((1, 1024), name=name)
    task = replace(task, info=replace(task.info, tokens=TASKS[name].tokens))
    published = build_model(load("roberta", tokens=None), task, ModelSpec(), seed=0)
    assert published.embed(torch.zeros(1, 1, 1024)).shape[1] == {"d": 32, "b": 512}[name[9]]
    asked = build_model(load("roberta", tokens=64), task, ModelSpec(), seed=0)
    assert asked.embed(torch.zeros(1, 1, 1024)).shape[1] == 64


def test_a_backbone_of_the_other_dimension_is_refused(backbone, make_task):
    other = {"1d": "2d", "2d": "1d"}[backbone.dimension]
    with pytest.raises(ConfigError, match=f"name another under backbones, {other}"):
        build_model(backbone, make_task(SHAPES[other]), ModelSpec(), seed=0)


def test_building_is_a_function_of_the_seed_and_draws_from_no_global_generator(backbone, make_task):
    task = make_task(SHAPES[backbone.dimension])
    spec = ModelSpec(head="linear", embedder_init="random")
    before = torch.random.get_rng_state()
    one = build_model(backbone, task, spec, seed=0).state_dict()
    assert torch.equal(before, torch.random.get_rng_state())
    torch.rand(3)
    same = build_model(backbone, task, spec, seed=0).state_dict()
    other = build_model(backbone, task, spec, seed=1).state_dict()
    assert all(torch.equal(one[key], same[key]) for key in one)
    for key in ("embedder.projection.weight", "predictor.predictor.linear.weight"):
        assert not torch.equal(one[key], other[key])
    copied = build_model(backbone, task, ModelSpec(head="linear"), seed=0).state_dict()
    head = "predictor.predictor.linear.weight"
    assert torch.equal(one[head], copied[head])


def test_training_a_model_leaves_the_backbone_as_it_was(backbone, model):
    before = copy.deepcopy(backbone.state_dict())
    step(model, batch(backbone))
    assert all(torch.equal(value, before[key]) for key, value in backbone.state_dict().items())
    assert not any(p.requires_grad for p in backbone.parameters())
    backbone.train()
    assert not any(module.training for module in backbone.modules())


def test_the_state_holds_no_source_embedder(model):
    parts = {name.partition(".")[0] for name in model.state_dict()}
    assert parts <= {"embedder", "body", "predictor"}
    assert not any("word_embeddings" in name for name in model.state_dict())


def step(model, x, *, finetune="all", freeze="none"):
    """One step of AdamW with weight decay, which moves all it is given, gradient or not."""
    parameters = model.trainable_parameters(finetune, freeze)
    optimizer = torch.optim.AdamW(parameters, lr=0.01, weight_decay=0.1)
    model(x).square().mean().backward()
    optimizer.step()
    return parameters


def declared(name, *, finetune, freeze):
    """Return whether a parameter should move, by name and module, apart from the role map."""
    part = name.partition(".")[0]
    if part in freeze.split("+"):
        return False
    if part != "body":
        return True
    words = name.lower().replace("_", ".").split(".")
    is_norm = any("norm" in word for word in words)
    attends = {
        "query": "query" in words or "q" in words,
        "key": "key" in words or "k" in words,
        "value": "value" in words or "v" in words,
    }
    if finetune == "layernorm":
        return is_norm
    frozen = ROLES.get(finetune, set())
    return not any(attends[kind] for kind in frozen)


@pytest.mark.slow
@pytest.mark.parametrize("finetune", sorted(TRAINED_ROLES.keys() - {"lora"}))
@pytest.mark.parametrize("freeze", FROZEN_PARTS)
def test_one_step_changes_exactly_the_declared_parameters(backbone, make_task, finetune, freeze):
    task = make_task(SHAPES[backbone.dimension])
    model = build_model(backbone, task, ModelSpec(head="linear"), seed=0)
    before = {name: p.detach().clone() for name, p in model.named_parameters()}
    step(model, batch(backbone), finetune=finetune, freeze=freeze)
    moved = {name for name, p in model.named_parameters() if not torch.equal(p, before[name])}
    expected = {name for name in before if declared(name, finetune=finetune, freeze=freeze)}
    # a zero bias of a key has no gradient but rounding: softmax does not see a common shift
    unmoved = {name for name in expected - moved if not before[name].any()}
    assert moved == expected - unmoved
    assert all("key" in name or "k_proj.bias" in name for name in unmoved)


def test_freezing_is_undone_by_the_next_call(model):
    total = len(list(model.parameters()))
    assert len(model.trainable_parameters("layernorm", "embedder")) < total
    assert len(model.trainable_parameters()) == total
    assert all(p.requires_grad for p in model.parameters())


@pytest.mark.parametrize("setting", ["finetune", "freeze"])
def test_an_unknown_setting_lists_those_known(model, setting):
    with pytest.raises(ConfigError, match=f"{setting} is `some`, but must be one of"):
        model.trainable_parameters(**{setting: "some"})


def test_the_gradient_differentiates_again_and_agrees_with_differences(backbone, model):
    """d/de of the body's gradient along v, against a central difference of first derivatives."""
    model, x = copy.deepcopy(model).double().eval(), batch(backbone, 1).double()
    tokens = model.embed(x).detach().requires_grad_()
    body = dict(model.body.named_parameters())
    direction = {
        name: torch.randn(p.shape, generator=generator(0, name), dtype=p.dtype)
        for name, p in body.items()
    }

    def by_tokens(shift):
        moved = {name: p.detach() + shift * direction[name] for name, p in body.items()}
        loss = functional_call(model.body, moved, (tokens,)).square().mean()
        return torch.autograd.grad(loss, tokens)[0]

    with attention("math"):
        loss = model.encode(tokens).square().mean()
        gradients = torch.autograd.grad(loss, list(body.values()), create_graph=True)
        along = sum((g * direction[n]).sum() for n, g in zip(body, gradients, strict=True))
        (second,) = torch.autograd.grad(along, tokens)
    difference = (by_tokens(1e-5) - by_tokens(-1e-5)) / 2e-5
    torch.testing.assert_close(second, difference, rtol=1e-4, atol=1e-6 * second.abs().max().item())


def test_math_and_fused_attention_agree(backbone, model):
    x = batch(backbone)
    fused = model(x)
    with attention("math"):
        torch.testing.assert_close(model(x), fused, atol=1e-5, rtol=1e-5)
    with attention("fused"):
        assert torch.equal(model(x), fused)


def test_the_embedder_runs_in_single_precision_inside_autocast(backbone, model):
    x = batch(backbone)
    expected = model.embed(x)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert torch.equal(model.embed(x), expected)


def test_bfloat16_autocast_trains_and_rounds_no_output(backbone, model):
    with torch.autocast("cpu", dtype=torch.bfloat16):
        output = model(batch(backbone))
    assert output.dtype == torch.float32
    assert not torch.equal(output, output.bfloat16().float())
    output.square().mean().backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in model.parameters())


def test_one_sample_gives_what_it_gives_in_a_batch(backbone, model):
    x = batch(backbone)
    torch.testing.assert_close(model(x)[1:2], model(x[1:2]), atol=1e-5, rtol=1e-5)

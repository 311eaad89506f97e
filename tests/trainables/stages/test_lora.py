"""Fine-tuning by adapters: what trains, their function and merging, and going on after a stop."""

import pytest
import torch
from torch import nn

from tests.support.stage_runs import weights
from tests.support.tiny_trials import same_weights
from trainables.errors import ConfigError
from trainables.methods.lora import LORA
from trainables.models import adapters
from trainables.models.adapters import Adapters, add_adapters, load_merged, merged, remove_adapters
from trainables.runtime import checkpoints
from trainables.sources.source import Domains
from trainables.stages.configs import RefineConfig
from trainables.stages.fine_tuning import FineTuning
from trainables.training.evaluation import evaluate

SETTINGS = {"epochs": 3, "batch_size": 4, "warmup_epochs": 0.0, "lr": 1e-2, "finetune": "lora"}


def stage(**settings: object) -> FineTuning:
    given = {**SETTINGS, "lora_rank": 2, "lora_alpha": 6.0, **settings}
    return FineTuning("refine", RefineConfig.model_validate(given))


@pytest.fixture
def target(task) -> Domains:
    return Domains(target=task)


def spread(model: nn.Module) -> None:
    """Give the matrices B, which are zero at first, values."""
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "lora_B" in name:
                parameter.normal_(generator=torch.Generator().manual_seed(len(name)))


@pytest.mark.slow
def test_adapters_embedder_and_predictor_train_and_the_body_does_not(make_state, target):
    state = make_state()
    plain = weights(state)
    reports = list(stage(epochs=8).run(state, target))
    after = weights(state)
    for name, before in plain.items():
        if name.startswith("body."):
            stored = name if name in after else name.replace(".weight", ".base_layer.weight")
            stored = stored if stored in after else name.replace(".bias", ".base_layer.bias")
            assert torch.equal(before, after[stored]), name
    added = {name for name in after if ".lora_" in name}
    assert {name.split(".lora_")[0].rpartition(".")[2] for name in added} == {"query", "value"}
    assert all(after[name].abs().sum() > 0 for name in added)
    moved = {name.partition(".")[0] for name in plain.keys() & after.keys()
             if not torch.equal(plain[name], after[name])}  # fmt: skip
    assert moved == {"embedder", "predictor"}
    assert reports[-1].metrics["refine/train_loss"] < 0.9 * reports[0].metrics["refine/train_loss"]


def test_adapters_change_nothing_at_first_and_draw_from_no_global_generator(make_state, task):
    state, x = make_state(), torch.from_numpy(task.val.x)
    before, drawn = state.model.eval()(x), torch.random.get_rng_state()
    add_adapters(state.model.body, state.model.roles, Adapters(rank=2, alpha=6.0), seed=0)
    assert torch.equal(torch.random.get_rng_state(), drawn)
    assert torch.equal(state.model.eval()(x), before)
    other = make_state()
    add_adapters(other.model.body, other.model.roles, Adapters(rank=2, alpha=6.0), seed=0)
    one, two = state.model.state_dict(), other.model.state_dict()
    assert all(torch.equal(one[name], two[name]) for name in one)


def test_merged_weights_are_the_closed_form_and_the_adapters_function(make_state, task):
    state, plain, x = make_state(), make_state(), torch.from_numpy(task.val.x)
    model = state.model
    add_adapters(model.body, model.roles, Adapters(rank=2, alpha=6.0), seed=0)
    spread(model)
    found = merged(model)
    assert found.keys() == plain.model.state_dict().keys()
    name = "body.encoder.layer.0.attention.self.query"
    a, b = (model.state_dict()[f"{name}.lora_{m}.default.weight"] for m in "AB")
    expected = plain.model.state_dict()[f"{name}.weight"] + 6.0 / 2 * b @ a
    assert torch.allclose(found[f"{name}.weight"], expected, atol=1e-6)
    plain.model.load_state_dict(found)
    outputs = model.eval()(x)
    assert torch.allclose(plain.model.eval()(x), outputs, rtol=1e-4, atol=1e-5)
    assert not torch.allclose(make_state().model.eval()(x), outputs, rtol=1e-2)
    load_merged(model, found)
    assert torch.equal(model.eval()(x), plain.model(x))
    remove_adapters(model.body)
    assert torch.equal(model.eval()(x), plain.model(x))


def test_the_best_weights_are_a_plain_model_s(make_state, target, task, tmp_path):
    state, fresh = make_state(), make_state()
    list(stage().run(state, target))
    checkpoints.save(state, tmp_path / "checkpoint")
    checkpoints.load_best(fresh, tmp_path / "checkpoint")
    value = evaluate(fresh, fresh.model, task.val, task).value
    assert state.best is not None
    assert value == pytest.approx(state.best.value, rel=1e-4)
    latest = weights(state)
    with state.at_best() as model:
        assert evaluate(state, model, task.val, task).value == pytest.approx(value, rel=1e-6)
    assert all(torch.equal(latest[name], weight) for name, weight in weights(state).items())


def test_settings_without_adapters_keep_their_form():
    plain = RefineConfig().model_dump(mode="json")
    assert not plain.keys() & {"lora_rank", "lora_alpha"}
    assert RefineConfig(lora_rank=4).model_dump()["lora_rank"] == 4  # nothing given is lost
    found = RefineConfig(finetune="lora").model_dump()
    assert (found["lora_rank"], found["lora_alpha"]) == (8, 16.0)


def test_without_peft_or_linear_layers_it_is_refused(make_state, target, monkeypatch):
    state = make_state()
    with pytest.raises(ConfigError, match="linear layers of queries and values"):
        adapters.check_adapters(state.model.body, {})
    monkeypatch.setattr(adapters, "find_spec", lambda name: None)
    with pytest.raises(ConfigError, match=r"pip install \"crossmodal-sweeper\[lora\]\""):
        stage().check(state.model, target)


def test_the_method_is_fine_tuning_with_adapters_and_its_control_is_that_of_all_weights(trials):
    for settings, same in ((LORA.preset, {"refine.finetune": "lora"}), (LORA.control, {})):
        ours, plain = (
            trials.run(trials.spec("lora", "1d", settings)),
            trials.run(trials.spec("nft", "1d", same)),
        )
        assert ours[0] == plain[0]
        assert same_weights(ours[1], plain[1])

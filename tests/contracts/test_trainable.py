"""The contract with Ray Tune: a Trainable saves, restores, is reused, and outlives an error."""

import json
import os
import platform
import re
import subprocess
import sys
import weakref
from collections.abc import Callable, Iterator
from dataclasses import asdict
from itertools import cycle
from pathlib import Path
from typing import Any

import pytest
import torch

import trainables.runtime.method_run
from sweeper.core.policies import classify
from tests.support.command import ROOT
from tests.support.results import report_of, trained
from tests.support.tiny_trials import DIMENSIONS, LEARNING, METHODS_BY_TURNS, SmallParts
from trainables.methods.registry import METHODS
from trainables.runtime.attempt_log import LOG
from trainables.spec import AttemptConfig
from trainables.trainable import ATTEMPT, Trainable
from trainables.training.state import TrainState

pytestmark = pytest.mark.slow

DIVERGING = {"optimizer": "sgd", "lr": 9.0, "weight_decay": 9.0, "epochs": 8}

ERRORS = [
    torch.cuda.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB"),
    ZeroDivisionError("division by zero"),
]

every_method = pytest.mark.parametrize("method", LEARNING)
by_method = pytest.mark.parametrize(("method", "dimension"), METHODS_BY_TURNS)


@pytest.fixture(scope="module", autouse=True)
def _sources_are_small() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(trainables.runtime.method_run, "PARTS", SmallParts())
        yield


@pytest.fixture
def make_config(trials, tmp_path):
    """Make a Trainable's config, as the service does, with checkpoints in a folder of its own."""

    def make(
        method: str, dimension: str, folder: str, settings=None, *, resume=(), **options
    ) -> dict[str, Any]:
        spec = trials.spec(method, dimension, settings)
        attempt = AttemptConfig(
            spec=spec.model_dump(mode="json", by_alias=True),
            label=f"{method} {dimension}",
            folder=str(tmp_path / folder),
            resume=tuple(str(path) for path in resume),
            **options,
        )
        return {ATTEMPT: attempt}

    return make


@pytest.fixture
def fresh_process(monkeypatch):
    """Make the next Trainable find nothing warm, as in a new process."""

    def forget() -> None:
        monkeypatch.setattr(trainables.runtime.method_run, "PARTS", SmallParts())

    return forget


def reports(told: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Leave out times and places."""
    return [
        report_of(each) if "measurement" in each else {"traceback": each.get("traceback")}
        for each in told
    ]


def results(actor: Trainable) -> list[dict[str, Any]]:
    return reports(trained(actor))


def as_json(config: dict[str, Any]) -> str:
    """Return the attempt of a config, for another process."""
    return json.dumps(asdict(config[ATTEMPT]))


def place_of(result: dict[str, Any], folder: Path) -> Path:
    """Return where the checkpoint of an epoch is, or will be."""
    report = report_of(result)
    return folder / f"{report['stage']}-{report['epoch']:04d}"


def objective_stage(method: str) -> str:
    return next(n for n, config in METHODS[method].stages.items() if config.reports_objective)


@by_method
def test_an_actor_that_is_reused_runs_as_a_fresh_one(make_config, fresh_process, method, dimension):
    fresh_process()
    expected = results(Trainable(make_config(method, dimension, "fresh")))
    assert expected[-1]["is_final"]
    other = "2d" if dimension == "1d" else "1d"
    fresh_process()
    used = Trainable(make_config(method, other, "before"))
    used.train()  # and stopped there, as a pruned trial is
    used.cleanup()  # by the service, once the trial has ended: an idle actor holds no memory
    assert used.attempt is None
    assert used.reset(make_config(method, dimension, "reused"))
    assert results(used) == expected


def test_each_result_tells_the_seconds_and_the_most_memory_so_far(make_config):
    actor = Trainable(make_config("mona", "1d", "timed"))
    told = [actor.train() for _ in range(3)]
    for name in ("seconds", "peak_memory_bytes"):
        values = [result["measurement"][name] for result in told]
        assert values == sorted(values)
        assert values[0] > 0


@every_method
def test_a_new_attempt_goes_on_from_the_newest_whole_checkpoint(make_config, tmp_path, method):
    expected = results(Trainable(make_config(method, "1d", "whole")))
    cut = Trainable(make_config(method, "1d", "cut"))
    older, newest = (place_of(cut.train(), tmp_path / "cut") for _ in range(2))
    cut.cleanup()  # which waits for the checkpoint that is being written
    damaged = newest / "last.safetensors"
    damaged.write_bytes(damaged.read_bytes()[:-1])
    again = Trainable(make_config(method, "1d", "again", resume=[newest, older]))
    told = trained(again)
    (note,) = told[0]["notes"]
    assert note.startswith(f"checkpoint {newest.name} is damaged ({damaged}: altered or cut short")
    assert note.endswith(f"; went on from {older.name}")
    assert reports(told) == expected[1:]
    assert not any(result["notes"] for result in told[1:])


@pytest.mark.parametrize(("halvings", "rate", "is_said"), [(1, 0.1, True), (1, 0.0, False),
                                                          (0, 0.1, False)])  # fmt: skip
def test_a_halved_attempt_says_that_drop_path_makes_it_another(
    make_config, halvings, rate, is_said
):
    config = make_config("nft", "2d", "halved", {"refine.epochs": 1})
    spec = config[ATTEMPT].spec
    spec["halvings"], spec["model"]["drop_path"] = halvings, rate
    (told,) = trained(Trainable(config))
    assert [note.partition(":")[0] for note in told["notes"]] == [
        "micro-batches are computed in 2 parts, and model.drop_path is 0.1"
    ] * is_said


def test_without_a_whole_checkpoint_it_begins_afresh_and_says_so(make_config, tmp_path):
    expected = results(Trainable(make_config("nft", "1d", "whole")))
    gone = [tmp_path / "refine-0002", tmp_path / "refine-0001"]
    actor = Trainable(make_config("nft", "1d", "again", resume=gone))
    first = actor.train()
    assert [note.partition(" (")[0] for note in first["notes"]] == [
        "checkpoint refine-0002 is damaged",
        "checkpoint refine-0001 is damaged",
    ]
    assert first["notes"][-1].endswith("; began afresh")
    second = actor.train()
    assert second["notes"] == []
    assert [report_of(first), report_of(second)] == expected


@by_method
def test_a_deliberate_error_is_a_result_and_leaves_the_actor_usable(make_config, method, dimension):
    stage = objective_stage(method)
    diverging = {f"{stage}.{name}": value for name, value in DIVERGING.items()}
    if "tune" in METHODS[method].stages:
        diverging["tune.epochs"] = 0  # else the best candidate has another rate
    actor = Trainable(make_config(method, dimension, "diverging", diverging))
    result = trained(actor)[-1]
    assert "NonFiniteLoss" in result["traceback"]
    assert f"lower {stage}.lr (9)" in result["reason"]
    assert actor.reset(make_config(method, dimension, "after"))
    expected = results(Trainable(make_config(method, dimension, "fresh")))
    assert results(actor) == expected


def raising(error: BaseException) -> Callable[..., None]:
    """A hook of a module that fails, and holds no trace of it."""

    def hook(*args: Any) -> None:
        raise type(error)(*error.args)

    return hook


def let_fail(state: TrainState, error: BaseException) -> None:
    """Let the next step fail: in the embedder, or in a network that a stage trains without it."""
    for module in (state.model.embedder, *state.extras.values()):
        module.register_forward_hook(raising(error))


@pytest.mark.parametrize(("method", "error"), list(zip(LEARNING, cycle(ERRORS), strict=False)))
def test_any_error_of_training_is_a_result_and_leaves_nothing_behind(make_config, method, error):
    actor = Trainable(make_config(method, "1d", "failing"))
    first = report_of(actor.train())
    model = weakref.ref(actor.attempt.training.state.model)
    let_fail(actor.attempt.training.state, error)
    result = actor.train()
    assert result["error"] == type(error).__name__
    assert result["reason"] == f"{type(error).__name__}: {error}"
    assert result["traceback"].startswith("Traceback")
    assert result["traceback"].strip().endswith(str(error))
    assert (result["stage"], result["epoch"]) == (first["stage"], first["epoch"] + 1)
    assert result["done"]
    assert not result["infeasible"]
    assert model() is None
    assert actor.train()["traceback"] == result["traceback"]  # if asked again
    assert actor.reset(make_config(method, "1d", "after"))
    assert results(actor) == results(Trainable(make_config(method, "1d", "fresh")))


def test_the_log_tells_of_each_epoch_in_the_trials_own_folder(make_config, tmp_path):
    actor = Trainable(make_config("mona", "1d", "first"))
    told = trained(actor)
    actor.reset(make_config("nft", "1d", "second", resume=[tmp_path / "refine-0001"]))
    actor.train()
    first, second = ((tmp_path / name / LOG).read_text() for name in ("first", "second"))
    value = report_of(told[-1])["metrics"]["val/nrmse"]
    place, *lines = first.splitlines()
    assert place == f"mona 1d: process {os.getpid()} on {platform.node()}"
    assert [line.partition(": ")[0] for line in lines] == [
        "meta 1/2",
        "meta 2/2",
        "refine 1/2",
        "refine 2/2",
    ]
    assert lines[0].startswith("meta 1/2: meta/inner_loss ")
    assert re.fullmatch(rf"refine 2/2: val/nrmse {value:.4g}, \d+\.\d s", lines[-1])
    assert len(second.splitlines()) == 3
    assert "checkpoint refine-0001 is damaged" in second


def test_the_log_ends_with_what_ended_the_attempt(make_config, tmp_path):
    actor = Trainable(make_config("nft", "1d", "failing"))
    actor.attempt.training.state.model.embedder.register_forward_hook(
        raising(KeyError("no such key"))
    )
    assert actor.train()["traceback"] in (tmp_path / "failing" / LOG).read_text()
    diverging = {f"refine.{name}": value for name, value in DIVERGING.items()}
    actor.reset(make_config("nft", "1d", "diverging", diverging))
    told = trained(actor)[-1]
    lines = (tmp_path / "diverging" / LOG).read_text().splitlines()
    assert lines[-1] == f"NonFiniteLoss: {told['reason']}"
    assert not any("Traceback" in line for line in lines)


OVER_ITS_MEMORY = """
import json, sys, time
from trainables.spec import AttemptConfig
from trainables.trainable import ATTEMPT, Trainable
actor = Trainable({ATTEMPT: AttemptConfig(**json.loads(sys.argv[1]))})
print(actor.train()["measurement"]["epoch"], flush=True)
held = []
while True:
    held.append(bytearray(b"x") * 50_000_000)
    time.sleep(0.05)
"""


def test_an_actor_over_its_memory_ends_and_its_log_says_why(make_config, tmp_path):
    config = make_config("nft", "1d", "hungry", memory_bytes=2**30)
    done = subprocess.run(
        [sys.executable, "-c", OVER_ITS_MEMORY, as_json(config)],
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert (done.returncode, done.stdout.splitlines()[-1]) == (137, "1"), done.stderr
    last = (tmp_path / "hungry" / LOG).read_text().splitlines()[-1]
    assert re.fullmatch(r"HostOutOfMemory: 1(\.\d+)? GiB held, limit 1 GiB", last)


@pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit])
def test_what_ends_a_process_ends_the_actor(make_config, error):
    actor = Trainable(make_config("nft", "1d", "ending"))
    actor.attempt.training.state.model.embedder.register_forward_hook(raising(error()))
    with pytest.raises(error):
        actor.train()


def test_settings_that_contradict_each_other_are_infeasible(make_config):
    settings = {"meta.inner_steps": 3, "meta.meta_grad": "fd"}
    result = Trainable(make_config("mona", "1d", "contradicting", settings)).train()
    assert result["infeasible"]
    assert "inner_steps 3 needs meta_grad exact" in result["reason"]


def test_a_checkpoint_that_cannot_be_written_ends_the_attempt_with_the_next_epoch(
    make_config, tmp_path
):
    (tmp_path / "a file").touch()
    actor = Trainable(make_config("nft", "1d", "a file"))
    assert actor.train()["measurement"]["checkpoint"] is None
    result = actor.train()
    assert result["error"] == "StorageError"
    assert classify(result["traceback"]) == "storage"
    assert re.fullmatch(
        r"not a directory: .*/a file/refine-0001: \d+ of \d+ MiB free", result["reason"]
    )
    assert (result["stage"], result["epoch"]) == ("refine", 2)


def test_a_result_tells_the_process_and_its_host(make_config):
    result = Trainable(make_config("nft", "1d", "somewhere")).train()
    assert (result["pid"], result["hostname"]) == (os.getpid(), platform.node())


def test_data_that_changed_since_the_sweep_began_fail_the_attempt(make_config, trials):
    began = trials.begin(trials.spec("nft", "1d")).domains.target.content_hash
    actor = Trainable(make_config("nft", "1d", "changed", content_hash=began))
    assert "measurement" in actor.train()
    actor.reset(make_config("nft", "1d", "changed", content_hash="0" * 64))
    (result,) = trained(actor)
    assert result["error"] == "DataError"
    assert classify(result["traceback"]) == "data"
    told = f"the data have changed since the sweep began: their hash is {began}, and was {'0' * 64}"
    assert told in result["reason"]
    assert not result["infeasible"]


def test_what_cannot_begin_is_a_result_too(make_config):
    config = make_config("nft", "1d", "nowhere")
    attempt = config[ATTEMPT]
    attempt.spec["backbone"]["name"] = str(Path(attempt.folder) / "no-such-folder")
    actor = Trainable(config)
    result = actor.train()
    assert result["done"]
    assert "ConfigError" in result["traceback"]
    assert "no-such-folder" in result["reason"]
    assert actor.reset(make_config("nft", "1d", "after"))
    assert results(actor)[-1]["is_final"]


SAVE_AND_RESTORE = """
import json, sys
import ray
from ray.tune.utils import validate_save_restore
from trainables.spec import AttemptConfig
from trainables.trainable import ATTEMPT, Trainable

address, *configs = sys.argv[1:]
ray.init(address=address, log_to_driver=False)
for config in configs:
    assert validate_save_restore(Trainable, {ATTEMPT: AttemptConfig(**json.loads(config))})
"""


SAVED = {"mona": "2d"}  # the others in a soak run


@pytest.mark.parametrize(
    "name", [pytest.param(n, marks=[] if n in SAVED else [pytest.mark.soak]) for n in LEARNING]
)
def test_ray_tune_finds_that_every_method_saves_and_restores(make_config, ray_head, name):
    """Ray's own check, in actors of its cluster: three steps, a save, two more from there."""
    configs = [
        make_config(name, dimension, name, {f"{objective_stage(name)}.epochs": 5})
        for dimension in ([SAVED[name]] if name in SAVED else DIMENSIONS)
    ]
    done = subprocess.run(
        [sys.executable, "-c", SAVE_AND_RESTORE, ray_head.address, *map(as_json, configs)],
        env=os.environ | ray_head.environment | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=240,
    )
    assert done.returncode == 0, done.stderr


def test_ray_shows_whose_sweep_an_actor_is_of():
    actor = Trainable.__new__(Trainable)
    attempt = AttemptConfig(spec={}, label="x", folder="/f", name="mine/mona/pdebench/x_1d/3")
    for config, shown in (({ATTEMPT: attempt}, "sweeper mine"), ({}, "sweeper")):
        actor.config = config
        assert repr(actor) == shown

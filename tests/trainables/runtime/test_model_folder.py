"""Exported models: loaded without the sweep, its data and its weights, and never trusted."""

import json
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from tests.support.planted_tasks import NAMES
from tests.support.trained_models import GENERATED, Trained
from trainables.errors import DataError, TrainableError, WeightsError
from trainables.runtime.model_folder import export_model, read_model
from trainables.runtime.prediction import load_model
from trainables.storage.atomic import sha256_file
from trainables.tasks.registry import task_info

MIX = (*NAMES, *GENERATED)


@contextmanager
def gone(home: Path) -> Iterator[None]:
    """Take away the data and the pretrained weights during the block."""
    aside = home.with_name(f"{home.name}-aside")
    os.rename(home, aside)
    try:
        yield
    finally:
        os.rename(aside, home)


@pytest.fixture
def exported(train, tmp_path) -> Path:
    """Return the folder of a small model of fields."""
    trained = train(GENERATED[0])
    export_model(trained.folder, tmp_path / "model", trained.spec.home)
    return tmp_path / "model"


@pytest.mark.slow
@pytest.mark.parametrize(
    ("task", "head"),
    [
        *((task, "linear") for task in MIX),
        *((task, "orca_pool") for task in MIX if task_info(task).kind == "dense"),
    ],
)
def test_an_exported_model_predicts_the_same_bits_without_data_and_weights(
    train, tmp_path, task, head
):
    trained: Trained = train(task, head)
    x = trained.store.stored("test")["x"].copy()
    expected = trained.model().predict(x)
    export_model(trained.folder, tmp_path / "model", trained.spec.home)
    with gone(trained.spec.home):
        model = load_model(tmp_path / "model", tmp_path / "no-home")
        assert np.array_equal(model.predict(x), expected)
        assert model.spec.model_dump(exclude={"home"}) == trained.spec.model_dump(exclude={"home"})
    assert not (tmp_path / "no-home").exists()
    assert model.task == trained.model().task


@pytest.mark.slow
def test_the_card_names_task_data_protocol_results_method_seed_versions_and_licences(
    train, tmp_path
):
    trained = train("nasbench360/satellite")
    metrics = {"val/zero_one_error": 0.25, "test/zero_one_error": 0.5}
    export_model(
        trained.folder,
        tmp_path / "model",
        trained.spec.home,
        sweep="crops",
        trial="nft/nasbench360/satellite/3",
        metrics=metrics,
    )
    card = (tmp_path / "model" / "README.md").read_text()
    info = task_info("nasbench360/satellite")
    for words in (
        "# Satellite by NFT", trained.store.content_hash, info.protocol,
        f"Licence of the data: {info.publication.licence}",
        "Licence of the pretrained weights: as the source", "| `test/zero_one_error` | 0.5 |",
        "`crops`, `nft/nasbench360/satellite/3`; seed 0", "Shen et al., ICML 2023",
        '"lr": 0.001', "torch 2", "[n, 1, 46]", "float64 [n, 24]", "and 4 more",
    ):  # fmt: skip
        assert words in card, words


@pytest.mark.slow
def test_no_file_is_a_pickle_and_none_has_a_path_of_this_machine(exported, train):
    assert {p.name for p in exported.iterdir()} == {"README.md", "config.json", "model.safetensors"}
    text = (exported / "config.json").read_text()
    assert '"home"' not in text
    assert (
        load_file(exported / "model.safetensors").keys()
        == load_file(train(GENERATED[0]).folder / "best.safetensors").keys()
    )


@pytest.mark.slow
def test_a_folder_with_content_is_not_replaced(train, tmp_path):
    trained = train(GENERATED[0])
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "notes.txt").write_text("mine")
    with pytest.raises(TrainableError, match="model"):
        export_model(trained.folder, tmp_path / "model", trained.spec.home)
    assert (tmp_path / "model" / "notes.txt").read_text() == "mine"
    assert [p.name for p in tmp_path.iterdir()] == ["model"]


@pytest.mark.slow
def test_linked_weights_share_their_file_with_the_checkpoint(train, tmp_path):
    trained = train(GENERATED[0])
    export_model(trained.folder, tmp_path / "model", trained.spec.home, link=True)
    assert (tmp_path / "model" / "model.safetensors").samefile(trained.folder / "best.safetensors")


@pytest.mark.slow
def test_a_checkpoint_without_best_weights_or_with_altered_ones_is_not_exported(train, tmp_path):
    trained = train(GENERATED[0])
    copy = tmp_path / "refine-0002"
    trained.training.save(copy)
    with (copy / "best.safetensors").open("ab") as file:
        file.write(b"more")
    with pytest.raises(DataError, match="altered or cut short"):
        export_model(copy, tmp_path / "model", trained.spec.home)
    assert not (tmp_path / "model").exists()


def edit(change: Callable[[dict], object]) -> Callable[[Path], None]:
    def spoil(folder: Path) -> None:
        plain = json.loads((folder / "config.json").read_text())
        change(plain)
        (folder / "config.json").write_text(json.dumps(plain))

    return spoil


def with_weights(change: Callable[[dict], object]) -> Callable[[Path], None]:
    """Change the tensors and their hash, as an attacker can."""

    def spoil(folder: Path) -> None:
        tensors = load_file(folder / "model.safetensors")
        change(tensors)
        save_file(tensors, folder / "model.safetensors")
        digest = sha256_file(folder / "model.safetensors")
        edit(lambda c: c["files"].update({"model.safetensors": digest}))(folder)

    return spoil


def not_tensors(folder: Path) -> None:
    (folder / "model.safetensors").write_bytes(b"\x80\x04pickle")
    digest = sha256_file(folder / "model.safetensors")
    edit(lambda c: c["files"].update({"model.safetensors": digest}))(folder)


BAD = {
    "not json": (lambda f: (f / "config.json").write_text("{"), "no readable JSON"),
    "deep json": (lambda f: (f / "config.json").write_text("[" * 100_000), "no readable JSON"),
    "a list": (lambda f: (f / "config.json").write_text("[]"), "no model that sweeper exported"),
    "a backbone": (edit(lambda c: c.pop("format")), "no model that sweeper exported"),
    "a later version": (edit(lambda c: c.update(version=2)), "version 2 of the layout"),
    "an unknown key": (edit(lambda c: c.update(code="x.py")), "code: Extra inputs"),
    "a strange file": (edit(lambda c: c["files"].update({"../x": "0" * 64})), "files"),
    "no weights listed": (edit(lambda c: c["files"].clear()), "lists no model.safetensors"),
    "no weights": (lambda f: (f / "model.safetensors").unlink(), "missing, though config.json"),
    "altered weights": (lambda f: (f / "model.safetensors").write_bytes(b"x"),
        "altered or cut short"),
    "a pickle": (not_tensors, "no safetensors file"),
    "weights of others": (with_weights(lambda t: t.pop(next(iter(t)))),
        "these weights are of another model"),
    "a wide network": (edit(lambda c: c["model"]["network"].update(hidden_size=100_000)),
        "a larger network than model.safetensors holds"),
    "a huge vocabulary": (edit(lambda c: c["model"]["network"].update(vocab_size=10**12)),
        "vocab_size is 1000000000000, but at most"),
    "a deep network": (edit(lambda c: c["model"]["network"].update(num_hidden_layers=10**9)),
        "num_hidden_layers is 1000000000, but at most"),
    "another architecture": (edit(lambda c: c["model"]["network"].update(model_type="mamba")),
        "this architecture is not supported"),
    "no network": (edit(lambda c: c["model"].update(network={})), "model"),
    "heads that do not divide": (
        edit(lambda c: c["model"]["network"].update(num_attention_heads=5)), "model"),
    "a strange trial": (edit(lambda c: c["model"]["spec"].update(stages=3)), "spec.stages"),
    "a huge sample": (edit(lambda c: c["task"].update(input_shape=[1, 2**40])),
        "task.input_shape is no shape of a sample"),
    "an empty sample": (edit(lambda c: c["task"].update(output_shape=[])), "no shape of a sample"),
    "a strange kind": (edit(lambda c: c["task"].update(kind="poem")), "task.kind"),
    "names of classes": (edit(lambda c: c["task"].update(classes=["a"] * 3)), "names 3 of 1"),
}  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("case", BAD)
def test_a_bad_folder_is_refused_with_its_fault(exported, tmp_path, case):
    spoil, message = BAD[case]
    spoil(exported)
    with pytest.raises(WeightsError, match=message) as caught:
        load_model(exported, tmp_path)
    assert str(exported) in str(caught.value)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda a: a.pop("inputs.scale"), "a shift and a scale of one shape"),
        (lambda a: a["inputs.scale"].fill(0), "positive scales"),
        (lambda a: a["outputs.shift"].fill(np.nan), "finite shifts"),
    ],
)
def test_bad_arrays_are_refused(train, tmp_path, change, message):
    trained, folder = train("pdebench/navier_stokes_1d"), tmp_path / "model"
    export_model(trained.folder, folder, trained.spec.home)
    arrays = load_file(folder / "normalisation.safetensors")
    change(arrays)
    save_file(arrays, folder / "normalisation.safetensors")
    digest = sha256_file(folder / "normalisation.safetensors")
    edit(lambda c: c["files"].update({"normalisation.safetensors": digest}))(folder)
    with pytest.raises(WeightsError, match=message):
        read_model(folder, tmp_path)


def test_a_folder_that_is_neither_is_refused(tmp_path):
    with pytest.raises(DataError, match=r"neither a checkpoint of .* nor an exported model"):
        load_model(tmp_path, tmp_path)

"""What a launch would refuse, or die of, is told by `validate`: rows 49 and 65, and sizes (40)."""

import json

import pytest

from tests.bad_inputs.rows import VALID, Command, Row, edit, ids, parameter

ALPHA = "x.yaml:7: `parameters.meta.alpha"
PAPER = ("--profile", "paper")

ROWS = [
    Row(40, "two GPUs a trial", VALID + "resources: {gpu: 2}\n",
        "x.yaml:10: `resources.gpu` must be 1 or less, but got 2.0: a trial trains on one GPU."),
    Row(40, "a grid too fine", VALID + "data: {resolution: 100000000}\n",
        "x.yaml:10: pdebench/advection_1d: `data.resolution` must be at most 16384 in 1d, but got "
        "100000000: "),
    Row(40, "too many samples", VALID + "data: {samples: 1000000000000}\n",
        "x.yaml:10: pdebench/advection_1d: `data.samples` must be at most 10000000"),
    Row(40, "more tokens than positions", edit("1d: minilm", "1d: {name: minilm, tokens: 10000}"),
        "x.yaml:4: backbone.tokens is 10000, but `minilm` has positions for 512: lower it."),
    Row(40, "more layers than there are", edit("1d: minilm", "1d: {name: minilm, layers: 10000}"),
        "x.yaml:4: backbone.layers is 10000, but `minilm` has 6: lower it."),
    Row(49, "a backbone that is a file", edit("1d: minilm", "1d: /etc/passwd"),
        "x.yaml:4: unknown backbone `/etc/passwd`: neither one of "),
    Row(49, "a backbone that is an address", edit("1d: minilm", "1d: 'https://hub/x'"),
        "x.yaml:4: unknown backbone `https://hub/x`: an address is not read."),
    Row(49, "a backbone that is no backbone", edit("1d: minilm", "1d: ../../../etc"),
        "x.yaml:4: "),
    Row(49, "a backbone that is nowhere", edit("1d: minilm", "1d: mine"),
        "x.yaml:4: unknown backbone `mine`. Did you mean `minilm`?"),
    Row(65, "a condition that never holds",
        parameter("meta.alpha: {min: 0.1, max: 1, when: {meta.meta_grad: exact}}").replace(
            "refine.epochs: 8", "refine.epochs: 8, meta.meta_grad: fd").replace(
            "trials: 8", "trials: 2"),
        f"{ALPHA}.when` never holds: `meta.meta_grad` is fixed to 'fd'."),
    Row(65, "a condition of mixed types",
        parameter("meta.alpha: {min: 0.1, max: 1, when: {meta.meta_grad: [fd, 1, true]}}\n"
                  "  meta.meta_grad: {values: [fd, exact]}"),
        f"{ALPHA}.when`: `meta.meta_grad` is never 1: it must be 'exact' or 'fd'."),
]  # fmt: skip


@pytest.mark.parametrize("row", ROWS, ids=ids(ROWS))
@pytest.mark.parametrize("word", ["validate", "plan", "launch"])
def test_it_is_told_before_anything_is_written(command: Command, row: Row, word: str) -> None:
    told = command.tells(Row(**{**vars(row), "command": word, "options": PAPER}))
    assert len(told.err) == 1, "one mistake makes one message"


def test_a_profile_may_switch_a_condition_off(command: Command) -> None:
    text = parameter(
        "refine.lr: {min: 0.1, max: 1}\n"
        "  meta.alpha: {min: 0.1, max: 1, when: {meta.meta_grad: exact}}\n"
        "  meta.meta_grad: {values: [fd, exact]}"
    )
    (command.folder / "x.yaml").write_text(
        text + "profiles: {laptop: {fixed: {meta.meta_grad: fd}}}\n"
    )
    told = command("validate", "x.yaml", "--profile", "laptop")
    assert told.code == 0
    assert any("applies to no study" in line for line in told.out)
    assert command("validate", "x.yaml", "--set", "meta.meta_grad=fd").code == 0


def test_a_folder_under_weights_is_a_backbone_by_its_name(command: Command) -> None:
    folder = command.folder.parent / "home" / "weights" / "mine"
    folder.mkdir(parents=True)
    config = {"model_type": "bert", "num_hidden_layers": 3, "max_position_embeddings": 64}
    (folder / "config.json").write_text(json.dumps(config))
    (folder / "model.safetensors").touch()
    (command.folder / "x.yaml").write_text(edit("1d: minilm", "1d: {name: mine, layers: 3}"))
    for word in ("validate", "plan"):
        assert command(word, "x.yaml", *PAPER).code == 0
    told = command("validate", "x.yaml", *PAPER, "--set", "backbones.1d.layers=4")
    assert told.err == [
        "sweeper: --set backbones.1d.layers: backbone.layers is 4, but `mine` has 3: lower it."
    ]


def test_a_narrow_network_is_not_roberta_base(command: Command) -> None:
    folder = command.folder.parent / "home" / "weights" / "roberta_base"
    folder.mkdir(parents=True)
    (folder / "config.json").write_text('{"model_type": "roberta", "hidden_size": 64}')
    (folder / "model.safetensors").touch()
    (command.folder / "x.yaml").write_text(edit("1d: minilm", "1d: roberta_base"))
    told = command("validate", "x.yaml")
    assert told.code == 2
    assert f"{folder / 'config.json'}: not `roberta_base`, but another network: " in told.err[0]
    assert "hidden_size 64 instead of 768" in told.err[0]

"""Refusals and deaths of a launch that `validate` foretells: rows 49 and 65, and sizes (40)."""

import json
from pathlib import Path

import pytest

from tests.bad_inputs.rows import VALID, Command, Row, edit, ids, parameter
from tests.support.servers.hub import use_hub

ALPHA = "x.yaml:7: `parameters.meta.alpha"
PAPER = ("--profile", "paper")
UNSHARED = """\
name: study
methods: [dash]
tasks: [pdebench/advection_1d]
fixed: {train.epochs: 8}
search: {trials: 1}
"""

ROWS = [
    Row(40, "two processes on a GPU", VALID + "resources: {gpu: 1, processes: 2}\n",
        "x.yaml:10: `resources.processes` is 2, and each GPU has one process: leave it out, or "),
    Row(40, "two processes on a core", VALID + "resources: {processes: 2}\n",
        "x.yaml:10: `resources.processes` is 2, and each needs a CPU core, but `resources.cpu` "),
    Row(40, "two GPUs that no stage shares", UNSHARED + "resources: {gpu: 2}\n",
        "x.yaml:6: `resources.gpu: 2`: `dash` has no stage whose batches several processes can "),
    Row(40, "a grid too fine", VALID + "data: {resolution: 100000000}\n",
        "x.yaml:10: pdebench/advection_1d: `data.resolution` must be at most 16384 in 1d, but got "
        "100000000: "),
    Row(40, "too many samples", VALID + "data: {samples: 1000000000000}\n",
        "x.yaml:10: pdebench/advection_1d: `data.samples` must be lower: with those to validate "),
    Row(40, "more training samples than there are",
        edit("[pdebench/advection_1d]", "[nasbench360/ecg]") + "data: {samples: 267301}\n",
        "x.yaml:10: nasbench360/ecg: `data.samples` asks for 267301 training samples, of which "
        "there are only 267300: "),
    Row(40, "more tokens than positions", edit("1d: minilm", "1d: {name: minilm, tokens: 10000}"),
        "x.yaml:4: backbone.tokens is 10000, but `minilm` has positions for 512: lower it."),
    Row(40, "more layers than there are", edit("1d: minilm", "1d: {name: minilm, layers: 10000}"),
        "x.yaml:4: backbone.layers is 10000, but `minilm` has 6: lower it."),
    Row(49, "a backbone that is a file", edit("1d: minilm", "1d: /etc/passwd"),
        "x.yaml:4: unknown backbone `/etc/passwd`: neither one of "),
    Row(49, "a backbone that is an address", edit("1d: minilm", "1d: 'https://hub/x'"),
        "x.yaml:4: unknown backbone `https://hub/x`: an address is not read."),
    Row(49, "a model that timm does not have",
        edit("1d: minilm", "2d: {timm: vit_tinny_patch16_224, weights: random}").replace(
            "advection_1d", "darcy_2d").replace("1d: python_source", "2d: digits"),
        "x.yaml:4: timm has no model `vit_tinny_patch16_224`. Did you mean `vit_tiny_patch16_224"),
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


@pytest.mark.slow  # it starts a process with torch for the floors
def test_a_folder_under_weights_is_a_backbone_by_its_name(command: Command) -> None:
    folder = command.folder.parent / "home" / "weights" / "mine"
    folder.mkdir(parents=True)
    config = {"model_type": "bert", "num_hidden_layers": 3, "max_position_embeddings": 64}
    (folder / "config.json").write_text(json.dumps(config))
    (folder / "model.safetensors").touch()
    (command.folder / "x.yaml").write_text(edit("1d: minilm", "1d: {name: mine, layers: 3}"))
    assert command("validate", "x.yaml", *PAPER).code == 0
    built = command("plan", "x.yaml", *PAPER)  # in a process of its own
    assert built.code == 2
    assert "model.safetensors: damaged or cut short" in built.err[0]
    told = command("validate", "x.yaml", *PAPER, "--set", "backbones.1d.layers=4")
    assert told.err == [
        "sweeper: --set backbones.1d.layers: backbone.layers is 4, but `mine` has 3: lower it."
    ]


PUBLISHED = edit("[pdebench/advection_1d]", "[nasbench360/ecg, nasbench360/satellite]")


@pytest.mark.parametrize("key", ["val_fraction", "test_fraction"])
def test_a_fraction_without_effect_is_refused(command: Command, key: str) -> None:
    (command.folder / "x.yaml").write_text(PUBLISHED + f"data: {{{key}: 0.3}}\n")
    told = command("validate", "x.yaml")
    assert told.err == [
        f"sweeper: x.yaml:10: `data.{key}` has no effect on published or own splits that are used "
        f"whole: lower `data.samples` below their training samples, or leave `data.{key}` out."
    ]
    assert command("validate", "x.yaml", "--set", "data.samples=1000").code == 0
    assert command("validate", "x.yaml", "--set", f"data.{key}=null").code == 0
    (command.folder / "x.yaml").write_text(VALID + f"data: {{{key}: 0.3}}\n")
    assert command("validate", "x.yaml").code == 0


def test_too_many_samples_are_told_without_contradiction(command: Command) -> None:
    """Fractions have an effect once `data.samples` is lower, which is the one fault."""
    data = "data: {samples: 267301, val_fraction: 0.15, test_fraction: 0.2}\n"
    (command.folder / "x.yaml").write_text(PUBLISHED + data)
    (line,) = command("validate", "x.yaml").err
    assert line.startswith("sweeper: x.yaml:10: nasbench360/ecg: `data.samples` asks for 267301 ")


@pytest.mark.parametrize("name", ["swin_base", "roberta_base"])
def test_offline_built_in_weights_that_are_not_here_are_a_fault(
    command: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    use_hub(monkeypatch, tmp_path / "hub", offline=True)
    text = edit("1d: minilm", f"1d: {name}")
    if name == "swin_base":
        text = edit("1d: minilm", f"2d: {name}").replace("advection_1d", "darcy_2d")
        text = text.replace("1d: python_source", "2d: digits")
    (command.folder / "x.yaml").write_text(text)
    told = command("validate", "x.yaml")
    assert told.code == 2
    (line,) = told.err
    assert line.startswith(f"sweeper: x.yaml:4: weights of {name}: not on this machine, and HF_HUB")


def test_what_this_machine_lacks_is_said_and_is_no_fault(command: Command) -> None:
    (command.folder / "x.yaml").write_text(PUBLISHED + "resources: {gpu: 1}\n")
    told = command("validate", "x.yaml")
    assert told.code == 0
    assert told.out[:2] == [
        "not ready on this machine: nasbench360/ecg, nasbench360/satellite; `sweeper plan` says "
        "what to do.",
        "on this machine: resources.gpu: a trial asks for 1, and this machine has 0; write "
        "`gpu: 0`, or launch on a cluster that has it: --address HOST:PORT.",
    ]


@pytest.mark.slow  # it starts a process with torch for the floors
def test_few_validation_samples_are_noted_by_plan(command: Command) -> None:
    (command.folder / "x.yaml").write_text(VALID + "data: {samples: 70, val_fraction: 0.2}\n")
    told = command("plan", "x.yaml", *PAPER)
    assert any("pdebench/advection_1d: 20 samples validate, under 30" in line for line in told.out)


def test_no_profile_is_named_where_there_is_none(command: Command) -> None:
    (command.folder / "x.yaml").write_text(VALID)
    assert command("validate", "x.yaml").out[-1] == "x.yaml: valid; 1 study of 8 trials"
    (command.folder / "x.yaml").write_text(VALID + "profiles: {laptop: {search: {seed: 1}}}\n")
    assert command("validate", "x.yaml").out[-1].endswith("8 trials, profile laptop")


@pytest.mark.slow  # it starts a process with torch for the floors
def test_row_39_a_gpu_where_there_is_none_is_told_once_all_is_planned(command: Command) -> None:
    (command.folder / "x.yaml").write_text(VALID + "resources: {gpu: 1}\n")
    told = command("plan", "x.yaml", *PAPER)
    assert told.code == 7
    assert told.out[1].startswith("mona/pdebench/advection_1d")
    assert told.err == [
        "sweeper: resources.gpu: a trial asks for 1, and this machine has 0; write `gpu: 0`, or "
        "plan for a cluster that has it: --cluster '1 node x 8 GPUs, 96 CPUs'."
    ]
    told = command("plan", "x.yaml", *PAPER, "--json")
    assert (told.code, json.loads("\n".join(told.out))["exit_code"]) == (7, 7)
    assert command("plan", "x.yaml", "--cluster", "2 nodes x 4 GPUs, 8 CPUs").code == 0
    assert command("plan", "x.yaml", "--calibrate", *PAPER).code == 7  # a pilot needs it here
    told = command("launch", "x.yaml", *PAPER)
    assert (told.code, told.out) == (7, [])
    assert told.err[-1].startswith("sweeper: resources.gpu: a trial asks for 1, and this machine")

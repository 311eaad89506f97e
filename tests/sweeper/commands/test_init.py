"""New sweep files: valid for all methods and kinds of tasks, fitting, and never over another."""

import json
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from sweeper.cli import output
from sweeper.cli.main import cli
from sweeper.cli.main import run as command
from sweeper.commands import init as app
from sweeper.commands.init import MAX_EPOCHS, MIN_EPOCHS, MIN_SAMPLES, Draft, init
from sweeper.errors import Fault, FileFaults, UsageError
from sweeper.planning.load import Options, read
from sweeper.planning.trials import data_of
from sweeper.spec.shipped import located
from tests.support.servers.hub import use_hub
from trainables.methods.registry import METHODS
from trainables.spec import DataSpec
from trainables.tasks.loading import describe_data
from trainables.tasks.registry import TASKS

pytestmark = pytest.mark.usefixtures("here")

OWN = """\
name: mine/{name}
title: Wafer maps
kind: {kind}
input: {{path: {name}.npz, key: x, layout: NCHW}}
target: {{key: y}}
"""


def write_task(folder, name="wafer", kind="classification"):
    """Write a task file and its data."""
    folder.mkdir(exist_ok=True)
    rng = np.random.default_rng(0)
    y = rng.integers(0, 3, 200) if kind == "classification" else rng.normal(size=(200, 2))
    np.savez(folder / f"{name}.npz", x=rng.normal(size=(200, 1, 8, 8)).astype("float32"), y=y)
    file = folder / f"{name}.task.yaml"
    file.write_text(OWN.format(name=name, kind=kind))
    return file


@pytest.mark.slow
@pytest.mark.parametrize("method", sorted(METHODS))
def test_a_file_is_valid_for_every_method_on_every_kind_of_task(method, tmp_path):
    tasks = [
        "pdebench/advection_1d", "pdebench/darcy_2d@hard", "nasbench360/ecg",
        "nasbench360/deepsea", "nasbench360/cifar100", "nasbench360/fsd50k", "nasbench360/cosmic",
    ]  # fmt: skip
    network = METHODS[method].network
    tasks = [t for t in tasks if network is None or network.fault_on(TASKS[t]) is None]
    written = init(tmp_path / "all.yaml", methods=[method], tasks=tasks)
    laptop, paper = (read(written.path, Options(profile=p)) for p in ("laptop", "paper"))
    assert {study.task for study in laptop.studies} == set(tasks)
    assert laptop.resources.gpu == 0 < paper.resources.gpu
    for study in laptop.studies:
        assert study.parameters
        assert study.stage_epochs[study.objective_stage] == written.epochs
    assert laptop.notes == paper.notes == ()


def test_all_methods_fit_one_file(tmp_path):
    info = TASKS["pdebench/darcy_2d"]
    fit = [n for n, m in METHODS.items() if m.network is None or not m.network.fault_on(info)]
    written = init(tmp_path / "all.yaml", methods=fit, tasks=[info.name])
    assert len(read(written.path, Options(profile="laptop")).studies) == len(fit)


@pytest.mark.parametrize("minutes", [0.2, 1.0, 5.0, 60.0])
@pytest.mark.parametrize("samples", [80, 200, 400, 1_000, 30_000])
def test_the_size_of_a_trial_follows_the_data_and_the_minutes(samples, minutes, monkeypatch):
    facts = describe_data("nasbench360/ecg", DataSpec())
    splits = {"train": samples, "val": 40, "test": 1029}
    monkeypatch.setattr(app, "describe_data", lambda *_: replace(facts, splits=splits))
    draft = Draft(
        name="x", methods=["nft"], include=(), minutes=minutes, tasks=[TASKS["nasbench360/ecg"]]
    )
    used = samples if draft.samples is None else draft.samples
    assert MIN_SAMPLES <= used <= samples
    assert MIN_EPOCHS <= draft.epochs <= MAX_EPOCHS
    passes = used * draft.epochs
    budget = app.PASSES_A_MINUTE * minutes
    if used > MIN_SAMPLES:
        assert passes <= 1.1 * budget  # a file never takes much longer than was asked
    if draft.samples is not None and draft.samples > MIN_SAMPLES:
        assert passes >= 0.9 * budget  # nor uses less of a large set than there is time for


def fast_data(written):
    """Return the data of the profile `laptop` of a written file."""
    (study,) = read(written.path, Options(profile="laptop")).studies
    return data_of(study)


def test_a_file_for_own_tasks_fits_their_imported_data(tmp_path):
    file = write_task(tmp_path / "data")
    (tmp_path / "sweeps").mkdir()
    before = init(tmp_path / "sweeps" / "a.yaml", methods=["nft"], task_files=[file])
    assert (before.samples, before.epochs) == (None, MIN_EPOCHS)
    assert "sweeper data import" in before.message
    assert before.message.count(f" --methods nft --task-file {file} --replace\n") == 1
    assert command(["data", "import", str(file)]) == 0
    after = init(tmp_path / "sweeps" / "b.yaml", methods=["nft"], task_files=[file])
    assert after.epochs == 11  # 140 training samples, 1500 passes
    assert "data import" not in after.message
    fast = init(tmp_path / "c.yaml", methods=["nft"], task_files=[file], minutes=0.25)
    assert fast.samples == 60
    facts = describe_data("mine/wafer", fast_data(fast))
    assert facts.splits == {"train": 60, "val": 20, "test": 40}  # only training samples are fewer


def test_a_small_split_of_an_own_task_is_used_whole(tmp_path):
    file = write_task(tmp_path / "data")
    file.write_text(file.read_text() + "splits: {val: 0.02, test: 0.6}\n")
    assert command(["data", "import", str(file)]) == 0
    written = init(tmp_path / "a.yaml", methods=["nft"], task_files=[file], minutes=0.1)
    assert written.samples == 40
    assert describe_data("mine/wafer", fast_data(written)).splits == {
        "train": 40, "val": 4, "test": 120
    }  # fmt: skip


def test_task_files_are_found_from_the_folder_of_the_sweep_file(tmp_path, monkeypatch):
    files = [write_task(tmp_path / "data"), write_task(tmp_path / "data", "force", "regression")]
    (tmp_path / "sweeps").mkdir()
    written = init(tmp_path / "sweeps" / "a.yaml", methods=["orca", "mona"], task_files=files)
    assert written.tasks == ("mine/wafer", "mine/force")
    text = written.path.read_text()
    assert 'include: ["../data/wafer.task.yaml", "../data/force.task.yaml"]  #' in text
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    sweep = read(written.path, Options(profile="paper"))
    assert sweep.studies[0].stage_epochs["refine"] == 60


@pytest.mark.slow
def test_a_file_searches_as_the_shipped_ones_do(tmp_path):
    written = init(tmp_path / "a.yaml", methods=["nft"], tasks=["pdebench/darcy_2d"])
    shipped = [*Path(__file__).parents[3].joinpath("search_spaces").glob("*.yaml")]
    assert shipped
    sweeps = [read(written.path, Options(profile="laptop"))]
    sweeps += [read(file, Options(profile="paper")) for file in (written.path, *shipped)]
    assert len({(sweep.search.sampler, sweep.pruning.type) for sweep in sweeps}) == 1


def test_a_file_is_written_offline_for_weights_that_are_elsewhere(tmp_path, monkeypatch):
    use_hub(monkeypatch, tmp_path / "hub", offline=True)
    written = init(tmp_path / "a.yaml", methods=["nft"], tasks=["pdebench/darcy_2d"])
    with pytest.raises(FileFaults, match="weights of swin_base: not on this machine"):
        read(written.path, Options(profile="paper"))


def test_names_follow_the_file_or_the_tasks(tmp_path):
    one = init(None, methods=["nft"], tasks=["pdebench/darcy_2d@hard"])
    assert (one.path.name, one.sweep) == ("darcy_2d_hard.yaml", "darcy_2d_hard")
    two = init(None, methods=["nft"], tasks=["pdebench/darcy_2d", "pdebench/advection_1d"])
    assert two.sweep == "pdebench"
    assert init(tmp_path / "my.yml", methods=["nft"], tasks=["pdebench/darcy_2d"]).sweep == "my"
    for name in ("My File.yaml", "x.txt", "x"):
        with pytest.raises(UsageError, match=r"NAME\.yaml"):
            init(tmp_path / name, methods=["nft"], tasks=["pdebench/darcy_2d"])


@pytest.mark.parametrize("name", ["2024", "true", "1e5"])
def test_a_name_that_yaml_would_read_as_another_value_is_quoted(tmp_path, command, name):
    written = init(tmp_path / f"{name}.yaml", methods=["nft"], tasks=["pdebench/darcy_2d"])
    assert written.sweep == name
    command("init", f"{name}.yaml", "--from", "mona_pdebench", "--replace")
    assert read(tmp_path / f"{name}.yaml", Options(profile="laptop")).name == name


def test_the_next_command_can_be_copied_whatever_the_path(tmp_path):
    (tmp_path / "my dir").mkdir()
    written = init(Path("my dir/a.yaml"), methods=["nft"], tasks=["pdebench/darcy_2d"])
    assert "next: sweeper plan 'my dir/a.yaml' --profile" in written.message


def test_no_file_is_overwritten_and_a_refused_one_does_not_stay(tmp_path, monkeypatch):
    path = tmp_path / "a.yaml"
    path.write_text("mine")
    with pytest.raises(UsageError, match=r"exists.* --tasks pdebench/darcy_2d --replace$"):
        init(path, methods=["nft"], tasks=["pdebench/darcy_2d"])
    assert path.read_text() == "mine"
    init(path, methods=["nft"], tasks=["pdebench/darcy_2d"], replace=True)
    assert (text := path.read_text()) != "mine"
    with pytest.raises(UsageError, match="is no folder"):
        init(tmp_path / "none" / "a.yaml", methods=["nft"], tasks=["pdebench/darcy_2d"])

    def refuse(file, options, **_):
        raise FileFaults([Fault(str(file), 1, "no")])

    monkeypatch.setattr(app, "read", refuse)
    with pytest.raises(FileFaults):
        init(tmp_path / "b.yaml", methods=["nft"], tasks=["pdebench/darcy_2d"])
    assert not (tmp_path / "b.yaml").exists()
    with pytest.raises(FileFaults):
        init(path, methods=["nft"], tasks=["pdebench/darcy_2d"], replace=True, minutes=5)
    assert path.read_text() == text
    path.write_bytes(b"name: caf\xe9\n")  # the user's own, in another encoding
    with pytest.raises(FileFaults):
        init(path, methods=["nft"], tasks=["pdebench/darcy_2d"], replace=True)
    assert path.read_bytes() == b"name: caf\xe9\n"


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        (["--methods", "orka", "--tasks", "pdebench/darcy_2d"], "Did you mean `orca`"),
        (["--methods", "orca", "--tasks", "pdebench/darcy2d"], "Did you mean `pdebench/darcy_2d"),
        (["--methods", ",", "--tasks", "pdebench/darcy_2d"], "at least one method"),
        (["--methods", "orca", "--tasks", "pdebench/darcy_2d", "--minutes", "0"], "above 0"),
        (["--methods", "orca", "--task-file", "none.task.yaml"], r"none\.task\.yaml"),
        (["--methods", "orca"], "which tasks"),
        (["--from", "mona_pdebenc"], "Did you mean `mona_pdebench`"),
        (["--from", "mona_pdebench", "--methods", "orca"], "without --methods"),
        (["a b.yaml", "--from", "mona_pdebench"], "a sweep file is NAME.yaml"),
        (["--tasks", "pdebench/darcy_2d"], "which methods"),
    ],
)
def test_what_cannot_be_a_file_is_refused_with_2_and_nothing_is_written(
    options, reason, tmp_path, command
):
    assert re.search(reason, command("init", *options, code=2).err)
    assert list(tmp_path.glob("*.yaml")) == []


def test_without_a_terminal_the_options_are_enough(tmp_path):
    done = CliRunner().invoke(
        cli, ["init", "--methods", "orca,nft", "--tasks", "pdebench/darcy_2d", "--json"]
    )
    assert done.exit_code == 0, done.output
    written = json.loads(done.stdout)
    assert written["methods"] == ["orca", "nft"]
    assert (tmp_path / "darcy_2d.yaml").is_file()


def test_on_a_terminal_three_questions_are_asked(tmp_path, monkeypatch):
    file = write_task(tmp_path / "data")
    monkeypatch.setattr(output, "can_ask", lambda as_json: True)
    answers = f"pdebench/darcy_2d, {file}\nnft, mona\n2\n"
    done = CliRunner().invoke(cli, ["init", "mine.yaml"], input=answers)
    assert done.exit_code == 0, done.output
    sweep = read(tmp_path / "mine.yaml", Options(profile="laptop"))
    assert (sweep.methods, sweep.tasks) == (("nft", "mona"), ("mine/wafer", "pdebench/darcy_2d"))
    asked = CliRunner().invoke(
        cli, ["init", "b.yaml", "--tasks", "pdebench/darcy_2d"], input="\n\n"
    )
    assert asked.exit_code == 0, asked.output
    assert read(tmp_path / "b.yaml", Options(profile="laptop")).methods == (
        "orca", "pare", "mona", "nft"
    )  # fmt: skip


@pytest.mark.parametrize("shipped", ["mona_pdebench", "freezing"])
def test_a_copy_of_a_shipped_file_is_the_same_sweep_of_another_name(shipped, tmp_path, command):
    written = command("init", "mine.yaml", "--from", shipped, "--json").json
    assert (written["path"], written["base"]) == ("mine.yaml", "base/pdebench.yaml")
    options = Options(profile="laptop")
    copied, source = (read(each, options) for each in (Path("mine.yaml"), located(Path(shipped))))
    assert (copied.name, copied.studies) == ("mine", source.studies)
    assert "  # " in (tmp_path / "mine.yaml").read_text()


def test_a_copy_replaces_no_file_unless_it_is_asked_to(tmp_path, command):
    command("init", "--from", "mona_pdebench")
    (tmp_path / "mona_pdebench.yaml").write_text("mine")
    assert (
        "--from mona_pdebench --replace" in command("init", "--from", "mona_pdebench", code=2).err
    )
    # Questions and sweeps extend other files of one name.
    assert "base/pdebench.yaml exists" in command("init", "--from", "freezing", code=2).err
    assert not (tmp_path / "freezing.yaml").exists()
    command("init", "--from", "freezing", "--replace")
    assert read(tmp_path / "freezing.yaml", Options(profile="laptop")).name == "freezing"
    assert (tmp_path / "mona_pdebench.yaml").read_text() == "mine"
    # `freezing` would become another sweep without a word.
    again = command("init", "--from", "mona_pdebench", "--replace", code=2).err
    assert "is a part of freezing.yaml: name another folder" in again

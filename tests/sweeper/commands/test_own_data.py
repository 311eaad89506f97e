"""`sweeper data` and `sweeper describe` over own tasks."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from sweeper.cli.main import run
from sweeper.commands.show_data import drawable, fonts_for
from tests.support.own_tasks import registry_restored

TASK = """\
name: mine/wafer
title: Wafer [bold]maps
kind: classification
input: {path: wafer.npz, key: x, layout: NCHW}
target: {key: y}
licence: CC-BY-4.0
"""


@pytest.fixture(autouse=True)
def home(here):
    write(60)
    Path("wafer.task.yaml").write_text(TASK)
    return here / "home"


def write(count: int) -> None:
    rng, names = np.random.default_rng(0), np.array(["bad $x$", "good"])
    x = rng.normal(size=(count, 2, 8, 6)).astype("f4")
    x[:, 1] = 3 + 2 * x[:, 1]
    np.savez("wafer.npz", x=x, y=names[np.arange(count) % 2])


@pytest.fixture
def command(command):
    return lambda *arguments, code=0: command(*arguments, "--json", code=code).json


def listed(command, *options: str) -> dict:
    tasks = {task["name"]: task for task in command("data", "list", *options)["tasks"]}
    return tasks["mine/wafer"]


def test_an_own_task_is_listed_before_and_after_its_import(command, home):
    before = listed(command, "--include", "wafer.task.yaml")
    assert before["samples"] == 0
    assert not before["here"]["official"]
    assert before["obtain"] == f"sweeper data import {Path.cwd()}/wafer.task.yaml"
    told = command("data", "import", "wafer.task.yaml")
    assert told["folder"] == str(home / "data" / "mine" / "wafer" / "official")
    after = listed(command)
    assert (after["samples"], after["shape"], after["licence"]) == (60, [2, 8, 6], "CC-BY-4.0")
    assert after["here"]["official"]


@pytest.mark.slow
def test_an_own_task_is_audited_once_it_is_imported(command, capsys):
    message = command("audit", "wafer.task.yaml", code=2)["error"]["message"]
    assert f"To import them: sweeper data import {Path.cwd()}/wafer.task.yaml" in message
    told = command("data", "import", "wafer.task.yaml")
    assert told["message"].endswith("before a network is trained: sweeper audit mine/wafer")
    found = command("audit", "mine/wafer")
    assert found["data_source"] == "official"
    assert found["balance"]["least"] > 0.3
    refused = {row["name"]: row["reason"] for row in found["predictors"] if row["test"] is None}
    assert refused["coarse_solver"] == "no solver is known for the outputs, a classification task."
    assert run(["audit", "wafer.task.yaml"]) == 0
    assert "The test split shows differences of" in " ".join(capsys.readouterr().out.split())


def test_a_task_is_imported_by_its_name_too(command, home):
    (home / "tasks").mkdir(parents=True)
    for name in ("wafer.task.yaml", "wafer.npz"):
        Path(name).rename(home / "tasks" / name)
    assert command("data", "import", "mine/wafer")["task"] == "mine/wafer"
    assert command("data", "verify", "mine/wafer")["sets"][0]["samples"]["train"] > 0


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["wafer.task.yaml", "wafer.npz"], "Leave out wafer.npz"),
        (["wafer.task.yaml", "--seed", "3"], "`splits.seed` of its task file"),
        (["mine/wafer"], "A task of yours is found by its file"),
        (["wafr.task.yaml"], "Did you mean `wafer.task.yaml`?"),
        (["nasbench360/ecg"], "name its published files"),
        (["nasbench360/ecgg", "x"], "There is no task"),
        (["cifar10"], "name its published files"),
    ],
)
def test_arguments_that_contradict_each_other_are_refused(command, arguments, expected, home):
    message = command("data", "import", *arguments, code=2)["error"]["message"]
    assert expected in message
    assert not (home / "data").exists()


@pytest.mark.parametrize(
    ("text", "line", "expected"),
    [
        (TASK.replace("key: x", "key: z"), 4, "z"),
        (TASK.replace("NCHW", "NCL"), 4, "layout"),
        (TASK.replace("wafer.npz", "wafers.npz"), 4, "wafers.npz"),
        (TASK.replace("{key: y}", "{key: q}"), 5, "q"),
        (TASK + "metrik: x\n", 7, "Did you mean `metric`?"),
    ],
)
def test_a_fault_of_the_data_names_the_line_of_the_task_file(command, text, line, expected, home):
    Path("wafer.task.yaml").write_text(text)
    (fault,) = command("data", "import", "wafer.task.yaml", code=2)["error"]["faults"]
    assert Path(fault["where"]).name == "wafer.task.yaml"
    assert fault["line"] == line
    assert expected in fault["message"]
    assert not list((home / "data").glob("*/*/official"))


def test_other_data_replace_the_former_ones_only_if_asked_for(command, home):
    command("data", "import", "wafer.task.yaml")
    command("data", "import", "wafer.task.yaml")  # the same again is no fault
    write(80)
    message = command("data", "import", "wafer.task.yaml", code=2)["error"]["message"]
    assert f"sweeper data import {Path.cwd()}/wafer.task.yaml --replace" in message
    assert listed(command)["samples"] == 60
    command("data", "import", "wafer.task.yaml", "--replace")
    assert listed(command)["samples"] == 80


def test_data_of_another_definition_are_neither_shown_nor_verified(command):
    command("data", "import", "wafer.task.yaml")
    Path("wafer.task.yaml").write_text(TASK + "splits: {seed: 1}\n")
    for name in ("show", "verify"):
        message = command("data", name, "wafer.task.yaml", code=2)["error"]["message"]
        assert "another definition" in message
        assert f"sweeper data import {Path.cwd()}/wafer.task.yaml --replace" in message
    command("data", "import", "wafer.task.yaml", "--replace")
    command("data", "verify", "wafer.task.yaml")


SWEEP = """\
name: x
methods: [nft]
backbones: {2d: dinov2_small}
parameters: {refine.momentum: {values: [0.8, 0.9]}}
tasks: [mine/wafer]
"""


def test_a_task_by_its_name_alone_tells_of_its_file(command):
    with registry_restored():
        command("data", "import", "wafer.task.yaml")
    file = Path.cwd() / "wafer.task.yaml"
    Path("x.yaml").write_text(SWEEP)
    (fault,) = command("validate", "x.yaml", code=2)["error"]["faults"]
    assert fault["line"] == 5
    assert f"`include: [{file}]`, or add --include {file} to the command" in fault["message"]
    assert command("data", "show", "mine/wafer")["notes"] == []
    file.write_text(TASK.replace("Wafer", "New") + "splits: {seed: 1}\n")
    remark = f"its task file {file} has changed since the import. To import it again: sweeper data"
    assert command("data", "show", "mine/wafer")["notes"][-1].startswith(remark)
    assert remark in command("data", "verify", "mine/wafer")["message"]
    file.write_text(TASK.replace("Wafer", "New"))  # a title changes no data
    assert command("data", "show", "mine/wafer")["notes"] == []


def test_what_is_shown_is_what_the_files_hold(command, home):
    command("data", "import", "wafer.task.yaml")
    shown = command("data", "show", "mine/wafer", "-o", str(home / "wafer.png"))
    assert shown["input_shape"] == [2, 8, 6]
    assert [each["name"] for each in shown["classes"]] == ["bad $x$", "good"]
    assert sum(sum(each["samples"].values()) for each in shown["classes"]) == 60
    first, second = shown["inputs"]
    assert first["mean"] == pytest.approx(0, abs=0.2)
    assert second["mean"] == pytest.approx(3, abs=0.3)  # in the unit of the files
    assert second["std"] == pytest.approx(2, abs=0.3)
    assert first["least"] < first["mean"] < first["greatest"]
    assert shown["baselines"] == {"majority": pytest.approx(0.5, abs=0.1)}
    assert shown["picture"] == str(home / "wafer.png")
    with Image.open(shown["picture"]) as image:
        assert image.format == "PNG"
        assert min(image.size) > 100
    assert command("data", "verify", "mine/wafer")["sets"]


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["dense", "regression", "multilabel"])
@pytest.mark.parametrize("layout", ["NCL", "NCHW"])
def test_every_kind_is_shown(command, kind, layout):
    rng, grid = np.random.default_rng(0), (16,) if layout == "NCL" else (8, 8)
    y = {
        "dense": rng.normal(size=(40, 1, *grid)),
        "regression": rng.normal(size=(40, 2)),
        "multilabel": rng.integers(0, 2, (40, 3)),
    }[kind]
    np.savez("wafer.npz", x=rng.normal(size=(40, 3, *grid)).astype("f4"), y=y.astype("f4"))
    text = TASK.replace("classification", kind).replace("NCHW", layout)
    Path("wafer.task.yaml").write_text(text)
    command("data", "import", "wafer.task.yaml")
    shown = command("data", "show", "wafer.task.yaml", "-o", "here.png")
    assert Path("here.png").stat().st_size > 1000
    assert len(shown["inputs"]) == 3
    assert (len(shown["classes"]), len(shown["outputs"])) == {
        "dense": (0, 1), "regression": (0, 2), "multilabel": (3, 0)
    }[kind]  # fmt: skip


@pytest.mark.slow
def test_a_task_of_the_package_is_shown(command, capsys):
    task = "pdebench/advection_1d@hard"
    command("data", "generate", task, "--samples", "16", "--resolution", "32")
    shown = command("data", "show", task, "-o", "picture.png")
    assert shown["input_shape"] == [1, 32]
    assert len(shown["outputs"]) == 1
    assert run(["data", "show", task, "-o", "picture.png"]) == 0
    out = capsys.readouterr().out
    assert "picture: picture.png" in out
    assert "trivial baselines" in out


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["mine/wafer"], "There is no task"),
        (["wafer.task.yaml"], "To have some: sweeper data import"),
        (["cifar10"], "There is no task `cifar10`"),
        (["pdebench/darcy_2d"], "To have some: sweeper data generate"),
    ],
)
def test_data_that_are_not_here_are_not_shown(command, arguments, expected):
    assert expected in command("data", "show", *arguments, code=2)["error"]["message"]


def test_a_picture_has_a_place_and_an_ending(command):
    command("data", "import", "wafer.task.yaml")
    for place in ("picture.jpg", "nowhere/picture.png"):
        message = command("data", "show", "mine/wafer", "-o", place, code=2)["error"]["message"]
        assert place in message


def test_no_picture_is_written_into_the_store(command, home, capsys):
    command("data", "import", "wafer.task.yaml")
    assert command("data", "show", "mine/wafer")["picture"] is None
    assert not list(home.rglob("*.png"))
    assert run(["data", "show", "mine/wafer"]) == 0
    out = capsys.readouterr().out
    assert " kB" in out
    assert "0 MB" not in out
    command("data", "delete", "mine/wafer", "--yes")
    assert not list((home / "data" / "mine" / "wafer").glob("[!.]*"))


@pytest.mark.filterwarnings("error")
def test_classes_in_any_script_are_drawn(command):
    with np.load("wafer.npz") as stored:
        x, y = stored["x"], stored["y"]
    np.savez("wafer.npz", x=x, y=np.where(y == y[0], "良品 (ok)", "weiß"))
    command("data", "import", "wafer.task.yaml")
    command("data", "show", "mine/wafer", "-o", "wafer.png")
    assert Path("wafer.png").stat().st_size > 1000
    names, known = fonts_for("weiß")
    assert names == ["DejaVu Sans"]
    assert drawable("良 weiß $", known) == r"\u826f weiß \$"


@pytest.mark.slow
def test_an_import_is_one_line_where_there_is_no_terminal(capsys):
    assert run(["data", "import", "wafer.task.yaml"]) == 0
    (line,) = [each for each in capsys.readouterr().err.splitlines() if "importing" in each]
    assert line == "importing mine/wafer: 3 of 3"


def test_an_own_task_is_described_in_text(capsys):
    assert run(["describe", "mine/wafer", "--include", "wafer.task.yaml"]) == 0
    out = capsys.readouterr().out
    assert "Wafer [bold]maps" in out
    assert "data here: to be imported" in out
    assert "licence: CC-BY-4.0" in out
    assert run(["data", "import", "wafer.task.yaml"]) == 0
    assert run(["data", "show", "mine/wafer"]) == 0
    out = capsys.readouterr().out
    assert "2 x 8 x 6 -> label" in out
    assert "bad $x$" in out

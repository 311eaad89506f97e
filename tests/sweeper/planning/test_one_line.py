"""`sweeper run`: the search in one line, and the words of the command that it makes."""

import json
import sys
from pathlib import Path

import numpy as np
import pytest

from sweeper.errors import Fault, FileFaults, SweeperError, UsageError
from sweeper.planning.catalog import catalog
from sweeper.planning.one_line import (
    integers,
    log,
    log_integers,
    read_search,
    sweep_file,
    uniform,
    words_of,
)
from sweeper.spec.distributions import Float, Int
from tests.support.sweep_files import load_sweep


def test_a_search_in_one_line():
    found = read_search(
        ["lr=log(1e-5,1e-1)", "width=log_integers(8, 64)", "p=uniform(0,1)", "k=integers(1,3)",
         "act=[relu,tanh]", "n=3"]
    )  # fmt: skip
    assert found == {
        "lr": log(1e-5, 1e-1),
        "width": log_integers(8, 64),
        "p": uniform(0, 1),
        "k": integers(1, 3),
        "act": ["relu", "tanh"],
        "n": 3,
    }


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("lr", "write NAME=log(LOW,HIGH)"),
        ("=3", "write NAME=log(LOW,HIGH)"),
        ("lr=log(1e-5)", "log takes two numbers"),
        ("lr=lgo(1e-5,1e-1)", "write NAME=log(LOW,HIGH)"),
        ("lr=log(a,b)", "log takes two numbers"),
        ("lr=[", "--search"),
    ],
)
def test_a_search_that_cannot_be_read(text, message):
    with pytest.raises(SweeperError, match="--search") as caught:
        read_search([text])
    assert message in str(caught.value)


def test_a_parameter_has_one_option():
    with pytest.raises(SweeperError, match=r"--search .lr. is given twice"):
        read_search(["lr=[1,2]", "lr=5"])


@pytest.mark.parametrize(
    "values", [np.array([1, 2]), range(1, 3), (np.int64(1), np.float32(2)), [Path("1"), 2]]
)
def test_choices_are_any_sequence_of_plain_values(values):
    with sweep_file(
        "训练" if isinstance(values, range) else "a" * 70, {}, {"a": values}, 1
    ) as path:
        written = json.loads(path.read_text())
    assert written["parameters"]["a"]["values"] in ([1, 2], ["1", 2])
    assert written["name"] == ("program" if isinstance(values, range) else "a" * 63)


@pytest.mark.parametrize("value", [float("inf"), object(), {1, 2}])
def test_what_no_sweep_file_has_is_told_with_the_name(value):
    with (
        pytest.raises(UsageError, match=r"^mine: .* give numbers, texts"),
        sweep_file("mine", {}, {"a": value}, 1),
    ):
        pass


def test_a_fault_names_the_sweep_and_not_a_file_that_nobody_has_written():
    with pytest.raises(FileFaults) as caught, sweep_file("mine", {}, {}, 1) as path:
        raise FileFaults([Fault(str(path), 1, "a"), Fault("x.py", 2, "b")])
    assert str(caught.value) == "mine: a\nx.py:2: b"


def test_parameters_become_options_unless_a_word_has_them(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("a.py", "b.sh"):
        Path(name).touch()
    assert words_of(Path("a.py"), ["--data", "x", "--rate={lr}"], ["lr", "n"]) == [
        *(sys.executable, "a.py", "--data", "x", "--rate={lr}"),
        *("--n", "{n}"),
    ]
    assert words_of(Path("sh"), [], ["n"]) == ["sh", "--n", "{n}"]  # found by PATH
    assert words_of(Path("b.sh"), [], []) == [str(tmp_path / "b.sh")]


@pytest.mark.parametrize("script", ["absent.py", "absent.sh", "absent"])
def test_a_script_that_is_not_there_is_told_at_once(script, tmp_path, monkeypatch, command):
    monkeypatch.chdir(tmp_path)
    told = command("run", script, "--search", "lr=log(1e-5,1e-1)", "--metric", "loss", code=2).err
    assert f"{script}: there is no such file or program." in told


def test_the_file_of_a_line_is_gone_afterwards():
    with sweep_file("My Script", {"metric": "loss"}, {"lr": log(1, 8), "n": 3}, 4) as path:
        found = json.loads(path.read_text())
    assert found["name"] == "my-script"
    assert found["fixed"] == {"n": 3}
    assert not path.exists()


@pytest.mark.parametrize(
    ("make", "kind"), [(log, Float), (uniform, Float), (log_integers, Int), (integers, Int)]
)
def test_a_range_is_of_real_numbers_unless_it_says_integers(make, kind):
    program = {"command": ["train", "{x}"], "metric": "loss"}
    with sweep_file("mine", program, {"x": make(1, 8)}, 4) as path:
        (study,) = load_sweep(path, catalog()).studies
    (found,) = study.parameters.values()
    assert isinstance(found, kind)
    assert (found.low, found.high, found.log) == (1, 8, make in (log, log_integers))


def test_the_metric_has_to_be_named(command):
    assert "--metric is missing" in command("run", "a.py", code=2).err
    sent = command("run", "a.py", "--metric", "x", "--address", "http://head:8265", code=2).err
    assert "a job needs a sweep file" in sent

from pathlib import Path

import pytest

from sweeper.errors import FileFaults
from sweeper.spec.reader import parse
from sweeper.spec.task_files import TaskFiles

TASK = """\
name: mine/wafer
kind: classification
input: {path: wafer.npz, key: x, layout: NCHW}
target: {key: y}
"""


@pytest.fixture(autouse=True)
def _in(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def write(text: str = TASK, name: str = "wafer.task.yaml") -> Path:
    path = Path(name)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


def of_sweep(text: str, where: str = "sweep.yaml") -> list[str]:
    files = TaskFiles()
    document = parse(text, where)
    files.add_embedded(document)
    files.add_included(document)
    return list(files.stop())


def faults(text: str) -> list[str]:
    files = TaskFiles()
    files.add_file(write(text))
    with pytest.raises(FileFaults) as caught:
        files.stop()
    return [str(fault) for fault in caught.value.faults]


def test_files_and_folders_are_included_relative_to_the_sweep_file():
    write()
    write(TASK.replace("wafer", "one"), "tasks/one.task.yaml")
    write(TASK.replace("wafer", "two"), "tasks/two.task.yaml")
    write("no: task", "tasks/other.yaml")
    Path("runs").mkdir()
    both = "include: [wafer.task.yaml, tasks]"
    assert of_sweep(both) == ["mine/wafer", "mine/one", "mine/two"]
    assert of_sweep("include: ../tasks/", "runs/sweep.yaml") == ["mine/one", "mine/two"]
    assert of_sweep("include: null") == []


def test_a_file_that_is_found_twice_is_one_file():
    write(name="tasks/wafer.task.yaml")
    assert of_sweep("include: [tasks, tasks/wafer.task.yaml, ./tasks/]") == ["mine/wafer"]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a: 1\ninclude: [here, nowhere]", "sweep.yaml:2: `include: nowhere`: there is no such"),
        ("include: empty", "sweep.yaml:1: `include: empty`: no file *.task.yaml is in this"),
        ("include: {a: 1}", "sweep.yaml:1: `include` must be paths of task files"),
        ("include: [1]", "sweep.yaml:1: `include` must be paths of task files"),
        ("include: ''", "sweep.yaml:1: `include` must be paths of task files"),
        ("task_files: [a]", "sweep.yaml:1: `task_files` must map names"),
        ("task_files: {mine/wafer: 1}", "`mine/wafer` must be a mapping of the keys of a task"),
        ("task_files:\n  mine/wafer: {kind: dense}", "sweep.yaml:2: missing key `input`."),
        ('include: "a\\0b"', "include: a"),
    ],
)
def test_an_include_that_leads_nowhere_is_a_fault_of_its_line(text, expected):
    write(name="here/wafer.task.yaml")
    Path("empty").mkdir()
    with pytest.raises(FileFaults) as caught:
        of_sweep(text)
    assert expected in str(caught.value)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (TASK + "metrik: nrmse\n", ":5: unknown key `metrik`. Did you mean `metric`?"),
        (TASK.replace("key: x", "kye: x"), ":3: unknown key `input.kye`. Did you"),
        (TASK.replace("kind: classification", "kind: clasification"), ":2: `kind` must be"),
        (TASK.replace("kind: classification\n", ""), ":1: missing key `kind`."),
        (TASK.replace("NCHW", "NCWH"), ":3: `input.layout` must be"),
        (TASK.replace("{path: wafer.npz, key: x, layout: NCHW}", "{path: images}"),
         ":3: say `input.layout`"),
        (TASK + "metric: nrmse\n", ":5: `metric: nrmse` is not one of classification tasks"),
        (TASK + "splits: {train: a.npz}\n", ":3: `input.path` and `splits.train` name the inputs"),
        (TASK + "splits: {val: [1]}\n", ":5: `splits.val"),
        (TASK + "splits: {train: 0.7}\n", ":5: `splits.train` must name files: the share that"),
        (TASK.replace("mine/wafer", "wafer"), ":1: `name` must be BENCHMARK/NAME"),
        (TASK.replace("mine/wafer", "pdebench/wafer"), ":1: `name: pdebench/wafer`: `pdebench`"),
        (TASK + "recipe: {lr: 3, epoks: 1}\n", ":5: unknown key `recipe.epoks`. Did you mean "
         "`recipe.epochs`?"),
        (TASK + "recipe: {lr: 30}\n", ":5: `recipe.lr` must be less than 10"),
        (TASK + "kind: dense\n", ":5: duplicate key `kind` (first at line 2)"),
        (TASK + "title: *x\n", ":5: aliases"),
        (TASK + "citation: '${HOME}'\n", ":5: `citation`: ${env:NAME} is read"),
        ("", ": is empty; a task file needs a name, a kind and an input."),
        ("- a\n", ":1: expected a mapping"),
    ],
)  # fmt: skip
def test_a_faulty_task_file_is_a_fault_with_its_line(text, expected):
    found = faults(text)
    assert any(fault.startswith("wafer.task.yaml" + expected) for fault in found), found


def test_all_faults_of_all_files_are_found_at_once():
    write(TASK.replace("NCHW", "NCWH") + "metrik: 1\n", "tasks/a.task.yaml")
    write("kind: dense\n", "tasks/b.task.yaml")
    with pytest.raises(FileFaults) as caught:
        of_sweep("include: [tasks, nowhere]")
    places = {(fault.where, fault.line) for fault in caught.value.faults}
    assert {("tasks/a.task.yaml", 3), ("tasks/a.task.yaml", 5), ("sweep.yaml", 1)} <= places
    assert "tasks/b.task.yaml" in {where for where, _ in places}


def test_two_files_of_one_task_are_a_fault_with_both_places():
    write(name="a/wafer.task.yaml")
    write("# a copy\n" + TASK, name="b/wafer.task.yaml")
    with pytest.raises(FileFaults, match=r"b/wafer\.task\.yaml:2: .* at a/wafer\.task\.yaml:1 too"):
        of_sweep("include: [a, b]")


def test_a_sweep_that_holds_a_definition_may_meet_its_file_but_no_other_one():
    write()
    inside = "include: [wafer.task.yaml]\ntask_files:\n  mine/wafer:\n    "
    same = inside + TASK.replace("name: mine/wafer\n", "").replace("\n", "\n    ")
    assert of_sweep(same) == ["mine/wafer"]
    with pytest.raises(FileFaults, match=r"wafer\.task\.yaml:1: .* at sweep\.yaml:3 too"):
        of_sweep(same.replace("NCHW", "NHWC"))

"""`sweeper data` lists, imports, makes and verifies; `sweeper plan` says what is to be imported."""

import errno
import json
import os
import sqlite3
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest

from sweeper.cli.main import run
from sweeper.commands.data import delete, deletion, dependents
from sweeper.errors import UsageError
from sweeper.planning.catalog import as_usage_errors
from tests.support.command import ROOT
from tests.support.published.nasbench360 import WRITERS, write_ninapro
from tests.support.trials import record
from trainables.sources.registry import PROXIES
from trainables.tasks.registry import TASKS
from trainables.tasks.store.manifest import sha256

GESTURES, MADE = "nasbench360/ninapro", "pdebench/advection_1d@hard"


@pytest.fixture(autouse=True)
def home(here) -> Path:
    return here / "home"


@pytest.fixture
def command(command):
    """Run a command that prints one JSON object; return it."""

    def of_json(*arguments: str, code: int = 0) -> dict:
        told = command(*arguments, "--json", code=code).json
        assert told["command"] == " ".join(arguments[:2])
        return told

    return of_json


def write_gestures(folder: Path) -> list[str]:
    """Write NinaPro as published."""
    return sorted(map(str, write_ninapro(folder, val=18, test=18).glob("*.npy")))


def test_every_task_and_source_is_listed_with_the_way_to_get_it(command):
    told = command("data", "list")
    tasks = {task["name"]: task for task in told["tasks"]}
    assert list(tasks) == list(TASKS)
    assert [proxy["name"] for proxy in told["proxies"]] == list(PROXIES)
    assert tasks[MADE]["obtain"] == f"sweeper data generate {MADE}"
    ecg = tasks["nasbench360/ecg"]
    assert ecg["obtain"] == "sweeper data import nasbench360/ecg challenge2017.pkl"
    assert ecg["source"].startswith("https://")
    assert (ecg["title"], ecg["metric"]) == ("ECG", TASKS["nasbench360/ecg"].metric)
    assert (ecg["samples"], ecg["shape"]) == (330_000, [1, 1000])
    assert (ecg["output_shape"], ecg["bytes"]) == ([], 330_000 * (4 * 1000 + 8))
    assert ecg["published"]["megabytes"] == 150
    assert ecg["here"] == {"official": False, "generated": []}
    fetched = "sweeper data import pdebench/darcy_2d 2D_DarcyFlow_beta0.1_Train.hdf5"
    darcy = tasks["pdebench/darcy_2d"]
    assert (darcy["obtain"], darcy["import"]) == (
        "sweeper data generate pdebench/darcy_2d",
        fetched,
    )
    assert darcy["published"]["address"].endswith(
        "darus.uni-stuttgart.de/api/access/datafile/133218"
    )
    assert (darcy["licence"], darcy["published"]["licence"]) == ("Apache-2.0", "CC BY 4.0")
    assert (tasks[MADE]["import"], tasks[MADE]["published"]) == (None, None)
    assert all(item["licence"] for kind in ("tasks", "proxies") for item in told[kind])
    present = {proxy["name"] for proxy in told["proxies"] if proxy["present"]}
    assert present == {
        "digits", "digits_ink", "digits_shuffled", "noise", "noise_words", "python_source",
        "python_source_shuffled",
    }  # fmt: skip


def test_people_get_tables_that_hold_every_name(capsys):
    assert run(["data", "list"]) == 0
    printed = capsys.readouterr().out
    assert all(name in printed for name in (*TASKS, *PROXIES))
    assert (
        "fetch https://www.cs.toronto.edu/~kriz/cifar-100-python.tar.gz (169 MB, CC BY 4.0)\n"
        in printed
    )
    assert "sweeper data import nasbench360/cifar100 cifar-100-python.tar.gz\n" in printed


@pytest.mark.slow
def test_what_is_imported_is_there_whole_and_verified(command, home, tmp_path):
    files = write_gestures(tmp_path)
    folder = Path(command("data", "import", GESTURES, *files)["folder"])
    assert folder == home / "data" / GESTURES / "official"
    tasks = {task["name"]: task for task in command("data", "list")["tasks"]}
    assert tasks[GESTURES]["here"] == {"official": True, "generated": []}
    told = command("data", "verify", GESTURES)
    (found,) = told["sets"]
    assert (found["set"], found["folder"], found["faults"]) == ("official", str(folder), [])
    assert found["samples"] == {"train": 90, "val": 18, "test": 18}
    assert found["nearest"]["test"]["looked_at"] == 18

    content = bytearray((folder / "test.arrow").read_bytes())
    content[len(content) // 2] ^= 1
    (folder / "test.arrow").write_bytes(content)
    size = (folder / "val.arrow").stat().st_size
    (folder / "val.arrow").write_bytes(bytes(size))
    error = command("data", "verify", GESTURES, code=2)["error"]
    assert error["message"].startswith(f"{folder / 'val.arrow'}: its sha256 differs")
    assert [fault["where"] for fault in error["faults"]] == [
        str(folder / f"{split}.arrow") for split in ("val", "test")
    ]


def test_a_published_file_of_a_task_with_a_generator_is_imported_too(command, capsys, tmp_path):
    from tests.support.published.pdebench import write

    name = "pdebench/advection_1d"
    file = str(write(tmp_path, "advection_1d", speed=0.2))
    told = command("data", "import", name, file)
    assert any("half the stated speed" in note for note in told["notes"])
    command("data", "generate", name, "--samples", "16", "--resolution", "16")
    tasks = {task["name"]: task for task in command("data", "list")["tasks"]}
    assert tasks[name]["here"]["official"]
    assert len(tasks[name]["here"]["generated"]) == 1

    assert run(["data", "list"]) == 0
    assert "official, 1 generated" in " ".join(capsys.readouterr().out.split())
    assert run(["data", "verify", name]) == 0
    told = " ".join(capsys.readouterr().out.split())
    assert told.startswith(f"{name}: 2 data sets, every byte as their manifests say")
    assert "official: 1D_Advection_Sols_beta0.4.hdf5: its fields move at 0.2" in told


def test_what_a_generator_made_is_there_and_verified(command, home):
    arguments = ("--samples", "16", "--resolution", "16", "--seed", "3")
    folder = command("data", "generate", MADE, *arguments)["folder"]
    assert command("data", "generate", MADE, *arguments)["folder"] == folder
    assert command("data", "generate", MADE, *arguments[:-1], "4")["folder"] != folder
    sets = command("data", "verify", MADE)["sets"]
    assert folder in [found["folder"] for found in sets]
    assert len(sets) == 2


def test_a_variant_is_an_option_or_a_part_of_the_name(command, home):
    published = MADE.removesuffix("@hard")
    size = ("--samples", "16", "--resolution", "16")
    named = command("data", "generate", MADE, *size)
    assert command("data", "generate", published, "--variant", "hard", *size) == named
    assert command("data", "generate", MADE, "--variant", "hard", *size) == named
    assert named["task"] == MADE
    compat = command("data", "generate", published, "--variant", "compat", *size)
    assert compat == command("data", "generate", published, *size)
    assert compat["task"] == published


def test_orca_s_frames_are_a_variant_with_a_file_and_a_generator(command, home):
    published = "pdebench/diffusion_reaction_1d"
    tasks = {task["name"]: task for task in command("data", "list")["tasks"]}
    listed, plain = tasks[f"{published}@orca"], tasks[published]
    assert listed["obtain"] == f"sweeper data generate {published}@orca"
    assert listed["import"] == f"sweeper data import {published}@orca ReacDiff_Nu0.5_Rho1.0.hdf5"
    assert listed["published"] == plain["published"]
    assert listed["protocol"] != plain["protocol"]

    size = ("--samples", "16", "--resolution", "16")
    made = command("data", "generate", published, "--variant", "orca", *size)
    assert made["task"] == f"{published}@orca"
    assert made == command("data", "generate", f"{published}@orca", *size)
    assert Path(made["folder"]).parent == home / "data" / f"{published}@orca"
    assert command("data", "generate", published, *size)["folder"] != made["folder"]
    (found,) = command("data", "verify", f"{published}@orca")["sets"]
    assert found["faults"] == []
    for refused in (("pdebench/advection_1d", "--variant", "orca"), (f"{published}@hard@orca",)):
        told = command("data", "generate", *refused, *size, code=2)["error"]["message"]
        assert "There is no task `pdebench/" in told


@pytest.mark.slow
def test_workers_are_told_on_the_command_line_and_change_no_byte(command, home, monkeypatch):
    arguments = ("data", "generate", MADE, "--samples", "16", "--resolution", "16")
    hashes = []
    for workers in ("1", "2"):
        monkeypatch.setenv("SWEEPER_HOME", str(home / workers))
        hashes.append(sha256(Path(command(*arguments, "--workers", workers)["folder"])))
    assert hashes[0] == hashes[1]


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("generate", MADE, "--variant", "compat"), "--variant compat another: leave one out"),
        (("import", GESTURES, "no.npy"), "no.npy: there is no such file or folder."),
        (("import", MADE, "."), f"{MADE}: this variant is ours, and no official file exists"),
        (("import", "ghost", "."), "There is no task `ghost`. Known: "),
        (("generate", GESTURES), f"sweeper data import {GESTURES} "),
        (("generate", MADE, "--resolution", "4"), "`data.resolution` must be at least 8, but"),
        (("generate", "ghost"), "There is no task `ghost`"),
        (("verify", GESTURES), f"To have some: sweeper data import {GESTURES} "),
        (("verify", MADE), f"To have some: sweeper data generate {MADE}"),
        (("verify", "ghost"), "There is no task `ghost`"),
    ],
)
def test_what_cannot_be_done_is_refused_with_the_way_out(command, home, arguments, told):
    assert told in command("data", *arguments, code=2)["error"]["message"]
    assert not list(home.rglob("manifest.json"))


def begin(name: str, task: str, *, state: str = "stopped") -> None:
    """Leave a sweep of one task in ./sweeps."""
    from sweeper.planning.sweep_folder import folder_of, open_ledger

    folder_of(name).mkdir(parents=True)
    with closing(open_ledger(folder_of(name))) as ledger:
        resolved = {
            "tasks": [task],
            "proxies": {"1d": "python_source", "2d": "cifar10"},
            "parameters": {"proxy": {"values": ["cifar10", "voc"]}},
            "program": {"floor": {"small": "pdebench/burgers_1d", "large": 0.5}},
        }
        ledger.create(record(name, resolved=resolved))
        if state == "stopped":
            ledger.end("stopped")


def test_other_files_replace_former_ones_and_what_depends_on_them_is_said(command, home, tmp_path):
    files = write_gestures(tmp_path)
    folder = Path(command("data", "import", GESTURES, *files)["folder"])
    begin("mine", GESTURES)
    begin("other", "nasbench360/ecg")
    assert command("data", "import", GESTURES, *files, "--replace")["notes"] == []
    np.save(files[-1], np.load(files[-1])[::-1].copy())
    message = command("data", "import", GESTURES, *files, code=2)["error"]["message"]
    assert "other files were imported before" in message
    assert f"sweeper data import {GESTURES} {' '.join(map(str, files))} --replace" in message
    (note,) = command("data", "import", GESTURES, *files, "--replace")["notes"]
    assert note == (
        "Sweeps in ./sweeps that began on the former data, and cannot be resumed: mine (stopped)."
    )
    os.truncate(files[-1], 5000)
    before = sha256(folder)
    message = command("data", "import", GESTURES, *files, "--replace", code=2)["error"]["message"]
    assert message.startswith(f"{files[-1]}: it is no .npy file (it was cut short: ")
    assert sha256(folder) == before


def test_data_are_deleted_with_what_they_free_and_what_read_them(
    command, home, tmp_path, monkeypatch, capsys
):
    folder = Path(command("data", "import", GESTURES, *write_gestures(tmp_path))["folder"])
    size = sum(path.stat().st_size for path in folder.iterdir())
    begin("mine", GESTURES)
    asked: list[str] = []
    error = command("data", "delete", GESTURES, code=2)["error"]["message"]
    assert f"{GESTURES}: official, 426.9 kB, in {folder.parent}." in error
    assert "read it, and could not be resumed: mine (stopped)" in error
    assert error.endswith("Nobody can be asked here: add --yes.")
    assert folder.is_dir()
    monkeypatch.setattr("sys.stdin.isatty", lambda: True, raising=False)
    monkeypatch.setattr("typer.confirm", lambda text, **_: asked.append(text))
    assert run(["data", "delete", GESTURES]) == 0
    assert asked[0].endswith("mine (stopped).\nDelete it?")
    assert capsys.readouterr().out == "Nothing was deleted.\n"
    assert folder.is_dir()
    done = command("data", "delete", GESTURES, "--yes")
    assert (done["bytes"], done["sweeps"], done["folders"]) == (size, ["mine"], [str(folder)])
    assert [path.name for path in folder.parent.iterdir()] == [".official.lock"]
    assert (
        "there is no data of it" in command("data", "delete", GESTURES, code=2)["error"]["message"]
    )
    for name, told in (
        ("digits", "it comes with a package"),
        ("ghost", "There is no task `ghost`"),
    ):
        assert told in command("data", "delete", name, "--yes", code=2)["error"]["message"]


def test_data_that_a_sweep_runs_on_are_neither_deleted_nor_replaced(
    command, home, tmp_path, monkeypatch
):
    files = write_gestures(tmp_path)
    folder = Path(command("data", "import", GESTURES, *files)["folder"])
    begin("mine", GESTURES)
    monkeypatch.setattr("sweeper.planning.sweep_folder.living_state", lambda *_: "running")
    for words in (("delete", GESTURES, "--yes"), ("import", GESTURES, *files, "--replace")):
        error = command("data", *words, code=2)["error"]["message"]
        assert error.startswith(f"{GESTURES}: sweep mine is running on it.")
    assert command("data", "verify", GESTURES)["sets"][0]["folder"] == str(folder)


def test_data_on_which_a_sweep_began_while_somebody_was_asked_are_not_deleted(
    command, home, tmp_path
):
    from sweeper.planning.sweep_folder import folder_of, open_ledger

    folder = Path(command("data", "import", GESTURES, *write_gestures(tmp_path))["folder"])
    planned = deletion(GESTURES)
    begin("mine", GESTURES)
    refused = pytest.raises(UsageError, match="sweep mine is running on it")
    with closing(open_ledger(folder_of("mine"))) as ledger, ledger.hold(), refused:
        delete(planned)
    assert folder.is_dir()
    assert delete(planned).sweeps == ("mine",)


def test_a_sweep_reads_its_tasks_its_sources_and_those_that_it_searches(home):
    begin("mine", GESTURES)
    for name in (GESTURES, "python_source", "cifar10", "voc", "pdebench/burgers_1d"):
        assert list(dependents(name)) == ["mine"]
    assert dependents("tiny_imagenet") == dependents("nasbench360/ecg") == {}
    # A damaged row elsewhere in the ledger does not hide that the sweep reads its data.
    with closing(sqlite3.connect(home.parent / "sweeps" / "mine" / "ledger.db")) as ledger:
        ledger.execute("update events set kind = 'other'")
        ledger.commit()
    assert list(dependents(GESTURES)) == ["mine"]


def test_a_source_of_a_package_is_not_asked_for_files(command):
    error = command("data", "import", "digits", code=2)["error"]["message"]
    assert error.startswith("digits: there is nothing to import. It ships with scikit-learn")


def test_an_end_of_file_in_a_library_is_no_interruption(monkeypatch):
    def fail(include: object) -> None:
        raise EOFError("a library's own")

    monkeypatch.setattr("sweeper.commands.data.everything", fail)
    with pytest.raises(EOFError, match="a library's own"):
        run(["data", "list"])


@pytest.mark.parametrize("name", ["ecg", "cosmic", "deepsea", "fsd50k", "psicov"])
def test_a_disk_that_is_full_is_said_and_nothing_is_left(
    command, home, tmp_path, monkeypatch, name
):
    def full(*_: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    folder = WRITERS[name](tmp_path / name)
    monkeypatch.setattr(os, "posix_fallocate", full)
    task = f"nasbench360/{name}"
    error = command("data", "import", task, str(folder), code=6)["error"]
    assert error["type"] == "StorageFull"
    assert error["message"].startswith(str(home))
    assert error["message"].endswith(
        ": No space left on device. Free space, or set SWEEPER_HOME to another folder that can be "
        "written."
    )
    assert [path.name for path in (home / "data" / task).iterdir()] == [".official.lock"]


def test_a_source_is_imported_verified_and_listed(command, home, tmp_path):
    from tests.support.published import proxies as official_proxies

    official_proxies.write(tmp_path / "fetched")
    folder = tmp_path / "fetched" / "proxies" / "cifar10"
    assert "no data in" in command("data", "verify", "cifar10", code=2)["error"]["message"]
    told = command("data", "import", "cifar10", str(folder))
    assert told["folder"] == str(home / "proxies" / "cifar10")
    assert command("data", "verify", "cifar10")["samples"] == 100
    (found,) = [p for p in command("data", "list")["proxies"] if p["name"] == "cifar10"]
    assert found["present"]
    assert found["import"] == "sweeper data import cifar10 cifar-10-binary.tar.gz"
    batch = home / "proxies" / "cifar10" / "data_batch_1.bin"
    batch.write_bytes(b"\x07" + batch.read_bytes()[1:])
    error = command("data", "verify", "cifar10", code=2)["error"]
    assert "was altered since it was imported" in error["message"]


def test_a_home_that_takes_no_data_is_a_fault_of_storage(command, home):
    home.mkdir()
    (home / "data").touch()
    error = command("data", "generate", MADE, "--samples", "16", code=6)["error"]
    assert error["type"] == "StorageFull"
    assert str(home / "data") in error["message"]


@pytest.mark.parametrize("error", [OSError("a library's own"), OSError(errno.EIO, "I/O error")])
def test_an_error_of_the_disk_that_is_not_of_room_says_so(home, error):
    told = f"{home}: .*(a library's own|I/O error). See that"
    with pytest.raises(UsageError, match=told), as_usage_errors():
        raise error


def test_a_fault_is_of_its_file_whatever_the_path(command, tmp_path, monkeypatch):
    home = tmp_path / "a: b"
    monkeypatch.setenv("SWEEPER_HOME", str(home))
    folder = Path(command("data", "import", GESTURES, *write_gestures(tmp_path))["folder"])
    os.truncate(folder / "val.arrow", 9)
    (fault,) = command("data", "verify", GESTURES, code=2)["error"]["faults"]
    assert fault["where"] == str(folder / "val.arrow")


@pytest.mark.slow  # it starts a process with torch for the floors
def test_a_plan_names_the_command_for_data_that_have_to_be_imported(capsys, home, tmp_path):
    file = str(ROOT / "search_spaces" / "orca_nasbench360.yaml")
    arguments = ["plan", file, "--profile", "laptop", "--set", f"tasks=[{GESTURES}]", "--json"]
    assert run([*arguments, "--set", "proxies.2d=cifar10", "--set", "data.samples=60"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["studies"][0]["data"].endswith("to be imported")
    notes = " ".join(told["notes"])
    assert f"sweeper data import {GESTURES} " in notes
    assert "cifar10: " in notes
    run(["data", "import", GESTURES, *write_gestures(tmp_path)])
    capsys.readouterr()
    assert run([*arguments, "--set", "data.samples=60"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["studies"][0]["data"].endswith("ready")
    assert "import" not in " ".join(told["notes"])

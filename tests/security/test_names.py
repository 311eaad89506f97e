"""Names that try to leave their folder, or to run: nothing is written, and nothing runs."""

from pathlib import Path

import pytest

from sweeper.cli.main import run
from tests.bad_inputs.rows import VALID

ATTACKS = [
    "../evil",
    "../../evil",
    "/tmp/evil",
    "a/b",
    "a\\b",
    "..",
    ".",
    "",
    "-rf",
    "a\nb",
    "a\0b",
    '"; touch ran; "',
    "$(touch ran)",
    "`touch ran`",
    "a\u202eb",
    "a" * 64,
    "CON:",
    "~root",
]


def tree(folder: Path) -> set[Path]:
    return set(folder.rglob("*"))


@pytest.fixture
def work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    work = tmp_path / "a" / "work"
    work.mkdir(parents=True)
    monkeypatch.chdir(work)
    monkeypatch.setenv("SWEEPER_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    (work / "x.yaml").write_text(VALID)
    return work


@pytest.mark.slow
@pytest.mark.parametrize("name", ATTACKS)
def test_a_sweep_s_name_never_leaves_the_folder_of_sweeps(work, tmp_path, capsys, name):
    quoted = name.encode("unicode_escape").decode().replace('"', '\\"')
    (work / "named.yaml").write_text(VALID.replace("name: study", f'name: "{quoted}"'))
    before = tree(tmp_path)
    commands = [("launch", "x.yaml", f"--name={name}"), ("launch", "named.yaml")]
    commands += [(command, "--", name) for command in ("resume", "status", "report", "sync")]
    commands += [("delete", "--yes", "--", name), ("tag", "--", name, "x"), ("note", "--", name)]
    commands += [("stop", "--", name), ("rerun", "--", name, "mona/x/0"), ("logs", "--", name)]
    for words in commands:
        assert run(list(words)) == 2, words
    assert tree(tmp_path) == before
    told = capsys.readouterr()
    assert told.out == ""
    assert "Traceback" not in told.err
    lines = told.err.splitlines()
    assert len(lines) == len(commands)
    assert all("must be 1 to 63 of a-z, 0-9, - and _" in line for line in lines), told.err


@pytest.mark.parametrize("name", ["os:system", "os.system", "sweeper.cli.main:main", "../x", "a;b"])
@pytest.mark.parametrize("key", ["methods=[{}]", "tasks=[{}]", "proxies.1d={}", "model.head={}"])
def test_no_name_in_a_file_is_looked_up_as_code(work, command, key, name):
    told = command("validate", "x.yaml", "--set", key.format(f"'{name}'"), code=2).err
    assert f"--set {key.partition('=')[0]}: " in told
    assert name in told


@pytest.mark.parametrize("task", ["../../etc", "/etc/passwd", "pdebench/../x", "a\nb"])
def test_a_task_s_name_never_leaves_the_folder_of_data(work, tmp_path, capsys, task):
    before = tree(tmp_path)
    for words in (("import", task, "x.yaml"), ("generate", task), ("verify", task)):
        assert run(["data", *words]) == 2
    assert tree(tmp_path) == before
    assert "There is no task" in capsys.readouterr().err

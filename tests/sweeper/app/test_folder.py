"""Where a sweep's ledger is: in one place, and no second launch begins another."""

from contextlib import closing
from pathlib import Path

import pytest

from sweeper.app import load
from sweeper.app.catalog import catalog
from sweeper.app.folder import STORAGE, check_place, open_ledger, remember
from sweeper.cli.main import run
from sweeper.errors import UsageError
from sweeper.ledger import Ledger
from sweeper.space.loader import loads_sweep
from tests.bad_inputs.rows import VALID

URL = "postgresql+psycopg://me@db/sweeps"


def test_a_ledger_elsewhere_is_noted_for_this_user_alone_without_its_password(
    tmp_path: Path,
) -> None:
    folder = tmp_path / "study"
    for url in (URL.replace("me@", "me:hunter2@"), URL):
        remember(folder, url)
        (note,) = folder.iterdir()
        assert (note.name, note.read_text()) == (STORAGE, URL)
        assert note.stat().st_mode & 0o777 == 0o600
    check_place(folder, None)
    with pytest.raises(UsageError, match=f"has its ledger at .*me@db/sweeps .{note} says so"):
        remember(folder, f"{URL}2")
    assert note.read_text() == URL


def test_a_note_that_others_could_read_is_replaced(tmp_path: Path) -> None:
    note = tmp_path / STORAGE
    note.write_text(URL.replace("me@", "me:***@"))
    note.chmod(0o644)
    remember(tmp_path, URL)
    assert (note.read_text(), note.stat().st_mode & 0o777) == (URL, 0o600)


def test_a_ledger_in_its_folder_is_not_noted_and_no_other_is_begun(tmp_path: Path) -> None:
    folder = tmp_path / "study"
    with closing(open_ledger(folder)) as ledger:
        remember(folder, ledger.url)
        check_place(folder, ledger.url)
        with pytest.raises(UsageError, match=f"has its ledger at {ledger.url}, and goes on in no"):
            check_place(folder, URL)
    assert not (folder / STORAGE).exists()


@pytest.fixture
def work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder in which the sweep `study` can be launched."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SWEEPER_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    (tmp_path / "x.yaml").write_text(VALID)
    return tmp_path


def launch(*options: str) -> int:
    return run(["launch", "x.yaml", "--profile", "paper", *options])


def test_a_sweep_that_has_begun_is_not_begun_again_in_another_ledger(
    work: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    Ledger.in_folder(work / "sweeps" / "study").close()
    other = work / "other.db"
    assert launch("--storage", f"sqlite:///{other}") == 2
    assert f"at sqlite:///{work / 'sweeps/study/ledger.db'}, and" in capsys.readouterr().err
    assert not other.exists()
    assert not (work / "sweeps/study" / STORAGE).exists()


@pytest.mark.parametrize(("begun", "code"), [("held", 4), ("other settings", 2)])
def test_a_launch_that_does_not_have_the_sweep_writes_nothing(
    work: Path, begun: str, code: int
) -> None:
    url = f"sqlite:///{work / 'all.db'}"
    with closing(Ledger(url, "study")) as ledger:
        load.match(ledger, loads_sweep(VALID.replace("trials: 8", "trials: 9"), catalog()), "")
        if begun == "held":
            with ledger.hold():
                assert launch("--storage", url) == code
        else:
            ledger.start({})
            assert launch("--storage", url) == code
    assert not (work / "sweeps").exists()


def test_a_sweep_on_a_cluster_is_not_begun_here_beside_it(
    work: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    note = work / "sweeps" / "study" / "remote.json"
    note.parent.mkdir(parents=True)
    note.write_text(
        '{"name": "study", "address": "http://head:8265", "workdir": "/shared", "job": "j"}'
    )
    assert launch() == 2
    told = capsys.readouterr().err
    assert "sweep `study` is on the cluster at http://head:8265, in /shared. Go on" in told
    assert "sweeper resume study" in told
    assert list(note.parent.iterdir()) == [note]

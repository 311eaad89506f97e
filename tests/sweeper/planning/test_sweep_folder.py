"""Where a sweep's ledger is: in one place, and no second launch begins another."""

import json
from collections.abc import Callable
from contextlib import closing
from functools import partial
from pathlib import Path

import pytest

from sweeper.cli.main import run
from sweeper.errors import (
    BackendUnreachable,
    CannotSchedule,
    StorageFull,
    SweeperError,
    SweepIsHeld,
    UsageError,
)
from sweeper.ledger import Ledger
from sweeper.planning import resuming
from sweeper.planning.catalog import catalog
from sweeper.planning.sweep_folder import (
    STORAGE,
    check_place,
    discard_unstarted,
    open_ledger,
    remember,
    remote_of,
)
from sweeper.spec.loader import loads_sweep
from tests.bad_inputs.rows import VALID
from tests.support.command import Run

URL = "postgresql+psycopg://me@db/sweeps"


def test_a_ledger_elsewhere_is_noted_for_this_user_alone_without_its_password(tmp_path):
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


def test_a_note_that_others_could_read_is_replaced(tmp_path):
    note = tmp_path / STORAGE
    note.write_text(URL.replace("me@", "me:***@"))
    note.chmod(0o644)
    remember(tmp_path, URL)
    assert (note.read_text(), note.stat().st_mode & 0o777) == (URL, 0o600)


def test_a_ledger_in_its_folder_is_not_noted_and_no_other_is_begun(tmp_path):
    folder = tmp_path / "study"
    with closing(open_ledger(folder)) as ledger:
        remember(folder, ledger.url)
        check_place(folder, ledger.url)
        with pytest.raises(UsageError, match=f"has its ledger at {ledger.url}, and goes on in no"):
            check_place(folder, URL)
    assert not (folder / STORAGE).exists()


@pytest.fixture
def work(here: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder in which the sweep `study` can be launched."""
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    (here / "x.yaml").write_text(VALID)
    return here


@pytest.fixture
def launch(work: Path, command: Run) -> Run:
    return partial(command, "launch", "x.yaml", "--profile", "paper")


@pytest.fixture
def refuse(monkeypatch) -> Callable[..., None]:
    """A function by whose error all drivers end, after they have started if `begins`."""

    def end_by(error: SweeperError, *, begins: bool = False) -> None:
        def supervise(job: object, ledger: Ledger, *_: object) -> None:
            if begins:
                ledger.start({})
            raise error

        monkeypatch.setattr("sweeper.commands.launch.supervise", supervise)

    return end_by


def test_a_sweep_that_has_begun_is_not_begun_again_in_another_ledger(work, launch):
    Ledger.in_folder(work / "sweeps" / "study").close()
    other = work / "other.db"
    told = launch("--storage", f"sqlite:///{other}", code=2).err
    assert f"at sqlite:///{work / 'sweeps/study/ledger.db'}, and" in told
    assert not other.exists()
    assert not (work / "sweeps/study" / STORAGE).exists()


@pytest.mark.parametrize(("begun", "code"), [("held", 4), ("other settings", 2)])
def test_a_launch_that_does_not_have_the_sweep_writes_nothing(work, launch, begun, code):
    url = f"sqlite:///{work / 'all.db'}"
    with closing(Ledger(url, "study")) as ledger:
        resuming.match(ledger, loads_sweep(VALID.replace("trials: 8", "trials: 9"), catalog()), "")
        if begun == "held":
            with ledger.hold():
                launch("--storage", url, code=code)
        else:
            ledger.start({})
            launch("--storage", url, code=code)
    assert not (work / "sweeps").exists()


def test_a_sweep_on_a_cluster_is_not_begun_here_beside_it(work, launch):
    note = work / "sweeps" / "study" / "remote.json"
    note.parent.mkdir(parents=True)
    note.write_text(
        '{"name": "study", "address": "http://head:8265", "workdir": "/shared", "job": "j"}'
    )
    told = launch(code=2).err
    assert "sweep `study` is on the cluster at http://head:8265, in /shared. Go on" in told
    assert "sweeper resume study" in told
    assert list(note.parent.iterdir()) == [note]


def test_a_ledger_is_that_of_a_note_only_in_the_folder_of_the_note(work):
    folder = work / "sweeps" / "study"
    folder.mkdir(parents=True)
    (folder / "ledger.db").touch()
    for workdir, is_here in ((str(work), True), (f"{work}/.", True), ("/shared", False)):
        note = {"name": "study", "address": "http://h:8265", "workdir": workdir, "job": "j"}
        (folder / "remote.json").write_text(json.dumps(note))
        assert (remote_of(folder) is None) == is_here
    (folder / "remote.json").unlink()
    assert remote_of(folder) is None


@pytest.mark.parametrize(
    "refusal", [UsageError("no"), BackendUnreachable("no"), CannotSchedule("no"), StorageFull("no")]
)
def test_a_launch_that_was_refused_leaves_nothing(work, launch, refuse, refusal):
    refuse(refusal)
    launch(code=refusal.exit_code)
    assert not (work / "sweeps").exists()
    storage = work / "all.db"
    launch("--storage", f"sqlite:///{storage}", code=refusal.exit_code)
    assert not (work / "sweeps").exists()
    with closing(Ledger(f"sqlite:///{storage}", "study")) as ledger:
        assert ledger.sweep() is None


def test_a_sweep_that_has_begun_stays_when_a_launch_is_refused(work, launch, refuse):
    refuse(UsageError("other data than it began with"), begins=True)
    launch(code=2)
    launch(code=2)
    with closing(Ledger.in_folder(work / "sweeps" / "study")) as ledger:
        record = ledger.sweep()
        assert record is not None
        assert record.state == "interrupted"


def test_a_driver_that_died_before_it_began_can_be_resumed(work, launch, refuse):
    refuse(SweeperError("the driver died 4 times. Go on with: sweeper resume study"))
    launch(code=1)
    assert (work / "sweeps" / "study" / "ledger.db").is_file()


def test_files_of_others_stay_in_the_folder_of_a_refused_launch(work, launch, refuse):
    refuse(UsageError("no"))
    notes = work / "sweeps" / "study" / "notes.txt"
    notes.parent.mkdir(parents=True)
    notes.touch()
    launch(code=2)
    assert list(notes.parent.iterdir()) == [notes]
    assert run(["status", "study"]) == 8
    launch(code=2)  # nothing speaks of a ledger that was lost
    assert list(notes.parent.iterdir()) == [notes]


def test_a_refused_launch_takes_away_what_it_wrote_and_no_file_of_a_like_name(work, launch, refuse):
    refuse(UsageError("no"))
    folder = work / "sweeps" / "study"
    folder.mkdir(parents=True)
    put_aside = [folder / "ledger.damaged.db", folder / "ledger.old"]
    for file in put_aside:
        file.write_text("all that is left of a sweep")
    (folder / ".ledger.copy").touch()  # of a launch that was killed
    launch(code=2)
    assert sorted(folder.iterdir()) == put_aside


def test_a_refused_launch_leaves_a_sweep_that_another_has_taken_up(work):
    folder = work / "sweeps" / "study"
    with closing(Ledger.in_folder(folder)) as ledger:
        resuming.match(ledger, loads_sweep(VALID, catalog()), VALID)
        with ledger.hold(), pytest.raises(SweepIsHeld):
            discard_unstarted(folder, None)
        assert ledger.sweep() is not None
    assert (folder / "ledger.db").is_file()
    discard_unstarted(folder, None)
    assert not folder.exists()


def test_a_ledger_that_a_move_left_behind_is_not_begun_anew_by_its_url(work, launch):
    folder, former = work / "sweeps" / "study", work / "former" / "ledger.db"
    url = f"sqlite:///{former}"
    remember(folder, url)
    assert f"the ledger of sweep `study` is not at {url}" in launch("--storage", url, code=2).err
    assert not former.exists()
    assert (folder / STORAGE).read_text() == url


@pytest.mark.parametrize("link", ["sweeps", "sweeps/study"])
def test_a_link_that_leads_nowhere_is_not_followed(work, command, link):
    target = work / "not" / "mounted"
    (work / link).parent.mkdir(exist_ok=True)
    (work / link).symlink_to(target)
    for words in (["launch", "x.yaml", "--profile", "paper"], ["status", "study"]):
        told = command(*words, code=2).err
        assert told.startswith(f"sweeper: {work / link} is a link to {target}, which is not there")
    assert not target.parent.exists()


@pytest.mark.parametrize(
    "url",
    ["sqlite://", "sqlite:///", "sqlite:///:memory:", "sqlite:///file:x?mode=memory&uri=true"],
)
def test_a_ledger_in_memory_is_refused_and_blocks_no_name(work, launch, url):
    assert "this URL names no file" in launch("--storage", url, code=2).err
    assert not (work / "sweeps").exists()


@pytest.mark.parametrize(
    ("home", "code", "told"),
    [
        ("x.yaml", 2, "x.yaml is no folder"),
        ("x.yaml/home", 2, "x.yaml/home is no folder"),
        ("/proc/home", 6, "/proc/home: "),
        ("~nosuchuser/home", 2, "SWEEPER_HOME='~nosuchuser/home': "),
    ],
)
def test_a_home_that_cannot_be_made_is_told_before_anything_starts(
    work, monkeypatch, launch, home, code, told
):
    monkeypatch.setenv("SWEEPER_HOME", home)
    err = launch(code=code).err
    assert told in err
    assert "Traceback" not in err
    assert not (work / "sweeps").exists()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("out", "told"),
    [
        ("none/page.html", "cannot write none/page.html: none is no folder."),
        ("", ". is a folder; name a file in it."),
        ("sweeps", "sweeps is a folder; name a file in it."),
    ],
)
def test_a_page_that_cannot_be_put_there_is_told(work, command, out, told):
    with closing(Ledger.in_folder(work / "sweeps" / "study")) as ledger:
        resuming.match(ledger, loads_sweep(VALID, catalog()), VALID)
    for words in (["report", "study", "-o", out], ["report", "study", "-o", out, "--json"]):
        assert f"sweeper: {told}" in command(*words, code=2).err

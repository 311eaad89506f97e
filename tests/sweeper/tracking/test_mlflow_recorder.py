"""The recorder against real SQLite stores: whole, once, whatever happens in between."""

import shutil
from pathlib import Path
from types import SimpleNamespace

import pytest
from mlflow import MlflowClient
from mlflow.tracking._tracking_service import utils

from sweeper.driver import pages
from sweeper.ledger import Ledger
from sweeper.model import Outcome, Trial, TrialKind, TrialState
from sweeper.results.compare import compare
from sweeper.tracking.mlflow_recorder import MlflowRecorder, Sources
from sweeper.tracking.mlflow_store import tracking_uri
from tests.support.compared_ledgers import Scores, write
from tests.support.ledgers import new_ledger, script
from tests.support.servers.mlflow_server import recorder, snapshot, without_ids
from tests.support.trials import COMPLETE, begin, measured, sampled


@pytest.fixture(autouse=True)
def _folders(tmp_path):
    (tmp_path / "live").mkdir(exist_ok=True)


@pytest.mark.slow
def test_the_run_tree_is_sweep_study_trial(expected):
    assert len(expected) == 1 + 2 + 10
    assert expected["mona_pdebench"]["parent"] is None
    assert expected["mona · advection_1d"]["parent"] == "mona_pdebench"
    assert expected["003 · mona · advection_1d"]["parent"] == "mona · advection_1d"


@pytest.mark.slow
def test_states_are_told_apart(expected):
    states = {
        name[:3]: (run["status"], run["tags"]["sweeper.state"])
        for name, run in expected.items()
        if "· mona ·" in name
    }
    assert states == {
        "000": ("FINISHED", "complete"),
        "001": ("FINISHED", "complete"),
        "002": ("FINISHED", "complete"),
        "003": ("KILLED", "pruned"),
        "004": ("FAILED", "failed"),
    }
    failed = expected["004 · mona · advection_1d"]["tags"]
    assert failed["sweeper.failure"] == "non_finite"
    assert failed["sweeper.reason"] == "the loss is <nan> at refine epoch 4"
    assert expected["mona_pdebench"]["status"] == "FINISHED"
    assert expected["mona · advection_1d"]["status"] == "FINISHED"


@pytest.mark.slow
def test_every_measurement_is_there_exactly_once(ledger, expected):
    for trial in ledger.trials():
        study = next(s for s in ledger.studies() if s.name == trial.study)
        run = expected[f"{trial.number:03d} · {study.method} · advection_1d"]
        wanted: dict[str, list[tuple[int, float]]] = {}
        for m in ledger.measurements(trial.study, trial.number):
            for key, value in m.metrics.items():
                wanted.setdefault(key, []).append((m.epoch, value))
        shipped = {
            key: [(step, value) for step, value, _ in points]
            for key, points in run["metrics"].items()
        }
        assert {key: sorted(points) for key, points in wanted.items()} == {
            key: shipped[key] for key in wanted
        }


@pytest.mark.slow
def test_following_event_by_event_gives_what_one_sync_gives(tmp_path, new_store, expected):
    ledger, uri = new_ledger(tmp_path / "live"), new_store()
    follower = recorder(ledger, uri)
    for _ in script(ledger, tmp_path):
        follower.sync()
    assert without_ids(snapshot(uri)) == expected


@pytest.mark.slow
def test_a_second_sync_changes_nothing(ledger, new_store):
    uri = new_store()
    recorder(ledger, uri).sync()
    before = snapshot(uri)
    again = recorder(ledger, uri).sync()
    assert (again.shipped, again.pending) == (0, 0)
    assert snapshot(uri) == before


@pytest.mark.slow
def test_a_sweep_that_ends_again_logs_only_the_values_that_have_changed(ledger, new_store):
    uri, values = new_store(), {"mean_over_seeds/val": 0.5, "sd_over_seeds/val": 0.1}
    summary = SimpleNamespace(
        note=lambda ledger, study: "", summary=lambda ledger, study: values, files=lambda *_: {}
    )
    for changed in ({}, {}, {"sd_over_seeds/val": 0.2}, {"sd_over_seeds/val": 0.1}):
        values |= changed
        recorder(ledger, uri, sources=Sources(pages=summary)).sync()
        ledger.start({})
        ledger.end("finished")
    for name in ("mona_pdebench", "mona · advection_1d"):
        logged = snapshot(uri)[name]["metrics"]
        assert [value for _, value, _ in logged["mean_over_seeds/val"]] == [0.5]
        assert sorted(value for _, value, _ in logged["sd_over_seeds/val"]) == [0.1, 0.1, 0.2]


@pytest.mark.slow
def test_an_interrupted_sweep_leaves_nothing_running_and_goes_on_in_the_same_runs(
    tmp_path, new_store
):
    ledger, uri = new_ledger(tmp_path / "live"), new_store()
    steps = script(ledger, tmp_path)
    follower = recorder(ledger, uri)
    while not any(t.number == 2 and t.value for t in ledger.trials()):
        next(steps)
    (running,) = [t for t in ledger.trials() if t.state is TrialState.RUNNING]
    follower.sync()
    name = "002 · mona · advection_1d"
    assert snapshot(uri)[name]["status"] == "RUNNING"

    stopped = Outcome(state=TrialState.INTERRUPTED, reason="stopped by a signal")
    ledger.end_attempt(running.study, 2, running.attempt, stopped)
    ledger.end("interrupted")
    follower.sync()
    stopped = snapshot(uri)
    assert {run["status"] for run in stopped.values()} == {"KILLED", "FINISHED"}
    assert stopped["mona_pdebench"]["status"] == "KILLED"
    assert stopped["mona_pdebench"]["tags"]["sweeper.state"] == "interrupted"
    assert stopped[name]["tags"]["sweeper.state"] == "interrupted"

    ledger.start({})
    ledger.start_attempt(running.study, 2)
    again = recorder(ledger, uri)
    again.sync()
    resumed = snapshot(uri)
    assert resumed[name]["status"] == resumed["mona_pdebench"]["status"] == "RUNNING"
    assert resumed[name]["id"] == stopped[name]["id"]
    assert resumed.keys() == stopped.keys()


def test_a_trial_that_waits_when_its_sweep_ends_is_not_left_open(tmp_path, new_store):
    ledger, uri = new_ledger(tmp_path), new_store()
    ledger.start({})
    begin(ledger, sampled())
    ledger.end_attempt("nft/t", 0, 1, Outcome(state=TrialState.WAITING))
    ledger.end("interrupted")
    recorder(ledger, uri).sync()
    assert {run["status"] for run in snapshot(uri).values()} == {"KILLED"}


@pytest.mark.slow
def test_a_paused_trial_is_open_until_its_sweep_ends_and_opens_again(tmp_path, new_store):
    ledger, uri = new_ledger(tmp_path / "live"), new_store()
    ledger.start({})
    begin(ledger, sampled())
    name = "000 · nft · t"

    def measure(epoch: int, value: float, outcome: Outcome) -> None:
        folder = tmp_path / f"refine-000{epoch}"
        folder.mkdir()
        (folder / "last.safetensors").write_text(str(epoch))
        told = measured(epoch, value, num_epochs=2, metrics={"val/nrmse": value},
                        is_final=epoch == 2, checkpoint=str(folder))  # fmt: skip
        ledger.measure("nft/t", 0, ledger.trial("nft/t", 0).attempt, told, outcome)

    def shown() -> tuple[str, str, str | None]:
        recorder(ledger, uri).sync()
        run = snapshot(uri)[name]
        return run["status"], run["tags"]["sweeper.state"], run["tags"].get("sweeper.reason")

    measure(1, 0.5, Outcome(state=TrialState.PAUSED, reason="not promoted", counts=False))
    assert shown() == ("SCHEDULED", "paused", "not promoted")
    ledger.end("finished")
    assert shown() == ("KILLED", "paused", "not promoted")
    run = snapshot(uri)[name]
    assert [value for _, value, _ in run["metrics"]["best/val/nrmse"]] == [0.5]
    assert snapshot(uri)["nft · t"]["tags"]["sweeper.state"] == "finished"
    files = [each.path for each in MlflowClient(uri).list_artifacts(run["id"], "checkpoints")]
    assert files == ["checkpoints/last.safetensors"]

    ledger.start({})
    ledger.start_attempt("nft/t", 0)
    assert shown()[:2] == ("RUNNING", "running")
    measure(2, 0.4, COMPLETE)
    ledger.end("finished")
    assert shown() == ("FINISHED", "complete", None)
    assert snapshot(uri)[name]["id"] == run["id"]


@pytest.mark.slow
def test_a_thread_follows_and_drains_when_stopped(tmp_path, new_store, expected):
    ledger, uri = new_ledger(tmp_path / "live"), new_store()
    follower = recorder(ledger, uri, poll_s=0.01)
    follower.start()
    list(script(ledger, tmp_path))
    status = follower.stop(timeout_s=60)
    assert (status.pending, status.last_error) == (0, None)
    assert without_ids(snapshot(uri)) == expected


@pytest.mark.slow
def test_more_points_than_one_call_takes_all_arrive(tmp_path, new_store):
    ledger, uri = new_ledger(tmp_path), new_store()
    attempt = begin(ledger, sampled())
    metrics = {f"refine/{i:03d}": float(i) for i in range(199)}
    for epoch in range(1, 7):
        ledger.measure("nft/t", 0, attempt, measured(epoch, metrics=metrics))
    assert recorder(ledger, uri).sync().last_error is None
    metrics = snapshot(uri)["000 · nft · t"]["metrics"]
    assert sum(len(points) for points in metrics.values()) == 6 * 200


@pytest.mark.slow
def test_two_sweeps_of_one_name_do_not_share_runs(ledger, tmp_path, new_store):
    uri = new_store()
    later = Ledger(f"sqlite:///{tmp_path / 'later.db'}", ledger.name)
    record = ledger.sweep()
    later.create(record)
    later.start({})
    recorder(ledger, uri).sync()
    recorder(later, uri).sync()
    client = MlflowClient(uri)
    runs = client.search_runs(["1"], "tags.`sweeper.level` = 'sweep'")
    assert len(runs) == 2
    later.close()


@pytest.mark.slow
def test_every_trial_keeps_its_checkpoint_as_a_link(ledger, new_store, tmp_path):
    uri = new_store()
    recorder(ledger, uri).sync()
    client = MlflowClient(uri)
    for name, run in snapshot(uri).items():
        if "sweeper.trial" in run["tags"]:
            paths = {a.path for a in client.list_artifacts(run["id"], "checkpoints")}
            assert paths == {
                f"checkpoints/{f}"
                for f in ("state.json", "manifest.json", "last.safetensors", "best.safetensors")
            }, name
    run = client.get_run(snapshot(uri)["003 · nft · advection_1d"]["id"])
    kept = Path(run.info.artifact_uri) / "checkpoints" / "last.safetensors"
    assert kept.samefile(tmp_path / "checkpoints" / "nft" / "003" / "last.safetensors")


@pytest.mark.slow
def test_studies_and_sweep_carry_notes_and_files(ledger, new_store):
    uri = new_store()
    assert recorder(ledger, uri, sources=Sources(pages=pages)).sync().last_error is None
    client, runs = MlflowClient(uri), snapshot(uri)
    study, sweep = runs["mona · advection_1d"]["id"], runs["mona_pdebench"]["id"]
    files = {a.path for a in client.list_artifacts(study)}
    compared = {"comparison.csv", "comparison.json"}
    assert files == {"trials.csv", "trials.json", "search_space.yaml", "plots.html"} | compared
    assert {a.path for a in client.list_artifacts(sweep)} == {
        "report.html",
        "sweep.json",
    } | compared
    values = client.get_run(study).data.metrics
    entry = next(e for e in compare([ledger]).tasks[0].entries if e.label == "mona")
    assert values["mean_over_seeds/test/nrmse"] == entry.mean == values["test/nrmse"], "of one seed"
    assert (values["seeds"], values["took/trials"]) == (1, 5)
    assert client.get_run(sweep).data.metrics == {"average_rank/mona": 1, "average_rank/nft": 2}
    note = client.get_run(study).data.tags["mlflow.note.content"]
    assert "| best | 2 | 0.07589 | 0.08348 |" in note
    assert "| control | 1 |" in note


@pytest.mark.slow
def test_an_ablation_ends_with_the_ranks_of_its_arms(tmp_path, new_store):
    arms = ("refine.freeze=none,align.epochs=0", "refine.freeze=body,align.epochs=0")
    ledger = write(
        tmp_path / "arms", "arms",
        [Scores(method="orca", task="pdebench/advection_1d", arm=arm, best=[0.1 * n, 0.1 * n])
         for n, arm in enumerate(arms, start=1)],
        compare_by=[dict(part.split("=") for part in arm.split(",")) for arm in arms],
    )  # fmt: skip
    uri = new_store()
    status = recorder(ledger, uri, sources=Sources(pages=pages)).sync()
    assert (status.last_error, status.refused) == (None, 0)
    run = snapshot(uri)["arms"]
    assert run["status"] == "FINISHED"
    assert MlflowClient(uri).get_run(run["id"]).data.metrics == {
        "average_rank/orca refine.freeze_none_align.epochs_0": 1,
        "average_rank/orca refine.freeze_body_align.epochs_0": 2,
    }


def test_the_default_is_mlflows_own_in_this_folder(monkeypatch, here):
    assert tracking_uri(None) == f"sqlite:///{here / 'mlflow.db'}"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://tracking:5000")
    assert tracking_uri(None) == "http://tracking:5000"
    assert tracking_uri("sqlite:////else/where.db") == "sqlite:////else/where.db"


@pytest.mark.slow
def test_a_store_that_no_server_shows_has_no_page(ledger, new_store):
    announced: list[str] = []
    assert recorder(ledger, new_store(), announce=announced.append).sync().page is None
    assert announced == []


def test_the_address_that_is_shown_is_right_in_any_folder(ledger, here):
    shown = {
        "sqlite:///my.db": f"sqlite:///{here / 'my.db'}",
        "sqlite:////else/where.db": "sqlite:////else/where.db",
        "http://tracking:5000": "http://tracking:5000",
    }
    for given, told in shown.items():
        assert MlflowRecorder(ledger, uri=given, experiment="pdebench").uri == told


@pytest.mark.slow
def test_every_trial_is_filed_under_the_objective_it_was_chosen_by(expected):
    run = expected["002 · mona · advection_1d"]
    ((step, value, _),) = run["metrics"]["best/val/nrmse"]
    assert (step, value) == (6, min(v for _, v, _ in run["metrics"]["val/nrmse"]))


def artifacts(uri: str, run_id: str, folder: str) -> dict[str, str]:
    client = MlflowClient(uri)
    found = [f.path for f in client.list_artifacts(run_id, folder)]
    return {path: Path(client.download_artifacts(run_id, path)).read_text() for path in found}


@pytest.mark.slow
def test_what_an_attempt_died_of_is_kept_with_its_run(ledger, new_store):
    uri = new_store()
    recorder(ledger, uri).sync()
    runs = snapshot(uri)
    retried = runs["002 · nft · advection_1d"]["id"]
    assert artifacts(uri, retried, "failures") == {"failures/attempt-1.txt": "signal 9"}
    failed = runs["004 · mona · advection_1d"]
    assert failed["tags"]["sweeper.failure"] == "non_finite"
    assert artifacts(uri, failed["id"], "failures") == {"failures/attempt-1.txt": "Traceback ..."}


@pytest.mark.slow
def test_a_checkpoint_that_was_deleted_goes_from_its_run_and_the_tag_says_why(ledger, new_store):
    uri = new_store()
    recorder(ledger, uri).sync()
    name, study = "003 · nft · advection_1d", "nft/pdebench/advection_1d"
    run_id = snapshot(uri)[name]["id"]
    assert artifacts(uri, run_id, "checkpoints")
    ledger.drop_checkpoint(study, 3, "beyond checkpoints.max_bytes")
    recorder(ledger, uri).sync()
    assert artifacts(uri, run_id, "checkpoints") == {}
    tags = snapshot(uri)[name]["tags"]
    assert tags["sweeper.checkpoint"] == "deleted: beyond checkpoints.max_bytes"


@pytest.mark.slow
def test_a_rerun_has_a_run_of_its_own_and_counts_for_nothing(ledger, new_store):
    uri = new_store()
    recorder(ledger, uri).sync()
    study = "nft/pdebench/advection_1d"
    before = snapshot(uri)["nft · advection_1d"]["metrics"]
    attempt = begin(ledger, sampled(study, 100_000, kind=TrialKind.RERUN, origin=2))
    ledger.measure(study, 100_000, attempt, measured(1, 0.0), COMPLETE)
    recorder(ledger, uri).sync()
    after = snapshot(uri)
    assert after["nft · advection_1d"]["metrics"] == before
    assert after["100000 · nft · advection_1d"]["tags"]["sweeper.origin"] == "2"


@pytest.mark.slow
@pytest.mark.parametrize("apart", [False, True])
def test_a_stage_that_was_taken_over_leads_to_the_run_that_computed_it(tmp_path, new_store, apart):
    """Also where its two stages are shipped in batches of their own, or another sweep's."""
    ledger, uri = new_ledger(tmp_path / "live"), new_store()
    follower = recorder(ledger, uri)
    ledger.start({})
    for number in (2, 3):
        begin(ledger, sampled("orca/t", number, params={"align.lr": 1e-3}))
    for stage, builder in (("align", "mona_pdebench/orca/t/2"), ("warmup", "older/orca/t/7")):
        loss = {f"{stage}/loss": 0.5}
        ledger.measure("orca/t", 3, 1, measured(stage=stage, metrics=loss, computed_by=builder))
        if apart:
            follower.sync()
    follower.sync()
    client = MlflowClient(uri)
    found = client.get_experiment_by_name("pdebench")
    runs = {
        run.data.tags.get("sweeper.trial"): run for run in client.search_runs([found.experiment_id])
    }
    tags, built = runs["3"].data.tags, runs["2"].info.run_id
    assert tags["sweeper.stage.align"] == "taken over from trial 2 of orca/t"
    assert tags["sweeper.stage.align.run_id"] == built
    assert tags["sweeper.stage.warmup"] == "taken over from trial 7 of orca/t in the sweep older"
    assert "sweeper.stage.warmup.run_id" not in tags
    note = tags["mlflow.note.content"]
    page = f"#/experiments/{found.experiment_id}/runs/{built}?workflowType=machine_learning"
    assert f"({page})" in note
    assert "in the sweep older" in note
    assert not any(name.startswith("sweeper.stage") for name in runs["2"].data.tags)
    assert runs["3"].data.metrics["align/loss"] == 0.5


@pytest.mark.slow
@pytest.mark.parametrize("copied", [False, True], ids=["moved", "copied"])
def test_a_store_that_was_moved_has_its_artifacts_where_it_is(ledger, new_store, tmp_path, copied):
    """With the sweep, whose trials' checkpoints are elsewhere too; nothing is written where it
    was, and what was recorded there is found here."""
    before, study = Path(new_store().removeprefix("sqlite:///")).parent, "nft/pdebench/advection_1d"
    recorder(ledger, f"sqlite:///{before / 'mlflow.db'}").sync()
    after = tmp_path / "after"
    shutil.copytree(before, after)
    if not copied:
        shutil.rmtree(before)
    (tmp_path / "checkpoints").rename(after / "checkpoints")
    utils._artifact_repos_cache.clear()  # as in a process that never knew the former place
    uri, had = f"sqlite:///{after / 'mlflow.db'}", sorted(before.rglob("*"))

    def place_of(trial: Trial, checkpoint: str) -> str:
        return checkpoint.replace(str(tmp_path), str(after))

    ledger.reopen(study, 4)
    attempt = ledger.start_attempt(study, 4)
    ledger.end_attempt(study, 4, attempt, COMPLETE)
    status = recorder(ledger, uri, sources=Sources(place_of=place_of)).sync()
    assert (status.pending, status.last_error) == (0, None)
    client = MlflowClient(uri)
    found = snapshot(uri)
    assert len(found) == 1 + 2 + 10
    for name, run in found.items():
        where = Path(client.get_run(run["id"]).info.artifact_uri)
        assert where.parent.parent == after / "mlruns" / "pdebench"
        if name[:3].isdecimal():
            assert (where / "checkpoints" / "last.safetensors").is_file()
            assert client.list_artifacts(run["id"], "checkpoints")
    assert before.exists() == copied
    assert sorted(before.rglob("*")) == had


@pytest.mark.slow
def test_a_store_that_stays_keeps_its_paths_as_they_are(ledger, new_store, tmp_path):
    """Reached by another name of its folder, or with artifacts where a user put them."""
    uri = new_store()
    folder = Path(uri.removeprefix("sqlite:///")).parent
    client = MlflowClient(uri)
    elsewhere = tmp_path / "elsewhere" / "artifacts"
    other = client.create_experiment("mine", str(elsewhere))
    recorder(ledger, uri).sync()
    (tmp_path / "link").symlink_to(folder)
    recorder(ledger, f"sqlite:///{tmp_path / 'link' / 'mlflow.db'}").sync()
    assert client.get_experiment(other).artifact_location == str(elsewhere)
    pdebench = client.get_experiment_by_name("pdebench")
    assert pdebench.artifact_location == str(folder / "mlruns" / "pdebench")

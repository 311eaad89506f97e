"""A sweep whose checkpoints live in a bucket: it is cut, and goes on from there."""

import pytest

from tests.support import killing
from tests.support.command import Shell
from tests.support.servers.s3 import place_on
from tests.support.small_sweep import EPOCHS, STUDY, TRIALS, Sweep, finish, wait_for_epochs
from trainables.storage import artifacts

pytestmark = [pytest.mark.external]  # a service; contracts of the store are in the slow tier


def test_a_killed_trial_goes_on_from_the_bucket_and_no_weights_are_left_here(
    bucket_server, tmp_path, data_home, monkeypatch
):
    url = str(place_on(bucket_server, "team", monkeypatch))
    shell = Shell(tmp_path, {"SWEEPER_HOME": str(data_home), **bucket_server.environment})
    sweep = Sweep(shell, "stored")
    options = ("--set", f"checkpoints.store={url}", "--set", "checkpoints.last=0")
    launch = sweep.start(*options)
    wait_for_epochs(sweep, 2)
    for trial in killing.trials_of(launch):
        killing.kill(trial)
    finish(launch)
    notes = [p["text"] for _, p in sweep.events("noted")]
    assert notes == []  # of a checkpoint that could not be read
    measured = [(number, m["epoch"]) for number, m in sweep.events("measured")]
    assert sorted(measured) == [(n, e) for n in range(TRIALS) for e in range(1, EPOCHS + 1)]
    assert {p["failure"] for _, p in sweep.events("attempt_ended")} >= {"crash"}
    kept = artifacts.list_checkpoints(url)
    named = sweep.rows("select number, checkpoint from trials")
    part = f"stored/{STUDY.replace('/', '-')}"
    assert sorted(place.partition("?")[0].partition("/team/")[2] for place in kept) == sorted(
        f"{part}/{number:04d}/{name}" for number, name in named
    )
    fetched = tmp_path / "fetched"
    artifacts.fetch(kept[0], fetched)
    assert {path.name for path in fetched.iterdir()} == {
        "best.safetensors",
        "manifest.json",
        "state.json",
    }
    diagnosed = shell.run("diagnose", "stored", STUDY, "0", "--what", "landscape", "--json")
    assert diagnosed.json["files"][0]["rows"] == 441

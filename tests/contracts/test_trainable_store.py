"""A trial whose checkpoints live in a store: a bucket of a real server, or a shared folder."""

import shutil
import time
from dataclasses import replace

import pytest

from tests.support.results import report_of, trained
from tests.support.servers.proxy import fault_proxy
from tests.support.servers.s3 import place_on
from trainables.spec import AttemptConfig
from trainables.storage import artifacts
from trainables.storage.claims import try_claim
from trainables.storage.files import file_system
from trainables.storage.stage_gc import collect, stored_results
from trainables.storage.urls import ArtifactUrl
from trainables.trainable import ATTEMPT, Trainable

pytestmark = pytest.mark.slow


@pytest.fixture(params=["bucket", "folder"])
def store(request, tmp_path):
    if request.param == "folder":
        return ArtifactUrl.parse(str(tmp_path / "shared"))
    return request.getfixturevalue("bucket")


@pytest.fixture
def bucket(bucket_server, tmp_path, monkeypatch):
    return place_on(bucket_server, tmp_path.name, monkeypatch)


@pytest.fixture
def make_actor(trials, tmp_path):
    """Make an actor for an attempt of which nothing is left on this machine but what it writes."""

    def make(store: ArtifactUrl | None, *, resume=(), **settings) -> Trainable:
        shutil.rmtree(tmp_path / "scratch", ignore_errors=True)
        spec = trials.spec("mona", "1d")
        attempt = AttemptConfig(
            spec=spec.model_dump(mode="json", by_alias=True),
            label="mona 000",
            folder=str(tmp_path / "scratch"),
            resume=tuple(map(str, resume)),
            store=None if store is None else str(store),
            **settings,
        )
        return Trainable({ATTEMPT: attempt})

    return make


def two_epochs(actor: Trainable, place: ArtifactUrl) -> list[str]:
    """Train two epochs; return where their checkpoints are, which are complete then."""
    reports = [report_of(actor.train()) for _ in range(2)]
    actor.cleanup()
    return [str(place / f"{each['stage']}-{each['epoch']:04d}") for each in reports]


def test_each_result_names_the_checkpoint_before_it_which_is_whole_in_the_store(
    make_actor, store, tmp_path
):
    actor = make_actor(store / "attempt-1")
    expected = ["meta-0001", "meta-0002", "refine-0001", "refine-0002"]
    named = [None, *expected[:-2], expected[-1]]  # the last result waits for its own
    for number, name in enumerate(named):
        result = actor.train()
        assert result["measurement"]["checkpoint"] == (name and str(store / "attempt-1" / name))
        if name is not None:
            artifacts.fetch(result["measurement"]["checkpoint"], tmp_path / f"fetched-{number}")
        kept = {ArtifactUrl.parse(url).name for url in artifacts.list_checkpoints(str(store))}
        assert kept <= set(expected[max(0, number - 2) : number + 1])
    assert result["done"]
    assert kept == {path.name for path in (tmp_path / "scratch").glob("*-*")} == set(expected[1:])


def test_a_new_attempt_goes_on_from_the_store_bit_for_bit(make_actor, store, tmp_path):
    expected = [report_of(result) for result in trained(make_actor(None))]
    places = two_epochs(make_actor(store / "attempt-1"), store / "attempt-1")
    second = make_actor(store / "attempt-2", resume=reversed(places))
    told = trained(second)
    assert [report_of(result) for result in told] == expected[2:]
    assert not any(result["notes"] for result in told)
    assert not (tmp_path / "scratch" / ".fetched").exists()


def test_a_damaged_one_falls_back_to_the_one_before_and_a_lost_place_to_the_start(
    make_actor, store
):
    expected = [report_of(result) for result in trained(make_actor(None))]
    older, newest = two_epochs(make_actor(store / "attempt-1"), store / "attempt-1")
    place = ArtifactUrl.parse(newest)
    files = file_system(place)
    with files.open_output_stream(f"{place.path}/last.safetensors") as file:
        file.write(b"nothing of worth")
    told = make_actor(store / "attempt-2", resume=[newest, older]).train()
    assert report_of(told) == expected[1]
    assert told["notes"][0].startswith("checkpoint meta-0002 is damaged (")
    assert told["notes"][0].endswith("; went on from meta-0001")
    artifacts.delete(str(store / "attempt-1"))
    told = make_actor(store / "attempt-3", resume=[newest, older]).train()
    assert report_of(told) == expected[0]
    assert told["notes"][-1].endswith("; began afresh")


def test_a_store_that_is_away_ends_the_attempt_and_not_the_trial(make_actor, bucket_server, bucket):
    """The next epoch is not reported, and the next attempt does not begin afresh meanwhile."""
    with fault_proxy(int(bucket_server.endpoint.rpartition(":")[2])) as proxy:
        options = f"endpoint_override=127.0.0.1:{proxy.port}&scheme=http"
        store = ArtifactUrl.parse(f"s3://{bucket.path}?{options}")
        actor = make_actor(store / "attempt-1", store_timeout_s=2.0)
        actor.train()
        first = str(store / "attempt-1" / "meta-0001")
        while not artifacts.exists(first):
            time.sleep(0.05)
        proxy.set("refuse")
        assert actor.train()["measurement"]["checkpoint"] == first  # and another one is on its way
        began = time.monotonic()
        failed = actor.train()
        assert time.monotonic() - began < 30
        assert failed["error"] == "StorageError"
        assert "the store did not answer in 2 s" in failed["reason"]
        assert (failed["stage"], failed["epoch"], failed["done"]) == ("refine", 1, True)
        again = make_actor(store / "attempt-2", resume=[first], store_timeout_s=2.0)
        assert again.train()["error"] == "StorageError"
        proxy.set("pass")
        told = make_actor(store / "attempt-3", resume=[first], store_timeout_s=20.0).train()
        assert (report_of(told)["epoch"], told["notes"]) == (2, [])


def test_what_is_no_store_is_said_before_anything_is_trained(make_actor, tmp_path):
    actor = make_actor(None)
    attempt = replace(actor.config[ATTEMPT], store="s3://key:hidden@sweeps/x")
    assert actor.reset({ATTEMPT: attempt})
    result = actor.train()
    assert result["error"] == "ConfigError"
    assert "credentials" in result["reason"]
    assert "hidden" not in result["traceback"]
    assert not list((tmp_path / "scratch").glob("*-*"))


def test_a_stage_is_taken_over_through_the_store_with_what_it_reported(store, make_actor, tmp_path):
    """Also that the actor waits, and says so, while another computes the stage."""
    shared = {"stage_store": str(store / "stages"), "stage_pin": "sweep-1"}
    told = trained(make_actor(None, **shared, name="sweep/mona/0"))
    again = trained(make_actor(None, **shared, name="sweep/mona/1"))
    assert [report_of(m)["metrics"] for m in again] == [report_of(m)["metrics"] for m in told]
    for measured in again:
        is_early = report_of(measured)["stage"] == "meta"
        assert report_of(measured)["computed_by"] == ("sweep/mona/0" if is_early else None)
    places = [each["measurement"]["checkpoint"] for each in again]
    named = [ArtifactUrl.parse(place).name for place in places if place]
    assert named == ["meta-0002", "refine-0002"]  # none inside a stage that is taken over
    (result,) = stored_results(store / "stages")
    assert result.holders == ("sweep-1",)
    assert collect(str(store / "stages"), 0).kept == (result,)
    collect(str(store / "stages"), 0, force=True)
    with try_claim(store / "stages" / "claims" / result.key) as mine:
        assert mine
        waiting = make_actor(None, **shared, name="sweep/mona/2").train()
        assert (waiting["kind"], waiting["stage"], waiting["done"]) == ("waiting", "meta", False)
        assert "measurement" not in waiting

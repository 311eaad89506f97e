"""Nodes as SLURM tells of them, and jobs that it refuses."""

from typing import Any

import pytest

from sweeper.errors import BackendUnreachable, CannotSchedule, UsageError
from sweeper.slurm.cluster import check_fits, kinds_of_nodes, submit
from sweeper.slurm.request import JobRequest
from tests.support.fake_slurm import FakeSlurm, fake_slurm


@pytest.fixture
def fake(tmp_path, monkeypatch: pytest.MonkeyPatch) -> FakeSlurm:
    made = fake_slurm(tmp_path / "bin")
    monkeypatch.setenv("PATH", made.path)
    return made


def test_nodes_are_read_with_their_devices(fake):
    small, large = kinds_of_nodes("gpu")
    assert (small.gpus, small.cpus, small.memory_bytes, small.count) == (4, 64, 500_000 * 2**20, 3)
    assert (large.gpus, large.limit_s) == (8, 86_400)
    (slices,) = kinds_of_nodes("slices")
    assert (slices.gpus, slices.limit_s) == (9, None)
    assert large.as_resources() == {"CPU": 128, "GPU": 8, "memory": 1_000_000 * 2**20}


def test_without_a_name_it_is_the_default_partition(fake):
    (kind,) = kinds_of_nodes(None)
    assert (kind.partition, kind.gpus) == ("debug", 0)


def test_several_partitions_may_be_named(fake):
    assert {kind.partition for kind in kinds_of_nodes("gpu,debug")} == {"gpu", "debug"}


def test_an_unknown_partition_is_told_with_the_known_ones(fake):
    with pytest.raises(UsageError, match=r"unknown partition `gpus`. Did you mean `gpu`\? Known: "):
        kinds_of_nodes("gpus")


def test_a_cluster_without_a_default_asks_for_a_partition(tmp_path, monkeypatch):
    made = fake_slurm(tmp_path / "bin", ("a|infinite|1|1000|(null)|1",))
    monkeypatch.setenv("PATH", made.path)
    with pytest.raises(UsageError, match="no default partition: say --partition: a"):
        kinds_of_nodes(None)


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"nodes": 5}, "--nodes 5: partition `gpu` has 4."),
        ({"gpus": "9"}, "--gpus-per-node 9: the largest node of partition `gpu` has 8."),
        ({"mem": "2T"}, "--mem 2T: the largest node of partition `gpu` has 1000000M."),
        ({"time": "2d"}, "--time 2d: partition `gpu` has a limit of 1-00:00:00."),
        ({"gpus": "8", "nodes": 2}, "--nodes 2: 1 of partition `gpu` have all that a node"),
    ],
)
def test_a_request_that_is_too_large_is_told(fake, options: dict[str, Any], told):
    kinds = kinds_of_nodes("gpu")
    check_fits(JobRequest(gpus="4", nodes=4, mem="400G", time="1d"), 64, kinds)
    with pytest.raises(CannotSchedule) as caught:
        check_fits(JobRequest(**options), 4, kinds)
    assert str(caught.value).startswith(told)


def test_too_many_cores_are_told(fake):
    with pytest.raises(CannotSchedule, match="--cpus-per-node 500: the largest node"):
        check_fits(JobRequest(), 500, kinds_of_nodes("gpu"))


def test_a_machine_without_slurm_is_told(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(BackendUnreachable, match="no `sinfo` on this machine"):
        kinds_of_nodes(None)
    with pytest.raises(BackendUnreachable, match="no `sbatch` on this machine"):
        submit(tmp_path)


def test_a_controller_that_is_away_is_told(tmp_path, monkeypatch):
    away = "echo 'slurm_load_partitions: Unable to contact slurm controller' >&2; exit 1"
    made = fake_slurm(tmp_path / "bin", commands={"sinfo": away, "sbatch": away})
    monkeypatch.setenv("PATH", made.path)
    for ask in (lambda: kinds_of_nodes(None), lambda: submit(tmp_path)):
        with pytest.raises(BackendUnreachable, match="Unable to contact slurm controller"):
            ask()


def test_a_refusal_of_slurm_is_told_in_its_words(tmp_path, monkeypatch):
    refusal = "sbatch: error: Batch job submission failed: Invalid account"
    commands = {"sbatch": f"echo '{refusal}' >&2; exit 1"}
    monkeypatch.setenv("PATH", fake_slurm(tmp_path / "bin", commands=commands).path)
    with pytest.raises(UsageError, match="Invalid account"):
        submit(tmp_path)


def test_a_line_of_an_unknown_form_is_told(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", fake_slurm(tmp_path / "bin", ("debug up",)).path)
    with pytest.raises(BackendUnreachable, match="a line of an unknown form: debug up"):
        kinds_of_nodes(None)


def test_the_number_of_a_job_is_read_without_its_cluster(tmp_path, monkeypatch):
    made = fake_slurm(tmp_path / "bin", commands={"sbatch": "echo '4711;main'"})
    monkeypatch.setenv("PATH", made.path)
    assert submit(tmp_path) == "4711"

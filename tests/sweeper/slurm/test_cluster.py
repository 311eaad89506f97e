"""Nodes as SLURM tells of them, and jobs that it refuses."""

from typing import Any

import pytest

from sweeper.errors import BackendUnreachable, CannotSchedule, UsageError
from sweeper.slurm.cluster import check_fits, kinds_of_nodes, submit
from sweeper.slurm.request import JobRequest


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


def test_a_cluster_without_a_default_asks_for_a_partition(slurm_of):
    slurm_of(nodes=("a|infinite|1|1000|(null)|1",))
    with pytest.raises(UsageError, match="no default partition: say --partition: a"):
        kinds_of_nodes(None)


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"cpus": 500}, "--cpus-per-node 500: the largest node of partition `gpu` has 128."),
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
        check_fits(JobRequest(**options), options.get("cpus", 4), kinds)
    assert str(caught.value).startswith(told)


def test_a_machine_without_slurm_is_told(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(BackendUnreachable, match="no `sinfo` on this machine"):
        kinds_of_nodes(None)
    with pytest.raises(BackendUnreachable, match="no `sbatch` on this machine"):
        submit(tmp_path)


def test_a_controller_that_is_away_is_told(tmp_path, slurm_of):
    away = "echo 'slurm_load_partitions: Unable to contact slurm controller' >&2; exit 1"
    slurm_of(commands={"sinfo": away, "sbatch": away})
    for ask in (lambda: kinds_of_nodes(None), lambda: submit(tmp_path)):
        with pytest.raises(BackendUnreachable, match="Unable to contact slurm controller"):
            ask()


def test_a_line_of_an_unknown_form_is_told(slurm_of):
    slurm_of(nodes=("debug up",))
    with pytest.raises(BackendUnreachable, match="a line of an unknown form: debug up"):
        kinds_of_nodes(None)


def test_the_number_of_a_job_is_read_without_its_cluster(tmp_path, slurm_of):
    slurm_of(commands={"sbatch": "echo '4711;main'"})
    assert submit(tmp_path) == "4711"

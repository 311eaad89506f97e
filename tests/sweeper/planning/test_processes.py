"""Trials of several processes: what a file may ask for, what is noted, and what stays as it was."""

import json

import pytest

from sweeper.errors import FileFaults
from sweeper.planning.catalog import catalog
from sweeper.planning.resources import threads_of
from sweeper.planning.resuming import from_resolved
from sweeper.spec.layers import read_document
from sweeper.spec.loader import load_document
from sweeper.spec.sweep import Sweep
from tests.support.pricing import FILE, sweep_of


@pytest.fixture
def read(tmp_path):
    """Read the sweep as a user's file, which is checked, with other sections."""

    def read(**changes) -> Sweep:
        file = tmp_path / "priced.yaml"
        file.write_text(json.dumps({**FILE, **changes}))
        return load_document(read_document(file), catalog(), profile="paper")

    return read


@pytest.mark.parametrize(
    ("resources", "processes", "threads"),
    [
        ({}, 1, 1),
        ({"cpu": 4, "gpu": 0.5}, 1, 4),
        ({"cpu": 8, "gpu": 4}, 4, 2),
        ({"cpu": 1, "gpu": 4, "processes": 4}, 4, 1),
        ({"cpu": 5, "processes": 2}, 2, 2),
    ],
)
def test_each_gpu_has_a_process_and_its_part_of_the_cores(resources, processes, threads):
    sweep = sweep_of(resources=resources)
    assert (sweep.resources.num_processes, threads_of(sweep)) == (processes, threads)


def test_what_the_first_process_does_alone_is_noted(read):
    def notes(**resources: float) -> list[str]:
        return [n for n in read(resources=resources).notes if n.startswith("`resources.")]

    assert notes(cpu=1, gpu=1) == []
    alone, small = notes(cpu=2, processes=2), notes(cpu=1, gpu=4)
    assert alone == [
        "`resources.processes: 2`: the first of 2 processes runs `meta` of `mona` alone; all "
        "divide the batches of `refine`."
    ]
    assert small[1:] == [
        "`resources.gpu: 4`: `refine.batch_size` of `mona` is 2 with `refine.batch_size: 2`, so "
        "that some of 4 processes are idle."
    ]


def test_a_choice_that_only_one_process_can_train_is_refused(read):
    unet = {
        "methods": ["unet"],
        "parameters": {"refine.norm": {"values": ["instance", "batch"]}},
        "fixed": {"refine.epochs": 6},
        "resources": {"gpu": 2},
    }
    with pytest.raises(FileFaults, match=r"`unet`.* has no stage whose batches several processes"):
        read(**unet)
    fixed = {"refine.epochs": 6, "refine.norm": "instance"}
    parameters = {"refine.lr": {"min": 1e-5, "max": 1e-3}}
    assert read(**unet | {"parameters": parameters, "fixed": fixed}).studies


def test_processes_are_part_of_the_resolved_form_and_of_the_hash():
    plain, asking = sweep_of(), sweep_of(resources={"cpu": 2, "processes": 2})
    assert plain.resolved["resources"]["processes"] is None
    assert asking.resolved["resources"]["processes"] == 2
    again = from_resolved(asking.resolved, name="priced", profile="paper")
    assert again.resources == asking.resources
    assert asking.config_hash != sweep_of(resources={"cpu": 2}).config_hash

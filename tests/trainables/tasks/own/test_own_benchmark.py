import json
import subprocess
import sys

import pytest

from tests.support.own_tasks import SIZES, definition, with_arrays
from trainables.errors import ConfigError, DataError
from trainables.spec import DataSpec, TrialSpec
from trainables.tasks import official
from trainables.tasks.importing import import_own, import_task
from trainables.tasks.loading import describe_data, is_prepared, load_task
from trainables.tasks.own.benchmark import own_benchmark
from trainables.tasks.registry import TASKS, register, register_own, task_info
from trainables.tasks.store.manifest import read_manifest
from trainables.tasks.verification import verify_folder

NAME = "mine/wafer"


@pytest.fixture
def home(tmp_path):
    return tmp_path / "home"


@pytest.fixture
def imported(home, tmp_path):
    register(with_arrays(definition(), home, tmp_path))
    return import_own(NAME, home)


def test_shapes_and_samples_are_unknown_until_the_data_are_imported(home, tmp_path):
    register(with_arrays(definition(), home, tmp_path))
    info = task_info(NAME)
    assert (info.dimension, info.kind, info.metric) == ("2d", "classification", "zero_one_error")
    assert (info.samples, info.channels) == (0, (0, 0))
    assert not is_prepared(NAME, DataSpec(), home)
    hint = rf"sweeper data import {tmp_path}/mine_wafer\.task\.yaml$"
    for use in (lambda: describe_data(NAME, DataSpec()), lambda: load_task(NAME, DataSpec(), home)):
        with pytest.raises(DataError, match=hint):
            use()
    import_own(NAME, home)
    info = task_info(NAME)
    assert info.samples == sum(SIZES.values())
    assert info.input_shape == (1, 8, 6)
    assert info.channels == (1, 2)
    described = describe_data(NAME, DataSpec())
    assert described.splits == SIZES
    assert described.x_shape == (1, 8, 6)
    assert described.y_shape == ()


def test_an_imported_task_loads_with_the_classes_and_the_definition_in_its_manifest(imported, home):
    task = load_task(NAME, DataSpec(), home)
    assert {s: len(getattr(task, s)) for s in SIZES} == SIZES
    assert task.info.protocol == f"own splits of mine/wafer, task file {definition().data_hash}"
    assert 0 < task.baselines["majority"] < 1
    manifest = read_manifest(imported)
    assert manifest["own"]["definition"] == definition().content
    assert manifest["classes"] == ["bad", "good"]
    verified = verify_folder(imported, NAME)
    assert not verified.faults
    assert verified.samples == SIZES


@pytest.mark.slow
def test_facts_are_read_by_a_process_that_registers_the_definition_of_a_trial(imported, home):
    code = (
        "import json, sys; from pathlib import Path\n"
        "from trainables.tasks.registry import register_own, task_info\n"
        "register_own(json.loads(sys.argv[1]), Path(sys.argv[2]))\n"
        "assert 'torch' not in sys.modules\n"
        "info = task_info('mine/wafer'); print(info.samples, *info.input_shape, *info.channels)"
    )
    content = json.dumps(definition().content)
    command = [sys.executable, "-c", code, content, str(home)]
    printed = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert printed.split() == ["38", "1", "8", "6", "1", "2"]


def test_a_changed_title_keeps_the_data_and_a_changed_split_asks_for_them_again(
    imported, home, tmp_path
):
    register(own_benchmark([definition(title="Wafers")], home), replace=True)
    assert task_info(NAME).title == "Wafers"
    assert load_task(NAME, DataSpec(), home).info.samples == 38

    other = definition(splits={"seed": 1})
    register(with_arrays(other, home, tmp_path), replace=True)
    assert task_info(NAME).samples == 0
    assert not is_prepared(NAME, DataSpec(), home)
    assert "another definition" in str(official.outdated(NAME, imported))
    with pytest.raises(DataError, match=r"another definition of the task\. .* --replace$"):
        load_task(NAME, DataSpec(), home)


def test_data_of_another_definition_are_replaced_only_if_asked_for(imported, home, tmp_path):
    before = read_manifest(imported)["content_hash"]
    register(with_arrays(definition(splits={"seed": 1}), home, tmp_path), replace=True)
    with pytest.raises(DataError, match="the task file was another one before"):
        import_task(NAME, [tmp_path], home, seed=1)
    assert read_manifest(imported)["content_hash"] == before
    import_own(NAME, home, replace=True)
    assert task_info(NAME).samples == 38
    assert read_manifest(imported)["content_hash"] != before


def test_the_same_task_may_be_registered_again_and_another_of_its_name_may_not(home):
    first, second = definition(), definition("mine/other")
    register(own_benchmark([first], home))
    register(own_benchmark([first], home))
    register(own_benchmark([second], home))
    assert {NAME, "mine/other"} < set(TASKS)
    with pytest.raises(ConfigError, match="two tasks `mine/wafer`"):
        register(own_benchmark([definition(standardize=False)], home))
    with pytest.raises(ConfigError, match="`pdebench` is a benchmark of this package"):
        register(own_benchmark([definition("pdebench/wafer")], home))


def test_a_spec_with_a_definition_is_the_same_after_it_was_dumped():
    plain = {"method": "nft", "task": "x/y", "backbone": {"name": "b"}, "stages": {}, "home": "/h"}
    spec = TrialSpec.model_validate(plain)
    assert spec.model_dump(mode="json", by_alias=True)["definition"] is None
    own = TrialSpec.model_validate({**plain, "definition": definition().content})
    assert TrialSpec.model_validate(own.model_dump(mode="json", by_alias=True)) == own
    register_own(None, spec.home)

import pytest
from pydantic import ValidationError

from trainables.tasks.kinds import KINDS
from trainables.tasks.own.definition import TaskDefinition


def test_a_task_file_may_have_every_kind():
    for kind in KINDS:
        content = {"name": "mine/wafer", "kind": kind, "input": {"path": "wafer.csv"}}
        assert TaskDefinition.model_validate(content).kind == kind


def test_an_unknown_kind_is_refused():
    content = {"name": "mine/wafer", "kind": "segmentation", "input": {"path": "wafer.npz"}}
    with pytest.raises(ValidationError, match="kind"):
        TaskDefinition.model_validate(content)

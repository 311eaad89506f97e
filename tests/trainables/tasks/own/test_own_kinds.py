from typing import get_args

import pytest
from pydantic import ValidationError

from trainables.tasks.kinds import KINDS
from trainables.tasks.own.definition import OwnKind, TaskDefinition


def test_a_task_file_may_have_every_kind():
    assert set(get_args(OwnKind)) == set(KINDS)
    for kind in KINDS:
        content = {"name": "mine/wafer", "kind": kind, "input": {"path": "wafer.npz"}}
        assert TaskDefinition.model_validate(content).kind == kind


def test_an_unknown_kind_is_refused():
    content = {"name": "mine/wafer", "kind": "segmentation", "input": {"path": "wafer.npz"}}
    with pytest.raises(ValidationError, match="kind"):
        TaskDefinition.model_validate(content)

"""Results of steps as plain data."""

from typing import Any

import pytest

from trainables.report import (
    Failed,
    Measured,
    Measurement,
    Waiting,
    from_plain,
    to_plain,
)

TUNES: dict[str, Any] = {"pid": 7, "hostname": "h", "config": {}, "training_iteration": 3}


def measured(**report: Any) -> Measured:
    measurement = Measurement(
        stage="refine",
        epoch=1,
        num_epochs=2,
        metrics={"val/nrmse": 0.5},
        checkpoint="attempt-1/refine-0001",
        seconds=1.5,
        peak_memory_bytes=7,
        precision="bf16",
        **report,
    )
    return Measured(measurement=measurement, notes=("one", "two"))


RESULTS = [
    (measured(objective=0.5), False),
    (measured(is_final=True), True),
    (measured(computed_by="s/mona/t/0"), False),
    (Failed(traceback="t", reason="r", error="E"), True),
    (Failed(traceback="t", reason="r", error="E", infeasible=True, stage="meta", epoch=3), True),
    (Waiting(stage="meta", notes=("one",)), False),
]


@pytest.mark.parametrize(("result", "is_last"), RESULTS)
def test_a_result_survives_the_way_through_tune_which_sees_the_end(result, is_last):
    plain = to_plain(result)
    assert plain["done"] is is_last
    assert from_plain({**plain, **TUNES}) == result

"""Results of steps and configs of attempts as plain data."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trainables.report import Failed, Measured, Report, StepResult, Waiting, from_plain, to_plain
from trainables.spec import AttemptConfig

words = st.text(max_size=9)
notes = st.lists(words, max_size=3).map(tuple)
reports = st.builds(Report, metrics=st.dictionaries(words, st.floats(allow_nan=False)))
results = st.one_of(
    st.builds(Measured, kind=st.just("measured"), report=reports, notes=notes),
    st.builds(Failed, kind=st.just("failed"), notes=notes),
    st.builds(Waiting, kind=st.just("waiting"), notes=notes),
)
TUNES: dict[str, Any] = {"pid": 7, "hostname": "h", "config": {}, "training_iteration": 3}


@given(results)
def test_a_result_survives_the_way_through_tune(result: StepResult) -> None:
    assert from_plain({**to_plain(result), **TUNES}) == result


@pytest.mark.parametrize(
    ("result", "done"),
    [
        (Waiting(stage="meta"), False),
        (Failed(traceback="t", reason="r", error="E"), True),
        *(
            (
                Measured(
                    report=Report(stage="refine", epoch=1, num_epochs=2, is_final=is_final),
                    checkpoint=None,
                    seconds=1.0,
                    peak_memory_bytes=1,
                ),
                is_final,
            )
            for is_final in (True, False)
        ),
    ],
)
def test_tune_sees_when_an_attempt_is_over(result: StepResult, done: bool) -> None:
    assert to_plain(result)["done"] is done


@given(st.builds(AttemptConfig, spec=st.dictionaries(words, words), resume=notes))
def test_a_config_survives_the_way_through_tune(config: AttemptConfig) -> None:
    assert AttemptConfig.from_plain({**config.to_plain(), "sweeper_trial": "x"}) == config

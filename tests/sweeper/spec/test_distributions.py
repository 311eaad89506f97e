"""What a parameter is drawn from, in every spelling; and when it exists at all."""

import json
import warnings
from typing import Any

import optuna
import pytest

from sweeper.errors import FileFaults
from sweeper.spec.distributions import (
    Choice,
    Constant,
    Distribution,
    Float,
    Int,
    ParameterReader,
    Prior,
    is_active,
    parents_first,
    requirements,
    written,
)
from sweeper.spec.faults import Faults
from sweeper.spec.reader import parse_value


def read(text: str) -> Distribution | Constant | None:
    faults = Faults()
    result = ParameterReader("p", parse_value(text, "x"), faults).read()
    faults.stop()
    return result


SPELLINGS: dict[str, Any] = {
    "{values: [a, 2, null, true]}": Choice(values=("a", 2, None, True)),
    "{distribution: categorical, values: [1, 2]}": Choice(values=(1, 2)),
    "{min: 1, max: 8}": Int(low=1, high=8),
    "{min: 0, max: 8, q: 2}": Int(low=0, high=8, step=2),
    "{distribution: int_uniform, min: 1, max: 8}": Int(low=1, high=8),
    "{distribution: q_log_uniform_values, min: 1, max: 64, q: 1}": Int(low=1, high=64, log=True),
    "{min: 0.0, max: 8}": Float(low=0.0, high=8.0),
    "{distribution: uniform, min: 0, max: 8}": Float(low=0.0, high=8.0),
    "{distribution: log_uniform_values, min: 1e-4, max: 1}": Float(low=1e-4, high=1.0, log=True),
    "{distribution: q_uniform, min: 0.0, max: 1.0, q: 0.25}": Float(low=0.0, high=1.0, step=0.25),
    "{min: 1, max: 8, prior: {default: 3}}": Int(
        low=1, high=8, prior=Prior(default=3, confidence="medium")
    ),
    "{min: 0.0, max: 8, prior: {default: 3, confidence: low}}": Float(
        low=0.0, high=8.0, prior=Prior(default=3.0, confidence="low")
    ),
    "{values: [a, b], when: {c: 1}, prior: {default: b, confidence: high}}": Choice(
        values=("a", "b"), when={"c": (1,)}, prior=Prior(default="b", confidence="high")
    ),
    "{value: 3}": Constant(3),
    "{values: [3]}": Constant(3),
    "3": Constant(3),
    "{min: 1, max: 8, when: {a: 1, b: [x, y]}}": Int(
        low=1, high=8, when={"a": (1,), "b": ("x", "y")}
    ),
}  # fmt: skip


@pytest.mark.parametrize(("text", "meant"), SPELLINGS.items())
def test_each_spelling_reads_as_meant_and_back(text: str, meant: Distribution | Constant) -> None:
    assert read(text) == meant
    if not isinstance(meant, Constant):
        assert read(json.dumps(written(meant))) == meant


def test_what_steps_do_not_reach_is_cut_off_and_told() -> None:
    faults = Faults()
    reader = ParameterReader("p", parse_value("{min: 10, max: 105, q: 30}", "x"), faults)
    assert reader.read() == Int(low=10, high=100, step=30)
    assert "the largest value is 100" in next(iter(faults.notes))
    text = "{min: 0, max: 10000000001, q: 2}"
    reader = ParameterReader("p", parse_value(text, "x"), faults)
    assert reader.read() == Int(low=0, high=10_000_000_000, step=2)


@pytest.mark.parametrize(
    ("bounds", "high"),
    [("min: 0, max: 1, q: 0.3", 0.9), ("min: 0, max: 5, q: 0.7", 4.9),
     ("min: 0.2, max: 0.3, q: 0.1", 0.3), ("min: 0.1, max: 1.25, q: 0.1", 1.2)],
)  # fmt: skip
def test_samplers_draw_the_last_step_whatever_its_rounding(bounds: str, high: float) -> None:
    """In floats 3 * 0.3 is 0.8999999999999999, which Optuna cuts to 0.6."""
    found = read(f"{{{bounds}}}")
    assert isinstance(found, Float)
    assert found.high == high
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        drawn = optuna.distributions.FloatDistribution(found.low, found.high, step=found.step)
    assert drawn.high == high


def test_steps_that_cannot_be_counted_are_a_fault() -> None:
    with pytest.raises(FileFaults, match="into countless steps"):
        read("{min: 0, max: 1.0e307, q: 1.0e-9}")


@pytest.mark.parametrize(
    "bounds", ["min: 1000000000000000000, max: 1000000000000000007", "min: -1.0e308, max: 1.0e308"]
)
def test_bounds_that_samplers_cannot_draw_between_are_a_fault(bounds: str) -> None:
    with pytest.raises(FileFaults, match="bounds have to be between"):
        read(f"{{{bounds}}}")


@pytest.mark.parametrize(
    ("distribution", "inside", "outside"),
    [
        (Float(low=0.1, high=1.0), [0.1, 0.5, 1], [0.0, 1.1, "a", True, None]),
        (Float(low=0.0, high=1.0, step=0.1), [0.0, 0.3, 1.0], [0.05]),
        (Float(low=1e200, high=1e300, log=True), [1e250], [1e199]),
        (Int(low=2, high=8, step=3), [2, 5, 8], [3, 9, 5.0, True]),
        (Choice(values=(1, "a", None)), [1, 1.0, "a", None], [True, "b", 0]),
    ],
)
def test_contains(distribution: Distribution, inside: list[Any], outside: list[Any]) -> None:
    assert all(distribution.contains(value) for value in inside)
    assert not any(distribution.contains(value) for value in outside)
    assert all(distribution.contains(value) for value in distribution.examples())


def test_a_parameter_exists_only_if_all_its_conditions_hold() -> None:
    child = Int(low=1, high=8, when={"a": (1, 2), "b": (True,)})
    assert is_active(child, {"a": 2, "b": True})
    assert not is_active(child, {"a": 3, "b": True})
    assert not is_active(child, {"a": 2, "b": 1})
    assert not is_active(child, {"a": 2})  # `b` does not exist itself


def test_a_condition_holds_for_a_value_that_steps_miss_by_rounding() -> None:
    child = Int(low=1, high=8, when={"a": (0.3, 0.7)})
    active = [k for k in range(11) if is_active(child, {"a": 0.0 + k * 0.1})]
    assert active == [3, 7]


def test_parents_come_first_and_the_rest_stays_as_written() -> None:
    plain, on_c = Int(low=0, high=1), Int(low=0, high=1, when={"c": (1,)})
    on_b = Int(low=0, high=1, when={"b": (1,)})
    order = parents_first({"a": on_b, "b": on_c, "c": plain, "d": plain})
    assert list(order) == ["c", "d", "b", "a"]


def test_requirements_reach_through_parents() -> None:
    distance = Choice(values=("x", "y", "z"))
    middle = Int(low=0, high=3, when={"distance": ("x", "y")})
    parameters = {
        "distance": distance,
        "middle": middle,
        "child": Int(low=0, high=1, when={"middle": (1, 7)}),
        "never": Int(low=0, high=1, when={"middle": (1,), "distance": ("z",)}),
    }
    assert requirements("child", parameters) == {"middle": (1,), "distance": ("x", "y")}
    assert requirements("never", parameters)["distance"] == ()

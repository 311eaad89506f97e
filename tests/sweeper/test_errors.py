"""What is said of an unknown name: all of few, the nearest of many, and what was meant."""

import pytest

from sweeper.errors import MANY, NEAREST, synonym, unknown
from sweeper.planning.catalog import catalog

PARAMETERS = catalog().parameters(catalog().methods)


def test_few_names_are_listed() -> None:
    assert unknown("method", "mnoa", ["mona", "orca"]) == (
        "unknown method `mnoa`. Did you mean `mona`? Known: mona, orca."
    )


def test_cases_do_not_hide_a_name() -> None:
    methods = catalog().methods
    assert all(f"Did you mean `{name}`?" in unknown("method", name.upper(), methods)
               for name in methods)  # fmt: skip


def test_of_many_names_the_nearest_five_and_their_number_are_said() -> None:
    told = unknown("parameter", "align.distanc", PARAMETERS)
    assert told.startswith("unknown parameter `align.distanc`. Did you mean `align.distance`? ")
    _, _, listed = told.partition(f"The nearest of {len(PARAMETERS)}: ")
    names = listed.removesuffix(".").split(", ")
    assert names[0] == "align.distance"
    assert len(set(names)) == NEAREST
    assert set(names) <= set(PARAMETERS)
    assert len(told) < 300


def test_the_border_is_sharp() -> None:
    names = [f"n{index:02d}" for index in range(MANY + 1)]
    assert "Known: " in unknown("x", "q", names[:MANY])
    assert f"The nearest of {MANY + 1}: " in unknown("x", "q", names)


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("align.learning_rate", "align.lr"),
        ("refine.Learning-Rate", "refine.lr"),
        ("replace.batchsize", "replace.batch_size"),
        ("refine.num_epochs", "refine.epochs"),
        ("refine.max_grad_norm", "refine.clip_norm"),
        ("meta.learning_rate", None),  # it has none: alpha and beta
        ("align.nonsense", None),
    ],
)
def test_names_of_other_libraries_are_understood(name: str, meant: str | None) -> None:
    assert synonym(name, PARAMETERS) == meant
    if meant:
        assert f"Did you mean `{meant}`? The nearest of" in unknown("parameter", name, PARAMETERS)

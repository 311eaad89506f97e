"""Whatever is given for a sweep file: a sweep, or faults in words. Never another exception."""

import json
import resource
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from pydantic import BaseModel

from sweeper.errors import Fault, FileFaults
from sweeper.spec.loader import loads_sweep
from sweeper.spec.schema import SweepFile
from tests.bad_inputs.test_unnumbered import PARAMETERS, VALID
from tests.support.catalogs import make_catalog
from tests.support.costs import is_cheap
from tests.support.sweep_files import load_sweep

pytestmark = pytest.mark.slow

CATALOG = make_catalog()
WORDS = sorted(set("".join(text for text, _ in PARAMETERS.values()).split()))
SIGNS = ["\n", "\n  ", ": ", "- ", "{", "}", "[", "]", "'", '"', "&a", "*a", "!t", "---", "|", ">"]
VALUES = ["null", "~", ".nan", "true", "1e999", "-1", "0", "\t", "\x00", "\u202e", "profiles:"]
TOKENS = [*WORDS, *SIGNS, *VALUES]


def faults_of(read: Callable[[], object]) -> tuple[Fault, ...]:
    try:
        read()
    except FileFaults as error:
        return error.faults
    return ()


def check(text: str, **options: object) -> None:
    found: list[tuple[Fault, ...]] = []
    assert is_cheap(
        lambda: found.append(faults_of(lambda: loads_sweep(text, CATALOG, **options))), within_s=2
    )
    assert len(found[-1]) <= 51
    assert all(fault.message and "\n" not in fault.message for fault in found[-1])


def check_bytes(data: bytes) -> None:
    with TemporaryDirectory() as folder:
        path = Path(folder, "x.yaml")
        path.write_bytes(data)
        found: list[tuple[Fault, ...]] = []
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        assert is_cheap(
            lambda: found.append(faults_of(lambda: load_sweep(path, CATALOG))), within_s=2
        )
        assert all(fault.message for fault in found[-1])
        assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 500 * 1024  # KiB


@settings(deadline=None, max_examples=150)
@given(st.binary(max_size=300))
def test_any_bytes(data: bytes) -> None:
    check_bytes(data)


PLACES = [
    "{}",
    "name: {}\n",
    "{}: 1\n",
    "tracking: {{uri: '{}'}}\n",
    "model: 'http://{}'\n",
    "- {}\n",
]
ATOMS = st.text(":@/?&=.,#-_ \t\n'\"[]{}|>!*%0e9xtokenkey\x85\u202e", min_size=1, max_size=6)


@settings(deadline=None, max_examples=200)
@given(st.sampled_from(PLACES), ATOMS, st.sampled_from([3_000, 60_000, 250_000]))
@example("model: 'http://{}'\n", ":", 60_000)
@example("model: 'http://x?{}'\n", "key", 60_000)
def test_any_few_letters_over_and_over(place: str, atom: str, size: int) -> None:
    repeated = atom * (size // len(atom.encode()))
    check_bytes((VALID + place.format(repeated)).encode())


@settings(deadline=None, max_examples=300)
@given(st.lists(st.sampled_from(TOKENS), max_size=40))
def test_any_words_of_a_sweep_file(words: list[str]) -> None:
    check(" ".join(words))


@settings(deadline=None, max_examples=300)
@given(
    st.integers(0, len(VALID)), st.integers(0, 30), st.lists(st.sampled_from(TOKENS), max_size=3)
)
def test_any_change_of_a_valid_file(at: int, length: int, words: list[str]) -> None:
    check(VALID[:at] + " ".join(words) + VALID[at + length :])


def keys_below(annotation: object) -> list[str]:
    is_section = isinstance(annotation, type) and issubclass(annotation, BaseModel)
    return list(annotation.model_fields) if is_section else ["1d", "2d", "when", "values", "min"]


scalars = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(allow_nan=False, allow_infinity=False),
    st.text(max_size=8), st.sampled_from(["mona", "pdebench/advection_1d", "minilm", "1h", "2GiB"]),
)  # fmt: skip
KEYS = sorted(
    {key for field in SweepFile.model_fields.values() for key in keys_below(field.annotation)}
)
keys = st.text(max_size=5) | st.sampled_from(KEYS)
containers = st.recursive(
    scalars, lambda v: st.lists(v, max_size=3) | st.dictionaries(keys, v, max_size=3), max_leaves=6
)
sections = st.sampled_from([*SweepFile.model_fields, "profiles"])


@settings(deadline=None, max_examples=300)
@given(st.dictionaries(sections, containers, max_size=6))
def test_any_value_of_any_section(changes: dict[str, object]) -> None:
    keep = [line for line in VALID.splitlines() if line.split(":")[0] not in changes]
    if "parameters" in changes:
        keep = [line for line in keep if not line.startswith("  ")]
    lines = [f"{key}: {json.dumps(value)}" for key, value in changes.items()]
    check("\n".join(keep + lines))


@settings(deadline=None, max_examples=300)
@given(st.lists(st.text(max_size=20) | st.sampled_from([f"{k}=" for k in TOKENS]), max_size=3),
       containers)  # fmt: skip
def test_any_options(sets: list[str], value: object) -> None:
    check(VALID, sets=[*sets, f"parameters.meta.alpha={value}", f"backbones.1d={value}"])

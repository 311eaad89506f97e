"""The JSON Schema for editors agrees with the loader about files that are valid, and typos."""

from typing import Any

import pytest
from jsonschema import Draft202012Validator

from sweeper.errors import FileFaults
from sweeper.spec.json_schema import json_schema
from sweeper.spec.loader import loads_sweep
from sweeper.spec.reader import parse
from tests.bad_inputs.test_unnumbered import KEYS, PARAMETERS, VALID
from tests.support.catalogs import make_catalog
from tests.sweeper.spec.test_layers import LAPTOP
from tests.sweeper.spec.test_sweep import TEXT

CATALOG = make_catalog()
SCHEMA = json_schema(CATALOG)
VALIDATOR = Draft202012Validator(SCHEMA)
RELATIONS = {  # what a schema cannot say, since it relates keys, or values to a unit or a name
    "a method with nothing to search", "auto", "bare $", "both", "choice", "env elsewhere",
    "float range of an integer", "infeasible", "no backbone", "no proxy", "no step", "no time",
    "out of range", "profile's name", "proxy parameter", "tokens not square", "when continuous",
    "when contradicts", "when never",
}  # fmt: skip


@pytest.mark.slow
def test_it_is_a_schema_of_draft_2020_12() -> None:
    Draft202012Validator.check_schema(SCHEMA)
    assert SCHEMA["$schema"].endswith("2020-12/schema")


NO_PRIOR = VALID.replace("meta.alpha: {", "meta.alpha: {prior: null, ")


@pytest.mark.parametrize("text", [VALID, VALID + LAPTOP, TEXT, NO_PRIOR])
def test_valid_files_pass(text: str) -> None:
    loads_sweep(text, CATALOG)
    VALIDATOR.validate(parse(text, "x").plain())


def test_a_file_that_extends_another_may_have_parts_of_sections_and_take_keys_away() -> None:
    file = {"name": "s", "extends": "base.yaml"}
    VALIDATOR.validate({**file, "question": {"figures": ["fig15"]}, "resources": {"gpu": None}})
    assert not VALIDATOR.is_valid({**file, "resources": {"gpus": 1}})
    assert not VALIDATOR.is_valid({**file, "methodes": ["nft"]})


ROWS = {name: text for name, (text, _) in {**KEYS, **PARAMETERS}.items() if name not in RELATIONS}


@pytest.mark.parametrize("text", ROWS.values(), ids=ROWS.keys())
def test_what_the_loader_refuses_the_editor_marks(text: str) -> None:
    with pytest.raises(FileFaults):
        loads_sweep(text, CATALOG)
    assert not VALIDATOR.is_valid(parse(text, "x").plain())


def test_a_question_passes() -> None:
    question = "question: {title: t, published: p, claims: [{says: s, trend: f, expect: better}]}"
    VALIDATOR.validate(parse(f"{VALID}\n{question}\n", "x").plain())


def test_every_key_says_what_it_is() -> None:
    def silent(schema: dict[str, Any], path: str) -> list[str]:
        options = (schema, *schema.get("anyOf", ()))
        below = {k: v for option in options for k, v in option.get("properties", {}).items()}
        own = [] if any("description" in option for option in options) else [path]
        return own + [
            name for key, child in below.items() for name in silent(child, f"{path}.{key}")
        ]

    sections = {
        k: v for k, v in SCHEMA["else"]["properties"].items() if k not in ("parameters", "fixed")
    }
    names = [name for key, child in sections.items() for name in silent(child, key)]
    keyed_by_dimension = [name for name in names if name.partition(".")[2][:2] in ("1d", "2d")]
    assert names == keyed_by_dimension


def test_settings_of_the_model_that_may_be_searched_are_parameters() -> None:
    names = SCHEMA["else"]["properties"]["parameters"]["anyOf"][0]["properties"]
    assert {name for name in names if name.startswith("model.")} == {
        "model.embedder_init", "model.drop_path",
    }  # fmt: skip


def test_a_program_needs_no_methods_and_names_its_own_parameters() -> None:
    file = {
        "name": "mine",
        "program": {"function": "mine:train", "metric": "loss"},
        "parameters": {"lr": {"min": 0.0, "max": 1.0}},
        "fixed": {"width": 3},
    }
    VALIDATOR.validate(file)
    assert not VALIDATOR.is_valid({**file, "program": {"function": "mine:train"}})
    several = {"ours": {"function": "mine:train"}, "theirs": {"command": ["theirs"]}}
    shared = {"metric": "loss", "data": ["a"], "floor": {"a": 0.1}}
    VALIDATOR.validate(
        {**file, "program": shared, "programs": several, "fixed": {"theirs.width": 3}}
    )
    assert not VALIDATOR.is_valid({**file, "fixed": {"refine.lrr": 3}})

"""`sweeper describe`: every setting of every method, task and backbone, with what it takes."""

from pathlib import Path

import pytest

from sweeper.cli.main import run
from sweeper.commands.reference import limits, reference
from sweeper.errors import NotFound
from sweeper.planning.catalog import catalog
from sweeper.planning.samplers import PRUNERS, SAMPLERS
from sweeper.spec.json_schema import json_schema
from tests.support.command import Run
from tests.support.tiny_backbones import save_tiny_bert
from trainables.methods.registry import METHODS
from trainables.tasks.registry import TASKS

KEYS_PAGE = Path(__file__).parents[3] / "search_spaces/guide/keys.md"


def options(schema: dict) -> list[dict]:
    return [schema, *schema.get("anyOf", ())]


def test_the_schema_knows_every_parameter_and_what_it_means() -> None:
    known = {*catalog().parameters(catalog().methods), "proxy"}
    assert len(known) >= 133
    elsewhere = {"proxy", *(name for name in known if name.startswith("model."))}  # own sections
    for section, names in (("parameters", known), ("fixed", known - elsewhere)):
        found = next(
            option["properties"]
            for option in options(json_schema(catalog())["else"]["properties"][section])
            if "properties" in option
        )
        assert set(found) == names
        silent = [
            name
            for name, schema in found.items()
            if not any(option.get("description") for option in options(schema))
        ]
        assert silent == []


@pytest.mark.parametrize("name", METHODS)
def test_a_method_is_described_with_all_that_it_takes(name: str) -> None:
    found = reference(name)
    assert found.kind == "method"
    assert [each.name for each in found.parameters] == catalog().parameters([name])
    assert all(each.meaning and each.limits for each in found.parameters)
    for key, value in METHODS[name].preset.items():
        assert value in [each.default for each in found.parameters if each.name == key]


@pytest.mark.parametrize("name", [*SAMPLERS, *PRUNERS])
def test_a_sampler_and_a_pruner_are_described_with_the_settings_beside_them(name: str) -> None:
    found = reference(name)
    assert found.kind == ("sampler" if name in SAMPLERS else "pruner")
    assert found.parameters[0].default == name
    assert all(each.meaning and each.limits for each in found.parameters)


@pytest.mark.slow
@pytest.mark.parametrize("name", TASKS)
def test_a_task_is_described_with_what_is_published_for_it(name: str, here: Path) -> None:
    found = reference(name)
    assert found.kind == "task"
    assert found.facts["metric"].startswith(TASKS[name].metric)
    defaults = {each.name: each.default for each in found.parameters}
    assert defaults["nft: refine.lr"] == TASKS[name].recipe["lr"]
    pare = METHODS["pare"].published(TASKS[name])
    assert all(defaults[f"pare: {key}"] == value for key, value in pare.items())


def test_a_backbone_is_described_by_name_and_from_a_folder(here: Path) -> None:
    found = reference("minilm")
    assert (found.kind, found.facts["layers"], found.facts["width"]) == ("backbone", "6", "384")
    folder = here / "home" / "weights" / "mine"
    folder.mkdir(parents=True)
    (folder / "config.json").write_text('{"model_type": "dinov2", "hidden_size": 64}')
    mine = reference("mine")
    assert (mine.facts["tasks"], mine.facts["width"]) == ("2d", "64")
    assert mine.parameters[0].default == "mine"


def test_a_folder_is_described_by_its_path(tmp_path: Path) -> None:
    folder = save_tiny_bert(tmp_path / "bert", layers=3)
    found = reference(str(folder))
    assert (found.kind, found.facts["tasks"], found.facts["layers"]) == ("backbone", "1d", "3")
    assert found.facts["weights"] == str(folder)
    assert {p.name: p.default for p in found.parameters}["backbones.1d.hub"] == str(folder)


def test_a_name_of_nothing_is_told_with_the_nearest(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(NotFound, match="Did you mean `orca`"):
        reference("orcaa")
    assert run(["describe", "nasbench360/ninapr"]) == 8
    assert "Did you mean `nasbench360/ninapro`? The nearest of " in capsys.readouterr().err


def test_it_is_a_table_for_people_and_one_object_for_machines(command: Run) -> None:
    told = command("describe", "orca", "--json").json
    assert (told["schema"], told["command"], told["kind"]) == (1, "describe", "method")
    (rate,) = (each for each in told["parameters"] if each["name"] == "align.lr")
    assert (rate["default"], rate["limits"]) == (1e-3, "number, over 0, under 10")
    out = command("describe", "orca").out
    assert out.startswith("orca: method, ORCA")
    assert "align.mmd_unbiased" in out


@pytest.mark.parametrize(
    ("schema", "said"),
    [
        ({"type": "integer", "minimum": 1, "maximum": 9}, "integer, 1 to 9"),
        ({"type": "number", "exclusiveMinimum": 0}, "number, over 0"),
        ({"type": "number", "minimum": 0, "exclusiveMaximum": 1}, "number, 0 or more, under 1"),
        ({"type": "number", "maximum": 3}, "number, 3 or less"),
        ({"type": "integer", "exclusiveMaximum": 2**32}, "integer, under 4294967296"),
        ({"enum": ["a", "b", "c"]}, "a, b or c"),
        ({"anyOf": [{"const": "decided", "type": "string"}, {"type": "null"}]}, "decided or null"),
        ({"anyOf": [{"type": "boolean"}, {"type": "null"}]}, "true or false or null"),
        ({"type": "array", "items": {"type": "integer"}}, "list of integers"),
        ({}, "any value"),
    ],
)
def test_limits_are_words(schema: dict, said: str) -> None:
    assert limits(schema) == said


def test_the_guides_page_of_keys_is_generated(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["describe", "--markdown"]) == 0
    page = KEYS_PAGE.read_text()
    assert capsys.readouterr().out == page, f"sweeper describe --markdown > {KEYS_PAGE}"
    assert "| `search.trials` | `32` | integer, 1 to 100000 | Trials of each study" in page
    assert "| `question.claims.says` | `null` | text, required |" in page


@pytest.mark.parametrize(("name", "settings"), [
    ("energy", {"align.distance"}), ("euclidean", {"align.distance", "align.euclidean"}),
])  # fmt: skip
def test_a_distance_has_its_own_settings_of_the_alignment(name: str, settings: set[str]) -> None:
    found = reference(name)
    assert (found.kind, {each.name for each in found.parameters}) == ("distance", settings)
    assert found.parameters[0].default == name

"""The JSON Schema (draft 2020-12) of a sweep file, for editors.

The schema describes the file of a user, with profiles and short forms. It is less strict than the
loader, which also compares keys with each other.
"""

from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel

from sweeper.spec.catalog import MODEL, PROXY, Catalog, usable
from sweeper.spec.distributions import CHOICES, CONFIDENCES, RANGES
from sweeper.spec.layers import EXTENDS, ORIGIN
from sweeper.spec.rules.file import PROXY_KEYS
from sweeper.spec.rules.program import PROGRAM
from sweeper.spec.schema import NAME, OWN_TASK, REQUIRED, DataSection, StageSearch, SweepFile
from sweeper.spec.task_files import INCLUDE, TASK_FILES
from trainables.spec import SEARCHED_MODEL, BackboneSpec, ModelSpec

Schema = dict[str, Any]
SCALAR: Schema = {"type": ["number", "string", "boolean", "null"]}
NUMBER: Schema = {"type": "number"}
BASE: Schema = {
    "type": "string",
    "pattern": r"^[^/~]",
    "description": "The base of this file, relative to it, such as base/common.yaml: "
    "mappings merge, lists replace, null removes.",
}
PATHS: Schema = {
    "anyOf": [{"type": "string"}, {"type": "array", "items": {"type": "string"}}],
    "description": "Task files (*.task.yaml) or folders of them, relative to this file.",
}
DEFINITIONS: Schema = {
    "type": "object",
    "description": "Definitions of own tasks by name, with the keys of a task file.",
    "additionalProperties": {"type": "object"},
}


def task_schema(definition: type[BaseModel]) -> Schema:
    """Return the schema of a task file."""
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "A task file",
        **inlined(definition),
    }


def json_schema(catalog: Catalog) -> Schema:
    """Return the schema of a sweep file with the names of `catalog`.

    A file that extends another one is a set of changes, as a profile is.
    """
    file = inlined(SweepFile)
    sections = _sections(file["properties"], catalog)
    changes = _overlay(_by_key(sections))
    profiles = {
        "type": "object",
        "description": "Named changes to the file: mappings merge, lists replace, null removes. "
        "`laptop` is the default without a visible GPU; `paper` is the file itself.",
        "propertyNames": {"pattern": NAME},
        "additionalProperties": {"$ref": "#/$defs/changes"},
    }
    files = {EXTENDS: BASE, INCLUDE: PATHS, TASK_FILES: DEFINITIONS, "profiles": profiles}
    whole = {k: v if k in REQUIRED else _or_null(v) for k, v in {**files, **sections}.items()}
    changed = {key: {"$ref": f"#/$defs/changes/properties/{key}"} for key in sections}
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "A sweep file",
        "type": "object",
        "description": file["description"],
        "anyOf": [{"required": keys} for keys in ([*REQUIRED], ["name", PROGRAM], [EXTENDS])],
        "if": {"required": [EXTENDS]},
        "then": _by_key({**{key: whole[key] for key in files}, **changed}),
        "else": _by_key(whole),
        "$defs": {"changes": changes},
    }


def _sections(properties: Schema, catalog: Catalog) -> Schema:
    """Return the keys of a file with the names of `catalog`."""
    stages, proxies = catalog.stage_types(catalog.usable_methods), usable(catalog.proxies)
    fields = {
        f"{stage}.{key}": schema
        for stage, configs in stages.items()
        for config in configs
        for key, schema in inlined(config)["properties"].items()
    }
    properties["methods"]["items"] = {"enum": sorted(catalog.methods)}
    own = {"type": "string", "pattern": OWN_TASK}  # of a task file, which the schema does not know
    properties["tasks"]["items"] = {"anyOf": [{"enum": sorted(catalog.tasks)}, own]}
    for key in ("methods", "tasks"):
        properties[key]["uniqueItems"] = True
    model = inlined(ModelSpec)
    properties["model"] |= model
    properties["data"] |= inlined(DataSection)
    properties["backbones"] |= _by_key({d: _backbone(catalog, d) for d in ("1d", "2d")})
    by_dimension = {d: {"enum": [n for n, of in proxies.items() if of == d]} for d in ("1d", "2d")}
    properties["proxies"] |= _by_key({key: by_dimension[key[:2]] for key in PROXY_KEYS})
    properties["stages"] |= _by_key({s: inlined(StageSearch) for s in stages})
    properties["fixed"] |= _by_key(fields)
    fields |= {f"{MODEL}.{key}": model["properties"][key] for key in SEARCHED_MODEL}
    searched = {name: _parameter(schema.get("description")) for name, schema in fields.items()}
    properties["parameters"] |= _by_key({**searched, PROXY: _parameter("Which source data.")})
    # The parameters of programs have names without a stage, or with a program, which the schema
    # does not know.
    others = rf"^(?!({'|'.join([*stages, MODEL])})\.)([A-Za-z0-9][\w-]*\.)?[A-Za-z_]\w*$"
    properties["fixed"]["patternProperties"] = {others: {}}
    properties["parameters"]["patternProperties"] = {others: _parameter(None)}
    properties["base"]["anyOf"] += PATHS["anyOf"]  # files that `sweeper best` wrote
    properties["search"]["properties"]["sampler"]["enum"] = list(catalog.samplers)
    properties["pruning"]["properties"]["type"]["enum"] = list(catalog.pruners)
    for section in properties.values():  # an empty section is valid
        section.pop("default", None)
    return properties


def inlined(model: type[BaseModel]) -> Schema:
    """Return a model's schema with every reference resolved."""
    schema = model.model_json_schema(by_alias=True)
    definitions: Mapping[str, Schema] = schema.pop("$defs", {})

    def walk(node: Any) -> Any:
        if isinstance(node, list):
            return [walk(item) for item in node]
        if not isinstance(node, dict):
            return node
        if (reference := node.get("$ref")) is not None:
            # Keys beside $ref, such as a field's own description, override those of the definition.
            rest = {k: v for k, v in node.items() if k != "$ref"}
            node = {**definitions[reference.rpartition("/")[2]], **rest}
        if isinstance(node.get("title"), str):  # else `title` is the name of a property
            node = {key: value for key, value in node.items() if key != "title"}
        return {key: walk(value) for key, value in node.items()}

    walked: Schema = walk(schema)
    return walked


def _by_key(properties: Mapping[str, Schema]) -> Schema:
    return {"type": "object", "properties": dict(properties), "additionalProperties": False}


def _or_null(schema: Schema) -> Schema:
    return {"anyOf": [schema, {"type": "null"}]}


def _overlay(schema: Schema) -> Schema:
    """Return the schema of a profile: `schema` without required keys and with null everywhere."""
    # A profile need not have any key, so that an option which only requires some allows everything.
    if "required" in schema and len(schema) == 1:
        return {}
    changed = {k: v for k, v in schema.items() if k != "required"}
    if "properties" in schema:
        changed["properties"] = {
            key: _or_null(_overlay(value)) for key, value in schema["properties"].items()
        }
    for key in ("anyOf", "oneOf"):
        if key in schema:
            changed[key] = [_overlay(option) for option in schema[key]]
    return changed


def _backbone(catalog: Catalog, dimension: str) -> Schema:
    names = [name for name, of in usable(catalog.backbones).items() if of == dimension]
    name = {"anyOf": [{"enum": names}, {"type": "string", "pattern": r"[/.~]"}]}
    section = inlined(BackboneSpec)
    section["properties"]["name"] = {**name, "description": "A known one, or a folder's path."}
    # timm has encoders of images alone.
    if dimension != "2d":
        del section["properties"]["timm"]
    section["anyOf"] = [{"required": [key]} for key in ORIGIN if key in section["properties"]]
    return {"anyOf": [*name["anyOf"], section]}


def _parameter(description: str | None) -> Schema:
    values: Schema = {"type": "array", "items": SCALAR, "minItems": 1, "uniqueItems": True}
    when: Schema = {
        "type": "object",
        "description": "Searched only where each parameter named here has one of these values.",
        "minProperties": 1,
        "additionalProperties": {"anyOf": [SCALAR, values]},
    }
    prior: Schema = {
        "type": "object",
        "description": "Where good values are expected; read with `search.priors: true`.",
        "properties": {"default": SCALAR, "confidence": {"enum": list(CONFIDENCES)}},
        "required": ["default"],
        "additionalProperties": False,
    }
    schema: Schema = {
        "type": "object",
        "properties": {
            "value": {**SCALAR, "description": "One value: the same as under `fixed`."},
            "values": {**values, "description": "Choices."},
            "min": {**NUMBER, "description": "Least value. Two integers make integers."},
            "max": {**NUMBER, "description": "Greatest value."},
            "q": {**NUMBER, "exclusiveMinimum": 0, "description": "Step from `min`."},
            "distribution": {"enum": [*RANGES, *CHOICES]},
            "when": when,
            "prior": _or_null(prior),
        },
        "additionalProperties": False,
        "anyOf": [{"required": ["value"]}, {"required": ["values"]}, {"required": ["min", "max"]}],
    }
    return {"anyOf": [SCALAR, schema], **({"description": description} if description else {})}

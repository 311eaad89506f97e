"""The JSON Schemas of what commands print with `--json`, made from the types of their results."""

from collections.abc import Mapping
from typing import TYPE_CHECKING

from pydantic import TypeAdapter
from pydantic.json_schema import GenerateJsonSchema, JsonSchemaMode, JsonSchemaValue
from pydantic_core.core_schema import FloatSchema

from sweeper.cli.output import SCHEMA
from sweeper.errors import UsageError, unknown
from sweeper.text import JsonObject

if TYPE_CHECKING:
    from sweeper.commands.result import Result

WRITTEN: JsonSchemaMode = "serialization"
FAULT = {"where": {"type": "string"}, "line": {"type": ["integer", "null"]},
         "message": {"type": "string"}}  # fmt: skip
ERROR = {
    "type": {"type": "string"},
    "message": {"type": "string"},
    "faults": {"type": "array", "items": {"type": "object", "properties": FAULT}},
}


class _Generator(GenerateJsonSchema):
    def float_schema(self, schema: FloatSchema) -> JsonSchemaValue:
        """Return the schema of a number, which is null where it is not finite."""
        return {"type": ["number", "null"]}


def schema_of(command: str) -> JsonObject:
    """Return the schema of a command's JSON object: one of its results, or an error.

    Raises:
        UsageError: There is no such command.
    """
    results = results_by_command()
    if command not in results:
        raise UsageError(f"--of: {unknown('command', command, results)}")
    inputs = [(kind.__name__, WRITTEN, TypeAdapter(kind)) for kind in results[command]]
    schemas, shared = TypeAdapter.json_schemas(inputs, schema_generator=_Generator)
    first = {"schema": {"const": SCHEMA}, "command": {"const": command}}
    choices = [_object({**first, "exit_code": {"type": "integer"}, "error": _object(ERROR)})]
    for result in schemas.values():
        # A command's own result gets further keys, so it cannot stay a definition to share.
        if (reference := result.get("$ref")) is not None:
            result = shared["$defs"].pop(reference.rpartition("/")[2])
        result["properties"] = {**first, **result["properties"]}
        result["required"] = [*first, *result["required"]]
        choices.insert(-1, result)
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": f"sweeper {command} --json",
        "anyOf": choices,
        **shared,
    }


def _object(properties: Mapping[str, object]) -> JsonSchemaValue:
    """Return the schema of an object with these keys alone."""
    return {"type": "object", "properties": properties, "required": [*properties],
            "additionalProperties": False}  # fmt: skip


Results = Mapping[str, tuple[type["Result"], ...]]  # by command


def results_by_command() -> Results:
    """Return what each command may print."""
    return {**_of_runs(), **_of_results(), **_of_data()}


def _of_runs() -> Results:
    """Return the results of commands that start, steer or keep sweeps."""
    from sweeper.commands import background, control, init, logs, look, plan, slurm, validate
    from sweeper.commands.importing import file
    from sweeper.commands.upkeep import delete, doctor, gc, mlflow, remarks

    return {
        "launch": (look.Summary, background.Detached, background.Sent),
        **dict.fromkeys(("run", "resume", "extend", "retry", "rerun", "fork"), (look.Summary,)),
        **dict.fromkeys(("stop", "cancel"), (control.Answer,)),
        **dict.fromkeys(
            (f"trial {verb}" for verb in ("stop", "skip", "retry", "add")), (control.TrialAnswers,)
        ),
        "logs": (logs.Log,),
        "slurm": (slurm.Submission,),
        "init": (init.NewFile, init.CopiedFile),
        "import": (file.ImportedFile,),
        "validate": (validate.Validated,),
        "plan": (plan.Plan,),
        "schema": (validate.Schema,),
        "ui": (mlflow.Pages,),
        "delete": (delete.Deleted, delete.DeletedSweep),
        "tag": (remarks.Tags,),
        "note": (remarks.Notes,),
        "sync": (mlflow.Synced,),
        "gc": (gc.Collected,),
        "doctor": (doctor.Checks,),
    }


def _of_results() -> Results:
    """Return the results of commands that show what was found."""
    from sweeper.commands import diagnose, look, models, optuna, reproduce, results, watch
    from sweeper.commands.benchmark import site, submission

    figures = (reproduce.Reproductions, reproduce.PaperWritten, submission.CheckedEvidence)
    return {
        "ls": (look.Sweeps, look.ShippedFiles),
        "status": (look.Summary, look.Sweeps, look.FailedTrials),
        "report": (results.File,),
        "watch": (watch.Served,),
        "best": (results.BestConfigurations,),
        "export": (results.Trials, results.File, models.ModelFolder, optuna.OptunaExport),
        "predict": (models.PredictionFile,),
        "diagnose": (diagnose.Diagnosis,),
        "compare": (results.CompareResult,),
        "reproduce": figures,
        "site": (site.Site,),
    }


def _of_data() -> Results:
    """Return the results of commands about methods, tasks and data."""
    from sweeper.commands import audit, data, reference, show_data

    return {
        "describe": (reference.Reference,),
        "audit": (audit.BenchmarkAudited, audit.TaskAudited),
        "data list": (data.DataList,),
        "data import": (data.Imported,),
        "data init": (data.Proposed,),
        "data generate": (data.Generated,),
        "data verify": (data.VerifiedTask, data.VerifiedSource),
        "data show": (show_data.DataShown,),
        "data delete": (data.DeletedData,),
    }

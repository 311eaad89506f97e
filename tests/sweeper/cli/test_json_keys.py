"""The keys of the JSON objects that commands print: programs read them, so they stay."""

from dataclasses import fields

import pytest

from sweeper.commands import (
    audit,
    background,
    control,
    data,
    diagnose,
    logs,
    look,
    plan,
    reference,
    results,
    slurm,
    validate,
    watch,
)
from sweeper.commands.benchmark import site, submission
from sweeper.commands.importing import file
from sweeper.commands.result import Result
from sweeper.commands.upkeep import delete, doctor, gc, mlflow, remarks

KEYS: dict[type, str] = {
    audit.BenchmarkAudited: "benchmark answer tasks html",
    audit.PredictorRow: "name test validation seconds reason",
    background.Detached: "message sweep folder pid log exit_code",
    background.Sent: "message sweep exit_code name address workdir job insecure",
    control.Answer: "message sweep was_running",
    control.TrialAnswer: "trial state answer",
    control.TrialAnswers: "message sweep trials",
    data.DataList: "tasks proxies",
    data.TaskData: "name title source published licence samples shape output_shape bytes kind "
    "metric compat_metric protocol here obtain import",
    data.SourceData: "name title dimension classes dense contents licence present obtain import",
    data.Imported: "message task source folder notes",
    data.Generated: "message task folder",
    data.VerifiedTask: "message task sets",
    data.VerifiedSet: "set folder faults findings samples nearest",
    data.VerifiedSource: "message source samples classes content_hash notes",
    data.DeletedData: "message name folders bytes sweeps",
    delete.Deleted: "message sweep deleted",
    delete.DeletedSweep: "message sweep deleted trials folder freed_bytes linked_bytes store "
    "store_bytes ledger runs runs_deleted",
    file.ImportedFile: "message path tool parameters dropped",
    diagnose.Diagnosis: "sweep study trial checkpoint folder files notes",
    diagnose.DiagnosticFile: "what rows found path",
    doctor.Check: "what state found",
    gc.Collected: "message place max_bytes dry_run released kept kept_bytes deleted deleted_bytes "
    "leftovers leftover_bytes plugins plugin_bytes",
    logs.Log: "sweep trial lines",
    look.Sweeps: "sweeps",
    look.ShippedFiles: "shipped",
    look.SweepLine: "sweep state profile studies trials age_s tags reason on",
    look.Summary: "sweep state exit_code profile experiment folder trials studies cost tags "
    "remarks notes rerun waiting_for_nodes",
    look.StudySummary: "study method task objective trials best control preset baselines floor "
    "data_source protocol backbone pretrained proxy ended_early",
    look.TrialSummary: "trial kind state value epoch validation test seeds params checkpoint cells",
    look.Rerun: "study trial origin seed state value origin_value",
    look.FailedTrials: "sweep failed notes",
    look.FailedTrial: "trial study number kind failure attempts reason",
    mlflow.Pages: "message pages",
    mlflow.Synced: "message sweep shipped pending restored",
    validate.Schema: "json_schema",
    watch.Served: "message sweep address token_file",
    validate.Validated: "message sweep profile notes studies resolved",
    plan.Plan: "sweep profile experiment studies trials max_epochs expected_epochs resources "
    "cluster unschedulable exit_code price uncalibrated notes",
    plan.PlannedStudy: "study method task trials kinds parameters stages distinct max_epochs "
    "epochs rungs backbone proxy data",
    plan.PlannedStage: "stage epochs runs shared max_epochs expected_epochs",
    reference.Reference: "kind name title facts parameters notes",
    reference.Parameter: "name meaning default limits",
    remarks.Tags: "message sweep tags",
    remarks.Notes: "message sweep remarks",
    results.File: "message sweep path",
    results.Trials: "sweep trials",
    results.BestConfigurations: "sweep studies file",
    results.BestOfStudy: "study objective metric best why_none",
    results.GateResult: "expression met claims",
    site.Site: "message path pages evidence",
    slurm.Submission: "message sweep script file job",
    submission.CheckedEvidence: "message evidence seed seeds is_confirmed retraining unlike path "
    "exit_code",
}


@pytest.mark.parametrize(
    ("kind", "keys"), KEYS.items(), ids=lambda each: getattr(each, "__name__", "")
)
def test_the_keys_of_a_result_stay(kind: type[Result], keys: str) -> None:
    assert [field.name.rstrip("_") for field in fields(kind)] == keys.split()

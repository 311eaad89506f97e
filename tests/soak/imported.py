"""A sweep of thousands of trials, written into a ledger.

The file is a real one; its suggestions are random. A trial takes five epochs, and every third one
is pruned after three.
"""

import math
import time
from collections.abc import Iterable
from contextlib import closing
from pathlib import Path

from sqlalchemy import create_engine, insert, select

from sweeper.core.study_runner import StudyPlan
from sweeper.ledger import Ledger, schema
from sweeper.ledger.rows import dump_json, load_json, sealed
from sweeper.model import Outcome, StudyFacts, Trial, TrialKind, TrialState
from sweeper.planning import load, resuming
from sweeper.planning.studies import make_plans
from sweeper.spec.sweep import Sweep
from tests.support.command import ROOT
from tests.support.compared_ledgers import facts_of
from tests.support.trials import measured, sampled

NAME, TASK = "imported", "pdebench/advection_1d"
STUDY = f"mona/{TASK}"
EPOCHS, PRUNED_AFTER = 5, 3
WRITTEN = 500  # trials that are written one by one
MORE = 100  # trials that the sweep has yet to run


def read_sweep(num_trials: int, sampler: str = "tpe") -> Sweep:
    """Read the sweep's file, for so many trials and a few more."""
    sets = (f"tasks=[{TASK}]", f"search.sampler={sampler}", f"refine.epochs={EPOCHS}")
    options = load.Options(profile="laptop", sets=sets, trials=num_trials + MORE, name=NAME)
    return load.read(ROOT / "search_spaces/mona_pdebench.yaml", options)


def plan_of(sweep: Sweep, ledger: Ledger) -> StudyPlan:
    """Return the plan of the sweep's only study."""
    (plan,) = make_plans(sweep, ledger, {STUDY: StudyFacts.from_json(facts_of(TASK))})
    return plan


def begin(ledger: Ledger, num_trials: int) -> StudyPlan:
    """Write that the sweep has started; return a plan that suggests at random."""
    resuming.match(ledger, read_sweep(num_trials), text="")
    ledger.start({})
    return plan_of(read_sweep(num_trials, "random"), ledger)


def write(folder: Path, num_trials: int) -> None:
    """Write the whole sweep: so many trials, most of them copies of the first few hundred."""
    with closing(Ledger.in_folder(folder)) as ledger:
        plan = begin(ledger, num_trials)
        write_trials(ledger, plan, range(min(WRITTEN, num_trials)), folder)
        copy_trials(ledger, WRITTEN, num_trials)
        ledger.end("interrupted")


def write_trials(
    ledger: Ledger, plan: StudyPlan, numbers: Iterable[int], folder: Path
) -> list[float]:
    """Write trials as a driver would; return how many core-seconds the writes of each took."""
    seconds = []
    for number in numbers:
        trial = suggested(plan, number)
        began = time.process_time()
        _write(ledger, trial, folder)
        seconds.append(time.process_time() - began)
    return seconds


def copy_trials(ledger: Ledger, first: int, until: int) -> None:
    """Add trials `first` to `until`, which repeat those before them, in a few statements."""
    tables = (schema.trials, schema.events)
    engine = create_engine(ledger.url, json_serializer=dump_json, json_deserializer=load_json)
    with engine.begin() as connection:
        originals = {
            table: connection.execute(
                select(table).where(table.c.number < first).order_by(*table.primary_key)
            ).mappings().all()
            for table in tables
        }  # fmt: skip
        for start in range(first, until, first):
            for table, rows in originals.items():
                copies = [
                    {**row, "number": row["number"] + start}
                    for row in rows
                    if row["number"] < until - start
                ]
                for copy in copies:
                    copy.pop("seq", None)
                connection.execute(insert(table), [sealed(table, copy) for copy in copies])
    engine.dispose()


def suggested(plan: StudyPlan, number: int) -> Trial:
    """Return the trial that a study plans under `number`."""
    kind, params = TrialKind.SAMPLED, {}
    if number < len(plan.leading):
        kind, params = plan.leading[number]
    else:
        params = plan.sampler.ask(number)
    chosen = tuple(params) if kind is TrialKind.SAMPLED else ()
    facts = {"kind": kind, "params": plan.complete(params), "sampled": chosen}
    return sampled(plan.study.name, number, seed=plan.trial_seed(number), **facts)


def _write(ledger: Ledger, trial: Trial, folder: Path) -> None:
    """Write a trial from its start to its end: so many transactions as it has epochs, and two."""
    key = trial.study, trial.number
    ledger.add_trial(trial)
    attempt = ledger.start_attempt(*key)
    floor = 0.05 + 0.02 * abs(math.log10(trial.params["refine.lr"]) + 3.5)
    is_pruned = trial.kind is TrialKind.SAMPLED and trial.number % 3 == 0
    for epoch in range(1, (PRUNED_AFTER if is_pruned else EPOCHS) + 1):
        value = floor + math.exp(-0.7 * epoch)
        is_final = epoch == EPOCHS
        outcome = None
        if is_final:
            outcome = Outcome(state=TrialState.COMPLETE, test={"test/nrmse": value * 1.1})
        elif is_pruned and epoch == PRUNED_AFTER:
            reason = f"worse than its peers at refine epoch {epoch}"
            outcome = Outcome(state=TrialState.PRUNED, reason=reason)
        measurement = measured(
            epoch,
            value,
            num_epochs=EPOCHS,
            metrics={"refine/train_loss": value**2, "val/nrmse": value},
            is_final=is_final,
            checkpoint=f"{folder}/trials/{trial.number:04d}/attempt-1/refine-{epoch:04d}",
            seconds=2.1 * epoch,
            peak_memory_bytes=812_000_000 + trial.number,
        )
        ledger.measure(*key, attempt, measurement, outcome)

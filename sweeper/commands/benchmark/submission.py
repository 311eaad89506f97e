"""The check of submitted evidence: it follows from its seeds, and one of them is trained again.

The files fix their hash, which draws the seed; a salt that nobody knew when the files were made,
such as the number of the run that checks, keeps whoever made them from choosing it. Equal bits
confirm the evidence. On another processor the last bits differ, and training magnifies them, so
that what is closer than the seeds of an arm lie to each other confirms it, too. A confirmation in
the file itself counts for nothing.
"""

import json
import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory

from rich.console import Console

from sweeper.commands.reproduce import Asked, Runs, key_of, name_again
from sweeper.commands.result import Message
from sweeper.commands.results import write_evidence
from sweeper.errors import GateNotMet
from sweeper.model import Floor
from sweeper.planning import load as planned
from sweeper.planning.load import Options
from sweeper.provenance import processor
from sweeper.results.floors import floors_at
from sweeper.results.reproduction.evidence import Evidence, Key, Retrained, Retraining
from sweeper.results.reproduction.files import load
from sweeper.text import counted, readable

ROUNDING = 0.01  # by which a floor may differ on another processor, relative


@dataclass(frozen=True, kw_only=True)
class CheckedEvidence(Message):
    """The result of a check."""

    evidence: str
    seed: int  # its number, from 0
    seeds: int
    is_confirmed: bool = False
    retraining: Retraining | None = None  # None: it did not end well
    unlike: tuple[str, ...] = ()  # a line for each result that differs
    path: Path | None = None  # of the evidence with its confirmation, if that was asked for
    exit_code: int


def check(file: Path, asked: Asked, *, salt: str, console: Console) -> CheckedEvidence:
    """Check the aggregates of evidence, train one seed of each arm again, and compare.

    Args:
        file: The JSON file of the evidence.
        asked: Where to run, and the folder to write confirmed evidence into.
        salt: Text that draws the seed together with the hash of the files.
        console: The place of the progress.

    Raises:
        UsageError: The file is no evidence, or a value does not follow from its seeds.
        FileFaults: Its settings are no valid sweep.
    """
    evidence = replace(load(file), confirmed=None, scatter=())
    runs, here = Runs(asked, console), processor()
    seed = evidence.drawn_seed(salt)
    with TemporaryDirectory() as folder:
        own = Path(folder) / "submitted.yaml"
        own.write_text(json.dumps({**evidence.key.settings, "name": evidence.name}), "utf-8")
        options = Options(address=asked.address, insecure=asked.insecure)
        now = key_of(planned.read(own, options))
        name = name_again(evidence, now, here, seed)
        trained = runs.retrained(evidence, own, options, name=name, seed=seed)
    told = CheckedEvidence(
        message=f"{evidence.name}: not confirmed: seed {seed} could not be trained.",
        evidence=evidence.name,
        seed=seed,
        seeds=evidence.num_seeds,
        exit_code=runs.exit_code or GateNotMet.exit_code,
    )
    if trained is None:
        return told
    found = evidence.compare(trained, seed=seed)
    told = replace(told, retraining=found, unlike=tuple(evidence.unlike(trained)))
    if reasons := list(_objections(evidence, trained, found, now)):
        lines = [f"{evidence.name}: not confirmed: {'; '.join(reasons)}.", *told.unlike]
        return replace(told, message="\n  ".join(lines))
    kept = replace(evidence, key=replace(evidence.key, code=now.code), confirmed=found)
    how = "all bits are equal"
    if found.unlike:
        kept = replace(evidence, scatter=(found,))
        how = f"results differ by up to {readable(found.largest)}"
    return replace(
        told,
        message=f"{evidence.name}: {kept.confirmation}: {how} in "
        f"{counted(found.trainings, 'training')} of seed {seed} on {found.processor}.",
        is_confirmed=True,
        path=None if asked.evidence is None else write_evidence(kept, asked.evidence),
        exit_code=0,
    )


def _objections(
    evidence: Evidence, trained: Retrained, found: Retraining, now: Key
) -> Iterator[str]:
    """Yield why later trainings do not confirm evidence."""
    yield from _of_facts(evidence, trained)
    if not found.is_whole:
        yield f"{found.trainings} of {len(evidence.arms)} arms were trained with seed {found.seed}"
    if not found.unlike:
        return
    code = evidence.key.changes(now).get("code")
    if code is not None:
        yield f"it is of other code ({code}): export it again by the present one"
    mine = evidence.machine.processor
    is_other = mine is not None and mine != found.processor
    if code is not None or not is_other or not found.is_within_seeds:
        how = f", {readable(found.spread)} deviations over seeds" if found.spread else ""
        yield (
            f"{found.unlike} of {found.trainings} trainings of seed {found.seed} differ, "
            f"by up to {readable(found.largest)}{how}"
        )


def _of_facts(evidence: Evidence, trained: Retrained) -> Iterator[str]:
    """Yield where data or floors are not those of the later trainings.

    Of data that another processor generated the floors alone are compared.
    """
    elsewhere = evidence.made_elsewhere(processor())
    mine = {arm.name: arm for arm in evidence.arms}
    both = [
        (mine[name], arm)
        for part in trained.parts
        for arm in part.arms
        if (name := trained.names.get(arm.name, arm.name)) in mine
    ]
    for arm, again in both:
        seeds = {each.seed: each for each in again.trainings}
        floors, anew = floors_at(arm.of.facts, seeds), floors_at(again.of.facts, seeds)
        for seed, training in seeds.items():
            told = next((arm.of.content_hash(e) for e in arm.trainings if e.seed == seed), None)
            is_same = told in (None, again.of.content_hash(training))
            if not is_same and arm.of.study.task not in elsewhere:
                yield f"{arm.name}, seed {seed}: it has other data"
            elif seed in floors and seed in anew and not _alike(floors[seed], anew[seed]):
                values = f"{floors[seed].value}, and computed again {anew[seed].value}"
                yield f"{arm.name}, seed {seed}: the floor is {values} ({anew[seed].name})"


def _alike(floor: Floor, anew: Floor) -> bool:
    """Return whether two floors are the same but for rounding on another processor."""
    # A floor near zero has no relative precision, so it gets an absolute one.
    is_close = math.isclose(floor.value, anew.value, rel_tol=ROUNDING, abs_tol=ROUNDING**2)
    return floor.name == anew.name and is_close

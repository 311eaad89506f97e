"""The attempt configs that workers receive, the specs of trials, and the look-up of trials."""

import hashlib
import json
import re
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from sweeper.core.equal_trainings import Training
from sweeper.core.expected_epochs import rungs
from sweeper.core.replication import drawn_by
from sweeper.errors import NotFound, unknown
from sweeper.ledger import Ledger
from sweeper.ledger.records import CheckpointName
from sweeper.model import DataDraw, Params, Study, StudyFacts, Trial, TrialKind, trial_name
from sweeper.planning.checkpoint_paths import CheckpointPaths
from sweeper.planning.data.draws import data_of
from sweeper.planning.resources import memory_of, threads_of
from sweeper.planning.stage_store import place_of
from sweeper.spec.catalog import model_settings
from sweeper.spec.faults import shown
from sweeper.spec.goals import Goals
from sweeper.spec.schema import PROMOTE
from sweeper.spec.study import EPOCHS, StudySpec
from sweeper.spec.sweep import Sweep
from sweeper.tracking.mlflow_store import MARK
from sweeper.tracking.outline import study_label
from trainables.methods.program import data_set_of, program_of
from trainables.methods.registry import METHODS, can_halve
from trainables.report import Measurement
from trainables.spec import AttemptConfig, BackboneSpec, ProgramSpec, TrialSpec, with_choices
from trainables.tasks.registry import own_benchmark_of

FOLLOWER = "sweeper.tracking.program_runs"  # module
NUMBER = re.compile(r"[0-9]{1,9}")
SEEDS = 2**32  # that NumPy and scikit-learn take, so that a program can pass its own on
REPLICATE = re.compile(r"([0-9]{1,9}) seed ([0-9]{1,20})")  # the name of its run in MLflow
PATIENCE_S = 20.0  # timeout of the store: all other trials wait meanwhile


class TrialBuilder:
    """Builder of attempt configs (an `AttemptBuilder`) for the trials of one sweep.

    Args:
        pin: The name under which the sweep pins the stage results that it uses.
        facts: The recorded facts of each study.
        measurements: A function from a study and a number to the trial's measurements, oldest
            first.
        trial_of: A function from a study and a number to the trial.
    """

    def __init__(
        self,
        sweep: Sweep,
        paths: CheckpointPaths,
        home: Path,
        pin: str,
        facts: Mapping[str, StudyFacts],
        *,
        measurements: Callable[[str, int], Sequence[Measurement]] = lambda study, number: (),
        trial_of: Callable[[str, int], Trial],
    ) -> None:
        self._sweep, self._paths, self._home, self._pin = sweep, paths, home, pin
        self._facts, self._measurements, self._trial_of = facts, measurements, trial_of
        self._tracking = ""
        self._studies: Mapping[str, StudySpec] = {s.name: s for s in sweep.studies}

    def let_write_runs(self, uri: str) -> None:
        """Let programs write runs to MLflow at this address, if they report so."""
        self._tracking = uri

    def __call__(self, trial: Trial) -> AttemptConfig:
        study = self._studies[trial.study]
        facts = self._facts[trial.study]
        draw = facts.draws.get(str(drawn_by(trial, self._trial_of)))
        program = program_of(study.entry)
        return AttemptConfig(
            spec=self._spec(study, trial, draw)
            if program is None
            else self._program_trial(program, study, trial),
            is_program=program is not None,
            content_hash=facts.content_hash if draw is None else draw.content_hash,
            label=f"{self._sweep.name} {trial.name}",
            folder=str(self._paths.scratch(trial)),
            store=self._paths.store_of_attempt(trial),
            resume=self._resume(trial, tuple(study.entry.stages)),
            checkpoint_every=self._sweep.checkpoints.every,
            judged=self._judged(study, trial),
            threads=threads_of(self._sweep),
            gpu=float(self._sweep.resources.gpu),
            processes=self._sweep.resources.num_processes,
            memory_bytes=memory_of(self._sweep),
            name=f"{self._sweep.name}/{trial.name}",
            stage_store=place_of(self._sweep, study),
            stage_pin=self._pin,
        )

    def _program_trial(
        self, program: ProgramSpec, study: StudySpec, trial: Trial
    ) -> dict[str, Any]:
        promotes = self._sweep.pruning.type == PROMOTE and trial.kind is TrialKind.SAMPLED
        pauses_at = study.min_epochs if promotes else None
        plain = program_trial(study, trial.params, seed=trial.seed, pauses_at=pauses_at)
        if not program.writes_runs:
            return plain
        mark = f"{runs_mark(self._pin, trial)}{trial.attempt}"
        # The program's folder, from which it runs, must not hide our modules.
        follows = [sys.executable, "-P", "-m", FOLLOWER, mark, program.metric]
        environment = {
            "MLFLOW_TRACKING_URI": self._tracking,
            "MLFLOW_EXPERIMENT_NAME": self._sweep.experiment,
            "MLFLOW_RUN_CONTEXT": json.dumps({MARK: mark}),  # tags of each run that it begins
        }
        return {**plain, "reporter": follows, "environment": environment}

    def _spec(self, study: StudySpec, trial: Trial, draw: DataDraw | None) -> dict[str, Any]:
        spec = _plain_spec(study, trial.params, trial.seed, self._home, draw)
        chosen = with_choices(spec["model"], vars(self._facts[trial.study]))
        return {**spec, "model": chosen, "halvings": trial.halvings}

    def _resume(self, trial: Trial, stages: Sequence[str]) -> tuple[str, ...]:
        """Return the checkpoints from which the trial may continue, the latest epoch first."""
        past = self._measurements(trial.study, trial.number) if trial.attempt > 1 else ()
        named, last = self._paths.checkpoint(trial), past[-1] if past else None
        # The store is asked only about trials of which the ledger has an epoch: others wait for its
        # answer.
        if named is None and last is None:
            return ()
        found = self._paths.checkpoints(trial, timeout_s=PATIENCE_S)
        return tuple(measured(named, found, stages, last))

    def _judged(self, study: StudySpec, trial: Trial) -> tuple[int, ...]:
        """Return the epochs with an objective after which the trial may be pruned or paused."""
        if trial.kind is not TrialKind.SAMPLED:
            return ()
        pruning = self._sweep.pruning
        epochs = int(trial.params[f"{study.objective_stage}.epochs"])
        return rungs(pruning.type, min_epochs=study.min_epochs, eta=pruning.eta, epochs=epochs)

    def can_halve(self, trial: Trial, stage: str | None) -> bool:
        """Return whether the micro-batches of `stage` (None: of any stage) can be halved again."""
        study = self._studies[trial.study]
        settings = study.stages_of(trial.params)
        return any(
            can_halve(
                study.method,
                name,
                settings[name],
                halvings=trial.halvings,
                processes=self._sweep.resources.num_processes,
            )
            for name in ([stage] if stage in settings else settings)
        )


def measured(
    named: str | None,
    found: Sequence[str],
    stages: Sequence[str],
    last: Measurement | None = None,
) -> list[str]:
    """Return the checkpoints from which a trial may continue, the latest epoch first.

    Checkpoints of epochs that the ledger lacks are left out. They come from a process that was
    stopped between saving and reporting; a trial that continued there would skip a measurement. The
    order follows from names, because a copy of a sweep may have other file times.

    Args:
        named: The place of the checkpoint that the ledger names, if any. It is returned even if it
            is not in `found`: the attempt then reports its absence and uses the next one. Newer
            ones may be complete, because a report names the checkpoint of an earlier epoch.
        found: The places of the existing checkpoints.
        stages: The stages of the trial, in the order in which they run.
        last: The last measurement of the trial, if any.
    """
    latest = None if named is None else _position(named, stages)
    if named is not None and latest is None:  # an arbitrary path
        return [named]
    ends = [] if latest is None else [latest[:2]]
    if last is not None and last.stage in stages:
        ends.append((stages.index(last.stage), last.epoch))
    positions = {place: _position(place, stages) for place in (*found, *filter(None, [named]))}
    kept = {place: at for place, at in positions.items() if at and ends and at[:2] <= max(ends)}
    return sorted(kept, key=lambda place: kept[place], reverse=True)


def _position(place: str, stages: Sequence[str]) -> tuple[int, int, int] | None:
    """Return the stage index, the epoch and the attempt of a checkpoint, for sorting."""
    name = CheckpointName.parse(place)
    if name is None or name.stage not in stages:
        return None
    return stages.index(name.stage), name.epoch, name.attempt


def find_trial(ledger: Ledger, text: str) -> Trial:
    """Return the trial that a user names as `STUDY/NUMBER`, or by its number in a lone study.

    The name may also have the form of any output: with the sweep as a prefix, with the kind as a
    suffix, with leading zeros, or as the name of the run in MLflow.

    Raises:
        NotFound: There is no such trial. The message lists the known ones.
    """
    study, number = place_of_trial(ledger, text)
    trials = {trial.number: trial for trial in ledger.trials(study)}
    if not trials:
        raise NotFound(f"`{study}` has no trial yet.")
    if number not in trials:
        raise NotFound(unknown("trial", str(number), map(str, trials)))
    return trials[number]


def place_of_trial(ledger: Ledger, text: str) -> tuple[str, int]:
    """Return the study and the number of a trial that a user names, which may be yet to come.

    Raises:
        NotFound: There is no such study, or the text is no name of a trial.
    """
    studies = ledger.studies()
    if not studies:
        raise NotFound(f"sweep `{ledger.name}` has no trial yet: its launch has just begun.")
    names = [study.name for study in studies]
    study, number = _parts(text, studies, ledger.name)
    if study in names and (found := REPLICATE.fullmatch(number)):
        number = _number_of_replicate(ledger, study, int(found[1]), int(found[2])) or number
    if not study and len(names) == 1 and "/" not in text:
        study = names[0]
    shown_study = study if study in names else next(iter(names), "STUDY")
    how = f" Write a trial as {trial_name(shown_study, 0)}."
    if not NUMBER.fullmatch(number):
        raise NotFound(f"{shown(text)} names no trial.{how}")
    if study not in names:
        raise NotFound(
            unknown("study", study, names) if study else f"{number}: of which study?{how}"
        )
    return study, int(number)


def _number_of_replicate(ledger: Ledger, study: str, origin: int, seed: int) -> str | None:
    """Return the number of the replicate of the trial `origin` with `seed`."""
    found = ledger.trials(study, kind=TrialKind.REPLICATE)
    return next((str(t.number) for t in found if (t.origin, t.seed) == (origin, seed)), None)


def _parts(text: str, studies: Sequence[Study], sweep: str) -> tuple[str, str]:
    """Split a user's text into a study ("" if it names none) and a number."""
    head, *rest = text.strip().split(" · ")
    if rest:  # the name of a run in MLflow: `003 · mona · advection_1d`
        label = " · ".join(rest)
        found = [s.name for s in studies if study_label(s) == label] or [label]
        if len(found) > 1:  # tasks of two benchmarks
            raise NotFound(f"{shown(text)} can be of {' or '.join(found)}. Write STUDY/NUMBER.")
        return found[0], head
    # Tables append the kind: `STUDY/NUMBER preset`.
    words = text.split()
    if len(words) > 1 and words[-1] in set(TrialKind):
        words.pop()
    study, _, number = "/".join(words).rpartition("/")
    # A method may have the name of the sweep, so the name of a study comes first.
    if study.startswith(f"{sweep}/") and study not in {s.name for s in studies}:
        study = study.removeprefix(f"{sweep}/")
    return study, number


def spec_of(study: StudySpec, params: Params, *, seed: int, home: Path) -> TrialSpec:
    """Return the spec of a trial of a study with complete `params` and the data of the search."""
    return TrialSpec.model_validate(_plain_spec(study, params, seed, home, None))


def _plain_spec(
    study: StudySpec, params: Params, seed: int, home: Path, draw: DataDraw | None
) -> dict[str, Any]:
    """Return the spec of a trial as JSON.

    The complete `params` were checked when the trial was drawn, and the worker validates the spec:
    nothing is validated in between. `draw` has its data; None: those of the search.
    """
    own = own_benchmark_of(study.task)
    return {
        "method": study.method,
        "task": study.task,
        "backbone": study.backbone,
        "proxy": study.proxy_of(params),
        "data": data_of(study, None if draw is None else draw.seed).model_dump(mode="json"),
        "model": {**study.model, **model_settings(params)},
        "stages": study.stages_of(params),
        "seed": seed,
        "home": str(home),
        "definition": None if own is None else own.definitions[study.task].content,
    }


def runs_mark(pin: str, trial: Trial) -> str:
    """Return how the marks of the runs begin that the program of a trial writes to MLflow."""
    return f"{pin}/{trial.name}/"


def program_trial(
    study: StudySpec, params: Params, *, seed: int, pauses_at: int | None = None
) -> dict[str, Any]:
    """Return a trial of a study's program as JSON, a `ProgramTrial`."""
    program = program_of(study.entry)
    assert program is not None
    (found,) = study.stages_of(params).values()
    # A parameter of this program alone begins with its name.
    short = {name.removeprefix(f"{program.name}."): value for name, value in found.items()}
    named = {k: v for k, v in short.items() if k != EPOCHS or program.steps is not None}
    return {
        "program": program.model_dump(mode="json"),
        "params": named,
        "data": data_set_of(study.task),
        "seed": seed % SEEDS,
        "pauses_at": pauses_at,
    }


def shares_trainings(sweep: Sweep, study: StudySpec) -> bool:
    """Return whether equal trials of a sweep are trained once.

    A trial that another has trained costs nothing, so that nothing may depend on its cost. What a
    program does, it alone knows.
    """
    if program_of(study.entry) is not None:
        return False
    goals = Goals.of(sweep.resolved, study.objective)
    return goals.are_plain and sweep.budget.device_hours is None


def training_of(study: StudySpec, facts: StudyFacts, home: Path, trial: Trial) -> Training | None:
    """Return the training of a trial, which equal trials of a sweep share; None: its own.

    A trial that a sampler draws, or a user suggests or reruns, has one of its own.
    """
    if trial.kind in (TrialKind.SAMPLED, TrialKind.SUGGESTED, TrialKind.RERUN):
        return None
    draw = facts.draws.get(str(trial.seed)) if trial.kind is TrialKind.REPLICATE else None
    plain = _plain_spec(study, trial.params, trial.seed, home, draw)
    configs = study.entry.configs(plain["stages"]).items()
    # A stage of no epochs leaves no trace in the training.
    stages = {name: config for name, config in configs if config.epochs}
    last = stages[study.objective_stage]
    if len(stages) == 1 and (vanilla := last.vanilla) is not None:
        # No name of a method and of its stage changes bits, nor does a source that is not read.
        plain |= {"method": "", "stages": {"": vanilla.model_dump(mode="json")}}
        if not vanilla.probe_every:
            plain["proxy"] = None
    else:
        plain["stages"] = {name: each.model_dump(mode="json") for name, each in stages.items()}
    chosen = facts.products, facts.precision  # where the settings leave them to the sweep
    text = json.dumps([plain, chosen], sort_keys=True, default=str)
    return Training(key=hashlib.sha256(text.encode()).hexdigest(), stage=study.objective_stage)


def network_of(study: StudySpec) -> str:
    """Return a description of a study's backbone, or the title of its method's own network."""
    backbone = study.backbone_spec
    if backbone is not None:
        return describe(backbone)
    network = METHODS[study.method].network
    assert network is not None
    return network.title


def describe(backbone: BackboneSpec) -> str:
    """Return a short description of a backbone: its name, and the layers and tokens in use."""
    cuts = [
        f"{count} {what}"
        for count, what in (
            (backbone.layers, "layers"),
            (backbone.pretrained_layers, "pretrained"),
            (backbone.tokens, "tokens"),
        )
        if count is not None
    ]
    return f"{backbone.name} ({', '.join(cuts)})" if cuts else backbone.name

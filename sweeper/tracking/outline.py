"""The names, tags, parameters and parents of the MLflow runs of a sweep."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from sweeper.core.replication import drawn_by
from sweeper.ledger import Ledger, SweepRecord
from sweeper.model import DataDraw, Study, StudyFacts, Trial, TrialKind
from sweeper.spec.catalog import PROXY


@dataclass(frozen=True)
class Entity:
    """The subject of a run: the sweep (`study` None), a study (`number` None) or a trial."""

    study: str | None = None
    number: int | None = None

    @property
    def key(self) -> str:
        """The name under which the ledger keeps the run's id."""
        if self.study is None:
            return "sweep"
        return f"study/{self.study}" if self.number is None else f"trial/{self.study}/{self.number}"

    @property
    def parent(self) -> "Entity | None":
        if self.study is None:
            return None
        return Entity() if self.number is None else Entity(self.study)


SWEEP = Entity()
SHARED = ("backbone", "pretrained", "proxy", "data_source", "protocol")  # facts of all trials


@dataclass(frozen=True)
class Outline:
    """The content of the ledger besides events. Only the states of trials change."""

    record: SweepRecord
    studies: Mapping[str, Study]
    facts: Mapping[str, StudyFacts]
    trials: dict[Entity, Trial]

    def data_of(self, trial: Trial) -> DataDraw | StudyFacts:
        """Return the data of a trial: the draw of its seed, or else those of its study."""
        facts = self.facts[trial.study]
        seed = drawn_by(trial, lambda study, number: self.trials[Entity(study, number)])
        return facts.draws.get(str(seed), facts)


def read_outline(ledger: Ledger) -> Outline | None:
    """Return the outline of a ledger, or None if it has no sweep yet."""
    record = ledger.sweep()
    if record is None:
        return None
    studies = {study.name: study for study in ledger.studies()}
    return Outline(
        record=record,
        studies=studies,
        facts={name: ledger.facts(name) for name in studies},
        trials={Entity(t.study, t.number): t for t in ledger.trials()},
    )


def run_name(entity: Entity, outline: Outline) -> str:
    """Return the name of a run: `003 · mona · advection_1d`.

    The number comes first, because columns cut long names. A replicate has the number of the
    repeated trial and its own seed: `003 seed 7 · mona · advection_1d`.
    """
    if entity.study is None:
        return outline.record.name
    name = study_label(outline.studies[entity.study])
    if entity.number is None:
        return name
    trial = outline.trials[entity]
    if trial.kind is TrialKind.REPLICATE and trial.origin is not None:
        return f"{trial.origin:03d} seed {trial.seed} · {name}"
    return f"{entity.number:03d} · {name}"


def study_label(study: Study) -> str:
    """Return the name of a study's run: `mona · advection_1d`, and the arm of an ablation."""
    return " · ".join(filter(None, (study.method, study.task.rpartition("/")[2], study.arm)))


def identity_tags(entity: Entity, outline: Outline) -> dict[str, str]:
    """Return the tags that identify a run: level, sweep, study, trial, method, task, facts."""
    record = outline.record
    tags: dict[str, object] = {
        "mlflow.source.name": "sweeper",
        "mlflow.source.git.commit": record.provenance.get("git_commit"),
        "sweeper.level": entity.key.partition("/")[0],
        "sweeper.sweep": record.name,
        "sweeper.config_hash": record.config_hash,
        "sweeper.profile": record.profile,
        "sweeper.git_commit": record.provenance.get("git_commit"),
        "sweeper.plugins": ", ".join(record.plugins) or None,
    }
    if entity.study is not None:
        study, facts = outline.studies[entity.study], outline.facts[entity.study]
        tags |= {
            "sweeper.study": study.name,
            "sweeper.method": study.method,
            "sweeper.task": study.task,
            "sweeper.objective": study.objective,
            "sweeper.seed": study.seed,
        }
        tags |= {f"sweeper.{name}": getattr(facts, name) for name in (*SHARED, "content_hash")}
    if entity.number is not None:
        trial = outline.trials[entity]
        tags |= {
            "sweeper.content_hash": outline.data_of(trial).content_hash,
            "sweeper.trial": trial.number,
            "sweeper.kind": trial.kind,
            "sweeper.seed": trial.seed,
            "sweeper.sampled": ", ".join(trial.sampled) or None,
            "sweeper.origin": trial.origin,
        }
        if PROXY in trial.params:  # the study has several; this trial reads one
            tags["sweeper.proxy"] = trial.params[PROXY]
    return {name: str(value) for name, value in tags.items() if value is not None}


def run_params(entity: Entity, outline: Outline) -> dict[str, str]:
    """Return the params of a run.

    The params of a trial are all its hyperparameters. Those of a study are its method, its task and
    its facts, for comparisons of studies in MLflow. A sweep has none.
    """
    if entity.number is not None:
        return {name: str(value) for name, value in outline.trials[entity].params.items()}
    if entity.study is None:
        return {}
    study, facts = outline.studies[entity.study], outline.facts[entity.study]
    about = {"method": study.method, "task": study.task, **{n: getattr(facts, n) for n in SHARED}}
    return {name: str(value) for name, value in about.items() if value is not None}


def taken_over_tags(
    taken_over: Mapping[str, str],
    outline: Outline,
    run_ids: Mapping[str, str],
    address_of: Callable[[str], str],
) -> dict[str, str]:
    """Return the tags of a trial with stages of other trials, with links to these trials.

    Args:
        taken_over: Stage -> the trial that computed it, as "SWEEP/STUDY/NUMBER".
        outline: The outline of the sweep.
        run_ids: Key of an entity -> id of its run.
        address_of: A function from the id of a run to the address of its page.
    """
    tags, lines = {}, []
    for stage, builder in taken_over.items():
        sweep, _, trial = builder.partition("/")
        study, _, number = trial.rpartition("/")
        words = f"trial {number} of {study}"
        run_id = None
        # The ids of another sweep's runs are in another ledger, so that no link is possible.
        if sweep == outline.record.name:
            run_id = run_ids.get(Entity(study, int(number)).key)
        else:
            words += f" in the sweep {sweep}"
        tags[f"sweeper.stage.{stage}"] = f"taken over from {words}"
        if run_id:
            tags[f"sweeper.stage.{stage}.run_id"] = run_id
            words = f"[{words}]({address_of(run_id)})"
        lines.append(
            f"`{stage}` was not computed here: its result and metrics are those of {words}."
        )
    return {**tags, "mlflow.note.content": "\n\n".join(lines)}

"""The plans of studies for the runner: leading trials, sampler, seeds and replicates."""

import json
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from functools import partial

from sweeper.core.budget import StudyBudget
from sweeper.core.equal_trainings import Training
from sweeper.core.expected_epochs import rungs
from sweeper.core.promotion import PromotionRule
from sweeper.core.replication import Replication
from sweeper.core.stage_sharing import SharedStages
from sweeper.core.study_runner import Infeasible, StudyPlan
from sweeper.errors import FileFaults, NotFound, UsageError, unknown
from sweeper.ledger import Ledger, Target
from sweeper.model import Params, Study, StudyFacts, Trial, TrialKind
from sweeper.planning.catalog import home
from sweeper.planning.data.draws import replicate_seeds
from sweeper.planning.samplers import PRUNERS, SAMPLERS
from sweeper.planning.trials import shares_trainings, training_of
from sweeper.search.factories import experimental
from sweeper.search.optuna_sampler import OptunaSampler
from sweeper.search.priors import Centre, centred_on
from sweeper.search.shared_configs import draw_shared_configs
from sweeper.spec.distributions import Float, Int
from sweeper.spec.faults import Faults, shown
from sweeper.spec.goals import Goals
from sweeper.spec.node import Place
from sweeper.spec.priors import priors_of
from sweeper.spec.reader import parse_value
from sweeper.spec.schema import PROMOTE
from sweeper.spec.study import InfeasibleParams, StudySpec
from sweeper.spec.sweep import Sweep
from sweeper.spec.warm_start import first_configs
from sweeper.text import differences
from trainables.seeding import derive_seed

PINNED = ("data_source", "content_hash", "weights_hash")  # facts of a study that must not change


def check_same(ledger: Ledger, facts: Mapping[str, StudyFacts]) -> None:
    """Check that begun studies continue with the same data and weights.

    Raises:
        UsageError: Data or weights differ. The message lists the former and the present ones.
    """
    changed = []
    for study in ledger.studies():
        began, now = ledger.facts(study.name), facts[study.name]
        # This launch may ask for other replicates: only draws of both can differ.
        both = sorted(began.draws.keys() & now.draws.keys())
        old, new = (
            {name: getattr(of, name) for name in PINNED}
            | {f"draws.{seed}": of.draws[seed].content_hash for seed in both}
            for of in (began, now)
        )
        changed += differences(old, new, study.name)
    if changed:
        lines = "\n".join(f"  {line}" for line in changed)
        raise UsageError(
            f"sweep `{ledger.name}` began with other data or weights than are here now; its trials "
            "could not be compared. Put the former ones back, or start another sweep with --name:"
            f"\n{lines}"
        )


def with_begun_precision(
    ledger: Ledger, facts: Mapping[str, StudyFacts]
) -> tuple[dict[str, StudyFacts], list[str]]:
    """Return the facts of each study with its precision on a CPU, and notes on new ones.

    A study keeps the one that it began with, on whatever machine it goes on.
    """
    begun = {study.name: ledger.facts(study.name) for study in ledger.studies()}
    told, notes = {}, []
    for name, here in facts.items():
        kept = begun.get(name, here)
        told[name] = replace(here, precision=kept.precision, precision_gain=kept.precision_gain)
        if name not in begun and here.precision is not None:
            gain = f"{here.precision_gain:.1f} times as fast here as fp32."
            notes.append(f"model.precision: `bf16` in {name}, {gain}")
    return told, notes


def with_begun_products(
    ledger: Ledger, facts: Mapping[str, StudyFacts]
) -> tuple[dict[str, StudyFacts], list[str]]:
    """Return the facts of each study with the sweep's products of matrices, and notes on them.

    A sweep keeps those that it began with, on whatever machine it goes on.
    """
    begun = [ledger.facts(study.name) for study in ledger.studies()]
    kept = next((each for each in begun if each.products is not None), None)
    here = next(iter(facts.values()))  # the choice is one for all studies
    if kept is None:
        if here.products != "onednn":
            return dict(facts), []
        gain = f"{here.products_gain:.1f} times as fast here as torch's."
        return dict(facts), [f"model.products: `onednn`, {gain}"]
    note = (
        f"model.products: this machine would choose `{here.products}`; the sweep keeps "
        f"`{kept.products}`, with which it began."
    )
    with_them = {
        name: replace(each, products=kept.products, products_gain=kept.products_gain)
        for name, each in facts.items()
    }
    return with_them, [note] * (here.products != kept.products)


def make_plans(sweep: Sweep, ledger: Ledger, facts: Mapping[str, StudyFacts]) -> list[StudyPlan]:
    """Return a plan for each study, and write new studies into the ledger."""
    plans, resolved = [], sweep.resolved
    budget = StudyBudget.of(resolved)
    for planned in (as_begun(planned, ledger) for planned in sweep.studies):
        seed = _study_seed(sweep, planned)
        goals = Goals.of(resolved, planned.objective)
        study = Study(
            name=planned.name,
            method=planned.method,
            task=planned.task,
            objective=planned.objective,
            seed=seed,
        )
        known = replace(
            facts[planned.name],
            num_leading=len(planned.leading),
            most_trials=planned.most_trials,
        )
        ledger.add_study(study, known)
        # `add_study` leaves a begun study as it is, and further replicates may have further draws.
        recorded = ledger.facts(study.name)
        if known.draws != recorded.draws:
            ledger.set_facts(study.name, replace(recorded, draws=known.draws))
        plans.append(
            StudyPlan(
                study=study,
                leading=planned.leading,
                num_trials=planned.num_trials,
                first=first_configs(planned, sweep.search.warm_start).configs,
                sampler=_sampler(sweep, planned, seed, goals),
                complete=partial(_feasible, planned.complete_params),
                trial_seed=partial(_trial_seed, sweep.search.seed, planned.task),
                replication=replication(sweep, planned),
                stages=_taken_over(sweep, planned),
                promotion=promotion(sweep, planned),
                base=planned.base,
                rung=planned.rung,
                budget=budget,
                on_base=partial(_feasible, planned.on_base),
                goals=goals,
                turns=sweep.search.turns,
                training=_trainings(sweep, planned, known),
            )
        )
    return plans


def _trainings(
    sweep: Sweep, planned: StudySpec, facts: StudyFacts
) -> Callable[[Trial], Training | None]:
    """Return the function from a trial of a study to the training that equal trials share."""
    if not shares_trainings(sweep, planned):
        return lambda trial: None
    return partial(training_of, planned, facts, home())


def as_begun(planned: StudySpec, ledger: Ledger) -> StudySpec:
    """Return the plan with the preset that its study began with.

    This version may have other defaults than the version that began the study. All trials of a
    study must have the same defaults, or they would not be comparable.
    """
    presets = ledger.trials(planned.name, kind=TrialKind.PRESET)
    began = next((trial.params for trial in presets), None)
    if began is None or began == planned.preset:
        return planned
    return replace(planned, preset=began, control={**began, **planned.entry.control})


def suggestions(
    sweep: Sweep, ledger: Ledger, sets: Sequence[str], study: str | None
) -> tuple[list[Target], list[str]]:
    """Return the trials that a user suggests: presets with other values, for studies of a sweep.

    The second part of the result is a sentence for each value that the search would never draw.

    Args:
        sweep: The sweep.
        ledger: The ledger of the sweep, which has the presets with which its studies began.
        sets: The values, as KEY=VALUE. The stage may be left out where one stage has such a key.
        study: The name of the study; None: each study whose stages have all keys.

    Raises:
        NotFound: There is no such study.
        FileFaults: Keys or values are not valid. The error has all faults.
    """
    names = [planned.name for planned in sweep.studies]
    if study is not None and study not in names:
        raise NotFound(unknown("study", study, names))
    faults = Faults()
    pairs = [each for text in sets if (each := _key_and_value(text, faults)) is not None]
    faults.stop()
    chosen = [as_begun(each, ledger) for each in sweep.studies if study in (None, each.name)]
    found, notes = [], []
    for planned in _fitting(chosen, dict(pairs)):
        meant = [(_meant(planned, key)[0], value) for key, value in pairs]
        values = dict(meant)
        if twice := [name for name, count in Counter(n for n, _ in meant).items() if count > 1]:
            faults.add(Place(f"--set {twice[0]}"), "is given twice; keep one.")
            continue
        pinned = {} if planned.arm is None else planned.arm.pinned
        for name in values.keys() & pinned.keys():
            faults.add(
                Place(f"--set {name}"),
                f"`{planned.name}` pins it; name another study by --study, or leave it out.",
            )
        try:
            params = dict(planned.complete_params(values))
        except InfeasibleParams as error:
            faults.add(Place("--set"), f"{planned.name}: {error}.")
            continue
        seed = _trial_seed(sweep.search.seed, planned.task, 0)  # that of the preset
        trial = {"params": params, "sampled": list(values), "seed": str(seed)}
        found.append(Target(study=planned.name, planned=trial))
        notes += _told_of(planned, values, faults)
    faults.stop()
    return found, notes


def _told_of(planned: StudySpec, values: Params, faults: Faults) -> list[str]:
    """Return a sentence for each value that is not searched; add a fault for a text, not a number.

    Of the parameters of a program nobody else knows the types.
    """
    notes = []
    for name, value in values.items():
        if (searched := planned.parameters.get(name)) is None or searched.contains(value):
            continue
        if isinstance(searched, Float | Int) and isinstance(value, str):
            faults.add(Place(f"--set {name}"), f"must be a number, but got {shown(value)}.")
        notes.append(f"{planned.name}: {name}={value} is not among the values that are searched.")
    return notes


def _fitting(chosen: Sequence[StudySpec], keys: Iterable[str]) -> list[StudySpec]:
    """Return the studies that have all keys.

    Raises:
        FileFaults: No study has, or a key has several meanings. The error has all faults.
    """
    faults, keys = Faults(), list(keys)
    # A study that lacks a key gets no trial, but one where a key is ambiguous is not passed over.
    fitting = [each for each in chosen if all(_meant(each, key) for key in keys)]
    for planned in fitting or chosen:
        for key in keys:
            if len(_meant(planned, key)) != 1:
                faults.add(Place(f"--set {key}"), _key_fault(planned, key))
    faults.stop()
    return fitting


def _key_and_value(text: str, faults: Faults) -> tuple[str, object] | None:
    """Return the key and the value of KEY=VALUE, or None after a fault."""
    key, equals, value = (part.strip() for part in text.partition("="))
    where = Place(f"--set {key}")
    if not key or not equals:
        faults.add(where, "expected KEY=VALUE, such as refine.lr=1e-3.")
        return None
    try:
        return key, parse_value(value, where.where).plain()
    except FileFaults as error:
        faults.found.extend(error.faults)
        return None


def _meant(planned: StudySpec, key: str) -> tuple[str, ...]:
    """Return the parameters of a study's stages that a key with or without its stage names."""
    names = [name for name in planned.preset if name.partition(".")[0] in planned.entry.stages]
    return tuple(name for name in names if key in (name, name.partition(".")[2]))


def _key_fault(planned: StudySpec, key: str) -> str:
    found = _meant(planned, key)
    if found:
        return f"{planned.name}: write the stage of `{key}`: {' or '.join(found)}."
    return f"{planned.name}: {unknown('parameter', key, planned.preset)}"


def replication(sweep: Sweep, planned: StudySpec) -> Replication | None:
    """Return the number of trials of a study to repeat, and the seeds of the repeats.

    The seeds are the same for every method and arm on a task.
    """
    wanted = sweep.replicate_of(planned)
    if wanted is None:
        return None
    return Replication(top=wanted.top, seeds=replicate_seeds(sweep, planned), first=wanted.looks[0])


def stages(sweep: Sweep, planned: StudySpec) -> SharedStages:
    """Return the configurations of early stages that a study's sampled trials share.

    The k-th configuration has the seed that the k-th sampled trial would have.

    Raises:
        UsageError: No configuration is feasible.
    """
    num_leading = len(planned.leading)
    return draw_shared_configs(
        planned,
        seed=_study_seed(sweep, planned),
        complete=partial(_feasible, planned.complete_params),
        trial_seed=lambda k: _trial_seed(sweep.search.seed, planned.task, num_leading + k),
        centres=_centres(sweep, planned),
    )


def _taken_over(sweep: Sweep, planned: StudySpec) -> SharedStages:
    """Return the stages that a study's trials may take over from others, as arms of an ablation."""
    found, store = stages(sweep, planned), sweep.stage_store_of(planned)
    if not found.configs and store is not None and store.use:
        order = tuple(planned.entry.stages)
        # The last stage is the trial itself, which no other trial takes over.
        found = SharedStages(order=order, shared=order[:-1])
    # The key of a stored result has more: a wrong guess costs an order, and never a result.
    others = planned.method, planned.task, planned.backbone, planned.data
    return replace(found, scope=json.dumps(others, sort_keys=True))


def promotion(sweep: Sweep, planned: StudySpec) -> PromotionRule:
    """Return the rule by which sampled trials of a study pause; without rungs if none does."""
    if sweep.pruning.type != PROMOTE:
        return PromotionRule()
    return PromotionRule(rungs=rungs_of(sweep, planned), eta=sweep.pruning.eta)


def rungs_of(sweep: Sweep, planned: StudySpec) -> tuple[int, ...]:
    """Return the epochs after which sampled trials of a study are compared."""
    epochs, pruning = planned.stage_epochs[planned.objective_stage], sweep.pruning
    return rungs(pruning.type, min_epochs=planned.min_epochs, eta=pruning.eta, epochs=epochs)


def _study_seed(sweep: Sweep, planned: StudySpec) -> int:
    return derive_seed(sweep.search.seed, planned.name) % 2**31


def _sampler(sweep: Sweep, planned: StudySpec, seed: int, goals: Goals) -> OptunaSampler:
    pruning = sweep.pruning
    with experimental():
        pruner = PRUNERS[pruning.type](min_epochs=planned.min_epochs, eta=pruning.eta)
    return OptunaSampler(
        planned.parameters,
        sampler=SAMPLERS[sweep.search.sampler],
        pruner=pruner,
        seed=seed,
        startup_trials=sweep.search.startup_trials,
        centres=_centres(sweep, planned),
        goals=goals,
    )


def _centres(sweep: Sweep, planned: StudySpec) -> list[Centre]:
    """Return the good values around which a study is searched: priors, and a warm start."""
    priors = priors_of(planned) if sweep.search.priors else {}
    first = first_configs(planned, sweep.search.warm_start).configs
    others = [centred_on(params, priors, planned.parameters) for params in first]
    return [centre for centre in (priors, *others) if centre]


def _trial_seed(search_seed: int, task: str, number: int) -> int:
    """Return the seed of trial `number`.

    It is the same for every method on this task, so that trials can be paired. It is also the same
    for the preset (0) and its control (1).
    """
    return derive_seed(search_seed, task, "trial", max(0, number - 1))


def _feasible(make: Callable[[Params], Params], params: Params) -> Params:
    """Return settings that `make` completes; raise its refusal as the runner expects it."""
    try:
        return make(params)
    except InfeasibleParams as error:
        raise Infeasible(str(error)) from error

"""The priors of a study: where good values of its parameters are expected before any trial."""

from collections.abc import Iterable, Mapping

from sweeper.spec.distributions import Prior
from sweeper.spec.faults import Faults
from sweeper.spec.samplers import GRID
from sweeper.spec.study import StudySpec
from sweeper.spec.sweep import Sweep


def priors_of(study: StudySpec) -> dict[str, Prior]:
    """Return the prior of each parameter of a study that has one.

    It is the one that the file states, or else the value of the preset with a medium confidence. A
    value that this study cannot draw is no prior.
    """
    found: dict[str, Prior] = {}
    for name, parameter in study.parameters.items():
        prior = parameter.prior
        if prior is None and name in study.preset:
            prior = Prior(default=study.preset[name])
        if prior is not None and parameter.contains(prior.default):
            found[name] = prior
    return found


def check_priors(sweep: Sweep, studies: Iterable[StudySpec], faults: Faults) -> None:
    """Add a fault for priors that a grid cannot follow, and notes on the priors of studies."""
    stated = [name for name, parameter in sweep.parameters.items() if parameter.prior is not None]
    if not sweep.search.priors:
        if stated:
            faults.note(
                f"`parameters.{stated[0]}.prior` has no effect: `search.priors` is false. Write "
                "`search: {priors: true}` to draw around priors."
            )
        return
    if sweep.search.sampler == GRID:
        faults.add(
            ["search", "priors"],
            "`search.priors: true` is for samplers that draw, but `search.sampler: grid` tries "
            "every combination: write `tpe`, or take `priors` out.",
        )
        return
    for study in studies:
        if study.parameters and study.num_sampled:
            faults.note(_described(study, priors_of(study)))


def _described(study: StudySpec, priors: Mapping[str, Prior]) -> str:
    """Return a sentence on the priors of a study, and on the parameters without one."""
    stated = sum(study.parameters[name].prior is not None for name in priors)
    counts = {"of the file": stated, "of the preset": len(priors) - stated}
    parts = " and ".join(f"{count} {what}" for what, count in counts.items() if count) or "none"
    text = f"`search.priors`: priors of the parameters of `{study.name}`: {parts}."
    without = [f"`{name}`" for name in study.parameters if name not in priors]
    if not without:
        return text
    return f"{text} The preset is out of the range of {', '.join(without)}."

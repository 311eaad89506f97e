"""The launches that train one seed of each arm of evidence again.

Arms of an ablation are launched as they were. A tuned method is launched as an arm that pins the
settings that its search drew, so that nothing is searched again; studies then have other names, and
some that evidence lacks.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from sweeper.model import Params
from sweeper.results.entries import control_trial_of
from sweeper.results.reproduction.evidence import Evidence
from sweeper.results.schema import StudyResult
from sweeper.spec.arms import METHOD, arm_of
from sweeper.spec.catalog import MODEL, PROXY

AGAIN = ("replicate.seeds=1", "replicate.until=null", "question=null")  # of one more seed
# A search that has nothing to draw, since arms pin all of it.
UNTUNED = ("parameters=null", "search.sampler=random", "search.warm_start=[]", "pruning.type=none")


@dataclass(frozen=True, kw_only=True)
class Again:
    """One launch."""

    sets: tuple[str, ...]  # settings that replace those of the evidence
    names: Mapping[str, str] = field(default_factory=dict)  # of its arms -> of the evidence's


def launches(evidence: Evidence, seed: int, sources: Mapping[str, str]) -> list[Again]:
    """Return the launches that train the seed of this number again.

    Args:
        evidence: The evidence.
        seed: The number of the seed.
        sources: The dimension of each source.
    """
    skipped = (evidence.key.settings.get("replicate") or {}).get("skip") or 0
    one = (*AGAIN, f"replicate.skip={skipped + seed}")
    tuned = [
        study for study in evidence.sweep.studies if study.tuning is not None and study.arm is None
    ]
    # An arm is trained as it is, after its own search where it has one.
    if len(tuned) < len(evidence.sweep.studies):
        return [Again(sets=one)]
    by_task: dict[str, list[StudyResult]] = {}
    for study in tuned:
        by_task.setdefault(study.study.task, []).append(study)
    return [
        again
        for task, studies in by_task.items()
        for again in _pinned((*one, *UNTUNED, f"tasks={json.dumps([task])}"), studies, sources)
    ]


def _pinned(
    sets: Sequence[str], studies: Sequence[StudyResult], sources: Mapping[str, str]
) -> Iterator[Again]:
    """Yield the launches of the methods on one task."""
    methods = [study.study.method for study in studies]
    sets = (*sets, f"methods={json.dumps(methods)}")
    arms = {study.study.name: {METHOD: study.study.method, **_drawn(study)} for study in studies}
    if len(arms) > 1:
        names = {f"{name}/{arm_of(arm).name}": name for name, arm in arms.items()}
        yield Again(sets=(*sets, f"compare_by={json.dumps(list(arms.values()))}"), names=names)
        return
    # One arm is no ablation. Its preset has the settings as fixed ones, which a control has not.
    (study,) = studies
    yield Again(sets=(*sets, "search.trials=1", *_fixing(_drawn(study), study, sources)))
    if control_trial_of(study) is not None:
        # The winner of this launch is the plain preset, which no arm has: its control alone counts.
        yield Again(sets=(*sets, "search.trials=2"), names={study.study.name: ""})


def _fixing(drawn: Params, study: StudyResult, sources: Mapping[str, str]) -> Iterator[str]:
    """Yield what fixes the drawn settings, each in the section of a sweep file that has it."""
    outside = (PROXY, MODEL)
    fixed = {key: value for key, value in drawn.items() if key.partition(".")[0] not in outside}
    yield f"fixed={json.dumps(fixed)}"
    for key, value in drawn.items():
        if key == PROXY:
            dimension = sources[str(value)]
            known = study.record.resolved.get("proxies") or {}
            # A source of dense tasks comes before that of their dimension.
            for kind in [each for each in known if each.startswith(dimension)] or [dimension]:
                yield f"proxies.{kind}={value}"
        elif key not in fixed:
            yield f"{key}={json.dumps(value)}"


def _drawn(study: StudyResult) -> Params:
    """Return the settings that the search of a method drew for its best configuration."""
    return {} if study.best is None else dict(study.best.params)

"""The rank correlation of a distance before fine-tuning with the test error after it.

ORCA assumes that a smaller distance between embedded target data and source data gives a better
result. The correlation is computed for each study and each source. Its points are the complete
searched trials, with the distance at the end of the stage that measures it and the test error. The
trials also differ in other settings, so the correlation proves nothing by itself.
"""

import math
from collections.abc import Sequence
from dataclasses import replace

from sweeper.model import Trial, TrialState
from sweeper.results.comparison import DistanceCorrelation
from sweeper.results.prose import DISTANCES
from sweeper.results.schema import StudyResult
from sweeper.results.statistics import holm, rank_correlation
from sweeper.spec.catalog import PROXY

MIN_POINTS = 8  # points; a correlation of fewer points would be chance


def distance_correlations(tuned_studies: Sequence[StudyResult]) -> tuple[DistanceCorrelation, ...]:
    """Return a series for each distance that at least `MIN_POINTS` complete trials measured.

    A shorter series is left out: it is neither drawn nor tested.
    """
    found = [each for tuned in tuned_studies for each in _of(tuned)]
    corrected: list[DistanceCorrelation] = []
    # Each distance is a family of its own in Holm's correction.
    for distance in DISTANCES:
        family = [each for each in found if each.distance == distance]
        tested = [each.correlation.p_value for each in family if each.correlation is not None]
        # Constant series have no p-value, and so take none of the corrected ones.
        p_values = iter(holm(tested))
        corrected += [
            each if each.correlation is None else replace(each, p_holm=next(p_values))
            for each in family
        ]
    return tuple(corrected)


def _of(tuned: StudyResult) -> list[DistanceCorrelation]:
    has_several = len({t.params[PROXY] for t in tuned.searched if PROXY in t.params}) > 1
    points: dict[tuple[str, str | None], list[tuple[Trial, float, float]]] = {}
    for trial in tuned.searched:
        error = tuned.test_value(trial)
        if trial.state is not TrialState.COMPLETE or error is None or not math.isfinite(error):
            continue
        # Distances to different sources are not comparable.
        source = trial.params.get(PROXY) if has_several else None
        for name, value in trial.metrics.items():
            if name.rpartition("/")[2] in DISTANCES and math.isfinite(value):
                points.setdefault((name, source), []).append((trial, value, error))
    found = []
    for (name, source), known in points.items():
        if len(known) >= MIN_POINTS:
            stage, _, distance = name.rpartition("/")
            trials, distances, errors = zip(*known, strict=True)
            found.append(
                DistanceCorrelation(
                    label=tuned.label,
                    task=tuned.study.task,
                    proxy=source,
                    metric=tuned.test_metric,
                    stage=stage,
                    distance=distance,
                    trials=trials,
                    distances=distances,
                    errors=errors,
                    correlation=rank_correlation(distances, errors),
                )
            )
    return found

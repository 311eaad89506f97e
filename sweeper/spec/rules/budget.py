"""The check of `budget` with the trials, the pruning and the preset of each study."""

from collections.abc import Sequence

from sweeper.spec.faults import Faults
from sweeper.spec.rules.program import has_known_epochs
from sweeper.spec.schema import PROMOTE
from sweeper.spec.study import EPOCHS, StudySpec
from sweeper.spec.sweep import Sweep


def check_budget(sweep: Sweep, studies: Sequence[StudySpec], faults: Faults) -> None:
    """Add a fault for each limit of studies that contradicts their trials.

    What more or fewer trials on the command line contradict has a note.
    """
    budget, trials, place = sweep.budget, sweep.search.trials, ["budget", "no_improvement"]
    if budget.no_improvement is not None and sweep.pruning.type == PROMOTE:
        faults.about(
            place,
            " counts trials that have ended, but with `pruning.type: promote` most trials stay "
            "paused: write `budget.epochs` instead, or `pruning.type: asha`.",
        )
    elif budget.no_improvement is not None and budget.no_improvement >= trials:
        message = (
            f"`budget.no_improvement: {budget.no_improvement}` is never reached with "
            f"`search.trials: {trials}`"
        )
        node, of_trials = map(faults.tree.at, (place, ["search", "trials"]))
        if node.origin.where == of_trials.origin.where:
            faults.add(node, f"{message}: write a smaller number, or take it out.")
        else:
            faults.note(f"{message}.")
    for study in filter(has_known_epochs, studies):
        preset = sum(int(study.preset[f"{stage}.{EPOCHS}"]) for stage in study.stage_epochs)
        if budget.epochs is not None and budget.epochs <= preset and study.num_sampled:
            faults.add(
                ["budget", "epochs"],
                f"`budget.epochs: {budget.epochs}` is spent by the preset of `{study.name}` alone, "
                f"which has {preset} epochs: raise it, or lower the epochs.",
            )

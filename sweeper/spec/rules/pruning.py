"""The check of `pruning` with the epochs of each study."""

from collections.abc import Sequence

from sweeper.spec.faults import Faults
from sweeper.spec.schema import PROMOTE
from sweeper.spec.study import EPOCHS, StudySpec
from sweeper.spec.sweep import Sweep


def check_pruning(sweep: Sweep, studies: Sequence[StudySpec], faults: Faults) -> None:
    """Add a fault for each study with a pruner that can never act.

    A quick run with fewer epochs on the command line is not a mistake of the file: it has a note.
    """
    pauses = sweep.pruning.type == PROMOTE
    for study in studies if sweep.pruning.type != "none" else ():
        name, most = f"{study.objective_stage}.{EPOCHS}", study.stage_epochs[study.objective_stage]
        if pauses and name in study.parameters:
            faults.about(
                ["parameters", name],
                f": `pruning.type: {PROMOTE}` compares trials after as many epochs of "
                f"`{study.objective_stage}`, which all are to have: write it under `fixed`, or "
                "`type: asha`.",
            )
        # With the last epoch a trial is complete, and can no longer pause.
        elif study.min_epochs > most - pauses:
            message = (
                f"`pruning.min_epochs: {study.min_epochs}` is "
                f"{'not below' if pauses else 'over'} the {most} epochs of "
                f"`{study.objective_stage}`, so that no trial is ever "
                f"{'paused' if pauses else 'pruned'}."
            )
            path, node = faults.tree.trace(["pruning", "min_epochs"])
            epochs = faults.tree.child("fixed").children().get(name)
            if len(path) < 2 or (epochs is not None and epochs.origin.where != node.origin.where):
                faults.note(message)
            else:
                faults.add(node, message + " Lower it, or write `type: none`.")

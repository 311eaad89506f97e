"""A check that the backbones of a sweep can be built, in a process of its own.

A sweep file and config.json do not tell everything: an architecture may have parts that are not
understood, or its weights may not fit. `python -m sweeper.planning.bodies` loads each backbone that
is on this machine. It reads one JSON object (`home`, and by place in the file a backbone, its
dimension, and whether trials may ask for adapters), and writes one (by place the fault, if any).
"""

import json
import traceback
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from sweeper.errors import Fault, FileFaults
from sweeper.planning import child
from sweeper.planning.load import adapter_keys
from sweeper.spec.arms import BACKBONE
from sweeper.spec.sweep import Sweep
from trainables.errors import TrainableError
from trainables.models.weights.description import BACKBONES, check_dimension
from trainables.models.weights.presence import is_here
from trainables.spec import BackboneSpec


def check_bodies(sweep: Sweep, home: Path, where: str) -> None:
    """Check that each backbone that is no built-in one can be built, if it is on this machine.

    `where` is the sweep file, for messages.

    Raises:
        FileFaults: A backbone cannot be built.
        SweeperError: The process died.
    """
    to_build: dict[str, dict[str, Any]] = {}
    for study in sweep.studies:
        spec = study.backbone_spec
        # A backbone that is still to be fetched cannot be built yet.
        if spec is None or spec.name in BACKBONES or not is_here(spec, home):
            continue
        dimension = sweep.catalog.tasks[study.task].dimension
        # A fault names the key of the file that chose the backbone, which may be that of an arm.
        pins = study.arm is not None and study.arm.of(BACKBONE)
        place = f"compare_by.{study.arm.name}" if study.arm and pins else f"backbones.{dimension}"
        job = to_build.setdefault(
            place,
            {"dimension": dimension, "backbone": spec.model_dump(mode="json"), "adapted": False},
        )
        # Studies share a backbone: as soon as one of them may ask for adapters, they are checked.
        job["adapted"] |= any(adapter_keys(study))
    if not to_build:
        return
    text = json.dumps({"home": str(home), "backbones": to_build})
    # The check computes on the CPU, because trials may be using the GPUs.
    done = child.run("sweeper.planning.bodies", text, CUDA_VISIBLE_DEVICES="")
    try:
        reasons: Mapping[str, str] = json.loads(done.stdout)["faults"]
    except (ValueError, KeyError) as error:
        raise child.died("building the backbones", done) from error
    if reasons:
        raise FileFaults(
            Fault(where, None, f"`{place}`: {reason}") for place, reason in reasons.items()
        )


def main() -> None:
    """Build the backbones that `check_bodies` names."""
    from trainables.models.adapters import check_adapters  # torch
    from trainables.models.backbones.loading import load_backbone

    job, out = child.read_input(), child.take_output()
    child.end_with_parent()
    faults: dict[str, str] = {}
    for place, each in job["backbones"].items():
        plain = each["backbone"]
        try:
            backbone = load_backbone(BackboneSpec.model_validate(plain), Path(job["home"]))
            check_dimension(backbone.name, backbone.dimension, each["dimension"])
            if each["adapted"]:
                check_adapters(backbone.body, backbone.roles)
        except TrainableError as error:
            faults[place] = str(error)
        except Exception as error:  # of an architecture that the library itself cannot build
            traceback.print_exc()
            faults[place] = f"`{plain['name']}` cannot be built: {type(error).__name__}: {error}"
    child.write_line(out, {"faults": faults})


if __name__ == "__main__":
    main()

"""What has to be there before the first trial: data, weights and proxies; and what they are.

Everything a trial would fail on for lack of it is found here, once, before anything starts: so are
settings of the preset and the control that task, backbone or source cannot honour.

`python -m sweeper.driver.prepare` is started by `preparation` alone. It reads one JSON object:
`name`, `profile` and `file` (resolved) of a sweep. It writes one a line: `progress` (what, done,
of), and last `facts` or `error`.
"""

import traceback
from dataclasses import asdict
from pathlib import Path
from typing import Any

from sweeper.config.study_spec import StudySpec
from sweeper.config.sweep import Sweep
from sweeper.errors import Fault, FileFaults, SweeperError, to_record
from sweeper.planning import child, load
from sweeper.planning.catalog import home
from sweeper.planning.describe import data_of, describe, spec_of
from trainables.errors import TrainableError
from trainables.runtime.training import Training
from trainables.runtime.warm import WarmParts
from trainables.spec import BackboneSpec
from trainables.tasks.generation import Progress
from trainables.tasks.loading import prepare_task
from trainables.tasks.registry import TASKS, published_numbers


def main() -> None:
    """Prepares one sweep."""
    job, out = child.read_input(), child.take_output()
    child.end_with_parent()

    def progress(*told: Any) -> None:
        child.write_line(out, {"progress": told})

    try:
        sweep = load.from_resolved(job["file"], name=job["name"], profile=job["profile"])
        child.write_line(out, {"facts": prepare(sweep, home(), progress)})
    except Exception as error:
        if not isinstance(error, SweeperError):
            traceback.print_exc()
            error = SweeperError(f"preparing failed: {type(error).__name__}: {error}")
        child.write_line(out, {"error": to_record(error)})


def prepare(sweep: Sweep, home: Path, progress: Progress) -> dict[str, dict[str, Any]]:
    """Makes data and caches for every study; returns what is to be recorded of each.

    Raises:
        FileFaults: Data, weights or a proxy cannot be had, or a leading trial cannot begin; one
            fault each, with the way out.
    """
    parts = WarmParts()
    facts, faults = {}, {}
    for study in sweep.studies():
        try:
            facts[study.name] = _facts(study, parts, home, progress)
            for params in (study.preset, study.control):
                Training.begin(spec_of(sweep, study, params, seed=0, home=home), parts)
        except TrainableError as error:
            faults[str(error)] = Fault(study.name, None, str(error))
    if faults:
        raise FileFaults(faults.values())
    return facts


def _facts(study: StudySpec, parts: WarmParts, home: Path, progress: Progress) -> dict[str, Any]:
    backbone_spec = BackboneSpec.model_validate(study.backbone)
    data = data_of(study)
    prepare_task(study.task, data, home, progress=progress)
    task = parts.task(study.task, data, home)
    backbone = parts.backbone(backbone_spec, home)
    for proxy in study.proxies:
        parts.source(proxy, backbone_spec, home)
    info = TASKS[study.task]
    return {
        "title": info.title,
        "dimension": info.dimension,
        "kind": info.kind,
        "metric": info.metric,
        "protocol": info.protocol,
        "earlier_protocol": info.earlier_protocol or None,
        "data_source": task.data_source,
        "content_hash": task.content_hash,
        "samples": {name: len(getattr(task, name)) for name in ("train", "val", "test")},
        "baselines": dict(task.baselines),
        "published_samples": info.samples,
        "published": [asdict(number) for number in published_numbers(study.task).values()],
        "backbone": describe(backbone_spec),
        "pretrained": backbone_spec.weights,
        "weights_hash": backbone.weights_hash,
        "proxy": ", ".join(study.proxies) or None,
    }


if __name__ == "__main__":
    main()

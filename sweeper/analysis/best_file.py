"""The winning configuration of a study as a sweep file that `sweeper launch` runs.

Every parameter is in `fixed`, so that the file's preset is the winner and its control the same
settings without what the method adds; there is nothing left to search.
"""

import hashlib
import io
import re
from collections.abc import Mapping
from typing import Any

from ruamel.yaml import YAML

from sweeper.analysis.table import StudyTable
from sweeper.ledger import SweepRecord
from sweeper.space.catalog import PROXY
from sweeper.study import Trial

TRIALS = 2  # the preset, which is the winner, and its control
LONGEST = 63  # of a sweep's name
LEFT_OUT = ("parameters", "fixed", "search", "pruning", "budget", "replicate", "stages")


def best_name(sweep: str, method: str, task: str) -> str:
    """Returns the name of the file's own sweep: `mona_pdebench-mona-advection_1d-best`.

    One that would be too long is cut, and a hash of all of it tells it from others cut alike.
    """
    whole = re.sub("[^a-z0-9_-]", "-", f"{sweep}-{method}-{task.rpartition('/')[2]}".lower())
    ending = "-best"
    if len(whole + ending) > LONGEST:
        digest = hashlib.sha256(f"{sweep}/{method}/{task}".encode()).hexdigest()
        ending = f"-{digest[:8]}{ending}"
    return whole[: LONGEST - len(ending)] + ending


def best_file(record: SweepRecord, study: StudyTable, trial: Trial) -> str:
    """Returns the text of the file."""
    resolved, params = record.resolved, dict(trial.params)
    proxy = params.pop(PROXY, None)
    dimension, kind = study.facts.get("dimension"), study.facts.get("kind")
    content: dict[str, Any] = {
        **{k: v for k, v in resolved.items() if k not in LEFT_OUT},
        "name": best_name(record.name, study.study.method, study.study.task),
        "experiment": record.experiment,
        "methods": [study.study.method],
        "tasks": [study.study.task],
        "backbones": _of(resolved.get("backbones") or {}, (str(dimension),)),
        "proxies": {},
        "parameters": {},
        "fixed": params,
        "search": {"trials": TRIALS, "seed": (resolved.get("search") or {}).get("seed", 0)},
        "pruning": {"type": "none"},
    }
    if proxy is not None:
        keys = (f"{dimension}_{kind}", str(dimension))
        key = next((k for k in keys if k in (resolved.get("proxies") or {})), keys[-1])
        content["proxies"] = {key: proxy}
    text = io.StringIO()
    yaml = YAML()
    yaml.default_flow_style = False
    yaml.width = 100
    yaml.dump({k: v for k, v in content.items() if v != {} or k == "parameters"}, text)
    value = "" if trial.value is None else f": {study.study.objective} {trial.value!r}"
    which = f"{trial.name} ({trial.kind}) of sweep {record.name}"
    return (
        f"# {which}{value}.\n"
        f"# Configuration {record.config_hash}, profile {record.profile}.\n{text.getvalue()}"
    )


def _of(values: Mapping[str, Any], keys: tuple[str, ...]) -> dict[str, Any]:
    return {key: values[key] for key in keys if key in values} or dict(values)

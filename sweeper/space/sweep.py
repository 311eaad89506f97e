"""A sweep file, validated and resolved: all that the service needs to know of a sweep."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from sweeper.space.catalog import PROXY, Catalog
from sweeper.space.distributions import Distribution
from sweeper.space.grammar import written
from sweeper.space.schema import (
    Budget,
    Checkpoints,
    Failures,
    Pruning,
    Resources,
    Search,
    Tracking,
)
from sweeper.space.study_plan import (
    InfeasibleParams,
    Stages,
    StudyPlan,
    complete,
    flatten,
    plan_study,
)

__all__ = ["InfeasibleParams", "StudyPlan", "Sweep"]
SECTIONS = ("search", "pruning", "resources", "budget", "checkpoints", "failures",
            "tracking")  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Sweep:
    """One launch of one file: methods x tasks are its studies."""

    name: str
    experiment: str
    profile: str
    methods: tuple[str, ...]
    tasks: tuple[str, ...]
    backbones: Mapping[str, Mapping[str, Any]]  # by dimension: a BackboneSpec's fields
    proxies: Mapping[str, str]
    model: Mapping[str, Any]
    data: Mapping[str, Any]
    parameters: Mapping[str, Distribution]  # parents before those that `when` makes depend on them
    fixed: Mapping[str, Any]
    search: Search
    pruning: Pruning
    resources: Resources
    budget: Budget
    checkpoints: Checkpoints
    failures: Failures
    tracking: Tracking
    notes: tuple[str, ...] = ()  # worth telling the user, but no faults
    catalog: Catalog = field(repr=False, compare=False)

    def studies(self) -> tuple[StudyPlan, ...]:
        """Returns every study, method by method, tasks in the file's order."""
        return tuple(self.study(method, task) for method in self.methods for task in self.tasks)

    def study(self, method: str, task: str) -> StudyPlan:
        """Returns the study of one method on one task.

        Raises:
            InfeasibleParams: Its settings contradict each other; never once the sweep is checked.
        """
        entry = self.catalog.tasks[task]
        return plan_study(
            self.catalog.methods[method],
            entry,
            parameters=self.parameters,
            fixed=self.fixed,
            backbone=self.backbones[entry.dimension],
            proxies=self.proxies,
            proxy_dimensions=self.catalog.proxies,
            model=self.model,
            data=self.data,
            num_trials=self.search.trials,
            min_epochs=self.pruning.min_epochs,
        )

    def resolve_params(self, study: StudyPlan, params: Mapping[str, Any]) -> Stages:
        """Returns every setting of every stage for a trial with `params`.

        Raises:
            InfeasibleParams: A stage refuses them.
        """
        return complete(study.entry, {**study.preset, **params})

    def complete_params(self, study: StudyPlan, params: Mapping[str, Any]) -> dict[str, Any]:
        """Returns every hyperparameter of a trial with `params`, by `stage.parameter`.

        Raises:
            InfeasibleParams: A stage refuses them.
        """
        proxy = self.proxy_of(study, params)
        source = {PROXY: proxy} if proxy is not None else {}
        return {**source, **flatten(self.resolve_params(study, params))}

    def proxy_of(self, study: StudyPlan, params: Mapping[str, Any]) -> str | None:
        """Returns the source data that a trial with `params` reads."""
        proxy = params.get(PROXY, study.proxy)
        return None if proxy is None else str(proxy)

    @property
    def resolved(self) -> dict[str, Any]:
        """The sweep as a plain sweep file without profiles, every default written out.

        `loads_sweep` makes the same sweep of it again.
        """
        resolved = {
            "name": self.name,
            "experiment": self.experiment,
            "methods": list(self.methods),
            "tasks": list(self.tasks),
            "backbones": {k: dict(v) for k, v in self.backbones.items()},
            "proxies": dict(self.proxies),
            "model": dict(self.model),
            "data": dict(self.data),
            "parameters": {name: written(p) for name, p in self.parameters.items()},
            "fixed": dict(self.fixed),
            **{name: getattr(self, name).model_dump(mode="json") for name in SECTIONS},
        }
        plain: dict[str, Any] = json.loads(json.dumps(resolved))
        return plain

    @property
    def config_hash(self) -> str:
        """A name for `resolved`, `search.trials` left out: a sweep can be extended."""
        resolved = self.resolved
        del resolved["search"]["trials"]
        text = json.dumps(resolved, sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(text.encode()).hexdigest()[:16]

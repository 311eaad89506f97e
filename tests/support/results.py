"""Results of actors, as Ray Tune gets them."""

from collections.abc import Mapping
from dataclasses import fields
from typing import Any

from ray import tune

from trainables.report import Report


def report_of(result: Mapping[str, Any]) -> dict[str, Any]:
    """Return the report of a measured epoch, without times and places."""
    return {each.name: result["measurement"][each.name] for each in fields(Report)}


def trained(actor: tune.Trainable) -> list[dict[str, Any]]:
    """Train to the end; return what the service is told."""
    found = [actor.train()]
    while not found[-1]["done"]:
        found.append(actor.train())
    return found

"""Results of actors, as Ray Tune gets them."""

from collections.abc import Mapping
from dataclasses import fields
from typing import Any

from trainables.report import Report


def report_of(result: Mapping[str, Any]) -> dict[str, Any]:
    """Return the report of a measured epoch, without times and places."""
    return {each.name: result["measurement"][each.name] for each in fields(Report)}

"""Presence of a backbone's weights on this machine. Importing this module loads no torch."""

from pathlib import Path

from trainables.errors import ConfigError
from trainables.models.weights.description import BACKBONES, folder_of_spec
from trainables.spec import BackboneSpec

__all__ = ["fetch_fault", "is_here", "to_fetch"]


def is_here(spec: BackboneSpec, home: Path) -> bool:
    """Return whether config and weights of a backbone from a folder, the hub or timm are here."""
    try:
        if folder_of_spec(spec, home) is not None:
            return True
    except ConfigError:
        return False
    # The hub's client takes a while to import, and most sweeps need none.
    from trainables.models.weights import hub

    if spec.timm is not None:
        return hub.cached_timm(spec.timm, spec.revision) is not None
    if spec.hub_id is None:
        return False
    find = hub.cached_folder if spec.reads_weights else hub.cached_config
    return find(spec.hub_id, spec.revision) is not None


def to_fetch(spec: BackboneSpec, home: Path) -> str | None:
    """Return what has to be fetched from the hub for a backbone, or None."""
    if spec.name in BACKBONES or (spec.hub_id is None and spec.timm is None):
        return None
    if is_here(spec, home):
        return None
    at = f" at {spec.revision}" if spec.revision else ""
    what = "weights" if spec.reads_weights else "config"
    return f"{what} of {spec.name}{at}"


def fetch_fault(spec: BackboneSpec, home: Path) -> str | None:
    """Return why a backbone cannot be fetched, with the way out, or None."""
    if (what := to_fetch(spec, home)) is None:
        return None
    from trainables.models.weights import hub

    if not hub.is_offline():
        return None
    # The hub's name of a model of timm has a tag, which timm alone knows.
    repository = spec.hub_id or f"{spec.name}{'' if '.' in spec.name else '.TAG'}"
    revision = f" --revision {spec.revision}" if spec.revision else ""
    return (
        f"{what}: not on this machine, and HF_HUB_OFFLINE forbids to fetch them. Run `hf download "
        f"{repository}{revision}` where there is a network, and copy the hub's cache; or put "
        f"config and weights into {home / 'weights' / spec.name}."
    )

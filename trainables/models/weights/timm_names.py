"""The names of timm's models, read from the text of its modules: importing timm imports torch."""

import re
from collections.abc import Mapping
from difflib import get_close_matches
from functools import cache
from importlib.util import find_spec
from pathlib import Path

MODEL = re.compile(r"^@register_model\n(?:@.+\n)*def (\w+)\(", re.MULTILINE)
FORMER = re.compile(
    r"^register_model_deprecations\(__name__, \{(.*?)^\}\)", re.MULTILINE | re.DOTALL
)
FORMER_NAME = re.compile(r"""['"](\w+)['"]:""")
WEIGHTS = re.compile(r"""^    ['"](\w+)\.(\w+)['"]: """, re.MULTILINE)


def timm_fault(name: str) -> str | None:
    """Return why timm has no model NAME, or no weights NAME.TAG, with the nearest ones; or None."""
    known = _tags()
    model, _, tag = name.partition(".")
    if not known:
        return None  # timm is not there, or has another form: its import tells
    if model not in known:
        near = get_close_matches(model, known, n=3)
        hint = f" Did you mean {' or '.join(f'`{each}`' for each in near)}?" if near else ""
        return f"timm has no model `{model}`.{hint}"
    if tag and known[model] and tag not in known[model]:  # some modules compute their tags
        has = ", ".join(f"`{model}.{each}`" for each in sorted(known[model]))
        return f"timm has no weights `{name}`, but {has}."
    return None


@cache
def _tags() -> Mapping[str, set[str]]:
    """Return the tags that the modules spell out for each model."""
    spec = find_spec("timm")
    places = (spec.submodule_search_locations if spec else None) or ()
    found: dict[str, set[str]] = {}
    weights: list[tuple[str, str]] = []
    for module in (path for place in places for path in Path(place, "models").glob("*.py")):
        text = module.read_text(encoding="utf-8")
        former = (name for part in FORMER.findall(text) for name in FORMER_NAME.findall(part))
        found |= {name: set() for name in (*MODEL.findall(text), *former)}
        weights += WEIGHTS.findall(text)
    for model, tag in weights:
        if model in found:
            found[model].add(tag)
    return found

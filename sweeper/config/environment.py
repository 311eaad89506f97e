"""`${env:NAME}`: how a sweep file refers to what is secret. It is kept as written in everything
that is stored or logged, and expanded only where it is used."""

from collections.abc import Mapping

from sweeper.config.schema import ENV
from sweeper.errors import UsageError


def expand(text: str, environment: Mapping[str, str]) -> str:
    """Returns `text` with each reference replaced. Never log what this returns.

    Raises:
        UsageError: A variable is not set.
    """
    missing = [name for name in ENV.findall(text) if name not in environment]
    if missing:
        raise UsageError(f"the environment variable {missing[0]} is not set, but {text} needs it.")
    return ENV.sub(lambda match: environment[match.group(1)], text)

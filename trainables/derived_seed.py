"""A seed for each use of chance, derived from one (see `seeding`); needs no torch."""

import hashlib


def derive_seed(seed: int, *scope: str | int) -> int:
    """Returns a 63-bit seed for `scope`, a pure function of its arguments (SHA-256)."""
    text = "/".join([str(seed), *map(str, scope)])
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") >> 1

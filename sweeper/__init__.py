"""The sweep service, which launches, records and compares sweeps without any tensor code.

    import sweeper

    options = sweeper.Options(profile="laptop")
    print(sweeper.plan(Path("search_spaces/mona.yaml"), options).trials)
    print(sweeper.status("mona_pdebench").studies[0].best)

Each public name is imported at its first use.
"""

from importlib import import_module

__version__ = "0.1.0"

_HOMES = {  # module -> public names
    "sweeper.commands.control": ("cancel", "stop"),
    "sweeper.commands.launch": ("Where", "extend", "launch", "rerun", "resume", "retry"),
    "sweeper.commands.look": ("failed", "status", "sweeps"),
    "sweeper.commands.plan": ("plan", "validate"),
    "sweeper.commands.results": ("best", "compare", "export", "report"),
    "sweeper.errors": ("SweeperError",),
    "sweeper.planning.load": ("Options",),
}
_HOME_OF = {name: module for module, names in _HOMES.items() for name in names}
__all__ = ["__version__", *sorted(_HOME_OF)]


def __getattr__(name: str) -> object:
    """Import a public name from the module that defines it."""
    if name not in _HOME_OF:
        raise AttributeError(f"module `sweeper` has no attribute `{name}`")
    return getattr(import_module(_HOME_OF[name]), name)


def __dir__() -> list[str]:
    return [*globals(), *_HOME_OF]

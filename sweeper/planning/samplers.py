"""The samplers and pruners by name, built-in ones and those of plugins.

Importing this module does not import Optuna.
"""

from collections.abc import Callable
from importlib.util import find_spec

from sweeper.search.factories import PrunerFactory, SamplerFactory, experimental
from sweeper.spec.samplers import CMAES
from trainables.errors import PluginError
from trainables.plugins import Registry, cause_of, install

NO_CMAES = f"`search.sampler: cmaes` needs the package cmaes: {install('cmaes')}."

SAMPLERS: Registry[SamplerFactory] = Registry(
    "sweeper.samplers",
    ("tpe", "cqr", "gp", "cmaes", "qmc", "nsga2", "random", "grid", "auto"),
    callable,
)
PRUNERS: Registry[PrunerFactory] = Registry(
    "sweeper.pruners",
    ("asha", "promote", "median", "none"),
    callable,
)


def check_sampler(name: str) -> None:
    """Check that the factory of a plugin makes samplers. Built-in ones are not imported.

    Raises:
        KeyError: The name is unknown.
        PluginError: The factory cannot be had, or fails, or makes something else, or a built-in
            one needs a package that is not installed.
    """
    if name == CMAES and SAMPLERS.offer(name).is_ours and find_spec("cmaes") is None:
        raise PluginError(f"{NO_CMAES} Or take another sampler, such as `tpe`.")
    if not SAMPLERS.offer(name).is_ours:
        from optuna.samplers import BaseSampler

        # Only a call tells what the factory makes, so it is made once with arbitrary arguments.
        make = SAMPLERS[name]
        _check(SAMPLERS, name, lambda: make(seed=0, study_seed=0, startup_trials=1), BaseSampler)


def check_pruner(name: str) -> None:
    """Check that the factory of a plugin makes pruners. Built-in ones are not imported.

    Raises:
        KeyError, PluginError: As for `check_sampler`.
    """
    if not PRUNERS.offer(name).is_ours:
        from optuna.pruners import BasePruner

        make = PRUNERS[name]
        _check(PRUNERS, name, lambda: make(min_epochs=1, eta=2), BasePruner)


def _check(
    registry: Registry[SamplerFactory] | Registry[PrunerFactory],
    name: str,
    make: Callable[[], object],
    base: type,
) -> None:
    where = f"{registry.kind} `{name}` of {registry.origins(name)}"
    # The factory is code of others, and may raise anything.
    try:
        with experimental():
            made = make()
    except Exception as error:
        raise PluginError(f"{where} cannot be made: {cause_of(error)}") from error
    if not isinstance(made, base):
        raise PluginError(
            f"{where} returns a {type(made).__name__}, but must return one of "
            f"optuna.{registry.kind}s."
        )

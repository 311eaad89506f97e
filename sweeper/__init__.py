"""The sweep service, which launches, records and compares sweeps without any tensor code.

    import sweeper

    sweep = sweeper.launch("search_spaces/mona_pdebench.yaml", profile="laptop", trials=8)
    sweep.trials()                                       # a DataFrame, a row for each trial
    sweep.best("mona/pdebench/advection_1d").params
    sweeper.compare(["pare_pdebench", "mona_pdebench"])  # as `sweeper compare` does

Each public name is imported at its first use.
"""

import warnings
from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sweeper.api.comparison import Comparison as Comparison
    from sweeper.api.comparison import compare as compare
    from sweeper.api.sweeps import Sweep as Sweep
    from sweeper.api.sweeps import launch as launch
    from sweeper.api.sweeps import open as open
    from sweeper.api.sweeps import use_plugin as use_plugin
    from sweeper.api.trainable import trainable as trainable
    from sweeper.api.trial import Trial as Trial
    from sweeper.api.trial import load_model as load_model
    from sweeper.api.tuning import tune as tune
    from sweeper.commands.audit import audit as audit
    from sweeper.commands.look import status as status
    from sweeper.commands.look import sweeps as sweeps
    from sweeper.commands.plan import plan as plan
    from sweeper.commands.validate import validate as validate
    from sweeper.errors import SweeperError as SweeperError
    from sweeper.planning.load import Options as Options
    from sweeper.planning.one_line import integers as integers
    from sweeper.planning.one_line import log as log
    from sweeper.planning.one_line import log_integers as log_integers
    from sweeper.planning.one_line import uniform as uniform

__version__ = "0.1.0"

# A program that uses one function does not wait for the libraries of all the others.
_HOMES = {  # module -> public names
    "sweeper.api.comparison": ("Comparison", "compare"),
    "sweeper.api.sweeps": ("Sweep", "launch", "open", "use_plugin"),
    "sweeper.api.trainable": ("trainable",),
    "sweeper.api.trial": ("Trial", "load_model"),
    "sweeper.api.tuning": ("tune",),
    "sweeper.commands.audit": ("audit",),
    "sweeper.commands.look": ("status", "sweeps"),
    "sweeper.commands.plan": ("plan",),
    "sweeper.planning.one_line": ("integers", "log", "log_integers", "uniform"),
    "sweeper.commands.validate": ("validate",),
    "sweeper.errors": ("SweeperError",),
    "sweeper.planning.load": ("Options",),
}
warnings.filterwarnings("ignore", "IProgress not found")  # of a bar that Optuna has and we do not
_HOME_OF = {name: module for module, names in _HOMES.items() for name in names}
__all__ = ["__version__", *sorted(_HOME_OF)]


if not TYPE_CHECKING:  # which has the names above, and no others

    def __getattr__(name: str) -> object:
        """Import a public name from the module that defines it."""
        if name not in _HOME_OF:
            raise AttributeError(f"module `sweeper` has no attribute `{name}`")
        return getattr(import_module(_HOME_OF[name]), name)


def __dir__() -> list[str]:
    return [*globals(), *_HOME_OF]

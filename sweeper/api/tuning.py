"""The search over the parameters of a function of this program."""

import hashlib
import inspect
from collections.abc import Callable, Mapping
from typing import Any, Unpack

from sweeper.api.sweeps import Destination, Sets, Sweep, as_arguments, launch_file
from sweeper.api.trainable import trainable
from sweeper.errors import UsageError
from sweeper.planning.load import Options
from sweeper.planning.one_line import sweep_file


class TuneOptions(Destination, total=False):
    """Further keywords of `tune`, and those of `launch` about cluster and ledger."""

    goal: str
    steps: int | None
    may_change: bool
    sets: Sets


def tune(
    function: Callable[..., Any],
    parameters: Mapping[str, object],
    *,
    metric: str,
    trials: int = 32,
    name: str | None = None,
    **options: Unpack[TuneOptions],
) -> Sweep:
    """Search for the parameters with which a function reports the best metric.

        sweeper.tune(train, {"lr": sweeper.log(1e-5, 1e-1)}, metric="loss", trials=40)

    The function goes to the workers of this sweep in memory, so that it may be of a notebook. The
    same call again continues the sweep, or adds trials to it.

    Args:
        function: A function of the parameters (a dict) and of the trial.
        parameters: By name `log`, `uniform`, `integers`, a list of choices, a value, or a mapping
            as in a sweep file.
        metric: The name of the reported value to follow.
        trials: Number of trials. The first has the middle of each parameter.
        name: Name of the sweep; None: that of the function.
        **options: `goal` is minimize or maximize. `steps` is the number of reports of a trial, if
            it is known. `may_change` goes on with another text of the function. `sets` are other
            settings, such as `{"pruning.type": "promote"}`. The others are those of `launch`.

    Raises:
        FileFaults: A setting is not valid.
        UsageError: The sweep began with another text of the function, or its text is not known.
        Interrupted: The program was interrupted; the sweep is resumable.
        SweeperError: Any other reason why the sweep did not run to its end.
    """
    from sweeper.execution.passing import packed  # Ray, which loads slowly

    trainable(function)
    own, where = _name(function), dict[str, Any](options)
    program = {
        "function": own,
        "metric": metric,
        "goal": where.pop("goal", "minimize"),
        "steps": where.pop("steps", None),
        "may_change": where.pop("may_change", False),
        "code": _hash(function),
    }
    sets = as_arguments(where.pop("sets", ()))
    with sweep_file(name or own, program, parameters, trials) as path:
        return launch_file(path, Options(sets=sets, function=packed(function), **where))


def _name(function: Callable[..., Any]) -> str:
    name: str = getattr(function, "__name__", type(function).__name__)
    if not hasattr(function, "__name__") or not name.isidentifier():
        raise UsageError(f"a {name} has no name, as the study needs: pass a function of a `def`.")
    return name


def _hash(function: Callable[..., Any]) -> str:
    try:
        text = inspect.getsource(function)
    except (OSError, TypeError) as error:
        raise UsageError(
            f"the text of `{function.__name__}` is not known, by which a resumed sweep knows it "
            "again: define it in a file or in a notebook."
        ) from error
    return hashlib.sha256(text.encode()).hexdigest()[:16]

"""The driver's process, started by the supervisor alone as `python -m sweeper.driver NAME`.

The sweep's name is there for people: Ray shows the command line of a driver as that of its job.
Standard output carries the messages to the supervisor; other output goes to standard error.
"""

import traceback
from contextlib import closing
from importlib import import_module
from pathlib import Path
from typing import IO

from sweeper.console import make_plain, stderr
from sweeper.driver.messages import (
    Died,
    DriverJob,
    DriverOutcome,
    Ended,
    RayNotStarted,
    Refused,
    StartsRay,
    to_json,
)
from sweeper.driver.preparation import preparing
from sweeper.errors import SweeperError
from sweeper.execution import cluster as clusters
from sweeper.planning import child, resuming
from sweeper.planning.catalog import home
from sweeper.planning.data.draws import predictors_of
from sweeper.planning.sweep_folder import open_ledger

# MLflow would import it in a thread. While that lasts, comparisons with enums fail in the ledger.
import_module("sqlalchemy.orm")


def main() -> None:
    """Run one job and write its outcome."""
    job = DriverJob(**child.read_input())
    make_plain()
    child.end_with_parent()  # then another driver may take over the sweep
    with child.take_output() as out:
        child.write_line(out, to_json(_outcome(job, out)))


def _outcome(job: DriverJob, out: IO[str]) -> DriverOutcome:
    try:
        return _run(job, out)
    except SweeperError as error:
        return Refused(error)
    except KeyboardInterrupt:
        return Ended(signal=2)
    except clusters.ClusterLost as error:
        # Another driver starts a new cluster, and goes on from the ledger.
        return Died(str(error))
    except ImportError as error:  # a second driver would fail, too
        return Refused(_broken(error))
    # Whatever else went wrong may not come again: another driver is started.
    except Exception:
        traceback.print_exc()
        return Died(traceback.format_exc().splitlines()[-1])


def _run(job: DriverJob, out: IO[str]) -> DriverOutcome:
    def starts_ray(is_starting: bool) -> None:
        child.write_line(out, to_json(StartsRay(is_starting)))

    clusters.set_environment(home() / clusters.TOKEN, address=job.address)  # before Ray is imported
    folder = Path(job.folder)
    with closing(open_ledger(folder, job.storage)) as ledger:
        # The supervisor holds the lease. Writes here name it, and are refused once it is lost.
        ledger.act_for(job.owner)
        record = ledger.sweep()
        assert record is not None
        sweep = resuming.from_record(record)
        with preparing(sweep, predictors_of(ledger), job.facts) as made:  # while Ray is imported
            from sweeper.driver.driver import drive

            try:
                return drive(
                    sweep, ledger, folder, made, job=job, console=stderr(), on_start=starts_ray
                )
            except clusters.NotStarted as error:
                # The preparation goes on to its end, since the next driver takes over its facts.
                facts = made.facts(lambda what, done, of: None).items()
                return RayNotStarted(str(error), {name: each.to_json() for name, each in facts})


def _broken(error: ImportError) -> SweeperError:
    """Return the error for a package that cannot be imported."""
    where = f" (from {error.path})" if error.path else ""
    return SweeperError(
        f"the installation is incomplete or damaged: {error}{where}. Install sweeper again, with "
        "all that it needs, and then resume the sweep; `sweeper doctor` looks at this machine."
    )


if __name__ == "__main__":
    main()

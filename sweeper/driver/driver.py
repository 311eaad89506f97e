"""The driver's process: reads a job from its input, drives the sweep, and says how it ended.

`python -m sweeper.driver.driver NAME` is started by the supervisor alone. The sweep's name is there
for people: Ray shows the command line of a driver as that of its job. Its standard output carries
JSON objects, one a line: whether it is about to start Ray, and last the outcome. Whatever else
writes there is sent to standard error.
"""

import traceback
from contextlib import closing
from pathlib import Path
from typing import IO, Any

from sweeper.console import make_plain, stderr
from sweeper.driver.preparation import preparing
from sweeper.driver.supervisor import STARTS_RAY, Job
from sweeper.errors import SweeperError, to_record
from sweeper.execution import cluster as clusters
from sweeper.planning import child, load
from sweeper.planning.catalog import home
from sweeper.planning.sweep_folder import open_ledger


def main() -> None:
    """Runs one job."""
    job = Job(**child.read_input())
    make_plain()
    child.end_with_parent()  # then another one may drive the sweep
    with child.take_output() as out:
        try:
            outcome = _run(job, out)
        except SweeperError as error:
            outcome = {"error": to_record(error)}
        except KeyboardInterrupt:
            outcome = {"signal": 2}
        except clusters.ClusterLost as error:
            outcome = {"died": str(error)}
        except clusters.NotStarted as error:
            outcome = {"not_started": str(error)}
        except ImportError as error:  # again would be no better
            outcome = {"error": to_record(_broken(error))}
        except Exception:
            traceback.print_exc()
            outcome = {"died": traceback.format_exc().splitlines()[-1]}
        child.write_line(out, outcome)


def _broken(error: ImportError) -> SweeperError:
    """Return what to tell of a package that cannot be imported."""
    where = f" (from {error.path})" if error.path else ""
    return SweeperError(
        f"the installation is incomplete or damaged: {error}{where}. Install sweeper again, with "
        "all that it needs, and then resume the sweep; `sweeper doctor` looks at this machine."
    )


def _run(job: Job, out: IO[str]) -> dict[str, Any]:
    def starts_ray(is_starting: bool) -> None:
        child.write_line(out, {STARTS_RAY: is_starting})

    clusters.set_environment(home() / clusters.TOKEN, address=job.address)  # before Ray is imported
    folder = Path(job.folder)
    with closing(open_ledger(folder, job.storage)) as ledger:
        ledger.act_for(job.owner)
        record = ledger.sweep()
        assert record is not None
        sweep = load.from_record(record)
        with preparing(sweep) as preparation:  # while Ray is imported
            from sweeper.driver.drive import drive

            return drive(
                sweep, ledger, folder, preparation, job=job, console=stderr(), on_start=starts_ray
            )


if __name__ == "__main__":
    main()

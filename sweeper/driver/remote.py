"""Sweeps that live on a Ray cluster: they are sent there as a Ray Job and steered by more jobs.

A sweep's folder here then holds only a note of its cluster. The folder on the cluster, `workdir`,
has to be shared by all its nodes, or the file has to name a store for checkpoints.
"""

import json
import os
import re
import shlex
import sys
import tempfile
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console

from sweeper.console import pass_on, print_text, stderr
from sweeper.driver.program_files import copied, folders_to_send
from sweeper.errors import BackendUnreachable, NotFound, SweeperError, SweepIsHeld, UsageError
from sweeper.execution import cluster as clusters
from sweeper.planning import load
from sweeper.planning.catalog import home
from sweeper.planning.plugin_path import active
from sweeper.planning.sweep_folder import IN_JOB, NOTE, OWN_CLUSTER, Remote, folder_of, note_of
from sweeper.spec.layers import whole_text
from sweeper.spec.reader import parse
from sweeper.spec.rules.program import PROGRAM, PROGRAMS
from sweeper.spec.sweep import Sweep
from sweeper.text import holds_secret

if TYPE_CHECKING:
    from sweeper.execution.jobs import Jobs

DRIVING = ("resume", "extend", "retry", "rerun")  # commands that run trials, besides a launch
RUNNING = (*DRIVING, "fork")  # and one that runs those of another sweep


def launch(
    file: Path, options: load.Options, *, workdir: Path | None, detach: bool, console: Console
) -> tuple[Remote, int | None]:
    """Send the sweep of `file` to the cluster, and print what its job prints until that ends.

    Returns:
        The sweep's place, and the exit code of its job; None with `detach`, which returns at once.

    Raises:
        FileFaults: The file is invalid; nothing was sent.
        BackendUnreachable: The cluster does not take it.
        SweepIsHeld: The sweep runs elsewhere.
    """
    sweep = load.read(file, options)
    place, programs = str(workdir or Path.cwd()), _programs(sweep)
    text = whole_text(file, sweep.task_files)
    words = ["launch", *_words(sweep, options, text)]
    if options.storage is not None:
        # The command line of a job is shown to all users of the cluster.
        if holds_secret(options.storage):
            raise UsageError(
                "--storage: a password would be seen by all who may look at the cluster: leave "
                "it out, and set PGPASSWORD where Ray's head runs."
            )
        words += ["--storage", options.storage]
    jobs = jobs_at(options.address, insecure=options.insecure)
    folder = folder_of(sweep.name)
    # Before the job is sent: the note of a sweep that runs elsewhere would be lost.
    _check_place(folder, options.address, place)
    command = shell_command(place, words)
    job = _send(jobs, text, command, label=_label(sweep.name), programs=programs)
    remote = Remote(
        name=sweep.name,
        address=options.address,
        workdir=place,
        job=job,
        insecure=options.insecure,
        programs=programs,
    )
    # The note is written after the job was accepted: that of a refused one would lead nowhere.
    folder.mkdir(parents=True, exist_ok=True)
    (folder / NOTE).write_text(json.dumps(asdict(remote), indent=1))
    if detach:
        return remote, None
    text = f"job {job}; if this command ends, the sweep goes on: sweeper logs -f {sweep.name}"
    console.print(text, markup=False)
    return remote, jobs.follow(job, sys.stderr)


def _check_place(folder: Path, address: str, workdir: str) -> None:
    """Check that the sweep of a folder does not run in another place than the given one.

    Raises:
        SweepIsHeld: It does: commands about it would no longer reach it.
    """
    there = note_of(folder)
    if there is None or (there.address, there.workdir) == (address, workdir):
        return
    try:
        jobs = jobs_at(there.address, insecure=there.insecure)
        running = jobs.running(_in_folder(there.workdir))
    except BackendUnreachable:
        return  # that cluster has ended
    if running & {_label(there.name, verb) for verb in ("launch", *DRIVING)}:
        raise SweepIsHeld(
            f"sweep `{there.name}` runs at {there.address} in {there.workdir}. Launch it there "
            f"(--workdir {there.workdir}), end it (sweeper stop {there.name}), or take a --name."
        )


def plan(
    file: Path, options: load.Options, *, calibrate: bool, exploratory: bool, as_json: bool
) -> int:
    """Plan the sweep of `file` on the cluster by its measurements, and print; return the exit code.

    Raises:
        FileFaults: The file is invalid; nothing was sent.
        BackendUnreachable: The cluster does not answer.
    """
    sweep = load.read(file, options)
    text, programs = whole_text(file, sweep.task_files), _programs(sweep)
    words = ["plan", *_words(sweep, options, text)]
    words += ["--calibrate"] * calibrate + ["--exploratory"] * exploratory + ["--json"] * as_json
    jobs = jobs_at(options.address, insecure=options.insecure)
    # A plan writes no sweep, so its job does not enter a folder of sweeps.
    label, command = _label(sweep.name, "plan"), f'here="$PWD"; {_sweeper(words)}'
    job = _send(jobs, text, command, label=label, programs=programs)
    code = jobs.wait(job)
    _pass_on(jobs.printed(job), job, code, as_json=as_json)
    return code


def _programs(sweep: Sweep) -> tuple[str, ...]:
    """Return the folders of programs that a job of the sweep takes along."""
    return tuple(dict.fromkeys(folders_to_send(sweep).values()))


def _words(sweep: Sweep, options: load.Options, text: str) -> list[str]:
    """Return the arguments by which a command there reads a file as it was read here."""
    words = ["{file}", "--profile", sweep.profile]
    for setting in options.sets:
        words += ["--set", setting]
    for option, value in (("--trials", options.trials), ("--name", options.name)):
        words += [option, str(value)] if value is not None else []
    # A node finds what the job brought it by the path that the folder has here.
    are_several = PROGRAMS in parse(text, sweep.name).children()
    for name, folder in folders_to_send(sweep).items():
        place = f"{PROGRAMS}.{name}" if are_several else PROGRAM
        words += ["--set", f"{place}.folder={json.dumps(folder)}"]
    return words


def _send(jobs: "Jobs", text: str, command: str, *, label: str, programs: Sequence[str]) -> str:
    """Start a command on the cluster with the text of a sweep file; return the job's id."""
    with tempfile.TemporaryDirectory() as folder, copied(programs) as modules:
        Path(folder, "sweep.yaml").write_text(text, encoding="utf-8")
        return jobs.submit(
            # `shlex.quote` has put the placeholder in quotes. Its value is known
            # only where the job runs.
            command.replace("'{file}'", '"$here/sweep.yaml"'),
            label=label,
            environment=_environment(),
            folder=Path(folder),
            modules=[*active(), *modules],
        )


def _pass_on(printed: str, job: str, code: int, *, as_json: bool) -> None:
    """Print what a job printed; with `as_json`, all but its one JSON object on standard error.

    Raises:
        SweeperError: There is no JSON object where there has to be one.
    """
    if as_json:
        printed, news = _divided(printed)
        print_text(stderr(), news, end="")
        if not printed:
            raise SweeperError(f"job {job} ended with exit code {code}, and without a result.")
    pass_on(printed, sys.stdout)


def forward(remote: Remote, arguments: Sequence[str], *, as_json: bool) -> int:
    """Run a command about a sweep on the sweep's cluster, print its output, return its exit code.

    The standard output and error of the command arrive as one stream. It goes to standard output;
    with `as_json` it goes to standard error, except the one JSON object in it.

    Raises:
        BackendUnreachable: The cluster does not answer.
        SweeperError: There is no JSON object where there has to be one.
    """
    jobs = jobs_at(remote.address, insecure=remote.insecure or "--insecure" in arguments)
    # The option is about the connection from here. The command there runs within its cluster.
    words = [word for word in arguments if word != "--insecure"]
    follows = words[0] == "logs" and not {"-f", "--follow"}.isdisjoint(words)
    # Without further options the output of the sweep's own job is what `logs -f` would print, and
    # no further job is needed.
    if follows and len(words) == 3 and _is_running(jobs, remote):
        return jobs.follow(remote.job, sys.stdout)
    while True:
        with copied(remote.programs if words[0] in RUNNING else ()) as modules:
            job = jobs.submit(
                shell_command(remote.workdir, words),
                label=_label(remote.name, words[0]),
                environment=_environment(),
                modules=[*active(), *modules],
            )
        if follows:
            return jobs.follow(job, sys.stdout)
        code, printed = jobs.wait(job), jobs.printed(job)
        # The cluster keeps the list of its jobs: one for each `status` would fill it.
        if words[0] not in DRIVING:
            jobs.forget(job)
        if code == NotFound.exit_code and _is_running(jobs, remote):
            continue  # it has yet to write its ledger
        _pass_on(printed, job, code, as_json=as_json)
        return code


def listed(remotes: Sequence[Remote]) -> list[dict[str, Any]]:
    """Return a line for each of these sweeps, as `sweeper ls --json` on its cluster has it."""
    lines: list[dict[str, Any]] = []
    for address, workdir in dict.fromkeys((r.address, r.workdir) for r in remotes):
        there = [r for r in remotes if (r.address, r.workdir) == (address, workdir)]
        mine = {r.name for r in there}
        try:
            jobs = jobs_at(address, insecure=any(r.insecure for r in there))
            words = ["ls", "--json"]
            job = jobs.submit(
                shell_command(workdir, words), label="sweeper-ls", environment=_environment()
            )
            jobs.wait(job)
            found = json.loads(_divided(jobs.printed(job))[0])["sweeps"]
            jobs.forget(job)
        # A cluster that does not answer must not hide the sweeps of others.
        except (BackendUnreachable, ValueError, KeyError):
            found = []
        known = {
            line["sweep"]: {"tags": {}, **line, "on": address}
            for line in found
            if line["sweep"] in mine
        }
        lines += [known.get(name, _unknown(name, address)) for name in sorted(mine)]
    return lines


def _unknown(name: str, address: str) -> dict[str, Any]:
    facts = {"profile": "", "studies": 0, "trials": {}, "age_s": None, "tags": {}, "on": address}
    return {"sweep": name, "state": "not reached", **facts}


def _divided(printed: str) -> tuple[str, str]:
    """Return the JSON object that a command printed, and the lines around it."""
    # Ray and libraries print lines of their own around the object.
    for line in re.finditer(r"^\{", printed, re.MULTILINE):
        start = line.start()
        with suppress(ValueError):
            _, end = json.JSONDecoder().raw_decode(printed, start)
            return printed[start:end] + "\n", printed[:start] + printed[end:].removeprefix("\n")
    return "", printed


def _is_running(jobs: "Jobs", remote: Remote) -> bool:
    """Return whether the job that launched the sweep still runs."""
    return jobs.look(remote.job).exit_code is None


def _label(sweep: str, verb: str = "launch") -> str:
    """Return the label of a job that runs a command about a sweep."""
    return f"sweeper-{sweep}" if verb == "launch" else f"sweeper-{verb}-{sweep}"


def shell_command(workdir: str, words: Sequence[str]) -> str:
    """Return the command of a job that runs `sweeper` with some words in a folder."""
    # A job starts in a copy of the folder that was sent, `$here`, and the sweep lives in `workdir`.
    enter = f"mkdir -p {shlex.quote(workdir)} && {_in_folder(workdir)}"
    return f'here="$PWD"; {enter}exec {_sweeper(words)}'


def _sweeper(words: Sequence[str]) -> str:
    """Return the command that runs `sweeper` with some words; -P: nothing from its folder."""
    return f"python -P -m sweeper.cli.main {shlex.join(words)}"


def _in_folder(workdir: str) -> str:
    """Return the part of a job's command that enters the folder of the sweeps."""
    return f"cd {shlex.quote(workdir)} && "


def _environment() -> dict[str, str]:
    """Return the environment of a job: nothing secret, since a cluster shows it."""
    variables = {IN_JOB: OWN_CLUSTER, "NO_COLOR": "1", "PYTHONUNBUFFERED": "1"}
    uri = os.environ.get("MLFLOW_TRACKING_URI", "")
    # The address of a file would name a place on another machine.
    if uri.startswith(("http://", "https://")) and not holds_secret(uri):
        variables["MLFLOW_TRACKING_URI"] = uri
    return variables


def jobs_at(address: str, *, insecure: bool) -> "Jobs":
    """Return the jobs of a cluster, if its address is secure or may be insecure."""
    clusters.check_secure(address, insecure=insecure)
    clusters.set_environment(home() / clusters.TOKEN, address=address)
    # It imports Ray, which reads the environment that was set above.
    from sweeper.execution.jobs import Jobs

    return Jobs(address)

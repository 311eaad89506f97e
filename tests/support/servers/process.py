"""A server's process: in a session of its own, its output in a file, ended by its exact group."""

import os
import signal
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import psutil


class Process:
    """Starts `command` as the leader of a process group that nothing else is in.

    Args:
        log: Takes what it prints, after what is there.
        environment: Added to this process's own.
    """

    def __init__(
        self,
        command: Sequence[str],
        *,
        log: Path,
        environment: Mapping[str, str] | None = None,
        cwd: Path | None = None,
    ) -> None:
        self.log, self._name = log, " ".join(command[:3])
        with log.open("ab") as output:
            self._process = subprocess.Popen(
                command,
                env=os.environ | dict(environment or {}),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                cwd=cwd,
                start_new_session=True,
            )
        self.pid = self._process.pid

    @property
    def is_alive(self) -> bool:
        """The leader runs. One that has ended is not reaped, so that its group stays its own."""
        if self._process.returncode is not None:
            return False
        options = os.WEXITED | os.WNOHANG | os.WNOWAIT
        return os.waitid(os.P_PID, self.pid, options) is None

    def wait(self, timeout_s: float) -> int:
        """Return the leader's exit code, or minus the signal that ended it.

        Raises:
            AssertionError: It runs on; the text has the end of its output.
        """
        try:
            wait_until(lambda: not self.is_alive, timeout_s=timeout_s, what=f"{self._name} to end")
        except AssertionError as error:
            raise AssertionError(f"{error}\n{self.tail()}") from None
        found = os.waitid(os.P_PID, self.pid, os.WEXITED | os.WNOWAIT)
        assert found is not None
        return found.si_status if found.si_code == os.CLD_EXITED else -found.si_status

    def tail(self) -> str:
        """Return the end of what it printed."""
        return self.log.read_text(errors="replace")[-4000:]

    def signal(self, number: int) -> None:
        """Send a signal to the group; a no-op once the process was ended here."""
        if self._process.returncode is None:
            os.killpg(self.pid, number)

    def kill_leader(self) -> None:
        """End the process at once, and nothing that it started."""
        os.kill(self.pid, signal.SIGKILL)
        self.wait(10)

    def kill(self) -> None:
        """End the group at once."""
        self.signal(signal.SIGKILL)
        self._process.wait()

    def stop(self, grace_s: float = 5.0) -> None:
        """Ask the group to end, and end it after `grace_s`."""
        self.signal(signal.SIGTERM)
        deadline = time.monotonic() + grace_s
        while self.is_alive and time.monotonic() < deadline:
            time.sleep(0.05)
        self.kill()

    def wait_until(self, ready: Callable[[], object], *, timeout_s: float = 60.0) -> None:
        """Return once the server is ready; end it and fail if it dies before or takes longer."""

        def is_over() -> bool:
            return not self.is_alive or bool(ready())

        try:
            wait_until(is_over, timeout_s=timeout_s, what=f"{self._name} to be ready")
            assert self.is_alive, f"{self._name} ended"
        except AssertionError as error:
            self.kill()
            raise AssertionError(f"{error}\n{self.tail()}") from None


def is_running(process: psutil.Process) -> bool:
    """Return whether a process still does anything: one that only waits to be reaped does not."""
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def slowness() -> float:
    """Return how many processes share a core now; time limits scale with it."""
    return max(1.0, os.getloadavg()[0] / (os.cpu_count() or 1))


def wait_until(
    condition: Callable[[], object], *, timeout_s: float, what: str, every_s: float = 0.1
) -> None:
    """Return once `condition` holds.

    Raises:
        AssertionError: It did not within `timeout_s` of a core of its own.
    """
    start = time.monotonic()
    while not condition():
        waited = time.monotonic() - start
        assert waited < timeout_s * slowness(), f"waited {waited:.0f} s for {what}"
        time.sleep(every_s)

"""A program that we started, on the cores that it was given: what it costs, and its end."""

import contextlib
import os
import signal
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

import msgspec
from support.processes import alive, children

_TICKS: Final = os.sysconf("SC_CLK_TCK")
_PAGE: Final = os.sysconf("SC_PAGE_SIZE")
_MIB: Final = 1024 * 1024
_PATIENCE: Final = 10.0
"""Seconds to end by itself."""
_TAIL: Final = 2000


class Cost(msgspec.Struct, frozen=True):
    """What processes have used so far: seconds of CPU (user and system), and MiB that they have in memory."""

    cpu: float
    rss: float


_NOTHING: Final = Cost(0.0, 0.0)


def _cost_of(pid: int) -> Cost:
    """Of one process; nothing, if it has ended."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return _NOTHING
    return Cost((int(fields[11]) + int(fields[12])) / _TICKS, int(fields[21]) * _PAGE / _MIB)


def busiest(before: Mapping[int, Cost], after: Mapping[int, Cost]) -> int:
    """The process id of the one that worked most in between: the worker, where there is a master too."""
    return max(after, key=lambda pid: after[pid].cpu - before.get(pid, _NOTHING).cpu)


class Program:
    """A process and all that it started. It runs in a session of its own, so that a Ctrl-C meant for us leaves it to
    us to end it; should we be killed, it is told to end too.
    """

    def __init__(
        self, command: Sequence[str], cores: str, log: Path, environment: Mapping[str, str] | None = None
    ) -> None:
        """`log` takes both outputs, at its end."""
        self.log = log
        with log.open("ab") as output:
            self._process = subprocess.Popen(
                ["setpriv", "--pdeathsig", "TERM", "taskset", "-c", cores, *command],
                env={**os.environ, **(environment or {})},
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )

    def is_running(self) -> bool:
        """Whether it has not ended."""
        return self._process.poll() is None

    def pids(self) -> list[int]:
        """Of the process and all below it, parents first."""
        found = [self._process.pid]
        for pid in found:
            with contextlib.suppress(OSError):
                found.extend(children(pid))
        return found

    def costs(self) -> dict[int, Cost]:
        """Of each of its processes, by process id."""
        return {pid: _cost_of(pid) for pid in self.pids()}

    def cost(self) -> Cost:
        """Of all its processes."""
        costs = self.costs().values()
        return Cost(sum(each.cpu for each in costs), sum(each.rss for each in costs))

    def forget_log(self) -> None:
        """The log is empty: a run would fill the disk otherwise. All write at its end, wherever that is."""
        os.truncate(self.log, 0)

    def last_words(self) -> str:
        """The end of its log."""
        return self.log.read_text(errors="replace")[-_TAIL:]

    def stop(self) -> None:
        """It has ended, and so has all that it started; not by itself: it is killed."""
        pids = self.pids()
        if self._process.poll() is None:
            self._process.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(_PATIENCE)
        for pid in pids:
            if alive(pid):
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
        self._process.wait()

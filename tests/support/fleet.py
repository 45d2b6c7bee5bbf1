"""A master whose workers do nothing but say what happens to them.

`python fleet.py DIRECTORY SIZE`: DIRECTORY/work holds a name out of WORK, read at the start and at each SIGHUP. What is
said goes to standard output, a line each: `begun NAME PID`, `told NAME PID` (to end), `ready`, `reread`, and, from the
master, `gone PID` of each worker that has ended, and how it ended itself.
"""

import asyncio
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

from gateway.server.workers import Fleet, Master, Work
from gateway.start_error import WorkersFailed
from gateway.telemetry.logs import configure_logs

SILENCES: Final = {"block": 2}
END_TIMEOUTS: Final = {"deaf": 0.5}
DIRECTORY: Final = Path(sys.argv[1] if len(sys.argv) > 1 else ".")


def say(*words: object) -> None:
    """One write, which a pipe does not mix with others."""
    os.write(1, (" ".join(map(str, words)) + "\n").encode())


def serving(name: str) -> Work:
    """Begins, and ends when it is told; it cannot begin while DIRECTORY/broken is there."""

    async def work(begun: Callable[[], None], stop: asyncio.Event) -> None:
        if (DIRECTORY / "broken").exists():
            raise RuntimeError("broken")
        begun()
        say("begun", name, os.getpid())
        await stop.wait()
        say("told", name, os.getpid())

    return work


async def fail(_: Callable[[], None], __: asyncio.Event) -> None:
    """Cannot begin."""
    raise RuntimeError("broken")


async def block(begun: Callable[[], None], _: asyncio.Event) -> None:
    """Begins, and blocks its event loop."""
    begun()
    say("begun", "block", os.getpid())
    time.sleep(60)  # noqa: ASYNC251 - it is what the test is about


def deaf(name: str) -> Work:
    """Begins, and does not end when it is told."""

    async def work(begun: Callable[[], None], _: asyncio.Event) -> None:
        begun()
        say("begun", name, os.getpid())
        await asyncio.sleep(60)

    return work


WORK: Final = {
    "one": serving("one"),
    "two": serving("two"),
    "fail": fail,
    "block": block,
    "deaf": deaf("deaf"),
    "patient": deaf("patient"),
}


def read(size: int) -> Fleet | None:
    """What DIRECTORY/work says; `none`: a fault that was logged, an unknown name: one that nobody foresaw."""
    say("reread")
    name = (DIRECTORY / "work").read_text()
    return None if name == "none" else Fleet(size=size, work=WORK[name], end_timeout=END_TIMEOUTS.get(name, 60.0))


def watch() -> None:
    if (DIRECTORY / "gone").exists():
        raise ConnectionError("what was watched is gone")


def main() -> None:
    configure_logs("json", "info")
    size = int(sys.argv[2])
    fleet = read(size)
    assert fleet is not None
    silence = SILENCES.get((DIRECTORY / "work").read_text(), 10)
    master = Master(
        fleet,
        [],
        reread=lambda: read(size),
        watch=watch,
        ready=lambda: say("ready"),
        ended=lambda pid: say("gone", pid),
        silence=silence,
    )
    try:
        master.run()
    except (WorkersFailed, ConnectionError) as error:
        say("ended", type(error).__name__, error)
    else:
        say("ended")


if __name__ == "__main__":
    main()

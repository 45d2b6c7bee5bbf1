"""Masters and workers in processes of their own; the gateway's are in tests/e2e/test_workers.py."""

import fcntl
import os
import pty
import queue
import signal
import subprocess
import sys
import termios
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Self

import pytest
from support import fleet as program
from support.processes import alive, until

from gateway.server.workers import Fleet, GatewayWorker, Heartbeat, Master

linux = pytest.mark.skipif(sys.platform != "linux", reason="only Linux ends a child with its parent")


class Program:
    """`support/fleet.py` at work, and what it says."""

    def __init__(self, directory: Path, size: int = 2, work: str = "one", **options: Any) -> None:
        self.directory = directory
        self.write(work)
        with (directory / "log").open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, str(program.__file__), str(directory), str(size)],
                **{"stdout": subprocess.PIPE, "stderr": log, "start_new_session": True, **options},
            )
        self._said: queue.SimpleQueue[str] = queue.SimpleQueue()
        self._reader = threading.Thread(target=self._read)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self._said.put(line.decode().rstrip("\n"))

    def write(self, work: str) -> None:
        (self.directory / "work").write_text(work)

    def log(self) -> str:
        return (self.directory / "log").read_text()

    def hears(self, start: str) -> str:
        """The next line that begins with `start`; those before it are passed over."""
        while True:
            try:
                line = self._said.get(timeout=20)
            except queue.Empty:
                raise AssertionError(f"nobody said {start!r}: {self.log()}") from None
            if line.startswith(start):
                return line

    def begun(self, name: str, count: int = 1) -> set[int]:
        """Process ids of the next `count` workers that begin."""
        return {int(self.hears(f"begun {name} ").split()[-1]) for _ in range(count)}

    def signal(self, number: signal.Signals) -> None:
        self.process.send_signal(number)

    def reload(self, work: str) -> None:
        self.write(work)
        self.signal(signal.SIGHUP)

    def rest(self) -> list[str]:
        """All that is said until the process has ended."""
        self.process.wait(20)
        self._reader.join(20)
        return [self._said.get_nowait() for _ in range(self._said.qsize())]

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        self._reader.join(20)
        if self.process.stdout is not None:
            self.process.stdout.close()


def idle_master() -> Master:
    """One that has not forked anybody."""
    fleet = Fleet(size=1, work=program.WORK["one"], end_timeout=1.0)
    return Master(fleet, [], reread=lambda: None, watch=lambda: None, ready=lambda: None)


Start = Callable[..., Program]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """`start(...)`: a program, ended after the test."""
    started: list[Program] = []

    def start(**options: Any) -> Program:
        started.append(Program(tmp_path, **options))
        return started[-1]

    yield start
    for found in started:
        with found:
            pass


# Signs of life.


def test_a_heartbeat_is_seen_by_the_master_and_says_when_the_worker_began() -> None:
    heart = Heartbeat()
    before = heart.last_update()
    assert not heart.has_begun
    child = os.fork()
    if not child:
        heart.notify()
        heart.begin()
        os._exit(0)
    os.waitpid(child, 0)
    assert heart.last_update() > before
    assert heart.has_begun
    heart.close()


# Starting.


def test_it_is_ready_once_when_all_of_its_workers_have_begun(start: Start) -> None:
    master = start(size=3)
    assert len(master.begun("one", 3)) == 3
    master.hears("ready")
    master.signal(signal.SIGTERM)
    assert "ready" not in master.rest()


def test_a_worker_that_cannot_start_ends_a_master_that_never_served(start: Start) -> None:
    master = start(work="fail")
    assert master.rest()[-1] == "ended WorkersFailed a worker ended before it could serve: the log says why"
    assert "RuntimeError: broken" in master.log()


# Ending.


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_told_to_end_it_tells_its_workers_and_waits_for_them(start: Start, number: signal.Signals) -> None:
    master = start()
    workers = master.begun("one", 2)
    master.hears("ready")
    master.signal(number)
    *told, ended = master.rest()
    assert {int(line.split()[-1]) for line in told if line.startswith("told one")} == workers
    assert ended == "ended"
    assert master.process.returncode == 0
    assert not any(alive(pid) for pid in workers)


def test_a_ctrl_c_reaches_all_of_them_and_ends_them_once(start: Start) -> None:
    master = start()
    master.begun("one", 2)
    master.hears("ready")
    os.killpg(master.process.pid, signal.SIGINT)
    rest = master.rest()
    assert sum(line.startswith("told") for line in rest) == 2
    assert rest[-1] == "ended"
    assert "Traceback" not in master.log()


@pytest.mark.parametrize("before", [None, signal.SIGINT], ids=["at once", "while they finish: a second Ctrl-C"])
def test_in_haste_it_waits_for_nobody(start: Start, before: signal.Signals | None) -> None:
    master = start(work="patient")
    workers = master.begun("patient", 2)
    master.hears("ready")
    if before is not None:
        master.signal(before)
        until("it stops", lambda: "stopping" in master.log())
    master.signal(before or signal.SIGQUIT)
    assert master.rest()[-1] == "ended"
    until("no worker is left", lambda: not any(alive(pid) for pid in workers))


def test_workers_that_do_not_end_are_made_to(start: Start) -> None:
    master = start(work="deaf")
    workers = master.begun("deaf", 2)
    master.hears("ready")
    master.signal(signal.SIGTERM)
    assert master.rest()[-1] == "ended"
    until("no worker is left", lambda: not any(alive(pid) for pid in workers))


@linux
def test_workers_end_with_a_master_that_was_killed(start: Start) -> None:
    master = start()
    workers = master.begun("one", 2)
    master.process.kill()
    until("its workers end", lambda: not any(alive(pid) for pid in workers))


def test_what_the_watch_raises_ends_all(start: Start, tmp_path: Path) -> None:
    master = start()
    workers = master.begun("one", 2)
    (tmp_path / "gone").touch()
    assert master.rest()[-1] == "ended ConnectionError what was watched is gone"
    assert not any(alive(pid) for pid in workers)


def take_terminal() -> None:
    """Make standard input the terminal of this process, which leads a session of its own."""
    fcntl.ioctl(0, termios.TIOCSCTTY, 0)


def test_it_ends_with_its_terminal(start: Start) -> None:
    """A window that was closed sends SIGHUP as whoever wants a reload does."""
    ours, its = pty.openpty()
    master = start(stdin=its, preexec_fn=take_terminal)
    os.close(its)
    workers = master.begun("one", 2)
    master.hears("ready")
    os.close(ours)
    assert master.rest()[-1] == "ended"
    until("no worker is left", lambda: not any(alive(pid) for pid in workers))


# Workers that end, or do not answer.


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_a_worker_that_ends_is_replaced_and_the_others_go_on(start: Start, number: signal.Signals) -> None:
    master = start()
    first, second = master.begun("one", 2)
    master.hears("ready")
    os.kill(first, number)
    (new,) = master.begun("one")
    assert new not in (first, second)
    assert alive(second)


def test_other_signals_are_nothing_to_a_worker(start: Start) -> None:
    """They go to the terminal's whole group, and what comes of them is said by the master."""
    master = start(size=1)
    (worker,) = master.begun("one")
    master.hears("ready")
    for number in (signal.SIGINT, signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2, signal.SIGWINCH):
        os.kill(worker, number)
    master.reload("two")
    assert master.hears("told") == f"told one {worker}"


def test_a_worker_whose_event_loop_is_blocked_is_replaced(start: Start) -> None:
    master = start(size=1, work="block")
    (first,) = master.begun("block")
    (second,) = master.begun("block")
    assert first != second
    assert not alive(first)
    assert "worker stuck" in master.log()


Watched = tuple[Master, GatewayWorker, "subprocess.Popen[bytes]"]


@pytest.fixture
def watched() -> Iterator[Watched]:
    """A master, the one worker that it looks after, and the child that this worker is."""
    master = idle_master()
    worker = GatewayWorker(1, os.getpid(), [], master.app)
    with subprocess.Popen([sys.executable, "-c", "import signal; signal.pause()"]) as child:
        worker.pid = child.pid
        master.WORKERS[child.pid] = worker
        yield master, worker, child
        child.kill()
    worker.tmp.close()


def test_a_worker_that_gives_signs_of_life_and_has_begun_is_let_live(watched: Watched) -> None:
    master, worker, child = watched
    worker.tmp.begin()
    worker.started -= 3600
    master.murder_workers()
    assert child.poll() is None


def test_a_worker_that_gives_no_sign_of_life_is_killed(watched: Watched) -> None:
    master, worker, child = watched
    worker.tmp.begin()
    worker.tmp._cells[0] -= 60
    master._resumed -= 60
    master.murder_workers()
    assert child.wait(20) == -signal.SIGKILL


def test_a_worker_that_does_not_come_to_serve_is_killed(watched: Watched) -> None:
    master, worker, child = watched
    worker.started -= 60
    master._resumed -= 60
    master.murder_workers()
    assert child.wait(20) == -signal.SIGKILL


def test_who_was_stopped_together_with_the_master_is_not_stuck(watched: Watched) -> None:
    """A Ctrl-Z, and a minute later `fg`."""
    master, worker, child = watched
    worker.tmp._cells[0] -= 60
    worker.started -= 60
    master._looked -= 60
    master._resumed -= 60
    master.murder_workers()
    assert child.poll() is None


def test_after_a_good_start_a_worker_that_cannot_start_ends_nobody(start: Start, tmp_path: Path) -> None:
    master = start()
    first, second = master.begun("one", 2)
    master.hears("ready")
    (tmp_path / "broken").touch()
    os.kill(first, signal.SIGKILL)
    until("it failed twice", lambda: master.log().count("RuntimeError: broken") >= 2)
    assert alive(second)
    (tmp_path / "broken").unlink()
    master.begun("one")


def test_the_more_often_a_worker_ends_early_the_longer_the_next_one_waits() -> None:
    master = idle_master()
    waits = []
    for _ in range(5):
        master._wait_longer()
        waits.append(round(max(0.0, master._not_before - time.monotonic()), 1))
    assert waits == pytest.approx([0, 0.2, 0.6, 1, 1], abs=0.15)


# Reading anew.


def test_a_new_fleet_begins_before_the_old_one_is_told_to_end(start: Start) -> None:
    master = start()
    old = master.begun("one", 2)
    master.hears("ready")
    master.reload("two")
    said = [master.hears("") for _ in range(4)]
    assert [line.split()[0] for line in said] == ["reread", "begun", "begun", "told"]
    assert {int(line.split()[-1]) for line in (said[3], master.hears("told"))} == old
    until("the old ones have ended", lambda: not any(alive(pid) for pid in old))


@pytest.mark.parametrize(
    ("work", "logged"),
    [
        pytest.param("none", "", id="a fault that its reader has told"),
        pytest.param("unheard-of", "KeyError: 'unheard-of'", id="a fault that nobody foresaw"),
    ],
)
def test_what_cannot_be_read_changes_nothing(start: Start, work: str, logged: str) -> None:
    master = start()
    workers = master.begun("one", 2)
    master.hears("ready")
    master.reload(work)
    master.hears("reread")
    until("it is logged", lambda: logged in master.log())
    master.signal(signal.SIGTERM)
    rest = master.rest()
    assert [line for line in rest if line.startswith("begun")] == []
    assert {int(line.split()[-1]) for line in rest if line.startswith("told one")} == workers


def test_a_new_fleet_that_cannot_start_leaves_the_old_one_at_work(start: Start) -> None:
    master = start()
    workers = master.begun("one", 2)
    master.hears("ready")
    master.reload("fail")
    until("it gives up", lambda: "the old stay in force" in master.log())
    os.kill(min(workers), signal.SIGKILL)
    (new,) = master.begun("one")
    master.signal(signal.SIGTERM)
    assert {int(line.split()[-1]) for line in master.rest() if line.startswith("told")} == {max(workers), new}


def test_old_workers_that_do_not_end_are_made_to(start: Start) -> None:
    master = start(work="deaf")
    old = master.begun("deaf", 2)
    master.hears("ready")
    master.reload("one")
    new = master.begun("one", 2)
    until("the old ones have ended", lambda: not any(alive(pid) for pid in old))
    assert all(alive(pid) for pid in new)


# Other signals.


def test_a_worker_more_and_a_worker_less(start: Start) -> None:
    master = start(size=1)
    (first,) = master.begun("one")
    master.hears("ready")
    master.signal(signal.SIGTTIN)
    (second,) = master.begun("one")
    master.signal(signal.SIGTTOU)
    assert master.hears("told") == f"told one {first}"
    master.signal(signal.SIGTTOU)
    master.signal(signal.SIGTERM)
    assert [line for line in master.rest() if line.startswith("told")] == [f"told one {second}"]


def test_other_signals_change_nothing(start: Start) -> None:
    master = start()
    workers = master.begun("one", 2)
    master.hears("ready")
    for number in (signal.SIGUSR1, signal.SIGUSR2, signal.SIGWINCH):
        master.signal(number)
    until("one of them is spoken of", lambda: "SIGUSR2" in master.log())
    master.signal(signal.SIGTERM)
    rest = master.rest()
    assert {int(line.split()[-1]) for line in rest if line.startswith("told")} == workers
    assert rest[-1] == "ended"


def test_of_each_worker_that_has_ended_the_process_id_is_told(start: Start) -> None:
    master = start()
    first, second = master.begun("one", 2)
    master.hears("ready")
    os.kill(first, signal.SIGKILL)
    assert master.hears("gone ") == f"gone {first}"
    (third,) = master.begun("one")
    master.signal(signal.SIGTERM)
    assert {line for line in master.rest() if line.startswith("gone ")} <= {f"gone {second}", f"gone {third}"}

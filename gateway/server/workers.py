"""Worker processes: the master that keeps them at work, and the life of each.

gunicorn's arbiter queues the signals, forks and stops; who is started, replaced or told to end is decided here. The
master serves nobody, and has no event loop and no thread while it forks; workers are forked with all that they have to
know, and share the listening sockets.

SIGTERM, SIGINT: all end, and may finish what is under way; SIGQUIT, or SIGINT once more: all end now. SIGHUP: what has
to be known is read anew, and if that succeeds, new workers take the place of the old ones. SIGTTIN, SIGTTOU: a worker
more, a worker less.
"""

import asyncio
import math
import mmap
import os
import signal
import sys
import time
from collections.abc import Callable, Coroutine, Iterator, Sequence
from contextlib import contextmanager
from socket import socket
from typing import Any, Final

import msgspec
import structlog
import uvloop
from gunicorn.arbiter import Arbiter
from gunicorn.config import Config
from gunicorn.glogging import Logger
from gunicorn.workers.base import Worker

from gateway.child_process import die_with_parent
from gateway.start_error import WorkersFailed

log = structlog.get_logger(__name__)

_BEAT: Final = 1.0
"""Seconds between two signs of life of a worker."""
SILENCE: Final = 10
"""Seconds without one, after which a worker is stuck: its event loop is blocked, or it was stopped."""
_BOOT: Final = 30.0
"""Seconds after which one that does not serve yet is stuck too."""
_LOOK: Final = 0.5
"""Seconds between two looks of the master at all that no signal tells it."""
_GLANCE: Final = 0.02
"""The same while a worker is missing, or starts."""
_EARLY: Final = 5.0
"""A worker that ends within so many seconds may end so again and again: those that take its place have to wait."""
_WAIT: Final = 0.2
_LONGEST_WAIT: Final = 1.0
"""Seconds."""
_HASTE: Final = 2
"""Seconds that a worker may take to end at once."""
_FAILED: Final = 1
_UNHEARD: Final = (
    # A Ctrl-C goes to the terminal's whole group, a lost terminal too: what comes of it, the master says.
    signal.SIGINT,
    signal.SIGHUP,
    signal.SIGUSR1,
    signal.SIGUSR2,
    signal.SIGTTIN,
    signal.SIGTTOU,
)
_ENDING: Final = (signal.SIGTERM, signal.SIGQUIT)

Work = Callable[[Callable[[], None], asyncio.Event], Coroutine[Any, Any, None]]
"""`work(begun, stop)`: calls `begun` once it serves; when `stop` is set it finishes what is under way, and returns."""


class Fleet(msgspec.Struct, frozen=True, eq=False):
    """Workers that are alike: how many, what each does, and how many seconds it may take to end."""

    size: int
    work: Work
    end_timeout: float


class Heartbeat:
    """A worker's signs of life, in memory that it shares with the master.

    gunicorn's own is the time of a file, and needs a directory that can be written to; a container may have none.
    """

    def __init__(self) -> None:
        self._cells = memoryview(mmap.mmap(-1, mmap.PAGESIZE)).cast("d")
        self.notify()

    def notify(self) -> None:
        """The worker lives, now."""
        self._cells[0] = time.monotonic()

    def last_update(self) -> float:
        """When it last said so (monotonic clock, which all processes share)."""
        return self._cells[0]

    def begin(self) -> None:
        """The worker serves."""
        self._cells[1] = 1.0

    @property
    def has_begun(self) -> bool:
        """Whether it ever did."""
        return self._cells[1] == 1.0

    def close(self) -> None:
        """Give the memory back."""
        self._cells.release()


class GatewayWorker(Worker):  # type: ignore[misc]  # gunicorn has no types
    """One worker, as its master sees it; from `init_process` on, the worker itself."""

    def __init__(self, age: int, ppid: int, _: Sequence[socket], app: "_Application", *__: object) -> None:
        """Called by the arbiter before it forks. gunicorn's own would make the heartbeat's file."""
        self.age = age
        self.pid = 0
        self.ppid = ppid
        self.fleet = app.fleet
        self.tmp = Heartbeat()
        self.started = time.monotonic()
        self.ends_by: float | None = None
        """When it will be made to end; None: it was not told to end."""
        self.is_stuck = False

    def init_process(self) -> None:
        """In the new process: work, until told to end. It ends with the master, however that one ends."""
        die_with_parent(self.ppid, signal.SIGKILL)
        for number in _UNHEARD:
            signal.signal(number, signal.SIG_IGN)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        try:
            with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
                runner.run(self._live())
        except Exception:  # the outermost edge of this process
            log.exception("worker failed")
            sys.exit(_FAILED)

    async def _live(self) -> None:
        loop, stop = asyncio.get_running_loop(), asyncio.Event()
        loop.add_signal_handler(signal.SIGTERM, stop.set)
        loop.add_signal_handler(signal.SIGQUIT, os._exit, 0)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, _ENDING)  # `Master.spawn_worker` blocked them
        self._beat(loop)
        await self.fleet.work(self.tmp.begin, stop)

    def _beat(self, loop: asyncio.AbstractEventLoop) -> None:
        self.tmp.notify()
        if os.getppid() != self.ppid:
            os._exit(_FAILED)  # only Linux ends it with the master
        loop.call_later(_BEAT, self._beat, loop)


class _Logger(Logger):  # type: ignore[misc]  # gunicorn has no types
    """gunicorn's words, by the root logger's handler; what `Master` says better is left out."""

    def setup(self, cfg: Config) -> None:
        super().setup(cfg)
        self.error_log.propagate = True


class _Application:
    """What an arbiter asks for: its settings. None is read from files, flags or the environment."""

    def __init__(self, fleet: Fleet, silence: int) -> None:
        self.fleet = fleet
        self.cfg = Config()
        for name, value in {
            "bind": [],
            "control_socket_disable": True,
            "errorlog": None,
            "loglevel": "warning",
            "logger_class": _Logger,
            "proc_name": "zonegate",
            "timeout": silence,
            "worker_class": GatewayWorker,
            "workers": fleet.size,
        }.items():
            self.cfg.set(name, value)


def _nothing(_: int) -> None:
    """For whoever does not ask."""


class Master(Arbiter):  # type: ignore[misc]  # gunicorn has no types
    """Keeps a fleet at work."""

    num_workers: int

    def __init__(  # noqa: PLR0913 - what it calls, each by its name
        self,
        fleet: Fleet,
        listeners: Sequence[socket],
        *,
        reread: Callable[[], Fleet | None],
        watch: Callable[[], None],
        ready: Callable[[], None],
        ended: Callable[[int], None] = _nothing,
        silence: int = SILENCE,
    ) -> None:
        """`listeners`: closed here when all ends. Called in the master, and nothing else is looked at meanwhile:
        `reread` at SIGHUP, None: the old fleet stays; `watch` about each half second, what it raises ends all;
        `ready` once, when the first fleet serves; `ended` with the process id of each worker that has ended.
        """
        # The class's own are shared by all arbiters of a process.
        self.LISTENERS = list(listeners)
        self.WORKERS: dict[int, GatewayWorker] = {}
        self._proven: Fleet | None = None  # the last fleet that served in full strength
        self._reread, self._watch, self._ready, self._ended = reread, watch, ready, ended
        self._ends = self._in_haste = False
        # Under nohup it is ignored: whoever said so wants it to outlive the terminal.
        self._needs_terminal = signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN and _has_terminal()
        self._looked = self._resumed = time.monotonic()
        self._early_ends = 0
        self._not_before = 0.0
        super().__init__(_Application(fleet, silence))

    def run(self) -> None:
        """Keep the fleet at work until a signal says to end. Raises WorkersFailed when the first fleet could not start,
        and what `watch` and `ready` raise. In the end no worker is left, and signals do what they did before.
        """
        self.pid = os.getpid()
        with _restored([*self.SIGNALS, signal.SIGCHLD]):
            self.init_signals()
            try:
                self.manage_workers()
                while not self._ends:
                    for number in self.wait_for_signals(timeout=_LOOK if self._is_complete() else _GLANCE):
                        self._obey(number)
                    self.reap_workers()
                    self.murder_workers()
                    self.manage_workers()
                    self._watch()
                log.info("stopping")
            finally:
                self._end()

    def _obey(self, number: int) -> None:
        match number:
            case signal.SIGTERM | signal.SIGINT:
                self._ends = True
            case signal.SIGQUIT:
                self._ends = self._in_haste = True
            case signal.SIGHUP:
                self.reload()
            case signal.SIGTTIN:
                self.num_workers += 1
            case signal.SIGTTOU:
                self.num_workers = max(1, self.num_workers - 1)
            case signal.SIGUSR2:
                log.warning("signal ignored: no second master is started beside this one", signal="SIGUSR2")
            case _:  # SIGCHLD only wakes; there is no file to reopen (SIGUSR1), and no window (SIGWINCH)
                pass

    def reload(self) -> None:
        """See `Fleet`: the one that was read anew takes the place of the old one as soon as all of it serves."""
        if self._needs_terminal and not _has_terminal():
            log.info("the terminal is gone")
            self._ends = True
            return
        try:
            fleet = self._reread()
        except Exception:  # nothing that is read may end what serves
            log.exception("not reloaded: the old settings stay in force")
            return
        if fleet is not None:
            self._take(fleet)

    def _take(self, fleet: Fleet) -> None:
        self.app.fleet = fleet
        self.num_workers = fleet.size
        self._early_ends = 0
        self._not_before = 0.0

    def _staying(self) -> list[GatewayWorker]:
        return [worker for worker in self.WORKERS.values() if worker.ends_by is None]

    def _ours(self) -> list[GatewayWorker]:
        """Those of the fleet that is to be, the oldest first."""
        return sorted((worker for worker in self._staying() if worker.fleet is self.app.fleet), key=lambda w: w.age)

    def _is_complete(self) -> bool:
        return len(self._ours()) == self.num_workers and all(worker.tmp.has_begun for worker in self._staying())

    def manage_workers(self) -> None:
        """As many workers as there should be are there, or start; those too many are told to end, and made to."""
        now = time.monotonic()
        ours = self._ours()
        for _ in range(self.num_workers - len(ours) if now >= self._not_before else 0):
            self._start_worker()
        for worker in ours[: max(0, len(ours) - self.num_workers)]:
            self._retire(worker)
        if len(ours) >= self.num_workers and all(worker.tmp.has_begun for worker in ours):
            if all(now - worker.started > _EARLY for worker in ours):
                self._early_ends = 0
            self._prove()
        for pid, worker in list(self.WORKERS.items()):
            if worker.ends_by is not None and now > worker.ends_by:
                log.warning("worker made to end", pid=pid)
                self.kill_worker(pid, signal.SIGKILL)

    def _prove(self) -> None:
        """The fleet serves: its predecessor may end."""
        before, self._proven = self._proven, self.app.fleet
        for worker in self._staying():
            if worker.fleet is not self.app.fleet:
                self._retire(worker)
        if before is None:
            self._ready()
        elif before is not self._proven:
            log.info("reloaded")

    def _start_worker(self) -> None:
        try:
            pid = self.spawn_worker()
        except OSError as error:
            if self._proven is None:
                raise WorkersFailed(f"no worker can be started: {error.strerror}") from None
            log.error("no worker can be started", error=error.strerror)
            self._wait_longer()
        else:
            log.info("worker started", pid=pid)

    def _wait_longer(self) -> None:
        # 0 at first, then 0.2, 0.6, ...
        self._not_before = time.monotonic() + min(_WAIT * (2**self._early_ends - 1), _LONGEST_WAIT)
        self._early_ends += 1

    def _retire(self, worker: GatewayWorker) -> None:
        worker.ends_by = time.monotonic() + worker.fleet.end_timeout
        self.kill_worker(worker.pid, signal.SIGTERM)

    def spawn_worker(self) -> int:
        """Fork a worker; returns its process id. Raises OSError."""
        # A signal between the fork and the worker's own handlers would end in a copy of our queue.
        signal.pthread_sigmask(signal.SIG_BLOCK, _ENDING)
        try:
            return int(super().spawn_worker())
        finally:
            if os.getpid() != self.pid:
                # The worker has ended. What its master would do on the way out, such as to end the embedded server,
                # is not for it to do.
                ended = sys.exception()
                os._exit(ended.code if isinstance(ended, SystemExit) and isinstance(ended.code, int) else _FAILED)
            signal.pthread_sigmask(signal.SIG_UNBLOCK, _ENDING)

    def reap_workers(self) -> None:
        """No child that has ended is left, a worker or not. Raises WorkersFailed: see `run`."""
        for pid, status in _ended_children():
            worker = self.WORKERS.pop(pid, None)
            if worker is None:
                continue  # the embedded server, which `watch` looks for, or a stranger, whom process 1 inherits
            has_begun = worker.tmp.has_begun
            worker.tmp.close()
            self._ended(pid)
            if self._ends or worker.ends_by is not None:
                log.info("worker ended", pid=pid)
                continue
            log.error("worker ended", pid=pid, why=_why(status))
            if self._proven is None:
                raise WorkersFailed("a worker ended before it could serve: the log says why")
            if has_begun and time.monotonic() - worker.started > _EARLY:
                continue
            self._wait_longer()
            if not has_begun and worker.fleet is self.app.fleet is not self._proven:
                log.error("not reloaded: a worker could not start with the new settings, the old stay in force")
                self._take(self._proven)

    def murder_workers(self) -> None:
        """A worker that is stuck is killed."""
        now = time.monotonic()
        if now - self._looked > self.timeout / 2:
            self._resumed = now  # who stopped the master (Ctrl-Z) stopped the workers too: their time begins anew
        self._looked = now
        for pid, worker in list(self.WORKERS.items()):
            is_silent = now - max(worker.tmp.last_update(), self._resumed) > self.timeout
            is_late = not worker.tmp.has_begun and now - max(worker.started, self._resumed) > _BOOT
            if is_silent or is_late:
                if not worker.is_stuck:
                    log.error("worker stuck", pid=pid)
                worker.is_stuck = True
                self.kill_worker(pid, signal.SIGKILL)

    def _end(self) -> None:
        self._ends = True
        timeouts = [worker.fleet.end_timeout for worker in self.WORKERS.values()]
        self.cfg.set("graceful_timeout", _HASTE if self._in_haste else math.ceil(max(timeouts, default=0)))
        # The arbiter's own way to close them removes the files of Unix sockets too, and fails where one is gone: whose
        # file it is by now, `unix_listener` knows.
        for sock in self.LISTENERS:
            sock.close()
        self.LISTENERS = []
        self.stop(graceful=not self._in_haste)


def _ended_children() -> Iterator[tuple[int, int]]:
    """Process id and status of each child that has ended."""
    while True:
        try:
            pid, status = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return
        if not pid:
            return
        yield pid, status


def _why(status: int) -> str:
    code = os.waitstatus_to_exitcode(status)
    return f"exit code {code}" if code >= 0 else signal.Signals(-code).name


def _has_terminal() -> bool:
    """Whether this process belongs to a terminal that is there."""
    try:
        os.close(os.open("/dev/tty", os.O_RDONLY | os.O_NOCTTY))
    except OSError:
        return False
    return True


@contextmanager
def _restored(numbers: Sequence[int]) -> Iterator[None]:
    """What signals do is afterwards what it was before."""
    before = {number: signal.getsignal(number) for number in numbers}
    try:
        yield
    finally:
        for number, handler in before.items():
            if handler is not None:  # one that was not set from Python
                signal.signal(number, handler)

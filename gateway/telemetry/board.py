"""Where the workers of a gateway put up their numbers, so that any of them can tell those of all.

A directory with a file for each worker, which it alone writes, whole, a few times a second; and one of the master's, in
which the numbers of workers that have ended are kept: what was counted only grows. Nobody waits for anybody.
"""

import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

import msgspec

from gateway.telemetry.snapshot import Snapshot

_MOST_NAMES: Final = 256
"""Files that were taken in last: who has just read one of them must not count it twice."""
_ENDED: Final = "ended.json"
_OURS: Final = ("worker-*.json", "worker-*.new", _ENDED, "ended.new", "*.db")
"""What is in the way of a new beginning; `*.db` are prometheus_client's own."""
_encoder: Final = msgspec.json.Encoder()
_snapshots: Final = msgspec.json.Decoder(Snapshot)


class BoardFault(Exception):  # noqa: N818 - it says what is the case
    """The directory cannot be used. One line."""


class _Ended(msgspec.Struct):
    """All workers that have ended, and the files of the last of them."""

    sum: Snapshot = msgspec.field(default_factory=Snapshot)
    names: list[str] = []


_ended: Final = msgspec.json.Decoder(_Ended)


class Board:
    """One directory. In the master: `take_in`; in a worker: `put`, `read`."""

    def __init__(self, directory: Path) -> None:
        """`directory` is there, and empty."""
        self._directory = directory
        self._past = _Ended()

    def put(self, name: str, snapshot: Snapshot) -> None:
        """The worker called `name` tells `snapshot`. Raises OSError."""
        self._write(_file(name), _encoder.encode(snapshot))

    def _write(self, name: str, data: bytes) -> None:
        new = self._directory / name.replace(".json", ".new")
        new.write_bytes(data)
        new.replace(self._directory / name)  # nobody reads half of it

    def read(self, without: str = "") -> tuple[list[Snapshot], Snapshot]:
        """What the workers tell that are there, and all together that have ended; the worker called `without` is left
        out, and what is no snapshot. Raises OSError.

        In this order: a file that is taken in meanwhile was read, and is named in what is read after it.
        """
        found = {}
        for path in self._directory.glob("worker-*.json"):
            if path.name == _file(without):
                continue
            with suppress(FileNotFoundError, msgspec.DecodeError):
                found[path.name] = _snapshots.decode(path.read_bytes())
        past = _Ended()
        with suppress(FileNotFoundError):
            past = _ended.decode((self._directory / _ENDED).read_bytes())
        return [snapshot for name, snapshot in found.items() if name not in past.names], past.sum

    def take_in(self, pid: int) -> None:
        """The worker of that process id has ended: its numbers are kept, its file is not. Raises OSError."""
        for path in sorted(self._directory.glob(f"worker-{pid}-*.json")):
            with suppress(msgspec.DecodeError):
                self._past.sum.add(_snapshots.decode(path.read_bytes()))
            self._past.names = [*self._past.names, path.name][-_MOST_NAMES:]
            self._write(_ENDED, _encoder.encode(self._past))
            path.unlink()
        for path in self._directory.glob(f"worker-{pid}-*.new"):
            path.unlink()  # it was made to end in the middle of a write


def _file(name: str) -> str:
    return f"worker-{name}.json"


def worker_name(pid: int) -> str:
    """What a worker that begins now is called: a process id comes again, this does not."""
    return f"{pid}-{time.monotonic_ns()}"


@contextmanager
def open_board(directory: str) -> Iterator[Board]:
    """A board in `directory`, in which nothing is left of an earlier one; "": in a new one, which goes with the board.

    Raises BoardFault.
    """
    path = Path(directory)
    try:
        if directory:
            path.mkdir(mode=0o700, parents=True, exist_ok=True)
            for each in [found for pattern in _OURS for found in path.glob(pattern)]:
                each.unlink()
        else:
            path = Path(tempfile.mkdtemp(prefix="zonegate-metrics-"))
    except OSError as error:
        raise BoardFault(f"{error.filename or directory}: {error.strerror}") from None
    try:
        yield Board(path)
    finally:
        if not directory:
            shutil.rmtree(path, ignore_errors=True)

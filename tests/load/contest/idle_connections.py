"""What connections cost that do nothing: 10,000 of them, each after one answered request, kept alive."""

import contextlib
import resource
import socket
import time
from typing import Final

import msgspec

from contest.arena import OK, Broken, Stand, path_of
from contest.program import busiest
from contest.token_set import FIRST

COUNT: Final = 10_000
_SPARE: Final = 500
_SAMPLE: Final = 100
_SETTLED: Final = 1.0


class Idle(msgspec.Struct, frozen=True):
    """MiB that the worker has in memory: without them, and with them."""

    connections: int
    before: float
    with_them: float

    @property
    def kib_each(self) -> float:
        """What one costs."""
        return (self.with_them - self.before) * 1024 / self.connections


def _ask(sock: socket.socket) -> None:
    """One request, and its whole answer. Raises Broken."""
    sock.sendall(
        f"GET {path_of(FIRST.zone)} HTTP/1.1\r\nHost: api.example\r\nAuthorization: {FIRST.credential}\r\n\r\n".encode()
    )
    answer = b""
    while not answer.endswith(b"}}"):
        part = sock.recv(65536)
        if not part:
            raise Broken("a connection that should be kept alive was closed")
        answer += part
    if not answer.startswith(f"HTTP/1.1 {OK} ".encode()):
        raise Broken(f"idle connections: {answer[:40]!r}")


def measure(stand: Stand, count: int) -> Idle:
    """What `count` connections cost the worker of `stand`. Raises Broken."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft < count + _SPARE:
        raise Broken(f"{count} connections need as many open files, and {soft} are allowed: ulimit -n {count + _SPARE}")
    assert stand.program is not None
    before = stand.program.costs()
    with contextlib.ExitStack() as stack:
        sockets = []
        try:
            for _ in range(count):
                sock = stack.enter_context(socket.create_connection(("127.0.0.1", stand.port), timeout=10))
                _ask(sock)
                sockets.append(sock)
            time.sleep(_SETTLED)
            after = stand.program.costs()
            for sock in sockets[:: max(1, count // _SAMPLE)]:
                _ask(sock)
        except OSError as error:
            raise Broken(f"idle connections, after {len(sockets)}: {error}") from None
    worker = busiest(before, after)
    return Idle(count, before[worker].rss, after[worker].rss)

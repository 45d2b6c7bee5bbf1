"""The connections to one API's targets: kept, limited, spread, and taken from targets that fail."""

import asyncio
import socket
import ssl
from collections import deque
from collections.abc import Sequence
from typing import Final

import aiohappyeyeballs
import structlog
from aiohttp.resolver import ThreadedResolver

from gateway.proxy.deadlines import Deadlines
from gateway.proxy.ports import UpstreamFailed
from gateway.proxy.upstream_connection import UpstreamConnection

log = structlog.get_logger(__name__)

FAILURES: Final = 3
"""In a row, after which a target is left alone for a while."""
EJECTED: Final = 10.0
"""Seconds, the first time; each time that it fails again they double."""
LONGEST_EJECTED: Final = 300.0
_RESOLVED: Final = 10.0
"""Seconds after which a host is looked up anew."""
_NEXT_ADDRESS: Final = 0.25
"""Seconds that one address has, before the next is tried beside it (RFC 8305 8)."""


Place = tuple[str, int, str]
"""Host, port, and what `Host` says there."""


class Target:
    """One place where an API is served, with its connections."""

    def __init__(self, pool: "Pool", place: Place, tls: ssl.SSLContext | None) -> None:
        host, port, authority = place
        self._pool = pool
        self.host_line = f"Host: {authority}\r\n".encode("ascii")
        self.host, self.port, self.tls = host, port, tls
        self.idle: list[UpstreamConnection] = []
        self.pending = 0
        """Exchanges that it has, or is about to get."""
        self.open = 0
        """Connections, those on their way among them."""
        self.failures = 0
        self.ejections = 0
        self.ejected_until = 0.0
        self._addresses: list[tuple[int, int, int, str, tuple[str | int, ...]]] = []
        self._resolve_at = 0.0
        self._resolving = asyncio.Lock()

    def __repr__(self) -> str:
        return f"Target({self.host}:{self.port})"

    def gone(self, connection: UpstreamConnection) -> None:
        """See `upstream_connection.Owner`."""
        self._pool.gone(self, connection)

    async def connect(self) -> UpstreamConnection:
        """A new connection. Raises OSError."""
        loop = asyncio.get_running_loop()
        sock = await aiohappyeyeballs.start_connection(
            await self._resolve(loop), happy_eyeballs_delay=_NEXT_ADDRESS, interleave=1, loop=loop
        )
        try:
            _, connection = await loop.create_connection(
                lambda: UpstreamConnection(self),
                sock=sock,
                ssl=self.tls,
                server_hostname=self.host if self.tls is not None else None,
            )
        except BaseException:
            sock.close()
            raise
        return connection

    async def _resolve(self, loop: asyncio.AbstractEventLoop) -> list[tuple[int, int, int, str, tuple[str | int, ...]]]:
        async with self._resolving:
            if loop.time() >= self._resolve_at:
                found = await ThreadedResolver(loop).resolve(self.host, self.port, socket.AF_UNSPEC)
                self._addresses = [
                    (each["family"], socket.SOCK_STREAM, each["proto"], "", (each["host"], each["port"]))
                    for each in found
                ]
                self._resolve_at = loop.time() + _RESOLVED
        return self._addresses


class Pool:
    """Connections to the targets of one API."""

    def __init__(  # noqa: PLR0913 - one argument a setting
        self,
        places: Sequence[Place],
        *,
        name: str,
        max_connections: int,
        idle_timeout: float,
        connect_timeout: float,
        wait_timeout: float,
        tls: ssl.SSLContext | None,
    ) -> None:
        """Must be made while the loop runs. `max_connections` for each of `places`; times in seconds,
        `wait_timeout` for a connection to come free; `name` of the API, for the log.
        """
        self._loop = asyncio.get_running_loop()
        self._name = name
        self._targets = [Target(self, place, tls) for place in places]
        self._most = max_connections
        self._connect_timeout = connect_timeout
        self._wait_timeout = wait_timeout
        self._idle: Deadlines[UpstreamConnection] = Deadlines(self._loop, idle_timeout, UpstreamConnection.abort)
        self._busy: dict[UpstreamConnection, Target] = {}
        self._waiting: deque[asyncio.Future[None]] = deque()
        self._closed = False

    # Taking and giving back.

    def choose(self, without: Target | None = None) -> Target:
        """The target with the fewest exchanges of those that are not ejected; with all ejected, of all."""
        targets = self._targets
        if len(targets) == 1:
            return targets[0]
        now = self._loop.time()
        able = [target for target in targets if target.ejected_until <= now and target is not without]
        able = able or [target for target in targets if target is not without]
        return min(able, key=_pending)

    def take(self) -> UpstreamConnection | None:
        """An idle connection to the target of choice, or None: then `acquire` makes one, or waits."""
        return self._take_from(self._targets[0] if len(self._targets) == 1 else self.choose())

    def _take_from(self, target: Target) -> UpstreamConnection | None:
        while target.idle:
            connection = target.idle.pop()  # the one that was used last: the others may expire
            self._idle.disarm(connection)
            if not connection.transport.is_closing():
                self._busy[connection] = target
                target.pending += 1
                return connection
            self._forget(target)
        return None

    async def acquire(self, without: Target | None = None, *, fresh: bool = False) -> UpstreamConnection:
        """A connection, made if need be; `without`: not to a target that has just failed, if there are others;
        `fresh`: none that was kept, since the last of those was closed already.

        Raises UpstreamFailed.
        """
        try:
            async with asyncio.timeout(self._wait_timeout):
                target = await self._room(without, fresh=fresh)
        except TimeoutError as error:
            raise UpstreamFailed("no connection came free", timeout=True) from error
        if not fresh and (connection := self._take_from(target)) is not None:
            return connection
        target.open += 1
        target.pending += 1
        try:
            async with asyncio.timeout(self._connect_timeout):
                connection = await target.connect()
        except BaseException as error:
            target.pending -= 1
            self._forget(target)
            if not isinstance(error, OSError | ssl.SSLError):  # TimeoutError is one
                raise
            self.failed(target)
            failed = UpstreamFailed(f"not connected: {type(error).__name__}", timeout=isinstance(error, TimeoutError))
            raise failed from error
        self._busy[connection] = target
        return connection

    async def _room(self, without: Target | None, *, fresh: bool) -> Target:
        """A target that has an idle connection, or room for one more."""
        while True:
            target = self.choose(without if self.has_others else None)
            if fresh and target.idle and target.open >= self._most:
                target.idle[0].abort()
            if target.open < self._most or (target.idle and not fresh):
                return target
            turn = self._loop.create_future()
            self._waiting.append(turn)
            try:
                await turn
            except asyncio.CancelledError:
                if turn.done() and not turn.cancelled():
                    self._wake()  # it was our turn: another's now
                raise
            finally:
                if turn in self._waiting:
                    self._waiting.remove(turn)

    def _wake(self) -> None:
        while self._waiting:
            turn = self._waiting.popleft()
            if not turn.done():
                turn.set_result(None)
                return

    def release(self, connection: UpstreamConnection) -> None:
        """The exchange on `connection` is complete on both sides, and another may follow."""
        target = self._busy.pop(connection)
        target.pending -= 1
        target.failures = target.ejections = 0
        connection.exchange = None
        connection.used = True
        if self._closed or connection.transport.is_closing():
            self._forget(target)
            connection.abort()
            return
        target.idle.append(connection)
        self._idle.arm(connection)
        if self._waiting:
            self._wake()

    def gone(self, target: Target, connection: UpstreamConnection) -> None:
        """`connection` is closed. Told more than once, it is heard once."""
        if self._busy.pop(connection, None) is not None:
            target.pending -= 1
        elif connection in target.idle:
            target.idle.remove(connection)
            self._idle.disarm(connection)
        else:
            return
        self._forget(target)

    def _forget(self, target: Target) -> None:
        target.open -= 1
        if self._waiting:
            self._wake()

    # Health, as the exchanges show it.

    def target_of(self, connection: UpstreamConnection) -> Target | None:
        """The target of a connection that carries an exchange."""
        return self._busy.get(connection)

    def failed(self, target: Target) -> None:
        """The target could not be reached, or gave no answer that can be used."""
        target.failures += 1
        if target.failures < FAILURES or not self.has_others:
            return
        now = self._loop.time()
        if target.ejected_until > now:
            return
        seconds = min(EJECTED * 2**target.ejections, LONGEST_EJECTED)
        target.ejections += 1
        target.ejected_until = now + seconds
        log.warning("target ejected", api=self._name, target=f"{target.host}:{target.port}", seconds=seconds)

    @property
    def has_others(self) -> bool:
        """Whether there is more than one target."""
        return len(self._targets) > 1

    def close(self) -> None:
        """Close every connection."""
        self._closed = True
        self._idle.close()
        for target in self._targets:
            for connection in list(target.idle):
                connection.abort()
        for connection in list(self._busy):
            connection.abort()


def _pending(target: Target) -> int:
    return target.pending

"""The connections to one API's targets: kept, limited, spread, and taken from targets that fail."""

import asyncio
import socket
import ssl
from collections import deque
from collections.abc import Sequence
from typing import Final

import aiohappyeyeballs
import msgspec
import structlog
from aiohttp.resolver import ThreadedResolver

from gateway.proxy.deadlines import Deadlines
from gateway.proxy.ports import UpstreamFailed
from gateway.proxy.upstream_connection import READ_SIZE, UpstreamConnection

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


class NotConnected(UpstreamFailed):
    """No connection to `target` could be made: nothing was sent."""

    def __init__(self, message: str, target: "Target", *, timeout: bool) -> None:
        super().__init__(message, timeout=timeout)
        self.target = target


class Target:
    """One place where an API is served, with its connections."""

    def __init__(self, pool: "Pool", place: Place, tls: ssl.SSLContext | None) -> None:
        host, port, authority = place
        self._pool = pool
        self.host_line = f"Host: {authority}\r\n".encode("ascii")
        self.read_buffer = pool.read_buffer
        self.host, self.port, self.tls = host, port, tls
        self.place = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
        self.idle: list[UpstreamConnection] = []
        self.pending = 0
        """Exchanges that it has, or is about to get."""
        self.open = 0
        """Connections, those on their way among them."""
        self.turn = 0
        """When it last got an exchange, by the pool's count."""
        self.failures = 0
        self.ejections = 0
        self.ejected_until = 0.0
        self._addresses: list[tuple[int, int, int, str, tuple[str | int, ...]]] = []
        self._resolve_at = 0.0
        self._resolving = asyncio.Lock()

    def __repr__(self) -> str:
        return f"Target({self.place})"

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
                if not found:
                    raise OSError("a name without an address")
                self._addresses = [
                    (each["family"], socket.SOCK_STREAM, each["proto"], "", (each["host"], each["port"]))
                    for each in found
                ]
                self._resolve_at = loop.time() + _RESOLVED
        return self._addresses


class _Turn:
    """Somebody who waits, and what he gets: a connection, or a target with a place for one."""

    __slots__ = ("fresh", "outcome", "without")

    def __init__(
        self, outcome: "asyncio.Future[UpstreamConnection | Target]", without: Target | None, *, fresh: bool
    ) -> None:
        self.outcome = outcome
        self.without = without
        self.fresh = fresh


class PoolState(msgspec.Struct, frozen=True):
    """What a pool has now: connections that are `open`, those on their way among them, and the `idle` ones of these;
    requests that are `waiting` for one; targets, and the `ejected` ones of these.
    """

    open: int
    idle: int
    waiting: int
    targets: int
    ejected: int


class Pool:
    """Connections to the targets of one API.

    A place that comes free is given to who has waited longest of those that can use it, there and then: nobody who
    comes later finds it, and it is nobody's at no time.
    """

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
        self.read_buffer = memoryview(bytearray(READ_SIZE))
        self._targets = [Target(self, place, tls) for place in places]
        self._most = max_connections
        self._connect_timeout = connect_timeout
        self._wait_timeout = wait_timeout
        self._idle: Deadlines[UpstreamConnection] = Deadlines(self._loop, idle_timeout, UpstreamConnection.abort)
        self._busy: dict[UpstreamConnection, Target] = {}
        self._waiting: deque[_Turn] = deque()
        self._turns = 0
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
        return min(able, key=_rank)

    def take(self) -> UpstreamConnection | None:
        """An idle connection to the target of choice, or None: then `acquire` makes one, or waits."""
        return self._take_from(self.choose())

    def _take_from(self, target: Target) -> UpstreamConnection | None:
        while target.idle:
            connection = target.idle.pop()  # the one that was used last: the others may expire
            self._idle.disarm(connection)
            if not connection.transport.is_closing():
                self._busy[connection] = target
                self._count(target)
                return connection
            target.open -= 1
        return None

    def _count(self, target: Target) -> None:
        target.pending += 1
        self._turns += 1
        target.turn = self._turns

    async def acquire(self, without: Target | None = None, *, fresh: bool = False) -> UpstreamConnection:
        """A connection, made if need be; `without`: not to a target that has just failed, if there are others;
        `fresh`: none that was kept, since the last of those was closed already.

        Raises UpstreamFailed.
        """
        found = self._find(without, fresh=fresh)
        if found is None:
            found = await self._wait(without, fresh=fresh)
        return found if isinstance(found, UpstreamConnection) else await self._connect(found)

    def _find(self, without: Target | None, *, fresh: bool) -> UpstreamConnection | Target | None:
        """An idle connection, or a target with a place for one, which counts as taken from now on; None: there is
        neither.
        """
        target = self.choose(without)
        if not fresh and (connection := self._take_from(target)) is not None:
            return connection
        if target.open >= self._most:
            if not (fresh and target.idle):
                return None
            oldest = target.idle.pop(0)
            self._idle.disarm(oldest)
            target.open -= 1
            oldest.abort()
        target.open += 1
        self._count(target)
        return target

    async def _wait(self, without: Target | None, *, fresh: bool) -> UpstreamConnection | Target:
        """What `_find` finds, once somebody has no more use for it."""
        turn = _Turn(self._loop.create_future(), without, fresh=fresh)
        self._waiting.append(turn)
        try:
            async with asyncio.timeout(self._wait_timeout):
                return await turn.outcome
        except BaseException as error:
            if turn in self._waiting:
                self._waiting.remove(turn)
            else:  # it was our turn: another's now
                self._give_back(turn.outcome.result())
            if isinstance(error, TimeoutError):
                raise UpstreamFailed("no connection came free", timeout=True) from error
            raise

    def _wake(self) -> None:
        """Somebody has no more use for something: who is the first that can use it?"""
        for turn in self._waiting:
            if not turn.outcome.done() and (found := self._find(turn.without, fresh=turn.fresh)) is not None:
                self._waiting.remove(turn)
                turn.outcome.set_result(found)
                return

    def _give_back(self, found: UpstreamConnection | Target) -> None:
        if isinstance(found, UpstreamConnection):
            self._keep(found)
        else:
            found.pending -= 1
            self._forget(found)

    async def _connect(self, target: Target) -> UpstreamConnection:
        """A new connection to `target`, in which there is a place for it."""
        try:
            async with asyncio.timeout(self._connect_timeout):
                connection = await target.connect()
            if connection.transport.is_closing():
                # Its end came before anybody could hear of it, and does not come again.
                raise ConnectionResetError  # noqa: TRY301 - as if it had come a moment earlier
        except BaseException as error:
            target.pending -= 1
            self._forget(target)
            if not isinstance(error, OSError):  # TimeoutError and SSLError are some
                raise
            self.failed(target)
            raise NotConnected(
                f"not connected: {type(error).__name__}", target, timeout=isinstance(error, TimeoutError)
            ) from error
        self._busy[connection] = target
        return connection

    def release(self, connection: UpstreamConnection) -> None:
        """The exchange on `connection` is complete on both sides, and another may follow."""
        self.answered(connection)
        connection.used = True
        self._keep(connection)

    def _keep(self, connection: UpstreamConnection) -> None:
        target = self._busy.pop(connection)
        target.pending -= 1
        connection.exchange = None
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

    def answered(self, connection: UpstreamConnection) -> None:
        """The target of `connection`, which carries an exchange, has answered as it should."""
        target = self._busy[connection]
        target.failures = target.ejections = 0
        target.ejected_until = 0.0

    def failed(self, target: Target) -> None:
        """The target could not be reached, or gave no answer that can be used."""
        target.failures += 1
        if target.failures < FAILURES or not self.has_others:
            return
        now = self._loop.time()
        if target.ejected_until > now:
            return
        seconds = min(EJECTED * 2**target.ejections, LONGEST_EJECTED)
        if seconds < LONGEST_EJECTED:
            target.ejections += 1
        target.ejected_until = now + seconds
        log.warning("target ejected", api=self._name, target=target.place, seconds=seconds)

    @property
    def state(self) -> PoolState:
        """What there is now."""
        targets, now = self._targets, self._loop.time()
        return PoolState(
            open=sum(target.open for target in targets),
            idle=sum(len(target.idle) for target in targets),
            waiting=len(self._waiting),
            targets=len(targets),
            ejected=sum(target.ejected_until > now for target in targets),
        )

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


def _rank(target: Target) -> tuple[int, int]:
    return target.pending, target.turn

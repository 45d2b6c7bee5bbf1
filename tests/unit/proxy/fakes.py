"""The two ends of a relay, in memory: a client, connections to an upstream, and a time that is told to go on."""

import asyncio
import functools
import heapq
import re
import socket
from collections.abc import Callable, Coroutine, Iterator, Sequence
from itertools import count
from typing import Any, Final, cast

from support.records import CATALOG, NOW, principal, token

from gateway.access.decide import decide
from gateway.access.decision import Allow
from gateway.access.question import Question
from gateway.catalog.catalog import Catalog
from gateway.catalog.target import Target as RequestTarget
from gateway.catalog.target import split_target
from gateway.proxy.pool import Pool, Target
from gateway.proxy.ports import ClientSide
from gateway.proxy.upstream_connection import UpstreamConnection
from gateway.reason import Deny
from gateway.tokens.token import Token

REQUEST_ID: Final = b"request-0001"


def allowed(method: str, target: bytes, *, by: Token | None = None, catalog: Catalog = CATALOG) -> Allow:
    """The decision that lets `by` (a token for DNS of ZONE_A) do this."""
    judged = split_target(target)
    assert isinstance(judged, RequestTarget), judged
    decision = decide(
        Question(
            principal=principal(by or token()),
            address=None,
            target=judged,
            match=catalog.public.match(method, judged.segments),
            now=NOW,
        )
    )
    assert isinstance(decision, Allow), decision
    return decision


# Time.


class _Handle:
    def __init__(self, callback: Callable[[], object]) -> None:
        self.callback = callback
        self.is_cancelled = False

    def cancel(self) -> None:
        self.is_cancelled = True


class Clock:
    """The two methods of a loop that `Deadlines` uses: `advance` is how time goes on."""

    def __init__(self) -> None:
        self.now = 1000.0
        self._order = count()
        self._due: list[tuple[float, int, _Handle]] = []

    @property
    def loop(self) -> asyncio.AbstractEventLoop:
        return cast("asyncio.AbstractEventLoop", self)

    @property
    def timers(self) -> int:
        """How many will still go off."""
        return sum(not handle.is_cancelled for _, _, handle in self._due)

    def time(self) -> float:
        return self.now

    def call_at(self, when: float, callback: Callable[[], object]) -> _Handle:
        handle = _Handle(callback)
        heapq.heappush(self._due, (when, next(self._order), handle))
        return handle

    def advance(self, seconds: float) -> None:
        """All that falls due within `seconds` happens, in its order, each at its own time."""
        end = self.now + seconds
        while self._due and self._due[0][0] <= end:
            when, _, handle = heapq.heappop(self._due)
            self.now = max(self.now, when)
            if not handle.is_cancelled:
                handle.callback()
        self.now = end


class SkippingLoop(asyncio.SelectorEventLoop):
    """A loop whose time can be put on: what falls due by then happens in its next turns.

    `names`: which addresses the names of hosts have; `asked`: the names that somebody wanted to know of.
    """

    def __init__(self) -> None:
        super().__init__()
        self.skipped = 0.0
        self.names: dict[str, list[str]] = {}
        self.asked: list[str] = []

    def time(self) -> float:
        return super().time() + self.skipped

    async def getaddrinfo(self, host: Any, port: Any, **_: Any) -> Any:
        self.asked.append(host)
        await asyncio.sleep(0)
        return [(socket.AF_INET, socket.SOCK_STREAM, 0, "", (each, port)) for each in self.names[host]]


def in_skipping_time(test: Callable[..., Coroutine[Any, Any, None]]) -> Callable[..., None]:
    """`test` runs on a `SkippingLoop`."""

    @functools.wraps(test)
    def run(*args: Any, **kwargs: Any) -> None:
        with asyncio.Runner(loop_factory=SkippingLoop) as runner:
            runner.run(test(*args, **kwargs))

    return run


async def skip(seconds: float) -> None:
    """So many seconds pass, and what falls due in them happens."""
    skipping_loop().skipped += seconds
    await settled()


def skipping_loop() -> SkippingLoop:
    loop = asyncio.get_running_loop()
    assert isinstance(loop, SkippingLoop)
    return loop


async def settled() -> None:
    """Whatever can go on by itself has gone on."""
    for _ in range(12):
        await asyncio.sleep(0)


# The client.

ENDS: Final = frozenset({"done", "fail", "abort"})


class FakeClient(ClientSide):
    """A `ClientSide` that writes down what it is told, in `calls`, and holds the relay to what the port promises.

    `on_write` is called with each piece: a client may break off while it is written to.
    """

    def __init__(self, *, is_1_1: bool = True, closes_by_half: bool = True) -> None:
        self.is_1_1 = is_1_1
        self.request_id = REQUEST_ID
        self.calls: list[tuple[Any, ...]] = []
        self.tasks: list[asyncio.Task[None]] = []
        self.on_write: Callable[[bytes], object] = lambda _: None
        self.on_resume: Callable[[], object] = lambda: None
        self._closes_by_half = closes_by_half
        self.is_gone = False

    def _told(self, *call: Any) -> None:
        assert self.end is None or self.is_gone, f"{call} after {self.end}"
        self.calls.append(call)

    @property
    def end(self) -> str | None:
        """Which of `done`, `fail` and `abort` it was told, or None."""
        ends = [str(call[0]) for call in self.calls if call[0] in ENDS]
        assert len(ends) <= 1, ends
        return ends[0] if ends else None

    @property
    def deny(self) -> Deny | None:
        """Why there is no answer."""
        return next((call[1] for call in self.calls if call[0] == "fail"), None)

    @property
    def written(self) -> bytes:
        return b"".join(call[1] for call in self.calls if call[0] == "write")

    @property
    def writes(self) -> list[bytes]:
        return [call[1] for call in self.calls if call[0] == "write"]

    @property
    def is_held(self) -> bool:
        """Whether its body has to wait."""
        told = [call[0] for call in self.calls if call[0] in ("hold", "resume")]
        return bool(told) and told[-1] == "hold"

    def begin(self, status: int, *, ends_with_close: bool) -> bytes:
        self._told("begin", status, ends_with_close)
        return b"Connection: close\r\n" if ends_with_close else b""

    def write(self, data: bytes) -> None:
        assert data
        self._told("write", data)
        self.on_write(data)

    def done(self) -> None:
        self._told("done")

    def fail(self, deny: Deny) -> None:
        assert not any(call[0] == "begin" for call in self.calls), "an answer has begun"
        self._told("fail", deny)

    def abort(self) -> None:
        self._told("abort")

    def hold_body(self) -> None:
        self._told("hold")

    def resume_body(self) -> None:
        self._told("resume")
        self.on_resume()

    def open_tunnel(self) -> None:
        self._told("tunnel")

    def end_sending(self) -> bool:
        self._told("end_sending")
        return self._closes_by_half

    def spawn(self, work: Coroutine[Any, Any, None]) -> None:
        self.tasks.append(asyncio.get_running_loop().create_task(work))

    async def tasks_done(self) -> None:
        """All that was spawned has ended."""
        while self.tasks:
            await self.tasks.pop()

    def leave(self) -> None:
        """It is gone, and with it its tasks."""
        self.is_gone = True
        for task in self.tasks:
            task.cancel()


# The upstream.


class FakeTransport(asyncio.Transport):
    """An upstream's end, in memory. `room`: bytes that it takes before it is full; None: any number."""

    def __init__(self, protocol: UpstreamConnection, *, room: int | None = None, closes_by_half: bool = True) -> None:
        super().__init__()
        self.protocol = protocol
        self.sent = b""
        """What has gone out."""
        self.is_eof = False
        self.is_full = False
        self.room = room
        self.reading = True
        self.limits: tuple[int | None, int | None] = (None, None)
        self._queued = b""
        self._closing = False
        self._closes_by_half = closes_by_half

    # What the protocol asks.

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        del name
        return default

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        self.limits = high, low

    def get_write_buffer_size(self) -> int:
        return len(self._queued)

    def is_closing(self) -> bool:
        return self._closing

    def write(self, data: bytes | bytearray | memoryview) -> None:
        assert not self.is_eof, "a write behind the end"
        if self._closing:
            return
        self._queued += bytes(data)
        self._flush()
        if self._queued and not self.is_full:
            self.is_full = True
            self.protocol.pause_writing()

    def can_write_eof(self) -> bool:
        return self._closes_by_half

    def write_eof(self) -> None:
        assert self._closes_by_half
        self.is_eof = True

    def is_reading(self) -> bool:
        return self.reading and not self._closing

    def pause_reading(self) -> None:
        self.reading = False

    def resume_reading(self) -> None:
        self.reading = True

    def close(self) -> None:
        self.abort()

    def abort(self) -> None:
        if not self._closing:
            self._closing = True
            self._queued = b""
            asyncio.get_running_loop().call_soon(self.protocol.connection_lost, None)

    # What the upstream does.

    def _flush(self) -> None:
        size = len(self._queued) if self.room is None else min(self.room, len(self._queued))
        self.sent, self._queued = self.sent + self._queued[:size], self._queued[size:]
        if self.room is not None:
            self.room -= size

    def takes(self, room: int | None = None) -> None:
        """The upstream reads on."""
        self.room = room
        self._flush()
        if self.is_full and not self._queued:
            self.is_full = False
            self.protocol.resume_writing()

    def says(self, data: bytes) -> None:
        """The upstream sends this, which comes in one read, or as many as it fills."""
        assert self.is_reading(), "it is not read from"
        while data and self.is_reading():
            buffer = self.protocol.get_buffer(-1)
            size = min(len(buffer), len(data))
            buffer[:size], data = data[:size], data[size:]
            self.protocol.buffer_updated(size)

    def ends(self) -> None:
        """The upstream closes its sending half."""
        if not self._closing and not self.protocol.eof_received():
            self.abort()

    def breaks(self) -> None:
        """The connection is reset."""
        if not self._closing:
            self._closing = True
            self.protocol.connection_lost(ConnectionResetError())


class FakeTarget(Target):
    """A target whose connections are in memory.

    `failure`: what a connect comes to in the place of a connection; `gate`: what it waits for; `room`: of the
    connections' transports; `greeting`: what happens to a new one before anybody has it.
    """

    def __init__(self, pool: Pool, host: str) -> None:
        super().__init__(pool, (host, 80, host), None)
        self.failure: BaseException | None = None
        self.gate: asyncio.Event | None = None
        self.room: int | None = None
        self.closes_by_half = True
        self.greeting: Callable[[FakeTransport], object] = lambda _: None
        self.connecting = 0
        self.made: list[UpstreamConnection] = []

    async def connect(self) -> UpstreamConnection:
        self.connecting += 1
        try:
            if self.gate is not None:
                await self.gate.wait()
            if self.failure is not None:
                raise self.failure
        finally:
            self.connecting -= 1
        connection = UpstreamConnection(self)
        transport = FakeTransport(connection, room=self.room, closes_by_half=self.closes_by_half)
        connection.connection_made(transport)
        self.made.append(connection)
        self.greeting(transport)
        return connection

    def transports(self) -> list[FakeTransport]:
        return [transport_of(each) for each in self.made]


def transport_of(connection: UpstreamConnection) -> FakeTransport:
    transport = connection.transport
    assert isinstance(transport, FakeTransport)
    return transport


def pool_of(
    hosts: Sequence[str] = ("a",),
    *,
    max_connections: int = 4,
    idle_timeout: float = 30.0,
    connect_timeout: float = 2.0,
    wait_timeout: float = 60.0,
) -> tuple[Pool, list[FakeTarget]]:
    """A pool of connections in memory, and its targets."""
    pool = Pool(
        [(host, 80, host) for host in hosts],
        name="an-api",
        max_connections=max_connections,
        idle_timeout=idle_timeout,
        connect_timeout=connect_timeout,
        wait_timeout=wait_timeout,
        tls=None,
    )
    targets = [FakeTarget(pool, host) for host in hosts]
    pool._targets = list(targets)
    return pool, targets


# What was written, read by somebody else.

_STATUS_LINE: Final = re.compile(rb"HTTP/1\.1 (\d{3}) [^\r\n]*\r\n")


def heads(written: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Each head in an answer, interim ones among them, with what is behind it."""
    while (found := _STATUS_LINE.match(written)) is not None:
        head, end, written = written.partition(b"\r\n\r\n")
        assert end, "a head without an end"
        yield head, written
        if found[1][0:1] != b"1":
            return


def without_chunk_boundaries(written: bytes) -> bytes:
    """An answer with its body in one piece: where the chunks lie, says nothing. A body that has no end gets none."""
    for head, behind in heads(written):
        if b"\r\nTransfer-Encoding: chunked" in head:
            return written[: len(written) - len(behind)] + joined_chunks(behind)
    return written


def joined_chunks(body: bytes) -> bytes:
    """The payload of a body in chunks, and `|` with the trailers where it has an end."""
    payload = b""
    while body:
        line, end, body = body.partition(b"\r\n")
        size = int(line, 16)
        assert end
        if size == 0:
            assert body.endswith(b"\r\n")
            return payload + b"|" + body
        assert body[size : size + 2] == b"\r\n", "a chunk that is not whole was written"
        payload, body = payload + body[:size], body[size + 2 :]
    return payload

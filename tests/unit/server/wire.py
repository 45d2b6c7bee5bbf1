"""The server between two ends on loopback: a client that speaks to it in bytes, and an upstream that answers so."""

import asyncio
import contextlib
import errno
import json
import re
import socket
from collections.abc import AsyncIterator, Callable, Iterable
from enum import Enum
from itertools import chain
from typing import Any, NamedTuple

import msgspec
from support.records import CATALOG, EVERYTHING, NOW, ZONE_A, secret_of, token
from support.store_contract import MemoryTokenStore
from support.zone_accounts import MemoryAccounts

from gateway.access.compiled import CompiledToken, compile_owner, compile_token
from gateway.access.decision import Allow
from gateway.access.ports import Miss, ZoneAccounts
from gateway.catalog.route_table import RouteTable
from gateway.proxy.deadlines import Deadlines
from gateway.proxy.field_line import KnownLines
from gateway.proxy.forward import Backend, Proxy, RequestHead
from gateway.proxy.header_rules import Client, UpRules
from gateway.proxy.pool import Pool
from gateway.proxy.ports import ClientSide
from gateway.proxy.relay import AnswerReader, Relay, Where
from gateway.reason import REFUSALS, Answer, Deny, Reason, succeed
from gateway.server.admission import Admission
from gateway.server.client_connection import ClientConnection
from gateway.server.handler import Door, Handler
from gateway.server.head import HeadReader
from gateway.server.ports import Call
from gateway.server.shown_lines import ShownLines
from gateway.telemetry.access_log import AccessLog
from gateway.tokens.digest import NO_PEPPERS, Peppers
from gateway.tokens.secret import Sensitive
from gateway.tokens.token import Token

HOST = b"Host: api.example"
BEARER = b"Authorization: Bearer " + secret_of().reveal().encode()
RECORDS = f"/client/v4/zones/{ZONE_A}/dns_records".encode()
ROUTE = "GET /client/v4/zones/{zone_id}/dns_records"
CLOSE = b"Connection: close"
TOKENS = b"/client/v4/user/tokens"
"""A route of the token API: POST takes a body."""
NOWHERE = b"/client/v4/nowhere"


def request(
    target: bytes = RECORDS,
    *fields: bytes,
    method: bytes = b"GET",
    version: bytes = b"1.1",
    body: bytes | None = None,
    authorized: bool = True,
) -> bytes:
    """A request with our token's secret; `body` with its length."""
    lines = [b"%b %b HTTP/%b" % (method, target, version), HOST, *([BEARER] if authorized else []), *fields]
    if body is not None:
        lines.append(b"Content-Length: %d" % len(body))
    return b"\r\n".join([*lines, b"", body or b""])


# The client.


class Reply(NamedTuple):
    """One answer, read to the end that it announced; `fields` have lower-case names."""

    status: int
    fields: list[tuple[str, str]]
    body: bytes
    line: bytes

    def values(self, name: str) -> list[str]:
        return [value for field, value in self.fields if field == name]

    def field(self, name: str) -> str:
        """The one field of that name."""
        (value,) = self.values(name)
        return value

    @property
    def envelope(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.body)
        return found

    @property
    def code(self) -> int:
        """That of the one error."""
        (error,) = self.envelope["errors"]
        return int(error["code"])


def check_refusal(reply: Reply, reason: Reason) -> None:
    """What every refusal has."""
    row = REFUSALS[reason]
    envelope = reply.envelope
    assert (reply.status, reply.code) == (row.status, row.code)
    assert set(envelope) == {"success", "errors", "messages", "result"}
    assert (envelope["success"], envelope["result"]) == (False, None)
    assert reply.field("content-type") == "application/json"
    assert reply.field("cache-control") == "no-store"
    assert reply.field("content-length") == str(len(reply.body))
    assert reply.field("x-request-id")
    assert reply.values("www-authenticate") == ["Bearer"] * (row.status == 401)
    assert reply.values("server") == []


class Wire:
    """A client's connection."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    def send(self, data: bytes) -> None:
        self.writer.write(data)

    async def reply(self, *, to_head: bool = False) -> Reply:
        """The next answer, interim ones too."""
        head = await self.reader.readuntil(b"\r\n\r\n")
        line, *lines = head[:-4].decode("latin-1").split("\r\n")
        pairs = (text.partition(":") for text in lines)
        fields = [(name.lower(), value.strip()) for name, _, value in pairs]
        status = int(line.split()[1])
        found = dict(fields)
        if to_head or status in (204, 304) or status < 200:
            body = b""
        elif found.get("transfer-encoding") == "chunked":
            body = await self._chunks()
        elif "content-length" in found:
            body = await self.reader.readexactly(int(found["content-length"]))
        else:
            body = await self.reader.read()
        return Reply(status, fields, body, line.encode())

    async def _chunks(self) -> bytes:
        body = b""
        while size := int(await self.reader.readuntil(b"\r\n"), 16):
            body += (await self.reader.readexactly(size + 2))[:-2]
        assert await self.reader.readuntil(b"\r\n") == b"\r\n"
        return body

    async def ask(self, data: bytes, *, to_head: bool = False) -> Reply:
        self.send(data)
        return await self.reply(to_head=to_head)

    async def rest(self) -> bytes:
        """Everything until the gateway ends the connection."""
        return await self.reader.read()

    async def ended(self) -> bool:
        """Wait for the end of the connection, a clean one or not; whether nothing came before it."""
        try:
            return await self.rest() == b""
        except ConnectionResetError:
            return True

    async def close(self) -> None:
        self.writer.close()
        with contextlib.suppress(ConnectionError):
            await self.writer.wait_closed()


# The upstream.


class Seen:
    """A request as it came up. `body` None: it has not come to its end."""

    def __init__(self, head: bytes) -> None:
        line, *lines = head.removesuffix(b"\r\n\r\n").split(b"\r\n")
        self.method, self.target, _ = line.split(b" ")
        self.fields = [(name, value.strip()) for name, _, value in (field.partition(b":") for field in lines)]
        self.body: bytes | None = None

    def values(self, name: bytes) -> list[bytes]:
        """Values of the fields called `name`, in lower case."""
        return [value for field, value in self.fields if field.lower() == name]


OK = b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 5\r\n\r\nhello"


class Upstream:
    """Answers every request with the same `pieces`, one written after the other, and remembers what it saw.

    `by`: makes the answer to a request, instead of them; `reads_body`: whether it waits for the whole body first;
    `waits_for`: what has to happen before it answers; `cuts`: it ends the connection behind that. `begun` is set when a
    head has come, `over` when a connection has ended.
    """

    def __init__(
        self,
        *pieces: bytes,
        repeated: Iterable[bytes] = (),
        reads_body: bool = True,
        waits_for: asyncio.Event | None = None,
        cuts: bool = False,
        by: Callable[[Seen], bytes] | None = None,
    ) -> None:
        self._by = by
        self.begun, self.over = asyncio.Event(), asyncio.Event()
        self.requests: list[Seen] = []
        self._pieces = pieces or (OK,)
        self._repeated = repeated
        self._reads_body = reads_body
        self._waits_for = waits_for
        self._cuts = cuts
        self._served: set[asyncio.Task[None]] = set()

    @property
    def bodies(self) -> list[bytes]:
        """Those that came to their end."""
        return [seen.body for seen in self.requests if seen.body]

    async def __call__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Serve one connection."""
        task = asyncio.current_task()
        assert task is not None
        self._served.add(task)
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
            while await self._answer(reader, writer):
                pass
        writer.transport.abort()
        self.over.set()

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        seen = Seen(await reader.readuntil(b"\r\n\r\n"))
        self.requests.append(seen)
        self.begun.set()
        if self._reads_body:
            if seen.values(b"expect"):
                writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
            seen.body = await _read_body(reader, seen)
        if self._waits_for is not None:
            waits = [asyncio.ensure_future(each) for each in (self._waits_for.wait(), reader.read())]
            await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
            if waits[1].done():
                waits[0].cancel()
                return False
            waits[1].cancel()
            await asyncio.wait(waits)
        pieces = self._pieces if self._by is None else (self._by(seen),)
        for piece in chain(pieces, self._repeated):
            writer.write(piece)
            await writer.drain()
        return not self._cuts

    async def ended(self) -> None:
        """All connections have ended."""
        await asyncio.gather(*self._served)


async def _read_body(reader: asyncio.StreamReader, seen: Seen) -> bytes:
    if seen.values(b"transfer-encoding") == [b"chunked"]:
        body = b""
        while size := int(await reader.readuntil(b"\r\n"), 16):
            body += (await reader.readexactly(size + 2))[:-2]
        assert await reader.readexactly(2) == b"\r\n"
        return body
    (length,) = seen.values(b"content-length") or [b"0"]
    return await reader.readexactly(int(length))


@contextlib.asynccontextmanager
async def serving(upstream: Upstream) -> AsyncIterator[int]:
    """The port on loopback where `upstream` serves; whoever is connected to it has left by the end."""
    server = await asyncio.start_server(upstream, "127.0.0.1", 0)
    port: int = server.sockets[0].getsockname()[1]
    try:
        yield port
    finally:
        server.close()
        await upstream.ended()


@contextlib.asynccontextmanager
async def forwarding(upstream: Upstream, *, kept: bool = True, response_timeout: float = 20.0) -> AsyncIterator[Proxy]:
    """The way to `upstream`, which serves. `kept`: a connection to it is there already, so that nobody has to wait."""
    async with backend(upstream, kept=kept, response_timeout=response_timeout) as behind:
        yield Proxy({"cloudflare-dns": behind})


@contextlib.asynccontextmanager
async def backend(upstream: Upstream, *, kept: bool = True, response_timeout: float = 20.0) -> AsyncIterator[Backend]:
    """`upstream`, which serves, as an API's: see `forwarding`."""
    async with serving(upstream) as port:
        pool = Pool(
            [("127.0.0.1", port, "api.internal")],
            name="cloudflare-dns",
            max_connections=4,  # a place that is not given back is missed soon
            idle_timeout=20,
            connect_timeout=5,
            wait_timeout=5,
            tls=None,
        )
        timeout = Deadlines(asyncio.get_running_loop(), response_timeout, Relay.timed_out)
        rules = UpRules(("Authorization", Sensitive("Bearer the-upstream's-own")), CATALOG.credential_fields)
        try:
            if kept:
                pool.release(await pool.acquire())
            yield Backend(Where(pool, AnswerReader(), timeout), rules, (b"v4",))
            assert pool.choose().pending == 0
            assert len(timeout) == 0
        finally:
            pool.close()
            timeout.close()


# The door between them.


class Way(Enum):
    """How a request is answered: each gives the same answer."""

    AT_ONCE = "at once"
    READ = "once its token was read"
    TASK = "in a task"


class Tokens(MemoryTokenStore):
    """A store whose tokens are in memory from the start, if it `remembers`."""

    def __init__(self, *, remembers: bool = True) -> None:
        super().__init__()
        self._remembers = remembers
        self._compiled: dict[str, tuple[bytes, CompiledToken]] = {}

    def look(self, token_id: str) -> CompiledToken | Deny | Miss | None:
        if not self._remembers:
            return Miss.MISS
        if self.failure is not None:
            return Deny(reason=Reason.STORE_UNAVAILABLE)
        raw = self._documents.get(token_id)
        if raw is None:
            return None
        if self._compiled.get(token_id, (b"",))[0] != raw:
            found = msgspec.json.decode(raw, type=Token)
            self._compiled[token_id] = raw, compile_token(found, compile_owner(self._owners[found.owner.key]))
        return self._compiled[token_id][1]


class FakeTokenApi:
    """A `TokenApi` that remembers its calls. `answers`: what it says; `waits_for`: what has to happen before."""

    def __init__(
        self, answers: Answer | Deny | Exception | None = None, *, waits_for: asyncio.Event | None = None
    ) -> None:
        self.calls: list[tuple[Allow, Call]] = []
        self.asked, self.left = asyncio.Event(), asyncio.Event()
        self._answers = answers or succeed({"id": "x"})
        self._waits_for = waits_for

    async def answer(self, allow: Allow, call: Call) -> Answer | Deny:
        self.calls.append((allow, call))
        self.asked.set()
        try:
            if self._waits_for is not None:
                await self._waits_for.wait()
        finally:
            self.left.set()
        if isinstance(self._answers, Exception):
            raise self._answers
        return self._answers


def admission(
    store: MemoryTokenStore,
    *,
    table: RouteTable = CATALOG.public,
    peppers: Peppers = NO_PEPPERS,
    clock: Callable[[], float] = lambda: NOW,
    shown: ShownLines | None = None,
    accounts: ZoneAccounts | None = None,
) -> Admission:
    return Admission(
        store, store, table, accounts or MemoryAccounts(), peppers=peppers, clock=clock, shown=shown or ShownLines()
    )


def door(
    store: MemoryTokenStore | None = None,
    *,
    table: RouteTable | None = CATALOG.public,
    accounts: ZoneAccounts | None = None,
    **parts: Any,
) -> Door:
    """A door before the routes of `table` (None: without admission); `parts` are `Door`'s own."""
    lines, shown = KnownLines(CATALOG.credential_fields), ShownLines()
    let_in = admission(store or Tokens(), table=table, shown=shown, accounts=accounts) if table is not None else None
    sensible = {
        "admission": let_in,
        "token_api": FakeTokenApi(),
        "access_log": AccessLog(enabled=False),
        "reader": HeadReader(
            lines,
            token_fields=CATALOG.credential_fields,
            secret_fields=CATALOG.credential_fields,
            shown=shown.lines,
        ),
        "lines": lines,
        "max_body": 100_000,
        "body_idle_timeout": 20.0,
        "header_timeout": 20.0,
        "keepalive_timeout": 20.0,
    }
    return Door(**{**sensible, **parts})


class Listening(NamedTuple):
    """A door that is open."""

    handler: Handler
    port: int
    tasks: set[asyncio.Task[None]]
    """Those of its requests."""

    async def connect(self) -> Wire:
        return Wire(*await asyncio.open_connection("127.0.0.1", self.port))


async def check_tidy(handler: Handler) -> None:
    """Nothing of any request, and no connection, is left."""
    async with asyncio.timeout(10):
        await handler.server.emptied()
    assert handler._under_way == 0
    assert [len(deadlines) for deadlines in handler._waits.all] == [0] * 5


@contextlib.asynccontextmanager
async def listening(behind: Door) -> AsyncIterator[Listening]:
    """The door is open from entry to exit; nothing of any request is left then."""
    async with asyncio.TaskGroup() as group:
        tasks: set[asyncio.Task[None]] = set()

        def spawn(work: Any) -> asyncio.Task[None]:
            task = group.create_task(work)
            tasks.add(task)
            task.add_done_callback(tasks.discard)
            return task

        handler = Handler(behind, spawn)
        server = await asyncio.get_running_loop().create_server(handler.server, "127.0.0.1", 0)
        try:
            yield Listening(handler, server.sockets[0].getsockname()[1], tasks)
        finally:
            server.close()
            await handler.server.shutdown()
            await check_tidy(handler)
            handler.close()
    assert not tasks


# Without a kernel between: a transport on which nothing happens by itself.


class FakeSocket:
    """What a connection asks its socket, and tells it."""

    def __init__(self, family: socket.AddressFamily) -> None:
        self.family = family
        self.options: list[tuple[object, ...]] = []

    def setsockopt(self, *option: object) -> None:
        self.options.append(option)


class FakeTransport(asyncio.Transport):
    """One connection. A test says what comes (`deliver`), and whether the client reads (`takes`)."""

    def __init__(
        self,
        protocol: asyncio.Protocol,
        peer: tuple[str, int] | str | None = ("127.0.0.1", 4711),
        family: socket.AddressFamily = socket.AF_INET,
    ) -> None:
        self.socket = FakeSocket(family)
        super().__init__({"peername": peer, "socket": self.socket})
        self.protocol = protocol
        self.written = bytearray()
        self.takes = True
        self.is_reading = True
        self.is_shut = False
        """No more is written."""
        self.is_aborted = False
        self.is_gone = False
        """The client has broken off, and nobody has been told yet."""
        self._left = 0
        """Bytes that the client does not take."""
        self._high = 64 * 1024
        self._is_closing = False
        self._is_lost = False
        protocol.connection_made(self)

    def deliver(self, data: bytes) -> None:
        """These bytes come in one read."""
        assert self.is_reading, "nobody reads"
        self.protocol.data_received(data)

    def take(self) -> None:
        """The client takes all that was written, and reads on."""
        was_full, self._left, self.takes = self._left > self._high, 0, True
        if was_full:
            self.protocol.resume_writing()
        if self._is_closing:
            self._lose()

    def leave(self) -> None:
        """The client closes."""
        if not self.protocol.eof_received():
            self.close()

    def lose(self) -> None:
        """The connection is gone, before anything else happens."""
        self._is_closing = self._is_lost = True
        self.protocol.connection_lost(None)

    def _lose(self) -> None:
        if not self._is_lost:
            self._is_lost = True
            asyncio.get_running_loop().call_soon(self.protocol.connection_lost, None)

    @property
    def is_open(self) -> bool:
        return not (self._is_closing or self.is_shut)

    @property
    def statuses(self) -> list[int]:
        """Those of the answers so far."""
        return [int(found) for found in re.findall(rb"HTTP/1\.1 (\d{3}) ", self.written)]

    # What a connection asks of its transport.

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        assert high is not None
        assert low is None
        self._high = high

    def get_write_buffer_size(self) -> int:
        return self._left

    def write(self, data: bytes | bytearray | memoryview) -> None:
        assert not self.is_shut, "more is written behind the end"
        if self._is_closing:
            return
        self.written += data
        if not self.takes:
            was_full = self._left > self._high
            self._left += len(data)
            if self._left > self._high and not was_full:
                self.protocol.pause_writing()

    def can_write_eof(self) -> bool:
        return True

    def write_eof(self) -> None:
        if self.is_gone:
            raise OSError(errno.ENOTCONN, "not connected")
        self.is_shut = True

    def pause_reading(self) -> None:
        assert self.is_reading
        self.is_reading = False

    def resume_reading(self) -> None:
        assert not self.is_reading
        self.is_reading = True

    def is_closing(self) -> bool:
        return self._is_closing

    def close(self) -> None:
        self._is_closing = True
        if not self._left:
            self._lose()

    def abort(self) -> None:
        self._is_closing = self.is_aborted = True
        self._left = 0
        self._lose()


class FakeRelay:
    """A `Relay` that does nothing by itself: a test says by `side` what the upstream does.

    `heard`: what it was told, in its order.
    """

    upstream, sent_at, upstream_seconds, broken = "", 0.0, -1.0, None

    def __init__(self, side: ClientSide, *, body: bytes | None, upgrade: bool) -> None:
        self.side = side
        self.body = body
        self.upgrade = upgrade
        self.has_begun = self.is_over = False
        """It has told of an answer, and of its end."""
        self.heard: list[object] = []

    def start(self) -> bool:
        if self.body is None:
            self.side.resume_body()
        return True

    def begin(self, status: int = 200) -> None:
        """An answer begins, without a body."""
        self.has_begun = True
        connection = self.side.begin(status, ends_with_close=False)
        self.side.write(b"HTTP/1.1 %d Fine\r\nContent-Length: 0\r\n%b\r\n" % (status, connection))

    def end(self) -> None:
        """It ends."""
        self.is_over = True
        self.side.done()

    def answer(self, status: int = 200) -> None:
        """It is there, from its beginning to its end."""
        self.begin(status)
        self.end()

    def fail(self, deny: Deny) -> None:
        """There is none, or it breaks off."""
        self.is_over = True
        if self.has_begun:
            self.side.abort()
        else:
            self.side.fail(deny)

    def send(self, data: bytes) -> None:
        self.heard.append(data)

    def finish(self) -> None:
        self.heard.append("finish")

    def refused(self, deny: Deny) -> None:
        self.heard.append(deny.reason)
        self.fail(deny)

    def send_through(self, data: bytes) -> None:
        self.heard.append(("through", data))

    def client_full(self) -> None:
        self.heard.append("full")

    def client_ready(self) -> None:
        self.heard.append("ready")

    def client_ended(self) -> None:
        self.heard.append("ended")

    def client_gone(self) -> None:
        self.heard.append("gone")
        self.is_over = True


class FakeForwarder:
    """A `Forwarder` whose relays a test has in its hands."""

    kind = FakeRelay

    def __init__(self) -> None:
        self.relays: list[FakeRelay] = []

    @property
    def last(self) -> FakeRelay:
        return self.relays[-1]

    def relay(
        self,
        allow: Allow,  # noqa: ARG002
        head: RequestHead,  # noqa: ARG002
        client: Client,  # noqa: ARG002
        side: ClientSide,
        *,
        body: bytes | None,
        upgrade: bool = False,
    ) -> FakeRelay:
        self.relays.append(self.kind(side, body=body, upgrade=upgrade))
        return self.last


class Met(NamedTuple):
    """A connection, what it is connected to, and the relays behind it."""

    transport: FakeTransport
    connection: ClientConnection
    forwarder: FakeForwarder
    handler: Handler

    def another(
        self, peer: tuple[str, int] | str | None = ("127.0.0.1", 4711), family: socket.AddressFamily = socket.AF_INET
    ) -> "Met":
        """Another connection to the same door."""
        connection = self.handler.server()
        assert isinstance(connection, ClientConnection)
        return Met(FakeTransport(connection, peer, family), connection, self.forwarder, self.handler)

    async def closed(self) -> None:
        """All connections to the door are closed by now; fails if that does not happen."""
        async with asyncio.timeout(10):
            await self.handler.server.emptied()


Meet = Callable[..., Met]


@contextlib.asynccontextmanager
async def meeting() -> AsyncIterator[Meet]:
    """`meet(...)`: a connection to a door that answers at once; all but `peer` and `family` is `Door`'s.

    On the way out all are shut down, and nothing of them is left.
    """
    async with asyncio.TaskGroup() as group:
        handlers: list[Handler] = []

        def meet(peer: Any = ("127.0.0.1", 4711), family: socket.AddressFamily = socket.AF_INET, **parts: Any) -> Met:
            forwarder = parts.setdefault("forwarder", FakeForwarder())
            store = parts.pop("store", None) or Tokens().hold(token(EVERYTHING))
            handler = Handler(door(store, **parts), group.create_task)
            handlers.append(handler)
            connection = handler.server()
            assert isinstance(connection, ClientConnection)
            return Met(FakeTransport(connection, peer, family), connection, forwarder, handler)

        yield meet
        for handler in handlers:
            await handler.server.shutdown()
            await check_tidy(handler)
            handler.close()

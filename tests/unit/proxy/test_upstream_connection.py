import asyncio
import socket
import ssl
import struct
from collections.abc import Callable, Coroutine, Iterator, Sequence
from contextlib import ExitStack
from typing import Any

import pytest
import uvloop
from unit.proxy.fakes import FakeTransport, settled

from gateway.proxy.upstream_connection import READ_SIZE, Exchange, UpstreamConnection

LOOPS = pytest.mark.parametrize(
    "loop", [pytest.param(asyncio.new_event_loop, id="asyncio"), pytest.param(uvloop.new_event_loop, id="uvloop")]
)
Loop = Callable[[], asyncio.AbstractEventLoop]


class FakeOwner:
    """An `Owner` that counts what it hears."""

    def __init__(self) -> None:
        self.host_line = b"Host: a\r\n"
        self.place = "a:80"
        self.read_buffer = memoryview(bytearray(READ_SIZE))
        self.heard: list[UpstreamConnection] = []
        self.has_heard = asyncio.Event()

    def gone(self, connection: UpstreamConnection) -> None:
        self.heard.append(connection)
        self.has_heard.set()


class FakeExchange(Exchange):
    """An `Exchange` that writes down what it is told. `leaves`: it lets go of its connection at an end."""

    def __init__(self, *, leaves: UpstreamConnection | None = None) -> None:
        self.told: list[str] = []
        self.data = b""
        self.over = asyncio.Event()
        self._news = asyncio.Event()
        self._leaves = leaves

    async def until(self, condition: Callable[["FakeExchange"], bool]) -> None:
        """It has been told enough."""
        while not condition(self):
            self._news.clear()
            await self._news.wait()

    def received(self, data: bytes) -> None:
        assert isinstance(data, bytes)
        assert 0 < len(data) <= READ_SIZE
        self.data += data
        self._tell("received")

    def ended(self) -> None:
        self._tell("ended")
        self._end()

    def lost(self) -> None:
        self._tell("lost")
        self._end()

    def upstream_full(self) -> None:
        self._tell("full")

    def upstream_ready(self) -> None:
        self._tell("ready")

    def _tell(self, what: str) -> None:
        if self.told[-1:] != ["received"] or what != "received":
            self.told.append(what)
        self._news.set()

    def _end(self) -> None:
        if self._leaves is not None:
            self._leaves.abort()
        self.over.set()


def connected(*, exchange: bool = True) -> tuple[UpstreamConnection, FakeTransport, FakeOwner, FakeExchange]:
    """A connection in memory, which carries the exchange, if it is to."""
    owner, carried = FakeOwner(), FakeExchange()
    connection = UpstreamConnection(owner)
    transport = FakeTransport(connection)
    connection.connection_made(transport)
    if exchange:
        connection.exchange = carried
    return connection, transport, owner, carried


# In memory.


async def test_a_new_connection_knows_its_host_and_has_carried_nothing() -> None:
    connection, transport, owner, _ = connected(exchange=False)
    assert connection.host == owner.host_line
    assert not connection.used
    assert transport.limits == (1, None), "what the kernel does not take is waited for"


async def test_who_is_carried_hears_all_that_happens() -> None:
    _, transport, owner, exchange = connected()
    transport.says(b"hello")
    transport.says(b"world")
    transport.protocol.pause_writing()
    transport.protocol.resume_writing()
    transport.protocol.eof_received()
    assert exchange.told == ["received", "full", "ready", "ended"]
    assert exchange.data == b"helloworld"
    assert owner.heard == []


@pytest.mark.parametrize(
    "happens",
    [
        pytest.param(lambda transport: transport.says(b"x"), id="a byte"),
        pytest.param(lambda transport: transport.protocol.eof_received(), id="an end"),
    ],
)
async def test_what_comes_when_nobody_is_carried_closes_the_connection(
    happens: Callable[[FakeTransport], object],
) -> None:
    connection, transport, owner, exchange = connected(exchange=False)
    happens(transport)
    assert transport.is_closing()
    assert connection in owner.heard
    await settled()
    assert exchange.told == []


async def test_back_pressure_is_nobody_s_when_nobody_is_carried() -> None:
    _, transport, _, exchange = connected(exchange=False)
    transport.protocol.pause_writing()
    transport.protocol.resume_writing()
    assert exchange.told == []
    assert not transport.is_closing()


async def test_one_who_is_carried_hears_of_a_lost_connection_while_it_is_still_known_whose_it_was() -> None:
    class Curious(FakeExchange):
        def lost(self) -> None:
            assert connection not in owner.heard
            super().lost()

    connection, transport, owner, _ = connected()
    connection.exchange = exchange = Curious()
    transport.breaks()
    assert exchange.told == ["lost"]
    assert owner.heard == [connection]
    assert connection.exchange is None


async def test_who_closes_hears_no_more_and_the_owner_hears_at_once() -> None:
    connection, transport, owner, exchange = connected()
    connection.abort()
    assert owner.heard == [connection]
    assert transport.is_closing()
    await settled()
    assert exchange.told == []


async def test_nothing_is_written_on_a_connection_that_is_closing() -> None:
    connection, transport, _, _ = connected()
    connection.write(b"hello")
    connection.abort()
    connection.write(b"world")
    assert transport.sent == b"hello"


async def test_the_half_of_who_is_carried_stays_open_as_long_as_it_stays() -> None:
    _, transport, _, exchange = connected()
    assert transport.protocol.eof_received() is True
    assert exchange.told == ["ended"]
    connection, transport, _, _ = connected()
    connection.exchange = leaving = FakeExchange(leaves=connection)
    assert transport.protocol.eof_received() is False
    assert leaving.told == ["ended"]


# On a wire.

RESET = struct.pack("ii", 1, 0)


class Peer:
    """The upstream's end of one connection, which does what it is told, at once."""

    def __init__(self, listener: socket.socket, tls: ssl.SSLContext | None) -> None:
        self._listener = listener
        self._tls = tls
        self.port = listener.getsockname()[1]
        self.sock: socket.socket

    async def accept(self) -> None:
        loop = asyncio.get_running_loop()
        self.sock = await loop.run_in_executor(None, self._accept)

    def _accept(self) -> socket.socket:
        sock, _ = self._listener.accept()
        sock.settimeout(10)
        return sock if self._tls is None else self._tls.wrap_socket(sock, server_side=True)

    async def does(self, what: Callable[[socket.socket], Any]) -> Any:
        return await asyncio.get_running_loop().run_in_executor(None, what, self.sock)


def close(sock: socket.socket) -> None:
    """A clean end."""
    if isinstance(sock, ssl.SSLSocket):
        sock.unwrap().close()
    else:
        sock.close()


def cut(sock: socket.socket) -> None:
    """An end of TCP that TLS knows nothing of."""
    socket.socket(fileno=sock.detach()).close()


def reset(sock: socket.socket) -> None:
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
    cut(sock)


@pytest.fixture
def listener() -> Iterator[socket.socket]:
    with ExitStack() as stack:
        found = stack.enter_context(socket.create_server(("127.0.0.1", 0)))
        found.settimeout(10)
        yield found


async def wired(peer: Peer, tls: ssl.SSLContext | None = None) -> tuple[UpstreamConnection, FakeExchange, FakeOwner]:
    """A connection to `peer`, with an exchange."""
    owner = FakeOwner()
    accepting = asyncio.ensure_future(peer.accept())
    _, connection = await asyncio.get_running_loop().create_connection(
        lambda: UpstreamConnection(owner), "127.0.0.1", peer.port, ssl=tls
    )
    await accepting
    connection.exchange = exchange = FakeExchange()
    return connection, exchange, owner


async def over(connection: UpstreamConnection, owner: FakeOwner) -> None:
    """It is closed."""
    connection.abort()
    await settled()
    assert connection in owner.heard


def run(loop: Loop, test: Callable[[], Coroutine[Any, Any, None]]) -> None:
    async def bounded() -> None:
        async with asyncio.timeout(20):
            await test()

    with asyncio.Runner(loop_factory=loop) as runner:
        runner.run(bounded())


@LOOPS
def test_what_is_sent_is_not_gathered(listener: socket.socket, loop: Loop) -> None:
    async def test() -> None:
        peer = Peer(listener, None)
        connection, _, owner = await wired(peer)
        sock = connection.transport.get_extra_info("socket")
        assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY) != 0
        await over(connection, owner)
        peer.sock.close()

    run(loop, test)


@LOOPS
@pytest.mark.parametrize("is_tls", [pytest.param(False, id="plain"), pytest.param(True, id="TLS")])
@pytest.mark.parametrize(
    ("end", "plain", "tls"),
    [
        pytest.param(close, "ended", "ended", id="a clean end"),
        pytest.param(cut, "ended", "lost", id="an end that anybody could make"),
        pytest.param(reset, "lost", "lost", id="a reset"),
    ],
)
def test_all_that_came_is_heard_and_then_how_it_ended(
    listener: socket.socket,
    certificates: Sequence[ssl.SSLContext],
    loop: Loop,
    end: Callable[[socket.socket], None],
    plain: str,
    tls: str,
    *,
    is_tls: bool,
) -> None:
    """A megabyte: more than one read brings."""
    server, client = certificates if is_tls else (None, None)
    word = bytes(range(256)) * 4096

    async def test() -> None:
        peer = Peer(listener, server)
        connection, exchange, owner = await wired(peer, client)
        sending = asyncio.ensure_future(peer.does(lambda sock: sock.sendall(word)))
        await exchange.until(lambda told: len(told.data) >= len(word))
        await sending
        await peer.does(end)
        await exchange.over.wait()
        assert exchange.data == word
        assert exchange.told[:2] == ["received", tls if is_tls else plain]
        await over(connection, owner)

    run(loop, test)


@LOOPS
def test_an_upstream_that_has_ended_its_half_still_takes_ours(listener: socket.socket, loop: Loop) -> None:
    async def test() -> None:
        peer = Peer(listener, None)
        connection, exchange, owner = await wired(peer)
        await peer.does(lambda sock: sock.shutdown(socket.SHUT_WR))
        await exchange.over.wait()
        connection.write(b"more")
        connection.transport.write_eof()
        assert await peer.does(lambda sock: sock.recv(100)) == b"more"
        assert await peer.does(lambda sock: sock.recv(100)) == b""
        await over(connection, owner)
        peer.sock.close()

    run(loop, test)


@LOOPS
@pytest.mark.parametrize("is_tls", [pytest.param(False, id="plain"), pytest.param(True, id="TLS")])
def test_an_upstream_that_does_not_read_is_full_and_then_ready_again(
    listener: socket.socket, certificates: Sequence[ssl.SSLContext], loop: Loop, *, is_tls: bool
) -> None:
    server, client = certificates if is_tls else (None, None)

    async def test() -> None:
        peer = Peer(listener, server)
        connection, exchange, owner = await wired(peer, client)
        sent = 0
        while exchange.told != ["full"]:
            connection.write(b"x" * 65536)
            sent += 65536
            await asyncio.sleep(0)
        assert connection.transport.get_write_buffer_size() < 2 * 65536, "the last piece, and no more"

        def read_all(sock: socket.socket) -> None:
            left = sent
            while left:
                left -= len(sock.recv(left))

        await peer.does(read_all)
        await exchange.until(lambda told: told.told == ["full", "ready"])
        await over(connection, owner)
        await peer.does(cut)

    run(loop, test)


@LOOPS
@pytest.mark.parametrize("is_tls", [pytest.param(False, id="plain"), pytest.param(True, id="TLS")])
def test_bytes_that_come_to_nobody_close_the_connection(
    listener: socket.socket, certificates: Sequence[ssl.SSLContext], loop: Loop, *, is_tls: bool
) -> None:
    server, client = certificates if is_tls else (None, None)

    async def test() -> None:
        peer = Peer(listener, server)
        connection, exchange, owner = await wired(peer, client)
        connection.exchange = None
        await peer.does(lambda sock: sock.sendall(b"HTTP/1.1 200 OK\r\n\r\n"))
        await owner.has_heard.wait()
        assert connection.transport.is_closing()
        assert exchange.told == []
        await settled()
        await peer.does(cut)

    run(loop, test)

"""An upstream of its own process, which counts, streams, holds back and tunnels; what it does, the path's end says.

`python streaming_upstream.py NAME PORT [CERT KEY AUTHORITY]` listens on loopback and prints its URL. With a certificate
it speaks TLS, and takes clients alone that show one of AUTHORITY's. What a test asks it beside, it asks directly:
`release` and `arrived`, with a key that it made up.
"""

import asyncio
import base64
import contextlib
import hashlib
import json
import socket
import ssl
import sys
from collections import defaultdict
from collections.abc import Awaitable, Callable
from typing import Final
from urllib.parse import parse_qsl, urlsplit

import uvloop

PIECE: Final = 64 * 1024
_LIMIT: Final = 256 * 1024
_KERNEL: Final = 64 * 1024
_ACCEPT: Final = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
_CLOSE: Final = 8
_MASKED: Final = 0x80
_LONG: Final = 126


def piece(number: int) -> bytes:
    """The bytes of piece `number` of a source: no two are alike, so that none can be lost, doubled or moved."""
    return number.to_bytes(8, "big") * (PIECE // 8)


class _Request:
    """A head, and where it came from."""

    def __init__(self, upstream: "_Upstream", reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.upstream, self.reader, self.writer = upstream, reader, writer
        self.connection = self.number = 0
        self.lines: list[str] = []
        self.query: dict[str, str] = {}
        self.fields: dict[str, str] = {}

    def take_head(self, head: bytes) -> str:
        """Returns the last segment of the path."""
        self.lines = head.decode("latin-1").split("\r\n")[:-2]
        target = urlsplit(self.lines[0].split(" ")[1])
        self.query = dict(parse_qsl(target.query))
        self.fields = {
            name.lower(): value.strip() for name, _, value in (line.partition(":") for line in self.lines[1:])
        }
        return target.path.rpartition("/")[2]

    @property
    def key(self) -> str:
        return self.query.get("key", "")

    def seen(self) -> bytes:
        return json.dumps(
            {
                "upstream": self.upstream.name,
                "connection": self.connection,
                "number": self.number,
                "lines": self.lines,
            }
        ).encode()

    def answer(self, body: bytes, *lines: str) -> None:
        head = "".join(f"{line}\r\n" for line in ("HTTP/1.1 200 OK", f"Content-Length: {len(body)}", *lines))
        self.writer.write(head.encode() + b"\r\n" + body)

    async def body(self, take: Callable[[bytes], object]) -> None:
        """All of the request's body goes to `take`."""
        if "transfer-encoding" in self.fields:
            while size := int(await self.reader.readline(), 16):
                await self._take(size, take)
                await self.reader.readexactly(2)
            await self.reader.readexactly(2)
        else:
            await self._take(int(self.fields.get("content-length", "0")), take)

    async def _take(self, size: int, take: Callable[[bytes], object]) -> None:
        while size:
            data = await self.reader.read(min(size, _LIMIT))
            if not data:
                raise ConnectionError
            size -= len(data)
            take(data)


# What can be asked for: each says whether the connection goes on.


async def _see(request: _Request) -> bool:
    """What has come."""
    await request.body(lambda _: None)
    request.answer(request.seen())
    return True


async def _close(request: _Request) -> bool:
    """The same, and the connection's last answer."""
    await request.body(lambda _: None)
    request.answer(request.seen(), "Connection: close")
    return False


async def _answer_early(request: _Request) -> bool:
    """An answer before the body, which comes to nothing."""
    request.answer(request.seen())
    await request.upstream.arrive(request.key)
    await request.body(lambda _: None)
    return True


async def _hold(request: _Request) -> bool:
    """An answer once it is released."""
    await request.body(lambda _: None)
    await request.upstream.arrive(request.key)
    await request.upstream.gates[request.key].wait()
    request.answer(request.seen())
    return True


async def _sink(request: _Request) -> bool:
    """How much has come, and what. With a key: nothing is read until it is released."""
    digest, size = hashlib.sha256(), 0

    def take(data: bytes) -> None:
        nonlocal size
        size += len(data)
        digest.update(data)

    if request.key:
        await request.upstream.arrive(request.key)
        await request.upstream.gates[request.key].wait()
    await request.body(take)
    framing = "chunked" if "transfer-encoding" in request.fields else "length"
    request.answer(json.dumps({"size": size, "sha256": digest.hexdigest(), "framing": framing}).encode())
    return True


async def _source(request: _Request) -> bool:
    """`pieces`, each of PIECE bytes; `framing` is chunked, or with a length."""
    count, chunked = int(request.query["pieces"]), request.query.get("framing") == "chunked"
    framing = "Transfer-Encoding: chunked" if chunked else f"Content-Length: {count * PIECE}"
    request.writer.write(f"HTTP/1.1 200 OK\r\n{framing}\r\n\r\n".encode())
    for number in range(count):
        data = piece(number)
        request.writer.write(b"%x\r\n%b\r\n" % (PIECE, data) if chunked else data)
        await request.writer.drain()
    if chunked:
        request.writer.write(b"0\r\n\r\n")
    return True


async def _events(request: _Request) -> bool:
    """An event, another one once it is released, and no end; arrives again when the client has left."""
    head = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
    request.writer.write(head + b"9\r\ndata: 1\n\n\r\n")
    await request.upstream.arrive(request.key)
    left = asyncio.ensure_future(request.reader.read(1))
    released = asyncio.ensure_future(request.upstream.gates[request.key].wait())
    await asyncio.wait([left, released], return_when=asyncio.FIRST_COMPLETED)
    if released.done():
        request.writer.write(b"9\r\ndata: 2\n\n\r\n")
    released.cancel()
    with contextlib.suppress(ConnectionError):
        await left
    await request.upstream.arrive(f"{request.key} left")
    return False


async def _switch_unasked(request: _Request) -> bool:
    """A 101 that nobody asked for."""
    request.writer.write(b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n")
    await request.reader.read()
    return False


# Tunnels.


def _switch(request: _Request, *lines: str) -> None:
    accept = base64.b64encode(hashlib.sha1(request.fields["sec-websocket-key"].encode() + _ACCEPT).digest())  # noqa: S324
    head = ("HTTP/1.1 101 Switching Protocols", "Connection: Upgrade", "Upgrade: websocket", *lines)
    request.writer.write("".join(f"{line}\r\n" for line in head).encode())
    request.writer.write(b"Sec-WebSocket-Accept: " + accept + b"\r\n\r\n")


async def _websocket(request: _Request) -> bool:
    """WebSocket messages come back as they are. Without an upgrade: what has come."""
    if "upgrade" not in request.fields:
        return await _see(request)
    _switch(request)
    await request.upstream.arrive(request.key)
    reader, writer = request.reader, request.writer
    with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
        while True:
            first, second = await reader.readexactly(2)
            assert second & _MASKED, "a client masks (RFC 6455 5.1)"
            size, extended = second & 0x7F, b""
            if size >= _LONG:
                extended = await reader.readexactly(2 if size == _LONG else 8)
            length = int.from_bytes(extended, "big") if extended else size
            mask = await reader.readexactly(4)
            masked = await reader.readexactly(length)
            whole = int.from_bytes(masked, "big") ^ int.from_bytes((mask * (length // 4 + 1))[:length], "big")
            writer.write(bytes([first, size]) + extended + whole.to_bytes(length, "big"))
            if first & 0xF == _CLOSE:
                break
    await request.upstream.arrive(f"{request.key} left")
    return False


async def _tunnel(request: _Request) -> bool:
    """Bytes: all that comes until the client has ended, and then all of it back."""
    _switch(request)
    writer = request.writer
    heard = await request.reader.read()
    writer.write(b"heard " + heard)
    return False


async def _flood_tunnel(request: _Request) -> bool:
    """Bytes without end, and nothing is read."""
    _switch(request)
    while True:
        request.writer.write(piece(0))
        await request.writer.drain()


async def _tunnel_that_ends_first(request: _Request) -> bool:
    """Says goodbye, ends its own half, and hears what comes; then arrives under that."""
    _switch(request)
    request.writer.write(b"goodbye")
    request.writer.write_eof()
    heard = await request.reader.read()
    await request.upstream.arrive(heard.decode("latin-1"))
    return False


async def _tunnel_later(request: _Request) -> bool:
    """The 101 comes once it is released, and tells what was heard before; then bytes come back as they are."""
    heard = await _hear_until_released(request)
    _switch(request, f"X-Heard: {len(heard)}")
    request.writer.write(heard)
    while data := await request.reader.read(_LIMIT):
        request.writer.write(data)
    return False


async def _tunnel_never(request: _Request) -> bool:
    """No tunnel, once it is released; the answer tells what was heard before."""
    heard = await _hear_until_released(request)
    request.answer(b"no", f"X-Heard: {len(heard)}")
    return True


async def _hear_until_released(request: _Request) -> bytes:
    hearing = asyncio.ensure_future(request.reader.read(_LIMIT))
    await request.upstream.arrive(request.key)
    await request.upstream.gates[request.key].wait()
    if not hearing.done():
        hearing.cancel()
        await asyncio.wait([hearing])
        return b""
    return hearing.result()


# What a test asks beside.


async def _release(request: _Request) -> bool:
    """Whoever waits with that key goes on, and whoever will."""
    request.upstream.gates[request.key].set()
    request.answer(b"")
    return True


async def _arrived(request: _Request) -> bool:
    """How many have arrived with that key, once there are `count`."""
    wanted, upstream = int(request.query["count"]), request.upstream
    async with upstream.changed:
        await upstream.changed.wait_for(lambda: upstream.arrivals[request.key] >= wanted)
    request.answer(str(upstream.arrivals[request.key]).encode())
    return True


_ACTS: Final[dict[str, Callable[[_Request], Awaitable[bool]]]] = {
    "see": _see,
    "close": _close,
    "early": _answer_early,
    "held": _hold,
    "sink": _sink,
    "source": _source,
    "events": _events,
    "unasked": _switch_unasked,
    "websocket": _websocket,
    "tunnel": _tunnel,
    "tunnel-flood": _flood_tunnel,
    "tunnel-that-ends-first": _tunnel_that_ends_first,
    "tunnel-later": _tunnel_later,
    "tunnel-never": _tunnel_never,
    "release": _release,
    "arrived": _arrived,
}


class _Upstream:
    def __init__(self, name: str) -> None:
        self.name = name
        self.connections = 0
        self.gates: dict[str, asyncio.Event] = defaultdict(asyncio.Event)
        self.arrivals: dict[str, int] = defaultdict(int)
        self.changed = asyncio.Condition()

    async def arrive(self, key: str) -> None:
        async with self.changed:
            self.arrivals[key] += 1
            self.changed.notify_all()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        request = _Request(self, reader, writer)
        request.connection = self.connections
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
            goes_on = True
            while goes_on:
                act = _ACTS[request.take_head(await reader.readuntil(b"\r\n\r\n"))]
                request.number += 1
                goes_on = await act(request)
                await writer.drain()
        writer.close()
        with contextlib.suppress(ConnectionError, ssl.SSLError):
            await writer.wait_closed()


async def _main(name: str, port: str, *tls: str) -> None:
    context = None
    if tls:
        cert, key, authority = tls
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=authority)
        context.verify_mode = ssl.CERT_REQUIRED
        context.load_cert_chain(cert, key)
    sock = socket.create_server(("127.0.0.1", int(port)), backlog=4096)
    # What the kernel holds, neither end does: each connection has these from it.
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _KERNEL)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _KERNEL)
    server = await asyncio.start_server(_Upstream(name).serve, sock=sock, limit=_LIMIT, ssl=context, backlog=4096)
    print(f"http{'s' if tls else ''}://127.0.0.1:{sock.getsockname()[1]}", flush=True)  # noqa: T201
    await server.serve_forever()


if __name__ == "__main__":
    with contextlib.suppress(KeyboardInterrupt):
        uvloop.run(_main(*sys.argv[1:]))

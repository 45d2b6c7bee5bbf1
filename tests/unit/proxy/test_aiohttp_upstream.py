import asyncio
import contextlib
import gzip
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable

import pytest

from gateway.proxy.aiohttp_upstream import AiohttpUpstream
from gateway.proxy.ports import BodyRefused, Incoming, Outgoing, UpstreamFailed
from gateway.reason import Deny, Reason

HELLO = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello"
HOST = (b"Host", b"api.internal")


class Server:
    """A server that keeps every byte it gets, and answers as `script` says: one call a request, by number.

    A script writes what it likes, and returns whether the connection stays open.
    """

    def __init__(self, script: "Script") -> None:
        self.requests: list[bytes] = []
        self.connections = 0
        self.left = asyncio.Event()
        """Set when a client has ended a connection, or begun to."""
        self.over = asyncio.Event()
        """Set when the test is."""
        self.url = ""
        self._script = script
        self._open: set[asyncio.StreamWriter] = set()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        self._open.add(writer)
        with contextlib.suppress(ConnectionError):
            while not reader.at_eof():
                request = Request(self, reader)
                if not await request.read_head() or not await self._script(len(self.requests), request, writer):
                    break
        self.left.set()
        writer.close()
        self._open.discard(writer)

    def close(self) -> None:
        self.over.set()
        for writer in self._open:
            writer.transport.abort()


class Request:
    """A request as it comes in: its bytes so far are the last of `Server.requests`."""

    def __init__(self, server: Server, reader: asyncio.StreamReader) -> None:
        self.over = server.over
        self._server = server
        self._reader = reader

    async def read_head(self) -> bool:
        try:
            head = await self._reader.readuntil(b"\r\n\r\n")
        except asyncio.IncompleteReadError:
            return False
        self._server.requests.append(head)
        return True

    async def read(self, size: int) -> None:
        """The next bytes of the body, or all that comes before the end."""
        with contextlib.suppress(asyncio.IncompleteReadError):
            self._server.requests[-1] += await self._reader.readexactly(size)

    async def read_rest(self) -> None:
        """Every byte until the client ends the connection."""
        with contextlib.suppress(ConnectionError):
            self._server.requests[-1] += await self._reader.read()
        self._server.left.set()


Script = Callable[[int, Request, asyncio.StreamWriter], Awaitable[bool]]
Serve = Callable[[Script], Awaitable[Server]]


def answering(answer: bytes, body: int = 0) -> Script:
    """Every request the same answer, after so many bytes of its body."""

    async def script(_: int, request: Request, writer: asyncio.StreamWriter) -> bool:
        await request.read(body)
        writer.write(answer)
        return True

    return script


def once(answer: bytes) -> Script:
    """An answer, and then the end."""

    async def script(_: int, request: Request, writer: asyncio.StreamWriter) -> bool:  # noqa: ARG001
        writer.write(answer)
        await writer.drain()
        return False

    return script


@pytest.fixture
async def serve() -> AsyncIterator[Serve]:
    """`await serve(script)`: a running server."""
    async with contextlib.AsyncExitStack() as stack:

        async def serve(script: Script) -> Server:
            found = Server(script)
            listening = await asyncio.start_server(found.serve, "127.0.0.1", 0)
            stack.callback(found.close)
            stack.callback(listening.close)
            found.url = f"http://127.0.0.1:{listening.sockets[0].getsockname()[1]}"
            return found

        yield serve


Connect = Callable[..., AiohttpUpstream]


@pytest.fixture
async def connect() -> AsyncIterator[Connect]:
    """`connect(server)`: the upstream at that server."""
    async with contextlib.AsyncExitStack() as stack:

        def connect(server: Server, *, max_connections: int = 8, response_timeout: float = 20.0) -> AiohttpUpstream:
            upstream = AiohttpUpstream(
                server.url,
                max_connections=max_connections,
                idle_timeout=30,
                connect_timeout=2,
                response_timeout=response_timeout,
                tls=None,
            )
            stack.push_async_callback(upstream.close)
            return upstream

        yield connect


def outgoing(
    method: str = "GET",
    target: bytes = b"/",
    fields: Iterable[tuple[bytes, bytes]] = (),
    *,
    has_body: bool = False,
    length: int | None = None,
) -> Outgoing:
    return Outgoing(method=method, target=target, fields=[HOST, *fields], has_body=has_body, length=length)


async def body(*pieces: bytes) -> AsyncIterator[bytes]:
    for piece in pieces:
        yield piece


async def fetch(
    upstream: AiohttpUpstream, request: Outgoing, pieces: AsyncIterator[bytes] | None = None
) -> tuple[Incoming, bytes]:
    """The whole answer."""
    async with upstream.exchange(request, pieces or body()) as answer:
        received = b"".join([piece async for piece in answer.body()]) if answer.head.has_body else b""
        return answer.head, received


async def failure(
    upstream: AiohttpUpstream, request: Outgoing, pieces: AsyncIterator[bytes] | None = None
) -> UpstreamFailed:
    """What comes in the place of an answer."""
    with pytest.raises(UpstreamFailed) as caught:
        async with upstream.exchange(request, pieces or body()):
            pass
    return caught.value


# What goes out, byte for byte.


async def test_a_request_is_its_line_its_fields_and_nothing_else(serve: Serve, connect: Connect) -> None:
    server = await serve(answering(HELLO))
    fields = [(b"X-B", b"2"), (b"x-a", b""), (b"X-B", "ä, 3".encode()), (b"aUTHORIZATION", b"Bearer x")]
    head, received = await fetch(connect(server), outgoing("GET", b"/a/b?c=d", fields))
    assert b"".join(server.requests).split(b"\r\n") == [
        b"GET /a/b?c=d HTTP/1.1",
        b"Host: api.internal",
        b"X-B: 2",
        b"x-a: ",
        b"X-B: \xc3\xa4, 3",
        b"aUTHORIZATION: Bearer x",
        b"",
        b"",
    ]
    assert (head.status, head.phrase, head.length, received) == (200, "OK", 5, b"hello")


@pytest.mark.parametrize(
    "target",
    [
        pytest.param(b"/", id="the root"),
        pytest.param(b"/?", id="a ? at the end"),
        pytest.param(b"/a?", id="a ? behind a segment"),
        pytest.param(b"/a??", id="two of them"),
        pytest.param(b"/a?b=c&b=d&&=", id="a query that repeats itself"),
        pytest.param(b"/a?b=%2e%2E%2f/../x", id="dots in the query"),
        pytest.param(b"/a?b=%zz%", id="a percent sign alone"),
        pytest.param(b"/a?b='\"<>\\^`{|}[];+", id="bytes that a URL library would mend"),
        pytest.param(b"/a;v=1/b:c@d!$&'()*+,=~", id="bytes that a path may hold"),
        pytest.param(b"/%C3%A4%20%5B%3F%23", id="encoded bytes"),
        pytest.param(b"/%c3%a4", id="encoded in lower case"),
        pytest.param(b"/a:80", id="a colon in the path"),
        pytest.param(b"/http://b/c", id="something like a URL"),
        pytest.param(b"/xn--a/..a/a../...", id="dots in segments"),
    ],
)
async def test_a_target_goes_out_byte_for_byte(serve: Serve, connect: Connect, target: bytes) -> None:
    server = await serve(answering(HELLO))
    await fetch(connect(server), outgoing("GET", target))
    assert server.requests == [b"GET %b HTTP/1.1\r\nHost: api.internal\r\n\r\n" % target]


@pytest.mark.parametrize("method", ["GET", "HEAD", "OPTIONS"])
async def test_a_request_without_a_body_says_nothing_of_one(serve: Serve, connect: Connect, method: str) -> None:
    server = await serve(answering(b"HTTP/1.1 204 No Content\r\n\r\n"))
    await fetch(connect(server), outgoing(method))
    assert server.requests == [b"%b / HTTP/1.1\r\nHost: api.internal\r\n\r\n" % method.encode()]


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE"])
async def test_where_a_body_is_usual_its_absence_may_be_said(serve: Serve, connect: Connect, method: str) -> None:
    """RFC 9110 8.6: a length of 0 says that none comes."""
    server = await serve(answering(HELLO))
    await fetch(connect(server), outgoing(method))
    line = b"%b / HTTP/1.1\r\nHost: api.internal\r\n" % method.encode()
    assert server.requests in ([line + b"\r\n"], [line + b"Content-Length: 0\r\n\r\n"])


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE", "GET"])
async def test_an_empty_body_has_its_length(serve: Serve, connect: Connect, method: str) -> None:
    server = await serve(answering(HELLO))
    await fetch(connect(server), outgoing(method, length=0))
    assert server.requests == [b"%b / HTTP/1.1\r\nHost: api.internal\r\nContent-Length: 0\r\n\r\n" % method.encode()]


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE", "GET"])
async def test_a_body_goes_out_with_its_length_and_no_type(serve: Serve, connect: Connect, method: str) -> None:
    server = await serve(answering(HELLO, 6))
    await fetch(connect(server), outgoing(method, has_body=True, length=6), body(b"abc", b"def"))
    assert server.requests == [
        b"%b / HTTP/1.1\r\nHost: api.internal\r\nContent-Length: 6\r\n\r\nabcdef" % method.encode()
    ]


async def test_a_body_without_a_length_goes_out_chunked_anew(serve: Serve, connect: Connect) -> None:
    sent = b"3\r\nabc\r\n1\r\nd\r\n0\r\n\r\n"
    server = await serve(answering(HELLO, len(sent)))
    await fetch(connect(server), outgoing("POST", has_body=True), body(b"abc", b"d"))
    head, _, rest = server.requests[0].partition(b"\r\n\r\n")
    assert sorted(head.split(b"\r\n")) == [b"Host: api.internal", b"POST / HTTP/1.1", b"Transfer-Encoding: chunked"]
    assert rest == sent


@pytest.mark.parametrize("name", [b"Zonegate-Target", b"zonegate-target"])
async def test_no_field_of_the_client_s_changes_the_target(serve: Serve, connect: Connect, name: bytes) -> None:
    server = await serve(answering(HELLO))
    await fetch(connect(server), outgoing("GET", b"/judged", [(name, b"/not-judged")]))
    assert server.requests[0].startswith(b"GET /judged HTTP/1.1\r\n")


async def test_nothing_of_the_environment_or_of_earlier_answers_goes_out(
    serve: Serve, connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    server = await serve(answering(b"HTTP/1.1 200 OK\r\nSet-Cookie: a=b\r\nContent-Length: 0\r\n\r\n"))
    upstream = connect(server)
    for _ in range(2):
        await fetch(upstream, outgoing())
    assert server.requests == [b"GET / HTTP/1.1\r\nHost: api.internal\r\n\r\n"] * 2


# What comes back.


@pytest.mark.parametrize(
    ("answer", "head", "received"),
    [
        pytest.param(HELLO, (200, "OK", 5, True), b"hello", id="with a length"),
        pytest.param(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", (200, "OK", 0, True), b"", id="with length 0"),
        pytest.param(
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3;x=y\r\nhel\r\n2\r\nlo\r\n0\r\nX-T: 1\r\n\r\n",
            (200, "OK", None, True),
            b"hello",
            id="chunked",
        ),
        pytest.param(b"HTTP/1.1 200 \r\nContent-Length: 5\r\n\r\nhello", (200, "", 5, True), b"hello", id="no phrase"),
        pytest.param(
            b"HTTP/1.1 599 Odd\r\nContent-Length: 2\r\n\r\nno", (599, "Odd", 2, True), b"no", id="an odd status"
        ),
        pytest.param(b"HTTP/1.1 204 No Content\r\n\r\n", (204, "No Content", None, False), b"", id="204"),
        pytest.param(
            b"HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n\r\n", (304, "Not Modified", 5, False), b"", id="304"
        ),
        pytest.param(
            b"HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\nHTTP/1.1 100 Continue\r\n\r\n" + HELLO,
            (200, "OK", 5, True),
            b"hello",
            id="behind interim answers",
        ),
    ],
)
async def test_an_answer_is_read_to_its_end(
    serve: Serve, connect: Connect, answer: bytes, head: tuple[int, str, int | None, bool], received: bytes
) -> None:
    server = await serve(answering(answer))
    found, content = await fetch(connect(server), outgoing())
    assert (found.status, found.phrase, found.length, found.has_body) == head
    assert content == received


@pytest.mark.parametrize("version", [b"1.1", b"1.0"])
async def test_an_answer_may_end_with_its_connection(serve: Serve, connect: Connect, version: bytes) -> None:
    server = await serve(once(b"HTTP/%b 200 OK\r\n\r\nhello" % version))
    head, received = await fetch(connect(server), outgoing())
    assert (head.length, head.has_body, received) == (None, True, b"hello")


async def test_an_answer_to_head_ends_with_its_head(serve: Serve, connect: Connect) -> None:
    server = await serve(answering(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n"))
    upstream = connect(server)
    for _ in range(2):
        head, received = await fetch(upstream, outgoing("HEAD"))
        assert (head.length, head.has_body, received) == (5, False, b"")
    assert server.connections == 1


async def test_fields_come_back_in_order_byte_for_byte(serve: Serve, connect: Connect) -> None:
    server = await serve(
        answering(b"HTTP/1.1 200 OK\r\nX-B: 2\r\nx-a:\r\nX-b:  \xc3\xa4\xff \r\nContent-Length: 0\r\n\r\n")
    )
    head, _ = await fetch(connect(server), outgoing())
    assert head.fields == ((b"X-B", b"2"), (b"x-a", b""), (b"X-b", b"\xc3\xa4\xff"), (b"Content-Length", b"0"))


async def test_a_folded_line_comes_back_as_one(serve: Serve, connect: Connect) -> None:
    """RFC 9112 5.2: a gateway puts a blank in the place of the fold."""
    server = await serve(answering(b"HTTP/1.1 200 OK\r\nX: a\r\n Set-Cookie: b\r\nContent-Length: 0\r\n\r\n"))
    head, _ = await fetch(connect(server), outgoing())
    assert head.fields == ((b"X", b"a Set-Cookie: b"), (b"Content-Length", b"0"))


async def test_a_compressed_body_stays_compressed(serve: Serve, connect: Connect) -> None:
    packed = gzip.compress(b"hello" * 100)
    server = await serve(
        answering(b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: %d\r\n\r\n%b" % (len(packed), packed))
    )
    head, received = await fetch(connect(server), outgoing())
    assert received == packed
    assert (b"Content-Encoding", b"gzip") in head.fields


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
async def test_a_redirect_is_not_followed(serve: Serve, connect: Connect, status: int) -> None:
    server = await serve(answering(b"HTTP/1.1 %d Moved\r\nLocation: /b\r\nContent-Length: 0\r\n\r\n" % status))
    head, _ = await fetch(connect(server), outgoing("GET", b"/a"))
    assert head.status == status
    assert len(server.requests) == 1


@pytest.mark.parametrize("status", [401, 407])
async def test_a_challenge_is_not_answered(serve: Serve, connect: Connect, status: int) -> None:
    server = await serve(answering(b"HTTP/1.1 %d No\r\nWWW-Authenticate: Basic\r\nContent-Length: 0\r\n\r\n" % status))
    head, _ = await fetch(connect(server), outgoing())
    assert (head.status, len(server.requests)) == (status, 1)


async def test_an_unasked_101_is_no_answer_and_its_connection_ends(serve: Serve, connect: Connect) -> None:
    server = await serve(answering(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: Upgrade\r\n\r\n"))
    failed = await failure(connect(server), outgoing())
    assert not failed.timeout
    await server.left.wait()


@pytest.mark.parametrize(
    "answer",
    [
        pytest.param(b"junk\r\n\r\n", id="not HTTP"),
        pytest.param(b"", id="nothing"),
        pytest.param(b"HTTP/1.1 200 OK\r\nContent-Le", id="a head cut off"),
        pytest.param(b"HTTP/1.1 20 OK\r\n\r\n", id="a status of two digits"),
        pytest.param(b"HTTP/2.0 200 OK\r\nContent-Length: 0\r\n\r\n", id="another version"),
        pytest.param(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello!", id="two lengths"),
        pytest.param(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 5\r\n\r\nhello", id="the same twice"),
        pytest.param(b"HTTP/1.1 200 OK\r\nContent-Length: 5, 5\r\n\r\nhello", id="a list of lengths"),
        pytest.param(b"HTTP/1.1 200 OK\r\nContent-Length: -5\r\n\r\nhello", id="a negative length"),
        pytest.param(b"HTTP/1.1 200 OK\r\nContent-Length: +5\r\n\r\nhello", id="a length with a plus"),
        pytest.param(
            b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
            id="a length and chunked",
        ),
        pytest.param(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\nhello", id="a coding that is not chunked"),
        pytest.param(
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
            id="a coding beside chunked",
        ),
        pytest.param(
            b"HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n", id="chunked in HTTP/1.0"
        ),
        pytest.param(b"HTTP/1.1 200 OK\r\nX: a\x00b\r\nContent-Length: 0\r\n\r\n", id="NUL in a value"),
        pytest.param(b"HTTP/1.1 200 OK\r\nX: a\rb\r\nContent-Length: 0\r\n\r\n", id="a bare carriage return"),
        pytest.param(b"HTTP/1.1 200 OK\r\nX: a\x1b[2J\r\nContent-Length: 0\r\n\r\n", id="a control byte in a value"),
        pytest.param(b"HTTP/1.1 200 O\x00K\r\nContent-Length: 0\r\n\r\n", id="a control byte in the phrase"),
        pytest.param(b"HTTP/1.1 200 OK\r\nX A: a\r\nContent-Length: 0\r\n\r\n", id="a name that is no token"),
        pytest.param(b"HTTP/1.1 200 OK\r\nX : a\r\nContent-Length: 0\r\n\r\n", id="a blank before the colon"),
        pytest.param(b"HTTP/1.1 200 OK\r\n: a\r\nContent-Length: 0\r\n\r\n", id="no name"),
        pytest.param(
            b"HTTP/1.1 200 OK\r\nX: " + b"x" * 65537 + b"\r\nContent-Length: 0\r\n\r\n", id="a field over 64 KiB"
        ),
        pytest.param(
            b"HTTP/1.1 200 OK\r\n"
            + b"".join(b"X%d: %b\r\n" % (n, b"x" * 1000) for n in range(70))
            + b"Content-Length: 0\r\n\r\n",
            id="a head over 64 KiB",
        ),
        pytest.param(b"HTTP/1.1 200 OK\r\n" + b"X: x\r\n" * 129 + b"\r\n", id="129 fields"),
    ],
)
async def test_an_answer_that_two_readers_could_read_differently_is_none(
    serve: Serve, connect: Connect, answer: bytes
) -> None:
    server = await serve(once(answer))
    assert not (await failure(connect(server), outgoing("POST"))).timeout


# A connection is used again only when nothing is left on it.


async def test_a_connection_is_used_again_after_a_whole_answer(serve: Serve, connect: Connect) -> None:
    server = await serve(answering(HELLO))
    upstream = connect(server)
    for _ in range(3):
        await fetch(upstream, outgoing())
    assert (server.connections, len(server.requests)) == (1, 3)


async def test_a_connection_whose_answer_was_not_read_is_not_used_again(serve: Serve, connect: Connect) -> None:
    server = await serve(answering(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhello"))
    upstream = connect(server)
    for _ in range(2):
        async with upstream.exchange(outgoing(), body()) as answer:
            assert answer.head.status == 200
    assert server.connections == 2


@pytest.mark.parametrize("said", [b"Connection: close", b"Connection: CLOSE, x"])
async def test_a_connection_that_the_upstream_wants_closed_is_closed(
    serve: Serve, connect: Connect, said: bytes
) -> None:
    server = await serve(answering(b"HTTP/1.1 200 OK\r\n%b\r\nContent-Length: 0\r\n\r\n" % said))
    upstream = connect(server)
    for _ in range(2):
        await fetch(upstream, outgoing())
    assert server.connections == 2


async def test_bytes_behind_an_answer_are_nobody_s_answer(serve: Serve, connect: Connect) -> None:
    async def script(number: int, request: Request, writer: asyncio.StreamWriter) -> bool:  # noqa: ARG001
        planted = b"HTTP/1.1 200 OK\r\nContent-Length: 7\r\n\r\nplanted"
        writer.write(HELLO + planted if number == 1 else HELLO)
        return True

    server = await serve(script)
    upstream = connect(server)
    assert [(await fetch(upstream, outgoing()))[1] for _ in range(2)] == [b"hello", b"hello"]
    assert server.connections == 2


async def test_bytes_on_an_idle_connection_are_nobody_s_answer(serve: Serve, connect: Connect) -> None:
    plant, planted = asyncio.Event(), asyncio.Event()

    async def script(number: int, request: Request, writer: asyncio.StreamWriter) -> bool:
        writer.write(HELLO)
        if number == 1:
            await plant.wait()
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 7\r\n\r\nplanted")
            await writer.drain()
            planted.set()
            await request.read_rest()
        return True

    server = await serve(script)
    upstream = connect(server)
    await fetch(upstream, outgoing())
    plant.set()
    await planted.wait()
    for _ in range(10):  # the bytes are in the kernel: some turns of the loop, and they are here
        await asyncio.sleep(0)
    assert (await fetch(upstream, outgoing()))[1] == b"hello"
    assert server.connections == 2


# Failures.


async def test_an_upstream_that_is_not_there_is_a_failure_and_no_timeout(serve: Serve, connect: Connect) -> None:
    server = await serve(answering(HELLO))
    server.url = "http://127.0.0.1:1"
    assert not (await failure(connect(server), outgoing())).timeout


async def test_a_name_that_does_not_exist_is_a_failure_and_no_timeout(serve: Serve, connect: Connect) -> None:
    server = await serve(answering(HELLO))
    server.url = "http://name.invalid:1"
    assert not (await failure(connect(server), outgoing())).timeout


async def test_a_failure_names_no_address_and_no_secret(serve: Serve, connect: Connect) -> None:
    server = await serve(once(b"junk\r\n\r\n"))
    failed = await failure(connect(server), outgoing("POST", fields=[(b"Authorization", b"Bearer hush")]))
    assert "hush" not in str(failed)
    assert "127.0.0.1" not in str(failed)


async def silent(number: int, request: Request, writer: asyncio.StreamWriter) -> bool:  # noqa: ARG001
    await request.read_rest()
    return False


async def test_an_upstream_that_says_nothing_is_a_timeout_and_its_connection_ends(
    serve: Serve, connect: Connect
) -> None:
    server = await serve(silent)
    assert (await failure(connect(server, response_timeout=0.1), outgoing())).timeout
    await server.left.wait()


async def test_an_upstream_that_does_not_take_the_body_is_a_timeout(serve: Serve, connect: Connect) -> None:
    async def script(number: int, request: Request, writer: asyncio.StreamWriter) -> bool:  # noqa: ARG001
        await request.over.wait()
        return False

    async def endless() -> AsyncIterator[bytes]:
        while True:
            yield b"x" * 65536

    server = await serve(script)
    request = outgoing("POST", has_body=True)
    assert (await failure(connect(server, response_timeout=0.2), request, endless())).timeout


async def test_waiting_for_a_free_connection_is_a_timeout_too(serve: Serve, connect: Connect) -> None:
    server = await serve(answering(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhello"))
    upstream = connect(server, max_connections=1, response_timeout=0.1)
    async with upstream.exchange(outgoing(), body()):
        assert (await failure(upstream, outgoing())).timeout
    assert server.connections == 1


async def test_the_time_for_an_answer_begins_when_the_body_is_sent(serve: Serve, connect: Connect) -> None:
    async def slow() -> AsyncIterator[bytes]:
        for _ in range(4):
            await asyncio.sleep(0.1)
            yield b"x"

    server = await serve(answering(HELLO, 4))
    request = outgoing("POST", has_body=True, length=4)
    assert (await fetch(connect(server, response_timeout=0.2), request, slow()))[1] == b"hello"


async def test_an_answer_that_has_begun_may_be_silent_for_as_long_as_it_likes(serve: Serve, connect: Connect) -> None:
    async def script(number: int, request: Request, writer: asyncio.StreamWriter) -> bool:  # noqa: ARG001
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n")
        await asyncio.sleep(0.4)
        writer.write(b"hello")
        return True

    server = await serve(script)
    assert (await fetch(connect(server, response_timeout=0.1), outgoing()))[1] == b"hello"


@pytest.mark.parametrize(
    "answer",
    [
        pytest.param(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhello", id="with a length"),
        pytest.param(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n", id="between chunks"),
        pytest.param(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\na\r\nhello", id="within a chunk"),
        pytest.param(
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n", id="before the very end"
        ),
        pytest.param(
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\nxyz\r\n", id="by a chunk that is none"
        ),
        pytest.param(
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhelloxy0\r\n\r\n", id="by a chunk too long"
        ),
    ],
)
async def test_an_answer_that_breaks_off_has_no_end(serve: Serve, connect: Connect, answer: bytes) -> None:
    server = await serve(once(answer))
    with pytest.raises(UpstreamFailed):
        await fetch(connect(server), outgoing("POST"))


# A body that breaks off.


@pytest.mark.parametrize("length", [pytest.param(10, id="with a length"), pytest.param(None, id="chunked")])
@pytest.mark.parametrize("method", ["POST", "PUT"])
async def test_a_body_that_is_refused_on_its_way_never_ends_for_the_upstream(
    serve: Serve, connect: Connect, method: str, length: int | None
) -> None:
    deny = Deny(reason=Reason.REQUEST_TIMEOUT)

    async def cut() -> AsyncIterator[bytes]:
        yield b"hello"
        raise BodyRefused(deny)

    server = await serve(silent)
    with pytest.raises(BodyRefused) as caught:
        async with connect(server).exchange(outgoing(method, has_body=True, length=length), cut()):
            pass
    assert caught.value.deny == deny
    await server.left.wait()
    (request,) = server.requests
    rest = request.partition(b"\r\n\r\n")[2]
    assert b"hello".startswith(rest) if length else b"5\r\nhello\r\n".startswith(rest)


async def test_a_body_shorter_than_its_length_is_a_failure_and_no_end(serve: Serve, connect: Connect) -> None:
    server = await serve(silent)
    request = outgoing("POST", has_body=True, length=10)
    await failure(connect(server, response_timeout=0.3), request, body(b"hello"))
    await server.left.wait()
    assert server.requests[0].partition(b"\r\n\r\n")[2] == b"hello"


async def test_an_answer_before_the_body_s_end_is_an_answer_and_the_rest_is_not_waited_for(
    serve: Serve, connect: Connect
) -> None:
    closed = asyncio.Event()

    async def endless() -> AsyncIterator[bytes]:
        try:
            yield b"hello"
            await asyncio.Event().wait()
        finally:
            closed.set()

    server = await serve(answering(b"HTTP/1.1 413 No\r\nContent-Length: 5\r\n\r\nlarge", 5))
    head, received = await fetch(connect(server), outgoing("POST", has_body=True, length=100), endless())
    assert (head.status, received) == (413, b"large")
    await closed.wait()
    await server.left.wait()
    assert server.connections == 1


# Once more, or not.


def leaving(answers: int) -> Script:
    """Answers so many requests, then ends each connection as soon as a request has come."""

    async def script(number: int, request: Request, writer: asyncio.StreamWriter) -> bool:  # noqa: ARG001
        if number > answers:
            return False
        writer.write(HELLO)
        return True

    return script


@pytest.mark.parametrize("method", ["POST", "PATCH"])
async def test_what_may_not_be_repeated_is_sent_once(serve: Serve, connect: Connect, method: str) -> None:
    server = await serve(leaving(1))
    upstream = connect(server)
    await fetch(upstream, outgoing())
    assert not (await failure(upstream, outgoing(method, length=0))).timeout
    assert len(server.requests) == 2


@pytest.mark.parametrize("method", ["GET", "HEAD", "DELETE"])
async def test_what_may_be_repeated_is_sent_twice_at_most(serve: Serve, connect: Connect, method: str) -> None:
    server = await serve(leaving(1))
    upstream = connect(server)
    await fetch(upstream, outgoing())
    assert not (await failure(upstream, outgoing(method))).timeout
    assert len(server.requests) <= 3


@pytest.mark.parametrize("length", [pytest.param(5, id="with a length"), pytest.param(None, id="chunked")])
async def test_a_put_is_never_repeated_without_its_body(serve: Serve, connect: Connect, length: int | None) -> None:
    server = await serve(leaving(1))
    upstream = connect(server)
    await fetch(upstream, outgoing())
    request = outgoing("PUT", has_body=True, length=length)
    assert not (await failure(upstream, request, body(b"hello"))).timeout
    assert len(server.requests) <= 3
    assert not any(b"Content-Length: 0" in each or b"\r\n\r\n0\r\n" in each for each in server.requests)


async def test_an_answer_that_began_is_never_asked_for_again(serve: Serve, connect: Connect) -> None:
    async def script(number: int, request: Request, writer: asyncio.StreamWriter) -> bool:  # noqa: ARG001
        writer.write(HELLO if number == 1 else b"HTTP/1.1 200 OK\r\nX")
        await writer.drain()
        return number == 1

    server = await serve(script)
    upstream = connect(server)
    await fetch(upstream, outgoing())
    await failure(upstream, outgoing())
    assert len(server.requests) == 2


async def test_closing_ends_every_connection(serve: Serve, connect: Connect) -> None:
    server = await serve(answering(HELLO))
    upstream = connect(server)
    await fetch(upstream, outgoing())
    await upstream.close()
    await server.left.wait()
    assert server.connections == 1

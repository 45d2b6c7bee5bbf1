"""What goes over a client's connection, byte for byte."""

import asyncio
import contextlib
import json
import socket
import struct
from collections.abc import Awaitable, Callable, Iterable
from itertools import repeat
from typing import NamedTuple

import msgspec
import pytest
from support.records import EVERYTHING, ZONE_A, token
from support.store_contract import MemoryTokenStore
from unit.proxy.fakes import OK, FakeUpstream
from unit.server.wire import BEARER, FakeTokenApi, Reply, Wire, door, listening

from gateway.proxy.forward import Backend, Proxy
from gateway.proxy.header_rules import UpRules
from gateway.proxy.ports import UpstreamFailed
from gateway.reason import REFUSALS, Reason
from gateway.server.handler import Door, Handler

Open = Callable[..., Awaitable[Wire]]

RECORDS = f"/client/v4/zones/{ZONE_A}/dns_records".encode()
HOST = b"Host: api.example\r\n"
END = b"\r\n"
RULES = UpRules(host=b"api.internal", credential=None, credential_fields=frozenset())


def request(
    method: bytes = b"GET",
    target: bytes = RECORDS,
    *fields: bytes,
    version: bytes = b"1.1",
    body: bytes | None = None,
    authorized: bool = True,
) -> bytes:
    """A request with our token's secret; `body` with its length."""
    lines = [HOST, *([BEARER] if authorized else []), *(field + END for field in fields)]
    if body is not None:
        lines.append(b"Content-Length: %d\r\n" % len(body))
    return b"%b %b HTTP/%b\r\n" % (method, target, version) + b"".join(lines) + END + (body or b"")


def opened(store: MemoryTokenStore, upstream: FakeUpstream, **parts: object) -> Door:
    proxy = Proxy({"cloudflare-dns": Backend(upstream=upstream, rules=RULES, base_path=())})
    return door(store, forwarder=proxy, **parts)


@pytest.fixture
def upstream() -> FakeUpstream:
    return FakeUpstream()


@pytest.fixture
async def wire(knock: Open, store: MemoryTokenStore, upstream: FakeUpstream) -> Wire:
    """A connection to a door before `upstream`."""
    return await knock(opened(store, upstream))


def check_refusal(reply: Reply, reason: Reason) -> None:
    assert (reply.status, reply.code) == (REFUSALS[reason].status, REFUSALS[reason].code)
    assert reply.field("content-type") == "application/json"
    assert reply.field("cache-control") == "no-store"
    assert len(reply.field("x-request-id")) == 32
    assert reply.values("server") == []


async def statuses(wire: Wire, data: bytes) -> list[int]:
    """Those of all answers until the connection ends."""
    wire.send(data)
    found = []
    with contextlib.suppress(asyncio.IncompleteReadError):
        while True:
            found.append((await wire.reply()).status)
    return found


async def ended(wire: Wire) -> bool:
    """Wait for the end of the connection, a clean one or not; whether nothing came before it."""
    try:
        return await wire.rest() == b""
    except ConnectionResetError:
        return True


# What is no request at all.

AUTHORIZED = b"GET %b HTTP/1.1\r\n" % RECORDS + HOST + BEARER
POSTED = b"POST %b HTTP/1.1\r\n" % RECORDS + HOST + BEARER


@pytest.mark.parametrize(
    "sent",
    [
        pytest.param(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n", id="TLS"),
        pytest.param(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", id="HTTP/2"),
        pytest.param(b"junk\r\n\r\n", id="junk"),
        pytest.param(b"GET %b\r\n" % RECORDS + HOST + BEARER + END, id="HTTP/0.9"),
        pytest.param(AUTHORIZED.replace(b"HTTP/1.1", b"HTTP/1.2") + END, id="HTTP/1.2"),
        pytest.param(AUTHORIZED.replace(b"HTTP/1.1", b"HTTP/2.0") + END, id="HTTP/2.0 in words"),
        pytest.param(AUTHORIZED.replace(b"HTTP/1.1", b"http/1.1") + END, id="a protocol in lower case"),
        pytest.param(AUTHORIZED.replace(b"GET", b"get") + END, id="a method in lower case"),
        pytest.param(AUTHORIZED.replace(b" HTTP", b"\tHTTP") + END, id="a tab for a blank"),
        pytest.param((AUTHORIZED + END).replace(b"\r\n", b"\n"), id="bare line feeds"),
        pytest.param(AUTHORIZED + b"X: a\nY: b\r\n" + END, id="a bare line feed within"),
        pytest.param(AUTHORIZED + b"X: a\rY: b\r\n" + END, id="a bare carriage return"),
        pytest.param(AUTHORIZED + b"X: a\r\n b\r\n" + END, id="a folded line"),
        pytest.param(AUTHORIZED + b"X: a\x00b\r\n" + END, id="NUL in a value"),
        pytest.param(AUTHORIZED + b"X: a\x1b[2J\r\n" + END, id="a control byte in a value"),
        pytest.param(AUTHORIZED + b"X: \xff\r\n" + END, id="a value that is not UTF-8"),
        pytest.param(AUTHORIZED + b"X : a\r\n" + END, id="a blank before the colon"),
        pytest.param(AUTHORIZED + b"X A: a\r\n" + END, id="a blank in a name"),
        pytest.param(AUTHORIZED + b": a\r\n" + END, id="no name"),
        pytest.param(AUTHORIZED + b"X\r\n" + END, id="no colon"),
        pytest.param(AUTHORIZED + b"\xc3\xa4: a\r\n" + END, id="a name that is not ASCII"),
        pytest.param(
            b"GET %b HTTP/1.1\r\n" % RECORDS + b" " + HOST + BEARER + END, id="a blank before the first field"
        ),
        pytest.param(AUTHORIZED + HOST + END, id="two Hosts"),
        pytest.param(b"GET %b HTTP/1.1\r\n" % RECORDS + BEARER + END, id="no Host"),
        pytest.param(b"CONNECT api.example:443 HTTP/1.1\r\n" + HOST + BEARER + END, id="CONNECT"),
        pytest.param(AUTHORIZED.replace(b"GET", b"TRACE") + END, id="TRACE"),
        pytest.param(b"OPTIONS * HTTP/1.1\r\n" + HOST + BEARER + END, id="asterisk form"),
        pytest.param(AUTHORIZED.replace(b"/client", b"//client") + END, id="an empty segment"),
        pytest.param(AUTHORIZED.replace(b"/client", b"/x/../client") + END, id="a dot segment"),
        pytest.param(AUTHORIZED.replace(b"/client", b"/%63lient") + END, id="an encoded letter"),
        pytest.param(AUTHORIZED.replace(b" HTTP", b"#x HTTP") + END, id="a fragment"),
        pytest.param(AUTHORIZED.replace(b" HTTP", b"?\xc3\xa4 HTTP") + END, id="a query that is not ASCII"),
        pytest.param(POSTED + b"Content-Length: 1\r\nContent-Length: 1\r\n" + END + b"x", id="two lengths"),
        pytest.param(POSTED + b"Content-Length: 1, 1\r\n" + END + b"x", id="a list of lengths"),
        pytest.param(POSTED + b"Content-Length: +1\r\n" + END + b"x", id="a length with a plus"),
        pytest.param(POSTED + b"Content-Length: -1\r\n" + END + b"x", id="a negative length"),
        pytest.param(POSTED + b"Content-Length: 0x1\r\n" + END + b"x", id="a hexadecimal length"),
        pytest.param(POSTED + b"Content-Length: \r\n" + END, id="an empty length"),
        pytest.param(POSTED + b"Content-Length: %b\r\n" % (b"9" * 30) + END, id="a length without bounds"),
        pytest.param(
            POSTED + b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n" + END + b"0\r\n\r\n",
            id="a length and chunked",
        ),
        pytest.param(
            POSTED + b"Transfer-Encoding: chunked\r\nContent-Length: 5\r\n" + END + b"0\r\n\r\n",
            id="chunked and a length",
        ),
        pytest.param(
            POSTED.replace(b"HTTP/1.1", b"HTTP/1.0") + b"Transfer-Encoding: chunked\r\n" + END + b"0\r\n\r\n",
            id="chunked in HTTP/1.0",
        ),
        pytest.param(POSTED + b"Transfer-Encoding : chunked\r\n" + END + b"0\r\n\r\n", id="a coding behind a blank"),
        pytest.param(
            POSTED + b"Upgrade: websocket\r\nConnection: Upgrade\r\nContent-Length: 1\r\n" + END + b"x",
            id="an upgrade with a body",
        ),
    ],
)
async def test_a_malformed_request_is_a_400_and_the_end_of_the_connection(
    wire: Wire, store: MemoryTokenStore, upstream: FakeUpstream, sent: bytes
) -> None:
    """And what follows it on the connection is no request."""
    reply = await wire.ask(sent + request())
    check_refusal(reply, Reason.BAD_REQUEST)
    assert reply.field("connection") == "close"
    assert await ended(wire)
    assert (store.reads, upstream.requests) == (0, [])


@pytest.mark.parametrize(
    "codings",
    [
        pytest.param([b"gzip"], id="gzip"),
        pytest.param([b"gzip, chunked"], id="gzip and chunked"),
        pytest.param([b"chunked, chunked"], id="chunked twice"),
        pytest.param([b"chunked", b"chunked"], id="chunked in two fields"),
        pytest.param([b"identity"], id="identity"),
        pytest.param([b"xchunked"], id="almost chunked"),
        pytest.param([b"chunked;a=b"], id="chunked with a parameter"),
    ],
)
async def test_any_coding_but_chunked_is_a_501_or_a_400_and_the_end_of_the_connection(
    wire: Wire, upstream: FakeUpstream, codings: list[bytes]
) -> None:
    fields = b"".join(b"Transfer-Encoding: %b\r\n" % coding for coding in codings)
    reply = await wire.ask(POSTED + fields + END + b"0\r\n\r\n" + request())
    check_refusal(reply, Reason.UNSUPPORTED_FRAMING if reply.status == 501 else Reason.BAD_REQUEST)
    assert reply.field("connection") == "close"
    assert await ended(wire)
    assert upstream.requests == []


@pytest.mark.parametrize(
    "head",
    [
        pytest.param(AUTHORIZED + b"X: x\r\n" * 127 + END, id="129 fields"),
        pytest.param(AUTHORIZED + b"X: x\r\n" * 128 + END, id="130 fields"),
        pytest.param(AUTHORIZED + b"X: x\r\n" * 1000 + END, id="1,002 fields"),
        pytest.param(AUTHORIZED + b"X: %b\r\n" % (b"x" * 65536) + END, id="a value of 64 KiB"),
        pytest.param(AUTHORIZED + b"%b: x\r\n" % (b"x" * 65537) + END, id="a name over 64 KiB"),
        pytest.param(AUTHORIZED + b"X: %b\r\n" % (b"x" * 700) * 100 + END, id="64 KiB in all"),
        pytest.param(b"GET /%b HTTP/1.1\r\n" % (b"x" * 65537) + HOST + BEARER + END, id="a target over 64 KiB"),
        pytest.param(b"GET /?%b HTTP/1.1\r\n" % (b"x" * 65536) + HOST + BEARER + END, id="a query of 64 KiB"),
    ],
)
async def test_a_head_beyond_the_limits_is_a_431(wire: Wire, upstream: FakeUpstream, head: bytes) -> None:
    check_refusal(await wire.ask(head), Reason.HEAD_TOO_LARGE)
    assert await ended(wire)
    assert upstream.requests == []


async def test_128_fields_and_a_value_of_60_kib_pass(wire: Wire) -> None:
    assert (await wire.ask(AUTHORIZED + b"X: x\r\n" * 126 + END)).status == 200
    assert (await wire.ask(AUTHORIZED + b"X: %b\r\n" % (b"x" * 61440) + END)).status == 200


async def test_one_byte_at_a_time_reads_alike(wire: Wire, upstream: FakeUpstream) -> None:
    for octet in request(b"POST", RECORDS, b"Transfer-Encoding: chunked") + b"3\r\nabc\r\n0\r\n\r\n":
        wire.send(bytes([octet]))
        await asyncio.sleep(0)
    assert (await wire.reply()).body == b"hello"
    assert upstream.bodies == [b"abc"]


# Bodies on their way up.


@pytest.mark.parametrize(
    ("framing", "sent", "length"),
    [
        pytest.param(b"Content-Length: 6", b"abcdef", 6, id="with a length"),
        pytest.param(b"Transfer-Encoding: chunked", b"3\r\nabc\r\n3\r\ndef\r\n0\r\n\r\n", None, id="chunked"),
        pytest.param(
            b"Transfer-Encoding: Chunked", b"6;a=b\r\nabcdef\r\n0\r\nX-Late: x\r\n\r\n", None, id="with trailers"
        ),
    ],
)
async def test_a_body_is_framed_anew(
    wire: Wire, upstream: FakeUpstream, framing: bytes, sent: bytes, length: int | None
) -> None:
    assert (await wire.ask(request(b"POST", RECORDS, framing) + sent)).body == b"hello"
    (seen,) = upstream.requests
    assert (seen.has_body, seen.length, upstream.bodies) == (True, length, [b"abcdef"])
    assert b"X-Late" not in [name for name, _ in seen.fields]


@pytest.mark.parametrize(
    "trailer",
    [
        pytest.param(b"X-Late: x", id="an unknown field"),
        pytest.param(b"If-Match: x", id="a condition"),
        pytest.param(b"Content-Length: 9", id="a length"),
        pytest.param(BEARER[:-2], id="a credential"),
    ],
)
async def test_a_trailer_is_no_field_of_the_next_request(wire: Wire, upstream: FakeUpstream, trailer: bytes) -> None:
    """On a proxy's connection the next request is somebody else's."""
    first = request(b"POST", RECORDS, b"Transfer-Encoding: chunked") + b"3\r\nabc\r\n0\r\n" + trailer + b"\r\n\r\n"
    second = request(b"GET", RECORDS, CLOSE, authorized=b"Bearer" not in trailer)
    answers = await statuses(wire, first + second)
    assert answers in ([400], [200], [200, 401] if b"Bearer" in trailer else [200, 200])
    name, _, value = trailer.partition(b": ")
    for seen in upstream.requests:
        assert value not in [found for field, found in seen.fields if field == name]
        assert seen.has_body is (seen.method == "POST")


@pytest.mark.parametrize(
    "chunks",
    [
        pytest.param(b"3\r\nabc\r\nxyz\r\n", id="a size that is none"),
        pytest.param(b"3\r\nabcde\r\n0\r\n\r\n", id="a chunk longer than its size"),
        pytest.param(b"-3\r\nabc\r\n0\r\n\r\n", id="a negative size"),
        pytest.param(b"0x3\r\nabc\r\n0\r\n\r\n", id="a size with a prefix"),
        pytest.param(b"+3\r\nabc\r\n0\r\n\r\n", id="a size with a plus"),
        pytest.param(b"3 \r\nabc\r\n0\r\n\r\n", id="a blank behind a size"),
        pytest.param(b"3\nabc\n0\n\n", id="bare line feeds"),
        pytest.param(b"3\r\nabc0\r\n\r\n", id="no line end behind a chunk"),
        pytest.param(b"\r\n", id="no size"),
        pytest.param(b"ffffffffffffffffff\r\nabc", id="a size without bounds"),
        pytest.param(b"0\r\nContent-Length\r\n\r\n", id="a trailer without a colon"),
    ],
)
async def test_a_malformed_chunk_ends_the_connection_and_never_the_upstream_s_body(
    wire: Wire, upstream: FakeUpstream, chunks: bytes
) -> None:
    wire.send(request(b"POST", RECORDS, b"Transfer-Encoding: chunked") + chunks + request())
    with contextlib.suppress(asyncio.IncompleteReadError, ConnectionResetError):
        check_refusal(await wire.reply(), Reason.BAD_REQUEST)
    assert await ended(wire)
    assert upstream.bodies == []
    assert len(upstream.requests) <= 1


@pytest.mark.parametrize(
    ("framing", "part"),
    [
        pytest.param(b"Content-Length: 6", b"abc", id="with a length"),
        pytest.param(b"Transfer-Encoding: chunked", b"3\r\nabc\r\n", id="chunked"),
    ],
)
async def test_a_body_that_is_cut_never_ends_for_the_upstream(
    store: MemoryTokenStore, framing: bytes, part: bytes
) -> None:
    upstream = FakeUpstream()
    async with listening(Handler(opened(store, upstream))) as port:
        cut = Wire(*await asyncio.open_connection("127.0.0.1", port))
        cut.send(request(b"POST", RECORDS, framing) + part)
        await upstream.begun.wait()
        cut.writer.write_eof()
        assert await ended(cut)
        await upstream.over.wait()
        await cut.close()
    assert (len(upstream.requests), upstream.bodies) == (1, [])


async def test_a_body_that_stalls_is_a_408_and_never_ends_for_the_upstream(
    knock: Open, store: MemoryTokenStore, upstream: FakeUpstream
) -> None:
    wire = await knock(opened(store, upstream, body_idle_timeout=0.05))
    reply = await wire.ask(request(b"POST", RECORDS, b"Content-Length: 6") + b"abc")
    check_refusal(reply, Reason.REQUEST_TIMEOUT)
    assert reply.field("connection") == "close"
    assert await ended(wire)
    assert upstream.bodies == []


async def test_a_body_announced_as_too_large_is_a_413_and_the_upstream_sees_nothing(
    knock: Open, store: MemoryTokenStore, upstream: FakeUpstream
) -> None:
    wire = await knock(opened(store, upstream, max_body=10))
    check_refusal(await wire.ask(request(b"POST", body=b"x" * 11)), Reason.BODY_TOO_LARGE)
    assert upstream.requests == []
    assert (await wire.ask(request(b"POST", body=b"x" * 10))).status == 200


async def test_a_body_that_grows_too_large_is_a_413_and_never_ends_for_the_upstream(
    knock: Open, store: MemoryTokenStore, upstream: FakeUpstream
) -> None:
    behind = opened(store, upstream, max_body=10)
    chunked = request(b"POST", RECORDS, b"Transfer-Encoding: chunked")
    assert (await (await knock(behind)).ask(chunked + b"a\r\n0123456789\r\n0\r\n\r\n")).status == 200
    wire = await knock(behind)
    reply = await wire.ask(chunked + b"a\r\n0123456789\r\n1\r\nx\r\n0\r\n\r\n")
    check_refusal(reply, Reason.BODY_TOO_LARGE)
    assert await ended(wire)
    assert upstream.bodies == [b"0123456789"]


async def test_without_a_limit_any_body_passes(knock: Open, store: MemoryTokenStore, upstream: FakeUpstream) -> None:
    wire = await knock(opened(store, upstream, max_body=0))
    assert (await wire.ask(request(b"POST", body=b"x" * 1_000_000))).status == 200
    assert [len(body) for body in upstream.bodies] == [1_000_000]


# Expect: 100-continue.

EXPECT = b"Expect: 100-continue"


async def test_a_100_comes_when_the_body_is_wanted_and_not_before(wire: Wire, upstream: FakeUpstream) -> None:
    wire.send(request(b"POST", RECORDS, EXPECT, b"Content-Length: 3"))
    assert await wire.reader.readexactly(25) == b"HTTP/1.1 100 Continue\r\n\r\n"
    assert (await wire.ask(b"abc")).body == b"hello"
    assert upstream.bodies == [b"abc"]
    assert not any(name.lower() == b"expect" for name, _ in upstream.requests[0].fields)
    assert (await wire.ask(request())).status == 200


async def test_the_token_api_asks_for_a_body_too(knock: Open) -> None:
    api = FakeTokenApi()
    wire = await knock(door(MemoryTokenStore().hold(token(EVERYTHING)), token_api=api))
    wire.send(request(b"POST", b"/client/v4/user/tokens", EXPECT, b"Content-Length: 2"))
    assert await wire.reader.readexactly(25) == b"HTTP/1.1 100 Continue\r\n\r\n"
    assert (await wire.ask(b"{}")).status == 200
    assert api.calls[0][1].body == b"{}"


@pytest.mark.parametrize(
    "head",
    [
        pytest.param(request(b"POST", RECORDS, EXPECT, b"Content-Length: 3", authorized=False), id="no credential"),
        pytest.param(request(b"POST", b"/nowhere", EXPECT, b"Content-Length: 3"), id="no route"),
        pytest.param(request(b"POST", RECORDS, EXPECT, b"Content-Length: 100001"), id="too large a body"),
        pytest.param(request(b"POST", RECORDS, EXPECT, b"Content-Length: 3", HOST[:-2]), id="a malformed head"),
    ],
)
async def test_a_refused_expectation_gets_no_100_and_the_end_of_the_connection(
    wire: Wire, upstream: FakeUpstream, head: bytes
) -> None:
    reply = await wire.ask(head)
    assert reply.line.startswith(b"HTTP/1.1 4")
    assert reply.field("connection") == "close"
    wire.send(request())
    assert await ended(wire)
    assert upstream.requests == []


async def test_an_answer_that_needs_no_body_gets_no_100_either_and_ends_the_connection(
    knock: Open, store: MemoryTokenStore
) -> None:
    wire = await knock(opened(store, FakeUpstream(reads_body=False)))
    reply = await wire.ask(request(b"POST", RECORDS, EXPECT, b"Content-Length: 3"))
    assert (reply.line, reply.field("connection")) == (b"HTTP/1.1 200 OK", "close")
    assert await ended(wire)


async def test_http_1_0_gets_no_100(wire: Wire, upstream: FakeUpstream) -> None:
    reply = await wire.ask(request(b"POST", RECORDS, EXPECT, version=b"1.0", body=b"abc"))
    assert reply.line == b"HTTP/1.1 200 OK"
    assert upstream.bodies == [b"abc"]


# What is left of a body.


async def test_the_rest_of_a_refused_body_is_drained_and_the_connection_goes_on(
    wire: Wire, upstream: FakeUpstream
) -> None:
    reply = await wire.ask(request(b"POST", RECORDS, b"Content-Length: 60000", authorized=False))
    assert (reply.status, reply.values("connection")) == (401, [])
    wire.send(b"x" * 60000)
    assert (await wire.ask(request())).status == 200
    assert len(upstream.requests) == 1


@pytest.mark.parametrize(
    "framing",
    [
        pytest.param(lambda body: b"Content-Length: %d\r\n\r\n%b" % (len(body), body), id="with a length"),
        pytest.param(
            lambda body: b"Transfer-Encoding: chunked\r\n\r\n%x\r\n%b\r\n0\r\n\r\n" % (len(body), body), id="chunked"
        ),
    ],
)
async def test_a_request_in_a_refused_body_is_no_request(
    wire: Wire, upstream: FakeUpstream, framing: Callable[[bytes], bytes]
) -> None:
    hidden = request(b"DELETE", RECORDS + b"/" + b"e" * 32)
    refused = request(b"POST", RECORDS, authorized=False)[:-2] + framing(hidden)
    assert await statuses(wire, refused + request(b"GET", RECORDS, CLOSE)) in ([401], [401, 200])
    assert [seen.method for seen in upstream.requests] in ([], ["GET"])


async def test_more_than_64_kib_are_not_waited_for_and_the_connection_ends(wire: Wire, upstream: FakeUpstream) -> None:
    refused = request(b"POST", RECORDS, b"Content-Length: 1000000", authorized=False)
    check_refusal(await wire.ask(refused + request() * 1000), Reason.MISSING_CREDENTIALS)
    assert await ended(wire)
    assert upstream.requests == []


async def test_a_rest_that_does_not_come_within_a_second_ends_the_connection(wire: Wire) -> None:
    reply = await wire.ask(request(b"POST", RECORDS, b"Content-Length: 10", authorized=False) + b"abc")
    assert reply.status == 401
    assert await ended(wire)


async def test_a_body_that_the_upstream_did_not_read_is_drained(knock: Open, store: MemoryTokenStore) -> None:
    upstream = FakeUpstream(reads_body=False)
    wire = await knock(opened(store, upstream))
    for _ in range(2):
        assert (await wire.ask(request(b"POST", body=b"abc"))).status == 200
    assert [seen.method for seen in upstream.requests] == ["POST", "POST"]


# Answers on their way down.


def answering(*, pieces: Iterable[bytes] = (b"he", b"llo"), **parts: object) -> FakeUpstream:
    return FakeUpstream(msgspec.structs.replace(OK, **parts), pieces)


async def raw(wire: Wire, data: bytes) -> list[bytes]:
    """The lines of the answer to a request that ends its connection."""
    wire.send(data)
    return (await wire.rest()).split(b"\r\n")


CLOSE = b"Connection: close"
GET, HEAD = request(b"GET", RECORDS, CLOSE), request(b"HEAD", RECORDS, CLOSE)


class Framing(NamedTuple):
    """How an answer of `upstream` is framed: by which fields, and as what."""

    sent: bytes
    upstream: FakeUpstream
    fields: list[bytes]
    lines: list[bytes]


NO_CONTENT = answering(status=204, phrase="No Content", has_body=False, length=None)
NOT_MODIFIED = answering(status=304, phrase="Not Modified", has_body=False)
LENGTH, CHUNKED = b"Content-Length: 5", b"Transfer-Encoding: chunked"
OLD = request(version=b"1.0")
OLD_ASKING = request(b"GET", RECORDS, b"Connection: keep-alive", version=b"1.0")


@pytest.mark.parametrize(
    "case",
    [
        pytest.param(Framing(GET, answering(), [LENGTH], [b"hello"]), id="with a length"),
        pytest.param(
            Framing(GET, answering(length=None), [CHUNKED], [b"2", b"he", b"3", b"llo", b"0", b"", b""]),
            id="of unknown length",
        ),
        pytest.param(Framing(GET, answering(length=0, pieces=()), [b"Content-Length: 0"], [b""]), id="empty"),
        pytest.param(
            Framing(GET, answering(length=None, pieces=()), [CHUNKED], [b"0", b"", b""]),
            id="empty, of unknown length",
        ),
        pytest.param(Framing(HEAD, answering(has_body=False), [LENGTH], [b""]), id="to HEAD"),
        pytest.param(Framing(HEAD, answering(has_body=False, length=None), [], [b""]), id="to HEAD, of unknown length"),
        pytest.param(Framing(GET, NO_CONTENT, [], [b""]), id="204"),
        pytest.param(Framing(GET, NOT_MODIFIED, [LENGTH], [b""]), id="304"),
        pytest.param(
            Framing(GET, answering(status=304, phrase="", has_body=False, length=None), [], [b""]),
            id="304 without a length",
        ),
        pytest.param(Framing(OLD, answering(), [LENGTH], [b"hello"]), id="to HTTP/1.0"),
        pytest.param(Framing(OLD_ASKING, answering(length=None), [], [b"hello"]), id="to HTTP/1.0, of unknown length"),
    ],
)
async def test_an_answer_is_framed_for_the_client_that_asked(
    knock: Open, store: MemoryTokenStore, case: Framing
) -> None:
    wire = await knock(opened(store, case.upstream))
    line, *lines = await raw(wire, case.sent)
    end = lines.index(b"")
    assert line == f"HTTP/1.1 {case.upstream.head.status} {case.upstream.head.phrase}".encode()
    assert [field for field in lines[:end] if field.startswith((b"Content-L", b"Transfer-"))] == case.fields
    assert [field for field in lines[:end] if field.startswith(b"Connection")] == [CLOSE]
    assert b"Content-Type: text/plain" in lines[:end]
    assert lines[end + 1 :] == case.lines


async def test_an_answer_of_ours_has_a_date_and_no_server(wire: Wire) -> None:
    reply = await wire.ask(request(authorized=False))
    assert reply.field("date").endswith(" GMT")
    assert {name for name, _ in reply.fields} == {
        "content-type",
        "cache-control",
        "www-authenticate",
        "x-request-id",
        "date",
        "content-length",
    }


async def test_a_relayed_answer_has_the_upstream_s_fields_and_two_of_ours(wire: Wire) -> None:
    reply = await wire.ask(request())
    assert {name for name, _ in reply.fields} == {"content-type", "cache-control", "x-request-id", "content-length"}


async def test_a_phrase_that_no_line_can_hold_is_made_plain(knock: Open, store: MemoryTokenStore) -> None:
    wire = await knock(opened(store, answering(phrase="S\udcffo\u20ac")))
    assert (await wire.ask(request())).line == b"HTTP/1.1 200 S?o?"


@pytest.mark.parametrize(
    ("sent", "length"),
    [
        pytest.param(request(), 10, id="with a length"),
        pytest.param(request(), None, id="chunked"),
        pytest.param(request(version=b"1.0"), 10, id="to HTTP/1.0"),
        pytest.param(request(version=b"1.0"), None, id="to HTTP/1.0, ended by the connection alone"),
    ],
)
@pytest.mark.parametrize("pieces", [pytest.param((), id="at once"), pytest.param((b"hello",), id="in the middle")])
async def test_an_answer_that_breaks_off_never_ends_cleanly(
    knock: Open, store: MemoryTokenStore, sent: bytes, length: int | None, pieces: tuple[bytes, ...]
) -> None:
    head = msgspec.structs.replace(OK, length=length)
    wire = await knock(opened(store, FakeUpstream(head, pieces, breaks=UpstreamFailed("gone"))))
    wire.send(sent)
    with pytest.raises((asyncio.IncompleteReadError, ConnectionResetError)):
        await wire.reply()


async def test_a_client_that_leaves_ends_the_exchange_with_the_upstream(store: MemoryTokenStore) -> None:
    head = msgspec.structs.replace(OK, length=None)
    upstream = FakeUpstream(head, repeat(b"x" * 65536))
    async with listening(Handler(opened(store, upstream))) as port:
        wire = Wire(*await asyncio.open_connection("127.0.0.1", port))
        wire.send(request())
        await upstream.begun.wait()
        wire.writer.transport.abort()
        await upstream.over.wait()
        await wire.close()
    assert len(upstream.requests) == 1


# The connection.


async def test_requests_sent_together_are_answered_in_their_order(wire: Wire, upstream: FakeUpstream) -> None:
    wire.send(request() + request(b"POST", body=b"abc") + request(b"GET", b"/nowhere") + request())
    assert [(await wire.reply()).status for _ in range(4)] == [200, 200, 404, 200]
    assert [seen.method for seen in upstream.requests] == ["GET", "POST", "GET"]


@pytest.mark.parametrize(
    ("sent", "said"),
    [
        pytest.param(request(), [], id="HTTP/1.1"),
        pytest.param(
            request(b"GET", RECORDS, b"Connection: keep-alive", version=b"1.0"), ["keep-alive"], id="HTTP/1.0 that asks"
        ),
    ],
)
async def test_a_connection_stays_open(wire: Wire, sent: bytes, said: list[str]) -> None:
    for _ in range(3):
        reply = await wire.ask(sent)
        assert (reply.status, reply.values("connection")) == (200, said)


@pytest.mark.parametrize(
    "sent",
    [
        pytest.param(request(b"GET", RECORDS, CLOSE), id="HTTP/1.1 that asks"),
        pytest.param(request(b"GET", RECORDS, b"connection: Close"), id="in another case"),
        pytest.param(request(b"GET", RECORDS, version=b"1.0"), id="HTTP/1.0"),
        pytest.param(request(b"GET", b"/nowhere", CLOSE), id="refused"),
    ],
)
async def test_a_connection_is_closed_when_the_client_wants_it(wire: Wire, sent: bytes) -> None:
    reply = await wire.ask(sent + request())
    assert reply.field("connection") == "close"
    assert await ended(wire)


@pytest.mark.parametrize("upgrade", [b"websocket", b"h2c", b"TLS/1.0"])
async def test_an_upgrade_is_dropped_and_the_request_goes_on(
    wire: Wire, upstream: FakeUpstream, upgrade: bytes
) -> None:
    fields = (b"Connection: Upgrade, HTTP2-Settings", b"Upgrade: " + upgrade, b"HTTP2-Settings: AAMAAABk")
    assert (await wire.ask(request(b"GET", RECORDS, *fields))).status == 200
    (seen,) = upstream.requests
    names = {name.lower() for name, _ in seen.fields}
    assert names.isdisjoint({b"upgrade", b"http2-settings", b"connection"})


@pytest.mark.parametrize("upgrade", [b"websocket", b"h2c", b"TLS/1.0"])
async def test_no_request_behind_an_upgrade_is_lost_unless_the_connection_ends(
    knock: Open, store: MemoryTokenStore, upstream: FakeUpstream, upgrade: bytes
) -> None:
    """Lost in the middle, each later answer would be taken for that of the request before."""
    wire = await knock(opened(store, upstream), keepalive_timeout=0.2)
    wire.send(request(b"GET", RECORDS, b"Connection: Upgrade", b"Upgrade: " + upgrade) + request(b"POST", body=b""))
    first = await wire.reply()
    if first.values("connection") != ["close"]:
        assert (await wire.reply()).status == 200
    assert await ended(wire)
    assert [seen.method for seen in upstream.requests] in (["GET", "POST"], ["GET"])


async def test_an_idle_connection_is_closed(knock: Open, store: MemoryTokenStore, upstream: FakeUpstream) -> None:
    behind = opened(store, upstream)
    never_asked = await knock(behind, keepalive_timeout=0.05)
    asked = await knock(behind, keepalive_timeout=0.05)
    assert (await asked.ask(request())).status == 200
    assert await ended(asked)
    assert await ended(never_asked)


async def test_a_client_that_resets_its_connection_disturbs_nobody(
    knock: Open, store: MemoryTokenStore, upstream: FakeUpstream
) -> None:
    behind = opened(store, upstream)
    rude = await knock(behind)
    rude.writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    rude.send(request(b"POST", RECORDS, b"Content-Length: 100") + b"x")
    await rude.writer.drain()
    rude.writer.transport.abort()
    assert (await (await knock(behind)).ask(request())).status == 200


async def test_every_byte_of_a_refusal_is_json_in_ascii(wire: Wire) -> None:
    reply = await wire.ask(request(b"GET", b"/%C3%A4"))
    assert json.loads(reply.body.decode("ascii"))["success"] is False

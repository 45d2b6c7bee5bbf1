"""What goes over a client's connection, byte for byte."""

import asyncio
import contextlib
import json
import socket
import struct
from collections.abc import Callable
from ipaddress import ip_network
from typing import Any, NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.records import EVERYTHING, token
from unit.server.conftest import Hold, Knock, Serve
from unit.server.wire import (
    BEARER,
    CLOSE,
    HOST,
    NOWHERE,
    OK,
    RECORDS,
    TOKENS,
    FakeRelay,
    FakeTokenApi,
    Meet,
    Met,
    Tokens,
    Upstream,
    Way,
    Wire,
    check_refusal,
    door,
    meeting,
    request,
)

from gateway.reason import Deny, Reason
from gateway.server.client_connection import State
from gateway.telemetry.access_log import AccessLog

END = b"\r\n"
ONCE = pytest.mark.parametrize("way", [pytest.param(Way.AT_ONCE, id="")], indirect=True)
"""What does not get as far as a request does not differ by the way of its answer."""
RESET = struct.pack("ii", 1, 0)


@pytest.fixture
def upstream() -> Upstream:
    return Upstream()


@pytest.fixture
async def wire(knock: Knock, serve: Serve, store: Tokens, upstream: Upstream) -> Wire:
    """A connection to a door before `upstream`."""
    return await knock(door(store, forwarder=await serve(upstream)))


async def statuses(wire: Wire, data: bytes) -> list[int]:
    """Those of all answers until the connection ends."""
    wire.send(data)
    found = []
    with contextlib.suppress(asyncio.IncompleteReadError):
        while True:
            found.append((await wire.reply()).status)
    return found


# What is no request at all.

AUTHORIZED = b"GET %b HTTP/1.1\r\n%b\r\n%b\r\n" % (RECORDS, HOST, BEARER)
POSTED = AUTHORIZED.replace(b"GET", b"POST", 1)


@ONCE
@pytest.mark.parametrize(
    "sent",
    [
        pytest.param(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n", id="TLS"),
        pytest.param(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", id="HTTP/2"),
        pytest.param(b"junk\r\n\r\n", id="junk"),
        pytest.param(AUTHORIZED.replace(b" HTTP/1.1", b"") + END, id="HTTP/0.9"),
        pytest.param(AUTHORIZED.replace(b"HTTP/1.1", b"HTTP/1.2") + END, id="HTTP/1.2"),
        pytest.param(AUTHORIZED.replace(b"HTTP/1.1", b"HTTP/2.0") + END, id="HTTP/2.0 in words"),
        pytest.param(AUTHORIZED.replace(b"HTTP/1.1", b"http/1.1") + END, id="a protocol in lower case"),
        pytest.param(AUTHORIZED.replace(b" HTTP", b"\tHTTP") + END, id="a tab for a blank"),
        pytest.param((AUTHORIZED + END).replace(b"\r\n", b"\n"), id="bare line feeds"),
        pytest.param(AUTHORIZED + b"X: a\nY: b\r\n" + END, id="a bare line feed within"),
        pytest.param(AUTHORIZED + b"X: a\rY: b\r\n" + END, id="a bare carriage return"),
        pytest.param(AUTHORIZED + b"X: a\r\n b\r\n" + END, id="a folded line"),
        pytest.param(AUTHORIZED + b"X: a\x00b\r\n" + END, id="NUL in a value"),
        pytest.param(AUTHORIZED + b"X: a\x1b[2J\r\n" + END, id="a control byte in a value"),
        pytest.param(AUTHORIZED + b"X : a\r\n" + END, id="a blank before the colon"),
        pytest.param(AUTHORIZED + b"X A: a\r\n" + END, id="a blank in a name"),
        pytest.param(AUTHORIZED + b": a\r\n" + END, id="no name"),
        pytest.param(AUTHORIZED + b"X\r\n" + END, id="no colon"),
        pytest.param(AUTHORIZED + b"\xc3\xa4: a\r\n" + END, id="a name that is not ASCII"),
        pytest.param(AUTHORIZED.replace(HOST, b" " + HOST) + END, id="a blank before the first field"),
        pytest.param(AUTHORIZED + HOST + END + END, id="two Hosts"),
        pytest.param(AUTHORIZED.replace(HOST + END, b"") + END, id="no Host"),
        pytest.param(AUTHORIZED.replace(b"GET " + RECORDS, b"CONNECT api.example:443") + END, id="CONNECT"),
        pytest.param(AUTHORIZED.replace(b"GET", b"TRACE") + END, id="TRACE"),
        pytest.param(AUTHORIZED.replace(b"GET " + RECORDS, b"OPTIONS *") + END, id="asterisk form"),
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
    wire: Wire, store: Tokens, upstream: Upstream, sent: bytes
) -> None:
    """And what follows it on the connection is no request."""
    reply = await wire.ask(sent + request())
    check_refusal(reply, Reason.BAD_REQUEST)
    assert reply.field("connection") == "close"
    assert await wire.rest() == b""
    assert (store.reads, upstream.requests) == (0, [])


@ONCE
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
async def test_any_coding_but_chunked_is_a_501_and_the_end_of_the_connection(
    wire: Wire, upstream: Upstream, codings: list[bytes]
) -> None:
    fields = b"".join(b"Transfer-Encoding: %b\r\n" % coding for coding in codings)
    reply = await wire.ask(POSTED + fields + END + b"0\r\n\r\n" + request())
    check_refusal(reply, Reason.UNSUPPORTED_FRAMING)
    assert reply.field("connection") == "close"
    assert await wire.rest() == b""
    assert upstream.requests == []


@ONCE
@pytest.mark.parametrize(
    "head",
    [
        pytest.param(AUTHORIZED + b"X: x\r\n" * 127 + END, id="129 fields"),
        pytest.param(AUTHORIZED + b"X: x\r\n" * 1000 + END, id="1,002 fields"),
        pytest.param(AUTHORIZED + b"X: %b\r\n" % (b"x" * 65536) + END, id="a value of 64 KiB"),
        pytest.param(AUTHORIZED + b"X: " + b"x" * 65536, id="a value that does not end"),
        pytest.param(AUTHORIZED + b"%b: x\r\n" % (b"x" * 65537) + END, id="a name over 64 KiB"),
        pytest.param(AUTHORIZED + b"X: %b\r\n" % (b"x" * 700) * 100 + END, id="64 KiB in all"),
        pytest.param(request(b"/" + b"x" * 65537), id="a target over 64 KiB"),
        pytest.param(request(b"/?" + b"x" * 65536), id="a query of 64 KiB"),
    ],
)
async def test_a_head_beyond_the_limits_is_a_431(wire: Wire, upstream: Upstream, head: bytes) -> None:
    check_refusal(await wire.ask(head), Reason.HEAD_TOO_LARGE)
    assert await wire.rest() == b""
    assert upstream.requests == []


async def test_128_fields_and_a_value_of_60_kib_pass(wire: Wire) -> None:
    assert (await wire.ask(AUTHORIZED + b"X: x\r\n" * 126 + END)).status == 200
    assert (await wire.ask(AUTHORIZED + b"X: %b\r\n" % (b"x" * 61440) + END)).status == 200


async def test_one_byte_at_a_time_reads_alike(wire: Wire, upstream: Upstream) -> None:
    for octet in request(RECORDS, b"Transfer-Encoding: chunked", method=b"POST") + b"3\r\nabc\r\n0\r\n\r\n":
        wire.send(bytes([octet]))
        await asyncio.sleep(0)
    assert (await wire.reply()).body == b"hello"
    assert upstream.bodies == [b"abc"]


# Bodies on their way up.

CHUNKED = b"Transfer-Encoding: chunked"


@pytest.mark.parametrize(
    ("framing", "sent", "sent_up"),
    [
        pytest.param(b"Content-Length: 6", b"abcdef", [b"6"], id="with a length"),
        pytest.param(CHUNKED, b"3\r\nabc\r\n3\r\ndef\r\n0\r\n\r\n", [], id="chunked"),
        pytest.param(
            b"Transfer-Encoding: Chunked", b"6;a=b\r\nabcdef\r\n0\r\nX-Late: x\r\n\r\n", [], id="with trailers"
        ),
    ],
)
async def test_a_body_is_framed_anew(
    wire: Wire, upstream: Upstream, framing: bytes, sent: bytes, sent_up: list[bytes]
) -> None:
    assert (await wire.ask(request(RECORDS, framing, method=b"POST") + sent)).body == b"hello"
    (seen,) = upstream.requests
    assert (seen.body, seen.values(b"content-length")) == (b"abcdef", sent_up)
    assert seen.values(b"transfer-encoding") == ([] if sent_up else [b"chunked"])
    assert seen.values(b"x-late") == []


@pytest.mark.parametrize("framing", [b"Content-Length: 6", CHUNKED])
async def test_a_body_in_pieces_goes_up_as_it_comes(knock: Knock, serve: Serve, store: Tokens, framing: bytes) -> None:
    upstream = Upstream(reads_body=False)
    wire = await knock(door(store, forwarder=await serve(upstream)))
    wire.send(request(RECORDS, framing, method=b"POST"))
    assert (await wire.reply()).body == b"hello"  # the upstream answers before the body has come


@pytest.mark.parametrize(
    "trailer",
    [
        pytest.param(b"X-Late: x", id="an unknown field"),
        pytest.param(b"If-Match: x", id="a condition"),
        pytest.param(b"Content-Length: 9", id="a length"),
        pytest.param(BEARER, id="a credential"),
    ],
)
async def test_a_trailer_is_no_field_of_the_next_request(wire: Wire, upstream: Upstream, trailer: bytes) -> None:
    """On a proxy's connection the next request is somebody else's."""
    first = request(RECORDS, CHUNKED, method=b"POST") + b"3\r\nabc\r\n0\r\n" + trailer + b"\r\n\r\n"
    second = request(RECORDS, CLOSE, authorized=trailer != BEARER)
    assert await statuses(wire, first + second) == ([200, 401] if trailer == BEARER else [200, 200])
    name, _, value = trailer.partition(b": ")
    for seen in upstream.requests:
        assert value not in seen.values(name.lower())
        assert seen.body == (b"abc" if seen.method == b"POST" else b"")


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
async def test_a_malformed_chunk_is_a_400_and_never_the_end_of_the_upstream_s_body(
    wire: Wire, upstream: Upstream, chunks: bytes
) -> None:
    reply = await wire.ask(request(RECORDS, CHUNKED, method=b"POST") + chunks + request())
    check_refusal(reply, Reason.BAD_REQUEST)
    assert reply.field("connection") == "close"
    assert await wire.rest() == b""
    assert upstream.bodies == []
    assert len(upstream.requests) <= 1


@pytest.mark.parametrize(
    ("framing", "part"),
    [
        pytest.param(b"Content-Length: 6", b"abc", id="with a length"),
        pytest.param(CHUNKED, b"3\r\nabc\r\n", id="chunked"),
    ],
)
async def test_a_body_that_breaks_off_never_ends_for_the_upstream(
    wire: Wire, upstream: Upstream, framing: bytes, part: bytes
) -> None:
    wire.send(request(RECORDS, framing, method=b"POST") + part)
    await upstream.begun.wait()
    wire.writer.write_eof()
    assert await wire.ended()
    await upstream.over.wait()
    assert [seen.body for seen in upstream.requests] == [None]


@pytest.mark.parametrize(
    ("framing", "part"),
    [
        pytest.param(b"Content-Length: 6", b"", id="with a length"),
        pytest.param(b"Content-Length: 6", b"abc", id="with a length, begun"),
        pytest.param(CHUNKED, b"3\r\nab", id="chunked"),
    ],
)
@pytest.mark.parametrize("target", [RECORDS, TOKENS])
async def test_a_body_that_stops_coming_is_a_408_and_never_ends_for_the_upstream(
    knock: Knock, serve: Serve, hold: Hold, upstream: Upstream, target: bytes, framing: bytes, part: bytes
) -> None:
    api = FakeTokenApi()
    behind = door(hold(token(EVERYTHING)), forwarder=await serve(upstream), token_api=api, body_idle_timeout=0.05)
    wire = await knock(behind)
    reply = await wire.ask(request(target, framing, method=b"POST") + part)
    check_refusal(reply, Reason.REQUEST_TIMEOUT)
    assert reply.field("connection") == "close"
    assert await wire.rest() == b""
    assert (upstream.bodies, api.calls) == ([], [])


async def test_a_body_that_announces_more_than_the_limit_is_a_413_and_nothing_goes_up(
    wire: Wire, upstream: Upstream
) -> None:
    reply = await wire.ask(request(RECORDS, b"Content-Length: 100001", method=b"POST"))
    check_refusal(reply, Reason.BODY_TOO_LARGE)
    assert upstream.requests == []


async def test_a_body_that_grows_too_large_is_a_413_and_never_ends_for_the_upstream(
    knock: Knock, serve: Serve, store: Tokens, upstream: Upstream
) -> None:
    behind = door(store, forwarder=await serve(upstream), max_body=10)
    chunked = request(RECORDS, CHUNKED, method=b"POST")
    assert (await (await knock(behind)).ask(chunked + b"a\r\n0123456789\r\n0\r\n\r\n")).status == 200
    wire = await knock(behind)
    reply = await wire.ask(chunked + b"a\r\n0123456789\r\n1\r\nx\r\n0\r\n\r\n")
    check_refusal(reply, Reason.BODY_TOO_LARGE)
    assert await wire.rest() == b""
    assert upstream.bodies == [b"0123456789"]


async def test_without_a_limit_any_body_passes(knock: Knock, serve: Serve, store: Tokens, upstream: Upstream) -> None:
    wire = await knock(door(store, forwarder=await serve(upstream), max_body=0))
    assert (await wire.ask(request(method=b"POST", body=b"x" * 1_000_000))).status == 200
    assert [len(body) for body in upstream.bodies] == [1_000_000]


# Expect: 100-continue.

EXPECT = b"Expect: 100-continue"
CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"


async def test_a_100_comes_when_the_upstream_wants_the_body_and_not_before(wire: Wire, upstream: Upstream) -> None:
    wire.send(request(RECORDS, EXPECT, b"Content-Length: 3", method=b"POST"))
    assert await wire.reader.readexactly(len(CONTINUE)) == CONTINUE
    assert [seen.body for seen in upstream.requests] == [None]
    assert (await wire.ask(b"abc")).body == b"hello"
    assert upstream.bodies == [b"abc"]
    assert (await wire.ask(request())).status == 200


async def test_the_token_api_asks_for_a_body_that_waits_to_be_asked_for(knock: Knock, hold: Hold) -> None:
    api = FakeTokenApi()
    wire = await knock(door(hold(token(EVERYTHING)), token_api=api))
    wire.send(request(TOKENS, EXPECT, b"Content-Length: 2", method=b"POST"))
    assert await wire.reader.readexactly(len(CONTINUE)) == CONTINUE
    assert (await wire.ask(b"{}")).status == 200
    assert api.calls[0][1].body == b"{}"
    assert (await wire.ask(request(TOKENS, method=b"POST", body=b"{}"))).status == 200


@pytest.mark.parametrize(
    "head",
    [
        pytest.param(
            request(RECORDS, EXPECT, b"Content-Length: 3", method=b"POST", authorized=False), id="no credential"
        ),
        pytest.param(request(NOWHERE, EXPECT, b"Content-Length: 3", method=b"POST"), id="no route"),
        pytest.param(request(RECORDS, EXPECT, b"Content-Length: 100001", method=b"POST"), id="too large a body"),
        pytest.param(request(RECORDS, EXPECT, b"Content-Length: 3", HOST, method=b"POST"), id="a malformed head"),
        pytest.param(
            request(TOKENS, EXPECT, b"Content-Length: 300000", method=b"POST"), id="too large a body for the token API"
        ),
    ],
)
async def test_a_refused_expectation_gets_no_100_and_the_end_of_the_connection(
    wire: Wire, upstream: Upstream, head: bytes
) -> None:
    reply = await wire.ask(head)
    assert reply.line.startswith(b"HTTP/1.1 4")
    assert reply.field("connection") == "close"
    wire.send(request())
    assert await wire.ended()
    assert upstream.requests == []


async def test_an_answer_that_needs_no_body_gets_no_100_either_and_ends_the_connection(
    knock: Knock, serve: Serve, store: Tokens
) -> None:
    wire = await knock(door(store, forwarder=await serve(Upstream(reads_body=False))))
    reply = await wire.ask(request(RECORDS, EXPECT, b"Content-Length: 3", method=b"POST"))
    assert (reply.line, reply.field("connection")) == (b"HTTP/1.1 200 OK", "close")
    assert await wire.ended()


async def test_whoever_does_not_wait_to_be_asked_for_his_body_keeps_his_connection(
    wire: Wire, upstream: Upstream
) -> None:
    for _ in range(2):
        reply = await wire.ask(request(RECORDS, EXPECT, method=b"POST", body=b"abc"))
        while reply.status == 100:
            reply = await wire.reply()
        assert (reply.status, reply.values("connection")) == (200, [])
    assert upstream.bodies == [b"abc"] * 2


async def test_the_token_api_asks_for_no_body_that_is_there(knock: Knock, hold: Hold) -> None:
    wire = await knock(door(hold(token(EVERYTHING))))
    for _ in range(2):
        reply = await wire.ask(request(TOKENS, EXPECT, method=b"POST", body=b"{}"))
        assert (reply.status, reply.values("connection")) == (200, [])


@pytest.mark.parametrize("target", [RECORDS, TOKENS])
async def test_http_1_0_gets_no_100(knock: Knock, serve: Serve, hold: Hold, upstream: Upstream, target: bytes) -> None:
    wire = await knock(door(hold(token(EVERYTHING)), forwarder=await serve(upstream)))
    wire.send(request(target, EXPECT, b"Content-Length: 3", method=b"POST", version=b"1.0"))
    reply = await wire.ask(b"abc")
    assert reply.line == b"HTTP/1.1 200 OK"
    assert upstream.bodies == ([b"abc"] if target == RECORDS else [])


# What is left of a body.


async def test_the_rest_of_a_refused_body_is_drained_and_the_connection_goes_on(wire: Wire, upstream: Upstream) -> None:
    reply = await wire.ask(request(RECORDS, b"Content-Length: 60000", method=b"POST", authorized=False))
    assert (reply.status, reply.values("connection")) == (401, [])
    wire.send(b"x" * 60000)
    assert (await wire.ask(request())).status == 200
    assert len(upstream.requests) == 1


def framed_by_length(body: bytes) -> bytes:
    return b"Content-Length: %d\r\n\r\n%b" % (len(body), body)


def framed_in_chunks(body: bytes) -> bytes:
    return b"Transfer-Encoding: chunked\r\n\r\n%x\r\n%b\r\n0\r\n\r\n" % (len(body), body)


@pytest.mark.parametrize("framed", [framed_by_length, framed_in_chunks])
async def test_a_request_in_a_refused_body_is_no_request(
    wire: Wire, upstream: Upstream, framed: Callable[[bytes], bytes]
) -> None:
    hidden = request(RECORDS + b"/" + b"e" * 32, method=b"DELETE")
    refused = request(RECORDS, method=b"POST", authorized=False)[:-2] + framed(hidden)
    assert await statuses(wire, refused + request(RECORDS, CLOSE)) == [401, 200]
    assert [seen.method for seen in upstream.requests] == [b"GET"]


async def test_a_refused_body_that_is_malformed_ends_the_connection(wire: Wire, upstream: Upstream) -> None:
    refused = request(RECORDS, CHUNKED, method=b"POST", authorized=False)
    assert await statuses(wire, refused + b"junk\r\n" + request()) == [401]
    assert upstream.requests == []


async def test_more_than_64_kib_are_not_waited_for_and_the_connection_ends(wire: Wire, upstream: Upstream) -> None:
    refused = request(RECORDS, b"Content-Length: 1000000", method=b"POST", authorized=False)
    check_refusal(await wire.ask(refused + request() * 1000), Reason.MISSING_CREDENTIALS)
    assert await wire.ended()
    assert upstream.requests == []


@pytest.mark.parametrize(
    "head",
    [
        pytest.param(request(RECORDS, b"Content-Length: 200000", method=b"POST", authorized=False), id="of a body"),
        pytest.param(request(RECORDS, CHUNKED, method=b"POST", authorized=False) + b"zz\r\n", id="of no body"),
        pytest.param(request(RECORDS, HOST), id="behind what is no request"),
    ],
)
async def test_a_client_hears_the_answer_while_it_still_sends_200_kb(wire: Wire, head: bytes) -> None:
    """A connection that is closed with bytes unread is reset, and the answer may be lost with it."""
    reply = await wire.ask(head)
    assert reply.status in (400, 401)
    for _ in range(20):
        wire.send(b"x" * 10_000)
        await wire.writer.drain()
    assert await wire.rest() == b""  # the end, and no reset


async def test_a_body_that_nobody_reads_is_read_for_64_kib_and_then_only_so_that_the_answer_is_heard(
    meet: Meet,
) -> None:
    met = meet()
    met.transport.deliver(request(RECORDS, CHUNKED, method=b"POST", authorized=False) + b"000fffff\r\n")
    for _ in range(4):
        met.transport.deliver(b"x" * (16 * 1024 - 3))
    assert met.transport.is_open
    met.transport.deliver(b"xxx")
    assert met.transport.is_shut
    assert not met.transport.is_closing()
    met.transport.leave()


async def test_a_body_of_which_more_than_64_kib_are_to_come_is_refused_with_the_end_of_the_connection(
    meet: Meet,
) -> None:
    met = meet()
    met.transport.deliver(request(RECORDS, b"Content-Length: 65537", method=b"POST", authorized=False))
    assert CLOSE in met.transport.written
    assert met.transport.is_shut
    other = met.another()
    other.transport.deliver(request(RECORDS, b"Content-Length: 65536", method=b"POST", authorized=False))
    assert CLOSE not in other.transport.written
    assert other.transport.is_open
    met.transport.leave()
    other.transport.leave()


async def test_what_a_client_sends_without_end_behind_an_answer_is_not_read(meet: Meet) -> None:
    met = meet()
    met.transport.deliver(request(RECORDS, HOST))
    for _ in range(4):
        assert met.connection._state is State.DISCARD
        met.transport.deliver(b"x" * 65_000)
    met.transport.deliver(b"x" * 65_000)
    assert met.transport.is_closing()
    assert met.transport.statuses == [400]


@ONCE
async def test_a_rest_that_does_not_come_within_a_second_ends_the_connection(wire: Wire) -> None:
    reply = await wire.ask(request(RECORDS, b"Content-Length: 10", method=b"POST", authorized=False) + b"abc")
    assert (reply.status, reply.values("connection")) == (401, [])
    assert await wire.rest() == b""


async def test_a_body_that_the_upstream_did_not_read_is_drained(knock: Knock, serve: Serve, store: Tokens) -> None:
    upstream = Upstream(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", reads_body=False, cuts=True)
    wire = await knock(door(store, forwarder=await serve(upstream)))
    for _ in range(2):
        assert (await wire.ask(request(RECORDS, b"Content-Length: 3", method=b"POST"))).status == 200
        wire.send(b"abc")
    assert [seen.method for seen in upstream.requests] == [b"POST", b"POST"]


# Answers on their way down.

HELLO = b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\n"
GET, HEAD = request(RECORDS, CLOSE), request(RECORDS, CLOSE, method=b"HEAD")
IN_CHUNKS = HELLO + b"Transfer-Encoding: chunked\r\n\r\n"
OLD = request(version=b"1.0")
OLD_ASKING = request(RECORDS, b"Connection: keep-alive", version=b"1.0")
FIVE = b"Content-Length: 5"


class Framed(NamedTuple):
    """How an answer of `pieces` is framed: by which fields, and as what."""

    sent: bytes
    pieces: tuple[bytes, ...]
    fields: list[bytes]
    lines: list[bytes]
    status: bytes = b"HTTP/1.1 200 OK"


@pytest.mark.parametrize(
    "case",
    [
        pytest.param(Framed(GET, (OK,), [FIVE], [b"hello"]), id="with a length"),
        pytest.param(
            Framed(
                GET,
                (IN_CHUNKS, b"5\r\nhello\r\n", b"0\r\n\r\n"),
                [CHUNKED],
                [b"5", b"hello", b"0", b"", b""],
            ),
            id="in chunks",
        ),
        pytest.param(
            Framed(GET, (HELLO + b"Connection: close\r\n\r\n", b"hello"), [CHUNKED], [b"5", b"hello", b"0", b"", b""]),
            id="that ends with its connection",
        ),
        pytest.param(Framed(GET, (HELLO + b"Content-Length: 0\r\n\r\n",), [b"Content-Length: 0"], [b""]), id="empty"),
        pytest.param(
            Framed(GET, (IN_CHUNKS + b"0\r\n\r\n",), [CHUNKED], [b"0", b"", b""]), id="empty, of unknown length"
        ),
        pytest.param(Framed(HEAD, (HELLO + FIVE + b"\r\n\r\n",), [FIVE], [b""]), id="to HEAD"),
        pytest.param(Framed(HEAD, (HELLO + b"\r\n",), [], [b""]), id="to HEAD, of unknown length"),
        pytest.param(
            Framed(GET, (b"HTTP/1.1 204 No Content\r\n\r\n",), [], [b""], b"HTTP/1.1 204 No Content"), id="204"
        ),
        pytest.param(
            Framed(
                GET, (b"HTTP/1.1 304 Not Modified\r\n%b\r\n\r\n" % FIVE,), [FIVE], [b""], b"HTTP/1.1 304 Not Modified"
            ),
            id="304",
        ),
        pytest.param(Framed(GET, (b"HTTP/1.1 304 \r\n\r\n",), [], [b""], b"HTTP/1.1 304 "), id="304 without a length"),
        pytest.param(Framed(OLD, (OK,), [FIVE], [b"hello"]), id="to HTTP/1.0"),
        pytest.param(
            Framed(OLD_ASKING, (IN_CHUNKS + b"5\r\nhello\r\n0\r\n\r\n",), [], [b"hello"]),
            id="to HTTP/1.0, of unknown length",
        ),
    ],
)
async def test_an_answer_is_framed_for_the_client_that_asked(
    knock: Knock, serve: Serve, store: Tokens, case: Framed
) -> None:
    cuts = b"Connection: close" in case.pieces[0]
    wire = await knock(door(store, forwarder=await serve(Upstream(*case.pieces, cuts=cuts))))
    wire.send(case.sent)
    line, *lines = (await wire.rest()).split(b"\r\n")
    end = lines.index(b"")
    assert line == case.status
    assert [field for field in lines[:end] if field.startswith((b"Content-L", b"Transfer-"))] == case.fields
    assert [field for field in lines[:end] if field.startswith(b"Connection")] == [CLOSE]
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


async def test_every_byte_of_a_refusal_is_json_in_ascii(wire: Wire) -> None:
    reply = await wire.ask(request(b"/%C3%A4"))
    assert json.loads(reply.body.decode("ascii"))["success"] is False


@pytest.mark.parametrize(
    ("sent", "framing"),
    [
        pytest.param(request(), b"Content-Length: 11", id="with a length"),
        pytest.param(request(), CHUNKED, id="chunked"),
        pytest.param(request(version=b"1.0"), b"Content-Length: 11", id="to HTTP/1.0"),
        pytest.param(request(version=b"1.0"), CHUNKED, id="to HTTP/1.0, ended by the connection alone"),
    ],
)
@pytest.mark.parametrize(
    "pieces", [pytest.param((), id="at once"), pytest.param((b"5\r\nhello\r\n",), id="in the middle")]
)
async def test_an_answer_that_breaks_off_never_ends_cleanly(
    knock: Knock, serve: Serve, store: Tokens, sent: bytes, framing: bytes, pieces: tuple[bytes, ...]
) -> None:
    upstream = Upstream(HELLO + framing + b"\r\n\r\n", *pieces, cuts=True)
    wire = await knock(door(store, forwarder=await serve(upstream)))
    wire.send(sent)
    with pytest.raises((asyncio.IncompleteReadError, ConnectionResetError)):
        await wire.reply()


# The connection.


async def test_requests_sent_together_are_answered_in_their_order(wire: Wire, upstream: Upstream) -> None:
    wire.send(request() + request(method=b"POST", body=b"abc") + request(NOWHERE) + request())
    assert [(await wire.reply()).status for _ in range(4)] == [200, 200, 404, 200]
    assert [seen.method for seen in upstream.requests] == [b"GET", b"POST", b"GET"]


async def test_of_requests_sent_together_one_is_in_hand_at_a_time(knock: Knock, serve: Serve, store: Tokens) -> None:
    answer = asyncio.Event()
    upstream = Upstream(waits_for=answer)
    wire = await knock(door(store, forwarder=await serve(upstream)))
    wire.send(request() + request(NOWHERE) + request(method=b"POST", body=b"abc"))
    await upstream.begun.wait()
    await (await knock(door(store))).ask(request())  # by now the others would have begun, if they could
    assert len(upstream.requests) == 1
    answer.set()
    assert [(await wire.reply()).status for _ in range(3)] == [200, 404, 200]


@pytest.mark.parametrize(
    ("sent", "said"),
    [
        pytest.param(request(), [], id="HTTP/1.1"),
        pytest.param(OLD_ASKING, ["keep-alive"], id="HTTP/1.0 that asks"),
        pytest.param(request(NOWHERE), [], id="refused"),
        pytest.param(b"\r\n\r\n" + request(), [], id="behind empty lines"),
    ],
)
async def test_a_connection_stays_open(wire: Wire, sent: bytes, said: list[str]) -> None:
    for _ in range(3):
        assert (await wire.ask(sent)).values("connection") == said


@pytest.mark.parametrize(
    "sent",
    [
        pytest.param(request(RECORDS, CLOSE), id="HTTP/1.1 that asks"),
        pytest.param(request(RECORDS, b"connection: x, Close"), id="in another case, among others"),
        pytest.param(request(version=b"1.0"), id="HTTP/1.0"),
        pytest.param(request(RECORDS, b"Connection: keep-alive, close", version=b"1.0"), id="HTTP/1.0 that says both"),
        pytest.param(request(NOWHERE, CLOSE), id="refused"),
    ],
)
async def test_a_connection_is_closed_when_the_client_wants_it(wire: Wire, sent: bytes) -> None:
    reply = await wire.ask(sent + request())
    assert reply.field("connection") == "close"
    assert await wire.rest() == b""


@pytest.mark.parametrize("upgrade", [b"websocket", b"h2c", b"TLS/1.0"])
async def test_an_upgrade_is_dropped_and_the_request_goes_on(wire: Wire, upstream: Upstream, upgrade: bytes) -> None:
    fields = (b"Connection: Upgrade, HTTP2-Settings", b"Upgrade: " + upgrade, b"HTTP2-Settings: AAMAAABk")
    assert (await wire.ask(request(RECORDS, *fields))).status == 200
    (seen,) = upstream.requests
    names = {name.lower() for name, _ in seen.fields}
    assert names.isdisjoint({b"upgrade", b"http2-settings", b"connection"})


@pytest.mark.parametrize("upgrade", [b"websocket", b"h2c", b"TLS/1.0"])
async def test_no_request_behind_a_dropped_upgrade_is_lost(wire: Wire, upstream: Upstream, upgrade: bytes) -> None:
    """Lost in the middle, each later answer would be taken for that of the request before."""
    upgrading = request(RECORDS, b"Connection: Upgrade", b"Upgrade: " + upgrade)
    wire.send(upgrading + request(method=b"POST", body=b"") + request(NOWHERE))
    assert [(await wire.reply()).status for _ in range(3)] == [200, 200, 404]
    assert [seen.method for seen in upstream.requests] == [b"GET", b"POST"]


# Without a kernel between: what comes in one read, and what happens before the next.


async def test_a_thousand_requests_in_one_read_are_answered_one_after_the_other(meet: Meet) -> None:
    """By a loop, not by each from within the one before; and others have their turn meanwhile."""
    met = meet()
    met.transport.deliver(request(NOWHERE) * 500 + request(authorized=False) * 500)
    turns = 0
    while len(met.transport.statuses) < 1000:
        assert not met.transport.is_reading
        await asyncio.sleep(0)
        turns += 1
    assert turns > 50
    assert met.transport.statuses == [404] * 500 + [401] * 500
    assert met.transport.is_open
    assert met.transport.is_reading


@pytest.mark.parametrize(
    ("sent", "more"),
    [
        pytest.param(request(RECORDS, b"Content-Length: 90000", method=b"POST"), b"x" * 65536, id="a body"),
        pytest.param(request(RECORDS, HOST), b"x" * 65536, id="what nobody wants"),
    ],
)
async def test_whoever_sends_fast_lets_others_have_their_turn(meet: Meet, sent: bytes, more: bytes) -> None:
    met = meet()
    met.transport.deliver(sent)
    met.transport.deliver(more)
    assert not met.transport.is_reading
    await asyncio.sleep(0)
    assert met.transport.is_reading
    met.transport.leave()


async def test_what_comes_while_a_request_is_in_hand_waits_with_reading_paused(meet: Meet) -> None:
    met = meet()
    met.transport.deliver(request())
    assert met.transport.is_reading  # or nobody would hear that the client leaves
    met.transport.deliver(request(NOWHERE))
    assert not met.transport.is_reading
    assert met.transport.statuses == []
    met.forwarder.last.answer()
    assert met.transport.statuses == [200, 404]
    assert met.transport.is_reading


async def test_what_comes_with_a_request_in_hand_pauses_reading_too(meet: Meet) -> None:
    """So that no more than one read is held."""
    met = meet()
    met.transport.deliver(request() + request(NOWHERE))
    assert not met.transport.is_reading
    met.forwarder.last.answer()
    assert met.transport.statuses == [200, 404]
    assert met.transport.is_reading


async def test_a_client_that_leaves_is_heard_of_though_his_request_had_to_wait(meet: Meet) -> None:
    met = meet()
    met.transport.deliver(request() + request())
    met.forwarder.last.answer()
    assert len(met.forwarder.relays) == 2
    assert met.transport.is_reading


async def test_half_a_head_behind_a_request_in_hand_waits_for_its_other_half(meet: Meet) -> None:
    met = meet()
    met.transport.deliver(request() + request(NOWHERE)[:50])
    met.forwarder.last.answer()
    assert met.transport.statuses == [200]
    assert met.transport.is_reading
    met.transport.deliver(request(NOWHERE)[50:])
    assert met.transport.statuses == [200, 404]


async def test_while_a_token_is_read_one_read_of_a_body_is_held(meet: Meet) -> None:
    met = meet(store=Tokens(remembers=False).hold(token()))
    met.transport.deliver(request(RECORDS, b"Content-Length: 500000", method=b"POST") + b"x" * 1000)
    assert not met.transport.is_reading


# A body on its way up, held up and let go.

BEGUN = request(RECORDS, b"Content-Length: 6", method=b"POST") + b"ab"
"""A body of 6 bytes, of which two have come."""


async def test_a_body_is_sent_up_piece_by_piece(meet: Meet) -> None:
    met = meet()
    met.transport.deliver(BEGUN)
    met.transport.deliver(b"cd")
    met.transport.deliver(b"ef" + request(NOWHERE))
    assert met.forwarder.last.heard == [b"ab", b"cd", b"ef", "finish"]
    met.forwarder.last.answer()
    assert met.transport.statuses == [200, 404]


async def test_a_body_that_has_come_is_handed_up_as_a_whole(meet: Meet) -> None:
    met = meet()
    met.transport.deliver(request(method=b"POST", body=b"abcdef"))
    assert (met.forwarder.last.body, met.forwarder.last.heard) == (b"abcdef", [])


async def test_an_upstream_that_answers_at_the_last_piece_is_told_of_nothing_more(meet: Meet) -> None:
    met = meet()
    met.transport.deliver(BEGUN)
    relay = met.forwarder.last
    relay.send = lambda _: relay.answer()  # type: ignore[method-assign]
    met.transport.deliver(b"cdef")
    assert relay.heard == [b"ab"]
    assert met.transport.statuses == [200]
    assert met.transport.is_open


async def test_a_client_is_not_read_from_while_the_upstream_does_not_keep_up(meet: Meet) -> None:
    met = meet()
    met.transport.deliver(BEGUN)
    met.connection.hold_body()
    assert not met.transport.is_reading
    met.connection.resume_body()
    assert met.transport.is_reading
    met.transport.deliver(b"cdef")
    assert met.forwarder.last.heard == [b"ab", b"cdef", "finish"]


async def test_a_client_that_leaves_is_heard_of_though_the_last_piece_of_his_body_was_held_up(meet: Meet) -> None:
    met = meet()
    met.transport.deliver(BEGUN)
    met.transport.deliver(b"cdef")
    met.connection.hold_body()
    met.connection.resume_body()
    assert met.transport.is_reading


async def test_a_client_that_leaves_is_heard_of_though_his_body_was_there_before_his_token_was_read(meet: Meet) -> None:
    met = meet(store=Tokens(remembers=False).hold(token()))
    met.transport.deliver(request(method=b"POST", body=b"abcdef"))
    assert not met.transport.is_reading
    while not met.forwarder.relays:  # noqa: ASYNC110 - nobody sets an event
        await asyncio.sleep(0)
    assert met.forwarder.last.body == b"abcdef"
    assert met.transport.is_reading


async def test_a_request_behind_a_body_that_was_held_up_waits_for_its_turn(meet: Meet) -> None:
    met = meet()
    met.transport.deliver(BEGUN)
    met.transport.deliver(b"cdef" + request(NOWHERE))
    met.connection.hold_body()
    met.connection.resume_body()
    assert not met.transport.is_reading
    met.forwarder.last.answer()
    assert met.transport.statuses == [200, 404]
    assert met.transport.is_reading


# A client that does not read.


async def test_whoever_does_not_read_answers_is_not_read_from_and_is_let_go(meet: Meet) -> None:
    met = meet(body_idle_timeout=0.05)
    met.transport.takes = False
    met.transport.deliver(request(NOWHERE) * 2)
    assert met.transport.statuses == [404]
    assert not met.transport.is_reading
    await met.closed()
    assert met.transport.is_aborted


async def test_whoever_reads_on_gets_the_answers_that_he_asked_for_meanwhile(meet: Meet) -> None:
    met = meet()
    met.transport.takes = False
    met.transport.deliver(request(NOWHERE) * 3)
    assert met.transport.statuses == [404]
    met.transport.take()
    assert met.transport.statuses == [404] * 3
    assert met.transport.is_reading


async def test_a_client_that_takes_an_answer_slowly_is_not_let_go(meet: Meet) -> None:
    """It is let go when it takes nothing at all for so long."""
    met = meet(body_idle_timeout=0.05)
    met.transport.takes = False
    met.transport.deliver(request(NOWHERE))
    for _ in range(20):
        met.transport._left -= 1
        await asyncio.sleep(0.01)
    assert not met.transport.is_aborted
    await met.closed()
    assert met.transport.is_aborted


async def test_the_upstream_is_held_up_while_the_client_does_not_keep_up(meet: Meet) -> None:
    met = meet()
    met.transport.takes = False
    met.transport.deliver(request())
    met.connection.begin(200, ends_with_close=False)
    met.connection.write(b"HTTP/1.1 200 OK\r\n")
    assert met.forwarder.last.heard == ["full"]
    met.transport.take()
    assert met.forwarder.last.heard == ["full", "ready"]


async def test_a_client_that_leaves_without_having_read_is_not_waited_for(meet: Meet) -> None:
    met = meet()
    met.transport.takes = False
    met.transport.deliver(request())
    met.forwarder.last.begin()
    met.transport.leave()
    assert met.forwarder.last.heard == ["full", "gone"]
    met.transport.lose()


async def test_what_a_client_did_not_take_when_its_connection_closes_is_not_waited_for_for_ever(meet: Meet) -> None:
    met = meet(body_idle_timeout=0.05)
    met.transport.takes = False
    met.transport.deliver(request(NOWHERE, CLOSE))
    assert not met.transport.is_open
    await met.closed()
    assert met.transport.is_aborted


# Time.


async def test_who_sends_nothing_is_closed_without_a_word(meet: Meet) -> None:
    met = meet(header_timeout=0.05)
    await met.closed()
    assert (met.transport.written, met.transport.is_aborted) == (b"", False)


@pytest.mark.parametrize("before", [pytest.param(b"", id="the first"), pytest.param(request(NOWHERE), id="the second")])
async def test_a_head_that_does_not_come_to_its_end_is_a_408(meet: Meet, before: bytes) -> None:
    met = meet(header_timeout=0.05)
    met.transport.deliver(before + request()[:20])
    while met.connection._state is State.HEAD:
        met.transport.deliver(b"x")  # it is no help to send a byte now and then
        await asyncio.sleep(0.01)
    assert met.transport.statuses == ([404, 408] if before else [408])
    assert met.transport.is_shut
    met.transport.leave()


@pytest.mark.parametrize("blank", [b"\r\n", b"\r\n\r\n", b"\r"])
async def test_empty_lines_between_two_requests_keep_no_connection(meet: Meet, blank: bytes) -> None:
    met = meet(keepalive_timeout=0.05, header_timeout=0.05)
    met.transport.deliver(request(NOWHERE) + blank)
    assert met.transport.statuses == [404]
    await met.closed()
    assert not met.transport.is_aborted


async def test_empty_lines_now_and_then_keep_no_connection(meet: Meet) -> None:
    met = meet(keepalive_timeout=0.05)
    met.transport.deliver(request(NOWHERE))
    while met.transport.is_open:
        met.transport.deliver(b"\r\n")
        await asyncio.sleep(0.02)
    assert met.transport.statuses == [404]


async def test_an_idle_connection_is_closed(meet: Meet) -> None:
    met = meet(keepalive_timeout=0.05)
    met.transport.deliver(request(NOWHERE))
    await met.closed()
    assert (met.transport.statuses, met.transport.is_aborted) == ([404], False)


async def test_a_connection_whose_request_is_in_hand_is_not_idle(meet: Meet) -> None:
    met = meet(keepalive_timeout=0.01, header_timeout=0.01, body_idle_timeout=0.01)
    met.transport.deliver(request(NOWHERE))
    met.transport.deliver(request())
    other = meet(keepalive_timeout=0.05)
    other.transport.deliver(request(NOWHERE))
    await other.closed()
    assert met.transport.is_open
    met.forwarder.last.answer()
    assert met.transport.statuses == [404, 200]


async def test_an_upstream_that_is_slow_to_take_a_body_does_not_count_against_the_client(meet: Meet) -> None:
    met = meet(body_idle_timeout=0.05)
    met.transport.deliver(BEGUN)
    met.connection.hold_body()
    other = meet(keepalive_timeout=0.1)
    other.transport.deliver(request(NOWHERE))
    await other.closed()
    assert met.forwarder.last.heard == [b"ab"]
    met.connection.resume_body()
    await met.closed()
    assert met.forwarder.last.heard == [b"ab", Reason.REQUEST_TIMEOUT]
    assert met.transport.statuses == [408]


async def test_an_upstream_that_is_slow_to_answer_does_not_count_against_a_client_whose_body_has_come(
    meet: Meet,
) -> None:
    met = meet(body_idle_timeout=0.05)
    met.transport.deliver(BEGUN)
    met.transport.deliver(b"cdef")
    other = meet(keepalive_timeout=0.1)
    other.transport.deliver(request(NOWHERE))
    await other.closed()
    assert met.forwarder.last.heard == [b"ab", b"cdef", "finish"]


async def test_each_piece_of_a_body_has_its_own_time(meet: Meet) -> None:
    first = meet()
    second = first.another()
    waits = first.handler._waits.body
    for met in (first, second):
        met.transport.deliver(BEGUN)
    assert waits.oldest() is first.connection
    first.transport.deliver(b"c")
    assert waits.oldest() is second.connection


# Memory.


async def test_empty_lines_without_end_are_not_kept(meet: Meet) -> None:
    met = meet()
    for _ in range(10):
        if met.transport.is_open:
            met.transport.deliver(b"\r\n" * 10_000)
    assert len(met.connection._pending) < 100


# Who it is.


@pytest.mark.parametrize(
    ("peer", "family", "address"),
    [
        pytest.param(("192.0.2.7", 1), socket.AF_INET, "192.0.2.7", id="IPv4"),
        pytest.param(("2001:db8::7", 1, 0, 0), socket.AF_INET6, "2001:db8::7", id="IPv6"),
        pytest.param(("fe80::7%eth0", 1, 0, 2), socket.AF_INET6, "fe80::7", id="IPv6 on a link"),
        pytest.param(("::ffff:192.0.2.7", 1, 0, 0), socket.AF_INET6, "192.0.2.7", id="mapped"),
        pytest.param("", socket.AF_UNIX, "", id="on a Unix socket"),
    ],
)
async def test_a_peer_is_known_by_his_address(
    meet: Meet, peer: Any, family: socket.AddressFamily, address: str
) -> None:
    met = meet(peer, family)
    assert met.connection.ip == address
    assert met.connection.client.peer == (address or "unknown").encode()


async def test_a_peer_on_the_network_whose_address_is_gone_is_not_served(meet: Meet) -> None:
    """He has broken off already. On a Unix socket nobody has an address: he must not be taken for one there."""
    met = meet(None, socket.AF_INET, trusts_unix=True)
    assert not met.transport.is_open
    met.transport.deliver(request(RECORDS, b"X-Forwarded-For: 192.0.2.7"))
    assert met.forwarder.relays == []


# PROXY protocol.

PROXY = b"PROXY TCP4 192.0.2.7 198.51.100.1 4711 443\r\n"
TRUSTED = {"proxy_protocol": True, "trusted_proxies": (ip_network("127.0.0.1/32"),)}


@pytest.mark.parametrize(
    ("preface", "address", "trusted"),
    [
        pytest.param(PROXY, "192.0.2.7", False, id="a line"),
        pytest.param(PROXY.replace(b"192.0.2.7", b"127.0.0.1"), "127.0.0.1", True, id="from a proxy"),
        pytest.param(b"PROXY UNKNOWN\r\n", "127.0.0.1", False, id="that tells of nobody"),
        pytest.param(b"\r\n\r\n\x00\r\nQUIT\n\x20\x00\x00\x00", "127.0.0.1", False, id="the proxy's own check"),
        pytest.param(
            b"\r\n\r\n\x00\r\nQUIT\n\x21\x11\x00\x0c" + bytes([192, 0, 2, 7, 198, 51, 100, 1, 18, 103, 1, 187]),
            "192.0.2.7",
            False,
            id="a block",
        ),
    ],
)
@pytest.mark.parametrize("size", [1, 7, 1000])
async def test_a_trusted_proxy_says_first_who_has_connected_to_it(
    meet: Meet,
    preface: bytes,
    address: str,
    trusted: bool,  # noqa: FBT001 - a case's data
    size: int,
) -> None:
    met = meet(**TRUSTED)
    sent = preface + request(NOWHERE)
    for start in range(0, len(sent), size):
        met.transport.deliver(sent[start : start + size])
    assert met.transport.statuses == [404]
    assert met.connection.ip == address
    assert met.connection.client.trusted is trusted


@pytest.mark.parametrize(
    "sent",
    [
        pytest.param(request(), id="a request"),
        pytest.param(PROXY.replace(b"TCP4", b"TCP5") + request(), id="a family that is none"),
        pytest.param(b"\r\n\r\n\x00\r\nQUIT\n\x31\x11\x00\x0c" + bytes(12) + request(), id="another version"),
        pytest.param(b"\x16\x03\x01", id="TLS"),
    ],
)
async def test_a_trusted_proxy_that_says_something_else_first_is_closed_without_a_word(meet: Meet, sent: bytes) -> None:
    met = meet(**TRUSTED)
    met.transport.deliver(sent)
    assert not met.transport.is_open
    assert met.transport.written == b""
    assert met.forwarder.relays == []


async def test_from_anybody_else_such_a_header_is_no_request(meet: Meet) -> None:
    met = meet(("192.0.2.9", 1), **TRUSTED)
    met.transport.deliver(PROXY + request())
    assert met.transport.statuses == [400]
    assert met.forwarder.relays == []
    met.transport.leave()


async def test_anybody_else_is_served_without_one(meet: Meet) -> None:
    met = meet(("192.0.2.9", 1), **TRUSTED)
    met.transport.deliver(request(NOWHERE))
    assert met.transport.statuses == [404]


async def test_a_second_such_header_is_no_request(meet: Meet) -> None:
    met = meet(**TRUSTED)
    met.transport.deliver(PROXY + PROXY + request())
    assert met.transport.statuses == [400]
    assert met.forwarder.relays == []
    met.transport.leave()


@pytest.mark.parametrize("sent", [b"", PROXY[:20], PROXY])
async def test_a_proxy_that_does_not_go_on_is_closed_without_a_word(meet: Meet, sent: bytes) -> None:
    met = meet(**TRUSTED, header_timeout=0.05)
    if sent:
        met.transport.deliver(sent)
    await met.closed()
    assert met.transport.written == b""


# Leaving.


@pytest.mark.parametrize(
    "sent",
    [
        pytest.param(b"", id="before he sent anything"),
        pytest.param(request()[:20], id="in the middle of a head"),
        pytest.param(request(NOWHERE), id="after an answer"),
        pytest.param(request(RECORDS, HOST), id="after a refusal that ends the connection"),
        pytest.param(
            request(RECORDS, b"Content-Length: 9", method=b"POST", authorized=False) + b"x",
            id="in the middle of a body that nobody reads",
        ),
    ],
)
async def test_a_client_may_leave_when_nothing_of_his_is_under_way(meet: Meet, sent: bytes) -> None:
    met = meet()
    if sent:
        met.transport.deliver(sent)
    met.transport.leave()
    await met.closed()
    assert met.forwarder.relays == []


@pytest.mark.parametrize(
    ("sent", "answered"),
    [
        pytest.param(request(), False, id="before the answer"),
        pytest.param(request(), True, id="in the middle of the answer"),
        pytest.param(
            request(RECORDS, b"Content-Length: 9", method=b"POST") + b"x", False, id="in the middle of a body"
        ),
        pytest.param(request() + request(NOWHERE), False, id="with another request sent"),
    ],
)
@pytest.mark.parametrize("ends", ["he closes", "he breaks off"])
async def test_a_client_that_leaves_ends_his_relay_and_it_is_logged(
    meet: Meet,
    sent: bytes,
    answered: bool,  # noqa: FBT001 - a case's data
    ends: str,
) -> None:
    lines: list[bytes] = []
    met = meet(access_log=AccessLog(enabled=True, write=lines.append))
    met.transport.deliver(sent)
    if answered:
        met.connection.begin(200, ends_with_close=False)
        met.connection.write(b"HTTP/1.1 200 OK\r\n")
    if ends == "he closes":
        met.transport.leave()
    else:
        met.transport.abort()
    await met.closed()
    assert met.forwarder.last.heard[-1] == "gone"
    assert len(met.forwarder.relays) == 1
    met.handler.close()
    (line,) = b"".join(lines).splitlines()
    said = json.loads(line)
    assert (said["status"], said["decision"], said["reason"]) == (200 if answered else 0, "allow", "client_gone")


async def test_a_client_that_is_gone_when_it_is_to_be_told_of_the_end_disturbs_nobody(meet: Meet) -> None:
    met = meet()
    met.transport.is_gone = True
    met.transport.deliver(request(RECORDS, HOST))
    assert met.transport.statuses == [400]
    met.transport.abort()
    await met.closed()


async def test_a_client_that_leaves_ends_the_call_that_he_waits_for(meet: Meet) -> None:
    api = FakeTokenApi(waits_for=asyncio.Event())
    met = meet(token_api=api)
    met.transport.deliver(request(TOKENS))
    await api.asked.wait()
    met.transport.leave()
    await api.left.wait()
    await met.closed()
    assert met.transport.written == b""


async def test_what_comes_after_the_end_is_nobody_s(meet: Meet) -> None:
    met = meet()
    met.transport.deliver(request(NOWHERE, CLOSE))
    assert met.transport.is_closing()
    met.transport.deliver(request())
    assert met.transport.statuses == [404]
    assert met.forwarder.relays == []


async def test_a_head_that_is_late_on_a_connection_that_is_closed_already_is_no_request(meet: Meet) -> None:
    lines: list[bytes] = []
    met = meet(access_log=AccessLog(enabled=True, write=lines.append), header_timeout=0.05)
    met.transport._left = 1  # the client has still to take that
    met.transport.deliver(request()[:20])
    met.connection.end()
    other = meet(header_timeout=0.1)
    await other.closed()
    met.transport.take()
    await met.closed()
    met.handler.close()
    assert lines == []


async def test_a_connection_that_is_broken_off_is_reset(meet: Meet) -> None:
    """To HTTP/1.0 the end of the connection may be the end of the body."""
    met = meet()
    met.transport.deliver(request())
    met.connection.abort()
    assert met.transport.is_aborted
    assert (socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0)) in met.transport.socket.options


# A tunnel.


@pytest.fixture
async def tunnel(meet: Meet) -> Met:
    """Behind the request stood some bytes already."""
    met = meet()
    met.transport.deliver(request() + b"first")
    met.connection.begin(101, ends_with_close=True)
    met.connection.open_tunnel()
    return met


async def test_a_tunnel_takes_whatever_comes(tunnel: Met) -> None:
    assert tunnel.transport.is_reading
    tunnel.transport.deliver(request(NOWHERE))
    assert tunnel.forwarder.last.heard == [("through", b"first"), ("through", request(NOWHERE))]
    assert tunnel.transport.statuses == []


async def test_a_tunnel_s_client_is_not_read_from_while_the_upstream_does_not_keep_up(tunnel: Met) -> None:
    tunnel.connection.hold_body()
    assert not tunnel.transport.is_reading
    tunnel.connection.resume_body()
    assert tunnel.transport.is_reading


async def test_a_tunnel_has_no_time_to_keep(meet: Meet) -> None:
    met = meet(body_idle_timeout=0.01, keepalive_timeout=0.01, header_timeout=0.01)
    met.transport.deliver(request())
    met.connection.begin(101, ends_with_close=True)
    met.connection.open_tunnel()
    other = meet(keepalive_timeout=0.05)
    other.transport.deliver(request(NOWHERE))
    await other.closed()
    assert met.transport.is_open


async def test_a_tunnel_s_client_that_ends_may_still_be_told_something(tunnel: Met) -> None:
    tunnel.transport.leave()
    assert tunnel.forwarder.last.heard[-1] == "ended"
    assert tunnel.transport.is_open
    tunnel.connection.write(b"last")
    tunnel.connection.done()
    assert tunnel.transport.written.endswith(b"last")
    assert not tunnel.transport.is_open
    await tunnel.closed()


async def test_a_tunnel_s_client_may_still_send_something_when_the_upstream_has_ended(tunnel: Met) -> None:
    assert tunnel.connection.end_sending()
    assert tunnel.transport.is_shut
    tunnel.transport.deliver(b"last")
    assert tunnel.forwarder.last.heard[-1] == ("through", b"last")


async def test_a_tunnel_whose_client_is_gone_cannot_be_closed_by_half(tunnel: Met) -> None:
    tunnel.transport.is_gone = True
    assert not tunnel.connection.end_sending()


async def test_a_tunnel_whose_client_is_gone_is_over(tunnel: Met) -> None:
    tunnel.transport.abort()
    await tunnel.closed()
    assert tunnel.forwarder.last.heard[-1] == "gone"


# Whatever happens, in whatever order.

SENT = {
    "relayed": request(),
    "with a body": request(method=b"POST", body=b"abcdef"),
    "in chunks": request(RECORDS, CHUNKED, method=b"POST") + b"3\r\nabc\r\n3\r\ndef\r\n0\r\n\r\n",
    "refused": request(NOWHERE),
    "refused with a body": request(NOWHERE, method=b"POST", body=b"abcdef"),
    "refused in chunks": request(NOWHERE, CHUNKED, method=b"POST") + b"6\r\nabcdef\r\n0\r\n\r\n",
    "the last": request(NOWHERE, CLOSE),
    "a blank line": b"\r\n",
    "junk": b"junk\r\n\r\n",
    "a bad chunk": request(RECORDS, CHUNKED, method=b"POST") + b"3\r\nabcdef\r\n",
}


class Story:
    """A connection to which one thing happens after the other; what cannot happen now is left out."""

    def __init__(self, met: Met, sent: bytes) -> None:
        self.met = met
        self._left = sent

    @property
    def _relay(self) -> FakeRelay | None:
        """The one that is under way."""
        relays = [relay for relay in self.met.forwarder.relays if not relay.is_over]
        assert len(relays) <= 1
        return relays[0] if relays else None

    async def happen(self, event: str | int) -> None:
        transport = self.met.transport
        match event:
            case int():
                if transport.is_reading and not transport.is_closing() and self._left:
                    piece, self._left = self._left[:event], self._left[event:]
                    transport.deliver(piece)
            case "a turn":
                await asyncio.sleep(0)
            case "the client does not read":
                transport.takes = False
            case "the client reads":
                transport.take()
            case "the client leaves":
                if not transport.is_closing():
                    transport.leave()
            case _ if (relay := self._relay) is not None:
                self._answer(relay, event)
        if not transport.is_closing():
            self.check()

    def _answer(self, relay: FakeRelay, event: str) -> None:
        match event:
            case "the upstream is full":
                relay.side.hold_body()
            case "the upstream is ready":
                relay.side.resume_body()
            case "an answer begins" if not relay.has_begun:
                relay.begin()
            case "the answer ends" if relay.has_begun:
                relay.end()
            case "the upstream fails":
                relay.fail(Deny(reason=Reason.UPSTREAM_TIMEOUT))

    async def settle(self) -> None:
        """The client reads, and everybody has had his turn."""
        self.met.transport.take()
        for _ in range(20):
            await asyncio.sleep(0)
        if not self.met.transport.is_closing():
            self.check(settled=True)

    def check(self, *, settled: bool = False) -> None:
        """Somebody or some deadline ends what goes on, and who is not read from has given a reason."""
        connection, waits, state = self.met.connection, self.met.handler._waits, self.met.connection._state
        assert state is State.HEAD or (connection not in waits.header and connection not in waits.keep_alive)
        assert state is State.BODY or connection not in waits.body
        assert state is State.DISCARD or connection not in waits.discard
        match state:
            case State.HEAD:
                waits_for_its_turn = connection._pending and not self.met.transport.is_reading and not settled
                assert waits_for_its_turn or any(connection in each for each in (waits.header, waits.keep_alive))
                assert connection.exchange is None
            case State.DISCARD:
                assert connection in waits.discard
            case State.BUSY | State.BODY:
                assert connection.exchange is not None
                assert self._relay is not None or connection._task is not None
        if settled and state is not State.BUSY:
            assert self.met.transport.is_reading or connection._is_held
        elif not self.met.transport.is_reading:
            assert connection._pending or connection._is_held or connection._is_full


@given(
    way=st.sampled_from(Way),
    sent=st.lists(st.sampled_from(sorted(SENT)), max_size=6) | st.just(["refused"] * 100),
    events=st.lists(
        st.integers(1, 400)
        | st.just(10_000)
        | st.sampled_from(
            [
                "a turn",
                "the client does not read",
                "the client reads",
                "the client leaves",
                "the upstream is full",
                "the upstream is ready",
                "an answer begins",
                "the answer ends",
                "the upstream fails",
            ]
        ),
        max_size=40,
    ),
)
async def test_whatever_happens_in_whatever_order_each_request_has_one_line_and_nothing_is_left(
    way: Way, sent: list[str], events: list[str | int]
) -> None:
    lines: list[bytes] = []
    store = Tokens(remembers=way is not Way.READ).hold(token())
    async with meeting() as meet:
        met = meet(store=store, at_once=way is not Way.TASK, access_log=AccessLog(enabled=True, write=lines.append))
        story = Story(met, b"".join(SENT[each] for each in sent))
        for event in events:
            await story.happen(event)
        if met.transport.takes:
            await story.settle()
            met.transport.leave()
        else:  # he breaks off, with something that he has not read
            met.transport.abort()
        await met.closed()
    logged = [json.loads(line) for line in b"".join(lines).splitlines()]
    assert len([line for line in logged if line["api"]]) == len(met.forwarder.relays)
    answered = [status for status in (line["status"] for line in logged) if status]
    assert met.transport.statuses == answered[: len(met.transport.statuses)]
    assert met.connection.exchange is None

import asyncio
import gzip
from collections.abc import Callable, Iterable, Sequence
from itertools import pairwise
from time import monotonic
from typing import NamedTuple

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from structlog.testing import capture_logs
from unit.proxy.fakes import (
    Clock,
    FakeClient,
    FakeTarget,
    FakeTransport,
    heads,
    in_skipping_time,
    pool_of,
    settled,
    skip,
    transport_of,
    without_chunk_boundaries,
)

from gateway.proxy.deadlines import Deadlines
from gateway.proxy.pool import FAILURES
from gateway.proxy.relay import AnswerReader, Outgoing, Relay, Where
from gateway.reason import Deny, Reason

TIMEOUT = 60.0
GET = Outgoing("GET", b"GET /a HTTP/1.1\r\n", b"X: x\r\n\r\n")
HEAD = Outgoing("HEAD", b"HEAD /a HTTP/1.1\r\n", b"X: x\r\n\r\n")
POST = Outgoing("POST", b"POST /a HTTP/1.1\r\n", b"Content-Length: 5\r\n\r\n", b"hello")
STREAM = Outgoing("POST", b"POST /a HTTP/1.1\r\n", b"Content-Length: 10\r\n\r\n", streamed=True)
CHUNKS = Outgoing("POST", b"POST /a HTTP/1.1\r\n", b"Transfer-Encoding: chunked\r\n\r\n", streamed=True, chunked=True)
EXPECTING = Outgoing(
    "POST",
    b"POST /a HTTP/1.1\r\n",
    b"Content-Length: 10\r\nExpect: 100-continue\r\n\r\n",
    streamed=True,
    expects_continue=True,
)
UPGRADE = Outgoing("GET", b"GET /a HTTP/1.1\r\n", b"Connection: Upgrade\r\nUpgrade: websocket\r\n\r\n", upgrade=True)
HELLO = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello"
SWITCH = b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nX-A: 1\r\n\r\n"
TOO_LATE = Deny(reason=Reason.REQUEST_TIMEOUT)


def sent_by(request: Outgoing, host: str = "a") -> bytes:
    return request.line + f"Host: {host}\r\n".encode() + request.fields + request.body


def down(*lines: bytes, interim: bool = False) -> bytes:
    """A head as it is written to the client: status line and the upstream's fields, ours, then `last`."""
    ours = [] if interim else [b"Cache-Control: private", b"X-Request-Id: request-0001"]
    first, *rest = lines
    fields = [line for line in rest if not line.startswith(LAST)]
    last = [line for line in rest if line.startswith(LAST)]
    return b"".join(b"%b\r\n" % line for line in (first, *fields, *ours, *last, b""))


LAST = (b"Content-Length", b"Transfer-Encoding", b"Trailer", b"Connection")


class Scene:
    """One relay between a client and connections, all in memory."""

    def __init__(
        self,
        request: Outgoing = GET,
        *,
        hosts: Sequence[str] = ("a",),
        is_1_1: bool = True,
        client_closes_by_half: bool = True,
        max_connections: int = 4,
        wait_timeout: float = 60.0,
        passed: Iterable[bytes] = (),
        secrets: Iterable[str] = (),
    ) -> None:
        self.clock = Clock()
        self.pool, self.targets = pool_of(hosts, max_connections=max_connections, wait_timeout=wait_timeout)
        self.where = Where(
            self.pool,
            AnswerReader(frozenset(passed), frozenset(secrets)),
            Deadlines(self.clock.loop, TIMEOUT, Relay.timed_out),
        )
        self.client = FakeClient(is_1_1=is_1_1, closes_by_half=client_closes_by_half)
        self.relay = Relay(self.where, self.client, request)

    @property
    def target(self) -> FakeTarget:
        return self.targets[0]

    @property
    def transports(self) -> list[FakeTransport]:
        return [transport for target in self.targets for transport in target.transports()]

    @property
    def transport(self) -> FakeTransport:
        """That of the connection that carries the exchange; else the one that was made last."""
        at_work = [each for each in self.transports if each.protocol.exchange is self.relay]
        return (at_work or self.transports)[-1]

    async def begin(self, *, used: bool = False) -> "Scene":
        """The request is sent, on a connection that was `used` before or a new one."""
        if used:
            self.pool.release(await self.pool.acquire())
        if not self.relay.start():
            await self.relay.connect()
        return self

    def another(self, request: Outgoing = GET, *, is_1_1: bool = True) -> "Scene":
        """The next exchange with the same upstream; in its place."""
        self.client = FakeClient(is_1_1=is_1_1)
        self.relay = Relay(self.where, self.client, request)
        return self

    @property
    def is_kept(self) -> bool:
        """Whether the last connection waits for another exchange."""
        return any(self.transport.protocol in target.idle for target in self.targets)

    def check_nothing_is_left(self) -> None:
        """No place in the pool, no timer, and no connection but those that are kept, and read from."""
        assert len(self.where.response_timeout) == 0
        for target in self.targets:
            assert (target.pending, target.open) == (0, len(target.idle))
            for connection in target.idle:
                assert transport_of(connection).is_reading()
                assert connection.exchange is None
            for connection in target.made:
                assert connection in target.idle or connection.transport.is_closing()

    def check(self, end: str, *, kept: bool) -> None:
        assert self.client.end == end
        assert self.is_kept is kept
        self.check_nothing_is_left()

    def check_failed(self, reason: Reason = Reason.UPSTREAM_UNREACHABLE) -> None:
        assert self.client.deny == Deny(reason=reason)
        self.check("fail", kept=False)


async def begun(request: Outgoing = GET, *, used: bool = False, is_1_1: bool = True) -> Scene:
    return await Scene(request, is_1_1=is_1_1).begin(used=used)


# What goes up, byte for byte.


@pytest.mark.parametrize("used", [False, True])
@pytest.mark.parametrize(
    "request_", [pytest.param(GET, id="GET"), pytest.param(HEAD, id="HEAD"), pytest.param(POST, id="a whole body")]
)
async def test_a_request_is_its_line_its_host_its_fields_its_body_and_nothing_else(
    request_: Outgoing, *, used: bool
) -> None:
    scene = await begun(request_, used=used)
    assert scene.transport.sent == sent_by(request_)
    assert scene.client.calls == []


async def test_a_request_has_the_host_of_the_target_that_it_goes_to() -> None:
    scene = Scene(hosts=["a", "b"])
    for _ in range(2):
        await scene.begin()
        scene.another()
    assert [each.sent for each in scene.transports] == [sent_by(GET, "a"), sent_by(GET, "b")]


async def test_a_streamed_body_goes_up_as_it_comes() -> None:
    scene = await begun(STREAM)
    assert scene.client.calls == [("resume",)]
    scene.relay.send(b"hello")
    assert scene.transport.sent == sent_by(STREAM) + b"hello"
    scene.relay.send(b"")
    scene.relay.send(b"world")
    scene.relay.finish()
    assert scene.transport.sent == sent_by(STREAM) + b"helloworld"


async def test_a_body_without_a_length_goes_up_chunked_anew() -> None:
    scene = await begun(CHUNKS)
    scene.relay.send(b"hello")
    scene.relay.send(b"")
    scene.relay.send(b"x" * 300)
    assert scene.transport.sent == sent_by(CHUNKS) + b"5\r\nhello\r\n12c\r\n" + b"x" * 300 + b"\r\n"
    scene.relay.finish()
    assert scene.transport.sent.endswith(b"x\r\n0\r\n\r\n")


async def test_a_body_is_asked_for_when_there_is_somebody_to_send_it_to() -> None:
    scene = Scene(STREAM)
    scene.target.gate = asyncio.Event()
    assert not scene.relay.start()
    connecting = asyncio.ensure_future(scene.relay.connect())
    await settled()
    assert scene.client.calls == []
    scene.target.gate.set()
    await connecting
    assert scene.client.calls == [("resume",)]


async def test_a_body_may_come_to_its_end_as_soon_as_it_is_asked_for() -> None:
    scene = Scene(CHUNKS)

    def all_at_once() -> None:
        scene.relay.send(b"hello")
        scene.relay.finish()

    scene.client.on_resume = all_at_once
    await scene.begin()
    assert scene.transport.sent == sent_by(CHUNKS) + b"5\r\nhello\r\n0\r\n\r\n"


async def test_nothing_of_an_earlier_answer_goes_up() -> None:
    scene = await begun()
    scene.transport.says(b"HTTP/1.1 200 OK\r\nSet-Cookie: a=b\r\nWWW-Authenticate: x\r\nContent-Length: 0\r\n\r\n")
    await scene.another().begin()
    assert scene.transport.sent == sent_by(GET) * 2


# What comes down.


class Case(NamedTuple):
    """An answer, and what the client sees of it: where the chunks lie, is left out (`joined_chunks`).

    `closes`: the answer ends with its connection.
    """

    answer: bytes
    written: bytes
    request: Outgoing = GET
    is_1_1: bool = True
    kept: bool = True
    closes: bool = False


CHUNKED_DOWN = b"Transfer-Encoding: chunked"
ANSWERS = {
    "with a length": Case(HELLO, down(b"HTTP/1.1 200 OK", b"Content-Length: 5") + b"hello"),
    "with length 0": Case(
        b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", down(b"HTTP/1.1 200 OK", b"Content-Length: 0")
    ),
    "with a length that has zeros": Case(
        b"HTTP/1.1 200 OK\r\nContent-Length: 005\r\n\r\nhello",
        down(b"HTTP/1.1 200 OK", b"Content-Length: 5") + b"hello",
    ),
    "chunked": Case(
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nhel\r\n2\r\nlo\r\n0\r\n\r\n",
        down(b"HTTP/1.1 200 OK", CHUNKED_DOWN) + b"hello|\r\n",
    ),
    "chunked, with extensions": Case(
        b'HTTP/1.1 200 OK\r\nTransfer-Encoding: CHUNKED\r\n\r\n3;a=b\r\nhel\r\n002 ; c="d"\r\nlo\r\n000;e\r\n\r\n',
        down(b"HTTP/1.1 200 OK", CHUNKED_DOWN) + b"hello|\r\n",
    ),
    "chunked, and empty": Case(
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        down(b"HTTP/1.1 200 OK", CHUNKED_DOWN) + b"|\r\n",
    ),
    "chunked, with trailers": Case(
        b"HTTP/1.1 200 OK\r\nTrailer: X-T\r\nTransfer-Encoding: chunked\r\n\r\n"
        b"5\r\nhello\r\n0\r\nX-T: 1\r\nSet-Cookie: a\r\nContent-Length: 9\r\nx-u:\r\n\r\n",
        down(b"HTTP/1.1 200 OK", CHUNKED_DOWN, b"Trailer: X-T") + b"hello|X-T: 1\r\nx-u: \r\n\r\n",
    ),
    "chunked, a body that looks like an end": Case(
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n0\r\n\r\n\r\n0\r\n\r\n",
        down(b"HTTP/1.1 200 OK", CHUNKED_DOWN) + b"0\r\n\r\n|\r\n",
    ),
    "until the end": Case(
        b"HTTP/1.1 200 OK\r\n\r\nhello",
        down(b"HTTP/1.1 200 OK", CHUNKED_DOWN) + b"hello|\r\n",
        closes=True,
        kept=False,
    ),
    "until the end, and empty": Case(
        b"HTTP/1.1 200 OK\r\nConnection: keep-alive\r\n\r\n",
        down(b"HTTP/1.1 200 OK", CHUNKED_DOWN) + b"|\r\n",
        closes=True,
        kept=False,
    ),
    "until the end, from HTTP/1.0": Case(
        b"HTTP/1.0 200 OK\r\n\r\nhello",
        down(b"HTTP/1.1 200 OK", CHUNKED_DOWN) + b"hello|\r\n",
        closes=True,
        kept=False,
    ),
    "with a length, from HTTP/1.0": Case(
        b"HTTP/1.0 200 OK\r\nContent-Length: 5\r\n\r\nhello",
        down(b"HTTP/1.1 200 OK", b"Content-Length: 5") + b"hello",
        kept=False,
    ),
    "with a length, from HTTP/1.0 that keeps": Case(
        b"HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nContent-Length: 5\r\n\r\nhello",
        down(b"HTTP/1.1 200 OK", b"Content-Length: 5") + b"hello",
    ),
    "with a length, to HTTP/1.0": Case(HELLO, down(b"HTTP/1.1 200 OK", b"Content-Length: 5") + b"hello", is_1_1=False),
    "chunked, to HTTP/1.0": Case(
        b"HTTP/1.1 200 OK\r\nTrailer: X-T\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\nX-T: 1\r\n\r\n",
        down(b"HTTP/1.1 200 OK", b"Connection: close") + b"hello",
        is_1_1=False,
    ),
    "until the end, to HTTP/1.0": Case(
        b"HTTP/1.1 200 OK\r\n\r\nhello",
        down(b"HTTP/1.1 200 OK", b"Connection: close") + b"hello",
        is_1_1=False,
        closes=True,
        kept=False,
    ),
    "that closes": Case(
        b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 5\r\n\r\nhello",
        down(b"HTTP/1.1 200 OK", b"Content-Length: 5") + b"hello",
        kept=False,
    ),
    "that closes, in other words": Case(
        b"HTTP/1.1 200 OK\r\nConnection: CLOSE, x\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        down(b"HTTP/1.1 200 OK", CHUNKED_DOWN) + b"|\r\n",
        kept=False,
    ),
    "without a phrase": Case(
        b"HTTP/1.1 200 \r\nContent-Length: 5\r\n\r\nhello", down(b"HTTP/1.1 200 ", b"Content-Length: 5") + b"hello"
    ),
    "with a phrase of its own": Case(
        b"HTTP/1.1 404 G\xc3\xb6ne\r\nContent-Length: 0\r\n\r\n",
        down(b"HTTP/1.1 404 G\xc3\xb6ne", b"Content-Length: 0"),
    ),
    "with an odd status": Case(
        b"HTTP/1.1 599 Odd\r\nContent-Length: 2\r\n\r\nno", down(b"HTTP/1.1 599 Odd", b"Content-Length: 2") + b"no"
    ),
    "of 205": Case(
        b"HTTP/1.1 205 Reset Content\r\nContent-Length: 0\r\n\r\n",
        down(b"HTTP/1.1 205 Reset Content", b"Content-Length: 0"),
    ),
    "of 204": Case(b"HTTP/1.1 204 No Content\r\n\r\n", down(b"HTTP/1.1 204 No Content")),
    "of 204 with a length, which it must not have": Case(
        b"HTTP/1.1 204 No Content\r\nContent-Length: 0\r\n\r\n", down(b"HTTP/1.1 204 No Content")
    ),
    "of 204 that says that it has a body": Case(
        b"HTTP/1.1 204 No Content\r\nContent-Length: 5\r\n\r\n", down(b"HTTP/1.1 204 No Content"), kept=False
    ),
    "of 204 that says that it is chunked": Case(
        b"HTTP/1.1 204 No Content\r\nTransfer-Encoding: chunked\r\n\r\n", down(b"HTTP/1.1 204 No Content"), kept=False
    ),
    "of 304": Case(b"HTTP/1.1 304 Not Modified\r\n\r\n", down(b"HTTP/1.1 304 Not Modified")),
    "of 304 with the length of what it does not bring": Case(
        b"HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n\r\n",
        down(b"HTTP/1.1 304 Not Modified", b"Content-Length: 5"),
    ),
    "to HEAD": Case(b"HTTP/1.1 200 OK\r\n\r\n", down(b"HTTP/1.1 200 OK"), HEAD),
    "to HEAD with a length": Case(
        b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n", down(b"HTTP/1.1 200 OK", b"Content-Length: 5"), HEAD
    ),
    "to HEAD, said to be chunked": Case(
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", down(b"HTTP/1.1 200 OK"), HEAD
    ),
    "to HEAD, that closes": Case(
        b"HTTP/1.0 200 OK\r\nContent-Length: 5\r\n\r\n",
        down(b"HTTP/1.1 200 OK", b"Content-Length: 5"),
        HEAD,
        kept=False,
    ),
    "to HEAD in HTTP/1.0": Case(
        b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n",
        down(b"HTTP/1.1 200 OK", b"Content-Length: 5"),
        HEAD,
        is_1_1=False,
    ),
    "behind interim ones": Case(
        b"HTTP/1.1 103 Early Hints\r\nLink: x\r\nSet-Cookie: a\r\nContent-Length: 7\r\n\r\n"
        b"HTTP/1.1 100 Continue\r\n\r\n" + HELLO,
        down(b"HTTP/1.1 103 Early Hints", b"Link: x", interim=True)
        + down(b"HTTP/1.1 100 Continue", interim=True)
        + down(b"HTTP/1.1 200 OK", b"Content-Length: 5")
        + b"hello",
    ),
    "behind interim ones, to HTTP/1.0": Case(
        b"HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\nHTTP/1.1 100 Continue\r\n\r\n" + HELLO,
        down(b"HTTP/1.1 200 OK", b"Content-Length: 5") + b"hello",
        is_1_1=False,
    ),
    "with fields of every kind": Case(
        b"HTTP/1.1 200 OK\r\nX-B: 2\r\nx-a:\r\nX-b:  \xc3\xa4\xff \r\nSet-Cookie: a=b\r\nKeep-Alive: 5\r\n"
        b"Connection: x-c\r\nX-C: 3\r\nContent-Encoding: gzip\r\nContent-Length: 5\r\n\r\nhello",
        down(
            b"HTTP/1.1 200 OK",
            b"X-B: 2",
            b"x-a: ",
            b"X-b: \xc3\xa4\xff",
            b"Content-Encoding: gzip",
            b"Content-Length: 5",
        )
        + b"hello",
    ),
    **{
        f"of {status}, which is not followed": Case(
            b"HTTP/1.1 %d Moved\r\nLocation: /b\r\nContent-Length: 0\r\n\r\n" % status,
            down(b"HTTP/1.1 %d Moved" % status, b"Location: /b", b"Content-Length: 0"),
        )
        for status in (301, 302, 303, 307, 308)
    },
}
every_answer = pytest.mark.parametrize("case", [pytest.param(case, id=name) for name, case in ANSWERS.items()])


async def answered(case: Case, reads: Iterable[bytes], *, used: bool = False) -> Scene:
    scene = await begun(case.request, used=used, is_1_1=case.is_1_1)
    for data in reads:
        scene.transport.says(data)
    if case.closes:
        assert scene.client.end is None
        scene.transport.ends()
    return scene


def one_by_one(text: bytes) -> list[bytes]:
    return [text[index : index + 1] for index in range(len(text))]


@every_answer
async def test_an_answer_comes_down(case: Case) -> None:
    scene = await answered(case, [case.answer])
    assert without_chunk_boundaries(scene.client.written) == case.written
    scene.check("done", kept=case.kept)
    assert scene.transports == [scene.transport]


@every_answer
async def test_an_answer_that_comes_byte_by_byte_comes_down_alike(case: Case) -> None:
    scene = await answered(case, one_by_one(case.answer), used=True)
    assert without_chunk_boundaries(scene.client.written) == case.written
    scene.check("done", kept=case.kept)


@given(st.sampled_from(list(ANSWERS.values())), st.lists(st.integers(0, 300), max_size=6))
async def test_however_an_answer_is_split_it_comes_down_alike(case: Case, cuts: list[int]) -> None:
    places = sorted({0, len(case.answer), *(cut % len(case.answer) for cut in cuts)})
    scene = await answered(case, [case.answer[start:stop] for start, stop in pairwise(places)])
    assert without_chunk_boundaries(scene.client.written) == case.written
    scene.check("done", kept=case.kept)


pieces = st.lists(st.binary(min_size=1, max_size=40) | st.just(b"x" * 70_000), max_size=5)


@given(pieces, st.sampled_from(["length", "chunked", "close"]), st.booleans(), st.data())
async def test_any_payload_comes_down_as_it_is(
    payload: list[bytes],
    framed: str,
    is_1_1: bool,  # noqa: FBT001 - drawn
    data: st.DataObject,
) -> None:
    whole = b"".join(payload)
    match framed:
        case "length":
            body, field = whole, b"Content-Length: %d\r\n" % len(whole)
        case "chunked":
            body = b"".join(b"%x\r\n%b\r\n" % (len(piece), piece) for piece in payload) + b"0\r\n\r\n"
            field = b"Transfer-Encoding: chunked\r\n"
        case _:
            body, field = whole, b""
    answer = b"HTTP/1.1 200 OK\r\n" + field + b"\r\n" + body
    cut = data.draw(st.integers(0, len(answer)))
    scene = await begun(is_1_1=is_1_1)
    scene.transport.says(answer[:cut])
    scene.transport.says(answer[cut:])
    if framed == "close":
        scene.transport.ends()
    _, behind = without_chunk_boundaries(scene.client.written).split(b"\r\n\r\n", 1)
    assert behind == whole + (b"|\r\n" if is_1_1 and framed != "length" else b"")
    scene.check("done", kept=framed != "close")


async def test_a_head_and_a_body_that_come_together_are_written_together() -> None:
    scene = await begun()
    scene.transport.says(HELLO)
    assert len(scene.client.writes) == 1


@pytest.mark.parametrize("framing", [b"Transfer-Encoding: chunked\r\n", b"Content-Length: 100\r\n", b""])
async def test_an_event_comes_down_before_the_next_one_is_there(framing: bytes) -> None:
    scene = await begun()
    scene.transport.says(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n%b\r\n" % framing)
    assert b"text/event-stream" in scene.client.written
    for number in range(3):
        event = b"data: %d\n\n" % number
        scene.transport.says(b"9\r\n%b\r\n" % event if b"chunked" in framing else event)
        assert event in scene.client.writes[-1]


async def test_a_compressed_body_stays_compressed() -> None:
    packed = gzip.compress(b"hello" * 100)
    scene = await begun()
    scene.transport.says(
        b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: %d\r\n\r\n%b" % (len(packed), packed)
    )
    assert scene.client.written.endswith(b"\r\n\r\n" + packed)
    assert b"\r\nContent-Encoding: gzip\r\n" in scene.client.written


async def test_the_client_is_told_the_status_before_it_is_written() -> None:
    scene = await begun()
    scene.transport.says(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n")
    assert [call[0] for call in scene.client.calls] == ["begin", "write", "done"]
    assert scene.client.calls[0] == ("begin", 404, False)


async def test_32_interim_answers_come_down_and_one_more_is_no_answer() -> None:
    for number, end in ((32, "done"), (33, "fail")):
        scene = await begun()
        scene.transport.says(b"HTTP/1.1 102 Processing\r\n\r\n" * number)
        if end == "done":
            scene.transport.says(HELLO)
        assert sum(head.startswith(b"HTTP/1.1 102") for head, _ in heads(scene.client.written)) == 32
        assert scene.client.end == end
        scene.check_nothing_is_left()


# What of a head is remembered.


async def test_an_answer_whose_head_was_seen_before_comes_down_alike() -> None:
    scene = Scene()
    answer = b"HTTP/1.1 200 OK\r\nX-A: 1\r\nSet-Cookie: a=b\r\nTrailer: x\r\nTransfer-Encoding: chunked\r\n\r\n"
    written = []
    for number in range(4):
        await scene.begin()
        scene.transport.says(answer + b"1\r\n%d\r\n0\r\n\r\n" % number)
        written.append(scene.client.written.replace(b"%d\r\n0\r\n" % number, b"N\r\n0\r\n"))
        scene.another()
    assert set(written) == {written[0]}


async def test_an_answer_to_head_and_one_to_get_may_have_the_same_head() -> None:
    scene = Scene()
    for _ in range(3):
        for request, body in ((GET, b"hello"), (HEAD, b"")):
            await scene.another(request).begin()
            scene.transport.says(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n" + body)
            assert scene.client.written == down(b"HTTP/1.1 200 OK", b"Content-Length: 5") + body
    assert len(scene.transports) == 1


async def test_a_secret_does_not_come_down_in_a_trailer_either() -> None:
    scene = Scene(secrets=["X-Secret"])
    await scene.begin()
    scene.transport.says(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nX_secret: hush\r\nX-T: 1\r\n\r\n")
    assert scene.client.written.endswith(b"\r\n\r\n0\r\nX-T: 1\r\n\r\n")


async def test_one_client_s_request_id_is_not_another_s() -> None:
    scene = Scene()
    for number in range(4):
        scene.another()
        scene.client.request_id = b"request-%d" % number
        await scene.begin()
        scene.transport.says(HELLO)
        assert b"X-Request-Id: request-%d\r\n" % number in scene.client.written


async def test_cookies_come_down_where_they_are_opened() -> None:
    scene = Scene(passed=[b"set-cookie"])
    for _ in range(3):
        await scene.another().begin()
        scene.transport.says(b"HTTP/1.1 204 No Content\r\nSet-Cookie: a=b\r\n\r\n")
        assert b"\r\nSet-Cookie: a=b\r\n" in scene.client.written


@pytest.mark.parametrize(
    "field",
    [
        *(b"Set-Cookie: hush", b"X-Auth-Key: hush", b"Authorization: hush", b"set_cookie: hush"),
        *(b"X-Secret: hush", b"x_secret: hush"),
    ],
)
def test_a_head_that_holds_a_secret_is_not_remembered_and_the_secret_does_not_come_down(field: bytes) -> None:
    reader = AnswerReader(secrets=frozenset({"x-secret"}))
    for _ in range(3):
        found = reader.read(b"HTTP/1.1 200 OK\r\nX-A: 1\r\n%b\r\n\r\n" % field)
        assert found is not None
        assert found[1] == b"HTTP/1.1 200 OK\r\nX-A: 1\r\nCache-Control: private\r\n"
    assert not reader._heads.known
    assert list(reader._lines.lines) == [b"X-A: 1"]
    for _ in range(2):
        reader.read(HELLO)
    assert len(reader._heads.known) == 1


def test_what_is_remembered_of_heads_is_bounded() -> None:
    reader = AnswerReader()
    for number in range(2000):
        for _ in range(2):
            reader.read(b"HTTP/1.1 200 OK\r\nX-A: %d\r\n\r\n" % number)
            reader.read(b"HTTP/1.1 200 OK\r\nX-A: %b\r\n\r\n" % (b"%04d" % number * 1000))
    assert len(reader._heads.known) <= 512
    assert all(len(head) <= 2048 for head in reader._heads.known)


# What is no answer.


@pytest.mark.parametrize(
    "answer",
    [
        pytest.param(b"junk\r\n\r\n", id="not HTTP"),
        pytest.param(b"HTTP/1.1 20 OK\r\n\r\n", id="a status of two digits"),
        pytest.param(b"HTTP/2.0 200 OK\r\nContent-Length: 0\r\n\r\n", id="another version"),
        pytest.param(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 5\r\n\r\nhello", id="two lengths"),
        pytest.param(
            b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
            id="a length and chunked",
        ),
        pytest.param(
            b"HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n", id="chunked in HTTP/1.0"
        ),
        pytest.param(b"HTTP/1.1 200 OK\r\nX: a\x00b\r\nContent-Length: 0\r\n\r\n", id="NUL in a value"),
        pytest.param(b"HTTP/1.1 200 OK\r\nX: a\r\n Set-Cookie: b\r\nContent-Length: 0\r\n\r\n", id="a folded line"),
        pytest.param(b"HTTP/1.1 200 OK\nContent-Length: 0\n\n", id="bare LF"),
        pytest.param(b"HTTP/1.1 200 OK\r\nX: " + b"x" * 65537, id="a field over 64 KiB"),
        pytest.param(b"HTTP/1.1 200 OK\r\n" + b"X: x\r\n" * 129 + b"\r\n", id="129 fields"),
        pytest.param(b"HTTP/1.1 100 Continue\r\n\r\njunk\r\n\r\n", id="junk behind an interim answer"),
        pytest.param(SWITCH, id="a 101 that nobody asked for"),
    ],
)
@pytest.mark.parametrize("request_", [pytest.param(GET, id="GET"), pytest.param(POST, id="POST")])
async def test_an_answer_that_two_readers_could_read_differently_is_none(request_: Outgoing, answer: bytes) -> None:
    scene = await begun(request_)
    scene.transport.says(answer)
    scene.check_failed()
    assert scene.target.failures == 1
    assert scene.transports == [scene.transport], "it is not asked again"


@pytest.mark.parametrize("end", [FakeTransport.ends, FakeTransport.breaks])
@every_answer
async def test_an_answer_cut_at_any_byte_never_comes_to_a_clean_end(
    case: Case, end: Callable[[FakeTransport], None]
) -> None:
    *_, (_, behind) = heads(case.answer.replace(b"HTTP/1.0", b"HTTP/1.1"))
    head_size = len(case.answer) - len(behind)
    for size in range(1, len(case.answer)):
        scene = await begun(case.request, is_1_1=case.is_1_1)
        scene.transport.says(case.answer[:size])
        end(scene.transport)
        if size < head_size:
            scene.check_failed()
        elif case.closes and end is FakeTransport.ends:
            assert scene.client.end == "done"  # nobody can tell
        else:
            scene.check("abort", kept=False)
            assert case.written.startswith(without_chunk_boundaries(scene.client.written))
            assert b"|" not in without_chunk_boundaries(scene.client.written)
        scene.check_nothing_is_left()


async def test_an_answer_until_the_end_that_is_broken_off_has_no_end() -> None:
    for is_1_1 in (True, False):
        scene = await begun(is_1_1=is_1_1)
        scene.transport.says(b"HTTP/1.1 200 OK\r\n\r\nhello")
        scene.transport.breaks()
        scene.check("abort", kept=False)


@pytest.mark.parametrize(
    "body",
    [
        pytest.param(b"xyz\r\n", id="a chunk that is none"),
        pytest.param(b"5\r\nhelloxy0\r\n\r\n", id="a chunk that goes on behind its size"),
        pytest.param(b"-1\r\n", id="a negative size"),
        pytest.param(b"5 \r\nhello\r\n0\r\n\r\n", id="a blank behind a size"),
        pytest.param(b"11111111111111111\r\n", id="a size of 17 digits"),
        pytest.param(b"5\nhello\n0\n\n", id="bare LF"),
        pytest.param(b"0\r\nX : y\r\n\r\n", id="a trailer that is none"),
    ],
)
async def test_a_body_that_is_not_framed_as_it_should_be_breaks_off(body: bytes) -> None:
    for reads in ([body], one_by_one(body)):
        scene = await begun()
        scene.transport.says(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        scene.transport.says(b"2\r\nab\r\n")
        for data in reads:
            if scene.client.end is None:
                scene.transport.says(data)
        scene.check("abort", kept=False)
        assert not scene.client.written.endswith(b"0\r\n\r\n")
        assert scene.target.failures == 1


@pytest.mark.parametrize("said", [b"junk\r\n\r\n", HELLO, HELLO[:-1]])
async def test_after_the_end_nothing_more_is_told_and_nothing_more_is_sent(said: bytes) -> None:
    scene = await begun(CHUNKS)
    scene.transport.says(said)
    if scene.client.end is None:
        scene.transport.breaks()
    told, sent = list(scene.client.calls), scene.transport.sent
    for late in (
        scene.relay.timed_out,
        scene.relay.client_full,
        scene.relay.client_ready,
        lambda: scene.relay.send(b"hello"),
        scene.relay.finish,
        scene.relay.client_gone,
    ):
        late()
    await settled()
    assert (scene.client.calls, scene.transport.sent) == (told, sent)
    scene.check_nothing_is_left()


async def test_what_is_logged_of_a_failure_is_the_request_and_no_byte_of_the_answer() -> None:
    scene = await begun(POST)
    with capture_logs() as logged:
        scene.transport.says(b"HTTP/1.1 200 OK\r\nX: hush\x00\r\n\r\n")
    (line,) = logged
    assert line["request_id"] == "request-0001"
    assert "hush" not in str(line)


# Which connections are kept.


async def test_a_connection_carries_one_exchange_after_another() -> None:
    scene = Scene()
    for number in range(3):
        await scene.another().begin()
        scene.transport.says(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\n%d\r\n0\r\n\r\n" % number)
        scene.check("done", kept=True)
    assert scene.transport.sent == sent_by(GET) * 3
    assert len(scene.transports) == 1


PLANTED = b"HTTP/1.1 200 OK\r\nContent-Length: 7\r\n\r\nplanted"


@pytest.mark.parametrize("behind", [PLANTED, b"\r\n", b"x"])
@pytest.mark.parametrize("name", [name for name, case in ANSWERS.items() if case.kept])
async def test_bytes_behind_an_answer_are_nobody_s_answer(name: str, behind: bytes) -> None:
    case = ANSWERS[name]
    scene = await answered(case, [case.answer + behind])
    assert without_chunk_boundaries(scene.client.written) == case.written
    scene.check("done", kept=False)
    await scene.another().begin()
    assert len(scene.transports) == 2


async def test_bytes_on_a_kept_connection_are_nobody_s_answer() -> None:
    scene = await begun()
    scene.transport.says(HELLO)
    scene.transport.says(PLANTED)
    scene.check("done", kept=False)
    await scene.another().begin()
    scene.transport.says(HELLO)
    assert scene.client.written.endswith(b"hello")
    assert len(scene.transports) == 2


async def test_a_connection_that_ends_with_its_answer_is_not_kept() -> None:
    scene = await begun()
    scene.transport.says(HELLO)
    scene.transport.ends()
    await settled()
    scene.check("done", kept=False)


async def test_the_upstream_is_well_that_answers_and_closes() -> None:
    scene = Scene(hosts=["a", "b"])
    scene.pool.failed(scene.targets[0])
    await scene.begin()
    scene.transport.says(b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 0\r\n\r\n")
    scene.check("done", kept=False)
    assert scene.targets[0].failures == 0


# A client that does not keep up.


async def test_who_does_not_keep_up_holds_the_upstream_up() -> None:
    scene = await begun()
    scene.transport.says(HELLO[:-2])
    scene.relay.client_full()
    scene.relay.client_full()
    assert not scene.transport.is_reading()
    scene.relay.client_ready()
    assert scene.transport.is_reading()
    scene.relay.client_ready()
    scene.relay.client_full()
    assert not scene.transport.is_reading()
    scene.relay.client_ready()
    scene.transport.says(HELLO[-2:])
    scene.check("done", kept=True)


async def test_a_connection_that_was_held_up_is_read_from_again_when_it_is_kept() -> None:
    scene = await begun()
    scene.client.on_write = lambda _: scene.relay.client_full()
    scene.transport.says(HELLO)
    scene.check("done", kept=True)
    scene.relay.client_ready()
    await scene.another().begin()
    scene.transport.says(HELLO)
    scene.check("done", kept=True)


async def test_nobody_is_held_up_by_a_client_whose_exchange_is_over() -> None:
    scene = await begun()
    scene.transport.says(HELLO)
    scene.relay.client_full()
    assert scene.transport.is_reading()
    await scene.another().begin()
    assert scene.transport.is_reading()


async def test_there_is_nobody_to_hold_up_before_there_is_a_connection() -> None:
    scene = Scene()
    scene.relay.client_full()
    scene.relay.client_ready()
    await scene.begin()
    assert scene.transport.is_reading()


# An upstream that does not keep up.


async def test_an_upstream_that_does_not_keep_up_holds_the_body_up() -> None:
    scene = await begun(CHUNKS)
    scene.transport.takes(8)
    scene.relay.send(b"hello")
    assert scene.client.is_held
    scene.transport.takes(1)
    assert scene.client.is_held
    scene.transport.takes()
    assert not scene.client.is_held
    scene.relay.send(b"x")
    scene.relay.finish()
    assert scene.transport.sent == sent_by(CHUNKS) + b"5\r\nhello\r\n1\r\nx\r\n0\r\n\r\n"
    scene.transport.says(HELLO)
    scene.check("done", kept=True)


async def test_a_body_is_not_asked_for_before_the_upstream_has_taken_the_head() -> None:
    scene = Scene(STREAM)
    scene.target.room = 10
    await scene.begin()
    assert ("resume",) not in scene.client.calls
    scene.transport.takes()
    assert scene.client.calls[-1] == ("resume",)


async def test_a_body_that_is_not_taken_is_a_timeout() -> None:
    scene = await begun(CHUNKS)
    scene.transport.takes(0)
    scene.relay.send(b"hello")
    scene.clock.advance(TIMEOUT - 0.1)
    assert scene.client.end is None
    scene.clock.advance(0.1)
    scene.check_failed(Reason.UPSTREAM_TIMEOUT)


async def test_an_upstream_that_takes_the_body_slowly_has_its_time_for_each_piece() -> None:
    scene = await begun(CHUNKS)
    for _ in range(5):
        scene.transport.takes(0)
        scene.relay.send(b"hello")
        scene.clock.advance(TIMEOUT - 1)
        scene.transport.takes()
    scene.clock.advance(10 * TIMEOUT)  # it is the client who is slow now
    assert scene.client.end is None


async def test_an_upstream_that_has_taken_a_whole_body_at_last_has_its_time_still_to_keep() -> None:
    scene = Scene(POST)
    scene.target.room = 20
    await scene.begin()
    scene.clock.advance(TIMEOUT - 1)
    scene.transport.takes()
    assert scene.client.end is None
    scene.clock.advance(1)
    scene.check_failed(Reason.UPSTREAM_TIMEOUT)


async def test_a_body_that_is_not_taken_is_one_though_interim_answers_come() -> None:
    scene = await begun(CHUNKS)
    scene.transport.takes(0)
    scene.relay.send(b"hello")
    scene.transport.says(b"HTTP/1.1 103 Early Hints\r\n\r\n")
    scene.clock.advance(TIMEOUT)
    scene.check_failed(Reason.UPSTREAM_TIMEOUT)


async def test_an_upstream_that_neither_says_nor_takes_anything_is_given_up_though_its_answer_has_begun() -> None:
    scene = await begun(CHUNKS)
    scene.transport.says(HELLO[:-1])
    scene.transport.takes(0)
    scene.relay.send(b"hello")
    scene.clock.advance(TIMEOUT - 1)
    assert scene.client.end is None
    scene.clock.advance(1)
    scene.check("abort", kept=False)


@pytest.mark.parametrize("answer", [pytest.param(b"Content-Length: 100", id="with a length"), CHUNKED_DOWN])
async def test_an_upstream_that_goes_on_with_its_answer_is_not_given_up_because_it_takes_no_more(answer: bytes) -> None:
    scene = await begun(CHUNKS)
    scene.transport.says(b"HTTP/1.1 200 OK\r\n%b\r\n\r\n" % answer)
    scene.transport.takes(0)
    scene.relay.send(b"hello")
    for _ in range(5):
        scene.clock.advance(TIMEOUT - 1)
        scene.transport.says(b"1\r\nx\r\n")
    assert scene.client.end is None
    scene.clock.advance(TIMEOUT)
    scene.check("abort", kept=False)


async def test_a_stream_may_pause_though_its_whole_request_was_never_taken() -> None:
    scene = Scene(POST)
    scene.target.room = 20
    await scene.begin()
    scene.transport.says(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
    scene.transport.says(b"1\r\nx\r\n")
    scene.clock.advance(1000 * TIMEOUT)
    assert scene.client.end is None


async def test_who_was_never_full_cannot_be_ready_again() -> None:
    """TLS says so of its handshake, whose last bytes it may send behind the request's first."""
    scene = await begun(EXPECTING)
    scene.client.hold_body()
    scene.relay.upstream_ready()
    assert scene.client.is_held
    scene.clock.advance(TIMEOUT)
    scene.check_failed(Reason.UPSTREAM_TIMEOUT)


async def test_a_connection_on_which_the_request_is_not_sent_to_its_end_is_not_kept() -> None:
    """The next request would wait behind what nobody may ever take."""
    scene = Scene(POST)
    scene.target.room = 20
    await scene.begin()
    scene.transport.says(HELLO)
    scene.check("done", kept=False)


# Time.


@pytest.mark.parametrize("used", [False, True])
@pytest.mark.parametrize(
    "said",
    [
        pytest.param(b"", id="nothing"),
        pytest.param(b"HTTP/1.1 200 OK\r\nX", id="some of a head"),
        pytest.param(b"HTTP/1.1 100 Continue\r\n\r\n", id="an interim answer"),
    ],
)
async def test_an_upstream_that_says_no_more_than_this_is_a_timeout(said: bytes, *, used: bool) -> None:
    scene = await begun(used=used)
    if said:
        scene.transport.says(said)
    scene.clock.advance(TIMEOUT - 0.1)
    assert scene.client.end is None
    scene.clock.advance(0.1)
    scene.check_failed(Reason.UPSTREAM_TIMEOUT)
    assert scene.target.failures == 1, "it is not only the connection that is to blame"
    assert len(scene.transports) == 1, "it is not asked again"


async def test_a_head_that_comes_byte_by_byte_has_no_more_time() -> None:
    scene = await begun()
    for byte in one_by_one(HELLO[:20]):
        scene.clock.advance(TIMEOUT / 21)
        scene.transport.says(byte)
    scene.clock.advance(TIMEOUT)
    scene.check_failed(Reason.UPSTREAM_TIMEOUT)


async def test_each_interim_answer_gives_new_time() -> None:
    scene = await begun()
    for _ in range(5):
        scene.clock.advance(TIMEOUT - 1)
        scene.transport.says(b"HTTP/1.1 102 Processing\r\n\r\n")
    assert scene.client.end is None
    scene.clock.advance(TIMEOUT)
    scene.check_failed(Reason.UPSTREAM_TIMEOUT)


STREAMED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n"


@pytest.mark.parametrize("end", ["\r\n\r\n", "hell"])
async def test_a_stream_may_be_silent_for_as_long_as_it_likes(end: str) -> None:
    scene = await begun()
    size = STREAMED.index(end.encode()) + len(end)
    scene.transport.says(STREAMED[:size])
    scene.clock.advance(1000 * TIMEOUT)
    scene.transport.says(STREAMED[size:])
    scene.check("done", kept=True)


@pytest.mark.parametrize("end", ["\r\n\r\n", "hell"])
async def test_a_body_with_a_length_may_not(end: str) -> None:
    scene = await begun()
    size = HELLO.index(end.encode()) + len(end)
    scene.transport.says(HELLO[:size])
    scene.clock.advance(TIMEOUT - 1)
    assert scene.client.end is None
    scene.clock.advance(1)
    scene.check("abort", kept=False)


async def test_each_piece_of_a_body_gives_new_time_and_so_does_a_client_that_did_not_keep_up() -> None:
    scene = await begun()
    for place in range(len(HELLO) - 5, len(HELLO) - 2):
        scene.transport.says(HELLO[place - 1 : place] if place > len(HELLO) - 5 else HELLO[:place])
        scene.clock.advance(TIMEOUT - 1)
    scene.relay.client_full()
    scene.clock.advance(100 * TIMEOUT)
    scene.relay.client_ready()
    scene.clock.advance(TIMEOUT - 1)
    assert scene.client.end is None
    scene.clock.advance(1)
    scene.check("abort", kept=False)


@pytest.mark.parametrize("request_", [pytest.param(STREAM, id="with a length"), pytest.param(CHUNKS, id="chunked")])
async def test_the_time_for_an_answer_begins_when_the_body_is_sent(request_: Outgoing) -> None:
    scene = await begun(request_)
    for _ in range(2):
        scene.clock.advance(2 * TIMEOUT)
        scene.relay.send(b"hello")
    scene.clock.advance(2 * TIMEOUT)
    scene.relay.finish()
    scene.clock.advance(TIMEOUT - 0.1)
    assert scene.client.end is None
    scene.clock.advance(0.1)
    scene.check_failed(Reason.UPSTREAM_TIMEOUT)


async def test_one_exchange_s_time_is_not_the_next_one_s() -> None:
    scene = await begun()
    scene.clock.advance(TIMEOUT - 1)
    scene.transport.says(HELLO)
    await scene.another().begin()
    scene.clock.advance(TIMEOUT - 1)
    scene.transport.says(HELLO)
    scene.check("done", kept=True)


# Expect: 100-continue.


async def test_a_100_comes_down_and_then_the_body_goes_up_in_the_client_s_own_time() -> None:
    scene = await begun(EXPECTING)
    assert scene.transport.sent == sent_by(EXPECTING)
    scene.transport.says(b"HTTP/1.1 100 Continue\r\n\r\n")
    assert scene.client.written == b"HTTP/1.1 100 Continue\r\n\r\n"
    scene.clock.advance(2 * TIMEOUT)
    scene.relay.send(b"helloworld")
    scene.relay.finish()
    scene.transport.says(HELLO)
    scene.check("done", kept=True)
    assert scene.transport.sent == sent_by(EXPECTING) + b"helloworld"


async def test_an_upstream_that_is_asked_for_a_100_and_says_nothing_is_a_timeout() -> None:
    scene = await begun(EXPECTING)
    scene.clock.advance(TIMEOUT)
    scene.check_failed(Reason.UPSTREAM_TIMEOUT)


async def test_a_client_that_does_not_wait_for_its_100_has_all_the_time_it_wants() -> None:
    """Many do not, after a second (RFC 9110 10.1.1); and many upstreams never send one."""
    scene = await begun(EXPECTING)
    scene.clock.advance(1)
    scene.relay.send(b"hello")
    scene.clock.advance(2 * TIMEOUT)
    scene.relay.send(b"world")
    scene.relay.finish()
    scene.transport.says(HELLO)
    scene.check("done", kept=True)


async def test_an_answer_in_the_place_of_a_100_is_an_answer_and_the_body_is_not_sent() -> None:
    scene = await begun(EXPECTING)
    scene.transport.says(b"HTTP/1.1 417 No\r\nContent-Length: 0\r\n\r\n")
    scene.check("done", kept=False)
    scene.relay.send(b"hello")
    scene.relay.finish()
    assert scene.transport.sent == sent_by(EXPECTING)
    scene.check_nothing_is_left()


# A body and an answer at the same time.


@pytest.mark.parametrize("request_", [pytest.param(STREAM, id="with a length"), pytest.param(CHUNKS, id="chunked")])
async def test_an_answer_before_the_body_s_end_is_an_answer_and_the_rest_is_not_sent(request_: Outgoing) -> None:
    scene = await begun(request_)
    scene.relay.send(b"hello")
    sent = scene.transport.sent
    scene.transport.says(b"HTTP/1.1 413 No\r\nContent-Length: 5\r\n\r\nlarge")
    scene.check("done", kept=False)
    assert scene.client.written.endswith(b"\r\n\r\nlarge")
    scene.relay.send(b"world")
    scene.relay.finish()
    assert scene.transport.sent == sent
    scene.check_nothing_is_left()


async def test_a_body_goes_on_up_while_its_answer_comes_down() -> None:
    scene = await begun(CHUNKS)
    scene.transport.says(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
    for piece in (b"a", b"b"):
        scene.relay.send(piece)
        scene.transport.says(b"1\r\n%b\r\n" % piece)
    scene.relay.finish()
    scene.clock.advance(10 * TIMEOUT)
    scene.transport.says(b"0\r\n\r\n")
    assert without_chunk_boundaries(scene.client.written).endswith(b"ab|\r\n")
    scene.check("done", kept=True)


@pytest.mark.parametrize("request_", [pytest.param(STREAM, id="with a length"), pytest.param(CHUNKS, id="chunked")])
@pytest.mark.parametrize("pieces", [[], [b"hello"]])
@pytest.mark.parametrize(
    ("said", "end"),
    [
        pytest.param(b"", "fail", id="before the answer"),
        pytest.param(b"HTTP/1.1 100 Continue\r\n\r\n", "fail", id="after an interim answer"),
        pytest.param(b"HTTP/1.1 200 OK\r\nX", "fail", id="within the head"),
        pytest.param(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhe", "abort", id="within the answer"),
    ],
)
async def test_a_body_that_is_refused_on_its_way_never_ends_for_the_upstream(
    request_: Outgoing, pieces: list[bytes], said: bytes, end: str
) -> None:
    scene = await begun(request_)
    for piece in pieces:
        scene.relay.send(piece)
    sent = scene.transport.sent
    if said:
        scene.transport.says(said)
    scene.relay.refused(TOO_LATE)
    assert scene.transport.sent == sent
    assert b"\r\n0\r\n\r\n" not in sent
    assert scene.client.deny == (TOO_LATE if end == "fail" else None)
    assert scene.relay.broken is (TOO_LATE.reason if end == "abort" else None)
    scene.check(end, kept=False)
    assert scene.target.failures == 0, "the upstream is not to blame"


# Once more, or not.


def repeated(request: Outgoing, method: str) -> Outgoing:
    return msgspec.structs.replace(
        request, method=method, line=request.line.replace(request.method.encode(), method.encode())
    )


@pytest.mark.parametrize("end", [FakeTransport.ends, FakeTransport.breaks])
@pytest.mark.parametrize("used", [pytest.param(True, id="kept"), pytest.param(False, id="new")])
@pytest.mark.parametrize(
    ("method", "again"),
    [
        *((method, True) for method in ("GET", "HEAD", "OPTIONS", "PUT", "DELETE")),
        *((method, False) for method in ("POST", "PATCH", "PROPFIND", "get")),
    ],
)
async def test_what_may_be_done_twice_is_sent_once_more_when_no_byte_of_an_answer_has_come(
    method: str, end: Callable[[FakeTransport], None], *, again: bool, used: bool
) -> None:
    request = repeated(POST, method)
    scene = await begun(request, used=used)
    first = scene.transport
    end(first)
    if not again:
        scene.check_failed()
        assert len(scene.transports) == 1
        return
    await scene.client.tasks_done()
    assert scene.transport is not first
    assert first.is_closing()
    assert scene.transport.sent == sent_by(request)
    assert scene.client.end is None
    scene.transport.says(HELLO if method != "HEAD" else HELLO[:-5])
    scene.check("done", kept=True)
    assert scene.target.failures == 0


@pytest.mark.parametrize("end", [FakeTransport.ends, FakeTransport.breaks])
@pytest.mark.parametrize(
    "said",
    [
        pytest.param(b"H", id="a byte"),
        pytest.param(b"HTTP/1.1 200 OK\r\nX", id="some of a head"),
        pytest.param(b"HTTP/1.1 100 Continue\r\n\r\n", id="an interim answer"),
    ],
)
async def test_an_answer_of_which_anything_has_come_is_not_asked_for_again(
    said: bytes, end: Callable[[FakeTransport], None]
) -> None:
    scene = await begun(used=True)
    scene.transport.says(said)
    end(scene.transport)
    scene.check_failed()
    assert len(scene.transports) == 1


@pytest.mark.parametrize("end", [FakeTransport.ends, FakeTransport.breaks])
async def test_nothing_is_sent_three_times(end: Callable[[FakeTransport], None]) -> None:
    scene = await begun(used=True)
    end(scene.transport)
    await scene.client.tasks_done()
    end(scene.transport)
    scene.check_failed()
    assert len(scene.transports) == 2
    assert scene.target.failures == 1


async def test_what_is_sent_once_more_is_never_sent_on_a_kept_connection() -> None:
    """Where one of those has been closed, the others may be, too."""
    scene = Scene()
    both = [await scene.pool.acquire(), await scene.pool.acquire()]
    for connection in both:
        scene.pool.release(connection)
    await scene.begin()
    used = both[1]
    transport_of(used).breaks()
    await scene.client.tasks_done()
    assert len(scene.transports) == 3
    assert scene.transports[2].sent == sent_by(GET)


@pytest.mark.parametrize("chunked", [False, True])
async def test_a_body_that_has_not_begun_to_go_up_goes_up_the_second_time(*, chunked: bool) -> None:
    request = repeated(CHUNKS if chunked else STREAM, "PUT")
    scene = await begun(request, used=True)
    scene.transport.ends()
    assert scene.client.is_held, "while there is nobody to send it to"
    await scene.client.tasks_done()
    assert not scene.client.is_held
    scene.relay.send(b"helloworld")
    scene.relay.finish()
    assert scene.transport.sent == sent_by(request) + (b"a\r\nhelloworld\r\n0\r\n\r\n" if chunked else b"helloworld")
    scene.transport.says(HELLO)
    scene.check("done", kept=True)


@pytest.mark.parametrize("pieces", [pytest.param([b"hello"], id="some of it"), pytest.param([], id="its end alone")])
async def test_a_body_of_which_anything_has_gone_up_does_not_go_up_twice(pieces: list[bytes]) -> None:
    scene = await begun(repeated(CHUNKS, "PUT"), used=True)
    for piece in pieces:
        scene.relay.send(piece)
    if not pieces:
        scene.relay.finish()
    scene.transport.ends()
    scene.check_failed()
    assert len(scene.transports) == 1


async def test_a_client_is_not_held_for_ever_by_a_connection_that_is_gone() -> None:
    """Who is not read from, is not seen to leave."""
    scene = Scene(repeated(POST, "PUT"))
    scene.target.room = 20
    await scene.begin()
    assert scene.client.is_held
    scene.transport.ends()
    scene.target.room = None
    await scene.client.tasks_done()
    assert not scene.client.is_held
    scene.transport.says(HELLO)
    scene.check("done", kept=True)


# Who is to blame, and who is asked instead.


async def test_a_new_connection_that_fails_sends_the_request_to_another_target() -> None:
    """Though that has more to do."""
    scene = Scene(hosts=["a", "b"])
    for _ in range(3):
        await scene.pool.acquire(scene.target)
    await scene.begin()
    scene.transport.breaks()
    await scene.client.tasks_done()
    assert [each.failures for each in scene.targets] == [1, 0]
    assert scene.transport.sent == sent_by(GET, "b")


@pytest.mark.parametrize("end", [FakeTransport.ends, FakeTransport.breaks])
async def test_a_kept_connection_may_be_closed_at_any_time_and_nobody_is_to_blame(
    end: Callable[[FakeTransport], None],
) -> None:
    scene = await begun(POST, used=True)
    end(scene.transport)
    scene.check_failed()
    assert scene.target.failures == 0


@pytest.mark.parametrize("end", [FakeTransport.ends, FakeTransport.breaks])
async def test_but_whoever_closes_within_an_answer_is(end: Callable[[FakeTransport], None]) -> None:
    scene = await begun(used=True)
    scene.transport.says(HELLO[:-1])
    end(scene.transport)
    scene.check("abort", kept=False)
    assert scene.target.failures == 1


@pytest.mark.parametrize("request_", [pytest.param(GET, id="GET"), pytest.param(POST, id="POST")])
async def test_what_could_not_be_sent_goes_to_another_target_whatever_it_is(request_: Outgoing) -> None:
    """However often: a target that is down costs nobody an answer, though the others have more to do."""
    scene = Scene(request_, hosts=["a", "b"], max_connections=10)
    scene.target.failure = ConnectionRefusedError()
    for _ in range(3):
        await scene.pool.acquire(scene.target)
    for _ in range(6):
        await scene.another(request_).begin()
        scene.transport.says(HELLO)
        assert scene.client.end == "done"
    assert scene.target.failures == FAILURES, "and then it is left alone"


async def test_what_could_not_be_sent_to_two_targets_is_not_tried_at_a_third() -> None:
    scene = Scene(hosts=["a", "b", "c"])
    for target in scene.targets:
        target.failure = ConnectionRefusedError()
    await scene.begin()
    assert scene.client.deny == Deny(reason=Reason.UPSTREAM_UNREACHABLE)
    scene.check_nothing_is_left()
    assert sum(target.failures for target in scene.targets) == 2


async def test_a_target_that_cannot_be_reached_in_time_is_a_timeout() -> None:
    scene = Scene()
    scene.target.failure = TimeoutError()
    await scene.begin()
    assert scene.client.deny == Deny(reason=Reason.UPSTREAM_TIMEOUT)


async def test_the_only_target_is_not_tried_twice_when_it_cannot_be_reached() -> None:
    scene = Scene()
    scene.target.failure = ConnectionRefusedError()
    await scene.begin()
    assert scene.client.deny == Deny(reason=Reason.UPSTREAM_UNREACHABLE)
    assert scene.target.failures == 1


@in_skipping_time
async def test_who_waited_in_vain_for_a_connection_does_not_wait_twice() -> None:
    scene = Scene(hosts=["a", "b"], max_connections=1, wait_timeout=60)
    for _ in scene.targets:
        await scene.pool.acquire()
    connecting = asyncio.ensure_future(scene.relay.connect())
    await settled()
    await skip(59)
    assert scene.client.end is None
    await skip(1.1)
    assert scene.client.deny == Deny(reason=Reason.UPSTREAM_TIMEOUT)
    assert sum(target.failures for target in scene.targets) == 0
    await connecting


# A client that is gone.


@pytest.mark.parametrize(
    "said",
    [
        pytest.param(b"", id="before the answer"),
        pytest.param(b"HTTP/1.1 200 OK\r\nX", id="within the head"),
        pytest.param(b"HTTP/1.1 100 Continue\r\n\r\n", id="after an interim answer"),
        pytest.param(HELLO[:-1], id="within the answer"),
    ],
)
@pytest.mark.parametrize("request_", [pytest.param(GET, id="GET"), pytest.param(CHUNKS, id="within its body")])
async def test_a_client_that_is_gone_cancels_its_request(request_: Outgoing, said: bytes) -> None:
    scene = await begun(request_, used=True)
    if said:
        scene.transport.says(said)
    before = list(scene.client.calls)
    scene.relay.client_gone()
    await settled()
    scene.relay.client_gone()
    assert scene.client.calls == before
    assert scene.transport.is_closing()
    scene.check_nothing_is_left()
    assert scene.target.failures == 0, "the upstream is not to blame"
    assert len(scene.transports) == 1


@pytest.mark.parametrize("answer", [HELLO, HELLO[:-1], b"HTTP/1.1 100 Continue\r\n\r\n" + HELLO, SWITCH])
async def test_a_client_may_go_while_it_is_written_to(answer: bytes) -> None:
    scene = await begun(UPGRADE)
    scene.client.on_write = lambda _: scene.relay.client_gone()
    scene.client.is_gone = True
    scene.transport.says(answer)
    await settled()
    assert scene.client.end is None
    scene.check_nothing_is_left()


async def test_a_client_that_goes_while_its_request_waits_for_a_connection_has_sent_nothing() -> None:
    scene = Scene()
    scene.target.gate = asyncio.Event()
    connecting = asyncio.ensure_future(scene.relay.connect())
    await settled()
    scene.relay.client_gone()
    scene.target.gate.set()  # and what is there in the same moment
    await connecting
    assert [each.sent for each in scene.transports] in ([], [b""])
    assert scene.client.calls == []
    await settled()
    scene.check_nothing_is_left()


async def test_nor_has_one_whose_body_was_refused_by_then() -> None:
    scene = Scene(STREAM)
    scene.target.gate = asyncio.Event()
    connecting = asyncio.ensure_future(scene.relay.connect())
    await settled()
    scene.relay.refused(TOO_LATE)
    scene.target.gate.set()
    await connecting
    assert [each.sent for each in scene.transports] in ([], [b""])
    assert scene.client.calls == [("fail", TOO_LATE)]
    await settled()
    scene.check_nothing_is_left()


async def test_nor_has_one_who_is_gone_before_it_goes_to_another_target() -> None:
    scene = Scene(hosts=["a", "b"])
    scene.targets[0].gate, scene.targets[0].failure = asyncio.Event(), ConnectionRefusedError()
    connecting = asyncio.ensure_future(scene.relay.connect())
    await settled()
    scene.relay.client_gone()
    scene.targets[0].gate.set()
    await connecting
    assert scene.transports == []
    assert scene.client.calls == []


async def test_a_client_that_goes_while_its_request_is_sent_once_more_has_sent_it_once() -> None:
    scene = await begun(used=True)
    scene.target.gate = asyncio.Event()
    scene.transport.ends()
    await settled()
    scene.relay.client_gone()
    scene.client.leave()
    await settled()
    assert len(scene.transports) == 1
    scene.check_nothing_is_left()


# Tunnels.


async def tunnel(*, half_close: bool = True, client_closes_by_half: bool = True, used: bool = False) -> Scene:
    scene = Scene(UPGRADE, client_closes_by_half=client_closes_by_half)
    scene.target.closes_by_half = half_close
    await scene.begin(used=used)
    scene.transport.says(SWITCH)
    return scene


async def test_a_101_that_was_asked_for_opens_a_tunnel() -> None:
    scene = await begun(UPGRADE)
    scene.transport.says(SWITCH + b"first")
    assert scene.client.calls == [
        ("begin", 101, True),
        (
            "write",
            (
                b"HTTP/1.1 101 Switching Protocols\r\nX-A: 1\r\nX-Request-Id: request-0001\r\n"
                b"Connection: Upgrade\r\nUpgrade: websocket\r\n\r\nfirst"
            ),
        ),
        ("tunnel",),
    ]
    scene.relay.send_through(b"HTTP/1.1 up \x00")
    scene.transport.says(b"\xff down")
    assert scene.transport.sent == sent_by(UPGRADE) + b"HTTP/1.1 up \x00"
    assert scene.client.writes[-1] == b"\xff down"
    scene.clock.advance(1000 * TIMEOUT)
    assert scene.client.end is None


@pytest.mark.parametrize(
    ("request_", "answer"),
    [
        pytest.param(GET, SWITCH, id="that nobody asked for"),
        pytest.param(UPGRADE, SWITCH.replace(b"Upgrade: websocket", b"Upgrade: h2c"), id="to something else"),
        pytest.param(UPGRADE, SWITCH.replace(b"Upgrade: websocket\r\n", b""), id="to nothing"),
        pytest.param(UPGRADE, SWITCH.replace(b"websocket", b"websocket, h2c"), id="to two things"),
        pytest.param(UPGRADE, SWITCH.replace(b"X-A: 1", b"Upgrade: h2c"), id="to two things in two fields"),
        pytest.param(UPGRADE, SWITCH.replace(b"Connection: Upgrade\r\n", b""), id="without the option"),
        pytest.param(UPGRADE, SWITCH.replace(b"Connection: Upgrade", b"Connection: close"), id="with another option"),
    ],
)
async def test_a_101_is_no_answer(request_: Outgoing, answer: bytes) -> None:
    scene = await begun(request_)
    scene.transport.says(answer + b"first")
    scene.check_failed()
    assert scene.client.written == b""


@pytest.mark.parametrize("answer", [HELLO, b"HTTP/1.1 426 No\r\nUpgrade: x\r\nContent-Length: 0\r\n\r\n"])
async def test_an_upgrade_may_be_declined(answer: bytes) -> None:
    scene = await begun(UPGRADE)
    scene.transport.says(answer)
    assert ("tunnel",) not in scene.client.calls
    scene.check("done", kept=True)


async def test_a_tunnel_may_open_at_the_second_attempt_and_its_client_is_heard() -> None:
    scene = await begun(UPGRADE, used=True)
    scene.transport.ends()
    await scene.client.tasks_done()
    scene.transport.says(SWITCH)
    assert ("tunnel",) in scene.client.calls
    assert not scene.client.is_held


async def test_a_client_s_end_is_passed_on_and_then_the_upstream_s() -> None:
    scene = await tunnel()
    scene.relay.send_through(b"last")
    scene.relay.client_ended()
    assert scene.transport.is_eof
    assert scene.transport.sent.endswith(b"last")
    scene.transport.says(b"answer")
    assert scene.client.writes[-1] == b"answer"
    assert scene.client.end is None
    scene.transport.ends()
    scene.check("done", kept=False)


async def test_an_upstream_s_end_is_passed_on_and_then_the_client_s() -> None:
    scene = await tunnel()
    scene.transport.says(b"last")
    scene.transport.ends()
    assert scene.client.calls[-1] == ("end_sending",)
    assert not scene.transport.is_closing()
    scene.relay.send_through(b"answer")
    assert scene.transport.sent.endswith(b"answer")
    scene.relay.client_ended()
    scene.check("done", kept=False)


async def test_a_client_that_cannot_be_ended_by_half_is_ended() -> None:
    scene = await tunnel(client_closes_by_half=False)
    scene.transport.ends()
    scene.check("done", kept=False)


async def test_an_upstream_that_cannot_be_ended_by_half_is_ended_with_its_client() -> None:
    scene = await tunnel(half_close=False)
    scene.relay.client_ended()
    scene.check("done", kept=False)


async def test_and_its_own_end_is_a_clean_one_for_the_client() -> None:
    scene = await tunnel(half_close=False)
    scene.transport.says(b"last")
    scene.transport.ends()
    await settled()
    scene.check("done", kept=False)
    assert scene.target.failures == 0


async def test_a_tunnel_that_breaks_breaks_for_the_client_and_nobody_is_to_blame() -> None:
    scene = await tunnel()
    scene.transport.breaks()
    scene.check("abort", kept=False)
    assert scene.target.failures == 0


async def test_an_upstream_that_opens_tunnels_is_well() -> None:
    scene = Scene(UPGRADE, hosts=["a", "b"])
    scene.pool.failed(scene.target)
    await scene.begin()
    scene.transport.says(SWITCH)
    assert scene.target.failures == 0


async def test_a_client_that_is_gone_ends_its_tunnel() -> None:
    scene = await tunnel()
    scene.relay.client_gone()
    assert scene.transport.is_closing()
    await settled()
    assert scene.client.end is None
    scene.check_nothing_is_left()


async def test_a_tunnel_holds_up_who_is_faster() -> None:
    scene = await tunnel()
    scene.relay.client_full()
    assert not scene.transport.is_reading()
    scene.relay.client_ready()
    assert scene.transport.is_reading()
    scene.transport.takes(0)
    scene.relay.send_through(b"hello")
    assert scene.client.is_held
    scene.clock.advance(TIMEOUT - 1)
    scene.transport.takes()
    assert not scene.client.is_held
    scene.clock.advance(1000 * TIMEOUT)
    assert scene.client.end is None


async def test_an_upstream_that_takes_nothing_of_a_tunnel_is_given_up() -> None:
    scene = await tunnel()
    scene.transport.takes(0)
    scene.relay.send_through(b"hello")
    scene.clock.advance(TIMEOUT)
    scene.check("abort", kept=False)


async def test_what_a_client_says_when_its_tunnel_is_over_goes_nowhere() -> None:
    scene = await tunnel()
    scene.transport.breaks()
    sent = scene.transport.sent
    scene.relay.send_through(b"late")
    assert scene.transport.sent == sent


# What is measured.


async def test_where_a_request_went_and_when_is_known_and_how_long_its_answer_took() -> None:
    scene = Scene(GET)
    assert (scene.relay.upstream, scene.relay.sent_at) == ("", 0)
    before = monotonic()
    await scene.begin()
    assert scene.relay.upstream == "a:80"
    assert before <= scene.relay.sent_at <= monotonic()
    assert scene.relay.upstream_seconds < 0
    scene.transport.says(b"HTTP/1.1 103 Early Hints\r\n\r\n")
    assert scene.relay.upstream_seconds < 0
    scene.transport.says(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
    assert 0 <= scene.relay.upstream_seconds <= monotonic() - before


async def test_the_upstream_s_time_begins_when_it_has_the_whole_body() -> None:
    scene = await begun(STREAM)
    sent_at = scene.relay.sent_at
    scene.relay.send(b"helloworld")
    assert scene.relay.asked_at == sent_at
    scene.relay.finish()
    assert scene.relay.asked_at > sent_at
    assert scene.relay.sent_at == sent_at


async def test_what_was_never_sent_went_nowhere() -> None:
    scene = Scene(GET)
    scene.targets[0].failure = ConnectionRefusedError()
    await scene.begin()
    assert (scene.relay.upstream, scene.relay.sent_at, scene.relay.upstream_seconds) == ("", 0, -1)

"""The gateway changes nothing but what DESIGN 8 says: an allowed request is answered as it is without the gateway.

Each goes through the gateway and straight to the upstream: same status, fields (but for those of DESIGN 8), body.
"""

import asyncio
from collections.abc import Iterator
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.data_plane import DataPlane, Loop, Way, captured_by_thread, home, masked_answer, running
from support.http_cases import CASES
from support.http_cases.case import Case
from support.http_cases.words import LEAVE, ask, passes, seen
from support.raw_client import Answer, Gets, RawClient
from support.raw_connection import Events, Pieces
from support.raw_message import Fields, Message
from support.raw_upstream import RawUpstream

OURS_TO_CHANGE = frozenset(
    {
        # Hop by hop (RFC 9110 7.6.1), and how the body is framed, which is done anew.
        *("connection", "keep-alive", "proxy-connection", "proxy-authenticate", "te", "trailer", "upgrade"),
        *("transfer-encoding", "content-length"),
        "set-cookie",  # a session of the all-powerful login
        "x-request-id",  # the gateway's own
    }
)
FORBIDDEN_TRAILERS = frozenset({"authorization"})


@pytest.fixture(scope="module")
def plane(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DataPlane]:
    with (
        captured_by_thread(),
        home(tmp_path_factory.mktemp("home")) as where,
        running(DataPlane(where, Loop.UVLOOP, Way.AT_ONCE)) as (plane,),
    ):
        yield plane


async def straight(case: Case) -> Answer:
    """What the upstream answers when it is asked itself."""
    upstream = RawUpstream(judges=False)
    serving = asyncio.ensure_future(upstream.serve())
    try:
        async with upstream.playing(case.upstream, Pieces.WHOLE, Events()):
            client = await RawClient.connect(upstream.port, strict=False)
            try:
                request, gets, *_ = case.client
                assert isinstance(request, bytes)
                assert isinstance(gets, Gets)
                await client.connection.send(request)
                return masked_answer(await client.answer(gets.method))
            finally:
                client.close()
    finally:
        serving.cancel()
        with suppress(asyncio.CancelledError):
            await serving
        upstream.close()


def end_to_end(message: Message) -> list[tuple[bytes, bytes]]:
    """The fields that must be the same on both sides."""
    named = {option.strip().lower() for value in message.values("connection") for option in value.decode().split(",")}
    return [
        (name, value)
        for name, value in message.fields
        if (lower := name.decode().lower()) not in OURS_TO_CHANGE | named
        # An answer to a token is private where the upstream said nothing of caches.
        and (lower, value) != ("cache-control", b"private")
    ]


def allowed_trailers(trailers: Fields) -> list[tuple[bytes, bytes]]:
    never = OURS_TO_CHANGE | FORBIDDEN_TRAILERS
    return [(name, value) for name, value in trailers if name.decode().lower() not in never]


def check_alike(through: Answer, direct: Answer, *, is_1_0: bool) -> None:
    ours, theirs = through.message, direct.message
    assert ours.start.split(b" ", 1)[1] == theirs.start.split(b" ", 1)[1]
    assert end_to_end(ours) == end_to_end(theirs)
    assert ours.body == theirs.body
    assert ours.whole
    if theirs.value("content-length") is not None:
        assert ours.value("content-length") == theirs.value("content-length")
    if is_1_0:
        return
    assert list(ours.trailers) == allowed_trailers(theirs.trailers)
    assert [(interim.start, end_to_end(interim)) for interim in through.interims] == [
        (interim.start, end_to_end(interim)) for interim in direct.interims
    ]


def compare(case: Case, plane: DataPlane) -> None:
    through = plane.play(case, Pieces.WHOLE).answers[0]
    direct = plane.run(straight(case))
    assert isinstance(case.client[0], bytes)
    check_alike(through, direct, is_1_0=b" HTTP/1.0\r\n" in case.client[0])


@pytest.mark.parametrize("case", [pytest.param(case, id=case.name) for case in CASES if case.compares])
def test_an_allowed_request_is_answered_as_without_the_gateway(case: Case, plane: DataPlane) -> None:
    compare(case, plane)


# Anything that is allowed.

NAMES = st.sampled_from(["X-A", "x-b", "X-LONG-NAME", "Content-Type", "ETag", "Vary", "X-A", "Content-Language"])
VALUES = st.text(st.sampled_from("".join(map(chr, (9, *range(32, 127), *range(160, 256))))), max_size=60).map(
    lambda text: text.strip(" \t")
)
FIELDS = st.lists(st.tuples(NAMES, VALUES).map(lambda field: f"{field[0]}: {field[1]}"), max_size=8).map(tuple)
BODIES = st.lists(st.binary(min_size=1, max_size=600), max_size=5)


def in_chunks(pieces: list[bytes], trailers: tuple[str, ...] = ()) -> bytes:
    lines = "".join(f"{line}\r\n" for line in trailers).encode("latin-1")
    return b"".join(b"%x\r\n%b\r\n" % (len(piece), piece) for piece in pieces) + b"0\r\n" + lines + b"\r\n"


@st.composite
def exchanges(draw: st.DrawFn) -> Case:
    """An allowed request with any fields and body, and any answer."""
    method = draw(st.sampled_from(["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"]))
    fields, pieces = draw(FIELDS), draw(BODIES)
    body = b"".join(pieces)
    framing = draw(st.sampled_from(["length", "chunked"])) if body and method != "HEAD" else None
    lines = {"length": (f"Content-Length: {len(body)}",), "chunked": ("Transfer-Encoding: chunked",), None: ()}[framing]
    sent = {"length": body, "chunked": in_chunks(pieces), None: b""}[framing]
    request = ask(*fields, *lines, method=method, body=sent)
    sees = seen(*fields, method=method, body=body if framing else b"", framing=framing)
    status = draw(st.sampled_from([200, 201, 206, 301, 404, 418, 500, 599, 204, 304]))
    down, parts = draw(FIELDS), draw(BODIES)
    head = "\r\n".join([f"HTTP/1.1 {status} {draw(VALUES)}", *down]).encode("latin-1")
    whole = b"".join(parts)
    has_body = method != "HEAD" and status not in (204, 304)
    way = draw(st.sampled_from(["length", "chunked", "close"])) if status not in (204, 304) else "none"
    answer = {
        "none": head + b"\r\n\r\n",
        "length": head + b"\r\nContent-Length: %d\r\n\r\n" % len(whole) + (whole if has_body else b""),
        "chunked": head
        + b"\r\nTransfer-Encoding: chunked\r\n\r\n"
        + (in_chunks(parts, draw(st.sampled_from([(), ("X-Sum: 1",)]))) if has_body else b""),
        "close": head + b"\r\n\r\n" + (whole if has_body else b""),
    }[way]
    gets = Gets(status, body=whole if has_body else b"", fields=down, method=method)
    case = passes("drawn", request, sees, answer, gets, then=None)
    if way == "close":
        return Case(case.name, case.client, ((*case.upstream[0], LEAVE),))
    return case


@given(case=exchanges())
def test_whatever_is_allowed_is_answered_as_without_the_gateway(case: Case, plane: DataPlane) -> None:
    compare(case, plane)

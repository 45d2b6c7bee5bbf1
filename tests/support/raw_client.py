"""A client that sends what a test says, byte for byte, and judges what comes back."""

import asyncio
import json
import re
import socket
from collections.abc import Sequence
from typing import Any, Self

import msgspec

from support.raw_connection import Cut, Ended, Events, Flood, Hear, Pieces, RawConnection, Reads, Step, Tell, patiently
from support.raw_message import Body, BodyEnd, BodyReader, Fields, Message, framed, lines, read_head

_PROBE = b"GET / HTTP/1.1\r\nHost: probe\r\n\r\n"
_FRAMING = frozenset({b"content-length", b"transfer-encoding", b"connection"})
_REQUEST_ID = re.compile(rb"[A-Za-z0-9._-]{8,128}")


class Gets(msgspec.Struct, frozen=True):
    """The next answer. What is None or empty is not looked at.

    `fields`: all end-to-end fields in their order, as `Name: value`, but for those that the gateway adds;
    `has`: fields that are there; `lacks`: names (lower case) that are not. `interims`: the 1xx before it.
    `whole` False: it breaks off.
    """

    status: int | tuple[int, ...]
    body: bytes | None = None
    fields: tuple[str, ...] | None = None
    has: tuple[str, ...] = ()
    lacks: tuple[str, ...] = ()
    method: str = "GET"
    interims: tuple[int, ...] | None = ()
    trailers: tuple[str, ...] | None = None
    framing: str | None = None
    phrase: str | None = None
    code: int | None = None
    """The refusal's, whose envelope is looked at then."""
    whole: bool = True
    reads_body: bool = True
    """False: only the head is read now; `Body` and `BodyEnd` read on."""


class Interim(msgspec.Struct, frozen=True):
    """The next answer is this interim one, and comes before the final one is there."""

    status: int


def refused(status: int, code: int, *has: str, method: str = "GET") -> Gets:
    """A refusal of the gateway's own, in the v4 envelope."""
    return Gets(status, code=code, has=has, method=method, interims=())


class NoAnswer(AssertionError):  # noqa: N818 - it says what is the case
    """The connection ended, and no answer had come."""


class IsOpen(msgspec.Struct, frozen=True):
    """The connection takes another request, which begins exactly where the last one ended."""


OPEN = IsOpen()
ClientStep = bytes | Gets | Interim | IsOpen | Body | BodyEnd | Step | Tell | Hear | Reads | Flood


class Answer(msgspec.Struct, frozen=True):
    """What was answered: the interim answers, and the final one."""

    interims: tuple[Message, ...]
    message: Message


def _end_to_end(gets: Gets, message: Message) -> Fields:
    """The fields of `message` without those that the gateway adds to an upstream's."""
    expected = {line.partition(":")[0].lower() for line in gets.fields or ()}
    return tuple(
        (name, value)
        for name, value in message.fields
        if (lower := name.lower()) not in _FRAMING
        and lower != b"x-request-id"
        and not (lower == b"date" and "date" not in expected)
        and not (lower == b"cache-control" and value == b"private" and "cache-control" not in expected)
    )


def _check_envelope(gets: Gets, message: Message) -> None:
    assert message.value("content-type") == b"application/json", message
    assert message.value("cache-control") == b"no-store", message
    assert message.value("server") is None, message
    assert int(message.value("content-length") or 0) > 0, message
    if message.status == 401:
        assert message.value("www-authenticate") == b"Bearer", message
    if gets.method == "HEAD":
        return
    envelope: dict[str, Any] = json.loads(message.body)
    assert envelope["success"] is False, envelope
    assert envelope["result"] is None, envelope
    assert [error["code"] for error in envelope["errors"]] == [gets.code], envelope


def check_answer(gets: Gets, answer: Answer) -> None:
    """Whether `answer` is what `gets` says."""
    message = answer.message
    statuses = gets.status if isinstance(gets.status, tuple) else (gets.status,)
    assert message.status in statuses, f"{message.status}, and not {gets.status}: {message}"
    if gets.interims is not None:
        assert tuple(interim.status for interim in answer.interims) == gets.interims, answer.interims
    if gets.phrase is not None:
        assert message.start.split(b" ", 2)[2] == gets.phrase.encode("latin-1"), message.start
    _check_fields(gets, message)
    if gets.framing is not None:
        assert message.framing == gets.framing, f"framed by {message.framing!r}, and not {gets.framing!r}"
    if gets.reads_body:
        _check_body(gets, message)


def _check_fields(gets: Gets, message: Message) -> None:
    assert _REQUEST_ID.fullmatch(message.value("x-request-id") or b""), message
    if gets.fields is not None:
        found = lines(_end_to_end(gets, message))
        assert found == gets.fields, f"the fields are {found}, and not {gets.fields}"
    for line in gets.has:
        assert line in lines(message.fields), f"{line!r} is missing in {message.fields}"
    for name in gets.lacks:
        assert not message.values(name), f"{name} is there: {message.fields}"


def _check_body(gets: Gets, message: Message) -> None:
    assert message.whole is gets.whole, f"{'whole' if message.whole else 'cut off'}: {message}"
    if gets.code is not None:
        _check_envelope(gets, message)
    if gets.body is not None:
        assert message.body == gets.body, f"the body is {message.body[:300]!r}, and not {gets.body[:300]!r}"
    if gets.trailers is not None:
        assert lines(message.trailers) == gets.trailers, message.trailers


class RawClient:
    """A client's connection to `port`."""

    def __init__(self, sock: socket.socket, pieces: Pieces, *, strict: bool = True) -> None:
        self.connection = RawConnection(sock, pieces, "the client", strict=strict)
        self.answers: list[Answer] = []
        self._reader: BodyReader | None = None
        self._speaks_1_0 = False

    @classmethod
    async def connect(
        cls, port: int, pieces: Pieces = Pieces.WHOLE, source: str = "127.0.0.1", *, strict: bool = True
    ) -> Self:
        """A connection from the address `source`."""
        sock = socket.socket()
        try:
            sock.setblocking(False)
            if source != "127.0.0.1":  # or each connection would take a port of its own, whoever it is to
                sock.bind((source, 0))
            await patiently(
                asyncio.get_running_loop().sock_connect(sock, ("127.0.0.1", port)), "no connection was taken"
            )
        except BaseException:
            sock.close()
            raise
        return cls(sock, pieces, strict=strict)

    async def _head(self) -> Message:
        try:
            return await read_head(self.connection)
        except Cut as cut:
            raise NoAnswer(f"no answer, but the end: {cut}") from None

    async def answer(self, method: str = "GET", *, reads_body: bool = True) -> Answer:
        """The next answer to `method`."""
        interims = []
        while (head := await self._head()).status < 200 and head.status != 101:
            interims.append(head)
        message = framed(head, method)
        self._reader = BodyReader(self.connection, message)
        if reads_body:
            message = await self._reader.message(message)
        answer = Answer(tuple(interims), message)
        self.answers.append(answer)
        return answer

    async def run(self, steps: Sequence[ClientStep], events: Events) -> None:
        """Go through `steps`."""
        for step, following in zip(steps, [*steps[1:], None], strict=True):
            match step:
                case Gets():
                    check_answer(step, await self.answer(step.method, reads_body=step.reads_body))
                    self._check_connection_field(following)
                case Interim():
                    head = await self._head()
                    assert head.status == step.status, f"{step.status} should come, and not {head}"
                case Body() | BodyEnd():
                    assert self._reader is not None
                    await self._reader.step(step)
                case IsOpen():
                    await self._probe()
                case _:
                    if isinstance(step, bytes) and b" HTTP/" in step:
                        self._speaks_1_0 = b" HTTP/1.0\r\n" in step
                    assert await self.connection.common(step, events), step

    def _check_connection_field(self, following: ClientStep | None) -> None:
        """What the answer said of its connection, and what comes of it, are one thing (RFC 9112 9.6)."""
        said = self.answers[-1].message.values("connection")
        if following is Step.CLOSED and not self._speaks_1_0:
            assert said == [b"close"], f"it closes, and says {said}"
        elif following == OPEN and not self._speaks_1_0:
            assert said == [], f"it stays open, and says {said}"
        elif following == OPEN:
            assert [value.lower() for value in said] == [b"keep-alive"], f"it stays open, and says {said}"

    async def _probe(self) -> None:
        assert not self.connection.left, f"more came than the answer: {self.connection.left[:300]!r}"
        await self.connection.send(_PROBE, Pieces.WHOLE)
        answer = await self.answer()
        del self.answers[-1]
        assert answer.message.status == 401, f"the connection is out of step: {answer}"

    @property
    def ended(self) -> Ended | None:
        """How the gateway has ended the connection, as far as was read."""
        return self.connection.ended

    def close(self) -> None:
        self.connection.close()

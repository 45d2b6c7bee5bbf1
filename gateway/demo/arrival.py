"""A request's arrival: read to its end, written into the journal, and let in or not.

The middleware stands before everything else, so that a refused request is recorded like any other.
"""

import hmac
from collections.abc import Awaitable, Callable
from typing import Final

from aiohttp import StreamReader, web
from aiohttp.abc import AbstractAccessLogger
from aiohttp.typedefs import Middleware

from gateway.demo.envelope import refusal
from gateway.demo.fault import Fault, Rejected
from gateway.demo.journal import Entry, Journal, holds_token

CREDENTIAL_OK: Final = "<credential ok>"
WRONG_CREDENTIAL: Final = "<wrong credential>"
UNREADABLE: Final = "<unreadable>"
MOST_BODY: Final = 1 << 20
"""Bytes of a body that a handler is given; what comes beyond is only counted, and the answer is a 413."""

BODY: Final = web.RequestKey("body", bytes)
_ARRIVED: Final = web.RequestKey("arrived", bool)
_TAIL: Final = 3  # a mark of four bytes may lie across two chunks


class _Body:
    """A body while it comes in."""

    def __init__(self) -> None:
        self.kept = bytearray()
        self.length = 0
        self.complete = False
        self.token_seen = False

    async def read(self, content: StreamReader) -> None:
        tail = b""
        async for chunk in content.iter_any():
            self.length += len(chunk)
            self.kept += chunk[: MOST_BODY - len(self.kept)]
            self.token_seen = self.token_seen or holds_token(tail + chunk)
            tail = (tail + chunk)[-_TAIL:]
        self.complete = True


def arrival(credential: str, journal: Journal | None) -> Middleware:
    """The middleware that lets in what has `Authorization: Bearer <credential>`, exactly so, exactly once."""
    expected = f"Bearer {credential}".encode()

    @web.middleware
    async def arrive(
        request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
    ) -> web.StreamResponse:
        request[_ARRIVED] = True
        fields = [value for name, value in request.raw_headers if name.lower() == b"authorization"]
        verdicts = [hmac.compare_digest(field, expected) for field in fields]
        body = _Body()
        try:
            await body.read(request.content)
        except (web.RequestPayloadError, ConnectionError):
            pass  # recorded as not complete, and refused
        finally:
            if journal is not None:
                journal.record(_entry(request, body, verdicts))
        if verdicts != [True]:
            return refusal(Rejected(Fault.INVALID_TOKEN))
        if not body.complete:
            return refusal(Rejected(Fault.BROKEN_BODY))
        if body.length > MOST_BODY:
            return refusal(Rejected(Fault.BODY_TOO_LARGE, most=MOST_BODY))
        request[BODY] = bytes(body.kept)
        return await handler(request)

    return arrive


def unreadable_log(journal: Journal) -> type[AbstractAccessLogger]:
    """An access logger for aiohttp that records what its parser refused, and no middleware ever sees.

    Of such a request nothing is known but that bytes came.
    """

    class UnreadableLog(AbstractAccessLogger):
        def log(self, request: web.BaseRequest, response: web.StreamResponse, time: float) -> None:
            del response, time
            if _ARRIVED not in request:
                journal.record(Entry(UNREADABLE, UNREADABLE, (), 0, body_complete=False, token_seen=False))

    return UnreadableLog


def _entry(request: web.Request, body: _Body, verdicts: list[bool]) -> Entry:
    marks = iter([CREDENTIAL_OK if verdict else WRONG_CREDENTIAL for verdict in verdicts])
    target = request.raw_path.encode(errors="surrogateescape")
    return Entry(
        method=request.method,
        target=target.decode("latin-1"),
        headers=tuple(
            (
                name.decode("latin-1"),
                next(marks) if name.lower() == b"authorization" else value.decode("latin-1"),
            )
            for name, value in request.raw_headers
        ),
        body_length=body.length,
        body_complete=body.complete,
        token_seen=body.token_seen
        or holds_token(target)
        or any(holds_token(value) for _, value in request.raw_headers),
    )

"""The two ends of a relay, scripted, and allows to relay."""

import asyncio
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager

from support.records import CATALOG, NOW, principal, token

from gateway.access.decide import decide
from gateway.access.decision import Allow
from gateway.access.question import Question
from gateway.catalog.catalog import Catalog
from gateway.catalog.target import Target, split_target
from gateway.proxy.ports import BodyRefused, ClientGone, Incoming, Outgoing, UpstreamFailed
from gateway.tokens.token import Token

OK = Incoming(status=200, phrase="OK", fields=((b"Content-Type", b"text/plain"),), length=5, has_body=True)


def allowed(method: str, target: bytes, *, by: Token | None = None, catalog: Catalog = CATALOG) -> Allow:
    """The decision that lets `by` (a token for DNS of ZONE_A) do this."""
    judged = split_target(target)
    assert isinstance(judged, Target), judged
    decision = decide(
        Question(
            principal=principal(by or token()),
            address=None,
            target=judged,
            match=catalog.public.match(method, judged.segments),
            now=NOW,
        )
    )
    assert isinstance(decision, Allow), decision
    return decision


class FakeAnswer:
    """See `UpstreamAnswer`. `breaks`: what comes in the place of the end."""

    def __init__(self, head: Incoming, pieces: Iterable[bytes], breaks: UpstreamFailed | None) -> None:
        self.head = head
        self._pieces = pieces
        self._breaks = breaks

    async def body(self) -> AsyncIterator[bytes]:
        for piece in self._pieces:
            yield piece
        if self._breaks is not None:
            raise self._breaks


class FakeUpstream:
    """An `Upstream` that answers every request with one answer, and remembers what it saw.

    `failure` is raised in the place of an answer; `reads_body`: whether it waits for the whole body first; `waits_for`:
    what has to happen before it answers. `begun` and `over` are set when a request has come, and when it was answered
    or given up.
    """

    def __init__(
        self,
        head: Incoming = OK,
        pieces: Iterable[bytes] = (b"hello",),
        *,
        breaks: UpstreamFailed | None = None,
        failure: Exception | None = None,
        reads_body: bool = True,
        waits_for: asyncio.Event | None = None,
    ) -> None:
        self.begun, self.over = asyncio.Event(), asyncio.Event()
        self.requests: list[Outgoing] = []
        self.bodies: list[bytes] = []
        self.closed = False
        self.head = head
        self._answer = FakeAnswer(head, pieces, breaks)
        self._failure = failure
        self._reads_body = reads_body
        self._waits_for = waits_for

    @asynccontextmanager
    async def exchange(self, request: Outgoing, body: AsyncIterator[bytes]) -> AsyncIterator[FakeAnswer]:
        self.requests.append(request)
        self.begun.set()
        try:
            if request.has_body and self._reads_body:
                self.bodies.append(b"".join([piece async for piece in body]))
            if self._failure is not None:
                raise self._failure
            if self._waits_for is not None:
                await self._waits_for.wait()
            yield self._answer
        finally:
            self.over.set()

    async def close(self) -> None:
        self.closed = True


class FakeConnection:
    """A `ClientConnection` that remembers what it was told. `gone`: the client leaves before the first answer."""

    def __init__(self, pieces: Iterable[bytes] = (), *, refused: BodyRefused | None = None, gone: bool = False) -> None:
        self.head: Incoming | None = None
        self.written: list[bytes] = []
        self.finished = False
        self.aborted = False
        self._pieces = pieces
        self._refused = refused
        self._gone = gone

    async def body(self) -> AsyncIterator[bytes]:
        for piece in self._pieces:
            yield piece
        if self._refused is not None:
            raise self._refused

    async def start(self, head: Incoming) -> None:
        if self._gone:
            raise ClientGone
        self.head = head

    async def write(self, data: bytes) -> None:
        self.written.append(data)

    async def finish(self) -> None:
        self.finished = True

    def abort(self) -> None:
        self.aborted = True

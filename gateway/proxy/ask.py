"""The gateway's own questions to an upstream, whose answers it reads itself.

They go the way of every forwarded request, through the same relay, pool and readers: what is different is the client,
which here is a piece of memory. It speaks HTTP/1.0 to its relay, so that neither chunks nor interim answers come down.
"""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from typing import Any, Final

import msgspec

from gateway.proxy.forward import Backend, path_up
from gateway.proxy.ports import ClientSide, UpstreamFailed
from gateway.proxy.relay import Outgoing, Relay
from gateway.reason import Deny, Reason

Take = Callable[[int], Awaitable[None]]
"""Told of so many bytes that have come; what comes next is not read before it returns. May raise."""

_HEAD_END: Final = b"\r\n\r\n"
_STEP: Final = 1024 * 1024
"""Bytes that come before `Take` is told."""
_UNNAMED: Final = b"zonegate"
"""In the place of a request's id, in the log."""


class TooLong(UpstreamFailed):
    """The answer is longer than was to be read of it."""


class Answered(msgspec.Struct, frozen=True):
    """What an upstream answered, whole. `fields`: those that may come down, names as they were sent."""

    status: int
    status_line: bytes
    fields: tuple[tuple[bytes, bytes], ...]
    body: bytes

    @property
    def is_encoded(self) -> bool:
        """The body is a compressed form, though none was asked for."""
        return any(name.lower() == b"content-encoding" and value.lower() != b"identity" for name, value in self.fields)


async def _untold(_: int) -> None:
    """Nobody counts what is read."""


class _Gathering(ClientSide):
    """Takes an answer into memory, `most` bytes of it."""

    def __init__(self, most: int, request_id: bytes) -> None:
        self.is_1_1 = False
        self.request_id = request_id
        self.relay: Relay | None = None
        self._work: Coroutine[Any, Any, None] | None = None
        self._left = most
        self._status = 0
        self._head = b""
        self._body: list[bytes] = []
        self._untold = 0
        self._outcome: Answered | UpstreamFailed | None = None
        self._stirred = asyncio.Event()

    async def whole(self, take: Take) -> Answered:
        """What came of it, once `take` was told of all that came. Raises UpstreamFailed."""
        while self._outcome is None:
            await self._stirred.wait()
            self._stirred.clear()
            work, self._work = self._work, None
            if work is not None:
                await work
                continue
            untold, self._untold = self._untold, 0
            await take(untold)
            if self.relay is not None:
                self.relay.client_ready()
        if isinstance(self._outcome, UpstreamFailed):
            raise self._outcome
        return self._outcome

    def leave(self) -> None:
        """Nobody waits for an answer any more."""
        if self.relay is not None:
            self.relay.client_gone()
            self.relay = None  # they lead to each other
        if self._work is not None:
            self._work.close()

    def begin(self, status: int, *, ends_with_close: bool) -> bytes:
        """See `ClientSide`."""
        del ends_with_close
        self._status = status
        return b""

    def write(self, data: bytes) -> None:
        """See `ClientSide`. The head comes first, and in one piece."""
        if not self._head:
            self._head, _, data = data.partition(_HEAD_END)
        if not data or self._outcome is not None:
            return
        self._left -= len(data)
        if self._left < 0:
            self._end(TooLong("an answer that is too long"))
            return
        self._body.append(data)
        self._untold += len(data)
        if self._untold >= _STEP:
            self._hold()

    def _hold(self) -> None:
        if self.relay is not None:
            self.relay.client_full()
        self._stirred.set()

    def done(self) -> None:
        """See `ClientSide`."""
        line, *lines = self._head.split(b"\r\n")
        pairs = (text.partition(b":") for text in lines)
        fields = tuple((name, value.strip()) for name, _, value in pairs)
        self._end(Answered(self._status, line + b"\r\n", fields, b"".join(self._body)))

    def fail(self, deny: Deny) -> None:
        """See `ClientSide`."""
        self._end(UpstreamFailed("there is no answer", timeout=deny.reason is Reason.UPSTREAM_TIMEOUT))

    def abort(self) -> None:
        """See `ClientSide`."""
        self._end(UpstreamFailed("the answer broke off"))

    def _end(self, outcome: Answered | UpstreamFailed) -> None:
        if self._outcome is None:
            self._outcome = outcome
            self._body.clear()
            self._stirred.set()

    def spawn(self, work: Coroutine[Any, Any, None]) -> None:
        """See `ClientSide`: it is done by who waits for the answer."""
        self._work = work
        self._stirred.set()

    # What concerns a request's body, or a tunnel: there is neither.

    def hold_body(self) -> None:
        """See `ClientSide`."""

    def resume_body(self) -> None:
        """See `ClientSide`."""

    def open_tunnel(self) -> None:
        """See `ClientSide`."""

    def end_sending(self) -> bool:
        """See `ClientSide`."""
        return False


class Ask:
    """Asks the upstreams of all served APIs."""

    def __init__(self, backends: Mapping[str, Backend], *, seconds: float) -> None:
        """`seconds` for a whole answer."""
        self._backends = backends
        self._seconds = seconds

    def backend(self, api: str) -> Backend:
        """The upstream of the API of that name."""
        return self._backends[api]

    async def get(  # noqa: PLR0913 - what a question is made of
        self,
        api: str,
        path: tuple[bytes, ...],
        *,
        most: int,
        query: bytes | None = None,
        lines: bytes | None = None,
        request_id: bytes = _UNNAMED,
        take: Take = _untold,
    ) -> Answered:
        """What the upstream of `api` answers to a GET of `path`, segments under its base path.

        `most`: bytes of the body; `lines`: fields that go up, but for Host and Accept-Encoding (None: ours alone, with
        our login). Raises UpstreamFailed, and what `take` raises.
        """
        backend = self._backends[api]
        target = path_up(backend.base_path, path, 0)
        if target is None:
            raise UpstreamFailed("a path that this API cannot be sent")
        if query is not None:
            target = b"%b?%b" % (target, query)
        if lines is None:
            lines = backend.rules.own_lines()
        outgoing = Outgoing("GET", b"GET %b HTTP/1.1\r\n" % target, b"%bAccept-Encoding: identity\r\n\r\n" % lines)
        side = _Gathering(most, request_id)
        side.relay = relay = Relay(backend.where, side, outgoing)
        try:
            async with asyncio.timeout(self._seconds):
                if not relay.start():
                    await relay.connect()
                return await side.whole(take)
        except TimeoutError:
            raise UpstreamFailed("no whole answer in time", timeout=True) from None
        finally:
            side.leave()

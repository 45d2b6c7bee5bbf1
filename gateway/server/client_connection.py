"""A client's connection: reads requests strictly, one at a time, and writes what answers them.

Of aiohttp's `RequestHandler` the place in its `Server` is used, and nothing of its parser, its tasks or its timers: see
`aiohttp_parts.py`. What is to become of a request, the `Handler` says; how a body is cut off, drained or held up, and
whether the connection goes on, is decided here.
"""

import asyncio
import contextlib
import http
import socket
import struct
import time
from collections.abc import Callable, Coroutine
from email.utils import formatdate
from enum import Enum
from functools import lru_cache
from typing import Any, Final, Protocol

from gateway.proxy.body import BodyFault, ChunkedBody, Decoder, LengthBody, UntilClose
from gateway.proxy.deadlines import Deadlines
from gateway.proxy.field_line import Role
from gateway.proxy.header_rules import Client
from gateway.proxy.ports import ClientSide
from gateway.proxy.transport import set_up
from gateway.reason import Answer, Deny, Reason
from gateway.server.aiohttp_parts import AiohttpConnection, Server
from gateway.server.client_address import parse_address
from gateway.server.exchange import Exchange
from gateway.server.head import Head, HeadReader
from gateway.server.proxy_protocol import Fault, NotYet, read_proxy_header
from gateway.server.request_id import request_id
from gateway.tokens.condition import Address

_DISCARDED: Final = 64 * 1024
"""Bytes of a body that are read after its request was answered, for the sake of the next request."""
_HEARD: Final = 256 * 1024
"""And where there is none: only so that the client hears the answer instead of a reset."""
_FULL_READ: Final = 64 * 1024
"""Bytes of a read behind which libuv reads again at once, many times over: others have their turn first."""
_IN_A_ROW: Final = 16
"""Requests of one connection that are answered before all others have their turn."""
_DISCARD_TIMEOUT: Final = 1.0
"""Seconds."""
_RESET: Final = struct.pack("ii", 1, 0)
_WITHOUT_LENGTH: Final = frozenset({204, 304})
NO_BODY: Final = LengthBody(0)
_UNREADABLE: Final = UntilClose()
"""In the place of a body of which nobody knows where it ends."""
_NOBODY: Final = Client(b"unknown", b"http", trusted=False)
_REQUEST_ID: Final = Role.REQUEST_ID
_CONTINUE: Final = b"HTTP/1.1 100 Continue\r\n\r\n"
_CLOSE: Final = b"Connection: close\r\n"
_KEEP_ALIVE: Final = b"Connection: keep-alive\r\n"


class State(Enum):
    """What the next byte of a connection is."""

    PREFACE = "of a PROXY header"
    HEAD = "of a request's head"
    BUSY = "to wait: a request is in hand, and all of it has come"
    BODY = "of the body of the request in hand"
    TUNNEL = "the upstream's"
    DISCARD = "nobody's: what is left of a request that was answered"
    CLOSED = "to be ignored"


# To take a member of an Enum out of it costs more than to compare it.
_PREFACE: Final = State.PREFACE
_HEAD: Final = State.HEAD
_BUSY: Final = State.BUSY
_BODY: Final = State.BODY
_TUNNEL: Final = State.TUNNEL
_DISCARD: Final = State.DISCARD
_CLOSED: Final = State.CLOSED


class BodySink(Protocol):
    """Where a body goes. `refused` instead of `finish`: it is none; whoever had it has not begun to answer."""

    def send(self, data: bytes) -> None:
        """A piece of it."""

    def finish(self) -> None:
        """It is whole."""

    def refused(self, deny: Deny) -> None:
        """It does not come to its end, for this reason."""


class Collected(BodySink):
    """A body that is needed whole."""

    def __init__(self, most: int) -> None:
        """`most`: bytes of it."""
        self._most = most
        self._body = bytearray()
        self.outcome: asyncio.Future[bytes | Deny] = asyncio.get_running_loop().create_future()

    def send(self, data: bytes) -> None:
        """See `BodySink`."""
        self._body += data
        if len(self._body) > self._most:
            self.refused(too_large(self._most))

    def finish(self) -> None:
        """See `BodySink`."""
        self._end(bytes(self._body))

    def refused(self, deny: Deny) -> None:
        """See `BodySink`."""
        self._end(deny)

    def _end(self, outcome: bytes | Deny) -> None:
        if not self.outcome.done():
            self.outcome.set_result(outcome)


def too_large(most: int) -> Deny:
    """The refusal of a body of more than `most` bytes."""
    return Deny(reason=Reason.BODY_TOO_LARGE, detail=f": at most {most} bytes here")


class Handling(Protocol):
    """What a connection asks of its listener."""

    reader: HeadReader
    draining: bool
    max_body: int
    """Bytes; 0: no limit."""

    def opened(self, connection: "ClientConnection") -> bool:
        """A connection has come; False: there are too many."""

    def is_trusted(self, peer: Address | None) -> bool:
        """Whether `peer` is a proxy of ours."""

    def begin(self, connection: "ClientConnection", exchange: Exchange) -> None:
        """A request has come: see that it is answered."""

    def refuse(self, connection: "ClientConnection", exchange: Exchange, deny: Deny) -> None:
        """Answer that it is refused."""

    def finished(self, exchange: Exchange) -> None:
        """It was answered, or nobody is there any more to hear the answer."""

    def spawn(
        self, connection: "ClientConnection", exchange: Exchange, work: Coroutine[Any, Any, None]
    ) -> "asyncio.Task[None]":
        """Do `work` beside all else; if it fails, answer that we failed."""


class Waits:
    """The deadlines of one listener's connections."""

    def __init__(self, *, header: float, keep_alive: float, body_idle: float) -> None:
        """Must be made while the loop runs. Seconds: `header` to send a head, `keep_alive` between two requests,
        `body_idle` for the next piece of a body, and to take what was written.
        """
        loop = asyncio.get_running_loop()
        self.header: Deadlines[ClientConnection] = Deadlines(loop, header, ClientConnection.head_is_late)
        self.keep_alive: Deadlines[ClientConnection] = Deadlines(loop, keep_alive, ClientConnection.end)
        self.body: Deadlines[ClientConnection] = Deadlines(loop, body_idle, ClientConnection.body_is_late)
        self.taking: Deadlines[ClientConnection] = Deadlines(loop, body_idle, ClientConnection.taking_is_late)
        self.discard: Deadlines[ClientConnection] = Deadlines(loop, _DISCARD_TIMEOUT, ClientConnection.end)

        self._of_sending = self.header, self.keep_alive, self.body, self.discard
        self.all = (*self._of_sending, self.taking)

    def disarm(self, connection: "ClientConnection") -> None:
        """Nothing is waited for that `connection` might send."""
        for deadlines in self._of_sending:
            deadlines.disarm(connection)

    def close(self) -> None:
        """Nobody is waited for any more."""
        for deadlines in self.all:
            deadlines.close()


class ClientConnection(AiohttpConnection, ClientSide):
    """One client's connection: the protocol of its bytes, and the `ClientSide` of the relay."""

    __slots__ = (
        "_body",
        "_discarded",
        "_handling",
        "_is_full",
        "_is_held",
        "_is_reading",
        "_pending",
        "_received",
        "_seen",
        "_sink",
        "_state",
        "_takes",
        "_task",
        "_then_close",
        "_untaken",
        "_waits",
        "_when_taken",
        "client",
        "exchange",
        "ip",
        "is_1_1",
        "peer",
        "request_id",
    )

    def __init__(self, server: Server, handling: Handling, waits: Waits, *, proxy_protocol: bool = False) -> None:
        """`proxy_protocol`: a trusted peer begins with a PROXY header."""
        super().__init__(server)
        self._handling = handling
        self._waits = waits
        self._state = _PREFACE if proxy_protocol else _HEAD
        self._pending = b""
        """What has come, and was not taken yet."""
        self._seen = 0
        """Bytes of it that were found to be a head's beginning."""
        self._takes = False
        """`_take` is at work: it goes on by itself with what comes next."""
        self._is_reading = True
        self._is_held = False
        """The upstream does not take more of the body now."""
        self._is_full = False
        """The client does not take more of the answer now."""
        self._body: Decoder = NO_BODY
        self._sink: BodySink | None = None
        self._received = self._discarded = 0
        self._untaken = 0
        """Bytes that were left of what was written when they were last looked at."""
        self._when_taken: Callable[[], None] | None = None
        self._then_close = False
        self._task: asyncio.Task[None] | None = None
        self.exchange: Exchange | None = None
        """The request in hand."""
        self.peer: Address | None = None
        self.client = _NOBODY
        self.ip = ""
        self.is_1_1 = True
        self.request_id = b""

    # The connection.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """See asyncio."""
        super().connection_made(transport)
        assert self.transport is not None  # noqa: S101 - it has just been set
        set_up(self.transport)
        sock = transport.get_extra_info("socket")
        name = transport.get_extra_info("peername")
        self._set_peer(parse_address(str(name[0]).partition("%")[0]) if isinstance(name, tuple) else None)
        if self.peer is None and sock is not None and sock.family != socket.AF_UNIX:
            self.abort()  # gone already; to have no address is for who comes by a Unix socket
            return
        if self._state is _PREFACE and not self.client.trusted:
            self._state = _HEAD
        if self._handling.opened(self):
            self._waits.header.arm(self)
        else:
            self._refuse_head(Deny(reason=Reason.OVERLOADED))

    def _set_peer(self, peer: Address | None) -> None:
        is_tls = self.transport is not None and self.transport.get_extra_info("sslcontext") is not None
        self.peer = peer
        self.ip = str(peer) if peer is not None else ""
        self.client = Client(
            (self.ip or "unknown").encode("ascii"),
            b"https" if is_tls else b"http",
            self._handling.is_trusted(peer),
        )

    def connection_lost(self, exc: BaseException | None) -> None:
        """See asyncio."""
        self._state = _CLOSED
        for deadlines in self._waits.all:
            deadlines.disarm(self)
        self._leave()
        self._is_taken()
        super().connection_lost(exc)

    def _leave(self) -> None:
        """Nobody waits for the answer any more."""
        exchange, self.exchange = self.exchange, None
        task, self._task = self._task, None
        self._sink = None
        if exchange is None:
            return
        if exchange.relay is not None:
            exchange.relay.client_gone()
        if task is not None:
            task.cancel()
        exchange.left = exchange.status != http.HTTPStatus.SWITCHING_PROTOCOLS  # a tunnel ends with either side
        self._handling.finished(exchange)

    def eof_received(self) -> bool:  # type: ignore[override]  # aiohttp's never keeps its half open
        """See asyncio. A client that has closed its sending half counts as gone, but in a tunnel."""
        if self._state is _TUNNEL and self.exchange is not None and self.exchange.relay is not None:
            self.exchange.relay.client_ended()
            return self._state is _TUNNEL and self.transport is not None and self.transport.can_write_eof()
        self._leave()
        self.end()
        return False

    def end(self) -> None:
        """Close the connection when all that was written is sent."""
        self._state = _CLOSED
        self._waits.disarm(self)
        if self.transport is not None:
            self.transport.close()

    def abort(self) -> None:
        """See `ClientSide.abort`.

        A reset, not a close: to HTTP/1.0 the end of the connection may be the end of the body.
        """
        self._state = _CLOSED
        if self.exchange is not None:
            self.exchange.keep_alive = False
        transport = self.transport
        if transport is None:
            return
        if (sock := transport.get_extra_info("socket")) is not None:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
        transport.abort()

    def close(self) -> None:
        """See aiohttp: told before `shutdown`, which does it."""

    async def shutdown(self, timeout: float | None = None) -> None:  # noqa: ARG002, ASYNC109 - aiohttp's signature
        """See aiohttp: whoever is here still is cut off."""
        if self.exchange is not None or self.has_unsent:
            if self.exchange is not None:
                self.exchange.deny = Deny(reason=Reason.DRAINING)  # of which the log tells
            self.abort()
        else:
            self.end()

    # What comes.

    def data_received(self, data: bytes) -> None:
        """See asyncio."""
        state = self._state
        if state is _HEAD:
            self._pending = self._pending + data if self._pending else data
            if not self._takes:
                self._take()
        elif state is _BODY and self._sink is not None and not self._pending:
            self._receive_body(data)
        elif state is _TUNNEL:
            self._send_through(data)
        elif state is _DISCARD:
            self._discard(data)
        elif state is _PREFACE:
            self._read_preface(data)
        elif state is not _CLOSED:
            self._pending += data
            self._pause()
        if len(data) >= _FULL_READ and self._is_reading:
            self._let_others_go_on()

    def _let_others_go_on(self) -> None:
        """Nobody has the loop for himself, however fast he sends."""
        self._pause()
        asyncio.get_running_loop().call_soon(self._go_on)

    def _go_on(self) -> None:
        if self._state is _HEAD:
            if not self._takes:
                self._take()
        elif not self._is_held and not self._pending and self._state is not _CLOSED:
            self._resume()

    def _pause(self) -> None:
        if self._is_reading and self.transport is not None:
            self._is_reading = False
            self.transport.pause_reading()

    def _resume(self) -> None:
        if not self._is_reading and self.transport is not None and not self.transport.is_closing():
            self._is_reading = True
            self.transport.resume_reading()

    def _read_preface(self, data: bytes) -> None:
        self._pending += data
        found = read_proxy_header(self._pending)
        if isinstance(found, NotYet):
            return
        if isinstance(found, Fault):
            self.end()  # it speaks another protocol: to whom an answer would go, nobody knows
            return
        if found.source is not None:
            self._set_peer(found.source)
        else:  # it is the peer itself; and who writes such a header passes all else on as it is: no field is his word
            self.client = Client(self.client.peer, self.client.scheme, trusted=False)
        self._state = _HEAD
        self._pending = self._pending[found.size :]
        self._take()

    def _take(self) -> None:
        """Take requests out of what has come, as long as each is answered at once."""
        self._takes = True
        left = _IN_A_ROW
        try:
            while self._state is _HEAD and self._pending:
                if self._is_full:  # who does not read answers is not read from
                    self._pause()
                    return
                if not left:
                    self._let_others_go_on()
                    return
                left -= 1
                found = self._handling.reader.read(self._pending, self._seen)
                if isinstance(found, Head):
                    self._seen = 0
                    self._begin(found)
                elif isinstance(found, Deny):
                    self._refuse_head(found)
                    return
                else:
                    self._seen = len(self._pending)
                    self._wait_for_head(begun=not found.blank)
                    break
        finally:
            self._takes = False
        if self._state is _HEAD:
            self._resume()
        elif self._state is _BUSY or self._state is _BODY:
            if self._pending:
                self._pause()  # so that no more than one read is held
            elif not self._is_reading and not self._is_held:
                self._resume()  # or nobody would hear that the client leaves

    def _wait_for_head(self, *, begun: bool) -> None:
        """For its end, if it has `begun` to come, else for its beginning. The first has its time from the start."""
        waits = self._waits
        if self in waits.header:
            return
        if begun:
            waits.keep_alive.disarm(self)
            waits.header.arm(self)
        elif self not in waits.keep_alive:
            waits.keep_alive.arm(self)

    def _begin(self, head: Head) -> None:
        waits = self._waits
        waits.header.disarm(self)
        waits.keep_alive.disarm(self)
        self._pending = self._pending[head.size :]
        self.is_1_1 = head.is_1_1
        if head.has_body:
            self._state = _BODY
            self._body = ChunkedBody() if head.length is None else LengthBody(head.length)
            self._received = 0
        else:
            self._state = _BUSY
            self._body = NO_BODY
        exchange = self._new_exchange(head)
        self._handling.begin(self, exchange)

    def _new_exchange(self, head: Head | None) -> Exchange:
        name = request_id(() if head is None else [f.value for f in head.special if f.role is _REQUEST_ID])
        self.request_id = name
        exchange = self.exchange = Exchange(time.monotonic(), name, head, self.peer, self.ip)
        return exchange

    def _refuse_head(self, deny: Deny) -> None:
        """Answer what no request could be read from: what comes behind it, nobody knows."""
        self._waits.header.disarm(self)
        self._waits.keep_alive.disarm(self)
        self._state = _BUSY
        self._body = _UNREADABLE
        self._handling.refuse(self, self._new_exchange(None), deny)

    def head_is_late(self) -> None:
        """The client had its time to send a head."""
        if self._pending and self._state is _HEAD:
            self._refuse_head(Deny(reason=Reason.REQUEST_TIMEOUT))
        else:
            self.end()

    # The request's body.

    def whole_body(self) -> bytes | None:
        """The body of the request in hand, if it is there already; else None, and it has to be streamed."""
        exchange = self.exchange
        head = exchange.head if exchange is not None else None
        if exchange is None or head is None or head.length is None or len(self._pending) < head.length:
            return None
        exchange.bytes_in += head.length
        body = self._pending[: head.length]
        self._pending = self._pending[head.length :]
        self._body = NO_BODY
        self._state = _BUSY
        if not self._pending:
            self._resume()
        return body

    def stream_to(self, sink: BodySink) -> None:
        """The body goes to `sink`, as it comes, from `resume_body` on."""
        self._sink = sink
        self._is_held = True

    def hold_body(self) -> None:
        """See `ClientSide.hold_body`."""
        self._is_held = True
        self._waits.body.disarm(self)
        self._pause()

    def resume_body(self) -> None:
        """See `ClientSide.resume_body`."""
        if not self._is_held:
            return
        self._is_held = False
        if self._state is _BODY:
            self._waits.body.arm(self)
            if self._pending:
                data, self._pending = self._pending, b""
                self._receive_body(data)
        if not self._is_held and not (self._state is _BUSY and self._pending):
            self._resume()

    def _receive_body(self, data: bytes) -> None:
        sink = self._sink
        if sink is None or self._is_held:
            self._pending += data
            self._pause()
            return
        body = self._body
        try:
            payload = body.decode(data)
        except BodyFault:
            self._refuse_body(Deny(reason=Reason.BAD_REQUEST, detail="body: not framed as it should be"))
            return
        self._received += len(payload)
        if self.exchange is not None:
            self.exchange.bytes_in += len(payload)
        if self._handling.max_body and self._received > self._handling.max_body:
            self._refuse_body(Deny(reason=Reason.BODY_TOO_LARGE))
            return
        if body.complete:
            self._waits.body.disarm(self)
            self._state = _BUSY
            self._pending = body.rest
        else:
            self._waits.body.arm(self)
        sink.send(payload)
        if body.complete and self._sink is sink:
            sink.finish()

    def _refuse_body(self, deny: Deny) -> None:
        """The body comes to no end that could be believed."""
        self._waits.body.disarm(self)
        self._body = _UNREADABLE
        sink, self._sink = self._sink, None
        if self._state is _BODY:
            self._state = _BUSY
        if self.exchange is not None:
            self.exchange.keep_alive = False
        if sink is not None:
            sink.refused(deny)

    def body_is_late(self) -> None:
        """The client had its time to send the next piece."""
        self._refuse_body(Deny(reason=Reason.REQUEST_TIMEOUT))

    def cut_body(self) -> None:
        """The gateway ends before the body does: whoever reads it hears of it."""
        if self._state is _BODY:
            self._refuse_body(Deny(reason=Reason.DRAINING))

    async def read_body(self, most: int) -> bytes | Deny:
        """The body of the request in hand, of at most so many bytes, or why there is none."""
        head = self.exchange.head if self.exchange is not None else None
        if self._state is not _BODY:
            return b"" if self._body.complete else Deny(reason=Reason.DRAINING)  # see `cut_body`
        if head is not None and head.expects_continue and not self._pending:
            self.write(_CONTINUE)
        collected = Collected(most)
        self.stream_to(collected)
        self.resume_body()
        return await collected.outcome

    # The answer.

    def begin(self, status: int, *, ends_with_close: bool) -> bytes:
        """See `ClientSide.begin`."""
        exchange = self.exchange
        if exchange is None:
            return b""
        exchange.status = status
        if (
            ends_with_close
            or self._handling.draining
            # It got no 100, so it may send the body or not: nobody can tell what the next byte is.
            or (not self._body.complete and exchange.head is not None and exchange.head.expects_continue)
        ):
            exchange.keep_alive = False
        lines = _CLOSE if not exchange.keep_alive else b"" if self.is_1_1 else _KEEP_ALIVE
        return exchange.limits_told + lines if exchange.limits_told else lines

    def write(self, data: bytes) -> None:
        """See `ClientSide.write`."""
        transport = self.transport
        if transport is not None and not transport.is_closing():
            transport.write(data)
            if self.exchange is not None:
                self.exchange.bytes_out += len(data)

    def fail(self, deny: Deny) -> None:
        """See `ClientSide.fail`."""
        if self.exchange is not None:
            self._handling.refuse(self, self.exchange, deny)

    def answer(self, answer: Answer) -> None:
        """Send a whole answer of ours. To HEAD its body stays away, its length does not (RFC 9110 9.3.2)."""
        exchange = self.exchange
        if exchange is None:
            return
        is_head = exchange.head is not None and exchange.head.method == "HEAD"
        first_lines = _first_lines(answer.status, answer.fields)  # if that fails, nothing was begun
        connection = self.begin(answer.status, ends_with_close=self._has_too_much_left())
        length = b"" if answer.status in _WITHOUT_LENGTH else b"Content-Length: %d\r\n" % len(answer.body)
        self.write(
            b"%b%bX-Request-Id: %b\r\n%b%b\r\n%b"
            % (
                first_lines,
                _date(int(time.time())),
                self.request_id,
                length,
                connection,
                b"" if is_head else answer.body,
            )
        )
        self.done()

    def _has_too_much_left(self) -> bool:
        """Whether more of the request is still to come than would be read for the sake of the next one."""
        head = self.exchange.head if self.exchange is not None else None
        if head is None or head.length is None or self._body.complete:
            return False
        return head.length - self._received > _DISCARDED

    def done(self) -> None:
        """See `ClientSide.done`."""
        exchange, self.exchange = self.exchange, None
        if exchange is None:
            return
        task, self._task, self._sink = self._task, None, None
        if task is not None and task is not asyncio.current_task():
            task.cancel()  # it connects for nobody
        self._is_held = False
        self._handling.finished(exchange)
        if self._state is _CLOSED:
            return
        if self._state is _TUNNEL:
            self.end()
        elif exchange.keep_alive and self._body.complete:
            self._state = _HEAD
            if not self._pending:
                self._waits.keep_alive.arm(self)
                if not self._is_reading:
                    self._resume()
            elif not self._takes:
                self._take()
        elif self._body.complete and not self._pending:
            self.end()
        else:
            self._begin_discarding(then_close=not exchange.keep_alive)

    def _begin_discarding(self, *, then_close: bool) -> None:
        self._state = _DISCARD
        self._then_close = False
        self._discarded = 0
        self._waits.body.disarm(self)
        self._waits.discard.arm(self)
        if then_close:
            self._say_that_it_ends()
        data, self._pending = self._pending, b""
        self._resume()
        if data:
            self._discard(data)

    def _say_that_it_ends(self) -> None:
        """No other request follows: what still comes is read only so that the client hears the answer, not a reset."""
        self._then_close = True
        if self.transport is not None and self.transport.can_write_eof():
            with contextlib.suppress(OSError):  # asyncio's own loop tells here of a client that is gone
                self.transport.write_eof()

    def _discard(self, data: bytes) -> None:
        """Read what is left of a request that was answered."""
        self._discarded += len(data)
        if self._discarded > _HEARD:
            self.end()
            return
        if self._then_close:
            return
        try:
            self._body.decode(data)
        except BodyFault:
            self._say_that_it_ends()
            return
        if self._discarded > _DISCARDED:
            self._say_that_it_ends()
            return
        if self._body.complete:
            self._waits.discard.disarm(self)
            self._state = _HEAD
            self._pending = self._body.rest
            if not self._pending:
                self._waits.keep_alive.arm(self)
            if not self._takes:
                self._take()

    def pause_writing(self) -> None:
        """See asyncio: the client does not keep up."""
        self._is_full = True
        if self.transport is not None:
            self._untaken = self.transport.get_write_buffer_size()
        self._waits.taking.arm(self)
        if self.exchange is not None and self.exchange.relay is not None:
            self.exchange.relay.client_full()

    def resume_writing(self) -> None:
        """See asyncio: it does again."""
        self._is_full = False
        self._is_taken()
        self._waits.taking.disarm(self)
        if self.exchange is not None and self.exchange.relay is not None:
            self.exchange.relay.client_ready()
        elif self._state is _HEAD and not self._takes:
            self._take()

    def when_taken(self, then: Callable[[], None]) -> None:
        """`then` is called as soon as the client has taken all that was written, or is gone; at once if he has."""
        if self._is_full and self.transport is not None:
            self._when_taken = then
        else:
            then()

    def _is_taken(self) -> None:
        then, self._when_taken = self._when_taken, None
        if then is not None:
            then()

    def taking_is_late(self) -> None:
        """The client had its time to take some of what was written."""
        left = self.transport.get_write_buffer_size() if self.transport is not None else 0
        if left < self._untaken:
            self._untaken = left
            self._waits.taking.arm(self)
        else:
            self.abort()

    def spawn(self, work: Coroutine[Any, Any, None]) -> None:
        """See `ClientSide.spawn`."""
        if self.exchange is None:
            work.close()
        else:
            self._task = self._handling.spawn(self, self.exchange, work)

    # Tunnels.

    def open_tunnel(self) -> None:
        """See `ClientSide.open_tunnel`."""
        self._state = _TUNNEL
        data, self._pending = self._pending, b""
        if data:
            self._send_through(data)
        if not self._is_held:
            self._resume()

    def _send_through(self, data: bytes) -> None:
        if self.exchange is not None and self.exchange.relay is not None:
            self.exchange.bytes_in += len(data)
            self.exchange.relay.send_through(data)

    def end_sending(self) -> bool:
        """See `ClientSide.end_sending`."""
        if self.transport is None or not self.transport.can_write_eof():
            return False
        try:
            self.transport.write_eof()
        except OSError:  # see `_say_that_it_ends`
            return False
        return True

    # Ends that somebody else decides on.

    @property
    def has_unsent(self) -> bool:
        """Not all that was written is sent."""
        return self.transport is not None and self.transport.get_write_buffer_size() > 0

    @property
    def buffered(self) -> int:
        """Bytes of this client's that are held here: read and not passed on, or written and not taken."""
        transport = self.transport
        return len(self._pending) + (transport.get_write_buffer_size() if transport is not None else 0)

    @property
    def is_idle(self) -> bool:
        """No request is in hand, and none has begun to come."""
        return (
            self.exchange is None
            and self._state is _HEAD
            and (not self._pending or self in self._waits.keep_alive)  # there may be empty lines
        )


@lru_cache(maxsize=256)
def _first_lines(status: int, fields: tuple[tuple[str, str], ...]) -> bytes:
    lines = [f"HTTP/1.1 {status} {http.HTTPStatus(status).phrase}", *(f"{name}: {value}" for name, value in fields), ""]
    return "\r\n".join(lines).encode("ascii")


@lru_cache(maxsize=2)
def _date(now: int) -> bytes:
    return f"Date: {formatdate(now, usegmt=True)}\r\n".encode("ascii")

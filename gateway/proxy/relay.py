"""One allowed request up, its answer down: the one piece through which every proxied answer goes.

It never waits: bytes that come on one side are judged and written to the other, and a side that does not keep up holds
up the other's reading. A body is framed anew on its way, and one that was cut is never ended.
"""

import asyncio
from enum import Enum
from http import HTTPStatus
from time import monotonic
from typing import Final

import msgspec
import structlog

from gateway.proxy.body import BodyFault, ChunkedBody, Decoder, LengthBody, UntilClose
from gateway.proxy.deadlines import Deadlines
from gateway.proxy.field_line import NEVER_REMEMBERED, KnownLines, Role, SeenTwice, plain_spelling
from gateway.proxy.framing import UNFRAMED
from gateway.proxy.header_rules import lines_down, trailers_down
from gateway.proxy.pool import NotConnected, Pool, Target
from gateway.proxy.ports import ClientSide, UpstreamFailed
from gateway.proxy.response_head import ResponseHead, read_response_head
from gateway.proxy.upstream_connection import UpstreamConnection
from gateway.reason import Deny, Reason

log = structlog.get_logger(__name__)

_IDEMPOTENT: Final = frozenset({"GET", "HEAD", "OPTIONS", "PUT", "DELETE"})
"""RFC 9110 9.2.2, of those that are forwarded."""
_MOST_INTERIM: Final = 32
"""Interim answers before a final one: an upstream that sends them for ever sends no answer."""
_HEAD_END: Final = b"\r\n\r\n"
_MOST_HEADS: Final = 512
_LONGEST_HEAD: Final = 2048
"""Heads that are remembered as a whole, for each API, and the bytes of one."""
_SWITCHING_PROTOCOLS: Final = 101
_OK: Final = 200
_NO_CONTENT: Final = 204
_NEVER_A_BODY: Final = frozenset({_NO_CONTENT, 304})
_NO_BODY: Final = LengthBody(0)
_LAST_CHUNK: Final = b"0\r\n\r\n"
_STATUS_LINES: Final = {
    (status.value, status.phrase.encode()): f"HTTP/1.1 {status.value} {status.phrase}\r\n".encode()
    for status in HTTPStatus
}


class Outgoing(msgspec.Struct, frozen=True, gc=False):
    """A request as it goes up. `line`: its first; `fields`: all but Host, and the line that ends them; `body`: all of
    it, framed, unless it is `streamed`, and then comes by `Relay.send`; `chunked`: how that is framed.
    """

    method: str
    line: bytes
    fields: bytes
    body: bytes = b""
    streamed: bool = False
    chunked: bool = False
    expects_continue: bool = False
    upgrade: bool = False


class AnswerReader:
    """Reads the heads of one API's answers, and writes what of them comes down.

    Many answers have the very same head: it is looked for as a whole, then line by line.
    """

    def __init__(self, passed: frozenset[bytes] = frozenset(), secrets: frozenset[str] = frozenset()) -> None:
        """`passed`: fields (lower case) that `pass_headers` opens; `secrets`: those that hold somebody's credential,
        which an upstream may echo.
        """
        self._passed = passed
        self.secrets = frozenset(plain_spelling(name.lower().encode()) for name in secrets)
        self._lines = KnownLines(name.lower() for name in secrets)
        self._heads: SeenTwice[tuple[ResponseHead, bytes]] = SeenTwice(_MOST_HEADS, _LONGEST_HEAD)

    def read(self, data: bytes) -> tuple[ResponseHead, bytes] | None:
        """The head that `data` begins with, and what comes down of it, but for the request's id, the body's framing,
        and what concerns the connection; None where its end has not come. Raises UpstreamFailed.
        """
        raw = data[: data.find(_HEAD_END) + 4]
        found = self._heads.known.get(raw)
        if found is None:
            head = read_response_head(data, self._lines)
            if head is None:
                return None
            # An interim answer is kept by nobody, so that none has to be told that it is one person's.
            ordinary = [field for field in head.ordinary if field.plain not in self.secrets]
            special = [field for field in head.special if field.plain not in self.secrets]
            down = lines_down(ordinary, special, head.options, self._passed, private=head.status >= _OK)
            found = head, _status_line(head) + down
            is_whole = len(ordinary) + len(special) == len(head.ordinary) + len(head.special)
            if is_whole and not any(field.role in NEVER_REMEMBERED for field in special):
                self._heads.learn(raw, found)
        return found


class Where(msgspec.Struct, frozen=True, eq=False):
    """Where a relay leads: what the exchanges of one API share."""

    pool: Pool
    reader: AnswerReader
    response_timeout: Deadlines["Relay"]


class _State(Enum):
    SENDING = "no byte of an answer has come"
    HEAD = "some of a head has come"
    BODY = "the head is down, the body is under way"
    TUNNEL = "the bytes mean nothing to us any more"
    OVER = "ended, one way or another"


# To take a member of an Enum out of it, or to hash it, costs more than to compare it.
_SENDING: Final = _State.SENDING
_HEAD: Final = _State.HEAD
_BODY: Final = _State.BODY
_TUNNEL: Final = _State.TUNNEL
_OVER: Final = _State.OVER


class Relay:
    """One exchange. `start` or `connect` begins it; what the client sends comes by `send` and `finish`."""

    __slots__ = (
        "_chunked_down",
        "_client",
        "_client_ended",
        "_connection",
        "_decoder",
        "_failed_at",
        "_interim",
        "_is_full",
        "_is_held",
        "_is_read",
        "_may_keep",
        "_pending",
        "_request",
        "_retried",
        "_sent_body",
        "_state",
        "_upstream_ended",
        "_where",
        "asked_at",
        "broken",
        "sent_at",
        "upstream",
        "upstream_seconds",
    )

    def __init__(self, where: Where, client: ClientSide, request: Outgoing) -> None:
        self._where = where
        self._client = client
        self._request = request
        self._connection: UpstreamConnection | None = None
        self._state = _SENDING
        self._retried = False
        self._failed_at: Target | None = None
        self._pending = b""
        self._interim = 0
        self._decoder: Decoder = _NO_BODY
        self._chunked_down = False
        self._may_keep = False
        self._is_read = not request.streamed
        self._sent_body = False
        self._is_full = False
        """The upstream has not taken all that was sent to it."""
        self._is_held = self._client_ended = self._upstream_ended = False
        self.sent_at = self.asked_at = 0.0
        """When the head last went up, and when the upstream last had all that it needs to answer: monotonic seconds; 0:
        not yet.
        """
        self.upstream_seconds = -1.0
        """From then to the final head of its answer; below 0: there is none."""
        self.upstream = ""
        """The target to which it went, as `host:port`."""
        self.broken: Reason | None = None
        """Why an answer that had begun did not come to its end, where that was the upstream's fault."""

    # Up.

    def start(self) -> bool:
        """Send the request on a connection that is idle; False if there is none, and `connect` has to be awaited."""
        connection = self._where.pool.take()
        if connection is None:
            return False
        self._send_on(connection)
        return True

    async def connect(self) -> None:
        """Send the request on a connection that is there, or is made; if none is to be had, the client is told."""
        pool = self._where.pool
        while True:
            try:
                connection = await pool.acquire(self._failed_at, fresh=self._retried)
            except UpstreamFailed as failed:
                may_go_on = pool.has_others and not self._retried and self._state is not _OVER
                if not may_go_on or not isinstance(failed, NotConnected):
                    self._fail(failed)
                    return
                self._retried, self._failed_at = True, failed.target  # nothing was sent: another target may do
                continue
            if self._state is _OVER:  # nobody wants it any more
                connection.abort()
            else:
                self._send_on(connection)
            return

    def _send_on(self, connection: UpstreamConnection) -> None:
        request = self._request
        self._connection = connection
        connection.exchange = self
        self._is_full = False
        self.upstream = connection.place
        connection.write(b"%b%b%b%b" % (request.line, connection.host, request.fields, request.body))
        self.sent_at = self.asked_at = monotonic()
        if self._is_read or request.expects_continue:
            self._where.response_timeout.arm(self)
        # The connection before this one may have held the client up.
        if (request.streamed or self._retried) and not self._is_full:
            self._client.resume_body()

    def send(self, data: bytes) -> None:
        """A piece of a streamed body."""
        connection = self._connection
        if connection is None or not data:
            return
        if not self._sent_body:
            self._sent_body = True
            self._where.response_timeout.disarm(self)  # who was to wait for a 100 does not
        connection.write(b"%x\r\n%b\r\n" % (len(data), data) if self._request.chunked else data)

    def finish(self) -> None:
        """The streamed body has been sent to its end."""
        self._is_read = self._sent_body = True
        connection = self._connection
        if connection is None:
            return
        if self._request.chunked:
            connection.write(_LAST_CHUNK)
        self.asked_at = monotonic()
        if self._state is _SENDING or self._state is _HEAD:
            self._where.response_timeout.arm(self)

    def refused(self, deny: Deny) -> None:
        """The streamed body is none: the upstream has seen no end of it, and sees none."""
        state = self._state
        self._leave()
        if state is _SENDING or state is _HEAD:
            self._client.fail(deny)
        else:
            self.broken = deny.reason
            self._client.abort()

    def upstream_full(self) -> None:
        """See `upstream_connection.Exchange`."""
        self._is_full = True
        if not self._is_read or self._state is _TUNNEL:
            self._where.response_timeout.arm(self)
        self._client.hold_body()

    def upstream_ready(self) -> None:
        """See `upstream_connection.Exchange`."""
        if not self._is_full:  # TLS may have said stop before there was an exchange
            return
        self._is_full = False
        if not self._is_read or self._state is _TUNNEL:
            self._where.response_timeout.disarm(self)
            self._expect_more()
        self._client.resume_body()

    # Down.

    def received(self, data: bytes) -> None:
        """See `upstream_connection.Exchange`."""
        state = self._state
        try:
            if state is _BODY:
                self._pass_down(b"", self._decoder.decode(data))
                self._expect_more()
            elif state is _SENDING or state is _HEAD:
                self._receive_head(data)
            elif state is _TUNNEL:
                self._client.write(data)
        except UpstreamFailed as failed:
            self._fail(failed)
        except BodyFault:
            self._fail(UpstreamFailed("a body that is not framed as it should be"))

    def _expect_more(self) -> None:
        """The rest of a body that has a length comes without long pauses; an event stream has none, and may pause, but
        for one whose upstream has still to take what the client sends.
        """
        has_to_go_on = type(self._decoder) is LengthBody or (self._is_full and not self._is_read)
        if self._state is _BODY and not self._is_held and has_to_go_on:
            self._where.response_timeout.arm(self)

    def _receive_head(self, data: bytes) -> None:
        self._state = _HEAD
        if self._pending:
            data = self._pending + data
        while True:
            found = self._where.reader.read(data)
            if found is None:
                self._pending = data
                return
            head, down = found
            data = data[head.size :]
            if not head.is_interim:
                break
            self._pass_interim(down)
            if not data:
                self._pending = b""
                return
        self.upstream_seconds = monotonic() - self.asked_at
        self._where.response_timeout.disarm(self)
        self._pending = b""
        if head.status == _SWITCHING_PROTOCOLS:
            self._open_tunnel(head, down, data)
        else:
            self._begin(head, down, data)

    def _pass_interim(self, down: bytes) -> None:
        self._interim += 1
        if self._interim > _MOST_INTERIM:
            raise UpstreamFailed("interim answers without end")
        if self._is_read or self._is_full:
            self._where.response_timeout.arm(self)
        else:  # the client may send its body now, in its own time
            self._where.response_timeout.disarm(self)
        if self._client.is_1_1:
            self._client.write(down + b"\r\n")

    def _begin(self, head: ResponseHead, down: bytes, data: bytes) -> None:
        """A final head is there, `down` of it is to go down, and there is `data` behind it."""
        client, framing, status = self._client, head.framing, head.status
        ends_with_close = False
        framing_line = b""
        if framing.length is not None and status != _NO_CONTENT:
            framing_line = b"Content-Length: %d\r\n" % framing.length
        if self._request.method == "HEAD" or status in _NEVER_A_BODY:
            # To HEAD, and in a 304, the length is that of a body which is not sent (RFC 9110 8.6).
            self._decoder = LengthBody(0)
        elif framing.length is not None:
            self._decoder = LengthBody(framing.length)
        else:
            self._decoder = ChunkedBody() if framing.chunked else UntilClose()
            if client.is_1_1:
                self._chunked_down = True
                framing_line = b"Transfer-Encoding: chunked\r\n" + _trailer_lines(head)
            else:
                ends_with_close = True
        # A 204 that says that something follows may mean it: then that is nobody's answer.
        odd = status == _NO_CONTENT and (framing.chunked or framing.length)
        self._may_keep = head.keep_alive and type(self._decoder) is not UntilClose and not odd
        self._state = _BODY  # a body that is malformed is a reset from here on, however its bytes come
        payload = b""
        if self._decoder.complete:
            self._decoder.rest = data
        elif data:
            payload = self._decoder.decode(data)
        down = b"%bX-Request-Id: %b\r\n%b%b\r\n" % (
            down,
            client.request_id,
            framing_line,
            client.begin(status, ends_with_close=ends_with_close),
        )
        self._pass_down(down, payload)
        self._expect_more()

    def _pass_down(self, down: bytes, payload: bytes) -> None:
        """Write `down`, then `payload`; at the end of the body its end, too."""
        decoder = self._decoder
        if self._chunked_down:
            if payload:
                down = b"%b%x\r\n%b\r\n" % (down, len(payload), payload)
            if decoder.complete:
                down = b"%b0\r\n%b\r\n" % (down, trailers_down(decoder.trailers, self._where.reader.secrets))
        elif payload:
            down = down + payload if down else payload
        if down:
            self._client.write(down)
        if decoder.complete:
            self._complete()

    def _complete(self) -> None:
        """The answer is down to its end. The connection is kept where neither side has anything left to say."""
        if self._state is not _BODY:  # the client broke off while it was written to
            return
        self._state = _OVER
        connection, self._connection = self._connection, None
        self._where.response_timeout.disarm(self)
        if connection is not None:
            if self._may_keep and self._is_read and not self._is_full and not self._decoder.rest:
                if self._is_held:
                    connection.transport.resume_reading()
                self._where.pool.release(connection)
            else:
                self._where.pool.answered(connection)
                connection.abort()
        self._client.done()

    def client_full(self) -> None:
        """The client does not take what is sent to it."""
        if self._connection is not None and not self._is_held:
            self._is_held = True
            self._connection.transport.pause_reading()
            if self._state is _BODY and not self._is_full:
                self._where.response_timeout.disarm(self)  # it is the client who has to be waited for

    def client_ready(self) -> None:
        """It does again."""
        if self._connection is not None and self._is_held:
            self._is_held = False
            self._connection.transport.resume_reading()
            self._expect_more()

    # Tunnels.

    def _open_tunnel(self, head: ResponseHead, down: bytes, data: bytes) -> None:
        named = [field.value.lower() for field in head.special if field.role is Role.UPGRADE]
        if not self._request.upgrade or named != [b"websocket"] or b"upgrade" not in head.options:
            raise UpstreamFailed("a 101 that nobody asked for")
        if head.framing is not UNFRAMED:  # RFC 9110 8.6, RFC 9112 6.1: two readers could begin the tunnel elsewhere
            raise UpstreamFailed("a 101 that frames a body")
        self._state = _TUNNEL
        if self._connection is not None:
            self._where.pool.answered(self._connection)
        self._client.begin(head.status, ends_with_close=True)
        self._client.write(
            b"%bX-Request-Id: %b\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n%b"
            % (down, self._client.request_id, data)
        )
        self._client.open_tunnel()

    def send_through(self, data: bytes) -> None:
        """In a tunnel: bytes of the client."""
        if self._connection is not None:
            self._connection.write(data)

    def client_ended(self) -> None:
        """In a tunnel: the client sends nothing more."""
        self._client_ended = True
        self._end_tunnel(self._connection.transport if self._connection is not None else None)

    def _end_tunnel(self, other: asyncio.Transport | None) -> None:
        """One side has ended: tell the `other`, and when both have, all is done. TLS knows no half-close."""
        if other is not None and other.can_write_eof() and not (self._client_ended and self._upstream_ended):
            other.write_eof()
            return
        self._leave()
        self._client.done()

    # Ends.

    def ended(self) -> None:
        """See `upstream_connection.Exchange`."""
        if self._state is _TUNNEL:
            self._upstream_ended = True
            connection = self._connection
            stays = connection is not None and connection.transport.can_write_eof()
            if self._client_ended or not stays or not self._client.end_sending():
                self._leave()
                self._client.done()
        elif self._state is _BODY:
            try:
                self._decoder.end()
            except BodyFault:
                self._fail(UpstreamFailed("the answer broke off"))
            else:
                self._pass_down(b"", b"")
        else:
            self.lost()

    def lost(self) -> None:
        """See `upstream_connection.Exchange`. Sent once more is what cannot have done anything, or may be done twice
        (RFC 9110 9.2.2, RFC 9112 9.3.1).
        """
        repeat = (
            self._state is _SENDING
            and not self._retried
            and not self._sent_body
            and self._request.method in _IDEMPOTENT
        )
        if not repeat:
            self._fail(UpstreamFailed("the connection was closed"))
            return
        self._retried = True
        self._failed_at = self._give_up_connection()
        self._client.hold_body()
        self._client.spawn(self.connect())

    def timed_out(self) -> None:
        """The upstream had its time."""
        self._fail(UpstreamFailed("no answer in time", timeout=True))

    def client_gone(self) -> None:
        """There is nobody to answer any more, or he must not be: the upstream may stop."""
        self._leave()

    def _give_up_connection(self, *, timeout: bool = False) -> Target | None:
        """Close the connection; returns its target where that is to blame: a connection that was kept may end at any
        time, and so may a tunnel. `timeout`: it has not ended.
        """
        self._where.response_timeout.disarm(self)
        connection, self._connection = self._connection, None
        if connection is None:
            return None
        target = self._where.pool.target_of(connection)
        connection.abort()
        ended = not timeout and connection.used and self._state is _SENDING
        if target is None or ended or self._state is _TUNNEL:
            return None
        self._where.pool.failed(target)
        return target

    def _fail(self, failed: UpstreamFailed) -> None:
        """The upstream gave no answer that can be used, or not all of it."""
        state = self._state
        if state is _OVER:
            return
        log.info("upstream failed", request_id=self._client.request_id.decode("ascii"), error=str(failed))
        self._give_up_connection(timeout=failed.timeout)
        self._state = _OVER
        reason = Reason.UPSTREAM_TIMEOUT if failed.timeout else Reason.UPSTREAM_UNREACHABLE
        if state is _SENDING or state is _HEAD:
            self._client.fail(Deny(reason=reason))
        else:
            self.broken = reason
            self._client.abort()

    def _leave(self) -> None:
        self._state = _OVER
        self._where.response_timeout.disarm(self)
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.abort()


def _status_line(head: ResponseHead) -> bytes:
    return _STATUS_LINES.get((head.status, head.phrase)) or b"HTTP/1.1 %d %b\r\n" % (head.status, head.phrase)


def _trailer_lines(head: ResponseHead) -> bytes:
    return b"".join(field.sent for field in head.special if field.role is Role.TRAILER)

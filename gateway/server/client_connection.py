"""The client's side, on aiohttp's server: a `ClientConnection` for the relay, and the protocol beneath it.

aiohttp reads requests and keeps the connection; every byte of an answer is written here, since aiohttp's own
responses invent fields (Server, Content-Type), and since its parser's refusals must wear the envelope too.
"""

import asyncio
import http
import socket
import struct
from collections.abc import AsyncIterator, Callable
from email.utils import formatdate
from typing import Any, Final

from aiohttp import web
from aiohttp.http_exceptions import (
    BadHttpMessage,
    BadStatusLine,
    InvalidURLError,
    LineTooLong,
    TransferEncodingError,
)
from aiohttp.streams import EMPTY_PAYLOAD, StreamReader
from aiohttp.web_exceptions import HTTPException
from aiohttp.web_protocol import RequestHandler, _ErrInfo

from gateway.proxy.framing import LARGEST_HEAD, MOST_FIELDS
from gateway.proxy.ports import BodyRefused, ClientGone, Incoming
from gateway.reason import Answer, Deny, Reason, refuse
from gateway.server.request_id import request_id

_RESET: Final = struct.pack("ii", 1, 0)
_HEAD_IN_PIECES: Final = LARGEST_HEAD + 8 * MOST_FIELDS
"""Bytes of a head with what `is_too_large` does not count: colons, blanks, line ends, the version."""
_DRAINED: Final = 64 * 1024
_DRAIN_TIMEOUT: Final = 1.0
_PARSER_FAULTS: Final = (
    (BadStatusLine, "line"),
    (InvalidURLError, "path"),
    (TransferEncodingError, "body"),
)
_CONTINUE: Final = b"HTTP/1.1 100 Continue\r\n\r\n"
_WITHOUT_LENGTH: Final = frozenset({204, 304})


class AiohttpConnection:
    """One request's client side."""

    def __init__(self, request: web.BaseRequest, *, max_body: int, body_idle_timeout: float) -> None:
        """`max_body` in bytes, 0: no limit; `body_idle_timeout` in seconds."""
        self._request = request
        self._max_body = max_body
        self._body_idle_timeout = body_idle_timeout
        self._owes_continue = False
        self._free = asyncio.Event()
        self._free.set()
        self._is_cut = False
        self.status = 0
        self.keep_alive = request.keep_alive

    def expect_continue(self) -> None:
        """The client waits for a 100 before it sends its body: `body` sends it, a refusal does not."""
        self._owes_continue = True

    async def body(self) -> AsyncIterator[bytes]:
        """See `ClientConnection.body`."""
        if self._owes_continue:
            self._owes_continue = False
            await self._write(_CONTINUE)
        received = 0
        content = self._request.content
        while True:
            self._free.clear()
            try:
                async with asyncio.timeout(self._body_idle_timeout):
                    piece = await content.readany()
            except TimeoutError as error:
                raise self._refused(Reason.REQUEST_TIMEOUT) from error
            except (web.RequestPayloadError, OSError, HTTPException) as error:
                if self._is_cut:
                    raise self._refused(Reason.DRAINING) from error
                raise self._refused(Reason.BAD_REQUEST, "body: cut, or not framed as it should be") from error
            finally:
                self._free.set()
            if not piece:
                return
            received += len(piece)
            if self._max_body and received > self._max_body:
                raise self._refused(Reason.BODY_TOO_LARGE)
            yield piece

    def _refused(self, reason: Reason, detail: str = "") -> BodyRefused:
        self.keep_alive = False
        return BodyRefused(Deny(reason=reason, detail=detail))

    async def start(self, head: Incoming) -> None:
        """See `ClientConnection.start`."""
        fields = list(head.fields)
        chunked = head.has_body and head.length is None and self._request.version >= (1, 1)
        if chunked:
            fields.append((b"Transfer-Encoding", b"chunked"))
        elif head.has_body and head.length is not None:
            fields.append((b"Content-Length", str(head.length).encode()))
        elif head.has_body:
            self.keep_alive = False  # HTTP/1.0: the end of the connection is the end of the body
        await self._write_head(head.status, head.phrase, fields)
        if chunked:
            self._request.writer.enable_chunking()

    async def _write_head(self, status: int, phrase: str, fields: list[tuple[bytes, bytes]]) -> None:
        self.status = status
        if self._owes_continue:
            # It got no 100, so it may send the body or not: nobody can tell what the next byte is.
            self.keep_alive = False
        if not self.keep_alive:
            fields = [*fields, (b"Connection", b"close")]
        elif self._request.version < (1, 1):
            fields = [*fields, (b"Connection", b"keep-alive")]
        lines = [f"HTTP/1.1 {status} {phrase}".encode("latin-1", "replace")]
        lines += [b"%b: %b" % field for field in fields]
        await self._write(b"\r\n".join([*lines, b"", b""]))

    async def write(self, data: bytes) -> None:
        """See `ClientConnection.write`."""
        await self._write(data)

    async def _write(self, data: bytes) -> None:
        try:
            async with asyncio.timeout(self._body_idle_timeout):
                await self._request.writer.write(data)
        except (ConnectionError, TimeoutError) as error:  # gone, or it does not read any more
            raise ClientGone from error

    async def finish(self) -> None:
        """See `ClientConnection.finish`."""
        transport = self._request.transport
        try:
            await self._request.writer.write_eof()
            if transport is not None and transport.get_write_buffer_size():
                await self._flush(transport)
        except (ConnectionError, TimeoutError) as error:
            raise ClientGone from error

    async def _flush(self, transport: asyncio.Transport) -> None:
        """Wait until the client has taken all of the answer: one that does not read is not kept alive."""
        transport.set_write_buffer_limits(0)
        try:
            async with asyncio.timeout(self._body_idle_timeout):
                await self._request.writer.drain()
        finally:
            transport.set_write_buffer_limits()

    def cut_body(self) -> None:
        """The gateway ends before the body does: whoever reads it hears of it."""
        self._is_cut = True
        if not self._request.content.is_eof():
            self._request.content.set_exception(web.RequestPayloadError("draining"))

    def abort(self) -> None:
        """See `ClientConnection.abort`.

        A reset, not a close: to HTTP/1.0 the end of the connection may be the end of the body.
        """
        self.keep_alive = False
        transport = self._request.transport
        if transport is None:
            return
        if (sock := transport.get_extra_info("socket")) is not None:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
        transport.abort()

    async def answer(self, answer: Answer, request_id: str) -> None:
        """Send a whole answer of ours. To HEAD its body stays away, its length does not (RFC 9110 9.3.2)."""
        fields = [(name.encode("ascii"), value.encode("ascii")) for name, value in answer.fields]
        fields += [(b"X-Request-Id", request_id.encode()), (b"Date", formatdate(usegmt=True).encode())]
        if answer.status not in _WITHOUT_LENGTH:
            fields.append((b"Content-Length", str(len(answer.body)).encode()))
        await self._write_head(answer.status, http.HTTPStatus(answer.status).phrase, fields)
        if answer.body and self._request.method != "HEAD":
            await self._write(answer.body)
        await self.finish()

    async def drain(self) -> None:
        """Read what is left of the body, up to 64 KiB and 1 s, so that the client hears our answer instead of a reset;
        if there is more, the connection closes.
        """
        left = _DRAINED
        content = self._request.content
        try:
            async with asyncio.timeout(_DRAIN_TIMEOUT):
                await self._free.wait()  # whoever sent the body up was cancelled, and may not have heard of it yet
                while left > 0 and (piece := await content.readany()):
                    left -= len(piece)
        except (TimeoutError, web.RequestPayloadError, OSError):
            self.keep_alive = False
        if not content.is_eof():
            self.keep_alive = False


LogRefusal = Callable[[Deny, str, web.BaseRequest], None]
"""Told of each request that aiohttp's parser refused: why, its request id, and what there is of it."""


class Written(web.StreamResponse):
    """What aiohttp wants back from a handler; the answer itself is written already."""

    def __init__(self, connection: AiohttpConnection) -> None:
        super().__init__()
        self._connection = connection

    @property
    def keep_alive(self) -> bool:
        """Whether another request may follow."""
        return self._connection.keep_alive

    async def prepare(self, request: web.BaseRequest) -> None:
        """Nothing is left to do."""

    async def write_eof(self, data: bytes = b"") -> None:
        """Nothing is left to do."""


class _Refused(Written):
    """A refusal that aiohttp's protocol asks for when its parser gave up: written when aiohttp says so."""

    def __init__(self, request: web.BaseRequest, deny: Deny) -> None:
        connection = AiohttpConnection(request, max_body=0, body_idle_timeout=_DRAIN_TIMEOUT)
        connection.keep_alive = False
        super().__init__(connection)
        self._deny = deny
        self.request_id = request_id([])

    async def prepare(self, request: web.BaseRequest) -> None:  # noqa: ARG002 - the connection has it
        try:
            await self._connection.answer(refuse(self._deny), self.request_id)
        except ClientGone:
            self._connection.abort()


class Protocol(RequestHandler):
    """aiohttp's server protocol, with the parser's refusals in our envelope."""

    __slots__ = ("_body", "_head_lines", "_head_size", "_is_refused", "_log_refusal")

    def __init__(self, *arguments: Any, log_refusal: LogRefusal, **options: Any) -> None:  # noqa: ANN401 - aiohttp's
        super().__init__(*arguments, **options)
        self._log_refusal = log_refusal
        self._head_size = 0
        self._head_lines = 0
        self._is_refused = False
        self._body: StreamReader | None = None  # of the last head that was read

    def data_received(self, data: bytes) -> None:
        """See aiohttp, whose parser limits each line of a head, and not the whole of it."""
        if self._is_refused:
            return
        heads = self._request_count
        self._head_size += len(data)
        self._head_lines += data.count(b"\n")
        super().data_received(data)
        if self._messages and isinstance(self._messages[-1][0], _ErrInfo):
            self._is_refused = True
            if self._body is not None and not self._body.is_eof():
                # aiohttp answers for a broken chunk once the request before it is done, which waits for that chunk.
                self._body.set_exception(web.RequestPayloadError("a chunk that is none"))
            return
        if self._request_count != heads:
            self._body = self._messages[-1][1]
        if self._request_count != heads or (self._body is not None and not self._body.is_eof()):
            self._head_size = self._head_lines = 0
        elif self._head_size > _HEAD_IN_PIECES:
            self._refuse_head()

    def _refuse_head(self) -> None:
        """Answer 431 for a head that has not ended yet, as aiohttp answers for what its parser refuses."""
        self._is_refused = True
        self._request_count += 1
        error = LineTooLong(b"", LARGEST_HEAD)
        self._messages.append((_ErrInfo(status=400, exc=error, message=""), EMPTY_PAYLOAD))
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,  # noqa: ARG002 - aiohttp's text repeats what the client sent
    ) -> web.StreamResponse:
        """See aiohttp. Our own handler lets nothing through, so that what comes here comes from the parser."""
        # The parser says the same of too many fields as of anything else, so the head's lines are counted.
        if isinstance(exc, LineTooLong) or (type(exc) is BadHttpMessage and self._head_lines > MOST_FIELDS):
            deny = Deny(reason=Reason.HEAD_TOO_LARGE)
        elif status == http.HTTPStatus.BAD_REQUEST:
            detail = next((text for kind, text in _PARSER_FAULTS if isinstance(exc, kind)), "headers")
            deny = Deny(reason=Reason.BAD_REQUEST, detail=f"{detail}: not HTTP/1.1 as RFC 9112 has it")
        else:
            deny = Deny(reason=Reason.INTERNAL_ERROR)
        refused = _Refused(request, deny)
        self._log_refusal(deny, refused.request_id, request)
        return refused


class Server(web.Server):
    """aiohttp's low-level server over `Protocol`."""

    def __init__(self, handler: Any, *, keepalive_timeout: float, log_refusal: LogRefusal) -> None:  # noqa: ANN401 - aiohttp's handler type is private
        super().__init__(handler, handler_cancellation=True)
        self._options: dict[str, Any] = {
            "log_refusal": log_refusal,
            "keepalive_timeout": keepalive_timeout,
            "access_log": None,
            "auto_decompress": False,
            "lingering_time": 0,  # `AiohttpConnection.drain` does that
            "max_line_size": LARGEST_HEAD,
            "max_field_size": LARGEST_HEAD,
            # One more than allowed, so that `judge_head` sees it, and says 431.
            "max_headers": MOST_FIELDS + 1,
        }

    def __call__(self) -> RequestHandler:
        """A protocol for a new connection."""
        return Protocol(self, loop=self._loop, **self._options)

"""An upstream through aiohttp's client, held to sending what it is given.

No decompression, no redirects, no cookies, no proxies of the environment, no field that we did not write, and the
request target byte for byte.
"""

import asyncio
import functools
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from contextvars import ContextVar
from http import HTTPStatus
from typing import Any, Final

import aiohttp
from aiohttp import hdrs
from aiohttp.abc import AbstractStreamWriter
from aiohttp.client_proto import ResponseHandler
from aiohttp.payload import Payload
from multidict import CIMultiDict
from yarl import URL

from gateway.proxy.framing import (
    HTTP_1_0,
    HTTP_1_1,
    LARGEST_HEAD,
    MOST_FIELDS,
    Framing,
    fault_in_fields,
    has_control_bytes,
    is_too_large,
    read_framing,
)
from gateway.proxy.ports import BodyRefused, Incoming, Outgoing, UpstreamAnswer, UpstreamFailed

_IDEMPOTENT: Final = frozenset({"GET", "HEAD", "OPTIONS", "PUT", "DELETE"})
_BUFFER: Final = 65536
_BEYOND_STATUSES: Final = 600
_NEVER_A_BODY: Final = frozenset({204, 304})
_INVENTED: Final = (hdrs.ACCEPT, hdrs.ACCEPT_ENCODING, hdrs.USER_AGENT, hdrs.CONTENT_TYPE)


class _Protocol(ResponseHandler):
    """aiohttp's protocol, which also knows whether anything came since the request was sent."""

    has_received = False

    def data_received(self, data: bytes) -> None:
        self.has_received = True
        super().data_received(data)


class _Attempt:
    """One try of a request: what to ask for, and the connection on which it went."""

    def __init__(self, target: str) -> None:
        self.target = target
        self.protocol: _Protocol | None = None

    @property
    def was_answered(self) -> bool:
        """Whether a byte of an answer has come."""
        return self.protocol is not None and self.protocol.has_received


_ATTEMPT: ContextVar[_Attempt] = ContextVar("_ATTEMPT")
"""How `_send` and the request that aiohttp makes know of each other."""


class _ExactTarget:
    """A URL that says its path and query as they came: yarl drops the `?` of an empty query."""

    def __init__(self, url: URL, target: str) -> None:
        self._url = url
        self.raw_path_qs = target

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401 - it stands in for a URL
        return getattr(self._url, name)


class _NotSentError(aiohttp.ServerDisconnectedError):
    """The connection was found unfit before a byte of the request was sent."""


class _ExactRequest(aiohttp.ClientRequest):
    async def send(self, conn: Any) -> aiohttp.ClientResponse:  # noqa: ANN401 - aiohttp's Connection
        attempt = _ATTEMPT.get()
        if conn.protocol is None or conn.protocol.should_close:
            # Bytes that came while the connection was idle are nobody's answer, least of all this request's.
            conn.close()
            raise _NotSentError
        attempt.protocol = conn.protocol
        conn.protocol.has_received = False
        self.url = _ExactTarget(self.url, attempt.target)  # type: ignore[assignment]
        return await super().send(conn)


class _StreamedBody(Payload):
    """A client's body on its way: it can be sent once."""

    _autoclose = True

    def __init__(self, pieces: AsyncIterator[bytes], length: int | None, stall: float) -> None:
        super().__init__(pieces)
        self._size = length
        self._stall = stall
        self._started = False
        self.refused: BodyRefused | None = None

    def decode(self, encoding: str = "utf-8", errors: str = "strict") -> str:  # noqa: ARG002 - Payload's signature
        raise TypeError

    async def write(self, writer: AbstractStreamWriter) -> None:
        await self.write_with_length(writer, None)

    async def write_with_length(self, writer: AbstractStreamWriter, content_length: int | None) -> None:  # noqa: ARG002 - as it comes
        if self._started:
            msg = "the body was sent already"
            raise RuntimeError(msg)
        self._started = True
        try:
            async for piece in self._value:
                async with asyncio.timeout(self._stall):
                    await writer.write(piece)
        except BodyRefused as refused:
            self.refused = refused
            raise


class _Answer:
    def __init__(self, response: aiohttp.ClientResponse, request: Outgoing, framing: Framing) -> None:
        self._response = response
        has_body = request.method != hdrs.METH_HEAD and response.status not in _NEVER_A_BODY
        self.head = Incoming(
            status=response.status,
            phrase=response.reason or "",
            fields=tuple(response.raw_headers),
            length=framing.length,
            has_body=has_body,
        )

    async def body(self) -> AsyncIterator[bytes]:
        try:
            while piece := await self._response.content.readany():
                yield piece
        except (aiohttp.ClientError, OSError) as error:
            msg = "the answer broke off"
            raise UpstreamFailed(msg) from error


def _may_repeat(request: Outgoing, error: Exception, tried: _Attempt) -> bool:
    """Whether to send `request` once more (RFC 9110 9.2.2, RFC 9112 9.3.1).

    It was not sent at all; or it is idempotent, has no body, and its connection ended before a byte of the answer came.
    """
    if isinstance(error, _NotSentError):
        return True
    if request.has_body or request.method not in _IDEMPOTENT or isinstance(error, aiohttp.ClientConnectorError):
        return False
    ended = isinstance(error, aiohttp.ServerDisconnectedError | aiohttp.ClientOSError)
    return ended and not tried.was_answered


def _judge(response: aiohttp.ClientResponse) -> Framing:
    """How the answer is framed. Raises UpstreamFailed for a head that would not have been taken from a client."""
    version = (response.version.major, response.version.minor) if response.version else None
    phrase = (response.reason or "").encode("utf-8", "surrogateescape")
    if response.status == HTTPStatus.SWITCHING_PROTOCOLS:
        raise UpstreamFailed("a 101 that nobody asked for")
    known = HTTPStatus.OK <= response.status < _BEYOND_STATUSES
    if version not in (HTTP_1_0, HTTP_1_1) or not known or has_control_bytes(phrase):
        raise UpstreamFailed("a status line that is none")
    if is_too_large(phrase, response.raw_headers) or fault_in_fields(response.raw_headers):
        raise UpstreamFailed("a head that is too large, or none")
    framing = read_framing(response.raw_headers, version)
    if not isinstance(framing, Framing):
        raise UpstreamFailed("a body that two readers could read differently")
    return framing


class AiohttpUpstream:
    """The `Upstream` of one API: one target, a pool of connections to it."""

    def __init__(  # noqa: PLR0913 - one argument a setting
        self,
        target: str,
        *,
        max_connections: int,
        idle_timeout: float,
        connect_timeout: float,
        response_timeout: float,
        tls: ssl.SSLContext | None,
    ) -> None:
        """Must be made while the loop runs. `target`: http(s)://host[:port]. Times in seconds."""
        self._target = target
        self._response_timeout = response_timeout
        connector = aiohttp.TCPConnector(
            limit=0,
            limit_per_host=max_connections,
            keepalive_timeout=idle_timeout,
            ssl=tls if tls is not None else True,
        )
        factory: Any = functools.partial(_Protocol, loop=asyncio.get_running_loop())
        connector._factory = factory  # noqa: SLF001 - aiohttp has no public place for a protocol of ours
        self._session = aiohttp.ClientSession(
            connector=connector,
            request_class=_ExactRequest,
            skip_auto_headers=_INVENTED,
            cookie_jar=aiohttp.DummyCookieJar(),
            auto_decompress=False,
            raise_for_status=False,
            trust_env=False,
            timeout=aiohttp.ClientTimeout(
                total=None, connect=response_timeout, sock_connect=connect_timeout, sock_read=response_timeout
            ),
            read_bufsize=_BUFFER,
            max_line_size=LARGEST_HEAD,
            max_field_size=LARGEST_HEAD,
            max_headers=MOST_FIELDS,
        )
        # aiohttp would repeat a PUT with an empty body, and a GET whose answer had begun; `_ask` repeats instead.
        self._session._retry_connection = False  # noqa: SLF001 - there is no public switch

    @asynccontextmanager
    async def exchange(self, request: Outgoing, body: AsyncIterator[bytes]) -> AsyncIterator[UpstreamAnswer]:
        """See `Upstream.exchange`."""
        headers = CIMultiDict((name.decode("ascii"), value.decode()) for name, value in request.fields)
        if request.length is not None:
            headers[hdrs.CONTENT_LENGTH] = str(request.length)
        response = await self._ask(request, headers, body)
        try:
            yield _Answer(response, request, _judge(response))
        finally:
            # Not `release`: an answer that was not read to its end leaves a connection that cannot be used again.
            response.close()

    async def _ask(
        self, request: Outgoing, headers: CIMultiDict[str], body: AsyncIterator[bytes]
    ) -> aiohttp.ClientResponse:
        """Send the request, a second time if the first cannot have done anything."""
        for attempt in (1, 2):
            payload = _StreamedBody(body, request.length, self._response_timeout) if request.has_body else None
            tried = _Attempt(request.target.decode("ascii"))
            try:
                return await self._send(request, headers, payload, tried)
            except (aiohttp.ClientError, OSError, ValueError) as error:
                if payload is not None and payload.refused is not None:
                    raise payload.refused from error
                if attempt == 1 and _may_repeat(request, error, tried):
                    continue
                raise UpstreamFailed(type(error).__name__, timeout=isinstance(error, TimeoutError)) from error
        raise UpstreamFailed("no attempt was made")  # not reached: the second attempt returns or raises

    async def _send(
        self, request: Outgoing, headers: CIMultiDict[str], payload: _StreamedBody | None, attempt: _Attempt
    ) -> aiohttp.ClientResponse:
        url = URL(self._target + attempt.target.partition("?")[0], encoded=True)
        _ATTEMPT.set(attempt)
        response = await self._session.request(
            request.method, url, headers=headers, data=payload, allow_redirects=False
        )
        if response.connection is not None and response.connection.protocol is not None:
            # The time limit is for the first byte: an event stream may be silent for as long as it likes.
            response.connection.protocol.read_timeout = None
            response.connection.protocol.start_timeout()  # of none: it ends the one that runs
        return response

    async def close(self) -> None:
        """Close every connection."""
        await self._session.close()

"""One request, from its head to the end of its answer."""

import asyncio
import contextlib
import time
from collections.abc import Callable
from typing import Final

import msgspec
import structlog
from aiohttp import web

from gateway.access.decision import Allow
from gateway.proxy.forward import ForwardedRequest
from gateway.proxy.header_rules import Client
from gateway.proxy.ports import BodyRefused, ClientGone
from gateway.reason import REFUSALS, Answer, Deny, Reason, refuse
from gateway.server.admission import Admission, label
from gateway.server.client_address import client_address, is_trusted, parse_address
from gateway.server.client_connection import AiohttpConnection, Written
from gateway.server.head import Head, judge_head
from gateway.server.ports import Call, Forwarder, Pages, Refused, RefusedCalls, TokenApi, UseCounter
from gateway.server.request_id import request_id
from gateway.telemetry.access_log import AccessLog
from gateway.tokens.condition import Address, Network
from gateway.tokens.validation import LARGEST_BODY

log = structlog.get_logger(__name__)
_LAST_WORDS: Final = 0.5
"""Seconds for saying that the gateway ends, to those whose bodies it waits for no more."""
_LAST_REQUESTS: Final = 0.5
"""Seconds in which a connection that is kept may bring one more request: it may have been sent already."""
_GLANCE: Final = 0.02
_LOOK_AGAIN: Final = 0.5
"""Seconds between two looks at what is relayed: a dead token's streams end within a second."""
_AT_ONCE: Final = 64
"""Looks that go on together: tokens that are in memory no more are then read together."""
_LOCAL: Final = frozenset({"localhost"})


class Door(msgspec.Struct, frozen=True):
    """What one listener lets in, and where it leads.

    `admission`, `forwarder`, `pages`: None where the listener has none; `allowed_hosts` None: any Host is answered;
    `max_body` in bytes (0: no limit), `body_idle_timeout` in seconds; `refused_calls`, `uses` None: nobody writes down,
    or counts; `clock`: Unix seconds.
    """

    admission: Admission | None
    token_api: TokenApi
    access_log: AccessLog
    max_body: int
    body_idle_timeout: float
    forwarder: Forwarder | None = None
    pages: Pages | None = None
    trusted_proxies: tuple[Network, ...] = ()
    allowed_hosts: frozenset[str] | None = None
    refused_calls: RefusedCalls | None = None
    uses: UseCounter | None = None
    clock: Callable[[], float] = time.time


class Handler:
    """Answers the requests of one listener."""

    def __init__(self, door: Door) -> None:
        self._door = door
        self._under_way: set[AiohttpConnection] = set()
        self._relayed: set[_Exchange] = set()
        self._idle = asyncio.Event()
        self._draining = False

    async def cut_dead(self) -> None:
        """Break off what is relayed for tokens that would be refused by now, until cancelled."""
        while True:
            await asyncio.sleep(_LOOK_AGAIN)
            # What has just begun ends by itself, or is looked at next time.
            begun_before = time.monotonic() - _LOOK_AGAIN
            relayed = [exchange for exchange in self._relayed if exchange.started <= begun_before]
            for some in range(0, len(relayed), _AT_ONCE):
                async with asyncio.TaskGroup() as group:
                    for exchange in relayed[some : some + _AT_ONCE]:
                        group.create_task(exchange.cut_if_dead())

    async def drain(self, seconds: float, has_connections: Callable[[], bool]) -> None:
        """Let what is under way finish, for so many `seconds` at most; each answer is its connection's last.

        Who was promised that his connection is kept may have sent the next request before he could hear otherwise, and
        who has just connected sends his first: for a moment, these are answered too.
        """
        self._draining = True
        for connection in self._under_way:
            if not connection.status:
                connection.keep_alive = False
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._finished()
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(_LAST_REQUESTS):
                        while has_connections():  # noqa: ASYNC110 - aiohttp tells nobody of the last one
                            await asyncio.sleep(_GLANCE)
                await self._finished()
        for connection in self._under_way:
            connection.cut_body()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_LAST_WORDS):
                await self._finished()

    async def _finished(self) -> None:
        if self._under_way:
            await self._idle.wait()

    async def __call__(self, request: web.BaseRequest) -> web.StreamResponse:
        """Answer `request`. Nothing but cancellation gets out of here."""
        connection = AiohttpConnection(
            request, max_body=self._door.max_body, body_idle_timeout=self._door.body_idle_timeout
        )
        if self._draining:
            connection.keep_alive = False
        self._under_way.add(connection)
        self._idle.clear()
        try:
            return await self._answer(request, connection)
        finally:
            self._under_way.remove(connection)
            if not self._under_way:
                self._idle.set()

    async def _answer(self, request: web.BaseRequest, connection: AiohttpConnection) -> web.StreamResponse:
        exchange = _Exchange(self._door, request, connection)
        self._relayed.add(exchange)
        try:
            answer = await exchange.run()
            if answer is not None:
                await connection.answer(answer, exchange.request_id)
            await connection.drain()
        except ClientGone:
            connection.abort()
        except Exception:  # the outermost edge: fail closed, and say so in the log
            log.exception("request failed", request_id=exchange.request_id)
            await exchange.give_up()
        finally:  # a client that left (its request is cancelled then) may have changed something
            self._relayed.remove(exchange)
            exchange.count()
            self._door.access_log.write(
                request_id=exchange.request_id,
                method=request.method,
                target=exchange.head.target if exchange.head else None,
                allow=exchange.allow,
                deny=exchange.deny,
                route=exchange.route,
                address=exchange.address,
                status=connection.status,
                seconds=time.monotonic() - exchange.started,
            )
        return Written(connection)

    def log_refusal(self, deny: Deny, request_id: str, request: web.BaseRequest) -> None:
        """Log a request that aiohttp's parser refused: what it was, nobody knows."""
        self._door.access_log.write(
            request_id=request_id,
            method=None,
            target=None,
            allow=None,
            deny=deny,
            route="",
            address=_peer(request),
            status=REFUSALS[deny.reason].status,
            seconds=0.0,
        )


class _Exchange:
    """The state of one request, filled in as it becomes known."""

    def __init__(self, door: Door, request: web.BaseRequest, connection: AiohttpConnection) -> None:
        self._door = door
        self._request = request
        self._connection = connection
        self.started = time.monotonic()
        self.request_id = request_id([value for name, value in request.raw_headers if name.lower() == b"x-request-id"])
        self.head: Head | None = None
        self.address: Address | None = None
        self.allow: Allow | None = None
        self.deny: Deny | None = None

    async def run(self) -> Answer | None:
        """The answer that is still to be sent; None when it was relayed."""
        outcome = await self._outcome()
        if isinstance(outcome, Deny):
            self.deny = outcome
            await self._write_down(outcome)
            return refuse(outcome)
        return outcome

    @property
    def token_id(self) -> str:
        """Of the token, once it has proved itself; else ""."""
        if self.allow is not None:
            return self.allow.principal.token.id
        return self.deny.token_id if self.deny is not None else ""

    @property
    def route(self) -> str:
        """The label of the route that was asked for; "" where there is none, or nothing was proved."""
        if self.allow is not None and self.head is not None:
            return label(self.head.method, self.allow.route)
        return self.deny.route if self.deny is not None else ""

    def count(self) -> None:
        """Count the request, whose outcome is known now, for its token. Nobody anonymous bends the numbers."""
        uses = self._door.uses
        if uses is not None and (token_id := self.token_id):
            result = "allowed" if self.deny is None else self.deny.reason.value
            uses.count(token_id, self.route, result, str(self.address or ""), self._door.clock())

    async def _write_down(self, deny: Deny) -> None:
        """Put a refusal into the audit, if it has to be there, before it is answered."""
        calls = self._door.refused_calls
        if calls is None or self.head is None or not self.token_id:
            return
        await calls.write(
            Refused(
                deny=deny,
                method=self.head.method,
                target=self.head.target,
                token_id=self.token_id,
                owner=self.allow.principal.token.owner.key if self.allow else deny.owner,
                address=str(self.address or ""),
                request_id=self.request_id,
            ),
            self._door.clock(),
        )

    async def cut_if_dead(self) -> None:
        """Break off the relay if the token, or its right to this, is gone; what is not relayed is left alone."""
        if self.allow is None or self.allow.route.operation or self.deny is not None:
            return
        why_not = await self._why_not_any_more()
        if why_not is not None and self.deny is None:
            self.deny = why_not
            log.info("cut off", request_id=self.request_id, token=self.token_id, reason=why_not.reason)
            self._connection.abort()

    async def _why_not_any_more(self) -> Deny | None:
        """Why what was allowed would be refused by now, or None."""
        if self._door.admission is None or self.allow is None or self.head is None:
            return None
        return await self._door.admission.why_not_any_more(self.allow, self.head.method, self.address)

    async def give_up(self) -> None:
        """Answer that we failed, if nothing was answered yet; else break off."""
        self.deny = Deny(reason=Reason.INTERNAL_ERROR)
        if self._connection.status:
            self._connection.abort()
            return
        self._connection.keep_alive = False
        try:
            await self._connection.answer(refuse(self.deny), self.request_id)
        except ClientGone:
            self._connection.abort()

    async def _outcome(self) -> Answer | Deny | None:
        door, request = self._door, self._request
        head = judge_head(
            request.method,
            request.raw_path.encode("utf-8", "surrogateescape"),
            (request.version.major, request.version.minor),
            request.raw_headers,
        )
        if isinstance(head, Deny):
            self._connection.keep_alive = False
            return head
        self.head = head
        if head.expects_continue:
            self._connection.expect_continue()
        if (head.has_body and head.length is None) or head.values(b"upgrade"):
            # aiohttp's parser takes the trailers of a chunked body for fields of the next request, and keeps what
            # stands behind an upgrade to itself: no other request follows on this connection.
            self._connection.keep_alive = False
        peer = _peer(request)
        self.address = client_address(peer, head.values(b"x-forwarded-for"), door.trusted_proxies)
        if door.allowed_hosts is not None and not _is_answered(head.host, door.allowed_hosts):
            return Deny(
                reason=Reason.BAD_REQUEST,
                detail="headers: this Host is not answered here (admin.allowed_hosts)",
            )
        if door.pages is not None:
            page = await door.pages.answer(head.method, head.target.path)
            if page is not None:
                return page
        if door.admission is None:
            return Deny(reason=Reason.NO_ROUTE, path=head.target.path.decode("ascii"))
        decision = await door.admission.admit(head, self.address, self.request_id)
        if isinstance(decision, Deny):
            return decision
        self.allow = decision
        if decision.route.operation:
            return await self._call(decision, head)
        return await self._forward(decision, head, peer)

    async def _call(self, allow: Allow, head: Head) -> Answer | Deny:
        too_large = Deny(reason=Reason.BODY_TOO_LARGE, detail=f": at most {LARGEST_BODY} bytes here")
        if head.length is not None and head.length > LARGEST_BODY:
            return too_large
        body = bytearray()
        try:
            if head.has_body:
                async for piece in self._connection.body():
                    body += piece
                    if len(body) > LARGEST_BODY:
                        return too_large
        except BodyRefused as refused:
            return refused.deny
        if dead := await self._why_not_any_more():  # a body may take long to come
            return dead
        call = Call(
            query=head.target.query or b"",
            body=bytes(body),
            if_match=tuple(head.values(b"if-match")),
            address=str(self.address or ""),
            request_id=self.request_id,
        )
        return await self._door.token_api.answer(allow, call)

    async def _forward(self, allow: Allow, head: Head, peer: Address | None) -> Deny | None:
        door = self._door
        if door.forwarder is None:
            return Deny(reason=Reason.INTERNAL_ERROR)
        if door.max_body and (head.length or 0) > door.max_body:
            return Deny(reason=Reason.BODY_TOO_LARGE)
        forwarded = ForwardedRequest(
            method=head.method,
            fields=head.fields,
            has_body=head.has_body,
            length=head.length,
            client=Client(
                peer=peer,
                host=head.host,
                scheme=self._request.scheme,
                trusted=is_trusted(peer, door.trusted_proxies),
                request_id=self.request_id,
                token_id=allow.principal.token.id,
            ),
        )
        return await door.forwarder.forward(allow, forwarded, self._connection)


def _peer(request: web.BaseRequest) -> Address | None:
    name = request.transport.get_extra_info("peername") if request.transport else None
    return parse_address(str(name[0]).partition("%")[0]) if isinstance(name, tuple) else None


def _is_answered(host: bytes, allowed: frozenset[str]) -> bool:
    """Whether a page that a browser was lured to could not have sent this Host: DNS rebinding needs a name.

    No browser leaves Host out, as probes in HTTP/1.0 do.
    """
    if not host:
        return True
    text = host.decode("latin-1").lower()
    name = text.rpartition(":")[0] or text
    return name in _LOCAL or name in allowed or parse_address(text) is not None

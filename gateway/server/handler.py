"""What becomes of a request: judged, answered or relayed, counted; and how a listener's connections end.

`begin` never waits. An `Allow` goes to its relay at once, a refusal to the client; what has to wait for something (a
token that is not in memory, the body of a call of the token API, the audit) goes on in a task, by the same functions.
"""

import asyncio
import contextlib
import re
import time
from collections.abc import Callable, Coroutine
from functools import lru_cache, partial
from typing import Any, Final

import msgspec
import structlog

from gateway.access.decision import Allow
from gateway.access.ports import Miss
from gateway.proxy.deadlines import Deadlines
from gateway.proxy.field_line import KnownLines, Role
from gateway.proxy.listing import Passed, pass_on
from gateway.reason import Answer, Deny, Reason, refuse
from gateway.server.admission import UNDECIDED, Admission, Lacking, Pending, Undecided
from gateway.server.aiohttp_parts import Server
from gateway.server.client_address import client_address, is_trusted, parse_address
from gateway.server.client_connection import ClientConnection, Waits, too_large
from gateway.server.exchange import Exchange
from gateway.server.head import Head, HeadReader
from gateway.server.ports import (
    UNCOUNTED,
    Call,
    Dashboard,
    FilteredLists,
    Forwarder,
    Pages,
    RateLimits,
    Refused,
    RefusedCalls,
    TokenApi,
    Tracing,
    Visit,
)
from gateway.server.session import Sessions
from gateway.telemetry.access_log import AccessLog
from gateway.tokens.condition import Address, Network
from gateway.tokens.leaked import LARGEST_REPORT
from gateway.tokens.validation import LARGEST_BODY

log = structlog.get_logger(__name__)
_LAST_WORDS: Final = 0.5
"""Seconds for saying that the gateway ends, to those whose bodies it waits for no more."""
_LAST_REQUESTS: Final = 0.5
"""Seconds in which a connection that is kept may bring one more request: it may have been sent already."""
_LAST_HANDSHAKES: Final = 1.0
"""Seconds for handshakes that were under way when the end began."""
_LOOK_AGAIN: Final = 0.25
"""Seconds between two looks at what is relayed: a dead token's streams end within a second, and a look may be late."""
_GLANCE: Final = 0.05
_AT_ONCE: Final = 64
"""Looks that go on together: tokens that are in memory no more are then read together."""
_LONGEST_REMEMBERED: Final = 512
"""Bytes of a path in a refusal that may be remembered."""
_LARGE_HEAD: Final = 8 * 1024
_LOCAL: Final = frozenset({"localhost"})
_WEBSOCKET_KEY: Final = re.compile(rb"[A-Za-z0-9+/]{22}==")


class Uncounted(msgspec.Struct, frozen=True, gc=False):
    """Allowed, and not counted yet against the limits of its token: it takes a question to the store."""

    allow: Allow


_WAITING: Final = (*UNDECIDED, Uncounted)


def _answer_to(deny: Deny) -> Answer:
    """What says `deny`. Most refusals look alike: those whose words are few are made once."""
    if deny.limit is not None or deny.faults or deny.outcome_unknown or len(deny.path) > _LONGEST_REMEMBERED:
        return refuse(deny)
    return _alike(deny.reason, deny.detail, deny.path, deny.address, deny.needs, deny.note, deny.methods)


@lru_cache(maxsize=512)
def _alike(  # noqa: PLR0913, PLR0917 - what is said of a refusal, and nothing of who is refused
    reason: Reason,
    detail: str,
    path: str,
    address: str,
    needs: tuple[str, ...],
    note: str,
    methods: tuple[str, ...],
) -> Answer:
    return refuse(
        Deny(reason=reason, detail=detail, path=path, address=address, needs=needs, note=note, methods=methods)
    )


class Door(msgspec.Struct, frozen=True):
    """What one listener lets in, and where it leads.

    `admission`, `forwarder`, `lists`, `pages`: None where the listener has none; `allowed_hosts` None: any Host is
    answered; `max_body` in bytes (0: no limit), times in seconds; `max_connections` at once, in this process;
    `refused_calls` None: nobody writes them down; `at_once` False: every request goes on in a task; `clock`: Unix
    seconds.
    """

    admission: Admission | None
    token_api: TokenApi
    access_log: AccessLog
    reader: HeadReader
    lines: KnownLines
    max_body: int
    body_idle_timeout: float
    header_timeout: float
    keepalive_timeout: float
    max_connections: int = 20_000
    proxy_protocol: bool = False
    forwarder: Forwarder | None = None
    lists: FilteredLists | None = None
    pages: Pages | None = None
    trusted_proxies: tuple[Network, ...] = ()
    trusts_unix: bool = False
    """Who comes by a Unix socket is a proxy of ours."""
    allowed_hosts: frozenset[str] | None = None
    refused_calls: RefusedCalls | None = None
    limits: RateLimits | None = None
    """None: a token that has limits is not let in."""
    dashboard: Dashboard | None = None
    sessions: Sessions | None = None
    """Whose cookies count as credentials here; None: no cookie is looked at."""
    tracing: Tracing | None = None
    """None: a client's trace is carried on as it is."""
    at_once: bool = True
    clock: Callable[[], float] = time.time


class Handler:
    """Answers the requests of one listener. Must be made while the loop runs."""

    def __init__(
        self, door: Door, spawn: Callable[[Coroutine[Any, Any, None]], "asyncio.Task[None]"], *, tls: bool = False
    ) -> None:
        """`spawn`: do some work in a task, beside all else; `tls`: connections begin with a handshake."""
        self._door = door
        self._spawn = spawn
        self.reader = door.reader
        self.max_body = door.max_body
        self.draining = False
        self.server = Server(self._connection)
        self._waits = Waits(
            header=door.header_timeout, keep_alive=door.keepalive_timeout, body_idle=door.body_idle_timeout
        )
        # Until its handshake is done, a connection is known to the loop alone.
        self._handshakes: Deadlines[ClientConnection] | None = (
            Deadlines(asyncio.get_running_loop(), door.header_timeout, _nothing) if tls else None
        )
        self._at_once = door.at_once and door.pages is None and door.dashboard is None and door.sessions is None
        self._under_way = 0
        self._quiet = asyncio.Event()
        self._quiet.set()

    def _connection(self, server: Server) -> ClientConnection:
        connection = ClientConnection(server, self, self._waits, proxy_protocol=self._door.proxy_protocol)
        if self._handshakes is not None:
            self._handshakes.arm(connection)
        return connection

    def _connections(self) -> list[ClientConnection]:
        return [each for each in self.server.connections if isinstance(each, ClientConnection)]

    # What a connection asks (`Handling`).

    def opened(self, connection: ClientConnection) -> bool:
        """See `Handling.opened`. Room is made by whoever has been idle for longest."""
        if self._handshakes is not None:
            self._handshakes.disarm(connection)
        if self.server.size <= self._door.max_connections:
            return True
        idle = self._waits.keep_alive.oldest()
        if idle is None:
            return False
        idle.end()
        return True

    def is_trusted(self, peer: Address | None) -> bool:
        """See `Handling.is_trusted`. None: it came by a Unix socket."""
        return self._door.trusts_unix if peer is None else is_trusted(peer, self._door.trusted_proxies)

    def begin(self, connection: ClientConnection, exchange: Exchange) -> None:
        """See `Handling.begin`."""
        if not self._under_way:
            self._quiet.clear()
        self._under_way += 1
        if not self._at_once:
            connection.spawn(self._attend(connection, exchange))
            return
        try:
            outcome = self._judge(connection, exchange)
            if isinstance(outcome, _WAITING) or self._has_to_wait(exchange, outcome):
                connection.spawn(self._attend(connection, exchange, outcome))
            elif isinstance(outcome, Deny):
                self.refuse(connection, exchange, outcome)
            else:
                self._forward(connection, exchange, outcome)
        except Exception:  # the outermost edge: fail closed, and say so in the log
            log.exception("request failed", request_id=exchange.request_id.decode("ascii"))
            self._give_up(connection, exchange)

    def spawn(
        self, connection: ClientConnection, exchange: Exchange, work: Coroutine[Any, Any, None]
    ) -> "asyncio.Task[None]":
        """See `Handling.spawn`. A failure that got out of here would end the listener."""
        task = self._spawn(self._guarded(connection, exchange, work))
        task.add_done_callback(lambda _: work.close())  # who leaves at once cancels it before it has begun
        return task

    async def _guarded(self, connection: ClientConnection, exchange: Exchange, work: Coroutine[Any, Any, None]) -> None:
        """`work` is done. Nothing but cancellation gets out of here."""
        try:
            await work
        except Exception:  # the outermost edge: fail closed, and say so in the log
            log.exception("request failed", request_id=exchange.request_id.decode("ascii"))
            self._give_up(connection, exchange)

    def refuse(self, connection: ClientConnection, exchange: Exchange, deny: Deny) -> None:
        """See `Handling.refuse`."""
        exchange.deny = deny
        if exchange.head is not None and exchange.head.upgrade:
            exchange.keep_alive = False  # what comes behind it was meant for a tunnel
        connection.answer(_answer_to(deny))

    def finished(self, exchange: Exchange) -> None:
        """See `Handling.finished`."""
        exchange.ended_at = self._door.clock()
        exchange.seconds = time.monotonic() - exchange.started
        relay, exchange.relay = exchange.relay, None
        if relay is not None:
            exchange.upstream, exchange.upstream_seconds = relay.upstream, relay.upstream_seconds
            if relay.sent_at:
                exchange.gateway_seconds = relay.sent_at - exchange.started
            if relay.broken is not None and exchange.deny is None:
                exchange.deny = Deny(reason=relay.broken)  # of which the log tells
        self._door.access_log.add(exchange)
        if exchange.head is not None and exchange.head.size > _LARGE_HEAD:
            self._door.access_log.flush()  # what waits there holds its head
        if exchange.head is not None:
            self._under_way -= 1
            if not self._under_way:
                self._quiet.set()

    # One request.

    def _judge(self, connection: ClientConnection, exchange: Exchange) -> Allow | Deny | Undecided | Uncounted:
        """Whether it may pass, as far as that is known without waiting."""
        door = self._door
        head = exchange.head
        assert head is not None  # noqa: S101 - it was read
        if connection.client.trusted:
            address = client_address(connection.peer, head.values(b"x-forwarded-for"), self.is_trusted)
            exchange.address, exchange.ip = address, str(address or "")
        if door.allowed_hosts is not None and not _is_answered(head.host, door.allowed_hosts):
            return Deny(
                reason=Reason.BAD_REQUEST,
                detail="headers: this Host is not answered here (admin.allowed_hosts)",
            )
        if door.admission is None:
            return Deny(reason=Reason.NO_ROUTE, path=head.target.path.decode("ascii"))
        return self._note(exchange, head, door.admission.admit(head, exchange.address))

    def _note(
        self, exchange: Exchange, head: Head, outcome: Allow | Deny | Undecided
    ) -> Allow | Deny | Undecided | Uncounted:
        """`outcome`, with what follows from it alone; an Allow is counted against the limits of its token."""
        if head.fresh and (isinstance(outcome, Allow) or (isinstance(outcome, Deny) and outcome.token_id)):
            self._door.lines.learn(head.fresh)
        if isinstance(outcome, Allow):
            if outcome.principal.token.rate is not None:
                return self._count(exchange, head, outcome)
            exchange.allow = outcome
        return outcome

    def _count(self, exchange: Exchange, head: Head, allow: Allow) -> Allow | Deny | Uncounted:
        """`allow`, if the limits of its token let the request go on."""
        limits = self._door.limits
        if allow.route.operation not in UNCOUNTED:
            found = limits.take(allow.principal.token) if limits is not None else Deny(reason=Reason.INTERNAL_ERROR)
            if isinstance(found, Miss):
                return Uncounted(allow)
            if found is not None:
                return Admission.held_up(found, allow, head.method)
        return self._let_in(exchange, allow)

    def _let_in(self, exchange: Exchange, allow: Allow) -> Allow:
        exchange.allow = allow
        if self._door.limits is not None:
            exchange.limits_told = self._door.limits.told(allow.principal.token)
        return allow

    async def _count_later(self, exchange: Exchange, head: Head, allow: Allow) -> Allow | Deny:
        """The same, with what it takes to know."""
        limits, admission = self._door.limits, self._door.admission
        assert limits is not None  # noqa: S101 - who else had it uncounted?
        assert admission is not None  # noqa: S101 - see above
        if deny := await limits.wait(allow.principal.token):
            return Admission.held_up(deny, allow, head.method)
        # That took its time: the token that was let in may be another one by now, or none.
        deny = await admission.why_not_any_more(allow, head.method, exchange.address, exchange.body)
        return self._let_in(exchange, allow) if deny is None else deny

    def _has_to_wait(self, exchange: Exchange, outcome: Allow | Deny) -> bool:
        """Whether something has to be awaited before this can be answered."""
        if isinstance(outcome, Allow):
            return bool(outcome.route.operation) or outcome.route.filter is not None
        calls, head = self._door.refused_calls, exchange.head
        return bool(calls is not None and head is not None and outcome.token_id and calls.concerns(head.target))

    async def _attend(
        self,
        connection: ClientConnection,
        exchange: Exchange,
        outcome: Allow | Deny | Undecided | Uncounted | None = None,
    ) -> None:
        """See that the request is answered."""
        answer = await self._outcome(connection, exchange, outcome)
        if isinstance(answer, Allow):
            self._forward(connection, exchange, answer)
        elif isinstance(answer, Deny):
            exchange.deny = answer
            await self._write_down(exchange, answer)
            self.refuse(connection, exchange, answer)
        elif isinstance(answer, Passed):
            head = exchange.head
            is_head, has_body = head is not None and head.method == "HEAD", head is not None and head.has_body
            # Nobody reads a body that a question has: what is behind it is not waited for.
            try:
                pass_on(answer, connection, is_head=is_head, ends_with_close=has_body)
            finally:
                connection.when_taken(answer.place.empty)
        else:
            connection.answer(answer)

    async def _outcome(
        self, connection: ClientConnection, exchange: Exchange, outcome: Allow | Deny | Undecided | Uncounted | None
    ) -> Allow | Answer | Deny | Passed:
        """The answer, or an Allow of what is to be forwarded."""
        door, head = self._door, exchange.head
        assert head is not None  # noqa: S101 - it was read
        if outcome is None:
            found = await self._without_token(connection, exchange, self._judge(connection, exchange), head)
            if isinstance(found, Answer):
                return found
            outcome = found
        if isinstance(outcome, Pending):
            assert door.admission is not None  # noqa: S101 - who else had it pending?
            outcome = self._note(
                exchange,
                head,
                await door.admission.resolve(outcome, head, exchange.address, exchange.request_id.decode("ascii")),
            )
        if isinstance(outcome, Lacking):
            assert door.admission is not None  # noqa: S101 - see above
            decided, exchange.body = await door.admission.settle(
                outcome, head, exchange.address, partial(self._body, connection, exchange)
            )
            outcome = self._note(exchange, head, decided)
        if isinstance(outcome, Uncounted):
            outcome = await self._count_later(exchange, head, outcome.allow)
        if isinstance(outcome, Allow):
            if outcome.route.operation:
                return await self._call(connection, exchange, outcome, head)
            if outcome.route.filter is not None:
                return await self._list(connection, exchange, outcome, head)
        assert not isinstance(outcome, UNDECIDED)  # noqa: S101 - neither `resolve` nor `settle` leaves one
        return outcome

    async def _without_token(
        self,
        connection: ClientConnection,
        exchange: Exchange,
        outcome: Allow | Deny | Undecided | Uncounted,
        head: Head,
    ) -> Answer | Allow | Deny | Undecided | Uncounted:
        """The page that was asked for, or what the request comes to by its session; else `outcome`, which it has by its
        credential.
        """
        door = self._door
        if _is_refused_host(outcome):
            return outcome
        if door.pages is not None:
            page = await door.pages.answer(head.method, head.target.path)
            if page is not None:
                return page
        if door.dashboard is not None and door.dashboard.concerns(head.target):
            return await door.dashboard.answer(self._visit(connection, exchange, head))
        if door.sessions is not None and door.sessions.has_session(head):
            return self._note(exchange, head, await door.sessions.admit(head, exchange.address))
        return outcome

    def _visit(self, connection: ClientConnection, exchange: Exchange, head: Head) -> Visit:
        return Visit(
            head,
            exchange.address,
            exchange.ip,
            exchange.request_id.decode("ascii"),
            partial(self._body, connection, exchange),
            exchange.visited_by,
        )

    async def _body(self, connection: ClientConnection, exchange: Exchange, most: int) -> bytes | Deny:
        """The request's body, at most so many bytes of it, or why there is none."""
        head = exchange.head
        if head is not None and head.length is not None and head.length > most:
            return too_large(most)
        return await connection.read_body(most)

    async def _list(self, connection: ClientConnection, exchange: Exchange, allow: Allow, head: Head) -> Passed | Deny:
        """What the token may see of a list."""
        lists, admission = self._door.lists, self._door.admission
        if lists is None or admission is None:
            return Deny(reason=Reason.INTERNAL_ERROR)
        if self._door.tracing is not None:
            # Several questions may come of one request: what they lead to is below the request itself.
            exchange.trace = trace = self._door.tracing.begin(head.ordinary)
            head = msgspec.structs.replace(head, ordinary=trace.carried(head.ordinary, trace.server))
        return await lists.answer(
            allow,
            head,
            connection.client,
            exchange.request_id,
            partial(admission.again, allow, head.method, exchange.address),
        )

    async def _call(self, connection: ClientConnection, exchange: Exchange, allow: Allow, head: Head) -> Answer | Deny:
        """What the token API answers."""
        body = exchange.body  # one that the decision turned on was read already
        if body is None:
            read = await self._body(connection, exchange, LARGEST_REPORT if allow.route.reports else LARGEST_BODY)
            if isinstance(read, Deny):
                return read
            body = read
        if dead := await self._why_not_any_more(exchange):  # a body may take long to come
            return dead
        call = Call(
            query=head.target.query or b"",
            body=body,
            if_match=tuple(head.values(b"if-match")),
            address=exchange.ip,
            request_id=exchange.request_id.decode("ascii"),
        )
        return await self._door.token_api.answer(allow, call)

    async def _write_down(self, exchange: Exchange, deny: Deny) -> None:
        """Put a refusal into the audit, if it has to be there, before it is answered."""
        calls, head = self._door.refused_calls, exchange.head
        if calls is None or head is None or not exchange.token_id:
            return
        await calls.write(
            Refused(
                deny=deny,
                method=head.method,
                target=head.target,
                token_id=exchange.token_id,
                owner=exchange.allow.principal.token.owner.key if exchange.allow else deny.owner,
                address=exchange.ip,
                request_id=exchange.request_id.decode("ascii"),
            ),
            self._door.clock(),
        )

    def _forward(self, connection: ClientConnection, exchange: Exchange, allow: Allow) -> None:
        """Begin the relay, or say why there is none."""
        door, head = self._door, exchange.head
        if door.forwarder is None or head is None:
            self.refuse(connection, exchange, Deny(reason=Reason.INTERNAL_ERROR))
            return
        if door.max_body and (head.length or 0) > door.max_body:
            self.refuse(connection, exchange, Deny(reason=Reason.BODY_TOO_LARGE))
            return
        upgrade = head.upgrade and allow.route.websocket and _asks_for_websocket(head)
        if upgrade:
            # What comes behind it waits for the 101; if that does not come, nobody knows what it is.
            exchange.keep_alive = False
        body = exchange.body
        if body is None:
            body = connection.whole_body() if head.has_body else b""
        elif head.expects_continue:  # it was let go on already
            head = msgspec.structs.replace(head, expects_continue=False)
        if door.tracing is not None:
            exchange.trace = trace = door.tracing.begin(head.ordinary)
            head = msgspec.structs.replace(head, ordinary=trace.carried(head.ordinary, trace.client))
        relay = door.forwarder.relay(allow, head, connection.client, connection, body=body, upgrade=upgrade)
        if isinstance(relay, Deny):
            self.refuse(connection, exchange, relay)
            return
        exchange.relay = relay
        if body is None:
            connection.stream_to(relay)
        if not relay.start():
            connection.spawn(relay.connect())

    def _give_up(self, connection: ClientConnection, exchange: Exchange) -> None:
        """Answer that we failed, if nothing was answered yet; else break off."""
        if connection.exchange is not exchange:  # it was answered, and what is in hand now has no part in it
            connection.abort()
            return
        if exchange.relay is not None:
            exchange.relay.client_gone()
        if exchange.status:
            exchange.deny = Deny(reason=Reason.INTERNAL_ERROR)
            connection.abort()
            return
        exchange.keep_alive = False
        self.refuse(connection, exchange, Deny(reason=Reason.INTERNAL_ERROR))

    # Ends.

    async def cut_dead(self) -> None:
        """Break off what is relayed for tokens that would be refused by now, until cancelled."""
        while True:
            await asyncio.sleep(_LOOK_AGAIN)
            # What has just begun ends by itself, or is looked at next time.
            begun_before = time.monotonic() - _LOOK_AGAIN
            relayed = [
                connection
                for connection in self._connections()
                if connection.exchange is not None
                and connection.exchange.relay is not None
                and connection.exchange.started <= begun_before
            ]
            for some in range(0, len(relayed), _AT_ONCE):
                async with asyncio.TaskGroup() as group:
                    for connection in relayed[some : some + _AT_ONCE]:
                        group.create_task(self._cut_if_dead(connection))

    async def _cut_if_dead(self, connection: ClientConnection) -> None:
        exchange = connection.exchange
        if exchange is None:
            return
        why_not = await self._why_not_any_more(exchange)
        if why_not is not None and connection.exchange is exchange:
            exchange.deny = why_not
            log.info(
                "cut off",
                request_id=exchange.request_id.decode("ascii"),
                token=exchange.token_id,
                reason=why_not.reason,
            )
            if exchange.relay is not None:
                exchange.relay.client_gone()
            connection.abort()

    async def _why_not_any_more(self, exchange: Exchange) -> Deny | None:
        """Why what was allowed would be refused by now, or None."""
        admission, allow, head = self._door.admission, exchange.allow, exchange.head
        if admission is None or allow is None or head is None:
            return None
        return await admission.why_not_any_more(allow, head.method, exchange.address, exchange.body)

    async def drain(self, seconds: float) -> None:
        """Let what is under way finish, for so many `seconds` at most; each answer is its connection's last.

        Who was promised that his connection is kept may have sent the next request before he could hear otherwise, and
        who has just connected sends his first: for a moment, these are answered too.
        """
        self.draining = True
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._end_handshakes()
                await self._quiet.wait()
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(_LAST_REQUESTS):
                        await self.server.emptied()
                for connection in self._connections():
                    if connection.is_idle:
                        connection.end()
                await self._quiet.wait()
                while any(connection.has_unsent for connection in self._connections()):  # noqa: ASYNC110 - nor of that
                    await asyncio.sleep(_GLANCE)
        for connection in self._connections():
            connection.cut_body()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_LAST_WORDS):
                await self._quiet.wait()
                await self.server.emptied()  # what was answered is sent, and heard

    async def _end_handshakes(self) -> None:
        """Whoever has just come has had a moment for his handshake: of one that fails the loop tells nobody."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_LAST_HANDSHAKES):
                while self._handshakes:  # noqa: ASYNC110 - nor of one that is done; the next thing is a request
                    await asyncio.sleep(_GLANCE)

    def close(self) -> None:
        """When all connections are closed: nothing is waited for any more, and all is written down."""
        self._waits.close()
        if self._handshakes is not None:
            self._handshakes.close()
        self._door.access_log.flush()


def _nothing(_: ClientConnection) -> None:
    """The loop itself ends a handshake that takes too long."""


def _is_refused_host(outcome: Allow | Deny | Undecided | Uncounted) -> bool:
    return isinstance(outcome, Deny) and outcome.reason is Reason.BAD_REQUEST


def _asks_for_websocket(head: Head) -> bool:
    """Whether it is an opening handshake (RFC 6455 4.2.1)."""
    upgrades = [field.value.lower() for field in head.special if field.role is Role.UPGRADE]
    keys, versions = head.values(b"sec-websocket-key"), head.values(b"sec-websocket-version")
    return (
        head.method == "GET"
        and head.is_1_1
        and upgrades == [b"websocket"]
        and b"upgrade" in head.options
        and versions == [b"13"]
        and len(keys) == 1
        and _WEBSOCKET_KEY.fullmatch(keys[0]) is not None
    )


def _is_answered(host: bytes, allowed: frozenset[str]) -> bool:
    """Whether a page that a browser was lured to could not have sent this Host: DNS rebinding needs a name.

    No browser leaves Host out, as probes in HTTP/1.0 do.
    """
    if not host:
        return True
    text = host.decode("latin-1").lower()
    name = text.rpartition(":")[0] or text
    return name in _LOCAL or name in allowed or parse_address(text) is not None

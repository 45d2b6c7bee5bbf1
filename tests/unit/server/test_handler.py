"""What becomes of a request. Each test goes every way there is (`wire.Way`), which give the same answer."""

import asyncio
import json
import re
import socket
import ssl
import struct
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from contextlib import AsyncExitStack
from functools import partial
from ipaddress import ip_network
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import pytest
from support.certificates import Authority
from support.memory_sessions import MemorySessions
from support.records import (
    CATALOG,
    EVERYTHING,
    NOW,
    TOKEN_ID,
    USER,
    ZONE_A,
    ZONE_B,
    policy,
    secret_of,
    token,
    token_api_text,
    zone,
)
from unit.server.conftest import Hold, Knock, Open, Serve
from unit.server.wire import (
    BEARER,
    CLOSE,
    HOST,
    NOWHERE,
    OK,
    RECORDS,
    ROUTE,
    TOKENS,
    FakeForwarder,
    FakeRelay,
    FakeTokenApi,
    FakeTransport,
    Meet,
    Met,
    Reply,
    Tokens,
    Upstream,
    Way,
    Wire,
    check_refusal,
    check_tidy,
    door,
    forwarding,
    listening,
    request,
)
from unit.telemetry.captured import captured

from gateway.access.compiled import CompiledToken
from gateway.access.ports import Miss, StoreUnavailable
from gateway.catalog.catalog import load_catalog
from gateway.catalog.target import Target
from gateway.policy_files import policy_files
from gateway.proxy.field_line import FieldLine
from gateway.proxy.ports import ClientSide
from gateway.reason import Answer, Deny, Limit, Reason, succeed
from gateway.server.browser import csrf_token, stored_under
from gateway.server.client_connection import State
from gateway.server.handler import Door, Handler
from gateway.server.ports import Refused, Visit
from gateway.server.session import Sessions
from gateway.server.tls import server_context
from gateway.store.sessions import SESSION_SCHEMA, Session
from gateway.telemetry.access_log import AccessLog
from gateway.telemetry.kind import Ended, Kind
from gateway.telemetry.trace_context import Trace
from gateway.tokens.condition import Address
from gateway.tokens.digest import NO_PEPPERS
from gateway.tokens.rate import Rate
from gateway.tokens.resource import Scope
from gateway.tokens.token import Status, Token

OTHER_ZONE = f"/client/v4/zones/{ZONE_B}/dns_records".encode()
VERIFY = b"/client/v4/user/tokens/verify"


def ids_aside(reply: Reply) -> tuple[object, ...]:
    fields = [(name, value) for name, value in reply.fields if name not in ("x-request-id", "date")]
    return reply.status, fields, reply.body


class Refusing:
    """A `Forwarder` that sends nothing up."""

    def __init__(self, deny: Deny) -> None:
        self._deny = deny

    def relay(self, *_: object, **__: object) -> Deny:
        return self._deny


@pytest.fixture
def upstream() -> Upstream:
    return Upstream()


@pytest.fixture
async def behind(store: Tokens, serve: Serve, upstream: Upstream) -> Door:
    """A door before `upstream`."""
    return door(store, forwarder=await serve(upstream))


@pytest.fixture
async def wire(knock: Knock, behind: Door) -> Wire:
    """A connection to it."""
    return await knock(behind)


# Every refusal.


class Case(NamedTuple):
    """Which request, to which store, is refused for which reason."""

    sent: bytes
    reason: Reason
    held: Token = token()
    away: bool = False
    fields: dict[str, str] = {}  # noqa: RUF012 - nobody changes it


REFUSED = [
    pytest.param(Case(request(b"//"), Reason.BAD_REQUEST), id="a bad path"),
    pytest.param(Case(request(RECORDS, b"Host: b"), Reason.BAD_REQUEST), id="two Hosts"),
    pytest.param(
        Case(request(authorized=False), Reason.MISSING_CREDENTIALS, fields={"www-authenticate": "Bearer"}),
        id="no credential",
    ),
    pytest.param(
        Case(request(RECORDS, b"Authorization: Basic x", authorized=False), Reason.MALFORMED_CREDENTIALS),
        id="another scheme",
    ),
    pytest.param(Case(request(RECORDS, BEARER), Reason.MALFORMED_CREDENTIALS), id="two credentials"),
    pytest.param(
        Case(request(), Reason.UNKNOWN_TOKEN, held=token(token_id="0" * 32), fields={"www-authenticate": "Bearer"}),
        id="an unknown token",
    ),
    pytest.param(
        Case(
            request(), Reason.TOKEN_DISABLED, held=token(status=Status.DISABLED), fields={"www-authenticate": "Bearer"}
        ),
        id="a disabled token",
    ),
    pytest.param(Case(request(), Reason.TOKEN_EXPIRED, held=token(expires_on=NOW)), id="an expired token"),
    pytest.param(
        Case(request(), Reason.TOKEN_NOT_YET_VALID, held=token(not_before=NOW + 1)), id="a token not valid yet"
    ),
    pytest.param(Case(request(), Reason.IP_DENIED, held=token(request_ip=["192.0.2.0/24"])), id="the wrong place"),
    pytest.param(
        Case(request(OTHER_ZONE), Reason.FORBIDDEN, fields={"x-accepted-permissions": "DNS Read, DNS Write"}),
        id="another zone",
    ),
    pytest.param(Case(request(NOWHERE), Reason.NO_ROUTE), id="no route"),
    pytest.param(
        Case(request(method=b"DELETE"), Reason.METHOD_NOT_ALLOWED, fields={"allow": "GET, HEAD, POST"}),
        id="no such method",
    ),
    pytest.param(
        Case(request(RECORDS, b"Content-Length: 100001", method=b"POST"), Reason.BODY_TOO_LARGE), id="too large a body"
    ),
    pytest.param(
        Case(request(RECORDS, b"Transfer-Encoding: chunked", method=b"POST") + b"junk\r\n", Reason.BAD_REQUEST),
        id="a body that is none",
    ),
    pytest.param(Case(request(RECORDS, *[b"X: x"] * 127), Reason.HEAD_TOO_LARGE), id="129 fields"),
    pytest.param(
        Case(request(RECORDS, b"Transfer-Encoding: gzip, chunked", method=b"POST"), Reason.UNSUPPORTED_FRAMING),
        id="another coding",
    ),
    pytest.param(Case(request(), Reason.STORE_UNAVAILABLE, away=True), id="the store is away"),
]


def holding(case: Case, hold: Hold) -> Tokens:
    store = hold(case.held)
    store.failure = StoreUnavailable("redis://user:password@store") if case.away else None
    return store


@pytest.mark.parametrize("case", REFUSED)
async def test_a_refusal_is_the_envelope_and_the_upstream_sees_no_end_of_a_request(
    knock: Knock, serve: Serve, hold: Hold, upstream: Upstream, case: Case
) -> None:
    wire = await knock(door(holding(case, hold), forwarder=await serve(upstream)))
    reply = await wire.ask(case.sent)
    check_refusal(reply, case.reason)
    assert re.fullmatch(r"[0-9a-f]{32}", reply.field("x-request-id"))
    assert {name: reply.field(name) for name in case.fields} == case.fields
    assert [seen.body for seen in upstream.requests] in ([], [None])
    assert b"password" not in reply.body


async def test_an_upstream_that_is_not_there_is_a_refusal_too(knock: Knock, store: Tokens) -> None:
    async with forwarding(Upstream(), kept=False) as gone:
        pass
    wire = await knock(door(store, forwarder=gone))
    check_refusal(await wire.ask(request()), Reason.UPSTREAM_UNREACHABLE)
    check_refusal(await wire.ask(request(method=b"POST", body=b"{}")), Reason.UPSTREAM_UNREACHABLE)


async def test_an_upstream_that_is_too_slow_is_a_refusal_too(knock: Knock, serve: Serve, store: Tokens) -> None:
    upstream = Upstream(waits_for=asyncio.Event())
    wire = await knock(door(store, forwarder=await serve(upstream, response_timeout=0.05)))
    check_refusal(await wire.ask(request(method=b"POST", body=b"{}")), Reason.UPSTREAM_TIMEOUT)


async def test_an_upstream_that_makes_no_sense_is_a_refusal_too(knock: Knock, serve: Serve, store: Tokens) -> None:
    wire = await knock(door(store, forwarder=await serve(Upstream(b"hello\r\n\r\n"))))
    check_refusal(await wire.ask(request()), Reason.UPSTREAM_UNREACHABLE)


async def test_the_path_is_told_and_nothing_else_that_was_sent(wire: Wire) -> None:
    reply = await wire.ask(request(NOWHERE + b"?query=hush", b"X-Note: hush", method=b"POST", body=b"hush"))
    (error,) = reply.envelope["errors"]
    assert error["message"] == "Could not route to /client/v4/nowhere, perhaps your object identifier is invalid?"
    assert b"hush" not in reply.body


async def test_a_malformed_credential_has_cloudflare_s_chain(wire: Wire) -> None:
    reply = await wire.ask(request(RECORDS, b"Authorization: Bearer junk", authorized=False))
    (error,) = reply.envelope["errors"]
    assert error["error_chain"] == [{"code": 6111, "message": "Invalid format for Authorization header"}]


async def test_an_unknown_token_and_a_wrong_secret_look_alike(wire: Wire) -> None:
    """Nobody learns which ids exist."""
    wrong, unknown = [
        await wire.ask(request(RECORDS, b"Authorization: Bearer " + secret.reveal().encode(), authorized=False))
        for secret in (secret_of(fill=8), secret_of("0" * 32))
    ]
    assert ids_aside(wrong) == ids_aside(unknown)
    assert wrong.status == 401


@pytest.mark.parametrize("method", [b"GET", b"POST", b"OPTIONS", b"BREW"])
async def test_without_a_credential_every_path_gives_the_same_answer(wire: Wire, method: bytes) -> None:
    """Nobody learns which routes and zones exist."""
    targets = [b"/", RECORDS, NOWHERE, VERIFY, b"/healthz"]
    replies = [await wire.ask(request(target, method=method, authorized=False)) for target in targets]
    assert {str(ids_aside(reply)) for reply in replies} == {str(ids_aside(replies[0]))}
    assert replies[0].status == 401


@pytest.mark.parametrize("target", [NOWHERE, VERIFY])
async def test_an_answer_of_ours_to_head_has_the_length_of_a_body_that_does_not_come(
    knock: Knock, hold: Hold, target: bytes
) -> None:
    wire = await knock(door(hold(token(EVERYTHING))))
    to_get = await wire.ask(request(target))
    to_head = await wire.ask(request(target, method=b"HEAD"), to_head=True)
    assert ids_aside(to_head) == (*ids_aside(to_get)[:2], b"")
    assert (await wire.ask(request(target))).status == to_get.status


@pytest.mark.parametrize(
    ("sent", "kept"),
    [
        pytest.param([b"X-Request-Id: my-request-1"], True, id="one"),
        pytest.param([b"x-request-id:  my-request-1 "], True, id="blanks around it"),
        pytest.param([b"X-Request-Id: <script>"], False, id="one that is not plain"),
        pytest.param([b"X-Request-Id: my-request-1"] * 2, False, id="two"),
    ],
)
async def test_the_answer_names_the_request(
    wire: Wire,
    upstream: Upstream,
    sent: list[bytes],
    kept: bool,  # noqa: FBT001 - a case's data
) -> None:
    for target in (RECORDS, NOWHERE):
        reply = await wire.ask(request(target, *sent))
        assert (reply.field("x-request-id") == "my-request-1") is kept
    (seen,) = upstream.requests
    assert (seen.values(b"x-request-id") == [b"my-request-1"]) is kept


# Rate limits.


class FakeLimits:
    """`RateLimits` that say what a test wants said; of the waiting, once `goes_on` is set."""

    def __init__(self, taken: Deny | Miss | None, waited: Deny | None = None) -> None:
        self.goes_on = asyncio.Event()
        self.asked, self.counted = asyncio.Event(), 0
        self._taken, self._waited = taken, waited

    def take(self, token: CompiledToken) -> Deny | Miss | None:
        assert token.rate == Rate(5, 60)
        self.counted += 1
        return self._taken

    async def wait(self, token: CompiledToken) -> Deny | None:  # noqa: ARG002 - the port's
        self.asked.set()
        await self.goes_on.wait()
        return self._waited

    def told(self, token: CompiledToken) -> bytes:  # noqa: ARG002 - the port's
        return b'Ratelimit: "default";r=4;t=12\r\n'


TOO_MANY = Deny(reason=Reason.RATE_LIMITED, limit=Limit(name="default", quota=5, window=60, wait=12))
LIMITED = token(limits=Rate(5, 60))
TOLD = {"retry-after": "12", "ratelimit": '"default";r=0;t=12', "ratelimit-policy": '"default";q=5;w=60'}


async def test_a_request_that_was_counted_goes_on_and_is_told_what_is_left(
    knock: Knock, serve: Serve, hold: Hold, upstream: Upstream
) -> None:
    limits = FakeLimits(None)
    wire = await knock(door(hold(LIMITED), limits=limits, forwarder=await serve(upstream)))
    reply = await wire.ask(request())
    assert (reply.status, reply.field("ratelimit")) == (200, '"default";r=4;t=12')
    assert limits.counted == 1


async def test_a_request_too_many_is_told_when_to_come_again_and_the_upstream_sees_nothing(
    knock: Knock, serve: Serve, hold: Hold, upstream: Upstream
) -> None:
    wire = await knock(door(hold(LIMITED), limits=FakeLimits(TOO_MANY), forwarder=await serve(upstream)))
    reply = await wire.ask(request())
    check_refusal(reply, Reason.RATE_LIMITED)
    assert {name: reply.field(name) for name in TOLD} == TOLD
    assert upstream.requests == []


@pytest.mark.parametrize(
    ("waited", "status"),
    [pytest.param(None, 200, id="there is more"), pytest.param(TOO_MANY, 429, id="there is none")],
)
async def test_what_is_not_in_memory_is_asked_for(
    knock: Knock, serve: Serve, hold: Hold, upstream: Upstream, waited: Deny | None, status: int
) -> None:
    limits = FakeLimits(Miss.MISS, waited)
    limits.goes_on.set()
    wire = await knock(door(hold(LIMITED), limits=limits, forwarder=await serve(upstream)))
    assert (await wire.ask(request())).status == status
    assert len(upstream.requests) == (status == 200)


async def test_a_token_that_dies_while_it_is_asked_for_passes_nothing(
    knock: Knock, serve: Serve, hold: Hold, upstream: Upstream
) -> None:
    limits, store = FakeLimits(Miss.MISS), hold(LIMITED)
    wire = await knock(door(store, limits=limits, forwarder=await serve(upstream)))
    wire.send(request())
    await limits.asked.wait()
    store.hold(token(limits=Rate(5, 60), status=Status.DISABLED))
    limits.goes_on.set()
    check_refusal(await wire.reply(), Reason.TOKEN_DISABLED)
    assert upstream.requests == []


async def test_a_refused_request_is_not_counted(knock: Knock, hold: Hold) -> None:
    limits = FakeLimits(None)
    wire = await knock(door(hold(LIMITED), limits=limits))
    check_refusal(await wire.ask(request(OTHER_ZONE)), Reason.FORBIDDEN)
    assert limits.counted == 0


@pytest.mark.parametrize(
    ("path", "method", "counted"),
    [
        pytest.param(b"/client/v4/user/tokens", b"GET", 1, id="the token API's calls count too"),
        pytest.param(b"/client/v4/user/tokens/verify", b"GET", 0, id="but to verify is free"),
        pytest.param(b"/client/v4/user/tokens/revoke-self", b"POST", 0, id="and a token may always end itself"),
        pytest.param(b"/client/v4/user/tokens/leaked", b"POST", 0, id="and what leaked is reported at any time"),
    ],
)
async def test_a_call_of_the_token_api_is_counted(
    knock: Knock, hold: Hold, path: bytes, method: bytes, counted: int
) -> None:
    limits = FakeLimits(None)
    wire = await knock(door(hold(token(EVERYTHING, limits=Rate(5, 60))), limits=limits))
    assert (await wire.ask(request(path, method=method))).status == 200
    assert limits.counted == counted


async def test_a_token_with_limits_does_not_pass_where_nobody_counts(
    knock: Knock, serve: Serve, hold: Hold, upstream: Upstream
) -> None:
    wire = await knock(door(hold(LIMITED), forwarder=await serve(upstream)))
    check_refusal(await wire.ask(request()), Reason.INTERNAL_ERROR)
    assert upstream.requests == []


# What passes.


async def test_an_allowed_request_is_forwarded_and_its_answer_relayed(wire: Wire, upstream: Upstream) -> None:
    reply = await wire.ask(request(RECORDS + b"?per_page=5", b"Accept: text/plain", method=b"POST", body=b"{}"))
    assert (reply.status, reply.body, reply.field("content-type")) == (200, b"hello", "text/plain")
    (seen,) = upstream.requests
    assert (seen.method, seen.target) == (b"POST", f"/v4/zones/{ZONE_A}/dns_records?per_page=5".encode())
    fields = dict(seen.fields)
    assert (fields[b"Accept"], fields[b"Host"]) == (b"text/plain", b"api.internal")
    assert (fields[b"X-Token-Id"], fields[b"X-Forwarded-Host"]) == (TOKEN_ID.encode(), b"api.example")
    assert (fields[b"X-Forwarded-For"], fields[b"X-Forwarded-Proto"]) == (b"127.0.0.1", b"http")
    assert fields[b"Authorization"] == b"Bearer the-upstream's-own"
    assert upstream.bodies == [b"{}"]


async def test_a_connection_to_the_upstream_is_used_again(wire: Wire, upstream: Upstream) -> None:
    for _ in range(5):
        assert (await wire.ask(request())).body == b"hello"
    assert not upstream.over.is_set()
    assert len(upstream.requests) == 5


@pytest.mark.parametrize(
    ("trusted", "sent", "status"),
    [
        pytest.param(["127.0.0.0/8"], [b"X-Forwarded-For: 192.0.2.7"], 200, id="a proxy of ours says so"),
        pytest.param([], [b"X-Forwarded-For: 192.0.2.7"], 403, id="anybody says so"),
        pytest.param(["127.0.0.0/8"], [], 403, id="nobody says so"),
        pytest.param(["127.0.0.0/8"], [b"X-Forwarded-For: 192.0.2.7, junk"], 403, id="a proxy of ours says junk"),
        pytest.param(
            ["127.0.0.0/8"], [b"X-Forwarded-For: 192.0.2.7", b"X-Forwarded-For: 8.8.8.8"], 403, id="the last counts"
        ),
    ],
)
async def test_a_condition_is_held_against_the_client_s_address(
    knock: Knock, serve: Serve, hold: Hold, upstream: Upstream, trusted: list[str], sent: list[bytes], status: int
) -> None:
    networks = tuple(ip_network(text) for text in trusted)
    store = hold(token(request_ip=["192.0.2.0/24"]))
    wire = await knock(door(store, forwarder=await serve(upstream), trusted_proxies=networks))
    for _ in range(2):
        assert (await wire.ask(request(RECORDS, *sent))).status == status
    assert len(upstream.requests) == (2 if status == 200 else 0)


async def test_each_request_of_a_trusted_proxy_s_connection_has_its_own_client(
    knock: Knock, serve: Serve, hold: Hold, upstream: Upstream
) -> None:
    store = hold(token(request_ip=["192.0.2.0/24"]))
    networks = (ip_network("127.0.0.0/8"),)
    wire = await knock(door(store, forwarder=await serve(upstream), trusted_proxies=networks))
    asked = [request(RECORDS, b"X-Forwarded-For: " + each) for each in (b"192.0.2.7", b"8.8.8.8", b"192.0.2.8")]
    wire.send(b"".join(asked) + request())
    assert [(await wire.reply()).status for _ in range(4)] == [200, 403, 200, 403]


@pytest.mark.parametrize(
    ("trusts", "sent", "status"),
    [
        pytest.param(True, [b"X-Forwarded-For: 192.0.2.7"], 200, id="trusted, with an address"),
        pytest.param(True, [b"X-Forwarded-For: 8.8.8.8"], 403, id="trusted, with another"),
        pytest.param(True, [], 403, id="trusted, with none"),
        pytest.param(False, [b"X-Forwarded-For: 192.0.2.7"], 403, id="not trusted"),
    ],
)
async def test_who_comes_by_a_unix_socket_is_believed_if_that_is_set(
    stack: AsyncExitStack,
    open_door: Open,
    serve: Serve,
    hold: Hold,
    upstream: Upstream,
    tmp_path: Path,
    trusts: bool,  # noqa: FBT001 - a case's data
    sent: list[bytes],
    status: int,
) -> None:
    store = hold(token(request_ip=["192.0.2.0/24"]))
    opened = await open_door(door(store, forwarder=await serve(upstream), trusts_unix=trusts))
    path = str(tmp_path / "s")
    server = await asyncio.get_running_loop().create_unix_server(opened.handler.server, path)
    stack.callback(server.close)
    wire = Wire(*await asyncio.open_unix_connection(path))
    assert (await wire.ask(request(RECORDS, *sent))).status == status
    await wire.close()


async def test_an_absolute_form_s_host_is_what_the_upstream_hears(wire: Wire, upstream: Upstream) -> None:
    assert (await wire.ask(request(b"http://other.example:81" + RECORDS))).status == 200
    assert upstream.requests[0].values(b"x-forwarded-host") == [b"other.example:81"]


async def test_a_route_that_is_forwarded_is_not_served_without_a_way_there(knock: Knock, store: Tokens) -> None:
    wire = await knock(door(store))
    check_refusal(await wire.ask(request()), Reason.INTERNAL_ERROR)


async def test_what_cannot_be_sent_up_is_a_refusal(meet: Meet) -> None:
    deny = Deny(reason=Reason.BAD_REQUEST, detail="path: not one that this API can be sent")
    met = meet(forwarder=Refusing(deny))
    met.transport.deliver(request(method=b"POST", body=b"{}") + request(NOWHERE))
    assert met.transport.statuses == [400, 404]


@pytest.mark.parametrize("way", [pytest.param(Way.AT_ONCE, id="")], indirect=True)
async def test_a_connection_with_tls_is_answered_and_the_upstream_hears_of_it(
    stack: AsyncExitStack, open_door: Open, behind: Door, upstream: Upstream, tmp_path: Path
) -> None:
    authority = Authority(tmp_path)
    ours = authority.sign("localhost")
    opened = await open_door(behind)
    server = await asyncio.get_running_loop().create_server(
        opened.handler.server, "127.0.0.1", 0, ssl=server_context(ours.cert, ours.key)
    )
    stack.callback(server.close)
    client = ssl.create_default_context(cafile=authority.file)
    port = server.sockets[0].getsockname()[1]
    wire = Wire(*await asyncio.open_connection("127.0.0.1", port, ssl=client, server_hostname="localhost"))
    assert (await wire.ask(request(method=b"POST", body=b"x" * 50_000))).status == 200
    assert (await wire.ask(request(NOWHERE, b"Content-Length: 9", method=b"POST"))).status == 404
    wire.send(b"x" * 9)
    check_refusal(await wire.ask(request(RECORDS, HOST)), Reason.BAD_REQUEST)
    assert await wire.rest() == b""
    await wire.close()
    assert [seen.values(b"x-forwarded-proto") for seen in upstream.requests] == [[b"https"]]


async def test_a_token_s_end_is_obeyed_at_the_next_request_of_a_connection(
    wire: Wire, store: Tokens, upstream: Upstream
) -> None:
    for _ in range(3):
        assert (await wire.ask(request())).status == 200
    store.hold(token(status=Status.DISABLED))
    check_refusal(await wire.ask(request()), Reason.TOKEN_DISABLED)
    store.hold(token(digests=()))
    check_refusal(await wire.ask(request()), Reason.UNKNOWN_TOKEN)
    assert len(upstream.requests) == 3


# Upgrades.

WEBSOCKET = b"/sockets/v1/live"
KEY = b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ=="
HANDSHAKE = [b"Connection: Upgrade", b"Upgrade: websocket", b"Sec-WebSocket-Version: 13", KEY]


def sockets() -> Any:
    """Routes with and without an upgrade."""
    api = """
name = "sockets"
prefix = "/sockets/v1"

[[route]]
methods = ["GET", "POST"]
path = "/live"
permission = "any-token"
upgrade = ["websocket"]

[[route]]
methods = ["GET"]
path = "/dead"
permission = "any-token"
"""
    files = {**policy_files(""), "apis/sockets.toml": api}
    return load_catalog(files, token_api_text(), prefix="/client/v4", served=("sockets",), public_token_api=True).public


@pytest.mark.parametrize(
    ("sent", "upgrades"),
    [
        pytest.param(request(WEBSOCKET, *HANDSHAKE), True, id="a handshake"),
        pytest.param(
            request(WEBSOCKET, b"Connection: keep-alive, upgrade", b"Upgrade: WebSocket", *HANDSHAKE[2:]),
            True,
            id="in another spelling",
        ),
        pytest.param(request(b"/sockets/v1/dead", *HANDSHAKE), False, id="on a route without one"),
        pytest.param(request(WEBSOCKET, *HANDSHAKE, version=b"1.0"), False, id="in HTTP/1.0"),
        pytest.param(request(WEBSOCKET, *HANDSHAKE, method=b"POST"), False, id="with another method"),
        pytest.param(request(WEBSOCKET, *HANDSHAKE[1:]), False, id="without Connection"),
        pytest.param(
            request(WEBSOCKET, b"Connection: Upgrade", b"Upgrade: h2c", *HANDSHAKE[2:]), False, id="to something else"
        ),
        pytest.param(request(WEBSOCKET, *HANDSHAKE, b"Upgrade: h2c"), False, id="to something else, too"),
        pytest.param(
            request(WEBSOCKET, *HANDSHAKE[:2], b"Sec-WebSocket-Version: 8", KEY), False, id="of an old version"
        ),
        pytest.param(request(WEBSOCKET, *HANDSHAKE, HANDSHAKE[2]), False, id="of two versions"),
        pytest.param(request(WEBSOCKET, *HANDSHAKE[:3]), False, id="without a key"),
        pytest.param(request(WEBSOCKET, *HANDSHAKE[:3], KEY[:-1]), False, id="with a key that is none"),
        pytest.param(request(WEBSOCKET, *HANDSHAKE, KEY), False, id="with two keys"),
    ],
)
async def test_only_a_sound_handshake_on_a_route_for_it_goes_up_as_an_upgrade(
    meet: Meet,
    sent: bytes,
    upgrades: bool,  # noqa: FBT001 - a case's data
) -> None:
    met = meet(table=sockets())
    met.transport.deliver(sent + b"more")
    assert met.forwarder.last.upgrade is upgrades


async def test_an_upgrade_that_the_upstream_does_not_want_ends_the_connection(meet: Meet) -> None:
    """What stands behind it was meant for the upstream: nobody knows what it is."""
    met = meet(table=sockets())
    met.transport.deliver(request(WEBSOCKET, *HANDSHAKE) + request(NOWHERE))
    met.forwarder.last.answer(426)
    assert met.transport.statuses == [426]
    assert CLOSE in met.transport.written
    assert met.transport.is_shut
    met.transport.leave()


async def test_a_refused_upgrade_ends_the_connection(meet: Meet) -> None:
    """What stands behind it was meant for a tunnel."""
    met = meet()
    met.transport.deliver(request(NOWHERE, *HANDSHAKE) + request())
    assert met.transport.statuses == [404]
    assert CLOSE in met.transport.written
    assert met.forwarder.relays == []
    met.transport.leave()


# The token API.


@pytest.fixture
def all_rights(hold: Hold) -> Tokens:
    return hold(token(EVERYTHING))


async def test_a_call_of_the_token_api_gets_all_that_it_needs(knock: Knock, all_rights: Tokens) -> None:
    api = FakeTokenApi(succeed({"id": "x"}, fields=[("ETag", '"t"')]))
    wire = await knock(door(all_rights, token_api=api))
    reply = await wire.ask(
        request(
            TOKENS + b"?page=2",
            b'If-Match: "a"',
            b'If-Match: "b"',
            b"X-Request-Id: my-request-1",
            method=b"POST",
            body=b'{"name": 1}',
        )
    )
    assert (reply.status, reply.field("etag"), reply.envelope["result"]) == (200, '"t"', {"id": "x"})
    ((allow, call),) = api.calls
    assert (allow.route.operation, allow.principal.token.id) == ("create", TOKEN_ID)
    assert (call.query, call.body, call.if_match) == (b"page=2", b'{"name": 1}', (b'"a"', b'"b"'))
    assert (call.address, call.request_id) == ("127.0.0.1", "my-request-1")


async def test_a_refusal_of_the_token_api_is_told(knock: Knock, all_rights: Tokens) -> None:
    api = FakeTokenApi(Deny(reason=Reason.STORE_UNAVAILABLE, outcome_unknown=True))
    wire = await knock(door(all_rights, token_api=api))
    reply = await wire.ask(request(TOKENS, method=b"POST", body=b"{}"))
    check_refusal(reply, Reason.STORE_UNAVAILABLE)
    assert reply.field("x-should-retry") == "false"


LARGEST = 256 * 1024


@pytest.mark.parametrize("framing", [b"Content-Length: %d" % LARGEST, b"Transfer-Encoding: chunked"])
async def test_a_body_of_256_kib_reaches_the_token_api(knock: Knock, all_rights: Tokens, framing: bytes) -> None:
    api = FakeTokenApi()
    wire = await knock(door(all_rights, token_api=api, max_body=0))
    body = b"x" * LARGEST
    sent = b"%x\r\n%b\r\n0\r\n\r\n" % (LARGEST, body) if b"chunked" in framing else body
    assert (await wire.ask(request(TOKENS, framing, method=b"POST") + sent)).status == 200
    assert len(api.calls[0][1].body) == LARGEST


@pytest.mark.parametrize(
    ("framing", "body"),
    [
        pytest.param(b"Content-Length: %d" % (LARGEST + 1), b"", id="announced"),
        pytest.param(
            b"Transfer-Encoding: chunked",
            b"%x\r\n%b\r\n0\r\n\r\n" % (LARGEST + 1, b"x" * (LARGEST + 1)),
            id="in chunks",
        ),
    ],
)
async def test_a_body_over_256_kib_does_not(knock: Knock, all_rights: Tokens, framing: bytes, body: bytes) -> None:
    api = FakeTokenApi()
    wire = await knock(door(all_rights, token_api=api, max_body=0))
    reply = await wire.ask(request(TOKENS, framing, method=b"POST") + body)
    check_refusal(reply, Reason.BODY_TOO_LARGE)
    assert "262144" in reply.envelope["errors"][0]["message"]
    assert api.calls == []


async def test_a_token_that_dies_while_its_body_comes_calls_nothing(knock: Knock, all_rights: Tokens) -> None:
    api = FakeTokenApi()
    wire = await knock(door(all_rights, token_api=api))
    wire.send(request(TOKENS, b"Expect: 100-continue", b"Content-Length: 2", method=b"POST"))
    assert (await wire.reply()).status == 100
    all_rights.hold(token(EVERYTHING, status=Status.DISABLED))
    check_refusal(await wire.ask(b"{}"), Reason.TOKEN_DISABLED)
    assert api.calls == []


# The admin listener.


class FakePages:
    """`Pages` with one page."""

    async def answer(self, method: str, path: bytes) -> Answer | Deny | None:
        if path != b"/page":
            return None
        if method == "DELETE":
            return Deny(reason=Reason.METHOD_NOT_ALLOWED, methods=("GET",))
        return Answer(status=200, fields=(("Content-Type", "text/plain"),), body=b"a page")


def admin_door(store: Tokens, *hosts: str, **parts: Any) -> Door:
    return door(store, table=CATALOG.admin, pages=FakePages(), allowed_hosts=frozenset(hosts), **parts)


def page_for(host: bytes, target: bytes = b"/page") -> bytes:
    return b"GET %b HTTP/1.1\r\nHost: %b\r\n\r\n" % (target, host)


@pytest.mark.parametrize(
    "host",
    [
        b"localhost",
        b"LocalHost:8081",
        b"127.0.0.1",
        b"127.0.0.1:8081",
        b"192.0.2.7",
        b"[::1]",
        b"[::1]:8081",
        b"gate.example",
        b"GATE.example:8081",
    ],
)
async def test_an_address_localhost_and_the_hosts_that_are_allowed_are_answered(
    knock: Knock, store: Tokens, host: bytes
) -> None:
    wire = await knock(admin_door(store, "gate.example"))
    reply = await wire.ask(page_for(host))
    assert (reply.status, reply.body) == (200, b"a page")


@pytest.mark.parametrize(
    "host",
    [
        b"evil.example",
        b"evil.example:8081",
        b"localhost.evil.example",
        b"127.0.0.1.evil.example",
        b"xgate.example",
        b"gate.example.evil",
        b"127.0.0.1.",
        b"2130706433",
    ],
)
async def test_any_other_host_is_refused_whatever_it_asks_for(knock: Knock, store: Tokens, host: bytes) -> None:
    """A page that a browser was lured to has a name: DNS rebinding."""
    wire = await knock(admin_door(store, "gate.example"))
    for target in (b"/page", TOKENS, b"http://localhost.evil.example/page"):
        check_refusal(await wire.ask(page_for(host, target)), Reason.BAD_REQUEST)


async def test_the_host_that_counts_is_the_absolute_form_s(knock: Knock, store: Tokens) -> None:
    wire = await knock(admin_door(store))
    assert (await wire.ask(page_for(b"evil.example", b"http://localhost/page"))).status == 200
    assert (await wire.ask(page_for(b"localhost", b"http://evil.example/page"))).status == 400


async def test_a_probe_in_http_1_0_may_leave_the_host_out(knock: Knock, store: Tokens) -> None:
    wire = await knock(admin_door(store))
    assert (await wire.ask(b"GET /page HTTP/1.0\r\n\r\n")).body == b"a page"


async def test_a_page_needs_no_token_and_everything_else_does(knock: Knock, store: Tokens) -> None:
    wire = await knock(admin_door(store))
    assert (await wire.ask(page_for(b"localhost"))).status == 200
    check_refusal(await wire.ask(page_for(b"localhost", TOKENS)), Reason.MISSING_CREDENTIALS)
    check_refusal(await wire.ask(page_for(b"localhost", b"/pages")), Reason.MISSING_CREDENTIALS)


async def test_a_page_asks_nothing_of_the_store(knock: Knock, store: Tokens) -> None:
    store.failure = StoreUnavailable("no")
    wire = await knock(admin_door(store))
    assert (await wire.ask(request(b"/page").replace(HOST, b"Host: localhost"))).status == 200
    assert store.reads == 0


async def test_a_page_may_refuse(knock: Knock, store: Tokens) -> None:
    wire = await knock(admin_door(store))
    reply = await wire.ask(b"DELETE /page HTTP/1.1\r\nHost: localhost\r\n\r\n")
    check_refusal(reply, Reason.METHOD_NOT_ALLOWED)
    assert reply.field("allow") == "GET"


async def test_the_public_door_answers_any_host(wire: Wire) -> None:
    assert (await wire.ask(request().replace(HOST, b"Host: anything.example"))).status == 200


async def test_the_door_for_probes_has_its_pages_and_nothing_else(knock: Knock, store: Tokens) -> None:
    wire = await knock(door(store, table=None, pages=FakePages()))
    assert (await wire.ask(page_for(b"anything"))).status == 200
    for target in (VERIFY, RECORDS, b"/pages"):
        check_refusal(await wire.ask(request(target)), Reason.NO_ROUTE)
    assert store.reads == 0


# Sessions, and the dashboard.


class WritingDown:
    """A `RefusedCalls` that remembers what it wrote."""

    def __init__(self) -> None:
        self.written: list[Refused] = []

    def concerns(self, target: Target) -> bool:
        return target.path == TOKENS

    async def write(self, refused: Refused, now: float) -> None:
        del now
        self.written.append(refused)


class FakeDashboard:
    """A `Dashboard` that says what it was asked, and with which body."""

    def concerns(self, target: Target) -> bool:
        return target.segments[:1] == (b"pages",)

    async def answer(self, visit: Visit) -> Answer | Deny:
        body = await visit.body(10)
        if isinstance(body, Deny):
            return body
        head = visit.head
        return succeed({"asked": f"{head.method} {head.target.path.decode()}", "body": body.decode(), "ip": visit.ip})


def with_sessions(behind: Door, sessions: MemorySessions) -> Door:
    """`behind`, where the cookie "1"... is of a session of our token's."""
    assert behind.admission is not None
    sessions.held[stored_under(COOKIE)] = Session(
        SESSION_SCHEMA, TOKEN_ID, NO_PEPPERS.sign(secret_of()), begun=NOW, seen=NOW
    )
    found = Sessions(
        sessions,
        behind.admission,
        behind.reader,
        prefix=(b"client", b"v4"),
        tls=False,
        clock=lambda: NOW,
        randomness=bytes,
    )
    return msgspec.structs.replace(behind, sessions=found, dashboard=FakeDashboard())


COOKIE = "1" * 43
RIGHTS = (policy(["API Tokens Write"], [f"{Scope.USER}.{USER}"], scope=Scope.USER),)


def by_cookie(target: bytes, *fields: bytes, method: bytes = b"GET", cookie: str = COOKIE) -> bytes:
    lines = (b"%b %b HTTP/1.1" % (method, target), b"Host: localhost", b"Cookie: zonegate_session=" + cookie.encode())
    return b"".join(b"%b\r\n" % line for line in (*lines, *fields)) + b"\r\n"


async def test_a_session_is_let_in_where_its_token_would_be(knock: Knock, hold: Hold) -> None:
    calls = FakeTokenApi()
    wire = await knock(with_sessions(admin_door(hold(token(RIGHTS)), token_api=calls), MemorySessions()))
    assert (await wire.ask(by_cookie(TOKENS))).status == 200
    ((allow, call),) = calls.calls
    assert (allow.principal.token.id, allow.route.operation, call.address) == (TOKEN_ID, "list", "127.0.0.1")


async def test_a_session_whose_token_may_not_is_refused_and_that_is_written_down(knock: Knock, hold: Hold) -> None:
    calls = WritingDown()
    wire = await knock(with_sessions(admin_door(hold(token()), refused_calls=calls), MemorySessions()))
    check_refusal(await wire.ask(by_cookie(TOKENS)), Reason.FORBIDDEN)
    assert [refused.token_id for refused in calls.written] == [TOKEN_ID]


async def test_a_cookie_of_no_session_lets_nobody_in(knock: Knock, hold: Hold) -> None:
    wire = await knock(with_sessions(admin_door(hold(token(RIGHTS))), MemorySessions()))
    check_refusal(await wire.ask(by_cookie(TOKENS, cookie="2" * 43)), Reason.MISSING_CREDENTIALS)


async def test_a_bearer_counts_and_not_the_cookie_beside_it(knock: Knock, hold: Hold) -> None:
    sessions = MemorySessions()
    wire = await knock(with_sessions(admin_door(hold(token(RIGHTS))), sessions))
    assert (await wire.ask(by_cookie(TOKENS, BEARER, cookie="2" * 43))).status == 200
    check_refusal(await wire.ask(by_cookie(TOKENS, b"Authorization: junk")), Reason.MALFORMED_CREDENTIALS)
    assert sessions.reads == 0


async def test_a_change_by_a_cookie_needs_more_than_the_cookie(knock: Knock, hold: Hold) -> None:
    calls = FakeTokenApi()
    wire = await knock(with_sessions(admin_door(hold(token(RIGHTS)), token_api=calls), MemorySessions()))
    check_refusal(await wire.ask(by_cookie(TOKENS, method=b"POST")), Reason.CROSS_SITE)
    proof = b"Origin: http://localhost", b"X-CSRF-Token: " + csrf_token(COOKIE).encode()
    assert (await wire.ask(by_cookie(TOKENS, *proof, method=b"POST"))).status == 200
    assert [allow.route.operation for allow, _ in calls.calls] == ["create"]


async def test_a_door_without_sessions_looks_at_no_cookie(knock: Knock, hold: Hold) -> None:
    wire = await knock(door(hold(token(RIGHTS)), forwarder=FakeForwarder()))
    check_refusal(await wire.ask(by_cookie(TOKENS)), Reason.MISSING_CREDENTIALS)


async def test_the_dashboard_is_asked_for_what_concerns_it_and_reads_the_body_itself(knock: Knock, hold: Hold) -> None:
    wire = await knock(with_sessions(admin_door(hold(token())), MemorySessions()))
    reply = await wire.ask(b"POST /pages/x HTTP/1.1\r\nHost: localhost\r\nContent-Length: 4\r\n\r\nbody")
    assert reply.envelope["result"] == {"asked": "POST /pages/x", "body": "body", "ip": "127.0.0.1"}
    reply = await wire.ask(b"POST /pages/x HTTP/1.1\r\nHost: localhost\r\nContent-Length: 11\r\n\r\nlonger body")
    check_refusal(reply, Reason.BODY_TOO_LARGE)


async def test_nor_does_the_dashboard_answer_a_host_that_is_not_ours(knock: Knock, hold: Hold) -> None:
    wire = await knock(with_sessions(admin_door(hold(token(RIGHTS))), MemorySessions()))
    for target in (b"/pages/x", TOKENS):
        sent = by_cookie(target).replace(b"Host: localhost", b"Host: evil.example")
        check_refusal(await wire.ask(sent), Reason.BAD_REQUEST)


# What nobody expected.


class BrokenRelay(FakeRelay):
    """With a bug, in one of its methods."""

    def __init__(self, side: ClientSide, *, body: bytes | None, upgrade: bool, where: str) -> None:
        super().__init__(side, body=body, upgrade=upgrade)
        self._where = where

    def start(self) -> bool:
        if self._where == "start":
            raise ZeroDivisionError("hush")
        if self._where == "answer":
            self.side.begin(200, ends_with_close=False)
            self.side.write(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n")
            raise ZeroDivisionError("hush")
        if self._where == "reconnect":
            self.side.spawn(self.connect())
            return True
        return False

    async def connect(self) -> None:
        raise ZeroDivisionError("hush")


class BrokenForwarder:
    """A `Forwarder` with a bug, in itself or in its relay."""

    def __init__(self, where: str) -> None:
        self._where = where

    def relay(self, allow: object, head: object, client: object, side: ClientSide, **parts: Any) -> FakeRelay:  # noqa: ARG002
        if self._where == "relay":
            raise ZeroDivisionError("hush")
        return BrokenRelay(side, where=self._where, **parts)


class BrokenTokens(Tokens):
    """A store with a bug."""

    def look(self, token_id: str) -> CompiledToken | Deny | Miss | None:
        if self._remembers:
            raise ZeroDivisionError("hush")
        return super().look(token_id)

    async def fetch(self, token_id: str, address: Address | None, *, proved: bool = False) -> Any:  # noqa: ARG002
        raise ZeroDivisionError("hush")


class BrokenPages:
    """`Pages` with a bug."""

    async def answer(self, method: str, path: bytes) -> Answer | Deny | None:  # noqa: ARG002
        raise ZeroDivisionError("hush")


class BrokenCalls:
    """`RefusedCalls` with a bug."""

    def concerns(self, target: Target) -> bool:  # noqa: ARG002
        return True

    async def write(self, refused: Refused, now: float) -> None:  # noqa: ARG002
        raise ZeroDivisionError("hush")


@pytest.mark.parametrize(
    ("target", "broken"),
    [
        pytest.param(RECORDS, {"store": BrokenTokens}, id="in the store"),
        pytest.param(RECORDS, {"forwarder": BrokenForwarder("relay")}, id="in the forwarder"),
        pytest.param(RECORDS, {"forwarder": BrokenForwarder("start")}, id="in the relay"),
        pytest.param(RECORDS, {"forwarder": BrokenForwarder("connect")}, id="when it connects"),
        pytest.param(RECORDS, {"forwarder": BrokenForwarder("reconnect")}, id="when it connects once more"),
        pytest.param(TOKENS, {"token_api": FakeTokenApi(ZeroDivisionError("hush"))}, id="in the token API"),
        pytest.param(
            TOKENS, {"token_api": FakeTokenApi(Answer(status=200, fields=(("ETag", "é"),)))}, id="in its fields"
        ),
        pytest.param(TOKENS, {"token_api": FakeTokenApi(Answer(status=299))}, id="in its status"),
        pytest.param(b"/page", {"pages": BrokenPages()}, id="in a page"),
        pytest.param(NOWHERE, {"refused_calls": BrokenCalls()}, id="in the audit"),
    ],
)
async def test_a_bug_is_a_503_without_a_word_of_it_and_a_line_in_the_log(
    knock: Knock, hold: Hold, way: Way, target: bytes, broken: dict[str, Any]
) -> None:
    store = hold(token(EVERYTHING))
    if "store" in broken:
        store = broken["store"](remembers=way is not Way.READ)
        broken = {}
    with captured() as logs:
        wire = await knock(door(store, **broken))
        reply = await wire.ask(request(target))
        assert await wire.rest() == b""
    check_refusal(reply, Reason.INTERNAL_ERROR)
    assert b"hush" not in reply.body
    assert b"ZeroDivision" not in reply.body
    assert reply.field("connection") == "close"
    (failed,) = [line for line in logs if line["event"] == "request failed"]
    assert failed["request_id"] == reply.field("x-request-id")
    assert failed["exc_info"]


async def test_a_bug_in_the_middle_of_an_answer_breaks_it_off(knock: Knock, store: Tokens) -> None:
    wire = await knock(door(store, forwarder=BrokenForwarder("answer")))
    wire.send(request())
    with captured(), pytest.raises((asyncio.IncompleteReadError, ConnectionResetError)):
        await wire.reply()


async def test_a_bug_hurts_nobody_else(knock: Knock, store: Tokens) -> None:
    behind = door(store, forwarder=BrokenForwarder("connect"))
    with captured():
        other = await knock(behind)
        assert (await (await knock(behind)).ask(request())).status == 503
        assert (await other.ask(request(NOWHERE))).status == 404


class ConnectingRelay(FakeRelay):
    """To an upstream that does not come."""

    is_cancelled = False

    def start(self) -> bool:
        return False

    async def connect(self) -> None:
        try:
            await asyncio.Event().wait()
        finally:
            self.is_cancelled = True


class Connecting(FakeForwarder):
    """A `Forwarder` with such relays."""

    kind = ConnectingRelay


async def test_nobody_connects_any_more_for_a_request_that_was_answered(meet: Meet) -> None:
    met = meet(forwarder=Connecting())
    met.transport.deliver(request())
    relay = met.forwarder.last
    assert isinstance(relay, ConnectingRelay)
    await asyncio.sleep(0)
    relay.fail(Deny(reason=Reason.UPSTREAM_TIMEOUT))
    await asyncio.sleep(0)
    assert met.transport.statuses == [504]
    assert relay.is_cancelled


async def test_whoever_leaves_before_his_task_has_begun_leaves_nothing(meet: Meet) -> None:
    met = meet(at_once=False)
    met.transport.deliver(request())
    met.transport.lose()
    await asyncio.sleep(0)  # its turn, had it one
    assert met.forwarder.relays == []


async def test_a_client_that_resets_his_connection_disturbs_nobody(knock: Knock, behind: Door) -> None:
    rude = await knock(behind)
    rude.writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    rude.send(request(RECORDS, b"Content-Length: 100", method=b"POST") + b"x")
    await rude.writer.drain()
    rude.writer.transport.abort()
    assert (await (await knock(behind)).ask(request())).status == 200


async def test_a_client_that_leaves_ends_the_exchange_with_the_upstream(
    knock: Knock, serve: Serve, store: Tokens
) -> None:
    upstream = Upstream(OK, waits_for=asyncio.Event())
    wire = await knock(door(store, forwarder=await serve(upstream)))
    wire.send(request())
    await upstream.begun.wait()
    await wire.close()
    await upstream.over.wait()


async def test_a_client_that_leaves_in_the_middle_of_a_long_answer_ends_it(
    knock: Knock, serve: Serve, store: Tokens
) -> None:
    upstream = Upstream(b"HTTP/1.1 200 OK\r\n\r\n", repeated=iter(partial(bytes, 65536), None))
    wire = await knock(door(store, forwarder=await serve(upstream)))
    wire.send(request())
    assert await wire.reader.readuntil(b"\r\n\r\n")
    wire.writer.transport.abort()
    await upstream.over.wait()


async def test_a_client_that_does_not_read_a_long_answer_is_let_go(knock: Knock, serve: Serve, store: Tokens) -> None:
    upstream = Upstream(b"HTTP/1.1 200 OK\r\n\r\n", repeated=iter(partial(bytes, 65536), None))
    wire = await knock(door(store, forwarder=await serve(upstream), body_idle_timeout=0.1))
    wire.writer.transport.pause_reading()  # type: ignore[attr-defined]
    wire.send(request())
    await upstream.over.wait()


# Connections.


async def test_a_new_connection_takes_the_place_of_the_one_that_was_idle_for_longest(meet: Meet) -> None:
    first = meet(max_connections=3)
    second, busy = first.another(), first.another()
    for met, sent in ((second, NOWHERE), (first, NOWHERE), (busy, RECORDS)):
        met.transport.deliver(request(sent))
    third = first.another()
    assert [met.transport.is_open for met in (first, second, busy, third)] == [True, False, True, True]


async def test_connections_that_come_together_take_the_place_of_one_each(meet: Meet) -> None:
    first = meet(max_connections=2)
    second = first.another()
    for met in (first, second):
        met.transport.deliver(request(NOWHERE))
    new = [first.another() for _ in range(2)]
    assert [met.transport.is_open for met in (first, second)] == [False, False]
    assert all(met.transport.is_open for met in new)


async def test_where_nobody_is_idle_a_new_connection_is_a_503(meet: Meet) -> None:
    lines: list[bytes] = []
    first = meet(max_connections=1, access_log=AccessLog(enabled=True, write=lines.append))
    first.transport.deliver(request())
    second = first.another(("192.0.2.9", 1))
    assert second.transport.statuses == [503]
    assert b'"code":10500' in second.transport.written
    assert CLOSE in second.transport.written
    assert second.transport.is_shut
    second.transport.deliver(request())
    assert len(first.forwarder.relays) == 1
    second.transport.leave()
    assert first.transport.is_open
    first.handler.close()
    (line,) = [json.loads(line) for line in b"".join(lines).splitlines()]
    assert (line["reason"], line["status"], line["address"]) == ("overloaded", 503, "192.0.2.9")


# Dead tokens.


class SlowTokens(Tokens):
    """A store that answers when it is told to."""

    def __init__(self) -> None:
        super().__init__(remembers=False)
        self.asked, self.answers = asyncio.Event(), asyncio.Event()

    async def fetch(self, token_id: str, address: Address | None, *, proved: bool = False) -> Any:
        self.asked.set()
        await self.answers.wait()
        return await super().fetch(token_id, address, proved=proved)


class Cut(NamedTuple):
    """A relay, and how it was looked at."""

    met: Met
    store: Tokens
    lines: list[bytes]


@pytest.fixture
async def relayed(meet: Meet) -> AsyncIterator[Cut]:
    """A relay under way for a token, while dead ones are cut off."""
    store, lines = Tokens(), list[bytes]()
    store.hold(token())
    met = meet(store=store, access_log=AccessLog(enabled=True, write=lines.append))
    met.transport.deliver(request())
    async with asyncio.TaskGroup() as group:
        cutting = group.create_task(met.handler.cut_dead())
        yield Cut(met, store, lines)
        cutting.cancel()


@pytest.mark.parametrize(
    ("becomes", "reason"),
    [
        pytest.param(token(status=Status.DISABLED), "token_disabled", id="disabled"),
        pytest.param(token(digests=()), "unknown_token", id="rolled"),
        pytest.param(token([policy(["DNS Write"], [zone(ZONE_B)])]), "forbidden", id="narrowed"),
        pytest.param(token(request_ip=["192.0.2.0/24"]), "ip_denied", id="kept to another network"),
    ],
)
async def test_what_is_relayed_for_a_token_is_cut_off_when_it_is_dead(
    relayed: Cut, becomes: Token, reason: str
) -> None:
    with captured() as logs:
        relayed.store.hold(becomes)
        await relayed.met.closed()
    assert relayed.met.forwarder.last.heard == ["gone"] * len(relayed.met.forwarder.last.heard)
    assert relayed.met.transport.is_aborted
    assert relayed.met.transport.written == b""
    relayed.met.handler.close()
    (line,) = [json.loads(line) for line in b"".join(relayed.lines).splitlines()]
    assert (line["reason"], line["token"]) == (reason, TOKEN_ID)
    (cut,) = [line for line in logs if line["event"] == "cut off"]
    assert (cut["token"], cut["reason"]) == (TOKEN_ID, reason)


async def test_what_is_relayed_for_a_living_token_goes_on_and_so_it_does_without_a_store(relayed: Cut) -> None:
    relayed.store.hold(token(name="another name"))
    doomed = relayed.met.another()
    relayed.store.failure = StoreUnavailable("no")
    await asyncio.sleep(1.1)
    assert relayed.met.transport.is_open
    relayed.met.forwarder.last.answer()
    assert relayed.met.transport.statuses == [200]
    assert doomed.transport.is_open


async def test_what_ends_by_itself_while_it_is_looked_at_is_not_cut_off(meet: Meet) -> None:
    store = SlowTokens()
    store.hold(token())
    store.answers.set()
    met = meet(store=store)
    met.transport.deliver(request())
    while not met.forwarder.relays:  # noqa: ASYNC110 - nobody sets an event
        await asyncio.sleep(0)
    store.answers.clear()
    store.asked.clear()
    async with asyncio.TaskGroup() as group:
        cutting = group.create_task(met.handler.cut_dead())
        await store.asked.wait()
        met.forwarder.last.answer()
        store.hold(token(status=Status.DISABLED))
        store.answers.set()
        await asyncio.sleep(0.1)
        cutting.cancel()
    assert met.transport.statuses == [200]
    assert met.transport.is_open


# Draining.


@pytest.fixture
async def draining() -> AsyncIterator[Callable[[Handler, float], "asyncio.Task[None]"]]:
    """`draining(handler, seconds)`: it drains."""
    async with asyncio.TaskGroup() as group:
        yield lambda handler, seconds: group.create_task(handler.drain(seconds))


Draining = Callable[[Handler, float], "asyncio.Task[None]"]


async def begun(task: "asyncio.Task[None]") -> None:
    """`task` has had its first turn."""
    await asyncio.sleep(0)
    assert not task.done()


async def test_whoever_was_promised_that_his_connection_is_kept_may_ask_once_more_while_it_drains(
    meet: Meet, draining: Draining
) -> None:
    """He may have sent it before he could know: a connection that closes then is an error to him."""
    met = meet()
    met.transport.deliver(request())
    side = met.forwarder.last.side
    assert side.begin(200, ends_with_close=False) == b""
    drained = draining(met.handler, 20)
    await begun(drained)
    side.done()
    met.transport.deliver(request(NOWHERE))
    assert met.transport.statuses == [404]
    assert CLOSE in met.transport.written
    assert not met.transport.is_open
    await drained


async def test_draining_waits_for_connections_that_are_silent_only_for_a_moment(meet: Meet, draining: Draining) -> None:
    met = meet()
    met.another().transport.deliver(request(NOWHERE) + b"\r\n")
    async with asyncio.timeout(10):
        await draining(met.handler, 3600)
    await met.closed()


async def test_draining_waits_for_what_is_under_way_and_each_answer_is_its_connection_s_last(
    meet: Meet, draining: Draining
) -> None:
    busy = meet()
    busy.transport.deliver(request())
    idle = busy.another()
    drained = draining(busy.handler, 20)
    await begun(drained)
    idle.transport.deliver(request(NOWHERE))
    assert idle.transport.statuses == [404]
    assert CLOSE in idle.transport.written
    assert not idle.transport.is_open
    assert not drained.done()
    busy.forwarder.last.answer()
    assert CLOSE in busy.transport.written
    await drained


async def test_draining_waits_until_what_was_answered_is_read(meet: Meet, draining: Draining) -> None:
    met = meet()
    met.transport.takes = False
    met.transport.deliver(request(NOWHERE))
    drained = draining(met.handler, 20)
    other = meet(keepalive_timeout=1.5)  # longer than for anything else
    other.transport.deliver(request(NOWHERE))
    await other.closed()
    assert not drained.done()
    met.transport.take()
    await drained


async def test_what_was_answered_and_is_not_read_is_cut_off_at_the_end(meet: Meet) -> None:
    met = meet()
    met.transport.takes = False
    met.transport.deliver(request(NOWHERE))
    await met.handler.server.shutdown()
    await met.closed()
    assert met.transport.is_aborted


async def test_draining_waits_for_who_is_in_the_middle_of_a_handshake(draining: Draining) -> None:
    """His first request is the next thing that he sends."""
    async with asyncio.TaskGroup() as group:
        handler = Handler(door(Tokens().hold(token())), group.create_task, tls=True)
        connection = handler.server()
        drained = draining(handler, 20)
        await begun(drained)
        transport = FakeTransport(connection)
        transport.deliver(request(NOWHERE))
        assert transport.statuses == [404]
        assert CLOSE in transport.written
        await drained
        await check_tidy(handler)
        handler.close()


async def test_draining_does_not_wait_for_longer_than_it_may(meet: Meet, draining: Draining) -> None:
    met = meet()
    met.transport.deliver(request())
    await draining(met.handler, 0.01)
    assert met.forwarder.last.heard == []
    assert met.transport.is_open
    await met.handler.server.shutdown()
    await met.closed()
    assert met.forwarder.last.heard == ["gone"]
    assert met.transport.is_aborted


@pytest.mark.parametrize("target", [RECORDS, TOKENS])
async def test_a_body_that_has_not_come_when_time_is_over_is_a_503_and_never_ends(
    meet: Meet, draining: Draining, target: bytes
) -> None:
    api = FakeTokenApi()
    met = meet(token_api=api)
    met.transport.deliver(request(target, b"Content-Length: 9", method=b"POST") + b"x")
    await asyncio.sleep(0)
    await draining(met.handler, 0.01)
    assert met.transport.statuses == [503]
    assert b"shutting down" in met.transport.written
    assert api.calls == []
    if target == RECORDS:
        assert met.forwarder.last.heard == [b"x", Reason.DRAINING]
    met.transport.leave()


async def test_a_body_that_was_cut_before_anybody_read_it_is_not_taken_for_an_empty_one(
    meet: Meet, draining: Draining
) -> None:
    store, api = SlowTokens(), FakeTokenApi()
    store.hold(token(EVERYTHING))
    met = meet(store=store, token_api=api)
    met.transport.deliver(request(TOKENS, b"Content-Length: 9", method=b"POST") + b"x")
    drained = draining(met.handler, 0.01)
    while met.connection._state is State.BODY:  # noqa: ASYNC110 - nobody sets an event
        await asyncio.sleep(0.01)
    store.answers.set()
    await drained
    assert met.transport.statuses == [503]
    assert api.calls == []
    met.transport.leave()


async def test_draining_an_idle_handler_is_done_at_once(meet: Meet, draining: Draining) -> None:
    met = meet()
    met.transport.leave()
    await met.closed()
    async with asyncio.timeout(0.4):  # less than it gives to a connection that is kept
        await draining(met.handler, 20)
    other = met.another()
    other.transport.deliver(request(authorized=False))
    assert CLOSE in other.transport.written


# The log.


def logged(lines: list[bytes]) -> list[dict[str, Any]]:
    """Lines of the access log, without what each run has of its own."""
    found = [json.loads(line) for line in b"".join(lines).splitlines()]
    for line in found:
        assert line.pop("milliseconds") >= 0
        assert line.pop("upstream_milliseconds") is None or line["upstream"]
        assert line.pop("bytes_in") >= 0
        assert line.pop("bytes_out") >= 0
        assert line.pop("worker")
        assert line.pop("timestamp")
        assert (line.pop("event"), line.pop("level")) == ("request", "info")
    return found


async def test_each_request_is_one_line_of_the_access_log(
    knock: Knock, serve: Serve, store: Tokens, upstream: Upstream
) -> None:
    lines: list[bytes] = []
    log = AccessLog(enabled=True, write=lines.append)
    wire = await knock(door(store, forwarder=await serve(upstream), access_log=log))
    passed = await wire.ask(request(RECORDS + b"?hush"))
    refused = await wire.ask(request(NOWHERE + b"?hush", method=b"POST", body=b"hush"))
    malformed = await wire.ask(request(b"//hush?hush"))
    log.flush()
    found = logged(lines)
    assert [bool(line.pop("upstream")) for line in found] == [True, False, False]
    assert found == [
        {
            "request_id": passed.field("x-request-id"),
            "method": "GET",
            "path": RECORDS.decode(),
            "api": "cloudflare-dns",
            "route": ROUTE,
            "token": TOKEN_ID,
            "owner": f"user:{USER}",
            "decision": "allow",
            "reason": None,
            "address": "127.0.0.1",
            "status": 200,
        },
        {
            "request_id": refused.field("x-request-id"),
            "method": "POST",
            "path": "/client/v4/nowhere",
            "api": None,
            "route": None,
            "token": TOKEN_ID,
            "owner": f"user:{USER}",
            "decision": "deny",
            "reason": "no_route",
            "address": "127.0.0.1",
            "status": 404,
        },
        {
            "request_id": malformed.field("x-request-id"),
            "method": None,
            "path": None,
            "api": None,
            "route": None,
            "token": None,
            "owner": None,
            "decision": "deny",
            "reason": "bad_request",
            "address": "127.0.0.1",
            "status": 400,
        },
    ]


async def test_a_large_head_is_not_kept_for_the_log(meet: Meet) -> None:
    lines: list[bytes] = []
    met = meet(access_log=AccessLog(enabled=True, write=lines.append))
    met.transport.deliver(request(NOWHERE))
    assert lines == []
    met.transport.deliver(request(NOWHERE, b"X: " + b"x" * 8192))
    assert len(logged(lines)) == 2


@pytest.mark.parametrize(
    ("sent", "reason", "status"),
    [
        pytest.param(request(RECORDS, b"Host: b"), "bad_request", 400, id="that cannot be read"),
        pytest.param(
            request(NOWHERE, b"Content-Length: 9", method=b"POST"), "no_route", 404, id="whose body never comes"
        ),
    ],
)
async def test_a_refused_request_is_in_the_log_even_when_its_client_leaves_at_once(
    open_door: Open, store: Tokens, sent: bytes, reason: str, status: int
) -> None:
    lines: list[bytes] = []
    log = AccessLog(enabled=True, write=lines.append)
    wire = await (await open_door(door(store, access_log=log))).connect()
    assert (await wire.ask(sent)).status == status
    await wire.close()
    log.flush()
    assert [(line["reason"], line["status"]) for line in logged(lines)] == [(reason, status)]


async def test_a_forwarded_change_is_in_the_log_even_when_its_client_does_not_wait_for_the_answer(
    open_door: Open, serve: Serve, store: Tokens
) -> None:
    upstream, lines = Upstream(waits_for=asyncio.Event()), list[bytes]()
    log = AccessLog(enabled=True, write=lines.append)
    wire = await (await open_door(door(store, forwarder=await serve(upstream), access_log=log))).connect()
    wire.send(request(method=b"POST", body=b"{}"))
    await upstream.begun.wait()
    await wire.close()
    await upstream.over.wait()
    log.flush()
    (line,) = logged(lines)
    assert (line["method"], line["path"], line["token"]) == ("POST", RECORDS.decode(), TOKEN_ID)


async def test_an_answer_that_the_upstream_breaks_off_is_none_that_went_well(
    open_door: Open, serve: Serve, store: Tokens
) -> None:
    upstream, lines = Upstream(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhel", cuts=True), list[bytes]()
    log = AccessLog(enabled=True, write=lines.append)
    wire = await (await open_door(door(store, forwarder=await serve(upstream), access_log=log))).connect()
    wire.send(request())
    await wire.ended()
    await wire.close()
    log.flush()
    (line,) = logged(lines)
    assert (line["decision"], line["status"], line["reason"]) == ("allow", 200, "upstream_unreachable")


async def test_what_is_cut_off_when_the_listener_closes_is_in_the_log(serve: Serve, store: Tokens) -> None:
    upstream, lines = Upstream(waits_for=asyncio.Event()), list[bytes]()
    log = AccessLog(enabled=True, write=lines.append)
    async with listening(door(store, forwarder=await serve(upstream), access_log=log)) as opened:
        wire = await opened.connect()
        wire.send(request())
        await upstream.begun.wait()
    assert await wire.ended()
    await wire.close()
    assert [(line["path"], line["status"]) for line in logged(lines)] == [(RECORDS.decode(), 0)]


# Traces.

THEIRS = b"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
TRACED = (b"Traceparent: " + THEIRS, b"tracestate: vendor=1")


class Placing:
    """A `Tracing` that puts each request below span 2, and remembers its fields."""

    def __init__(self, flags: int = 1) -> None:
        self.seen: list[list[bytes]] = []
        self._flags = flags

    def begin(self, ordinary: Sequence[FieldLine]) -> Trace:
        self.seen.append([field.name for field in ordinary])
        return Trace(trace_id=1, parent=2, server=3, client=4, flags=self._flags, state="vendor=2")


def of_trace(upstream: Upstream) -> list[tuple[bytes, bytes]]:
    """What of a trace came up with the last request."""
    fields = upstream.requests[-1].fields
    return [(name, value) for name, value in fields if name.lower() in (b"traceparent", b"tracestate")]


async def test_where_nobody_traces_a_trace_is_carried_on_as_it_came(wire: Wire, upstream: Upstream) -> None:
    await wire.ask(request(RECORDS, *TRACED))
    assert of_trace(upstream) == [(b"Traceparent", THEIRS), (b"tracestate", b"vendor=1")]
    await wire.ask(request(RECORDS, b"traceparent: junk"))
    assert of_trace(upstream) == [(b"traceparent", b"junk")]


async def test_a_traced_request_goes_up_below_our_own_span(
    knock: Knock, serve: Serve, store: Tokens, upstream: Upstream
) -> None:
    tracing, lines = Placing(), list[bytes]()
    told: list[Trace | None] = []

    class Told:
        def add(self, ended: Iterable[tuple[Ended, Kind]]) -> None:
            told.extend(each.trace for each, _ in ended)

    log = AccessLog(enabled=True, write=lines.append, spans=Told())
    wire = await knock(door(store, forwarder=await serve(upstream), access_log=log, tracing=tracing))
    await wire.ask(request(RECORDS, *TRACED))
    assert of_trace(upstream) == [
        (b"traceparent", b"00-%032x-%016x-01" % (1, 4)),
        (b"tracestate", b"vendor=2"),
    ]
    assert tracing.seen[0][-2:] == [b"traceparent", b"tracestate"]
    await wire.ask(request(NOWHERE))
    log.flush()
    assert [trace and trace.server for trace in told] == [3, None]
    assert [line.get("trace_id") for line in logged(lines)] == ["0" * 31 + "1", None]


async def test_where_a_trace_is_not_recorded_its_parent_stays_the_client_s(
    knock: Knock, serve: Serve, store: Tokens, upstream: Upstream
) -> None:
    wire = await knock(door(store, forwarder=await serve(upstream), tracing=Placing(flags=0)))
    await wire.ask(request(RECORDS, *TRACED))
    assert of_trace(upstream) == [(b"Traceparent", THEIRS), (b"tracestate", b"vendor=1")]


# What tokens are used for, and what the token API was asked in vain.


class Noted:
    """What is counted and written down. `answered`: says what the client has been told so far."""

    def __init__(self, answered: Callable[[], int] = lambda: 0) -> None:
        self.uses: list[tuple[str, str, str, str, float, int]] = []
        self.refused: list[tuple[Refused, float]] = []
        self.answered: list[int] = []
        self.lines: list[bytes] = []
        self.log = AccessLog(enabled=True, write=self.lines.append, count_use=self.count)
        self._answered = answered

    def count(self, token_id: str, route: str, result: str, address: str, now: float, times: int) -> None:
        self.uses.append((token_id, route, result, address, now, times))

    def concerns(self, target: Target) -> bool:
        """As the real one: what stands under the token API's prefix."""
        return not target.path.startswith(RECORDS)

    async def write(self, refused: Refused, now: float) -> None:
        if self.concerns(refused.target):
            self.answered.append(self._answered())
            self.refused.append((refused, now))


def noting(noted: Noted, store: Tokens, **parts: object) -> Door:
    return door(store, access_log=noted.log, refused_calls=noted, clock=lambda: NOW, **parts)


@pytest.mark.parametrize(
    ("sent", "held", "parts", "route", "result"),
    [
        pytest.param(request(), token(), {}, ROUTE, "allowed", id="allowed"),
        pytest.param(request(method=b"HEAD"), token(), {}, ROUTE, "allowed", id="a GET route's HEAD"),
        pytest.param(request(VERIFY), token(), {}, f"GET {VERIFY.decode()}", "allowed", id="of the token API"),
        pytest.param(
            request(VERIFY),
            token(),
            {"token_api": FakeTokenApi(Deny(reason=Reason.NOT_FOUND))},
            f"GET {VERIFY.decode()}",
            "not_found",
            id="that the token API refused",
        ),
        pytest.param(request(OTHER_ZONE), token(), {}, ROUTE, "forbidden", id="another zone"),
        pytest.param(request(), token(status=Status.DISABLED), {}, ROUTE, "token_disabled", id="a disabled token"),
        pytest.param(request(NOWHERE), token(), {}, "", "no_route", id="no route"),
        pytest.param(
            request(),
            token(),
            {"forwarder": BrokenForwarder("connect")},
            ROUTE,
            "internal_error",
            id="at which we failed",
        ),
    ],
)
async def test_a_request_is_counted_once_for_the_token_that_proved_itself(
    knock: Knock,
    serve: Serve,
    hold: Hold,
    sent: bytes,
    held: Token,
    parts: dict[str, object],
    route: str,
    result: str,
) -> None:
    noted = Noted()
    answering = Upstream(OK.removesuffix(b"hello")) if sent.startswith(b"HEAD") else Upstream()
    forwarder = await serve(answering)
    with captured():
        wire = await knock(noting(noted, hold(held), **{"forwarder": forwarder} | parts))
        await wire.ask(sent, to_head=sent.startswith(b"HEAD"))
    noted.log.flush()
    assert noted.uses == [(TOKEN_ID, route, result, "127.0.0.1", NOW, 1)]


async def test_what_the_upstream_did_not_answer_is_counted_as_that(knock: Knock, serve: Serve, store: Tokens) -> None:
    noted = Noted()
    wire = await knock(noting(noted, store, forwarder=await serve(Upstream(b"junk\r\n\r\n"))))
    assert (await wire.ask(request())).status == 502
    noted.log.flush()
    assert [use[1:3] for use in noted.uses] == [(ROUTE, "upstream_unreachable")]


ANONYMOUS = [
    pytest.param(request(TOKENS, authorized=False), [], id="no credential"),
    pytest.param(request(TOKENS, b"Authorization: Bearer junk", authorized=False), [], id="junk"),
    pytest.param(request(TOKENS), [], id="an unknown token"),
    pytest.param(request(TOKENS), [token(digests=())], id="a wrong secret"),
    pytest.param(request(b"//"), [token()], id="a bad path"),
    pytest.param(request(TOKENS, b"Host: b"), [token()], id="what cannot be read"),
]


@pytest.mark.parametrize(("sent", "held"), ANONYMOUS)
async def test_who_proved_nothing_bends_no_number_and_writes_nothing_down(
    knock: Knock, hold: Hold, sent: bytes, held: list[Token]
) -> None:
    noted = Noted()
    wire = await knock(noting(noted, hold(*held)))
    assert (await wire.ask(sent)).status >= 400
    noted.log.flush()
    assert (noted.uses, noted.refused) == ([], [])


@pytest.mark.parametrize(("sent", "held"), ANONYMOUS)
async def test_who_proved_nothing_has_no_line_of_his_remembered(
    knock: Knock, hold: Hold, sent: bytes, held: list[Token]
) -> None:
    behind = door(hold(*held))
    wire = await knock(behind)
    for _ in range(3):
        await wire.ask(sent.replace(b"\r\n", b"\r\nConnection: keep-alive\r\nX-Mine: x\r\n", 1))
        if sent.startswith(b"GET //") or b"Host: b" in sent:
            wire = await knock(behind)
    assert behind.lines.lines == {}


async def test_lines_that_a_proved_token_has_sent_twice_are_remembered_but_no_credential(
    knock: Knock, behind: Door
) -> None:
    wire = await knock(behind)
    for _ in range(3):
        await wire.ask(request(RECORDS, b"X-Mine: x", b"Cookie: a=b"))
        await wire.ask(request(NOWHERE, b"X-Other: x"))
    assert set(behind.lines.lines) == {HOST, b"X-Mine: x", b"X-Other: x"}


@pytest.mark.parametrize(
    ("sent", "parts", "reason"),
    [
        pytest.param(request(TOKENS), {}, Reason.FORBIDDEN, id="a right that it lacks"),
        pytest.param(request(NOWHERE), {}, Reason.NO_ROUTE, id="no route"),
        pytest.param(
            request(VERIFY),
            {"token_api": FakeTokenApi(Deny(reason=Reason.NOT_FOUND))},
            Reason.NOT_FOUND,
            id="by the token API",
        ),
        pytest.param(request(VERIFY, b"Content-Length: 300000"), {}, Reason.BODY_TOO_LARGE, id="a large body"),
    ],
)
async def test_a_refusal_to_a_proved_token_is_handed_to_the_audit_before_it_is_answered(
    knock: Knock, store: Tokens, sent: bytes, parts: dict[str, object], reason: Reason
) -> None:
    answers: list[Reply] = []
    noted = Noted(lambda: len(answers))
    wire = await knock(noting(noted, store, **parts))
    answers.append(await wire.ask(sent.replace(b"\r\n", b"\r\nX-Request-Id: my-request-1\r\n", 1)))
    assert noted.answered == [0]
    ((refused, now),) = noted.refused
    assert (refused.deny.reason, refused.token_id, refused.owner) == (reason, TOKEN_ID, f"user:{USER}")
    assert (refused.address, refused.request_id, now) == ("127.0.0.1", "my-request-1", NOW)
    assert f"{refused.method} {refused.target.path.decode()} ".encode() in sent


async def test_what_was_allowed_is_not_written_down(knock: Knock, serve: Serve, store: Tokens) -> None:
    noted = Noted()
    wire = await knock(noting(noted, store, forwarder=await serve(Upstream())))
    assert (await wire.ask(request())).status == 200
    assert (await wire.ask(request(VERIFY))).status == 200
    assert noted.refused == []


# Every way is the same.

ALLOWED = [
    pytest.param(Case(request(), Reason.NO_ROUTE), id="a relayed answer"),
    pytest.param(Case(request(method=b"HEAD"), Reason.NO_ROUTE), id="to HEAD"),
    pytest.param(Case(request(method=b"POST", body=b"{}"), Reason.NO_ROUTE), id="a body"),
    pytest.param(Case(request(version=b"1.0"), Reason.NO_ROUTE), id="to HTTP/1.0"),
    pytest.param(Case(request(VERIFY), Reason.NO_ROUTE), id="of the token API"),
    pytest.param(Case(request(TOKENS), Reason.NO_ROUTE), id="which the audit is told of"),
]


async def transcript(way: Way, case: Case) -> tuple[object, ...]:
    """All that comes of a case one way, asked twice on one connection, but for ids and dates."""
    store, noted = Tokens(remembers=way is not Way.READ), Noted()
    store.hold(case.held)
    store.failure = StoreUnavailable("no") if case.away else None
    answering = Upstream(OK.removesuffix(b"hello")) if case.sent.startswith(b"HEAD") else Upstream()
    replies: list[object] = []
    async with forwarding(answering, kept=way is Way.AT_ONCE) as forwarder:
        behind = noting(noted, store, forwarder=forwarder, at_once=way is not Way.TASK)
        async with listening(behind) as opened:
            wire = await opened.connect()
            wire.send(case.sent * 2)
            try:
                while True:
                    replies.append(ids_aside(await wire.reply(to_head=case.sent.startswith(b"HEAD"))))
                    if len(replies) == 2:
                        wire.writer.write_eof()
            except asyncio.IncompleteReadError as end:
                replies.append(end.partial)
            await wire.close()
    lines = logged(noted.lines)
    for line in lines:
        assert line.pop("request_id")
        line["upstream"] = line["upstream"] is not None  # each has its own
    refused = [(msgspec.structs.replace(each, request_id=""), now) for each, now in noted.refused]
    seen = [
        (each.method, each.target, [field for field in each.fields if field[0] != b"X-Request-Id"], each.body)
        for each in answering.requests
    ]
    return replies, lines, noted.uses, refused, noted.log.counts, seen


@pytest.mark.parametrize("case", [*REFUSED, *ALLOWED])
async def test_each_way_says_sends_logs_counts_and_writes_down_the_same(case: Case) -> None:
    first, *others = [await transcript(way, case) for way in Way]
    assert others == [first] * len(others)
    assert first[0]

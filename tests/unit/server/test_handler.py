"""What becomes of a request. Each test goes every way there is (`wire.Way`), which give the same answer."""

import asyncio
import json
import re
import socket
import struct
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from functools import partial
from ipaddress import ip_network
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import pytest
from support.records import (
    CATALOG,
    EVERYTHING,
    NOW,
    TOKEN_ID,
    USER,
    ZONE_A,
    ZONE_B,
    owner,
    policy,
    secret_of,
    token,
    token_api_text,
    zone,
)
from unit.server.conftest import Hold, Knock, Meet, Open, Serve
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
    Listening,
    Met,
    Reply,
    Tokens,
    Upstream,
    Way,
    Wire,
    admission,
    check_refusal,
    door,
    forwarding,
    listening,
    request,
)
from unit.telemetry.captured import captured

from gateway.access.compiled import CompiledToken
from gateway.access.ports import Miss, StoreUnavailable
from gateway.app import policy_files
from gateway.catalog.catalog import load_catalog
from gateway.catalog.target import Target
from gateway.proxy.ports import ClientSide
from gateway.reason import Answer, Deny, Reason, succeed
from gateway.server.handler import Door, Handler
from gateway.server.ports import Refused
from gateway.telemetry.access_log import AccessLog
from gateway.tokens.condition import Address
from gateway.tokens.token import Status, Token

OTHER_ZONE = f"/client/v4/zones/{ZONE_B}/dns_records".encode()
VERIFY = b"/client/v4/user/tokens/verify"


def ids_aside(reply: Reply) -> tuple[object, ...]:
    fields = [(name, value) for name, value in reply.fields if name not in ("x-request-id", "date")]
    return reply.status, fields, reply.body


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
        Case(
            request(RECORDS, b"Transfer-Encoding: chunked", method=b"POST") + b"junk\r\n", Reason.BAD_REQUEST
        ),
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


async def test_an_upstream_that_is_not_there_is_a_refusal_too(
    knock: Knock, stack: AsyncExitStack, store: Tokens
) -> None:
    async with AsyncExitStack() as gone:
        proxy = await gone.enter_async_context(forwarding(Upstream(), kept=False))
    wire = await knock(door(store, forwarder=proxy))
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
async def test_a_body_over_256_kib_does_not(
    knock: Knock, all_rights: Tokens, framing: bytes, body: bytes
) -> None:
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

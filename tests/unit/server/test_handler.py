import asyncio
import re
from collections.abc import Awaitable, Callable
from ipaddress import ip_network
from typing import NamedTuple

import pytest
from support.records import CATALOG, EVERYTHING, NOW, TOKEN_ID, USER, ZONE_A, ZONE_B, secret_of, token
from support.store_contract import MemoryTokenStore
from unit.proxy.fakes import OK, FakeUpstream
from unit.server.wire import BEARER, FakeTokenApi, Reply, Wire, admission, door, listening
from unit.telemetry.captured import captured

from gateway.access.decision import Allow
from gateway.access.ports import StoreUnavailable
from gateway.access.principal import Record
from gateway.proxy.forward import Backend, ForwardedRequest, Proxy
from gateway.proxy.header_rules import UpRules
from gateway.proxy.ports import ClientConnection, UpstreamFailed
from gateway.reason import REFUSALS, Answer, Deny, Reason, succeed
from gateway.server.handler import Door, Handler
from gateway.server.ports import Refused
from gateway.tokens.secret import Sensitive
from gateway.tokens.token import Status, Token

Open = Callable[..., Awaitable[Wire]]

RECORDS = f"/client/v4/zones/{ZONE_A}/dns_records"
ROUTE = "GET /client/v4/zones/{zone_id}/dns_records"
HOST = b"Host: api.example\r\n"


def request(
    target: str = RECORDS, *fields: bytes, method: str = "GET", body: bytes = b"", authorized: bool = True
) -> bytes:
    """A request with our token's secret."""
    lines = [HOST, *([BEARER] if authorized else []), *(field + b"\r\n" for field in fields)]
    if body:
        lines.append(b"Content-Length: %d\r\n" % len(body))
    return f"{method} {target} HTTP/1.1\r\n".encode() + b"".join(lines) + b"\r\n" + body


def proxy_to(upstream: FakeUpstream) -> Proxy:
    rules = UpRules(
        host=b"api.internal",
        credential=(b"Authorization", Sensitive("Bearer the-upstream's-own")),
        credential_fields=frozenset({"authorization"}),
    )
    return Proxy({"cloudflare-dns": Backend(upstream=upstream, rules=rules, base_path=(b"v4",))})


def ids_aside(reply: Reply) -> tuple[object, ...]:
    fields = [(name, value) for name, value in reply.fields if name not in ("x-request-id", "date")]
    return reply.status, fields, reply.body


# Every refusal.


class Case(NamedTuple):
    """Which request, to which store and upstream, is refused for which reason."""

    sent: bytes
    reason: Reason
    held: Token = token()
    failure: UpstreamFailed | None = None
    away: bool = False
    fields: dict[str, str] = {}  # noqa: RUF012 - nobody changes it


CASES = [
    pytest.param(Case(request("//"), Reason.BAD_REQUEST), id="a bad path"),
    pytest.param(Case(request(RECORDS, b"Host: b"), Reason.BAD_REQUEST), id="two Hosts"),
    pytest.param(
        Case(request(authorized=False), Reason.MISSING_CREDENTIALS, fields={"www-authenticate": "Bearer"}),
        id="no credential",
    ),
    pytest.param(
        Case(request(RECORDS, b"Authorization: Basic x", authorized=False), Reason.MALFORMED_CREDENTIALS),
        id="another scheme",
    ),
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
        Case(
            request(f"/client/v4/zones/{ZONE_B}/dns_records"),
            Reason.FORBIDDEN,
            fields={"x-accepted-permissions": "DNS Read, DNS Write"},
        ),
        id="another zone",
    ),
    pytest.param(Case(request("/client/v4/nowhere"), Reason.NO_ROUTE), id="no route"),
    pytest.param(
        Case(request(method="DELETE"), Reason.METHOD_NOT_ALLOWED, fields={"allow": "GET, HEAD, POST"}),
        id="no such method",
    ),
    pytest.param(
        Case(request(RECORDS, b"Content-Length: 100001", method="POST"), Reason.BODY_TOO_LARGE), id="too large a body"
    ),
    pytest.param(Case(request(RECORDS, *[b"X: x"] * 127), Reason.HEAD_TOO_LARGE), id="129 fields"),
    pytest.param(
        Case(request(RECORDS, b"Transfer-Encoding: gzip, chunked", method="POST"), Reason.UNSUPPORTED_FRAMING),
        id="another coding",
    ),
    pytest.param(Case(request(), Reason.STORE_UNAVAILABLE, away=True), id="the store is away"),
]


def check_refusal(reply: Reply, reason: Reason) -> None:
    """What every refusal has."""
    row = REFUSALS[reason]
    envelope = reply.envelope
    assert (reply.status, reply.code) == (row.status, row.code)
    assert set(envelope) == {"success", "errors", "messages", "result"}
    assert (envelope["success"], envelope["result"]) == (False, None)
    assert reply.field("content-type") == "application/json"
    assert reply.field("cache-control") == "no-store"
    assert reply.field("content-length") == str(len(reply.body))
    assert re.fullmatch(r"[0-9a-f]{32}", reply.field("x-request-id"))
    assert reply.values("www-authenticate") == ["Bearer"] * (row.status == 401)
    assert reply.values("server") == []


@pytest.mark.parametrize("case", CASES)
async def test_a_refusal_is_the_envelope_and_the_upstream_sees_nothing(knock: Open, case: Case) -> None:
    store, upstream = MemoryTokenStore().hold(case.held), FakeUpstream()
    store.failure = StoreUnavailable("redis://user:password@store") if case.away else None
    wire = await knock(door(store, forwarder=proxy_to(upstream)))
    reply = await wire.ask(case.sent)
    check_refusal(reply, case.reason)
    assert {name: reply.field(name) for name in case.fields} == case.fields
    assert upstream.requests == []
    assert b"password" not in reply.body


@pytest.mark.parametrize(
    ("failure", "reason"),
    [
        pytest.param(UpstreamFailed("no"), Reason.UPSTREAM_UNREACHABLE, id="not there"),
        pytest.param(UpstreamFailed("late", timeout=True), Reason.UPSTREAM_TIMEOUT, id="too slow"),
    ],
)
async def test_an_upstream_that_fails_is_a_refusal_too(
    knock: Open, store: MemoryTokenStore, failure: UpstreamFailed, reason: Reason
) -> None:
    wire = await knock(door(store, forwarder=proxy_to(FakeUpstream(failure=failure))))
    check_refusal(await wire.ask(request()), reason)


async def test_the_path_is_told_and_nothing_else_that_was_sent(knock: Open, store: MemoryTokenStore) -> None:
    wire = await knock(door(store))
    reply = await wire.ask(request("/client/v4/nowhere?query=hush", b"X-Note: hush", method="POST", body=b"hush"))
    (error,) = reply.envelope["errors"]
    assert error["message"] == "Could not route to /client/v4/nowhere, perhaps your object identifier is invalid?"
    assert b"hush" not in reply.body


async def test_a_malformed_credential_has_cloudflare_s_chain(knock: Open, store: MemoryTokenStore) -> None:
    wire = await knock(door(store))
    reply = await wire.ask(request(RECORDS, b"Authorization: Bearer junk", authorized=False))
    (error,) = reply.envelope["errors"]
    assert error["error_chain"] == [{"code": 6111, "message": "Invalid format for Authorization header"}]


async def test_an_unknown_token_and_a_wrong_secret_look_alike(knock: Open, store: MemoryTokenStore) -> None:
    """Nobody learns which ids exist."""
    wire = await knock(door(store))
    wrong, unknown = [
        await wire.ask(request(RECORDS, b"Authorization: Bearer " + secret.reveal().encode(), authorized=False))
        for secret in (secret_of(fill=8), secret_of("0" * 32))
    ]
    assert ids_aside(wrong) == ids_aside(unknown)
    assert wrong.status == 401


@pytest.mark.parametrize("method", ["GET", "POST", "OPTIONS"])
async def test_without_a_credential_every_path_gives_the_same_answer(
    knock: Open, store: MemoryTokenStore, method: str
) -> None:
    """Nobody learns which routes and zones exist."""
    wire = await knock(door(store))
    targets = ["/", RECORDS, "/client/v4/nowhere", "/client/v4/user/tokens/verify", "/healthz"]
    replies = [await wire.ask(request(target, method=method, authorized=False)) for target in targets]
    assert {str(ids_aside(reply)) for reply in replies} == {str(ids_aside(replies[0]))}
    assert replies[0].status == 401


async def test_a_refusal_to_head_has_the_length_of_a_body_that_does_not_come(
    knock: Open, store: MemoryTokenStore
) -> None:
    wire = await knock(door(store))
    to_get = await wire.ask(request("/client/v4/nowhere"))
    to_head = await wire.ask(request("/client/v4/nowhere", method="HEAD"), to_head=True)
    assert (to_head.status, to_head.field("content-length")) == (404, to_get.field("content-length"))
    assert (await wire.ask(request("/client/v4/nowhere"))).status == 404


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
    knock: Open,
    store: MemoryTokenStore,
    sent: list[bytes],
    kept: bool,  # noqa: FBT001 - a case's data
) -> None:
    upstream = FakeUpstream()
    wire = await knock(door(store, forwarder=proxy_to(upstream)))
    for target in (RECORDS, "/client/v4/nowhere"):
        reply = await wire.ask(request(target, *sent))
        assert (reply.field("x-request-id") == "my-request-1") is kept
    (seen,) = upstream.requests
    assert (dict(seen.fields)[b"X-Request-Id"] == b"my-request-1") is kept


# What passes.


async def test_an_allowed_request_is_forwarded_and_its_answer_relayed(knock: Open, store: MemoryTokenStore) -> None:
    upstream = FakeUpstream(OK, [b"he", b"llo"])
    wire = await knock(door(store, forwarder=proxy_to(upstream)))
    reply = await wire.ask(request(RECORDS + "?per_page=5", b"Accept: text/plain", method="POST", body=b"{}"))
    assert (reply.status, reply.body, reply.field("content-type")) == (200, b"hello", "text/plain")
    (seen,) = upstream.requests
    assert (seen.method, seen.target) == ("POST", f"/v4/zones/{ZONE_A}/dns_records?per_page=5".encode())
    fields = dict(seen.fields)
    assert (fields[b"Accept"], fields[b"Host"]) == (b"text/plain", b"api.internal")
    assert (fields[b"X-Token-Id"], fields[b"X-Forwarded-Host"]) == (TOKEN_ID.encode(), b"api.example")
    assert (fields[b"X-Forwarded-For"], fields[b"X-Forwarded-Proto"]) == (b"127.0.0.1", b"http")
    assert upstream.bodies == [b"{}"]


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
    knock: Open, trusted: list[str], sent: list[bytes], status: int
) -> None:
    store, upstream = MemoryTokenStore().hold(token(request_ip=["192.0.2.0/24"])), FakeUpstream()
    networks = tuple(ip_network(text) for text in trusted)
    wire = await knock(door(store, forwarder=proxy_to(upstream), trusted_proxies=networks))
    assert (await wire.ask(request(RECORDS, *sent))).status == status
    assert len(upstream.requests) == (status == 200)


async def test_an_absolute_form_s_host_is_what_the_upstream_hears(knock: Open, store: MemoryTokenStore) -> None:
    upstream = FakeUpstream()
    wire = await knock(door(store, forwarder=proxy_to(upstream)))
    assert (await wire.ask(request("http://other.example:81" + RECORDS))).status == 200
    assert dict(upstream.requests[0].fields)[b"X-Forwarded-Host"] == b"other.example:81"


async def test_a_route_that_is_forwarded_is_not_served_without_a_way_there(
    knock: Open, store: MemoryTokenStore
) -> None:
    wire = await knock(door(store))
    check_refusal(await wire.ask(request()), Reason.INTERNAL_ERROR)


# The token API.


@pytest.fixture
def all_rights() -> MemoryTokenStore:
    return MemoryTokenStore().hold(token(EVERYTHING))


async def test_a_call_of_the_token_api_gets_all_that_it_needs(knock: Open, all_rights: MemoryTokenStore) -> None:
    api = FakeTokenApi(succeed({"id": "x"}, fields=[("ETag", '"t"')]))
    wire = await knock(door(all_rights, token_api=api))
    reply = await wire.ask(
        request(
            "/client/v4/user/tokens?page=2",
            b'If-Match: "a"',
            b'If-Match: "b"',
            b"X-Request-Id: my-request-1",
            method="POST",
            body=b'{"name": 1}',
        )
    )
    assert (reply.status, reply.field("etag"), reply.envelope["result"]) == (200, '"t"', {"id": "x"})
    ((allow, call),) = api.calls
    assert (allow.route.operation, allow.principal.token.id) == ("create", TOKEN_ID)
    assert (call.query, call.body, call.if_match) == (b"page=2", b'{"name": 1}', (b'"a"', b'"b"'))
    assert (call.address, call.request_id) == ("127.0.0.1", "my-request-1")


async def test_a_refusal_of_the_token_api_is_told(knock: Open, all_rights: MemoryTokenStore) -> None:
    api = FakeTokenApi(Deny(reason=Reason.STORE_UNAVAILABLE, outcome_unknown=True))
    wire = await knock(door(all_rights, token_api=api))
    reply = await wire.ask(request("/client/v4/user/tokens", method="POST", body=b"{}"))
    check_refusal(reply, Reason.STORE_UNAVAILABLE)
    assert reply.field("x-should-retry") == "false"


LARGEST = 256 * 1024


async def test_a_body_of_256_kib_reaches_the_token_api(knock: Open, all_rights: MemoryTokenStore) -> None:
    api = FakeTokenApi()
    wire = await knock(door(all_rights, token_api=api, max_body=0))
    assert (await wire.ask(request("/client/v4/user/tokens", method="POST", body=b"x" * LARGEST))).status == 200
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
    knock: Open, all_rights: MemoryTokenStore, framing: bytes, body: bytes
) -> None:
    api = FakeTokenApi()
    wire = await knock(door(all_rights, token_api=api, max_body=0))
    reply = await wire.ask(request("/client/v4/user/tokens", framing, method="POST") + body)
    check_refusal(reply, Reason.BODY_TOO_LARGE)
    assert "262144" in reply.envelope["errors"][0]["message"]
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


def admin_door(store: MemoryTokenStore, *hosts: str) -> Door:
    return door(
        store,
        admission=admission(store, table=CATALOG.admin),
        pages=FakePages(),
        allowed_hosts=frozenset(hosts),
    )


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
    knock: Open, store: MemoryTokenStore, host: bytes
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
async def test_any_other_host_is_refused_whatever_it_asks_for(
    knock: Open, store: MemoryTokenStore, host: bytes
) -> None:
    """A page that a browser was lured to has a name: DNS rebinding."""
    wire = await knock(admin_door(store, "gate.example"))
    for target in (b"/page", b"/client/v4/user/tokens", b"http://localhost.evil.example/page"):
        check_refusal(await wire.ask(page_for(host, target)), Reason.BAD_REQUEST)


async def test_the_host_that_counts_is_the_absolute_form_s(knock: Open, store: MemoryTokenStore) -> None:
    wire = await knock(admin_door(store))
    assert (await wire.ask(page_for(b"evil.example", b"http://localhost/page"))).status == 200
    assert (await wire.ask(page_for(b"localhost", b"http://evil.example/page"))).status == 400


async def test_a_page_needs_no_token_and_everything_else_does(knock: Open, store: MemoryTokenStore) -> None:
    wire = await knock(admin_door(store))
    assert (await wire.ask(page_for(b"localhost"))).status == 200
    check_refusal(await wire.ask(page_for(b"localhost", b"/client/v4/user/tokens")), Reason.MISSING_CREDENTIALS)
    check_refusal(await wire.ask(page_for(b"localhost", b"/pages")), Reason.MISSING_CREDENTIALS)


async def test_a_page_may_refuse(knock: Open, store: MemoryTokenStore) -> None:
    wire = await knock(admin_door(store))
    reply = await wire.ask(b"DELETE /page HTTP/1.1\r\nHost: localhost\r\n\r\n")
    check_refusal(reply, Reason.METHOD_NOT_ALLOWED)
    assert reply.field("allow") == "GET"


async def test_the_public_door_answers_any_host(knock: Open, store: MemoryTokenStore) -> None:
    wire = await knock(door(store, forwarder=proxy_to(FakeUpstream())))
    assert (await wire.ask(request().replace(HOST, b"Host: anything.example\r\n"))).status == 200


async def test_the_door_for_probes_has_its_pages_and_nothing_else(knock: Open, store: MemoryTokenStore) -> None:
    wire = await knock(door(admission=None, pages=FakePages()))
    assert (await wire.ask(page_for(b"anything"))).status == 200
    for target in ("/client/v4/user/tokens/verify", RECORDS, "/pages"):
        check_refusal(await wire.ask(request(target)), Reason.NO_ROUTE)
    assert store.reads == 0


# What nobody expected.


class BrokenForwarder:
    """A `Forwarder` with a bug, before or after the answer has begun."""

    def __init__(self, *, begun: bool) -> None:
        self._begun = begun

    async def forward(self, allow: Allow, request: ForwardedRequest, connection: ClientConnection) -> Deny | None:  # noqa: ARG002
        if self._begun:
            await connection.start(OK)
        raise ZeroDivisionError("hush")


class BrokenStore(MemoryTokenStore):
    """A store with a bug."""

    async def get(self, token_id: str) -> Record | None:  # noqa: ARG002
        raise ZeroDivisionError("hush")


@pytest.mark.parametrize(
    "broken",
    [
        pytest.param({"store": BrokenStore()}, id="in the store"),
        pytest.param({"forwarder": BrokenForwarder(begun=False)}, id="in the forwarder"),
        pytest.param({"token_api": FakeTokenApi(ZeroDivisionError("hush"))}, id="in the token API"),
    ],
)
async def test_a_bug_is_a_503_without_a_word_of_it_and_a_line_in_the_log(
    knock: Open, broken: dict[str, object]
) -> None:
    store = broken.pop("store", None) or MemoryTokenStore().hold(token(EVERYTHING))
    target = "/client/v4/user/tokens" if "token_api" in broken else RECORDS
    with captured() as logs:
        wire = await knock(door(store, **broken))  # type: ignore[arg-type]
        reply = await wire.ask(request(target))
        assert await wire.rest() == b""
    check_refusal(reply, Reason.INTERNAL_ERROR)
    assert b"hush" not in reply.body
    assert b"ZeroDivision" not in reply.body
    assert reply.field("connection") == "close"
    (failed,) = [line for line in logs if line["event"] == "request failed"]
    assert failed["request_id"] == reply.field("x-request-id")
    assert failed["exc_info"]


async def test_a_bug_in_the_middle_of_an_answer_breaks_it_off(knock: Open, store: MemoryTokenStore) -> None:
    wire = await knock(door(store, forwarder=BrokenForwarder(begun=True)))
    wire.send(request())
    with captured(), pytest.raises((asyncio.IncompleteReadError, ConnectionResetError)):
        await wire.reply()


# Draining.


def nobody() -> bool:
    """No connection is left, as far as a handler is told."""
    return False


class Promising:
    """A forwarder whose answer begins, and ends when `finish` is set."""

    def __init__(self) -> None:
        self.begun, self.finish = asyncio.Event(), asyncio.Event()

    async def forward(self, _: Allow, __: ForwardedRequest, connection: ClientConnection) -> None:
        await connection.start(OK)
        self.begun.set()
        await self.finish.wait()
        await connection.write(b"hello")
        await connection.finish()


async def test_whoever_was_promised_that_his_connection_is_kept_may_ask_once_more_while_it_drains(
    store: MemoryTokenStore,
) -> None:
    """He may have sent it before he could know: a connection that closes then is an error to him."""
    forwarder, gone = Promising(), asyncio.Event()
    handler = Handler(door(store, forwarder=forwarder))
    async with listening(handler) as port:
        wire = Wire(*await asyncio.open_connection("127.0.0.1", port))
        wire.send(request())
        await forwarder.begun.wait()
        async with asyncio.TaskGroup() as tasks:
            drained = tasks.create_task(handler.drain(20, lambda: not gone.is_set()))
            await asyncio.sleep(0)
            forwarder.finish.set()
            assert (await wire.reply()).values("connection") == []
            last = await wire.ask(request("/client/v4/nowhere"))
            assert (last.status, last.field("connection")) == (404, "close")
            assert not drained.done()
            gone.set()
        await wire.close()


async def test_draining_waits_for_connections_that_are_silent_only_for_a_moment(store: MemoryTokenStore) -> None:
    handler = Handler(door(store))
    async with asyncio.timeout(10):
        await handler.drain(3600, lambda: True)


async def test_draining_waits_for_what_is_under_way_and_each_answer_is_its_connection_s_last(
    store: MemoryTokenStore,
) -> None:
    finish = asyncio.Event()
    upstream = FakeUpstream(waits_for=finish)
    handler = Handler(door(store, forwarder=proxy_to(upstream)))
    async with listening(handler) as port:
        busy = Wire(*await asyncio.open_connection("127.0.0.1", port))
        idle = Wire(*await asyncio.open_connection("127.0.0.1", port))
        busy.send(request())
        await upstream.begun.wait()
        async with asyncio.TaskGroup() as tasks:
            drained = tasks.create_task(handler.drain(20, nobody))
            refused = await idle.ask(request("/client/v4/nowhere"))
            assert (refused.status, refused.field("connection")) == (404, "close")
            assert not drained.done()
            finish.set()
        assert (await busy.reply()).status == 200
        await busy.close()
        await idle.close()


async def test_draining_does_not_wait_for_longer_than_it_may(store: MemoryTokenStore) -> None:
    upstream = FakeUpstream(waits_for=asyncio.Event())
    handler = Handler(door(store, forwarder=proxy_to(upstream)))
    async with listening(handler) as port:
        busy = Wire(*await asyncio.open_connection("127.0.0.1", port))
        busy.send(request())
        await upstream.begun.wait()
        await handler.drain(0.01, nobody)
        assert not upstream.over.is_set()
    assert upstream.over.is_set()
    await busy.close()


async def test_draining_an_idle_handler_is_done_at_once(store: MemoryTokenStore) -> None:
    handler = Handler(door(store))
    await handler.drain(20, nobody)
    async with listening(handler) as port:
        wire = Wire(*await asyncio.open_connection("127.0.0.1", port))
        assert (await wire.ask(request(authorized=False))).field("connection") == "close"
        await wire.close()


# The log.


async def test_each_request_is_one_line_of_the_access_log(knock: Open, store: MemoryTokenStore) -> None:
    wire = await knock(door(store, forwarder=proxy_to(FakeUpstream())))
    with captured() as logs:
        passed = await wire.ask(request(RECORDS + "?hush"))
        refused = await wire.ask(request("/client/v4/nowhere?hush", method="POST", body=b"hush"))
        malformed = await wire.ask(request("//hush?hush"))
    lines = [line for line in logs if line["event"] == "request"]
    for line in lines:
        assert line.pop("milliseconds") >= 0
        assert line.pop("log_level") == "info"
    assert lines == [
        {
            "event": "request",
            "request_id": passed.field("x-request-id"),
            "method": "GET",
            "path": RECORDS,
            "api": "cloudflare-dns",
            "route": ROUTE,
            "token": TOKEN_ID,
            "reason": None,
            "address": "127.0.0.1",
            "status": 200,
        },
        {
            "event": "request",
            "request_id": refused.field("x-request-id"),
            "method": "POST",
            "path": "/client/v4/nowhere",
            "api": None,
            "route": None,
            "token": TOKEN_ID,
            "reason": Reason.NO_ROUTE,
            "address": "127.0.0.1",
            "status": 404,
        },
        {
            "event": "request",
            "request_id": malformed.field("x-request-id"),
            "method": "GET",
            "path": None,
            "api": None,
            "route": None,
            "token": None,
            "reason": Reason.BAD_REQUEST,
            "address": None,
            "status": 400,
        },
    ]


@pytest.mark.parametrize(
    ("sent", "reason", "status"),
    [
        pytest.param(request(RECORDS, b"Host: b"), Reason.BAD_REQUEST, 400, id="that no parser reads"),
        pytest.param(
            request("/client/v4/nowhere", b"Content-Length: 9", method="POST"),
            Reason.NO_ROUTE,
            404,
            id="whose body never comes",
        ),
    ],
)
async def test_a_refused_request_is_in_the_log_even_when_its_client_leaves_at_once(
    store: MemoryTokenStore, sent: bytes, reason: Reason, status: int
) -> None:
    with captured() as logs:
        async with listening(Handler(door(store))) as port:
            wire = Wire(*await asyncio.open_connection("127.0.0.1", port))
            assert (await wire.ask(sent)).status == status
            await wire.close()
    lines = [line for line in logs if line["event"] == "request"]
    assert [(line["reason"], line["status"]) for line in lines] == [(reason, status)]


async def test_a_forwarded_change_is_in_the_log_even_when_its_client_does_not_wait_for_the_answer(
    store: MemoryTokenStore,
) -> None:
    upstream = FakeUpstream(waits_for=asyncio.Event())
    with captured() as logs:
        async with listening(Handler(door(store, forwarder=proxy_to(upstream)))) as port:
            wire = Wire(*await asyncio.open_connection("127.0.0.1", port))
            wire.send(request(method="POST", body=b"{}"))
            await upstream.begun.wait()
            await wire.close()
            await upstream.over.wait()
    lines = [line for line in logs if line["event"] == "request"]
    assert [(line["method"], line["path"], line["token"]) for line in lines] == [("POST", RECORDS, TOKEN_ID)]


# What tokens are used for, and what the token API was asked in vain.


class Noted:
    """A `UseCounter` and a `RefusedCalls` that remember. `answered`: says what the client has been told so far."""

    def __init__(self, answered: Callable[[], int] = lambda: 0) -> None:
        self.uses: list[tuple[str, str, str, str, float]] = []
        self.refused: list[tuple[Refused, float]] = []
        self.answered: list[int] = []
        self._answered = answered

    def count(self, token_id: str, route: str, result: str, address: str, now: float) -> None:
        self.uses.append((token_id, route, result, address, now))

    async def write(self, refused: Refused, now: float) -> None:
        self.answered.append(self._answered())
        self.refused.append((refused, now))


def noting(noted: Noted, store: MemoryTokenStore, **parts: object) -> Door:
    return door(store, uses=noted, refused_calls=noted, clock=lambda: NOW, **parts)


@pytest.mark.parametrize(
    ("sent", "held", "parts", "route", "result"),
    [
        pytest.param(request(), token(), {}, ROUTE, "allowed", id="allowed"),
        pytest.param(request(method="HEAD"), token(), {}, ROUTE, "allowed", id="a GET route's HEAD"),
        pytest.param(
            request("/client/v4/user/tokens/verify"),
            token(),
            {},
            "GET /client/v4/user/tokens/verify",
            "allowed",
            id="of the token API",
        ),
        pytest.param(
            request("/client/v4/user/tokens/verify"),
            token(),
            {"token_api": FakeTokenApi(Deny(reason=Reason.NOT_FOUND))},
            "GET /client/v4/user/tokens/verify",
            "not_found",
            id="that the token API refused",
        ),
        pytest.param(
            request(f"/client/v4/zones/{ZONE_B}/dns_records"), token(), {}, ROUTE, "forbidden", id="another zone"
        ),
        pytest.param(request(), token(status=Status.DISABLED), {}, ROUTE, "token_disabled", id="a disabled token"),
        pytest.param(request("/client/v4/nowhere"), token(), {}, "", "no_route", id="no route"),
        pytest.param(
            request(),
            token(),
            {"forwarder": proxy_to(FakeUpstream(failure=UpstreamFailed("no")))},
            ROUTE,
            "upstream_unreachable",
            id="that the upstream did not answer",
        ),
        pytest.param(
            request(),
            token(),
            {"forwarder": BrokenForwarder(begun=False)},
            ROUTE,
            "internal_error",
            id="at which we failed",
        ),
    ],
)
async def test_a_request_is_counted_once_for_the_token_that_proved_itself(
    sent: bytes, held: Token, parts: dict[str, object], route: str, result: str
) -> None:
    noted = Noted()
    with captured():
        async with listening(
            Handler(noting(noted, MemoryTokenStore().hold(held), **{"forwarder": proxy_to(FakeUpstream())} | parts))
        ) as port:
            wire = Wire(*await asyncio.open_connection("127.0.0.1", port))
            await wire.ask(sent, to_head=sent.startswith(b"HEAD"))
            await wire.close()
    assert noted.uses == [(TOKEN_ID, route, result, "127.0.0.1", NOW)]


ANONYMOUS = [
    pytest.param(request(authorized=False), [], id="no credential"),
    pytest.param(request(RECORDS, b"Authorization: Bearer junk", authorized=False), [], id="junk"),
    pytest.param(request(), [], id="an unknown token"),
    pytest.param(request(), [token(digests=())], id="a wrong secret"),
    pytest.param(request("//"), [token()], id="a bad path"),
    pytest.param(request(RECORDS, b"Host: b"), [token()], id="what no parser reads"),
]


@pytest.mark.parametrize(("sent", "held"), ANONYMOUS)
async def test_who_proved_nothing_bends_no_number_and_writes_nothing_down(
    knock: Open, sent: bytes, held: list[Token]
) -> None:
    noted = Noted()
    wire = await knock(noting(noted, MemoryTokenStore().hold(*held)))
    assert (await wire.ask(sent.replace(RECORDS.encode(), b"/client/v4/user/tokens"))).status >= 400
    assert (noted.uses, noted.refused) == ([], [])


@pytest.mark.parametrize(
    ("sent", "parts", "reason"),
    [
        pytest.param(request("/client/v4/user/tokens"), {}, Reason.FORBIDDEN, id="a right that it lacks"),
        pytest.param(request("/client/v4/nowhere"), {}, Reason.NO_ROUTE, id="no route"),
        pytest.param(
            request("/client/v4/user/tokens/verify"),
            {"token_api": FakeTokenApi(Deny(reason=Reason.NOT_FOUND))},
            Reason.NOT_FOUND,
            id="by the token API",
        ),
        pytest.param(
            request(RECORDS, b"Content-Length: 100001", method="POST"), {}, Reason.BODY_TOO_LARGE, id="a large body"
        ),
    ],
)
async def test_a_refusal_to_a_proved_token_is_handed_to_the_audit_before_it_is_answered(
    knock: Open, store: MemoryTokenStore, sent: bytes, parts: dict[str, object], reason: Reason
) -> None:
    answers: list[Reply] = []
    noted = Noted(lambda: len(answers))
    wire = await knock(noting(noted, store, **{"forwarder": proxy_to(FakeUpstream())} | parts))
    answers.append(await wire.ask(sent.replace(b"\r\n", b"\r\nX-Request-Id: my-request-1\r\n", 1)))
    assert noted.answered == [0]
    ((refused, now),) = noted.refused
    assert (refused.deny.reason, refused.token_id, refused.owner) == (reason, TOKEN_ID, f"user:{USER}")
    assert (refused.address, refused.request_id, now) == ("127.0.0.1", "my-request-1", NOW)
    assert f"{refused.method} {refused.target.path.decode()} ".encode() in sent


async def test_what_was_allowed_is_not_written_down(knock: Open, store: MemoryTokenStore) -> None:
    noted = Noted()
    wire = await knock(noting(noted, store, forwarder=proxy_to(FakeUpstream())))
    assert (await wire.ask(request())).status == 200
    assert (await wire.ask(request("/client/v4/user/tokens/verify"))).status == 200
    assert noted.refused == []

"""Requests that turn on a fact, and lists: what comes of them through a listener, whichever way they go."""

import asyncio
import json
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from support.records import ACCOUNT_A, ACCOUNT_B, TOKEN_ID, ZONE_A, ZONE_B, account, policy, token, zone
from support.zone_accounts import MemoryAccounts
from unit.server.conftest import Hold, Knock, Serve
from unit.server.test_handler import logged
from unit.server.wire import (
    OK,
    RECORDS,
    Meet,
    Reply,
    Seen,
    Tokens,
    Upstream,
    Wire,
    check_refusal,
    door,
    listening,
    request,
)
from unit.telemetry.captured import captured

from gateway.access.decision import LARGEST_BODY
from gateway.access.question import Unknown
from gateway.proxy.ask import Ask
from gateway.proxy.forward import Proxy
from gateway.proxy.listing import Lists, Passed
from gateway.proxy.room import Room
from gateway.reason import Reason
from gateway.telemetry.access_log import AccessLog

ZONES = b"/client/v4/zones"
ON_ACCOUNT = token([policy(["DNS Write", "Zone Write"], {account(ACCOUNT_A): {zone("*"): "*"}})])
ON_ZONE_A = token([policy(["Zone Read"], [zone(ZONE_A)])])
BODY = json.dumps({"name": "x.example", "account": {"id": ACCOUNT_A}}).encode()
ELSEWHERE = BODY.replace(ACCOUNT_A.encode(), ACCOUNT_B.encode())
BOTH = {"success": True, "result": [{"id": ZONE_A}, {"id": ZONE_B}]}


def answered(body: Any, status: int = 200) -> bytes:
    text = json.dumps(body).encode()
    head = b"HTTP/1.1 %d Fine\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n" % (status, len(text))
    return head + text


def of_pages(seen: Seen) -> bytes:
    """An upstream with two zones, and no third."""
    return answered(BOTH if b"page=1&" in seen.target else {"result": []})


@pytest.fixture
def upstream() -> Upstream:
    return Upstream()


@pytest.fixture
async def wire(knock: Knock, hold: Hold, serve: Serve, upstream: Upstream) -> Wire:
    """A connection to a door before `upstream`, for a token on the zones of an account."""
    accounts = MemoryAccounts({ZONE_A: ACCOUNT_A, ZONE_B: ACCOUNT_B})
    return await knock(door(hold(ON_ACCOUNT), forwarder=await serve(upstream), accounts=accounts, max_body=0))


# The account of a zone.


async def test_an_account_is_looked_up_and_the_request_forwarded(wire: Wire, upstream: Upstream) -> None:
    assert (await wire.ask(request())).body == b"hello"
    check_refusal(await wire.ask(request(RECORDS.replace(ZONE_A.encode(), ZONE_B.encode()))), Reason.FORBIDDEN)
    assert (await wire.ask(request(RECORDS, method=b"POST", body=b"{}"))).status == 200
    assert [(seen.method, seen.target) for seen in upstream.requests] == [
        (method, b"/v4/zones/%b/dns_records" % ZONE_A.encode()) for method in (b"GET", b"POST")
    ]


async def test_that_nobody_can_be_asked_is_a_502(knock: Knock, hold: Hold, serve: Serve, upstream: Upstream) -> None:
    accounts = MemoryAccounts({ZONE_A: Unknown.UNREACHABLE})
    wire = await knock(door(hold(ON_ACCOUNT), forwarder=await serve(upstream), accounts=accounts))
    check_refusal(await wire.ask(request()), Reason.UPSTREAM_UNREACHABLE)
    assert not upstream.requests


# The body.


def chunked(body: bytes) -> bytes:
    return b"".join(b"%x\r\n%b\r\n" % (len(part), part) for part in (body[:7], body[7:])) + b"0\r\n\r\n"


def posted(*fields: bytes, body: bytes = b"") -> bytes:
    return request(ZONES, *fields, method=b"POST") + body


SENT = [
    pytest.param(posted(b"Content-Length: %d" % len(BODY), body=BODY), id="with its length"),
    pytest.param(posted(b"Transfer-Encoding: chunked", body=chunked(BODY)), id="in chunks"),
    pytest.param(
        posted(b"Content-Length: %d" % len(BODY), b"Expect: 100-continue", body=BODY), id="without waiting for a 100"
    ),
]


@pytest.mark.parametrize("sent", SENT)
@pytest.mark.parametrize("size", [1, 1000], ids=["byte by byte", "at once"])
async def test_the_very_bytes_that_were_judged_go_up(wire: Wire, upstream: Upstream, sent: bytes, size: int) -> None:
    for start in range(0, len(sent), size):
        wire.send(sent[start : start + size])
        await asyncio.sleep(0)
    reply = await wire.reply()
    while reply.status == 100:
        reply = await wire.reply()
    assert reply.body == b"hello"
    (seen,) = upstream.requests
    assert seen.body == BODY
    assert seen.values(b"content-length") == [str(len(BODY)).encode()]
    assert seen.values(b"expect") == seen.values(b"transfer-encoding") == []
    assert (await wire.ask(request())).body == b"hello", "the connection goes on"


async def test_who_waits_for_a_100_gets_it_from_us(wire: Wire, upstream: Upstream) -> None:
    wire.send(posted(b"Content-Length: %d" % len(BODY), b"Expect: 100-continue"))
    assert (await wire.reply()).status == 100
    assert not upstream.requests
    assert (await wire.ask(BODY)).body == b"hello"
    assert upstream.bodies == [BODY]


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        pytest.param(ELSEWHERE, Reason.FORBIDDEN, id="another account"),
        pytest.param(b"{}", Reason.FORBIDDEN, id="none"),
        pytest.param(b"", Reason.FORBIDDEN, id="no body"),
        pytest.param(b"{", Reason.INVALID_BODY, id="no JSON"),
    ],
)
async def test_of_a_body_that_names_anything_else_the_upstream_sees_nothing(
    wire: Wire, upstream: Upstream, body: bytes, reason: Reason
) -> None:
    check_refusal(await wire.ask(request(ZONES, method=b"POST", body=body)), reason)
    assert not upstream.requests
    assert (await wire.ask(request())).body == b"hello", "the connection goes on"


LONG = BODY + b" " * (LARGEST_BODY - len(BODY))


@pytest.mark.parametrize("more", [0, 1])
@pytest.mark.parametrize("framing", ["length", "chunks"])
async def test_a_body_of_at_most_a_mebibyte_is_judged(wire: Wire, upstream: Upstream, framing: str, more: int) -> None:
    body = LONG + b" " * more
    if framing == "length":
        sent = posted(b"Content-Length: %d" % len(body), body=body)
    else:
        sent = posted(b"Transfer-Encoding: chunked", body=chunked(body))
    reply = await wire.ask(sent)
    if more:
        check_refusal(reply, Reason.BODY_TOO_LARGE)
    assert [len(each) for each in upstream.bodies] == ([] if more else [LARGEST_BODY])


async def test_one_that_says_that_it_is_longer_is_not_even_let_go_on(wire: Wire, upstream: Upstream) -> None:
    reply = await wire.ask(posted(b"Content-Length: %d" % (LARGEST_BODY + 1), b"Expect: 100-continue"))
    check_refusal(reply, Reason.BODY_TOO_LARGE)
    assert reply.field("connection") == "close"
    assert not upstream.requests


async def test_one_that_is_framed_badly_is_none(wire: Wire, upstream: Upstream) -> None:
    check_refusal(await wire.ask(posted(b"Transfer-Encoding: chunked", body=b"x\r\n")), Reason.BAD_REQUEST)
    assert not upstream.requests


async def test_who_leaves_while_his_body_comes_leaves_nothing(hold: Hold, serve: Serve, upstream: Upstream) -> None:
    async with listening(door(hold(ON_ACCOUNT), forwarder=await serve(upstream))) as at:
        wire = await at.connect()
        wire.send(posted(b"Content-Length: %d" % len(BODY), b"Expect: 100-continue"))
        assert (await wire.reply()).status == 100
        await wire.close()
        async with asyncio.timeout(10):
            await at.handler.server.emptied()
    assert not upstream.requests


async def test_what_was_allowed_by_its_body_is_not_cut_off(meet: Meet) -> None:
    store = Tokens()
    store.hold(ON_ACCOUNT)
    met = meet(store=store)
    met.transport.deliver(request(ZONES, method=b"POST", body=BODY))
    while not met.forwarder.relays:  # noqa: ASYNC110 - a few turns of the loop
        await asyncio.sleep(0)
    exchange = met.connection.exchange
    assert exchange is not None
    assert met.forwarder.last.body == exchange.body == BODY
    assert await met.handler._why_not_any_more(exchange) is None
    store.hold(token([policy(["Zone Write"], {account(ACCOUNT_B): {zone("*"): "*"}})]))
    why_not = await met.handler._why_not_any_more(exchange)
    assert why_not is not None
    assert why_not.reason is Reason.FORBIDDEN
    met.forwarder.last.answer()


# Lists.


def lists(proxy: Proxy) -> Lists:
    return Lists(Ask(proxy._backends, seconds=20), MemoryAccounts())


Ways = Callable[..., Awaitable[Wire]]


@pytest.fixture
def listed(knock: Knock, hold: Hold, serve: Serve) -> Ways:
    """`await listed(upstream, ...)`: a connection to a door before it, for a token that may see ZONE_A alone."""

    async def listed(upstream: Upstream, **parts: Any) -> Wire:
        proxy = await serve(upstream)
        return await knock(door(hold(ON_ZONE_A), forwarder=proxy, lists=lists(proxy), **parts))

    return listed


async def test_a_list_is_cut_down_and_the_connection_goes_on(listed: Ways) -> None:
    wire = await listed(Upstream(by=of_pages))
    for _ in range(2):
        reply: Reply = await wire.ask(request(ZONES))
        assert reply.status == 200
        assert reply.envelope == {
            "success": True,
            "result": [{"id": ZONE_A}],
            "result_info": {"page": 1, "per_page": 20, "count": 1, "total_count": 1, "total_pages": 1},
        }
        assert reply.field("content-type") == "application/json"
        assert reply.field("content-length") == str(len(reply.body))
        assert reply.field("cache-control") == "private"
        assert reply.field("x-request-id")
        assert reply.values("transfer-encoding") == []


async def test_to_head_the_same_head_is_answered_without_the_body(listed: Ways) -> None:
    upstream = Upstream(by=of_pages)
    wire = await listed(upstream)
    name = b"X-Request-Id: request-0001"
    whole = await wire.ask(request(ZONES, name))
    head = await wire.ask(request(ZONES, name, method=b"HEAD"), to_head=True)
    assert (head.status, head.fields, head.body) == (whole.status, whole.fields, b"")
    assert {seen.method for seen in upstream.requests} == {b"GET"}


async def test_the_upstream_s_own_refusal_is_passed_on(listed: Ways) -> None:
    wire = await listed(Upstream(answered({"errors": [7]}, 520)))
    reply = await wire.ask(request(ZONES))
    assert (reply.status, reply.envelope) == (520, {"errors": [7]})


async def test_what_is_no_list_is_a_502(listed: Ways) -> None:
    wire = await listed(Upstream(OK))
    with captured():
        check_refusal(await wire.ask(request(ZONES)), Reason.UPSTREAM_UNREACHABLE)


async def test_without_a_way_to_lists_there_is_none(knock: Knock, hold: Hold, serve: Serve) -> None:
    upstream = Upstream(by=of_pages)
    wire = await knock(door(hold(ON_ZONE_A), forwarder=await serve(upstream)))
    check_refusal(await wire.ask(request(ZONES)), Reason.INTERNAL_ERROR)
    assert not upstream.requests


async def test_a_body_that_a_question_has_is_nobodys(listed: Ways) -> None:
    upstream = Upstream(by=of_pages)
    wire = await listed(upstream)
    reply = await wire.ask(request(ZONES, body=b"GET / HTTP/1.1\r\n\r\n"))
    assert (reply.status, reply.field("connection")) == (200, "close")
    assert await wire.ended()
    assert {seen.target.partition(b"?")[0] for seen in upstream.requests} == {b"/v4/zones"}


async def test_a_list_is_a_line_of_the_access_log_like_any_request(listed: Ways) -> None:
    lines: list[bytes] = []
    log = AccessLog(enabled=True, write=lines.append)
    wire = await listed(Upstream(by=of_pages), access_log=log)
    reply = await wire.ask(request(ZONES))
    log.flush()
    assert logged(lines) == [
        {
            "request_id": reply.field("x-request-id"),
            "method": "GET",
            "path": "/client/v4/zones",
            "api": "cloudflare-dns",
            "route": "GET /client/v4/zones",
            "token": TOKEN_ID,
            "owner": token().owner.key,
            "decision": "allow",
            "reason": None,
            "address": "127.0.0.1",
            "upstream": None,
            "status": 200,
        }
    ]


async def test_who_leaves_while_a_list_is_walked_ends_the_walk(hold: Hold, serve: Serve) -> None:
    upstream = Upstream(waits_for=asyncio.Event())
    proxy = await serve(upstream)
    async with listening(door(hold(ON_ZONE_A), forwarder=proxy, lists=lists(proxy))) as at:
        wire = await at.connect()
        wire.send(request(ZONES))
        await upstream.begun.wait()
        await wire.close()
        await upstream.over.wait()


class OneList:
    """`FilteredLists` with one answer for all."""

    def __init__(self) -> None:
        self.room = Room(1000, 1000, spare=lambda: False)

    async def answer(self, *_: object) -> Passed:
        return Passed(200, b"HTTP/1.1 200 Fine\r\n", b"[]", self.room.hold(100))


@pytest.mark.parametrize("end", ["takes it", "leaves", "is gone", "is cut off"])
async def test_a_list_has_its_room_until_its_client_has_taken_it(meet: Meet, end: str) -> None:
    lists = OneList()
    met = meet(store=Tokens().hold(ON_ZONE_A), lists=lists)
    transport = met.transport
    transport.deliver(request(ZONES))
    await turns()
    assert (transport.statuses, lists.room.used) == ([200], 0), "taken at once"
    transport.takes = False
    transport.deliver(request(ZONES))
    await turns()
    assert (transport.statuses, lists.room.used) == ([200, 200], 100)
    {
        "takes it": transport.take,
        "leaves": transport.leave,
        "is gone": transport.lose,
        "is cut off": met.connection.taking_is_late,
    }[end]()
    if end == "leaves":
        assert lists.room.used == 100, "what was written is still sent"
        transport.take()
    await turns()
    assert lists.room.used == 0


async def turns() -> None:
    """All that need not wait has happened."""
    for _ in range(20):
        await asyncio.sleep(0)

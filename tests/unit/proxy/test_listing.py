import asyncio
import gzip
import json
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from contextlib import asynccontextmanager
from itertools import count
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.records import (
    ACCOUNT,
    ACCOUNT_A,
    ACCOUNT_B,
    CATALOG,
    account,
    policy,
    token,
    zone,
)
from support.zone_accounts import MemoryAccounts
from unit.proxy.fakes import allowed
from unit.server.wire import HOST, Seen, Upstream, backend
from unit.telemetry.captured import captured

from gateway.access.decision import Allow
from gateway.access.ports import StoreUnavailable
from gateway.access.question import Unknown
from gateway.catalog.api import Filter
from gateway.proxy.ask import Ask
from gateway.proxy.field_line import KnownLines
from gateway.proxy.header_rules import Client
from gateway.proxy.listing import MOST_PAGES, Lists, Passed
from gateway.reason import Deny, Reason
from gateway.server.head import Head, HeadReader
from gateway.tokens.policy import Policy

CLIENT = Client(b"192.0.2.7", b"http", trusted=False)
ALL = [f"{number:032x}" for number in range(1, 131)]
EVERY = policy(["Zone Read"], [zone("*")])
FILTER = Filter(items=("result",), zone=("id",), account=("account", "id"), pages=("page", "per_page"))


def on(*zones: str, effect: str = "allow") -> Policy:
    return policy(["Zone Read"], [zone(each) for each in zones], effect)


def on_account(of: str) -> Policy:
    return policy(["Zone Read"], {account(of): {zone("*"): "*"}})


def item(zone_id: str, **rest: Any) -> dict[str, Any]:
    return {"id": zone_id, "name": f"{zone_id}.example", "account": {"id": ACCOUNT_A}} | rest


def answer(body: bytes | Any, status: int = 200, *fields: bytes) -> bytes:
    text = body if isinstance(body, bytes) else json.dumps(body).encode()
    lines = b"".join(b"%b\r\n" % field for field in fields)
    return b"HTTP/1.1 %d Fine\r\n%bContent-Length: %d\r\n\r\n%b" % (status, lines, len(text), text)


def query(seen: Seen) -> dict[str, str]:
    """The parameters of a request that came up."""
    text = seen.target.partition(b"?")[2].decode()
    return dict(pair.split("=") for pair in text.split("&") if pair)


def paged(items: Sequence[Any], *, info: bool = True) -> Callable[[Seen], bytes]:
    """An upstream that cuts `items` into pages as it is asked to; `info`: and says how many there are."""

    def by(seen: Seen) -> bytes:
        asked = query(seen)
        number, size = int(asked["page"]), int(asked["per_page"])
        part = items[(number - 1) * size : number * size]
        body: dict[str, Any] = {"success": True, "result": part}
        if info:
            body["result_info"] = {
                "page": number,
                "per_page": size,
                "count": len(part),
                "total_count": len(items),
                "total_pages": -(-len(items) // size),
            }
        return answer(body)

    return by


class Listing:
    """The lists of one API before an upstream."""

    def __init__(self, lists: Lists, upstream: Upstream, accounts: MemoryAccounts, filter_: Filter) -> None:
        self.lists = lists
        self.upstream = upstream
        self.accounts = accounts
        self._filter = filter_
        self.still: Allow | Deny | None = None
        """What is decided once the list is there, if that is another thing."""
        self.is_taken = True
        """What is answered, the client takes at once."""

    def allow(self, policies: Iterable[Policy], target: str = "/zones", api: dict[str, Any] | None = None) -> Allow:
        found = allowed("GET", f"/client/v4{target}".encode(), by=token(policies))
        changes = {} if target.startswith("/accounts") else {"filter": self._filter}
        route = msgspec.structs.replace(found.route, **changes)
        if api:
            route = msgspec.structs.replace(route, api=msgspec.structs.replace(route.api, **api))
        return msgspec.structs.replace(found, route=route)

    async def ask(self, allow: Allow, *fields: bytes, target: bytes | None = None) -> Passed | Deny:
        """What comes of `allow`; of another `target`, if one is named."""
        if target is not None:
            allow = msgspec.structs.replace(
                allow, target=msgspec.structs.replace(allow.target, query=target.partition(b"?")[2])
            )

        async def still() -> Allow | Deny:
            await asyncio.sleep(0)
            return self.still or allow

        found = await self.lists.answer(allow, head(*fields), CLIENT, b"request-0001", still)
        if isinstance(found, Passed) and self.is_taken:
            found.place.empty()
        return found

    async def shown(self, allow: Allow, target: bytes | None = None) -> list[str]:
        return [each["id"] for each in body_of(await self.ask(allow, target=target))["result"]]


def head(*fields: bytes) -> Head:
    reader = HeadReader(KnownLines(), token_fields=frozenset(), secret_fields=frozenset(), shown={})
    found = reader.read(b"\r\n".join([b"GET / HTTP/1.1", HOST, *fields, b"", b""]))
    assert isinstance(found, Head)
    return found


def body_of(outcome: Passed | Deny) -> dict[str, Any]:
    assert isinstance(outcome, Passed), outcome
    assert outcome.status == 200
    found: dict[str, Any] = json.loads(outcome.body)
    return found


def reason_of(outcome: Passed | Deny) -> Reason:
    assert isinstance(outcome, Deny), outcome
    return outcome.reason


@asynccontextmanager
async def listing(
    by: Callable[[Seen], bytes] | bytes,
    *,
    accounts: MemoryAccounts | None = None,
    cut: Filter = FILTER,
    **limits: Any,
) -> AsyncIterator[Listing]:
    """Nothing is held any more on the way out, but for lists that are remembered."""
    upstream = Upstream(by) if isinstance(by, bytes) else Upstream(by=by)
    known = accounts or MemoryAccounts()
    async with backend(upstream) as behind:
        lists = Lists(Ask({"cloudflare-dns": behind}, seconds=20), known, **limits)
        yield Listing(lists, upstream, known, cut)
        assert lists._room.used == sum(walk.place.held for walk in lists._walks.values())
        for key in [*lists._walks]:
            lists._forget(key)
        assert lists._room.used == 0


# What is shown.


async def test_items_come_down_byte_for_byte_and_others_do_not_come() -> None:
    mine = b'{"id" : "%b","new":[1.50,123456789012345678901234567890],"account":{"id":"x"}}' % ALL[0].encode()
    other = b'{"id":"%b","account":{"id":"x"}}' % ALL[1].encode()
    upstream = b'{"result":[%b,%b],"success":true,"messages":[],"what":9007199254740993}' % (other, mine)
    async with listing(answer(upstream)) as at:
        found = await at.ask(at.allow([on(ALL[0])]))
    assert isinstance(found, Passed)
    info = b'{"page":1,"per_page":20,"count":1,"total_count":1,"total_pages":1}'
    assert found.body == (
        b'{"result":[%b],"success":true,"messages":[],"what":9007199254740993,"result_info":%b}' % (mine, info)
    )


@pytest.mark.parametrize(
    ("policies", "shown"),
    [
        pytest.param([on(ALL[99])], [ALL[99]], id="one"),
        pytest.param([EVERY, on(*ALL[40:43], effect="deny")], [*ALL[:40], *ALL[43:]], id="all but three"),
        pytest.param([EVERY, on("*", effect="deny")], [], id="none"),
        pytest.param([on_account(ACCOUNT_A)], ALL, id="those of an account"),
        pytest.param([on_account(ACCOUNT_B)], [], id="those of another account"),
    ],
)
@pytest.mark.parametrize("info", [True, False], ids=["pages that are told", "pages that have to be tried"])
async def test_all_pages_are_walked_and_cut_to_what_is_the_tokens(
    policies: list[Policy], shown: list[str], *, info: bool
) -> None:
    async with listing(paged([item(each) for each in ALL], info=info)) as at:
        allow = at.allow(policies)
        found = []
        for number in range(1, 9):
            body = body_of(await at.ask(allow, target=b"?page=%d&per_page=20" % number))
            found += [each["id"] for each in body["result"]]
            assert body["result_info"] == {
                "page": number,
                "per_page": 20,
                "count": len(body["result"]),
                "total_count": len(shown),
                "total_pages": -(-len(shown) // 20),
            }
        assert found == shown
        assert len(at.upstream.requests) == (3 if info else 4)


@settings(max_examples=25)
@given(st.sets(st.sampled_from(ALL)), st.sets(st.sampled_from(ALL)), st.integers(20, 60))
def test_the_pages_of_any_token_are_its_own_zones_in_their_order(mine: set[str], denied: set[str], size: int) -> None:
    async def run() -> None:
        async with listing(paged([item(each) for each in ALL])) as at:
            policies = [on(*mine)] if mine else [on("e" * 32)]
            allow = at.allow([*policies, *([on(*denied, effect="deny")] if denied else [])])
            found: list[str] = []
            for number in count(1):
                part = await at.shown(allow, b"?page=%d&per_page=%d" % (number, size))
                found += part
                if len(part) < size:
                    break
            assert found == [each for each in ALL if each in mine - denied]

    asyncio.run(run())


@pytest.mark.parametrize(
    "unreadable",
    [
        pytest.param(b"{}", id="no id"),
        pytest.param(b'{"id":null}', id="a null"),
        pytest.param(b'{"id":""}', id="an empty one"),
        pytest.param(b'{"id":7}', id="a number"),
        pytest.param(b'{"id":["%b"]}' % ALL[0].encode(), id="a list"),
        pytest.param(b'{"id":"\xff"}', id="not UTF-8"),
        pytest.param(b'"%b"' % ALL[0].encode(), id="a string"),
        pytest.param(b"null", id="null"),
    ],
)
async def test_an_item_that_does_not_say_whose_it_is_is_left_out(unreadable: bytes) -> None:
    good = json.dumps(item(ALL[0])).encode()
    async with listing(answer(b'{"result":[%b,%b]}' % (unreadable, good))) as at:
        assert await at.shown(at.allow([EVERY])) == [ALL[0]]


async def test_a_list_of_accounts_is_cut_to_those_of_the_token() -> None:
    accounts = [{"id": ACCOUNT_A}, {"id": ACCOUNT_B}]
    async with listing(paged(accounts)) as at:
        allow = at.allow([policy(["Account Settings Read"], [account(ACCOUNT_B)], scope=ACCOUNT)], "/accounts")
        assert await at.shown(allow) == [ACCOUNT_B]


async def test_zones_that_are_dns_names_are_compared_as_such() -> None:
    names = ["Alpha.Example", "beta.example.", "0=2F25.example."]
    async with listing(answer({"result": [item(each) for each in names]})) as at:
        allow = at.allow([on("alpha.example", "beta.example", "0/25.example")], api={"zone_key": "dns-name"})
        assert await at.shown(allow) == names


@pytest.mark.parametrize(
    ("policies", "shown"),
    [
        pytest.param([EVERY, on("_acme.example", effect="deny")], ["=3D5F.example."], id="all but one"),
        pytest.param([on("_acme.example")], ["=5Facme.example.", "=5facme.example"], id="that one"),
        pytest.param([on("_.example")], [], id="what only looks like an escape"),
    ],
)
async def test_a_name_is_known_under_every_escape_that_powerdns_writes(
    policies: list[Policy], shown: list[str]
) -> None:
    names = ["=5Facme.example.", "=5facme.example", "=3D5F.example."]
    async with listing(answer({"result": [item(each) for each in names]})) as at:
        assert await at.shown(at.allow(policies, api={"zone_key": "dns-name"})) == shown


async def test_a_list_without_pages_is_one_question_and_comes_whole() -> None:
    bare = Filter(items=(), zone=("zone", "id"), account=(), pages=None)
    items = [{"zone": {"id": each}} for each in ALL] + [{"zone": {"id": ALL[0]}}]
    async with listing(answer(items), cut=bare) as at:
        found = await at.ask(at.allow([EVERY, on(ALL[1], effect="deny")]), target=b"?q=x&page=2")
    assert isinstance(found, Passed)
    assert json.loads(found.body) == [items[0], *items[2:]]
    assert [seen.target for seen in at.upstream.requests] == [b"/v4/zones?q=x&page=2"]
    assert not at.lists._walks


async def test_totals_beside_a_list_without_pages_are_those_of_what_is_shown() -> None:
    body = {"result": [item(each) for each in ALL], "result_info": {"total_count": 130, "count": 130}}
    async with listing(answer(body), cut=msgspec.structs.replace(FILTER, pages=None)) as at:
        found = body_of(await at.ask(at.allow([on(ALL[0])])))
    assert found["result_info"] == {"page": 1, "per_page": 1, "count": 1, "total_count": 1, "total_pages": 1}


async def test_while_a_long_list_is_judged_all_others_have_their_turn() -> None:
    async with listing(answer([])) as at:
        allow = at.allow([EVERY])
        items = [msgspec.Raw(json.dumps(item(f"{number:032x}")).encode()) for number in range(5000)]
        judging = asyncio.ensure_future(at.lists._shown(allow.principal.token, allow.route, items))
        turns = 0
        while not judging.done():
            turns += 1
            await asyncio.sleep(0)
        assert len(await judging) == len(items)
    assert turns > 2 * len(items) // 500, "for each item is looked at twice: what it is, and whether it is shown"


# Accounts that the list does not tell.


UNTOLD = msgspec.structs.replace(FILTER, account=())


async def test_an_account_that_is_not_told_is_asked_for_where_it_matters() -> None:
    accounts = MemoryAccounts({ALL[0]: ACCOUNT_A, ALL[1]: ACCOUNT_B, ALL[3]: ACCOUNT_A}, frozenset({ALL[3]}))
    async with listing(paged([{"id": each} for each in ALL[:5]]), accounts=accounts, cut=UNTOLD) as at:
        assert await at.shown(at.allow([on_account(ACCOUNT_A), on(ALL[4])])) == [ALL[0], ALL[3], ALL[4]]
        assert sorted(accounts.asked) == ALL[:3]


@pytest.mark.parametrize(
    ("policies", "shown"),
    [
        pytest.param([on_account(ACCOUNT_A)], ALL[1:3], id="an allow where the list has it"),
        pytest.param([on_account(ACCOUNT_B)], ALL[:1], id="an allow where it was put"),
        pytest.param(
            [EVERY, policy(["Zone Read"], {account(ACCOUNT_B): {zone("*"): "*"}}, "deny")], ALL[1:3], id="a deny there"
        ),
        pytest.param([EVERY], ALL[:3], id="no account at all"),
    ],
)
async def test_a_zone_lies_where_an_operator_put_it_whatever_the_list_tells(
    policies: list[Policy], shown: list[str]
) -> None:
    accounts = MemoryAccounts()
    accounts.pins = {ALL[0]: ACCOUNT_B}
    async with listing(paged([item(each) for each in ALL[:3]]), accounts=accounts) as at:
        assert await at.shown(at.allow(policies)) == shown
    assert not accounts.asked


async def test_where_nobody_can_say_what_an_operator_put_down_there_is_no_list() -> None:
    accounts = MemoryAccounts()
    accounts.failure = StoreUnavailable("gone")
    async with listing(paged([item(each) for each in ALL[:3]]), accounts=accounts) as at:
        with captured():
            assert reason_of(await at.ask(at.allow([on_account(ACCOUNT_A)]))) is Reason.STORE_UNAVAILABLE
        assert await at.shown(at.allow([EVERY])) == ALL[:3]


async def test_a_token_that_turns_on_accounts_since_the_list_was_walked_is_shown_nothing_by_an_account() -> None:
    accounts = MemoryAccounts()
    accounts.pins = {ALL[0]: ACCOUNT_B}
    async with listing(paged([item(each) for each in ALL[:3]]), accounts=accounts) as at:
        allow = at.allow([EVERY])
        at.still = at.allow([on_account(ACCOUNT_A), on(ALL[2])])
        assert await at.shown(allow) == [ALL[2]]


async def test_nobody_is_asked_for_accounts_that_no_policy_turns_on() -> None:
    accounts = MemoryAccounts()
    async with listing(paged([{"id": each} for each in ALL]), accounts=accounts, cut=UNTOLD) as at:
        assert await at.shown(at.allow([on(ALL[4])])) == [ALL[4]]
    assert not accounts.asked


async def test_where_an_account_cannot_be_asked_for_there_is_no_list() -> None:
    accounts = MemoryAccounts({ALL[1]: Unknown.UNREACHABLE})
    async with listing(paged([{"id": each} for each in ALL[:3]]), accounts=accounts, cut=UNTOLD) as at:
        with captured():
            assert reason_of(await at.ask(at.allow([on_account(ACCOUNT_A)]))) is Reason.UPSTREAM_UNREACHABLE


# What goes up, and what comes down.


async def test_what_else_the_query_says_goes_up_with_pages_of_our_own() -> None:
    async with listing(paged([item(ALL[0])])) as at:
        await at.ask(at.allow([EVERY]), target=b"?page=2&name=x&order=name&per_page=7&direction=desc")
    assert [seen.target for seen in at.upstream.requests] == [
        b"/v4/zones?name=x&order=name&direction=desc&page=1&per_page=50"
    ]


async def test_no_part_and_no_other_form_of_the_whole_is_asked_for() -> None:
    fields = [
        b"Accept: application/json",
        b"Accept-Encoding: gzip",
        b"Accept_Encoding: gzip",
        b"Range: bytes=0-1",
        b"If-None-Match: x",
        b"If-Modified-Since: x",
        b"If-Range: x",
        b"X-Other: y",
    ]
    async with listing(paged([item(ALL[0])])) as at:
        await at.ask(at.allow([EVERY]), *fields)
    (seen,) = at.upstream.requests
    assert [field for field in seen.fields if field[0] not in (b"Host", b"Via")] == [
        (b"Accept", b"application/json"),
        (b"X-Other", b"y"),
        (b"X-Forwarded-For", b"192.0.2.7"),
        (b"X-Forwarded-Host", b"api.example"),
        (b"X-Forwarded-Proto", b"http"),
        (b"X-Request-Id", b"request-0001"),
        (b"X-Token-Id", token().id.encode()),
        (b"Authorization", b"Bearer the-upstream's-own"),
        (b"Accept-Encoding", b"identity"),
    ]


async def test_nothing_that_is_said_of_the_whole_comes_down() -> None:
    of_the_whole = [
        b'ETag: "x"',
        b"Last-Modified: x",
        b"Content-MD5: x",
        b"Digest: x",
        b"Repr-Digest: x",
        b"Content_Digest: x",
        b"Link: <x>; rel=next",
        b"X-Total-Count: 500",
        b"Accept-Ranges: bytes",
        b"Cache-Control: public, max-age=600",
        b"Expires: x",
        b"Age: 1",
        b"Set-Cookie: a=b",
    ]
    fields = [b"Content-Type: application/json", b"Vary: Origin", b"CF-Ray: 1"]
    async with listing(answer({"result": []}, 200, *of_the_whole, *fields)) as at:
        found = await at.ask(at.allow([EVERY]))
    assert isinstance(found, Passed)
    assert found.lines.splitlines() == [
        b"HTTP/1.1 200 Fine",
        *fields,
        b"X-Request-Id: request-0001",
        b"Cache-Control: private",
    ]


@pytest.mark.parametrize("status", [400, 401, 404, 429, 500, 503, 520])
@pytest.mark.parametrize("at_page", [1, 2])
async def test_the_upstreams_own_refusal_comes_down_as_it_is(status: int, at_page: int) -> None:
    refusal = answer(b'{"errors":[7]}', status, b"Retry-After: 3", b'ETag: "x"', b"Cache-Control: no-store")

    def by(seen: Seen) -> bytes:
        return refusal if query(seen)["page"] == str(at_page) else paged([item(each) for each in ALL])(seen)

    async with listing(by) as at:
        found = await at.ask(at.allow([EVERY]))
    assert isinstance(found, Passed)
    assert (found.status, found.body) == (status, b'{"errors":[7]}')
    assert found.lines.splitlines() == [
        b"HTTP/1.1 %d Fine" % status,
        b"Retry-After: 3",
        b'ETag: "x"',
        b"Cache-Control: no-store",
        b"X-Request-Id: request-0001",
    ]


@pytest.mark.parametrize(
    "upstream",
    [
        pytest.param(answer(b"<html>"), id="no JSON"),
        pytest.param(answer(b'{"result":[{"id":'), id="cut JSON"),
        pytest.param(answer({"result": None, "success": False}), id="no list"),
        pytest.param(answer({"result": {"id": ALL[0]}}), id="an object"),
        pytest.param(answer([item(ALL[0])]), id="a bare list"),
        pytest.param(answer(b""), id="nothing"),
        pytest.param(answer(b'{"result":[],"result_info":{"total_pages":"\xff"}}'), id="unreadable totals"),
        pytest.param(answer({"result": []}, 206), id="206"),
        pytest.param(answer({"result": []}, 201), id="201"),
        pytest.param(answer({"result": []}, 302, b"Location: /elsewhere"), id="a redirect"),
        pytest.param(b"HTTP/1.1 204 No Content\r\n\r\n", id="204"),
        pytest.param(b"HTTP/1.1 304 Not Modified\r\n\r\n", id="304"),
        pytest.param(
            answer(gzip.compress(json.dumps({"result": [item(ALL[0])]}).encode()), 200, b"Content-Encoding: gzip"),
            id="compressed",
        ),
        pytest.param(answer(b'{"result":' + b"[" * 9_999 + b"]" * 9_999 + b"}"), id="nested too deep"),
        pytest.param(b"nonsense\r\n\r\n", id="no HTTP"),
    ],
)
async def test_a_success_of_any_other_shape_is_passed_on_to_nobody(upstream: bytes) -> None:
    async with listing(upstream) as at:
        with captured():
            assert reason_of(await at.ask(at.allow([EVERY]))) is Reason.UPSTREAM_UNREACHABLE


@pytest.mark.parametrize("target", [b"?page=0", b"?per_page=x", b"?page=1&page=2"])
async def test_a_nonsensical_page_costs_no_question(target: bytes) -> None:
    async with listing(paged([])) as at:
        assert reason_of(await at.ask(at.allow([EVERY]), target=target)) is Reason.BAD_REQUEST
    assert not at.upstream.requests


# Bounds.


SIZE = len(json.dumps([item(each) for each in ALL]))
"""Bytes of all items."""


async def test_two_hundred_pages_are_walked() -> None:
    async with listing(paged([item(f"{number:032x}") for number in range(50 * MOST_PAGES)])) as at:
        assert await at.shown(at.allow([on(f"{50 * MOST_PAGES - 1:032x}")])) == [f"{50 * MOST_PAGES - 1:032x}"]
        assert len(at.upstream.requests) == MOST_PAGES


@pytest.mark.parametrize(("info", "questions"), [(True, 1), (False, MOST_PAGES)], ids=["told", "not told"])
async def test_a_list_of_more_pages_is_none(*, info: bool, questions: int) -> None:
    async with listing(paged([item(f"{number:032x}") for number in range(50 * MOST_PAGES + 1)], info=info)) as at:
        with captured():
            assert reason_of(await at.ask(at.allow([EVERY]))) is Reason.UPSTREAM_UNREACHABLE
        assert len(at.upstream.requests) == questions


async def test_a_list_that_is_too_long_is_none() -> None:
    body = json.dumps({"result": [item(each) for each in ALL[:50]]}).encode()
    pages = paged([item(each) for each in ALL])
    for largest, fits in ((100 * len(body), True), (2 * len(body), False), (len(body) // 2, False)):
        async with listing(pages, largest=largest, most=200 * len(body)) as at:
            with captured():
                found = await at.ask(at.allow([EVERY]))
            assert (isinstance(found, Passed), isinstance(found, Deny)) == (fits, not fits)


async def test_what_is_too_much_for_all_lists_together_waits_and_then_hears_of_it() -> None:
    most = 2 * SIZE
    async with listing(paged([item(each) for each in ALL]), most=most, largest=most) as at:
        at.lists._room._patience = 0.01
        with at.lists._room.place() as other:
            await other.take(1000)
            assert reason_of(await at.ask(at.allow([EVERY]))) is Reason.OVERLOADED
        other.empty()
        assert isinstance(await at.ask(at.allow([EVERY])), Passed)


@pytest.mark.parametrize("pages", [("page", "per_page"), None], ids=["in pages", "whole"])
@pytest.mark.parametrize("status", [200, 500])
async def test_an_answer_has_its_room_until_the_client_has_taken_it(pages: tuple[str, str] | None, status: int) -> None:
    cut = msgspec.structs.replace(FILTER, pages=pages)
    upstream = answer({"result": [item(each) for each in ALL], "result_info": {"total_pages": 1}}, status)
    async with listing(upstream, cut=cut, most=4 * SIZE, largest=2 * SIZE) as at:
        at.is_taken = False
        allow, target = at.allow([EVERY]), b"?per_page=1000"
        held = [await at.ask(allow, target=target) for _ in range(4)]
        at.lists._room._patience = 0.01
        refused = await at.ask(allow, target=target)
        assert reason_of(refused) is Reason.OVERLOADED
        passed = [each for each in held if isinstance(each, Passed)]
        assert 2 <= len(passed) <= 4
        for each in passed:
            assert each.place.held >= 0.9 * len(each.body)
            each.place.empty()
        at.is_taken = True
        assert isinstance(await at.ask(allow, target=target), Passed)


async def test_remembered_lists_make_room_for_others() -> None:
    each_list = SIZE * 12 // 10
    async with listing(paged([item(each) for each in ALL]), most=2 * each_list, largest=each_list) as at:
        allow = at.allow([EVERY])
        for name in (b"?name=a", b"?name=b", b"?name=c"):
            assert isinstance(await at.ask(allow, target=name), Passed)
        assert [others for *_, others in at.lists._walks] == [b"name=b", b"name=c"]


# A list that changes while it is walked.


async def test_an_item_that_moves_to_the_next_page_is_shown_once() -> None:
    items = [item(each) for each in ALL]

    def by(seen: Seen) -> bytes:
        if query(seen)["page"] == "2":
            items.insert(0, item("f" * 32))
        return paged(items)(seen)

    async with listing(by) as at:
        found = await at.shown(at.allow([EVERY]), b"?per_page=1000")
    assert found == ALL


async def test_an_upstream_that_knows_no_pages_is_asked_twice() -> None:
    async with listing(answer({"result": [item(each) for each in ALL]})) as at:
        assert await at.shown(at.allow([EVERY]), b"?per_page=1000") == ALL
        assert len(at.upstream.requests) == 2


async def test_who_may_not_any_more_when_the_list_is_there_gets_none() -> None:
    async with listing(paged([item(ALL[0])])) as at:
        at.still = Deny(reason=Reason.TOKEN_DISABLED)
        assert reason_of(await at.ask(at.allow([EVERY]))) is Reason.TOKEN_DISABLED
        assert not at.lists._walks


async def test_who_may_less_when_the_list_is_there_gets_less() -> None:
    async with listing(paged([item(each) for each in ALL])) as at:
        at.still = at.allow([on(ALL[7])])
        assert await at.shown(at.allow([EVERY])) == [ALL[7]]


# Following pages.


async def test_following_pages_come_out_of_the_walk_and_a_first_page_is_a_new_one() -> None:
    async with listing(paged([item(each) for each in ALL])) as at:
        allow = at.allow([EVERY])
        for target, questions in (
            (b"", 3),
            (b"?page=2", 3),
            (b"?page=3&per_page=50", 3),
            (b"?page=1", 6),
            (b"", 9),
            (b"?page=2&name=x", 12),
            (b"?page=7", 12),
        ):
            await at.ask(allow, target=target)
            assert len(at.upstream.requests) == questions, target


async def test_a_walk_is_another_tokens_to_nobody() -> None:
    async with listing(paged([item(each) for each in ALL])) as at:
        await at.ask(at.allow([EVERY]))
        for allow in (at.allow([EVERY]), at.allow([on(ALL[0])])):
            await at.ask(allow, target=b"?page=2")
        assert len(at.upstream.requests) == 9


async def test_a_walk_is_of_its_own_path_alone() -> None:
    async with listing(paged([item(each) for each in ALL])) as at:
        allow = at.allow([EVERY])
        elsewhere = (*allow.target.segments[:-1], b"others")
        other = msgspec.structs.replace(allow, target=msgspec.structs.replace(allow.target, segments=elsewhere))
        await at.ask(allow)
        await at.ask(other, target=b"?page=2")
        assert [seen.target.partition(b"?")[0] for seen in at.upstream.requests] == [b"/v4/zones"] * 3 + [
            b"/v4/others"
        ] * 3


async def test_a_walk_is_forgotten_after_its_time() -> None:
    async with listing(paged([item(each) for each in ALL]), remembered=0.0) as at:
        allow = at.allow([EVERY])
        await at.ask(allow)
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        assert not at.lists._walks
        await at.ask(allow, target=b"?page=2")
        assert len(at.upstream.requests) == 6


def test_the_shipped_zone_list_is_cut_as_the_one_here() -> None:
    filters = {route.text: route.filter for route in CATALOG.public.routes if route.filter is not None}
    assert filters["/client/v4/zones"] == FILTER
    assert "/client/v4/accounts" in filters

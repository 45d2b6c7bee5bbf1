"""Names of zones and accounts, out of lists that a test writes down."""

import json
from typing import Any

import pytest
from support.records import (
    ACCOUNT,
    ACCOUNT_A,
    ACCOUNT_B,
    EVERYTHING,
    USER,
    USER_SCOPE,
    ZONE_A,
    ZONE_B,
    account,
    owner,
    policy,
    principal,
    shipped_catalog,
    token,
    user,
    zone,
)
from support.store_contract import MemoryTokenStore
from unit.dashboard.visiting import visit
from unit.server.wire import admission

from gateway.access.decision import Allow
from gateway.access.principal import Principal
from gateway.catalog.api import Api
from gateway.dashboard.names import NamedAccount, NamedZone, ResourceNames
from gateway.proxy.listing import Passed
from gateway.proxy.room import Room
from gateway.reason import Deny, Reason
from gateway.tokens.owner import OwnerKind, OwnerRef

NO_ROOM = Room(1, 1, spare=lambda: False).hold(0)

CATALOG = shipped_catalog(["cloudflare-dns", "billing", "powerdns"])
ZONES, ACCOUNTS, POWERDNS = "/client/v4/zones", "/client/v4/accounts", "/api/v1/servers/localhost/zones"
ALPHA = {"id": ZONE_A, "name": "alpha.example", "account": {"id": ACCOUNT_A, "name": "Alpha Ltd"}}
BETA = {"id": ZONE_B, "name": "beta.example", "account": {"id": ACCOUNT_B, "name": "Beta Inc"}}


class Lists:
    """`FilteredLists` that a test wrote down, by path; `asked`: for what, and how they were asked."""

    def __init__(self, pages: dict[str, Any]) -> None:
        self.pages = pages
        self.asked: list[tuple[str, bytes | None]] = []

    async def answer(self, allow: Allow, head: Any, client: Any, request_id: bytes, still: Any) -> Passed | Deny:
        path = allow.target.path.decode()
        self.asked.append((path, allow.target.query))
        assert (head.method, client.peer, request_id) == ("GET", b"192.0.2.7", b"a-request")
        assert isinstance(await still(), Allow)
        found = self.pages.get(path, Deny(reason=Reason.UPSTREAM_UNREACHABLE))
        if isinstance(found, list) and path != POWERDNS:
            found = _v4(found, allow.target.query)
        if isinstance(found, (Deny, Passed)):
            return found
        return Passed(200, b"", found if isinstance(found, bytes) else json.dumps(found).encode(), NO_ROOM)


def _v4(items: list[Any], query: bytes | None) -> dict[str, Any]:
    assert query is not None
    asked = dict(pair.split("=") for pair in query.decode().split("&"))
    number, size = int(asked["page"]), int(asked["per_page"])
    info = {"page": number, "per_page": size, "total_count": len(items), "total_pages": -(-len(items) // size)}
    return {"success": True, "result": items[(number - 1) * size : number * size], "result_info": info}


class SpokenNames:
    """`ZoneNames` that a test wrote down; `asked`: which zones of which APIs."""

    def __init__(self, names: dict[str, str] | None = None) -> None:
        self.names = names or {}
        self.asked: list[tuple[str, str]] = []

    async def name(self, api: Api, zone: str) -> str:
        self.asked.append((api.name, zone))
        return self.names.get(zone, "")


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def asking(
    pages: dict[str, Any] | Lists, clock: Clock | None = None, spoken: SpokenNames | None = None
) -> tuple[ResourceNames, Lists]:
    lists = pages if isinstance(pages, Lists) else Lists(pages)
    store = MemoryTokenStore().hold(token(EVERYTHING))
    routes = CATALOG.public.routes
    return (
        ResourceNames(
            lists,
            admission(store, table=CATALOG.public),
            routes,
            spoken or SpokenNames(),
            scheme="http",
            clock=clock or Clock(),
        ),
        lists,
    )


def everybody() -> Principal:
    return principal(token(EVERYTHING))


async def test_zones_and_accounts_have_the_names_that_their_lists_give_them() -> None:
    pages = {ZONES: [BETA, ALPHA], ACCOUNTS: [{"id": ACCOUNT_A, "name": "Alpha Ltd"}], POWERDNS: []}
    names, _ = asking(pages)
    found = await names.seen_by(everybody(), visit())
    assert found.zones == (
        NamedZone(ZONE_A, "alpha.example", ACCOUNT_A, "cloudflare-dns"),
        NamedZone(ZONE_B, "beta.example", ACCOUNT_B, "cloudflare-dns"),
    )
    assert found.accounts == (NamedAccount(ACCOUNT_A, "Alpha Ltd"), NamedAccount(ACCOUNT_B, "Beta Inc"))
    assert not found.incomplete
    assert found.of_ids == {
        ZONE_A: "alpha.example",
        ZONE_B: "beta.example",
        ACCOUNT_A: "Alpha Ltd",
        ACCOUNT_B: "Beta Inc",
    }


async def test_zones_that_are_named_by_their_dns_name_are_so_without_the_last_dot() -> None:
    names, _ = asking({ZONES: [], ACCOUNTS: [], POWERDNS: [{"id": "alpha.example.", "name": "alpha.example."}]})
    found = await names.seen_by(everybody(), visit())
    assert found.zones == (NamedZone("alpha.example", "alpha.example", "", "powerdns"),)


async def test_all_pages_are_asked_for() -> None:
    items = [{**ALPHA, "id": f"{number:032x}", "name": f"{number:05}.example"} for number in range(2500)]
    names, lists = asking({ZONES: items, ACCOUNTS: [], POWERDNS: []})
    found = await names.seen_by(everybody(), visit())
    assert [zone.id for zone in found.zones] == [item["id"] for item in items]
    assert [query for path, query in lists.asked if path == ZONES] == [
        b"page=1&per_page=1000",
        b"page=2&per_page=1000",
        b"page=3&per_page=1000",
    ]


async def test_of_a_list_that_breaks_off_its_beginning_is_told_and_that_it_is_not_all() -> None:
    class BreakingOff(Lists):
        async def answer(self, allow: Allow, *others: Any) -> Passed | Deny:
            second = allow.target.query == b"page=2&per_page=1000"
            return Deny(reason=Reason.UPSTREAM_TIMEOUT) if second else await super().answer(allow, *others)

    items = [{**ALPHA, "id": f"{number:032x}"} for number in range(1001)]
    names, _ = asking(BreakingOff({ZONES: items, ACCOUNTS: [], POWERDNS: []}))
    found = await names.seen_by(everybody(), visit())
    assert (len(found.zones), found.incomplete) == (1000, True)


async def test_of_a_list_without_an_end_so_many_pages_are_asked_for() -> None:
    endless = {"result": [ALPHA], "result_info": {"page": 1, "per_page": 1, "total_count": 99, "total_pages": 99}}
    names, lists = asking({ZONES: endless, ACCOUNTS: [], POWERDNS: []})
    found = await names.seen_by(everybody(), visit())
    assert (len(found.zones), found.incomplete) == (1, True)
    assert sum(path == ZONES for path, _ in lists.asked) == 50


@pytest.mark.parametrize(
    "page",
    [
        pytest.param(Deny(reason=Reason.UPSTREAM_UNREACHABLE), id="the upstream is away"),
        pytest.param(Passed(403, b"", b"{}", NO_ROOM), id="the upstream refuses"),
        pytest.param(b"not JSON", id="no JSON"),
        pytest.param({"result": {}}, id="no list"),
        pytest.param(b'{"result": [{"id": 1e999}]}', id="a number that nobody can hold"),
        pytest.param(b'{"result": [{"id": "\xff"}]}', id="no UTF-8"),
    ],
)
async def test_a_list_that_cannot_be_had_is_left_out_and_that_is_said(page: Any) -> None:
    names, _ = asking({ZONES: page, ACCOUNTS: [{"id": ACCOUNT_A, "name": "Alpha Ltd"}], POWERDNS: []})
    found = await names.seen_by(everybody(), visit())
    assert (found.zones, found.accounts) == ((), (NamedAccount(ACCOUNT_A, "Alpha Ltd"),))
    assert found.incomplete


async def test_what_the_token_may_not_ask_for_is_not_asked() -> None:
    rights = policy(["API Tokens Write"], [user(USER)], scope=USER_SCOPE)
    names, lists = asking({ZONES: [ALPHA], ACCOUNTS: [], POWERDNS: []})
    found = await names.seen_by(principal(token([rights])), visit())
    assert (found.zones, found.incomplete, lists.asked) == ((), True, [])


async def test_a_token_that_may_not_be_used_from_there_is_told_nothing() -> None:
    names, lists = asking({ZONES: [ALPHA], ACCOUNTS: [], POWERDNS: []})
    restricted = principal(token(EVERYTHING, request_ip=["198.51.100.1"]))
    assert (await names.seen_by(restricted, visit())).incomplete
    assert lists.asked == []


async def test_an_account_that_owns_the_token_is_among_the_accounts() -> None:
    ref = OwnerRef(OwnerKind.ACCOUNT, ACCOUNT_A)
    names, _ = asking({})
    found = await names.seen_by(principal(token([], owner=ref), owner([], ref=ref)), visit())
    assert found.accounts == (NamedAccount(ACCOUNT_A, ACCOUNT_A),)


@pytest.mark.parametrize(
    ("item", "zone"),
    [
        pytest.param({"id": ZONE_A}, NamedZone(ZONE_A, ZONE_A, "", "cloudflare-dns"), id="no name"),
        pytest.param({"id": ZONE_A, "name": 7}, NamedZone(ZONE_A, ZONE_A, "", "cloudflare-dns"), id="no text"),
        pytest.param({**ALPHA, "account": None}, NamedZone(ZONE_A, "alpha.example", "", "cloudflare-dns"), id="null"),
        pytest.param(
            {**ALPHA, "account": {"id": 7}},
            NamedZone(ZONE_A, "alpha.example", "", "cloudflare-dns"),
            id="no account id",
        ),
    ],
)
async def test_what_an_item_does_not_say_is_not_made_up(item: Any, zone: NamedZone) -> None:
    names, _ = asking({ZONES: [item], ACCOUNTS: [], POWERDNS: []})
    assert (await names.seen_by(everybody(), visit())).zones == (zone,)


async def test_what_was_asked_is_known_for_a_while_and_to_that_token_as_it_was_alone() -> None:
    clock = Clock()
    names, lists = asking({ZONES: [ALPHA], ACCOUNTS: [], POWERDNS: []}, clock)
    first = everybody()
    await names.seen_by(first, visit())
    once = len(lists.asked)
    assert await names.seen_by(first, visit()) == await names.seen_by(first, visit())
    assert len(lists.asked) == once
    await names.seen_by(everybody(), visit())  # compiled anew: it was changed
    assert len(lists.asked) == 2 * once
    clock.now += 15
    await names.seen_by(first, visit())
    assert len(lists.asked) == 3 * once


async def test_what_could_not_be_had_is_asked_for_again_after_a_second_and_no_faster() -> None:
    clock = Clock()
    names, lists = asking({ACCOUNTS: [], POWERDNS: []}, clock)
    first = everybody()
    assert (await names.seen_by(first, visit())).incomplete
    lists.pages[ZONES] = [ALPHA]
    once = len(lists.asked)
    assert (await names.seen_by(first, visit())).incomplete
    assert len(lists.asked) == once
    clock.now += 1
    assert not (await names.seen_by(first, visit())).incomplete


# What it may not list, and has rights on.


async def test_a_zone_that_the_policies_name_is_there_though_the_token_may_not_list_it() -> None:
    spoken = SpokenNames({ZONE_A: "alpha.example"})
    names, lists = asking({}, spoken=spoken)
    found = await names.seen_by(principal(token([policy(["Analytics Read"], [zone(ZONE_A), zone(ZONE_B)])])), visit())
    assert found.zones == (
        NamedZone(ZONE_A, "alpha.example", "", "cloudflare-dns"),
        NamedZone(ZONE_B, ZONE_B, "", "cloudflare-dns"),
    )
    assert spoken.asked == [("cloudflare-dns", ZONE_A), ("cloudflare-dns", ZONE_B)]
    assert (found.incomplete, lists.asked) == (True, [])


async def test_one_that_a_list_tells_of_is_not_asked_for_by_itself() -> None:
    spoken = SpokenNames()
    names, _ = asking({ZONES: [ALPHA], ACCOUNTS: [], POWERDNS: []}, spoken=spoken)
    found = await names.seen_by(principal(token([policy(["Zone Read"], [zone(ZONE_A)])])), visit())
    assert found.zones == (NamedZone(ZONE_A, "alpha.example", ACCOUNT_A, "cloudflare-dns"),)
    assert spoken.asked == []


@pytest.mark.parametrize("written", ["alpha.example", "alpha.example.", "Alpha.Example"])
async def test_one_that_is_named_by_its_dns_name_is_so_however_it_is_written(written: str) -> None:
    spoken = SpokenNames()
    names, _ = asking({}, spoken=spoken)
    found = await names.seen_by(principal(token([policy(["Analytics Read"], [zone(written)])])), visit())
    assert found.zones == (NamedZone("alpha.example", "alpha.example", "", "powerdns"),)
    assert spoken.asked == [("powerdns", "alpha.example.")]


async def test_what_is_over_the_owners_ceiling_is_told_no_name() -> None:
    spoken = SpokenNames({ZONE_A: "alpha.example"})
    names, _ = asking({}, spoken=spoken)
    held, below = policy(["Analytics Read"], [zone(ZONE_A)]), policy(["Analytics Read"], [zone(ZONE_B)])
    found = await names.seen_by(principal(token([held]), owner([below])), visit())
    assert found.zones == (NamedZone(ZONE_A, ZONE_A, "", "cloudflare-dns"),)
    assert spoken.asked == []


async def test_of_many_zones_some_are_asked_for_by_name_and_all_are_there() -> None:
    spoken = SpokenNames()
    names, _ = asking({}, spoken=spoken)
    ids = [f"{number:032x}" for number in range(100)]
    held = policy(["Analytics Read"], [zone(each) for each in ids])
    found = await names.seen_by(principal(token([held])), visit())
    assert [each.id for each in found.zones] == ids
    assert len(spoken.asked) == 64


async def test_accounts_that_the_policies_name_are_there() -> None:
    names, _ = asking({ACCOUNTS: [{"id": ACCOUNT_A, "name": "Alpha Ltd"}], ZONES: [], POWERDNS: []})
    held = [policy(["Billing Read"], [account(ACCOUNT_A), account(ACCOUNT_B)], scope=ACCOUNT)]
    found = await names.seen_by(principal(token(held)), visit())
    assert {each.id for each in found.accounts} == {ACCOUNT_A, ACCOUNT_B}


async def test_nothing_served_is_nothing_known() -> None:
    store = MemoryTokenStore().hold(token(EVERYTHING))
    door = admission(store, table=CATALOG.public)
    names = ResourceNames(Lists({}), door, [], SpokenNames(), scheme="http", clock=Clock())
    found = await names.seen_by(everybody(), visit())
    assert (found.zones, found.accounts, found.incomplete) == ((), (), True)

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
import pytest
from support.records import (
    ACCOUNT_A,
    ACCOUNT_B,
    CATALOG,
    GROUPS,
    NOW,
    ZONE,
    ZONE_A,
    ZONE_B,
    account,
    owner,
    policy,
    token,
    zone,
)
from support.store_contract import MemoryTokenStore
from unit.admin.asking import allowed

from gateway.access.granting import Caller, Grant
from gateway.access.question import Unknown
from gateway.admin.authority import Authority, with_zones
from gateway.admin.request import Request
from gateway.catalog.api import Api
from gateway.reason import Deny, Reason
from gateway.server.ports import Call
from gateway.tokens.owner import Owner, OwnerStatus
from gateway.tokens.token import Status, Token

BY_ACCOUNT = token([policy(["DNS Write"], {account(ACCOUNT_A): {zone("*"): "*"}})])
CALL = Call(query=b"", body=b"", if_match=(), address="192.0.2.7", request_id="request-0001")
DNS = next(api for api in CATALOG.apis if api.name == "cloudflare-dns")
BY_NAME = msgspec.structs.replace(DNS, name="by-name", zone_key="dns-name")


class FakeAccounts:
    """A `ZoneAccounts` that knows some, and has to look for the rest."""

    def __init__(
        self, known: Mapping[tuple[str, str], str], found: Mapping[tuple[str, str], str] | None = None
    ) -> None:
        self._known = known
        self._found = found or {}
        self.looked_for: list[tuple[str, str]] = []

    def known(self, api: Api, zone: str) -> str | Unknown | None:
        return self._known.get((api.name, zone))

    async def find(self, api: Api, zone: str) -> str | Unknown:
        if (known := self.known(api, zone)) is not None:
            return known
        self.looked_for.append((api.name, zone))
        return self._found.get((api.name, zone), Unknown.NOT_FOUND)

    async def pinned(self, api: Api, zones: Sequence[str]) -> dict[str, str]:
        raise AssertionError(api, zones)


def request(caller: Token) -> Request:
    return Request(allowed("GET", "/user/tokens/verify", caller), CALL)


def authority(accounts: FakeAccounts | None, *apis: Api, store: MemoryTokenStore | None = None) -> Authority:
    return Authority(store or MemoryTokenStore().hold(BY_ACCOUNT), GROUPS, apis or (DNS,), accounts)


def on(zone_name: str) -> Grant:
    return Grant(policies=(policy(["DNS Write"], [zone(zone_name)]),))


async def test_a_zone_of_the_caller_s_account_may_be_given_once_it_was_found_out() -> None:
    accounts = FakeAccounts({("cloudflare-dns", ZONE_A): ACCOUNT_A}, {("cloudflare-dns", ZONE_B): ACCOUNT_B})
    judge = authority(accounts)
    assert await judge.why_not(request(BY_ACCOUNT), on(ZONE_A)) is None
    assert accounts.looked_for == []
    deny = await judge.why_not(request(BY_ACCOUNT), on(ZONE_B))
    assert accounts.looked_for == [("cloudflare-dns", ZONE_B)]
    assert deny is not None
    assert deny.reason is Reason.EXCEEDS_CALLER
    assert {fault.message for fault in deny.faults} == {f"your token does not give DNS Edit on zone {ZONE_B}"}


@pytest.mark.parametrize(
    "accounts", [pytest.param(None, id="that nobody asks"), pytest.param(FakeAccounts({}), id="that is not found")]
)
async def test_a_zone_whose_account_is_not_known_may_not_be_given(accounts: FakeAccounts | None) -> None:
    deny = await authority(accounts).why_not(request(BY_ACCOUNT), on(ZONE_A))
    assert deny is not None
    assert deny.reason is Reason.EXCEEDS_CALLER


@pytest.mark.parametrize(
    ("name", "asked"),
    [
        pytest.param(ZONE_A, [("cloudflare-dns", ZONE_A)], id="an id"),
        pytest.param("Alpha.example", [("by-name", "alpha.example.")], id="a DNS name"),
        pytest.param("alpha", [("cloudflare-dns", "alpha"), ("by-name", "alpha.")], id="what may be both"),
    ],
)
async def test_a_zone_is_looked_for_where_it_may_be_in_that_api_s_spelling(
    name: str, asked: list[tuple[str, str]]
) -> None:
    accounts = FakeAccounts({})
    await authority(accounts, DNS, BY_NAME).why_not(request(BY_ACCOUNT), on(name))
    assert accounts.looked_for == asked


async def test_no_more_than_two_hundred_zones_are_looked_for_in_one_call() -> None:
    accounts = FakeAccounts({})
    many = Grant(policies=(policy(["DNS Write"], [zone(f"{number:032x}") for number in range(300)]),))
    assert await authority(accounts).why_not(request(BY_ACCOUNT), many) is not None
    assert len(accounts.looked_for) == 200


async def test_a_zone_that_was_looked_for_in_one_api_alone_may_not_be_given_in_every_one() -> None:
    second = msgspec.structs.replace(BY_NAME, name="second")
    names = [f"z{number:03}.example" for number in range(100)]  # an id and 99 names are 199 questions: one is left
    accounts = FakeAccounts(
        {("cloudflare-dns", ZONE_A): ACCOUNT_A}
        | {(api, f"{each}."): ACCOUNT_A for api in ("by-name", "second") for each in names}
        | {("second", f"{names[99]}."): ACCOUNT_B}
    )
    many = Grant(policies=(policy(["DNS Write"], [zone(each) for each in (ZONE_A, *names)]),))
    deny = await authority(accounts, DNS, BY_NAME, second).why_not(request(BY_ACCOUNT), many)
    assert deny is not None
    assert {fault.message for fault in deny.faults} == {f"your token does not give DNS Edit on zone {names[99]}"}


async def test_a_caller_is_judged_as_the_store_has_him_now() -> None:
    narrowed = msgspec.structs.replace(BY_ACCOUNT, policies=())
    judge = authority(FakeAccounts({}), store=MemoryTokenStore().hold(narrowed))
    found = await judge.caller(request(BY_ACCOUNT))
    assert isinstance(found, Caller)
    assert found.token == narrowed
    gone = authority(FakeAccounts({}), store=MemoryTokenStore())
    assert await gone.caller(request(BY_ACCOUNT)) == Deny(reason=Reason.UNKNOWN_TOKEN)
    assert await gone.why_not(request(BY_ACCOUNT), on(ZONE_A)) == Deny(reason=Reason.UNKNOWN_TOKEN)


@pytest.mark.parametrize(
    ("now", "of", "reason"),
    [
        pytest.param({"status": Status.DISABLED}, owner(), Reason.TOKEN_DISABLED, id="switched off"),
        pytest.param({}, owner(status=OwnerStatus.DISABLED), Reason.TOKEN_DISABLED, id="its owner switched off"),
        pytest.param({"digests": ()}, owner(), Reason.UNKNOWN_TOKEN, id="rolled"),
        pytest.param({"policies": ()}, owner(), Reason.EXCEEDS_CALLER, id="narrowed"),
    ],
)
@pytest.mark.parametrize("when", ["before", "while accounts are looked for"])
async def test_who_was_stopped_meanwhile_gives_nothing(
    now: dict[str, Any], of: Owner, reason: Reason, when: str
) -> None:
    store = MemoryTokenStore().hold(BY_ACCOUNT)

    def stop() -> None:
        store.hold(msgspec.structs.replace(BY_ACCOUNT, **now), of=of)

    class Slow(FakeAccounts):
        async def find(self, api: Api, zone: str) -> str | Unknown:
            stop()
            return await super().find(api, zone)

    if when == "before":
        stop()
    judge = authority(Slow({}, {("cloudflare-dns", ZONE_A): ACCOUNT_A}), store=store)
    deny = await judge.why_not(request(BY_ACCOUNT), on(ZONE_A))
    assert deny is not None
    assert deny.reason is reason


def test_a_secret_in_its_overlap_is_told_apart() -> None:
    rolled = msgspec.structs.replace(
        BY_ACCOUNT, digests=(msgspec.structs.replace(BY_ACCOUNT.digests[0], ends=NOW + 60),)
    )
    assert authority(None).secret_denies(request(BY_ACCOUNT)) is None
    deny = authority(None).secret_denies(request(rolled))
    assert deny is not None
    assert deny.reason is Reason.FORBIDDEN


def test_only_apis_that_have_to_do_with_zones_may_have_them() -> None:
    assert [api.name for api in with_zones(CATALOG.public.routes)] == ["cloudflare-dns"]
    assert {route.api.name for route in CATALOG.public.routes if route.scope is not ZONE} > {"billing", "zonegate"}

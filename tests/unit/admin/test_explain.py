"""`POST .../tokens/{id}/explain`: the request is asked about, and nothing is sent anywhere."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import pytest
from msgspec.structs import replace
from support.records import (
    ACCOUNT_A,
    ACCOUNT_B,
    CATALOG,
    DNS_ON_A,
    EVERYTHING,
    GROUPS,
    NOW,
    ZONE_A,
    ZONE_B,
    account,
    owner,
    policy,
    token,
    zone,
)
from support.store_contract import MemoryTokenStore, numbered
from support.zone_accounts import MemoryAccounts
from unit.admin.asking import CALLER, NOT_MINE, SOMEBODY, FakeTrail, FakeUses, asker, dice, refused, result

from gateway.access.ports import StoreUnavailable
from gateway.access.question import Unknown
from gateway.admin.explain import Explainer, read_asked
from gateway.admin.token_api import TokenApi
from gateway.reason import Reason
from gateway.store.buckets import Ask
from gateway.tokens.condition import Condition, RequestIp
from gateway.tokens.digest import NO_PEPPERS
from gateway.tokens.owner import Owner, OwnerKind, OwnerRef, OwnerStatus
from gateway.tokens.rate import Grant, Rate, take
from gateway.tokens.token import Status, Token

HERS = numbered(7)
WRITE = {"method": "POST", "path": f"/client/v4/zones/{ZONE_A}/dns_records"}
READ = {"method": "GET", "path": f"/client/v4/zones/{ZONE_A}/dns_records"}
CREATE = {"method": "POST", "path": "/client/v4/zones"}
OF_A = policy(["DNS Write"], {account(ACCOUNT_A): {zone("*"): "*"}})


def hers(policies: Iterable[Any] = (DNS_ON_A,), **more: Any) -> Token:
    return token(policies, token_id=HERS, **more)


class Lacking:
    """Buckets that lack so many seconds of being full, and of which nothing is taken."""

    def __init__(self, lack: float) -> None:
        self._lack = lack

    async def settle(self, asks: Sequence[Ask]) -> list[Grant | StoreUnavailable]:
        assert all((ask.wanted, ask.unused) == (0, 0) for ask in asks)
        return [take(ask.rate, self._lack, 0, 0) for ask in asks]


async def explained(
    asked: Mapping[str, Any],
    of: Token | None = None,
    ceiling: Owner | None = None,
    accounts: Mapping[str, str | Unknown] | None = None,
    *,
    lack: float = 0,
    default: Rate | None = None,
) -> dict[str, Any]:
    """What the API says of a request with the token `of`, whose owner is `ceiling`; the caller's may all. Its bucket
    lacks so many seconds; `default`: limits of the settings.
    """
    buckets = Lacking(lack)
    store = MemoryTokenStore().hold(CALLER).hold(of or hers(), of=ceiling or owner())
    api = TokenApi(
        store,
        GROUPS,
        trail=FakeTrail(),
        uses=FakeUses(),
        peppers=NO_PEPPERS,
        clock=lambda: NOW,
        randomness=dice(),
        more=Explainer(
            store, GROUPS, CATALOG.public, MemoryAccounts(accounts), lambda: NOW, buckets=buckets, rate=default
        ).operations,
    )
    shown: dict[str, Any] = result(await asker(api)("POST", f"/user/tokens/{HERS}/explain", asked))
    return shown


async def test_a_request_that_would_pass_is_explained_by_the_policies_that_pass_it() -> None:
    shown = await explained(WRITE)
    assert (shown["decision"], shown["remedy"]) == ("allow", "")
    assert "reason" not in shown
    covering = [policy["side"] for policy in shown["policies"] if policy["covers"]]
    assert covering == ["token", "owner"]
    assert all(policy["why"] for policy in shown["policies"])


async def test_what_is_not_said_of_the_request_is_taken_from_the_call_and_told() -> None:
    assert (await explained(READ))["request"] == READ | {"ip": "192.0.2.7", "at": "2027-01-15T08:00:00Z"}
    asked = READ | {"ip": "2001:db8::7", "at": "2027-02-01T01:00:00+01:00"}
    assert (await explained(asked))["request"] == READ | {"ip": "2001:db8::7", "at": "2027-02-01T00:00:00Z"}


FIRST_DENY = policy(["DNS Write"], [zone(ZONE_A)], "deny")
ONLY_B = owner([policy(["DNS Write"], [zone(ZONE_B)])])


@pytest.mark.parametrize(
    ("asked", "before", "reason", "cause", "remedy", "after"),
    [
        pytest.param(
            WRITE,
            {"of": hers(status=Status.DISABLED)},
            Reason.TOKEN_DISABLED,
            "",
            "Enable the token",
            {"of": hers()},
            id="a disabled token",
        ),
        pytest.param(
            WRITE,
            {"ceiling": owner(status=OwnerStatus.DISABLED)},
            Reason.TOKEN_DISABLED,
            "",
            "Enable the owner",
            {"ceiling": owner()},
            id="a disabled owner",
        ),
        pytest.param(
            WRITE,
            {"of": hers(not_before=NOW + 60)},
            Reason.TOKEN_NOT_YET_VALID,
            "",
            "Wait until 2027-01-15T08:01:00Z, or set not_before",
            {"asked": WRITE | {"at": "2027-01-15T08:01:00Z"}},
            id="too early",
        ),
        pytest.param(
            WRITE,
            {"of": hers(expires_on=NOW)},
            Reason.TOKEN_EXPIRED,
            "",
            "Set expires_on to a later time",
            {"of": hers(expires_on=NOW + 1)},
            id="too late",
        ),
        pytest.param(
            WRITE | {"ip": "198.51.100.1"},
            {"of": hers(request_ip=["192.0.2.0/24"])},
            Reason.IP_DENIED,
            "198.51.100.1",
            "Add 198.51.100.1 to condition.request_ip.in",
            {"of": replace(hers(), condition=Condition(RequestIp(("192.0.2.0/24", "198.51.100.1"))))},
            id="another address",
        ),
        pytest.param(
            WRITE | {"path": f"/client/v4/zones/{ZONE_A}/records"},
            {},
            Reason.NO_ROUTE,
            "Could not route",
            "Correct the path",
            {"asked": WRITE},
            id="no route",
        ),
        pytest.param(
            WRITE | {"method": "PUT"},
            {},
            Reason.METHOD_NOT_ALLOWED,
            "",
            "Use one of GET, HEAD, POST",
            {"asked": WRITE},
            id="another method",
        ),
        pytest.param(
            WRITE | {"path": f"/client/v4/zones/../{ZONE_A}"},
            {},
            Reason.BAD_REQUEST,
            "a dot segment",
            "Send the path in its one spelling",
            {"asked": WRITE},
            id="a path with two spellings",
        ),
        pytest.param(
            WRITE,
            {"of": hers([policy(["DNS Read"], [zone(ZONE_A)])])},
            Reason.FORBIDDEN,
            "This needs DNS Write on this zone",
            f"Give the token DNS Write on zone {ZONE_A}",
            {"of": hers([policy(["DNS Read", "DNS Write"], [zone(ZONE_A)])])},
            id="another permission",
        ),
        pytest.param(
            WRITE,
            {"of": hers([policy(["DNS Write"], [zone(ZONE_B)])])},
            Reason.FORBIDDEN,
            "This needs DNS Write on this zone",
            f"Give the token DNS Write on zone {ZONE_A}",
            {"of": hers([policy(["DNS Write"], [zone(ZONE_B), zone(ZONE_A)])])},
            id="another zone",
        ),
        pytest.param(
            WRITE,
            {"of": hers([policy(["DNS Write"], [zone("*")]), FIRST_DENY])},
            Reason.FORBIDDEN,
            "This needs DNS Write on this zone",
            f"Take DNS Write on zone {ZONE_A} out of the deny of the token's policy",
            {"of": hers([policy(["DNS Write"], [zone("*")])])},
            id="a deny",
        ),
        pytest.param(
            WRITE,
            {"ceiling": ONLY_B},
            Reason.FORBIDDEN,
            "This needs DNS Write on this zone",
            f"Give the owner DNS Write on zone {ZONE_A}",
            {"ceiling": owner([*ONLY_B.policies, DNS_ON_A])},
            id="the owner's ceiling",
        ),
        pytest.param(
            WRITE,
            {"of": hers([OF_A]), "accounts": {ZONE_A: ACCOUNT_B}},
            Reason.FORBIDDEN,
            "This needs DNS Write on this zone",
            f"Give the token DNS Write on zone {ZONE_A}",
            {"of": hers([OF_A, DNS_ON_A]), "accounts": {ZONE_A: ACCOUNT_B}},
            id="a zone of another account",
        ),
        pytest.param(
            WRITE,
            {"of": hers([OF_A]), "accounts": {}},
            Reason.FORBIDDEN,
            "This needs DNS Write on this zone",
            "Pin the zone's account (zonegate zone set)",
            {"of": hers([OF_A]), "accounts": {ZONE_A: ACCOUNT_A}},
            id="a zone of no account that is known",
        ),
        pytest.param(
            WRITE,
            {"of": hers([OF_A]), "accounts": {ZONE_A: Unknown.UNREACHABLE}},
            Reason.UPSTREAM_UNREACHABLE,
            "could not be reached",
            "Reach the upstream again, pin the zone's account",
            {"of": hers([OF_A]), "accounts": {ZONE_A: ACCOUNT_A}},
            id="an upstream that does not say the account",
        ),
        pytest.param(
            CREATE | {"body": {"name": "new.example"}},
            {"of": hers([policy(["Zone Write"], [zone("*")])])},
            Reason.FORBIDDEN,
            "Zone Write",
            "Let the body name it, at account.id",
            {
                "of": hers([policy(["Zone Write"], [zone("*")])]),
                "asked": CREATE | {"body": {"account": {"id": ACCOUNT_A}}},
            },
            id="a body that does not name the account",
        ),
    ],
)
async def test_a_denial_is_explained_by_its_cause_and_the_change_that_is_named_allows_it(
    asked: dict[str, Any], before: dict[str, Any], reason: Reason, cause: str, remedy: str, after: dict[str, Any]
) -> None:
    shown = await explained(asked, **before)
    assert (shown["decision"], shown["reason"]) == ("deny", reason)
    assert cause in shown["message"]
    assert shown["remedy"].startswith(remedy)
    assert shown["status"] >= 400
    changed = {"asked": asked} | after
    assert (await explained(**changed))["decision"] == "allow"


async def test_the_change_is_the_least_one() -> None:
    """Both sides lack it, and a deny takes one of the groups that would do: another is cheaper than to undo that."""
    shown = await explained(READ, hers([policy(["DNS Read"], [zone(ZONE_A)], "deny")]), ONLY_B)
    assert shown["remedy"] == f"Give the token DNS Write on zone {ZONE_A}; and give the owner DNS Read on zone {ZONE_A}"
    of, ceiling = hers([policy(["DNS Write"], [zone(ZONE_A)])]), owner([policy(["DNS Read"], [zone(ZONE_A)])])
    assert (await explained(READ, of, ceiling))["decision"] == "allow"


async def test_a_body_may_be_given_as_text() -> None:
    of = hers([policy(["Zone Write"], {account(ACCOUNT_A): {zone("*"): "*"}})])
    text = f'{{"account": {{"id": "{ACCOUNT_A}"}}}}'
    assert (await explained(CREATE | {"body": text}, of))["decision"] == "allow"
    assert (await explained(CREATE | {"body": text.replace(ACCOUNT_A, ACCOUNT_B)}, of))["decision"] == "deny"


@pytest.mark.parametrize(
    "of",
    [
        pytest.param(NOT_MINE, id="somebody else's"),
        pytest.param(None, id="one that there is not"),
    ],
)
async def test_of_a_token_that_is_not_the_owner_s_nothing_is_said(of: Token | None) -> None:
    store = MemoryTokenStore().hold(CALLER)
    if of is not None:
        store.hold(of, of=owner(ref=SOMEBODY))
    explainer = Explainer(store, GROUPS, CATALOG.public, None, lambda: NOW, buckets=Lacking(0))
    api = TokenApi(
        store,
        GROUPS,
        trail=FakeTrail(),
        uses=FakeUses(),
        peppers=NO_PEPPERS,
        clock=lambda: NOW,
        randomness=dice(),
        more=explainer.operations,
    )
    outcome = await asker(api)("POST", f"/user/tokens/{of.id if of else HERS}/explain", WRITE)
    assert refused(outcome).reason is Reason.NOT_FOUND


async def test_an_account_s_tokens_are_explained_under_the_account() -> None:
    ref = OwnerRef(OwnerKind.ACCOUNT, ACCOUNT_A)
    keeper = token(EVERYTHING)
    store = MemoryTokenStore().hold(keeper).hold(hers(owner=ref), of=owner([DNS_ON_A], ref=ref))
    api = TokenApi(
        store,
        GROUPS,
        trail=FakeTrail(),
        uses=FakeUses(),
        peppers=NO_PEPPERS,
        clock=lambda: NOW,
        randomness=dice(),
        more=Explainer(store, GROUPS, CATALOG.public, None, lambda: NOW, buckets=Lacking(0)).operations,
    )
    ask = asker(api, keeper)
    assert result(await ask("POST", f"/accounts/{ACCOUNT_A}/tokens/{HERS}/explain", WRITE))["decision"] == "allow"
    assert refused(await ask("POST", f"/user/tokens/{HERS}/explain", WRITE)).reason is Reason.NOT_FOUND
    assert refused(await ask("POST", f"/accounts/{ACCOUNT_B}/tokens/{HERS}/explain", WRITE)).reason is Reason.NOT_FOUND


RATE = Rate(4, 60)
OWN, SETTINGS = {"side": "token"}, {"side": "settings"}
COUNTED = {"counted": True}
OF_RATE = {"requests": 4, "period": 60}


@pytest.mark.parametrize(
    ("of", "more", "asked", "limits"),
    [
        pytest.param(hers(), {}, READ, None, id="none"),
        pytest.param(hers(limits=RATE), {}, READ, OWN | COUNTED | {"left": 4}, id="its own, all left"),
        pytest.param(hers(limits=RATE), {"lack": 30}, READ, OWN | COUNTED | {"left": 2}, id="its own, some left"),
        pytest.param(hers(limits=RATE), {"default": Rate(9, 9)}, READ, OWN | COUNTED | {"left": 4}, id="its own first"),
        pytest.param(hers(), {"default": RATE}, READ, SETTINGS | COUNTED | {"left": 4}, id="those of the settings"),
        pytest.param(
            hers(limits=RATE),
            {"lack": 60},
            {"method": "GET", "path": "/client/v4/user/tokens/verify"},
            OWN | {"counted": False, "left": 0},
            id="of what does not count",
        ),
        pytest.param(
            hers(limits=RATE),
            {"lack": 60},
            READ | {"at": "2027-01-15T09:00:00Z"},
            OWN | COUNTED,
            id="at another moment nobody knows what is left",
        ),
    ],
)
async def test_the_limits_that_hold_are_told(
    of: Token, more: dict[str, Any], asked: Mapping[str, Any], limits: dict[str, Any] | None
) -> None:
    shown = await explained(asked, of, **more)
    assert shown["decision"] == "allow"
    assert shown.get("limits") == (None if limits is None else OF_RATE | limits)


@pytest.mark.parametrize(
    ("of", "default", "other"),
    [
        pytest.param(hers(limits=RATE), None, "larger limits", id="its own"),
        pytest.param(hers(), RATE, "limits of its own", id="those of the settings"),
    ],
)
async def test_a_request_that_comes_too_soon_is_told_when_it_would_pass(
    of: Token, default: Rate | None, other: str
) -> None:
    shown = await explained(READ, of, lack=50, default=default)
    assert (shown["decision"], shown["reason"], shown["status"], shown["code"]) == ("deny", "rate_limited", 429, 10429)
    assert shown["message"] == "Too many requests. The token has 4 requests in 60 s, and none is left"
    assert shown["remedy"] == f"Wait 5 s, or give the token {other}"
    assert (shown["limits"]["left"], shown["limits"]["wait"]) == (0, 5)


async def test_what_is_not_allowed_has_nothing_to_do_with_limits() -> None:
    shown = await explained(CREATE, hers(limits=RATE), lack=60)
    assert shown["reason"] != "rate_limited"


async def test_nothing_is_changed_by_an_explanation() -> None:
    store = MemoryTokenStore().hold(CALLER, hers())
    before = await store.get(HERS)
    await explained(WRITE)
    assert await store.get(HERS) == before


@pytest.mark.parametrize(
    ("body", "pointers"),
    [
        pytest.param(b"", [""], id="nothing"),
        pytest.param(b"[]", [""], id="a list"),
        pytest.param(b"{}", ["/method", "/path"], id="no method and no path"),
        pytest.param(b'{"method": "GET", "path": "/", "url": "/"}', ["/url"], id="an unknown field"),
        pytest.param(b'{"method": "get", "path": "/"}', ["/method"], id="a method in small letters"),
        pytest.param(b'{"method": "GET", "path": "x"}', ["/path"], id="no path"),
        pytest.param('{"method": "GET", "path": "/ü"}'.encode(), ["/path"], id="a path that is not ASCII"),
        pytest.param(b'{"method": "GET", "path": "/' + b"a" * 9000 + b'"}', ["/path"], id="a path too long"),
        pytest.param(b'{"method": "GET", "path": "/", "ip": "here"}', ["/ip"], id="no address"),
        pytest.param(b'{"method": "GET", "path": "/", "ip": 7}', ["/ip"], id="a number for an address"),
        pytest.param(b'{"method": "GET", "path": "/", "at": "now"}', ["/at"], id="no moment"),
        pytest.param(b'{"method": "GET", "path": "/", "at": 7}', ["/at"], id="a number for a moment"),
        pytest.param(b'{"method": "GET", "method": "PUT", "path": "/"}', ["/method"], id="a key twice"),
    ],
)
def test_a_body_that_asks_about_nothing_has_all_its_faults_told(body: bytes, pointers: list[str]) -> None:
    found = read_asked(body, "192.0.2.7", NOW)
    assert isinstance(found, tuple)
    assert [fault.pointer for fault in found] == pointers

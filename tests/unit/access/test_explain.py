from collections.abc import Iterable
from ipaddress import ip_address
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace
from support.records import (
    ACCOUNT,
    ACCOUNT_A,
    ACCOUNT_B,
    CATALOG,
    DNS_ON_A,
    EVERYTHING,
    GROUPS,
    NOW,
    TOKEN_ID,
    USER,
    ZONE_A,
    ZONE_B,
    account,
    owner,
    policy,
    principal,
    token,
    zone,
)

from gateway.access.decide import decide
from gateway.access.decision import Allow, Body, Need, ZoneAccount
from gateway.access.explain import Explanation, Supposed, explain
from gateway.access.question import NO_FACTS, Facts, Question, Unknown
from gateway.catalog.target import Target, split_target
from gateway.reason import Deny, Reason
from gateway.tokens.owner import Owner, OwnerKind, OwnerRef, OwnerStatus
from gateway.tokens.policy import Policy
from gateway.tokens.timestamp import format_timestamp
from gateway.tokens.token import Status, Token

RECORDS_OF_A = f"GET /zones/{ZONE_A}/dns_records"
WRITE_TO_A = f"POST /zones/{ZONE_A}/dns_records"
ALL_ZONES = zone("*")
EVERYWHERE = policy(["DNS Read", "DNS Write"], [ALL_ZONES])
OF_A = {account(ACCOUNT_A): {ALL_ZONES: "*"}}
HERE = "192.0.2.7"


def numbered(policies: Iterable[Policy], digit: str) -> list[Policy]:
    return [replace(one, id=f"{index:x}{digit * 31}") for index, one in enumerate(policies)]


def supposed(
    line: str,
    of: Token | None = None,
    ceiling: Owner | None = None,
    *,
    facts: Facts = NO_FACTS,
    address: str | None = HERE,
    now: float = NOW,
) -> Supposed:
    of = of or token()
    method, path = line.split(" ")
    target = split_target(f"/client/v4{path}".encode())
    assert isinstance(target, Target)
    return Supposed(
        token=of,
        owner=ceiling or owner(ref=of.owner),
        address=ip_address(address) if address else None,
        target=target,
        match=CATALOG.public.match(method, target.segments),
        now=now,
        facts=facts,
    )


def explained(line: str, of: Token | None = None, ceiling: Owner | None = None, **about: Any) -> Explanation:
    return explain(supposed(line, of, ceiling, **about), GROUPS)


def test_a_yes_is_explained_by_the_policies_that_give_it() -> None:
    own = numbered([DNS_ON_A, policy(["DNS Write"], [zone(ZONE_B)])], "1")
    found = explained(RECORDS_OF_A, token(own))
    assert (found.decision, found.reason, found.message, found.remedy, found.need) == (
        "allow",
        None,
        "Allowed",
        "",
        None,
    )
    assert [(one.side, one.id, one.covers) for one in found.policies] == [
        ("token", own[0].id, True),
        ("token", own[1].id, False),
        *(("owner", one.id, one.resources == {ALL_ZONES: "*"}) for one in EVERYTHING),
    ]


@pytest.mark.parametrize(
    ("one", "facts", "covers", "why"),
    [
        pytest.param(DNS_ON_A, NO_FACTS, True, f"It gives DNS Write on zone {ZONE_A}", id="gives"),
        pytest.param(
            policy(["All Permissions"], [zone(ZONE_A)]),
            NO_FACTS,
            True,
            f"It gives All Permissions on zone {ZONE_A}",
            id="gives all",
        ),
        pytest.param(
            policy(["DNS Read"], [ALL_ZONES], "deny"),
            NO_FACTS,
            True,
            f"It takes away DNS Read on zone {ZONE_A}",
            id="takes away",
        ),
        pytest.param(
            policy(["DNS Write"], [zone(ZONE_B)]),
            NO_FACTS,
            False,
            f"Its resources do not take in zone {ZONE_A}",
            id="another zone",
        ),
        pytest.param(
            policy(["Zone Write"], [zone(ZONE_A)]),
            NO_FACTS,
            False,
            "None of its permissions is asked for here, which is DNS Read or DNS Write",
            id="another group",
        ),
        pytest.param(
            replace(DNS_ON_A, apis=("billing", "powerdns")),
            NO_FACTS,
            False,
            "It is only about billing and powerdns, and this is cloudflare-dns",
            id="another API",
        ),
        pytest.param(
            policy(["DNS Write"], OF_A),
            Facts(account=Unknown.NOT_FOUND),
            False,
            "It is about an account's zones, and this zone's account is not known",
            id="an allow on the zones of who knows whom",
        ),
        pytest.param(
            policy(["DNS Write"], OF_A, "deny"),
            Facts(account=Unknown.NOT_FOUND),
            True,
            "It takes DNS Write away on an account's zones, and this zone's account is not known",
            id="a deny on the zones of who knows whom",
        ),
        pytest.param(
            policy(["DNS Write"], OF_A),
            Facts(account=ACCOUNT_A),
            True,
            f"It gives DNS Write on zone {ZONE_A}",
            id="an allow on an account's zones",
        ),
    ],
)
def test_of_each_policy_is_said_why_it_covers_the_request_or_not(
    one: Policy,
    facts: Facts,
    covers: bool,  # noqa: FBT001 - a case's data
    why: str,
) -> None:
    found = explained(RECORDS_OF_A, token([one]), facts=facts).policies[0]
    assert (found.covers, found.why, found.effect) == (covers, why, one.effect)


def test_without_a_route_or_without_a_right_no_policy_has_to_do_with_it() -> None:
    assert explained("GET /nowhere").policies == ()
    assert explained("GET /user/tokens/verify").policies == ()


def test_what_has_to_be_fetched_is_said() -> None:
    found = explained(WRITE_TO_A, token([policy(["DNS Write"], OF_A)]))
    assert found.decision == "need"
    assert isinstance(found.need, ZoneAccount)
    assert found.message == f"It turns on the account in which zone {ZONE_A} lies"
    found = explained("POST /zones", token([policy(["Zone Write"], OF_A)]))
    assert (found.decision, found.need, found.message) == ("need", Body(), "It turns on what the body names")


# Denials, each with its true cause, its remedy, and that the remedy helps.

NOT_READ_A = numbered([EVERYWHERE, policy(["DNS Read", "DNS Write"], [zone(ZONE_A)], "deny")], "7")


@pytest.mark.parametrize(
    ("before", "reason", "remedy", "after"),
    [
        pytest.param(
            supposed(RECORDS_OF_A, token([])),
            Reason.FORBIDDEN,
            f"Give the token DNS Read on zone {ZONE_A}",
            supposed(RECORDS_OF_A, token([policy(["DNS Read"], [zone(ZONE_A)])])),
            id="the token lacks the right",
        ),
        pytest.param(
            supposed(WRITE_TO_A, token([policy(["DNS Read"], [zone(ZONE_A)])])),
            Reason.FORBIDDEN,
            f"Give the token DNS Write on zone {ZONE_A}",
            supposed(WRITE_TO_A, token([DNS_ON_A])),
            id="Read does not write",
        ),
        pytest.param(
            supposed(RECORDS_OF_A, token([DNS_ON_A]), owner([])),
            Reason.FORBIDDEN,
            f"Give the owner DNS Read on zone {ZONE_A}",
            supposed(RECORDS_OF_A, token([DNS_ON_A]), owner([policy(["DNS Read"], [zone(ZONE_A)])])),
            id="the owner lacks the right",
        ),
        pytest.param(
            supposed(RECORDS_OF_A, token([]), owner([])),
            Reason.FORBIDDEN,
            f"Give the token DNS Read on zone {ZONE_A}; and give the owner DNS Read on zone {ZONE_A}",
            supposed(RECORDS_OF_A, token([policy(["DNS Read"], [zone(ZONE_A)])]), owner([EVERYWHERE])),
            id="both lack it",
        ),
        pytest.param(
            supposed(RECORDS_OF_A, token(NOT_READ_A)),
            Reason.FORBIDDEN,
            f"Take DNS Read on zone {ZONE_A} out of the deny of the token's policy {NOT_READ_A[1].id}",
            supposed(RECORDS_OF_A, token([EVERYWHERE, policy(["DNS Write"], [zone(ZONE_A)], "deny")])),
            id="a deny",
        ),
        pytest.param(
            supposed(WRITE_TO_A, token([replace(DNS_ON_A, apis=("billing",))])),
            Reason.FORBIDDEN,
            f"Give the token DNS Write on zone {ZONE_A}",
            supposed(WRITE_TO_A, token([DNS_ON_A])),
            id="a policy about another API",
        ),
        pytest.param(
            supposed(WRITE_TO_A, token([policy(["DNS Write"], OF_A)]), facts=Facts(account=ACCOUNT_B)),
            Reason.FORBIDDEN,
            f"Give the token DNS Write on zone {ZONE_A}",
            supposed(WRITE_TO_A, token([DNS_ON_A])),
            id="the zone lies in another account",
        ),
        pytest.param(
            supposed(WRITE_TO_A, token([policy(["DNS Write"], OF_A)]), facts=Facts(account=Unknown.NOT_FOUND)),
            Reason.FORBIDDEN,
            f"Pin the zone's account (zonegate zone set), or give the token DNS Write on zone {ZONE_A}",
            supposed(WRITE_TO_A, token([policy(["DNS Write"], OF_A)]), facts=Facts(account=ACCOUNT_A)),
            id="the zone's account is not known",
        ),
        pytest.param(
            supposed(WRITE_TO_A, token([policy(["DNS Write"], OF_A)]), facts=Facts(account=Unknown.UNREACHABLE)),
            Reason.UPSTREAM_UNREACHABLE,
            "Reach the upstream again, pin the zone's account (zonegate zone set), or give the token DNS Write on zone "
            + ZONE_A,
            supposed(WRITE_TO_A, token([policy(["DNS Write"], OF_A)]), facts=Facts(account=ACCOUNT_A)),
            id="the zone's account could not be asked for",
        ),
        pytest.param(
            supposed("GET /zones", token([DNS_ON_A])),
            Reason.FORBIDDEN,
            "Give the token Zone Read on a zone",
            supposed("GET /zones", token([policy(["Zone Read"], [zone(ZONE_A)])])),
            id="a list of which nothing may be seen",
        ),
        pytest.param(
            supposed("POST /zones", token([policy(["Zone Write"], OF_A)]), facts=Facts(body=b"{}")),
            Reason.FORBIDDEN,
            "Let the body name it, at account.id",
            supposed(
                "POST /zones",
                token([policy(["Zone Write"], OF_A)]),
                facts=Facts(body=b'{"account": {"id": "%s"}}' % ACCOUNT_A.encode()),
            ),
            id="a body that names nothing",
        ),
        pytest.param(
            supposed(
                "POST /zones",
                token([policy(["Zone Write"], OF_A)]),
                facts=Facts(body=b'{"account": {"id": "%s"}}' % ACCOUNT_B.encode()),
            ),
            Reason.FORBIDDEN,
            f"Give the token Zone Write on all zones of account {ACCOUNT_B}",
            supposed(
                "POST /zones",
                token([policy(["Zone Write"], {account(ACCOUNT_B): {ALL_ZONES: "*"}})]),
                facts=Facts(body=b'{"account": {"id": "%s"}}' % ACCOUNT_B.encode()),
            ),
            id="a body that names another account",
        ),
        pytest.param(
            supposed("POST /zones", token(EVERYTHING), facts=Facts(body=b"{")),
            Reason.INVALID_BODY,
            "Send a body that is plain JSON, with each key once",
            supposed("POST /zones", token(EVERYTHING), facts=Facts(body=b'{"account": {"id": "x"}}')),
            id="a body that is no JSON",
        ),
        pytest.param(
            supposed("GET /user", token(EVERYTHING, owner=OwnerRef(OwnerKind.ACCOUNT, USER))),
            Reason.FORBIDDEN,
            "Use a token that a user owns: this works on the token's own user",
            supposed("GET /user", token(EVERYTHING)),
            id="an account has no user",
        ),
        pytest.param(
            supposed(RECORDS_OF_A, token(status=Status.DISABLED)),
            Reason.TOKEN_DISABLED,
            "Enable the token",
            supposed(RECORDS_OF_A, token()),
            id="a disabled token",
        ),
        pytest.param(
            supposed(
                RECORDS_OF_A,
                token([], status=Status.DISABLED, expires_on=NOW, request_ip=["198.51.100.0/24"]),
            ),
            Reason.TOKEN_DISABLED,
            f"Enable the token; and set expires_on to a later time than {format_timestamp(NOW)}, or take it away; "
            f"and add {HERE} to condition.request_ip.in; and give the token DNS Read on zone {ZONE_A}",
            supposed(RECORDS_OF_A, token()),
            id="several things at once",
        ),
        pytest.param(
            supposed("GET /nowhere", token(status=Status.DISABLED)),
            Reason.TOKEN_DISABLED,
            "Enable the token; and correct the path, or add a route for it to the file of its API",
            supposed(RECORDS_OF_A, token()),
            id="a disabled token, and no route",
        ),
        pytest.param(
            supposed(RECORDS_OF_A, token(), owner(status=OwnerStatus.DISABLED)),
            Reason.TOKEN_DISABLED,
            f"Enable the owner user:{USER}",
            supposed(RECORDS_OF_A, token()),
            id="a disabled owner",
        ),
        pytest.param(
            replace(supposed(RECORDS_OF_A, token()), owner=None),
            Reason.TOKEN_DISABLED,
            f"Create the owner user:{USER} again: its record is gone; and give the owner DNS Read on zone {ZONE_A}",
            supposed(RECORDS_OF_A, token()),
            id="an owner that is gone",
        ),
        pytest.param(
            supposed(RECORDS_OF_A, token(not_before=NOW + 60)),
            Reason.TOKEN_NOT_YET_VALID,
            f"Wait until {format_timestamp(NOW + 60)}, or set not_before to an earlier time",
            supposed(RECORDS_OF_A, token(not_before=NOW + 60), now=NOW + 60),
            id="too early",
        ),
        pytest.param(
            supposed(RECORDS_OF_A, token(expires_on=NOW)),
            Reason.TOKEN_EXPIRED,
            f"Set expires_on to a later time than {format_timestamp(NOW)}, or take it away",
            supposed(RECORDS_OF_A, token()),
            id="too late",
        ),
        pytest.param(
            supposed(RECORDS_OF_A, token(request_ip=["198.51.100.0/24"])),
            Reason.IP_DENIED,
            f"Add {HERE} to condition.request_ip.in",
            supposed(RECORDS_OF_A, token(request_ip=["198.51.100.0/24", HERE])),
            id="from elsewhere",
        ),
        pytest.param(
            supposed(RECORDS_OF_A, token(not_in=["192.0.2.0/24"])),
            Reason.IP_DENIED,
            f"Take the networks that hold {HERE} out of condition.request_ip.not_in",
            supposed(RECORDS_OF_A, token()),
            id="from where it must not be used",
        ),
        pytest.param(
            supposed(RECORDS_OF_A, token(request_ip=["198.51.100.0/24"]), address=None),
            Reason.IP_DENIED,
            "Take the token's condition away: a client on a Unix socket has no address",
            supposed(RECORDS_OF_A, token(), address=None),
            id="from no address",
        ),
        pytest.param(
            supposed("GET /nowhere"),
            Reason.NO_ROUTE,
            "Correct the path, or add a route for it to the file of its API",
            supposed(RECORDS_OF_A),
            id="no route",
        ),
        pytest.param(
            supposed(f"PUT /zones/{ZONE_A}/dns_records"),
            Reason.METHOD_NOT_ALLOWED,
            "Use one of GET, HEAD, POST, or add a route for this method to the API's file",
            supposed(WRITE_TO_A),
            id="another method",
        ),
    ],
)
def test_a_denial_is_told_with_its_cause_and_the_least_change_that_would_allow_it(
    before: Supposed, reason: Reason, remedy: str, after: Supposed
) -> None:
    found = explain(before, GROUPS)
    assert (found.decision, found.reason, found.remedy) == ("deny", reason, remedy)
    assert explain(after, GROUPS).decision == "allow"


def test_the_message_is_the_refusal_s_with_what_the_route_needs() -> None:
    assert explained(RECORDS_OF_A, token([])).message == (
        "Authentication error. This needs DNS Read or DNS Write on this zone"
    )
    assert explained("POST /zones", token(EVERYTHING), facts=Facts(body=b'{"account": 1, "account": 2}')).message == (
        "Invalid request body. /account: a key that stands here twice"
    )


def test_an_explanation_makes_nothing_that_could_be_forwarded() -> None:
    found = explained(RECORDS_OF_A, token([DNS_ON_A]))
    assert not isinstance(found, Allow)
    assert TOKEN_ID not in msgspec.json.encode(found).decode()


# It says what `decide` says, whatever is asked.

POLICIES = (
    DNS_ON_A,
    EVERYWHERE,
    policy(["DNS Write"], OF_A),
    policy(["DNS Read"], OF_A, "deny"),
    policy(["DNS Read", "DNS Write"], [zone(ZONE_A)], "deny"),
    policy(["Zone Read", "Zone Write"], [ALL_ZONES]),
    policy(["Account Settings Read"], [account(ACCOUNT_A)], scope=ACCOUNT),
    replace(EVERYWHERE, apis=("billing",)),
    *EVERYTHING,
)
policy_lists = st.lists(st.sampled_from(POLICIES), max_size=4)
lines = st.sampled_from(
    [RECORDS_OF_A, WRITE_TO_A, "GET /zones", "POST /zones", "GET /accounts", "GET /user", "GET /no", "PUT /user"]
)
facts_known = st.builds(
    Facts,
    st.sampled_from([None, ACCOUNT_A, ACCOUNT_B, *Unknown]),
    st.sampled_from([None, b"", b"{", b"{}", b'{"account": {"id": "%s"}}' % ACCOUNT_A.encode()]),
)


@given(lines, policy_lists, policy_lists, facts_known)
@settings(deadline=None, max_examples=300)
def test_the_explanation_says_what_is_decided(
    line: str, own: list[Policy], ceiling: list[Policy], facts: Facts
) -> None:
    of, under = token(own), owner(ceiling)
    about = supposed(line, of, under, facts=facts)
    decision = decide(Question(principal(of, under), about.address, about.target, about.match, about.now, about.facts))
    found = explain(about, GROUPS)
    match decision:
        case Allow():
            assert (found.decision, found.remedy) == ("allow", "")
        case Need(fact):
            assert (found.decision, found.need) == ("need", fact)
        case Deny():
            assert (found.decision, found.reason) == ("deny", decision.reason)
            assert found.remedy


@given(policy_lists, policy_lists, facts_known)
@settings(deadline=None, max_examples=300)
def test_what_covers_is_what_decides(own: list[Policy], ceiling: list[Policy], facts: Facts) -> None:
    """For the one group that opens the route: an allow on each side that covers, and no deny that does."""
    found = explained(WRITE_TO_A, token(own), owner(ceiling), facts=facts)
    sides = {
        side: {one.effect for one in found.policies if one.side == side and one.covers} for side in ("token", "owner")
    }
    if found.decision != "need":
        assert (found.decision == "allow") == all(effects == {"allow"} for effects in sides.values())

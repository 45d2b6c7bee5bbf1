from collections.abc import Iterable
from ipaddress import ip_address
from random import Random
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
    USER,
    USER_SCOPE,
    ZONE_A,
    ZONE_B,
    account,
    owner,
    policy,
    principal,
    secret_of,
    token,
    user,
    zone,
)

from gateway.access.compiled import compile_token
from gateway.access.decide import CHECKS, NOT_PLAIN, check_dates, check_policies, decide, in_words
from gateway.access.decision import LARGEST_BODY, Allow, Body, Decision, Need, ZoneAccount
from gateway.access.principal import Principal, prove
from gateway.access.question import NO_FACTS, Facts, Question, Unknown
from gateway.catalog.api import read_api
from gateway.catalog.route_table import Matched, RouteTable
from gateway.catalog.target import Target, split_target
from gateway.reason import Deny, Fault, Reason
from gateway.tokens.digest import NO_PEPPERS
from gateway.tokens.owner import Owner, OwnerKind, OwnerRef, OwnerStatus
from gateway.tokens.permission_group import ALL_PERMISSIONS
from gateway.tokens.policy import Policy
from gateway.tokens.resource import Scope
from gateway.tokens.secret import parse_secret
from gateway.tokens.token import Status, Token

PREFIX = "/client/v4"
RECORDS_OF_A = f"GET /zones/{ZONE_A}/dns_records"
RECORDS_OF_B = f"GET /zones/{ZONE_B}/dns_records"
WRITE_TO_A = f"POST /zones/{ZONE_A}/dns_records"
WRITE_TO_B = f"POST /zones/{ZONE_B}/dns_records"
ALL_ZONES = zone("*")
HERE = "192.0.2.7"


def ask(
    line: str,
    of: Token | None = None,
    ceiling: Owner | None = None,
    *,
    who: Principal | None = None,
    address: str | None = HERE,
    now: float = NOW,
    table: RouteTable = CATALOG.public,
    prefix: str = PREFIX,
) -> Question:
    """`GET /zones`, asked by the principal of `of` under `ceiling`."""
    method, path = line.split(" ")
    target = split_target((prefix + path).encode())
    assert isinstance(target, Target)
    return Question(
        who or principal(of, ceiling),
        ip_address(address) if address else None,
        target,
        table.match(method, target.segments),
        now,
    )


def reason(decision: Decision) -> Reason | None:
    """Why not; None for a yes."""
    match decision:
        case Allow():
            return None
        case Deny():
            return decision.reason
        case _:
            pytest.fail(f"neither yes nor no: {decision}")


NOTHING_KNOWN = Facts(account=Unknown.NOT_FOUND, body=b"{}")


def asked(
    line: str, *policies: Policy, ceiling: Iterable[Policy] = EVERYTHING, facts: Facts = NOTHING_KNOWN
) -> Reason | None:
    """Why not. Each fact was asked for, and told nothing, unless a test says otherwise."""
    return reason(decide(replace(ask(line, token(policies), owner(ceiling)), facts=facts)))


def of_account(account_id: str) -> dict[str, dict[str, str]]:
    return {account(account_id): {ALL_ZONES: "*"}}


def test_a_yes_carries_who_asked_the_route_and_the_judged_target() -> None:
    question = ask(RECORDS_OF_A)
    found = decide(question)
    assert isinstance(found, Allow)
    assert isinstance(question.match, Matched)
    assert found.principal is question.principal
    assert found.route is question.match.route
    assert found.target is question.target


@pytest.mark.parametrize(
    ("line", "policies", "why"),
    [
        pytest.param(RECORDS_OF_A, [], Reason.FORBIDDEN, id="no policy: nothing"),
        pytest.param(WRITE_TO_A, [DNS_ON_A], None, id="Write on A writes A"),
        pytest.param(RECORDS_OF_A, [DNS_ON_A], None, id="Write on A reads A"),
        pytest.param(f"HEAD /zones/{ZONE_A}/dns_records", [DNS_ON_A], None, id="HEAD follows GET"),
        pytest.param(RECORDS_OF_B, [DNS_ON_A], Reason.FORBIDDEN, id="Write on A does not read B"),
        pytest.param(
            WRITE_TO_A, [policy(["DNS Read"], [zone(ZONE_A)])], Reason.FORBIDDEN, id="Read on A does not write A"
        ),
        pytest.param(
            WRITE_TO_B,
            [DNS_ON_A, policy(["DNS Read"], [zone(ZONE_B)])],
            Reason.FORBIDDEN,
            id="Write on A beside Read on B never writes B",
        ),
        pytest.param(RECORDS_OF_B, [DNS_ON_A, policy(["DNS Read"], [zone(ZONE_B)])], None, id="it reads B though"),
        pytest.param(
            RECORDS_OF_B,
            [policy(["DNS Read", "DNS Write"], [ALL_ZONES]), policy(["DNS Write"], [zone(ZONE_B)], "deny")],
            None,
            id="a deny of Write on B leaves B readable",
        ),
        pytest.param(
            WRITE_TO_B,
            [policy(["DNS Read", "DNS Write"], [ALL_ZONES]), policy(["DNS Write"], [zone(ZONE_B)], "deny")],
            Reason.FORBIDDEN,
            id="a deny of Write on B closes its writing",
        ),
        pytest.param(
            RECORDS_OF_B,
            [
                policy(["DNS Read", "DNS Write"], [ALL_ZONES]),
                policy(["DNS Read", "DNS Write"], [zone(ZONE_B)], "deny"),
            ],
            Reason.FORBIDDEN,
            id="both denied closes B",
        ),
        pytest.param(
            RECORDS_OF_A,
            [policy(["DNS Write"], [ALL_ZONES]), policy(["DNS Write"], [zone(ZONE_B)], "deny")],
            None,
            id="all zones except B opens A",
        ),
        pytest.param(
            RECORDS_OF_A,
            [policy(["Zone Write", "Zone Read"], [ALL_ZONES])],
            Reason.FORBIDDEN,
            id="groups of zones never open records",
        ),
        pytest.param(
            f"GET /zones/{ZONE_A}", [policy(["Zone Read"], [zone(ZONE_A)])], None, id="groups of zones open zones"
        ),
        pytest.param(f"GET /zones/{ZONE_A}", [DNS_ON_A], Reason.FORBIDDEN, id="groups of records never open zones"),
        pytest.param(WRITE_TO_A, [policy([ALL_PERMISSIONS], [zone(ZONE_A)])], None, id="All Permissions on A"),
        pytest.param(
            WRITE_TO_B, [policy([ALL_PERMISSIONS], [zone(ZONE_A)])], Reason.FORBIDDEN, id="All Permissions on A, not B"
        ),
        pytest.param(
            RECORDS_OF_A,
            [policy([ALL_PERMISSIONS], [ALL_ZONES]), policy([ALL_PERMISSIONS], [zone(ZONE_A)], "deny")],
            Reason.FORBIDDEN,
            id="a deny of All Permissions",
        ),
        pytest.param(
            f"GET /accounts/{ACCOUNT_A}",
            [policy(["Account Settings Read"], [account(ACCOUNT_A)], scope=ACCOUNT)],
            None,
            id="an account",
        ),
        pytest.param(
            f"GET /accounts/{ACCOUNT_B}",
            [policy(["Account Settings Read"], [account(ACCOUNT_A)], scope=ACCOUNT)],
            Reason.FORBIDDEN,
            id="another account",
        ),
        pytest.param(
            f"GET /accounts/{ACCOUNT_B}/billing/history",
            [policy(["Billing Write"], [account("*")], scope=ACCOUNT)],
            None,
            id="all accounts",
        ),
        pytest.param(
            f"GET /accounts/{ACCOUNT_A}",
            [policy([ALL_PERMISSIONS], [ALL_ZONES]), policy([ALL_PERMISSIONS], of_account(ACCOUNT_A))],
            Reason.FORBIDDEN,
            id="groups of zones never open accounts",
        ),
        pytest.param(
            RECORDS_OF_A,
            [policy([ALL_PERMISSIONS], [account("*")], scope=ACCOUNT)],
            Reason.FORBIDDEN,
            id="groups of accounts never open zones",
        ),
        pytest.param(
            "GET /user",
            [policy(["User Details Read"], [user(USER)], scope=USER_SCOPE)],
            None,
            id="the token's own user",
        ),
        pytest.param(
            "GET /user",
            [policy(["User Details Read"], [user("e" * 32)], scope=USER_SCOPE)],
            Reason.FORBIDDEN,
            id="another user",
        ),
        pytest.param(
            "GET /user/billing/history",
            [policy(["Billing Read"], [account("*")], scope=ACCOUNT)],
            Reason.FORBIDDEN,
            id="an account's bills are not the user's",
        ),
        pytest.param(
            RECORDS_OF_A,
            [policy(["DNS Write"], of_account(ACCOUNT_A))],
            Reason.FORBIDDEN,
            id="an allow on an account's zones covers no zone whose account cannot be told",
        ),
        pytest.param(
            RECORDS_OF_A,
            [policy(["DNS Write"], [ALL_ZONES]), policy(["DNS Write"], of_account(ACCOUNT_A), "deny")],
            Reason.FORBIDDEN,
            id="a deny on an account's zones covers every zone whose account cannot be told",
        ),
        pytest.param("GET /zones", list(EVERYTHING), None, id="the list of zones"),
        pytest.param("GET /zones", [DNS_ON_A], Reason.FORBIDDEN, id="the list of zones by another group"),
        pytest.param(
            "GET /zones",
            [policy(["Zone Read"], [zone(ZONE_A)]), policy(["Zone Read"], [ALL_ZONES], "deny")],
            None,
            id="the list of zones, whatever the denies",
        ),
        pytest.param("GET /accounts", list(EVERYTHING), None, id="the list of accounts"),
        pytest.param("GET /accounts", [DNS_ON_A], Reason.FORBIDDEN, id="the list of accounts by a group of zones"),
        pytest.param("POST /zones", [DNS_ON_A], Reason.FORBIDDEN, id="what no body could name"),
        pytest.param(
            "POST /zones",
            [policy(["Zone Write"], [ALL_ZONES])],
            Reason.FORBIDDEN,
            id="what the body names, and it names nothing",
        ),
        pytest.param(
            RECORDS_OF_A, [replace(DNS_ON_A, apis=("billing",))], Reason.FORBIDDEN, id="a policy about another API"
        ),
        pytest.param(RECORDS_OF_A, [replace(DNS_ON_A, apis=("cloudflare-dns",))], None, id="a policy about this API"),
        pytest.param(
            RECORDS_OF_A,
            [DNS_ON_A, replace(policy([ALL_PERMISSIONS], [ALL_ZONES], "deny"), apis=("billing",))],
            None,
            id="a deny about another API",
        ),
        pytest.param("GET /user/tokens/verify", [], None, id="any token may ask about itself"),
        pytest.param("POST /user/tokens/revoke-self", [], None, id="any token may end itself"),
        pytest.param("GET /user/tokens", [DNS_ON_A], Reason.FORBIDDEN, id="not any token may list tokens"),
    ],
)
def test_what_the_policies_of_a_token_open(line: str, policies: list[Policy], why: Reason | None) -> None:
    assert asked(line, *policies) is why


# What is fetched: the account of a zone.

(DNS_API,) = (api for api in CATALOG.apis if api.name == "cloudflare-dns")
FOR_ACCOUNT_A = policy(["DNS Write"], of_account(ACCOUNT_A))
NOT_ACCOUNT_A = policy(["DNS Write"], of_account(ACCOUNT_A), "deny")


def decided(line: str, *policies: Policy, ceiling: Iterable[Policy] = EVERYTHING, facts: Facts = NO_FACTS) -> Decision:
    return decide(replace(ask(line, token(policies), owner(ceiling)), facts=facts))


def test_the_account_of_a_zone_is_asked_for_where_the_answer_turns_on_it() -> None:
    assert decided(WRITE_TO_A, FOR_ACCOUNT_A) == Need(ZoneAccount(DNS_API, ZONE_A))


@pytest.mark.parametrize(
    ("policies", "ceiling"),
    [
        pytest.param([DNS_ON_A, FOR_ACCOUNT_A], EVERYTHING, id="a policy names the zone"),
        pytest.param([policy(["DNS Write"], [ALL_ZONES]), FOR_ACCOUNT_A], EVERYTHING, id="a policy names all zones"),
        pytest.param([policy(["DNS Read"], of_account(ACCOUNT_A))], EVERYTHING, id="no account would help"),
        pytest.param(
            [FOR_ACCOUNT_A, policy(["DNS Write"], [zone(ZONE_A)], "deny")], EVERYTHING, id="a deny of the zone"
        ),
        pytest.param([FOR_ACCOUNT_A, NOT_ACCOUNT_A], EVERYTHING, id="an account given and taken"),
        pytest.param([FOR_ACCOUNT_A], [policy(["DNS Write"], of_account(ACCOUNT_B))], id="the owner has another"),
        pytest.param([], EVERYTHING, id="no policy"),
    ],
)
def test_nothing_is_asked_for_where_it_would_change_nothing(policies: list[Policy], ceiling: list[Policy]) -> None:
    assert not isinstance(decided(WRITE_TO_A, *policies, ceiling=ceiling), Need)


UNREACHABLE = Reason.UPSTREAM_UNREACHABLE
FORBIDDEN = Reason.FORBIDDEN


@pytest.mark.parametrize(
    ("policies", "ceiling", "in_a", "in_b", "not_found", "unreachable"),
    [
        pytest.param([FOR_ACCOUNT_A], EVERYTHING, None, FORBIDDEN, FORBIDDEN, UNREACHABLE, id="an account's zones"),
        pytest.param(
            [policy(["DNS Write"], [ALL_ZONES]), NOT_ACCOUNT_A],
            EVERYTHING,
            FORBIDDEN,
            None,
            FORBIDDEN,
            FORBIDDEN,
            id="all zones but an account's",
        ),
        pytest.param(
            [policy(["DNS Write"], [ALL_ZONES])],
            [FOR_ACCOUNT_A],
            None,
            FORBIDDEN,
            FORBIDDEN,
            UNREACHABLE,
            id="an account's zones at the owner",
        ),
        pytest.param(
            [DNS_ON_A, NOT_ACCOUNT_A],
            EVERYTHING,
            FORBIDDEN,
            None,
            FORBIDDEN,
            FORBIDDEN,
            id="a zone, if it is not an account's",
        ),
        pytest.param(
            [policy(["DNS Write"], of_account(ACCOUNT_A)), policy(["DNS Write"], of_account(ACCOUNT_B), "deny")],
            EVERYTHING,
            None,
            FORBIDDEN,
            FORBIDDEN,
            UNREACHABLE,
            id="one account's and not another's",
        ),
        pytest.param(
            [policy(["DNS Read"], [ALL_ZONES]), FOR_ACCOUNT_A],
            EVERYTHING,
            None,
            FORBIDDEN,
            FORBIDDEN,
            UNREACHABLE,
            id="an account's zones, beside reading all",
        ),
    ],
)
def test_a_fetched_account_decides(
    policies: list[Policy],
    ceiling: list[Policy],
    in_a: Reason | None,
    in_b: Reason | None,
    not_found: Reason | None,
    unreachable: Reason | None,
) -> None:
    assert decided(WRITE_TO_A, *policies, ceiling=ceiling) == Need(ZoneAccount(DNS_API, ZONE_A))
    found = [
        asked(WRITE_TO_A, *policies, ceiling=ceiling, facts=Facts(account=fact))
        for fact in (ACCOUNT_A, ACCOUNT_B, Unknown.NOT_FOUND, Unknown.UNREACHABLE)
    ]
    assert found == [in_a, in_b, not_found, unreachable]


def test_a_policy_that_names_the_zone_works_whatever_became_of_the_look_up() -> None:
    for fact in (None, *Unknown, ACCOUNT_B):
        assert asked(WRITE_TO_A, DNS_ON_A, FOR_ACCOUNT_A, facts=Facts(account=fact)) is None


# What is fetched: the body.

ZONE_WRITE = policy(["Zone Write"], of_account(ACCOUNT_A))
IN_A = b'{"name": "new.example", "account": {"id": "%s"}}' % ACCOUNT_A.encode()
IN_B = b'{"name": "new.example", "account": {"id": "%s"}}' % ACCOUNT_B.encode()


def test_the_body_is_asked_for_where_it_names_what_is_touched() -> None:
    assert decided("POST /zones", ZONE_WRITE) == Need(Body(LARGEST_BODY))
    assert LARGEST_BODY == 1024 * 1024


@pytest.mark.parametrize(
    ("body", "policies", "ceiling", "why"),
    [
        pytest.param(IN_A, [ZONE_WRITE], EVERYTHING, None, id="the account that the policy names"),
        pytest.param(IN_B, [ZONE_WRITE], EVERYTHING, FORBIDDEN, id="another account"),
        pytest.param(IN_B, [policy(["Zone Write"], [ALL_ZONES])], EVERYTHING, None, id="any account"),
        pytest.param(
            IN_A,
            [policy(["Zone Write"], [ALL_ZONES]), policy(["Zone Write"], of_account(ACCOUNT_A), "deny")],
            EVERYTHING,
            FORBIDDEN,
            id="any account but this",
        ),
        pytest.param(IN_A, [ZONE_WRITE], [policy(["Zone Write"], of_account(ACCOUNT_B))], FORBIDDEN, id="not owned"),
        pytest.param(
            IN_A,
            [policy(["Zone Write"], [ALL_ZONES]), policy(["Zone Write"], [zone(ZONE_A)], "deny")],
            EVERYTHING,
            None,
            id="a deny of one zone takes no new one away",
        ),
        pytest.param(b"", list(EVERYTHING), EVERYTHING, FORBIDDEN, id="no body"),
        pytest.param(b"{}", list(EVERYTHING), EVERYTHING, FORBIDDEN, id="a body that names nothing"),
        pytest.param(b"[]", list(EVERYTHING), EVERYTHING, FORBIDDEN, id="a body that is no object"),
        pytest.param(b'{"account": "x"}', list(EVERYTHING), EVERYTHING, FORBIDDEN, id="no object on the way"),
        pytest.param(b'{"account": {"id": 7}}', list(EVERYTHING), EVERYTHING, FORBIDDEN, id="a number"),
        pytest.param(b'{"account": {"id": "*"}}', list(EVERYTHING), EVERYTHING, FORBIDDEN, id="a star"),
        pytest.param(b"{", list(EVERYTHING), EVERYTHING, Reason.INVALID_BODY, id="no JSON"),
        pytest.param(b"\x1f\x8b", list(EVERYTHING), EVERYTHING, Reason.INVALID_BODY, id="compressed without a word"),
        pytest.param(
            b'{"account": {"id": "%s", "id": "%s"}}' % (ACCOUNT_A.encode(), ACCOUNT_B.encode()),
            list(EVERYTHING),
            EVERYTHING,
            Reason.INVALID_BODY,
            id="one key twice",
        ),
    ],
)
def test_what_the_body_names_is_judged(
    body: bytes, policies: list[Policy], ceiling: list[Policy], why: Reason | None
) -> None:
    assert asked("POST /zones", *policies, ceiling=ceiling, facts=Facts(body=body)) is why


def test_a_compressed_body_is_refused_before_it_is_read() -> None:
    question = replace(ask("POST /zones", token([ZONE_WRITE])), encoded=True)
    for facts in (NO_FACTS, Facts(body=IN_A)):
        assert decide(replace(question, facts=facts)) == Deny(
            reason=Reason.INVALID_BODY, faults=(Fault("", NOT_PLAIN),)
        )


def test_whoever_could_not_do_it_in_any_case_is_not_asked_for_a_body() -> None:
    for encoded in (False, True):
        question = replace(ask("POST /zones", token([DNS_ON_A])), encoded=encoded)
        assert reason(decide(question)) is Reason.FORBIDDEN


def test_a_compressed_body_that_nobody_need_read_streams_through() -> None:
    assert reason(decide(replace(ask(WRITE_TO_A), encoded=True))) is None


DNS_READ_ON_A = policy(["DNS Read"], [zone(ZONE_A)])
DNS_ON_B = policy(["DNS Write"], [zone(ZONE_B)])
DNS_EVERYWHERE = policy(["DNS Read", "DNS Write"], [ALL_ZONES])


@pytest.mark.parametrize(
    ("line", "own", "ceiling", "why"),
    [
        pytest.param(RECORDS_OF_A, [DNS_ON_A], [DNS_ON_A], None, id="both give it"),
        pytest.param(RECORDS_OF_A, [DNS_ON_A], [], Reason.FORBIDDEN, id="the owner has nothing"),
        pytest.param(RECORDS_OF_A, [DNS_ON_A], [DNS_ON_B], Reason.FORBIDDEN, id="the owner has another zone"),
        pytest.param(RECORDS_OF_A, [DNS_ON_B], [DNS_EVERYWHERE], Reason.FORBIDDEN, id="the owner's more gives nothing"),
        pytest.param(WRITE_TO_A, [DNS_ON_A], [DNS_READ_ON_A], Reason.FORBIDDEN, id="the owner only reads"),
        pytest.param(RECORDS_OF_A, [DNS_ON_A], [DNS_READ_ON_A], None, id="each opens it by another group"),
        pytest.param(
            RECORDS_OF_A,
            [DNS_EVERYWHERE],
            [DNS_EVERYWHERE, policy(["DNS Read", "DNS Write"], [zone(ZONE_A)], "deny")],
            Reason.FORBIDDEN,
            id="a deny at the owner",
        ),
        pytest.param(
            RECORDS_OF_B,
            [DNS_EVERYWHERE],
            [DNS_EVERYWHERE, policy(["DNS Read", "DNS Write"], [zone(ZONE_A)], "deny")],
            None,
            id="a deny at the owner on another zone",
        ),
        pytest.param(
            RECORDS_OF_A,
            [DNS_EVERYWHERE, policy(["DNS Read"], [zone(ZONE_A)], "deny")],
            [DNS_EVERYWHERE, policy(["DNS Write"], [zone(ZONE_A)], "deny")],
            None,
            id="half a deny at each closes nothing: each is looked at alone",
        ),
        pytest.param(
            RECORDS_OF_A,
            [DNS_EVERYWHERE],
            [DNS_EVERYWHERE, policy(["DNS Read", "DNS Write"], of_account(ACCOUNT_A), "deny")],
            Reason.FORBIDDEN,
            id="a deny at the owner on an account's zones",
        ),
        pytest.param("GET /user/tokens/verify", [], [], None, id="what needs no right needs none of the owner"),
    ],
)
def test_the_owner_s_ceiling_is_looked_at_alone(
    line: str, own: list[Policy], ceiling: list[Policy], why: Reason | None
) -> None:
    assert asked(line, *own, ceiling=ceiling) is why


def test_a_token_of_an_account_has_no_user_of_its_own() -> None:
    ref = OwnerRef(OwnerKind.ACCOUNT, USER)
    of = token(EVERYTHING, owner=ref)
    assert reason(decide(ask("GET /user", of, owner(ref=ref)))) is Reason.FORBIDDEN
    assert reason(decide(ask(RECORDS_OF_A, of, owner(ref=ref)))) is None


def without_owner(of: Token) -> Principal:
    credential = parse_secret(secret_of().reveal())
    assert credential is not None
    found = prove(credential, compile_token(of, None), NO_PEPPERS, NOW)
    assert isinstance(found, Principal)
    return found


@pytest.mark.parametrize("line", [RECORDS_OF_A, "GET /user/tokens/verify", "GET /nowhere"])
@pytest.mark.parametrize(
    "who",
    [
        pytest.param(principal(token(status=Status.DISABLED)), id="a disabled token"),
        pytest.param(principal(token(status=Status.EXPIRED)), id="a token stored as expired"),
        pytest.param(principal(token(), owner(status=OwnerStatus.DISABLED)), id="a disabled owner"),
        pytest.param(without_owner(token()), id="an owner that is gone"),
    ],
)
def test_what_is_switched_off_gets_nowhere(who: Principal, line: str) -> None:
    assert decide(ask(line, who=who)) == Deny(reason=Reason.TOKEN_DISABLED)


@pytest.mark.parametrize(
    ("now", "why"),
    [
        pytest.param(NOW - 1, Reason.TOKEN_NOT_YET_VALID, id="a second early"),
        pytest.param(NOW - 0.001, Reason.TOKEN_NOT_YET_VALID, id="a moment early"),
        pytest.param(NOW, None, id="in the second of not_before"),
        pytest.param(NOW + 9.999, None, id="a moment before expires_on"),
        pytest.param(NOW + 10, Reason.TOKEN_EXPIRED, id="in the second of expires_on"),
        pytest.param(NOW + 11, Reason.TOKEN_EXPIRED, id="a second late"),
    ],
)
def test_a_token_lives_from_not_before_until_expires_on(now: float, why: Reason | None) -> None:
    of = token(not_before=NOW, expires_on=NOW + 10)
    question = ask(RECORDS_OF_A, of, now=now)
    assert check_dates(question) == (Deny(reason=why) if why else None)
    assert reason(decide(question)) is why


@pytest.mark.parametrize("now", [0, NOW, 1e12])
def test_a_token_without_dates_lives_for_ever(now: float) -> None:
    assert reason(decide(ask(RECORDS_OF_A, now=now))) is None


@pytest.mark.parametrize(
    ("address", "shown"),
    [
        pytest.param("198.51.100.1", "198.51.100.1", id="v4"),
        pytest.param("2001:db8::1", "2001:db8::1", id="v6"),
        pytest.param("0.0.0.0", "0.0.0.0", id="the address of noughts"),  # noqa: S104 - nobody listens
        pytest.param(None, "unknown", id="no address"),
    ],
)
def test_a_client_elsewhere_is_told_its_address(address: str | None, shown: str) -> None:
    of = token(request_ip=["192.0.2.0/24"])
    assert decide(ask(RECORDS_OF_A, of, address=address)) == Deny(reason=Reason.IP_DENIED, address=shown)


def test_a_client_where_the_token_may_be_used_passes() -> None:
    of = token(request_ip=["192.0.2.0/24"], not_in=["192.0.2.8"])
    assert reason(decide(ask(RECORDS_OF_A, of, address="192.0.2.7"))) is None
    assert reason(decide(ask(RECORDS_OF_A, of, address="192.0.2.8"))) is Reason.IP_DENIED


def test_a_path_without_a_route_is_named() -> None:
    path = f"/zones/{ZONE_A.upper()}/dns_records"
    assert decide(ask(f"GET {path}?a=b")) == Deny(reason=Reason.NO_ROUTE, path=PREFIX + path)


def test_a_method_that_the_path_lacks_is_told_those_it_has() -> None:
    assert decide(ask(f"PUT /zones/{ZONE_A}/dns_records")) == Deny(
        reason=Reason.METHOD_NOT_ALLOWED, methods=("GET", "HEAD", "POST")
    )


def test_a_refusal_says_which_groups_would_open_the_route_and_nothing_of_the_request() -> None:
    assert decide(ask(RECORDS_OF_B)) == Deny(
        reason=Reason.FORBIDDEN, needs=("DNS Read", "DNS Write"), note="This needs DNS Read or DNS Write on this zone"
    )


@pytest.mark.parametrize(
    ("line", "words"),
    [
        pytest.param(WRITE_TO_A, "This needs DNS Write on this zone", id="a zone"),
        pytest.param(
            f"POST /accounts/{ACCOUNT_A}/billing/profile", "This needs Billing Write on this account", id="an account"
        ),
        pytest.param(
            "GET /user", "This needs User Details Read or User Details Write on the token's own user", id="the user"
        ),
        pytest.param("GET /zones", "This needs Zone Read or Zone Write on a zone", id="a list"),
        pytest.param(
            "POST /zones",
            "This needs Zone Write on all zones of the account that the body names (account.id)",
            id="in the body",
        ),
    ],
)
def test_what_a_route_needs_can_be_said_in_words(line: str, words: str) -> None:
    match = ask(line).match
    assert isinstance(match, Matched)
    assert in_words(match.route) == words


# The order of the checks: everything is wrong, then one thing less at a time.


def test_each_check_comes_in_its_turn() -> None:
    dead: dict[str, Any] = {"status": Status.DISABLED, "expires_on": NOW - 1, "request_ip": ["198.51.100.0/24"]}
    turns: list[tuple[Reason | None, dict[str, Any], str]] = [
        (Reason.TOKEN_DISABLED, {}, "GET /nowhere"),
        (Reason.TOKEN_EXPIRED, {"status": Status.ACTIVE}, "GET /nowhere"),
        (Reason.IP_DENIED, {"expires_on": None}, "GET /nowhere"),
        (Reason.NO_ROUTE, {"request_ip": []}, "GET /nowhere"),
        (Reason.METHOD_NOT_ALLOWED, {}, f"PUT /zones/{ZONE_B}/dns_records"),
        (Reason.FORBIDDEN, {}, WRITE_TO_B),
        (None, {}, WRITE_TO_A),
    ]
    found = []
    for _, mended, line in turns:
        dead |= mended
        found.append(reason(decide(ask(line, token([DNS_ON_A], **dead)))))
    assert found == [why for why, _, _ in turns]


def test_an_early_token_is_told_so_before_its_address_is_looked_at() -> None:
    of = token(not_before=NOW + 1, request_ip=["198.51.100.0/24"])
    assert reason(decide(ask("GET /nowhere", of))) is Reason.TOKEN_NOT_YET_VALID


def test_the_order_of_the_checks_is_data() -> None:
    assert [check.__name__ for check in CHECKS] == [
        "check_status",
        "check_dates",
        "check_address",
        "check_route",
        "check_policies",
    ]


@pytest.mark.parametrize("line", ["GET /nowhere", f"PUT /zones/{ZONE_A}/dns_records"])
def test_the_check_of_policies_alone_lets_no_request_without_a_route_pass(line: str) -> None:
    assert check_policies(ask(line)) is not None


# Other APIs: where they take the credential, and what they read in a query.

POWERDNS = """
name = "powerdns"
prefix = "/api"
credential_headers = ["X-API-Key"]
zone_key = "dns-name"
variables = { zone = "dns-name" }
forbid_query = ["api_key", "_Method"]

[[route]]
methods = ["GET"]
path = "/zones/{zone}"
permission = ["DNS Read", "DNS Write"]
resource = "zone:{zone}"
"""
POWERDNS += """
[[route]]
methods = ["POST"]
path = "/zones"
permission = ["Zone Write"]
resource = "zone:{body.name}"
"""
BY_NAME = RouteTable([("apis/powerdns.toml", route) for route in read_api("apis/powerdns.toml", POWERDNS, GROUPS)[1]])


def by_name(line: str, *policies: Policy, field: str = "x-api-key") -> Reason | None:
    who = msgspec.structs.replace(principal(token(policies)), credential_field=field)
    return reason(decide(ask(line, who=who, table=BY_NAME, prefix="/api")))


ALPHA = policy(["DNS Read"], [zone("alpha.example")])


def test_a_credential_in_a_field_of_another_api_is_none() -> None:
    assert by_name("GET /zones/alpha.example", ALPHA) is None
    assert by_name("GET /zones/alpha.example", ALPHA, field="authorization") is Reason.MISSING_CREDENTIALS
    who = msgspec.structs.replace(principal(), credential_field="x-api-key")
    assert decide(ask(RECORDS_OF_A, who=who)) == Deny(reason=Reason.MISSING_CREDENTIALS)


@pytest.mark.parametrize(
    ("query", "why"),
    [
        pytest.param("", None, id="no query"),
        pytest.param("?", None, id="an empty query"),
        pytest.param("?rrsets=true", None, id="another parameter"),
        pytest.param("?x=api_key", None, id="the word as a value"),
        pytest.param("?API_Key=x", Reason.BAD_REQUEST, id="in capitals"),
        pytest.param("?api_key=x", Reason.BAD_REQUEST, id="the parameter"),
        pytest.param("?api_key", Reason.BAD_REQUEST, id="without a value"),
        pytest.param("?a=b&api_key=x", Reason.BAD_REQUEST, id="as the second"),
        pytest.param("?a=b;api_key=x", Reason.BAD_REQUEST, id="behind a semicolon"),
        pytest.param("?&&_method=PUT", Reason.BAD_REQUEST, id="behind nothing"),
        pytest.param("?%61pi_key=x", Reason.BAD_REQUEST, id="with an encoded letter"),
        pytest.param("?api%5Fkey=x", Reason.BAD_REQUEST, id="with an encoded underscore"),
        pytest.param("?%5f%6d%65%74%68%6f%64=PUT", Reason.BAD_REQUEST, id="encoded from end to end"),
    ],
)
def test_a_parameter_that_an_api_forbids_is_a_bad_request(query: str, why: Reason | None) -> None:
    assert by_name(f"GET /zones/alpha.example{query}", ALPHA) is why


def test_the_forbidden_parameters_of_one_api_are_free_in_another() -> None:
    assert reason(decide(ask(f"{RECORDS_OF_A}?api_key=x&_method=PUT"))) is None


@pytest.mark.parametrize(
    ("written", "path", "why"),
    [
        pytest.param("alpha.example", "alpha.example", None, id="the same"),
        pytest.param("alpha.example", "alpha.example.", None, id="a final dot"),
        pytest.param("alpha.example", "ALPHA.example", None, id="another case"),
        pytest.param("Alpha.Example.", "alpha.example", None, id="a policy in another spelling"),
        pytest.param("0/25.example", "0=2F25.example", None, id="a slash"),
        pytest.param("alpha.example", "beta.example", Reason.FORBIDDEN, id="another zone"),
        pytest.param("alpha.example", "=61lpha.example", Reason.NO_ROUTE, id="an escape that is not =2F"),
        pytest.param("alpha.example", "a.alpha.example", Reason.FORBIDDEN, id="a zone under it"),
    ],
)
def test_a_zone_by_name_is_the_same_in_every_spelling(written: str, path: str, why: Reason | None) -> None:
    assert by_name(f"GET /zones/{path}", policy(["DNS Read"], [zone(written)])) is why


# A zone that the body names: what is fetched of it is fetched after the body, and that is all.


def made(*policies: Policy, **facts: Any) -> Decision:
    who = replace(principal(token(policies)), credential_field="x-api-key")
    question = ask("POST /zones", who=who, table=BY_NAME, prefix="/api")
    return decide(replace(question, facts=Facts(**facts)))


NEW = b'{"name": "New.Example"}'


@pytest.mark.parametrize(
    ("one", "why"),
    [
        pytest.param(policy(["Zone Write"], [zone("new.example")]), None, id="that very name"),
        pytest.param(policy(["Zone Write"], [ALL_ZONES]), None, id="all zones"),
        pytest.param(policy(["Zone Write"], [zone("example")]), FORBIDDEN, id="the zone above it"),
        pytest.param(policy(["DNS Write"], [zone("new.example")]), FORBIDDEN, id="another group"),
    ],
)
def test_a_zone_is_made_by_who_has_that_very_name_or_all(one: Policy, why: Reason | None) -> None:
    assert reason(made(one, body=NEW)) is why


def test_a_zone_that_the_body_names_may_turn_on_its_account_too() -> None:
    for_account = policy(["Zone Write"], of_account(ACCOUNT_A))
    assert made(for_account) == Need(Body())
    found = made(for_account, body=NEW)
    assert isinstance(found, Need)
    assert isinstance(found.fact, ZoneAccount)
    assert found.fact.zone == "new.example."
    assert reason(made(for_account, body=NEW, account=ACCOUNT_A)) is None
    assert reason(made(for_account, body=NEW, account=Unknown.NOT_FOUND)) is FORBIDDEN
    assert reason(made(for_account, body=NEW, account=Unknown.UNREACHABLE)) is UNREACHABLE


# Properties.

GROUP_CHOICES = ["DNS Read", "DNS Write", "Zone Read", "Zone Write", ALL_PERMISSIONS]
ZONE_KEYS: list[dict[str, Any]] = [
    {zone(ZONE_A): "*"},
    {zone(ZONE_B): "*"},
    {ALL_ZONES: "*"},
    of_account(ACCOUNT_A),
    {zone(ZONE_A): "*", zone(ZONE_B): "*"},
]
ACCOUNT_KEYS: list[dict[str, Any]] = [{account(ACCOUNT_A): "*"}, {account("*"): "*"}]
effects = st.sampled_from(["allow", "deny"])
on_zones = st.builds(
    policy,
    st.lists(st.sampled_from(GROUP_CHOICES), min_size=1, max_size=3, unique=True),
    st.sampled_from(ZONE_KEYS),
    effects,
)
on_accounts = st.builds(
    policy,
    st.just(["Account Settings Read"]) | st.just([ALL_PERMISSIONS]),
    st.sampled_from(ACCOUNT_KEYS),
    effects,
    st.just(Scope.ACCOUNT),
)
policies = on_zones | on_accounts
policy_lists = st.lists(policies, max_size=4)
requests = st.sampled_from(
    [
        RECORDS_OF_A,
        RECORDS_OF_B,
        WRITE_TO_A,
        WRITE_TO_B,
        f"GET /zones/{ZONE_A}",
        f"DELETE /zones/{ZONE_B}",
        f"GET /accounts/{ACCOUNT_A}",
        "GET /zones",
        "GET /user",
    ]
)


@given(line=requests, some=policy_lists, more=policies, at_the_owner=st.booleans())
@settings(deadline=None, max_examples=300)
def test_one_more_deny_opens_nothing_and_one_more_allow_closes_nothing(
    line: str, some: list[Policy], more: Policy, *, at_the_owner: bool
) -> None:
    if at_the_owner:
        before = asked(line, *EVERYTHING, ceiling=some)
        after = asked(line, *EVERYTHING, ceiling=[*some, more])
    else:
        before, after = asked(line, *some), asked(line, *some, more)
    if more.effect == "deny":
        assert not (after is None and before is not None)
    else:
        assert not (before is None and after is not None)


@given(requests, policy_lists, policy_lists)
@settings(deadline=None, max_examples=300)
def test_a_request_passes_when_the_token_alone_and_the_owner_alone_pass_it(
    line: str, own: list[Policy], ceiling: list[Policy]
) -> None:
    alone = asked(line, *own) is None and asked(line, *EVERYTHING, ceiling=ceiling) is None
    assert (asked(line, *own, ceiling=ceiling) is None) == alone


@given(requests, policy_lists, st.randoms(use_true_random=False))
@settings(deadline=None)
def test_the_order_of_policies_does_not_matter(line: str, some: list[Policy], random: Random) -> None:
    assert asked(line, *random.sample(some, len(some))) is asked(line, *some)


ZONE_ID = "0a1b2c3d4e5f60718293a4b5c6d7e8f9"
DENIED = (DNS_EVERYWHERE, policy(["DNS Read", "DNS Write"], [zone(ZONE_ID)], "deny"))


BEFORE = ["", "./", "../zones/", "x/../", "/", "%2E/", ";/", ".;/", "%2e%2e/"]
BEHIND = ["", ".", ";", ";a=b", "%00", "%20", "%2E", "/", "/.", "%2F", "?", "+", "%3B", "=2E", "#"]


def in_other_words(character: str) -> st.SearchStrategy[str]:
    """`character` as some reader might read it."""
    octet = f"{ord(character):02X}"
    return st.sampled_from(
        [character.swapcase(), f"%{octet}", f"%{octet.lower()}", f"%25{octet}", f"={octet}", f"%u00{octet}"]
    )


@st.composite
def spellings(draw: st.DrawFn, of: str) -> str:
    """`of` re-cased, a few characters written otherwise, often with something before or behind it."""
    cases = draw(st.lists(st.booleans(), min_size=len(of), max_size=len(of)) | st.just([False] * len(of)))
    characters = [one.swapcase() if swap else one for one, swap in zip(of, cases, strict=True)]
    for index in draw(st.sets(st.integers(0, len(of) - 1), max_size=2)):
        characters[index] = draw(in_other_words(characters[index]))
    before, behind = (draw(st.just("") | st.sampled_from(choices)) for choices in (BEFORE, BEHIND))
    return f"{before}{''.join(characters)}{behind}"


@given(spellings(ZONE_ID))
@settings(deadline=None, max_examples=500)
def test_no_spelling_of_a_denied_zone_id_gets_through(spelling: str) -> None:
    target = split_target(f"{PREFIX}/zones/{spelling}/dns_records".encode())
    if isinstance(target, Deny):
        assert target.reason is Reason.BAD_REQUEST
        return
    match = CATALOG.public.match("GET", target.segments)
    found = decide(Question(principal(token(DENIED)), None, target, match, NOW))
    assert reason(found) in {Reason.NO_ROUTE, Reason.FORBIDDEN, Reason.METHOD_NOT_ALLOWED}


def test_the_plain_spelling_is_forbidden_and_any_other_zone_is_open() -> None:
    assert asked(f"GET /zones/{ZONE_ID}/dns_records", *DENIED) is Reason.FORBIDDEN
    assert asked(RECORDS_OF_A, *DENIED) is None


NAMES_DENIED = (DNS_EVERYWHERE, policy(["DNS Read", "DNS Write"], [zone("Alpha.0/25.example")], "deny"))


@given(spellings("alpha.0=2F25.example"))
@settings(deadline=None, max_examples=500)
def test_no_spelling_of_a_denied_zone_name_gets_through(spelling: str) -> None:
    target = split_target(f"/api/zones/{spelling}".encode())
    if isinstance(target, Deny):
        assert target.reason is Reason.BAD_REQUEST
        return
    who = msgspec.structs.replace(principal(token(NAMES_DENIED)), credential_field="x-api-key")
    found = decide(Question(who, None, target, BY_NAME.match("GET", target.segments), NOW))
    assert reason(found) in {Reason.NO_ROUTE, Reason.FORBIDDEN, Reason.BAD_REQUEST}


def test_the_denied_name_is_forbidden_and_any_other_is_open() -> None:
    assert by_name("GET /zones/alpha.0=2F25.example", *NAMES_DENIED) is Reason.FORBIDDEN
    assert by_name("GET /zones/beta.example", *NAMES_DENIED) is None


@given(st.text("abcdef0123456789", min_size=32, max_size=32), st.sampled_from(["DNS Read", "DNS Write"]))
@settings(deadline=None)
def test_a_token_for_one_zone_opens_no_other(other: str, group: str) -> None:
    line = f"GET /zones/{other}/dns_records"
    assert (asked(line, policy([group], [zone(ZONE_A)])) is None) == (other == ZONE_A)


# Reports of leaked secrets.


REPORT = "POST /user/tokens/leaked"
DEAD = [
    pytest.param({"expires_on": NOW}, HERE, Reason.TOKEN_EXPIRED, id="expired"),
    pytest.param({"not_before": NOW + 1}, HERE, Reason.TOKEN_NOT_YET_VALID, id="not yet valid"),
    pytest.param({"status": Status.DISABLED}, HERE, Reason.TOKEN_DISABLED, id="disabled"),
    pytest.param({"request_ip": ["203.0.113.0/24"]}, HERE, Reason.IP_DENIED, id="elsewhere"),
]


def reporting(token_id: str) -> Facts:
    return Facts(body=b'{"secrets":["%s"]}' % secret_of(token_id).reveal().encode())


@pytest.mark.parametrize(("fields", "address", "why_not"), DEAD)
def test_a_secret_that_is_reported_has_only_to_be_shown(fields: dict[str, Any], address: str, why_not: Reason) -> None:
    question = ask(REPORT, token(**fields), address=address)
    assert decide(question) == Need(Body(64 * 1024))
    assert reason(decide(replace(question, facts=reporting(token().id)))) is None
    assert reason(decide(replace(question, facts=reporting("0" * 32)))) is why_not
    assert reason(decide(replace(question, facts=Facts(body=b"{}")))) is why_not
    assert reason(decide(replace(question, encoded=True, facts=reporting(token().id)))) is why_not


@pytest.mark.parametrize(("fields", "address", "why_not"), DEAD)
def test_a_report_in_the_body_opens_no_other_route(fields: dict[str, Any], address: str, why_not: Reason) -> None:
    for line in ("POST /user/tokens", "POST /user/tokens/revoke-self", WRITE_TO_A):
        question = replace(ask(line, token(**fields), address=address), facts=reporting(token().id))
        assert reason(decide(question)) is why_not


def test_a_token_that_works_reports_without_a_look_at_the_body() -> None:
    assert reason(decide(ask(REPORT))) is None

import gc
from collections.abc import Iterator
from ipaddress import ip_address
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.records import (
    ACCOUNT_A,
    ACCOUNT_B,
    CATALOG,
    DNS_ON_A,
    EVERYTHING,
    GROUPS,
    NOW,
    USER,
    ZONE_A,
    ZONE_B,
    account,
    compiled,
    owner,
    policy,
    secret_of,
    shipped_catalog,
    token,
    zone,
)
from support.steps import steps
from unit.access.plain_rights import plainly_gives

from gateway.access.compiled import REMEMBERED, CompiledToken, compile_owner, compile_token
from gateway.access.decide import decide
from gateway.access.decision import Allow, Decision, Need
from gateway.access.principal import Principal, prove
from gateway.access.question import Question
from gateway.catalog.api import Route, read_api
from gateway.catalog.route_table import Matched, RouteTable
from gateway.catalog.target import Target, split_target
from gateway.reason import Deny
from gateway.tokens.condition import Condition, RequestIp
from gateway.tokens.digest import NO_PEPPERS
from gateway.tokens.owner import Owner, OwnerKind, OwnerRef, OwnerStatus
from gateway.tokens.policy import Policy
from gateway.tokens.resource import Account, Scope, User, Zone
from gateway.tokens.secret import parse_secret
from gateway.tokens.token import Status, Token

ALL_ZONES = zone("*")


def target(path: str) -> Target:
    found = split_target(f"/client/v4{path}".encode())
    assert isinstance(found, Target)
    return found


def route_of(line: str, table: RouteTable = CATALOG.public) -> tuple[Route, tuple[bytes, ...]]:
    method, path = line.split(" ")
    segments = target(path).segments
    match = table.match(method, segments)
    assert isinstance(match, Matched)
    return match.route, segments


def read(zone_id: str) -> tuple[Route, tuple[bytes, ...]]:
    return route_of(f"GET /zones/{zone_id}/dns_records")


# What is in it.


def test_a_compiled_token_has_what_is_looked_at_each_time() -> None:
    of = token(status=Status.DISABLED, not_before=NOW, expires_on=NOW + 1, request_ip=["192.0.2.0/24"])
    found = compiled(of)
    assert (found.id, found.owner, found.status) == (of.id, of.owner, of.status)
    assert (found.not_before, found.expires_on, found.digests) == (NOW, NOW + 1, of.digests)
    assert found.address_rule.admits(ip_address("192.0.2.7"))
    assert not found.address_rule.admits(ip_address("198.51.100.7"))
    assert found.ceiling is not None
    assert found.ceiling.active


@pytest.mark.parametrize(("status", "active"), [(OwnerStatus.ACTIVE, True), (OwnerStatus.DISABLED, False)])
def test_a_compiled_owner_is_active_or_not(status: OwnerStatus, *, active: bool) -> None:
    found = compile_owner(owner(status=status))
    assert (found.ref, found.active) == (owner().ref, active)


def test_without_an_owner_nothing_is_open() -> None:
    found = compile_token(token(EVERYTHING), None)
    assert found.owner == token().owner
    assert found.ceiling is None
    assert not found.opens(*read(ZONE_A))
    assert not found.opens_on(read(ZONE_A)[0], Zone(ZONE_A), ACCOUNT_A)
    assert not found.sees(read(ZONE_A)[0], Zone(ZONE_A), ACCOUNT_A)
    assert found.opens(*route_of("GET /zones")) is False
    assert found.opens(*route_of("POST /zones")) is False


@pytest.mark.parametrize(
    "of",
    [
        pytest.param(
            token([msgspec.structs.replace(DNS_ON_A, resources={"com.example.zone": "*"})]),
            id="a resource of the token",
        ),
        pytest.param(
            msgspec.structs.replace(token(), condition=Condition(RequestIp(("nowhere",)))),
            id="a network in its condition",
        ),
        pytest.param(token(owner=OwnerRef(OwnerKind.ACCOUNT, USER)), id="another owner's record"),
    ],
)
def test_a_record_that_cannot_be_read_is_an_error_and_no_token(of: Token) -> None:
    with pytest.raises(ValueError, match=r"not a resource|not an address|another owner's"):
        compile_token(of, compile_owner(owner()))


def test_an_owner_that_cannot_be_read_is_an_error_and_no_ceiling() -> None:
    bad = msgspec.structs.replace(DNS_ON_A, resources={"com.example.zone": "*"})
    with pytest.raises(ValueError, match="not a resource"):
        compile_owner(owner([bad]))


def parts(of: Any) -> Iterator[Any]:
    """`of` and all that it holds."""
    yield of
    match of:
        case msgspec.Struct():
            held = [getattr(of, name) for name in of.__struct_fields__]
        case dict():
            held = [*of, *of.values()]
        case tuple() | frozenset() | set() | list():
            held = list(of)
        case _:
            held = [getattr(of, name) for name in getattr(type(of), "__slots__", ()) if isinstance(name, str)]
    for one in held:
        yield from parts(one)


def test_the_documents_are_not_kept() -> None:
    found = compiled(token([DNS_ON_A], request_ip=["192.0.2.0/24"]))
    assert not [one for one in parts(found) if isinstance(one, Token | Owner | Policy | Condition | Zone | bytes)]


def fresh(of: Token) -> Token:
    """The token as out of the store: none of its parts is another's."""
    return msgspec.json.decode(msgspec.json.encode(of), type=Token)


def test_tokens_share_what_repeats() -> None:
    of = compile_owner(owner())
    one, other = (compile_token(fresh(token()), of) for _ in range(2))
    assert one.ceiling is other.ceiling
    assert one.owner is other.owner
    assert one.address_rule is other.address_rule
    assert [id(name) for name in (*one.rights.groups, *one.rights.zones)] == [
        id(name) for name in (*other.rights.groups, *other.rights.zones)
    ]
    assert one.rights.accounts is other.rights.accounts


def test_a_compiled_token_shows_its_id_and_no_more() -> None:
    assert repr(compiled()) == f"CompiledToken({token().id!r})"


# What it remembers.


def warmed(*lines: str) -> CompiledToken:
    found = compiled(token([policy(["DNS Write"], [ALL_ZONES]), policy(["DNS Write"], [zone(ZONE_B)], "deny")]))
    for line in lines:
        found.opens(*route_of(line))
    return found


@pytest.mark.parametrize(("zone_id", "answer"), [(ZONE_A, True), (ZONE_B, False)])
def test_yes_and_no_are_remembered(zone_id: str, *, answer: bool) -> None:
    found = warmed()
    first = steps(lambda: found.opens(*read(zone_id)))
    assert steps(lambda: found.opens(*read(zone_id))) < first
    assert found.opens(*read(zone_id)) is answer
    assert list(found._memo.values()) == [answer]


def test_two_tokens_do_not_share_what_they_remember() -> None:
    one, other = warmed(), compiled(token([]))
    assert one.opens(*read(ZONE_A))
    assert not other.opens(*read(ZONE_A))


def test_the_oldest_of_256_answers_is_forgotten_first() -> None:
    found = warmed()
    zones = [f"{number:032x}" for number in range(REMEMBERED + 44)]
    for zone_id in zones:
        assert found.opens(*read(zone_id))
    assert [segment.decode() for _, segment in found._memo] == zones[44:]
    assert REMEMBERED == 256


OF_A = {account(ACCOUNT_A): {ALL_ZONES: "*"}}
OF_B = {account(ACCOUNT_B): {ALL_ZONES: "*"}}


def test_that_an_answer_turns_on_the_account_is_remembered_and_what_comes_of_the_account_is_not() -> None:
    found = compiled(token([policy(["DNS Write"], OF_A)]))
    everywhere = compiled(token([policy(["DNS Write"], [ALL_ZONES]), policy(["DNS Write"], OF_A, "deny")]))
    route, segments = read(ZONE_A)
    for _ in range(2):
        assert found.opens(route, segments) is None
        assert found.opens_on(route, Zone(ZONE_A), ACCOUNT_A)
        assert not found.opens_on(route, Zone(ZONE_A), ACCOUNT_B)
        assert not found.opens_on(route, Zone(ZONE_A))
        assert everywhere.opens(route, segments) is None
        assert everywhere.opens_on(route, Zone(ZONE_A), ACCOUNT_B)
        assert not everywhere.opens_on(route, Zone(ZONE_A), ACCOUNT_A)
        assert not everywhere.opens_on(route, Zone(ZONE_A))
    assert list(found._memo.values()) == list(everywhere._memo.values()) == [None]


WRITE_A = policy(["DNS Write"], [zone(ZONE_A)])
EVERYWHERE = policy(["DNS Write"], [ALL_ZONES])


@pytest.mark.parametrize(
    ("own", "ceiling", "answer", "lacks_only_the_account"),
    [
        pytest.param([WRITE_A], [EVERYWHERE], True, None, id="a policy that names the zone needs no account"),
        pytest.param([policy(["DNS Write"], OF_A)], [EVERYWHERE], None, True, id="an account's allow"),
        pytest.param([EVERYWHERE], [policy(["DNS Write"], OF_A)], None, True, id="an account's allow at the owner"),
        pytest.param([WRITE_A, policy(["DNS Write"], OF_A)], [EVERYWHERE], True, None, id="the zone, and an account"),
        pytest.param(
            [EVERYWHERE, policy(["DNS Write"], OF_A, "deny")], [EVERYWHERE], None, False, id="an account's deny"
        ),
        pytest.param(
            [policy(["DNS Write"], OF_A), policy(["DNS Write"], OF_B, "deny")], [EVERYWHERE], None, True, id="A, not B"
        ),
        pytest.param(
            [policy(["DNS Write"], OF_A), policy(["DNS Write"], OF_A, "deny")],
            [EVERYWHERE],
            False,
            True,
            id="A, and not A: no account will do",
        ),
        pytest.param(
            [policy(["DNS Write"], OF_A)], [policy(["DNS Write"], OF_B)], False, True, id="A, and the owner has B"
        ),
        pytest.param(
            [policy(["DNS Write"], OF_A), policy(["DNS Write"], [zone(ZONE_A)], "deny")],
            [EVERYWHERE],
            False,
            True,
            id="A, but for this zone",
        ),
        pytest.param([policy(["Zone Read"], OF_A)], [EVERYWHERE], False, True, id="an account, but another group"),
        pytest.param([], [EVERYWHERE], False, True, id="nothing"),
    ],
)
def test_an_answer_turns_on_the_account_where_some_account_would_make_a_yes_of_it(
    own: list[Policy],
    ceiling: list[Policy],
    answer: bool | None,  # noqa: FBT001 - a case's data
    lacks_only_the_account: bool | None,  # noqa: FBT001
) -> None:
    found = compiled(token(own), owner(ceiling))
    route, segments = read(ZONE_A)
    assert found.opens(route, segments) is answer
    assert found.turns_on_account(route, Zone(ZONE_A)) is (answer is None)
    if lacks_only_the_account is not None:
        assert found.lacks_only_the_account(route, Zone(ZONE_A)) is lacks_only_the_account


@pytest.mark.parametrize(
    ("line", "own", "ceiling", "answer"),
    [
        pytest.param("GET /zones", policy(["Zone Read"], [zone(ZONE_A)]), None, True, id="zones"),
        pytest.param("GET /zones", policy(["DNS Read"], [zone(ZONE_A)]), None, False, id="zones: another group"),
        pytest.param(
            "GET /zones",
            policy(["Zone Read"], [zone(ZONE_A)]),
            policy(["Zone Write"], [zone(ZONE_B)]),
            True,
            id="zones: each side sees some, be it another",
        ),
        pytest.param(
            "GET /zones",
            policy(["Zone Read"], [zone(ZONE_A)]),
            policy(["DNS Write"], [ALL_ZONES]),
            False,
            id="zones: the owner sees none",
        ),
        pytest.param("POST /zones", policy(["Zone Write"], OF_A), None, None, id="what the body names"),
        pytest.param("POST /zones", policy(["Zone Read"], OF_A), None, False, id="what no body could name"),
        pytest.param(
            "POST /zones",
            policy(["Zone Write"], OF_A),
            policy(["Zone Read"], [ALL_ZONES]),
            False,
            id="what no body could name for the owner",
        ),
    ],
)
def test_lists_and_what_the_body_names_turn_on_there_being_any(
    line: str,
    own: Policy,
    ceiling: Policy | None,
    answer: bool | None,  # noqa: FBT001
) -> None:
    assert compiled(token([own]), owner([ceiling] if ceiling else EVERYTHING)).opens(*route_of(line)) is answer


@pytest.mark.parametrize(
    ("own", "known", "seen"),
    [
        pytest.param([policy(["Zone Read"], [zone(ZONE_A)])], None, {ZONE_A}, id="one"),
        pytest.param([policy(["Zone Read"], OF_A)], ACCOUNT_A, {ZONE_A, ZONE_B}, id="an account's"),
        pytest.param([policy(["Zone Read"], OF_A)], ACCOUNT_B, set(), id="another account's"),
        pytest.param([policy(["Zone Read"], OF_A)], None, set(), id="whose account cannot be told"),
        pytest.param(
            [policy(["Zone Read"], [ALL_ZONES]), policy(["Zone Read"], [zone(ZONE_B)], "deny")],
            None,
            {ZONE_A},
            id="all but one",
        ),
        pytest.param(
            [policy(["Zone Read"], [ALL_ZONES]), policy(["Zone Read"], OF_A, "deny")],
            None,
            set(),
            id="all but an account's, and theirs cannot be told",
        ),
    ],
)
def test_of_a_list_is_shown_what_may_be_seen(own: list[Policy], known: str | None, seen: set[str]) -> None:
    found = compiled(token(own))
    route, _ = route_of("GET /zones")
    assert {zone_id for zone_id in (ZONE_A, ZONE_B) if found.sees(route, Zone(zone_id), known)} == seen


def test_of_the_accounts_are_shown_those_that_may_be_seen() -> None:
    found = compiled(token([policy(["Account Settings Read"], [account(ACCOUNT_A)], scope=Scope.ACCOUNT)]))
    route, segments = route_of("GET /accounts")
    assert found.opens(route, segments)
    assert found.sees(route, Account(ACCOUNT_A))
    assert not found.sees(route, Account(ACCOUNT_B))


def test_an_answer_for_a_route_is_none_for_the_same_route_of_another_catalogue() -> None:
    found = warmed("GET /zones", f"GET /zones/{ZONE_A}/dns_records")
    again = route_of(f"GET /zones/{ZONE_A}/dns_records", shipped_catalog().public)
    assert found.opens(*again)
    assert len(found._memo) == 3


# Warm or fresh, the answer is the same.

OTHER_RULES = """
name = "other"
prefix = "/client/v4"
variables = { zone_id = "id", account_id = "id" }

[[route]]
methods = ["GET", "POST"]
path = "/zones/{zone_id}/dns_records"
permission = ["Zone Read"]
resource = "zone:{zone_id}"

[[route]]
methods = ["GET"]
path = "/accounts/{account_id}"
permission = "any-token"
"""
TABLES = (
    CATALOG.public,
    shipped_catalog().public,
    RouteTable([("apis/other.toml", route) for route in read_api("apis/other.toml", OTHER_RULES, GROUPS)[1]]),
)
POLICIES = (
    policy(["DNS Write"], [ALL_ZONES]),
    policy(["DNS Read", "Zone Read"], [zone(ZONE_A)]),
    policy(["Zone Read"], [zone(ZONE_B)]),
    policy(["DNS Read", "DNS Write"], [zone(ZONE_B)], "deny"),
    policy(["DNS Write"], {account(ACCOUNT_A): {ALL_ZONES: "*"}}, "deny"),
    policy(["Zone Read"], [zone(ZONE_A)], "deny"),
    *EVERYTHING,
)
policy_lists = st.lists(st.sampled_from(POLICIES), max_size=4)
tokens = st.builds(
    token,
    policy_lists,
    status=st.sampled_from([Status.ACTIVE, Status.ACTIVE, Status.DISABLED]),
    request_ip=st.sampled_from([(), ("192.0.2.0/24",)]),
    not_before=st.sampled_from([None, NOW]),
    expires_on=st.sampled_from([None, NOW + 60]),
)
owners = st.builds(
    owner, policy_lists | st.just(list(EVERYTHING)), status=st.sampled_from([OwnerStatus.ACTIVE, OwnerStatus.DISABLED])
)
lines = st.sampled_from(
    [
        *(f"{method} /zones/{zone_id}/dns_records" for method in ("GET", "POST") for zone_id in (ZONE_A, ZONE_B)),
        f"GET /zones/{ZONE_A}",
        f"GET /accounts/{ACCOUNT_A}",
        "GET /zones",
        "GET /user",
        "GET /user/tokens/verify",
        "GET /nowhere",
    ]
)
moments = st.sampled_from([NOW - 1, NOW, NOW + 59, NOW + 60])
addresses = st.sampled_from([None, "192.0.2.7", "198.51.100.7"])


def decided(of: CompiledToken, line: str, table: RouteTable, now: float, address: str | None) -> Decision:
    credential = parse_secret(secret_of().reveal())
    assert credential is not None
    principal = prove(credential, of, NO_PEPPERS, NOW)
    assert isinstance(principal, Principal)
    method, path = line.split(" ")
    asked = target(path)
    match = table.match(method, asked.segments)
    return decide(Question(principal, ip_address(address) if address else None, asked, match, now))


def said(decision: Decision) -> Deny | Need | Route:
    """All that a decision says, but for who asked."""
    match decision:
        case Allow():
            return decision.route
        case Deny():
            return decision
        case Need():
            return decision


@given(
    st.lists(tokens, min_size=1, max_size=2),
    st.lists(owners, min_size=1, max_size=2),
    st.lists(
        st.tuples(st.integers(0, 1), st.integers(0, 1), st.sampled_from(TABLES), lines, moments, addresses), max_size=25
    ),
)
@settings(deadline=None, max_examples=300)
def test_a_warmed_token_answers_like_a_fresh_one_whatever_has_changed_around_it(
    of: list[Token], under: list[Owner], asked: list[tuple[int, int, RouteTable, str, float, str | None]]
) -> None:
    """Time, address and catalogue change from request to request; another owner's document means another compiled
    token, and the first may come back: what each remembers is its own.
    """
    ceilings = [compile_owner(one) for one in under]
    held = {(i, j): compile_token(one, two) for i, one in enumerate(of) for j, two in enumerate(ceilings)}
    for which, whose, table, line, now, address in asked:
        i, j = which % len(of), whose % len(under)
        afresh = compile_token(of[i], compile_owner(under[j]))
        warm = decided(held[i, j], line, table, now, address)
        assert said(warm) == said(decided(afresh, line, table, now, address))


@given(policy_lists, policy_lists, st.lists(st.tuples(st.sampled_from(TABLES), lines), max_size=10))
@settings(deadline=None, max_examples=200)
def test_what_is_remembered_is_what_the_policies_say(
    own: list[Policy], ceiling: list[Policy], asked: list[tuple[RouteTable, str]]
) -> None:
    of = compiled(token(own), owner(ceiling))
    for table, line in [*asked, *asked]:
        method, path = line.split(" ")
        match = table.match(method, target(path).segments)
        if not isinstance(match, Matched):
            continue
        touched = match.route.touched(target(path).segments, USER)
        if touched is None:
            continue
        expected = all(plainly_gives(policies, match.route.opened_by, touched) for policies in (own, ceiling))
        assert (of.opens(match.route, target(path).segments) is True) is expected


def test_what_is_touched_is_told_by_the_route_and_its_one_segment() -> None:
    """The key of what is remembered leaves nothing out that `touched` looks at."""
    for route in CATALOG.public.routes:
        segments = tuple(b"%032x" % index for index in range(len(route.template)))
        others = tuple(one if one == route.naming(segments) else b"f" * 32 for one in segments)
        assert isinstance(route.touched(segments, USER), Zone | Account | User | None)
        assert route.touched(segments, USER) == route.touched(others, USER)


def test_the_garbage_collector_has_nothing_to_walk_through_however_many_tokens_are_held() -> None:
    def tracked() -> int:
        gc.collect()
        gc.collect()  # what a first collection finds to be without references to follow is left out from then on
        return len(gc.get_objects())

    of = compile_owner(owner())
    document = msgspec.json.encode(token())
    before = tracked()
    held = [compile_token(msgspec.json.decode(document, type=Token), of) for _ in range(1000)]
    for one in held:
        one.opens(*read(ZONE_A))
    assert tracked() - before < len(held) / 10

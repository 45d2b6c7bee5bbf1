"""`decide` against a second evaluator that was written from the rules alone, and how the answer may move."""

import json
from collections import Counter
from collections.abc import Iterable
from itertools import product
from typing import Any, NamedTuple

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from msgspec import to_builtins
from msgspec.structs import replace
from support import naive_evaluator as naive
from support.records import (
    ACCOUNT_A,
    ACCOUNT_B,
    GROUPS,
    NOW,
    USER,
    ZONE_A,
    ZONE_B,
    account,
    compiled,
    group_id,
    owner,
    principal,
    token,
    user,
    zone,
)

from gateway.access.decide import decide
from gateway.access.decision import Allow, Body, Need, ZoneAccount
from gateway.access.question import Facts, Question, Unknown
from gateway.catalog.api import Route, read_api
from gateway.catalog.route_table import Matched, RouteTable
from gateway.catalog.target import Target, split_target
from gateway.reason import Deny, Reason
from gateway.tokens.owner import Owner, OwnerKind, OwnerRef, OwnerStatus
from gateway.tokens.permission_group import ALL_PERMISSIONS
from gateway.tokens.policy import Effect, Policy
from gateway.tokens.resource import SCOPE_OF, Account, Scope, parse_resource
from gateway.tokens.token import Status, Token

# Two APIs: one names its zones by id, one by DNS name.

IDS = """
name = "ids"
prefix = "/ids"
variables = { zone = "id", account = "id" }

[[route]]
methods = ["GET"]
path = "/zones/{zone}"
permission = ["DNS Read", "DNS Write"]
resource = "zone:{zone}"

[[route]]
methods = ["PUT"]
path = "/zones/{zone}"
permission = ["DNS Write"]
resource = "zone:{zone}"

[[route]]
methods = ["GET"]
path = "/zones"
permission = ["DNS Read", "DNS Write"]
resource = "zone:*"
filter = { items = "", zone = "id" }

[[route]]
methods = ["POST"]
path = "/zones"
permission = ["DNS Write"]
resource = "zones-of:{body.account.id}"

[[route]]
methods = ["GET"]
path = "/accounts"
permission = ["Billing Read", "Billing Write"]
resource = "account:*"
filter = { items = "", account = "id" }

[[route]]
methods = ["GET"]
path = "/accounts/{account}"
permission = ["Billing Read", "Billing Write"]
resource = "account:{account}"

[[route]]
methods = ["PUT"]
path = "/accounts/{account}"
permission = ["Billing Write"]
resource = "account:{account}"

[[route]]
methods = ["GET"]
path = "/user"
permission = ["User Details Read", "User Details Write"]
resource = "user:self"

[[route]]
methods = ["GET"]
path = "/anything"
permission = "any-token"
"""
NAMES = """
name = "names"
prefix = "/names"
zone_key = "dns-name"
variables = { zone = "dns-name" }

[[route]]
methods = ["GET"]
path = "/zones/{zone}"
permission = ["DNS Read", "DNS Write"]
resource = "zone:{zone}"

[[route]]
methods = ["GET"]
path = "/zones"
permission = ["DNS Read", "DNS Write"]
resource = "zone:*"
filter = { items = "", zone = "id" }

[[route]]
methods = ["POST"]
path = "/zones"
permission = ["DNS Write"]
resource = "zone:{body.name}"
"""
TABLE = RouteTable(
    (file, route)
    for file, text in (("apis/ids.toml", IDS), ("apis/names.toml", NAMES))
    for route in read_api(file, text, GROUPS)[1]
)

READ, WRITE = group_id("DNS Read"), group_id("DNS Write")
BILLING = (group_id("Billing Read", Scope.ACCOUNT), group_id("Billing Write", Scope.ACCOUNT))
DETAILS = (group_id("User Details Read", Scope.USER), group_id("User Details Write", Scope.USER))
EVERY = {str(scope): group_id(ALL_PERMISSIONS, scope) for scope in (Scope.ZONE, Scope.ACCOUNT, Scope.USER)}


class Case(NamedTuple):
    """A request as it is sent, and what it touches as the naive evaluator is told."""

    line: str
    body: bytes
    asked: naive.Request


def cases() -> list[Case]:
    found = []

    def add(line: str, kind: str, name: str | None, groups: tuple[str, ...], body: bytes = b"") -> None:
        api = line.split("/")[1]
        found.append(Case(line, body, naive.Request(api, api == "names", kind, name, groups, NOW)))

    for zone_id in (ZONE_A, ZONE_B):
        add(f"GET /ids/zones/{zone_id}", "zone", zone_id, (READ, WRITE))
        add(f"PUT /ids/zones/{zone_id}", "zone", zone_id, (WRITE,))
    for name in ("alpha.example", "Alpha.Example.", "beta.example", "0=2F25.example", ZONE_A):
        add(f"GET /names/zones/{name}", "zone", name, (READ, WRITE))
    for api in ("ids", "names"):
        add(f"GET /{api}/zones", "zones", None, (READ, WRITE))
    add("GET /ids/accounts", "accounts", None, BILLING)
    for account_id in (ACCOUNT_A, ACCOUNT_B):
        add(f"GET /ids/accounts/{account_id}", "account", account_id, BILLING)
        add(f"PUT /ids/accounts/{account_id}", "account", account_id, BILLING[1:])
        add("POST /ids/zones", "new-zone", account_id, (WRITE,), json.dumps({"account": {"id": account_id}}).encode())
    add("POST /ids/zones", "new-zone", None, (WRITE,), b'{"account": "x"}')
    for name in ("alpha.example", "BETA.example.", "0/25.example"):
        add("POST /names/zones", "zone", name, (WRITE,), json.dumps({"name": name}).encode())
    add("POST /names/zones", "zone", None, (WRITE,), b'{"name": 7}')
    add("GET /ids/user", "self", None, DETAILS)
    add("GET /ids/anything", "nothing", None, ())
    return found


GROUP_SETS = (
    (READ,),
    (WRITE,),
    (READ, WRITE),
    (EVERY[Scope.ZONE],),
    (group_id("Zone Write"), READ),
    BILLING[:1],
    BILLING,
    (EVERY[Scope.ACCOUNT],),
    DETAILS[:1],
    (EVERY[Scope.USER],),
    (WRITE, *BILLING, *DETAILS),
    tuple(EVERY.values()),
)
RESOURCE_SETS: tuple[dict[str, Any], ...] = (
    {zone(ZONE_A): "*"},
    {zone(ZONE_B): "*"},
    {zone("alpha.example"): "*"},
    {zone("Beta.Example."): "*", zone("0/25.example"): "*"},
    {zone("*"): "*"},
    {account(ACCOUNT_A): {zone("*"): "*"}},
    {account(ACCOUNT_B): {zone("*"): "*"}, zone(ZONE_A): "*"},
    {account(ACCOUNT_A): "*"},
    {account(ACCOUNT_B): "*"},
    {account("*"): "*"},
    {user(USER): "*"},
    {user("e" * 32): "*"},
    {zone("*"): "*", account("*"): "*", user(USER): "*"},
    {account(ACCOUNT_A): {zone("*"): "*"}, account(ACCOUNT_B): "*"},
)
API_SETS: tuple[tuple[str, ...], ...] = ((), (), (), ("ids",), ("names",), ("ids", "names"), ("elsewhere",))
POLICIES = [
    Policy(f"{number:032x}", effect, groups, resources, apis)
    for number, (effect, groups, resources, apis) in enumerate(product(Effect, GROUP_SETS, RESOURCE_SETS, API_SETS))
]
WIDE = [
    Policy("f" * 32, Effect.ALLOW, tuple(EVERY.values()), {zone("*"): "*", account("*"): "*", user(USER): "*"}),
]
ACCOUNTS = (ACCOUNT_A, ACCOUNT_B, "somebody-else", naive.NOT_FOUND, naive.UNREACHABLE)

some_policies = st.sampled_from(POLICIES)
allows, denies = (
    st.sampled_from([policy for policy in POLICIES if policy.effect is effect])
    for effect in (Effect.ALLOW, Effect.DENY)
)
tokens_policies = st.lists(some_policies, min_size=1, max_size=6)
owners_policies = st.just(WIDE) | st.lists(some_policies, max_size=5).map(lambda some: [*WIDE, *some]) | tokens_policies
# Of some kinds there are more requests than of others: each kind has its share.
requests = st.sampled_from(cases()) | st.sampled_from(
    [each for kind in sorted(naive.SCOPE_OF_KIND) for each in [case for case in cases() if case.asked.kind == kind][:2]]
)
accounts = st.sampled_from(ACCOUNTS)
kinds = st.sampled_from([OwnerKind.USER, OwnerKind.USER, OwnerKind.ACCOUNT])
tokens = st.builds(
    lambda policies, kind, status, not_before, expires_on: token(
        policies, owner=OwnerRef(kind, USER), status=status, not_before=not_before, expires_on=expires_on
    ),
    tokens_policies,
    kinds,
    st.sampled_from([Status.ACTIVE] * 8 + [Status.DISABLED]),
    st.sampled_from([None] * 8 + [NOW, NOW + 1]),
    st.sampled_from([None] * 8 + [NOW, NOW + 1]),
)
owner_statuses = st.sampled_from([OwnerStatus.ACTIVE] * 8 + [OwnerStatus.DISABLED])


def is_about(policy: Policy, kind: str) -> bool:
    """Whether `policy` has a resource of the scope that a request of that kind takes, and a group that some route of it
    takes.
    """
    scope = naive.SCOPE_OF_KIND[kind]
    asked = {group for case in cases() if case.asked.kind == kind for group in case.asked.groups} | {EVERY[scope]}
    lying = {str(SCOPE_OF[type(parse_resource(key, value))]) for key, value in policy.resources.items()}
    return scope in lying and not asked.isdisjoint(policy.permission_groups)


ABOUT = {kind: [policy for policy in POLICIES if is_about(policy, kind)] for kind in naive.SCOPE_OF_KIND}
"""Of all policies most have nothing to do with a request, and what all of those come to is a no."""


@st.composite
def questions(draw: st.DrawFn) -> tuple[Token, list[Policy], OwnerStatus, Case, Any]:
    """A token, its owner's policies and status, a request, and where the zone lies."""
    case, of, ceiling = draw(requests), draw(tokens), draw(owners_policies)
    if case.asked.kind in ABOUT:
        about = draw(st.lists(st.sampled_from(ABOUT[case.asked.kind]), max_size=2))
        place = draw(st.integers(0, 6))
        own = [*of.policies[:place], *about, *of.policies[place:]][:6]
        of = replace(of, policies=tuple(own))
    return of, ceiling, draw(owner_statuses), case, draw(accounts)


OUTCOMES = {
    Reason.FORBIDDEN: "forbidden",
    Reason.UPSTREAM_UNREACHABLE: "unreachable",
    Reason.TOKEN_DISABLED: "disabled",
    Reason.TOKEN_NOT_YET_VALID: "early",
    Reason.TOKEN_EXPIRED: "late",
}
KNOWN = {naive.NOT_FOUND: Unknown.NOT_FOUND, naive.UNREACHABLE: Unknown.UNREACHABLE}


def outcome(of: Token, under: Owner, case: Case, lies_in: Any) -> str:
    """What comes of it when each fact is fetched that is asked for, as the shell does it."""
    method, path = case.line.split(" ")
    target = split_target(path.encode())
    assert isinstance(target, Target)
    question = Question(principal(of, under), None, target, TABLE.match(method, target.segments), NOW)
    for _ in range(3):
        match decide(question):
            case Allow():
                return "allow"
            case Deny(reason=reason):
                return OUTCOMES[reason]
            case Need(ZoneAccount()):
                assert question.facts.account is None
                question = replace(question, facts=replace(question.facts, account=KNOWN.get(lies_in, lies_in)))
            case Need(Body()):
                assert question.facts == Facts()
                question = replace(question, facts=Facts(body=case.body))
    pytest.fail("a third fact is asked for")


def plain(record: Token | Owner) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(json.dumps(to_builtins(record)))
    return found


def expected(of: Token, under: Owner, case: Case, lies_in: Any) -> str:
    return naive.outcome(plain(of), plain(under), case.asked, naive.World(lies_in, EVERY))


def agree(of: Token, ceiling: list[Policy], status: OwnerStatus, case: Case, lies_in: Any) -> str:
    under = owner(ceiling, ref=of.owner, status=status)
    found = outcome(of, under, case, lies_in)
    assert found == expected(of, under, case, lies_in)
    return found


SETTINGS: dict[str, Any] = {
    "deadline": None,
    "suppress_health_check": [HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.filter_too_much],
}


def agree_on(count: int) -> Counter[tuple[str, str]]:
    """The two agree on so many questions; says how often a request of some kind came to what."""
    found: Counter[tuple[str, str]] = Counter()

    @given(questions())
    @settings(max_examples=count, **SETTINGS)
    def ask(question: tuple[Token, list[Policy], OwnerStatus, Case, Any]) -> None:
        found[question[3].asked.kind, agree(*question)] += 1

    ask()
    return found


def test_two_evaluators_agree_on_questions_of_each_kind_that_come_to_a_yes_and_to_a_no() -> None:
    found = agree_on(2_500)
    for kind, said in product(naive.SCOPE_OF_KIND, ("allow", "forbidden")):
        assert found[kind, said], (kind, said, found)


@pytest.mark.deep
def test_two_evaluators_agree_for_long() -> None:
    agree_on(100_000)


def test_every_outcome_is_among_what_is_compared() -> None:
    """Each kind of request comes to a yes and to a no, and each reason comes up: so that to agree says something."""
    found: set[tuple[str, str]] = set()
    for case, lies_in, some in product(cases(), ACCOUNTS, [*POLICIES[::7], WIDE[0]]):
        found.add((case.asked.kind, outcome(token([some]), owner(), case, lies_in)))
    kinds_of = {case.asked.kind for case in cases()} - {"nothing"}
    assert found >= {(kind, said) for kind in kinds_of for said in ("allow", "forbidden")}
    assert ("zone", "unreachable") in found


# Lists are cut down to what may be seen.

ITEMS = {"zones": (ZONE_A, ZONE_B), "accounts": (ACCOUNT_A, ACCOUNT_B)}
lists = st.sampled_from([case for case in cases() if case.asked.kind in ITEMS and case.asked.api == "ids"])


@given(tokens_policies, owners_policies, lists, st.sampled_from(ACCOUNTS[:4]))
@settings(max_examples=1_000, **SETTINGS)
def test_two_evaluators_show_the_same_items_of_a_list(
    own: list[Policy], ceiling: list[Policy], case: Case, lies_in: Any
) -> None:
    of, under = token(own), owner(ceiling)
    route = route_of(case)
    known = None if lies_in is naive.NOT_FOUND else lies_in
    world = naive.World(lies_in, EVERY)
    for item in ITEMS[case.asked.kind]:
        seen = compiled(of, under).sees(
            route, route.api.zone(item) if case.asked.kind == "zones" else Account(item), known
        )
        assert seen == naive.shows(plain(of), plain(under), case.asked, world, item)
        if seen:
            assert outcome(of, under, case, lies_in) == "allow"  # who may see an item may ask for the list


def route_of(case: Case) -> Route:
    method, path = case.line.split(" ")
    target = split_target(path.encode())
    assert isinstance(target, Target)
    match = TABLE.match(method, target.segments)
    assert isinstance(match, Matched)
    return match.route


# How the answer may move.


def passes(own: Iterable[Policy], ceiling: Iterable[Policy], case: Case, lies_in: Any) -> bool:
    return outcome(token(own), owner(ceiling), case, lies_in) == "allow"


@given(tokens_policies, owners_policies, allows, st.integers(0, 6), requests, accounts)
@settings(max_examples=1_000, **SETTINGS)
def test_one_more_allow_never_turns_a_yes_into_a_no(
    own: list[Policy], ceiling: list[Policy], more: Policy, place: int, case: Case, lies_in: Any
) -> None:
    before = passes(own, ceiling, case, lies_in)
    assert passes([*own[:place], more, *own[place:]], ceiling, case, lies_in) >= before
    assert passes(own, [*ceiling[:place], more, *ceiling[place:]], case, lies_in) >= before


@given(tokens_policies, owners_policies, denies, st.integers(0, 6), requests, accounts)
@settings(max_examples=1_000, **SETTINGS)
def test_one_more_deny_never_turns_a_no_into_a_yes(
    own: list[Policy], ceiling: list[Policy], more: Policy, place: int, case: Case, lies_in: Any
) -> None:
    before = passes(own, ceiling, case, lies_in)
    assert passes([*own[:place], more, *own[place:]], ceiling, case, lies_in) <= before
    assert passes(own, [*ceiling[:place], more, *ceiling[place:]], case, lies_in) <= before


@given(tokens_policies, owners_policies, st.integers(0, 5), requests, accounts)
@settings(max_examples=1_000, **SETTINGS)
def test_to_take_an_allow_from_an_owner_never_widens_a_token(
    own: list[Policy], ceiling: list[Policy], place: int, case: Case, lies_in: Any
) -> None:
    taken = ceiling[place % len(ceiling)]
    left = [policy for policy in ceiling if policy is not taken]
    narrower = passes(own, left, case, lies_in) <= passes(own, ceiling, case, lies_in)
    assert narrower or taken.effect is Effect.DENY


@given(tokens_policies, owners_policies, requests)
@settings(max_examples=1_000, **SETTINGS)
def test_what_passes_while_nobody_knows_the_account_passes_whatever_it_is(
    own: list[Policy], ceiling: list[Policy], case: Case
) -> None:
    if passes(own, ceiling, case, naive.UNREACHABLE):
        assert all(passes(own, ceiling, case, lies_in) for lies_in in ACCOUNTS)

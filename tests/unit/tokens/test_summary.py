import pytest
from msgspec.structs import replace
from support.records import ACCOUNT_A, GROUPS, NOW, USER, ZONE_A, ZONE_B, account, policy, user, zone

from gateway.tokens.condition import Condition, RequestIp
from gateway.tokens.policy import Policy
from gateway.tokens.rate import Rate
from gateway.tokens.resource import Scope
from gateway.tokens.summary import summarise
from gateway.tokens.timestamp import format_timestamp
from gateway.tokens.token import Draft


def lines(
    *policies: Policy,
    allowed: tuple[str, ...] = (),
    not_in: tuple[str, ...] = (),
    not_before: int | None = None,
    expires_on: int | None = None,
    limits: Rate | None = None,
) -> list[str]:
    condition = Condition(RequestIp(allowed, not_in))
    return summarise(Draft("a token", policies, condition, not_before, expires_on, None, limits), GROUPS)


@pytest.mark.parametrize(
    ("one", "line"),
    [
        pytest.param(
            policy(["DNS Write"], [zone("alpha.example")]),
            "may use DNS Edit on zone alpha.example",
            id="Write is called Edit",
        ),
        pytest.param(
            policy(["DNS Read", "Cache Purge"], [zone(ZONE_A), zone(ZONE_B)]),
            f"may use DNS Read, Cache Purge on zone {ZONE_A}, zone {ZONE_B}",
            id="all groups, all resources",
        ),
        pytest.param(
            policy(["DNS Write"], [zone(ZONE_A)], "deny"),
            f"except: may NOT use DNS Edit on zone {ZONE_A}",
            id="a deny",
        ),
        pytest.param(policy(["Zone Read"], [zone("*")]), "may use Zone Read on all zones", id="all zones"),
        pytest.param(
            policy(["Zone Read"], {account(ACCOUNT_A): {zone("*"): "*"}}),
            f"may use Zone Read on all zones of account {ACCOUNT_A}",
            id="all zones of an account",
        ),
        pytest.param(
            policy(["Billing Read"], [account(ACCOUNT_A)], scope=Scope.ACCOUNT),
            f"may use Billing Read on account {ACCOUNT_A}",
            id="an account",
        ),
        pytest.param(
            policy(["Billing Read"], [account("*")], scope=Scope.ACCOUNT),
            "may use Billing Read on all accounts",
            id="all accounts",
        ),
        pytest.param(
            policy(["User Details Read"], [user(USER)], scope=Scope.USER),
            f"may use User Details Read on user {USER}",
            id="a user",
        ),
        pytest.param(
            replace(policy(["DNS Read"], [zone("*")]), apis=("powerdns",)),
            "may use DNS Read on all zones, only of the API powerdns",
            id="of one API",
        ),
        pytest.param(
            replace(policy(["DNS Read"], [zone("*")], "deny"), apis=("powerdns", "billing")),
            "except: may NOT use DNS Read on all zones, only of the APIs powerdns and billing",
            id="of two APIs",
        ),
    ],
)
def test_a_policy_is_a_sentence(one: Policy, line: str) -> None:
    assert lines(one)[0] == line


def test_from_where_and_when_stand_behind_the_policies() -> None:
    assert lines(
        policy(["DNS Read"], [zone(ZONE_A)]),
        policy(["Zone Read"], [zone(ZONE_A)]),
        allowed=("192.0.2.0/24", "2001:db8::/32"),
        not_in=("192.0.2.7",),
        not_before=NOW,
        expires_on=NOW + 60,
        limits=Rate(1200, 300),
    ) == [
        f"may use DNS Read on zone {ZONE_A}",
        f"may use Zone Read on zone {ZONE_A}",
        "only from 192.0.2.0/24, 2001:db8::/32",
        "never from 192.0.2.7",
        f"from {format_timestamp(NOW)} on",
        "at most 1200 requests in 300 s",
        f"until {format_timestamp(NOW + 60)}",
    ]


def test_a_token_that_lives_for_ever_is_said_to() -> None:
    assert lines(policy(["DNS Read"], [zone(ZONE_A)]))[-1] == "without an end"


NOTE = "note: DNS Read is taken away, but not DNS Write, which reads too"


@pytest.mark.parametrize(
    ("denied", "notes"),
    [
        pytest.param(["DNS Read"], [NOTE], id="Read alone"),
        pytest.param(["DNS Write"], [], id="Write alone: still readable, as meant"),
        pytest.param(["DNS Read", "DNS Write"], [], id="both: closed"),
        pytest.param(["DNS Read", "Zone Write"], [NOTE], id="Read, and Write of something else"),
        pytest.param(["Analytics Read"], [], id="a Read that has no Write in its scope"),
        pytest.param(["DNS Read", "All Permissions"], [], id="Read, and all permissions: closed"),
    ],
)
def test_it_warns_where_a_deny_of_read_leaves_write(denied: list[str], notes: list[str]) -> None:
    found = lines(policy(["DNS Write"], [zone("*")]), policy(denied, [zone(ZONE_B)], "deny"))
    assert [line for line in found if line.startswith("note:")] == notes


def test_two_denies_that_close_a_zone_together_are_no_reason_to_warn() -> None:
    found = lines(
        policy(["DNS Write"], [zone("*")]),
        policy(["DNS Read"], [zone(ZONE_B)], "deny"),
        policy(["DNS Write"], [zone(ZONE_B)], "deny"),
    )
    assert not [line for line in found if line.startswith("note:")]


@pytest.mark.parametrize(
    ("read", "write", "notes"),
    [
        pytest.param(("powerdns",), ("powerdns",), [], id="of the same API: closed"),
        pytest.param(("powerdns",), (), [], id="Write of every API: closed"),
        pytest.param((), ("powerdns",), [NOTE], id="Write of one API: the others are still readable"),
    ],
)
def test_denies_of_different_apis_are_told_apart(
    read: tuple[str, ...], write: tuple[str, ...], notes: list[str]
) -> None:
    found = lines(
        policy(["DNS Write"], [zone("*")]),
        replace(policy(["DNS Read"], [zone(ZONE_B)], "deny"), apis=read),
        replace(policy(["DNS Write"], [zone(ZONE_B)], "deny"), apis=write),
    )
    assert [line for line in found if line.startswith("note:")] == notes


def test_an_allow_of_read_is_no_reason_to_warn() -> None:
    assert not [line for line in lines(policy(["DNS Read"], [zone(ZONE_B)])) if line.startswith("note:")]


PASSES_ON = "may pass all of this, or a part of it, on to tokens that it makes, and nothing else"


@pytest.mark.parametrize(
    ("one", "told"),
    [
        pytest.param(policy(["API Tokens Write"], [user(USER)], scope=Scope.USER), True, id="a user's tokens"),
        pytest.param(
            policy(["Account API Tokens Write"], [account(ACCOUNT_A)], scope=Scope.ACCOUNT), True, id="an account's"
        ),
        pytest.param(policy(["All Permissions"], [user(USER)], scope=Scope.USER), True, id="all permissions"),
        pytest.param(policy(["All Permissions"], [zone("*")]), False, id="all permissions on zones"),
        pytest.param(policy(["API Tokens Read"], [user(USER)], scope=Scope.USER), False, id="to read tokens"),
        pytest.param(policy(["API Tokens Write"], [user(USER)], "deny", Scope.USER), False, id="a deny"),
    ],
)
def test_it_says_where_a_token_passes_its_rights_on(
    one: Policy,
    told: bool,  # noqa: FBT001 - a case's data
) -> None:
    assert (PASSES_ON in lines(one)) is told


def test_zones_and_accounts_have_their_names_where_they_are_known() -> None:
    draft = Draft(
        "a token",
        (
            policy(["DNS Write"], [zone(ZONE_A), zone(ZONE_B)]),
            policy(["DNS Write"], {account(ACCOUNT_A): {zone("*"): "*"}}, "deny"),
            policy(["Billing Read"], [account(ACCOUNT_A)], scope=Scope.ACCOUNT),
        ),
        Condition(),
        None,
        None,
        None,
    )
    assert summarise(draft, GROUPS, {ZONE_A: "alpha.example", ACCOUNT_A: "Alpha Ltd"})[:3] == [
        f"may use DNS Edit on zone alpha.example, zone {ZONE_B}",
        "except: may NOT use DNS Edit on all zones of account Alpha Ltd",
        "may use Billing Read on account Alpha Ltd",
    ]

from collections.abc import Iterable
from itertools import product
from random import Random

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.records import (
    ACCOUNT,
    ACCOUNT_A,
    ACCOUNT_B,
    GROUPS,
    USER,
    USER_SCOPE,
    ZONE,
    ZONE_A,
    ZONE_B,
    account,
    group_id,
    policy,
    user,
    zone,
)
from support.steps import steps
from unit.access.plain_rights import plain_rights, plainly_gives

from gateway.access import rights as rules
from gateway.access.rights import Rights, compile_rights, gives_on_some, gives_unless_an_account_is_denied
from gateway.tokens.permission_group import ALL_PERMISSIONS
from gateway.tokens.policy import Effect, Policy
from gateway.tokens.resource import (
    Account,
    EveryAccount,
    EveryZone,
    Resource,
    Scope,
    Touched,
    User,
    Zone,
    ZonesOf,
)

ALL_ZONES = zone("*")
API = "things"


def gives(rights: Rights, opened: list[frozenset[str]], touched: Touched, known: str | None = None) -> bool:
    """In an API that no policy names, unless a test is about that."""
    return rules.gives(rights, opened, touched, known, api=API)


def of_account(account_id: str) -> dict[str, dict[str, str]]:
    return {account(account_id): {ALL_ZONES: "*"}}


def opened_by(*names: str, scope: Scope = ZONE) -> list[frozenset[str]]:
    groups = [GROUPS.named(name, scope) for name in names]
    return [GROUPS.standing_for(group, scope) for group in groups if group]


READS = opened_by("DNS Read", "DNS Write")
WRITES = opened_by("DNS Write")
BILLING = opened_by("Billing Read", scope=ACCOUNT)
DETAILS = opened_by("User Details Read", scope=USER_SCOPE)


def test_a_policy_is_a_bit_under_each_group_and_resource_that_it_names() -> None:
    rights = compile_rights(
        [
            policy(["DNS Read", "DNS Write"], [zone(ZONE_A), ALL_ZONES], "deny"),
            policy(["DNS Read"], [zone("Alpha.Example")]),
        ]
    )
    first, second, both = 1, 2, 3
    assert (rights.denies, rights.allows) == (first, second)
    assert rights.groups == {group_id("DNS Read"): both, group_id("DNS Write"): first}
    assert rights.zones == {ZONE_A: first, "Alpha.Example": second, "alpha.example.": second}
    assert rights.every_zone == first
    assert (rights.zones_of, rights.accounts, rights.users) == ({}, {}, {})


@pytest.mark.parametrize("key", ["", "com.example", zone("a..b"), zone("A" * 32)])
def test_a_resource_that_cannot_be_read_is_an_error_not_a_hole(key: str) -> None:
    bad = msgspec.structs.replace(policy(["DNS Read"], [ALL_ZONES], "deny"), resources={key: "*"})
    with pytest.raises(ValueError, match=r"resource|zone"):
        compile_rights([bad])


@pytest.mark.parametrize(
    ("policies", "opened", "touched", "given"),
    [
        pytest.param([], READS, Zone(ZONE_A), False, id="no policy gives nothing"),
        pytest.param([policy(["DNS Write"], [zone(ZONE_A)])], WRITES, Zone(ZONE_A), True, id="what is given"),
        pytest.param([policy(["DNS Write"], [zone(ZONE_A)])], WRITES, Zone(ZONE_B), False, id="another zone"),
        pytest.param([policy(["DNS Read"], [zone(ZONE_A)])], WRITES, Zone(ZONE_A), False, id="another group"),
        pytest.param([policy(["DNS Write"], [zone(ZONE_A)])], READS, Zone(ZONE_A), True, id="any of the groups"),
        pytest.param([policy(["Zone Write"], [ALL_ZONES])], READS, Zone(ZONE_A), False, id="groups of other things"),
        pytest.param([policy(["DNS Write"], [zone(ZONE_A)], "deny")], WRITES, Zone(ZONE_A), False, id="a deny alone"),
        pytest.param(
            [policy(["DNS Write"], [zone(ZONE_A)]), policy(["DNS Read"], [zone(ZONE_B)])],
            WRITES,
            Zone(ZONE_B),
            False,
            id="Write on A beside Read on B never writes B",
        ),
        pytest.param(
            [policy(["DNS Write"], [zone(ZONE_A)]), policy(["DNS Read"], [zone(ZONE_B)])],
            READS,
            Zone(ZONE_B),
            True,
            id="Write on A beside Read on B reads B",
        ),
        pytest.param(
            [policy(["DNS Read", "DNS Write"], [ALL_ZONES]), policy(["DNS Write"], [zone(ZONE_B)], "deny")],
            READS,
            Zone(ZONE_B),
            True,
            id="a deny of Write on B leaves B readable",
        ),
        pytest.param(
            [policy(["DNS Read", "DNS Write"], [ALL_ZONES]), policy(["DNS Write"], [zone(ZONE_B)], "deny")],
            WRITES,
            Zone(ZONE_B),
            False,
            id="a deny of Write on B closes its writing",
        ),
        pytest.param(
            [policy(["DNS Read", "DNS Write"], [ALL_ZONES]), policy(["DNS Read"], [zone(ZONE_B)], "deny")],
            READS,
            Zone(ZONE_B),
            True,
            id="a deny of Read alone leaves Write, which reads too",
        ),
        pytest.param(
            [
                policy(["DNS Read", "DNS Write"], [ALL_ZONES]),
                policy(["DNS Read", "DNS Write"], [zone(ZONE_B)], "deny"),
            ],
            READS,
            Zone(ZONE_B),
            False,
            id="both denied closes B",
        ),
        pytest.param(
            [
                policy(["DNS Read", "DNS Write"], [ALL_ZONES]),
                policy(["DNS Read", "DNS Write"], [zone(ZONE_B)], "deny"),
            ],
            WRITES,
            Zone(ZONE_A),
            True,
            id="all zones except B leaves A",
        ),
        pytest.param(
            [policy(["DNS Write"], [zone(ZONE_B)], "deny"), policy(["DNS Write"], [zone(ZONE_B)])],
            WRITES,
            Zone(ZONE_B),
            False,
            id="what a deny takes away no later allow gives back",
        ),
        pytest.param(
            [policy(["DNS Write"], [zone(ZONE_A)]), policy(["DNS Write"], [ALL_ZONES], "deny")],
            WRITES,
            Zone(ZONE_A),
            False,
            id="a wide deny beats a narrow allow",
        ),
        pytest.param([policy([ALL_PERMISSIONS], [ALL_ZONES])], WRITES, Zone(ZONE_A), True, id="All Permissions"),
        pytest.param(
            [policy([ALL_PERMISSIONS], [ALL_ZONES]), policy(["DNS Write"], [zone(ZONE_A)], "deny")],
            WRITES,
            Zone(ZONE_A),
            False,
            id="All Permissions less one group",
        ),
        pytest.param(
            [policy(["DNS Write"], [ALL_ZONES]), policy([ALL_PERMISSIONS], [zone(ZONE_A)], "deny")],
            WRITES,
            Zone(ZONE_A),
            False,
            id="a deny of All Permissions takes each group away",
        ),
        pytest.param(
            [policy([ALL_PERMISSIONS], [ALL_ZONES])], BILLING, Account(ACCOUNT_A), False, id="all of zones: no account"
        ),
        pytest.param(
            [policy([ALL_PERMISSIONS], [account("*")], scope=ACCOUNT)],
            WRITES,
            Zone(ZONE_A),
            False,
            id="All Permissions on accounts opens no zone",
        ),
        pytest.param(
            [policy(["Billing Read"], [account(ACCOUNT_A)], scope=ACCOUNT)],
            BILLING,
            Account(ACCOUNT_A),
            True,
            id="an account",
        ),
        pytest.param(
            [policy(["Billing Read"], [account(ACCOUNT_A)], scope=ACCOUNT)],
            BILLING,
            Account(ACCOUNT_B),
            False,
            id="another account",
        ),
        pytest.param(
            [
                policy(["Billing Read"], [account("*")], scope=ACCOUNT),
                policy(["Billing Read"], [account(ACCOUNT_B)], "deny", scope=ACCOUNT),
            ],
            BILLING,
            Account(ACCOUNT_B),
            False,
            id="all accounts except B",
        ),
        pytest.param(
            [policy(["User Details Read"], [user(USER)], scope=USER_SCOPE)], DETAILS, User(USER), True, id="a user"
        ),
        pytest.param(
            [policy(["User Details Read"], [user(USER)], scope=USER_SCOPE)],
            DETAILS,
            User(ZONE_A),
            False,
            id="another user",
        ),
        pytest.param(
            [policy(["DNS Write"], of_account(ACCOUNT_A))], WRITES, Zone(ZONE_A), False, id="zones of who knows whom"
        ),
        pytest.param(
            [policy(["DNS Write"], of_account(ACCOUNT_A))], WRITES, ZonesOf(ACCOUNT_A), True, id="a new zone of A"
        ),
        pytest.param(
            [policy(["DNS Write"], of_account(ACCOUNT_A))], WRITES, ZonesOf(ACCOUNT_B), False, id="a new zone of B"
        ),
        pytest.param([policy(["DNS Write"], [ALL_ZONES])], WRITES, ZonesOf(ACCOUNT_A), True, id="any new zone"),
        pytest.param(
            [policy(["DNS Write"], [zone(ZONE_A)])], WRITES, ZonesOf(ACCOUNT_A), False, id="no new zone beside A"
        ),
        pytest.param(
            [policy(["DNS Write"], [ALL_ZONES]), policy(["DNS Write"], of_account(ACCOUNT_A), "deny")],
            WRITES,
            ZonesOf(ACCOUNT_A),
            False,
            id="no new zone of A",
        ),
        pytest.param(
            [policy(["DNS Write"], [zone(ZONE_A)]), policy(["DNS Write"], of_account(ACCOUNT_A), "deny")],
            WRITES,
            Zone(ZONE_A),
            False,
            id="a deny on zones of who knows whom",
        ),
    ],
)
def test_a_right_is_a_pair_of_group_and_resource(
    policies: list[Policy], opened: list[frozenset[str]], touched: Touched, *, given: bool
) -> None:
    assert gives(compile_rights(policies), opened, touched) is given


@pytest.mark.parametrize(
    ("effect", "known", "given"),
    [
        pytest.param("allow", ACCOUNT_A, True, id="allow: the zone is there"),
        pytest.param("allow", ACCOUNT_B, False, id="allow: the zone is elsewhere"),
        pytest.param("allow", None, False, id="allow: nobody knows, so it counts for nothing"),
        pytest.param("deny", ACCOUNT_A, False, id="deny: the zone is there"),
        pytest.param("deny", ACCOUNT_B, True, id="deny: the zone is elsewhere"),
        pytest.param("deny", None, False, id="deny: nobody knows, so it counts"),
    ],
)
def test_zones_of_an_account_turn_on_the_zone_s_account(effect: str, known: str | None, *, given: bool) -> None:
    policies = [policy(["DNS Write"], of_account(ACCOUNT_A), effect)]
    if effect == "deny":
        policies.append(policy(["DNS Write"], [ALL_ZONES]))
    assert gives(compile_rights(policies), WRITES, Zone(ZONE_A), known) is given


def of_apis(one: Policy, *names: str) -> Policy:
    return msgspec.structs.replace(one, apis=names)


EVERYWHERE = policy(["DNS Write"], [ALL_ZONES])
NOT_A = policy(["DNS Write"], [zone(ZONE_A)], "deny")


@pytest.mark.parametrize(
    ("policies", "opens"),
    [
        pytest.param([EVERYWHERE], {"one", "other"}, id="an allow without apis is about every API"),
        pytest.param([of_apis(EVERYWHERE, "one")], {"one"}, id="an allow about one"),
        pytest.param([of_apis(EVERYWHERE, "one", "other")], {"one", "other"}, id="an allow about both"),
        pytest.param([of_apis(EVERYWHERE, "gone")], set(), id="an allow about an API that is no more"),
        pytest.param([EVERYWHERE, of_apis(NOT_A, "one")], {"other"}, id="a deny about one"),
        pytest.param([EVERYWHERE, NOT_A], set(), id="a deny without apis is about every API"),
        pytest.param([of_apis(EVERYWHERE, "one"), of_apis(NOT_A, "other")], {"one"}, id="a deny about the other"),
        pytest.param(
            [of_apis(EVERYWHERE, "one"), of_apis(EVERYWHERE, "other"), of_apis(NOT_A, "other")],
            {"one"},
            id="each by its own",
        ),
    ],
)
def test_a_policy_counts_only_for_the_apis_that_it_is_about(policies: list[Policy], opens: set[str]) -> None:
    rights = compile_rights(policies)
    assert {api for api in ("one", "other") if rules.gives(rights, WRITES, Zone(ZONE_A), api=api)} == opens


@pytest.mark.parametrize(
    ("policies", "scope", "some"),
    [
        pytest.param([], ZONE, False, id="nothing"),
        pytest.param([policy(["DNS Read"], [zone(ZONE_A)])], ZONE, True, id="a zone"),
        pytest.param([policy(["DNS Read"], [ALL_ZONES])], ZONE, True, id="all zones"),
        pytest.param([policy(["DNS Read"], of_account(ACCOUNT_A))], ZONE, True, id="an account's zones"),
        pytest.param(
            [policy(["DNS Read"], [zone(ZONE_A)]), policy(["DNS Read"], [ALL_ZONES], "deny")],
            ZONE,
            True,
            id="whatever the denies: the list will be empty",
        ),
        pytest.param([policy(["DNS Read"], [ALL_ZONES], "deny")], ZONE, False, id="a deny alone"),
        pytest.param([policy(["Zone Read"], [ALL_ZONES])], ZONE, False, id="another group"),
        pytest.param([of_apis(policy(["DNS Read"], [ALL_ZONES]), "other")], ZONE, False, id="another API"),
        pytest.param([policy(["DNS Read"], [ALL_ZONES])], ACCOUNT, False, id="zones are no accounts"),
        pytest.param(
            [policy(["DNS Read"], of_account(ACCOUNT_A))], ACCOUNT, False, id="an account's zones are no account"
        ),
    ],
)
def test_a_list_may_be_asked_for_by_who_may_see_one_of_its_things(
    policies: list[Policy], scope: Scope, *, some: bool
) -> None:
    assert gives_on_some(compile_rights(policies), READS, scope, api=API) is some


@pytest.mark.parametrize(("key", "some"), [(account(ACCOUNT_A), True), (account("*"), True), (user(USER), False)])
def test_a_list_of_accounts_may_be_asked_for_by_who_may_see_an_account(key: str, *, some: bool) -> None:
    right = Policy("1" * 32, Effect.ALLOW, (group_id("Billing Read", ACCOUNT),), {key: "*"})
    assert gives_on_some(compile_rights([right]), BILLING, ACCOUNT, api=API) is some


@pytest.mark.parametrize(
    ("policies", "given"),
    [
        pytest.param([policy(["DNS Write"], of_account(ACCOUNT_A))], False, id="only an account's allow could"),
        pytest.param([EVERYWHERE, policy(["DNS Write"], of_account(ACCOUNT_A), "deny")], True, id="a deny may hold"),
        pytest.param([EVERYWHERE, NOT_A], False, id="a deny holds"),
        pytest.param([], False, id="nothing could"),
    ],
)
def test_what_stands_in_the_way_without_the_account_is_told_apart(policies: list[Policy], *, given: bool) -> None:
    found = gives_unless_an_account_is_denied(compile_rights(policies), WRITES, Zone(ZONE_A), api=API)
    assert found is given


def test_no_group_opens_nothing() -> None:
    everything = compile_rights([policy([ALL_PERMISSIONS], [ALL_ZONES])])
    assert not gives(everything, [], Zone(ZONE_A))


# A model of the rule in DESIGN's own words: sets of pairs.

GROUP_IDS = ("read", "write", "all")
OPENINGS = (
    [frozenset({"read", "all"}), frozenset({"write", "all"})],
    [frozenset({"write", "all"})],
    [frozenset({"read", "all"})],
)
Entry = tuple[str, str | dict[str, str]]
"""A key and a value of a policy's resources."""
PATTERNS: tuple[Entry, ...] = (
    (zone(ZONE_A), "*"),
    (zone(ZONE_B), "*"),
    (ALL_ZONES, "*"),
    (account(ACCOUNT_A), {ALL_ZONES: "*"}),
    (account(ACCOUNT_A), "*"),
    (account("*"), "*"),
    (user(USER), "*"),
)
THINGS: tuple[Touched, ...] = (Zone(ZONE_A), Zone(ZONE_B), Account(ACCOUNT_A), Account(ACCOUNT_B), User(USER))
TAKES_IN: dict[Resource, set[Touched]] = {
    Zone(ZONE_A): {Zone(ZONE_A)},
    Zone(ZONE_B): {Zone(ZONE_B)},
    EveryZone(): {Zone(ZONE_A), Zone(ZONE_B)},
    Account(ACCOUNT_A): {Account(ACCOUNT_A)},
    EveryAccount(): {Account(ACCOUNT_A), Account(ACCOUNT_B)},
    User(USER): {User(USER)},
}


def policies_on(patterns: st.SearchStrategy[Entry]) -> st.SearchStrategy[Policy]:
    return st.builds(
        Policy,
        st.just("1" * 32),
        st.sampled_from(Effect),
        st.lists(st.sampled_from(GROUP_IDS), min_size=1, unique=True).map(tuple),
        st.lists(patterns, min_size=1, max_size=3).map(dict),
    )


some_policies = policies_on(st.sampled_from(PATTERNS))
policy_lists = st.lists(some_policies, max_size=5)
openings = st.sampled_from(OPENINGS)
things = st.sampled_from(THINGS)
accounts = st.sampled_from([None, ACCOUNT_A, ACCOUNT_B])


def given_by(
    policies: Iterable[Policy], opened: list[frozenset[str]], touched: Touched, known: str | None = None
) -> bool:
    return gives(compile_rights(policies), opened, touched, known)


def pairs(policies: list[Policy], effect: Effect, known: str | None) -> set[tuple[str, Touched]]:
    """Each pair of group and thing that the policies of that effect name."""
    # Nobody knows the zone's account: an allow may not count on it, a deny must.
    counts = known == ACCOUNT_A or (known is None and effect is Effect.DENY)
    zones: set[Touched] = {Zone(ZONE_A), Zone(ZONE_B)} if counts else set()
    return {
        pair
        for right in plain_rights(policies)
        if right.effect is effect
        for pattern in right.resources
        for pair in product(right.groups, TAKES_IN.get(pattern, zones))
    }


@given(policy_lists, openings, things, accounts)
@settings(deadline=None, max_examples=300)
def test_it_is_what_the_allows_give_less_what_the_denies_take(
    policies: list[Policy], opened: list[frozenset[str]], touched: Touched, known: str | None
) -> None:
    given_pairs, taken = pairs(policies, Effect.ALLOW, known), pairs(policies, Effect.DENY, known)
    expected = any(
        any((one, touched) in given_pairs for one in ids) and not any((one, touched) in taken for one in ids)
        for ids in opened
    )
    assert given_by(policies, opened, touched, known) is expected


@given(policy_lists, some_policies, openings, things, accounts)
@settings(deadline=None, max_examples=300)
def test_one_more_policy_moves_the_answer_only_its_own_way(
    policies: list[Policy], more: Policy, opened: list[frozenset[str]], touched: Touched, known: str | None
) -> None:
    before = given_by(policies, opened, touched, known)
    after = given_by([*policies, more], opened, touched, known)
    assert after <= before if more.effect is Effect.DENY else after >= before


@given(policy_lists, openings, things, accounts, st.randoms(use_true_random=False))
@settings(deadline=None)
def test_the_order_of_policies_does_not_matter(
    policies: list[Policy], opened: list[frozenset[str]], touched: Touched, known: str | None, random: Random
) -> None:
    shuffled = random.sample(policies, len(policies))
    assert given_by(shuffled, opened, touched, known) is given_by(policies, opened, touched, known)


@given(policy_lists, openings, things, accounts)
@settings(deadline=None)
def test_to_know_the_zone_s_account_never_closes_what_was_open_without(
    policies: list[Policy], opened: list[frozenset[str]], touched: Touched, known: str | None
) -> None:
    assert given_by(policies, opened, touched, None) <= given_by(policies, opened, touched, known)


# The index against the rule read off each policy, on every spelling of a zone and on more policies than fit a machine's
# small numbers.

ZONE_NAMES = (
    ZONE_A,
    "abc",
    "ABC",
    "abc.",
    "Abc.Example",
    "abc.example",
    "abc.example.",
    "0/25.example",
    "0=2F25.example",
)
TOUCHED_ZONES = (*ZONE_NAMES, f"{ZONE_A}.", "ABC.", "Abc.Example.", "0/25.example.", "0=2F25.example.", "", ".", "..")
spelt = st.sampled_from([*PATTERNS, *((zone(name), "*") for name in ZONE_NAMES)])
whatever = st.sampled_from([*THINGS, *(Zone(name) for name in TOUCHED_ZONES)])


@given(st.lists(policies_on(spelt), max_size=60), openings, whatever, accounts)
@settings(deadline=None, max_examples=500)
def test_the_index_says_what_each_policy_says(
    policies: list[Policy], opened: list[frozenset[str]], touched: Touched, known: str | None
) -> None:
    assert given_by(policies, opened, touched, known) is plainly_gives(policies, opened, touched, known)


@pytest.mark.parametrize("written", ZONE_NAMES)
def test_a_zone_is_found_under_its_two_spellings_and_under_no_other(written: str) -> None:
    policies = [Policy("1" * 32, Effect.ALLOW, ("all",), {zone(written): "*"})]
    found = {name for name in TOUCHED_ZONES if given_by(policies, OPENINGS[0], Zone(name))}
    assert found == set(TOUCHED_ZONES) & set(Zone(written).spellings)


def test_a_look_up_takes_no_more_steps_for_fifty_large_policies_than_for_one() -> None:
    small = [Policy("1" * 32, Effect.ALLOW, ("read",), {zone(ZONE_A): "*"})]
    large = [
        Policy(
            "1" * 32,
            Effect.ALLOW,
            ("read", *(f"{number}-{each}" for each in range(299))),
            dict.fromkeys([zone(ZONE_A), *(zone(f"{number}-{each}") for each in range(999))], "*"),
        )
        for number in range(50)
    ]
    assert steps_for(small) == steps_for(large)


def steps_for(policies: list[Policy]) -> int:
    """What it takes to say that they give Read on ZONE_A."""
    rights = compile_rights(policies)
    assert gives(rights, OPENINGS[0], Zone(ZONE_A))
    return steps(lambda: gives(rights, OPENINGS[0], Zone(ZONE_A)))

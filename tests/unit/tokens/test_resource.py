from typing import get_args

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.records import ACCOUNT_A, ACCOUNT_B, USER, ZONE_A, ZONE_B, account, user, zone

from gateway.tokens.grammar import canonical_zone_name
from gateway.tokens.resource import (
    SCOPE_OF,
    Account,
    Coverage,
    EveryAccount,
    EveryZone,
    Resource,
    Scope,
    Touched,
    User,
    Zone,
    ZonesOf,
    covers,
    parse_resource,
)

ALL_ZONES = {"com.cloudflare.api.account.zone.*": "*"}
MIXED = "0123456789ABCDEF" * 2


@pytest.mark.parametrize(
    ("key", "value", "resource"),
    [
        pytest.param(zone(ZONE_A), "*", Zone(ZONE_A), id="one zone by id"),
        pytest.param(zone("alpha.example"), "*", Zone("alpha.example"), id="one zone by name"),
        pytest.param(zone("Alpha.Example."), "*", Zone("Alpha.Example."), id="as it was sent"),
        pytest.param(zone("0/25.2.0.192.in-addr.arpa"), "*", Zone("0/25.2.0.192.in-addr.arpa"), id="a slash"),
        pytest.param(
            zone("0=2F25.2.0.192.in-addr.arpa"), "*", Zone("0=2F25.2.0.192.in-addr.arpa"), id="a slash as =2F"
        ),
        pytest.param(zone("*"), "*", EveryZone(), id="all zones"),
        pytest.param(account(ACCOUNT_A), ALL_ZONES, ZonesOf(ACCOUNT_A), id="all zones of an account"),
        pytest.param(account("shop-1"), ALL_ZONES, ZonesOf("shop-1"), id="all zones of an account by name"),
        pytest.param(account(ACCOUNT_A), "*", Account(ACCOUNT_A), id="an account"),
        pytest.param(account("shop-1"), "*", Account("shop-1"), id="an account by name"),
        pytest.param(account("Zone"), "*", Account("Zone"), id="an account that is not quite called zone"),
        pytest.param(account("*"), "*", EveryAccount(), id="all accounts"),
        pytest.param(user(USER), "*", User(USER), id="a user"),
        pytest.param(user("alice"), "*", User("alice"), id="a user by name"),
    ],
)
def test_a_key_and_its_value_stand_for_one_pattern(key: str, value: object, resource: Resource) -> None:
    assert parse_resource(key, value) == resource


@pytest.mark.parametrize(
    ("key", "value", "says"),
    [
        pytest.param("", "*", "not a resource", id="nothing"),
        pytest.param("*", "*", "not a resource", id="a star"),
        pytest.param("com.cloudflare.api.user", "*", "not a resource", id="a scope without an id"),
        pytest.param("com.example.zone.a", "*", "not a resource", id="another prefix"),
        pytest.param(zone(ZONE_A).upper(), "*", "not a resource", id="in capitals"),
        pytest.param(f" {zone(ZONE_A)}", "*", "not a resource", id="a space before it"),
        pytest.param(zone(""), "*", "not a zone", id="a zone without a name"),
        pytest.param(zone("a b"), "*", "not a zone", id="a zone with a space"),
        pytest.param(zone("a..b"), "*", "not a zone", id="a zone with an empty label"),
        pytest.param(zone("a*b.example"), "*", "a zone has no *", id="a star inside a label"),
        pytest.param(zone("a" * 31 + "*"), "*", "a zone has no *", id="a star inside an id"),
        pytest.param(zone("*.example"), "*", "a zone has no *", id="a star as a label"),
        pytest.param(zone("*."), "*", "a zone has no *", id="a star with a dot"),
        pytest.param(zone("0=2f25.example"), "*", "not a zone", id="=2f"),
        pytest.param(zone("=61lpha.example"), "*", "not a zone", id="any other escape"),
        pytest.param(zone("alpha%2Eexample"), "*", "not a zone", id="percent-encoded"),
        pytest.param(zone("\u00e4lpha.example"), "*", "not a zone", id="a letter beyond ASCII"),
        pytest.param(zone("a." * 126 + "aa"), "*", "not a zone", id="a name of 254 octets"),
        pytest.param(zone(MIXED), "*", "written in lower case", id="a zone id in capitals"),
        pytest.param(zone("a" * 31 + "A"), "*", "written in lower case", id="a zone id with one capital"),
        pytest.param("com.cloudflare.api.account.zone", "*", "not an id", id="the scope's own name"),
        pytest.param(account(""), "*", "not an id", id="an account without an id"),
        pytest.param(account("a.b"), "*", "not an id", id="an account with a dot"),
        pytest.param(account("x" * 65), "*", "not an id", id="an account of 65 characters"),
        pytest.param(account(MIXED), "*", "not an id", id="an account's id in capitals"),
        pytest.param(account("**"), "*", "id has no *", id="two stars"),
        pytest.param(account("c" * 31 + "*"), "*", "id has no *", id="a star inside an account's id"),
        pytest.param(account(f"{ACCOUNT_A}.zone.*"), "*", "id has no *", id="an account's zones in one key"),
        pytest.param(user("*"), "*", "not an id", id="all users"),
        pytest.param(user(MIXED), "*", "not an id", id="a user's id in capitals"),
        pytest.param(zone(ZONE_A), "", "the value of a resource", id="an empty value"),
        pytest.param(zone(ZONE_A), "read", "the value of a resource", id="a word for a value"),
        pytest.param(zone(ZONE_A), None, "the value of a resource", id="null"),
        pytest.param(zone(ZONE_A), True, "the value of a resource", id="true"),
        pytest.param(zone(ZONE_A), ["*"], "the value of a resource", id="an array"),
        pytest.param(account(ACCOUNT_A), {}, "what stands under an account", id="nothing under an account"),
        pytest.param(account(ACCOUNT_A), {zone("*"): "r"}, "what stands under an account", id="another value under it"),
        pytest.param(account(ACCOUNT_A), {zone(ZONE_A): "*"}, "what stands under an account", id="one zone under it"),
        pytest.param(
            account(ACCOUNT_A),
            {**ALL_ZONES, zone(ZONE_A): "*"},
            "what stands under an account",
            id="all zones and one more under it",
        ),
        pytest.param(
            account(ACCOUNT_A), {zone("*"): ALL_ZONES}, "what stands under an account", id="two levels under it"
        ),
        pytest.param(account("*"), ALL_ZONES, "only an account's id", id="zones under all accounts"),
        pytest.param(zone(ZONE_A), ALL_ZONES, "only an account's id", id="zones under a zone"),
        pytest.param(zone("*"), ALL_ZONES, "only an account's id", id="zones under all zones"),
        pytest.param(user(USER), ALL_ZONES, "only an account's id", id="zones under a user"),
        pytest.param(account(MIXED), ALL_ZONES, "not an id", id="zones under an id in capitals"),
        pytest.param("com.cloudflare.api.account.zone", ALL_ZONES, "not an id", id="zones under the scope's name"),
    ],
)
def test_a_malformed_resource_is_told(key: str, value: object, says: str) -> None:
    found = parse_resource(key, value)
    assert isinstance(found, str)
    assert says in found


@given(st.text(max_size=20), st.sampled_from(["com.cloudflare.api.account.zone.", "com.cloudflare.api.user.", ""]))
@settings(deadline=None)
def test_no_key_breaks_the_reader_and_no_fault_repeats_it(text: str, prefix: str) -> None:
    found = parse_resource(f"{prefix}{text}!", "*")
    assert isinstance(found, str)
    assert f"{text}!" not in found


@pytest.mark.parametrize(
    ("pattern", "touched", "zones_account", "coverage"),
    [
        pytest.param(Zone(ZONE_A), Zone(ZONE_A), None, Coverage.YES, id="a zone: itself"),
        pytest.param(Zone(ZONE_A), Zone(ZONE_B), None, Coverage.NO, id="a zone: another"),
        pytest.param(Zone(ZONE_A), Account(ZONE_A), None, Coverage.NO, id="a zone: an account of that id"),
        pytest.param(Zone(ZONE_A), User(ZONE_A), None, Coverage.NO, id="a zone: a user of that id"),
        pytest.param(EveryZone(), Zone(ZONE_A), None, Coverage.YES, id="all zones: any"),
        pytest.param(EveryZone(), Account(ACCOUNT_A), None, Coverage.NO, id="all zones: no account"),
        pytest.param(EveryZone(), User(USER), None, Coverage.NO, id="all zones: no user"),
        pytest.param(ZonesOf(ACCOUNT_A), Zone(ZONE_A), ACCOUNT_A, Coverage.YES, id="zones of A: one of A's"),
        pytest.param(ZonesOf(ACCOUNT_A), Zone(ZONE_A), ACCOUNT_B, Coverage.NO, id="zones of A: one of B's"),
        pytest.param(ZonesOf(ACCOUNT_A), Zone(ZONE_A), None, Coverage.UNKNOWN, id="zones of A: who knows"),
        pytest.param(ZonesOf(ACCOUNT_A), Account(ACCOUNT_A), None, Coverage.NO, id="zones of A: not A"),
        pytest.param(ZonesOf(ACCOUNT_A), ZonesOf(ACCOUNT_A), None, Coverage.YES, id="zones of A: a new one of A's"),
        pytest.param(ZonesOf(ACCOUNT_A), ZonesOf(ACCOUNT_B), None, Coverage.NO, id="zones of A: a new one of B's"),
        pytest.param(EveryZone(), ZonesOf(ACCOUNT_A), None, Coverage.YES, id="all zones: a new one"),
        pytest.param(Zone(ZONE_A), ZonesOf(ACCOUNT_A), None, Coverage.NO, id="a zone: not a new one"),
        pytest.param(Account(ACCOUNT_A), ZonesOf(ACCOUNT_A), None, Coverage.NO, id="an account: no new zone of it"),
        pytest.param(EveryAccount(), ZonesOf(ACCOUNT_A), None, Coverage.NO, id="all accounts: no new zone"),
        pytest.param(Account(ACCOUNT_A), Account(ACCOUNT_A), None, Coverage.YES, id="an account: itself"),
        pytest.param(Account(ACCOUNT_A), Account(ACCOUNT_B), None, Coverage.NO, id="an account: another"),
        pytest.param(Account(ACCOUNT_A), Zone(ZONE_A), ACCOUNT_A, Coverage.NO, id="an account: not its zones"),
        pytest.param(Account("Shop"), Account("shop"), None, Coverage.NO, id="an account: the same in small"),
        pytest.param(EveryAccount(), Account(ACCOUNT_B), None, Coverage.YES, id="all accounts: any"),
        pytest.param(EveryAccount(), Zone(ZONE_A), ACCOUNT_A, Coverage.NO, id="all accounts: no zone"),
        pytest.param(EveryAccount(), User(USER), None, Coverage.NO, id="all accounts: no user"),
        pytest.param(User(USER), User(USER), None, Coverage.YES, id="a user: itself"),
        pytest.param(User(USER), User(ZONE_A), None, Coverage.NO, id="a user: another"),
        pytest.param(User(USER), Account(USER), None, Coverage.NO, id="a user: an account of that id"),
    ],
)
def test_what_a_pattern_takes_in(
    pattern: Resource, touched: Touched, zones_account: str | None, coverage: Coverage
) -> None:
    assert covers(pattern, touched, zones_account) is coverage


@pytest.mark.parametrize(
    ("written", "asked", "coverage"),
    [
        pytest.param("alpha.example", "alpha.example", Coverage.YES, id="the same"),
        pytest.param("alpha.example", "alpha.example.", Coverage.YES, id="a final dot in the request"),
        pytest.param("alpha.example.", "alpha.example", Coverage.YES, id="a final dot in the policy"),
        pytest.param("Alpha.Example", "aLPHA.eXAMPLE", Coverage.YES, id="another case"),
        pytest.param("0/25.example", "0=2F25.example", Coverage.YES, id="a slash in the policy"),
        pytest.param("0=2F25.example", "0=2F25.example.", Coverage.YES, id="=2F in the policy"),
        pytest.param("alpha.example", "beta.example", Coverage.NO, id="another zone"),
        pytest.param("example", "alpha.example", Coverage.NO, id="a zone under it"),
        pytest.param("alpha.example", "example", Coverage.NO, id="the zone above it"),
    ],
)
def test_a_zone_by_name_is_compared_in_its_canonical_spelling(written: str, asked: str, coverage: Coverage) -> None:
    pattern = parse_resource(zone(written), "*")
    assert isinstance(pattern, Zone)
    assert covers(pattern, Zone(canonical_zone_name(asked))) is coverage


def test_a_zone_id_never_meets_a_zone_name() -> None:
    assert covers(Zone("alpha.example"), Zone("alpha.example.")) is Coverage.YES
    assert covers(Zone("alpha.example."), Zone("beta.example")) is Coverage.NO
    assert covers(Zone("Shop"), Zone("shop")) is Coverage.NO  # an id that a request names is compared exactly


def test_every_kind_of_resource_has_its_scope() -> None:
    assert set(SCOPE_OF) == set(get_args(Resource))
    assert {kind.__name__: scope.word for kind, scope in SCOPE_OF.items()} == {
        "Zone": "zone",
        "EveryZone": "zone",
        "ZonesOf": "zone",
        "Account": "account",
        "EveryAccount": "account",
        "User": "user",
    }


def test_scopes_are_called_as_in_the_token_api() -> None:
    assert {scope.name: str(scope) for scope in Scope} == {
        "ZONE": "com.cloudflare.api.account.zone",
        "ACCOUNT": "com.cloudflare.api.account",
        "USER": "com.cloudflare.api.user",
        "R2_BUCKET": "com.cloudflare.edge.r2.bucket",
    }
    assert all(scope.word for scope in Scope)

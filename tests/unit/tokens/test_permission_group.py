import pytest
from support.records import GROUPS

from gateway.tokens.permission_group import ALL_PERMISSIONS, PermissionGroup, PermissionGroups, own_group_id
from gateway.tokens.resource import Scope

LOGS_OF_ZONES = PermissionGroup("1" * 32, "Logs Read", (Scope.ZONE,))
LOGS_OF_ACCOUNTS = PermissionGroup("2" * 32, "Logs Read", (Scope.ACCOUNT,))
ALL_OF_ZONES = PermissionGroup("3" * 32, ALL_PERMISSIONS, (Scope.ZONE,))
TWO_SCOPES = PermissionGroup("4" * 32, "Mail Write", (Scope.ZONE, Scope.ACCOUNT))
SOME = PermissionGroups([LOGS_OF_ZONES, LOGS_OF_ACCOUNTS, ALL_OF_ZONES, TWO_SCOPES])


def test_groups_keep_the_order_of_their_files() -> None:
    assert list(SOME) == [LOGS_OF_ZONES, LOGS_OF_ACCOUNTS, ALL_OF_ZONES, TWO_SCOPES]


def test_a_group_is_found_by_its_id() -> None:
    assert SOME.get("2" * 32) is LOGS_OF_ACCOUNTS
    assert SOME.get("9" * 32) is None
    assert SOME.get("Logs Read") is None


@pytest.mark.parametrize(
    ("name", "scope", "group"),
    [
        pytest.param("Logs Read", Scope.ZONE, LOGS_OF_ZONES, id="the zone's"),
        pytest.param("Logs Read", Scope.ACCOUNT, LOGS_OF_ACCOUNTS, id="the account's of the same name"),
        pytest.param("Mail Write", Scope.ZONE, TWO_SCOPES, id="the first of two scopes"),
        pytest.param("Mail Write", Scope.ACCOUNT, TWO_SCOPES, id="the second of two scopes"),
        pytest.param("Logs Read", Scope.USER, None, id="a scope that has none"),
        pytest.param("logs read", Scope.ZONE, None, id="a name in small letters"),
    ],
)
def test_a_name_means_a_group_only_together_with_a_scope(
    name: str, scope: Scope, group: PermissionGroup | None
) -> None:
    assert SOME.named(name, scope) is group


def test_all_permissions_stands_for_each_group_of_its_own_scope() -> None:
    assert SOME.standing_for(LOGS_OF_ZONES, Scope.ZONE) == {"1" * 32, "3" * 32}
    assert SOME.standing_for(TWO_SCOPES, Scope.ZONE) == {"4" * 32, "3" * 32}
    assert SOME.standing_for(ALL_OF_ZONES, Scope.ZONE) == {"3" * 32}


def test_where_a_scope_has_no_all_permissions_a_group_stands_for_itself() -> None:
    assert SOME.standing_for(LOGS_OF_ACCOUNTS, Scope.ACCOUNT) == {"2" * 32}
    assert SOME.standing_for(TWO_SCOPES, Scope.ACCOUNT) == {"4" * 32}


@pytest.mark.parametrize(
    ("name", "reads"),
    [
        pytest.param("DNS Read", True, id="Read at the end"),
        pytest.param("DNS read", True, id="read at the end"),
        pytest.param("DNS Write", False, id="Write"),
        pytest.param("Readers Write", False, id="Read in another word"),
        pytest.param("Spread", False, id="the end of another word"),
    ],
)
def test_a_read_group_is_known_by_its_name(name: str, *, reads: bool) -> None:
    assert PermissionGroup("1" * 32, name, (Scope.ZONE,)).reads is reads


@pytest.mark.parametrize(
    ("name", "scope"),
    [
        (ALL_PERMISSIONS, Scope.ZONE),
        (ALL_PERMISSIONS, Scope.ACCOUNT),
        (ALL_PERMISSIONS, Scope.USER),
        ("User Billing Read", Scope.USER),
    ],
)
def test_the_id_of_a_group_of_ours_is_made_of_its_name_and_scope(name: str, scope: Scope) -> None:
    group = GROUPS.named(name, scope)
    assert group is not None
    assert group.id == own_group_id(name, scope)


def test_the_id_of_a_group_of_ours_never_moves() -> None:
    assert own_group_id(ALL_PERMISSIONS, Scope.ZONE) == "114d7f3ac64ee89d1e5cab0efd88a82f"

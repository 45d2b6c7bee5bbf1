import msgspec
import pytest
from support.records import ACCOUNT_A, DNS_ON_A, NOW, USER, account, group_id, owner, zone

from gateway.tokens.owner import (
    Owner,
    OwnerKind,
    OwnerRef,
    OwnerStatus,
    account_ceiling,
    is_owner,
    owner_without_record,
)
from gateway.tokens.policy import Effect
from gateway.tokens.resource import Scope


def test_users_and_accounts_have_namespaces_of_their_own() -> None:
    assert OwnerRef(OwnerKind.USER, USER).key == f"user:{USER}"
    assert OwnerRef(OwnerKind.ACCOUNT, USER).key == f"account:{USER}"


def test_the_stored_form_is_kept() -> None:
    record = owner([DNS_ON_A])
    stored = (
        b'{"schema":1,"ref":{"kind":"user","id":"%b"},"name":"an owner","status":"active",'
        b'"issued_on":%d,"modified_on":%d,"policies":[%b]}'
        % (USER.encode(), NOW - 2000, NOW - 2000, msgspec.json.encode(DNS_ON_A))
    )
    assert msgspec.json.encode(record) == stored
    assert msgspec.json.decode(stored, type=Owner) == record
    assert msgspec.json.decode(stored[:-1] + b',"later":1}', type=Owner) == record


@pytest.mark.parametrize(
    ("old", "new"),
    [
        pytest.param(b'"status":"active"', b'"status":"frozen"', id="a status we do not know"),
        pytest.param(b'"kind":"user"', b'"kind":"robot"', id="a kind we do not know"),
        pytest.param(b'"status":"active",', b"", id="no status"),
    ],
)
def test_a_stored_owner_that_we_would_misread_is_unreadable(old: bytes, new: bytes) -> None:
    with pytest.raises(msgspec.ValidationError):
        msgspec.json.decode(msgspec.json.encode(owner()).replace(old, new), type=Owner)


def test_an_owner_is_active_or_disabled() -> None:
    assert [str(status) for status in OwnerStatus] == ["active", "disabled"]


@pytest.mark.parametrize(
    ("kind", "owner_id", "is_one"),
    [
        pytest.param(OwnerKind.ACCOUNT, ACCOUNT_A, True, id="an id"),
        pytest.param(OwnerKind.ACCOUNT, "Acme-1", True, id="a name"),
        pytest.param(OwnerKind.ACCOUNT, "zone", False, id="the name of a scope"),
        pytest.param(OwnerKind.ACCOUNT, "A" * 32, False, id="an id in capitals"),
        pytest.param(OwnerKind.ACCOUNT, "*", False, id="every account"),
        pytest.param(OwnerKind.USER, USER, True, id="a user"),
        pytest.param(OwnerKind.USER, "", False, id="nobody"),
    ],
)
def test_an_owner_is_what_a_policy_could_name(
    kind: OwnerKind,
    owner_id: str,
    is_one: bool,  # noqa: FBT001 - a case's data
) -> None:
    assert is_owner(OwnerRef(kind, owner_id)) is is_one


def test_an_account_without_a_record_has_every_right_on_itself_and_its_zones_and_on_nothing_else() -> None:
    found = account_ceiling(OwnerRef(OwnerKind.ACCOUNT, ACCOUNT_A))
    assert [each.resources for each in found] == [
        {account(ACCOUNT_A): "*"},
        {account(ACCOUNT_A): {zone("*"): "*"}},
    ]
    assert [each.permission_groups for each in found] == [
        (group_id("All Permissions", Scope.ACCOUNT),),
        (group_id("All Permissions", Scope.ZONE),),
    ]
    assert {each.effect for each in found} == {Effect.ALLOW}
    assert len({each.id for each in found}) == 2


def test_what_stands_for_a_missing_record_is_an_account_s_alone() -> None:
    ref = OwnerRef(OwnerKind.ACCOUNT, ACCOUNT_A)
    found = owner_without_record(ref)
    assert found is not None
    assert (found.ref, found.status, found.policies) == (ref, OwnerStatus.ACTIVE, account_ceiling(ref))
    user_ref = OwnerRef(OwnerKind.USER, ACCOUNT_A)
    assert owner_without_record(user_ref) is None
    assert account_ceiling(user_ref) == ()

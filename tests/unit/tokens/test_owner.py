import msgspec
import pytest
from support.records import DNS_ON_A, NOW, USER, owner

from gateway.tokens.owner import Owner, OwnerKind, OwnerRef, OwnerStatus


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

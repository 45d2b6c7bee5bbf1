import msgspec
import pytest
from support.records import DNS_ON_A, NOW, TOKEN_ID, USER, secret_of, token

from gateway.tokens.digest import NO_PEPPERS
from gateway.tokens.token import LARGEST_DOCUMENT, SCHEMA, Status, Token

WHOLE = token([DNS_ON_A], request_ip=["192.0.2.0/24"], not_in=["192.0.2.7"], not_before=NOW, expires_on=NOW + 60)


def test_the_stored_form_is_kept() -> None:
    stored = (
        b'{"schema":1,"id":"%b","owner":{"kind":"user","id":"%b"},"issued_by":"",'
        b'"digests":[%b],"name":"a token","status":"active","issued_on":%d,"modified_on":%d,"policies":[%b],'
        b'"condition":{"request_ip":{"in":["192.0.2.0/24"],"not_in":["192.0.2.7"]}},'
        b'"not_before":%d,"expires_on":%d}'
        % (
            TOKEN_ID.encode(),
            USER.encode(),
            msgspec.json.encode(NO_PEPPERS.sign(secret_of())),
            NOW - 1000,
            NOW - 1000,
            msgspec.json.encode(DNS_ON_A),
            NOW,
            NOW + 60,
        )
    )
    assert msgspec.json.encode(WHOLE) == stored
    assert msgspec.json.decode(stored, type=Token) == WHOLE
    assert msgspec.json.decode(stored[:-1] + b',"later":1}', type=Token) == WHOLE


def test_dates_that_are_not_set_are_not_stored() -> None:
    stored = msgspec.json.decode(msgspec.json.encode(token()))
    assert not {"not_before", "expires_on"} & stored.keys()


@pytest.mark.parametrize("field", ["schema", "id", "owner", "digests", "status", "policies"])
def test_a_stored_token_that_lacks_a_part_is_unreadable(field: str) -> None:
    stored = msgspec.json.decode(msgspec.json.encode(WHOLE))
    del stored[field]
    with pytest.raises(msgspec.ValidationError, match=field):
        msgspec.convert(stored, Token)


def test_a_record_never_holds_the_secret() -> None:
    secret = secret_of().reveal()
    for shown in (repr(WHOLE), msgspec.json.encode(WHOLE).decode()):
        assert secret not in shown
        assert secret[37:] not in shown


def test_a_record_cannot_be_changed_in_place() -> None:
    with pytest.raises(AttributeError):
        WHOLE.status = Status.DISABLED  # type: ignore[misc]


def test_the_numbers_of_the_contract() -> None:
    assert SCHEMA == 1
    assert LARGEST_DOCUMENT == 65536
    assert [str(status) for status in Status] == ["active", "disabled", "expired"]

import msgspec
import pytest
from support.records import DNS_ON_A, ZONE_A, group_id, zone

from gateway.tokens.policy import Effect, Policy, without_ids

STORED = (
    f'{{"id":"{"1" * 32}","effect":"allow","permission_groups":["{group_id("DNS Write")}"],'
    f'"resources":{{"{zone(ZONE_A)}":"*"}}}}'
).encode()


def test_the_stored_form_is_kept() -> None:
    assert msgspec.json.encode(DNS_ON_A) == STORED
    assert msgspec.json.decode(STORED, type=Policy) == DNS_ON_A


def test_the_apis_of_a_policy_are_stored_behind_the_rest_where_there_are_any() -> None:
    some = msgspec.structs.replace(DNS_ON_A, apis=("billing", "powerdns"))
    stored = STORED[:-1] + b',"apis":["billing","powerdns"]}'
    assert msgspec.json.encode(some) == stored
    assert msgspec.json.decode(stored, type=Policy) == some


def test_a_field_that_a_later_version_added_does_not_make_it_unreadable() -> None:
    assert msgspec.json.decode(STORED[:-1] + b',"later":1}', type=Policy) == DNS_ON_A


@pytest.mark.parametrize(
    "effect",
    [
        pytest.param(b'"Allow"', id="in another case"),
        pytest.param(b'"grant"', id="a word we do not know"),
        pytest.param(b'""', id="empty"),
        pytest.param(b"null", id="null"),
    ],
)
def test_a_stored_effect_is_allow_or_deny_and_nothing_else(effect: bytes) -> None:
    with pytest.raises(msgspec.ValidationError):
        msgspec.json.decode(STORED.replace(b'"allow"', effect), type=Policy)


@pytest.mark.parametrize("field", ["id", "effect", "permission_groups", "resources"])
def test_no_part_of_a_stored_policy_may_be_missing(field: str) -> None:
    whole = msgspec.json.decode(STORED)
    del whole[field]
    with pytest.raises(msgspec.ValidationError, match=field):
        msgspec.convert(whole, Policy)


def test_effects_are_called_as_in_the_token_api() -> None:
    assert [str(effect) for effect in Effect] == ["allow", "deny"]


def test_policies_are_compared_without_their_ids_which_are_ours() -> None:
    other = msgspec.structs.replace(DNS_ON_A, id="2" * 32)
    assert other != DNS_ON_A
    assert without_ids([other]) == without_ids([DNS_ON_A])
    assert without_ids([msgspec.structs.replace(DNS_ON_A, effect=Effect.DENY)]) != without_ids([DNS_ON_A])

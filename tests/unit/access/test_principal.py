import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.records import (
    DNS_ON_A,
    NOW,
    TOKEN_ID,
    USER,
    owner,
    secret_of,
    token,
)

from gateway.access.principal import Principal, Record, prove
from gateway.access.rights import compile_rights
from gateway.reason import Deny, Reason
from gateway.tokens.condition import Condition, RequestIp
from gateway.tokens.digest import NO_PEPPERS, Digest, Peppers
from gateway.tokens.owner import OwnerKind, OwnerRef
from gateway.tokens.secret import Credential, Sensitive, make_secret, parse_secret
from gateway.tokens.token import Token

UNKNOWN = Deny(reason=Reason.UNKNOWN_TOKEN)
OLD, NEW = Sensitive("old"), Sensitive("new")


def credential(secret: Sensitive, field: str = "authorization") -> Credential:
    found = parse_secret(secret.reveal(), field)
    assert found is not None
    return found


def record(of: Token | None = None) -> Record:
    return Record(token=of or token(), owner=owner(), raw=b"")


SHOWN = credential(secret_of())


def proved(found: Principal | Deny) -> Principal:
    assert isinstance(found, Principal)
    return found


def test_who_shows_the_secret_is_the_principal() -> None:
    of = token([DNS_ON_A])
    found = proved(prove(credential(secret_of(), "x-api-key"), record(of), NO_PEPPERS, NOW))
    assert found.token is of
    assert found.owner == owner()
    assert found.digest == of.digests[0]
    assert found.credential_field == "x-api-key"
    assert found.rights == compile_rights([DNS_ON_A])
    assert found.ceiling == compile_rights(owner().policies)


@given(st.integers(0, 255).map(lambda fill: bytes([fill]) * 32) | st.binary(min_size=32, max_size=32))
@settings(deadline=None)
def test_no_other_secret_of_that_id_proves_anything(random: bytes) -> None:
    secret = make_secret(OwnerKind.USER, TOKEN_ID, random)
    found = prove(credential(secret), record(), NO_PEPPERS, NOW)
    assert (found == UNKNOWN) == (secret != secret_of())


OF_ACCOUNT = secret_of(kind=OwnerKind.ACCOUNT)


@pytest.mark.parametrize(
    ("shown", "stored"),
    [
        pytest.param(SHOWN, None, id="an unknown id"),
        pytest.param(credential(secret_of(fill=8)), record(), id="a wrong secret"),
        pytest.param(credential(secret_of("e" * 32)), record(), id="another id's secret"),
        pytest.param(credential(OF_ACCOUNT), record(), id="the prefix of the other kind"),
        pytest.param(
            credential(OF_ACCOUNT),
            record(token(digests=(NO_PEPPERS.sign(OF_ACCOUNT),))),
            id="the other kind, even with the digest of it",
        ),
        pytest.param(SHOWN, record(token(digests=())), id="no digest at all"),
        pytest.param(
            SHOWN,
            record(token(digests=(msgspec.structs.replace(NO_PEPPERS.sign(secret_of()), ends=NOW),))),
            id="a digest at its end",
        ),
        pytest.param(SHOWN, record(token(digests=(Peppers([OLD]).sign(secret_of()),))), id="a pepper that is gone"),
    ],
)
def test_whatever_is_wrong_looks_alike_from_outside(shown: Credential, stored: Record | None) -> None:
    assert prove(shown, stored, NO_PEPPERS, NOW) == UNKNOWN


def test_an_account_s_token_has_an_account_s_secret() -> None:
    of = token(owner=OwnerRef(OwnerKind.ACCOUNT, USER))
    assert proved(prove(credential(OF_ACCOUNT), record(of), NO_PEPPERS, NOW)).token is of
    assert prove(SHOWN, record(of), NO_PEPPERS, NOW) == UNKNOWN


def test_each_of_several_digests_proves_and_the_one_that_did_is_told() -> None:
    digests = tuple(NO_PEPPERS.sign(secret_of(fill=fill)) for fill in (1, 2, 3))
    for fill, digest in enumerate(digests, start=1):
        found = prove(credential(secret_of(fill=fill)), record(token(digests=digests)), NO_PEPPERS, NOW)
        assert proved(found).digest == digest


def test_a_pepper_that_only_verifies_proves_and_the_digest_is_told_for_resigning() -> None:
    stored = Peppers([OLD]).sign(secret_of())
    peppers = Peppers([NEW, OLD])
    found = proved(prove(SHOWN, record(token(digests=(stored,))), peppers, NOW))
    assert found.digest == stored
    assert not peppers.is_current(found.digest)


class Watched(Sensitive):
    """A secret that counts how often it is looked at."""

    __slots__ = ("looks",)

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self.looks = 0

    def reveal(self) -> str:
        self.looks += 1
        return super().reveal()


def looks(stored: Record | None, peppers: Peppers) -> int:
    secret = Watched(secret_of(fill=8).reveal())
    shown = Credential(TOKEN_ID, OwnerKind.USER, secret)
    assert prove(shown, stored, peppers, NOW) == UNKNOWN
    return secret.looks


@pytest.mark.parametrize("peppers", [pytest.param(NO_PEPPERS, id="plain"), pytest.param(Peppers([NEW]), id="hmac")])
def test_an_unknown_id_costs_the_same_comparison_as_a_wrong_secret(peppers: Peppers) -> None:
    known = record(token(digests=(peppers.sign(secret_of()),)))
    assert looks(None, peppers) == looks(known, peppers) == 1


def test_every_digest_is_tried_so_that_time_does_not_tell_which_one_it_was() -> None:
    digests: list[Digest] = [NO_PEPPERS.sign(secret_of(fill=fill)) for fill in (1, 2, 3)]
    for fill in (1, 2, 3):
        secret = Watched(secret_of(fill=fill).reveal())
        shown = Credential(TOKEN_ID, OwnerKind.USER, secret)
        proved(prove(shown, record(token(digests=tuple(digests))), NO_PEPPERS, NOW))
        assert secret.looks == 3


def test_without_an_owner_there_is_no_ceiling() -> None:
    found = proved(prove(SHOWN, Record(token(), None, b""), NO_PEPPERS, NOW))
    assert found.owner is None
    assert found.ceiling == ()


def test_a_record_that_cannot_be_read_is_an_error_and_no_principal() -> None:
    bad = msgspec.structs.replace(DNS_ON_A, resources={"com.example.zone": "*"})
    with pytest.raises(ValueError, match="not a resource"):
        prove(SHOWN, record(token([bad])), NO_PEPPERS, NOW)
    nowhere = msgspec.structs.replace(token(), condition=Condition(RequestIp(("nowhere",))))
    with pytest.raises(ValueError, match="not an address"):
        prove(SHOWN, record(nowhere), NO_PEPPERS, NOW)


def test_a_principal_does_not_show_the_secret() -> None:
    found = proved(prove(SHOWN, record(), NO_PEPPERS, NOW))
    assert secret_of().reveal()[37:] not in repr(found)

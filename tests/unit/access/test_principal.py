import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.records import (
    NOW,
    TOKEN_ID,
    USER,
    compiled,
    secret_of,
    token,
)

from gateway.access.compiled import CompiledToken
from gateway.access.principal import Principal, prove, renew, resigned, resume
from gateway.reason import Deny, Reason
from gateway.tokens.digest import NO_PEPPERS, Digest, Peppers
from gateway.tokens.owner import OwnerKind, OwnerRef
from gateway.tokens.secret import Credential, Sensitive, make_secret, parse_secret

UNKNOWN = Deny(reason=Reason.UNKNOWN_TOKEN)
OLD, NEW = Sensitive("old"), Sensitive("new")


def credential(secret: Sensitive, field: str = "authorization") -> Credential:
    found = parse_secret(secret.reveal(), field)
    assert found is not None
    return found


SHOWN = credential(secret_of())


def proved(found: Principal | Deny) -> Principal:
    assert isinstance(found, Principal)
    return found


def test_who_shows_the_secret_is_the_principal() -> None:
    of = compiled()
    found = proved(prove(credential(secret_of(), "x-api-key"), of, NO_PEPPERS, NOW))
    assert found.token is of
    assert found.digest is of.digests[0]
    assert found.credential_field == "x-api-key"


@given(st.integers(0, 255).map(lambda fill: bytes([fill]) * 32) | st.binary(min_size=32, max_size=32))
@settings(deadline=None)
def test_no_other_secret_of_that_id_proves_anything(random: bytes) -> None:
    secret = make_secret(OwnerKind.USER, TOKEN_ID, random)
    found = prove(credential(secret), compiled(), NO_PEPPERS, NOW)
    assert (found == UNKNOWN) == (secret != secret_of())


OF_ACCOUNT = secret_of(kind=OwnerKind.ACCOUNT)


@pytest.mark.parametrize(
    ("shown", "stored"),
    [
        pytest.param(SHOWN, None, id="an unknown id"),
        pytest.param(credential(secret_of(fill=8)), compiled(), id="a wrong secret"),
        pytest.param(credential(secret_of("e" * 32)), compiled(), id="another id's secret"),
        pytest.param(credential(OF_ACCOUNT), compiled(), id="the prefix of the other kind"),
        pytest.param(
            credential(OF_ACCOUNT),
            compiled(token(digests=(NO_PEPPERS.sign(OF_ACCOUNT),))),
            id="the other kind, even with the digest of it",
        ),
        pytest.param(SHOWN, compiled(token(digests=())), id="no digest at all"),
        pytest.param(
            SHOWN,
            compiled(token(digests=(msgspec.structs.replace(NO_PEPPERS.sign(secret_of()), ends=NOW),))),
            id="a digest at its end",
        ),
        pytest.param(SHOWN, compiled(token(digests=(Peppers([OLD]).sign(secret_of()),))), id="a pepper that is gone"),
    ],
)
def test_whatever_is_wrong_looks_alike_from_outside(shown: Credential, stored: CompiledToken | None) -> None:
    assert prove(shown, stored, NO_PEPPERS, NOW) == UNKNOWN


def test_an_account_s_token_has_an_account_s_secret() -> None:
    of = compiled(token(owner=OwnerRef(OwnerKind.ACCOUNT, USER)))
    assert proved(prove(credential(OF_ACCOUNT), of, NO_PEPPERS, NOW)).token is of
    assert prove(SHOWN, of, NO_PEPPERS, NOW) == UNKNOWN


def test_each_of_several_digests_proves_and_the_one_that_did_is_told() -> None:
    digests = tuple(NO_PEPPERS.sign(secret_of(fill=fill)) for fill in (1, 2, 3))
    for fill, digest in enumerate(digests, start=1):
        found = prove(credential(secret_of(fill=fill)), compiled(token(digests=digests)), NO_PEPPERS, NOW)
        assert proved(found).digest == digest


def test_a_pepper_that_only_verifies_proves_and_the_digest_is_told_for_resigning() -> None:
    stored = Peppers([OLD]).sign(secret_of())
    peppers = Peppers([NEW, OLD])
    found = proved(prove(SHOWN, compiled(token(digests=(stored,))), peppers, NOW))
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


def looks(stored: CompiledToken | None, peppers: Peppers) -> int:
    secret = Watched(secret_of(fill=8).reveal())
    shown = Credential(TOKEN_ID, OwnerKind.USER, secret)
    assert prove(shown, stored, peppers, NOW) == UNKNOWN
    return secret.looks


@pytest.mark.parametrize("peppers", [pytest.param(NO_PEPPERS, id="plain"), pytest.param(Peppers([NEW]), id="hmac")])
def test_an_unknown_id_costs_the_same_comparison_as_a_wrong_secret(peppers: Peppers) -> None:
    known = compiled(token(digests=(peppers.sign(secret_of()),)))
    assert looks(None, peppers) == looks(known, peppers) == 1


def test_every_digest_is_tried_so_that_time_does_not_tell_which_one_it_was() -> None:
    digests: list[Digest] = [NO_PEPPERS.sign(secret_of(fill=fill)) for fill in (1, 2, 3)]
    for fill in (1, 2, 3):
        secret = Watched(secret_of(fill=fill).reveal())
        shown = Credential(TOKEN_ID, OwnerKind.USER, secret)
        proved(prove(shown, compiled(token(digests=tuple(digests))), NO_PEPPERS, NOW))
        assert secret.looks == 3


DIGEST = NO_PEPPERS.sign(secret_of())
OTHER = NO_PEPPERS.sign(secret_of(fill=8))
ENDING = msgspec.structs.replace(DIGEST, ends=NOW + 60)


@pytest.mark.parametrize(
    ("proved_by", "digests", "now", "goes_on"),
    [
        pytest.param(DIGEST, (DIGEST,), NOW + 1e9, True, id="the digest is there"),
        pytest.param(DIGEST, (OTHER, DIGEST), NOW, True, id="among others"),
        pytest.param(DIGEST, (OTHER,), NOW, False, id="rolled"),
        pytest.param(DIGEST, (), NOW, False, id="no digest is left"),
        pytest.param(ENDING, (ENDING, OTHER), NOW + 59.9, True, id="a moment before its end"),
        pytest.param(ENDING, (ENDING, OTHER), NOW + 60, False, id="in the second of its end"),
        pytest.param(DIGEST, (ENDING, OTHER), NOW, False, id="it has an end now: it is another one"),
        pytest.param(DIGEST, None, NOW, False, id="the token is gone"),
    ],
)
def test_a_principal_goes_on_while_the_digest_that_it_proved_is_there(
    proved_by: Digest, digests: tuple[Digest, ...] | None, now: float, *, goes_on: bool
) -> None:
    before = proved(prove(credential(secret_of(), "x-api-key"), compiled(token(digests=(proved_by,))), NO_PEPPERS, NOW))
    current = compiled(token(digests=digests)) if digests is not None else None
    found = renew(before, current, now)
    assert (found is not None) is goes_on
    if found is not None:
        assert found.token is current
        assert (found.digest, found.credential_field) == (proved_by, "x-api-key")


@pytest.mark.parametrize(
    ("digests", "now", "by"),
    [
        pytest.param((DIGEST,), NOW + 1e9, DIGEST, id="the digest is there"),
        pytest.param((OTHER, DIGEST), NOW, DIGEST, id="among others"),
        pytest.param((OTHER,), NOW, None, id="rolled"),
        pytest.param((), NOW, None, id="no digest is left"),
        pytest.param((OTHER, ENDING), NOW + 59.9, ENDING, id="rolled, a moment before the overlap ends"),
        pytest.param((OTHER, ENDING), NOW + 60, None, id="in the second in which it ends"),
        pytest.param(None, NOW, None, id="the token is gone"),
    ],
)
def test_a_session_goes_on_while_the_digest_that_began_it_is_there_with_an_end_or_without(
    digests: tuple[Digest, ...] | None, now: float, by: Digest | None
) -> None:
    current = compiled(token(digests=digests)) if digests is not None else None
    found = resume(DIGEST, current, "authorization", now)
    assert (found.digest if found is not None else None) == by
    if found is not None:
        assert (found.token, found.credential_field) == (current, "authorization")


def test_a_principal_whose_digest_was_made_anew_goes_on_by_the_new_one() -> None:
    new = Peppers([NEW]).sign(secret_of())
    found = resigned(proved(prove(SHOWN, compiled(), NO_PEPPERS, NOW)), new)
    assert found.digest is new
    assert renew(found, compiled(token(digests=(new,))), NOW) is not None
    assert renew(found, compiled(), NOW) is None


def test_a_principal_does_not_show_the_secret() -> None:
    found = proved(prove(SHOWN, compiled(), NO_PEPPERS, NOW))
    assert secret_of().reveal()[37:] not in repr(found)

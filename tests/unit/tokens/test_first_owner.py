from collections.abc import Callable
from itertools import count

import msgspec
import pytest
from support.records import CATALOG, GROUPS, NOW, USER, zone

from gateway.access.rights import compile_rights, gives
from gateway.catalog.api import Where
from gateway.tokens.digest import NO_PEPPERS, Peppers
from gateway.tokens.first_owner import first_owner
from gateway.tokens.owner import OwnerKind, OwnerRef, OwnerStatus
from gateway.tokens.resource import Account, Touched, User, Zone
from gateway.tokens.secret import Sensitive, parse_secret
from gateway.tokens.token import Status

ANY: tuple[Touched, ...] = (Zone("a" * 32), Zone("alpha.example."), Account("b" * 32), User(USER))


def numbers() -> Callable[[int], bytes]:
    """Bytes that never come twice."""
    counter = count(1)
    return lambda size: next(counter).to_bytes(size)


@pytest.mark.parametrize(
    "peppers",
    [pytest.param(NO_PEPPERS, id="plain"), pytest.param(Peppers([Sensitive("pepper")]), id="with a pepper")],
)
def test_the_secret_is_that_of_the_first_token(peppers: Peppers) -> None:
    _, token, secret = first_owner(GROUPS, peppers, USER, NOW, numbers())
    (digest,) = token.digests
    assert peppers.proves(digest, secret, NOW)
    assert peppers.is_current(digest)
    credential = parse_secret(secret.reveal())
    assert credential is not None
    assert (credential.token_id, credential.kind) == (token.id, OwnerKind.USER)


def test_owner_and_token_are_active_without_an_end_and_without_a_maker() -> None:
    owner, token, _ = first_owner(GROUPS, NO_PEPPERS, USER, NOW + 0.9, numbers())
    assert owner.ref == token.owner == OwnerRef(OwnerKind.USER, USER)
    assert (owner.status, token.status) == (OwnerStatus.ACTIVE, Status.ACTIVE)
    assert (owner.issued_on, owner.modified_on, token.issued_on, token.modified_on) == (NOW,) * 4
    assert (token.issued_by, token.not_before, token.expires_on) == ("", None, None)
    assert msgspec.to_builtins(token.condition) == {}


def test_both_have_every_right_in_every_scope_that_a_route_can_ask_for() -> None:
    owner, token, _ = first_owner(GROUPS, NO_PEPPERS, USER, NOW, numbers())
    for route in CATALOG.public.routes:
        if route.where is Where.NOWHERE:
            continue
        touched = {thing for thing in ANY if type(thing).__name__.lower() == (route.scope and route.scope.word)}
        assert touched
        for thing in touched:
            for policies in (owner.policies, token.policies):
                assert gives(compile_rights(policies), route.opened_by, thing, api=route.api.name), route.text


def test_it_is_its_own_user_and_no_other() -> None:
    _, token, _ = first_owner(GROUPS, NO_PEPPERS, USER, NOW, numbers())
    keys = [key for policy in token.policies for key in policy.resources]
    assert keys == [zone("*"), "com.cloudflare.api.account.*", f"com.cloudflare.api.user.{USER}"]


def test_each_id_is_made_of_random_bytes_of_its_own() -> None:
    _, token, secret = first_owner(GROUPS, NO_PEPPERS, USER, NOW, numbers())
    ids = [token.id, *(policy.id for policy in token.policies)]
    assert len(set(ids)) == len(ids) == 4
    assert all(len(one) == 32 for one in ids)
    _, other, other_secret = first_owner(GROUPS, NO_PEPPERS, USER, NOW, lambda size: bytes([9]) * size)
    assert other.id != token.id
    assert other_secret != secret

"""Who a token acts for. An owner has policies of its own: the ceiling for all its tokens."""

from enum import StrEnum
from typing import Any

import msgspec

from gateway.tokens.permission_group import ALL_PERMISSIONS, own_group_id
from gateway.tokens.policy import Effect, Policy
from gateway.tokens.resource import Account, Scope, User, parse_resource


class OwnerKind(StrEnum):
    """A person, or an account."""

    USER = "user"
    ACCOUNT = "account"


class OwnerRef(msgspec.Struct, frozen=True):
    """Which owner. Users and accounts have namespaces of their own."""

    kind: OwnerKind
    id: str

    @property
    def key(self) -> str:
        """The owner in a key of the store: `user:<id>`."""
        return f"{self.kind}:{self.id}"


class OwnerStatus(StrEnum):
    """A disabled owner's tokens do not work."""

    ACTIVE = "active"
    DISABLED = "disabled"


# Stored as JSON. Rule of change: add at the end, with a default; never rename; raise SCHEMA when an older reader
# would misread.
class Owner(msgspec.Struct, frozen=True, omit_defaults=True):
    """An owner's record."""

    schema: int
    ref: OwnerRef
    name: str
    status: OwnerStatus
    issued_on: int
    modified_on: int
    policies: tuple[Policy, ...]


class OwnerDraft(msgspec.Struct, frozen=True):
    """What a client may say of an owner, found valid. `status` None: not said."""

    ref: OwnerRef
    name: str
    status: OwnerStatus | None
    policies: tuple[Policy, ...]


def is_owner(ref: OwnerRef) -> bool:
    """Whether a policy could name it: an account called `zone`, or an id in capitals, would have a ceiling that nobody
    can read.
    """
    scope = Scope.USER if ref.kind is OwnerKind.USER else Scope.ACCOUNT
    return isinstance(parse_resource(f"{scope}.{ref.id}", "*"), Account | User)


def account_ceiling(ref: OwnerRef) -> tuple[Policy, ...]:
    """The policies of an owner without a record: an account has every right on itself and on its zones (DESIGN 5); a
    user has none.
    """
    if ref.kind is not OwnerKind.ACCOUNT:
        return ()
    account = f"{Scope.ACCOUNT}.{ref.id}"
    everything: dict[Scope, dict[str, Any]] = {
        Scope.ACCOUNT: {account: "*"},
        Scope.ZONE: {account: {f"{Scope.ZONE}.*": "*"}},
    }
    return tuple(
        Policy(
            id=own_group_id(f"ceiling of {ref.key}", scope),
            effect=Effect.ALLOW,
            permission_groups=(own_group_id(ALL_PERMISSIONS, scope),),
            resources=resources,
        )
        for scope, resources in everything.items()
    )


def owner_without_record(ref: OwnerRef) -> Owner | None:
    """The owner that stands for one without a record; None for a user, through whom nothing passes then."""
    if ref.kind is not OwnerKind.ACCOUNT:
        return None
    return Owner(
        schema=1,
        ref=ref,
        name=f"Account {ref.id}",
        status=OwnerStatus.ACTIVE,
        issued_on=0,
        modified_on=0,
        policies=account_ceiling(ref),
    )

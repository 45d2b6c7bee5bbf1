"""Who a token acts for. An owner has policies of its own: the ceiling for all its tokens."""

from enum import StrEnum

import msgspec

from gateway.tokens.policy import Policy


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

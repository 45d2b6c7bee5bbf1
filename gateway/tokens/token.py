"""The token's record: the one document that decides whether a token exists. It never holds the secret."""

from enum import StrEnum
from typing import Annotated, Final

import msgspec

from gateway.tokens.condition import Condition
from gateway.tokens.digest import Digest
from gateway.tokens.owner import OwnerRef
from gateway.tokens.policy import Policy
from gateway.tokens.rate import Rate

SCHEMA: Final = 1
LARGEST_DOCUMENT: Final = 64 * 1024
"""Bytes of a token as stored."""


Moment = Annotated[int, msgspec.Meta(ge=0, le=253_402_300_799)]
"""Unix seconds, UTC, to the end of the year 9999: what can be shown as a date (RFC 3339)."""


class Status(StrEnum):
    """As shown. Only the first two are stored: a token expires by its date alone."""

    ACTIVE = "active"
    DISABLED = "disabled"
    EXPIRED = "expired"


# Stored as JSON. Rule of change: add at the end, with a default; never rename; raise SCHEMA when an older reader
# would misread, and give the store a migration.
class Token(msgspec.Struct, frozen=True, omit_defaults=True):
    """Times are Unix seconds, UTC. `issued_by` is the id of the token that made this one, "" for `init`'s."""

    schema: int
    id: str
    owner: OwnerRef
    issued_by: str
    digests: tuple[Digest, ...]
    name: str
    status: Status
    issued_on: Moment
    modified_on: Moment
    policies: tuple[Policy, ...]
    condition: Condition = Condition()
    not_before: Moment | None = None
    expires_on: Moment | None = None
    limits: Rate | None = None


class Draft(msgspec.Struct, frozen=True):
    """What a client may say of a token, found valid. `status` None: not said; `limits` None: the settings' own."""

    name: str
    policies: tuple[Policy, ...]
    condition: Condition
    not_before: int | None
    expires_on: int | None
    status: Status | None
    limits: Rate | None = None

"""Everything that a decision is a function of."""

from enum import Enum
from typing import Final

import msgspec

from gateway.access.compiled import CompiledToken
from gateway.access.principal import Principal
from gateway.catalog.route_table import Match
from gateway.catalog.target import Target
from gateway.tokens.condition import Address


class Unknown(Enum):
    """Why nobody can say in which account a zone lies."""

    NOT_FOUND = "there is no such zone"
    UNREACHABLE = "the upstream could not be asked"


class Facts(msgspec.Struct, frozen=True, gc=False):
    """What was fetched because an answer turned on it. None: not asked yet."""

    account: str | Unknown | None = None
    """The account of the zone that is touched."""
    body: bytes | None = None
    """The whole body, as it will be sent."""


NO_FACTS: Final = Facts()


class Unproved(msgspec.Struct, frozen=True):
    """A token that nobody has shown the secret of: good for an explanation, and no principal."""

    token: CompiledToken
    credential_field: str


class Supposition(msgspec.Struct, frozen=True):
    """A `Question` on behalf of an unproved token. The checks take it; `decide`, which makes an `Allow`, does not."""

    principal: Unproved
    address: Address | None
    target: Target
    match: Match
    now: float
    facts: Facts = NO_FACTS
    encoded: bool = False


class Question(msgspec.Struct, frozen=True, gc=False):
    """May `principal`, at `address` (unmapped; None on a Unix socket) and at `now` (Unix seconds), do this?"""

    principal: Principal
    address: Address | None
    target: Target
    match: Match
    now: float
    facts: Facts = NO_FACTS
    encoded: bool = False
    """What the body says to the upstream nobody can read here: it is compressed, in another charset, or a form."""

"""Everything that a decision is a function of."""

import msgspec

from gateway.access.principal import Principal
from gateway.catalog.route_table import Match
from gateway.catalog.target import Target
from gateway.tokens.condition import Address


class Question(msgspec.Struct, frozen=True, gc=False):
    """May `principal`, at `address` (unmapped; None on a Unix socket) and at `now` (Unix seconds), do this?"""

    principal: Principal
    address: Address | None
    target: Target
    match: Match
    now: float

"""How often a token was used, and what was refused to it: for which reason, and when."""

from collections.abc import Callable
from typing import Any, Protocol

import msgspec

from gateway.store.use import DayUse, RefusedUse
from gateway.tokens.timestamp import format_timestamp


class Uses(Protocol):
    """What tokens were used for, as far as it is known. Never raises."""

    async def days(self, token_id: str, now: float) -> list[DayUse]:
        """How often it was used on each of the last days, the oldest first."""

    async def refused(self, token_id: str) -> list[RefusedUse]:
        """The last requests that were refused to it, the newest first."""


class TokenUse:
    """Tells of one token."""

    def __init__(self, uses: Uses, clock: Callable[[], float]) -> None:
        """`clock`: Unix seconds."""
        self._uses = uses
        self._clock = clock

    async def by_day(self, token_id: str) -> list[dict[str, Any]]:
        """Each of the last days, with what was allowed and what was refused on it."""
        return [msgspec.to_builtins(day) for day in await self._uses.days(token_id, self._clock())]

    async def denials(self, token_id: str) -> dict[str, Any]:
        """`calls`: the last requests that were refused to it, the newest first; each with its moment, and its route's
        method and path template, if there was a route.
        """
        return {"calls": [_shown(each) for each in await self._uses.refused(token_id)]}


def _shown(refused: RefusedUse) -> dict[str, Any]:
    method, _, path = refused.route.partition(" ")
    return {
        "when": format_timestamp(refused.at),
        "reason": refused.reason,
        "method": method,
        "path": path,
        "address": refused.address,
        "times": refused.times,
    }

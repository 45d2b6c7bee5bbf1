from collections.abc import Sequence

from support.records import NOW, TOKEN_ID

from gateway.dashboard.token_use import TokenUse
from gateway.store.use import DayUse, RefusedUse

LIST = "GET /client/v4/zones/{zone_id}/dns_records"


class Uses:
    """What a test wrote down of one token."""

    def __init__(self, *, days: Sequence[DayUse] = (), refused: Sequence[RefusedUse] = ()) -> None:
        self._days = list(days)
        self._refused = list(refused)

    async def days(self, token_id: str, now: float) -> list[DayUse]:
        assert (token_id, now) == (TOKEN_ID, NOW)
        return self._days

    async def refused(self, token_id: str) -> list[RefusedUse]:
        assert token_id == TOKEN_ID
        return self._refused


def telling(uses: Uses) -> TokenUse:
    return TokenUse(uses, lambda: NOW)


async def test_each_of_the_last_refusals_has_its_moment_and_its_route_in_two_parts() -> None:
    uses = Uses(refused=[RefusedUse(NOW, "forbidden", LIST, "192.0.2.7", 3), RefusedUse(NOW - 1, "no_route", "", "")])
    assert (await telling(uses).denials(TOKEN_ID))["calls"] == [
        {
            "when": "2027-01-15T08:00:00Z",
            "reason": "forbidden",
            "method": "GET",
            "path": "/client/v4/zones/{zone_id}/dns_records",
            "address": "192.0.2.7",
            "times": 3,
        },
        {"when": "2027-01-15T07:59:59Z", "reason": "no_route", "method": "", "path": "", "address": "", "times": 1},
    ]


async def test_use_is_told_day_by_day() -> None:
    uses = Uses(days=[DayUse("2027-01-14", 0, 0), DayUse("2027-01-15", 4, 1)])
    assert await telling(uses).by_day(TOKEN_ID) == [
        {"day": "2027-01-14", "allowed": 0, "refused": 0},
        {"day": "2027-01-15", "allowed": 4, "refused": 1},
    ]

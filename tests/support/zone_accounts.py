"""Accounts of zones, as a test wants them: a `ZoneAccounts` without pins and upstreams."""

from collections.abc import Mapping, Sequence

from gateway.access.ports import StoreUnavailable, ZoneAccounts
from gateway.access.question import Unknown
from gateway.catalog.api import Api


class MemoryAccounts(ZoneAccounts):
    """Knows `accounts` by zone; what is in `remembered` takes no look-up. `asked`: zones that were looked up.

    `pins`: by zone; `failure`: what the store says instead of them.
    """

    def __init__(
        self, accounts: Mapping[str, str | Unknown] | None = None, remembered: frozenset[str] = frozenset()
    ) -> None:
        self.accounts = dict(accounts or {})
        self.remembered = remembered
        self.asked: list[str] = []
        self.pins: dict[str, str] = {}
        self.failure: StoreUnavailable | None = None

    def known(self, api: Api, zone: str) -> str | Unknown | None:
        del api
        return self.accounts.get(zone) if zone in self.remembered else None

    async def find(self, api: Api, zone: str) -> str | Unknown:
        if (known := self.known(api, zone)) is not None:
            return known
        self.asked.append(zone)
        return self.accounts.get(zone, Unknown.NOT_FOUND)

    async def pinned(self, api: Api, zones: Sequence[str]) -> dict[str, str]:
        del api
        if self.failure is not None:
            raise self.failure
        return {zone: account for zone, account in self.pins.items() if zone in zones}

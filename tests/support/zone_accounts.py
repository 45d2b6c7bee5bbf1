"""Accounts of zones, as a test wants them: a `ZoneAccounts` without pins and upstreams."""

from collections.abc import Mapping

from gateway.access.ports import ZoneAccounts
from gateway.access.question import Unknown
from gateway.catalog.api import Api


class MemoryAccounts(ZoneAccounts):
    """Knows `accounts` by zone; what is in `remembered` takes no look-up. `asked`: zones that were looked up."""

    def __init__(
        self, accounts: Mapping[str, str | Unknown] | None = None, remembered: frozenset[str] = frozenset()
    ) -> None:
        self.accounts = dict(accounts or {})
        self.remembered = remembered
        self.asked: list[str] = []

    def known(self, api: Api, zone: str) -> str | Unknown | None:
        del api
        return self.accounts.get(zone) if zone in self.remembered else None

    async def find(self, api: Api, zone: str) -> str | Unknown:
        del api
        self.asked.append(zone)
        return self.accounts.get(zone, Unknown.NOT_FOUND)

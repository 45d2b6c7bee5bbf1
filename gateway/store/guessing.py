"""How many unknown ids one client network may have looked up. Pure: time is an argument.

Nobody guesses 256 random bits; what is protected is the store, from reads for ids that are made up.
"""

from collections import OrderedDict
from ipaddress import IPv6Address
from typing import Final

from gateway.tokens.condition import Address

MOST_UNKNOWN: Final = 10
WINDOW: Final = 1.0
"""Seconds."""
_MOST_NETWORKS: Final = 10_000
_PREFIX_6: Final = 64

Network = tuple[int, int]
"""What counts as one client: the version of IP, and the number of the address or its prefix."""


def network_of(address: Address | None) -> Network:
    """An IPv4 address, the /64 of an IPv6 address; all that have none are one."""
    if address is None:
        return (0, 0)
    if isinstance(address, IPv6Address):
        return (6, int(address) >> _PREFIX_6)
    return (4, int(address))


class GuessLimit:
    """Counts reads that came back unknown, by network; bounded: the network that was quiet longest is forgotten."""

    def __init__(self) -> None:
        self._windows: OrderedDict[Network, tuple[float, int]] = OrderedDict()

    def blocks(self, network: Network, now: float) -> float:
        """For how many seconds the network may not have further ids looked up; 0.0: it may."""
        began, count = self._windows.get(network, (now, 0))
        return max(0.0, began + WINDOW - now) if count >= MOST_UNKNOWN else 0.0

    def count(self, network: Network, now: float) -> None:
        """A read for the network came back unknown."""
        began, count = self._windows.pop(network, (now, 0))
        if now >= began + WINDOW:
            began, count = now, 0
        self._windows[network] = (began, count + 1)
        if len(self._windows) > _MOST_NETWORKS:
            self._windows.popitem(last=False)

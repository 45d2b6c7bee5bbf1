"""Limits on where a token may be used from (token API: condition.request_ip)."""

import re
from bisect import bisect_right
from collections.abc import Iterable
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_network
from typing import Final

import msgspec

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network

_MAPPED: Final = IPv6Network("::ffff:0:0/96")
_SHAPE: Final = re.compile(r"[0-9A-Fa-f:.]{2,45}(?:/\d{1,3})?", re.ASCII)


def unmap(address: Address) -> Address:
    """The IPv4 address that a `::ffff:` address stands for; any other as it is.

    A dual-stack socket shows IPv4 clients that way; a condition on 192.0.2.0/24 must see them.
    """
    return (address.ipv4_mapped or address) if isinstance(address, IPv6Address) else address


def parse_network(text: str) -> Network | str:
    """The network that `text` names (a single address is a /32 or /128), or what is wrong with it."""
    if not _SHAPE.fullmatch(text):
        return "not an address or a CIDR network"
    try:
        network = ip_network(text, strict=False)
    except ValueError:
        return "not an address or a CIDR network"
    if "/" in text and ip_network(text.partition("/")[0]).network_address != network.network_address:
        return f"host bits are set: the network is {network}"
    if isinstance(network, IPv6Network) and network.subnet_of(_MAPPED):
        mapped = network.network_address.ipv4_mapped
        return IPv4Network((int(mapped or 0), network.prefixlen - 96))
    return network


class RequestIp(msgspec.Struct, frozen=True, omit_defaults=True, rename={"allowed": "in"}):
    """CIDRs as they were sent, in their order: `in` must hold the client (if there is any), `not_in` must not."""

    allowed: tuple[str, ...] = ()
    not_in: tuple[str, ...] = ()


class Condition(msgspec.Struct, frozen=True, omit_defaults=True):
    """All of it must hold."""

    request_ip: RequestIp = RequestIp()


_BEHIND_V4: Final = 1 << 32
_BEHIND_ALL: Final = _BEHIND_V4 + (1 << 128)


def _number(address: Address) -> int:
    """`address` in one row of numbers for all: IPv4 first, IPv6 behind it."""
    return int(address) + (_BEHIND_V4 if isinstance(address, IPv6Address) else 0)


class _Ranges:
    """Where some networks lie in that row. They may lie in each other."""

    def __init__(self, texts: Iterable[str]) -> None:
        networks = [_network(text) for text in texts]
        self.starts = sorted(_number(network.network_address) for network in networks)
        self.ends = sorted(_number(network.broadcast_address) + 1 for network in networks)

    def hold(self, number: int) -> bool:
        """Whether more of them have begun than have ended."""
        return bisect_right(self.starts, number) > bisect_right(self.ends, number)


class AddressRule:
    """A compiled `Condition`: numbers instead of text.

    A row of bounds, at each of which one gets in or out again: whoever has an odd number of them at or before him is
    admitted. That is one look-up, of a few steps more for 200 networks than for one.
    """

    __slots__ = ("_bounds", "_everywhere")

    def __init__(self, condition: Condition) -> None:
        """Raises ValueError for text that validation would not have let in: such a record is unreadable."""
        allowed, refused = _Ranges(condition.request_ip.allowed), _Ranges(condition.request_ip.not_in)
        bounds: list[int] = []
        # Behind the last address there is nobody to be let in again.
        for number in sorted({0, *allowed.starts, *allowed.ends, *refused.starts, *refused.ends} - {_BEHIND_ALL}):
            admitted = (not allowed.starts or allowed.hold(number)) and not refused.hold(number)
            if admitted != (len(bounds) % 2 == 1):
                bounds.append(number)
        self._bounds = tuple(bounds)
        self._everywhere = condition == Condition()

    def admits(self, address: Address | None) -> bool:
        """Whether a client at `address` (unmapped) may use the token.

        None is a client without an address, as on a Unix socket: only a token without any condition works there.
        """
        if self._everywhere:
            return True
        if address is None:
            return False
        number = int(address) + (_BEHIND_V4 if isinstance(address, IPv6Address) else 0)
        return bisect_right(self._bounds, number) % 2 == 1

    def within(self, other: "AddressRule") -> bool:
        """Whether `other` admits each client that this one admits."""
        if self._everywhere:  # clients without an address too
            return other.has_no_limit
        starts, ends = self._bounds[::2], [*self._bounds[1::2], _BEHIND_ALL]
        return all(other.admits_range(start, end) for start, end in zip(starts, ends, strict=False))

    @property
    def has_no_limit(self) -> bool:
        """Whether it admits every client."""
        return self._everywhere

    def admits_range(self, start: int, end: int) -> bool:
        """Whether it admits each address of a range (numbers as `_number` has them, `end` not among them)."""
        place = bisect_right(self._bounds, start)
        return place % 2 == 1 and (place == len(self._bounds) or self._bounds[place] >= end)


_ANYWHERE: Final = AddressRule(Condition())


def compile_condition(condition: Condition) -> AddressRule:
    """The rule of `condition`, one and the same for all that have none. Raises ValueError as `AddressRule` does."""
    return _ANYWHERE if condition == Condition() else AddressRule(condition)


def _network(text: str) -> Network:
    match parse_network(text):
        case str() as fault:
            raise ValueError(fault)
        case network:
            return network

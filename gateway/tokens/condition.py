"""Limits on where a token may be used from (token API: condition.request_ip)."""

import re
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


class AddressRule:
    """A compiled `Condition`: networks instead of text."""

    def __init__(self, condition: Condition) -> None:
        """Raises ValueError for text that validation would not have let in: such a record is unreadable."""
        self._allowed = tuple(_network(text) for text in condition.request_ip.allowed)
        self._refused = tuple(_network(text) for text in condition.request_ip.not_in)

    def admits(self, address: Address | None) -> bool:
        """Whether a client at `address` (unmapped) may use the token.

        None is a client without an address, as on a Unix socket: only a token without any condition works there.
        """
        if not self._allowed and not self._refused:
            return True
        if address is None:
            return False
        inside = not self._allowed or any(address in network for network in self._allowed)
        return inside and not any(address in network for network in self._refused)


def _network(text: str) -> Network:
    match parse_network(text):
        case str() as fault:
            raise ValueError(fault)
        case network:
            return network

"""Where a request comes from: the peer, or what proxies of ours say of it."""

import re
from collections.abc import Callable, Sequence
from ipaddress import ip_address
from typing import Final

from gateway.tokens.condition import Address, Network, unmap

_WITH_PORT: Final = re.compile(r"\[([0-9A-Fa-f:.]+)\](?::\d{1,5})?|(\d{1,3}(?:\.\d{1,3}){3}):\d{1,5}", re.ASCII)


def parse_address(text: str) -> Address | None:
    """The address that `text` is, unmapped; a port behind it is ignored. None if it is none.

    A zone (`fe80::1%eth0`) means something on its sender's machine alone, and may hold anything.
    """
    if "%" in text:
        return None
    if found := _WITH_PORT.fullmatch(text):
        text = found[1] or found[2]
    try:
        return unmap(ip_address(text))
    except ValueError:
        return None


def is_trusted(address: Address | None, trusted: Sequence[Network]) -> bool:
    """Whether `address` is one of our proxies."""
    return address is not None and any(address in network for network in trusted)


def client_address(
    peer: Address | None, forwarded_for: Sequence[bytes], trusts: Callable[[Address | None], bool]
) -> Address | None:
    """The client's address: the first, from right to left, that is not a trusted proxy's.

    `trusts`: whether a peer is a proxy of ours (None: it came by a Unix socket); `forwarded_for`: the values of all
    `X-Forwarded-For` fields, believed only as far as a trusted proxy wrote them. None: a trusted proxy passed on
    something that is no address; no condition holds then.
    """
    hops = [hop.strip(" \t") for hop in b",".join(forwarded_for).decode("latin-1").split(",")]
    address = peer
    for hop in reversed([hop for hop in hops if hop]):
        if not trusts(address):
            return address
        address = parse_address(hop)
        if address is None:
            return None
    return address

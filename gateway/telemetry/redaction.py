"""What the access log and spans leave out of a request, where the operator wants it so (`log.redact`).

Of a secret the id alone is shown in any case; this is about who did it, from where, and to what.
"""

from collections.abc import Iterable
from functools import lru_cache
from ipaddress import IPv4Network, IPv6Network, ip_address
from typing import Final

from gateway.telemetry.kind import Kind

_KEPT: Final = {4: 24, 6: 48}
"""Bits of an address that name a network, and nobody in it."""


class Redaction:
    """Shows requests as the operator wants them shown."""

    def __init__(self, names: Iterable[str] = ()) -> None:
        """`names` out of address, owner, path, token."""
        self._names = frozenset(names)
        self.hides_path = "path" in self._names

    def __bool__(self) -> bool:
        return bool(self._names)

    def shown(self, kind: Kind) -> Kind:
        """`kind`, less what is hidden: of the address its network stays, as `192.0.2.0/24`."""
        names = self._names
        if not names:
            return kind
        return kind._replace(
            token="" if "token" in names else kind.token,
            owner="" if "owner" in names else kind.owner,
            address=_network(kind.address) if "address" in names and kind.address else kind.address,
        )


@lru_cache(maxsize=1024)
def _network(address: str) -> str:
    found = ip_address(address.partition("%")[0])
    if found.version == 4:  # noqa: PLR2004 - IP's own number
        return str(IPv4Network((int(found), _KEPT[4]), strict=False))
    return str(IPv6Network((int(found), _KEPT[6]), strict=False))

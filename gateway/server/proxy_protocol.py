"""What a proxy says of the connection that it passes on, before all else: PROXY protocol, versions 1 and 2.

Format: HAProxy's `doc/proxy-protocol.txt`, section 2. Only a trusted peer is asked for such a header, and that one
must send it: whether there is one is never guessed from the bytes, or a client could write its own address.
"""

import re
from collections.abc import Iterator, Mapping
from ipaddress import IPv4Address, IPv6Address
from typing import Final

import msgspec

from gateway.tokens.condition import Address, unmap

LONGEST_LINE: Final = 107
"""Bytes of a header of version 1, its CRLF among them."""
LARGEST_BLOCK: Final = 4096
"""Bytes behind the fixed part of a header of version 2: addresses and TLVs. The format's own limit is 64 KiB."""


class ProxyHeader(msgspec.Struct, frozen=True):
    """Who has connected to the proxy."""

    source: Address | None
    """Unmapped. None where the proxy tells of nobody (its own check of our health): it is the peer itself, then."""
    port: int
    """0 without a source."""
    size: int
    """Bytes that the header takes; what is behind them is the client's."""


class NotYet(msgspec.Struct, frozen=True):
    """What has come is the beginning of a header."""


class Fault(msgspec.Struct, frozen=True):
    """What has come is no header, whatever may follow. No byte of it is in `what`."""

    what: str


def read_proxy_header(data: bytes) -> ProxyHeader | NotYet | Fault:
    """The header that `data` begins with.

    A fault is told at the first byte that shows it, but for the addresses and TLVs of version 2: they say first how
    long they are, and are judged when all are there.
    """
    if data[: len(_SIGNATURE)] == _SIGNATURE[: len(data)]:
        return _read_binary(data)
    if data[: len(_WORD)] == _WORD[: len(data)]:
        return _read_text(data)
    return Fault("not a PROXY header")


# Version 1: a line.


_WORD: Final = b"PROXY "
_PORT: Final = rb"(0|[1-9]\d{0,4})"
_LINE: Final = re.compile(
    rb"PROXY (?:UNKNOWN(?: [^\r\n]*)?|(TCP[46]) ([0-9A-Fa-f.:]+) ([0-9A-Fa-f.:]+) " + _PORT + b" " + _PORT + rb")\r\n"
)
_FAMILIES: Final[Mapping[bytes, type[IPv4Address] | type[IPv6Address]]] = {b"TCP4": IPv4Address, b"TCP6": IPv6Address}
_HIGHEST_PORT: Final = 65535
# Each beginning of a line becomes a line by some end of one of these, and no longer than it must where that counts.
# IPv6 may end in dots, as the C library writes mapped addresses (`::ffff:192.0.2.1`), though the format has hex alone.
_LINES: Final = (
    b"PROXY UNKNOWN\r\n",
    b"PROXY TCP4 0.0.0.0 0.0.0.0 0 0\r\n",
    b"PROXY TCP6 :: :: 0 0\r\n",
    b"PROXY TCP6 ::0.0.0.0 :: 0 0\r\n",
)
_ENDS: Final = frozenset(line[index:] for line in _LINES for index in range(len(line)))


def _read_text(data: bytes) -> ProxyHeader | NotYet | Fault:
    end = data.find(b"\n", 0, LONGEST_LINE) + 1
    if end:
        return _read_line(data[:end]) or Fault("a PROXY line that is malformed")
    if len(data) < LONGEST_LINE and any(_read_line(data + rest) for rest in _ENDS):
        return NotYet()
    return Fault("a PROXY line that is malformed")


def _read_line(line: bytes) -> ProxyHeader | None:
    """The header that a whole line is, or None."""
    found = _LINE.fullmatch(line)
    if found is None or len(line) > LONGEST_LINE:
        return None
    family, *addresses, port, other_port = found.groups()
    if family is None:
        return ProxyHeader(source=None, port=0, size=len(line))
    try:
        source, _ = (_FAMILIES[family](address.decode()) for address in addresses)
    except ValueError:
        return None
    if max(int(port), int(other_port)) > _HIGHEST_PORT:
        return None
    return ProxyHeader(source=unmap(source), port=int(port), size=len(line))


# Version 2: a block of bytes.


_SIGNATURE: Final = b"\r\n\r\n\x00\r\nQUIT\n"
_FIXED: Final = 16
"""Bytes of signature, command, protocol and the length of the rest."""
_LOCAL: Final = b"\x20"
_PROXY: Final = b"\x21"
# Streams and datagrams alike: a proxy that takes HTTP/3 passes on what came in datagrams.
_V4: Final = (b"\x11", b"\x12")
_V6: Final = (b"\x21", b"\x22")
_UNIX: Final = (b"\x31", b"\x32")
_UNSPECIFIED: Final = (b"\x00", b"\x01", b"\x02", b"\x10", b"\x20", b"\x30")
"""The family, the transport, or both."""
_ADDRESSES: Final = {
    **dict.fromkeys(_V4, 2 * 4 + 2 * 2),
    **dict.fromkeys(_V6, 2 * 16 + 2 * 2),
    **dict.fromkeys(_UNIX, 2 * 108),
    **dict.fromkeys(_UNSPECIFIED, 0),
}
"""Protocol -> bytes of both addresses, with their ports."""
_TLV_HEAD: Final = 3
"""Bytes of a TLV's type and length."""
_CHECKSUM: Final = 0x03
_CHECKSUM_SIZE: Final = 4


def _read_binary(data: bytes) -> ProxyHeader | NotYet | Fault:
    """The header that `data` begins with, which is a signature as far as it came."""
    command, protocol, length = data[12:13], data[13:14], data[14:_FIXED]
    if fault := _fault_in_fixed_part(command, protocol, length):
        return Fault(fault)
    size = _FIXED + int.from_bytes(length, "big")
    if len(data) < size:
        return NotYet()
    if command == _LOCAL or protocol in _UNSPECIFIED:
        return ProxyHeader(source=None, port=0, size=size)
    if fault := _fault_in_tlvs(data[:size], _FIXED + _ADDRESSES[protocol]):
        return Fault(fault)
    if protocol in _V4:
        return ProxyHeader(source=IPv4Address(data[16:20]), port=int.from_bytes(data[24:26], "big"), size=size)
    if protocol in _V6:
        return ProxyHeader(source=unmap(IPv6Address(data[16:32])), port=int.from_bytes(data[48:50], "big"), size=size)
    return ProxyHeader(source=None, port=0, size=size)


def _fault_in_fixed_part(command: bytes, protocol: bytes, length: bytes) -> str | None:
    """What is wrong with these, each as far as it came. The proxy's own connections may have any protocol."""
    if command not in (b"", _LOCAL, _PROXY):
        return "a PROXY header of another version, or an unknown command"
    if protocol and command == _PROXY and protocol not in _ADDRESSES:
        return "a PROXY header of an unknown protocol"
    if int.from_bytes(length.ljust(2, b"\x00"), "big") > LARGEST_BLOCK:
        return "a PROXY header that is too large"
    if length[1:] and command == _PROXY and int.from_bytes(length, "big") < _ADDRESSES[protocol]:
        return "a PROXY header that is too small for its addresses"
    return None


def _fault_in_tlvs(header: bytes, position: int) -> str | None:
    """What is wrong with the TLVs, which begin at `position`. All are skipped, but a checksum must be right."""
    checksum: slice | None = None
    while position < len(header):
        start = position + _TLV_HEAD
        end = start + int.from_bytes(header[position + 1 : start], "big")
        if end > len(header):
            return "a PROXY header with a TLV that is cut"
        if header[position] == _CHECKSUM:
            if checksum is not None or end - start != _CHECKSUM_SIZE:
                return "a PROXY header whose checksum is malformed"
            checksum = slice(start, end)
        position = end
    if checksum is not None:
        zeroed = header[: checksum.start] + bytes(_CHECKSUM_SIZE) + header[checksum.stop :]
        if header[checksum] != _crc32c(zeroed).to_bytes(_CHECKSUM_SIZE, "big"):
            return "a PROXY header whose checksum is wrong"
    return None


def _remainders() -> Iterator[int]:
    """For each byte, what the polynomial leaves of it, bits reflected (RFC 9260, appendix A)."""
    for remainder in range(256):
        for _ in range(8):
            remainder = (remainder >> 1) ^ (0x82F63B78 if remainder & 1 else 0)  # noqa: PLW2901
        yield remainder


_REMAINDERS: Final = tuple(_remainders())


def _crc32c(data: bytes) -> int:
    checksum = 0xFFFFFFFF
    for octet in data:
        checksum = (checksum >> 8) ^ _REMAINDERS[(checksum ^ octet) & 0xFF]
    return checksum ^ 0xFFFFFFFF

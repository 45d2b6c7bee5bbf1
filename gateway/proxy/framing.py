"""How a message's body is framed: the same for what comes from a client and from an upstream.

One way to read a message, or none (RFC 9112 6.3, 11.2): where two readers could differ, one request becomes two.
"""

from collections.abc import Sequence
from typing import Final

import msgspec

from gateway.proxy.field_line import is_length

LARGEST_HEAD: Final = 64 * 1024
MOST_FIELDS: Final = 128


class Framing(msgspec.Struct, frozen=True, gc=False):
    """`length` None without `chunked`: no framing fields at all."""

    chunked: bool
    length: int | None


def read_options(value: bytes) -> frozenset[bytes]:
    """What one `Connection` field names, in lower case (RFC 9110 7.6.1)."""
    return frozenset(option.strip(b" \t").lower() for option in value.split(b","))


class UnknownCoding(msgspec.Struct, frozen=True):
    """A Transfer-Encoding that is not exactly `chunked`."""


UNFRAMED: Final = Framing(chunked=False, length=None)


def read_framing(codings: Sequence[bytes], lengths: Sequence[bytes], *, is_1_1: bool) -> Framing | UnknownCoding | str:
    """How the body is framed, or what is wrong with it.

    `codings`, `lengths`: the values of all Transfer-Encoding and Content-Length fields; `is_1_1`: not HTTP/1.0.
    """
    if codings:
        if lengths:
            return "both Transfer-Encoding and Content-Length"
        if not is_1_1:
            return "Transfer-Encoding in HTTP/1.0"
        if len(codings) == 1 and codings[0].lower() == b"chunked":
            return Framing(chunked=True, length=None)
        return UnknownCoding()
    if not lengths:
        return UNFRAMED
    if len(lengths) > 1 or not is_length(lengths[0]):
        return "Content-Length is not one number"
    return Framing(chunked=False, length=int(lengths[0]))

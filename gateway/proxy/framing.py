"""How a head's fields look, and how its body is framed: the same for what comes from a client and from an upstream.

One way to read a message, or none (RFC 9112 6.3, 11.2): where two readers could differ, one request becomes two.
"""

import re
from collections.abc import Iterable, Sequence
from typing import Final

import msgspec

LARGEST_HEAD: Final = 64 * 1024
MOST_FIELDS: Final = 128
HTTP_1_0: Final = (1, 0)
HTTP_1_1: Final = (1, 1)

_TOKEN: Final = re.compile(rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_CONTROL: Final = re.compile(rb"[\x00-\x08\x0a-\x1f\x7f]")
_DIGITS: Final = re.compile(rb"\d{1,18}")


class Framing(msgspec.Struct, frozen=True):
    """`length` None without `chunked`: no framing fields at all."""

    chunked: bool
    length: int | None


class UnknownCoding(msgspec.Struct, frozen=True):
    """A Transfer-Encoding that is not exactly `chunked`."""


def is_too_large(start: bytes, fields: Sequence[tuple[bytes, bytes]]) -> bool:
    """Whether a head is beyond 64 KiB, or has more than 128 fields."""
    size = len(start) + sum(len(name) + len(value) for name, value in fields)
    return len(fields) > MOST_FIELDS or size > LARGEST_HEAD


def has_control_bytes(text: bytes) -> bool:
    """Whether a field value, or a reason phrase, holds a control byte (a tab is none)."""
    return _CONTROL.search(text) is not None


def fault_in_fields(fields: Iterable[tuple[bytes, bytes]]) -> str | None:
    """What is wrong with the form of some field (RFC 9110 5), or None."""
    for name, value in fields:
        if not _TOKEN.fullmatch(name):
            return "a name that is no token"
        if has_control_bytes(value):
            return "a control byte in a value"
    return None


def read_framing(fields: Iterable[tuple[bytes, bytes]], version: tuple[int, int]) -> Framing | UnknownCoding | str:
    """How the body is framed, or what is wrong with it."""
    codings, lengths = [], []
    for name, value in fields:
        match name.lower():
            case b"transfer-encoding":
                codings.append(value.lower())
            case b"content-length":
                lengths.append(value)
            case _:
                pass
    if codings:
        if lengths:
            return "both Transfer-Encoding and Content-Length"
        if version == HTTP_1_0:
            return "Transfer-Encoding in HTTP/1.0"
        return Framing(chunked=True, length=None) if codings == [b"chunked"] else UnknownCoding()
    if not lengths:
        return Framing(chunked=False, length=None)
    if len(lengths) > 1 or not _DIGITS.fullmatch(lengths[0]):
        return "Content-Length is not one number"
    return Framing(chunked=False, length=int(lengths[0]))

"""The request target, split once, on the exact bytes (RFC 9112 3.2, RFC 3986 3.3).

Nothing is decoded, normalised or requoted between this split and the send: the path judged is the path sent. A path
that two readers could read differently is refused before any look-up, since an exclusion could be walked around with
a second spelling. Stricter than the RFCs: no empty segment, no dot segment (up to a `;`, as some servers cut there),
no encoded slash, backslash, dot, percent or control byte, and no encoded unreserved character.
"""

import re
from functools import lru_cache
from typing import Final

import msgspec

from gateway.reason import Deny, Reason

_SEGMENT: Final = re.compile(rb"(?:[A-Za-z0-9._~!$&'()*+,;=:@-]|%[0-9A-Fa-f]{2})+")
_PLAIN_PATH: Final = re.compile(rb"(?:/(?!\.{1,2}(?:[;/]|\Z))[A-Za-z0-9._~!$&'()*+,;=:@-]+)+")
"""Paths in which `fault_in_segment` finds nothing, whole and at one look: those without a percent sign."""
_PERCENT: Final = re.compile(rb"%([0-9A-Fa-f]{2})")
_ABSOLUTE: Final = re.compile(rb"[Hh][Tt][Tt][Pp][Ss]?://([^/?#]*)(.*)", re.DOTALL)
_QUERY: Final = re.compile(rb"[!-\"$-~]*")
_LONGEST_REMEMBERED: Final = 256
"""Bytes."""
_FORBIDDEN_OCTETS: Final = frozenset(
    {*range(0x20), 0x7F, *b"/\\%."} | {*b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_~"}
)


class Target(msgspec.Struct, frozen=True, gc=False):
    """A judged target. `segments` of `/a/b` are (a, b), of `/` none; `query` is None without a `?`.

    `authority` is that of the absolute form, and then takes Host's place (RFC 9112 3.2.2).
    """

    segments: tuple[bytes, ...]
    query: bytes | None = None
    authority: bytes | None = None

    @property
    def path(self) -> bytes:
        """The path, byte for byte as it came."""
        return b"/" + b"/".join(self.segments)


def _bad(what: str) -> Deny:
    return Deny(reason=Reason.BAD_REQUEST, detail=f"path: {what}")


def fault_in_segment(segment: bytes) -> str | None:
    """What is wrong with one path segment, or None."""
    if not segment:
        return "an empty segment"
    if segment.partition(b";")[0] in (b".", b".."):
        return "a dot segment"
    if not _SEGMENT.fullmatch(segment):
        return "a byte that RFC 3986 does not allow in a path"
    octets = [int(found, 16) for found in _PERCENT.findall(segment)]
    if any(octet in _FORBIDDEN_OCTETS for octet in octets):
        return "an encoded character that has to stand plain, or must not stand here at all"
    if octets:
        try:
            _PERCENT.sub(lambda found: bytes([int(found[1], 16)]), segment).decode()
        except UnicodeDecodeError:
            return "encoded bytes that are not UTF-8"
    return None


def is_plain_path(path: bytes) -> bool:
    """Whether `path` is one in which, at one look, no segment has a fault."""
    return _PLAIN_PATH.fullmatch(path) is not None


def split_target(raw: bytes) -> Target | Deny:
    """The target that `raw` is, in origin or absolute form, or the refusal of it."""
    authority = None
    if not raw.startswith(b"/"):
        absolute = _ABSOLUTE.fullmatch(raw)
        if absolute is None:
            return _bad("neither origin form nor absolute form")
        authority, raw = absolute[1], absolute[2]
        if not raw.startswith(b"/"):
            raw = b"/" + raw
    path, mark, query = raw.partition(b"?")
    if not _QUERY.fullmatch(query):
        return Deny(reason=Reason.BAD_REQUEST, detail="query: a control byte, a # or a byte outside ASCII")
    segments = _split_path(path) if len(path) <= _LONGEST_REMEMBERED else _split_path.__wrapped__(path)
    if isinstance(segments, Deny):
        return segments
    return Target(segments, query if mark else None, authority)


@lru_cache(maxsize=2048)  # most requests are for a few paths: what one means is a function of its bytes alone
def _split_path(path: bytes) -> tuple[bytes, ...] | Deny:
    segments = tuple(path[1:].split(b"/")) if path != b"/" else ()
    if not is_plain_path(path):
        for segment in segments:
            if fault := fault_in_segment(segment):
                return _bad(fault)
    return segments

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
_BEHIND: Final = rb"%[89AB][0-9A-F]"
_ESCAPE: Final = rb"|".join(
    (
        rb"%(?:2[0-46-9A-C]|3[A-F]|40|5[BDE]|60|7[BCD])",  # what is in no `_FORBIDDEN_OCTETS`, then UTF-8 (RFC 3629 4)
        rb"%(?:C[2-9A-F]|D[0-9A-F])" + _BEHIND,
        rb"%E0%[AB][0-9A-F]" + _BEHIND,
        rb"%(?:E[1-9A-CEF])" + _BEHIND * 2,
        rb"%ED%[89][0-9A-F]" + _BEHIND,
        rb"%F0%[9AB][0-9A-F]" + _BEHIND * 2,
        rb"%F[1-3]" + _BEHIND * 3,
        rb"%F4%8[0-9A-F]" + _BEHIND * 2,
    )
)
_SOUND_PATH: Final = re.compile(
    rb"(?:/(?!\.{1,2}(?:[;/]|\Z))(?:[A-Z0-9._~!$&'()*+,;=:@-]++|%b)++)++" % _ESCAPE, re.IGNORECASE
)
"""Paths in which `fault_in_segment` finds nothing, whole and at one look: those with a percent sign too. It never
goes back."""
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


def is_sound_path(path: bytes) -> bool:
    """Whether no segment of `path` has a fault, at one look. The root has no segment, and is none of these."""
    return _sound(path).fullmatch(path) is not None


def _sound(path: bytes) -> re.Pattern[bytes]:
    return _SOUND_PATH if b"%" in path else _PLAIN_PATH


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


def _fault_in_path(path: bytes) -> str | None:
    """What is wrong with the first segment of `path` that is not sound; None: all are."""
    found = _sound(path).match(path)
    end = found.end() if found is not None else 0
    if found is not None and end == len(path):
        return None
    start = end if path.startswith(b"/", end) else path.rindex(b"/", 0, end)
    return fault_in_segment(path[start + 1 :].partition(b"/")[0])


@lru_cache(maxsize=2048)  # most requests are for a few paths: what one means is a function of its bytes alone
def _split_path(path: bytes) -> tuple[bytes, ...] | Deny:
    if path == b"/":
        return ()
    fault = _fault_in_path(path)
    return tuple(path[1:].split(b"/")) if fault is None else _bad(fault)

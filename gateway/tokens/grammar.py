"""The grammars of a path segment that names something (DESIGN 4): they act on raw bytes, and none knows a `%`.

They are nested, `id` in `name` in `dns-name`, which is what lets the route table try the narrowest first and never
go back.
"""

import re
from enum import StrEnum
from typing import Final

_LABEL: Final = rb"(?:(?:[A-Za-z0-9_-]|=2F)+|\*)"
_LONGEST_DNS_NAME: Final = 253


class Grammar(StrEnum):
    """What a template variable may stand for: always one whole segment."""

    ID = "id"
    NAME = "name"
    DNS_NAME = "dns-name"

    def accepts(self, segment: bytes) -> bool:
        """Whether `segment`, byte for byte, is of this grammar."""
        if _PATTERNS[self].fullmatch(segment) is None:
            return False
        return self is not Grammar.DNS_NAME or len(_octets(segment)) <= _LONGEST_DNS_NAME


_PATTERNS: Final = {
    Grammar.ID: re.compile(rb"[0-9a-f]{32}"),
    Grammar.NAME: re.compile(rb"[A-Za-z0-9_-]{1,64}"),
    Grammar.DNS_NAME: re.compile(rb"%b(?:\.%b)*\.?" % (_LABEL, _LABEL)),
}
NARROWEST_FIRST: Final = (Grammar.ID, Grammar.NAME, Grammar.DNS_NAME)


def _octets(segment: bytes) -> bytes:
    return segment.removesuffix(b".").replace(b"=2F", b"/")


def canonical_zone_name(text: str) -> str:
    """The one spelling of a zone's DNS name that policies compare: lower case, final dot, `=2F` undone.

    PowerDNS writes a `/` inside a label (RFC 2317 reverse zones) as `=2F`.
    """
    return text.removesuffix(".").replace("=2F", "/").lower() + "."

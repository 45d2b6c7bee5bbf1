"""Which part of a list is asked for, and how the whole of it is asked of an upstream."""

import math
from typing import Final
from urllib.parse import unquote_to_bytes

import msgspec

from gateway.reason import Deny, Reason

PER_PAGE: Final = 50
"""Items a page, asked of upstreams: more than that some refuse."""
_USUAL: Final = 20
"""Items of a page for who says nothing."""
_LARGEST: Final = 1000
_LONGEST_NUMBER: Final = 9
_NO_NUMBER: Final = Deny(reason=Reason.BAD_REQUEST, detail="query: a page, or a number of items a page, that is none")


class Page(msgspec.Struct, frozen=True):
    """A page, from 1, of so many items."""

    number: int = 1
    size: int = _USUAL

    def of(self, total: int) -> slice:
        """Where it stands in a list of `total` items."""
        start = min((self.number - 1) * self.size, total)
        return slice(start, min(start + self.size, total))

    def info(self, total: int) -> dict[str, int]:
        """What a client is told of it."""
        part = self.of(total)
        return {
            "page": self.number,
            "per_page": self.size,
            "count": part.stop - part.start,
            "total_count": total,
            "total_pages": math.ceil(total / self.size),
        }


def read_page(query: bytes | None, pages: tuple[str, str]) -> tuple[Page, bytes] | Deny:
    """The page that `query` asks for, and what else it says. `pages`: the names of the two parameters."""
    names = tuple(name.encode("ascii") for name in pages)
    found: dict[bytes, int] = {}
    others = []
    for pair in (query or b"").split(b"&"):
        raw, _, value = pair.partition(b"=")
        name = unquote_to_bytes(raw.replace(b"+", b" "))
        if name not in names:
            others.append(pair)
        elif name in found or not value.isdigit() or len(value) > _LONGEST_NUMBER or int(value) < 1:
            return _NO_NUMBER
        else:
            found[name] = int(value)
    number, size = (found.get(name) for name in names)
    return Page(number or 1, min(size or _USUAL, _LARGEST)), b"&".join(filter(None, others))


def query_up(others: bytes, pages: tuple[str, str], number: int) -> bytes:
    """The query for the upstream's page of that number, `others` with it."""
    return b"%b%b%b=%d&%b=%d" % (
        others,
        b"&" if others else b"",
        pages[0].encode("ascii"),
        number,
        pages[1].encode("ascii"),
        PER_PAGE,
    )

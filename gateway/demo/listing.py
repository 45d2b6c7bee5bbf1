"""A list as clients ask for it: filtered, ordered, cut into pages.

Every field is a filter (`type=TXT`: the whole text, in any case) and an order. `name.contains=x` and its like
test a part of the text, `match=any` joins the filters by "or". Other parameters are ignored.
"""

import math
from collections.abc import Callable, Iterable, Mapping
from typing import Final, Generic, TypeVar

import msgspec

from gateway.demo.fault import Fault, Rejected

Item = TypeVar("Item")
Field = Callable[[Item], str | int]

_TESTS: Final[Mapping[str, Callable[[str, str], bool]]] = {
    "": str.__eq__,
    "exact": str.__eq__,
    "contains": str.__contains__,
    "startswith": str.startswith,
    "endswith": str.endswith,
}


class ResultInfo(msgspec.Struct, frozen=True):
    """Which page this is, and how much there is in all."""

    page: int
    per_page: int
    count: int
    total_count: int
    total_pages: int


class Listing(Generic[Item]):
    """How one kind of list is asked for; the first two fields are its order, and break ties in another.

    `per_page` may be 1 (the real API asks for 5 at least), and is cut to `most`, as `result_info` then tells.
    """

    def __init__(self, fields: Mapping[str, Field[Item]], *, per_page: int = 20, most: int = 50) -> None:
        self._fields = fields
        self._per_page = per_page
        self._most = most

    def page(self, items: Iterable[Item], query: Mapping[str, str]) -> tuple[list[Item], ResultInfo]:
        """The page that `query` asks for; empty behind the last one. Raises Rejected."""
        found = self._ordered([item for item in items if self._matches(item, query)], query)
        page = _number(query, "page", 1)
        per_page = min(_number(query, "per_page", self._per_page), self._most)
        part = found[(page - 1) * per_page : page * per_page]
        return part, ResultInfo(page, per_page, len(part), len(found), math.ceil(len(found) / per_page))

    def _matches(self, item: Item, query: Mapping[str, str]) -> bool:
        answers = [
            test(str(field(item)).lower(), wanted.lower())
            for name, field in self._fields.items()
            for how, test in _TESTS.items()
            if (wanted := query.get(f"{name}.{how}" if how else name)) is not None
        ]
        return not answers or (any if query.get("match") == "any" else all)(answers)

    def _ordered(self, items: list[Item], query: Mapping[str, str]) -> list[Item]:
        first, second = [*self._fields][:2]
        by = query.get("order", first)
        if by not in self._fields:
            raise Rejected(Fault.INVALID_QUERY, parameter="order")
        direction = query.get("direction", "asc")
        if direction not in ("asc", "desc"):
            raise Rejected(Fault.INVALID_QUERY, parameter="direction")
        keys = [self._fields[name] for name in (by, first, second)]
        return sorted(items, key=lambda item: [key(item) for key in keys], reverse=direction == "desc")


def _number(query: Mapping[str, str], name: str, default: int) -> int:
    text = query.get(name, str(default))
    if not (text.isascii() and text.isdigit() and int(text[:9]) > 0):
        raise Rejected(Fault.INVALID_QUERY, parameter=name)
    return int(text[:9])

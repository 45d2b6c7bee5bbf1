"""The query parameters of lists (token API: List Tokens), read strictly."""

import re
from typing import Final
from urllib.parse import parse_qsl

import msgspec

from gateway.reason import Deny, Reason

_WHOLE: Final = re.compile(r"\d{1,9}(?:\.0)?", re.ASCII)
_BOOLEANS: Final = {"true": True, "1": True, "false": False, "0": False}
DEFAULT_PER_PAGE: Final = 20
LEAST_PER_PAGE: Final = 5
MOST_PER_PAGE: Final = 50


class _Unfit(Exception):  # noqa: N818 - never leaves this module
    pass


class ListQuery(msgspec.Struct, frozen=True):
    """Which page of the tokens. Expired ones are left out unless they are asked for, as Cloudflare does."""

    page: int
    per_page: int
    descending: bool
    include_expired: bool


def parameters(query: bytes) -> dict[str, str] | Deny:
    """The parameters of `query`, each at most once."""
    pairs = parse_qsl(query.decode("ascii"), keep_blank_values=True, errors="replace")
    found = dict(pairs)
    return found if len(found) == len(pairs) else _bad("a parameter stands there twice")


def _bad(what: str) -> Deny:
    return Deny(reason=Reason.BAD_REQUEST, detail=f"query: {what}")


def _number(found: dict[str, str], name: str, default: int, least: int, most: int) -> int:
    text = found.get(name, str(default))
    if not _WHOLE.fullmatch(text) or not least <= (number := int(text.partition(".")[0])) <= most:
        raise _Unfit(f"{name} is a number from {least} to {most}")
    return number


def list_query(query: bytes) -> ListQuery | Deny:
    """`page`, `per_page`, `direction`, `include_expired`; others are ignored."""
    found = parameters(query)
    if isinstance(found, Deny):
        return found
    direction, expired = found.get("direction", "asc"), found.get("include_expired", "false")
    if direction not in ("asc", "desc"):
        return _bad("direction is asc or desc")
    if expired not in _BOOLEANS:
        return _bad("include_expired is true or false")
    try:
        return ListQuery(
            page=_number(found, "page", 1, 1, 999_999_999),
            per_page=_number(found, "per_page", DEFAULT_PER_PAGE, LEAST_PER_PAGE, MOST_PER_PAGE),
            descending=direction == "desc",
            include_expired=_BOOLEANS[expired],
        )
    except _Unfit as unfit:
        return _bad(str(unfit))

"""The query parameters of lists (token API: List Tokens; audit logs: Get user audit logs), read strictly."""

import re
from collections.abc import Mapping, Sequence
from typing import Final
from urllib.parse import parse_qsl

import msgspec

from gateway.reason import Deny, Reason
from gateway.store.audit import AuditQuery, is_cursor, is_entry_id
from gateway.tokens.owner import OwnerKind
from gateway.tokens.timestamp import parse_timestamp

_WHOLE: Final = re.compile(r"\d{1,9}(?:\.0)?", re.ASCII)
_BOOLEANS: Final = {"true": True, "1": True, "false": False, "0": False}
DEFAULT_PER_PAGE: Final = 20
LEAST_PER_PAGE: Final = 5
MOST_PER_PAGE: Final = 50
DEFAULT_ENTRIES: Final = 100
MOST_ENTRIES: Final = 1000
_HIGHEST_PAGE: Final = 999_999_999
_DATE: Final = re.compile(r"\d{4}-\d{2}-\d{2}", re.ASCII)
_TOKEN_ID: Final = re.compile(r"[0-9a-f]{32}", re.ASCII)
_ACTION: Final = re.compile(r"[a-z][a-z-]{0,63}", re.ASCII)


class _Unfit(Exception):  # noqa: N818 - never leaves this module
    pass


class AuditCall(msgspec.Struct, frozen=True):
    """Which entries of the audit, and what the caller calls their page."""

    asked: AuditQuery
    page: int


class ListQuery(msgspec.Struct, frozen=True):
    """Which page of the tokens. Expired ones are left out unless they are asked for, as Cloudflare does."""

    page: int
    per_page: int
    descending: bool
    include_expired: bool

    def info(self, shown: Sequence[object], total: int) -> dict[str, object]:
        """The `result_info` of a page that shows some of `total`."""
        return {
            "page": self.page,
            "per_page": self.per_page,
            "count": len(shown),
            "total_count": total,
            "total_pages": -(-total // self.per_page),
        }


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
            page=_number(found, "page", 1, 1, _HIGHEST_PAGE),
            per_page=_number(found, "per_page", DEFAULT_PER_PAGE, LEAST_PER_PAGE, MOST_PER_PAGE),
            descending=direction == "desc",
            include_expired=_BOOLEANS[expired],
        )
    except _Unfit as unfit:
        return _bad(str(unfit))


def is_cascade(query: bytes) -> bool | Deny:
    """Whether `cascade` says that what a token has made goes with it."""
    found = parameters(query)
    if isinstance(found, Deny):
        return found
    cascade = _BOOLEANS.get(found.get("cascade", "false"))
    return _bad("cascade is true or false") if cascade is None else cascade


def owner_kinds(found: Mapping[str, str]) -> tuple[OwnerKind, ...] | Deny:
    """The kinds of owners that `kind` lets be meant: one, or all where it is missing."""
    if "kind" not in found:
        return tuple(OwnerKind)
    return (OwnerKind(found["kind"]),) if found["kind"] in tuple(OwnerKind) else _bad("kind is user or account")


def audit_call(query: bytes) -> AuditCall | Deny:
    """`since`, `before`, `action.type`, `id`, `direction`, `page`, `per_page` as Cloudflare's audit logs have them, and
    `token`, `cursor` of ours; others are ignored.
    """
    found = parameters(query)
    if isinstance(found, Deny):
        return found
    direction = found.get("direction", "desc")
    if direction not in ("asc", "desc"):
        return _bad("direction is asc or desc")
    for name, fits, what in (
        ("id", is_entry_id, "an entry's id"),
        ("cursor", is_cursor, "the cursor of an earlier answer"),
        ("token", _TOKEN_ID.fullmatch, "a token's id: 32 lower-case hex digits"),
        ("action.type", _ACTION.fullmatch, "an action, such as update"),
    ):
        if name in found and not fits(found[name]):
            return _bad(f"{name} is {what}")
    try:
        page = _number(found, "page", 1, 1, _HIGHEST_PAGE)
        count = _number(found, "per_page", DEFAULT_ENTRIES, 1, MOST_ENTRIES)
        since, before = (_moment(found, name) for name in ("since", "before"))
    except _Unfit as unfit:
        return _bad(str(unfit))
    return AuditCall(
        AuditQuery(
            count=count,
            skip=(page - 1) * count,
            descending=direction == "desc",
            since=since,
            before=before,
            entry=found.get("id", ""),
            token=found.get("token", ""),
            action=found.get("action.type", ""),
            cursor=found.get("cursor", ""),
        ),
        page,
    )


def _moment(found: dict[str, str], name: str) -> int | None:
    text = found.get(name)
    if text is None:
        return None
    moment = parse_timestamp(f"{text}T00:00:00Z" if _DATE.fullmatch(text) else text)
    if moment is None:
        raise _Unfit(f"{name} is a date, or a date and time with its offset (RFC 3339; a + is written %2B)")
    return moment

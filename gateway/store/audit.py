"""The audit, read: the stream `{zg}:audit`, to which each change adds its entry in its own script."""

import re
from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing
from typing import Any, Final

import msgspec

from gateway.store import keys
from gateway.store.redis_store import RedisStore

MOST_LOOKED_AT: Final = 10_000
MOST_BYTES: Final = 8 * 1024 * 1024
"""So much is looked at in one call, fitting or not; the cursor goes on behind it."""
_CHUNK: Final = 100
"""Entries in one command: the largest there can be stay within its time limit."""

_ID: Final = re.compile(r"(\d{1,20})-(\d{1,20})", re.ASCII)
_HIGHEST: Final = 2**64 - 1

EntryId = tuple[int, int]
"""Milliseconds since 1970 by the server's clock, and a number within them."""


class AuditEntry(msgspec.Struct, frozen=True, kw_only=True):
    """One change, or one refused call. A text is "" where it does not apply.

    `readable` False: something of it is not as this version writes it, and what was not read is missing.
    """

    id: str
    at: int | None = None
    """Milliseconds since 1970, by the server's clock."""
    action: str = ""
    """An `Action`, or one of a newer version."""
    token: str = ""
    """The id of the token that it was done to."""
    owner: str = ""
    """The owner that it was done to, as `OwnerRef.key`."""
    actor_token: str = ""
    """The id of the token that did it; "" for an operator at the machine."""
    actor_owner: str = ""
    address: str = ""
    request_id: str = ""
    method: str = ""
    path: str = ""
    reason: str = ""
    before: dict[str, Any] | None = None
    after: dict[str, Any] | None = None
    readable: bool = True


_TEXTS: Final = (
    "action",
    "token",
    "owner",
    "actor_token",
    "actor_owner",
    "address",
    "request_id",
    "method",
    "path",
    "reason",
)


class AuditQuery(msgspec.Struct, frozen=True, kw_only=True):
    """Which entries: at most `count`, after passing over `skip` that fit.

    `since` <= moment < `before` (Unix seconds; None: no bound). `token`: done to it or by it. `cursor`: go on behind
    that entry, in the direction of `descending`. "" asks for any.
    """

    count: int
    skip: int = 0
    descending: bool = True
    since: int | None = None
    before: int | None = None
    entry: str = ""
    token: str = ""
    action: str = ""
    cursor: str = ""


class AuditPage(msgspec.Struct, frozen=True):
    """Entries; `cursor` goes on behind them, and is None when there is no more in that direction.

    With a cursor there may be fewer entries than were asked for, even none: enough was looked at for one call.
    `newest`: the newest entry that was looked at, fitting or not; what comes later stands behind it. None: there was
    none.
    """

    entries: tuple[AuditEntry, ...]
    cursor: str | None
    newest: str | None


def is_entry_id(text: str) -> bool:
    """Whether `text` can be an entry's id, and so a cursor."""
    found = _ID.fullmatch(text)
    return found is not None and all(int(number) <= _HIGHEST for number in found.groups())


def _parse(entry_id: str) -> EntryId:
    milliseconds, _, number = entry_id.partition("-")
    return int(milliseconds), int(number)


def _text(entry_id: EntryId) -> str:
    return f"{entry_id[0]}-{entry_id[1]}"


def _next(entry_id: EntryId) -> EntryId:
    milliseconds, number = entry_id
    return (milliseconds, number + 1) if number < _HIGHEST else (milliseconds + 1, 0)


def _previous(entry_id: EntryId) -> EntryId:
    milliseconds, number = entry_id
    return (milliseconds, number - 1) if number else (milliseconds - 1, _HIGHEST)


def _bounds(query: AuditQuery) -> tuple[EntryId, EntryId]:
    """The oldest and the newest id that fit; there are none when the first is higher."""
    low, high = (0, 0), (_HIGHEST, _HIGHEST)
    if query.since is not None:
        low = (max(0, query.since * 1000), 0)
    if query.before is not None:
        high = (query.before * 1000 - 1, _HIGHEST)
    if query.entry:
        low, high = max(low, _parse(query.entry)), min(high, _parse(query.entry))
    if query.cursor and query.descending:
        high = min(high, _previous(_parse(query.cursor)))
    elif query.cursor:
        low = max(low, _next(_parse(query.cursor)))
    return low, high


def _fits(fields: Mapping[bytes, bytes], query: AuditQuery) -> bool:
    token = query.token.encode()
    return (not token or token in (fields.get(b"token"), fields.get(b"actor_token"))) and (
        not query.action or fields.get(b"action") == query.action.encode()
    )


def decode_entry(entry_id: str, fields: Mapping[bytes, bytes]) -> AuditEntry:
    """The entry. What cannot be read is left out, and makes it unreadable; what is newer is passed over."""
    found: dict[str, Any] = {}
    readable = bool(fields.get(b"action"))
    for name in _TEXTS:
        try:
            found[name] = fields.get(name.encode(), b"").decode()
        except UnicodeDecodeError:
            readable = False
    for name in ("before", "after"):
        if raw := fields.get(name.encode()):
            try:
                found[name] = msgspec.json.decode(raw, type=dict[str, Any])
            except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
                readable = False
    return AuditEntry(id=entry_id, at=_parse(entry_id)[0], readable=readable, **found)


class AuditTrail:
    """Reads the audit of a store, a bounded piece at a time."""

    def __init__(
        self, store: RedisStore, *, most_looked_at: int = MOST_LOOKED_AT, most_bytes: int = MOST_BYTES
    ) -> None:
        """`most_looked_at`: entries, `most_bytes`: of their values; in one call."""
        self._store = store
        self._most_looked_at = most_looked_at
        self._most_bytes = most_bytes

    async def read(self, query: AuditQuery) -> AuditPage:
        """The entries that `query` asks for. Raises StoreUnavailable."""
        entries: list[AuditEntry] = []
        skipped = looked_at = size = 0
        last: str | None = None
        newest: EntryId | None = None
        async with aclosing(self._walk(query)) as walk:
            async for entry_id, fields in walk:
                if len(entries) == query.count or looked_at == self._most_looked_at or size >= self._most_bytes:
                    return AuditPage(tuple(entries), last, _text(newest) if newest else None)
                looked_at += 1
                size += sum(map(len, fields.values()))
                last = entry_id
                newest = max(newest or (0, 0), _parse(entry_id))
                if not _fits(fields, query):
                    continue
                if skipped < query.skip:
                    skipped += 1
                else:
                    entries.append(decode_entry(entry_id, fields))
        return AuditPage(tuple(entries), None, _text(newest) if newest else None)

    async def _walk(self, query: AuditQuery) -> AsyncGenerator[tuple[str, dict[bytes, bytes]], None]:
        """The entries between the bounds, one after the other; they are fetched as they are wanted."""
        low, high = _bounds(query)
        filtered = bool(query.token or query.action)
        # One more than is wanted tells whether there is more.
        count = _CHUNK if filtered else min(_CHUNK, query.skip + query.count + 1)
        while low <= high:
            async with self._store.using() as clients:
                reader: Any = clients.reader
                if query.descending:
                    chunk = await reader.xrevrange(keys.AUDIT, _text(high), _text(low), count=count)
                else:
                    chunk = await reader.xrange(keys.AUDIT, _text(low), _text(high), count=count)
            for entry_id, fields in chunk:
                yield entry_id.decode(), fields
            if len(chunk) < count:
                return
            end = _parse(chunk[-1][0].decode())
            low, high = (low, _previous(end)) if query.descending else (_next(end), high)
            count = _CHUNK

"""The audit, read: the streams `{zg}:audit`, to which each change adds its entry in its own script, and
`{zg}:audit-denied`, of refused calls and of who came to the dashboard, as one.

The server numbers each stream by itself. So both may hold the same id, and what comes to one of them later may have a
lower id than what the other holds already: an entry's name tells its stream, and who goes on with what comes later goes
on behind one entry of each.
"""

import re
from collections.abc import AsyncGenerator, Iterable, Mapping
from contextlib import AsyncExitStack, aclosing
from typing import Any, Final

import msgspec

from gateway.access.ports import Action
from gateway.store import keys
from gateway.store.redis_store import RedisStore

MOST_LOOKED_AT: Final = 10_000
MOST_BYTES: Final = 8 * 1024 * 1024
"""So much is looked at in one call, fitting or not; the cursor goes on behind it."""
_CHUNK: Final = 100
"""Entries in one command: the largest there can be stay within its time limit."""

_STREAMS: Final = (keys.AUDIT, keys.DENIED_AUDIT)
_CHANGES, _DENIED = 0, 1
_EVERY: Final = (_CHANGES, _DENIED)
_NO_CHANGES: Final = frozenset({Action.DENIED.value, Action.SIGN_IN.value, Action.SIGN_OUT.value})
"""What stands in the stream of refused calls."""
_SUFFIXES: Final = ("", "d")
"""What an entry's name has behind its id in the stream."""
_NAME: Final = re.compile(r"(\d{1,20})-(\d{1,20})(d?)", re.ASCII)
_BETWEEN: Final = "_"
"""Between the two names of a cursor that goes on behind one entry of each stream."""
_HIGHEST: Final = 2**64 - 1

EntryId = tuple[int, int]
"""Milliseconds since 1970 by the server's clock, and a number within them."""
_NONE: Final[EntryId] = (0, 0)
"""Lower than the id of any entry."""
Place = tuple[EntryId, int]
"""An entry's id, and its stream: in this order they are read."""


class AuditEntry(msgspec.Struct, frozen=True, kw_only=True):
    """One change, one refused call, or one sign-in or sign-out. A text is "" where it does not apply.

    `readable` False: something of it is not as this version writes it, and what was not read is missing.
    """

    id: str
    """That of the stream, with a "d" behind it for what is no change."""
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
    owner_before: dict[str, Any] | None = None
    """The owner's record, where a token was made together with it."""
    owner_after: dict[str, Any] | None = None
    zone: str = ""
    """The zone that it was done to, as `ZonePin.key`."""
    readable: bool = True


_TEXTS: Final = (
    "action",
    "token",
    "owner",
    "zone",
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
    that entry, in the direction of `descending`; or behind one entry of each stream. "" asks for any.
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
    `newest`: a cursor behind the newest entries that were looked at, fitting or not: what comes later stands behind it,
    whatever its id. None: there was none.
    """

    entries: tuple[AuditEntry, ...]
    cursor: str | None
    newest: str | None


def is_entry_id(text: str) -> bool:
    """Whether `text` can be an entry's id, and so a cursor."""
    found = _NAME.fullmatch(text)
    return found is not None and all(int(number) <= _HIGHEST for number in found.groups()[:2])


def is_cursor(text: str) -> bool:
    """Whether `text` can be a cursor: an entry's id, or one of each stream."""
    names = text.split(_BETWEEN)
    return all(map(is_entry_id, names)) and (len(names) == 1 or tuple(_parse(name)[1] for name in names) == _EVERY)


def _parse(name: str) -> Place:
    milliseconds, _, rest = name.partition("-")
    number = rest.removesuffix(_SUFFIXES[_DENIED])
    return (int(milliseconds), int(number)), _DENIED if number != rest else _CHANGES


def _text(entry_id: EntryId) -> str:
    return f"{entry_id[0]}-{entry_id[1]}"


def _name(entry_id: EntryId, stream: int) -> str:
    return _text(entry_id) + _SUFFIXES[stream]


def _next(entry_id: EntryId) -> EntryId:
    milliseconds, number = entry_id
    return (milliseconds, number + 1) if number < _HIGHEST else (milliseconds + 1, 0)


def _previous(entry_id: EntryId) -> EntryId:
    milliseconds, number = entry_id
    return (milliseconds, number - 1) if number else (milliseconds - 1, _HIGHEST)


def _streams(query: AuditQuery) -> list[int]:
    """Those that can have what is asked for."""
    return [
        stream
        for stream in _EVERY
        if (not query.action or (query.action in _NO_CHANGES) == (stream == _DENIED))
        and (not query.entry or _parse(query.entry)[1] == stream)
    ]


def _bounds(query: AuditQuery, stream: int) -> tuple[EntryId, EntryId]:
    """The oldest and the newest id that fit; there are none when the first is higher."""
    low, high = _NONE, (_HIGHEST, _HIGHEST)
    if query.since is not None:
        low = (max(0, query.since * 1000), 0)
    if query.before is not None:
        high = (query.before * 1000 - 1, _HIGHEST)
    if query.entry:
        entry_id, _ = _parse(query.entry)
        low, high = max(low, entry_id), min(high, entry_id)
    if query.cursor:
        place = _behind(query.cursor, stream)
        if query.descending:
            high = min(high, place[0] if (place[0], stream) < place else _previous(place[0]))
        else:
            low = max(low, place[0] if (place[0], stream) > place else _next(place[0]))
    return low, high


def _behind(cursor: str, stream: int) -> Place:
    """The entry behind which `stream` goes on."""
    places = [_parse(name) for name in cursor.split(_BETWEEN)]
    return places[stream if len(places) > 1 else 0]


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
    for name in ("before", "after", "owner_before", "owner_after"):
        if raw := fields.get(name.encode()):
            try:
                found[name] = msgspec.json.decode(raw, type=dict[str, Any])
            except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
                readable = False
    return AuditEntry(id=entry_id, at=_parse(entry_id)[0][0], readable=readable, **found)


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
        cursor: str | None = None
        async with AsyncExitStack() as stack:
            walks = {
                stream: await stack.enter_async_context(aclosing(self._walk(query, stream)))
                for stream in _streams(query)
            }
            heads = {stream: head for stream, walk in walks.items() if (head := await anext(walk, None))}
            newest = _newest(query, {stream: entry_id for stream, (entry_id, _) in heads.items()})
            while heads:
                if len(entries) == query.count or looked_at == self._most_looked_at or size >= self._most_bytes:
                    return AuditPage(tuple(entries), cursor, _cursor(newest))
                stream = _first(heads, descending=query.descending)
                entry_id, fields = heads.pop(stream)
                if (head := await anext(walks[stream], None)) is not None:
                    heads[stream] = head
                looked_at += 1
                size += sum(map(len, fields.values()))
                newest[stream] = max(newest[stream], entry_id)
                cursor = _name(entry_id, stream) if query.descending else _cursor(newest)
                if not _fits(fields, query):
                    continue
                if skipped < query.skip:
                    skipped += 1
                else:
                    entries.append(decode_entry(_name(entry_id, stream), fields))
        return AuditPage(tuple(entries), None, _cursor(newest) if looked_at else None)

    async def _walk(self, query: AuditQuery, stream: int) -> AsyncGenerator[tuple[EntryId, dict[bytes, bytes]], None]:
        """The entries of `stream` between the bounds, one after the other; they are fetched as they are wanted."""
        low, high = _bounds(query, stream)
        filtered = bool(query.token or query.action)
        # One more than is wanted tells whether there is more.
        count = _CHUNK if filtered else min(_CHUNK, query.skip + query.count + 1)
        while low <= high:
            async with self._store.using() as clients:
                reader: Any = clients.reader
                if query.descending:
                    chunk = await reader.xrevrange(_STREAMS[stream], _text(high), _text(low), count=count)
                else:
                    chunk = await reader.xrange(_STREAMS[stream], _text(low), _text(high), count=count)
            for name, fields in chunk:
                end, _ = _parse(name.decode())
                yield end, fields
            if len(chunk) < count:
                return
            low, high = (low, _previous(end)) if query.descending else (_next(end), high)
            count = _CHUNK


def _first(heads: Mapping[int, tuple[EntryId, Any]], *, descending: bool) -> int:
    """Of which stream the next entry is to be read first."""
    places = [(entry_id, stream) for stream, (entry_id, _) in heads.items()]
    return (max(places) if descending else min(places))[1]


def _newest(query: AuditQuery, heads: Mapping[int, EntryId]) -> list[EntryId]:
    """Of each stream the entry behind which what comes later stands, before more than its first was seen."""
    found = []
    for stream in _EVERY:
        low, _ = _bounds(query, stream)
        found.append(max(_NONE, _previous(low)))
        if query.descending and stream in heads:
            found[stream] = heads[stream]  # nothing of it is newer, though all others may fill the page
    return found


def _cursor(newest: Iterable[EntryId]) -> str:
    return _BETWEEN.join(_name(entry_id, stream) for stream, entry_id in enumerate(newest))

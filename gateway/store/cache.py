"""What a worker remembers of tokens, and the rule that keeps a dead one from staying alive. Pure: time is an argument.

A read that was under way while its token changed may bring the old document after the message about the change has
come and gone. So a read enters the cache only if, from its start to its end, nothing was told that it might have
missed. Times are seconds by a monotonic clock.
"""

from collections import OrderedDict
from typing import Final
from weakref import WeakValueDictionary

import msgspec

from gateway.access.compiled import CompiledOwner, CompiledToken
from gateway.reason import Deny

MOST_TOKENS: Final = 100_000
MOST_UNKNOWN: Final = 10_000
LIFETIME: Final = 60.0
"""Seconds after which an entry is read again, whatever was told of it: no use prolongs it."""
UNREADABLE_LIFETIME: Final = 1.0


class OwnerCell(msgspec.Struct, weakref=True, eq=False):
    """An owner, shared by the entries of its tokens: a message about it ends them all at once."""

    raw: bytes | None
    """Its document; None when there is none."""
    compiled: CompiledOwner | None
    valid: bool = True


class Entry(msgspec.Struct, frozen=True, eq=False):
    """A token as it was read. `until`: when it has to be read again."""

    token: CompiledToken
    owner: OwnerCell
    until: float


class Absent(msgspec.Struct, frozen=True, eq=False):
    """There is no such token (`deny` None), or it cannot be read."""

    deny: Deny | None
    until: float


class Reading(msgspec.Struct, eq=False):
    """A read under way."""

    token_id: str
    spoiled: bool = False
    """Something was told meanwhile: what it brings may be what was before."""


class TokenCache:
    """Compiled tokens and unknown ids, both bounded; the least recently used goes first."""

    def __init__(self, most_tokens: int = MOST_TOKENS, most_unknown: int = MOST_UNKNOWN) -> None:
        self._most_tokens = most_tokens
        self._most_unknown = most_unknown
        self._tokens: OrderedDict[str, Entry] = OrderedDict()
        self._absent: OrderedDict[str, Absent] = OrderedDict()
        self._owners: WeakValueDictionary[str, OwnerCell] = WeakValueDictionary()
        self._readings: dict[str, Reading] = {}

    def __len__(self) -> int:
        return len(self._tokens)

    def get(self, token_id: str) -> Entry | Absent | None:
        """What is remembered of `token_id`, however old. A token whose owner has changed is forgotten."""
        tokens = self._tokens
        entry = tokens.get(token_id)
        if entry is None:
            absent = self._absent.get(token_id)
            if absent is not None:
                self._absent.move_to_end(token_id)
            return absent
        if not entry.owner.valid:
            del tokens[token_id]
            return None
        tokens.move_to_end(token_id)
        return entry

    # Filling.

    def reading(self, token_id: str) -> Reading | None:
        """The read of `token_id` that is under way and that nothing has spoiled, or None."""
        return self._readings.get(token_id)

    def begin(self, token_id: str) -> Reading:
        """A read of `token_id` begins."""
        reading = self._readings[token_id] = Reading(token_id)
        return reading

    def end(self, reading: Reading) -> bool:
        """A read has ended. Returns whether what it brought is true still."""
        if self._readings.get(reading.token_id) is reading:
            del self._readings[reading.token_id]
        return not reading.spoiled

    def owner_cell(self, key: str, raw: bytes | None) -> OwnerCell | None:
        """The cell of the owner `key`, if its document is `raw`; None: make one, and `put_owner` it."""
        cell = self._owners.get(key)
        return cell if cell is not None and cell.raw == raw else None

    def put_owner(self, key: str, cell: OwnerCell) -> None:
        """Remember an owner, in the place of what was remembered of it."""
        self._forget_owner(key)
        self._owners[key] = cell

    def put(self, token_id: str, entry: Entry | Absent) -> None:
        """Remember what a read brought that `end` found true."""
        table: OrderedDict[str, Entry] | OrderedDict[str, Absent]
        self.forget(token_id)
        if isinstance(entry, Entry):
            self._tokens[token_id] = entry
            table, most = self._tokens, self._most_tokens
        else:
            self._absent[token_id] = entry
            table, most = self._absent, self._most_unknown
        if len(table) > most:
            table.popitem(last=False)

    # What is told.

    def forget(self, token_id: str) -> None:
        """Something about the token has changed."""
        self._tokens.pop(token_id, None)
        self._absent.pop(token_id, None)
        reading = self._readings.pop(token_id, None)
        if reading is not None:
            reading.spoiled = True

    def forget_owner(self, key: str) -> None:
        """Something about the owner has changed. Of reads under way nobody knows yet whose tokens they bring."""
        self._forget_owner(key)
        self._spoil()

    def _forget_owner(self, key: str) -> None:
        cell = self._owners.pop(key, None)
        if cell is not None:
            cell.valid = False

    def flush(self) -> None:
        """Nobody knows what has changed."""
        self._tokens.clear()
        self._absent.clear()
        self._owners.clear()
        self._spoil()

    def _spoil(self) -> None:
        for reading in self._readings.values():
            reading.spoiled = True
        self._readings.clear()

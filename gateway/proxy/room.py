"""Memory for what has to be held whole: so much in all, so much for each, and who finds none waits for a while."""

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final

PATIENCE: Final = 5.0
"""Seconds."""


class NoRoom(Exception):  # noqa: N818 - it says what is the case
    """None came free in time."""


class Place:
    """What one holds. It grows until `close`, and holds what it has until it is emptied."""

    __slots__ = ("_room", "held")

    def __init__(self, room: "Room") -> None:
        self._room = room
        self.held = 0
        """Bytes."""

    async def take(self, size: int) -> None:
        """Hold so many bytes more, once there is room for them. Raises NoRoom."""
        await self._room.take(self, size)

    def give(self, size: int) -> None:
        """Hold so many bytes less."""
        self._room.give(self, size)

    def empty(self) -> None:
        """Hold nothing."""
        self.give(self.held)


class Room:
    """Bytes, `most` of them, in places of `each` at most.

    The last `each` of them are for whoever came first of those that still grow: he can always come to his end, and
    nobody waits for somebody who waits.
    """

    def __init__(self, most: int, each: int, *, spare: Callable[[], bool], patience: float = PATIENCE) -> None:
        """`spare`: gives up something that can be done without, or says that there is nothing; `patience`: seconds."""
        self._most = most
        self._each = each
        self._spare = spare
        self._patience = patience
        self._growing: dict[Place, None] = {}
        self._waiting: dict[asyncio.Future[None], tuple[Place, int]] = {}
        self._is_sparing = False
        self.used = 0

    @contextmanager
    def place(self) -> Iterator[Place]:
        """A place that may grow until the end of the block; where that fails, it is empty behind it."""
        place = Place(self)
        self._growing[place] = None
        try:
            yield place
        except BaseException:
            del self._growing[place]
            place.empty()
            raise
        del self._growing[place]
        self._wake()

    def hold(self, size: int) -> Place:
        """A place of so many bytes, at once. Raises NoRoom."""
        with self.place() as place:
            if not self._grants(place, size):
                raise NoRoom("too much is held already")
        return place

    async def take(self, place: Place, size: int) -> None:
        """See `Place.take`."""
        if self._grants(place, size):
            return
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting[turn] = place, size
        try:
            async with asyncio.timeout(self._patience):
                await turn
        except TimeoutError:
            raise NoRoom("too much is held already") from None
        finally:
            self._waiting.pop(turn, None)

    def give(self, place: Place, size: int) -> None:
        """See `Place.give`."""
        place.held -= size
        self.used -= size
        if not self._is_sparing:
            self._wake()

    def _grants(self, place: Place, size: int) -> bool:
        first = next(iter(self._growing), None)
        most = self._most if place is first else self._most - self._each
        self._is_sparing = True  # what is given up is for this one
        while self.used + size > most and self._spare():
            pass
        self._is_sparing = False
        if self.used + size > most:
            return False
        place.held += size
        self.used += size
        return True

    def _wake(self) -> None:
        for turn, (place, size) in [*self._waiting.items()]:
            if not turn.done() and self._grants(place, size):
                turn.set_result(None)

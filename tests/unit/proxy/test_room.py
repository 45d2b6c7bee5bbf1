import asyncio
from collections.abc import Callable

import pytest

from gateway.proxy.room import NoRoom, Place, Room


def room(most: int = 10, each: int = 4, *, spare: Callable[[], bool] = lambda: False, patience: float = 60.0) -> Room:
    return Room(most, each, spare=spare, patience=patience)


async def turns() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


async def test_what_is_held_counts_until_it_is_given_back() -> None:
    of = room()
    with of.place() as place:
        await place.take(3)
        assert (of.used, place.held) == (3, 3)
        place.give(1)
        assert (of.used, place.held) == (2, 2)
    assert of.used == 2
    place.empty()
    assert of.used == 0


async def fail_in(of: Room) -> None:
    with of.place() as place:
        await place.take(3)
        raise NoRoom


async def test_a_place_is_empty_behind_a_failure() -> None:
    of = room()
    with pytest.raises(NoRoom):
        await fail_in(of)
    assert of.used == 0


async def test_what_is_to_be_held_at_once_waits_for_nobody() -> None:
    of = room(10, 4)
    first = of.hold(9)
    assert (of.used, first.held) == (9, 9)
    with pytest.raises(NoRoom):
        of.hold(2)
    assert of.used == 9
    first.empty()
    with of.place():
        assert of.hold(6).held == 6
        with pytest.raises(NoRoom):
            of.hold(1)  # the rest is for who grows


async def test_the_last_room_is_for_who_came_first() -> None:
    of = room(10, 4)
    with of.place() as first, of.place() as second:
        await second.take(6)
        later = asyncio.ensure_future(second.take(1))
        await turns()
        assert not later.done()
        await first.take(4)
        assert of.used == 10
        first.empty()
        await turns()
        assert not later.done(), "the first may grow again"
        second.give(1)
        await later
        assert of.used == 6


async def test_who_comes_first_of_those_that_grow_changes() -> None:
    of = room(10, 4)
    with of.place() as second_place:
        with of.place() as other:
            await other.take(6)
        await second_place.take(4)
    assert of.used == 10
    with of.place() as first:
        waiting = asyncio.ensure_future(first.take(1))
        await turns()
        assert not waiting.done()
        other.empty()
        await waiting


async def test_who_waits_in_vain_hears_of_it_and_holds_nothing() -> None:
    of = room(4, 4, patience=0.01)
    with of.place() as first:
        await first.take(4)
        with pytest.raises(NoRoom), of.place() as second:
            await second.take(1)
    assert of.used == 4
    first.empty()
    assert (of.used, of._waiting) == (0, {})


async def test_what_can_be_done_without_goes_first() -> None:
    held: list[Place] = []

    def spare() -> bool:
        if held:
            held.pop(0).empty()
            return True
        return False

    of = room(10, 4, spare=spare)
    for _ in range(2):
        with of.place() as place:
            await place.take(4)
        held.append(place)
    with of.place() as place:
        await place.take(3)
    assert (of.used, len(held)) == (7, 1)


async def test_what_is_given_up_is_had_once() -> None:
    held: list[Place] = []

    def spare() -> bool:
        if held:
            held.pop(0).empty()
            return True
        return False

    of = room(4, 4, spare=spare)
    with of.place() as first, of.place() as second:
        await first.take(4)
        waiting = asyncio.ensure_future(second.take(4))
        await turns()
        held.append(first)
        first.give(1)
        await turns()
        assert (waiting.done(), of.used) == (False, 0), "the second is not the first of those that grow"
        waiting.cancel()


async def test_who_leaves_while_he_waits_takes_nobodys_room() -> None:
    of = room(4, 4)
    with of.place() as first:
        await first.take(4)
        with of.place() as second:
            leaving = asyncio.ensure_future(second.take(1))
            await turns()
            leaving.cancel()
            await asyncio.wait([leaving])
        first.empty()
    assert (of.used, of._waiting) == (0, {})

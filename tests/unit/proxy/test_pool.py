import asyncio
import contextlib
import socket
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st
from unit.proxy.fakes import (
    FakeTarget,
    FakeTransport,
    in_skipping_time,
    pool_of,
    settled,
    skip,
    skipping_loop,
    transport_of,
)

from gateway.proxy.pool import EJECTED, FAILURES, LONGEST_EJECTED, NotConnected, Place, Pool, PoolState, Target
from gateway.proxy.ports import UpstreamFailed
from gateway.proxy.upstream_connection import UpstreamConnection

Waiting = asyncio.Task[UpstreamConnection]


def asking(pool: Pool, without: Target | None = None, *, fresh: bool = False) -> Waiting:
    """Somebody who wants a connection."""
    return asyncio.get_running_loop().create_task(pool.acquire(without, fresh=fresh))


def counted(target: Target) -> tuple[int, int, int]:
    return target.open, len(target.idle), target.pending


async def kept(pool: Pool) -> UpstreamConnection:
    """A connection that has carried an exchange, and waits for another."""
    connection = await pool.acquire()
    pool.release(connection)
    return connection


async def failure(waiting: Awaitable[UpstreamConnection]) -> UpstreamFailed:
    with pytest.raises(UpstreamFailed) as caught:
        await waiting
    return caught.value


async def ended(task: Waiting) -> None:
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task


# Kept connections.


async def test_a_connection_that_was_given_back_is_taken_again() -> None:
    pool, (target,) = pool_of()
    connection = await pool.acquire()
    assert counted(target) == (1, 0, 1)
    assert not connection.used
    pool.release(connection)
    assert counted(target) == (1, 1, 0)
    assert pool.take() is connection
    assert connection.used
    assert counted(target) == (1, 0, 1)
    pool.release(connection)
    assert await pool.acquire() is connection
    assert len(target.made) == 1


async def test_taking_makes_no_connection() -> None:
    pool, (target,) = pool_of()
    assert pool.take() is None
    assert counted(target) == (0, 0, 0)


async def test_the_connection_that_was_used_last_is_taken_first() -> None:
    pool, _ = pool_of()
    first, second = await pool.acquire(), await pool.acquire()
    pool.release(second)
    pool.release(first)
    assert [pool.take(), pool.take()] == [first, second]


async def test_a_kept_connection_that_closes_is_not_taken() -> None:
    pool, (target,) = pool_of()
    connection = await kept(pool)
    transport_of(connection).breaks()
    assert counted(target) == (0, 0, 0)
    assert pool.take() is None


async def test_a_kept_connection_that_is_about_to_close_is_not_taken() -> None:
    pool, (target,) = pool_of()
    older, newer = await pool.acquire(), await pool.acquire()
    pool.release(older)
    pool.release(newer)
    newer.transport.abort()  # its end has not been heard of yet
    assert pool.take() is older
    assert counted(target) == (1, 0, 1)
    await settled()
    assert counted(target) == (1, 0, 1)


@pytest.mark.parametrize(
    "happens",
    [
        pytest.param(FakeTransport.breaks, id="is reset"),
        pytest.param(FakeTransport.ends, id="is ended"),
        pytest.param(lambda transport: transport.says(b"HTTP/1.1 200 OK\r\n\r\n"), id="says what nobody asked for"),
    ],
)
async def test_a_kept_connection_is_dropped_when_it(happens: Callable[[FakeTransport], None]) -> None:
    pool, (target,) = pool_of()
    connection = await kept(pool)
    happens(transport_of(connection))
    await settled()
    assert connection.transport.is_closing()
    assert counted(target) == (0, 0, 0)


@in_skipping_time
async def test_a_kept_connection_ends_when_nobody_wants_it_for_so_long() -> None:
    pool, (target,) = pool_of(idle_timeout=30)
    connection = await kept(pool)
    await skip(29)
    assert counted(target) == (1, 1, 0)
    assert pool.take() is connection
    await skip(100)  # it is at work
    pool.release(connection)
    await skip(29)
    assert not connection.transport.is_closing()
    await skip(1.1)
    assert connection.transport.is_closing()
    assert counted(target) == (0, 0, 0)


async def test_a_connection_that_closed_at_work_is_gone_and_is_heard_of_once() -> None:
    pool, (target,) = pool_of()
    connection = await pool.acquire()
    connection.abort()
    assert counted(target) == (0, 0, 0)
    await settled()
    connection.abort()
    assert counted(target) == (0, 0, 0)


async def test_a_connection_that_closes_as_it_is_given_back_is_not_kept() -> None:
    pool, (target,) = pool_of()
    connection = await pool.acquire()
    connection.transport.abort()
    pool.release(connection)
    await settled()
    assert counted(target) == (0, 0, 0)


async def test_a_connection_belongs_to_its_target_as_long_as_it_is_at_work() -> None:
    pool, (target,) = pool_of()
    connection = await pool.acquire()
    assert pool.target_of(connection) is target
    pool.release(connection)
    assert pool.target_of(connection) is None


# How many.


async def test_there_are_no_more_than_so_many_connections_to_a_target() -> None:
    pool, targets = pool_of(["a", "b"], max_connections=2)
    tasks = [asking(pool) for _ in range(6)]
    await settled()
    assert [task.done() for task in tasks] == [True] * 4 + [False] * 2
    assert [counted(target) for target in targets] == [(2, 0, 2)] * 2
    for task in tasks:
        await ended(task)


async def test_connections_on_their_way_count() -> None:
    pool, (target,) = pool_of(max_connections=2)
    target.gate = asyncio.Event()
    tasks = [asking(pool) for _ in range(3)]
    await settled()
    assert (target.connecting, counted(target)) == (2, (2, 0, 2))
    for task in tasks:
        await ended(task)
    assert (target.connecting, counted(target)) == (0, (0, 0, 0))


@pytest.mark.parametrize(
    "comes_free",
    [
        pytest.param(Pool.release, id="is given back"),
        pytest.param(lambda _, connection: connection.abort(), id="is closed by us"),
        pytest.param(lambda _, connection: transport_of(connection).breaks(), id="is closed by the upstream"),
    ],
)
async def test_who_waits_goes_on_when_a_connection(comes_free: Callable[[Pool, UpstreamConnection], None]) -> None:
    pool, (target,) = pool_of(max_connections=1)
    connection = await pool.acquire()
    waiting = asking(pool)
    await settled()
    assert not waiting.done()
    comes_free(pool, connection)
    assert await waiting is target.made[-1]
    assert counted(target) == (1, 0, 1)


async def test_who_waits_goes_on_when_somebody_else_could_not_connect() -> None:
    pool, (target,) = pool_of(max_connections=1)
    target.gate, target.failure = asyncio.Event(), OSError()
    first, second = asking(pool), asking(pool)
    await settled()
    target.gate.set()
    target.gate = asyncio.Event()
    await failure(first)
    target.failure = None
    target.gate.set()
    assert await second is target.made[-1]


async def test_who_waits_goes_on_when_somebody_else_leaves_while_connecting() -> None:
    pool, (target,) = pool_of(max_connections=1)
    target.gate = asyncio.Event()
    first, second = asking(pool), asking(pool)
    await settled()
    await ended(first)
    target.gate.set()
    assert await second is target.made[-1]


async def test_who_has_waited_longest_goes_on_first() -> None:
    pool, _ = pool_of(max_connections=1)
    connection = await pool.acquire()
    tasks = [asking(pool) for _ in range(3)]
    for task in tasks:
        await settled()
        pool.release(connection)
        assert await task is connection
    await settled()


async def test_who_comes_later_takes_nothing_from_who_waits() -> None:
    pool, _ = pool_of(max_connections=1)
    connection = await pool.acquire()
    waiting = asking(pool)
    await settled()
    pool.release(connection)
    assert pool.take() is None
    later = asking(pool)
    assert await waiting is connection
    await settled()
    assert not later.done()
    pool.release(connection)
    assert await later is connection


@in_skipping_time
async def test_who_waits_too_long_is_told_that_it_was_time() -> None:
    pool, (target,) = pool_of(max_connections=1, wait_timeout=5)
    connection = await pool.acquire()
    waiting = asking(pool)
    await settled()
    await skip(4.9)
    assert not waiting.done()
    await skip(0.2)
    assert (await failure(waiting)).timeout
    pool.release(connection)
    assert pool.take() is connection
    assert counted(target) == (1, 0, 1)


async def test_a_place_is_not_lost_when_who_got_it_has_left() -> None:
    pool, (target,) = pool_of(max_connections=1)
    connection = await pool.acquire()
    first, second = asking(pool), asking(pool)
    await settled()
    pool.release(connection)
    first.cancel()  # it was its turn
    assert await second is connection
    assert first.cancelled()
    assert counted(target) == (1, 0, 1)


async def test_who_leaves_just_before_its_turn_is_passed_over() -> None:
    pool, _ = pool_of(max_connections=1)
    connection = await pool.acquire()
    first, second = asking(pool), asking(pool)
    await settled()
    first.cancel()
    pool.release(connection)
    assert await second is connection
    assert first.cancelled()


async def test_who_left_is_forgotten() -> None:
    pool, _ = pool_of(max_connections=1)
    await pool.acquire()
    waiting = asking(pool)
    await settled()
    await ended(waiting)
    assert not pool._waiting


async def test_nor_is_a_place_for_a_new_one_lost() -> None:
    pool, (target,) = pool_of(max_connections=1)
    connection = await pool.acquire()
    first = asking(pool)
    await settled()
    connection.abort()
    await ended(first)
    assert counted(target) == (0, 0, 0)
    assert await pool.acquire() is target.made[-1]


async def test_a_place_that_one_cannot_use_goes_to_who_can() -> None:
    pool, (a, b) = pool_of(["a", "b"], max_connections=1)
    connections = [await pool.acquire(), await pool.acquire()]
    not_a, any_of_them = asking(pool, a), asking(pool)
    await settled()
    (of_a,) = [each for each in connections if pool.target_of(each) is a]
    pool.release(of_a)
    assert await any_of_them is of_a
    assert not not_a.done()
    (of_b,) = [each for each in connections if each is not of_a]
    pool.release(of_b)
    assert await not_a is of_b
    assert pool.target_of(of_b) is b


# A new one.


async def test_a_new_connection_is_made_though_one_is_kept() -> None:
    pool, (target,) = pool_of()
    old = await kept(pool)
    new = await pool.acquire(fresh=True)
    assert new is not old
    assert counted(target) == (2, 1, 1)


async def test_a_kept_connection_makes_room_for_a_new_one() -> None:
    pool, (target,) = pool_of(max_connections=1)
    old = await kept(pool)
    new = await pool.acquire(fresh=True)
    assert new is not old
    assert old.transport.is_closing()
    assert counted(target) == (1, 0, 1)


async def test_of_the_kept_ones_the_one_that_was_used_last_stays() -> None:
    pool, _ = pool_of(max_connections=2)
    older, newer = await pool.acquire(), await pool.acquire()
    pool.release(older)
    pool.release(newer)
    await pool.acquire(fresh=True)
    assert older.transport.is_closing()
    assert pool.take() is newer


async def test_who_waits_for_a_new_one_does_not_get_the_one_that_comes_free() -> None:
    pool, (target,) = pool_of(max_connections=1)
    old = await pool.acquire()
    waiting = asking(pool, fresh=True)
    await settled()
    pool.release(old)
    new = await waiting
    assert new is not old
    assert counted(target) == (1, 0, 1)


async def test_a_connection_that_closes_before_anybody_has_it_is_none() -> None:
    """Who accepts and hangs up has not been reached: nobody would ever hear of it again."""
    for happens in (FakeTransport.ends, FakeTransport.breaks, lambda transport: transport.says(b"220 mail\r\n")):
        pool, (target,) = pool_of()
        target.greeting = happens
        assert not (await failure(pool.acquire())).timeout
        await settled()
        assert counted(target) == (0, 0, 0)
        assert target.failures == 1


# Which target.


async def test_the_target_with_the_fewest_exchanges_is_chosen() -> None:
    pool, targets = pool_of(["a", "b", "c"])
    busy = [await pool.acquire() for _ in range(3)]
    assert {pool.target_of(each) for each in busy} == set(targets)
    pool.release(busy[1])
    assert pool.choose() is targets[1]
    assert pool.take() is busy[1]


async def test_connections_that_are_kept_do_not_count_as_work() -> None:
    pool, (a, b) = pool_of(["a", "b"])
    first, second = await pool.acquire(), await pool.acquire()
    third = await pool.acquire()
    pool.release(third)
    assert pool.target_of(first) is a
    assert pool.target_of(second) is b
    assert pool.take() in (third, None)


async def test_exchanges_on_their_way_count_as_work() -> None:
    pool, (a, b) = pool_of(["a", "b"])
    a.gate = b.gate = asyncio.Event()
    tasks = [asking(pool) for _ in range(4)]
    await settled()
    assert (a.connecting, b.connecting) == (2, 2)
    for task in tasks:
        await ended(task)


async def test_of_targets_that_have_as_much_to_do_each_has_its_turn() -> None:
    pool, targets = pool_of(["a", "b", "c"])
    chosen = []
    for _ in range(6):
        connection = pool.take() or await pool.acquire()
        chosen.append(pool.target_of(connection))
        pool.release(connection)
    assert chosen[:3] == chosen[3:]
    assert set(chosen) == set(targets)


async def test_a_target_that_has_just_failed_is_not_asked_again_if_there_are_others() -> None:
    pool, (a, b) = pool_of(["a", "b"])
    for _ in range(4):
        assert pool.target_of(await pool.acquire(a)) is b
    assert a.open == 0


async def test_the_only_target_is_asked_again() -> None:
    pool, (target,) = pool_of()
    assert pool.target_of(await pool.acquire(target)) is target
    assert not pool.has_others


# Targets that fail.


def broken(pool: Pool, target: Target, times: int = FAILURES) -> None:
    for _ in range(times):
        pool.failed(target)


async def tried(pool: Pool) -> set[Target | None]:
    """The targets that are asked at present."""
    connections = [await pool.acquire(fresh=True) for _ in range(4)]
    targets = {pool.target_of(each) for each in connections}
    for connection in connections:
        connection.abort()
    return targets


async def test_a_target_is_left_alone_after_failures_in_a_row() -> None:
    pool, (a, b) = pool_of(["a", "b"])
    broken(pool, a, FAILURES - 1)
    assert await tried(pool) == {a, b}
    pool.failed(a)
    assert await tried(pool) == {b}


async def test_an_answer_between_them_begins_the_row_anew() -> None:
    pool, (a, b) = pool_of(["a", "b"])
    connection = await pool.acquire(b)
    broken(pool, a, FAILURES - 1)
    pool.release(connection)
    broken(pool, a, FAILURES - 1)
    assert await tried(pool) == {a, b}


async def test_so_does_an_answer_after_which_the_connection_is_not_kept() -> None:
    pool, (a, b) = pool_of(["a", "b"])
    connection = await pool.acquire(b)
    broken(pool, a, FAILURES - 1)
    pool.answered(connection)
    connection.abort()
    broken(pool, a, FAILURES - 1)
    assert await tried(pool) == {a, b}


async def test_connects_that_fail_count() -> None:
    pool, (a, b) = pool_of(["a", "b"])
    a.failure = ConnectionRefusedError()
    for _ in range(FAILURES):
        assert not (await failure(pool.acquire(b))).timeout
    assert await tried(pool) == {b}


async def test_a_connect_that_nobody_waits_for_any_more_does_not_count() -> None:
    pool, (target, _) = pool_of(["a", "b"])
    target.gate = asyncio.Event()
    task = asking(pool)
    await settled()
    await ended(task)
    assert target.failures == 0


@in_skipping_time
async def test_a_target_comes_back_and_is_left_alone_for_longer_each_time_that_it_fails_again() -> None:
    pool, (a, b) = pool_of(["a", "b"])
    broken(pool, a)
    left_alone = EJECTED
    while left_alone <= LONGEST_EJECTED:
        await skip(left_alone - 0.1)
        assert await tried(pool) == {b}
        await skip(0.2)
        assert await tried(pool) == {a, b}
        pool.failed(a)
        left_alone *= 2
    await skip(LONGEST_EJECTED - 0.1)
    assert await tried(pool) == {b}
    await skip(0.2)
    assert await tried(pool) == {a, b}


@in_skipping_time
async def test_a_target_may_fail_for_ever() -> None:
    pool, (a, _) = pool_of(["a", "b"])
    broken(pool, a)
    for _ in range(2000):
        a.ejected_until = 0.0
        pool.failed(a)
    assert 0 < a.ejected_until - asyncio.get_running_loop().time() <= LONGEST_EJECTED


@in_skipping_time
async def test_a_target_that_came_back_and_answers_is_as_good_as_new() -> None:
    pool, (a, b) = pool_of(["a", "b"])
    for _ in range(3):
        broken(pool, a)
        assert await tried(pool) == {b}
        await skip(EJECTED + 0.1)
        assert await tried(pool) == {a, b}
        pool.release(await pool.acquire(b))
        broken(pool, a, FAILURES - 1)
        assert await tried(pool) == {a, b}
        pool.release(await pool.acquire(b))


@in_skipping_time
async def test_what_fails_while_it_is_left_alone_was_begun_before_and_changes_nothing() -> None:
    pool, (a, b) = pool_of(["a", "b"])
    broken(pool, a, 3 * FAILURES)
    await skip(EJECTED / 2)
    broken(pool, a, 3 * FAILURES)
    assert await tried(pool) == {b}
    await skip(EJECTED / 2 + 0.1)
    assert await tried(pool) == {a, b}


async def test_with_every_target_left_alone_all_are_tried() -> None:
    pool, targets = pool_of(["a", "b"])
    for target in targets:
        broken(pool, target)
    busy = [await pool.acquire() for _ in range(4)]
    assert [target.pending for target in targets] == [2, 2]
    assert pool.target_of(await pool.acquire(targets[0])) is targets[1]
    assert len(busy) == 4


async def test_of_those_that_are_all_left_alone_one_that_answers_is_back() -> None:
    pool, (a, b) = pool_of(["a", "b"])
    for target in (a, b):
        broken(pool, target)
    pool.release(await pool.acquire(b))
    assert await tried(pool) == {a}


async def test_the_only_target_is_never_left_alone() -> None:
    pool, (target,) = pool_of()
    broken(pool, target, 100)
    assert await tried(pool) == {target}
    assert not target.ejected_until


async def test_what_failed_is_told_with_its_target() -> None:
    pool, (a, b) = pool_of(["a", "b"])
    a.failure = ConnectionRefusedError("hush: 10.0.0.1")
    failed = await failure(pool.acquire(b))
    assert isinstance(failed, NotConnected)
    assert failed.target is a
    assert "hush" not in str(failed)


# Closing.


async def test_closing_ends_every_connection() -> None:
    pool, (target,) = pool_of()
    busy, idle = await pool.acquire(), await pool.acquire()
    pool.release(idle)
    pool.close()
    assert busy.transport.is_closing()
    assert idle.transport.is_closing()
    assert counted(target) == (0, 0, 0)


async def test_what_is_given_back_after_closing_is_not_kept() -> None:
    pool, (target,) = pool_of()
    target.gate = asyncio.Event()
    waiting = asking(pool)
    await settled()
    pool.close()
    target.gate.set()
    connection = await waiting
    pool.release(connection)
    assert connection.transport.is_closing()
    assert counted(target) == (0, 0, 0)


# Whatever happens, no place is lost.


class Model:
    """What somebody who only sees who got what, and who gave it back, counts.

    `steps`: what may happen; `which` says of whom.
    """

    def __init__(self, hosts: int, most: int) -> None:
        self.pool, self.targets = pool_of([f"t{number}" for number in range(hosts)], max_connections=most)
        self.most = most
        self.asking: list[Waiting] = []
        self.busy: dict[UpstreamConnection, Target] = {}
        for target in self.targets[1:]:
            target.gate = asyncio.Event()

    def collect(self) -> None:
        for task in [each for each in self.asking if each.done()]:
            self.asking.remove(task)
            if not task.cancelled() and task.exception() is None:
                self.got(task.result())

    def got(self, connection: UpstreamConnection) -> None:
        assert connection not in self.busy, "two have it"
        target = self.pool.target_of(connection)
        assert target is not None
        self.busy[connection] = target

    def one_at_work(self, which: int) -> UpstreamConnection | None:
        """One that is counted no more from now on."""
        if not self.busy:
            return None
        connection = list(self.busy)[which % len(self.busy)]
        del self.busy[connection]
        return connection

    def target(self, which: int) -> FakeTarget:
        return self.targets[which % len(self.targets)]

    # Steps.

    def asks(self, _: int) -> None:
        self.asking.append(asking(self.pool))

    def asks_for_a_new_one(self, _: int) -> None:
        self.asking.append(asking(self.pool, fresh=True))

    def asks_for_another_target(self, which: int) -> None:
        self.asking.append(asking(self.pool, self.target(which), fresh=bool(which & 1)))

    def takes(self, _: int) -> None:
        if (connection := self.pool.take()) is not None:
            self.got(connection)

    def gives_back(self, which: int) -> None:
        if (connection := self.one_at_work(which)) is not None:
            self.pool.release(connection)

    def gives_back_what_closes(self, which: int) -> None:
        if (connection := self.one_at_work(which)) is not None:
            connection.transport.abort()
            self.pool.release(connection)

    def loses(self, which: int) -> None:
        if (connection := self.one_at_work(which)) is None:
            return
        if which & 1:
            connection.abort()
        else:
            transport_of(connection).breaks()

    def leaves(self, which: int) -> None:
        if self.asking:
            self.asking[which % len(self.asking)].cancel()

    def all_leave_when_it_is_their_turn(self, which: int) -> None:
        if which & 1:
            self.loses(which)
        else:
            self.gives_back(which)
        for task in self.asking:
            task.cancel()

    def a_kept_one_breaks(self, which: int) -> None:
        if idle := self.target(which).idle:
            transport_of(idle[which % len(idle)]).breaks()

    def a_kept_one_is_about_to_close(self, which: int) -> None:
        if idle := self.target(which).idle:
            idle[-1].transport.abort()  # nobody has heard of it yet

    def all_connect(self, which: int) -> None:
        self.open_gate(self.target(which), None)

    def none_can_connect(self, which: int) -> None:
        self.open_gate(self.target(which), ConnectionRefusedError())

    def a_target_fails(self, which: int) -> None:
        self.pool.failed(self.target(which))

    steps = (
        *(asks, asks, asks_for_a_new_one, asks_for_another_target, takes),
        *(gives_back, gives_back, gives_back_what_closes, loses, leaves, all_leave_when_it_is_their_turn),
        *(a_kept_one_breaks, a_kept_one_is_about_to_close),
        *(all_connect, all_connect, none_can_connect, a_target_fails),
    )

    @staticmethod
    def open_gate(target: FakeTarget, outcome: OSError | None) -> None:
        """All that are connecting now come to this."""
        gate, target.gate = target.gate, asyncio.Event()
        if gate is not None:
            gate.set()
        target.failure = outcome

    async def check(self) -> None:
        await settled()
        self.collect()
        for target in self.targets:
            at_work = sum(each is target for each in self.busy.values())
            assert target.pending == at_work + target.connecting
            assert target.open == len(target.idle) + target.pending
            assert target.open <= self.most
        assert len(self.pool._idle) == sum(len(target.idle) for target in self.targets)
        waiting = len(self.asking) - sum(target.connecting for target in self.targets)
        able = [target for target in self.targets if not target.ejected_until]
        if waiting and len(able) == len(self.targets) > 1:
            # One who waits may have said where it does not want to go: only one target can be so.
            assert sum(target.pending < self.most for target in self.targets) <= 1
        elif waiting and len(self.targets) == 1:
            assert self.targets[0].pending == self.most

    async def end(self) -> None:
        for target in self.targets:
            self.open_gate(target, None)
            target.gate = None
        await settled()
        for _ in range(100):
            self.collect()
            if not self.asking and not self.busy:
                break
            for connection in list(self.busy):
                del self.busy[connection]
                self.pool.release(connection)
            await settled()
        assert not self.asking, "somebody waits though all was given back"
        assert not self.pool._waiting
        self.pool.close()
        await settled()
        assert [counted(target) for target in self.targets] == [(0, 0, 0)] * len(self.targets)


@given(
    st.lists(st.tuples(st.sampled_from(Model.steps), st.integers(0, 7)), min_size=20, max_size=80),
    st.integers(1, 3),
    st.integers(1, 3),
)
async def test_whatever_happens_no_place_is_lost_and_none_is_given_twice(
    drawn: list[tuple[Callable[[Model, int], None], int]], hosts: int, most: int
) -> None:
    model = Model(hosts, most)
    for step, which in drawn:
        step(model, which)
        if which & 4:
            await asyncio.sleep(0)
        model.collect()
        if which & 2:
            await model.check()
    await model.check()
    await model.end()


# Real connections.

Serve = Callable[..., Awaitable[Place]]


@pytest.fixture
async def serve() -> AsyncIterator[Serve]:
    """`await serve()`: where somebody listens on loopback, and keeps what connects; `accepts` False: nobody does."""
    async with contextlib.AsyncExitStack() as stack:
        writers: set[asyncio.StreamWriter] = set()

        async def keep(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            writers.add(writer)

        async def serve(host: str = "127.0.0.1", tls: ssl.SSLContext | None = None, *, accepts: bool = True) -> Place:
            sock = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET)
            sock.bind((host, 0))
            port = sock.getsockname()[1]
            if accepts:
                server = await asyncio.start_server(keep, sock=sock, ssl=tls)
                stack.push_async_callback(server.wait_closed)
                stack.callback(server.close)
            else:
                stack.callback(sock.close)
            return host, port, f"{host}:{port}"

        yield serve
        for writer in writers:
            writer.transport.abort()


def pool_at(*places: Place, tls: ssl.SSLContext | None = None, connect_timeout: float = 5.0) -> Pool:
    return Pool(
        places,
        name="an-api",
        max_connections=4,
        idle_timeout=30,
        connect_timeout=connect_timeout,
        wait_timeout=5,
        tls=tls,
    )


def peer(connection: UpstreamConnection) -> str:
    return str(connection.transport.get_extra_info("peername")[0])


@pytest.fixture
async def connect() -> AsyncIterator[Callable[..., Pool]]:
    """`connect(place, ...)`: a pool of connections there."""
    pools: list[Pool] = []

    def connect(*places: Place, tls: ssl.SSLContext | None = None, connect_timeout: float = 5.0) -> Pool:
        pool = pool_at(*places, tls=tls, connect_timeout=connect_timeout)
        pools.append(pool)
        return pool

    yield connect
    for pool in pools:
        pool.close()
    await settled()


Connect = Callable[..., Pool]


async def test_a_connection_leads_to_its_place(serve: Serve, connect: Connect) -> None:
    place = await serve()
    connection = await connect(place).acquire()
    assert connection.transport.get_extra_info("peername") == place[:2]
    assert connection.host == f"Host: {place[2]}\r\n".encode()


async def test_nothing_of_the_environment_leads_it_elsewhere(
    serve: Serve, connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("HTTP_PROXY", "http_proxy", "HTTPS_PROXY", "ALL_PROXY", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    place = await serve()
    connection = await connect(place).acquire()
    assert connection.transport.get_extra_info("peername") == place[:2]


@in_skipping_time
async def test_a_name_is_looked_up_once_for_all_that_connect_and_again_after_a_while() -> None:
    loop = skipping_loop()
    with socket.create_server(("127.0.0.1", 0)) as first:
        port = first.getsockname()[1]
        with socket.create_server(("127.0.0.2", port)):
            loop.names["api.example"] = ["127.0.0.1"]
            pool = pool_at(("api.example", port, "api.example"))
            connections = list(await asyncio.gather(pool.acquire(), pool.acquire()))
            loop.names["api.example"] = ["127.0.0.2"]
            await skip(9)
            connections.append(await pool.acquire())
            assert [peer(each) for each in connections] == ["127.0.0.1"] * 3
            assert loop.asked == ["api.example"]
            await skip(1.1)
            assert peer(await pool.acquire()) == "127.0.0.2"
            assert loop.asked == ["api.example"] * 2
            pool.close()
            await settled()


@in_skipping_time
async def test_of_a_name_s_addresses_one_that_answers_is_enough() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        skipping_loop().names["api.example"] = ["127.0.0.3", "127.0.0.2", "127.0.0.1"]
        pool = pool_at(("api.example", port, "api.example"))
        assert peer(await pool.acquire()) == "127.0.0.1"
        pool.close()
        await settled()


@in_skipping_time
async def test_a_name_that_has_no_address_any_more_is_a_failure() -> None:
    skipping_loop().names["api.example"] = []
    pool = pool_at(("api.example", 80, "api.example"))
    assert not (await failure(pool.acquire())).timeout


async def test_a_name_leads_to_whichever_of_its_addresses_answers(serve: Serve, connect: Connect) -> None:
    """localhost may be ::1 first, where nobody listens."""
    _, port, _ = await serve()
    connection = await connect(("localhost", port, "localhost")).acquire()
    assert connection.transport.get_extra_info("peername")[:2] == ("127.0.0.1", port)


async def test_where_nobody_listens_is_a_failure_and_no_timeout(serve: Serve, connect: Connect) -> None:
    pool = connect(await serve(accepts=False))
    failed = await failure(pool.acquire())
    assert not failed.timeout
    assert "127.0.0.1" not in str(failed)
    assert pool.choose().open == 0


async def test_a_name_that_does_not_exist_is_a_failure_and_no_timeout(connect: Connect) -> None:
    failed = await failure(connect(("name.invalid", 80, "name.invalid")).acquire())
    assert not failed.timeout


async def test_a_handshake_that_comes_to_nothing_is_a_timeout_and_leaves_nothing(
    serve: Serve, connect: Connect
) -> None:
    """It listens, and does not speak TLS."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    pool = connect(await serve(), tls=context, connect_timeout=0.05)
    assert (await failure(pool.acquire())).timeout
    assert counted(pool.choose()) == (0, 0, 0)


async def test_a_certificate_that_is_not_believed_is_a_failure_and_leaves_nothing(
    serve: Serve, connect: Connect, certificates: Sequence[ssl.SSLContext]
) -> None:
    server, _ = certificates
    pool = connect(await serve(tls=server), tls=ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT))
    assert not (await failure(pool.acquire())).timeout
    assert counted(pool.choose()) == (0, 0, 0)


async def test_a_connection_is_named_and_verified_by_its_host(
    serve: Serve, connect: Connect, certificates: Sequence[ssl.SSLContext]
) -> None:
    server, client = certificates
    place = await serve(tls=server)
    connection = await connect(place, tls=client).acquire()
    assert connection.transport.get_extra_info("ssl_object").server_hostname == "127.0.0.1"
    pool = connect(("localhost", place[1], place[2]), tls=client)
    assert not (await failure(pool.acquire())).timeout, "the certificate is for 127.0.0.1"


# What metrics tell of it.


async def test_its_state_says_what_is_open_idle_waited_for_and_ejected() -> None:
    pool, _ = pool_of(("a", "b"), max_connections=1)
    assert pool.state == PoolState(open=0, idle=0, waiting=0, targets=2, ejected=0)
    first, second = await pool.acquire(), await pool.acquire()
    waiting = asking(pool)
    await settled()
    assert pool.state == PoolState(open=2, idle=0, waiting=1, targets=2, ejected=0)
    pool.release(first)
    pool.release(await waiting)
    assert pool.state == PoolState(open=2, idle=1, waiting=0, targets=2, ejected=0)
    target = pool.target_of(second)
    assert target is not None
    for _ in range(FAILURES):
        pool.failed(target)
    assert pool.state.ejected == 1
    pool.release(second)

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from redis.asyncio import Redis
from redis.exceptions import ConnectionError as Lost
from redis.exceptions import OutOfMemoryError, ResponseError
from support.fake_primary import FakePrimary
from support.records import NOW, TOKEN_ID, owner, token
from support.store_contract import BY, numbered, read
from unit.telemetry.captured import captured

from gateway.access.ports import Action
from gateway.store import keys
from gateway.store.failure import mapped
from gateway.store.redis_store import AuditLimits, RedisStore
from gateway.store.use import DAYS, MOST_REFUSED, DayUse, RefusedUse, RouteUse, Use, Uses
from gateway.tokens.timestamp import format_timestamp

Open = Callable[..., RedisStore]

LIST = "GET /client/v4/zones/{zone_id}/dns_records"
HERE, THERE = "192.0.2.7", "2001:db8::1"


@pytest.fixture
async def uses(store: RedisStore) -> Uses:
    """Over a store with one token in it."""
    await store.initialise(owner(), token(), NOW)
    return Uses(store)


def use_once(uses: Uses, route: str = LIST, result: str = "allowed", address: str = HERE, now: float = NOW) -> None:
    uses.count(TOKEN_ID, route, result, address, now)


# Counting, writing, telling.


async def test_what_was_counted_is_told_once_it_is_written(uses: Uses) -> None:
    use_once(uses)
    use_once(uses, now=NOW + 1.9)
    use_once(uses, result="forbidden", address=THERE, now=NOW + 2.5)
    use_once(uses, route="", result="no_route", address=THERE, now=NOW + 2.9)
    assert await uses.use(TOKEN_ID) == Use()
    await uses.write()
    assert await uses.use(TOKEN_ID) == Use(
        last_used_on=NOW + 2,
        last_address=THERE,
        requests=(RouteUse("", "no_route", 1), RouteUse(LIST, "allowed", 2), RouteUse(LIST, "forbidden", 1)),
    )
    assert await uses.last_used([TOKEN_ID]) == [NOW + 2]


async def test_numbers_of_several_workers_add_up(uses: Uses, open_store: Open) -> None:
    other = Uses(open_store())
    for each in (uses, other, uses):
        use_once(each)
        await each.write()
    assert (await other.use(TOKEN_ID)).requests == (RouteUse(LIST, "allowed", 3),)


async def test_what_was_written_is_not_written_again(uses: Uses) -> None:
    use_once(uses)
    await uses.write()
    await uses.write()
    assert (await uses.use(TOKEN_ID)).requests == (RouteUse(LIST, "allowed", 1),)


async def test_a_write_that_ends_it_all_waits_for_the_one_under_way(uses: Uses) -> None:
    use_once(uses)
    async with asyncio.TaskGroup() as group:
        under_way = group.create_task(uses.write())
        await asyncio.sleep(0)
        use_once(uses)
        await uses.write()
        assert under_way.done()
    assert (await uses.use(TOKEN_ID)).requests == (RouteUse(LIST, "allowed", 2),)


async def test_the_moment_never_goes_back(uses: Uses, open_store: Open) -> None:
    behind = Uses(open_store())
    use_once(uses, now=NOW + 9)
    use_once(uses, now=NOW + 5, address=THERE)
    await uses.write()
    use_once(behind, now=NOW + 3, address=THERE)
    await behind.write()
    found = await uses.use(TOKEN_ID)
    assert (found.last_used_on, found.last_address) == (NOW + 9, HERE)
    assert found.requests == (RouteUse(LIST, "allowed", 3),)


async def test_a_deleted_token_leaves_nothing_behind_however_late_a_write_comes(
    uses: Uses, store: RedisStore, redis: Redis
) -> None:
    use_once(uses)
    await uses.write()
    use_once(uses)
    await store.delete(await read(store, TOKEN_ID), Action.DELETE, BY, NOW)
    await uses.write()
    assert await redis.exists(keys.use_key(TOKEN_ID)) == 0


async def test_use_changes_neither_the_document_nor_the_number_of_changes(
    uses: Uses, store: RedisStore, redis: Redis
) -> None:
    before = (await read(store, TOKEN_ID)).raw, await redis.get(keys.SEQUENCE)
    use_once(uses)
    await uses.write()
    assert ((await read(store, TOKEN_ID)).raw, await redis.get(keys.SEQUENCE)) == before


async def test_more_tokens_than_one_pipeline_takes_are_all_written(uses: Uses, store: RedisStore) -> None:
    ids = [numbered(number) for number in range(1, 1203)]
    for token_id in ids:
        await store.create(token(token_id=token_id), BY, NOW)
        uses.count(token_id, LIST, "allowed", HERE, NOW)
    await uses.write()
    assert await uses.last_used(ids) == [NOW] * len(ids)


async def test_of_more_than_is_written_at_a_time_those_come_first_that_have_waited_longest(
    uses: Uses, store: RedisStore
) -> None:
    ids = [numbered(number) for number in (1, 2, 3)]
    for token_id in ids:
        await store.create(token(token_id=token_id), BY, NOW)
        uses.count(token_id, LIST, "allowed", HERE, NOW)
    await uses.write(2)
    assert await uses.last_used(ids) == [NOW, NOW, None]
    for token_id in ids:
        uses.count(token_id, LIST, "allowed", HERE, NOW + 1)
    await uses.write(2)
    assert await uses.last_used(ids) == [NOW + 1, NOW, NOW + 1]
    await uses.write()
    assert await uses.last_used(ids) == [NOW + 1] * 3
    assert [(await uses.use(token_id)).requests for token_id in ids] == [(RouteUse(LIST, "allowed", 2),)] * 3


async def test_of_tokens_without_use_nothing_is_known(uses: Uses) -> None:
    assert await uses.last_used([TOKEN_ID, "0" * 32]) == [None, None]
    assert await uses.use("0" * 32) == Use()
    assert await uses.last_used([]) == []


@pytest.mark.parametrize(
    ("held", "known"),
    [
        pytest.param({"last_used_on": "soon", f"{LIST}|allowed": "x"}, Use(), id="junk"),
        pytest.param(
            {"later": "1", f"{LIST}|allowed": "2", b"\xff": "3"},
            Use(requests=(RouteUse(LIST, "allowed", 2),)),
            id="more than this version knows",
        ),
    ],
)
async def test_what_cannot_be_read_is_left_out(uses: Uses, redis: Redis, held: dict[Any, str], known: Use) -> None:
    await redis.hset(keys.use_key(TOKEN_ID), mapping=held)
    assert await uses.use(TOKEN_ID) == known
    assert await uses.last_used([TOKEN_ID]) == [None]


async def test_a_key_of_another_kind_stops_neither_reading_nor_the_use_of_others(
    uses: Uses, store: RedisStore, redis: Redis
) -> None:
    await store.create(token(token_id=numbered(1)), BY, NOW)
    await redis.set(keys.use_key(TOKEN_ID), "x")
    for token_id in (TOKEN_ID, numbered(1)):
        uses.count(token_id, LIST, "allowed", HERE, NOW)
    with captured() as logs:
        await uses.write()
        await uses.write()
        assert await uses.last_used([TOKEN_ID, numbered(1)]) == [None, NOW]
        assert await uses.use(TOKEN_ID) == Use()
    assert uses.dropped == 1
    assert [line["event"] for line in logs] == ["use of a token not written", "use of a token not read"]


# The store fails.


class Failing(RedisStore):
    """`RedisStore` whose pipelines come to what `outcomes` hold: an error, or answers; None: the real ones."""

    outcomes: list[Exception | list[Any] | None]

    def __init__(self, primary: FakePrimary) -> None:
        super().__init__(primary, peppers=(), audit=AuditLimits(1000, 10**9))  # type: ignore[arg-type]
        self.fake = primary
        self.outcomes = []
        self.sent = 0

    @asynccontextmanager
    async def using(self, *, changes: bool = False) -> AsyncIterator[Any]:
        async with super().using(changes=changes) as clients:
            if not changes:
                yield clients
                return
            async with mapped(changes=True):
                yield _Clients(self, clients)


class _Clients:
    def __init__(self, store: Failing, clients: Any) -> None:
        self.writer = self
        self._store = store
        self._clients = clients

    def pipeline(self, *, transaction: bool) -> "_Pipeline":
        return _Pipeline(self._store, self._clients.writer.pipeline(transaction=transaction))


class _Pipeline:
    def __init__(self, store: Failing, pipe: Any) -> None:
        self._store = store
        self._pipe = pipe
        self.eval = pipe.eval

    async def execute(self, *, raise_on_error: bool) -> list[Any]:
        self._store.sent += 1
        outcome = self._store.outcomes.pop(0) if self._store.outcomes else None
        if isinstance(outcome, Exception):
            raise outcome
        if outcome is not None:
            return outcome
        found: list[Any] = await self._pipe.execute(raise_on_error=raise_on_error)
        return found


@pytest.fixture
async def failing() -> AsyncIterator[Failing]:
    primary = FakePrimary()
    store = Failing(primary)
    await RedisStore(primary, peppers=(), audit=AuditLimits(1000, 10**9)).initialise(  # type: ignore[arg-type]
        owner(), token(), NOW
    )
    yield store
    await primary.close()


async def test_what_a_store_that_is_away_was_not_given_is_written_when_it_is_back(failing: Failing) -> None:
    uses = Uses(failing)
    failing.fake.away = True
    with captured() as logs:
        for second in range(3):
            use_once(uses, now=NOW + second)
            await uses.write()
    assert [line["event"] for line in logs] == ["use of tokens not written"]
    assert failing.sent == 0
    failing.fake.away = False
    use_once(uses, result="forbidden")
    await uses.write()
    found = await uses.use(TOKEN_ID)
    assert found.requests == (RouteUse(LIST, "allowed", 3), RouteUse(LIST, "forbidden", 1))
    assert (found.last_used_on, uses.dropped) == (NOW + 2, 0)


async def test_what_the_server_refused_before_it_ran_is_written_later(failing: Failing) -> None:
    uses = Uses(failing)
    failing.outcomes = [[OutOfMemoryError("OOM command not allowed")], None]
    use_once(uses)
    await uses.write()
    assert await uses.use(TOKEN_ID) == Use()
    await uses.write()
    assert (await uses.use(TOKEN_ID)).requests == (RouteUse(LIST, "allowed", 1),)


@pytest.mark.parametrize(
    "outcome",
    [
        pytest.param(Lost("reset by peer"), id="the connection broke"),
        pytest.param(TimeoutError(), id="no answer in time"),
    ],
)
async def test_numbers_of_which_nobody_knows_whether_they_were_written_are_dropped(
    failing: Failing, outcome: Exception
) -> None:
    uses = Uses(failing)
    failing.outcomes = [outcome, None]
    use_once(uses)
    await uses.write()
    await uses.write()
    assert await uses.use(TOKEN_ID) == Use(last_used_on=NOW, last_address=HERE)
    assert uses.dropped == 1


async def test_a_failure_of_one_token_s_script_is_no_other_token_s(failing: Failing) -> None:
    uses = Uses(failing)
    failing.outcomes = [[ResponseError("WRONGTYPE in the middle"), OutOfMemoryError("OOM")], None]
    for token_id in (numbered(1), TOKEN_ID):
        uses.count(token_id, LIST, "allowed", HERE, NOW)
    await uses.write()
    await uses.write()
    assert (await uses.use(TOKEN_ID)).requests == (RouteUse(LIST, "allowed", 1),)
    assert (uses.dropped, failing.sent) == (1, 2)


async def test_without_use_nothing_is_sent(failing: Failing) -> None:
    await Uses(failing).write()
    assert failing.sent == 0


async def test_what_is_gathered_while_the_store_is_away_is_bounded(failing: Failing) -> None:
    uses = Uses(failing, most=5)
    for number in range(9):
        use_once(uses, route=f"GET /{number}")
        uses.count(numbered(number), LIST, "allowed", HERE, NOW)
        use_once(uses, route="GET /0")
    await uses.write()
    found = (await uses.use(TOKEN_ID)).requests
    assert RouteUse("GET /0", "allowed", 10) in found
    assert sum(each.count for each in found) + uses.dropped == 27 - 1  # one was a token's that is not there
    use_once(uses, route="GET /9")
    await uses.write()
    assert RouteUse("GET /9", "allowed", 1) in (await uses.use(TOKEN_ID)).requests


async def test_a_store_that_is_away_stops_nobody_from_reading(failing: Failing) -> None:
    failing.fake.away = True
    uses = Uses(failing)
    with captured() as logs:
        assert await uses.last_used([TOKEN_ID, numbered(1)]) == [None, None]
        assert await uses.use(TOKEN_ID) == Use()
    assert {line["log_level"] for line in logs} == {"warning"}


# Running.


class Noticed(Uses):
    """`Uses` that says when it has written."""

    def __init__(self, store: RedisStore) -> None:
        super().__init__(store)
        self.written = asyncio.Event()

    async def write(self, most: int | None = None) -> None:
        await super().write(most)
        self.written.set()


async def test_it_writes_again_and_again_until_it_is_cancelled(failing: Failing) -> None:
    uses = Noticed(failing)
    running = asyncio.ensure_future(uses.run(interval=0.0))
    for count in (1, 2):
        use_once(uses)
        for _ in range(2):  # the write that is under way may have begun before
            uses.written.clear()
            await uses.written.wait()
        assert (await uses.use(TOKEN_ID)).requests == (RouteUse(LIST, "allowed", count),)
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running


class Stuck(RedisStore):
    """A server that does not answer."""

    def __init__(self) -> None:
        super().__init__(FakePrimary(), peppers=(), audit=AuditLimits(1000, 10**9))  # type: ignore[arg-type]
        self.asked = asyncio.Event()

    @asynccontextmanager
    async def using(self, *, changes: bool = False) -> AsyncIterator[Any]:
        self.asked.set()
        await asyncio.Event().wait()
        yield changes


async def test_who_is_cancelled_before_anything_was_sent_keeps_what_he_has() -> None:
    stuck = Stuck()
    uses = Uses(stuck)
    use_once(uses)
    writing = asyncio.ensure_future(uses.write())
    await stuck.asked.wait()
    use_once(uses)
    writing.cancel()
    with pytest.raises(asyncio.CancelledError):
        await writing
    assert uses._gathered[TOKEN_ID].requests == {(LIST, "allowed"): 2}


# Whatever happens in between.

STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("count"), st.sampled_from([LIST, "GET /x", ""]), st.sampled_from(["allowed", "forbidden"])),
        st.tuples(st.sampled_from(["write", "refused", "away"]), st.just(""), st.just("")),
    ),
    max_size=30,
)


@given(STEPS)
async def test_each_use_is_counted_exactly_once_whatever_refuses_in_between(
    steps: Sequence[tuple[str, str, str]],
) -> None:
    primary = FakePrimary()
    store = Failing(primary)
    await RedisStore(primary, peppers=(), audit=AuditLimits(1000, 10**9)).initialise(  # type: ignore[arg-type]
        owner(), token(), NOW
    )
    uses = Uses(store)
    expected: dict[tuple[str, str], int] = {}
    with captured():
        for step, route, result in [*steps, ("write", "", "")]:
            if step == "count":
                use_once(uses, route, result)
                expected[route, result] = expected.get((route, result), 0) + 1
                continue
            store.outcomes = [[OutOfMemoryError("OOM")]] if step == "refused" else []
            primary.away = step == "away"
            await uses.write()
        store.outcomes = []
        await uses.write()
    found = (await uses.use(TOKEN_ID)).requests
    assert {(each.route, each.result): each.count for each in found} == expected
    await primary.close()


# Days, and the last refusals.

DAY = 86400


def day_of(now: float) -> str:
    return format_timestamp(int(now))[:10]


async def test_it_is_told_of_each_of_the_last_30_days_how_often_a_token_was_used(uses: Uses) -> None:
    for at, result in ((NOW - DAY, "allowed"), (NOW - DAY, "forbidden"), (NOW, "allowed"), (NOW, "allowed")):
        use_once(uses, result=result, now=at)
        await uses.write()
    days = await uses.days(TOKEN_ID, NOW)
    assert [day.day for day in days] == [day_of(NOW - ago * DAY) for ago in reversed(range(DAYS))]
    assert days[-2:] == [DayUse(day_of(NOW - DAY), 1, 1), DayUse(day_of(NOW), 2, 0)]
    assert not any(day.allowed or day.refused for day in days[:-2])


async def test_a_day_that_is_too_long_ago_is_forgotten(uses: Uses, redis: Redis) -> None:
    use_once(uses, now=NOW - DAYS * DAY)
    await uses.write()
    use_once(uses)
    await uses.write()
    assert await redis.hkeys(keys.use_days_key(TOKEN_ID)) == [f"{day_of(NOW)}|allowed".encode()]


async def test_of_a_token_that_was_never_used_each_day_is_empty(uses: Uses) -> None:
    assert {(day.allowed, day.refused) for day in await uses.days(TOKEN_ID, NOW)} == {(0, 0)}
    assert await uses.refused(TOKEN_ID) == []


async def test_the_last_refusals_are_told_with_reason_moment_and_address_the_newest_first(uses: Uses) -> None:
    use_once(uses)
    use_once(uses, result="forbidden", now=NOW + 1.5)
    await uses.write()
    use_once(uses, route="", result="no_route", address=THERE, now=NOW + 2)
    uses.count(TOKEN_ID, LIST, "rate_limited", HERE, NOW + 3, 7)
    await uses.write()
    assert await uses.refused(TOKEN_ID) == [
        RefusedUse(NOW + 3, "rate_limited", LIST, HERE, 7),
        RefusedUse(NOW + 2, "no_route", "", THERE),
        RefusedUse(NOW + 1, "forbidden", LIST, HERE),
    ]


@pytest.mark.parametrize("written", [False, True], ids=["at once", "one by one"])
async def test_only_so_many_refusals_are_kept(uses: Uses, written: bool) -> None:  # noqa: FBT001 - a case's data
    for number in range(MOST_REFUSED + 5):
        use_once(uses, result="forbidden", now=NOW + number)
        if written:
            await uses.write()
    await uses.write()
    assert [each.at for each in await uses.refused(TOKEN_ID)] == [
        NOW + number for number in reversed(range(5, MOST_REFUSED + 5))
    ]


async def test_refusals_take_no_more_room_than_there_is_and_the_last_of_them_stay(failing: Failing) -> None:
    uses = Uses(failing, most=5)  # a token, its route with a result, and three refusals
    for number in range(9):
        use_once(uses, result="forbidden", now=NOW + number)
    failing.outcomes = [OutOfMemoryError("OOM")]
    await uses.write()
    use_once(uses, result="forbidden", now=NOW + 9)
    await uses.write()
    assert [each.at for each in await uses.refused(TOKEN_ID)] == [NOW + 9, NOW + 8, NOW + 7]
    assert (await uses.use(TOKEN_ID)).requests == (RouteUse(LIST, "forbidden", 10),)
    for number in range(9):
        use_once(uses, result="forbidden", now=NOW + 10 + number)
    await uses.write()
    assert [each.at for each in await uses.refused(TOKEN_ID)][:4] == [NOW + 18, NOW + 17, NOW + 16, NOW + 9]


async def test_what_a_token_was_used_for_day_by_day_goes_by_itself(uses: Uses, redis: Redis) -> None:
    use_once(uses, result="forbidden")
    await uses.write()
    for key in (keys.use_days_key(TOKEN_ID), keys.use_refused_key(TOKEN_ID)):
        assert DAYS * DAY < await redis.ttl(key) <= (DAYS + 2) * DAY


async def test_a_token_that_is_gone_leaves_no_days(uses: Uses, store: RedisStore, redis: Redis) -> None:
    await store.delete(await read(store, TOKEN_ID), Action.DELETE, BY, NOW)
    use_once(uses, result="forbidden")
    await uses.write()
    assert not await redis.exists(keys.use_days_key(TOKEN_ID), keys.use_refused_key(TOKEN_ID))


async def test_a_refusal_that_cannot_be_read_is_left_out(uses: Uses, redis: Redis) -> None:
    use_once(uses, result="forbidden")
    await uses.write()
    await redis.lpush(keys.use_refused_key(TOKEN_ID), b"{", b"\xff")
    assert [each.reason for each in await uses.refused(TOKEN_ID)] == ["forbidden"]


async def test_refusals_that_were_not_written_are_written_later_in_their_order(failing: Failing) -> None:
    uses = Uses(failing)
    use_once(uses, result="forbidden")
    failing.outcomes = [OutOfMemoryError("OOM")]
    await uses.write()
    use_once(uses, result="no_route", now=NOW + 1)
    await uses.write()
    assert [each.reason for each in await uses.refused(TOKEN_ID)] == ["no_route", "forbidden"]

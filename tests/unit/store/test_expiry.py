"""Tokens leave the store `keep` seconds after they have expired, and no others do."""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Callable, Coroutine
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from redis.asyncio import Redis
from structlog.testing import capture_logs
from support.records import NOW, USER, token
from support.store_contract import BY, ME, names, numbered, read

from gateway.access.ports import Action, StoreUnavailable
from gateway.store import expiry, keys
from gateway.store.expiry import Sweeper
from gateway.store.redis_store import AuditLimits, RedisStore

Open = Callable[..., RedisStore]
KEEP = 90 * 86400
GONE = NOW - KEEP


def sweeper(store: RedisStore, now: float = NOW) -> Sweeper:
    return Sweeper(store, keep=KEEP, clock=lambda: now)


async def fill(store: RedisStore, *ends: int | None) -> None:
    """Tokens "0", "1", ..., which end then."""
    for number, end in enumerate(ends):
        made = token(token_id=numbered(number), name=str(number), owner=ME, expires_on=end)
        await store.create(made, BY, GONE - 100 + number)


async def left(store: RedisStore) -> list[str]:
    return await names(store, include_expired=True, count=5000)


@pytest.mark.parametrize(
    ("later", "left"),
    [pytest.param(-1, 3, id="not old enough"), pytest.param(60, 0, id="old enough, though nothing is written")],
)
async def test_entries_of_the_audit_leave_it_by_their_age_without_a_change(
    open_store: Open, redis: Redis, later: int, left: int
) -> None:
    store = open_store(max_age=1000)
    await fill(store, None, None, None)  # the server numbers them by its own clock
    await redis.xadd(keys.DENIED_AUDIT, {"action": "denied"})
    await sweeper(store, time.time() + 1000 + later).sweep()
    assert (await redis.xlen(keys.AUDIT), await redis.xlen(keys.DENIED_AUDIT)) == (left, min(left, 1))


@pytest.mark.parametrize(
    ("end", "stays"),
    [
        pytest.param(None, True, id="without an end"),
        pytest.param(NOW + 1, True, id="not expired"),
        pytest.param(NOW, True, id="just expired"),
        pytest.param(GONE + 1, True, id="a second early"),
        pytest.param(GONE, False, id="in the very second"),
        pytest.param(GONE - 1, False, id="long ago"),
    ],
)
async def test_a_token_leaves_when_it_was_kept_for_so_long(
    store: RedisStore,
    end: int | None,
    stays: bool,  # noqa: FBT001 - a case's data
) -> None:
    await fill(store, end)
    assert await sweeper(store).sweep() == (not stays)
    assert await left(store) == ["0"] * stays


async def test_what_leaves_is_nowhere_any_more_and_the_audit_says_so(store: RedisStore, redis: Redis) -> None:
    await fill(store, GONE)
    await redis.hset(keys.use_key(numbered(0)), "count", 1)
    assert await sweeper(store).sweep() == 1
    found = {name.decode() for name in await redis.keys()}
    assert found == {keys.META, keys.SEQUENCE, keys.AUDIT}
    entries = [fields for _, fields in await redis.xrange(keys.AUDIT)]
    assert [entry[b"action"] for entry in entries] == [b"create", b"expire"]
    assert entries[-1][b"token"] == numbered(0).encode()
    assert entries[-1][b"actor_owner"] == b""
    assert msgspec.json.decode(entries[-1][b"before"])["name"] == "0"


async def test_it_is_told_as_every_change_is(store: RedisStore) -> None:
    await fill(store, GONE)
    told: list[str] = []
    store.on_change.append(told.append)
    await sweeper(store).sweep()
    assert told == [f"token:{numbered(0)}"]


async def test_many_leave_in_several_steps_and_the_rest_waits(
    store: RedisStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(expiry, "_AT_ONCE", 3)
    monkeypatch.setattr(expiry, "_MOST", 6)
    await fill(store, *[GONE] * 8, None)
    assert await sweeper(store).sweep() == 6
    assert await left(store) == ["6", "7", "8"]
    assert await sweeper(store).sweep() == 2
    assert await left(store) == ["8"]


async def test_what_disagrees_with_its_document_is_passed_over(
    store: RedisStore, redis: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(expiry, "_AT_ONCE", 2)
    await fill(store, None, NOW + 5, GONE, GONE, GONE)
    strays = {numbered(0): 1, numbered(1): 2, "junk": 3, b"\xff": 4, numbered(3): 5}
    await redis.zadd(keys.EXPIRIES, strays)
    await redis.set(keys.token_key(numbered(3)), b"{")
    assert await sweeper(store).sweep() == 2
    assert await redis.exists(*(keys.token_key(numbered(number)) for number in range(5))) == 3


async def test_a_token_whose_end_is_moved_meanwhile_survives(open_store: Open) -> None:
    store = open_store()
    await fill(store, GONE)

    class Slow(RedisStore):
        # Somebody else is faster than what follows a read.
        async def read(self, token_ids: Any) -> Any:
            found = await store.read(token_ids)
            old = await read(store, numbered(0))
            await store.replace(old, msgspec.structs.replace(old.token, expires_on=None), Action.UPDATE, BY, NOW)
            return found

    slow = Slow(store.primary, peppers=(), audit=AuditLimits(1000, 10**9))
    assert await sweeper(slow).sweep() == 0
    assert (await read(store, numbered(0))).token.expires_on is None


async def test_several_workers_at_once_delete_each_token_once(open_store: Open, redis: Redis) -> None:
    await fill(open_store(), *[GONE] * 30)
    deleted = await asyncio.gather(*(sweeper(open_store()).sweep() for _ in range(4)))
    assert sum(deleted) == 30
    entries = [fields for _, fields in await redis.xrange(keys.AUDIT)]
    assert len([entry for entry in entries if entry[b"action"] == b"expire"]) == 30


@settings(max_examples=50)  # each takes a connection and a dozen writes
@given(ends=st.lists(st.one_of(st.none(), st.integers(GONE - 3, GONE + 3)), max_size=8), now=st.integers(NOW, NOW + 3))
async def test_exactly_what_is_due_leaves(ends: list[int | None], now: int, open_store: Open, redis: Redis) -> None:
    await redis.flushall()
    store = open_store()
    await fill(store, *ends)
    await sweeper(store, now).sweep()
    assert await left(store) == [str(number) for number, end in enumerate(ends) if end is None or end > now - KEEP]


# The task.


class Unsteady:
    """A store that fails as long as `away`; each time somebody asks, `asked` is set."""

    def __init__(self) -> None:
        self.away = True
        self.times = 0
        self.asked = asyncio.Event()

    def using(self) -> Any:
        self.times += 1
        self.asked.set()
        raise StoreUnavailable("the store did not answer" if self.away else "another reason")

    async def reached(self, times: int) -> None:
        while self.times < times:
            self.asked.clear()
            await self.asked.wait()


@contextlib.asynccontextmanager
async def running(task: Coroutine[None, None, None]) -> AsyncIterator[None]:
    """The task goes on, for 20 seconds at most; whatever ends it but the test's end fails the test."""
    async with asyncio.timeout(20), asyncio.TaskGroup() as group:
        begun = group.create_task(task)
        yield
        begun.cancel()


async def test_a_store_that_is_away_is_logged_once_and_tried_again() -> None:
    unsteady: Any = Unsteady()
    with capture_logs() as logs:
        async with running(Sweeper(unsteady, keep=KEEP, clock=lambda: NOW).run(interval=0.001)):
            await unsteady.reached(5)
    assert [(entry["log_level"], entry["error"]) for entry in logs] == [("warning", "the store did not answer")]


async def test_it_sweeps_again_and_again(store: RedisStore) -> None:
    deleted: asyncio.Queue[str] = asyncio.Queue()
    await fill(store, GONE, NOW)
    store.on_change.append(deleted.put_nowait)
    with capture_logs() as logs:
        async with running(sweeper(store).run(interval=0.001)):
            assert await deleted.get() == f"token:{numbered(0)}"
            await fill(store, GONE)
            # Its creation, and its deletion.
            assert [await deleted.get(), await deleted.get()] == [f"token:{numbered(0)}"] * 2
    assert await left(store) == ["1"]
    assert {entry["event"] for entry in logs} <= {"deleted expired tokens"}
    assert USER not in str(logs)


async def test_it_ends_when_it_is_cancelled_whatever_it_is_doing(store: RedisStore) -> None:
    await store.prepare()
    for turn in range(30):
        async with asyncio.timeout(20), asyncio.TaskGroup() as group:
            task = group.create_task(sweeper(store).run(interval=0.0001))
            await asyncio.sleep(turn * 0.0001)  # any moment will do
            task.cancel()

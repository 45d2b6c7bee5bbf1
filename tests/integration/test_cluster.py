"""A worker on a cluster: told of changes by the node that has our slot, wherever that is."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from support.records import NOW, owner, token
from support.servers import ClusterGroup
from support.store_contract import BY, read

from gateway.access.compiled import CompiledToken
from gateway.access.ports import Action, Miss
from gateway.store.feed import Feed
from gateway.store.lookup import TokenLookup
from gateway.store.primary import Primary
from gateway.store.redis_store import AuditLimits, RedisStore
from gateway.store_url import parse_store_url
from gateway.tokens.token import Status

_DEADLINE = 10.0


async def eventually(what: str, holds: Callable[[], bool]) -> None:
    end = time.monotonic() + _DEADLINE
    while not holds():
        assert time.monotonic() < end, f"not within {_DEADLINE} s: {what}"
        await asyncio.sleep(0.01)


@asynccontextmanager
async def worker(url: str) -> AsyncIterator[tuple[RedisStore, TokenLookup]]:
    primary = Primary(parse_store_url(url))
    store = RedisStore(primary, peppers=(), audit=AuditLimits(1000, 10**9))
    lookup = TokenLookup(store)
    store.on_change.append(lookup.told)
    feed = Feed(primary, store, lookup, time.monotonic)
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(lookup.run()), group.create_task(feed.run())]
        await lookup.settled(_DEADLINE)
        yield store, lookup
        while pending := [task for task in tasks if not task.done()]:
            for task in pending:
                task.cancel()
            await asyncio.wait(pending, timeout=0.1)
    await store.close()


async def change(store: RedisStore, name: str, status: Status = Status.ACTIVE) -> None:
    old = await read(store, token().id)
    await store.replace(old, token(name=name, status=status), Action.UPDATE, BY, NOW)


async def test_a_change_reaches_other_workers_before_and_after_the_slot_has_moved(cluster: ClusterGroup) -> None:
    async with worker(cluster.url) as (store, own), worker(cluster.url) as (_, other):
        await store.initialise(owner(), token(), NOW)
        for moved in (False, True):
            if moved:
                await asyncio.to_thread(cluster.move_slot)
                for lookup in (own, other):
                    await eventually("it is trusted again", lambda lookup=lookup: lookup.why_not is None)
                await change(store, "moved")
                await eventually("the change is told", lambda: isinstance(other.look(token().id), Miss))
            found = await other.fetch(token().id, None)
            assert isinstance(found, CompiledToken)
            assert isinstance(other.look(token().id), CompiledToken)
            await change(store, f"moved: {moved}", Status.DISABLED)
            await eventually("the change is told", lambda: isinstance(other.look(token().id), Miss))
            found = await other.fetch(token().id, None)
            assert isinstance(found, CompiledToken)
            assert found.status is Status.DISABLED


async def test_a_freeze_reaches_workers_of_a_cluster(cluster: ClusterGroup) -> None:
    async with worker(cluster.url) as (store, _), worker(cluster.url) as (_, other):
        await store.freeze(NOW)
        await eventually("frozen", lambda: other.frozen)
        await store.thaw(NOW)
        await eventually("thawed", lambda: not other.frozen)

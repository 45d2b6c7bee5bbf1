"""Finding the primary among real servers: one, under Sentinel, in a cluster."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack

import pytest
from support.servers import HOST, SERVICE, SLOT, ClusterGroup, SentinelGroup, SentinelServer, ValkeyServer

from gateway.access.ports import StoreUnavailable
from gateway.store import keys
from gateway.store.failure import is_elsewhere, mapped
from gateway.store.primary import Clients, Primary
from gateway.store_url import parse_store_url

Open = Callable[[str], Primary]


@pytest.fixture
async def open_primary() -> AsyncIterator[Open]:
    """`open_primary(url)`: a Primary that is closed when the test ends."""
    async with AsyncExitStack() as stack:

        def open_primary(url: str) -> Primary:
            primary = Primary(parse_store_url(url))
            stack.push_async_callback(primary.close)
            return primary

        yield open_primary


async def roundtrip(clients: Clients, value: bytes) -> None:
    """A change, a read of it and a message about it, each by its own client."""
    subscription = clients.subscriber()
    sharded = b"cluster_enabled:1" in await clients.reader.execute_command("INFO", "cluster")
    try:
        await subscription.execute_command("SSUBSCRIBE" if sharded else "SUBSCRIBE", keys.CHANGED)
        assert (await subscription.get_message(timeout=5))["type"].endswith("subscribe")
        await clients.writer.set(keys.META, value)
        await clients.writer.execute_command("SPUBLISH" if sharded else "PUBLISH", keys.CHANGED, value)
        assert (await subscription.get_message(timeout=5))["data"] == value
        await subscription.ping("nonce")
        assert (await subscription.get_message(timeout=5))["data"] == b"nonce"
        assert await clients.reader.get(keys.META) == value
    finally:
        await subscription.aclose()


def at(server: ValkeyServer) -> str:
    return f"{HOST}:{server.port}"


async def lose(primary: Primary, clients: Clients) -> None:
    """Change something until the server says that it is elsewhere, and tell it."""
    async with asyncio.timeout(20):
        while True:
            try:
                async with mapped(changes=True):
                    await clients.writer.set(keys.META, "after the failover")
            except StoreUnavailable as unavailable:
                if is_elsewhere(unavailable):
                    primary.lost(clients)
                    return


async def located(primary: Primary, server: ValkeyServer) -> Clients:
    """The clients of `server`, once the search finds it."""
    async with asyncio.timeout(20):
        while True:
            try:
                clients = await primary.clients()
            except StoreUnavailable:
                continue
            if clients.address == at(server):
                return clients
            primary.lost(clients)


async def test_one_server_takes_changes_reads_and_messages(valkey: ValkeyServer, open_primary: Open) -> None:
    clients = await open_primary(valkey.url).clients()
    assert clients.address == at(valkey)
    await roundtrip(clients, b"one")


async def test_sentinels_lead_to_the_primary(sentinels: SentinelGroup, open_primary: Open) -> None:
    clients = await open_primary(sentinels.url).clients()
    assert clients.address == at(sentinels.settle())
    await roundtrip(clients, b"sentinels")


async def test_a_cluster_leads_to_the_owner_of_our_slot(cluster: ClusterGroup, open_primary: Open) -> None:
    clients = await open_primary(cluster.url).clients()
    assert clients.address == at(cluster.owner_of_slot())
    await roundtrip(clients, b"cluster")


async def test_a_service_that_the_sentinels_do_not_watch_is_named(sentinels: SentinelGroup, open_primary: Open) -> None:
    with pytest.raises(StoreUnavailable, match=r"^the sentinels know no primary called other$"):
        await open_primary(sentinels.url.replace(SERVICE, "other")).clients()


async def test_a_stopped_sentinel_does_not_stop_the_search(sentinels: SentinelGroup, open_primary: Open) -> None:
    expected = at(sentinels.settle())
    for sentinel in sentinels.sentinels[:2]:
        sentinel.pause()
    try:
        assert (await open_primary(sentinels.url).clients()).address == expected
        sentinels.sentinels[2].pause()
        with pytest.raises(StoreUnavailable, match=r"^no sentinel answered$"):
            await open_primary(sentinels.url).clients()
    finally:
        for sentinel in sentinels.sentinels:
            sentinel.resume()


async def test_a_replica_that_a_stale_sentinel_names_is_refused(
    sentinels: SentinelGroup, open_primary: Open, tmp_path_factory: pytest.TempPathFactory
) -> None:
    sentinels.settle()
    # It goes by what it was told at its start; under a service of its own the others do not correct it.
    with SentinelServer(tmp_path_factory.mktemp("stale"), sentinels.replicas[0].port, "stale") as stale:
        url = f"redis+sentinel://{at(stale)}/stale"
        with pytest.raises(StoreUnavailable, match=r"^the server that is named as the primary is none$"):
            await open_primary(url).clients()


async def test_after_a_failover_the_old_clients_are_lost_and_the_next_are_the_new_primary_s(
    sentinels: SentinelGroup, open_primary: Open
) -> None:
    primary = open_primary(sentinels.url)
    old = await primary.clients()
    subscription = old.subscriber()
    await subscription.subscribe(keys.CHANGED)
    told: list[Clients] = []
    primary.on_lost.append(told.append)
    async with asyncio.TaskGroup() as tasks:
        change = tasks.create_task(asyncio.to_thread(sentinels.failover))
        await lose(primary, old)
    assert told == [old]
    assert old.gone
    new = await located(primary, change.result())
    await roundtrip(new, b"after the failover")
    await subscription.aclose()


async def test_the_primary_is_found_again_after_it_crashed(sentinels: SentinelGroup, open_primary: Open) -> None:
    primary = open_primary(sentinels.url)
    server = sentinels.settle()
    old = await primary.clients()
    async with asyncio.TaskGroup() as tasks:
        crash = tasks.create_task(asyncio.to_thread(sentinels.crash))
        await lose(primary, old)
    new = await located(primary, crash.result())
    sentinels.rejoin(server)
    await asyncio.to_thread(sentinels.settle)
    await roundtrip(new, b"after the crash")


async def test_a_moved_slot_is_followed(cluster: ClusterGroup, open_primary: Open) -> None:
    primary = open_primary(cluster.url)
    old = await primary.clients()
    await roundtrip(old, b"before the move")
    owner = cluster.move_slot()
    with pytest.raises(StoreUnavailable, match=r"\(MOVED\)$") as caught:
        async with mapped():
            await old.reader.get(keys.META)
    assert is_elsewhere(caught.value)
    primary.lost(old)
    new = await primary.clients()
    assert new.address == at(owner)
    assert await new.reader.get(keys.META) == b"before the move"
    await roundtrip(new, b"after the move")


async def test_a_cluster_is_known_from_any_of_its_nodes(cluster: ClusterGroup, open_primary: Open) -> None:
    owner = cluster.owner_of_slot()
    for node in cluster.servers:
        assert (await open_primary(f"redis+cluster://{at(node)}").clients()).address == at(owner)


async def test_nodes_that_do_not_answer_are_passed_over(cluster: ClusterGroup, open_primary: Open) -> None:
    owner, (stopped, other) = cluster.owner_of_slot(), cluster.others()
    url = f"redis+cluster://{at(stopped)},{at(other)}"
    stopped.pause()
    try:
        assert (await open_primary(url).clients()).address == at(owner)
    finally:
        stopped.resume()
    assert cluster.owner_of_slot(SLOT, stopped) is owner

import asyncio
import math
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import msgspec
import pytest
from redis.asyncio import Redis
from support.records import NOW, owner, token
from support.servers import HOST, ValkeyServer, scripted
from support.store_contract import BY, ME, SOMEBODY, numbered, read
from unit.telemetry.captured import captured

from gateway.access.compiled import CompiledToken
from gateway.access.ports import Action, Miss, StoreUnavailable
from gateway.reason import Deny, Reason
from gateway.store import keys
from gateway.store.feed import Feed, _pause
from gateway.store.lookup import TokenLookup
from gateway.store.primary import Clients, Primary
from gateway.store.redis_store import AuditLimits, Meta, RedisStore
from gateway.store.schema import STORE_SCHEMA
from gateway.store.trust import Sent
from gateway.store_url import parse_store_url
from gateway.tokens.token import Status

UNAVAILABLE, FROZEN = Deny(reason=Reason.STORE_UNAVAILABLE), Deny(reason=Reason.FROZEN)
A, B, C = numbered(1), numbered(2), numbered(3)
NewPrimary = Callable[[], Primary]
DEADLINE = 20.0
BEAT = 0.02
"""Seconds between two nonces: more often than in production, so that a test need not wait for them."""


async def eventually(what: str, condition: Callable[[], object]) -> None:
    """Return when `condition` is true; fails after DEADLINE."""
    try:
        async with asyncio.timeout(DEADLINE):
            while not condition():  # noqa: ASYNC110 - what is waited for has no event
                await asyncio.sleep(0.002)
    except TimeoutError:
        pytest.fail(f"not within {DEADLINE} s: {what}")


class Clock:
    """The real one; a test may let some of its time pass at once."""

    def __init__(self) -> None:
        self.skipped = 0.0

    def __call__(self) -> float:
        return time.monotonic() + self.skipped


class HeldStore(RedisStore):
    """A store whose word about itself reaches us when `open` is set, as it was when it was asked for."""

    def __init__(self, primary: Primary) -> None:
        super().__init__(primary, peppers=(), audit=AuditLimits(1000, 10**9))
        self.open = asyncio.Event()
        self.open.set()
        self.asked = asyncio.Event()

    async def meta(self, clients: Clients) -> Meta:
        found = await super().meta(clients)
        self.asked.set()
        await self.open.wait()
        return found


class Worker:
    """What a worker has of the store: the feed under test, and the look-up that it keeps true."""

    def __init__(self, primary: Primary, **options: Any) -> None:
        self.clock = Clock()
        self.store = HeldStore(primary)
        self.lookup = TokenLookup(self.store, clock=self.clock, **options)
        self.feed = Feed(primary, self.store, self.lookup, self.clock, beat=BEAT)

    @property
    def trusted(self) -> bool:
        return self.lookup.trust.holds(self.clock())

    @asynccontextmanager
    async def running(self) -> AsyncIterator["Worker"]:
        """At work, from entry to exit."""
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(self.lookup.run()), group.create_task(self.feed.run())]
            try:
                yield self
            finally:
                for task in tasks:
                    task.cancel()

    async def until_trusted(self) -> None:
        await eventually("trusted", lambda: self.trusted)

    async def until_lost(self) -> None:
        await eventually("not trusted", lambda: not self.trusted)

    async def beats(self, count: int = 2) -> None:
        """So many nonces come back that were not under way."""
        for _ in range(count):
            before = self.lookup.trust.until
            await eventually("a nonce is back", lambda: self.lookup.trust.until > before)  # noqa: B023 - awaited here

    async def fetch(self, token_id: str) -> CompiledToken | Deny | None:
        found = self.lookup.look(token_id)
        return await self.lookup.fetch(token_id, None) if isinstance(found, Miss) else found

    async def knows(self, *token_ids: str) -> None:
        """The tokens are in memory."""
        await self.until_trusted()
        for token_id in token_ids:
            assert isinstance(await self.fetch(token_id), CompiledToken)

    def remembers(self, *token_ids: str) -> list[str]:
        """Those of the tokens that are in memory."""
        return [token_id for token_id in token_ids if isinstance(self.lookup.look(token_id), CompiledToken)]


@pytest.fixture
async def other(new_primary: NewPrimary) -> RedisStore:
    """Another process's store on the same server, with two tokens of one owner and one of another."""
    store = RedisStore(new_primary(), peppers=(), audit=AuditLimits(1000, 10**9))
    await store.initialise(owner(), token(token_id=A), NOW)
    await store.create(token(token_id=B), BY, NOW)
    await store.create(token(token_id=C, owner=SOMEBODY), BY, NOW)
    return store


@pytest.fixture
async def worker(new_primary: NewPrimary, other: RedisStore) -> AsyncIterator[Worker]:  # noqa: ARG001 - it is filled first
    """A worker that knows the three tokens."""
    async with Worker(new_primary()).running() as found:
        await found.knows(A, B, C)
        yield found


# The order of things.


async def test_it_is_subscribed_then_forgets_and_then_is_trusted(new_primary: NewPrimary) -> None:
    worker = Worker(new_primary())
    told: list[tuple[str, bool, bool]] = []

    def note(what: str) -> None:
        told.append((what, worker.feed._trust._subscribed, worker.lookup._trusted.is_set()))

    worker.lookup.on_change.append(lambda: note("forgotten"))
    async with worker.running():
        await worker.until_trusted()
        note("trusted")
    assert told == [("forgotten", True, False), ("trusted", True, True)]


async def test_a_nonce_that_is_not_answered_makes_no_trust(new_primary: NewPrimary) -> None:
    worker = Worker(new_primary())
    worker.store.open.clear()
    async with worker.running():
        await worker.store.asked.wait()  # subscribed, and no nonce was sent
        assert not worker.trusted
        assert worker.lookup.look(A) == UNAVAILABLE


async def test_trust_is_renewed_again_and_again_and_nothing_is_forgotten(worker: Worker) -> None:
    flushes = worker.lookup.counts.flushes
    await worker.beats(2)
    assert worker.remembers(A, B, C) == [A, B, C]
    assert worker.lookup.counts.flushes == flushes


# Messages.


async def disable(other: RedisStore) -> None:
    old = await read(other, A)
    await other.replace(old, msgspec.structs.replace(old.token, status=Status.DISABLED), Action.UPDATE, BY, NOW)


async def delete(other: RedisStore) -> None:
    await other.delete(await read(other, A), Action.DELETE, BY, NOW)


async def narrow_owner(other: RedisStore) -> None:
    found = await other.get_owner(ME)
    assert found is not None
    await other.change_owner(ME, found[1], owner([]), Action.OWNER_UPDATE, BY, NOW)


async def end_owner(other: RedisStore) -> None:
    found = await other.get_owner(ME)
    assert found is not None
    await other.change_owner(ME, found[1], None, Action.OWNER_DELETE, BY, NOW)


async def recover(other: RedisStore) -> None:
    await other.recover(owner(), token(token_id=numbered(9)), NOW)


@pytest.mark.parametrize(
    ("change", "left"),
    [
        pytest.param(disable, [B, C], id="a token disabled"),
        pytest.param(delete, [B, C], id="a token deleted"),
        pytest.param(narrow_owner, [C], id="an owner narrowed"),
        pytest.param(end_owner, [C], id="an owner ended"),
        pytest.param(recover, [C], id="an owner recovered"),
    ],
)
async def test_a_message_forgets_exactly_what_has_changed(
    worker: Worker, other: RedisStore, change: Callable[[RedisStore], Awaitable[None]], left: list[str]
) -> None:
    flushes = worker.lookup.counts.flushes
    await change(other)
    await eventually("forgotten", lambda: worker.remembers(A, B, C) == left)
    await worker.beats(1)
    assert worker.lookup.counts.flushes == flushes


async def test_a_new_token_is_known_at_once_though_its_id_was_known_as_unknown(
    worker: Worker, other: RedisStore
) -> None:
    new = numbered(9)
    assert await worker.fetch(new) is None
    await other.create(token(token_id=new), BY, NOW)
    await eventually("forgotten", lambda: worker.lookup.look(new) is Miss.MISS)
    assert isinstance(await worker.fetch(new), CompiledToken)


@pytest.mark.parametrize(
    "message",
    [
        pytest.param(b"", id="empty"),
        pytest.param(b" ", id="a space"),
        pytest.param(b"junk", id="no number"),
        pytest.param(b"-1 token:x", id="a negative number"),
        pytest.param(b"1.5 token:x", id="a fraction"),
        pytest.param(b"9" * 5000 + b" token:x", id="a number beyond all numbers"),
        pytest.param(b"\xff\xfe token:x", id="not UTF-8"),
        pytest.param(b"4 \xff\xfe", id="what changed is not UTF-8"),
        pytest.param(b"4 zone:x", id="what only a later version knows"),
        pytest.param(b"9 token:x", id="a gap"),
        pytest.param(b"3 token:x", id="doubled"),
        pytest.param(b"1 token:x", id="an older number"),
        pytest.param(b"9" * 19 + b" token:x", id="a number far away"),
    ],
)
async def test_a_message_that_cannot_be_so_forgets_everything_and_the_feed_goes_on(
    worker: Worker, other: RedisStore, redis: Redis, message: bytes
) -> None:
    with captured() as logs:
        await redis.publish(keys.CHANGED, message)
        await eventually("forgotten", lambda: not worker.remembers(A, B, C))
        await worker.knows(A, B)
        await delete(other)
        await eventually("forgotten", lambda: not worker.remembers(A))
    assert logs == []


async def test_a_change_that_was_not_told_is_noticed_by_its_number(worker: Worker, redis: Redis) -> None:
    await redis.delete(keys.token_key(A))
    await redis.incr(keys.SEQUENCE)
    await eventually("forgotten", lambda: not worker.remembers(A, B, C))
    assert await worker.fetch(A) is None
    assert isinstance(await worker.fetch(B), CompiledToken)


async def test_in_a_cluster_messages_travel_with_the_slot(new_primary: NewPrimary, other: RedisStore) -> None:
    primary = new_primary()
    primary.sharded = other.primary.sharded = True
    async with Worker(primary).running() as worker:
        await worker.knows(A, B)
        await delete(other)
        await eventually("forgotten", lambda: worker.remembers(A, B) == [B])


async def test_a_token_that_was_revoked_while_it_was_read_is_not_remembered(worker: Worker, other: RedisStore) -> None:
    for number in range(100):
        name = numbered(1000 + number)
        await other.create(token(token_id=name), BY, NOW)
        record = await read(other, name)
        await asyncio.gather(worker.fetch(name), other.delete(record, Action.DELETE, BY, NOW))
        last = int(await (await other.primary.clients()).reader.get(keys.SEQUENCE))
        await eventually("told", lambda: worker.lookup.trust.last == last)  # noqa: B023 - awaited here
        assert not worker.remembers(name)


# Another store than it was.


async def test_an_emptied_store_knows_no_token_and_gets_a_new_generation(worker: Worker, redis: Redis) -> None:
    before = await redis.hget(keys.META, "generation")
    with captured() as logs:
        await redis.flushall()
        await eventually("forgotten", lambda: not worker.remembers(A, B, C))
        await worker.beats(2)
    assert [await worker.fetch(each) for each in (A, B, C)] == [None] * 3
    after = await redis.hget(keys.META, "generation")
    assert after not in (None, before)
    assert await redis.hget(keys.META, "schema") == str(STORE_SCHEMA).encode()
    assert [each["event"] for each in logs] == ["the store is empty: no token is known"]


@pytest.mark.parametrize(
    "restore",
    [
        pytest.param(lambda redis: redis.set(keys.SEQUENCE, "1"), id="an older number"),
        pytest.param(lambda redis: redis.delete(keys.SEQUENCE), id="no number"),
        pytest.param(lambda redis: redis.hset(keys.META, "generation", "another"), id="another generation"),
        pytest.param(lambda redis: redis.hset(keys.META, "generation", b"\xff"), id="a generation that is no text"),
    ],
)
async def test_a_restored_copy_is_noticed_and_everything_read_again(
    worker: Worker, redis: Redis, restore: Callable[[Redis], Awaitable[object]]
) -> None:
    await redis.set(keys.token_key(A), msgspec.json.encode(token(token_id=A, status=Status.DISABLED)))
    await restore(redis)
    await eventually("forgotten", lambda: not worker.remembers(A, B, C))
    found = await worker.fetch(A)
    assert isinstance(found, CompiledToken)
    assert found.status is Status.DISABLED
    await worker.knows(B)
    await worker.beats(2)
    assert worker.remembers(B) == [B]


@pytest.mark.parametrize(
    ("spoil", "mend", "reason"),
    [
        pytest.param(
            lambda redis: redis.hset(keys.META, "schema", STORE_SCHEMA + 1),
            lambda redis: redis.hset(keys.META, "schema", STORE_SCHEMA),
            f"the store has schema {STORE_SCHEMA + 1}, this version knows {STORE_SCHEMA}",
            id="a newer layout",
        ),
        pytest.param(
            lambda redis: redis.set(keys.SEQUENCE, "junk"),
            lambda redis: redis.set(keys.SEQUENCE, 3),
            "what the store answered cannot be read",
            id="a number that is none",
        ),
        pytest.param(
            lambda redis: redis.lpush(keys.SEQUENCE, "1"),
            lambda redis: redis.delete(keys.SEQUENCE),
            "the store refused a command (WRONGTYPE)",
            id="a number that is a list",
        ),
    ],
)
async def test_a_store_that_says_nonsense_is_not_believed_for_that_reason_until_it_is_mended(
    worker: Worker,
    redis: Redis,
    spoil: Callable[[Redis], Awaitable[object]],
    mend: Callable[[Redis], Awaitable[object]],
    reason: str,
) -> None:
    believed = worker.lookup.trust.until
    await redis.delete(keys.SEQUENCE)
    await spoil(redis)
    await eventually("its reason is told", lambda: reason in str(worker.lookup.why_not))
    assert worker.lookup.trust.until < believed  # at once, not when it would have lapsed
    assert worker.lookup.look(A) in (UNAVAILABLE, Miss.MISS)
    await redis.delete(keys.SEQUENCE)
    await mend(redis)
    await worker.until_trusted()
    assert isinstance(await worker.fetch(A), CompiledToken)


async def test_a_worker_that_begins_on_a_newer_layout_is_never_trusted(
    new_primary: NewPrimary,
    other: RedisStore,
    redis: Redis,
) -> None:
    await read(other, A)
    await redis.hset(keys.META, "schema", STORE_SCHEMA + 1)
    async with Worker(new_primary()).running() as worker:
        await eventually("its reason is told", lambda: "this version knows" in str(worker.lookup.why_not))
        assert worker.lookup.look(A) == UNAVAILABLE
        await redis.hset(keys.META, "schema", STORE_SCHEMA)
        await worker.until_trusted()


# Frozen.


async def test_a_freeze_is_obeyed_as_a_message_and_so_is_the_thaw(worker: Worker, other: RedisStore) -> None:
    told: list[bool] = []
    worker.lookup.on_change.append(lambda: told.append(worker.lookup.frozen))
    await other.freeze(NOW)
    await eventually("frozen", lambda: worker.lookup.look(A) == FROZEN)
    await worker.beats(2)
    assert worker.lookup.look(A) == FROZEN
    await other.thaw(NOW)
    await eventually("thawed", lambda: worker.remembers(A))
    await worker.beats(2)
    assert worker.remembers(A, B, C) == [A, B, C]
    assert told == [True, False]


async def test_a_worker_that_begins_while_it_is_frozen_is_frozen(new_primary: NewPrimary, other: RedisStore) -> None:
    await other.freeze(NOW)
    async with Worker(new_primary()).running() as worker:
        await worker.until_trusted()
        assert [worker.lookup.look(each) for each in (A, numbered(9))] == [FROZEN] * 2


@pytest.mark.parametrize("frozen", [pytest.param(True, id="a freeze"), pytest.param(False, id="a thaw")])
async def test_what_was_done_without_a_connection_is_found_on_the_next_one(
    worker: Worker,
    other: RedisStore,
    redis: Redis,
    frozen: bool,  # noqa: FBT001 - a case's data
) -> None:
    if not frozen:
        await other.freeze(NOW)
        await eventually("frozen", lambda: worker.lookup.frozen)
    await hset_frozen(redis, frozen=frozen)
    worker.store.primary.lost(await worker.store.primary.clients())
    await eventually("known", lambda: worker.trusted and worker.lookup.frozen is frozen)


async def hset_frozen(redis: Redis, *, frozen: bool) -> None:
    """As if the change had been told to nobody."""
    if frozen:
        await redis.hset(keys.META, "frozen", "1")
    else:
        await redis.hdel(keys.META, "frozen")


@pytest.mark.parametrize("frozen", [True, False])
async def test_a_freeze_that_was_told_to_nobody_is_found_at_the_next_question_and_told(
    worker: Worker,
    redis: Redis,
    frozen: bool,  # noqa: FBT001 - a case's data
) -> None:
    worker.lookup.frozen = not frozen
    told: list[bool] = []
    worker.lookup.on_change.append(lambda: told.append(worker.lookup.frozen))
    await hset_frozen(redis, frozen=frozen)
    await eventually("known", lambda: told)
    assert told == [frozen]


@pytest.mark.parametrize(
    ("before", "meanwhile", "frozen"),
    [
        pytest.param([], ["freeze"], True, id="a freeze"),
        pytest.param(["freeze"], ["thaw"], False, id="a thaw"),
        pytest.param([], ["freeze", "thaw"], False, id="both"),
    ],
)
async def test_what_is_told_between_the_question_and_its_answer_is_not_undone(
    worker: Worker,
    other: RedisStore,
    before: list[str],
    meanwhile: list[str],
    frozen: bool,  # noqa: FBT001 - a case's data
) -> None:
    for change in before:
        await getattr(other, change)(NOW)
        await eventually("told", lambda: worker.lookup.frozen)
    worker.store.open.clear()
    worker.store.asked.clear()
    await worker.store.asked.wait()  # the answer says what was before
    before_it = worker.lookup.trust.last or 0
    for change in meanwhile:
        await getattr(other, change)(NOW)
    await eventually("told", lambda: worker.lookup.trust.last == before_it + len(meanwhile))
    seen: list[bool] = []
    worker.lookup.on_change.append(lambda: seen.append(worker.lookup.frozen))
    worker.store.open.set()
    await worker.beats(2)
    assert worker.lookup.frozen is frozen
    assert seen == []


async def test_a_freeze_after_a_thaw_is_not_undone_by_an_answer_from_between_them(
    worker: Worker, other: RedisStore
) -> None:
    await other.freeze(NOW)
    await eventually("frozen", lambda: worker.lookup.frozen)
    held = worker.lookup.told
    worker.lookup.told = lambda what: None if what == "thaw" else held(what)  # type: ignore[method-assign]
    await other.thaw(NOW)
    worker.store.open.clear()
    worker.store.asked.clear()
    await worker.store.asked.wait()  # the answer says: thawed
    last = worker.lookup.trust.last or 0
    await other.freeze(NOW)
    await eventually("told", lambda: worker.lookup.trust.last == last + 1)
    worker.lookup.told = held  # type: ignore[method-assign]
    thaws: list[bool] = []
    worker.lookup.on_change.append(lambda: thaws.append(worker.lookup.frozen))
    worker.store.open.set()
    await worker.beats(2)
    assert worker.lookup.frozen
    assert False not in thaws


# Connections that break, and servers that do.


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ValkeyServer]:
    """A real server that a test may stop, end and start again."""
    with ValkeyServer(tmp_path_factory.mktemp("server"), appendonly="yes", appendfsync="always") as found:
        yield found
        found.resume()


@asynccontextmanager
async def on(server: ValkeyServer, **options: Any) -> AsyncIterator[tuple[Worker, RedisStore]]:
    """A worker on `server` that knows two tokens, and the store of another process."""
    primaries = [Primary(parse_store_url(server.url)) for _ in range(2)]
    server.client().flushall()
    other = RedisStore(primaries[0], peppers=(), audit=AuditLimits(1000, 10**9))
    await other.initialise(owner(), token(token_id=A), NOW)
    await other.create(token(token_id=B), BY, NOW)
    try:
        async with Worker(primaries[1], **options).running() as worker:
            await worker.knows(A, B)
            yield worker, other
    finally:
        for primary in primaries:
            await primary.close()


async def test_a_feed_that_is_cancelled_leaves_no_subscription(server: ValkeyServer) -> None:
    def listeners() -> int:
        return int(server.client().publish(keys.CHANGED, "is anybody there?"))

    async with on(server) as (worker, _):
        assert listeners() == 1
    assert not worker.trusted
    await eventually("unsubscribed", lambda: listeners() == 0)


async def test_a_killed_connection_refuses_no_request(server: ValkeyServer) -> None:
    async with on(server) as (worker, _):
        found: list[object] = []
        stop = asyncio.Event()

        async def ask(token_id: str) -> None:
            while not stop.is_set():
                found.append(await worker.fetch(token_id))
                await asyncio.sleep(0)

        async with asyncio.TaskGroup() as group:
            for token_id in (A, B, A, B):
                group.create_task(ask(token_id))
            flushes = worker.lookup.counts.flushes
            assert server.client().execute_command("CLIENT", "KILL", "TYPE", "pubsub") == 1
            await eventually("forgotten", lambda: worker.lookup.counts.flushes > flushes)
            await worker.until_trusted()
            stop.set()
        assert len(found) >= 4
        assert all(isinstance(each, CompiledToken) for each in found)


async def test_all_connections_killed_are_made_anew(server: ValkeyServer) -> None:
    async with on(server) as (worker, other):
        server.client().execute_command("CLIENT", "KILL", "TYPE", "pubsub")
        server.client().execute_command("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
        await worker.until_lost()
        await worker.knows(A)
        await narrow_owner(other)
        await eventually("forgotten", lambda: not worker.remembers(A))


async def test_a_server_that_stops_answering_is_not_believed_and_is_believed_again_when_it_answers(
    server: ValkeyServer,
) -> None:
    async with on(server) as (worker, other):
        with captured() as logs:
            server.pause()
            worker.clock.skipped += 3
            assert worker.lookup.look(A) == UNAVAILABLE
            await eventually("told", lambda: logs)
            server.resume()
            await worker.until_trusted()
        assert [each["event"] for each in logs] == ["store lost", "store trusted"]
        assert not worker.remembers(A, B)
        await worker.knows(A)
        await disable(other)
        await eventually("forgotten", lambda: not worker.remembers(A))


async def test_a_server_that_stopped_serves_known_tokens_for_the_grace(server: ValkeyServer) -> None:
    async with on(server, on_outage="serve-cached", stale_grace=30.0) as (worker, _):
        server.pause()
        worker.clock.skipped += 3
        assert worker.remembers(A, B) == [A, B]
        assert worker.lookup.look(C) == UNAVAILABLE
        assert worker.lookup.why_not is None
        worker.clock.skipped += 30
        assert worker.lookup.look(A) == UNAVAILABLE
        server.resume()
        await worker.until_trusted()


@pytest.mark.parametrize("end", [ValkeyServer.stop, ValkeyServer.kill], ids=["ended", "killed"])
async def test_a_server_that_was_started_again_is_believed_again(
    server: ValkeyServer, end: Callable[[ValkeyServer], None]
) -> None:
    async with on(server) as (worker, other):
        with captured() as logs:
            end(server)
            await eventually("refused", lambda: worker.lookup.look(A) == UNAVAILABLE)
            assert worker.lookup.why_not == "store: the store did not answer"
            server.start()
            await worker.until_trusted()
        assert [each["event"] for each in logs] == ["store lost", "store trusted"]
        await worker.knows(A, B)
        await delete(other)
        await eventually("forgotten", lambda: worker.remembers(A, B) == [B])


async def test_a_worker_that_begins_without_a_store_finds_it_later(tmp_path: Path) -> None:
    server = ValkeyServer(tmp_path)
    primary = Primary(parse_store_url(server.url))
    async with Worker(primary).running() as worker:
        await eventually("it says so", lambda: worker.lookup.why_not == "store: the store did not answer")
        assert worker.lookup.look(A) == UNAVAILABLE
        with server:
            await worker.until_trusted()
            assert await worker.fetch(A) is None
    await primary.close()


def deaf(words: list[bytes]) -> bytes:
    """A server that answers everything but nonces: as if the connection for messages had been cut, and nobody told."""
    match [word.decode() for word in words]:
        case ["SUBSCRIBE", name]:
            return f"*3\r\n$9\r\nsubscribe\r\n${len(name)}\r\n{name}\r\n:1\r\n".encode()
        case ["HMGET", _, *fields]:
            known = {"schema": str(STORE_SCHEMA), "generation": "g"}
            values = [f"${len(known[each])}\r\n{known[each]}" if each in known else "$-1" for each in fields]
            return "\r\n".join([f"*{len(fields)}", *values, ""]).encode()
        case ["GET" | "DEL", _]:
            return b"$1\r\n0\r\n"
        case _:
            return b""


async def test_a_connection_on_which_no_nonce_comes_back_is_given_up_after_three_seconds() -> None:
    async with scripted(deaf) as server:
        primary = Primary(parse_store_url(f"redis://{HOST}:{server.port}"))

        def came(name: bytes) -> int:
            return sum(words[0] == name for words in server.commands)

        async with Worker(primary).running() as worker:
            await eventually("a nonce", lambda: came(b"PING"))
            assert came(b"SUBSCRIBE") == 1
            worker.clock.skipped += 3
            await eventually("subscribed anew", lambda: came(b"SUBSCRIBE") == 2)
            assert worker.lookup.why_not == "store: the store did not answer"
        await primary.close()


async def test_a_primary_that_became_a_replica_is_not_believed(server: ValkeyServer) -> None:
    async with on(server) as (worker, _):
        believed = worker.lookup.trust.until
        server.client().replicaof("127.0.0.1", 1)
        await eventually(
            "it says so", lambda: worker.lookup.why_not == "store: the store is a read-only replica (READONLY)"
        )
        assert worker.lookup.trust.until < believed  # at once, not when it would have lapsed
        assert worker.lookup.look(A) in (UNAVAILABLE, Miss.MISS)
        server.client().replicaof("NO", "ONE")
        await worker.until_trusted()
        await worker.knows(A)


async def test_a_full_disk_ends_no_trust_and_the_answers_count_in_their_order(tmp_path: Path) -> None:
    with ValkeyServer(tmp_path, save="3600 1") as server:
        async with on(server) as (worker, other):
            await eventually("saved", lambda: not server.client().info("persistence")["rdb_bgsave_in_progress"])
            (tmp_path / "dump.rdb").unlink(missing_ok=True)
            (tmp_path / "dump.rdb").mkdir()
            server.client().bgsave()
            await eventually("full", lambda: server.client().info("persistence")["rdb_last_bgsave_status"] == "err")
            with pytest.raises(StoreUnavailable, match="MISCONF"):
                await disable(other)
            await worker.beats(2)
            assert worker.remembers(A, B) == [A, B]
            worker.lookup.told(f"token:{A}")
            assert isinstance(await worker.fetch(A), CompiledToken)
            (tmp_path / "dump.rdb").rmdir()
            server.client().save()
            await disable(other)
            await eventually("forgotten", lambda: worker.remembers(A, B) == [B])
            await worker.beats(2)


# Its end.


class Stubborn(RedisStore):
    """A store that answers no question, and fails when nobody wants the answer any more, when `let_go` is set."""

    def __init__(self, primary: Primary) -> None:
        super().__init__(primary, peppers=(), audit=AuditLimits(1000, 10**9))
        self.asked, self.left, self.let_go = asyncio.Event(), asyncio.Event(), asyncio.Event()

    async def meta(self, clients: Clients) -> Meta:  # noqa: ARG002
        self.asked.set()
        try:
            await asyncio.Event().wait()
        finally:
            self.left.set()
            await self.let_go.wait()
            raise StoreUnavailable("the connection broke")


@pytest.mark.parametrize("broken", [pytest.param(False, id="when it is"), pytest.param(True, id="while it ends")])
async def test_a_feed_whose_session_fails_when_it_is_cancelled_ends_all_the_same(
    new_primary: NewPrimary,
    broken: bool,  # noqa: FBT001 - a case's data
) -> None:
    primary = new_primary()
    store = Stubborn(primary)
    lookup = TokenLookup(store)
    async with asyncio.timeout(DEADLINE), asyncio.TaskGroup() as group:
        running = group.create_task(Feed(primary, store, lookup, time.monotonic, beat=BEAT).run())
        await store.asked.wait()
        if broken:
            primary.lost(await primary.clients())
            await store.left.wait()
        running.cancel()
        store.let_go.set()
        await asyncio.wait([running])
    assert running.cancelled()


# What a nonce is worth.


@pytest.fixture
async def idle(new_primary: NewPrimary) -> tuple[Worker, Clients]:
    """A worker whose feed does nothing by itself."""
    worker = Worker(new_primary())
    worker.lookup.trust.begin()
    return worker, await worker.store.primary.clients()


@pytest.mark.parametrize("nonce", ["one", "never sent"])
async def test_a_nonce_that_makes_no_trust_is_not_called_trust(idle: tuple[Worker, Clients], nonce: str) -> None:
    worker, clients = idle
    with captured() as logs:
        worker.lookup.lost("the store is a read-only replica (READONLY)")
        worker.lookup.trust.doubt(worker.clock())
        worker.feed._returned(nonce, clients)
    assert [each["event"] for each in logs] == ["store lost"]
    assert worker.lookup.why_not == "store: the store is a read-only replica (READONLY)"


async def test_a_lapse_that_ended_before_anybody_noticed_is_told_all_the_same(idle: tuple[Worker, Clients]) -> None:
    """Requests were refused meanwhile."""
    worker, clients = idle
    trust = worker.lookup.trust
    with captured() as logs:
        for skipped in (0.0, 1.0, 3.0):
            worker.clock.skipped += skipped
            trust.sent("nonce", Sent(at=worker.clock(), meta=Meta("g", None, 0), last=trust.last))
            worker.feed._returned("nonce", clients)
    assert [each["event"] for each in logs] == ["store trusted", "store lost", "store trusted"]


# Pauses.


@pytest.mark.parametrize("failures", [1, 2, 5, 10, 100, 10_000])
def test_a_pause_is_short_at_first_and_never_longer_than_a_second(failures: int) -> None:
    pauses = [_pause(failures) for _ in range(100)]
    most = min(1.0, 0.05 * 2 ** min(failures, 20))
    assert all(most / 2 <= pause <= most for pause in pauses)
    assert len(set(pauses)) > 1
    assert not math.isinf(max(pauses))

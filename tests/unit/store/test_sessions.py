"""Where sessions are kept: what is asked of the real store, of both servers, and of the fake that other tests use."""

from collections.abc import Awaitable, Callable
from typing import NamedTuple

import msgspec
import pytest
from redis.asyncio import Redis
from support.memory_sessions import MemorySessions
from support.records import NOW, TOKEN_ID, secret_of

from gateway.access.ports import StoreUnavailable
from gateway.server.session import LONGEST, SessionStore
from gateway.store import keys
from gateway.store.redis_store import RedisStore
from gateway.store.sessions import MOST_OF_ONE, SESSION_SCHEMA, Session, StoredSessions
from gateway.tokens.digest import NO_PEPPERS

DIGEST, OTHER = "d" * 64, "e" * 64
SESSION = Session(SESSION_SCHEMA, TOKEN_ID, NO_PEPPERS.sign(secret_of()), begun=NOW, seen=NOW)


class Kept(NamedTuple):
    """Sessions, and what freezes the gateway that they are of."""

    sessions: SessionStore
    freeze: Callable[[], Awaitable[None]]


@pytest.fixture(params=["stored", "memory"])
def kept(request: pytest.FixtureRequest, store: RedisStore) -> Kept:
    memory = MemorySessions()

    async def freeze_store() -> None:
        await store.freeze(NOW)
        await store.thaw(NOW)

    async def freeze_memory() -> None:
        memory.freeze()

    return Kept(StoredSessions(store), freeze_store) if request.param == "stored" else Kept(memory, freeze_memory)


async def test_what_was_begun_is_found_under_its_digest_alone(kept: Kept) -> None:
    await kept.sessions.begin(DIGEST, SESSION, 60)
    assert await kept.sessions.get(DIGEST) == SESSION
    assert await kept.sessions.get(OTHER) is None


async def test_what_has_ended_is_gone_and_stays_away(kept: Kept) -> None:
    await kept.sessions.begin(DIGEST, SESSION, 60)
    assert await kept.sessions.end(DIGEST) == SESSION
    await kept.sessions.touch(DIGEST, SESSION, 60)  # of a request that began before
    assert await kept.sessions.get(DIGEST) is None


async def test_to_end_what_is_not_there_is_no_error(kept: Kept) -> None:
    assert await kept.sessions.end(DIGEST) is None


async def test_what_is_touched_is_as_it_was_told(kept: Kept) -> None:
    await kept.sessions.begin(DIGEST, SESSION, 60)
    seen = msgspec.structs.replace(SESSION, seen=NOW + 9)
    await kept.sessions.touch(DIGEST, seen, 60)
    assert await kept.sessions.get(DIGEST) == seen


async def test_a_freeze_ends_all_that_were_there_for_good(kept: Kept) -> None:
    await kept.sessions.begin(DIGEST, SESSION, 60)
    await kept.freeze()
    assert await kept.sessions.get(DIGEST) is None
    assert await kept.sessions.end(DIGEST) is None
    await kept.sessions.begin(OTHER, SESSION, 60)
    assert await kept.sessions.get(OTHER) is not None
    await kept.freeze()
    assert await kept.sessions.get(OTHER) is None


async def test_of_one_token_the_last_sessions_are_kept_and_those_of_others_are_not_counted(kept: Kept) -> None:
    other = msgspec.structs.replace(SESSION, token_id="0" * 32)
    await kept.sessions.begin(OTHER, other, 60)
    digests = [f"{number:064x}" for number in range(MOST_OF_ONE + 2)]
    for digest in digests:
        await kept.sessions.begin(digest, SESSION, 60)
    found = [await kept.sessions.get(digest) for digest in digests]
    assert found == [None, None, *[SESSION] * MOST_OF_ONE]
    await kept.sessions.touch(digests[0], SESSION, 60)
    assert await kept.sessions.get(digests[0]) is None
    assert await kept.sessions.get(OTHER) == other


async def test_however_often_a_token_signs_in_the_store_grows_no_further(store: RedisStore, redis: Redis) -> None:
    sessions = StoredSessions(store)
    for number in range(MOST_OF_ONE + 5):
        await sessions.begin(f"{number:064x}", SESSION, 60)
    assert len(await redis.keys(f"{keys.session_key('')}*")) == MOST_OF_ONE
    assert await redis.llen(keys.sessions_key(TOKEN_ID)) == MOST_OF_ONE
    assert await redis.ttl(keys.sessions_key(TOKEN_ID)) > LONGEST


async def test_a_session_goes_by_itself(store: RedisStore, redis: Redis) -> None:
    sessions = StoredSessions(store)
    await sessions.begin(DIGEST, SESSION, 60)
    assert 0 < await redis.ttl(keys.session_key(DIGEST)) <= 60
    await sessions.touch(DIGEST, SESSION, 600)
    assert 60 < await redis.ttl(keys.session_key(DIGEST)) <= 600


@pytest.mark.parametrize(
    "raw",
    [
        pytest.param(b"{", id="no JSON"),
        pytest.param(b"\xff", id="no UTF-8"),
        pytest.param(msgspec.json.encode(msgspec.structs.replace(SESSION, schema=99)), id="a newer version's"),
    ],
)
async def test_what_cannot_be_read_is_an_outage_and_no_session(raw: bytes, store: RedisStore, redis: Redis) -> None:
    await redis.set(keys.session_key(DIGEST), raw)
    with pytest.raises(StoreUnavailable):
        await StoredSessions(store).get(DIGEST)
    assert await StoredSessions(store).end(DIGEST) is None
    assert not await redis.exists(keys.session_key(DIGEST))


async def test_freezes_that_nobody_can_count_are_an_outage(store: RedisStore, redis: Redis) -> None:
    await StoredSessions(store).begin(DIGEST, SESSION, 60)
    await redis.hset(keys.META, "freezes", "many")
    with pytest.raises(StoreUnavailable):
        await StoredSessions(store).get(DIGEST)
    with pytest.raises(StoreUnavailable):
        await StoredSessions(store).end(DIGEST)
    assert not await redis.exists(keys.session_key(DIGEST))

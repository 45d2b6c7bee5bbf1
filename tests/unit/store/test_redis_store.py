import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import pytest
from redis.asyncio import Redis
from support.records import NOW, USER, account, owner, policy, secret_of, token
from support.store_contract import (
    BY,
    ME,
    SOMEBODY,
    MemoryTokenStore,
    TokenStoreContract,
    names,
    numbered,
    read,
)

from gateway.access.ports import Action, Actor, Conflict, StoreUnavailable, TokenStore
from gateway.access.principal import Record
from gateway.store import keys
from gateway.store.embedded import EmbeddedServer
from gateway.store.redis_store import AuditLimits, RedisStore, StoreRefused, connect
from gateway.tokens.token import SCHEMA

Open = Callable[..., RedisStore]
Change = Callable[[RedisStore], Awaitable[object]]


class TestRedisStore(TokenStoreContract):
    """With `store` from conftest: fakeredis and Valkey alike."""


class TestMemoryTokenStore(TokenStoreContract):
    """The fake that other tests use."""

    @pytest.fixture
    def store(self) -> TokenStore:
        return MemoryTokenStore()


# Preparing.


async def test_a_store_is_marked_as_ours_before_anything_is_read_or_written(store: RedisStore, redis: Redis) -> None:
    await store.get("0" * 32)
    meta = await redis.hgetall(keys.META)
    assert meta[b"schema"] == str(SCHEMA).encode()
    assert len(meta[b"generation"]) == 32
    assert b"peppers" not in meta


async def test_the_generation_stays_however_often_the_store_is_opened(open_store: Open, redis: Redis) -> None:
    await open_store().prepare()
    before = await redis.hget(keys.META, "generation")
    await open_store().prepare()
    assert await redis.hget(keys.META, "generation") == before


async def test_every_key_carries_the_one_hash_tag(store: RedisStore, redis: Redis) -> None:
    await store.initialise(owner(), token(expires_on=NOW + 9), NOW)
    found = {key.decode() for key in await redis.keys()}
    assert found == {
        "{zg}:meta",
        "{zg}:seq",
        "{zg}:audit",
        "{zg}:expiries",
        "{zg}:owners",
        f"{{zg}}:owner:user:{USER}",
        f"{{zg}}:tokens:user:{USER}",
        f"{{zg}}:token:{token().id}",
    }


async def test_a_store_of_a_newer_schema_is_refused(open_store: Open, redis: Redis) -> None:
    await redis.hset(keys.META, "schema", SCHEMA + 1)
    with pytest.raises(
        StoreRefused, match=rf"^the store has schema {SCHEMA + 1}, this version knows {SCHEMA}: [^\n]+$"
    ):
        await open_store().prepare()


async def test_a_store_whose_mark_is_junk_is_refused_or_unavailable(open_store: Open, redis: Redis) -> None:
    await redis.hset(keys.META, "schema", "junk")
    with pytest.raises((StoreRefused, StoreUnavailable)):
        await open_store().prepare()


@pytest.mark.parametrize(
    ("before", "now", "after"),
    [
        pytest.param((), (), set(), id="never one"),
        pytest.param((), ("aaaaaaaa",), {"aaaaaaaa"}, id="the first"),
        pytest.param(("aaaaaaaa",), ("aaaaaaaa",), {"aaaaaaaa"}, id="the same"),
        pytest.param(("aaaaaaaa",), ("bbbbbbbb", "aaaaaaaa"), {"aaaaaaaa", "bbbbbbbb"}, id="a new one beside it"),
        pytest.param(("aaaaaaaa", "bbbbbbbb"), ("bbbbbbbb",), {"aaaaaaaa", "bbbbbbbb"}, id="an old one gone"),
    ],
)
async def test_the_store_lists_every_pepper_that_ever_signed(
    open_store: Open, redis: Redis, before: tuple[str, ...], now: tuple[str, ...], after: set[str]
) -> None:
    await open_store(*before).prepare()
    await open_store(*now).prepare()
    listed = await redis.hget(keys.META, "peppers")
    assert set((listed or b"").decode().split()) == after


@pytest.mark.parametrize("peppers", [pytest.param((), id="none"), pytest.param(("bbbbbbbb",), id="another")])
async def test_a_store_none_of_whose_peppers_is_set_is_refused(
    open_store: Open, redis: Redis, peppers: tuple[str, ...]
) -> None:
    await open_store("aaaaaaaa").prepare()
    with pytest.raises(StoreRefused, match=r"^store\.pepper: [^\n]*aaaaaaaa[^\n]+$"):
        await open_store(*peppers).prepare()
    assert await redis.hget(keys.META, "peppers") == b"aaaaaaaa"


async def test_a_store_that_is_refused_is_not_available_either(open_store: Open) -> None:
    await open_store("aaaaaaaa").prepare()
    store = open_store()
    with pytest.raises(StoreUnavailable, match=r"^store\.pepper: "):
        await store.get("0" * 32)
    with pytest.raises(StoreUnavailable, match=r"^store\.pepper: ") as caught:
        await store.create(token(), BY, NOW)
    assert not caught.value.outcome_unknown


# Documents that cannot be used: an outage, not a token, and not an unknown one.

DOCUMENT = json.loads(msgspec.json.encode(token()))
OWNER = json.loads(msgspec.json.encode(owner()))


@pytest.mark.parametrize(
    ("document", "owned"),
    [
        pytest.param(b"", OWNER, id="empty"),
        pytest.param(b"{", OWNER, id="cut off"),
        pytest.param(b"\xff\xfe", OWNER, id="not UTF-8"),
        pytest.param([], OWNER, id="not an object"),
        pytest.param({}, OWNER, id="without its parts"),
        pytest.param(DOCUMENT | {"status": "frozen"}, OWNER, id="an unknown status"),
        pytest.param(DOCUMENT | {"schema": SCHEMA + 1}, OWNER, id="a newer schema"),
        pytest.param(DOCUMENT | {"id": numbered(1)}, OWNER, id="another token's id"),
        pytest.param(DOCUMENT, b"{", id="an owner cut off"),
        pytest.param(DOCUMENT, OWNER | {"status": "frozen"}, id="an owner with an unknown status"),
        pytest.param(DOCUMENT, OWNER | {"schema": SCHEMA + 1}, id="an owner with a newer schema"),
        pytest.param(DOCUMENT, OWNER | {"ref": {"kind": "user", "id": "9" * 32}}, id="another owner's document"),
    ],
)
async def test_a_document_that_cannot_be_used_is_an_outage(
    store: RedisStore, redis: Redis, document: object, owned: object
) -> None:
    def encoded(value: object) -> bytes:
        return value if isinstance(value, bytes) else json.dumps(value).encode()

    await redis.set(keys.token_key(token().id), encoded(document))
    await redis.set(keys.owner_key(ME.key), encoded(owned))
    with pytest.raises(StoreUnavailable) as caught:
        await store.get(token().id)
    assert len(str(caught.value).splitlines()) == 1
    assert not caught.value.outcome_unknown


async def test_a_page_with_a_document_that_cannot_be_used_is_an_outage(store: RedisStore, redis: Redis) -> None:
    await store.create(token(), BY, NOW)
    await redis.set(keys.token_key(token().id), b"{")
    with pytest.raises(StoreUnavailable):
        await names(store)


async def test_a_field_that_a_later_version_added_is_no_fault(store: RedisStore, redis: Redis) -> None:
    await redis.set(keys.token_key(token().id), json.dumps(DOCUMENT | {"later": 1}))
    assert (await read(store, token().id)).token == token()


async def test_what_the_server_says_against_a_read_is_an_outage(store: RedisStore, redis: Redis) -> None:
    await redis.lpush(keys.token_key(token().id), "not", "a", "string")
    await redis.set(keys.tokens_key(ME.key), "not a sorted set")
    for read_only in (store.get(token().id), names(store)):
        with pytest.raises(StoreUnavailable) as caught:
            await read_only
        assert not caught.value.outcome_unknown


async def test_a_change_that_failed_half_way_is_not_called_undone(store: RedisStore, redis: Redis) -> None:
    await redis.set(keys.tokens_key(ME.key), "not a sorted set")
    with pytest.raises(StoreUnavailable) as caught:
        await store.create(token(), BY, NOW)
    assert caught.value.outcome_unknown


# Each change: a number, a message, an entry in the audit.


async def create(store: RedisStore) -> None:
    await store.create(token(token_id=numbered(7)), BY, NOW)


async def replace(store: RedisStore) -> None:
    await store.replace(await read(store, token().id), token(name="new"), Action.ROLL, BY, NOW)


async def delete(store: RedisStore) -> None:
    await store.delete(await read(store, token().id), Action.REVOKE_SELF, BY, NOW)


CHANGES = [
    pytest.param(create, numbered(7), id="create"),
    pytest.param(replace, token().id, id="replace"),
    pytest.param(delete, token().id, id="delete"),
]


class Listener(NamedTuple):
    """Who is subscribed to the changes."""

    messages: Callable[[], Awaitable[list[bytes]]]


@pytest.fixture
async def listener(redis: Redis) -> AsyncIterator[Listener]:
    """Subscribed; `await messages()` are those that came before a message of ours."""
    async with redis.pubsub() as pubsub:
        await pubsub.subscribe(keys.CHANGED, "the end")

        async def messages() -> list[bytes]:
            await redis.publish("the end", "")
            found = []
            async for message in pubsub.listen():
                if message["channel"] == b"the end" and message["type"] == "message":
                    break
                if message["type"] == "message":
                    found.append(message["data"])
            return found

        yield Listener(messages)


@pytest.mark.parametrize(("change", "token_id"), CHANGES)
async def test_each_change_has_the_next_number_and_one_message_with_it(
    store: RedisStore, redis: Redis, listener: Listener, change: Change, token_id: str
) -> None:
    await store.initialise(owner(), token(), NOW)
    await change(store)
    assert await redis.get(keys.SEQUENCE) == b"2"
    assert await listener.messages() == [f"1 token:{token().id}".encode(), f"2 token:{token_id}".encode()]


async def test_a_conflict_leaves_no_trace(store: RedisStore, redis: Redis, listener: Listener) -> None:
    await store.initialise(owner(), token(), NOW)
    stale = await read(store, token().id)
    await replace(store)
    before = {key: await redis.dump(key) for key in await redis.keys()}
    for change in (
        store.create(token(), BY, NOW),
        store.replace(stale, token(name="late", expires_on=NOW + 9), Action.UPDATE, BY, NOW),
        store.delete(stale, Action.DELETE, BY, NOW),
        store.initialise(owner(ref=SOMEBODY), token(token_id=numbered(7)), NOW),
    ):
        with pytest.raises(Conflict):
            await change
    assert {key: await redis.dump(key) for key in await redis.keys()} == before
    assert len(await listener.messages()) == 2


async def audit(redis: Redis) -> list[dict[str, Any]]:
    """The entries, oldest first, as text; documents as JSON."""
    entries = [
        {name.decode(): value.decode() for name, value in fields.items()}
        for _, fields in await redis.xrange(keys.AUDIT)
    ]
    return [
        entry | {name: json.loads(entry[name]) if entry[name] else None for name in ("before", "after")}
        for entry in entries
    ]


async def test_the_audit_says_who_did_what_to_which_token_from_where(store: RedisStore, redis: Redis) -> None:
    await store.initialise(owner(), token(name="old"), NOW)
    await store.replace(await read(store, token().id), token(name="new"), Action.UPDATE, BY, NOW)
    await store.delete(await read(store, token().id), Action.DELETE, BY, NOW)
    first, *entries = await audit(redis)
    assert (first["action"], first["token"], first["actor_owner"]) == ("init", token().id, ME.key)
    assert (first["before"], first["after"]["name"]) == (None, "old")
    who = {
        "token": token().id,
        "actor_token": BY.token_id,
        "actor_owner": BY.owner,
        "address": BY.address,
        "request_id": BY.request_id,
    }
    assert [entry.pop("before") for entry in entries] == [first["after"], first["after"] | {"name": "new"}]
    assert [entry.pop("after") for entry in entries] == [first["after"] | {"name": "new"}, None]
    assert entries == [{"action": "update", **who}, {"action": "delete", **who}]


async def test_the_audit_holds_no_digest_and_no_secret(store: RedisStore, redis: Redis) -> None:
    await store.initialise(owner(), token(), NOW)
    await create(store)
    await replace(store)
    await delete(store)
    digests = {digest.hex for each in (token(), token(token_id=numbered(7))) for digest in each.digests}
    everything = json.dumps([[*entry, str(entry)] for entry in await audit(redis)])
    assert len(await audit(redis)) == 4
    assert not any(digest in everything for digest in digests)
    assert secret_of().reveal() not in everything


async def test_no_document_holds_a_secret(store: RedisStore, redis: Redis) -> None:
    await store.initialise(owner(), token(), NOW)
    raw = await redis.get(keys.token_key(token().id))
    assert secret_of().reveal().encode() not in raw
    assert secret_of().reveal().rpartition("_")[2].encode() not in raw


@pytest.mark.parametrize(
    ("limits", "now"),
    [
        pytest.param({"max_entries": 10}, NOW, id="too many"),
        pytest.param({"max_age": 1}, NOW + 10**9, id="too old"),
    ],
)
async def test_the_audit_is_cut_to_its_limits_near_enough(
    open_store: Open, redis: Redis, limits: dict[str, int], now: int
) -> None:
    store = open_store(**limits)
    for number in range(220):
        await store.create(token(token_id=numbered(number)), BY, now)
    assert await redis.xlen(keys.AUDIT) < 150
    assert await redis.get(keys.SEQUENCE) == b"220"


async def test_the_list_of_expiries_follows_every_change(store: RedisStore, redis: Redis) -> None:
    async def expiries() -> dict[bytes, float]:
        return dict(await redis.zrange(keys.EXPIRIES, 0, -1, withscores=True))

    await store.create(token(expires_on=NOW + 5), BY, NOW)
    assert await expiries() == {token().id.encode(): NOW + 5}
    for end, left in ((NOW + 9, {token().id.encode(): NOW + 9}), (None, {}), (NOW + 3, {token().id.encode(): NOW + 3})):
        await store.replace(await read(store, token().id), token(expires_on=end), Action.UPDATE, BY, NOW)
        assert await expiries() == left
    await store.delete(await read(store, token().id), Action.DELETE, BY, NOW)
    assert await expiries() == {}


async def test_a_document_as_large_as_they_get_is_stored_and_shown(store: RedisStore) -> None:
    large = token([policy(["Billing Read"], [account(f"{n:032x}") for n in range(1000)], scope=account("")[:-1])])
    await store.create(large, BY, NOW)
    assert (await read(store, large.id)).token == large


# A server that is away, slow, or breaks off.


@pytest.fixture
async def lost(tmp_path: Path) -> AsyncIterator[RedisStore]:
    """A store that was in use when its server went away."""
    server = EmbeddedServer(tmp_path)
    url = server.start()
    store = RedisStore(connect(url, 0.5), connect(url, 2.0), peppers=(), audit=AuditLimits(1000, 10**9))
    await store.initialise(owner(), token(), NOW)
    server.stop()
    yield store
    await store.close()


async def test_a_lost_server_is_an_outage_and_a_change_may_have_happened(lost: RedisStore) -> None:
    for read_only in (lost.ping(), lost.get(token().id), names(lost)):
        with pytest.raises(StoreUnavailable, match=r"^the store did not answer$") as caught:
            await read_only
        assert not caught.value.outcome_unknown
    record = Record(token=token(), owner=owner(), raw=msgspec.json.encode(token()))
    for change in (
        lost.create(token(), BY, NOW),
        lost.initialise(owner(), token(), NOW),
        lost.replace(record, token(), Action.UPDATE, BY, NOW),
        lost.delete(record, Action.DELETE, BY, NOW),
    ):
        with pytest.raises(StoreUnavailable, match=r"^the store did not answer$") as caught:
            await change
        assert caught.value.outcome_unknown


async def test_a_server_that_was_never_there_has_changed_nothing(tmp_path: Path) -> None:
    client = connect(f"unix://{tmp_path}/none.sock", 0.5)
    store = RedisStore(client, client, peppers=(), audit=AuditLimits(1000, 10**9))
    with pytest.raises(StoreUnavailable) as caught:
        await store.create(token(), BY, NOW)
    assert not caught.value.outcome_unknown
    await store.close()


class Stub(NamedTuple):
    """A server that we script: it says OK to greetings, and then what `answer` makes of a command."""

    url: str
    commands: list[bytes]


Answer = Callable[[bytes], bytes | None]
GREETINGS = {b"HELLO": b"%1\r\n$5\r\nproto\r\n:3\r\n", b"CLIENT": b"+OK\r\n"}


@contextlib.asynccontextmanager
async def scripted(path: Path, answer: Answer) -> AsyncIterator[Stub]:
    """`answer` gives the reply to a command's name; None breaks the connection off; b"" leaves it without a reply."""
    commands: list[bytes] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
            while True:
                count = int((await reader.readline() or b"*0")[1:])
                if not count:
                    break
                words = []
                for _ in range(count):
                    size = int((await reader.readline())[1:])
                    words.append((await reader.readexactly(size + 2))[:-2])
                name = words[0].upper()
                if name in GREETINGS:
                    writer.write(GREETINGS[name])
                    continue
                commands.append(name)
                reply = answer(name)
                if reply is None:
                    break
                writer.write(reply)
        writer.close()

    server = await asyncio.start_unix_server(serve, path)
    async with server:
        yield Stub(f"unix://{path}", commands)


def prepared(name: bytes) -> bytes:
    """The replies that make a store ready."""
    return {b"HSETNX": b":0\r\n", b"HMGET": b"*2\r\n$1\r\n1\r\n$-1\r\n"}[name]


@pytest.mark.parametrize(
    "reply",
    [
        pytest.param(b"", id="that does not answer"),
        pytest.param(None, id="that breaks off"),
        pytest.param(b"*junk\r\n", id="that answers junk"),
    ],
)
async def test_a_change_is_sent_once_to_a_server(tmp_path: Path, reply: bytes | None) -> None:
    def answer(name: bytes) -> bytes | None:
        return reply if name == b"EVALSHA" else prepared(name)

    async with scripted(tmp_path / "s", answer) as stub:
        client = connect(stub.url, 0.1)
        store = RedisStore(client, client, peppers=(), audit=AuditLimits(1000, 10**9))
        with pytest.raises(StoreUnavailable) as caught:
            await store.create(token(), BY, NOW)
        await store.close()
    assert caught.value.outcome_unknown
    assert stub.commands.count(b"EVALSHA") == 1


@pytest.mark.parametrize(
    "reply", [pytest.param(b"", id="that does not answer"), pytest.param(None, id="that breaks off")]
)
async def test_a_read_is_sent_once_to_a_server(tmp_path: Path, reply: bytes | None) -> None:
    def answer(name: bytes) -> bytes | None:
        return reply if name == b"GET" else prepared(name)

    async with scripted(tmp_path / "s", answer) as stub:
        client = connect(stub.url, 0.1)
        store = RedisStore(client, client, peppers=(), audit=AuditLimits(1000, 10**9))
        with pytest.raises(StoreUnavailable, match=r"^the store did not answer$"):
            await store.get(token().id)
        await store.close()
    assert stub.commands.count(b"GET") == 1


@pytest.mark.parametrize(
    "error",
    [
        pytest.param(b"-OOM command not allowed when used memory > 'maxmemory'.\r\n", id="out of memory"),
        pytest.param(b"-READONLY You can't write against a read only replica.\r\n", id="a replica"),
        pytest.param(b"-MISCONF Errors writing to the AOF file\r\n", id="a full disk"),
        pytest.param(b"-NOPERM this user has no permissions\r\n", id="no permission"),
        pytest.param(b"-NOAUTH Authentication required.\r\n", id="no password"),
    ],
)
async def test_a_change_that_the_server_refused_did_not_happen(tmp_path: Path, error: bytes) -> None:
    def answer(name: bytes) -> bytes:
        return error if name == b"EVALSHA" else prepared(name)

    async with scripted(tmp_path / "s", answer) as stub:
        client = connect(stub.url, 0.5)
        store = RedisStore(client, client, peppers=(), audit=AuditLimits(1000, 10**9))
        with pytest.raises(StoreUnavailable) as caught:
            await store.create(token(), BY, NOW)
        await store.close()
    assert not caught.value.outcome_unknown


@pytest.mark.parametrize(
    "url",
    [
        pytest.param("redis://h:port/0", id="a port that is none"),
        pytest.param("redis://h/0?socket_timeout=30", id="another time limit"),
        pytest.param("unix:///run/x?retry_on_timeout=true", id="a change sent twice"),
        pytest.param("redis://h/0?db=1&decode_responses=1", id="one option too many"),
    ],
)
def test_a_url_that_would_undo_our_limits_is_refused(url: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        connect(url, 0.5)


async def test_a_database_may_be_chosen(valkey_url: str) -> None:
    first, second = connect(valkey_url, 2.0), connect(f"{valkey_url}?db=1", 2.0)
    await second.flushdb()
    await first.set("key", "value")
    assert await second.get("key") is None
    await first.aclose()
    await second.aclose()


async def test_a_read_that_was_given_up_leaves_no_answer_behind_for_the_next(valkey_url: str) -> None:
    reader, writer = connect(valkey_url, 2.0), connect(valkey_url, 2.0)
    store = RedisStore(reader, writer, peppers=(), audit=AuditLimits(1000, 10**9))
    await writer.flushall()
    await store.create(token(token_id=numbered(1), name="one"), BY, NOW)
    await store.create(token(token_id=numbered(2), name="two"), BY, NOW)
    for turns in range(20):
        async with asyncio.TaskGroup() as tasks:
            given_up = tasks.create_task(store.get(numbered(1)))
            for _ in range(turns):
                await asyncio.sleep(0)
            given_up.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await given_up
        assert (await read(store, numbered(2))).token.name == "two"
    await store.close()


async def test_an_actor_s_words_stay_one_value_each(store: RedisStore, redis: Redis) -> None:
    by = Actor(token_id="x\r\ny", owner="*3\r\n", address="\x00", request_id="ä")
    await store.create(token(), by, NOW)
    (entry,) = await audit(redis)
    assert (entry["actor_token"], entry["actor_owner"], entry["address"], entry["request_id"]) == (
        by.token_id,
        by.owner,
        by.address,
        by.request_id,
    )

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any, NamedTuple

import msgspec
import pytest
from redis.asyncio import Redis
from support.records import NOW, USER, account, owner, policy, secret_of, token
from support.servers import HOST, Answer, scripted
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

from gateway.access.compiled import CompiledToken
from gateway.access.ports import (
    Action,
    Actor,
    Conflict,
    Denied,
    Miss,
    NotReplicated,
    StoreUnavailable,
    TokenStore,
)
from gateway.access.principal import Record
from gateway.reason import Deny, Reason
from gateway.store import keys
from gateway.store.embedded import EmbeddedServer
from gateway.store.primary import Clients, Primary
from gateway.store.redis_store import AuditLimits, Meta, RedisStore, StoreRefused
from gateway.store.schema import STORE_SCHEMA
from gateway.store_url import parse_store_url
from gateway.tokens.token import SCHEMA

Open = Callable[..., RedisStore]
Change = Callable[[RedisStore], Awaitable[object]]
DENIED = Denied(method="PUT", path="/client/v4/user/tokens/x", reason="forbidden", token_id="f" * 32)


class TestRedisStore(TokenStoreContract):
    """With `store` from conftest: fakeredis and Valkey alike."""


class TestMemoryTokenStore(TokenStoreContract):
    """The fake that other tests use."""

    @pytest.fixture
    def store(self) -> TokenStore:
        return MemoryTokenStore()

    async def test_as_tokens_it_compiles_what_it_holds(self) -> None:
        store = MemoryTokenStore().hold(token(), token(token_id=numbered(1), request_ip=["junk"]))
        assert [store.look(each) for each in (token().id, numbered(1), numbered(2))] == [Miss.MISS] * 3
        found = await store.fetch(token().id, None)
        assert isinstance(found, CompiledToken)
        assert (found.id, found.ceiling is not None) == (token().id, True)
        assert await store.fetch(numbered(1), None) == Deny(reason=Reason.STORE_UNAVAILABLE)
        assert await store.fetch(numbered(2), None) is None
        store.failure = StoreUnavailable("away")
        assert await store.fetch(numbered(2), None) == Deny(reason=Reason.STORE_UNAVAILABLE)


# Preparing.


async def test_a_store_is_marked_as_ours_before_anything_is_read_or_written(store: RedisStore, redis: Redis) -> None:
    await store.get("0" * 32)
    meta = await redis.hgetall(keys.META)
    assert meta[b"schema"] == str(STORE_SCHEMA).encode()
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
        f"{{zg}}:living:user:{USER}",
        f"{{zg}}:ends:user:{USER}",
        f"{{zg}}:token:{token().id}",
    }


async def test_a_store_of_a_newer_schema_is_refused(open_store: Open, redis: Redis) -> None:
    await redis.hset(keys.META, "schema", STORE_SCHEMA + 1)
    with pytest.raises(
        StoreRefused, match=rf"^the store has schema {STORE_SCHEMA + 1}, this version knows {STORE_SCHEMA}: [^\n]+$"
    ):
        await open_store().prepare()
    assert await redis.hget(keys.META, "schema") == str(STORE_SCHEMA + 1).encode()


@pytest.mark.parametrize("junk", [b"junk", b"-1", b"\xb2", b"\xff", b"1.0"])
async def test_a_store_whose_mark_is_junk_is_refused(open_store: Open, redis: Redis, junk: bytes) -> None:
    await redis.hset(keys.META, "schema", junk)
    with pytest.raises(StoreRefused, match=r"^the store's schema cannot be read: [^\n]+$"):
        await open_store().prepare()


async def test_a_store_whose_list_of_peppers_is_junk_is_refused(open_store: Open, redis: Redis) -> None:
    await redis.hset(keys.META, "peppers", b"\xff")
    with pytest.raises(StoreRefused, match=r"^store\.pepper: "):
        await open_store().prepare()


async def test_an_older_layout_is_brought_up_to_ours(open_store: Open, redis: Redis) -> None:
    await open_store().create(token(), BY, NOW)
    await redis.delete(keys.living_key(ME.key))
    await redis.zadd(keys.OWNERS, {ME.key: 1})
    await redis.hset(keys.META, "schema", "1")
    assert await names(open_store()) == [token().name]
    assert await redis.hget(keys.META, "schema") == str(STORE_SCHEMA).encode()


# What the store says of itself, once a second.


async def asked(store: RedisStore) -> Meta:
    return await store.meta(await store.primary.clients())


async def test_an_empty_store_has_no_generation(store: RedisStore) -> None:
    assert await asked(store) == Meta(generation=None, frozen=None, sequence=0)


async def test_a_store_says_its_generation_its_number_and_since_when_it_is_frozen(
    store: RedisStore, redis: Redis
) -> None:
    await store.create(token(), BY, NOW)
    await store.freeze(NOW + 1)
    generation = (await redis.hget(keys.META, "generation")).decode()
    assert await asked(store) == Meta(generation=generation, frozen=str(NOW + 1), sequence=2)
    await store.thaw(NOW + 2)
    assert await asked(store) == Meta(generation=generation, frozen=None, sequence=3)


async def test_to_ask_writes_nothing(store: RedisStore, redis: Redis) -> None:
    await asked(store)
    assert await redis.keys() == []


@pytest.mark.parametrize(
    "spoil",
    [
        pytest.param(lambda redis: redis.set(keys.SEQUENCE, "junk"), id="a number that is none"),
        pytest.param(lambda redis: redis.set(keys.SEQUENCE, b"\xff"), id="a number that is no text"),
        pytest.param(lambda redis: redis.lpush(keys.SEQUENCE, "1"), id="a number that is a list"),
        pytest.param(lambda redis: redis.set(keys.META, "junk"), id="a mark of another kind"),
        pytest.param(lambda redis: redis.hset(keys.META, "schema", STORE_SCHEMA + 1), id="a newer layout"),
    ],
)
async def test_a_store_that_says_nonsense_of_itself_is_an_outage(
    store: RedisStore, redis: Redis, spoil: Callable[[Redis], Awaitable[object]]
) -> None:
    await spoil(redis)
    with pytest.raises(StoreUnavailable) as caught:
        await asked(store)
    assert len(str(caught.value).splitlines()) == 1


async def test_a_generation_that_is_no_text_is_one_still(store: RedisStore, redis: Redis) -> None:
    await redis.hset(keys.META, mapping={"generation": b"\xff", "frozen": b"\xff"})
    meta = await asked(store)
    assert meta.generation is not None
    assert meta.frozen is not None


REFUSED_PROBES = [
    pytest.param(b"-READONLY You can't write against a read only replica.\r\n", id="a replica"),
    pytest.param(b"-NOREPLICAS Not enough good replicas to write.\r\n", id="a primary that was left"),
    pytest.param(b"-NOPERM no\r\n", id="a user that may not write"),
]
FULL = b"-MISCONF Errors writing to the AOF file\r\n"


def probed(reply: bytes) -> Answer:
    """A server that says `reply` to the probe."""
    return lambda words: {b"GET": NIL, b"HMGET": META_IS_OURS, b"DEL": reply}[words[0]]


@pytest.mark.parametrize("reply", REFUSED_PROBES)
async def test_a_server_that_takes_no_writes_is_not_believed(reply: bytes) -> None:
    async with against(probed(reply)) as (store, _):
        with pytest.raises(StoreUnavailable):
            await asked(store)


async def test_a_full_disk_is_no_reason_not_to_believe_the_only_server() -> None:
    async with against(probed(FULL)) as (store, _):
        assert (await asked(store)).sequence == 0


async def test_a_full_disk_hides_whether_a_server_s_replicas_have_left_it() -> None:
    """A server says MISCONF before it would say NOREPLICAS or READONLY."""
    async with against(probed(FULL), write_replicas=1) as (store, _):
        with pytest.raises(StoreUnavailable, match="MISCONF"):
            await asked(store)


async def test_an_answer_is_that_of_the_clients_that_were_asked(store: RedisStore) -> None:
    clients = await store.primary.clients()
    store.primary.lost(clients)
    if isinstance(clients, Clients):  # fakeredis cannot be given up
        with pytest.raises(StoreUnavailable):
            await store.meta(clients)


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
        pytest.param(b"[" * 60_000, OWNER, id="deep"),
        pytest.param(
            msgspec.json.encode(DOCUMENT).replace(b'"*"', b"[" * 30_000 + b"]" * 30_000), OWNER, id="deep inside"
        ),
        pytest.param({}, OWNER, id="without its parts"),
        pytest.param(DOCUMENT | {"status": "frozen"}, OWNER, id="an unknown status"),
        pytest.param(DOCUMENT | {"schema": SCHEMA + 1}, OWNER, id="a newer schema"),
        pytest.param(DOCUMENT | {"id": numbered(1)}, OWNER, id="another token's id"),
        pytest.param(DOCUMENT, b"", id="an owner whose document is empty"),
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
    for name in (keys.tokens_key(ME.key), keys.living_key(ME.key), keys.OWNERS):
        await redis.set(name, "not a sorted set")
    for read_only in (names(store), names(store, include_expired=True), store.first_owner()):
        with pytest.raises(StoreUnavailable) as caught:
            await read_only
        assert not caught.value.outcome_unknown


async def test_a_key_of_another_kind_is_no_token_and_no_owner(store: RedisStore, redis: Redis) -> None:
    await redis.lpush(keys.token_key(token().id), "not", "a", "string")
    assert await store.get(token().id) is None
    await store.create(token(token_id=numbered(1)), BY, NOW)
    await redis.lpush(keys.owner_key(ME.key), "not", "a", "string")
    assert (await read(store, numbered(1))).owner is None


# Many at once.


async def test_each_id_of_a_batch_has_its_own_answer_and_none_is_worse_for_another(
    store: RedisStore, redis: Redis
) -> None:
    await store.initialise(owner(), token(token_id=numbered(1)), NOW)
    theirs = await store.create(token(token_id=numbered(2), owner=SOMEBODY), BY, NOW)
    await redis.set(keys.token_key(numbered(3)), b"{")
    await redis.set(keys.token_key(numbered(4)), msgspec.json.encode(token(token_id=numbered(1))))
    mine, other, cut, swapped, unknown = await store.read([numbered(number) for number in (1, 2, 3, 4, 5)])
    assert mine == (
        token(token_id=numbered(1)),
        msgspec.json.encode(token(token_id=numbered(1))),
        msgspec.json.encode(owner()),
    )
    assert other == (token(token_id=numbered(2), owner=SOMEBODY), theirs, None)
    assert isinstance(cut, StoreUnavailable)
    assert isinstance(swapped, StoreUnavailable)
    assert unknown is None


async def test_a_batch_costs_two_commands_however_many_and_whosever_they_are() -> None:
    documents = [
        msgspec.json.encode(token(token_id=numbered(number), owner=who))
        for number, who in enumerate([ME, SOMEBODY] * 32)
    ]
    bulk = b"".join(b"$%d\r\n%s\r\n" % (len(each), each) for each in documents)
    answer = but(b"MGET", b"*64\r\n" + bulk, b"*2\r\n$-1\r\n$-1\r\n")
    async with against(answer) as (store, commands):
        found = await store.read([numbered(number) for number in range(64)])
    assert all(isinstance(each, tuple) for each in found)
    assert times(commands, b"MGET") == 2


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


async def recover(store: RedisStore) -> None:
    await store.recover(owner(), token(token_id=numbered(7)), NOW)


async def make_owner(store: RedisStore) -> None:
    await store.change_owner(SOMEBODY, b"", owner(ref=SOMEBODY), Action.OWNER_CREATE, BY, NOW)


async def narrow_owner(store: RedisStore) -> None:
    await store.change_owner(ME, await owner_raw(store), owner([]), Action.OWNER_UPDATE, BY, NOW)


async def end_owner(store: RedisStore) -> None:
    await store.change_owner(ME, await owner_raw(store), None, Action.OWNER_DELETE, BY, NOW)


async def owner_raw(store: RedisStore) -> bytes:
    """The document of the owner, which is there."""
    found = await store.get_owner(ME)
    assert found is not None
    return found[1]


async def freeze(store: RedisStore) -> None:
    await store.freeze(NOW)


CHANGES = [
    pytest.param(create, f"token:{numbered(7)}", Action.CREATE, id="create"),
    pytest.param(replace, f"token:{token().id}", Action.ROLL, id="replace"),
    pytest.param(delete, f"token:{token().id}", Action.REVOKE_SELF, id="delete"),
    pytest.param(recover, f"token:{numbered(7)} owner:{ME.key}", Action.RECOVER, id="recover"),
    pytest.param(make_owner, f"owner:{SOMEBODY.key}", Action.OWNER_CREATE, id="a new owner"),
    pytest.param(narrow_owner, f"owner:{ME.key}", Action.OWNER_UPDATE, id="an owner changed"),
    pytest.param(end_owner, f"owner:{ME.key}", Action.OWNER_DELETE, id="an owner ended"),
    pytest.param(freeze, "freeze", Action.FREEZE, id="freeze"),
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


@pytest.mark.parametrize(("change", "what", "action"), CHANGES)
async def test_each_change_has_the_next_number_one_message_with_it_and_one_entry(
    store: RedisStore, redis: Redis, listener: Listener, change: Change, what: str, action: Action
) -> None:
    await store.initialise(owner(), token(), NOW)
    await change(store)
    assert await redis.get(keys.SEQUENCE) == b"2"
    assert await listener.messages() == [f"1 token:{token().id} owner:{ME.key}".encode(), f"2 {what}".encode()]
    assert [entry["action"] for entry in await audit(redis)] == ["init", action]


async def test_a_refused_call_is_an_entry_apart_from_those_of_changes_without_a_number_or_a_message(
    store: RedisStore, redis: Redis, listener: Listener
) -> None:
    await store.denied(DENIED, BY, NOW)
    assert await redis.get(keys.SEQUENCE) is None
    assert await listener.messages() == []
    assert await audit(redis) == []
    (entry,) = await audit(redis, keys.DENIED_AUDIT)
    assert entry == {
        "action": "denied",
        "token": DENIED.token_id,
        "actor_token": BY.token_id,
        "actor_owner": BY.owner,
        "address": BY.address,
        "request_id": BY.request_id,
        "method": "PUT",
        "path": DENIED.path,
        "reason": "forbidden",
        "before": None,
        "after": None,
    }


# Owners, and a freeze.


async def test_an_owner_is_read_with_its_document_and_changed_only_as_it_was_read(store: RedisStore) -> None:
    assert await store.get_owner(ME) is None
    raw = await store.change_owner(ME, b"", owner(), Action.OWNER_CREATE, BY, NOW)
    assert await store.get_owner(ME) == (owner(), raw)
    narrowed = await store.change_owner(ME, raw, owner([]), Action.OWNER_UPDATE, BY, NOW)
    for late in (owner(), None):
        with pytest.raises(Conflict):
            await store.change_owner(ME, raw, late, Action.OWNER_UPDATE, BY, NOW)
    assert await store.get_owner(ME) == (owner([]), narrowed)
    assert await store.change_owner(ME, narrowed, None, Action.OWNER_DELETE, BY, NOW) == b""
    assert await store.get_owner(ME) is None


async def test_the_first_owner_is_the_oldest(store: RedisStore) -> None:
    assert await store.first_owner() is None
    await store.initialise(owner(ref=SOMEBODY), token(owner=SOMEBODY), NOW)
    await store.change_owner(ME, b"", owner(), Action.OWNER_CREATE, BY, NOW + 1)
    assert await store.first_owner() == SOMEBODY


async def test_whoever_recovers_has_one_more_token_and_his_rights_back(store: RedisStore) -> None:
    await store.initialise(owner(), token(name="first"), NOW)
    await narrow_owner(store)
    await store.recover(owner(), token(token_id=numbered(7), name="recovered"), NOW + 1)
    assert (await read(store, token().id)).owner == owner()
    assert await names(store) == ["first", "recovered"]


async def test_a_freeze_stays_until_the_thaw_and_neither_is_done_twice(store: RedisStore, redis: Redis) -> None:
    with pytest.raises(Conflict):
        await store.thaw(NOW)
    await store.freeze(NOW)
    with pytest.raises(Conflict):
        await store.freeze(NOW + 1)
    assert await redis.hget(keys.META, "frozen") == str(NOW).encode()
    await store.thaw(NOW + 2)
    assert await redis.hget(keys.META, "frozen") is None
    assert [entry["action"] for entry in await audit(redis)] == ["freeze", "thaw"]


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


async def audit(redis: Redis, stream: str = keys.AUDIT) -> list[dict[str, Any]]:
    """The entries, oldest first, as text; documents as JSON."""
    entries = [
        {name.decode(): value.decode() for name, value in fields.items()} for _, fields in await redis.xrange(stream)
    ]
    return [
        entry | {name: json.loads(entry[name]) if entry.get(name) else None for name in ("before", "after")}
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
    "limits", [pytest.param({"max_entries": 10}, id="too many"), pytest.param({"max_age": 10**8}, id="too old")]
)
async def test_the_audit_is_cut_to_its_limits_near_enough(
    open_store: Open, redis: Redis, limits: dict[str, int]
) -> None:
    pipe = redis.pipeline(transaction=False)
    for number in range(220):
        pipe.xadd(keys.AUDIT, {"action": "test"}, id=f"{10**12}-{number}")  # in 2001
    await pipe.execute()
    await open_store(**limits).create(token(), BY, NOW)
    assert 1 <= await redis.xlen(keys.AUDIT) < 150
    (last,) = await redis.xrevrange(keys.AUDIT, count=1)
    assert last[1][b"action"] == b"create"


async def test_whoever_recovers_is_shown_with_the_owner_s_record_before_and_after(
    store: RedisStore, redis: Redis
) -> None:
    await store.initialise(owner([]), token(), NOW)
    before = await redis.get(keys.owner_key(ME.key))
    await recover(store)
    after = await redis.get(keys.owner_key(ME.key))
    first, recovered = [fields for _, fields in await redis.xrange(keys.AUDIT)]
    assert (first[b"owner_before"], first[b"owner_after"]) == (b"", before)
    assert (recovered[b"owner_before"], recovered[b"owner_after"]) == (before, after)
    assert before != after


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


RECORD = Record(token=token(), owner=owner(), raw=msgspec.json.encode(token()))
EACH_CHANGE: dict[str, Change] = {
    "create": lambda store: store.create(token(), BY, NOW),
    "initialise": lambda store: store.initialise(owner(), token(), NOW),
    "recover": lambda store: store.recover(owner(), token(), NOW),
    "replace": lambda store: store.replace(RECORD, token(), Action.UPDATE, BY, NOW),
    "delete": lambda store: store.delete(RECORD, Action.DELETE, BY, NOW),
    "change_owner": lambda store: store.change_owner(ME, b"", owner(), Action.OWNER_CREATE, BY, NOW),
    "thaw": lambda store: store.thaw(NOW),
    "denied": lambda store: store.denied(DENIED, BY, NOW),
}
every_change = pytest.mark.parametrize("change", [pytest.param(each, id=name) for name, each in EACH_CHANGE.items()])


@pytest.fixture(scope="module")
def ended(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Where a server was."""
    server = EmbeddedServer(tmp_path_factory.mktemp("ended"))
    url = server.start()
    server.stop()
    return url


def opened(url: str, write_replicas: int = 0) -> RedisStore:
    primary = Primary(parse_store_url(url))
    return RedisStore(primary, peppers=(), audit=AuditLimits(1000, 10**9), write_replicas=write_replicas)


async def test_a_server_that_was_never_there_has_changed_nothing(ended: str) -> None:
    store = opened(ended)
    for asked in (store.get(token().id), names(store), store.first_owner(), store.create(token(), BY, NOW)):
        with pytest.raises(StoreUnavailable, match=r"^the store did not answer$") as caught:
            await asked
        assert not caught.value.outcome_unknown
    await store.close()


@every_change
async def test_when_a_server_went_away_a_change_may_have_happened(ended: str, change: Change) -> None:
    store = opened(ended)
    store._prepared = True  # it was in use before
    with pytest.raises(StoreUnavailable, match=r"^the store did not answer$") as caught:
        await change(store)
    assert caught.value.outcome_unknown
    await store.close()


NIL, YES = b"$-1\r\n", b":1\r\n"
META_IS_OURS = b"*3\r\n$%d\r\n%d\r\n$1\r\ng\r\n$-1\r\n" % (len(str(STORE_SCHEMA)), STORE_SCHEMA)


def prepared(words: list[bytes]) -> bytes:
    """The replies that make a store ready."""
    return {b"HSETNX": YES, b"HMGET": META_IS_OURS}[words[0]]


def but(name: bytes, *replies: bytes | None) -> Answer:
    """A server that is ready, and says to the command `name` each of `replies` in its turn, then the last again."""
    said = list(replies)
    return lambda words: (said.pop(0) if len(said) > 1 else said[0]) if words[0] == name else prepared(words)


@contextlib.asynccontextmanager
async def against(answer: Answer, write_replicas: int = 0) -> AsyncIterator[tuple[RedisStore, list[list[bytes]]]]:
    """A store on a scripted server, and the commands that came to it."""
    async with scripted(answer) as server:
        store = opened(f"redis://{HOST}:{server.port}", write_replicas)
        yield store, server.commands
        await store.close()


def times(commands: list[list[bytes]], name: bytes) -> int:
    return sum(words[0] == name for words in commands)


@pytest.mark.parametrize(
    "reply", [pytest.param(None, id="that breaks off"), pytest.param(b"*junk\r\n", id="that answers junk")]
)
@every_change
async def test_a_change_is_sent_once_to_a_server(reply: bytes | None, change: Change) -> None:
    async with against(but(b"EVAL", reply)) as (store, commands):
        with pytest.raises(StoreUnavailable) as caught:
            await change(store)
    assert caught.value.outcome_unknown
    assert times(commands, b"EVAL") == 1


async def test_a_change_is_sent_once_to_a_server_that_does_not_answer() -> None:
    async with against(but(b"EVAL", b"")) as (store, commands):
        with pytest.raises(StoreUnavailable, match=r"^the store did not answer$") as caught:
            await store.create(token(), BY, NOW)
    assert caught.value.outcome_unknown
    assert times(commands, b"EVAL") == 1


@pytest.mark.parametrize(
    "reply", [pytest.param(b"", id="that does not answer"), pytest.param(None, id="that breaks off")]
)
async def test_a_read_is_sent_once_to_a_server(reply: bytes | None) -> None:
    async with against(but(b"MGET", reply)) as (store, commands):
        with pytest.raises(StoreUnavailable, match=r"^the store did not answer$"):
            await store.get(token().id)
    assert times(commands, b"MGET") == 1


@pytest.mark.parametrize(
    ("error", "is_lost"),
    [
        pytest.param(b"-OOM command not allowed when used memory > 'maxmemory'.\r\n", False, id="out of memory"),
        pytest.param(b"-READONLY You can't write against a read only replica.\r\n", True, id="a replica"),
        pytest.param(b"-MISCONF Errors writing to the AOF file\r\n", False, id="a full disk"),
        pytest.param(b"-NOAUTH Authentication required.\r\n", False, id="no password"),
        pytest.param(b"-LOADING Valkey is loading the dataset in memory\r\n", False, id="loading"),
    ],
)
async def test_a_change_that_the_server_refused_did_not_happen(error: bytes, is_lost: bool) -> None:  # noqa: FBT001 - a case's data
    async with against(but(b"EVAL", error)) as (store, _):
        lost: list[Clients] = []
        store.primary.on_lost.append(lost.append)
        with pytest.raises(StoreUnavailable) as caught:
            await store.create(token(), BY, NOW)
        assert bool(lost) is is_lost
    assert not caught.value.outcome_unknown


@pytest.mark.parametrize(
    ("replies", "fails"),
    [
        pytest.param([b":1\r\n", b":1\r\n"], None, id="enough"),
        pytest.param([b":1\r\n", b":0\r\n"], NotReplicated, id="too few"),
        pytest.param([b":0\r\n", b":0\r\n"], Conflict, id="nothing was changed"),
        pytest.param([b":1\r\n", b"-UNBLOCKED the role changed\r\n"], StoreUnavailable, id="nobody knows"),
        pytest.param([b":1\r\n", None], StoreUnavailable, id="broken off"),
    ],
)
async def test_a_change_counts_as_made_when_enough_replicas_have_it(
    replies: list[bytes | None], fails: type[Exception] | None
) -> None:
    changed, waited = replies
    answers = but(b"EVAL", changed)
    async with against(lambda words: waited if words[0] == b"WAIT" else answers(words), 1) as (store, commands):
        with pytest.raises(fails) if fails else contextlib.nullcontext() as caught:
            await store.create(token(), BY, NOW)
    if caught is not None and isinstance(caught.value, StoreUnavailable):
        assert caught.value.outcome_unknown
    assert [words[:2] for words in commands if words[0] == b"WAIT"] == [[b"WAIT", b"1"]]


async def test_an_entry_of_the_audit_alone_waits_for_no_replica() -> None:
    async with against(but(b"EVAL", YES), 1) as (store, commands):
        await store.denied(DENIED, BY, NOW)
    assert times(commands, b"WAIT") == 0


async def test_a_read_that_was_given_up_leaves_no_answer_behind_for_the_next(valkey_url: str) -> None:
    store = opened(valkey_url)
    await (await store.primary.clients()).writer.flushall()
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


# What this process is told of its own changes.


@pytest.mark.parametrize(
    ("change", "told"),
    [
        pytest.param("create", [f"token:{token().id}"], id="create"),
        pytest.param("replace", [f"token:{token().id}"], id="replace"),
        pytest.param("delete", [f"token:{token().id}"], id="delete"),
        pytest.param("initialise", [f"token:{token().id}", f"owner:{ME.key}"], id="initialise"),
        pytest.param("recover", [f"token:{token().id}", f"owner:{ME.key}"], id="recover"),
        pytest.param("change_owner", [f"owner:{ME.key}"], id="change_owner"),
        pytest.param("denied", [], id="denied"),
        pytest.param("thaw", [], id="thaw: its message tells, for it may have failed, and opens everything"),
    ],
)
@pytest.mark.parametrize(
    "reply",
    [
        pytest.param(YES, id="made"),
        pytest.param(b":0\r\n", id="a conflict"),
        pytest.param(b"-OOM no\r\n", id="refused"),
        pytest.param(None, id="nobody knows"),
    ],
)
async def test_this_process_is_told_of_its_change_before_it_answers_however_it_went(
    change: str, told: list[str], reply: bytes | None
) -> None:
    async with against(but(b"EVAL", reply)) as (store, _):
        heard: list[str] = []
        store.on_change.append(heard.append)
        with contextlib.suppress(StoreUnavailable, Conflict):
            await EACH_CHANGE[change](store)
        assert heard == told


async def test_this_process_is_told_of_a_change_whose_requester_left(store: RedisStore) -> None:
    heard: list[str] = []
    store.on_change.append(heard.append)
    await store.prepare()
    async with asyncio.TaskGroup() as tasks:
        given_up = tasks.create_task(store.create(token(), BY, NOW))
        await asyncio.sleep(0)
        given_up.cancel()
    assert heard == [f"token:{token().id}"]


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


async def test_a_token_that_cannot_be_read_hides_none_of_the_others_from_a_search_by_their_maker(
    store: RedisStore, redis: Redis
) -> None:
    made = [
        msgspec.structs.replace(token(token_id=numbered(number)), issued_by=numbered(1)) for number in range(2, 2500)
    ]
    await redis.mset({keys.token_key(each.id): msgspec.json.encode(each) for each in made})
    await redis.mset(
        {keys.token_key(numbered(2)): b"{", keys.token_key(numbered(3)): b'{"id":"x","issued_by":"%032x"}' % 1}
    )
    found = [record.token.id async for record in store.issued_by([numbered(1)])]
    assert sorted(set(found)) == sorted(each.id for each in made[2:])

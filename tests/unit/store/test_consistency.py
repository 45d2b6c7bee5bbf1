"""`check`: each way in which a list can disagree with the documents is found, and mended where that is safe."""

import asyncio
import math
from collections.abc import Awaitable, Callable
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from redis.asyncio import Redis
from support.records import NOW, TOKEN_ID, USER, owner, token
from support.store_contract import BY, ME, SOMEBODY, names, numbered, read

from gateway.access.ports import Action, StoreUnavailable
from gateway.store import consistency, keys
from gateway.store.consistency import Finding, Report, Scores, check, faults
from gateway.store.redis_store import RedisStore
from gateway.store.zone_pin import ZonePin
from gateway.store.zones import ZonePins
from gateway.tokens.token import SCHEMA, Token

Damage = Callable[[Redis], Awaitable[object]]
MINE = f"user:{USER}"
TOKEN = keys.token_key(TOKEN_ID)
TOKENS, LIVING, ENDS = keys.tokens_key(MINE), keys.living_key(MINE), keys.ends_key(MINE)
END = NOW + 5000


async def looked_at(store: RedisStore, *, repair: bool = False, now: float = NOW) -> Report:
    return await check(store, repair=repair, clock=lambda: now)


async def everything(redis: Redis) -> dict[bytes, Any]:
    """All keys with what they hold, but for the audit."""
    found: dict[bytes, Any] = {}
    for name in await redis.keys():
        match await redis.type(name):
            case b"string":
                found[name] = await redis.get(name)
            case b"zset":
                found[name] = await redis.zrange(name, 0, -1, withscores=True)
            case b"hash":
                found[name] = await redis.hgetall(name)
    return found


@pytest.fixture
async def filled(store: RedisStore) -> RedisStore:
    """A store with an owner, a token with an end, one without, and an expired one."""
    await store.initialise(owner(), token(expires_on=END, issued_on=NOW), NOW)
    await store.create(token(token_id=numbered(1), name="for ever", issued_on=NOW), BY, NOW + 1)
    await store.create(token(token_id=numbered(2), name="expired", expires_on=NOW - 5), BY, NOW + 2)
    await store.create(token(token_id=numbered(3), name="theirs", owner=SOMEBODY), BY, NOW + 3)
    return store


async def test_a_store_that_was_only_changed_by_us_is_consistent(filled: RedisStore, redis: Redis) -> None:
    old = await read(filled, numbered(1))
    await filled.replace(old, msgspec.structs.replace(old.token, expires_on=END), Action.UPDATE, BY, NOW)
    await names(filled, now=END + 1)  # takes the expired out of the living
    await filled.create(token(token_id=numbered(9)), BY, NOW)
    await filled.delete(await read(filled, numbered(9)), Action.DELETE, BY, NOW)
    await ZonePins(filled).put("powerdns", "alpha.example.", "c", "", BY, NOW)
    before = await everything(redis)
    assert await looked_at(filled, repair=True, now=END + 1) == Report(
        tokens=4, owners=1, found=0, mended=0, findings=()
    )
    assert await everything(redis) == before


async def test_an_empty_store_is_consistent(store: RedisStore) -> None:
    await store.prepare()
    assert (await looked_at(store)).consistent


LISTS: list[Any] = [
    pytest.param(lambda redis: redis.zrem(TOKENS, TOKEN_ID), TOKEN, f"is not in {TOKENS}", id="not in the list"),
    pytest.param(lambda redis: redis.zrem(LIVING, TOKEN_ID), TOKEN, f"is not in {LIVING}", id="not among the living"),
    pytest.param(lambda redis: redis.zrem(ENDS, TOKEN_ID), TOKEN, f"is not in {ENDS}", id="not in the ends"),
    pytest.param(lambda redis: redis.zrem(keys.EXPIRIES, TOKEN_ID), TOKEN, "is not in {zg}:expiries", id="no expiry"),
    pytest.param(
        lambda redis: redis.zadd(TOKENS, {TOKEN_ID: math.inf}), TOKEN, f"has no place in {TOKENS}", id="no place"
    ),
    pytest.param(
        lambda redis: redis.zadd(LIVING, {TOKEN_ID: 5}),
        TOKEN,
        f"has another place in {LIVING} than in {TOKENS}",
        id="another place among the living",
    ),
    pytest.param(
        lambda redis: redis.zadd(ENDS, {TOKEN_ID: 5}),
        TOKEN,
        f"has another end in {ENDS} than its own",
        id="another end among the living's",
    ),
    pytest.param(
        lambda redis: redis.zadd(keys.EXPIRIES, {TOKEN_ID: 5}),
        TOKEN,
        "has another end in {zg}:expiries than its own",
        id="another end",
    ),
    pytest.param(
        lambda redis: redis.zadd(ENDS, {numbered(1): 5}),
        keys.token_key(numbered(1)),
        f"should not be in {ENDS}",
        id="an end of a token without one",
    ),
    pytest.param(
        lambda redis: redis.zadd(keys.EXPIRIES, {numbered(1): 5}),
        keys.token_key(numbered(1)),
        "should not be in {zg}:expiries",
        id="an expiry of a token without one",
    ),
    pytest.param(
        lambda redis: redis.zadd(ENDS, {numbered(2): NOW - 5}),
        keys.token_key(numbered(2)),
        f"should not be in {ENDS}",
        id="an end of a token that is not among the living",
    ),
    pytest.param(
        lambda redis: redis.zadd(TOKENS, {"junk": 5}), TOKENS, "holds junk, which has no document", id="no such token"
    ),
    pytest.param(
        lambda redis: redis.zadd(LIVING, {"junk": 5}),
        LIVING,
        "holds junk, which has no document",
        id="no such token among the living",
    ),
    pytest.param(
        lambda redis: redis.zadd(ENDS, {"junk": 5}),
        ENDS,
        "holds junk, which has no document",
        id="no such token among the ends",
    ),
    pytest.param(
        lambda redis: redis.zadd(keys.EXPIRIES, {b"\xff": 5}),
        keys.EXPIRIES,
        r"holds \xff, which has no document",
        id="no such token among the expiries",
    ),
    pytest.param(
        lambda redis: redis.zadd(TOKENS, {numbered(3): 5}),
        TOKENS,
        f"holds {numbered(3)}, which is a token of {SOMEBODY.key}",
        id="another owner's token",
    ),
    pytest.param(
        lambda redis: redis.zadd(LIVING, {numbered(3): 5}),
        LIVING,
        f"holds {numbered(3)}, which is a token of {SOMEBODY.key}",
        id="another owner's token among the living",
    ),
    pytest.param(
        lambda redis: redis.hset(keys.use_key(numbered(8)), "count", 1),
        keys.use_key(numbered(8)),
        "is the use of a token that is not there",
        id="a use without a token",
    ),
    pytest.param(
        lambda redis: redis.zrem(keys.OWNERS, MINE),
        keys.owner_key(MINE),
        "is not in {zg}:owners",
        id="owner not listed",
    ),
    pytest.param(
        lambda redis: redis.zadd(keys.OWNERS, {"user:junk": 5}),
        keys.OWNERS,
        "holds user:junk, which has no document",
        id="no such owner",
    ),
]


@pytest.mark.parametrize(("damage", "key", "fault"), LISTS)
async def test_a_list_that_disagrees_is_found_and_mended_on_demand_and_no_document_changes(
    filled: RedisStore, redis: Redis, damage: Damage, key: str, fault: str
) -> None:
    before = await everything(redis)
    await damage(redis)
    damaged = await everything(redis)
    found = await looked_at(filled)
    assert found.findings == (Finding(key, fault, mended=False),)
    assert (found.found, found.mended, found.consistent) == (1, 0, False)
    assert await everything(redis) == damaged

    mended = await looked_at(filled, repair=True)
    assert mended.findings == (Finding(key, fault, mended=True),)
    assert (mended.found, mended.mended, mended.consistent) == (1, 1, True)
    after = await everything(redis)
    # What had no place any more gets the one of its issue.
    assert {name: _members(value) for name, value in after.items()} == {
        name: _members(value) for name, value in before.items()
    }
    assert (await looked_at(filled)).findings == ()


def _members(value: Any) -> Any:
    return {member for member, _ in value} if isinstance(value, list) else value


async def test_a_mended_token_is_listed_at_the_place_of_its_issue(filled: RedisStore, redis: Redis) -> None:
    late = token(token_id=numbered(4), name="late", issued_on=NOW + 40)
    await filled.create(late, BY, NOW + 40.5)
    await redis.delete(TOKENS, LIVING, ENDS, keys.EXPIRIES)
    await looked_at(filled, repair=True)
    assert await names(filled, include_expired=True) == ["expired", "for ever", "a token", "late"]
    assert await redis.zscore(TOKENS, late.id) == (NOW + 40) * 1_000_000
    assert await names(filled) == ["for ever", "a token", "late"]


async def test_lists_of_the_older_layout_are_mended_whole(filled: RedisStore, redis: Redis) -> None:
    await redis.delete(LIVING, ENDS, keys.living_key(SOMEBODY.key))
    report = await looked_at(filled, repair=True)
    assert report.consistent
    assert await names(filled) == ["a token", "for ever"]
    assert await names(filled, SOMEBODY) == ["theirs"]
    assert await names(filled, now=END) == ["for ever"]


DOCUMENT = msgspec.json.decode(msgspec.json.encode(token()))
REPORTED: list[Any] = [
    pytest.param(
        lambda redis: redis.set(TOKEN, b"{"), TOKEN, "a document of the type Token cannot be read", id="cut off"
    ),
    pytest.param(
        lambda redis: redis.set(TOKEN, msgspec.json.encode(DOCUMENT | {"id": numbered(7)})),
        TOKEN,
        "a document carries another id than its key",
        id="another id",
    ),
    pytest.param(
        lambda redis: redis.set(TOKEN, msgspec.json.encode(DOCUMENT | {"schema": SCHEMA + 1})),
        TOKEN,
        f"a document has schema {SCHEMA + 1}; this version knows {SCHEMA}",
        id="a newer schema",
    ),
    pytest.param(
        lambda redis: redis.set(keys.token_key("x"), b"{}"),
        keys.token_key("x"),
        "its name holds no token's id",
        id="a name without an id",
    ),
    pytest.param(
        lambda redis: redis.set(keys.owner_key(MINE), b"{"),
        keys.owner_key(MINE),
        "a document of the type Owner cannot be read",
        id="an owner cut off",
    ),
    pytest.param(
        lambda redis: redis.set(keys.owner_key(MINE), msgspec.json.encode(owner(ref=SOMEBODY))),
        keys.owner_key(MINE),
        "an owner's document is another owner's than its key says",
        id="another owner's",
    ),
    pytest.param(
        lambda redis: redis.set(keys.owner_key("x"), b"{}"),
        keys.owner_key("x"),
        "its name holds no owner",
        id="a name without an owner",
    ),
    pytest.param(
        lambda redis: redis.set(keys.zone_key("powerdns:a."), b"{"),
        keys.zone_key("powerdns:a."),
        "a document of the type ZonePin cannot be read",
        id="a zone cut off",
    ),
    pytest.param(
        lambda redis: redis.set(
            keys.zone_key("powerdns:a."), msgspec.json.encode(ZonePin(1, "powerdns", "b.", "c", "", NOW))
        ),
        keys.zone_key("powerdns:a."),
        "a zone's document is another zone's than its key says",
        id="another zone's",
    ),
    pytest.param(
        lambda redis: redis.rpush(keys.zone_key("powerdns:a."), b"x"),
        keys.zone_key("powerdns:a."),
        "is a list, and should be a string",
        id="a zone of another type",
    ),
    pytest.param(
        lambda redis: redis.rpush(keys.use_key(TOKEN_ID), b"x"),
        keys.use_key(TOKEN_ID),
        "is a list, and should be a hash",
        id="a use of another type",
    ),
    pytest.param(lambda redis: redis.set(keys.SEQUENCE, b"x"), keys.SEQUENCE, "is not a number", id="the number"),
]


@pytest.mark.parametrize(("damage", "key", "fault"), REPORTED)
async def test_what_only_a_person_can_mend_is_told_and_left_as_it_is(
    filled: RedisStore, redis: Redis, damage: Damage, key: str, fault: str
) -> None:
    await damage(redis)
    damaged = await everything(redis)
    report = await looked_at(filled, repair=True)
    assert report.findings == (Finding(key, fault, mended=False),)
    assert not report.consistent
    assert await everything(redis) == damaged


@pytest.mark.parametrize(
    "name",
    [TOKEN, TOKENS, LIVING, ENDS, keys.EXPIRIES, keys.OWNERS, keys.DENIED_AUDIT, keys.owner_key(MINE)],
)
async def test_a_key_of_another_type_is_told_and_spoils_nothing_else(
    filled: RedisStore, redis: Redis, name: str
) -> None:
    await redis.delete(name)
    await redis.hset(name, "a", "b")
    await redis.zrem(keys.tokens_key(SOMEBODY.key), numbered(3))
    report = await looked_at(filled, repair=True)
    assert await redis.hgetall(name) == {b"a": b"b"}
    found = {finding.key: finding.fault for finding in report.findings if not finding.mended}
    assert found[name].startswith("is a hash, and should be a ")
    if name != keys.EXPIRIES:  # which is their list too: it has to be put right first
        assert await redis.zscore(keys.tokens_key(SOMEBODY.key), numbered(3)) is not None


async def test_a_token_that_another_clock_sees_as_expired_is_no_disagreement(filled: RedisStore) -> None:
    await names(filled, now=END)
    assert (await looked_at(filled, now=END - 30)).consistent
    assert not (await looked_at(filled, now=END - 3000)).consistent


async def test_use_of_a_token_that_is_there_stays(filled: RedisStore, redis: Redis) -> None:
    await redis.hset(keys.use_key(TOKEN_ID), "count", 1)
    assert (await looked_at(filled, repair=True)).consistent
    assert await redis.hget(keys.use_key(TOKEN_ID), "count") == b"1"


async def test_keys_that_are_not_the_stores_are_not_its_business(filled: RedisStore, redis: Redis) -> None:
    await redis.set("other", "x")
    await redis.set("{zg}:something-newer", "x")
    assert (await looked_at(filled, repair=True)).consistent


# The audit.


async def last_actions(redis: Redis) -> list[dict[bytes, bytes]]:
    return [fields for _, fields in await redis.xrange(keys.AUDIT)]


async def test_a_repair_is_one_entry_of_the_audit_without_a_message(filled: RedisStore, redis: Redis) -> None:
    await redis.delete(LIVING, ENDS)
    number, before = await redis.get(keys.SEQUENCE), len(await last_actions(redis))
    report = await looked_at(filled, repair=True)
    entries = (await last_actions(redis))[before:]
    assert [entry[b"action"] for entry in entries] == [b"repair"]
    assert msgspec.json.decode(entries[0][b"after"]) == {"found": report.found, "mended": report.mended}
    assert await redis.get(keys.SEQUENCE) == number


@pytest.mark.parametrize("repair", [False, True])
async def test_where_nothing_was_mended_the_audit_says_nothing(
    filled: RedisStore,
    redis: Redis,
    repair: bool,  # noqa: FBT001 - a case's data
) -> None:
    await redis.set(TOKEN, b"{")
    before = await last_actions(redis)
    assert not (await looked_at(filled, repair=repair)).consistent
    assert await last_actions(redis) == before


async def test_a_repair_that_was_broken_off_is_in_the_audit_as_far_as_it_came(filled: RedisStore, redis: Redis) -> None:
    await redis.delete(LIVING)

    class GoneError(Exception):
        pass

    def progress(done: int, _: int) -> None:
        if done:
            raise GoneError

    with pytest.raises(GoneError):
        await check(filled, repair=True, clock=lambda: NOW, progress=progress)
    assert (await last_actions(redis))[-1][b"action"] == b"repair"


# A store in use.


async def test_what_changes_while_it_is_looked_at_is_no_disagreement(
    filled: RedisStore, open_store: Callable[[], RedisStore]
) -> None:
    other = open_store()
    stop = asyncio.Event()

    async def change() -> None:
        number = 100
        while not stop.is_set():
            made = token(token_id=numbered(number), expires_on=END if number % 2 else None, issued_on=NOW)
            await other.create(made, BY, NOW + number)
            old = await read(other, made.id)
            new = msgspec.structs.replace(made, expires_on=None if number % 2 else END)
            await other.replace(old, new, Action.UPDATE, BY, NOW)
            if number % 3:
                await other.delete(await read(other, made.id), Action.DELETE, BY, NOW)
            number += 1

    async def look() -> list[Report]:
        try:
            return [await looked_at(filled, repair=bool(number % 2)) for number in range(20)]
        finally:
            stop.set()

    _, reports = await asyncio.gather(change(), look())
    assert [report.findings for report in reports] == [()] * 20
    assert (await looked_at(filled)).consistent


async def test_a_token_that_changes_after_it_was_looked_at_is_not_mended_by_what_it_was(
    filled: RedisStore, redis: Redis
) -> None:
    old = await read(filled, TOKEN_ID)
    await redis.delete(LIVING)
    await filled.replace(
        old, msgspec.structs.replace(old.token, expires_on=None, name="changed"), Action.UPDATE, BY, NOW
    )
    assert not await filled.relist(old.token, old.raw, NOW)
    assert await redis.zscore(keys.EXPIRIES, TOKEN_ID) is None


async def test_a_token_that_is_deleted_after_it_was_looked_at_does_not_come_back(
    filled: RedisStore, redis: Redis
) -> None:
    old = await read(filled, TOKEN_ID)
    await filled.delete(old, Action.DELETE, BY, NOW)
    assert not await filled.relist(old.token, old.raw, NOW)
    assert await redis.zscore(TOKENS, TOKEN_ID) is None
    assert await redis.exists(TOKEN) == 0


async def test_of_many_findings_the_first_are_told_and_all_are_counted(
    filled: RedisStore, redis: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(consistency, "MOST_TOLD", 3)
    await redis.zadd(TOKENS, {f"junk{number}": number for number in range(700)})
    report = await looked_at(filled, repair=True)
    assert (len(report.findings), report.found, report.mended) == (3, 700, 700)
    assert await redis.zcard(TOKENS) == 3


async def test_progress_only_grows_and_ends_at_the_end(filled: RedisStore, redis: Redis) -> None:
    await redis.zadd(TOKENS, {f"junk{number}": number for number in range(700)})
    seen: list[tuple[int, int]] = []
    await check(filled, repair=False, clock=lambda: NOW, progress=lambda done, of: seen.append((done, of)))
    assert [done for done, _ in seen] == sorted(done for done, _ in seen)
    assert seen[-1][0] == seen[-1][1] >= 700


async def test_a_store_that_is_away_is_no_finding(filled: RedisStore) -> None:
    primary: Any = filled.primary
    if not hasattr(primary, "away"):
        pytest.skip("a real server is not taken away")
    primary.away = True
    with pytest.raises(StoreUnavailable):
        await looked_at(filled)


# The rule itself.

ENDINGS = st.one_of(st.none(), st.integers(NOW - 1000, NOW + 1000))


@given(expires_on=ENDINGS, place=st.integers(0, 2**50), swept=st.booleans())
def test_what_put_leaves_has_no_fault(expires_on: int | None, place: int, swept: bool) -> None:  # noqa: FBT001 - drawn
    expired = expires_on is not None and expires_on <= NOW
    living = not (expired and swept)
    scores = Scores(
        tokens=place,
        living=place if living else None,
        ends=expires_on if living else None,
        expiries=expires_on,
    )
    assert faults(_ending(expires_on), scores, NOW) == []


@given(
    expires_on=ENDINGS,
    scores=st.builds(
        Scores,
        *[st.one_of(st.none(), st.integers(NOW - 1000, NOW + 1000).map(float)) for _ in range(4)],
    ),
)
def test_whatever_has_no_fault_lists_a_living_token_and_knows_each_end(expires_on: int | None, scores: Scores) -> None:
    if faults(_ending(expires_on), scores, NOW):
        return
    assert scores.tokens is not None
    assert scores.expiries == expires_on
    assert scores.living is None or (scores.living, scores.ends) == (scores.tokens, expires_on)
    assert scores.living is not None or (expires_on is not None and expires_on <= NOW + 60)


def _ending(expires_on: int | None) -> Token:
    return token(owner=ME, expires_on=expires_on)

"""The scripts alone, as any client could run them; what the store makes of them: `test_redis_store.py`."""

import re
from typing import Any

import pytest
from redis.asyncio import Redis
from redis.exceptions import ResponseError

from gateway.store import scripts

SEQUENCE, AUDIT = "{t}:seq", "{t}:audit"
DOCUMENT, TOKENS, LIVING, ENDS, EXPIRIES, USE = TOKEN = [
    f"{{t}}:{name}" for name in ("doc", "tokens", "living", "ends", "expiries", "use")
]
OWNER, OWNERS, META = "{t}:owner", "{t}:owners", "{t}:meta"
CHANNEL = "{t}:channel"
SCRIPTS = {name: value for name, value in vars(scripts).items() if name.isupper() and name != "COMMON"}


async def run(redis: Redis, script: str, keys: list[str], *arguments: object, tell: str = "PUBLISH") -> Any:
    """Run a script that begins as all changes do; it tells "what", and its audit entry says `action: test`."""
    every = [SEQUENCE, AUDIT, *keys]
    return await redis.eval(script, len(every), *every, CHANNEL, tell, "what", 1000, 0, 2, "action", "test", *arguments)


async def change(redis: Redis, old: str, new: str, *, now: int = 5, end: object = "") -> Any:
    return await run(redis, scripts.CHANGE, TOKEN, "id", now * 1000, end, now, new, old)


async def initialise(redis: Redis, owner: str, recover: str = "", new: str = "id") -> Any:
    keys = [*TOKEN, OWNER, OWNERS]
    return await run(redis, scripts.INITIALISE, keys, new, 5, "", 5, "doc", owner, owner, recover)


async def change_owner(redis: Redis, old: str, new: str, owner: str = "me", now: int = 5) -> Any:
    return await run(redis, scripts.CHANGE_OWNER, [OWNER, OWNERS], owner, now, new, old)


async def change_meta(redis: Redis, value: str) -> Any:
    return await run(redis, scripts.CHANGE_META, [META], "field", value)


async def scores(redis: Redis, key: str) -> dict[str, float]:
    return {member.decode(): float(score) for member, score in await redis.zrange(key, 0, -1, withscores=True)}


async def everything(redis: Redis) -> dict[bytes, bytes]:
    return {key: await redis.dump(key) for key in await redis.keys()}


@pytest.mark.parametrize("script", [pytest.param(script, id=name) for name, script in SCRIPTS.items()])
def test_a_script_touches_only_the_keys_it_was_given(script: str) -> None:
    """A cluster lets a script do no more."""
    called = re.findall(r"redis\.call\(([^,()]+), *([^,()]+)", script)
    assert len(called) == script.count("redis.call(")
    assert all(re.fullmatch(r"KEYS\[\w+\]", first) for command, first in called if command != "ARGV[2]")


# What each change does besides: a number, a message, an entry in the audit.


async def test_a_change_returns_its_number(redis: Redis) -> None:
    assert [await change(redis, "", "a"), await change(redis, "a", "b"), await change(redis, "b", "")] == [1, 2, 3]
    assert await redis.get(SEQUENCE) == b"3"


async def heard(redis: Redis, *commands: str) -> list[bytes]:
    """What the two kinds of subscribers hear of one change after the other, each told by a command."""
    async with redis.pubsub() as pubsub:
        await pubsub.subscribe(CHANNEL)
        await pubsub.ssubscribe(CHANNEL)
        for number, command in enumerate(commands):
            await run(redis, scripts.CHANGE_META, [META], "field", number, tell=command)
        await redis.publish(CHANNEL, "the end")
        found = []
        async for message in pubsub.listen():
            if message["data"] == b"the end":
                return found
            if message["type"].endswith("message"):
                found.append(f"{message['type']}: {message['data'].decode()}".encode())
    return found


async def test_a_message_says_the_number_and_what_changed(redis: Redis) -> None:
    assert await heard(redis, "PUBLISH", "SPUBLISH") == [b"message: 1 what", b"smessage: 2 what"]


async def test_the_entry_of_the_audit_is_as_it_was_given(redis: Redis) -> None:
    await change(redis, "", "a")
    ((_, fields),) = await redis.xrange(AUDIT)
    assert fields == {b"action": b"test"}


async def test_an_entry_alone_has_no_number_and_no_message(redis: Redis) -> None:
    assert await run(redis, scripts.ENTRY, []) == 1
    assert {key.decode() for key in await redis.keys()} == {AUDIT}


async def test_a_change_that_fails_in_its_middle_was_told_before(redis: Redis) -> None:
    """A change without its message would leave a dead token alive."""
    await redis.set(TOKENS, "not a sorted set")
    with pytest.raises(ResponseError):
        await change(redis, "", "a")
    assert await redis.get(SEQUENCE) == b"1"
    assert await redis.xlen(AUDIT) == 1
    assert await redis.get(DOCUMENT) is None


@pytest.mark.parametrize("key", [SEQUENCE, AUDIT])
async def test_a_change_that_cannot_be_told_is_not_made(redis: Redis, key: str) -> None:
    await redis.set(key, "junk")
    with pytest.raises(ResponseError):
        await change(redis, "", "a")
    assert await redis.get(DOCUMENT) is None
    assert await scores(redis, TOKENS) == {}


# Tokens.


@pytest.mark.parametrize(
    ("held", "old"),
    [
        pytest.param("", "a", id="gone"),
        pytest.param("b", "a", id="another"),
        pytest.param("b", "", id="taken"),
        pytest.param("a\x00", "a", id="longer by a byte"),
        pytest.param("A", "a", id="in another case"),
    ],
)
@pytest.mark.parametrize("changing", [change, change_owner])
async def test_a_document_that_is_not_what_it_was_stays_and_the_answer_is_0(
    redis: Redis, held: str, old: str, changing: Any
) -> None:
    if held:
        await changing(redis, "", held)
    before = await everything(redis)
    assert [await changing(redis, old, new) for new in ("new", "")] == [0, 0]
    assert await everything(redis) == before


async def test_a_place_in_the_lists_is_that_of_the_first_time(redis: Redis) -> None:
    await change(redis, "", "a", now=5, end="9")
    await change(redis, "a", "b", now=7, end="")
    assert await scores(redis, TOKENS) == await scores(redis, LIVING) == {"id": 5000}


@pytest.mark.parametrize(
    ("end", "living", "ends", "expiries"),
    [
        pytest.param("", True, {}, {}, id="for ever"),
        pytest.param(6, True, {"id": 6}, {"id": 6}, id="ends a second later"),
        pytest.param(5, False, {}, {"id": 5}, id="ends this second"),
        pytest.param(4, False, {}, {"id": 4}, id="ended"),
    ],
)
@pytest.mark.parametrize("before", [pytest.param(end, id=f"was {end or 'for ever'}") for end in ("", 9, 3)])
async def test_the_lists_say_who_lives_and_until_when(
    redis: Redis,
    before: object,
    end: object,
    living: bool,  # noqa: FBT001 - a case's data
    ends: dict[str, float],
    expiries: dict[str, float],
) -> None:
    await change(redis, "", "a", now=5, end=before)
    await change(redis, "a", "b", now=5, end=end)
    assert await scores(redis, LIVING) == ({"id": 5000} if living else {})
    assert (await scores(redis, ENDS), await scores(redis, EXPIRIES)) == (ends, expiries)
    assert await scores(redis, TOKENS) == {"id": 5000}


async def test_a_deletion_leaves_the_number_and_the_audit(redis: Redis) -> None:
    await change(redis, "", "a", end="9")
    await redis.hset(USE, "count", "1")
    await change(redis, "a", "")
    assert {key.decode() for key in await redis.keys()} == {SEQUENCE, AUDIT}
    assert await redis.xlen(AUDIT) == 2


@pytest.mark.parametrize(
    ("now", "most", "taken", "left"),
    [
        pytest.param(4, 10, 0, ["five", "six", "ever"], id="nobody yet"),
        pytest.param(5, 10, 1, ["six", "ever"], id="the first"),
        pytest.param(9, 1, 1, ["six", "ever"], id="at most one"),
        pytest.param(9, 10, 2, ["ever"], id="all but who has no end"),
    ],
)
async def test_a_sweep_takes_the_expired_out_of_the_living_the_oldest_end_first(
    redis: Redis, now: int, most: int, taken: int, left: list[str]
) -> None:
    await redis.zadd(LIVING, {"five": 1, "six": 2, "ever": 3})
    await redis.zadd(ENDS, {"five": 5, "six": 6})
    assert await redis.eval(scripts.SWEEP, 2, LIVING, ENDS, now, most) == taken
    assert list(await scores(redis, LIVING)) == left
    assert list(await scores(redis, ENDS)) == [name for name in left if name != "ever"]


@pytest.mark.parametrize(("document", "answer"), [pytest.param("a", 1, id="as read"), pytest.param("b", 0, id="other")])
async def test_a_token_is_put_into_its_lists_anew_if_it_is_what_it_was(
    redis: Redis, document: str, answer: int
) -> None:
    await change(redis, "", "a", end="9")
    await redis.delete(TOKENS, LIVING, ENDS, EXPIRIES)
    before = await redis.get(SEQUENCE)
    keys = [SEQUENCE, AUDIT, *TOKEN]
    assert await redis.eval(scripts.RELIST, len(keys), *keys, "id", 7, "9", 5, document) == answer
    assert await scores(redis, TOKENS) == await scores(redis, LIVING) == ({"id": 7} if answer else {})
    assert await scores(redis, ENDS) == await scores(redis, EXPIRIES) == ({"id": 9} if answer else {})
    assert await redis.get(SEQUENCE) == before


# Owners, and what is said of the whole store.


async def test_the_first_owner_is_the_only_one_that_initialises(redis: Redis) -> None:
    assert [await initialise(redis, "first"), await initialise(redis, "second")] == [1, 0]
    assert await redis.get(OWNER) == b"first"
    assert list(await scores(redis, OWNERS)) == ["first"]
    assert await redis.xlen(AUDIT) == 1


async def test_whoever_recovers_stands_beside_the_first_owner_s_tokens(redis: Redis) -> None:
    await initialise(redis, "first")
    assert await initialise(redis, "first", "recover", "another") == 2
    assert list(await scores(redis, OWNERS)) == ["first"]
    assert set(await scores(redis, LIVING)) == {"id", "another"}


async def test_an_owner_is_made_changed_and_ended(redis: Redis) -> None:
    assert [await change_owner(redis, "", "a"), await change_owner(redis, "a", "b", now=7)] == [1, 2]
    assert await redis.get(OWNER) == b"b"
    assert await scores(redis, OWNERS) == {"me": 5}
    assert await change_owner(redis, "b", "") == 3
    assert {key.decode() for key in await redis.keys()} == {SEQUENCE, AUDIT}


async def test_a_field_that_says_so_already_is_not_changed(redis: Redis) -> None:
    assert [await change_meta(redis, value) for value in ("", "1", "1", "2", "", "")] == [0, 1, 0, 2, 3, 0]
    assert await redis.hgetall(META) == {}
    assert await redis.xlen(AUDIT) == 3

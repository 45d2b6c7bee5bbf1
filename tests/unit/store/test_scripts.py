"""The scripts alone, as any client could run them; what the store makes of them: `test_redis_store.py`."""

import re
from typing import Any

import pytest
from redis.asyncio import Redis

from gateway.store import scripts

KEYS = ["{t}:doc", "{t}:list", "{t}:ends", "{t}:seq", "{t}:log", "{t}:owner", "{t}:owners"]


async def change(redis: Redis, old: str, new: str, *, now: int = 5, end: str = "") -> Any:
    script = redis.register_script(scripts.CHANGE)
    return await script(KEYS[:5], [old, new, "id", now, end, 1000, 0, "{t}:channel", "action", "test"])


async def initialise(redis: Redis, owner: str) -> Any:
    script = redis.register_script(scripts.INITIALISE)
    return await script(KEYS, [owner, "doc", "id", 5, "", 1000, 0, "{t}:channel", owner, "action", "init"])


@pytest.mark.parametrize(
    "script", [pytest.param(scripts.CHANGE, id="change"), pytest.param(scripts.INITIALISE, id="initialise")]
)
def test_a_script_touches_only_the_keys_it_was_given(script: str) -> None:
    """A cluster lets a script do no more."""
    commands = re.findall(r"redis\.call\('([A-Z]+)', ([A-Z]+\[\d\])", script)
    assert len(commands) == script.count("redis.call(")
    assert all(first.startswith("KEYS[") for name, first in commands if name != "PUBLISH")


async def test_a_change_returns_its_number(redis: Redis) -> None:
    assert [await change(redis, "", "a"), await change(redis, "a", "b"), await change(redis, "b", "")] == [1, 2, 3]


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
async def test_a_document_that_is_not_what_it_was_stays_and_the_answer_is_0(redis: Redis, held: str, old: str) -> None:
    if held:
        await change(redis, "", held)
    before = {key: await redis.dump(key) for key in await redis.keys()}
    assert await change(redis, old, "new") == 0
    assert {key: await redis.dump(key) for key in await redis.keys()} == before


async def test_a_place_in_the_list_is_that_of_the_first_time(redis: Redis) -> None:
    await change(redis, "", "a", now=5, end="9")
    await change(redis, "a", "b", now=7, end="")
    assert await redis.zrange(KEYS[1], 0, -1, withscores=True) in ([(b"id", 5.0)], [[b"id", 5.0]])
    assert await redis.zcard(KEYS[2]) == 0


async def test_a_deletion_leaves_the_number_and_the_log(redis: Redis) -> None:
    await change(redis, "", "a", end="9")
    await change(redis, "a", "")
    assert {key.decode() for key in await redis.keys()} == {"{t}:seq", "{t}:log"}
    assert await redis.xlen(KEYS[4]) == 2


async def test_the_first_owner_is_the_only_one_that_initialises(redis: Redis) -> None:
    assert [await initialise(redis, "first"), await initialise(redis, "second")] == [1, 0]
    assert await redis.get(KEYS[5]) == b"first"
    assert await redis.zrange(KEYS[6], 0, -1) == [b"first"]
    assert await redis.xlen(KEYS[4]) == 1

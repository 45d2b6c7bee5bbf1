from typing import Any

import msgspec
import pytest
from redis.asyncio import Redis
from support.records import ACCOUNT_A, ACCOUNT_B, NOW, ZONE_A
from support.store_contract import BY

from gateway.access.ports import Action, Actor, Conflict, StoreUnavailable
from gateway.store import keys
from gateway.store.redis_store import RedisStore
from gateway.store.zone_pin import ZonePin
from gateway.store.zones import ZonePins

KEY = keys.zone_key(f"cloudflare-dns:{ZONE_A}")


@pytest.fixture
def pins(store: RedisStore) -> ZonePins:
    return ZonePins(store)


async def put(pins: ZonePins, account: str = ACCOUNT_A) -> ZonePin:
    return await pins.put("cloudflare-dns", ZONE_A, account, "alpha.example", BY, NOW)


async def entries(redis: Redis) -> list[dict[bytes, bytes]]:
    return [fields for _, fields in await redis.xrange(keys.AUDIT)]


async def test_a_zone_that_nobody_put_anywhere_has_no_account(pins: ZonePins) -> None:
    assert await pins.get("cloudflare-dns", ZONE_A) is None
    assert await pins.find("cloudflare-dns", ZONE_A) is None


async def test_a_zone_lies_where_it_was_put_last_in_that_api_alone(pins: ZonePins) -> None:
    assert await put(pins) == ZonePin(1, "cloudflare-dns", ZONE_A, ACCOUNT_A, "alpha.example", NOW)
    await put(pins, ACCOUNT_B)
    assert await pins.get("cloudflare-dns", ZONE_A) == ACCOUNT_B
    assert await pins.get("powerdns", ZONE_A) is None


async def test_of_many_zones_those_are_told_that_were_put_somewhere(pins: ZonePins) -> None:
    await put(pins)
    many = [f"{number:032x}" for number in range(1500)]
    assert await pins.among("cloudflare-dns", [*many, ZONE_A]) == {ZONE_A: ACCOUNT_A}
    assert await pins.among("powerdns", [ZONE_A]) == {}
    assert await pins.among("cloudflare-dns", []) == {}


async def test_what_is_taken_out_is_gone_and_it_is_said_whether_there_was_anything(pins: ZonePins) -> None:
    await put(pins)
    assert await pins.delete("cloudflare-dns", ZONE_A, BY, NOW)
    assert not await pins.delete("cloudflare-dns", ZONE_A, BY, NOW)
    assert await pins.get("cloudflare-dns", ZONE_A) is None


async def test_each_change_is_in_the_audit_with_what_was_before(pins: ZonePins, redis: Redis) -> None:
    first = msgspec.json.encode(await put(pins))
    second = msgspec.json.encode(await put(pins, ACCOUNT_B))
    await pins.delete("cloudflare-dns", ZONE_A, BY, NOW)
    found = await entries(redis)
    assert [(each[b"action"], each[b"before"], each[b"after"]) for each in found] == [
        (b"zone-set", b"", first),
        (b"zone-set", first, second),
        (b"zone-unset", second, b""),
    ]
    assert {each[b"zone"] for each in found} == {f"cloudflare-dns:{ZONE_A}".encode()}
    assert {each[b"actor_token"] for each in found} == {BY.token_id.encode()}


async def test_each_change_is_told(pins: ZonePins, store: RedisStore) -> None:
    told: list[str] = []
    store.on_change.append(told.append)
    await put(pins)
    await pins.delete("cloudflare-dns", ZONE_A, BY, NOW)
    assert told == [f"zone:cloudflare-dns:{ZONE_A}"] * 2


async def test_who_was_slower_looks_again_so_that_the_audit_is_true(store: RedisStore, redis: Redis) -> None:
    class Slower:
        """Another process is faster, once."""

        def __init__(self) -> None:
            self.first = True

        def using(self) -> Any:
            return store.using()

        async def change_zone(self, zone: str, old: bytes, new: bytes, action: Action, by: Actor, now: float) -> None:
            if self.first:
                self.first = False
                await put(ZonePins(store), ACCOUNT_B)
            await store.change_zone(zone, old, new, action, by, now)

    await put(ZonePins(Slower()))  # type: ignore[arg-type]
    found = await entries(redis)
    assert [msgspec.json.decode(each[b"after"])["account"] for each in found] == [ACCOUNT_B, ACCOUNT_A]
    assert found[1][b"before"] == found[0][b"after"]


async def test_a_change_that_always_comes_too_late_gives_up(store: RedisStore) -> None:
    class Contended:
        def using(self) -> Any:
            return store.using()

        async def change_zone(self, *_: Any) -> None:
            raise Conflict

    with pytest.raises(Conflict):
        await put(ZonePins(Contended()))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "stored",
    [
        pytest.param(b"{", id="junk"),
        pytest.param(b'{"schema":2,"api":"a","zone":"z","account":"c","name":"","modified_on":1}', id="a newer one"),
        pytest.param(b'{"schema":1,"api":"a","zone":"z","account":"c","name":"","modified_on":1}', id="another zone's"),
    ],
)
async def test_a_pin_that_cannot_be_read_is_an_outage_and_no_account(
    pins: ZonePins, redis: Redis, stored: bytes
) -> None:
    await redis.set(KEY, stored)
    with pytest.raises(StoreUnavailable):
        await pins.get("cloudflare-dns", ZONE_A)

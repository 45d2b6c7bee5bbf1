"""How many tokens end within a week is known by owner, and of no more owners than a page of metrics should show."""

import pytest
from support.fake_primary import FakePrimary
from support.records import NOW, owner, token
from support.store_contract import BY, numbered

from gateway.store.ending import MOST_OWNERS, OTHERS, SOON, ending_soon
from gateway.store.redis_store import AuditLimits, RedisStore
from gateway.tokens.owner import OwnerKind, OwnerRef

OURS = owner().ref


@pytest.mark.parametrize(
    ("ends", "counted"),
    [
        pytest.param(None, False, id="without an end"),
        pytest.param(NOW + SOON + 1, False, id="a second early"),
        pytest.param(NOW + SOON, True, id="a week before"),
        pytest.param(NOW + 1, True, id="a second before"),
        pytest.param(NOW, False, id="ended"),
    ],
)
async def test_what_ends_within_a_week_is_counted_for_its_owner(
    store: RedisStore,
    ends: int | None,
    counted: bool,  # noqa: FBT001 - a case's data
) -> None:
    await store.initialise(owner(), token(expires_on=ends), NOW)
    assert await ending_soon(store, NOW) == ({OURS.key: 1} if counted else {})


async def test_owners_without_a_record_are_counted_together(store: RedisStore) -> None:
    await store.initialise(owner(), token(expires_on=NOW + 60), NOW)
    for number in (1, 2):
        ref = OwnerRef(OwnerKind.ACCOUNT, numbered(number + 70))
        await store.create(token(token_id=numbered(number), expires_on=NOW + 60, owner=ref), BY, NOW)
    assert await ending_soon(store, NOW) == {OURS.key: 1, OTHERS: 2}
    assert MOST_OWNERS <= 100


async def test_of_a_store_that_is_away_nothing_is_known() -> None:
    primary = FakePrimary()
    primary.away = True
    store = RedisStore(primary, peppers=(), audit=AuditLimits(1000, 10**9))  # type: ignore[arg-type]
    assert await ending_soon(store, NOW) is None

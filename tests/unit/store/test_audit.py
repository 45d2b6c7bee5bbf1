import asyncio
from collections.abc import Callable, Iterable
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from redis.asyncio import Redis
from support.fake_primary import FakePrimary
from support.records import NOW, USER, owner, secret_of, token
from support.store_contract import BY, numbered, read

from gateway.access.ports import Action, Actor, Denied, StoreUnavailable
from gateway.store import keys
from gateway.store.audit import (
    AuditEntry,
    AuditPage,
    AuditQuery,
    AuditTrail,
    decode_entry,
    is_cursor,
    is_entry_id,
)
from gateway.store.redis_store import AuditLimits, RedisStore
from gateway.tokens.owner import Owner

Open = Callable[..., RedisStore]
Fields = dict[str, str | bytes]

HIGHEST = 2**64 - 1
REFUSED = Denied("DELETE", "/client/v4/user/tokens/x", "forbidden", numbered(1))


@pytest.fixture
def trail(store: RedisStore) -> AuditTrail:
    return AuditTrail(store)


async def fill(redis: Redis, count: int, **fields: str) -> None:
    """Entries "1", "2", ... a second after each other: their number is the reason in them, and in the second it is."""
    for number in range(1, count + 1):
        await redis.xadd(keys.AUDIT, {"action": "update", "reason": str(number)} | fields, id=f"{number}000-0")


def reasons(page: AuditPage) -> str:
    return " ".join(entry.reason for entry in page.entries)


def as_stored(document: Owner) -> Any:
    return msgspec.json.decode(msgspec.json.encode(document))


async def asked(trail: AuditTrail, **query: Any) -> AuditPage:
    return await trail.read(AuditQuery(**{"count": 100} | query))


# What an entry says.


async def test_a_change_is_read_as_it_was_written(store: RedisStore, trail: AuditTrail) -> None:
    made = token(name="new", expires_on=NOW + 9)
    await store.create(made, BY, NOW)
    old = await read(store, made.id)
    await store.replace(old, token(name="renamed"), Action.UPDATE, BY, NOW + 1)
    created, updated = (await asked(trail, descending=False)).entries
    assert (created.action, created.token, created.before) == ("create", made.id, None)
    assert created.after is not None
    assert (created.after["name"], created.after["expires_on"]) == ("new", NOW + 9)
    assert updated.before == created.after
    assert updated.after is not None
    assert updated.after["name"] == "renamed"
    assert (updated.actor_token, updated.actor_owner) == (BY.token_id, BY.owner)
    assert (updated.address, updated.request_id) == (BY.address, BY.request_id)
    assert created.readable
    assert created.at is not None


async def test_no_secret_and_no_digest_is_in_what_is_read(store: RedisStore, trail: AuditTrail) -> None:
    made = token()
    await store.create(made, BY, NOW)
    text = msgspec.json.encode((await asked(trail)).entries).decode()
    assert made.digests[0].hex not in text
    assert secret_of().reveal().rpartition("_")[2] not in text


async def test_a_refused_call_says_what_was_asked_and_why_not(store: RedisStore, trail: AuditTrail) -> None:
    await store.denied(REFUSED, BY, NOW)
    (entry,) = (await asked(trail)).entries
    assert (entry.action, entry.method, entry.path) == ("denied", "DELETE", "/client/v4/user/tokens/x")
    assert (entry.reason, entry.token, entry.actor_token) == ("forbidden", numbered(1), BY.token_id)
    assert entry.id.endswith("d")
    assert (await asked(trail, entry=entry.id)).entries == (entry,)


async def test_who_signed_in_and_out_stands_among_what_is_no_change(store: RedisStore, trail: AuditTrail) -> None:
    by = Actor(token().id, BY.owner, BY.address, BY.request_id)
    await store.visited(Action.SIGN_IN, by, NOW)
    await store.visited(Action.SIGN_OUT, by, NOW)
    left, came = (await asked(trail, token=token().id)).entries
    assert (came.action, left.action) == ("sign-in", "sign-out")
    assert (came.token, came.actor_token, came.actor_owner, came.address) == (
        by.token_id,
        by.token_id,
        by.owner,
        by.address,
    )
    assert came.id.endswith("d")
    assert (await asked(trail, action="sign-in")).entries == (came,)
    assert (await asked(trail, action="update")).entries == ()


async def test_a_recovery_says_what_became_of_the_owner(store: RedisStore, trail: AuditTrail) -> None:
    await store.initialise(owner([]), token(), NOW)
    await store.recover(owner(), token(token_id=numbered(7)), NOW + 1)
    recovered, first = (await asked(trail)).entries
    assert (first.owner_before, first.owner_after) == (None, as_stored(owner([])))
    assert (recovered.owner_before, recovered.owner_after) == (first.owner_after, as_stored(owner()))


@pytest.mark.parametrize(
    ("old", "readable"),
    [pytest.param("{", False, id="that is cut off"), pytest.param(None, True, id="of another kind")],
)
async def test_an_owner_s_record_that_is_broken_stops_no_recovery(
    redis: Redis,
    store: RedisStore,
    trail: AuditTrail,
    old: str | None,
    readable: bool,  # noqa: FBT001 - a case's data
) -> None:
    name = keys.owner_key(owner().ref.key)
    await (redis.lpush(name, "x") if old is None else redis.set(name, old))  # type: ignore[misc]
    await store.recover(owner(), token(), NOW)
    (entry,) = (await asked(trail)).entries
    assert (entry.owner_before, entry.readable) == (None, readable)
    assert entry.owner_after == as_stored(owner())


async def test_a_change_of_an_owner_names_it(store: RedisStore, trail: AuditTrail) -> None:
    await store.initialise(owner(), token(), NOW)
    found = await store.get_owner(owner().ref)
    assert found is not None
    await store.change_owner(owner().ref, found[1], owner([]), Action.OWNER_UPDATE, BY, NOW)
    (entry, _) = (await asked(trail)).entries
    assert (entry.action, entry.owner, entry.token) == ("owner-update", f"user:{USER}", "")
    assert entry.before is not None
    assert entry.after is not None
    assert entry.before["policies"] != entry.after["policies"]


@pytest.mark.parametrize(
    ("fields", "shown"),
    [
        pytest.param({"action": b"\xff"}, {}, id="an action that is no text"),
        pytest.param({"what": "ever"}, {}, id="no action"),
        pytest.param({"action": "update", "before": "{"}, {"action": "update"}, id="a document that is cut off"),
        pytest.param({"action": "update", "after": "[]"}, {"action": "update"}, id="a document of another kind"),
        pytest.param({"action": "update", "after": b"\xff"}, {"action": "update"}, id="a document that is no text"),
        pytest.param(
            {"action": "update", "after": "[" * 5000, "token": "x"},
            {"action": "update", "token": "x"},
            id="a document without a bottom",
        ),
    ],
)
async def test_an_entry_that_cannot_be_read_is_shown_as_such_among_the_others(
    redis: Redis, trail: AuditTrail, fields: Fields, shown: dict[str, str]
) -> None:
    await fill(redis, 1)
    await redis.xadd(keys.AUDIT, fields, id="1500-7")  # type: ignore[arg-type]
    unreadable, other = (await asked(trail)).entries
    assert unreadable == AuditEntry(id="1500-7", at=1500, readable=False, **shown)
    assert (other.reason, other.readable) == ("1", True)


async def test_what_a_later_version_adds_is_passed_over(redis: Redis, trail: AuditTrail) -> None:
    await redis.xadd(keys.AUDIT, {"action": "transmute", "colour": b"\xff"}, id="1-1")
    assert (await asked(trail)).entries == (AuditEntry(id="1-1", at=1, action="transmute"),)


@given(
    st.dictionaries(
        st.sampled_from([b"action", b"token", b"before", b"after", b"owner_before", b"path", b"x"]), st.binary()
    )
)
def test_whatever_is_in_an_entry_it_is_decoded(fields: dict[bytes, bytes]) -> None:
    assert decode_entry("1-2", fields).id == "1-2"


# Which entries.


@pytest.mark.parametrize(
    ("query", "shown"),
    [
        pytest.param({}, "5 4 3 2 1", id="newest first"),
        pytest.param({"descending": False}, "1 2 3 4 5", id="oldest first"),
        pytest.param({"since": 3}, "5 4 3", id="since, with the moment itself"),
        pytest.param({"before": 3}, "2 1", id="before, without the moment itself"),
        pytest.param({"since": 2, "before": 4, "descending": False}, "2 3", id="between"),
        pytest.param({"since": 4, "before": 3}, "", id="between nothing"),
        pytest.param({"since": -5}, "5 4 3 2 1", id="since before all time"),
        pytest.param({"before": -5}, "", id="before all time"),
        pytest.param({"before": 0}, "", id="before the first second"),
        pytest.param({"since": 253402300799}, "", id="since the year 9999"),
        pytest.param({"entry": "3000-0"}, "3", id="one by its id"),
        pytest.param({"entry": "3000-1"}, "", id="one that is not there"),
        pytest.param({"entry": "3000-0", "since": 4}, "", id="one that lies elsewhere"),
        pytest.param({"cursor": "3000-0"}, "2 1", id="behind a cursor"),
        pytest.param({"cursor": "3000-0", "descending": False}, "4 5", id="behind a cursor, oldest first"),
        pytest.param({"cursor": "3000-0", "descending": False, "since": 5}, "5", id="a cursor that lies before since"),
        pytest.param({"cursor": "4000-0", "before": 2}, "1", id="a cursor that lies after before"),
        pytest.param({"cursor": "0-0"}, "", id="behind the first entry there can be"),
        pytest.param({"cursor": f"{HIGHEST}-{HIGHEST}", "descending": False}, "", id="behind the last there can be"),
        pytest.param({"skip": 2}, "3 2 1", id="passing over some"),
        pytest.param({"skip": 9}, "", id="passing over all"),
    ],
)
async def test_the_entries_that_are_asked_for(
    redis: Redis, trail: AuditTrail, query: dict[str, Any], shown: str
) -> None:
    await fill(redis, 5)
    page = await asked(trail, **query)
    assert (reasons(page), page.cursor) == (shown, None)


async def test_an_empty_trail_has_no_entry_and_no_newest(trail: AuditTrail) -> None:
    assert await asked(trail) == AuditPage((), None, None)


@pytest.mark.parametrize(
    ("query", "shown"),
    [
        pytest.param({"token": numbered(1)}, "3 1", id="done to a token or with it"),
        pytest.param({"token": numbered(9)}, "", id="a token without entries"),
        pytest.param({"action": "roll"}, "2", id="an action"),
        pytest.param({"token": numbered(1), "action": "roll"}, "", id="both"),
    ],
)
async def test_entries_are_found_by_token_and_action(
    redis: Redis, trail: AuditTrail, query: dict[str, str], shown: str
) -> None:
    await redis.xadd(keys.AUDIT, {"action": "update", "token": numbered(1), "reason": "1"}, id="1-1")
    await redis.xadd(keys.AUDIT, {"action": "roll", "token": numbered(2), "reason": "2"}, id="2-1")
    await redis.xadd(keys.AUDIT, {"action": "update", "actor_token": numbered(1), "reason": "3"}, id="3-1")
    assert reasons(await asked(trail, **query)) == shown


# Pages.


@pytest.mark.parametrize("descending", [True, False], ids=["newest first", "oldest first"])
@pytest.mark.parametrize("count", [1, 7, 99, 100, 101, 250, 251, 1000])
async def test_page_after_page_has_each_entry_once(
    redis: Redis,
    trail: AuditTrail,
    count: int,
    descending: bool,  # noqa: FBT001 - a case's data
) -> None:
    await fill(redis, 250)
    found: list[int] = []
    cursor: str | None = ""
    while cursor is not None:
        page = await asked(trail, count=count, descending=descending, cursor=cursor)
        assert len(page.entries) <= count
        found += [int(entry.reason) for entry in page.entries]
        cursor = page.cursor
    assert found == sorted(range(1, 251), reverse=descending)


async def test_entries_of_the_same_millisecond_are_all_found(redis: Redis, trail: AuditTrail) -> None:
    for number in range(5):
        await redis.xadd(keys.AUDIT, {"action": "update", "reason": str(number)}, id=f"1000-{number}")
    for descending, shown in ((True, "4 3 2 1 0"), (False, "0 1 2 3 4")):
        first = await asked(trail, count=2, descending=descending)
        assert first.cursor is not None
        second = await asked(trail, descending=descending, cursor=first.cursor)
        assert f"{reasons(first)} {reasons(second)}" == shown


async def test_what_comes_later_stands_behind_the_newest_that_was_looked_at(redis: Redis, trail: AuditTrail) -> None:
    await fill(redis, 3, token=numbered(2))
    page = await asked(trail, token=numbered(1))
    assert (page.entries, page.newest) == ((), "3000-0_0-0d")
    await redis.xadd(keys.AUDIT, {"action": "roll", "token": numbered(1), "reason": "new"}, id="3000-1")
    assert page.newest is not None
    assert reasons(await asked(trail, token=numbered(1), descending=False, cursor=page.newest)) == "new"


async def test_one_call_looks_at_so_many_entries_and_the_cursor_goes_on(redis: Redis, store: RedisStore) -> None:
    trail = AuditTrail(store, most_looked_at=120)
    await redis.xadd(keys.AUDIT, {"action": "roll", "token": numbered(1), "reason": "found"}, id="1-1")
    await fill(redis, 300, token=numbered(2))
    pages = []
    cursor: str | None = ""
    while cursor is not None:
        page = await asked(trail, token=numbered(1), cursor=cursor)
        pages.append(reasons(page))
        cursor = page.cursor
    assert pages == ["", "", "found"]


async def test_one_call_looks_at_so_many_bytes_and_at_one_entry_at_least(redis: Redis, store: RedisStore) -> None:
    await fill(redis, 5, path="x" * 2000)
    page = await asked(AuditTrail(store, most_bytes=1000))
    assert (reasons(page), page.cursor) == ("5", "5000-0")


# Changes and refused calls: two streams, read as one.


async def fill_both(redis: Redis, changes: Iterable[str], denials: Iterable[str]) -> list[str]:
    """An entry for each id in each stream; their names as they are shown, oldest first."""
    changes, denials = list(changes), list(denials)
    pipe = redis.pipeline(transaction=False)
    for entry_id in changes:
        pipe.xadd(keys.AUDIT, {"action": "update"}, id=entry_id)
    for entry_id in denials:
        pipe.xadd(keys.DENIED_AUDIT, {"action": "denied"}, id=entry_id)
    await pipe.execute()
    return sorted([*changes, *(f"{entry_id}d" for entry_id in denials)], key=order)


def order(name: str) -> tuple[int, int, bool]:
    milliseconds, _, number = name.partition("-")
    return int(milliseconds), int(number.removesuffix("d")), name.endswith("d")


def ids(page: AuditPage) -> list[str]:
    return [entry.id for entry in page.entries]


async def pages(trail: AuditTrail, **query: Any) -> list[list[str]]:
    """The ids of all that there is, page after page, each behind the cursor of the one before."""
    found = []
    cursor: str | None = query.pop("cursor", "")
    while cursor is not None:
        page = await asked(trail, cursor=cursor, **query)
        assert page.cursor is None or is_cursor(page.cursor)
        found.append(ids(page))
        cursor = page.cursor
    return found


async def test_no_number_of_refused_calls_pushes_out_the_entry_of_a_change(open_store: Open, redis: Redis) -> None:
    store = open_store(max_entries=300)
    trail = AuditTrail(store)
    for number in range(150):
        await store.create(token(token_id=numbered(number)), BY, NOW)
        for _ in range(4):
            await store.denied(REFUSED, BY, NOW)
    found = [entry for page in await pages(trail, action="create") for entry in page]
    assert len(found) == 150
    assert 300 <= await redis.xlen(keys.DENIED_AUDIT) < 450
    everything = [entry for page in await pages(trail) for entry in page]
    assert len([entry for entry in everything if not entry.endswith("d")]) == 150


async def test_refused_calls_are_cut_to_their_age(open_store: Open, redis: Redis) -> None:
    await fill_both(redis, ["1000-0"], [f"1000-{number}" for number in range(220)])
    await open_store(max_age=10**8).denied(REFUSED, BY, NOW)
    assert 1 <= await redis.xlen(keys.DENIED_AUDIT) < 150
    assert await redis.xlen(keys.AUDIT) == 1


SAME = ["1000-0", "1000-1", "2000-0"]
BOTH = ["1000-0", "1000-0d", "1000-1", "1000-1d", "2000-0", "2000-0d"]


@pytest.mark.parametrize("descending", [True, False], ids=["newest first", "oldest first"])
@pytest.mark.parametrize("count", [1, 2, 3, 4, 5, 6, 7])
async def test_entries_of_the_same_id_are_each_found_once_across_pages(
    redis: Redis,
    trail: AuditTrail,
    count: int,
    descending: bool,  # noqa: FBT001 - a case's data
) -> None:
    await fill_both(redis, SAME, SAME)
    shown = BOTH[::-1] if descending else BOTH
    assert [entry for page in await pages(trail, count=count, descending=descending) for entry in page] == shown
    skipping = [await asked(trail, count=count, skip=skip, descending=descending) for skip in range(0, 6, count)]
    assert [entry for page in skipping for entry in ids(page)] == shown


@pytest.mark.parametrize(
    ("query", "shown"),
    [
        pytest.param({"cursor": "1000-1"}, ["1000-0d", "1000-0"], id="behind a change"),
        pytest.param({"cursor": "1000-1d"}, ["1000-1", "1000-0d", "1000-0"], id="behind a refused call"),
        pytest.param(
            {"cursor": "1000-1", "descending": False},
            ["1000-1d", "2000-0", "2000-0d"],
            id="behind a change, oldest first",
        ),
        pytest.param(
            {"cursor": "1000-1d", "descending": False}, ["2000-0", "2000-0d"], id="behind a refused call, oldest first"
        ),
        pytest.param({"cursor": "1000-0_2000-0d"}, ["1000-1d", "1000-0d"], id="behind one of each"),
        pytest.param(
            {"cursor": "1000-0_2000-0d", "descending": False},
            ["1000-1", "2000-0"],
            id="behind one of each, oldest first",
        ),
        pytest.param({"entry": "1000-1"}, ["1000-1"], id="a change by its id"),
        pytest.param({"entry": "1000-1d"}, ["1000-1d"], id="a refused call by its id"),
        pytest.param({"action": "denied"}, ["2000-0d", "1000-1d", "1000-0d"], id="refused calls"),
        pytest.param({"action": "update"}, ["2000-0", "1000-1", "1000-0"], id="changes"),
        pytest.param({"action": "denied", "entry": "1000-1"}, [], id="a change among refused calls"),
        pytest.param({"since": 2}, ["2000-0d", "2000-0"], id="since"),
        pytest.param({"before": 2}, BOTH[3::-1], id="before"),
    ],
)
async def test_what_is_asked_for_is_found_in_both_streams(
    redis: Redis, trail: AuditTrail, query: dict[str, Any], shown: list[str]
) -> None:
    await fill_both(redis, SAME, SAME)
    assert ids(await asked(trail, **query)) == shown


async def test_an_action_is_looked_for_in_its_own_stream_alone(redis: Redis, store: RedisStore) -> None:
    await fill_both(redis, [f"2000-{number}" for number in range(50)], ["1000-0"])
    page = await asked(AuditTrail(store, most_looked_at=1), action="denied")
    assert (ids(page), page.cursor) == (["1000-0d"], None)


@pytest.mark.parametrize("descending", [True, False], ids=["newest first", "oldest first"])
@pytest.mark.parametrize("stream", [keys.AUDIT, keys.DENIED_AUDIT], ids=["a change", "a refused call"])
@pytest.mark.parametrize("entry_id", ["1500-0", "2000-1", "3000-0"], ids=["lower", "in the same moment", "higher"])
async def test_what_comes_later_stands_behind_the_newest_though_the_other_stream_is_ahead(
    redis: Redis,
    trail: AuditTrail,
    entry_id: str,
    stream: str,
    descending: bool,  # noqa: FBT001 - a case's data
) -> None:
    """Each stream has its own numbers, and a server's clock may go back."""
    ahead = ["1000-0", "2000-0", "2000-5"]
    behind = ["1000-0", "1400-0"]
    await fill_both(redis, *((behind, ahead) if stream == keys.AUDIT else (ahead, behind)))
    newest = (await asked(trail, descending=descending)).newest
    await redis.xadd(stream, {"action": "new"}, id=entry_id)
    page = await asked(trail, descending=False, cursor=newest)
    assert [entry.action for entry in page.entries] == ["new"]
    last = await asked(trail, descending=False, cursor=page.newest)
    assert (last.entries, last.newest) == ((), None)


async def test_older_entries_are_not_taken_for_new_ones_though_the_others_filled_the_page(
    redis: Redis, trail: AuditTrail
) -> None:
    await fill_both(redis, ["5000-0", "6000-0"], ["1000-0", "2000-0"])
    page = await asked(trail, count=1)
    assert (ids(page), page.newest) == (["6000-0"], "6000-0_2000-0d")
    page = await asked(trail, count=1, since=3)
    assert page.newest is not None
    assert ids(await asked(trail, descending=False, cursor=page.newest)) == []


async def test_what_comes_between_two_pages_is_not_passed_over(redis: Redis, trail: AuditTrail) -> None:
    await fill_both(redis, ["1000-0"], ["1000-0", "3000-0", "4000-0"])
    first = await asked(trail, count=3, descending=False)
    assert ids(first) == ["1000-0", "1000-0d", "3000-0d"]
    await redis.xadd(keys.AUDIT, {"action": "update"}, id="2000-0")
    assert ids(await asked(trail, descending=False, cursor=first.cursor)) == ["2000-0", "4000-0d"]


numbers = st.integers(0, 4)
streams = st.sets(st.tuples(numbers, numbers).filter(any), max_size=15).map(
    lambda found: [f"{milliseconds}-{number}" for milliseconds, number in sorted(found)]
)


@given(streams, streams, st.integers(1, 7), st.integers(1, 7), st.booleans())
def test_pages_of_any_size_have_each_entry_of_both_streams_once_and_in_order(
    changes: list[str],
    denials: list[str],
    count: int,
    most_looked_at: int,
    descending: bool,  # noqa: FBT001 - a case's data
) -> None:
    async def check() -> None:
        primary = FakePrimary()
        store = RedisStore(primary, peppers=(), audit=AuditLimits(1000, 10**9))  # type: ignore[arg-type]
        expected = await fill_both((await primary.clients()).writer, changes, denials)
        trail = AuditTrail(store, most_looked_at=most_looked_at)
        found = await pages(trail, count=count, descending=descending)
        await store.close()
        assert [entry for page in found for entry in page] == (expected[::-1] if descending else expected)
        assert all(len(page) <= count for page in found)

    asyncio.run(check())


@given(streams, streams, st.lists(st.booleans(), max_size=30))
def test_who_follows_is_shown_each_entry_once_in_whatever_order_they_come(
    changes: list[str], denials: list[str], turns: list[bool]
) -> None:
    async def check() -> None:
        primary = FakePrimary()
        store = RedisStore(primary, peppers=(), audit=AuditLimits(1000, 10**9))  # type: ignore[arg-type]
        redis, trail = (await primary.clients()).writer, AuditTrail(store)
        left = {False: changes[::-1], True: denials[::-1]}
        expected: list[str] = []
        found: list[str] = []
        seen = ""
        for is_denial in [*turns, *([False] * len(changes)), *([True] * len(denials))]:
            if left[is_denial]:
                one = [left[is_denial].pop()]
                expected += await fill_both(redis, [] if is_denial else one, one if is_denial else [])
            page = await asked(trail, descending=False, cursor=seen)
            found += ids(page)
            seen = page.newest or seen
        await store.close()
        assert found == expected

    asyncio.run(check())


# What is not there, or not well.


async def test_a_store_that_is_away_is_said() -> None:
    primary = FakePrimary()
    primary.away = True
    trail = AuditTrail(RedisStore(primary, peppers=(), audit=AuditLimits(1000, 10**9)))  # type: ignore[arg-type]
    with pytest.raises(StoreUnavailable):
        await asked(trail)


@pytest.mark.parametrize("stream", [keys.AUDIT, keys.DENIED_AUDIT])
async def test_a_key_of_another_kind_is_an_outage_and_no_bug(redis: Redis, trail: AuditTrail, stream: str) -> None:
    await redis.set(stream, "x")
    with pytest.raises(StoreUnavailable):
        await asked(trail)


async def test_reading_does_not_disturb_writing(open_store: Open) -> None:
    store, trail = open_store(), AuditTrail(open_store())
    async with asyncio.TaskGroup() as tasks:
        for number in range(20):
            tasks.create_task(store.create(token(token_id=numbered(number)), BY, NOW))
            tasks.create_task(asked(trail, count=3))
    assert len((await asked(trail)).entries) == 20


@pytest.mark.parametrize(
    ("text", "is_one"),
    [
        ("0-0", True),
        ("1-2d", True),
        ("1-2dd", False),
        ("1-2D", False),
        ("1d-2", False),
        ("1-1_1-1d", False),
        ("1800000000000-12", True),
        (f"{HIGHEST}-{HIGHEST}", True),
        (f"{HIGHEST + 1}-0", False),
        (f"0-{HIGHEST + 1}", False),
        ("1", False),
        ("1-", False),
        ("-1-1", False),
        ("(1-1", False),
        ("+", False),
        ("1-1\n", False),
        ("\u0661-1", False),
    ],
)
def test_an_entry_s_id_is_a_cursor_too(text: str, is_one: bool) -> None:  # noqa: FBT001 - a case's data
    assert is_entry_id(text) is is_one
    assert is_cursor(text) is is_one or "_" in text


@pytest.mark.parametrize(
    ("text", "is_one"),
    [
        ("1-1_2-2d", True),
        ("0-0_0-0d", True),
        ("1-1_2-2", False),
        ("1-1d_2-2d", False),
        ("1-1d_2-2", False),
        ("1-1_2-2d_3-3", False),
        (f"1-1_{HIGHEST + 1}-0d", False),
        ("1-1_", False),
        ("_1-1d", False),
        ("_", False),
        ("", False),
    ],
)
def test_a_cursor_is_behind_one_entry_or_one_of_each_stream(text: str, is_one: bool) -> None:  # noqa: FBT001
    assert is_cursor(text) is is_one

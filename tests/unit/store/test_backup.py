"""A store goes into a file and comes out of it as it was; a file that is not whole changes nothing."""

import contextlib
import errno
import fcntl
import hashlib
import io
import json
import os
import re
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from redis.asyncio import Redis
from support.records import NOW, USER, owner, token
from support.store_contract import BY, ME, SOMEBODY, names, numbered, read

from gateway.access.ports import Action
from gateway.store import backup, keys
from gateway.store.backup import BackupError, Checked, Exported, Loaded, export, load, verify, writing
from gateway.store.consistency import check
from gateway.store.redis_store import AuditLimits, Imported, RedisStore
from gateway.store.schema import STORE_SCHEMA
from gateway.store.zone_pin import PIN_SCHEMA, ZonePin
from gateway.store.zones import ZonePins
from gateway.tokens.digest import Algorithm, Digest
from gateway.tokens.owner import Owner, OwnerKind, OwnerRef, OwnerStatus
from gateway.tokens.policy import Policy
from gateway.tokens.token import SCHEMA, Token

Open = Callable[..., RedisStore]
CREATED = "2027-01-15T08:00:00Z"
THIRD = OwnerRef(OwnerKind.ACCOUNT, "7" * 32)


async def exported(store: RedisStore, part: bytes = b"") -> tuple[bytes, Exported]:
    """What an export writes, behind `part`."""
    file = io.BytesIO(part)
    told = await export(store, file, created=CREATED, resume=bool(part))
    return file.getvalue(), told


async def loaded(store: RedisStore, text: bytes, *, overwrite: bool = False, now: float = NOW) -> Loaded:
    return await load(store, io.BytesIO(text), overwrite=overwrite, clock=lambda: now)


def body(text: bytes) -> list[bytes]:
    """The lines between header and end."""
    return text.splitlines(keepends=True)[1:-1]


def sealed(lines: Iterable[bytes], **header: Any) -> bytes:
    """A whole file of these lines."""
    first = {"format": "zonegate-store", "version": 1, "schema": STORE_SCHEMA, "created": CREATED} | header
    lines = list(lines)
    text = json.dumps(first).encode() + b"\n" + b"".join(lines)
    kinds = [json.loads(line)["kind"] for line in lines]
    end = {
        "kind": "end",
        "owners": kinds.count("owner"),
        "tokens": kinds.count("token"),
        "sha256": hashlib.sha256(text).hexdigest(),
    }
    return text + json.dumps(end).encode() + b"\n"


def line(document: Token | Owner, place: int = 5) -> bytes:
    kind = "token" if isinstance(document, Token) else "owner"
    return msgspec.json.encode({"kind": kind, "place": place, "document": document}) + b"\n"


@pytest.fixture
async def filled(store: RedisStore) -> RedisStore:
    """Two owners with tokens, one without, and tokens of an owner that is gone."""
    await store.initialise(owner(), token(name="first"), NOW)
    await store.change_owner(SOMEBODY, b"", owner(ref=SOMEBODY), Action.OWNER_CREATE, BY, NOW + 1)
    third = owner(ref=THIRD, status=OwnerStatus.DISABLED)
    await store.change_owner(THIRD, b"", third, Action.OWNER_CREATE, BY, NOW + 2)
    for number, of in enumerate([ME, SOMEBODY, ME, SOMEBODY, ME], start=1):
        end = NOW + number if number % 2 else None
        await store.create(
            token(token_id=numbered(9 - number), name=f"token {number} ä\u2028", owner=of, expires_on=end),
            BY,
            NOW + number + 0.123456,
        )
    gone = OwnerRef(OwnerKind.USER, "5" * 32)
    await store.create(token(token_id=numbered(50), name="nobody's", owner=gone), BY, NOW + 9)
    return store


# The file.


async def test_a_file_has_a_header_a_line_for_each_document_and_an_end(open_store: Open) -> None:
    store = open_store("bbbbbbbb", "aaaaaaaa")
    await store.initialise(owner(), token(), NOW + 0.5)
    text, told = await exported(store)
    header, owner_line, token_line, end = (json.loads(each) for each in text.splitlines())
    assert header == {
        "format": "zonegate-store",
        "version": 2,
        "schema": STORE_SCHEMA,
        "created": CREATED,
        "peppers": ["aaaaaaaa", "bbbbbbbb"],
    }
    place = int((NOW + 0.5) * 1_000_000)
    assert owner_line == {"kind": "owner", "place": place, "document": json.loads(msgspec.json.encode(owner()))}
    assert token_line == {"kind": "token", "place": place, "document": json.loads(msgspec.json.encode(token()))}
    before = b"".join(text.splitlines(keepends=True)[:-1])
    assert end == {"kind": "end", "owners": 1, "tokens": 1, "sha256": hashlib.sha256(before).hexdigest(), "zones": 0}
    assert told == Exported(owners=1, tokens=1, resumed=0, seen=1, left_out=())


async def test_owners_and_their_tokens_are_in_the_order_of_the_lists(filled: RedisStore) -> None:
    text, told = await exported(filled)
    found = [json.loads(each) for each in body(text)]
    shown = [
        each["document"]["ref"]["id"][0] if each["kind"] == "owner" else each["document"]["name"][:7] for each in found
    ]
    assert shown == [
        *("0", "first", "token 1", "token 3", "token 5"),
        *("9", "token 2", "token 4"),
        "7",
        "nobody'",
    ]
    assert (told.owners, told.tokens, told.seen) == (3, 7, 7)


async def test_nothing_of_audit_use_freeze_or_numbers_is_in_it(filled: RedisStore, redis: Redis) -> None:
    await redis.hset(keys.use_key(numbered(8)), "count", 4711)
    await filled.freeze(NOW)
    text, _ = await exported(filled)
    generation = await redis.hget(keys.META, "generation") or b"?"
    for absent in (b"4711", b"frozen", b"audit", b"actor", b'"seq', generation):
        assert absent not in text


async def test_an_empty_store_is_a_header_and_an_end(store: RedisStore) -> None:
    await store.prepare()
    text, _ = await exported(store)
    assert len(text.splitlines()) == 2
    assert verify(io.BytesIO(text), ()).tokens == 0


async def test_what_cannot_be_read_is_left_out_and_told(filled: RedisStore, redis: Redis) -> None:
    await redis.set(keys.token_key(numbered(8)), b"{")
    await redis.set(keys.token_key(numbered(7)), msgspec.json.encode(token(token_id=numbered(1))))
    await redis.set(keys.owner_key(SOMEBODY.key), b"{")
    await redis.zadd(keys.OWNERS, {"x": 1})
    await redis.set(keys.owner_key("x"), b"{}")
    text, told = await exported(filled)
    assert (told.owners, told.tokens, told.seen) == (2, 5, 7)
    assert set(told.left_out) == {
        f"{{zg}}:token:{numbered(8)}: a document of the type Token cannot be read",
        f"{{zg}}:token:{numbered(7)}: a document carries another id than its key",
        f"{{zg}}:owner:{SOMEBODY.key}: a document of the type Owner cannot be read",
        "{zg}:owner:x: its name holds no owner",
    }
    assert verify(io.BytesIO(text), ()).tokens == 5


async def test_what_could_not_be_read_again_is_left_out(store: RedisStore) -> None:
    odd = OwnerRef(OwnerKind.USER, "a b")
    await store.initialise(owner(ref=odd), token(owner=odd), NOW)
    text, told = await exported(store)
    assert body(text) == []
    assert {each.rpartition(": ")[2] for each in told.left_out} == {"an owner's id is none"}


@pytest.mark.parametrize(
    ("bad", "fault"),
    [
        pytest.param({"name": "a\nb"}, "a name has no control characters", id="a name"),
        pytest.param(
            {"condition": {"request_ip": {"in": ["nonsense"]}}}, "not an address or a CIDR network", id="a condition"
        ),
    ],
)
async def test_a_token_that_no_import_would_take_is_left_out(
    bad: dict[str, Any], fault: str, filled: RedisStore, redis: Redis
) -> None:
    await redis.set(keys.token_key(token().id), json.dumps(DOCUMENT | bad))
    text, told = await exported(filled)
    assert told.left_out == (f"{keys.token_key(token().id)}: {fault}",)
    assert verify(io.BytesIO(text), ()).tokens == told.tokens == 6


async def test_a_token_that_is_in_no_list_is_counted_as_missing(filled: RedisStore, redis: Redis) -> None:
    await redis.zrem(keys.tokens_key(f"user:{USER}"), numbered(8))
    _, told = await exported(filled)
    assert (told.tokens, told.seen) == (6, 7)


async def test_an_owner_that_is_in_no_list_is_told_and_its_tokens_are_there(filled: RedisStore, redis: Redis) -> None:
    await redis.zrem(keys.OWNERS, SOMEBODY.key)
    _, told = await exported(filled)
    assert (told.owners, told.tokens) == (2, 7)
    assert told.left_out == (f"{{zg}}:owner:{SOMEBODY.key}: is not in {{zg}}:owners",)


async def test_a_document_of_several_lines_is_one_line_in_the_file(filled: RedisStore, redis: Redis) -> None:
    pretty = msgspec.json.format(msgspec.json.encode(token(name="first")), indent=2)
    await redis.set(keys.token_key(token().id), pretty)
    text, _ = await exported(filled)
    assert verify(io.BytesIO(text), ()).tokens == 7
    assert await loaded(filled, text) == Loaded(written=0, same=10, refused_count=0, refused=(), wrong=0)


async def test_a_field_of_a_newer_version_is_kept(filled: RedisStore, redis: Redis) -> None:
    raw = msgspec.json.encode(token(name="first"))[:-1] + b',"newer":[1,2]}'
    await redis.set(keys.token_key(token().id), raw)
    text, _ = await exported(filled)
    await redis.flushall()
    await loaded(filled, text)
    assert await redis.get(keys.token_key(token().id)) == raw


# Back.


async def test_an_import_brings_back_what_was_exported(open_store: Open, filled: RedisStore, redis: Redis) -> None:
    text, _ = await exported(filled)
    shown = await names(filled, include_expired=True), await names(filled, SOMEBODY, now=NOW + 4)
    await redis.flushall()
    store = open_store()
    assert await loaded(store, text) == Loaded(written=10, same=0, refused_count=0, refused=(), wrong=0)
    assert (await names(store, include_expired=True), await names(store, SOMEBODY, now=NOW + 4)) == shown
    assert await store.first_owner() == ME
    assert (await read(store, token().id)).owner == owner()
    assert (await check(store, repair=False, clock=lambda: NOW)).findings == ()
    again, _ = await exported(store)
    assert again == text


async def test_what_is_imported_is_audited_and_told_as_every_change_is(store: RedisStore, redis: Redis) -> None:
    told: list[str] = []
    store.on_change.append(told.append)
    await loaded(store, sealed([line(owner()), line(token())]))
    assert told == [f"owner:user:{USER}", f"token:{token().id}"]
    assert await redis.get(keys.SEQUENCE) == b"2"
    of_owner, of_token = [fields for _, fields in await redis.xrange(keys.AUDIT)]
    assert of_owner[b"action"] == of_token[b"action"] == b"import"
    assert (of_owner[b"owner"], of_token[b"token"]) == (f"user:{USER}".encode(), token().id.encode())
    assert b"digests" not in of_token[b"after"] or b'"digests":[]' in of_token[b"after"]


async def test_an_import_that_was_interrupted_is_run_again(filled: RedisStore, redis: Redis) -> None:
    text, _ = await exported(filled)
    await redis.flushall()
    lines = body(text)
    await loaded(filled, sealed(lines[:4]))
    assert await loaded(filled, text) == Loaded(written=6, same=4, refused_count=0, refused=(), wrong=0)
    entries = [fields[b"action"] for _, fields in await redis.xrange(keys.AUDIT)]
    assert entries == [b"import"] * 10


async def test_a_document_that_differs_is_left_alone_and_the_rest_is_imported(filled: RedisStore, redis: Redis) -> None:
    text, _ = await exported(filled)
    old = await read(filled, numbered(8))
    await filled.replace(old, msgspec.structs.replace(old.token, name="newer"), Action.UPDATE, BY, NOW)
    await redis.delete(keys.token_key(numbered(7)))
    told = await loaded(filled, text)
    assert (told.written, told.same, told.refused_count, told.wrong) == (1, 8, 1, 1)
    (refused,) = told.refused
    assert refused.startswith(f"{{zg}}:token:{numbered(8)}: differs")
    assert "--overwrite" in refused
    assert (await read(filled, numbered(8))).token.name == "newer"


async def test_overwrite_puts_the_files_document_in_the_place_of_another_and_keeps_its_place_in_the_list(
    filled: RedisStore, redis: Redis
) -> None:
    text, _ = await exported(filled)
    old = await read(filled, numbered(8))
    new = msgspec.structs.replace(old.token, name="newer", expires_on=None)
    await filled.replace(old, new, Action.UPDATE, BY, NOW)
    await redis.set(keys.token_key(numbered(7)), b"{")
    await redis.set(keys.owner_key(SOMEBODY.key), b"{")
    order = await names(filled)
    told = await loaded(filled, text, overwrite=True)
    assert told == Loaded(written=3, same=7, refused_count=0, refused=(), wrong=0)
    assert (await read(filled, numbered(8))).token == old.token
    assert [each for each in await names(filled) if each in order] == [each for each in order if each != "newer"]
    assert (await exported(filled))[0] == text
    assert (await check(filled, repair=False, clock=lambda: NOW)).findings == ()


@pytest.mark.parametrize(
    "there",
    [
        pytest.param(b"{", id="broken JSON"),
        pytest.param(b"\xff", id="not UTF-8"),
        pytest.param(b"[" * 100_000, id="100,000 brackets"),
        pytest.param(b'{"x":' * 100_000, id="100,000 objects"),
    ],
)
async def test_what_is_there_and_cannot_be_read_is_replaced_on_demand(
    there: bytes, filled: RedisStore, redis: Redis
) -> None:
    text, _ = await exported(filled)
    damaged = [keys.token_key(numbered(8)), keys.owner_key(SOMEBODY.key)]
    await redis.mset(dict.fromkeys(damaged, there))
    told = await loaded(filled, text)
    assert (told.written, told.same, told.refused_count, told.wrong) == (0, 8, 2, 2)
    assert await redis.mget(damaged) == [there, there]
    told = await loaded(filled, text, overwrite=True)
    assert told == Loaded(written=2, same=8, refused_count=0, refused=(), wrong=0)
    assert (await exported(filled))[0] == text


async def test_a_token_never_takes_the_place_of_another_owners(filled: RedisStore) -> None:
    text = sealed([line(token(owner=SOMEBODY))])
    told = await loaded(filled, text, overwrite=True)
    assert (told.written, told.refused_count, told.wrong) == (0, 1, 1)
    assert "another owner" in told.refused[0]
    assert (await read(filled, token().id)).token.owner == ME


async def test_what_changes_between_look_and_write_is_left_alone(filled: RedisStore) -> None:
    text, _ = await exported(filled)
    old = await read(filled, numbered(8))
    await filled.replace(old, msgspec.structs.replace(old.token, name="newer"), Action.UPDATE, BY, NOW)

    class Slow(RedisStore):
        # Somebody else is faster than what follows a look.
        async def import_all(self, documents: Sequence[Imported], now: float) -> list[bool]:
            there = await read(filled, numbered(8))
            newest = msgspec.structs.replace(there.token, name="newest")
            await filled.replace(there, newest, Action.UPDATE, BY, NOW)
            return await super().import_all(documents, now)

    slow = Slow(filled.primary, peppers=(), audit=AuditLimits(1000, 10**9))
    told = await loaded(slow, text, overwrite=True)
    assert (told.written, told.refused_count, told.wrong) == (0, 1, 1)
    assert "changed meanwhile" in told.refused[0]
    assert (await read(filled, numbered(8))).token.name == "newest"


async def test_an_expired_token_is_imported_and_is_not_among_the_living(store: RedisStore) -> None:
    await loaded(store, sealed([line(token(name="expired", expires_on=NOW - 1))]))
    assert await names(store, include_expired=True) == ["expired"]
    assert await names(store) == []


async def test_progress_only_grows_and_ends_at_the_end(filled: RedisStore) -> None:
    seen: list[tuple[int, int]] = []

    def progress(done: int, of: int) -> None:
        seen.append((done, of))

    file = io.BytesIO()
    await export(filled, file, created=CREATED, progress=progress)
    assert [done for done, _ in seen] == sorted(done for done, _ in seen)
    assert seen[-1][0] == seen[-1][1] >= 9
    seen.clear()
    await load(filled, file, overwrite=False, clock=lambda: NOW, progress=progress)
    assert [done for done, _ in seen] == sorted(done for done, _ in seen)
    assert seen[-1][0] == seen[-1][1]


# Whatever is in a store.

_IDS = st.integers(0, 30).map(numbered)
_REFS = st.builds(OwnerRef, st.sampled_from(OwnerKind), st.sampled_from(["a", "b", "c"]).map(lambda each: each * 32))
_TOKENS = st.builds(
    lambda number, of, name, end: token(token_id=number, owner=of, name=name, expires_on=end),
    _IDS,
    _REFS,
    st.text(st.characters(codec="utf-8", exclude_categories=["Cc"]), min_size=1, max_size=20),
    st.one_of(st.none(), st.integers(NOW - 5, NOW + 5)),
)


@settings(max_examples=40)
@given(
    refs=st.lists(st.tuples(_REFS, st.integers(0, 3)), max_size=6, unique_by=lambda each: each[0]),
    tokens=st.lists(st.tuples(_TOKENS, st.integers(0, 3)), max_size=12, unique_by=lambda each: each[0].id),
    cut=st.floats(0, 1),
    at_once=st.integers(1, 5),
)
async def test_export_import_export_gives_the_same_lines_wherever_the_first_was_interrupted(
    refs: list[tuple[OwnerRef, int]],
    tokens: list[tuple[Token, int]],
    cut: float,
    at_once: int,
    open_store: Open,
    redis: Redis,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(backup, "_AT_ONCE", at_once)
    await redis.flushall()
    store = open_store()
    for ref, second in refs:
        await store.change_owner(ref, b"", owner(ref=ref), Action.OWNER_CREATE, BY, NOW + second)
    for made, second in tokens:
        await store.create(made, BY, NOW + second)
    text, told = await exported(store)
    assert (told.owners, told.tokens, told.left_out) == (len(refs), len(tokens), ())
    assert await exported(store, text[: int(cut * len(text))] or b"{") == (
        text,
        Exported(told.owners, told.tokens, _whole(text[: int(cut * len(text))]), told.seen, ()),
    )
    assert verify(io.BytesIO(text), ()).tokens == len(tokens)
    await redis.flushall()
    back = await loaded(open_store(), text)
    assert back == Loaded(written=len(refs) + len(tokens), same=0, refused_count=0, refused=(), wrong=0)
    assert (await exported(open_store()))[0] == text
    assert (await check(open_store(), repair=False, clock=lambda: NOW)).findings == ()


def _whole(part: bytes) -> int:
    """Documents in the whole lines of `part`."""
    lines = part.splitlines(keepends=True)[1:]
    return sum(each.endswith(b"\n") and b'"kind":"end"' not in each for each in lines)


# A file that is not whole, or not for this version.

WHOLE = sealed([line(owner()), line(token()), line(token(token_id=numbered(1)))])
LINES = WHOLE.splitlines(keepends=True)


@given(end=st.integers(0, len(WHOLE) - 1))
def test_a_file_that_was_cut_off_is_refused(end: int) -> None:
    with pytest.raises(BackupError):
        verify(io.BytesIO(WHOLE[:end]), ())


@given(place=st.integers(0, len(WHOLE) - len(LINES[-1]) - 1), byte=st.integers(0, 255))
def test_a_file_of_which_a_byte_was_changed_is_refused(place: int, byte: int) -> None:
    changed = bytearray(WHOLE)
    changed[place] = byte
    if changed == WHOLE:
        return
    with pytest.raises(BackupError):
        verify(io.BytesIO(bytes(changed)), ())


@given(more=st.binary(min_size=1, max_size=5))
def test_a_file_with_something_behind_its_end_is_refused(more: bytes) -> None:
    with pytest.raises(BackupError):
        verify(io.BytesIO(WHOLE + more), ())


DOCUMENT = json.loads(msgspec.json.encode(token()))
POLICY = DOCUMENT["policies"][0]
END = {"kind": "end", "owners": 0, "tokens": 0, "sha256": "0" * 64}


def raw_line(**parts: Any) -> bytes:
    return json.dumps({"kind": "token", "place": 5, "document": DOCUMENT} | parts).encode() + b"\n"


def one(**changes: Any) -> bytes:
    """A whole file of one token, so changed."""
    return sealed([raw_line(document=DOCUMENT | changes)])


BAD: list[Any] = [
    pytest.param(b"", "not a file of `zonegate store export`", id="empty"),
    pytest.param(b"PK\x03\x04\xff\n", "not a file of `zonegate store export`", id="another kind of file"),
    pytest.param(sealed([], format="other"), "not a file of `zonegate store export`", id="another kind of JSON lines"),
    pytest.param(
        sealed([], version=3), "has version 3, this zonegate knows 2: use a newer zonegate", id="a newer version"
    ),
    pytest.param(
        sealed([], schema=STORE_SCHEMA + 1),
        f"has schema {STORE_SCHEMA + 1}, this zonegate knows {STORE_SCHEMA}: use a newer zonegate",
        id="a newer schema",
    ),
    pytest.param(b"".join(LINES[:-1]), "was cut off: its last line is missing", id="without its end"),
    pytest.param(b"".join(LINES[:-1]) + b"x", "line 5: is cut off, or longer than 4194304 bytes", id="within a line"),
    pytest.param(LINES[0] + LINES[1] + LINES[3] + LINES[4], "should have 1 owners and 2 tokens, and", id="a line less"),
    pytest.param(
        LINES[0] + LINES[2] + LINES[1] + LINES[3] + LINES[4],
        "was changed: its SHA-256 is not the one in its last line",
        id="lines in another order",
    ),
    pytest.param(WHOLE + LINES[1], "line 6: stands behind the end", id="a line behind the end"),
    pytest.param(sealed([raw_line(kind="weather")]), "line 2: cannot be read", id="another kind of line"),
    pytest.param(sealed([raw_line(place=-1)]), "line 2: cannot be read", id="a place before all times"),
    pytest.param(sealed([raw_line(place=2**53)]), "line 2: cannot be read", id="a place that is no score"),
    pytest.param(
        sealed([line(owner()), raw_line(document=DOCUMENT | {"status": "frozen"})]),
        "line 3: a document of the type Token cannot be read",
        id="an unknown status",
    ),
    pytest.param(
        sealed([raw_line(document=DOCUMENT | {"schema": SCHEMA + 1})]),
        f"line 2: a document has schema {SCHEMA + 1}; this version knows {SCHEMA}",
        id="a document of a newer schema",
    ),
    pytest.param(
        sealed([raw_line(document=DOCUMENT | {"id": "x"})]), "line 2: a token's id is none", id="a token's id"
    ),
    pytest.param(
        sealed([raw_line(document=DOCUMENT | {"owner": {"kind": "user", "id": "a:b"}})]),
        "line 2: an owner's id is none",
        id="an owner's id",
    ),
    pytest.param(
        sealed([raw_line(kind="owner")]), "line 2: a document of the type Owner cannot be read", id="no owner"
    ),
    pytest.param(b"[" * 100_000 + b"\n", "not a file of `zonegate store export`", id="a header of brackets"),
    pytest.param(LINES[0] + b"[" * 100_000 + b"\n", "line 2: cannot be read", id="a line of brackets"),
    pytest.param(
        LINES[0] + b'{"kind":"token","place":5,"document":' + b"[" * 100_000 + b"]" * 100_000 + b"}\n",
        "line 2: cannot be read",
        id="a document of brackets",
    ),
    pytest.param(one(name=""), "line 2: a name has 1 to 120 characters", id="no name"),
    pytest.param(one(name="n" * 121), "line 2: a name has 1 to 120 characters", id="a name of 121 characters"),
    pytest.param(one(name="n" * 10_000), "line 2: a name has 1 to 120 characters", id="a name of 10,000 characters"),
    pytest.param(one(name="a\x1b[2J"), "line 2: a name has no control characters", id="a name with control bytes"),
    pytest.param(
        one(condition={"request_ip": {"in": ["nonsense"]}}),
        "line 2: not an address or a CIDR network",
        id="a condition",
    ),
    pytest.param(
        one(condition={"request_ip": {"not_in": ["10.0.0.1/8"]}}), "line 2: host bits are set: ", id="a network"
    ),
    pytest.param(one(policies=[POLICY | {"resources": {"zone": "*"}}]), "line 2: not a resource: ", id="a policy"),
    pytest.param(one(policies=[POLICY | {"effect": "maybe"}]), "line 2: a document of the type Token ", id="an effect"),
    pytest.param(
        sealed([line(owner([msgspec.convert(POLICY | {"resources": {"zone": "*"}}, Policy)]))]),
        "line 2: not a resource: ",
        id="an owner's policy",
    ),
]


@pytest.mark.parametrize(("text", "said"), BAD)
def test_a_file_that_cannot_be_used_is_refused_with_one_line_that_says_why(text: bytes, said: str) -> None:
    with pytest.raises(BackupError) as caught:
        verify(io.BytesIO(text), ())
    assert str(caught.value).startswith(said)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "changes",
    [
        pytest.param({"name": "n" * 120}, id="the longest name"),
        pytest.param({"name": "ä\u2028\U0001f511"}, id="a name beyond ASCII"),
        pytest.param({"expires_on": 1}, id="expired"),
        pytest.param({"policies": [POLICY | {"permission_groups": ["0" * 32]}]}, id="a group that no catalogue has"),
        pytest.param({"policies": []}, id="no policies"),
        pytest.param({"newer": {"field": 1}}, id="a field of a newer version"),
    ],
)
def test_a_token_that_a_gateway_could_use_is_accepted(changes: dict[str, Any]) -> None:
    assert verify(io.BytesIO(one(**changes)), ()).tokens == 1


def signed(*keys_: str) -> Token:
    """A token with a digest by each of these peppers, "" being none."""
    digests = tuple(
        Digest(alg=Algorithm.HMAC_SHA256 if key else Algorithm.SHA256, key=key, hex="0" * 64) for key in keys_
    )
    return token(digests=digests)


@pytest.mark.parametrize(
    ("tokens", "missing", "useless"),
    [
        pytest.param([signed("")], (), 0, id="without a pepper"),
        pytest.param([signed("aaaaaaaa")], (), 0, id="with one that is set"),
        pytest.param([signed("bbbbbbbb")], ("bbbbbbbb",), 1, id="with one that is not set"),
        pytest.param([signed("bbbbbbbb", "aaaaaaaa")], ("bbbbbbbb",), 0, id="with both"),
        pytest.param([signed("bbbbbbbb", "")], ("bbbbbbbb",), 0, id="with one that is not set, and without"),
        pytest.param([signed("d" * 8), signed("c" * 8, "d" * 8)], ("c" * 8, "d" * 8), 2, id="with several"),
        pytest.param([signed()], (), 0, id="without a digest"),
    ],
)
def test_peppers_that_are_missing_are_named_and_tokens_that_need_them_counted(
    tokens: list[Token], missing: tuple[str, ...], useless: int
) -> None:
    found = verify(io.BytesIO(sealed(line(each) for each in tokens)), ["aaaaaaaa"])
    assert (found.peppers, found.useless) == (missing, useless)


def test_what_a_whole_file_holds_is_told() -> None:
    found = verify(io.BytesIO(WHOLE), ())
    assert isinstance(found, Checked)
    assert (found.owners, found.tokens, found.header.created) == (1, 2, CREATED)


# The file on disk.


def put(path: Path, text: bytes, *, force: bool = False) -> None:
    with writing(path, force=force) as file:
        file.write(text)


def test_a_file_appears_when_it_is_whole_and_is_for_us_alone(tmp_path: Path) -> None:
    path = tmp_path / "backup"
    with writing(path, force=False) as file:
        file.write(b"x")
        assert not path.exists()
    assert path.read_bytes() == b"x"
    assert path.stat().st_mode & 0o777 == 0o600
    assert list(tmp_path.iterdir()) == [path]


def test_a_file_that_is_there_stays_unless_forced(tmp_path: Path) -> None:
    path = tmp_path / "backup"
    path.write_bytes(b"old")
    with pytest.raises(BackupError, match=r"backup: is there already: --force "):
        put(path, b"new")
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]
    put(path, b"new", force=True)
    assert path.read_bytes() == b"new"


def test_a_file_that_appears_meanwhile_stays_too(tmp_path: Path) -> None:
    path = tmp_path / "backup"
    with pytest.raises(BackupError), writing(path, force=False):
        path.write_bytes(b"theirs")
    assert path.read_bytes() == b"theirs"


@pytest.mark.parametrize("force", [False, True], ids=["as it is", "forced"])
@pytest.mark.parametrize("name", ["pipe", "link", "dangling", "directory"])
def test_what_is_no_regular_file_stays_even_if_forced(name: str, *, force: bool, tmp_path: Path) -> None:
    (tmp_path / "victim").write_bytes(b"precious")
    (tmp_path / "link").symlink_to("victim")
    (tmp_path / "dangling").symlink_to("nowhere")
    (tmp_path / "directory").mkdir()
    os.mkfifo(tmp_path / "pipe")
    before = {path: path.lstat() for path in tmp_path.iterdir()}
    with pytest.raises(BackupError, match=rf"{name}: not a regular file; - is standard output$"):
        put(tmp_path / name, b"new", force=force)
    assert {path: path.lstat() for path in tmp_path.iterdir()} == before
    assert (tmp_path / "victim").read_bytes() == b"precious"


def test_what_is_no_regular_file_stays_where_it_appears_meanwhile(tmp_path: Path) -> None:
    path = tmp_path / "backup"
    with pytest.raises(BackupError, match="not a regular file"), writing(path, force=True):
        path.symlink_to("nowhere")
    assert path.is_symlink()


def test_what_was_interrupted_is_given_again_the_next_time(tmp_path: Path) -> None:
    path = tmp_path / "backup"
    with contextlib.suppress(KeyboardInterrupt), writing(path, force=False) as file:
        file.write(b"half")
        raise KeyboardInterrupt
    assert not path.exists()
    assert (tmp_path / "backup.part").stat().st_mode & 0o777 == 0o600
    with writing(path, force=False) as file:
        assert file.read() == b"half"
    assert path.read_bytes() == b"half"


def test_two_at_once_do_not_write_into_one_file(tmp_path: Path) -> None:
    path = tmp_path / "backup"
    with writing(path, force=False) as file:
        file.write(b"mine")
        with pytest.raises(BackupError, match=r"backup\.part: another export writes it$"):
            put(path, b"theirs")
    assert path.read_bytes() == b"mine"


@pytest.mark.parametrize("force", [False, True], ids=["as it is", "forced"])
def test_who_waited_for_another_export_does_not_write_into_its_finished_file(
    *, force: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, part = tmp_path / "backup", tmp_path / "backup.part"
    part.write_bytes(b"theirs")
    lock = fcntl.flock

    def finish_first(descriptor: int, operation: int) -> None:
        # The other one is done between our opening the file and our locking it.
        if part.exists() and part.read_bytes() == b"theirs":
            part.replace(path)
        lock(descriptor, operation)

    monkeypatch.setattr(fcntl, "flock", finish_first)
    if force:
        put(path, b"ours", force=True)
    else:
        with pytest.raises(BackupError, match=r"backup: is there already: --force "):
            put(path, b"ours")
    assert path.read_bytes() == (b"ours" if force else b"theirs")
    assert list(tmp_path.iterdir()) == [path]


def test_a_pipe_in_the_place_of_the_file_is_refused(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "backup.part")
    with pytest.raises(BackupError, match=r"backup\.part: not a regular file$"):
        put(tmp_path / "backup", b"new")
    assert (tmp_path / "backup.part").is_fifo()


def test_a_link_in_the_place_of_the_file_is_not_followed(tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    victim.write_bytes(b"precious")
    (tmp_path / "backup.part").symlink_to(victim)
    with pytest.raises(OSError, match=r"backup\.part"):
        put(tmp_path / "backup", b"new")
    assert victim.read_bytes() == b"precious"


async def test_an_export_goes_on_where_it_was_interrupted_although_the_store_has_changed(
    filled: RedisStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(backup, "_AT_ONCE", 2)
    text, _ = await exported(filled)
    lines = text.splitlines(keepends=True)
    part = b"".join(lines[:4])  # header, owner, "first", "token 1"
    await filled.delete(await read(filled, numbered(8)), Action.DELETE, BY, NOW)  # "token 1", already written
    await filled.delete(await read(filled, numbered(6)), Action.DELETE, BY, NOW)  # "token 3", still to come
    whole, told = await exported(filled, part + b'{"kind":"tok')
    assert whole.startswith(part)
    assert (told.resumed, told.owners, told.tokens) == (3, 3, 6)
    assert verify(io.BytesIO(whole), ()).tokens == 6


class FullDisk(io.BytesIO):
    def write(self, _: Any) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")


async def test_a_disk_that_is_full_is_not_taken_for_a_store_that_is_away(filled: RedisStore) -> None:
    with pytest.raises(OSError, match="No space left on device"):
        await export(filled, FullDisk(), created=CREATED)


async def test_an_export_does_not_go_on_behind_another_stores(filled: RedisStore, redis: Redis) -> None:
    text, _ = await exported(filled)
    await redis.flushall()
    await filled.initialise(owner(ref=SOMEBODY), token(owner=SOMEBODY), NOW)
    with pytest.raises(BackupError, match=r"^was begun with another store$"):
        await exported(filled, text)


@pytest.mark.parametrize(
    "theirs",
    [
        pytest.param(b"#!/bin/sh\n", id="a script"),
        pytest.param(b"precious", id="without a line end"),
        pytest.param(b"{" * 5_000_000, id="without a line end, and long"),
        pytest.param(b'{"format":"other","version":1', id="half a header of another kind"),
        pytest.param(b'{"format":"other"}\n', id="a header of another kind"),
    ],
)
async def test_an_export_does_not_go_on_behind_another_kind_of_file(
    theirs: bytes, filled: RedisStore, tmp_path: Path
) -> None:
    (tmp_path / "backup.part").write_bytes(theirs)
    with (
        pytest.raises(BackupError, match=r"backup\.part: not a file .*: remove it to begin anew$"),
        writing(tmp_path / "backup", force=False) as file,
    ):
        await export(filled, file, created=CREATED, resume=True)
    assert (tmp_path / "backup.part").read_bytes() == theirs


# Zones.

PIN = ZonePin(PIN_SCHEMA, "powerdns", "alpha.example.", "c" * 32, "alpha.example", NOW)


@pytest.fixture
async def pinned(filled: RedisStore) -> RedisStore:
    pins = ZonePins(filled)
    await pins.put("powerdns", "alpha.example.", "c" * 32, "alpha.example", BY, NOW)
    await pins.put("powerdns", "0/25.2.0.192.in-addr.arpa.", "d" * 32, "", BY, NOW)
    return filled


async def test_pinned_zones_stand_behind_all_tokens_and_are_counted(pinned: RedisStore) -> None:
    text, told = await exported(pinned)
    kinds = [json.loads(each)["kind"] for each in body(text)]
    assert kinds[-2:] == ["zone", "zone"]
    assert "zone" not in kinds[:-2]
    assert (told.zones, json.loads(text.splitlines()[-1])["zones"]) == (2, 2)
    assert verify(io.BytesIO(text), ()).zones == 2


async def test_pinned_zones_come_back_and_are_told(pinned: RedisStore, redis: Redis) -> None:
    text, _ = await exported(pinned)
    await redis.flushall()
    told: list[str] = []
    pinned.on_change.append(told.append)
    done = await loaded(pinned, text)
    assert (done.refused_count, done.wrong) == (0, 0)
    assert await ZonePins(pinned).find("powerdns", "alpha.example.") == PIN
    assert "zone:powerdns:alpha.example." in told
    assert (await loaded(pinned, text)).written == 0


async def test_a_zone_that_differs_stays_unless_overwritten(pinned: RedisStore) -> None:
    text, _ = await exported(pinned)
    pins = ZonePins(pinned)
    await pins.put("powerdns", "alpha.example.", "e" * 32, "", BY, NOW)
    done = await loaded(pinned, text)
    assert done.refused == (
        "{zg}:zone:powerdns:alpha.example.: differs, and was left as it is: --overwrite replaces it",
    )
    await loaded(pinned, text, overwrite=True)
    assert await pins.find("powerdns", "alpha.example.") == PIN


async def test_an_export_that_broke_off_among_the_zones_writes_all_of_them_anew(pinned: RedisStore) -> None:
    text, told = await exported(pinned)
    part = b"".join(text.splitlines(keepends=True)[:-2])
    again, resumed = await exported(pinned, part)
    assert sorted(again.splitlines()) == sorted(text.splitlines())
    assert (resumed.zones, resumed.resumed) == (2, told.owners + told.tokens)


async def test_a_zone_that_cannot_be_read_is_left_out_and_told(pinned: RedisStore, redis: Redis) -> None:
    await redis.set(keys.zone_key(PIN.key), b"{")
    _, told = await exported(pinned)
    assert told.zones == 1
    assert told.left_out == ("{zg}:zone:powerdns:alpha.example.: a document of the type ZonePin cannot be read",)


def zone_line(**changes: Any) -> bytes:
    return json.dumps({"kind": "zone", "document": msgspec.to_builtins(PIN) | changes}).encode() + b"\n"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        pytest.param(sealed([zone_line(api="a:b")]), "line 2: an API's name is none", id="no API"),
        pytest.param(sealed([zone_line(zone="a b")]), "line 2: a zone's name is none", id="no zone"),
        pytest.param(sealed([zone_line(account="*")]), "line 2: an account's id is none", id="no account"),
        pytest.param(
            sealed([zone_line(schema=2)]), "line 2: a document has schema 2; this version knows 1", id="newer"
        ),
        pytest.param(
            sealed([zone_line()]),
            "should have 0 owners and 0 tokens, and has 0 owners and 0 tokens and 1 zones",
            id="one more than its end says",
        ),
    ],
)
def test_a_zone_that_no_gateway_could_use_is_refused(text: bytes, said: str) -> None:
    with pytest.raises(BackupError, match=f"^{re.escape(said)}"):
        verify(io.BytesIO(text), ())

"""A `TokenStore` and `Tokens` in memory, and the tests that every `TokenStore` passes."""

import asyncio
from collections.abc import AsyncGenerator, Collection

import msgspec
import pytest

from gateway.access.compiled import CompiledToken, compile_owner, compile_token
from gateway.access.ports import Action, Actor, Conflict, Denied, Miss, OwnerPage, Page, StoreUnavailable, TokenStore
from gateway.access.principal import Record
from gateway.reason import Deny, Reason
from gateway.tokens.condition import Address
from gateway.tokens.owner import Owner, OwnerKind, OwnerRef, account_ceiling, owner_without_record
from gateway.tokens.token import Token
from support.records import ACCOUNT_A, NOW, USER, owner, token

BY = Actor(token_id="e" * 32, owner=f"user:{USER}", address="192.0.2.7", request_id="request-0001")
ME = OwnerRef(OwnerKind.USER, USER)
SOMEBODY = OwnerRef(OwnerKind.USER, "9" * 32)
AN_ACCOUNT = OwnerRef(OwnerKind.ACCOUNT, ACCOUNT_A)


class MemoryTokenStore:
    """Documents in dictionaries. `failure`, once set, is what every method raises.

    As `Tokens` it remembers nothing: each token is read and compiled when it is asked for.
    """

    def __init__(self) -> None:
        self.failure: StoreUnavailable | None = None
        self.reads = 0
        self.actions: list[tuple[Action, Actor]] = []
        self.denials: list[tuple[Denied, Actor]] = []
        self._documents: dict[str, bytes] = {}
        self._owners: dict[str, Owner] = {}
        self._issued: dict[str, float] = {}

    def hold(self, *tokens: Token, of: Owner | None = None) -> "MemoryTokenStore":
        """With these tokens in it, and their owner; the store itself."""
        for each in tokens:
            self._documents[each.id] = msgspec.json.encode(each)
            self._issued[each.id] = each.issued_on
        found = of or owner()
        self._owners[found.ref.key] = found
        return self

    def _turn(self) -> None:
        if self.failure is not None:
            raise self.failure

    async def get(self, token_id: str) -> Record | None:
        self._turn()
        self.reads += 1
        # As a network would: whoever else is running gets his turn between a read and a write.
        await asyncio.sleep(0)
        raw = self._documents.get(token_id)
        if raw is None:
            return None
        found = msgspec.json.decode(raw, type=Token)
        return Record(token=found, owner=self._owner_of(found), raw=raw)

    def _owner_of(self, token: Token) -> Owner | None:
        return self._owners.get(token.owner.key) or owner_without_record(token.owner)

    async def page(
        self, owner: OwnerRef, *, start: int, count: int, descending: bool, include_expired: bool, now: float
    ) -> Page:
        self._turn()
        ids = sorted(self._documents, key=lambda each: (self._issued[each], each), reverse=descending)
        found = [msgspec.json.decode(self._documents[each], type=Token) for each in ids]
        shown = [
            each
            for each in found
            if each.owner == owner and (include_expired or each.expires_on is None or each.expires_on > now)
        ]
        return Page(tuple(shown[start : start + count]), len(shown))

    async def create(self, token: Token, by: Actor, now: float) -> bytes:
        self._turn()
        if token.id in self._documents:
            raise Conflict
        self._issued[token.id] = now
        return self._put(token, Action.CREATE, by)

    async def replace(self, old: Record, new: Token, action: Action, by: Actor, now: float) -> bytes:  # noqa: ARG002
        self._turn()
        self._check(old)
        return self._put(new, action, by)

    async def delete(self, old: Record, action: Action, by: Actor, now: float) -> None:  # noqa: ARG002
        self._turn()
        self._check(old)
        del self._documents[old.token.id]
        self.actions.append((action, by))

    async def initialise(self, owner: Owner, token: Token, now: float) -> None:
        self._turn()
        if self._owners:
            raise Conflict
        self._owners[owner.ref.key] = owner
        self._issued[token.id] = now
        self._put(token, Action.INIT, Actor("", owner.ref.key, "", ""))

    async def issued_by(self, makers: Collection[str]) -> AsyncGenerator[Record, None]:
        self._turn()
        for token_id in list(self._documents):
            found = await self.get(token_id)
            if found is not None and found.token.issued_by in makers:
                yield found

    async def first_owner(self) -> OwnerRef | None:
        self._turn()
        refs = [found.ref for found in self._owners.values()]
        return next((ref for ref in refs if ref.kind is OwnerKind.USER), refs[0] if refs else None)

    async def owners(self, *, start: int, count: int, descending: bool) -> OwnerPage:
        self._turn()
        found = list(self._owners.values())[:: -1 if descending else 1]
        return OwnerPage(tuple(found[start : start + count]), len(found))

    async def get_owner(self, ref: OwnerRef) -> tuple[Owner, bytes] | None:
        self._turn()
        found = self._owners.get(ref.key)
        return (found, msgspec.json.encode(found)) if found else None

    async def create_owner(self, owner: Owner, token: Token, by: Actor, now: float) -> None:
        self._turn()
        if owner.ref.key in self._owners or token.id in self._documents:
            raise Conflict
        self._owners[owner.ref.key] = owner
        self._issued[token.id] = now
        self._put(token, Action.OWNER_CREATE, by)

    async def change_owner(
        self,
        ref: OwnerRef,
        old: bytes,
        new: Owner | None,
        action: Action,
        by: Actor,
        now: float,  # noqa: ARG002
    ) -> bytes:
        self._turn()
        found = await self.get_owner(ref)
        if (found[1] if found else b"") != old:
            raise Conflict
        self.actions.append((action, by))
        if new is None:
            del self._owners[ref.key]
            return b""
        self._owners[ref.key] = new
        return msgspec.json.encode(new)

    async def denied(self, what: Denied, by: Actor, now: float) -> None:  # noqa: ARG002
        self._turn()
        self.denials.append((what, by))

    def look(self, token_id: str) -> CompiledToken | Deny | Miss | None:  # noqa: ARG002
        return Miss.MISS

    async def fetch(
        self,
        token_id: str,
        address: Address | None,  # noqa: ARG002
        *,
        proved: bool = False,  # noqa: ARG002
    ) -> CompiledToken | Deny | None:
        try:
            record = await self.get(token_id)
            if record is None:
                return None
            return compile_token(record.token, compile_owner(record.owner) if record.owner else None)
        except (StoreUnavailable, ValueError):
            return Deny(reason=Reason.STORE_UNAVAILABLE)

    def _check(self, old: Record) -> None:
        if self._documents.get(old.token.id) != old.raw:
            raise Conflict

    def _put(self, token: Token, action: Action, by: Actor) -> bytes:
        raw = msgspec.json.encode(token)
        self._documents[token.id] = raw
        self.actions.append((action, by))
        return raw


def numbered(number: int) -> str:
    """A token id by which it can be told from others."""
    return f"{number:032x}"


async def read(store: TokenStore, token_id: str) -> Record:
    """The record, which is there."""
    record = await store.get(token_id)
    assert record is not None
    return record


async def names(store: TokenStore, of: OwnerRef = ME, *, now: float = NOW, **page: int | bool) -> list[str]:
    """Names of the tokens on a page."""
    asked = {"start": 0, "count": 50, "descending": False, "include_expired": False} | page
    return [each.name for each in (await store.page(of, now=now, **asked)).tokens]  # type: ignore[arg-type]


async def fill(store: TokenStore, count: int) -> None:
    """Tokens called "1", "2", ... made a second after each other; ids in the opposite order."""
    for number in range(1, count + 1):
        made = token(token_id=numbered(1000 - number), name=str(number), owner=ME)
        await store.create(made, BY, NOW + number)


class TokenStoreContract:
    """What a store does, whatever it is made of. A test class that inherits this has a fixture `store`: empty."""

    async def test_a_token_that_is_not_there_is_none(self, store: TokenStore) -> None:
        assert await store.get("0" * 32) is None

    async def test_a_created_token_is_read_as_it_was_with_its_owner_and_its_bytes(self, store: TokenStore) -> None:
        first = token(name="first", owner=ME)
        await store.initialise(owner(ref=ME), first, NOW)
        made = token(
            token_id=numbered(1), name="ä \u2028 \N{GRINNING FACE}", request_ip=["192.0.2.0/24"], expires_on=NOW + 9
        )
        raw = await store.create(made, BY, NOW)
        assert await store.get(made.id) == Record(token=made, owner=owner(ref=ME), raw=raw)
        assert msgspec.json.decode(raw, type=Token) == made

    async def test_a_token_of_a_user_whose_record_is_gone_has_no_owner(self, store: TokenStore) -> None:
        await store.create(token(owner=SOMEBODY), BY, NOW)
        assert (await read(store, token().id)).owner is None

    async def test_an_account_without_a_record_owns_itself_and_its_zones(self, store: TokenStore) -> None:
        await store.create(token(owner=AN_ACCOUNT), BY, NOW)
        found = (await read(store, token().id)).owner
        assert found is not None
        assert (found.ref, found.status, found.policies) == (AN_ACCOUNT, "active", account_ceiling(AN_ACCOUNT))

    # Owners.

    async def test_the_first_owner_is_the_one_that_was_initialised(self, store: TokenStore) -> None:
        assert await store.first_owner() is None
        await store.initialise(owner(ref=ME), token(owner=ME), NOW)
        await store.create_owner(owner(ref=SOMEBODY), token(token_id=numbered(2), owner=SOMEBODY), BY, NOW + 1)
        assert await store.first_owner() == ME

    async def test_a_created_owner_is_there_with_its_first_token(self, store: TokenStore) -> None:
        await store.initialise(owner(ref=ME), token(owner=ME), NOW)
        first = token(token_id=numbered(2), owner=SOMEBODY)
        await store.create_owner(owner(ref=SOMEBODY), first, BY, NOW + 1)
        found = await store.get_owner(SOMEBODY)
        assert found is not None
        assert (found[0], msgspec.json.decode(found[1], type=Owner)) == (owner(ref=SOMEBODY), owner(ref=SOMEBODY))
        assert (await read(store, first.id)).owner == owner(ref=SOMEBODY)
        assert await names(store, SOMEBODY) == [first.name]

    async def test_an_owner_that_is_there_is_a_conflict_and_nothing_is_made(self, store: TokenStore) -> None:
        await store.initialise(owner(ref=ME), token(owner=ME), NOW)
        with pytest.raises(Conflict):
            await store.create_owner(owner((), ref=ME), token(token_id=numbered(2), owner=ME), BY, NOW + 1)
        assert await store.get(numbered(2)) is None
        found = await store.get_owner(ME)
        assert found is not None
        assert found[0] == owner(ref=ME)

    async def test_owners_are_listed_in_the_order_of_issue(self, store: TokenStore) -> None:
        await store.initialise(owner(ref=ME), token(owner=ME), NOW)
        for number, ref in enumerate((SOMEBODY, AN_ACCOUNT), 1):
            await store.create_owner(owner(ref=ref), token(token_id=numbered(number), owner=ref), BY, NOW + number)
        page = await store.owners(start=0, count=2, descending=False)
        assert ([each.ref for each in page.owners], page.total) == ([ME, SOMEBODY], 3)
        page = await store.owners(start=0, count=2, descending=True)
        assert [each.ref for each in page.owners] == [AN_ACCOUNT, SOMEBODY]
        assert (await store.owners(start=3, count=2, descending=False)).owners == ()

    async def test_a_changed_owner_takes_the_place_of_exactly_the_old_one(self, store: TokenStore) -> None:
        await store.initialise(owner(ref=ME), token(owner=ME), NOW)
        found = await store.get_owner(ME)
        assert found is not None
        raw = await store.change_owner(ME, found[1], owner((), ref=ME), Action.OWNER_UPDATE, BY, NOW)
        assert await store.get_owner(ME) == (owner((), ref=ME), raw)
        with pytest.raises(Conflict):
            await store.change_owner(ME, found[1], None, Action.OWNER_DELETE, BY, NOW)
        await store.change_owner(ME, raw, None, Action.OWNER_DELETE, BY, NOW)
        assert await store.get_owner(ME) is None

    async def test_tokens_are_found_by_their_maker_whoever_owns_them(self, store: TokenStore) -> None:
        made = [
            msgspec.structs.replace(token(token_id=numbered(number), owner=of), issued_by=numbered(maker))
            for number, of, maker in ((2, ME, 1), (3, AN_ACCOUNT, 1), (4, SOMEBODY, 9))
        ]
        for each in (token(token_id=numbered(1)), *made):
            await store.create(each, BY, NOW)
        found = [record async for record in store.issued_by({numbered(1)})]
        assert {record.token.id for record in found} == {numbered(2), numbered(3)}
        for record in found:
            await store.delete(record, Action.DELETE, BY, NOW)
        assert [record async for record in store.issued_by({numbered(1)})] == []

    async def test_an_id_that_is_taken_is_a_conflict_and_nothing_changes(self, store: TokenStore) -> None:
        await store.create(token(name="first"), BY, NOW)
        with pytest.raises(Conflict):
            await store.create(token(name="second"), BY, NOW)
        assert (await read(store, token().id)).token.name == "first"

    async def test_a_store_is_initialised_once(self, store: TokenStore) -> None:
        await store.initialise(owner(ref=ME), token(name="first", owner=ME), NOW)
        with pytest.raises(Conflict):
            await store.initialise(owner(ref=SOMEBODY), token(token_id=numbered(2), owner=SOMEBODY), NOW)
        record = await read(store, token().id)
        assert record.owner == owner(ref=ME)
        assert await store.get(numbered(2)) is None
        assert await names(store) == ["first"]

    # Replacing.

    async def test_a_replaced_token_is_the_new_one_wholly(self, store: TokenStore) -> None:
        await store.create(token(name="old", expires_on=NOW + 9), BY, NOW)
        old = await read(store, token().id)
        new = token(name="new", request_ip=["192.0.2.7"])
        raw = await store.replace(old, new, Action.UPDATE, BY, NOW + 1)
        found = await read(store, new.id)
        assert (found.token, found.raw) == (new, raw)
        assert raw != old.raw

    async def test_a_replace_keeps_the_place_in_the_list(self, store: TokenStore) -> None:
        await fill(store, 3)
        old = await read(store, numbered(1000 - 1))
        await store.replace(old, msgspec.structs.replace(old.token, name="1 again"), Action.UPDATE, BY, NOW + 99)
        assert await names(store) == ["1 again", "2", "3"]

    async def test_a_stale_record_is_a_conflict_and_nothing_changes(self, store: TokenStore) -> None:
        await store.create(token(name="first"), BY, NOW)
        stale = await read(store, token().id)
        await store.replace(stale, token(name="second"), Action.UPDATE, BY, NOW)
        with pytest.raises(Conflict):
            await store.replace(stale, token(name="third"), Action.UPDATE, BY, NOW)
        with pytest.raises(Conflict):
            await store.delete(stale, Action.DELETE, BY, NOW)
        assert (await read(store, token().id)).token.name == "second"

    async def test_of_two_replaces_of_the_same_record_exactly_one_wins_wholly(self, store: TokenStore) -> None:
        await store.create(token(name="first"), BY, NOW)
        old = await read(store, token().id)
        drafts = [token(name=f"draft {number}", request_ip=[f"192.0.2.{number}"]) for number in range(8)]
        done = await asyncio.gather(
            *(store.replace(old, draft, Action.UPDATE, BY, NOW) for draft in drafts), return_exceptions=True
        )
        winners = [draft for draft, outcome in zip(drafts, done, strict=True) if isinstance(outcome, bytes)]
        assert [type(outcome) for outcome in done].count(Conflict) == len(drafts) - 1
        assert [(await read(store, old.token.id)).token] == winners

    async def test_of_two_creations_of_one_id_exactly_one_wins(self, store: TokenStore) -> None:
        drafts = [token(name=f"draft {number}") for number in range(4)]
        done = await asyncio.gather(*(store.create(draft, BY, NOW) for draft in drafts), return_exceptions=True)
        winners = [draft for draft, outcome in zip(drafts, done, strict=True) if isinstance(outcome, bytes)]
        assert [type(outcome) for outcome in done].count(Conflict) == len(drafts) - 1
        assert [(await read(store, token().id)).token] == winners

    # Deleting.

    async def test_a_deleted_token_is_nowhere(self, store: TokenStore) -> None:
        await fill(store, 2)
        await store.delete(await read(store, numbered(1000 - 1)), Action.DELETE, BY, NOW + 9)
        assert await store.get(numbered(1000 - 1)) is None
        assert await names(store) == ["2"]
        assert await names(store, include_expired=True) == ["2"]

    async def test_what_is_deleted_is_deleted_once_and_never_comes_back(self, store: TokenStore) -> None:
        await store.create(token(), BY, NOW)
        old = await read(store, token().id)
        await store.delete(old, Action.DELETE, BY, NOW)
        with pytest.raises(Conflict):
            await store.delete(old, Action.DELETE, BY, NOW)
        with pytest.raises(Conflict):
            await store.replace(old, token(name="back"), Action.UPDATE, BY, NOW)
        assert await store.get(old.token.id) is None

    # Refused calls.

    async def test_a_refused_call_is_taken_down_and_changes_no_token(self, store: TokenStore) -> None:
        await store.create(token(), BY, NOW)
        old = await read(store, token().id)
        await store.denied(Denied("DELETE", "/client/v4/user/tokens/x", "forbidden", token().id), BY, NOW)
        assert await read(store, token().id) == old
        assert await names(store) == [token().name]

    # Pages.

    @pytest.mark.parametrize(
        ("page", "shown"),
        [
            pytest.param({}, "12345", id="all"),
            pytest.param({"count": 2}, "12", id="the first page"),
            pytest.param({"start": 2, "count": 2}, "34", id="the second page"),
            pytest.param({"start": 4, "count": 2}, "5", id="the last page"),
            pytest.param({"start": 6, "count": 2}, "", id="behind the last"),
            pytest.param({"descending": True}, "54321", id="newest first"),
            pytest.param({"descending": True, "start": 1, "count": 3}, "432", id="a page, newest first"),
            pytest.param({"include_expired": True, "start": 1, "count": 3}, "234", id="a page, expired ones too"),
            pytest.param({"include_expired": True, "descending": True, "count": 2}, "54", id="all kinds, newest first"),
        ],
    )
    async def test_a_page_is_in_the_order_of_issue(
        self, store: TokenStore, page: dict[str, int | bool], shown: str
    ) -> None:
        await fill(store, 5)
        assert await names(store, **page) == list(shown)

    @pytest.mark.parametrize(
        ("include_expired", "now", "shown"),
        [
            pytest.param(False, NOW + 99, ["forever", "longer"], id="a second early"),
            pytest.param(False, NOW + 100, ["forever"], id="in the very second"),
            pytest.param(False, NOW + 101, ["forever"], id="a second late"),
            pytest.param(True, NOW + 101, ["forever", "longer"], id="asked for"),
        ],
    )
    async def test_an_expired_token_is_left_out_and_not_counted_unless_asked_for(
        self,
        store: TokenStore,
        include_expired: bool,  # noqa: FBT001 - a case's data
        now: int,
        shown: list[str],
    ) -> None:
        await store.create(token(token_id=numbered(1), name="forever"), BY, NOW)
        await store.create(token(token_id=numbered(2), name="longer", expires_on=NOW + 100), BY, NOW + 1)
        found = await store.page(ME, start=0, count=1, descending=False, include_expired=include_expired, now=now)
        assert [each.name for each in found.tokens] == shown[:1]
        assert found.total == len(shown)
        assert await names(store, include_expired=include_expired, now=now) == shown

    async def test_a_token_whose_end_was_moved_is_listed_by_its_new_end(self, store: TokenStore) -> None:
        await store.create(token(name="first", expires_on=NOW + 5), BY, NOW)
        old = await read(store, token().id)
        await store.replace(old, token(name="for ever"), Action.UPDATE, BY, NOW)
        assert await names(store, now=NOW + 6) == ["for ever"]

    async def test_a_page_shows_the_tokens_of_one_owner_only(self, store: TokenStore) -> None:
        await store.create(token(token_id=numbered(1), name="mine", owner=ME), BY, NOW)
        await store.create(token(token_id=numbered(2), name="not mine", owner=SOMEBODY), BY, NOW)
        account = OwnerRef(OwnerKind.ACCOUNT, USER)
        await store.create(token(token_id=numbered(3), name="an account's", owner=account), BY, NOW)
        assert await names(store, ME) == ["mine"]
        assert await names(store, SOMEBODY) == ["not mine"]
        assert await names(store, account, include_expired=True) == ["an account's"]

    async def test_an_owner_without_tokens_has_an_empty_page(self, store: TokenStore) -> None:
        found = await store.page(ME, start=0, count=20, descending=False, include_expired=False, now=NOW)
        assert found == Page((), 0)

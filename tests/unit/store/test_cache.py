from collections.abc import Callable

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, invariant, precondition, rule
from support.records import NOW, USER, compiled, owner, token
from support.store_contract import numbered

from gateway.access.compiled import compile_owner
from gateway.reason import Deny, Reason
from gateway.store.cache import Absent, Entry, OwnerCell, Reading, TokenCache

ME, SOMEBODY = f"user:{USER}", "user:somebody"
UNTIL = NOW + 60.0
UNKNOWN = Absent(None, UNTIL)
UNREADABLE = Absent(Deny(reason=Reason.STORE_UNAVAILABLE), UNTIL)
COMPILED = compiled()


def cell_of(cache: TokenCache, key: str, raw: bytes | None = b"owner") -> OwnerCell:
    """As a reader gets an owner's cell."""
    cell = cache.owner_cell(key, raw)
    if cell is None:
        cell = OwnerCell(raw, compile_owner(owner()))
        cache.put_owner(key, cell)
    return cell


def entry(cache: TokenCache, key: str = ME, raw: bytes | None = b"owner") -> Entry:
    return Entry(COMPILED, cell_of(cache, key, raw), UNTIL)


@pytest.fixture
def cache() -> TokenCache:
    return TokenCache()


# Remembering.


@pytest.mark.parametrize("absent", [pytest.param(UNKNOWN, id="unknown"), pytest.param(UNREADABLE, id="unreadable")])
def test_what_was_put_is_there_until_it_is_told_to_have_changed(cache: TokenCache, absent: Absent) -> None:
    held = entry(cache)
    cache.put("a", held)
    cache.put("b", absent)
    assert (cache.get("a"), cache.get("b"), cache.get("c")) == (held, absent, None)
    cache.forget("a")
    assert (cache.get("a"), cache.get("b")) == (None, absent)
    cache.forget("b")
    assert cache.get("b") is None


def test_to_forget_what_is_not_there_changes_nothing(cache: TokenCache) -> None:
    cache.put("a", UNKNOWN)
    cache.forget("b")
    cache.forget_owner(SOMEBODY)
    assert cache.get("a") is UNKNOWN


def test_an_id_is_a_token_or_absent_and_never_both(cache: TokenCache) -> None:
    held = entry(cache)
    for last in (UNKNOWN, held, UNREADABLE, held):
        cache.put("a", last)
        assert cache.get("a") is last
        assert len(cache) == (last is held)


def test_no_use_prolongs_an_entry(cache: TokenCache) -> None:
    cache.put("a", entry(cache))
    for _ in range(3):
        found = cache.get("a")
        assert found is not None
        assert found.until == UNTIL


def test_a_flush_forgets_everything(cache: TokenCache) -> None:
    cache.put("a", entry(cache))
    cache.put("b", UNKNOWN)
    cache.flush()
    assert (cache.get("a"), cache.get("b"), len(cache)) == (None, None, 0)
    assert cache.owner_cell(ME, b"owner") is None


# Bounds.


def test_the_least_recently_used_token_goes_first() -> None:
    cache = TokenCache(most_tokens=2)
    for name in ("a", "b"):
        cache.put(name, entry(cache))
    cache.get("a")
    cache.put("c", entry(cache))
    assert [name for name in "abc" if cache.get(name)] == ["a", "c"]


def test_the_least_recently_used_unknown_id_goes_first() -> None:
    cache = TokenCache(most_unknown=2)
    for name in ("a", "b"):
        cache.put(name, UNKNOWN)
    cache.get("a")
    cache.put("c", UNREADABLE)
    assert [name for name in "abc" if cache.get(name)] == ["a", "c"]


def test_no_unknown_id_evicts_a_token() -> None:
    cache = TokenCache(most_tokens=2, most_unknown=3)
    for name in ("a", "b"):
        cache.put(name, entry(cache))
    for number in range(10):
        cache.put(numbered(number), UNKNOWN)
    assert [name for name in "ab" if cache.get(name)] == ["a", "b"]
    assert sum(cache.get(numbered(number)) is not None for number in range(10)) == 3


def test_a_token_put_again_takes_one_place() -> None:
    cache = TokenCache(most_tokens=2)
    for name in ("a", "b", "b", "b"):
        cache.put(name, entry(cache))
    assert cache.get("a") is not None


# Owners.


def test_a_change_of_an_owner_ends_all_its_tokens_and_no_other_s(cache: TokenCache) -> None:
    for name, whose in (("a", ME), ("b", ME), ("c", SOMEBODY)):
        cache.put(name, entry(cache, whose))
    cache.forget_owner(ME)
    assert [name for name in "abc" if cache.get(name)] == ["c"]
    assert len(cache) == 1


def test_an_owner_is_held_once_for_all_its_tokens(cache: TokenCache) -> None:
    first, second = entry(cache), entry(cache)
    assert first.owner is second.owner


def test_another_document_of_an_owner_ends_the_tokens_that_were_read_with_the_old_one(cache: TokenCache) -> None:
    cache.put("a", entry(cache, raw=b"old"))
    assert cache.owner_cell(ME, b"new") is None
    cache.put("b", entry(cache, raw=b"new"))
    assert [name for name in "ab" if cache.get(name)] == ["b"]


def test_an_owner_that_is_gone_has_a_cell_too(cache: TokenCache) -> None:
    cache.put("a", entry(cache, raw=None))
    assert cache.owner_cell(ME, None) is not None
    assert cache.owner_cell(ME, b"owner") is None
    cache.forget_owner(ME)
    assert cache.get("a") is None


def test_an_owner_is_forgotten_with_its_last_token(cache: TokenCache) -> None:
    cache.put("a", entry(cache))
    assert len(cache._owners) == 1
    cache.forget("a")
    assert len(cache._owners) == 0


def test_after_a_flush_an_old_cell_ends_no_new_token(cache: TokenCache) -> None:
    old = cell_of(cache, ME)
    cache.flush()
    cache.put("a", entry(cache))
    assert cache.owner_cell(ME, b"owner") is not old
    assert cache.get("a") is not None


# Reads under way.

TELL: dict[str, Callable[[TokenCache], None]] = {
    "the token": lambda cache: cache.forget("a"),
    "its owner": lambda cache: cache.forget_owner(ME),
    "any owner: nobody knows yet whose token it is": lambda cache: cache.forget_owner(SOMEBODY),
    "everything": lambda cache: cache.flush(),
}


@pytest.mark.parametrize("tell", [pytest.param(tell, id=name) for name, tell in TELL.items()])
def test_a_read_is_not_true_if_something_was_told_that_it_may_have_missed(
    cache: TokenCache, tell: Callable[[TokenCache], None]
) -> None:
    reading = cache.begin("a")
    assert cache.reading("a") is reading
    tell(cache)
    assert cache.reading("a") is None  # whoever comes now reads anew
    assert not cache.end(reading)


def test_a_read_is_true_if_only_another_token_has_changed(cache: TokenCache) -> None:
    reading = cache.begin("a")
    cache.forget("b")
    assert cache.end(reading)


def test_what_was_told_before_a_read_began_does_not_spoil_it(cache: TokenCache) -> None:
    for tell in TELL.values():
        tell(cache)
        assert cache.end(cache.begin("a"))


def test_a_read_that_ended_is_not_under_way(cache: TokenCache) -> None:
    reading = cache.begin("a")
    assert cache.end(reading)
    assert cache.reading("a") is None


def test_a_spoiled_read_ends_without_touching_the_one_that_came_after_it(cache: TokenCache) -> None:
    first = cache.begin("a")
    cache.forget("a")
    second = cache.begin("a")
    assert not cache.end(first)
    assert cache.reading("a") is second
    assert cache.end(second)


# The property: whatever happens in whatever order, what is remembered is what was told last.

IDS, OWNERS = ("a", "b", "c"), (ME, SOMEBODY)
MOST_TOKENS, MOST_UNKNOWN = 2, 2


class Document:
    """A token in the store: whose it is, which version, and the version of its owner."""

    def __init__(self, whose: str, version: int) -> None:
        self.whose, self.version = whose, version


class Read:
    """A read under way, and what it brings once the server has answered."""

    def __init__(self, reading: Reading) -> None:
        self.reading = reading
        self.brought: tuple[Document | None, int] | None = None


class Remembering(RuleBasedStateMachine):
    """A store whose documents change, a subscription that tells late or, before a flush, never, and reads between."""

    reads = Bundle("reads")

    def __init__(self) -> None:
        super().__init__()
        self.cache = TokenCache(MOST_TOKENS, MOST_UNKNOWN)
        self.store: dict[str, Document | None] = dict.fromkeys(IDS)
        self.owners = dict.fromkeys(OWNERS, 0)
        self.untold: list[str] = []
        self.read_as: dict[str, tuple[Document, int]] = {}
        """Of each compiled token, told apart by its id: what it was made of."""
        self.clock = 0

    def now(self) -> int:
        self.clock += 1
        return self.clock

    # The store.

    @rule(name=st.sampled_from(IDS), whose=st.sampled_from(OWNERS))
    def a_token_is_written(self, name: str, whose: str) -> None:
        self.store[name] = Document(whose, self.now())
        self.untold.append(name)

    @rule(name=st.sampled_from(IDS))
    def a_token_is_deleted(self, name: str) -> None:
        self.store[name] = None
        self.untold.append(name)

    @rule(whose=st.sampled_from(OWNERS))
    def an_owner_is_changed(self, whose: str) -> None:
        self.owners[whose] = self.now()
        self.untold.append(whose)

    # The subscription.

    @precondition(lambda self: self.untold)
    @rule()
    def a_message_comes(self) -> None:
        what = self.untold.pop(0)
        if what in OWNERS:
            self.cache.forget_owner(what)
        else:
            self.cache.forget(what)

    @precondition(lambda self: self.untold)
    @rule()
    def messages_are_lost_and_it_is_noticed(self) -> None:
        self.untold.clear()
        self.cache.flush()

    # The reader.

    @rule(target=reads, name=st.sampled_from(IDS))
    def a_read_begins(self, name: str) -> Read:
        joined = self.cache.reading(name)
        return Read(joined if joined is not None else self.cache.begin(name))

    @rule(read=reads)
    def the_server_answers(self, read: Read) -> None:
        if read.brought is None:
            document = self.store[read.reading.token_id]
            read.brought = (document, self.owners[document.whose] if document else 0)

    @rule(read=reads)
    def a_read_ends(self, read: Read) -> None:
        ended = self.cache.reading(read.reading.token_id) is not read.reading and not read.reading.spoiled
        if read.brought is None or ended:
            return
        if self.cache.end(read.reading):
            document, owner_version = read.brought
            if document is None:
                self.cache.put(read.reading.token_id, UNKNOWN)
            else:
                raw = str(owner_version).encode()
                made = compiled(token(token_id=numbered(self.now())))
                self.read_as[made.id] = (document, owner_version)
                self.cache.put(read.reading.token_id, Entry(made, cell_of(self.cache, document.whose, raw), UNTIL))

    # What holds at any moment.

    @invariant()
    def what_is_remembered_is_what_the_store_says_or_its_message_is_on_its_way(self) -> None:
        for name in IDS:
            found = self.cache.get(name)
            truth = self.store[name]
            if found is None or name in self.untold:
                continue
            if isinstance(found, Absent):
                assert truth is None
                continue
            assert truth is not None
            document, owner_version = self.read_as[found.token.id]
            assert document is truth
            assert owner_version == self.owners[truth.whose] or truth.whose in self.untold
            assert found.owner.valid

    @invariant()
    def the_bounds_hold(self) -> None:
        assert len(self.cache) <= MOST_TOKENS
        absent = [name for name in IDS if isinstance(self.cache.get(name), Absent)]
        assert len(absent) <= MOST_UNKNOWN

    @invariant()
    def no_entry_lives_longer_than_it_was_to(self) -> None:
        found = [self.cache.get(name) for name in IDS]
        assert all(each is None or each.until == UNTIL for each in found)


TestRemembering = Remembering.TestCase

from typing import Any

import msgspec
import pytest
from support.records import NOW, owner, secret_of, token
from support.store_contract import AN_ACCOUNT, SOMEBODY, MemoryTokenStore, numbered, read
from unit.admin.asking import CALLER, MINE, NOT_MINE, Ask, api_over, asker, good, refused, result, works

from gateway.access.compiled import CompiledToken
from gateway.access.ports import Action, StoreUnavailable
from gateway.reason import Deny, Reason
from gateway.store.guessing import MOST_UNKNOWN
from gateway.tokens.condition import Address
from gateway.tokens.digest import NO_PEPPERS
from gateway.tokens.lifecycle import roll
from gateway.tokens.news import Event, News
from gateway.tokens.owner import OwnerKind
from gateway.tokens.token import Status

ACCOUNTS = token(token_id=numbered(3), owner=AN_ACCOUNT)
OFF = token(token_id=numbered(4), status=Status.DISABLED)
ENDED = token(token_id=numbered(5), expires_on=NOW - 1)
ROLLED = roll(
    token(token_id=numbered(6)), NO_PEPPERS.sign(secret_of(numbered(6), fill=9)), issued_by="", now=NOW, overlap=60
)


class LimitedStore(MemoryTokenStore):
    """Looks up as many unknown ids as a worker does within a second."""

    def __init__(self) -> None:
        super().__init__()
        self.addresses: list[Address | None] = []

    async def fetch(
        self, token_id: str, address: Address | None, *, proved: bool = False
    ) -> CompiledToken | Deny | None:
        if len(self.addresses) >= MOST_UNKNOWN:
            return Deny(reason=Reason.RATE_LIMITED)
        found = await super().fetch(token_id, address, proved=proved)
        if found is None:
            self.addresses.append(address)
        return found


@pytest.fixture
def store() -> LimitedStore:
    store = LimitedStore()
    store.hold(CALLER, MINE, OFF, ENDED, ROLLED).hold(NOT_MINE, of=owner(ref=SOMEBODY))
    store.hold(ACCOUNTS, of=owner(ref=AN_ACCOUNT))
    return store


@pytest.fixture
def told() -> list[News]:
    return []


@pytest.fixture
def ask(store: LimitedStore, told: list[News]) -> Ask:
    return asker(api_over(store, tell=told.append))


async def outcomes(ask: Ask, *secrets: str) -> list[tuple[Any, str]]:
    found = result(await ask("POST", "/user/tokens/leaked", {"secrets": secrets}))
    assert all(each.keys() == {"id", "outcome"} for each in found)
    return [(each["id"], each["outcome"]) for each in found]


@pytest.mark.parametrize(
    ("secret", "outcome"),
    [
        pytest.param(secret_of(MINE.id), "disabled", id="one's own"),
        pytest.param(secret_of(NOT_MINE.id), "disabled", id="somebody else's"),
        pytest.param(secret_of(ACCOUNTS.id, OwnerKind.ACCOUNT), "disabled", id="an account's"),
        pytest.param(secret_of(ENDED.id), "disabled", id="one that has expired"),
        pytest.param(secret_of(CALLER.id), "disabled", id="the bearer's"),
        pytest.param(secret_of(OFF.id), "already_disabled", id="one that is disabled"),
        pytest.param(secret_of(ROLLED.id, fill=9), "disabled", id="the new one of two"),
        pytest.param(secret_of(ROLLED.id), "overlap_ended", id="one in its overlap"),
        pytest.param(secret_of(MINE.id, fill=8), "unknown", id="a wrong secret"),
        pytest.param(secret_of(MINE.id, OwnerKind.ACCOUNT), "unknown", id="a wrong prefix"),
        pytest.param(secret_of(numbered(99)), "unknown", id="an id that is not there"),
    ],
)
async def test_what_becomes_of_a_secret_that_is_reported(
    ask: Ask, store: LimitedStore, secret: Any, outcome: str, told: list[News]
) -> None:
    before = {each.id: (await read(store, each.id)).token for each in (MINE, NOT_MINE, ACCOUNTS, OFF, ENDED, ROLLED)}
    token_id = secret.reveal()[4:36]
    assert await outcomes(ask, secret.reveal()) == [(token_id, outcome)]
    changed = outcome in ("disabled", "overlap_ended")
    assert [action for action, _ in store.actions if action is Action.LEAKED] == [Action.LEAKED] * changed
    assert [(news.event, news.token_id) for news in told] == [(Event.LEAKED, token_id)] * changed
    for other, was in before.items():
        now = (await read(store, other)).token
        assert (now == was) is (not changed or other != token_id)
        assert now.status is (Status.DISABLED if (other, outcome) == (token_id, "disabled") else was.status)


async def test_after_the_end_of_an_overlap_the_new_secret_works_and_the_old_one_does_not(
    ask: Ask, store: LimitedStore
) -> None:
    await outcomes(ask, secret_of(ROLLED.id).reveal())
    assert not await works(store, secret_of(ROLLED.id).reveal())
    assert await works(store, secret_of(ROLLED.id, fill=9).reveal())


async def test_each_has_its_answer_in_its_place_and_one_reported_twice_is_ended_once(
    ask: Ask, store: LimitedStore
) -> None:
    mine = secret_of(MINE.id).reveal()
    assert await outcomes(ask, "no secret", mine, mine) == [
        (None, "malformed"),
        (MINE.id, "disabled"),
        (MINE.id, "already_disabled"),
    ]
    assert [(action, by.token_id) for action, by in store.actions if action is Action.LEAKED] == [
        (Action.LEAKED, CALLER.id)
    ]


async def test_unknown_ids_count_as_guesses_and_what_was_not_looked_up_is_told(ask: Ask, store: LimitedStore) -> None:
    secrets = [secret_of(numbered(100 + n)).reveal() for n in range(MOST_UNKNOWN + 2)]
    envelope = good(await ask("POST", "/user/tokens/leaked", {"secrets": secrets}))
    assert [each["outcome"] for each in envelope["result"]] == ["unknown"] * MOST_UNKNOWN + ["not_looked_up"] * 2
    assert [message["code"] for message in envelope["messages"]] == [10429]
    assert {str(address) for address in store.addresses} == {"192.0.2.7"}


async def test_a_store_that_is_away_is_no_outcome(ask: Ask, store: LimitedStore) -> None:
    store.failure = StoreUnavailable("away")
    outcome = await ask("POST", "/user/tokens/leaked", {"secrets": [secret_of(MINE.id).reveal()]})
    assert refused(outcome).reason is Reason.STORE_UNAVAILABLE


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        pytest.param({"secrets": []}, Reason.INVALID_BODY, id="no secrets"),
        pytest.param(b" " * (64 * 1024 + 1), Reason.BODY_TOO_LARGE, id="over 64 KiB"),
    ],
)
async def test_a_report_that_cannot_be_read_ends_nothing(
    ask: Ask, store: LimitedStore, body: Any, reason: Reason
) -> None:
    assert refused(await ask("POST", "/user/tokens/leaked", body)).reason is reason
    assert store.actions == []


async def test_whoever_changes_the_token_meanwhile_does_not_save_it() -> None:
    class Busy(LimitedStore):
        busy = True

        async def replace(self, old: Any, new: Any, action: Action, by: Any, now: float) -> bytes:
            if self.busy:
                self.busy = False
                await super().replace(old, msgspec.structs.replace(old.token, name="new"), Action.UPDATE, by, now)
            return await super().replace(old, new, action, by, now)

    busy = Busy()
    busy.hold(CALLER, MINE)
    assert await outcomes(asker(api_over(busy)), secret_of(MINE.id).reveal()) == [(MINE.id, "disabled")]
    after = (await read(busy, MINE.id)).token
    assert (after.name, after.status) == ("new", Status.DISABLED)

from typing import Any

import msgspec
import pytest
from support.records import (
    ACCOUNT_A,
    EVERYTHING,
    GROUPS,
    NOW,
    USER,
    account,
    group_id,
    owner,
    policy,
    token,
    user,
    zone,
)
from support.store_contract import AN_ACCOUNT, ME, SOMEBODY, MemoryTokenStore, numbered, read
from unit.admin.asking import CALLER, Ask, api_over, asker, good, refused, result, tag, works

from gateway.access.ports import Action, Actor, Conflict, StoreUnavailable
from gateway.access.principal import Record
from gateway.reason import Deny, Reason
from gateway.tokens.owner import Owner, OwnerRef, OwnerStatus
from gateway.tokens.policy import Policy
from gateway.tokens.rate import Rate
from gateway.tokens.representation import show_owner, show_policy
from gateway.tokens.resource import Scope
from gateway.tokens.token import Status, Token

NO_OWNER = Deny(reason=Reason.NOT_FOUND, detail="owner")
DNS = policy(["DNS Write"], [zone("*")])
HIS_TOKENS = msgspec.structs.replace(policy(["API Tokens Write"], [user(SOMEBODY.id)], scope=Scope.USER), id="2" * 32)
THEIRS = owner([DNS, HIS_TOKENS], ref=SOMEBODY)
THEIR_TOKEN = token([DNS], token_id=numbered(2), owner=SOMEBODY, name="theirs")


@pytest.fixture
def store() -> MemoryTokenStore:
    return MemoryTokenStore().hold(CALLER).hold(THEIR_TOKEN, of=THEIRS)


@pytest.fixture
def ask(store: MemoryTokenStore) -> Ask:
    return asker(api_over(store))


def sent(*policies: Policy) -> list[dict[str, Any]]:
    """Policies as a client sends them."""
    return [{key: value for key, value in show_policy(each, GROUPS).items() if key != "id"} for each in policies]


def body(*policies: Policy, **more: Any) -> dict[str, Any]:
    return {"name": "Team A", "policies": sent(*policies)} | more


async def held(store: MemoryTokenStore, ref: OwnerRef) -> Owner:
    found = await store.get_owner(ref)
    assert found is not None
    return found[0]


# Create.


async def test_a_new_owner_s_first_token_may_do_what_the_owner_may_and_shows_its_secret_once(
    store: MemoryTokenStore, ask: Ask
) -> None:
    ref = OwnerRef(SOMEBODY.kind, "team-a")
    own = policy(["API Tokens Write"], [user(ref.id)], scope=Scope.USER)
    made = result(await ask("POST", "/zonegate/owners", body(DNS, own, id=ref.id)))
    first, now = (await read(store, made["id"])).token, await held(store, ref)
    assert (first.owner, first.policies, first.issued_by) == (ref, now.policies, CALLER.id)
    assert (now.name, now.status, now.issued_on) == ("Team A", OwnerStatus.ACTIVE, NOW)
    assert made["value"].startswith(f"zgt_{made['id']}_")
    assert await works(store, made["value"])
    assert made["owner"] == show_owner(now, GROUPS)
    assert "value" not in result(await ask("GET", f"/zonegate/owners/{ref.id}"))
    assert [action for action, _ in store.actions] == [Action.OWNER_CREATE]


async def test_a_user_s_id_is_made_where_none_is_sent(ask: Ask) -> None:
    made = [result(await ask("POST", "/zonegate/owners", body(DNS)))["owner"] for _ in range(2)]
    assert [each["kind"] for each in made] == ["user", "user"]
    assert len({each["id"] for each in made}) == 2
    assert {len(each["id"]) for each in made} == {32}


async def test_an_account_has_the_id_that_is_sent(ask: Ask) -> None:
    billing = policy(["Billing Read"], [account(ACCOUNT_A)], scope=Scope.ACCOUNT)
    made = result(await ask("POST", "/zonegate/owners", body(billing, kind="account", id=ACCOUNT_A)))
    assert (made["owner"]["kind"], made["owner"]["id"]) == ("account", ACCOUNT_A)
    assert made["value"].startswith("zga_")


async def test_the_first_token_of_a_new_owner_works_where_and_until_when_its_maker_s_does() -> None:
    limited = token(EVERYTHING, request_ip=["192.0.2.0/24"], expires_on=NOW + 60, limits=Rate(5, 60))
    store = MemoryTokenStore().hold(limited)
    made = result(await asker(api_over(store), limited)("POST", "/zonegate/owners", body(DNS)))
    first = (await read(store, made["id"])).token
    assert (first.condition, first.expires_on) == (limited.condition, limited.expires_on)
    assert first.limits == limited.limits


@pytest.mark.parametrize(
    ("sent_body", "pointers"),
    [
        pytest.param({}, ["/name", "/policies"], id="without its parts"),
        pytest.param(body(DNS, kind="team"), ["/kind"], id="no kind"),
        pytest.param(body(DNS, kind="account"), ["/id"], id="an account without its id"),
        pytest.param(body(DNS, kind="account", id="*"), ["/id"], id="every account"),
        pytest.param(body(DNS, kind="account", id="zone"), ["/id"], id="the name of a scope"),
        pytest.param(body(DNS, id="A" * 32), ["/id"], id="an id in capitals"),
        pytest.param(body(DNS, id=7), ["/id"], id="a number for an id"),
        pytest.param(body(DNS, status="expired"), ["/status"], id="no status"),
        pytest.param(body(DNS, expires_on="2028-01-01T00:00:00Z"), ["/expires_on"], id="an end"),
        pytest.param(body(DNS, id=SOMEBODY.id), ["/id"], id="who is there already"),
    ],
)
async def test_an_owner_that_is_none_is_a_fault_and_nothing_is_written(
    store: MemoryTokenStore, ask: Ask, sent_body: dict[str, Any], pointers: list[str]
) -> None:
    deny = refused(await ask("POST", "/zonegate/owners", sent_body))
    assert (deny.reason, [fault.pointer for fault in deny.faults]) == (Reason.INVALID_BODY, pointers)
    assert store.actions == []


class EndedMeanwhile(MemoryTokenStore):
    """The caller is ended after he was looked at, and before what he gives is written."""

    async def create_owner(self, owner: Owner, token: Token, by: Actor, now: float) -> None:
        self.hold(msgspec.structs.replace(CALLER, status=Status.DISABLED))
        await super().create_owner(owner, token, by, now)


async def test_an_owner_that_is_written_after_the_end_of_its_maker_is_taken_back_and_other_tokens_stay() -> None:
    store = EndedMeanwhile().hold(CALLER)
    await store.create(token(token_id=numbered(3), owner=AN_ACCOUNT), Actor("", "", "", ""), NOW)
    outcome = await asker(api_over(store))("POST", "/zonegate/owners", body(DNS, kind="account", id=AN_ACCOUNT.id))
    assert outcome == Deny(reason=Reason.TOKEN_DISABLED)
    assert await store.get_owner(AN_ACCOUNT) is None
    left = await store.page(AN_ACCOUNT, start=0, count=9, descending=False, include_expired=True, now=NOW)
    assert [each.id for each in left.tokens] == [numbered(3)]


# Nobody gives what he hasn't got.


@pytest.mark.parametrize(
    ("limits", "pointer"),
    [
        pytest.param({"request_ip": ["192.0.2.0/24"]}, "/condition", id="an address"),
        pytest.param({"expires_on": NOW + 60}, "/expires_on", id="an end"),
    ],
)
async def test_a_caller_with_limits_gives_no_account_a_record_as_its_tokens_have_none(
    limits: dict[str, Any], pointer: str
) -> None:
    limited = token(EVERYTHING, **limits)
    store = MemoryTokenStore().hold(limited)
    sent_body = body(DNS, kind="account", id=ACCOUNT_A)
    deny = refused(await asker(api_over(store), limited)("POST", "/zonegate/owners", sent_body))
    assert deny.reason is Reason.EXCEEDS_CALLER
    assert {fault.pointer for fault in deny.faults} == {pointer}
    assert store.actions == []


OPERATOR = token(
    [policy(["Zonegate Owners Write"], [user(USER)], scope=Scope.USER), policy(["DNS Read"], [zone("*")])],
    token_id=numbered(9),
)


@pytest.mark.parametrize(
    ("method", "path", "sent_body"),
    [
        pytest.param("POST", "", body(DNS), id="create"),
        pytest.param("PUT", f"/{SOMEBODY.id}", body(DNS), id="edit"),
        pytest.param("PUT", f"/{AN_ACCOUNT.id}", body(DNS, status="active"), id="enable"),
    ],
)
async def test_an_owner_that_exceeds_the_caller_is_refused(
    store: MemoryTokenStore, method: str, path: str, sent_body: dict[str, Any]
) -> None:
    store.hold(OPERATOR).hold(of=owner([DNS], ref=AN_ACCOUNT, status=OwnerStatus.DISABLED))
    deny = refused(await asker(api_over(store), OPERATOR)(method, f"/zonegate/owners{path}", sent_body))
    assert deny.reason is Reason.EXCEEDS_CALLER
    assert [fault.message for fault in deny.faults] == ["your token does not give DNS Edit on all zones"]
    assert store.actions == []


@pytest.mark.parametrize(
    ("limits", "pointer"),
    [
        pytest.param({"request_ip": ["192.0.2.0/24"]}, "/condition", id="an address"),
        pytest.param({"expires_on": NOW + 60}, "/expires_on", id="an end"),
        pytest.param({"limits": Rate(5, 60)}, "/limits", id="a rate"),
    ],
)
async def test_a_caller_with_limits_edits_no_owner_as_an_owner_has_none(
    store: MemoryTokenStore, limits: dict[str, Any], pointer: str
) -> None:
    limited = token(EVERYTHING, token_id=numbered(9), **limits)
    ask = asker(api_over(store.hold(limited)), limited)
    deny = refused(await ask("PUT", f"/zonegate/owners/{SOMEBODY.id}", body(DNS)))
    assert [fault.pointer for fault in deny.faults] == [pointer]


async def test_to_disable_an_owner_takes_no_more_than_the_permission(store: MemoryTokenStore) -> None:
    ask = asker(api_over(store.hold(OPERATOR)), OPERATOR)
    shown = result(await ask("GET", f"/zonegate/owners/{SOMEBODY.id}"))
    off = result(await ask("PUT", f"/zonegate/owners/{SOMEBODY.id}", shown | {"status": "disabled"}))
    assert off["status"] == "disabled"


# List, get, update.


async def test_owners_are_listed_oldest_first_and_paged(ask: Ask) -> None:
    envelope = good(await ask("GET", "/zonegate/owners?per_page=5"))
    assert [each["id"] for each in envelope["result"]] == [USER, SOMEBODY.id]
    assert envelope["result_info"] == {"page": 1, "per_page": 5, "count": 2, "total_count": 2, "total_pages": 1}
    assert refused(await ask("GET", "/zonegate/owners?per_page=4")).reason is Reason.BAD_REQUEST


async def test_an_owner_is_shown_with_its_policies_and_a_tag(ask: Ask) -> None:
    outcome = await ask("GET", f"/zonegate/owners/{SOMEBODY.id}")
    assert result(outcome) == show_owner(THEIRS, GROUPS)
    assert tag(outcome)


@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE"])
async def test_an_owner_that_is_not_there_is_a_404(ask: Ask, method: str) -> None:
    assert await ask(method, "/zonegate/owners/nobody", body(DNS)) == NO_OWNER
    assert await ask(method, f"/zonegate/owners/{SOMEBODY.id}?kind=account", body(DNS)) == NO_OWNER


async def test_of_a_user_and_an_account_of_one_id_it_is_to_be_said_which(store: MemoryTokenStore, ask: Ask) -> None:
    store.hold(of=owner([DNS], ref=OwnerRef(AN_ACCOUNT.kind, SOMEBODY.id)))
    path = f"/zonegate/owners/{SOMEBODY.id}"
    deny = refused(await ask("GET", path))
    assert deny.reason is Reason.BAD_REQUEST
    assert "kind=account" in deny.detail
    assert result(await ask("GET", f"{path}?kind=account"))["kind"] == "account"
    assert result(await ask("GET", f"{path}?kind=user"))["kind"] == "user"
    assert refused(await ask("GET", f"{path}?kind=team")).reason is Reason.BAD_REQUEST


async def test_an_edit_may_send_back_what_get_showed_and_changes_what_it_says(
    store: MemoryTokenStore, ask: Ask
) -> None:
    shown = result(await ask("GET", f"/zonegate/owners/{SOMEBODY.id}"))
    again = await ask("PUT", f"/zonegate/owners/{SOMEBODY.id}", shown | {"name": "renamed"})
    assert result(again) == shown | {"name": "renamed", "modified_on": "2027-01-15T08:00:00Z"}
    now = await held(store, SOMEBODY)
    assert (now.policies, now.ref, now.issued_on) == (THEIRS.policies, THEIRS.ref, THEIRS.issued_on)
    narrower = result(await ask("PUT", f"/zonegate/owners/{SOMEBODY.id}", body(HIS_TOKENS)))
    assert [each["permission_groups"][0]["id"] for each in narrower["policies"]] == [
        group_id("API Tokens Write", Scope.USER)
    ]


async def test_a_disabled_owner_stays_so_until_it_is_enabled(ask: Ask) -> None:
    path = f"/zonegate/owners/{SOMEBODY.id}"
    assert result(await ask("PUT", path, body(DNS, status="disabled")))["status"] == "disabled"
    assert result(await ask("PUT", path, body(DNS)))["status"] == "disabled"
    assert result(await ask("PUT", path, body(DNS, status="active")))["status"] == "active"


@pytest.mark.parametrize("method", ["PUT", "DELETE"])
async def test_a_change_of_what_was_changed_meanwhile_is_a_412(store: MemoryTokenStore, ask: Ask, method: str) -> None:
    path = f"/zonegate/owners/{SOMEBODY.id}"
    seen = tag(await ask("GET", path)).encode()
    changed = await ask("PUT", path, body(DNS, name="meanwhile"))
    outcome = await ask(method, path, body(DNS), [seen])
    assert outcome == Deny(reason=Reason.PRECONDITION_FAILED)
    assert (await held(store, SOMEBODY)).name == "meanwhile"
    good(await ask(method, path, body(DNS), [tag(changed).encode()]))


async def test_an_owner_over_64_kib_as_stored_is_a_fault(ask: Ask) -> None:
    many = policy(["DNS Write"], [zone(f"{number:032x}") for number in range(1000)])
    for method, path in (("POST", ""), ("PUT", f"/{SOMEBODY.id}")):
        deny = refused(await ask(method, f"/zonegate/owners{path}", body(many, many)))
        assert [fault.message for fault in deny.faults] == ["the owner is over 64 KiB as stored"]


# Delete.


async def test_a_deleted_owner_is_gone_with_its_tokens_after_it_was_switched_off(
    store: MemoryTokenStore, ask: Ask
) -> None:
    gone = [msgspec.structs.replace(THEIR_TOKEN, id=numbered(30 + n), expires_on=NOW - 1) for n in range(3)]
    store.hold(*gone, of=THEIRS)
    assert result(await ask("DELETE", f"/zonegate/owners/{SOMEBODY.id}")) == {
        "id": SOMEBODY.id,
        "kind": "user",
        "tokens": 4,
    }
    assert await store.get_owner(SOMEBODY) is None
    assert [await store.get(each.id) for each in (THEIR_TOKEN, *gone)] == [None] * 4
    assert [action for action, _ in store.actions] == [
        Action.OWNER_UPDATE,
        *[Action.DELETE] * 4,
        Action.OWNER_DELETE,
    ]
    assert (await read(store, CALLER.id)).token == CALLER


async def test_a_deletion_that_broke_off_has_switched_the_owner_off_and_can_be_done_again() -> None:
    class BreaksOff(MemoryTokenStore):
        breaks = True

        async def delete(self, old: Record, action: Action, by: Any, now: float) -> None:
            if self.breaks:
                raise StoreUnavailable("away", outcome_unknown=True)
            await super().delete(old, action, by, now)

    store = BreaksOff()
    store.hold(CALLER).hold(THEIR_TOKEN, of=THEIRS)
    ask = asker(api_over(store))
    assert refused(await ask("DELETE", f"/zonegate/owners/{SOMEBODY.id}")).reason is Reason.STORE_UNAVAILABLE
    assert (await held(store, SOMEBODY)).status is OwnerStatus.DISABLED
    store.breaks = False
    assert result(await ask("DELETE", f"/zonegate/owners/{SOMEBODY.id}"))["tokens"] == 1


async def test_the_first_owner_is_neither_disabled_nor_deleted(store: MemoryTokenStore, ask: Ask) -> None:
    assert refused(await ask("DELETE", f"/zonegate/owners/{USER}")).reason is Reason.FORBIDDEN
    shown = result(await ask("GET", f"/zonegate/owners/{USER}"))
    deny = refused(await ask("PUT", f"/zonegate/owners/{USER}", shown | {"status": "disabled"}))
    assert [fault.pointer for fault in deny.faults] == ["/status"]
    assert (await held(store, ME)).status is OwnerStatus.ACTIVE
    assert store.actions == []


async def test_an_account_without_its_record_is_what_it_was_before(store: MemoryTokenStore, ask: Ask) -> None:
    store.hold(of=owner([DNS], ref=AN_ACCOUNT, status=OwnerStatus.DISABLED))
    assert result(await ask("DELETE", f"/zonegate/owners/{AN_ACCOUNT.id}"))["tokens"] == 0
    made = await ask(
        "POST",
        f"/accounts/{ACCOUNT_A}/tokens",
        {"name": "new", "policies": sent(policy(["Billing Read"], [account(ACCOUNT_A)], scope=Scope.ACCOUNT))},
    )
    assert (await read(store, result(made)["id"])).token.status is Status.ACTIVE


async def test_a_change_that_always_comes_too_late_gives_up() -> None:
    class Contended(MemoryTokenStore):
        async def change_owner(self, *_: Any) -> bytes:
            raise Conflict

    store = Contended()
    store.hold(CALLER).hold(THEIR_TOKEN, of=THEIRS)
    ask = asker(api_over(store))
    for method in ("PUT", "DELETE"):
        outcome = await ask(method, f"/zonegate/owners/{SOMEBODY.id}", body(DNS))
        assert outcome == Deny(reason=Reason.PRECONDITION_FAILED)

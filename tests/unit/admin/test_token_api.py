import asyncio
from typing import Any
from urllib.parse import quote

import msgspec
import pytest
from support.records import (
    ACCOUNT_A,
    ACCOUNT_B,
    CATALOG,
    EVERYTHING,
    GROUPS,
    NOW,
    USER,
    ZONE_A,
    account,
    group_id,
    owner,
    policy,
    secret_of,
    token,
    user,
    zone,
)
from support.store_contract import AN_ACCOUNT, SOMEBODY, MemoryTokenStore, numbered, read
from support.zone_accounts import MemoryAccounts
from unit.admin.asking import (
    BODY,
    CALLER,
    MINE,
    NOT_MINE,
    POLICY,
    Ask,
    FakeTrail,
    FakeUses,
    What,
    api_over,
    asker,
    good,
    refused,
    result,
    tag,
    works,
)

from gateway.access.ports import Action, Actor, Conflict, StoreUnavailable
from gateway.access.principal import Record
from gateway.access.question import Unknown
from gateway.catalog.api import Api
from gateway.reason import Answer, Deny, Reason
from gateway.store.audit import AuditPage, AuditQuery
from gateway.store.use import RouteUse, Use
from gateway.tokens.digest import NO_PEPPERS, Peppers
from gateway.tokens.owner import OwnerRef
from gateway.tokens.rate import Rate
from gateway.tokens.resource import Scope
from gateway.tokens.secret import Sensitive
from gateway.tokens.token import Status, Token


@pytest.fixture
def store() -> MemoryTokenStore:
    return MemoryTokenStore().hold(CALLER, MINE).hold(NOT_MINE, of=owner(ref=SOMEBODY))


@pytest.fixture
def ask(store: MemoryTokenStore) -> Ask:
    return asker(api_over(store))


def test_there_is_an_operation_for_each_route_and_a_route_for_each_operation(store: MemoryTokenStore) -> None:
    named = {route.operation for route in CATALOG.public.routes if route.operation}
    assert api_over(store).operations == named


# List.


async def test_a_list_has_the_owner_s_tokens_oldest_first_and_says_how_many_there_are(ask: Ask) -> None:
    envelope = good(await ask("GET", "/user/tokens"))
    assert [each["name"] for each in envelope["result"]] == ["the caller", "mine"]
    assert envelope["result_info"] == {"page": 1, "per_page": 20, "count": 2, "total_count": 2, "total_pages": 1}


async def test_a_list_shows_no_secret_and_no_digest(ask: Ask) -> None:
    outcome = await ask("GET", "/user/tokens")
    assert all("value" not in each for each in result(outcome))
    assert isinstance(outcome, Answer)
    assert MINE.digests[0].hex.encode() not in outcome.body
    assert b"digest" not in outcome.body


@pytest.mark.parametrize(
    ("query", "shown", "info"),
    [
        pytest.param("per_page=5", "01234", (1, 5, 5, 12, 3), id="the first page"),
        pytest.param("per_page=5&page=2", "56789", (2, 5, 5, 12, 3), id="the second page"),
        pytest.param("per_page=5&page=3", "ab", (3, 5, 2, 12, 3), id="the last page"),
        pytest.param("per_page=5&page=4", "", (4, 5, 0, 12, 3), id="behind the last"),
        pytest.param("per_page=6&direction=desc", "ba9876", (1, 6, 6, 12, 2), id="newest first"),
        pytest.param("per_page=50&include_expired=true", "0123456789abx", (1, 50, 13, 13, 1), id="expired ones too"),
    ],
)
async def test_a_list_is_paged(query: str, shown: str, info: tuple[int, ...]) -> None:
    names = "0123456789ab"
    living = [token(token_id=numbered(n), name=name, issued_on=NOW - 100 + n) for n, name in enumerate(names, 1)]
    expired = token(token_id=numbered(99), name="x", issued_on=NOW - 50, expires_on=NOW)
    ask = asker(api_over(MemoryTokenStore().hold(*living, expired)))
    envelope = good(await ask("GET", f"/user/tokens?{query}"))
    assert "".join(each["name"] for each in envelope["result"]) == shown
    assert envelope["result_info"] == dict(
        zip(("page", "per_page", "count", "total_count", "total_pages"), info, strict=True)
    )


async def test_an_expired_token_shows_as_expired() -> None:
    gone = token(token_id=numbered(3), name="gone", issued_on=NOW - 1, expires_on=NOW)
    ask = asker(api_over(MemoryTokenStore().hold(CALLER, gone)))
    shown = result(await ask("GET", "/user/tokens?include_expired=true"))
    assert [(each["name"], each["status"]) for each in shown] == [("the caller", "active"), ("gone", "expired")]


@pytest.mark.parametrize("query", ["per_page=4", "per_page=51", "page=0", "direction=up", "page=1&page=1"])
async def test_a_list_that_is_asked_for_badly_is_refused(ask: Ask, query: str) -> None:
    assert refused(await ask("GET", f"/user/tokens?{query}")).reason is Reason.BAD_REQUEST


# Create.


async def test_a_new_token_is_shown_whole_with_its_secret_once(store: MemoryTokenStore, ask: Ask) -> None:
    created = result(
        await ask(
            "POST",
            "/user/tokens",
            BODY
            | {
                "condition": {"request_ip": {"in": ["192.0.2.0/24"], "not_in": ["192.0.2.9"]}},
                "not_before": "2027-01-15T08:00:00Z",
                "expires_on": "2027-02-15T09:00:00+01:00",
            },
        )
    )
    value = created.pop("value")
    policy_id = created["policies"][0].pop("id")
    assert len(policy_id) == len(created["id"]) == 32
    assert created == {
        "id": created["id"],
        "name": "new",
        "status": "active",
        "issued_on": "2027-01-15T08:00:00Z",
        "modified_on": "2027-01-15T08:00:00Z",
        "not_before": "2027-01-15T08:00:00Z",
        "expires_on": "2027-02-15T08:00:00Z",
        "policies": [
            {
                "effect": "allow",
                "permission_groups": [
                    {"id": group_id("DNS Write"), "name": "DNS Write"},
                    {"id": group_id("DNS Read"), "name": "DNS Read"},
                ],
                "resources": {zone(ZONE_A): "*"},
            }
        ],
        "condition": {"request_ip": {"in": ["192.0.2.0/24"], "not_in": ["192.0.2.9"]}},
        "owner": {"kind": "user", "id": USER},
        "issued_by": CALLER.id,
    }
    assert value.startswith(f"zgt_{created['id']}_")
    assert await works(store, value)
    again = result(await ask("GET", f"/user/tokens/{created['id']}"))
    assert "value" not in again
    again["policies"][0].pop("id")
    assert again == created


async def test_a_new_token_s_tag_is_the_one_that_get_shows(ask: Ask) -> None:
    created = await ask("POST", "/user/tokens", BODY)
    assert tag(created) == tag(await ask("GET", f"/user/tokens/{result(created)['id']}"))


async def test_no_two_new_tokens_share_an_id_or_a_secret(ask: Ask) -> None:
    made = [result(await ask("POST", "/user/tokens", BODY)) for _ in range(3)]
    assert len({each["id"] for each in made}) == len({each["value"].rpartition("_")[2] for each in made}) == 3


async def test_a_new_token_s_digest_is_made_with_the_pepper_that_signs(store: MemoryTokenStore) -> None:
    peppers = Peppers([Sensitive("salt")])
    created = result(await asker(api_over(store, peppers))("POST", "/user/tokens", BODY))
    (digest,) = (await read(store, created["id"])).token.digests
    assert digest.key == peppers.signing_key
    assert peppers.proves(digest, Sensitive(created["value"]), NOW)
    assert not await works(store, created["value"])


@pytest.mark.parametrize(
    ("body", "pointers"),
    [
        pytest.param(b"", [""], id="nothing"),
        pytest.param(b"{", [""], id="cut off"),
        pytest.param(b"[]", [""], id="not an object"),
        pytest.param({}, ["/name", "/policies"], id="without its parts"),
        pytest.param(BODY | {"name": "", "expires_on": "soon"}, ["/name", "/expires_on"], id="several faults"),
        pytest.param(BODY | {"expires": "x"}, ["/expires"], id="an unknown field"),
        pytest.param(BODY | {"status": "expired"}, ["/status"], id="expired at birth"),
        pytest.param(BODY | {"expires_on": "2027-01-15T08:00:00Z"}, ["/expires_on"], id="dead at birth"),
    ],
)
async def test_a_body_with_faults_is_told_all_of_them_and_nothing_is_written(
    store: MemoryTokenStore, ask: Ask, body: object, pointers: list[str]
) -> None:
    deny = refused(await ask("POST", "/user/tokens", body))
    assert deny.reason is Reason.INVALID_BODY
    found = [fault.pointer for fault in deny.faults]
    assert [pointer for pointer in pointers if pointer not in found] == []
    assert store.actions == []


LARGE = BODY | {
    "policies": [
        {
            "effect": "allow",
            "permission_groups": [{"id": group_id("Billing Read", Scope.ACCOUNT)}],
            "resources": {account(f"{number:032x}"): "*" for number in range(1000)},
        }
    ]
    * 2
}


@pytest.mark.parametrize(
    ("method", "path"), [pytest.param("POST", "", id="create"), pytest.param("PUT", f"/{MINE.id}", id="update")]
)
async def test_a_token_over_64_kib_as_stored_is_a_fault_and_nothing_is_written(
    store: MemoryTokenStore, ask: Ask, method: str, path: str
) -> None:
    deny = refused(await ask(method, f"/user/tokens{path}", LARGE))
    assert deny.reason is Reason.INVALID_BODY
    assert [(fault.pointer, fault.message) for fault in deny.faults] == [("", "the token is over 64 KiB as stored")]
    assert store.actions == []


# Get.


async def test_a_token_is_shown_to_its_owner(ask: Ask) -> None:
    outcome = await ask("GET", f"/user/tokens/{MINE.id}")
    assert result(outcome)["name"] == "mine"
    assert isinstance(outcome, Answer)
    assert MINE.digests[0].hex.encode() not in outcome.body


# Use.

USED = Use(
    last_used_on=NOW - 60,
    last_address="2001:db8::1",
    requests=(RouteUse("", "no_route", 1), RouteUse("GET /client/v4/zones/{zone_id}/dns_records", "allowed", 7)),
)


async def test_a_list_says_when_each_token_was_last_used_where_that_is_known(store: MemoryTokenStore) -> None:
    ask = asker(api_over(store, uses=FakeUses({MINE.id: USED})))
    caller, mine = result(await ask("GET", "/user/tokens"))
    assert "last_used_on" not in caller
    assert mine["last_used_on"] == "2027-01-15T07:59:00Z"
    assert "usage" not in mine


async def test_a_token_s_use_is_told_in_full_where_it_is_asked_for_alone(store: MemoryTokenStore) -> None:
    shown = result(await asker(api_over(store, uses=FakeUses({MINE.id: USED})))("GET", f"/user/tokens/{MINE.id}"))
    assert shown["last_used_on"] == "2027-01-15T07:59:00Z"
    assert shown["usage"] == {
        "last_address": "2001:db8::1",
        "requests": [
            {"route": "", "result": "no_route", "count": 1},
            {"route": "GET /client/v4/zones/{zone_id}/dns_records", "result": "allowed", "count": 7},
        ],
    }


async def test_a_token_that_was_not_used_yet_shows_nothing_of_it(ask: Ask) -> None:
    shown = result(await ask("GET", f"/user/tokens/{MINE.id}"))
    assert not {"last_used_on", "usage"} & shown.keys()


async def test_use_does_not_change_a_token_s_tag(store: MemoryTokenStore, ask: Ask) -> None:
    used = asker(api_over(store, uses=FakeUses({MINE.id: USED})))
    path = f"/user/tokens/{MINE.id}"
    assert tag(await used("GET", path)) == tag(await ask("GET", path))


async def test_an_update_may_send_back_the_use_that_get_showed(store: MemoryTokenStore) -> None:
    ask = asker(api_over(store, uses=FakeUses({MINE.id: USED})))
    shown = result(await ask("GET", f"/user/tokens/{MINE.id}"))
    assert result(await ask("PUT", f"/user/tokens/{MINE.id}", shown))["name"] == "mine"


# The audit.


async def test_the_audit_is_asked_for_what_the_query_says(store: MemoryTokenStore) -> None:
    trail = FakeTrail()
    envelope = good(await asker(api_over(store, trail=trail))("GET", "/zonegate/audit?per_page=5&direction=asc"))
    assert envelope["result"] == []
    assert trail.asked == [AuditQuery(count=5, descending=False)]


async def test_an_audit_that_cannot_be_read_now_is_a_503(store: MemoryTokenStore) -> None:
    class Away:
        async def read(self, query: AuditQuery) -> AuditPage:  # noqa: ARG002
            raise StoreUnavailable("away")

    outcome = await asker(api_over(store, trail=Away()))("GET", "/zonegate/audit")
    assert refused(outcome).reason is Reason.STORE_UNAVAILABLE


# Whatever is asked of a token that is not there, or not one's own.


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        pytest.param("GET", "", b"", id="get"),
        pytest.param("PUT", "", BODY, id="update"),
        pytest.param("DELETE", "", b"", id="delete"),
        pytest.param("PUT", "/value", {}, id="roll"),
    ],
)
async def test_another_owner_s_token_is_as_little_there_as_one_that_never_was(
    store: MemoryTokenStore, ask: Ask, method: str, path: str, body: object
) -> None:
    for token_id in (NOT_MINE.id, "0" * 32):
        outcome = await ask(method, f"/user/tokens/{token_id}{path}", body)
        assert outcome == Deny(reason=Reason.NOT_FOUND, detail="token")
    assert store.actions == []
    assert (await read(store, NOT_MINE.id)).token == NOT_MINE


async def test_a_tag_does_not_tell_whether_another_owner_has_the_token(ask: Ask) -> None:
    outcome = await ask("DELETE", f"/user/tokens/{NOT_MINE.id}", if_match=[b'"x"'])
    assert outcome == Deny(reason=Reason.NOT_FOUND, detail="token")


# Update.


async def test_an_update_replaces_all_that_a_client_may_say_and_keeps_the_rest(
    store: MemoryTokenStore, ask: Ask
) -> None:
    shown = result(await ask("PUT", f"/user/tokens/{MINE.id}", BODY))
    updated = (await read(store, MINE.id)).token
    assert (updated.name, updated.condition, updated.expires_on) == ("new", type(MINE.condition)(), None)
    assert (updated.digests, updated.issued_on, updated.owner) == (MINE.digests, MINE.issued_on, MINE.owner)
    assert (updated.status, updated.issued_by) == (MINE.status, MINE.issued_by)
    assert updated.modified_on == NOW
    assert "expires_on" not in shown
    assert "condition" not in shown
    assert "value" not in shown


async def test_an_update_may_send_back_what_get_showed(store: MemoryTokenStore, ask: Ask) -> None:
    shown = result(await ask("GET", f"/user/tokens/{MINE.id}"))
    again = result(await ask("PUT", f"/user/tokens/{MINE.id}", shown))
    assert again == shown | {"modified_on": "2027-01-15T08:00:00Z"}
    assert (await read(store, MINE.id)).token.policies == MINE.policies


async def test_limits_are_stored_shown_and_removed_by_an_update_without_them(store: MemoryTokenStore, ask: Ask) -> None:
    limits = {"requests": 1200, "period": 300}
    made = result(await ask("POST", "/user/tokens", BODY | {"limits": limits}))
    assert made["limits"] == limits
    assert (await read(store, made["id"])).token.limits == Rate(1200, 300)
    assert "limits" not in result(await ask("PUT", f"/user/tokens/{made['id']}", BODY))
    assert (await read(store, made["id"])).token.limits is None


async def test_an_update_without_a_status_leaves_a_disabled_token_disabled(store: MemoryTokenStore, ask: Ask) -> None:
    await ask("PUT", f"/user/tokens/{MINE.id}", BODY | {"status": "disabled"})
    assert result(await ask("PUT", f"/user/tokens/{MINE.id}", BODY))["status"] == "disabled"
    assert (await read(store, MINE.id)).token.issued_by == MINE.issued_by


async def test_who_enables_a_token_answers_for_it(store: MemoryTokenStore, ask: Ask) -> None:
    await ask("PUT", f"/user/tokens/{MINE.id}", BODY | {"status": "disabled"})
    await ask("PUT", f"/user/tokens/{MINE.id}", BODY | {"status": "active"})
    enabled = (await read(store, MINE.id)).token
    assert (enabled.status, enabled.issued_by) == (Status.ACTIVE, CALLER.id)


async def test_an_update_with_faults_writes_nothing(store: MemoryTokenStore, ask: Ask) -> None:
    deny = refused(await ask("PUT", f"/user/tokens/{MINE.id}", {"name": "new"}))
    assert (deny.reason, [fault.pointer for fault in deny.faults]) == (Reason.INVALID_BODY, ["/policies"])
    assert store.actions == []


# If-Match.


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        pytest.param("PUT", "", BODY, id="update"),
        pytest.param("PUT", "/value", {}, id="roll"),
        pytest.param("DELETE", "", b"", id="delete"),
    ],
)
async def test_a_change_of_what_was_changed_meanwhile_is_a_412_and_nothing_is_written(
    store: MemoryTokenStore, ask: Ask, method: str, path: str, body: object
) -> None:
    seen = tag(await ask("GET", f"/user/tokens/{MINE.id}")).encode()
    await ask("PUT", f"/user/tokens/{MINE.id}", BODY | {"name": "meanwhile"})
    outcome = await ask(method, f"/user/tokens/{MINE.id}{path}", body, [seen])
    assert outcome == Deny(reason=Reason.PRECONDITION_FAILED)
    assert (await read(store, MINE.id)).token.name == "meanwhile"
    current = tag(await ask("GET", f"/user/tokens/{MINE.id}")).encode()
    good(await ask(method, f"/user/tokens/{MINE.id}{path}", body, [current]))


async def test_an_update_answers_the_tag_of_what_it_made(ask: Ask) -> None:
    first = await ask("PUT", f"/user/tokens/{MINE.id}", BODY)
    rolled = await ask("PUT", f"/user/tokens/{MINE.id}/value", {}, [tag(first).encode()])
    assert tag(rolled) == tag(await ask("GET", f"/user/tokens/{MINE.id}"))
    assert tag(rolled) != tag(first)


# Several at once.

DRAFTS = [
    BODY | {"name": f"draft {number}", "condition": {"request_ip": {"in": [f"192.0.2.{number}"]}}}
    for number in range(4)
]


async def test_after_concurrent_updates_the_token_is_one_of_them_wholly(store: MemoryTokenStore, ask: Ask) -> None:
    outcomes = await asyncio.gather(*(ask("PUT", f"/user/tokens/{MINE.id}", draft) for draft in DRAFTS))
    assert [result(outcome)["name"] for outcome in outcomes] == [draft["name"] for draft in DRAFTS]
    found = result(await ask("GET", f"/user/tokens/{MINE.id}"))
    assert (found["name"], found["condition"]) in [(draft["name"], draft["condition"]) for draft in DRAFTS]
    assert [action for action, _ in store.actions] == [Action.UPDATE] * len(DRAFTS)


async def test_of_concurrent_updates_with_the_same_tag_one_wins_and_the_others_hear_412(ask: Ask) -> None:
    seen = tag(await ask("GET", f"/user/tokens/{MINE.id}")).encode()
    outcomes = await asyncio.gather(*(ask("PUT", f"/user/tokens/{MINE.id}", draft, [seen]) for draft in DRAFTS))
    (winner,) = [result(outcome) for outcome in outcomes if isinstance(outcome, Answer)]
    assert [outcome.reason for outcome in outcomes if isinstance(outcome, Deny)] == [Reason.PRECONDITION_FAILED] * 3
    assert result(await ask("GET", f"/user/tokens/{MINE.id}")) == winner


async def test_an_update_beside_a_roll_loses_neither(store: MemoryTokenStore, ask: Ask) -> None:
    updated, rolled = await asyncio.gather(
        ask("PUT", f"/user/tokens/{MINE.id}", BODY), ask("PUT", f"/user/tokens/{MINE.id}/value", {})
    )
    good(updated)
    assert (await read(store, MINE.id)).token.name == "new"
    assert await works(store, result(rolled))


async def test_of_two_deletions_one_finds_nothing(ask: Ask) -> None:
    outcomes = await asyncio.gather(*(ask("DELETE", f"/user/tokens/{MINE.id}") for _ in range(2)))
    assert sorted(type(outcome).__name__ for outcome in outcomes) == ["Answer", "Deny"]
    assert Deny(reason=Reason.NOT_FOUND, detail="token") in outcomes


class Contended(MemoryTokenStore):
    """Somebody else is always faster."""

    async def replace(self, old: Record, new: Token, action: Action, by: Actor, now: float) -> bytes:  # noqa: ARG002
        raise Conflict

    async def delete(self, old: Record, action: Action, by: Actor, now: float) -> None:  # noqa: ARG002
        raise Conflict


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        pytest.param("PUT", "", BODY, id="update"),
        pytest.param("PUT", "/value", {}, id="roll"),
        pytest.param("DELETE", "", b"", id="delete"),
    ],
)
async def test_a_change_that_always_comes_too_late_gives_up(method: str, path: str, body: object) -> None:
    ask = asker(api_over(Contended().hold(CALLER, MINE)))
    outcome = await ask(method, f"/user/tokens/{MINE.id}{path}", body)
    assert outcome == Deny(reason=Reason.PRECONDITION_FAILED)


@pytest.mark.parametrize(
    ("method", "what"),
    [
        pytest.param("DELETE", f"/user/tokens/{MINE.id}", id="delete"),
        pytest.param("DELETE", f"/user/tokens/{MINE.id}?cascade=true", id="delete with what it made"),
        pytest.param("POST", "/user/tokens/revoke-self", id="revoke itself"),
    ],
)
async def test_to_end_a_token_waits_for_no_change_of_it(store: MemoryTokenStore, method: str, what: str) -> None:
    looked, go_on = asyncio.Event(), asyncio.Event()

    class Slow(MemoryAccounts):
        async def find(self, api: Api, zone: str) -> str | Unknown:
            looked.set()
            await go_on.wait()
            return await super().find(api, zone)

    by_account = msgspec.structs.replace(
        CALLER, policies=(*EVERYTHING[1:], policy(["DNS Write", "DNS Read"], {account(ACCOUNT_A): {zone("*"): "*"}}))
    )
    api = api_over(store.hold(by_account), accounts=Slow({ZONE_A: ACCOUNT_A}))
    change = asyncio.ensure_future(asker(api, by_account)("PUT", f"/user/tokens/{MINE.id}", BODY))
    await looked.wait()
    good(await asker(api, MINE if method == "POST" else CALLER)(method, what))
    go_on.set()
    assert refused(await change).reason is Reason.NOT_FOUND
    assert await store.get(MINE.id) is None


@pytest.mark.parametrize("account_id", ["zone", "A" * 32])
async def test_what_no_policy_could_name_is_no_account_and_gets_no_token(
    store: MemoryTokenStore, ask: Ask, account_id: str
) -> None:
    assert refused(await ask("POST", f"/accounts/{account_id}/tokens", BODY)).reason is Reason.NOT_FOUND
    assert store.actions == []


class EndedMeanwhile(MemoryTokenStore):
    """The caller is ended after he was looked at, and before what he gives is written."""

    def end_caller(self) -> None:
        self.hold(msgspec.structs.replace(CALLER, status=Status.DISABLED))

    async def create(self, token: Token, by: Actor, now: float) -> bytes:
        self.end_caller()
        return await super().create(token, by, now)

    async def replace(self, old: Record, new: Token, action: Action, by: Actor, now: float) -> bytes:
        self.end_caller()
        return await super().replace(old, new, action, by, now)


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        pytest.param("POST", "", BODY, id="create"),
        pytest.param("PUT", f"/{MINE.id}", BODY, id="update"),
        pytest.param("PUT", f"/{MINE.id}", BODY | {"status": "active"}, id="enable"),
        pytest.param("PUT", f"/{MINE.id}/value", {}, id="roll"),
        pytest.param("PUT", f"/{MINE.id}/value", {"overlap": 60}, id="roll with an overlap"),
    ],
)
async def test_what_is_written_after_the_end_of_its_maker_is_taken_back(method: str, path: str, body: object) -> None:
    disabled = msgspec.structs.replace(MINE, status=Status.DISABLED)
    store = EndedMeanwhile().hold(CALLER, disabled)
    outcome = await asker(api_over(store))(method, f"/user/tokens{path}", body)
    assert outcome == Deny(reason=Reason.TOKEN_DISABLED)
    assert (await read(store, MINE.id)).token == disabled
    left = await store.page(CALLER.owner, start=0, count=9, descending=False, include_expired=True, now=NOW)
    assert {each.id for each in left.tokens} == {CALLER.id, MINE.id}


async def test_to_switch_a_token_off_stands_whatever_becomes_of_who_did_it() -> None:
    store = EndedMeanwhile().hold(CALLER, MINE)
    shown = result(await asker(api_over(store))("GET", f"/user/tokens/{MINE.id}"))
    good(await asker(api_over(store))("PUT", f"/user/tokens/{MINE.id}", shown | {"status": "disabled"}))
    assert (await read(store, MINE.id)).token.status is Status.DISABLED


# Delete, roll, verify, revoke-self.


async def test_a_secret_that_was_rolled_meanwhile_rolls_nothing(store: MemoryTokenStore) -> None:
    ask = asker(api_over(store))  # who was let in before the roll, and goes on after it
    new = result(await ask("PUT", f"/user/tokens/{CALLER.id}/value", {}))
    assert refused(await ask("PUT", f"/user/tokens/{CALLER.id}/value", {})).reason is Reason.UNKNOWN_TOKEN
    assert await works(store, new)


async def test_a_deleted_token_is_gone(store: MemoryTokenStore, ask: Ask) -> None:
    assert result(await ask("DELETE", f"/user/tokens/{MINE.id}")) == {"id": MINE.id}
    assert await store.get(MINE.id) is None
    assert refused(await ask("DELETE", f"/user/tokens/{MINE.id}")).reason is Reason.NOT_FOUND


@pytest.mark.parametrize("body", [pytest.param({}, id="an empty object"), pytest.param(b"", id="nothing")])
async def test_a_roll_answers_a_new_secret_and_the_old_one_is_dead(
    store: MemoryTokenStore, ask: Ask, body: object
) -> None:
    old = result(await ask("POST", "/user/tokens", BODY))
    new = result(await ask("PUT", f"/user/tokens/{old['id']}/value", body))
    assert isinstance(new, str)
    assert new.startswith(f"zgt_{old['id']}_")
    assert (await works(store, old["value"]), await works(store, new)) == (False, True)
    shown = result(await ask("GET", f"/user/tokens/{old['id']}"))
    assert "value" not in shown
    assert shown == {name: old[name] for name in old if name != "value"}


async def test_who_rolls_a_token_answers_for_it(store: MemoryTokenStore, ask: Ask) -> None:
    await ask("PUT", f"/user/tokens/{MINE.id}/value", {})
    rolled = (await read(store, MINE.id)).token
    assert (rolled.issued_by, rolled.modified_on, rolled.issued_on) == (CALLER.id, NOW, MINE.issued_on)


@pytest.mark.parametrize(
    "body", [pytest.param(b"[]", id="not an object"), pytest.param({"overlap": 0}, id="an overlap of no time")]
)
async def test_a_roll_with_faults_leaves_the_secret_alive(store: MemoryTokenStore, ask: Ask, body: object) -> None:
    assert refused(await ask("PUT", f"/user/tokens/{MINE.id}/value", body)).reason is Reason.INVALID_BODY
    assert (await read(store, MINE.id)).token == MINE


async def test_verify_shows_the_caller_s_own_token_and_says_that_it_works(store: MemoryTokenStore) -> None:
    caller = token(EVERYTHING, not_before=NOW - 60, expires_on=NOW + 60)
    envelope = good(await asker(api_over(store), caller)("GET", "/user/tokens/verify"))
    assert envelope["result"] == {
        "id": caller.id,
        "status": "active",
        "not_before": "2027-01-15T07:59:00Z",
        "expires_on": "2027-01-15T08:01:00Z",
    }
    assert envelope["messages"] == [{"code": 10000, "message": "This API Token is valid and active", "type": None}]


async def test_verify_of_a_token_without_dates_shows_none(ask: Ask) -> None:
    assert result(await ask("GET", "/user/tokens/verify")) == {"id": CALLER.id, "status": "active"}


async def test_a_token_may_always_end_itself_and_only_itself(store: MemoryTokenStore) -> None:
    ask = asker(api_over(store), MINE)
    assert result(await ask("POST", "/user/tokens/revoke-self")) == {"id": MINE.id}
    assert await store.get(MINE.id) is None
    assert (await read(store, CALLER.id)).token == CALLER
    assert [action for action, _ in store.actions] == [Action.REVOKE_SELF]


@pytest.mark.parametrize(
    ("what", "action"),
    [
        pytest.param(("POST", "/user/tokens", BODY), Action.CREATE, id="create"),
        pytest.param(("PUT", f"/user/tokens/{MINE.id}", BODY), Action.UPDATE, id="update"),
        pytest.param(("PUT", f"/user/tokens/{MINE.id}/value", {}), Action.ROLL, id="roll"),
        pytest.param(("DELETE", f"/user/tokens/{MINE.id}", b""), Action.DELETE, id="delete"),
        pytest.param(("POST", "/user/tokens/revoke-self", b""), Action.REVOKE_SELF, id="revoke-self"),
    ],
)
async def test_a_change_says_in_the_audit_who_asked_for_it_and_from_where(
    store: MemoryTokenStore, ask: Ask, what: What, action: Action
) -> None:
    good(await ask(*what))
    by = Actor(token_id=CALLER.id, owner=f"user:{USER}", address="192.0.2.7", request_id="request-0001")
    assert store.actions == [(action, by)]


# Permission groups.


async def test_all_permission_groups_are_listed_with_id_name_and_scopes(ask: Ask) -> None:
    listed = result(await ask("GET", "/user/tokens/permission_groups"))
    assert len(listed) == len(list(GROUPS))
    assert {"id": group_id("DNS Write"), "name": "DNS Write", "scopes": [str(Scope.ZONE)]} in listed


@pytest.mark.parametrize(
    ("query", "found"),
    [
        pytest.param("name=DNS+Write", {("DNS Write", Scope.ZONE)}, id="a name"),
        pytest.param("name=DNS%20Write", {("DNS Write", Scope.ZONE)}, id="a name, percent-encoded"),
        pytest.param("name=DNS%2520Write", {("DNS Write", Scope.ZONE)}, id="a name, encoded twice, as the SDK does"),
        pytest.param("name=Logs+Read", {("Logs Read", Scope.ZONE), ("Logs Read", Scope.ACCOUNT)}, id="in two scopes"),
        pytest.param(f"name=Logs+Read&scope={quote(Scope.ACCOUNT)}", {("Logs Read", Scope.ACCOUNT)}, id="and a scope"),
        pytest.param("name=dns+write", set(), id="in another case"),
        pytest.param("name=", set(), id="an empty name"),
        pytest.param("scope=com.cloudflare.api", set(), id="a scope that is none"),
    ],
)
async def test_permission_groups_are_found_by_name_and_scope(
    ask: Ask, query: str, found: set[tuple[str, Scope]]
) -> None:
    listed = result(await ask("GET", f"/user/tokens/permission_groups?{query}"))
    assert {(group["name"], scope) for group in listed for scope in group["scopes"]} == found


async def test_permission_groups_of_a_scope_are_all_of_it(ask: Ask) -> None:
    listed = result(await ask("GET", f"/user/tokens/permission_groups?scope={Scope.USER}"))
    assert {group["id"] for group in listed} == {group.id for group in GROUPS if Scope.USER in group.scopes}


async def test_permission_groups_asked_for_by_two_names_are_refused(ask: Ask) -> None:
    outcome = await ask("GET", "/user/tokens/permission_groups?name=a&name=b")
    assert refused(outcome).reason is Reason.BAD_REQUEST


# The store is away.


@pytest.mark.parametrize(
    "what",
    [
        pytest.param(("GET", "/user/tokens", b""), id="list"),
        pytest.param(("POST", "/user/tokens", BODY), id="create"),
        pytest.param(("GET", f"/user/tokens/{MINE.id}", b""), id="get"),
        pytest.param(("PUT", f"/user/tokens/{MINE.id}", BODY), id="update"),
        pytest.param(("DELETE", f"/user/tokens/{MINE.id}", b""), id="delete"),
        pytest.param(("PUT", f"/user/tokens/{MINE.id}/value", {}), id="roll"),
        pytest.param(("POST", "/user/tokens/revoke-self", b""), id="revoke-self"),
    ],
)
@pytest.mark.parametrize("unknown", [pytest.param(True, id="outcome unknown"), pytest.param(False, id="not done")])
async def test_a_store_that_is_away_is_said_and_whether_the_change_may_have_happened(
    store: MemoryTokenStore,
    ask: Ask,
    what: What,
    unknown: bool,  # noqa: FBT001 - a case's data
) -> None:
    store.failure = StoreUnavailable("redis://user:password@store", outcome_unknown=unknown)
    assert await ask(*what) == Deny(reason=Reason.STORE_UNAVAILABLE, outcome_unknown=unknown)


async def test_verify_and_permission_groups_need_no_store(store: MemoryTokenStore, ask: Ask) -> None:
    store.failure = StoreUnavailable("away")
    assert result(await ask("GET", "/user/tokens/verify"))["id"] == CALLER.id
    assert result(await ask("GET", "/user/tokens/permission_groups")) != []


async def test_an_account_s_id_is_no_token_of_the_user_s(store: MemoryTokenStore, ask: Ask) -> None:
    assert refused(await ask("GET", f"/user/tokens/{ACCOUNT_A}")).reason is Reason.NOT_FOUND
    assert store.actions == []


# A roll with an overlap.


def in_overlap(caller: Token, ends: int = NOW + 60) -> Token:
    """`caller`, whose secret was rolled and goes on until `ends`."""
    (digest,) = caller.digests
    return msgspec.structs.replace(caller, digests=(msgspec.structs.replace(digest, ends=ends),))


async def test_a_roll_with_an_overlap_leaves_the_old_secret_alive_so_long(store: MemoryTokenStore, ask: Ask) -> None:
    old = result(await ask("POST", "/user/tokens", BODY))
    new = result(await ask("PUT", f"/user/tokens/{old['id']}/value", {"overlap": 60}))
    assert (await works(store, old["value"]), await works(store, new)) == (True, True)
    assert [each.ends for each in (await read(store, old["id"])).token.digests] == [None, NOW + 60]


async def test_a_second_roll_ends_the_first_overlap(store: MemoryTokenStore, ask: Ask) -> None:
    first = result(await ask("POST", "/user/tokens", BODY))
    second = result(await ask("PUT", f"/user/tokens/{first['id']}/value", {"overlap": 60}))
    third = result(await ask("PUT", f"/user/tokens/{first['id']}/value", {"overlap": 60}))
    assert [await works(store, each) for each in (first["value"], second, third)] == [False, True, True]
    await ask("PUT", f"/user/tokens/{first['id']}/value", {})
    assert not await works(store, third)


async def test_verify_with_a_rolled_secret_says_when_it_ends(store: MemoryTokenStore) -> None:
    caller = in_overlap(msgspec.structs.replace(CALLER, expires_on=NOW + 3600))
    envelope = good(await asker(api_over(store), caller)("GET", "/user/tokens/verify"))
    assert envelope["result"] == {"id": CALLER.id, "status": "active", "expires_on": "2027-01-15T08:01:00Z"}
    assert [each["code"] for each in envelope["messages"]] == [10000, 10001]


CHANGES: list[Any] = [
    pytest.param(("POST", "/user/tokens", BODY), id="create"),
    pytest.param(("PUT", f"/user/tokens/{MINE.id}", BODY), id="update"),
    pytest.param(("PUT", f"/user/tokens/{MINE.id}", BODY | {"status": "active"}), id="enable"),
    pytest.param(("PUT", f"/user/tokens/{MINE.id}/value", {}), id="roll"),
    pytest.param(("PUT", f"/user/tokens/{CALLER.id}/value", {}), id="roll itself"),
    pytest.param(("POST", "/zonegate/owners", {}), id="create an owner"),
    pytest.param(("PUT", f"/zonegate/owners/{USER}", {}), id="edit an owner"),
    pytest.param(("PUT", f"/zonegate/zones/cloudflare-dns/{ZONE_A}", {}), id="put a zone down"),
    pytest.param(("DELETE", f"/zonegate/zones/cloudflare-dns/{ZONE_A}", b""), id="put nothing down"),
]


@pytest.mark.parametrize("what", CHANGES)
async def test_a_rolled_secret_changes_nothing(store: MemoryTokenStore, what: What) -> None:
    deny = refused(await asker(api_over(store), in_overlap(CALLER))(*what))
    assert deny.reason is Reason.FORBIDDEN
    assert "in its overlap" in deny.note
    assert store.actions == []


async def test_a_rolled_secret_may_look_and_end_tokens(store: MemoryTokenStore) -> None:
    ask = asker(api_over(store), in_overlap(CALLER))
    assert result(await ask("GET", f"/user/tokens/{MINE.id}"))["id"] == MINE.id
    assert result(await ask("DELETE", f"/user/tokens/{MINE.id}")) == {"id": MINE.id}


async def test_a_rolled_secret_that_ends_itself_ends_its_overlap_and_not_the_token(store: MemoryTokenStore) -> None:
    rolled = in_overlap(MINE)
    fresh = NO_PEPPERS.sign(secret_of(MINE.id, fill=9))
    store.hold(msgspec.structs.replace(rolled, digests=(fresh, *rolled.digests)))
    ask = asker(api_over(store), rolled)
    envelope = good(await ask("POST", "/user/tokens/revoke-self"))
    assert envelope["result"] == {"id": MINE.id}
    assert (await read(store, MINE.id)).token.digests == (fresh,)
    assert [action for action, _ in store.actions] == [Action.REVOKE_SELF]
    assert refused(await ask("POST", "/user/tokens/revoke-self")).reason is Reason.UNKNOWN_TOKEN


# Tokens that an account owns.

ACCOUNT_TOKENS = f"/accounts/{ACCOUNT_A}/tokens"
THEIRS = token(token_id=numbered(7), name="the account's", owner=AN_ACCOUNT, issued_on=NOW - 800)
BY_ACCOUNT = token(
    [policy(["Account API Tokens Write", "Billing Read"], [account(ACCOUNT_A)], scope=Scope.ACCOUNT)],
    token_id=numbered(8),
    name="the account's own",
    owner=AN_ACCOUNT,
    issued_on=NOW - 700,
)
BILLING = {
    "effect": "allow",
    "permission_groups": [{"id": group_id("Billing Read", Scope.ACCOUNT)}],
    "resources": {account(ACCOUNT_A): "*"},
}


async def test_a_token_made_under_an_account_is_the_account_s(store: MemoryTokenStore, ask: Ask) -> None:
    made = result(await ask("POST", ACCOUNT_TOKENS, {"name": "new", "policies": [BILLING]}))
    assert made["value"].startswith(f"zga_{made['id']}_")
    assert (made["owner"], made["issued_by"]) == ({"kind": "account", "id": ACCOUNT_A}, CALLER.id)
    assert await works(store, made["value"])
    listed = result(await ask("GET", ACCOUNT_TOKENS))
    assert [each["id"] for each in listed] == [made["id"]]


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        pytest.param("GET", "", b"", id="get"),
        pytest.param("PUT", "", BODY, id="update"),
        pytest.param("DELETE", "", b"", id="delete"),
        pytest.param("DELETE", "?cascade=true", b"", id="delete with what it made"),
        pytest.param("PUT", "/value", {}, id="roll"),
    ],
)
async def test_a_user_s_token_is_not_there_under_an_account_nor_the_reverse(
    store: MemoryTokenStore, ask: Ask, method: str, path: str, body: object
) -> None:
    store.hold(THEIRS)
    other = f"/accounts/{ACCOUNT_B}/tokens"
    for place in (f"{ACCOUNT_TOKENS}/{MINE.id}", f"/user/tokens/{THEIRS.id}", f"{other}/{THEIRS.id}"):
        assert await ask(method, place + path, body) == Deny(reason=Reason.NOT_FOUND, detail="token")
    assert store.actions == []
    assert [each["name"] for each in result(await ask("GET", "/user/tokens"))] == ["the caller", "mine"]
    assert result(await ask("GET", other)) == []


async def test_an_account_s_token_lives_its_whole_life(store: MemoryTokenStore) -> None:
    store.hold(BY_ACCOUNT, THEIRS)
    ask = asker(api_over(store), BY_ACCOUNT)
    made = result(await ask("POST", ACCOUNT_TOKENS, {"name": "new", "policies": [BILLING]}))
    path = f"{ACCOUNT_TOKENS}/{made['id']}"
    assert result(await ask("GET", path))["name"] == "new"
    assert result(await ask("PUT", path, {"name": "newer", "policies": [BILLING]}))["name"] == "newer"
    assert result(await ask("PUT", f"{path}/value", {})).startswith("zga_")
    assert result(await ask("DELETE", path)) == {"id": made["id"]}
    assert result(await ask("GET", f"{ACCOUNT_TOKENS}/permission_groups")) != []


async def test_a_token_is_verified_where_its_owner_s_tokens_are(store: MemoryTokenStore) -> None:
    unknown = Deny(reason=Reason.UNKNOWN_TOKEN)
    own, users = asker(api_over(store), BY_ACCOUNT), asker(api_over(store), MINE)
    assert result(await own("GET", f"{ACCOUNT_TOKENS}/verify"))["id"] == BY_ACCOUNT.id
    assert await own("GET", f"/accounts/{ACCOUNT_B}/tokens/verify") == unknown
    assert await own("GET", "/user/tokens/verify") == unknown
    assert await users("GET", f"{ACCOUNT_TOKENS}/verify") == unknown
    assert await users("POST", f"{ACCOUNT_TOKENS}/revoke-self") == unknown


@pytest.mark.parametrize("path", ["/user/tokens/revoke-self", f"{ACCOUNT_TOKENS}/revoke-self"])
async def test_an_account_s_token_may_end_itself(store: MemoryTokenStore, path: str) -> None:
    store.hold(BY_ACCOUNT)
    assert result(await asker(api_over(store), BY_ACCOUNT)("POST", path)) == {"id": BY_ACCOUNT.id}
    assert await store.get(BY_ACCOUNT.id) is None


# Nobody gives what he hasn't got.

NARROW = token(
    [policy(["API Tokens Write"], [user(USER)], scope=Scope.USER), policy(["DNS Read"], [zone(ZONE_A)])],
    token_id=numbered(9),
    name="narrow",
)


@pytest.fixture
def narrow(store: MemoryTokenStore) -> Ask:
    return asker(api_over(store.hold(NARROW)), NARROW)


WIDER = msgspec.structs.replace(MINE, id=numbered(10), status=Status.DISABLED)


@pytest.mark.parametrize(
    "what",
    [
        pytest.param(("POST", "/user/tokens", BODY), id="create"),
        pytest.param(("PUT", f"/user/tokens/{NARROW.id}", BODY), id="update itself"),
        pytest.param(("PUT", f"/user/tokens/{MINE.id}", BODY), id="update"),
        pytest.param(("PUT", f"/user/tokens/{WIDER.id}", BODY | {"status": "active"}), id="enable"),
        pytest.param(("PUT", f"/user/tokens/{WIDER.id}", BODY), id="update what is disabled"),
        pytest.param(("PUT", f"/user/tokens/{MINE.id}/value", {}), id="roll"),
    ],
)
async def test_what_exceeds_the_caller_is_refused_and_each_excess_named(
    store: MemoryTokenStore, narrow: Ask, what: What
) -> None:
    store.hold(WIDER)
    deny = refused(await narrow(*what))
    assert (deny.reason, store.actions) == (Reason.EXCEEDS_CALLER, [])
    assert [(fault.pointer, fault.message) for fault in deny.faults] == [
        ("/policies/0", f"your token does not give DNS Edit on zone {ZONE_A}")
    ]


async def test_what_does_not_exceed_the_caller_he_may_give(narrow: Ask) -> None:
    reads = POLICY | {"permission_groups": [{"id": group_id("DNS Read")}]}
    assert result(await narrow("POST", "/user/tokens", {"name": "reads", "policies": [reads]}))["name"] == "reads"


async def test_to_disable_and_to_delete_takes_no_more_than_the_permission(store: MemoryTokenStore, narrow: Ask) -> None:
    shown = result(await narrow("GET", f"/user/tokens/{MINE.id}"))
    off = result(await narrow("PUT", f"/user/tokens/{MINE.id}", shown | {"status": "disabled"}))
    assert off["status"] == "disabled"
    assert result(await narrow("DELETE", f"/user/tokens/{MINE.id}")) == {"id": MINE.id}
    assert [action for action, _ in store.actions] == [Action.UPDATE, Action.DELETE]


async def test_a_token_may_roll_itself_whatever_its_owner_may_by_now_and_stays_its_maker_s() -> None:
    made = msgspec.structs.replace(NARROW, issued_by=CALLER.id)
    store = MemoryTokenStore().hold(made, of=owner([]))
    assert isinstance(result(await asker(api_over(store), made)("PUT", f"/user/tokens/{made.id}/value", {})), str)
    assert (await read(store, made.id)).token.issued_by == CALLER.id


async def test_a_caller_who_is_gone_meanwhile_gives_nothing(store: MemoryTokenStore) -> None:
    outcome = await asker(api_over(store), NARROW)("POST", "/user/tokens", BODY)
    assert outcome == Deny(reason=Reason.UNKNOWN_TOKEN)


# A cascade.


def made_by(maker: str, number: int, of: OwnerRef = CALLER.owner) -> Token:
    return msgspec.structs.replace(token(token_id=numbered(number), owner=of), issued_by=maker)


async def test_a_cascade_ends_what_a_token_has_made_and_what_that_has_made(store: MemoryTokenStore, ask: Ask) -> None:
    child, account_s, other = made_by(MINE.id, 21), made_by(MINE.id, 22, AN_ACCOUNT), made_by(CALLER.id, 25)
    # A grandchild before its maker in the order of the store, and one that once had rolled the token itself.
    grandchild, twice = made_by(child.id, 20), made_by(numbered(20), 24)
    store.hold(grandchild, child, account_s, other, twice, msgspec.structs.replace(MINE, issued_by=twice.id))
    answer = result(await ask("DELETE", f"/user/tokens/{MINE.id}?cascade=true"))
    gone = {each.id for each in (child, account_s, grandchild, twice)}
    assert (answer["id"], set(answer["revoked"])) == (MINE.id, gone)
    assert [await store.get(each) for each in (MINE.id, *sorted(gone))] == [None] * 5
    assert (await read(store, other.id)).token == other
    assert [action for action, _ in store.actions] == [Action.UPDATE, *[Action.DELETE] * 5]


async def test_a_cascade_that_broke_off_has_switched_the_token_off_and_can_be_done_again() -> None:
    class BreaksOff(MemoryTokenStore):
        async def delete(self, old: Record, action: Action, by: Actor, now: float) -> None:
            if self.breaks:
                raise StoreUnavailable("away", outcome_unknown=True)
            await super().delete(old, action, by, now)

        breaks = True

    broken = BreaksOff().hold(CALLER, MINE, made_by(MINE.id, 21))
    ask = asker(api_over(broken))
    path = f"/user/tokens/{MINE.id}?cascade=true"
    assert refused(await ask("DELETE", path)).reason is Reason.STORE_UNAVAILABLE
    assert (await read(broken, MINE.id)).token.status is Status.DISABLED
    broken.breaks = False
    assert result(await ask("DELETE", path))["revoked"] == [numbered(21)]


async def test_without_a_cascade_what_a_token_has_made_stays(store: MemoryTokenStore, ask: Ask) -> None:
    child = made_by(MINE.id, 21)
    store.hold(child)
    assert result(await ask("DELETE", f"/user/tokens/{MINE.id}?cascade=false")) == {"id": MINE.id}
    assert (await read(store, child.id)).token == child
    assert refused(await ask("DELETE", f"/user/tokens/{child.id}?cascade=yes")).reason is Reason.BAD_REQUEST


# What is about all owners.


@pytest.mark.parametrize(
    "what",
    [
        pytest.param(("GET", "/zonegate/audit", b""), id="the audit"),
        pytest.param(("GET", "/zonegate/owners", b""), id="owners"),
        pytest.param(("POST", "/zonegate/owners", {"name": "x"}), id="a new owner"),
        pytest.param(("DELETE", f"/zonegate/owners/{USER}", b""), id="an owner"),
        pytest.param(("PUT", f"/zonegate/zones/cloudflare-dns/{ZONE_A}", {"account": ACCOUNT_A}), id="a zone"),
    ],
)
async def test_only_the_first_owner_s_tokens_have_to_do_with_other_owners(what: What) -> None:
    everything = [
        policy(["All Permissions"], [zone("*")]),
        policy(["All Permissions"], [user(SOMEBODY.id)], scope=Scope.USER),
    ]
    theirs = token(everything, token_id=numbered(2), owner=SOMEBODY)
    store = MemoryTokenStore().hold(CALLER).hold(theirs, of=owner(everything, ref=SOMEBODY))
    deny = refused(await asker(api_over(store), theirs, owner(everything, ref=SOMEBODY))(*what))
    assert deny.reason is Reason.FORBIDDEN
    assert "on the first owner's user" in deny.note
    assert store.actions == []

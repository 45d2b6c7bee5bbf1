import asyncio
import json
from typing import Any

import msgspec
import pytest
from cloudflare.types.shared import AuditLog
from hypothesis import given
from hypothesis import strategies as st
from support.records import GROUPS, NOW, TOKEN_ID, USER, ZONE_A, owner, secret_of, token
from support.store_contract import MemoryTokenStore
from unit.telemetry.captured import captured

from gateway.access.ports import Action, Actor, Denied, NotReplicated, StoreUnavailable
from gateway.admin.audit import LONGEST_PATH, DeniedCalls, DeniedStore, show_audit, show_entry
from gateway.catalog.target import Target, split_target
from gateway.reason import REFUSALS, Answer, Deny, Reason
from gateway.server.ports import Refused
from gateway.store.audit import AuditEntry, AuditPage, AuditQuery, decode_entry
from gateway.tokens.owner import Owner
from gateway.tokens.representation import show_token
from gateway.tokens.token import SCHEMA, Status, Token

MOMENT = NOW * 1000 + 123
WHEN = "2027-01-15T08:00:00.123Z"
CALLER = "e" * 32


def stored(document: Token | Owner) -> dict[str, Any]:
    """As an entry holds it: without digests."""
    found: dict[str, Any] = msgspec.to_builtins(document)
    return found | ({"digests": []} if "digests" in found else {})


def entry(action: str = Action.UPDATE, **parts: Any) -> AuditEntry:
    """An entry of a change that a token made, as it is in the store."""
    sensible = {
        "id": f"{MOMENT}-0",
        "at": MOMENT,
        "token": TOKEN_ID,
        "actor_token": CALLER,
        "actor_owner": f"user:{USER}",
        "address": "192.0.2.7",
        "request_id": "request-0001",
    }
    return AuditEntry(**sensible | {"action": str(action)} | parts)


def shown(of: AuditEntry) -> dict[str, Any]:
    """What the API sends of it, read back."""
    found: dict[str, Any] = json.loads(msgspec.json.encode(show_entry(of, GROUPS)))
    return found


BEFORE, AFTER = token(name="old"), token(name="new", status=Status.DISABLED)
CHANGED = entry(before=stored(BEFORE), after=stored(AFTER))


# The shape.


def test_a_change_is_shown_whole() -> None:
    found = shown(CHANGED)
    before, after = (json.loads(json.dumps(show_token(each, GROUPS, NOW))) for each in (BEFORE, AFTER))
    assert [json.loads(found.pop(key)) for key in ("oldValue", "newValue")] == [before, after]
    assert found == {
        "id": f"{MOMENT}-0",
        "when": WHEN,
        "action": {"type": "update", "result": True},
        "actor": {"id": USER, "type": "user", "ip": "192.0.2.7"},
        "interface": "API",
        "metadata": {"request_id": "request-0001", "actor_token": CALLER},
        "oldValueJson": before,
        "newValueJson": after,
        "owner": {"id": USER},
        "resource": {"type": "token", "id": TOKEN_ID},
    }


def test_a_refused_call_is_an_action_without_success_that_says_what_and_why() -> None:
    found = shown(entry(Action.DENIED, method="DELETE", path="/client/v4/user/tokens/x", reason="forbidden"))
    assert found["action"] == {"type": "denied", "result": False}
    assert found["metadata"] == {
        "request_id": "request-0001",
        "actor_token": CALLER,
        "method": "DELETE",
        "path": "/client/v4/user/tokens/x",
        "reason": "forbidden",
    }
    assert (found["oldValue"], found["newValue"], found["owner"]) == ("", "", {"id": USER})


BY_HAND: dict[str, str] = {"actor_token": "", "actor_owner": "", "address": "", "request_id": ""}


@pytest.mark.parametrize(
    ("of", "actor", "interface", "resource"),
    [
        pytest.param(
            entry(Action.INIT, **BY_HAND | {"actor_owner": f"user:{USER}"}),
            {"type": "admin"},
            "CLI",
            {"type": "token", "id": TOKEN_ID},
            id="init",
        ),
        pytest.param(
            entry(Action.ZONE_SET, token="", zone="powerdns:alpha.example."),
            {"id": USER, "type": "user", "ip": "192.0.2.7"},
            "API",
            {"type": "zone", "id": "alpha.example."},
            id="a zone",
        ),
        pytest.param(
            entry(Action.FREEZE, **BY_HAND, token=""), {"type": "admin"}, "CLI", {"type": "gateway"}, id="freeze"
        ),
        pytest.param(entry(Action.EXPIRE, **BY_HAND), {}, "", {"type": "token", "id": TOKEN_ID}, id="by nobody"),
        pytest.param(
            entry(Action.OWNER_UPDATE, token="", owner=f"account:{'a' * 32}"),
            {"id": USER, "type": "user", "ip": "192.0.2.7"},
            "API",
            {"type": "account", "id": "a" * 32},
            id="of an owner",
        ),
        pytest.param(
            entry(Action.DENIED, token=""),
            {"id": USER, "type": "user", "ip": "192.0.2.7"},
            "API",
            {"type": "token_api"},
            id="of no token",
        ),
        pytest.param(
            entry(Action.SIGN_IN),
            {"id": USER, "type": "user", "ip": "192.0.2.7"},
            "UI",
            {"type": "token", "id": TOKEN_ID},
            id="a sign-in",
        ),
    ],
)
def test_who_did_it_and_to_what(
    of: AuditEntry, actor: dict[str, str], interface: str, resource: dict[str, str]
) -> None:
    found = shown(of)
    assert (found["actor"], found["interface"], found["resource"]) == (actor, interface, resource)


def test_an_owner_s_record_is_shown_as_it_is_stored() -> None:
    found = shown(entry(Action.OWNER_CREATE, token="", owner=f"user:{USER}", after=stored(owner())))
    assert found["newValueJson"] == json.loads(json.dumps(stored(owner())))
    assert found["owner"] == {"id": USER}


def test_a_recovery_shows_what_became_of_the_owner_beside_the_token() -> None:
    before, after = stored(owner([])), stored(owner())
    found = shown(entry(Action.RECOVER, **BY_HAND, after=stored(AFTER), owner_before=before, owner_after=after))
    assert found["metadata"] == json.loads(json.dumps({"owner_before": before, "owner_after": after}))
    assert found["newValueJson"]["name"] == AFTER.name
    assert found["resource"] == {"type": "token", "id": TOKEN_ID}


@pytest.mark.parametrize(
    "document",
    [
        pytest.param({"schema": SCHEMA + 1} | stored(AFTER) | {"schema": SCHEMA + 1}, id="of a newer schema"),
        pytest.param(stored(AFTER) | {"issued_on": 10**15}, id="with a date that has no name"),
        pytest.param({"id": TOKEN_ID, "digests": ["x"]}, id="of another shape"),
    ],
)
def test_a_document_that_is_no_token_of_this_version_is_shown_as_it_is_stored_without_digests(
    document: dict[str, Any],
) -> None:
    found = shown(entry(after=document))
    assert found["newValueJson"] == json.loads(json.dumps({k: v for k, v in document.items() if k != "digests"}))


def test_no_digest_is_shown_though_one_were_stored() -> None:
    document = msgspec.to_builtins(token())
    assert token().digests[0].hex not in json.dumps(shown(entry(before=document, after=document)))


def test_what_cannot_be_read_is_said_and_the_rest_shown() -> None:
    found = shown(entry(readable=False))
    assert found["metadata"]["unreadable"] is True
    assert found["resource"]["id"] == TOKEN_ID
    nothing = shown(AuditEntry(id="1-1", at=1, readable=False))
    assert nothing["action"] == {"type": "unreadable", "result": None}


@pytest.mark.parametrize(
    ("at", "when"),
    [
        pytest.param(0, "1970-01-01T00:00:00.000Z", id="the first"),
        pytest.param(1_800_000_000_007, "2027-01-15T08:00:00.007Z", id="milliseconds"),
        pytest.param(2**64 - 1, None, id="a moment that has no date"),
    ],
)
def test_when_it_was(at: int, when: str | None) -> None:
    assert shown(entry(at=at))["when"] == when


@pytest.mark.parametrize(
    "of",
    [
        pytest.param(CHANGED, id="a change"),
        pytest.param(entry(Action.DENIED, reason="forbidden"), id="a refused call"),
        pytest.param(entry(Action.FREEZE, **BY_HAND, token=""), id="by an operator"),
        pytest.param(entry(Action.EXPIRE, **BY_HAND), id="by nobody"),
        pytest.param(AuditEntry(id="1-1", at=2**64 - 1, readable=False), id="unreadable"),
    ],
)
def test_cloudflare_s_own_client_reads_it(of: AuditEntry) -> None:
    found = AuditLog.model_validate(shown(of))
    assert found.id == of.id
    assert found.action is not None
    assert found.action.type == (of.action or "unreadable")
    if of is CHANGED:
        assert found.when is not None
        assert found.when.isoformat() == "2027-01-15T08:00:00.123000+00:00"
        assert json.loads(found.new_value or "")["name"] == "new"


@given(
    st.dictionaries(
        st.sampled_from(
            [b"action", b"token", b"owner", b"actor_token", b"actor_owner", b"before", b"after", b"owner_before"]
        ),
        st.one_of(st.binary(), st.sampled_from([b'{"owner": 1}', b'{"owner": {"id": []}}', b'{"schema": "x"}'])),
    )
)
def test_whatever_is_in_an_entry_it_is_shown_in_the_shape(fields: dict[bytes, bytes]) -> None:
    AuditLog.model_validate(shown(decode_entry("1800000000000-0", fields)))


# Pages.


class FakeTrail:
    """A `Trail` that answers one page."""

    def __init__(self, page: AuditPage) -> None:
        self.asked: list[AuditQuery] = []
        self._page = page

    async def read(self, query: AuditQuery) -> AuditPage:
        self.asked.append(query)
        return self._page


async def info(page: AuditPage, query: bytes = b"") -> Any:
    answer = await show_audit(FakeTrail(page), GROUPS, query)
    assert isinstance(answer, Answer), answer
    return json.loads(answer.body)["result_info"]


async def test_the_last_page_has_no_cursor() -> None:
    assert await info(AuditPage((CHANGED,), None, "9-9")) == {"page": 1, "per_page": 100, "count": 1, "newest": "9-9"}
    assert await info(AuditPage((), None, None)) == {"page": 1, "per_page": 100, "count": 0}


async def test_before_the_last_page_a_cursor_goes_on() -> None:
    assert await info(AuditPage((CHANGED,), "1-1", "9-9"), b"per_page=1&page=3") == {
        "page": 3,
        "per_page": 1,
        "count": 1,
        "cursor": "1-1",
        "cursors": {"after": "1-1"},
        "newest": "9-9",
    }


async def test_a_first_page_may_be_short_of_what_there_is_but_a_later_one_is_refused_then() -> None:
    """Who counts pages takes a short one for the last, and would never see the rest."""
    short = AuditPage((CHANGED,), "1-1", "9-9")
    assert (await info(short))["cursor"] == "1-1"
    deny = await show_audit(FakeTrail(short), GROUPS, b"page=2")
    assert isinstance(deny, Deny)
    assert (deny.reason, deny.detail) == (
        Reason.BAD_REQUEST,
        "query: this page lies too far back; go on with cursor instead",
    )


async def test_a_bad_query_asks_nobody() -> None:
    trail = FakeTrail(AuditPage((), None, None))
    deny = await show_audit(trail, GROUPS, b"per_page=0")
    assert isinstance(deny, Deny)
    assert (deny.reason, trail.asked) == (Reason.BAD_REQUEST, [])


# Refused calls.


def refused(path: str, reason: Reason = Reason.FORBIDDEN) -> Refused:
    target = split_target(path.encode())
    assert isinstance(target, Target), path
    return Refused(
        deny=Deny(reason=reason, path="/hush", note="hush"),
        method="PUT",
        target=target,
        token_id=CALLER,
        owner=f"user:{USER}",
        address="192.0.2.7",
        request_id="request-0001",
    )


PREFIX = (b"client", b"v4")


async def written(
    path: str, reason: Reason = Reason.FORBIDDEN, prefix: tuple[bytes, ...] = PREFIX
) -> tuple[Denied, Actor] | None:
    store = MemoryTokenStore()
    await DeniedCalls(store, prefix).write(refused(path, reason), NOW)
    return store.denials[0] if store.denials else None


def concerned(path: str) -> bool:
    """Whether a refusal of this path has to wait until it is written down."""
    return DeniedCalls(MemoryTokenStore(), PREFIX).concerns(refused(path).target)


async def test_a_refused_call_is_written_down_with_who_and_why() -> None:
    path = f"/client/v4/user/tokens/{TOKEN_ID}/value"
    assert await written(path + "?hush=1") == (
        Denied(method="PUT", path=path, reason="forbidden", token_id=TOKEN_ID),
        Actor(token_id=CALLER, owner=f"user:{USER}", address="192.0.2.7", request_id="request-0001"),
    )


@pytest.mark.parametrize(
    ("path", "token_id"),
    [
        ("/client/v4/user/tokens", ""),
        ("/client/v4/user/tokens/verify", ""),
        ("/dashboard/api/session", ""),
        (f"/client/v4/user/tokens/{TOKEN_ID}", TOKEN_ID),
        ("/client/v4/user/tokens/nothing/of/the/kind", ""),
        (f"/client/v4/accounts/x/tokens/{TOKEN_ID}", TOKEN_ID),
        ("/client/v4/zonegate", ""),
        ("/client/v4/zonegate/audit", ""),
        (f"/client/v4/zonegate/owners/{TOKEN_ID}", ""),
    ],
)
async def test_the_token_api_s_paths_are_written_down_whatever_stands_behind_them(path: str, token_id: str) -> None:
    found = await written(path)
    assert found is not None
    assert (found[0].path, found[0].token_id) == (path, token_id)
    assert concerned(path)


@pytest.mark.parametrize(
    "path",
    [
        "/",
        "/client/v4",
        "/client/v4/user",
        "/client/v4/user/tokensX",
        "/client/v4/accounts/tokens",
        f"/client/v4/zones/{ZONE_A}/dns_records",
        "/user/tokens",
        "/zonegate/audit",
    ],
)
async def test_other_paths_are_not(path: str) -> None:
    assert await written(path) is None
    assert not concerned(path)


async def test_the_paths_follow_the_prefix_of_the_settings() -> None:
    assert await written("/zonegate/audit", prefix=()) is not None
    assert await written("/client/v4/zonegate/audit", prefix=()) is None


@pytest.mark.parametrize("reason", Reason)
async def test_what_could_not_be_done_was_not_refused(reason: Reason) -> None:
    is_written = await written("/client/v4/user/tokens", reason) is not None
    assert is_written == (REFUSALS[reason].status not in {429, 503}), "nor does who comes too often fill the audit"


async def test_a_secret_in_the_path_is_not_stored() -> None:
    secret = secret_of().reveal()
    found = await written(f"/client/v4/user/tokens/{secret}")
    assert found is not None
    assert found[0].path == f"/client/v4/user/tokens/zgt_{TOKEN_ID}_..."
    assert secret.rpartition("_")[2] not in repr(found)


async def test_a_long_path_is_cut() -> None:
    found = await written("/client/v4/user/tokens/" + "x" * 1000)
    assert found is not None
    assert len(found[0].path) == LONGEST_PATH + len("...")


@pytest.mark.parametrize(
    "failure", [pytest.param(StoreUnavailable("away"), id="away"), pytest.param(NotReplicated(), id="not replicated")]
)
async def test_a_store_that_does_not_take_it_is_a_warning_and_stops_nobody(failure: Exception) -> None:
    class Failing:
        async def denied(self, what: Denied, by: Actor, now: float) -> None:  # noqa: ARG002
            raise failure

    with captured() as logs:
        await DeniedCalls(Failing(), PREFIX).write(refused("/client/v4/user/tokens"), NOW)
    (line,) = logs
    assert (line["log_level"], line["request_id"]) == ("warning", "request-0001")


async def test_what_has_begun_is_written_though_its_client_leaves() -> None:
    class Slow:
        def __init__(self) -> None:
            self.begun, self.go_on, self.done = asyncio.Event(), asyncio.Event(), asyncio.Event()

        async def denied(self, what: Denied, by: Actor, now: float) -> None:  # noqa: ARG002
            self.begun.set()
            await self.go_on.wait()
            self.done.set()

    store = Slow()
    port: DeniedStore = store
    writing = asyncio.ensure_future(DeniedCalls(port, PREFIX).write(refused("/client/v4/user/tokens"), NOW))
    await store.begun.wait()
    writing.cancel()
    with pytest.raises(asyncio.CancelledError):
        await writing
    store.go_on.set()
    await asyncio.wait_for(store.done.wait(), 10)

from ipaddress import ip_address

import msgspec
import pytest
from support.records import CATALOG, NOW, USER, ZONE_A, ZONE_B, owner, policy, secret_of, token
from support.store_contract import MemoryTokenStore, read
from unit.server.wire import admission

from gateway.access.decision import Allow
from gateway.access.ports import Action, Actor, Conflict, StoreUnavailable
from gateway.access.principal import Record
from gateway.reason import Deny, Reason
from gateway.server.head import Head, judge_head
from gateway.tokens.digest import NO_PEPPERS, Digest, Peppers
from gateway.tokens.owner import OwnerKind, OwnerStatus
from gateway.tokens.secret import Sensitive
from gateway.tokens.token import Status, Token

CLIENT = ip_address("192.0.2.7")
BEARER = (b"Authorization", b"Bearer " + secret_of().reveal().encode())


def head(
    target: str = f"/client/v4/zones/{ZONE_A}/dns_records", *fields: tuple[bytes, bytes], method: str = "GET"
) -> Head:
    found = judge_head(method, target.encode(), (1, 1), [(b"Host", b"api.example"), *(fields or (BEARER,))])
    assert isinstance(found, Head)
    return found


async def decided(store: MemoryTokenStore, asked: Head | None = None, **parts: Peppers) -> Allow | Deny:
    return await admission(store, **parts).admit(asked or head(), CLIENT, "request-0001")


async def test_a_token_that_may_is_let_in_to_the_route_that_it_asked_for() -> None:
    allow = await decided(MemoryTokenStore().hold(token()))
    assert isinstance(allow, Allow)
    assert allow.principal.token == token()
    assert allow.route.text == "/client/v4/zones/{zone_id}/dns_records"
    assert allow.target.path == f"/client/v4/zones/{ZONE_A}/dns_records".encode()


@pytest.mark.parametrize(
    ("field", "reason"),
    [
        pytest.param((b"Accept", b"*/*"), Reason.MISSING_CREDENTIALS, id="no credential"),
        pytest.param((b"Authorization", b"Basic eA=="), Reason.MALFORMED_CREDENTIALS, id="another scheme"),
        pytest.param((b"Authorization", b"Bearer zgt_x"), Reason.MALFORMED_CREDENTIALS, id="junk"),
        pytest.param((BEARER[0], BEARER[1][:-1] + b"~"), Reason.MALFORMED_CREDENTIALS, id="a slip of the pen"),
    ],
)
async def test_a_request_without_a_well_formed_secret_costs_no_read(field: tuple[bytes, bytes], reason: Reason) -> None:
    store = MemoryTokenStore().hold(token())
    assert await decided(store, head("/anything", field)) == Deny(reason=reason)
    assert store.reads == 0


@pytest.mark.parametrize(
    "held",
    [
        pytest.param([], id="an unknown id"),
        pytest.param([token(digests=(NO_PEPPERS.sign(secret_of(fill=8)),))], id="another secret"),
        pytest.param([token(digests=())], id="no secret at all"),
        pytest.param([token(digests=(Digest("hmac-sha256", "00000000", "0" * 64),))], id="a pepper that is gone"),
    ],
)
async def test_a_secret_that_proves_nothing_is_an_unknown_token_whatever_it_asks_for(held: list[Token]) -> None:
    store = MemoryTokenStore().hold(*held)
    for target in (f"/client/v4/zones/{ZONE_A}/dns_records", "/nowhere", "/client/v4/user/tokens/verify"):
        assert await decided(store, head(target)) == Deny(reason=Reason.UNKNOWN_TOKEN)


async def test_an_account_s_prefix_does_not_open_a_user_s_token() -> None:
    secret = secret_of(kind=OwnerKind.ACCOUNT)
    store = MemoryTokenStore().hold(token(digests=(NO_PEPPERS.sign(secret),)))
    field = (b"Authorization", b"Bearer " + secret.reveal().encode())
    assert await decided(store, head("/anything", field)) == Deny(reason=Reason.UNKNOWN_TOKEN)


@pytest.mark.parametrize(
    ("held", "reason"),
    [
        pytest.param(token(status=Status.DISABLED), Reason.TOKEN_DISABLED, id="disabled"),
        pytest.param(token(expires_on=NOW), Reason.TOKEN_EXPIRED, id="expired this second"),
        pytest.param(token(not_before=NOW + 1), Reason.TOKEN_NOT_YET_VALID, id="not valid yet"),
        pytest.param(token(not_in=["192.0.2.0/24"]), Reason.IP_DENIED, id="from the wrong place"),
    ],
)
async def test_a_proved_token_that_cannot_be_used_now_hears_why_before_any_route_is_looked_up(
    held: Token, reason: Reason
) -> None:
    deny = await decided(MemoryTokenStore().hold(held), head("/nowhere"))
    assert isinstance(deny, Deny)
    assert deny.reason is reason


@pytest.mark.parametrize(
    ("asked", "reason"),
    [
        pytest.param(head("/client/v4/nowhere"), Reason.NO_ROUTE, id="no such path"),
        pytest.param(head("/client/v4/zones/XYZ/dns_records"), Reason.NO_ROUTE, id="an id that is none"),
        pytest.param(head(method="PUT"), Reason.METHOD_NOT_ALLOWED, id="a method that the path lacks"),
        pytest.param(head(f"/client/v4/zones/{ZONE_B}/dns_records"), Reason.FORBIDDEN, id="another zone"),
        pytest.param(head(f"/client/v4/zones/{ZONE_A}"), Reason.FORBIDDEN, id="another permission"),
        pytest.param(head("/client/v4/zones"), Reason.FORBIDDEN, id="a list"),
    ],
)
async def test_a_proved_token_that_may_not_is_refused(asked: Head, reason: Reason) -> None:
    deny = await decided(MemoryTokenStore().hold(token()), asked)
    assert isinstance(deny, Deny)
    assert deny.reason is reason


@pytest.mark.parametrize(
    "ceiling",
    [
        pytest.param(owner(status=OwnerStatus.DISABLED), id="disabled"),
        pytest.param(owner([]), id="without rights"),
        pytest.param(owner(ref=msgspec.structs.replace(owner().ref, id="9" * 32)), id="gone"),
    ],
)
async def test_a_token_reaches_no_further_than_its_owner(ceiling: object) -> None:
    store = MemoryTokenStore().hold(token(), of=ceiling)  # type: ignore[arg-type]
    deny = await decided(store)
    assert isinstance(deny, Deny)
    assert deny.reason in (Reason.TOKEN_DISABLED, Reason.FORBIDDEN)


# The store.


async def test_a_store_that_is_away_is_said_and_nothing_of_its_text() -> None:
    store = MemoryTokenStore()
    store.failure = StoreUnavailable("redis://user:password@store")
    assert await decided(store) == Deny(reason=Reason.STORE_UNAVAILABLE)


@pytest.mark.parametrize(
    "held",
    [
        pytest.param(token(request_ip=["not a network"]), id="a condition"),
        pytest.param(token([policy(["DNS Read"], ["com.example.thing"])]), id="a resource"),
    ],
)
async def test_a_record_that_cannot_be_read_is_an_outage_and_no_token(held: Token) -> None:
    assert await decided(MemoryTokenStore().hold(held)) == Deny(reason=Reason.STORE_UNAVAILABLE)


# Making digests anew.

OLD, NEW = Peppers([Sensitive("old")]), Peppers([Sensitive("new"), Sensitive("old")])


async def test_a_digest_is_made_anew_with_the_pepper_that_signs_at_its_next_use() -> None:
    other = Digest("sha256", "", "0" * 64)
    store = MemoryTokenStore().hold(token(digests=(other, OLD.sign(secret_of()))))
    assert isinstance(await decided(store, peppers=NEW), Allow)
    found = (await read(store, token().id)).token
    assert found.digests == (other, NEW.sign(secret_of()))
    assert msgspec.structs.replace(found, digests=()) == token(digests=())
    by = Actor(token_id=token().id, owner=f"user:{USER}", address="", request_id="request-0001")
    assert store.actions == [(Action.RESIGN, by)]


async def test_a_digest_that_is_current_is_left_alone() -> None:
    store = MemoryTokenStore().hold(token(digests=(NEW.sign(secret_of()),)))
    assert isinstance(await decided(store, peppers=NEW), Allow)
    assert store.actions == []


async def test_a_wrong_secret_makes_no_digest_anew() -> None:
    store = MemoryTokenStore().hold(token(digests=(OLD.sign(secret_of(fill=8)),)))
    assert await decided(store, peppers=NEW) == Deny(reason=Reason.UNKNOWN_TOKEN)
    assert store.actions == []


@pytest.mark.parametrize(
    "failure",
    [pytest.param(Conflict(), id="somebody was faster"), pytest.param(StoreUnavailable("away"), id="an outage")],
)
async def test_a_digest_that_could_not_be_made_anew_stops_nobody(failure: Exception) -> None:
    class Failing(MemoryTokenStore):
        async def replace(self, old: Record, new: Token, action: Action, by: Actor, now: float) -> bytes:  # noqa: ARG002
            raise failure

    store = Failing().hold(token(digests=(OLD.sign(secret_of()),)))
    assert isinstance(await decided(store, peppers=NEW), Allow)


async def test_the_admin_table_has_no_way_to_an_upstream() -> None:
    store = MemoryTokenStore().hold(token())
    deny = await admission(store, table=CATALOG.admin).admit(head(), CLIENT, "request-0001")
    assert isinstance(deny, Deny)
    assert deny.reason is Reason.NO_ROUTE

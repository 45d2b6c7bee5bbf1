from collections.abc import Callable
from ipaddress import ip_address

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.records import (
    ACCOUNT,
    ACCOUNT_A,
    CATALOG,
    NOW,
    USER,
    ZONE_A,
    ZONE_B,
    account,
    compiled,
    owner,
    policy,
    secret_of,
    shipped_catalog,
    token,
    zone,
)
from support.store_contract import MemoryTokenStore, read
from unit.server.wire import admission
from unit.telemetry.captured import captured

from gateway.access.compiled import CompiledToken
from gateway.access.decision import Allow
from gateway.access.ports import Action, Actor, Conflict, Miss, NotReplicated, StoreUnavailable
from gateway.access.principal import Record
from gateway.catalog.route_table import RouteTable
from gateway.reason import Deny, Reason
from gateway.server.admission import Admission, label
from gateway.server.head import Head, judge_head
from gateway.tokens.condition import Address
from gateway.tokens.digest import NO_PEPPERS, Digest, Peppers
from gateway.tokens.owner import OwnerKind, OwnerStatus
from gateway.tokens.policy import Policy
from gateway.tokens.secret import Sensitive
from gateway.tokens.token import Status, Token

CLIENT = ip_address("192.0.2.7")
BEARER = (b"Authorization", b"Bearer " + secret_of().reveal().encode())
ROUTE = "GET /client/v4/zones/{zone_id}/dns_records"
Found = CompiledToken | Deny | None


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
    assert allow.principal.token.id == token().id
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


@pytest.mark.parametrize(
    ("asked", "route"),
    [
        pytest.param(head(f"/client/v4/zones/{ZONE_B}/dns_records"), ROUTE, id="of a route"),
        pytest.param(head(f"/client/v4/zones/{ZONE_B}/dns_records", method="HEAD"), ROUTE, id="a GET route's HEAD"),
        pytest.param(head("/client/v4/nowhere"), "", id="of no route"),
        pytest.param(head(method="PUT"), "", id="of a method that the path lacks"),
    ],
)
async def test_a_refusal_says_whose_token_it_was_and_which_route_it_asked_for(asked: Head, route: str) -> None:
    deny = await decided(MemoryTokenStore().hold(token()), asked)
    assert isinstance(deny, Deny)
    assert (deny.token_id, deny.owner, deny.route) == (token().id, f"user:{USER}", route)


async def test_a_refusal_to_who_proved_nothing_names_no_token() -> None:
    deny = await decided(MemoryTokenStore().hold(token(digests=())))
    assert deny == Deny(reason=Reason.UNKNOWN_TOKEN)


async def test_a_label_is_the_route_s_own_text_whatever_was_sent() -> None:
    allow = await decided(MemoryTokenStore().hold(token()))
    assert isinstance(allow, Allow)
    assert [label(method, allow.route) for method in ("GET", "HEAD")] == [ROUTE, ROUTE]


# Memory and store.


class Tokens:
    """A memory that holds one answer; a token that is asked of it is `asked`."""

    def __init__(self, looked: Found | Miss, fetched: Found | Miss = Miss.MISS) -> None:
        self._looked, self._fetched = looked, fetched
        self.asked: list[tuple[str, Address | None]] = []
        self.proved: list[bool] = []

    def look(self, token_id: str) -> Found | Miss:  # noqa: ARG002
        return self._looked

    async def fetch(self, token_id: str, address: Address | None, *, proved: bool = False) -> Found:
        self.asked.append((token_id, address))
        self.proved.append(proved)
        assert not isinstance(self._fetched, Miss)
        return self._fetched


def remembering(
    tokens: Tokens,
    *,
    table: RouteTable = CATALOG.public,
    peppers: Peppers = NO_PEPPERS,
    clock: Callable[[], float] = lambda: NOW,
) -> Admission:
    return Admission(
        tokens, MemoryTokenStore(), table, credential_fields=CATALOG.credential_fields, peppers=peppers, clock=clock
    )


UNAVAILABLE, FROZEN = Deny(reason=Reason.STORE_UNAVAILABLE), Deny(reason=Reason.FROZEN)


@pytest.mark.parametrize(
    ("found", "answer"),
    [
        pytest.param(compiled(), Allow, id="a token"),
        pytest.param(None, Deny(reason=Reason.UNKNOWN_TOKEN), id="an unknown id"),
        pytest.param(UNAVAILABLE, UNAVAILABLE, id="an outage"),
        pytest.param(FROZEN, FROZEN, id="a freeze"),
    ],
)
async def test_what_is_in_memory_is_obeyed_and_costs_no_read(found: Found, answer: Deny | type[Allow]) -> None:
    for tokens, asked in ((Tokens(found), 0), (Tokens(Miss.MISS, found), 1)):
        decision = await remembering(tokens).admit(head(), CLIENT, "request-0001")
        assert decision == answer or (answer is Allow and isinstance(decision, Allow))
        assert tokens.asked == [(token().id, CLIENT)] * asked
        assert tokens.proved == [False] * asked


async def test_a_token_that_stays_in_memory_is_looked_at_by_clock_and_address_each_time() -> None:
    now = [NOW]
    held = compiled(token(not_before=NOW + 1, expires_on=NOW + 3, request_ip=["192.0.2.0/24"]))
    entrance = remembering(Tokens(held), clock=lambda: now[0])
    reasons = []
    for now[0], address in ((NOW, CLIENT), (NOW + 1, CLIENT), (NOW + 2, ip_address("198.51.100.1")), (NOW + 3, CLIENT)):
        decision = await entrance.admit(head(), address, "request-0001")
        reasons.append(decision.reason if isinstance(decision, Deny) else None)
    assert reasons == [Reason.TOKEN_NOT_YET_VALID, None, Reason.IP_DENIED, Reason.TOKEN_EXPIRED]


POLICIES = [
    policy(["DNS Write"], [zone(ZONE_A)]),
    policy(["DNS Read"], [zone("*")]),
    policy(["DNS Read"], [zone(ZONE_B)], effect="deny"),
    policy(["DNS Write"], {account(ACCOUNT_A): {zone("*"): "*"}}, effect="deny"),
    policy(["Billing Read"], [account("*")], scope=ACCOUNT),
]
REQUESTS = [
    (method, target)
    for method in ("GET", "POST")
    for target in (
        f"/client/v4/zones/{ZONE_A}/dns_records",
        f"/client/v4/zones/{ZONE_B}/dns_records",
        f"/client/v4/zones/{ZONE_A}",
        f"/client/v4/accounts/{ACCOUNT_A}/billing/profile",
        "/client/v4/user/tokens/verify",
        "/nowhere",
    )
]
TABLES = [CATALOG.public, shipped_catalog(["cloudflare-dns"]).public]
Asked = tuple[tuple[str, str], RouteTable, int, Address | None, OwnerStatus]
some_policies = st.lists(st.sampled_from(POLICIES), max_size=3)


@given(
    some_policies,
    some_policies,
    st.lists(
        st.tuples(
            st.sampled_from(REQUESTS),
            st.sampled_from(TABLES),
            st.integers(NOW - 2, NOW + 2),
            st.sampled_from([CLIENT, ip_address("198.51.100.1"), None]),
            st.sampled_from(OwnerStatus),
        ),
        max_size=12,
    ),
)
async def test_a_warmed_token_answers_like_a_fresh_one_whatever_has_changed(
    own: list[Policy], of_its_owner: list[Policy], asked: list[Asked]
) -> None:
    record = token(own, not_before=NOW - 1, expires_on=NOW + 1, request_ip=["192.0.2.0/24"])
    ceilings = {status: owner(of_its_owner, status=status) for status in OwnerStatus}
    warmed = {status: compiled(record, ceiling) for status, ceiling in ceilings.items()}

    async def answer(held: CompiledToken, table: RouteTable, now: int, address: Address | None, sent: Head) -> object:
        found = await remembering(Tokens(held), table=table, clock=lambda: now).admit(sent, address, "request-0001")
        return found if isinstance(found, Deny) else (found.route, found.target)

    for (method, target), table, now, address, status in asked:
        sent = head(target, method=method)
        fresh = compiled(record, ceilings[status])
        assert await answer(warmed[status], table, now, address, sent) == await answer(fresh, table, now, address, sent)


# Requests under way.

OVERLAPPING = msgspec.structs.replace(NO_PEPPERS.sign(secret_of()), ends=NOW + 10)


@pytest.mark.parametrize(
    ("found", "goes_on"),
    [
        pytest.param(compiled(), True, id="nothing has changed"),
        pytest.param(compiled(token(name="another")), True, id="something else has changed"),
        pytest.param(None, False, id="deleted"),
        pytest.param(compiled(token(status=Status.DISABLED)), False, id="disabled"),
        pytest.param(compiled(token(expires_on=NOW)), False, id="expired"),
        pytest.param(compiled(token(digests=(NO_PEPPERS.sign(secret_of(fill=8)),))), False, id="rolled"),
        pytest.param(compiled(token(request_ip=["198.51.100.0/24"])), False, id="another address wanted"),
        pytest.param(compiled(token([policy(["DNS Write"], [zone(ZONE_B)])])), False, id="narrowed"),
        pytest.param(compiled(token(), owner(status=OwnerStatus.DISABLED)), False, id="its owner disabled"),
        pytest.param(compiled(token(), owner([])), False, id="its owner narrowed"),
        pytest.param(FROZEN, False, id="frozen"),
        pytest.param(UNAVAILABLE, True, id="an outage"),
    ],
)
async def test_a_request_under_way_goes_on_while_its_token_would_be_let_in_again(found: Found, goes_on: bool) -> None:  # noqa: FBT001 - a case's data
    allow = await remembering(Tokens(compiled())).admit(head(), CLIENT, "request-0001")
    assert isinstance(allow, Allow)
    assert (await remembering(Tokens(found)).why_not_any_more(allow, "GET", CLIENT) is None) is goes_on
    tokens = Tokens(Miss.MISS, found)
    assert (await remembering(tokens).why_not_any_more(allow, "GET", CLIENT) is None) is goes_on
    assert tokens.proved == [True]


@pytest.mark.parametrize(
    ("now", "address", "goes_on"),
    [
        pytest.param(NOW + 9, CLIENT, True, id="as it was let in"),
        pytest.param(NOW + 10, CLIENT, False, id="expired meanwhile"),
        pytest.param(NOW, ip_address("198.51.100.1"), False, id="from where it may not be"),
    ],
)
async def test_while_the_store_is_away_a_request_under_way_turns_on_what_was_known(
    now: int,
    address: Address,
    goes_on: bool,  # noqa: FBT001 - a case's data
) -> None:
    known = compiled(token(expires_on=NOW + 10, request_ip=["192.0.2.0/24"]))
    allow = await remembering(Tokens(known)).admit(head(), CLIENT, "request-0001")
    assert isinstance(allow, Allow)
    away = remembering(Tokens(UNAVAILABLE), clock=lambda: now)
    assert (await away.why_not_any_more(allow, "GET", address) is None) is goes_on


@pytest.mark.parametrize(("now", "goes_on"), [(NOW + 9, True), (NOW + 10, False)])
async def test_a_request_of_a_rolled_secret_ends_with_its_overlap(now: int, goes_on: bool) -> None:  # noqa: FBT001 - a case's data
    tokens = Tokens(compiled(token(digests=(NO_PEPPERS.sign(secret_of(fill=8)), OVERLAPPING))))
    allow = await remembering(tokens).admit(head(), CLIENT, "request-0001")
    assert isinstance(allow, Allow)
    assert (await remembering(tokens, clock=lambda: now).why_not_any_more(allow, "GET", CLIENT) is None) is goes_on


# The store.


async def test_a_store_that_is_away_is_said_and_nothing_of_its_text() -> None:
    store = MemoryTokenStore()
    store.failure = StoreUnavailable("redis://user:password@store")
    assert await decided(store) == UNAVAILABLE


@pytest.mark.parametrize(
    "held",
    [
        pytest.param(token(request_ip=["not a network"]), id="a condition"),
        pytest.param(token([policy(["DNS Read"], ["com.example.thing"])]), id="a resource"),
    ],
)
async def test_a_record_that_cannot_be_read_is_an_outage_and_no_token(held: Token) -> None:
    assert await decided(MemoryTokenStore().hold(held)) == UNAVAILABLE


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
    [
        pytest.param(Conflict(), id="somebody was faster"),
        pytest.param(StoreUnavailable("away"), id="an outage"),
        pytest.param(NotReplicated(), id="too few replicas"),
    ],
)
async def test_a_digest_that_could_not_be_made_anew_stops_nobody(failure: Exception) -> None:
    store = Failing(failure).hold(token(digests=(OLD.sign(secret_of()),)))
    assert isinstance(await decided(store, peppers=NEW), Allow)
    assert store.tries == 1


class Failing(MemoryTokenStore):
    """A store that changes nothing; `tries`: how often it was asked to."""

    def __init__(self, failure: Exception) -> None:
        super().__init__()
        self._failure = failure
        self.tries = 0

    async def replace(self, old: Record, new: Token, action: Action, by: Actor, now: float) -> bytes:  # noqa: ARG002
        self.tries += 1
        raise self._failure


@pytest.mark.parametrize(
    ("failure", "tries"),
    [
        pytest.param(Conflict(), [1, 2, 3, 4], id="somebody was faster"),
        pytest.param(StoreUnavailable("away"), [1, 1, 1, 2], id="an outage"),
    ],
)
async def test_a_store_that_is_away_does_not_hold_up_every_request(failure: Exception, tries: list[int]) -> None:
    now = [NOW]
    store = Failing(failure).hold(token(digests=(OLD.sign(secret_of()),)))
    entrance = admission(store, peppers=NEW, clock=lambda: now[0])
    found = []
    with captured() as logs:
        for now[0] in (NOW, NOW, NOW + 9, NOW + 10):
            assert isinstance(await entrance.admit(head(), CLIENT, "request-0001"), Allow)
            found.append(store.tries)
    assert found == tries
    assert len(logs) == (0 if isinstance(failure, Conflict) else 2)


async def test_a_digest_that_another_request_made_anew_is_not_written_again() -> None:
    """The memory may hold what was before, for a moment."""
    store = MemoryTokenStore().hold(token(digests=(NEW.sign(secret_of()),)))
    tokens = Tokens(compiled(token(digests=(OLD.sign(secret_of()),))))
    entrance = Admission(
        tokens,
        store,
        CATALOG.public,
        credential_fields=CATALOG.credential_fields,
        peppers=NEW,
        clock=lambda: NOW,
    )
    assert isinstance(await entrance.admit(head(), CLIENT, "request-0001"), Allow)
    assert store.actions == []


async def test_a_request_whose_digest_was_made_anew_goes_on_with_the_new_one() -> None:
    store = MemoryTokenStore().hold(token(digests=(msgspec.structs.replace(OLD.sign(secret_of()), ends=NOW + 10),)))
    entrance = admission(store, peppers=NEW)
    allow = await entrance.admit(head(), CLIENT, "request-0001")
    assert isinstance(allow, Allow)
    assert allow.principal.digest == msgspec.structs.replace(NEW.sign(secret_of()), ends=NOW + 10)
    assert await entrance.why_not_any_more(allow, "GET", CLIENT) is None


async def test_the_admin_table_has_no_way_to_an_upstream() -> None:
    store = MemoryTokenStore().hold(token())
    deny = await admission(store, table=CATALOG.admin).admit(head(), CLIENT, "request-0001")
    assert isinstance(deny, Deny)
    assert deny.reason is Reason.NO_ROUTE

import asyncio
import json
from collections.abc import Callable, Sequence
from ipaddress import ip_address
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.records import (
    ACCOUNT,
    ACCOUNT_A,
    ACCOUNT_B,
    CATALOG,
    DNS_ON_A,
    NOW,
    TOKEN_ID,
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
from support.zone_accounts import MemoryAccounts
from unit.telemetry.captured import captured

from gateway.access.compiled import CompiledToken, compile_token
from gateway.access.decision import LARGEST_BODY, Allow
from gateway.access.ports import Action, Actor, Conflict, Miss, NotReplicated, StoreUnavailable
from gateway.access.principal import Principal, Record
from gateway.access.question import Unknown
from gateway.catalog.api import read_api
from gateway.catalog.route_table import RouteTable
from gateway.proxy.field_line import KnownLines
from gateway.reason import Deny, Reason
from gateway.server.admission import Admission, Lacking, Pending, Undecided, label
from gateway.server.head import Head, HeadReader
from gateway.server.shown_lines import ShownLines
from gateway.store.cache import Entry, OwnerCell
from gateway.store.lookup import TokenLookup
from gateway.tokens.condition import Address
from gateway.tokens.digest import NO_PEPPERS, Digest, Peppers
from gateway.tokens.owner import OwnerKind, OwnerStatus
from gateway.tokens.policy import Policy
from gateway.tokens.secret import Sensitive
from gateway.tokens.token import Status, Token

CLIENT = ip_address("192.0.2.7")
ELSEWHERE = ip_address("198.51.100.1")
SECRET = secret_of().reveal().encode()
BEARER = b"Authorization: Bearer " + SECRET
KEY = b"X-API-Key: " + SECRET
ROUTE = "GET /client/v4/zones/{zone_id}/dns_records"
RECORDS = f"/client/v4/zones/{ZONE_A}/dns_records"
FIELDS = CATALOG.credential_fields | {"x-api-key"}
Found = CompiledToken | Deny | None


def asked(target: str = RECORDS, *fields: bytes, method: str = "GET") -> bytes:
    """A request's head, with our token's secret unless other fields are named."""
    start = f"{method} {target} HTTP/1.1\r\nHost: api.example\r\n".encode()
    return start + b"".join(b"%b\r\n" % field for field in fields or (BEARER,)) + b"\r\n"


class Entrance:
    """A reader of heads and an admission behind it, with one table of shown lines, as a listener has them."""

    def __init__(
        self,
        tokens: Any,
        store: MemoryTokenStore | None = None,
        *,
        table: RouteTable = CATALOG.public,
        peppers: Peppers = NO_PEPPERS,
        clock: Callable[[], float] = lambda: NOW,
        accounts: MemoryAccounts | None = None,
    ) -> None:
        self.body: bytes | Deny = b""
        self.read: bytes | None = None
        """What was judged of it."""
        self.asked_for: list[int] = []
        self.meanwhile: Callable[[], object] = lambda: None
        self.shown = ShownLines()
        self.reader = HeadReader(KnownLines(), token_fields=FIELDS, secret_fields=frozenset(), shown=self.shown.lines)
        self.accounts = accounts or MemoryAccounts()
        self.admission = Admission(
            tokens, store or MemoryTokenStore(), table, self.accounts, peppers=peppers, clock=clock, shown=self.shown
        )

    def head(self, data: bytes) -> Head:
        found = self.reader.read(data)
        assert isinstance(found, Head), found
        return found

    def admit(self, data: bytes | None = None, address: Address | None = CLIENT) -> Allow | Deny | Undecided:
        """What is known without waiting."""
        return self.admission.admit(self.head(data or asked()), address)

    async def decided(self, data: bytes | None = None, address: Address | None = CLIENT) -> Allow | Deny:
        """What is known in the end."""
        head = self.head(data or asked())
        outcome = self.admission.admit(head, address)
        if isinstance(outcome, Pending):
            outcome = await self.admission.resolve(outcome, head, address, "request-0001")
        if isinstance(outcome, Lacking):
            outcome, self.read = await self.admission.settle(outcome, head, address, self.read_body)
        return outcome

    async def read_body(self, most: int) -> bytes | Deny:
        """The body that a test has put into `body`."""
        self.asked_for.append(most)
        await asyncio.sleep(0)
        self.meanwhile()
        return self.body

    async def why_not(self, allow: Allow, address: Address | None = CLIENT) -> Deny | None:
        return await self.admission.why_not_any_more(allow, "GET", address)


async def decided(store: MemoryTokenStore, data: bytes | None = None, peppers: Peppers = NO_PEPPERS) -> Allow | Deny:
    return await Entrance(store, store, peppers=peppers).decided(data)


def reason_of(outcome: Allow | Deny | Undecided) -> Reason | type[Allow | Undecided]:
    return outcome.reason if isinstance(outcome, Deny) else type(outcome)


async def test_a_token_that_may_is_let_in_to_the_route_that_it_asked_for() -> None:
    allow = await decided(MemoryTokenStore().hold(token()))
    assert isinstance(allow, Allow)
    assert allow.principal.token.id == token().id
    assert allow.route.text == "/client/v4/zones/{zone_id}/dns_records"
    assert allow.target.path == RECORDS.encode()


@pytest.mark.parametrize(
    ("field", "reason"),
    [
        pytest.param(b"Accept: */*", Reason.MISSING_CREDENTIALS, id="no credential"),
        pytest.param(b"Proxy-Authorization: Bearer " + SECRET, Reason.MISSING_CREDENTIALS, id="the proxy's field"),
        pytest.param(b"X_API_Key: " + SECRET, Reason.MISSING_CREDENTIALS, id="another spelling"),
        pytest.param(b"Authorization: Basic eA==", Reason.MALFORMED_CREDENTIALS, id="another scheme"),
        pytest.param(b"Authorization: Bearer zgt_x", Reason.MALFORMED_CREDENTIALS, id="junk"),
        pytest.param(BEARER[:-1] + b"~", Reason.MALFORMED_CREDENTIALS, id="a slip of the pen"),
        pytest.param(b"Authorization:", Reason.MALFORMED_CREDENTIALS, id="an empty field"),
        pytest.param(b"X-API-Key: Bearer " + SECRET, Reason.MALFORMED_CREDENTIALS, id="a scheme with the bare secret"),
    ],
)
async def test_a_request_without_a_well_formed_secret_costs_no_read(field: bytes, reason: Reason) -> None:
    store = MemoryTokenStore().hold(token())
    entrance = Entrance(store, store)
    assert entrance.admit(asked("/anything", field)) == Deny(reason=reason)
    assert store.reads == 0
    assert not entrance.shown.lines


@pytest.mark.parametrize(
    ("found", "digest", "outcome"),
    [
        pytest.param(compiled(), NO_PEPPERS.sign(secret_of()), None, id="as it was"),
        pytest.param(compiled(), NO_PEPPERS.sign(secret_of(fill=8)), Reason.UNKNOWN_TOKEN, id="rolled"),
        pytest.param(None, NO_PEPPERS.sign(secret_of()), Reason.UNKNOWN_TOKEN, id="gone"),
        pytest.param(Deny(reason=Reason.FROZEN), NO_PEPPERS.sign(secret_of()), Reason.FROZEN, id="frozen"),
    ],
)
async def test_a_session_is_the_principal_that_its_token_is_by_now(
    found: Found, digest: Digest, outcome: Reason | None
) -> None:
    resumed = await Entrance(Tokens(found)).admission.resume(TOKEN_ID, digest, CLIENT)
    if outcome is None:
        assert isinstance(resumed, Principal)
        assert (resumed.token, resumed.digest, resumed.credential_field) == (found, digest, "authorization")
    else:
        assert isinstance(resumed, Deny)
        assert resumed.reason is outcome


@pytest.mark.parametrize(
    "fields",
    [
        pytest.param([BEARER, BEARER], id="the same twice"),
        pytest.param([BEARER, b"authorization:"], id="one of two is empty"),
        pytest.param([BEARER, KEY], id="in two fields"),
        pytest.param([KEY, b"Authorization: Basic dTpw"], id="a good key beside another scheme"),
        pytest.param([KEY, b"Accept: */*", b"x-api-key: x"], id="not side by side"),
    ],
)
async def test_two_credentials_are_malformed_even_if_one_of_them_was_shown(fields: list[bytes]) -> None:
    """We and the upstream might each believe another one."""
    entrance = Entrance(Tokens(compiled()))
    for line in (BEARER, KEY):
        entrance.admit(asked(RECORDS, line))
        assert line in entrance.shown.lines
    for some in (fields, fields[::-1]):
        assert entrance.admit(asked(RECORDS, *some)) == Deny(reason=Reason.MALFORMED_CREDENTIALS)


@given(st.lists(st.sampled_from([b"Accept: */*", b"Cookie: a", b"Via: 1.1 a", b"X:", b"X-Api_Key: x"]), max_size=4))
async def test_a_second_credential_is_malformed_whatever_stands_between(between: list[bytes]) -> None:
    entrance = Entrance(Tokens(compiled()))
    assert entrance.admit(asked(RECORDS, BEARER, *between, KEY)) == Deny(reason=Reason.MALFORMED_CREDENTIALS)
    assert isinstance(entrance.admit(asked(RECORDS, *between, BEARER, *between)), Allow)


async def test_a_token_in_a_field_in_which_its_api_takes_none_is_missing() -> None:
    entrance = Entrance(Tokens(compiled()))
    for _ in range(2):
        deny = entrance.admit(asked(RECORDS, KEY))
        assert isinstance(deny, Deny)
        assert (deny.reason, deny.token_id) == (Reason.MISSING_CREDENTIALS, TOKEN_ID)


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
    for target in (RECORDS, "/nowhere", "/client/v4/user/tokens/verify"):
        assert await decided(store, asked(target)) == Deny(reason=Reason.UNKNOWN_TOKEN)


async def test_an_account_s_prefix_does_not_open_a_user_s_token() -> None:
    secret = secret_of(kind=OwnerKind.ACCOUNT)
    store = MemoryTokenStore().hold(token(digests=(NO_PEPPERS.sign(secret),)))
    field = b"Authorization: Bearer " + secret.reveal().encode()
    assert await decided(store, asked("/anything", field)) == Deny(reason=Reason.UNKNOWN_TOKEN)


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
    deny = await decided(MemoryTokenStore().hold(held), asked("/nowhere"))
    assert isinstance(deny, Deny)
    assert deny.reason is reason


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        pytest.param(asked("/client/v4/nowhere"), Reason.NO_ROUTE, id="no such path"),
        pytest.param(asked("/client/v4/zones/XYZ/dns_records"), Reason.NO_ROUTE, id="an id that is none"),
        pytest.param(asked(method="PUT"), Reason.METHOD_NOT_ALLOWED, id="a method that the path lacks"),
        pytest.param(asked(f"/client/v4/zones/{ZONE_B}/dns_records"), Reason.FORBIDDEN, id="another zone"),
        pytest.param(asked(f"/client/v4/zones/{ZONE_A}"), Reason.FORBIDDEN, id="another permission"),
        pytest.param(asked("/client/v4/zones"), Reason.FORBIDDEN, id="a list"),
    ],
)
async def test_a_proved_token_that_may_not_is_refused(data: bytes, reason: Reason) -> None:
    deny = await decided(MemoryTokenStore().hold(token()), data)
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
    ("data", "route"),
    [
        pytest.param(asked(f"/client/v4/zones/{ZONE_B}/dns_records"), ROUTE, id="of a route"),
        pytest.param(asked(f"/client/v4/zones/{ZONE_B}/dns_records", method="HEAD"), ROUTE, id="a GET route's HEAD"),
        pytest.param(asked("/client/v4/nowhere"), "", id="of no route"),
        pytest.param(asked(method="PUT"), "", id="of a method that the path lacks"),
    ],
)
async def test_a_refusal_says_whose_token_it_was_and_which_route_it_asked_for(data: bytes, route: str) -> None:
    deny = await decided(MemoryTokenStore().hold(token()), data)
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
        self.looked, self._fetched = looked, fetched
        self.asked: list[tuple[str, Address | None]] = []
        self.proved: list[bool] = []

    def look(self, token_id: str) -> Found | Miss:  # noqa: ARG002
        return self.looked

    async def fetch(self, token_id: str, address: Address | None, *, proved: bool = False) -> Found:
        self.asked.append((token_id, address))
        self.proved.append(proved)
        assert not isinstance(self._fetched, Miss)
        return self._fetched


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
        decision = await Entrance(tokens).decided()
        assert decision == answer or (answer is Allow and isinstance(decision, Allow))
        assert tokens.asked == [(token().id, CLIENT)] * asked
        assert tokens.proved == [False] * asked


async def test_a_token_that_stays_in_memory_is_looked_at_by_clock_and_address_each_time() -> None:
    now = [NOW]
    held = compiled(token(not_before=NOW + 1, expires_on=NOW + 3, request_ip=["192.0.2.0/24"]))
    entrance = Entrance(Tokens(held), clock=lambda: now[0])
    reasons = []
    for now[0], address in ((NOW, CLIENT), (NOW + 1, CLIENT), (NOW + 2, ELSEWHERE), (NOW + 3, CLIENT)):
        reasons.append(reason_of(entrance.admit(address=address)))
    assert reasons == [Reason.TOKEN_NOT_YET_VALID, Allow, Reason.IP_DENIED, Reason.TOKEN_EXPIRED]


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
        RECORDS,
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
            st.sampled_from([CLIENT, ELSEWHERE, None]),
            st.sampled_from(OwnerStatus),
        ),
        max_size=12,
    ),
)
async def test_a_warmed_token_answers_like_a_fresh_one_whatever_has_changed(
    own: list[Policy], of_its_owner: list[Policy], requests: list[Asked]
) -> None:
    record = token(own, not_before=NOW - 1, expires_on=NOW + 1, request_ip=["192.0.2.0/24"])
    ceilings = {status: owner(of_its_owner, status=status) for status in OwnerStatus}
    warmed = {status: compiled(record, ceiling) for status, ceiling in ceilings.items()}

    async def answer(held: CompiledToken, table: RouteTable, now: int, address: Address | None, sent: bytes) -> object:
        found = await Entrance(Tokens(held), table=table, clock=lambda: now).decided(sent, address)
        return found if isinstance(found, Deny) else (found.route, found.target)

    for (method, target), table, now, address, status in requests:
        sent = asked(target, method=method)
        fresh = compiled(record, ceilings[status])
        assert await answer(warmed[status], table, now, address, sent) == await answer(fresh, table, now, address, sent)


# Lines that were shown.


class Comparing(Peppers):
    """How often a secret is compared."""

    def __init__(self, peppers: Sequence[Sensitive] = ()) -> None:
        self.times = 0
        super().__init__(peppers)

    def proves(self, digest: Digest, secret: Sensitive, now: float) -> bool:
        self.times += 1
        return super().proves(digest, secret, now)


OVERLAPPING = msgspec.structs.replace(NO_PEPPERS.sign(secret_of()), ends=NOW + 10)
ANOTHER = NO_PEPPERS.sign(secret_of(fill=8))
KNOWN = compiled()


async def test_a_line_that_proved_itself_is_not_compared_again_while_its_token_is_in_force() -> None:
    peppers = Comparing()
    entrance = Entrance(Tokens(KNOWN), peppers=peppers)
    found = [entrance.admit() for _ in range(3)]
    assert peppers.times == 1
    assert all(isinstance(allow, Allow) and allow.principal.token is KNOWN for allow in found)
    assert isinstance(entrance.admit(asked(RECORDS, BEARER.replace(b": ", b":"))), Allow)
    assert peppers.times == 2


@pytest.mark.parametrize(
    ("now_found", "reason", "times"),
    [
        pytest.param(KNOWN, Allow, 0, id="nothing"),
        pytest.param(compiled(), Allow, 1, id="read again"),
        pytest.param(compiled(token(name="another")), Allow, 1, id="something else has changed"),
        pytest.param(compiled(token(digests=(ANOTHER, OVERLAPPING))), Allow, 2, id="rolled, with an overlap"),
        pytest.param(Miss.MISS, Pending, 0, id="forgotten"),
        pytest.param(None, Reason.UNKNOWN_TOKEN, 1, id="deleted"),
        pytest.param(compiled(token(digests=(ANOTHER,))), Reason.UNKNOWN_TOKEN, 1, id="rolled"),
        pytest.param(compiled(token(digests=())), Reason.UNKNOWN_TOKEN, 0, id="its digest removed"),
        pytest.param(compiled(token(status=Status.DISABLED)), Reason.TOKEN_DISABLED, 1, id="disabled"),
        pytest.param(compiled(token(expires_on=NOW)), Reason.TOKEN_EXPIRED, 1, id="expired"),
        pytest.param(compiled(token(not_before=NOW + 1)), Reason.TOKEN_NOT_YET_VALID, 1, id="not valid yet"),
        pytest.param(compiled(token(not_in=["192.0.2.0/24"])), Reason.IP_DENIED, 1, id="another address wanted"),
        pytest.param(compiled(token([policy(["DNS Write"], [zone(ZONE_B)])])), Reason.FORBIDDEN, 1, id="narrowed"),
        pytest.param(
            compiled(token(), owner(status=OwnerStatus.DISABLED)), Reason.TOKEN_DISABLED, 1, id="its owner off"
        ),
        pytest.param(compiled(token(), owner([])), Reason.FORBIDDEN, 1, id="its owner narrowed"),
        pytest.param(compile_token(token(), None), Reason.TOKEN_DISABLED, 1, id="its owner gone"),
        pytest.param(Deny(reason=Reason.STORE_UNAVAILABLE), Reason.STORE_UNAVAILABLE, 0, id="an outage"),
        pytest.param(Deny(reason=Reason.FROZEN), Reason.FROZEN, 0, id="a freeze"),
    ],
)
async def test_a_line_that_was_shown_counts_for_the_very_token_that_is_in_force(
    now_found: Found | Miss, reason: Reason | type[Allow | Pending], times: int
) -> None:
    peppers = Comparing()
    tokens = Tokens(KNOWN)
    entrance = Entrance(tokens, peppers=peppers)
    assert isinstance(entrance.admit(), Allow)
    peppers.times, tokens.looked = 0, now_found
    for _ in range(2):
        assert reason_of(entrance.admit()) is reason
    # What proved itself again is known again; what did not is compared each time.
    proved = isinstance(now_found, CompiledToken) and reason is not Reason.UNKNOWN_TOKEN
    assert peppers.times == (times if proved else 2 * times)


@pytest.mark.parametrize(
    ("held", "now", "address", "reason"),
    [
        pytest.param(token(), NOW + 10**9, CLIENT, Allow, id="nothing"),
        pytest.param(token(expires_on=NOW + 10), NOW + 9, CLIENT, Allow, id="not expired yet"),
        pytest.param(token(expires_on=NOW + 10), NOW + 10, CLIENT, Reason.TOKEN_EXPIRED, id="expired meanwhile"),
        pytest.param(token(not_before=NOW), NOW - 1, CLIENT, Reason.TOKEN_NOT_YET_VALID, id="a clock set back"),
        pytest.param(token(request_ip=["192.0.2.0/24"]), NOW, ELSEWHERE, Reason.IP_DENIED, id="from elsewhere"),
        pytest.param(token(request_ip=["192.0.2.0/24"]), NOW, None, Reason.IP_DENIED, id="from nobody knows where"),
        pytest.param(token(digests=(ANOTHER, OVERLAPPING)), NOW + 9, CLIENT, Allow, id="in its overlap"),
        pytest.param(token(digests=(ANOTHER, OVERLAPPING)), NOW + 10, CLIENT, Reason.UNKNOWN_TOKEN, id="behind it"),
    ],
)
async def test_what_turns_on_the_moment_is_looked_at_each_time_although_the_line_was_shown(
    held: Token, now: float, address: Address | None, reason: Reason | type[Allow]
) -> None:
    at: list[float] = [NOW]
    entrance = Entrance(Tokens(compiled(held)), clock=lambda: at[0])
    assert isinstance(entrance.admit(), Allow)
    assert BEARER in entrance.shown.lines
    at[0] = now
    for _ in range(2):
        assert reason_of(entrance.admit(address=address)) is reason


async def test_each_of_a_token_s_secrets_ends_when_its_own_digest_does() -> None:
    at: list[float] = [NOW]
    entrance = Entrance(Tokens(compiled(token(digests=(ANOTHER, OVERLAPPING)))), clock=lambda: at[0])
    old, new = BEARER, b"Authorization: Bearer " + secret_of(fill=8).reveal().encode()
    found = []
    for at[0] in (NOW, NOW + 9, NOW + 10):
        found.append([reason_of(entrance.admit(asked(RECORDS, line))) for line in (old, new)])
    assert found == [[Allow, Allow], [Allow, Allow], [Reason.UNKNOWN_TOKEN, Allow]]


@pytest.mark.parametrize(
    ("happens", "reason"),
    [
        pytest.param(lambda _: None, Allow, id="nothing"),
        pytest.param(lambda lookup: lookup.told("token:" + "1" * 32), Allow, id="another token has changed"),
        pytest.param(lambda lookup: lookup.told(f"token:{TOKEN_ID}"), Pending, id="it has changed"),
        pytest.param(lambda lookup: lookup.told(f"owner:user:{USER}"), Pending, id="its owner has changed"),
        pytest.param(lambda lookup: lookup.flush(), Pending, id="a flush"),
        pytest.param(lambda lookup: lookup.told("freeze"), Reason.FROZEN, id="a freeze"),
        pytest.param(lambda lookup: (lookup.told("freeze"), lookup.told("thaw")), Allow, id="a freeze that is over"),
        pytest.param(lambda lookup: lookup.trust.doubt(0.0), Pending, id="a connection that broke"),
    ],
)
async def test_a_shown_line_is_as_good_as_the_worker_s_memory(
    happens: Callable[[TokenLookup], None], reason: Reason | type[Allow | Pending]
) -> None:
    lookup = TokenLookup(MemoryTokenStore(), clock=lambda: 0.0)  # type: ignore[arg-type]  # nothing is read
    lookup.trust.until = 3.0
    cell = OwnerCell(b"", KNOWN.ceiling)
    lookup.cache.put_owner(f"user:{USER}", cell)
    lookup.cache.put(TOKEN_ID, Entry(KNOWN, cell, until=60.0))
    entrance = Entrance(lookup)
    assert isinstance(entrance.admit(), Allow)
    happens(lookup)
    assert reason_of(entrance.admit()) is reason


@pytest.mark.parametrize(
    ("found", "line", "stands"),
    [
        pytest.param(KNOWN, BEARER, True, id="one that proves itself"),
        pytest.param(KNOWN, KEY, True, id="in another field"),
        pytest.param(compiled(token(status=Status.DISABLED)), BEARER, True, id="one that proves a disabled token"),
        pytest.param(KNOWN, b"Authorization: Bearer" + SECRET.rjust(235), True, id="a line of 256 bytes"),
        pytest.param(KNOWN, b"Authorization: Bearer" + SECRET.rjust(236), False, id="a line of 257 bytes"),
        pytest.param(KNOWN, b"Authorization: Bearer x", False, id="junk"),
        pytest.param(KNOWN, b"Accept: */*", False, id="no credential"),
        pytest.param(compiled(token(digests=(ANOTHER,))), BEARER, False, id="a wrong secret"),
        pytest.param(
            compiled(token(digests=(msgspec.structs.replace(OVERLAPPING, ends=NOW),))), BEARER, False, id="an ended one"
        ),
        pytest.param(None, BEARER, False, id="an unknown token"),
        pytest.param(Miss.MISS, BEARER, False, id="one that nobody has compared yet"),
        pytest.param(Deny(reason=Reason.STORE_UNAVAILABLE), BEARER, False, id="an outage"),
    ],
)
async def test_a_line_stands_among_the_shown_only_once_it_was_compared_and_proved_itself(
    found: Found | Miss,
    line: bytes,
    stands: bool,  # noqa: FBT001 - a case's data
) -> None:
    entrance = Entrance(Tokens(found))
    entrance.admit(asked(RECORDS, line))
    assert list(entrance.shown.lines) == [line] * stands
    if stands:
        assert entrance.shown.lines[line].principal.token is found


async def test_a_line_whose_token_had_to_be_read_stands_there_too() -> None:
    entrance = Entrance(Tokens(Miss.MISS, KNOWN))
    assert isinstance(await entrance.decided(), Allow)
    assert entrance.shown.lines[BEARER].principal.token is KNOWN


async def test_who_shows_one_secret_in_many_lines_takes_four_places() -> None:
    entrance = Entrance(Tokens(KNOWN))
    lines = [b"Authorization: Bearer" + b" " * number + SECRET for number in range(1, 8)]
    for line in lines:
        assert isinstance(entrance.admit(asked(RECORDS, line)), Allow)
    assert list(entrance.shown.lines) == lines[-4:]


CHANGES = [
    KNOWN,
    compiled(),
    compiled(token(digests=(ANOTHER, OVERLAPPING))),
    compiled(token(digests=(ANOTHER,))),
    compiled(token(status=Status.DISABLED)),
    compiled(token(not_before=NOW, expires_on=NOW + 10, request_ip=["192.0.2.0/24"])),
    compiled(token(), owner(status=OwnerStatus.DISABLED)),
    compiled(token([])),
    None,
    Miss.MISS,
    Deny(reason=Reason.FROZEN),
]
LINES = [(BEARER,), (KEY,), (b"Authorization:Bearer " + SECRET,), (BEARER, KEY), (b"X: y",)]


@given(
    st.lists(
        st.tuples(
            st.sampled_from(CHANGES),
            st.sampled_from([NOW - 1, NOW, NOW + 9, NOW + 10]),
            st.sampled_from([CLIENT, ELSEWHERE, None]),
            st.sampled_from(LINES),
            st.sampled_from([RECORDS, "/client/v4/nowhere"]),
        ),
        max_size=30,
    )
)
async def test_whoever_was_shown_before_is_answered_like_somebody_new(
    requests: list[tuple[Found | Miss, int, Address | None, tuple[bytes, ...], str]],
) -> None:
    tokens, at = Tokens(None), [NOW]
    entrance = Entrance(tokens, clock=lambda: at[0])
    for tokens.looked, at[0], address, lines, target in requests:
        data = asked(target, *lines)
        new = Entrance(Tokens(tokens.looked), clock=lambda: at[0]).admit(data, address)
        assert entrance.admit(data, address) == new


# Requests under way.


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
    allow = Entrance(Tokens(compiled())).admit()
    assert isinstance(allow, Allow)
    assert (await Entrance(Tokens(found)).why_not(allow) is None) is goes_on
    tokens = Tokens(Miss.MISS, found)
    assert (await Entrance(tokens).why_not(allow) is None) is goes_on
    assert tokens.proved == [True]


@pytest.mark.parametrize(
    ("now", "address", "goes_on"),
    [
        pytest.param(NOW + 9, CLIENT, True, id="as it was let in"),
        pytest.param(NOW + 10, CLIENT, False, id="expired meanwhile"),
        pytest.param(NOW, ELSEWHERE, False, id="from where it may not be"),
    ],
)
async def test_while_the_store_is_away_a_request_under_way_turns_on_what_was_known(
    now: int,
    address: Address,
    goes_on: bool,  # noqa: FBT001 - a case's data
) -> None:
    known = compiled(token(expires_on=NOW + 10, request_ip=["192.0.2.0/24"]))
    allow = Entrance(Tokens(known)).admit()
    assert isinstance(allow, Allow)
    away = Entrance(Tokens(UNAVAILABLE), clock=lambda: now)
    assert (await away.why_not(allow, address) is None) is goes_on


@pytest.mark.parametrize(("now", "goes_on"), [(NOW + 9, True), (NOW + 10, False)])
async def test_a_request_of_a_rolled_secret_ends_with_its_overlap(now: int, goes_on: bool) -> None:  # noqa: FBT001 - a case's data
    tokens = Tokens(compiled(token(digests=(NO_PEPPERS.sign(secret_of(fill=8)), OVERLAPPING))))
    allow = Entrance(tokens).admit()
    assert isinstance(allow, Allow)
    assert (await Entrance(tokens, clock=lambda: now).why_not(allow) is None) is goes_on


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
    entrance = Entrance(store, store, peppers=NEW, clock=lambda: now[0])
    found = []
    with captured() as logs:
        for now[0] in (NOW, NOW, NOW + 9, NOW + 10):
            assert isinstance(await entrance.decided(), Allow)
            found.append(store.tries)
    assert found == tries
    assert len(logs) == (0 if isinstance(failure, Conflict) else 2)


async def test_a_digest_that_another_request_made_anew_is_not_written_again() -> None:
    """The memory may hold what was before, for a moment."""
    store = MemoryTokenStore().hold(token(digests=(NEW.sign(secret_of()),)))
    tokens = Tokens(compiled(token(digests=(OLD.sign(secret_of()),))))
    assert isinstance(await Entrance(tokens, store, peppers=NEW).decided(), Allow)
    assert store.actions == []


async def test_a_request_whose_digest_was_made_anew_goes_on_with_the_new_one() -> None:
    store = MemoryTokenStore().hold(token(digests=(msgspec.structs.replace(OLD.sign(secret_of()), ends=NOW + 10),)))
    entrance = Entrance(store, store, peppers=NEW)
    allow = await entrance.decided()
    assert isinstance(allow, Allow)
    assert allow.principal.digest == msgspec.structs.replace(NEW.sign(secret_of()), ends=NOW + 10)
    assert await entrance.why_not(allow) is None


async def test_a_digest_to_be_made_anew_is_pending_and_its_line_is_not_among_the_shown() -> None:
    """Whoever is known by his line alone has no secret to make a digest of."""
    held = compiled(token(digests=(OLD.sign(secret_of()),)))
    entrance = Entrance(Tokens(held), peppers=NEW)
    pending = entrance.admit()
    assert isinstance(pending, Pending)
    assert pending.principal is not None
    assert pending.principal.token is held
    assert not entrance.shown.lines


async def test_while_a_store_that_is_away_is_left_alone_no_line_of_an_old_digest_is_shown() -> None:
    """Else it would not be made anew when the store is back."""
    now = [NOW]
    store = Failing(StoreUnavailable("away")).hold(token(digests=(OLD.sign(secret_of()),)))
    entrance = Entrance(
        Tokens(compiled(token(digests=(OLD.sign(secret_of()),)))), store, peppers=NEW, clock=lambda: now[0]
    )
    tries = []
    for now[0] in (NOW, NOW + 1, NOW + 9, NOW + 10):
        assert isinstance(await entrance.decided(), Allow)
        assert not entrance.shown.lines
        tries.append(store.tries)
    assert tries == [1, 1, 1, 2]


async def test_a_secret_that_ended_is_not_made_anew() -> None:
    ended = msgspec.structs.replace(OLD.sign(secret_of()), ends=NOW)
    store = MemoryTokenStore().hold(token(digests=(ended,)))
    assert await decided(store, peppers=NEW) == Deny(reason=Reason.UNKNOWN_TOKEN)
    assert store.actions == []


class Meanwhile(MemoryTokenStore):
    """A store that takes its time: something `happens` before it answers a change."""

    def __init__(self, happens: Callable[[], None]) -> None:
        super().__init__()
        self._happens = happens

    async def replace(self, old: Record, new: Token, action: Action, by: Actor, now: float) -> bytes:
        raw = await super().replace(old, new, action, by, now)
        self._happens()
        return raw


RESIGNED = (NEW.sign(secret_of()),)


@pytest.mark.parametrize(
    ("now_found", "reason"),
    [
        pytest.param(compiled(token(digests=RESIGNED)), Allow, id="nothing else"),
        pytest.param(compiled(token(digests=(OLD.sign(secret_of()),))), Allow, id="nothing that memory has heard of"),
        pytest.param(None, Reason.UNKNOWN_TOKEN, id="deleted"),
        pytest.param(compiled(token(digests=(ANOTHER,))), Reason.UNKNOWN_TOKEN, id="rolled"),
        pytest.param(compiled(token(digests=RESIGNED, status=Status.DISABLED)), Reason.TOKEN_DISABLED, id="disabled"),
        pytest.param(compiled(token([], digests=RESIGNED)), Reason.FORBIDDEN, id="narrowed"),
        pytest.param(FROZEN, Reason.FROZEN, id="frozen"),
        pytest.param(UNAVAILABLE, Reason.STORE_UNAVAILABLE, id="an outage"),
    ],
)
async def test_what_happens_while_a_digest_is_made_anew_is_obeyed(
    now_found: Found, reason: Reason | type[Allow]
) -> None:
    for in_memory in (True, False):
        tokens = Tokens(compiled(token(digests=(OLD.sign(secret_of()),))), now_found)
        store = Meanwhile(lambda: setattr(tokens, "looked", now_found if in_memory else Miss.MISS))  # noqa: B023
        store.hold(token(digests=(OLD.sign(secret_of()),)))
        assert reason_of(await Entrance(tokens, store, peppers=NEW).decided()) is reason
        assert tokens.proved == [True] * (not in_memory)


@pytest.mark.parametrize(
    "held",
    [
        pytest.param([token(digests=RESIGNED)], id="when it is looked at"),
        pytest.param([token(digests=(OLD.sign(secret_of()),))], id="when it is changed"),
    ],
)
async def test_a_request_whose_digest_another_one_made_anew_goes_on_with_the_new_one(held: list[Token]) -> None:
    """It may go on for long, and with the old one it would be cut when memory hears of the new one."""
    store = Overtaken().hold(*held)
    tokens = Tokens(compiled(token(digests=(OLD.sign(secret_of()),))))
    allow = await Entrance(tokens, store, peppers=NEW).decided()
    assert isinstance(allow, Allow)
    heard = Entrance(Tokens(compiled((await read(store, TOKEN_ID)).token)), peppers=NEW)
    assert await heard.why_not(allow) is None


class Overtaken(MemoryTokenStore):
    """A store in which somebody else makes each change a moment before."""

    async def replace(self, old: Record, new: Token, action: Action, by: Actor, now: float) -> bytes:
        await super().replace(old, new, action, by, now)
        raise Conflict


async def test_of_many_requests_at_once_one_makes_the_digest_anew_and_all_go_on() -> None:
    store = MemoryTokenStore().hold(token(digests=(OLD.sign(secret_of()),)))
    entrance = Entrance(store, store, peppers=NEW)
    found = await asyncio.gather(*(entrance.decided() for _ in range(10)))
    assert [action for action, _ in store.actions] == [Action.RESIGN]
    for allow in found:
        assert isinstance(allow, Allow)
        assert await entrance.why_not(allow) is None


async def test_nothing_that_is_pending_shows_its_secret() -> None:
    for tokens in (Tokens(Miss.MISS), Tokens(compiled(token(digests=(OLD.sign(secret_of()),))))):
        pending = Entrance(tokens, peppers=NEW).admit()
        assert isinstance(pending, Pending)
        assert SECRET.decode() not in repr(pending)


async def test_the_admin_table_has_no_way_to_an_upstream() -> None:
    store = MemoryTokenStore().hold(token())
    deny = await Entrance(store, store, table=CATALOG.admin).decided()
    assert isinstance(deny, Deny)
    assert deny.reason is Reason.NO_ROUTE


# Facts.

ON_ACCOUNT = policy(["DNS Write", "Zone Write"], {account(ACCOUNT_A): {zone("*"): "*"}})
CREATE = b"POST /client/v4/zones HTTP/1.1\r\nHost: api.example\r\n" + BEARER + b"\r\nContent-Length: 9\r\n"
IN_ACCOUNT = json.dumps({"name": "x.example", "account": {"id": ACCOUNT_A}}).encode()
NAMED_IN_BODY = RouteTable(
    ("t", route)
    for route in read_api(
        "t",
        """
name = "named"
prefix = "/client/v4"
zone_key = "dns-name"
variables = {}

[[route]]
methods = ["POST"]
path = "/zones"
permission = ["Zone Write"]
resource = "zone:{body.name}"
""",
        CATALOG.groups,
    )[1]
)


def lacking(policies: Sequence[Policy] = (ON_ACCOUNT,), **parts: Any) -> Entrance:
    """An entrance with the token in memory; `parts` are the entrance's own."""
    return Entrance(Remembering(token(policies)), **parts)


class Remembering:
    """`Tokens` with one token in memory; a test may put another in its place, or None."""

    def __init__(self, held: Token) -> None:
        self.held: Found = compiled(held)

    def look(self, _: str) -> Found | Miss:
        return self.held

    async def fetch(self, *_: object, **__: object) -> Found:
        return self.held


async def test_an_account_that_is_in_memory_decides_at_once() -> None:
    entrance = lacking(accounts=MemoryAccounts({ZONE_A: ACCOUNT_A}, frozenset({ZONE_A})))
    assert isinstance(entrance.admit(), Allow)
    assert not entrance.accounts.asked


async def test_an_account_that_is_not_has_to_be_looked_up() -> None:
    entrance = lacking(accounts=MemoryAccounts({ZONE_A: ACCOUNT_A}))
    assert isinstance(entrance.admit(), Lacking)
    assert isinstance(await entrance.decided(), Allow)
    assert entrance.accounts.asked == [ZONE_A]
    assert entrance.read is None


async def test_where_a_policy_names_the_zone_nothing_is_lacking() -> None:
    entrance = lacking([ON_ACCOUNT, policy(["DNS Write"], [zone(ZONE_A)])])
    assert isinstance(entrance.admit(), Allow)
    assert not entrance.accounts.asked


async def test_a_token_that_has_to_be_read_may_lack_a_fact_too() -> None:
    store = MemoryTokenStore().hold(token([ON_ACCOUNT]))
    assert isinstance(await Entrance(store, store, accounts=MemoryAccounts({ZONE_A: ACCOUNT_A})).decided(), Allow)


@pytest.mark.parametrize(
    ("account_of", "reason"),
    [
        pytest.param(ACCOUNT_B, Reason.FORBIDDEN, id="another account's"),
        pytest.param(Unknown.NOT_FOUND, Reason.FORBIDDEN, id="nobody's"),
        pytest.param(Unknown.UNREACHABLE, Reason.UPSTREAM_UNREACHABLE, id="nobody can be asked"),
    ],
)
@pytest.mark.parametrize("remembered", [frozenset(), frozenset({ZONE_A})], ids=["looked up", "in memory"])
async def test_a_refusal_by_a_fact_says_whose_it_is(
    account_of: str | Unknown, reason: Reason, remembered: frozenset[str]
) -> None:
    outcome = await lacking(accounts=MemoryAccounts({ZONE_A: account_of}, remembered)).decided()
    assert isinstance(outcome, Deny)
    assert (outcome.reason, outcome.token_id, outcome.owner, outcome.route) == (
        reason,
        TOKEN_ID,
        token().owner.key,
        ROUTE,
    )


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        pytest.param(IN_ACCOUNT, Allow, id="an account of the token's"),
        pytest.param(IN_ACCOUNT.replace(ACCOUNT_A.encode(), ACCOUNT_B.encode()), Reason.FORBIDDEN, id="another one"),
        pytest.param(b"{}", Reason.FORBIDDEN, id="none"),
        pytest.param(b"", Reason.FORBIDDEN, id="no body"),
        pytest.param(b'{"account":{"id":"a"},"account":{"id":"b"}}', Reason.INVALID_BODY, id="two of them"),
    ],
)
async def test_what_the_body_names_is_judged(body: bytes, reason: Reason | type) -> None:
    entrance = lacking()
    entrance.body = body
    outcome = await entrance.decided(CREATE + b"\r\n")
    assert reason_of(outcome) is reason
    assert (entrance.asked_for, entrance.read) == ([LARGEST_BODY], body)


async def test_why_there_is_no_body_is_said_as_it_is_and_to_whom() -> None:
    entrance = lacking()
    entrance.body = Deny(reason=Reason.BODY_TOO_LARGE, detail=": so")
    outcome = await entrance.decided(CREATE + b"\r\n")
    assert outcome == Deny(
        reason=Reason.BODY_TOO_LARGE,
        detail=": so",
        token_id=TOKEN_ID,
        owner=token().owner.key,
        route="POST /client/v4/zones",
        api="cloudflare-dns",
    )


async def test_a_compressed_body_is_not_even_read() -> None:
    entrance = lacking()
    outcome = await entrance.decided(CREATE + b"Content-Encoding: gzip\r\n\r\n")
    assert (reason_of(outcome), entrance.asked_for) == (Reason.INVALID_BODY, [])
    entrance.body = IN_ACCOUNT
    assert isinstance(await entrance.decided(CREATE + b"Content-Encoding: identity\r\n\r\n"), Allow)


FORM = b"Content-Type: application/x-www-form-urlencoded"
WITH_PAIRS = IN_ACCOUNT.replace(b"{", b'{"x":"&name=y&",', 1)


@pytest.mark.parametrize(
    ("field", "body", "reads"),
    [
        pytest.param(b"Content-Type: application/json", WITH_PAIRS, True, id="JSON"),
        pytest.param(b'Content-Type: application/json; charset="UTF-8"', WITH_PAIRS, True, id="in UTF-8"),
        pytest.param(b"Content-Type: application/json; charset=ISO-8859-1", IN_ACCOUNT, True, id="in Latin 1"),
        pytest.param(b"Content-Type: application/json; charset=utf-7", IN_ACCOUNT, False, id="in UTF-7"),
        pytest.param(b'Content-Type: text/plain;x=y;CharSet = "UTF-16LE"', IN_ACCOUNT, False, id="in UTF-16"),
        pytest.param(b"Content_Type: application/json; charset=utf-7", IN_ACCOUNT, False, id="spelt otherwise"),
        pytest.param(b"Content_Encoding: deflate", IN_ACCOUNT, False, id="compressed, and spelt otherwise"),
        pytest.param(b"Content-Type: a/b; charset*=utf-8''utf-7", IN_ACCOUNT, False, id="in UTF-7, by RFC 8187"),
        pytest.param(b"Content-Type: a/b; charset*0=utf-; charset*1=7", IN_ACCOUNT, False, id="in two parts"),
        pytest.param(FORM, IN_ACCOUNT, True, id="a form that has nothing of one"),
        pytest.param(FORM, WITH_PAIRS, False, id="a form"),
        pytest.param(
            FORM + b"; charset=utf-8", IN_ACCOUNT.replace(b"{", b'{"x":";name=y;",', 1), False, id="an old one"
        ),
    ],
)
async def test_a_body_that_an_upstream_could_read_as_something_else_is_refused(
    field: bytes, body: bytes, *, reads: bool
) -> None:
    entrance = lacking()
    entrance.body = body
    outcome = await entrance.decided(CREATE + field + b"\r\n\r\n")
    assert isinstance(outcome, Allow) if reads else reason_of(outcome) is Reason.INVALID_BODY


@pytest.mark.parametrize(
    ("account_of", "reason"),
    [
        pytest.param(ACCOUNT_A, Allow, id="the token's account"),
        pytest.param(ACCOUNT_B, Reason.FORBIDDEN, id="another one"),
        pytest.param(Unknown.NOT_FOUND, Reason.FORBIDDEN, id="none"),
    ],
)
async def test_the_zone_that_a_body_names_may_have_to_be_looked_up_too(
    account_of: str | Unknown, reason: Reason | type
) -> None:
    entrance = lacking(table=NAMED_IN_BODY, accounts=MemoryAccounts({"x.example.": account_of}))
    entrance.body = b'{"name":"X.example"}'
    assert reason_of(await entrance.decided(CREATE + b"\r\n")) is reason
    assert (len(entrance.asked_for), entrance.accounts.asked) == (1, ["x.example."])


@pytest.mark.parametrize(
    ("by_then", "reason"),
    [
        pytest.param(None, Reason.UNKNOWN_TOKEN, id="deleted"),
        pytest.param(compiled(token([ON_ACCOUNT], status=Status.DISABLED)), Reason.TOKEN_DISABLED, id="disabled"),
        pytest.param(compiled(token([DNS_ON_A])), Reason.FORBIDDEN, id="narrowed"),
        pytest.param(Deny(reason=Reason.FROZEN), Reason.FROZEN, id="frozen"),
    ],
)
async def test_a_token_that_changed_while_a_fact_was_fetched_is_judged_as_it_is_then(
    by_then: Found, reason: Reason
) -> None:
    tokens = Remembering(token([ON_ACCOUNT]))
    entrance = Entrance(tokens)
    entrance.body = IN_ACCOUNT
    entrance.meanwhile = lambda: setattr(tokens, "held", by_then)
    assert reason_of(await entrance.decided(CREATE + b"\r\n")) is reason


async def test_a_request_under_way_ends_when_its_zone_moves_to_another_account() -> None:
    accounts = MemoryAccounts({ZONE_A: ACCOUNT_A})
    entrance = lacking(accounts=accounts)
    allow = await entrance.decided()
    assert isinstance(allow, Allow)
    assert await entrance.why_not(allow) is None
    accounts.accounts[ZONE_A] = Unknown.UNREACHABLE
    assert await entrance.why_not(allow) is None, "that nobody can be asked ends nothing"
    accounts.accounts[ZONE_A] = ACCOUNT_B
    assert reason_of(await entrance.why_not(allow) or allow) is Reason.FORBIDDEN


async def test_a_request_under_way_is_judged_by_the_body_that_it_had() -> None:
    entrance = lacking()
    entrance.body = IN_ACCOUNT
    allow = await entrance.decided(CREATE + b"\r\n")
    assert isinstance(allow, Allow)
    again = entrance.admission.why_not_any_more
    assert await again(allow, "POST", CLIENT, IN_ACCOUNT) is None
    assert reason_of(await again(allow, "POST", CLIENT) or allow) is Reason.FORBIDDEN

"""A session: begun by a secret, and at each request what its token is by then. Time is an argument."""

from ipaddress import ip_address
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.memory_sessions import MemorySessions
from support.records import (
    ACCOUNT,
    ACCOUNT_A,
    CATALOG,
    NOW,
    TOKEN_ID,
    USER,
    USER_SCOPE,
    account,
    owner,
    policy,
    secret_of,
    token,
    user,
)
from support.store_contract import MemoryTokenStore
from unit.server.wire import admission

from gateway.access.decision import Allow
from gateway.access.ports import Action, Actor, Miss, StoreUnavailable
from gateway.proxy.field_line import KnownLines
from gateway.reason import Deny, Reason
from gateway.server.browser import csrf_token, stored_under
from gateway.server.head import Head, HeadReader
from gateway.server.session import IDLE, LONGEST, Sessions, SignedIn, seconds_left
from gateway.server.shown_lines import ShownLines
from gateway.store.guessing import MOST_UNKNOWN
from gateway.store.sessions import SESSION_SCHEMA, Session
from gateway.tokens.digest import NO_PEPPERS, Peppers
from gateway.tokens.lifecycle import roll
from gateway.tokens.owner import OwnerKind, OwnerRef, OwnerStatus
from gateway.tokens.secret import Sensitive
from gateway.tokens.token import Status, Token

HERE, THERE = ip_address("192.0.2.7"), ip_address("198.51.100.1")
HOST = "localhost:8081"
TOKENS = "/client/v4/user/tokens"
SECRET = secret_of().reveal()
RIGHTS = policy(["API Tokens Write"], [user(USER)], scope=USER_SCOPE)
READS = policy(["API Tokens Read"], [user(USER)], scope=USER_SCOPE)


class Clock:
    def __init__(self) -> None:
        self.now = float(NOW)

    def __call__(self) -> float:
        return self.now


class Desk:
    """Sessions over a store with one token, whose policies and dates a test names."""

    def __init__(self, *held: Token, peppers: Peppers = NO_PEPPERS, tls: bool = False) -> None:
        self.clock = Clock()
        self.tokens = MemoryTokenStore()
        for each in held or (token([RIGHTS]),):
            self.tokens.hold(each, of=owner(ref=each.owner))
        self.store = MemorySessions()
        shown = ShownLines()
        self.reader = HeadReader(
            KnownLines(),
            token_fields=CATALOG.credential_fields,
            secret_fields=CATALOG.credential_fields,
            shown=shown.lines,
        )
        self.sessions = Sessions(
            self.store,
            admission(self.tokens, table=CATALOG.admin, peppers=peppers, clock=self.clock, shown=shown),
            self.reader,
            prefix=(b"client", b"v4"),
            tls=tls,
            clock=self.clock,
            randomness=self._random,
        )
        self._drawn = 0

    def _random(self, count: int) -> bytes:
        self._drawn += 1
        return self._drawn.to_bytes(count, "big")

    def head(self, target: str = TOKENS, *fields: str, method: str = "GET", cookie: str | None = None) -> Head:
        if cookie is not None:
            fields = (f"Cookie: zonegate_session={cookie}", *fields)
        lines = "".join(f"{line}\r\n" for line in (f"{method} {target} HTTP/1.1", f"Host: {HOST}", *fields))
        found = self.reader.read(f"{lines}\r\n".encode())
        assert isinstance(found, Head)
        return found

    async def sign_in(self, secret: str = SECRET, cookie: str | None = None, **rest: Any) -> SignedIn | Deny:
        return await self.sessions.sign_in(secret, self.head(cookie=cookie), rest.get("address", HERE), "a-request")

    async def signed_in(self, secret: str = SECRET) -> str:
        """The cookie of a new session."""
        found = await self.sign_in(secret)
        assert isinstance(found, SignedIn)
        return found.cookie

    async def reason(self, cookie: str, target: str = TOKENS, **rest: Any) -> Reason | None:
        """Why a request with that cookie is refused; None: it is allowed."""
        outcome = await self.sessions.admit(self.head(target, cookie=cookie), rest.get("address", HERE))
        assert isinstance(outcome, Allow | Deny)
        return outcome.reason if isinstance(outcome, Deny) else None

    async def sign_out(self, cookie: str | None) -> Deny | None:
        return await self.sessions.sign_out(self.head(cookie=cookie), HERE, "a-request")

    def put(self, changed: Token) -> None:
        self.tokens.hold(changed, of=owner(ref=changed.owner))


# Signing in.


async def test_a_token_that_may_list_tokens_signs_in_and_its_session_acts_as_its_bearer() -> None:
    desk = Desk()
    cookie = await desk.signed_in()
    outcome = await desk.sessions.admit(desk.head(cookie=cookie), HERE)
    assert isinstance(outcome, Allow)
    assert (outcome.principal.token.id, outcome.route.operation) == (TOKEN_ID, "list")


async def test_what_is_stored_is_neither_cookie_nor_secret() -> None:
    desk = Desk()
    cookie = await desk.signed_in()
    assert desk.store.held == {
        stored_under(cookie): Session(SESSION_SCHEMA, TOKEN_ID, NO_PEPPERS.sign(secret_of()), begun=NOW, seen=NOW)
    }
    assert cookie not in repr(desk.store.held)


async def test_whoever_signs_in_gets_a_cookie_that_nobody_has_seen_and_loses_the_one_he_had() -> None:
    desk = Desk()
    first = await desk.signed_in()
    second = await desk.sign_in(cookie=first)
    assert isinstance(second, SignedIn)
    assert second.cookie != first
    assert await desk.reason(first) is Reason.MISSING_CREDENTIALS
    assert await desk.reason(second.cookie) is None


async def test_blanks_around_a_secret_that_was_pasted_do_not_matter() -> None:
    assert isinstance(await Desk().sign_in(f" {SECRET}\n"), SignedIn)


REFUSED = [
    pytest.param(token([RIGHTS]), "", Reason.MALFORMED_CREDENTIALS, id="no secret"),
    pytest.param(token([RIGHTS]), "zgt_x", Reason.MALFORMED_CREDENTIALS, id="no secret of ours"),
    pytest.param(token([RIGHTS]), f"{SECRET[:-1]}!", Reason.MALFORMED_CREDENTIALS, id="a wrong character"),
    pytest.param(token([RIGHTS]), f"{SECRET}\r\nX: y", Reason.MALFORMED_CREDENTIALS, id="a line more"),
    pytest.param(token([RIGHTS]), SECRET[:-1] + "Z", Reason.MALFORMED_CREDENTIALS, id="a typing error"),
    pytest.param(token([RIGHTS]), secret_of(fill=9).reveal(), Reason.UNKNOWN_TOKEN, id="another secret"),
    pytest.param(token([RIGHTS]), secret_of("0" * 32).reveal(), Reason.UNKNOWN_TOKEN, id="an unknown token"),
    pytest.param(token([RIGHTS], status=Status.DISABLED), SECRET, Reason.TOKEN_DISABLED, id="disabled"),
    pytest.param(token([RIGHTS], expires_on=NOW), SECRET, Reason.TOKEN_EXPIRED, id="expired"),
    pytest.param(token([RIGHTS], not_before=NOW + 1), SECRET, Reason.TOKEN_NOT_YET_VALID, id="not valid yet"),
    pytest.param(token([RIGHTS], request_ip=[str(THERE)]), SECRET, Reason.IP_DENIED, id="from elsewhere"),
    pytest.param(token(), SECRET, Reason.FORBIDDEN, id="no rights on tokens"),
]


@pytest.mark.parametrize(("held", "secret", "reason"), REFUSED)
async def test_who_is_refused_as_a_bearer_is_refused_here_and_nothing_is_begun(
    held: Token, secret: str, reason: Reason
) -> None:
    desk = Desk(held)
    found = await desk.sign_in(secret)
    assert isinstance(found, Deny)
    assert found.reason is reason
    assert desk.store.held == {}


async def test_who_is_refused_keeps_the_session_that_he_has() -> None:
    desk = Desk()
    cookie = await desk.signed_in()
    assert isinstance(await desk.sign_in("junk", cookie=cookie), Deny)
    assert await desk.reason(cookie) is None


async def test_a_token_of_an_account_signs_in_where_it_may_list_the_accounts_tokens() -> None:
    ref = OwnerRef(OwnerKind.ACCOUNT, ACCOUNT_A)
    rights = policy(["Account API Tokens Read"], [account(ACCOUNT_A)], scope=ACCOUNT)
    desk = Desk(token([rights], owner=ref))
    desk.tokens.hold(token([rights], owner=ref), of=owner([rights], ref=ref))
    cookie = await desk.signed_in(secret_of(kind=OwnerKind.ACCOUNT).reveal())
    assert await desk.reason(cookie, f"/client/v4/accounts/{ACCOUNT_A}/tokens") is None
    assert await desk.reason(cookie) is Reason.FORBIDDEN


async def test_a_secret_in_its_overlap_signs_in_until_it_ends() -> None:
    old = token([RIGHTS])
    desk = Desk(roll(old, NO_PEPPERS.sign(secret_of(fill=9)), issued_by="", now=NOW, overlap=60))
    cookie = await desk.signed_in()
    desk.clock.now += 59
    assert await desk.reason(cookie) is None
    desk.clock.now += 1
    assert await desk.reason(cookie) is Reason.UNKNOWN_TOKEN


async def test_a_digest_that_is_made_anew_at_the_sign_in_is_the_sessions() -> None:
    peppers = Peppers([Sensitive("a pepper")])
    desk = Desk(peppers=peppers)
    cookie = await desk.signed_in()
    assert [session.digest for session in desk.store.held.values()] == [peppers.sign(secret_of())]
    assert await desk.reason(cookie) is None


# Each request.


async def test_a_cookie_of_no_session_is_refused_and_so_is_none() -> None:
    desk = Desk()
    await desk.signed_in()
    assert await desk.reason("A" * 43) is Reason.MISSING_CREDENTIALS
    outcome = await desk.sessions.admit(desk.head(), HERE)
    assert outcome == Deny(reason=Reason.MISSING_CREDENTIALS)


def changed(**fields: Any) -> Token:
    return msgspec.structs.replace(token([RIGHTS]), **fields)


DEAD = [
    pytest.param(changed(status=Status.DISABLED), HERE, Reason.TOKEN_DISABLED, id="disabled"),
    pytest.param(changed(expires_on=NOW), HERE, Reason.TOKEN_EXPIRED, id="expired"),
    pytest.param(changed(not_before=NOW + 9), HERE, Reason.TOKEN_NOT_YET_VALID, id="not valid yet"),
    pytest.param(token([RIGHTS], request_ip=[str(HERE)]), THERE, Reason.IP_DENIED, id="from elsewhere"),
    pytest.param(changed(policies=token().policies), HERE, Reason.FORBIDDEN, id="without its rights"),
    pytest.param(
        roll(token([RIGHTS]), NO_PEPPERS.sign(secret_of(fill=9)), issued_by="", now=NOW),
        HERE,
        Reason.UNKNOWN_TOKEN,
        id="rolled",
    ),
]


@pytest.mark.parametrize(("now_is", "address", "reason"), DEAD)
async def test_a_session_may_what_its_token_may_by_now(now_is: Token, address: Any, reason: Reason) -> None:
    desk = Desk()
    cookie = await desk.signed_in()
    desk.put(now_is)
    assert await desk.reason(cookie, address=address) is reason


async def test_a_session_whose_token_was_rolled_has_ended_though_the_old_secret_came_back() -> None:
    desk = Desk()
    cookie = await desk.signed_in()
    desk.put(roll(token([RIGHTS]), NO_PEPPERS.sign(secret_of(fill=9)), issued_by="", now=NOW))
    assert await desk.reason(cookie) is Reason.UNKNOWN_TOKEN
    desk.put(token([RIGHTS]))
    assert await desk.reason(cookie) is Reason.MISSING_CREDENTIALS


async def test_a_session_may_nothing_once_the_owner_of_its_token_is_disabled() -> None:
    desk = Desk()
    cookie = await desk.signed_in()
    desk.tokens.hold(token([RIGHTS]), of=owner(status=OwnerStatus.DISABLED))
    assert await desk.reason(cookie) is not None
    refused = await desk.sign_in()
    assert isinstance(refused, Deny)


async def test_a_session_goes_on_when_its_token_was_edited() -> None:
    desk = Desk()
    cookie = await desk.signed_in()
    desk.put(changed(name="another", policies=(READS,)))
    assert await desk.reason(cookie) is None


async def test_a_session_goes_on_in_the_overlap_of_its_secret_and_ends_with_it() -> None:
    desk = Desk()
    cookie = await desk.signed_in()
    desk.put(roll(token([RIGHTS]), NO_PEPPERS.sign(secret_of(fill=9)), issued_by="", now=NOW, overlap=60))
    assert await desk.reason(cookie) is None
    desk.clock.now += 60
    assert await desk.reason(cookie) is Reason.UNKNOWN_TOKEN


async def test_a_session_ends_with_its_token() -> None:
    desk = Desk()
    cookie = await desk.signed_in()
    desk.tokens._documents.clear()
    assert await desk.reason(cookie) is Reason.UNKNOWN_TOKEN


async def test_a_freeze_refuses_all_while_it_lasts_and_has_ended_the_sessions_then() -> None:
    class Frozen(MemoryTokenStore):
        frozen = False

        def look(self, token_id: str) -> Deny | Miss:
            del token_id
            return Deny(reason=Reason.FROZEN) if self.frozen else Miss.MISS

    desk = Desk()
    desk.tokens.__class__ = Frozen
    cookie = await desk.signed_in()
    desk.tokens.frozen = True  # type: ignore[attr-defined]
    assert await desk.reason(cookie) is Reason.FROZEN
    assert isinstance(await desk.sign_in(), Deny)
    desk.tokens.frozen = False  # type: ignore[attr-defined]
    desk.store.freeze()
    assert await desk.reason(cookie) is Reason.MISSING_CREDENTIALS


async def test_who_signed_out_is_out() -> None:
    desk = Desk()
    cookie = await desk.signed_in()
    assert await desk.sign_out(cookie) is None
    assert await desk.reason(cookie) is Reason.MISSING_CREDENTIALS
    assert desk.store.held == {}


async def test_to_sign_out_without_a_session_is_no_error() -> None:
    desk = Desk()
    assert await desk.sign_out(None) is None
    assert await desk.sign_out("A" * 43) is None


async def test_who_makes_cookies_up_to_sign_out_is_not_looked_up_for_long() -> None:
    desk = Desk()
    for number in range(MOST_UNKNOWN):
        assert await desk.sign_out(f"{number:043}") is None
    ends = desk.store.ends
    refused = await desk.sign_out("B" * 43)
    assert isinstance(refused, Deny)
    assert refused.reason is Reason.RATE_LIMITED
    assert desk.store.ends == ends


async def test_a_session_that_cannot_be_read_can_be_signed_out_of() -> None:
    desk = Desk()
    cookie = await desk.signed_in()
    desk.store.unreadable = True
    assert await desk.reason(cookie) is Reason.STORE_UNAVAILABLE
    assert await desk.sign_out(cookie) is None
    assert desk.store.held == {}


# The audit.


async def test_the_audit_tells_who_signed_in_and_out_and_from_where() -> None:
    desk = Desk()
    cookie = await desk.signed_in()
    desk.clock.now += 60
    await desk.sign_out(cookie)
    by = Actor(TOKEN_ID, f"user:{USER}", str(HERE), "a-request")
    assert desk.store.noted == [(Action.SIGN_IN, by, NOW), (Action.SIGN_OUT, by, NOW + 60)]


async def test_it_tells_nothing_of_who_was_not_in() -> None:
    desk = Desk()
    await desk.sign_in("junk")
    await desk.sign_out("A" * 43)
    cookie = await desk.signed_in()
    desk.clock.now += IDLE
    await desk.sign_out(cookie)
    assert [action for action, _, _ in desk.store.noted] == [Action.SIGN_IN]


async def test_nobody_is_in_of_whose_coming_the_audit_knows_nothing_but_everybody_gets_out() -> None:
    desk = Desk()
    cookie = await desk.signed_in()
    desk.store.note_failure = StoreUnavailable("full")
    with pytest.raises(StoreUnavailable):
        await desk.sign_in()
    assert list(desk.store.held) == [stored_under(cookie)]
    assert await desk.sign_out(cookie) is None
    assert desk.store.held == {}


def test_beside_another_credential_a_cookie_does_not_count() -> None:
    desk = Desk()
    cookie = "A" * 43
    assert desk.sessions.has_session(desk.head(cookie=cookie))
    assert not desk.sessions.has_session(desk.head(TOKENS, f"Authorization: Bearer {SECRET}", cookie=cookie))
    assert not desk.sessions.has_session(desk.head(TOKENS, "X-API-Key: x", "Authorization: junk", cookie=cookie))
    assert not desk.sessions.has_session(desk.head())


# Changes.


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE"])
async def test_a_change_is_heard_from_our_own_page_alone_and_else_costs_no_read(method: str) -> None:
    desk = Desk()
    cookie = await desk.signed_in()
    reads = desk.store.reads
    for fields in ([], [f"Origin: http://{HOST}"], [f"X-CSRF-Token: {csrf_token(cookie)}"]):
        outcome = await desk.sessions.admit(desk.head(TOKENS, *fields, method=method, cookie=cookie), HERE)
        assert isinstance(outcome, Deny)
        assert outcome.reason is Reason.CROSS_SITE
    assert desk.store.reads == reads


async def test_a_change_from_our_own_page_is_decided_as_its_tokens() -> None:
    desk = Desk()
    cookie = await desk.signed_in()
    fields = f"Origin: http://{HOST}", f"X-CSRF-Token: {csrf_token(cookie)}"
    allowed = await desk.sessions.admit(desk.head(TOKENS, *fields, method="POST", cookie=cookie), HERE)
    assert isinstance(allowed, Allow)
    assert allowed.route.operation == "create"
    desk.put(changed(policies=(READS,)))
    denied = await desk.sessions.admit(desk.head(TOKENS, *fields, method="POST", cookie=cookie), HERE)
    assert isinstance(denied, Deny)
    assert denied.reason is Reason.FORBIDDEN


async def test_the_origin_of_a_listener_with_tls_is_https() -> None:
    desk = Desk(tls=True)
    cookie = await desk.signed_in()
    named = f"Cookie: __Host-zonegate_session={cookie}"
    for scheme, heard in (("http", False), ("https", True)):
        fields = named, f"Origin: {scheme}://{HOST}", f"X-CSRF-Token: {csrf_token(cookie)}"
        outcome = await desk.sessions.admit(desk.head(TOKENS, *fields, method="POST"), HERE)
        assert isinstance(outcome, Allow) is heard


# Its ends.


@pytest.mark.parametrize(
    ("asked_at", "reason"),
    [
        pytest.param([IDLE - 1], None, id="a second before it is idle for too long"),
        pytest.param([IDLE], Reason.MISSING_CREDENTIALS, id="idle for 30 minutes"),
        pytest.param([IDLE - 1, 2 * (IDLE - 1)], None, id="each request begins the 30 minutes anew"),
        pytest.param([IDLE - 1, 2 * IDLE - 1], Reason.MISSING_CREDENTIALS, id="idle after a request"),
        pytest.param([*range(0, LONGEST, IDLE - 1), LONGEST - 1], None, id="a second before its 12 hours are over"),
        pytest.param([*range(0, LONGEST, IDLE - 1), LONGEST], Reason.MISSING_CREDENTIALS, id="after 12 hours"),
    ],
)
async def test_a_session_lasts_30_minutes_without_a_request_and_12_hours_in_all(
    asked_at: list[int], reason: Reason | None
) -> None:
    desk = Desk()
    cookie = await desk.signed_in()
    for at in asked_at[:-1]:
        desk.clock.now = float(NOW + at)
        assert await desk.reason(cookie) is None
    desk.clock.now = float(NOW + asked_at[-1])
    assert await desk.reason(cookie) is reason
    assert bool(desk.store.held) is (reason is None)


@given(st.integers(0, LONGEST), st.integers(0, LONGEST))
def test_no_session_outlasts_either_end_whatever_was_asked(seen: int, asked: int) -> None:
    session = Session(SESSION_SCHEMA, TOKEN_ID, NO_PEPPERS.sign(secret_of()), begun=NOW, seen=NOW + seen)
    lasts = seconds_left(session, NOW + asked) > 0
    assert lasts is (asked < seen + IDLE and asked < LONGEST)


async def test_the_store_is_told_to_keep_it_for_as_long_as_it_may_last() -> None:
    desk = Desk()
    cookie = await desk.signed_in()
    digest = stored_under(cookie)
    assert IDLE <= desk.store.seconds[digest] <= IDLE + 60
    for at in range(0, LONGEST, IDLE - 1):
        desk.clock.now = float(NOW + at)
        assert await desk.reason(cookie) is None
    left = NOW + LONGEST - desk.clock.now
    assert left <= desk.store.seconds[digest] <= left + 60


# The store.


async def test_a_store_that_is_away_is_said_to_be_so_and_ends_nothing() -> None:
    desk = Desk()
    cookie = await desk.signed_in()
    desk.store.failure = StoreUnavailable("away")
    assert await desk.reason(cookie) is Reason.STORE_UNAVAILABLE
    desk.store.failure = None
    assert await desk.reason(cookie) is None


async def test_a_sign_in_that_could_not_be_stored_leaves_what_was_there() -> None:
    desk = Desk()
    cookie = await desk.signed_in()
    desk.store.failure = StoreUnavailable("away", outcome_unknown=True)
    with pytest.raises(StoreUnavailable):
        await desk.sign_in(cookie=cookie)
    desk.store.failure = None
    assert list(desk.store.held) == [stored_under(cookie)]
    assert await desk.reason(cookie) is None


async def test_a_store_that_takes_no_writes_ends_no_session_before_its_time() -> None:
    desk = Desk()
    cookie = await desk.signed_in()
    desk.store.touch_failure = StoreUnavailable("full")
    desk.clock.now = float(NOW + IDLE - 1)
    assert await desk.reason(cookie) is None
    desk.clock.now = float(NOW + IDLE)
    assert await desk.reason(cookie) is Reason.MISSING_CREDENTIALS


async def test_who_makes_cookies_up_is_not_looked_up_for_long_and_stops_nobody_else() -> None:
    desk = Desk()
    cookie = await desk.signed_in()
    assert await desk.reason(cookie, address=THERE) is None
    for number in range(MOST_UNKNOWN):
        assert await desk.reason(f"{number:043}", address=THERE) is Reason.MISSING_CREDENTIALS
    reads = desk.store.reads
    assert await desk.reason("B" * 43, address=THERE) is Reason.RATE_LIMITED
    assert desk.store.reads == reads
    assert await desk.reason(cookie, address=HERE) is None
    assert await desk.reason(cookie, address=THERE) is None
    desk.clock.now += 1
    assert await desk.reason("B" * 43, address=THERE) is Reason.MISSING_CREDENTIALS


async def test_neither_cookie_nor_secret_is_in_what_is_shown_of_it() -> None:
    desk = Desk()
    found = await desk.sign_in()
    assert isinstance(found, SignedIn)
    assert found.cookie not in repr(found)
    assert SECRET not in repr(found)

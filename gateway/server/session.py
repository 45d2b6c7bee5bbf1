"""A session, and how it becomes the principal that signed in: the browser's way to be let in, beside `admission.py`.

The cookie proves that its sender signed in, and nothing else. Who that is now, and whether he may do what is asked, is
decided anew at each request by the same functions as for a bearer: the digest that was proved must be the token's, and
`decide` looks at status, dates, address, route and policies. What a session ends with, it ends with for good.
"""

from collections import OrderedDict
from collections.abc import Callable
from typing import Final, Protocol

import msgspec
import structlog

from gateway.access.decision import Allow
from gateway.access.ports import Action, Actor, StoreUnavailable
from gateway.access.principal import Principal
from gateway.catalog.target import Target
from gateway.reason import Deny, Limit, Reason
from gateway.server.admission import UNDECIDED, Admission, Pending, Undecided
from gateway.server.browser import COOKIE_BYTES, Cookie, is_change, make_value, stored_under, why_cross_site
from gateway.server.head import Head, HeadReader
from gateway.store.guessing import MOST_UNKNOWN, WINDOW, GuessLimit, network_of
from gateway.store.sessions import SESSION_SCHEMA, Session
from gateway.tokens.condition import Address
from gateway.tokens.owner import OwnerKind, OwnerRef
from gateway.tokens.secret import BARE

log = structlog.get_logger(__name__)

IDLE: Final = 30 * 60
LONGEST: Final = 12 * 60 * 60
"""Seconds that a session lasts without a request, and in all."""
SIGN_IN_AGAIN: Final = "The session has ended: sign in again"
_ENDED: Final = Deny(reason=Reason.MISSING_CREDENTIALS, note=SIGN_IN_AGAIN)
_MOST_FOUND: Final = 4096


class SessionStore(Protocol):
    """Where sessions are, by the SHA-256 (hex) of their cookies. Every method raises StoreUnavailable."""

    async def begin(self, digest: str, session: Session, seconds: int) -> None:
        """Put a new one there, for so many seconds at most; a freeze ends it."""

    async def get(self, digest: str) -> Session | None:
        """The session, or None."""

    async def touch(self, digest: str, session: Session, seconds: int) -> None:
        """Put it in the place of what it was, if that is there still."""

    async def end(self, digest: str) -> Session | None:
        """Take it away; what it was, if it was there and can be read."""

    async def note(self, action: Action, by: Actor, now: float) -> None:
        """Put into the audit that somebody signed in or out."""


class SignedIn(msgspec.Struct, frozen=True):
    """Who it is. `cookie`: the value that the browser shows from now on."""

    cookie: str
    principal: Principal

    def __repr__(self) -> str:
        return f"SignedIn({self.principal.token.id!r})"  # the cookie is a secret


def seconds_left(session: Session, now: float) -> float:
    """For how long `session` lasts if nothing more is asked; not above 0: it has ended."""
    return min(session.seen + IDLE, session.begun + LONGEST) - now


def session_cookie(*, tls: bool) -> Cookie:
    """That of who has signed in, on a listener with TLS or without."""
    return Cookie("zonegate_session", tls=tls)


class Sessions:
    """The sessions of one listener."""

    def __init__(  # noqa: PLR0913 - what it asks, and what it decides by
        self,
        store: SessionStore,
        admission: Admission,
        reader: HeadReader,
        *,
        prefix: tuple[bytes, ...],
        tls: bool,
        clock: Callable[[], float],
        randomness: Callable[[int], bytes],
    ) -> None:
        """`reader`, `admission`: the listener's own; `prefix`: of the token API; `clock`: Unix seconds; `randomness`:
        so many bytes of the operating system's.
        """
        self._store = store
        self._admission = admission
        self._reader = reader
        self._prefix = prefix
        self._clock = clock
        self._randomness = randomness
        self._limit = GuessLimit()
        self._found: OrderedDict[str, None] = OrderedDict()
        """Sessions that were there: whoever makes cookies up keeps none of these out, even from the same address."""
        self.scheme = "https" if tls else "http"
        self.cookie = session_cookie(tls=tls)
        self.visitor = Cookie("zonegate_visit", tls=tls)
        """Of who has not signed in: what is asked of him has to come from our page, too."""

    def new_value(self) -> str:
        """A cookie's value that nobody has had before."""
        return make_value(self._randomness(COOKIE_BYTES))

    # Each request.

    def has_session(self, head: Head) -> bool:
        """Whether the request turns on a session: it has its cookie, and no other credential."""
        return not head.credentials and self.cookie.value(head) is not None

    async def admit(self, head: Head, address: Address | None) -> Allow | Deny | Undecided:
        """The decision on `head`, as if the session's token had come as a bearer.

        What may change something must have been sent by our page: that is looked at first, and costs no read.
        """
        if is_change(head.method) and (deny := why_cross_site(head, self.scheme, [self.cookie.value(head)])):
            return deny
        try:
            found = await self.who(head, address)
        except StoreUnavailable as error:
            log.error("store unavailable", error=str(error))
            return Deny(reason=Reason.STORE_UNAVAILABLE)
        if isinstance(found, Deny):
            return found
        return self._admission.decide(found.principal, head.method, head.target, address)

    async def who(self, head: Head, address: Address | None) -> SignedIn | Deny:
        """Whose session it is; its 30 minutes begin anew. Whatever he asks for is not decided yet.

        Raises StoreUnavailable.
        """
        cookie = self.cookie.value(head)
        if cookie is None:
            return Deny(reason=Reason.MISSING_CREDENTIALS)
        digest, now = stored_under(cookie), self._clock()
        session = await self._find(digest, address, now)
        if isinstance(session, Deny):
            return session
        found = await self._admission.resume(session.token_id, session.digest, address)
        if isinstance(found, Deny):
            if found.reason is Reason.UNKNOWN_TOKEN:  # there is no way back for it
                await self._store.end(digest)
                return msgspec.structs.replace(found, note=SIGN_IN_AGAIN)
            return found
        await self._touch(digest, session, now)
        return SignedIn(cookie, found)

    async def _find(self, digest: str, address: Address | None, now: float) -> Session | Deny:
        """The session under `digest`, if it lasts. Whoever makes cookies up costs the store only so many reads."""
        if limited := self._limited(digest, address, now):
            return limited
        session = await self._store.get(digest)
        if session is None:
            self._not_there(digest, address, now)
            return _ENDED
        self._remember(digest)
        if seconds_left(session, now) <= 0:
            await self._store.end(digest)
            return _ENDED
        return session

    def _limited(self, digest: str, address: Address | None, now: float) -> Deny | None:
        if digest in self._found or not (wait := self._limit.blocks(network_of(address), now)):
            return None
        limit = Limit(name="unknown-sessions", quota=MOST_UNKNOWN, window=int(WINDOW), wait=max(1, round(wait)))
        return Deny(reason=Reason.RATE_LIMITED, limit=limit)

    def _not_there(self, digest: str, address: Address | None, now: float) -> None:
        self._found.pop(digest, None)
        self._limit.count(network_of(address), now)

    def _remember(self, digest: str) -> None:
        self._found.pop(digest, None)
        self._found[digest] = None
        if len(self._found) > _MOST_FOUND:
            self._found.popitem(last=False)

    async def _touch(self, digest: str, session: Session, now: float) -> None:
        """A store that takes no writes ends no session before its time."""
        if int(now) <= session.seen:
            return
        seen = msgspec.structs.replace(session, seen=int(now))
        try:
            await self._store.touch(digest, seen, _kept(seen, now))
        except StoreUnavailable as error:
            log.warning("session not prolonged", token=session.token_id, error=str(error))

    def may_stay(self, principal: Principal, address: Address | None) -> Allow | Deny:
        """Whether the dashboard is open to `principal`: he may list his owner's tokens, now and from there."""
        return self.may_see(principal, principal.token.owner, address)

    def may_see(self, principal: Principal, owner: OwnerRef, address: Address | None) -> Allow | Deny:
        """Whether `principal` may list the tokens of `owner`, were he to ask now and from there."""
        decided = self._admission.decide(principal, "GET", self.tokens_of(owner), address)
        return Deny(reason=Reason.FORBIDDEN) if isinstance(decided, UNDECIDED) else decided

    def tokens_of(self, owner: OwnerRef) -> Target:
        """Where the token API has the tokens of `owner`."""
        if owner.kind is OwnerKind.USER:
            return self._target(b"user", b"tokens")
        return self._target(b"accounts", owner.id.encode("ascii"), b"tokens")

    def _target(self, *segments: bytes) -> Target:
        return Target((*self._prefix, *segments))

    # Signing in and out.

    async def sign_in(self, secret: str, head: Head, address: Address | None, request_id: str) -> SignedIn | Deny:
        """A new session for the token whose secret is shown, or why there is none. Raises StoreUnavailable.

        The secret goes the way of every bearer: the token is looked up, and the secret compared, as if it had come in
        the head of a request to see that token. `head`: of the request to sign in; a session that it has ends.
        """
        found = await self._proved(secret.strip(), address, request_id)
        if isinstance(found, Deny):
            return found
        allowed = self.may_stay(found, address)
        if isinstance(allowed, Deny):
            return allowed
        now = self._clock()
        # Written down first: nobody is in of whose coming the audit knows nothing.
        await self._store.note(Action.SIGN_IN, _actor(found, address, request_id), now)
        cookie = self.new_value()
        begun = Session(SESSION_SCHEMA, found.token.id, found.digest, begun=int(now), seen=int(now))
        await self._store.begin(stored_under(cookie), begun, _kept(begun, now))
        self._remember(stored_under(cookie))
        await self.end(head)
        return SignedIn(cookie, found)

    async def _proved(self, secret: str, address: Address | None, request_id: str) -> Principal | Deny:
        if not BARE.fullmatch(secret):
            return Deny(reason=Reason.MALFORMED_CREDENTIALS)
        verify = self._target(b"user", b"tokens", b"verify").path
        head = self._reader.read(
            b"GET %b HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer %b\r\n\r\n" % (verify, secret.encode("ascii"))
        )
        if not isinstance(head, Head):
            return Deny(reason=Reason.MALFORMED_CREDENTIALS)
        outcome = self._admission.admit(head, address)
        if isinstance(outcome, Pending):
            outcome = await self._admission.resolve(outcome, head, address, request_id)
        if isinstance(outcome, Allow):
            return outcome.principal
        return outcome if isinstance(outcome, Deny) else Deny(reason=Reason.FORBIDDEN)

    async def sign_out(self, head: Head, address: Address | None, request_id: str) -> Deny | None:
        """The session of `head`, if it has one, is no more. A Deny: whoever makes cookies up has to wait.

        Raises StoreUnavailable.
        """
        cookie = self.cookie.value(head)
        if cookie is None:
            return None
        digest, now = stored_under(cookie), self._clock()
        if limited := self._limited(digest, address, now):
            return limited
        session = await self._store.end(digest)
        if session is None:
            self._not_there(digest, address, now)
            return None
        if seconds_left(session, now) <= 0:
            return None
        principal = await self._admission.resume(session.token_id, session.digest, address)
        if isinstance(principal, Principal):
            try:
                await self._store.note(Action.SIGN_OUT, _actor(principal, address, request_id), now)
            except StoreUnavailable as error:
                log.warning("sign-out not in the audit", token=session.token_id, error=str(error))
        return None

    async def end(self, head: Head) -> None:
        """The session of `head`, if it has one, is no more, though nobody signed out. Raises StoreUnavailable."""
        cookie = self.cookie.value(head)
        if cookie is not None:
            await self._store.end(stored_under(cookie))


def _actor(principal: Principal, address: Address | None, request_id: str) -> Actor:
    token = principal.token
    return Actor(token_id=token.id, owner=token.owner.key, address=str(address or ""), request_id=request_id)


def _kept(session: Session, now: float) -> int:
    """Seconds that the store keeps it: a little longer than it lasts, whatever its clock."""
    return max(1, int(seconds_left(session, now))) + 60

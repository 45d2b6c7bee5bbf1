"""From a judged head to a decision: the shell around `decide`."""

import re
from collections.abc import Awaitable, Callable
from functools import lru_cache
from typing import Final

import msgspec
import structlog

from gateway.access.compiled import CompiledToken
from gateway.access.decide import decide
from gateway.access.decision import Allow, Fact, Need, ZoneAccount
from gateway.access.ports import (
    Action,
    Actor,
    Conflict,
    Miss,
    NotReplicated,
    StoreUnavailable,
    Tokens,
    TokenStore,
    ZoneAccounts,
)
from gateway.access.principal import Principal, prove, renew, resigned, resume
from gateway.access.question import NO_FACTS, Facts, Question
from gateway.catalog.api import Route
from gateway.catalog.route_table import Matched, RouteTable
from gateway.catalog.target import Target
from gateway.proxy.field_line import FieldLine
from gateway.reason import Deny, Reason
from gateway.server.head import Head
from gateway.server.shown_lines import ShownLines
from gateway.tokens.condition import Address
from gateway.tokens.credential import AUTHORIZATION, read_value
from gateway.tokens.digest import Digest, Peppers
from gateway.tokens.lifecycle import resign
from gateway.tokens.secret import Credential

log = structlog.get_logger(__name__)
_MISSING: Final = Deny(reason=Reason.MISSING_CREDENTIALS)
_MALFORMED: Final = Deny(reason=Reason.MALFORMED_CREDENTIALS)
_MOST_FACTS: Final = 2
"""Of one decision: what the body names, and the account of the zone that it names."""
_CHARSET: Final = re.compile(rb"charset[^=;]*=[\s\"]*([^\s\";,]*)")
_ASCII_IS_ASCII: Final = frozenset({b"utf-8", b"utf8", b"us-ascii", b"ascii", b"iso-8859-1", b"latin1"})
"""Charsets in which JSON has the same members as in UTF-8: all that it is made of stands in ASCII."""
_FORM: Final = b"application/x-www-form-urlencoded"
_RESIGN_PAUSE: Final = 10.0
"""Seconds after a failure: a store that is away would hold up each request."""


@lru_cache(maxsize=4096)
def label(method: str, route: Route) -> str:
    """What logs and counters call a request for `route`: there are only so many of them, whatever clients send."""
    return f"{'GET' if method == 'HEAD' else method} {route.text}"  # a GET route serves HEAD too


def _counts(principal: Principal, now: float) -> bool:
    """Whether the digest that was proved has not ended."""
    ends = principal.digest.ends
    return ends is None or now < ends


class Pending(msgspec.Struct, frozen=True, gc=False):
    """Not decided: the token has to be read, or, where it has proved itself, its digest made anew."""

    credential: Credential
    line: bytes
    field: FieldLine
    principal: Principal | None = None

    def __repr__(self) -> str:
        return f"Pending({self.credential!r})"  # the line holds the secret


class Lacking(msgspec.Struct, frozen=True, gc=False):
    """Not decided: the token has proved itself, and `fact` has to be fetched."""

    principal: Principal
    fact: Fact
    facts: Facts
    """Those that were fetched already."""


Undecided = Pending | Lacking
UNDECIDED: Final = (Pending, Lacking)
"""For isinstance, which is faster with this."""
ReadBody = Callable[[int], Awaitable[bytes | Deny]]
"""The request's body, of so many bytes at most; or why there is none."""


class Admission:
    """Who may pass one listener."""

    def __init__(  # noqa: PLR0913 - what it asks, and what it decides by
        self,
        tokens: Tokens,
        store: TokenStore,
        table: RouteTable,
        accounts: ZoneAccounts,
        *,
        peppers: Peppers,
        clock: Callable[[], float],
        shown: ShownLines,
    ) -> None:
        """`clock`: Unix seconds; `shown`: the lines of credentials that have proved themselves."""
        self._tokens = tokens
        self._store = store
        self._table = table
        self._accounts = accounts
        self._peppers = peppers
        self._clock = clock
        self._shown = shown
        self._resign_from = 0.0

    def admit(self, head: Head, address: Address | None) -> Allow | Deny | Undecided:
        """The decision on `head`, sent from `address`, if all that it turns on is in memory. Never waits."""
        shown = head.shown
        if shown is not None:
            principal = shown.principal
            # What was compared once need not be compared again, while that very token is in force.
            if self._tokens.look(principal.token.id) is principal.token and _counts(principal, self._clock()):
                return self.decide(principal, head.method, head.target, address)
        if len(head.credentials) != 1:
            return _MISSING if not head.credentials else _MALFORMED
        line, field = head.credentials[0]
        credential = read_value(field.name.decode("ascii"), field.value)
        if isinstance(credential, Deny):
            return credential
        found = self._tokens.look(credential.token_id)
        pending = Pending(credential, line, field)
        return pending if isinstance(found, Miss) else self._judge(pending, found, head, address)

    async def resolve(
        self, pending: Pending, head: Head, address: Address | None, request_id: str
    ) -> Allow | Deny | Lacking:
        """The decision on `head`, with what was pending fetched, or done."""
        principal = pending.principal
        if principal is None:
            found = await self._tokens.fetch(pending.credential.token_id, address)
            outcome = self._judge(pending, found, head, address)
            if not isinstance(outcome, Pending):
                return outcome
            principal = outcome.principal
            assert principal is not None  # noqa: S101 - `_judge` leaves nothing else pending
        digest = await self._resign(principal, pending.credential, request_id)
        # That took its time: the token that was proved may be another one by now, or none.
        found = await self._in_force(principal.token.id, address)
        if isinstance(found, Deny):
            return found
        proved = prove(pending.credential, found, self._peppers, self._clock())
        if isinstance(proved, Deny):
            return proved
        if digest is not None and not self._peppers.is_current(proved.digest):
            proved = resigned(proved, digest)  # memory has not heard of it yet
        return self.decide(proved, head.method, head.target, address)

    def _judge(
        self, pending: Pending, found: CompiledToken | Deny | None, head: Head, address: Address | None
    ) -> Allow | Deny | Undecided:
        """The decision, now that the token was `found`, or not."""
        if isinstance(found, Deny):
            return found
        now = self._clock()
        principal = prove(pending.credential, found, self._peppers, now)
        if isinstance(principal, Deny):
            return principal
        if self._peppers.is_current(principal.digest):
            self._shown.enter(pending.line, pending.field, principal)
        elif now >= self._resign_from:
            return msgspec.structs.replace(pending, principal=principal)
        return self.decide(principal, head.method, head.target, address)

    def decide(  # noqa: PLR0913 - what a request is, and what is known of it
        self,
        principal: Principal,
        method: str,
        target: Target,
        address: Address | None,
        facts: Facts = NO_FACTS,
        *,
        encoded: bool = False,
    ) -> Allow | Deny | Lacking:
        """The decision on a proved token's request, at this moment. `encoded`: see `Question`."""
        match = self._table.match(method, target.segments)
        ask = Question(
            principal=principal,
            address=address,
            target=target,
            match=match,
            now=self._clock(),
        )
        if facts is not NO_FACTS or encoded:  # most requests turn on none, and none of them shall pay for it
            ask = msgspec.structs.replace(ask, facts=facts, encoded=encoded)
        decision = decide(ask)
        if isinstance(decision, Need):
            fact = decision.fact
            if not _is_there(fact, facts):
                account = self._accounts.known(fact.api, fact.zone) if isinstance(fact, ZoneAccount) else None
                if account is None:
                    return Lacking(principal, fact, facts)
                facts = msgspec.structs.replace(facts, account=account)
                return self.decide(principal, method, target, address, facts, encoded=encoded)
            decision = Deny(reason=Reason.FORBIDDEN)
        if isinstance(decision, Deny):
            return _noted(decision, principal, method, match.route if isinstance(match, Matched) else None)
        return decision

    async def settle(
        self, lacking: Lacking, head: Head, address: Address | None, read_body: ReadBody
    ) -> tuple[Allow | Deny, bytes | None]:
        """The decision on `head`, with what was lacking fetched; and the body, if that had to be read."""
        encoded = _is_encoded(head)
        for _ in range(_MOST_FACTS):
            principal, fact, facts = lacking.principal, lacking.fact, lacking.facts
            if isinstance(fact, ZoneAccount):
                facts = msgspec.structs.replace(facts, account=await self._accounts.find(fact.api, fact.zone))
            elif not encoded:
                body = await read_body(fact.limit)
                if isinstance(body, Deny):
                    return _noted(body, principal, head.method, self._route(head)), None
                facts = msgspec.structs.replace(facts, body=body)
                encoded = _is_form(head, body)
            # That took its time: the token that was proved may be another one by now, or none.
            found = await self._in_force(principal.token.id, address)
            if isinstance(found, Deny):
                return found, facts.body
            renewed = renew(principal, found, self._clock())
            if renewed is None:
                return Deny(reason=Reason.UNKNOWN_TOKEN, token_id=principal.token.id), facts.body
            outcome = self.decide(renewed, head.method, head.target, address, facts, encoded=encoded)
            if not isinstance(outcome, Lacking):
                return outcome, facts.body
            lacking = outcome
        return _noted(Deny(reason=Reason.FORBIDDEN), lacking.principal, head.method, self._route(head)), facts.body

    def _route(self, head: Head) -> Route | None:
        match = self._table.match(head.method, head.target.segments)
        return match.route if isinstance(match, Matched) else None

    async def why_not_any_more(
        self, allow: Allow, method: str, address: Address | None, body: bytes | None = None
    ) -> Deny | None:
        """Why a request under way would be refused by now; None if it would not. `body`: the one that was judged.

        A store that is away ends nothing by itself: then it turns on what was known of the token. Nor does an upstream
        that cannot be asked for the account of a zone.
        """
        now = await self.again(allow, method, address, body)
        return now if isinstance(now, Deny) and now.reason is not Reason.UPSTREAM_UNREACHABLE else None

    async def again(
        self, allow: Allow, method: str, address: Address | None, body: bytes | None = None
    ) -> Allow | Deny:
        """What by now is decided on a request that was allowed: see `why_not_any_more`."""
        principal = allow.principal
        found = await self._in_force(principal.token.id, address)
        if isinstance(found, Deny):
            if found.reason is Reason.FROZEN:
                return found
            found = principal.token
        renewed = renew(principal, found, self._clock())
        if renewed is None:
            return Deny(reason=Reason.UNKNOWN_TOKEN, token_id=principal.token.id)
        now = self.decide(renewed, method, allow.target, address, Facts(body=body))
        if isinstance(now, Lacking) and isinstance(now.fact, ZoneAccount):
            account = await self._accounts.find(now.fact.api, now.fact.zone)
            facts = msgspec.structs.replace(now.facts, account=account)
            now = self.decide(renewed, method, allow.target, address, facts)
        if isinstance(now, Lacking):
            return _noted(Deny(reason=Reason.FORBIDDEN), renewed, method, allow.route)
        return now

    @staticmethod
    def held_up(deny: Deny, allow: Allow, method: str) -> Deny:
        """What is said to a request that may pass, but for `deny`: it comes too soon, or nobody can count it."""
        return _noted(deny, allow.principal, method, allow.route)

    async def resume(self, token_id: str, digest: Digest, address: Address | None) -> Principal | Deny:
        """The principal that the token was, when `digest` was proved, as it is now: as if it came as a bearer."""
        found = await self._in_force(token_id, address)
        if isinstance(found, Deny):
            return found
        principal = resume(digest, found, AUTHORIZATION, self._clock())
        return Deny(reason=Reason.UNKNOWN_TOKEN, token_id=token_id) if principal is None else principal

    async def _in_force(self, token_id: str, address: Address | None) -> CompiledToken | Deny | None:
        """What by now is in force in the place of the token that was proved."""
        found = self._tokens.look(token_id)
        if isinstance(found, Miss):
            return await self._tokens.fetch(token_id, address, proved=True)
        return found

    async def _resign(self, principal: Principal, credential: Credential, request_id: str) -> Digest | None:
        """The digest of the principal's secret made anew by the pepper that signs now, once it is in the store: by this
        request or by one that was faster. None if that failed: a later use tries again.
        """
        token_id = principal.token.id
        digest = msgspec.structs.replace(self._peppers.sign(credential.secret), ends=principal.digest.ends)
        try:
            record = await self._store.get(token_id)
            if record is not None and principal.digest in record.token.digests:
                by = Actor(token_id=token_id, owner=record.token.owner.key, address="", request_id=request_id)
                new = resign(record.token, principal.digest, digest)
                try:
                    await self._store.replace(record, new, Action.RESIGN, by, self._clock())
                except Conflict:
                    record = await self._store.get(token_id)
                else:
                    return digest
        except (StoreUnavailable, NotReplicated):
            self._resign_from = self._clock() + _RESIGN_PAUSE
            log.warning("digest not made anew", token=token_id)
            return None
        return digest if record is not None and digest in record.token.digests else None


def _is_there(fact: Fact, facts: Facts) -> bool:
    """Whether `fact` was fetched already: then it is not asked for again."""
    return (facts.account if isinstance(fact, ZoneAccount) else facts.body) is not None


def _values(head: Head, plain: bytes) -> list[bytes]:
    """Values, in lower case, of the fields that some upstream may take for the one called `plain`."""
    return [field.value.lower() for field in (*head.ordinary, *head.special) if field.plain == plain]


def _is_encoded(head: Head) -> bool:
    """Whether the body is another form of what is meant: compressed, or in a charset of which an ASCII text may be
    another one (in UTF-7, `+ACI-` is a quotation mark).
    """
    charsets = [found for value in _values(head, b"content-type") for found in _CHARSET.findall(value)]
    return any(value != b"identity" for value in _values(head, b"content-encoding")) or not (
        _ASCII_IS_ASCII.issuperset(charsets)
    )


def _is_form(head: Head, body: bytes) -> bool:
    """Whether an upstream that takes forms too would find other members in `body`: `{"a":"&name=b&"}` is such a form.

    That it is said to be one is not enough, curl says so of all that it sends.
    """
    return (b"&" in body or b";" in body) and any(value.startswith(_FORM) for value in _values(head, b"content-type"))


def _noted(deny: Deny, principal: Principal, method: str, route: Route | None) -> Deny:
    """`deny`, with whom it was said to, and what of."""
    token_id, owner = principal.token.id, principal.token.owner.key
    if route is None:
        return msgspec.structs.replace(deny, token_id=token_id, owner=owner)
    return msgspec.structs.replace(deny, token_id=token_id, owner=owner, route=label(method, route), api=route.api.name)

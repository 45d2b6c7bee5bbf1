"""The operation that ends leaked tokens: whoever has found secrets shows them (DESIGN 9, an extension of ours).

A secret in the list proves itself as one in a request does; who shows it could do anything with it, ending it too. An
id that is not there and a secret that is wrong look alike, and what is looked up in vain counts as guessing.
"""

from collections.abc import Callable, Mapping
from enum import StrEnum
from typing import Any, Final

import msgspec

from gateway.access.ports import Action, Conflict, Miss, Tokens, TokenStore
from gateway.access.principal import Record
from gateway.admin.request import ATTEMPTS, CHANGED, Operation, Request, invalid
from gateway.reason import Answer, Deny, Fault, Reason, succeed
from gateway.server.client_address import parse_address
from gateway.server.client_connection import too_large
from gateway.tokens import lifecycle
from gateway.tokens.digest import Digest, Peppers
from gateway.tokens.leaked import LARGEST_REPORT, read_report
from gateway.tokens.news import Event, Tell, news_of
from gateway.tokens.secret import Credential
from gateway.tokens.token import Status, Token

_NOT_ALL: Final = (10429, "Not all were looked up: too many were unknown; report these again in a second")


class Outcome(StrEnum):
    """What became of a secret that was reported."""

    DISABLED = "disabled"
    ALREADY_DISABLED = "already_disabled"
    OVERLAP_ENDED = "overlap_ended"
    UNKNOWN = "unknown"
    MALFORMED = "malformed"
    NOT_LOOKED_UP = "not_looked_up"


class LeakedTokens:
    """What a route names by `operations`. It raises StoreUnavailable, NotReplicated."""

    def __init__(
        self, store: TokenStore, tokens: Tokens, peppers: Peppers, clock: Callable[[], float], tell: Tell
    ) -> None:
        """`tokens`: where ids are looked up, with its limit for guessing; `clock`: Unix seconds."""
        self._store = store
        self._tokens = tokens
        self._peppers = peppers
        self._clock = clock
        self._tell = tell

    @property
    def operations(self) -> Mapping[str, Operation]:
        """By the name that routes have for them."""
        return {"leaked": self._leaked}

    async def _leaked(self, request: Request) -> Answer | Deny:
        """One after the other, in their order: what was interrupted is reported once more, and goes on."""
        if len(request.call.body) > LARGEST_REPORT:
            return too_large(LARGEST_REPORT)
        found = read_report(request.call.body)
        faults = tuple(each for each in found if isinstance(each, Fault))
        if faults:
            return invalid(*faults)
        shown: list[dict[str, Any]] = []
        for secret in found:
            outcome = await self._end(request, secret) if isinstance(secret, Credential) else Outcome.MALFORMED
            if isinstance(outcome, Deny):
                return outcome
            shown.append({"id": secret.token_id if isinstance(secret, Credential) else None, "outcome": outcome})
        is_all = all(each["outcome"] is not Outcome.NOT_LOOKED_UP for each in shown)
        return succeed(shown, messages=[] if is_all else [_NOT_ALL])

    async def _end(self, request: Request, secret: Credential) -> Outcome | Deny:
        found = self._tokens.look(secret.token_id)
        if isinstance(found, Miss):
            found = await self._tokens.fetch(secret.token_id, parse_address(request.call.address))
        if isinstance(found, Deny):
            return Outcome.NOT_LOOKED_UP if found.reason is Reason.RATE_LIMITED else found
        if found is None:
            self._peppers.compare_in_vain(secret.secret, self._clock())
            return Outcome.UNKNOWN
        for _ in range(ATTEMPTS):
            record = await self._store.get(secret.token_id)
            if record is None:
                return Outcome.UNKNOWN
            try:
                return await self._end_once(request, secret, record)
            except Conflict:
                continue
        return CHANGED

    async def _end_once(self, request: Request, secret: Credential, record: Record) -> Outcome:
        """It is ended, if it is what `record` says. Raises Conflict."""
        now, token = self._clock(), record.token
        digest = self._proved(secret, token, now)
        if digest is None:
            return Outcome.UNKNOWN
        if digest.ends is not None:
            new, outcome = lifecycle.end_overlap(token, digest, now), Outcome.OVERLAP_ENDED
        elif token.status is Status.DISABLED:
            return Outcome.ALREADY_DISABLED
        else:
            new = msgspec.structs.replace(token, status=Status.DISABLED, modified_on=int(now))
            outcome = Outcome.DISABLED
        await self._store.replace(record, new, Action.LEAKED, request.actor, now)
        self._tell(news_of(Event.LEAKED, new, now))
        return outcome

    def _proved(self, secret: Credential, token: Token, now: float) -> Digest | None:
        """The digest of `token` that the secret proves. Each is compared: time does not tell which it was."""
        proved = [digest for digest in token.digests if self._peppers.proves(digest, secret.secret, now)]
        return proved[0] if proved and token.owner.kind is secret.kind else None

"""From a judged head to a decision: the shell around `decide`."""

from collections.abc import Callable

import msgspec
import structlog

from gateway.access.decide import decide
from gateway.access.decision import Allow, Need
from gateway.access.ports import Action, Actor, Conflict, StoreUnavailable, TokenStore
from gateway.access.principal import Principal, Record, prove
from gateway.access.question import Question
from gateway.catalog.route_table import RouteTable
from gateway.reason import Deny, Reason
from gateway.server.head import Head
from gateway.tokens.condition import Address
from gateway.tokens.credential import read_credential
from gateway.tokens.digest import Peppers
from gateway.tokens.lifecycle import resign
from gateway.tokens.secret import Credential

log = structlog.get_logger(__name__)


class Admission:
    """Who may pass one listener."""

    def __init__(
        self,
        store: TokenStore,
        table: RouteTable,
        *,
        credential_fields: frozenset[str],
        peppers: Peppers,
        clock: Callable[[], float],
    ) -> None:
        """`credential_fields`: lower-case names of the fields in which a token may come; `clock`: Unix seconds."""
        self._store = store
        self._table = table
        self._credential_fields = credential_fields
        self._peppers = peppers
        self._clock = clock

    async def admit(self, head: Head, address: Address | None, request_id: str) -> Allow | Deny:
        """The decision on `head`, sent from `address`."""
        credential = read_credential(head.fields, self._credential_fields)
        if isinstance(credential, Deny):
            return credential
        try:
            record = await self._store.get(credential.token_id)
            principal = prove(credential, record, self._peppers, self._clock())
        except StoreUnavailable as error:
            log.error("store unavailable", error=str(error))
            return Deny(reason=Reason.STORE_UNAVAILABLE)
        except ValueError as error:
            log.error("record unreadable", token=credential.token_id, error=str(error))
            return Deny(reason=Reason.STORE_UNAVAILABLE)
        if isinstance(principal, Deny):
            return principal
        if record is not None and not self._peppers.is_current(principal.digest):
            await self._resign(record, principal, credential, request_id)
        decision = decide(
            Question(
                principal=principal,
                address=address,
                target=head.target,
                match=self._table.match(head.method, head.target.segments),
                now=self._clock(),
            )
        )
        if isinstance(decision, Need):
            decision = Deny(reason=Reason.FORBIDDEN)
        if isinstance(decision, Deny):
            return msgspec.structs.replace(decision, token_id=principal.token.id)
        return decision

    async def _resign(self, record: Record, principal: Principal, credential: Credential, request_id: str) -> None:
        """Make the proved digest anew with the pepper that signs now. If that fails, the next use tries again."""
        new = resign(record.token, principal.digest, self._peppers.sign(credential.secret))
        by = Actor(token_id=record.token.id, owner=record.token.owner.key, address="", request_id=request_id)
        try:
            await self._store.replace(record, new, Action.RESIGN, by, self._clock())
        except (StoreUnavailable, Conflict):
            log.warning("digest not made anew", token=record.token.id)

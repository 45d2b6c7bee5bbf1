"""The operations of the token API (token API: Endpoints). `catalog/token_api.toml` says which route does which.

Those on tokens are the same under `/user/tokens` and under `/accounts/{account_id}/tokens`: the route says whose tokens
it is about, and nobody sees any other's.
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from types import MappingProxyType
from typing import Final, Protocol, TypeVar
from urllib.parse import unquote
from weakref import WeakValueDictionary

import msgspec
import structlog

from gateway.access.decision import Allow
from gateway.access.granting import Grant
from gateway.access.ports import Action, Conflict, NotReplicated, StoreUnavailable, TokenStore, ZoneAccounts
from gateway.access.principal import Record
from gateway.admin.audit import Trail, show_audit
from gateway.admin.authority import Authority, with_zones
from gateway.admin.owner_api import OwnerApi
from gateway.admin.query import is_cascade, list_query, parameters
from gateway.admin.request import ATTEMPTS, CHANGED, Operation, Randomness, Request, entity_tag, invalid, matches
from gateway.admin.zone_api import Pins, ZoneApi
from gateway.catalog.api import Api, Route
from gateway.reason import Answer, Deny, Fault, Reason, succeed
from gateway.server.ports import Call
from gateway.store.use import Use
from gateway.tokens import lifecycle
from gateway.tokens.digest import Peppers
from gateway.tokens.news import Event, Tell, news_of
from gateway.tokens.owner import OwnerKind, is_owner
from gateway.tokens.permission_group import PermissionGroups
from gateway.tokens.policy import without_ids
from gateway.tokens.representation import show_group, show_token
from gateway.tokens.secret import Sensitive, make_secret
from gateway.tokens.timestamp import format_timestamp
from gateway.tokens.token import LARGEST_DOCUMENT, Status, Token
from gateway.tokens.validation import validate_roll, validate_token

log = structlog.get_logger(__name__)

_VALID: Final = (10000, "This API Token is valid and active")
_IN_OVERLAP: Final = (10001, "This secret was rolled: it works until expires_on, beside the new one")
_OVERLAP_ENDED: Final = (10001, "This secret was rolled, and its overlap has ended; the token and its new secret go on")
_NO_TOKEN: Final = Deny(reason=Reason.NOT_FOUND, detail="token")
_NO_ACCOUNT: Final = Deny(reason=Reason.NOT_FOUND, detail="account")
_UNKNOWN_TOKEN: Final = Deny(reason=Reason.UNKNOWN_TOKEN)
_FIRST_OWNER: Final = frozenset(
    {
        "audit",
        *("list-owners", "create-owner", "get-owner", "update-owner", "delete-owner"),
        *("get-zone", "set-zone", "unset-zone"),
    }
)
"""What is about all owners: a right on the first owner's user. Any other user's All Permissions are about himself."""
_CHANGES: Final = frozenset({"create", "update", "roll", "create-owner", "update-owner", "set-zone", "unset-zone"})
"""What a secret in its overlap may not do. To end something it is good enough."""
_ATTEMPTS_TO_END: Final = 100
"""More than for a change: somebody may go on changing what is to be ended."""

Done = TypeVar("Done")


class UseReader(Protocol):
    """What tokens were used for, as far as it is known. Never raises."""

    async def last_used(self, token_ids: Sequence[str]) -> list[int | None]:
        """When each was last used (Unix seconds)."""

    async def use(self, token_id: str) -> Use:
        """All that is known of one token's use."""


class TokenApi:
    """The `TokenApi` of production."""

    def __init__(  # noqa: PLR0913 - what it asks, and what it needs to make a token
        self,
        store: TokenStore,
        groups: PermissionGroups,
        *,
        trail: Trail,
        uses: UseReader,
        peppers: Peppers,
        clock: Callable[[], float],
        randomness: Randomness,
        apis: Sequence[Api] = (),
        routes: Iterable[Route] = (),
        accounts: ZoneAccounts | None = None,
        pins: Pins | None = None,
        more: Mapping[str, Operation] = MappingProxyType({}),
        tell: Tell = lambda _: None,
    ) -> None:
        """`clock`: Unix seconds; `randomness`: so many bytes of the operating system's; `apis`, `routes`: those that
        are served; `accounts` None: in which account a zone lies is never known; `pins` None: there are no zones to put
        down; `more`: operations that stand for themselves; `tell`: who hears of rolls.
        """
        self._store = store
        self._groups = groups
        self._trail = trail
        self._uses = uses
        self._peppers = peppers
        self._clock = clock
        self._randomness = randomness
        self._apis = frozenset(api.name for api in apis)
        zoned = with_zones(routes)
        self._authority = Authority(store, groups, zoned, accounts)
        self._tell = tell
        self._turns: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()
        owners = OwnerApi(
            store,
            groups,
            self._authority,
            apis=self._apis,
            peppers=peppers,
            clock=clock,
            randomness=randomness,
        )
        self._operations: Mapping[str, Operation] = {
            **more,
            **owners.operations,
            **(ZoneApi(pins, zoned, clock).operations if pins is not None else {}),
            "list": self._list,
            "create": self._create,
            "verify": self._verify,
            "permission-groups": self._permission_groups,
            "get": self._get,
            "update": self._update,
            "delete": self._delete,
            "roll": self._roll,
            "revoke-self": self._revoke_self,
            "audit": self._audit,
        }

    @property
    def operations(self) -> frozenset[str]:
        """What a route of ours may name."""
        return frozenset(self._operations)

    async def answer(self, allow: Allow, call: Call) -> Answer | Deny:
        """See `TokenApi.answer`."""
        try:
            return await self._answer(allow.route.operation, Request(allow, call))
        except StoreUnavailable as error:
            log.error("store unavailable", error=str(error), request_id=call.request_id)
            return Deny(reason=Reason.STORE_UNAVAILABLE, outcome_unknown=error.outcome_unknown)
        except NotReplicated:
            log.error("change not replicated", request_id=call.request_id)
            return Deny(reason=Reason.NOT_REPLICATED)

    async def _answer(self, operation: str, request: Request) -> Answer | Deny:
        if operation in _FIRST_OWNER and request.owner != await self._store.first_owner():
            needs = request.allow.route.permissions
            note = f"This needs {' or '.join(needs)} on the first owner's user"
            return Deny(reason=Reason.FORBIDDEN, needs=needs, note=note)
        if operation in _CHANGES and (deny := self._authority.secret_denies(request)):
            return deny
        return await self._operations[operation](request)

    async def _list(self, request: Request) -> Answer | Deny:
        query = list_query(request.call.query)
        if isinstance(query, Deny):
            return query
        now = self._clock()
        page = await self._store.page(
            request.owner,
            start=(query.page - 1) * query.per_page,
            count=query.per_page,
            descending=query.descending,
            include_expired=query.include_expired,
            now=now,
        )
        last_used = await self._uses.last_used([token.id for token in page.tokens])
        return succeed(
            [show_token(token, self._groups, now, used) for token, used in zip(page.tokens, last_used, strict=True)],
            result_info=query.info(page.tokens, page.total),
        )

    async def _create(self, request: Request) -> Answer | Deny:
        now = self._clock()
        draft = validate_token(request.call.body, self._groups, now, self._new_id, apis=self._apis)
        if isinstance(draft, tuple):
            return invalid(*draft)
        if not is_owner(request.owner):
            return _NO_ACCOUNT
        token_id = self._new_id()
        secret = make_secret(request.owner.kind, token_id, self._randomness(32))
        token = lifecycle.issue(
            draft,
            token_id=token_id,
            owner=request.owner,
            issued_by=request.allow.principal.token.id,
            digest=self._peppers.sign(secret),
            now=now,
        )
        if deny := _too_large(token) or await self._authority.why_not(request, _grant(token)):
            return deny
        raw = await self._store.create(token, request.actor, now)
        return await self._taken_back(request, token, raw, None) or self._show(token, raw, secret)

    async def _get(self, request: Request) -> Answer | Deny:
        record = await self._find(request)
        if record is None:
            return _NO_TOKEN
        use = await self._uses.use(record.token.id)
        shown = show_token(record.token, self._groups, self._clock(), use.last_used_on)
        if use.last_used_on is not None:
            shown["usage"] = {"last_address": use.last_address, "requests": use.requests}
        # The tag is the document's, and use is no part of it: to use a token is not to change it.
        return succeed(shown, fields=[("ETag", entity_tag(record.raw))])

    async def _update(self, request: Request) -> Answer | Deny:
        before: Token | None = None

        async def change(record: Record, now: float) -> Token | Deny:
            draft = validate_token(request.call.body, self._groups, now, self._new_id, record.token, apis=self._apis)
            if isinstance(draft, tuple):
                return invalid(*draft)
            new = lifecycle.edit(record.token, draft, issued_by=request.allow.principal.token.id, now=now)
            if too_large := _too_large(new):
                return too_large
            nonlocal before
            before = None if _only_ends(record.token, new) else record.token
            return new if before is None else await self._authority.why_not(request, _grant(new)) or new

        changed = await self._change(request, Action.UPDATE, change)
        if isinstance(changed, Deny):
            return changed
        deny = await self._taken_back(request, *changed, before) if before is not None else None
        return deny or self._show(*changed)

    async def _roll(self, request: Request) -> Answer | Deny:
        overlap = validate_roll(request.call.body)
        if isinstance(overlap, tuple):
            return invalid(*overlap)
        principal = request.allow.principal
        caller = principal.token
        secret = make_secret(request.owner.kind, request.token_id, self._randomness(32))
        before: Token | None = None

        async def change(record: Record, now: float) -> Token | Deny:
            nonlocal before
            before = token = record.token
            if token.id == caller.id and principal.digest not in token.digests:
                return _UNKNOWN_TOKEN  # rolled by somebody else meanwhile: the secret that was shown is dead
            # Whoever rolls a token has it from then on; a token has itself already, and stays its maker's.
            if token.id != caller.id and (deny := await self._authority.why_not(request, _grant(token))):
                return deny
            issued_by = token.issued_by if token.id == caller.id else caller.id
            return lifecycle.roll(token, self._peppers.sign(secret), issued_by=issued_by, now=now, overlap=overlap)

        changed = await self._change(request, Action.ROLL, change)
        if isinstance(changed, Deny):
            return changed
        if deny := await self._taken_back(request, *changed, before):
            return deny
        self._tell(news_of(Event.ROLLED, changed[0], self._clock()))
        return succeed(secret.reveal(), fields=[("ETag", entity_tag(changed[1]))])

    async def _taken_back(self, request: Request, made: Token, raw: bytes, before: Token | None) -> Deny | None:
        """Why the caller gave nothing after all: he was ended before it was written. Then it is as `before` again
        (None: not there), and no secret of it was told.

        Whoever ends a token with what it has made looks for that; what is written behind his last look is found here.
        """
        if made.id == request.allow.principal.token.id:
            return None
        caller = await self._authority.caller(request)
        if not isinstance(caller, Deny):
            return None
        with suppress(Conflict):  # somebody has changed or ended it since: then it is his
            written = Record(token=made, owner=None, raw=raw)
            if before is None:
                await self._store.delete(written, Action.DELETE, request.actor, self._clock())
            else:
                await self._store.replace(written, before, Action.UPDATE, request.actor, self._clock())
        return caller

    async def _delete(self, request: Request) -> Answer | Deny:
        cascade = is_cascade(request.call.query)
        if isinstance(cascade, Deny):
            return cascade
        if not cascade:
            return await self._end(request, request.token_id, Action.DELETE)
        revoked = await self._end_descendants(request)
        if isinstance(revoked, Deny):
            return revoked
        unconditional = Request(request.allow, msgspec.structs.replace(request.call, if_match=()))
        ended = await self._end(unconditional, request.token_id, Action.DELETE)
        return ended if isinstance(ended, Deny) else succeed({"id": request.token_id, "revoked": revoked})

    async def _end_descendants(self, request: Request) -> list[str] | Deny:
        """What the token has made is gone, and what that has made; returns their ids.

        The token itself is switched off first, and is deleted when all this is done: what was interrupted can be done
        again. A walk that finds none is the end: what still was under way when its maker was ended is found by it.
        """

        async def switch_off(record: Record, now: float) -> Token | Deny:
            return msgspec.structs.replace(record.token, status=Status.DISABLED, modified_on=int(now))

        changed = await self._change(request, Action.UPDATE, switch_off, at_once=True)
        if isinstance(changed, Deny):
            return changed
        makers, revoked = {request.token_id}, list[str]()
        while True:
            found = 0
            async for record in self._store.issued_by(makers):
                token_id = record.token.id
                if token_id != request.token_id:
                    await self._delete_surely(request, record)
                    makers.add(token_id)
                    revoked.append(token_id)
                    found += 1
            if not found:
                return revoked

    async def _delete_surely(self, request: Request, record: Record) -> None:
        found: Record | None = record
        while found is not None:
            try:
                return await self._store.delete(found, Action.DELETE, request.actor, self._clock())
            except Conflict:
                found = await self._store.get(record.token.id)
        return None

    async def _revoke_self(self, request: Request) -> Answer | Deny:
        principal = request.allow.principal
        if deny := _elsewhere(request):
            return deny
        if principal.digest.ends is None:
            return await self._end(request, principal.token.id, Action.REVOKE_SELF)

        async def end_overlap(record: Record, now: float) -> Token | Deny:
            if principal.digest not in record.token.digests:
                return _UNKNOWN_TOKEN  # rolled once more meanwhile: it is dead already
            return lifecycle.end_overlap(record.token, principal.digest, now)

        changed = await self._change(request, Action.REVOKE_SELF, end_overlap, principal.token.id)
        return changed if isinstance(changed, Deny) else succeed({"id": changed[0].id}, messages=[_OVERLAP_ENDED])

    async def _verify(self, request: Request) -> Answer | Deny:
        if deny := _elsewhere(request, strict=True):
            return deny
        token, ends = request.allow.principal.token, request.allow.principal.digest.ends
        result = {"id": token.id, "status": lifecycle.effective_status(token, self._clock())}
        for key, moment in (
            ("not_before", token.not_before),
            ("expires_on", token.expires_on if ends is None else ends),
        ):
            if moment is not None:
                result[key] = format_timestamp(moment)
        return succeed(result, messages=[_VALID] if ends is None else [_VALID, _IN_OVERLAP])

    async def _permission_groups(self, request: Request) -> Answer | Deny:
        found = parameters(request.call.query)
        if isinstance(found, Deny):
            return found
        # The SDK's documentation asks for URL-encoded values, and the SDK encodes them once more.
        name, scope = (unquote(found[key]) if key in found else None for key in ("name", "scope"))
        return succeed(
            [
                show_group(group)
                for group in self._groups
                if (name is None or group.name == name) and (scope is None or scope in group.scopes)
            ]
        )

    async def _audit(self, request: Request) -> Answer | Deny:
        return await show_audit(self._trail, self._groups, request.call.query)

    async def _find(self, request: Request, token_id: str | None = None) -> Record | None:
        """The record of a token of the owner that the call is about."""
        record = await self._store.get(token_id or request.token_id)
        if record is None or record.token.owner != request.owner:
            return None
        return record

    async def _change(
        self,
        request: Request,
        action: Action,
        change: Callable[[Record, float], Awaitable[Token | Deny]],
        token_id: str | None = None,
        *,
        at_once: bool = False,
    ) -> tuple[Token, bytes] | Deny:
        """Put what `change` makes of the token (the one in the path, unless another is named) in its place."""

        async def put(record: Record, now: float) -> tuple[Token, bytes] | Deny:
            new = await change(record, now)
            if isinstance(new, Deny):
                return new
            return new, await self._store.replace(record, new, action, request.actor, now)

        return await (self._try_at_once if at_once else self._try)(request, token_id or request.token_id, put)

    async def _end(self, request: Request, token_id: str, action: Action) -> Answer | Deny:
        async def end(record: Record, now: float) -> Answer:
            await self._store.delete(record, action, request.actor, now)
            return succeed({"id": token_id})

        return await self._try_at_once(request, token_id, end)

    async def _try(
        self, request: Request, token_id: str, step: Callable[[Record, float], Awaitable[Done | Deny]]
    ) -> Done | Deny:
        """Do `step` to the token as it is now, wholly or not at all.

        Changes of one token in this process wait for each other. When another process was faster, `step` is done anew
        on what is there then; with `If-Match` it is a 412.
        """
        lock = self._turns.setdefault(token_id, asyncio.Lock())
        async with lock:
            return await self._attempt(request, token_id, step, ATTEMPTS)

    async def _try_at_once(
        self, request: Request, token_id: str, step: Callable[[Record, float], Awaitable[Done | Deny]]
    ) -> Done | Deny:
        """As `_try`, but it waits for no other change: those may look for zones' accounts for long, and whoever has a
        token must not put off its end by changing it.
        """
        return await self._attempt(request, token_id, step, _ATTEMPTS_TO_END)

    async def _attempt(
        self, request: Request, token_id: str, step: Callable[[Record, float], Awaitable[Done | Deny]], attempts: int
    ) -> Done | Deny:
        for _ in range(attempts):
            record = await self._find(request, token_id)
            if record is None:
                return _NO_TOKEN
            if not matches(request.call.if_match, record.raw):
                return CHANGED
            try:
                return await step(record, self._clock())
            except Conflict:
                continue
        return CHANGED

    def _show(self, token: Token, raw: bytes, secret: Sensitive | None = None) -> Answer:
        shown = show_token(token, self._groups, self._clock())
        if secret is not None:
            shown["value"] = secret.reveal()
        return succeed(shown, fields=[("ETag", entity_tag(raw))])

    def _new_id(self) -> str:
        return self._randomness(16).hex()


def _elsewhere(request: Request, *, strict: bool = False) -> Deny | None:
    """Why a token is none of those that the path is about. What works for every token (not `strict`) under
    `/user/tokens` works there for an account's too.
    """
    owner, account = request.allow.principal.token.owner, request.named("account_id")
    if account is None:
        return _UNKNOWN_TOKEN if strict and owner.kind is not OwnerKind.USER else None
    return None if owner == request.owner else _UNKNOWN_TOKEN


def _grant(token: Token) -> Grant:
    return Grant(policies=token.policies, condition=token.condition, expires_on=token.expires_on, limits=token.limits)


def _only_ends(old: Token, new: Token) -> bool:
    """Whether all that `new` does is to be switched off: that gives nobody anything."""
    return new.status is Status.DISABLED and _what_it_may(old) == _what_it_may(new)


def _what_it_may(token: Token) -> tuple[object, ...]:
    return without_ids(token.policies), token.condition, token.not_before, token.expires_on, token.limits


def _too_large(token: Token) -> Deny | None:
    if len(msgspec.json.encode(token)) <= LARGEST_DOCUMENT:
        return None
    return invalid(Fault("", f"the token is over {LARGEST_DOCUMENT // 1024} KiB as stored"))

"""The operations of the token API (token API: Endpoints). `catalog/token_api.toml` says which route does which."""

import asyncio
import hashlib
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Final, Protocol, TypeVar
from urllib.parse import unquote
from weakref import WeakValueDictionary

import msgspec
import structlog

from gateway.access.decision import Allow
from gateway.access.ports import Action, Actor, Conflict, NotReplicated, StoreUnavailable, TokenStore
from gateway.access.principal import Record
from gateway.admin.audit import Trail, show_audit
from gateway.admin.query import list_query, parameters
from gateway.reason import Answer, Deny, Fault, Reason, succeed
from gateway.server.ports import Call
from gateway.store.use import Use
from gateway.tokens import lifecycle
from gateway.tokens.digest import Peppers
from gateway.tokens.permission_group import PermissionGroups
from gateway.tokens.representation import show_group, show_token
from gateway.tokens.secret import Sensitive, make_secret
from gateway.tokens.timestamp import format_timestamp
from gateway.tokens.token import LARGEST_DOCUMENT, Token
from gateway.tokens.validation import validate_roll, validate_token

log = structlog.get_logger(__name__)

_VALID: Final = (10000, "This API Token is valid and active")
_ATTEMPTS: Final = 10
_NO_TOKEN: Final = Deny(reason=Reason.NOT_FOUND, detail="token")
_CHANGED: Final = Deny(reason=Reason.PRECONDITION_FAILED)

Randomness = Callable[[int], bytes]


Done = TypeVar("Done")


class Request(msgspec.Struct, frozen=True):
    """A call, and who makes it."""

    allow: Allow
    call: Call

    @property
    def token_id(self) -> str:
        """The id in the path: `{prefix}/user/tokens/<id>`."""
        return self.allow.target.segments[len(self.allow.route.api.prefix) + 2].decode("ascii")

    @property
    def actor(self) -> Actor:
        """Who it is, for the audit."""
        token = self.allow.principal.token
        return Actor(token.id, token.owner.key, self.call.address, self.call.request_id)


def entity_tag(raw: bytes) -> str:
    """The `ETag` of a token: it changes with every byte of the stored document."""
    return f'"{hashlib.sha256(raw).hexdigest()[:32]}"'


def matches(if_match: Sequence[bytes], raw: bytes) -> bool:
    """Whether `If-Match` (RFC 9110 13.1.1) lets a change of the document `raw` happen. Weak tags never match."""
    tags = [tag.strip() for value in if_match for tag in value.split(b",")]
    return not tags or tags == [b"*"] or entity_tag(raw).encode() in tags


class UseReader(Protocol):
    """What tokens were used for, as far as it is known. Never raises."""

    async def last_used(self, token_ids: Sequence[str]) -> list[int | None]:
        """When each was last used (Unix seconds)."""

    async def use(self, token_id: str) -> Use:
        """All that is known of one token's use."""


class UserTokenApi:
    """The `TokenApi` for tokens that users own."""

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
    ) -> None:
        """`clock`: Unix seconds; `randomness`: so many bytes of the operating system's."""
        self._store = store
        self._groups = groups
        self._trail = trail
        self._uses = uses
        self._peppers = peppers
        self._clock = clock
        self._randomness = randomness
        self._turns: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()
        self._operations: Mapping[str, Callable[[Request], Awaitable[Answer | Deny]]] = {
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
            return await self._operations[allow.route.operation](Request(allow, call))
        except StoreUnavailable as error:
            log.error("store unavailable", error=str(error), request_id=call.request_id)
            return Deny(reason=Reason.STORE_UNAVAILABLE, outcome_unknown=error.outcome_unknown)
        except NotReplicated:
            log.error("change not replicated", request_id=call.request_id)
            return Deny(reason=Reason.NOT_REPLICATED)

    async def _list(self, request: Request) -> Answer | Deny:
        query = list_query(request.call.query)
        if isinstance(query, Deny):
            return query
        now = self._clock()
        page = await self._store.page(
            request.allow.principal.token.owner,
            start=(query.page - 1) * query.per_page,
            count=query.per_page,
            descending=query.descending,
            include_expired=query.include_expired,
            now=now,
        )
        last_used = await self._uses.last_used([token.id for token in page.tokens])
        return succeed(
            [show_token(token, self._groups, now, used) for token, used in zip(page.tokens, last_used, strict=True)],
            result_info={
                "page": query.page,
                "per_page": query.per_page,
                "count": len(page.tokens),
                "total_count": page.total,
                "total_pages": -(-page.total // query.per_page),
            },
        )

    async def _create(self, request: Request) -> Answer | Deny:
        now = self._clock()
        draft = validate_token(request.call.body, self._groups, now, self._new_id)
        if isinstance(draft, tuple):
            return _invalid(draft)
        caller = request.allow.principal.token
        token_id = self._new_id()
        secret = make_secret(caller.owner.kind, token_id, self._randomness(32))
        token = lifecycle.issue(
            draft,
            token_id=token_id,
            owner=caller.owner,
            issued_by=caller.id,
            digest=self._peppers.sign(secret),
            now=now,
        )
        if too_large := _too_large(token):
            return too_large
        raw = await self._store.create(token, request.actor, now)
        return self._show(token, raw, secret)

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
        def change(record: Record, now: float) -> Token | Deny:
            draft = validate_token(request.call.body, self._groups, now, self._new_id, record.token)
            if isinstance(draft, tuple):
                return _invalid(draft)
            new = lifecycle.edit(record.token, draft, issued_by=request.allow.principal.token.id, now=now)
            return _too_large(new) or new

        changed = await self._change(request, Action.UPDATE, change)
        return changed if isinstance(changed, Deny) else self._show(*changed)

    async def _roll(self, request: Request) -> Answer | Deny:
        if faults := validate_roll(request.call.body):
            return _invalid(faults)
        caller = request.allow.principal.token
        secret = make_secret(caller.owner.kind, request.token_id, self._randomness(32))

        def change(record: Record, now: float) -> Token:
            digest = self._peppers.sign(secret)
            return lifecycle.roll(record.token, digest, issued_by=caller.id, now=now)

        changed = await self._change(request, Action.ROLL, change)
        if isinstance(changed, Deny):
            return changed
        return succeed(secret.reveal(), fields=[("ETag", entity_tag(changed[1]))])

    async def _delete(self, request: Request) -> Answer | Deny:
        return await self._end(request, request.token_id, Action.DELETE)

    async def _revoke_self(self, request: Request) -> Answer | Deny:
        return await self._end(request, request.allow.principal.token.id, Action.REVOKE_SELF)

    async def _verify(self, request: Request) -> Answer | Deny:
        token = request.allow.principal.token
        result = {"id": token.id, "status": lifecycle.effective_status(token, self._clock())}
        for key, moment in (("not_before", token.not_before), ("expires_on", token.expires_on)):
            if moment is not None:
                result[key] = format_timestamp(moment)
        return succeed(result, messages=[_VALID])

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
        """The record of a token that the caller's owner owns."""
        record = await self._store.get(token_id or request.token_id)
        if record is None or record.token.owner != request.allow.principal.token.owner:
            return None
        return record

    async def _change(
        self, request: Request, action: Action, change: Callable[[Record, float], Token | Deny]
    ) -> tuple[Token, bytes] | Deny:
        """Put what `change` makes of the token in its place."""

        async def put(record: Record, now: float) -> tuple[Token, bytes] | Deny:
            new = change(record, now)
            if isinstance(new, Deny):
                return new
            return new, await self._store.replace(record, new, action, request.actor, now)

        return await self._try(request, request.token_id, put)

    async def _end(self, request: Request, token_id: str, action: Action) -> Answer | Deny:
        async def end(record: Record, now: float) -> Answer:
            await self._store.delete(record, action, request.actor, now)
            return succeed({"id": token_id})

        return await self._try(request, token_id, end)

    async def _try(
        self, request: Request, token_id: str, step: Callable[[Record, float], Awaitable[Done | Deny]]
    ) -> Done | Deny:
        """Do `step` to the token as it is now, wholly or not at all.

        Changes of one token in this process wait for each other. When another process was faster, `step` is done anew
        on what is there then; with `If-Match` it is a 412.
        """
        lock = self._turns.setdefault(token_id, asyncio.Lock())
        async with lock:
            for _ in range(_ATTEMPTS):
                record = await self._find(request, token_id)
                if record is None:
                    return _NO_TOKEN
                if not matches(request.call.if_match, record.raw):
                    return _CHANGED
                try:
                    return await step(record, self._clock())
                except Conflict:
                    continue
            return _CHANGED

    def _show(self, token: Token, raw: bytes, secret: Sensitive | None = None) -> Answer:
        shown = show_token(token, self._groups, self._clock())
        if secret is not None:
            shown["value"] = secret.reveal()
        return succeed(shown, fields=[("ETag", entity_tag(raw))])

    def _new_id(self) -> str:
        return self._randomness(16).hex()


def _invalid(faults: tuple[Fault, ...]) -> Deny:
    return Deny(reason=Reason.INVALID_BODY, faults=faults)


def _too_large(token: Token) -> Deny | None:
    if len(msgspec.json.encode(token)) <= LARGEST_DOCUMENT:
        return None
    return _invalid((Fault("", f"the token is over {LARGEST_DOCUMENT // 1024} KiB as stored"),))

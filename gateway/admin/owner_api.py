"""The operations on owners: an extension of ours, for the first owner alone (DESIGN 5).

An owner is named by its id; where a user and an account have the same, `?kind=user` or `?kind=account` says which.
"""

from collections.abc import Callable, Collection, Mapping
from contextlib import suppress
from typing import Final

import msgspec

from gateway.access.granting import Grant
from gateway.access.ports import Action, Conflict, TokenStore
from gateway.admin.authority import Authority
from gateway.admin.query import list_query, owner_kinds, parameters
from gateway.admin.request import ATTEMPTS, CHANGED, Operation, Randomness, Request, entity_tag, invalid, matches
from gateway.reason import Answer, Deny, Fault, Reason, succeed
from gateway.tokens import lifecycle
from gateway.tokens.digest import Peppers
from gateway.tokens.owner import Owner, OwnerDraft, OwnerKind, OwnerRef, OwnerStatus
from gateway.tokens.permission_group import PermissionGroups
from gateway.tokens.policy import without_ids
from gateway.tokens.representation import show_owner, show_token
from gateway.tokens.secret import make_secret
from gateway.tokens.token import LARGEST_DOCUMENT, SCHEMA, Draft, Status, Token
from gateway.tokens.validation import LONGEST_NAME, validate_owner

_NO_OWNER: Final = Deny(reason=Reason.NOT_FOUND, detail="owner")
_FIRST_STAYS: Final = "the first owner stays: zonegate freeze stops all tokens, his too"
_AT_ONCE: Final = 100


class OwnerApi:
    """What routes name by `operations`. Every one raises StoreUnavailable, NotReplicated."""

    def __init__(  # noqa: PLR0913 - what it asks, and what it needs to make a token
        self,
        store: TokenStore,
        groups: PermissionGroups,
        authority: Authority,
        *,
        apis: Collection[str],
        peppers: Peppers,
        clock: Callable[[], float],
        randomness: Randomness,
    ) -> None:
        """`apis`: names of all APIs; the rest as `TokenApi` has it."""
        self._store = store
        self._groups = groups
        self._authority = authority
        self._apis = apis
        self._peppers = peppers
        self._clock = clock
        self._randomness = randomness
        self.operations: Mapping[str, Operation] = {
            "list-owners": self._list,
            "create-owner": self._create,
            "get-owner": self._get,
            "update-owner": self._update,
            "delete-owner": self._delete,
        }

    async def _list(self, request: Request) -> Answer | Deny:
        query = list_query(request.call.query)
        if isinstance(query, Deny):
            return query
        page = await self._store.owners(
            start=(query.page - 1) * query.per_page, count=query.per_page, descending=query.descending
        )
        return succeed(
            [show_owner(owner, self._groups) for owner in page.owners], result_info=query.info(page.owners, page.total)
        )

    async def _create(self, request: Request) -> Answer | Deny:
        now = self._clock()
        draft = validate_owner(request.call.body, self._groups, self._new_id, apis=self._apis)
        if isinstance(draft, tuple):
            return invalid(*draft)
        caller = await self._authority.caller(request)
        if isinstance(caller, Deny):
            return caller
        ours = caller.token
        grant = Grant(policies=draft.policies, new_owner=draft.ref)
        if draft.ref.kind is OwnerKind.USER:
            # Nobody but the first token acts for him yet, and that one has its maker's limits. An account may have
            # tokens before it has a record: they get this ceiling too.
            grant = msgspec.structs.replace(
                grant, condition=ours.condition, expires_on=ours.expires_on, limits=ours.limits
            )
        if deny := await self._authority.why_not(request, grant):
            return deny
        owner = _owner(draft, OwnerStatus.ACTIVE, int(now), int(now))
        if too_large := _too_large(owner):
            return too_large
        token_id = self._new_id()
        secret = make_secret(owner.ref.kind, token_id, self._randomness(32))
        # It works from where, until when and as often as its maker does: an owner has no limits by which it could be
        # held.
        first = Draft(
            name=f"First token of {owner.name}"[:LONGEST_NAME],
            policies=draft.policies,
            condition=ours.condition,
            not_before=None,
            expires_on=ours.expires_on,
            status=Status.ACTIVE,
            limits=ours.limits,
        )
        token = lifecycle.issue(
            first, token_id=token_id, owner=owner.ref, issued_by=ours.id, digest=self._peppers.sign(secret), now=now
        )
        try:
            await self._store.create_owner(owner, token, request.actor, now)
        except Conflict:
            return invalid(Fault("/id", f"there is an owner of that id already: {owner.ref.kind} {owner.ref.id}"))
        if isinstance(caller := await self._authority.caller(request), Deny):  # ended before it was written
            await self._take_back(request, owner, token)
            return caller
        shown = show_token(token, self._groups, now)
        return succeed(shown | {"owner": show_owner(owner, self._groups), "value": secret.reveal()})

    async def _take_back(self, request: Request, owner: Owner, token: Token) -> None:
        """The new owner and its first token are gone again, unless somebody has changed them since."""
        first, found = await self._store.get(token.id), await self._store.get_owner(owner.ref)
        now = self._clock()
        with suppress(Conflict):
            if first is not None and first.token == token:
                await self._store.delete(first, Action.DELETE, request.actor, now)
            if found is not None and found[0] == owner:
                await self._store.change_owner(owner.ref, found[1], None, Action.OWNER_DELETE, request.actor, now)

    async def _get(self, request: Request) -> Answer | Deny:
        ref = await self._ref(request)
        if isinstance(ref, Deny):
            return ref
        found = await self._store.get_owner(ref)
        return self._show(*found) if found else _NO_OWNER

    async def _update(self, request: Request) -> Answer | Deny:
        ref = await self._ref(request)
        if isinstance(ref, Deny):
            return ref
        for _ in range(ATTEMPTS):
            found = await self._store.get_owner(ref)
            if found is None:
                return _NO_OWNER
            old, raw = found
            if not matches(request.call.if_match, raw):
                return CHANGED
            now = self._clock()
            new = await self._changed(request, old, now)
            if isinstance(new, Deny):
                return new
            try:
                return self._show(new, await self._put(request, raw, new, now))
            except Conflict:
                continue
        return CHANGED

    async def _changed(self, request: Request, old: Owner, now: float) -> Owner | Deny:
        """What the body makes of `old`, if the caller may."""
        draft = validate_owner(request.call.body, self._groups, self._new_id, old, apis=self._apis)
        if isinstance(draft, tuple):
            return invalid(*draft)
        new = _owner(draft, old.status, old.issued_on, int(now))
        if new.status is OwnerStatus.DISABLED:
            if old.ref == await self._store.first_owner():
                return invalid(Fault("/status", _FIRST_STAYS))
            if without_ids(new.policies) == without_ids(old.policies):
                return _too_large(new) or new  # to switch off gives nobody anything
        grant = Grant(policies=new.policies, new_owner=new.ref)
        return await self._authority.why_not(request, grant) or _too_large(new) or new

    async def _delete(self, request: Request) -> Answer | Deny:
        """First nothing of it works any more, then its tokens go, then itself: at each moment it can be done anew."""
        ref = await self._ref(request)
        if isinstance(ref, Deny):
            return ref
        if ref == await self._store.first_owner():
            return Deny(reason=Reason.FORBIDDEN, note=f"{_FIRST_STAYS[0].upper()}{_FIRST_STAYS[1:]}")
        for attempt in range(ATTEMPTS):
            found = await self._store.get_owner(ref)
            if found is None:
                return _NO_OWNER
            old, raw = found
            if attempt == 0 and not matches(request.call.if_match, raw):
                return CHANGED
            now = self._clock()
            try:
                if old.status is OwnerStatus.ACTIVE:
                    off = msgspec.structs.replace(old, status=OwnerStatus.DISABLED, modified_on=int(now))
                    raw = await self._put(request, raw, off, now)
                count = await self._delete_tokens(request, ref)
                await self._store.change_owner(ref, raw, None, Action.OWNER_DELETE, request.actor, self._clock())
            except Conflict:
                continue
            return succeed({"id": ref.id, "kind": ref.kind, "tokens": count})
        return CHANGED

    async def _delete_tokens(self, request: Request, ref: OwnerRef) -> int:
        """All tokens of `ref` are gone; says how many there were. Raises Conflict if one was changed meanwhile."""
        count = 0
        while True:
            now = self._clock()
            page = await self._store.page(ref, start=0, count=_AT_ONCE, descending=False, include_expired=True, now=now)
            if not page.tokens:
                return count
            for token in page.tokens:
                record = await self._store.get(token.id)
                if record is not None:
                    await self._store.delete(record, Action.DELETE, request.actor, now)
                    count += 1

    async def _put(self, request: Request, raw: bytes, new: Owner, now: float) -> bytes:
        return await self._store.change_owner(new.ref, raw, new, Action.OWNER_UPDATE, request.actor, now)

    async def _ref(self, request: Request) -> OwnerRef | Deny:
        """The owner whose id stands in the path."""
        found = parameters(request.call.query)
        kinds = found if isinstance(found, Deny) else owner_kinds(found)
        if isinstance(kinds, Deny):
            return kinds
        refs = [OwnerRef(kind, request.named("owner_id") or "") for kind in kinds]
        there = [ref for ref in refs if await self._store.get_owner(ref) is not None]
        if len(there) > 1:
            return Deny(
                reason=Reason.BAD_REQUEST,
                detail="query: a user and an account have this id: say kind=user or kind=account",
            )
        return there[0] if there else _NO_OWNER

    def _show(self, owner: Owner, raw: bytes) -> Answer:
        return succeed(show_owner(owner, self._groups), fields=[("ETag", entity_tag(raw))])

    def _new_id(self) -> str:
        return self._randomness(16).hex()


def _owner(draft: OwnerDraft, status: OwnerStatus, issued_on: int, modified_on: int) -> Owner:
    return Owner(
        schema=SCHEMA,
        ref=draft.ref,
        name=draft.name,
        status=draft.status or status,
        issued_on=issued_on,
        modified_on=modified_on,
        policies=draft.policies,
    )


def _too_large(document: Owner | Token) -> Deny | None:
    if len(msgspec.json.encode(document)) <= LARGEST_DOCUMENT:
        return None
    return invalid(Fault("", f"the owner is over {LARGEST_DOCUMENT // 1024} KiB as stored"))

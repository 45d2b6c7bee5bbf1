"""The audit: shown in the shape of Cloudflare's audit logs (version 1), and written where the token API says no."""

import asyncio
import re
from typing import Any, Final, Protocol

import msgspec
import structlog

from gateway.access.ports import Action, Actor, Denied, NotReplicated, StoreUnavailable
from gateway.admin.query import AuditCall, audit_call
from gateway.catalog.target import Target
from gateway.reason import REFUSALS, Answer, Deny, Reason, succeed
from gateway.server.ports import Refused
from gateway.store.audit import AuditEntry, AuditPage, AuditQuery
from gateway.tokens.permission_group import PermissionGroups
from gateway.tokens.representation import show_token
from gateway.tokens.secret import without_secrets
from gateway.tokens.timestamp import format_timestamp
from gateway.tokens.token import SCHEMA, Token

log = structlog.get_logger(__name__)

LONGEST_PATH: Final = 200
"""Characters of a refused call's path in the audit: no path of ours is longer."""
_FAILED: Final = 503
"""The status of what was not refused, but could not be done."""
_TOKEN_ID: Final = re.compile(rb"[0-9a-f]{32}")
_NO_ONE: Final = frozenset({Action.EXPIRE.value})
"""What nobody does: it happens."""
_BY_PAGE: Final = frozenset({Action.SIGN_IN.value, Action.SIGN_OUT.value})
_GATEWAY: Final = frozenset({Action.FREEZE.value, Action.THAW.value, Action.REPAIR.value})
_AT_ONCE: Final = 16
"""Refused calls that are written at once: changes must find connections to the store."""
_TURN_WITHIN: Final = 2.0
_SIGN_IN: Final = (b"dashboard", b"api", b"session")
_encoder: Final = msgspec.json.Encoder()


class Trail(Protocol):
    """Where the audit is read."""

    async def read(self, query: AuditQuery) -> AuditPage:
        """The entries that `query` asks for. Raises StoreUnavailable."""


class DeniedStore(Protocol):
    """Where a refused call is written."""

    async def denied(self, what: Denied, by: Actor, now: float) -> None:
        """Put it into the audit. Raises StoreUnavailable, NotReplicated."""


# Showing.


async def show_audit(trail: Trail, groups: PermissionGroups, query: bytes) -> Answer | Deny:
    """One page of all entries of the store. Raises StoreUnavailable.

    `result_info.cursor` (and `cursors.after`, as in Cloudflare's newer lists) goes on where this page ends, and is
    missing at the end; `newest`, of ours, is where what comes later will stand: a cursor for `direction=asc`.
    """
    call = audit_call(query)
    if isinstance(call, Deny):
        return call
    page = await trail.read(call.asked)
    if call.page > 1 and page.cursor is not None and len(page.entries) < call.asked.count:
        # A short page would look like the last one to who counts pages.
        return Deny(reason=Reason.BAD_REQUEST, detail="query: this page lies too far back; go on with cursor instead")
    return succeed([show_entry(entry, groups) for entry in page.entries], result_info=_info(call, page))


def _info(call: AuditCall, page: AuditPage) -> dict[str, object]:
    info: dict[str, object] = {"page": call.page, "per_page": call.asked.count, "count": len(page.entries)}
    if page.cursor is not None:
        info |= {"cursor": page.cursor, "cursors": {"after": page.cursor}}
    if page.newest is not None:
        info["newest"] = page.newest
    return info


def show_entry(entry: AuditEntry, groups: PermissionGroups) -> dict[str, Any]:
    """The entry as an audit log of Cloudflare's. What has no place there stands in `metadata`; `unreadable` there: the
    entry has parts that this version cannot read, and they are left out.
    """
    before, after = (_document(document, entry, groups) for document in (entry.before, entry.after))
    actor_owner = entry.actor_owner.partition(":")[2]
    return {
        "id": entry.id,
        "when": _when(entry.at),
        "action": {
            "type": entry.action or "unreadable",
            "result": entry.action != Action.DENIED if entry.action else None,
        },
        "actor": _without_nothing(
            {"id": actor_owner if entry.actor_token else "", "type": _actor_type(entry), "ip": entry.address}
        ),
        "interface": _interface(entry),
        "metadata": _without_nothing(
            {
                "request_id": entry.request_id,
                "actor_token": entry.actor_token,
                "method": entry.method,
                "path": entry.path,
                "reason": entry.reason,
                "owner_before": _document(entry.owner_before, entry, groups),
                "owner_after": _document(entry.owner_after, entry, groups),
                "unreadable": not entry.readable,
            }
        ),
        "oldValue": _encoder.encode(before).decode() if before else "",
        "oldValueJson": before,
        "newValue": _encoder.encode(after).decode() if after else "",
        "newValueJson": after,
        "owner": _without_nothing({"id": _owner_id(entry)}),
        "resource": _without_nothing(_resource(entry)),
    }


def _without_nothing(found: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in found.items() if value}


def _when(milliseconds: int | None) -> str | None:
    """RFC 3339 with milliseconds; None for a moment that has no date there."""
    try:
        seconds, rest = divmod(milliseconds or 0, 1000)
        return f"{format_timestamp(seconds).removesuffix('Z')}.{rest:03}Z"
    except (ValueError, OverflowError, OSError):
        return None


def _actor_type(entry: AuditEntry) -> str:
    """Cloudflare's words: a token acts for a user, an operator at the machine is an admin."""
    if entry.actor_token:
        return "user"
    return "" if entry.action in _NO_ONE else "admin"


def _interface(entry: AuditEntry) -> str:
    """Cloudflare's words. What a page changes it asks the API for, as every client."""
    if entry.action in _NO_ONE:
        return ""
    return "UI" if entry.action in _BY_PAGE else "API" if entry.request_id else "CLI"


def _owner_id(entry: AuditEntry) -> str:
    """Whose it is, that was changed; of a call, whose token it was."""
    for document in (entry.after, entry.before):
        owner = (document or {}).get("owner")
        if isinstance(owner, dict) and isinstance(owner.get("id"), str):
            return str(owner["id"])
    return (entry.owner or entry.actor_owner).partition(":")[2]


def _resource(entry: AuditEntry) -> dict[str, str]:
    if entry.owner:
        kind, _, owner_id = entry.owner.partition(":")
        return {"type": kind, "id": owner_id}
    if entry.zone:
        return {"type": "zone", "id": entry.zone.partition(":")[2]}
    if entry.action in _GATEWAY:
        return {"type": "gateway"}
    return {"type": "token" if entry.token else "token_api", "id": entry.token}


def _document(document: dict[str, Any] | None, entry: AuditEntry, groups: PermissionGroups) -> dict[str, Any]:
    """A token as the API showed it then; anything else as it was stored. Never a digest."""
    if document is None:
        return {}
    try:
        token = msgspec.convert(document, Token)
        if token.schema <= SCHEMA:
            return show_token(token, groups, (entry.at or 0) / 1000)
    except (msgspec.ValidationError, ValueError, OverflowError, OSError):
        pass
    return {key: value for key, value in document.items() if key != "digests"}


# Writing.


class DeniedCalls:
    """The `RefusedCalls` of production."""

    def __init__(self, store: DeniedStore, prefix: tuple[bytes, ...]) -> None:
        """`prefix`: the segments under which the token API lives."""
        self._store = store
        self._prefix = prefix
        self._under_way: set[asyncio.Task[None]] = set()
        self._turns = asyncio.Semaphore(_AT_ONCE)

    async def write(self, refused: Refused, now: float) -> None:
        """See `RefusedCalls.write`. What has begun is finished, though its requester leaves: he could choose to."""
        reason = refused.deny.reason
        # Who comes too often is slowed down, and does not fill the audit with it.
        if not self.concerns(refused.target) or REFUSALS[reason].status == _FAILED or reason is Reason.RATE_LIMITED:
            return
        task = asyncio.get_running_loop().create_task(self._write(refused, now))
        self._under_way.add(task)
        task.add_done_callback(self._under_way.discard)
        await asyncio.shield(task)

    async def _write(self, refused: Refused, now: float) -> None:
        what = Denied(
            method=refused.method,
            path=_shown_path(refused.target),
            reason=refused.deny.reason.value,
            token_id=self._token_id(refused.target),
        )
        by = Actor(
            token_id=refused.token_id, owner=refused.owner, address=refused.address, request_id=refused.request_id
        )
        try:
            async with asyncio.timeout(_TURN_WITHIN), self._turns:
                await self._store.denied(what, by, now)
        except TimeoutError:
            log.warning("refused call not in the audit", error="too many at once", request_id=refused.request_id)
        except (StoreUnavailable, NotReplicated) as error:
            log.warning("refused call not in the audit", error=str(error), request_id=refused.request_id)

    def concerns(self, target: Target) -> bool:
        """See `RefusedCalls.concerns`: paths of this version, or of a later one; and where it is signed in."""
        if target.segments == _SIGN_IN:
            return True
        count = len(self._prefix)
        if target.segments[:count] != self._prefix:
            return False
        match target.segments[count:]:
            case (b"zonegate", *_) | (b"user", b"tokens", *_) | (b"accounts", _, b"tokens", *_):
                return True
            case _:
                return False

    def _token_id(self, target: Target) -> str:
        """That of the token in the path, or ""."""
        match target.segments[len(self._prefix) :]:
            case (b"user", b"tokens", name, *_) | (b"accounts", _, b"tokens", name, *_) if _TOKEN_ID.fullmatch(name):
                return name.decode("ascii")
            case _:
                return ""


def _shown_path(target: Target) -> str:
    """The path, without a secret that somebody put into it, and no longer than it need be."""
    path = without_secrets(target.path.decode("ascii"))
    return path if len(path) <= LONGEST_PATH else path[:LONGEST_PATH] + "..."

"""What the dashboard answers: its files, and what its pages ask. The paths stand in the package's docstring."""

import re
from collections.abc import Awaitable, Callable, Collection, Mapping
from http import HTTPStatus
from typing import Any, Final
from urllib.parse import parse_qsl

import msgspec
import structlog

from gateway.access.decision import Allow
from gateway.access.ports import StoreUnavailable, TokenStore
from gateway.access.principal import Principal, Record
from gateway.admin.request import invalid
from gateway.catalog.target import Target
from gateway.catalog.template import Template
from gateway.dashboard.names import Names, ResourceNames
from gateway.dashboard.static_files import SAFE, StaticFiles
from gateway.dashboard.target import ROOT
from gateway.dashboard.token_use import TokenUse
from gateway.reason import READS, REFUSALS, Answer, Deny, Fault, Reason, succeed
from gateway.server.browser import csrf_token, is_change, why_cross_site
from gateway.server.ports import Dashboard, Visit
from gateway.server.session import Sessions, SignedIn
from gateway.tokens.owner import OwnerKind
from gateway.tokens.permission_group import PermissionGroups
from gateway.tokens.strict_json import parse_json
from gateway.tokens.summary import summarise
from gateway.tokens.validation import LARGEST_BODY, validate_token

log = structlog.get_logger(__name__)

_LARGEST_SIGN_IN: Final = 4096
"""Bytes of a body that has one secret in it."""
_TOKEN_ID: Final = re.compile(r"[0-9a-f]{32}")
_NO_TOKEN: Final = Deny(reason=Reason.NOT_FOUND, detail="token")
_PASSING: Final = frozenset({HTTPStatus.TOO_MANY_REQUESTS, HTTPStatus.SERVICE_UNAVAILABLE})
"""What says nothing of a session, but that it is asked at a bad time."""
_ROOT_PATH: Final = "/dashboard/"

Asked = Callable[[Visit, Principal], Awaitable[Answer | Deny]]


class Pages(Dashboard):
    """The `Dashboard` of production."""

    def __init__(  # noqa: PLR0913, PLR0917 - what it shows, and whom it asks
        self,
        files: StaticFiles,
        sessions: Sessions,
        names: ResourceNames,
        use: TokenUse,
        store: TokenStore,
        groups: PermissionGroups,
        *,
        templates: Collection[Template],
        apis: Collection[str],
        base_url: Callable[[str], str],
        clock: Callable[[], float],
        randomness: Callable[[int], bytes],
    ) -> None:
        """`apis`: names of those that are served; `base_url`: the public listener's, for the Host that was asked;
        `clock`: Unix seconds; `randomness`: so many bytes of the operating system's.
        """
        self._files = files
        self._sessions = sessions
        self._names = names
        self._use = use
        self._store = store
        self._groups = groups
        self._templates = tuple(templates)
        self._apis = frozenset(apis)
        self._base_url = base_url
        self._clock = clock
        self._randomness = randomness

    def concerns(self, target: Target) -> bool:
        """See `Dashboard`."""
        return target.segments[:1] == (ROOT,)

    async def answer(self, visit: Visit) -> Answer | Deny:
        """See `Dashboard`."""
        try:
            return await self._answer(visit)
        except StoreUnavailable as error:
            log.error("store unavailable", error=str(error), request_id=visit.request_id)
            return Deny(reason=Reason.STORE_UNAVAILABLE, outcome_unknown=error.outcome_unknown)

    async def _answer(self, visit: Visit) -> Answer | Deny:
        head = visit.head
        match head.target.segments[1:]:
            case ():
                return Answer(status=308, fields=(("Location", _ROOT_PATH), ("Cache-Control", "no-store")))
            case (b"api", b"session"):
                anybody = head.method == "POST"
                return await self._by_method(
                    visit, anybody=anybody, GET=self._session, POST=self._sign_in, DELETE=self._sign_out
                )
            case (b"api", b"resources"):
                return await self._by_method(visit, GET=self._signed_in(self._resources))
            case (b"api", b"templates"):
                return await self._by_method(visit, GET=self._signed_in(self._show_templates))
            case (b"api", b"summary"):
                return await self._by_method(visit, POST=self._signed_in(self._summary))
            case (b"api", b"tokens", name, b"denials"):
                return await self._by_method(visit, GET=self._signed_in(self._about(name, self._use.denials)))
            case (b"api", b"tokens", name, b"usage"):
                return await self._by_method(visit, GET=self._signed_in(self._about(name, self._use.by_day)))
            case (name,):
                found = self._files.answer(name.decode("ascii"), head.values(b"if-none-match"))
                if found is not None:
                    return found if head.method in READS else Deny(reason=Reason.METHOD_NOT_ALLOWED, methods=READS)
        return Deny(reason=Reason.NO_ROUTE, path=head.target.path.decode("ascii"))

    async def _by_method(
        self, visit: Visit, *, anybody: bool = False, **known: Callable[[Visit], Awaitable[Answer | Deny]]
    ) -> Answer | Deny:
        """What is known under the request's method is done, if our page has sent it. `anybody`: beside a session, the
        token of who has none counts too.
        """
        asked = visit.head.method
        found = known.get("GET" if asked == "HEAD" else asked)
        if found is None:
            methods = [name for method in known for name in (READS if method == "GET" else (method,))]
            return Deny(reason=Reason.METHOD_NOT_ALLOWED, methods=tuple(methods))
        if is_change(asked):
            sessions, head = self._sessions, visit.head
            session, before = sessions.cookie.value(head), sessions.visitor.value(head)
            cookies = [session, before] if anybody or session is None else [session]
            if deny := why_cross_site(head, sessions.scheme, cookies):
                return deny
        answer = await found(visit)
        return answer if isinstance(answer, Deny) else msgspec.structs.replace(answer, fields=(*answer.fields, *SAFE))

    def _signed_in(self, asked: Asked) -> Callable[[Visit], Awaitable[Answer | Deny]]:
        """`asked`, for who has signed in and may still be here."""

        async def ask(visit: Visit) -> Answer | Deny:
            found = await self._who(visit)
            return found if isinstance(found, Deny) else await asked(visit, found.principal)

        return ask

    async def _who(self, visit: Visit) -> SignedIn | Deny:
        found = await self._sessions.who(visit.head, visit.address)
        if isinstance(found, Deny):
            return found
        visit.known(found.principal)
        allowed = self._sessions.may_stay(found.principal, visit.address)
        return allowed if isinstance(allowed, Deny) else found

    # The session.

    async def _session(self, visit: Visit) -> Answer | Deny:
        """Who has signed in; nobody is no refusal. A session that has ended is forgotten by the browser too, and one
        that the browser is to forget has ended: it does not come back when its token may be used again.
        """
        found = await self._who(visit)
        if isinstance(found, Deny):
            if REFUSALS[found.reason].status in _PASSING:
                return found
            if found.reason is not Reason.MISSING_CREDENTIALS:
                await self._sessions.end(visit.head)
            return self._nobody(visit)
        return await self._show(visit, found)

    async def _sign_in(self, visit: Visit) -> Answer | Deny:
        body = await visit.body(_LARGEST_SIGN_IN)
        if isinstance(body, Deny):
            return body
        secret = _secret_in(body)
        if isinstance(secret, tuple):
            return invalid(*secret)
        found = await self._sessions.sign_in(secret, visit.head, visit.address, visit.request_id)
        if isinstance(found, Deny):
            log.info(
                "not signed in",
                reason=found.reason,
                token=found.token_id,
                address=visit.ip,
                request_id=visit.request_id,
            )
            return found
        visit.known(found.principal)
        log.info("signed in", token=found.principal.token.id, address=visit.ip, request_id=visit.request_id)
        return await self._show(visit, found, [self._sessions.cookie.put(found.cookie)])

    async def _sign_out(self, visit: Visit) -> Answer | Deny:
        refused = await self._sessions.sign_out(visit.head, visit.address, visit.request_id)
        return self._nobody(visit) if refused is None else refused

    def _nobody(self, visit: Visit) -> Answer:
        """What is said to who has not signed in; so that he can, he gets a cookie to prove that it is our page."""
        sessions = self._sessions
        known = sessions.visitor.value(visit.head)
        value = known or sessions.new_value()
        fields = [] if known else [sessions.visitor.put(value)]
        if sessions.cookie.value(visit.head) is not None:
            fields.append(sessions.cookie.remove())
        return succeed(self._shown(visit, value), fields=fields)

    async def _show(self, visit: Visit, found: SignedIn, fields: list[tuple[str, str]] | None = None) -> Answer:
        token = found.principal.token
        record = await self._store.get(token.id)
        name = record.token.name if record is not None else ""
        shown = self._shown(visit, found.cookie) | {
            "signed_in": True,
            "token": {"id": token.id, "name": name},
            "user_id": token.owner.id if token.owner.kind is OwnerKind.USER else None,
            "account_id": token.owner.id if token.owner.kind is OwnerKind.ACCOUNT else None,
        }
        return succeed(shown, fields=fields or ())

    def _shown(self, visit: Visit, cookie: str) -> dict[str, Any]:
        return {
            "signed_in": False,
            "csrf": csrf_token(cookie),
            "token": None,
            "public_url": self._base_url(visit.head.host.decode("latin-1")),
            "user_id": None,
            "account_id": None,
        }

    # What a form shows.

    async def _resources(self, visit: Visit, principal: Principal) -> Answer | Deny:
        names = await self._names.seen_by(principal, visit)
        owner = principal.token.owner
        return succeed(
            {
                "zones": [
                    {"id": zone.id, "name": zone.name, "account_id": zone.account_id, "api": zone.api}
                    for zone in names.zones
                ],
                "accounts": [{"id": account.id, "name": account.name} for account in names.accounts],
                "user": {"id": owner.id if owner.kind is OwnerKind.USER else None},
                "incomplete": names.incomplete,
            }
        )

    async def _show_templates(self, _: Visit, __: Principal) -> Answer | Deny:
        return succeed([_show_template(template) for template in self._templates])

    async def _summary(self, visit: Visit, principal: Principal) -> Answer | Deny:
        """The token that a body would make, or would make of the token in the query, in plain words."""
        current = None
        token_id = dict(parse_qsl((visit.head.target.query or b"").decode("ascii"))).get("token_id")
        if token_id is not None:
            current = await self._record(token_id, visit, principal)
            if current is None:
                return _NO_TOKEN
        body = await visit.body(LARGEST_BODY)
        if isinstance(body, Deny):
            return body
        token = current.token if current is not None else None
        draft = validate_token(body, self._groups, self._clock(), self._new_id, token, apis=self._apis)
        if isinstance(draft, tuple):
            return invalid(*draft)
        names: Names = await self._names.seen_by(principal, visit)
        return succeed({"lines": summarise(draft, self._groups, names.of_ids)})

    def _new_id(self) -> str:
        return self._randomness(16).hex()

    # One token.

    def _about(self, name: bytes, tell: Callable[[str], Awaitable[object]]) -> Asked:
        """What `tell` says of the token of that id, if it is there for who asks."""

        async def ask(visit: Visit, principal: Principal) -> Answer | Deny:
            record = await self._record(name.decode("ascii"), visit, principal)
            return _NO_TOKEN if record is None else succeed(await tell(record.token.id))

        return ask

    async def _record(self, token_id: str, visit: Visit, principal: Principal) -> Record | None:
        """The token, if the token API would show it to `principal`."""
        record = await self._store.get(token_id) if _TOKEN_ID.fullmatch(token_id) else None
        if record is None:
            return None
        owner = record.token.owner
        if owner.kind is OwnerKind.USER and owner != principal.token.owner:
            return None
        return record if isinstance(self._sessions.may_see(principal, owner, visit.address), Allow) else None


def _secret_in(body: bytes) -> str | tuple[Fault, ...]:
    """The secret that `{"token": SECRET}` holds, or what is wrong with it."""
    value, broken = parse_json(body)
    if broken:
        return broken
    match value:
        case {"token": str(secret), **others} if not others:
            return secret
        case _:
            return (Fault("/token", "the secret of a token, and nothing beside it"),)


def _show_template(template: Template) -> Mapping[str, Any]:
    return {
        "name": template.name,
        "description": template.description,
        "passes_on": template.passes_on,
        "policies": [
            {
                "scope": policy.scope,
                "resources": policy.resources,
                "permission_groups": [{"id": group.id, "name": group.name} for group in policy.groups],
            }
            for policy in template.policies
        ],
    }

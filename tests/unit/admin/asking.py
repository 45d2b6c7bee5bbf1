"""The token API as a client asks it, over a store in memory."""

import json
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from ipaddress import ip_address
from itertools import count
from typing import Any

from support.records import (
    CATALOG,
    EVERYTHING,
    GROUPS,
    NOW,
    ZONE_A,
    group_id,
    principal,
    token,
    zone,
)
from support.store_contract import SOMEBODY, MemoryTokenStore, numbered

from gateway.access.decide import decide
from gateway.access.decision import Allow
from gateway.access.ports import Actor, ZoneAccounts
from gateway.access.principal import prove
from gateway.access.question import Question
from gateway.admin.audit import Trail
from gateway.admin.leaked import LeakedTokens
from gateway.admin.request import Request
from gateway.admin.token_api import TokenApi, UseReader
from gateway.admin.zone_api import Pins
from gateway.catalog.target import Target, split_target
from gateway.reason import Answer, Deny
from gateway.server.ports import Call
from gateway.store.audit import AuditPage, AuditQuery
from gateway.store.use import Use
from gateway.store.zone_pin import ZonePin
from gateway.tokens.digest import NO_PEPPERS, Peppers
from gateway.tokens.news import Tell
from gateway.tokens.owner import Owner
from gateway.tokens.secret import parse_secret
from gateway.tokens.token import Token

CALLER = token(EVERYTHING, name="the caller", issued_on=NOW - 5000)
MINE = token(token_id=numbered(1), name="mine", issued_on=NOW - 900, request_ip=["192.0.2.0/24"], expires_on=NOW + 900)
NOT_MINE = token(token_id=numbered(2), name="somebody's", owner=SOMEBODY)

Outcome = Answer | Deny
Ask = Callable[..., Awaitable[Outcome]]
What = tuple[str, str, object]
"""Method, path and body of a call."""

POLICY = {
    "effect": "allow",
    "permission_groups": [{"id": group_id("DNS Write")}, {"id": group_id("DNS Read")}],
    "resources": {zone(ZONE_A): "*"},
}
BODY = {"name": "new", "policies": [POLICY]}


def dice() -> Callable[[int], bytes]:
    """Bytes that never come twice, as an operating system's."""
    numbers = count(2**100)
    return lambda size: next(numbers).to_bytes(size, "big")


class FakeUses:
    """A `UseReader` that knows what it is given, by token."""

    def __init__(self, known: Mapping[str, Use] | None = None) -> None:
        self._known = known or {}

    async def last_used(self, token_ids: Sequence[str]) -> list[int | None]:
        return [self._known.get(token_id, Use()).last_used_on for token_id in token_ids]

    async def use(self, token_id: str) -> Use:
        return self._known.get(token_id, Use())


class FakeTrail:
    """A `Trail` without entries."""

    def __init__(self) -> None:
        self.asked: list[AuditQuery] = []

    async def read(self, query: AuditQuery) -> AuditPage:
        self.asked.append(query)
        return AuditPage((), None, None)


class FakePins:
    """`Pins` in a dictionary."""

    def __init__(self) -> None:
        self.held: dict[tuple[str, str], ZonePin] = {}

    async def find(self, api: str, zone: str) -> ZonePin | None:
        return self.held.get((api, zone))

    async def put(self, api: str, zone: str, account: str, name: str, by: Actor, now: float) -> ZonePin:  # noqa: ARG002
        self.held[api, zone] = ZonePin(1, api, zone, account, name, int(now))
        return self.held[api, zone]

    async def delete(self, api: str, zone: str, by: Actor, now: float) -> bool:  # noqa: ARG002
        return self.held.pop((api, zone), None) is not None


async def explain_nothing(request: Request) -> Outcome:
    raise AssertionError(request)


def api_over(
    store: MemoryTokenStore,
    peppers: Peppers = NO_PEPPERS,
    *,
    uses: UseReader | None = None,
    trail: Trail | None = None,
    accounts: ZoneAccounts | None = None,
    pins: Pins | None = None,
    tell: Tell = lambda _: None,
) -> TokenApi:
    return TokenApi(
        store,
        GROUPS,
        trail=trail or FakeTrail(),
        uses=uses or FakeUses(),
        peppers=peppers,
        clock=lambda: NOW,
        randomness=dice(),
        apis=CATALOG.apis,
        routes=CATALOG.public.routes,
        accounts=accounts,
        pins=pins or FakePins(),
        more={
            "explain": explain_nothing,
            **LeakedTokens(store, store, peppers, lambda: NOW, tell).operations,
        },
        tell=tell,
    )


def allowed(method: str, path: str, caller: Token, of: Owner | None = None) -> Allow:
    target = split_target(f"/client/v4{path}".encode())
    assert isinstance(target, Target)
    decision = decide(
        Question(
            principal=principal(caller, of),
            address=ip_address("192.0.2.7"),
            target=target,
            match=CATALOG.public.match(method, target.segments),
            now=NOW,
        )
    )
    assert isinstance(decision, Allow), decision
    return decision


def asker(api: TokenApi, caller: Token = CALLER, of: Owner | None = None) -> Ask:
    """`await ask(method, path, body)`: what the API answers; `body` as JSON unless it is bytes.

    `of`: the caller's owner, with every right unless given.
    """

    async def ask(method: str, path: str, body: object = b"", if_match: Iterable[bytes] = ()) -> Outcome:
        path, _, query = path.partition("?")
        call = Call(
            query=query.encode(),
            body=body if isinstance(body, bytes) else json.dumps(body).encode(),
            if_match=tuple(if_match),
            address="192.0.2.7",
            request_id="request-0001",
        )
        return await api.answer(allowed(method, path, caller, of), call)

    return ask


def good(outcome: Outcome) -> dict[str, Any]:
    """The envelope of a success."""
    assert isinstance(outcome, Answer), outcome
    envelope: dict[str, Any] = json.loads(outcome.body)
    assert (outcome.status, outcome.reason) == (200, None)
    assert (envelope["success"], envelope["errors"]) == (True, [])
    return envelope


def result(outcome: Outcome) -> Any:
    return good(outcome)["result"]


def tag(outcome: Outcome) -> str:
    assert isinstance(outcome, Answer), outcome
    return dict(outcome.fields)["ETag"]


def refused(outcome: Outcome) -> Deny:
    assert isinstance(outcome, Deny), outcome
    return outcome


async def works(store: MemoryTokenStore, secret: str) -> bool:
    """Whether `secret` proves its token."""
    credential = parse_secret(secret)
    assert credential is not None
    found = await store.fetch(credential.token_id, None)
    assert not isinstance(found, Deny)
    return not isinstance(prove(credential, found, NO_PEPPERS, NOW), Deny)

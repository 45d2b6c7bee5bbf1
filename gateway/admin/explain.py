"""Why a request with a token of one's own would pass or not (`POST .../tokens/{id}/explain`, an extension of ours)."""

import math
import re
from collections.abc import Callable, Mapping
from typing import Any, Final, Literal

import msgspec

from gateway.access.decision import Body, ZoneAccount
from gateway.access.explain import Explanation, Supposed, explain
from gateway.access.ports import StoreUnavailable, TokenStore, ZoneAccounts
from gateway.access.principal import Record
from gateway.access.question import Facts, Unknown
from gateway.admin.request import Operation, Request, invalid
from gateway.catalog.route_table import Match, Matched, RouteTable
from gateway.catalog.target import Target, split_target
from gateway.reason import REFUSALS, Answer, Deny, Fault, Reason, succeed
from gateway.server.client_address import parse_address
from gateway.server.ports import UNCOUNTED
from gateway.store.buckets import Ask
from gateway.store.leases import Settle
from gateway.tokens.permission_group import PermissionGroups
from gateway.tokens.rate import Rate, in_words
from gateway.tokens.strict_json import parse_json, pointer
from gateway.tokens.timestamp import format_timestamp, parse_timestamp
from gateway.tokens.token import Token

_FIELDS: Final = frozenset({"method", "path", "ip", "at", "body"})
_METHOD: Final = re.compile(r"[A-Z]{1,16}", re.ASCII)
_LONGEST_PATH: Final = 8192
_ROUNDS: Final = 3


class Asked(msgspec.Struct, frozen=True):
    """The request that is asked about."""

    method: str
    path: str
    ip: str
    at: int
    body: bytes


class Limits(msgspec.Struct, frozen=True, omit_defaults=True):
    """How often the token may be used, and what of that there is now. `left` is near enough, as in `Ratelimit`."""

    requests: int
    period: int
    side: Literal["token", "settings"]
    """Who says so: the token itself, or `limits.rate` of the settings."""
    counted: bool
    """Whether a request like this counts."""
    left: int | msgspec.UnsetType = msgspec.UNSET
    """Not there where the question is about another moment than now."""
    wait: int = 0
    """Seconds until there is one more; not there where there is one."""


class Explainer:
    """Answers for tokens of the owner that the call is about; nobody is told of another's."""

    def __init__(  # noqa: PLR0913 - all that a decision turns on
        self,
        store: TokenStore,
        groups: PermissionGroups,
        table: RouteTable,
        accounts: ZoneAccounts | None,
        clock: Callable[[], float],
        *,
        buckets: Settle,
        rate: Rate | None = None,
    ) -> None:
        """`table`: the routes that clients have; `accounts` as the token API has them; `rate`: of tokens that have no
        limits of their own.
        """
        self._buckets = buckets
        self._rate = rate
        self._store = store
        self._groups = groups
        self._table = table
        self._accounts = accounts
        self._clock = clock

    @property
    def operations(self) -> Mapping[str, Operation]:
        """By the name that routes have for them."""
        return {"explain": self._explain}

    async def _explain(self, request: Request) -> Answer | Deny:
        record = await self._store.get(request.token_id)
        if record is None or record.token.owner != request.owner:
            return Deny(reason=Reason.NOT_FOUND, detail="token")
        now = int(self._clock())
        asked = read_asked(request.call.body, request.call.address, now)
        if isinstance(asked, tuple):
            return invalid(*asked)
        target = split_target(asked.path.encode("ascii"))
        if isinstance(target, Deny):
            return succeed(_of_bad_path(asked, target))
        match = self._table.match(asked.method, target.segments)
        explanation = await self._explanation(record, asked, target, match)
        limits = await self._limits(record.token, match, is_now=asked.at == now)
        if limits is not None and limits.wait and explanation.decision == "allow":
            explanation = _held_up(explanation, limits)
        return succeed(_shown(asked, explanation, limits))

    async def _limits(self, token: Token, match: Match, *, is_now: bool) -> Limits | None:
        """Those of `token`, if it has any. Nothing is taken out of its bucket."""
        rate = token.limits or self._rate
        if rate is None:
            return None
        counted = isinstance(match, Matched) and match.route.operation not in UNCOUNTED
        limits = Limits(rate.requests, rate.period, "token" if token.limits else "settings", counted)
        if not is_now:
            return limits
        (found,) = await self._buckets.settle([Ask(token.id, rate, 0)])
        if isinstance(found, StoreUnavailable):
            raise found
        wait = max(1, math.ceil(found.wait)) if counted and not found.left else 0
        return msgspec.structs.replace(limits, left=found.left, wait=wait)

    async def _explanation(self, record: Record, asked: Asked, target: Target, match: Match) -> Explanation:
        """With each fact that it turns on; one that is asked for again has no answer here."""
        address = parse_address(asked.ip)
        facts = Facts()
        for _ in range(_ROUNDS):
            supposed = Supposed(record.token, record.owner, address, target, match, asked.at, facts)
            try:
                found = explain(supposed, self._groups)
            except ValueError as error:
                raise StoreUnavailable(f"token {record.token.id}: {error}") from None
            match found.need:
                case ZoneAccount() as zone:
                    facts = msgspec.structs.replace(facts, account=await self._account(zone))
                case Body():
                    facts = msgspec.structs.replace(facts, body=asked.body)
                case None:
                    return found
        return found

    async def _account(self, zone: ZoneAccount) -> str | Unknown:
        if self._accounts is None:
            return Unknown.UNREACHABLE
        return await self._accounts.find(zone.api, zone.zone)


def read_asked(body: bytes, address: str, now: int) -> Asked | tuple[Fault, ...]:
    """The request that `body` asks about, or all its faults.

    Without `ip` it is one from `address`, without `at` one at `now`: those of the call itself.
    """
    value, broken = parse_json(body)
    if broken:
        return broken
    if not isinstance(value, dict):
        return (Fault("", "not an object"),)
    faults = [Fault(pointer(key), "unknown field") for key in value if key not in _FIELDS]
    method, path, ip, at = (value.get(key) for key in ("method", "path", "ip", "at"))
    if not isinstance(method, str) or not _METHOD.fullmatch(method):
        faults.append(Fault("/method", "the method of a request, in capitals: GET"))
    if not isinstance(path, str) or not path.startswith("/") or not path.isascii() or len(path) > _LONGEST_PATH:
        faults.append(Fault("/path", "the path of a request with its prefix, as a client sends it: /client/v4/zones"))
    if ip is not None and (not isinstance(ip, str) or parse_address(ip) is None):
        faults.append(Fault("/ip", "not an address"))
    moment = now if at is None else parse_timestamp(at) if isinstance(at, str) else None
    if moment is None:
        faults.append(Fault("/at", "not a date and time of RFC 3339, such as 2027-01-31T00:00:00Z"))
    if faults:
        return tuple(faults)
    return Asked(str(method), str(path), address if ip is None else str(ip), moment or 0, _as_bytes(value.get("body")))


def _as_bytes(body: object) -> bytes:
    """The body of the request: a text as it is, anything else as JSON."""
    match body:
        case None:
            return b""
        case str():
            return body.encode()
        case _:
            return msgspec.json.encode(body)


def _of_bad_path(asked: Asked, deny: Deny) -> dict[str, Any]:
    message = REFUSALS[deny.reason].message.format(detail=deny.detail)
    return _shown(
        asked,
        Explanation(
            decision="deny",
            reason=deny.reason,
            message=message,
            policies=(),
            remedy="Send the path in its one spelling: no policy can open another",
        ),
    )


def _held_up(explanation: Explanation, limits: Limits) -> Explanation:
    """What is allowed, and comes too soon: limits are the last thing that is looked at."""
    words = in_words(Rate(limits.requests, limits.period))
    other = "larger limits" if limits.side == "token" else "limits of its own"
    return msgspec.structs.replace(
        explanation,
        decision="deny",
        reason=Reason.RATE_LIMITED,
        message=f"{REFUSALS[Reason.RATE_LIMITED].message}. The token has {words}, and none is left",
        remedy=f"Wait {limits.wait} s, or give the token {other}",
    )


def _shown(asked: Asked, explanation: Explanation, limits: Limits | None = None) -> dict[str, Any]:
    """The result. `request` is what was asked about, with what was taken for granted."""
    shown: dict[str, Any] = {"decision": explanation.decision}
    if explanation.reason is not None:
        row = REFUSALS[explanation.reason]
        shown |= {"reason": explanation.reason, "status": row.status, "code": row.code}
    shown |= {
        "message": explanation.message,
        "remedy": explanation.remedy,
        "policies": msgspec.to_builtins(explanation.policies),
        **({"limits": msgspec.to_builtins(limits)} if limits else {}),
        "request": {
            "method": asked.method,
            "path": asked.path,
            "ip": asked.ip,
            "at": format_timestamp(asked.at),
        },
    }
    return shown

"""Why a request with a token of one's own would pass or not (`POST .../tokens/{id}/explain`, an extension of ours)."""

import re
from collections.abc import Callable, Mapping
from typing import Any, Final

import msgspec

from gateway.access.decision import Body, ZoneAccount
from gateway.access.explain import Explanation, Supposed, explain
from gateway.access.ports import StoreUnavailable, TokenStore, ZoneAccounts
from gateway.access.principal import Record
from gateway.access.question import Facts, Unknown
from gateway.admin.request import Operation, Request, invalid
from gateway.catalog.route_table import RouteTable
from gateway.catalog.target import Target, split_target
from gateway.reason import REFUSALS, Answer, Deny, Fault, Reason, succeed
from gateway.server.client_address import parse_address
from gateway.tokens.permission_group import PermissionGroups
from gateway.tokens.strict_json import parse_json, pointer
from gateway.tokens.timestamp import format_timestamp, parse_timestamp

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


class Explainer:
    """Answers for tokens of the owner that the call is about; nobody is told of another's."""

    def __init__(
        self,
        store: TokenStore,
        groups: PermissionGroups,
        table: RouteTable,
        accounts: ZoneAccounts | None,
        clock: Callable[[], float],
    ) -> None:
        """`table`: the routes that clients have; `accounts` as the token API has them."""
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
        asked = read_asked(request.call.body, request.call.address, int(self._clock()))
        if isinstance(asked, tuple):
            return invalid(*asked)
        target = split_target(asked.path.encode("ascii"))
        if isinstance(target, Deny):
            return succeed(_of_bad_path(asked, target))
        return succeed(_shown(asked, await self._explanation(record, asked, target)))

    async def _explanation(self, record: Record, asked: Asked, target: Target) -> Explanation:
        """With each fact that it turns on; one that is asked for again has no answer here."""
        address = parse_address(asked.ip)
        match = self._table.match(asked.method, target.segments)
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


def _shown(asked: Asked, explanation: Explanation) -> dict[str, Any]:
    """The result. `request` is what was asked about, with what was taken for granted."""
    shown: dict[str, Any] = {"decision": explanation.decision}
    if explanation.reason is not None:
        row = REFUSALS[explanation.reason]
        shown |= {"reason": explanation.reason, "status": row.status, "code": row.code}
    shown |= {
        "message": explanation.message,
        "remedy": explanation.remedy,
        "policies": msgspec.to_builtins(explanation.policies),
        "request": {
            "method": asked.method,
            "path": asked.path,
            "ip": asked.ip,
            "at": format_timestamp(asked.at),
        },
    }
    return shown

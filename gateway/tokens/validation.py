"""From a request body to a `Draft`, or to all its faults, each with a JSON pointer (token API: create, update).

Unknown fields are faults: a misspelt `expires_on` must not make a token that lives for ever. What the server itself
put into its answers (`id` and `name` of policies and groups) is accepted and ignored, because clients send it back.
"""

import unicodedata
from collections.abc import Callable, Collection
from typing import Any, Final

from gateway.reason import Fault
from gateway.tokens.condition import Condition, RequestIp, parse_network
from gateway.tokens.owner import Owner, OwnerDraft, OwnerKind, OwnerRef, OwnerStatus
from gateway.tokens.permission_group import PermissionGroup, PermissionGroups
from gateway.tokens.policy import API_NAME, Effect, Policy
from gateway.tokens.rate import LONGEST_PERIOD, MOST_REQUESTS, Rate
from gateway.tokens.resource import SCOPE_OF, Account, Scope, User, parse_resource
from gateway.tokens.strict_json import MOST_FAULTS, parse_json, pointer
from gateway.tokens.timestamp import parse_timestamp
from gateway.tokens.token import Draft, Status, Token

LONGEST_NAME: Final = 120
MOST_POLICIES: Final = 50
MOST_GROUPS: Final = 300
MOST_RESOURCES: Final = 1000
MOST_APIS: Final = 50
MOST_NETWORKS: Final = 200
LARGEST_BODY: Final = 256 * 1024
LONGEST_OVERLAP: Final = 30 * 86400
"""Seconds that a rolled secret may go on beside the new one."""

_FIELDS: Final = frozenset({"name", "policies", "condition", "not_before", "expires_on", "status", "limits"})
_OURS: Final = frozenset({"id", "issued_on", "modified_on", "last_used_on", "usage", "owner", "issued_by"})
_LATER: Final = frozenset({"records"})
_NOT_YET: Final = "not in this version yet"
_MISSING: Final = object()


class _Faults:
    """Faults as they are found, at most 50."""

    def __init__(self) -> None:
        self.found: list[Fault] = []

    def add(self, message: str, *at: str | int) -> None:
        if len(self.found) < MOST_FAULTS:
            self.found.append(Fault(pointer(*at), message))

    def members(self, value: object, known: Collection[str], *at: str | int) -> dict[str, Any]:
        """`value` if it is an object; each member that is not known is a fault. A null member counts as absent."""
        if not isinstance(value, dict):
            self.add("not an object", *at)
            return {}
        for key in value:
            if key in _LATER and key not in known:
                self.add(_NOT_YET, *at, key)
            elif key not in known:
                self.add("unknown field", *at, key)
        return {key: item for key, item in value.items() if item is not None}

    def items(self, value: object, most: int, *at: str | int, least: int = 0) -> list[Any]:
        if not isinstance(value, list):
            self.add("missing" if value is _MISSING else "not an array", *at)
            return []
        if not least <= len(value) <= most:
            self.add(f"{len(value)} items: it takes {least} to {most}", *at)
            return []
        return value

    def text(self, value: object, *at: str | int) -> str:
        if isinstance(value, str):
            return value
        self.add("missing" if value is _MISSING else "not a string", *at)
        return ""


def validate_token(  # noqa: PLR0913 - what is judged, and all that it is judged by
    body: bytes,
    groups: PermissionGroups,
    now: float,
    new_id: Callable[[], str],
    current: Token | None = None,
    *,
    apis: Collection[str] | None = None,
) -> Draft | tuple[Fault, ...]:
    """The draft that `body` (JSON) is, or its faults, at most 50.

    `new_id` makes an id for each policy; `current` is the token that an update replaces; `apis` are the names of the
    APIs in the catalogue (None: not known here, and any name will do).
    """
    value, broken = parse_json(body)
    if broken:
        return broken
    faults = _Faults()
    fields = faults.members(value, _FIELDS if current is None else _FIELDS | _OURS)
    if not isinstance(value, dict):
        return tuple(faults.found)
    draft = Draft(
        name=_name(fields.get("name", _MISSING), faults),
        policies=_PolicyReader(groups, faults, new_id, current, apis).read(fields.get("policies", _MISSING)),
        condition=_condition(fields.get("condition"), faults),
        not_before=_date("not_before", fields, faults),
        expires_on=_date("expires_on", fields, faults),
        status=_status(fields.get("status"), faults),
        limits=_limits(fields.get("limits"), faults),
    )
    _check_dates(draft, now, current, faults)
    return tuple(faults.found) or draft


def _name(value: object, faults: _Faults) -> str:
    name = faults.text(value, "name")
    if isinstance(value, str):
        if not 1 <= len(name) <= LONGEST_NAME:
            faults.add(f"a name has 1 to {LONGEST_NAME} characters", "name")
        elif any(unicodedata.category(character) == "Cc" for character in name):
            faults.add("a name has no control characters", "name")
    return name


def _status(value: object, faults: _Faults) -> Status | None:
    match value:
        case None:
            return None
        case "active" | "disabled":
            return Status(value)
        case _:
            faults.add('"active" or "disabled"; a token expires by expires_on alone', "status")
            return None


def _date(key: str, fields: dict[str, Any], faults: _Faults) -> int | None:
    value = fields.get(key)
    if value is None:
        return None
    seconds = parse_timestamp(value) if isinstance(value, str) else None
    if seconds is None:
        faults.add("not a date and time of RFC 3339, such as 2027-01-31T00:00:00Z", key)
    return seconds


def _check_dates(draft: Draft, now: float, current: Token | None, faults: _Faults) -> None:
    if draft.expires_on is None:
        return
    if draft.not_before is not None and draft.expires_on <= draft.not_before:
        faults.add("not after not_before", "expires_on")
    if draft.expires_on <= now and not (current and current.expires_on == draft.expires_on):
        faults.add("in the past", "expires_on")


class _PolicyReader:
    """Reads the policies of one body. `current`: what an update replaces, whose ids it may send back."""

    def __init__(
        self,
        groups: PermissionGroups,
        faults: _Faults,
        new_id: Callable[[], str],
        current: Token | Owner | None,
        apis: Collection[str] | None = None,
    ) -> None:
        policies = current.policies if current else ()
        self._apis = apis
        self._held_apis = {name for policy in policies for name in policy.apis}
        self._groups = groups
        self._faults = faults
        self._new_id = new_id
        self._kept = {policy.id for policy in policies}
        self._held = {group_id for policy in policies for group_id in policy.permission_groups}

    def read(self, value: object) -> tuple[Policy, ...]:
        items = self._faults.items(value, MOST_POLICIES, "policies", least=1)
        found = [self._policy(item, "policies", index) for index, item in enumerate(items)]
        return tuple(policy for policy in found if policy)

    def _policy(self, value: object, *at: str | int) -> Policy | None:
        fields = self._faults.members(value, {"id", "effect", "permission_groups", "resources", "apis"}, *at)
        if not isinstance(value, dict):
            return None
        effect = fields.get("effect", _MISSING)
        if effect not in ("allow", "deny"):
            self._faults.add('"allow" or "deny"', *at, "effect")
            effect = "allow"
        named = self._named(fields.get("permission_groups", _MISSING), *at, "permission_groups")
        resources, scopes = self._resources(fields.get("resources", _MISSING), *at, "resources")
        self._check_scopes(named, scopes, *at, "permission_groups")
        return Policy(
            id=self._id(fields.get("id")),
            effect=Effect(effect),
            permission_groups=tuple(group.id for group in named.values()),
            resources=resources,
            apis=self._named_apis(value.get("apis", _MISSING), *at, "apis"),
        )

    def _named_apis(self, value: object, *at: str | int) -> tuple[str, ...]:
        """The APIs that a policy is about; empty where it does not say. A null says nothing either, and would widen."""
        if value is _MISSING:
            return ()
        names: list[str] = []
        for index, item in enumerate(self._faults.items(value, MOST_APIS, *at, least=1)):
            name = self._faults.text(item, *at, index)
            if not isinstance(item, str):
                continue
            # The catalogue may have lost one. The token may keep it: it gives nothing there.
            if self._apis is not None and name not in self._apis and name not in self._held_apis:
                self._faults.add(f"unknown API: there are {', '.join(sorted(self._apis)) or 'none'}", *at, index)
            elif not API_NAME.fullmatch(name):
                self._faults.add("not the name of an API: 1 to 64 of a-z 0-9 -", *at, index)
            elif name in names:
                self._faults.add("named twice", *at, index)
            names.append(name)
        return tuple(names)

    def _id(self, sent: object) -> str:
        """A policy that an update sends back keeps its id; any other id in a body means nothing."""
        if isinstance(sent, str) and sent in self._kept:
            self._kept.remove(sent)
            return sent
        return self._new_id()

    def _named(self, value: object, *at: str | int) -> dict[int, PermissionGroup]:
        """The known groups by their index in the body."""
        found = {}
        for index, item in enumerate(self._faults.items(value, MOST_GROUPS, *at, least=1)):
            fields = self._faults.members(item, {"id", "name", "meta"}, *at, index)
            if not isinstance(item, dict):
                continue
            group_id = self._faults.text(fields.get("id", _MISSING), *at, index, "id")
            group = self._groups.get(group_id)
            if group is not None:
                found[index] = group
            elif group_id in self._held:
                # The catalogue lost it. The token may keep it: it gives nothing, and others can still be edited.
                found[index] = PermissionGroup(group_id, group_id, tuple(Scope))
            elif isinstance(fields.get("id"), str):
                self._faults.add("unknown permission group", *at, index, "id")
        return found

    def _resources(self, value: object, *at: str | int) -> tuple[dict[str, Any], set[Scope]]:
        """The resources as sent, and the scopes they lie in."""
        if not isinstance(value, dict):
            self._faults.add("missing" if value is _MISSING else "not an object", *at)
            return {}, set()
        if not 1 <= len(value) <= MOST_RESOURCES:
            self._faults.add(f"{len(value)} resources: it takes 1 to {MOST_RESOURCES}", *at)
            return {}, set()
        scopes: set[Scope] = set()
        for key, item in value.items():
            match parse_resource(key, item):
                case str() as fault:
                    self._faults.add(fault, *at, key)
                case resource:
                    scopes.add(SCOPE_OF[type(resource)])
        return value, scopes

    def _check_scopes(self, named: dict[int, PermissionGroup], scopes: set[Scope], *at: str | int) -> None:
        """A pair of a group and a resource of another scope is no right at all: its sender means something else."""
        for index, group in named.items():
            for scope in sorted(scopes - set(group.scopes)):
                self._faults.add(
                    f"{group.name} is a permission on {group.scopes[0].a_word}, and this policy names "
                    f"a resource of the scope {scope.word}: use one policy for each scope",
                    *at,
                    index,
                )


def _condition(value: object, faults: _Faults) -> Condition:
    if value is None:
        return Condition()
    fields = faults.members(value, {"request_ip"}, "condition")
    if "request_ip" not in fields:
        return Condition()
    at = ("condition", "request_ip")
    request_ip = faults.members(fields["request_ip"], {"in", "not_in"}, *at)
    # An empty `in` would admit nobody: who sends one means something else.
    allowed = _networks(request_ip.get("in"), faults, *at, "in", least=1)
    refused = _networks(request_ip.get("not_in"), faults, *at, "not_in", least=0)
    if len(allowed) + len(refused) > MOST_NETWORKS:
        faults.add(f"more than {MOST_NETWORKS} networks", *at)
    return Condition(RequestIp(allowed, refused))


def _limits(value: object, faults: _Faults) -> Rate | None:
    if value is None:
        return None
    fields = faults.members(value, {"requests", "period"}, "limits")
    if not isinstance(value, dict):
        return None
    requests = _whole(fields.get("requests", _MISSING), MOST_REQUESTS, faults, "limits", "requests")
    period = _whole(fields.get("period", _MISSING), LONGEST_PERIOD, faults, "limits", "period")
    return Rate(requests, period) if requests and period else None


def _whole(value: object, most: int, faults: _Faults, *at: str) -> int | None:
    if type(value) is int and 1 <= value <= most:
        return value
    what = " of seconds" if at[-1] == "period" else ""
    faults.add("missing" if value is _MISSING else f"a whole number{what}, 1 to {most}", *at)
    return None


def _networks(value: object, faults: _Faults, *at: str | int, least: int) -> tuple[str, ...]:
    if value is None:
        return ()
    out = []
    for index, item in enumerate(faults.items(value, MOST_NETWORKS, *at, least=least)):
        text = faults.text(item, *at, index)
        if isinstance(item, str):
            match parse_network(text):
                case str() as fault:
                    faults.add(fault, *at, index)
                case _:
                    out.append(text)
    return tuple(out)


def validate_roll(body: bytes) -> int | tuple[Fault, ...]:
    """For how many seconds more the old secret goes on after a roll (0: it is dead at once), or the body's faults."""
    if not body:
        return 0
    value, broken = parse_json(body)
    if broken:
        return broken
    faults = _Faults()
    overlap = faults.members(value, {"overlap"}).get("overlap")
    if overlap is not None and not (type(overlap) is int and 1 <= overlap <= LONGEST_OVERLAP):
        faults.add(f"whole seconds, 1 to {LONGEST_OVERLAP} (30 days)", "overlap")
    return tuple(faults.found) or overlap or 0


def validate_owner(
    body: bytes,
    groups: PermissionGroups,
    new_id: Callable[[], str],
    current: Owner | None = None,
    *,
    apis: Collection[str] | None = None,
) -> OwnerDraft | tuple[Fault, ...]:
    """The owner that `body` (JSON) says, or its faults, at most 50.

    `new_id`, `apis`: as `validate_token` has them; `current`: the owner that an edit replaces, whose kind and id stay.
    """
    value, broken = parse_json(body)
    if broken:
        return broken
    faults = _Faults()
    named = {"kind", "id", "name", "status", "policies"}
    fields = faults.members(value, named if current is None else named | {"issued_on", "modified_on"})
    if not isinstance(value, dict):
        return tuple(faults.found)
    draft = OwnerDraft(
        ref=_owner_ref(fields, new_id, faults) if current is None else current.ref,
        name=_name(fields.get("name", _MISSING), faults),
        status=_owner_status(fields.get("status"), faults),
        policies=_PolicyReader(groups, faults, new_id, current, apis).read(fields.get("policies", _MISSING)),
    )
    return tuple(faults.found) or draft


def _owner_ref(fields: dict[str, Any], new_id: Callable[[], str], faults: _Faults) -> OwnerRef:
    """Who a new owner is: a user unless said otherwise, and a user's id may be ours to choose."""
    kind, owner_id = fields.get("kind", "user"), fields.get("id")
    if kind not in ("user", "account"):
        faults.add('"user" or "account"', "kind")
        kind = "user"
    if owner_id is None and kind == "user":
        owner_id = new_id()
    if not isinstance(owner_id, str):
        faults.add("missing: an account has the id that its API knows it by" if owner_id is None else "no text", "id")
        owner_id = ""
    else:
        match parse_resource(f"{Scope.USER if kind == 'user' else Scope.ACCOUNT}.{owner_id}", "*"):
            case Account() | User():
                pass
            case str() as fault:
                faults.add(fault, "id")
            case _:  # "*", and "zone.<id>", whose key would be a zone's
                faults.add("one account's id", "id")
    return OwnerRef(OwnerKind(kind), owner_id)


def _owner_status(value: object, faults: _Faults) -> OwnerStatus | None:
    match value:
        case None:
            return None
        case "active" | "disabled":
            return OwnerStatus(value)
        case _:
            faults.add('"active" or "disabled"', "status")
            return None

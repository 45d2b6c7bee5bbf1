"""Why a request would pass or not, for people: what each policy has to do with it, and what would have to change."""

from collections.abc import Iterable, Iterator
from typing import Literal

import msgspec

from gateway.access.body import named_in
from gateway.access.compiled import compile_owner, compile_token
from gateway.access.decide import CHECKS
from gateway.access.decision import Body, Fact, Need, ZoneAccount
from gateway.access.question import NO_FACTS, Facts, Supposition, Unproved
from gateway.catalog.api import InBody, Route, Where
from gateway.catalog.route_table import Match, Matched
from gateway.catalog.target import Target
from gateway.reason import REFUSALS, Deny, Fault, Reason
from gateway.tokens.condition import Address, Condition, RequestIp, compile_condition
from gateway.tokens.owner import Owner, OwnerStatus
from gateway.tokens.permission_group import PermissionGroups
from gateway.tokens.policy import Effect, Policy
from gateway.tokens.resource import SCOPE_OF, Coverage, Touched, Zone, covers, parse_resource
from gateway.tokens.summary import resource_in_words
from gateway.tokens.timestamp import format_timestamp
from gateway.tokens.token import Status, Token


class Supposed(msgspec.Struct, frozen=True):
    """A `Question` about a token whose secret nobody has shown: its records stand in the place of a principal."""

    token: Token
    owner: Owner | None
    """None: the owner's record is gone."""
    address: Address | None
    target: Target
    match: Match
    now: float
    facts: Facts = NO_FACTS
    encoded: bool = False


class PolicyExplained(msgspec.Struct, frozen=True):
    """What one policy has to do with the request."""

    side: Literal["token", "owner"]
    id: str
    effect: Effect
    covers: bool
    why: str
    """One sentence."""


class Explanation(msgspec.Struct, frozen=True):
    """`decision` "need": `need` has to be fetched, and the question asked again with it among its facts."""

    decision: Literal["allow", "deny", "need"]
    reason: Reason | None
    """Why not; None unless denied."""
    message: str
    policies: tuple[PolicyExplained, ...]
    remedy: str
    """The least change that would allow it; "" where it is allowed, or not decided."""
    need: Fact | None = None


def explain(question: Supposed, groups: PermissionGroups) -> Explanation:
    """The decision on `question`, and how it came about. Raises ValueError for an unreadable record."""
    compiled = compile_token(question.token, compile_owner(question.owner) if question.owner else None)
    asked = Supposition(
        principal=Unproved(compiled, _field(question.match)),
        address=question.address,
        target=question.target,
        match=question.match,
        now=question.now,
        facts=question.facts,
        encoded=question.encoded,
    )
    objections = [found for check in CHECKS if (found := check(asked))]
    sides = _sides(asked, question, groups)
    policies = tuple(one for side in sides for one in side.explained())
    match next(iter(objections), None):
        case None:
            return Explanation("allow", None, "Allowed", policies, "")
        case Need(fact):
            return Explanation("need", None, _turns_on(fact), policies, "", fact)
        case Deny() as first:
            # The first is the answer; to take it away opens nothing where another stands behind it.
            denials = [found for found in objections if isinstance(found, Deny)]
            remedies = dict.fromkeys(_remedy(denial, question, sides) for denial in denials)
            return Explanation("deny", first.reason, _said(first), policies, _in_one(remedies))


def _in_one(remedies: Iterable[str]) -> str:
    """`Enable the token; and give it ...`."""
    words = "; and ".join(f"{remedy[:1].lower()}{remedy[1:]}" for remedy in remedies if remedy)
    return words[:1].upper() + words[1:]


def _field(match: Match) -> str:
    """Where the token would come: a field that the route takes."""
    return min(match.route.api.credential_fields) if isinstance(match, Matched) else "authorization"


def _turns_on(fact: Fact) -> str:
    match fact:
        case ZoneAccount(_, zone):
            return f"It turns on the account in which zone {zone} lies"
        case Body():
            return "It turns on what the body names"


def _said(deny: Deny) -> str:
    row = REFUSALS[deny.reason]
    said = row.message.format(detail=deny.detail, path=deny.path, address=deny.address)
    return ". ".join([said, *([deny.note] if deny.note else []), *(_fault(fault) for fault in deny.faults)])


def _fault(fault: Fault) -> str:
    return f"{fault.pointer}: {fault.message}" if fault.pointer else fault.message


class _Side:
    """The policies of the token, or of its owner, before one request."""

    def __init__(  # noqa: PLR0913, PLR0917 - whose, and all that they are held against
        self,
        name: Literal["token", "owner"],
        policies: tuple[Policy, ...],
        route: Route,
        touched: Touched | None,
        account: str | None,
        groups: PermissionGroups,
    ) -> None:
        self.name = name
        self.policies = policies
        self.route = route
        self.touched = touched
        self.account = account
        self.groups = groups

    @property
    def where(self) -> str:
        """What the request works on."""
        if self.touched is not None:
            return resource_in_words(self.touched)
        return self.route.scope.a_word if self.route.scope else ""

    def explained(self) -> Iterator[PolicyExplained]:
        for policy in self.policies:
            covers, why = self._judge(policy)
            yield PolicyExplained(self.name, policy.id, policy.effect, covers, why)

    def _judge(self, policy: Policy) -> tuple[bool, str]:
        api = self.route.api.name
        if policy.apis and api not in policy.apis:
            return False, f"It is only about {' and '.join(policy.apis)}, and this is {api}"
        named = [self._name(one) for one in policy.permission_groups if any(one in ids for ids in self.route.opened_by)]
        if not named:
            return False, f"None of its permissions is asked for here, which is {' or '.join(self.route.permissions)}"
        if self.route.where is Where.LISTED and policy.effect is Effect.DENY:
            return False, "A deny keeps nobody from asking for a list: it takes items out of it"
        coverage = self._coverage(policy)
        verb = "gives" if policy.effect is Effect.ALLOW else "takes away"
        if coverage is Coverage.YES:
            return True, f"It {verb} {' and '.join(named)} on {self.where}"
        if coverage is Coverage.NO:
            return False, f"Its resources do not take in {self.where}" if self.where else "The request names nothing"
        if policy.effect is Effect.DENY:
            return (
                True,
                f"It takes {' and '.join(named)} away on an account's zones, and this zone's account is not known",
            )
        return False, "It is about an account's zones, and this zone's account is not known"

    def _name(self, group_id: str) -> str:
        group = self.groups.get(group_id)
        return group.name if group else group_id

    def _coverage(self, policy: Policy) -> Coverage:
        resources = [
            found for key, value in policy.resources.items() if not isinstance(found := parse_resource(key, value), str)
        ]
        if self.route.where is Where.LISTED:
            on_some = any(SCOPE_OF[type(resource)] is self.route.scope for resource in resources)
            return Coverage.YES if on_some else Coverage.NO
        if self.touched is None:
            return Coverage.NO
        each = {covers(resource, self.touched, self.account) for resource in resources}
        return next(one for one in (Coverage.YES, Coverage.UNKNOWN, Coverage.NO) if one in {*each, Coverage.NO})

    def changes(self) -> list[str]:
        """The fewest changes to these policies with which they would give it, in words; none if they do."""
        ways = [
            self._changes(group.name, ids) for group, ids in zip(self.route.groups, self.route.opened_by, strict=True)
        ]
        return min(ways, key=len, default=[])

    def _changes(self, group: str, ids: frozenset[str]) -> list[str]:
        naming = [policy for policy in self.policies if not ids.isdisjoint(policy.permission_groups)]
        covering = [policy for policy in naming if self._judge(policy)[0]]
        right = f"{group} on {self.where}"
        changes = [
            f"take {right} out of the deny of the {self.name}'s policy {policy.id}"
            for policy in covering
            if policy.effect is Effect.DENY
        ]
        if not any(policy.effect is Effect.ALLOW for policy in covering):
            changes.append(f"give the {self.name} {right}")
        return changes


def _sides(asked: Supposition, question: Supposed, groups: PermissionGroups) -> list[_Side]:
    """Of a request that has a route for which it takes a right."""
    if not isinstance(question.match, Matched) or question.match.route.where is Where.NOWHERE:
        return []
    route = question.match.route
    touched: Touched | tuple[Fault, ...] | None
    if isinstance(route.where, InBody):
        body = None if question.encoded else question.facts.body
        touched = None if body is None else named_in(body, route.where, route.api)
        touched = None if isinstance(touched, tuple) else touched
    else:
        touched = asked.principal.token.touched(route, question.target.segments)
    account = question.facts.account if isinstance(question.facts.account, str) else None
    owned = question.owner.policies if question.owner else ()
    return [
        _Side("token", question.token.policies, route, touched, account, groups),
        _Side("owner", owned, route, touched, account, groups),
    ]


def _remedy(deny: Deny, question: Supposed, sides: list[_Side]) -> str:
    match deny.reason:
        case Reason.FORBIDDEN | Reason.UPSTREAM_UNREACHABLE:
            return _of_policies(deny.reason, sides)
        case Reason.TOKEN_DISABLED:
            return _switched_on(question)
        case Reason.TOKEN_NOT_YET_VALID:
            return (
                f"Wait until {format_timestamp(question.token.not_before or 0)}, or set not_before to an earlier time"
            )
        case Reason.TOKEN_EXPIRED:
            ended = format_timestamp(question.token.expires_on or 0)
            return f"Set expires_on to a later time than {ended}, or take it away"
        case Reason.IP_DENIED:
            return _from_there(question)
        case Reason.METHOD_NOT_ALLOWED:
            return f"Use one of {', '.join(deny.methods)}, or add a route for this method to the API's file"
        case Reason.NO_ROUTE:
            return "Correct the path, or add a route for it to the file of its API"
        case Reason.INVALID_BODY:
            return "Send a body that is plain JSON, with each key once"
        case Reason.BAD_REQUEST:
            return "Leave out the parameters of the query that the API's file forbids (forbid_query)"
        case _:
            return ""


def _of_policies(reason: Reason, sides: list[_Side]) -> str:
    token = sides[0]
    if token.touched is None and token.route.where is not Where.LISTED:
        if isinstance(token.route.where, InBody):
            return f"Let the body name it, at {'.'.join(token.route.where.at)}"
        return "Use a token that a user owns: this works on the token's own user"
    changes = [change for side in sides for change in side.changes()]
    words = "; and ".join(changes)
    if isinstance(token.touched, Zone) and token.account is None and any(_by_account(side) for side in sides):
        pin = "pin the zone's account (zonegate zone set)"
        words = f"{pin}, or {words}" if reason is Reason.FORBIDDEN else f"reach the upstream again, {pin}, or {words}"
    return words[:1].upper() + words[1:]


def _by_account(side: _Side) -> bool:
    """Whether it may turn on the account that is not known."""
    return any(
        side._coverage(policy) is Coverage.UNKNOWN  # noqa: SLF001 - of this file
        for policy in side.policies
        if any(not ids.isdisjoint(policy.permission_groups) for ids in side.route.opened_by)
    )


def _switched_on(question: Supposed) -> str:
    changes = []
    if question.token.status is not Status.ACTIVE:
        changes.append("enable the token")
    if question.owner is None:
        changes.append(f"create the owner {question.token.owner.key} again: its record is gone")
    elif question.owner.status is not OwnerStatus.ACTIVE:
        changes.append(f"enable the owner {question.owner.ref.key}")
    words = "; and ".join(changes)
    return words[:1].upper() + words[1:]


def _from_there(question: Supposed) -> str:
    if question.address is None:
        return "Take the token's condition away: a client on a Unix socket has no address"
    changes = []
    request_ip = question.token.condition.request_ip
    if request_ip.allowed and not _hold(request_ip.allowed, question.address):
        changes.append(f"add {question.address} to condition.request_ip.in")
    if _hold(request_ip.not_in, question.address):
        changes.append(f"take the networks that hold {question.address} out of condition.request_ip.not_in")
    words = "; and ".join(changes)
    return words[:1].upper() + words[1:]


def _hold(networks: tuple[str, ...], address: Address) -> bool:
    return bool(networks) and compile_condition(Condition(RequestIp(networks))).admits(address)

"""The one function that says yes or no. The order of the checks is data."""

from collections.abc import Callable
from functools import lru_cache
from typing import Final
from urllib.parse import unquote_to_bytes

from gateway.access.body import named_in
from gateway.access.decision import Allow, Body, Decision, Need, ZoneAccount
from gateway.access.question import Question, Supposition, Unknown
from gateway.catalog.api import InBody, Named, Route, Where
from gateway.catalog.route_table import Matched, MethodUnknown
from gateway.reason import Deny, Fault, Reason
from gateway.tokens.leaked import LARGEST_REPORT, reports_itself
from gateway.tokens.resource import Touched, Zone
from gateway.tokens.token import Status

# To take a member of an Enum out of it costs more than to compare it.
_ACTIVE: Final = Status.ACTIVE
_NOWHERE: Final = Where.NOWHERE


def check_status(ask: Question | Supposition) -> Deny | None:
    """The token, and its owner, are switched on."""
    token = ask.principal.token
    if token.status is _ACTIVE and token.ceiling is not None and token.ceiling.active:
        return None
    return Deny(reason=Reason.TOKEN_DISABLED)


def check_dates(ask: Question | Supposition) -> Deny | None:
    """The token lives now.

    A token lives in [not_before, expires_on): in the very second of `expires_on` it is dead.
    """
    token = ask.principal.token
    if token.not_before is not None and ask.now < token.not_before:
        return Deny(reason=Reason.TOKEN_NOT_YET_VALID)
    if token.expires_on is not None and ask.now >= token.expires_on:
        return Deny(reason=Reason.TOKEN_EXPIRED)
    return None


def check_address(ask: Question | Supposition) -> Deny | None:
    """The client is where the token may be used."""
    if ask.principal.token.address_rule.admits(ask.address):
        return None
    return Deny(reason=Reason.IP_DENIED, address=str(ask.address or "unknown"))


def check_route(ask: Question | Supposition) -> Deny | None:
    """There is a route, and it takes its credential in the field in which it came."""
    match = ask.match
    if isinstance(match, Matched):
        api = match.route.api
        if ask.principal.credential_field not in api.credential_fields:
            return Deny(reason=Reason.MISSING_CREDENTIALS)
        if api.forbid_query and ask.target.query and _names(ask.target.query) & api.forbid_query:
            return Deny(reason=Reason.BAD_REQUEST, detail="query: a parameter that this API does not take")
        return None
    if isinstance(match, MethodUnknown):
        return Deny(reason=Reason.METHOD_NOT_ALLOWED, methods=match.methods)
    return Deny(reason=Reason.NO_ROUTE, path=ask.target.path.decode("ascii"))


def _names(query: bytes) -> set[bytes]:
    """The names of a query's parameters, as a form decoder reads them; in lower case, since some take them in any."""
    pairs = query.replace(b";", b"&").split(b"&")
    return {unquote_to_bytes(pair.partition(b"=")[0].replace(b"+", b" ")).lower() for pair in pairs}


def check_policies(ask: Question | Supposition) -> Deny | Need | None:
    """The token's policies give one of the route's groups on what is touched, and so do its owner's, each alone."""
    if not isinstance(ask.match, Matched):
        return check_route(ask)
    route = ask.match.route
    if route.where is _NOWHERE:
        return None
    answer = ask.principal.token.opens(route, ask.target.segments)
    if answer:
        return None
    return _forbidden(route) if answer is False else _by_facts(ask, route)


def _by_facts(ask: Question | Supposition, route: Route) -> Deny | Need | None:
    """The same where it turns on a fact. What was asked for once is not asked for again, whatever came of it."""
    token = ask.principal.token
    touched: Touched | Deny | Need | None
    if isinstance(route.where, InBody):
        touched = _named_in_body(ask, route.where, route)
        if isinstance(touched, Deny | Need):
            return touched
        if touched is not None and token.opens_on(route, touched):
            return None
        if not isinstance(touched, Zone) or not token.turns_on_account(route, touched):
            return _forbidden(route)
    else:
        touched = token.touched(route, ask.target.segments)
    if not isinstance(touched, Zone):
        return _forbidden(route)
    match ask.facts.account:
        case None:
            return Need(ZoneAccount(route.api, touched.name))
        case Unknown.UNREACHABLE if token.lacks_only_the_account(route, touched):
            return Deny(reason=Reason.UPSTREAM_UNREACHABLE)
        case str(account) if token.opens_on(route, touched, account):
            return None
        case _:
            return _forbidden(route)


NOT_PLAIN: Final = "compressed, in another charset, or a form: here it takes JSON in UTF-8, as it stands"


def _named_in_body(ask: Question | Supposition, where: InBody, route: Route) -> Touched | Deny | Need | None:
    if ask.encoded:
        # One body may be JSON as it stands, and once it is unpacked other JSON, or a form.
        return Deny(reason=Reason.INVALID_BODY, faults=(Fault("", NOT_PLAIN),))
    if ask.facts.body is None:
        return Need(Body())
    found = named_in(ask.facts.body, where, route.api)
    return Deny(reason=Reason.INVALID_BODY, faults=found) if isinstance(found, tuple) else found


@lru_cache(maxsize=4096)
def _forbidden(route: Route) -> Deny:
    return Deny(reason=Reason.FORBIDDEN, needs=route.permissions, note=in_words(route))


def in_words(route: Route) -> str:
    """What a token needs for `route`: names of the route, nothing of the request."""
    match route.where:
        case Where.SELF:
            where = "on the token's own user"
        case Where.LISTED:
            where = f"on {route.scope.a_word if route.scope else 'a resource'}"
        case InBody("zone", at):
            where = f"on the zone that the body names ({'.'.join(at)})"
        case InBody(_, at):
            where = f"on all zones of the account that the body names ({'.'.join(at)})"
        case Named(scope, _):
            where = f"on this {scope.word}"
        case Where.NOWHERE:
            where = ""
    every = " or ".join(route.permissions)
    return f"This needs {every} {where}"


CHECKS: Final[tuple[Callable[[Question | Supposition], Deny | Need | None], ...]] = (
    check_status,  # what the token says of itself: cheap, and tells least
    check_dates,
    check_address,
    check_route,
    check_policies,  # last, and dearest: permission AND resource out of the same policy, never half from each of two
)


def _unless_reported(ask: Question, objection: Deny | Need) -> Deny | Need | None:
    """`objection` to what the token says of itself, unless the request reports that very token's secret as leaked."""
    match = ask.match
    if not isinstance(match, Matched) or not match.route.reports or ask.encoded:
        return objection
    if ask.facts.body is None:
        return Need(Body(LARGEST_REPORT))
    return None if reports_itself(ask.facts.body, ask.principal.token.id) else objection


_WAIVED: Final = frozenset({check_status, check_dates, check_address})
"""What a secret is not asked that is shown in order to be reported: see `Route.reports`."""


def decide(ask: Question) -> Decision:
    """Yes, no, or what has to be fetched first. Each check has no objection, or ends it.

    At most two facts are asked for, each once: the body, and the account of the zone that it or the path names.
    """
    for check in CHECKS:
        objection = check(ask)
        if objection and check in _WAIVED:
            objection = _unless_reported(ask, objection)
        if objection:
            return objection
    if not isinstance(ask.match, Matched):
        return Deny(reason=Reason.INTERNAL_ERROR)
    return Allow(ask.principal, ask.match.route, ask.target)

"""The one function that says yes or no. The order of the checks is data."""

from collections.abc import Callable
from functools import lru_cache
from typing import Final
from urllib.parse import unquote_to_bytes

from gateway.access.decision import Allow, Decision
from gateway.access.question import Question
from gateway.catalog.api import Named, Route, Where
from gateway.catalog.route_table import Matched, MethodUnknown
from gateway.reason import Deny, Reason
from gateway.tokens.token import Status

# To take a member of an Enum out of it costs more than to compare it.
_ACTIVE: Final = Status.ACTIVE
_NOWHERE: Final = Where.NOWHERE


def check_status(ask: Question) -> Deny | None:
    """The token, and its owner, are switched on."""
    token = ask.principal.token
    if token.status is _ACTIVE and token.ceiling is not None and token.ceiling.active:
        return None
    return Deny(reason=Reason.TOKEN_DISABLED)


def check_dates(ask: Question) -> Deny | None:
    """The token lives now.

    A token lives in [not_before, expires_on): in the very second of `expires_on` it is dead.
    """
    token = ask.principal.token
    if token.not_before is not None and ask.now < token.not_before:
        return Deny(reason=Reason.TOKEN_NOT_YET_VALID)
    if token.expires_on is not None and ask.now >= token.expires_on:
        return Deny(reason=Reason.TOKEN_EXPIRED)
    return None


def check_address(ask: Question) -> Deny | None:
    """The client is where the token may be used."""
    if ask.principal.token.address_rule.admits(ask.address):
        return None
    return Deny(reason=Reason.IP_DENIED, address=str(ask.address or "unknown"))


def check_route(ask: Question) -> Deny | None:
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
    """The names of a query's parameters, as a form decoder reads them."""
    pairs = query.replace(b";", b"&").split(b"&")
    return {unquote_to_bytes(pair.partition(b"=")[0].replace(b"+", b" ")) for pair in pairs}


def check_policies(ask: Question) -> Deny | None:
    """The token's policies give one of the route's groups on what is touched, and so do its owner's, each alone."""
    if not isinstance(ask.match, Matched):
        return check_route(ask)
    route = ask.match.route
    if route.where is _NOWHERE:
        return None
    if ask.principal.token.opens(route, ask.target.segments):
        return None
    return _forbidden(route)


@lru_cache(maxsize=4096)
def _forbidden(route: Route) -> Deny:
    return Deny(reason=Reason.FORBIDDEN, needs=route.permissions, note=in_words(route))


def in_words(route: Route) -> str:
    """What a token needs for `route`: names of the route, nothing of the request."""
    match route.where:
        case Where.SELF:
            where = "on the token's own user"
        case Where.LISTED:
            where = f"on {route.scope.a_word if route.scope else 'a resource'}; lists are not in this version yet"
        case Where.IN_BODY:
            where = "on what the body names, which is not in this version yet"
        case Named(scope, _):
            where = f"on this {scope.word}"
        case Where.NOWHERE:
            where = ""
    every = " or ".join(route.permissions)
    return f"This needs {every} {where}"


CHECKS: Final[tuple[Callable[[Question], Deny | None], ...]] = (
    check_status,  # what the token says of itself: cheap, and tells least
    check_dates,
    check_address,
    check_route,
    check_policies,  # last, and dearest: permission AND resource out of the same policy, never half from each of two
)


def decide(ask: Question) -> Decision:
    """Yes, no, or what has to be fetched first. Each check has no objection, or ends it."""
    for check in CHECKS:
        if deny := check(ask):
            return deny
    if not isinstance(ask.match, Matched):
        return Deny(reason=Reason.INTERNAL_ERROR)
    return Allow(ask.principal, ask.match.route, ask.target)

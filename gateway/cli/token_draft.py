"""Request bodies out of flags: a new token, and a token as an edit would have it."""

from collections.abc import Callable, Sequence
from typing import Any, Final

import msgspec

from gateway.cli.moment import FORMS, parse_moment
from gateway.cli.policy_draft import Facts, draft_policies
from gateway.cli.printable import printable
from gateway.cli.rate import FORMS as RATE_FORMS
from gateway.cli.rate import parse_rate
from gateway.cli.token_flag import Flags, WrongUse
from gateway.reason import Fault
from gateway.tokens.condition import parse_network
from gateway.tokens.permission_group import PermissionGroups
from gateway.tokens.rate import LONGEST_PERIOD, MOST_REQUESTS
from gateway.tokens.timestamp import format_timestamp
from gateway.tokens.token import Draft
from gateway.tokens.validation import validate_token

Body = dict[str, Any]

# The first pointer that a fault's begins with says which flag it was.
_FLAG_OF: Final = (
    ("/name", "--name"),
    ("/condition/request_ip/in", "--ip"),
    ("/condition/request_ip/not_in", "--not-ip"),
    ("/condition/request_ip", "--ip, --not-ip"),
    ("/not_before", "--not-before"),
    ("/expires_on", "--expires"),
    ("/limits", "--limit"),
    ("/policies", "--permission, --zone, --account"),
)


def new_token(flags: Flags, facts: Facts, now: float) -> Body:
    """The body that creates a token. Raises WrongUse."""
    name = flags.name if flags.name is not None else (facts.template.name if facts.template else None)
    if name is None:
        msg = "--name: give it one; only a template brings one along"
        raise WrongUse(msg)
    return _limits({"name": name, "policies": draft_policies(flags, facts)}, flags, now)


def changed_token(shown: Body, flags: Flags, facts: Facts | None, now: float) -> Body:
    """The body that puts `shown` (a token as the API gives it) back with what `flags` change. Raises WrongUse.

    Whole: what this version does not know goes back as it came, because what is left out is removed. But for the
    status, which stays when it is left out, and which nobody may set to "expired". `facts` are there when a flag
    says something of policies.
    """
    body = {key: value for key, value in shown.items() if key != "status"}
    if flags.name is not None:
        body["name"] = flags.name
    if flags.of_policies and facts is not None:
        body["policies"] = draft_policies(flags, facts)
    return _limits(body, flags, now)


def with_status(shown: Body, status: str) -> Body:
    """The body that puts `shown` back with another status."""
    return shown | {"status": status}


def _limits(body: Body, flags: Flags, now: float) -> Body:
    """`body` with the dates, the condition and the rate that `flags` say."""
    if flags.no_expiry and flags.expires is not None:
        msg = "--no-expiry: --expires says the contrary"
        raise WrongUse(msg)
    if flags.no_expiry:
        body.pop("expires_on", None)
    if flags.expires is not None:
        body["expires_on"] = _moment("--expires", flags.expires, now)
    if flags.not_before is not None:
        body["not_before"] = _moment("--not-before", flags.not_before, now)
    if flags.no_limit and flags.limit is not None:
        msg = "--no-limit: --limit says the contrary"
        raise WrongUse(msg)
    if flags.no_limit:
        body.pop("limits", None)
    if flags.limit is not None:
        body["limits"] = _rate(flags.limit)
    if flags.no_ip or flags.ip or flags.not_ip:
        condition = dict(body.pop("condition", None) or {})
        # --no-ip clears both lists first: what --ip and --not-ip beside it say is all that holds then.
        request_ip = {} if flags.no_ip else dict(condition.get("request_ip") or {})
        request_ip |= _networks("--ip", "in", flags.ip) | _networks("--not-ip", "not_in", flags.not_ip)
        condition = {key: value for key, value in condition.items() if key != "request_ip"}
        condition |= {"request_ip": request_ip} if request_ip else {}
        body |= {"condition": condition} if condition else {}
    return body


def _rate(text: str) -> dict[str, int]:
    rate = parse_rate(text)
    if rate is None:
        most = f"at most {MOST_REQUESTS} requests, {LONGEST_PERIOD // 86400} days"
        msg = f"--limit '{printable(text)}': not a rate, such as {RATE_FORMS} ({most})"
        raise WrongUse(msg)
    return {"requests": rate.requests, "period": rate.period}


def _moment(flag: str, text: str, now: float) -> str:
    seconds = parse_moment(text, now)
    if seconds is None:
        msg = f"{flag} '{printable(text)}': not a moment, such as {FORMS}"
        raise WrongUse(msg)
    return format_timestamp(seconds)


def _networks(flag: str, key: str, texts: Sequence[str]) -> dict[str, list[str]]:
    for text in texts:
        match parse_network(text):
            case str() as fault:
                msg = f"{flag} '{printable(text)}': {fault}"
                raise WrongUse(msg)
    return {key: list(texts)} if texts else {}


def check(body: Body, groups: PermissionGroups, now: float, new_id: Callable[[], str]) -> Draft | tuple[str, ...]:
    """The draft that the gateway would make of a new token's `body`, or a line for each fault, naming the flag."""
    draft = validate_token(msgspec.json.encode(body), groups, now, new_id)
    return draft if isinstance(draft, Draft) else tuple(map(_in_words, draft))


def check_change(
    body: Body, shown: Body, groups: PermissionGroups, now: float, new_id: Callable[[], str]
) -> tuple[str, ...]:
    """A line for each fault in what `body` changes of `shown`; the rest the gateway let in, and it is its to judge."""
    draft = validate_token(msgspec.json.encode(body), groups, now, new_id)
    if isinstance(draft, Draft):
        return ()
    changed = [f"/{key}" for key, value in body.items() if shown.get(key) != value]
    return tuple(_in_words(fault) for fault in draft if any(_under(fault.pointer, start) for start in changed))


def _in_words(fault: Fault) -> str:
    flag = next((flag for start, flag in _FLAG_OF if _under(fault.pointer, start)), "")
    if flag == "--permission, --zone, --account":
        return f"{flag}: {fault.message} (at {printable(fault.pointer)})"
    return f"{flag or printable(fault.pointer) or 'token'}: {fault.message}"


def _under(pointer: str, start: str) -> bool:
    return pointer == start or pointer.startswith(start + "/")

"""What a request's JSON body says it works on (DESIGN 4: `zone:{body.name}`, `zones-of:{body.account.id}`).

The body goes up as it came, and the upstream reads it with a parser of its own: what two parsers could read differently
is refused, not guessed.
"""

from typing import Any, Final

from gateway.catalog.api import Api, InBody
from gateway.reason import Fault
from gateway.tokens.grammar import Grammar
from gateway.tokens.resource import Touched, ZonesOf
from gateway.tokens.strict_json import parse_json, pointer

_ENCODED_SLASH: Final = "=2F"


def named_in(body: bytes, where: InBody, api: Api) -> Touched | tuple[Fault, ...] | None:
    """What `body` names at `where`, None where it names nothing that a policy could, or why it cannot be read."""
    if not body:
        return None
    value, faults = parse_json(body)
    if faults:
        return faults
    for depth, key in enumerate(where.at):
        if not isinstance(value, dict):
            return None
        if faults := _look_alikes(value, key, where.at[:depth]):
            return faults
        value = value.get(key)
    return _touched(value, where, api) if isinstance(value, str) else None


def _look_alikes(value: dict[str, Any], key: str, at: tuple[str, ...]) -> tuple[Fault, ...]:
    """Some parsers take a member in any case (Go's), or end a name at its first nought (C's): theirs may be another."""
    plain = key.casefold()
    return tuple(
        Fault(pointer(*at, other), f"a key that some would read as {key!r}")
        for other in value
        if other != key and other.partition("\0")[0].casefold() == plain
    )


def _touched(name: str, where: InBody, api: Api) -> Touched | None:
    if where.kind == "zones-of":
        return ZonesOf(name) if _is(Grammar.NAME, name) else None
    if api.zone_key == "dns-name":
        # In a body a slash stands plain, and `=` is a letter like any other. None of the escapes that DNS names know
        # (RFC 4343 2.1: \097 is an a) is of the grammar.
        spelt = name.replace("/", _ENCODED_SLASH)
        return api.zone(spelt) if "=" not in name and _is(Grammar.DNS_NAME, spelt) else None
    return api.zone(name) if _is(Grammar.NAME, name) else None


def _is(grammar: Grammar, text: str) -> bool:
    return text.isascii() and grammar.accepts(text.encode("ascii"))

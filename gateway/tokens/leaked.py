"""The body of a report of leaked secrets: `{"secrets": ["zgt_...", ...]}` (DESIGN 9). No fault repeats any of it."""

from collections.abc import Sequence
from typing import Any, Final

from gateway.reason import Fault
from gateway.tokens.secret import Credential, parse_secret
from gateway.tokens.strict_json import MOST_FAULTS, parse_json, pointer

MOST_SECRETS: Final = 100
LARGEST_REPORT: Final = 64 * 1024
"""Bytes of the whole body."""
MEMBER: Final = "secrets"


def read_report(body: bytes) -> tuple[Credential | None, ...] | tuple[Fault, ...]:
    """What is reported, in its order (None: no secret of ours by its shape), or all faults of the body."""
    value, broken = parse_json(body)
    if broken:
        return broken
    if not isinstance(value, dict):
        return (Fault("", "not an object"),)
    faults = [Fault(pointer(key), "unknown field") for key in value if key != MEMBER]
    faults += _faults(value.get(MEMBER))
    return tuple(faults[:MOST_FAULTS]) or tuple(parse_secret(text.strip()) for text in value[MEMBER])


def _faults(secrets: object) -> Sequence[Fault]:
    if not isinstance(secrets, list):
        return [Fault(pointer(MEMBER), "missing" if secrets is None else "not an array")]
    if not 1 <= len(secrets) <= MOST_SECRETS:
        return [Fault(pointer(MEMBER), f"{len(secrets)} items: it takes 1 to {MOST_SECRETS}")]
    items: list[Any] = secrets
    return [Fault(pointer(MEMBER, at), "not a string") for at, item in enumerate(items) if not isinstance(item, str)]


def reports_itself(body: bytes, token_id: str) -> bool:
    """Whether `body` reports a secret of the token `token_id`."""
    return any(isinstance(each, Credential) and each.token_id == token_id for each in read_report(body))

"""JSON that two readers cannot read differently (RFC 8259, and stricter: RFC 7493).

Refused: duplicate keys, NaN and infinities, numbers that no double holds, nesting deeper than 32, lone surrogates,
anything but UTF-8. The standard library's parser is used for the grammar itself.
"""

import json
import math
import re
from collections.abc import Iterator
from typing import Any, Final

from gateway.reason import Fault

DEEPEST: Final = 32
MOST_FAULTS: Final = 50
_LONGEST_INTEGER: Final = 20
# Possessive, and an unterminated string reaches to the end: no input is looked at twice.
_STRING_OR_BRACKET: Final = re.compile(r'"(?:[^"\\]|\\.)*+(?:"|\\?\Z)|[\[{]|[\]}]', re.DOTALL)
_PLAIN_KEY: Final = re.compile(r"[A-Za-z0-9_.*-]{1,128}", re.ASCII)


class _WithDuplicates(dict[str, Any]):
    """An object in which a key came twice; `_walk` finds it, and knows where it stands."""


class _Unfit(ValueError):  # noqa: N818 - never leaves this module
    pass


def _pairs(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    return found if len(found) == len(pairs) else _WithDuplicates(found)


def _constant(_: str) -> float:
    msg = "NaN and infinities are not JSON"
    raise _Unfit(msg)


def _float(text: str) -> float:
    number = float(text)
    if math.isinf(number):
        msg = "a number is out of range"
        raise _Unfit(msg)
    return number


def _int(text: str) -> int:
    if len(text) > _LONGEST_INTEGER:
        msg = "a number is out of range"
        raise _Unfit(msg)
    return int(text)


def _depth(text: str) -> int:
    deepest = depth = 0
    for found in _STRING_OR_BRACKET.finditer(text):
        if found[0] in "[{":
            depth += 1
            deepest = max(deepest, depth)
        elif found[0] in "]}":
            depth -= 1
    return deepest


def pointer(*parts: str | int) -> str:
    """A JSON pointer (RFC 6901 3) of `parts`; ends before a part that is no plain name, so that it echoes no junk."""
    out = ""
    for part in parts:
        if isinstance(part, str) and not _PLAIN_KEY.fullmatch(part):
            break
        out += f"/{part}"
    return out


def _walk(value: object, *at: str | int) -> Iterator[Fault]:
    match value:
        case str() if not _is_unicode(value):
            yield Fault(pointer(*at), "a string holds half of a surrogate pair")
        case dict():
            if isinstance(value, _WithDuplicates):
                yield Fault(pointer(*at), "a key stands here twice")
            for key, item in value.items():
                yield from _walk(key, *at)
                yield from _walk(item, *at, key)
        case list():
            for index, item in enumerate(value):
                yield from _walk(item, *at, index)
        case _:
            pass


def _is_unicode(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def parse_json(body: bytes) -> tuple[Any, tuple[Fault, ...]]:
    """The value that `body` is, and what is wrong with it; the value counts only if nothing is."""
    try:
        text = body.decode()
    except UnicodeDecodeError:
        return None, (Fault("", "not UTF-8"),)
    # Before the parser sees it: the parser recurses.
    if _depth(text) > DEEPEST:
        return None, (Fault("", f"nested deeper than {DEEPEST}"),)
    try:
        value = json.loads(text, object_pairs_hook=_pairs, parse_constant=_constant, parse_float=_float, parse_int=_int)
    except _Unfit as unfit:
        return None, (Fault("", str(unfit)),)
    except json.JSONDecodeError as error:
        return None, (Fault("", f"not JSON at line {error.lineno}, column {error.colno}"),)
    faults = tuple(fault for fault, _ in zip(_walk(value), range(MOST_FAULTS), strict=False))
    return value, faults

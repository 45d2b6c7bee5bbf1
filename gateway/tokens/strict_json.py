"""JSON that two readers cannot read differently (RFC 8259, and stricter: RFC 7493).

Refused: duplicate keys, NaN and infinities, numbers that no double holds, nesting deeper than 32, lone surrogates,
anything but UTF-8. The standard library's parser is used for the grammar itself.
"""

import json
import math
import re
from collections import Counter
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
    """An object in which keys came twice; `_walk` finds it, and knows where it stands."""

    twice: tuple[str, ...] = ()


class _Unfit:
    """Stands for a value that is none, until `_walk` says where it stood."""

    def __init__(self, message: str) -> None:
        self.message = message


_NOT_FINITE: Final = _Unfit("NaN and infinities are not JSON")
_OUT_OF_RANGE: Final = _Unfit("a number is out of range")


def _pairs(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) == len(pairs):
        return found
    counted = Counter(key for key, _ in pairs)
    marked = _WithDuplicates(found)
    marked.twice = tuple(key for key, count in counted.items() if count > 1)
    return marked


def _float(text: str) -> float | _Unfit:
    number = float(text)
    return _OUT_OF_RANGE if math.isinf(number) else number


def _int(text: str) -> int | _Unfit:
    return _OUT_OF_RANGE if len(text) > _LONGEST_INTEGER else int(text)


def _too_deep(text: str) -> Fault | None:
    """The fault of nesting too deep, at the member of the body in which it happens."""
    depth = 0
    key = '""'
    for found in _STRING_OR_BRACKET.finditer(text):
        if found[0] in "[{":
            depth += 1
            if depth > DEEPEST:
                return Fault(pointer(key[1:-1]), f"nested deeper than {DEEPEST}")
        elif found[0] in "]}":
            depth -= 1
        elif depth == 1:
            key = found[0]
    return None


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
        case _Unfit():
            yield Fault(pointer(*at), value.message)
        case str() if not _is_unicode(value):
            yield Fault(pointer(*at), "a string holds half of a surrogate pair")
        case dict():
            if isinstance(value, _WithDuplicates):
                yield from (Fault(pointer(*at, key), "a key that stands here twice") for key in value.twice)
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
    if deep := _too_deep(text):
        return None, (deep,)
    try:
        value = json.loads(
            text,
            object_pairs_hook=_pairs,
            parse_constant=lambda _: _NOT_FINITE,
            parse_float=_float,
            parse_int=_int,
        )
    except json.JSONDecodeError as error:
        return None, (Fault("", f"not JSON at line {error.lineno}, column {error.colno}"),)
    faults = tuple(fault for fault, _ in zip(_walk(value), range(MOST_FAULTS), strict=False))
    return (None if faults else value), faults

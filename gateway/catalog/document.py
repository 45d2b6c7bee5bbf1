"""TOML texts read strictly into structs: an unknown key or a wrong type is an error that names file and key."""

import re
import tomllib
from typing import Any, Final, TypeVar

import msgspec

T = TypeVar("T")
_AT: Final = re.compile(r"(?P<what>.*?)(?: - at `\$\.?(?P<key>.*)`)?", re.DOTALL)

_UNKNOWN: Final = re.compile(r"Object contains unknown field `(.*)`", re.DOTALL)


class CatalogError(Exception):
    """A file of `policies/` that cannot be used. One line: file, key or route, what is wrong."""

    def __init__(self, file: str, message: str) -> None:
        super().__init__(f"{file}: {message}")


def key_and_fault(error: msgspec.ValidationError) -> tuple[str, str]:
    """The key (`route[0].path`, "" for the whole) and what is wrong there, out of msgspec's one text."""
    found = _AT.fullmatch(str(error))
    what, key = (found["what"], found["key"] or "") if found else (str(error), "")
    if unknown := _UNKNOWN.fullmatch(what):
        return f"{key}.{unknown[1]}" if key else unknown[1], "unknown key"
    return key, what


def in_words(error: msgspec.ValidationError) -> str:
    """`listen.port: Expected `int`, got `str``: the key first."""
    key, what = key_and_fault(error)
    return f"{key}: {what}" if key else what


def parse_toml(file: str, text: str) -> dict[str, Any]:
    """The table that `text` is; `file` is named in the error."""
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise CatalogError(file, f"not TOML: {error}") from None


def read_document(file: str, text: str, type_: type[T]) -> T:
    """`text` as a `type_`."""
    try:
        return msgspec.convert(parse_toml(file, text), type_)
    except msgspec.ValidationError as error:
        raise CatalogError(file, in_words(error)) from None

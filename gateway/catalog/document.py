"""TOML texts read strictly into structs: an unknown key or a wrong type is an error that names file and key."""

import re
import tomllib
from typing import Any, Final, TypeVar

import msgspec

T = TypeVar("T")
_AT: Final = re.compile(r"(?P<what>.*?)(?: - at `\$\.?(?P<key>.*)`)?", re.DOTALL)


class CatalogError(Exception):
    """A file of `policies/` that cannot be used. One line: file, key or route, what is wrong."""

    def __init__(self, file: str, message: str) -> None:
        super().__init__(f"{file}: {message}")


def in_words(error: msgspec.ValidationError) -> str:
    """`listen.port: Expected `int`, got `str``: msgspec's message, the key first."""
    found = _AT.fullmatch(str(error))
    key = found["key"] if found else None
    return f"{key}: {found['what']}" if found and key else str(error)


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

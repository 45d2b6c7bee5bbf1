"""TOML texts read strictly into structs: an unknown key or a wrong type is an error that names file and key.

What is wrong is gathered: a broken entry is told and left out, and the rest of its file is still looked at.
"""

import re
import tomllib
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Annotated, Any, Final, TypeVar, get_args, get_origin

import msgspec

from gateway.catalog.line import TableLines, line_of_broken_toml

T = TypeVar("T")
_AT: Final = re.compile(r"(?P<what>.*?)(?: - at `\$\.?(?P<key>.*)`)?", re.DOTALL)

_UNKNOWN: Final = re.compile(r"Object contains unknown field `(.*)`", re.DOTALL)


class CatalogFault(msgspec.Struct, frozen=True):
    """One thing that is wrong. `key`: where in its file (`route[3].path`), "" if nowhere; `line` 0: not known."""

    file: str
    message: str
    key: str = ""
    line: int = 0

    def __str__(self) -> str:
        line = f" (line {self.line})" if self.line else ""
        return f"{self.file}: {self.message}{line}"


class CatalogError(Exception):
    """Files of `policies/` that cannot be used. `str` is one line: the first fault, and how many more there are."""

    def __init__(self, file: str, message: str, key: str = "", line: int = 0) -> None:
        self.faults: tuple[CatalogFault, ...] = (CatalogFault(file, message, key, line),)
        super().__init__(file, message)

    @classmethod
    def of(cls, faults: Iterable[CatalogFault]) -> "CatalogError":
        """All of `faults`, of which there is at least one, in one error."""
        first, *rest = faults
        error = cls(first.file, first.message, first.key, first.line)
        error.faults = (first, *rest)
        return error

    def __str__(self) -> str:
        more = len(self.faults) - 1
        return f"{self.faults[0]}{f'; and {more} more: see `zonegate policy check`' if more else ''}"


class Gathered:
    """Faults of several files as they are found, each with its line as far as its file tells."""

    def __init__(self, texts: Mapping[str, str]) -> None:
        """`texts`: what the files hold, by name."""
        self._texts = texts
        self._found: list[CatalogFault] = []

    @contextmanager
    def faults(self) -> Iterator[None]:
        """What is raised within is kept, and the work goes on behind it."""
        try:
            yield
        except CatalogError as error:
            self._found += error.faults

    def end(self) -> None:
        """Raises CatalogError if there were faults."""
        if self._found:
            raise self.error()

    def error(self) -> CatalogError:
        """All faults; there is at least one."""
        lines: dict[str, TableLines] = {}
        return CatalogError.of([self._with_line(fault, lines) for fault in self._found])

    def _with_line(self, fault: CatalogFault, lines: dict[str, TableLines]) -> CatalogFault:
        if fault.line or not fault.key or fault.file not in self._texts:
            return fault
        if fault.file not in lines:
            lines[fault.file] = TableLines(self._texts[fault.file])
        return msgspec.structs.replace(fault, line=lines[fault.file].of(fault.key))


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
        raise CatalogError(file, f"not TOML: {error}", line=line_of_broken_toml(str(error), text)) from None
    except RecursionError:
        raise CatalogError(file, "not TOML that anybody would read: it is nested too deeply") from None


def read_document(file: str, text: str, type_: type[T]) -> T:
    """`text` as a `type_`."""
    return read_table(file, parse_toml(file, text), type_)


def read_table(file: str, table: Mapping[str, Any], type_: type[T], key: str = "") -> T:
    """`table`, which stands at `key` of `file`, as the struct `type_`. The error has all faults of its members."""
    try:
        return msgspec.convert(table, type_)
    except msgspec.ValidationError as error:
        raise CatalogError.of(_faults(file, table, type_, key) or [_fault(file, error, key)]) from None


def _fault(file: str, error: msgspec.ValidationError, at: str) -> CatalogFault:
    key, what = key_and_fault(error)
    whole = f"{at}{key}" if key.startswith("[") else ".".join(part for part in (at, key) if part)
    return CatalogFault(file, f"{whole}: {what}" if whole else what, whole)


def _faults(file: str, table: Mapping[str, Any], type_: type[T], key: str) -> list[CatalogFault]:
    """All faults of the members, each looked at alone: msgspec stops at the first."""
    fields = {field.encode_name: field for field in msgspec.structs.fields(type_)}  # type: ignore[arg-type]
    found = []
    for name, value in table.items():
        at = f"{key}.{name}" if key else name
        if name not in fields:
            found.append(CatalogFault(file, f"{at}: unknown key", at))
            continue
        try:
            msgspec.convert(value, fields[name].type)
        except msgspec.ValidationError as error:
            found += _faults_of_items(file, value, fields[name].type, at) or [_fault(file, error, at)]
    for name, field in fields.items():
        if field.required and name not in table:
            what = f"Object missing required field `{name}`"
            found.append(CatalogFault(file, f"{key}: {what}" if key else what, key))
    return found


def _faults_of_items(file: str, value: object, type_: object, key: str) -> list[CatalogFault]:
    """Those of a list of tables; none where `value` or `type_` is something else."""
    if get_origin(type_) is Annotated:
        type_ = get_args(type_)[0]
    item = get_args(type_)[0] if get_origin(type_) is tuple else None
    if not isinstance(value, list) or not (isinstance(item, type) and issubclass(item, msgspec.Struct)):
        return []
    return [
        fault
        for index, entry in enumerate(value)
        if isinstance(entry, dict)
        for fault in _faults(file, entry, item, f"{key}[{index}]")
    ]

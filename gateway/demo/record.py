"""A DNS record: what a client may ask for, and what becomes of it.

`compose` is the only way to a `Record`; `check_conflicts` says whether it may stand beside the others.
"""

import ipaddress
import re
from collections.abc import Iterable, Mapping
from typing import Final

import msgspec
from msgspec import UNSET, UnsetType

from gateway.demo.fault import Fault, Rejected

PROXIABLE: Final = frozenset({"A", "AAAA", "CNAME"})
HOST_TYPES: Final = frozenset({"CNAME", "MX", "NS", "PTR"})
TYPES: Final = PROXIABLE | HOST_TYPES | {"CAA", "TXT"}
AUTOMATIC_TTL: Final = 1
_TTLS: Final = range(60, 86401)
_PRIORITIES: Final = range(65536)
_LONGEST_NAME: Final = 253
_LONGEST_TXT: Final = 2048
_NAME: Final = re.compile(r"(?:\*|[a-z0-9_-]{1,63})(?:\.[a-z0-9_-]{1,63})*")
_CAA: Final = re.compile(r'\d{1,3} [a-z]+ "[ !#-~]*"')  # printable ASCII but the quote
_LONGEST_STRING: Final = 255
_QUOTED: Final = re.compile(r'"((?:[^"\\]|\\.)*)"')
_ESCAPE: Final = re.compile(r"\\([0-9]{3}|.)")
_UNSAFE: Final = re.compile(r'["\\\x00-\x1f\x7f]')
_ALL_QUOTED: Final = re.compile(rf"{_QUOTED.pattern}(?:\s+{_QUOTED.pattern})*")


class RecordBody(msgspec.Struct, kw_only=True, frozen=True):
    """A whole record in a request; what it does not know (`id`, `created_on`, `data`, ...) is ignored."""

    type: str
    name: str
    content: str
    ttl: int = AUTOMATIC_TTL
    proxied: bool = False
    priority: int | None = None
    comment: str | None = None
    tags: list[str] = []
    settings: dict[str, bool | None] = {}


class Record(msgspec.Struct, kw_only=True, frozen=True):
    """A record as the API shows it. `priority` is left out where the type has none."""

    id: str
    name: str
    type: str
    content: str
    priority: int | UnsetType = UNSET
    proxiable: bool
    proxied: bool
    ttl: int
    settings: dict[str, bool | None]
    meta: dict[str, bool] = {}
    comment: str | None
    tags: list[str]
    created_on: str
    modified_on: str


def patched(existing: Record, changes: Mapping[str, object]) -> RecordBody:
    """The whole record that a PATCH asks for: `existing`, with `changes` put into it (one level deep)."""
    return msgspec.convert({**msgspec.to_builtins(existing), **changes}, RecordBody)


def compose(body: RecordBody, *, zone: str, record_id: str, created_on: str, now: str) -> Record:
    """The record that `body` asks for in the zone called `zone`.

    Raises Rejected for whatever no name server would serve.
    """
    if body.type not in TYPES:
        raise Rejected(Fault.RECORD_TYPE, type=body.type)
    if body.proxied and body.type not in PROXIABLE:
        raise Rejected(Fault.NOT_PROXIABLE)
    if body.ttl != AUTOMATIC_TTL and body.ttl not in _TTLS:
        raise Rejected(Fault.TTL)
    if body.type == "MX" and body.priority not in _PRIORITIES:
        raise Rejected(Fault.PRIORITY)
    return Record(
        id=record_id,
        name=absolute_name(body.name, zone),
        type=body.type,
        content=_checked_content(body),
        priority=body.priority if body.type == "MX" and body.priority is not None else UNSET,
        proxiable=body.type in PROXIABLE,
        proxied=body.proxied,
        # A proxied name is answered with the proxy's addresses, so its TTL is not the customer's to set.
        ttl=AUTOMATIC_TTL if body.proxied else body.ttl,
        settings=body.settings,
        comment=body.comment or None,
        tags=body.tags,
        created_on=created_on,
        modified_on=now,
    )


def check_conflicts(record: Record, others: Iterable[Record]) -> None:
    """Raise Rejected if `record` cannot stand beside `others`; one of its own id is its old form."""
    for other in others:
        if other.id == record.id or other.name != record.name:
            continue
        if (other.type, _told(other)) == (record.type, _told(record)):
            raise Rejected(Fault.IDENTICAL_RECORD)
        if {other.type, record.type} <= PROXIABLE and "CNAME" in (other.type, record.type):  # RFC 1034 3.6.2
            raise Rejected(Fault.HOST_EXISTS if record.type == "CNAME" else Fault.CNAME_EXISTS)


def absolute_name(name: str, zone: str) -> str:
    """`name` with the zone's name behind it, lower case, without a final dot; "@" is the zone itself.

    As in the real API, and unlike in a zone file, `other.example` is `other.example.<zone>`. Raises Rejected.
    """
    name = name.lower().removesuffix(".")
    if name in ("@", ""):
        name = zone
    elif name != zone and not name.endswith(f".{zone}"):
        name = f"{name}.{zone}"
    if not is_name(name):
        raise Rejected(Fault.NAME)
    return name


def is_name(name: str) -> bool:
    """Whether `name` is a DNS name in lower case without a final dot (IDNA as punycode)."""
    return len(name) <= _LONGEST_NAME and _NAME.fullmatch(name) is not None


def plain_txt(content: str) -> str:
    """The text of a TXT record, which may be written as one or more quoted strings (RFC 1035 5.1)."""
    if not _ALL_QUOTED.fullmatch(content):
        return content
    return "".join(_ESCAPE.sub(_unescaped, part) for part in _QUOTED.findall(content))


def quoted_txt(text: str) -> str:
    """`text` as quoted strings of 255 characters at most; neither quotes nor line ends get through."""
    parts = [text[at : at + _LONGEST_STRING] for at in range(0, len(text), _LONGEST_STRING)]
    return " ".join(f'"{_UNSAFE.sub(_escaped, part)}"' for part in parts)


def _escaped(unsafe: re.Match[str]) -> str:
    return f"\\{unsafe[0]}" if unsafe[0].isprintable() else f"\\{ord(unsafe[0]):03}"


def _unescaped(escape: re.Match[str]) -> str:
    return chr(int(escape[1])) if escape[1].isdecimal() else escape[1]


def _told(record: Record) -> tuple[str, int | UnsetType]:
    """What a resolver is told; quotes around a text are only a way to write it."""
    return plain_txt(record.content) if record.type == "TXT" else record.content, record.priority


def _checked_content(body: RecordBody) -> str:
    content = body.content.strip()
    match body.type:
        case "A":
            if not _is_address(content, ipaddress.IPv4Address):
                raise Rejected(Fault.NOT_IPV4)
        case "AAAA":
            if not _is_address(content, ipaddress.IPv6Address):
                raise Rejected(Fault.NOT_IPV6)
        case "TXT":
            if not 0 < len(content) <= _LONGEST_TXT:
                raise Rejected(Fault.CONTENT, type=body.type)
        case "CAA":
            if not _CAA.fullmatch(content):
                raise Rejected(Fault.CONTENT, type=body.type)
        case _:
            content = content.lower().removesuffix(".")
            # An address is no host's name, and would pass for one.
            if not is_name(content) or _is_address(content, ipaddress.IPv4Address):
                raise Rejected(Fault.CONTENT, type=body.type)
    return content


def _is_address(text: str, kind: type[ipaddress.IPv4Address | ipaddress.IPv6Address]) -> bool:
    try:
        kind(text)
    except ValueError:
        return False
    return True

"""A zone as a BIND file (RFC 1035 5), both ways; what `render` writes, `parse` reads.

Read: one record a line, `$ORIGIN`, `$TTL`, comments, quoted strings, an owner left out (as the line before).
Not read: parentheses, `$INCLUDE` (a file of the server's!), `$GENERATE`, TTLs with units. SOA, and NS of the
zone itself, are the API's own and passed over, as the real one does.
The comment behind a record carries what DNS has no place for: its comment, and `cf_tags=cf-proxied:true`.
"""

import re
from collections.abc import Iterable, Sequence
from typing import Final

from msgspec.structs import replace

from gateway.demo.fault import Fault, Rejected
from gateway.demo.record import AUTOMATIC_TTL, HOST_TYPES, TYPES, Record, RecordBody, plain_txt, quoted_txt

_LINE_END: Final = re.compile(r"\r?\n")
_TOKEN: Final = re.compile(r'"(?:[^"\\]|\\.)*"|;.*|[^\s;"]+|"')
_UNREADABLE: Final = frozenset('"()')
_TAGS: Final = re.compile(r"\s*cf_tags=(\S*)\s*$")
_PROXIED: Final = "cf-proxied:true"


def render(zone: str, name_servers: Sequence[str], records: Iterable[Record]) -> str:
    """The whole zone as text that a name server reads."""
    lines = [
        f"; {zone}, out of the demo upstream",
        f"$ORIGIN {zone}.",
        f"{zone}.\t3600\tIN\tSOA\t{name_servers[0]}. dns.{zone}. 1 10000 2400 604800 3600",
        *(f"{zone}.\t86400\tIN\tNS\t{server}." for server in name_servers),
        *map(_line, sorted(records, key=lambda record: (record.type, record.name, record.content))),
    ]
    return "\n".join(lines) + "\n"


def parse(text: str, zone: str) -> list[RecordBody]:
    """The records that `text` has for the zone called `zone`. Raises Rejected, naming the bad line."""
    reader = _Reader(f"{zone}.")
    found = []
    for number, line in enumerate(_LINE_END.split(text), 1):
        try:
            found += reader.read(line)
        except ValueError as error:
            raise Rejected(Fault.ZONE_FILE, line=number, detail=error) from None
    return found


def _line(record: Record) -> str:
    match record.type:
        case "TXT":
            data = quoted_txt(plain_txt(record.content))
        case "MX":
            data = f"{record.priority} {record.content}."
        case type_ if type_ in HOST_TYPES:
            data = f"{record.content}."
        case _:
            data = record.content
    remarks = (record.comment or "").split()  # no line end gets through
    if record.proxied:
        remarks.append(f"cf_tags={_PROXIED}")
    behind = f" ; {' '.join(remarks)}" if remarks else ""
    return f"{record.name}.\t{record.ttl}\tIN\t{record.type}\t{data}{behind}"


class _Reader:
    """What the lines so far have set for those that follow. Names are absolute, with their final dot."""

    def __init__(self, zone: str) -> None:
        self.zone = zone
        self.origin = zone
        self.owner = zone
        self.ttl = AUTOMATIC_TTL

    def read(self, line: str) -> list[RecordBody]:
        """The record in `line`, if it has one to keep. Raises ValueError, saying what is wrong."""
        tokens: list[str] = _TOKEN.findall(line)
        comment = tokens.pop()[1:] if tokens and tokens[-1].startswith(";") else ""
        match tokens:
            case []:
                return []
            case ["$ORIGIN", name]:
                self.origin = self._absolute(name)
                return []
            case ["$TTL", seconds] if seconds.isdecimal():
                self.ttl = int(seconds)
                return []
            case [first, *_] if first.startswith("$") or not _UNREADABLE.isdisjoint(tokens):
                msg = "not understood here"
                raise ValueError(msg)
            case _:
                return self._record(line, tokens, comment)

    def _record(self, line: str, tokens: list[str], comment: str) -> list[RecordBody]:
        if not line[0].isspace():
            self.owner = self._absolute(tokens.pop(0)).lower()
        if not f".{self.owner}".endswith(f".{self.zone}"):
            msg = "outside the zone"
            raise ValueError(msg)
        ttl = self.ttl
        while tokens and (tokens[0].isdecimal() or tokens[0].upper() == "IN"):  # in either order
            ttl = int(tokens[0]) if tokens[0].isdecimal() else ttl
            tokens = tokens[1:]
        type_ = tokens.pop(0).upper() if tokens else ""
        if type_ == "SOA" or (type_ == "NS" and self.owner == self.zone):
            return []
        tags = _TAGS.search(comment)
        body = RecordBody(
            type=type_,
            name=self.owner,
            content=" ".join(tokens),
            ttl=ttl,
            proxied=tags is not None and _PROXIED in tags[1].split(","),
            comment=_TAGS.sub("", comment).strip() or None,
        )
        match type_, tokens:
            case "MX", [priority, host] if priority.isdecimal():
                return [replace(body, priority=int(priority), content=self._absolute(host))]
            case (("CNAME" | "NS" | "PTR"), [host]):
                return [replace(body, content=self._absolute(host))]
            case "TXT", [_, *_]:
                return [replace(body, content=plain_txt(body.content))]
            case _, [_, *_] if type_ in TYPES - HOST_TYPES:
                return [body]
            case _:
                msg = "not a record"
                raise ValueError(msg)

    def _absolute(self, name: str) -> str:
        if name == "@":
            return self.origin
        return name if name.endswith(".") else f"{name}.{self.origin}"

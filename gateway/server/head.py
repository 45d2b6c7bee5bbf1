"""A request's head, judged: what is in here two readers cannot read differently (RFC 9110, RFC 9112).

A pure function of what came over the wire. aiohttp's parser lets through some of what is refused here.
"""

import re
from collections.abc import Sequence
from typing import Final

import msgspec

from gateway.catalog.target import Target, split_target
from gateway.proxy.framing import HTTP_1_0, HTTP_1_1, UnknownCoding, fault_in_fields, is_too_large, read_framing
from gateway.reason import Deny, Reason

_HOST: Final = re.compile(rb"(?:[A-Za-z0-9._~-]+|\[[0-9A-Fa-f:.]+\])(?::\d{1,5})?")
_REFUSED_METHODS: Final = frozenset({"CONNECT", "TRACE"})

RawFields = Sequence[tuple[bytes, bytes]]


class Head(msgspec.Struct, frozen=True):
    """A judged head. `length` None with `has_body`: chunked."""

    method: str
    target: Target
    fields: tuple[tuple[bytes, bytes], ...]
    host: bytes
    version: tuple[int, int]
    has_body: bool
    length: int | None
    expects_continue: bool

    def values(self, name: bytes) -> list[bytes]:
        """Values of all fields called `name` (lower case), in their order."""
        return [value for field, value in self.fields if field.lower() == name]


def _bad(what: str) -> Deny:
    return Deny(reason=Reason.BAD_REQUEST, detail=what)


def judge_head(method: str, raw_target: bytes, version: tuple[int, int], fields: RawFields) -> Head | Deny:
    """The head, or the first thing wrong with it. `fields`: names as sent, values without surrounding blanks."""
    if version not in (HTTP_1_0, HTTP_1_1):
        return _bad("line: the version is neither HTTP/1.1 nor HTTP/1.0")
    if method in _REFUSED_METHODS:
        return _bad("line: a method that no gateway forwards")
    if refused := _judge_fields(raw_target, fields):
        return refused
    target = split_target(raw_target)
    if isinstance(target, Deny):
        return target
    values: dict[bytes, list[bytes]] = {}
    for name, value in fields:
        values.setdefault(name.lower(), []).append(value)
    host = _judge_host(values.get(b"host", []), target.authority, version)
    if isinstance(host, Deny):
        return host
    framing = read_framing(fields, version)
    if isinstance(framing, UnknownCoding):
        return Deny(reason=Reason.UNSUPPORTED_FRAMING)
    if isinstance(framing, str):
        return _bad(f"headers: {framing}")
    has_body = framing.chunked or bool(framing.length)
    if has_body and b"upgrade" in values:
        return _bad("headers: an upgrade has no body")
    return Head(
        method=method,
        target=target,
        fields=tuple(fields),
        host=host,
        version=version,
        has_body=has_body,
        length=framing.length,
        expects_continue=version == HTTP_1_1
        and any(value.lower() == b"100-continue" for value in values.get(b"expect", [])),
    )


def _judge_fields(raw_target: bytes, fields: RawFields) -> Deny | None:
    if is_too_large(raw_target, fields):
        return Deny(reason=Reason.HEAD_TOO_LARGE)
    if fault := fault_in_fields(fields):
        return _bad(f"headers: {fault}")
    for _, value in fields:
        try:
            value.decode()
        except UnicodeDecodeError:
            # RFC 9110 5.5 allows it; aiohttp's client, which sends the field on, cannot carry it unchanged.
            return _bad("headers: a value that is not UTF-8")
    return None


def _judge_host(hosts: Sequence[bytes], authority: bytes | None, version: tuple[int, int]) -> bytes | Deny:
    """The host that the request is for (RFC 9112 3.2): the absolute form's, else the one field's."""
    if len(hosts) > 1 or (not hosts and version == HTTP_1_1):
        return _bad("headers: Host is missing" if not hosts else "headers: two Hosts")
    for host in (*hosts, *([] if authority is None else [authority])):
        if not _HOST.fullmatch(host):
            return _bad("headers: Host is not a host and port")
    return authority if authority is not None else (hosts[0] if hosts else b"")

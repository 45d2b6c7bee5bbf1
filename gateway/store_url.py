"""Where the store is: what `store.url` says (DESIGN 6). Pure.

    redis://[user:pass@]host[:port][/DB]   rediss:// (TLS)   unix:///path[?db=DB]
    redis+sentinel://[user:pass@]host[:port],host[:port]/SERVICE[/DB]
    redis+cluster://[user:pass@]host[:port],host[:port]
    rediss+sentinel://   rediss+cluster:// (the same, TLS to each server and each sentinel)

User and password are percent-encoded; those of the last ones are the data servers'. No text of an error repeats a part
of the URL: any part may turn out to be a piece of a password that was not encoded.
"""

import re
from ipaddress import AddressValueError, IPv6Address
from typing import Final
from urllib.parse import parse_qsl, unquote_to_bytes, urlsplit

import msgspec

from gateway.tokens.secret import Sensitive

_SENTINEL_PORT: Final = 26379
_CLUSTER_PORT: Final = 6379
_HIGHEST_PORT: Final = 65535
_SERVER: Final = ("redis://", "rediss://", "unix://")
_SENTINELS: Final = ("redis+sentinel://", "rediss+sentinel://")
_CLUSTER: Final = ("redis+cluster://", "rediss+cluster://")
_TLS: Final = "rediss"
_CONTROL: Final = re.compile(r"[\x00-\x1f\x7f]")
_BAD_ESCAPE: Final = re.compile(r"%(?![0-9A-Fa-f]{2})")
_DATABASE: Final = re.compile(r"\d{1,4}", re.ASCII)
_NODE: Final = re.compile(r"(?:(?P<name>[A-Za-z0-9._-]+)|\[(?P<v6>[0-9A-Fa-f:.]+)\])(?::(?P<port>\d{1,5}))?", re.ASCII)
_SERVICE: Final = re.compile(r"[A-Za-z0-9._-]+", re.ASCII)
"""The names that a sentinel takes, and none in which a piece of a password could hide."""

Address = tuple[str, int]


class Server(msgspec.Struct, frozen=True):
    """One server at a fixed address, as redis-py takes it; the one option is `db`."""

    url: str

    def __repr__(self) -> str:
        return "Server('...')"  # it may hold a password


class Sentinels(msgspec.Struct, frozen=True):
    """Sentinels that know which server is the primary of `service`; user and password are the data servers'."""

    hosts: tuple[Address, ...]
    service: str
    db: int
    username: str
    password: Sensitive
    tls: bool = False
    """To the sentinels and to the data servers."""


class Cluster(msgspec.Struct, frozen=True):
    """Some nodes of a cluster; any of them knows the others."""

    nodes: tuple[Address, ...]
    username: str
    password: Sensitive
    tls: bool = False


def parse_store_url(text: str) -> Server | Sentinels | Cluster:
    """What `text` says, with every part in its range. Raises ValueError, whose text tells no secret."""
    tls, rest = text.startswith(_TLS), text.partition("://")[2]
    if text.startswith(_SENTINELS):
        return _sentinels(rest, tls=tls)
    if text.startswith(_CLUSTER):
        return _cluster(rest, tls=tls)
    if text.startswith(_SERVER):
        return _server(text)
    raise ValueError('neither "embedded" nor redis[s]://, unix://, redis[s]+sentinel:// or redis[s]+cluster://')


def _server(text: str) -> Server:
    try:
        parts = urlsplit(text)
        port = parts.port
        options = parse_qsl(parts.query, keep_blank_values=True, strict_parsing=bool(parts.query))
    except ValueError:  # its own text repeats the URL
        raise ValueError("its host, port or options cannot be read; encode such signs in a password") from None
    if _CONTROL.search(text) or "#" in text:
        raise ValueError("it has a control character or a #; in a password that is %23")
    if port == 0:
        raise ValueError("its port is out of range")
    if [name for name, _ in options] not in ([], ["db"]):
        raise ValueError("it has an option other than db (others would undo our time limits)")
    databases = [value for _, value in options]
    if parts.scheme == "unix":
        if not parts.path.strip("/") or parts.netloc.rpartition("@")[2]:
            raise ValueError("unix:// is followed by a path that begins with a slash")
    elif parts.path not in ("", "/"):
        databases.append(parts.path[1:])
    # redis-py takes a path that is no number for database 0.
    if not all(_DATABASE.fullmatch(database) for database in databases):
        raise ValueError("its database is not a number")
    if len(databases) > 1:
        raise ValueError("it names a database twice")
    return Server(text)


def _sentinels(rest: str, *, tls: bool) -> Sentinels:
    authority, slash, path = _plain(rest).partition("/")
    username, password, hosts = _authority(authority, _SENTINEL_PORT)
    service, more, database = path.partition("/")
    if not slash or not _SERVICE.fullmatch(service):
        raise ValueError("the name of the service is missing or no name: redis+sentinel://host,host/SERVICE")
    if more and not _DATABASE.fullmatch(database):
        raise ValueError("what follows the service is not the number of a database")
    return Sentinels(hosts, service, int(database or 0), username, password, tls)


def _cluster(rest: str, *, tls: bool) -> Cluster:
    authority, _, path = _plain(rest).partition("/")
    if path:
        raise ValueError("a cluster has no database and no path")
    username, password, nodes = _authority(authority, _CLUSTER_PORT)
    return Cluster(nodes, username, password, tls)


def _plain(rest: str) -> str:
    if _CONTROL.search(rest) or " " in rest or not rest.isascii():
        raise ValueError("it has a blank, a control character or one that is not ASCII; encode it in a password")
    if "?" in rest or "#" in rest:
        raise ValueError("it has options or a fragment; in a password ? is %3F and # is %23")
    return rest


def _authority(authority: str, port: int) -> tuple[str, Sensitive, tuple[Address, ...]]:
    login, _, hosts = authority.rpartition("@")
    username, password = _login(login)
    return username, password, tuple(_node(host, port) for host in hosts.split(","))


def _login(login: str) -> tuple[str, Sensitive]:
    username, _, password = login.partition(":")
    if _BAD_ESCAPE.search(login):
        raise ValueError("user or password: a % is not followed by two hexadecimal digits; itself it is %25")
    try:
        return unquote_to_bytes(username).decode(), Sensitive(unquote_to_bytes(password).decode())
    except UnicodeDecodeError:
        raise ValueError("user or password: what is encoded there is not UTF-8") from None


def _node(text: str, port: int) -> Address:
    found = _NODE.fullmatch(text)
    if found is None:
        raise ValueError("a host is empty or none, or its port no number; encode such signs in a password")
    if found["v6"]:
        try:
            IPv6Address(found["v6"])
        except AddressValueError:
            raise ValueError("what stands in brackets is not an IPv6 address") from None
    number = int(found["port"] or port)
    if not 0 < number <= _HIGHEST_PORT:
        raise ValueError("a port is out of range")
    return found["name"] or found["v6"], number

"""`zonegate.toml` and the environment, read once into frozen structs (DESIGN 3).

Every key has a default, and what stands below it is its line in `docs/settings.md`. An unknown key, a wrong type or an
unreadable file is a `SettingsError`: one line that names the key and where it was set. Keys that a later version gives
life to are known, and refused unless they hold their default: a setting that does nothing would be believed.
"""

import os
import re
import sys
import tomllib
from collections.abc import Iterator, Mapping
from ipaddress import IPv4Network, IPv6Address, IPv6Network, ip_address
from pathlib import Path
from typing import Annotated, Any, Final, Literal, NamedTuple, get_type_hints
from urllib.parse import urlsplit

import msgspec
from msgspec import Meta

from gateway.catalog.document import key_and_fault
from gateway.catalog.target import fault_in_segment
from gateway.store_url import Sentinels, parse_store_url
from gateway.tokens.condition import Network, parse_network
from gateway.tokens.rate import LONGEST_PERIOD, MOST_REQUESTS
from gateway.tokens.rate import Rate as TokenRate
from gateway.tokens.secret import Sensitive

Port = Annotated[int, Meta(ge=0, le=65535)]
Count = Annotated[int, Meta(ge=0)]
Seconds = Annotated[float, Meta(gt=0, le=86400)]

PLACES: Final = (Path("zonegate.toml"), Path("/etc/zonegate/zonegate.toml"))
UNIX: Final = "unix"
"""In `listen.trusted_proxies`: the peers on `listen.unix`. They have no address, so that no network can name them, and
they are trusted only where this word says so: whoever may open the socket could then claim any client's address.
"""


class SettingsError(Exception):
    """The settings cannot be used. One line: where, key, what is wrong."""


class _Section(msgspec.Struct, frozen=True, forbid_unknown_fields=True, rename=None):
    pass


class ListenTls(_Section, frozen=True):
    """Files of certificate and key (PEM), both or none."""

    cert: str = ""
    """The certificate and its chain (PEM); empty: no TLS."""
    key: str = ""
    """Its key (PEM), without a password."""


class Listen(_Section, frozen=True):
    """Where clients come in: a port, a Unix socket, or both. `tls` is the port's; the socket leaves no machine, and is
    plain.
    """

    host: str = "127.0.0.1"
    """The address of the port: `"0.0.0.0"` for all IPv4 ones of the machine, `"::"` for all IPv6 ones."""
    port: Port = 8080
    """Where clients come in; 0: on the Unix socket alone."""
    unix: str = ""
    """The path of a Unix socket; empty: none."""
    workers: Annotated[int, Meta(ge=1, le=1024)] = 1
    """Processes that serve: one for each core that is to be used."""
    prefix: Annotated[str, Meta(pattern=r"^(/[A-Za-z0-9._~-]+)*\Z")] = "/client/v4"
    """Where the token API is, and what clients' base URL ends with."""
    token_api: bool = True
    """Whether the token API is served here too; `admin` always has it."""
    trusted_proxies: tuple[str, ...] = ()
    """Networks (`"10.0.0.0/8"`, `"unix"`) whose `X-Forwarded-For` or PROXY header is believed; empty: nobody's."""
    proxy_protocol: bool = False
    """Whether connections from trusted proxies begin with a PROXY header."""
    max_connections: Annotated[int, Meta(ge=1)] = 20000
    """Clients' connections at once, in each worker."""
    tls: ListenTls = ListenTls()


class Admin(_Section, frozen=True):
    """Where operators come in: dashboard, token API, metrics, health and `/openapi.json`."""

    enabled: bool = True
    """Whether there is such a listener."""
    host: str = "127.0.0.1"
    """The address of its port. Keep it where only operators come."""
    port: Port = 8081
    """Its port."""
    allowed_hosts: tuple[str, ...] = ()
    """Names by which it may be asked for, beside IP addresses and localhost: those that browsers use."""
    tls: ListenTls = ListenTls()


class Health(_Section, frozen=True):
    """A second, harmless door for probes: `/healthz`, `/readyz`, `/metrics` and nothing else; port 0: off."""

    host: str = "127.0.0.1"
    """The address of its port."""
    port: Port = 0
    """Its port."""


class Authz(_Section, frozen=True):
    """Forward-auth for other proxies: not in this version yet, so that each key has to keep its default."""

    host: str = "127.0.0.1"
    """The address of its port."""
    port: Port = 0
    """Its port; 0: off."""
    trusted: tuple[str, ...] = ()
    """Networks that may ask."""
    hand_out_credential: bool = False
    """Whether an answer holds the upstream's credential."""


class Store(_Section, frozen=True):
    """Where the tokens are."""

    url: Sensitive = Sensitive("embedded")
    """`"embedded"`, or where Redis or Valkey is: `redis://`, `rediss://`, `unix://`, `redis+sentinel://`,
    `redis+cluster://`.
    """
    data_dir: str = ".zonegate"
    """Where the embedded one keeps its data."""
    on_outage: Literal["deny", "serve-cached"] = "deny"
    """Whether tokens that a worker knows go on working while the store is away."""
    stale_grace: Seconds = 30
    """For how many seconds `"serve-cached"` lets them."""
    write_replicas: Count = 0
    """How many replicas must have a change before it is answered as made."""
    keep_expired: Count = 90
    """Days after which an expired token leaves the store."""
    pepper: tuple[Sensitive, ...] = ()
    """Keys for the digests of secrets: the first signs, all verify; empty: plain SHA-256."""
    sentinel_password: Sensitive = Sensitive("")
    """That of the sentinels; the one in the URL is the servers'."""


class Policies(_Section, frozen=True):
    """Where `permission_groups.toml`, `templates.toml` and `apis/` are; empty: the set in the package."""

    dir: str = ""
    """The directory of your own."""


class Rate(_Section, frozen=True):
    """Requests in a period of seconds, of each token that has no limits of its own; 0: no limit."""

    requests: Annotated[int, Meta(ge=0, le=MOST_REQUESTS)] = 0
    """How many; 0: no limit."""
    period: Annotated[int, Meta(ge=1, le=LONGEST_PERIOD)] = 300
    """In how many seconds."""

    @property
    def of_a_token(self) -> TokenRate | None:
        """The rate, if there is one."""
        return TokenRate(self.requests, self.period) if self.requests else None


class Limits(_Section, frozen=True):
    """Times in seconds, sizes in bytes."""

    rate: Rate = Rate()
    header_timeout: Seconds = 10
    """For a request's head to arrive, and for a connection's first byte."""
    keepalive_timeout: Seconds = 75
    """Between two requests of a connection."""
    body_idle_timeout: Seconds = 60
    """For the next piece of a client's body, and for a client to take the next of its answer."""
    max_body: Count = 104857600
    """The largest body of a request; 0: no limit."""
    connect_timeout: Seconds = 2
    """For a connection to an upstream."""
    response_timeout: Seconds = 60
    """For the first byte of an upstream's answer, and for the next of one that has a length."""
    drain_timeout: Seconds = 20
    """For what is under way when the gateway ends, or has read its settings anew."""


class Log(_Section, frozen=True):
    """What is logged, and how; to standard error."""

    format: Literal["auto", "console", "json"] = "auto"
    """`"auto"`: console on a terminal, else JSON."""
    level: Literal["debug", "info", "warning", "error"] = "info"
    """The least that is logged; requests are `info`."""
    access: bool = True
    """Whether each request is a line."""
    access_sample: Annotated[float, Meta(ge=0, le=1)] = 1.0
    """The share of requests that went well which are; refused and failed ones always are."""
    redact: tuple[Literal["address", "owner", "path", "token"], ...] = ()
    """What is left out of the lines of requests and of spans."""


class Audit(_Section, frozen=True):
    """How much of the audit is kept: days, entries."""

    max_age: Annotated[int, Meta(ge=1, le=36500)] = 400
    """Days."""
    max_entries: Annotated[int, Meta(ge=1, le=1_000_000_000)] = 1000000
    """Entries of changes, and as many of refused calls."""


class Notify(_Section, frozen=True):
    """Who is told that a token was rolled, has leaked, or ends within 7 days: a URL that takes a POST of JSON."""

    webhook: Sensitive = Sensitive("")
    """`https://…`, or `http://` on this machine; empty: nobody."""


class UpstreamCredential(_Section, frozen=True):
    """What is put in the place of the client's credential."""

    header: Annotated[str, Meta(pattern=r"^[A-Za-z0-9!#$%&'*+.^_`|~-]{1,64}\Z")] = "Authorization"
    """The field that the upstream reads its credential from."""
    value: Sensitive = Sensitive("")
    """What is put into it, word for word; empty: nothing."""


class UpstreamTls(_Section, frozen=True):
    """For https targets: whether to verify, our own authority, our own certificate (PEM files)."""

    verify: bool = True
    """Whether the upstream's certificate is checked."""
    ca: str = ""
    """The authority that it is checked against (PEM); empty: the system's."""
    cert: str = ""
    """A certificate of ours to show (PEM)."""
    key: str = ""
    """Its key (PEM); empty: in the same file."""


class Target(NamedTuple):
    """Where an upstream listens. The host in lower case, an IPv6 address without its brackets."""

    scheme: str
    host: str
    port: int


class Upstream(_Section, frozen=True):
    """Where an API is, and how the gateway logs in to it."""

    targets: Annotated[tuple[str, ...], Meta(min_length=1)]
    """`http://host[:port]` or `https://…`, several of one API."""
    base_path: str = ""
    """What stands in the place of the API's prefix on the way up."""
    host: str = ""
    """The `Host` that is sent; empty: the target's own."""
    credential: UpstreamCredential = UpstreamCredential()
    pass_headers: tuple[Annotated[str, Meta(pattern=r"^[A-Za-z0-9!#$%&'*+.^_`|~-]{1,64}\Z")], ...] = ()
    """Fields to let through of those that stay behind otherwise (cookies, forwarding, method overrides)."""
    max_connections: Annotated[int, Meta(ge=1)] = 256
    """To each target, from each worker."""
    idle_timeout: Seconds = 30
    """Seconds after which an idle connection is closed."""
    tls: UpstreamTls = UpstreamTls()

    @property
    def places(self) -> tuple[Target, ...]:
        """The targets, in their order. Checked at load: each is one, and all have one scheme."""
        found = (_parse_target(text) for text in self.targets)
        return tuple(target for target in found if target is not None)


class Settings(_Section, frozen=True):
    """All of it."""

    listen: Listen = Listen()
    admin: Admin = Admin()
    health: Health = Health()
    authz: Authz = Authz()
    store: Store = Store()
    policies: Policies = Policies()
    limits: Limits = Limits()
    log: Log = Log()
    audit: Audit = Audit()
    notify: Notify = Notify()
    upstreams: dict[str, Upstream] = {}

    @property
    def trusted_proxies(self) -> tuple[Network, ...]:
        """Those that have an address. Checked at load: each is a network."""
        found = (parse_network(text) for text in self.listen.trusted_proxies)
        return tuple(network for network in found if isinstance(network, IPv4Network | IPv6Network))

    @property
    def shows_metrics(self) -> bool:
        """Whether a listener has `/metrics`; else nothing is measured for it."""
        return self.admin.enabled or self.health.port != 0

    @property
    def trusts_unix(self) -> bool:
        """Whether the peers on `listen.unix` are trusted proxies too: see UNIX."""
        return UNIX in self.listen.trusted_proxies


_LATER: Final = (
    "authz.host",
    "authz.port",
    "authz.trusted",
    "authz.hand_out_credential",
)
_NOT_YET: Final = "not in this version yet"
_VARIABLE: Final = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_]*)\}")
_PREFIX: Final = "ZONEGATE_"
_FILE: Final = "file:"


def load_settings(config: Path | None, environ: Mapping[str, str]) -> Settings:
    """The settings out of `config` (else the first of PLACES that exists, else the defaults) and `environ`.

    `ZONEGATE_SECTION__KEY` overrides `section.key`; `${NAME}` and `file:PATH` in values are replaced. Raises
    SettingsError.
    """
    file = config or next((place for place in PLACES if place.is_file()), None)
    where = str(file) if file else "settings"
    table = _read(file) if file else {}
    variables = _override(table, environ)
    try:
        filled = _fill(table, environ, ())
        settings = _convert(filled, where, variables)
        _check(settings)
    except _Wrong as wrong:
        raise SettingsError(f"{_origin(wrong.key, where, variables)}: {wrong.key}: {wrong.message}") from None
    return settings


def value_files(config: Path | None, environ: Mapping[str, str]) -> list[tuple[str, Path]]:
    """Each key whose value is `file:PATH`, and that path. Raises SettingsError as `load_settings` does."""
    file = config or next((place for place in PLACES if place.is_file()), None)
    table = _read(file) if file else {}
    _override(table, environ)
    return list(_value_files(table, environ, ()))


def _value_files(value: object, environ: Mapping[str, str], key: tuple[str, ...]) -> Iterator[tuple[str, Path]]:
    match value:
        case dict():
            for name, item in value.items():
                yield from _value_files(item, environ, (*key, name))
        case list():
            for item in value:
                yield from _value_files(item, environ, key)
        case str() if (text := _with_variables(value, environ, key)).startswith(_FILE):
            yield ".".join(key), Path(text.removeprefix(_FILE))


def _convert(table: dict[str, Any], where: str, variables: Mapping[str, str]) -> Settings:
    at = ""
    try:
        upstreams = table.get("upstreams")
        for name, section in upstreams.items() if isinstance(upstreams, dict) else ():
            at = f"upstreams.{name}"  # msgspec does not say which key of a dict it was
            msgspec.convert(section, Upstream, dec_hook=_sensitive)
        at = ""
        return msgspec.convert(table, Settings, dec_hook=_sensitive)
    except msgspec.ValidationError as error:
        raise SettingsError(_in_words(error, at, where, variables)) from None


class _Wrong(Exception):  # noqa: N818 - never leaves this module
    def __init__(self, key: str, message: str) -> None:
        super().__init__(message)
        self.key = key
        self.message = message


def _read(file: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(file.read_text(encoding="utf-8"))
    except OSError as error:
        msg = f"{file}: {error.strerror or error}"
        raise SettingsError(msg) from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, RecursionError) as error:
        msg = f"{file}: not TOML: {error}"
        raise SettingsError(msg) from None


def _override(table: dict[str, Any], environ: Mapping[str, str]) -> dict[str, str]:
    """Put the environment's values into `table`; returns the variable's name by key, for messages."""
    variables = {}
    for variable in sorted(environ):
        if not variable.startswith(_PREFIX) or "__" not in variable:
            continue
        path = variable.removeprefix(_PREFIX).lower().split("__")
        if path[0] == "upstreams" and len(path) > 1:
            # An API's name has no "_", a variable's no "-".
            path[1] = path[1].replace("_", "-")
        here = table
        for name in path[:-1]:
            here = here.setdefault(name, {})
            if not isinstance(here, dict):
                msg = f"{variable}: {'.'.join(path)}: there is no such key"
                raise SettingsError(msg)
        here[path[-1]] = _value(environ[variable], path)
        variables[".".join(path)] = variable
    return variables


def _value(text: str, path: list[str]) -> object:
    """`text` as TOML, else as a string. `12345` is a string to a key that takes nothing else."""
    try:
        found = tomllib.loads(f"value = {text}")
    except tomllib.TOMLDecodeError:
        return text
    if len(found) != 1 or (_takes_text(path) and not isinstance(found["value"], str)):
        return text
    return found["value"]


def _takes_text(path: list[str]) -> bool:
    """Whether the key at `path` is a string in Settings."""
    type_: Any = Settings
    for name in path:
        if type_ == dict[str, Upstream]:
            type_ = Upstream
            continue
        hints = get_type_hints(type_) if isinstance(type_, type) and issubclass(type_, msgspec.Struct) else {}
        type_ = hints.get(name)
    return type_ in (str, Sensitive)


def _fill(value: Any, environ: Mapping[str, str], key: tuple[str, ...]) -> Any:  # noqa: ANN401 - a TOML value
    match value:
        case dict():
            return {name: _fill(item, environ, (*key, name)) for name, item in value.items()}
        case list():
            return [_fill(item, environ, key) for item in value]
        case str():
            return _from_file(_with_variables(value, environ, key), key)
        case _:
            return value


def _with_variables(text: str, environ: Mapping[str, str], key: tuple[str, ...]) -> str:
    return _VARIABLE.sub(lambda found: _variable(found[1], environ, key), text)


def _variable(name: str, environ: Mapping[str, str], key: tuple[str, ...]) -> str:
    if name not in environ:
        raise _Wrong(".".join(key), f"the environment has no variable {name}")
    return environ[name]


def _from_file(text: str, key: tuple[str, ...]) -> str:
    if not text.startswith(_FILE):
        return text
    path = Path(text.removeprefix(_FILE))
    try:
        return path.read_text(encoding="utf-8").rstrip("\r\n")
    except OSError as error:
        raise _Wrong(".".join(key), f"{path}: {error.strerror}") from None
    except UnicodeDecodeError:
        raise _Wrong(".".join(key), f"{path}: not UTF-8") from None
    except ValueError:  # a NUL
        raise _Wrong(".".join(key), f"{str(path)!a}: no file can have this name") from None


def _sensitive(type_: type, value: object) -> object:
    if type_ is Sensitive and isinstance(value, str):
        return Sensitive(value)
    msg = "Expected `str`"
    raise TypeError(msg)  # msgspec adds the key


def _in_words(error: msgspec.ValidationError, at: str, where: str, variables: Mapping[str, str]) -> str:
    key, what = key_and_fault(error)
    key = ".".join(part for part in (at, key) if part)
    return f"{_origin(key, where, variables)}: {key}: {what}" if key else f"{where}: {what}"


def _origin(key: str, where: str, variables: Mapping[str, str]) -> str:
    """The variable that set `key` (or the table that holds it), else the file."""
    return next(
        (name for path, name in variables.items() if f"{key}.".startswith(f"{path}.") or path.startswith(f"{key}.")),
        where,
    )


def _flat(section: msgspec.Struct, prefix: str = "") -> Iterator[tuple[str, Any]]:
    for name in section.__struct_fields__:
        value = getattr(section, name)
        if isinstance(value, msgspec.Struct):
            yield from _flat(value, f"{prefix}{name}.")
        else:
            yield prefix + name, value


def _check(settings: Settings) -> None:
    """What no type can say. Raises _Wrong for the first thing found."""
    now, default = dict(_flat(settings)), dict(_flat(Settings()))
    for key in _LATER:
        if now[key] != default[key]:
            raise _Wrong(key, _NOT_YET)
    _check_listen(settings.listen)
    _check_trusted(settings.listen)
    if settings.admin.port == 0:
        raise _Wrong("admin.port", "0 is no port; admin.enabled = false turns the listener off")
    _check_tls("admin.tls", settings.admin.tls)
    _check_store(settings.store)
    _check_webhook(settings.notify.webhook.reveal())
    for name, upstream in settings.upstreams.items():
        _check_upstream(f"upstreams.{name}", upstream)


_LONGEST_SOCKET_PATH: Final = 103 if sys.platform == "darwin" else 107
"""Bytes: `sun_path` less its NUL (unix(7))."""


def _check_listen(listen: Listen) -> None:
    if any(fault_in_segment(segment) for segment in listen.prefix.encode().split(b"/")[1:]):
        raise _Wrong("listen.prefix", "it has a dot segment")
    # Neither a NUL, which would make it another kind of socket, nor what would spoil a line of the log.
    if not listen.unix.isprintable():
        raise _Wrong("listen.unix", "a character in it cannot be printed")
    if len(os.fsencode(listen.unix)) > _LONGEST_SOCKET_PATH:
        raise _Wrong("listen.unix", f"longer than the {_LONGEST_SOCKET_PATH} bytes that a socket's path may have")
    if listen.port == 0 and not listen.unix:
        raise _Wrong("listen.port", "0 is only for a gateway that listens on a Unix socket alone")
    _check_tls("listen.tls", listen.tls)
    if listen.port == 0 and listen.tls.cert:
        raise _Wrong("listen.tls.cert", "TLS is for the port, and listen.port = 0 says that there is none")
    if listen.proxy_protocol and listen.tls.cert:
        raise _Wrong("listen.proxy_protocol", "not together with listen.tls: the load balancer or the gateway ends TLS")


def _check_trusted(listen: Listen) -> None:
    networks = [text for text in listen.trusted_proxies if text != UNIX]
    if UNIX in listen.trusted_proxies and not listen.unix:
        raise _Wrong("listen.trusted_proxies", f"{UNIX!r} is for the peers on listen.unix, which is empty")
    for text in networks:
        network = parse_network(text)
        if isinstance(network, str):
            raise _Wrong("listen.trusted_proxies", f"{text!r}: {network}")
        if network.prefixlen == 0:
            raise _Wrong("listen.trusted_proxies", f"{text!r} would believe everybody")
    if listen.proxy_protocol and not (networks and listen.port) and UNIX not in listen.trusted_proxies:
        who = "its network" if listen.port else f'"{UNIX}"'
        raise _Wrong(
            "listen.proxy_protocol",
            f"nobody's header is believed: put the load balancer ({who}) in listen.trusted_proxies",
        )


def _check_tls(key: str, tls: ListenTls) -> None:
    if tls.cert and not tls.key:
        raise _Wrong(f"{key}.cert", f"{key}.key is missing; a file that holds both is named twice")
    if tls.key and not tls.cert:
        raise _Wrong(f"{key}.key", f"{key}.cert is missing")


def _check_store(store: Store) -> None:
    url = store.url.reveal()
    sentinels = False
    if url != "embedded":
        try:
            sentinels = isinstance(parse_store_url(url), Sentinels)
        except ValueError as error:
            raise _Wrong("store.url", str(error)) from None
    if store.sentinel_password and not sentinels:
        raise _Wrong("store.sentinel_password", "it is only for a store.url of redis+sentinel:// or rediss+sentinel://")
    if any(not pepper for pepper in store.pepper):
        raise _Wrong("store.pepper", "a pepper is empty")


def _check_webhook(url: str) -> None:
    if not url:
        return
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname or "", parts.port
    except ValueError:
        host, parts = "", urlsplit("")
    if not host or parts.scheme not in ("http", "https") or not (url.isascii() and url.isprintable()) or " " in url:
        raise _Wrong("notify.webhook", "not https://host[:port][/path]")  # its text stays out: it may hold a secret
    if parts.scheme == "http" and not _is_loopback(host):
        raise _Wrong("notify.webhook", "http:// is for this machine alone (localhost, 127.0.0.1, [::1]): use https://")


def _is_loopback(host: str) -> bool:
    try:
        return host == "localhost" or ip_address(host).is_loopback
    except ValueError:
        return False


_TARGET: Final = re.compile(
    r"(?P<scheme>https?)://(?:\[(?P<ipv6>[0-9A-Fa-f:.]+)\]|(?P<name>[A-Za-z0-9._-]+))(?::(?P<port>\d{1,5}))?", re.ASCII
)
_PORTS: Final = {"http": 80, "https": 443}
_HIGHEST_PORT: Final = 65535
_HOST: Final = re.compile(r"(?:[A-Za-z0-9._-]+|\[[0-9A-Fa-f:.]+\])(?::\d{1,5})?", re.ASCII)
_FIELD_VALUE: Final = re.compile(r"[!-~](?:[ \t!-~]*[!-~])?")


def _parse_target(text: str) -> Target | None:
    """Alike for two spellings of one target. None if it is no target."""
    found = _TARGET.fullmatch(text)
    if found is None:
        return None
    try:
        host = str(IPv6Address(found["ipv6"])) if found["ipv6"] else found["name"].lower()
        host.encode("idna")  # as the resolver does: a label may be empty, or too long
    except ValueError:
        return None
    port = int(found["port"] or _PORTS[found["scheme"]])
    return Target(found["scheme"], host, port) if 0 < port <= _HIGHEST_PORT else None


def _check_targets(key: str, upstream: Upstream) -> None:
    seen: dict[Target, str] = {}
    for text in upstream.targets:
        target = _parse_target(text)
        if target is None:
            # Its text stays out: it may hold a password.
            raise _Wrong(f"{key}.targets", "not http(s)://host[:port] (a path goes into base_path)")
        if target in seen:
            raise _Wrong(f"{key}.targets", f"{seen[target]} is there twice")
        seen[target] = text
    if len({target.scheme for target in seen}) > 1:
        raise _Wrong(f"{key}.targets", "http:// and https:// are mixed: a request would be protected now and then")


def _check_upstream(key: str, upstream: Upstream) -> None:
    _check_targets(key, upstream)
    if upstream.targets[0].startswith("http://") and upstream.tls != UpstreamTls():
        raise _Wrong(f"{key}.tls", "the target is http://, not https://")
    if upstream.tls.key and not upstream.tls.cert:
        raise _Wrong(f"{key}.tls.key", f"{key}.tls.cert is missing")
    segments = upstream.base_path.encode("ascii", "replace").split(b"/")
    if segments[0] or any(fault_in_segment(segment) for segment in segments[1:]):
        raise _Wrong(
            f"{key}.base_path", 'it is empty, or starts with "/", does not end with one, and has plain segments'
        )
    if upstream.host and not _HOST.fullmatch(upstream.host):
        raise _Wrong(f"{key}.host", "not a host[:port]")
    if upstream.credential.value and not _FIELD_VALUE.fullmatch(upstream.credential.value.reveal()):
        raise _Wrong(f"{key}.credential.value", "a header cannot hold it: printable ASCII on one line")


def in_url(host: str) -> str:
    """`host` as a URL writes it: an IPv6 address in brackets (RFC 3986 3.2.2)."""
    return f"[{host}]" if ":" in host else host


def environment() -> Mapping[str, str]:
    """The process's environment: the one place that reads it."""
    return os.environ

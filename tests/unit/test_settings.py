import tomllib
from collections.abc import Callable, Iterator, Mapping
from ipaddress import ip_network
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.settings import (
    PLACES,
    Settings,
    SettingsError,
    Target,
    Upstream,
    UpstreamCredential,
    UpstreamTls,
    environment,
    load_settings,
    value_files,
)
from gateway.tokens.rate import Rate
from gateway.tokens.secret import Sensitive

Load = Callable[..., Settings]

# DESIGN 3, all of it, but for [upstreams.NAME].
DEFAULTS = """
[listen]
host = "127.0.0.1"
port = 8080
unix = ""
workers = 1
prefix = "/client/v4"
token_api = true
trusted_proxies = []
proxy_protocol = false
max_connections = 20000
tls = { cert = "", key = "" }
[admin]
enabled = true
host = "127.0.0.1"
port = 8081
allowed_hosts = []
tls = { cert = "", key = "" }
[health]
host = "127.0.0.1"
port = 0
[authz]
host = "127.0.0.1"
port = 0
trusted = []
hand_out_credential = false
[store]
url = "embedded"
data_dir = ".zonegate"
on_outage = "deny"
stale_grace = 30
write_replicas = 0
keep_expired = 90
pepper = []
sentinel_password = ""
[policies]
dir = ""
[limits]
rate = { requests = 0, period = 300 }
header_timeout = 10
keepalive_timeout = 75
body_idle_timeout = 60
max_body = 104857600
connect_timeout = 2
response_timeout = 60
drain_timeout = 20
[log]
format = "auto"
level = "info"
access = true
access_sample = 1.0
redact = []
[audit]
max_age = 400
max_entries = 1000000
[notify]
webhook = ""
"""
UPSTREAM = """
[upstreams.cloudflare-dns]
targets = ["http://127.0.0.1:9000"]
"""


def flat(table: Mapping[str, Any], *path: str) -> Iterator[tuple[str, Any]]:
    for name, value in table.items():
        if isinstance(value, Mapping):
            yield from flat(value, *path, name)
        else:
            yield ".".join((*path, name)), value


def at(settings: object, key: str) -> object:
    for name in key.split("."):
        settings = getattr(settings, name)
    if isinstance(settings, Sensitive):
        return settings.reveal()
    return list(settings) if isinstance(settings, tuple) else settings


def revealed(value: object) -> object:
    assert isinstance(value, Sensitive)
    return value.reveal()


@pytest.fixture
def load(tmp_path: Path) -> Load:
    """`load(text, **environ)`: the settings of a file with that text."""

    def load(text: str, **environ: str) -> Settings:
        file = tmp_path / "zonegate.toml"
        file.write_text(text)
        return load_settings(file, environ)

    return load


@pytest.fixture
def refusal(load: Load) -> Callable[..., str]:
    """`refusal(text, **environ)`: the one line that says why not."""

    def refusal(text: str, **environ: str) -> str:
        with pytest.raises(SettingsError) as caught:
            load(text, **environ)
        assert str(caught.value).splitlines() == [str(caught.value)]
        return str(caught.value)

    return refusal


# Defaults.


@pytest.mark.parametrize(("key", "value"), [pytest.param(*pair, id=pair[0]) for pair in flat(tomllib.loads(DEFAULTS))])
def test_each_key_has_its_default(load: Load, key: str, value: object) -> None:
    assert at(load(""), key) == value


def test_the_files_of_values_are_known_by_their_keys(tmp_path: Path) -> None:
    config = tmp_path / "z.toml"
    config.write_text("""
        store.pepper = ["file:/run/new", "plain", "file:/run/old"]
        upstreams.x = { targets = ["http://h"], credential = { value = "file:${DIR}/x" } }
    """)
    environ = {"DIR": "/run", "ZONEGATE_NOTIFY__WEBHOOK": "file:/run/hook"}
    assert value_files(config, environ) == [
        ("store.pepper", Path("/run/new")),
        ("store.pepper", Path("/run/old")),
        ("upstreams.x.credential.value", Path("/run/x")),
        ("notify.webhook", Path("/run/hook")),
    ]


def test_there_is_no_key_that_the_design_does_not_have(load: Load) -> None:
    known = tomllib.loads(DEFAULTS) | {"upstreams": {}}
    found = msgspec.to_builtins(load(""), enc_hook=revealed)
    assert {key for key, _ in flat(found)} == {key for key, _ in flat(known)}


def test_a_file_that_says_every_default_changes_nothing(load: Load) -> None:
    assert load(DEFAULTS) == load("") == Settings()


def test_an_upstream_needs_no_more_than_its_target(load: Load) -> None:
    assert load(UPSTREAM).upstreams == {
        "cloudflare-dns": Upstream(
            targets=("http://127.0.0.1:9000",),
            base_path="",
            host="",
            credential=UpstreamCredential(header="Authorization", value=Sensitive("")),
            pass_headers=(),
            max_connections=256,
            idle_timeout=30,
            tls=UpstreamTls(verify=True, ca="", cert="", key=""),
        )
    }


# Where they come from.


def test_without_a_name_the_first_file_that_exists_is_read_else_the_defaults_hold(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = tmp_path / "first.toml", tmp_path / "second.toml"
    monkeypatch.setattr("gateway.settings.PLACES", (first, second))
    assert load_settings(None, {}) == Settings()
    second.write_text("listen.port = 2")
    assert load_settings(None, {}).listen.port == 2
    first.write_text("listen.port = 1")
    assert load_settings(None, {}).listen.port == 1
    assert load_settings(second, {}).listen.port == 2


def test_the_files_are_one_here_and_one_of_the_system() -> None:
    assert [str(place) for place in PLACES] == ["zonegate.toml", "/etc/zonegate/zonegate.toml"]


def test_the_environment_is_the_process_s(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ZONEGATE_LISTEN__PORT", "1234")
    assert environment()["ZONEGATE_LISTEN__PORT"] == "1234"


@pytest.mark.parametrize(
    ("variable", "text", "key", "value"),
    [
        pytest.param("LISTEN__PORT", "1234", "listen.port", 1234, id="a number"),
        pytest.param("LISTEN__TOKEN_API", "false", "listen.token_api", False, id="a boolean"),
        pytest.param("LIMITS__CONNECT_TIMEOUT", "0.5", "limits.connect_timeout", 0.5, id="a fraction"),
        pytest.param(
            "LISTEN__TRUSTED_PROXIES", '["10.0.0.0/8"]', "listen.trusted_proxies", ["10.0.0.0/8"], id="a list"
        ),
        pytest.param("STORE__DATA_DIR", "/var/lib/zonegate", "store.data_dir", "/var/lib/zonegate", id="a bare string"),
        pytest.param("STORE__DATA_DIR", '"quoted"', "store.data_dir", "quoted", id="a TOML string"),
        pytest.param("STORE__DATA_DIR", "", "store.data_dir", "", id="an empty string"),
        pytest.param("STORE__DATA_DIR", "2027", "store.data_dir", "2027", id="digits for a string key"),
        pytest.param("STORE__DATA_DIR", "true", "store.data_dir", "true", id="true for a string key"),
        pytest.param("STORE__DATA_DIR", "2027-01-31", "store.data_dir", "2027-01-31", id="a date for a string key"),
        pytest.param("STORE__DATA_DIR", "1\nx = 2", "store.data_dir", "1\nx = 2", id="more than a value"),
        pytest.param("STORE__URL", "redis://h:6379/0", "store.url", "redis://h:6379/0", id="a secret"),
        pytest.param("STORE__PEPPER", '["a", "b"]', "store.pepper", [Sensitive("a"), Sensitive("b")], id="secrets"),
        pytest.param("POLICIES__DIR", "/etc/p", "policies.dir", "/etc/p", id="another section"),
        pytest.param("LISTEN", "1", "listen.port", 8080, id="no section: not ours"),
        pytest.param("URL", "http://h", "listen.port", 8080, id="the command's own variable"),
    ],
)
def test_a_variable_overrides_the_key_of_its_name(
    load: Load, variable: str, text: str, key: str, value: object
) -> None:
    assert at(load("[listen]\nhost = 'h'", **{f"ZONEGATE_{variable}": text}), key) == value


def test_a_variable_beats_the_file_and_leaves_its_neighbours(load: Load) -> None:
    found = load('[listen]\nport = 1\nhost = "h"', ZONEGATE_LISTEN__PORT="2").listen
    assert (found.port, found.host) == (2, "h")


def test_variables_make_an_upstream_whose_name_has_dashes(load: Load) -> None:
    found = load(
        "",
        ZONEGATE_UPSTREAMS__CLOUDFLARE_DNS__TARGETS='["https://dns.example"]',
        ZONEGATE_UPSTREAMS__CLOUDFLARE_DNS__BASE_PATH="/client/v4",
        ZONEGATE_UPSTREAMS__CLOUDFLARE_DNS__CREDENTIAL__VALUE="12345",
        ZONEGATE_UPSTREAMS__CLOUDFLARE_DNS__MAX_CONNECTIONS="8",
    ).upstreams
    assert set(found) == {"cloudflare-dns"}
    assert found["cloudflare-dns"].targets == ("https://dns.example",)
    assert found["cloudflare-dns"].base_path == "/client/v4"
    assert found["cloudflare-dns"].credential.value.reveal() == "12345"
    assert found["cloudflare-dns"].max_connections == 8


def test_names_and_files_in_values_are_replaced_by_what_they_stand_for(load: Load, tmp_path: Path) -> None:
    secret = tmp_path / "pepper"
    secret.write_text("salt and pepper\r\n")
    found = load(
        f'store.pepper = ["${{A}}-${{B}}", "file:{secret}", "file:${{FILE}}"]\n'
        '[upstreams.billing]\ntargets = ["http://${HOST}:9000"]\ncredential.value = "Bearer ${A}"',
        A="one",
        B="two",
        HOST="inside",
        FILE=str(secret),
    )
    assert [pepper.reveal() for pepper in found.store.pepper] == ["one-two", "salt and pepper", "salt and pepper"]
    assert found.upstreams["billing"].targets == ("http://inside:9000",)
    assert found.upstreams["billing"].credential.value.reveal() == "Bearer one"


def test_a_variable_s_value_is_not_replaced_again(load: Load) -> None:
    assert load('store.pepper = ["${A}"]', A="${B}", B="no").store.pepper == (Sensitive("${B}"),)


def test_what_is_no_name_stays_as_it_is(load: Load) -> None:
    assert load('store.data_dir = "$HOME/${1}/${}/$"').store.data_dir == "$HOME/${1}/${}/$"


# What is refused.


@pytest.mark.parametrize(
    ("text", "key"),
    [
        pytest.param("[listen]\nprot = 1", "listen.prot", id="a key"),
        pytest.param("[lisen]\nport = 1", "lisen", id="a section"),
        pytest.param("port = 1", "port", id="a key without its section"),
        pytest.param("[listen.tls]\nca = ''", "listen.tls.ca", id="a key in a table of a section"),
        pytest.param(UPSTREAM + "url = 'x'", "upstreams.cloudflare-dns.url", id="a key of an upstream"),
        pytest.param(UPSTREAM + "tls.x = 'x'", "upstreams.cloudflare-dns.tls.x", id="a key of an upstream's table"),
    ],
)
def test_an_unknown_key_is_refused_with_file_and_key(refusal: Callable[..., str], text: str, key: str) -> None:
    said = refusal(text)
    assert "zonegate.toml: " in said
    assert key in said
    assert "unknown key" in said


@pytest.mark.parametrize(
    ("text", "key"),
    [
        pytest.param("listen.port = '1'", "listen.port", id="a string for a number"),
        pytest.param("listen.port = 1.5", "listen.port", id="a fraction for a whole number"),
        pytest.param("listen.port = true", "listen.port", id="a boolean for a number"),
        pytest.param("listen.port = 65536", "listen.port", id="beyond the ports"),
        pytest.param("listen.port = -1", "listen.port", id="below the ports"),
        pytest.param("listen.host = 1", "listen.host", id="a number for a string"),
        pytest.param("listen.token_api = 1", "listen.token_api", id="a number for a boolean"),
        pytest.param("listen.trusted_proxies = '10.0.0.0/8'", "listen.trusted_proxies", id="a string for a list"),
        pytest.param("listen.trusted_proxies = [1]", "listen.trusted_proxies", id="a number in a list of strings"),
        pytest.param("listen = 1", "listen", id="a number for a section"),
        pytest.param("listen.prefix = 'client'", "listen.prefix", id="a prefix without a slash"),
        pytest.param("listen.prefix = '/client/'", "listen.prefix", id="a prefix that ends in a slash"),
        pytest.param("listen.prefix = '/a b'", "listen.prefix", id="a blank in a prefix"),
        pytest.param('listen.prefix = "/a\\n"', "listen.prefix", id="a line end behind a prefix"),
        pytest.param("store.url = 1", "store.url", id="a number for a secret"),
        pytest.param("store.pepper = ['a', 1]", "store.pepper", id="a number in a list of secrets"),
        pytest.param("store.on_outage = 'allow'", "store.on_outage", id="not one of the choices"),
        pytest.param("limits.connect_timeout = 0", "limits.connect_timeout", id="no time at all"),
        pytest.param("limits.connect_timeout = -1", "limits.connect_timeout", id="less than no time"),
        pytest.param("limits.connect_timeout = nan", "limits.connect_timeout", id="a time that is no number"),
        pytest.param("limits.connect_timeout = inf", "limits.connect_timeout", id="a time without end"),
        pytest.param("limits.keepalive_timeout = 86401", "limits.keepalive_timeout", id="more than a day"),
        pytest.param("limits.max_body = -1", "limits.max_body", id="a negative size"),
        pytest.param("limits.rate.requests = -1", "limits.rate.requests", id="a negative rate"),
        pytest.param("limits.rate.requests = 1000001", "limits.rate.requests", id="too high a rate"),
        pytest.param("limits.rate.period = 0", "limits.rate.period", id="a rate in no time"),
        pytest.param("limits.rate.period = 2592001", "limits.rate.period", id="a rate in more than 30 days"),
        pytest.param("log.level = 'loud'", "log.level", id="not one of the levels"),
        pytest.param("audit.max_age = 0", "audit.max_age", id="an audit that forgets at once"),
        pytest.param("upstreams = []", "upstreams", id="a list for the upstreams"),
        pytest.param("upstreams.billing = 1", "upstreams.billing", id="a number for an upstream"),
        pytest.param("[upstreams.billing]\nhost = 'h'", "upstreams.billing", id="an upstream without targets"),
        pytest.param("upstreams.billing.targets = []", "upstreams.billing.targets", id="no target"),
        pytest.param(UPSTREAM + "max_connections = 0", "upstreams.cloudflare-dns.max_connections", id="no connection"),
        pytest.param(
            UPSTREAM + "credential.header = 'A B'", "upstreams.cloudflare-dns.credential.header", id="no field name"
        ),
    ],
)
def test_a_wrong_type_or_range_is_refused_with_file_and_key(refusal: Callable[..., str], text: str, key: str) -> None:
    assert f"zonegate.toml: {key}" in refusal(text)


@pytest.mark.parametrize(
    ("variable", "text", "key"),
    [
        pytest.param("LISTEN__PORT", "eighty", "listen.port", id="a wrong type"),
        pytest.param("LISTEN__PROT", "80", "listen.prot", id="an unknown key"),
        pytest.param("LISTEN__PORT__X", "80", "listen.port.x", id="a key under a value"),
        pytest.param(
            "LISTEN__TRUSTED_PROXIES", '["0.0.0.0/0"]', "listen.trusted_proxies", id="a value that will not do"
        ),
        pytest.param("LISTEN__HOST", "${NOWHERE}", "listen.host", id="a name that is missing"),
        pytest.param(
            "UPSTREAMS__CLOUDFLARE_DNS__TARGETS", '["ftp://h"]', "upstreams.cloudflare-dns.targets", id="upstream"
        ),
        pytest.param("UPSTREAMS__CLOUDFLARE_DNS__X", "1", "upstreams.cloudflare-dns.x", id="an upstream's unknown key"),
    ],
)
def test_a_refused_variable_is_named_with_its_key(
    refusal: Callable[..., str], variable: str, text: str, key: str
) -> None:
    said = refusal("listen.port = 80\n" + UPSTREAM, **{f"ZONEGATE_{variable}": text})
    assert said.startswith(f"ZONEGATE_{variable}: {key}: ")


@pytest.mark.parametrize(
    "content",
    [
        pytest.param(b"[listen", id="cut off"),
        pytest.param(b"[listen]\n[listen]\n", id="a section twice"),
        pytest.param(b"listen.port = 80\nlisten.port = 81", id="a key twice"),
        pytest.param(b"listen.host = '\xff'", id="not UTF-8"),
    ],
)
def test_what_is_not_toml_is_refused_with_the_file(tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "zonegate.toml"
    file.write_bytes(content)
    with pytest.raises(SettingsError, match=rf"^{file}: not TOML: [^\n]+$"):
        load_settings(file, {})


def test_a_file_that_is_missing_or_no_file_is_refused_by_name(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=rf"^{tmp_path}/none\.toml: No such file or directory$"):
        load_settings(tmp_path / "none.toml", {})
    with pytest.raises(SettingsError, match=rf"^{tmp_path}: Is a directory$"):
        load_settings(tmp_path, {})


def test_a_name_that_the_environment_lacks_is_refused(refusal: Callable[..., str]) -> None:
    said = refusal(UPSTREAM + 'credential.value = "Bearer ${UPSTREAM_TOKEN}"')
    assert "zonegate.toml: upstreams.cloudflare-dns.credential.value: " in said
    assert "UPSTREAM_TOKEN" in said


@pytest.mark.parametrize(
    "value",
    [
        pytest.param("file:{}/none", id="missing"),
        pytest.param("file:{}", id="a directory"),
        pytest.param("file:{}/binary", id="not UTF-8"),
        pytest.param("file:{}/a\\u0000b", id="a name that no file can have"),
    ],
)
def test_a_secret_s_file_that_cannot_be_read_is_refused_with_its_name(
    refusal: Callable[..., str], tmp_path: Path, value: str
) -> None:
    (tmp_path / "binary").write_bytes(b"\xff\xfe")
    said = refusal(f'notify.webhook = "{value.format(tmp_path)}"')
    assert "zonegate.toml: notify.webhook: " in said
    assert str(tmp_path) in said.partition("notify.webhook: ")[2]


@pytest.mark.parametrize(
    ("url", "fits"),
    [
        pytest.param("https://hooks.example/services/hush", True, id="https"),
        pytest.param("https://hooks.example:8443/?key=hush", True, id="with a port"),
        pytest.param("http://127.0.0.1:9000/hush", True, id="this machine"),
        pytest.param("http://[::1]:9000/hush", True, id="this machine, IPv6"),
        pytest.param("http://localhost/hush", True, id="this machine, by name"),
        pytest.param("http://hooks.example/hush", False, id="http to elsewhere"),
        pytest.param("http://127.0.0.1.example/hush", False, id="http to what looks like this machine"),
        pytest.param("http://10.0.0.1/hush", False, id="http to a private network"),
        pytest.param("ftp://hooks.example/hush", False, id="another scheme"),
        pytest.param("https:///hush", False, id="no host"),
        pytest.param("https://hooks.example:70000/hush", False, id="no port"),
        pytest.param("https://hooks.example/hu sh", False, id="a blank"),
        pytest.param("hush", False, id="no URL"),
    ],
)
def test_a_webhook_is_reached_by_https_or_on_this_machine(
    load: Callable[..., Settings],
    refusal: Callable[..., str],
    url: str,
    *,
    fits: bool,
) -> None:
    text = f"notify.webhook = '{url}'"
    if fits:
        assert load(text).notify.webhook.reveal() == url
        return
    said = refusal(text)
    assert "zonegate.toml: notify.webhook: " in said
    assert "hush" not in said.partition("notify.webhook: ")[2]


@pytest.mark.parametrize(
    ("key", "text"),
    [
        pytest.param("authz.host", "'h'", id="authz.host"),
        pytest.param("authz.port", "8082", id="authz.port"),
        pytest.param("authz.trusted", "['10.0.0.0/8']", id="authz.trusted"),
        pytest.param("authz.hand_out_credential", "true", id="authz.hand_out_credential"),
    ],
)
def test_a_key_that_does_nothing_yet_is_refused(refusal: Callable[..., str], key: str, text: str) -> None:
    said = refusal(f"{key} = {text}")
    assert f"zonegate.toml: {key}: " in said
    assert "not in this version yet" in said
    assert "hush" not in said


@pytest.mark.parametrize(
    ("text", "key"),
    [
        pytest.param("listen.trusted_proxies = ['0.0.0.0/0']", "listen.trusted_proxies", id="every IPv4 address"),
        pytest.param("listen.trusted_proxies = ['::/0']", "listen.trusted_proxies", id="every IPv6 address"),
        pytest.param("listen.trusted_proxies = ['::ffff:0:0/96']", "listen.trusted_proxies", id="every mapped address"),
        pytest.param("listen.trusted_proxies = ['10.0.0.1/8']", "listen.trusted_proxies", id="host bits"),
        pytest.param("listen.trusted_proxies = ['proxy.example']", "listen.trusted_proxies", id="a name"),
        pytest.param("listen.trusted_proxies = ['']", "listen.trusted_proxies", id="nothing"),
        pytest.param("listen.trusted_proxies = ['unix']", "listen.trusted_proxies", id="peers on no socket"),
        pytest.param("listen.port = 0", "listen.port", id="no port and no socket"),
        pytest.param(f"listen.unix = '/{'x' * 107}'", "listen.unix", id="a socket's path that is too long"),
        pytest.param(f"listen.unix = '/{'ä' * 54}'", "listen.unix", id="a path that is too long in bytes"),
        pytest.param('listen.unix = "\\u0000zonegate"', "listen.unix", id="a socket without a file"),
        pytest.param('listen.unix = "/run/a\\nb"', "listen.unix", id="a line end in a socket's path"),
        pytest.param("listen.max_connections = 0", "listen.max_connections", id="no connection at all"),
        pytest.param("limits.header_timeout = 0", "limits.header_timeout", id="no time for a head"),
        pytest.param("listen.tls.cert = 'c'", "listen.tls.cert", id="a certificate without its key"),
        pytest.param("listen.tls.key = 'k'", "listen.tls.key", id="a key without its certificate"),
        pytest.param("admin.tls.cert = 'c'", "admin.tls.cert", id="the admin listener's without its key"),
        pytest.param("admin.tls.key = 'k'", "admin.tls.key", id="the admin listener's key alone"),
        pytest.param(
            "[listen]\nport = 0\nunix = 's'\ntls = { cert = 'c', key = 'k' }",
            "listen.tls.cert",
            id="TLS for a socket alone",
        ),
        pytest.param(
            "[listen]\nproxy_protocol = true\ntrusted_proxies = ['10.0.0.0/8']\ntls = { cert = 'c', key = 'k' }",
            "listen.proxy_protocol",
            id="PROXY protocol with TLS",
        ),
        pytest.param("listen.proxy_protocol = true", "listen.proxy_protocol", id="PROXY headers of nobody"),
        pytest.param(
            "[listen]\nproxy_protocol = true\nunix = 's'", "listen.proxy_protocol", id="PROXY headers of no peer"
        ),
        pytest.param(
            "[listen]\nproxy_protocol = true\nunix = 's'\nport = 0\ntrusted_proxies = ['10.0.0.0/8']",
            "listen.proxy_protocol",
            id="PROXY headers of networks without a port",
        ),
        pytest.param("admin.port = 0", "admin.port", id="no admin port"),
        pytest.param("store.url = 'http://h'", "store.url", id="another kind of store"),
        pytest.param("store.url = ''", "store.url", id="no store"),
        pytest.param("store.url = 'redis://h/0?socket_timeout=30'", "store.url", id="an option of the store's client"),
        pytest.param("store.url = 'redis+sentinel://h:1,h:2'", "store.url", id="sentinels without a service"),
        pytest.param("store.url = 'redis+cluster://h:1,'", "store.url", id="a cluster's node without a name"),
        pytest.param("store.sentinel_password = 'x'", "store.sentinel_password", id="a sentinels' password for nobody"),
        pytest.param(
            "store.url = 'redis+cluster://h'\nstore.sentinel_password = 'x'",
            "store.sentinel_password",
            id="a sentinels' password for a cluster",
        ),
        pytest.param("store.pepper = ['a', '']", "store.pepper", id="an empty pepper"),
        *(
            pytest.param(
                f"upstreams.billing.targets = ['{target}']", "upstreams.billing.targets", id=f"target {target}"
            )
            for target in [
                "",
                "127.0.0.1:9000",
                "ftp://h",
                "http://",
                "http://h/",
                "http://h/path",
                "http://h?x",
                "http://h#x",
                "http://user:pass@h",
                "http://h:",
                "http://h:port",
                "http://h:123456",
                "http://h:65536",
                "http://h:0",
                "http://[::1",
                "http://[::::]",
                "http://[192.0.2.1]",
                "http://h:١٢",
                "http://a b",
                "unix:///run/x",
            ]
        ),
        *(
            pytest.param(
                UPSTREAM + f"base_path = '{path}'", "upstreams.cloudflare-dns.base_path", id=f"base path {path}"
            )
            for path in ["/", "v4", "/.", "/a/../b", "/v4/", "//v4", "/a b", "/%61", "/a?b", "/a#b", "/ä"]
        ),
        *(
            pytest.param(f"upstreams.billing.targets = {targets}", "upstreams.billing.targets", id=f"targets {targets}")
            for targets in [
                ["http://h", "https://h"],
                ["https://h:80", "http://h"],
                ["http://a", "http://b", "http://a"],
                ["http://h", "http://H:80"],
                ["https://h:443", "https://h"],
                ["http://[::1]", "http://[0::1]:80"],
                ["http://a", ""],
            ]
        ),
        pytest.param(UPSTREAM + "tls.verify = false", "upstreams.cloudflare-dns.tls", id="TLS of a target without it"),
        pytest.param(
            "upstreams.billing = { targets = ['http://a', 'http://b'], tls = { verify = false } }",
            "upstreams.billing.tls",
            id="TLS of targets without it",
        ),
        pytest.param(
            "upstreams.billing = { targets = ['https://h'], tls = { key = 'k' } }",
            "upstreams.billing.tls.key",
            id="an upstream's key without a certificate",
        ),
        pytest.param(UPSTREAM + "host = 'http://h'", "upstreams.cloudflare-dns.host", id="a URL for a host"),
        pytest.param(UPSTREAM + "host = 'h, g'", "upstreams.cloudflare-dns.host", id="two hosts"),
        pytest.param(UPSTREAM + "host = 'h:١٢'", "upstreams.cloudflare-dns.host", id="another alphabet's digits"),
        pytest.param(UPSTREAM + 'host = "h\\n"', "upstreams.cloudflare-dns.host", id="a line end in a host"),
    ],
)
def test_a_value_that_would_mislead_is_refused(refusal: Callable[..., str], text: str, key: str) -> None:
    assert f"zonegate.toml: {key}: " in refusal(text)


@pytest.mark.parametrize(
    "value",
    [
        pytest.param("Bearer hush\\r\\nX: y", id="two lines"),
        pytest.param("hush\\n", id="a line end behind it"),
        pytest.param(" hush", id="a blank before it"),
        pytest.param("hush\\u00e4", id="not ASCII"),
        pytest.param("hush\\u0000", id="a control character"),
    ],
)
def test_a_credential_that_no_header_can_hold_is_refused_and_not_shown(refusal: Callable[..., str], value: str) -> None:
    said = refusal(UPSTREAM + f'credential.value = "{value}"')
    assert "zonegate.toml: upstreams.cloudflare-dns.credential.value: " in said
    assert "hush" not in said


@pytest.mark.parametrize(
    "url",
    [
        pytest.param("redis://user:hu/sh@h/0", id="a slash in a password"),
        pytest.param("redis+sentinel://user:hu?sh@h/main", id="a question mark in a password"),
        pytest.param("http://user:hush@h", id="another kind of store"),
    ],
)
def test_a_store_s_url_that_is_refused_is_not_shown(refusal: Callable[..., str], url: str) -> None:
    said = refusal(f"store.url = '{url}'")
    assert "zonegate.toml: store.url: " in said
    _, _, why = said.partition("store.url: ")
    assert "hu" not in why
    assert "sh@" not in why


@pytest.mark.parametrize(
    "url",
    [
        "embedded",
        "redis://user:word@h:1/0",
        "rediss://h",
        "unix:///run/valkey.sock?db=1",
        "redis+sentinel://user:word@h:1,[::1]:2/main/0",
        "redis+cluster://h:1,h:2",
    ],
)
def test_a_store_is_embedded_one_server_sentinels_or_a_cluster(load: Load, url: str) -> None:
    assert load(f"store.url = '{url}'").store.url.reveal() == url


def test_sentinels_may_have_a_password(load: Load) -> None:
    found = load("store.url = 'redis+sentinel://h/main'\nstore.sentinel_password = 'word'")
    assert found.store.sentinel_password.reveal() == "word"


def test_a_password_in_a_target_is_not_shown(refusal: Callable[..., str]) -> None:
    assert "hush" not in refusal("upstreams.billing.targets = ['http://user:hush@h']")


@pytest.mark.parametrize(
    ("text", "value"),
    [
        pytest.param("upstreams.billing.targets = ['http://h']", "http://h", id="a name"),
        pytest.param("upstreams.billing.targets = ['https://api.example:443']", "https://api.example:443", id="a port"),
        pytest.param("upstreams.billing.targets = ['http://[::1]:9000']", "http://[::1]:9000", id="IPv6"),
    ],
)
def test_a_target_is_a_scheme_a_host_and_perhaps_a_port(load: Load, text: str, value: str) -> None:
    assert load(text).upstreams["billing"].targets == (value,)


@pytest.mark.parametrize(
    ("targets", "places"),
    [
        pytest.param(["http://h"], [("http", "h", 80)], id="one"),
        pytest.param(
            ["http://a", "http://A:8080", "http://b"],
            [("http", "a", 80), ("http", "a", 8080), ("http", "b", 80)],
            id="several",
        ),
        pytest.param(
            ["https://Api.Example", "https://[0::1]:9000"],
            [("https", "api.example", 443), ("https", "::1", 9000)],
            id="several with TLS",
        ),
    ],
)
def test_an_upstream_has_one_target_or_more_of_one_scheme(
    load: Load, targets: list[str], places: list[tuple[str, str, int]]
) -> None:
    found = load(f"upstreams.billing.targets = {targets}").upstreams["billing"]
    assert found.targets == tuple(targets)
    assert found.places == tuple(Target(*place) for place in places)


TLS = "tls = { cert = 'c', key = 'k' }"


@pytest.mark.parametrize(
    "text",
    [
        pytest.param("[listen]\nunix = '/run/zonegate.sock'", id="a socket beside the port"),
        pytest.param("[listen]\nunix = 'zonegate.sock'\nport = 0", id="a socket alone"),
        pytest.param(f"[listen]\nunix = '{'x' * 103}'", id="the longest path that fits everywhere"),
        pytest.param(f"[listen]\n{TLS}\n[admin]\n{TLS}", id="TLS"),
        pytest.param(f"[listen]\nunix = 's'\n{TLS}", id="TLS for the port, and a plain socket"),
        pytest.param(
            "[listen]\nproxy_protocol = true\ntrusted_proxies = ['10.0.0.0/8']", id="PROXY protocol from a network"
        ),
        pytest.param(
            "[listen]\nproxy_protocol = true\nunix = 's'\nport = 0\ntrusted_proxies = ['unix']",
            id="PROXY protocol on a socket",
        ),
        pytest.param(
            "[listen]\nproxy_protocol = true\nunix = 's'\ntrusted_proxies = ['unix']",
            id="PROXY protocol on a socket beside the port",
        ),
        pytest.param("[listen]\nmax_connections = 1\n[limits]\nheader_timeout = 0.5", id="tight limits"),
        pytest.param(
            "upstreams.x = { targets = ['https://h'], tls = { cert = 'c' } }", id="certificate and key in one"
        ),
    ],
)
def test_what_goes_together_is_taken(load: Load, text: str) -> None:
    assert load(text) != Settings()


def test_the_remedy_for_proxy_headers_that_nobody_is_believed_for_is_named(refusal: Callable[..., str]) -> None:
    assert "(its network) in listen.trusted_proxies" in refusal("listen.proxy_protocol = true")
    on_socket = refusal("[listen]\nproxy_protocol = true\nunix = 's'\nport = 0")
    assert '("unix") in listen.trusted_proxies' in on_socket


@pytest.mark.parametrize(
    ("trusted", "trusts_unix"),
    [
        pytest.param([], False, id="nobody"),
        pytest.param(["127.0.0.1"], False, id="networks"),
        pytest.param(["unix"], True, id="the word"),
        pytest.param(["127.0.0.1", "unix"], True, id="the word beside networks"),
    ],
)
def test_peers_on_the_unix_socket_are_trusted_only_where_a_word_says_so(
    load: Load, trusted: list[str], *, trusts_unix: bool
) -> None:
    found = load(f"[listen]\nunix = 's'\ntrusted_proxies = {trusted}")
    assert found.trusts_unix is trusts_unix
    assert found.trusted_proxies == tuple(ip_network(text) for text in trusted if text != "unix")


def test_trusted_proxies_are_networks(load: Load) -> None:
    found = load("listen.trusted_proxies = ['10.0.0.0/8', '192.0.2.7', '2001:db8::/32', '::ffff:192.0.2.0/120']")
    assert found.trusted_proxies == tuple(
        ip_network(text) for text in ("10.0.0.0/8", "192.0.2.7/32", "2001:db8::/32", "192.0.2.0/24")
    )


def test_no_secret_is_in_the_settings_repr(load: Load) -> None:
    found = load(
        'store.url = "redis://user:hush@h/0"\nstore.pepper = ["hush"]\n' + UPSTREAM + 'credential.value = "Bearer hush"'
    )
    assert found.store.url.reveal() == "redis://user:hush@h/0"
    assert "hush" not in repr(found)
    assert "hush" not in str(found.store)


KEYS = sorted(key for key, _ in flat(tomllib.loads(DEFAULTS)))


@given(st.dictionaries(st.sampled_from(KEYS), st.text() | st.integers().map(str), max_size=3))
def test_whatever_the_variables_hold_it_is_settings_or_one_line(load: Load, values: dict[str, str]) -> None:
    environ = {f"ZONEGATE_{key.upper().replace('.', '__')}": value for key, value in values.items()}
    said = []
    try:
        load("", **environ)
    except SettingsError as error:
        said = str(error).splitlines()
    assert not said or (len(said) == 1 and said[0].startswith(tuple(environ)))


@pytest.mark.parametrize(
    ("text", "rate"),
    [
        pytest.param("", None, id="not set"),
        pytest.param("limits.rate = { requests = 0, period = 60 }", None, id="0 is none"),
        pytest.param("limits.rate = { requests = 1200 }", Rate(1200, 300), id="the period's default"),
        pytest.param("limits.rate = { requests = 5, period = 60 }", Rate(5, 60), id="both"),
    ],
)
def test_the_rate_of_tokens_without_limits(load: Callable[..., Settings], text: str, rate: Rate | None) -> None:
    assert load(text).limits.rate.of_a_token == rate

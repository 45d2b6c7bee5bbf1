"""Who takes part, and how each is started."""

import inspect
from pathlib import Path
from typing import Final

import msgspec
from support.processes import ZONEGATE as COMMAND

from contest import missing
from contest.launch import Launch
from contest.missing import Need, beside_python
from gateway import app

ZONEGATE: Final = "zonegate"
TWO_WORKERS: Final = "zonegate-2"
NAIVE: Final = "zonegate-naive"
SILENT: Final = "zonegate-silent"
NGINX: Final = "nginx"
LUA_REDIS: Final = "nginx-lua-redis"
LUA_CACHE: Final = "nginx-lua-cache"
HAPROXY: Final = "haproxy"
HAPROXY_TOKENS: Final = "haproxy-tokens"
CADDY: Final = "caddy"
FASTAPI: Final = "fastapi"
STRAIGHT: Final = "straight"


class Contestant(msgspec.Struct, frozen=True):
    """A proxy; without `launch` nothing stands between the generator and the upstream.

    `checks`: whether it claims to check tokens, and with them the zone; `asks_store`: whether the store works for it;
    `workers`: and as many cores.
    """

    key: str
    title: str
    launch: Launch | None = None
    needs: tuple[Need, ...] = ()
    checks: bool = False
    asks_store: bool = False
    workers: int = 1


def nginx(name: str, config: str = "nginx.conf", **parts: str) -> Launch:
    """An nginx of our own; `parts` that are not given are empty."""
    return Launch(
        name,
        ("nginx", "-p", "@{directory}", "-e", "@{directory}/@{name}.error.log", "-c", "@{config}"),
        config,
        {"modules": "", "shared": "", "check": "", "credential": "", "logged": "", **parts},
    )


def _nginx_lua(key: str, title: str, dictionary: str) -> Contestant:
    launch = nginx(
        key,
        modules=(
            "load_module /usr/lib/nginx/modules/ndk_http_module.so;\n"
            "load_module /usr/lib/nginx/modules/ngx_http_lua_module.so;"
        ),
        shared=f'lua_package_path "@{{directory}}/?.lua;/usr/share/lua/5.1/?.lua;;";\n    {dictionary}',
        check='set $token_id "";\n            access_by_lua_block { require("token_check").check() }',
        credential=(
            'proxy_set_header Authorization "@{upstream_credential}";\n'
            "            proxy_set_header X-Token-Id $token_id;"
        ),
        logged='"token":"$token_id",',
    )
    return Contestant(key, title, launch, missing.LUA, checks=True, asks_store=True)


def _zonegate(key: str, title: str, command: tuple[str, ...], workers: int = 1, *, watched: bool = True) -> Contestant:
    """`watched`: with access log and metrics."""
    parts = {"workers": str(workers), "watched": str(watched).lower()}
    launch = Launch(key, (*command, "@{config}"), "zonegate.toml", parts)
    return Contestant(key, title, launch, checks=True, asks_store=True, workers=workers)


def _haproxy(key: str, check: str = "") -> Launch:
    return Launch(key, ("haproxy", "-db", "-f", "@{config}"), "haproxy.cfg", {"check": check})


_SERVE: Final = (COMMAND, "serve", "--config")
_HERE: Final = Path(__file__).parent
_PYTHON: Final = str(beside_python("python"))
_HAPROXY_CHECK: Final = """http-request deny status 401 unless { req.hdr(authorization) -m beg "Bearer " }
    http-request set-var(txn.zone) req.hdr(authorization),word(2,' '),sha2(256),hex,map_str(@{directory}/tokens.map)
    http-request deny status 401 unless { var(txn.zone) -m found }
    http-request deny status 404 unless { path -m reg ^/client/v4/zones/[0-9a-f]{32}/dns_records(/[0-9a-f]{32})?$ }
    http-request deny status 403 unless { path,field(5,/),strcmp(txn.zone) eq 0 }
    http-request set-header Authorization "@{upstream_credential}\""""

ALL: Final = (
    _zonegate(ZONEGATE, "zonegate", _SERVE),
    _zonegate(TWO_WORKERS, "zonegate, 2 workers", _SERVE, workers=2),
    _zonegate(NAIVE, "zonegate, all in tasks", (_PYTHON, str(_HERE / "naive_road.py"))),
    _zonegate(SILENT, "zonegate, no logs, no metrics", _SERVE, watched=False),
    Contestant(NGINX, "nginx", nginx(NGINX), (missing.NGINX,)),
    _nginx_lua(LUA_REDIS, "nginx + Lua + Redis", ""),
    _nginx_lua(LUA_CACHE, "nginx + Lua, cached", "lua_shared_dict tokens 64m;"),
    Contestant(HAPROXY, "haproxy", _haproxy(HAPROXY), (missing.HAPROXY,)),
    Contestant(
        HAPROXY_TOKENS,
        "haproxy + token map",
        _haproxy(HAPROXY_TOKENS, _HAPROXY_CHECK),
        (missing.HAPROXY,),
        checks=True,
    ),
    Contestant(
        CADDY,
        "Caddy",
        Launch(
            CADDY,
            ("caddy", "run", "--config", "@{config}", "--adapter", "caddyfile"),
            "Caddyfile",
            environment={
                "GOMAXPROCS": "1",
                **dict.fromkeys(("HOME", "XDG_DATA_HOME", "XDG_CONFIG_HOME"), "@{directory}"),
            },
        ),
        (missing.CADDY,),
    ),
    Contestant(
        FASTAPI,
        "FastAPI + httpx + Redis",
        Launch(
            FASTAPI,
            (_PYTHON, "-m", "uvicorn", "team_proxy:app", "--app-dir", str(_HERE), "--port", "@{port}"),
            environment={
                "UPSTREAM": "http://127.0.0.1:@{upstream_port}",
                "UPSTREAM_CREDENTIAL": "@{upstream_credential}",
                "STORE": "redis://127.0.0.1:@{store_port}",
            },
        ),
        missing.TEAM,
        checks=True,
        asks_store=True,
    ),
    Contestant(STRAIGHT, "straight to the upstream"),
)
KEYS: Final = tuple(each.key for each in ALL)


def can_take_part(key: str) -> bool:
    """Whether this gateway can be started that way: the naive road is a keyword of `serve`."""
    return key != NAIVE or "at_once" in inspect.signature(app.serve).parameters

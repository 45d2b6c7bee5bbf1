"""What has to be installed before anything can be measured, and how."""

import importlib.util
import shutil
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Final

import msgspec


class Missing(Exception):  # noqa: N818 - it says what is the case
    """Something that the run needs is not there. One line with the remedy."""


def beside_python(command: str) -> Path:
    """Where pip puts a command of this interpreter's environment."""
    return Path(sys.executable).parent / command


class Need(msgspec.Struct, frozen=True):
    """Something of Debian's or PyPI's. `file`: an absolute path, a program's name, or a Python module."""

    file: str
    package: str

    def is_met(self) -> bool:
        """Whether it is there."""
        if self.file.startswith("/"):
            return Path(self.file).exists()
        return shutil.which(self.file) is not None


class Module(Need, frozen=True):
    """A Python module, or a command beside this interpreter: `package` is what pip calls it."""

    def is_met(self) -> bool:
        """Whether it could be imported or run."""
        return importlib.util.find_spec(self.file) is not None or beside_python(self.file).exists()


NGINX: Final = Need("nginx", "nginx")
REDIS: Final = Need("redis-server", "redis-server")
WRK: Final = Need("wrk", "wrk")
H2LOAD: Final = Need("h2load", "nghttp2-client")
TASKSET: Final = Need("taskset", "util-linux")
SETPRIV: Final = Need("setpriv", "util-linux")
HAPROXY: Final = Need("haproxy", "haproxy")
CADDY: Final = Need("caddy", "caddy")
LUA: Final = (
    Need("/usr/lib/nginx/modules/ngx_http_lua_module.so", "libnginx-mod-http-lua"),
    Need("/usr/share/lua/5.1/nginx/redis.lua", "lua-nginx-redis"),
    REDIS,
)
TEAM: Final = (
    Module("fastapi", "fastapi"),
    Module("uvicorn", "uvicorn"),
    Module("httptools", "httptools"),
    Module("httpx", "httpx"),
    REDIS,
)
PY_SPY: Final = Module("py-spy", "py-spy")
ALWAYS: Final = (WRK, NGINX, REDIS, TASKSET, SETPRIV)


def check(needs: Iterable[Need]) -> None:
    """All of `needs` are met. Raises Missing, with the commands that install the rest."""
    unmet = dict.fromkeys(need for need in needs if not need.is_met())
    if not unmet:
        return
    of_python = sorted({need.package for need in unmet if isinstance(need, Module)})
    of_debian = sorted({need.package for need in unmet if not isinstance(need, Module)})
    commands = [f"apt-get install {' '.join(of_debian)}"] if of_debian else []
    commands += [f"pip install -c constraints.txt {' '.join(of_python)}"] if of_python else []
    raise Missing(f"{', '.join(need.file for need in unmet)}: {' && '.join(commands)}")

"""How a program is started: its command, its configuration file, and the names that are filled into both.

directory, files, connections, user     the same for all
upstream_port, store_port, upstream_credential, answer
name, port, log, config                 its own; and what `parts` adds
"""

import os
import re
import resource
from collections.abc import Mapping
from pathlib import Path
from typing import Final

import msgspec
from support.processes import free_port

from contest.program import Program

UPSTREAM_CREDENTIAL: Final = "Bearer the-one-all-powerful-key"
ANSWER: Final = (
    '{"success":true,"errors":[],"messages":[],"result":{"id":"00000000000000000000000000000000","type":"A",'
    '"name":"www.alpha.example","content":"192.0.2.1","ttl":300,"proxied":false,"comment":null,'
    '"created_on":"2026-01-01T00:00:00Z","modified_on":"2026-01-01T00:00:00Z"}}'
)
_CONFIG: Final = Path(__file__).parent / "config"
_ENOUGH_CONNECTIONS: Final = 4096
_UNLIMITED: Final = 65536


_NAME: Final = re.compile(r"@\{([a-z_]+)\}")
"""nginx and Lua have `$` and `{}` for themselves."""


def fill_in(text: str, names: Mapping[str, str]) -> str:
    """`text` with each `@{name}` filled in. Raises KeyError for one that nobody gave."""
    return _NAME.sub(lambda found: names[found[1]], text)


def raise_limit() -> int:
    """How many files a process may have open now: as many as we may allow ourselves."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    files = _UNLIMITED if hard == resource.RLIM_INFINITY else hard
    resource.setrlimit(resource.RLIMIT_NOFILE, (files, hard))
    return files


def common_names(directory: Path) -> dict[str, str]:
    """What every configuration may name."""
    files = raise_limit()
    return {
        "directory": str(directory),
        "files": str(files),
        "connections": str(min(files // 2, _ENOUGH_CONNECTIONS)),
        "user": "user root root;" if os.geteuid() == 0 else "",
        "upstream_port": str(free_port()),
        "store_port": str(free_port()),
        "upstream_credential": UPSTREAM_CREDENTIAL,
        "answer": ANSWER,
    }


def write_config(file: str, to: Path, names: Mapping[str, str]) -> None:
    """`to` is the file of that name in `config/`, filled in."""
    to.write_text(fill_in((_CONFIG / file).read_text(), names))


class Launch(msgspec.Struct, frozen=True):
    """`config`: a file in `config/`, "" for none."""

    name: str
    command: tuple[str, ...]
    config: str = ""
    parts: dict[str, str] = {}
    environment: dict[str, str] = {}

    def start(self, common: Mapping[str, str], port: int, cores: str) -> Program:
        """The program, started on `cores`; it may not listen yet."""
        directory = Path(common["directory"])
        config, log = directory / f"{self.name}.conf", directory / f"{self.name}.log"
        own = {"name": self.name, "port": str(port), "admin_port": str(free_port())}
        names = {**common, **own, "log": str(log), "config": str(config)}
        names |= {name: fill_in(text, names) for name, text in self.parts.items()}
        if self.config:
            write_config(self.config, config, names)
        return Program(
            [fill_in(word, names) for word in self.command],
            cores,
            log,
            {name: fill_in(text, names) for name, text in self.environment.items()},
        )

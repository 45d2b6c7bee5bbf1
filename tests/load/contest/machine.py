"""The machine: which core belongs to whom, and what a reader of the figures has to know of it."""

import contextlib
import importlib.metadata
import os
import platform
import subprocess
from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import msgspec

from contest.missing import Missing

_FEWEST: Final = 2
_ENOUGH_FOR_ALL: Final = 4


class Cores(msgspec.Struct, frozen=True):
    """Lists of cores as `taskset -c` takes them: `beside` is where upstream and generator run, `one` is a contestant's,
    `two` is one that has two. `shared`: whether `two` contains `beside`.
    """

    beside: str
    one: str
    two: str
    shared: bool


def share_out(available: Iterable[int]) -> Cores:
    """Who runs where. Raises Missing below two cores."""
    cores = sorted(available)
    if len(cores) < _FEWEST:
        raise Missing("two cores: one for the contestant, one for upstream and generator")
    if len(cores) < _ENOUGH_FOR_ALL:
        return Cores(str(cores[0]), str(cores[1]), f"{cores[0]},{cores[1]}", shared=True)
    return Cores(f"{cores[0]},{cores[1]}", str(cores[2]), f"{cores[2]},{cores[3]}", shared=False)


_VERSIONS: Final = (
    ("nginx", "-v"),
    ("haproxy", "-v"),
    ("caddy", "version"),
    ("redis-server", "--version"),
    ("wrk", "-v"),
    ("h2load", "--version"),
)
_PACKAGES: Final = ("zonegate", "aiohttp", "uvloop", "fastapi", "uvicorn", "httpx", "redis")


def versions() -> dict[str, str]:
    """What each program says of itself in its first line, and the versions of packages; of those that are there."""
    found = {}
    for command in _VERSIONS:
        with contextlib.suppress(OSError):
            done = subprocess.run(command, capture_output=True, text=True, timeout=10, check=False)
            found[command[0]] = (done.stdout or done.stderr).partition("\n")[0].strip()
    for package in _PACKAGES:
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            found[package] = importlib.metadata.version(package)
    return found


def describe() -> dict[str, Any]:
    """For the JSON."""
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    models = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return {
        "cpu": models[0] if models else platform.processor(),
        "cores": len(os.sched_getaffinity(0)),
        "kernel": platform.release(),
        "python": platform.python_version(),
        "load": os.getloadavg(),
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "versions": versions(),
    }

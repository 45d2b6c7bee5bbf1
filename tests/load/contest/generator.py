"""The load: wrk as fast as it goes, h2load at a constant rate. Both are told in advance what each answer has to be."""

import resource
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import msgspec

from contest.arena import OK, Arena, Broken, Stand
from contest.scenario import Scenario

_SCRIPT: Final = Path(__file__).parent / "config" / "requests.lua"
_GRACE: Final = 30.0
_STEADY_CONNECTIONS: Final = 64


class Load(msgspec.Struct, frozen=True):
    """What a generator found. `wrong`: answers of another status than the scenario's, and requests without one."""

    requests: int
    seconds: float
    bytes: int
    p50: float
    p99: float
    wrong: int
    cpu: float


class _Found(msgspec.Struct):
    requests: int
    seconds: float
    bytes: int
    p50: float
    p99: float
    refused: int
    broken: int


def _run(arena: Arena, command: Sequence[str], seconds: float) -> tuple[str, float]:
    """What `command` prints, and its CPU seconds. Raises Broken."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    done = subprocess.run(
        ["taskset", "-c", arena.cores.beside, *command],
        capture_output=True,
        text=True,
        timeout=seconds + _GRACE,
        check=False,
    )
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    if done.returncode:
        raise Broken(f"{command[0]}: {done.stderr or done.stdout}")
    return done.stdout, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def at_most(arena: Arena, stand: Stand, scenario: Scenario, seconds: int) -> Load:
    """As many requests as `stand` takes. Raises Broken."""
    given = {"method": scenario.method, "target": scenario.target, "credential": scenario.credential}
    given |= {"unlike": "yes"} if scenario.unlike else {}
    given |= {"body": str(scenario.body)} if scenario.body else {}
    given |= {"close": "yes"} if scenario.close else {}
    given |= {"tokens": str(arena.directory / "tokens.txt")} if scenario.many else {}
    printed, cpu = _run(
        arena,
        [
            *("wrk", "-t1", f"-c{scenario.connections}", f"-d{seconds}s", "--timeout", "10s", "-s", str(_SCRIPT)),
            *(f"http://127.0.0.1:{stand.port}/", "--", *(f"{name}={value}" for name, value in given.items())),
        ],
        seconds,
    )
    found = msgspec.json.decode(printed.splitlines()[-1], type=_Found)
    # wrk calls everything from 400 on an error; which status it was, the self-check has seen.
    expected = 0 if scenario.status == OK else found.requests
    return Load(
        found.requests,
        found.seconds,
        found.bytes,
        found.p50,
        found.p99,
        abs(found.refused - expected) + found.broken,
        cpu,
    )


def percentile(ordered: Sequence[float], share: float) -> float:
    """The value below which `share` of `ordered` are."""
    return ordered[min(len(ordered) - 1, int(len(ordered) * share))]


def at_rate(arena: Arena, stand: Stand, scenario: Scenario, seconds: int, rate: float) -> Load:
    """`rate` requests a second, whatever `stand` takes. Raises Broken."""
    log = arena.directory / "h2load.tsv"
    log.unlink(missing_ok=True)
    fields = {
        "Authorization": scenario.credential,
        "User-Agent": "cloudflare-python/4.3.1",
        "Accept": "application/json",
        "Accept-Encoding": "gzip, deflate",
        "Accept-Language": "en",
        "Content-Type": "application/json",
        "Connection": "keep-alive",
        "Traceparent": "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
    }
    _, cpu = _run(
        arena,
        [
            *("h2load", "--h1", f"-c{_STEADY_CONNECTIONS}", f"--rps={rate / _STEADY_CONNECTIONS:.3f}"),
            *(f"-D{seconds}", f"--log-file={log}"),
            *(f"-H{name}: {value}" for name, value in fields.items()),
            f"http://127.0.0.1:{stand.port}{scenario.target}?page=1&per_page=50&match=all",
        ],
        seconds,
    )
    rows = [line.split("\t") for line in log.read_text().splitlines()]
    times = sorted(int(row[2]) / 1000 for row in rows)
    if not times:
        raise Broken(f"h2load: no answer from {stand.contestant.title}")
    wrong = sum(int(row[1]) != scenario.status for row in rows)
    return Load(len(times), float(seconds), 0, percentile(times, 0.5), percentile(times, 0.99), wrong, cpu)

"""What the gateway costs, as ratios out of one run: `make bench`.

The demo upstream, the gateway and the load generator (this process) share the machine's cores, so that requests a
second say little by themselves; CPU time a request (of the gateway's process, from /proc) is the steadier figure.
Rounds of the contestants are interleaved, and medians printed.
"""

import argparse
import asyncio
import json
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import aiohttp

sys.path.insert(0, str(Path(__file__).parent.parent))

from support.processes import UPSTREAM_SECRET, Gateway, running
from support.records import group_id, zone

from gateway.demo.dataset import RECORDS, ZONES

_TICKS = os.sysconf("SC_CLK_TCK")


def cpu_seconds(pid: int) -> float:
    """User and system time of a process so far."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / _TICKS


async def round_of(
    session: aiohttp.ClientSession, url: str, headers: Mapping[str, str], status: int, count: int, clients: int
) -> list[float]:
    """`count` GETs by `clients` at once; their times in seconds. Any other status ends the run."""
    times: list[float] = []

    async def client() -> None:
        for _ in range(count // clients):
            start = time.perf_counter()
            async with session.get(url, headers=headers) as response:
                await response.read()
            times.append(time.perf_counter() - start)
            if response.status != status:
                sys.exit(f"bench: {url} answered {response.status}, not {status}")

    async with asyncio.TaskGroup() as group:
        for _ in range(clients):
            group.create_task(client())
    return times


async def measure(gateway: Gateway, upstream: str, count: int, clients: int, rounds: int) -> list[dict[str, Any]]:
    """A row for each contestant."""
    zone_id = ZONES["alpha.example"]
    path = f"/zones/{zone_id}/dns_records/{RECORDS['A alpha.example']}"
    policies = [
        {"effect": "allow", "permission_groups": [{"id": group_id("DNS Read")}], "resources": {zone(zone_id): "*"}}
    ]
    token = {"Authorization": f"Bearer {gateway.create(name='bench', policies=policies)['value']}"}
    other = f"/zones/{ZONES['beta.example']}/dns_records"
    contestants = {
        "straight to the upstream": (
            f"{upstream}/client/v4{path}",
            {"Authorization": f"Bearer {UPSTREAM_SECRET}"},
            200,
        ),
        "through the gateway": (gateway.url + path, token, 200),
        "denied (403)": (gateway.url + other, token, 403),
        "unauthenticated (401)": (gateway.url + path, {}, 401),
    }
    assert gateway.process is not None
    results: dict[str, list[dict[str, float]]] = {name: [] for name in contestants}
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=clients)) as session:
        for _ in range(rounds):
            for name, (url, headers, status) in contestants.items():
                cpu, start = cpu_seconds(gateway.process.pid), time.perf_counter()
                times = sorted(await round_of(session, url, headers, status, count, clients))
                seconds = time.perf_counter() - start
                results[name].append(
                    {
                        "requests_per_second": len(times) / seconds,
                        "gateway_cpu_us": (cpu_seconds(gateway.process.pid) - cpu) / len(times) * 1e6,
                        "p50_ms": times[len(times) // 2] * 1000,
                        "p99_ms": times[int(len(times) * 0.99)] * 1000,
                    }
                )
    rows = [
        {"contestant": name, **{key: statistics.median(one[key] for one in found) for key in found[0]}}
        for name, found in results.items()
    ]
    for row in rows:
        row["ratio"] = row["requests_per_second"] / rows[0]["requests_per_second"]
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--requests", type=int, default=2000, help="a round")
    parser.add_argument("--clients", type=int, default=16)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as directory, running(Path(directory)) as (gateway, upstream):
        rows = asyncio.run(measure(gateway, upstream.url, options.requests, options.clients, options.rounds))
    if options.json:
        sys.stdout.write(json.dumps(rows, indent=2) + "\n")
        return
    sys.stdout.write(f"{'':26}{'req/s':>8}{'ratio':>8}{'CPU/req':>10}{'p50':>9}{'p99':>9}\n")
    for row in rows:
        sys.stdout.write(
            f"{row['contestant']:26}{row['requests_per_second']:8.0f}{row['ratio']:8.2f}"
            f"{row['gateway_cpu_us']:7.0f} us{row['p50_ms']:6.1f} ms{row['p99_ms']:6.1f} ms\n"
        )


if __name__ == "__main__":
    main()

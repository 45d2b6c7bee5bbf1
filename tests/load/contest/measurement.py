"""One contestant in one scenario, in one round: what came of it, and what it cost."""

from typing import Final

import msgspec

from contest import generator
from contest.arena import Arena, Stand
from contest.scenario import Scenario

_MICRO: Final = 1e6
_MIB: Final = 1024 * 1024


class Measurement(msgspec.Struct, frozen=True):
    """Rates a second, times in milliseconds, CPU in microseconds a request, memory in MiB.

    `cpu` is all that works for the contestant, the store's share of it is in `cpu_store`; `cpu_upstream` and
    `cpu_generator` is what stands beside it. `busy`: how much of its cores it had; below 0.9 it is not what was
    measured, and only its CPU says what it costs. `wrong`: answers that were not what they had to be.
    """

    requests: float
    mib: float
    p50: float
    p99: float
    cpu: float
    cpu_store: float
    cpu_upstream: float
    cpu_generator: float
    busy: float
    rss: float
    count: int
    wrong: int


def measure(arena: Arena, stand: Stand, scenario: Scenario, seconds: int, rate: float | None) -> Measurement:
    """What came of `seconds` of load; `rate`: requests a second, None for as many as can be. Raises Broken."""
    program, asks_store = stand.program, stand.contestant.asks_store
    watched = {"own": program, "store": arena.store if asks_store else None, "upstream": arena.upstream}
    before = {name: each.cost() for name, each in watched.items() if each}
    if rate is None:
        load = generator.at_most(arena, stand, scenario, seconds)
    else:
        load = generator.at_rate(arena, stand, scenario, seconds, rate)
    after = {name: each.cost() for name, each in watched.items() if each}
    if program is not None:
        program.forget_log()
    spent = {name: after[name].cpu - before[name].cpu for name in after}
    own = spent.get("own", 0.0) + spent.get("store", 0.0)
    count = max(1, load.requests)
    return Measurement(
        requests=load.requests / load.seconds,
        mib=load.bytes / load.seconds / _MIB,
        p50=load.p50,
        p99=load.p99,
        cpu=own / count * _MICRO,
        cpu_store=spent.get("store", 0.0) / count * _MICRO,
        cpu_upstream=spent["upstream"] / count * _MICRO,
        cpu_generator=load.cpu / count * _MICRO,
        busy=own / load.seconds / stand.contestant.workers,
        rss=after["own"].rss if program else 0.0,
        count=load.requests,
        wrong=load.wrong,
    )

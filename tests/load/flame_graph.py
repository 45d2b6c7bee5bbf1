"""Where a request's time goes: `make profile`.

A worker under full load is watched by py-spy twice: for the table that is printed (which module of the gateway was at
work, which function ran itself), and for the flame graph. Watching slows it down, so that these are shares, not times.
"""

import argparse
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Final

sys.path.insert(0, str(Path(__file__).parent.parent))

from contest import contestant as who
from contest import generator, machine, missing
from contest import scenario as what
from contest.arena import Arena, Broken, open_arena
from contest.contestant import NAIVE, ZONEGATE, can_take_part
from contest.missing import Missing, beside_python
from contest.program import busiest
from contest.progress import say
from contest.samples import Samples
from contest.scenario import UNLIKE, Scenario

FAILED: Final = 1
NOT_INSTALLED: Final = 2
INTERRUPTED: Final = 130
_WARM_UP: Final = 2
_BESIDE: Final = 3
"""Seconds that the load goes on longer than the watching."""
_GRACE: Final = 60
_SHOWN: Final = 20
_SAMPLES_A_SECOND: Final = 500


def watch(pid: int, seconds: int, file: Path, form: str, extra: Sequence[str]) -> None:
    """`file` has `seconds` of what `pid` does. Raises Broken."""
    done = subprocess.run(
        [
            *(str(beside_python("py-spy")), "record", "--pid", str(pid), "--duration", str(seconds)),
            *("--rate", str(_SAMPLES_A_SECOND), "--format", form, "--output", str(file), *extra),
        ],
        capture_output=True,
        text=True,
        timeout=seconds + _GRACE,
        check=False,
    )
    if done.returncode:
        raise Broken(f"py-spy may not watch a process here (it needs root, or CAP_SYS_PTRACE): {done.stderr.strip()}")


def watch_under_load(
    arena: Arena, key: str, scenario: Scenario, seconds: int, graph: Path, extra: Sequence[str]
) -> Samples:
    """The samples of a worker under the load of `scenario`; and `graph` is its flame graph. Raises Broken."""
    stand = arena.stands[key]
    assert stand.program is not None
    before = stand.program.costs()
    generator.at_most(arena, stand, scenario, _WARM_UP)
    worker, raw = busiest(before, stand.program.costs()), arena.directory / "samples.txt"
    with ThreadPoolExecutor(1) as beside:
        for file, form in ((raw, "raw"), (graph, "flamegraph")):
            say(f"{seconds} s for the {'table' if form == 'raw' else 'flame graph'}")
            load = beside.submit(generator.at_most, arena, stand, scenario, seconds + _BESIDE)
            watch(worker, seconds, file, form, extra)
            found = load.result()
            say(f"  {found.requests / found.seconds:.0f} requests a second, {found.wrong} wrong")
    return Samples(raw)


def table(samples: Samples) -> str:
    """For people."""
    lines = []
    for title, shares in (("at work", samples.by_module()), ("running itself", samples.by_function())):
        lines += [
            "",
            f"{title}, of {samples.count} samples",
            *(f"{share:7.1%}  {name}" for name, share in shares[:_SHOWN]),
        ]
    return "\n".join(lines) + "\n"


def run(options: argparse.Namespace) -> int:
    """The whole run. Raises Missing, Broken."""
    cores = machine.share_out(os.sched_getaffinity(0))
    missing.check([*missing.ALWAYS, missing.PY_SPY])
    key = NAIVE if options.naive else ZONEGATE
    contestants = [each for each in who.ALL if each.key == key and can_take_part(key)]
    if not contestants:
        raise Broken("this gateway knows one road only")
    scenario = next(each for each in what.ALL if each.key == options.scenario)
    options.output.parent.mkdir(parents=True, exist_ok=True)
    extra = ["--native"] if options.native else []
    with (
        tempfile.TemporaryDirectory(prefix="zonegate-profile-") as directory,
        open_arena(Path(directory), cores, contestants) as arena,
    ):
        samples = watch_under_load(arena, key, scenario, options.seconds, options.output, extra)
    sys.stdout.write(f"{scenario.title}\n{table(samples)}\nflame graph: {options.output}\n")
    return 0


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    scenarios = [each.key for each in what.ALL if not each.share]
    parser.add_argument("--scenario", choices=scenarios, default=UNLIKE, metavar="SCENARIO", help=", ".join(scenarios))
    parser.add_argument("--seconds", type=int, default=10)
    parser.add_argument("--native", action="store_true", help="show the frames of C extensions too")
    parser.add_argument("--naive", action="store_true", help="every request in a task")
    parser.add_argument("--output", type=Path, default=Path("build/profile.svg"), metavar="FILE")
    options = parser.parse_args()
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # both end what was started
    try:
        return run(options)
    except Missing as error:
        say(f"missing: {error}")
        return NOT_INSTALLED
    except Broken as error:
        say(str(error))
        return FAILED
    except KeyboardInterrupt:
        return INTERRUPTED


if __name__ == "__main__":
    sys.exit(main())

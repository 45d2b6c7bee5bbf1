"""What the gateway costs beside other proxies, as ratios out of one run: `make bench`.

An nginx upstream and the generator (wrk; h2load at a constant rate) stand on one core, one contestant at a time on the
other. Rounds are interleaved; medians are printed, then the targets with a pass or a shortfall for each, and all
figures go into a JSON file. First it is proved that each contestant that claims to check tokens refuses wrong ones.

Ends with 0, with 1 if the run failed (or, with --strict, if a target was missed), with 2 if something is not installed.
"""

import argparse
import json
import os
import signal
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import msgspec

sys.path.insert(0, str(Path(__file__).parent.parent))

from contest import contestant as who
from contest import idle_connections, machine, missing, report, self_check
from contest import scenario as what
from contest.arena import Broken, open_arena
from contest.contestant import Contestant, can_take_part
from contest.findings import Findings
from contest.goal import judge_all
from contest.idle_connections import Idle
from contest.machine import Cores
from contest.missing import Missing
from contest.progress import say
from contest.rounds import play
from contest.scenario import IDLE, Scenario

FAILED: Final = 1
NOT_INSTALLED: Final = 2
INTERRUPTED: Final = 130
_QUICK: Final = 1
_QUIET: Final = 0.5
"""The load of a machine that does nothing else."""


def read_options() -> argparse.Namespace:
    """What was asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="+", metavar="SCENARIO", choices=(*what.KEYS, IDLE), help=", ".join(what.KEYS))
    parser.add_argument("--contestants", nargs="+", choices=who.KEYS, metavar="NAME", help=", ".join(who.KEYS))
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=int, default=5, help="of each contestant in each scenario and round")
    parser.add_argument("--quick", action="store_true", help="one short round of everything, to see that it runs")
    parser.add_argument("--strict", action="store_true", help="end with 1 if a target was missed")
    parser.add_argument("--json", type=Path, default=Path("build/bench.json"), metavar="FILE")
    options = parser.parse_args()
    if options.quick:
        options.rounds, options.seconds = 1, _QUICK
    if options.rounds < 1 or options.seconds < 1:
        parser.error("--rounds and --seconds are at least 1")
    return options


def chosen_scenarios(only: Sequence[str] | None) -> list[Scenario]:
    """Those of `only` (None: all), and those whose figures they need."""
    chosen = set(what.KEYS if only is None else only)
    chosen |= {each.of for each in what.ALL if each.key in chosen and each.of}
    return [each for each in what.ALL if each.key in chosen]


def chosen_contestants(asked: Sequence[str] | None, scenarios: Sequence[Scenario], *, idle: bool) -> list[Contestant]:
    """Those of `asked` (None: all) that a scenario has a place for, and that this gateway knows."""
    wanted = {key for each in scenarios for key in each.contestants} | ({who.ZONEGATE} if idle else set())
    wanted &= set(asked or who.KEYS)
    return [each for each in who.ALL if each.key in wanted and can_take_part(each.key)]


def check_installed(contestants: Sequence[Contestant], scenarios: Sequence[Scenario]) -> None:
    """All programs are there. Raises Missing."""
    needs = [*missing.ALWAYS, *(need for each in contestants for need in each.needs)]
    missing.check([*needs, *([missing.H2LOAD] if any(each.share for each in scenarios) else [])])


def write_json(file: Path, data: dict[str, Any]) -> None:
    """`data` is in `file`."""
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(data, indent=1) + "\n")


def held(options: argparse.Namespace, cores: Cores, scenarios: Sequence[Scenario]) -> tuple[Findings, Idle | None]:
    """What was measured. Raises Missing, Broken."""
    idle_wanted = options.only is None or IDLE in options.only
    contestants = chosen_contestants(options.contestants, scenarios, idle=idle_wanted)
    check_installed(contestants, scenarios)
    with (
        tempfile.TemporaryDirectory(prefix="zonegate-bench-") as directory,
        open_arena(Path(directory), cores, contestants) as arena,
    ):
        for stand in arena.stands.values():
            self_check.check(arena, stand)
        say("all contestants answer, and those that check tokens refuse wrong ones")
        findings = play(arena, scenarios, rounds=options.rounds, seconds=options.seconds, warm=not options.quick)
        if not (idle_wanted and who.ZONEGATE in arena.stands):
            return findings, None
        say(f"{idle_connections.COUNT} idle connections")
        return findings, idle_connections.measure(arena.stands[who.ZONEGATE], idle_connections.COUNT)


def run(options: argparse.Namespace) -> int:
    """The whole run; returns the exit code. Raises Missing, Broken."""
    cores = machine.share_out(os.sched_getaffinity(0))
    described = machine.describe()
    if described["load"][0] > _QUIET:
        say(f"the machine is busy (load {described['load'][0]:.1f}): other work shows in the figures")
    started = time.monotonic()
    findings, idle = held(options, cores, chosen_scenarios(options.only))
    verdicts = judge_all(findings, idle, shared=cores.shared)
    lines = [*report.scenario_tables(findings), *report.goal_table(verdicts), "", f"all figures: {options.json}"]
    sys.stdout.write("\n".join(lines) + "\n")
    write_json(
        options.json,
        {
            "machine": {**described, "shares": msgspec.to_builtins(cores)},
            "rounds": options.rounds,
            "seconds": options.seconds,
            "duration": time.monotonic() - started,
            "targets": msgspec.to_builtins(verdicts),
            "idle": msgspec.to_builtins(idle),
            "measured": findings.as_data(),
        },
    )
    missed = any(verdict.outcome == "shortfall" for verdict in verdicts)
    return FAILED if options.strict and missed else 0


def main() -> int:
    options = read_options()
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

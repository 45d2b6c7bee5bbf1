"""`make load`: a gateway and the demo API on loopback, and Locust's users on them for a minute.

It prints Locust's table. The exit code is 1 when any answer was not a right one.
"""

import argparse
import os
import subprocess
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent))

from support.processes import Gateway, running

from gateway.demo.dataset import ZONES

LOCUSTFILE = Path(__file__).parent / "locustfile.py"
CONFIGURATION = Path(__file__).parent.parent.parent / "deploy" / "locust" / "locust.conf"
_AFTER = 60.0
"""Seconds for all that comes before and after the users."""


def locust(
    gateway: Gateway,
    seconds: int,
    users: int,
    *,
    locustfile: Path = LOCUSTFILE,
    capture: bool = False,
    **variables: str,
) -> "subprocess.CompletedProcess[str]":
    """Run Locust on a gateway in front of the demo API, with the operators' configuration, to its end.

    `variables` of the environment come before those that are right.
    """
    return subprocess.run(
        [
            *(sys.executable, "-m", "locust", "--config", str(CONFIGURATION), "--locustfile", str(locustfile)),
            *("--users", str(users), "--spawn-rate", str(users), "--run-time", f"{seconds}s"),
        ],
        env={
            **os.environ,
            "ZONEGATE_URL": gateway.url,
            "ZONEGATE_TOKEN": gateway.first,
            "ZONEGATE_ZONE": ZONES["alpha.example"],
            "ZONEGATE_OTHER_ZONE": ZONES["beta.example"],
            **variables,
        },
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE if capture else None,
        stderr=subprocess.STDOUT,  # where Locust prints its table
        text=True,
        timeout=seconds + _AFTER,
        check=False,
    )


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=int, default=60)
    parser.add_argument("--users", type=int, default=20)
    parser.add_argument("--workers", type=int, default=1, help="of the gateway")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as directory, running(Path(directory), workers=options.workers) as (gateway, _):
        done = locust(gateway, options.seconds, options.users)
    return done.returncode


if __name__ == "__main__":
    sys.exit(main())

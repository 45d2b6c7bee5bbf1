"""What it costs to match one path among 2,000 routes, beside matching among ten: part of `make bench`.

The routes are those of an OpenAPI document, as `zonegate policy import-openapi` makes them. Each path is another one,
so that no answer is remembered; rounds of both tables alternate, and the medians are compared. Ends with 1 if the ratio
is above the target.
"""

import statistics
import sys
import time
from pathlib import Path
from random import Random
from typing import Any, Final

sys.path.insert(0, str(Path(__file__).parent.parent))

from gateway.catalog.api import read_api
from gateway.catalog.route_table import Matched, RouteTable
from gateway.cli.policy_openapi import GROUPS_KEY, import_openapi, write_api
from gateway.cli.policy_set import compile_set, read_set

MOST: Final = 1.5
MANY: Final = 2000
FEW: Final = 10
PATHS: Final = 20_000
ROUNDS: Final = 15
METHODS: Final = ("get", "put", "patch", "delete", "post")
Request = tuple[str, tuple[bytes, ...]]


def document(operations: int) -> dict[str, Any]:
    """An OpenAPI document of so many operations, five a path."""
    item = {method: {GROUPS_KEY: ["DNS Write"]} for method in METHODS}
    paths = {f"/zones/{{zone_id}}/things{index}/{{thing_id}}": item for index in range(operations // len(METHODS))}
    return {"openapi": "3.1.0", "paths": paths}


def table(operations: int) -> RouteTable:
    """The table of the routes that such a document comes to."""
    groups = compile_set(read_set(""), "/client/v4").groups
    found = import_openapi(document(operations), groups, "/client/v4", {}, ())
    assert (found.operations, found.left_out) == (operations, ())
    _, routes = read_api("apis/things.toml", write_api("things", found), groups)
    return RouteTable(("apis/things.toml", route) for route in routes)


def requests(operations: int, random: Random) -> list[Request]:
    """Requests for all routes alike, none of them twice."""
    found = []
    for number in range(PATHS):
        name = b"things%d" % random.randrange(operations // len(METHODS))
        zone, thing = b"%032x" % random.getrandbits(128), b"thing-%d" % number
        found.append((random.choice(METHODS).upper(), (b"client", b"v4", b"zones", zone, name, thing)))
    return found


def seconds(routes: RouteTable, asked: list[Request]) -> float:
    """What it takes to match all of them."""
    begun = time.perf_counter()
    for method, segments in asked:
        routes.match(method, segments)
    return time.perf_counter() - begun


def main() -> int:
    """Measure, print, judge."""
    random = Random(0)  # noqa: S311 - the same requests each time
    tables = {operations: table(operations) for operations in (FEW, MANY)}
    asked = {operations: requests(operations, random) for operations in tables}
    for operations, routes in tables.items():
        assert all(isinstance(routes.match(*each), Matched) for each in asked[operations])
    took: dict[int, list[float]] = {operations: [] for operations in tables}
    for _ in range(ROUNDS):
        for operations, routes in tables.items():
            took[operations].append(seconds(routes, asked[operations]))
    each = {operations: statistics.median(rounds) / PATHS for operations, rounds in took.items()}
    ratio = each[MANY] / each[FEW]
    verdict = "met" if ratio <= MOST else "MISSED"
    sys.stdout.write(
        f"one path among {MANY} routes: {each[MANY] * 1e6:.2f} us, among {FEW}: {each[FEW] * 1e6:.2f} us; "
        f"ratio {ratio:.2f}, target at most {MOST}: {verdict}\n"
    )
    return int(ratio > MOST)


if __name__ == "__main__":
    sys.exit(main())

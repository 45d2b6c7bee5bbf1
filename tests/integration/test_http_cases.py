"""The table of `support/http_cases`, through gateways on both event loops, both ways, in pieces of every size."""

import json
import re
from collections.abc import Iterator, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import msgspec
import pytest
from redis import Redis
from support.data_plane import (
    IMPATIENT,
    DataPlane,
    Home,
    Loop,
    Way,
    captured_by_thread,
    four_planes,
    home,
    running,
    unlike,
    verdicts,
)
from support.http_cases import BY_THEME, CASES
from support.http_cases.case import Case
from support.http_cases.words import ADMIN_ID, ask, post
from support.raw_client import OPEN, Gets, refused
from support.raw_connection import Pieces
from support.records import TOKEN_ID, ZONE_A, ZONE_B, group_id, secret_of, zone

from gateway.store.keys import AUDIT, DENIED_AUDIT

DELIVERIES = (Pieces.WHOLE, Pieces.BYTES, Pieces.WHOLE)
"""Whole once more: by then each line has come before, and the gateway may remember what it means."""


@pytest.fixture(scope="module")
def where(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Home]:
    with captured_by_thread(), home(tmp_path_factory.mktemp("home")) as found:
        yield found


@pytest.fixture(scope="module")
def patient(where: Home) -> Iterator[tuple[DataPlane, ...]]:
    with four_planes(where) as planes:
        yield planes


@pytest.fixture(scope="module")
def impatient(where: Home) -> Iterator[tuple[DataPlane, ...]]:
    with four_planes(where, IMPATIENT) as planes:
        yield planes


def test_the_table_has_more_than_160_cases_and_each_its_own_name() -> None:
    names = [case.name for case in CASES]
    assert len(names) > 160
    assert sorted(set(names)) == sorted(names)


def cases(*, that_take_time: bool) -> list[Any]:
    """The table's rows, named after their themes too."""
    return [
        pytest.param(case, id=f"{theme}: {case.name}")
        for theme, cases in BY_THEME.items()
        for case in cases
        if case.takes_time is that_take_time
    ]


def check_that_all_agree(case: Case, planes: Sequence[DataPlane], deliveries: Sequence[Pieces]) -> None:
    (_, first), *others = verdicts(case, planes, deliveries)
    for at, transcript in others:
        assert transcript == first, at


@pytest.mark.parametrize("case", cases(that_take_time=False))
def test_a_case_has_one_verdict(case: Case, patient: tuple[DataPlane, ...]) -> None:
    check_that_all_agree(case, unlike(patient), DELIVERIES)


@pytest.mark.parametrize("case", cases(that_take_time=True))
def test_a_case_that_takes_time_has_one_verdict(case: Case, request: pytest.FixtureRequest) -> None:
    planes = request.getfixturevalue("impatient" if case.impatient else "patient")
    check_that_all_agree(case, unlike(planes), (Pieces.WHOLE,))


@pytest.mark.deep
@pytest.mark.parametrize("case", cases(that_take_time=False))
def test_a_case_has_one_verdict_on_both_loops_both_ways_in_pieces_of_every_size(
    case: Case, patient: tuple[DataPlane, ...]
) -> None:
    check_that_all_agree(case, patient, DELIVERIES)


@pytest.mark.deep
@pytest.mark.parametrize("case", cases(that_take_time=True))
def test_it_has_the_same_one_on_both_loops_both_ways_and_byte_by_byte(
    case: Case, request: pytest.FixtureRequest
) -> None:
    planes = request.getfixturevalue("impatient" if case.impatient else "patient")
    check_that_all_agree(case, planes, (Pieces.WHOLE, Pieces.BYTES))


# What the two ways leave behind.

ADMIN = f"Authorization: Bearer {secret_of(ADMIN_ID).reveal()}"
TOKENS = "/client/v4/user/tokens"
NEW = json.dumps(
    {
        "name": "new",
        "policies": [
            {
                "effect": "allow",
                "permission_groups": [{"id": group_id("DNS Write")}],
                "resources": {zone(ZONE_A): "*"},
            }
        ],
    }
).encode()
CALLS = (
    Case("a token verifies itself", (ask(target=f"{TOKENS}/verify"), Gets(200), OPEN)),
    Case("a list that is refused", (ask(target=TOKENS), refused(403, 10000), OPEN)),
    Case(
        "a deletion that is refused", (ask(target=f"{TOKENS}/{ADMIN_ID}", method="DELETE"), refused(403, 10000), OPEN)
    ),
    Case(
        "a creation that is refused",
        (post(f"Content-Length: {len(NEW)}", target=TOKENS, body=NEW), refused(403, 10000), OPEN),
    ),
    Case(
        "a creation",
        (
            ask(f"Content-Length: {len(NEW)}", method="POST", target=TOKENS, body=NEW, credential=ADMIN),
            Gets(200),
            OPEN,
        ),
    ),
    Case(
        "a deletion",
        (ask(target=f"{TOKENS}/{ADMIN_ID}", method="DELETE", credential=ADMIN), Gets(200), OPEN),
    ),
)
NEW_EACH_TIME = re.compile(r"127\.0\.0\.1:\d+|\b[0-9a-f]{32}\b|\b\d{10,}\b|[^ '\"]+/valkey\.sock")
KNOWN = (ZONE_A, ZONE_B, TOKEN_ID, ADMIN_ID)


class Left(msgspec.Struct, frozen=True):
    """What a run leaves: lines of the log, those of requests apart, since they are written later; the audit."""

    requests: list[str]
    lines: list[str]
    audit: list[str]


def left_by(way: Way, directory: Path) -> Left:
    """What is left of the whole table, and of calls of the token API, in a gateway of its own."""
    with captured_by_thread() as logs, home(directory) as where:
        plane = DataPlane(where, Loop.UVLOOP, way)
        with running(plane):
            for case in (*CASES, *CALLS):
                if not case.takes_time:
                    plane.play(case, Pieces.WHOLE)
        with closing(Redis(unix_socket_path=where.store.removeprefix("unix://"), decode_responses=True)) as store:
            audit = [fields for stream in (AUDIT, DENIED_AUDIT) for _, fields in store.xrange(stream)]
    lines = [
        {**line, **{name: None for name in ("milliseconds", "upstream_milliseconds", "upstream") if name in line}}
        for line in logs[plane.thread]
    ]
    return Left(
        requests=[_masked(line) for line in lines if line["event"] == "request"],
        lines=[_masked(line) for line in lines if line["event"] != "request"],
        audit=[_masked(entry) for entry in audit],
    )


def _masked(found: object) -> str:
    return NEW_EACH_TIME.sub(lambda new: new[0] if new[0] in KNOWN else "...", str(found))


def test_both_ways_leave_the_same_lines_and_the_same_audit(tmp_path: Path) -> None:
    (tmp_path / "1").mkdir()
    (tmp_path / "2").mkdir()
    at_once, in_a_task = left_by(Way.AT_ONCE, tmp_path / "1"), left_by(Way.TASK, tmp_path / "2")
    assert len(at_once.requests) > len(CASES)
    assert len(at_once.audit) > len(CALLS) - 2
    assert at_once.requests == in_a_task.requests
    assert at_once.lines == in_a_task.lines
    assert at_once.audit == in_a_task.audit

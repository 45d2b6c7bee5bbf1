"""Locust's users find no wrong answer where there is none, and one where there is."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from load.load import CONFIGURATION, LOCUSTFILE, locust
from load.right_answers import (
    ANYTHING,
    FORBIDDEN,
    INVALID,
    LATEST,
    NO_ENVELOPE,
    OK,
    Answer,
    Got,
    Promise,
    Secret,
    Token,
    complaint,
    read_answer,
    shows,
)
from support.processes import Gateway

from gateway.demo.dataset import ZONES
from gateway.reason import REFUSALS, Deny, Reason, refuse, succeed

_CHANGED = Secret("Bearer changed")
_CHANGED.change(INVALID, 100, 103)
_TWICE = Secret("Bearer disabled and enabled")
_TWICE.change(INVALID, 100, 103.1)
_TWICE.change(None, 101, 104.1)
_UNANSWERED = Secret("Bearer unanswered")
_UNANSWERED.change(INVALID, 100)


@pytest.mark.parametrize(
    ("secret", "sent", "answered", "right"),
    [
        pytest.param(_CHANGED, 98, 99, {OK}, id="before a change: the old answer"),
        pytest.param(_CHANGED, 99, 100, {OK, INVALID}, id="answered when the change was asked for: either"),
        pytest.param(_CHANGED, 99, 200, {OK, INVALID}, id="under way all the time: either"),
        pytest.param(_CHANGED, 102, 102.5, {OK, INVALID}, id="while the change spreads: either"),
        pytest.param(_CHANGED, 103, 104, {INVALID}, id="sent when it is obeyed for certain: the new answer"),
        pytest.param(_TWICE, 102, 102.5, {OK, INVALID}, id="between two changes: either"),
        pytest.param(_TWICE, 103.5, 103.6, {OK, INVALID}, id="while the second one spreads: either"),
        pytest.param(_TWICE, 104.1, 105, {OK}, id="after two changes: what the second one says"),
        pytest.param(_UNANSWERED, 1000, 1001, {OK, INVALID}, id="a change without an answer: either, for ever"),
        pytest.param(Secret(None, FORBIDDEN), 0, 1, {FORBIDDEN}, id="a secret that never worked"),
    ],
)
def test_a_secret_is_answered_by_what_it_is_while_the_request_is_under_way(
    secret: Secret, sent: float, answered: float, right: set[Answer]
) -> None:
    assert secret.right(OK, sent, answered) == right


def test_a_roll_kills_one_secret_and_gives_life_to_the_other() -> None:
    old = Secret("Bearer old")
    token = Token("f" * 32)
    token.secrets.append(old)
    old.change(INVALID, 100)
    new = token.rolled("Bearer new", 100, 101)
    assert token.current is new
    assert (old.right(OK, 99, 99.5), new.right(OK, 99, 99.5)) == ({OK}, {INVALID})
    assert old.right(OK, 101, 102) == new.right(OK, 101, 102) == {OK, INVALID}
    settled = 101 + LATEST
    assert (old.right(OK, settled, settled), new.right(OK, settled, settled)) == ({INVALID}, {OK})
    assert (old.final(OK), new.final(OK)) == (INVALID, OK)


@pytest.mark.parametrize("reason", Reason)
def test_a_refusal_is_read_as_its_row_says(reason: Reason) -> None:
    answer = refuse(Deny(reason=reason))
    row = REFUSALS[reason]
    assert read_answer(answer.status, answer.body).answer == Answer(row.status, row.code)


@pytest.mark.parametrize(
    ("body", "got"),
    [
        pytest.param(succeed({"id": "x"}).body, Got(OK, {"id": "x"}), id="the API's success"),
        pytest.param(b"", Got(Answer(200, NO_ENVELOPE)), id="nothing"),
        pytest.param(b"<html>", Got(Answer(200, NO_ENVELOPE)), id="a page"),
        pytest.param(b"\xff\xfe\x00", Got(Answer(200, NO_ENVELOPE)), id="bytes"),
        pytest.param(b"[" * 100_000, Got(Answer(200, NO_ENVELOPE)), id="a deep nest"),
        pytest.param(b'{"success": true}', Got(Answer(200, NO_ENVELOPE)), id="half an envelope"),
        pytest.param(b'{"success": false, "errors": []}', Got(Answer(200, NO_ENVELOPE)), id="a refusal without a code"),
    ],
)
def test_what_is_no_envelope_is_no_right_answer(body: bytes, got: Got) -> None:
    assert read_answer(200, body) == got


@pytest.mark.parametrize(
    ("result", "wanted", "shown"),
    [
        pytest.param({"id": 1, "name": "x"}, {"id": 1}, True, id="a member"),
        pytest.param({"id": 1}, {"id": 2}, False, id="another value"),
        pytest.param({}, {"id": None}, False, id="a member that is missing"),
        pytest.param([], {"id": 1}, False, id="a list for an object"),
        pytest.param([1], list, True, id="some list"),
        pytest.param(None, list, False, id="no list"),
        pytest.param([], [], True, id="the empty list"),
        pytest.param([1], [], False, id="a list that should be empty"),
        pytest.param(None, ANYTHING, True, id="anything"),
    ],
)
def test_a_result_shows_what_was_wanted_or_not(result: object, wanted: object, *, shown: bool) -> None:
    assert shows(result, wanted) is shown


def test_a_complaint_says_what_was_got_and_what_was_right() -> None:
    refused = Got(FORBIDDEN, message="Authentication error")
    assert complaint(Got(OK, {"id": 1}), {OK, INVALID}, {"id": 1}) is None
    assert complaint(refused, {FORBIDDEN}, {"id": 1}) is None
    assert complaint(refused, {OK, INVALID}) == (
        "got 403 with code 10000 (Authentication error), right was 200 or 401 with code 1000"
    )
    assert complaint(Got(OK, {"id": 2}), {OK}, {"id": 1}) == "got 200, with a result that was not asked for"


@pytest.mark.parametrize(
    ("changes", "late", "kept"),
    [(0, 0, True), (10, 1, True), (10, 2, False), (300, 3, True), (300, 4, False)],
)
def test_one_change_in_a_hundred_may_be_late(changes: int, late: int, *, kept: bool) -> None:
    promise = Promise()
    for number in range(changes):
        promise.note(obeyed=number >= late)
    assert (promise.complaint() is None) is kept


def tokens_of(gateway: Gateway) -> int:
    """How many there are, expired ones too."""
    answer = gateway.call("GET", "/user/tokens?include_expired=true").json()
    return int(answer["result_info"]["total_count"])


def test_no_answer_is_wrong_and_nothing_is_left_behind(gateway: Gateway) -> None:
    done = locust(gateway, seconds=8, users=12, capture=True)
    assert done.returncode == 0, done.stdout
    *_, last = done.stdout.splitlines()
    assert re.fullmatch(
        r"zonegate load: [1-9]\d+ answers, 0 wrong; [1-9]\d* changes of tokens, [01] not .*; exit code 0", last
    )
    for row in ("old secret after a roll", "deleted token: verify", "writer: create a record", "expired: verify"):
        assert row in done.stdout, row
    assert "zgt_" not in done.stdout
    assert tokens_of(gateway) == 1
    names = gateway.call("GET", f"/zones/{ZONES['alpha.example']}/dns_records?name.startswith=zonegate-load").json()
    assert names["result"] == []


def test_an_answer_that_is_not_the_expected_one_fails_the_run(gateway: Gateway, tmp_path: Path) -> None:
    what = "list another zone's records"
    wrong = tmp_path / "wrong.py"
    wrong.write_text(f"""
import sys
sys.path.insert(0, {str(LOCUSTFILE.parent)!r})
from locustfile import *
CASES[:] = [case._replace(granted=OK) for case in CASES if case.what == {what!r}]
""")
    done = locust(gateway, seconds=6, users=12, locustfile=wrong, capture=True)
    assert done.returncode == 1
    assert f"GET writer: {what}: got 403 with code 10000 (Authentication error), right was 200" in done.stdout
    assert re.search(r"answers, [1-9]\d* wrong; .* exit code 1$", done.stdout.rstrip())
    assert tokens_of(gateway) == 1


@pytest.mark.parametrize(
    ("variables", "code", "said"),
    [
        pytest.param({"ZONEGATE_URL": ""}, 2, "ZONEGATE_URL: not set", id="no gateway named"),
        pytest.param({"ZONEGATE_URL": "http://127.0.0.1:1"}, 1, "whether ZONEGATE_URL", id="nobody there"),
        pytest.param({"ZONEGATE_TOKEN": "zgt_wrong"}, 1, "and ZONEGATE_TOKEN are right", id="a token that is none"),
        pytest.param({"ZONEGATE_ZONE": "wrong"}, 1, "whether ZONEGATE_ZONE is right", id="a zone that is none"),
    ],
)
def test_what_cannot_run_says_why_in_one_line(
    gateway: Gateway, variables: dict[str, str], code: int, said: str
) -> None:
    done = locust(gateway, seconds=30, users=1, capture=True, **variables)
    assert done.returncode == code
    line, *_ = [line for line in done.stdout.splitlines() if line.startswith("zonegate load: ")]
    assert said in line
    assert "Traceback" not in done.stdout
    assert tokens_of(gateway) == 1


def test_locust_takes_each_command_of_the_operators_page() -> None:
    page = (CONFIGURATION.parent / "README.md").read_text()
    commands = re.findall(r"^\$ locust (.+)$", page, re.MULTILINE)
    assert len(commands) > 1
    for command in commands:
        done = subprocess.run(
            [sys.executable, "-m", "locust", *command.split(), "--show-task-ratio-json"],
            cwd=CONFIGURATION.parent.parent.parent,
            env={**os.environ, "ZONEGATE_ZONE": "z"},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=30,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        assert '"Refused": {' in done.stdout

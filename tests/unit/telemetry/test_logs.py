"""Each in a process of its own: setting up the logs changes the whole process."""

import io
import json
import os
import select
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from typing import Any, Literal

import pytest

from gateway.telemetry.logs import StandardError, is_console


def logged(format_: str, code: str, *, level: str = "info", terminal: bool = False) -> list[str]:
    """The lines on standard error after `code`, which has `log`, `logging` and `Sensitive`."""
    program = (
        "import logging, structlog\n"
        "from gateway.telemetry.logs import configure_logs\n"
        "from gateway.tokens.secret import Sensitive\n"
        f"configure_logs({format_!r}, {level!r})\n"
        "log = structlog.get_logger('test')\n"
        f"{code}\n"
    )
    environment = {name: value for name, value in os.environ.items() if name not in ("NO_COLOR", "FORCE_COLOR")}
    command = [sys.executable, "-c", program]
    if not terminal:
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
        assert done.stdout == ""
        return done.stderr.splitlines()
    ours, theirs = os.openpty()
    with open(ours, "rb") as screen:  # noqa: PTH123 - a descriptor
        subprocess.run(command, env=environment, stdout=subprocess.DEVNULL, stderr=theirs, check=True)
        os.write(theirs, b"\n-- the end --\n")
        lines = []
        while (line := screen.readline().decode().rstrip()) != "-- the end --":
            lines.append(line)
        os.close(theirs)
    return [line for line in lines if line]


def one(lines: list[str]) -> dict[str, Any]:
    """The one line, as JSON."""
    (line,) = lines
    found: dict[str, Any] = json.loads(line)
    return found


def test_an_event_is_one_line_of_json_with_its_level_and_its_time_in_utc() -> None:
    found = one(logged("json", "log.warning('store unavailable', error='no', status=503)"))
    assert found.pop("timestamp").endswith("Z")
    assert found == {"event": "store unavailable", "level": "warning", "error": "no", "status": 503}


def test_a_line_of_json_has_no_blanks_between_its_members() -> None:
    """As those of the access log: who looks for `"status":503` finds both."""
    (line,) = logged("json", "log.warning('away', status=503, why=['a', 'b'])")
    assert '"status":503,"why":["a","b"]' in line


@pytest.mark.parametrize(
    ("format_", "terminal", "console"),
    [
        pytest.param("auto", True, True, id="auto, on a terminal"),
        pytest.param("auto", False, False, id="auto, elsewhere"),
        pytest.param("console", False, True, id="for people"),
        pytest.param("json", True, False, id="for programs"),
    ],
)
def test_a_log_is_in_words_if_people_read_it(
    monkeypatch: pytest.MonkeyPatch,
    format_: Literal["auto", "console", "json"],
    terminal: bool,  # noqa: FBT001 - a case's data
    console: bool,  # noqa: FBT001
) -> None:
    monkeypatch.setattr(sys.stderr, "isatty", lambda: terminal)
    assert is_console(format_) is console


NASTY = "a\\nb\\r\\nc\\u2028d\\u0085e\\x0bf\\x1b[2J"


@pytest.mark.parametrize("format_", ["json", "console"])
@pytest.mark.parametrize(
    "code",
    [
        pytest.param(f"log.error('said', text='{NASTY}')", id="in a value"),
        pytest.param(f"log.error('said', text=['{NASTY}'])", id="in a list"),
        pytest.param(f"log.error('{NASTY}')", id="in the event"),
        pytest.param(f"logging.getLogger('aiohttp.server').error('%s', '{NASTY}')", id="in another's line"),
    ],
)
def test_a_value_with_line_ends_and_control_bytes_is_one_plain_line(format_: str, code: str) -> None:
    """So that nobody writes lines of his own into the log, or at the operator's terminal."""
    (line,) = logged(format_, code)
    assert line.startswith("{") is (format_ == "json")
    assert line.isprintable()


def test_a_traceback_is_part_of_its_line() -> None:
    found = one(logged("json", "try:\n  1 / 0\nexcept ZeroDivisionError:\n  log.exception('request failed')"))
    assert (found["event"], found["level"]) == ("request failed", "error")
    assert "ZeroDivisionError" in found["exception"]


def test_lines_of_libraries_look_like_ours() -> None:
    found = one(logged("json", "logging.getLogger('asyncio').warning('slow %s', 'thing')"))
    assert (found["event"], found["level"]) == ("slow thing", "warning")


@pytest.mark.parametrize("format_", ["json", "console"])
def test_a_secret_does_not_show_itself(format_: str) -> None:
    (line,) = logged(format_, "log.info('said', secret=Sensitive('hush'), more={'a': [Sensitive('hush')]})")
    assert "said" in line
    assert "hush" not in line


@pytest.mark.parametrize(
    ("level", "shown"),
    [
        pytest.param("debug", ["debug", "info", "warning", "error"], id="debug"),
        pytest.param("info", ["info", "warning", "error"], id="info"),
        pytest.param("warning", ["warning", "error"], id="warning"),
        pytest.param("error", ["error"], id="error"),
    ],
)
def test_a_level_hides_what_is_below_it_of_ours_and_of_libraries(level: str, shown: list[str]) -> None:
    code = "for name in ('debug', 'info', 'warning', 'error'):\n"
    code += "  getattr(log, name)('ours')\n  getattr(logging.getLogger('x'), name)('theirs')"
    found = [json.loads(line) for line in logged("json", code, level=level)]
    for event in ("ours", "theirs"):
        assert [line["level"] for line in found if line["event"] == event] == shown


def test_auto_is_json_for_programs_and_words_for_a_terminal() -> None:
    assert one(logged("auto", "log.info('ready')"))["event"] == "ready"
    (line,) = logged("auto", "log.info('ready')", terminal=True)
    assert "ready" in line
    assert not line.startswith("{")


def test_console_has_no_colours_where_there_is_no_terminal() -> None:
    (line,) = logged("console", "log.info('ready', port=1)")
    assert "\x1b" not in line
    assert "ready" in line


# Standard error, and whoever reads it.


class Pipe:
    """In the place of standard error."""

    def __init__(self) -> None:
        self.reader, self._writer = os.pipe()
        os.set_blocking(self.reader, False)
        self.is_open = True
        self._error = StandardError()

    def fileno(self) -> int:
        return self._writer

    def write(self, lines: bytes) -> None:
        """`lines` are written to standard error, which is this pipe."""
        with pytest.MonkeyPatch.context() as patched:
            patched.setattr(sys, "stderr", self)
            self._error.write(lines)

    def read(self) -> bytes:
        found = b""
        with suppress(BlockingIOError):
            while piece := os.read(self.reader, 1 << 20):
                found += piece
        return found

    def leave(self) -> None:
        if self.is_open:
            os.close(self.reader)
        self.is_open = False

    def close(self) -> None:
        self.leave()
        os.close(self._writer)


@pytest.fixture
def pipe() -> Iterator[Pipe]:
    pipe = Pipe()
    yield pipe
    pipe.close()


MANY = b"".join(b"line %06d\n" % number for number in range(100_000))
"""More than a pipe holds."""


def test_lines_are_written_as_they_are(pipe: Pipe) -> None:
    pipe.write(b"one\ntwo\n")
    assert pipe.read() == b"one\ntwo\n"


def test_of_lines_that_nobody_takes_the_last_are_dropped_and_none_is_cut(pipe: Pipe) -> None:
    """A log stops no request."""
    pipe.write(MANY)
    found = pipe.read()
    assert found
    assert MANY.startswith(found)
    assert found.endswith(b"\n")


def test_who_takes_lines_again_is_given_new_ones(pipe: Pipe) -> None:
    pipe.write(MANY)
    pipe.write(b"lost\n")
    assert b"lost" not in pipe.read()
    pipe.write(b"found\n")
    assert pipe.read() == b"found\n"


def test_a_line_longer_than_a_pipe_takes_at_once_is_one_line(pipe: Pipe) -> None:
    long = b"x" * 3 * select.PIPE_BUF + b"\n"
    pipe.write(b"before\n" + long + b"behind\n")
    assert pipe.read() == b"before\n" + long + b"behind\n"


def test_a_reader_that_is_gone_is_nobody_s_trouble(pipe: Pipe) -> None:
    pipe.leave()
    pipe.write(MANY)


def test_what_stands_in_the_place_of_standard_error_gets_the_text(monkeypatch: pytest.MonkeyPatch) -> None:
    instead = io.StringIO()
    with monkeypatch.context() as patched:
        patched.setattr(sys, "stderr", instead)
        StandardError().write("ä\n".encode())
    assert instead.getvalue() == "ä\n"


def test_a_program_whose_log_nobody_reads_goes_on_and_ends() -> None:
    program = (
        "import structlog\n"
        "from gateway.telemetry.logs import configure_logs\n"
        "configure_logs('json', 'info')\n"
        "for number in range(2000): structlog.get_logger('test').info('said', number=number, text='x' * 100)\n"
        "print('done')\n"
    )
    ours, theirs = os.pipe()
    done = subprocess.run([sys.executable, "-c", program], stdout=subprocess.PIPE, stderr=theirs, check=True)
    os.close(theirs)
    with open(ours, "rb") as log:  # noqa: PTH123 - a descriptor
        lines = log.read().splitlines()
    assert done.stdout == b"done\n"
    assert [json.loads(line)["number"] for line in lines] == list(range(len(lines)))

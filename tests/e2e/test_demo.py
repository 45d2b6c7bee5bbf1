"""`make run`: the lines that it prints give what they say, again and again."""

import json
import os
import re
import socket
import subprocess
from pathlib import Path

from support.demo import Demo
from support.processes import ZONEGATE, alive, children, free_port

_LINES = re.compile(r"^\s*# (\d{3}): .*\n\s*(curl .*)$", re.MULTILINE)


def statuses(demo: Demo) -> list[tuple[str, str]]:
    """For each curl line: the status that it promises, and the one that it gets."""
    found = []
    for promised, command in _LINES.findall(demo.printed):
        done = subprocess.run(
            ["bash", "-c", command], env={**os.environ, **demo.exports}, capture_output=True, text=True, check=True
        )
        found.append((promised, done.stdout.split()[1]))
    return found


def test_the_lines_give_what_they_say_and_a_second_start_finds_its_tokens(tmp_path: Path) -> None:
    with Demo(tmp_path) as demo:
        first = demo.exports
        found = statuses(demo)
        assert [promised for promised, _ in found] == ["200", "403", "200", "200", "401"]
        assert all(promised == got for promised, got in found), found
        processes = children(demo.process.pid)
        assert len(processes) == 3  # the store, the demo API, the gateway's worker
        assert demo.interrupt() == 0
        assert not any(alive(pid) for pid in processes)
    with Demo(tmp_path) as again:
        assert again.exports["FIRST"] == first["FIRST"]
        assert again.exports["TOKEN"] != first["TOKEN"]  # it was rolled
        assert all(promised == got for promised, got in statuses(again))


def test_a_token_that_was_not_rolled_is_kept(tmp_path: Path) -> None:
    with Demo(tmp_path) as demo:
        first = demo.exports["TOKEN"]
    with Demo(tmp_path) as again:
        assert again.exports["TOKEN"] == first


def test_the_demos_secrets_are_for_its_user_alone(tmp_path: Path) -> None:
    with Demo(tmp_path):
        kept = tmp_path / "store" / "demo.json"
        assert kept.stat().st_mode & 0o077 == 0
        assert set(json.loads(kept.read_text())) == {"first", "dns"}


def test_a_port_that_is_taken_is_one_line_and_exit_code_2(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        done = subprocess.run(
            [
                *(ZONEGATE, "demo", "--port", str(port), "--admin-port", str(free_port())),
                *("--data-dir", str(tmp_path / "store")),
            ],
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
    assert done.returncode == 2
    assert done.stdout == ""
    (line,) = done.stderr.splitlines()
    assert line.startswith(f"zonegate: listen.port: 127.0.0.1:{port}: Address already in use")
    assert "--port" in line

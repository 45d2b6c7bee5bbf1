import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator

import pytest

START = [sys.executable, "-m", "gateway.demo.upstream", "--credential-env", "DEMO_CREDENTIAL", "--port"]


@pytest.fixture
def taken() -> Iterator[int]:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield listener.getsockname()[1]


def run(*arguments: str, credential: str = "own") -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "DEMO_CREDENTIAL": credential}
    return subprocess.run(
        [*START, *arguments], env=environment, capture_output=True, text=True, timeout=20, check=False
    )


def test_a_port_that_is_taken_is_one_clear_line(taken: int) -> None:
    done = run(str(taken))
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == f"demo upstream: cannot listen on 127.0.0.1:{taken}: Address already in use\n"


def test_without_its_credential_it_does_not_start() -> None:
    done = run("0", credential="")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == "demo upstream: environment variable DEMO_CREDENTIAL is empty\n"


def test_a_journal_that_cannot_be_written_is_one_clear_line() -> None:
    done = run("0", "--journal", "/nowhere/journal")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == "demo upstream: cannot write /nowhere/journal: No such file or directory\n"


@pytest.mark.parametrize("port", ["65536", "-1", "x"])
def test_what_is_no_port_is_wrong_use(port: str) -> None:
    done = run(f"--port={port}")
    assert done.returncode == 2
    assert "--port" in done.stderr


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="only Linux can signal the end of a parent")
def test_it_ends_with_its_parent_even_when_that_is_killed() -> None:
    parent_code = (
        "import subprocess, sys, time\n"
        "child = subprocess.Popen(sys.argv[1:], stdout=subprocess.PIPE, text=True)\n"
        "print(child.stdout.readline().rsplit(':')[-1], flush=True)\n"
        "time.sleep(60)\n"
    )
    parent = subprocess.Popen(
        [sys.executable, "-c", parent_code, *START, "0"],
        env={**os.environ, "DEMO_CREDENTIAL": "own"},
        stdout=subprocess.PIPE,
        text=True,
    )
    with parent:
        assert parent.stdout is not None
        port = int(parent.stdout.readline())
        connection = socket.create_connection(("127.0.0.1", port), timeout=20)
        parent.send_signal(signal.SIGKILL)
    with connection:
        assert connection.recv(1) == b""  # the child is gone too: the kernel closed its side
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", port), timeout=20)

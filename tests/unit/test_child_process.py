import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from support.processes import alive, until

from gateway.child_process import end, spawn

linux = pytest.mark.skipif(sys.platform != "linux", reason="only Linux ends a child with its parent")
SLEEPER = [sys.executable, "-c", "import signal; print('ready', flush=True); signal.pause()"]
STUBBORN = [
    sys.executable,
    "-c",
    "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('ready', flush=True); signal.pause()",
]


def started(arguments: list[str]) -> "subprocess.Popen[str]":
    """A child that has come so far as to say so."""
    child = spawn(arguments, stdout=subprocess.PIPE)
    assert child.stdout is not None
    assert child.stdout.readline() == "ready\n"
    return child


def test_a_child_reads_nothing_of_ours_and_has_a_session_of_its_own() -> None:
    code = "import os, sys; print(repr(sys.stdin.read()), os.getsid(0) == os.getpid())"
    child = spawn([sys.executable, "-c", code], stdout=subprocess.PIPE)
    assert child.communicate()[0] == "'' True\n"
    assert child.returncode == 0


def test_options_go_to_the_child(tmp_path: Path) -> None:
    child = spawn([sys.executable, "-c", "import os; print(os.getcwd())"], stdout=subprocess.PIPE, cwd=str(tmp_path))
    assert child.communicate()[0] == f"{tmp_path}\n"


def test_a_child_is_asked_to_end() -> None:
    with started(SLEEPER) as child:
        end(child)
        assert child.returncode == -signal.SIGTERM


def test_a_child_that_does_not_listen_is_made_to_end() -> None:
    with started(STUBBORN) as child:
        end(child, timeout=0.1)
        assert child.returncode == -signal.SIGKILL


def test_a_child_that_has_ended_already_may_be_ended_again() -> None:
    with started(SLEEPER) as child:
        end(child)
        end(child)
        assert child.returncode == -signal.SIGTERM


def test_a_program_that_is_not_there_is_an_error_of_the_system(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        spawn([str(tmp_path / "none")])


PARENT = f"""
import subprocess, sys
from gateway.child_process import spawn
child = spawn({SLEEPER!r}, stdout=subprocess.PIPE)
child.stdout.readline()
print(child.pid, flush=True)
sys.stdin.read()
"""


@linux
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM], ids=["killed", "ended"])
def test_a_child_ends_with_its_parent(number: signal.Signals) -> None:
    parent = subprocess.Popen([sys.executable, "-c", PARENT], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    with parent:
        assert parent.stdout is not None
        pid = int(parent.stdout.readline())
        assert alive(pid)
        parent.send_signal(number)
    until("the child ends with its parent", lambda: not alive(pid), 2.0)


BESIDE = """
import os, sys
from gateway.child_process import die_with_parent
die_with_parent(int(sys.argv[1]))
print("still here", flush=True)
"""


@linux
@pytest.mark.parametrize(
    ("parent", "said", "code"),
    [
        pytest.param(os.getpid(), "still here\n", 0, id="there"),
        pytest.param(1 if os.getpid() != 1 else 2, "", 1, id="gone: somebody else has taken it over"),
    ],
)
def test_a_child_whose_parent_ended_before_it_could_ask_ends_at_once(parent: int, said: str, code: int) -> None:
    done = subprocess.run([sys.executable, "-c", BESIDE, str(parent)], capture_output=True, text=True, check=False)
    assert (done.stdout, done.returncode) == (said, code)

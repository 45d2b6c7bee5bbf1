import os
import subprocess
from pathlib import Path

import pytest
from support.processes import ZONEGATE
from support.programs import program
from typer.testing import CliRunner

from gateway.cli.main import app


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_each_shell_gets_a_script_of_its_own(shell: str) -> None:
    done = CliRunner().invoke(app, ["completion", shell])
    assert done.exit_code == 0
    assert f"complete_{shell}" in done.stdout
    assert "_ZONEGATE_COMPLETE" in done.stdout


def test_another_shell_is_wrong_use() -> None:
    assert CliRunner().invoke(app, ["completion", "tcsh"]).exit_code == 2


@pytest.mark.parametrize(
    ("typed", "offered"),
    [
        pytest.param("zonegate doc", {"doctor"}, id="a command"),
        pytest.param("zonegate token dis", {"disable"}, id="a command of a group"),
        pytest.param("zonegate doctor --js", {"--json"}, id="a flag"),
    ],
)
def test_bash_is_offered_what_may_come_next(typed: str, offered: set[str]) -> None:
    words = typed.split(" ")
    done = subprocess.run(
        [ZONEGATE],
        env={
            **os.environ,
            "_ZONEGATE_COMPLETE": "complete_bash",
            "COMP_WORDS": typed,
            "COMP_CWORD": str(len(words) - 1),
        },
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (set(done.stdout.split()), done.stderr) == (offered, "")


@pytest.mark.parametrize(
    ("shell", "asks"),
    [
        pytest.param(
            "bash",
            "source /dev/stdin; COMP_WORDS=(zonegate token dis); COMP_CWORD=2; "
            "$(complete -p zonegate | sed 's/.*-F //; s/ .*//') zonegate; echo ${COMPREPLY[@]}",
            id="bash",
        ),
        pytest.param("fish", "source -; complete -C 'zonegate token dis'", id="fish"),
    ],
)
def test_a_shell_that_has_read_the_script_completes(shell: str, asks: str) -> None:
    path = program(shell, package=shell)
    script = CliRunner().invoke(app, ["completion", shell]).stdout
    environment = os.environ | {"PATH": f"{Path(ZONEGATE).parent}:{os.environ['PATH']}"}
    done = subprocess.run(
        [path, "-c", asks], input=script, env=environment, capture_output=True, text=True, timeout=60, check=False
    )
    assert (done.stdout.split()[:1], done.stderr) == (["disable"], "")


def test_bash_reads_the_script_without_a_fault() -> None:
    bash = program("bash", package="bash")
    script = CliRunner().invoke(app, ["completion", "bash"]).stdout
    done = subprocess.run([bash, "-n"], input=script, capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stderr) == (0, "")

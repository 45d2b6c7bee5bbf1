"""Every console example of the README runs, and prints what it says."""

import fnmatch
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.demo import Demo

README = Path(__file__).parent.parent.parent / "README.md"
_BLOCK = re.compile(r"^```console\n(.*?)^```", re.MULTILINE | re.DOTALL)


def steps(text: str) -> list[tuple[str, str]]:
    """Commands and what they print, out of all console blocks."""
    found: list[tuple[str, str]] = []
    for block in _BLOCK.findall(text):
        for line in block.splitlines():
            if line.startswith("$ "):
                found.append((line[2:], ""))
            elif line.startswith("> "):
                found[-1] = (f"{found[-1][0]}\n{line[2:]}", "")
            else:
                found[-1] = (found[-1][0], f"{found[-1][1]}{line}\n")
    return found


def matches(printed: str, wanted: str) -> bool:
    """Whether `printed` is `wanted`, in which `...` stands for anything."""
    pattern = "*".join(re.sub(r"([\[\]*?])", r"[\1]", part) for part in wanted.rstrip("\n").split("..."))
    return fnmatch.fnmatchcase(printed.rstrip("\n"), pattern)


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Demo]:
    with Demo(tmp_path_factory.mktemp("demo")) as found:
        yield found


def test_the_sdks_example_prints_the_zones_records(demo: Demo) -> None:
    (example,) = re.findall(r"^```python\n(.*?)^```", README.read_text(), re.MULTILINE | re.DOTALL)
    done = subprocess.run(
        [sys.executable, "-c", example],
        env={**os.environ, **demo.exports},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.stderr == ""
    assert "A www.alpha.example 192.0.2.11" in done.stdout


def test_the_readmes_examples_do_what_they_say(demo: Demo, tmp_path: Path) -> None:
    examples = steps(README.read_text())
    assert len(examples) > 10
    mark = "--- end of step ---"
    script = "\n".join(f"{command}\necho\necho '{mark}'" for command, _ in examples)
    done = subprocess.run(
        ["bash", "-c", script],
        cwd=tmp_path,
        env={**os.environ, **demo.exports, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    printed = done.stdout.split(f"\n{mark}\n")
    assert done.stderr == ""
    for (command, wanted), found in zip(examples, printed, strict=False):
        assert matches(found, wanted), (command, found)
    assert len(printed) == len(examples) + 1

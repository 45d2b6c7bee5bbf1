"""Every console example of the README runs, and prints what it says."""

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.console import matches, printed, script, steps
from support.demo import Demo

README = Path(__file__).parent.parent.parent / "README.md"


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
    done = subprocess.run(
        ["bash", "-c", script(examples)],
        cwd=tmp_path,
        env={**os.environ, **demo.exports, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    output = printed(done.stdout)
    assert done.stderr == ""
    for (command, wanted), found in zip(examples, output, strict=False):
        assert matches(found, wanted), (command, found)
    assert len(output) == len(examples) + 1

"""The examples of a page: what is typed, what is printed, and which files they take.

A block of `console` has commands, behind `$ ` (and `> ` where one goes on), and what they print; a block of `sh` has
commands alone. A block whose introduction begins with a file's name, as in "`zonegate.toml`, in a new directory:", is
that file. Together they are one script, in the order of the page: who pastes them from top to bottom has done the same.
"""

import fnmatch
import os
import re
import signal
import subprocess
import sys
from collections.abc import Container, Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

COMMANDS = ("console", "sh", "bash")
"""The languages of blocks that are typed."""
_FENCE = re.compile(r"^```(\w*)[^\n]*\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_FILE = re.compile(r"(?:^|\n)`([\w./-]+\.\w+)`[^\n]*(?:\n[^\n]+)*:\n\n\Z")
_MARK = "--- end of step ---"
_END_OF_FILE = "--- end of file ---"
_ANYTHING = "..."
_LONGEST = 120


class Block(NamedTuple):
    """A fenced block. `file`: the name of the file that it is; "" if it is none."""

    language: str
    body: str
    file: str

    @property
    def title(self) -> str:
        """Its first line, which names it."""
        return self.body.partition("\n")[0]


def blocks(text: str) -> list[Block]:
    """All fenced blocks of a page, in their order."""
    found = []
    for match in _FENCE.finditer(text):
        named = _FILE.search(text, 0, match.start())
        found.append(Block(match[1], match[2], named[1] if named else ""))
    return found


def steps(text: str, skipped: Container[str] = ()) -> list[tuple[str, str]]:
    """Commands and what they print, out of all blocks but those whose titles are in `skipped`; a file's block is the
    command that writes it.
    """
    found: list[tuple[str, str]] = []
    for block in blocks(text):
        if block.title in skipped:
            continue
        if block.file:
            found.append((_writing(block), ""))
        elif block.language == "console":
            found += _typed(block.body)
        elif block.language in COMMANDS:
            found.append((block.body.rstrip("\n"), _ANYTHING))
    return found


def _typed(body: str) -> list[tuple[str, str]]:
    found: list[tuple[str, str]] = []
    for line in body.splitlines():
        if line.startswith("$ "):
            found.append((line[2:], ""))
        elif line.startswith("> "):
            found[-1] = (f"{found[-1][0]}\n{line[2:]}", "")
        else:
            found[-1] = (found[-1][0], f"{found[-1][1]}{line}\n")
    return found


def _writing(block: Block) -> str:
    directory = Path(block.file).parent
    return f"mkdir -p {directory}; cat > {block.file} <<'{_END_OF_FILE}'\n{block.body}{_END_OF_FILE}"


def run(examples: list[tuple[str, str]], directory: Path, environment: Mapping[str, str]) -> Iterator[str]:
    """Type the commands in `directory`, one after the other in one shell; yields what is wrong with each that printed
    something else than the page says, and with what went to standard error. What they left running is ended.
    """
    ending = "trap 'exec 2> /dev/null; kill $(jobs -p); wait' EXIT"
    lines = "\n".join(f"{command}\necho\necho '{_MARK}'" for command, _ in examples)
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    with subprocess.Popen(
        ["bash", "-c", f"{ending}\n{lines}"],
        cwd=directory,
        env={**os.environ, "PATH": path, **environment},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    ) as shell:
        try:
            output, errors = shell.communicate(timeout=_LONGEST)
        except subprocess.TimeoutExpired:
            os.killpg(shell.pid, signal.SIGKILL)
            raise
    printed = output.split(f"\n{_MARK}\n")
    for (command, wanted), found in zip(examples, printed, strict=False):
        if not matches(found, wanted):
            yield f"{command}\nprinted:\n{found}\nand not:\n{wanted}"
    if errors:
        yield f"standard error:\n{errors}"
    if len(printed) <= len(examples):
        yield f"the shell ended after {len(printed) - 1} of {len(examples)} steps"


def matches(found: str, wanted: str) -> bool:
    """Whether `found` is `wanted`, in which `...` stands for anything."""
    pattern = "*".join(re.sub(r"([\[\]*?])", r"[\1]", part) for part in wanted.rstrip("\n").split(_ANYTHING))
    return fnmatch.fnmatchcase(found.rstrip("\n"), pattern)

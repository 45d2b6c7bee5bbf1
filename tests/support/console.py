"""The console examples of a page: what is typed, and what is printed."""

import fnmatch
import re

_BLOCK = re.compile(r"^```console\n(.*?)^```", re.MULTILINE | re.DOTALL)
_MARK = "--- end of step ---"


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


def script(examples: list[tuple[str, str]]) -> str:
    """The commands as one script, whose output `printed` takes apart."""
    return "\n".join(f"{command}\necho\necho '{_MARK}'" for command, _ in examples)


def printed(output: str) -> list[str]:
    """What each command printed, and what came behind the last."""
    return output.split(f"\n{_MARK}\n")


def matches(found: str, wanted: str) -> bool:
    """Whether `found` is `wanted`, in which `...` stands for anything."""
    pattern = "*".join(re.sub(r"([\[\]*?])", r"[\1]", part) for part in wanted.rstrip("\n").split("..."))
    return fnmatch.fnmatchcase(found.rstrip("\n"), pattern)

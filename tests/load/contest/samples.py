"""Where a process was, as py-spy saw it: stacks, and how often each."""

from collections import Counter
from collections.abc import Iterator
from itertools import takewhile
from pathlib import Path
from typing import Final

_PACKAGE: Final = "gateway/"
_LOOP: Final = "the event loop, and the system's calls for it"


def _file_of(frame: str) -> str:
    """`gateway/server/head.py` of `read_head (gateway/server/head.py:120)`."""
    return frame.rpartition(" (")[2].rstrip(")").partition(":")[0]


def _is_ours(frame: str) -> bool:
    return _file_of(frame).startswith(_PACKAGE)


def _function_of(frame: str) -> str:
    """A frame without its line."""
    return frame.partition(":")[0].rstrip(")") + ")"


class Samples:
    """The samples of a file that py-spy wrote in its format `raw`: frames from the outermost, `;` between, a count.

    Threads in which nothing of the gateway stands are left out, and so is what all stacks have in common: from the
    command to the loop.
    """

    def __init__(self, file: Path) -> None:
        stacks = [(stack.split(";"), int(count)) for stack, count in _lines(file)]
        ours = [(stack, count) for stack, count in stacks if any(map(_is_ours, stack))]
        levels = zip(*(stack for stack, _ in ours), strict=False)
        common = sum(1 for _ in takewhile(lambda level: len(set(level)) == 1, levels))
        self._stacks = [(stack[common:], count) for stack, count in ours]
        self.count = sum(count for _, count in ours)

    def by_module(self) -> list[tuple[str, float]]:
        """Which module of the gateway was at work, and in what share of the samples, the most first.

        What a library or the system did for a module is counted as that module's.
        """
        found: Counter[str] = Counter()
        for stack, count in self._stacks:
            found[next((_file_of(frame) for frame in reversed(stack) if _is_ours(frame)), _LOOP)] += count
        return self._shares(found)

    def by_function(self) -> list[tuple[str, float]]:
        """Which function was running itself, and in what share of the samples, the most first."""
        found: Counter[str] = Counter()
        for stack, count in self._stacks:
            found[_function_of(stack[-1]) if stack else _LOOP] += count
        return self._shares(found)

    def _shares(self, found: Counter[str]) -> list[tuple[str, float]]:
        return [(name, count / self.count) for name, count in found.most_common()]


def _lines(file: Path) -> Iterator[tuple[str, str]]:
    for line in file.read_text().splitlines():
        stack, _, count = line.rpartition(" ")
        yield stack, count

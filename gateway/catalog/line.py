"""Which line of a TOML text a table or a key stands in. `tomllib` tells values and no places.

It reads a text that `tomllib` took: strings and comments are passed over, and what is left are heads of tables, keys at
the beginning of a line, and brackets.
"""

import re
from typing import Final

_TOKEN: Final = re.compile(
    r"""
      (?P<skipped> "{3}(?:[^\\]|\\.)*?"{3,5} | '{3}.*?'{3,5} | "(?:[^"\\\n]|\\.)*" | '[^'\n]*' | \#[^\n]* | [^\S\n]+ )
    | (?P<newline> \n )
    | (?P<open> [\[{] )
    | (?P<close> [\]}] )
    | (?P<other> [^"'\#\[\]{}\s]+ )
    """,
    re.VERBOSE | re.DOTALL,
)
_PART: Final = r"""(?:[A-Za-z0-9_-]+|"(?:[^"\\\n]|\\.)*"|'[^'\n]*')"""
_DOTTED: Final = rf"{_PART}(?:[^\S\n]*\.[^\S\n]*{_PART})*"
_HEAD: Final = re.compile(rf"[^\S\n]*(\[\[?)[^\S\n]*({_DOTTED})[^\S\n]*\]")
_KEY: Final = re.compile(rf"[^\S\n]*({_DOTTED})[^\S\n]*=")
_EACH_PART: Final = re.compile(_PART)
_INDEX: Final = re.compile(r"\[(\d+)\]")
_STEP: Final = re.compile(r"\[\d+\]|[^.\[\]]+")
_TOLD: Final = re.compile(r"\(at line (\d+), column \d+\)")


def line_of_broken_toml(message: str, text: str) -> int:
    """The line that `tomllib` tells in its message; Python 3.11 has it nowhere else."""
    told = _TOLD.search(message)
    return int(told[1]) if told else text.count("\n") + (not text.endswith("\n"))


def _parts(dotted: str) -> list[str]:
    return [part.strip("\"'") for part in _EACH_PART.findall(dotted)]


class TableLines:
    """Lines of a text's tables and keys, from 1."""

    def __init__(self, text: str) -> None:
        """`text` is TOML; of any other the lines are guesses."""
        self._lines: dict[str, int] = {}
        self._counts: dict[str, int] = {}
        table, depth, line, position = "", 0, 1, 0
        begins = True
        while position < len(text):
            if begins and depth == 0:
                if head := _HEAD.match(text, position):
                    table = self._enter(_parts(head[2]), is_list=head[1] == "[[")
                    self._lines.setdefault(table, line)
                    end = text.find("\n", head.end())
                    position = len(text) if end < 0 else end
                elif key := _KEY.match(text, position):
                    self._note(table, _parts(key[1]), line)
                    position = key.end()
            begins = False
            token = _TOKEN.match(text, position)
            if token is None:
                position += 1
                continue
            position = token.end()
            line += token[0].count("\n")
            begins = token.lastgroup == "newline"
            depth += {"open": 1, "close": -1}.get(token.lastgroup or "", 0)

    def _enter(self, parts: list[str], *, is_list: bool) -> str:
        table = ""
        for index, part in enumerate(parts):
            table = f"{table}.{part}" if table else part
            if is_list and index == len(parts) - 1:
                self._counts[table] = self._counts.get(table, -1) + 1
            if table in self._counts:
                table = f"{table}[{self._counts[table]}]"
        return table

    def _note(self, table: str, parts: list[str], line: int) -> None:
        key = table
        for part in parts:
            key = f"{key}.{part}" if key else part
            self._lines.setdefault(key, line)

    def of(self, key: str) -> int:
        """The line of `key` (`route[3].path`), or of the nearest thing around it that stands in a line of its own."""
        steps = [step if _INDEX.fullmatch(step) else f".{step}" for step in _STEP.findall(key)]
        while steps:
            line = self._lines.get("".join(steps).removeprefix("."))
            if line:
                return line
            steps.pop()
        return 1

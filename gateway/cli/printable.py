"""Text of others on a terminal: names, messages and values that it must not obey."""

import unicodedata
from typing import Final

# Control, format (bidirectional overrides, zero width), surrogate, private and unassigned characters; line and
# paragraph separators. An escape could repaint the screen, an override could show a line in another order than it
# has.
_OBEYED: Final = frozenset({"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"})
_BEYOND_FOUR_DIGITS: Final = 0x10000


def _shown(character: str) -> str:
    if unicodedata.category(character) not in _OBEYED:
        return character
    code = ord(character)
    return f"\\u{code:04x}" if code < _BEYOND_FOUR_DIGITS else f"\\U{code:08x}"


def printable(text: str) -> str:
    r"""`text` in one line, each character that a terminal would obey as its escape (`\u202e`).

    It goes into plain text or `rich.text.Text`; where rich reads markup, `rich.markup.escape` comes on top.
    """
    return "".join(map(_shown, text))


def counted(number: int, word: str, none: str = "0") -> str:
    """`number` with what it counts: "1 route", "2 routes"; `none` in the place of 0."""
    return f"{number or none} {word}{'' if number == 1 else 's'}"

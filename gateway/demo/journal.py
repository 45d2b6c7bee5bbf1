"""What reached the demo upstream: that a request was refused before it, is proved by what is not in here.

A request is recorded when its body has come to its end, or has broken off, and before a byte of the answer
goes out: who holds the answer finds the entry. The upstream's own credential is never stored, nor what came
in its place.
"""

import os
from collections import deque
from pathlib import Path
from typing import Final

import msgspec

ENTRIES_KEPT: Final = 10_000
_TOKEN_MARKS: Final = (b"zgt_", b"zga_")


class Entry(msgspec.Struct, frozen=True):
    """One request as it arrived; bytes are shown as Latin-1, one character each.

    `body_length` counts the bytes that came, chunk lines not among them. `token_seen`: target, a header's
    value or the body held what the secret of a gateway token starts with.
    """

    method: str
    target: str
    headers: tuple[tuple[str, str], ...]
    body_length: int
    body_complete: bool
    token_seen: bool


class Journal:
    """The latest entries in memory; and each entry as a line of JSON at the end of `file`, if one is named.

    The file is readable by its owner only. Raises OSError when it cannot be opened or written.
    """

    def __init__(self, file: Path | None = None) -> None:
        self._latest: deque[Entry] = deque(maxlen=ENTRIES_KEPT)
        self._file = None if file is None else os.open(file, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)

    @property
    def entries(self) -> list[Entry]:
        """The latest 10,000, oldest first."""
        return list(self._latest)

    def record(self, entry: Entry) -> None:
        """Add `entry`: unbuffered, each line a write that blocks the loop. Proof goes before speed here."""
        self._latest.append(entry)
        if self._file is not None:
            os.write(self._file, msgspec.json.encode(entry) + b"\n")

    def close(self) -> None:
        """Close the file; what comes later is kept in memory only."""
        if self._file is not None:
            os.close(self._file)
            self._file = None


def holds_token(text: bytes) -> bool:
    """Whether the secret of a gateway token may start somewhere in `text`."""
    return any(mark in text for mark in _TOKEN_MARKS)

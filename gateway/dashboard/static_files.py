"""The files that a browser loads: all of ours, read once at the start, served as they are."""

import hashlib
from collections.abc import Iterable, Mapping
from importlib.resources.abc import Traversable
from pathlib import PurePosixPath
from typing import Final

import msgspec

from gateway.dashboard.target import INDEX
from gateway.reason import Answer

_TYPES: Final[Mapping[str, str]] = {
    ".html": "text/html; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
}
POLICY: Final = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
    "base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
)
"""Content-Security-Policy: nothing from elsewhere, nothing inline, in nobody's frame."""
SAFE: Final = (
    ("Content-Security-Policy", POLICY),
    ("X-Content-Type-Options", "nosniff"),
    ("Referrer-Policy", "no-referrer"),
    ("Cross-Origin-Opener-Policy", "same-origin"),
    ("Cross-Origin-Resource-Policy", "same-origin"),
)
"""What each answer to a browser says, whatever is in it."""


class StaticFile(msgspec.Struct, frozen=True):
    """A file, and what is said of it."""

    fields: tuple[tuple[str, str], ...]
    body: bytes
    tag: bytes


class StaticFiles:
    """Files by their names."""

    def __init__(self, files: Mapping[str, bytes]) -> None:
        self._files = {name: _static(name, body) for name, body in files.items()}

    def answer(self, name: str, if_none_match: Iterable[bytes] = ()) -> Answer | None:
        """The file, or None where there is none of that name; 304 for who has it already (RFC 9110 13.1.2)."""
        found = self._files.get(name)
        if found is None:
            return None
        had = {tag.strip().removeprefix(b"W/") for value in if_none_match for tag in value.split(b",")}
        if found.tag in had:
            return Answer(status=304, fields=found.fields)
        return Answer(status=200, fields=found.fields, body=found.body)


def _static(name: str, body: bytes) -> StaticFile:
    tag = f'"{hashlib.sha256(body).hexdigest()[:32]}"'
    kept = "no-store" if name == INDEX else "no-cache"
    fields = (("Content-Type", _type(name)), ("Cache-Control", kept), ("ETag", tag), *SAFE)
    return StaticFile(fields, body, tag.encode("ascii"))


def _type(name: str) -> str:
    return _TYPES.get(PurePosixPath(name).suffix, "application/octet-stream")


def read_static(directory: Traversable) -> dict[str, bytes]:
    """All files in `directory`, by name."""
    return {entry.name: entry.read_bytes() for entry in directory.iterdir() if entry.is_file()}

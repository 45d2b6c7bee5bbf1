"""Health pages: is the process alive, and may it be sent requests."""

from collections.abc import Awaitable, Callable
from typing import Protocol

import msgspec

from gateway.reason import JSON_FIELDS, READS, Answer, Deny, Reason


class Watched(Protocol):
    """What a process that answers requests needs besides itself."""

    @property
    def why_not(self) -> str | None:
        """Why no request can be answered now, or None."""

    @property
    def notes(self) -> tuple[str, ...]:
        """What an operator should know although requests are answered."""


class Health:
    """`/healthz`: 200 while the process answers. `/readyz`: 200, or 503 with the reasons. `/metrics`, if there are
    any.
    """

    def __init__(self, tokens: Watched, metrics: Callable[[], Awaitable[Answer]] | None = None) -> None:
        self._tokens = tokens
        self._metrics = metrics
        self.why_not: str | None = "starting"
        """Why the process may not be sent requests, whatever the store says."""

    async def answer(self, method: str, path: bytes) -> Answer | Deny | None:
        """See `Pages.answer`."""
        if path not in (b"/healthz", b"/readyz") and (path != b"/metrics" or self._metrics is None):
            return None
        if method not in READS:
            return Deny(reason=Reason.METHOD_NOT_ALLOWED, methods=READS)
        if path == b"/metrics" and self._metrics is not None:
            return await self._metrics()
        ready = path == b"/readyz"
        reasons = [why for why in (self.why_not, self._tokens.why_not) if why] if ready else []
        body: dict[str, object] = {"status": "unavailable" if reasons else "ok", "reasons": reasons}
        if ready:
            body["notes"] = self._tokens.notes
        return Answer(status=503 if reasons else 200, fields=JSON_FIELDS, body=msgspec.json.encode(body))

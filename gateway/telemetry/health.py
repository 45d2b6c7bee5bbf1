"""Health pages: is the process alive, and may it be sent requests."""

from typing import Final

import msgspec

from gateway.access.ports import StoreUnavailable, TokenStore
from gateway.reason import JSON_FIELDS, Answer, Deny, Reason

_METHODS: Final = ("GET", "HEAD")


class Health:
    """`/healthz`: 200 while the process answers. `/readyz`: 200, or 503 with the reasons."""

    def __init__(self, store: TokenStore) -> None:
        self._store = store
        self.why_not: str | None = "starting"
        """Why the process may not be sent requests, whatever the store says."""

    async def answer(self, method: str, path: bytes) -> Answer | Deny | None:
        """See `Pages.answer`."""
        if path not in (b"/healthz", b"/readyz"):
            return None
        if method not in _METHODS:
            return Deny(reason=Reason.METHOD_NOT_ALLOWED, methods=_METHODS)
        reasons = await self._reasons() if path == b"/readyz" else []
        body = msgspec.json.encode({"status": "unavailable" if reasons else "ok", "reasons": reasons})
        return Answer(status=503 if reasons else 200, fields=JSON_FIELDS, body=body)

    async def _reasons(self) -> list[str]:
        reasons = [self.why_not] if self.why_not else []
        try:
            await self._store.ping()
        except StoreUnavailable as error:
            reasons.append(f"store: {error}")
        return reasons

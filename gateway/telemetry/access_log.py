"""One line a request."""

import structlog

from gateway.access.decision import Allow
from gateway.catalog.target import Target
from gateway.reason import Deny
from gateway.tokens.condition import Address
from gateway.tokens.secret import LOOKS_SECRET

log = structlog.get_logger("access")


class AccessLog:
    """Writes the line, if it is switched on. The query stays out: it may hold anything. Of a secret in the path, or of
    whoever was refused after he proved his token, the id stays.
    """

    def __init__(self, *, enabled: bool) -> None:
        self._enabled = enabled

    def write(  # noqa: PLR0913 - a line's parts
        self,
        *,
        request_id: str,
        method: str | None,
        target: Target | None,
        allow: Allow | None,
        deny: Deny | None,
        route: str,
        address: Address | None,
        status: int,
        seconds: float,
    ) -> None:
        """Log one request; `route` "" where there is none.

        A path that was judged is plain ASCII; one that was not stays out.
        """
        if not self._enabled:
            return
        log.info(
            "request",
            request_id=request_id,
            method=method,
            path=LOOKS_SECRET.sub(r"\1_...", target.path.decode("ascii")) if target else None,
            api=allow.route.api.name if allow else None,
            route=route or None,
            token=allow.principal.token.id if allow else (deny.token_id or None if deny else None),
            reason=deny.reason if deny else None,
            address=str(address) if address else None,
            status=status,
            milliseconds=round(seconds * 1000, 1),
        )

"""News of tokens for an operator's webhook (`notify.webhook`): one POST of JSON each, off the request path.

It is told at least once while the receiver is well, and given up after a few tries: who has to know everything reads
the audit. The body holds ids, names and dates, never a secret; the URL may hold one, and stands in no log.
"""

import asyncio
from collections import deque
from collections.abc import Sequence
from typing import Final

import aiohttp
import msgspec
import structlog

from gateway.tokens.news import News, show_news
from gateway.tokens.secret import Sensitive

log = structlog.get_logger(__name__)

MOST_WAITING: Final = 1000
"""News that wait for a slow receiver; what comes then is dropped, and counted."""
PAUSES: Final = (1.0, 5.0, 25.0)
"""Seconds before each further try."""
_TIMEOUT: Final = 5.0
_AGAIN: Final = frozenset({408, 425, 429})
"""Of the statuses below 500, those that say "later" (RFC 9110 15.5.9, RFC 8470 5.2, RFC 6585 4)."""


class Webhook:
    """Tells news to `url`; "": to nobody. One for a worker."""

    def __init__(self, url: Sensitive, *, most: int = MOST_WAITING, pauses: Sequence[float] = PAUSES) -> None:
        self._url = url
        self._most = most
        self._pauses = tuple(pauses)
        self._waiting: deque[News] = deque()
        self._wake = asyncio.Event()
        self.dropped = 0
        """News that nobody was told."""

    def tell(self, news: News) -> None:
        """`news` waits for its turn. Never waits, never raises."""
        if not self._url:
            return
        if len(self._waiting) >= self._most:
            self.dropped += 1
            return
        self._waiting.append(news)
        self._wake.set()

    async def run(self) -> None:
        """Tell what waits, in its order, until cancelled."""
        if not self._url:
            return
        # No proxy of the environment's, no cookies: this goes to the receiver alone.
        async with aiohttp.ClientSession(
            timeout=aiohttp.ClientTimeout(total=_TIMEOUT), cookie_jar=aiohttp.DummyCookieJar()
        ) as session:
            while True:
                await self._wake.wait()
                self._wake.clear()
                while self._waiting:
                    await self._send(session, self._waiting.popleft())

    async def _send(self, session: aiohttp.ClientSession, news: News) -> None:
        body, why = msgspec.json.encode(show_news(news)), ""
        for pause in (*self._pauses, None):
            found = await self._post(session, body)
            if found is None:
                return
            why, again = found
            if not again or pause is None:
                break
            await asyncio.sleep(pause)
        self.dropped += 1
        log.warning("webhook not told", news=news.event, token=news.token_id, error=why, dropped=self.dropped)

    async def _post(self, session: aiohttp.ClientSession, body: bytes) -> tuple[str, bool] | None:
        """None when it was taken; else why not, and whether to try again. A redirect is not followed."""
        headers = {"Content-Type": "application/json", "User-Agent": "zonegate"}
        try:
            async with session.post(self._url.reveal(), data=body, headers=headers, allow_redirects=False) as answer:
                status = answer.status
        except TimeoutError:
            return "no answer in time", True
        except (aiohttp.ClientError, OSError, ValueError) as error:
            return type(error).__name__, True  # its text may hold the URL
        if 200 <= status < 300:  # noqa: PLR2004 - RFC 9110 15.3
            return None
        return f"status {status}", status >= 500 or status in _AGAIN  # noqa: PLR2004 - RFC 9110 15.6
